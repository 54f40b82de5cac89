//! One request to a resource, as the handlers see it, and what they answer with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::Path;
use super::managed::Writer;
use super::protobuf;
use super::registry::Resource;
use super::schema::{self, Type};
use super::status::{Outcome, bad_request, failure, invalid, unsupported};
use super::validate;

/// Who asks, after impersonation.
#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Default)]
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(found, value)| found == name && matches!(value.as_str(), "" | "true" | "1"))
    }

    pub(super) fn number(&self, name: &str) -> Outcome<Option<i64>> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    }

    pub(super) fn every(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone()).collect()
    }
}

/// Percent-decoding of a query, where `+` is a space.
fn decode(text: &str) -> String {
    unescape(&text.replace('+', " "))
}

pub(super) fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) struct Call {
    pub(super) resource: Arc<Resource>,
    pub(super) verb: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) sub: String,
    pub(super) user: User,
    pub(super) query: Query,
    pub(super) agent: String,
    pub(super) accept: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) object: Value,
    pub(super) warnings: Vec<String>,
}

impl Reply {
    pub(super) fn new(code: u16, object: Value) -> Self {
        Self { code, object, warnings: Vec::new() }
    }
}

impl Call {
    pub(super) fn manager(&self) -> &str {
        let named = self.query.get("fieldManager");
        if named.is_empty() { self.agent.split('/').next().unwrap_or_default() } else { named }
    }

    /// The media type without its parameters.
    pub(super) fn media(&self) -> &str {
        self.content_type.split(';').next().unwrap_or_default().trim()
    }

    pub(super) fn writer(&self) -> Writer<'_> {
        let main = |text: &str| -> Path { text.split('/').map(|name| format!("f:{name}")).collect() };
        let ignored = match self.sub.as_str() {
            "status" => vec![main("spec"), main("metadata/labels")],
            _ if self.resource.sub("status").is_some() => vec![main("status")],
            _ => Vec::new(),
        };
        let manager = self.manager();
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Writer { manager, api_version: "", subresource: &self.sub, ignored }
    }

    /// Whether nothing is to be kept; the options are checked on the way.
    pub(super) fn dry(&self, options: &str) -> Outcome<bool> {
        let asked = self.query.every("dryRun");
        let mut wrongs = Vec::new();
        if asked.iter().any(|value| value != "All") {
            wrongs.push(validate::not_supported("dryRun", &json!(asked), &["All"]));
        }
        if !matches!(self.validation(), "Ignore" | "Warn" | "Strict") {
            let known = ["", "Ignore", "Strict", "Warn"];
            wrongs.push(validate::not_supported("fieldValidation", &json!(self.validation()), &known));
        }
        if !wrongs.is_empty() {
            return Err(invalid("meta.k8s.io", options, "", &wrongs));
        }
        Ok(!asked.is_empty())
    }

    pub(super) fn validation(&self) -> &str {
        let asked = self.query.get("fieldValidation");
        if asked.is_empty() { "Warn" } else { asked }
    }

    pub(super) fn json(&self) -> Outcome<Value> {
        let known = protobuf::decode(&self.body).map(Ok);
        known.unwrap_or_else(|| serde_json::from_slice(&self.body)).map_err(|error| bad_request(format!("error decoding: {error}")))
    }

    /// The object of a create or an update, of a kind of the resource or of a subresource.
    pub(super) fn decoded(&self, api_version: &str, kind: &str, fields: &Type) -> Outcome<(Value, Vec<String>)> {
        let known = protobuf::decode(&self.body);
        if !matches!(self.media(), "application/json" | "application/yaml" | "") && known.is_none() {
            return Err(unsupported(&["application/json", "application/yaml"]));
        }
        let Some(mut object) = known.or_else(|| serde_json::from_slice::<Value>(&self.body).ok()) else {
            let start = String::from_utf8_lossy(&self.body[..self.body.len().min(30)]).into_owned();
            let why = "couldn't get version/kind; json parse error: invalid character";
            return Err(bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({start})")));
        };
        let (got_version, got_kind) = (super::json::text(&object, "/apiVersion"), super::json::text(&object, "/kind"));
        let version = api_version.rsplit('/').next().unwrap_or_default();
        if !got_kind.is_empty() && got_kind != kind {
            let message = format!(
                "{got_kind} in version {version:?} cannot be handled as a {kind}: converting ({got_kind}) to ({kind}): unknown conversion"
            );
            return Err(bad_request(message));
        }
        if !got_version.is_empty() && got_version != api_version {
            let message = format!("the API version in the data ({got_version}) does not match the expected API version ({api_version})");
            return Err(bad_request(message));
        }
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        let warnings = self.checked(&mut object, kind, fields, |why| {
            bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
        })?;
        Ok((object, warnings))
    }

    /// Takes unknown fields out: silently, with a warning or not at all, as the request asks.
    pub(super) fn checked(
        &self,
        object: &mut Value,
        kind: &str,
        fields: &Type,
        refuse: impl Fn(&str) -> Box<super::status::Failure>,
    ) -> Outcome<Vec<String>> {
        if !self.resource.custom
            && let Some(why) = schema::mistyped(fields, object, "")
        {
            return Err(refuse(&why.replace("field ", &format!("field {kind}."))));
        }
        let mut unknown = Vec::new();
        schema::unknown(fields, object, "", &mut unknown);
        let said: Vec<_> = unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
        if !said.is_empty() && self.validation() == "Strict" {
            return Err(refuse(&format!("strict decoding error: {}", said.join(", "))));
        }
        schema::prune(fields, object);
        Ok(if self.validation() == "Warn" { said } else { Vec::new() })
    }
}

/// A failure that the real server does not word as an API error.
pub(super) fn plain_error(message: String) -> Box<super::status::Failure> {
    failure(500, "", message, Value::Null)
}
