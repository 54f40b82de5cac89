//! SQLite targets: a file, opened read-only for what reads. SQLite blocks, so the work runs on a blocking thread, and an interrupt stops it.
//!
//! No statement of an agent reaches a connection unless it was parsed; on top of that the connection cannot attach, cannot write when it reads,
//! does not trust functions in the schema, and has limits on lengths and depth.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, InterruptHandle, OpenFlags, params_from_iter};
use serde_json::Value;

use crate::audit::Permit;
use crate::call::{Bound, Limits};
use crate::connector::schema::Gatherer;
use crate::connector::{Failed, Meter, Out, check_affected, failure, objects, value};
use crate::mask::{Column, Done, Piece};
use crate::operation::Operation;
use crate::operation::sql::{BaseColumn, Count, Engine, Lineage, Mode, Param, Preview, Relation, Schema, Sql, Statement};
use crate::refusal::{Code, Refusal};

/// Idle read connections that are kept.
const IDLE_MAX: usize = 8;
/// How long a writer waits for another.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes of the longest value.
const VALUE_MAX: i32 = 64 << 20;

/// A SQLite target.
pub(super) struct Sqlite {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// Why a running statement is being stopped.
const RUNNING: u8 = 0;
const CANCELLED: u8 = 1;
const TIMED_OUT: u8 = 2;

impl Sqlite {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Arc::new(Mutex::new(Vec::new())) }
    }

    /// Runs the permit's operation.
    pub(super) async fn run(&self, permit: &Permit, out: &Out) -> Result<Done, Failed> {
        let call = permit.call();
        let writes = matches!(&call.operation, Operation::Sql(Sql { mode: Mode::Execute, .. }));
        let connection = self.connection(writes).await?;
        let handle = connection.get_interrupt_handle();
        let why = Arc::new(AtomicU8::new(RUNNING));
        let (operation, limits, shown, out) = (call.operation.clone(), call.limits, permit.max_affected(), out.clone());
        let work = tokio::task::spawn_blocking(move || {
            let outcome = perform(&connection, &operation, limits, shown, &out);
            (outcome, connection)
        });
        let guard = watch(handle, Arc::clone(&why), limits.timeout, call.line.gone.clone());
        let joined = work.await;
        guard.abort();
        let (outcome, connection) = joined.map_err(|error| Refusal::new(Code::TargetFailed).cause(error))?;
        if !writes && outcome.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        outcome.map_err(|refusal| match (refusal.code(), why.load(Ordering::SeqCst)) {
            // The statement came back interrupted: nothing of it runs any more.
            (Code::TargetCancelled, TIMED_OUT) => Failed {
                refusal: Refusal::new(Code::TargetTimeout).detail(format!("after {} ms", limits.timeout.as_millis())),
                stopped: Some(true),
                is_login: false,
            },
            (Code::TargetCancelled, _) => Failed { stopped: Some(true), ..refusal.into() },
            _ => Failed::from(refusal),
        })
    }

    async fn connection(&self, writes: bool) -> Result<Connection, Refusal> {
        if !writes && let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || open(&path, writes))
            .await
            .map_err(|error| Refusal::new(Code::TargetUnreachable).cause(error))?
            .map_err(|error| failure::sqlite(&error))
    }
}

