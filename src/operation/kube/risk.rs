//! How much a change of an object can hurt, told from the object alone.
//!
//! A kind that is not known has effects that nobody here knows, so writing one is of the highest risk; a policy may allow it by name. Of known
//! kinds the content counts: a pod that leaves its node's fences is admin, whatever workload carries it, so whole objects are searched and not
//! only the places where such fields belong.

use serde_json::Value;

use crate::operation::Risk;
use crate::operation::kube::{Object, Type};

/// A risk, and why it is above that of a plain change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The risk.
    pub risk: Risk,
    /// What raised it, for the approver; at most some.
    pub why: Vec<String>,
}

/// Reasons that are told.
const WHY_MAX: usize = 12;

impl Judged {
    fn plain(risk: Risk) -> Self {
        Self { risk, why: Vec::new() }
    }

    fn raise(&mut self, risk: Risk, why: &str) {
        self.risk = self.risk.max(risk);
        if self.why.len() < WHY_MAX && !self.why.iter().any(|known| known == why) {
            self.why.push(why.to_owned());
        }
    }

    /// Both.
    pub(super) fn with(mut self, other: &Self) -> Self {
        self.risk = self.risk.max(other.risk);
        for why in &other.why {
            self.raise(other.risk, why);
        }
        self
    }
}

/// Groups that say who may do what, or what every request goes through.
const RULING_GROUPS: &[&str] = &[
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiregistration.k8s.io",
    "apiextensions.k8s.io",
    "certificates.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "node.k8s.io",
];
/// Namespaces of the cluster itself.
const SYSTEM_NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];

fn is_system(namespace: Option<&str>) -> bool {
    namespace.is_some_and(|namespace| SYSTEM_NAMESPACES.contains(&namespace))
}

/// Whether objects of this kind are secrets, in whatever group.
#[must_use]
pub fn is_secret(kind: &Type) -> bool {
    kind.kind.eq_ignore_ascii_case("Secret")
}

/// The risk of looking at objects of a kind. The values of Secrets never leave; that there are some, and their keys, does.
#[must_use]
pub fn read(kind: &Type) -> Risk {
    if is_secret(kind) { Risk::Write } else { Risk::Read }
}

/// What the kind and the namespace alone say of a change.
fn of_kind(object: &Object) -> Judged {
    let Object { kind, namespace, .. } = object;
    let mut judged = Judged::plain(Risk::Write);
    let (group, name) = (kind.group.as_str(), kind.kind.as_str());
    if kind.namespaced.is_none() {
        judged.raise(Risk::Admin, "the effect of this kind is not known here");
    } else if RULING_GROUPS.contains(&group) {
        judged.raise(Risk::Admin, "it says who may do what, or what requests go through");
    } else if kind.namespaced == Some(false) && name != "Namespace" {
        judged.raise(Risk::Admin, "it is of the whole cluster");
    }
    // The namespace itself, as well as what is in it.
    let own_name = object.name.as_deref().filter(|_| (group, name) == ("", "Namespace"));
    if is_system(namespace.as_deref().or(own_name)) {
        judged.raise(Risk::Admin, "the namespace is the cluster's own");
    }
    match (group, name) {
        (_, "Secret") => judged.raise(Risk::Destructive, "it is a Secret"),
        ("", "ServiceAccount") => judged.raise(Risk::Destructive, "pods get their rights from it"),
        ("", "Endpoints") | ("discovery.k8s.io", _) | ("networking.k8s.io", "NetworkPolicy") => {
            judged.raise(Risk::Destructive, "it says where traffic goes");
        }
        ("", "ResourceQuota" | "LimitRange") | ("apps", "ControllerRevision") => {
            judged.raise(Risk::Destructive, "others rely on it");
        }
        _ => {}
    }
    judged
}

