//! Channels over HTTP, for those whom a policy lets `review`: which there are, what could not be told, and telling it once more.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::identity::Person;
use crate::inbox::door::{Action, person_for};
use crate::inbox::{Inbox, Problem};
use crate::refusal::{Code, Refusal};

async fn reviewer(inbox: &Inbox, headers: &HeaderMap) -> Result<Person, Problem> {
    let person = person_for(inbox, headers, Action::Review).await?;
    if inbox.policy.may_review(person.human()) {
        return Ok(person);
    }
    let refusal = Refusal::new(Code::PolicyDenied).detail("channels are for those whom a policy lets `review`");
    inbox.audit.refuse_person(&person, "channels", &refusal).await?;
    Err(Problem::refused(refusal))
}

pub(super) async fn list(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    reviewer(&inbox, &headers).await?;
    Ok(Json(json!({ "channels": inbox.outbox.channels().await? })))
}

pub(super) async fn dead(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    reviewer(&inbox, &headers).await?;
    Ok(Json(json!({ "dead": inbox.outbox.dead().await? })))
}

pub(super) async fn retry(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let person = reviewer(&inbox, &headers).await?;
    inbox.outbox.retry(&person, &id).await?.map(Json).map_err(Problem::refused)
}
