//! Verification, offline: the bytes, the tree, the signatures, the payloads, and the order of events. Reads; trusts nothing it reads.
//!
//! Three levels. Bytes: every leaf canonical and hashed right, indexes contiguous, the root signed, an earlier checkpoint a prefix. Payloads: each
//! is what its leaf commits to, or its erasure is recorded. Order: one intent and one outcome a call, no approval used twice, counters and times
//! that only rise. The first bad index is named.

mod order;
mod source;

use std::path::Path;

use serde::Serialize;

use crate::ledger::keys::Keys;
use crate::ledger::note::{Checkpoint, VerifierKey};
use crate::ledger::tree::{self, Frontier, Hash};
use crate::ledger::{canonical, payload};

pub use source::{Source, SourceError};

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The leaf at which it shows; none where it concerns the whole log.
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
    let mut verifier = Verifier::new(key);
    let mut order = order::Order::default();
    let keys = source.keys(verifier.key.name());
    source.each(|found| verifier.leaf(&mut order, &found))?;
    verifier.heads(&source)?;
    verifier.previous(demands.previous.as_deref());
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
    hashes: Vec<Hash>,
    problems: Vec<Problem>,
    payloads: u64,
    erased: u64,
    unchecked: u64,
    previous: Option<u64>,
}

pub(super) fn problem(problems: &mut Vec<Problem>, index: Option<u64>, code: &'static str, message: impl Into<String>) {
    problems.push(Problem { index, code, message: message.into() });
}

impl Verifier {
    const fn new(key: VerifierKey) -> Self {
        Self {
            key,
            frontier: Frontier::empty(),
            hashes: Vec::new(),
            problems: Vec::new(),
            payloads: 0,
            erased: 0,
            unchecked: 0,
            previous: None,
        }
    }

    fn leaf(&mut self, order: &mut order::Order, found: &Found) {
        let expected = self.frontier.size();
        let at = Some(found.index);
        if found.index != expected {
            problem(
                &mut self.problems,
                Some(expected),
                "leaf.missing",
                format!("leaf {expected} is not there; the next one says it is {}", found.index),
            );
        }
        let hash = tree::leaf_hash(&found.leaf);
        if found.hash.as_ref().is_some_and(|stored| stored.as_slice() != hash) {
            problem(&mut self.problems, at, "leaf.hash", "its bytes are not those that were hashed");
        }
        if !canonical::is_canonical(&found.leaf) {
            problem(&mut self.problems, at, "leaf.form", "its bytes are not canonical JSON");
        }
        order.leaf(found, hash, &mut self.problems);
        self.frontier.push(hash);
        self.hashes.push(hash);
    }

    /// The signed head must be of exactly these leaves, and every remembered checkpoint of a prefix of them.
    fn heads(&mut self, source: &Source) -> Result<(), SourceError> {
        let Some(head) = source.head()? else {
            if self.frontier.size() > 0 {
                problem(&mut self.problems, None, "head.missing", "there are leaves but no signed head");
            }
            return Ok(());
        };
        match self.key.open(&head) {
            None => problem(&mut self.problems, None, "head.signature", "the head is not signed by the key"),
            Some(signed) if signed.size != self.frontier.size() => {
                let (code, at) =
                    if signed.size > self.frontier.size() { ("head.size", self.frontier.size()) } else { ("leaf.unsigned", signed.size) };
                problem(
                    &mut self.problems,
                    Some(at),
                    code,
                    format!("the signed head is of {} leaves, and {} are there", signed.size, self.frontier.size()),
                );
            }
            Some(signed) if signed.root != self.frontier.root() => {
                self.wrong_root(source, "head.root", "the signed head has another root")?
            }
            Some(_) => {}
        }
        for note in source.checkpoints()? {
            match self.key.open(&note) {
                None => problem(&mut self.problems, None, "checkpoint.signature", "a remembered checkpoint is not signed by the key"),
                Some(signed) => drop(self.is_prefix(&signed, "checkpoint.root")),
            }
        }
        Ok(())
    }

    /// Narrows a wrong root down by the remembered checkpoints: the first leaf after the last one that still holds.
    fn wrong_root(&mut self, source: &Source, code: &'static str, message: &str) -> Result<(), SourceError> {
        let mut good = 0;
        for signed in source.checkpoints()?.iter().filter_map(|note| self.key.open(note)) {
            if self.root_at(signed.size) == Some(signed.root) {
                good = good.max(signed.size);
            }
        }
        let first = self.problems.iter().filter_map(|problem| problem.index).min().map_or(good, |index| index.min(self.frontier.size()));
        problem(&mut self.problems, Some(first), code, format!("{message}; leaves below {good} agree with a signed checkpoint"));
        Ok(())
    }

    fn root_at(&self, size: u64) -> Option<Hash> {
        self.hashes.get(..usize::try_from(size).ok()?).map(tree::root)
    }

    fn is_prefix(&mut self, signed: &Checkpoint, code: &'static str) -> bool {
        match self.root_at(signed.size) {
            Some(root) if root == signed.root => true,
            Some(_) => {
                problem(&mut self.problems, None, code, format!("the checkpoint of {} leaves has another root", signed.size));
                false
            }
            None => {
                let size = self.frontier.size();
                problem(
                    &mut self.problems,
                    Some(size),
                    "log.truncated",
                    format!("a signed checkpoint is of {} leaves, and {size} are there: the tail from {size} on is gone", signed.size),
                );
                false
            }
        }
    }

    fn previous(&mut self, note: Option<&str>) {
        let Some(note) = note else { return };
        match self.key.open(note) {
            None => problem(&mut self.problems, None, "previous.signature", "the previous checkpoint is not signed by the key"),
            Some(signed) => {
                if self.is_prefix(&signed, "previous.root") {
                    self.previous = Some(signed.size);
                }
            }
        }
    }

    fn payloads(&mut self, source: &Source, keys: Option<&Keys>, order: &order::Order) -> Result<(), SourceError> {
        let Some(keys) = keys.filter(|_| source.has_payloads()) else {
            self.unchecked = order.payloads.len() as u64;
            return Ok(());
        };
        for (commit, index) in &order.payloads {
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
            previous: self.previous,
            problems: self.problems,
        }
    }
}