/// The risk of writing an object with this content (or with this patch of it).
#[must_use]
pub fn write(object: &Object, content: &Value) -> Judged {
    let mut judged = of_kind(object);
    match (object.kind.group.as_str(), object.kind.kind.as_str()) {
        ("", "Service") => service(content, &mut judged),
        ("", "Namespace") if mentions(content, "pod-security.kubernetes.io") || is_patch_of(content, "labels") => {
            judged.raise(Risk::Admin, "labels say what pods of the namespace may do, and which checks they pass");
        }
        ("networking.k8s.io", "Ingress") if mentions(content, "snippet") => {
            judged.raise(Risk::Admin, "a snippet is configuration that the ingress controller runs");
        }
        (_, "Secret") if mentions(content, "kubernetes.io/service-account-token") => {
            judged.raise(Risk::Admin, "it makes a token of a service account");
        }
        _ => {}
    }
    search(content, 0, &mut judged);
    judged
}

/// The risk of writing an object's status, which its controller tells and others believe.
#[must_use]
pub fn status(object: &Object, content: &Value) -> Judged {
    let mut judged = write(object, content);
    judged.raise(Risk::Destructive, "others believe what a status says");
    if object.kind.kind == "Service" || object.kind.kind == "Ingress" {
        judged.raise(Risk::Admin, "addresses of choice take traffic of others");
    }
    judged
}

/// The risk of a change of the number of replicas that is written as a patch. What leaves the number out makes it zero.
#[must_use]
pub fn scaling(object: &Object, content: &Value) -> Judged {
    let mut judged = write(object, content);
    let some = |value: Option<&Value>| value.and_then(Value::as_u64).is_some_and(|replicas| replicas > 0);
    let text = |operation: &Value, name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_plain = match content {
        Value::Array(operations) => {
            operations.iter().all(|one| text(one, "op") == "test" || text(one, "path") == "/spec/replicas" && some(one.get("value")))
        }
        content => some(content.pointer("/spec/replicas")),
    };
    if !is_plain {
        judged.raise(Risk::Destructive, "nothing may be left running");
    }
    judged
}

/// The risk of what an object no longer has: what an apply does not name any more is taken away as well.
#[must_use]
pub fn taken(object: &Object, before: &Value, after: &Value) -> Judged {
    let mut judged = Judged::plain(Risk::Read);
    lost(before, after, 0, &mut judged);
    if (object.kind.group.as_str(), object.kind.kind.as_str()) == ("", "Namespace") {
        let fences = |of: &Value| -> Vec<(String, Value)> {
            let labels = of.pointer("/metadata/labels").and_then(Value::as_object);
            let mut fences: Vec<_> =
                labels.into_iter().flatten().filter(|(name, _)| name.starts_with("pod-security.kubernetes.io/")).collect();
            fences.sort_by_key(|(name, _)| *name);
            fences.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if fences(before) != fences(after) {
            judged.raise(Risk::Admin, "labels say what pods of the namespace may do, and which checks they pass");
        }
    }
    judged
}

/// Members that are there no more. Items of lists are told apart by their names; an item that is gone takes its fences with it.
fn lost(before: &Value, after: &Value, depth: usize, judged: &mut Judged) {
    if depth > DEPTH_MAX {
        judged.raise(Risk::Admin, "it is nested too deep to be looked at");
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, member) in old.iter().filter(|(_, member)| !member.is_null()) {
                match new.get(name) {
                    None | Some(Value::Null) => removed(name, judged),
                    Some(now) if name == "finalizers" => {
                        let kept = |item: &Value| now.as_array().is_some_and(|now| now.contains(item));
                        if !member.as_array().is_some_and(|items| items.iter().all(kept)) {
                            removed(name, judged);
                        }
                    }
                    Some(now) => lost(member, now, depth + 1, judged),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for item in old {
                let same = |other: &&Value| item.get("name").is_some_and(|name| other.get("name") == Some(name));
                if let Some(now) = new.iter().find(same) {
                    lost(item, now, depth + 1, judged);
                }
            }
        }
        _ => {}
    }
}

/// The names of the Secrets that programs of this content would read.
#[must_use]
pub fn secrets(content: &Value) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    read_secrets(content, 0, &mut found);
    found
}

