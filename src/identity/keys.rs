//! A set of public keys (RFC 7517): read strictly, and searched by key id.
//!
//! A set with a symmetric key, a private key or a short one is refused whole: it says that somebody mixed files up. Keys of kinds that the
//! issuer's list of algorithms has no use for are passed over (RFC 7517, 5): a provider may publish more than is asked for here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::Value;

/// The largest set, in bytes.
pub(super) const SET_MAX_BYTES: usize = 256 * 1024;
/// Keys that one set may have.
const KEYS_MAX: usize = 100;
/// The shortest RSA modulus.
const RSA_MIN_BYTES: usize = 256;

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

    /// Its JOSE name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(algorithm, ..)| *algorithm == self).map_or("EdDSA", |(_, name, _)| name)
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

/// A public key of an issuer.
pub(super) struct Key {
    kid: Option<String>,
    key_type: String,
    curve: Option<String>,
    algorithm: Option<String>,
    /// The members that make it this key, to tell one from another that has the same id.
    material: String,
    key: DecodingKey,
}

impl Key {
    /// Whether a signature of a message is this key's.
    pub(super) fn holds(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        matches!(jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm.jose()), Ok(true))
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let (key_type, curve) = algorithm.key_type();
        let same_algorithm = self.algorithm.as_deref().is_none_or(|named| Algorithm::parse(named) == Some(algorithm));
        self.key_type == key_type && self.curve.as_deref() == curve && same_algorithm
    }
}

/// The usable keys of an issuer.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// The key by its id; without one only if there is no choice.
    pub(super) fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Option<&Key> {
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)).filter(|key| key.fits(algorithm)),
            (None, [only]) => Some(only).filter(|key| key.fits(algorithm)),
            (None, _) => None,
        }
    }

    /// The ids of all keys, sorted; a key without one is named by what it is made of.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|key| key.kid.clone().unwrap_or_else(|| key.material.clone())).collect();
        names.sort();
        names
    }

    /// Whether both sets have the same keys.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let sorted = |set: &Self| {
            let mut keys: Vec<(Option<String>, String)> = set.0.iter().map(|key| (key.kid.clone(), key.material.clone())).collect();
            keys.sort();
            keys
        };
        sorted(self) == sorted(other)
    }

    /// Reads a set.
    pub(super) fn parse(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, String> {
        if text.len() > SET_MAX_BYTES {
            return Err(format!("the key set is larger than {SET_MAX_BYTES} bytes"));
        }
        let set: Value = serde_json::from_slice(text).map_err(|error| format!("the key set is no JSON: {error}"))?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or("the key set has no list `keys`")?;
        if entries.len() > KEYS_MAX {
            return Err(format!("the key set has more than {KEYS_MAX} keys"));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let Some(key) = read(entry, number + 1, algorithms)? else { continue };
            if key.kid.is_some() && keys.iter().any(|known| known.kid == key.kid) {
                return Err(format!("the key set has two keys `{}`", key.kid.unwrap_or_default()));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err("the key set has no key for the issuer's algorithms".to_owned()) } else { Ok(Self(keys)) }
    }
}

/// One key; `None` for one that is of no use here.
fn read(entry: &Value, number: usize, algorithms: &[Algorithm]) -> Result<Option<Key>, String> {
    let member = |name: &str| entry.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let kid = member("kid");
    let at = kid.clone().unwrap_or_else(|| number.to_string());
    if entry.get("d").is_some() || entry.get("k").is_some() || member("kty").as_deref() == Some("oct") {
        return Err(format!("the key set holds a private or symmetric key (`{at}`): only public keys belong there"));
    }
    let (key_type, curve) = (member("kty").unwrap_or_default(), member("crv"));
    let is_wanted = algorithms.iter().any(|algorithm| algorithm.key_type() == (key_type.as_str(), curve.as_deref()));
    if entry.get("use").is_some_and(|purpose| purpose != "sig") || !is_wanted {
        return Ok(None);
    }
    if let Some(modulus) = member("n") {
        let bytes = URL_SAFE_NO_PAD.decode(modulus).map_err(|_| format!("the modulus of the key `{at}` is not base64url"))?;
        if bytes.iter().skip_while(|byte| **byte == 0).count() < RSA_MIN_BYTES {
            return Err(format!("the RSA key `{at}` is shorter than {} bits", RSA_MIN_BYTES * 8));
        }
    }
    let jwk: Jwk = serde_json::from_value(entry.clone()).map_err(|_| format!("the key `{at}` is of a kind that is not known"))?;
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| format!("the key `{at}` cannot be used"))?;
    let material = ["n", "e", "x", "y"].map(|name| member(name).unwrap_or_default()).join(".");
    Ok(Some(Key { kid, key_type, curve, algorithm: member("alg"), material, key }))
}
