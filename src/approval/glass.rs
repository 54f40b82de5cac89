//! Breaking the glass: a human whom a policy trusts with it lets a request go ahead at once, alone, and answers for it afterwards.
//!
//! It takes a person, like every decision: no agent can call it an emergency by itself. Why is demanded, the owners are told, and the request stands out
//! in the trail until somebody else has looked at it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::approval::decide::{TRIES, hidden};
use crate::approval::filed::Vote;
use crate::approval::turn::{Turn, appr};
use crate::approval::{Desk, Electorate, Event, Filed, State, View, terms};
use crate::clock::rfc3339;
use crate::id::ApprovalId;
use crate::identity::{Human, Person};
use crate::ledger::{Row, Write};
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// Rows that say what is still to be looked at, however long ago it was.
const BROKEN: &str = "glass";
const UNREVIEWED: &str = "unreviewed";
const REVIEWED: &str = "reviewed";
/// So many of them are listed.
const LISTED_MAX: usize = 1_000;

/// That the glass was broken, and who has looked at it since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glass {
    /// Who did it, why, and when.
    pub broken: Vote,
    /// Who looked at it afterwards, and whether it was right.
    #[serde(default)]
    pub reviewed: Option<Vote>,
}

impl Desk {
    /// Lets a request go ahead at once, whatever its quorum, and whosever it is.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it, so nothing was decided. Inner: the refusal, recorded.
    pub async fn break_glass(
        &self,
        person: &Person,
        id: &ApprovalId,
        (reason, mark): (Option<&str>, Option<&str>),
        electorate: &dyn Electorate,
    ) -> Result<Result<View, Refusal>, Unavailable> {
        // A vote or an escalation of the same moment leaves it open: look again.
        for _ in 0..TRIES {
            let Some(view) = self.view(id).await? else {
                return Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalUnknown)).await?));
            };
            let policies = match self.may_break(person, &view, (reason, mark), electorate) {
                Ok(policies) => policies,
                Err(refusal) => return Ok(Err(self.turned_away(person, Some(id), refusal).await?)),
            };
            let vote = self.vote(person, true, reason);
            let until = self.grant_until(None);
            let filed = Filed {
                glass: Some(Glass { broken: vote.clone(), reviewed: None }),
                votes: view.filed.votes.iter().cloned().chain([vote.clone()]).collect(),
                // For this one call, whatever others thought of granting.
                scope: None,
                grant_until: Some(until),
                ..view.filed.clone()
            };
            let mut body = appr(&filed);
            body.insert("res".to_owned(), json!({ "status": "approved", "state": State::Approved.as_str(), "glass": "broken" }));
            body.insert("policy".to_owned(), json!({ "ids": policies }));
            body.insert("until".to_owned(), json!(rfc3339(until)));
            let words = self.words(&vote, &mut body)?;
            let leaf = self.recorder.personal("approval.glass_broken", person, body);
            let unreviewed = Write::Ensure(Row::new(BROKEN, id.as_str(), UNREVIEWED, "", None, Vec::new()));
            let more = std::iter::once(unreviewed).chain(self.recorder.subjects(person.human(), None)).collect();
            let turn = Turn { to: State::Approved, filed, leaf, event: Some(Event::GlassBroken), more, words };
            if let Some(view) = self.turn(&view, turn).await? {
                return Ok(Ok(view));
            }
        }
        Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalDecided)).await?))
    }

    /// Says of a broken glass whether it was right. Whoever broke it does not, nor whoever voted, nor the human in whose name the call was made.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it. Inner: the refusal, recorded.
    pub async fn review_glass(
        &self,
        person: &Person,
        id: &ApprovalId,
        is_right: bool,
        reason: Option<&str>,
        electorate: &dyn Electorate,
    ) -> Result<Result<View, Refusal>, Unavailable> {
        // To somebody who may not, it is not there.
        let Some(view) = self.view(id).await?.filter(|_| electorate.may_review(person.human())) else {
            return Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalUnknown)).await?));
        };
        let glass = match reviewable(person, &view, reason) {
            Ok(glass) => glass,
            Err(refusal) => return Ok(Err(self.turned_away(person, Some(id), refusal).await?)),
        };
        let vote = self.vote(person, is_right, reason);
        let filed = Filed { glass: Some(Glass { reviewed: Some(vote.clone()), ..glass }), ..view.filed.clone() };
        let mut body = appr(&filed);
        let words = self.words(&vote, &mut body)?;
        body.insert("res".to_owned(), json!({ "status": if is_right { "right" } else { "wrong" } }));
        let leaf = self.recorder.personal("approval.glass_reviewed", person, body);
        let looked_at =
            Write::Move { kind: BROKEN.to_owned(), id: id.to_string(), from: UNREVIEWED.to_owned(), to: REVIEWED.to_owned(), body: None };
        let more = std::iter::once(looked_at).chain(self.recorder.subjects(person.human(), None)).collect();
        match self.turn(&view, Turn { to: view.state, filed, leaf, event: None, more, words }).await? {
            Some(view) => Ok(Ok(view)),
            None => Ok(Err(self.turned_away(person, Some(id), Refusal::new(Code::ApprovalDecided)).await?)),
        }
    }

    /// Requests for which the glass was broken and that nobody else has looked at, oldest first.
    pub(super) async fn unreviewed(&self) -> Result<Vec<String>, Unavailable> {
        Ok(self.ledger.list(BROKEN, &[UNREVIEWED], LISTED_MAX).await?.into_iter().map(|row| row.id).collect())
    }

    fn may_break(
        &self,
        person: &Person,
        view: &View,
        (reason, mark): (Option<&str>, Option<&str>),
        electorate: &dyn Electorate,
    ) -> Result<Vec<String>, Refusal> {
        let policies =
            glass_policies(person.human(), &view.filed, electorate).map_err(|refusal| hidden(refusal, person, view, electorate))?;
        self.is_open(person, view)?;
        if mark.is_some_and(|mark| *mark != view.mark()) {
            return Err(Refusal::new(Code::ApprovalMoved));
        }
        if view.filed.is_access() {
            return Err(Refusal::new(Code::ApprovalNotAllowed).detail("the glass is broken for one call, not for access"));
        }
        // A channel may tell of some environments and risks only: what counts is whether somebody hears of this request.
        if self.herald.notices(Event::GlassBroken, &view.filed).is_empty() {
            return Err(Refusal::new(Code::ApprovalNotAllowed)
                .detail("nobody would be told of it: no channel has `glass_broken` for this environment and risk"));
        }
        terms::check_length(reason)?;
        terms::justified(reason, &view.filed.ticket_forms, "breaking the glass").map(|()| policies)
    }
}

