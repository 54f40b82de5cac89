//! Asking the human at the client to open a page of ours: an elicitation by URL (MCP 2026-07-28, SEP-2322), where that very human may approve the call.
//!
//! What the client answers is never evidence of a human: a hook can say "accept". Only the page decides. The state that goes there and back is the
//! request's id and no more, so that forging it gains nothing: whoever may withdraw that request may do so by a tool as well.

use std::collections::BTreeMap;

use rmcp::model::{CallToolRequestParams, ElicitRequest, ElicitRequestParams, InputRequest, InputRequiredResult, ProtocolVersion};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};

use crate::audit::{Reply, reply};
use crate::refusal::{Code, Refusal};

/// The name of the one thing that is asked.
const APPROVAL: &str = "approval";

/// Whether the caller can be asked: its revision has the way, it says that it can show a page, and it has not been asked for this call.
pub(super) fn can_be_asked(context: &RequestContext<RoleServer>, request: &CallToolRequestParams) -> bool {
    let is_modern = context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    let shows_pages = || context.client_capabilities().and_then(|can| can.elicitation).is_some_and(|elicitation| elicitation.url.is_some());
    is_modern && request.request_state.is_none() && request.input_responses.is_none() && shows_pages()
}

/// The request that the caller's human declined to look at, as arguments of `approval_withdraw`.
pub(super) fn declined(request: &CallToolRequestParams) -> Option<Map<String, Value>> {
    let action = request.input_responses.as_ref()?.get(APPROVAL)?.get("action")?;
    let arguments = json!({ "approval_id": request.request_state.as_ref()? });
    (action == "decline").then(|| arguments.as_object().cloned().unwrap_or_default())
}

/// The answer to a call that its human declined, when its request was withdrawn.
pub(super) fn withdrawn(reply: &Reply) -> Map<String, Value> {
    let refusal = Refusal::new(Code::ApprovalWithdrawn);
    let mut envelope = reply.envelope().clone();
    envelope.remove("result");
    envelope.insert("status".to_owned(), json!("error"));
    envelope.insert("error".to_owned(), reply::error(&refusal));
    envelope
}

/// What the caller is asked, for a call that waits.
pub(super) fn question(reply: &Reply) -> Option<InputRequiredResult> {
    let text = |name: &str| reply.envelope().get("approval").and_then(|approval| approval.get(name)).and_then(Value::as_str);
    let (id, url) = (text("id").filter(|_| reply.asks_the_caller())?, text("url")?);
    let page = ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: "This call needs your approval. The page shows exactly what it would do, and nothing happens before you decide there."
            .to_owned(),
        url: url.to_owned(),
        elicitation_id: String::new(),
    };
    let requests = BTreeMap::from([(APPROVAL.to_owned(), InputRequest::Elicitation(ElicitRequest::new(page)))]);
    Some(InputRequiredResult::new(Some(requests), Some(id.to_owned())))
}
