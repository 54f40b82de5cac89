//! Sets of field paths: what a value has, what differs between two, and the `fieldsV1` form that managed fields are kept in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::schema::{Shape, Type};

/// Elements as `fieldsV1` writes them: `f:name`, `k:{…}` of a keyed item, `v:…` of an item of a set.
pub(super) type Path = Vec<String>;
pub(super) type Set = BTreeSet<Path>;

#[derive(Default)]
pub(super) struct Difference {
    pub(super) added: Set,
    pub(super) changed: Set,
    pub(super) removed: Set,
}

fn step(path: &[String], element: String) -> Path {
    path.iter().cloned().chain([element]).collect()
}

fn sorted(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let map: BTreeMap<_, _> = map.iter().collect();
    Value::Object(map.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The element that an item of a set or of a keyed list is found at.
pub(super) fn element(item: &Value, shape: &Shape<'_>) -> String {
    let Shape::Keyed(keys) = shape else { return format!("v:{item}") };
    let pairs = keys.iter().map(|key| {
        let value = item.get(key).cloned().unwrap_or(if key == "protocol" { json!("TCP") } else { Value::Null });
        (key.clone(), value)
    });
    format!("k:{}", sorted(&Value::Object(pairs.collect::<Map<_, _>>())))
}

fn empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Null) | None => true,
        Some(_) => false,
    }
}

pub(super) fn of(kind: &Type, value: &Value) -> Set {
    let mut set = Set::new();
    collect(kind, value, &[], &mut set);
    set
}

fn collect(kind: &Type, value: &Value, path: &[String], set: &mut Set) {
    match (kind.shape(value), value) {
        (Shape::Map, Value::Object(map)) => {
            for (name, inner) in map {
                let path = step(path, format!("f:{name}"));
                collect(&kind.field(name), inner, &path, set);
                if inner.is_null() || inner.as_object().is_some_and(Map::is_empty) || !kind.names(name) {
                    set.insert(path);
                }
            }
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(items)) => {
            for item in items {
                let path = step(path, element(item, &shape));
                collect(&kind.item(), item, &path, set);
                set.insert(path);
            }
        }
        (Shape::Leaf, _) => {
            set.insert(path.to_vec());
        }
        _ => {}
    }
}

pub(super) fn compare(kind: &Type, old: &Value, new: &Value) -> Difference {
    let mut found = Difference::default();
    differ(kind, Some(old), Some(new), &[], &mut found);
    found
}

fn differ(kind: &Type, old: Option<&Value>, new: Option<&Value>, path: &[String], found: &mut Difference) {
    let shape = kind.shape(new.or(old).unwrap_or(&Value::Null));
    let leaf = matches!(shape, Shape::Leaf) || empty(old) && empty(new);
    if leaf {
        match (old, new) {
            (None, Some(_)) => found.added.insert(path.to_vec()),
            (Some(_), None) => found.removed.insert(path.to_vec()),
            (Some(old), Some(new)) if old != new => found.changed.insert(path.to_vec()),
            _ => false,
        };
        return;
    }
    for (element, old, new) in children(&shape, old, new) {
        let inner = element.strip_prefix("f:").map_or_else(|| kind.item(), |name| kind.field(name));
        differ(&inner, old, new, &step(path, element), found);
    }
    match (old, new) {
        (None, Some(_)) => found.added.insert(path.to_vec()),
        (Some(_), None) => found.removed.insert(path.to_vec()),
        _ => false,
    };
}

type Pairs<'a> = Vec<(String, Option<&'a Value>, Option<&'a Value>)>;

fn children<'a>(shape: &Shape<'_>, old: Option<&'a Value>, new: Option<&'a Value>) -> Pairs<'a> {
    let parts = |value: Option<&'a Value>| -> BTreeMap<String, &'a Value> {
        match value {
            Some(Value::Object(map)) => map.iter().map(|(name, inner)| (format!("f:{name}"), inner)).collect(),
            Some(Value::Array(items)) => items.iter().map(|item| (element(item, shape), item)).collect(),
            _ => BTreeMap::new(),
        }
    };
    let (old, new) = (parts(old), parts(new));
    let elements: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
    elements.into_iter().map(|element| (element.clone(), old.get(&element).copied(), new.get(&element).copied())).collect()
}

