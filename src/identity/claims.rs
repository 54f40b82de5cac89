//! Claims, strictly typed: what a token says, or a refusal that names the claim.
//!
//! Numbers are integers, texts are texts, and a claim that stands twice is refused (serde's derive does that for every field listed here). A
//! lenient reading of `exp` has let tokens live for ever elsewhere.

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::issuer::IssuerSettings;
use crate::refusal::{Code, Refusal};

/// 2200-01-01: later is no time that anybody meant.
const TIME_MAX: i64 = 7_258_118_400;
/// The longest text claim.
const TEXT_MAX: usize = 255;
/// Teams and scopes of one token.
const LIST_MAX: usize = 256;
/// Actors of one token.
const DEPTH_MAX: usize = 4;

#[derive(Deserialize)]
struct Raw {
    iss: String,
    sub: String,
    aud: Value,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    jti: Option<String>,
    scope: Option<String>,
    scp: Option<Vec<String>>,
    client_id: Option<String>,
    azp: Option<String>,
    act: Option<Value>,
    may_act: Option<Value>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The claims of a token whose signature held.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) client: Option<String>,
    /// The `act` chain, the one who acts now first.
    pub(super) actors: Vec<String>,
    pub(super) has_act: bool,
    pub(super) scopes: Vec<String>,
    pub(super) teams: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) token_id: Option<String>,
    pub(super) expires_at: Timestamp,
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidToken).detail(why)
}

fn text(name: &str, value: &str) -> Result<String, Refusal> {
    if value.is_empty() || value.len() > TEXT_MAX || value.chars().any(char::is_control) {
        return Err(invalid(format!("the claim `{name}` is empty, too long, or holds control characters")));
    }
    Ok(value.to_owned())
}

/// Judges a payload for one audience at one time.
pub(super) fn judge(
    payload: &[u8],
    issuer: &IssuerSettings,
    audience: &str,
    others: &[&str],
    skew: TimeDelta,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    if !crate::identity::strict::is_strict(payload) {
        return Err(invalid("its claims hold a null or a name that stands twice"));
    }
    // serde's words name the claim and never its value.
    let raw: Raw = serde_json::from_slice(payload).map_err(|error| {
        let why = error.to_string();
        invalid(format!(
            "its claims cannot be read: {}",
            why.split(" at line").next().unwrap_or_default().split('`').take(3).collect::<Vec<_>>().join("`")
        ))
    })?;
    if raw.iss != issuer.url {
        return Err(invalid("the claim `iss` is not the issuer that signed it"));
    }
    check_audience(&raw.aud, audience, others)?;
    let expires_at = check_times(&raw, skew, now)?;
    let subject = text("sub", &raw.sub)?;
    if raw.client_id.is_some() && raw.azp.is_some() && raw.client_id != raw.azp {
        return Err(invalid("the claims `client_id` and `azp` name two clients"));
    }
    let client = raw.client_id.as_deref().or(raw.azp.as_deref()).map(|client| text("client_id", client)).transpose()?;
    let actors = raw.act.as_ref().map(|act| chain(act, &subject)).transpose()?.unwrap_or_default();
    if let Some(may_act) = &raw.may_act {
        let named = may_act.get("sub").and_then(Value::as_str);
        let acting = actors.first().or(client.as_ref()).map(String::as_str);
        if named.is_none() || named != acting {
            return Err(invalid("the claim `may_act` names another actor"));
        }
    }
    let scopes: Vec<String> = match (&raw.scope, raw.scp) {
        (Some(scope), _) => scope.split(' ').filter(|scope| !scope.is_empty()).map(ToOwned::to_owned).collect(),
        (None, Some(scp)) => scp,
        (None, None) => Vec::new(),
    };
    let teams = match raw.more.get(&issuer.teams_claim) {
        None => Vec::new(),
        Some(Value::Array(teams)) => teams
            .iter()
            .map(|team| team.as_str().ok_or_else(|| invalid("the teams claim is no list of texts")).and_then(|team| text("teams", team)))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(invalid("the teams claim is no list of texts")),
    };
    if scopes.len() > LIST_MAX || teams.len() > LIST_MAX {
        return Err(invalid(format!("it has more than {LIST_MAX} scopes or teams")));
    }
    let name = raw
        .more
        .get(&issuer.name_claim)
        .and_then(Value::as_str)
        .filter(|name| !name.chars().any(char::is_control))
        .map(|name| name.chars().take(TEXT_MAX).collect());
    let token_id = raw.jti.as_deref().map(|jti| text("jti", jti)).transpose()?;
    Ok(Claims { subject, client, has_act: raw.act.is_some(), actors, scopes, teams, name, token_id, expires_at })
}

/// The audience must be exactly this resource: no prefix, no trailing slash, and never both doors at once.
fn check_audience(claim: &Value, audience: &str, others: &[&str]) -> Result<(), Refusal> {
    let audiences: Vec<&str> = match claim {
        Value::String(one) => vec![one],
        Value::Array(several) => several
            .iter()
            .map(|one| one.as_str().ok_or_else(|| invalid("the claim `aud` is no text or list of texts")))
            .collect::<Result<_, _>>()?,
        _ => return Err(invalid("the claim `aud` is no text or list of texts")),
    };
    if !audiences.contains(&audience) {
        return Err(invalid(format!("the claim `aud` does not hold `{audience}`")));
    }
    if audiences.iter().any(|one| others.contains(one)) {
        return Err(invalid("the claim `aud` holds both of the broker's doors"));
    }
    Ok(())
}

fn check_times(raw: &Raw, skew: TimeDelta, now: Timestamp) -> Result<Timestamp, Refusal> {
    let time = |name: &str, value: i64| {
        Some(value)
            .filter(|value| (1..TIME_MAX).contains(value))
            .and_then(|value| Timestamp::from_timestamp(value, 0))
            .ok_or_else(|| invalid(format!("the claim `{name}` is no time between 1970 and 2200")))
    };
    let expires_at = time("exp", raw.exp)?;
    let issued_at = time("iat", raw.iat.ok_or_else(|| invalid("the claim `iat` is missing"))?)?;
    if expires_at + skew <= now {
        return Err(Refusal::new(Code::TokenExpired));
    }
    if issued_at > now + skew || expires_at <= issued_at {
        return Err(invalid("the claim `iat` lies in the future or after `exp`"));
    }
    if let Some(nbf) = raw.nbf
        && time("nbf", nbf)? > now + skew
    {
        return Err(invalid("it is not valid yet (`nbf`)"));
    }
    Ok(expires_at)
}

/// The actors of an `act` claim (RFC 8693, 4.1), the current one first.
fn chain(act: &Value, subject: &str) -> Result<Vec<String>, Refusal> {
    let mut actors: Vec<String> = Vec::new();
    let mut next = Some(act);
    while let Some(act) = next {
        let actor = act.get("sub").and_then(Value::as_str).ok_or_else(|| invalid("the claim `act` names no actor"))?;
        let actor = text("act.sub", actor)?;
        if actor == subject || actors.contains(&actor) {
            return Err(invalid("the claim `act` goes in a circle"));
        }
        actors.push(actor);
        if actors.len() > DEPTH_MAX {
            return Err(invalid(format!("the claim `act` is deeper than {DEPTH_MAX}")));
        }
        next = act.get("act");
    }
    Ok(actors)
}
