//! The types of the built-in objects: what fields they have, and how their lists and maps merge. One description serves the
//! OpenAPI documents, field validation, strategic merge and server-side apply.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::{types_core, types_pod, types_rest};

#[derive(Clone, Debug)]
pub(super) enum Type {
    Scalar(&'static str),
    /// A named struct of the description.
    Ref(String),
    /// A struct of a custom resource.
    Inline(Arc<Struct>),
    Map {
        of: Arc<Type>,
        atomic: bool,
    },
    List {
        of: Arc<Type>,
        kind: ListKind,
    },
    /// No schema: maps are granular, lists are atomic.
    Any,
    /// Raw JSON that is one value.
    Opaque,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ListKind {
    Atomic,
    Set,
    Map(Vec<String>),
}

#[derive(Debug, Default)]
pub(super) struct Struct {
    pub(super) atomic: bool,
    pub(super) fields: BTreeMap<String, Type>,
    /// The type of fields that are not named, where they are allowed.
    pub(super) rest: Option<Type>,
}

/// What a value of a type is made of.
pub(super) enum Shape<'a> {
    Leaf,
    Map,
    Set,
    Keyed(&'a [String]),
}

impl Type {
    pub(super) fn structure(&self) -> Option<&Struct> {
        match self {
            Self::Ref(name) => STRUCTS.get(name.as_str()),
            Self::Inline(found) => Some(found),
            _ => None,
        }
    }

    pub(super) fn shape(&self, value: &Value) -> Shape<'_> {
        match self {
            Self::Scalar(_) | Self::Opaque => Shape::Leaf,
            Self::Any if value.is_object() => Shape::Map,
            Self::Any => Shape::Leaf,
            Self::Map { atomic, .. } => {
                if *atomic {
                    Shape::Leaf
                } else {
                    Shape::Map
                }
            }
            Self::List { kind, .. } => match kind {
                ListKind::Atomic => Shape::Leaf,
                ListKind::Set => Shape::Set,
                ListKind::Map(keys) => Shape::Keyed(keys),
            },
            Self::Ref(_) | Self::Inline(_) => match self.structure() {
                Some(found) if !found.atomic => Shape::Map,
                _ => Shape::Leaf,
            },
        }
    }

    pub(super) fn field(&self, name: &str) -> Type {
        match self {
            Self::Map { of, .. } => (**of).clone(),
            Self::Ref(_) | Self::Inline(_) => {
                let found = self.structure();
                found.and_then(|found| found.fields.get(name).or(found.rest.as_ref())).cloned().unwrap_or(Self::Any)
            }
            _ => Self::Any,
        }
    }

    /// Whether the name is one of the type's own fields, not a key of a map.
    pub(super) fn names(&self, name: &str) -> bool {
        self.structure().is_some_and(|found| found.fields.contains_key(name))
    }

    pub(super) fn item(&self) -> Type {
        match self {
            Self::List { of, .. } => (**of).clone(),
            _ => Self::Any,
        }
    }
}

static STRUCTS: LazyLock<BTreeMap<&'static str, Struct>> = LazyLock::new(|| entries().map(entry).collect());

/// The entries of the description: a type each, which goes on where a line is indented.
fn entries() -> impl Iterator<Item = &'static str> {
    [types_pod::POD, types_core::CORE, types_rest::REST].into_iter().flat_map(split)
}

/// The parts of a text that begin at lines without indentation.
pub(super) fn split(text: &'static str) -> Vec<&'static str> {
    let starts: Vec<_> = text.match_indices('\n').map(|(at, _)| at + 1).filter(|at| text[*at..].starts_with(char::is_alphabetic)).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| text[*start..end].trim_end()).collect()
}

/// The names of all types, in the order of the description.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    entries().filter_map(|entry| entry.split_once(':')).map(|(name, _)| name.trim_end_matches('!'))
}

/// `Name: field type; …`, with `!` after the name of a struct that is atomic.
fn entry(line: &'static str) -> (&'static str, Struct) {
    let (name, fields) = line.split_once(':').unwrap_or_else(|| panic!("no type: {line}"));
    let fields = fields.split(';').map(str::trim).filter(|field| !field.is_empty()).map(|field| {
        let (name, kind) = field.split_once(' ').unwrap_or_else(|| panic!("no field: {field} of {name}"));
        (name.to_owned(), parse(kind.trim()))
    });
    (name.trim_end_matches('!'), Struct { atomic: name.ends_with('!'), fields: fields.collect(), rest: None })
}

