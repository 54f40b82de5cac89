//! One message on its way: posted with a token, and whatever comes back written out as it comes.
//!
//! Where the broker answers in the protocol, its words pass unchanged, whatever the status. Where it does not (a refusal at the door, a broken
//! connection), a request gets a JSON-RPC error with the broker's own code and message in `data`: no request is left without an answer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use reqwest::{Response, Url};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::cli::Failure;
use crate::cli::client::root_cause;
use crate::cli::connect::events::Events;
use crate::cli::connect::message::{Answer, Message, error};
use crate::cli::oauth::safe;
use crate::cli::oauth::session::Credentials;
use crate::cli::output::{complain, inert};

/// The largest answer, in bytes. The broker bounds its own far below.
const ANSWER_MAX_BYTES: usize = 16 << 20;
/// The longest silence of a broker: a call that waits for a human sends a sign of life every ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for a human to sign in.
const SIGN_IN_WAIT: Duration = Duration::from_secs(300);
/// How long a stream may go on after its answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// JSON-RPC's "internal error": what happened is in `data`.
const INTERNAL: i64 = -32603;

/// The broker, as the relay reaches it.
pub(super) struct Upstream {
    http: reqwest::Client,
    endpoint: Url,
    credentials: Credentials,
    /// False while a human signs in.
    signed_in: watch::Receiver<bool>,
    /// The version that an `initialize` agreed on.
    agreed: Mutex<Option<HeaderValue>>,
}

/// Why a message has no answer of the broker's.
enum Problem {
    /// No token is to be had.
    SignedOut(String),
    /// The broker or the issuer could not be reached, or stopped in the middle.
    Unreachable(String),
    /// The broker refused at its door.
    Refused { status: StatusCode, code: String, message: String, hint: String },
    /// What came back is not the protocol.
    Strange(&'static str),
}

impl Problem {
    fn answer(&self, id: &Value) -> Vec<u8> {
        let (text, data) = match self {
            Self::SignedOut(why) => (why.clone(), json!({ "code": "connect.signed_out", "message": why })),
            Self::Unreachable(why) => {
                let hint = "try again shortly; whether a change was made is in the trail";
                (format!("{why}: {hint}"), json!({ "code": "connect.unreachable", "message": why, "hint": hint }))
            }
            Self::Refused { status, code, message, hint } => (
                format!("{message} ({code}): {hint}"),
                json!({ "code": code, "message": message, "hint": hint, "status": status.as_u16() }),
            ),
            Self::Strange(why) => ((*why).to_owned(), json!({ "code": "connect.strange_answer", "message": why })),
        };
        error(id, INTERNAL, &text, &data)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(why) => Self::Unreachable(why),
            Failure::Negative(why) | Failure::Usage(why) => Self::SignedOut(why),
        }
    }
}

impl From<reqwest::Error> for Problem {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(format!("failed to reach the broker: {}", root_cause(&error)))
    }
}

impl Upstream {
    pub(super) fn new(broker: &str, credentials: Credentials, signed_in: watch::Receiver<bool>) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("countersign-connect/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::Unreachable(format!("failed to set up the client: {error}")))?;
        let endpoint = safe(&format!("{broker}/mcp"), "the broker's address")?;
        Ok(Self { http, endpoint, credentials, signed_in, agreed: Mutex::new(None) })
    }

    /// Carries one message there and its answers back. Dropping it drops the request, which is how the broker learns that it was given up.
    pub(super) async fn carry(&self, message: &Message, out: &mpsc::Sender<Vec<u8>>) {
        let Err(problem) = self.exchange(message, out).await else { return };
        let id = message.id.as_ref().unwrap_or(&Value::Null);
        let answer = problem.answer(id);
        if message.id.is_some() {
            drop(out.send(answer).await);
        } else {
            complain(&format!("`{}` was not delivered: {}", inert(&message.method), inert(&String::from_utf8_lossy(&answer))));
        }
    }

    async fn exchange(&self, message: &Message, out: &mpsc::Sender<Vec<u8>>) -> Result<(), Problem> {
        let response = self.post(message).await?;
        let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if kind.starts_with(b"text/event-stream") {
            return self.stream(message, response, out).await;
        }
        let status = response.status();
        let body = whole(response).await?;
        if message.id.is_none() && status.is_success() && body.is_empty() {
            return Ok(());
        }
        match Answer::read(&body) {
            Some(answer) => {
                self.note(message, &answer, &body);
                drop(out.send(addressed(message, &answer, body)).await);
                Ok(())
            }
            None if status.is_success() => Err(Problem::Strange("the broker's answer is no message of the protocol")),
            None => Err(self.refused(status, &body)),
        }
    }

