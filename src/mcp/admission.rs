//! Admission: a good token, a readable body, or an answer that says what was wrong, before the protocol is looked at.
//!
//! The delegation goes into the request's extensions; the handler takes it from there and from nowhere else. A step-up (403) can only be known
//! once the policy has ruled, so the handler leaves it in a slot that is looked at on the way out.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tracing::{Instrument, debug_span};

use crate::identity::{Challenge, Identity};
use crate::mcp::Door;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// What the handler found out that changes the answer's status: the risk that the token would have to reach.
#[derive(Debug, Clone, Default)]
pub(super) struct StepUp(pub(super) Arc<OnceLock<Risk>>);

/// The state of admission.
pub(super) struct Admission {
    identity: Arc<Identity>,
    body_max: usize,
    draining: tokio_util::sync::CancellationToken,
}

impl Admission {
    pub(super) fn new(door: &Door) -> Self {
        Self { identity: Arc::clone(&door.identity), body_max: door.body_max, draining: door.draining.clone() }
    }
}

/// RFC 9728.
pub(super) async fn metadata(State(identity): State<Arc<Identity>>) -> Json<Value> {
    Json(identity.metadata())
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    (status, Json(json!({ "error": { "code": refusal.code().as_str(), "message": refusal.message(), "hint": refusal.advice() } })))
        .into_response()
}

fn challenged(challenge: Challenge) -> Response {
    let mut response = refused(challenge.status, &challenge.refusal);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.www_authenticate);
    response
}

/// JSON-RPC's own errors, for what is no request at all.
fn unreadable(code: i64, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } }))).into_response()
}

pub(super) async fn admit(State(admission): State<Arc<Admission>>, mut request: Request, next: Next) -> Response {
    let token_in_query = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token=")));
    if token_in_query {
        return refused(
            StatusCode::BAD_REQUEST,
            &Refusal::new(Code::InvalidToken).detail("a token must never be in the address: send it as a header"),
        );
    }
    let delegation = match admission.identity.agent(request.headers()).instrument(debug_span!("identity")).await {
        Ok(delegation) => delegation,
        Err(challenge) => return challenged(challenge),
    };
    let step_up = StepUp::default();
    request.extensions_mut().insert(delegation);
    request.extensions_mut().insert(step_up.clone());
    let request = match readable(request, admission.body_max).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    // Asked once the body is here: a slow sender may have begun long before the drain did.
    if admission.draining.is_cancelled() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, &Refusal::new(Code::Draining));
    }
    let response = next.run(request).await;
    match step_up.0.get() {
        Some(needed) if response.status() == StatusCode::OK && !is_stream(&response) => {
            let value: HeaderValue = admission.identity.insufficient_scope(*needed);
            let (mut parts, body) = response.into_parts();
            parts.status = StatusCode::FORBIDDEN;
            parts.headers.insert(header::WWW_AUTHENTICATE, value);
            Response::from_parts(parts, body)
        }
        _ => response,
    }
}

fn is_stream(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// A POST whose body is one JSON-RPC object; anything else of a POST is answered here.
async fn readable(request: Request, body_max: usize) -> Result<Request, Box<Response>> {
    if request.method() != Method::POST {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, body_max).await else {
        let refusal = Refusal::new(Code::TooLarge).detail(format!("a request has at most {body_max} bytes"));
        return Err(Box::new(refused(StatusCode::PAYLOAD_TOO_LARGE, &refusal)));
    };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(message)) => {
            let is_call = message.get("method").and_then(Value::as_str) == Some("tools/call");
            parts.extensions.insert(IsCall(is_call));
            Ok(Request::from_parts(parts, Body::from(bytes)))
        }
        Ok(Value::Array(_)) => Err(Box::new(unreadable(-32600, "batches are not supported: send one request at a time"))),
        Ok(_) => Err(Box::new(unreadable(-32600, "a request must be a JSON object"))),
        Err(error) => Err(Box::new(unreadable(-32700, &format!("the body is no JSON: {error}")))),
    }
}

/// Whether the request calls a tool, and may therefore take long.
#[derive(Debug, Clone, Copy)]
pub(super) struct IsCall(pub(super) bool);