fn parse(text: &str) -> Type {
    let (body, atomic) = text.strip_suffix('!').map_or((text, false), |body| (body, true));
    if let Some(inner) = body.strip_prefix('{') {
        return Type::Map { of: Arc::new(parse(inner.trim_end_matches('}'))), atomic };
    }
    if let Some(inner) = body.strip_prefix('[') {
        let (of, kind) = inner.strip_suffix(']').unwrap().split_once('|').unwrap_or((&inner[..inner.len() - 1], ""));
        let kind = match kind {
            "" => ListKind::Atomic,
            "=" => ListKind::Set,
            keys => ListKind::Map(keys.split(',').map(str::to_owned).collect()),
        };
        return Type::List { of: Arc::new(parse(of)), kind };
    }
    match body {
        "s" => Type::Scalar("string"),
        "i" => Type::Scalar("int32"),
        "l" => Type::Scalar("int64"),
        "b" => Type::Scalar("boolean"),
        "q" => Type::Scalar("quantity"),
        "x" => Type::Scalar("int-or-string"),
        "t" => Type::Scalar("date-time"),
        "y" => Type::Scalar("byte"),
        "any" => Type::Opaque,
        name => Type::Ref(name.to_owned()),
    }
}

/// The types of a group and version by kind; what is not described is taken as it comes, with typed metadata.
pub(super) fn of(group: &str, version: &str, kind: &str) -> Type {
    if kind == "HorizontalPodAutoscaler" && version == "v1" {
        return Type::Ref("HorizontalPodAutoscalerV1".into());
    }
    if kind == "Event" && group == "events.k8s.io" {
        return Type::Ref("EventsEvent".into());
    }
    if STRUCTS.contains_key(kind) && group != "metrics.k8s.io" { Type::Ref(kind.to_owned()) } else { untyped() }
}

pub(super) fn structure(name: &str) -> Option<&'static Struct> {
    STRUCTS.get(name)
}

fn object_fields() -> BTreeMap<String, Type> {
    let fields = [("apiVersion", Type::Scalar("string")), ("kind", Type::Scalar("string")), ("metadata", Type::Ref("ObjectMeta".into()))];
    fields.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect()
}

fn untyped() -> Type {
    Type::Inline(Arc::new(Struct { atomic: false, fields: object_fields(), rest: Some(Type::Any) }))
}

/// The type that the schema of a custom resource stands for.
pub(super) fn custom(schema: &Value) -> Type {
    let Type::Inline(found) = from_openapi(schema) else { return untyped() };
    let mut fields = object_fields();
    let known = found.fields.iter().filter(|(name, _)| *name != "metadata");
    fields.extend(known.map(|(name, kind)| (name.clone(), kind.clone())));
    Type::Inline(Arc::new(Struct { atomic: false, fields, rest: found.rest.clone() }))
}

fn from_openapi(schema: &Value) -> Type {
    let flag = |name: &str| schema[name] == true;
    match schema["type"].as_str() {
        Some("object") => {
            if let Some(of) = schema.get("additionalProperties").filter(|of| of.is_object()) {
                return Type::Map { of: Arc::new(from_openapi(of)), atomic: schema["x-kubernetes-map-type"] == "atomic" };
            }
            let open = flag("x-kubernetes-preserve-unknown-fields") || flag("x-kubernetes-embedded-resource");
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, of)| (name.clone(), from_openapi(of))).collect();
            let atomic = schema["x-kubernetes-map-type"] == "atomic";
            Type::Inline(Arc::new(Struct { atomic, fields, rest: open.then_some(Type::Any) }))
        }
        Some("array") => {
            let kind = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(super::json::texts(schema, "/x-kubernetes-list-map-keys")),
                _ => ListKind::Atomic,
            };
            Type::List { of: Arc::new(from_openapi(&schema["items"])), kind }
        }
        Some("string") => Type::Scalar("string"),
        Some("integer") => Type::Scalar("int64"),
        Some("boolean") => Type::Scalar("boolean"),
        Some("number") => Type::Scalar("double"),
        _ if flag("x-kubernetes-int-or-string") => Type::Scalar("int-or-string"),
        _ => Type::Any,
    }
}

