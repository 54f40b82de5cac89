//! Audit: no act without a durable intent, no word without a durable outcome.
//!
//! `open` records the intent and mints `Permit` (the right to act once) and `Entry` (the duty to record); `close` drains the masked answer,
//! records the outcome and mints the `Reply`; `refuse` records a refusal and mints the only other kind of `Reply`. If the ledger cannot
//! record, there is no permit and no reply, only [`Unavailable`].

pub mod close;
pub mod failed;
pub mod open;
mod person;
pub mod recover;
pub mod refuse;
pub mod reply;
pub mod trail;
mod witness;

use std::sync::Arc;

use serde_json::Value;

use crate::call::{Facts, KUBERNETES, SSH, TargetFacts};
use crate::ledger::{Ledger, SealedPayload};
use crate::mask::Masks;
use crate::record::Recorder;

pub use crate::record::Unavailable;
pub use failed::Failures;
pub use open::{Entry, Opened, Permit};
pub use reply::Reply;
pub use trail::Question;

/// Records calls. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    ledger: Ledger,
    recorder: Arc<Recorder>,
    masks: Masks,
}

/// The kind of the rows that mark a call as open.
pub(crate) const OPEN_CALL: &str = "call";

impl Audit {
    /// The audit room over a ledger. The masks are for what it says itself: a refusal may quote what came in.
    #[must_use]
    pub const fn new(ledger: Ledger, recorder: Arc<Recorder>, masks: Masks) -> Self {
        Self { ledger, recorder, masks }
    }

    /// The request as evidence: what was asked, beside the log and under a commitment. What goes to clusters and hosts carries secrets: it is masked, and
    /// a keyed digest of the arguments as they were stands beside it, so that whoever has them can be told to have the right ones. Statements are kept as
    /// they are: their parameters are what an auditor looks for.
    fn request_payload(&self, facts: &Facts, target: Option<&TargetFacts>, reason: Option<&str>) -> Result<SealedPayload, Unavailable> {
        let given = Value::Object((*facts.arguments).clone());
        let is_plain = match target {
            Some(target) => target.engine != KUBERNETES && target.engine != SSH,
            None => facts.tool.starts_with("db_"),
        };
        let (arguments, digest) = if is_plain {
            (given, None)
        } else {
            let digest = hex::encode(self.ledger.keys().digest(given.to_string().as_bytes()));
            (self.masks.given(given), Some(digest))
        };
        let document = serde_json::json!({
            "tool": facts.tool,
            "arguments": arguments,
            "arguments_digest": digest,
            "reason": reason,
            "client": facts.origin.client.as_ref().map(ToString::to_string),
            "protocol_version": facts.origin.protocol_version,
            "run": facts.origin.run,
            "chain": facts.delegation.agent().chain,
        });
        self.payload("request", "request", document.to_string().as_bytes())
    }

    fn payload(&self, role: &'static str, class: &'static str, bytes: &[u8]) -> Result<SealedPayload, Unavailable> {
        self.ledger.sealed(role, class, bytes).map_err(Unavailable::because)
    }
}

/// References to payloads, as leaves have them.
fn references(payloads: &[SealedPayload]) -> Value {
    payloads.iter().map(|payload| payload.reference().to_json()).collect()
}
