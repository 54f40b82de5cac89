//! JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.

use serde_json::{Value, json};

use super::schema::{ListKind, Type};
use super::status::{Failure, Outcome, bad_request, failure};

pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, inner) in patch {
        if inner.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), inner);
        }
    }
}

/// The server does not say which operation did not apply.
fn refused() -> Box<Failure> {
    failure(422, "Invalid", "the server rejected our request due to an error in our request", json!({}))
}

pub(super) fn json_patch(target: &mut Value, patch: &Value) -> Outcome<()> {
    let Some(operations) = patch.as_array() else {
        return Err(bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch"));
    };
    operations.iter().try_for_each(|operation| operate(target, operation).ok_or_else(refused))
}

fn operate(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    let value = || operation.get("value").cloned();
    match operation["op"].as_str()? {
        "add" => insert(target, path, value()?),
        "remove" => take(target, path).map(|_| ()),
        "replace" => {
            *target.pointer_mut(path)? = value()?;
            Some(())
        }
        "move" => {
            let moved = take(target, operation["from"].as_str()?)?;
            insert(target, path, moved)
        }
        "copy" => {
            let copied = target.pointer(operation["from"].as_str()?)?.clone();
            insert(target, path, copied)
        }
        "test" => (target.pointer(path).unwrap_or(&Value::Null) == operation.get("value").unwrap_or(&Value::Null)).then_some(()),
        _ => None,
    }
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn insert(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let index = last.parse().ok().filter(|index| *index <= items.len())?;
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&last),
        Value::Array(items) => last.parse().ok().filter(|index| *index < items.len()).map(|index| items.remove(index)),
        _ => None,
    }
}

/// Lists with a merge key are merged by it; everything else is merged as a map or replaced.
pub(super) fn strategic(kind: &Type, target: &mut Value, patch: &Value) -> Outcome<()> {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match fields.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = patch.clone();
            clean(target);
            return Ok(());
        }
        Some("delete") => {
            *target = json!({});
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(bad_request(format!("unknown patch type found: {other}"))),
    }
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    if let Some(kept) = fields.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, inner) in fields.iter().filter(|(name, _)| !name.starts_with('$')) {
        if inner.is_null() {
            map.remove(name);
        } else {
            let slot = map.entry(name).or_insert(Value::Null);
            member(&kind.field(name), slot, inner)?;
        }
    }
    for (name, inner) in fields {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = inner.as_array().cloned().unwrap_or_default();
            if let Some(Value::Array(items)) = map.get_mut(field) {
                items.retain(|item| !gone.contains(item));
            }
        } else if let Some(field) = name.strip_prefix("$setElementOrder/")
            && let Some(Value::Array(items)) = map.get_mut(field)
        {
            reorder(&kind.field(field), items, inner.as_array().map(Vec::as_slice).unwrap_or_default());
        }
    }
    Ok(())
}

fn member(kind: &Type, slot: &mut Value, patch: &Value) -> Outcome<()> {
    match (kind, patch) {
        (Type::List { of, kind: ListKind::Map(keys) }, Value::Array(items)) => {
            if !slot.is_array() {
                *slot = json!([]);
            }
            keyed(of, &keys[0], slot.as_array_mut().unwrap(), items)
        }
        (Type::List { kind: ListKind::Set, .. }, Value::Array(items)) => {
            let mut all = slot.as_array().cloned().unwrap_or_default();
            all.extend(items.iter().filter(|item| !slot.as_array().is_some_and(|old| old.contains(item))).cloned());
            *slot = json!(all);
            Ok(())
        }
        (_, Value::Object(_)) => strategic(kind, slot, patch),
        _ => {
            *slot = patch.clone();
            Ok(())
        }
    }
}

fn keyed(of: &Type, key: &str, items: &mut Vec<Value>, patch: &[Value]) -> Outcome<()> {
    if patch.iter().any(|item| item["$patch"] == "replace") {
        *items = patch.iter().filter(|item| item["$patch"] != "replace").cloned().collect();
        items.iter_mut().for_each(clean);
        return Ok(());
    }
    for item in patch {
        let Some(wanted) = item.get(key) else {
            return Err(failure(
                500,
                "InternalError",
                format!("Internal error occurred: map: {item} does not contain declared merge key: {key}"),
                json!({ "causes": [{ "message": format!("map: {item} does not contain declared merge key: {key}") }] }),
            ));
        };
        let at = items.iter().position(|old| old.get(key) == Some(wanted));
        match (at, item["$patch"] == "delete") {
            (Some(at), true) => {
                items.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => strategic(of, &mut items[at], item)?,
            (None, false) => {
                let mut new = item.clone();
                clean(&mut new);
                items.push(new);
            }
        }
    }
    Ok(())
}

/// Puts the listed items into the listed order, at the places that they have together.
fn reorder(kind: &Type, items: &mut [Value], order: &[Value]) {
    let key = match kind {
        Type::List { kind: ListKind::Map(keys), .. } => Some(keys[0].clone()),
        _ => None,
    };
    let same = |item: &Value, wanted: &Value| key.as_ref().map_or(item == wanted, |key| item.get(key) == wanted.get(key));
    let places: Vec<_> = (0..items.len()).filter(|at| order.iter().any(|wanted| same(&items[*at], wanted))).collect();
    let ordered: Vec<_> = order.iter().filter_map(|wanted| items.iter().find(|item| same(item, wanted)).cloned()).collect();
    for (place, item) in places.into_iter().zip(ordered) {
        items[place] = item;
    }
}

/// Takes the directives out of what is inserted as it stands.
fn clean(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, inner| !name.starts_with('$') && !inner.is_null());
            map.values_mut().for_each(clean);
        }
        Value::Array(items) => {
            items.retain(|item| item["$patch"] != "delete");
            items.iter_mut().for_each(clean);
        }
        _ => {}
    }
}
