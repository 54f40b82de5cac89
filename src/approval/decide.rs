//! Deciding: a `Person`, allowed by the electorate, says yes or no, once, and the store's row settles every race.
//!
//! Deny needs a reason and wins over approvals. Every attempt leaves a record, also the one that came too late, from somebody who may not, or on
//! an id that is none: one small leaf, whatever was sent.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::approval::filed::{Vote, Who};
use crate::approval::{Desk, Electorate, Event, Filed, State, View};
use crate::clock::rfc3339;
use crate::id::ApprovalId;
use crate::identity::Person;
use crate::ledger::{Change, CommitError, Draft, Write};
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// What a human says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub approve: bool,
    /// Why; required for a no, and for a yes where the policy demands it.
    pub reason: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The request as it stands now.
    pub view: View,
}

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 2_000;
/// Times that a vote is tried again when another was cast at the same moment.
const VOTE_TRIES: usize = 8;
/// Requests that one listing shows.
const LIST_MAX: usize = 500;

impl Desk {
    /// Decides a request.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it, so nothing was decided. Inner: the refusal, recorded.
    pub async fn decide(
        &self,
        person: &Person,
        id: &ApprovalId,
        decision: Decision,
        electorate: &dyn Electorate,
    ) -> Result<Result<Decided, Refusal>, Unavailable> {
        for _ in 0..VOTE_TRIES {
            let Some(view) = self.view(id).await? else {
                return Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalUnknown)).await?));
            };
            let policies = match self.check(person, &view, &decision, electorate) {
                Ok(policies) => policies,
                Err(refusal) => {
                    self.record_refused(person, &view, &decision, &refusal).await?;
                    // To somebody who is not shown it, it is not there.
                    let hidden = refusal.code() == Code::ApprovalNotAllowed && !view.filed.is_by(person.human());
                    return Ok(Err(if hidden { Refusal::new(Code::ApprovalUnknown) } else { refusal }));
                }
            };
            let (next, filed) = self.voted(person, &view.filed, &decision);
            let leaf = self.decided_leaf(person, &filed, &decision, next, policies);
            let write = Write::MoveIf {
                kind: Filed::KIND.to_owned(),
                id: id.as_str().to_owned(),
                from: State::Pending.as_str().to_owned(),
                to: next.as_str().to_owned(),
                version: view.version,
                expires_at: Some(filed.grant_until.unwrap_or_else(|| filed.expires_at())),
                body: filed.to_bytes(),
            };
            let told = if next == State::Pending { Vec::new() } else { self.herald.notices(Event::Decided, &filed) };
            let writes = std::iter::once(write).chain(told).chain(self.recorder.subjects(person.human(), None)).collect();
            let committed = self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await;
            match committed.inspect_err(|_| self.recorder.forget()) {
                Ok(_) => {
                    self.decisions.send_modify(|count| *count += 1);
                    return Ok(Ok(Decided { view: View { state: next, filed, version: view.version + 1 } }));
                }
                // Somebody voted first: look again, and find it decided or one vote short.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalDecided)).await?))
    }

    /// Records an attempt that came to no request of ours, or could not be read: who, and on which id. The refusal, recorded.
    ///
    /// # Errors
    /// The ledger cannot record it.
    pub async fn turned_away(&self, person: &Person, id: Option<&ApprovalId>, refusal: Refusal) -> Result<Refusal, Unavailable> {
        let mut body = Map::new();
        if let Some(id) = id {
            body.insert("appr".to_owned(), json!({ "id": id.as_str() }));
        }
        body.insert("res".to_owned(), json!({ "status": "refused", "code": refusal.code().as_str() }));
        self.record(person, "approval.refused", body).await?;
        Ok(refusal)
    }

    async fn record(&self, person: &Person, kind: &'static str, body: Map<String, Value>) -> Result<(), Unavailable> {
        let leaf = self.recorder.personal(kind, person, body);
        let writes = self.recorder.subjects(person.human(), None);
        self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await.inspect_err(|_| self.recorder.forget())?;
        Ok(())
    }

    /// Requests that this human may decide, or that are asked in their name; newest last.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, person: &Person, states: &[State], electorate: &dyn Electorate) -> Result<Vec<View>, Unavailable> {
        let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        let rows = self.ledger.list(Filed::KIND, &names, LIST_MAX).await?;
        let visible = |view: &View| view.filed.is_by(person.human()) || may_decide(person, &view.filed, electorate).is_ok();
        Ok(rows.iter().filter_map(View::from_row).filter(visible).collect())
    }

    /// One request, if this human may decide it or it is asked in their name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn show(&self, person: &Person, id: &ApprovalId, electorate: &dyn Electorate) -> Result<Option<View>, Unavailable> {
        let visible = |view: &View| view.filed.is_by(person.human()) || may_decide(person, &view.filed, electorate).is_ok();
        Ok(self.view(id).await?.filter(visible))
    }

    /// Marks what has run out as expired, with a record. Called at intervals; expiry itself is judged by the clock on every look.
    ///
    /// # Errors
    /// The ledger cannot record it.
    pub async fn sweep(&self) -> Result<usize, Unavailable> {
        let now = self.clock.now();
        let mut swept = 0;
        for state in [State::Pending, State::Approved] {
            for row in self.ledger.list(Filed::KIND, &[state.as_str()], LIST_MAX).await? {
                let Some(view) = View::from_row(&row).filter(|view| view.state_at(now) == State::Expired) else { continue };
                let mut body = appr(&view.filed);
                body.insert("res".to_owned(), json!({ "status": "expired", "was": state.as_str() }));
                let leaf = Draft::new("approval.expired", body);
                let write = Write::Move {
                    kind: Filed::KIND.to_owned(),
                    id: row.id.clone(),
                    from: state.as_str().to_owned(),
                    to: State::Expired.as_str().to_owned(),
                    body: None,
                };
                let writes = std::iter::once(write).chain(self.herald.notices(Event::Expired, &view.filed)).collect();
                match self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await {
                    Ok(_) => swept += 1,
                    // Decided or claimed in this very moment.
                    Err(CommitError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if swept > 0 {
            self.decisions.send_modify(|count| *count += 1);
        }
        Ok(swept)
    }

    fn check(&self, person: &Person, view: &View, decision: &Decision, electorate: &dyn Electorate) -> Result<Vec<String>, Refusal> {
        let now = self.clock.now();
        if !person.is_live(now) {
            return Err(Refusal::new(Code::TokenExpired));
        }
        let policies = may_decide(person, &view.filed, electorate)?;
        match view.state_at(now) {
            State::Pending => {}
            State::Expired => return Err(Refusal::new(Code::ApprovalExpired)),
            _ => return Err(Refusal::new(Code::ApprovalDecided).detail(format!("it is {}", view.state.as_str()))),
        }
        if decision.approve && view.filed.is_by(person.human()) && !view.filed.self_approval {
            return Err(Refusal::new(Code::ApprovalNotAllowed)
                .detail("the call is made in your own name, and no policy allows self-approval for it"));
        }
        if view.filed.votes.iter().any(|vote| vote.by.issuer == person.human().issuer && vote.by.id == person.human().subject) {
            return Err(Refusal::new(Code::ApprovalDecided).detail("you have voted already; another human must"));
        }
        let reason = decision.reason.as_deref().map(str::trim).unwrap_or_default();
        if reason.len() > REASON_MAX_BYTES {
            return Err(Refusal::new(Code::TooLarge).detail(format!("a reason has at most {REASON_MAX_BYTES} bytes")));
        }
        if reason.is_empty() && (!decision.approve || view.filed.justification) {
            return Err(Refusal::new(Code::Malformed).detail(if decision.approve {
                "the policy wants a justification: give a `reason`"
            } else {
                "a denial needs a `reason`"
            }));
        }
        Ok(policies)
    }

    /// The request with this vote, and the state it comes to.
    fn voted(&self, person: &Person, filed: &Filed, decision: &Decision) -> (State, Filed) {
        let now = self.clock.now();
        let human = person.human();
        let mut filed = filed.clone();
        filed.votes.push(Vote {
            by: Who { issuer: human.issuer.clone(), id: human.subject.clone(), name: human.name.clone() },
            approve: decision.approve,
            reason: decision.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()).map(ToOwned::to_owned),
            at: now,
        });
        let state = if !decision.approve {
            State::Denied
        } else if filed.votes.iter().filter(|vote| vote.approve).count() >= usize::from(filed.quorum) {
            filed.grant_until = Some(now + TimeDelta::from_std(self.settings.grant_ttl).unwrap_or_default());
            State::Approved
        } else {
            State::Pending
        };
        (state, filed)
    }

    fn decided_leaf(&self, person: &Person, filed: &Filed, decision: &Decision, next: State, policies: Vec<String>) -> Draft {
        let mut body = appr(filed);
        body.insert("res".to_owned(), json!({ "status": if decision.approve { "approved" } else { "denied" }, "state": next.as_str() }));
        body.insert("policy".to_owned(), json!({ "ids": policies }));
        if let Some(until) = filed.grant_until {
            body.insert("until".to_owned(), Value::from(rfc3339(until)));
        }
        self.recorder.personal("approval.decided", person, body)
    }

    async fn record_refused(&self, person: &Person, view: &View, decision: &Decision, refusal: &Refusal) -> Result<(), Unavailable> {
        let mut body = appr(&view.filed);
        body.insert(
            "res".to_owned(),
            json!({ "status": "refused", "code": refusal.code().as_str(), "wanted": if decision.approve { "approved" } else { "denied" } }),
        );
        self.record(person, "approval.refused", body).await
    }
}

/// The policies that let this human decide. Two issuers may know one human by two names, who could then approve a call of their own or vote
/// twice: somebody of another issuer counts as somebody else only where the policies that ask say so.
fn may_decide(person: &Person, filed: &Filed, electorate: &dyn Electorate) -> Result<Vec<String>, Refusal> {
    if person.human().issuer != filed.human.issuer && !filed.any_issuer {
        return Err(Refusal::new(Code::ApprovalNotAllowed)
            .detail("you are known by another issuer than the human in whose name the call is made, and the policy does not take that"));
    }
    electorate.may_decide(person.human(), &filed.subject())
}

/// What every leaf about a request names.
fn appr(filed: &Filed) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("call".to_owned(), Value::from(filed.call.as_str()));
    body.insert("appr".to_owned(), json!({ "id": filed.id, "commit": filed.commit }));
    body
}