fn read_secrets(content: &Value, depth: usize, found: &mut std::collections::BTreeSet<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    match content {
        Value::Array(items) => items.iter().for_each(|item| read_secrets(item, depth + 1, found)),
        Value::Object(members) => {
            for (name, member) in members {
                let text = |of: &Value| of.as_str().map(ToOwned::to_owned);
                match name.as_str() {
                    // Of a projected volume and of an environment by `name`, of a volume by `secretName`.
                    "secretKeyRef" | "secretRef" | "secret" | "nodePublishSecretRef" => {
                        found.extend(member.get("name").or(member.get("secretName")).and_then(text))
                    }
                    "secretName" => found.extend(text(member)),
                    // A JSON Patch puts the name where the path says.
                    "path" => {
                        let is_one = member.as_str().is_some_and(|path| path.to_ascii_lowercase().contains("secret"));
                        let value = members.get("value").filter(|_| is_one);
                        found.extend(value.and_then(text));
                        let named = value.and_then(|value| value.get("name").or(value.get("secretName")));
                        found.extend(named.and_then(text));
                    }
                    _ => {}
                }
                read_secrets(member, depth + 1, found);
            }
        }
        _ => {}
    }
}

/// The risk of removing an object.
#[must_use]
pub fn delete(object: &Object) -> Judged {
    let mut judged = of_kind(object);
    judged.raise(Risk::Destructive, "what is deleted is gone");
    if object.kind.kind == "Namespace" {
        judged.raise(Risk::Admin, "all that is in the namespace goes with it");
    }
    judged
}

/// The risk of another number of replicas.
#[must_use]
pub fn scale(object: &Object, replicas: u32) -> Judged {
    let mut judged = of_kind(object);
    if replicas == 0 {
        judged.raise(Risk::Destructive, "nothing is left running");
    }
    judged
}

fn service(content: &Value, judged: &mut Judged) {
    if ["LoadBalancer", "NodePort", "ExternalName", "loadBalancerSourceRanges"].iter().any(|word| mentions(content, word)) {
        judged.raise(Risk::Destructive, "the service reaches out of the cluster");
    }
    if mentions(content, "externalIPs") {
        judged.raise(Risk::Admin, "external IPs take traffic of others");
    }
}

/// Whether a name or text of the content holds this.
fn mentions(content: &Value, word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let holds = |text: &str| text.to_ascii_lowercase().contains(&word);
    match content {
        Value::String(text) => holds(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, &word)),
        Value::Object(members) => members.iter().any(|(name, member)| holds(name) || mentions(member, &word)),
        _ => false,
    }
}

/// Whether a patch takes all members of this name away, or some: what an object has but for it, nobody sees.
fn is_patch_of(content: &Value, name: &str) -> bool {
    match content {
        Value::Array(operations) => {
            operations.iter().any(|one| one.get("path").and_then(Value::as_str).is_some_and(|path| path.contains(name)))
        }
        Value::Object(members) => members.iter().any(|(key, member)| {
            let takes = |member: &Value| member.is_null() || member.as_object().is_some_and(|members| members.values().any(Value::is_null));
            key == name && (takes(member) || mentions(member, "$patch")) || is_patch_of(member, name) && !member.is_array()
        }),
        _ => false,
    }
}

/// Deeper content is of the highest risk: nobody looked at it.
const DEPTH_MAX: usize = 64;

/// Looks everywhere for what lets a pod out of its fences. A JSON Patch names its places in texts: those count as names.
fn search(content: &Value, depth: usize, judged: &mut Judged) {
    if depth > DEPTH_MAX {
        judged.raise(Risk::Admin, "it is nested too deep to be looked at");
        return;
    }
    match content {
        Value::Array(items) => items.iter().for_each(|item| search(item, depth + 1, judged)),
        Value::Object(members) => {
            if let (Some(op), Some(path)) = (members.get("op").and_then(Value::as_str), members.get("path").and_then(Value::as_str)) {
                if matches!(op, "copy" | "move") {
                    judged.raise(Risk::Admin, "it copies or moves what is not shown");
                }
                if op == "remove" {
                    for place in path.split('/') {
                        removed(place, judged);
                    }
                } else if op != "test" {
                    // Each place on the way may be what the value is put into.
                    let value = members.get("value").unwrap_or(&Value::Null);
                    for place in path.split('/').map(|place| place.replace("~1", "/").replace("~0", "~")) {
                        field(&place, value, true, judged);
                    }
                }
            }
            for (name, member) in members {
                field(name, member, false, judged);
                search(member, depth + 1, judged);
            }
        }
        _ => {}
    }
}

