//! The relay as desktop clients run it: the product's binary as a child process, behind the official Rust client, in both eras.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam, ProtocolVersion};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt, NotificationContext, PeerRequestOptions, RoleClient, RunningService,
    ServiceError,
};
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, Command};

use crate::conformance::{node, parts};
use crate::harness::company::{Company, Machine, told};
use crate::harness::process::{Process, free_port};
use crate::harness::{Human, Wish, World};

/// Counts the signs of life that a held call gives.
#[derive(Clone, Default)]
struct Listener(Arc<AtomicUsize>);

impl ClientHandler for Listener {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _before = self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Client = RunningService<RoleClient, Listener>;

fn eras() -> [(&'static str, ClientLifecycleMode); 2] {
    [
        ("2025-11-25", ClientLifecycleMode::Initialize),
        ("2026-07-28", ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }),
    ]
}

fn modern() -> ClientLifecycleMode {
    eras()[1].1.clone()
}

/// Starts the relay as a client does.
async fn start(command: Command, era: ClientLifecycleMode) -> Result<(Client, ChildStderr), ClientInitializeError> {
    let (transport, err) = TokioChildProcess::builder(command).stderr(Stdio::piped()).spawn().unwrap();
    Ok((Listener::default().serve_with_lifecycle(transport, era).await?, err.unwrap()))
}

async fn try_call(client: &Client, tool: &'static str, arguments: Value) -> Result<Value, ServiceError> {
    let params = CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone());
    Ok(client.call_tool(params).await?.structured_content.unwrap())
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Value {
    try_call(client, tool, arguments).await.unwrap()
}

/// What the relay says where the broker has said nothing in the protocol.
fn refusal(answer: Result<Value, ServiceError>) -> Value {
    match answer {
        Err(ServiceError::McpError(error)) => {
            let data = error.data.clone().unwrap();
            assert!(error.message.contains(data["message"].as_str().unwrap()), "{error:?}");
            data
        }
        other => panic!("{other:?}"),
    }
}

async fn approve_all(approver: &Human) {
    for waiting in approver.pending().await {
        approver.decide(waiting["approval_id"].as_str().unwrap(), json!({"decision": "approve"})).await;
    }
}

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn through_an_approval_with_signs_of_life() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish { hold: Duration::from_secs(40), ..Wish::default() }).await;
    let machine = Machine::new(&world);
    let login = machine.signed_in(&company, "alice", "mcp", &["--scope", "mcp:read mcp:write", "--client-id", "desk"]).await;
    assert_eq!(login.code, 0, "{login:?}");
    let approver = company.approver(&world).await;
    let decide = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        approve_all(&approver).await;
    };
    let held = eras().into_iter().enumerate().map(async |(number, (version, era))| {
        let (client, _err) = start(machine.command(&["connect", &world.base]), era).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        assert!(tools.iter().any(|tool| tool.name == "db_execute"), "{version}");
        let change = json!({"target": "shop", "sql": format!("UPDATE orders SET status = 'refunded' WHERE id = {}", number + 1)});
        let done = call(&client, "db_execute", change).await;
        assert_eq!(done["result"]["affected_rows"], 1, "{version}: {done}");
        assert!(client.service().0.load(Ordering::Relaxed) > 0, "{version}: no progress was reported");
        client.cancel().await.unwrap();
        version
    });
    let (versions, ()) = tokio::join!(futures::future::join_all(held), decide);
    let mut seen = Vec::new();
    for done in approver.trail("&kind=call.completed&tool=db_execute").await {
        assert_eq!((&done["human"], &done["agent"]), (&json!("alice"), &json!("desk")), "{done}");
        let (_, whole) = approver.get(&format!("/audit/calls/{}", done["leaf"]["call"].as_str().unwrap())).await;
        seen.push(whole["payloads"]["request"]["protocol_version"].as_str().unwrap().to_owned());
    }
    seen.sort();
    // The preview is a call of its own.
    seen.dedup();
    assert_eq!(seen, versions, "each era reaches the broker as itself");
    world.verify();
}

