//! Whom the broker takes the caller for: what their own token says, as the broker reads it, and nothing about anybody else.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::inbox::{Inbox, Problem, person};

pub(super) async fn show(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, &headers).await?;
    let human = person.human();
    Ok(Json(json!({
        "subject": human.subject,
        "issuer": human.issuer,
        "name": human.name,
        "teams": human.teams,
        "client": person.client(),
        "expires_at": rfc3339(person.expires_at()),
    })))
}
