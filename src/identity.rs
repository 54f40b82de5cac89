//! Who asks: every token that comes in becomes a `Delegation` (an agent for a human) or a `Person` (a human at the human's door), or nothing.
//!
//! The two never become each other: the agent's door refuses the inbox's audience, the human's door refuses every token with an `act` claim, of
//! another audience, or of a client that is not on the list of human clients. Nothing but a verified token counts: identity headers are ignored,
//! and there is no fallback to the broker's own credentials.

#[cfg(test)]
pub(crate) mod alone;
pub mod asker;
pub mod binding;
pub mod browser;
mod challenge;
mod claims;
pub mod delegation;
pub mod development;
mod fetch;
mod introspection;
mod issuer;
mod keys;
mod mapping;
pub mod person;
mod possession;
mod reading;
pub mod service;
mod signing;
mod standing;
mod strict;
#[cfg(test)]
mod tests;
mod token;
pub mod voucher;
mod witness;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::{Clock, Timestamp};
use crate::refusal::{Code, Refusal};

pub use asker::Asker;
pub use binding::ClientCertificate;
pub use browser::{Attempt, BrowserClient, Strength};
pub use challenge::Challenge;
use challenge::Place;
pub use claims::SignIn;
pub use delegation::{Agent, Delegation, Human};
pub use issuer::{Introspection, IssuerSettings, KeySource};
pub use keys::Algorithm;
pub use mapping::{ClaimPath, Mapping, Provider};
pub use person::Person;
pub use possession::Presented;
use possession::{Bound, Proofs};
pub use reading::Reading;
pub use signing::{SigningKeys, Turned};
pub use standing::{Reach, Standing};
pub use voucher::{Signing, Testimony, Voucher};
pub use witness::{Event, Witness};

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
    /// Agents' tokens must be bound to a key (DPoP) or a certificate.
    pub bound_required: bool,
}

/// The largest skew that is accepted.
pub const SKEW_MAX: Duration = Duration::from_secs(60);
/// The largest token, in bytes.
const TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Verified tokens that are remembered.
const CACHE_MAX: usize = 10_000;
/// How long they are.
const CACHE_FOR: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// How long the answer of an issuer that was asked about an opaque token is.
const ANSWER_FOR: chrono::TimeDelta = chrono::TimeDelta::seconds(15);

/// By SHA-256 of their token: the delegation, and until when it is taken from here.
type Verified = HashMap<[u8; 32], (Arc<Delegation>, Timestamp)>;

/// Judges tokens.
pub struct Identity {
    settings: Settings,
    issuers: Vec<Arc<issuer::Issuer>>,
    fetcher: fetch::Fetcher,
    clock: Clock,
    standing: Arc<dyn Standing>,
    witness: Arc<dyn Witness>,
    /// Verified agents' tokens. Expiry is judged on each use all the same, and revocation on each call.
    verified: Mutex<Verified>,
    /// Proofs of possession that were taken.
    proofs: Proofs,
    /// Tokens whose first use here is on record, and when they end.
    seen: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl Settings {
    /// Everything that is wrong with them, without asking any issuer.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.skew > SKEW_MAX {
            problems.push(format!("the clock skew must be at most {} s", SKEW_MAX.as_secs()));
        }
        for (position, issuer) in self.issuers.iter().enumerate() {
            let at = |why: &str| format!("issuer `{}`: {why}", issuer.url);
            // Two that share a name in policies could speak for each other's teams.
            let mut earlier = self.issuers.iter().take(position);
            if earlier.any(|other| other.url == issuer.url || other.namespace == issuer.namespace) {
                problems.push(at("another issuer has the same URL or namespace"));
            }
            let (mcp, inbox) = self.audiences(issuer);
            if mcp == inbox {
                problems.push(at("the agent's door and the human's door need different audiences"));
            }
            problems.extend(issuer.problems().iter().map(|why| at(why)));
        }
        problems
    }

    /// The audiences of an issuer's tokens for the agent's door and for the human's.
    fn audiences<'a>(&'a self, issuer: &'a IssuerSettings) -> (&'a str, &'a str) {
        let mcp = issuer.audience.as_deref().unwrap_or(&self.resource);
        (mcp, issuer.inbox_audience.as_deref().unwrap_or(&self.inbox_resource))
    }
}

