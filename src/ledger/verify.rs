//! Verification, offline: the bytes, the tree, the signatures, the payloads, and the order of events. Reads; trusts nothing it reads.
//!
//! Three levels. Bytes: every leaf canonical and hashed right, indexes contiguous, the root signed, an earlier checkpoint a prefix. Payloads: each
//! is what its leaf commits to, or its erasure is recorded. Order: one intent and one outcome a call, no approval used twice, counters and times
//! that only rise. The first bad index is named.

mod approvals;
mod heads;
mod order;
mod source;

use std::path::Path;

use serde::Serialize;

use crate::ledger::keys::Keys;
use crate::ledger::note::VerifierKey;
use crate::ledger::tree::{self, Frontier};
use crate::ledger::{canonical, payload};

pub use source::{CHECKPOINTS, HASHES, LEAVES, Source, SourceError};

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The leaf at which it shows, the first that it can be; for a checkpoint that is none, its size; none where it concerns the whole log.
    pub index: Option<u64>,
    /// A stable name, such as `leaf.hash`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub ok: bool,
    /// The log's origin.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// The root over them, hexadecimal.
    pub root: String,
    /// The key that the signatures were checked with, and where it came from.
    pub key: String,
    /// `given`, or `store`: a key from the store proves only that the store agrees with itself.
    pub key_from: &'static str,
    /// Payloads that are what their leaves commit to.
    pub payloads: u64,
    /// Payloads whose erasure is recorded.
    pub erased: u64,
    /// Payloads that could not be checked (an exported log has none).
    pub payloads_unchecked: u64,
    /// Calls without an outcome yet.
    pub open_calls: u64,
    /// The size of the earlier checkpoint that was proved to be a prefix.
    pub previous: Option<u64>,
    /// The first problems, by index; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
}

/// Problems that a report holds.
pub const PROBLEMS_MAX: usize = 100;

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// The key that must have signed; the store's own otherwise.
    pub key: Option<VerifierKey>,
    /// A signed checkpoint from earlier, which must be a prefix of this log.
    pub previous: Option<String>,
}

/// Verifies a store's folder or an exported log's.
///
/// # Errors
/// The source cannot be read at all. What is read and does not hold is in the report.
pub fn verify(dir: &Path, demands: &Demands) -> Result<Report, SourceError> {
    let mut source = Source::open(dir)?;
    let own = source.verifier();
    let (key, key_from) = match (&demands.key, own) {
        (Some(key), _) => (key.clone(), "given"),
        (None, Some(key)) => (key, "store"),
        (None, None) => return Err(SourceError("there is no public key with the log: give one with `--key`".to_owned())),
    };
    let mut problems = Vec::new();
    let heads = heads::Heads::new(&key, source.head()?.as_deref(), &source.checkpoints()?, demands.previous.as_deref(), &mut problems);
    let mut verifier = Verifier { key, frontier: Frontier::empty(), heads, next: 0, problems, payloads: 0, erased: 0, unchecked: 0 };
    let mut order = order::Order::default();
    let keys = source.keys(verifier.key.name());
    verifier.heads.compare(&verifier.frontier);
    source.each(|found| verifier.leaf(&mut order, &found))?;
    verifier.heads.judge(&verifier.frontier, &mut verifier.problems);
    verifier.payloads(&source, keys.as_ref(), &order)?;
    Ok(verifier.report(key_from, order.open_calls()))
}

/// A leaf as it was found.
pub(super) struct Found {
    index: u64,
    id: Option<String>,
    hash: Option<Vec<u8>>,
    leaf: Vec<u8>,
}

struct Verifier {
    key: VerifierKey,
    frontier: Frontier,
    heads: heads::Heads,
    /// The index that the next leaf should have.
    next: u64,
    problems: Vec<Problem>,
    payloads: u64,
    erased: u64,
    unchecked: u64,
}

pub(super) fn problem(problems: &mut Vec<Problem>, index: Option<u64>, code: &'static str, message: impl Into<String>) {
    // Leaves are looked at in order, so what comes later than all these is not the first.
    if problems.len() < 10 * PROBLEMS_MAX {
        problems.push(Problem { index, code, message: message.into() });
    }
}

impl Verifier {
    fn leaf(&mut self, order: &mut order::Order, found: &Found) {
        let (expected, at) = (self.next, Some(found.index));
        if found.index != expected {
            let message = format!("leaf {expected} is not there; the next one says it is {}", found.index);
            problem(&mut self.problems, Some(expected), "leaf.missing", message);
        }
        self.next = found.index.saturating_add(1);
        let hash = tree::leaf_hash(&found.leaf);
        if found.hash.as_ref().is_some_and(|stored| stored.as_slice() != hash) {
            problem(&mut self.problems, at, "leaf.hash", "its bytes are not those that were hashed");
        }
        if !canonical::is_canonical(&found.leaf) {
            problem(&mut self.problems, at, "leaf.form", "its bytes are not canonical JSON");
        }
        order.leaf(found, hash, self.heads.good(), &mut self.problems);
        self.frontier.push(hash);
        self.heads.compare(&self.frontier);
    }

    fn payloads(&mut self, source: &Source, keys: Option<&Keys>, order: &order::Order) -> Result<(), SourceError> {
        let Some(keys) = keys.filter(|_| source.has_payloads()) else {
            self.unchecked = order.payloads.len() as u64;
            return Ok(());
        };
        let mut named: Vec<_> = order.payloads.iter().collect();
        named.sort_by_key(|(_, index)| **index);
        for (commit, index) in named {
            match source.payload(commit)? {
                Some((salt, wrapped, chunks)) => match payload::open(keys, commit, &salt, &wrapped, chunks) {
                    Ok(_) => self.payloads += 1,
                    Err(broken) => problem(
                        &mut self.problems,
                        Some(*index),
                        "payload.changed",
                        format!("the payload `{commit}` is not what the leaf commits to ({broken:?})"),
                    ),
                },
                None if order.erased.contains(commit) => self.erased += 1,
                None => problem(
                    &mut self.problems,
                    Some(*index),
                    "payload.missing",
                    format!("the payload `{commit}` is gone, and no leaf says that it was erased"),
                ),
            }
        }
        Ok(())
    }

    fn report(mut self, key_from: &'static str, open_calls: u64) -> Report {
        self.problems.sort_by_key(|problem| problem.index.unwrap_or(u64::MAX));
        self.problems.truncate(PROBLEMS_MAX);
        Report {
            ok: self.problems.is_empty(),
            origin: self.key.name().to_owned(),
            size: self.frontier.size(),
            root: hex::encode(self.frontier.root()),
            key: self.key.text(),
            key_from,
            payloads: self.payloads,
            erased: self.erased,
            payloads_unchecked: self.unchecked,
            open_calls,
            previous: self.heads.previous(),
            problems: self.problems,
        }
    }
}
