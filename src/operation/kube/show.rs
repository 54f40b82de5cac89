//! An operation as an approver reads it: exactly what would go to the cluster, and why it is of its risk. Only the values of Secrets are left out, by the
//! kind of the object: a mask that went by names would hide from the approver what an agent calls a password.

use serde_json::{Map, Value, json};

use crate::operation::kube::risk::{self, Judged};
use crate::operation::kube::{Action, Kube, Manifest, NodeWork, Object, Subject, Subresource};

/// What stands for a Secret's value. The digest of the call binds the value all the same.
const HIDDEN: &str = "[redacted:secret]";

fn reference(object: &Object) -> Value {
    let mut shown = Map::from_iter([("kind".to_owned(), Value::from(object.kind.to_string()))]);
    shown.extend(object.namespace.iter().map(|namespace| ("namespace".to_owned(), Value::from(namespace.as_str()))));
    shown.insert("name".to_owned(), Value::from(object.name.as_deref().unwrap_or("*")));
    Value::Object(shown)
}

/// Content for a kind: of a Secret the keys alone. A JSON Patch names its place in a text, so its values go too.
fn content(object: &Object, body: &Value) -> Value {
    if !risk::is_secret(&object.kind) {
        return body.clone();
    }
    match body {
        Value::Array(operations) => operations.iter().map(without_value).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let hides = name.eq_ignore_ascii_case("data") || name.eq_ignore_ascii_case("stringData");
                (name.clone(), if hides { hidden(member) } else { without_copies(member) })
            })
            .collect(),
        other => other.clone(),
    }
}

/// Without the annotation in which kubectl keeps a copy of all of it.
fn without_copies(member: &Value) -> Value {
    let mut member = member.clone();
    if let Some(annotations) = member.get_mut("annotations").and_then(Value::as_object_mut)
        && let Some(copy) = annotations.get_mut("kubectl.kubernetes.io/last-applied-configuration")
    {
        *copy = Value::from(HIDDEN);
    }
    member
}

fn without_value(operation: &Value) -> Value {
    let mut shown = operation.clone();
    if let Some(value) = shown.get_mut("value") {
        *value = Value::from(HIDDEN);
    }
    shown
}

fn hidden(member: &Value) -> Value {
    match member {
        Value::Object(keys) => keys.keys().map(|key| (key.clone(), Value::from(HIDDEN))).collect(),
        Value::Null => Value::Null,
        _ => Value::from(HIDDEN),
    }
}

fn manifest(manifest: &Manifest) -> Value {
    content(&manifest.object, &manifest.body)
}

impl Kube {
    /// Why its risk is above that of a plain change.
    pub(in crate::operation) fn why(&self) -> Vec<String> {
        let judged = match self {
            Self::Apply(apply) => {
                apply.manifests.iter().map(|manifest| risk::write(&manifest.object, &manifest.body)).reduce(|one, other| one.with(&other))
            }
            Self::Patch(patch) if patch.subresource == Subresource::Status => Some(risk::status(&patch.object, &patch.body)),
            Self::Patch(patch) => Some(risk::write(&patch.object, &patch.body)),
            Self::Delete(delete) => Some(risk::delete(delete.object())),
            Self::Scale(scale) => Some(risk::scale(&scale.object, scale.replicas)),
            Self::Run(run) => Some(risk::write(&run.manifest.object, &run.manifest.body)),
            _ => None,
        };
        judged.map(|Judged { why, .. }| why).unwrap_or_default()
    }

    /// The exact operation, for a human's eyes.
    #[must_use]
    pub fn show(&self) -> Value {
        let mut shown = match self {
            Self::Apply(apply) => json!({
                "apply": apply.manifests.iter().map(manifest).collect::<Vec<_>>(),
                "field_manager": apply.field_manager, "force_conflicts": apply.force, "dry_run": apply.dry_run,
            }),
            Self::Patch(patch) => json!({
                "object": reference(&patch.object), "patch_type": patch.patch_type.as_str(), "subresource": patch.subresource.as_str(),
                "patch": content(&patch.object, &patch.body), "dry_run": patch.dry_run,
            }),
            Self::Delete(delete) => {
                let mut shown = json!({
                    "delete": reference(delete.object()), "propagation": delete.propagation.unwrap_or("Background"), "grace_period_seconds": delete.grace_seconds,
                    "dry_run": delete.dry_run,
                });
                let more = match &delete.what {
                    Subject::One(_, uid) => json!({ "uid": uid }),
                    Subject::Labelled(_, selector, most) => json!({ "label_selector": selector, "max_count": most }),
                };
                if let (Some(members), Value::Object(more)) = (shown.as_object_mut(), more) {
                    members.extend(more);
                }
                shown
            }
            Self::Scale(scale) => json!({ "scale": reference(&scale.object), "replicas": scale.replicas }),
            Self::Rollout(rollout) => {
                let (action, revision) = match rollout.action {
                    Action::Status => ("status", None),
                    Action::History => ("history", None),
                    Action::Restart => ("restart", None),
                    Action::Undo(revision) => ("undo", revision),
                    Action::Pause => ("pause", None),
                    Action::Resume => ("resume", None),
                };
                json!({ "rollout": action, "object": reference(&rollout.object), "to_revision": revision })
            }
            Self::Exec(exec) => json!({
                "exec": exec.command, "pod": reference(&exec.pod), "container": exec.container, "stdin": exec.stdin,
            }),
            Self::Run(run) => json!({ "create": manifest(&run.manifest) }),
            Self::Debug(debug) => json!({
                "debug": reference(&debug.pod), "container": debug.name, "image": debug.image, "command": debug.command,
                "target_container": debug.beside,
            }),
            Self::Node(node) => {
                let (work, drain) = match node.work {
                    NodeWork::Cordon => ("cordon", Value::Null),
                    NodeWork::Uncordon => ("uncordon", Value::Null),
                    NodeWork::Drain { ignore_daemonsets, delete_emptydir, grace_seconds } => (
                        "drain",
                        json!({
                            "ignore_daemonsets": ignore_daemonsets, "delete_emptydir": delete_emptydir,
                            "grace_period_seconds": grace_seconds,
                        }),
                    ),
                };
                json!({ "node": reference(&node.node), "work": work, "drain": drain, "dry_run": node.dry_run })
            }
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
            | Self::Candidates(_) => {
                json!({ "verb": self.verb(), "touches": self.touches().iter().map(|touch| touch.on.to_string()).collect::<Vec<_>>() })
            }
        };
        let why = self.why();
        if let (Some(members), false) = (shown.as_object_mut(), why.is_empty()) {
            members.insert("risk_because".to_owned(), json!(why));
        }
        shown
    }
}
