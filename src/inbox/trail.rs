//! The trail over HTTP: filters in the query, newest first, a page at a time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::audit::Question;
use crate::id::CallId;
use crate::inbox::door::{Action, person_for};
use crate::inbox::{Inbox, Problem};
use crate::ledger::Entries;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// Leaves without `limit`.
const LIMIT: usize = 50;
/// The most.
const LIMIT_MAX: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    agent: Option<String>,
    human: Option<String>,
    call: Option<String>,
    run: Option<String>,
    approval: Option<String>,
    kind: Option<String>,
    tool: Option<String>,
    target: Option<String>,
    status: Option<String>,
    risk: Option<String>,
    after: Option<String>,
    before: Option<String>,
    below: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    filters: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let person = person_for(&inbox, &headers, Action::Review).await?;
    let malformed = |why: String| Problem::refused(Refusal::new(Code::Malformed).detail(why));
    let Query(filters) = filters.map_err(|rejection| malformed(rejection.body_text()))?;
    let risk = match filters.risk.as_deref() {
        None => None,
        Some(name) => {
            Some(Risk::parse(name).ok_or_else(|| malformed("`risk` must be read, write, destructive or admin".to_owned()))?.level())
        }
    };
    let entries = Entries {
        call: filters.call,
        run: filters.run,
        approval: filters.approval,
        kind: filters.kind,
        tool: filters.tool,
        target: filters.target,
        status: filters.status,
        risk,
        after: filters.after,
        before: filters.before,
        below: filters.below,
        limit: filters.limit.unwrap_or(LIMIT).min(LIMIT_MAX),
        ..Entries::default()
    };
    let reviews = inbox.policy.may_review(person.human());
    let question = Question { agent: filters.agent, human: filters.human, entries };
    Ok(Json(inbox.audit.search(&person, reviews, question).await?))
}

pub(super) async fn show(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let person = person_for(&inbox, &headers, Action::Review).await?;
    let id = CallId::parse(&id).map_err(|error| Problem::refused(Refusal::new(Code::NotFound).detail(error.to_string())))?;
    let reviews = inbox.policy.may_review(person.human());
    let found = inbox.audit.call(&person, reviews, id.as_str()).await?;
    found.map(Json).ok_or_else(|| Problem::refused(Refusal::new(Code::NotFound)))
}

pub(super) async fn checkpoint(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<String, Problem> {
    person_for(&inbox, &headers, Action::Review).await?;
    inbox.audit.checkpoint().await?.ok_or_else(|| Problem::refused(Refusal::new(Code::NotFound)))
}

/// Where a page of checkpoints begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Above {
    #[serde(default)]
    above: u64,
}

/// Remembered checkpoints, each a JSON text on a line of its own. They are made to be handed around, as the head is.
pub(super) async fn checkpoints(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    page: Result<Query<Above>, axum::extract::rejection::QueryRejection>,
) -> Result<String, Problem> {
    person_for(&inbox, &headers, Action::Review).await?;
    let Query(page) = page.map_err(|rejection| Problem::refused(Refusal::new(Code::Malformed).detail(rejection.body_text())))?;
    let notes = inbox.audit.checkpoints(page.above, LIMIT_MAX).await?;
    Ok(notes.into_iter().map(|note| format!("{}\n", Value::from(note))).collect())
}

/// Where a page of an export begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    #[serde(default)]
    from: u64,
}

/// Leaves as they are stored, one a line: for those who may review, since they are everybody's.
pub(super) async fn leaves(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    page: Result<Query<From>, axum::extract::rejection::QueryRejection>,
) -> Result<String, Problem> {
    let person = person_for(&inbox, &headers, Action::Review).await?;
    let Query(page) = page.map_err(|rejection| Problem::refused(Refusal::new(Code::Malformed).detail(rejection.body_text())))?;
    if !inbox.policy.may_review(person.human()) {
        return Err(Problem::refused(Refusal::new(Code::PolicyDenied).detail("the whole log is for those whom a policy lets `review`")));
    }
    let leaves = inbox.audit.leaves(&person, page.from, LIMIT_MAX).await?;
    Ok(leaves.into_iter().flat_map(|leaf| [leaf, "\n".to_owned()]).collect())
}

pub(super) async fn key(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<String, Problem> {
    person_for(&inbox, &headers, Action::Review).await?;
    Ok(inbox.audit.verifier())
}
