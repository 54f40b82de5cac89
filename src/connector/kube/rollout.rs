//! Roll-outs as they stand: how far one is, and the revisions that there are.

use serde_json::{Value, json};

use crate::connector::kube::logs;
use crate::connector::kube::session::Ask;
use crate::connector::kube::{Held, Work};
use crate::mask::{Done, Piece};
use crate::operation::kube::{Object, Type};
use crate::refusal::Refusal;

/// Revisions that are looked at.
const REVISIONS_MAX: usize = 2_000;
/// And a page of them.
const PAGE: usize = 250;

/// Whether a roll-out is complete, and how far it is, as kubectl tells it.
pub(super) fn progress(kind: &Type, object: &Value) -> (bool, String) {
    let number = |place: &str| object.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return (false, "the change has not been seen by its controller yet".to_owned());
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut late = conditions.filter(|one| one.get("reason").and_then(Value::as_str) == Some("ProgressDeadlineExceeded"));
    if late.next().is_some() {
        return (false, "it exceeded its progress deadline".to_owned());
    }
    let strategy = object.pointer("/spec/updateStrategy/type").and_then(Value::as_str).unwrap_or("RollingUpdate");
    if kind.kind != "Deployment" && strategy != "RollingUpdate" {
        return (
            false,
            format!("with the update strategy {strategy} pods change when somebody deletes them: there is no roll-out to follow"),
        );
    }
    let (wanted, updated, ready) = match kind.kind.as_str() {
        "DaemonSet" => {
            (number("/status/desiredNumberScheduled"), number("/status/updatedNumberScheduled"), number("/status/numberAvailable"))
        }
        "StatefulSet" => (
            object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1),
            number("/status/updatedReplicas"),
            number("/status/readyReplicas"),
        ),
        _ => (
            object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1),
            number("/status/updatedReplicas"),
            number("/status/availableReplicas"),
        ),
    };
    // Pods below the partition are meant to stay as they are.
    let kept = number("/spec/updateStrategy/rollingUpdate/partition").min(wanted);
    let old = if kind.kind == "Deployment" { number("/status/replicas").saturating_sub(updated) } else { 0 };
    if updated < wanted - kept {
        (false, format!("{updated} of {} replicas are of the new revision", wanted - kept))
    } else if old > 0 {
        (false, format!("{old} replicas of the old revision are still there"))
    } else if ready < wanted {
        (false, format!("{ready} of {wanted} replicas are available"))
    } else {
        (true, format!("complete: {wanted} replicas"))
    }
}

impl Work<'_> {
    /// How far a roll-out is.
    pub(super) async fn rollout_status(&self, of: &Object) -> Result<Held, Refusal> {
        let object = self.object(of).await?;
        let (complete, how) = progress(&of.kind, &object);
        let paused = object.pointer("/spec/paused").cloned().unwrap_or(Value::Bool(false));
        let document = json!({ "complete": complete, "status": how, "paused": paused, "conditions": object.pointer("/status/conditions") });
        Ok((vec![Piece::Kube { document, kind: None }], Done::default()))
    }

    /// The revisions that an undo could go back to.
    pub(super) async fn rollout_history(&self, of: &Object) -> Result<Held, Refusal> {
        let columns = ["revision", "change_cause", "images", "created"];
        let mut pieces = vec![Piece::Table { columns: columns.map(|name| (name.to_owned(), "string".to_owned())).to_vec() }];
        for (number, revision) in self.revisions(of).await? {
            let containers =
                revision.pointer("/spec/template/spec/containers").or_else(|| revision.pointer("/data/spec/template/spec/containers"));
            let images: Vec<&str> =
                containers.and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.get("image")?.as_str()).collect();
            let cause = revision.pointer("/metadata/annotations/kubernetes.io~1change-cause").cloned().unwrap_or_default();
            let created = revision.pointer("/metadata/creationTimestamp").cloned().unwrap_or_default();
            pieces.push(Piece::Row(vec![Value::from(number), cause, Value::from(images.join(", ")), created]));
        }
        Ok((pieces, Done::default()))
    }

    /// The revisions of a workload, by number: ReplicaSets of a Deployment, ControllerRevisions of the others.
    pub(super) async fn revisions(&self, of: &Object) -> Result<Vec<(u64, Value)>, Refusal> {
        let object = self.object(of).await?;
        let uid = object.pointer("/metadata/uid").cloned().unwrap_or_default();
        let labels = logs::selector(object.pointer("/spec/selector").unwrap_or(&Value::Null));
        let is_deployment = of.kind.kind == "Deployment";
        let kind = Type::known("apps", if is_deployment { "ReplicaSet" } else { "ControllerRevision" }, true);
        let all = Object { kind, namespace: of.namespace.clone(), name: None };
        let path = self.resource(&all.kind).await?.path(&all, "")?;
        let (mut found, mut all, mut next) = (Vec::new(), Vec::new(), None::<String>);
        while all.len() < REVISIONS_MAX {
            let ask = Ask::get(path.clone())
                .with("limit", PAGE.to_string())
                .maybe("labelSelector", labels.as_deref())
                .maybe("continue", next.as_deref());
            let list = self.session.read(&ask).await?;
            all.extend(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
            next = list.pointer("/metadata/continue").and_then(Value::as_str).filter(|next| !next.is_empty()).map(ToOwned::to_owned);
            if next.is_none() {
                break;
            }
        }
        for revision in &all {
            let owners = revision.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
            if !owners.into_iter().any(|owner| owner.get("uid") == Some(&uid)) {
                continue;
            }
            let annotated = revision.pointer("/metadata/annotations/deployment.kubernetes.io~1revision").and_then(Value::as_str);
            let number = match annotated.filter(|_| is_deployment) {
                Some(text) => text.parse().ok(),
                None => revision.get("revision").and_then(Value::as_u64),
            };
            found.extend(number.map(|number| (number, revision.clone())));
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found)
    }
}
