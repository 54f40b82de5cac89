//! A request for approval as it is stored, and as a human or the agent is shown it.
//!
//! The row's state (`pending`, `approved`, `denied`, `expired`, `spent`) is the store's column; everything else is this body.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::approval::{Asking, Shown, Subject, Terms};
use crate::call::{Seen, TargetFacts};
use crate::clock::{Timestamp, rfc3339};
use crate::identity::{Agent, Human};
use crate::ledger::Row;
use crate::operation::sql::Engine;
use crate::operation::{Operation, Risk};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A human must decide.
    Pending,
    /// Approved; the same call may claim it once.
    Approved,
    /// Denied.
    Denied,
    /// Nobody decided, or nobody claimed, in time.
    Expired,
    /// Approved and used.
    Spent,
}

impl State {
    /// As stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Spent => "spent",
        }
    }

    /// From its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Denied, Self::Expired, Self::Spent].into_iter().find(|state| state.as_str() == name)
    }
}

/// Somebody, by issuer and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The issuer's URL.
    pub issuer: String,
    /// `sub`, or the agent's id.
    pub id: String,
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One human's vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub by: Who,
    /// Approve or deny.
    pub approve: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The stored body of a request, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filed {
    /// 1.
    pub v: u8,
    /// `apr_…`.
    pub id: String,
    /// The call that asked first.
    pub call: String,
    /// In whose name.
    pub human: Who,
    /// By which agent.
    pub agent: Who,
    /// With which tool.
    pub tool: String,
    /// On which target: name, engine, environment.
    pub target: Option<(String, String, String)>,
    /// The main verb.
    pub verb: String,
    /// Its level, 1 to 4.
    pub risk: u8,
    /// What it touches, as `verb schema.table`.
    pub touches: Vec<String>,
    /// The exact operation, as it will run.
    pub operation: Value,
    /// What a human is shown of its effect, masked; null where nothing can be shown.
    pub shown: Value,
    /// More rows than this roll back.
    pub max_rows: Option<u64>,
    /// The objects that the approver was shown; others are left alone.
    #[serde(default)]
    pub objects: Vec<Seen>,
    /// The agent's own reason, untrusted.
    pub reason: Option<String>,
    /// The policies that asked.
    pub policies: Vec<String>,
    /// Humans needed.
    pub quorum: u8,
    /// An approver must say why.
    pub justification: bool,
    /// The delegating human may approve.
    pub self_approval: bool,
    /// Humans of other issuers may decide.
    #[serde(default)]
    pub any_issuer: bool,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Until when it can be decided, µs since 1970.
    pub expires_us: i64,
    /// Until when the approved call can be claimed.
    pub grant_until: Option<Timestamp>,
    /// Votes so far.
    pub votes: Vec<Vote>,
    /// The call that claimed it.
    pub claimed_by: Option<String>,
    /// The leaf's salt, hexadecimal.
    pub salt: String,
    /// The leaf's commitment.
    pub commit: String,
}

/// A request with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Where it stands.
    pub state: State,
    /// The rest.
    pub filed: Filed,
    /// The row's version, for the next write.
    pub version: u64,
}

impl Filed {
    /// The kind of its rows.
    pub const KIND: &'static str = "approval";

    /// Until when it can be decided.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_timestamp_micros(self.expires_us).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The body's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings, numbers and JSON values always serialises; an empty body would be refused when read.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether this human and agent are the ones that asked.
    #[must_use]
    pub fn is_of(&self, human: &Human, agent: &Agent) -> bool {
        self.is_by(human) && self.agent.issuer == agent.issuer && self.agent.id == agent.id
    }

    /// Whether it is asked in this human's name.
    #[must_use]
    pub fn is_by(&self, human: &Human) -> bool {
        self.human.issuer == human.issuer && self.human.id == human.subject
    }

    /// What the electorate judges.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            id: self.id.clone(),
            human: Human {
                issuer: self.human.issuer.clone(),
                subject: self.human.id.clone(),
                name: self.human.name.clone(),
                teams: Vec::new(),
            },
            agent: Agent { issuer: self.agent.issuer.clone(), id: self.agent.id.clone(), chain: Vec::new() },
            target: self.target.as_ref().map(|(name, engine, environment)| TargetFacts {
                name: name.clone(),
                engine: engine_named(engine),
                environment: environment.clone(),
                search_path: Vec::new(),
            }),
            tool: self.tool.clone(),
            verb: self.verb.clone(),
            // Unknown = highest.
            risk: [Risk::Read, Risk::Write, Risk::Destructive].into_iter().find(|risk| risk.level() == self.risk).unwrap_or(Risk::Admin),
        }
    }

    /// A new request, without digest and salt yet.
    pub(super) fn new(id: &str, asking: Asking<'_>, shown: Shown, asked_at: Timestamp, expires_at: Timestamp) -> Self {
        let Asking { call, judgement, terms } = asking;
        let delegation = &call.facts.delegation;
        let (human, agent) = (delegation.human(), delegation.agent());
        let Terms { quorum, justification, self_approval, any_issuer, .. } = *terms;
        Self {
            v: 1,
            id: id.to_owned(),
            call: call.facts.id.to_string(),
            human: Who { issuer: human.issuer.clone(), id: human.subject.clone(), name: human.name.clone() },
            agent: Who { issuer: agent.issuer.clone(), id: agent.id.clone(), name: None },
            tool: call.tool.name.clone(),
            target: call.target.as_ref().map(|target| (target.name.clone(), target.engine.to_owned(), target.environment.clone())),
            verb: call.operation.verb().to_owned(),
            risk: judgement.risk.level(),
            touches: call.operation.touches().iter().map(|touch| format!("{} {}", touch.verb, touch.on)).collect(),
            operation: render(&call.operation),
            shown: shown.effect,
            max_rows: shown.bound.rows,
            objects: shown.bound.objects,
            reason: call.reason.clone(),
            policies: judgement.ids.clone(),
            quorum,
            justification,
            // Nobody was there when the call was made: the one who answers for it must not be the only one who ever looks.
            self_approval: self_approval && !asking.call.facts.delegation.is_unattended(),
            any_issuer,
            asked_at,
            expires_us: expires_at.timestamp_micros(),
            grant_until: None,
            votes: Vec::new(),
            claimed_by: None,
            salt: String::new(),
            commit: String::new(),
        }
    }
}

