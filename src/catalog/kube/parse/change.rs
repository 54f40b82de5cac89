//! The tools that change something.

use serde_json::{Value, json};

use crate::catalog::kube::changes::{self, DryRun};
use crate::catalog::kube::parse::{invalid, namespace, of_kind, one, pod};
use crate::operation::kube::{
    Action, Apply, Delete, Ephemeral, Exec, Kube, Manifest, Node, NodeWork, Object, Patch, PatchType, Rollout, Run, Scale, Subject,
    Subresource, Type, manifest, name,
};
use crate::refusal::{Code, Refusal};

/// Arguments of a program, and their longest.
const ARGV_MAX: usize = 64;
const ARGUMENT_MAX_BYTES: usize = 8 * 1024;

/// A program with its arguments, which no shell reads.
fn argv(command: &[String]) -> Result<Vec<String>, Refusal> {
    if command.len() > ARGV_MAX || command.iter().any(|argument| argument.len() > ARGUMENT_MAX_BYTES || argument.contains('\0')) {
        return Err(invalid("`command` has at most 64 arguments of 8192 bytes, without NUL characters"));
    }
    if command.first().is_some_and(String::is_empty) {
        return Err(invalid("`command` begins with the program"));
    }
    Ok(command.to_vec())
}

pub(super) fn exec(exec: &changes::Exec) -> Result<Kube, Refusal> {
    let command = argv(&exec.command)?;
    if command.is_empty() {
        return Err(invalid("`command` names no program"));
    }
    Ok(Kube::Exec(Exec {
        pod: pod(&exec.namespace, &exec.name)?,
        container: exec.container.as_deref().map(|text| name::label("container", text)).transpose()?,
        command,
        stdin: exec.stdin.clone(),
        limit_bytes: exec.max_output_bytes,
    }))
}

pub(super) fn scale(scale: &changes::Scale) -> Result<Kube, Refusal> {
    of_kind(scale.api_version.as_deref(), &scale.kind, |kind| {
        Ok(Kube::Scale(Scale { object: one(kind, scale.namespace.as_ref(), &scale.name)?, replicas: scale.replicas }))
    })
}

pub(super) fn apply(apply: &changes::Apply) -> Result<Kube, Refusal> {
    let within = namespace(apply.namespace.as_ref())?;
    Ok(Kube::Apply(Apply {
        manifests: manifest::parse(&apply.manifest, within.as_deref())?,
        field_manager: name::field_manager(&apply.field_manager)?,
        force: apply.force_conflicts,
        dry_run: apply.dry_run == DryRun::Server,
    }))
}

pub(super) fn patch(patch: &changes::Patch) -> Result<Kube, Refusal> {
    of_kind(patch.api_version.as_deref(), &patch.kind, |kind| {
        let patch_type = match patch.patch_type {
            changes::PatchType::Merge => PatchType::Merge,
            changes::PatchType::Strategic => PatchType::Strategic,
            changes::PatchType::Json => PatchType::Json,
        };
        check_patch(patch_type, &patch.patch)?;
        let tests = patch.patch.as_array().into_iter().flatten().any(|one| one.get("op").and_then(Value::as_str) == Some("test"));
        if tests && patch.dry_run == DryRun::Server {
            return Err(Refusal::new(Code::InvalidPatch)
                .detail("a `test` changes nothing, so a dry run of it would only tell what is there: use k8s_get"));
        }
        Ok(Kube::Patch(Patch {
            object: one(kind, patch.namespace.as_ref(), &patch.name)?,
            patch_type,
            body: patch.patch.clone(),
            subresource: match patch.subresource {
                None => Subresource::None,
                Some(changes::Subresource::Status) => Subresource::Status,
                Some(changes::Subresource::Scale) => Subresource::Scale,
            },
            dry_run: patch.dry_run == DryRun::Server,
        }))
    })
}

/// A patch of its type, which does not make the object another one.
fn check_patch(patch_type: PatchType, body: &Value) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(Refusal::new(Code::InvalidPatch).detail(why));
    match (patch_type, body) {
        (PatchType::Json, Value::Array(operations)) => {
            let is_one = |operation: &Value| {
                let text = |name| operation.get(name).and_then(Value::as_str);
                text("op").is_some_and(|op| ["add", "remove", "replace", "test"].contains(&op))
                    && text("path").is_some_and(|path| path.is_empty() || path.starts_with('/'))
            };
            if operations.is_empty() || operations.len() > 100 || !operations.iter().all(is_one) {
                return wrong(
                    "a JSON Patch is a list of at most 100 operations, each with `op` (add, remove, replace or test; copy and move take what is not shown) and a `path` that begins with `/`",
                );
            }
            let touches_identity = operations.iter().filter_map(|operation| operation.get("path")?.as_str()).any(|path| {
                path.is_empty() || ["/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace"].contains(&path)
            });
            if touches_identity {
                return wrong("it would make the object another one: leave apiVersion, kind, metadata.name and metadata.namespace");
            }
        }
        (PatchType::Json, _) => return wrong("a patch of type json is a list of operations"),
        (_, Value::Object(members)) => {
            if members.is_empty() || members.contains_key("apiVersion") || members.contains_key("kind") {
                return wrong("it must hold the fields that change, and neither apiVersion nor kind");
            }
            let identity = ["name", "namespace", "uid", "resourceVersion", "managedFields"];
            if let Some(field) = identity.iter().find(|field| body.pointer(&format!("/metadata/{field}")).is_some()) {
                return wrong(&format!("`metadata.{field}` is not for a patch to change"));
            }
        }
        _ => return wrong("a patch of this type is an object"),
    }
    Ok(())
}

