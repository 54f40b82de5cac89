//! The committer: one thread, one connection, group commit. Whoever awaits its answer knows that the change is on the disk.
//!
//! Takes whatever is queued (at most 256 changes), applies each within a savepoint, signs the new head, and commits once. A conflict undoes one
//! change; any other error undoes the batch and poisons the ledger: after a failed fsync nobody can say what is on the disk, so it must be read
//! again from there by a new process.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp, rfc3339};
use crate::id::LeafId;
use crate::ledger::canonical::canonical;
use crate::ledger::keys::Keys;
use crate::ledger::note::Checkpoint;
use crate::ledger::store::{self, Wrote};
use crate::ledger::tree::{Frontier, leaf_hash};
use crate::ledger::{Change, CommitError, Committed, Draft, Job, LEAF_MAX_BYTES, OpenError, Receipt};

/// Changes in one transaction.
const BATCH_MAX: usize = 256;
/// Checkpoints are remembered at most this often.
const REMEMBER_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Owns the head.
pub(super) struct Committer {
    connection: Connection,
    state: State,
    origin: String,
    keys: Keys,
    clock: Clock,
    boot: String,
    started: Instant,
    remembered: Option<Instant>,
    poisoned: Option<String>,
}

/// What a transaction moves forward, and a rollback takes back.
#[derive(Clone)]
struct State {
    frontier: Frontier,
    ts: Timestamp,
    rs: u64,
}

/// Why a change was not applied.
enum Failed {
    Change(CommitError),
    Store(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

impl Committer {
    /// Opens the store, replays the log and checks it against its signed head.
    pub(super) fn open(path: &Path, origin: &str, keys: Keys, clock: Clock) -> Result<Self, OpenError> {
        let connection = store::open(path).map_err(OpenError::Io)?;
        let state = replay(&connection, &keys)?;
        let (now, lasting) = (clock.now(), clock.not_before(state.ts));
        if lasting > now + chrono::TimeDelta::minutes(1) {
            tracing::warn!(
                last_leaf = rfc3339(lasting),
                system = rfc3339(now),
                "the log's last leaf is later than the system's clock; time goes on from there"
            );
        }
        let boot = ulid::Ulid::generate().to_string();
        Ok(Self {
            connection,
            state,
            origin: origin.to_owned(),
            keys,
            clock,
            boot,
            started: Instant::now(),
            remembered: None,
            poisoned: None,
        })
    }

    /// Works until the last handle is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            self.commit(batch);
        }
    }

    fn commit(&mut self, batch: Vec<Job>) {
        let (changes, answers): (Vec<Change>, Vec<oneshot::Sender<_>>) = batch.into_iter().unzip();
        let outcomes = match &self.poisoned {
            Some(why) => Err(why.clone()),
            None => self.transact(changes).map_err(|error| error.to_string()),
        };
        match outcomes {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Whoever asked may be gone; the change is durable all the same.
                    drop(answer.send(outcome));
                }
            }
            Err(why) => {
                self.poisoned = Some(why.clone());
                for answer in answers {
                    drop(answer.send(Err(CommitError::Unavailable(why.clone()))));
                }
            }
        }
    }

    fn transact(&mut self, changes: Vec<Change>) -> rusqlite::Result<Vec<Result<Committed, CommitError>>> {
        let mut next = self.state.clone();
        next.ts = next.ts.max(self.clock.now());
        let before = next.frontier.size();
        let stamp = Stamp { boot: &self.boot, mono: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX).min(1 << 52) };
        let mut transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            let mut tentative = next.clone();
            let mut savepoint = transaction.savepoint()?;
            match apply(&savepoint, &mut tentative, &stamp, change) {
                Ok(committed) => {
                    savepoint.commit()?;
                    next = tentative;
                    outcomes.push(Ok(committed));
                }
                Err(Failed::Change(error)) => {
                    savepoint.rollback()?;
                    savepoint.commit()?;
                    outcomes.push(Err(error));
                }
                Err(Failed::Store(error)) => return Err(error),
            }
        }
        let remember = self.remembered.is_none_or(|at| at.elapsed() >= REMEMBER_EVERY);
        if next.frontier.size() > before {
            let checkpoint = Checkpoint { origin: self.origin.clone(), size: next.frontier.size(), root: next.frontier.root() };
            store::set_head(&transaction, checkpoint.size, &self.keys.sign(&checkpoint), &rfc3339(next.ts), next.rs, remember)?;
        }
        transaction.commit()?;
        if remember {
            self.remembered = Some(Instant::now());
        }
        self.state = next;
        Ok(outcomes)
    }
}

struct Stamp<'a> {
    boot: &'a str,
    mono: u64,
}

