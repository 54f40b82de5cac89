//! What is asked of the cluster as a whole: its kinds, their fields, what is used, what the human may do; and waiting for something to be so.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::connector::kube::rollout;
use crate::connector::kube::session::{Ask, JSON};
use crate::connector::kube::{Held, Work};
use crate::mask::{Done, Piece};
use crate::operation::kube::{CanI, Explain, Object, Resources, Top, TopOf, Type, Wait, Whom};
use crate::refusal::{Code, Refusal};

/// How often an object is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long before the call's time is over, it says how things stand.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// Bytes of one OpenAPI document.
const OPENAPI_MAX_BYTES: usize = 32 << 20;
/// Fields that one explanation lists, and how deep.
const FIELDS_MAX: usize = 500;
const DEPTH_MAX: usize = 12;

impl Work<'_> {
    /// The kinds that the cluster serves.
    pub(super) async fn resources(&self, wanted: &Resources) -> Result<Held, Refusal> {
        let known = self.cluster.discovery.resources(&self.session).await?;
        let columns = ["api_version", "kind", "name", "short_names", "namespaced", "verbs"];
        let mut pieces = vec![Piece::Table { columns: columns.map(|name| (name.to_owned(), "string".to_owned())).to_vec() }];
        for one in known.iter() {
            let in_group = wanted.group.as_ref().is_none_or(|group| group.as_str() == one.group);
            if in_group && wanted.verbs.iter().all(|verb| one.verbs.contains(verb)) {
                pieces.push(Piece::Row(vec![
                    Value::from(one.api_version()),
                    Value::from(one.kind.as_str()),
                    Value::from(one.plural.as_str()),
                    Value::from(one.shorts.join(",")),
                    Value::from(one.namespaced),
                    Value::from(one.verbs.join(",")),
                ]));
            }
        }
        Ok((pieces, Done::default()))
    }

    /// What is used of processors and memory.
    pub(super) async fn top(&self, top: &Top) -> Result<Held, Refusal> {
        let kind = match top.of {
            TopOf::Pods => Type::known("metrics.k8s.io", "PodMetrics", true),
            TopOf::Nodes => Type::known("metrics.k8s.io", "NodeMetrics", false),
        };
        let missing =
            || Refusal::new(Code::NotInstalled).detail("the resource metrics API (metrics.k8s.io), which metrics-server provides");
        let resource =
            self.resource(&kind).await.map_err(|refusal| if refusal.code() == Code::UnknownKind { missing() } else { refusal })?;
        let of = Object { kind, namespace: top.namespace.clone(), name: top.name.clone() };
        let answer = self.session.read(&Ask::get(resource.path(&of, "")?).maybe("labelSelector", top.label_selector.as_deref())).await?;
        let items = match answer.get("items").and_then(Value::as_array) {
            Some(items) => items.clone(),
            None => vec![answer],
        };
        let mut names = vec!["name", "cpu_millicores", "memory_mebibytes"];
        if top.of == TopOf::Pods {
            names.insert(0, "namespace");
        }
        let mut pieces = vec![Piece::Table { columns: names.into_iter().map(|name| (name.to_owned(), "string".to_owned())).collect() }];
        for item in &items {
            let text = |place: &str| item.pointer(place).cloned().unwrap_or_default();
            let used = |what: &str| -> f64 {
                let own = item.pointer(&format!("/usage/{what}"));
                let containers = item.get("containers").and_then(Value::as_array).into_iter().flatten();
                let each = containers.filter_map(|container| container.pointer(&format!("/usage/{what}")));
                own.into_iter().chain(each).filter_map(Value::as_str).filter_map(quantity).sum()
            };
            let mut row =
                vec![text("/metadata/name"), json!((used("cpu") * 1_000.0).round()), json!((used("memory") / 1_048_576.0).round())];
            if top.of == TopOf::Pods {
                row.insert(0, text("/metadata/namespace"));
            }
            pieces.push(Piece::Row(row));
        }
        Ok((pieces, Done::default()))
    }

    /// Whether the human may do something there.
    pub(super) async fn can_i(&self, can: &CanI) -> Result<Held, Refusal> {
        let mut attributes = Map::from_iter([
            ("verb".to_owned(), json!(can.verb)),
            ("group".to_owned(), json!(can.group.as_str())),
            ("resource".to_owned(), json!(can.resource)),
        ]);
        for (name, value) in [("subresource", &can.subresource), ("namespace", &can.namespace), ("name", &can.name)] {
            attributes.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let answer = self.session.rehearse(&Ask::send(Method::POST, path, JSON, &review)).await?;
        let status = |name: &str| answer.pointer(&format!("/status/{name}")).cloned().unwrap_or_default();
        let document = json!({
            "allowed": status("allowed") == Value::Bool(true), "denied": status("denied") == Value::Bool(true), "reason": status("reason"),
            "note": "this is the cluster's word; the broker's policies and approvals come before it",
        });
        Ok((vec![Piece::Kube { document, kind: None }], Done::default()))
    }

    /// What a kind's fields mean, from the cluster's OpenAPI documents.
    pub(super) async fn explain(&self, explain: &Explain) -> Result<Held, Refusal> {
        let resource = self.resource(&explain.kind).await?;
        let index = self.session.find(&Ask::get("/openapi/v3".to_owned())).await?;
        let index = index.ok_or_else(|| Refusal::new(Code::NotInstalled).detail("OpenAPI v3 documents, which clusters have since 1.24"))?;
        let key = if resource.group.is_empty() { format!("api/{}", resource.version) } else { format!("apis/{}", resource.api_version()) };
        let place = index.get("paths").and_then(|paths| paths.get(&key)).and_then(|path| path.get("serverRelativeURL")?.as_str());
        let place = place.filter(|place| is_openapi(place)).ok_or_else(|| unexplained(&explain.kind))?;
        // Without the hash, which another server of the cluster may not have, it is answered at once.
        let path = place.split_once('?').map_or(place, |(path, _)| path);
        let document = self.session.read(&Ask::get(path.to_owned()).at_most(OPENAPI_MAX_BYTES)).await?;
        let schemas = document.pointer("/components/schemas").and_then(Value::as_object).ok_or_else(|| unexplained(&explain.kind))?;
        let is_it = |schema: &&Value| {
            schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).into_iter().flatten().any(|known| {
                let text = |name: &str| known.get(name).and_then(Value::as_str).unwrap_or_default();
                text("group") == resource.group && text("version") == resource.version && text("kind") == resource.kind
            })
        };
        let mut schema = schemas.values().find(is_it).ok_or_else(|| unexplained(&explain.kind))?;
        for (depth, part) in explain.path.iter().enumerate() {
            let (_, below) = resolved(schemas, schema, 0);
            schema = below.get("properties").and_then(|properties| properties.get(part)).ok_or_else(|| {
                let known: Vec<&String> =
                    below.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).take(60).collect();
                let place = explain.path.get(..depth).unwrap_or_default().join(".");
                let known = known.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                Refusal::new(Code::InvalidName)
                    .detail(format!("there is no field `{part}` in `{}.{place}`; there are {known}", resource.kind))
            })?;
        }
        let (kind, below) = resolved(schemas, schema, 0);
        let describe = |schema: &Value| schema.get("description").cloned().unwrap_or_default();
        let own = if describe(schema).is_null() { describe(below) } else { describe(schema) };
        let mut left = FIELDS_MAX;
        let fields = fields(schemas, below, explain.recursive, 0, &mut left);
        let document = json!({
            "kind": resource.kind, "api_version": resource.api_version(), "field": explain.path.join("."), "type": kind, "description": own,
            "fields": fields, "truncated": left == 0,
        });
        Ok((vec![Piece::Document(document)], Done { truncated: left == 0, ..Done::default() }))
    }

    /// Until something is so, or the call's time is nearly over.
    pub(super) async fn wait(&self, wait: &Wait) -> Result<Held, Refusal> {
        let path = self.resource(&wait.object.kind).await?.path(&wait.object, "")?;
        let until = Instant::now() + self.call.limits.timeout.saturating_sub(LAST_LOOK);
        loop {
            let object = self.session.find(&Ask::get(path.clone())).await?;
            let (is_met, how) = match (&wait.until, &object) {
                (Whom::Deleted, object) => (object.is_none(), if object.is_none() { "it is gone" } else { "it is still there" }.to_owned()),
                (_, None) => return Err(Refusal::new(Code::ObjectNotFound).detail(wait.object.to_string())),
                (Whom::RolledOut, Some(object)) => rollout::progress(&wait.object.kind, object),
                (Whom::Condition { name, status }, Some(object)) => condition(object, name, status),
            };
            if is_met || Instant::now() + LOOK_EVERY > until {
                let conditions = object.as_ref().and_then(|object| object.pointer("/status/conditions")).cloned();
                let document = json!({ "met": is_met, "status": how, "conditions": conditions });
                return Ok((vec![Piece::Kube { document, kind: None }], Done::default()));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.session.halt.stopped() => return Err(self.session.halt.refusal()),
            }
        }
    }
}