pub(super) fn delete(delete: &changes::Delete) -> Result<Kube, Refusal> {
    of_kind(delete.api_version.as_deref(), &delete.kind, |kind| {
        let within = namespace(delete.namespace.as_ref())?;
        let what = match (&delete.name, &delete.label_selector) {
            (Some(name), None) => Subject::One(one(kind, within.as_ref(), name)?, delete.uid.clone()),
            (None, Some(_)) if delete.uid.is_some() => return Err(invalid("`uid` goes with `name`")),
            (None, Some(labels)) => {
                if kind.namespaced != Some(false) && within.is_none() {
                    return Err(invalid("`namespace` is missing: nothing is deleted in all namespaces at once"));
                }
                Subject::Labelled(Object::all(kind, within)?, name::selector("label_selector", labels)?, delete.max_count)
            }
            _ => return Err(invalid("give either `name` or `label_selector`")),
        };
        Ok(Kube::Delete(Delete {
            what,
            propagation: delete.propagation.map(|propagation| match propagation {
                changes::Propagation::Foreground => "Foreground",
                changes::Propagation::Background => "Background",
                changes::Propagation::Orphan => "Orphan",
            }),
            grace_seconds: delete.grace_period_seconds,
            dry_run: delete.dry_run == DryRun::Server,
        }))
    })
}

pub(super) fn rollout(rollout: &changes::Rollout) -> Result<Kube, Refusal> {
    of_kind(rollout.api_version.as_deref(), &rollout.kind, |kind| {
        let action = match (rollout.action, rollout.to_revision) {
            (changes::RolloutAction::Undo, revision) => Action::Undo(revision),
            (_, Some(_)) => return Err(invalid("`to_revision` goes with `undo`")),
            (changes::RolloutAction::Status, None) => Action::Status,
            (changes::RolloutAction::History, None) => Action::History,
            (changes::RolloutAction::Restart, None) => Action::Restart,
            (changes::RolloutAction::Pause, None) => Action::Pause,
            (changes::RolloutAction::Resume, None) => Action::Resume,
        };
        let has_rollouts = kind.group.as_str() == "apps" && ["Deployment", "StatefulSet", "DaemonSet"].contains(&kind.kind.as_str());
        if !has_rollouts {
            return Err(invalid("a Deployment, StatefulSet or DaemonSet has roll-outs"));
        }
        if matches!(action, Action::Pause | Action::Resume) && kind.kind != "Deployment" {
            return Err(invalid("only the roll-out of a Deployment can be paused"));
        }
        Ok(Kube::Rollout(Rollout { object: one(kind, rollout.namespace.as_ref(), &rollout.name)?, action }))
    })
}

pub(super) fn run(run: &changes::Run) -> Result<Kube, Refusal> {
    let object = pod(&run.namespace, &run.name)?;
    let mut container = json!({ "name": "main", "image": name::image(&run.image)? });
    let command = argv(&run.command)?;
    if let (Some(members), false) = (container.as_object_mut(), command.is_empty()) {
        members.insert("command".to_owned(), json!(command));
    }
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": run.name, "namespace": run.namespace, "labels": { "app.kubernetes.io/created-by": "countersign" } },
        // Whatever the image is, it gets no rights in the cluster.
        "spec": { "restartPolicy": "Never", "automountServiceAccountToken": false, "containers": [container] },
    });
    Ok(Kube::Run(Run { manifest: Manifest { object, body } }))
}

pub(super) fn debug(debug: &changes::Ephemeral) -> Result<Kube, Refusal> {
    Ok(Kube::Debug(Ephemeral {
        pod: pod(&debug.namespace, &debug.name)?,
        name: name::label("container", debug.container.as_deref().unwrap_or("debugger"))?,
        image: name::image(&debug.image)?,
        command: argv(&debug.command)?,
        beside: debug.target_container.as_deref().map(|text| name::label("target_container", text)).transpose()?,
    }))
}

pub(super) fn node(node: &changes::Node) -> Result<Kube, Refusal> {
    let work = match node.op {
        changes::NodeOp::Drain => NodeWork::Drain {
            ignore_daemonsets: node.ignore_daemonsets,
            delete_emptydir: node.delete_emptydir,
            grace_seconds: node.grace_period_seconds,
        },
        _ if node.ignore_daemonsets || node.delete_emptydir || node.grace_period_seconds.is_some() => {
            return Err(invalid("`ignore_daemonsets`, `delete_emptydir` and `grace_period_seconds` go with `drain`"));
        }
        changes::NodeOp::Cordon => NodeWork::Cordon,
        changes::NodeOp::Uncordon => NodeWork::Uncordon,
    };
    Ok(Kube::Node(Node { node: one(Type::known("", "Node", false), None, &node.name)?, work, dry_run: node.dry_run == DryRun::Server }))
}
