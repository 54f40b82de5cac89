//! What the server refuses with 422: names, labels, and the rules of the workload kinds.

use serde_json::{Value, json};

use super::json::{list, number, text};
use super::registry::Resource;
use super::selector;
use super::status::{Outcome, Wrong, invalid};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
    and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with \
    an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
    and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

pub(super) fn wrong(field: impl Into<String>, value: &Value, why: &str) -> Wrong {
    Wrong { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
}

pub(super) fn required(field: impl Into<String>, why: &str) -> Wrong {
    let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
    Wrong { reason: "FieldValueRequired", field: field.into(), message }
}

pub(super) fn forbidden(field: &str, why: &str) -> Wrong {
    Wrong { reason: "FieldValueForbidden", field: field.to_owned(), message: format!("Forbidden: {why}") }
}

pub(super) fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Wrong {
    let supported = supported.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ");
    let message = format!("Unsupported value: {value}: supported values: {supported}");
    Wrong { reason: "FieldValueNotSupported", field: field.into(), message }
}

fn refuse(resource: &Resource, name: &str, wrongs: &[Wrong]) -> Outcome<()> {
    if wrongs.is_empty() { Ok(()) } else { Err(invalid(&resource.group, &resource.kind, name, wrongs)) }
}

fn label(part: &str) -> bool {
    let ends = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let middle = part.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    middle && ends(part.chars().next()) && ends(part.chars().next_back())
}

pub(super) fn metadata(resource: &Resource, object: &Value, wrongs: &mut Vec<Wrong>) {
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        return wrongs.push(required("metadata.name", "name or generateName is required"));
    }
    let longest = if matches!(resource.plural.as_str(), "namespaces" | "services") { 63 } else { 253 };
    if name.len() > longest {
        let message = format!("Too long: may not be more than {longest} bytes");
        wrongs.push(Wrong { reason: "FieldValueTooLong", field: "metadata.name".into(), message });
    }
    let why = match (resource.group.as_str(), resource.plural.as_str()) {
        ("rbac.authorization.k8s.io", _) => (name == "." || name == ".." || name.contains(['/', '%'])).then_some("may not contain '/'"),
        ("", "namespaces") => (!label(name)).then_some(LABEL),
        ("", "services") => (!label(name) || name.starts_with(|first: char| first.is_ascii_digit())).then_some(SERVICE),
        _ => (!name.split('.').all(label)).then_some(SUBDOMAIN),
    };
    wrongs.extend(why.map(|why| wrong("metadata.name", &json!(name), why)));
    labels(&object["metadata"]["labels"], "metadata.labels", wrongs);
}

fn labels(labels: &Value, at: &str, wrongs: &mut Vec<Wrong>) {
    for value in labels.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str()) {
        let ends = |letter: Option<char>| letter.is_none_or(|letter| letter.is_ascii_alphanumeric());
        let middle = value.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        if !middle || !ends(value.chars().next()) || !ends(value.chars().next_back()) {
            wrongs.push(wrong(at, &json!(value), LABEL_VALUE));
        }
        if value.len() > 63 {
            wrongs.push(wrong(at, &json!(value), "must be no more than 63 bytes"));
        }
    }
}

/// The rules of one kind; `old` is what is replaced.
pub(super) fn object(resource: &Resource, old: Option<&Value>, new: &Value) -> Outcome<()> {
    let mut wrongs = Vec::new();
    metadata(resource, new, &mut wrongs);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => workload(old, new, &mut wrongs),
        ("batch", "jobs") => containers(&new["spec"]["template"]["spec"], "spec.template.spec", &mut wrongs),
        ("", "pods") => pod(old, new, &mut wrongs),
        ("", "services") => service(new, &mut wrongs),
        ("", "configmaps" | "secrets") => settings(old, new, &mut wrongs),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            if old.is_some_and(|old| old["roleRef"] != new["roleRef"]) {
                wrongs.push(wrong("roleRef", &new["roleRef"], "cannot change roleRef"));
            }
            if text(new, "/roleRef/name").is_empty() {
                wrongs.push(required("roleRef.name", ""));
            }
        }
        ("rbac.authorization.k8s.io", _) => {
            for (index, rule) in list(new, "/rules").iter().enumerate().filter(|(_, rule)| list(rule, "/verbs").is_empty()) {
                wrongs.push(required(format!("rules[{index}].verbs"), "verbs must contain at least one value"));
                let _ = rule;
            }
        }
        _ => {}
    }
    refuse(resource, text(new, "/metadata/name"), &wrongs)
}

