//! Kubernetes operations: what would be read or done to which objects of which kinds, with the verbs of RBAC; pure, so that it can be judged before
//! anybody is asked.
//!
//! Whatever an operation touches is definite here: a group, a kind, a namespace, a name. A name that several kinds could bear becomes a question to
//! the cluster ([`Kube::Candidates`]), never a guess. Names are checked before any address is built from them.

mod kinds;
pub mod manifest;
pub mod name;
pub mod risk;
mod show;
mod touch;
pub mod work;

use std::fmt;

use crate::operation::{Place, Risk, Touch};
use crate::refusal::{Code, Refusal};

pub use manifest::Manifest;
pub use name::Group;
pub use work::{
    Action, Apply, CanI, Delete, Ephemeral, Events, Exec, Explain, Get, List, Logs, Node, NodeWork, Output, Patch, PatchType, Resources,
    Rollout, Run, Scale, Subject, Subresource, Top, TopOf, Wait, Whom,
};

/// A kind of object: its group, its kind as the API spells it, and the version, where one was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// The API group.
    pub group: Group,
    /// The version; the server's preferred one otherwise.
    pub version: Option<String>,
    /// The kind.
    pub kind: String,
    /// Whether its objects are in namespaces; none where only the cluster knows.
    pub namespaced: Option<bool>,
}

/// What a name of a kind comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// One kind, and no other.
    Definite(Type),
    /// Only the cluster can say.
    Open(String),
}

impl Type {
    /// From what a caller says of it: any name of a kind that every cluster has, or `api_version` and the kind's exact spelling.
    ///
    /// # Errors
    /// `operation.invalid_name`.
    pub fn resolve(api_version: Option<&str>, kind: &str) -> Result<Resolved, Refusal> {
        let given = name::kind(kind)?;
        let (group, version) = api_version.map(name::api_version).transpose()?.unzip();
        if let Some(known) = kinds::find(group.as_ref(), &given) {
            return Ok(Resolved::Definite(Self {
                group: Group::known(known.group),
                version,
                kind: known.kind.to_owned(),
                namespaced: Some(known.namespaced),
            }));
        }
        match group {
            // Kinds begin with a capital; a resource or a short name is the cluster's to explain.
            Some(group) if given.bytes().next().is_some_and(|b| b.is_ascii_uppercase()) && !given.contains('.') => {
                Ok(Resolved::Definite(Self { group, version, kind: given, namespaced: None }))
            }
            _ => Ok(Resolved::Open(given)),
        }
    }

    /// A kind that every cluster has.
    #[must_use]
    pub fn known(group: &'static str, kind: &'static str, namespaced: bool) -> Self {
        Self { group: Group::known(group), version: None, kind: kind.to_owned(), namespaced: Some(namespaced) }
    }

    /// Pods.
    #[must_use]
    pub fn pod() -> Self {
        Self::known("", "Pod", true)
    }
}

/// `Pod`, `apps/Deployment`: as policies name kinds.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.as_str().is_empty() { f.write_str(&self.kind) } else { write!(f, "{}/{}", self.group, self.kind) }
    }
}

/// One object, or all of a kind.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its kind.
    pub kind: Type,
    /// Its namespace. Without one: an object of the whole cluster, or all namespaces.
    pub namespace: Option<String>,
    /// Its name; all of them otherwise.
    pub name: Option<String>,
}

impl PartialEq for Object {
    /// The same object, by whichever version it is named.
    fn eq(&self, other: &Self) -> bool {
        let key = |object: &Self| (object.kind.group.clone(), object.kind.kind.clone(), object.namespace.clone(), object.name.clone());
        key(self) == key(other)
    }
}

impl Object {
    /// One object by its name.
    ///
    /// # Errors
    /// `operation.invalid_name`: a namespace is missing, or there can be none.
    pub fn one(kind: Type, namespace: Option<String>, name: String) -> Result<Self, Refusal> {
        match (kind.namespaced, &namespace) {
            (Some(true), None) => Err(Refusal::new(Code::InvalidName).detail(format!("`namespace` is missing: a {kind} is in one"))),
            (Some(false), Some(_)) => Err(Refusal::new(Code::InvalidName).detail(format!("leave `namespace` out: a {kind} is in none"))),
            _ => Ok(Self { kind, namespace, name: Some(name) }),
        }
    }

