//! Create, update and patch: from the body to the stored object, in the order in which the real server works.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::convert;
use super::json::{default, list, namespace, now, number, remove, set, text};
use super::managed::{self, Writer};
use super::registry::Resource;
use super::rights;
use super::status::{Gr, Outcome, Wrong, bad_request, forbidden, invalid, modified, not_found};
use super::store::{Key, Store, key_of};
use super::validate;
use super::{defaults, remove as removal, scale};

pub(super) fn create(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let resource = &call.resource;
    let (object, warnings) = call.decoded(&resource.api_version(), &resource.kind, &resource.fields)?;
    let stored = insert(store, call, object, false)?;
    Ok(Reply { code: 201, object: stored, warnings })
}

/// The metadata has to say what the path says.
fn placed(call: &Call, object: &mut Value) -> Outcome<()> {
    let wanted = if call.resource.namespaced { call.namespace.as_str() } else { "" };
    let given = namespace(object);
    if !given.is_empty() && given != wanted {
        return Err(bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    if wanted.is_empty() {
        remove(object, &["metadata", "namespace"]);
    } else {
        set(object, &["metadata", "namespace"], json!(wanted));
    }
    Ok(())
}

/// What an object gets when it is new, whatever its client wrote.
fn identify(resource: &Resource, object: &mut Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        remove(object, &["metadata", field]);
    }
    set(object, &["metadata", "uid"], json!(uuid::Uuid::new_v4().to_string()));
    set(object, &["metadata", "creationTimestamp"], json!(now()));
    remove(object, &["metadata", "generation"]);
    if counted(resource) {
        set(object, &["metadata", "generation"], json!(1));
    }
    let keeps = matches!(resource.plural.as_str(), "nodes" | "namespaces" | "services" | "persistentvolumeclaims");
    if resource.sub("status").is_some() && !keeps {
        remove(object, &["status"]);
    }
}

/// Kinds whose generation counts the changes of their spec.
fn counted(resource: &Resource) -> bool {
    let group = matches!(
        resource.group.as_str(),
        "apps" | "batch" | "policy" | "networking.k8s.io" | "apiextensions.k8s.io" | "admissionregistration.k8s.io" | "autoscaling"
    );
    resource.custom || group || matches!(resource.plural.as_str(), "pods" | "replicationcontrollers")
}

/// Stores a new object. An applied one brings its managed fields along.
pub(super) fn insert(store: &mut Store, call: &Call, mut object: Value, applied: bool) -> Outcome<Value> {
    let resource = call.resource.clone();
    placed(call, &mut object)?;
    if text(&object, "/metadata/name").is_empty() && !text(&object, "/metadata/generateName").is_empty() {
        let name = format!("{}{}", text(&object, "/metadata/generateName"), super::suffix());
        set(&mut object, &["metadata", "name"], json!(name));
    }
    remove(&mut object, &["metadata", "uid"]);
    defaults::fill(&resource.kind, &resource.api_version(), &mut object);
    managed::drop_nulls(&mut object);
    if !applied {
        let version = resource.api_version();
        managed::update(&resource.fields, &json!({}), &mut object, &Writer { api_version: &version, ..call.writer() });
    }
    admit(store, call, &mut object)?;
    identify(&resource, &mut object);
    prepare(store, &resource, &mut object);
    validate::object(&resource, None, &object)?;
    let key = key_of(&resource, &object);
    if store.get(&key).is_some() {
        return Err(super::status::already_exists(resource.gr(), &key.name));
    }
    let stored = store.put(&key, convert::to_hub(&resource, object));
    if key.shelf == "pods" {
        store.starting.push(key);
    }
    Ok(convert::from_hub(&resource, &stored))
}

/// Admission of a new object: its namespace, its rights and, for pods, its account.
fn admit(store: &Store, call: &Call, object: &mut Value) -> Outcome<()> {
    let resource = &call.resource;
    if resource.namespaced {
        let Some(home) = store.find("namespaces", "", &call.namespace) else {
            return Err(not_found(Gr { group: "", resource: "namespaces" }, &call.namespace));
        };
        if text(&home, "/status/phase") == "Terminating" {
            let why = format!("unable to create new content in namespace {} because it is being terminated", call.namespace);
            let mut failure = forbidden(resource.gr(), text(object, "/metadata/name"), &why);
            let message = format!("namespace {} is being terminated", call.namespace);
            failure.body["details"]["causes"] =
                json!([{ "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" }]);
            return Err(failure);
        }
    }
    if resource.group == rights::GROUP {
        rights::confirm(store, &call.user, &resource.plural, object)?;
    }
    if resource.group.is_empty() && resource.plural == "pods" {
        defaults::admit_pod(object);
        let account = text(object, "/spec/serviceAccountName").to_owned();
        if store.find("serviceaccounts", &call.namespace, &account).is_none() {
            let why = format!("error looking up service account {}/{account}: serviceaccount {account:?} not found", call.namespace);
            return Err(forbidden(resource.gr(), text(object, "/metadata/name"), &why));
        }
    }
    Ok(())
}

/// What the server decides itself about a new object.
pub(super) fn prepare(store: &Store, resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "services") => defaults::address(store, object),
        ("", "pods") => default(object, &["status"], json!({ "phase": "Pending", "qosClass": "BestEffort" })),
        ("apps", _) => default(object, &["status"], json!({})),
        ("apiextensions.k8s.io", _) => {
            let at = now();
            let ready = |kind: &str, reason: &str, message: &str| {
                let mut state = json!({ "type": kind, "status": "True", "reason": reason, "message": message });
                set(&mut state, &["lastTransitionTime"], json!(at));
                state
            };
            let names = object["spec"]["names"].clone();
            let versions = list(object, "/spec/versions").iter().filter(|version| version["storage"] == true);
            let stored: Vec<_> = versions.map(|version| version["name"].clone()).collect();
            let conditions = [
                ready("NamesAccepted", "NoConflicts", "no conflicts found"),
                ready("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ];
            set(object, &["status"], json!({ "acceptedNames": names, "storedVersions": stored, "conditions": conditions }));
        }
        ("batch", "jobs") => {
            let uid = text(object, "/metadata/uid").to_owned();
            default(object, &["spec", "selector"], json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }));
            let name = text(object, "/metadata/name").to_owned();
            for (label, value) in [("batch.kubernetes.io/controller-uid", &uid), ("batch.kubernetes.io/job-name", &name)] {
                default(object, &["spec", "template", "metadata", "labels", label], json!(value));
            }
            default(object, &["status"], json!({}));
        }
        _ => {}
    }
}

