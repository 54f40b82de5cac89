//! The HTTP server: one router, every layer in order, and a drain in two steps.
//!
//! Layers, from the outside in: a line for the operator's log, headers that keep answers out of caches, whose address it is (`Host`, `Origin`), how many at once, how long at most; then the
//! agent's door and the human's. Identity headers that proxies set are not read anywhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::refusal::{Code, Refusal};

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
}

/// The largest body that may be configured.
pub const BODY_MAX: usize = 4 << 20;

struct Gate {
    settings: Settings,
    places: Semaphore,
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    (status, Json(json!({ "error": { "code": refusal.code().as_str(), "message": refusal.message(), "hint": refusal.advice() } })))
        .into_response()
}

/// All routes within all layers.
pub fn router(settings: Settings, doors: Router, ready: CancellationToken) -> Router {
    let gate = Arc::new(Gate { places: Semaphore::new(settings.concurrency), settings });
    let readiness = move || {
        let draining = ready.is_cancelled();
        async move { if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ready") } }
    };
    doors
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readiness))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, &Refusal::new(Code::NotFound).detail("no such address here")) })
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), bound))
        .layer(middleware::from_fn_with_state(gate, own_address))
        // Answers hold what one human may see: no cache keeps them, no browser guesses what they are.
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(middleware::from_fn(span))
}

/// The operator's line: what, how it ended, how long. Never headers, never bodies.
async fn span(request: Request, next: Next) -> Response {
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let response = next.run(request).await;
    tracing::info!(%method, path, status = response.status().as_u16(), duration_ms = began.elapsed().as_secs_f64() * 1e3, "request");
    response
}

/// A page that a browser was lured to must not speak to a broker on loopback (DNS rebinding).
async fn own_address(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match foreign(&gate.settings, &request) {
        Some(header) => refused(StatusCode::FORBIDDEN, &Refusal::new(Code::ForeignOrigin).detail(header)),
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
    let Ok(_place) = gate.places.try_acquire() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, &Refusal::new(Code::Overloaded));
    };
    match tokio::time::timeout(gate.settings.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refused(StatusCode::GATEWAY_TIMEOUT, &Refusal::new(Code::RequestTimeout)),
    }
}

/// Serves until `draining` fires; then takes nothing new, lets what is under way end within the grace, and closes.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    draining: CancellationToken,
    closing: CancellationToken,
    grace: Duration,
) -> std::io::Result<()> {
    // Without it every event of a stream waits for the acknowledgment of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
    });
    let drained = draining.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { drained.cancelled().await });
    let deadline = async {
        draining.cancelled().await;
        tokio::time::sleep(grace).await;
        closing.cancel();
        // What does not end now is cut.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        ended = server => ended,
        () = deadline => Ok(()),
    }
}
