//! Requests for approval over HTTP: list, show, decide. As JSON for programs; for a browser that asks for HTML, the same as pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::{Decision, Listed, Scope, State as Standing, View};
use crate::clock::Timestamp;
use crate::id::ApprovalId;
use crate::identity::Person;
use crate::inbox::door::{Action, demand, person};
use crate::inbox::{Inbox, Problem, page};
use crate::refusal::{Code, Refusal};

/// `?state=pending`, `?state=all`, and of many those `&before=` an id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    state: Option<String>,
    before: Option<String>,
}

/// What `state` may be.
pub(super) const STATES: [&str; 9] = ["pending", "approved", "granted", "denied", "expired", "spent", "withdrawn", "revoked", "all"];

impl Which {
    pub(super) fn state(&self) -> &str {
        self.state.as_deref().unwrap_or("pending")
    }
}

/// The body of a decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    decision: Verdict,
    reason: Option<String>,
    /// More calls of the kind than this one, or less access than was asked for.
    scope: Option<Scope>,
    /// The `mark` of what was shown, so that nothing else is decided.
    mark: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Approve,
    Deny,
}

pub(super) fn approval_id(text: &str) -> Result<ApprovalId, Refusal> {
    ApprovalId::parse(text).map_err(|error| Refusal::new(Code::ApprovalUnknown).detail(error.to_string()))
}

/// A request with all that its approver is shown.
async fn whole(inbox: &Inbox, id: &ApprovalId, view: &View) -> Result<Value, Problem> {
    let mut answer = view.for_person(&inbox.desk.url(id), inbox.clock.now());
    let sight = inbox.desk.sight(view).await?;
    if let Some(members) = answer.as_object_mut() {
        members.insert("shown".to_owned(), sight.to_json());
        members.insert("mark".to_owned(), Value::from(view.mark()));
    }
    Ok(answer)
}

/// The requests that a human may see; what is shown of them must be recorded with [`reading`] first.
async fn found(inbox: &Inbox, person: &Person, which: &Which) -> Result<Listed, Problem> {
    let states: Vec<Standing> = match which.state() {
        "all" => Standing::ALL.to_vec(),
        name => vec![Standing::parse(name).ok_or_else(|| {
            Problem::refused(Refusal::new(Code::Malformed).detail(format!("`state` must be one of {}", STATES.join(", "))))
        })?],
    };
    let before = which.before.as_deref().map(approval_id).transpose().map_err(Problem::refused)?;
    let listed = inbox.desk.list(person, &states, before.as_ref().map(ApprovalId::as_str), &*inbox.policy).await?;
    Ok(Listed { views: grouped(listed.views), ..listed })
}

/// Near-identical requests of one agent beside each other, for reading: each is decided by itself. Groups come in the order of their newest.
fn grouped(views: Vec<View>) -> Vec<View> {
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    for (index, view) in views.iter().enumerate() {
        newest.insert(alike(view).to_owned(), index);
    }
    let mut placed: Vec<(usize, View)> =
        views.into_iter().map(|view| (newest.get(alike(&view)).copied().unwrap_or_default(), view)).collect();
    placed.sort_by_key(|(newest, _)| *newest);
    placed.into_iter().map(|(_, view)| view).collect()
}

/// What near-identical requests have in common; of one that was never counted so, itself.
pub(super) fn alike(view: &View) -> &str {
    if view.filed.like.is_empty() { &view.filed.id } else { &view.filed.like }
}

/// How many of these are near-identical to it, itself included.
pub(super) fn count_alike(views: &[View], view: &View) -> usize {
    views.iter().filter(|other| alike(other) == alike(view)).count()
}

async fn reading(inbox: &Inbox, person: &Person, views: &[View]) -> Result<(), Problem> {
    let shown: Vec<&str> = views.iter().map(|view| view.filed.id.as_str()).collect();
    if !shown.is_empty() {
        inbox.audit.read_approvals(person, &shown).await?;
    }
    Ok(())
}

/// The requests that a human may see, on record as read.
pub(super) async fn visible(inbox: &Inbox, person: &Person, which: &Which) -> Result<Listed, Problem> {
    let listed = found(inbox, person, which).await?;
    reading(inbox, person, &listed.views).await?;
    Ok(listed)
}

/// One request that a human may see, on record as read.
pub(super) async fn seen(inbox: &Inbox, person: &Person, id: &ApprovalId) -> Result<View, Problem> {
    inbox.audit.read_approvals(person, &[id.as_str()]).await?;
    let view = inbox.desk.show(person, id, &*inbox.policy).await?;
    view.ok_or_else(|| Problem::refused(Refusal::new(Code::ApprovalUnknown)))
}

pub(super) async fn list(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let which =
        which.map(|Query(which)| which).map_err(|rejection| Problem::refused(Refusal::new(Code::Malformed).detail(rejection.body_text())));
    if page::is_wanted(&headers) {
        return Ok(page::list(&inbox, &headers, which).await);
    }
    let person = person(&inbox, &headers).await?;
    let Listed { views, before } = found(&inbox, &person, &which?).await?;
    let now = inbox.clock.now();
    let tag = tag(&views, now);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        // Nothing is shown, so there is nothing to record: whoever looks every other second leaves no trail of it.
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    reading(&inbox, &person, &views).await?;
    let approvals: Vec<Value> = views
        .iter()
        .filter_map(|view| {
            let mut shown = view.for_person(&inbox.desk.url(&ApprovalId::parse(&view.filed.id).ok()?), now);
            shown.as_object_mut()?.insert("alike".to_owned(), Value::from(count_alike(&views, view)));
            Some(shown)
        })
        .collect();
    Ok(([(header::ETAG, tag)], Json(json!({ "approvals": approvals, "before": before }))).into_response())
}

/// What changes when a list does: which requests there are, how each stands, and with which votes.
fn tag(views: &[View], now: Timestamp) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for view in views {
        context.update(format!("{} {} {}\n", view.filed.id, view.mark(), view.state_at(now).as_str()).as_bytes());
    }
    format!("\"{}\"", hex::encode(context.finish()))
}

pub(super) async fn show(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, Problem> {
    if page::is_wanted(&headers) {
        return Ok(page::show(&inbox, &headers, &id).await);
    }
    let person = person(&inbox, &headers).await?;
    let id = approval_id(&id).map_err(Problem::refused)?;
    let view = seen(&inbox, &person, &id).await?;
    Ok(Json(whole(&inbox, &id, &view).await?).into_response())
}

pub(super) async fn decide(State(inbox): State<Arc<Inbox>>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    if page::is_wanted(request.headers()) {
        return Ok(page::decide(&inbox, &id, request).await);
    }
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
    let decision = Decision { approve: matches!(said.decision, Verdict::Approve), reason: said.reason, scope: said.scope, mark: said.mark };
    let decided = inbox.desk.decide(&person, &id, decision, &*inbox.policy).await?.map_err(Problem::refused)?;
    Ok(Json(whole(&inbox, &id, &decided.view).await?).into_response())
}
