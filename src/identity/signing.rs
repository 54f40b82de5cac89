//! Keys that the broker signs tokens with: Ed25519 seeds as 0600 files, turned over by themselves.
//!
//! A new key is published a while before anything is signed with it, and an old one for as long as a token signed with it may live: whoever checks
//! tokens never meets a key that they could not know. Bytes go in here and do not come out.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::identity::keys::{Algorithm, KeySet};

/// One key.
pub(super) struct SigningKey {
    key: Ed25519KeyPair,
    kid: String,
}

impl SigningKey {
    /// The key in a file; made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let at = |why: &str| format!("the signing key `{}`: {why}", path.display());
        let seed = match std::fs::metadata(path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Err(at("others can read it: `chmod 600` it, or delete it to have a new one made"));
            }
            Ok(_) => Zeroizing::new(std::fs::read(path).map_err(|error| at(&error.to_string()))?),
            Err(_) => {
                let random = || crate::id::random_128().map_err(|_| at("no randomness"));
                let seed = Zeroizing::new([random()?, random()?].concat());
                let write = || -> std::io::Result<()> {
                    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                    file.write_all(&seed)?;
                    file.sync_all()
                };
                write().map_err(|error| at(&error.to_string()))?;
                seed
            }
        };
        let is_known = seed.first().is_none_or(|first| seed.iter().all(|byte| byte == first));
        let key = Ed25519KeyPair::from_seed_unchecked(&seed)
            .ok()
            .filter(|_| !is_known)
            .ok_or_else(|| at("it is no Ed25519 seed of 32 random bytes"))?;
        let kid = URL_SAFE_NO_PAD.encode(key.public_key().as_ref()).chars().take(12).collect();
        Ok(Self { key, kid })
    }

    /// Its public half (RFC 8037).
    pub(super) fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x })
    }

    /// An access token (RFC 9068) with these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.kid });
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

/// A key is published for so long before it signs.
const AHEAD: TimeDelta = TimeDelta::seconds(60);
/// A key signs for so long.
const SIGNS_FOR: TimeDelta = TimeDelta::days(30);
/// A key that signs no longer is published for so long: the longest life of a token.
const STAYS_FOR: TimeDelta = TimeDelta::hours(2);

/// What the folder's list says of a key; times in microseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Listed {
    file: String,
    signs_from_us: i64,
    signs_until_us: Option<i64>,
}

struct Held {
    listed: Listed,
    key: SigningKey,
}

/// The keys of a folder.
struct Ring {
    held: Vec<Held>,
    published: Arc<KeySet>,
}

/// Key ids before a change, and now.
pub type Turned = (Vec<String>, Vec<String>);

/// The broker's own signing keys.
pub struct SigningKeys {
    dir: PathBuf,
    ring: RwLock<Ring>,
    /// Held through a turn: two at once would each publish a key of their own, and write over one another's list.
    turning: Mutex<()>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys")
    }
}