/// What keeps a configuration from being applied: values of a wrong type, and items of a list that have the same key.
pub(super) fn wrongs(kind: &Type, value: &Value, path: &[String], found: &mut Vec<String>) {
    let mut say = |why: &str| found.push(format!("{}: {why}", display(path)));
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (kind, value) {
        (_, Value::Null) => {}
        (Type::Scalar("int32" | "int64"), Value::String(_)) => say("expected numeric (int or float), got string"),
        (Type::Scalar("string" | "date-time" | "byte"), Value::Bool(_) | Value::Number(_)) => {
            say(&format!("expected string, got &value.valueUnstructured{{Value:{value}}}"));
        }
        (Type::Scalar("boolean"), other) if !other.is_boolean() => say(&format!("expected boolean, got {}", plain(other))),
        (Type::List { .. }, other) if !other.is_array() => say(&format!("expected list, got {}", plain(other))),
        (Type::Map { .. } | Type::Ref(_), other) if !other.is_object() => say(&format!("expected map, got {}", plain(other))),
        (_, Value::Object(map)) => {
            map.iter().for_each(|(name, inner)| wrongs(&kind.field(name), inner, &step(path, format!("f:{name}")), found));
        }
        (Type::List { .. }, Value::Array(items)) => {
            let shape = kind.shape(value);
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let keyed = matches!(shape, Shape::Set | Shape::Keyed(_));
                let key = if keyed { element(item, &shape) } else { format!("i:{index}") };
                if keyed && !seen.insert(key.clone()) {
                    found.push(format!("{}: duplicate entries for key {}", display(path), display(std::slice::from_ref(&key))));
                }
                wrongs(&kind.item(), item, &step(path, key), found);
            }
        }
        _ => {}
    }
}

/// The value that applying `new` onto `live` gives.
pub(super) fn merge(kind: &Type, live: &Value, new: &Value) -> Value {
    match (kind.shape(new), live, new) {
        (Shape::Map, Value::Object(live), Value::Object(new)) => {
            let mut merged = live.clone();
            for (name, inner) in new {
                let value = live.get(name).map_or_else(|| inner.clone(), |live| merge(&kind.field(name), live, inner));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(live), Value::Array(new)) => {
            Value::Array(merge_lists(kind, &shape, live, new))
        }
        _ => new.clone(),
    }
}

/// New items keep their order, and items that only the live list has keep their places between them.
fn merge_lists(kind: &Type, shape: &Shape<'_>, live: &[Value], new: &[Value]) -> Vec<Value> {
    let old: Vec<_> = live.iter().map(|item| (element(item, shape), item)).collect();
    let new: Vec<_> = new.iter().map(|item| (element(item, shape), item)).collect();
    let in_old = |wanted: &str| old.iter().find(|(element, _)| element == wanted).map(|(_, item)| *item);
    let in_new = |wanted: &str| new.iter().any(|(element, _)| element == wanted);
    let mut shared = new.iter().filter(|(element, _)| in_old(element).is_some()).map(|(element, _)| element.as_str());
    let mut next = shared.next();
    let (mut merged, mut done) = (Vec::new(), BTreeSet::new());
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        if left < old.len() {
            let (element, item) = &old[left];
            let behind = right < new.len() && in_new(element) && next.is_some() && next != Some(element);
            if behind && new[right].0 != *element {
                left += 1;
                continue;
            }
            if !in_new(element) {
                merged.push((*item).clone());
                left += 1;
                continue;
            }
            if done.contains(element.as_str()) || right < new.len() && new[right].0 == *element {
                left += 1;
            }
        }
        if right < new.len() {
            let (element, item) = &new[right];
            done.insert(element.as_str());
            merged.push(in_old(element).map_or_else(|| (*item).clone(), |live| merge(&kind.item(), live, item)));
            right += 1;
            if next == Some(element) {
                next = shared.next();
            }
        }
    }
    merged
}

