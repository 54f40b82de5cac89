//! Admission: a good token, a readable body, or an answer that says what was wrong, before the protocol is looked at.
//!
//! The delegation goes into the request's extensions; the handler takes it from there and from nowhere else. A step-up (403) can only be known
//! once the policy has ruled, so the handler leaves it in a slot that is looked at on the way out; so it does with the word that the pipeline has
//! taken the call, and with it the duty to record. What never came so far is recorded here (`unread`).

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use tracing::{Instrument, debug_span};

use crate::audit::Audit;
use crate::identity::{Agent, Asker, Challenge, ClientCertificate, Delegation, Identity, Presented};
use crate::limit::Limiter;
use crate::mcp::Door;
use crate::mcp::cancels::Cancels;
use crate::mcp::late_sse::is_stream;
use crate::mcp::unread::{self, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, Unread};
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// What the handler found out that changes the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct StepUp {
    /// The risk that the token would have to reach.
    pub(super) needed: Arc<OnceLock<Risk>>,
    /// The pipeline has the call, and records it.
    pub(super) taken: Arc<OnceLock<()>>,
}

/// Nesting of a request's body that is read. serde_json itself gives up at 128, and arguments of tools need a handful.
const DEPTH_MAX: usize = 64;

/// The state of admission.
pub(super) struct Admission {
    identity: Arc<Identity>,
    audit: Audit,
    /// By issuer and subject of the human, issuer and id of the agent.
    pace: Option<Limiter<[String; 4]>>,
    body_max: usize,
    draining: tokio_util::sync::CancellationToken,
    cancels: Cancels,
}

impl Admission {
    pub(super) fn new(door: &Door, cancels: Cancels) -> Self {
        Self {
            identity: Arc::clone(&door.identity),
            audit: door.pipeline.audit.clone(),
            pace: Limiter::per_minute(door.requests_per_minute),
            body_max: door.body_max,
            draining: door.draining.clone(),
            cancels,
        }
    }

    /// The answer, if this identity has asked too often.
    fn too_often(&self, delegation: &Delegation) -> Option<Response> {
        let (human, Agent { issuer, id, .. }) = (delegation.human(), delegation.agent());
        let who = [human.issuer.clone(), human.subject.clone(), issuer.clone(), id.clone()];
        let wait = self.pace.as_ref()?.take(who, Instant::now()).err()?;
        let mut response = refused(StatusCode::TOO_MANY_REQUESTS, &Refusal::new(Code::TooManyRequests));
        response.headers_mut().insert(header::RETRY_AFTER, wait.seconds().into());
        response.extensions_mut().insert(Asker::Limited);
        Some(response)
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
    // Where nobody can tell whether a token is good, it is held against nobody.
    let mut response = match challenge.status {
        StatusCode::SERVICE_UNAVAILABLE => refused(challenge.status, &challenge.refusal),
        status => unknown(status, challenge.refusal),
    };
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.www_authenticate);
    response
}

/// Refused for want of a good token, which the server counts.
fn unknown(status: StatusCode, refusal: Refusal) -> Response {
    let mut response = refused(status, &refusal);
    response.extensions_mut().insert(Asker::Unknown(refusal));
    response
}

pub(super) async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let token_in_query = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token=")));
    if token_in_query {
        let refusal = Refusal::new(Code::InvalidToken).detail("a token must never be in the address: send it as a header");
        return unknown(StatusCode::BAD_REQUEST, refusal);
    }
    let certificate = request.extensions().get::<ClientCertificate>();
    let presented = Presented { headers: request.headers(), method: request.method().clone(), certificate };
    let delegation = match admission.identity.agent(presented).instrument(debug_span!("identity")).await {
        Ok(delegation) => delegation,
        Err(challenge) => return challenged(challenge),
    };
    if let Some(response) = admission.too_often(&delegation) {
        return response;
    }
    let mut response = admitted(&admission, delegation, request, next).await;
    response.extensions_mut().insert(Asker::Known);
    response
}

