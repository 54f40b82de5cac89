//! Every code is reached by some test, and the rarer ways to say no are reached here: a policy that errs, a store that cannot write, limits.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::refusal::Code;
use serde_json::json;

use crate::harness::{POLICY, Wish, World, code};

fn sources(dir: &Path, found: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let in_tests = path.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")) || path.ends_with("tests.rs");
            let tests = if in_tests { text.as_str() } else { text.split("#[cfg(test)]\nmod tests {").nth(1).unwrap_or_default() };
            found.push_str(tests);
        }
    }
}

#[test]
fn each_code_is_named_by_a_test() {
    let mut tests = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"), &mut tests);
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut tests);
    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| !tests.contains(&format!("\"{}\"", code.as_str())) && !tests.contains(&format!("Code::{code:?}")))
        .map(|code| code.as_str())
        .collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}

/// What the broker logs in this process, from now on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let builder = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        builder.with_writer(move || writer.clone()).try_init().unwrap();
        log
    }

    fn lines_with(&self, word: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(word)).map(ToOwned::to_owned).collect()
    }
}

/// Risk and this overflow: the policy errs wherever it is looked at.
const OVERFLOW: &str = "context.risk + 9223372036854775807 > 0";

#[tokio::test]
async fn a_policy_that_errs_denies_even_where_another_permits_and_the_operator_hears_of_it() {
    let log = Log::start();
    let broken = format!(
        "@id(\"broken.invoke\") forbid (principal, action == Action::\"invoke\", resource) when {{ {OVERFLOW} }};\n\
         @id(\"broken.approve\") forbid (principal, action == Action::\"approve\", resource) when {{ {OVERFLOW} }};"
    );
    let world = World::with(Wish { policies: format!("{POLICY}\n{broken}"), ..Wish::default() }).await;
    // Nothing can be told of a tool whose policies err, not even that it is there.
    let answer = world.agent().query("shop", "SELECT 1").await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let refused = world.approver().trail("&kind=call.refused").await;
    assert_eq!(refused[0]["leaf"]["policy"]["decision"], "error", "{refused:?}");
    let said = log.lines_with(refused[0]["leaf"]["call"].as_str().unwrap());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("policy.failed") && said[0].contains("broken.invoke") && said[0].contains("overflow"), "{said:?}");
    assert_eq!(world.agent().tools().await["tools"], json!([]));
    assert!(log.lines_with("the tool is hidden").iter().all(|line| line.contains("broken.invoke")));
    assert!(!log.lines_with("the tool is hidden").is_empty());
    world.verify();
}

#[tokio::test]
async fn a_policy_that_errs_on_one_table_fails_the_calls_that_touch_it() {
    let broken = format!(
        "@id(\"broken\") forbid (principal, action == Action::\"invoke\", resource == Table::\"shop/main/orders\") when {{ {OVERFLOW} }};\n\
         @id(\"deciding\") forbid (principal, action == Action::\"approve\", resource) when {{ {OVERFLOW} }};"
    );
    let world = World::with(Wish { policies: format!("{POLICY}\n{broken}"), hold: Duration::ZERO, ..Wish::default() }).await;
    let agent = world.agent();
    assert_eq!(agent.query("shop", "SELECT id FROM customers").await["status"], "ok");
    let answer = agent.query("shop", "SELECT id FROM orders").await;
    assert_eq!(code(&answer), "policy.failed", "{answer}");
    assert!(!answer.to_string().contains("overflow"), "the cause is the operator's: {answer}");
    // The same of a policy that says who decides.
    let asked = agent.execute("shop", "UPDATE customers SET tier = 'basic' WHERE id = 1").await;
    let id = asked["approval"]["id"].as_str().unwrap_or_else(|| panic!("{asked}"));
    let (status, refused) = world.approver().decide(id, json!({"decision": "approve"})).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (403, Some("policy.failed")));
    world.verify();
}

#[tokio::test]
async fn one_approval_serves_one_of_two_callers_who_wait_for_it() {
    let world = World::with(Wish { hold: Duration::from_secs(20), ..Wish::default() }).await;
    let sql = "UPDATE orders SET status = 'refunded' WHERE id = 1300";
    let call = || {
        let agent = world.agent();
        tokio::spawn(async move { agent.execute("shop", sql).await })
    };
    let first = call();
    while world.approver().pending().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The second finds the request of the first, and waits for it too.
    let calls = [first, call()];
    tokio::time::sleep(Duration::from_millis(500)).await;
    let id = world.approver().pending().await[0]["approval_id"].as_str().unwrap().to_owned();
    assert_eq!(world.approver().decide(&id, json!({"decision": "approve"})).await.0, 200);
    let answers: Vec<_> = futures::future::join_all(calls).await.into_iter().map(Result::unwrap).collect();
    let mut told: Vec<&str> = answers.iter().map(|answer| if answer["status"] == "ok" { "ok" } else { code(answer) }).collect();
    told.sort_unstable();
    assert_eq!(told, ["approval.spent", "ok"], "{answers:?}");
    let admitted = world.approver().trail("&kind=call.admitted&tool=db_execute").await;
    assert_eq!(admitted.iter().filter(|entry| entry["leaf"]["policy"]["decision"] == "approved").count(), 1, "{admitted:?}");
    world.verify();
}

