//! A request for approval as it is stored, and as a human or the agent is shown it.
//!
//! The row's state (`pending`, `approved`, `denied`, `expired`, `spent`) is the store's column; everything else is this body.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::approval::terms::ticket;
use crate::approval::{Asking, Escalation, Glass, GrantMost, Scope, Shown, Subject, Terms};
use crate::call::{Seen, TargetFacts};
use crate::clock::Timestamp;
use crate::identity::{Agent, Human};
use crate::operation::sql::Engine;
use crate::operation::{Operation, Risk};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A human must decide.
    Pending,
    /// Approved; the same call may claim it once.
    Approved,
    /// Approved for a scope; calls within it go ahead until it runs out.
    Granted,
    /// Denied.
    Denied,
    /// Nobody decided, or nobody claimed, in time.
    Expired,
    /// Approved and used.
    Spent,
    /// Taken back by the agent that asked.
    Withdrawn,
    /// Approved, and taken back by a human.
    Revoked,
}

impl State {
    /// Every one.
    pub const ALL: [Self; 8] =
        [Self::Pending, Self::Approved, Self::Granted, Self::Denied, Self::Expired, Self::Spent, Self::Withdrawn, Self::Revoked];

    /// As stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Spent => "spent",
            Self::Withdrawn => "withdrawn",
            Self::Revoked => "revoked",
        }
    }

    /// From its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
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
    /// Of a human, what all their accounts have in common, where the issuer tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

impl Who {
    /// A human.
    pub(super) fn of(human: &Human) -> Self {
        Self { issuer: human.issuer.clone(), id: human.subject.clone(), name: human.name.clone(), person: human.person.clone() }
    }

    /// The human again, in these teams.
    pub(super) fn human(&self, teams: Vec<String>) -> Human {
        Human { issuer: self.issuer.clone(), subject: self.id.clone(), name: self.name.clone(), teams, person: self.person.clone() }
    }
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
    /// Their teams as they were then.
    #[serde(default)]
    pub teams: Vec<String>,
    /// The system by whose word it was cast, where it was not by the human's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched_by: Option<String>,
    /// They might not decide it any more when it was counted: it counts for nothing.
    #[serde(default)]
    pub lapsed: bool,
    /// It takes back what had been approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_back: bool,
    /// How far they would have it reach; none = as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

impl Vote {
    /// Whether it is this human's, and counts.
    #[must_use]
    pub fn counts_for(&self, human: &Human) -> bool {
        !self.lapsed && self.by.human(Vec::new()).is(human)
    }
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
    /// Where that is.
    #[serde(default)]
    pub place: String,
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
    /// Whoever must say why must name a ticket of each of these forms.
    #[serde(default)]
    pub ticket_forms: Vec<String>,
    /// The tickets that the agent named, and those who approved.
    #[serde(default)]
    pub tickets: Vec<String>,
    /// The most that an approver may grant beyond this very call.
    #[serde(default)]
    pub grant_most: Option<GrantMost>,
    /// What is granted, or would be if it is approved now; a request for access asks for it from the start.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// What an approver may grant at most; none where the call touches nothing that could be named, or no policy allows it.
    #[serde(default)]
    pub offer: Option<Scope>,
    /// The tools of access that was asked for, with the verbs that they are judged by.
    #[serde(default)]
    pub scope_verbs: BTreeMap<String, String>,
    /// The tools as they were defined.
    #[serde(default)]
    pub schema_hashes: BTreeMap<String, String>,
    /// The agent's earlier actors.
    #[serde(default)]
    pub chain: Vec<String>,
    /// Nobody was there when the agent asked.
    #[serde(default)]
    pub is_unattended: bool,
    /// How many calls have used what was granted, as it was counted for whoever looks; it is no part of the row.
    #[serde(skip)]
    pub uses: Option<u64>,
    /// Teams that are told later, soonest first; told ones are taken away.
    #[serde(default)]
    pub escalations: Vec<Escalation>,
    /// The team that was told last.
    #[serde(default)]
    pub escalated_to: Option<String>,
    /// Somebody let it go ahead at once, alone.
    #[serde(default)]
    pub glass: Option<Glass>,
    /// What near-identical requests have in common.
    #[serde(default)]
    pub like: String,
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
        // By the very account: another of the same human has calls of its own.
        let is_theirs = self.human.issuer == human.issuer && self.human.id == human.subject;
        is_theirs && self.agent.issuer == agent.issuer && self.agent.id == agent.id
    }

