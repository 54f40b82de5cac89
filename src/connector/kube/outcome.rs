//! What comes of a change, judged again: a patch of one field may be merged into a pod that has left its node's fences long ago, and what an apply no
//! longer names is taken away.
//!
//! Of what runs code, only changes count that reach what runs: a new label on a privileged DaemonSet is no new risk.

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

/// Why what comes of a change is of a higher risk than `judged`, if it is.
pub(super) fn riskier(object: &Object, before: Option<&Value>, after: &Value, judged: Risk) -> Option<Vec<String>> {
    let mut found = Vec::new();
    if let Some(place) = pods(&object.kind.kind)
        && let Some(now) = after.pointer(place)
        && before.and_then(|before| before.pointer(place)) != Some(now)
    {
        // What the server fills in is what every pod has.
        let mut now = now.clone();
        without_defaults(&mut now);
        found.push(risk::write(object, &now));
    }
    found.extend(before.map(|before| risk::taken(object, before, after)));
    let why: Vec<String> = found.into_iter().filter(|outcome| outcome.risk > judged).flat_map(|outcome| outcome.why).collect();
    (!why.is_empty()).then_some(why)
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
