//! MySQL targets, against a real MariaDB: whose session it is, what it cannot do, what comes back, and that a stop stops.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::credential::{Access, Source};
use serde_json::json;
use sqlx::{Executor, Row};

use crate::bounds::lenient;
use crate::harness::mariadb::MariaDb;
use crate::harness::{Agent, POLICY, Wish, World, code, target};
use crate::postgres::{approve, cell};

const LOGINS: &str = "\
CREATE USER alice IDENTIFIED BY 'alice-secret';
CREATE USER bob IDENTIFIED BY 'bob-secret';
GRANT SELECT, INSERT, UPDATE, DELETE, DROP, CREATE, LOCK TABLES, SHOW VIEW, EXECUTE ON shop.* TO alice;";

const SCHEMA: &str = "
DROP DATABASE shop;
CREATE DATABASE shop;
USE shop;
CREATE TABLE shop.customers (id int PRIMARY KEY, name varchar(80), email varchar(80) UNIQUE, note varchar(80), balance decimal(30,2), born date, at datetime(6), data json);
CREATE TABLE shop.odds (a tinyint(1), b bigint unsigned, c double, d bit(9), e varbinary(20), f enum('glad', 'sad'), g time(3), h year, i timestamp, j float, k text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, l mediumint unsigned, m set('x','y'), n decimal(40, 10));
INSERT INTO shop.customers WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 50) SELECT seq, CONCAT('Person ', seq), CONCAT('person', seq, '@example.com'), CONCAT('note ', seq), seq * 1.5, '2000-01-01', '2024-01-02 03:04:05.5', JSON_OBJECT('k', seq) FROM s;
SET time_zone = '+00:00';
INSERT INTO shop.odds VALUES (5, 18446744073709551615, 1.5, b'100000001', x'deadbeef', 'glad', '-25:30:10.25', 2024, '2024-01-02 03:04:05', 0.1, 'Ünïcode', 16777215, 'x,y', 123456789012345678901234567890.0123456789);
CREATE VIEW shop.contacts AS SELECT id, email AS contact FROM shop.customers;
CREATE TABLE shop.loose (id int PRIMARY KEY, note varchar(80)) ENGINE = MyISAM;
INSERT INTO shop.loose VALUES (1, 'kept');
CREATE FUNCTION shop.peek() RETURNS varchar(80) SQL SECURITY DEFINER RETURN (SELECT email FROM shop.customers LIMIT 1);
CREATE FUNCTION shop.pose() RETURNS int BEGIN SET @countersign_human = 'bob'; RETURN 1; END;
CREATE VIEW shop.posing AS SELECT id, shop.pose() AS one FROM shop.customers;
GRANT SELECT (id, note) ON shop.customers TO bob";

pub async fn world() -> (World, MariaDb) {
    let server = MariaDb::start(LOGINS, &[]);
    server.run(SCHEMA).await;
    let policies = lenient().replace("resource in Target::\"shop\"", "resource");
    let world = World::with_targets(Wish { policies, ..Wish::default() }, |issuer| {
        let key = |who: &str| (issuer.to_owned(), who.to_owned());
        let logins = BTreeMap::from([
            (key("alice"), server.login("alice", "alice-secret")),
            (key("carol"), server.login("bob", "bob-secret")),
            (key("dave"), Source { password: Some(server.secret("wrong", "wrong")), ..server.login("alice", "alice-secret") }),
        ]);
        vec![target("my", server.endpoint(), Access::Logins(logins))]
    })
    .await;
    (world, server)
}

