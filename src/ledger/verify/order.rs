//! The order of events, read off the leaves alone: one intent and one outcome a call, no approval used twice, counters and times that only rise.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::ledger::tree::Hash;
use crate::ledger::verify::approvals::Approvals;
use crate::ledger::verify::{Found, Problem, problem};

/// What is known of a call so far.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    index: u64,
    last: Hash,
}

/// The leaf that is looked at.
#[derive(Clone, Copy)]
struct Step {
    index: u64,
    hash: Hash,
    good: u64,
}

/// The state machine over all leaves.
#[derive(Debug, Default)]
pub(super) struct Order {
    ids: HashSet<String>,
    last_ts: String,
    counters: HashMap<String, u64>,
    replicas: HashMap<String, u64>,
    open: HashMap<String, Open>,
    ended: HashMap<String, u64>,
    approvals: Approvals,
    /// Commitments of payloads, with the leaf that names them.
    pub(super) payloads: BTreeMap<String, u64>,
    /// Commitments whose erasure a leaf records.
    pub(super) erased: BTreeSet<String>,
}

impl Order {
    /// Takes the next leaf. Those below `good` are known to be as they were signed.
    pub(super) fn leaf(&mut self, found: &Found, hash: Hash, good: u64, problems: &mut Vec<Problem>) {
        let at = Some(found.index);
        let Ok(leaf) = serde_json::from_slice::<Value>(&found.leaf) else { return };
        let text = |pointer: &str| leaf.pointer(pointer).and_then(Value::as_str);
        if leaf.pointer("/v").and_then(Value::as_u64) != Some(1) {
            problem(problems, at, "leaf.version", "its version is not 1");
        }
        let Some(id) = text("/id") else {
            problem(problems, at, "leaf.id", "it has no id");
            return;
        };
        if found.id.as_deref().is_some_and(|stored| stored != id) {
            problem(problems, at, "leaf.id", "its stored id is another than the one it carries");
        }
        if !self.ids.insert(id.to_owned()) {
            problem(problems, at, "leaf.duplicate", format!("the id `{id}` stands in the log already"));
        }
        let ts = text("/ts").unwrap_or_default();
        if ts < self.last_ts.as_str() {
            problem(problems, at, "leaf.time", "it is dated before the leaf before it");
        }
        ts.clone_into(&mut self.last_ts);
        for (subject, counter) in [("/agent/id", "/an"), ("/human/sub_id", "/hn")] {
            if let (Some(subject), Some(n)) = (text(subject), leaf.pointer(counter).and_then(Value::as_u64)) {
                let last = self.counters.entry(subject.to_owned()).or_default();
                *last += 1;
                if n != *last {
                    problem(problems, at, "trail.counter", format!("it is number {n} of `{subject}`, and {last} was to come"));
                    *last = n;
                }
            }
        }
        self.replica(found.index, &leaf, problems);
        for commit in
            leaf.pointer("/pay").and_then(Value::as_array).into_iter().flatten().filter_map(|pay| pay.get("commit").and_then(Value::as_str))
        {
            self.payloads.entry(commit.to_owned()).or_insert(found.index);
        }
        let kind = text("/t").unwrap_or_default();
        if kind == "payload.erased" {
            self.erased.extend(
                leaf.pointer("/ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned),
            );
        }
        self.approvals.leaf(found.index, kind, &leaf, problems);
        if let Some(call) = text("/call") {
            let step = Step { index: found.index, hash, good };
            self.call(step, kind, call, text("/par"), problems);
        }
    }

    /// Each replica counts what it records: a gap is a leaf that is gone.
    fn replica(&mut self, index: u64, leaf: &Value, problems: &mut Vec<Problem>) {
        let replica = leaf.pointer("/rep").and_then(Value::as_str).unwrap_or_default();
        let last = self.replicas.entry(replica.to_owned()).or_default();
        *last += 1;
        let n = leaf.pointer("/rs").and_then(Value::as_u64);
        if n != Some(*last) {
            let said = n.map_or_else(|| "no number".to_owned(), |n| format!("number {n}"));
            problem(problems, Some(index), "replica.counter", format!("it is {said} of replica `{replica}`, and {last} was to come"));
            *last = n.unwrap_or(*last);
        }
    }

    fn call(&mut self, step: Step, kind: &str, call: &str, par: Option<&str>, problems: &mut Vec<Problem>) {
        let Step { index, hash, good } = step;
        let at = Some(index);
        match kind {
            "call.admitted" => {
                if self.open.contains_key(call) || self.ended.contains_key(call) {
                    problem(problems, at, "call.twice", format!("the call `{call}` was admitted or ended before"));
                }
                self.open.insert(call.to_owned(), Open { index, last: hash });
            }
            "call.completed" | "exec.unresolved" => match self.open.remove(call) {
                Some(open) => {
                    if par.is_some_and(|par| par != hex::encode(open.last)) || (kind == "call.completed" && par.is_none()) {
                        // One of the two was changed: this one, where a checkpoint speaks for the other.
                        let first = if open.index < good { index } else { open.index };
                        let message = format!("leaf {index} does not follow on leaf {}, which admitted the call `{call}`", open.index);
                        problem(problems, Some(first), "call.parent", message);
                    }
                    self.ended.insert(call.to_owned(), index);
                }
                None => problem(
                    problems,
                    at,
                    "call.without_intent",
                    format!("the call `{call}` ends without having been admitted, or a second time"),
                ),
            },
            "call.refused" => {
                let before = self.ended.insert(call.to_owned(), index);
                if before.is_some() || self.open.contains_key(call) {
                    problem(problems, at, "call.twice", format!("the call `{call}` was admitted or ended before"));
                }
            }
            _ => {}
        }
    }

    /// Calls that have no outcome yet. An open call is no problem by itself: it may be under way, or wait for the next start to close it.
    pub(super) fn open_calls(&self) -> u64 {
        self.open.len() as u64
    }
}
