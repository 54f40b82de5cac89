//! `Delegation`: a human lent this agent this scope until then. Minted from a verified agent token and from nothing else.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::id::DelegationId;
use crate::identity::claims::SignIn;
use crate::identity::possession::Bound;
use crate::identity::standing::{Reach, Standing};
use crate::identity::token::Verified;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// A human, as (issuer, subject); never the subject alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Human {
    /// The issuer's URL, `iss`.
    pub issuer: String,
    /// The human's id at that issuer: `sub`, or what the issuer's mapping names.
    pub subject: String,
    /// A display name, where the token has one. Never judged.
    pub name: Option<String>,
    /// Teams from the mapped claim, valid within the issuer.
    pub teams: Vec<String>,
    /// What all accounts of one human have in common, where the issuer tells.
    pub person: Option<String>,
}

impl Human {
    /// Whether both are one human: the same account, or two of which the issuers tell that they are one human's.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let is_told = self.person.is_some() && self.person == other.person;
        is_told || self.issuer == other.issuer && self.subject == other.subject
    }
}

/// An agent, as (issuer, id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agent {
    /// The issuer's URL.
    pub issuer: String,
    /// `act.sub` (RFC 8693), else the client that the issuer's mapping names.
    pub id: String,
    /// Earlier actors of the `act` chain, nearest first.
    pub chain: Vec<String>,
}

/// Proof that a human lent an agent a scope. Not `Clone`, no public constructor; shared as `Arc`.
#[derive(Debug)]
pub struct Delegation {
    human: Human,
    agent: Agent,
    cap: Risk,
    token_id: Option<String>,
    scopes: Vec<String>,
    sign_in: SignIn,
    registered: Option<String>,
    is_unattended: bool,
    bound: Option<Bound>,
    expires_at: Timestamp,
    standing: Arc<dyn Standing>,
}

impl Delegation {
    /// From a verified token, if it names an agent that is not the human, and a scope.
    pub(super) fn of(verified: Verified, standing: Arc<dyn Standing>) -> Result<Self, Refusal> {
        let Verified { issuer, claims } = verified;
        let issuer = issuer.settings().url.clone();
        let mut actors = claims.actors.into_iter();
        let id = actors
            .next()
            .or(claims.client)
            .ok_or_else(|| Refusal::new(Code::InvalidToken).detail("it names no agent: neither an actor (`act`) nor a client"))?;
        if id == claims.subject || claims.is_machine {
            return Err(Refusal::new(Code::InvalidToken).detail("its subject is the agent itself, and no human delegated to it"));
        }
        let has = |scope: &str| claims.scopes.iter().any(|known| known == scope);
        let cap = if has("mcp:admin") {
            Risk::Admin
        } else if has("mcp:write") {
            Risk::Destructive
        } else if has("mcp:read") {
            Risk::Read
        } else {
            return Err(Refusal::new(Code::InsufficientScope).detail("it has none of `mcp:read`, `mcp:write`, `mcp:admin`"));
        };
        Ok(Self {
            human: Human {
                issuer: claims.human_issuer.unwrap_or_else(|| issuer.clone()),
                subject: claims.subject,
                name: claims.name,
                teams: claims.teams,
                person: claims.person,
            },
            is_unattended: claims.is_unattended,
            bound: claims.bound,
            agent: Agent { issuer, id, chain: actors.collect() },
            cap,
            token_id: claims.token_id,
            scopes: claims.scopes,
            sign_in: claims.sign_in,
            registered: claims.delegation,
            expires_at: claims.expires_at,
            standing,
        })
    }

    /// The human who delegated.
    #[must_use]
    pub const fn human(&self) -> &Human {
        &self.human
    }

    /// The agent that acts.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The highest risk that the token's scopes reach (`mcp:read`, `mcp:write` up to destructive, `mcp:admin`).
    #[must_use]
    pub const fn cap(&self) -> Risk {
        self.cap
    }

    /// The token's `jti`.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The scopes as the token has them.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// How the human signed in, as far as the token says.
    #[must_use]
    pub const fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// The registered delegation that the token was issued under, if it names one: then no other covers its calls.
    #[must_use]
    pub fn registered(&self) -> Option<&str> {
        self.registered.as_deref()
    }

    /// Whether nobody was there when it was issued: the human answers for what the agent does alone, and never approves it alone.
    #[must_use]
    pub const fn is_unattended(&self) -> bool {
        self.is_unattended
    }

    /// The thumbprint of the key or certificate that the token is bound to, which tells one running agent from another of the same name.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.bound.as_ref().map(Bound::thumbprint)
    }

    /// The key that the token is good with, where it is bound to one.
    pub(super) const fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// When it ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether the token still holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Whether it still stands at `now` and reaches so far; the registered delegation that says so, where there is one.
    ///
    /// # Errors
    /// The token expired, the agent is suspended, or what the human lent it is over or does not reach so far.
    pub fn covers(&self, reach: Reach<'_>, now: Timestamp) -> Result<Option<DelegationId>, Refusal> {
        if !self.is_live(now) {
            return Err(Refusal::new(Code::TokenExpired));
        }
        self.standing.covers(self, reach, now)
    }

    /// Fires whenever the answer of [`Delegation::covers`] may have changed, expiry aside.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.standing.changes()
    }
}
