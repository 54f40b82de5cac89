//! Reading: one object, a list in pages, and the forms that a client asks for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::call::Call;
use super::convert;
use super::json::{namespace, number, remove, text};
use super::registry::Resource;
use super::selector::Selector;
use super::status::{Outcome, Wrong, bad_request, expired, failure, invalid};
use super::store::{Key, Store};
use super::{table, write};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Plain,
    Table,
    Metadata,
}

/// The first form in an Accept header that is served.
pub(super) fn negotiate(accept: &str) -> Outcome<Form> {
    if accept.trim().is_empty() {
        return Ok(Form::Plain);
    }
    for offer in accept.split(',') {
        let mut parts = offer.split(';').map(str::trim);
        if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*")) {
            continue;
        }
        match parts.find_map(|part| part.strip_prefix("as=")) {
            None => return Ok(Form::Plain),
            Some("Table") => return Ok(Form::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Form::Metadata),
            Some(_) => {}
        }
    }
    let accepted = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    Err(failure(406, "NotAcceptable", accepted, Value::Null))
}

pub(super) fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// An object in the form that was asked for.
pub(super) fn shown(call: &Call, object: Value) -> Outcome<Value> {
    Ok(match negotiate(&call.accept)? {
        _ if text(&object, "/kind") == "Status" => object,
        Form::Plain => object,
        Form::Metadata => partial(&object),
        Form::Table => {
            let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            if text(&object, "/kind") == "Scale" {
                return Ok(table::scale(&object, metadata));
            }
            table::of(&call.resource, &[object], metadata, call.query.get("includeObject"))?
        }
    })
}

pub(super) fn get(store: &Store, call: &Call) -> Outcome<Value> {
    shown(call, write::found(store, call)?)
}

pub(super) fn selector(call: &Call) -> Outcome<Selector> {
    Selector::parse(&call.resource, call.query.get("labelSelector"), call.query.get("fieldSelector"))
}

fn in_place(call: &Call, object: &Value) -> bool {
    call.namespace.is_empty() || !call.resource.namespaced || namespace(object) == call.namespace
}

/// Every object that the call selects, now.
pub(super) fn selected(store: &Store, call: &Call) -> Outcome<Vec<Value>> {
    let selector = selector(call)?;
    let all = store.shelf(&call.resource.shelf()).into_iter().filter(|object| in_place(call, object));
    Ok(all.map(|object| convert::from_hub(&call.resource, &object)).filter(|object| selector.matches(object)).collect())
}

pub(super) fn takes(call: &Call, selector: &Selector, object: &Value) -> bool {
    in_place(call, object) && selector.matches(object)
}

pub(super) fn revision(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| {
        let why = format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
        bad_request(format!("resourceVersion: {why}"))
    })
}

pub(super) fn too_large(wanted: u64, current: u64) -> Box<super::status::Failure> {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let causes = json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]);
    failure(504, "Timeout", message, json!({ "causes": causes, "retryAfterSeconds": 1 }))
}

/// Where a page starts: the revision that the list shows, and the key that it goes on after.
struct Start {
    revision: u64,
    after: Option<(String, String)>,
}

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
    the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the \
    provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk \
    was returned and now may show up in the list.";

