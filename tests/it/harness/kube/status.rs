//! Failures as the API server words them: a `metav1.Status` with reason, details and code.

use serde_json::{Value, json};

pub(super) struct Failure {
    pub(super) code: u16,
    pub(super) body: Value,
    /// Not every path answers with a Status: one that nothing is registered at answers in plain text.
    pub(super) plain: Option<String>,
}

pub(super) type Outcome<T> = Result<T, Box<Failure>>;

/// A group and a resource, as messages and details name them.
#[derive(Clone, Copy)]
pub(super) struct Gr<'a> {
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
}

impl Gr<'_> {
    pub(super) fn qualified(self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// One thing that is wrong with an object.
pub(super) struct Wrong {
    pub(super) reason: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

pub(super) fn failure(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Box<Failure> {
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message.into(), "code": code,
    });
    if !reason.is_empty() {
        body["reason"] = json!(reason);
    }
    if !details.is_null() {
        body["details"] = details;
    }
    Box::new(Failure { code, body, plain: None })
}

fn details(gr: Gr<'_>, name: &str) -> Value {
    let mut details = json!({});
    for (key, text) in [("name", name), ("group", gr.group), ("kind", gr.resource)] {
        if !text.is_empty() {
            details[key] = json!(text);
        }
    }
    details
}

pub(super) fn no_such_path() -> Box<Failure> {
    Box::new(Failure { code: 404, body: Value::Null, plain: Some("404 page not found\n".into()) })
}

pub(super) fn not_found(gr: Gr<'_>, name: &str) -> Box<Failure> {
    failure(404, "NotFound", format!("{} {name:?} not found", gr.qualified()), details(gr, name))
}

pub(super) fn already_exists(gr: Gr<'_>, name: &str) -> Box<Failure> {
    failure(409, "AlreadyExists", format!("{} {name:?} already exists", gr.qualified()), details(gr, name))
}

pub(super) fn conflict(gr: Gr<'_>, name: &str, why: &str) -> Box<Failure> {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", gr.qualified());
    failure(409, "Conflict", message, details(gr, name))
}

pub(super) fn modified(gr: Gr<'_>, name: &str) -> Box<Failure> {
    conflict(gr, name, "the object has been modified; please apply your changes to the latest version and try again")
}

/// A precondition that failed inside the storage, which knows only the key of the object.
pub(super) fn precondition(gr: Gr<'_>, name: &str, what: &str, wanted: &str, found: &str) -> Box<Failure> {
    let field = if what == "UID" { "UID" } else { "ResourceVersion" };
    conflict(gr, name, &format!("Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {found}"))
}

pub(super) fn forbidden(gr: Gr<'_>, name: &str, why: &str) -> Box<Failure> {
    let message = match (gr.resource.is_empty() && gr.group.is_empty(), name.is_empty()) {
        (true, _) => format!("forbidden: {why}"),
        (false, true) => format!("{} is forbidden: {why}", gr.qualified()),
        (false, false) => format!("{} {name:?} is forbidden: {why}", gr.qualified()),
    };
    failure(403, "Forbidden", message, details(gr, name))
}

pub(super) fn bad_request(message: impl Into<String>) -> Box<Failure> {
    failure(400, "BadRequest", message, Value::Null)
}

pub(super) fn unauthorized() -> Box<Failure> {
    failure(401, "Unauthorized", "Unauthorized", Value::Null)
}

pub(super) fn expired(message: impl Into<String>) -> Box<Failure> {
    failure(410, "Expired", message, Value::Null)
}

pub(super) fn unsupported(accepted: &[&str]) -> Box<Failure> {
    let message = format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "));
    failure(415, "UnsupportedMediaType", message, Value::Null)
}

/// `group` and `kind` are a GroupKind here, not a resource.
pub(super) fn invalid(group: &str, kind: &str, name: &str, wrongs: &[Wrong]) -> Box<Failure> {
    let said: Vec<_> = wrongs.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.message)).collect();
    let said = if said.len() == 1 { said[0].clone() } else { format!("[{}]", said.join(", ")) };
    let causes: Vec<_> =
        wrongs.iter().map(|wrong| json!({ "reason": wrong.reason, "message": wrong.message, "field": wrong.field })).collect();
    let gr = Gr { group, resource: kind };
    let mut details = details(gr, name);
    details["causes"] = json!(causes);
    failure(422, "Invalid", format!("{} {name:?} is invalid: {said}", gr.qualified()), details)
}

pub(super) fn too_many(message: &str, causes: Value, seconds: u32) -> Box<Failure> {
    let mut details = json!({ "causes": causes });
    if seconds > 0 {
        details["retryAfterSeconds"] = json!(seconds);
    }
    failure(429, "TooManyRequests", message, details)
}

/// What a fault answers with: the same body a client would make of a bare status code.
pub(super) fn generic(code: u16, seconds: Option<u32>) -> Box<Failure> {
    let (reason, message) = match code {
        409 => ("Conflict", "the server reported a conflict".to_owned()),
        410 => ("Expired", "The resourceVersion for the provided list is too old.".to_owned()),
        429 => ("TooManyRequests", "Too many requests, please try again later.".to_owned()),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_owned()),
        504 => ("Timeout", "Timeout: request did not complete within the allotted timeout".to_owned()),
        500..600 => ("InternalError", "Internal error occurred: injected by the test".to_owned()),
        _ => ("", format!("the server responded with the status code {code}")),
    };
    let details = seconds.map_or(Value::Null, |seconds| json!({ "retryAfterSeconds": seconds }));
    failure(code, reason, message, details)
}
