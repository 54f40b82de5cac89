//! Tables of statements: what is refused, what counts as a read, what is touched, where columns come from, what a preview is.

use super::*;
use crate::operation::Risk;
use crate::refusal::Code;

const BOTH: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];
const PG: [Engine; 1] = [Engine::Postgres];
const LITE: [Engine; 1] = [Engine::Sqlite];

fn refused(engines: &[Engine], sql: &str, code: Code) {
    for engine in engines {
        match Statement::parse(*engine, sql) {
            Err(refusal) => assert_eq!(refusal.code(), code, "{engine:?} {sql}: {refusal}"),
            Ok(statement) => panic!("{engine:?} {sql}: accepted as {} {}", statement.verb(), statement.risk()),
        }
    }
}

fn risk(engines: &[Engine], sql: &str, risk: Risk) {
    for engine in engines {
        match Statement::parse(*engine, sql) {
            Ok(statement) => {
                assert_eq!(statement.risk(), risk, "{engine:?} {sql}: {:?}", statement.why_not_read());
                assert_eq!(statement.is_read(), risk == Risk::Read && statement.verb() == "select", "{engine:?} {sql}");
            }
            Err(refusal) => panic!("{engine:?} {sql}: {refusal}"),
        }
    }
}

#[test]
fn attacks_1_2_20_only_one_statement_of_a_listed_kind() {
    for sql in ["SELECT 1; COMMIT; DROP SCHEMA public CASCADE", "SELECT 1; SELECT 2", "SELECT 1;;SELECT 2", "SELECT 1; -- x\n COMMIT"] {
        refused(&BOTH, sql, Code::SeveralStatements);
    }
    for sql in ["COMMIT", "/* x */ COMMIT -- y", "ROLLBACK", "SAVEPOINT a", "BEGIN", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE DELETE FROM t"] {
        refused(&BOTH, sql, Code::UnsupportedStatement);
    }
    for sql in [
        "COMMIT AND CHAIN",
        "PREPARE p AS DELETE FROM t",
        "EXECUTE p",
        "SET ROLE postgres",
        "RESET ROLE",
        "SHOW x",
        "LISTEN x",
        "COPY t TO PROGRAM 'id'",
        "COPY t FROM '/etc/passwd'",
        "SET SESSION AUTHORIZATION DEFAULT",
        "CALL f()",
        "CREATE EXTENSION x",
        "DEALLOCATE p",
        "DECLARE c CURSOR FOR SELECT 1",
    ] {
        let refusal = Statement::parse(Engine::Postgres, sql).unwrap_err();
        assert!(matches!(refusal.code(), Code::UnsupportedStatement | Code::Unparsable), "{sql}: {refusal}");
    }
    for sql in ["ATTACH 'x.db' AS x", "PRAGMA table_info(x)", "VACUUM", "DETACH x"] {
        let refusal = Statement::parse(Engine::Sqlite, sql).unwrap_err();
        assert!(matches!(refusal.code(), Code::UnsupportedStatement | Code::Unparsable), "{sql}: {refusal}");
    }
    for sql in [
        "DO $$ BEGIN END $$",
        "",
        "   ",
        "-- nothing",
        "SELEC 1",
        "SELECT 'a",
        "SELECT $tag$x$tag$",
        "SELECT U&'d\\0061t'",
        "SELECT E'a\\'b'",
    ] {
        let refusal = Statement::parse(Engine::Postgres, sql).unwrap_err();
        assert!(matches!(refusal.code(), Code::UnsupportedStatement | Code::Unparsable), "{sql}: {refusal}");
    }
}