/// The rest of the way, once it is known who asks.
async fn admitted(admission: &Admission, delegation: Arc<Delegation>, mut request: Request, next: Next) -> Response {
    let step_up = StepUp::default();
    request.extensions_mut().insert(Arc::clone(&delegation));
    request.extensions_mut().insert(step_up.clone());
    let is_post = request.method() == Method::POST;
    let request = match readable(admission, &delegation, request).await {
        Ok(request) => request,
        Err(unread) => return unread.answer(&admission.audit, &delegation).await,
    };
    // Asked once the body is here: a slow sender may have begun long before the drain did.
    if admission.draining.is_cancelled() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, &Refusal::new(Code::Draining));
    }
    let response = next.run(request).await;
    if is_post && step_up.taken.get().is_none() && !is_stream(&response) {
        return unread::seen(&admission.audit, &delegation, response).await;
    }
    match step_up.needed.get() {
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

/// A POST whose body is one JSON-RPC object; anything else of a POST is answered here.
async fn readable(admission: &Admission, delegation: &Delegation, request: Request) -> Result<Request, Box<Unread>> {
    let body_max = admission.body_max;
    if request.method() != Method::POST {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let bytes = match to_bytes(body, body_max).await {
        Ok(bytes) => bytes,
        Err(error) if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            let refusal = Refusal::new(Code::TooLarge).detail(format!("a request has at most {body_max} bytes"));
            return Err(Unread::refused(StatusCode::PAYLOAD_TOO_LARGE, refusal));
        }
        Err(_) => {
            let refusal = Refusal::new(Code::RequestTimeout).detail("its body did not come whole");
            return Err(Unread::refused(StatusCode::REQUEST_TIMEOUT, refusal));
        }
    };
    if is_deep(&bytes) {
        return Err(Unread::malformed(INVALID_REQUEST, format!("the body is nested deeper than {DEPTH_MAX} levels")));
    }
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(message)) => {
            let is_call = message.get("method").and_then(Value::as_str) == Some("tools/call");
            if is_call && let Some(why) = no_call(message.get("params")) {
                return Err(Unread::malformed(INVALID_PARAMS, why).to(message.get("id")));
            }
            admission.cancels.heard(delegation, &message);
            parts.extensions.insert(IsCall(is_call));
            Ok(Request::from_parts(parts, Body::from(bytes)))
        }
        Ok(Value::Array(_)) => Err(Unread::malformed(INVALID_REQUEST, "batches are not supported: send one request at a time")),
        Ok(_) => Err(Unread::malformed(INVALID_REQUEST, "a request must be a JSON object")),
        Err(error) => Err(Unread::malformed(PARSE_ERROR, format!("the body is no JSON: {error}"))),
    }
}

/// Why parameters are none of a call: the protocol layer would say that there is no such method.
fn no_call(params: Option<&Value>) -> Option<&'static str> {
    let member = |name| params.and_then(|params| params.get(name));
    match (member("name"), member("arguments")) {
        (Some(Value::String(_)), None | Some(Value::Null | Value::Object(_))) => None,
        (Some(Value::String(_)), Some(_)) => Some("`params.arguments` must be an object"),
        _ => Some("`params.name` must be the name of a tool"),
    }
}

/// Whether objects and lists are nested deeper than [`DEPTH_MAX`], read off the brackets outside of strings before anything is built of them.
fn is_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    json.iter().any(|byte| {
        match (in_string, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEPTH_MAX
    })
}

/// Whether the request calls a tool, and may therefore take long.
#[derive(Debug, Clone, Copy)]
pub(super) struct IsCall(pub(super) bool);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let quoted = format!("{{\"a\": \"{}\\\"{}\", \"b\\\\\": {}}}", "[".repeat(100), "{".repeat(100), deep(63));
        assert!(serde_json::from_str::<Value>(&quoted).is_ok());
        for (json, is) in [(deep(64), false), (deep(65), true), (quoted, false), ("]".repeat(100), false), ("{}".repeat(100), false)] {
            assert_eq!(is_deep(json.as_bytes()), is, "{json}");
        }
    }
}
