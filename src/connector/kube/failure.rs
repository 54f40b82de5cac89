//! What an API server says when it does not do what was asked: `metav1.Status`, as a refusal with a code of ours and its own words.
//!
//! The words may quote data; they leave through the masks like everything else.

use http::StatusCode;
use serde_json::Value;

use crate::refusal::{Code, Refusal};

/// Causes that are told.
const CAUSES_MAX: usize = 20;
/// The longest text of a server that is kept, in characters.
const SAID_MAX: usize = 4_000;

/// A refusal from an answer that is no success.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let reason = text("reason");
    let code = match (status.as_u16(), reason) {
        (401 | 403, _) => Code::TargetRefused,
        // Without a name it speaks of no object: the server does not have what the address means.
        (404, _) if said.pointer("/details/name").and_then(Value::as_str).unwrap_or_default().is_empty() => Code::NotInstalled,
        (404, _) => Code::ObjectNotFound,
        (409, _) => Code::Conflict,
        (410, _) => Code::ListExpired,
        (429, _) => Code::TargetBusy,
        (503 | 502, _) => Code::TargetUnreachable,
        (504, _) => Code::TargetTimeout,
        _ => Code::TargetFailed,
    };
    let mut detail: String = if text("message").is_empty() {
        let body = String::from_utf8_lossy(body);
        format!("HTTP {}: {}", status.as_u16(), body.trim().chars().take(200).collect::<String>())
    } else {
        without_dumps(text("message")).chars().take(SAID_MAX).collect()
    };
    if status.as_u16() == 422 && causes(&said).is_empty() && detail.contains("due to an error in our request") {
        detail.push_str("; of a JSON Patch: a path that does not exist, or a `test` that failed");
    }
    for cause in causes(&said).iter().take(CAUSES_MAX) {
        let part = |name: &str| cause.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // The message of a conflict names the owner, the field is beside it.
        if part("reason") == "FieldManagerConflict" {
            detail.push_str(&format!("; {}: {}", part("field"), part("message")));
        }
    }
    Refusal::new(code).detail(detail)
}

/// The message without the objects that some servers print into it: their values would be told apart from the names that say what they are.
fn without_dumps(message: &str) -> String {
    // A refused change of a pod is told as a difference of the whole pod, line by line.
    let mut told = match message.split_once("may not change fields other than") {
        Some((before, rest)) => {
            let rest = rest.split_once('\n').map_or(rest, |(line, _)| line);
            format!("{before}may not change fields other than{rest}")
        }
        None => message.to_owned(),
    };
    const INVALID: &str = "Invalid value: ";
    let parts: Vec<&str> = told.split(INVALID).collect();
    if parts.len() > 1 {
        let plain = |part: &str| part.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
        let shown = parts.iter().enumerate().map(|(index, part)| match part.rsplit_once("}: ") {
            _ if index == 0 || plain(part) => (*part).to_owned(),
            Some((_, why)) => format!("(not shown): {why}"),
            // Where the object ends is not known, so the rest may be part of it.
            None => "(not shown)".to_owned(),
        });
        told = shown.collect::<Vec<_>>().join(INVALID);
    }
    told
}

fn causes(said: &Value) -> Vec<Value> {
    said.pointer("/details/causes").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Whether what became of a change is not known: a time that was over somewhere, or a store that did not answer.
pub(super) fn is_undecided(status: StatusCode, body: &[u8]) -> bool {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = said.get("message").and_then(Value::as_str).unwrap_or_default();
    match status.as_u16() {
        502 | 504 => true,
        500 | 503 => ["etcdserver", "timed out", "timeout", "deadline exceeded"].iter().any(|word| message.contains(word)),
        _ => false,
    }
}

/// Whether a conflict is about fields that others own, and not about the version of the object.
pub(super) fn is_about_fields(body: &[u8]) -> bool {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    causes(&said).iter().any(|cause| cause.get("reason").and_then(Value::as_str) == Some("FieldManagerConflict"))
}

/// A refusal for a request that brought no answer.
pub(super) fn lost(error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => {
            let body = serde_json::to_vec(status).unwrap_or_default();
            refusal(StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body)
        }
        kube::Error::Auth(error) => Refusal::new(Code::CredentialUnavailable).cause(error),
        other => Refusal::new(Code::TargetUnreachable).cause(chain(other)),
    }
}

/// An error with all that caused it: the outermost says no more than that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said.push_str(": ");
        said.push_str(&error.to_string());
        source = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that a server prints without the names that would tell what they are.
    #[test]
    fn no_object_is_printed_in_a_message() {
        let pod = "Pod \"web\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`\n  core.PodSpec{\n    Name:  \"DB_PASSWORD\",\n-   Value: \"hunter2\",\n";
        assert_eq!(without_dumps(pod), pod.lines().next().unwrap_or_default());
        let job = "Job \"j\" is invalid: spec.template: Invalid value: core.PodTemplateSpec{Env: \"hunter2\"}: field is immutable";
        assert_eq!(without_dumps(job), "Job \"j\" is invalid: spec.template: Invalid value: (not shown): field is immutable");
        let newer =
            "spec.template: Invalid value: {\"env\":\"hunter2\"}: field is immutable, spec.replicas: Invalid value: -1: must be at least 0";
        assert_eq!(
            without_dumps(newer),
            "spec.template: Invalid value: (not shown): field is immutable, spec.replicas: Invalid value: -1: must be at least 0"
        );
        assert_eq!(without_dumps("x: Invalid value: core.PodSpec{hunter2"), "x: Invalid value: (not shown)");
        assert_eq!(without_dumps("x: Invalid value: core.PodSpec{Value: \"hunter2\""), "x: Invalid value: (not shown)");
        assert_eq!(without_dumps("pods \"a\" not found"), "pods \"a\" not found");
    }
}
