//! PostgreSQL targets: one transaction a call, read-only for what reads, in the human's own login or mapped role.
//!
//! The session says who it is (`application_name`, `countersign.*` settings), so that the database's own log and row-level security see the human
//! and the call. An agent's statement travels prepared, never as text among other statements. A connection that changed something is closed
//! after use: nothing of one human is left for the next.

mod decode;
mod encode;
mod session;
mod statement;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, Row as _, Statement as _};
use tokio_util::sync::CancellationToken;

use crate::audit::Permit;
use crate::call::Limits;
use crate::connector::{Failed, Meter, Out, check_affected, failure, objects, send, value};
use crate::credential::{Credential, Login};
use crate::mask::{Done, Piece};
use crate::operation::Operation;
use crate::operation::sql::{Count, Mode, Preview, Sql};
use crate::refusal::{Code, Refusal};

/// Where a server is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) tls: bool,
    pub(super) search_path: Vec<String>,
}

/// How long a stopped statement may take to come back.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Idle connections are closed after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Logins whose pools are kept.
const POOLS_MAX: usize = 256;

/// A PostgreSQL target: a pool for each login.
pub(super) struct Postgres {
    server: Server,
    concurrency: u32,
    connect_timeout: Duration,
    pools: Mutex<BTreeMap<String, PgPool>>,
}

impl Postgres {
    pub(super) fn new(server: Server, concurrency: usize, connect_timeout: Duration) -> Self {
        Self {
            server,
            concurrency: u32::try_from(concurrency).unwrap_or(u32::MAX).max(1),
            connect_timeout,
            pools: Mutex::new(BTreeMap::new()),
        }
    }

    fn pool(&self, login: &Login) -> PgPool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&login.user) {
            return pool.clone();
        }
        if pools.len() >= POOLS_MAX {
            pools.clear();
        }
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.server.host)
            .port(self.server.port)
            .database(&self.server.database)
            .username(&login.user)
            .password(login.password.expose_secret())
            .ssl_mode(if self.server.tls { PgSslMode::VerifyFull } else { PgSslMode::Prefer })
            .application_name("countersign")
            .options([("client_min_messages", "error"), ("standard_conforming_strings", "on")])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            // One more for the connection that stops another.
            .max_connections(self.concurrency.saturating_add(1))
            .acquire_timeout(self.connect_timeout)
            .idle_timeout(IDLE)
            .connect_lazy_with(options);
        pools.insert(login.user.clone(), pool.clone());
        pool
    }

    /// Runs the permit's operation.
    pub(super) async fn run(&self, permit: &Permit, credential: &Credential, out: &Out) -> Result<Done, Failed> {
        let call = permit.call();
        let login = credential.login().ok_or_else(|| Refusal::new(Code::TargetRefused))?;
        let pool = self.pool(login);
        let mut connection = pool.acquire().await.map_err(|error| failure::postgres(&error))?;
        let pid = OnceLock::new();
        let stop = Stop { pool: &pool, pid: &pid, gone: call.line.gone.clone(), timeout: call.limits.timeout };
        let outcome = stop.guard(self.transact(&mut connection, permit, credential, &pid, out)).await;
        let writes = writes(permit);
        if writes || outcome.is_err() {
            // What a change may have left behind (a temporary table, a setting) goes with the connection. The outcome stands either way.
            drop(connection.close().await);
        }
        outcome
    }

    async fn transact(
        &self,
        connection: &mut PgConnection,
        permit: &Permit,
        credential: &Credential,
        pid: &OnceLock<i32>,
        out: &Out,
    ) -> Result<Done, Refusal> {
        let fail = |error: sqlx::Error| failure::postgres(&error);
        let (call, writes) = (permit.call(), writes(permit));
        let mut transaction = connection.begin_with(if writes { "BEGIN READ WRITE" } else { "BEGIN READ ONLY" }).await.map_err(fail)?;
        let own = session::settle(&mut transaction, call, credential, &self.server.search_path, !writes).await?;
        let _own = pid.get_or_init(|| own);
        match &call.operation {
            Operation::Sql(sql) if sql.mode == Mode::Query => {
                let done = self.query(&mut transaction, sql, call.limits, out).await?;
                transaction.rollback().await.map_err(fail)?;
                Ok(done)
            }
            Operation::Sql(sql) => {
                let (pieces, done) = self.change(&mut transaction, sql, call.limits, permit.max_affected()).await?;
                transaction.commit().await.map_err(fail)?;
                for piece in pieces {
                    give(out, piece).await?;
                }
                Ok(done)
            }
            Operation::SqlPreview(preview) => {
                let done = self.preview(&mut transaction, preview, call.limits, out).await?;
                transaction.rollback().await.map_err(fail)?;
                Ok(done)
            }
            Operation::SqlObjects(wanted) => {
                let document = objects::postgres(&mut transaction, wanted, &self.server.search_path).await?;
                transaction.rollback().await.map_err(fail)?;
                give(out, Piece::Document(document)).await?;
                Ok(Done::default())
            }
            Operation::Local(_) => Err(Refusal::new(Code::TargetFailed).cause("a local operation on a target")),
        }
    }

    async fn query(&self, connection: &mut PgConnection, sql: &Sql, limits: Limits, out: &Out) -> Result<Done, Refusal> {
        let (lineage, names) = session::lineage(connection, &sql.statement, &self.server.search_path).await?;
        let prepared = statement::prepare(connection, &sql.statement).await?;
        let arguments = encode::arguments(&prepared, &sql.params)?;
        let columns = session::columns(connection, prepared.columns(), names).await?;
        give(out, Piece::Header { columns, lineage }).await?;
        let mut meter = Meter::new(limits);
        let mut rows = sqlx::Executor::fetch(&mut *connection, prepared.query_with(arguments));
        while let Some(row) = rows.try_next().await.map_err(|error| failure::postgres(&error))? {
            let row: Vec<_> = (0..row.len()).map(|index| decode::value(&row, index)).collect();
            if !meter.takes(&row) {
                return meter.cut();
            }
            give(out, Piece::Row(row)).await?;
        }
        Ok(Done::default())
    }

    async fn change(
        &self,
        connection: &mut PgConnection,
        sql: &Sql,
        limits: Limits,
        shown: Option<u64>,
    ) -> Result<(Vec<Piece>, Done), Refusal> {
        let fail = |error: sqlx::Error| failure::postgres(&error);
        let (lineage, names) = session::lineage(connection, &sql.statement, &self.server.search_path).await?;
        let prepared = statement::prepare(connection, &sql.statement).await?;
        let arguments = encode::arguments(&prepared, &sql.params)?;
        let mut pieces = Vec::new();
        let mut truncated = false;
        let mut affected = 0;
        if sql.statement.returns_rows() {
            let columns = session::columns(connection, prepared.columns(), names).await?;
            pieces.push(Piece::Header { columns, lineage });
            let mut meter = Meter::new(limits);
            let mut rows = sqlx::Executor::fetch_many(&mut *connection, prepared.query_with(arguments));
            // Read to the end: the change is complete, and its size known, only then.
            while let Some(step) = rows.try_next().await.map_err(fail)? {
                match step {
                    sqlx::Either::Left(result) => affected += result.rows_affected(),
                    sqlx::Either::Right(row) => {
                        let row: Vec<_> = (0..row.len()).map(|index| decode::value(&row, index)).collect();
                        if !truncated && meter.takes(&row) {
                            pieces.push(Piece::Row(row));
                        } else {
                            truncated = true;
                        }
                    }
                }
            }
        } else {
            affected = sqlx::Executor::execute(&mut *connection, prepared.query_with(arguments)).await.map_err(fail)?.rows_affected();
        }
        let counts = matches!(sql.statement.verb(), "insert" | "update" | "delete");
        if counts {
            check_affected(affected, sql.expect_max_rows, shown)?;
        }
        Ok((pieces, Done { affected_rows: counts.then_some(affected), truncated, preview_rows: None }))
    }

    async fn preview(&self, connection: &mut PgConnection, preview: &Preview, limits: Limits, out: &Out) -> Result<Done, Refusal> {
        let rows = match &preview.count {
            Count::Known(rows) => *rows,
            Count::Query(sql) => {
                let prepared = statement::prepare(connection, &sql.statement).await?;
                let arguments = encode::arguments(&prepared, &sql.params)?;
                let row = sqlx::Executor::fetch_one(&mut *connection, prepared.query_with(arguments))
                    .await
                    .map_err(|error| failure::postgres(&error))?;
                u64::try_from(row.try_get::<i64, _>(0).map_err(|error| failure::postgres(&error))?).unwrap_or(u64::MAX)
            }
        };
        if let Some(sample) = &preview.sample {
            self.query(connection, sample, limits, out).await?;
        }
        Ok(Done { preview_rows: Some(rows), ..Done::default() })
    }
}