/// A member that a patch takes away.
fn removed(name: &str, judged: &mut Judged) {
    match name {
        "finalizers" => judged.raise(Risk::Destructive, "what waits to be cleaned up goes without it"),
        "automountServiceAccountToken" => judged.raise(Risk::Destructive, "the pod gets a token of its service account"),
        "securityContext" | "capabilities" | "runAsNonRoot" | "seccompProfile" | "appArmorProfile" => {
            judged.raise(Risk::Destructive, "what keeps a pod within its fences is taken away");
        }
        _ => {}
    }
}

/// One member by its name. `within`: the value is put somewhere below that name, so it may be any part of it.
fn field(name: &str, value: &Value, within: bool, judged: &mut Judged) {
    let is_set = !value.is_null() && *value != Value::Bool(false);
    let some = is_set && !matches!(value, Value::Array(items) if items.is_empty());
    let says = |texts: &[&str]| value.as_str().is_some_and(|text| texts.iter().any(|known| text.eq_ignore_ascii_case(known)));
    let is_zero = value.as_f64() == Some(0.0);
    if value.is_null() {
        removed(name, judged);
    }
    if says(&["unconfined"]) {
        judged.raise(Risk::Admin, "a profile is switched off");
    }
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "privileged" | "hostnetwork" | "hostpid" | "hostipc" | "hostprocess" | "hostusers" if is_set => {
            judged.raise(Risk::Admin, &format!("`{name}` lets a pod out of its fences"));
        }
        "hostpath" | "ephemeralcontainers" | "sysctls" | "selinuxoptions" if some => {
            judged.raise(Risk::Admin, &format!("`{name}` lets a pod out of its fences"));
        }
        "capabilities" if within || value.get("add").is_some_and(|add| add.as_array().is_none_or(|add| !add.is_empty())) => {
            judged.raise(Risk::Admin, "it adds capabilities");
        }
        "procmount" if within || says(&["Unmasked"]) => judged.raise(Risk::Admin, "`procMount` shows the node's /proc"),
        "allowprivilegeescalation" if is_set => judged.raise(Risk::Destructive, "a process may become more than it began as"),
        "runasuser" | "runasgroup" | "fsgroup" if is_zero => judged.raise(Risk::Destructive, "it runs as root"),
        "runasusername" if some => judged.raise(Risk::Destructive, "it runs as a user of choice"),
        "ownerreferences" if some => judged.raise(Risk::Destructive, "what has no owner left is deleted"),
        "finalizers" => judged.raise(Risk::Destructive, "what waits to be cleaned up may go without it"),
        "replicas" | "parallelism" | "minreplicas" | "maxreplicas" if is_zero => judged.raise(Risk::Destructive, "nothing is left running"),
        "persistentvolumeclaimretentionpolicy" | "ttlsecondsafterfinished" if some => {
            judged.raise(Risk::Destructive, "something is deleted by itself")
        }
        "priorityclassname" if value.as_str().is_some_and(|text| text.starts_with("system-")) => {
            judged.raise(Risk::Destructive, "it takes the place of other pods");
        }
        "runtimeclassname" if some => judged.raise(Risk::Destructive, "it runs by other rules"),
        "secretkeyref" | "secretref" | "secretname" if some => {
            judged.raise(Risk::Write, "its programs read a Secret, and can write it anywhere")
        }
        "serviceaccountname" | "serviceaccount" if some && !says(&["default", ""]) => {
            judged.raise(Risk::Destructive, "the pod has the rights of a service account of choice");
        }
        "serviceaccounttoken" if some => judged.raise(Risk::Destructive, "the pod gets a token of its service account"),
        "nodename" | "hostport" | "csi" | "flexvolume" if some => {
            judged.raise(Risk::Destructive, &format!("`{name}` ties the pod to its node"));
        }
        _ => {}
    }
}
