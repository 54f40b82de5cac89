//! The requests of one call: each of them says whom it is for, reads may be tried again, and nothing is begun once the call is to stop.
//!
//! Impersonation headers are put on every single request here and nowhere else, from the credential. A change that was sent is waited for, also when
//! the call is over: what became of it must be known, or said to be unknown.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::connector::kube::breaker::Breaker;
use crate::connector::kube::failure;
use crate::credential::Credential;
use crate::refusal::{Code, Refusal};

/// Bytes of one answer, unless the request says less.
const ANSWER_MAX_BYTES: usize = 64 << 20;
/// Times that a read is tried.
const TRIES: u32 = 3;
/// The longest that a server's Retry-After is heeded.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// JSON, and the forms of it that a server can make smaller.
pub(super) const JSON: &str = "application/json";

/// One request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) accept: &'static str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    /// Bytes of the answer that are read.
    pub(super) most: usize,
}

impl Ask {
    pub(super) fn get(path: String) -> Self {
        Self { method: Method::GET, path, query: Vec::new(), accept: JSON, body: None, most: ANSWER_MAX_BYTES }
    }

    /// With an answer of at most so many bytes.
    pub(super) fn at_most(self, bytes: usize) -> Self {
        Self { most: bytes, ..self }
    }

    pub(super) fn send(method: Method, path: String, content_type: &'static str, body: &Value) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            accept: JSON,
            body: Some((content_type, body.to_string().into_bytes())),
            most: ANSWER_MAX_BYTES,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn maybe(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn accepting(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    fn uri(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let mut query = String::new();
        for (name, value) in &self.query {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(name);
            query.push('=');
            for b in value.bytes() {
                if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                    query.push(char::from(b));
                } else {
                    query.push_str(&format!("%{b:02X}"));
                }
            }
        }
        format!("{}{query}", self.path)
    }
}

/// An answer that is no success.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// What a change came to.
pub(super) enum Changed {
    /// It was made; the object, and whether it is a new one.
    Made { object: Value, is_new: bool },
    /// It was not.
    Refused(Answered),
}

/// How a call is stopped, and why.
#[derive(Default)]
pub(super) struct Halt {
    token: CancellationToken,
    why: OnceLock<Code>,
}

impl Halt {
    pub(super) fn stop(&self, why: Code) {
        let _first_says = self.why.set(why);
        self.token.cancel();
    }

    /// # Errors
    /// The call is to stop.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.token.is_cancelled() { Err(self.refusal()) } else { Ok(()) }
    }

    pub(super) fn refusal(&self) -> Refusal {
        Refusal::new(self.why.get().copied().unwrap_or(Code::TargetCancelled))
    }

    pub(super) async fn stopped(&self) {
        self.token.cancelled().await;
    }
}

/// What a call has changed so far, for whoever has to say what is known of it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Changes that the server confirmed.
    pub(super) done: Vec<String>,
    /// One that was sent, and of which nothing was heard yet.
    pub(super) open: Option<String>,
}

/// The requests of one call.
pub(super) struct Session<'a> {
    client: kube::Client,
    headers: HeaderMap,
    breaker: &'a Breaker,
    pub(super) halt: Halt,
    journal: Mutex<Journal>,
}

impl<'a> Session<'a> {
    /// # Errors
    /// `target.refused`: the credential does not say whom to be.
    pub(super) fn new(client: kube::Client, credential: &Credential, breaker: &'a Breaker) -> Result<Self, Refusal> {
        Ok(Self { client, headers: headers(credential)?, breaker, halt: Halt::default(), journal: Mutex::default() })
    }

