//! The quickstart as a process: what it leaves on the disk, for whom, and that a second start goes on with it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::process::{Process, free_port};
use crate::harness::{Agent, Human, code};

/// Starts it where new files are readable by everybody unless the program says otherwise.
fn start(data: &Path, port: u16, more: &[&str]) -> Process {
    let mut command = Command::new("bash");
    command.args(["-c", "umask 0; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_countersign")]);
    command.args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data).args(more);
    Process::ready(command, port)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn agent(broker: &Process, token: &str) -> Agent {
    Agent { base: broker.base.clone(), token: token.to_owned(), http: reqwest::Client::new(), headers: Default::default() }
}

fn human(broker: &Process, token: &str) -> Human {
    Human { base: broker.base.clone(), token: token.to_owned(), http: reqwest::Client::new() }
}

#[tokio::test]
async fn what_it_leaves_is_for_its_owner_alone_and_each_token_for_one_door() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let (data, port) = (dir.path().join("data"), free_port());
    let broker = start(&data, port, &[]);
    let (for_agent, for_approver) = (read(&data.join("agent.token")), read(&data.join("approver.token")));
    assert_eq!(agent(&broker, &for_agent).query("shop", "SELECT 1").await["status"], "ok");
    for folder in ["", "keys"] {
        assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
    }
    let files = ["agent.token", "approver.token", "log.db", "log.db-wal", "log.db-shm", "lock", "shop.db", "issuer/issuer.key"];
    let keys = ["keys/log.key", "keys/digest.key", "keys/pseudonym.key", "keys/payload.key"];
    for file in files.into_iter().chain(keys) {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    for (token, door, client, actor) in
        [(&for_agent, "mcp", "quickstart", json!("demo-agent")), (&for_approver, "inbox", "countersign-cli", Value::Null)]
    {
        let claims = claims(token);
        assert_eq!(claims["aud"], format!("{}/{door}", broker.base));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7 * 24 * 3_600, "good for seven days");
        assert_eq!((&claims["client_id"], &claims["act"]["sub"]), (&json!(client), &actor));
    }
    // Neither opens the other's door.
    let (status, refused) = human(&broker, &for_agent).get("/approvals").await;
    assert_eq!((status, code(&refused)), (401, "identity.invalid_token"), "{refused}");
    assert_eq!(agent(&broker, &for_approver).raw("whoami", json!({})).await.status(), 401);
    assert_eq!(human(&broker, &for_approver).get("/approvals").await.0, 200);
    // A second broker on the same data refuses to start, wherever it would listen, and leaves the first one's tokens alone.
    for (port, why) in [(port, "failed to listen"), (free_port(), "another broker")] {
        let mut other = Command::new(env!("CARGO_BIN_EXE_countersign"));
        let ended = other.args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(&data).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(why), "{said}");
        assert_eq!([read(&data.join("agent.token")), read(&data.join("approver.token"))], [for_agent.clone(), for_approver.clone()]);
    }
    broker.kill();
}

#[tokio::test]
async fn a_second_start_goes_on_with_the_data_and_mints_anew_what_is_older_than_a_day() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let (data, port) = (dir.path().join("data"), free_port());
    let tokens = || ["agent.token", "approver.token"].map(|name| read(&data.join(name)));
    let broker = start(&data, port, &[]);
    let first = tokens();
    let called = agent(&broker, &first[0]).query("shop", "SELECT 1").await["call_id"].as_str().unwrap().to_owned();
    broker.kill();
    let shop = rusqlite::Connection::open(data.join("shop.db")).unwrap();
    assert_eq!(shop.execute("UPDATE orders SET total_cents = 4711 WHERE id = 1", []).unwrap(), 1);
    drop(shop);

    let broker = start(&data, port, &[]);
    assert_eq!(tokens(), first, "fresh ones are kept");
    assert_eq!(human(&broker, &first[1]).get(&format!("/audit/calls/{called}")).await.0, 200, "the trail goes on");
    let kept = agent(&broker, &first[0]).query("shop", "SELECT total_cents FROM orders WHERE id = 1").await;
    assert_eq!(kept["result"]["rows"], json!([[4711]]), "the shop is the same: {kept}");
    broker.kill();

    for (hours, anew) in [(23, false), (25, true)] {
        let file = std::fs::File::options().append(true).open(data.join("agent.token")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3_600)).unwrap();
        let broker = start(&data, port, &[]);
        let now = tokens();
        assert_eq!([now[0] != first[0], now[1] != first[1]], [anew, anew], "after {hours} hours");
        assert_eq!(mode(&data.join("agent.token")), 0o600);
        assert_eq!(agent(&broker, &now[0]).query("shop", "SELECT 1").await["status"], "ok");
        assert_eq!(human(&broker, &now[1]).get("/approvals").await.0, 200);
        broker.kill();
    }
    assert!(countersign::ledger::verify::verify(&data, &Default::default()).unwrap().ok);
}

#[test]
fn the_approvers_token_goes_where_it_is_wanted_and_the_words_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (data, elsewhere, port) = (dir.path().join("data"), dir.path().join("bob.token"), free_port());
    let broker = start(&data, port, &["--approver-token", elsewhere.to_str().unwrap()]);
    assert!(!data.join("approver.token").exists());
    assert_eq!(mode(&elsewhere), 0o600);
    assert_eq!(claims(&read(&elsewhere))["sub"], "bob");
    broker.kill();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut said = Vec::new();
    for line in lines.map_while(Result::ok) {
        let is_last = line.starts_with("ready ");
        said.push(line);
        if is_last {
            break;
        }
    }
    // Interrupted, it drains and ends well.
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("bash").args(["-c", &interrupt]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let text = said.join("\n");
    assert!(text.contains("as your own OS user could read") && text.contains("--approver-token PATH"), "{text}");
    for word in ["claude mcp add", "codex mcp add", "inspector", "approvals approve", "audit list", "countersign verify"] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
    assert_eq!(said.last().unwrap(), &format!("ready http://127.0.0.1:{port}/mcp"));
}
