//! What a cluster has from its start: namespaces, a node, the service of the API, and the roles that come with it.

use serde_json::{Value, json};

use super::registry;
use super::rights::GROUP;
use super::store::Store;
use super::write::seed;

fn add(store: &mut Store, object: Value) {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let resource = registry::by_kind(store, version, kind).unwrap();
    seed(store, &resource, object);
}

pub(super) fn plant(store: &mut Store) {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        add(store, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
    }
    let port = json!({ "name": "https", "port": 443, "targetPort": 6443 });
    add(store, node());
    add(
        store,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "kubernetes", "namespace": "default", "labels": { "component": "apiserver", "provider": "kubernetes" } },
            "spec": { "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [port] },
        }),
    );
    roles(store);
    let resources = registry::all(store);
    let mut versions: Vec<_> = resources.iter().map(|found| (found.group.clone(), found.version.clone())).collect();
    versions.dedup();
    for (group, version) in versions {
        api_service(store, &group, &version);
    }
}

pub(super) fn api_service(store: &mut Store, group: &str, version: &str) {
    let name = format!("{version}.{group}");
    let mut spec = json!({ "version": version, "groupPriorityMinimum": 17800, "versionPriority": 15 });
    if !group.is_empty() {
        spec["group"] = json!(group);
    }
    if group == "metrics.k8s.io" {
        spec["service"] = json!({ "name": "metrics-server", "namespace": "kube-system", "port": 443 });
    }
    let reason =
        if group == "metrics.k8s.io" { ("Passed", "all checks passed") } else { ("Local", "Local APIServices are always available") };
    let condition = json!({
        "type": "Available", "status": "True", "lastTransitionTime": super::json::now(), "reason": reason.0, "message": reason.1,
    });
    add(
        store,
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": name }, "spec": spec,
            "status": { "conditions": [condition] },
        }),
    );
}

fn node() -> Value {
    let at = super::json::now();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at, "reason": reason, "message": message,
        })
    };
    let capacity = json!({ "cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi" });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "node-1", "labels": {
            "kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "node-role.kubernetes.io/control-plane": "",
        } },
        "spec": { "podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"] },
        "status": {
            "capacity": capacity, "allocatable": capacity,
            "addresses": [{ "type": "InternalIP", "address": "172.18.0.2" }, { "type": "Hostname", "address": "node-1" }],
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "nodeInfo": {
                "kubeletVersion": "v1.34.0", "kubeProxyVersion": "", "osImage": "Debian GNU/Linux 12 (bookworm)", "kernelVersion": "6.1.0",
                "containerRuntimeVersion": "containerd://2.1.3", "operatingSystem": "linux", "architecture": "amd64",
                "machineID": "", "systemUUID": "", "bootID": "",
            },
        },
    })
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const CORE: &[&str] = &[
    "configmaps",
    "endpoints",
    "events",
    "limitranges",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "pods/status",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "resourcequotas",
    "serviceaccounts",
    "services",
];
const GROUPS: &[&str] = &["apps", "autoscaling", "batch", "networking.k8s.io", "policy"];

fn roles(store: &mut Store) {
    let all = rule(&["*"], &["*"], &["*"]);
    let paths = |urls: &[&str], verbs: &[&str]| json!({ "nonResourceURLs": urls, "verbs": verbs });
    let view = [rule(&[""], CORE, READ), rule(&[""], &["namespaces"], READ), rule(GROUPS, &["*"], READ)];
    let changed = [
        rule(&[""], CORE, WRITE),
        rule(&[""], &["secrets"], READ),
        rule(&[""], &["secrets", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"], WRITE),
        rule(&[""], &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"], READ),
        rule(&[""], &["pods/eviction"], &["create"]),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(&[""], &["serviceaccounts/token"], &["create"]),
        rule(GROUPS, &["*"], WRITE),
    ];
    let edit: Vec<_> = view.iter().chain(&changed).cloned().collect();
    let manage = rule(&[GROUP], &["roles", "rolebindings"], &[READ, WRITE].concat());
    let reviews = rule(&["authorization.k8s.io"], &["localsubjectaccessreviews"], &["create"]);
    let admin: Vec<_> = edit.iter().cloned().chain([manage, reviews]).collect();
    let basic = json!([
        rule(&["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
        rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
    ]);
    let seen = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let masters = &["system:masters"][..];
    let known = &["system:authenticated"][..];
    let anyone = &["system:authenticated", "system:unauthenticated"][..];
    for (name, rules, groups) in [
        ("cluster-admin", json!([all, paths(&["*"], &["*"])]), masters),
        ("admin", json!(admin), &[][..]),
        ("edit", json!(edit), &[][..]),
        ("view", json!(view), &[][..]),
        ("system:basic-user", basic, known),
        ("system:discovery", json!([paths(&seen, &["get"])]), known),
        ("system:public-info-viewer", json!([paths(&public, &["get"])]), anyone),
    ] {
        let labels = json!({ "kubernetes.io/bootstrapping": "rbac-defaults" });
        let version = format!("{GROUP}/v1");
        add(store, json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": name, "labels": labels }, "rules": rules }));
        if groups.is_empty() {
            continue;
        }
        let subjects: Vec<_> = groups.iter().map(|group| json!({ "kind": "Group", "name": group, "apiGroup": GROUP })).collect();
        add(
            store,
            json!({
                "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": { "name": name, "labels": labels },
                "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": name }, "subjects": subjects,
            }),
        );
    }
}