#[tokio::test]
async fn what_the_client_gives_up_stops_at_the_target() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    machine.signed_in(&company, "alice", "mcp", &[]).await;
    let approver = company.approver(&world).await;
    for (number, (version, era)) in eras().into_iter().enumerate() {
        let (client, _err) = start(machine.command(&["connect", &world.base]), era).await.unwrap();
        let arguments = json!({"target": "shop", "sql": ENDLESS});
        let params = CallToolRequestParams::new("db_query").with_arguments(arguments.as_object().unwrap().clone());
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let handle = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        handle.cancel(Some("no longer wanted".to_owned())).await.unwrap();
        let mut stopped = Vec::new();
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stopped = approver.trail("&status=cancelled").await;
            if stopped.len() > number {
                break;
            }
        }
        assert_eq!(stopped.len(), number + 1, "{version}: {stopped:?}");
        assert_eq!(call(&client, "whoami", json!({})).await["result"]["human"]["subject"], "alice", "{version}: the relay goes on");
        client.cancel().await.unwrap();
    }
    world.verify();
}

#[tokio::test]
async fn the_token_is_renewed_in_the_middle() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    machine.signed_in(&company, "alice", "mcp", &[]).await;
    let first = machine.login_file();
    for (version, era) in eras() {
        let (client, _err) = start(machine.command(&["connect", &world.base]), era).await.unwrap();
        call(&client, "whoami", json!({})).await;
        // It runs out, or is good no longer although its time is not over.
        for (member, value) in [("expires_at", "2020-01-01T00:00:00Z"), ("access_token", "x.y.z")] {
            let before = machine.login_file();
            machine.change(member, value);
            let answers = futures::future::join_all((0..5).map(|_| try_call(&client, "whoami", json!({})))).await;
            assert!(answers.iter().all(Result::is_ok), "{version} {member}: {answers:?}");
            assert_ne!(machine.login_file()["refresh_token"], before["refresh_token"], "{version} {member}");
        }
        client.cancel().await.unwrap();
    }
    // The issuer ends the sign-in: said in the client; a new one counts without a restart.
    let (client, _err) = start(machine.command(&["connect", &world.base]), modern()).await.unwrap();
    company.test("revoke-sessions", json!({"account": "alice"})).await;
    machine.change("access_token", "x.y.z");
    let ended = refusal(try_call(&client, "whoami", json!({})).await);
    assert_eq!(ended["code"], "connect.signed_out", "{ended}");
    assert!(ended["message"].as_str().unwrap().contains("countersign login --url"), "{ended}");
    machine.signed_in(&company, "alice", "mcp", &[]).await;
    assert_eq!(call(&client, "whoami", json!({})).await["status"], "ok");
    assert_ne!(machine.login_file()["refresh_token"], first["refresh_token"]);
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn a_token_file_is_read_again() {
    let world = World::new().await;
    let machine = Machine::new(&world);
    let file = world.dir.path().join("agent.token");
    let arguments = ["connect", &format!("{}/mcp", world.base), "--token-file", file.to_str().unwrap()];
    let missing = machine.run(&arguments).await;
    assert!(missing.code == 2 && missing.out.is_empty() && missing.err.contains("agent.token"), "{missing:?}");
    std::fs::write(&file, world.agent().token).unwrap();
    let (client, _err) = start(machine.command(&arguments), modern()).await.unwrap();
    assert_eq!(call(&client, "whoami", json!({})).await["status"], "ok");
    std::fs::write(&file, world.token("alice", &["support"], "inbox", None, "")).unwrap();
    let wrong = refusal(try_call(&client, "whoami", json!({})).await);
    assert_eq!((&wrong["code"], &wrong["status"]), (&json!("identity.invalid_token"), &json!(401)), "{wrong}");
    assert!(wrong["hint"].as_str().unwrap().contains("agent.token"), "{wrong}");
    std::fs::write(&file, world.agent().token).unwrap();
    assert_eq!(call(&client, "whoami", json!({})).await["status"], "ok");
    client.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut broker = Process::start(dir.path(), port);
    let (url, file) = (broker.base.clone(), dir.path().join("agent.token"));
    let machine = Machine::at(&url);
    for (version, era) in eras() {
        let arguments = ["connect", &url, "--token-file", file.to_str().unwrap()];
        let (client, _err) = start(machine.command(&arguments), era).await.unwrap();
        assert_eq!(call(&client, "whoami", json!({})).await["status"], "ok");
        // It dies while a call is under way, and is away for the next.
        let (cut, ()) = tokio::join!(try_call(&client, "db_query", json!({"target": "shop", "sql": ENDLESS})), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            broker.kill();
        });
        for answer in [cut, try_call(&client, "whoami", json!({})).await] {
            let gone = refusal(answer);
            assert_eq!(gone["code"], "connect.unreachable", "{version}: {gone}");
        }
        broker = Process::start(dir.path(), port);
        assert_eq!(call(&client, "whoami", json!({})).await["status"], "ok", "{version}");
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn the_first_start_signs_the_human_in() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    let (transport, err) = TokioChildProcess::builder(machine.command(&["connect", &world.base])).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(err.unwrap()).lines();
    let starting = tokio::spawn(Listener::default().serve_with_lifecycle(transport, modern()));
    let told = told(&mut err, "enter the code ").await;
    let code = told.split("enter the code ").nth(1).unwrap().trim();
    assert!(!starting.is_finished(), "the client's first request waits");
    company.test("approve-device", json!({"user_code": code, "account": "alice"})).await;
    let client = starting.await.unwrap().unwrap();
    assert_eq!(call(&client, "whoami", json!({})).await["result"]["human"]["subject"], "alice");
    assert_eq!(machine.kept().len(), 1);
    client.cancel().await.unwrap();
    // Signed in as another agent than the configuration names: said at the start, since the trail would name the wrong one.
    let other = machine.run(&["connect", &world.base, "--client-id", "desk"]).await;
    assert!(other.code == 2 && other.err.contains("--client-id desk"), "{other:?}");
}

