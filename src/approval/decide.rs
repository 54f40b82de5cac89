//! Deciding: a `Person`, allowed by the electorate, says yes or no, once, and the store's row settles every race.
//!
//! Deny needs a reason and wins over approvals. Every attempt leaves a record, also the one that came too late, from somebody who may not, or on
//! an id that is none: one small leaf, whatever was sent. An approval counts as long as its human may decide: when another vote comes, the earlier ones
//! are asked about again, by the teams that are last known of each.

use serde_json::{Map, Value, json};

use crate::approval::glass::glass_policies;
use crate::approval::turn::{Turn, appr};
use crate::approval::{Desk, Electorate, Event, Filed, Scope, State, View, terms};
use crate::clock::rfc3339;
use crate::id::ApprovalId;
use crate::identity::{Human, Person};
use crate::ledger::{Change, CommitError, Draft, SealedPayload};
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// What a human says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub approve: bool,
    /// Why; required for a no, and for a yes where the policy demands it.
    pub reason: Option<String>,
    /// With a yes: more calls of the kind than this one, or less than was asked for.
    pub scope: Option<Scope>,
    /// What was shown to them, as [`View::mark`] says it: if the request has changed since, nothing is decided. `None` = whatever it is now.
    pub mark: Option<String>,
}

/// Some of the requests that a human may see.
#[derive(Debug)]
pub struct Listed {
    /// Newest last; 500 at most.
    pub views: Vec<View>,
    /// Where there are older ones: those before this id.
    pub before: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The request as it stands now.
    pub view: View,
}

