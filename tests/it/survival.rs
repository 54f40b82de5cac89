//! What survives: kill -9 at random points, tampering with every part of the store, a second broker, a lost half.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::{Process, free_port};
use crate::harness::{World, modern};

async fn call(http: &reqwest::Client, base: &str, token: &str, tool: &str, arguments: Value) -> Option<Value> {
    let request = http
        .post(format!("{base}/mcp"))
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28");
    let request = request
        .header("mcp-method", "tools/call")
        .header("mcp-name", tool)
        .json(&modern("tools/call", json!({"name": tool, "arguments": arguments})));
    let answer: Value = request.send().await.ok()?.json().await.ok()?;
    Some(answer["result"]["structuredContent"].clone())
}

/// A small generator, so that a round is replayed by its seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Rounds of kill -9 under load: no call was executed without its intent, none twice, and what was open is closed as unresolved.
#[tokio::test]
async fn kill_at_random_points() {
    let rounds: u64 = std::env::var("COUNTERSIGN_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let seed: u64 = std::env::var("COUNTERSIGN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("COUNTERSIGN_SEED={seed} COUNTERSIGN_ROUNDS={rounds}");
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let mut state = seed;
    let port = free_port();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let mut next_id = 100_000;
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let process = Process::start(dir.path(), port);
        let token = std::fs::read_to_string(dir.path().join("agent.token")).unwrap().trim().to_owned();
        let approver = std::fs::read_to_string(dir.path().join("approver.token")).unwrap().trim().to_owned();
        let kill_after = Duration::from_millis(100 + next(&mut state) % 900);
        let (base, client) = (process.base.clone(), http.clone());
        let first = next_id;
        next_id += 10_000;
        let reads = {
            let (base, token, http) = (base.clone(), token.clone(), http.clone());
            tokio::spawn(async move {
                while call(&http, &base, &token, "db_query", json!({"target": "shop", "sql": "SELECT count(*) FROM orders"}))
                    .await
                    .is_some()
                {}
            })
        };
        let writes = tokio::spawn(async move {
            let mut done = Vec::new();
            for id in first.. {
                let arguments = json!({"target": "shop", "sql": format!("INSERT INTO orders VALUES ({id}, 1, 'open', 0, 'now')")});
                let approve = async {
                    loop {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        let Ok(pending) = client.get(format!("{base}/approvals")).bearer_auth(&approver).send().await else { return };
                        let Ok(pending) = pending.json::<Value>().await else { return };
                        for approval in pending["approvals"].as_array().into_iter().flatten() {
                            let url = format!("{base}/approvals/{}/decision", approval["approval_id"].as_str().unwrap());
                            if client.post(url).bearer_auth(&approver).json(&json!({"decision": "approve"})).send().await.is_err() {
                                return;
                            }
                        }
                    }
                };
                let answer = tokio::select! {
                    answer = call(&client, &base, &token, "db_execute", arguments) => answer,
                    () = approve => None,
                };
                match answer {
                    Some(answer) if answer["status"] == "ok" => done.push(id),
                    _ => break,
                }
            }
            done
        });
        tokio::time::sleep(kill_after).await;
        process.kill();
        acknowledged.extend(writes.await.unwrap());
        reads.await.unwrap();
        println!("round {round}: killed after {kill_after:?}, {} writes acknowledged so far", acknowledged.len());
    }
    let last = Process::start(dir.path(), port);
    let http_token = std::fs::read_to_string(dir.path().join("approver.token")).unwrap();
    let entries: Value = http
        .get(format!("{}/audit/entries?limit=500&kind=exec.unresolved", last.base))
        .bearer_auth(http_token.trim())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    println!("unresolved: {}", entries["entries"].as_array().unwrap().len());
    last.kill();
    let report = countersign::ledger::verify::verify(dir.path(), &Default::default()).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.open_calls, 0, "what was open is closed at the next start");
    let shop = rusqlite::Connection::open(dir.path().join("shop.db")).unwrap();
    let stored: Vec<i64> = shop
        .prepare("SELECT id FROM orders WHERE id >= 100000 ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for id in &acknowledged {
        assert!(stored.contains(id), "the acknowledged write {id} is lost");
    }
    // Whatever reached the target had a durable intent: as many admitted db_execute calls, previews left out, as there are rows, or more.
    let log = rusqlite::Connection::open(dir.path().join("log.db")).unwrap();
    let admitted: i64 = log
        .query_row("SELECT count(*) FROM entry WHERE json_extract(leaf, '$.t') = 'call.admitted' AND json_extract(leaf, '$.policy.decision') = 'approved'", [], |row| row.get(0))
        .unwrap();
    assert!(usize::try_from(admitted).unwrap() >= stored.len(), "{admitted} intents, {} rows", stored.len());
}

