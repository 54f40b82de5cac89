//! A token's form and signature. What passes here is [`Verified`], and only from that can a `Delegation` or a `Person` be made.
//!
//! The key comes from the configured issuer's own set and from nowhere else: keys and addresses of keys inside the token are refused, and so is
//! an algorithm that the issuer's list does not have.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::identity::claims::{Bench, Claims, Kind, judge};
use crate::identity::issuer::{Issuer, IssuerSettings};
use crate::identity::strict::is_strict;
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

/// One of the broker's two doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The agent's.
    Mcp,
    /// The human's.
    Inbox,
}

/// Verifies a token for one of the two doors: a signed one by itself, any other by asking the issuers that let themselves be asked.
pub(super) async fn verify(identity: &Identity, token: &str, door: Door, now: Timestamp) -> Result<Verified, Refusal> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(head), Some(body), Some(signature), None) => signed(identity, token, [head, body, signature], door, now).await,
        _ => opaque(identity, token, door, now).await,
    }
}

async fn signed(identity: &Identity, token: &str, parts: [&str; 3], door: Door, now: Timestamp) -> Result<Verified, Refusal> {
    let [head, body, signature] = parts;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("a part of it is not base64url without padding"));
    let header = decoded(head)?;
    if !is_strict(&header) {
        return Err(invalid("its header holds a null or a name that stands twice"));
    }
    let header: Header = serde_json::from_slice(&header).map_err(|_| invalid("its header cannot be read"))?;
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
    let kind = check_type(header.typ.as_deref(), issuer.settings())?;
    let message = token.rsplit_once('.').map(|(message, _)| message).unwrap_or_default();
    issuer.check_signature(&header.alg, header.kid.as_deref(), message.as_bytes(), signature).await?;
    judged(identity, &payload, issuer.settings(), door, kind, now)
}

/// Issuers that one opaque token is shown to.
const ASKED_MAX: usize = 4;

async fn opaque(identity: &Identity, token: &str, door: Door, now: Timestamp) -> Result<Verified, Refusal> {
    if !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)) {
        return Err(invalid("it holds characters that no bearer token has (RFC 6750, 2.1)"));
    }
    let asked: Vec<&Arc<Issuer>> =
        identity.issuers.iter().filter(|issuer| issuer.settings().introspection.is_some()).take(ASKED_MAX).collect();
    if asked.is_empty() {
        return Err(invalid("it is no signed JSON Web Token of three parts"));
    }
    let mut silent = None;
    for issuer in asked {
        match issuer.introspect(token).await {
            Ok(Some(claims)) => return judged(identity, &claims, issuer.settings(), door, Kind::Access, now),
            Ok(None) => {}
            Err(unreachable) => silent = Some(unreachable),
        }
    }
    // An issuer that did not answer may be the one that knows it.
    Err(silent.unwrap_or_else(|| invalid("no issuer says that it is active")))
}

fn judged(
    identity: &Identity,
    payload: &[u8],
    issuer: &IssuerSettings,
    door: Door,
    kind: Kind,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    if !issuer.mapping.provider.speaks_for_the_doors() {
        return Err(invalid("its issuer's tokens only say who signed in: exchange it at the token service"));
    }
    let (mcp, inbox) = identity.audiences(issuer);
    let (audience, other) = if door == Door::Mcp { (mcp, inbox) } else { (inbox, mcp) };
    let skew = chrono::TimeDelta::from_std(identity.settings.skew).unwrap_or_default();
    let claims = judge(payload, &Bench { issuer, audience, others: &[other], kind, skew, now })?;
    Ok(Verified { issuer: issuer.clone(), claims })
}

/// RFC 9068 names access tokens `at+jwt`: an ID token or a logout token must not pass for one. Whether the name says so; where an issuer does not
/// use it, the claims must tell.
pub(super) fn check_type(typ: Option<&str>, issuer: &IssuerSettings) -> Result<Kind, Refusal> {
    let lower = typ.map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("at+jwt" | "application/at+jwt") => Ok(Kind::Access),
        Some("jwt") | None if issuer.mapping.plain_jwt => Ok(Kind::Undeclared),
        _ => Err(invalid("its header's `typ` is not `at+jwt`")),
    }
}
