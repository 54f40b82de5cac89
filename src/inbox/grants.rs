//! What happens to a request beside a plain decision: an approval or grant is taken back, the glass is broken, and somebody looks at that afterwards.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::approval::View;
use crate::id::ApprovalId;
use crate::identity::Person;
use crate::inbox::approvals::approval_id;
use crate::inbox::door::{Action, demand, person, person_for};
use crate::inbox::{Inbox, Problem};
use crate::refusal::{Code, Refusal};

/// The body of taking back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

/// The body of breaking the glass.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Urgent {
    reason: Option<String>,
    /// What was shown, as the request's `mark` says it.
    mark: Option<String>,
}

/// The body of a review.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    right: bool,
    reason: Option<String>,
}

/// Who asks, for which request, and what they sent; every attempt that comes to nothing is recorded.
async fn read<T: serde::de::DeserializeOwned>(inbox: &Inbox, id: &str, request: Request) -> Result<(Person, ApprovalId, T), Problem> {
    let person = person(inbox, request.headers()).await?;
    let id = match approval_id(id) {
        Ok(id) => id,
        Err(refusal) => return Err(Problem::refused(inbox.desk.turned_away(&person, None, refusal).await?)),
    };
    match Json::<T>::from_request(request, &()).await {
        Ok(Json(said)) => Ok((person, id, said)),
        Err(rejection) => {
            let refusal = Refusal::new(Code::Malformed).detail(rejection.body_text());
            Err(Problem::refused(inbox.desk.turned_away(&person, Some(&id), refusal).await?))
        }
    }
}

fn shown(inbox: &Inbox, id: &ApprovalId, view: &View) -> Json<Value> {
    Json(view.for_person(&inbox.desk.url(id), inbox.clock.now()))
}

/// How humans decide, for those who may read the trail of all.
pub(super) async fn summary(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let person = person_for(&inbox, &headers, Action::Review).await?;
    if !inbox.policy.may_review(person.human()) {
        let refusal = Refusal::new(Code::NotFound).detail("how humans decide is for those whom a policy lets `review`");
        inbox.audit.refuse_person(&person, "approvals summary", &refusal).await?;
        return Err(Problem::refused(refusal));
    }
    inbox.audit.read_approvals(&person, &["summary"]).await?;
    Ok(Json(inbox.desk.summary().await?))
}

/// Takes back what was approved.
pub(super) async fn revoke(State(inbox): State<Arc<Inbox>>, Path(id): Path<String>, request: Request) -> Result<Json<Value>, Problem> {
    let (person, id, why) = read::<Why>(&inbox, &id, request).await?;
    let view = inbox.desk.revoke(&person, &id, why.reason.as_deref(), &*inbox.policy).await?.map_err(Problem::refused)?;
    Ok(shown(&inbox, &id, &view))
}

/// Lets a request go ahead at once, alone.
pub(super) async fn break_glass(State(inbox): State<Arc<Inbox>>, Path(id): Path<String>, request: Request) -> Result<Json<Value>, Problem> {
    let (person, id, urgent) = read::<Urgent>(&inbox, &id, request).await?;
    demand(&inbox, &person, Action::Approve).await?;
    let said = (urgent.reason.as_deref(), urgent.mark.as_deref());
    let view = inbox.desk.break_glass(&person, &id, said, &*inbox.policy).await?.map_err(Problem::refused)?;
    Ok(shown(&inbox, &id, &view))
}

/// Says whether a broken glass was right.
pub(super) async fn review(State(inbox): State<Arc<Inbox>>, Path(id): Path<String>, request: Request) -> Result<Json<Value>, Problem> {
    let (person, id, found) = read::<Found>(&inbox, &id, request).await?;
    demand(&inbox, &person, Action::Review).await?;
    let reviewed = inbox.desk.review_glass(&person, &id, found.right, found.reason.as_deref(), &*inbox.policy).await?;
    Ok(shown(&inbox, &id, &reviewed.map_err(Problem::refused)?))
}
