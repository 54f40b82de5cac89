//! The protobuf form of the few kinds that `kubectl` sends so, and never as JSON. Everything is answered as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde_json::{Value, json};

use super::json::stamp;
use super::schema;

/// A message a line: the number of a field, its name and its type, in the notation of `types_pod`.
const MESSAGES: &str = "
ObjectMeta: 1 name s; 2 generateName s; 3 namespace s; 5 uid s; 6 resourceVersion s; 7 generation i; 8 creationTimestamp t;
    11 labels {s}; 12 annotations {s}; 13 ownerReferences [OwnerReference]; 14 finalizers [s]
OwnerReference: 1 kind s; 3 name s; 4 uid s; 5 apiVersion s; 6 controller b; 7 blockOwnerDeletion b
ConfigMap: 1 metadata ObjectMeta; 2 data {s}; 3 binaryData {y}; 4 immutable b
Secret: 1 metadata ObjectMeta; 2 data {y}; 3 type s; 4 stringData {s}; 5 immutable b
Namespace: 1 metadata ObjectMeta; 2 spec NamespaceSpec
NamespaceSpec: 1 finalizers [s]
ServiceAccount: 1 metadata ObjectMeta; 4 automountServiceAccountToken b
TokenRequest: 1 metadata ObjectMeta; 2 spec TokenRequestSpec
TokenRequestSpec: 1 audiences [s]; 4 expirationSeconds i
SelfSubjectReview: 1 metadata ObjectMeta
SelfSubjectRulesReview: 1 metadata ObjectMeta; 2 spec RulesSpec
RulesSpec: 1 namespace s
SelfSubjectAccessReview: 1 metadata ObjectMeta; 2 spec AccessSpec
SubjectAccessReview: 1 metadata ObjectMeta; 2 spec AccessSpec
LocalSubjectAccessReview: 1 metadata ObjectMeta; 2 spec AccessSpec
AccessSpec: 1 resourceAttributes ResourceAttributes; 2 nonResourceAttributes PathAttributes; 3 user s; 4 groups [s]
ResourceAttributes: 1 namespace s; 2 verb s; 3 group s; 4 version s; 5 resource s; 6 subresource s; 7 name s
PathAttributes: 1 path s; 2 verb s
Eviction: 1 metadata ObjectMeta; 2 deleteOptions DeleteOptions
DeleteOptions: 1 gracePeriodSeconds i; 2 preconditions Preconditions; 3 orphanDependents b; 4 propagationPolicy s; 5 dryRun [s]
Preconditions: 1 uid s; 2 resourceVersion s
Role: 1 metadata ObjectMeta; 2 rules [PolicyRule]
ClusterRole: 1 metadata ObjectMeta; 2 rules [PolicyRule]
PolicyRule: 1 verbs [s]; 2 apiGroups [s]; 3 resources [s]; 4 resourceNames [s]; 5 nonResourceURLs [s]
RoleBinding: 1 metadata ObjectMeta; 2 subjects [Subject]; 3 roleRef RoleRef
ClusterRoleBinding: 1 metadata ObjectMeta; 2 subjects [Subject]; 3 roleRef RoleRef
Subject: 1 kind s; 2 apiGroup s; 3 name s; 4 namespace s
RoleRef: 1 apiGroup s; 2 kind s; 3 name s
";

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 127) << shift;
        if first & 128 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message by number; only the two wire types that these messages use.
fn parts(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(value)
            }
            _ => return None,
        };
        found.push((tag >> 3, value));
    }
    Some(found)
}

fn value(kind: &str, wire: &Wire<'_>) -> Option<Value> {
    match (kind, wire) {
        ("s", Wire::Bytes(bytes)) => Some(json!(std::str::from_utf8(bytes).ok()?)),
        ("y", Wire::Bytes(bytes)) => Some(json!(STANDARD.encode(bytes))),
        ("i", Wire::Number(number)) => Some(json!(i64::from_ne_bytes(number.to_ne_bytes()))),
        ("b", Wire::Number(number)) => Some(json!(*number != 0)),
        ("t", Wire::Bytes(bytes)) => match parts(bytes)?.first() {
            Some((1, Wire::Number(seconds))) => Some(json!(stamp(DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0)?))),
            _ => Some(Value::Null),
        },
        (name, Wire::Bytes(bytes)) => message(name, bytes),
        _ => None,
    }
}

fn message(name: &str, bytes: &[u8]) -> Option<Value> {
    let line = schema::split(MESSAGES).into_iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
    let mut object = json!({});
    for (number, wire) in parts(bytes)? {
        let wanted = number.to_string();
        let field = line.split(';').map(|field| field.split_whitespace().collect::<Vec<_>>()).find(|field| field[0] == wanted);
        let Some([_, field, kind]) = field.as_deref() else { continue };
        if let Some(kind) = kind.strip_prefix('[') {
            let mut all = object[*field].as_array().cloned().unwrap_or_default();
            all.push(value(kind.trim_end_matches(']'), &wire)?);
            object[*field] = json!(all);
        } else if let (Some(kind), Wire::Bytes(pair)) = (kind.strip_prefix('{'), &wire) {
            let pair = parts(pair)?;
            let [(1, Wire::Bytes(key)), (2, inner)] = pair.as_slice() else { return None };
            object[*field][std::str::from_utf8(key).ok()?] = value(kind.trim_end_matches('}'), inner)?;
        } else {
            let inner = value(kind, &wire)?;
            // An empty text is how this form writes that there is none.
            if inner != json!("") && !inner.is_null() {
                object[*field] = inner;
            }
        }
    }
    Some(object)
}

/// The object of a body that starts with the mark of this form.
pub(super) fn decode(body: &[u8]) -> Option<Value> {
    let envelope = parts(body.strip_prefix(b"k8s\0")?)?;
    let bytes = |number: u64| {
        envelope.iter().find_map(|(found, wire)| match wire {
            Wire::Bytes(bytes) if *found == number => Some(*bytes),
            _ => None,
        })
    };
    let kinds = parts(bytes(1)?)?;
    let text = |number: u64| {
        kinds.iter().find_map(|(found, wire)| match wire {
            Wire::Bytes(bytes) if *found == number => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    };
    let mut object = message(text(2)?, bytes(2)?)?;
    object["apiVersion"] = json!(text(1)?);
    object["kind"] = json!(text(2)?);
    Some(object)
}