#[test]
fn attacks_3_4_5_10_15_functions_that_are_not_known_to_read() {
    for call in [
        "setval('s', 1)",
        "nextval('s')",
        "lo_export(1, 'x')",
        "pg_read_file('x')",
        "query_to_xml('DELETE FROM t', true, false, '')",
        "ts_stat('select 1')",
        "pg_sleep(1e6)",
        "set_config('role', 'postgres', false)",
        "pg_terminate_backend(1)",
        "repeat('x', 1000)",
        "lpad('x', 100000000)",
        "my_function()",
        "public.lower('x')",
        "dblink('x', 'y')",
        "pg_ls_dir('.')",
        "load_extension('x')",
        "zeroblob(1000000000)",
        "database_to_xml(true, true, '')",
        "xpath_table('a','b','c','d','e')",
    ] {
        for sql in [
            format!("SELECT {call}"),
            format!("SELECT 1 FROM t WHERE {call} IS NULL"),
            format!("SELECT 1 FROM t ORDER BY {call}"),
            format!("SELECT coalesce(1, (SELECT {call}))"),
            format!("WITH x AS (SELECT {call}) SELECT * FROM x"),
            format!("SELECT sum(a) OVER (PARTITION BY {call}) FROM t"),
            format!("SELECT 1 FROM t LIMIT (SELECT {call})"),
            format!("SELECT CASE WHEN {call} IS NULL THEN 1 END"),
        ] {
            risk(&BOTH, &sql, Risk::Admin);
        }
        risk(&PG, &format!("SELECT * FROM {call}"), Risk::Admin);
        risk(&PG, &format!("SELECT * FROM t, LATERAL {call} AS x"), Risk::Admin);
    }
    risk(&PG, "SELECT generate_series(1, 1000000000000)", Risk::Admin);
    risk(&PG, "SELECT * FROM generate_series(1, 100)", Risk::Read);
    risk(&PG, "SELECT 1 OPERATOR(public.+) 1", Risk::Admin);
    risk(&PG, "SELECT 'x'::my_type", Risk::Admin);
    risk(&PG, "SELECT replace(replace(replace(replace('x','x','y'),'x','y'),'x','y'),'x','y')", Risk::Admin);
}

#[test]
fn attack_6_changes_inside_reads() {
    // Neither shown nor bounded, so not accepted: a change inside a statement, whatever stands around it.
    for sql in [
        "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "WITH d AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM d",
        "WITH d AS (UPDATE t SET a = 1 RETURNING *) INSERT INTO u SELECT * FROM d",
        "WITH d AS (MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE) SELECT 1",
        "WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE id = 1",
        "WITH x AS (SELECT 1) DELETE FROM t WHERE id = 1",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "SELECT * FROM (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) AS y",
        "INSERT INTO u WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
        "SELECT * INTO x FROM t",
        "WITH x AS (SELECT * INTO y FROM t) SELECT 1",
    ] {
        refused(&PG, sql, Code::UnsupportedStatement);
    }
    refused(&LITE, "WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE id = 1", Code::UnsupportedStatement);
    risk(&BOTH, "INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", Risk::Write);
    risk(&BOTH, "DELETE FROM t WHERE id IN (WITH x AS (SELECT 1) SELECT * FROM x)", Risk::Destructive);
    risk(&BOTH, "DELETE FROM t WHERE id = 1", Risk::Destructive);
    risk(&BOTH, "UPDATE t SET a = 1", Risk::Destructive);
    risk(&BOTH, "UPDATE t SET a = 1 WHERE 1 = 1", Risk::Destructive);
    risk(&BOTH, "UPDATE t SET a = 1 WHERE id = 7", Risk::Write);
    risk(&BOTH, "INSERT INTO t (a) VALUES (1)", Risk::Write);
    risk(&LITE, "REPLACE INTO t (a) VALUES (1)", Risk::Destructive);
    risk(&BOTH, "UPDATE t SET a = evil() WHERE id = 7", Risk::Admin);
    risk(&BOTH, "INSERT INTO t (a) SELECT evil() FROM u", Risk::Admin);
    risk(&BOTH, "DROP TABLE t", Risk::Destructive);
    risk(&BOTH, "CREATE TABLE t (a int)", Risk::Write);
    risk(&BOTH, "CREATE VIEW v AS SELECT 1", Risk::Admin);
    risk(&PG, "GRANT ALL ON t TO bob", Risk::Admin);
    risk(&PG, "TRUNCATE t", Risk::Destructive);
    for sql in
        ["TRUNCATE t CASCADE", "DROP TABLE t CASCADE", "CREATE TABLE p PARTITION OF t DEFAULT", "CREATE TABLE p (a int) INHERITS (t)"]
    {
        refused(&PG, sql, Code::UnsupportedStatement);
    }
    let locked = Statement::parse(Engine::Postgres, "SELECT * FROM t FOR UPDATE").unwrap();
    assert!(!locked.is_read());
}