/// The relay with what a client writes to it; all that it says, and what it complains of.
async fn spoken(machine: &Machine, arguments: &[&str], said: &[u8]) -> (Vec<Value>, String) {
    let mut child = machine.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let said = said.to_vec();
    let saying = tokio::spawn(async move {
        stdin.write_all(&said).await.unwrap();
        drop(stdin);
    });
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    saying.await.unwrap();
    assert!(child.wait().await.unwrap().success(), "{err}");
    (out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no protocol: {line}"))).collect(), err)
}

#[tokio::test]
async fn nothing_but_the_protocol_and_every_request_is_answered() {
    let world = World::new().await;
    let machine = Machine::new(&world);
    let file = world.dir.path().join("agent.token");
    std::fs::write(&file, world.agent().token).unwrap();
    let arguments = ["connect", &world.base, "--token-file", file.to_str().unwrap()];
    let call = |id: &Value, method: &str| {
        let mut body = crate::harness::modern(method, json!({}));
        body["id"] = id.clone();
        body.to_string()
    };
    let mut said = Vec::new();
    for line in [
        "not json".to_owned(),
        "[]".to_owned(),
        String::new(),
        "x".repeat(5 << 20),
        call(&json!("a"), "tools/list"),
        call(&json!(9_007_199_254_740_993_u64), "no/such"),
        // The other era, in the same process.
        json!({"jsonrpc": "2.0", "id": 3, "method": "ping"}).to_string(),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string(),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}).to_string(),
        // The end comes without a line break.
        call(&json!("last"), "server/discover"),
    ] {
        said.extend_from_slice(line.as_bytes());
        said.push(b'\n');
    }
    said.pop();
    let (answers, err) = spoken(&machine, &arguments, &said).await;
    let find =
        |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id} has no answer: {answers:?} {err}"));
    assert!(find(json!("a"))["result"]["tools"].is_array());
    assert_eq!(find(json!(9_007_199_254_740_993_u64))["error"]["code"], -32601);
    assert!(find(json!(3))["result"].is_object(), "{answers:?}");
    assert!(find(json!("last"))["result"]["supportedVersions"].is_array());
    let nobody: Vec<&Value> = answers.iter().filter(|answer| answer["id"].is_null()).collect();
    let codes: Vec<i64> = nobody.iter().map(|answer| answer["error"]["code"].as_i64().unwrap()).collect();
    assert!(codes.contains(&-32700) && codes.iter().filter(|code| **code == -32600).count() == 2, "{nobody:?}");
    assert_eq!(answers.len(), 7, "{answers:?}");

    // More at once than are taken: each has an answer all the same.
    let many: String = (0..200).map(|id| call(&json!(id), "tools/list") + "\n").collect();
    let (answers, _) = spoken(&machine, &arguments, many.as_bytes()).await;
    let ids: std::collections::BTreeSet<u64> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!((answers.len(), ids.len()), (200, 200));
    for answer in &answers {
        let code = answer["error"]["data"]["code"].as_str();
        assert!(answer["result"].is_object() || matches!(code, Some("connect.too_many" | "server.overloaded")), "{answer}");
    }
    // A subscription has no end of its own: the client's end is its end.
    let began = std::time::Instant::now();
    let mut listen = crate::harness::modern("subscriptions/listen", json!({"toolsListChanged": true}));
    listen["id"] = json!("l");
    spoken(&machine, &arguments, format!("{listen}\n{}\n", call(&json!(1), "tools/list")).as_bytes()).await;
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// The official inspector, which starts the relay itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_speaks_through_the_relay() {
    let world = World::new().await;
    let file = world.dir.path().join("agent.token");
    std::fs::write(&file, world.agent().token).unwrap();
    let script = parts().join("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    for era in ["legacy", "modern"] {
        for (method, says) in [(&["tools/list"][..], "db_query"), (&["tools/call", "--tool-name", "whoami"], "alice")] {
            let mut command = node(&script);
            command.args(["--cli", env!("CARGO_BIN_EXE_countersign"), "connect", &world.base, "--token-file", file.to_str().unwrap()]);
            command.args(["--transport", "stdio", "--protocol-era", era, "--method"]).args(method);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains(says), "{era} {method:?}:\n{text}");
        }
    }
}

