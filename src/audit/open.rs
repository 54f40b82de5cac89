//! `Permit` and `Entry`: the two halves of a recorded intent. Minted here, after the admitted leaf is durable, and nowhere else.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::audit::{Audit, OPEN_CALL, Unavailable, references};
use crate::call::{Answer, Bound, Call, Facts, Stop, TargetFacts, ToolFacts};
use crate::id::DelegationId;
use crate::ledger::{Change, CommitError, Row, Write};
use crate::operation::Risk;
use crate::policy::Authorized;
use crate::record;
use crate::refusal::{Code, Refusal};
use crate::registry::Registry;

/// The right to act once, and the only key to a credential. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Permit {
    call: Call,
    bound: Option<Bound>,
    lent: Option<DelegationId>,
}

impl Permit {
    /// The call that may act.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// What an approver was shown the call would touch, if one was asked: the call may touch nothing else.
    #[must_use]
    pub const fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Rows that an approver was shown the call would touch; more must be rolled back.
    #[must_use]
    pub fn max_affected(&self) -> Option<u64> {
        self.bound.as_ref().and_then(|bound| bound.rows)
    }

    /// The registered delegation that covers the call, where there is one.
    #[must_use]
    pub const fn lent(&self) -> Option<&DelegationId> {
        self.lent.as_ref()
    }
}

/// The duty to record how it ended. Not `Clone`, no public constructor; `close` consumes it.
#[derive(Debug)]
pub struct Entry {
    pub(super) facts: Facts,
    pub(super) tool: ToolFacts,
    pub(super) target: Option<TargetFacts>,
    pub(super) risk: Risk,
    pub(super) bytes_max: u64,
    /// The approval that it stands on.
    pub(super) approval: Option<String>,
    /// Leaf hash of the admitted leaf, hexadecimal: the completed leaf names it.
    pub(super) parent: String,
    pub(super) began: Instant,
}

/// What opening came to: the two halves, or the stop that somebody else's use of the approval caused.
pub type Opened = Result<(Permit, Entry), Box<Stop>>;

impl Audit {
    /// Records the intent and spends the approval, in one transaction.
    ///
    /// # Errors
    /// The ledger could not record: nothing was opened and nothing may act.
    pub async fn open(&self, authorized: Box<Authorized>) -> Result<Opened, Unavailable> {
        let (call, judgement, mut approval) = authorized.open();
        let payload = self.request_payload(&call.facts, call.target.as_ref(), call.reason.as_deref())?;
        let mut body = Map::new();
        body.insert("tool".to_owned(), record::tool(&call.tool));
        if let Some(target) = &call.target {
            body.insert("target".to_owned(), record::target(target));
        }
        let reference = payload.reference();
        body.insert("args".to_owned(), json!({ "commit": reference.commit, "len": reference.len }));
        body.insert("verb".to_owned(), Value::from(call.operation.verb()));
        body.insert("policy".to_owned(), record::policy(&judgement));
        if let Some(lent) = &judgement.covered_by {
            body.insert("dlg".to_owned(), json!({ "id": lent.as_str() }));
        }
        if let Some(approval) = &approval {
            let mut by = json!({ "id": approval.id().as_str(), "commit": approval.commit() });
            if let Some(members) = by.as_object_mut().filter(|_| approval.is_of_broken_glass()) {
                members.insert("glass".to_owned(), Value::from("broken"));
            }
            body.insert("appr".to_owned(), by);
        }
        let payloads = vec![payload];
        body.insert("pay".to_owned(), references(&payloads));
        let mut writes = self.recorder.subjects_of(&call.facts);
        // What must be true of the rows at this very moment, and what the caller is told where it is not.
        let mut demands = Registry::guards(&self.recorder, &call.facts.delegation, judgement.covered_by.as_ref());
        demands.extend(approval.iter_mut().flat_map(crate::approval::Approval::spend));
        let (guards, codes): (Vec<Write>, Vec<Code>) = demands.into_iter().unzip();
        writes.splice(0..0, guards);
        writes.push(Write::Insert(open_row(&call)));
        let leaf = self.recorder.draft("call.admitted", &call.facts, body);
        match self.ledger.commit(Change { leaves: vec![leaf], writes, payloads }).await {
            Ok(committed) => {
                let parent = committed.receipts.first().map(|receipt| hex::encode(receipt.leaf_hash)).unwrap_or_default();
                let entry = Entry {
                    facts: call.facts.clone(),
                    tool: call.tool.clone(),
                    target: call.target.clone(),
                    risk: judgement.risk,
                    bytes_max: call.limits.bytes,
                    approval: approval.as_ref().map(|approval| approval.id().to_string()),
                    parent,
                    began: Instant::now(),
                };
                let bound = approval.and_then(crate::approval::Approval::into_bound);
                Ok(Ok((Permit { call, bound, lent: judgement.covered_by }, entry)))
            }
            Err(CommitError::Conflict { write }) => {
                self.recorder.forget();
                let code = codes.get(write).copied().unwrap_or(Code::LedgerUnavailable);
                let risk = Some(call.risk());
                Ok(Err(Box::new(Stop {
                    facts: call.facts,
                    tool: Some(call.tool),
                    target: call.target,
                    risk,
                    judgement: Some(judgement),
                    answer: Answer::Refused(Refusal::new(code)),
                })))
            }
            Err(error) => {
                self.recorder.forget();
                Err(error.into())
            }
        }
    }
}

/// Marks the call as open; `close` takes the mark away, and what is still marked at the next start is closed as unresolved.
fn open_row(call: &Call) -> Row {
    let body = json!({
        "human": { "issuer": call.facts.delegation.human().issuer, "subject": call.facts.delegation.human().subject },
        "agent": { "issuer": call.facts.delegation.agent().issuer, "id": call.facts.delegation.agent().id },
        "tool": call.tool.name,
        "target": call.target.as_ref().map(|target| json!({ "id": target.name, "kind": target.engine, "env": target.environment })),
    });
    Row::new(OPEN_CALL, call.facts.id.as_str(), "open", "", None, body.to_string().into_bytes())
}
