//! `pods/exec` over a WebSocket: the command runs for real, as a process of this machine in a folder of its own.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::State;
use super::call::Call;
use super::json::{list, text};
use super::logs;
use super::status::{Outcome, bad_request, failure, invalid};
use super::validate;
use super::write::found;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const CLOSE: u8 = 255;

/// What is to run, and which of its streams are wanted.
struct Job {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

pub(super) async fn upgrade(state: &Arc<State>, call: &Call, parts: &mut Parts) -> Outcome<Response<Body>> {
    let job = prepare(state, call)?;
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let upgrade = upgrade.map_err(|_| bad_request("Upgrade request required"))?;
    let upgrade = upgrade.protocols(["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    let state = state.clone();
    Ok(upgrade.on_upgrade(move |socket| serve(state, socket, job)).into_response())
}

fn prepare(state: &Arc<State>, call: &Call) -> Outcome<Job> {
    let store = state.store.lock().unwrap();
    let pod = found(&store, call)?;
    let command = call.query.every("command");
    if command.is_empty() {
        return Err(invalid("", "PodExecOptions", &call.name, &[validate::required("command", "")]));
    }
    let streams = ["stdin", "stdout", "stderr"].map(|name| call.query.flag(name));
    if !streams.contains(&true) {
        return Err(bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let name = logs::container(call, &pod)?;
    if text(&pod, "/spec/nodeName").is_empty() {
        return Err(bad_request(format!("pod {} does not have a host assigned", call.name)));
    }
    let status = list(&pod, "/status/containerStatuses").iter().find(|status| status["name"] == name.as_str());
    if status.is_none_or(|status| status.pointer("/state/running").is_none()) {
        let why = format!("unable to upgrade connection: container not found ({name:?})");
        return Err(failure(500, "InternalError", format!("Internal error occurred: {why}"), json!({ "causes": [{ "message": why }] })));
    }
    let container = list(&pod, "/spec/containers").iter().find(|container| container["name"] == name.as_str());
    let own = container.map(|container| list(container, "/env")).unwrap_or_default();
    let mut environment = vec![
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOSTNAME".to_owned(), call.name.clone()),
    ];
    environment.extend(own.iter().map(|one| (text(one, "/name").to_owned(), text(one, "/value").to_owned())));
    Ok(Job { command, environment, stdin: streams[0], stdout: streams[1], stderr: streams[2], tty: call.query.flag("tty") })
}

/// Counts a process for as long as it lives, and ends it with all that it started.
struct Running {
    state: Arc<State>,
    group: Option<u32>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let kill = format!("kill -KILL -{group}");
            let _ = std::process::Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        }
        self.state.processes.fetch_sub(1, Ordering::SeqCst);
    }
}

fn spawn(job: &Job, home: &std::path::Path) -> std::io::Result<Child> {
    let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    Command::new(&job.command[0])
        .args(&job.command[1..])
        .env_clear()
        .envs(job.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(home)
        .stdin(piped(job.stdin))
        .stdout(piped(job.stdout))
        .stderr(piped(job.stderr || job.tty))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Passes what a stream gives on, marked with its channel.
async fn pump(mut from: impl AsyncRead + Unpin, channel: u8, to: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let frame = std::iter::once(channel).chain(buffer[..count].iter().copied()).collect();
        if to.send(frame).await.is_err() {
            return;
        }
    }
}

async fn serve(state: Arc<State>, mut socket: WebSocket, job: Job) {
    let newest = socket.protocol().is_some_and(|protocol| protocol == "v5.channel.k8s.io");
    let home = tempfile::tempdir().unwrap();
    let mut stop = state.stop.subscribe();
    let first = if job.stdout { STDOUT } else { ERROR };
    // An empty message tells the client that the connection stands.
    let _ = socket.send(Message::Binary(vec![first].into())).await;
    let mut child = match spawn(&job, home.path()) {
        Ok(child) => child,
        Err(error) => return end(socket, &not_started(&job, &error)).await,
    };
    state.processes.fetch_add(1, Ordering::SeqCst);
    let mut running = Running { state: state.clone(), group: child.id() };
    let (to_socket, mut frames) = mpsc::channel::<Vec<u8>>(16);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(pump(out, STDOUT, to_socket.clone()));
    }
    if let Some(err) = child.stderr.take() {
        // A terminal has one stream for both.
        tokio::spawn(pump(err, if job.tty { STDOUT } else { STDERR }, to_socket.clone()));
    }
    drop(to_socket);
    let (mut to_child, mut input) = (None, None);
    if let Some(stdin) = child.stdin.take() {
        let (sender, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
        to_child = Some(sender);
        input = Some(tokio::spawn(feed(stdin, receiver)));
    }
    let mut drained = false;
    let exit = loop {
        tokio::select! {
            frame = frames.recv(), if !drained => match frame {
                Some(frame) => if socket.send(Message::Binary(frame.into())).await.is_err() { break None },
                None => drained = true,
            },
            // The end counts once everything that was written is sent.
            ended = child.wait(), if drained => break ended.ok(),
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(data))) => match data.first() {
                    Some(&STDIN) => {
                        if let Some(sender) = &to_child { let _ = sender.send(data[1..].to_vec()); }
                    }
                    Some(&CLOSE) if newest && data.get(1) == Some(&STDIN) => to_child = None,
                    _ => {}
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => {}
            },
            _ = stop.changed() => break None,
        }
    };
    if let Some(input) = input {
        input.abort();
    }
    if let Some(status) = exit {
        running.group = None;
        drop(running);
        end(socket, &ended(status)).await;
    }
}

async fn feed(mut stdin: tokio::process::ChildStdin, mut from: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(data) = from.recv().await {
        if stdin.write_all(&data).await.is_err() {
            return;
        }
    }
}

async fn end(mut socket: WebSocket, status: &Value) {
    let frame: Vec<u8> = std::iter::once(ERROR).chain(status.to_string().into_bytes()).collect();
    let _ = socket.send(Message::Binary(frame.into())).await;
    let close = axum::extract::ws::CloseFrame { code: 1000, reason: "".into() };
    let _ = socket.send(Message::Close(Some(close))).await;
    // The client answers the close before the connection goes.
    while let Some(Ok(_)) = socket.recv().await {}
}

fn ended(status: std::process::ExitStatus) -> Value {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {}, "status": "Failure", "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode", "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

fn not_started(job: &Job, error: &std::io::Error) -> Value {
    let program = &job.command[0];
    let why = match error.kind() {
        std::io::ErrorKind::NotFound if program.contains('/') => format!("stat {program}: no such file or directory"),
        std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
        _ => "permission denied".to_owned(),
    };
    let message = format!(
        "error executing command in container: failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: \
         unable to start container process: exec: {program:?}: {why}: unknown"
    );
    json!({
        "metadata": {}, "status": "Failure", "message": format!("Internal error occurred: {message}"), "reason": "InternalError",
        "details": { "causes": [{ "message": message }] }, "code": 500,
    })
}