    /// All of a kind, in one namespace or in all.
    ///
    /// # Errors
    /// `operation.invalid_name`: the kind is in no namespace.
    pub fn all(kind: Type, namespace: Option<String>) -> Result<Self, Refusal> {
        if kind.namespaced == Some(false) && namespace.is_some() {
            return Err(Refusal::new(Code::InvalidName).detail(format!("leave `namespace` out: a {kind} is in none")));
        }
        Ok(Self { kind, namespace, name: None })
    }

    /// The touch of this object.
    #[must_use]
    pub fn touch(&self, verb: &'static str, subresource: &'static str, risk: Risk) -> Touch {
        let place = Reach {
            // All namespaces are not none: a policy for one of them must not let all be read.
            namespace: match (&self.namespace, self.kind.namespaced, &self.name) {
                (Some(namespace), ..) => Some(namespace.clone()),
                (None, Some(false), _) | (None, None, Some(_)) => None,
                (None, ..) => Some("*".to_owned()),
            },
            group: self.kind.group.as_str().to_owned(),
            kind: self.kind.kind.clone(),
            name: self.name.clone().unwrap_or_else(|| "*".to_owned()),
            subresource,
        };
        Touch { on: Place::Object(place), verb, risk }
    }
}

/// `Deployment shop/web`, as people say it.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("*");
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", self.kind),
            None => write!(f, "{} {name}", self.kind),
        }
    }
}

/// Where a touch falls, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    /// The namespace; `*` for all, none for an object of the whole cluster.
    pub namespace: Option<String>,
    /// The API group; empty for the core.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The object's name; `*` for all.
    pub name: String,
    /// The subresource, such as `log`; empty for the object itself.
    pub subresource: &'static str,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        f.write_str(&self.kind)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

/// One operation on a cluster.
#[derive(Debug, Clone)]
pub enum Kube {
    /// Objects of a kind.
    List(List),
    /// One object.
    Get(Get),
    /// One object with what belongs to it.
    Describe(Object),
    /// What containers wrote.
    Logs(Logs),
    /// Events.
    Events(Events),
    /// What is used of processors and memory.
    Top(Top),
    /// The kinds that the cluster serves.
    Resources(Resources),
    /// What a kind's fields mean.
    Explain(Explain),
    /// Whether the human may do something there.
    CanI(CanI),
    /// Until something is so.
    Wait(Wait),
    /// What a name of a kind could mean.
    Candidates(String),
    /// Server-side apply.
    Apply(Apply),
    /// A patch of one object.
    Patch(Patch),
    /// One object gone, or some.
    Delete(Delete),
    /// Another number of replicas.
    Scale(Scale),
    /// A workload's roll-out.
    Rollout(Rollout),
    /// A program in a container.
    Exec(Exec),
    /// A pod that runs one image.
    Run(Run),
    /// A container beside those of a running pod.
    Debug(Ephemeral),
    /// A node in or out of service.
    Node(Node),
}

impl Kube {
    /// The main verb of RBAC; `discover` for what is asked of the cluster as a whole.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        self.touches().first().map_or("discover", |touch| touch.verb)
    }

    /// The highest risk of anything it does.
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.touches().iter().map(|touch| touch.risk).max().unwrap_or(Risk::Read)
    }

    /// Whether an approver can be shown what it would do.
    #[must_use]
    pub const fn has_preview(&self) -> bool {
        matches!(
            self,
            Self::Apply(_)
                | Self::Patch(_)
                | Self::Delete(_)
                | Self::Scale(_)
                | Self::Rollout(_)
                | Self::Run(_)
                | Self::Debug(_)
                | Self::Node(_)
                | Self::Exec(_)
        )
    }

    /// Whether it changes nothing, so that it may be tried again.
    #[must_use]
    pub const fn reads(&self) -> bool {
        matches!(
            self,
            Self::List(_)
                | Self::Get(_)
                | Self::Describe(_)
                | Self::Logs(_)
                | Self::Events(_)
                | Self::Top(_)
                | Self::Resources(_)
                | Self::Explain(_)
                | Self::CanI(_)
                | Self::Wait(_)
                | Self::Candidates(_)
        )
    }
}

#[cfg(test)]
mod tests;
