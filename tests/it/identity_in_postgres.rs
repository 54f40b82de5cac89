//! Whose session it is in PostgreSQL: a login or role for each human, what nobody can become, and that nothing of one call is left for the next.

use std::path::Path;
use std::time::Duration;

use countersign::broker::Settings;
use countersign::config::Config;
use countersign::identity::KeySource;
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::harness::cluster::Cluster;
use crate::harness::{Agent, Wish, World, code};

/// Policy stands aside here, so that what holds is the target's and the connector's doing.
pub const OPEN: &str = "
    @id(\"all\") permit (principal, action == Action::\"invoke\", resource);
    @id(\"review\") permit (principal, action == Action::\"review\", resource);";

const SCHEMA: &str = "
    CREATE ROLE support NOLOGIN; CREATE ROLE app_alice NOLOGIN; CREATE ROLE app_bob NOLOGIN; CREATE ROLE boss NOLOGIN;
    CREATE ROLE broker LOGIN PASSWORD 'broker-secret' NOINHERIT IN ROLE support, app_alice, app_bob, boss;
    CREATE ROLE alice LOGIN PASSWORD 'alice-secret' IN ROLE support; CREATE ROLE robert LOGIN PASSWORD 'robert-secret' IN ROLE support;
    GRANT support TO app_alice, app_bob;
    CREATE TABLE notes (id int PRIMARY KEY, owner text, body text);
    INSERT INTO notes VALUES (1, 'alice', 'of alice'), (2, 'bob', 'of bob'), (3, 'alice', 'also of alice');
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON notes USING (owner = current_setting('countersign.human', true) AND current_setting('countersign.issuer', true) LIKE 'http://%/issuer');
    CREATE TABLE salaries (who text, amount int); INSERT INTO salaries VALUES ('boss', 100); GRANT SELECT ON salaries TO boss;
    CREATE TABLE plain (id int PRIMARY KEY, body text); INSERT INTO plain VALUES (1, 'one');
    CREATE FUNCTION peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT amount FROM salaries';
    CREATE FUNCTION reset_role() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RESET ROLE; RETURN 1; END $$;
    CREATE FUNCTION become(who text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('role', who, true); RETURN 1; END $$;
    CREATE FUNCTION pretend() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('countersign.human', 'bob', true); RETURN 1; END $$;
    CREATE FUNCTION litter() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_lock(7); PERFORM set_config('search_path', 'evil', false); EXECUTE 'PREPARE planted AS SELECT 1'; EXECUTE 'LISTEN planted'; RETURN 1; END $$;
    CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RESET ROLE; RETURN NEW; END $$;
    CREATE TRIGGER trap BEFORE UPDATE ON plain FOR EACH ROW WHEN (NEW.body = 'trap') EXECUTE FUNCTION on_change();
    CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.body = 'late') EXECUTE FUNCTION on_change();
    CREATE VIEW by_reset AS SELECT reset_role() AS n, 'leaked' AS body; CREATE VIEW by_role AS SELECT become('boss') AS n, 'leaked' AS body;
    CREATE VIEW by_name AS SELECT pretend() AS n, 'leaked' AS body; CREATE VIEW by_litter AS SELECT litter() AS n;
    CREATE VIEW state AS SELECT pg_backend_pid() AS pid, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
        (SELECT count(*) FROM pg_prepared_statements WHERE from_sql OR statement LIKE '%litter%') AS prepared, current_setting('search_path') AS path,
        (SELECT count(*) FROM pg_listening_channels()) AS channels, pg_my_temp_schema()::bigint AS temporary;
    GRANT SELECT ON notes, by_reset, by_role, by_name, by_litter, state TO support; GRANT SELECT, INSERT, UPDATE ON plain TO support;";

/// `[[target]]` with these keys, and what else stands in the configuration.
pub fn target(cluster: &Cluster, name: &str, keys: &str) -> String {
    let port = cluster.port;
    let place = format!("environment = \"demo\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"postgres\"");
    let tls = if keys.contains("tls =") { "" } else { "tls = false\n" };
    format!("[[target]]\nname = \"{name}\"\nengine = \"postgres\"\n{place}\n{tls}{keys}\n")
}

/// Takes targets and credentials from a configuration file, as an operator would write it.
fn configured(settings: &mut Settings, folder: &Path, toml: &str) {
    let issuer = &settings.identity.issuers[0];
    let KeySource::File(jwks_file) = &issuer.keys else { panic!("the harness's issuer has its keys in a file") };
    let text = format!(
        "[server]\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n[[issuer]]\nurl = {:?}\njwks_file = {:?}\nalgorithms = [\"EdDSA\"]\n[policy]\npath = \"open.cedar\"\n{toml}",
        issuer.url,
        jwks_file.display().to_string(),
    );
    std::fs::write(folder.join("open.cedar"), OPEN).unwrap();
    let path = folder.join("countersign.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::read(&path, &countersign::clock::Clock::system()).unwrap_or_else(|problems| panic!("{problems:?}\n{toml}"));
    settings.targets = config.settings.targets;
    settings.credentials = config.settings.credentials;
}

pub async fn world(cluster: &Cluster, toml: &str) -> World {
    world_beside(cluster.folder(), toml).await
}

/// A broker whose targets are written down in a file of this folder.
pub async fn world_beside(folder: &Path, toml: &str) -> World {
    let mut world = World::with(Wish { policies: OPEN.to_owned(), ..Wish::default() }).await;
    world.restart_with(|settings| configured(settings, folder, toml)).await;
    world
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.admin().await.execute(SCHEMA).await.unwrap();
    for name in ["alice", "robert", "broker"] {
        cluster.secret(name, &format!("{name}-secret"));
    }
    cluster
}

fn of(world: &World, human: &str) -> Agent {
    world.agent_of(human, "demo-agent", &["support"], "mcp:read mcp:write mcp:admin")
}

fn row(answer: &Value) -> &Value {
    assert_eq!(answer["status"], "ok", "{answer}");
    &answer["result"]["rows"][0]
}

const WHO: &str = "SELECT current_user, session_user";

async fn sessions(cluster: &Cluster, user: &'static str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()";
    sqlx::query_scalar(sql).bind(user).fetch_one(&mut cluster.admin().await).await.unwrap()
}

#[tokio::test]
async fn a_login_for_each_human_and_a_pool_for_each_login() {
    let cluster = cluster().await;
    let each = "login = \"{human.login}\"\npassword = \"file:{human.login}\"";
    let toml = format!(
        "[[human]]\nid = \"bob@example.com\"\nlogin = \"robert\"\n{}{}",
        target(&cluster, "each", each),
        target(&cluster, "narrow", &format!("max_logins = 1\n{each}"))
    );
    let world = world(&cluster, &toml).await;
    // The id is a login where it is a plain name; others are mapped.
    assert_eq!(row(&of(&world, "alice").query("each", WHO).await), &json!(["alice", "alice"]));
    assert_eq!(row(&of(&world, "bob@example.com").query("each", WHO).await), &json!(["robert", "robert"]));
    assert_eq!((sessions(&cluster, "alice").await, sessions(&cluster, "robert").await), (1, 1), "a pool each");
    // Nothing else reaches a path, and nobody takes the login that is another's.
    let outside = cluster.folder().join("outside");
    std::fs::write(&outside, "alice-secret").unwrap();
    for stranger in
        ["robert", "../alice", "Alice", "alice\u{301}", "alice@example.com", "none", "pg_monitor", "a/../alice", "alice.", "{human.login}"]
    {
        let refused = of(&world, stranger).query("each", WHO).await;
        assert_eq!(code(&refused), "target.refused", "{stranger}: {refused}");
    }
    // A plain name without a secret is refused as well, and what is told names no path.
    let refused = of(&world, "carol").query("each", WHO).await;
    assert!(code(&refused) == "target.no_credential" && !refused.to_string().contains("file:"), "{refused}");
    // Room for one: the other's idle connections are closed.
    for human in ["alice", "bob@example.com"] {
        row(&of(&world, human).query("narrow", WHO).await);
    }
    for _ in 0..50 {
        if sessions(&cluster, "alice").await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((sessions(&cluster, "alice").await, sessions(&cluster, "robert").await), (1, 2));
    let used = world.approver().trail("&kind=call.completed").await;
    assert!(used.iter().any(|entry| entry["leaf"]["cred"] == json!({"form": "login", "ref": "file:{human.login}"})), "{used:?}");
    world.verify();
}

#[tokio::test]
async fn a_role_for_each_human_through_a_shared_login() {
    let cluster = cluster().await;
    let toml = target(&cluster, "each", "role = \"app_{human.login}\"\n[target.service]\nuser = \"broker\"\npassword = \"file:broker\"")
        + &target(&cluster, "bare", "role = \"{human.login}\"\n[target.service]\nuser = \"broker\"\npassword = \"file:broker\"");
    let world = world(&cluster, &toml).await;
    assert_eq!(row(&of(&world, "alice").query("each", WHO).await), &json!(["app_alice", "broker"]));
    // Row-level security sees the human.
    for (human, bodies) in [("alice", json!([["of alice"], ["also of alice"]])), ("bob", json!([["of bob"]]))] {
        let seen = of(&world, human).query("each", "SELECT body FROM notes ORDER BY id").await;
        assert_eq!(seen["result"]["rows"], bodies, "{seen}");
    }
    // `none` would be the shared login itself, and its own name too.
    for human in ["none", "broker", "admin", "pg_read_all_data", "alice; RESET ROLE", "postgres"] {
        let refused = of(&world, human).query("bare", WHO).await;
        assert_eq!(code(&refused), "target.refused", "{human}: {refused}");
    }
    let used = world.approver().trail("&kind=call.completed").await;
    assert!(used.iter().any(|entry| entry["leaf"]["cred"] == json!({"form": "role", "ref": "file:broker"})), "{used:?}");
    world.verify();
}

fn shared(cluster: &Cluster) -> String {
    let role = "[[target.role]]\nteam = \"support\"\nrole = \"support\"";
    target(cluster, "pg", &format!("[target.service]\nuser = \"broker\"\npassword = \"file:broker\"\n{role}"))
        + &target(cluster, "own", "[[target.login]]\nhuman = \"alice\"\nuser = \"alice\"\npassword = \"file:alice\"")
}

#[tokio::test]
async fn nobody_becomes_another_through_a_shared_login() {
    let cluster = cluster().await;
    let world = world(&cluster, &shared(&cluster)).await;
    let agent = of(&world, "alice");
    // Not a statement that is accepted at all.
    for sql in [
        "RESET ROLE",
        "SET ROLE boss",
        "SET LOCAL ROLE boss",
        "SET SESSION AUTHORIZATION DEFAULT",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "DO $$ BEGIN RESET ROLE; END $$",
        "LISTEN x",
        "PREPARE p AS SELECT 1",
        "DISCARD ALL",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ] {
        let refused = agent.execute("pg", sql).await;
        assert!(code(&refused).starts_with("operation."), "{sql}: {refused}");
    }
    // Not a function that is known: refused before anything is sent, whatever the policy would have said.
    for sql in [
        "INSERT INTO plain SELECT reset_role(), 'x'",
        "INSERT INTO plain SELECT become('boss'), 'x'",
        "INSERT INTO plain SELECT peek(), 'x'",
        "INSERT INTO plain (id, body) VALUES (9, set_config('role', 'boss', true))",
        "UPDATE plain SET body = set_config('role', 'none', false) WHERE id = 1",
        "UPDATE plain SET id = pg_catalog.set_config('countersign.human', 'bob', true)::int WHERE id = 1",
        "DELETE FROM plain WHERE become('boss') = 1",
        "CREATE VIEW v AS SELECT peek()",
        "CREATE TABLE t (a int DEFAULT peek())",
        "SELECT peek()",
        "DELETE FROM plain WHERE id IN (WITH a AS (SELECT become('boss')) SELECT 1 FROM a)",
    ] {
        let refused = agent.execute("pg", sql).await;
        assert_eq!(code(&refused), "operation.function_not_allowed", "{sql}: {refused}");
        let refused = agent.query("pg", sql).await;
        assert_eq!(code(&refused), "operation.not_read", "{sql}: {refused}");
    }
    let log = cluster.log();
    assert!(!log.lines().any(|line| line.contains("countersign:") && line.contains("become(")), "{log}");
    // Code of the target's own that runs all the same is found out before anything of it leaves or lasts.
    for sql in ["SELECT * FROM by_reset", "SELECT body FROM by_role", "SELECT body FROM by_name"] {
        let lost = agent.query("pg", sql).await;
        assert!(code(&lost) == "target.identity_lost" && !lost.to_string().contains("leaked"), "{sql}: {lost}");
    }
    for sql in [
        "UPDATE plain SET body = 'late' WHERE id = 1",
        "UPDATE plain SET body = 'trap' WHERE id = 1 RETURNING body",
        "INSERT INTO plain SELECT n + 40, body FROM by_role",
    ] {
        let lost = agent.execute("pg", sql).await;
        assert_eq!(code(&lost), "target.identity_lost", "{sql}: {lost}");
    }
    let left = cluster.admin().await.fetch_one("SELECT string_agg(id || body, ',') FROM plain").await.unwrap();
    assert_eq!(left.get::<String, _>(0), "1one", "rolled back");
    assert_eq!(
        world.approver().trail("&status=error").await.iter().filter(|entry| entry["leaf"]["res"]["code"] == "target.identity_lost").count(),
        6
    );
    // A function that could be taken for one of the server's own.
    row(&agent.query("pg", "SELECT lower(body) FROM plain").await);
    cluster.admin().await.execute("CREATE FUNCTION public.lower(varchar) RETURNS int LANGUAGE sql AS 'SELECT reset_role()'").await.unwrap();
    for answer in [
        agent.query("pg", "SELECT lower(body) FROM plain").await,
        agent.execute("pg", "UPDATE plain SET body = lower(body) WHERE id = 1").await,
    ] {
        assert!(code(&answer) == "operation.function_not_allowed" && answer.to_string().contains("public.lower"), "{answer}");
    }
    row(&agent.query("pg", "SELECT upper(body) FROM plain").await);
    row(&agent.query("own", "SELECT lower(body::text) FROM plain").await);
    let operator = "CREATE FUNCTION same(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = same)";
    cluster.admin().await.execute(operator).await.unwrap();
    let refused = agent.query("pg", "SELECT 1").await;
    assert_eq!(code(&refused), "operation.function_not_allowed", "{refused}");
    // PostgreSQL calls a function of one row for a name behind a dot: refused, whoever the session is.
    let computed =
        "DROP OPERATOR public.= (varchar, varchar); CREATE FUNCTION evil(plain) RETURNS text LANGUAGE sql AS 'SELECT ''leaked'''";
    cluster.admin().await.execute(computed).await.unwrap();
    for target in ["pg", "own"] {
        for answer in [
            agent.query(target, "SELECT p.evil FROM plain p").await,
            agent.query(target, "SELECT id FROM plain p WHERE p.evil = 'leaked'").await,
            agent.query(target, "SELECT (p).evil FROM plain p ORDER BY 1").await,
            agent.query(target, "SELECT (SELECT p FROM plain p LIMIT 1).evil").await,
            agent.execute(target, "UPDATE plain SET body = public.plain.evil WHERE id = 1").await,
            agent.execute(target, "DELETE FROM plain AS p WHERE id = 1 RETURNING p.evil").await,
        ] {
            assert!(code(&answer) == "operation.function_as_column" && answer.to_string().contains("public.evil"), "{target}: {answer}");
        }
        row(&agent.query(target, "SELECT p.body, (p).id FROM plain p").await);
    }
    // With a login of one's own there is nobody else to become, and policy alone decides what may be called.
    row(&agent.execute("own", "INSERT INTO plain SELECT 7, 'seven' RETURNING id").await);
    let own = agent.execute("own", "UPDATE plain SET body = set_config('countersign.human', 'bob', true) WHERE id = 7").await;
    assert_eq!(code(&own), "target.identity_lost", "{own}");
    world.verify();
}

#[tokio::test]
async fn nothing_is_left_for_the_next_borrower() {
    let cluster = cluster().await;
    let world = world(&cluster, &shared(&cluster)).await;
    let agent = of(&world, "alice");
    // It would be left: a lock and a prepared statement outlive even a rollback.
    let mut admin = cluster.admin().await;
    admin.execute("BEGIN; SELECT litter(); ROLLBACK").await.unwrap();
    let left = admin.fetch_one("SELECT locks + prepared FROM state").await.unwrap();
    assert!(left.get::<i64, _>(0) >= 2);
    drop(admin);
    for target in ["pg", "own"] {
        let before = agent.query(target, "SELECT * FROM state").await;
        assert_eq!(agent.query(target, "SELECT n, 'litter' FROM by_litter").await["status"], "ok");
        // While the connection is made blank, a new one would be opened.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = of(&world, "alice").query(target, "SELECT * FROM state").await;
        assert_eq!(row(&before), row(&after), "the same process, and nothing of the other call");
        assert_eq!(
            after["result"]["rows"][0].as_array().unwrap()[1..],
            [json!(0), json!(0), json!("\"public\""), json!(0), json!(0)],
            "{after}"
        );
        // What changed something never comes back: its temporary tables go with it.
        let change = agent.execute(target, "CREATE TEMPORARY TABLE plain (id int, body text)").await;
        assert_eq!(change["status"], "ok", "{change}");
        let pid = row(&agent.query(target, "SELECT pid FROM state").await).clone();
        assert_eq!(row(&agent.query(target, "SELECT body FROM plain WHERE id = 1").await), &json!(["one"]), "{pid}");
    }
    world.verify();
}

#[tokio::test]
async fn the_servers_own_log_and_activity_name_the_call() {
    let cluster = cluster().await;
    let world = world(&cluster, &shared(&cluster)).await;
    let agent = of(&world, "alice");
    let arguments = json!({"target": "own", "sql": "SELECT body FROM plain", "reason": "*/ SELECT 'planted-by-the-client'; --"});
    let answer = agent.call("db_query", arguments).await;
    let call = answer["call_id"].as_str().unwrap().to_owned();
    let line = format!("SELECT body FROM plain /* countersign:{call} */");
    let log = cluster.log();
    assert!(log.lines().any(|found| found.contains(&line) && found.starts_with(&format!("countersign:{call}|alice|"))), "{log}");
    assert!(!log.contains("planted-by-the-client"), "{log}");
    let changed = agent.execute("pg", "UPDATE plain SET body = 'two' WHERE id = 1").await;
    let line = format!("UPDATE plain SET body = 'two' WHERE id = 1 /* countersign:{} */", changed["call_id"].as_str().unwrap());
    assert!(cluster.log().contains(&line), "{}", cluster.log());
    // While it runs.
    let endless = tokio::spawn(async move {
        let sql = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c";
        agent.call("db_query", json!({"target": "pg", "sql": sql, "timeout_ms": 3000})).await
    });
    let mut seen = None;
    while seen.is_none() && !endless.is_finished() {
        let sql =
            "SELECT query, application_name FROM pg_stat_activity WHERE query LIKE 'SELECT count(*)%generate_series%' AND state = 'active'";
        seen = cluster.admin().await.fetch_optional(sql).await.unwrap();
    }
    let (seen, answer) = (seen.expect("it ran"), endless.await.unwrap());
    let call = answer["call_id"].as_str().unwrap();
    assert!(seen.get::<String, _>(0).ends_with(&format!(" /* countersign:{call} */")));
    assert_eq!(seen.get::<String, _>(1), format!("countersign:{call}"));
    world.verify();
}
