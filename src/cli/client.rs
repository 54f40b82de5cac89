//! The HTTP client of a running broker: a token from a file, one request, an answer or a reason.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::cli::{Failure, Remote};

/// The largest token file, in bytes.
const TOKEN_MAX_BYTES: u64 = 64 * 1024;
/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(330);

/// A client for one broker and one token.
pub(super) struct Client {
    base: String,
    token: SecretString,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(remote: &Remote) -> Result<Self, Failure> {
        let token = read_token(&remote.token_file)?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::Unreachable(format!("failed to set up the client: {error}")))?;
        Ok(Self { base: remote.url.trim_end_matches('/').to_owned(), token, http })
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base))
            .map_err(|error| Failure::Usage(format!("`--url {}`: {error}", self.base)))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        }
        self.send(self.http.get(url)).await
    }

    pub(super) async fn post(&self, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Result<Value, Failure> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// An answer that is no JSON.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        let unreachable =
            |error: reqwest::Error| Failure::Unreachable(format!("failed to reach the broker at `{}`: {}", self.base, root_cause(&error)));
        let response =
            self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token.expose_secret()).send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() { Ok(text) } else { Err(negative(status, &serde_json::from_str(&text).unwrap_or_default())) }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let response = request
            .bearer_auth(self.token.expose_secret())
            .send()
            .await
            .map_err(|error| Failure::Unreachable(format!("failed to reach the broker at `{}`: {}", self.base, root_cause(&error))))?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        Err(negative(status, &body))
    }
}

/// What the broker refused, as it says it.
fn negative(status: reqwest::StatusCode, body: &Value) -> Failure {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/error/code") {
        "" => Failure::Negative(format!("the broker answered {status}")),
        code => Failure::Negative(format!("{} ({code})\n  {}", text("/error/message"), text("/error/hint"))),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The token in a file, without white space around it.
pub(super) fn read_token(path: &Path) -> Result<SecretString, Failure> {
    let unreadable = |why: String| Failure::Usage(format!("failed to read the token file `{}`: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > TOKEN_MAX_BYTES {
        return Err(unreadable(format!("it is larger than {TOKEN_MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(unreadable("it does not hold exactly one token".to_owned()));
    }
    Ok(SecretString::from(token.to_owned()))
}
