//! What a call would do, as types: parsed, never a string, and judged for risk from what was parsed.
//!
//! This room is pure: no I/O, no clock, no configuration. What it cannot understand it refuses or calls the highest risk. `risk()` is computed
//! from the operation, so no caller can state a lower one. Each kind of target has one file here: `local` (the broker's own tools), `sql`, `kube`, `ssh`.

pub mod kube;
pub mod local;
pub mod sql;
pub mod ssh;

use std::fmt;

/// How much a call can hurt, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Changes nothing that anybody can see.
    Read = 1,
    /// Adds or changes data within named bounds.
    Write = 2,
    /// Can lose data: delete, drop, truncate, a change without bounds.
    Destructive = 3,
    /// Changes who may do what, runs code, or cannot be told.
    Admin = 4,
}

impl Risk {
    /// The name that policies, schemas and records use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
            Self::Admin => "admin",
        }
    }

    /// 1 (read) to 4 (admin), as policies compare it.
    #[must_use]
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The risk by its name; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Destructive, Self::Admin].into_iter().find(|risk| risk.as_str() == name)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a touch falls on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The target as a whole, or the broker.
    Target,
    /// A table or view, from the target down: `["public", "customers"]`; never empty.
    Table(Vec<String>),
    /// Objects of a cluster.
    Object(kube::Reach),
    /// A program of a host, by its name.
    Program(String),
    /// A file or folder of a host, and whatever is below it: absolute, or below `~`.
    Path(String),
}

impl Place {
    /// A table by its path; the target itself where that is empty.
    #[must_use]
    pub fn table(path: Vec<String>) -> Self {
        if path.is_empty() { Self::Target } else { Self::Table(path) }
    }

    /// The subresource of an object; empty for anything else.
    #[must_use]
    pub const fn subresource(&self) -> &'static str {
        match self {
            Self::Object(reach) => reach.subresource,
            Self::Target | Self::Table(_) | Self::Program(_) | Self::Path(_) => "",
        }
    }
}

/// `public.customers`, `apps/Deployment shop/web`; nothing for the target itself.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => Ok(()),
            Self::Table(path) => {
                // A dot within a name must not read as one between two.
                let quoted =
                    |part: &String| if part.contains(['.', '"']) { format!("\"{}\"", part.replace('"', "\"\"")) } else { part.clone() };
                f.write_str(&path.iter().map(quoted).collect::<Vec<_>>().join("."))
            }
            Self::Object(reach) => reach.fmt(f),
            Self::Program(name) | Self::Path(name) => f.write_str(name),
        }
    }
}

/// One thing that an operation touches, with the verb and risk of that touch alone (INSERT … SELECT reads one table and writes another).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touch {
    /// What it falls on.
    pub on: Place,
    /// Of SQL `select`, `insert`, `update`, `delete`, `create`, `alter`, `drop`, `truncate`, `grant`, `describe`, `call`; of Kubernetes the verbs of
    /// RBAC: `get`, `list`, `create`, `patch`, `delete`, and `discover` for the cluster's own description; of hosts
    /// `execute`, `shell`, and of their files `list`, `read`, `write`, `rename`, `delete`, `chmod`.
    pub verb: &'static str,
    /// The risk of this touch.
    pub risk: Risk,
}

/// A parsed operation. There is one of them a call, so that its size does not matter and boxing would only hide the parts.
#[expect(clippy::large_enum_variant, reason = "one a call, moved a few times")]
#[derive(Debug, Clone)]
pub enum Operation {
    /// One of the broker's own tools; touches no target.
    Local(local::Local),
    /// One SQL statement with its parameters.
    Sql(sql::Sql),
    /// What an approver is shown of a change: rows counted and sampled, nothing changed.
    SqlPreview(sql::Preview),
    /// A look at a database's catalogue.
    SqlObjects(sql::Objects),
    /// Something read or done on a cluster.
    Kube(kube::Kube),
    /// What an approver is shown of it: the server's own dry run, and nothing changed.
    KubePreview(kube::Kube),
    /// Something done on a host.
    Ssh(ssh::Ssh),
    /// What an approver is shown of a change of a file: what there is, and nothing changed.
    SshPreview(ssh::Ssh),
}

impl Operation {
    /// `local`, `sql`, `kube` or `ssh`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Kube(_) | Self::KubePreview(_) => "kube",
            Self::Ssh(_) | Self::SshPreview(_) => "ssh",
            Self::Sql(_) | Self::SqlPreview(_) | Self::SqlObjects(_) => "sql",
        }
    }

    /// The main verb, one of those of [`Touch::verb`] or a local tool's name.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Local(local) => local.verb(),
            Self::Sql(sql) => sql.statement.verb(),
            Self::SqlPreview(_) => "select",
            Self::SqlObjects(_) => "describe",
            Self::Kube(kube) | Self::KubePreview(kube) => kube.verb(),
            Self::Ssh(ssh) => ssh.verb(),
            Self::SshPreview(_) => "read",
        }
    }

    /// The highest risk of anything it does.
    #[must_use]
    pub fn risk(&self) -> Risk {
        match self {
            Self::Local(_) | Self::SqlPreview(_) | Self::SqlObjects(_) | Self::KubePreview(_) | Self::SshPreview(_) => Risk::Read,
            Self::Sql(sql) => sql.statement.risk(),
            Self::Kube(kube) => kube.risk(),
            Self::Ssh(ssh) => ssh.risk(),
        }
    }

    /// Why its risk is above that of a plain read or change, a short sentence each; none where its class says all.
    #[must_use]
    pub fn why(&self) -> Vec<String> {
        match self {
            Self::Kube(kube) => kube.why(),
            Self::Ssh(ssh) => ssh.why(),
            _ => Vec::new(),
        }
    }

    /// All it touches, each at most once a verb.
    #[must_use]
    pub fn touches(&self) -> Vec<Touch> {
        match self {
            Self::Local(_) => Vec::new(),
            Self::Sql(sql) => sql.statement.touches().to_vec(),
            Self::SqlPreview(preview) => preview.touches.clone(),
            Self::SqlObjects(_) => vec![Touch { on: Place::Target, verb: "describe", risk: Risk::Read }],
            Self::Kube(kube) => kube.touches(),
            Self::KubePreview(kube) => kube.touches().into_iter().map(|touch| Touch { risk: Risk::Read, ..touch }).collect(),
            Self::Ssh(ssh) => ssh.touches(),
            Self::SshPreview(ssh) => ssh.touches().into_iter().map(|touch| Touch { risk: Risk::Read, ..touch }).collect(),
        }
    }

    /// The read-only operation that shows an approver what this one would do; `None` where nothing can be shown beyond the call itself.
    #[must_use]
    pub fn preview(&self) -> Option<Self> {
        match self {
            Self::Sql(sql) => sql.preview().map(Self::SqlPreview),
            Self::Kube(kube) => kube.has_preview().then(|| Self::KubePreview(kube.clone())),
            Self::Ssh(ssh) => ssh.has_preview().then(|| Self::SshPreview(ssh.clone())),
            Self::Local(_) | Self::SqlPreview(_) | Self::SqlObjects(_) | Self::KubePreview(_) | Self::SshPreview(_) => None,
        }
    }
}
