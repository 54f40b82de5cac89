//! Running one program in a container, over a WebSocket with a channel for each stream (`v5.channel.k8s.io`, `v4` of older servers).
//!
//! Both streams are kept apart and bounded together while they come. A program that is to stop loses its streams; whether it has ended nobody can
//! tell from here, so the answer says that it was not confirmed.

use futures::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

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

impl Work<'_> {
    /// Runs a program and tells what it wrote and how it ended.
    pub(super) async fn exec(&self, exec: &Exec) -> Result<Held, Refusal> {
        let path = self.resource(&Type::pod()).await?.path(&exec.pod, "exec")?;
        let mut ask = Ask { method: Method::GET, path, query: Vec::new(), accept: "*/*", body: None }
            .with("stdout", "true")
            .with("stderr", "true")
            .maybe("container", exec.container.as_deref());
        if exec.stdin.is_some() {
            ask = ask.with("stdin", "true");
        }
        for argument in &exec.command {
            ask = ask.with("command", argument.as_str());
        }
        let what = format!("{} in {}", exec.command.first().map_or("", String::as_str), exec.pod);
        self.session.journal().open = Some(what.clone());
        let connection = self.session.connect(&ask).await.inspect_err(|_| self.session.journal().open = None)?;
        if exec.stdin.is_some() && !connection.supports_stream_close() {
            self.session.journal().open = None;
            return Err(
                Refusal::new(Code::NotInstalled).detail("a way to end what a program reads (v5.channel.k8s.io), so leave `stdin` out")
            );
        }
        let (mut to, mut from) = connection.into_stream().split();
        if let Some(stdin) = &exec.stdin {
            for chunk in stdin.as_bytes().chunks(CHUNK) {
                let message = [&[STDIN], chunk].concat();
                // A program that does not read may have ended already: what it says comes below.
                if to.send(Message::binary(message)).await.is_err() {
                    break;
                }
            }
            drop(to.send(Message::binary(vec![CLOSE, STDIN])).await);
        }
        let limit = usize::try_from(exec.limit_bytes).unwrap_or(usize::MAX);
        let mut streams = Streams { left: limit, ..Streams::default() };
        let mut status = None;
        while status.is_none() {
            let message = tokio::select! {
                message = from.next() => message,
                () = self.session.halt.stopped() => return Err(self.session.halt.refusal()),
            };
            let bytes = match message {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Close(_))) | None => break,
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
                ERROR => {
                    status = Some(serde_json::from_slice::<Value>(rest).unwrap_or_default());
                    true
                }
                _ => true,
            };
            if !goes_on {
                break;
            }
        }
        drop(to.close().await);
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
        Ok((vec![Piece::Kube { document, kind: None }], Done { truncated: streams.is_cut, ..Done::default() }))
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
