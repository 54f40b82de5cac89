//! Asking the human at the client to open a page of ours: an elicitation by URL (MCP 2026-07-28, SEP-2322), where that very human may approve the call.
//!
//! What the client answers is never evidence of a human: a hook can say "accept". Only the page decides. The state that goes there and back is the
//! request's id, sealed to this human, this agent and this very call: with another call, or in other hands, it opens nothing. That an approval is used
//! once is the store's business and not the seal's.

use std::collections::BTreeMap;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, InputRequest, InputRequiredResult, ProtocolVersion, RequestStateCodec,
    SealOptions,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};

use crate::audit::{Reply, reply};
use crate::identity::Delegation;
use crate::refusal::{Code, Refusal};

/// The name of the one thing that is asked.
const APPROVAL: &str = "approval";

/// Whether the caller can be asked: its revision has the way, it says that it can show a page, and it has not been asked for this call.
pub(super) fn can_be_asked(context: &RequestContext<RoleServer>, request: &CallToolRequestParams) -> bool {
    let is_modern = context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    let shows_pages = || context.client_capabilities().and_then(|can| can.elicitation).is_some_and(|elicitation| elicitation.url.is_some());
    is_modern && request.request_state.is_none() && request.input_responses.is_none() && shows_pages()
}

/// How long the answer to a question is taken; the request itself ends by its own time.
const STATE_LASTS: Duration = Duration::from_secs(24 * 3_600);

/// Seals what goes to the client and comes back.
#[derive(Debug, Clone)]
pub(super) struct States(RequestStateCodec);

impl States {
    /// Under a key of the broker's own, the same in every replica and after a restart; an HMAC, so long enough.
    pub(super) fn new(key: Vec<u8>) -> Self {
        Self(RequestStateCodec::new_unchecked(key))
    }

    /// The request that the caller's human declined to look at, as arguments of `approval_withdraw`. What does not open names no request, and is refused
    /// there, with a record.
    pub(super) fn declined(&self, call: &[u8], request: &CallToolRequestParams) -> Option<Map<String, Value>> {
        let action = request.input_responses.as_ref()?.get(APPROVAL)?.get("action")?;
        let opened = self.0.open_with(request.request_state.as_ref()?, call).ok().and_then(|id| String::from_utf8(id).ok());
        let arguments = json!({ "approval_id": opened.unwrap_or_else(|| "the requestState of another call".to_owned()) });
        (action == "decline").then(|| arguments.as_object().cloned().unwrap_or_default())
    }

    /// What the caller is asked, for a call that waits.
    pub(super) fn question(&self, call: &[u8], reply: &Reply) -> Option<InputRequiredResult> {
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
        let sealed = self.0.seal_with(id.as_bytes(), &SealOptions::new().associated_data(call).ttl(STATE_LASTS));
        Some(InputRequiredResult::new(Some(requests), Some(sealed)))
    }
}

/// Whose call it is, and which: what a state is sealed to.
pub(super) fn call(delegation: &Delegation, request: &CallToolRequestParams) -> Vec<u8> {
    let (human, agent) = (delegation.human(), delegation.agent());
    let arguments = request.arguments.as_ref().map(|arguments| sorted(&Value::Object(arguments.clone())));
    json!([human.issuer, human.subject, agent.issuer, agent.id, "tools/call", request.name, arguments]).to_string().into_bytes()
}

/// Members in the order of their names: a client may send them in another order the second time.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<&String, Value> = members.iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(members.into_iter().map(|(name, value)| (name.clone(), value)).collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
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
