//! `Reply`: what an agent hears. Minted by `close` and `refuse` once their leaf is durable, and by nothing else.

use serde_json::{Map, Value, json};

use crate::call::{Bound, Facts, Waiting};
use crate::clock::rfc3339;
use crate::ledger::Receipt;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// A recorded answer. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Reply {
    envelope: Map<String, Value>,
    code: Option<Code>,
    needed: Option<Risk>,
    preview: Option<Bound>,
    asks_the_caller: bool,
    receipt: Value,
}

impl Reply {
    /// The envelope: `status`, `call_id`, and `result`, `approval`, `masked` or `error` as the status has it. Beside an error, `result` is what a program had
    /// written by then.
    #[must_use]
    pub const fn envelope(&self) -> &Map<String, Value> {
        &self.envelope
    }

    /// Whether the agent should read it as an error. A call that waits for approval is none.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.code.is_some()
    }

    /// The refusal's code, if it is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        self.code
    }

    /// The risk that the token's scope would have to reach, for `identity.insufficient_scope`.
    #[must_use]
    pub const fn needed(&self) -> Option<Risk> {
        self.needed
    }

    /// What a previewed change would touch.
    #[must_use]
    pub const fn preview(&self) -> Option<&Bound> {
        self.preview.as_ref()
    }

    /// Where the outcome stands in the ledger: `origin`, `index`, `leaf_hash`.
    #[must_use]
    pub const fn receipt(&self) -> &Value {
        &self.receipt
    }

    pub(super) fn mint(
        envelope: Map<String, Value>,
        refusal: Option<&Refusal>,
        needed: Option<Risk>,
        preview: Option<Bound>,
        receipt: Value,
    ) -> Self {
        let code = refusal.map(Refusal::code);
        let needed = needed.filter(|_| code == Some(Code::InsufficientScope));
        Self { envelope, code, needed, preview, asks_the_caller: false, receipt }
    }

    /// The same, of a call whose caller is to show its human the page.
    pub(super) fn asking_the_caller(mut self, asks_the_caller: bool) -> Self {
        self.asks_the_caller = asks_the_caller;
        self
    }

    /// Whether the caller is to show its human the page on which the call is decided.
    #[must_use]
    pub const fn asks_the_caller(&self) -> bool {
        self.asks_the_caller
    }
}

/// The receipt, as it is told.
pub(super) fn receipt(origin: &str, receipt: Option<&Receipt>) -> Value {
    receipt.map_or(Value::Null, |receipt| json!({ "origin": origin, "index": receipt.index, "leaf_hash": hex::encode(receipt.leaf_hash) }))
}

/// An envelope that begins with its status and call.
pub(super) fn envelope(status: &str, facts: &Facts) -> Map<String, Value> {
    Map::from_iter([("status".to_owned(), Value::from(status)), ("call_id".to_owned(), Value::from(facts.id.as_str()))])
}

/// The `error` member.
#[must_use]
pub fn error(refusal: &Refusal) -> Value {
    json!({ "code": refusal.code().as_str(), "message": refusal.message(), "hint": refusal.advice() })
}

/// The same, with what is known of a stop.
pub(super) fn stopped(mut error: Value, confirmed: Option<bool>) -> Value {
    if let (Some(members), Some(confirmed)) = (error.as_object_mut(), confirmed) {
        members.insert("stopped_confirmed".to_owned(), Value::Bool(confirmed));
    }
    error
}

/// The `approval` member of a call that waits.
pub(super) fn waiting(waiting: &Waiting) -> Value {
    json!({
        "id": waiting.approval.as_str(),
        "state": "pending",
        "url": waiting.url,
        "expires_at": rfc3339(waiting.expires_at),
        "decided_by": waiting.deciders,
        "retry_after_s": 30,
        "next": "Not executed. A human must approve it. Call approval_wait with this id, then repeat this exact call. Do not rephrase or split it, and do not try another way.",
    })
}