    pub(super) fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, ask: &Ask) -> Result<Request<Vec<u8>>, Refusal> {
        let mut request = Request::builder().method(ask.method.clone()).uri(ask.uri()).header(ACCEPT, ask.accept);
        if let Some((content_type, _)) = &ask.body {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let body = ask.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        let mut request = request.body(body).map_err(|error| Refusal::new(Code::TargetFailed).cause(error))?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    /// One request, one answer.
    async fn exchange(&self, ask: &Ask) -> Result<Response<Body>, Refusal> {
        self.halt.check()?;
        self.breaker.check()?;
        let request = self.request(ask)?;
        match self.client.send(request.map(Body::from)).await {
            Ok(response) => {
                // Whatever it says: a dead node or a broken webhook behind it is not the API server's being gone.
                self.breaker.answered();
                Ok(response)
            }
            Err(error) => {
                self.breaker.failed();
                Err(failure::lost(&error))
            }
        }
    }

    /// A read: given up when the call is to stop, tried again where the server says that it may be.
    async fn reading(&self, ask: &Ask) -> Result<Response<Body>, Refusal> {
        let mut tried = 0;
        loop {
            tried += 1;
            let answer = tokio::select! {
                answer = self.exchange(ask) => answer,
                () = self.halt.stopped() => return Err(self.halt.refusal()),
            };
            let wait = match &answer {
                Ok(response) if matches!(response.status().as_u16(), 429 | 500 | 503) => said_after(response.headers()),
                // Of a server in between, which the next try may not meet again.
                Ok(response) if response.status().as_u16() == 502 => Some(pause(tried)),
                Err(refusal) if refusal.code() == Code::TargetUnreachable && refusal.private_cause().is_some() => Some(pause(tried)),
                _ => None,
            };
            let Some(wait) = wait.filter(|_| tried < TRIES) else { return answer };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.halt.stopped() => return Err(self.halt.refusal()),
            }
        }
    }

    /// What a read brings, as bytes.
    ///
    /// # Errors
    /// The server's own refusal, or none that it could be asked for.
    pub(super) async fn read_bytes(&self, ask: &Ask) -> Result<Vec<u8>, Refusal> {
        let mut tried = 0;
        loop {
            tried += 1;
            let response = self.reading(ask).await?;
            let status = response.status();
            let body = tokio::select! {
                body = collect(response.into_body(), ask.most) => body,
                () = self.halt.stopped() => return Err(self.halt.refusal()),
            };
            match body {
                Ok(body) if status.is_success() => return Ok(body),
                Ok(body) => return Err(failure::refusal(status, &body)),
                // Cut off in the middle: a read may be made again.
                Err(refusal) if refusal.code() == Code::TargetUnreachable && tried < TRIES => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// What a read brings.
    ///
    /// # Errors
    /// As [`Session::read_bytes`].
    pub(super) async fn read(&self, ask: &Ask) -> Result<Value, Refusal> {
        let body = self.read_bytes(ask).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Refusal::new(Code::TargetFailed).detail("the server's answer is no JSON").cause(error))
    }

    /// The same; none where there is no such object.
    ///
    /// # Errors
    /// As [`Session::read_bytes`].
    pub(super) async fn find(&self, ask: &Ask) -> Result<Option<Value>, Refusal> {
        match self.read(ask).await {
            Ok(found) => Ok(Some(found)),
            Err(refusal) if refusal.code() == Code::ObjectNotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// A read whose answer comes as a stream of chunks.
    ///
    /// # Errors
    /// As [`Session::read_bytes`].
    pub(super) async fn stream(&self, ask: &Ask) -> Result<impl futures::Stream<Item = Result<Vec<u8>, Refusal>> + Unpin + use<>, Refusal> {
        let response = self.reading(ask).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(failure::refusal(status, &collect(response.into_body(), ask.most).await?));
        }
        let chunks = response.into_body().into_data_stream();
        Ok(chunks.map(|chunk| chunk.map(|bytes| bytes.to_vec()).map_err(|error| Refusal::new(Code::TargetUnreachable).cause(error))))
    }

    /// A change: sent once, and waited for.
    ///
    /// # Errors
    /// It was not sent, or nothing was heard of it: then it stays open in the journal.
    pub(super) async fn change(&self, what: &str, ask: &Ask) -> Result<Changed, Refusal> {
        self.halt.check()?;
        self.journal().open = Some(what.to_owned());
        let heard = async {
            let response = self.exchange(ask).await?;
            let status = response.status();
            let body = match collect(response.into_body(), ask.most).await {
                // It was made, however much there is to say of it.
                Err(refusal) if refusal.code() == Code::ResultTooLarge => Vec::new(),
                body => body?,
            };
            Ok::<_, Refusal>((status, body))
        };
        let (status, body) = heard.await.map_err(|refusal| match refusal.code() {
            // It got as far as the wire: nobody knows how far beyond.
            Code::TargetUnreachable if refusal.private_cause().is_some() => {
                let unknown = Refusal::new(Code::Unresolved).detail(format!("the connection was lost while {what} was under way"));
                unknown.cause(refusal.private_cause().unwrap_or_default())
            }
            _ => {
                self.journal().open = None;
                refusal
            }
        })?;
        if failure::is_undecided(status, &body) {
            // A server that gave up waiting may have let the work go on.
            let said = failure::refusal(status, &body).message();
            return Err(Refusal::new(Code::Unresolved).detail(format!("the server did not say what became of {what}: {said}")));
        }
        let mut journal = self.journal();
        journal.open = None;
        if !status.is_success() {
            return Ok(Changed::Refused(Answered { status, body }));
        }
        journal.done.push(what.to_owned());
        let object = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Changed::Made { object, is_new: status == StatusCode::CREATED })
    }

    /// A dry run, or a review: it is sent like a change and changes nothing.
    ///
    /// # Errors
    /// The server's own refusal, or none that it could be asked for.
    pub(super) async fn rehearse(&self, ask: &Ask) -> Result<Value, Refusal> {
        self.read(ask).await
    }

    /// A WebSocket.
    ///
    /// # Errors
    /// The server's own refusal, or none that it could be asked for.
    pub(super) async fn connect(&self, ask: &Ask) -> Result<kube::client::Connection, Refusal> {
        self.halt.check()?;
        self.breaker.check()?;
        let request = self.request(ask)?;
        match self.client.connect(request).await {
            Ok(connection) => {
                self.breaker.answered();
                Ok(connection)
            }
            Err(error) => {
                if !matches!(error, kube::Error::Api(_)) {
                    self.breaker.failed();
                }
                Err(failure::lost(&error))
            }
        }
    }
}

/// Whom every request is for.
fn headers(credential: &Credential) -> Result<HeaderMap, Refusal> {
    let refuse = || Refusal::new(Code::TargetRefused).detail("the human's name in the cluster does not fit into a header");
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| refuse());
    // Without somebody to be, requests would be made with the broker's own rights.
    let whom = credential.impersonation().ok_or_else(|| Refusal::new(Code::TargetRefused).cause("a cluster without impersonation"))?;
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("impersonate-user"), value(&whom.user)?);
    for group in &whom.groups {
        headers.append(HeaderName::from_static("impersonate-group"), value(group)?);
    }
    for (key, text) in &whom.extra {
        let name = HeaderName::try_from(format!("impersonate-extra-{key}")).map_err(|_| refuse())?;
        headers.append(name, value(text)?);
    }
    if let Some(bearer) = credential.bearer() {
        let mut token = value(&format!("Bearer {}", bearer.expose_secret()))?;
        token.set_sensitive(true);
        headers.insert(AUTHORIZATION, token);
    }
    Ok(headers)
}

/// How long the server says to wait before the next try; none if it does not say, or if that is too long. An API behind the server that is not there
/// answers 503 too, and never says when to come again.
fn said_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    said.filter(|wait| *wait <= RETRY_AFTER_MAX)
}

/// How long to wait where nobody says: longer each time.
fn pause(tried: u32) -> Duration {
    Duration::from_millis(200) * 2_u32.saturating_pow(tried)
}

async fn collect(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Refusal::new(Code::TargetUnreachable).cause(error))?;
        if whole.len() + chunk.len() > most {
            return Err(Refusal::new(Code::ResultTooLarge).detail(format!("the server's answer is larger than {most} bytes: ask for less")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}
