//! The disruption controller: how many pods of a budget may be disrupted now.

use serde_json::{Value, json};

use super::controllers::{owned, save};
use super::json::{default, namespace, number, set, text};
use super::node::is_ready;
use super::selector;
use super::store::Store;

/// A number as it is, or a percentage of the whole, rounded up.
fn share(value: &Value, whole: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.trim_end_matches('%').parse::<i64>().ok());
    percent.map_or_else(|| value.as_i64().unwrap_or_default(), |percent| (whole * percent + 99) / 100)
}

/// The replicas that the owners of the pods want.
fn wanted(store: &Store, space: &str, pods: &[std::sync::Arc<Value>]) -> i64 {
    let sets = ["replicasets.apps", "statefulsets.apps", "replicationcontrollers"].into_iter().flat_map(|shelf| store.within(shelf, space));
    sets.filter(|set| pods.iter().any(|pod| owned(pod, set))).map(|set| number(&set, "/spec/replicas")).sum()
}

pub(super) fn budget(store: &mut Store, budget: &Value) {
    let space = namespace(budget);
    let all = store.within("pods", space);
    let pods: Vec<_> = all.into_iter().filter(|pod| selector::takes(&budget["spec"]["selector"], &pod["metadata"]["labels"])).collect();
    let going = |pod: &Value| !text(pod, "/metadata/deletionTimestamp").is_empty();
    let healthy = i64::try_from(pods.iter().filter(|pod| is_ready(pod) && !going(pod)).count()).unwrap_or_default();
    let count = i64::try_from(pods.len()).unwrap_or_default();
    let (least, most) = (&budget["spec"]["minAvailable"], &budget["spec"]["maxUnavailable"]);
    let (expected, desired) = match () {
        () if !most.is_null() => {
            let expected = wanted(store, space, &pods);
            (expected, (expected - share(most, expected)).max(0))
        }
        () if least.is_string() => {
            let expected = wanted(store, space, &pods);
            (expected, share(least, expected))
        }
        () => (count, share(least, count)),
    };
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut new = budget.clone();
    let counts = [("currentHealthy", healthy), ("desiredHealthy", desired), ("expectedPods", expected), ("disruptionsAllowed", allowed)];
    for (field, count) in counts {
        set(&mut new, &["status", field], json!(count));
    }
    set(&mut new, &["status", "observedGeneration"], budget["metadata"]["generation"].clone());
    let (state, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let old = budget.pointer("/status/conditions/0").cloned().unwrap_or_default();
    let mut condition = json!({ "type": "DisruptionAllowed", "status": state, "reason": reason, "message": "" });
    condition["observedGeneration"] = budget["metadata"]["generation"].clone();
    if old["status"] == state {
        condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
    }
    default(&mut condition, &["lastTransitionTime"], json!(super::json::now()));
    set(&mut new, &["status", "conditions"], json!([condition]));
    save(store, "poddisruptionbudgets.policy", "PodDisruptionBudget", "kube-controller-manager", new);
}