fn writes(permit: &Permit) -> bool {
    matches!(&permit.call().operation, Operation::Sql(Sql { mode: Mode::Execute, .. }))
}

async fn give(out: &Out, piece: Piece) -> Result<(), Refusal> {
    send(out, piece).await.map_err(|failed| failed.refusal)
}

/// Stops a running statement from outside.
struct Stop<'a> {
    pool: &'a PgPool,
    /// The server's process, once it is known; before that nothing of the agent's runs.
    pid: &'a OnceLock<i32>,
    gone: CancellationToken,
    timeout: Duration,
}

impl Stop<'_> {
    /// Lets the work run until it is done, its time is over or its caller gone; then cancels it in the server and waits for it to come back.
    async fn guard(&self, work: impl Future<Output = Result<Done, Refusal>>) -> Result<Done, Failed> {
        tokio::pin!(work);
        let refusal = tokio::select! {
            outcome = &mut work => return outcome.map_err(|refusal| {
                let stopped = (refusal.code() == Code::TargetTimeout).then_some(true);
                Failed { refusal, stopped }
            }),
            () = tokio::time::sleep(self.timeout) => Refusal::new(Code::TargetTimeout).detail(format!("after {} ms", self.timeout.as_millis())),
            () = self.gone.cancelled() => Refusal::new(Code::TargetCancelled),
        };
        if let Some(pid) = self.pid.get() {
            session::cancel(self.pool, *pid).await;
        }
        let back = tokio::time::timeout(STOP_GRACE, &mut work).await;
        match back {
            // It was done before the cancel arrived: what is true is told.
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Failed { refusal, stopped: Some(true) }),
            Err(_) => Err(Failed { refusal, stopped: Some(false) }),
        }
    }
}

/// Longer texts of a type than this are cut in answers.
const TYPE_NAME_MAX: usize = 60;

/// A type's name, as it is told.
fn type_name(name: &str) -> String {
    name.chars().take(TYPE_NAME_MAX).collect::<String>().to_lowercase()
}

/// A value of a type that has no form here.
fn unsupported(name: &str) -> serde_json::Value {
    serde_json::Value::from(format!("[unsupported type {}: cast it to text]", type_name(name)))
}

/// A number that JSON may round.
fn whole(number: i64) -> serde_json::Value {
    value::integer(number)
}