impl Identity {
    /// An identity room with these issuers. Those whose keys lie elsewhere are asked at the first token.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(settings: Settings, clock: Clock, standing: Arc<dyn Standing>, witness: Arc<dyn Witness>) -> Result<Self, Vec<String>> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let fetcher = fetch::Fetcher::new().map_err(|why| vec![why])?;
        let mut identity = Self {
            settings,
            issuers: Vec::new(),
            fetcher,
            clock,
            standing,
            witness,
            verified: Mutex::default(),
            proofs: Proofs::default(),
            seen: Mutex::default(),
        };
        identity.issuers = identity.settings.issuers.iter().map(|issuer| identity.issuer(issuer.clone())).collect::<Result<_, _>>()?;
        Ok(identity)
    }

    fn issuer(&self, settings: IssuerSettings) -> Result<Arc<issuer::Issuer>, Vec<String>> {
        issuer::Issuer::new(settings, self.fetcher.clone(), self.clock.clone(), Arc::clone(&self.witness)).map(Arc::new)
    }

    fn audiences<'a>(&'a self, issuer: &'a IssuerSettings) -> (&'a str, &'a str) {
        self.settings.audiences(issuer)
    }

    fn place(&self, door: &'static str) -> Place<'_> {
        // A challenge speaks to clients of all issuers at once, so a prefix stands there only if all have the same.
        let mut prefixes = self.settings.issuers.iter().map(|issuer| issuer.scope_prefix.as_str());
        let first = prefixes.next().unwrap_or_default();
        let scope_prefix = if prefixes.all(|prefix| prefix == first) { first } else { "" };
        Place { public_url: &self.settings.public_url, door, scope_prefix }
    }

    /// The agent and human of a request at the agent's door.
    ///
    /// # Errors
    /// The challenge to answer with.
    pub async fn agent<'a>(&self, presented: impl Into<Presented<'a>>) -> Result<Arc<Delegation>, Challenge> {
        let presented = presented.into();
        let at_door = |refusal| Challenge::refused(self.place("mcp"), refusal);
        let (scheme, token) = credentials(presented.headers).map_err(at_door)?;
        let delegation = match self.remembered(&token) {
            Some(delegation) => delegation,
            None => self.verified(&token).await.map_err(at_door)?,
        };
        // Whose hands it is in is asked anew every time.
        let door = (self.settings.resource.as_str(), self.settings.bound_required);
        self.check_possession(&presented, scheme, &token, delegation.bound(), door).map_err(at_door)?;
        Ok(delegation)
    }

    fn remembered(&self, token: &SecretString) -> Option<Arc<Delegation>> {
        let now = self.clock.now();
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let (delegation, until) = verified.get(&fingerprint(token.expose_secret()))?;
        (now < *until && delegation.is_live(now)).then(|| Arc::clone(delegation))
    }

    async fn verified(&self, token: &SecretString) -> Result<Arc<Delegation>, Refusal> {
        let (now, key) = (self.clock.now(), fingerprint(token.expose_secret()));
        let verified = token::verify(self, token.expose_secret(), token::Door::Mcp, now).await?;
        let client = verified.claims.client.clone();
        let delegation = Arc::new(Delegation::of(verified, Arc::clone(&self.standing))?);
        let event = Event::FirstUse {
            human: delegation.human(),
            agent: Some(delegation.agent()),
            client: client.as_deref(),
            sign_in: delegation.sign_in(),
        };
        self.greet(key, delegation.expires_at(), event).await?;
        let is_signed = token.expose_secret().split('.').count() == 3;
        let until = delegation.expires_at().min(now + if is_signed { CACHE_FOR } else { ANSWER_FOR });
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= CACHE_MAX {
            verified.clear();
        }
        verified.insert(key, (Arc::clone(&delegation), until));
        Ok(delegation)
    }

    /// Whether a bound token is in the hands of whoever holds its key: at this address, where being bound may be demanded.
    fn check_possession(
        &self,
        presented: &Presented<'_>,
        scheme: Scheme,
        token: &SecretString,
        bound: Option<&Bound>,
        (address, is_demanded): (&str, bool),
    ) -> Result<(), Refusal> {
        let no = |why: &str| Refusal::new(Code::InvalidProof).detail(why);
        match (bound, scheme) {
            (None, Scheme::Bearer) if is_demanded => Err(no("tokens that are not bound to a key or a certificate are not taken here")),
            (None, Scheme::Bearer) => Ok(()),
            (None, Scheme::Dpop) => Err(no("the token is not bound to a key")),
            (Some(Bound::Certificate(thumbprint)), _) => match presented.certificate {
                Some(certificate) if certificate.thumbprint() == *thumbprint => Ok(()),
                Some(_) => Err(no("the connection's certificate is not the one that the token is bound to")),
                None => Err(no("the token is bound to a certificate, and the connection has none")),
            },
            (Some(Bound::Key(_)), Scheme::Bearer) => {
                Err(no("the token is bound to a key: send it as `Authorization: DPoP <token>` with a proof"))
            }
            (Some(Bound::Key(thumbprint)), Scheme::Dpop) => {
                let skew = chrono::TimeDelta::from_std(self.settings.skew).unwrap_or_default();
                let of = (Some(token.expose_secret()), Some(thumbprint.as_str()));
                self.proofs.check(presented.headers, &presented.method, address, of, skew, self.clock.now()).map(drop)
            }
        }
    }

    /// The human of a request at the human's door, at this path of it. A token that is bound to a key or a certificate is good with that alone.
    ///
    /// # Errors
    /// The challenge to answer with.
    pub async fn person<'a>(&self, presented: impl Into<Presented<'a>>, path: &str) -> Result<Person, Challenge> {
        let presented = presented.into();
        let at_door = |refusal| Challenge::refused(self.place("inbox"), refusal);
        let (scheme, token) = credentials(presented.headers).map_err(at_door)?;
        let verified = token::verify(self, token.expose_secret(), token::Door::Inbox, self.clock.now()).await.map_err(at_door)?;
        let bound = verified.claims.bound.clone();
        let person = Person::of(verified).map_err(at_door)?;
        let address = format!("{}{path}", self.settings.public_url);
        self.check_possession(&presented, scheme, &token, bound.as_ref(), (&address, false)).map_err(at_door)?;
        let event = Event::FirstUse { human: person.human(), agent: None, client: Some(person.client()), sign_in: person.sign_in() };
        self.greet(fingerprint(token.expose_secret()), person.expires_at(), event).await.map_err(at_door)?;
        Ok(person)
    }

    /// Puts the first use of a token on record.
    async fn greet(&self, key: [u8; 32], until: Timestamp, event: Event<'_>) -> Result<(), Refusal> {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen().contains_key(&key) {
            return Ok(());
        }
        self.witness.saw(event).await?;
        let now = self.clock.now();
        let mut seen = seen();
        if seen.len() >= CACHE_MAX {
            seen.retain(|_, until| *until > now);
        }
        if seen.len() >= CACHE_MAX {
            // The next use of each is recorded once more: too much on record is no loss.
            seen.clear();
        }
        seen.insert(key, until);
        Ok(())
    }

    /// The value of `WWW-Authenticate` that asks for a token reaching this risk.
    #[must_use]
    pub fn insufficient_scope(&self, needed: crate::operation::Risk) -> http::HeaderValue {
        Challenge::insufficient(self.place("mcp"), needed, Refusal::new(Code::InsufficientScope)).www_authenticate
    }

    /// The metadata of the agent's door as a protected resource (RFC 9728).
    #[must_use]
    pub fn metadata(&self) -> serde_json::Value {
        let scopes = self.place("mcp").scopes(crate::operation::Risk::Read);
        self.describe(&self.settings.resource, "Countersign: tools for agents", &scopes, self.settings.bound_required)
    }

    /// The same of the human's door.
    #[must_use]
    pub fn inbox_metadata(&self) -> serde_json::Value {
        self.describe(&self.settings.inbox_resource, "Countersign: approvals and audit for humans", &[], false)
    }

    fn describe(&self, resource: &str, name: &str, scopes: &[String], bound_required: bool) -> serde_json::Value {
        let issuers: Vec<&str> = self.settings.issuers.iter().map(|issuer| issuer.url.as_str()).collect();
        serde_json::json!({
            "resource": resource,
            "resource_name": name,
            "authorization_servers": issuers,
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": possession::algorithms(),
            "dpop_bound_access_tokens_required": bound_required,
        })
    }
}

/// SHA-256 of a token.
fn fingerprint(token: &str) -> [u8; 32] {
    let mut key = [0_u8; 32];
    for (to, from) in key.iter_mut().zip(digest::digest(&digest::SHA256, token.as_bytes()).as_ref()) {
        *to = *from;
    }
    key
}

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449.
    Dpop,
}

/// The one access token of a request.
fn credentials(headers: &HeaderMap) -> Result<(Scheme, SecretString), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Refusal::new(Code::MissingToken)) };
    let invalid = |why: &str| Refusal::new(Code::InvalidToken).detail(why);
    if values.next().is_some() {
        return Err(invalid("the Authorization header stands more than once"));
    }
    let value = value.to_str().map_err(|_| invalid("the Authorization header holds other characters than a token has"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Scheme::Bearer,
        "dpop" => Scheme::Dpop,
        _ => return Err(invalid("the Authorization header must be `Bearer <token>` or `DPoP <token>`")),
    };
    let token = token.trim();
    if token.is_empty() || token.len() > TOKEN_MAX_BYTES {
        return Err(invalid("the token is empty or too long"));
    }
    Ok((scheme, SecretString::from(token.to_owned())))
}
