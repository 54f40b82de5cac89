//! A request with its state, and what is told of it: to the agent that asked, and to a human who may decide.
//!
//! An agent is told how its request stands and nothing of who decides; a human is told all that the decision needs.

use serde_json::{Value, json};

use crate::approval::{Filed, Scope, State, reached};
use crate::clock::{Timestamp, rfc3339};
use crate::ledger::Row;

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
            State::Approved | State::Granted if self.filed.grant_until.is_none_or(|until| now >= until) => State::Expired,
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
            "votes": self.filed.votes.iter().filter(|vote| vote.approve && !vote.lapsed).count(),
            "quorum": self.filed.quorum,
            "next": match state {
                State::Pending if self.filed.is_access() => "call approval_wait; once it is approved, calls within its scope go ahead",
                State::Pending => "call approval_wait, then repeat the exact same call once it is approved",
                State::Granted => "calls within the scope go ahead until it expires or its calls are used up",
                State::Withdrawn => "it was withdrawn; make the call again if it is still wanted",
                State::Revoked => "a human took the approval back; do not repeat the call, tell the human who delegated you",
                State::Approved => "repeat the exact same call now; the approval is used once",
                State::Denied => "do not repeat or rephrase the call; tell the human who delegated you",
                State::Expired => "make the call again if it is still wanted",
                State::Spent => "the approval has been used; make the call again to ask anew",
            },
        });
        if let (Some(members), Some(vote)) = (answer.as_object_mut(), self.filed.votes.iter().find(|vote| !vote.approve)) {
            members.insert("reason".to_owned(), Value::from(vote.reason.clone().unwrap_or_default()));
        }
        if let (Some(members), Some(scope)) = (answer.as_object_mut(), &self.filed.scope) {
            members.insert("scope".to_owned(), scope.show());
            members.insert("calls_used".to_owned(), json!(self.filed.uses));
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
            "by_way_of": filed.chain,
            "unattended": filed.is_unattended,
            "tool": filed.tool,
            "target": filed.target.as_ref().map(|(name, engine, environment)| json!({ "name": name, "engine": engine, "environment": environment })),
            "risk": filed.subject().risk.as_str(),
            "touches": reached(filed),
            "operation": filed.operation,
            "preview": filed.shown,
            "max_rows": filed.max_rows,
            "bound_to": filed.objects,
            "reason_of_the_agent_unverified": filed.reason,
            "policies": filed.policies,
            "quorum": filed.quorum,
            "justification_required": filed.justification,
            "ticket_forms": filed.ticket_forms,
            "tickets": filed.tickets,
            "grant_most": filed.grant_most,
            "may_grant": filed.offer,
            "scope": filed.scope.as_ref().map(Scope::show),
            "calls_used": filed.uses,
            "escalates": filed.escalations,
            "escalated_to": filed.escalated_to,
            "broken_glass": filed.glass,
            "like": filed.like,
            "asked_at": rfc3339(filed.asked_at),
            "expires_at": rfc3339(filed.expires_at()),
            "grant_until": filed.grant_until.map(rfc3339),
            "votes": filed.votes,
            "claimed_by": filed.claimed_by,
        })
    }
}