#[tokio::test]
async fn what_cannot_be_previewed_is_not_asked_and_what_is_not_there_is_not_reached() {
    let missing = |dir: &Path| {
        crate::harness::target(
            "gone",
            countersign::connector::Endpoint::Sqlite { path: dir.join("gone.db") },
            countersign::credential::Access::File,
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let policies = POLICY.replace("resource in Target::\"shop\"", "resource");
    let world = World::with(Wish { policies, targets: vec![missing(folder.path())], ..Wish::default() }).await;
    let agent = world.agent();
    let answer = agent.execute("shop", "UPDATE nowhere SET status = 'paid' WHERE id = 1").await;
    assert_eq!(code(&answer), "approval.preview_failed", "{answer}");
    assert!(world.approver().pending().await.is_empty());
    let answer = agent.query("gone", "SELECT 1").await;
    assert_eq!(code(&answer), "target.unreachable", "{answer}");
    assert!(!answer.to_string().contains("gone.db"), "{answer}");
    world.verify();
}

#[tokio::test]
async fn a_ledger_that_cannot_write_stops_everything() {
    let world = World::new().await;
    let agent = world.agent();
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok");
    let before: i64 = count(&world);
    // Somebody else holds the store: the committer cannot record, and what cannot be recorded is not done.
    let holder = rusqlite::Connection::open(world.data().join("log.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let answer = agent.query("shop", "SELECT 1").await;
    assert_eq!(answer["error"]["data"]["code"], "ledger.unavailable", "{answer}");
    holder.execute_batch("ROLLBACK").unwrap();
    // It stays shut: only a new start reads from the disk what is true.
    let answer = agent.execute("shop", "UPDATE orders SET status = 'paid' WHERE id = 1").await;
    assert_eq!(answer["error"]["data"]["code"], "ledger.unavailable", "{answer}");
    let id = format!("apr_{}", "0".repeat(32));
    let (status, refused) = world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (503, Some("ledger.unavailable")), "an attempt leaves a record, or no answer");
    assert_eq!(count(&world), before, "nothing was recorded, so nothing was done");
    world.verify();
}

fn count(world: &World) -> i64 {
    rusqlite::Connection::open(world.data().join("log.db")).unwrap().query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_result_that_outgrows_every_limit_is_cut_or_withheld() {
    let world = World::new().await;
    let wide = "SELECT id, replace(city, 'o', 'alice@example.com bob@example.com ') FROM customers";
    let answer = world.agent().call("db_query", json!({"target": "shop", "sql": wide, "max_bytes": 1024, "max_rows": 5000})).await;
    assert_eq!(answer["result"]["truncated"], true, "{answer}");
    assert!(!answer.to_string().contains("example.com"));
    let nested = format!("SELECT {}1{}", "(".repeat(60), ")".repeat(60));
    assert_eq!(code(&world.agent().query("shop", &nested).await), "operation.too_complex");
    let hundred = "a".repeat(100);
    let one_value = format!("SELECT replace('{hundred}', 'a', '{hundred}') AS x");
    let answer = world.agent().call("db_query", json!({"target": "shop", "sql": one_value, "max_bytes": 1024})).await;
    assert_eq!(code(&answer), "mask.result_too_large", "{answer}");
    // Labels are longer than what they stand for: what grows too much is cut, and says so.
    let narrow: Vec<String> = (0..60).map(|n| format!("substr(ssn, 1, 1) AS c{n}")).collect();
    let narrow = format!("SELECT {} FROM customers, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)", narrow.join(", "));
    let answer = world.agent().call("db_query", json!({"target": "shop", "sql": narrow, "max_bytes": 100_000, "max_rows": 5000})).await;
    let rows = answer["result"]["row_count"].as_u64().unwrap();
    let said = answer.to_string().len();
    assert!(rows > 100 && answer["result"]["truncated"] == true && (400_000..500_000).contains(&said), "{rows} rows, {said} bytes");
    world.verify();
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_stopped_and_recorded() {
    let world = World::with(Wish { timeout: Duration::from_millis(600), ..Wish::default() }).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let answer = world.agent().query("shop", endless).await;
    assert_eq!(code(&answer), "server.timeout", "{answer}");
    let mut stopped = Vec::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stopped = world.approver().trail("&status=cancelled").await;
        if !stopped.is_empty() {
            break;
        }
    }
    assert_eq!(stopped.len(), 1);
    world.verify();
}

/// What takes longer than five seconds is streamed; it keeps its place and its deadline all the same.
#[tokio::test]
async fn a_streamed_call_keeps_its_place_and_its_deadline() {
    let world =
        World::with(Wish { timeout: Duration::from_secs(7), concurrency: 1, hold: Duration::from_secs(60), ..Wish::default() }).await;
    let agent = world.agent();
    let began = std::time::Instant::now();
    let waits = agent.raw("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = 4"})).await;
    assert_eq!(waits.headers()["content-type"], "text/event-stream");
    let other = agent.query("shop", "SELECT 1").await;
    assert_eq!(code(&other), "server.overloaded", "{other}");
    let text = waits.text().await.unwrap_or_default();
    assert!(!text.contains("data:") && began.elapsed() < Duration::from_secs(12), "{text}");
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok", "the place is free again");
    world.verify();
}

#[tokio::test]
async fn a_locked_target_is_busy_and_a_busy_broker_says_so() {
    let world = World::with(Wish { hold: Duration::ZERO, ..Wish::default() }).await;
    let agent = world.agent();
    let sql = "UPDATE orders SET status = 'paid' WHERE id = 3";
    let pending = agent.execute("shop", sql).await;
    world.approver().decide(pending["approval"]["id"].as_str().unwrap(), json!({"decision": "approve"})).await;
    let holder = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = agent.execute("shop", sql).await;
    assert_eq!(code(&answer), "target.busy", "{answer}");
    world.verify();
}
