//! Reading: rows, leaves, payloads and the head, on connections of their own, so that readers never wait for the committer.

use std::sync::{Mutex, PoisonError};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::clock::Timestamp;
use crate::ledger::row::Row;
use crate::ledger::tree::Hash;
use crate::ledger::{Ledger, StoreError, payload, store};

/// A stored leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its index.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its bytes, canonical JSON.
    pub leaf: String,
}

/// Which leaves. Every field that is set must fit; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Of this call.
    pub call: Option<String>,
    /// In the trail of this agent (opaque id).
    pub agent: Option<String>,
    /// In the trail of this human (opaque id).
    pub human: Option<String>,
    /// About this request for approval.
    pub approval: Option<String>,
    /// Of this run (opaque id).
    pub run: Option<String>,
    /// Of this type.
    pub kind: Option<String>,
    /// With this tool.
    pub tool: Option<String>,
    /// On this target.
    pub target: Option<String>,
    /// With this outcome: `ok`, `error`, `denied`, `approval_pending`, `cancelled`, `unresolved`, …
    pub status: Option<String>,
    /// At this risk or above, 1 to 4.
    pub risk: Option<u8>,
    /// Not before.
    pub after: Option<String>,
    /// Before.
    pub before: Option<String>,
    /// Below this index: the next page.
    pub below: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Leaves that one page holds at most.
const PAGE_MAX: usize = 1_000;

/// Where a row is, for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(i64);

/// Idle read connections of this process, by database.
static IDLE: Mutex<Vec<(std::path::PathBuf, Connection)>> = Mutex::new(Vec::new());

