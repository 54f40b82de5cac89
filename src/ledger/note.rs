//! C2SP signed notes and tlog-checkpoints with Ed25519: what other people's tools verify.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::ledger::tree::Hash;

/// The algorithm byte of Ed25519 in a verifier key.
const ED25519_BYTE: u8 = 1;
/// The longest note that is read.
const NOTE_MAX_BYTES: usize = 64 * 1024;

/// A checkpoint: this log, this many leaves, this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Its leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
        let number = lines.next()?;
        let size: u64 = number.parse().ok().filter(|size: &u64| size.to_string() == number)?;
        let root: Hash = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        Some(Self { origin, size, root })
    }
}

/// A public key by name, as C2SP writes it: `name+hash+base64(algorithm ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// A key under a name (the log's origin).
    #[must_use]
    pub const fn new(name: String, public: [u8; 32]) -> Self {
        Self { name, public }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256(name ‖ LF ‖ algorithm ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', ED25519_BYTE]);
        context.update(&self.public);
        let mut id = [0_u8; 4];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        id
    }

    /// The one-line text that auditors are given.
    #[must_use]
    pub fn text(&self) -> String {
        let key: Vec<u8> = [ED25519_BYTE].into_iter().chain(self.public).collect();
        format!("{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(key))
    }

    /// From that text; `None` if it is none, or its hash does not fit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let key = STANDARD.decode(key).ok()?;
        let (algorithm, public) = key.split_first()?;
        let parsed = Self { name: name.to_owned(), public: public.try_into().ok()? };
        (*algorithm == ED25519_BYTE && hex::encode(parsed.id()) == id).then_some(parsed)
    }

    /// The signature line for a text.
    #[must_use]
    pub fn line(&self, signature: &[u8]) -> String {
        let bytes: Vec<u8> = self.id().into_iter().chain(signature.iter().copied()).collect();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(bytes))
    }

    /// The checkpoint in a signed note, if this key signed it. Signatures of unknown keys are passed over, as the specification says.
    #[must_use]
    pub fn open(&self, note: &str) -> Option<Checkpoint> {
        if note.len() > NOTE_MAX_BYTES {
            return None;
        }
        let (text, signatures) = note.split_once("\n\n")?;
        let text = format!("{text}\n");
        let signed = signatures.lines().filter_map(|line| line.strip_prefix("\u{2014} ")?.split_once(' ')).any(|(name, blob)| {
            let Some(blob) = STANDARD.decode(blob).ok().filter(|_| name == self.name) else { return false };
            let Some((id, signature)) = blob.split_at_checked(4) else { return false };
            id == self.id() && UnparsedPublicKey::new(&ED25519, &self.public).verify(text.as_bytes(), signature).is_ok()
        });
        if signed { Checkpoint::parse(&text).filter(|checkpoint| checkpoint.origin == self.name) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_key_of_the_go_checksum_database_parses() {
        let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let key = VerifierKey::parse(text).unwrap();
        assert_eq!(key.text(), text);
        assert!(VerifierKey::parse("sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").is_none());
    }

    #[test]
    fn hostile_notes_are_refused() {
        // Truncated, unsigned and short signatures: none may verify, none may panic.
        let key = VerifierKey::parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").unwrap();
        for note in ["", "\n\n", "a\n1\nb\n\n\u{2014} sum.golang.org AAAA\n", "sum.golang.org\n1\n\n\u{2014} sum.golang.org Az3grg==\n"] {
            assert_eq!(key.open(note), None);
        }
    }
}
