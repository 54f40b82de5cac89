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
    // Checkpoints are remembered at most once a second: the next commit brings one between the two halves.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
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

/// A number that the store answers.
fn ask(dir: &Path, sql: &str) -> u64 {
    rusqlite::Connection::open(dir.join("log.db")).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Rewrites a leaf with the hash of its new bytes, as somebody would who knows how the log is made and lacks only its key.
fn rehashed(dir: &Path, index: u64, from: &str, to: &str) -> String {
    let database = rusqlite::Connection::open(dir.join("log.db")).unwrap();
    let leaf: String = database.query_row("SELECT leaf FROM entry WHERE idx = ?1", [index], |row| row.get(0)).unwrap();
    assert!(leaf.contains(from), "{leaf}");
    let leaf = leaf.replace(from, to);
    let hash = hex::encode(countersign::ledger::tree::leaf_hash(leaf.as_bytes()));
    format!("UPDATE entry SET leaf = '{leaf}', hash = x'{hash}' WHERE idx = {index}")
}

const LAST: &str = "(SELECT max(idx) FROM entry)";
const UNINDEXED: &str = "DROP INDEX entry_call; DROP INDEX entry_agent; DROP INDEX entry_human; DROP INDEX entry_appr;";

#[tokio::test]
async fn every_kind_of_tampering_is_found_and_placed() {
    let (dir, previous) = history().await;
    let untouched = tampered(dir.path(), "SELECT 1", Some(&previous));
    assert!(untouched.ok && untouched.previous.is_some(), "{untouched:#?}");
    let size = untouched.size;
    let middle = ask(dir.path(), "SELECT max(size) FROM checkpoint");
    assert!((6..size - 2).contains(&middle), "{middle} of {size}");
    // Leaves after the checkpoint in the middle, the first of them an intent, so that the tree alone cannot say which was changed.
    let intent =
        ask(dir.path(), &format!("SELECT min(idx) FROM entry WHERE idx > {middle} AND json_extract(leaf, '$.t') = 'call.admitted'"));
    // And one before it.
    let early = ask(dir.path(), "SELECT min(idx) FROM entry WHERE idx > 4 AND json_extract(leaf, '$.t') = 'call.admitted'");
    assert!(early + 1 < middle);
    let names = |sql: &str| {
        ask(dir.path(), &format!("SELECT min(idx) FROM entry, json_each(leaf, '$.pay') AS pay WHERE pay.value ->> 'commit' = ({sql})"))
    };
    let payload = "SELECT commitment FROM payload_chunk ORDER BY rowid LIMIT 1 OFFSET";
    for (what, sql, index) in [
        (
            "a flipped byte",
            format!("UPDATE entry SET leaf = replace(leaf, 'call.admitted', 'call.admittee') WHERE idx = {early}"),
            early,
        ),
        ("a deleted row", "DELETE FROM entry WHERE idx = 6".to_owned(), 6),
        (
            "two rows reordered",
            "UPDATE entry SET idx = -1 WHERE idx = 6; UPDATE entry SET idx = 6 WHERE idx = 7; UPDATE entry SET idx = 7 WHERE idx = -1".to_owned(),
            6,
        ),
        ("a duplicated row", format!("INSERT INTO entry SELECT {LAST} + 1, id || 'x', hash, leaf FROM entry WHERE idx = 6"), size),
        (
            "a row inserted in the middle",
            "UPDATE entry SET idx = -idx - 1 WHERE idx >= 6; UPDATE entry SET idx = -idx WHERE idx < 0; INSERT INTO entry SELECT 6, id || 'x', hash, leaf FROM entry WHERE idx = 5".to_owned(),
            6,
        ),
        (
            "a forged row at the end",
            format!("INSERT INTO entry SELECT {LAST} + 1, 'forged', hash, replace(leaf, 'db_query', 'db_nothing') FROM entry WHERE idx = 6"),
            size,
        ),
        ("a torn last row", format!("{UNINDEXED} UPDATE entry SET leaf = substr(leaf, 1, 20) WHERE idx = {LAST}"), size - 1),
        ("a last row that is no text", format!("{UNINDEXED} UPDATE entry SET leaf = CAST(x'ff00fe' AS TEXT) WHERE idx = {LAST}"), size - 1),
        (
            "a huge last row",
            format!("UPDATE entry SET leaf = replace(leaf, '\"v\":1', '\"v\":1,\"x\":\"' || hex(zeroblob(20000)) || '\"') WHERE idx = {LAST}"),
            size - 1,
        ),
        ("the last row cut off", format!("DELETE FROM entry WHERE idx = {LAST}"), size - 1),
        ("a stored hash", "UPDATE entry SET hash = zeroblob(32) WHERE idx = 6".to_owned(), 6),
        ("an intent together with its stored hash", rehashed(dir.path(), intent, "\"db_query\"", "\"db_quarry\""), intent),
        // Nothing follows on an outcome: what is known is the last checkpoint before it.
        ("an outcome together with its stored hash", rehashed(dir.path(), intent + 1, "\"status\":\"ok\"", "\"status\":\"oh\""), middle),
        (
            "two payloads swapped",
            format!("UPDATE payload_chunk SET commitment = 'x' WHERE commitment = ({payload} 3); UPDATE payload_chunk SET commitment = (SELECT commitment FROM payload_key WHERE commitment NOT IN (SELECT commitment FROM payload_chunk)) WHERE rowid = (SELECT max(rowid) FROM payload_chunk)"),
            names(&format!("{payload} 3")),
        ),
        (
            "a payload altered",
            "UPDATE payload_chunk SET ciphertext = zeroblob(40) WHERE rowid = 5".to_owned(),
            names("SELECT commitment FROM payload_chunk WHERE rowid = 5"),
        ),
        (
            "a payload dropped without an erasure",
            "DELETE FROM payload_key WHERE rowid = 5".to_owned(),
            names("SELECT commitment FROM payload_key WHERE rowid = 5"),
        ),
        ("a forged head", "UPDATE head SET note = replace(note, 'test.invalid', 'evil.invalid')".to_owned(), size),
        (
            "a forged checkpoint",
            format!("UPDATE checkpoint SET note = replace(note, char(10), char(10) || 'x') WHERE size = {middle}"),
            middle,
        ),
        ("a checkpoint kept under another size", format!("UPDATE checkpoint SET size = 3 WHERE size = {middle}"), 3),
    ] {
        let report = tampered(dir.path(), &sql, None);
        assert!(!report.ok, "{what} went unnoticed");
        assert_eq!(report.problems[0].index, Some(index), "{what}: {report:#?}");
    }
    // A tail cut off with its older head: only an earlier checkpoint shows it.
    let signed: u64 = previous.lines().nth(1).unwrap().parse().unwrap();
    let cut = "UPDATE head SET note = (SELECT note FROM checkpoint ORDER BY size LIMIT 1), size = (SELECT size FROM checkpoint ORDER BY size LIMIT 1); DELETE FROM entry WHERE idx >= (SELECT size FROM head); DELETE FROM checkpoint WHERE size > (SELECT size FROM head)";
    let kept = ask(dir.path(), "SELECT min(size) FROM checkpoint");
    assert!(kept < signed);
    assert!(tampered(dir.path(), cut, None).ok, "nothing that is left says so");
    let report = tampered(dir.path(), cut, Some(&previous));
    assert_eq!((report.problems[0].code, report.problems[0].index), ("log.truncated", Some(kept)), "{report:#?}");
}

/// Leaves and head come from one moment, however much is recorded while they are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_meanwhile_verifies() {
    let world = World::new().await;
    let agent = world.agent();
    let busy = tokio::spawn(async move {
        for id in 0.. {
            agent.query("shop", &format!("SELECT {id}")).await;
        }
    });
    let data = world.data();
    let sizes = tokio::task::spawn_blocking(move || {
        let verify = |_| {
            let report = countersign::ledger::verify::verify(&data, &Default::default()).unwrap();
            assert!(report.ok, "{report:#?}");
            report.size
        };
        (0..60).map(verify).collect::<Vec<u64>>()
    });
    let sizes = sizes.await.unwrap();
    busy.abort();
    assert!(sizes.last() > sizes.first(), "nothing was recorded meanwhile: {sizes:?}");
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
    let first = |change: &dyn Fn(&mut Vec<String>)| {
        let report = verify(change);
        assert!(!report.ok);
        report.problems[0].index
    };
    let size = usize::try_from(whole.size).unwrap();
    assert_eq!(first(&|lines| lines[5] = lines[5].replace("\"t\":\"", "\"t\":\"x")), Some(5));
    assert_eq!(first(&|lines| drop(lines.remove(5))), Some(5));
    assert_eq!(first(&|lines| lines.swap(5, 6)), Some(5));
    assert_eq!(first(&|lines| lines.insert(5, lines[5].clone())), Some(6));
    assert_eq!(first(&|lines| drop(lines.pop())), Some(whole.size - 1));
    assert_eq!(first(&|lines| lines.truncate(size / 2)), Some(whole.size / 2));
    // Whoever changes the hashes as well still has no key: the checkpoints say between which leaves.
    let hashes = std::fs::read_to_string(folder.join("hashes")).unwrap();
    let checkpoints = std::fs::read_to_string(folder.join("checkpoints.jsonl")).unwrap();
    assert_eq!((hashes.lines().count(), checkpoints.is_empty()), (size, false));
    std::fs::remove_file(folder.join("hashes")).unwrap();
    assert!(verify(&|_| {}).ok, "an older export, without them");
    let report = verify(&|lines| lines[5] = lines[5].replace("\"mono\":", "\"mono\":1"));
    assert!(!report.ok && report.problems[0].index <= Some(5), "{report:#?}");
}