impl Ledger {
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let fail = |error: &dyn std::fmt::Display| StoreError(format!("failed to read the store: {error}"));
        let _turn = self.shared.readers.acquire().await.map_err(|error| fail(&error))?;
        let path = self.shared.database.clone();
        tokio::task::spawn_blocking(move || {
            let idle = {
                let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
                idle.iter().position(|(of, _)| *of == path).map(|index| idle.swap_remove(index).1)
            };
            let connection = match idle {
                Some(connection) => connection,
                None => store::open_read_only(&path)?,
            };
            let found = work(&connection)?;
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push((path, connection));
            Ok(found)
        })
        .await
        .map_err(|error| fail(&error))?
        .map_err(|error: rusqlite::Error| fail(&error))
    }

    /// One row.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, kind: &str, id: &str) -> Result<Option<Row>, StoreError> {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        self.read(move |connection| {
            connection.prepare_cached(&format!("{ROW} WHERE kind = ?1 AND id = ?2"))?.query_row(params![kind, id], row).optional()
        })
        .await
    }

    /// The newest rows with this key, oldest first; at most 256.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn by_key(&self, kind: &str, key: &str) -> Result<Vec<Row>, StoreError> {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT * FROM ({ROW_SEQ} WHERE kind = ?1 AND key = ?2 AND key <> '' ORDER BY seq DESC LIMIT {KEY_MAX}) ORDER BY seq"
                ))?
                .query_map(params![kind, key], row)?
                .collect()
        })
        .await
    }

    /// The newest rows of a group in these states, newest first; at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn by_group(&self, kind: &str, group: &str, states: &[&str], limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut values = vec![Sql::from(kind.to_owned()), Sql::from(group.to_owned())];
        values.extend(states.iter().map(|state| Sql::from((*state).to_owned())));
        values.push(Sql::from(i64::try_from(limit).unwrap_or(i64::MAX)));
        let marks = vec!["?"; states.len()].join(", ");
        let sql = format!("{ROW} WHERE kind = ? AND grp = ? AND grp <> '' AND state IN ({marks}) ORDER BY seq DESC LIMIT ?");
        self.read(move |connection| connection.prepare_cached(&sql)?.query_map(params_from_iter(values), row)?.collect()).await
    }

    /// How many rows of a group are in a state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count(&self, kind: &str, group: &str, state: &str) -> Result<u64, StoreError> {
        let values = [kind.to_owned(), group.to_owned(), state.to_owned()];
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT count(*) FROM row WHERE kind = ?1 AND grp = ?2 AND state = ?3 AND grp <> ''")?
                .query_row(params_from_iter(values), |row| row.get(0))
        })
        .await
    }

    /// The newest rows of a kind in these states, oldest first; at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, kind: &str, states: &[&str], limit: usize) -> Result<Vec<Row>, StoreError> {
        let kind = kind.to_owned();
        let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
        self.read(move |connection| {
            let marks = vec!["?"; states.len()].join(", ");
            let sql = format!("SELECT * FROM ({ROW_SEQ} WHERE kind = ? AND state IN ({marks}) ORDER BY seq DESC LIMIT ?) ORDER BY seq");
            let mut values: Vec<Sql> = vec![Sql::from(kind)];
            values.extend(states.into_iter().map(Sql::from));
            values.push(Sql::from(i64::try_from(limit).unwrap_or(i64::MAX)));
            connection.prepare_cached(&sql)?.query_map(params_from_iter(values), row)?.collect()
        })
        .await
    }

    /// Where the newest rows of a kind in these states are, newest first; at most `limit`. A place is a few bytes, so that many rows can be gone through
    /// [a part at a time](Self::at) while others come and go.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn places(&self, kind: &str, states: &[&str], limit: usize) -> Result<Vec<Place>, StoreError> {
        let mut values = vec![Sql::from(kind.to_owned())];
        values.extend(states.iter().map(|state| Sql::from((*state).to_owned())));
        values.push(Sql::from(i64::try_from(limit).unwrap_or(i64::MAX)));
        let marks = vec!["?"; states.len()].join(", ");
        let sql = format!("SELECT seq FROM row WHERE kind = ? AND state IN ({marks}) ORDER BY seq DESC LIMIT ?");
        self.read(move |connection| {
            connection.prepare_cached(&sql)?.query_map(params_from_iter(values), |row| row.get(0).map(Place))?.collect()
        })
        .await
    }

    /// Where a row is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn place(&self, kind: &str, id: &str) -> Result<Option<Place>, StoreError> {
        let values = [Sql::from(kind.to_owned()), Sql::from(id.to_owned())];
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT seq FROM row WHERE kind = ? AND id = ?")?
                .query_row(params_from_iter(values), |row| row.get(0).map(Place))
                .optional()
        })
        .await
    }

    /// The rows at these places as they are now, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn at(&self, places: &[Place]) -> Result<Vec<Row>, StoreError> {
        let values: Vec<i64> = places.iter().map(|Place(seq)| *seq).collect();
        let sql = format!("{ROW} WHERE seq IN ({}) ORDER BY seq DESC", vec!["?"; values.len()].join(", "));
        self.read(move |connection| connection.prepare_cached(&sql)?.query_map(params_from_iter(values), row)?.collect()).await
    }

    /// Rows of a group in this state whose time has come, the one that has waited longest first; at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn due(&self, kind: &str, group: &str, state: &str, now: Timestamp, limit: usize) -> Result<Vec<Row>, StoreError> {
        let (kind, group, state) = (kind.to_owned(), group.to_owned(), state.to_owned());
        self.read(move |connection| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            connection
                .prepare_cached(&format!("{ROW} {DUE} AND expires_us <= ?4 ORDER BY expires_us LIMIT ?5"))?
                .query_map(params![kind, group, state, now.timestamp_micros(), limit], row)?
                .collect()
        })
        .await
    }

    /// When the next row of a group in this state will be due.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next_due(&self, kind: &str, group: &str, state: &str) -> Result<Option<Timestamp>, StoreError> {
        let (kind, group, state) = (kind.to_owned(), group.to_owned(), state.to_owned());
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("SELECT min(expires_us) FROM row {DUE}"))?
                .query_row(params![kind, group, state], |row| row.get::<_, Option<i64>>(0))
        })
        .await
        .map(|micros| micros.and_then(Timestamp::from_timestamp_micros))
    }

    /// How many rows of a kind each group has in each state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn tally(&self, kind: &str) -> Result<Vec<(String, String, u64)>, StoreError> {
        let kind = kind.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT grp, state, count(*) FROM row WHERE kind = ?1 AND grp <> '' GROUP BY grp, state")?
                .query_map(params![kind], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })
        .await
    }

    /// Leaves, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn entries(&self, which: Entries) -> Result<Vec<Stored>, StoreError> {
        self.read(move |connection| {
            let (sql, values) = select(which);
            connection
                .prepare_cached(&sql)?
                .query_map(params_from_iter(values), |row| Ok(Stored { index: row.get(0)?, hash: row.get(1)?, leaf: row.get(2)? }))?
                .collect()
        })
        .await
    }

    /// Leaves as they are stored, oldest first, from an index on; at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read(move |connection| {
            let limit = i64::try_from(limit.min(PAGE_MAX)).unwrap_or_default();
            connection
                .prepare_cached("SELECT leaf FROM entry WHERE idx >= ?1 ORDER BY idx LIMIT ?2")?
                .query_map(params![from, limit], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Remembered checkpoints of more leaves than `above`, smallest first; at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoints(&self, above: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read(move |connection| {
            let limit = i64::try_from(limit.min(PAGE_MAX)).unwrap_or_default();
            connection
                .prepare_cached("SELECT note FROM checkpoint WHERE size > ?1 ORDER BY size LIMIT ?2")?
                .query_map(params![above, limit], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// The signed head, a C2SP checkpoint; `None` for an empty log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        self.read(|connection| Ok(store::head(connection)?.map(|(_, note, ..)| note))).await
    }

    /// A payload's plaintext, checked against its commitment; `None` if it was erased.
    ///
    /// # Errors
    /// The store cannot be read, or the payload is not what was committed to.
    pub async fn open_payload(&self, commit: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = commit.to_owned();
        let stored = self.read(move |connection| sealed(connection, &name)).await?;
        let Some((salt, wrapped, chunks)) = stored else { return Ok(None) };
        payload::open(self.keys(), commit, &salt, &wrapped, chunks)
            .map(Some)
            .map_err(|broken| StoreError(format!("the payload `{commit}` does not hold: {broken:?}")))
    }
}

/// A payload's salt, wrapped key and chunks.
pub(super) type Sealed = (Vec<u8>, Vec<u8>, Vec<Vec<u8>>);

/// A payload as it is stored; `None` without its key.
pub(super) fn sealed(connection: &Connection, commit: &str) -> rusqlite::Result<Option<Sealed>> {
    let key: Option<(Vec<u8>, Vec<u8>)> = connection
        .prepare_cached("SELECT salt, wrapped FROM payload_key WHERE commitment = ?1")?
        .query_row(params![commit], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((salt, wrapped)) = key else { return Ok(None) };
    let chunks: Vec<Vec<u8>> = connection
        .prepare_cached("SELECT ciphertext FROM payload_chunk WHERE commitment = ?1 ORDER BY seq")?
        .query_map(params![commit], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some((salt, wrapped, chunks)))
}

/// Rows with one key that are read at once.
const KEY_MAX: usize = 256;
const ROW: &str = "SELECT kind, id, state, key, grp, expires_us, version, body FROM row";
/// As the index of rows that wait for their time has it.
const DUE: &str = "WHERE kind = ?1 AND grp = ?2 AND grp <> '' AND state = ?3 AND expires_us IS NOT NULL";
const ROW_SEQ: &str = "SELECT kind, id, state, key, grp, expires_us, version, body, seq FROM row";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        kind: row.get(0)?,
        id: row.get(1)?,
        state: row.get(2)?,
        key: row.get(3)?,
        group: row.get(4)?,
        expires_at: row.get::<_, Option<i64>>(5)?.and_then(Timestamp::from_timestamp_micros),
        version: row.get(6)?,
        body: row.get(7)?,
    })
}

fn select(which: Entries) -> (String, Vec<Sql>) {
    let mut sql = "SELECT idx, hash, leaf FROM entry WHERE 1 = 1".to_owned();
    let mut values = Vec::new();
    let mut and = |condition: &str, value: Option<Sql>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    };
    let text = |text: Option<String>| text.map(Sql::from);
    and("json_extract(leaf, '$.call') = ?", text(which.call));
    and("json_extract(leaf, '$.agent.id') = ?", text(which.agent));
    and("json_extract(leaf, '$.human.sub_id') = ?", text(which.human));
    and("json_extract(leaf, '$.appr.id') = ?", text(which.approval));
    and("json_extract(leaf, '$.run') = ?", text(which.run));
    and("json_extract(leaf, '$.t') = ?", text(which.kind));
    and("json_extract(leaf, '$.tool.name') = ?", text(which.tool));
    and("json_extract(leaf, '$.target.id') = ?", text(which.target));
    and("json_extract(leaf, '$.res.status') = ?", text(which.status));
    and("json_extract(leaf, '$.policy.risk') >= ?", which.risk.map(|risk| Sql::from(i64::from(risk))));
    and("json_extract(leaf, '$.ts') >= ?", text(which.after));
    and("json_extract(leaf, '$.ts') < ?", text(which.before));
    and("idx < ?", which.below.map(|below| Sql::from(i64::try_from(below).unwrap_or(i64::MAX))));
    sql.push_str(" ORDER BY idx DESC LIMIT ?");
    values.push(Sql::from(i64::try_from(which.limit.min(PAGE_MAX)).unwrap_or(0)));
    (sql, values)
}
