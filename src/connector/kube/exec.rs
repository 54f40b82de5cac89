//! Running one program in a container, over a WebSocket with a channel for each stream (`v5.channel.k8s.io`, `v4` of older servers).
//!
//! Both streams are kept apart and bounded together while they come. A program that is to stop loses its streams; whether it has ended nobody can
//! tell from here, so the answer says that it was not confirmed.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::call::{Bound, Seen};
use crate::connector::kube::edit::{check, content, reference, seen};
use crate::connector::kube::session::Ask;
use crate::connector::kube::{Held, Work};
use crate::mask::{Done, Piece};
use crate::operation::kube::{Exec, Type};
use crate::refusal::{Code, Refusal};

/// Channels of the protocol.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// Closes a channel, from version 5 on.
const CLOSE: u8 = 255;
/// Bytes of one message to the program.
const CHUNK: usize = 16 * 1024;

/// What a program wrote.
#[derive(Default)]
struct Streams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    left: usize,
    is_cut: bool,
}

impl Streams {
    /// Takes a part of a stream; whether more is wanted.
    fn take(&mut self, is_stderr: bool, bytes: &[u8]) -> bool {
        let fits = bytes.len().min(self.left);
        let kept = bytes.get(..fits).unwrap_or_default();
        if is_stderr {
            self.stderr.extend_from_slice(kept)
        } else {
            self.stdout.extend_from_slice(kept)
        }
        self.left -= fits;
        self.is_cut = fits < bytes.len();
        !self.is_cut
    }
}

/// What is said to a program, and the end of it.
fn spoken(stdin: &str) -> Vec<Message> {
    let chunks = stdin.as_bytes().chunks(CHUNK).map(|chunk| Message::binary([&[STDIN], chunk].concat()));
    chunks.chain([Message::binary(vec![CLOSE, STDIN])]).collect()
}

