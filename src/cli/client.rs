//! The HTTP client of a running broker: a token from a file or a kept sign-in, one request, an answer or a reason.

use std::path::Path;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::cli::oauth::Door;
use crate::cli::oauth::session::Credentials;
use crate::cli::output::inert;
use crate::cli::{Failure, Remote};

/// The largest token file, in bytes.
const TOKEN_MAX_BYTES: u64 = 64 * 1024;
/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(330);

/// A client for one broker, in one human's name.
pub(super) struct Client {
    base: String,
    credentials: Credentials,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(remote: &Remote, door: Door) -> Result<Self, Failure> {
        let credentials = Credentials::new(&remote.url, door, remote.token_file.clone())?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::Unreachable(format!("failed to set up the client: {error}")))?;
        Ok(Self { base: remote.url.trim_end_matches('/').to_owned(), credentials, http })
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base))
            .map_err(|error| Failure::Usage(format!("`--url {}`: {error}", self.base)))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        }
        self.send(self.http.get(url)).await
    }

    /// An answer with its tag; `None` if it would still be the one of the tag that is known. A broker that cannot answer just now counts as one that
    /// cannot be reached.
    pub(super) async fn get_changed(&self, path: &str, known: Option<&str>) -> Result<Option<(Value, Option<String>)>, Failure> {
        let request = self.http.get(format!("{}{path}", self.base));
        let request = known.into_iter().fold(request, |request, tag| request.header(http::header::IF_NONE_MATCH, tag));
        let response = self.answer(request).await?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let tag = response.headers().get(http::header::ETAG).and_then(|tag| tag.to_str().ok()).map(ToOwned::to_owned);
        let body: Value = response.json().await.unwrap_or(Value::Null);
        match status {
            status if status.is_success() => Ok(Some((body, tag))),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Unreachable(negative(status, &body).message().to_owned()))
            }
            status => Err(self.refused(status, &body)),
        }
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
        let response = self.answer(self.http.get(format!("{}{path}", self.base))).await?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() { Ok(text) } else { Err(self.refused(status, &serde_json::from_str(&text).unwrap_or_default())) }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let response = self.answer(request).await?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or(Value::Null);
        if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    /// What the broker refused; where a better sign-in would do, the command for it.
    fn refused(&self, status: StatusCode, body: &Value) -> Failure {
        let refused = negative(status, body);
        if body.pointer("/error/code").and_then(Value::as_str) != Some("identity.step_up_required") {
            return refused;
        }
        let classes = body.pointer("/error/acr_values").and_then(Value::as_str);
        let max_age = body.pointer("/error/max_age").and_then(Value::as_u64);
        let acr = classes.map(|classes| format!(" --acr '{}'", inert(classes).replace('\'', ""))).unwrap_or_default();
        let max_age = max_age.map(|seconds| format!(" --max-age {seconds}")).unwrap_or_default();
        Failure::Negative(format!("{}\n  run `{}{acr}{max_age}`", refused.message(), Door::Inbox.login(&self.base)))
    }

    /// Sends a request; once more with another token where the broker refuses the first and there is another.
    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let token = self.credentials.bearer().await?;
        let again = request.try_clone();
        let response = request.bearer_auth(token.expose_secret()).send().await.map_err(|error| self.unreachable(&error))?;
        // Where the sign-in is too weak, the same sign-in renewed is so too.
        let too_weak = response
            .headers()
            .get(http::header::WWW_AUTHENTICATE)
            .is_some_and(|value| value.to_str().unwrap_or_default().contains("insufficient_user_authentication"));
        if response.status() == StatusCode::UNAUTHORIZED
            && !too_weak
            && let Some(again) = again
            && let Ok(Some(token)) = self.credentials.instead_of(&token).await
        {
            return again.bearer_auth(token.expose_secret()).send().await.map_err(|error| self.unreachable(&error));
        }
        Ok(response)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable(format!("failed to reach the broker at `{}`: {}", self.base, root_cause(error)))
    }
}

/// What the broker refused, as it says it.
pub(super) fn negative(status: StatusCode, body: &Value) -> Failure {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/error/code") {
        "" => Failure::Negative(format!("the broker answered {status}")),
        code => Failure::Negative(format!("{} ({code})\n  {}", text("/error/message"), text("/error/hint"))),
    }
}

/// What was really the matter.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
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
