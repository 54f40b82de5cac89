//! Whom the broker takes the caller for: what their own sign-in says, as the broker reads it, and nothing about anybody else.
//!
//! A browser's session also hears its own word here, which no other site can read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::inbox::door::{Caller, caller};
use crate::inbox::{Inbox, Problem};

pub(super) async fn show(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let caller = caller(&inbox, &headers).await?;
    let (person, csrf) = match &caller {
        Caller::Token(person) => (person, None),
        Caller::Session(session) => (&session.person, Some(session.csrf())),
    };
    let (human, sign_in) = (person.human(), person.sign_in());
    let mut answer = json!({
        "subject": human.subject,
        "issuer": human.issuer,
        "name": human.name,
        "teams": human.teams,
        "client": person.client(),
        "expires_at": rfc3339(person.expires_at()),
        "sign_in": { "acr": sign_in.acr, "amr": sign_in.amr, "auth_time": sign_in.at.map(rfc3339) },
    });
    if let (Some(members), Some(csrf)) = (answer.as_object_mut(), csrf) {
        members.insert("csrf".to_owned(), Value::from(csrf));
    }
    Ok(Json(answer))
}
