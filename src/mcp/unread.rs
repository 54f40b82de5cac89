//! Requests that come to no call since they cannot be read: a stable code beside JSON-RPC's own, and a record, before they are answered.
//!
//! What admission itself cannot read is refused by [`Unread`]; what the protocol layer refuses (headers that contradict the body, unknown methods,
//! arguments of another shape) is seen on its way out by [`seen`]. Nothing of what was sent is recorded: it may be anything.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::audit::Audit;
use crate::identity::Delegation;
use crate::refusal::{Code, Refusal};

/// The largest answer of the protocol layer that is looked at: its lists are the broker's own.
const ANSWER_MAX_BYTES: usize = 64 << 20;
/// JSON-RPC: the body is no JSON.
pub(super) const PARSE_ERROR: i64 = -32_700;
/// JSON-RPC: it is no request.
pub(super) const INVALID_REQUEST: i64 = -32_600;
/// JSON-RPC: its parameters are of another shape.
pub(super) const INVALID_PARAMS: i64 = -32_602;
/// JSON-RPC: there is no such method.
const METHOD_NOT_FOUND: i64 = -32_601;
/// JSON-RPC: the fault is ours.
const INTERNAL_ERROR: i64 = -32_603;

/// A request that was not read.
pub(super) struct Unread {
    status: StatusCode,
    rpc: i64,
    /// The request's own id, where it could be read.
    id: Value,
    refusal: Refusal,
}

impl Unread {
    /// With JSON-RPC's code, and what is wrong.
    pub(super) fn malformed(rpc: i64, why: impl Into<String>) -> Box<Self> {
        Box::new(Self { status: StatusCode::BAD_REQUEST, rpc, id: Value::Null, refusal: Refusal::new(Code::Malformed).detail(why) })
    }

    /// The same, to a request that says who it is.
    pub(super) fn to(mut self: Box<Self>, id: Option<&Value>) -> Box<Self> {
        self.id = id.filter(|id| id.is_string() || id.is_number()).cloned().unwrap_or_default();
        self
    }

    /// With a status of its own.
    pub(super) fn refused(status: StatusCode, refusal: Refusal) -> Box<Self> {
        Box::new(Self { status, rpc: INVALID_REQUEST, id: Value::Null, refusal })
    }

    /// Records it, and answers.
    pub(super) async fn answer(self, audit: &Audit, delegation: &Delegation) -> Response {
        match audit.refuse_unread(delegation, self.refusal.code()).await {
            Ok(()) => answer(self.status, self.rpc, &self.id, &self.refusal),
            Err(unavailable) => unrecorded(&unavailable.refusal()),
        }
    }
}

fn answer(status: StatusCode, rpc: i64, id: &Value, refusal: &Refusal) -> Response {
    let error = json!({ "code": rpc, "message": refusal.message(), "data": data(refusal.code()) });
    (status, Json(json!({ "jsonrpc": "2.0", "id": id, "error": error }))).into_response()
}

fn unrecorded(refusal: &Refusal) -> Response {
    tracing::error!(cause = refusal.private_cause(), "a refusal could not be recorded");
    answer(StatusCode::SERVICE_UNAVAILABLE, INTERNAL_ERROR, &Value::Null, refusal)
}

fn data(code: Code) -> Map<String, Value> {
    Map::from_iter([("code".to_owned(), Value::from(code.as_str())), ("hint".to_owned(), Value::from(code.advice()))])
}

/// Whether an answer says that something is wrong; the rest of it is passed over.
#[derive(Deserialize)]
struct Peek {
    error: Option<Map<String, Value>>,
}

/// What the protocol layer answers to a request that never became a call: refusals are recorded and get their code, anything else is untouched.
pub(super) async fn seen(audit: &Audit, delegation: &Delegation, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, ANSWER_MAX_BYTES).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let said = serde_json::from_slice::<Peek>(&bytes).ok().and_then(|peek| peek.error);
    let rpc = said.as_ref().and_then(|error| error.get("code")).and_then(Value::as_i64);
    let refuses = parts.status.is_client_error() || rpc.is_some_and(|code| code != INTERNAL_ERROR);
    if !refuses {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let code = match (parts.status, rpc) {
        (StatusCode::PAYLOAD_TOO_LARGE, _) => Code::TooLarge,
        (_, Some(METHOD_NOT_FOUND)) => Code::NotFound,
        _ => Code::Malformed,
    };
    if let Err(unavailable) = audit.refuse_unread(delegation, code).await {
        return unrecorded(&unavailable.refusal());
    }
    let mut whole: Map<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut error = said.unwrap_or_else(|| {
        let message: String = String::from_utf8_lossy(&bytes).chars().take(Refusal::DETAIL_MAX_BYTES).collect();
        Map::from_iter([("code".to_owned(), json!(INVALID_REQUEST)), ("message".to_owned(), Value::from(message))])
    });
    match error.entry("data").or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(members) => members.extend(data(code)),
        // The protocol's own data is of another shape: it stays, and the record has the code.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
    }
    whole.insert("error".to_owned(), Value::Object(error));
    whole.entry("jsonrpc").or_insert_with(|| json!("2.0"));
    whole.entry("id").or_insert(Value::Null);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(Value::Object(whole).to_string()))
}
