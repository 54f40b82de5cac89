//! A message of the client's: what of it the relay must know to send it on, and what it must not touch, which is everything else.
//!
//! The headers are those that each revision wants (2026-07-28: the version, method and name that the body says; before: the version that
//! `initialize` agreed on). They repeat the body and add nothing, so that the broker can hold both against each other.

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

/// A line of the client's.
#[derive(Debug)]
pub(super) struct Message {
    /// Exactly as it came.
    pub(super) bytes: Vec<u8>,
    /// Of a request; nothing else is answered.
    pub(super) id: Option<Value>,
    /// Empty for what is no request or notification.
    pub(super) method: String,
    /// What the body says of itself (2026-07-28 and later).
    version: Option<String>,
    name: Option<String>,
    /// The request that a `notifications/cancelled` gives up.
    cancels: Option<Value>,
}

#[derive(Deserialize)]
struct Head {
    method: Option<String>,
    id: Option<Value>,
    params: Option<Value>,
}

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

impl Message {
    /// Reads what the relay must know. What cannot be read goes to the broker all the same: to say what is wrong with it is the broker's part.
    pub(super) fn read(bytes: Vec<u8>) -> Self {
        let head = serde_json::from_slice::<Head>(&bytes).unwrap_or(Head { method: None, id: None, params: None });
        let method = head.method.unwrap_or_default();
        let params = head.params.unwrap_or_default();
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
        let name = match method.as_str() {
            "tools/call" | "prompts/get" => text("/name"),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => text("/uri"),
            "tasks/get" | "tasks/update" | "tasks/cancel" => text("/taskId"),
            _ => None,
        };
        let cancels = if method == "notifications/cancelled" { params.get("requestId").cloned() } else { None };
        let id = head.id.filter(|id| !method.is_empty() && (id.is_string() || id.is_number()));
        Self { version: text("/_meta/io.modelcontextprotocol~1protocolVersion"), name, cancels, id, method, bytes }
    }

    /// The name by which a request is given up.
    pub(super) fn key(&self) -> Option<String> {
        self.id.as_ref().map(ToString::to_string)
    }

    /// The key of the request that this message gives up.
    pub(super) fn gives_up(&self) -> Option<String> {
        self.cancels.as_ref().map(ToString::to_string)
    }

    /// The headers that go with it, given the version that an `initialize` agreed on.
    pub(super) fn headers(&self, agreed: Option<HeaderValue>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        match &self.version {
            Some(version) => {
                put(VERSION, version);
                put(METHOD, &self.method);
                if let Some(name) = &self.name {
                    put(NAME, &encoded(name));
                }
            }
            None if self.method == "initialize" => {}
            None => {
                if let Some(version) = agreed {
                    headers.insert(VERSION, version);
                }
            }
        }
        headers
    }
}

/// A text as a header's value (2026-07-28, "Value encoding").
fn encoded(text: &str) -> String {
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim_matches(' ') == text;
    if plain && !(text.starts_with("=?base64?") && text.ends_with("?=")) {
        return text.to_owned();
    }
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

/// What came back for a message.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    #[serde(rename = "jsonrpc")]
    _version: String,
    pub(super) id: Option<Value>,
    method: Option<serde::de::IgnoredAny>,
    error: Option<serde::de::IgnoredAny>,
}

impl Answer {
    /// Whether bytes are a message of the protocol, and what of it the relay must know.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether it ends the request.
    pub(super) fn answers(&self, id: Option<&Value>) -> bool {
        self.method.is_none() && self.id.as_ref() == id
    }

    /// Whether it is an error that lost the id of its request.
    pub(super) const fn is_error_of_nobody(&self) -> bool {
        self.error.is_some() && self.method.is_none() && self.id.is_none()
    }
}

/// An error of the relay's own, in the protocol's form.
pub(super) fn error(id: &Value, code: i64, message: &str, data: &Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": data } }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str, agreed: Option<&str>) -> Vec<(String, String)> {
        let agreed = agreed.map(|version| HeaderValue::from_str(version).unwrap());
        let headers = Message::read(text.as_bytes().to_vec()).headers(agreed);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn modern(method: &str, member: &str, value: &str) -> String {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {
            member: value,
            "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"},
        }})
        .to_string()
    }

    #[test]
    fn headers_repeat_what_the_body_says() {
        for (method, member, value, name) in [
            ("tools/call", "name", "db_query", Some("db_query")),
            ("tools/call", "name", "naïve", Some("=?base64?bmHDr3Zl?=")),
            ("tools/call", "name", " x", Some("=?base64?IHg=?=")),
            ("tools/call", "name", "=?base64?x?=", Some("=?base64?PT9iYXNlNjQ/eD89?=")),
            ("resources/read", "uri", "file:///a", Some("file:///a")),
            ("tasks/get", "taskId", "t1", Some("t1")),
            ("tools/list", "name", "x", None),
        ] {
            let mut expected =
                vec![("mcp-protocol-version".to_owned(), "2026-07-28".to_owned()), ("mcp-method".to_owned(), method.to_owned())];
            expected.extend(name.map(|name| ("mcp-name".to_owned(), name.to_owned())));
            assert_eq!(headers(&modern(method, member, value), Some("2025-06-18")), expected);
        }
    }

    #[test]
    fn the_older_era_has_the_agreed_version_alone() {
        assert_eq!(headers(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#, Some("2025-06-18")), []);
        let call = r#"{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"x"}}"#;
        assert_eq!(headers(call, Some("2025-06-18")), [("mcp-protocol-version".to_owned(), "2025-06-18".to_owned())]);
        assert_eq!(headers(call, None), []);
    }

    #[test]
    fn what_is_answered_and_what_is_given_up() {
        let read = |text: &str| Message::read(text.as_bytes().to_vec());
        assert_eq!(read(r#"{"id":7,"method":"a"}"#).key().unwrap(), "7");
        assert_eq!(read(r#"{"id":"7","method":"a"}"#).key().unwrap(), "\"7\"");
        for unanswered in [r#"{"id":7,"result":{}}"#, r#"{"method":"a"}"#, r#"{"id":null,"method":"a"}"#, "[1]", "x", "\u{ff}"] {
            assert!(read(unanswered).key().is_none(), "{unanswered}");
        }
        let cancelled = read(r#"{"method":"notifications/cancelled","params":{"requestId":"7"}}"#);
        assert_eq!((cancelled.gives_up().unwrap().as_str(), cancelled.key()), ("\"7\"", None));
    }
}
