//! A token issuer for development and the quickstart: a key in a file, and tokens by command. Not for a company: whoever reads the key file can be
//! anybody. A company configures its identity provider instead.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::clock::Clock;

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `sub`.
    pub subject: String,
    /// `name`.
    pub name: Option<String>,
    /// `groups`.
    pub teams: Vec<String>,
    /// `aud`.
    pub audience: String,
    /// `client_id`.
    pub client: String,
    /// `act.sub`, where an agent acts.
    pub actor: Option<String>,
    /// `scope`.
    pub scope: String,
    /// How long it is good.
    pub lifetime: TimeDelta,
}

/// The issuer.
pub struct DevelopmentIssuer {
    url: String,
    key: Ed25519KeyPair,
    kid: String,
    jwks: PathBuf,
    clock: Clock,
}

impl DevelopmentIssuer {
    /// Opens the issuer in a folder, or makes one: `issuer.key` (0600) and `issuer.jwks.json`.
    ///
    /// # Errors
    /// The key cannot be read, written, or is readable by others.
    pub fn open(dir: &Path, url: &str, clock: Clock) -> Result<Self, String> {
        std::fs::create_dir_all(dir).map_err(|error| format!("`{}`: {error}", dir.display()))?;
        let path = dir.join("issuer.key");
        let at = |why: String| format!("the issuer's key `{}`: {why}", path.display());
        let seed = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Err(at("others can read it: `chmod 600` it, or delete it to have a new one made".to_owned()));
            }
            Ok(_) => Zeroizing::new(std::fs::read(&path).map_err(|error| at(error.to_string()))?),
            Err(_) => {
                let seed = Zeroizing::new(
                    [crate::id::random_128(), crate::id::random_128()]
                        .into_iter()
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(|_| at("no randomness".to_owned()))?
                        .concat(),
                );
                let write = || -> std::io::Result<()> {
                    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                    file.write_all(&seed)?;
                    file.sync_all()
                };
                write().map_err(|error| at(error.to_string()))?;
                seed
            }
        };
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| at("it is no Ed25519 seed of 32 bytes".to_owned()))?;
        let public = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let kid = public.chars().take(12).collect::<String>();
        let jwks = dir.join("issuer.jwks.json");
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": public }] });
        std::fs::write(&jwks, format!("{set:#}\n")).map_err(|error| format!("`{}`: {error}", jwks.display()))?;
        Ok(Self { url: url.to_owned(), key, kid, jwks, clock })
    }

    /// The file with its public keys.
    #[must_use]
    pub fn jwks_file(&self) -> &Path {
        &self.jwks
    }

    /// Mints a token.
    #[must_use]
    pub fn mint(&self, request: &TokenRequest) -> SecretString {
        let now = self.clock.now();
        let jti = crate::id::CallId::mint();
        let mut claims = json!({
            "iss": self.url,
            "sub": request.subject,
            "aud": request.audience,
            "client_id": request.client,
            "iat": now.timestamp(),
            "exp": (now + request.lifetime).timestamp(),
            "jti": jti.as_str(),
            "scope": request.scope,
            "groups": request.teams,
        });
        if let Some(members) = claims.as_object_mut() {
            if let Some(name) = &request.name {
                members.insert("name".to_owned(), Value::from(name.as_str()));
            }
            if let Some(actor) = &request.actor {
                members.insert("act".to_owned(), json!({ "sub": actor }));
            }
        }
        SecretString::from(self.sign(&json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.kid }), &claims))
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}