/// Times that something is tried again when something else was written about the request at the same moment.
pub(super) const TRIES: usize = 8;
/// Requests that one listing shows.
const LIST_MAX: usize = 500;
/// Requests that it looks through for them.
pub(super) const LOOK_MAX: usize = 20_000;
/// How many of them at a time: others are served in between, and memory does not grow with what waits.
pub(super) const LOOK_AT_ONCE: usize = 256;

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
        for _ in 0..TRIES {
            let Some(view) = self.view(id).await? else {
                return Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalUnknown)).await?));
            };
            let policies = match self.check(person, &view, &decision, electorate) {
                Ok(policies) => policies,
                Err(refusal) => {
                    self.record_refused(person, &view, &decision, &refusal).await?;
                    return Ok(Err(hidden(refusal, person, &view, electorate)));
                }
            };
            let standing = match self.recounted(view.filed.clone(), electorate).await? {
                Ok(standing) => standing,
                Err(refusal) => {
                    self.record_refused(person, &view, &decision, &refusal).await?;
                    return Ok(Err(refusal));
                }
            };
            let (to, filed) = self.voted(person, standing, &decision);
            let (leaf, words) = self.decided_leaf(person, &filed, &decision, to, policies)?;
            let event = (to != State::Pending).then_some(Event::Decided);
            let more = self.seen(person).await?.into_iter().chain(self.recorder.subjects(person.human(), None)).collect();
            // Where somebody voted first: look again, and find it decided or one vote short.
            if let Some(view) = self.turn(&view, Turn { to, filed, leaf, event, more, words }).await? {
                return Ok(Ok(Decided { view }));
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
        for _ in 0..TRIES {
            let leaf = self.recorder.personal(kind, person, body.clone());
            let writes = self.seen(person).await?.into_iter().chain(self.recorder.subjects(person.human(), None)).collect();
            match self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await {
                Ok(_) => return Ok(()),
                // Another attempt of theirs was written down at the same moment.
                Err(CommitError::Conflict { .. }) => self.recorder.forget(),
                Err(error) => {
                    self.recorder.forget();
                    return Err(error.into());
                }
            }
        }
        Err(Unavailable::because("attempts of one human came too fast to be recorded"))
    }

    /// Requests that this human may see; newest last, and the newest, or those before one of that id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        person: &Person,
        states: &[State],
        before: Option<&str>,
        electorate: &dyn Electorate,
    ) -> Result<Listed, Unavailable> {
        // A grant that is used up is spent, whatever its row says.
        let used_up = states.contains(&State::Spent).then_some(State::Granted);
        let rows: Vec<State> = states.iter().copied().chain(used_up).collect();
        let names: Vec<&str> = rows.iter().map(|state| state.as_str()).collect();
        let mut places = self.ledger.places(Filed::KIND, &names, LOOK_MAX).await?;
        if let Some(before) = before {
            let at = self.ledger.place(Filed::KIND, before).await?;
            places.retain(|place| at.as_ref().is_some_and(|at| place < at));
        }
        let mut views: Vec<View> = Vec::new();
        // Of all, and not of the newest alone: what others ask must not push out of sight what waits for this human.
        'all: for some in places.chunks(LOOK_AT_ONCE) {
            let found = self.ledger.at(some).await?;
            let found = found.iter().filter_map(View::from_row).filter(|view| rows.contains(&view.state));
            for view in found.filter(|view| is_shown(person, view, electorate)) {
                views.extend(Some(self.counted(view).await?).filter(|view| states.contains(&view.state)));
                // One more than is shown tells that there are more.
                if views.len() > LIST_MAX {
                    break 'all;
                }
            }
        }
        let is_cut = views.len() > LIST_MAX;
        views.truncate(LIST_MAX);
        let before = views.last().filter(|_| is_cut).map(|view| view.filed.id.clone());
        views.reverse();
        Ok(Listed { views, before })
    }

    /// One request, if this human may see it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn show(&self, person: &Person, id: &ApprovalId, electorate: &dyn Electorate) -> Result<Option<View>, Unavailable> {
        Ok(self.view(id).await?.filter(|view| is_shown(person, view, electorate)))
    }

    /// Whether a request can be decided by whoever is there now.
    pub(super) fn is_open(&self, person: &Person, view: &View) -> Result<(), Refusal> {
        let now = self.clock.now();
        if !person.is_live(now) {
            return Err(Refusal::new(Code::TokenExpired));
        }
        match view.state_at(now) {
            State::Pending => Ok(()),
            State::Expired => Err(Refusal::new(Code::ApprovalExpired)),
            _ => Err(Refusal::new(Code::ApprovalDecided).detail(format!("it is {}", view.state.as_str()))),
        }
    }

    fn check(&self, person: &Person, view: &View, decision: &Decision, electorate: &dyn Electorate) -> Result<Vec<String>, Refusal> {
        let policies = self.may_vote(person, view, decision.approve, electorate)?;
        if decision.mark.as_ref().is_some_and(|mark| *mark != view.mark()) {
            return Err(Refusal::new(Code::ApprovalMoved));
        }
        is_complete(decision, &view.filed).map(|()| policies)
    }

    /// The policies by which this human may say so now, whatever the reason.
    pub(super) fn may_vote(
        &self,
        person: &Person,
        view: &View,
        approve: bool,
        electorate: &dyn Electorate,
    ) -> Result<Vec<String>, Refusal> {
        let filed = &view.filed;
        let policies = may_decide(person.human(), filed, electorate)?;
        self.is_open(person, view)?;
        if approve && filed.is_by(person.human()) && !filed.self_approval {
            return Err(Refusal::new(Code::ApprovalNotAllowed)
                .detail("the call is made in your own name, and no policy allows self-approval for it"));
        }
        // Whoever has said yes may still say no.
        if filed.votes.iter().any(|vote| vote.counts_for(person.human()) && (approve || !vote.approve)) {
            return Err(Refusal::new(Code::ApprovalDecided).detail("you have voted already; another human must"));
        }
        Ok(policies)
    }

    /// The request with those votes that still count; the rest has lapsed.
    async fn recounted(&self, mut filed: Filed, electorate: &dyn Electorate) -> Result<Result<Filed, Refusal>, Unavailable> {
        let subjects = filed.subjects();
        for vote in filed.votes.iter_mut().filter(|vote| vote.approve && !vote.lapsed) {
            let Some(human) = self.voter(vote).await? else {
                vote.lapsed = true;
                continue;
            };
            for subject in &subjects {
                match electorate.may_decide(&human, subject) {
                    Ok(_) => {}
                    Err(refusal) if refusal.code() == Code::ApprovalNotAllowed => vote.lapsed = true,
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        }
        Ok(Ok(filed))
    }

    /// The request with this vote, and the state it comes to.
    fn voted(&self, person: &Person, mut filed: Filed, decision: &Decision) -> (State, Filed) {
        filed.votes.push(self.vote(person, decision.approve, decision.reason.as_deref()));
        if decision.approve {
            filed.name_tickets(decision.reason.as_deref());
        }
        let scope = decision.scope.as_ref().map(|scope| filed.fitted(scope));
        if let Some(vote) = filed.votes.last_mut() {
            vote.scope = scope;
        }
        let approvals = filed.votes.iter().filter(|vote| vote.approve && !vote.lapsed).count();
        let state = if !decision.approve {
            State::Denied
        } else if approvals >= usize::from(filed.quorum) {
            // Of access, what was asked for is replaced by what is granted; nothing at all was refused before it came to this.
            filed.scope = filed.agreed();
            filed.grant_until = Some(self.grant_until(filed.scope.as_ref()));
            filed.given()
        } else {
            State::Pending
        };
        (state, filed)
    }

    fn decided_leaf(
        &self,
        person: &Person,
        filed: &Filed,
        decision: &Decision,
        next: State,
        policies: Vec<String>,
    ) -> Result<(Draft, Vec<SealedPayload>), Unavailable> {
        let mut body = appr(filed);
        let lapsed = filed.votes.iter().filter(|vote| vote.lapsed).count();
        body.insert(
            "res".to_owned(),
            json!({ "status": if decision.approve { "approved" } else { "denied" }, "state": next.as_str(), "lapsed": lapsed }),
        );
        body.insert("policy".to_owned(), json!({ "ids": policies }));
        if let Some(until) = filed.grant_until {
            body.insert("until".to_owned(), Value::from(rfc3339(until)));
        }
        let words = filed.votes.last().map(|vote| self.words(vote, &mut body)).transpose()?.unwrap_or_default();
        Ok((self.recorder.personal("approval.decided", person, body), words))
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

/// Whether a decision says all that it must, and grants no more than it may.
fn is_complete(decision: &Decision, filed: &Filed) -> Result<(), Refusal> {
    let malformed = |why: String| Refusal::new(Code::Malformed).detail(why);
    let reason = decision.reason.as_deref();
    terms::check_length(reason)?;
    if !decision.approve {
        terms::justified(reason, &[], "a denial")?;
    } else if filed.justification {
        terms::justified(reason, &filed.ticket_forms, "by the policy, this approval")?;
    }
    match &decision.scope {
        Some(_) if !decision.approve => Err(malformed("a denial grants nothing: leave `scope` out".to_owned())),
        Some(scope) => filed.may_grant(scope).map_err(malformed),
        None => Ok(()),
    }
}

/// Whether a human may see a request: who decides it, whose it is, who may let it go ahead alone, and who looks at that afterwards.
fn is_shown(person: &Person, view: &View, electorate: &dyn Electorate) -> bool {
    let human = person.human();
    has_a_say(human, view, electorate)
        || view.state == State::Pending && glass_policies(human, &view.filed, electorate).is_ok()
        || view.filed.glass.is_some() && electorate.may_review(human)
}

/// To somebody who is not shown a request, it is not there.
pub(super) fn hidden(refusal: Refusal, person: &Person, view: &View, electorate: &dyn Electorate) -> Refusal {
    let is_hidden = refusal.code() == Code::ApprovalNotAllowed && !is_shown(person, view, electorate);
    if is_hidden { Refusal::new(Code::ApprovalUnknown) } else { refusal }
}

/// Whether it is this human's to decide, or is asked in their name.
pub(super) fn has_a_say(human: &Human, view: &View, electorate: &dyn Electorate) -> bool {
    view.filed.is_by(human) || may_decide(human, &view.filed, electorate).is_ok()
}

/// The policies that let this human decide. Two issuers may know one human by two names, who could then approve a call of their own or vote
/// twice: somebody of another issuer counts as somebody else only where the policies that ask say so.
pub(super) fn may_decide(human: &Human, filed: &Filed, electorate: &dyn Electorate) -> Result<Vec<String>, Refusal> {
    if human.issuer != filed.human.issuer && !filed.any_issuer {
        return Err(Refusal::new(Code::ApprovalNotAllowed)
            .detail("you are known by another issuer than the human in whose name the call is made, and the policy does not take that"));
    }
    let mut policies = Vec::new();
    for subject in filed.subjects() {
        policies.extend(electorate.may_decide(human, &subject)?);
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}