/// A data folder with some history, and a checkpoint from its middle.
async fn history() -> (tempfile::TempDir, String) {
    let mut world = World::new().await;
    for id in 1..6 {
        world.agent().query("shop", &format!("SELECT {id}")).await;
    }
    let previous = reqwest::Client::new()
        .get(format!("{}/audit/checkpoint", world.base))
        .bearer_auth(world.approver().token)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for id in 1..6 {
        world.agent().query("shop", &format!("SELECT {id} + 1")).await;
    }
    world.stop().await;
    let dir = tempfile::tempdir().unwrap();
    copy(&world.data(), dir.path());
    (dir, previous)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            let _bytes = std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn tampered(dir: &Path, sql: &str, previous: Option<&str>) -> countersign::ledger::verify::Report {
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    let database = rusqlite::Connection::open(copied.path().join("log.db")).unwrap();
    database.execute_batch("DROP TRIGGER entry_no_update; DROP TRIGGER entry_no_delete; DROP TRIGGER checkpoint_no_update; DROP TRIGGER checkpoint_no_delete;").unwrap();
    database.execute_batch(sql).unwrap();
    drop(database);
    let demands = countersign::ledger::verify::Demands { key: None, previous: previous.map(ToOwned::to_owned) };
    let report = countersign::ledger::verify::verify(copied.path(), &demands).unwrap();
    // A broker does not start on it either, where the log itself was touched.
    if !report.ok && !sql.contains("payload") && !sql.contains("UPDATE checkpoint") && previous.is_none() {
        let settings = countersign::ledger::Settings { dir: copied.path().to_owned(), origin: "test.invalid/log".to_owned() };
        assert!(countersign::ledger::Ledger::open(settings, countersign::clock::Clock::system()).is_err(), "{sql}");
    }
    report
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_and_placed() {
    let (dir, previous) = history().await;
    let untouched = tampered(dir.path(), "SELECT 1", Some(&previous));
    assert!(untouched.ok && untouched.previous.is_some(), "{untouched:#?}");
    for (what, sql, index) in [
        ("a flipped byte", "UPDATE entry SET leaf = replace(leaf, 'call.admitted', 'call.admittee') WHERE idx = 6", Some(6)),
        ("a deleted row", "DELETE FROM entry WHERE idx = 6", Some(6)),
        (
            "two rows reordered",
            "UPDATE entry SET idx = -1 WHERE idx = 6; UPDATE entry SET idx = 6 WHERE idx = 7; UPDATE entry SET idx = 7 WHERE idx = -1",
            Some(6),
        ),
        (
            "a duplicated row",
            "INSERT INTO entry SELECT (SELECT max(idx) + 1 FROM entry), id || 'x', hash, leaf FROM entry WHERE idx = 6",
            None,
        ),
        (
            "a forged row at the end",
            "INSERT INTO entry SELECT (SELECT max(idx) + 1 FROM entry), 'forged', hash, replace(leaf, 'db_query', 'db_nothing') FROM entry WHERE idx = 6",
            None,
        ),
        ("a leaf and its hash", "UPDATE entry SET hash = zeroblob(32) WHERE idx = 6", Some(6)),
        (
            "two payloads swapped",
            "UPDATE payload_chunk SET commitment = 'x' WHERE commitment = (SELECT commitment FROM payload_chunk ORDER BY rowid LIMIT 1 OFFSET 3); UPDATE payload_chunk SET commitment = (SELECT commitment FROM payload_key WHERE commitment NOT IN (SELECT commitment FROM payload_chunk)) WHERE rowid = (SELECT max(rowid) FROM payload_chunk)",
            Some(0),
        ),
        ("a payload altered", "UPDATE payload_chunk SET ciphertext = zeroblob(40) WHERE rowid = 5", Some(0)),
        ("a payload dropped without an erasure", "DELETE FROM payload_key WHERE rowid = 5", Some(0)),
        ("a forged head", "UPDATE head SET note = replace(note, 'test.invalid', 'evil.invalid')", None),
        ("a forged checkpoint", "UPDATE checkpoint SET note = replace(note, char(10), char(10) || 'x')", None),
    ] {
        let report = tampered(dir.path(), sql, None);
        assert!(!report.ok, "{what} went unnoticed");
        match index {
            // Payload problems name the leaf that commits to them; which that is depends on the run.
            Some(0) => assert!(
                report.problems.iter().any(|problem| problem.index.is_some() && problem.code.starts_with("payload.")),
                "{what}: {report:#?}"
            ),
            Some(index) => assert_eq!(report.problems[0].index, Some(index), "{what}: {report:#?}"),
            None => {}
        }
    }
    // A tail cut off with its older head: only an earlier checkpoint shows it.
    let size: u64 = previous.lines().nth(1).unwrap().parse().unwrap();
    let cut = format!(
        "DELETE FROM entry WHERE idx >= {}; UPDATE head SET note = (SELECT note FROM checkpoint ORDER BY size LIMIT 1), size = (SELECT size FROM checkpoint ORDER BY size LIMIT 1); DELETE FROM entry WHERE idx >= (SELECT size FROM head); DELETE FROM checkpoint WHERE size > (SELECT size FROM head)",
        size - 1
    );
    let report = tampered(dir.path(), &cut, Some(&previous));
    assert!(report.problems.iter().any(|problem| problem.code == "log.truncated"), "{report:#?}");
}

#[tokio::test]
async fn a_second_broker_and_a_lost_half_are_refused() {
    let world = World::new().await;
    let open = || {
        countersign::ledger::Ledger::open(
            countersign::ledger::Settings { dir: world.data(), origin: "test.invalid/log".to_owned() },
            countersign::clock::Clock::system(),
        )
    };
    assert!(matches!(open(), Err(countersign::ledger::OpenError::Locked(_))));
    let (dir, _) = history().await;
    for lost in ["log.db", "keys/log.key", "keys/payload.key"] {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        std::fs::remove_file(copied.path().join(lost)).unwrap();
        let settings = countersign::ledger::Settings { dir: copied.path().to_owned(), origin: "test.invalid/log".to_owned() };
        assert!(
            matches!(
                countersign::ledger::Ledger::open(settings, countersign::clock::Clock::system()),
                Err(countersign::ledger::OpenError::Damaged(_))
            ),
            "{lost}"
        );
    }
}