#[tokio::test]
async fn the_session_is_the_humans_and_names_the_call() {
    let (world, server) = world().await;
    let agent = world.agent();
    let mine = agent.query("my", "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), SUBSTRING_INDEX(USER(), '@', 1), DATABASE()").await;
    assert_eq!(mine["result"]["rows"][0], json!(["alice", "alice", "shop"]), "{mine}");
    let call = mine["call_id"].as_str().unwrap();
    let log = server.log();
    assert!(log.contains(&format!("/* countersign:{call} */")) && log.contains(&format!("'{call}'")), "{log}");
    // Another human has another login and its rights; who has none or a wrong secret gets nowhere.
    let carol = world.agent_of("carol", "demo-agent", &["support"], "mcp:read mcp:write");
    assert_eq!(cell(&carol.query("my", "SELECT note FROM customers WHERE id = 2").await, 0, 0), "note 2");
    let refused = carol.query("my", "SELECT name FROM customers").await;
    assert!(code(&refused) == "target.refused" && !refused.to_string().contains("bob"), "{refused}");
    let stranger = world.agent_of("zoe", "demo-agent", &["support"], "mcp:read").query("my", "SELECT 1").await;
    assert!(code(&stranger) == "target.refused" && stranger.to_string().contains("no login is configured"), "{stranger}");
    let wrong = world.agent_of("dave", "demo-agent", &["support"], "mcp:read").query("my", "SELECT 1").await;
    assert!(code(&wrong) == "target.refused" && wrong.to_string().contains("login was not accepted"), "{wrong}");
    for secret in ["alice-secret", "127.0.0.1", "using password"] {
        assert!(!wrong.to_string().contains(secret), "{wrong}");
    }
    // The record names the credential by its reference.
    let leaves = world.approver().trail("&kind=call.completed").await;
    assert!(leaves.iter().any(|entry| entry["credential"].as_str().is_some_and(|used| used.starts_with("file:"))), "{leaves:?}");
    // Rules of the database's own can read who it is for: a view may not read a variable, and a function may.
    server
        .run("CREATE FUNCTION shop.whose() RETURNS varchar(80) READS SQL DATA RETURN @countersign_human;\nCREATE VIEW shop.mine AS SELECT id FROM shop.customers WHERE shop.whose() = 'alice' AND id < 4")
        .await;
    assert_eq!(cell(&agent.query("my", "SELECT count(*) FROM mine").await, 0, 0), 3);
    world.verify();
}

#[tokio::test]
async fn what_the_session_became_is_found_out_before_anything_leaves() {
    let (world, server) = world().await;
    let agent = world.agent();
    // A view that calls a function which poses as somebody else: the statement itself is a plain read.
    let lost = agent.query("my", "SELECT id, one FROM posing").await;
    assert_eq!(code(&lost), "target.identity_lost", "{lost}");
    assert!(lost["result"].is_null());
    for sql in [
        "SELECT shop.pose()",
        "SELECT pose()",
        "SELECT peek()",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT SLEEP(100)",
        "SELECT GET_LOCK('x', 1)",
    ] {
        assert_eq!(code(&agent.query("my", sql).await), "operation.not_read", "{sql}");
    }
    // One that could be taken for the server's own, should the server have none of that name.
    server.run("CREATE FUNCTION shop.soundex(a int) RETURNS int DETERMINISTIC RETURN 1").await;
    let shadowed = agent.query("my", "SELECT soundex(note) FROM customers").await;
    assert!(code(&shadowed) == "operation.function_not_allowed" && shadowed.to_string().contains("shop.soundex"), "{shadowed}");
    // Nothing is left for the next call: there is no connection that it could have been left on.
    let before = server.log().matches("Connect\t").count();
    for _ in 0..3 {
        assert_eq!(agent.query("my", "SELECT 1").await["status"], "ok");
    }
    assert_eq!(server.log().matches("Connect\t").count(), before + 3);
    world.verify();
}