#[test]
fn an_alter_that_is_about_rights_is_admin() {
    for action in [
        "ADD COLUMN b int DEFAULT 1",
        "DROP COLUMN b",
        "ALTER COLUMN b TYPE text",
        "ALTER COLUMN b SET NOT NULL",
        "RENAME COLUMN b TO c",
        "ADD CONSTRAINT x CHECK (b > 1)",
        "DROP CONSTRAINT x",
    ] {
        risk(&PG, &format!("ALTER TABLE t {action}"), Risk::Destructive);
    }
    for action in [
        "OWNER TO mallory",
        "ENABLE ROW LEVEL SECURITY",
        "DISABLE ROW LEVEL SECURITY",
        "FORCE ROW LEVEL SECURITY",
        "NO FORCE ROW LEVEL SECURITY",
        "DISABLE TRIGGER x",
        "ENABLE TRIGGER x",
        "DISABLE RULE x",
        "ENABLE ALWAYS RULE x",
        "DROP COLUMN b CASCADE",
        "ADD COLUMN b int DEFAULT evil()",
        "ALTER COLUMN b TYPE int USING evil(b)",
        "DROP COLUMN b, OWNER TO mallory",
        // Rules and policies speak of tables by name.
        "RENAME TO u",
    ] {
        risk(&PG, &format!("ALTER TABLE t {action}"), Risk::Admin);
    }
    for sql in [
        "CREATE POLICY p ON t USING (true)",
        "DROP POLICY p ON t",
        "ALTER POLICY p ON t RENAME TO q",
        "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "DROP TRIGGER x ON t",
        "ALTER ROLE mallory SUPERUSER",
        "CREATE ROLE mallory",
        "ALTER VIEW v AS SELECT 1",
    ] {
        refused(&PG, sql, Code::UnsupportedStatement);
    }
}

#[test]
fn attack_16_what_cannot_be_seen_is_not_accepted() {
    for c in ['\u{a0}', '\u{200b}', '\u{202e}', '\u{0}', '\u{feff}'] {
        refused(&BOTH, &format!("SELECT{c}1"), Code::Unparsable);
    }
    refused(&BOTH, "SELECT 'a''''b'", Code::Unparsable);
    refused(&BOTH, &format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)), Code::TooComplex);
    refused(&BOTH, &format!("SELECT 1 -- {}", "x".repeat(70_000)), Code::TooComplex);
    let commented = Statement::parse(Engine::Postgres, "SELECT /* hidden */ 1 -- more").unwrap();
    assert_eq!(commented.text(), "SELECT 1");
}

#[test]
fn system_catalogues_that_hold_data_are_no_reads() {
    for name in [
        "pg_stats",
        "pg_catalog.pg_statistic",
        "pg_authid",
        "pg_shadow",
        "pg_stat_activity",
        "pg_toast.pg_toast_1234",
        "pg_largeobject",
        "pg_user_mapping",
    ] {
        risk(&PG, &format!("SELECT * FROM {name}"), Risk::Admin);
    }
    risk(&PG, "SELECT relname FROM pg_class", Risk::Read);
    risk(&PG, "SELECT table_name FROM information_schema.tables", Risk::Read);
    risk(&LITE, "SELECT * FROM sqlite_stat4", Risk::Admin);
    risk(&LITE, "SELECT * FROM pragma_database_list", Risk::Admin);
    risk(&LITE, "SELECT name FROM sqlite_master", Risk::Read);
    // The hidden columns of these take arguments.
    for name in ["json_each", "json_tree", "jsonb_each", "jsonb_tree"] {
        risk(&LITE, &format!("SELECT value FROM {name} WHERE json = (SELECT json_group_array(email) FROM c)"), Risk::Admin);
        risk(&LITE, &format!("SELECT value FROM {name}('[1]')"), if name.starts_with("json_") { Risk::Read } else { Risk::Admin });
    }
}

