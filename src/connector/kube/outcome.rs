//! What comes of a change, judged again: a patch of one field may be merged into a pod that has left its node's fences long ago.
//!
//! Only what runs code is looked at, and only where the change reaches what runs: a new label on a privileged DaemonSet is no new risk.

use serde_json::Value;

use crate::operation::Risk;
use crate::operation::kube::{Object, risk};

/// Where the pods of each kind are described.
fn pods(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("/spec"),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate"),
        "PodTemplate" => Some("/template"),
        _ => None,
    }
}

/// Whether objects of the kind run programs.
pub(super) fn runs_code(object: &Object) -> bool {
    pods(&object.kind.kind).is_some()
}

/// Why what comes of a change is of a higher risk than `judged`, if it is.
pub(super) fn riskier(object: &Object, before: Option<&Value>, after: &Value, judged: Risk) -> Option<Vec<String>> {
    let place = pods(&object.kind.kind)?;
    let after = after.pointer(place)?;
    if before.and_then(|before| before.pointer(place)) == Some(after) {
        return None;
    }
    // What the server fills in is what every pod has.
    let mut after = after.clone();
    without_defaults(&mut after);
    let outcome = risk::write(object, &after);
    (outcome.risk > judged).then_some(outcome.why)
}

/// Takes out what the server writes into a pod that names nothing of its own.
fn without_defaults(pod: &mut Value) {
    match pod {
        Value::Object(members) => {
            // An account's token is put into every pod, and so is the node it was placed on.
            members.remove("nodeName");
            if let Some(Value::Array(volumes)) = members.get_mut("volumes") {
                volumes
                    .retain(|volume| !volume.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("kube-api-access-")));
            }
            members.values_mut().for_each(without_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}