#[tokio::test]
async fn the_configuration_of_each_client() {
    let world = World::new().await;
    let machine = Machine::new(&world);
    let mut all = String::new();
    for client in ["claude", "codex", "cursor", "vscode", "gemini"] {
        for more in [&["--token-file", "/etc/agent.token"][..], &["--client-id", "desk"], &["--transport", "http", "--client-id", "desk"]] {
            let arguments = [&["connect", "https://broker.example.com/mcp", "--print-config", client], more].concat();
            let printed = machine.run(&arguments).await;
            assert!(printed.code == 0 && printed.err.is_empty(), "{printed:?}");
            let text = printed.out.replace(env!("CARGO_BIN_EXE_countersign"), "/usr/local/bin/countersign");
            let read: Value = if client == "codex" { toml::from_str(&text).unwrap() } else { serde_json::from_str(&text).unwrap() };
            assert_eq!(read.as_object().unwrap().len(), 1);
            all = format!("{all}# {client} {}\n{}\n", more.join(" "), text);
        }
    }
    insta::assert_snapshot!(all);
    let token = machine.run(&["connect", &world.base, "--print-config", "claude", "--transport", "http", "--token-file", "/etc/t"]).await;
    assert!(token.code == 2 && token.out.is_empty(), "{token:?}");
}