impl Work<'_> {
    /// What an approver is shown of the pod in which a program would run, which must still be that pod then.
    pub(super) async fn exec_shown(&self, exec: &Exec) -> Result<Held, Refusal> {
        let pod = self.object(&exec.pod).await?;
        let place = |place: &str| pod.pointer(place).cloned().unwrap_or_default();
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let containers: Vec<Value> = containers.map(|one| json!({ "name": one.get("name"), "image": one.get("image") })).collect();
        let document = json!({
            "pod": reference(&exec.pod), "containers": containers, "service_account": place("/spec/serviceAccountName"),
            "node": place("/spec/nodeName"), "phase": place("/status/phase"),
        });
        let bound = Bound { rows: None, objects: vec![self.same_pod(exec, &pod)] };
        Ok((vec![Piece::Kube { document, kind: None }], Done { preview: Some(bound), ..Done::default() }))
    }

    /// A pod is held to by its id and what it runs; what else is written about it changes all the time.
    fn same_pod(&self, exec: &Exec, pod: &Value) -> Seen {
        let mut seen = seen(&exec.pod, Some(pod));
        let spec = json!({ "spec": pod.get("spec") });
        seen.content = Some(content(&spec, false));
        seen
    }

    /// # Errors
    /// `approval.changed_since_preview`: it is another pod, or runs something else.
    async fn check_pod(&self, exec: &Exec, bound: Option<&Bound>) -> Result<(), Refusal> {
        let Some(bound) = bound else { return Ok(()) };
        let pod = self.object(&exec.pod).await?;
        check(bound, &self.same_pod(exec, &pod), &exec.pod)
    }

    /// Closing what a program reads is known since 1.30; an older server would have started it before that shows.
    async fn check_stdin(&self) -> Result<(), Refusal> {
        let version = self.session.read(&Ask::get("/version".to_owned())).await?;
        let number = |name: &str| {
            let text = version.get(name).and_then(Value::as_str).unwrap_or_default();
            text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().unwrap_or(0)
        };
        if (number("major"), number("minor")) >= (1, 30) {
            return Ok(());
        }
        Err(Refusal::new(Code::NotInstalled).detail("a way to end what a program reads, which servers have since 1.30: leave `stdin` out"))
    }

    /// Runs a program and tells what it wrote and how it ended.
    pub(super) async fn exec(&self, exec: &Exec, bound: Option<&Bound>) -> Result<Held, Refusal> {
        let path = self.resource(&Type::pod()).await?.path(&exec.pod, "exec")?;
        self.check_pod(exec, bound).await?;
        let mut ask =
            Ask::get(path).accepting("*/*").with("stdout", "true").with("stderr", "true").maybe("container", exec.container.as_deref());
        if exec.stdin.is_some() {
            self.check_stdin().await?;
            ask = ask.with("stdin", "true");
        }
        for argument in &exec.command {
            ask = ask.with("command", argument.as_str());
        }
        let what = format!("{} in {}", exec.command.first().map_or("", String::as_str), exec.pod);
        self.session.journal().open = Some(what.clone());
        let connection = self.session.connect(&ask).await.inspect_err(|_| self.session.journal().open = None)?;
        if exec.stdin.is_some() && !connection.supports_stream_close() {
            return Err(
                Refusal::new(Code::Unresolved).detail(format!("{what} was started, and the server knows no way to end what it reads"))
            );
        }
        let (to, from) = connection.into_stream().split();
        let limit = usize::try_from(exec.limit_bytes).unwrap_or(usize::MAX);
        let mut streams = Streams { left: limit, ..Streams::default() };
        let status = self.converse(to, from, exec.stdin.as_deref(), &mut streams, &what).await?;
        let ended = status.as_ref().map(ended).transpose()?;
        if !streams.is_cut && ended.is_none() {
            return Err(Refusal::new(Code::Unresolved).detail(format!("the server ended the connection without saying how {what} ended")));
        }
        let mut journal = self.session.journal();
        journal.open = None;
        journal.done.push(what);
        drop(journal);
        let document = json!({
            "exit_code": ended, "stdout": told(&streams.stdout), "stderr": told(&streams.stderr), "truncated": streams.is_cut,
            // Its streams were closed in the middle: whether it goes on is not known.
            "stopped_confirmed": if streams.is_cut { Value::Bool(false) } else { Value::Null },
        });
        let stopped = streams.is_cut.then_some(false);
        Ok((vec![Piece::Kube { document, kind: None }], Done { truncated: streams.is_cut, stopped, ..Done::default() }))
    }

    /// Speaks and listens at once, since a program may write before it has read all; the status that ends it, if it ended.
    async fn converse(
        &self,
        mut to: impl futures::Sink<Message> + Unpin,
        mut from: impl futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
        stdin: Option<&str>,
        streams: &mut Streams,
        what: &str,
    ) -> Result<Option<Value>, Refusal> {
        let mut speaking = stdin.map(spoken).unwrap_or_default().into_iter().peekable();
        loop {
            let message = tokio::select! {
                () = self.session.halt.stopped() => return Err(self.session.halt.refusal()),
                sent = async { to.feed(speaking.peek().cloned().unwrap_or_else(|| Message::binary(Vec::new()))).await }, if speaking.peek().is_some() => {
                    speaking.next();
                    // A program that does not read may have ended already: what it says comes below.
                    if sent.is_err() || speaking.peek().is_none() && to.flush().await.is_err() {
                        speaking = Vec::new().into_iter().peekable();
                    }
                    continue;
                }
                message = from.next() => message,
            };
            let bytes = match message {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Close(_))) | None => return Ok(None),
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    let lost = Refusal::new(Code::Unresolved).detail(format!("the connection was lost while {what} was running"));
                    return Err(lost.cause(error));
                }
            };
            let Some((channel, rest)) = bytes.split_first() else { continue };
            let goes_on = match *channel {
                STDOUT => streams.take(false, rest),
                STDERR => streams.take(true, rest),
                ERROR => return Ok(Some(serde_json::from_slice::<Value>(rest).unwrap_or_default())),
                _ => true,
            };
            if !goes_on {
                drop(to.close().await);
                return Ok(None);
            }
        }
    }
}

/// The exit code in the status that ends a program.
fn ended(status: &Value) -> Result<i64, Refusal> {
    let text = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("status") == "Success" {
        return Ok(0);
    }
    if text("reason") == "NonZeroExitCode" {
        let causes = status.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
        let code = causes.filter(|cause| cause.get("reason").and_then(Value::as_str) == Some("ExitCode"));
        let code = code.filter_map(|cause| cause.get("message")?.as_str()?.parse().ok()).next();
        return code
            .ok_or_else(|| Refusal::new(Code::TargetFailed).detail("the program failed, and the server did not say with which code"));
    }
    Err(Refusal::new(Code::TargetFailed).detail(text("message").to_owned()))
}

/// A stream as text; what is none is described.
fn told(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        // Cut within a character, it is text all the same.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(bytes).into_owned(),
        _ => format!("({} bytes that are no text, not shown)", bytes.len()),
    }
}
