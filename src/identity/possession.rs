//! Proof of possession: a token that is bound to a key is good only together with that key (DPoP, RFC 9449; certificates, RFC 8705).
//!
//! A stolen token of that kind opens nothing. Every request brings a fresh proof, for this method, this address and this very token, and no proof is
//! taken twice. Which key a token is bound to, the token says (`cnf`, RFC 7800); a binding of a kind that is not known here is never overlooked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::identity::binding::ClientCertificate;
use crate::identity::keys::{Algorithm, KeySet};
use crate::identity::strict::object;
use crate::refusal::{Code, Refusal};

/// What comes with a request beside its body.
#[derive(Debug, Clone)]
pub struct Presented<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The method.
    pub method: Method,
    /// The certificate that the client proved to hold when it connected.
    pub certificate: Option<&'a ClientCertificate>,
}

impl<'a> From<&'a HeaderMap> for Presented<'a> {
    /// A POST over a connection without a certificate.
    fn from(headers: &'a HeaderMap) -> Self {
        Self { headers, method: Method::POST, certificate: None }
    }
}

/// The key that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// By the thumbprint of a public key (`jkt`).
    Key(String),
    /// By the thumbprint of a certificate (`x5t#S256`).
    Certificate(String),
}

impl Bound {
    /// The thumbprint, of whichever it is.
    pub(super) fn thumbprint(&self) -> &str {
        match self {
            Self::Key(thumbprint) | Self::Certificate(thumbprint) => thumbprint,
        }
    }

    /// From the claim `cnf`.
    pub(super) fn of(claim: Option<&Value>) -> Result<Option<Self>, Refusal> {
        let Some(claim) = claim else { return Ok(None) };
        let members = claim.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
        match members.collect::<Vec<_>>().as_slice() {
            [("jkt", Some(thumbprint))] => Ok(Some(Self::Key((*thumbprint).to_owned()))),
            [("x5t#S256", Some(thumbprint))] => Ok(Some(Self::Certificate((*thumbprint).to_owned()))),
            _ => Err(Refusal::new(Code::InvalidToken).detail("the claim `cnf` binds it in a way that is not known here")),
        }
    }
}

/// A proof is good for so long after it was made.
const FRESH: TimeDelta = TimeDelta::seconds(60);
/// The longest proof, in bytes.
const PROOF_MAX_BYTES: usize = 8 * 1024;
/// Proofs that are remembered.
const SEEN_MAX: usize = 100_000;

/// Algorithms that proofs may be signed with.
const ALGORITHMS: [Algorithm; 5] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256];

/// Their names, as metadata and challenges list them.
pub(super) fn algorithms() -> [&'static str; 5] {
    ALGORITHMS.map(Algorithm::as_str)
}

fn no(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidProof).detail(why)
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// Judges proofs, and remembers those it took.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    seen: Mutex<HashMap<String, Timestamp>>,
}

impl Proofs {
    /// Checks a request's proof for a method and address; the thumbprint of the key that signed it. The token that it must be for, and the
    /// thumbprint of the key that it must be signed with, where they are known.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        method: &Method,
        address: &str,
        (token, key): (Option<&str>, Option<&str>),
        skew: TimeDelta,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let mut values = headers.get_all("dpop").iter();
        let proof = values.next().ok_or_else(|| no("there is no DPoP header"))?;
        if values.next().is_some() {
            return Err(no("the DPoP header stands more than once"));
        }
        let proof = proof.to_str().ok().filter(|proof| proof.len() <= PROOF_MAX_BYTES).ok_or_else(|| no("it is too long, or no text"))?;
        let (thumbprint, claims) = opened(proof)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("htm") != method.as_str() || plain(text("htu")) != plain(address) {
            return Err(no("it is for another method or address"));
        }
        let made = claims.get("iat").and_then(Value::as_i64).and_then(|at| Timestamp::from_timestamp(at, 0));
        let Some(made) = made.filter(|made| *made <= now + skew && now <= *made + FRESH + skew) else {
            return Err(no("it was not made just now"));
        };
        if token.is_some_and(|token| text("ath") != hash(token)) {
            return Err(no("it is for another token"));
        }
        // Before anything is remembered: nobody fills the memory with keys of their own making.
        if key.is_some_and(|key| key != thumbprint) {
            return Err(no("it is signed with another key than the token is bound to"));
        }
        let id = text("jti");
        if id.is_empty() || id.len() > 255 {
            return Err(no("it has no `jti`"));
        }
        self.first_use(hash(&format!("{thumbprint}.{id}")), made + FRESH + skew + skew, now)?;
        Ok(thumbprint)
    }

    pub(super) fn first_use(&self, id: String, until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, until| *until > now);
        }
        if seen.len() >= SEEN_MAX {
            // What cannot be remembered could be used again.
            return Err(Refusal::new(Code::Overloaded));
        }
        match seen.insert(id, until) {
            Some(known) if known > now => Err(no("it was used before")),
            _ => Ok(()),
        }
    }
}

