//! Requests for approval over HTTP: list, show, decide.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::{Decision, Scope, State as Standing};
use crate::id::ApprovalId;
use crate::inbox::door::{Action, demand, person};
use crate::inbox::{Inbox, Problem};
use crate::refusal::{Code, Refusal};

/// `?state=pending`, `?state=all`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    state: Option<String>,
}

/// The body of a decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    decision: Verdict,
    reason: Option<String>,
    /// More calls of the kind than this one, or less access than was asked for.
    scope: Option<Scope>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Approve,
    Deny,
}

pub(super) fn approval_id(text: &str) -> Result<ApprovalId, Refusal> {
    ApprovalId::parse(text).map_err(|error| Refusal::new(Code::ApprovalUnknown).detail(error.to_string()))
}

pub(super) async fn list(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, &headers).await?;
    let Query(which) = which.map_err(|rejection| Problem::refused(Refusal::new(Code::Malformed).detail(rejection.body_text())))?;
    let states: Vec<Standing> = match which.state.as_deref().unwrap_or("pending") {
        "all" => Standing::ALL.to_vec(),
        name => vec![Standing::parse(name).ok_or_else(|| {
            Problem::refused(
                Refusal::new(Code::Malformed)
                    .detail("`state` must be pending, approved, granted, denied, expired, spent, withdrawn, revoked or all"),
            )
        })?],
    };
    let now = inbox.clock.now();
    let views = inbox.desk.list(&person, &states, &*inbox.policy).await?;
    let shown: Vec<&str> = views.iter().map(|view| view.filed.id.as_str()).collect();
    if !shown.is_empty() {
        inbox.audit.read_approvals(&person, &shown).await?;
    }
    let approvals: Vec<Value> = views
        .iter()
        .filter_map(|view| ApprovalId::parse(&view.filed.id).ok().map(|id| view.for_person(&inbox.desk.url(&id), now)))
        .collect();
    Ok(Json(json!({ "approvals": approvals })))
}

pub(super) async fn show(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, &headers).await?;
    let id = approval_id(&id).map_err(Problem::refused)?;
    inbox.audit.read_approvals(&person, &[id.as_str()]).await?;
    let view = inbox.desk.show(&person, &id, &*inbox.policy).await?;
    let view = view.ok_or_else(|| Problem::refused(Refusal::new(Code::ApprovalUnknown)))?;
    Ok(Json(view.for_person(&inbox.desk.url(&id), inbox.clock.now())))
}

pub(super) async fn decide(State(inbox): State<Arc<Inbox>>, Path(id): Path<String>, request: Request) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, request.headers()).await?;
    let id = match approval_id(&id) {
        Ok(id) => id,
        Err(refusal) => return Err(Problem::refused(inbox.desk.turned_away(&person, None, refusal).await?)),
    };
    // Read once it is known who sends it: a stranger's body is not waited for.
    let said = Json::<Said>::from_request(request, &()).await.map_err(|rejection| {
        Refusal::new(Code::Malformed).detail(format!(
            "the body must be {{\"decision\": \"approve\" | \"deny\", \"reason\": …, \"scope\": …}}: {}",
            rejection.body_text()
        ))
    });
    let said = match said {
        Ok(Json(said)) => said,
        Err(refusal) => return Err(Problem::refused(inbox.desk.turned_away(&person, Some(&id), refusal).await?)),
    };
    if matches!(said.decision, Verdict::Approve) {
        demand(&inbox, &person, Action::Approve).await?;
    }
    let decision = Decision { approve: matches!(said.decision, Verdict::Approve), reason: said.reason, scope: said.scope };
    let decided = inbox.desk.decide(&person, &id, decision, &*inbox.policy).await?.map_err(Problem::refused)?;
    Ok(Json(decided.view.for_person(&inbox.desk.url(&id), inbox.clock.now())))
}