fn watch(
    handle: InterruptHandle,
    why: Arc<AtomicU8>,
    timeout: Duration,
    gone: tokio_util::sync::CancellationToken,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let cause = tokio::select! {
            () = tokio::time::sleep(timeout) => TIMED_OUT,
            () = gone.cancelled() => CANCELLED,
        };
        why.store(cause, Ordering::SeqCst);
        // An interrupt stops what runs, and nothing that starts after it: say it until the work is over.
        loop {
            handle.interrupt();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

fn open(path: &Path, writes: bool) -> rusqlite::Result<Connection> {
    let mode = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    // Neither CREATE nor URI: a missing file is an error, and a name is a name.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_MAX),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 200_000),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.execute_batch(if writes { "PRAGMA foreign_keys = ON;" } else { "PRAGMA query_only = ON;" })?;
    Ok(connection)
}

fn perform(connection: &Connection, operation: &Operation, limits: Limits, shown: Option<u64>, out: &Out) -> Result<Done, Refusal> {
    match operation {
        Operation::Sql(sql) if sql.mode == Mode::Query => within(connection, "BEGIN", || query(connection, sql, limits, out)),
        Operation::Sql(sql) => execute(connection, sql, limits, shown, out),
        Operation::SqlPreview(preview) => within(connection, "BEGIN", || self::preview(connection, preview, limits, out)),
        Operation::SqlObjects(wanted) => within(connection, "BEGIN", || {
            let document = objects::sqlite(connection, wanted)?;
            give(out, Piece::Document(document))?;
            Ok(Done::default())
        }),
        Operation::Local(_) | Operation::Kube(_) | Operation::KubePreview(_) | Operation::Ssh(_) | Operation::SshPreview(_) => {
            Err(Refusal::new(Code::TargetFailed).cause("an operation of another kind of target"))
        }
    }
}

fn fail(error: rusqlite::Error) -> Refusal {
    failure::sqlite(&error)
}

fn give(out: &Out, piece: Piece) -> Result<(), Refusal> {
    out.blocking_send(piece).map_err(|_| Refusal::new(Code::MaskFailed).cause("nobody reads the stream"))
}

/// One transaction around a look, so that catalogue and data are of one moment.
fn within<T>(connection: &Connection, begin: &str, work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    connection.execute_batch(begin).map_err(fail)?;
    let outcome = work();
    connection.execute_batch("ROLLBACK").map_err(fail)?;
    outcome
}

fn query(connection: &Connection, sql: &Sql, limits: Limits, out: &Out) -> Result<Done, Refusal> {
    let lineage = lineage(connection, &sql.statement)?;
    let mut statement = connection.prepare_cached(sql.statement.text()).map_err(|error| failure::sqlite_prepared(&error))?;
    if !statement.readonly() {
        return Err(Refusal::new(Code::NotRead).detail("SQLite says that it writes"));
    }
    give(out, Piece::Header { columns: columns(&statement), lineage })?;
    let width = statement.column_count();
    let mut meter = Meter::new(limits);
    let mut rows = statement.query(params_from_iter(sql.params.iter().map(bound))).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let row = (0..width).map(|index| row.get_ref(index).map(decoded)).collect::<rusqlite::Result<Vec<_>>>().map_err(fail)?;
        if !meter.takes(&row) {
            return meter.cut();
        }
        give(out, Piece::Row(row))?;
    }
    Ok(Done::default())
}

fn execute(connection: &Connection, sql: &Sql, limits: Limits, shown: Option<u64>, out: &Out) -> Result<Done, Refusal> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
    let outcome = change(connection, sql, limits, shown);
    match outcome {
        Ok((pieces, done)) => {
            connection.execute_batch("COMMIT").map_err(fail)?;
            // Rows of RETURNING are told only once they are true.
            for piece in pieces {
                give(out, piece)?;
            }
            Ok(done)
        }
        Err(refusal) => {
            // SQLite may have rolled back by itself already.
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK").map_err(fail)?;
            }
            Err(refusal)
        }
    }
}

fn change(connection: &Connection, sql: &Sql, limits: Limits, shown: Option<u64>) -> Result<(Vec<Piece>, Done), Refusal> {
    let lineage = lineage(connection, &sql.statement)?;
    let mut statement = connection.prepare(sql.statement.text()).map_err(|error| failure::sqlite_prepared(&error))?;
    let mut pieces = Vec::new();
    let mut truncated = false;
    let counts = sql.statement.counts_rows();
    if let Some(again) = shown.and_then(|_| sql.recount()) {
        check_affected(count(connection, &again)?, None, shown)?;
    }
    let before = connection.total_changes();
    if sql.statement.returns_rows() {
        pieces.push(Piece::Header { columns: columns(&statement), lineage });
        let width = statement.column_count();
        let mut meter = Meter::new(limits);
        let mut rows = statement.query(params_from_iter(sql.params.iter().map(bound))).map_err(fail)?;
        // Read to the end: the change is complete only then.
        while let Some(row) = rows.next().map_err(fail)? {
            let row = (0..width).map(|index| row.get_ref(index).map(decoded)).collect::<rusqlite::Result<Vec<_>>>().map_err(fail)?;
            if !truncated && meter.takes(&row) {
                pieces.push(Piece::Row(row));
            } else {
                truncated = true;
            }
        }
    } else {
        statement.execute(params_from_iter(sql.params.iter().map(bound))).map_err(fail)?;
    }
    let affected = if counts { connection.changes() } else { connection.total_changes().saturating_sub(before) };
    if counts {
        check_affected(affected, sql.expect_max_rows, shown)?;
    }
    Ok((pieces, Done { affected_rows: counts.then_some(affected), truncated, ..Done::default() }))
}

