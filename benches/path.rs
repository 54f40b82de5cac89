//! What the path of a call costs: the same query through the broker (HTTP, identity, policy, two durable leaves, masks) and on the bare driver.
//!
//! Figures are ratios to the reference of the same run: absolute times say more about the machine than about the code.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

const QUERY: &str = "SELECT id, status, total_cents FROM orders WHERE customer_id = 7";
const FOR: Duration = Duration::from_secs(4);

fn report(name: &str, mut times: Vec<Duration>, took: Duration, reference: Option<f64>) -> f64 {
    times.sort();
    let p50 = times[times.len() / 2];
    let rate = times.len() as f64 / took.as_secs_f64();
    let share = reference.map_or_else(String::new, |reference| format!("{:>8.3} of the reference", rate / reference));
    println!("{name:<44} {rate:>9.0} calls/s   p50 {:>8.0} us {share}", p50.as_secs_f64() * 1e6);
    rate
}

/// The reference: open connection, prepared statement, one thread.
fn bare(path: &std::path::Path) -> f64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < FOR / 2 {
        let at = Instant::now();
        let mut statement = connection.prepare_cached(QUERY).unwrap();
        let rows: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(!rows.is_empty());
        times.push(at.elapsed());
    }
    report("the query on the bare driver", times, began.elapsed(), None)
}

/// One fdatasync of 4 KiB: a call waits for two.
fn sync(dir: &std::path::Path) -> f64 {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::create(dir.join("sync")).unwrap();
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < FOR / 2 {
        let at = Instant::now();
        file.rewind().unwrap();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(at.elapsed());
    }
    report("one fdatasync of 4 KiB", times, began.elapsed(), None)
}

async fn broker(base: &str, token: &str, connections: usize, tool: &str, arguments: serde_json::Value) -> (Vec<Duration>, Duration) {
    let began = Instant::now();
    let workers = (0..connections).map(|_| {
        let (base, token, tool, arguments) = (base.to_owned(), token.to_owned(), tool.to_owned(), arguments.clone());
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            let mut times = Vec::new();
            while began.elapsed() < FOR {
                let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}});
                let at = Instant::now();
                let request = http.post(format!("{base}/mcp")).bearer_auth(&token).header("accept", "application/json, text/event-stream");
                let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", &tool);
                let answer: serde_json::Value = request.json(&body).send().await.unwrap().json().await.unwrap();
                assert_eq!(answer["result"]["structuredContent"]["status"], "ok", "{answer}");
                times.push(at.elapsed());
            }
            times
        })
    });
    let times = futures::future::join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    (times, began.elapsed())
}

#[tokio::main]
async fn main() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(dir.path())
        .env("COUNTERSIGN_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line.starts_with("ready ")));
    let (base, token) =
        (format!("http://127.0.0.1:{port}"), std::fs::read_to_string(dir.path().join("agent.token")).unwrap().trim().to_owned());
    let reference = bare(&dir.path().join("shop.db"));
    let synced = sync(dir.path());
    for connections in [1, 16] {
        let (times, took) = broker(&base, &token, connections, "db_query", json!({"target": "shop", "sql": QUERY})).await;
        let rate = report(&format!("the query through the broker, {connections} connections"), times, took, Some(reference));
        println!("{:<44} {:>9.3} of one fdatasync a call (each call waits for two, in groups)", "", rate / synced);
    }
    for connections in [1, 16] {
        let (times, took) = broker(&base, &token, connections, "whoami", json!({})).await;
        report(&format!("whoami (the path without a target), {connections} connections"), times, took, Some(reference));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
