//! One turn of a request: a leaf that says what happened, the row as it is from then on, and the notices to people outside, in one commit or not at all.
//!
//! Whoever was second finds the row's version changed and has done nothing; there is no other way by which a request moves, except for a claim, which the
//! audit room writes together with the call that it admits.

use serde_json::{Map, Value, json};

use crate::approval::filed::{Vote, Who};
use crate::approval::{Desk, Event, Filed, Scope, State, View};
use crate::clock::Timestamp;
use crate::identity::Person;
use crate::ledger::{Change, CommitError, Draft, SealedPayload, Write};
use crate::record::Unavailable;

/// What a request turns into.
pub(super) struct Turn {
    /// Its state from then on.
    pub(super) to: State,
    /// The rest of it.
    pub(super) filed: Filed,
    /// What is recorded.
    pub(super) leaf: Draft,
    /// What others are told of.
    pub(super) event: Option<Event>,
    /// Whatever else is written with it.
    pub(super) more: Vec<Write>,
    /// What a human said, which the leaf names.
    pub(super) words: Vec<SealedPayload>,
}

impl Desk {
    /// Turns a request; `None` if somebody else was first, and nothing was written then.
    pub(super) async fn turn(&self, view: &View, turn: Turn) -> Result<Option<View>, Unavailable> {
        let Turn { to, filed, leaf, event, more, words } = turn;
        // By the store's time at the commit, whatever the clock said when it was looked at: nothing is decided of what has run out.
        let in_time = (view.state == State::Pending && !matches!(to, State::Expired | State::Withdrawn)).then(|| Write::Unless {
            kind: Filed::KIND.to_owned(),
            id: filed.id.clone(),
            states: Vec::new(),
            live: true,
        });
        let write = Write::MoveIf {
            kind: Filed::KIND.to_owned(),
            id: filed.id.clone(),
            from: view.state.as_str().to_owned(),
            to: to.as_str().to_owned(),
            version: view.version,
            expires_at: Some(filed.grant_until.unwrap_or_else(|| filed.expires_at())),
            body: filed.to_bytes(),
        };
        let notices = event.map(|event| self.herald.notices(event, &filed)).unwrap_or_default();
        let is_approved = matches!(to, State::Approved | State::Granted) && view.state == State::Pending;
        let uncounted = if is_approved { Self::no_longer_alike(&filed) } else { None };
        let writes = in_time.into_iter().chain([write]).chain(notices).chain(uncounted).chain(more).collect();
        match self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: words }).await {
            Ok(_) => {
                self.decisions.send_modify(|count| *count += 1);
                self.herald.committed();
                Ok(Some(View { state: to, filed, version: view.version + 1 }))
            }
            Err(CommitError::Conflict { .. }) => {
                self.recorder.forget();
                Ok(None)
            }
            Err(error) => {
                self.recorder.forget();
                Err(error.into())
            }
        }
    }

    /// What a human said, sealed, for a leaf that names it: why, and of a grant how much.
    pub(super) fn words(&self, vote: &Vote, body: &mut Map<String, Value>) -> Result<Vec<SealedPayload>, Unavailable> {
        if vote.reason.is_none() && vote.scope.is_none() {
            return Ok(Vec::new());
        }
        let said = json!({ "reason": vote.reason, "scope": vote.scope.as_ref().map(Scope::show) });
        let sealed = self.ledger.sealed("decision", "request", said.to_string().as_bytes()).map_err(Unavailable::because)?;
        body.insert("pay".to_owned(), json!([sealed.reference().to_json()]));
        Ok(vec![sealed])
    }

    /// A vote of this person, now.
    pub(super) fn vote(&self, person: &Person, approve: bool, reason: Option<&str>) -> Vote {
        let human = person.human();
        Vote {
            by: Who::of(human),
            approve,
            reason: reason.map(str::trim).filter(|reason| !reason.is_empty()).map(ToOwned::to_owned),
            at: self.clock.now(),
            teams: human.teams.clone(),
            vouched_by: person.vouched_by().map(ToOwned::to_owned),
            lapsed: false,
            takes_back: false,
            scope: None,
        }
    }

    /// Until when what is approved now can be used.
    pub(super) fn grant_until(&self, scope: Option<&Scope>) -> Timestamp {
        let by_scope = scope.map(|scope| std::time::Duration::from_secs(u64::from(scope.minutes) * 60));
        self.clock.now() + chrono::TimeDelta::from_std(by_scope.unwrap_or(self.settings.grant_ttl)).unwrap_or_default()
    }
}

/// What every leaf about a request names. What is granted beyond the call is named by its bounds; what it lies on may be anybody's, so of that there is a
/// commitment under the request's own salt.
pub(super) fn appr(filed: &Filed) -> Map<String, Value> {
    let mut about = json!({ "id": filed.id, "commit": filed.commit });
    if let (Some(members), Some(scope)) = (about.as_object_mut(), &filed.scope) {
        let bounds = json!({
            "tools": scope.tools, "target": scope.target, "verbs": scope.verbs, "risk": scope.risk, "minutes": scope.minutes, "calls": scope.calls,
            "on_commit": on_commit(&filed.salt, &scope.on),
        });
        members.insert("scope".to_owned(), bounds);
    }
    Map::from_iter([("call".to_owned(), Value::from(filed.call.as_str())), ("appr".to_owned(), about)])
}

fn on_commit<'a>(salt: &str, on: impl IntoIterator<Item = &'a String>) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"scope/v1");
    context.update(salt.as_bytes());
    for place in on {
        context.update(&(place.len() as u64).to_be_bytes());
        context.update(place.as_bytes());
    }
    hex::encode(context.finish())
}