/// Whether an object's condition has a status, and how it stands.
fn condition(object: &Value, name: &str, status: &str) -> (bool, String) {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let found = conditions.filter_map(|one| Some((one.get("type")?.as_str()?, one.get("status")?.as_str()?, one)));
    match found.into_iter().find(|(kind, ..)| kind.eq_ignore_ascii_case(name)) {
        None => (false, format!("it has no condition {name} yet")),
        Some((kind, is, one)) => {
            let why =
                one.get("message").and_then(Value::as_str).filter(|why| !why.is_empty()).map(|why| format!(": {why}")).unwrap_or_default();
            (is == status, format!("{kind} is {is}{why}"))
        }
    }
}

/// An address among the OpenAPI documents, and nowhere else.
fn is_openapi(place: &str) -> bool {
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    let fits = path.bytes().all(plain) && query.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=%".contains(&b));
    place.starts_with("/openapi/v3/") && fits && !place.contains("..")
}

fn unexplained(kind: &Type) -> Refusal {
    Refusal::new(Code::NotInstalled).detail(format!("an OpenAPI document for {kind}"))
}

/// What a schema refers to, and the name of its type.
fn resolved<'a>(schemas: &'a Map<String, Value>, schema: &'a Value, depth: usize) -> (String, &'a Value) {
    if depth > DEPTH_MAX {
        return ("…".to_owned(), schema);
    }
    let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref")).and_then(Value::as_str);
    if let Some(name) = reference.and_then(|reference| reference.rsplit('/').next())
        && let Some(found) = schemas.get(name)
    {
        let (kind, below) = resolved(schemas, found, depth + 1);
        let named = name.rsplit('.').next().unwrap_or(name);
        return (if kind == "object" { named.to_owned() } else { kind }, below);
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("object");
    match kind {
        "array" => {
            let (of, below) = resolved(schemas, schema.get("items").unwrap_or(&Value::Null), depth + 1);
            (format!("[]{of}"), below)
        }
        "object" if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            let (of, below) = resolved(schemas, schema.get("additionalProperties").unwrap_or(&Value::Null), depth + 1);
            (format!("map[string]{of}"), below)
        }
        kind => (kind.to_owned(), schema),
    }
}

