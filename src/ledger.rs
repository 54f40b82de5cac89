//! The ledger: leaves in one Merkle log, state rows beside it, one committer for both. A leaf room: it knows bytes and rows, nothing of ours.
//!
//! `commit` is one transaction over leaves, rows and payloads: either all of a change is durable (fsync done) when it answers, or none of it ever
//! will be. State and log cannot disagree, because there is no second write. Any I/O error poisons the ledger: from then on it answers
//! `Unavailable`, and whoever asks must stop (fail closed).

pub mod canonical;
mod commit;
pub mod keys;
pub mod note;
pub mod payload;
pub mod private;
mod read;
mod row;
mod store;
pub mod tree;
pub mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::clock::Clock;
use crate::id::LeafId;

pub use canonical::{NotCanonical, canonical};
pub use keys::{KeyIds, Keys};
pub use payload::{PayloadWriter, SealedPayload};
pub use read::{Entries, Place, Stored};
pub use row::{Row, Write};

/// Where a ledger lives and what it is called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder; made if it is not there, for its owner alone.
    pub dir: PathBuf,
    /// The log's origin, `<organisation>/<log>`, as checkpoints carry it.
    pub origin: String,
}

/// The ledger could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked(PathBuf),
    /// Keys, files or rows are not as they must be.
    Damaged(String),
    /// The file system or the database said no.
    Io(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path) => {
                write!(f, "another broker has the data folder `{}`: stop it first, or choose another folder", path.display())
            }
            Self::Damaged(what) => write!(f, "the ledger does not hold: {what}"),
            Self::Io(what) => write!(f, "failed to open the ledger: {what}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// A change was not committed.
#[derive(Debug)]
pub enum CommitError {
    /// A row was not in the state that the write at this position wanted; nothing was written.
    Conflict {
        /// The position in `writes`.
        write: usize,
    },
    /// A leaf is larger than [`LEAF_MAX_BYTES`], or not in the canonical profile.
    Unfit(String),
    /// The ledger cannot record.
    Unavailable(String),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { write } => write!(f, "the row of write {write} was in another state"),
            Self::Unfit(why) => write!(f, "the leaf cannot be stored: {why}"),
            Self::Unavailable(why) => write!(f, "the ledger cannot record: {why}"),
        }
    }
}

impl std::error::Error for CommitError {}

/// The store could not be read, or a payload not sealed.
#[derive(Debug)]
pub struct StoreError(pub(in crate::ledger) String);

/// The same, where a payload is concerned.
pub type LedgerError = StoreError;

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// The largest leaf, in bytes (a C2SP entry bundle counts in 16 bits).
pub const LEAF_MAX_BYTES: usize = 60_000;

/// The file of a data folder that a broker holds as long as it runs.
pub const LOCK: &str = "lock";

/// Changes that may wait for the committer; more are refused at once.
const QUEUE_MAX: usize = 1_024;
/// Reads at once.
const READERS_MAX: usize = 4;

/// A leaf before it is committed: everything but what the committer assigns (`v`, `t`, `id`, `ts`, `mono`, `boot`, `rep`, `rs`, `an`, `hn`).
#[derive(Debug)]
pub struct Draft {
    kind: &'static str,
    body: Map<String, Value>,
    agent: Option<String>,
    human: Option<String>,
}

impl Draft {
    /// A leaf of type `kind`.
    #[must_use]
    pub const fn new(kind: &'static str, body: Map<String, Value>) -> Self {
        Self { kind, body, agent: None, human: None }
    }

    /// With this member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.body.insert(name.to_owned(), value);
        self
    }

    /// Counts in the trail of this agent.
    #[must_use]
    pub fn of_agent(mut self, agent: String) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Counts in the trail of this human.
    #[must_use]
    pub fn of_human(mut self, human: String) -> Self {
        self.human = Some(human);
        self
    }
}

/// What becomes durable together.
#[derive(Debug, Default)]
pub struct Change {
    /// Leaves, in order.
    pub leaves: Vec<Draft>,
    /// State rows, in order.
    pub writes: Vec<Write>,
    /// Payloads that the leaves refer to.
    pub payloads: Vec<SealedPayload>,
}

