//! Refusals are evidence: one leaf, `call.refused`, for every call that stops before it acts and has an identity; and one, `request.refused`, for
//! what an identity sent that could not be read as a call.

use serde_json::{Map, Value, json};

use crate::audit::{Audit, Reply, Unavailable, references, reply};
use crate::call::{Answer, Origin, Stop};
use crate::identity::Delegation;
use crate::ledger::Change;
use crate::record;
use crate::refusal::Code;

impl Audit {
    /// Records a request that could not be read: who sent it, and the code. Nothing of what was sent, which may be anything.
    ///
    /// # Errors
    /// The ledger could not record: the caller is told that instead.
    pub async fn refuse_unread(&self, delegation: &Delegation, code: Code) -> Result<(), Unavailable> {
        let body = Map::from_iter([("res".to_owned(), json!({ "status": "denied", "code": code.as_str() }))]);
        let leaf = self.recorder.delegated("request.refused", delegation, &Origin::default(), body);
        let writes = self.recorder.subjects(delegation.human(), Some(delegation.agent()));
        let change = Change { leaves: vec![leaf], writes, payloads: Vec::new() };
        self.ledger.commit(change).await.inspect_err(|_| self.recorder.forget())?;
        Ok(())
    }

    /// Records a stop and mints the reply that tells the caller.
    ///
    /// # Errors
    /// The ledger could not record: the caller is told that, and nothing of the refusal.
    pub async fn refuse(&self, stop: Box<Stop>) -> Result<Reply, Unavailable> {
        let Stop { facts, tool, target, risk, judgement, answer } = *stop;
        let mut body = Map::new();
        if let Some(tool) = &tool {
            body.insert("tool".to_owned(), record::tool(tool));
        }
        if let Some(target) = &target {
            body.insert("target".to_owned(), record::target(target));
        }
        body.insert("policy".to_owned(), judgement.as_ref().map_or_else(|| json!({ "ids": [], "decision": "none" }), record::policy));
        let asks_the_caller = matches!(&answer, Answer::Waiting(waiting) if waiting.asks_the_caller);
        let (envelope, refusal) = match answer {
            Answer::Refused(refusal) => {
                let (refusal, report) = self.masks.refusal(refusal);
                let mut envelope = reply::envelope("denied", &facts);
                envelope.insert("error".to_owned(), reply::error(&refusal));
                if !report.counts.is_empty() {
                    envelope.insert("masked".to_owned(), report.places_json());
                }
                body.insert("res".to_owned(), json!({ "status": "denied", "code": refusal.code().as_str() }));
                body.insert("mask".to_owned(), report.to_json());
                if let Some(cause) = refusal.private_cause() {
                    tracing::warn!(call = %facts.id, code = refusal.code().as_str(), cause, "call refused");
                }
                (envelope, Some(refusal))
            }
            // Made of the broker's own words alone.
            Answer::Waiting(waiting) => {
                let mut envelope = reply::envelope("approval_pending", &facts);
                envelope.insert("approval".to_owned(), reply::waiting(&waiting));
                body.insert("res".to_owned(), json!({ "status": "approval_pending" }));
                body.insert("appr".to_owned(), json!({ "id": waiting.approval.as_str() }));
                body.insert("mask".to_owned(), self.masks.nothing().to_json());
                (envelope, None)
            }
        };
        let told = Value::Object(envelope.clone()).to_string();
        let request = self.request_payload(&facts, target.as_ref(), None)?;
        let reference = request.reference();
        body.insert("args".to_owned(), json!({ "commit": reference.commit, "len": reference.len }));
        let payloads = vec![request, self.payload("result", "result", told.as_bytes())?];
        body.insert("pay".to_owned(), references(&payloads));
        let leaf = self.recorder.draft("call.refused", &facts, body);
        let writes = self.recorder.subjects_of(&facts);
        let committed =
            self.ledger.commit(Change { leaves: vec![leaf], writes, payloads }).await.inspect_err(|_| self.recorder.forget())?;
        let receipt = reply::receipt(self.ledger.origin(), committed.receipts.first());
        Ok(Reply::mint(envelope, refusal.as_ref(), risk, None, receipt).asking_the_caller(asks_the_caller))
    }
}
