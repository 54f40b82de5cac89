//! Connections to a PostgreSQL server: a pool for each login, so that nobody borrows a connection that was opened with another's secret.
//!
//! Bounded: pools that nobody used for a while are closed, and the one that was used longest ago makes room for a new one; work under way keeps
//! its connection. A secret that has changed opens a new pool. A connection that comes back is made blank by the server itself (`DISCARD ALL`)
//! before anybody gets it again: settings, role, temporary tables, locks, channels and prepared statements go, whoever left them there. The
//! broker's own statements are prepared again at once, while nobody waits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection as _, Executor as _, PgConnection};

use crate::connector::postgres::session;
use crate::credential::Login;

/// Idle connections are closed after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Pools that nobody used for so long are closed.
const UNUSED: Duration = Duration::from_secs(300);

/// Where a server is.
#[derive(Debug, Clone)]
pub(in crate::connector) struct Server {
    pub(in crate::connector) host: String,
    pub(in crate::connector) port: u16,
    pub(in crate::connector) database: String,
    pub(in crate::connector) tls: bool,
    pub(in crate::connector) ca: Option<PathBuf>,
    pub(in crate::connector) search_path: Vec<String>,
    /// The tables that mask rules name, in lower case.
    pub(in crate::connector) ruled: Vec<String>,
}

/// The pools of a target, by user.
pub(in crate::connector) struct Pools {
    pub(super) server: Server,
    concurrency: u32,
    most: usize,
    connect_timeout: Duration,
    held: Mutex<BTreeMap<String, Held>>,
}

struct Held {
    pool: PgPool,
    login: Login,
    used: Instant,
}

impl Pools {
    pub(in crate::connector) fn new(server: Server, concurrency: usize, most: usize, connect_timeout: Duration) -> Self {
        let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX).max(1);
        Self { server, concurrency, most: most.max(1), connect_timeout, held: Mutex::new(BTreeMap::new()) }
    }

    /// The pool of a login.
    pub(super) fn of(&self, login: &Login) -> PgPool {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, held| now.duration_since(held.used) < UNUSED);
        if let Some(held) = held.get_mut(&login.user).filter(|held| held.login.is_same(login)) {
            held.used = now;
            return held.pool.clone();
        }
        held.remove(&login.user);
        if held.len() >= self.most
            && let Some(oldest) = held.iter().min_by_key(|(_, held)| held.used).map(|(user, _)| user.clone())
        {
            // Its idle connections go with it; work under way holds the pool until it is done, and may still stop its statement through it.
            held.remove(&oldest);
        }
        let pool = self.open(login);
        held.insert(login.user.clone(), Held { pool: pool.clone(), login: login.clone(), used: now });
        pool
    }

    fn open(&self, login: &Login) -> PgPool {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.server.host)
            .port(self.server.port)
            .database(&self.server.database)
            .username(&login.user)
            .ssl_mode(if self.server.tls { PgSslMode::VerifyFull } else { PgSslMode::Prefer })
            .application_name("countersign")
            .options([("client_min_messages", "error"), ("standard_conforming_strings", "on")])
            .disable_statement_logging();
        if let Some(password) = &login.password {
            options = options.password(password.expose_secret());
        }
        if let Some((certificate, key)) = &login.certificate {
            options = options.ssl_client_cert_from_pem(certificate.expose_secret()).ssl_client_key_from_pem(key.expose_secret());
        }
        if let Some(ca) = &self.server.ca {
            options = options.ssl_root_cert(ca);
        }
        PgPoolOptions::new()
            // One more for the connection that stops another.
            .max_connections(self.concurrency.saturating_add(1))
            .acquire_timeout(self.connect_timeout)
            .idle_timeout(IDLE)
            .after_release(|connection, _| Box::pin(blank(connection)))
            .connect_lazy_with(options)
    }
}

/// Makes a connection as it was when it was opened; an error closes it.
async fn blank(connection: &mut PgConnection) -> sqlx::Result<bool> {
    connection.execute("DISCARD ALL").await?;
    // The driver's memory of statements that are gone.
    connection.clear_cached_statements().await?;
    for own in session::OWN {
        connection.prepare(sqlx::SqlStr::from_static(own)).await?;
    }
    Ok(true)
}
