//! An issuer: its name, its keys from a JWKS file, and the algorithms it signs with.
//!
//! A key set with a symmetric key, a private key or a short one is refused whole: it says that somebody mixed files up. The file is looked at
//! again every ten seconds, and read when it has changed: keys come and go without a restart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::Value;

use crate::refusal::{Code, Refusal};

/// Signature algorithms that an issuer's list may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    const ALL: [(Self, &'static str, jsonwebtoken::Algorithm); 5] = [
        (Self::Rs256, "RS256", jsonwebtoken::Algorithm::RS256),
        (Self::Ps256, "PS256", jsonwebtoken::Algorithm::PS256),
        (Self::Es256, "ES256", jsonwebtoken::Algorithm::ES256),
        (Self::Es384, "ES384", jsonwebtoken::Algorithm::ES384),
        (Self::EdDsa, "EdDSA", jsonwebtoken::Algorithm::EdDSA),
    ];

    /// By its JOSE name; `None` for every other (`none` and `HS256` among them).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(algorithm, ..)| *algorithm)
    }

    fn jose(self) -> jsonwebtoken::Algorithm {
        Self::ALL.iter().find(|(algorithm, ..)| *algorithm == self).map_or(jsonwebtoken::Algorithm::EdDSA, |(_, _, jose)| *jose)
    }

    /// The key type and curve that it goes with.
    const fn key_type(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Rs256 | Self::Ps256 => ("RSA", None),
            Self::Es256 => ("EC", Some("P-256")),
            Self::Es384 => ("EC", Some("P-384")),
            Self::EdDsa => ("OKP", Some("Ed25519")),
        }
    }
}

/// How an issuer's tokens are judged.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// `iss`, byte for byte.
    pub url: String,
    /// Before its teams, humans and agents in policies; empty for the one issuer without.
    pub namespace: String,
    /// Its public keys (RFC 7517).
    pub jwks_file: PathBuf,
    /// What it signs with.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the human's teams, a list of texts.
    pub teams_claim: String,
    /// The claim with the human's name.
    pub name_claim: String,
    /// Clients that humans sign in with, for the human's door.
    pub human_clients: Vec<String>,
    /// Also accept the header type `JWT`, for issuers that do not follow RFC 9068.
    pub accept_plain_jwt: bool,
}

/// The largest JWKS file, in bytes.
const JWKS_MAX_BYTES: u64 = 256 * 1024;
/// The file is read again at most this often.
const REREAD_EVERY: Duration = Duration::from_secs(10);
/// Bytes of the shortest RSA modulus.
const RSA_MIN_BYTES: usize = 256;

struct Key {
    kid: Option<String>,
    key_type: String,
    curve: Option<String>,
    algorithm: Option<String>,
    key: DecodingKey,
}

/// The keys as they were read.
struct Held {
    keys: Arc<Vec<Key>>,
    modified: Option<SystemTime>,
    looked: Instant,
}

/// An issuer with its keys.
pub(super) struct Issuer {
    settings: IssuerSettings,
    held: Mutex<Held>,
}

impl Issuer {
    pub(super) fn load(settings: IssuerSettings) -> Result<Self, String> {
        let uri: http::Uri = settings.url.parse().map_err(|_| "its URL cannot be read".to_owned())?;
        let host =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).map(http::uri::Authority::host).unwrap_or_default();
        let loopback = uri.scheme_str() == Some("http") && ["127.0.0.1", "localhost", "[::1]"].contains(&host);
        if host.is_empty() || uri.query().is_some() || !(uri.scheme_str() == Some("https") || loopback) {
            return Err("its URL must begin with https:// (http:// on loopback alone)".to_owned());
        }
        if settings.algorithms.is_empty() {
            return Err("its list of algorithms is empty".to_owned());
        }
        let keys = Arc::new(read(&settings)?);
        let modified = modified(&settings);
        Ok(Self { settings, held: Mutex::new(Held { keys, modified, looked: Instant::now() }) })
    }

    pub(super) const fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// Checks a signature with the key that the header names.
    pub(super) fn check_signature(&self, alg: &str, kid: Option<&str>, message: &[u8], signature: &str) -> Result<(), Refusal> {
        let invalid = |why: &str| Refusal::new(Code::InvalidToken).detail(why);
        let algorithm = Algorithm::parse(alg)
            .filter(|algorithm| self.settings.algorithms.contains(algorithm))
            .ok_or_else(|| invalid("its algorithm is not on the issuer's list"))?;
        let keys = self.keys();
        let key = find(&keys, algorithm, kid).ok_or_else(|| invalid("its key is not one of the issuer's"))?;
        match jsonwebtoken::crypto::verify(signature, message, &key.key, algorithm.jose()) {
            Ok(true) => Ok(()),
            _ => Err(invalid("its signature does not hold")),
        }
    }

    /// The keys as the file has them.
    fn keys(&self) -> Arc<Vec<Key>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= REREAD_EVERY {
            held.looked = Instant::now();
            let now = modified(&self.settings);
            if now != held.modified {
                // A key that was taken out of the file is good no longer; a file that cannot be read leaves the keys that were.
                match read(&self.settings) {
                    Ok(keys) => (held.keys, held.modified) = (Arc::new(keys), now),
                    Err(why) => tracing::warn!(issuer = %self.settings.url, why, "the keys could not be read again"),
                }
            }
        }
        Arc::clone(&held.keys)
    }
}