/// The paths that a value has and its type has not, in the order of the names.
pub(super) fn unknown(kind: &Type, value: &Value, at: &str, found: &mut Vec<String>) {
    match (kind, value) {
        (Type::Ref(_) | Type::Inline(_), Value::Object(map)) => {
            let Some(known) = kind.structure() else { return };
            let mut names: Vec<_> = map.iter().collect();
            names.sort_by_key(|(name, _)| name.as_str());
            for (name, inner) in names {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match known.fields.get(name).or(known.rest.as_ref()) {
                    Some(kind) => unknown(kind, inner, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Type::Map { of, .. }, Value::Object(map)) => {
            map.iter().for_each(|(name, inner)| unknown(of, inner, &format!("{at}.{name}"), found));
        }
        (Type::List { of, .. }, Value::Array(items)) => {
            items.iter().enumerate().for_each(|(index, inner)| unknown(of, inner, &format!("{at}[{index}]"), found));
        }
        _ => {}
    }
}

/// Drops what the type does not have: the decoder of a built-in kind, and the pruning of a custom one.
pub(super) fn prune(kind: &Type, value: &mut Value) {
    match (kind, value) {
        (Type::Ref(_) | Type::Inline(_), Value::Object(map)) => {
            let Some(known) = kind.structure() else { return };
            map.retain(|name, _| known.rest.is_some() || known.fields.contains_key(name));
            for (name, inner) in map {
                prune(known.fields.get(name).unwrap_or(&Type::Any), inner);
            }
        }
        (Type::Map { of, .. }, Value::Object(map)) => map.values_mut().for_each(|inner| prune(of, inner)),
        (Type::List { of, .. }, Value::Array(items)) => items.iter_mut().for_each(|inner| prune(of, inner)),
        _ => {}
    }
}

/// The first value that is of another JSON type than its field, worded as Go's decoder words it.
pub(super) fn mistyped(kind: &Type, value: &Value, at: &str) -> Option<String> {
    if let (Type::Scalar("byte"), Value::String(text)) = (kind, value) {
        let bad = |(_, letter): &(usize, char)| !(letter.is_ascii_alphanumeric() || "+/=".contains(*letter));
        let at = text.char_indices().find(bad).map(|(at, _)| at).or((text.len() % 4 != 0).then_some(text.len()));
        return at.map(|at| format!("illegal base64 data at input byte {at}"));
    }
    let found = match value {
        Value::Null => return None,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = match kind {
        Type::Scalar("string" | "date-time" | "byte") => ("string", "string"),
        Type::Scalar("boolean") => ("bool", "bool"),
        Type::Scalar(width @ ("int32" | "int64")) => ("number", *width),
        Type::Map { .. } => ("object", "map[string]string"),
        Type::List { .. } => ("array", "[]string"),
        Type::Ref(name) => ("object", name.as_str()),
        _ => return None,
    };
    if found != wanted.0 {
        return Some(format!("json: cannot unmarshal {found} into Go struct field {at} of type {}", wanted.1));
    }
    let step = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::Object(map) => map.iter().find_map(|(name, inner)| mistyped(&kind.field(name), inner, &step(name))),
        Value::Array(items) => items.iter().find_map(|inner| mistyped(&kind.item(), inner, at)),
        _ => None,
    }
}

/// The OpenAPI v3 form of a field's type.
pub(super) fn openapi(kind: &Type) -> Value {
    match kind {
        Type::Scalar(name) => match *name {
            "string" => json!({ "type": "string" }),
            "boolean" => json!({ "type": "boolean" }),
            "int32" | "int64" => json!({ "type": "integer", "format": name }),
            "double" => json!({ "type": "number", "format": "double" }),
            "date-time" | "byte" => json!({ "type": "string", "format": name }),
            "quantity" => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            _ => json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        },
        Type::Ref(name) => json!({ "allOf": [{ "$ref": format!("#/components/schemas/{}", super::openapi::component(name)) }] }),
        Type::Map { of, atomic } => {
            let mut schema = json!({ "type": "object", "additionalProperties": openapi(of) });
            if *atomic {
                schema["x-kubernetes-map-type"] = json!("atomic");
            }
            schema
        }
        Type::List { of, kind } => {
            let mut schema = json!({ "type": "array", "items": openapi(of) });
            match kind {
                ListKind::Atomic => schema["x-kubernetes-list-type"] = json!("atomic"),
                ListKind::Set => schema["x-kubernetes-list-type"] = json!("set"),
                ListKind::Map(keys) => {
                    schema["x-kubernetes-list-type"] = json!("map");
                    schema["x-kubernetes-list-map-keys"] = json!(keys);
                    schema["x-kubernetes-patch-merge-key"] = json!(keys[0]);
                    schema["x-kubernetes-patch-strategy"] = json!("merge");
                }
            }
            schema
        }
        Type::Inline(_) | Type::Any | Type::Opaque => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
    }
}
