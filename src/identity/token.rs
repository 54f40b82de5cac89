//! A token's form and signature. What passes here is [`Verified`], and only from that can a `Delegation` or a `Person` be made.
//!
//! The key comes from the configured issuer's own set and from nowhere else: keys and addresses of keys inside the token are refused, and so is
//! an algorithm that the issuer's list does not have.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::identity::claims::{Bench, Claims, Kind, judge};
use crate::identity::issuer::{Issuer, IssuerSettings};
use crate::identity::strict::object;
use crate::refusal::{Code, Refusal};

/// The claims of a token that is signed, in time, and for this door; minted by [`verify`] alone.
pub(super) struct Verified {
    pub(super) issuer: Arc<Issuer>,
    pub(super) claims: Claims,
}

/// A token's header.
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) typ: Option<String>,
    pub(super) kid: Option<String>,
}

/// Header members that would let a token bring its own key, or demand something that is not understood.
pub(super) const FOREIGN: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64"];

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
    if token.split('.').count() == 3 { signed(identity, token, door, now).await } else { opaque(identity, token, door, now).await }
}

/// A signed token whose signature holds; its claims are not judged yet.
pub(super) struct Opened<'a> {
    issuer: &'a Arc<Issuer>,
    typ: Option<String>,
    claims: Map<String, Value>,
}

async fn signed(identity: &Identity, token: &str, door: Door, now: Timestamp) -> Result<Verified, Refusal> {
    let opened = open(identity, token).await?;
    let kind = check_type(opened.typ.as_deref(), opened.issuer.settings())?;
    judged(identity, &opened.claims, opened.issuer, door, kind, now)
}

/// Takes a signed token apart and checks its signature.
async fn open<'a>(identity: &'a Identity, token: &str) -> Result<Opened<'a>, Refusal> {
    let parts = Parts::of(token)?;
    // Read without trust, to choose the key; it is judged again under the signature.
    let claimed = parts.claims.get("iss").and_then(Value::as_str);
    let issuer = identity
        .issuers
        .iter()
        .find(|issuer| Some(issuer.settings().url.as_str()) == claimed)
        .ok_or_else(|| invalid("its issuer is not one of those configured"))?;
    issuer.check_signature(&parts.header.alg, parts.header.kid.as_deref(), parts.message.as_bytes(), parts.signature).await?;
    Ok(Opened { issuer, typ: parts.header.typ, claims: parts.claims })
}

/// The parts of a signed token, well-formed; nothing is verified.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    pub(super) claims: Map<String, Value>,
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, Refusal> {
        let (Some((message, signature)), 3) = (token.rsplit_once('.'), token.split('.').count()) else {
            return Err(invalid("it is no signed JSON Web Token of three parts"));
        };
        let (head, body) = message.split_once('.').unwrap_or_default();
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("a part of it is not base64url without padding"));
        let strict = |part: &str, what: &str| {
            object(&decoded(part)?)
                .ok_or_else(|| invalid(format!("its {what} are no JSON object, or hold a null or a name that stands twice")))
        };
        let header = strict(head, "header's members")?;
        let claims = strict(body, "claims")?;
        decoded(signature)?;
        if let Some(foreign) = FOREIGN.iter().find(|name| header.contains_key(**name)) {
            return Err(invalid(format!("its header has `{foreign}`, which is not accepted")));
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(format!("its header's `{name}` is no text"))),
        };
        let alg = text("alg")?.ok_or_else(|| invalid("its header has no `alg`"))?;
        Ok(Self { header: Header { alg, typ: text("typ")?, kid: text("kid")? }, claims, message, signature })
    }
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
            Ok(Some(claims)) => return judged(identity, &claims, issuer, door, Kind::Access, now),
            Ok(None) => {}
            Err(unreachable) => silent = Some(unreachable),
        }
    }
    // An issuer that did not answer may be the one that knows it.
    Err(silent.unwrap_or_else(|| invalid("no issuer says that it is active")))
}

fn judged(
    identity: &Identity,
    claims: &Map<String, Value>,
    of: &Arc<Issuer>,
    door: Door,
    kind: Kind,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    let issuer = of.settings();
    if !issuer.mapping.provider.speaks_for_the_doors() {
        return Err(invalid("its issuer's tokens only say who signed in: exchange it at the token service"));
    }
    let (mcp, inbox) = identity.audiences(issuer);
    let (audience, other) = if door == Door::Mcp { (mcp, inbox) } else { (inbox, mcp) };
    let skew = chrono::TimeDelta::from_std(identity.settings.skew).unwrap_or_default();
    let claims = judge_known(identity, claims, &Bench { issuer, audience, others: &[other], kind, skew, now })?;
    Ok(Verified { issuer: Arc::clone(of), claims })
}

/// The same, where the human must be of an issuer that is still trusted.
fn judge_known(identity: &Identity, claims: &Map<String, Value>, bench: &Bench<'_>) -> Result<Claims, Refusal> {
    let claims = judge(claims, bench)?;
    let is_known = |url: &String| identity.issuers.iter().any(|issuer| issuer.settings().url == *url);
    match claims.human_issuer.as_ref().filter(|url| !is_known(url)) {
        Some(_) => Err(invalid("its human is of an issuer that is not configured")),
        None => Ok(claims),
    }
}

/// Verifies what the token service is shown: who signed in, by a trusted issuer, for this broker or for one of the clients that humans use.
pub(super) async fn subject(identity: &Identity, token: &str, now: Timestamp) -> Result<Verified, Refusal> {
    let opened = open(identity, token).await?;
    let issuer = opened.issuer.settings();
    // An access token or an ID token; what says that somebody signed out says nothing of somebody who is here.
    let typ = opened.typ.as_deref().map(str::to_ascii_lowercase);
    if !matches!(typ.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) || opened.claims.contains_key("events") {
        return Err(invalid("it is neither an access token nor an ID token"));
    }
    let (mcp, inbox) = identity.audiences(issuer);
    let others = [inbox];
    let skew = chrono::TimeDelta::from_std(identity.settings.skew).unwrap_or_default();
    let mut refused = None;
    // A token of the human's door stays there: nothing that opens it can be turned into what an agent holds.
    for audience in [mcp, &identity.settings.public_url].into_iter().chain(issuer.human_clients.iter().map(String::as_str)) {
        let bench = Bench { issuer, audience, others: &others, kind: Kind::Subject, skew, now };
        match judge_known(identity, &opened.claims, &bench) {
            Ok(claims) => return Ok(Verified { issuer: Arc::clone(opened.issuer), claims }),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    Err(refused.unwrap_or_else(|| invalid("it is for nobody here")))
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
