//! The Table form: the columns of each kind and the cells of each object.

use serde_json::{Value, json};

use super::json::{list, moment, number, text, time};
use super::registry::Resource;
use super::rows;
use super::status::{Outcome, bad_request};

/// Name, type and priority; the name column has the format `name`.
type Column = (&'static str, &'static str, u8);

const POD: &[Column] = &[
    ("Name", "string", 0),
    ("Ready", "string", 0),
    ("Status", "string", 0),
    ("Restarts", "string", 0),
    ("Age", "string", 0),
    ("IP", "string", 1),
    ("Node", "string", 1),
    ("Nominated Node", "string", 1),
    ("Readiness Gates", "string", 1),
];
const DEPLOYMENT: &[Column] = &[
    ("Name", "string", 0),
    ("Ready", "string", 0),
    ("Up-to-date", "integer", 0),
    ("Available", "integer", 0),
    ("Age", "string", 0),
    ("Containers", "string", 1),
    ("Images", "string", 1),
    ("Selector", "string", 1),
];
const REPLICA_SET: &[Column] = &[
    ("Name", "string", 0),
    ("Desired", "integer", 0),
    ("Current", "integer", 0),
    ("Ready", "integer", 0),
    ("Age", "string", 0),
    ("Containers", "string", 1),
    ("Images", "string", 1),
    ("Selector", "string", 1),
];
const STATEFUL_SET: &[Column] =
    &[("Name", "string", 0), ("Ready", "string", 0), ("Age", "string", 0), ("Containers", "string", 1), ("Images", "string", 1)];
const DAEMON_SET: &[Column] = &[
    ("Name", "string", 0),
    ("Desired", "integer", 0),
    ("Current", "integer", 0),
    ("Ready", "integer", 0),
    ("Up-to-date", "integer", 0),
    ("Available", "integer", 0),
    ("Node Selector", "string", 0),
    ("Age", "string", 0),
    ("Containers", "string", 1),
    ("Images", "string", 1),
    ("Selector", "string", 1),
];
const JOB: &[Column] = &[
    ("Name", "string", 0),
    ("Status", "string", 0),
    ("Completions", "string", 0),
    ("Duration", "string", 0),
    ("Age", "string", 0),
    ("Containers", "string", 1),
    ("Images", "string", 1),
    ("Selector", "string", 1),
];
const NODE: &[Column] = &[
    ("Name", "string", 0),
    ("Status", "string", 0),
    ("Roles", "string", 0),
    ("Age", "string", 0),
    ("Version", "string", 0),
    ("Internal-IP", "string", 1),
    ("External-IP", "string", 1),
    ("OS-Image", "string", 1),
    ("Kernel-Version", "string", 1),
    ("Container-Runtime", "string", 1),
];
const SERVICE: &[Column] = &[
    ("Name", "string", 0),
    ("Type", "string", 0),
    ("Cluster-IP", "string", 0),
    ("External-IP", "string", 0),
    ("Port(s)", "string", 0),
    ("Age", "string", 0),
    ("Selector", "string", 1),
];
const EVENT: &[Column] = &[
    ("Last Seen", "string", 0),
    ("Type", "string", 0),
    ("Reason", "string", 0),
    ("Object", "string", 0),
    ("Subobject", "string", 1),
    ("Source", "string", 1),
    ("Message", "string", 0),
    ("First Seen", "string", 1),
    ("Count", "integer", 1),
    ("Name", "string", 1),
];
const SECRET: &[Column] = &[("Name", "string", 0), ("Type", "string", 0), ("Data", "integer", 0), ("Age", "string", 0)];
const CONFIG_MAP: &[Column] = &[("Name", "string", 0), ("Data", "integer", 0), ("Age", "string", 0)];
const NAMESPACE: &[Column] = &[("Name", "string", 0), ("Status", "string", 0), ("Age", "string", 0)];
const ACCOUNT: &[Column] = &[("Name", "string", 0), ("Secrets", "integer", 0), ("Age", "string", 0)];
const PLAIN: &[Column] = &[("Name", "string", 0), ("Age", "string", 0)];
const CUSTOM: &[Column] = &[("Name", "string", 0), ("Age", "date", 0)];
const CREATED: &[Column] = &[("Name", "string", 0), ("Created At", "date", 0)];

fn columns(resource: &Resource) -> &'static [Column] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => POD,
        ("apps", "deployments") => DEPLOYMENT,
        ("apps", "replicasets") | ("", "replicationcontrollers") => REPLICA_SET,
        ("apps", "statefulsets") => STATEFUL_SET,
        ("apps", "daemonsets") => DAEMON_SET,
        ("batch", "jobs") => JOB,
        ("", "nodes") => NODE,
        ("", "services") => SERVICE,
        (_, "events") => EVENT,
        ("", "secrets") => SECRET,
        ("", "configmaps") => CONFIG_MAP,
        ("", "namespaces") => NAMESPACE,
        ("", "serviceaccounts") => ACCOUNT,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") | ("apiextensions.k8s.io", _) => CREATED,
        _ if resource.custom => CUSTOM,
        _ => PLAIN,
    }
}