fn workload(old: Option<&Value>, new: &Value, wrongs: &mut Vec<Wrong>) {
    let count = number(new, "/spec/replicas");
    if count < 0 {
        wrongs.push(wrong("spec.replicas", &json!(count), "must be greater than or equal to 0"));
    }
    let selector = &new["spec"]["selector"];
    let wanted = &new["spec"]["template"]["metadata"]["labels"];
    if selector.is_null() {
        wrongs.push(required("spec.selector", ""));
    } else if !selector::takes(selector, wanted) {
        let why = "`selector` does not match template `labels`";
        wrongs.push(wrong("spec.template.metadata.labels", if wanted.is_null() { &Value::Null } else { wanted }, why));
    }
    if old.is_some_and(|old| old["spec"]["selector"] != *selector) {
        wrongs.push(wrong("spec.selector", selector, "field is immutable"));
    }
    containers(&new["spec"]["template"]["spec"], "spec.template.spec", wrongs);
}

fn containers(spec: &Value, at: &str, wrongs: &mut Vec<Wrong>) {
    let containers = list(spec, "/containers");
    if containers.is_empty() {
        wrongs.push(required(format!("{at}.containers"), ""));
    }
    let mut seen = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let at = format!("{at}.containers[{index}]");
        let name = text(container, "/name");
        if name.is_empty() {
            wrongs.push(required(format!("{at}.name"), ""));
        } else if !label(name) {
            wrongs.push(wrong(format!("{at}.name"), &json!(name), LABEL));
        } else if seen.contains(&name) {
            let message = format!("Duplicate value: {name:?}");
            wrongs.push(Wrong { reason: "FieldValueDuplicate", field: format!("{at}.name"), message });
        }
        seen.push(name);
        if text(container, "/image").is_empty() {
            wrongs.push(required(format!("{at}.image"), ""));
        }
    }
    let policies = ["Always", "OnFailure", "Never"];
    let policy = text(spec, "/restartPolicy");
    if !policy.is_empty() && !policies.contains(&policy) {
        wrongs.push(not_supported(format!("{at}.restartPolicy"), &json!(policy), &policies));
    }
}

/// Most of a pod's spec stands from its creation on.
fn pod(old: Option<&Value>, new: &Value, wrongs: &mut Vec<Wrong>) {
    containers(&new["spec"], "spec", wrongs);
    let Some(old) = old else { return };
    let fixed = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for name in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"] {
            spec.as_object_mut().map(|spec| spec.remove(name));
        }
        for group in ["containers", "initContainers"] {
            for container in spec.get_mut(group).and_then(Value::as_array_mut).into_iter().flatten() {
                container.as_object_mut().map(|container| container.remove("image"));
            }
        }
        spec
    };
    if fixed(old) != fixed(new) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
            `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
            `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";
        wrongs.push(forbidden("spec", why));
    }
}

fn service(new: &Value, wrongs: &mut Vec<Wrong>) {
    let portless = text(new, "/spec/type") == "ExternalName" || text(new, "/spec/clusterIP") == "None";
    if list(new, "/spec/ports").is_empty() && !portless {
        wrongs.push(required("spec.ports", ""));
    }
    for (index, port) in list(new, "/spec/ports").iter().enumerate() {
        if !(1..=65535).contains(&number(port, "/port")) {
            let why = "must be between 1 and 65535, inclusive";
            wrongs.push(wrong(format!("spec.ports[{index}].port"), &port["port"], why));
        }
    }
}

/// Ephemeral containers are only added.
pub(super) fn ephemeral(resource: &Resource, old: &Value, new: &Value) -> Outcome<()> {
    let after = list(new, "/spec/ephemeralContainers");
    let mut wrongs = Vec::new();
    for container in list(old, "/spec/ephemeralContainers") {
        let name = text(container, "/name");
        match after.iter().find(|one| text(one, "/name") == name) {
            Some(same) if same == container => {}
            Some(_) => {
                wrongs.push(forbidden("spec.ephemeralContainers", &format!("existing ephemeral containers {name:?} may not be changed\n")))
            }
            None => {
                wrongs.push(forbidden("spec.ephemeralContainers", &format!("existing ephemeral containers {name:?} may not be removed\n")))
            }
        }
    }
    refuse(resource, text(new, "/metadata/name"), &wrongs)
}

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
    'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn settings(old: Option<&Value>, new: &Value, wrongs: &mut Vec<Wrong>) {
    for field in ["data", "binaryData"] {
        for (key, _) in new[field].as_object().into_iter().flatten() {
            if key.is_empty() || !key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter)) {
                wrongs.push(wrong(format!("{field}[{key}]"), &json!(key), KEY));
            }
        }
    }
    let Some(old) = old else { return };
    if old["type"] != new["type"] {
        wrongs.push(wrong("type", &new["type"], "field is immutable"));
    }
    if old["immutable"] == true {
        for field in ["data", "binaryData"].into_iter().filter(|field| old[*field] != new[*field]) {
            wrongs.push(forbidden(field, "field is immutable when `immutable` is set"));
        }
        if new["immutable"] != true {
            wrongs.push(forbidden("immutable", "field is immutable when `immutable` is set"));
        }
    }
}