fn preview(connection: &Connection, preview: &Preview, limits: Limits, out: &Out) -> Result<Done, Refusal> {
    let rows = match &preview.count {
        Count::Known(rows) => *rows,
        Count::Query(sql) => count(connection, sql)?,
    };
    if let Some(sample) = &preview.sample {
        query(connection, sample, limits, out)?;
    }
    Ok(Done { preview: Some(Bound { rows: Some(rows), ..Bound::default() }), ..Done::default() })
}

/// What a `SELECT count(*)` says.
fn count(connection: &Connection, sql: &Sql) -> Result<u64, Refusal> {
    let mut statement = connection.prepare(sql.statement.text()).map_err(|error| failure::sqlite_prepared(&error))?;
    statement.query_row(params_from_iter(sql.params.iter().map(bound)), |row| row.get::<_, u64>(0)).map_err(fail)
}

fn columns(statement: &rusqlite::Statement<'_>) -> Vec<Column> {
    let types: Vec<String> = statement.columns().iter().map(|column| column.decl_type().unwrap_or_default().to_owned()).collect();
    statement
        .columns_with_metadata()
        .iter()
        .zip(types)
        .map(|(column, type_name)| Column {
            name: column.name().to_owned(),
            type_name,
            origin: column.table_name().zip(column.origin_name()).map(|(table, name)| BaseColumn {
                schema: column.database_name().map(ToOwned::to_owned),
                table: table.to_ascii_lowercase(),
                column: name.to_ascii_lowercase(),
            }),
        })
        .collect()
}

fn lineage(connection: &Connection, statement: &Statement) -> Result<Lineage, Refusal> {
    let mut gatherer = Gatherer::new(Engine::Sqlite, vec!["main".to_owned()]);
    let mut names = gatherer.first(statement);
    while !names.is_empty() {
        let found = names.iter().map(|name| relation(connection, name)).collect::<rusqlite::Result<Vec<_>>>().map_err(fail)?;
        names = gatherer.next(found.into_iter().flatten().collect());
    }
    let schema: Schema = gatherer.done();
    Ok(statement.lineage(&schema))
}

fn relation(connection: &Connection, name: &str) -> rusqlite::Result<Option<Relation>> {
    use rusqlite::OptionalExtension;
    let found: Option<(String, String, Option<String>)> = connection
        .prepare_cached("SELECT name, type, sql FROM main.sqlite_master WHERE lower(name) = ?1 AND type IN ('table', 'view')")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // The schema's own table is not listed in itself.
    let itself = matches!(name, "sqlite_master" | "sqlite_schema").then(|| (name.to_owned(), "table".to_owned(), None));
    let Some((name, kind, sql)) = found.or(itself) else { return Ok(None) };
    let columns = connection
        .prepare_cached("SELECT lower(name) FROM pragma_table_xinfo(?1) ORDER BY cid")?
        .query_map([&name], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    // A primary key of one INTEGER column is the row's number itself.
    let rowid = connection
        .prepare_cached(
            "SELECT lower(name) FROM pragma_table_xinfo(?1) WHERE pk = 1 AND upper(type) LIKE '%INTEGER%'
             AND (SELECT max(pk) FROM pragma_table_xinfo(?1)) = 1",
        )?
        .query_row([&name], |row| row.get(0))
        .optional()?;
    // A view whose text is gone still is a view: its columns come from anywhere.
    let view = (kind == "view").then(|| sql.unwrap_or_default());
    Ok(Some(Relation { schema: "main".to_owned(), name: name.to_ascii_lowercase(), columns, view, rowid, kin: Vec::new() }))
}

fn bound(param: &Param) -> rusqlite::types::Value {
    match param {
        Param::Null => rusqlite::types::Value::Null,
        Param::Bool(truth) => rusqlite::types::Value::Integer(i64::from(*truth)),
        Param::Integer(number) => rusqlite::types::Value::Integer(*number),
        Param::Number(number) => rusqlite::types::Value::Real(*number),
        Param::Text(text) => rusqlite::types::Value::Text(text.clone()),
    }
}

fn decoded(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => value::integer(number),
        ValueRef::Real(number) => value::float(number),
        ValueRef::Text(text) => Value::from(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => value::blob(bytes),
    }
}
