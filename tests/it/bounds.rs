//! What an approval was given for binds: the call, the rows that were shown, and the target; and what is told when nobody can know how it ended.

use std::time::Duration;

use countersign::credential::Access;
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::harness::cluster::Cluster;
use crate::harness::proxy::Proxy;
use crate::harness::{Agent, POLICY, Wish, World, code, shop, target};
use crate::postgres::world_under;

/// Asks, approves, and gives the id of the approval.
async fn approved(world: &World, agent: &Agent, arguments: &Value) -> String {
    let pending = agent.call("db_execute", arguments.clone()).await;
    assert_eq!(pending["status"], "approval_pending", "{pending}");
    let id = pending["approval"]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.approver().decide(&id, json!({"decision": "approve"})).await.0, 200);
    id
}

#[tokio::test]
async fn a_change_on_sqlite_is_bounded_by_what_was_shown_and_expected() {
    let world = World::new().await;
    let agent = world.agent();
    let file = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    let count = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    // It grows between what was shown and the change.
    let call = json!({"target": "shop", "sql": "UPDATE orders SET status = 'refunded' WHERE total_cents = 7"});
    let id = approved(&world, &agent, &call).await;
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!((shown["max_rows"].as_u64(), shown["preview"]["would_touch_rows"].as_u64()), (Some(0), Some(0)), "{shown}");
    file.execute_batch("UPDATE orders SET total_cents = 7, status = 'open' WHERE id IN (1, 2)").unwrap();
    let refused = agent.call("db_execute", call).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    assert_eq!(count("SELECT count(*) FROM orders WHERE total_cents = 7 AND status = 'refunded'"), 0, "rolled back");
    // With RETURNING as without.
    let call = json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE total_cents = 8 RETURNING id"});
    approved(&world, &agent, &call).await;
    file.execute_batch("UPDATE orders SET total_cents = 8, status = 'open' WHERE id = 3").unwrap();
    let refused = agent.call("db_execute", call).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    assert!(refused.get("result").is_none(), "{refused}");
    assert_eq!(count("SELECT count(*) FROM orders WHERE id = 3 AND status = 'paid'"), 0);
    // More than the caller expects.
    for (expected, done) in [(2, false), (3, true)] {
        let call = json!({"target": "shop", "sql": "UPDATE products SET stock = 999 WHERE id IN (1, 2, 3)", "expect_max_rows": expected});
        approved(&world, &agent, &call).await;
        let answer = agent.call("db_execute", call).await;
        assert_eq!(answer["status"] == "ok", done, "{answer}");
        assert!(done || code(&answer) == "target.too_many_rows", "{answer}");
        assert_eq!(count("SELECT count(*) FROM products WHERE stock = 999"), if done { 3 } else { 0 });
    }
    world.verify();
}

#[tokio::test]
async fn a_preview_shows_at_most_five_rows_masked() {
    let world = World::new().await;
    let agent = world.agent();
    let pending = agent.execute("shop", "UPDATE customers SET tier = 'plus' WHERE id < 21").await;
    let id = pending["approval"]["id"].as_str().unwrap().to_owned();
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    let preview = &shown["preview"];
    assert_eq!((preview["would_touch_rows"].as_u64(), preview["rows"].as_array().map(Vec::len)), (Some(20), Some(5)), "{shown}");
    for row in preview["rows"].as_array().unwrap() {
        assert_eq!(row[1], "[redacted:column]", "{row}");
        assert!(row[2].as_str().unwrap().contains("***") && row[4] == "[redacted:ssn]", "{row}");
    }
    assert!(!shown.to_string().contains("@example") && !pending.to_string().contains("@example"), "{shown}");
    world.verify();
}

