//! Closing: drain the masked answer within the call's limits, make the outcome durable, and only then mint the reply.
//!
//! What the agent will hear and what the payload store keeps are the same bytes. If they cannot be recorded, nobody hears them.

use serde_json::{Map, Value, json};
use tracing::{Instrument, debug_span};

use crate::audit::{Audit, Entry, OPEN_CALL, Reply, Unavailable, references, reply};
use crate::call::CredentialFacts;
use crate::ledger::{Change, Write};
use crate::mask::Done;
use crate::mask::{MaskReport, Masked, MaskedColumn, MaskedPiece};
use crate::record;
use crate::refusal::{Code, Refusal};
use crate::workplace;

/// Masking may lengthen values (a label for a digit), so the drained answer may exceed the call's own limit by this factor before it is cut.
const GROWTH_MAX: u64 = 4;
/// A result of few, tiny rows needs this much for its frame.
const FRAME_BYTES: u64 = 64 * 1024;

/// What was drained.
struct Drained {
    result: Value,
    outcome: Result<Done, Refusal>,
    stopped: Option<bool>,
    /// What a program had written when it was stopped or lost.
    partial: Option<Value>,
    rows: u64,
    credential: Option<CredentialFacts>,
    report: MaskReport,
    /// The last part of the recording; those before it are in the log already.
    recording: Option<String>,
}

impl Audit {
    /// Records the outcome and mints the reply.
    ///
    /// # Errors
    /// The ledger could not record: the result is withheld.
    pub async fn close(&self, entry: Entry, masked: Masked) -> Result<Reply, Unavailable> {
        let bytes_max = entry.bytes_max.saturating_mul(GROWTH_MAX).saturating_add(FRAME_BYTES);
        // The connector works and the masks apply while this reads.
        let drained = self.drain(&entry, masked, bytes_max).instrument(debug_span!("target")).await?;
        let status = match &drained.outcome {
            Ok(_) => "ok",
            Err(_) => "error",
        };
        let mut envelope = reply::envelope(status, &entry.facts);
        if let Some(id) = &entry.approval {
            envelope.insert("approval".to_owned(), json!({ "id": id, "state": "used" }));
        }
        let mut res = Map::from_iter([(
            "status".to_owned(),
            Value::from(match &drained.outcome {
                Err(refusal) if refusal.code() == Code::TargetCancelled => "cancelled",
                Err(refusal) if refusal.code() == Code::Unresolved => "unresolved",
                _ => status,
            }),
        )]);
        match &drained.outcome {
            Ok(done) => {
                envelope.insert("result".to_owned(), drained.result.clone());
                res.insert("rows".to_owned(), Value::from(done.affected_rows.unwrap_or(drained.rows)));
                res.insert("truncated".to_owned(), Value::from(done.truncated));
            }
            Err(refusal) => {
                envelope.extend(drained.partial.clone().map(|partial| ("result".to_owned(), partial)));
                envelope.insert("error".to_owned(), reply::stopped(reply::error(refusal), drained.stopped));
                res.insert("code".to_owned(), Value::from(refusal.code().as_str()));
                if let Some(cause) = refusal.private_cause() {
                    tracing::warn!(call = %entry.facts.id, code = refusal.code().as_str(), cause, "call failed");
                }
            }
        }
        if let Some(stopped) = drained.stopped {
            res.insert("stopped".to_owned(), Value::from(if stopped { "confirmed" } else { "unconfirmed" }));
        }
        if !drained.report.counts.is_empty() {
            envelope.insert("masked".to_owned(), drained.report.places_json());
        }
        let told = Value::Object(envelope.clone()).to_string();
        res.insert("bytes".to_owned(), Value::from(told.len()));
        res.insert("us".to_owned(), Value::from(u64::try_from(entry.began.elapsed().as_micros()).unwrap_or(u64::MAX).min(1 << 52)));

        let mut body = Map::new();
        body.insert("tool".to_owned(), record::tool(&entry.tool));
        if let Some(target) = &entry.target {
            body.insert("target".to_owned(), record::target(target));
        }
        let mut writes =
            vec![Write::Remove { kind: OPEN_CALL.to_owned(), id: entry.facts.id.as_str().to_owned(), from: "open".to_owned() }];
        if let Some(used) = &drained.credential {
            // `credential.used`, as a sub-record of this leaf.
            let (cred, subject) = self.recorder.credential(used);
            body.insert("cred".to_owned(), cred);
            writes.extend(subject);
        }
        if let Some((keep, at)) = drained.outcome.as_ref().ok().and_then(|done| done.keep.as_ref()) {
            writes.extend(workplace::writes(keep, *at));
        }
        body.insert("par".to_owned(), Value::from(entry.parent));
        body.insert("res".to_owned(), Value::Object(res));
        body.insert("mask".to_owned(), drained.report.to_json());
        let mut payloads = vec![self.payload("result", "result", told.as_bytes())?];
        if let Some(recording) = &drained.recording {
            payloads.push(self.payload("recording", "recording", recording.as_bytes())?);
        }
        body.insert("pay".to_owned(), references(&payloads));
        let leaf = self.recorder.draft("call.completed", &entry.facts, body);
        let change = Change { leaves: vec![leaf], writes, payloads };
        let committed = self.ledger.commit(change).instrument(debug_span!("outcome")).await.inspect_err(|_| self.recorder.forget())?;
        let receipt = reply::receipt(self.ledger.origin(), committed.receipts.first());
        let preview = drained.outcome.as_ref().ok().and_then(|done| done.preview.clone());
        Ok(Reply::mint(envelope, drained.outcome.as_ref().err(), Some(entry.risk), preview, receipt))
    }