#[tokio::test]
async fn values_and_parameters_are_exact_or_say_that_they_are_not() {
    let (world, _server) = world().await;
    let agent = world.agent();
    let odds = agent.query("my", "SELECT a, b, c, d, e, f, g, h, i, j, k, l, m, n FROM odds").await;
    let expected = json!([
        5,
        "18446744073709551615",
        1.5,
        257,
        "\\xdeadbeef",
        "glad",
        "-25:30:10.25",
        2024,
        "2024-01-02T03:04:05Z",
        0.1,
        "Ünïcode",
        16_777_215,
        "x,y",
        "123456789012345678901234567890.0123456789"
    ]);
    assert_eq!(odds["result"]["rows"][0], expected, "{odds}");
    let row = agent.query("my", "SELECT id, balance, born, at, data FROM customers WHERE id = 3").await;
    let row = &row["result"]["rows"][0];
    assert_eq!((&row[0], &row[1], &row[2], &row[3]), (&json!(3), &json!("4.50"), &json!("2000-01-01"), &json!("2024-01-02T03:04:05.500")));
    // MariaDB's JSON is text.
    let document = row[4].as_str().map_or_else(|| row[4].clone(), |text| serde_json::from_str(text).unwrap());
    assert_eq!(document, json!({"k": 3}));
    for (sql, params, found) in [
        ("SELECT count(*) FROM customers WHERE id < ?", json!([11]), Some(json!(10))),
        ("SELECT count(*) FROM customers WHERE at < ?", json!(["2030-01-01T00:00:00"]), Some(json!(50))),
        ("SELECT count(*) FROM customers WHERE balance > ?", json!([74.9]), Some(json!(1))),
        ("SELECT count(*) FROM customers WHERE note = ? AND id = ?", json!(["note 7", 7]), Some(json!(1))),
        ("SELECT count(*) FROM customers WHERE note = ? OR ? IS NULL", json!(["x", null]), Some(json!(50))),
        ("SELECT count(*) FROM customers WHERE id < $1", json!([1]), None),
        ("SELECT count(*) FROM customers WHERE id < ?", json!([]), None),
    ] {
        let answer = agent.call("db_query", json!({"target": "my", "sql": sql, "params": params})).await;
        match found {
            Some(found) => assert_eq!(cell(&answer, 0, 0), &found, "{sql}: {answer}"),
            None => assert!(code(&answer).starts_with("operation."), "{sql}: {answer}"),
        }
    }
    let cut = agent.call("db_query", json!({"target": "my", "sql": "SELECT id FROM customers ORDER BY id", "max_rows": 5})).await;
    assert_eq!((cut["result"]["row_count"].as_u64(), cut["result"]["truncated"].as_bool()), (Some(5), Some(true)));
    world.verify();
}

