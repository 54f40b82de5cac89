//! What the server fills in: the defaults of the built-in kinds, and what admission adds to pods.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::json::{default, list, remove, set, text};
use super::store::Store;

pub(super) fn fill(kind: &str, api_version: &str, object: &mut Value) {
    match (kind, api_version) {
        ("Pod", "v1") => pod(&mut object["spec"]),
        ("Secret", "v1") => secret(object),
        ("Service", "v1") => service(object),
        ("Namespace", "v1") => {
            default(object, &["spec", "finalizers"], json!(["kubernetes"]));
            default(object, &["status", "phase"], json!("Active"));
            let name = text(object, "/metadata/name").to_owned();
            set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], json!(name));
        }
        ("Deployment", "apps/v1") => deployment(object),
        ("ReplicaSet", "apps/v1") | ("ReplicationController", "v1") => {
            default(object, &["spec", "replicas"], json!(1));
            template(object, "/spec/template");
        }
        ("StatefulSet", "apps/v1") => {
            let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } });
            default(object, &["spec", "replicas"], json!(1));
            default(object, &["spec", "revisionHistoryLimit"], json!(10));
            default(object, &["spec", "podManagementPolicy"], json!("OrderedReady"));
            default(object, &["spec", "updateStrategy"], rolling);
            default(object, &["spec", "persistentVolumeClaimRetentionPolicy"], json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }));
            template(object, "/spec/template");
        }
        ("DaemonSet", "apps/v1") => {
            let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } });
            default(object, &["spec", "revisionHistoryLimit"], json!(10));
            default(object, &["spec", "updateStrategy"], rolling);
            template(object, "/spec/template");
        }
        ("Job", "batch/v1") => job(&mut object["spec"]),
        ("CronJob", "batch/v1") => {
            default(object, &["spec", "concurrencyPolicy"], json!("Allow"));
            default(object, &["spec", "suspend"], json!(false));
            default(object, &["spec", "successfulJobsHistoryLimit"], json!(3));
            default(object, &["spec", "failedJobsHistoryLimit"], json!(1));
            template(object, "/spec/jobTemplate/spec/template");
        }
        ("HorizontalPodAutoscaler", _) => default(object, &["spec", "minReplicas"], json!(1)),
        ("RoleBinding" | "ClusterRoleBinding", _) => binding(object),
        ("PersistentVolumeClaim", "v1") => {
            default(object, &["spec", "volumeMode"], json!("Filesystem"));
            default(object, &["status", "phase"], json!("Pending"));
        }
        ("StorageClass", _) => {
            default(object, &["reclaimPolicy"], json!("Delete"));
            default(object, &["volumeBindingMode"], json!("Immediate"));
        }
        ("CustomResourceDefinition", _) => definition(object),
        _ => {}
    }
}

fn deployment(object: &mut Value) {
    default(object, &["spec", "replicas"], json!(1));
    default(object, &["spec", "revisionHistoryLimit"], json!(10));
    default(object, &["spec", "progressDeadlineSeconds"], json!(600));
    default(object, &["spec", "strategy", "type"], json!("RollingUpdate"));
    if text(object, "/spec/strategy/type") == "RollingUpdate" {
        default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], json!("25%"));
        default(object, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], json!("25%"));
    }
    template(object, "/spec/template");
}

fn job(spec: &mut Value) {
    for (name, value) in [("backoffLimit", json!(6)), ("completionMode", json!("NonIndexed")), ("suspend", json!(false))] {
        default(spec, &[name], value);
    }
    default(spec, &["completions"], json!(1));
    default(spec, &["parallelism"], json!(1));
    default(spec, &["podReplacementPolicy"], json!("TerminatingOrFailed"));
    template(spec, "/template");
}

fn template(object: &mut Value, at: &str) {
    if let Some(spec) = object.pointer_mut(&format!("{at}/spec")) {
        pod(spec);
    }
}

fn pod(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    default(spec, &["restartPolicy"], json!("Always"));
    default(spec, &["dnsPolicy"], json!("ClusterFirst"));
    default(spec, &["terminationGracePeriodSeconds"], json!(30));
    default(spec, &["schedulerName"], json!("default-scheduler"));
    default(spec, &["securityContext"], json!({}));
    // The deprecated alias follows the name.
    let account = text(spec, "/serviceAccountName").to_owned();
    if !account.is_empty() {
        set(spec, &["serviceAccount"], json!(account));
    }
    for group in ["containers", "initContainers", "ephemeralContainers"] {
        if let Some(Value::Array(containers)) = spec.get_mut(group) {
            containers.iter_mut().for_each(container);
        }
    }
    if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
        for volume in volumes.iter_mut().filter(|volume| volume.is_object()) {
            for source in ["configMap", "secret", "downwardAPI", "projected"] {
                if volume.get(source).is_some_and(Value::is_object) {
                    default(volume, &[source, "defaultMode"], json!(420));
                }
            }
        }
    }
}

fn container(container: &mut Value) {
    let image = text(container, "/image");
    let tag = image.rsplit('/').next().unwrap_or_default();
    let latest = !tag.contains(':') && !tag.contains('@') || tag.ends_with(":latest");
    default(container, &["imagePullPolicy"], json!(if latest { "Always" } else { "IfNotPresent" }));
    default(container, &["terminationMessagePath"], json!("/dev/termination-log"));
    default(container, &["terminationMessagePolicy"], json!("File"));
    default(container, &["resources"], json!({}));
    if let Some(Value::Array(ports)) = container.get_mut("ports") {
        ports.iter_mut().for_each(|port| default(port, &["protocol"], json!("TCP")));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.get(probe).is_some_and(Value::is_object) {
            for (name, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
                default(container, &[probe, name], json!(value));
            }
            if container[probe].get("httpGet").is_some() {
                default(container, &[probe, "httpGet", "scheme"], json!("HTTP"));
            }
        }
    }
}

