//! The scale subresource: an `autoscaling/v1` view of `spec.replicas`.

use serde_json::{Value, json};

use super::amend::patched;
use super::call::{Call, Reply};
use super::json::{number, set, text};
use super::registry::Resource;
use super::schema::Type;
use super::selector;
use super::status::{Outcome, bad_request};
use super::store::Store;
use super::write::{found, replace};
use super::{managed, validate};

fn view(resource: &Resource, object: &Value) -> Value {
    let meta = &object["metadata"];
    let chosen = if resource.plural == "replicationcontrollers" {
        selector::as_text(&json!({ "matchLabels": object["spec"]["selector"] }))
    } else {
        selector::as_text(&object["spec"]["selector"])
    };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = meta[field].clone();
    }
    let mut spec = json!({});
    if number(object, "/spec/replicas") != 0 {
        spec["replicas"] = object["spec"]["replicas"].clone();
    }
    let status = json!({ "replicas": number(object, "/status/replicas"), "selector": chosen });
    json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status })
}

pub(super) fn get(store: &Store, call: &Call) -> Outcome<Reply> {
    Ok(Reply::new(200, view(&call.resource, &found(store, call)?)))
}

fn store_scale(store: &mut Store, call: &Call, old: &Value, scale: &Value) -> Outcome<Reply> {
    if text(scale, "/metadata/name") != call.name {
        let named = text(scale, "/metadata/name");
        return Err(bad_request(format!("the name of the object ({named}) does not match the name on the URL ({})", call.name)));
    }
    let count = number(scale, "/spec/replicas");
    if count < 0 {
        let wrong = validate::wrong("spec.replicas", &json!(count), "must be greater than or equal to 0");
        return Err(super::status::invalid("autoscaling", "Scale", &call.name, &[wrong]));
    }
    let mut new = old.clone();
    set(&mut new, &["spec", "replicas"], json!(count));
    let version = scale["metadata"]["resourceVersion"].clone();
    if !version.is_null() {
        set(&mut new, &["metadata", "resourceVersion"], version);
    }
    let object = replace(store, call, old, new, false)?;
    Ok(Reply::new(200, view(&call.resource, &object)))
}

pub(super) fn update(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let (scale, warnings) = call.decoded("autoscaling/v1", "Scale", &Type::Ref("Scale".into()))?;
    let old = found(store, call)?;
    let reply = store_scale(store, call, &old, &scale)?;
    Ok(Reply { warnings, ..reply })
}

pub(super) fn patch(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let old = found(store, call)?;
    let kind = Type::Ref("Scale".into());
    let mut scale = view(&call.resource, &old);
    if call.media() == "application/apply-patch+yaml" {
        return apply(store, call, &old);
    }
    patched(call, &kind, &mut scale)?;
    store_scale(store, call, &old, &scale)
}

/// Applying a Scale owns `spec.replicas` of the object through this subresource.
fn apply(store: &mut Store, call: &Call, old: &Value) -> Outcome<Reply> {
    let scale = call.json()?;
    let version = call.resource.api_version();
    let config = json!({ "apiVersion": version, "kind": call.resource.kind, "spec": { "replicas": number(&scale, "/spec/replicas") } });
    let writer = managed::Writer { api_version: &version, ..call.writer() };
    let new = managed::apply(&call.resource.fields, old, &config, &writer, call.query.flag("force"))?;
    let object = replace(store, call, old, new, true)?;
    Ok(Reply::new(200, view(&call.resource, &object)))
}
