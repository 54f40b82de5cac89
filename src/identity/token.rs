//! A token's form and signature. What passes here is [`Verified`], and only from that can a `Delegation` or a `Person` be made.
//!
//! The key comes from the configured issuer's own set and from nowhere else: keys and addresses of keys inside the token are refused, and so is
//! an algorithm that the issuer's list does not have.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::identity::claims::{Claims, judge};
use crate::identity::issuer::IssuerSettings;
use crate::refusal::{Code, Refusal};

/// The claims of a token that is signed, in time, and for this door; minted by [`verify`] alone.
pub(super) struct Verified {
    pub(super) issuer: IssuerSettings,
    pub(super) claims: Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Header members that would let a token bring its own key, or demand something that is not understood.
const FOREIGN: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64"];

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidToken).detail(why)
}

/// Verifies a token for one of the two doors.
pub(super) fn verify(identity: &Identity, token: &str, audience: &str, now: Timestamp) -> Result<Verified, Refusal> {
    let mut parts = token.split('.');
    let (Some(head), Some(body), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(invalid("it is no signed JSON Web Token of three parts"));
    };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("a part of it is not base64url without padding"));
    let header: Header = serde_json::from_slice(&decoded(head)?).map_err(|_| invalid("its header cannot be read"))?;
    let payload = decoded(body)?;
    decoded(signature)?;
    if let Some(foreign) = FOREIGN.iter().find(|name| header.more.contains_key(**name)) {
        return Err(invalid(format!("its header has `{foreign}`, which is not accepted")));
    }
    // Read without trust, to choose the key; it is judged again under the signature.
    let claimed =
        serde_json::from_slice::<Value>(&payload).ok().and_then(|claims| claims.get("iss").and_then(Value::as_str).map(ToOwned::to_owned));
    let issuer = identity
        .issuers
        .iter()
        .find(|issuer| Some(issuer.settings().url.as_str()) == claimed.as_deref())
        .ok_or_else(|| invalid("its issuer is not one of those configured"))?;
    check_type(header.typ.as_deref(), issuer.settings())?;
    let message = token.rsplit_once('.').map(|(message, _)| message).unwrap_or_default();
    issuer.check_signature(&header.alg, header.kid.as_deref(), message.as_bytes(), signature)?;
    let others: Vec<&str> = [identity.settings.resource.as_str(), identity.settings.inbox_resource.as_str()]
        .into_iter()
        .filter(|door| *door != audience)
        .collect();
    let skew = chrono::TimeDelta::from_std(identity.settings.skew).unwrap_or_default();
    let claims = judge(&payload, issuer.settings(), audience, &others, skew, now)?;
    Ok(Verified { issuer: issuer.settings().clone(), claims })
}

/// RFC 9068 names access tokens `at+jwt`: an ID token or a logout token must not pass for one.
fn check_type(typ: Option<&str>, issuer: &IssuerSettings) -> Result<(), Refusal> {
    let lower = typ.map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("at+jwt" | "application/at+jwt") => Ok(()),
        Some("jwt") if issuer.accept_plain_jwt => Ok(()),
        _ => Err(invalid("its header's `typ` is not `at+jwt`")),
    }
}
