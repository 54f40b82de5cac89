//! The scheduler and the node: a pod that waits is put on the first node that takes pods, and runs there at once.

use serde_json::{Value, json};

use super::controllers::save;
use super::json::{list, name, now, set, text};
use super::store::Store;

pub(super) fn is_ready(pod: &Value) -> bool {
    list(pod, "/status/conditions").iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let mut condition = json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": now() });
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    condition
}

/// Starts the pods that no node runs yet.
pub(super) fn start(store: &mut Store) {
    let nodes = store.shelf("nodes");
    let free = nodes.iter().find(|node| node["spec"]["unschedulable"] != true).map(|node| name(node).to_owned());
    for key in std::mem::take(&mut store.starting) {
        let Some(pod) = store.get(&key) else { continue };
        let placed = Some(text(&pod, "/spec/nodeName").to_owned()).filter(|node| !node.is_empty());
        let mut new = (*pod).clone();
        match placed.or_else(|| free.clone()) {
            Some(node) => run(store, &mut new, &node),
            None => {
                let count = nodes.len();
                let why = format!(
                    "0/{count} nodes are available: {count} node(s) were unschedulable. preemption: 0/{count} nodes are available: \
                     {count} Preemption is not helpful for scheduling."
                );
                if list(&pod, "/status/conditions").is_empty() {
                    set(&mut new, &["status", "conditions"], json!([condition("PodScheduled", "False", "Unschedulable", &why)]));
                }
                store.starting.push(key.clone());
            }
        }
        write(store, new);
    }
}

/// The binding to a node is no change of the spec for which a generation counts.
fn write(store: &mut Store, mut new: Value) {
    if let Some(old) = store.find("pods", text(&new, "/metadata/namespace"), name(&new)) {
        let node = new["spec"].get("nodeName").cloned();
        if let Some(node) = node.filter(|node| old["spec"].get("nodeName") != Some(node)) {
            let mut bound = (*old).clone();
            set(&mut bound, &["spec", "nodeName"], node);
            store.put(&super::store::Key::new("pods", text(&new, "/metadata/namespace"), name(&new)), bound);
        }
    }
    new["metadata"]["resourceVersion"] = json!(null);
    if let Some(old) = store.find("pods", text(&new, "/metadata/namespace"), name(&new)) {
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    }
    save(store, "pods", "Pod", "kubelet", new);
}

fn run(store: &Store, pod: &mut Value, node: &str) {
    let at = now();
    let taken = store.shelf("pods").len() + 2;
    let ip = format!("10.244.{}.{}", taken >> 8, taken & 255);
    let host = store.find("nodes", "", node).map_or_else(String::new, |node| {
        let found = list(&node, "/status/addresses").iter().find(|address| address["type"] == "InternalIP");
        found.map_or("", |address| text(address, "/address")).to_owned()
    });
    let statuses = list(pod, "/spec/containers").iter().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": format!("docker.io/{}", text(container, "/image")),
            "containerID": format!("containerd://{}", uuid::Uuid::new_v4().simple()), "ready": true, "started": true, "restartCount": 0,
            "state": { "running": { "startedAt": at } }, "lastState": {},
        })
    });
    let statuses: Vec<_> = statuses.collect();
    let inits = list(pod, "/spec/initContainers").iter().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "", "ready": true, "restartCount": 0, "lastState": {},
            "state": { "terminated": { "exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at } },
        })
    });
    let inits: Vec<_> = inits.collect();
    set(pod, &["spec", "nodeName"], json!(node));
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let conditions: Vec<_> = kinds.iter().map(|kind| condition(kind, "True", "", "")).collect();
    let fields = [
        ("phase", json!("Running")),
        ("conditions", json!(conditions)),
        ("hostIP", json!(host)),
        ("hostIPs", json!([{ "ip": host }])),
        ("podIP", json!(ip)),
        ("podIPs", json!([{ "ip": ip }])),
        ("startTime", json!(at)),
        ("containerStatuses", json!(statuses)),
    ];
    for (field, value) in fields {
        set(pod, &["status", field], value);
    }
    if !inits.is_empty() {
        set(pod, &["status", "initContainerStatuses"], json!(inits));
    }
}