/// The live object of a call, in the version that is asked for.
pub(super) fn live(store: &Store, call: &Call) -> Option<Value> {
    let space = if call.resource.namespaced { call.namespace.as_str() } else { "" };
    let found = store.find(&call.resource.shelf(), space, &call.name)?;
    Some(convert::from_hub(&call.resource, &found))
}

pub(super) fn found(store: &Store, call: &Call) -> Outcome<Value> {
    live(store, call).ok_or_else(|| not_found(call.resource.gr(), &call.name))
}

pub(super) fn update(store: &mut Store, call: &Call) -> Outcome<Reply> {
    if call.sub == "scale" {
        return scale::update(store, call);
    }
    let resource = &call.resource;
    let (new, warnings) = call.decoded(&resource.api_version(), &resource.kind, &resource.fields)?;
    let old = found(store, call)?;
    let version = text(&new, "/metadata/resourceVersion");
    if version.is_empty() && (resource.custom || resource.group == "coordination.k8s.io") {
        let wrong = validate::wrong("metadata.resourceVersion", &json!(0), "must be specified for an update");
        let wrong = Wrong { message: wrong.message.replace("value: 0:", "value: 0x0:"), ..wrong };
        return Err(invalid(&resource.group, &resource.kind, &call.name, &[wrong]));
    }
    let object = replace(store, call, &old, new, false)?;
    Ok(Reply { code: 200, object, warnings })
}