fn secret(object: &mut Value) {
    default(object, &["type"], json!("Opaque"));
    if let Some(Value::Object(texts)) = remove(object, &["stringData"]) {
        for (name, value) in texts {
            set(object, &["data", &name], json!(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
}

fn service(object: &mut Value) {
    default(object, &["spec", "type"], json!("ClusterIP"));
    default(object, &["spec", "sessionAffinity"], json!("None"));
    default(object, &["status"], json!({ "loadBalancer": {} }));
    if text(object, "/spec/type") != "ExternalName" {
        default(object, &["spec", "internalTrafficPolicy"], json!("Cluster"));
        default(object, &["spec", "ipFamilies"], json!(["IPv4"]));
        default(object, &["spec", "ipFamilyPolicy"], json!("SingleStack"));
    }
    if let Some(Value::Array(ports)) = object["spec"].get_mut("ports") {
        for port in ports {
            default(port, &["protocol"], json!("TCP"));
            let same = port["port"].clone();
            default(port, &["targetPort"], same);
        }
    }
}

/// A cluster address for a service that has none.
pub(super) fn address(store: &Store, object: &mut Value) {
    if text(object, "/spec/type") == "ExternalName" {
        return;
    }
    if text(object, "/spec/clusterIP").is_empty() {
        let taken = store.shelf("services");
        let free = (1..u16::MAX).map(|number| format!("10.96.{}.{}", number >> 8, number & 255));
        let free = free.into_iter().find(|ip| !taken.iter().any(|service| text(service, "/spec/clusterIP") == ip));
        set(object, &["spec", "clusterIP"], json!(free.unwrap()));
    }
    let ip = text(object, "/spec/clusterIP").to_owned();
    default(object, &["spec", "clusterIPs"], json!([ip]));
}

fn binding(object: &mut Value) {
    default(object, &["roleRef", "apiGroup"], json!("rbac.authorization.k8s.io"));
    if let Some(Value::Array(subjects)) = object.get_mut("subjects") {
        for subject in subjects.iter_mut().filter(|subject| subject["kind"] != "ServiceAccount") {
            default(subject, &["apiGroup"], json!("rbac.authorization.k8s.io"));
        }
    }
}

fn definition(object: &mut Value) {
    let singular = text(object, "/spec/names/kind").to_lowercase();
    let list_kind = format!("{}List", text(object, "/spec/names/kind"));
    default(object, &["spec", "names", "singular"], json!(singular));
    default(object, &["spec", "names", "listKind"], json!(list_kind));
    default(object, &["spec", "conversion", "strategy"], json!("None"));
}

/// What admission puts into a new pod: its account with the token volume, its priority and the usual tolerations.
pub(super) fn admit_pod(object: &mut Value) {
    default(object, &["spec", "serviceAccountName"], json!("default"));
    let account = text(object, "/spec/serviceAccountName").to_owned();
    default(object, &["spec", "serviceAccount"], json!(account));
    default(object, &["spec", "enableServiceLinks"], json!(true));
    default(object, &["spec", "priority"], json!(0));
    default(object, &["spec", "preemptionPolicy"], json!("PreemptLowerPriority"));
    let mut tolerations = list(object, "/spec/tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations.iter().any(|toleration| toleration["key"] == key) {
            tolerations.push(json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }));
        }
    }
    set(object, &["spec", "tolerations"], json!(tolerations));
    if object["spec"]["automountServiceAccountToken"] != false {
        mount_token(object);
    }
    set(object, &["status"], json!({ "phase": "Pending", "qosClass": quality(object) }));
}

fn mount_token(object: &mut Value) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let name = format!("kube-api-access-{}", super::suffix());
    let token = json!({ "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } });
    let root = json!({ "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } });
    let field = json!({ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    let sources = json!([token, root, { "downwardAPI": { "items": [field] } }]);
    let mut volumes = list(object, "/spec/volumes").to_vec();
    volumes.push(json!({ "name": name, "projected": { "defaultMode": 420, "sources": sources } }));
    set(object, &["spec", "volumes"], json!(volumes));
    for group in ["containers", "initContainers"] {
        let Some(Value::Array(containers)) = object["spec"].get_mut(group) else { continue };
        for container in containers {
            let mut mounts = list(container, "/volumeMounts").to_vec();
            if !mounts.iter().any(|mount| mount["mountPath"] == PATH) {
                mounts.push(json!({ "name": name, "readOnly": true, "mountPath": PATH }));
            }
            set(container, &["volumeMounts"], json!(mounts));
        }
    }
}

fn quality(pod: &Value) -> &'static str {
    let containers = list(pod, "/spec/containers");
    let has = |container: &Value, what: &str| container.pointer(&format!("/resources/{what}")).is_some_and(|map| map != &json!({}));
    if !containers.iter().any(|container| has(container, "limits") || has(container, "requests")) {
        return "BestEffort";
    }
    let full = |container: &Value| {
        let (limits, requests) = (&container["resources"]["limits"], &container["resources"]["requests"]);
        let both = ["cpu", "memory"].iter().all(|name| limits.get(*name).is_some());
        both && (requests.is_null() || ["cpu", "memory"].iter().all(|name| requests.get(*name).is_none_or(|some| some == &limits[*name])))
    };
    if containers.iter().all(full) { "Guaranteed" } else { "Burstable" }
}
