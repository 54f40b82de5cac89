//! Asking and holding: find the grant of an identical call, file a request, and wait a bounded time with progress.
//!
//! A holder owns nothing: it looks at the row again whenever a decision was made here, and every two seconds for those made elsewhere. A caller
//! that hangs up leaves the request as it is; what is approved later is claimed by the same call, made again.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::approval::decide::may_decide;
use crate::approval::{Approval, Asking, Desk, Electorate, Event, Filed, State, View, terms};
use crate::call::{Answer, Bound, Call, Line, Progress, Waiting};
use crate::clock::rfc3339;
use crate::id::ApprovalId;
use crate::identity::{Agent, Human};
use crate::ledger::{Change, CommitError, Row, Write};
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// What is on file for a call.
#[derive(Debug)]
pub enum Found {
    /// An identical call was approved and nobody has claimed it yet.
    Granted(Box<Approval>),
    /// An identical call waits.
    Open(ApprovalId),
    /// An identical call was denied a short while ago.
    Denied(Refusal),
    /// Nothing.
    Nothing,
}

/// What an approver is shown of the effect.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The masked preview, as the approver sees it; null where nothing can be shown.
    pub effect: Value,
    /// What the call would touch, and nothing else once it is approved.
    pub bound: Bound,
}

/// How a wait ended.
#[derive(Debug)]
pub enum Outcome {
    /// Humans said yes.
    Approved(Box<Approval>),
    /// Anything else.
    Stop(Answer),
}

/// Holders look at the row at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Progress is told this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Requests that one look-up by digest considers.
const SAME_CALL_MAX: usize = 16;
/// Grants of one human and agent that a call is held against.
const GRANTS_MAX: usize = 64;

