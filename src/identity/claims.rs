//! Claims, strictly typed: what a token says, or a refusal that names the claim.
//!
//! Numbers are integers, texts are texts, nothing is null and no name stands twice. A lenient reading of `exp` has let tokens live for ever
//! elsewhere. Which claim says who is the issuer's mapping's to name; how it is read is the same for all.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::issuer::IssuerSettings;
use crate::identity::mapping::{Mapping, Provider};
use crate::identity::possession::Bound;
use crate::refusal::{Code, Refusal};

/// 2200-01-01: later is no time that anybody meant.
const TIME_MAX: i64 = 7_258_118_400;
/// The longest text claim.
const TEXT_MAX: usize = 255;
/// Teams and scopes of one token.
const LIST_MAX: usize = 256;
/// Actors of one token.
const DEPTH_MAX: usize = 4;

/// How the human signed in, as the issuer says (OpenID Connect Core 2, RFC 8176).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignIn {
    /// The authentication context class, `acr`.
    pub acr: Option<String>,
    /// The methods, `amr`, such as `mfa`.
    pub amr: Vec<String>,
    /// When, `auth_time`.
    pub at: Option<Timestamp>,
}

/// The claims of a token whose signature held.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) subject: String,
    /// The issuer that the human is known at, where that is not the token's own (`sub_id`, RFC 9493).
    pub(super) human_issuer: Option<String>,
    /// Nobody is there: the human answers for what the agent does alone.
    pub(super) is_unattended: bool,
    pub(super) client: Option<String>,
    /// The `act` chain, the one who acts now first.
    pub(super) actors: Vec<String>,
    pub(super) has_act: bool,
    /// No human stands behind it, as far as the issuer tells.
    pub(super) is_machine: bool,
    pub(super) scopes: Vec<String>,
    /// Whether it says anything of scopes at all: an ID token does not.
    pub(super) has_scopes: bool,
    pub(super) teams: Vec<String>,
    /// What all accounts of the human have in common.
    pub(super) person: Option<String>,
    pub(super) name: Option<String>,
    pub(super) token_id: Option<String>,
    pub(super) sign_in: SignIn,
    /// The registry's delegation that the token was issued under (`dlg`).
    pub(super) delegation: Option<String>,
    /// The actor that the human's issuer names, `may_act`.
    pub(super) may_act: Option<String>,
    /// The key that it is good with.
    pub(super) bound: Option<Bound>,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// What kind of token a payload is of, as far as is known before its claims are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its header or its issuer says that it is for access.
    Access,
    /// Nothing says so: its claims must not say otherwise.
    Undeclared,
    /// For the token service, which takes what only says who signed in.
    Subject,
}

/// What a payload is judged against.
pub(super) struct Bench<'a> {
    pub(super) issuer: &'a IssuerSettings,
    /// The one audience that it must have.
    pub(super) audience: &'a str,
    /// Audiences that it must not have beside it.
    pub(super) others: &'a [&'a str],
    /// What kind of token it is for.
    pub(super) kind: Kind,
    pub(super) skew: TimeDelta,
    pub(super) now: Timestamp,
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidToken).detail(why)
}

fn well_formed(name: &str, value: &str) -> Result<String, Refusal> {
    if value.is_empty() || value.len() > TEXT_MAX || value.chars().any(char::is_control) {
        return Err(invalid(format!("the claim `{name}` is empty, too long, or holds control characters")));
    }
    Ok(value.to_owned())
}

/// A text, where the claim is there at all.
fn text(name: &str, value: Option<&Value>) -> Result<Option<String>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let value = value.as_str().ok_or_else(|| invalid(format!("the claim `{name}` is no text")))?;
    well_formed(name, value).map(Some)
}

/// A list of texts; none where the claim is not there.
fn texts(name: &str, value: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || invalid(format!("the claim `{name}` is no list of texts"));
    let Some(value) = value else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(wrong)?;
    if items.len() > LIST_MAX {
        return Err(invalid(format!("the claim `{name}` has more than {LIST_MAX} items")));
    }
    items.iter().map(|item| item.as_str().ok_or_else(wrong).and_then(|item| well_formed(name, item))).collect()
}

fn time(name: &str, value: Option<&Value>) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    value
        .as_i64()
        .filter(|value| (1..TIME_MAX).contains(value))
        .and_then(|value| Timestamp::from_timestamp(value, 0))
        .map(Some)
        .ok_or_else(|| invalid(format!("the claim `{name}` is no time between 1970 and 2200, in whole seconds")))
}

fn required<T>(name: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| invalid(format!("the claim `{name}` is missing")))
}

