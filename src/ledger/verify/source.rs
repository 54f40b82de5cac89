//! Where a log is read from: a store's folder, or an exported log (`leaves.jsonl`, `checkpoint`, `log.pub`).

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
const LEAVES: &str = "leaves.jsonl";

impl Source {
    /// Tells which of the two a folder is.
    ///
    /// # Errors
    /// It is neither.
    pub fn open(dir: &Path) -> Result<Self, SourceError> {
        let database = dir.join(store::FILE);
        if database.is_file() {
            let connection = store::open_read_only(&database)?;
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
                let io = |error: std::io::Error| SourceError(format!("`{LEAVES}`: {error}"));
                let mut lines = BufReader::new(std::fs::File::open(dir.join(LEAVES)).map_err(io)?);
                for index in 0.. {
                    let mut line = Vec::new();
                    // One byte more than the longest leaf and its end of line: a longer line is told apart without reading it all.
                    let read = lines.by_ref().take(LEAF_MAX_BYTES as u64 + 2).read_until(b'\n', &mut line).map_err(io)?;
                    if read == 0 {
                        break;
                    }
                    if line.pop() != Some(b'\n') {
                        return Err(SourceError(format!("`{LEAVES}` line {}: too long, or cut off", index + 1)));
                    }
                    take(Found { index, id: None, hash: None, leaf: line });
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

    /// Remembered checkpoints, oldest first.
    pub(super) fn checkpoints(&self) -> Result<Vec<String>, SourceError> {
        match self {
            Self::Store { connection, .. } => {
                let mut statement = connection.prepare("SELECT note FROM checkpoint ORDER BY size")?;
                Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
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
