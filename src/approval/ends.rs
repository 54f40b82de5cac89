//! How a request ends without a decision, or after one: it expires, its agent withdraws it, a human takes an approval back; and how the next team is told
//! of one that nobody decides.

use chrono::TimeDelta;
use serde_json::json;

use crate::approval::decide::{LOOK_AT_ONCE, LOOK_MAX, TRIES, has_a_say, may_decide};
use crate::approval::filed::Vote;
use crate::approval::turn::{Turn, appr};
use crate::approval::{Desk, Electorate, Event, Filed, State, View, terms};
use crate::call::Facts;
use crate::id::ApprovalId;
use crate::identity::Person;
use crate::ledger::Draft;
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

impl Desk {
    /// Marks what has run out as expired, with a record, and has the next team told where it is time. Called at intervals; expiry itself is judged by the
    /// clock on every look.
    ///
    /// # Errors
    /// The ledger cannot record it.
    pub async fn sweep(&self) -> Result<usize, Unavailable> {
        let now = self.clock.now();
        let mut swept = 0;
        let open = [State::Pending, State::Approved, State::Granted];
        let places = self.ledger.places(Filed::KIND, &open.map(State::as_str), LOOK_MAX).await?;
        for some in places.chunks(LOOK_AT_ONCE) {
            for view in self.ledger.at(some).await?.iter().filter_map(View::from_row).filter(|view| open.contains(&view.state)) {
                let turn = if view.state_at(now) == State::Expired {
                    let used_up = self.counted(view.clone()).await?.state == State::Spent;
                    let mut body = appr(&view.filed);
                    body.insert(
                        "res".to_owned(),
                        json!({ "status": "expired", "was": if used_up { "spent" } else { view.state.as_str() } }),
                    );
                    let leaf = Draft::new("approval.expired", body);
                    Turn {
                        to: if used_up { State::Spent } else { State::Expired },
                        filed: view.filed.clone(),
                        leaf,
                        // Of what was used to its last call, nobody needs to hear.
                        event: (!used_up).then_some(Event::Expired),
                        more: Vec::new(),
                        words: Vec::new(),
                    }
                } else if let Some(turn) = escalated(&view, now) {
                    turn
                } else {
                    continue;
                };
                // `None`: decided or claimed in this very moment.
                swept += usize::from(self.turn(&view, turn).await?.is_some());
            }
        }
        Ok(swept)
    }

    /// Withdraws a request, for the human and agent that asked it.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it. Inner: there is none of theirs that is still open.
    pub async fn withdraw(&self, id: &ApprovalId, facts: &Facts) -> Result<Result<View, Refusal>, Unavailable> {
        // A vote or an escalation of the same moment leaves it open: look again.
        for _ in 0..TRIES {
            let own = self.own(id, facts.delegation.human(), facts.delegation.agent()).await?;
            let Some(view) = own else { return Ok(Err(Refusal::new(Code::ApprovalUnknown))) };
            if !matches!(view.state_at(self.clock.now()), State::Pending | State::Approved | State::Granted) {
                return Ok(Err(Refusal::new(Code::ApprovalDecided).detail(format!("it is {}", view.state.as_str()))));
            }
            let mut body = appr(&view.filed);
            body.remove("call");
            body.insert("res".to_owned(), json!({ "status": "withdrawn", "was": view.state.as_str() }));
            let leaf = self.recorder.draft("approval.withdrawn", facts, body);
            let more = self.recorder.subjects_of(facts);
            let event = Some(Event::Withdrawn);
            let turn = Turn { to: State::Withdrawn, filed: view.filed.clone(), leaf, event, more, words: Vec::new() };
            if let Some(view) = self.turn(&view, turn).await? {
                return Ok(Ok(view));
            }
        }
        Ok(Err(Refusal::new(Code::ApprovalDecided)))
    }

    /// Takes back what was approved: whoever may decide it can, and the human in whose name it would be used. From the commit on nothing goes ahead by it.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it. Inner: the refusal, recorded.
    pub async fn revoke(
        &self,
        person: &Person,
        id: &ApprovalId,
        reason: Option<&str>,
        electorate: &dyn Electorate,
    ) -> Result<Result<View, Refusal>, Unavailable> {
        // A use of a grant is no change of its row, but a claim is: look again.
        for _ in 0..TRIES {
            let Some(view) = self.view(id).await?.filter(|view| has_a_say(person.human(), view, electorate)) else {
                return Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalUnknown)).await?));
            };
            if let Err(refusal) = self.is_revocable(person, &view, reason) {
                return Ok(Err(self.turned_away(person, Some(id), refusal).await?));
            }
            let mut filed = view.filed.clone();
            let vote = Vote { takes_back: true, ..self.vote(person, false, reason) };
            filed.votes.push(vote.clone());
            let mut body = appr(&filed);
            let words = self.words(&vote, &mut body)?;
            body.insert("res".to_owned(), json!({ "status": "revoked" }));
            let ids = may_decide(person.human(), &filed, electorate).unwrap_or_default();
            body.insert("policy".to_owned(), json!({ "ids": ids }));
            let leaf = self.recorder.personal("approval.revoked", person, body);
            let more = self.recorder.subjects(person.human(), None);
            if let Some(view) = self.turn(&view, Turn { to: State::Revoked, filed, leaf, event: Some(Event::Revoked), more, words }).await?
            {
                return Ok(Ok(view));
            }
        }
        Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalSpent)).await?))
    }

    fn is_revocable(&self, person: &Person, view: &View, reason: Option<&str>) -> Result<(), Refusal> {
        let now = self.clock.now();
        if !person.is_live(now) {
            return Err(Refusal::new(Code::TokenExpired));
        }
        if !matches!(view.state_at(now), State::Approved | State::Granted) {
            return Err(Refusal::new(Code::ApprovalDecided).detail(format!("it is {}", view.state_at(now).as_str())));
        }
        terms::check_length(reason)?;
        terms::justified(reason, &[], "taking back")
    }
}

/// The request once the next team has been told, if it is time for that.
fn escalated(view: &View, now: crate::clock::Timestamp) -> Option<Turn> {
    let next = view.filed.escalations.first().filter(|_| view.state == State::Pending)?;
    let due = view.filed.asked_at + TimeDelta::try_seconds(i64::try_from(next.after_s).ok()?)?;
    if now < due {
        return None;
    }
    let mut filed = view.filed.clone();
    let told = filed.escalations.remove(0);
    filed.escalated_to = Some(told.to.clone());
    let mut body = appr(&filed);
    body.insert("res".to_owned(), json!({ "status": "escalated", "to": told.to }));
    let leaf = Draft::new("approval.escalated", body);
    Some(Turn { to: State::Pending, filed, leaf, event: Some(Event::Escalated), more: Vec::new(), words: Vec::new() })
}