/// The fields of an object: names and types, with descriptions where only one level is asked for.
fn fields(schemas: &Map<String, Value>, schema: &Value, recursive: bool, depth: usize, left: &mut usize) -> Value {
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut listed = Vec::new();
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let (kind, below) = resolved(schemas, field, 0);
        let mut one = Map::from_iter([("name".to_owned(), json!(name)), ("type".to_owned(), json!(kind))]);
        if required.contains(&name.as_str()) {
            one.insert("required".to_owned(), json!(true));
        }
        if recursive && depth < DEPTH_MAX {
            let below = fields(schemas, below, true, depth + 1, left);
            one.extend(Some(("fields".to_owned(), below)).filter(|(_, below)| below.as_array().is_some_and(|below| !below.is_empty())));
        } else if let Some(description) = field.get("description") {
            one.insert("description".to_owned(), description.clone());
        }
        listed.push(Value::Object(one));
    }
    Value::Array(listed)
}

/// A quantity of Kubernetes as a number: `250m`, `1Gi`, `12345678n`.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let factor = match unit {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1_024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        for (text, number) in [
            ("250m", Some(0.25)),
            ("1Gi", Some(1_073_741_824.0)),
            ("100000000n", Some(0.1)),
            ("2", Some(2.0)),
            ("1e3", Some(1e3)),
            ("x", None),
            ("1Zz", None),
        ] {
            let found = quantity(text);
            assert!(found.zip(number).map_or(found == number, |(a, b)| (a - b).abs() < 1e-9), "{text}: {found:?}");
        }
    }

    #[test]
    fn only_openapi_documents_are_fetched() {
        assert!(is_openapi("/openapi/v3/apis/apps/v1?hash=0A-b%3D"));
        for other in [
            "/api/v1/secrets",
            "/openapi/v3/../../api/v1/secrets",
            "https://evil/openapi/v3/",
            "/openapi/v3/x#y",
            "/openapi/v3/a b",
            "/openapi/v3/%2e%2e/x",
        ] {
            assert!(!is_openapi(other), "{other}");
        }
    }
}
