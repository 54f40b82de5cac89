//! What runs behind the API: the deployment and replica set controllers, the scheduler and the node. All of it is done at
//! once, after each write.

use serde_json::{Value, json};

use super::json::{default, list, name, namespace, now, number, remove, set, text};
use super::managed::{self, Writer};
use super::schema::Type;
use super::store::{Key, Store};
use super::{defaults, remove as removal, selector};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
const MOST_PODS: i64 = 10;

/// Brings everything to where it settles.
pub(super) fn settle(store: &mut Store) {
    for _ in 0..30 {
        let before = store.revision;
        removal::finish(store);
        for object in store.shelf("deployments.apps") {
            if acts(store, &object) {
                deployment(store, &object);
            }
        }
        for object in store.shelf("replicasets.apps") {
            if acts(store, &object) {
                replica_set(store, &object);
            }
        }
        super::node::start(store);
        for object in store.shelf("poddisruptionbudgets.policy") {
            if acts(store, &object) {
                super::disruption::budget(store, &object);
            }
        }
        if store.revision == before {
            return;
        }
    }
}

fn acts(store: &Store, object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_empty() && !store.fixed.contains(text(object, "/metadata/uid"))
}

/// A write of a controller, owned by it.
pub(super) fn save(store: &mut Store, shelf: &str, kind: &str, manager: &str, mut new: Value) {
    let key = Key::new(shelf, namespace(&new), name(&new));
    let Some(old) = store.get(&key) else { return };
    if *old == new {
        return;
    }
    let mut spec = new["spec"].clone();
    remove(&mut spec, &["template", "spec", "status"]);
    let changed = old["spec"] != new["spec"];
    if changed && new["metadata"].get("generation").is_some() {
        let next = number(&old, "/metadata/generation") + 1;
        set(&mut new, &["metadata", "generation"], json!(next));
    }
    let subresource = if changed { "" } else { "status" };
    let version = text(&new, "/apiVersion").to_owned();
    let writer = Writer { manager, api_version: &version, subresource, ignored: Vec::new() };
    managed::update(&Type::Ref(kind.to_owned()), &old, &mut new, &writer);
    store.put(&key, new);
}

/// A new object of a controller.
pub(super) fn make(store: &mut Store, shelf: &str, kind: &str, mut object: Value) -> Key {
    let version = text(&object, "/apiVersion").to_owned();
    defaults::fill(kind, &version, &mut object);
    let writer = Writer { manager: "kube-controller-manager", api_version: &version, subresource: "", ignored: Vec::new() };
    managed::update(&Type::Ref(kind.to_owned()), &json!({}), &mut object, &writer);
    set(&mut object, &["metadata", "uid"], json!(uuid::Uuid::new_v4().to_string()));
    set(&mut object, &["metadata", "creationTimestamp"], json!(now()));
    if kind != "ServiceAccount" && kind != "ConfigMap" {
        set(&mut object, &["metadata", "generation"], json!(1));
    }
    let key = Key::new(shelf, namespace(&object), name(&object));
    store.put(&key, object);
    key
}