impl SigningKeys {
    /// The keys in a folder; the first is made if there is none.
    ///
    /// # Errors
    /// A file cannot be read, written, or is not as it must be.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, String> {
        std::fs::create_dir_all(dir).map_err(|error| format!("`{}`: {error}", dir.display()))?;
        let list = dir.join("keys.json");
        let listed: Vec<Listed> = match std::fs::read(&list) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("`{}`: {error}", list.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![fresh(now)],
            Err(error) => return Err(format!("`{}`: {error}", list.display())),
        };
        let keys =
            Self { dir: dir.to_owned(), ring: RwLock::new(Ring { held: Vec::new(), published: Arc::default() }), turning: Mutex::new(()) };
        keys.take(listed)?;
        Ok(keys)
    }

    /// Loads what is listed, and writes the list: keys first, so that the list never names one that is not there.
    fn take(&self, listed: Vec<Listed>) -> Result<(), String> {
        let mut held = Vec::new();
        for listed in listed {
            if listed.file.contains(['/', '\\']) {
                return Err(format!("`{}` names a key elsewhere: `{}`", self.dir.join("keys.json").display(), listed.file));
            }
            held.push(Held { key: SigningKey::open(&self.dir.join(&listed.file))?, listed });
        }
        let set = json!({ "keys": held.iter().map(|held| held.key.jwk()).collect::<Vec<_>>() });
        let published = Arc::new(KeySet::parse(set.to_string().as_bytes(), &[Algorithm::EdDsa])?);
        let text =
            serde_json::to_vec(&held.iter().map(|held| held.listed.clone()).collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        let (path, fresh) = (self.dir.join("keys.json"), self.dir.join("keys.json.new"));
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|error| format!("`{}`: {error}", path.display()))?;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring { held, published };
        Ok(())
    }

    /// Turns the keys over where it is time: a new one is published, one that tokens can no longer have is forgotten. Whether anything changed,
    /// with the key ids before and now.
    ///
    /// # Errors
    /// As with [`SigningKeys::open`]; the keys stay as they were.
    pub fn turn(&self, now: Timestamp) -> Result<Option<Turned>, String> {
        let _alone = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.published().names();
        let mut listed: Vec<Listed> = self.with(|ring| ring.held.iter().map(|held| held.listed.clone()).collect());
        let us = |at: Timestamp| at.timestamp_micros();
        let newest = listed.iter().map(|key| key.signs_from_us).max().unwrap_or_default();
        if newest + SIGNS_FOR.num_microseconds().unwrap_or(i64::MAX) <= us(now) {
            let next = Listed { signs_from_us: us(now + AHEAD), ..fresh(now) };
            for key in listed.iter_mut().filter(|key| key.signs_until_us.is_none()) {
                key.signs_until_us = Some(us(now + AHEAD));
            }
            listed.push(next);
        }
        let gone = |key: &Listed| key.signs_until_us.is_some_and(|until| until + STAYS_FOR.num_microseconds().unwrap_or(0) <= us(now));
        let dead: Vec<String> = listed.iter().filter(|key| gone(key)).map(|key| key.file.clone()).collect();
        listed.retain(|key| !gone(key));
        if dead.is_empty() && listed.len() == self.with(|ring| ring.held.len()) {
            return Ok(None);
        }
        self.take(listed)?;
        for file in dead {
            // The list no longer names it; a file that stays is only untidy.
            drop(std::fs::remove_file(self.dir.join(file)));
        }
        Ok(Some((before, self.published().names())))
    }

    /// Whether [`SigningKeys::turn`] has something to do.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let us = now.timestamp_micros();
        let past = |at: i64, by: TimeDelta| at + by.num_microseconds().unwrap_or(0) <= us;
        self.with(|ring| {
            let newest = ring.held.iter().map(|held| held.listed.signs_from_us).max().unwrap_or_default();
            past(newest, SIGNS_FOR) || ring.held.iter().any(|held| held.listed.signs_until_us.is_some_and(|until| past(until, STAYS_FOR)))
        })
    }

    fn with<T>(&self, look: impl FnOnce(&Ring) -> T) -> T {
        look(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn published(&self) -> Arc<KeySet> {
        self.with(|ring| Arc::clone(&ring.published))
    }

    /// The public keys (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.with(|ring| json!({ "keys": ring.held.iter().map(|held| held.key.jwk()).collect::<Vec<_>>() }))
    }

    /// Signs with the key whose turn it is; `None` if there is none.
    pub(super) fn sign(&self, claims: &Value, now: Timestamp) -> Option<String> {
        let us = now.timestamp_micros();
        self.with(|ring| ring.held.iter().rev().find(|held| held.listed.signs_from_us <= us).map(|held| held.key.sign(claims)))
    }
}

/// A key that signs from now on.
fn fresh(now: Timestamp) -> Listed {
    Listed { file: format!("{}.key", ulid::Ulid::generate()), signs_from_us: now.timestamp_micros(), signs_until_us: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_at_once_make_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Timestamp::from_timestamp_micros(1_700_000_000_000_000).unwrap();
        let keys = SigningKeys::open(dir.path(), opened).unwrap();
        let later = opened + SIGNS_FOR;
        let turned = std::thread::scope(|scope| {
            let turns: Vec<_> = (0..8).map(|_| scope.spawn(|| keys.turn(later).unwrap())).collect();
            turns.into_iter().filter_map(|turn| turn.join().unwrap()).count()
        });
        assert_eq!(turned, 1);
        assert_eq!(keys.published().names().len(), 2);
        let again = SigningKeys::open(dir.path(), later).unwrap();
        assert_eq!(again.published().names(), keys.published().names());
    }
}