fn apply(savepoint: &rusqlite::Savepoint<'_>, state: &mut State, stamp: &Stamp<'_>, change: Change) -> Result<Committed, Failed> {
    for (position, write) in change.writes.iter().enumerate() {
        if matches!(store::write(savepoint, write, state.ts)?, Wrote::Conflict) {
            return Err(Failed::Change(CommitError::Conflict { write: position }));
        }
    }
    for payload in &change.payloads {
        store::payload(savepoint, payload)?;
    }
    let mut receipts = Vec::with_capacity(change.leaves.len());
    for draft in change.leaves {
        receipts.push(append(savepoint, state, stamp, draft)?);
    }
    Ok(Committed { receipts })
}

fn append(savepoint: &rusqlite::Savepoint<'_>, state: &mut State, stamp: &Stamp<'_>, draft: Draft) -> Result<Receipt, Failed> {
    let unfit = |why: String| Failed::Change(CommitError::Unfit(why));
    let Draft { kind, body, agent, human } = draft;
    let id = LeafId::mint();
    state.rs += 1;
    let mut leaf: Map<String, Value> = body;
    for (name, value) in [
        ("v", Value::from(1)),
        ("t", Value::from(kind)),
        ("id", Value::from(id.as_str())),
        ("ts", Value::from(rfc3339(state.ts))),
        ("mono", Value::from(stamp.mono)),
        ("boot", Value::from(stamp.boot)),
        ("rep", Value::from("0")),
        ("rs", Value::from(state.rs)),
    ] {
        leaf.insert(name.to_owned(), value);
    }
    if let Some(agent) = agent {
        leaf.insert("an".to_owned(), Value::from(store::count(savepoint, &agent)?));
    }
    if let Some(human) = human {
        leaf.insert("hn".to_owned(), Value::from(store::count(savepoint, &human)?));
    }
    let bytes = canonical(&Value::Object(leaf)).map_err(|error| unfit(error.to_string()))?;
    if bytes.len() > LEAF_MAX_BYTES {
        return Err(unfit(format!("it has {} bytes, and {LEAF_MAX_BYTES} are the most", bytes.len())));
    }
    let text = String::from_utf8(bytes).map_err(|error| unfit(error.to_string()))?;
    let hash = leaf_hash(text.as_bytes());
    let index = state.frontier.size();
    store::append(savepoint, index, id.as_str(), &hash, &text)?;
    state.frontier.push(hash);
    Ok(Receipt { id, index, leaf_hash: hash })
}

/// Reads the whole log once: what it signs next must grow from what it signed last (a chain that restarted silently would not be noticed later).
fn replay(connection: &Connection, keys: &Keys) -> Result<State, OpenError> {
    let io = |error: rusqlite::Error| OpenError::Io(error.to_string());
    let mut frontier = Frontier::default();
    let mut statement = connection.prepare("SELECT idx, hash, leaf FROM entry ORDER BY idx").map_err(io)?;
    let mut rows = statement.query([]).map_err(io)?;
    while let Some(row) = rows.next().map_err(io)? {
        let damaged = |what: &str| OpenError::Damaged(format!("leaf {}: {what}", frontier.size()));
        let index: u64 = row.get(0).map_err(io)?;
        let stored: [u8; 32] = row.get(1).map_err(|_| damaged("its stored hash is none"))?;
        let leaf = row.get_ref(2).map_err(io)?;
        let leaf = leaf.as_bytes().map_err(|_| damaged("its bytes are not there"))?;
        if index != frontier.size() {
            return Err(damaged("it is missing"));
        }
        let hash = leaf_hash(leaf);
        if hash != stored {
            return Err(damaged("its bytes are not those that were hashed"));
        }
        frontier.push(hash);
    }
    let Some((size, note, ts, rs)) = store::head(connection).map_err(io)? else {
        return if frontier.size() == 0 {
            Ok(State { frontier, ts: Timestamp::UNIX_EPOCH, rs: 0 })
        } else {
            Err(OpenError::Damaged("there are leaves but no signed head".to_owned()))
        };
    };
    let signed = keys
        .verifier()
        .open(&note)
        .ok_or_else(|| OpenError::Damaged("the head is not signed by this ledger's key under this origin".to_owned()))?;
    if signed.size != size || signed.size != frontier.size() || signed.root != frontier.root() {
        return Err(OpenError::Damaged(format!(
            "the signed head is of {} leaves, and the {} leaves that are there have another root",
            signed.size,
            frontier.size()
        )));
    }
    let ts = ts.parse().map_err(|_| OpenError::Damaged("the head has no time".to_owned()))?;
    Ok(State { frontier, ts, rs })
}
