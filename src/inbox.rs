//! The human's door: what awaits a decision, deciding it, and reading the trail. Every route takes a `Person`; no token of an agent opens it.
//!
//! A GET never changes anything, and whatever it shows of calls (the trail, requests for approval, leaves) is recorded before it is shown. Not
//! recorded is the reading of what is made to be handed around: signed checkpoints, the log's public key, the metadata of this door. Every
//! attempt to decide leaves a record, also one on an id that is none.
//! A `Person` comes by a token, by a browser's session, or by the word of a system that may speak for them (`words`, `slack`), and for what an action
//! demands of the sign-in (step-up) there is one place, `door`.

mod approvals;
mod channels;
mod door;
mod grants;
mod login;
mod page;
mod registry;
mod slack;
pub mod step_up;
mod trail;
mod whoami;
mod words;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use crate::approval::Desk;
use crate::audit::{Audit, Unavailable};
use crate::clock::Clock;
use crate::identity::{Asker, Challenge, Identity};
use crate::ledger::Ledger;
use crate::notice::{Courier, Outbox};
use crate::policy::Policy;
use crate::refusal::{Code, Refusal};
use crate::registry::Registry;
use crate::session::{self, Sessions, Stopped};

pub use door::Action;
use step_up::StepUp;
pub use words::System;

/// How humans come in.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How long browsers' sessions last.
    pub session: session::Settings,
    /// What actions demand of the sign-in.
    pub step_up: Vec<StepUp>,
    /// Approval systems that may speak for humans.
    pub systems: Vec<System>,
}

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
    /// Browsers' sessions.
    pub sessions: Sessions,
    /// What actions demand of the sign-in.
    pub step_up: Vec<StepUp>,
    /// Whom the broker tells, and what could not be told.
    pub outbox: Outbox,
    /// Reads the secrets of channels and systems, and answers clicks.
    pub courier: Arc<Courier>,
    /// Approval systems that may speak for humans.
    pub systems: Vec<System>,
    /// Says which of their messages were taken.
    pub ledger: Ledger,
    /// Tells the time.
    pub clock: Clock,
}

/// The routes.
pub fn router(inbox: Arc<Inbox>) -> Router {
    Router::new()
        .route("/approvals", get(approvals::list))
        .route("/approvals/summary", get(grants::summary))
        .route("/approvals/{id}", get(approvals::show))
        .route("/approvals/{id}/decision", post(approvals::decide))
        .route("/approvals/{id}/revoke", post(grants::revoke))
        .route("/approvals/{id}/break-glass", post(grants::break_glass))
        .route("/approvals/{id}/review", post(grants::review))
        .route("/channels", get(channels::list))
        .route("/channels/dead", get(channels::dead))
        .route("/channels/dead/{id}/retry", post(channels::retry))
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
        .route_layer(from_fn_with_state(Arc::clone(&inbox), door::own_page))
        .route_layer(map_response(standing))
        .route_layer(from_fn(door::came))
        .merge(login::routes())
        .route("/approvals/{id}/decisions/{system}", post(words::by_system))
        .route("/channels/slack/{channel}/interactions", post(slack::clicked))
        .route("/.well-known/oauth-protected-resource/inbox", get(metadata))
        .with_state(inbox)
}

/// Every route above asks who it is before it does anything, so whatever was answered well was answered to somebody, unless it says otherwise.
async fn standing(mut response: Response) -> Response {
    let is_well = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    if is_well && response.extensions().get::<page::ForAnybody>().is_none() {
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
    /// No person, or none who signed in well enough; what to do about it in members of its own.
    SignIn(Box<Challenge>, Map<String, Value>),
    /// A message that nobody vouches for: it counts against the address that it came from.
    Stranger(Refusal),
    /// A refusal with its status.
    Refused(StatusCode, Box<Refusal>),
}

impl Problem {
    fn refused(refusal: Refusal) -> Self {
        let status = match refusal.code() {
            Code::ApprovalUnknown | Code::NotFound => StatusCode::NOT_FOUND,
            Code::ApprovalDecided | Code::ApprovalExpired | Code::ApprovalSpent | Code::ApprovalMoved | Code::AlreadyRegistered => {
                StatusCode::CONFLICT
            }
            Code::Malformed | Code::InvalidArguments | Code::ApprovalUnjustified => StatusCode::BAD_REQUEST,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::TokenExpired | Code::MissingToken | Code::InvalidToken | Code::SessionEnded => StatusCode::UNAUTHORIZED,
            Code::LedgerUnavailable | Code::IssuerUnreachable | Code::Overloaded | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        Self::Refused(status, Box::new(refusal))
    }

    const fn refusal(&self) -> &Refusal {
        match self {
            Self::Challenge(challenge) | Self::SignIn(challenge, _) => &challenge.refusal,
            Self::Stranger(refusal) => refusal,
            Self::Refused(_, refusal) => refusal,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Challenge(challenge) | Self::SignIn(challenge, _) => challenge.status,
            Self::Stranger(refusal) if refusal.code() == Code::Replayed => StatusCode::CONFLICT,
            Self::Stranger(_) => StatusCode::UNAUTHORIZED,
            Self::Refused(status, _) => *status,
        }
    }

    /// Where to sign in, if that would help.
    fn login_url(&self) -> Option<String> {
        match self {
            Self::SignIn(_, more) => more.get("login_url").and_then(serde_json::Value::as_str).map(ToOwned::to_owned),
            Self::Challenge(_) | Self::Stranger(_) | Self::Refused(..) => None,
        }
    }

    /// With the page on which it can be done instead.
    fn led_to(self, url: &str) -> Self {
        match self {
            Self::SignIn(challenge, mut more) => {
                more.insert("url".to_owned(), Value::from(url));
                Self::SignIn(challenge, more)
            }
            other => other,
        }
    }
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(refusal) => Self::refused(refusal),
            Stopped::Unavailable(error) => error.into(),
        }
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
        let body = |refusal: &Refusal, more: Map<String, Value>| {
            let mut error = json!({ "code": refusal.code().as_str(), "message": refusal.message(), "hint": refusal.advice() });
            if let Some(members) = error.as_object_mut() {
                members.extend(more);
            }
            Json(json!({ "error": error }))
        };
        let challenged = |challenge: Challenge, more| {
            let Challenge { status, www_authenticate, refusal } = challenge;
            let mut response = (status, [(header::WWW_AUTHENTICATE, www_authenticate)], body(&refusal, more)).into_response();
            // Whoever only has to sign in better is no stranger.
            if refusal.code() != Code::StepUpRequired {
                response.extensions_mut().insert(Asker::Unknown(refusal));
            }
            response
        };
        let status = self.status();
        match self {
            Self::Challenge(challenge) => challenged(*challenge, Map::new()),
            Self::SignIn(challenge, more) => challenged(*challenge, more),
            Self::Stranger(refusal) => {
                let mut response = (status, body(&refusal, Map::new())).into_response();
                response.extensions_mut().insert(Asker::Unknown(refusal));
                response
            }
            Self::Refused(_, refusal) => (status, body(&refusal, Map::new())).into_response(),
        }
    }
}
