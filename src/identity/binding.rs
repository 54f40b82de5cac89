//! The certificate that a client proved to hold when it opened its connection (mTLS), for tokens that are bound to one (RFC 8705).
//!
//! The server puts it into the extensions of every request of that connection, after the handshake has verified the chain and the possession of
//! the key; no header ever becomes one. By itself it authenticates nobody: it only says with which key a token may be used.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The end-entity certificate of a verified client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    sha256: [u8; 32],
}

impl ClientCertificate {
    /// Of the certificate's DER form. Whoever calls this says that the handshake has verified it.
    #[must_use]
    pub fn verified(der: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        for (to, from) in sha256.iter_mut().zip(digest::digest(&digest::SHA256, der).as_ref()) {
            *to = *from;
        }
        Self { sha256 }
    }

    /// SHA-256 of the DER form.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// As the claim `cnf` has it: `x5t#S256`.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha256)
    }
}
