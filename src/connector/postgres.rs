//! PostgreSQL targets: one transaction a call, read-only for what reads, in the human's own login or mapped role.
//!
//! The session says who it is (`application_name`, `countersign.*` settings, a comment behind the statement), so that the database's own log and
//! row-level security see the human and the call. An agent's statement travels prepared, never as text among other statements. What the session is
//! is read before the statement and again after it, before a COMMIT and before anything of its answer is released (`work` says why so late). A
//! connection that changed something is closed after use, any other is made blank: nothing of one human is left for the next.

mod decode;
mod encode;
mod pool;
mod session;
mod statement;
mod work;

use std::sync::OnceLock;
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::audit::Permit;
use crate::connector::{Failed, Out, failure, send, value};
use crate::credential::Credential;
use crate::mask::Done;
use crate::operation::Operation;
use crate::operation::sql::{Mode, Sql};
use crate::refusal::{Code, Refusal};

pub(super) use pool::{Pools, Server};

use session::{Catalogue, Expected};
use work::{HeldBack, Work};

/// How long a stopped statement may take to come back.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A PostgreSQL target.
pub(super) struct Postgres {
    pools: Pools,
}

impl Postgres {
    pub(super) const fn new(pools: Pools) -> Self {
        Self { pools }
    }

    /// Runs the permit's operation.
    pub(super) async fn run(&self, permit: &Permit, credential: &Credential, out: &Out) -> Result<Done, Failed> {
        let call = permit.call();
        let login = credential.login().ok_or_else(|| Refusal::new(Code::TargetRefused))?;
        let pool = self.pools.of(login);
        let mut connection = pool
            .acquire()
            .await
            .map_err(|error| Failed { is_login: failure::is_login(&error), ..Failed::from(failure::postgres(&error)) })?;
        let progress = Progress::default();
        let stop = Stop { pool: &pool, progress: &progress, gone: call.line.gone.clone(), timeout: call.limits.timeout };
        let expected = Expected { call, user: &login.user, role: credential.role(), reads: !writes(permit) };
        let outcome = stop.guard(self.transact(&mut connection, permit, &expected, &progress, out)).await;
        if !expected.reads || outcome.is_err() {
            // What a change may have left behind goes with the connection. The outcome stands either way.
            drop(connection.close().await);
        }
        outcome
    }

    async fn transact(
        &self,
        connection: &mut PgConnection,
        permit: &Permit,
        expected: &Expected<'_>,
        progress: &Progress,
        out: &Out,
    ) -> Result<Done, Refusal> {
        let fail = |error: sqlx::Error| failure::postgres(&error);
        let Server { search_path, ruled, .. } = &self.pools.server;
        let begin = if expected.reads { "BEGIN READ ONLY" } else { "BEGIN READ WRITE" };
        let mut transaction = connection.begin_with(begin).await.map_err(fail)?;
        let own = session::settle(&mut transaction, expected, search_path).await?;
        let _own = progress.pid.get_or_init(|| own);
        let catalogue = Catalogue { search_path, ruled };
        let work = Work { connection: &mut transaction, call: expected.call, catalogue, is_shared: expected.role.is_some() };
        let (pieces, done) = held_back(work, permit).await?;
        session::confirm(&mut transaction, expected).await?;
        if expected.reads {
            transaction.rollback().await.map_err(fail)?;
        } else {
            let _from_here = progress.committing.get_or_init(|| ());
            transaction.commit().await.map_err(|error| failure::postgres_commit(&error))?;
        }
        for piece in pieces {
            send(out, piece).await.map_err(|failed| failed.refusal)?;
        }
        Ok(done)
    }
}

async fn held_back(mut work: Work<'_>, permit: &Permit) -> Result<HeldBack, Refusal> {
    match &permit.call().operation {
        Operation::Sql(sql) if sql.mode == Mode::Query => work.query(sql).await,
        Operation::Sql(sql) => work.change(sql, permit.max_affected()).await,
        Operation::SqlPreview(preview) => work.preview(preview).await,
        Operation::SqlObjects(wanted) => work.objects(wanted).await,
        Operation::Local(_) => Err(Refusal::new(Code::TargetFailed).cause("a local operation on a target")),
    }
}

fn writes(permit: &Permit) -> bool {
    matches!(&permit.call().operation, Operation::Sql(Sql { mode: Mode::Execute, .. }))
}

/// How far the work has come, for whoever has to stop it.
#[derive(Default)]
struct Progress {
    /// The server's process, once it is known; before that nothing of the agent's runs.
    pid: OnceLock<i32>,
    /// The change is being committed: from here on only the server knows whether it is made.
    committing: OnceLock<()>,
}

/// Stops a running statement from outside.
struct Stop<'a> {
    pool: &'a PgPool,
    progress: &'a Progress,
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
                Failed { stopped, ..refusal.into() }
            }),
            () = tokio::time::sleep(self.timeout) => Refusal::new(Code::TargetTimeout).detail(format!("after {} ms", self.timeout.as_millis())),
            () = self.gone.cancelled() => Refusal::new(Code::TargetCancelled),
        };
        if let Some(pid) = self.progress.pid.get() {
            session::cancel(self.pool, *pid).await;
        }
        let back = tokio::time::timeout(STOP_GRACE, &mut work).await;
        match back {
            // It was done before the cancel arrived: what is true is told.
            Ok(Ok(done)) => Ok(done),
            Ok(Err(unresolved)) if unresolved.code() == Code::Unresolved => Err(Failed { stopped: Some(false), ..unresolved.into() }),
            // The server said that it was cancelled; a connection that broke says nothing.
            Ok(Err(end)) => Err(Failed { stopped: Some(end.code() == Code::TargetTimeout), ..refusal.into() }),
            Err(_) if self.progress.committing.get().is_some() => {
                let refusal = Refusal::new(Code::Unresolved).detail("the server did not answer while the change was being made final");
                Err(Failed { stopped: Some(false), ..refusal.into() })
            }
            Err(_) => Err(Failed { stopped: Some(false), ..refusal.into() }),
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
