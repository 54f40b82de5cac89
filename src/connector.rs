//! Connectors: the only files that open connections to targets. A permit goes in, a sealed stream comes out.
//!
//! The permit is spent here: with it comes the credential of its human, with that the work. Whatever happens, the last piece of the stream says
//! how it ended. Nothing here logs: what a target says leaves through the masks or not at all.

mod failure;
mod kube;
mod local;
mod mysql;
mod objects;
mod postgres;
mod schema;
mod sqlite;
mod ssh;
mod stop;
mod value;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::audit::Permit;
use crate::credential::{self, Access, Credential, Credentials};
use crate::mask::{Done, Piece, Unmasked};
use crate::operation::Operation;
use crate::refusal::{Code, Refusal};

pub use kube::{Cluster, check_cluster};
pub use local::Locals;
pub use ssh::{Place as HostPlace, Route, Trust};

/// How a target is reached.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// A SQLite file.
    Sqlite {
        /// The file; it must be there.
        path: PathBuf,
    },
    /// A PostgreSQL database.
    Postgres {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Database.
        database: String,
        /// Demand TLS with a verified certificate.
        tls: bool,
        /// Authorities (PEM) to trust beside the public ones.
        ca: Option<PathBuf>,
        /// Logins whose connections are kept at once.
        logins_max: usize,
        /// Where unqualified names are looked up.
        search_path: Vec<String>,
    },
    /// A MySQL or MariaDB database.
    MySql {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Database, in which unqualified names are looked up.
        database: String,
        /// Demand TLS with a verified certificate.
        tls: bool,
        /// Authorities (PEM) to trust beside the public ones.
        ca: Option<PathBuf>,
    },
    /// A Kubernetes cluster.
    Kubernetes {
        /// The way to its API server.
        cluster: Cluster,
        /// Images that may be put beside a pod's containers to debug it; one that ends in `*` stands for all that begin so.
        debug_images: Vec<String>,
    },
    /// A host.
    Ssh {
        /// The way there.
        route: Route,
        /// What its tools may be used for.
        bounds: HostBounds,
    },
}

impl Endpoint {
    /// Where it is: what makes a target of the same name another one. How it is spoken to, and as whom, is not part of it.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite { path } => path.display().to_string(),
            Self::Postgres { host, port, database, .. } | Self::MySql { host, port, database, .. } => format!("{host}:{port}/{database}"),
            Self::Kubernetes { cluster, .. } => cluster.place(),
            Self::Ssh { route, .. } => {
                let hops = route.through.iter().chain([&route.to]);
                hops.map(|hop| format!("{}:{}", hop.host, hop.port)).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// What tools may do on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostBounds {
    /// Folders below which files may be read and written.
    pub roots: Vec<String>,
    /// Variables that a caller may set.
    pub env: Vec<String>,
    /// The shell that reads a caller's text, where that is allowed at all.
    pub shell: Option<String>,
    /// Groups of hosts that it is in.
    pub groups: Vec<String>,
}

/// A target.
#[derive(Debug, Clone)]
pub struct TargetSettings {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub endpoint: Endpoint,
    /// Who may be whom there.
    pub access: Access,
    /// Calls at once.
    pub concurrency: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

/// A target with its connections.
enum Target {
    Sqlite(sqlite::Sqlite),
    Postgres(Box<postgres::Postgres>),
    MySql(mysql::MySql),
    Kube(Box<kube::Target>),
    Ssh(Box<ssh::Target>),
}

struct Slot {
    target: Target,
    turns: Semaphore,
    patience: Duration,
}

/// All connectors. Cheap to clone.
#[derive(Clone)]
pub struct Connectors {
    slots: Arc<BTreeMap<String, Slot>>,
    credentials: Arc<Credentials>,
    locals: Locals,
}

/// How the work on a target failed.
struct Failed {
    refusal: Refusal,
    /// Whether the target confirmed that its work was stopped, where it had to be.
    stopped: Option<bool>,
    /// Whether the target did not take the login itself, so that its secret may have changed.
    is_login: bool,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, stopped: None, is_login: false }
    }
}

/// Where the pieces go.
type Out = mpsc::Sender<Piece>;

impl Connectors {
    /// Connectors for these targets, and the tables that mask rules name. Nothing is connected yet.
    #[must_use]
    pub fn new(targets: Vec<TargetSettings>, ruled: &[String], credentials: credential::Settings, locals: Locals) -> Self {
        let ruled: Vec<String> = ruled.iter().map(|table| table.to_lowercase()).collect();
        let mut slots = BTreeMap::new();
        let mut access = BTreeMap::new();
        for settings in targets {
            access.insert(settings.name.clone(), settings.access);
            let target = match settings.endpoint {
                Endpoint::Sqlite { path } => Target::Sqlite(sqlite::Sqlite::new(path)),
                Endpoint::Postgres { host, port, database, tls, ca, logins_max, search_path } => {
                    let server = postgres::Server { host, port, database, tls, ca, search_path, ruled: ruled.clone() };
                    let pools = postgres::Pools::new(server, settings.concurrency, logins_max, settings.connect_timeout);
                    Target::Postgres(Box::new(postgres::Postgres::new(pools)))
                }
                Endpoint::MySql { host, port, database, tls, ca } => {
                    let connect_timeout = settings.connect_timeout;
                    Target::MySql(mysql::MySql::new(mysql::Server { host, port, database, tls, ca, connect_timeout }))
                }
                Endpoint::Kubernetes { cluster, .. } => {
                    Target::Kube(Box::new(kube::Target::new(cluster, settings.connect_timeout, locals.clock.clone())))
                }
                Endpoint::Ssh { route, .. } => {
                    Target::Ssh(Box::new(ssh::Target::new(route, settings.connect_timeout, locals.clock.clone())))
                }
            };
            slots.insert(settings.name, Slot { target, turns: Semaphore::new(settings.concurrency), patience: settings.connect_timeout });
        }
        Self { slots: Arc::new(slots), credentials: Arc::new(Credentials::new(access, credentials)), locals }
    }