    /// Posts a message; once more where the broker refuses the token and there is another.
    async fn post(&self, message: &Message) -> Result<Response, Problem> {
        let mut signed_in = self.signed_in.clone();
        drop(timeout(SIGN_IN_WAIT, signed_in.wait_for(|done| *done)).await);
        let token = self.credentials.bearer().await?;
        let response = self.request(message).bearer_auth(token.expose_secret()).send().await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.credentials.instead_of(&token).await? {
            Some(token) => Ok(self.request(message).bearer_auth(token.expose_secret()).send().await?),
            None => Ok(response),
        }
    }

    fn request(&self, message: &Message) -> reqwest::RequestBuilder {
        let agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.http
            .post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .headers(message.headers(agreed))
            .body(message.bytes.clone())
    }

    /// Every event as it comes. The request ends with the event that answers it.
    async fn stream(&self, message: &Message, mut response: Response, out: &mpsc::Sender<Vec<u8>>) -> Result<(), Problem> {
        let mut events = Events::new(ANSWER_MAX_BYTES);
        let mut answered = message.id.is_none();
        loop {
            let piece = if answered {
                // The broker closes it; a connection that ended well can be used again.
                match timeout(FAREWELL, response.chunk()).await {
                    Ok(Ok(Some(piece))) => piece,
                    _ => return Ok(()),
                }
            } else {
                response.chunk().await?.ok_or_else(|| Problem::Unreachable("the broker's answer broke off".to_owned()))?
            };
            for event in events.feed(&piece).map_err(|_| Problem::Strange("the broker's answer is too large"))? {
                let answer = Answer::read(&event).ok_or(Problem::Strange("the broker's answer is no message of the protocol"))?;
                self.note(message, &answer, &event);
                answered |= answer.answers(message.id.as_ref()) || answer.is_error_of_nobody();
                drop(out.send(addressed(message, &answer, event)).await);
            }
        }
    }

    /// Keeps the version that an `initialize` agreed on, before the client hears of it.
    fn note(&self, message: &Message, answer: &Answer, body: &[u8]) {
        if message.method == "initialize" && answer.answers(message.id.as_ref()) {
            let version = serde_json::from_slice::<Value>(body).ok();
            let version = version.as_ref().and_then(|body| body.pointer("/result/protocolVersion")).and_then(Value::as_str);
            if let Some(version) = version.and_then(|version| HeaderValue::from_str(version).ok()) {
                *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
            }
        }
    }

    /// A refusal at the door, in the broker's own words.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Problem {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |pointer: &str, or: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or(or).to_owned();
        let hint = if status == StatusCode::UNAUTHORIZED {
            self.credentials.advice()
        } else {
            text("/error/hint", "tell the operator if it lasts")
        };
        Problem::Refused {
            status,
            code: text("/error/code", "connect.refused"),
            message: text("/error/message", &format!("the broker answered {status}")),
            hint,
        }
    }
}

async fn whole(mut response: Response) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(Problem::Strange("the broker's answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A message as one line, unchanged but for line breaks between tokens (within texts JSON escapes them). An error that lost the id of its
/// request gets it back: over HTTP the connection says whose it is, here nothing else does.
fn addressed(message: &Message, answer: &Answer, mut bytes: Vec<u8>) -> Vec<u8> {
    if answer.is_error_of_nobody()
        && let Some(id) = &message.id
        && let Ok(mut body) = serde_json::from_slice::<Value>(&bytes)
        && let Some(members) = body.as_object_mut()
    {
        members.insert("id".to_owned(), id.clone());
        return body.to_string().into_bytes();
    }
    for byte in &mut bytes {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressed_as(request: &str, answer: &str) -> String {
        let message = Message::read(request.as_bytes().to_vec());
        let read = Answer::read(answer.as_bytes()).unwrap();
        String::from_utf8(addressed(&message, &read, answer.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn answers_pass_unchanged_but_for_line_breaks_and_lost_ids() {
        let request = r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#;
        for same in
            [r#"{"jsonrpc":"2.0","id":"a","result":{"z":1.50,"a":"x\n"}}"#, r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#]
        {
            assert_eq!(addressed_as(request, same), same);
        }
        assert_eq!(
            addressed_as(request, "{\"jsonrpc\":\"2.0\",\r\n\"id\":\"a\",\"result\":{}}"),
            r#"{"jsonrpc":"2.0",  "id":"a","result":{}}"#
        );
        let lost = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#;
        assert_eq!(addressed_as(request, lost), lost.replace("null", "\"a\""));
        assert_eq!(addressed_as("[]", lost), lost, "what has no id gets none");
    }
}
