//! Objects without what only servers need, in parts, and told apart: pure functions on JSON.

use serde_json::{Map, Value, json};

use crate::operation::kube::Type;

/// The annotation in which kubectl keeps the whole manifest, Secrets' values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Differences that are shown of one object, and the longest value.
const CHANGES_MAX: usize = 200;
const VALUE_MAX_BYTES: usize = 4_000;
/// Nesting that is compared member by member.
const DEPTH_MAX: usize = 40;

/// For the masks: all objects of an answer are of this kind, though they may not say so.
pub(super) fn kind_hint(kind: &Type) -> Option<String> {
    Some(kind.kind.clone())
}

/// Takes out what nobody reads.
pub(super) fn clean(object: &mut Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    metadata.remove("managedFields");
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// The value at a path; a number goes into a list.
pub(super) fn pluck<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(members) => members.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The object with these fields alone, each where it stands, and with what says of which kind it is.
pub(super) fn sparse(object: &Value, paths: &[Vec<String>]) -> Value {
    let mut kept = Value::Null;
    let identity: [&[&str]; 4] = [&["apiVersion"], &["kind"], &["metadata", "name"], &["metadata", "namespace"]];
    let identity = identity.iter().map(|path| path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
    for path in identity.chain(paths.iter().cloned()) {
        keep(object, &mut kept, &path);
    }
    kept
}

fn keep(from: &Value, to: &mut Value, path: &[String]) {
    let Some((part, rest)) = path.split_first() else {
        *to = from.clone();
        return;
    };
    match from {
        Value::Object(members) => {
            let Some(member) = members.get(part) else { return };
            if to.is_null() {
                *to = Value::Object(Map::new());
            }
            if let Value::Object(kept) = to {
                keep(member, kept.entry(part.clone()).or_insert(Value::Null), rest);
            }
        }
        Value::Array(items) => {
            let Some((index, item)) = part.parse::<usize>().ok().and_then(|index| Some((index, items.get(index)?))) else { return };
            if to.is_null() {
                *to = Value::Array(vec![Value::Null; items.len()]);
            }
            if let Value::Array(kept) = to
                && let Some(place) = kept.get_mut(index)
            {
                keep(item, place, rest);
            }
        }
        _ => {}
    }
}

/// Members of an object that a server changes by itself, and that say nothing of a change.
const NOISE: &[&str] =
    &["/metadata/resourceVersion", "/metadata/generation", "/metadata/managedFields", "/metadata/uid", "/metadata/creationTimestamp"];

/// The differences, field by field: path, before, after. Items of lists are told apart by their name, where all have one.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    compare("", before, after, 0, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, depth: usize, found: &mut Vec<Value>) {
    if before == after || NOISE.contains(&path) || found.len() > CHANGES_MAX {
        return;
    }
    if found.len() == CHANGES_MAX {
        found.push(json!({ "path": "…", "note": "there are more differences than are shown" }));
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if depth < DEPTH_MAX => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let (old, new) = (old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null));
                compare(&format!("{path}/{escaped}"), old, new, depth + 1, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if depth < DEPTH_MAX => match (named(old), named(new)) {
            (Some(old), Some(new)) => {
                let names: Vec<&str> = old
                    .iter()
                    .map(|(name, _)| *name)
                    .chain(new.iter().map(|(name, _)| *name).filter(|name| !old.iter().any(|(known, _)| known == name)))
                    .collect();
                let of = |list: &[(&str, &Value)], wanted: &str| {
                    list.iter().find(|(name, _)| *name == wanted).map_or(Value::Null, |(_, item)| (*item).clone())
                };
                for name in names {
                    compare(&format!("{path}/[{name}]"), &of(&old, name), &of(&new, name), depth + 1, found);
                }
            }
            _ => found.push(change(path, before, after)),
        },
        _ => found.push(change(path, before, after)),
    }
}

/// The items by their names, if all have one and no two the same.
fn named(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let named: Vec<(&str, &Value)> = items.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect::<Option<_>>()?;
    let distinct = named.iter().map(|(name, _)| *name).collect::<std::collections::BTreeSet<_>>().len() == named.len();
    (distinct && !named.is_empty()).then_some(named)
}

fn change(path: &str, before: &Value, after: &Value) -> Value {
    let bounded = |value: &Value| {
        let length = value.to_string().len();
        if length > VALUE_MAX_BYTES { json!(format!("({length} bytes, not shown)")) } else { value.clone() }
    };
    let mut change = Map::from_iter([("path".to_owned(), Value::from(path))]);
    // Nothing before is something new, nothing after something gone.
    change.extend(Some(("before".to_owned(), bounded(before))).filter(|_| !before.is_null()));
    change.extend(Some(("after".to_owned(), bounded(after))).filter(|_| !after.is_null()));
    Value::Object(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_field_by_field() {
        let before = json!({"metadata": {"resourceVersion": "1", "labels": {"a/b": "1"}}, "spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:1"}, {"name": "b"}], "args": ["1"]}});
        let after = json!({"metadata": {"resourceVersion": "2", "labels": {"a/b": "2"}}, "spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:2"}], "args": ["1", "2"], "paused": true}});
        let found = changes(&before, &after);
        let expected = [
            json!({"path": "/metadata/labels/a~1b", "before": "1", "after": "2"}),
            json!({"path": "/spec/containers/[a]/image", "before": "x:1", "after": "x:2"}),
            json!({"path": "/spec/containers/[b]", "before": {"name": "b"}}),
            json!({"path": "/spec/args", "before": ["1"], "after": ["1", "2"]}),
            json!({"path": "/spec/paused", "after": true}),
        ];
        assert!(found.len() == expected.len() && expected.iter().all(|one| found.contains(one)), "{found:?}");
        let many: Map<String, Value> = (0..500).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(changes(&json!({}), &Value::Object(many)).len(), CHANGES_MAX + 1);
    }

    #[test]
    fn a_part_of_an_object_stands_where_it_stood() {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "managedFields": [1], "annotations": {LAST_APPLIED: "{}"}}, "data": {"a": "1", "b": "2"}, "list": [{"x": 1, "y": 2}]});
        clean(&mut object);
        assert_eq!(object["metadata"], json!({"name": "s"}));
        let path = |text: &str| text.split('.').map(ToOwned::to_owned).collect::<Vec<_>>();
        let part = sparse(&object, &[path("data.a"), path("list.0.x"), path("no.such")]);
        assert_eq!(part, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "1"}, "list": [{"x": 1}]}));
        assert_eq!(pluck(&object, &path("list.0.y")), Some(&json!(2)));
    }
}
