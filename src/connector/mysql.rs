//! MySQL and MariaDB targets: one connection and one transaction a call, read-only for what reads, with the human's own login.
//!
//! The session says who it is (`@countersign_*` variables, a comment behind the statement), so that the server's own log, triggers and views see the
//! human and the call. An agent's statement travels prepared, so that the server itself accepts one statement and nothing more. What the session is
//! is read before the statement and again after it, before a COMMIT and before anything of its answer is released.
//!
//! A connection serves one call and is closed: neither this protocol's driver nor any statement makes a session blank (user variables, temporary
//! tables, named locks), so nothing is left for the next call only if there is no next call. There is no shared login here for the same reason that
//! there is one on PostgreSQL: a role that is taken with SET ROLE can be left again by whatever the statement calls.

mod catalogue;
mod decode;
mod encode;
mod session;
mod statement;
mod transaction;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::audit::Permit;
use crate::connector::stop::{self, Progress};
use crate::connector::{Failed, Out, failure, send, work};
use crate::credential::{Credential, Login};
use crate::mask::Done;
use crate::operation::Operation;
use crate::refusal::{Code, Refusal};

use session::Expected;
use transaction::Transaction;

/// Where a server is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) tls: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
}

/// A MySQL target.
pub(super) struct MySql {
    server: Server,
}

impl MySql {
    pub(super) const fn new(server: Server) -> Self {
        Self { server }
    }

    /// Runs the permit's operation.
    pub(super) async fn run(&self, permit: &Permit, credential: &Credential, out: &Out) -> Result<Done, Failed> {
        let call = permit.call();
        let login = credential.login().ok_or_else(|| Refusal::new(Code::TargetRefused))?;
        let mut connection = self.connect(login).await?;
        let progress = Progress::default();
        let expected = Expected { call, user: &login.user, reads: !work::writes(permit) };
        let transacted = self.transact(&mut connection, permit, &expected, &progress, out);
        let outcome = stop::guard(call, &progress, async |thread| self.kill(login, thread).await, transacted).await;
        // A transaction that was not committed goes with its connection. The outcome stands either way.
        drop(connection.close().await);
        outcome
    }

    async fn transact(
        &self,
        connection: &mut MySqlConnection,
        permit: &Permit,
        expected: &Expected<'_>,
        progress: &Progress,
        out: &Out,
    ) -> Result<Done, Refusal> {
        let fail = |error: sqlx::Error| failure::mysql(&error);
        let settled = session::settle(connection, expected).await?;
        let _own = progress.process.get_or_init(|| settled.thread);
        let call = &expected.call.facts.id;
        let mut transaction = Transaction { connection: &mut *connection, call, database: &self.server.database, progress };
        let (pieces, done) = work::perform(&mut transaction, permit).await?;
        session::confirm(connection, &settled, expected).await.map_err(|refusal| match &expected.call.operation {
            Operation::Sql(sql) if transaction::commits_itself(sql) => {
                Refusal::new(Code::Unresolved).detail("the definition was made, and then the session could not be confirmed").cause(refusal)
            }
            _ => refusal,
        })?;
        if expected.reads {
            connection.execute("ROLLBACK").await.map_err(fail)?;
        } else {
            let _from_here = progress.committing.get_or_init(|| ());
            connection.execute("COMMIT").await.map_err(|error| failure::mysql_commit(&error))?;
        }
        for piece in pieces {
            send(out, piece).await.map_err(|failed| failed.refusal)?;
        }
        Ok(done)
    }

    async fn connect(&self, login: &Login) -> Result<MySqlConnection, Failed> {
        let server = &self.server;
        let mut options = MySqlConnectOptions::new()
            .host(&server.host)
            .port(server.port)
            .database(&server.database)
            .username(&login.user)
            .ssl_mode(if server.tls { MySqlSslMode::VerifyIdentity } else { MySqlSslMode::Preferred })
            // Tokens of clouds are passwords that the server must see; only a verified one does.
            .enable_cleartext_plugin(server.tls)
            // All of these `session::settle` sets.
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .set_names(false)
            .disable_statement_logging();
        if let Some(password) = &login.password {
            options = options.password(password.expose_secret());
        }
        if let Some((certificate, key)) = &login.certificate {
            options = options.ssl_client_cert_from_pem(certificate.expose_secret()).ssl_client_key_from_pem(key.expose_secret());
        }
        if let Some(ca) = &server.ca {
            options = options.ssl_ca(ca);
        }
        let connected = tokio::time::timeout(server.connect_timeout, options.connect()).await;
        let connected = connected.map_err(|_| Refusal::new(Code::TargetUnreachable).detail("no connection was made in time"))?;
        connected.map_err(|error| Failed { is_login: failure::is_login(&error), ..Failed::from(failure::mysql(&error)) })
    }

    /// Cancels what a thread of the server runs. Whether that worked shows in whether the statement comes back.
    async fn kill(&self, login: &Login, thread: u64) {
        if let Ok(mut connection) = self.connect(login).await {
            drop(statement::kill(&mut connection, thread).await);
            drop(connection.close().await);
        }
    }
}

/// A value of a type that has no form here.
fn unsupported(name: &str) -> serde_json::Value {
    serde_json::Value::from(format!("[unsupported type {}: cast it to char]", name.to_lowercase()))
}
