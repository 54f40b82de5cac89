//! The agent's door: the only place that knows `rmcp`. A tool call comes in, a `Request` goes down the path, a `Reply` goes out.
//!
//! Stateless for both eras of the protocol (2025-03-26 to 2026-07-28): no session, any replica serves any request. Nothing is decided here:
//! every call, also of a tool that does not exist, goes to the pipeline and leaves its record there.

mod admission;
mod cancels;
mod elicit;
mod handler;
mod late_sse;
mod listing;
mod unread;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::pipeline::Pipeline;

/// What the agent's door stands on.
#[derive(Clone)]
pub struct Door {
    /// Takes calls.
    pub pipeline: Arc<Pipeline>,
    /// Says who is asking.
    pub identity: Arc<Identity>,
    /// Values of `Host` that are this broker's.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` that may speak to it.
    pub allowed_origins: Vec<String>,
    /// Bytes of a request.
    pub body_max: usize,
    /// Requests of one human's agent a minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// Fires when the broker drains: waiting calls answer, streams end.
    pub draining: CancellationToken,
    /// Fires when the drain's grace is over.
    pub closing: CancellationToken,
}

/// The routes of the agent's door, from the outside in: admission (token, JSON), late streaming, protocol.
pub fn router(door: Door) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts(door.allowed_hosts.clone())
        .with_allowed_origins(door.allowed_origins.clone())
        .enforce_origin_validation()
        .with_max_request_body_bytes(door.body_max)
        .with_cancellation_token(door.closing.clone());
    let cancels = cancels::Cancels::default();
    let handler = handler::Handler::new(&door, cancels.clone(), elicit::States::new(door.pipeline.desk.state_key()));
    let service = StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config);
    let admission = Arc::new(admission::Admission::new(&door, cancels));
    Router::new()
        .route_service("/mcp", service)
        .layer(middleware::from_fn(late_sse::late_sse))
        .layer(middleware::from_fn_with_state(admission, admission::admit))
        .route("/.well-known/oauth-protected-resource", axum::routing::get(admission::metadata))
        .route("/.well-known/oauth-protected-resource/mcp", axum::routing::get(admission::metadata))
        .with_state(door.identity)
}
