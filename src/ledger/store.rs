//! The store's file: opening, migrating, and the statements that change it. The only room with SQL of the store, with `read`.
//!
//! WAL and `synchronous = FULL`: a COMMIT that returned is on the disk.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::ledger::payload::SealedPayload;
use crate::ledger::private;
use crate::ledger::row::{Row, Write};

/// The database's file name in the data folder.
pub(super) const FILE: &str = "log.db";

/// Migrations in order; the position (from 1) is `user_version`.
const MIGRATIONS: [&str; 2] = [include_str!("migrations/sqlite/0001_ledger.sql"), include_str!("migrations/sqlite/0002_due.sql")];

/// Statements that are kept prepared.
const STATEMENTS: usize = 64;

/// Opens the database for writing, and brings it up to date.
pub(super) fn open(path: &Path) -> Result<Connection, String> {
    let fail = |error: rusqlite::Error| format!("`{}`: {error}", path.display());
    // SQLite gives the files beside it the mode of the database, so it must be there first; those of an earlier version are put in order.
    let beside = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::path::PathBuf::from(name)
    });
    for file in beside.iter().filter(|file| file.as_path() == path || file.exists()) {
        private::file(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
    }
    let mut connection = Connection::open(path).map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 1000;")
        .map_err(fail)?;
    let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    if version > MIGRATIONS.len() {
        return Err(format!("`{}` was written by a newer version (schema {version}, this one knows {})", path.display(), MIGRATIONS.len()));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction().map_err(fail)?;
        transaction.execute_batch(migration).map_err(fail)?;
        transaction.pragma_update(None, "user_version", index + 1).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(connection)
}

/// Opens the database for reading only.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA query_only = ON;")?;
    Ok(connection)
}

/// What a write came to.
pub(super) enum Wrote {
    /// Done.
    Yes,
    /// The row was in another state.
    Conflict,
}

fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.timestamp_micros())
}

fn insert(transaction: &Connection, row: &Row, or_ignore: bool) -> rusqlite::Result<usize> {
    let sql = if or_ignore {
        "INSERT OR IGNORE INTO row (kind, id, state, key, grp, expires_us, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)"
    } else {
        "INSERT INTO row (kind, id, state, key, grp, expires_us, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)"
    };
    transaction.prepare_cached(sql)?.execute(params![row.kind, row.id, row.state, row.key, row.group, micros(row.expires_at), row.body])
}

/// Live rows of this kind in one of these states with this value of `column` (`key` or `grp`).
fn live(transaction: &Connection, column: &str, row: &Row, value: &str, states: &[String], now: Timestamp) -> rusqlite::Result<u64> {
    let sql =
        format!("SELECT count(*) FROM row WHERE kind = ?1 AND {column} = ?2 AND state = ?3 AND (expires_us IS NULL OR expires_us > ?4)");
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut count = 0;
    for state in states {
        count += statement.query_row(params![row.kind, value, state, now.timestamp_micros()], |row| row.get::<_, u64>(0))?;
    }
    Ok(count)
}

/// Applies one write.
pub(super) fn write(transaction: &Connection, write: &Write, now: Timestamp) -> rusqlite::Result<Wrote> {
    let changed = match write {
        Write::Insert(row) => match insert(transaction, row, false) {
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::ConstraintViolation => 0,
            other => other?,
        },
        Write::Ensure(row) => {
            insert(transaction, row, true)?;
            1
        }
        Write::InsertUnlessKey { row, states, group_max } => {
            let taken = live(transaction, "key", row, &row.key, states, now)? > 0;
            let full = match group_max {
                Some((states, most)) => live(transaction, "grp", row, &row.group, states, now)? >= *most,
                None => false,
            };
            if taken || full { 0 } else { insert(transaction, row, false)? }
        }
        Write::Unless { kind, id, states, live } => {
            let found: Option<(String, Option<i64>)> = transaction
                .prepare_cached("SELECT state, expires_us FROM row WHERE kind = ?1 AND id = ?2")?
                .query_row(params![kind, id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let has_run_out = |until: Option<i64>| *live && until.is_some_and(|until| until <= now.timestamp_micros());
            usize::from(found.is_none_or(|(state, until)| !states.contains(&state) && !has_run_out(until)))
        }
        Write::Move { kind, id, from, to, body } => transaction
            .prepare_cached("UPDATE row SET state = ?1, body = coalesce(?2, body), version = version + 1 WHERE kind = ?3 AND id = ?4 AND state = ?5")?
            .execute(params![to, body, kind, id, from])?,
        Write::MoveIf { kind, id, from, to, version, expires_at, body } => transaction
            .prepare_cached("UPDATE row SET state = ?1, body = ?2, expires_us = ?3, version = version + 1 WHERE kind = ?4 AND id = ?5 AND state = ?6 AND version = ?7")?
            .execute(params![to, body, micros(*expires_at), kind, id, from, version])?,
        Write::Remove { kind, id, from } => {
            transaction.prepare_cached("DELETE FROM row WHERE kind = ?1 AND id = ?2 AND state = ?3")?.execute(params![kind, id, from])?
        }
    };
    Ok(if changed == 0 { Wrote::Conflict } else { Wrote::Yes })
}

/// Stores a payload.
pub(super) fn payload(transaction: &Connection, payload: &SealedPayload) -> rusqlite::Result<()> {
    let reference = &payload.reference;
    transaction
        .prepare_cached("INSERT INTO payload (commitment, role, class, len, ct_sha256) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![reference.commit, reference.role, reference.class, reference.len, reference.ct_sha256])?;
    let mut chunks = transaction.prepare_cached("INSERT INTO payload_chunk (commitment, seq, ciphertext) VALUES (?1, ?2, ?3)")?;
    for (sequence, chunk) in payload.chunks.iter().enumerate() {
        chunks.execute(params![reference.commit, sequence, chunk])?;
    }
    transaction.prepare_cached("INSERT INTO payload_key (commitment, salt, wrapped, kek) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        reference.commit,
        payload.salt,
        payload.wrapped,
        payload.kek
    ])?;
    Ok(())
}

/// Appends a leaf.
pub(super) fn append(transaction: &Connection, index: u64, id: &str, hash: &[u8; 32], leaf: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO entry (idx, id, hash, leaf) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![index, id, hash, leaf])?;
    Ok(())
}

/// The next number of a subject's trail.
pub(super) fn count(transaction: &Connection, subject: &str) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached("INSERT INTO counter (subject, n) VALUES (?1, 1) ON CONFLICT (subject) DO UPDATE SET n = n + 1 RETURNING n")?
        .query_row(params![subject], |row| row.get(0))
}

/// The head as stored: size, signed note, last time, last replica sequence.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Option<(u64, String, String, u64)>> {
    connection
        .query_row("SELECT size, note, ts, rs FROM head WHERE one = 1", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()
}

/// Replaces the head, and keeps the checkpoint if it is to be remembered.
pub(super) fn set_head(transaction: &Connection, size: u64, note: &str, ts: &str, rs: u64, remember: bool) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO head (one, size, note, ts, rs) VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT (one) DO UPDATE SET size = ?1, note = ?2, ts = ?3, rs = ?4")?
        .execute(params![size, note, ts, rs])?;
    if remember {
        transaction.prepare_cached("INSERT OR IGNORE INTO checkpoint (size, note) VALUES (?1, ?2)")?.execute(params![size, note])?;
    }
    Ok(())
}
