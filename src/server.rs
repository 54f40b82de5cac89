//! The HTTP server: one router, every layer in order, and a drain in two steps.
//!
//! Layers, from the outside in: whose request it is in the logs and where it comes from, headers that keep answers out of caches, whose address it
//! is (`Host`, `Origin`), how many at once, how long at most; then, around the doors alone, who fails to authenticate too often; then the agent's
//! door and the human's. Identity headers that proxies set are not read anywhere.

mod caller;
mod places;
mod serve;
mod strangers;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::StreamExt;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::audit::Failures;
use crate::limit::HoldsPlace;
use crate::refusal::{Code, Refusal};

pub use caller::Network;
pub use serve::Listening;

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The address by which others know it, without a trailing slash.
    pub public_url: String,
    /// Values of `Host` that are its own.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` that may speak to it.
    pub allowed_origins: Vec<String>,
    /// Bytes of a request.
    pub body_max: usize,
    /// Requests at once.
    pub concurrency: usize,
    /// The longest that a request may take, approvals included.
    pub timeout: Duration,
    /// How long calls under way may go on once the broker drains.
    pub grace: Duration,
    /// The rest: connections, and how often somebody may knock.
    pub transport: Transport,
}

/// What is demanded of connections, and how often somebody may ask.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Certificates; `None` is plain HTTP.
    pub tls: Option<tls::Settings>,
    /// Whose `X-Forwarded-For` and `x-request-id` count.
    pub trusted_proxies: Vec<Network>,
    /// Requests that fail to authenticate, a minute and address; 0 is no limit.
    pub unauthenticated_per_minute: u32,
    /// Requests of one human's agent at the agent's door, a minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// How long a handshake may take. The head of a request may take three times as long; a connection without a request is closed after that.
    pub opening: Duration,
    /// Totals of what failed to authenticate are recorded this often at most.
    pub totals_every: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            tls: None,
            trusted_proxies: Vec::new(),
            unauthenticated_per_minute: 60,
            requests_per_minute: 600,
            opening: Duration::from_secs(10),
            totals_every: Duration::from_secs(60),
        }
    }
}

/// The largest body that may be configured.
pub const BODY_MAX: usize = 4 << 20;
/// A body must be here within this: nobody holds a place by sending slowly.
const BODY_WITHIN: Duration = Duration::from_secs(60);

struct Gate {
    settings: Settings,
    places: Arc<Semaphore>,
    strangers: strangers::Strangers,
    failures: Arc<Failures>,
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    (status, Json(json!({ "error": { "code": refusal.code().as_str(), "message": refusal.message(), "hint": refusal.advice() } })))
        .into_response()
}

/// All routes within all layers.
pub fn router(settings: Settings, doors: Router, ready: CancellationToken, failures: Arc<Failures>) -> Router {
    let body_max = settings.body_max;
    let gate = Arc::new(Gate {
        places: Arc::new(Semaphore::new(settings.concurrency)),
        strangers: strangers::Strangers::new(settings.transport.unauthenticated_per_minute),
        failures,
        settings,
    });
    let readiness = move || {
        let draining = ready.is_cancelled();
        async move { if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ready") } }
    };
    doors
        .layer(DefaultBodyLimit::max(body_max))
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), strangers::watch))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readiness))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, &Refusal::new(Code::NotFound).detail("no such address here")) })
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), bound))
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), own_address))
        // Answers hold what one human may see: no cache keeps them, no browser guesses what they are.
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(middleware::from_fn_with_state(gate, caller::identify))
}

/// A page that a browser was lured to must not speak to a broker on loopback (DNS rebinding).
async fn own_address(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match foreign(&gate.settings, &request) {
        Some(header) => {
            let refusal = Refusal::new(Code::ForeignOrigin).detail(header);
            if let Some(caller) = request.extensions().get::<caller::Caller>() {
                gate.failures.count(&refusal, caller.block);
            }
            refused(StatusCode::FORBIDDEN, &refusal)
        }
        None => next.run(request).await,
    }
}

/// Which header names somebody else, if one does.
fn foreign(settings: &Settings, request: &Request) -> Option<&'static str> {
    let text = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().to_owned());
    let is_own = |allowed: &[String], value: &str| allowed.iter().any(|own| own.eq_ignore_ascii_case(value));
    let host = text(header::HOST).or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    if !is_own(&settings.allowed_hosts, &host) {
        return Some("the Host header");
    }
    text(header::ORIGIN).filter(|origin| !is_own(&settings.allowed_origins, origin)).map(|_| "the Origin header")
}

async fn bound(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Ok(place) = Arc::clone(&gate.places).try_acquire_owned() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, &Refusal::new(Code::Overloaded));
    };
    let deadline = tokio::time::Instant::now() + gate.settings.timeout;
    match tokio::time::timeout_at(deadline, next.run(request.map(timely))).await {
        Ok(response) if response.extensions().get::<HoldsPlace>().is_some() => response.map(|body| held(body, place, deadline)),
        Ok(response) => response,
        Err(_) => refused(StatusCode::GATEWAY_TIMEOUT, &Refusal::new(Code::RequestTimeout)),
    }
}

/// The body of a call that still runs: at the deadline it ends, and with it the call, which the door sees as a caller that hung up.
fn held(body: Body, place: OwnedSemaphorePermit, deadline: tokio::time::Instant) -> Body {
    let frames = futures::stream::unfold((body, place), move |(mut body, place)| async move {
        let frame = tokio::time::timeout_at(deadline, body.frame()).await.ok()??;
        Some((frame.map(|frame| frame.into_data().unwrap_or_default()), (body, place)))
    });
    Body::from_stream(frames)
}

/// The body, or an error where it has not come whole in time.
fn timely(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let until = Instant::now() + BODY_WITHIN;
    let late = || axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
    Body::from_stream(futures::stream::unfold(Some(body.into_data_stream()), move |rest| async move {
        let mut rest = rest?;
        let piece: Result<Bytes, axum::Error> = match tokio::time::timeout_at(until, rest.next()).await {
            Ok(piece) => piece?,
            Err(_) => return Some((Err(late()), None)),
        };
        Some((piece, Some(rest)))
    }))
}