    /// A part of a recording is durable while its program still runs: a crash loses no more than what came after it.
    async fn progress(&self, entry: &Entry, recorded: &str) -> Result<(), Unavailable> {
        let payloads = vec![self.payload("recording", "recording", recorded.as_bytes())?];
        let body = Map::from_iter([("par".to_owned(), Value::from(entry.parent.as_str())), ("pay".to_owned(), references(&payloads))]);
        let leaf = self.recorder.draft("exec.progress", &entry.facts, body);
        self.ledger.commit(Change { leaves: vec![leaf], writes: Vec::new(), payloads }).await?;
        Ok(())
    }

    /// Reads the stream to its end; past the limit it reads on without keeping, so that the connector is never left hanging.
    async fn drain(&self, entry: &Entry, mut masked: Masked, bytes_max: u64) -> Result<Drained, Unavailable> {
        let mut columns: Option<Vec<MaskedColumn>> = None;
        let mut rows: Vec<Value> = Vec::new();
        let mut document: Option<Value> = None;
        let mut bytes = 0_u64;
        let mut row_count = 0;
        let mut credential = None;
        let (mut stopped, mut partial, mut recording) = (None, None, None);
        // A stream that ends without saying how is no success.
        let mut outcome = Err(Refusal::new(Code::MaskFailed).cause("the stream ended without its last piece"));
        while let Some(piece) = masked.next().await {
            match piece {
                MaskedPiece::Used(used) => credential = Some(used),
                MaskedPiece::Header { columns: header } => columns = Some(header),
                MaskedPiece::Row(values) => {
                    row_count += 1;
                    let row = Value::Array(values);
                    bytes = bytes.saturating_add(row.to_string().len() as u64);
                    if bytes <= bytes_max {
                        rows.push(row);
                    }
                }
                MaskedPiece::Document(value) => {
                    bytes = bytes.saturating_add(value.to_string().len() as u64);
                    document = Some(merged(document, value)).filter(|_| bytes <= bytes_max);
                }
                MaskedPiece::Recorded { text, is_last: true } => recording = Some(text),
                MaskedPiece::Recorded { text, .. } => self.progress(entry, &text).await?,
                MaskedPiece::Done(done) => {
                    stopped = done.stopped;
                    outcome = Ok(done);
                }
                MaskedPiece::Failed { refusal, stopped: confirmed, partial: written } => {
                    outcome = Err(refusal);
                    stopped = confirmed;
                    partial = written.filter(|written| written.to_string().len() as u64 <= bytes_max);
                }
            }
        }
        if bytes > bytes_max {
            outcome = outcome.and_then(|done| match rows.is_empty() {
                true => Err(Refusal::new(Code::ResultTooLarge)),
                false => Ok(Done { truncated: true, ..done }),
            });
        }
        let result = match (columns, document) {
            (None, Some(document)) => document,
            // What is said beside rows is about them.
            (columns, more) => merged(Some(table(columns.as_deref(), rows, outcome.as_ref().ok())), more.unwrap_or_default()),
        };
        Ok(Drained { result, outcome, stopped, partial, rows: row_count, credential, report: masked.report(), recording })
    }
}

/// Two documents as one.
fn merged(document: Option<Value>, more: Value) -> Value {
    match (document, more) {
        (Some(Value::Object(mut members)), Value::Object(more)) => {
            members.extend(more);
            Value::Object(members)
        }
        (Some(document), Value::Null) => document,
        (_, more) => more,
    }
}

/// Rows as the agent reads them.
fn table(columns: Option<&[MaskedColumn]>, rows: Vec<Value>, done: Option<&Done>) -> Value {
    let mut result = Map::new();
    if let Some(columns) = columns {
        let columns: Value =
            columns.iter().map(|column| json!({ "name": column.name, "type": column.type_name, "masked": column.masked })).collect();
        result.insert("columns".to_owned(), columns);
        result.insert("row_count".to_owned(), Value::from(rows.len()));
        result.insert("rows".to_owned(), Value::Array(rows));
    }
    if let Some(done) = done {
        result.insert("truncated".to_owned(), Value::from(done.truncated));
        if let Some(affected) = done.affected_rows {
            result.insert("affected_rows".to_owned(), Value::from(affected));
        }
        if let Some(preview) = done.preview.as_ref().and_then(|preview| preview.rows) {
            result.insert("would_touch_rows".to_owned(), Value::from(preview));
        }
    }
    Value::Object(result)
}
