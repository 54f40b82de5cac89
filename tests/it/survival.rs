//! What verifies: tampering with every part of the store is found and placed; a second broker and a lost half are refused.

use std::path::{Path, PathBuf};

use crate::harness::World;

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
        (
            "a torn last row",
            "DROP INDEX entry_call; DROP INDEX entry_agent; DROP INDEX entry_human; DROP INDEX entry_appr; UPDATE entry SET leaf = substr(leaf, 1, 20) WHERE idx = (SELECT max(idx) FROM entry)",
            None,
        ),
        (
            "a last row that is no text",
            "DROP INDEX entry_call; DROP INDEX entry_agent; DROP INDEX entry_human; DROP INDEX entry_appr; UPDATE entry SET leaf = CAST(x'ff00fe' AS TEXT) WHERE idx = (SELECT max(idx) FROM entry)",
            None,
        ),
        (
            "a huge last row",
            "UPDATE entry SET leaf = replace(leaf, '\"v\":1', '\"v\":1,\"x\":\"' || hex(zeroblob(20000)) || '\"') WHERE idx = (SELECT max(idx) FROM entry)",
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
    // The log is on from the first moment: there is no switch (attack 123).
    assert!(world.verify().size >= 2);
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

#[tokio::test]
async fn an_exported_log_verifies_and_shows_what_was_done_to_it() {
    let mut world = World::new().await;
    for id in 1..6 {
        world.agent().query("shop", &format!("SELECT {id}")).await;
    }
    let folder = world.dir.path().join("exported");
    let token = world.dir.path().join("token");
    let export = |who: String| {
        std::fs::write(&token, who).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["audit", "export", "--url", &world.base, "--token-file"]).arg(&token).arg(&folder);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    // The whole log is not for everybody.
    let refused = export(world.human("alice", &["support"]).token).await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("policy.denied"), "{refused:?}");
    std::fs::remove_dir_all(&folder).unwrap();
    let written = export(world.approver().token).await.unwrap();
    assert!(written.status.success(), "{written:?}");
    world.stop().await;
    let verify = |change: &dyn Fn(&mut Vec<String>)| {
        let copied = tempfile::tempdir().unwrap();
        copy(&folder, copied.path());
        let path = copied.path().join("leaves.jsonl");
        let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(ToOwned::to_owned).collect();
        change(&mut lines);
        std::fs::write(&path, lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>()).unwrap();
        countersign::ledger::verify::verify(copied.path(), &Default::default()).unwrap()
    };
    let whole = verify(&|_| {});
    assert!(whole.ok && whole.size > 10 && whole.payloads_unchecked > 0, "{whole:#?}");
    let altered = verify(&|lines| lines[7] = lines[7].replacen("\"run\"", "\"ran\"", 1).replacen("\"t\":\"", "\"t\":\"x", 1));
    assert!(!altered.ok);
    assert!(!verify(&|lines| drop(lines.remove(5))).ok);
    assert!(!verify(&|lines| lines.swap(5, 6)).ok);
    assert!(!verify(&|lines| lines.insert(5, lines[5].clone())).ok);
    assert!(!verify(&|lines| drop(lines.pop())).ok);
}
