//! Label and field selectors, of a query and of `spec.selector`.

use serde_json::Value;

use super::json::{list, text, texts};
use super::registry::Resource;
use super::status::{Outcome, bad_request};

pub(super) enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Greater(i64),
    Less(i64),
}

pub(super) struct Requirement {
    key: String,
    test: Test,
}

/// The conditions on labels and on fields that an object has to meet.
#[derive(Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Outcome<Self> {
        let labels = parse_labels(labels).map_err(|why| bad_request(format!("unable to parse requirement: {why}")))?;
        Ok(Self { labels, fields: parse_fields(resource, fields)? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let fields = self.fields.iter().all(|(path, wanted, equal)| (field(object, path) == *wanted) == *equal);
        fields && self.labels.iter().all(|requirement| requirement.met(&object["metadata"]["labels"]))
    }
}

impl Requirement {
    fn met(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::NotIn(values) => !value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::Greater(than) => number().is_some_and(|number| number > *than),
            Test::Less(than) => number().is_some_and(|number| number < *than),
        }
    }
}

/// Splits at commas that stand outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    parts
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    split(text).iter().map(|part| parse_label(part.trim())).collect()
}

fn parse_label(part: &str) -> Result<Requirement, String> {
    let one = |key: &str, test: Test| {
        let key = key.trim();
        let good = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
        if good { Ok(Requirement { key: key.to_owned(), test }) } else { Err(format!("found '{part}', expected: identifier")) }
    };
    let values = |text: &str| {
        let inner = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let inner = inner.ok_or_else(|| format!("found '{text}', expected: '('"))?;
        Ok::<_, String>(inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some(key) = part.strip_prefix('!') {
        return one(key, Test::Missing);
    }
    for (mark, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = part.split_once(mark) {
            let values = vec![value.trim().to_owned()];
            return one(key, if equal { Test::In(values) } else { Test::NotIn(values) });
        }
    }
    if let Some((key, rest)) = part.split_once(" notin ").or_else(|| part.split_once(" notin(")) {
        return one(key, Test::NotIn(values(&part[part.len() - rest.len() - usize::from(!rest.trim_start().starts_with('('))..])?));
    }
    if let Some((key, rest)) = part.split_once(" in ").or_else(|| part.split_once(" in(")) {
        return one(key, Test::In(values(&part[part.len() - rest.len() - usize::from(!rest.trim_start().starts_with('('))..])?));
    }
    for (mark, greater) in [('>', true), ('<', false)] {
        if let Some((key, value)) = part.split_once(mark) {
            let than = value.trim().parse().map_err(|_| format!("found '{value}', expected: an integer"))?;
            return one(key, if greater { Test::Greater(than) } else { Test::Less(than) });
        }
    }
    one(part, Test::Exists)
}

fn parse_fields(resource: &Resource, text: &str) -> Outcome<Vec<(String, String, bool)>> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let found = [("!=", false), ("==", true), ("=", true)];
            let found = found.iter().find_map(|(mark, equal)| part.split_once(mark).map(|(path, value)| (path, value, *equal)));
            let Some((path, value, equal)) = found else {
                return Err(bad_request(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            if supported(resource, path) {
                Ok((path.to_owned(), value.to_owned(), equal))
            } else if own_fields(resource).is_empty() {
                let known = "only \"metadata.name\", \"metadata.namespace\"";
                Err(bad_request(format!("{path:?} is not a known field selector: {known}")))
            } else {
                Err(bad_request(format!("field label not supported: {path}")))
            }
        })
        .collect()
}

fn own_fields(resource: &Resource) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", _) => &["spec.signerName"],
        _ => &[],
    }
}

fn supported(resource: &Resource, path: &str) -> bool {
    let scoped = path == "metadata.namespace" && resource.namespaced;
    path == "metadata.name" || scoped || own_fields(resource).contains(&path)
}

fn field(object: &Value, path: &str) -> String {
    let path = match path {
        "source" => "source.component",
        "status.successful" => "status.succeeded",
        _ => path,
    };
    match object.pointer(&format!("/{}", path.replace('.', "/"))) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
            "status.replicas" | "status.succeeded" => "0".into(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

/// Whether a `metav1.LabelSelector` takes these labels; none and an empty one take nothing here.
pub(super) fn takes(selector: &Value, labels: &Value) -> bool {
    let exact = selector["matchLabels"].as_object();
    let rules = list(selector, "/matchExpressions");
    if exact.is_none_or(|exact| exact.is_empty()) && rules.is_empty() {
        return false;
    }
    let exact = exact.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    exact
        && rules.iter().all(|rule| {
            let values = texts(rule, "/values");
            let test = match text(rule, "/operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                _ => Test::Missing,
            };
            Requirement { key: text(rule, "/key").to_owned(), test }.met(labels)
        })
}

/// A selector in the text form that `status.selector` of a Scale has.
pub(super) fn as_text(selector: &Value) -> String {
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<_> = exact.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    parts.extend(list(selector, "/matchExpressions").iter().map(|rule| {
        let (key, values) = (text(rule, "/key"), texts(rule, "/values").join(","));
        match text(rule, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        }
    }));
    parts.sort();
    parts.join(",")
}
