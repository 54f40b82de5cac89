//! PostgreSQL targets: one transaction a call, read-only for what reads, in the human's own login or mapped role.
//!
//! The session says who it is (`application_name`, `countersign.*` settings, a comment behind the statement), so that the database's own log and
//! row-level security see the human and the call. An agent's statement travels prepared, never as text among other statements. What the session is
//! is read before the statement and again after it, before a COMMIT and before anything of its answer is released (`connector::work` says why so late). A
//! connection that changed something is closed after use, any other is made blank: nothing of one human is left for the next.

mod decode;
mod encode;
mod pool;
mod session;
mod statement;
mod transaction;

use sqlx::{Connection, PgConnection};

use crate::audit::Permit;
use crate::connector::stop::{self, Progress};
use crate::connector::{Failed, Out, failure, send, value, work};
use crate::credential::Credential;
use crate::mask::Done;
use crate::refusal::{Code, Refusal};

pub(super) use pool::{Pools, Server};

use session::{Catalogue, Expected};
use transaction::Transaction;

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
        let expected = Expected { call, user: &login.user, role: credential.role(), reads: !work::writes(permit) };
        let transacted = self.transact(&mut connection, permit, &expected, &progress, out);
        let outcome = stop::guard(call, &progress, async |process| session::cancel(&pool, process).await, transacted).await;
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
        let _own = progress.process.get_or_init(|| own);
        let catalogue = Catalogue { search_path, ruled };
        let call = &expected.call.facts.id;
        let mut settled = Transaction { connection: &mut transaction, call, catalogue, is_shared: expected.role.is_some() };
        let (pieces, done) = work::perform(&mut settled, permit).await?;
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
