//! What each operation needs to know.

use serde_json::Value;

use crate::operation::kube::{Group, Manifest, Object, Type};

/// How a list comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The server's own table.
    Table,
    /// Namespaces and names.
    Name,
    /// Whole objects.
    Json,
}

/// Objects of a kind.
#[derive(Debug, Clone)]
pub struct List {
    /// The kind, and where.
    pub of: Object,
    /// Only those with these labels.
    pub label_selector: Option<String>,
    /// Only those with these fields.
    pub field_selector: Option<String>,
    /// Only these fields of each, as columns.
    pub fields: Vec<Vec<String>>,
    /// How they come back.
    pub output: Output,
    /// At most so many.
    pub limit: u32,
    /// Where an earlier list ended.
    pub from: Option<String>,
}

/// One object.
#[derive(Debug, Clone)]
pub struct Get {
    /// Which.
    pub object: Object,
    /// Only these fields of it.
    pub fields: Vec<Vec<String>>,
}

/// What containers wrote.
#[derive(Debug, Clone)]
pub struct Logs {
    /// A pod, or a workload whose pods are meant.
    pub of: Object,
    /// The container; the pod's only one otherwise.
    pub container: Option<String>,
    /// Of the container that ran before.
    pub previous: bool,
    /// The last so many lines.
    pub tail: u32,
    /// Of the last so many seconds.
    pub since_seconds: Option<u64>,
    /// Since this moment (RFC 3339).
    pub since_time: Option<String>,
    /// With the time of each line.
    pub timestamps: bool,
    /// Only lines with this text.
    pub contains: Option<String>,
    /// At most so many bytes.
    pub limit_bytes: u64,
}

/// Events.
#[derive(Debug, Clone)]
pub struct Events {
    /// Where; all namespaces otherwise.
    pub namespace: Option<String>,
    /// Only those with these fields.
    pub field_selector: Option<String>,
    /// Not older than so many seconds.
    pub since_seconds: Option<u64>,
    /// At most so many, the latest.
    pub limit: u32,
}

/// Whose use is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopOf {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
}

/// What is used of processors and memory.
#[derive(Debug, Clone)]
pub struct Top {
    /// Pods or nodes.
    pub of: TopOf,
    /// Pods of this namespace.
    pub namespace: Option<String>,
    /// Only this one.
    pub name: Option<String>,
    /// Only those with these labels.
    pub label_selector: Option<String>,
}

/// The kinds that the cluster serves.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Of this group alone.
    pub group: Option<Group>,
    /// Only those that know all these verbs.
    pub verbs: Vec<String>,
}

/// What a kind's fields mean.
#[derive(Debug, Clone)]
pub struct Explain {
    /// The kind.
    pub kind: Type,
    /// The field; the whole object otherwise.
    pub path: Vec<String>,
    /// And all below it.
    pub recursive: bool,
}

/// Whether the human may do something there.
#[derive(Debug, Clone)]
pub struct CanI {
    /// The verb of RBAC.
    pub verb: String,
    /// The group of the resource.
    pub group: Group,
    /// The resource in the plural, as RBAC has it.
    pub resource: String,
    /// Its subresource.
    pub subresource: Option<String>,
    /// Where; everywhere otherwise.
    pub namespace: Option<String>,
    /// Of this name alone.
    pub name: Option<String>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A condition with this status.
    Condition {
        /// Its type.
        name: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// That it is gone.
    Deleted,
    /// That the roll-out of a workload is complete.
    RolledOut,
}

/// Until something is so.
#[derive(Debug, Clone)]
pub struct Wait {
    /// Of which object.
    pub object: Object,
    /// What.
    pub until: Whom,
}

/// Server-side apply.
#[derive(Debug, Clone)]
pub struct Apply {
    /// The objects.
    pub manifests: Vec<Manifest>,
    /// In whose name fields are owned.
    pub field_manager: String,
    /// Take fields from others.
    pub force: bool,
    /// Show what would come of it, and change nothing.
    pub dry_run: bool,
}

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// Strategic merge patch.
    Strategic,
    /// JSON Merge Patch (RFC 7386).
    Merge,
    /// JSON Patch (RFC 6902).
    Json,
}

impl PatchType {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }

    /// Its name in arguments.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strategic => "strategic",
            Self::Merge => "merge",
            Self::Json => "json",
        }
    }
}

/// A part of an object that is written apart from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    /// The object itself.
    None,
    /// Its status.
    Status,
    /// Its number of replicas.
    Scale,
}

impl Subresource {
    /// As it stands in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Status => "status",
            Self::Scale => "scale",
        }
    }
}

/// A patch of one object.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Which.
    pub object: Object,
    /// How it is written.
    pub patch_type: PatchType,
    /// The patch.
    pub body: Value,
    /// Which part.
    pub subresource: Subresource,
    /// Show what would come of it, and change nothing.
    pub dry_run: bool,
}

/// What is deleted.
#[derive(Debug, Clone)]
pub enum Subject {
    /// One object, of this `uid` if one is given.
    One(Object, Option<String>),
    /// All of a kind in a namespace with these labels, if they are no more than so many.
    Labelled(Object, String, u32),
}

/// One object gone, or some.
#[derive(Debug, Clone)]
pub struct Delete {
    /// What.
    pub what: Subject,
    /// `Foreground`, `Background` or `Orphan`; `Background` otherwise.
    pub propagation: Option<&'static str>,
    /// How long it may take to end.
    pub grace_seconds: Option<u32>,
    /// Show what would be deleted, and change nothing.
    pub dry_run: bool,
}

/// Another number of replicas.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Of which workload.
    pub object: Object,
    /// How many.
    pub replicas: u32,
}

/// What is done with a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// How far it is.
    Status,
    /// Its revisions.
    History,
    /// All pods anew.
    Restart,
    /// Back to an earlier revision; the one before otherwise.
    Undo(Option<u64>),
    /// Changes wait.
    Pause,
    /// Changes go on.
    Resume,
}

/// A workload's roll-out.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// Of which workload.
    pub object: Object,
    /// What.
    pub action: Action,
}

/// A program in a container.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The pod.
    pub pod: Object,
    /// The container; the pod's only one otherwise.
    pub container: Option<String>,
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// What it reads.
    pub stdin: Option<String>,
    /// At most so many bytes of both streams together.
    pub limit_bytes: u64,
}

/// A pod that runs one image.
#[derive(Debug, Clone)]
pub struct Run {
    /// The pod as it would be made.
    pub manifest: Manifest,
}

/// A container beside those of a running pod.
#[derive(Debug, Clone)]
pub struct Ephemeral {
    /// The pod.
    pub pod: Object,
    /// The new container's name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// What it runs; the image's own otherwise.
    pub command: Vec<String>,
    /// Whose processes it sees.
    pub beside: Option<String>,
}

/// What is done with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeWork {
    /// No new pods.
    Cordon,
    /// New pods again.
    Uncordon,
    /// No new pods, and those on it leave.
    Drain {
        /// Pods of DaemonSets stay; else they are in the way.
        ignore_daemonsets: bool,
        /// Pods with `emptyDir` leave and lose it; else they are in the way.
        delete_emptydir: bool,
        /// How long pods may take to end; their own otherwise.
        grace_seconds: Option<u32>,
    },
}

/// A node in or out of service.
#[derive(Debug, Clone)]
pub struct Node {
    /// Which.
    pub node: Object,
    /// What.
    pub work: NodeWork,
    /// Show what would be evicted, and change nothing.
    pub dry_run: bool,
}
