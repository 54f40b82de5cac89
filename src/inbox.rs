//! The human's door: what awaits a decision, deciding it, and reading the trail. Every route takes a `Person`; no token of an agent opens it.
//!
//! A GET never changes anything, and whatever it shows of calls (the trail, requests for approval, leaves) is recorded before it is shown. Not
//! recorded is the reading of what is made to be handed around: signed checkpoints, the log's public key, the metadata of this door. Every
//! attempt to decide leaves a record, also one on an id that is none.

mod approvals;
mod registry;
mod trail;
mod whoami;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::approval::Desk;
use crate::audit::{Audit, Unavailable};
use crate::clock::Clock;
use crate::identity::{Asker, Challenge, Identity, Person};
use crate::policy::Policy;
use crate::refusal::{Code, Refusal};
use crate::registry::Registry;

/// What the human's door stands on.
pub struct Inbox {
    /// Says who is asking.
    pub identity: Arc<Identity>,
    /// Asks and decides.
    pub desk: Desk,
    /// Says who may decide and review.
    pub policy: Arc<Policy>,
    /// Reads the trail, and records that it was read.
    pub audit: Audit,
    /// Agents and delegations.
    pub registry: Registry,
    /// Tells the time.
    pub clock: Clock,
}

/// The routes.
pub fn router(inbox: Arc<Inbox>) -> Router {
    Router::new()
        .route("/approvals", get(approvals::list))
        .route("/approvals/{id}", get(approvals::show))
        .route("/approvals/{id}/decision", post(approvals::decide))
        .route("/agents", get(registry::agents).post(registry::register))
        .route("/agents/state", post(registry::set_state))
        .route("/delegations", get(registry::delegations).post(registry::lend))
        .route("/delegations/{id}/revoke", post(registry::revoke))
        .route("/audit/entries", get(trail::list))
        .route("/audit/calls/{id}", get(trail::show))
        .route("/audit/checkpoint", get(trail::checkpoint))
        .route("/audit/checkpoints", get(trail::checkpoints))
        .route("/audit/leaves", get(trail::leaves))
        .route("/audit/key", get(trail::key))
        .route("/whoami", get(whoami::show))
        .route_layer(map_response(standing))
        .route("/.well-known/oauth-protected-resource/inbox", get(metadata))
        .with_state(inbox)
}

/// Every route above asks who it is before it does anything, so whatever was answered well was answered to somebody.
async fn standing(mut response: Response) -> Response {
    if response.status().is_success() {
        response.extensions_mut().insert(Asker::Known);
    }
    response
}

async fn metadata(State(inbox): State<Arc<Inbox>>) -> Json<serde_json::Value> {
    Json(inbox.identity.inbox_metadata())
}

/// Why a human was not answered.
enum Problem {
    /// No person.
    Challenge(Box<Challenge>),
    /// A refusal with its status.
    Refused(StatusCode, Box<Refusal>),
}

impl Problem {
    fn refused(refusal: Refusal) -> Self {
        let status = match refusal.code() {
            Code::ApprovalUnknown | Code::NotFound => StatusCode::NOT_FOUND,
            Code::ApprovalDecided | Code::ApprovalExpired | Code::ApprovalSpent | Code::AlreadyRegistered => StatusCode::CONFLICT,
            Code::Malformed | Code::InvalidArguments => StatusCode::BAD_REQUEST,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::TokenExpired | Code::MissingToken | Code::InvalidToken => StatusCode::UNAUTHORIZED,
            Code::LedgerUnavailable | Code::Overloaded | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        Self::Refused(status, Box::new(refusal))
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        let refusal = error.refusal();
        tracing::error!(cause = refusal.private_cause(), "the human's door could not record");
        Self::refused(refusal)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = |refusal: &Refusal| {
            Json(json!({ "error": { "code": refusal.code().as_str(), "message": refusal.message(), "hint": refusal.advice() } }))
        };
        match self {
            Self::Challenge(challenge) => {
                let Challenge { status, www_authenticate, refusal } = *challenge;
                let mut response = (status, [(header::WWW_AUTHENTICATE, www_authenticate)], body(&refusal)).into_response();
                response.extensions_mut().insert(Asker::Unknown(refusal));
                response
            }
            Self::Refused(status, refusal) => (status, body(&refusal)).into_response(),
        }
    }
}

async fn person(inbox: &Inbox, headers: &HeaderMap) -> Result<Person, Problem> {
    inbox.identity.person(headers).await.map_err(|challenge| Problem::Challenge(Box::new(challenge)))
}
