//! Calls that their caller cancels in so many words: `notifications/cancelled` with the request's id.
//!
//! It comes as a request of its own, so the two must be brought together here. An id is the client's choice, and two clients of one agent may choose the same:
//! where it is not plain which call is meant, none is. Hanging up is no cancelling: a client whose patience ends may still come back for the answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::identity::Delegation;

/// Whose call, and by which id.
type Key = [String; 5];

/// Calls by whose they are and their id; several where clients of one agent chose the same.
type Calls = HashMap<Key, Vec<(u64, CancellationToken)>>;

/// The calls under way. Cheap to clone; as long as it is bounded how many calls are, so is this.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancels {
    begun: Arc<AtomicU64>,
    calls: Arc<Mutex<Calls>>,
}

/// A call under way, until it is dropped.
pub(super) struct UnderWay {
    cancels: Cancels,
    key: Key,
    number: u64,
    /// Fires when the call is cancelled in so many words.
    pub(super) cancelled: CancellationToken,
}

fn key(delegation: &Delegation, id: String) -> Key {
    let (human, agent) = (delegation.human(), delegation.agent());
    [human.issuer.clone(), human.subject.clone(), agent.issuer.clone(), agent.id.clone(), id]
}

impl Cancels {
    /// A call begins.
    pub(super) fn begin(&self, delegation: &Delegation, id: String) -> UnderWay {
        let (key, cancelled) = (key(delegation, id), CancellationToken::new());
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(key.clone()).or_default().push((number, cancelled.clone()));
        UnderWay { cancels: self.clone(), key, number, cancelled }
    }

    /// A message of this caller: if it cancels one of their calls, that call hears of it.
    pub(super) fn heard(&self, delegation: &Delegation, message: &serde_json::Map<String, Value>) {
        if message.get("method").and_then(Value::as_str) != Some("notifications/cancelled") {
            return;
        }
        let id = match message.get("params").and_then(|params| params.get("requestId")) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => return,
        };
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some([(_, only)]) = calls.get(&key(delegation, id)).map(Vec::as_slice) {
            only.cancel();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut calls = self.cancels.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = calls.get_mut(&self.key) {
            same.retain(|(number, _)| *number != self.number);
            if same.is_empty() {
                calls.remove(&self.key);
            }
        }
    }
}