fn definition(name: &str, kind: &str, priority: i64) -> Value {
    let format = if name == "Name" { "name" } else { "" };
    json!({ "name": name, "type": kind, "format": format, "description": describe(name), "priority": priority })
}

fn describe(name: &str) -> &'static str {
    match name {
        "Name" => "Name must be unique within a namespace. Is required when creating resources. Cannot be updated.",
        "Age" | "Created At" => "CreationTimestamp is a timestamp representing the server time when this object was created.",
        "Status" => "The aggregate status of the object.",
        _ => "",
    }
}

pub(super) fn of(resource: &Resource, objects: &[Value], metadata: Value, include: &str) -> Outcome<Value> {
    let shown = |object: &Value| match include {
        "" | "Metadata" => Ok(super::list::partial(object)),
        "Object" => Ok(object.clone()),
        "None" => Ok(Value::Null),
        other => Err(bad_request(format!("unrecognized includeObject value: {other:?}"))),
    };
    let mut rows = Vec::new();
    for object in objects {
        let mut row = json!({ "cells": cells(resource, object), "object": shown(object)? });
        if resource.plural == "pods" && matches!(text(object, "/status/phase"), "Succeeded" | "Failed") {
            let (reason, message) = match text(object, "/status/phase") {
                "Succeeded" => ("Succeeded", "The pod has completed successfully."),
                _ => ("Failed", "The pod failed."),
            };
            row["conditions"] = json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]);
        }
        rows.push(row);
    }
    let columns: Vec<_> = if resource.columns.is_empty() {
        columns(resource).iter().map(|(name, kind, priority)| definition(name, kind, i64::from(*priority))).collect()
    } else {
        let own = resource.columns.iter().map(|column| {
            let mut defined = definition(text(column, "/name"), text(column, "/type"), number(column, "/priority"));
            defined["description"] = json!(text(column, "/description"));
            defined
        });
        [definition("Name", "string", 0)].into_iter().chain(own).collect()
    };
    Ok(json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows }))
}

/// The table of a Scale, which is a view and no object of the resource.
pub(super) fn scale(object: &Value, metadata: Value) -> Value {
    let columns = [("Name", "string"), ("Desired", "integer"), ("Available", "integer"), ("Age", "string")];
    let columns: Vec<_> = columns.iter().map(|(name, kind)| definition(name, kind, 0)).collect();
    let age = since(text(object, "/metadata/creationTimestamp"));
    let cells = json!([text(object, "/metadata/name"), number(object, "/spec/replicas"), number(object, "/status/replicas"), age]);
    let rows = json!([{ "cells": cells, "object": super::list::partial(object) }]);
    json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows })
}

/// How long ago, as `kubectl` shows it.
pub(super) fn since(stamp: &str) -> String {
    let Some(then) = time(stamp) else { return "<unknown>".into() };
    human((moment() - then).num_seconds())
}

pub(super) fn human(seconds: i64) -> String {
    let two = |big: i64, unit: &str, small: i64, lesser: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{lesser}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match () {
        () if seconds < -1 => "<invalid>".into(),
        () if seconds < 0 => "0s".into(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(hours / 24, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        () => format!("{}y", hours / 24 / 365),
    }
}

fn cells(resource: &Resource, object: &Value) -> Vec<Value> {
    let name = json!(text(object, "/metadata/name"));
    let created = text(object, "/metadata/creationTimestamp");
    let age = json!(since(created));
    if !resource.columns.is_empty() {
        let own = resource.columns.iter().map(|column| custom_cell(column, object));
        return [name].into_iter().chain(own).collect();
    }
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => rows::pod(object, name, age),
        ("apps", "deployments") => rows::deployment(object, name, age),
        ("apps", "replicasets") | ("", "replicationcontrollers") => rows::replica_set(object, name, age),
        ("apps", "statefulsets") => {
            let ready = format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"));
            let (containers, images) = rows::containers(&object["spec"]["template"]["spec"]);
            vec![name, json!(ready), age, containers, images]
        }
        ("apps", "daemonsets") => rows::daemon_set(object, name, age),
        ("batch", "jobs") => rows::job(object, name, age),
        ("", "nodes") => rows::node(object, name, age),
        ("", "services") => rows::service(object, name, age),
        (_, "events") => rows::event(object, name),
        ("", "secrets") => vec![name, object["type"].clone(), json!(rows::count(&object["data"])), age],
        ("", "configmaps") => vec![name, json!(rows::count(&object["data"]) + rows::count(&object["binaryData"])), age],
        ("", "namespaces") => vec![name, json!(text(object, "/status/phase")), age],
        ("", "serviceaccounts") => vec![name, json!(list(object, "/secrets").len()), age],
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") | ("apiextensions.k8s.io", _) => vec![name, json!(created)],
        _ => vec![name, age],
    }
}

/// A simple path such as `.spec.size`, which is what printer columns nearly always are.
fn custom_cell(column: &Value, object: &Value) -> Value {
    let path = text(column, "/jsonPath").trim_start_matches('.').replace('.', "/");
    let value = object.pointer(&format!("/{path}")).cloned().unwrap_or(Value::Null);
    if text(column, "/type") == "date" { json!(since(value.as_str().unwrap_or_default())) } else { value }
}