/// Scheme and host in lower case, without query and fragment.
fn plain(address: &str) -> String {
    reqwest::Url::parse(address).map_or_else(
        |_| String::new(),
        |mut url| {
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        },
    )
}

/// A proof whose signature is that of the key it carries: the key's thumbprint, and the claims.
fn opened(proof: &str) -> Result<(String, Map<String, Value>), Refusal> {
    let malformed = || no("it is no signed JSON Web Token");
    let (message, signature) = proof.rsplit_once('.').ok_or_else(malformed)?;
    let (head, body) = message.split_once('.').filter(|(_, body)| !body.contains('.')).ok_or_else(malformed)?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| object(&bytes)).ok_or_else(malformed);
    let (header, claims) = (decoded(head)?, decoded(body)?);
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if text("typ") != Some("dpop+jwt") || ["crit", "jku", "x5u", "x5c", "b64"].iter().any(|name| header.contains_key(*name)) {
        return Err(no("its header is not that of a DPoP proof"));
    }
    let algorithm = text("alg").and_then(Algorithm::parse).filter(|algorithm| ALGORITHMS.contains(algorithm));
    let algorithm = algorithm.ok_or_else(|| no("its algorithm is not one of those taken"))?;
    let key = header.get("jwk").filter(|key| key.is_object()).ok_or_else(|| no("its header has no `jwk`"))?;
    // Read as strictly as an issuer's keys: a private or short one is refused.
    let keys = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes(), &[algorithm]).map_err(no)?;
    let kid = key.get("kid").and_then(Value::as_str);
    let holds = keys.find(algorithm, kid).is_some_and(|key| key.holds(algorithm, message.as_bytes(), signature));
    if !holds {
        return Err(no("its signature does not hold"));
    }
    Ok((thumbprint(key).ok_or_else(|| no("its key is of a kind that is not known"))?, claims))
}

/// RFC 7638: the members that make it this key, in order, hashed.
fn thumbprint(key: &Value) -> Option<String> {
    let members: &[&str] = match key.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let named: Option<Map<String, Value>> =
        members.iter().map(|name| Some(((*name).to_owned(), Value::from(key.get(*name)?.as_str()?)))).collect();
    // Written in the order of the list, which is the order by name that the specification wants, whether or not maps are sorted here.
    Some(hash(&Value::Object(named?).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_of_the_specification() {
        let key = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        assert_eq!(thumbprint(&key).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn bindings_that_are_not_known_are_not_overlooked() {
        assert_eq!(Bound::of(None).unwrap(), None);
        assert_eq!(Bound::of(Some(&json!({"jkt": "a"}))).unwrap(), Some(Bound::Key("a".to_owned())));
        for strange in [json!({}), json!({"jwk": {}}), json!({"jkt": 7}), json!({"jkt": "a", "x5t#S256": "b"}), json!("a"), json!([])] {
            assert!(Bound::of(Some(&strange)).is_err(), "{strange}");
        }
    }
}