impl Desk {
    /// What is on file for this very call.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn find(&self, asking: Asking<'_>, electorate: &dyn Electorate) -> Result<Found, Unavailable> {
        let digest = match self.digest(asking) {
            Ok(digest) => digest,
            Err(refusal) => return Ok(Found::Denied(refusal)),
        };
        let now = self.clock.now();
        let memory = TimeDelta::from_std(self.settings.denied_memory).unwrap_or_default();
        let rows = self.ledger.by_key(Filed::KIND, &digest).await?;
        let mut found = Found::Nothing;
        for view in rows.iter().rev().take(SAME_CALL_MAX).filter_map(View::from_row) {
            match view.state_at(now) {
                State::Approved => match self.mint(asking, &view) {
                    Ok(approval) => return Ok(Found::Granted(Box::new(approval))),
                    Err(refusal) => return Ok(Found::Denied(refusal)),
                },
                State::Pending => {
                    if let Ok(id) = ApprovalId::parse(&view.filed.id) {
                        found = Found::Open(id);
                    }
                }
                State::Denied if matches!(found, Found::Nothing) => {
                    let denial = view.filed.votes.iter().rev().find(|vote| !vote.approve);
                    if let Some(vote) = denial.filter(|vote| now < vote.at + memory) {
                        found = Found::Denied(denied(vote.reason.as_deref()));
                    }
                }
                State::Revoked if matches!(found, Found::Nothing) && view.filed.was_revoked_after(now - memory) => {
                    found = Found::Denied(Refusal::new(Code::ApprovalRevoked));
                }
                _ => {}
            }
        }
        // Who said no to this very call said it against a grant of before, too.
        if matches!(found, Found::Denied(_)) || asking.terms.grant.is_none() {
            return Ok(found);
        }
        for row in self.ledger.by_group(Filed::KIND, &self.group(asking.call), &[State::Granted.as_str()], GRANTS_MAX).await? {
            let Some(view) = View::from_row(&row) else { continue };
            if let Some(approval) = self.by_grant(asking, &view, electorate).await? {
                return Ok(Found::Granted(Box::new(approval)));
            }
        }
        Ok(found)
    }

    /// Whose requests count together: those of one human and agent.
    fn group(&self, call: &Call) -> String {
        let delegation = &call.facts.delegation;
        format!("{}:{}", self.recorder.human(delegation.human()), self.recorder.agent(delegation.agent()))
    }

    /// Files a request. An identical one that was filed in between is used instead.
    ///
    /// # Errors
    /// The ledger cannot record it.
    pub async fn file(
        &self,
        asking: Asking<'_>,
        shown: Shown,
        electorate: &dyn Electorate,
    ) -> Result<Result<ApprovalId, Refusal>, Unavailable> {
        self.enter(asking, shown, electorate, |_| ()).await
    }

    /// Files a request whose rest `fill` fills in.
    pub(super) async fn enter(
        &self,
        asking: Asking<'_>,
        shown: Shown,
        electorate: &dyn Electorate,
        fill: impl FnOnce(&mut Filed) + Send,
    ) -> Result<Result<ApprovalId, Refusal>, Unavailable> {
        let terms = asking.terms;
        if terms.justification.requester
            && let Some(what) = terms::missing(asking.call.reason.as_deref(), &terms.tickets)
        {
            return Ok(Err(Refusal::new(Code::ApprovalUnjustified).detail(what)));
        }
        let digest = match self.digest(asking) {
            Ok(digest) => digest,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = ApprovalId::mint().map_err(Unavailable::because)?;
        let now = self.clock.now();
        let ttl = asking.terms.ttl.unwrap_or(self.settings.ttl);
        let expires_at = now + TimeDelta::from_std(ttl).unwrap_or_default();
        let mut filed = Filed::new(id.as_str(), asking, shown, now, expires_at);
        fill(&mut filed);
        filed.like = self.like(&filed)?;
        let salt = crate::ledger::salt().map_err(Unavailable::because)?;
        filed.salt = hex::encode(salt);
        filed.commit = Self::commitment(&salt, &digest, &filed);

        let facts = &asking.call.facts;
        let group = self.group(asking.call);
        let mut body = Map::new();
        body.insert("tool".to_owned(), json!({ "name": asking.call.tool.name, "schema_hash": asking.call.tool.schema_hash }));
        body.insert(
            "appr".to_owned(),
            json!({ "id": filed.id, "commit": filed.commit, "quorum": filed.quorum, "exp": rfc3339(expires_at) }),
        );
        if let Some(target) = &asking.call.target {
            body.insert("target".to_owned(), crate::record::target(target));
        }
        body.insert("policy".to_owned(), crate::record::policy(asking.judgement));
        let leaf = self.recorder.draft("approval.requested", facts, body);
        let row = Row::new(Filed::KIND, id.as_str(), State::Pending.as_str(), &digest, Some(expires_at), filed.to_bytes()).grouped(&group);
        let open = [State::Pending.as_str().to_owned()];
        let inserted = Write::InsertUnlessKey {
            row,
            states: vec!["pending".to_owned(), "approved".to_owned()],
            group_max: Some((open.to_vec(), self.settings.open_max)),
        };
        let counted = self.alike(&filed);
        let writes = [inserted, counted].into_iter().chain(self.herald.notices(Event::Requested, &filed)).collect();
        match self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await {
            Ok(_) => {
                self.herald.committed();
                Ok(Ok(id))
            }
            Err(CommitError::Conflict { write: 1 }) => Ok(Err(Refusal::new(Code::ApprovalTooAlike)
                .detail(format!("{} in ten minutes are the most that may wait or be denied", self.settings.alike_max)))),
            Err(CommitError::Conflict { .. }) => match self.find(asking, electorate).await? {
                Found::Open(id) => Ok(Ok(id)),
                Found::Denied(refusal) => Ok(Err(refusal)),
                Found::Granted(approval) => Ok(Ok(approval.id().clone())),
                Found::Nothing => {
                    Ok(Err(Refusal::new(Code::ApprovalsFull).detail(format!("at most {} may be open", self.settings.open_max))))
                }
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the decision on a filed request, a bounded time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn hold(&self, asking: Asking<'_>, id: &ApprovalId, electorate: &dyn Electorate) -> Result<Outcome, Unavailable> {
        let line = &asking.call.line;
        let human = asking.call.facts.delegation.human();
        // Asked at once: whoever would only wait for another human is not.
        let asks_the_caller = line.shows_pages
            && self.view(id).await?.is_some_and(|view| {
                let may =
                    || may_decide(human, &view.filed, electorate).is_ok() && !view.filed.votes.iter().any(|vote| vote.counts_for(human));
                view.filed.self_approval && view.state_at(self.clock.now()) == State::Pending && may()
            });
        let longest = if asks_the_caller {
            Duration::ZERO
        } else if line.progress.is_some() {
            self.settings.hold_with_progress
        } else {
            self.settings.hold
        };
        let view = match self.watch(id, longest, asking.call).await? {
            Ok(view) => view,
            Err(refusal) => return Ok(Outcome::Stop(Answer::Refused(refusal))),
        };
        Ok(match view.state_at(self.clock.now()) {
            State::Pending | State::Approved if line.cancelled.is_cancelled() => {
                let withdrawn = self.withdraw(id, &asking.call.facts).await?;
                let refusal = withdrawn.err().unwrap_or_else(|| Refusal::new(Code::ApprovalWithdrawn));
                Outcome::Stop(Answer::Refused(refusal))
            }
            // Nothing runs with nobody there to hear of it; what was given waits for the next call.
            State::Approved | State::Granted if line.gone.is_cancelled() || line.cancelled.is_cancelled() => {
                Outcome::Stop(Answer::Waiting(self.waiting(id, &view, asks_the_caller)))
            }
            State::Granted => match self.by_grant(asking, &view, electorate).await? {
                Some(approval) => Outcome::Approved(Box::new(approval)),
                None => Outcome::Stop(Answer::Refused(Refusal::new(Code::ApprovalUnknown))),
            },
            State::Approved => match self.mint(asking, &view) {
                Ok(approval) => Outcome::Approved(Box::new(approval)),
                Err(refusal) => Outcome::Stop(Answer::Refused(refusal)),
            },
            State::Withdrawn => Outcome::Stop(Answer::Refused(Refusal::new(Code::ApprovalWithdrawn))),
            State::Revoked => Outcome::Stop(Answer::Refused(Refusal::new(Code::ApprovalRevoked))),
            State::Pending => Outcome::Stop(Answer::Waiting(self.waiting(id, &view, asks_the_caller))),
            State::Denied => {
                let reason = view.filed.votes.iter().find(|vote| !vote.approve).and_then(|vote| vote.reason.as_deref());
                Outcome::Stop(Answer::Refused(denied(reason)))
            }
            State::Expired => Outcome::Stop(Answer::Refused(Refusal::new(Code::ApprovalExpired))),
            State::Spent => Outcome::Stop(Answer::Refused(Refusal::new(Code::ApprovalSpent))),
        })
    }

    fn waiting(&self, id: &ApprovalId, view: &View, asks_the_caller: bool) -> Waiting {
        let filed = &view.filed;
        Waiting { approval: id.clone(), url: self.url(id), expires_at: filed.expires_at(), deciders: deciders(filed), asks_the_caller }
    }

    /// The request, for the human and agent that asked; `None` for anybody else's and for none at all.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn own(&self, id: &ApprovalId, human: &Human, agent: &Agent) -> Result<Option<View>, Unavailable> {
        Ok(self.view(id).await?.filter(|view| view.filed.is_of(human, agent)))
    }

    /// The request as it stands once it is no longer pending, or after `longest`. What the human lent this call may be taken back or end while a human
    /// decides: the wait ends then, and tells no more.
    ///
    /// # Errors
    /// Outer: the store cannot be read. Inner: nothing is lent any more, or there is no such request.
    pub async fn watch(&self, id: &ApprovalId, longest: Duration, call: &Call) -> Result<Result<View, Refusal>, Unavailable> {
        let began = Instant::now();
        let mut changes = call.facts.delegation.changes();
        loop {
            let lasts = (call.facts.delegation.expires_at() - self.clock.now()).to_std().unwrap_or_default();
            let seen = tokio::select! {
                view = self.decided(id, longest.saturating_sub(began.elapsed()).min(lasts), &call.line) => Some(view?),
                // An error means that nothing is ever taken back; the desk's own bound ends the wait.
                Ok(()) = changes.changed() => None,
            };
            if let Err(refusal) = call.still_lent(self.clock.now()) {
                return Ok(Err(refusal));
            }
            if let Some(view) = seen {
                return Ok(view.ok_or_else(|| Refusal::new(Code::ApprovalUnknown)));
            }
        }
    }

    async fn decided(&self, id: &ApprovalId, longest: Duration, line: &Line) -> Result<Option<View>, Unavailable> {
        let began = Instant::now();
        let mut decisions = self.decisions.subscribe();
        let mut tell_at = began + PROGRESS_EVERY;
        loop {
            decisions.mark_unchanged();
            let Some(view) = self.view(id).await? else { return Ok(None) };
            let left = longest.saturating_sub(began.elapsed());
            if view.state_at(self.clock.now()) != State::Pending
                || left.is_zero()
                || line.gone.is_cancelled()
                || line.draining.is_cancelled()
            {
                return Ok(Some(view));
            }
            if Instant::now() >= tell_at {
                tell_at += PROGRESS_EVERY;
                tell(line, began.elapsed(), &view.filed);
            }
            let nap = left.min(LOOK_EVERY).min(tell_at.saturating_duration_since(Instant::now()));
            tokio::select! {
                // An error means that the desk is gone; the nap then bounds the loop.
                _ = decisions.changed() => {}
                () = tokio::time::sleep(nap) => {}
                () = line.gone.cancelled() => {}
                () = line.draining.cancelled() => {}
            }
        }
    }

    /// A key for what is sealed to a waiting call and given to its caller: of the store, so that another broker on it opens what this one has sealed.
    #[must_use]
    pub fn state_key(&self) -> Vec<u8> {
        self.ledger.keys().digest(b"request-state/v1")
    }

    pub(super) async fn view(&self, id: &ApprovalId) -> Result<Option<View>, Unavailable> {
        match self.ledger.get(Filed::KIND, id.as_str()).await?.as_ref().and_then(View::from_row) {
            Some(view) => self.counted(view).await.map(Some),
            None => Ok(None),
        }
    }
}

fn tell(line: &Line, elapsed: Duration, filed: &Filed) {
    if let Some(progress) = &line.progress {
        let message = format!("waiting for a human to decide {} ({} s)", filed.id, elapsed.as_secs());
        // A full channel only means that the caller is slow to read; the next one will do.
        drop(progress.try_send(Progress { elapsed_s: elapsed.as_secs(), message }));
    }
}

fn denied(reason: Option<&str>) -> Refusal {
    let refusal = Refusal::new(Code::ApprovalDenied);
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => refusal.detail(format!("`{reason}`")),
        None => refusal,
    }
}

fn deciders(filed: &Filed) -> String {
    let who = if filed.self_approval {
        "a human whom the policy allows, the delegating human included"
    } else {
        "a human other than the delegating one"
    };
    let who = if filed.any_issuer { format!("{who}, of whichever issuer") } else { who.to_owned() };
    if filed.quorum > 1 { format!("{} of: {who}", filed.quorum) } else { who }
}