fn touches(engine: Engine, sql: &str, expected: &[&str]) {
    let statement = Statement::parse(engine, sql).unwrap();
    let found: Vec<String> = statement.touches().iter().map(|touch| format!("{} {} {}", touch.verb, touch.on, touch.risk)).collect();
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn touches_name_tables_and_never_common_table_expressions() {
    touches(
        Engine::Postgres,
        "SELECT * FROM a JOIN s.b ON a.id = b.id WHERE EXISTS (SELECT 1 FROM c)",
        &["select a read", "select c read", "select s.b read"],
    );
    touches(Engine::Postgres, "WITH a AS (SELECT * FROM b) SELECT * FROM a", &["select b read"]);
    // Not recursive: the inner name is the table.
    touches(Engine::Postgres, "WITH a AS (SELECT * FROM a) SELECT * FROM a", &["select a read"]);
    touches(Engine::Postgres, "SELECT * FROM a WHERE x IN (WITH a AS (SELECT 1) SELECT * FROM a)", &["select a read"]);
    touches(Engine::Postgres, "INSERT INTO a SELECT * FROM b", &["insert a write", "select b read"]);
    touches(Engine::Postgres, "INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET x = 1", &["insert a write", "update a write"]);
    touches(Engine::Sqlite, "SELECT * FROM \"Customers\"", &["select customers read"]);
    touches(Engine::Postgres, "SELECT * FROM \"Customers\"", &["select Customers read"]);
    touches(Engine::Postgres, "SELECT * FROM CUSTOMERS", &["select customers read"]);
}

#[test]
fn names_are_folded_and_cut_as_the_engine_does() {
    // No engine folds beyond ASCII: these are two tables.
    for engine in BOTH {
        touches(engine, "SELECT * FROM \u{c9}T\u{c9}, \u{e9}t\u{e9}", &["select \u{c9}t\u{c9} read", "select \u{e9}t\u{e9} read"]);
        // Nor are these one common table expression.
        touches(engine, "WITH \u{e9} AS (SELECT 1) SELECT * FROM \u{c9}", &["select \u{c9} read"]);
    }
    let long = "n".repeat(64);
    for sql in [
        format!("SELECT 1 AS {long}"),
        format!("SELECT * FROM \"{long}\""),
        format!("SELECT t.{long} FROM t"),
        format!("WITH {long} AS (SELECT 1) SELECT 1"),
        format!("SELECT 1 FROM t AS {long}"),
        format!("SELECT 1 FROM t AS x ({long})"),
        format!("SELECT {long}(1)"),
        format!("UPDATE t SET {long} = 1 WHERE id = 1"),
        format!("SELECT '{}' AS {}", "n".repeat(64), "\u{e9}".repeat(32)),
    ] {
        refused(&PG, &sql, Code::Unparsable);
    }
    risk(&BOTH, &format!("SELECT 1 AS {}", "n".repeat(63)), Risk::Read);
    risk(&LITE, &format!("SELECT 1 AS {long}"), Risk::Read);
}

fn preview(engine: Engine, sql: &str, params: &[Param], count: Option<&str>, sample: Option<&str>) {
    let statement = Statement::parse(engine, sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
    let sql_operation = Sql { statement, params: params.to_vec(), mode: Mode::Execute, expect_max_rows: None };
    let preview = sql_operation.preview();
    let text = |sql: &Sql| format!("{} {:?}", sql.statement.text(), sql.params.iter().map(Param::to_json).collect::<Vec<_>>());
    let found = preview.as_ref().map(|preview| match &preview.count {
        Count::Known(rows) => rows.to_string(),
        Count::Query(sql) => text(sql),
    });
    assert_eq!(found.as_deref(), count, "{sql}");
    assert_eq!(preview.as_ref().and_then(|preview| preview.sample.as_deref()).map(text).as_deref(), sample, "{sql}");
}

#[test]
fn previews_read_what_a_change_would_touch() {
    let params = [Param::Text("x".into()), Param::Integer(7)];
    preview(
        Engine::Postgres,
        "UPDATE c SET name = $1 WHERE id = $2",
        &params,
        Some("SELECT count(*) AS n FROM c WHERE id = $1 [Number(7)]"),
        Some("SELECT c.* FROM c WHERE id = $1 LIMIT 5 [Number(7)]"),
    );
    preview(
        Engine::Sqlite,
        "UPDATE c SET name = ? WHERE id = ?",
        &params,
        Some("SELECT count(*) AS n FROM c WHERE id = ?1 [Number(7)]"),
        Some("SELECT c.* FROM c WHERE id = ?1 LIMIT 5 [Number(7)]"),
    );
    preview(
        Engine::Postgres,
        "DELETE FROM c AS k WHERE k.id = 1",
        &[],
        Some("SELECT count(*) AS n FROM c AS k WHERE k.id = 1 []"),
        Some("SELECT k.* FROM c AS k WHERE k.id = 1 LIMIT 5 []"),
    );
    preview(Engine::Postgres, "INSERT INTO c (id) VALUES (1), (2)", &[], Some("2"), None);
    preview(
        Engine::Postgres,
        "INSERT INTO c (id) SELECT id FROM o WHERE total > 5",
        &[],
        Some("SELECT count(*) AS n FROM (SELECT id FROM o WHERE total > 5) AS preview_of []"),
        None,
    );
    preview(Engine::Postgres, "DROP TABLE c", &[], Some("SELECT count(*) AS n FROM c []"), Some("SELECT * FROM c LIMIT 5 []"));
    preview(Engine::Postgres, "UPDATE c SET name = 'x' WHERE evil()", &[], None, None);
    preview(Engine::Postgres, "CREATE TABLE x (a int)", &[], None, None);
}

#[test]
fn placeholders_are_counted_and_gaps_refused() {
    assert_eq!(Statement::parse(Engine::Postgres, "SELECT $1, $2, $1").unwrap().placeholders(), 2);
    assert_eq!(Statement::parse(Engine::Sqlite, "SELECT ?, ?").unwrap().placeholders(), 2);
    assert_eq!(Statement::parse(Engine::Sqlite, "SELECT ?1, ?2, ?1").unwrap().placeholders(), 2);
    refused(&PG, "SELECT $2", Code::Unparsable);
    refused(&LITE, "SELECT :name", Code::Unparsable);
}

proptest::proptest! {
    /// Whatever comes in, nothing panics, and what is accepted reads back as itself.
    #[test]
    fn accepted_text_is_a_fixpoint(sql in "(SELECT|UPDATE c SET|DELETE FROM|WITH x AS \\(|\\(|\\)|,| |c|email|'|''|\"|1|\\$1|\\*|=|FROM|WHERE|UNION|--|/\\*|;|x'){0,24}") {
        for engine in BOTH {
            if let Ok(statement) = Statement::parse(engine, &sql) {
                let again = Statement::parse(engine, statement.text()).unwrap();
                proptest::prop_assert_eq!(again.text(), statement.text());
                proptest::prop_assert_eq!(again.risk(), statement.risk());
            }
        }
    }
}

#[test]
fn what_calls_something_unknown_is_impure_whatever_it_changes() {
    for (sql, calls, impure) in [
        ("UPDATE t SET a = lower(b) WHERE c > 1", &["lower"][..], false),
        ("DELETE FROM t", &[], false),
        ("INSERT INTO t SELECT coalesce(max(a), 0) FROM pg_catalog.pg_class", &["coalesce", "max"], false),
        ("CREATE TABLE t (a timestamptz DEFAULT now())", &["now"], false),
        ("CREATE VIEW v AS SELECT upper(a) FROM t", &["upper"], false),
        ("UPDATE t SET a = evil(b)", &[], true),
        ("DELETE FROM t WHERE a OPERATOR(public.=) b", &[], true),
        ("UPDATE t SET a = b::evil", &[], true),
        ("INSERT INTO t SELECT * FROM evil(1)", &[], true),
        ("UPDATE t SET a = 1 RETURNING evil(a)", &[], true),
        ("CREATE TABLE t (a int DEFAULT evil())", &[], true),
        ("CREATE TABLE t (a int CHECK (a > evil()))", &[], true),
        ("CREATE INDEX i ON t (evil(a))", &[], true),
        ("CREATE VIEW v AS SELECT * FROM evil(1)", &[], true),
        ("ALTER TABLE t ALTER COLUMN a TYPE int USING evil(a)", &[], true),
    ] {
        let statement = Statement::parse(Engine::Postgres, sql).unwrap();
        assert_eq!(statement.impure().is_some(), impure, "{sql}: {:?}", statement.impure());
        assert!(impure || statement.functions().iter().eq(calls), "{sql}: {:?}", statement.functions());
    }
}