#[tokio::test]
async fn changes_are_bounded_by_what_was_shown() {
    let (world, server) = world().await;
    let agent = world.agent();
    let count = async |condition: &str| {
        let sql = format!("SELECT count(*) FROM customers WHERE {condition}");
        server.admin().await.fetch_one(sqlx::AssertSqlSafe(sql)).await.unwrap().get::<i64, _>(0)
    };
    let done = approve(&world, &agent, "my", "UPDATE customers SET note = 'changed' WHERE id = 1").await;
    assert_eq!(done["result"]["affected_rows"], 1, "{done}");
    // A row that is as it should be was chosen all the same, and is counted.
    let again = approve(&world, &agent, "my", "UPDATE customers SET note = 'changed' WHERE id = 1 AND note = 'changed'").await;
    assert_eq!(again["result"]["affected_rows"], 1, "{again}");
    assert_eq!(count("note = 'changed'").await, 1);
    // The effect grows between the preview and the change.
    let sql = "UPDATE customers SET note = 'grown' WHERE balance > 1000";
    let pending = agent.execute("my", sql).await;
    let id = pending["approval"]["id"].as_str().unwrap().to_owned();
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!((shown["max_rows"].as_u64(), shown["preview"]["would_touch_rows"].as_u64()), (Some(0), Some(0)), "{shown}");
    server.run("UPDATE shop.customers SET balance = 2000 WHERE id IN (5, 6)").await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    let refused = agent.execute("my", sql).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    assert_eq!(count("note = 'grown'").await, 0);
    // Parameters of a preview keep their order.
    let arguments =
        json!({"target": "my", "sql": "UPDATE customers SET note = ?, name = ? WHERE id > ? AND id < ?", "params": ["n", "m", 7, 10]});
    let pending = agent.call("db_execute", arguments.clone()).await;
    let id = pending["approval"]["id"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!(shown["max_rows"], 2, "{shown}");
    assert!(!shown.to_string().contains("person8@"), "{shown}");
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert_eq!(agent.call("db_execute", arguments).await["result"]["affected_rows"], 2);
    // A key that is there already takes the place of a row, which the server counts as two; and its error quotes no value.
    let upsert = "INSERT INTO customers (id, note) VALUES (1, 'a') ON DUPLICATE KEY UPDATE note = 'upserted'";
    assert_eq!(approve(&world, &agent, "my", upsert).await["result"]["affected_rows"], 2);
    let twice = approve(&world, &agent, "my", "INSERT INTO customers (id, email) VALUES (77, 'person9@example.com')").await;
    assert!(code(&twice) == "target.failed" && twice.to_string().contains("same key") && !twice.to_string().contains("person9"), "{twice}");
    // What cannot be taken back is not begun.
    let loose = approve(&world, &agent, "my", "UPDATE loose SET note = 'lost' WHERE id = 1").await;
    assert!(code(&loose) == "target.cannot_roll_back" && loose.to_string().contains("MyISAM"), "{loose}");
    server
        .run(
            "CREATE VIEW shop.loosely AS SELECT * FROM shop.loose;\nCREATE TABLE shop.Audit2 (id int PRIMARY KEY) ENGINE = MyISAM;\nCREATE TABLE shop.Kept2 (id int PRIMARY KEY)",
        )
        .await;
    for (sql, says) in [
        ("UPDATE loosely SET note = 'lost' WHERE id = 1", "MyISAM"),
        ("INSERT INTO Audit2 VALUES (1)", "MyISAM"),
        ("INSERT INTO customers (id) SELECT id + 500 FROM loose", "MyISAM"),
    ] {
        let refused = approve(&world, &agent, "my", sql).await;
        assert!(code(&refused) == "target.cannot_roll_back" && refused.to_string().contains(says), "{sql}: {refused}");
    }
    let kept = approve(&world, &agent, "my", "INSERT INTO Kept2 VALUES (1)").await;
    assert_eq!(kept["status"], "ok", "{kept}");
    // A definition that fails is told as what it was, and one that was made lasts.
    let made = approve(&world, &agent, "my", "CREATE TABLE plain_one (id int) ENGINE = InnoDB COMMENT = 'x'").await;
    assert_eq!(made["status"], "ok", "{made}");
    let twice = approve(&world, &agent, "my", "CREATE TABLE plain_one (id int, a int)").await;
    assert_eq!(code(&twice), "target.failed", "{twice}");
    // Emptied under a lock, with the rows that were shown.
    server.run("CREATE TABLE shop.spent AS SELECT id FROM shop.customers WHERE id < 4").await;
    let sql = "TRUNCATE TABLE spent";
    let pending = agent.execute("my", sql).await;
    let id = pending["approval"]["id"].as_str().unwrap().to_owned();
    server.run("INSERT INTO shop.spent VALUES (99)").await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert_eq!(code(&agent.execute("my", sql).await), "approval.changed_since_preview");
    assert_eq!(server.admin().await.fetch_one("SELECT count(*) FROM spent").await.unwrap().get::<i64, _>(0), 4);
    let emptied = approve(&world, &agent, "my", sql).await;
    assert_eq!(emptied["status"], "ok", "{emptied}");
    assert_eq!(server.admin().await.fetch_one("SELECT count(*) FROM spent").await.unwrap().get::<i64, _>(0), 0);
    world.verify();
}

#[tokio::test]
async fn a_stop_stops_the_server_thread() {
    let (world, server) = world().await;
    let agent = world.agent();
    let running = async || {
        let sql = "SELECT count(*) FROM information_schema.processlist WHERE user = 'alice' AND command = 'Execute'";
        server.admin().await.fetch_one(sql).await.unwrap().get::<i64, _>(0)
    };
    let endless = "SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e, customers f WHERE concat(a.note, b.note, c.note, d.note, e.note) <> f.note";
    let timed = agent.call("db_query", json!({"target": "my", "sql": endless, "timeout_ms": 500})).await;
    assert_eq!(code(&timed), "target.timeout", "{timed}");
    assert_eq!(running().await, 0);
    let hung_up = tokio::time::timeout(Duration::from_millis(700), agent.query("my", endless)).await;
    assert!(hung_up.is_err(), "the statement ended by itself");
    let mut cancelled = Vec::new();
    for _ in 0..50 {
        cancelled = world.approver().trail("&status=cancelled").await;
        if running().await == 0 && !cancelled.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((running().await, cancelled.len()), (0, 1), "{cancelled:?}");
    assert_eq!(cancelled[0]["leaf"]["res"]["stopped"], "confirmed");
    world.verify();
}

#[tokio::test]
async fn what_a_read_cannot_do() {
    let (world, server) = world().await;
    let agent = world.agent();
    let before = server.log().len();
    for sql in [
        "SELECT * FROM customers FOR UPDATE",
        "SELECT * FROM mysql.user",
        "SELECT * FROM information_schema.processlist",
        "SELECT BENCHMARK(1000000000, MD5('x'))",
        "SELECT /*+ SET_VAR(sql_mode='ANSI_QUOTES') */ 1",
        "SELECT 1 /*!50000 , SLEEP(10) */",
        "SELECT seq FROM seq_1_to_1000000000",
        "SELECT `left`('a', 1)",
        "WITH t\u{130}ckets AS (SELECT ssn AS note FROM customers) SELECT note FROM tickets",
        "SELECT \u{212a}.note FROM customers AS \u{212a}",
        "WITH Customers AS (SELECT 1 AS name) SELECT name FROM customers",
    ] {
        let answer = agent.query("my", sql).await;
        assert_eq!(code(&answer), "operation.not_read", "{sql}: {answer}");
    }
    for sql in [
        // Attack 21: two minus signs are a comment only before a space.
        "SELECT 1 --; DROP TABLE customers",
        "SELECT 1; DROP TABLE customers",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT id INTO @x FROM customers LIMIT 1",
        "SELECT @@global.secure_file_priv",
        "SELECT @countersign_human",
        "SELECT @x := 1",
        "SELECT \"customers\"",
        "SELECT 'a\\\\b'",
        "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE customers",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE customers",
        "SET ROLE admin",
        "SET @countersign_human = 'bob'",
        "SET SESSION sql_mode = 'ANSI_QUOTES'",
        "CALL anything()",
        "DO SLEEP(10)",
        "HANDLER customers OPEN",
        "PREPARE p FROM 'SELECT 1'",
        "COMMIT",
        "LOCK TABLES customers WRITE",
        "USE mysql",
        "EXPLAIN ANALYZE DELETE FROM customers",
        "SHOW GRANTS",
        "CREATE TABLE m (id int) ENGINE = MERGE UNION = (customers)",
        "CREATE TABLE f (id int) ENGINE = FEDERATED CONNECTION = 'mysql://u@h/d/t'",
        "CREATE TABLE d (id int) DATA DIRECTORY = '/tmp'",
    ] {
        for tool in ["db_query", "db_execute"] {
            let answer = agent.call(tool, json!({"target": "my", "sql": sql})).await;
            assert!(code(&answer).starts_with("operation."), "{tool} {sql}: {answer}");
        }
    }
    // An alias in USING is the table that loses its rows: nobody is asked, since nobody could say so.
    let using = agent.execute("my", "DELETE FROM loose USING customers AS loose WHERE loose.id = 1").await;
    assert_eq!(code(&using), "identity.insufficient_scope", "of the highest risk: {using}");
    // What reads runs in a transaction that cannot write, whatever got past the parser.
    assert_eq!(agent.query("my", "SELECT count(*) FROM customers").await["status"], "ok");
    let log = server.log().split_off(before);
    assert!(log.contains("START TRANSACTION READ ONLY") && !log.contains("START TRANSACTION READ WRITE"), "{log}");
    // Attack 28: a name is bound, whatever is in it.
    for name in ["a`; DROP TABLE customers; --", "customers' OR '1'='1"] {
        assert_eq!(code(&agent.call("db_describe", json!({"target": "my", "name": name})).await), "request.not_found", "{name}");
    }
    let described = agent.call("db_describe", json!({"target": "my", "name": "customers"})).await;
    assert_eq!(
        (&described["result"]["columns"][2]["name"], &described["result"]["engine"]),
        (&json!("email"), &json!("InnoDB")),
        "{described}"
    );
    for (object, pattern, found) in [
        ("schema", "%", "shop"),
        ("table", "cust%", "customers"),
        ("view", "con%", "contacts"),
        ("column", "ema%", "email"),
        ("index", "ema%", "email"),
    ] {
        let arguments = json!({"target": "my", "object_type": object, "pattern": pattern, "detail_level": "summary"});
        let objects = agent.call("db_search_objects", arguments).await;
        assert_eq!(objects["result"]["results"][0]["name"], found, "{objects}");
    }
    world.verify();
}

/// A rogue server asks for a file of ours (attack 25): the client never offers one.
#[tokio::test]
async fn a_server_that_asks_for_our_files_gets_none() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Protocol 10, no TLS; then "you are in"; then, to whatever is asked, "send me this file".
        let mut hello =
            b"\x0a8.0.0\0\x01\0\0\0aaaaaaaa\0\xff\xf7\x21\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\0aaaaaaaaaaaa\0mysql_native_password\0"
                .to_vec();
        let mut packet = vec![hello.len() as u8, 0, 0, 0];
        packet.append(&mut hello);
        stream.write_all(&packet).await.unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0_u8; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        heard.extend_from_slice(&buffer[..read]);
        stream.write_all(b"\x07\0\0\x02\0\0\0\x02\0\0\0").await.unwrap();
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..read]);
            if stream.write_all(b"\x0c\0\0\x01\xfb/etc/passwd").await.is_err() {
                break;
            }
        }
        heard
    });
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("pw"), "pw").unwrap();
    let password = countersign::credential::secret::Reference::parse("file:pw", secret.path()).unwrap();
    let policies = POLICY.replace("resource in Target::\"shop\"", "resource");
    let endpoint =
        countersign::connector::Endpoint::MySql { host: "127.0.0.1".to_owned(), port, database: "shop".to_owned(), tls: false, ca: None };
    let world = World::with_targets(Wish { policies, ..Wish::default() }, |issuer| {
        let user = countersign::credential::name::Template::parse("alice").unwrap();
        let login = Source { user: Some(user), password: Some(password), certificate: None };
        vec![target("rogue", endpoint, Access::Logins(BTreeMap::from([((issuer.to_owned(), "alice".to_owned()), login)])))]
    })
    .await;
    let answer = world.agent().call("db_query", json!({"target": "rogue", "sql": "SELECT 1", "timeout_ms": 200})).await;
    assert!(code(&answer).starts_with("target."), "{answer}");
    let heard = String::from_utf8_lossy(&heard.await.unwrap()).into_owned();
    assert!(heard.contains("alice") && !heard.contains("root:"), "{heard}");
    world.verify();
}

#[tokio::test]
async fn a_server_that_is_gone_says_so() {
    let (world, mut server) = world().await;
    let agent: Agent = world.agent();
    server.stop();
    let answer = agent.query("my", "SELECT 1").await;
    assert!(code(&answer) == "target.unreachable" && !answer.to_string().contains("127.0.0.1"), "{answer}");
    world.verify();
}