/// The policies by which this human may let a request go ahead alone.
pub(super) fn glass_policies(human: &Human, filed: &Filed, electorate: &dyn Electorate) -> Result<Vec<String>, Refusal> {
    if human.issuer != filed.human.issuer && !filed.any_issuer {
        return Err(Refusal::new(Code::ApprovalNotAllowed));
    }
    let mut policies = Vec::new();
    for subject in filed.subjects() {
        policies.extend(electorate.may_break_glass(human, &subject)?);
    }
    Ok(policies)
}

/// The broken glass of a request, if this person may say whether it was right.
fn reviewable(person: &Person, view: &View, reason: Option<&str>) -> Result<Glass, Refusal> {
    let glass = view.filed.glass.clone().ok_or_else(|| Refusal::new(Code::ApprovalUnknown))?;
    terms::check_length(reason)?;
    // Another issuer may know the very same human by another name.
    let is_known = person.human().issuer == view.filed.human.issuer || view.filed.any_issuer;
    let had_a_part = view.filed.is_by(person.human()) || view.filed.votes.iter().any(|vote| vote.by.human(Vec::new()).is(person.human()));
    if !is_known || had_a_part {
        return Err(Refusal::new(Code::ApprovalNotAllowed).detail("somebody who had no part in it must look at it"));
    }
    if let Some(reviewed) = &glass.reviewed {
        return Err(Refusal::new(Code::ApprovalDecided).detail(format!("{} has looked at it", reviewed.by.id)));
    }
    terms::justified(reason, &[], "a review").map(|()| glass)
}