/// The engine by its name, as targets have it.
fn engine_named(name: &str) -> &'static str {
    let known = [Engine::Sqlite.as_str(), Engine::Postgres.as_str(), Engine::MySql.as_str(), crate::call::KUBERNETES, crate::call::SSH];
    known.into_iter().find(|known| *known == name).unwrap_or("unknown")
}

/// The exact operation, for a human's eyes.
fn render(operation: &Operation) -> Value {
    match operation {
        Operation::Sql(sql) => json!({
            "statement": sql.statement.text(),
            "parameters": sql.params.iter().map(crate::operation::sql::Param::to_json).collect::<Vec<_>>(),
            "expect_max_rows": sql.expect_max_rows,
        }),
        Operation::Local(local) => json!({ "tool": local.verb() }),
        Operation::Kube(kube) => kube.show(),
        Operation::Ssh(ssh) => ssh.show(),
        Operation::SqlPreview(_) | Operation::SqlObjects(_) | Operation::KubePreview(_) | Operation::SshPreview(_) => {
            json!({ "verb": operation.verb() })
        }
    }
}

impl View {
    /// From a row; `None` if the row is not one this version wrote.
    #[must_use]
    pub fn from_row(row: &Row) -> Option<Self> {
        let filed: Filed = serde_json::from_slice(&row.body).ok()?;
        Some(Self { state: State::parse(&row.state)?, filed, version: row.version })
    }

    /// The state at `now`: what has run out is expired, whether or not a sweep has said so.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.state {
            State::Pending if now >= self.filed.expires_at() => State::Expired,
            State::Approved if self.filed.grant_until.is_none_or(|until| now >= until) => State::Expired,
            state => state,
        }
    }

    /// What the agent that asked may know.
    #[must_use]
    pub fn for_agent(&self, url: &str, now: Timestamp) -> Value {
        let state = self.state_at(now);
        let mut answer = json!({
            "approval_id": self.filed.id,
            "state": state.as_str(),
            "tool": self.filed.tool,
            "url": url,
            "expires_at": rfc3339(self.filed.grant_until.unwrap_or_else(|| self.filed.expires_at())),
            "votes": self.filed.votes.iter().filter(|vote| vote.approve).count(),
            "quorum": self.filed.quorum,
            "next": match state {
                State::Pending => "call approval_wait, then repeat the exact same call once it is approved",
                State::Approved => "repeat the exact same call now; the approval is used once",
                State::Denied => "do not repeat or rephrase the call; tell the human who delegated you",
                State::Expired => "make the call again if it is still wanted",
                State::Spent => "the approval has been used; make the call again to ask anew",
            },
        });
        if let (Some(members), Some(vote)) = (answer.as_object_mut(), self.filed.votes.iter().find(|vote| !vote.approve)) {
            members.insert("reason".to_owned(), Value::from(vote.reason.clone().unwrap_or_default()));
        }
        answer
    }

    /// What a human who may decide it is shown.
    #[must_use]
    pub fn for_person(&self, url: &str, now: Timestamp) -> Value {
        let filed = &self.filed;
        json!({
            "approval_id": filed.id,
            "state": self.state_at(now).as_str(),
            "url": url,
            "call": filed.call,
            "human": filed.human,
            "agent": filed.agent,
            "tool": filed.tool,
            "target": filed.target.as_ref().map(|(name, engine, environment)| json!({ "name": name, "engine": engine, "environment": environment })),
            "risk": filed.subject().risk.as_str(),
            "touches": filed.touches,
            "operation": filed.operation,
            "preview": filed.shown,
            "max_rows": filed.max_rows,
            "bound_to": filed.objects,
            "reason_of_the_agent_unverified": filed.reason,
            "policies": filed.policies,
            "quorum": filed.quorum,
            "justification_required": filed.justification,
            "asked_at": rfc3339(filed.asked_at),
            "expires_at": rfc3339(filed.expires_at()),
            "grant_until": filed.grant_until.map(rfc3339),
            "votes": filed.votes,
            "claimed_by": filed.claimed_by,
        })
    }
}