/// The value without the fields and items at the paths.
pub(super) fn without(kind: &Type, value: &Value, gone: &Set) -> Value {
    let below =
        |element: &str| -> Set { gone.iter().filter(|path| path.len() > 1 && path[0] == element).map(|path| path[1..].to_vec()).collect() };
    let is_gone = |element: &str| gone.contains(std::slice::from_ref(&element.to_owned()));
    match (kind.shape(value), value) {
        (Shape::Map, Value::Object(map)) => {
            let kept = map.iter().filter(|(name, _)| !is_gone(&format!("f:{name}"))).map(|(name, inner)| {
                let below = below(&format!("f:{name}"));
                (name.clone(), if below.is_empty() { inner.clone() } else { without(&kind.field(name), inner, &below) })
            });
            let kept: Map<_, _> = kept.collect();
            if kept.is_empty() && !map.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(items)) => {
            let kept = items.iter().filter(|item| !is_gone(&element(item, &shape))).map(|item| {
                let below = below(&element(item, &shape));
                if below.is_empty() { item.clone() } else { without(&kind.item(), item, &below) }
            });
            let kept: Vec<_> = kept.collect();
            if kept.is_empty() && !items.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        (Shape::Leaf, Value::Object(_) | Value::Array(_)) => Value::Null,
        _ => value.clone(),
    }
}

/// The set with the named fields on the way to its paths, which are not members otherwise.
pub(super) fn with_named(kind: &Type, set: &Set) -> Set {
    let mut all = set.clone();
    for path in set {
        let mut kind = kind.clone();
        for (depth, element) in path.iter().enumerate() {
            let name = element.strip_prefix("f:");
            if depth + 1 < path.len() && name.is_some_and(|name| kind.names(name)) {
                all.insert(path[..=depth].to_vec());
            }
            kind = name.map_or_else(|| kind.item(), |name| kind.field(name));
        }
    }
    all
}

pub(super) fn minus(left: &Set, right: &Set) -> Set {
    left.difference(right).cloned().collect()
}

pub(super) fn plus(left: &Set, right: &Set) -> Set {
    left.union(right).cloned().collect()
}

/// Without everything at and below the paths.
pub(super) fn outside(set: &Set, roots: &[Path]) -> Set {
    set.iter().filter(|path| !roots.iter().any(|root| path.starts_with(root))).cloned().collect()
}

pub(super) fn encode(set: &Set) -> Value {
    let mut root = json!({});
    for path in set {
        let mut at = &mut root;
        for element in path {
            at = at.as_object_mut().unwrap().entry(element.clone()).or_insert_with(|| json!({}));
        }
        // Marks a member that others lie below; a leaf needs none, and loses it again.
        at["."] = json!({});
    }
    tidy(&mut root);
    root
}

fn tidy(node: &mut Value) {
    let map = node.as_object_mut().unwrap();
    if map.len() == 1 && map.contains_key(".") {
        map.clear();
    }
    map.values_mut().for_each(tidy);
}

pub(super) fn decode(fields: &Value) -> Set {
    let mut set = Set::new();
    walk(fields, &[], &mut set);
    set
}

fn walk(node: &Value, path: &[String], set: &mut Set) {
    let Some(map) = node.as_object() else { return };
    if !path.is_empty() && (map.is_empty() || map.contains_key(".")) {
        set.insert(path.to_vec());
    }
    for (element, inner) in map.iter().filter(|(element, _)| *element != ".") {
        walk(inner, &step(path, element.clone()), set);
    }
}

/// The form that messages name a field in: `.spec.containers[name="app"].image`.
pub(super) fn display(path: &[String]) -> String {
    let part = |element: &String| {
        let (mark, rest) = element.split_at(2);
        match mark {
            "f:" => format!(".{rest}"),
            "k:" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                format!("[{}]", keys.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
            }
            "i:" => format!("[{rest}]"),
            _ => format!("[={rest}]"),
        }
    };
    path.iter().map(part).collect()
}