fn token(revision: i64, start: &str) -> String {
    let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn start(store: &Store, call: &Call) -> Outcome<Start> {
    let (given, version) = (call.query.get("continue"), call.query.get("resourceVersion"));
    let exact = call.query.get("resourceVersionMatch");
    if given.is_empty() {
        let wanted = if version.is_empty() { 0 } else { revision(version)? };
        let rule = |why: &str| {
            let wrong = Wrong { reason: "FieldValueForbidden", field: "resourceVersionMatch".into(), message: format!("Forbidden: {why}") };
            Err(invalid("meta.k8s.io", "ListOptions", "", &[wrong]))
        };
        if !exact.is_empty() && version.is_empty() {
            return rule("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if exact == "Exact" && wanted == 0 {
            return rule("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if wanted > store.revision {
            return Err(too_large(wanted, store.revision));
        }
        let limited = call.query.number("limit")?.is_some_and(|limit| limit > 0);
        // A limit with a version and no rule means that exact version, as it did before there was a rule.
        let pinned = exact == "Exact" || exact.is_empty() && limited && wanted > 0;
        if pinned && wanted < store.compacted {
            return Err(expired("The resourceVersion for the provided list is too old."));
        }
        return Ok(Start { revision: if pinned { wanted } else { store.revision }, after: None });
    }
    if !version.is_empty() && version != "0" {
        return Err(bad_request("specifying resource version is not allowed when using continue"));
    }
    let decoded = URL_SAFE_NO_PAD.decode(given).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let decoded = decoded.filter(|token| text(token, "/v") == "meta.k8s.io/v1" && !text(token, "/start").is_empty());
    let Some(decoded) = decoded else {
        return Err(bad_request("continue key is not valid: invalid continue token"));
    };
    let from = text(&decoded, "/start");
    let (space, name) = from.trim_end_matches('\0').rsplit_once('/').unwrap_or(("", from.trim_end_matches('\0')));
    let after = Some((space.to_owned(), name.to_owned()));
    let rv = number(&decoded, "/rv");
    if rv < 0 {
        return Ok(Start { revision: store.revision, after });
    }
    let rv = u64::try_from(rv).unwrap_or_default();
    if rv < store.compacted || rv > store.revision {
        let mut gone = expired(TOO_OLD);
        gone.body["metadata"] = json!({ "continue": token(-1, from) });
        return Err(gone);
    }
    Ok(Start { revision: rv, after })
}

type Page = (Vec<Value>, Option<(Key, usize)>);

fn page(store: &Store, call: &Call, selector: &Selector, start: &Start, limit: usize) -> Page {
    let all: Vec<(Key, Arc<Value>)> = store.at(start.revision, &call.resource.shelf());
    let mut rest = all
        .into_iter()
        .filter(|(_, object)| in_place(call, object))
        .filter(|(key, _)| start.after.as_ref().is_none_or(|(space, name)| (&key.namespace, &key.name) > (space, name)));
    let mut items = Vec::new();
    let mut last = None;
    for (key, object) in rest.by_ref() {
        let object = convert::from_hub(&call.resource, &object);
        if !selector.matches(&object) {
            continue;
        }
        items.push(object);
        last = Some(key);
        if limit > 0 && items.len() == limit {
            break;
        }
    }
    // Only when the selectors take something more does the list go on.
    let left = rest.filter(|(_, object)| selector.matches(&convert::from_hub(&call.resource, object))).count();
    (items, last.filter(|_| left > 0).map(|key| (key, left)))
}

pub(super) fn list(store: &Store, call: &Call) -> Outcome<Value> {
    let form = negotiate(&call.accept)?;
    let selector = selector(call)?;
    let limit = usize::try_from(call.query.number("limit")?.unwrap_or_default()).unwrap_or_default();
    let start = start(store, call)?;
    let (items, more) = page(store, call, &selector, &start, limit);
    // Measurements are made when they are asked for, and have no versions.
    let measured = call.resource.group == "metrics.k8s.io";
    let mut metadata = if measured { json!({}) } else { json!({ "resourceVersion": start.revision.to_string() }) };
    if let Some((key, left)) = more {
        let from = if call.resource.namespaced && call.namespace.is_empty() {
            format!("{}/{}\0", key.namespace, key.name)
        } else if call.resource.namespaced {
            format!("{}/{}\0", call.namespace, key.name)
        } else {
            format!("{}\0", key.name)
        };
        metadata["continue"] = json!(token(i64::try_from(start.revision).unwrap_or_default(), &from));
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    let resource = &call.resource;
    Ok(match form {
        Form::Table => table::of(resource, &items, metadata, call.query.get("includeObject"))?,
        Form::Metadata => {
            let items: Vec<_> = items.iter().map(partial).collect();
            // The real server makes this list anew and never repairs it: without items it says null.
            let items = if items.is_empty() { Value::Null } else { json!(items) };
            json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items })
        }
        Form::Plain => whole(resource, items, metadata),
    })
}

fn whole(resource: &Resource, mut items: Vec<Value>, metadata: Value) -> Value {
    if !resource.custom {
        // Items of a typed list do not repeat their kind.
        for item in &mut items {
            remove(item, &["kind"]);
            remove(item, &["apiVersion"]);
        }
    }
    json!({ "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(), "metadata": metadata, "items": items })
}