/// A durably assigned place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's id.
    pub id: LeafId,
    /// Its index, from 0.
    pub index: u64,
    /// Its hash (RFC 6962 leaf hash).
    pub leaf_hash: [u8; 32],
}

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// One a leaf.
    pub receipts: Vec<Receipt>,
}

type Job = (Change, oneshot::Sender<Result<Committed, CommitError>>);

/// A handle to the ledger. Cheap to clone; the committer stops when the last one is dropped.
#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

struct Shared {
    origin: String,
    database: PathBuf,
    keys: Keys,
    readers: Semaphore,
    /// Held as long as the ledger is open: a second broker on the same data is refused.
    _lock: std::fs::File,
}

impl Ledger {
    /// Opens the ledger in a folder, or makes one; replays it and starts the committer.
    ///
    /// # Errors
    /// Another broker has it, or anything in it does not hold.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, OpenError> {
        let Settings { dir, origin } = settings;
        private::dir(&dir, LOCK).map_err(|error| OpenError::Io(format!("`{}`: {error}", dir.display())))?;
        let lock = lock(&dir)?;
        let database = dir.join(store::FILE);
        let keys_dir = dir.join("keys");
        // A log without its keys, or keys without their log, is no fresh start: somebody removed the other half.
        let keys = match (database.exists(), keys_dir.join("log.key").exists()) {
            (false, false) => Keys::open(&keys_dir, &origin),
            (true, true) => Keys::open_existing(&keys_dir, &origin),
            (true, false) => Err(format!("there is a log, but no key `{}`", keys_dir.join("log.key").display())),
            (false, true) => Err(format!("there are keys, but no log `{}`", database.display())),
        }
        .map_err(OpenError::Damaged)?;
        let committer = commit::Committer::open(&database, &origin, keys.clone(), clock)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || committer.run(queue))
            .map_err(|error| OpenError::Io(error.to_string()))?;
        let shared = Shared { origin, database, keys, readers: Semaphore::new(READERS_MAX), _lock: lock };
        Ok(Self { jobs, shared: Arc::new(shared) })
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The keys, for digests and pseudonyms; key bytes never leave them.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// Makes a change durable, or nothing of it.
    ///
    /// # Errors
    /// See [`CommitError`]. A full queue is `Unavailable`.
    pub async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let (answer, outcome) = oneshot::channel();
        self.jobs.try_send((change, answer)).map_err(|error| {
            CommitError::Unavailable(match error {
                mpsc::error::TrySendError::Full(_) => format!("{QUEUE_MAX} changes wait already"),
                mpsc::error::TrySendError::Closed(_) => "the committer has stopped".to_owned(),
            })
        })?;
        outcome.await.unwrap_or_else(|_| Err(CommitError::Unavailable("the committer has stopped".to_owned())))
    }

    /// A writer for a payload of this role (`request`, `result`) and retention class.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn payload(&self, role: &'static str, class: &'static str) -> Result<PayloadWriter, StoreError> {
        PayloadWriter::new(&self.shared.keys, role, class)
    }

    /// A payload that is there as a whole.
    ///
    /// # Errors
    /// As with [`Self::payload`], and where it is too large.
    pub fn sealed(&self, role: &'static str, class: &'static str, bytes: &[u8]) -> Result<SealedPayload, StoreError> {
        let mut writer = self.payload(role, class)?;
        writer.push(bytes)?;
        writer.finish()
    }
}

/// 32 random bytes, for a commitment.
///
/// # Errors
/// The system has no randomness to give.
pub fn salt() -> Result<[u8; 32], StoreError> {
    use aws_lc_rs::rand::{SecureRandom, SystemRandom};
    let mut salt = [0_u8; 32];
    SystemRandom::new().fill(&mut salt).map_err(|_| StoreError("no randomness".to_owned()))?;
    Ok(salt)
}

fn lock(dir: &Path) -> Result<std::fs::File, OpenError> {
    let path = dir.join(LOCK);
    let io = |error: std::io::Error| OpenError::Io(format!("`{}`: {error}", path.display()));
    private::file(&path).map_err(io)?;
    let file = std::fs::OpenOptions::new().write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(OpenError::Io(format!("`{}`: {error}", path.display()))),
    }
}
