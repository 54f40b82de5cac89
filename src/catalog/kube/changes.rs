//! The arguments of the Kubernetes tools that change something.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::common::{Common, arguments, is_false};

const fn ten() -> u32 {
    10
}

const fn quarter_mebibyte() -> u64 {
    256 * 1024
}

fn manager() -> String {
    "countersign".to_owned()
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum DryRun {
    /// It is done.
    #[default]
    None,
    /// The server says what would come of it, and nothing is changed.
    Server,
}

/// How a patch is written.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum PatchType {
    /// JSON Merge Patch: an object; null removes; lists are replaced.
    #[default]
    Merge,
    /// Strategic merge patch: an object; lists are merged by key. Not for custom resources.
    Strategic,
    /// JSON Patch: a list of at most 100 operations: `add`, `remove`, `replace`, `test`. No `copy` or `move`, and no `test` in a dry run.
    Json,
}

/// A part that is written apart.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Subresource {
    /// The status.
    Status,
    /// The number of replicas.
    Scale,
}

/// What becomes of what an object owns.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Propagation {
    /// It goes first.
    Foreground,
    /// It goes afterwards.
    Background,
    /// It stays.
    Orphan,
}

/// What is done with a roll-out.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RolloutAction {
    /// How far it is.
    Status,
    /// Its revisions.
    History,
    /// All pods anew.
    Restart,
    /// Back to an earlier revision.
    Undo,
    /// Changes wait.
    Pause,
    /// Changes go on.
    Resume,
}

/// What is done with a node.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum NodeOp {
    /// No new pods.
    Cordon,
    /// New pods again.
    Uncordon,
    /// No new pods, and those on it are evicted.
    Drain,
}

arguments! {
    /// `k8s_apply`.
    Apply {
        /// YAML or JSON; one object a document, apart by `---`, 20 at most. No anchors, aliases or lists.
        #[schemars(length(min = 1, max = 204800))]
        pub manifest: String,
        /// For objects that name none.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub namespace: Option<String>,
        /// `server` shows what would change, and changes nothing.
        #[serde(default)]
        pub dry_run: DryRun,
        /// The name under which the fields are owned; it begins with `countersign`.
        #[serde(default = "manager")]
        #[schemars(length(min = 1, max = 128))]
        pub field_manager: String,
        /// Take fields that others own.
        #[serde(default, skip_serializing_if = "is_false")]
        pub force_conflicts: bool,
    }
}

arguments! {
    /// `k8s_patch`.
    object Patch {
        /// How the patch is written.
        #[serde(default)]
        pub patch_type: PatchType,
        /// The patch: an object, or for `json` a list of operations.
        #[schemars(schema_with = "crate::catalog::schema::patch")]
        pub patch: Value,
        /// A part that is written apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub subresource: Option<Subresource>,
        /// `server` shows what would change, and changes nothing.
        #[serde(default)]
        pub dry_run: DryRun,
    }
}

arguments! {
    /// `k8s_delete`.
    Delete {
        /// Such as `v1` or `apps/v1`; may be left out for kinds that every cluster has.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 320))]
        pub api_version: Option<String>,
        /// Such as `Pod`, `deploy`, `deployments.apps`.
        #[schemars(length(min = 1, max = 253))]
        pub kind: String,
        /// The object's name. Either this or `label_selector`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 253))]
        pub name: Option<String>,
        /// All objects of the namespace with these labels.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 2000))]
        pub label_selector: Option<String>,
        /// With `label_selector`: refuse if more than so many are meant.
        #[serde(default = "ten")]
        #[schemars(range(min = 1, max = 100))]
        pub max_count: u32,
        /// The namespace.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub namespace: Option<String>,
        /// Only if the object is still the one with this uid.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = "^[0-9a-zA-Z-]{1,64}$"))]
        pub uid: Option<String>,
        /// What becomes of what it owns; `background` if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub propagation: Option<Propagation>,
        /// How long it may take to end.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 86400))]
        pub grace_period_seconds: Option<u32>,
        /// `server` shows what would be deleted, and changes nothing.
        #[serde(default)]
        pub dry_run: DryRun,
    }
}

arguments! {
    /// `k8s_scale`.
    object Scale {
        /// The new number of replicas.
        #[schemars(range(min = 0, max = 10000))]
        pub replicas: u32,
    }
}

arguments! {
    /// `k8s_rollout`.
    object Rollout {
        /// What to do.
        pub action: RolloutAction,
        /// With `undo`: the revision to go back to; the one before otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 1000000000))]
        pub to_revision: Option<u64>,
    }
}

arguments! {
    /// `k8s_exec`.
    Exec {
        /// The pod's name.
        #[schemars(length(min = 1, max = 253))]
        pub name: String,
        /// Its namespace.
        #[schemars(length(min = 1, max = 63))]
        pub namespace: String,
        /// The container; needed where a pod has several.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub container: Option<String>,
        /// The program and its arguments. There is no shell: `["ls", "-l", "/data"]`.
        #[schemars(schema_with = "crate::catalog::schema::argv")]
        pub command: Vec<String>,
        /// What the program reads. The cluster must be 1.30 or later.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 65536))]
        pub stdin: Option<String>,
        /// At most so many bytes of stdout and stderr together come back.
        #[serde(default = "quarter_mebibyte")]
        #[schemars(range(min = 1024, max = 1048576))]
        pub max_output_bytes: u64,
    }
}

arguments! {
    /// `k8s_run`.
    Run {
        /// The new pod's name.
        #[schemars(length(min = 1, max = 253))]
        pub name: String,
        /// Its namespace.
        #[schemars(length(min = 1, max = 63))]
        pub namespace: String,
        /// The image.
        #[schemars(length(min = 1, max = 512))]
        pub image: String,
        /// The program and its arguments; the image's own otherwise.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(schema_with = "crate::catalog::schema::argv_or_none")]
        pub command: Vec<String>,
    }
}

arguments! {
    /// `k8s_debug`.
    Ephemeral {
        /// The pod's name.
        #[schemars(length(min = 1, max = 253))]
        pub name: String,
        /// Its namespace.
        #[schemars(length(min = 1, max = 63))]
        pub namespace: String,
        /// The image of the new container; one that the target allows.
        #[schemars(length(min = 1, max = 512))]
        pub image: String,
        /// The program and its arguments; the image's own otherwise.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(schema_with = "crate::catalog::schema::argv_or_none")]
        pub command: Vec<String>,
        /// The new container's name; `debugger` otherwise. It stays with the pod.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub container: Option<String>,
        /// The container whose processes it sees.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub target_container: Option<String>,
    }
}

arguments! {
    /// `k8s_node`.
    Node {
        /// The node's name.
        #[schemars(length(min = 1, max = 253))]
        pub name: String,
        /// What to do.
        pub op: NodeOp,
        /// With `drain`: pods of DaemonSets stay; else they are in the way.
        #[serde(default, skip_serializing_if = "is_false")]
        pub ignore_daemonsets: bool,
        /// With `drain`: pods with emptyDir volumes leave too and lose them; else they are in the way.
        #[serde(default, skip_serializing_if = "is_false")]
        pub delete_emptydir: bool,
        /// With `drain`: how long pods may take to end.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 86400))]
        pub grace_period_seconds: Option<u32>,
        /// `server` shows what would be evicted, and changes nothing.
        #[serde(default)]
        pub dry_run: DryRun,
    }
}
