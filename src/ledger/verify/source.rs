//! Where a log is read from: a store's folder, or an exported log (`leaves.jsonl`, `hashes`, `checkpoints.jsonl`, `checkpoint`, `log.pub`).

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::ledger::keys::Keys;
use crate::ledger::note::VerifierKey;
use crate::ledger::read::{Sealed, sealed};
use crate::ledger::verify::Found;
use crate::ledger::{LEAF_MAX_BYTES, store};

/// The source cannot be read.
#[derive(Debug)]
pub struct SourceError(pub(super) String);

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SourceError {}

impl From<rusqlite::Error> for SourceError {
    fn from(error: rusqlite::Error) -> Self {
        Self(format!("failed to read the store: {error}"))
    }
}

/// A log to verify.
pub enum Source {
    /// A data folder.
    Store {
        /// The folder.
        dir: PathBuf,
        /// Its database.
        connection: Connection,
    },
    /// An exported log's folder.
    Export {
        /// The folder.
        dir: PathBuf,
    },
}

/// The file of leaves of an exported log, one a line.
pub const LEAVES: &str = "leaves.jsonl";
/// The file of their hashes, hexadecimal, one a line; an older export has none.
pub const HASHES: &str = "hashes";
/// The file of remembered checkpoints, each a JSON text, one a line; an older export has none.
pub const CHECKPOINTS: &str = "checkpoints.jsonl";
/// Characters of a hash.
const HASH_MAX_CHARS: usize = 64;
/// The longest line of a checkpoint, in bytes.
const NOTE_MAX_BYTES: usize = 128 * 1024;

/// Lines of a file of an exported log, each of a bounded length.
struct Lines {
    name: &'static str,
    number: u64,
    reader: BufReader<std::fs::File>,
}

impl Lines {
    fn open(dir: &Path, name: &'static str) -> Result<Self, SourceError> {
        let file = std::fs::File::open(dir.join(name)).map_err(|error| SourceError(format!("`{name}`: {error}")))?;
        Ok(Self { name, number: 0, reader: BufReader::new(file) })
    }

    /// The next line without its end.
    fn next(&mut self, max_bytes: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let mut line = Vec::new();
        self.number += 1;
        // One byte more than the longest line and its end: a longer one is told apart without reading it all.
        let read = self.reader.by_ref().take(max_bytes as u64 + 2).read_until(b'\n', &mut line);
        match read.map_err(|error| SourceError(format!("`{}`: {error}", self.name)))? {
            0 => Ok(None),
            _ if line.pop() == Some(b'\n') => Ok(Some(line)),
            _ => Err(SourceError(format!("`{}` line {}: too long, or cut off", self.name, self.number))),
        }
    }
}

impl Source {
    /// Tells which of the two a folder is.
    ///
    /// # Errors
    /// It is neither.
    pub fn open(dir: &Path) -> Result<Self, SourceError> {
        let database = dir.join(store::FILE);
        if database.is_file() {
            let connection = store::open_read_only(&database)?;
            // One transaction for all reads: a broker that records meanwhile cannot make leaves and head disagree.
            connection.execute_batch("BEGIN")?;
            return Ok(Self::Store { dir: dir.to_owned(), connection });
        }
        if dir.join(LEAVES).is_file() {
            return Ok(Self::Export { dir: dir.to_owned() });
        }
        Err(SourceError(format!("`{}` holds neither a store (`{}`) nor an exported log (`{LEAVES}`)", dir.display(), store::FILE)))
    }

    fn text(&self, store: &str, export: &str) -> Option<String> {
        let path = match self {
            Self::Store { dir, .. } => dir.join(store),
            Self::Export { dir } => dir.join(export),
        };
        std::fs::read_to_string(path).ok()
    }

    /// The public key beside the log.
    pub(super) fn verifier(&self) -> Option<VerifierKey> {
        VerifierKey::parse(&self.text("keys/log.pub", "log.pub")?)
    }

    /// The keys, where they are at hand and readable.
    pub(super) fn keys(&self, origin: &str) -> Option<Keys> {
        match self {
            Self::Store { dir, .. } if dir.join("keys").join("payload.key").is_file() => {
                Keys::open_existing(&dir.join("keys"), origin).ok()
            }
            _ => None,
        }
    }

    /// Every leaf in order.
    pub(super) fn each(&mut self, mut take: impl FnMut(Found)) -> Result<(), SourceError> {
        match self {
            Self::Store { connection, .. } => {
                let mut statement = connection.prepare("SELECT idx, id, hash, leaf FROM entry ORDER BY idx")?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let leaf = row.get_ref(3)?.as_bytes().unwrap_or_default().to_vec();
                    take(Found {
                        index: row.get(0)?,
                        id: row.get(1).ok(),
                        hash: Some(row.get_ref(2)?.as_bytes().unwrap_or_default().to_vec()),
                        leaf,
                    });
                }
            }
            Self::Export { dir } => {
                let mut leaves = Lines::open(dir, LEAVES)?;
                let mut hashes = if dir.join(HASHES).is_file() { Some(Lines::open(dir, HASHES)?) } else { None };
                for index in 0.. {
                    let Some(leaf) = leaves.next(LEAF_MAX_BYTES)? else { break };
                    // A hash that is not there is none that fits.
                    let hash = match &mut hashes {
                        Some(hashes) => Some(hashes.next(HASH_MAX_CHARS)?.and_then(|line| hex::decode(line).ok()).unwrap_or_default()),
                        None => None,
                    };
                    take(Found { index, id: None, hash, leaf });
                }
            }
        }
        Ok(())
    }

    /// The signed head.
    pub(super) fn head(&self) -> Result<Option<String>, SourceError> {
        match self {
            Self::Store { connection, .. } => Ok(store::head(connection)?.map(|(_, note, ..)| note)),
            Self::Export { .. } => Ok(self.text("checkpoint", "checkpoint")),
        }
    }

    /// Remembered checkpoints, oldest first, with the size under which each is kept.
    pub(super) fn checkpoints(&self) -> Result<Vec<(Option<u64>, String)>, SourceError> {
        match self {
            Self::Store { connection, .. } => {
                let mut statement = connection.prepare("SELECT size, note FROM checkpoint ORDER BY size")?;
                Ok(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?)
            }
            Self::Export { dir } if dir.join(CHECKPOINTS).is_file() => {
                let (mut lines, mut notes) = (Lines::open(dir, CHECKPOINTS)?, Vec::new());
                while let Some(line) = lines.next(NOTE_MAX_BYTES)? {
                    // A line that is no text is a note that nobody signed.
                    notes.push((None, serde_json::from_slice(&line).unwrap_or_default()));
                }
                Ok(notes)
            }
            Self::Export { .. } => Ok(Vec::new()),
        }
    }

    /// Whether payloads are kept here.
    pub(super) const fn has_payloads(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    /// A payload as it is stored.
    pub(super) fn payload(&self, commit: &str) -> Result<Option<Sealed>, SourceError> {
        match self {
            Self::Store { connection, .. } => Ok(sealed(connection, commit)?),
            Self::Export { .. } => Ok(None),
        }
    }
}
