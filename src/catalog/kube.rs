//! The Kubernetes tools: names, titles and descriptions. An agent knows nothing else of them, so every word is for it.

pub mod changes;
mod parse;
pub mod reads;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::catalog::schema;
use crate::operation::Risk;

pub(super) use parse::parse;

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    List,
    Get,
    Describe,
    Logs,
    Events,
    Top,
    Resources,
    Explain,
    CanI,
    Wait,
    Apply,
    Patch,
    Delete,
    Scale,
    Rollout,
    Exec,
    Run,
    Debug,
    Node,
}

pub(super) const ALL: [Tool; 19] = [
    Tool::List,
    Tool::Get,
    Tool::Describe,
    Tool::Logs,
    Tool::Events,
    Tool::Top,
    Tool::Resources,
    Tool::Explain,
    Tool::CanI,
    Tool::Wait,
    Tool::Apply,
    Tool::Patch,
    Tool::Delete,
    Tool::Scale,
    Tool::Rollout,
    Tool::Exec,
    Tool::Run,
    Tool::Debug,
    Tool::Node,
];

/// What is said of a tool that may have to wait for a human.
const ASKS: &str = "It may need a human's approval and may then answer status approval_pending: call approval_wait with the approval's id, then repeat this exact same call.";

impl Tool {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::List => "k8s_list",
            Self::Get => "k8s_get",
            Self::Describe => "k8s_describe",
            Self::Logs => "k8s_logs",
            Self::Events => "k8s_events",
            Self::Top => "k8s_top",
            Self::Resources => "k8s_api_resources",
            Self::Explain => "k8s_explain",
            Self::CanI => "k8s_can_i",
            Self::Wait => "k8s_wait",
            Self::Apply => "k8s_apply",
            Self::Patch => "k8s_patch",
            Self::Delete => "k8s_delete",
            Self::Scale => "k8s_scale",
            Self::Rollout => "k8s_rollout",
            Self::Exec => "k8s_exec",
            Self::Run => "k8s_run",
            Self::Debug => "k8s_debug",
            Self::Node => "k8s_node",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::List => "List Kubernetes objects",
            Self::Get => "Get a Kubernetes object",
            Self::Describe => "Describe a Kubernetes object",
            Self::Logs => "Read container logs",
            Self::Events => "List Kubernetes events",
            Self::Top => "Show CPU and memory use",
            Self::Resources => "List the kinds of a cluster",
            Self::Explain => "Explain a kind's fields",
            Self::CanI => "Check a permission",
            Self::Wait => "Wait for a condition",
            Self::Apply => "Apply manifests",
            Self::Patch => "Patch a Kubernetes object",
            Self::Delete => "Delete Kubernetes objects",
            Self::Scale => "Scale a workload",
            Self::Rollout => "Manage a roll-out",
            Self::Exec => "Run a program in a container",
            Self::Run => "Run a pod",
            Self::Debug => "Debug a running pod",
            Self::Node => "Cordon or drain a node",
        }
    }

    pub(super) fn description(self) -> String {
        let asks = |what: &str| format!("{what} {ASKS}");
        match self {
            Self::List => "Lists objects of a kind as a small table, a page at a time. Narrow it with namespace, label_selector and field_selector; pick columns with fields; follow `continue` for more; where there is none although the answer is truncated, ask again with a smaller limit. Without namespace it asks for all namespaces, which your human may not be allowed: then name one.".to_owned(),
            Self::Get => "Returns one object, without managedFields and the last-applied annotation. Values of Secrets come back masked, keys stay. Ask for fields where you need only some: whole objects are long, and at most 1 MiB comes back.".to_owned(),
            Self::Describe => "Returns one object with its conditions, its latest 20 events and the chain of its owners: the first look at something that does not work.".to_owned(),
            Self::Logs => "Returns the last lines that a pod's container wrote, or those of a workload's pods. Narrow it with tail, since and contains; previous reads the container before the last restart. It never follows: call again. Secrets in the text come back masked.".to_owned(),
            Self::Events => "Lists events, the latest first, out of the first 5000 that the cluster names: name a namespace. Events tell why pods are not scheduled, images not pulled, probes not met.".to_owned(),
            Self::Top => "Shows how much CPU and memory pods or nodes use now, where the cluster has a metrics server.".to_owned(),
            Self::Resources => "Lists the kinds that the cluster serves, custom ones included: group, version, kind, short names, verbs. Use it to find the api_version of a kind.".to_owned(),
            Self::Explain => "Says what a kind's fields mean and of which type they are, from the cluster's own OpenAPI documents. Use it before you write a manifest of a kind you do not know well.".to_owned(),
            Self::CanI => "Says whether the human in whose name you act may do something in the cluster, and why. It does not say whether the broker's policies allow the call.".to_owned(),
            Self::Wait => "Waits until a condition of an object is so (`Available`, `Ready=False`), it is gone (`deleted`), or a roll-out is complete (`rollout`); at most timeout_ms. Tells how it stands when the time is over.".to_owned(),
            Self::Apply => asks("Server-side apply: makes the objects be as the manifest says, and leaves fields of others alone. A conflict names the fields and their owners. dry_run=server shows the differences without changing anything; do that first. The approver sees the same differences, and the call fails if the object changes in between. Privileged pods, RBAC and other kinds that give rights are of the highest risk."),
            Self::Patch => asks("Changes some fields of one object. Prefer k8s_apply for what has a manifest, and k8s_scale and k8s_rollout for what they do. dry_run=server shows the differences."),
            Self::Delete => asks("Deletes one object, or those of a namespace with certain labels, no more than max_count. dry_run=server lists what would go. The approver sees the list, and the call fails if it is another one by then."),
            Self::Scale => asks("Sets the number of replicas of a workload. Zero stops it."),
            Self::Rollout => asks("The roll-out of a Deployment, StatefulSet or DaemonSet: status and history read; restart, undo, pause and resume change (pause and resume of Deployments alone)."),
            Self::Exec => asks("Runs one program in a running container, with its arguments as a list: there is no shell, no pipe and no glob. Returns the exit code and both streams apart. Of the highest risk, and recorded. Prefer k8s_logs, k8s_describe and k8s_get: most questions need no program."),
            Self::Run => asks("Creates one pod that runs an image once (restartPolicy Never, no service account token). Read its output with k8s_logs and delete it afterwards."),
            Self::Debug => asks("Adds an ephemeral container to a running pod, with an image that the target allows, to look at a pod that has no tools of its own. It stays as long as the pod; read its output with k8s_logs."),
            Self::Node => asks("Takes a node out of service or back: cordon, uncordon, or drain by the eviction API, which heeds PodDisruptionBudgets. Pods without a controller are in the way: nothing is evicted while there are some. A drain waits until the pods are gone, so give timeout_ms. dry_run=server lists the pods that would leave."),
        }
    }

    /// The verb and risk of the mildest call.
    pub(super) const fn mildest(self) -> (&'static str, Risk) {
        match self {
            Self::List | Self::Events | Self::Top => ("list", Risk::Read),
            Self::Get | Self::Describe | Self::Logs | Self::Wait | Self::Rollout => ("get", Risk::Read),
            Self::Resources | Self::Explain | Self::CanI => ("discover", Risk::Read),
            Self::Apply | Self::Patch | Self::Node => ("patch", Risk::Read),
            Self::Delete => ("delete", Risk::Read),
            Self::Scale => ("patch", Risk::Write),
            Self::Run => ("create", Risk::Write),
            Self::Exec => ("create", Risk::Admin),
            Self::Debug => ("patch", Risk::Admin),
        }
    }

    /// `readOnly`, `destructive`, `idempotent`, `openWorld`.
    pub(super) const fn annotations(self) -> [bool; 4] {
        match self {
            Self::List
            | Self::Get
            | Self::Describe
            | Self::Logs
            | Self::Events
            | Self::Top
            | Self::Resources
            | Self::Explain
            | Self::CanI
            | Self::Wait => [true, false, true, false],
            Self::Scale => [false, true, true, false],
            Self::Run => [false, false, false, false],
            Self::Apply | Self::Patch | Self::Delete | Self::Rollout | Self::Exec | Self::Debug | Self::Node => [false, true, false, false],
        }
    }

    pub(super) fn input(self) -> Arc<Map<String, Value>> {
        match self {
            Self::List => schema::input::<reads::List>(),
            Self::Get => schema::input::<reads::Get>(),
            Self::Describe => schema::input::<reads::Describe>(),
            Self::Logs => schema::input::<reads::Logs>(),
            Self::Events => schema::input::<reads::Events>(),
            Self::Top => schema::input::<reads::Top>(),
            Self::Resources => schema::input::<reads::Resources>(),
            Self::Explain => schema::input::<reads::Explain>(),
            Self::CanI => schema::input::<reads::CanI>(),
            Self::Wait => schema::input::<reads::Wait>(),
            Self::Apply => schema::input::<changes::Apply>(),
            Self::Patch => schema::input::<changes::Patch>(),
            Self::Delete => schema::input::<changes::Delete>(),
            Self::Scale => schema::input::<changes::Scale>(),
            Self::Rollout => schema::input::<changes::Rollout>(),
            Self::Exec => schema::input::<changes::Exec>(),
            Self::Run => schema::input::<changes::Run>(),
            Self::Debug => schema::input::<changes::Ephemeral>(),
            Self::Node => schema::input::<changes::Node>(),
        }
    }

    pub(super) fn result(self) -> Value {
        match self {
            Self::List | Self::Events | Self::Top | Self::Resources => schema::rows(),
            _ => json!({ "type": "object" }),
        }
    }
}
