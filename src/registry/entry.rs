//! An agent and a delegation as rows: what is stored of them, and what a delegation reaches.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::{Timestamp, rfc3339};
use crate::id::DelegationId;
use crate::identity::{Human, Reach};
use crate::ledger::Row;
use crate::operation::Risk;
use crate::registry::{REVOKED, SUSPENDED};

/// Somebody, as (issuer, id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Who {
    /// The issuer's URL.
    pub issuer: String,
    /// The human's subject, or the agent's id.
    pub id: String,
}

impl Who {
    /// Whether it is this human.
    #[must_use]
    pub fn is(&self, human: &Human) -> bool {
        self.issuer == human.issuer && self.id == human.subject
    }
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Which.
    pub agent: Who,
    /// The human who answers for it.
    pub owner: Who,
    /// What it is for.
    pub description: String,
    /// Whether it may not act.
    pub is_suspended: bool,
    /// Why it was suspended, or let work again.
    pub reason: Option<String>,
    /// Rises with every change.
    pub version: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredAgent {
    v: u8,
    agent: Who,
    owner: Who,
    description: String,
    reason: Option<String>,
}

impl Registered {
    pub(super) fn from_row(row: &Row) -> Option<Self> {
        let stored: StoredAgent = serde_json::from_slice(&row.body).ok().filter(|stored: &StoredAgent| stored.v == 1)?;
        let StoredAgent { agent, owner, description, reason, .. } = stored;
        Some(Self { agent, owner, description, is_suspended: row.state == SUSPENDED, reason, version: row.version })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let stored = StoredAgent {
            v: 1,
            agent: self.agent.clone(),
            owner: self.owner.clone(),
            description: self.description.clone(),
            reason: self.reason.clone(),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// As people and programs read it.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "agent": self.agent, "owner": self.owner, "description": self.description,
            "state": if self.is_suspended { SUSPENDED } else { "active" }, "reason": self.reason,
        })
    }
}

/// What a human lent an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// Its id.
    pub id: DelegationId,
    /// Who lent.
    pub human: Who,
    /// To which agent.
    pub agent: Who,
    /// Targets; empty = all.
    pub targets: Vec<String>,
    /// Tools; empty = all.
    pub tools: Vec<String>,
    /// The highest risk.
    pub risk: Risk,
    /// Until when.
    pub until: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// Whether it was taken back.
    pub is_revoked: bool,
    /// Why it was taken back.
    pub reason: Option<String>,
    /// Rises with every change.
    pub version: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredLent {
    v: u8,
    human: Who,
    agent: Who,
    targets: Vec<String>,
    tools: Vec<String>,
    risk: String,
    until_us: i64,
    made_us: i64,
    reason: Option<String>,
}

impl Lent {
    pub(super) fn from_row(row: &Row) -> Option<Self> {
        let stored: StoredLent = serde_json::from_slice(&row.body).ok().filter(|stored: &StoredLent| stored.v == 1)?;
        Some(Self {
            id: DelegationId::parse(&row.id).ok()?,
            human: stored.human,
            agent: stored.agent,
            targets: stored.targets,
            tools: stored.tools,
            risk: Risk::parse(&stored.risk)?,
            until: Timestamp::from_timestamp_micros(stored.until_us)?,
            made_at: Timestamp::from_timestamp_micros(stored.made_us)?,
            is_revoked: row.state == REVOKED,
            reason: stored.reason,
            version: row.version,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let stored = StoredLent {
            v: 1,
            human: self.human.clone(),
            agent: self.agent.clone(),
            targets: self.targets.clone(),
            tools: self.tools.clone(),
            risk: self.risk.as_str().to_owned(),
            until_us: self.until.timestamp_micros(),
            made_us: self.made_at.timestamp_micros(),
            reason: self.reason.clone(),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Whether it stands at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_revoked && now < self.until
    }

    /// Whether it covers a call. The broker's own tools touch nothing and are always covered.
    #[must_use]
    pub fn reaches(&self, reach: &Reach<'_>) -> bool {
        let Some(target) = reach.target else { return true };
        let names = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
        names(&self.targets, target) && names(&self.tools, reach.tool) && reach.risk <= self.risk
    }

    /// What it covers, in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let list = |names: &[String], all: &str| if names.is_empty() { all.to_owned() } else { names.join(", ") };
        format!("it covers {} of {} up to {}", list(&self.tools, "all tools"), list(&self.targets, "all targets"), self.risk)
    }

    /// As people and programs read it.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> Value {
        let state = match (self.is_revoked, now < self.until) {
            (true, _) => REVOKED,
            (false, true) => "active",
            (false, false) => "expired",
        };
        json!({
            "id": self.id.as_str(), "human": self.human, "agent": self.agent, "targets": self.targets, "tools": self.tools,
            "highest_risk": self.risk.as_str(), "until": rfc3339(self.until), "made_at": rfc3339(self.made_at), "state": state, "reason": self.reason,
        })
    }
}
