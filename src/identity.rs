//! Who asks: every token that comes in becomes a `Delegation` (an agent for a human) or a `Person` (a human at the human's door), or nothing.
//!
//! The two never become each other: the agent's door refuses the inbox's audience, the human's door refuses every token with an `act` claim, of
//! another audience, or of a client that is not on the list of human clients. Nothing but a verified token counts: identity headers are ignored,
//! and there is no fallback to the broker's own credentials.

mod challenge;
mod claims;
pub mod delegation;
pub mod development;
mod issuer;
pub mod person;
mod strict;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::{Clock, Timestamp};
use crate::refusal::{Code, Refusal};

pub use challenge::Challenge;
pub use delegation::{Agent, Delegation, Human};
pub use issuer::{Algorithm, IssuerSettings};
pub use person::Person;

/// How tokens are judged.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's door as a resource (RFC 8707): the public URL of `/mcp`, without a trailing slash. Tokens must have exactly this audience.
    pub resource: String,
    /// The human's door as a resource.
    pub inbox_resource: String,
    /// The public URL of the broker, without a trailing slash.
    pub public_url: String,
    /// Who may issue.
    pub issuers: Vec<IssuerSettings>,
    /// Clocks may differ by this much, at most a minute.
    pub skew: Duration,
}

/// The largest skew that is accepted.
pub const SKEW_MAX: Duration = Duration::from_secs(60);
/// The largest token, in bytes.
const TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Verified tokens that are remembered.
const CACHE_MAX: usize = 10_000;
/// How long they are.
const CACHE_FOR: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// Delegations by SHA-256 of their token, and until when they are taken from here.
type Verified = HashMap<[u8; 32], (Arc<Delegation>, Timestamp)>;

/// Judges tokens.
pub struct Identity {
    settings: Settings,
    issuers: Vec<issuer::Issuer>,
    clock: Clock,
    /// By SHA-256 of the token: the delegation, and until when it is taken from here. Expiry is judged on each use all the same.
    verified: Mutex<Verified>,
}

impl Identity {
    /// An identity room with these issuers.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        if settings.skew > SKEW_MAX {
            problems.push(format!("the clock skew must be at most {} s", SKEW_MAX.as_secs()));
        }
        if settings.resource == settings.inbox_resource {
            problems.push("the agent's door and the human's door need different audiences".to_owned());
        }
        let mut issuers = Vec::new();
        for (position, issuer) in settings.issuers.iter().enumerate() {
            // Two that share a name in policies could speak for each other's teams.
            let earlier = settings.issuers.iter().take(position);
            if earlier.clone().any(|other| other.url == issuer.url) || earlier.clone().any(|other| other.namespace == issuer.namespace) {
                problems.push(format!("issuer `{}`: another issuer has the same URL or namespace", issuer.url));
            }
            match issuer::Issuer::load(issuer.clone()) {
                Ok(issuer) => issuers.push(issuer),
                Err(why) => problems.push(format!("issuer `{}`: {why}", issuer.url)),
            }
        }
        if problems.is_empty() { Ok(Self { settings, issuers, clock, verified: Mutex::new(HashMap::new()) }) } else { Err(problems) }
    }

    /// The agent and human of a request at the agent's door.
    ///
    /// # Errors
    /// The challenge to answer with.
    pub fn agent(&self, headers: &HeaderMap) -> Result<Arc<Delegation>, Challenge> {
        let at_door = |refusal| Challenge::unauthorized(&self.settings.public_url, "mcp", refusal);
        let token = bearer(headers).map_err(at_door)?;
        let now = self.clock.now();
        let key = fingerprint(&token);
        if let Some((delegation, until)) = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && now < *until
            && delegation.is_live(now)
        {
            return Ok(Arc::clone(delegation));
        }
        let verified = token::verify(self, token.expose_secret(), &self.settings.resource, now).map_err(at_door)?;
        let delegation = Delegation::of(verified).map_err(|refusal| match refusal.code() {
            Code::InsufficientScope => Challenge::insufficient(&self.settings.public_url, crate::operation::Risk::Read, refusal),
            _ => at_door(refusal),
        })?;
        let delegation = Arc::new(delegation);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= CACHE_MAX {
            verified.clear();
        }
        verified.insert(key, (Arc::clone(&delegation), delegation.expires_at().min(now + CACHE_FOR)));
        Ok(delegation)
    }

    /// The human of a request at the human's door.
    ///
    /// # Errors
    /// The challenge to answer with.
    pub fn person(&self, headers: &HeaderMap) -> Result<Person, Challenge> {
        let at_door = |refusal| Challenge::unauthorized(&self.settings.public_url, "inbox", refusal);
        let token = bearer(headers).map_err(at_door)?;
        let verified = token::verify(self, token.expose_secret(), &self.settings.inbox_resource, self.clock.now()).map_err(at_door)?;
        Person::of(verified).map_err(|refusal| Challenge::forbidden(&self.settings.public_url, refusal))
    }

    /// The value of `WWW-Authenticate` that asks for a token reaching this risk.
    #[must_use]
    pub fn insufficient_scope(&self, needed: crate::operation::Risk) -> http::HeaderValue {
        Challenge::insufficient(&self.settings.public_url, needed, Refusal::new(Code::InsufficientScope)).www_authenticate
    }

    /// The metadata of the agent's door as a protected resource (RFC 9728).
    #[must_use]
    pub fn metadata(&self) -> serde_json::Value {
        self.describe(&self.settings.resource, "Countersign: tools for agents", &["mcp:read"])
    }

    /// The same of the human's door.
    #[must_use]
    pub fn inbox_metadata(&self) -> serde_json::Value {
        self.describe(&self.settings.inbox_resource, "Countersign: approvals and audit for humans", &[])
    }

    fn describe(&self, resource: &str, name: &str, scopes: &[&str]) -> serde_json::Value {
        let issuers: Vec<&str> = self.settings.issuers.iter().map(|issuer| issuer.url.as_str()).collect();
        serde_json::json!({
            "resource": resource,
            "resource_name": name,
            "authorization_servers": issuers,
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
        })
    }
}

fn fingerprint(token: &SecretString) -> [u8; 32] {
    let mut key = [0_u8; 32];
    for (to, from) in key.iter_mut().zip(digest::digest(&digest::SHA256, token.expose_secret().as_bytes()).as_ref()) {
        *to = *from;
    }
    key
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<SecretString, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Refusal::new(Code::MissingToken)) };
    let invalid = |why: &str| Refusal::new(Code::InvalidToken).detail(why);
    if values.next().is_some() {
        return Err(invalid("the Authorization header stands more than once"));
    }
    let value = value.to_str().map_err(|_| invalid("the Authorization header holds other characters than a token has"))?;
    let (scheme, token) = value.split_once(' ').ok_or_else(|| invalid("the Authorization header must be `Bearer <token>`"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid("the Authorization header must be `Bearer <token>`"));
    }
    let token = token.trim();
    if token.is_empty() || token.len() > TOKEN_MAX_BYTES {
        return Err(invalid("the token is empty or too long"));
    }
    Ok(SecretString::from(token.to_owned()))
}
