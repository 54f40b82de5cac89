//! PostgreSQL targets, against a real server: whose session it is, what it cannot do, what comes back, and that a stop stops.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::credential::access::Roles;
use countersign::credential::{Access, Source};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, Row};

use crate::harness::cluster::{Cluster, PASSWORD};
use crate::harness::{Agent, POLICY, Wish, World, code, target};

const SCHEMA: &str = "
    CREATE ROLE support NOLOGIN; CREATE ROLE broker LOGIN PASSWORD 'broker-secret' IN ROLE support NOINHERIT; CREATE ROLE alice LOGIN PASSWORD 'alice-secret' IN ROLE support;
    CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE, note text, balance numeric(10,2), born date, at timestamptz, data jsonb, tags text[]);
    CREATE TABLE secrets (id int PRIMARY KEY, what text);
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE odds (a int2, b int8, c float8, d uuid, e bytea, f mood, g interval, h inet, i bool[], j time);
    INSERT INTO customers SELECT i, 'Person ' || i, 'person' || i || '@example.com', 'note ' || i, i * 1.5, '2000-01-01', '2024-01-02T03:04:05Z', jsonb_build_object('k', i), ARRAY['x', 'y'] FROM generate_series(1, 50) i;
    INSERT INTO secrets VALUES (1, 'hidden');
    INSERT INTO odds VALUES (1, 9007199254740993, 'NaN', '550e8400-e29b-41d4-a716-446655440000', '\\xdeadbeef', 'glad', '1 day 2 hours', '10.0.0.1', '{t,f}', '12:34:56');
    CREATE VIEW contacts AS SELECT id, email AS contact FROM customers;
    CREATE FUNCTION boom(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
    GRANT SELECT, INSERT, UPDATE, DELETE ON customers, odds, contacts TO support;";

pub async fn world() -> (World, Cluster) {
    world_under(POLICY).await
}

/// The same under other policies.
pub async fn world_under(policies: &str) -> (World, Cluster) {
    let cluster = Cluster::start();
    cluster.admin().await.execute(SCHEMA).await.unwrap();
    let policies = policies.replace("resource in Target::\"shop\"", "resource");
    // The issuer's URL is the world's own, so the map is filled once it is known.
    let world = World::with_targets(Wish { policies, ..Wish::default() }, |issuer| {
        let key = |who: &str| (issuer.to_owned(), who.to_owned());
        let by_role = Access::Roles {
            service: cluster.login("broker", "broker-secret"),
            roles: Roles::Mapped {
                humans: BTreeMap::from([(key("mallory"), "admin".to_owned())]),
                teams: BTreeMap::from([(key("support"), "support".to_owned()), (key("oncall"), "broker".to_owned())]),
            },
        };
        let logins = Access::Logins(BTreeMap::from([(key("alice"), cluster.login("alice", "alice-secret"))]));
        let wrong = Source { password: Some(cluster.secret("wrong", "wrong")), ..cluster.login("alice", "alice-secret") };
        let mut down = target("down", cluster.endpoint(), Access::Logins(BTreeMap::from([(key("alice"), wrong)])));
        down.settings.connect_timeout = Duration::from_secs(2);
        vec![target("pg", cluster.endpoint(), by_role), target("own", cluster.endpoint(), logins), down]
    })
    .await;
    (world, cluster)
}

pub fn cell(answer: &Value, row: usize, column: usize) -> &Value {
    &answer["result"]["rows"][row][column]
}

pub async fn approve(world: &World, agent: &Agent, target: &str, sql: &str) -> Value {
    let pending = agent.execute(target, sql).await;
    assert_eq!(pending["status"], "approval_pending", "{pending}");
    let id = pending["approval"]["id"].as_str().unwrap().to_owned();
    let (status, decided) = world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert_eq!((status, decided["state"].as_str()), (200, Some("approved")), "{decided}");
    agent.execute(target, sql).await
}

#[tokio::test]
async fn the_session_is_the_humans_and_names_the_call() {
    let (world, cluster) = world().await;
    let agent = world.agent();
    let mapped = agent.query("pg", "SELECT current_user, session_user").await;
    assert_eq!((cell(&mapped, 0, 0), cell(&mapped, 0, 1)), (&json!("support"), &json!("broker")));
    let own = agent.query("own", "SELECT current_user, session_user").await;
    assert_eq!((cell(&own, 0, 0), cell(&own, 0, 1)), (&json!("alice"), &json!("alice")));
    let call = own["call_id"].as_str().unwrap();
    assert!(cluster.log().contains(&format!("countersign:{call}|alice|")), "{}", cluster.log());
    // Nobody's role, somebody else's role, and a role that may not be taken: refused, and never with the broker's own rights.
    let stranger = world.agent_of("zoe", "demo-agent", &["nobody"], "mcp:read");
    let refused = stranger.query("pg", "SELECT 1").await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let mallory = world.agent_of("mallory", "demo-agent", &["support"], "mcp:read").query("pg", "SELECT current_user").await;
    assert_eq!(code(&mallory), "target.refused", "{mallory}");
    // Attack 78. Policy allows them, and the target has no login or no one role for them.
    let colleague = world.agent_of("carol", "demo-agent", &["support"], "mcp:read mcp:write");
    let torn = world.agent_of("dave", "demo-agent", &["support", "oncall"], "mcp:read mcp:write");
    let update = "UPDATE customers SET note = 'x' WHERE id = 1";
    for (who, target, says) in [(&colleague, "own", "no login is configured"), (&torn, "pg", "several roles are mapped")] {
        let refused = who.query(target, "SELECT current_user").await;
        assert!(code(&refused) == "target.refused" && refused.to_string().contains(says), "{refused}");
        let call = refused["call_id"].as_str().unwrap();
        assert!(!cluster.log().contains(call), "the server was asked all the same");
        // Nobody is asked to approve what nobody could do.
        assert_eq!(code(&who.execute(target, update).await), "approval.preview_failed");
    }
    assert_eq!(colleague.query("pg", "SELECT current_user").await["result"]["rows"][0][0], "support");
    let denied = agent.query("pg", "SELECT * FROM secrets").await;
    assert_eq!(code(&denied), "target.refused", "{denied}");
    world.verify();
}

#[tokio::test]
async fn values_and_parameters_are_exact_or_say_that_they_are_not() {
    let (world, _cluster) = world().await;
    let agent = world.agent();
    let odds = agent.query("pg", "SELECT a, b, c, d, e, f, g, h, i, j FROM odds").await;
    let expected = json!([
        1,
        "9007199254740993",
        "NaN",
        "550e8400-e29b-41d4-a716-446655440000",
        "\\xdeadbeef",
        "glad",
        "P1DT7200.000000S",
        "[unsupported type inet: cast it to text]",
        [true, false],
        "12:34:56"
    ]);
    assert_eq!(odds["result"]["rows"][0], expected, "{odds}");
    let row = agent.query("pg", "SELECT id, balance, born, at, data, tags FROM customers WHERE id = 3").await;
    assert_eq!(row["result"]["rows"][0], json!([3, "4.50", "2000-01-01", "2024-01-02T03:04:05Z", {"k": 3}, ["x", "y"]]), "{row}");
    for (sql, params, found) in [
        ("SELECT count(*) FROM customers WHERE id < $1", json!([11]), Some(json!(10))),
        ("SELECT count(*) FROM customers WHERE at < $1", json!(["2030-01-01T00:00:00Z"]), Some(json!(50))),
        ("SELECT count(*) FROM customers WHERE balance > $1", json!([74.9]), Some(json!(1))),
        ("SELECT count(*) FROM customers WHERE born = $1", json!(["2000-01-01"]), Some(json!(50))),
        ("SELECT count(*) FROM customers WHERE note = $1", json!(["note 7"]), Some(json!(1))),
        ("SELECT count(*) FROM customers WHERE note = $1 OR $1 IS NULL", json!([null]), Some(json!(50))),
        ("SELECT count(*) FROM customers WHERE id < $1", json!(["eleven"]), None),
        ("SELECT count(*) FROM customers WHERE id < $1", json!([99_999_999_999_i64]), None),
        ("SELECT count(*) FROM customers WHERE born = $1", json!(["tomorrow"]), None),
    ] {
        let answer = agent.call("db_query", json!({"target": "pg", "sql": sql, "params": params})).await;
        match found {
            Some(found) => assert_eq!(cell(&answer, 0, 0), &found, "{sql}: {answer}"),
            None => assert_eq!(code(&answer), "operation.invalid_parameters", "{sql}: {answer}"),
        }
    }
    let cut = agent.call("db_query", json!({"target": "pg", "sql": "SELECT id FROM customers ORDER BY id", "max_rows": 5})).await;
    assert_eq!((cut["result"]["row_count"].as_u64(), cut["result"]["truncated"].as_bool()), (Some(5), Some(true)));
    let small = agent
        .call(
            "db_query",
            json!({"target": "pg", "sql": "SELECT a.note FROM customers a, customers b", "max_bytes": 1024, "max_rows": 5000}),
        )
        .await;
    assert_eq!(small["result"]["truncated"], true);
    world.verify();
}

#[tokio::test]
async fn changes_are_bounded_by_what_was_shown() {
    let (world, cluster) = world().await;
    let agent = world.agent();
    let count = async |sql: &'static str| cluster.admin().await.fetch_one(sql).await.unwrap().get::<i64, _>(0);
    let done = approve(&world, &agent, "pg", "UPDATE customers SET note = 'changed' WHERE id = 1").await;
    assert_eq!(done["result"]["affected_rows"], 1, "{done}");
    assert_eq!(count("SELECT count(*) FROM customers WHERE note = 'changed'").await, 1);
    // The effect grows between the preview and the change.
    let sql = "UPDATE customers SET note = 'grown' WHERE balance > 1000";
    let pending = agent.execute("pg", sql).await;
    let id = pending["approval"]["id"].as_str().unwrap().to_owned();
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!((shown["max_rows"].as_u64(), shown["preview"]["would_touch_rows"].as_u64()), (Some(0), Some(0)), "{shown}");
    cluster.admin().await.execute("UPDATE customers SET balance = 2000 WHERE id IN (5, 6)").await.unwrap();
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    let refused = agent.execute("pg", sql).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    assert_eq!(count("SELECT count(*) FROM customers WHERE note = 'grown'").await, 0);
    // More than the caller expects.
    let arguments = json!({"target": "pg", "sql": "UPDATE customers SET note = 'many' WHERE id < 10", "expect_max_rows": 3});
    let pending = agent.call("db_execute", arguments.clone()).await;
    world.approver().decide(pending["approval"]["id"].as_str().unwrap(), json!({"decision": "approve"})).await;
    let refused = agent.call("db_execute", arguments).await;
    assert_eq!(code(&refused), "target.too_many_rows", "{refused}");
    assert_eq!(count("SELECT count(*) FROM customers WHERE note = 'many'").await, 0);
    // RETURNING is masked as well.
    let returned = approve(&world, &agent, "pg", "UPDATE customers SET note = email WHERE id = 9 RETURNING id, note, email").await;
    assert!(returned["status"] == "ok" && !returned.to_string().contains("person9"), "{returned}");
    world.verify();
}

#[tokio::test]
async fn a_stop_stops_the_server_process() {
    let (world, cluster) = world().await;
    let agent = world.agent();
    let running = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'countersign:%' AND state = 'active'";
        cluster.admin().await.fetch_one(sql).await.unwrap().get::<i64, _>(0)
    };
    let endless = "SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e, customers f";
    let timed = agent.call("db_query", json!({"target": "pg", "sql": endless, "timeout_ms": 500})).await;
    assert_eq!(code(&timed), "target.timeout", "{timed}");
    assert_eq!(running().await, 0);
    let hung_up = tokio::time::timeout(Duration::from_millis(700), agent.query("pg", endless)).await;
    assert!(hung_up.is_err(), "the statement ended by itself");
    for _ in 0..50 {
        if running().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(running().await, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cancelled = world.approver().trail("&status=cancelled").await;
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
    assert_eq!(cancelled[0]["leaf"]["res"]["code"], "target.cancelled");
    assert_eq!(cancelled[0]["leaf"]["res"]["stopped"], "confirmed");
    world.verify();
}

#[tokio::test]
async fn what_a_read_cannot_do() {
    let (world, cluster) = world().await;
    let agent = world.agent();
    for sql in [
        "SELECT boom(email) FROM customers",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT setval('s', 1)",
        "SELECT (json_populate_record(NULL::customers, to_json(c))).name FROM customers c",
        "SELECT * FROM customers FOR UPDATE",
        "SELECT query_to_xml('DELETE FROM customers', true, false, '')",
        "SELECT * FROM pg_stats",
        "SELECT set_config('role', 'admin', false)",
        "SELECT pg_sleep(1000000)",
    ] {
        let answer = agent.query("pg", sql).await;
        assert_eq!(code(&answer), "operation.not_read", "{sql}: {answer}");
    }
    for sql in [
        "SELECT 1; COMMIT; DROP TABLE customers",
        "COMMIT",
        "END WORK",
        "ABORT",
        "COMMIT AND CHAIN",
        "PREPARE TRANSACTION 'x'",
        "SAVEPOINT x",
        "/* x */ END WORK -- y",
        "WITH d AS (DELETE FROM customers RETURNING *) SELECT * FROM d",
        "WITH d AS (SELECT 1) DELETE FROM customers",
        "MERGE INTO customers USING odds ON true WHEN MATCHED THEN DELETE",
        "WITH m AS (MERGE INTO customers USING odds ON true WHEN MATCHED THEN DELETE) SELECT 1",
        "SELECT * INTO stolen FROM customers",
        "SET ROLE admin",
        "RESET ROLE",
        "COPY customers TO PROGRAM 'id'",
        "COPY customers FROM PROGRAM 'cat /etc/passwd'",
        "COPY (SELECT * FROM customers) TO STDOUT",
        "EXPLAIN (ANALYZE) DELETE FROM customers",
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT 1",
        "DO $$BEGIN END$$",
        "PREPARE p AS SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM customers",
    ] {
        for tool in ["db_query", "db_execute"] {
            let answer = agent.call(tool, json!({"target": "pg", "sql": sql})).await;
            assert!(code(&answer).starts_with("operation."), "{tool} {sql}: {answer}");
        }
    }
    // What reads runs in a transaction that cannot write, whatever got past the parser.
    let before = cluster.log().matches("BEGIN READ ONLY").count();
    let mode = agent.query("pg", "SELECT count(*) FROM customers").await;
    assert_eq!(mode["status"], "ok", "{mode}");
    assert_eq!(cluster.log().matches("BEGIN READ ONLY").count(), before + 1);
    assert!(!cluster.log().contains("BEGIN READ WRITE"), "nothing here was let near a writing transaction");
    let bad_login = agent.query("down", "SELECT 1").await;
    let text = bad_login.to_string();
    assert_eq!(code(&bad_login), "target.refused", "{bad_login}");
    for secret in [PASSWORD, "alice-secret", "broker-secret", "wrong", "127.0.0.1"] {
        assert!(!text.contains(secret), "{text}");
    }
    let mut admin = cluster.admin().await;
    assert_eq!(admin.fetch_one("SELECT count(*) FROM customers").await.unwrap().get::<i64, _>(0), 50);
    admin.close().await.unwrap();
    let objects = agent
        .call("db_search_objects", json!({"target": "pg", "object_type": "table", "pattern": "cust%", "detail_level": "summary"}))
        .await;
    assert_eq!(objects["result"]["results"][0]["name"], "customers", "{objects}");
    let described = agent.call("db_describe", json!({"target": "pg", "name": "contacts"})).await;
    assert_eq!(described["result"]["type"], "view", "{described}");
    let missing = agent.call("db_describe", json!({"target": "pg", "name": "nothing"})).await;
    assert_eq!(code(&missing), "request.not_found");
    world.verify();
}

/// The target hears in whose name it is, and nothing of the token that said so (attack 83): every statement and parameter is in its log.
#[tokio::test]
async fn no_token_reaches_the_target() {
    let (world, cluster) = world().await;
    let agent = world.agent();
    for target in ["pg", "own"] {
        assert_eq!(agent.query(target, "SELECT id FROM customers WHERE id = 1").await["status"], "ok");
        let changed = approve(&world, &agent, target, "UPDATE customers SET note = 'seen' WHERE id = 1").await;
        assert_eq!(changed["status"], "ok", "{changed}");
    }
    let log = cluster.log();
    assert!(log.contains("countersign:") && log.contains("'seen'"), "the log is empty");
    for token in [agent.token, world.approver().token] {
        for part in [token.as_str(), token.split('.').nth(1).unwrap(), token.rsplit('.').next().unwrap()] {
            assert!(!log.contains(part), "{part} is in the target's log");
        }
    }
    assert!(!log.contains("Bearer") && !log.contains("eyJ"));
}
