//! Where notices arrive: a real HTTP server that keeps what it is sent and answers as it is told, and a real mail server.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::process::free_port;
use crate::harness::provider::parts;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether an independent library finds the signature good under this secret.
    pub fn verifies(&self, secret: &str) -> bool {
        let given = json!({"secret": secret, "headers": self.headers, "body": self.body});
        let ended = library("verify", &given);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success() || said.starts_with("not verified"), "{said}");
        ended.status.success()
    }
}

/// What an independent library of the Standard Webhooks specification makes of it.
fn library(what: &str, given: &Value) -> Output {
    let mut child = Command::new(parts().join("venv/bin/python"))
        .arg(parts().join("webhooks.py"))
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The signature that the library makes.
pub fn signed(secret: &str, id: &str, timestamp: i64, body: &str) -> String {
    let ended = library("sign", &json!({"secret": secret, "id": id, "timestamp": timestamp, "body": body}));
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

/// How the next request is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub header: Option<(&'static str, String)>,
    pub body: &'static str,
    pub wait: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, header: None, body: "", wait: Duration::ZERO }
    }
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    replies: VecDeque<Reply>,
}

/// Answers 200 `{"ok":true}` unless it is told otherwise.
pub struct Receiver {
    pub port: u16,
    inner: Arc<Mutex<Inner>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_on(0).await
    }

    pub async fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::<Mutex<Inner>>::default();
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&inner));
        let serving = tokio::spawn(async move { axum_serve(listener, router).await });
        Self { port, inner, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.lock().unwrap().replies.extend(replies);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// The first that came to this path.
    pub async fn wait_for(&self, path: &str) -> Seen {
        for _ in 0..600 {
            if let Some(seen) = self.seen().into_iter().find(|seen| seen.path == path) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("nothing came to {path}: {:#?}", self.seen());
    }

    /// Once so many have come.
    pub async fn wait(&self, count: usize) -> Vec<Seen> {
        for _ in 0..600 {
            let seen = self.seen();
            if seen.len() >= count {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{count} were to come, and these did: {:#?}", self.seen());
    }
}

async fn axum_serve(listener: TcpListener, router: axum::Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new();
            drop(served.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await);
        });
    }
}

async fn take(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let seen = Seen { path: parts.uri.to_string(), headers, body };
    let reply = {
        let mut inner = inner.lock().unwrap();
        inner.seen.push(seen);
        inner.replies.pop_front()
    };
    let reply = reply.unwrap_or(Reply { body: "{\"ok\":true}", ..Reply::status(200) });
    tokio::time::sleep(reply.wait).await;
    let mut response = (axum::http::StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response();
    if let Some((name, value)) = reply.header {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A mail server, in a process of its own that ends with the test.
pub struct MailServer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub port: u16,
}

impl MailServer {
    /// With what `tests/parts/smtp_sink.py` takes behind the port.
    pub fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let mut child = Command::new(parts().join("venv/bin/python"))
            .arg(parts().join("smtp_sink.py"))
            .arg(port.to_string())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        Self { child, lines, port }
    }

    /// The next mail.
    pub fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
