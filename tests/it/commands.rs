//! The commands that people type and programs run: what they print for each, and how they end.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::process::{Process, free_port};
use crate::harness::{Agent, code};

/// A quickstart, and commands that speak to it.
struct Shell {
    dir: tempfile::TempDir,
    broker: Process,
}

/// How a command ended: exit code, standard output, standard error.
#[derive(Debug)]
struct Ended(i32, String, String);

fn run(arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign")).args(arguments).env_remove("COUNTERSIGN_TOKEN_FILE").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended(output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

impl Ended {
    fn is(self, code: i32) -> Self {
        assert_eq!(self.0, code, "{self:?}");
        self
    }

    fn says(self, word: &str) -> Self {
        assert!(self.1.contains(word) || self.2.contains(word), "{word}: {self:?}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.1).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Shell {
    fn start() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let broker = Process::start(&dir.path().join("data"), free_port());
        Self { dir, broker }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data(&self) -> String {
        self.at("data").display().to_string()
    }

    /// A command against the broker with one of the quickstart's tokens.
    fn with(&self, token: &str, arguments: &[&str]) -> Ended {
        let token = self.at("data").join(token).display().to_string();
        run(&[arguments, &["--url", &self.broker.base, "--token-file", &token]].concat())
    }

    fn agent(&self) -> Agent {
        let token = std::fs::read_to_string(self.at("data/agent.token")).unwrap().trim().to_owned();
        Agent { base: self.broker.base.clone(), token, http: reqwest::Client::new(), headers: Default::default() }
    }
}

const BOB: &str = "approver.token";
const AGENT: &str = "agent.token";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_listed_shown_and_denied() {
    let shell = Shell::start();
    shell.with(BOB, &["approvals", "list"]).is(0).says("nothing waits for you");
    let sql = "UPDATE orders SET status = 'refunded' WHERE id = 1300";
    let agent = shell.agent();
    let asked = tokio::spawn(async move { agent.execute("shop", sql).await });
    let listed = loop {
        let listed = shell.with(BOB, &["approvals", "list", "--json"]).is(0).json();
        if !listed["approvals"].as_array().unwrap().is_empty() {
            break listed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let id = listed["approvals"][0]["approval_id"].as_str().unwrap();
    shell.with(BOB, &["approvals", "list"]).is(0).says("STATEMENT").says(id);
    let shown = shell.with(BOB, &["approvals", "show", id, "--json"]).is(0).json();
    assert_eq!((&shown["operation"]["statement"], &shown["preview"]["would_touch_rows"]), (&json!(sql), &json!(1)));
    shell.with(BOB, &["approvals", "show", id]).is(0).says("would touch      1 row").says("  | UPDATE orders");
    shell.with(BOB, &["approvals", "deny", id]).is(2).says("--reason");
    // An agent's token decides nothing.
    shell.with(AGENT, &["approvals", "deny", id, "--reason", "mine"]).is(1).says("identity.invalid_token");
    shell.with(BOB, &["approvals", "deny", id, "--reason", "not \u{1b}[31mthis one"]).is(0).says(&format!("{id} is denied"));
    let told = asked.await.unwrap();
    assert_eq!(code(&told), "approval.denied", "{told}");
    assert!(told.to_string().contains("this one"));
    let again = shell.with(BOB, &["approvals", "approve", id, "--json"]).is(1);
    assert!(again.1.is_empty() && again.2.contains("approval.already_decided"), "{again:?}");
    shell.with(BOB, &["approvals", "list", "--state", "denied"]).is(0).says(id);
    shell.with(BOB, &["approvals", "list", "--state", "nonsense"]).is(1).says("request.malformed");
    shell.with(BOB, &["approvals", "show", "../audit"]).is(2).says("is no id");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_listed_searched_and_shown() {
    let shell = Shell::start();
    let answer = shell.agent().query("shop", "SELECT name, city FROM customers WHERE id = 1").await;
    let call = answer["call_id"].as_str().unwrap();
    let listed = shell.with(BOB, &["audit", "list", "--limit", "100", "--json"]).is(0).json();
    let of_call = |entries: &Value| entries["entries"].as_array().unwrap().iter().filter(|entry| entry["leaf"]["call"] == call).count();
    assert_eq!(of_call(&listed), 2);
    shell.with(BOB, &["audit", "list"]).is(0).says("EVENT").says("call.completed").says("demo-agent");
    let found = shell.with(BOB, &["audit", "search", "--agent", "demo-agent", "--kind", "call.completed", "--status", "ok", "--json"]);
    assert_eq!(of_call(&found.is(0).json()), 1);
    shell.with(BOB, &["audit", "search", "--risk", "nonsense"]).is(1).says("request.malformed");
    shell.with(BOB, &["audit", "show", call]).is(0).says("asked:").says("SELECT name").says("answered:").says("Porto");
    let shown = shell.with(BOB, &["audit", "show", call, "--json"]).is(0).json();
    assert_eq!((&shown["payloads"]["result"], shown["entries"].as_array().unwrap().len()), (&answer, 2));
    shell.with(BOB, &["audit", "show", "01AN4Z07BY79KA1307SR9X4MV3"]).is(1).says("request.not_found");
    let folder = shell.at("exported").display().to_string();
    let exported = shell.with(BOB, &["audit", "export", &folder, "--json"]).is(0).json();
    assert!(exported["leaves"].as_u64().unwrap() >= 2, "{exported}");
    run(&["verify", &folder, "--json"]).is(0);
    shell.with(BOB, &["audit", "export", &folder]).is(3).says("exported");
}

#[test]
fn tools_and_tokens() {
    let shell = Shell::start();
    let listed = shell.with(AGENT, &["tools", "list", "--json"]).is(0).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"db_query") && names.contains(&"refund_order"), "{names:?}");
    shell.with(AGENT, &["tools", "list"]).is(0).says("TOOL").says("customer_orders");
    // A token of the development issuer opens the door that it is for, and only that.
    let (data, issuer, mcp) = (shell.data(), format!("{}/issuer", shell.broker.base), format!("{}/mcp", shell.broker.base));
    let mint = |more: &[&str]| run(&[&["token", "--data", &data, "--issuer", &issuer, "--subject", "carol"], more].concat());
    let minted = mint(&["--team", "support", "--agent", "other", "--audience", &mcp, "--scope", "mcp:read"]).is(0);
    std::fs::write(shell.at("data/carol.token"), &minted.1).unwrap();
    let listed = shell.with("carol.token", &["tools", "list", "--json"]).is(0).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"db_query") && !names.contains(&"db_execute"), "a token of scope mcp:read: {names:?}");
    shell.with("carol.token", &["approvals", "list"]).is(1).says("identity.invalid_token");
    mint(&["--lifetime", "8d"]).is(2).says("--lifetime");
    run(&["token"]).is(2).says("--subject");
    assert_eq!(minted.1.trim().split('.').count(), 3);
}

#[test]
fn verify_says_whose_key_it_was_and_what_does_not_hold() {
    let shell = Shell::start();
    let (data, key) = (shell.data(), shell.at("data/keys/log.pub").display().to_string());
    let own = run(&["verify", &data, "--json"]).is(0).json();
    assert_eq!((&own["ok"], &own["key_from"], &own["previous"]), (&json!(true), &json!("store"), &Value::Null), "{own}");
    run(&["verify", &data]).is(0).says("ledger       holds").says("give the one that was handed over as --key");
    let handed = std::fs::read_to_string(&key).unwrap();
    for key in [key.as_str(), handed.trim()] {
        let given = run(&["verify", &data, "--key", key, "--json"]).is(0).json();
        assert_eq!((&given["ok"], &given["key_from"]), (&json!(true), &json!("given")), "{given}");
    }
    // The same name, another key.
    let other = countersign::ledger::note::VerifierKey::new("quickstart.invalid/countersign".to_owned(), [7; 32]).text();
    let refused = run(&["verify", &data, "--key", &other, "--json"]).is(1);
    let report = refused.json();
    assert_eq!((&report["ok"], &report["problems"][0]["code"]), (&json!(false), &json!("checkpoint.signature")), "{report}");
    assert!(refused.2.contains("does not hold"), "{refused:?}");
    run(&["verify", &data, "--key", &other]).is(1).says("DOES NOT HOLD").says("head.signature");
    run(&["verify", &data, "--key", "nonsense"]).is(2).says("neither a verifier key");
    run(&["verify", &data, "--previous", "/nowhere/checkpoint"]).is(2).says("/nowhere/checkpoint");
    std::fs::write(shell.at("data/checkpoint"), "quickstart.invalid/countersign\n1\nAAAA\n\n\u{2014} x AAAA\n").unwrap();
    run(&["verify", &data, "--previous", &shell.at("data/checkpoint").display().to_string()]).is(1).says("previous.signature");
}

/// 3: a file, the network or the broker could not be reached. 2: the arguments are wrong.
#[test]
fn what_cannot_be_reached_is_told_from_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    run(&["verify", &at("nothing")]).is(3).says("neither a store");
    std::fs::write(at("token"), "a.b.c\n").unwrap();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for command in [&["approvals", "list"][..], &["audit", "checkpoint"], &["tools", "list", "--json"], &["audit", "show", "x"]] {
        let ended = run(&[command, &["--url", &nobody, "--token-file", &at("token")]].concat()).is(3).says(&nobody);
        assert!(ended.1.is_empty(), "{ended:?}");
        run(&[command, &["--url", &nobody, "--token-file", &at("none")]].concat()).is(2).says("token file");
    }
    run(&["no-such-command"]).is(2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    run(&["quickstart", "--listen", &listen, "--data", &at("data")]).is(3).says("failed to listen");
    run(&["quickstart", "--listen", &listen, "--data", "/proc/nothing"]).is(3).says("/proc/nothing");
}

#[test]
fn check_lists_problems_for_machines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("countersign.toml");
    let check = |path: &Path| run(&["check", "--json", "--config", &path.display().to_string()]);
    std::fs::write(&path, "[server]\nlisten = \"nowhere\"\n").unwrap();
    let report = check(&path).is(1).json();
    assert_eq!((&report["ok"], &report["problems"][0]["line"]), (&json!(false), &json!(2)), "{report}");
    assert!(report["problems"][0]["file"].as_str().unwrap().ends_with("countersign.toml") && report["problems"][0]["message"].is_string());
    let report = check(Path::new("/nowhere/countersign.toml")).is(1).json();
    assert_eq!(report["problems"].as_array().unwrap().len(), 1, "{report}");
}