/// Attacks 90 and 91: whatever differs is another call, and needs a human of its own.
#[tokio::test]
async fn another_target_other_parameters_another_bound_are_other_calls() {
    let policies = POLICY.replace("resource in Target::\"shop\"", "resource");
    let other = tempfile::tempdir().unwrap();
    let mut second = shop(other.path());
    second.settings.name = "second".to_owned();
    let world = World::with(Wish { policies, targets: vec![second], ..Wish::default() }).await;
    let agent = world.agent();
    let call = json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = ?1", "params": [1], "expect_max_rows": 1});
    let id = approved(&world, &agent, &call).await;
    for (member, value) in [
        ("target", json!("second")),
        ("params", json!([2])),
        ("params", json!(["1"])),
        ("expect_max_rows", json!(2)),
        ("expect_max_rows", Value::Null),
        ("sql", json!("UPDATE orders SET status = 'paid' WHERE id = ?1 OR id = 2")),
    ] {
        let mut changed = call.clone();
        match value {
            Value::Null => drop(changed.as_object_mut().unwrap().remove(member)),
            value => changed[member] = value,
        }
        let answer = agent.call("db_execute", changed.clone()).await;
        assert_eq!(answer["status"], "approval_pending", "{changed}: {answer}");
        assert_ne!(answer["approval"]["id"], json!(id), "{changed}");
    }
    // The approved one still is what it was, once.
    assert_eq!(agent.call("db_execute", call.clone()).await["status"], "ok");
    assert_eq!(agent.call("db_execute", call).await["status"], "approval_pending");
    world.verify();
}

/// Support may ask for anything here.
pub fn lenient() -> String {
    POLICY.replace("context.risk == 2", "context.risk >= 2")
}

#[tokio::test]
async fn what_empties_a_table_is_counted_again_before_it_runs() {
    let (world, cluster) = world_under(&lenient()).await;
    cluster
        .admin()
        .await
        .execute(
            "CREATE TABLE bin (a int); INSERT INTO bin VALUES (1), (2); CREATE TABLE old (a int); INSERT INTO old VALUES (1);
             ALTER TABLE bin OWNER TO support; ALTER TABLE old OWNER TO support; GRANT CREATE ON SCHEMA public TO support;",
        )
        .await
        .unwrap();
    let file = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    file.execute_batch("CREATE TABLE old (a INTEGER); INSERT INTO old VALUES (1)").unwrap();
    let agent = world.agent_of("alice", "demo-agent", &["support"], "mcp:read mcp:write mcp:admin");
    for (target, sql, grow) in [
        ("pg", "TRUNCATE TABLE bin", "INSERT INTO bin VALUES (3)"),
        ("pg", "DROP TABLE old", "INSERT INTO old VALUES (2)"),
        ("shop", "DROP TABLE old", "INSERT INTO old VALUES (2)"),
    ] {
        let bounded = agent.call("db_execute", json!({"target": target, "sql": sql, "expect_max_rows": 5})).await;
        assert_eq!(code(&bounded), "request.invalid_arguments", "{sql}: {bounded}");
        assert!(bounded["error"]["message"].as_str().unwrap().contains("expect_max_rows"), "{bounded}");
        let call = json!({"target": target, "sql": sql});
        approved(&world, &agent, &call).await;
        if target == "pg" {
            cluster.admin().await.execute(grow).await.unwrap();
        } else {
            file.execute_batch(grow).unwrap();
        }
        let refused = agent.call("db_execute", call.clone()).await;
        assert_eq!(code(&refused), "approval.changed_since_preview", "{sql}: {refused}");
        // Shown as it is now, it is done.
        approved(&world, &agent, &call).await;
        let done = agent.call("db_execute", call).await;
        assert_eq!(done["status"], "ok", "{sql}: {done}");
    }
    let mut admin = cluster.admin().await;
    assert_eq!(admin.fetch_one("SELECT count(*) FROM bin").await.unwrap().get::<i64, _>(0), 0);
    assert!(admin.fetch_one("SELECT count(*) FROM old").await.is_err() && file.execute_batch("SELECT * FROM old").is_err());
    assert!(cluster.log().contains("LOCK TABLE bin IN ACCESS EXCLUSIVE MODE"), "nobody may add rows between the count and the change");
    world.verify();
}

/// A world whose PostgreSQL target is reached over another port.
async fn over(cluster: &Cluster, port: u16) -> World {
    let policies = POLICY.replace("resource in Target::\"shop\"", "resource");
    let mut endpoint = cluster.endpoint();
    if let countersign::connector::Endpoint::Postgres { port: other, .. } = &mut endpoint {
        *other = port;
    }
    let login = cluster.login("alice", "alice-secret");
    World::with_targets(Wish { policies, ..Wish::default() }, |issuer| {
        let logins = Access::Logins([((issuer.to_owned(), "alice".to_owned()), login)].into());
        let mut pg = target("pg", endpoint, logins);
        pg.settings.connect_timeout = Duration::from_secs(2);
        vec![pg]
    })
    .await
}

