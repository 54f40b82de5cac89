//! `Delegation`: a human lent this agent this scope until then. Minted from a verified agent token and from nothing else.

use crate::clock::Timestamp;
use crate::identity::token::Verified;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// A human, as (issuer, subject); never the subject alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Human {
    /// The issuer's URL, `iss`.
    pub issuer: String,
    /// The subject at that issuer, `sub`.
    pub subject: String,
    /// A display name, where the token has one. Never judged.
    pub name: Option<String>,
    /// Teams from the configured claim, valid within the issuer.
    pub teams: Vec<String>,
}

/// An agent, as (issuer, id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agent {
    /// The issuer's URL.
    pub issuer: String,
    /// `act.sub` (RFC 8693), else `client_id`, else `azp`.
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
    expires_at: Timestamp,
}

impl Delegation {
    /// From a verified token, if it names an agent that is not the human, and a scope.
    pub(super) fn of(verified: Verified) -> Result<Self, Refusal> {
        let Verified { issuer, claims } = verified;
        let is_machine = claims.client.as_ref() == Some(&claims.subject);
        let mut actors = claims.actors.into_iter();
        let id = actors
            .next()
            .or(claims.client)
            .ok_or_else(|| Refusal::new(Code::InvalidToken).detail("it names no agent: neither `act`, `client_id` nor `azp`"))?;
        if id == claims.subject || is_machine {
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
            human: Human { issuer: issuer.url.clone(), subject: claims.subject, name: claims.name, teams: claims.teams },
            agent: Agent { issuer: issuer.url, id, chain: actors.collect() },
            cap,
            token_id: claims.token_id,
            scopes: claims.scopes,
            expires_at: claims.expires_at,
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

    /// When it ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether it still holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}