fn modified(settings: &IssuerSettings) -> Option<SystemTime> {
    std::fs::metadata(&settings.jwks_file).and_then(|metadata| metadata.modified()).ok()
}

/// The key by its id; without one only if there is no choice.
fn find<'a>(keys: &'a [Key], algorithm: Algorithm, kid: Option<&str>) -> Option<&'a Key> {
    let (key_type, curve) = algorithm.key_type();
    let fits = |key: &&Key| {
        let same_algorithm = key.algorithm.as_deref().is_none_or(|named| Algorithm::parse(named) == Some(algorithm));
        key.key_type == key_type && key.curve.as_deref() == curve && same_algorithm
    };
    match kid {
        Some(kid) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)).filter(fits),
        None => match keys {
            [only] => Some(only).filter(fits),
            _ => None,
        },
    }
}

fn read(settings: &IssuerSettings) -> Result<Vec<Key>, String> {
    let path = settings.jwks_file.display();
    let length = std::fs::metadata(&settings.jwks_file).map_err(|error| format!("failed to read `{path}`: {error}"))?.len();
    if length > JWKS_MAX_BYTES {
        return Err(format!("`{path}` is larger than {JWKS_MAX_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(&settings.jwks_file).map_err(|error| format!("failed to read `{path}`: {error}"))?;
    let set: Value = serde_json::from_str(&text).map_err(|error| format!("`{path}` is no JSON: {error}"))?;
    let entries = set.get("keys").and_then(Value::as_array).ok_or_else(|| format!("`{path}` has no list `keys`"))?;
    let mut keys: Vec<Key> = Vec::new();
    for entry in entries {
        let member = |name: &str| entry.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let kid = member("kid");
        let at = kid.clone().unwrap_or_else(|| format!("{}", keys.len() + 1));
        if entry.get("d").is_some() || entry.get("k").is_some() || member("kty").as_deref() == Some("oct") {
            return Err(format!("`{path}` holds a private or symmetric key (`{at}`): only public keys belong there"));
        }
        if entry.get("use").is_some_and(|purpose| purpose != "sig") {
            continue;
        }
        // Keys of kinds that the issuer's list has no use for are passed over (RFC 7517, 5): a provider may publish more than we ask for.
        let (key_type, curve) = (member("kty").unwrap_or_default(), member("crv"));
        if !settings.algorithms.iter().any(|algorithm| algorithm.key_type() == (key_type.as_str(), curve.as_deref())) {
            continue;
        }
        if let Some(modulus) = member("n") {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(modulus)
                .map_err(|_| format!("`{path}`: the modulus of `{at}` is not base64url"))?;
            if bytes.iter().skip_while(|byte| **byte == 0).count() < RSA_MIN_BYTES {
                return Err(format!("`{path}`: the RSA key `{at}` is shorter than {} bits", RSA_MIN_BYTES * 8));
            }
        }
        if kid.is_some() && keys.iter().any(|key| key.kid == kid) {
            return Err(format!("`{path}` has two keys `{at}`"));
        }
        let jwk: Jwk =
            serde_json::from_value(entry.clone()).map_err(|_| format!("`{path}`: the key `{at}` is of a kind that is not known"))?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| format!("`{path}`: the key `{at}` cannot be used"))?;
        keys.push(Key { kid, key_type, curve, algorithm: member("alg"), key });
    }
    if keys.is_empty() {
        return Err(format!("`{path}` has no key for the issuer's algorithms"));
    }
    Ok(keys)
}
