//! How a token's claims would be read, for people who set up an issuer. Nothing is verified here and nothing comes of it: no signature, no time, no
//! door. What it gives is text to look at.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::identity::claims::{Bench, Kind, judge};
use crate::identity::issuer::IssuerSettings;
use crate::identity::token::check_type;
use crate::refusal::{Code, Refusal};

/// What an issuer's mapping makes of a token's claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The human's id.
    pub human: String,
    /// The display name.
    pub name: Option<String>,
    /// Teams.
    pub teams: Vec<String>,
    /// The agent: the first actor, else the client.
    pub agent: Option<String>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Whether no human stands behind it.
    pub is_machine: bool,
}

impl Reading {
    /// Reads a header and claims as they were at the moment the token was issued.
    ///
    /// # Errors
    /// Whatever the door would refuse of them.
    pub fn of(issuer: &IssuerSettings, audience: &str, header: &Map<String, Value>, claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let kind = match issuer.mapping.provider.speaks_for_the_doors() {
            true => check_type(header.get("typ").and_then(Value::as_str), issuer)?,
            false => Kind::Subject,
        };
        let issued = claims.get("iat").and_then(Value::as_i64).and_then(|at| Timestamp::from_timestamp(at, 0));
        let now = issued.ok_or_else(|| Refusal::new(Code::InvalidToken).detail("the claim `iat` is missing or no time"))?;
        let bench = Bench { issuer, audience, others: &[], kind, skew: TimeDelta::zero(), now };
        let claims = judge(claims, &bench)?;
        Ok(Self {
            human: claims.subject,
            name: claims.name,
            teams: claims.teams,
            agent: claims.actors.into_iter().next().or(claims.client),
            scopes: claims.scopes,
            is_machine: claims.is_machine,
        })
    }

    /// As people and programs read it.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({ "human": self.human, "name": self.name, "teams": self.teams, "agent": self.agent, "scopes": self.scopes, "is_machine": self.is_machine })
    }
}