/// Judges a token's claims.
pub(super) fn judge(raw: &Map<String, Value>, bench: &Bench<'_>) -> Result<Claims, Refusal> {
    let mapping = &bench.issuer.mapping;
    let named = |name: &'static str| text(name, raw.get(name));
    if required("iss", named("iss")?)? != bench.issuer.url {
        return Err(invalid("the claim `iss` is not the issuer that signed it"));
    }
    check_audience(required("aud", raw.get("aud"))?, bench)?;
    let (issued_at, expires_at) = check_times(raw, bench)?;
    if bench.kind == Kind::Undeclared && mapping.provider.is_other_kind(raw) {
        return Err(invalid("its claims are those of an ID token or a logout token, not of an access token"));
    }
    for (claim, wanted) in &mapping.demands {
        if claim.find(raw).and_then(Value::as_str) != Some(wanted) {
            return Err(invalid(format!("the claim `{}` does not say what is demanded of it", claim.as_str())));
        }
    }
    // The subject must be there even where another claim is the human's id.
    let issuer_subject = required("sub", named("sub")?)?;
    let human_claim = mapping.human.as_str();
    let subject = required(human_claim, text(human_claim, mapping.human.find(raw))?)?;
    let client = client(raw, bench.issuer)?;
    let scopes = scopes(raw)?;
    let actors = raw.get("act").map(|act| chain(act, bench.issuer, &[&subject, &issuer_subject], &scopes)).transpose()?.unwrap_or_default();
    if let Some(may_act) = raw.get("may_act") {
        let named = may_act.get("sub").and_then(Value::as_str);
        let acting = actors.first().or(client.as_ref()).map(String::as_str);
        // What the token service is shown is not yet in the actor's hands: it is judged there whom it names.
        // An actor of another issuer is another, whatever its name.
        let elsewhere = may_act.get("iss").is_some_and(|iss| iss.as_str() != Some(&bench.issuer.url));
        if named.is_none() || elsewhere || (named != acting && bench.kind != Kind::Subject) {
            return Err(invalid("the claim `may_act` names another actor"));
        }
    }
    let human_issuer = match (mapping.provider, raw.get("sub_id").and_then(Value::as_object)) {
        (Provider::Own, Some(id)) if id.get("format").is_some_and(|format| format == "iss_sub") => text("sub_id.iss", id.get("iss"))?,
        (Provider::Own, _) => return Err(invalid("the claim `sub_id` is missing or of another format")),
        _ => None,
    };
    Ok(Claims {
        human_issuer,
        is_unattended: mapping.provider == Provider::Own && raw.get("unattended") == Some(&Value::Bool(true)),
        is_machine: mapping.provider.is_machine(raw)
            || client.as_ref().is_some_and(|client| *client == subject || *client == issuer_subject),
        subject,
        client,
        has_act: raw.contains_key("act"),
        has_scopes: raw.contains_key("scope") || raw.contains_key("scp"),
        actors,
        scopes,
        teams: teams(raw, bench.issuer)?,
        person: person(raw, mapping)?,
        // A display name is never judged, so a strange one is left out and not refused.
        name: mapping
            .name
            .find(raw)
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty() && !name.chars().any(char::is_control))
            .map(|name| name.chars().take(TEXT_MAX).collect()),
        token_id: named("jti")?,
        sign_in: SignIn { acr: named("acr")?, amr: texts("amr", raw.get("amr"))?, at: time("auth_time", raw.get("auth_time"))? },
        delegation: named("dlg")?,
        may_act: raw.get("may_act").and_then(|may_act| may_act.get("sub")).and_then(Value::as_str).map(ToOwned::to_owned),
        bound: Bound::of(raw.get("cnf"))?,
        issued_at,
        expires_at,
    })
}

/// What all accounts of the human have in common: where the operator says which claim has it, a token without it would pass for another human's.
fn person(raw: &Map<String, Value>, mapping: &Mapping) -> Result<Option<String>, Refusal> {
    let Some(path) = &mapping.person else { return Ok(None) };
    let found = text(path.as_str(), path.find(raw))?;
    // The broker's own tokens have it if the human's issuer told.
    if mapping.provider == Provider::Own { Ok(found) } else { required(path.as_str(), found).map(Some) }
}

fn client(raw: &Map<String, Value>, issuer: &IssuerSettings) -> Result<Option<String>, Refusal> {
    if let Some(path) = &issuer.mapping.agent {
        return text(path.as_str(), path.find(raw));
    }
    let (client, party) = (text("client_id", raw.get("client_id"))?, text("azp", raw.get("azp"))?);
    if client.is_some() && party.is_some() && client != party {
        return Err(invalid("the claims `client_id` and `azp` name two clients"));
    }
    Ok(client.or(party))
}