fn owner(object: &Value) -> Value {
    json!([{
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": name(object), "uid": object["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

pub(super) fn owned(object: &Value, owner: &Value) -> bool {
    list(object, "/metadata/ownerReferences").iter().any(|found| found["uid"] == owner["metadata"]["uid"] && found["controller"] == true)
}

/// FNV over the template, in the alphabet that generated names use.
fn hash(template: &Value) -> String {
    let sum = template.to_string().bytes().fold(2_166_136_261_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(16_777_619));
    sum.to_string().bytes().map(|digit| char::from(super::ALPHABET[usize::from(digit) % super::ALPHABET.len()])).collect()
}

fn template_of(object: &Value) -> Value {
    let mut template = object["spec"]["template"].clone();
    remove(&mut template, &["metadata", "labels", HASH]);
    remove(&mut template, &["metadata", "creationTimestamp"]);
    template
}

fn revision(object: &Value) -> i64 {
    object["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn deployment(store: &mut Store, object: &Value) {
    let sets: Vec<_> = store.within("replicasets.apps", namespace(object)).into_iter().filter(|found| owned(found, object)).collect();
    let template = template_of(object);
    let paused = object["spec"]["paused"] == true;
    let current = sets.iter().find(|found| template_of(found) == template).map(|found| (**found).clone());
    let newest = sets.iter().map(|found| revision(found)).max().unwrap_or_default();
    let wanted = number(object, "/spec/replicas");
    let current = match current {
        None if paused => {
            sets.iter().max_by_key(|found| (number(found, "/spec/replicas") > 0, revision(found))).map(|found| (**found).clone())
        }
        None => {
            make(store, "replicasets.apps", "ReplicaSet", new_set(object, &template, newest + 1));
            return deployment(store, object);
        }
        found => found,
    };
    let Some(current) = current else { return status(store, object, None, 0) };
    let mut changed = current.clone();
    set(&mut changed, &["spec", "replicas"], json!(wanted));
    if !paused && revision(&current) < newest {
        // An old template is the current one again: its set takes the next revision.
        let former = [
            current["metadata"]["annotations"][&format!("{REVISION}-history")].as_str().unwrap_or_default(),
            &revision(&current).to_string(),
        ];
        let former = former.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(",");
        set(&mut changed, &["metadata", "annotations", &format!("{REVISION}-history")], json!(former));
        set(&mut changed, &["metadata", "annotations", REVISION], json!((newest + 1).to_string()));
    }
    copy_notes(object, &mut changed);
    let number = revision(&changed);
    save(store, "replicasets.apps", "ReplicaSet", "kube-controller-manager", changed);
    if !paused {
        for old in sets.iter().filter(|found| name(found) != name(&current)) {
            let mut old = (**old).clone();
            set(&mut old, &["spec", "replicas"], json!(0));
            save(store, "replicasets.apps", "ReplicaSet", "kube-controller-manager", old);
        }
        forget(store, object, &sets, name(&current));
    }
    status(store, object, Some(name(&current)), number);
}

/// Sets beyond the history limit go, the oldest first.
fn forget(store: &mut Store, object: &Value, sets: &[std::sync::Arc<Value>], current: &str) {
    let mut old: Vec<_> = sets.iter().filter(|found| name(found) != current).collect();
    old.sort_by_key(|found| revision(found));
    let limit = usize::try_from(number(object, "/spec/revisionHistoryLimit")).unwrap_or(10);
    for found in old.iter().take(old.len().saturating_sub(limit)) {
        removal::expel(store, &Key::new("replicasets.apps", namespace(found), name(found)));
    }
}

fn copy_notes(object: &Value, target: &mut Value) {
    let skipped = ["kubectl.kubernetes.io/last-applied-configuration", REVISION];
    for (key, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
        if !skipped.contains(&key.as_str()) {
            set(target, &["metadata", "annotations", key], value.clone());
        }
    }
    let wanted = number(object, "/spec/replicas");
    set(target, &["metadata", "annotations", "deployment.kubernetes.io/desired-replicas"], json!(wanted.to_string()));
    set(target, &["metadata", "annotations", "deployment.kubernetes.io/max-replicas"], json!((wanted + (wanted + 3) / 4).to_string()));
}

fn new_set(object: &Value, template: &Value, revision: i64) -> Value {
    let hash = hash(template);
    let mut template = template.clone();
    set(&mut template, &["metadata", "labels", HASH], json!(hash));
    let mut selector = object["spec"]["selector"].clone();
    set(&mut selector, &["matchLabels", HASH], json!(hash));
    let mut made = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", name(object)), "namespace": namespace(object),
            "labels": template["metadata"]["labels"], "annotations": { REVISION: revision.to_string() },
            "ownerReferences": owner(object),
        },
        "spec": { "replicas": object["spec"]["replicas"], "selector": selector, "template": template },
        "status": { "replicas": 0 },
    });
    copy_notes(object, &mut made);
    made
}

fn status(store: &mut Store, object: &Value, current: Option<&str>, number_of: i64) {
    let key = Key::new("deployments.apps", namespace(object), name(object));
    let Some(object) = store.get(&key) else { return };
    let mut new = (*object).clone();
    let sets: Vec<_> = store.within("replicasets.apps", namespace(&object)).into_iter().filter(|found| owned(found, &object)).collect();
    let sum = |field: &str| sets.iter().map(|found| number(found, &format!("/status/{field}"))).sum::<i64>();
    let updated = sets.iter().find(|found| Some(name(found)) == current && template_of(found) == template_of(&object));
    let updated = updated.map_or(0, |found| number(found, "/status/replicas"));
    let (wanted, available) = (number(&object, "/spec/replicas"), sum("availableReplicas"));
    let mut status = json!({ "observedGeneration": object["metadata"]["generation"] });
    let counts = [
        ("replicas", sum("replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (wanted - available).max(0)),
    ];
    for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[field] = json!(count);
    }
    status["conditions"] = conditions(&object, current, available, updated);
    set(&mut new, &["status"], status);
    if number_of > 0 {
        set(&mut new, &["metadata", "annotations", REVISION], json!(number_of.to_string()));
    }
    save(store, "deployments.apps", "Deployment", "kube-controller-manager", new);
}

fn conditions(object: &Value, current: Option<&str>, available: i64, updated: i64) -> Value {
    let wanted = number(object, "/spec/replicas");
    let enough = available >= wanted - wanted / 4;
    let title = current.map_or_else(|| format!("Deployment {:?}", name(object)), |current| format!("ReplicaSet {current:?}"));
    let (state, reason, message) = match () {
        () if object["spec"]["paused"] == true => ("Unknown", "DeploymentPaused", "Deployment is paused".to_owned()),
        () if updated >= wanted && available >= wanted => {
            ("True", "NewReplicaSetAvailable", format!("{title} has successfully progressed."))
        }
        () => ("True", "ReplicaSetUpdated", format!("{title} is progressing.")),
    };
    let (has, because, said) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let built =
        [("Available", has, because, said), ("Progressing", state, reason, message.as_str())].map(|(kind, status, reason, message)| {
            let old = list(object, "/status/conditions").iter().find(|old| old["type"] == kind);
            let mut condition = json!({ "type": kind, "status": status, "reason": reason, "message": message });
            let kept = |field: &str, same: bool| old.filter(|_| same).map_or_else(|| json!(now()), |old| old[field].clone());
            let same_state = old.is_some_and(|old| old["status"] == status);
            let same = same_state && old.is_some_and(|old| old["reason"] == reason && old["message"] == message);
            condition["lastUpdateTime"] = kept("lastUpdateTime", same);
            condition["lastTransitionTime"] = kept("lastTransitionTime", same_state);
            condition
        });
    json!(built)
}

fn replica_set(store: &mut Store, object: &Value) {
    let space = namespace(object);
    let lives =
        |pod: &Value| text(pod, "/metadata/deletionTimestamp").is_empty() && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded");
    let pods: Vec<_> = store.within("pods", space).into_iter().filter(|pod| owned(pod, object) && lives(pod)).collect();
    let wanted = usize::try_from(number(object, "/spec/replicas").clamp(0, MOST_PODS)).unwrap_or_default();
    for _ in pods.len()..wanted {
        let prefix = format!("{}-", name(object));
        let template = &object["spec"]["template"];
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
        set(&mut pod, &["metadata", "generateName"], json!(prefix));
        set(&mut pod, &["metadata", "name"], json!(format!("{prefix}{}", super::suffix())));
        set(&mut pod, &["metadata", "namespace"], json!(space));
        set(&mut pod, &["metadata", "ownerReferences"], owner(object));
        defaults::admit_pod(&mut pod);
        let key = make(store, "pods", "Pod", pod);
        store.starting.push(key);
    }
    // The pods that do not run yet go first, then the youngest.
    let mut spare = pods.clone();
    spare.sort_by_key(|pod| {
        (text(pod, "/status/phase") == "Running", std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned()))
    });
    for pod in spare.iter().take(pods.len().saturating_sub(wanted)) {
        removal::expel(store, &Key::new("pods", space, name(pod)));
    }
    let pods: Vec<_> = store.within("pods", space).into_iter().filter(|pod| owned(pod, object) && lives(pod)).collect();
    let ready = pods.iter().filter(|pod| super::node::is_ready(pod)).count();
    let labelled = pods.iter().filter(|pod| selector::takes(&object["spec"]["selector"], &pod["metadata"]["labels"])).count();
    let Some(stored) = store.find("replicasets.apps", space, name(object)) else { return };
    let mut new = (*stored).clone();
    let mut status = json!({ "replicas": pods.len(), "observedGeneration": stored["metadata"]["generation"] });
    for (field, count) in [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", ready)] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    set(&mut new, &["status"], status);
    save(store, "replicasets.apps", "ReplicaSet", "kube-controller-manager", new);
}

/// What every namespace gets: its default account and the root certificate of the API.
pub(super) fn furnish(store: &mut Store, space: &str, ca: &str) {
    if store.find("serviceaccounts", space, "default").is_none() {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": space } });
        make(store, "serviceaccounts", "ServiceAccount", account);
    }
    if store.find("configmaps", space, "kube-root-ca.crt").is_none() {
        let mut map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kube-root-ca.crt", "namespace": space } });
        default(&mut map, &["data", "ca.crt"], json!(ca));
        make(store, "configmaps", "ConfigMap", map);
    }
}