const TABLE: &str = "CREATE ROLE alice LOGIN PASSWORD 'alice-secret'; CREATE TABLE t (id int PRIMARY KEY, a int);
    INSERT INTO t SELECT i, i FROM generate_series(1, 2000) i; GRANT ALL ON t TO alice;";

#[tokio::test]
async fn a_lost_commit_is_unresolved() {
    let cluster = Cluster::start();
    cluster.admin().await.execute(TABLE).await.unwrap();
    let proxy = Proxy::start(cluster.port, "COMMIT").await;
    let world = over(&cluster, proxy.port).await;
    let agent = world.agent();
    let call = json!({"target": "pg", "sql": "UPDATE t SET a = -1 WHERE id = 1"});
    approved(&world, &agent, &call).await;
    let lost = agent.call("db_execute", call).await;
    assert_eq!(code(&lost), "target.unresolved", "{lost}");
    let done = "SELECT count(*) FROM t WHERE a = -1";
    for _ in 0..50 {
        if cluster.admin().await.fetch_one(done).await.unwrap().get::<i64, _>(0) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cluster.admin().await.fetch_one(done).await.unwrap().get::<i64, _>(0), 1, "the server had done it all the same");
    let leaf = world.approver().trail("&status=unresolved").await;
    assert_eq!(leaf.len(), 1, "{leaf:?}");
    assert_eq!(leaf[0]["leaf"]["res"]["code"], "target.unresolved");
    // A COMMIT that the server refuses is no riddle.
    let proxy = Proxy::start(cluster.port, "no such word").await;
    cluster.admin().await.execute("ALTER TABLE t ADD CONSTRAINT later UNIQUE (a) DEFERRABLE INITIALLY DEFERRED").await.unwrap();
    let world = over(&cluster, proxy.port).await;
    let agent = world.agent();
    let call = json!({"target": "pg", "sql": "UPDATE t SET a = 3 WHERE id = 2"});
    approved(&world, &agent, &call).await;
    let refused = agent.call("db_execute", call).await;
    assert_eq!(code(&refused), "target.failed", "{refused}");
    assert!(refused.to_string().contains("later"), "{refused}");
    world.verify();
}

#[tokio::test]
async fn only_the_server_confirms_that_it_stopped() {
    let cluster = Cluster::start();
    cluster.admin().await.execute(TABLE).await.unwrap();
    let proxy = Proxy::start(cluster.port, "pg_cancel_backend").await;
    let world = over(&cluster, proxy.port).await;
    let agent = world.agent();
    let endless = json!({"target": "pg", "sql": "SELECT count(*) FROM t a, t b, t c", "timeout_ms": 600});
    let hung_up = tokio::time::timeout(Duration::from_millis(300), agent.call("db_query", endless)).await;
    assert!(hung_up.is_err(), "the statement ended by itself");
    let mut cancelled = Vec::new();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancelled = world.approver().trail("&status=cancelled").await;
        if !cancelled.is_empty() {
            break;
        }
    }
    assert_eq!(cancelled.len(), 1);
    assert_eq!(cancelled[0]["leaf"]["res"]["stopped"], "unconfirmed", "{cancelled:?}");
    world.verify();
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable() {
    let cluster = Cluster::start();
    cluster.admin().await.execute(TABLE).await.unwrap();
    let world = over(&cluster, cluster.port).await;
    let agent = world.agent();
    assert_eq!(agent.query("pg", "SELECT count(*) FROM t").await["status"], "ok");
    let call = json!({"target": "pg", "sql": "UPDATE t SET a = 0 WHERE id = 1"});
    approved(&world, &agent, &call).await;
    cluster.stop();
    for answer in [agent.query("pg", "SELECT count(*) FROM t").await, agent.call("db_execute", call).await] {
        assert_eq!(code(&answer), "target.unreachable", "{answer}");
        for secret in ["alice-secret", "127.0.0.1", &cluster.port.to_string()] {
            assert!(!answer.to_string().contains(secret), "{answer}");
        }
    }
    world.verify();
}
