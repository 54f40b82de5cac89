//! Decisions by the word of a system that may speak for humans: a company's own approval system by `POST /approvals/{id}/decisions/{system}`, a chat by
//! the clicks of its users. Both end where every decision ends, in `Desk::decide` with a `Person`.
//!
//! The signature is over the bytes as they came, and what is decided stands within them: a path is not signed. A message is taken once; its row is in the
//! store before anything is decided, so that whoever repeats it finds it there, after a restart too. How the human signed in at that system nobody
//! knows, so what demands a better sign-in is decided on the page.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::approval::{Decided, Decision};
use crate::credential::secret::Reference;
use crate::id::ApprovalId;
use crate::identity::{Person, Testimony, Voucher};
use crate::inbox::approvals::approval_id;
use crate::inbox::door::{Action, demand};
use crate::inbox::{Inbox, Problem};
use crate::ledger::{Change, Draft, Row, Write};
use crate::refusal::{Code, Refusal};

/// A company's own approval system.
#[derive(Debug, Clone)]
pub struct System {
    /// Its name, as paths have it.
    pub name: String,
    /// For whom it speaks, and how it signs.
    pub voucher: Voucher,
    /// Its key, or two while it is being changed.
    pub secrets: Vec<Reference>,
}

/// The kind of the rows that say which messages were taken.
const WORD: &str = "word";
/// Their one state.
const TAKEN: &str = "taken";
/// Stale ones that are removed at a time.
const CLEARED_MAX: usize = 50;

/// The body of a decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    approval_id: String,
    /// As the system names them.
    human: String,
    decision: Verdict,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Approve,
    Deny,
}

/// A message that is taken at its word, and has not been before.
pub(super) async fn take<'a>(
    inbox: &Inbox,
    (voucher, references): (&'a Voucher, &[Reference]),
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Testimony<'a>, Problem> {
    let mut secrets: Vec<SecretString> = Vec::with_capacity(references.len());
    for reference in references {
        secrets.push(inbox.courier.secret(reference).await.map_err(|_| Problem::refused(Refusal::new(Code::CredentialUnavailable)))?);
    }
    let word = voucher.word(&secrets, headers, body, inbox.clock.now()).map_err(Problem::Stranger)?;
    // Looked at first and written down last: a message whose decision could not be made may come again, and one human's vote counts once anyhow.
    let known = inbox.ledger.get(WORD, word.once()).await.map_err(crate::audit::Unavailable::from)?;
    if known.is_some() {
        return Err(Problem::Stranger(Refusal::new(Code::Replayed)));
    }
    Ok(word)
}

/// Writes down that a message was answered, unless it was not for want of a ledger: then it may come again.
pub(super) async fn answered<T>(
    inbox: &Inbox,
    (voucher, word): (&Voucher, &Testimony<'_>),
    answer: Result<T, Problem>,
) -> Result<T, Problem> {
    if answer.as_ref().is_err_and(|problem| problem.status() == StatusCode::SERVICE_UNAVAILABLE) {
        return answer;
    }
    let commit = |writes| inbox.ledger.commit(Change { leaves: Vec::new(), writes, payloads: Vec::new() });
    let row = Row::new(WORD, word.once(), TAKEN, "", Some(word.stale_at()), Vec::new()).grouped(&voucher.name);
    commit(vec![Write::Ensure(row)]).await.map_err(crate::audit::Unavailable::from)?;
    let stale = inbox.ledger.due(WORD, &voucher.name, TAKEN, inbox.clock.now(), CLEARED_MAX).await.unwrap_or_default();
    for row in stale {
        // Removed by somebody else in this moment, or not at all: the next one will.
        drop(commit(vec![Write::Remove { kind: WORD.to_owned(), id: row.id, from: TAKEN.to_owned() }]).await);
    }
    answer
}

/// What a system said in vain without a human to hold it to: on record before it is said.
pub(super) async fn in_vain(inbox: &Inbox, voucher: &Voucher, refusal: Refusal) -> Result<Refusal, Problem> {
    let body = Map::from_iter([
        ("vouched_by".to_owned(), Value::from(voucher.name.as_str())),
        ("res".to_owned(), json!({ "status": "refused", "code": refusal.code().as_str() })),
    ]);
    let change = Change { leaves: vec![Draft::new("approval.refused", body)], ..Change::default() };
    inbox.ledger.commit(change).await.map_err(crate::audit::Unavailable::from)?;
    Ok(refusal)
}

/// Decides in the name of a human for whom a system spoke.
pub(super) async fn decide(inbox: &Inbox, person: &Person, id: &ApprovalId, decision: Decision) -> Result<Decided, Problem> {
    if decision.approve {
        demand(inbox, person, Action::Approve).await.map_err(|problem| problem.led_to(&inbox.desk.url(id)))?;
    }
    inbox.desk.decide(person, id, decision, &*inbox.policy).await?.map_err(Problem::refused)
}

pub(super) async fn by_system(
    State(inbox): State<Arc<Inbox>>,
    Path((id, system)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    // Whether there is such a system, a stranger is not told.
    let unknown = || {
        Problem::Stranger(
            Refusal::new(Code::InvalidSignature).detail("the signature is not good").cause("there is no approval system of this name"),
        )
    };
    let system = inbox.systems.iter().find(|one| one.name == system).ok_or_else(unknown)?;
    let word = take(&inbox, (&system.voucher, &system.secrets), &headers, &body).await?;
    let answer = told(&inbox, (&system.voucher, &word), &id, &body).await;
    answered(&inbox, (&system.voucher, &word), answer).await.map(Json)
}

/// What came of a message that may speak.
async fn told(inbox: &Inbox, (voucher, word): (&Voucher, &Testimony<'_>), id: &str, body: &[u8]) -> Result<Value, Problem> {
    let said = serde_json::from_slice::<Said>(body).map_err(|error| {
        Refusal::new(Code::Malformed).detail(format!("the body must be {{\"approval_id\", \"human\", \"decision\", \"reason\"}}: {error}"))
    });
    let (said, person) = match said.and_then(|said| word.person(&said.human).map(|person| (said, person))) {
        Ok(found) => found,
        Err(refusal) => return Err(Problem::refused(in_vain(inbox, voucher, refusal).await?)),
    };
    if said.approval_id != id {
        let refusal = Refusal::new(Code::Malformed).detail("`approval_id`, which is signed, is another than the path's, which is not");
        return Err(Problem::refused(inbox.desk.turned_away(&person, None, refusal).await?));
    }
    let id = match approval_id(&said.approval_id) {
        Ok(id) => id,
        Err(refusal) => return Err(Problem::refused(inbox.desk.turned_away(&person, None, refusal).await?)),
    };
    let decision = Decision { approve: matches!(said.decision, Verdict::Approve), reason: said.reason, scope: None, mark: None };
    let decided = decide(inbox, &person, &id, decision).await?;
    let mut answer = decided.view.for_person(&inbox.desk.url(&id), inbox.clock.now());
    // What a preview shows goes to channels that are told to show it, and to humans.
    if let Some(members) = answer.as_object_mut() {
        members.remove("preview");
    }
    Ok(answer)
}
