//! The relay's own loop: takes the client's lines, sends each on its way, gives up what the client gives up, and ends when the client does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::cli::connect::call::Upstream;
use crate::cli::connect::lines::{LINE_MAX_BYTES, Line, input, output};
use crate::cli::connect::message::{Message, error};
use crate::cli::output::complain;

/// Messages under way at once.
const UNDER_WAY_MAX: usize = 64;
/// How long answers are waited for once the client has nothing more to say …
const LAST_ANSWERS: Duration = Duration::from_secs(30);
/// … and for it to read them.
const LAST_WORDS: Duration = Duration::from_secs(5);
const INVALID_REQUEST: i64 = -32600;

struct UnderWay {
    handle: AbortHandle,
    /// A subscription: it has no answer, and ends only with the client.
    endless: bool,
}

struct Relay {
    upstream: Arc<Upstream>,
    out: mpsc::Sender<Vec<u8>>,
    tasks: JoinSet<()>,
    /// By the id of the request.
    under_way: HashMap<String, UnderWay>,
}

/// Relays standard input and output until the client ends.
pub(super) async fn run(upstream: Arc<Upstream>) {
    let mut lines = input();
    let (out, written) = output();
    let mut relay = Relay { upstream, out, tasks: JoinSet::new(), under_way: HashMap::new() };
    loop {
        tokio::select! {
            Some(_) = relay.tasks.join_next() => relay.under_way.retain(|_, request| !request.handle.is_finished()),
            line = lines.recv() => match line {
                Some(line) => relay.take(line).await,
                None => break,
            },
            // Nobody reads any more: what is under way is given up.
            () = relay.out.closed() => return,
        }
    }
    for request in relay.under_way.values().filter(|request| request.endless) {
        request.handle.abort();
    }
    let Relay { mut tasks, out, .. } = relay;
    drop(timeout(LAST_ANSWERS, async { while tasks.join_next().await.is_some() {} }).await);
    tasks.abort_all();
    drop((tasks, out));
    drop(timeout(LAST_WORDS, written).await);
}

impl Relay {
    async fn take(&mut self, line: Line) {
        let message = match line {
            Line::Whole(bytes) => Message::read(bytes),
            Line::TooLong => {
                return self.refuse(&Value::Null, "connect.too_large", &format!("a message has at most {LINE_MAX_BYTES} bytes")).await;
            }
        };
        if let Some(key) = message.gives_up() {
            // Over HTTP a request is given up by hanging up; the notification itself has nobody to go to.
            if let Some(request) = self.under_way.remove(&key) {
                request.handle.abort();
            }
            return;
        }
        let id = message.id.clone().unwrap_or_default();
        if self.tasks.len() >= UNDER_WAY_MAX {
            return self
                .refuse(&id, "connect.too_many", &format!("at most {UNDER_WAY_MAX} requests may be under way: wait for answers"))
                .await;
        }
        let (key, endless) = (message.key(), message.method == "subscriptions/listen");
        if key.as_ref().and_then(|key| self.under_way.get(key)).is_some_and(|request| !request.handle.is_finished()) {
            return self.refuse(&id, "connect.id_in_use", "a request with this id is under way").await;
        }
        let (upstream, out) = (Arc::clone(&self.upstream), self.out.clone());
        let handle = self.tasks.spawn(async move { upstream.carry(&message, &out).await });
        if let Some(key) = key {
            self.under_way.insert(key, UnderWay { handle, endless });
        }
    }

    /// Answers a request that is not sent on; what is no request can only be complained about.
    async fn refuse(&self, id: &Value, code: &str, why: &str) {
        if id.is_null() && code != "connect.too_large" {
            return complain(why);
        }
        drop(self.out.send(error(id, INVALID_REQUEST, why, &json!({ "code": code, "message": why }))).await);
    }
}