    /// Ends what is kept open between calls: the broker ends.
    pub async fn close(&self) {
        for slot in self.slots.values() {
            if let Target::Ssh(host) = &slot.target {
                host.close().await;
            }
        }
    }

    /// Spends a permit whose work was done by calls of their own: what came of them.
    #[must_use]
    pub fn tell(&self, permit: Permit, document: serde_json::Value) -> Unmasked {
        let (out, unmasked) = Unmasked::seal(None);
        drop(permit);
        tokio::spawn(async move {
            // Nobody reads only if the process is going down; the call is then closed as unresolved.
            if out.send(Piece::Document(document)).await.is_ok() {
                drop(out.send(Piece::Done(Done::default())).await);
            }
        });
        unmasked
    }

    /// Spends a permit: starts its work, and gives the stream of what comes of it.
    pub async fn execute(&self, permit: Permit) -> Unmasked {
        let (out, unmasked) = Unmasked::seal(permit.call().target.as_ref().map(|target| target.name.clone()));
        let connectors = self.clone();
        tokio::spawn(async move {
            let last = match connectors.work(&permit, &out).await {
                Ok(done) => Piece::Done(done),
                Err(Failed { refusal, stopped, .. }) => Piece::Failed { refusal, stopped },
            };
            // Nobody reads only if the process is going down; the call is then closed as unresolved.
            drop(out.send(last).await);
        });
        unmasked
    }

    async fn work(&self, permit: &Permit, out: &Out) -> Result<Done, Failed> {
        let call = permit.call();
        if let Operation::Local(local) = &call.operation {
            let document = self.locals.run(local, permit).await?;
            send(out, Piece::Document(document)).await?;
            return Ok(Done::default());
        }
        let slot = call.target.as_ref().and_then(|target| self.slots.get(&target.name)).ok_or_else(|| Refusal::new(Code::UnknownTarget))?;
        let credential = self.credentials.issue(permit).await?;
        send(out, Piece::Used(credential.facts().clone())).await?;
        let _turn = tokio::time::timeout(slot.patience, slot.turns.acquire())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Refusal::new(Code::TargetBusy))?;
        let outcome = match &slot.target {
            Target::Sqlite(sqlite) => sqlite.run(permit, out).await,
            Target::Postgres(postgres) => postgres.run(permit, &credential, out).await,
            Target::MySql(mysql) => mysql.run(permit, &credential, out).await,
            Target::Kube(cluster) => cluster.run(permit, &credential, out).await,
            Target::Ssh(host) => host.run(permit, &credential, out).await,
        };
        self.forget_if_refused(&outcome, &credential).await;
        outcome
    }

    /// A login that the target did not take is read anew for the next call.
    async fn forget_if_refused(&self, outcome: &Result<Done, Failed>, credential: &Credential) {
        if outcome.as_ref().is_err_and(|failed| failed.is_login) {
            self.credentials.forget(credential).await;
        }
    }
}

async fn send(out: &Out, piece: Piece) -> Result<(), Failed> {
    out.send(piece).await.map_err(|_| Failed::from(Refusal::new(Code::MaskFailed).cause("nobody reads the stream")))
}

/// Counts rows and bytes against the limits of a call.
struct Meter {
    rows: u32,
    bytes: u64,
    is_fresh: bool,
}

impl Meter {
    const fn new(limits: crate::call::Limits) -> Self {
        Self { rows: limits.rows, bytes: limits.bytes, is_fresh: true }
    }

    /// Whether one more row of this content fits.
    fn takes(&mut self, row: &[serde_json::Value]) -> bool {
        let bytes: u64 = row.iter().map(value::length).sum();
        match (self.rows.checked_sub(1), self.bytes.checked_sub(bytes)) {
            (Some(rows), Some(bytes)) => {
                self.rows = rows;
                self.bytes = bytes;
                self.is_fresh = false;
                true
            }
            _ => false,
        }
    }

    /// How a read ends whose next row does not fit: cut, unless nothing would be left, which must not look like an empty answer.
    fn cut(&self) -> Result<Done, Refusal> {
        if self.is_fresh { Err(Refusal::new(Code::ResultTooLarge)) } else { Ok(Done { truncated: true, ..Done::default() }) }
    }
}

/// The two bounds on a change: what the caller expects, and what an approver was shown.
fn check_affected(affected: u64, expected: Option<u64>, shown: Option<u64>) -> Result<(), Refusal> {
    if let Some(expected) = expected.filter(|expected| affected > *expected) {
        return Err(Refusal::new(Code::TooManyRows).detail(format!("{affected} rows, and expect_max_rows is {expected}")));
    }
    if let Some(shown) = shown.filter(|shown| affected > *shown) {
        return Err(Refusal::new(Code::ApprovalChanged).detail(format!("{affected} rows, and the approver was shown {shown}")));
    }
    Ok(())
}
