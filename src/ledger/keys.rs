//! Keys as files of the data folder: one a purpose, 0600, each with an id. Bytes go in here and do not come out.
//!
//! A key that others could read, that has the wrong length or is all one byte stops the start: a known key would make every pseudonym and every
//! signature worthless, and nobody would notice.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use crate::ledger::note::{Checkpoint, VerifierKey};
use crate::ledger::private;

/// Bytes of every key.
const KEY_BYTES: usize = 32;

/// The keys of a ledger. Cheap to clone; no Debug.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    log: Ed25519KeyPair,
    verifier: VerifierKey,
    digest: hmac::Key,
    pseudonym: hmac::Key,
    payload: LessSafeKey,
    ids: KeyIds,
}

/// What keys are called in records: which one it was can be told, and nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIds {
    /// The one that signs checkpoints.
    pub log: String,
    /// The one under which digests of calls are made.
    pub digest: String,
    /// The one under which humans and agents get their opaque ids.
    pub pseudonym: String,
    /// The one that wraps the keys of payloads.
    pub payload: String,
}

impl Keys {
    /// Loads the keys of a folder, and makes those that are not there yet.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(dir: &Path, origin: &str) -> Result<Self, String> {
        Self::read(dir, origin, true)
    }

    /// Loads the keys of a folder without making or writing anything.
    ///
    /// # Errors
    /// One is not there, or something is wrong with it.
    pub fn open_existing(dir: &Path, origin: &str) -> Result<Self, String> {
        Self::read(dir, origin, false)
    }

    fn read(dir: &Path, origin: &str, make: bool) -> Result<Self, String> {
        let load = |name: &str| load(&dir.join(name), make);
        if make {
            private::dir(dir, "log.key").map_err(|error| format!("`{}`: {error}", dir.display()))?;
        }
        let log = load("log.key")?;
        let log = Ed25519KeyPair::from_seed_unchecked(&log).map_err(|_| "`log.key` is no Ed25519 seed".to_owned())?;
        let public: [u8; 32] = log.public_key().as_ref().try_into().map_err(|_| "`log.key` has no public key".to_owned())?;
        let verifier = VerifierKey::new(origin.to_owned(), public);
        if make {
            std::fs::write(dir.join("log.pub"), format!("{}\n", verifier.text())).map_err(|error| format!("`log.pub`: {error}"))?;
        }
        let (payload, digest, pseudonym) = (load("payload.key")?, load("digest.key")?, load("pseudonym.key")?);
        let ids = KeyIds { log: id(&public), digest: id(&digest), pseudonym: id(&pseudonym), payload: id(&payload) };
        let payload = UnboundKey::new(&AES_256_GCM, &payload).map_err(|_| "`payload.key` is no AES-256 key".to_owned())?;
        Ok(Self {
            inner: Arc::new(Inner {
                log,
                verifier,
                digest: hmac::Key::new(hmac::HMAC_SHA256, &digest),
                pseudonym: hmac::Key::new(hmac::HMAC_SHA256, &pseudonym),
                payload: LessSafeKey::new(payload),
                ids,
            }),
        })
    }

    /// HMAC-SHA-256 under the digest key.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.inner.digest, bytes).as_ref().to_vec()
    }

    /// HMAC-SHA-256 under the pseudonym key.
    #[must_use]
    pub fn pseudonym(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.inner.pseudonym, bytes).as_ref().to_vec()
    }

    /// The key with which others verify checkpoints.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.inner.verifier
    }

    /// A checkpoint as a signed note.
    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let signature = self.inner.log.sign(text.as_bytes());
        format!("{text}\n{}", self.inner.verifier.line(signature.as_ref()))
    }

    /// The key that wraps the keys of payloads.
    pub(super) fn payload(&self) -> &LessSafeKey {
        &self.inner.payload
    }

    /// What the keys are called.
    #[must_use]
    pub fn ids(&self) -> &KeyIds {
        &self.inner.ids
    }
}

fn id(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"key id/v1");
    context.update(key);
    hex::encode(context.finish().as_ref().get(..8).unwrap_or_default())
}

fn load(path: &Path, make: bool) -> Result<Zeroizing<Vec<u8>>, String> {
    let at = |why: String| format!("the key file `{}`: {why}", path.display());
    match std::fs::metadata(path) {
        Ok(metadata) => {
            if metadata.permissions().mode() & 0o077 != 0 {
                return Err(at("others can read it: `chmod 600` it, and replace it if they may have".to_owned()));
            }
            let key = Zeroizing::new(std::fs::read(path).map_err(|error| at(error.to_string()))?);
            if key.len() != KEY_BYTES {
                return Err(at(format!("it has {} bytes instead of {KEY_BYTES}", key.len())));
            }
            if key.iter().all(|byte| Some(byte) == key.first()) {
                return Err(at("it is one byte over and over, and no secret".to_owned()));
            }
            Ok(key)
        }
        Err(error) if make && error.kind() == std::io::ErrorKind::NotFound => {
            let key = Zeroizing::new(crate::ledger::salt().map_err(|error| at(error.to_string()))?.to_vec());
            let write = || -> std::io::Result<()> {
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                file.write_all(&key)?;
                file.sync_all()
            };
            write().map_err(|error| at(error.to_string()))?;
            Ok(key)
        }
        Err(error) => Err(at(error.to_string())),
    }
}