    /// Whether it asks for access within a scope, and not for one call.
    #[must_use]
    pub fn is_access(&self) -> bool {
        !self.scope_verbs.is_empty()
    }

    /// What it is once humans have said yes.
    #[must_use]
    pub const fn given(&self) -> State {
        if self.scope.is_some() { State::Granted } else { State::Approved }
    }

    /// Whether the approval of this one call was taken back after that.
    pub(super) fn was_revoked_after(&self, at: Timestamp) -> bool {
        self.scope.is_none() && self.votes.last().is_some_and(|vote| vote.at > at)
    }

    /// Puts the tickets that a reason names to those that were named before.
    pub(super) fn name_tickets(&mut self, reason: Option<&str>) {
        let named = self.ticket_forms.iter().filter_map(|form| ticket(reason?, form)).map(ToOwned::to_owned);
        for ticket in named.collect::<Vec<_>>() {
            if !self.tickets.contains(&ticket) {
                self.tickets.push(ticket);
            }
        }
    }

    /// Whether it is asked in this human's name.
    #[must_use]
    pub fn is_by(&self, human: &Human) -> bool {
        self.human.human(Vec::new()).is(human)
    }

    /// What the electorate judges.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            id: self.id.clone(),
            human: self.human.human(Vec::new()),
            agent: Agent { issuer: self.agent.issuer.clone(), id: self.agent.id.clone(), chain: Vec::new() },
            target: self.target.as_ref().map(|(name, engine, environment)| TargetFacts {
                name: name.clone(),
                engine: engine_named(engine),
                environment: environment.clone(),
                place: self.place.clone(),
                search_path: Vec::new(),
            }),
            tool: self.tool.clone(),
            verb: self.verb.clone(),
            // Unknown = highest.
            risk: [Risk::Read, Risk::Write, Risk::Destructive].into_iter().find(|risk| risk.level() == self.risk).unwrap_or(Risk::Admin),
        }
    }

    /// What the electorate judges: whoever decides must be allowed to for every tool of a scope.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        let whole = self.subject();
        match &self.scope {
            Some(scope) if self.is_access() => {
                let verb = |tool: &String| self.scope_verbs.get(tool).cloned().unwrap_or_default();
                scope.tools.iter().map(|tool| Subject { tool: tool.clone(), verb: verb(tool), ..whole.clone() }).collect()
            }
            _ => vec![whole],
        }
    }

    /// A new request, without digest and salt yet.
    pub(super) fn new(id: &str, asking: Asking<'_>, shown: Shown, asked_at: Timestamp, expires_at: Timestamp) -> Self {
        let Asking { call, judgement, terms } = asking;
        let delegation = &call.facts.delegation;
        let (human, agent) = (delegation.human(), delegation.agent());
        let Terms { quorum, justification, self_approval, any_issuer, grant, .. } = *terms;
        let mut filed = Self {
            v: 1,
            id: id.to_owned(),
            call: call.facts.id.to_string(),
            human: Who::of(human),
            agent: Who { issuer: agent.issuer.clone(), id: agent.id.clone(), name: None, person: None },
            tool: call.tool.name.clone(),
            target: call.target.as_ref().map(|target| (target.name.clone(), target.engine.to_owned(), target.environment.clone())),
            place: call.target.as_ref().map_or_else(String::new, |target| target.place.clone()),
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
            justification: justification.approver,
            // Nobody was there when the call was made: the one who answers for it must not be the only one who ever looks.
            self_approval: self_approval && !asking.call.facts.delegation.is_unattended(),
            any_issuer,
            ticket_forms: terms.tickets.clone(),
            tickets: Vec::new(),
            grant_most: grant,
            offer: grant.and_then(|most| Scope::of(call, most)),
            scope: None,
            scope_verbs: BTreeMap::new(),
            schema_hashes: BTreeMap::from([(call.tool.name.clone(), call.tool.schema_hash.clone())]),
            chain: agent.chain.clone(),
            is_unattended: delegation.is_unattended(),
            uses: None,
            escalations: terms.escalations.clone(),
            escalated_to: None,
            glass: None,
            like: String::new(),
            asked_at,
            expires_us: expires_at.timestamp_micros(),
            grant_until: None,
            votes: Vec::new(),
            claimed_by: None,
            salt: String::new(),
            commit: String::new(),
        };
        filed.name_tickets(call.reason.as_deref());
        filed
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
