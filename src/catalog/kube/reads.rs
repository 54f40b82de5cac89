//! The arguments of the Kubernetes tools that read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::common::{Common, arguments, is_false};

const fn hundred() -> u32 {
    100
}

const fn quarter_mebibyte() -> u64 {
    256 * 1024
}

/// How a list comes back.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Output {
    /// The server's own columns.
    #[default]
    Table,
    /// Namespaces and names.
    Name,
    /// Whole objects; costs many tokens.
    Json,
}

/// Events of a kind.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EventType {
    /// Things going their way.
    Normal,
    /// Things that are not.
    Warning,
}

/// Whose use.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Scope {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
}

/// A workload, whose pods are meant.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Workload {
    /// Such as `Deployment`, `StatefulSet`, `Job`.
    #[schemars(length(min = 1, max = 253))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

arguments! {
    /// `k8s_list`.
    List {
        /// Such as `v1` or `apps/v1`; may be left out for kinds that every cluster has.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 320))]
        pub api_version: Option<String>,
        /// Such as `Pod`, `deploy`, `deployments.apps`.
        #[schemars(length(min = 1, max = 253))]
        pub kind: String,
        /// Only of this namespace; of all otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub namespace: Option<String>,
        /// Only those with these labels, such as `app=web,tier!=cache`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 2000))]
        pub label_selector: Option<String>,
        /// Only those with these fields, such as `status.phase=Failed`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 2000))]
        pub field_selector: Option<String>,
        /// Only these fields of each, as columns: `metadata.name`, `spec.nodeName`, `metadata.labels['app.kubernetes.io/name']`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 20))]
        pub fields: Vec<String>,
        /// How they come back; not with `fields`.
        #[serde(default)]
        pub output: Output,
        /// At most so many; `continue` leads to the next.
        #[serde(default = "hundred")]
        #[schemars(range(min = 1, max = 5000))]
        pub limit: u32,
        /// The `continue` of the answer before.
        #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 8192))]
        pub from: Option<String>,
        /// At most so many bytes come back; 1048576 if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1024, max = 8388608))]
        pub max_bytes: Option<u64>,
    }
}

arguments! {
    /// `k8s_get`.
    object Get {
        /// Only these fields, such as `spec.replicas`, `status.conditions`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 20))]
        pub fields: Vec<String>,
    }
}

arguments! {
    /// `k8s_describe`.
    object Describe {}
}

arguments! {
    /// `k8s_logs`.
    Logs {
        /// The namespace.
        #[schemars(length(min = 1, max = 63))]
        pub namespace: String,
        /// The pod's name. Either this or `workload`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 253))]
        pub name: Option<String>,
        /// The workload whose pods are read, ten at most.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub workload: Option<Workload>,
        /// The container; needed where a pod has several.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub container: Option<String>,
        /// Of the container that ran before the last restart.
        #[serde(default, skip_serializing_if = "is_false")]
        pub previous: bool,
        /// The last so many lines; 100 if left out, 10000 with `contains`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 1000000))]
        pub tail: Option<u32>,
        /// Not older than this: `90s`, `30m`, `2h`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 2, max = 10))]
        pub since: Option<String>,
        /// Not before this moment (RFC 3339); not with `since`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 20, max = 40))]
        pub since_time: Option<String>,
        /// With the time of each line.
        #[serde(default, skip_serializing_if = "is_false")]
        pub timestamps: bool,
        /// Only lines that hold this text.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 500))]
        pub contains: Option<String>,
        /// At most so many bytes come back.
        #[serde(default = "quarter_mebibyte")]
        #[schemars(range(min = 1024, max = 1048576))]
        pub limit_bytes: u64,
    }
}

arguments! {
    /// `k8s_events`.
    Events {
        /// Only of this namespace; of all otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub namespace: Option<String>,
        /// Only those with these fields, such as `involvedObject.name=web-1`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 2000))]
        pub field_selector: Option<String>,
        /// Only these.
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        pub event_type: Option<EventType>,
        /// Not older than this: `90s`, `30m`, `2h`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 2, max = 10))]
        pub since: Option<String>,
        /// At most so many, the latest first.
        #[serde(default = "hundred")]
        #[schemars(range(min = 1, max = 1000))]
        pub limit: u32,
    }
}

arguments! {
    /// `k8s_top`.
    Top {
        /// Pods or nodes.
        pub scope: Scope,
        /// Only this one.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 253))]
        pub name: Option<String>,
        /// Pods of this namespace; of all otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub namespace: Option<String>,
        /// Only those with these labels.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 2000))]
        pub label_selector: Option<String>,
    }
}

arguments! {
    /// `k8s_api_resources`.
    Resources {
        /// Only of this API group, such as `apps`; empty for the core.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 253))]
        pub group: Option<String>,
        /// Only those that know all these verbs, such as `list`, `patch`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 20))]
        pub verbs: Vec<String>,
    }
}

arguments! {
    /// `k8s_explain`.
    Explain {
        /// Such as `v1` or `apps/v1`; may be left out for kinds that every cluster has.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 320))]
        pub api_version: Option<String>,
        /// Such as `Pod`, `deploy`, `deployments.apps`.
        #[schemars(length(min = 1, max = 253))]
        pub kind: String,
        /// A field, such as `spec.template.spec.containers`; the whole object otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 500))]
        pub field: Option<String>,
        /// And the names of all fields below it.
        #[serde(default, skip_serializing_if = "is_false")]
        pub recursive: bool,
    }
}

arguments! {
    /// `k8s_can_i`.
    CanI {
        /// The verb: get, list, watch, create, update, patch, delete, or `*`.
        #[schemars(regex(pattern = r"^([a-z]{1,40}|\*)$"))]
        pub verb: String,
        /// The resource in the plural, as RBAC has it: `pods`, `deployments.apps`, `pods/exec`.
        #[schemars(length(min = 1, max = 320))]
        pub resource: String,
        /// In this namespace; everywhere otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 63))]
        pub namespace: Option<String>,
        /// For the object of this name alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 253))]
        pub name: Option<String>,
    }
}

arguments! {
    /// `k8s_wait`.
    object Wait {
        /// What must be so: a condition such as `Ready`, `Available` or `Ready=False`; `deleted`; or `rollout`, for a complete roll-out.
        #[serde(rename = "for")]
        #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9./-]{0,100}(=(True|False|Unknown))?$"))]
        pub until: String,
    }
}