/// Puts a changed object in the place of the old one.
pub(super) fn replace(store: &mut Store, call: &Call, old: &Value, mut new: Value, applied: bool) -> Outcome<Value> {
    let resource = call.resource.clone();
    let gr = resource.gr();
    let named = text(&new, "/metadata/name");
    if named != call.name {
        let message = format!("the name of the object ({named}) does not match the name on the URL ({})", call.name);
        return Err(bad_request(message));
    }
    placed(call, &mut new)?;
    let (uid, old_uid) = (text(&new, "/metadata/uid"), text(old, "/metadata/uid"));
    if !uid.is_empty() && uid != old_uid {
        return Err(super::status::precondition(gr, &call.name, "UID", uid, old_uid));
    }
    let version = text(&new, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(old, "/metadata/resourceVersion") {
        return Err(modified(gr, &call.name));
    }
    defaults::fill(&resource.kind, &resource.api_version(), &mut new);
    managed::drop_nulls(&mut new);
    keep(call, old, &mut new);
    if !applied {
        let api_version = resource.api_version();
        managed::update(&resource.fields, old, &mut new, &Writer { api_version: &api_version, ..call.writer() });
    }
    if same(old, &new) {
        return Ok(old.clone());
    }
    count(&resource, old, &mut new);
    if resource.group == rights::GROUP && call.sub.is_empty() {
        rights::confirm(store, &call.user, &resource.plural, &new)?;
    }
    if call.sub == "ephemeralcontainers" {
        validate::ephemeral(&resource, old, &new)?;
    } else if call.sub != "status" {
        validate::object(&resource, Some(old), &new)?;
    }
    let key = key_of(&resource, &new);
    let going = !text(&new, "/metadata/deletionTimestamp").is_empty();
    let hub = convert::to_hub(&resource, new);
    if going && list(&hub, "/metadata/finalizers").is_empty() && (key.shelf != "namespaces" || list(&hub, "/spec/finalizers").is_empty()) {
        // The last finalizer is off: the object goes with this write.
        store.put(&key, hub.clone());
        let gone = removal::erase(store, &key).unwrap_or_default();
        return Ok(convert::from_hub(&resource, &gone));
    }
    let stored = store.put(&key, hub);
    Ok(convert::from_hub(&resource, &stored))
}

/// What a write does not change: identity, and the half of the object that the endpoint does not serve.
fn keep(call: &Call, old: &Value, new: &mut Value) {
    for field in
        ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"]
    {
        remove(new, &["metadata", field]);
        if let Some(kept) = old["metadata"].get(field) {
            set(new, &["metadata", field], kept.clone());
        }
    }
    let with_status = call.resource.sub("status").is_some();
    match call.sub.as_str() {
        "status" | "approval" => {
            let status = new.get("status").cloned();
            let (managed, notes) = (new["metadata"].get("managedFields").cloned(), new["metadata"].get("annotations").cloned());
            let mut base = old.clone();
            remove(&mut base, &["status"]);
            remove(&mut base, &["metadata", "managedFields"]);
            if let Some(status) = status {
                base["status"] = status;
            }
            if let Some(managed) = managed {
                base["metadata"]["managedFields"] = managed;
            }
            if !call.resource.custom {
                remove(&mut base, &["metadata", "annotations"]);
                if let Some(notes) = notes {
                    base["metadata"]["annotations"] = notes;
                }
            }
            *new = base;
        }
        "ephemeralcontainers" => {
            let added = new["spec"].get("ephemeralContainers").cloned().unwrap_or(json!([]));
            let managed = new["metadata"].get("managedFields").cloned();
            *new = old.clone();
            new["spec"]["ephemeralContainers"] = added;
            new["metadata"]["managedFields"] = managed.unwrap_or(json!([]));
        }
        "finalize" => {
            let spec = new.get("spec").cloned().unwrap_or(json!({}));
            *new = old.clone();
            new["spec"] = spec;
        }
        _ if with_status => {
            remove(new, &["status"]);
            if let Some(status) = old.get("status") {
                new["status"] = status.clone();
            }
        }
        _ => {}
    }
    if call.resource.plural == "services" {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(kept) = old["spec"].get(field) {
                default(new, &["spec", field], kept.clone());
            }
        }
    }
}

/// Nothing is written when only the times of managers would change.
fn same(old: &Value, new: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        for entry in object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            entry.as_object_mut().map(|entry| entry.remove("time"));
        }
        object
    };
    timeless(old) == timeless(new)
}

fn count(resource: &Resource, old: &Value, new: &mut Value) {
    if !counted(resource) {
        return;
    }
    let rest = |object: &Value| {
        let mut rest = object.clone();
        for field in ["metadata", "status"] {
            remove(&mut rest, &[field]);
        }
        rest
    };
    let notes = resource.plural == "deployments" && old["metadata"]["annotations"] != new["metadata"]["annotations"];
    if rest(old) != rest(new) || notes {
        set(new, &["metadata", "generation"], json!(number(old, "/metadata/generation") + 1));
    }
}

/// Seeds or replaces an object as if it had been stored by the API, without asking who.
pub(super) fn seed(store: &mut Store, resource: &Resource, mut object: Value) -> Value {
    let space = if resource.namespaced { namespace(&object) } else { "" };
    if resource.namespaced && space.is_empty() {
        set(&mut object, &["metadata", "namespace"], json!("default"));
    }
    defaults::fill(&resource.kind, &resource.api_version(), &mut object);
    let key: Key = key_of(resource, &object);
    let old = store.get(&key);
    let version = resource.api_version();
    if object.pointer("/metadata/managedFields").is_none() {
        let ignored = vec![vec!["f:status".to_owned()]];
        let writer = Writer { manager: "kubectl-create", api_version: &version, subresource: "", ignored };
        managed::update(&resource.fields, &json!({}), &mut object, &writer);
    }
    default(
        &mut object,
        &["metadata", "uid"],
        json!(old.as_ref().map_or_else(|| uuid::Uuid::new_v4().to_string(), |old| text(old, "/metadata/uid").to_owned())),
    );
    default(
        &mut object,
        &["metadata", "creationTimestamp"],
        json!(old.as_ref().map_or_else(now, |old| text(old, "/metadata/creationTimestamp").to_owned())),
    );
    if counted(resource) {
        default(&mut object, &["metadata", "generation"], json!(old.as_ref().map_or(0, |old| number(old, "/metadata/generation")) + 1));
    }
    if object.get("status").is_some() {
        store.fixed.insert(text(&object, "/metadata/uid").to_owned());
    } else if key.shelf == "pods" {
        defaults::admit_pod(&mut object);
        store.starting.push(key.clone());
    }
    prepare(store, resource, &mut object);
    let stored = store.put(&key, convert::to_hub(resource, object));
    convert::from_hub(resource, &stored)
}