/// `scope` is a text of words (RFC 9068); `scp` is one at Entra ID, and a list at Okta.
fn scopes(raw: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let words = |name: &str, value: &str| -> Result<Vec<String>, Refusal> {
        let words: Vec<String> = value.split(' ').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
        if words.len() > LIST_MAX || words.iter().any(|word| word.len() > TEXT_MAX) || value.chars().any(char::is_control) {
            return Err(invalid(format!("the claim `{name}` is too long, or holds control characters")));
        }
        Ok(words)
    };
    match (raw.get("scope"), raw.get("scp")) {
        (Some(Value::String(scope)), _) => words("scope", scope),
        (Some(_), _) => Err(invalid("the claim `scope` is no text")),
        (None, Some(Value::String(scope))) => words("scp", scope),
        (None, list) => texts("scp", list),
    }
}

fn teams(raw: &Map<String, Value>, issuer: &IssuerSettings) -> Result<Vec<String>, Refusal> {
    let path = &issuer.mapping.teams;
    // A token that only says where the teams could be asked for: without them a `forbid` on a team would not bind.
    let elsewhere = raw.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(path.as_str()));
    if elsewhere || raw.get("hasgroups").is_some_and(|has| has == &Value::Bool(true) || has == "true") {
        return Err(invalid(format!(
            "it has too many teams to hold them (`{}` is left out): let the issuer put only the teams of this application into it",
            path.as_str()
        )));
    }
    texts(path.as_str(), path.find(raw))
}

/// The audience must be exactly this resource: no prefix, no trailing slash, and never both doors at once.
fn check_audience(claim: &Value, bench: &Bench<'_>) -> Result<(), Refusal> {
    let audiences = match claim {
        Value::String(one) => vec![one.clone()],
        several => texts("aud", Some(several))?,
    };
    if !audiences.iter().any(|one| one == bench.audience) {
        return Err(invalid(format!("the claim `aud` does not hold `{}`", bench.audience)));
    }
    if audiences.iter().any(|one| bench.others.contains(&one.as_str())) {
        return Err(invalid("the claim `aud` holds both of the broker's doors"));
    }
    Ok(())
}

fn check_times(raw: &Map<String, Value>, bench: &Bench<'_>) -> Result<(Timestamp, Timestamp), Refusal> {
    let named = |name: &'static str| time(name, raw.get(name));
    let expires_at = required("exp", named("exp")?)?;
    let issued_at = required("iat", named("iat")?)?;
    if expires_at + bench.skew <= bench.now {
        return Err(Refusal::new(Code::TokenExpired));
    }
    if issued_at > bench.now + bench.skew || expires_at <= issued_at {
        return Err(invalid("the claim `iat` lies in the future or after `exp`"));
    }
    if named("nbf")?.is_some_and(|nbf| nbf > bench.now + bench.skew) {
        return Err(invalid("it is not valid yet (`nbf`)"));
    }
    Ok((issued_at, expires_at))
}

/// The actors of an `act` claim (RFC 8693, 4.1), the current one first. None of them is the human, and none had less than is asked for now.
fn chain(act: &Value, issuer: &IssuerSettings, human: &[&String], scopes: &[String]) -> Result<Vec<String>, Refusal> {
    let mut actors: Vec<String> = Vec::new();
    let mut next = Some(act);
    while let Some(act) = next {
        let actor = act.get("sub").and_then(Value::as_str).ok_or_else(|| invalid("the claim `act` names no actor"))?;
        let actor = well_formed("act.sub", actor)?;
        if human.contains(&&actor) || actors.contains(&actor) {
            return Err(invalid("the claim `act` goes in a circle"));
        }
        // An actor of another issuer would pass here for one of this issuer's by the same name.
        if act.get("iss").is_some_and(|iss| iss.as_str() != Some(&issuer.url)) {
            return Err(invalid("the claim `act` names an actor of another issuer"));
        }
        if let Some(held) = act.get("scope") {
            let held = held.as_str().ok_or_else(|| invalid("the claim `act.scope` is no text"))?;
            if !scopes.iter().all(|scope| held.split(' ').any(|word| word == scope)) {
                return Err(invalid("its scope is wider than that of an actor in its `act` chain"));
            }
        }
        actors.push(actor);
        if actors.len() > DEPTH_MAX {
            return Err(invalid(format!("the claim `act` is deeper than {DEPTH_MAX}")));
        }
        next = act.get("act");
    }
    Ok(actors)
}
