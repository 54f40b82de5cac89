//! Masking on PostgreSQL, against a real server: every form a column can take, partitions, rows that a change returns, and errors.

use countersign::mask::{ColumnRule, Mode};
use serde_json::json;
use sqlx::Executor;

use crate::harness::code;
use crate::masking::columns;
use crate::postgres::{approve, world};

/// Each form with `{}` for the column: once with a column that a rule names, once with one that is known by its name. `m` is a result column
/// that must be masked, `-` one that must not.
const FORMS: [(&str, &str); 48] = [
    ("SELECT {} FROM customers", "m"),
    ("SELECT {} AS x, id FROM customers", "m-"),
    ("SELECT customers.{}, public.customers.{}, postgres.public.customers.{} FROM customers", "mmm"),
    ("SELECT upper(postgres.public.customers.{}) FROM customers", "m"),
    ("SELECT upper({}), left({}, 20), id + 1 FROM customers", "mm-"),
    ("SELECT {}::varchar || '' FROM customers", "m"),
    ("SELECT md5({}) FROM customers", "m"),
    ("SELECT max({}), string_agg({}, ','), count({}) FROM customers", "mm-"),
    ("SELECT array_agg({}) FROM customers", "m"),
    ("SELECT CASE WHEN id > 0 THEN {} END FROM customers", "m"),
    ("SELECT (SELECT {} FROM customers LIMIT 1)", "m"),
    ("WITH x AS (SELECT {} AS y FROM customers) SELECT reverse(y) FROM x", "m"),
    ("SELECT note FROM customers UNION SELECT {} FROM customers", "m"),
    ("SELECT {} FROM customers UNION ALL SELECT note FROM customers", "m"),
    ("SELECT c FROM customers c", "m"),
    ("SELECT row_to_json(c) FROM customers c", "m"),
    ("SELECT to_jsonb(c) ->> '{}' FROM customers c", "m"),
    ("SELECT to_jsonb(c.*) FROM customers c", "m"),
    ("SELECT to_jsonb(c) #>> ARRAY['{}'] FROM customers c", "m"),
    ("SELECT to_jsonb(c) #> ARRAY['{}'] FROM customers c", "m"),
    ("SELECT jsonb_path_query(to_jsonb(c), '$.{}') FROM customers c", "m"),
    ("SELECT jsonb_path_query_array(jsonb_agg(c), '$[*].{}') FROM customers c", "m"),
    ("SELECT r.{} FROM customers c, jsonb_to_record(to_jsonb(c)) AS r(id int, {} text)", "m"),
    ("SELECT r.x FROM customers c, jsonb_to_recordset(jsonb_build_array(jsonb_build_object('x', c.{}))) AS r(x text)", "m"),
    ("SELECT value FROM customers c, jsonb_each_text(to_jsonb(c))", "m"),
    ("SELECT json_agg(c) FROM customers c", "m"),
    ("SELECT c::text FROM customers c", "m"),
    ("SELECT ROW(c.*)::text FROM customers c", "m"),
    ("SELECT ROW({}, 1)::text FROM customers c", "m"),
    ("SELECT (c).{} FROM customers c", "m"),
    ("SELECT t.x FROM (SELECT {} AS x FROM customers) t", "m"),
    ("SELECT v, w FROM shown", "mm"),
    ("SELECT upper(v), upper(w) FROM shown", "mm"),
    ("SELECT split_part({}, '@', 1) FROM customers", "m"),
    ("SELECT x.y FROM customers c, LATERAL (SELECT c.{} AS y) x", "m"),
    (
        "WITH RECURSIVE r(n, e) AS (SELECT 1, {} FROM customers WHERE id = 1 UNION ALL SELECT n + 1, e FROM r WHERE n < 3) SELECT n, e FROM r",
        "-m",
    ),
    ("SELECT jsonb_build_object('z', {}) FROM customers", "m"),
    ("SELECT first_value({}) OVER (ORDER BY id) FROM customers", "m"),
    ("SELECT {}, count(*) FROM customers GROUP BY {}", "m-"),
    ("SELECT encode({}::bytea, 'hex') FROM customers", "m"),
    ("SELECT u FROM customers, unnest(ARRAY[{}]) AS u", "m"),
    ("SELECT u FROM customers, string_to_table({}, 'x') AS u", "m"),
    ("SELECT regexp_matches({}, '.*') FROM customers", "m"),
    ("SELECT {} LIKE 'p%' FROM customers", "m"),
    // A partition, its partition, and a child table hold what their parents do; the column's name alone says nothing.
    ("SELECT upper({}), id FROM parts.customers_all", "m-"),
    ("SELECT upper({}), id FROM parts.customers_low", "m-"),
    ("SELECT upper({}), {} FROM parts.customers_low_a", "mm"),
    ("SELECT p.{} || '', p::text FROM vip AS p", "mm"),
];

const MORE: &str = "
    CREATE SCHEMA parts;
    CREATE VIEW shown AS SELECT name AS v, email AS w FROM customers;
    CREATE TABLE parts.customers (id int, name text, email text) PARTITION BY RANGE (id);
    CREATE TABLE parts.customers_low PARTITION OF parts.customers FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
    CREATE TABLE parts.customers_low_a (email text, id int, name text);
    ALTER TABLE parts.customers_low ATTACH PARTITION parts.customers_low_a FOR VALUES FROM (0) TO (50);
    INSERT INTO parts.customers SELECT id, name, email FROM public.customers WHERE id < 40;
    CREATE VIEW parts.customers_all AS SELECT * FROM parts.customers;
    CREATE TABLE events (id int, words text); CREATE TABLE loud (volume int) INHERITS (events); CREATE TABLE louder () INHERITS (loud);
    INSERT INTO louder VALUES (1, 'Person Loud', 11);
    CREATE TABLE vip (perk text) INHERITS (customers);
    INSERT INTO vip (id, name, email, perk) VALUES (99, 'Person 99', 'person99@example.com', 'tea');
    GRANT USAGE ON SCHEMA parts TO support;
    GRANT SELECT ON ALL TABLES IN SCHEMA parts TO support; GRANT SELECT ON shown, vip, events TO support;";

#[tokio::test]
async fn every_form_of_a_masked_column_is_masked() {
    let (mut world, cluster) = world().await;
    cluster.admin().await.execute(MORE).await.unwrap();
    // A rule for a child table holds for its rows as they are read through its parents; the column's name alone says nothing.
    let loud = ColumnRule {
        target: Some("pg".to_owned()),
        schema: Some("public".to_owned()),
        table: "Louder".to_owned(),
        column: "words".to_owned(),
        mode: Mode::Redact,
    };
    columns(&world.agent(), "pg", "SELECT words, id FROM events", "--").await;
    world.restart_with(|settings| settings.masks.push(loud)).await;
    columns(&world.agent(), "pg", "SELECT words, upper(words), id FROM events", "mm-").await;
    columns(&world.agent(), "pg", "SELECT e, (e).words FROM events e", "mm").await;
    let agent = world.agent();
    for column in ["name", "email"] {
        for (form, pattern) in FORMS {
            let answer = columns(&agent, "pg", &form.replace("{}", column), pattern).await;
            let text = answer.to_string().to_lowercase();
            for form in ["person", "nosrep", "@example", &hex::encode("erson")] {
                assert!(!text.contains(form), "{form} {column}: {text}");
            }
        }
    }
    // The server's own catalogue is known without being on the path, and holds nothing personal.
    columns(&agent, "pg", "SELECT relname, upper(relname) FROM pg_class WHERE relname = 'customers'", "--").await;
    columns(&agent, "pg", "SELECT table_name FROM information_schema.tables LIMIT 1", "-").await;
    columns(&agent, "pg", "SELECT ctid::text, xmin::text FROM customers LIMIT 1", "--").await;
    world.verify();
}

#[tokio::test]
async fn rows_that_a_change_returns_are_masked() {
    let (world, _cluster) = world().await;
    let agent = world.agent();
    for (sql, pattern) in [
        ("UPDATE customers SET note = 'a' WHERE id = 1 RETURNING id, name, upper(email), note", "-mm-"),
        ("UPDATE customers SET note = name WHERE id = 2 RETURNING note", "m"),
        ("UPDATE customers SET note = 'a' WHERE id = 3 RETURNING *", "-mm------"),
        ("UPDATE customers AS c SET note = 'a' WHERE c.id = 4 RETURNING c, to_jsonb(c) ->> 'name', c.name || ''", "mmm"),
        (
            "UPDATE customers SET note = o.name FROM customers o WHERE customers.id = 5 AND o.id = 6 RETURNING customers.id, customers.note",
            "mm",
        ),
        ("INSERT INTO customers (id, note) SELECT 900, name FROM customers WHERE id = 7 RETURNING note", "m"),
        ("INSERT INTO customers (id, name) VALUES (901, 'Person X') RETURNING (SELECT max(name) FROM customers), name", "mm"),
    ] {
        let answer = approve(&world, &agent, "pg", sql).await;
        crate::masking::check(&answer, sql, pattern);
        let text = answer.to_string();
        assert!(!text.contains("Person") && !text.contains("PERSON") && !text.contains("person"), "{sql}: {text}");
    }
    world.verify();
}

#[tokio::test]
async fn errors_name_what_is_wrong_and_quote_nothing() {
    let (world, cluster) = world().await;
    cluster
        .admin()
        .await
        .execute(
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                 RAISE NOTICE 'notice of %', NEW.name;
                 IF NEW.note = 'undefined' THEN RAISE undefined_table USING MESSAGE = 'told ' || NEW.name, COLUMN = NEW.name; END IF;
                 IF NEW.note = 'refused' THEN RAISE insufficient_privilege USING MESSAGE = 'told ' || NEW.name, HINT = NEW.name; END IF;
                 IF NEW.note = 'raised' THEN RAISE EXCEPTION 'told %', NEW.name; END IF;
                 RETURN NEW; END$$;
             CREATE TRIGGER tells BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION tell();",
        )
        .await
        .unwrap();
    let agent = world.agent();
    for (sql, expected, says) in [
        ("INSERT INTO customers (id, email) VALUES (900, 'person7@example.com')", "target.failed", "customers_email_key"),
        ("UPDATE customers SET id = NULL WHERE id = 3", "target.failed", "column `id`"),
        ("UPDATE customers SET balance = note::numeric WHERE id = 3", "target.failed", "form of its type"),
        ("UPDATE customers SET note = 'undefined' WHERE id = 3", "target.failed", "SQLSTATE 42P01"),
        ("UPDATE customers SET note = 'refused' WHERE id = 3", "target.refused", "SQLSTATE 42501"),
        ("UPDATE customers SET note = 'raised' WHERE id = 3", "target.failed", "own code raised an error"),
    ] {
        let answer = approve(&world, &agent, "pg", sql).await;
        assert_eq!(code(&answer), expected, "{sql}: {answer}");
        let text = answer.to_string();
        assert!(text.contains(says) && !text.contains("person") && !text.contains("Person") && !text.contains("note 3"), "{sql}: {text}");
    }
    let noticed = approve(&world, &agent, "pg", "UPDATE customers SET note = 'fine' WHERE id = 3").await;
    assert!(noticed["status"] == "ok" && !noticed.to_string().contains("notice of"), "{noticed}");
    // What is said at run time is in our own words, whatever number it has.
    for (sql, expected) in [
        ("SELECT email::int FROM customers", "SQLSTATE 22P02"),
        ("SELECT pg_relation_size(quote_ident(name)) FROM customers", "SQLSTATE 42P01"),
        ("SELECT pg_relation_size(name::text) FROM customers", "SQLSTATE 42"),
        ("SELECT to_tsquery(name) FROM customers", "SQLSTATE 42601"),
        ("SELECT jsonb_path_query('{}', ('$.' || name)::text::jsonpath) FROM customers", "not known to only read"),
        ("SELECT to_date(name, 'YYYY') FROM customers", "SQLSTATE 22007"),
        ("SELECT ('{' || name)::json FROM customers", "SQLSTATE 22P02"),
        ("SELECT name FROM customers WHERE 1 / (id - 3) > 5", "SQLSTATE 22012"),
    ] {
        let answer = agent.query("pg", sql).await;
        let text = answer.to_string();
        assert!(text.contains(expected) && !text.to_lowercase().contains("person"), "{sql}: {text}");
    }
    // What is wrong with the statement is said as the server says it.
    for (sql, says) in [
        ("SELECT * FROM nowhere", "relation \\\"nowhere\\\" does not exist (SQLSTATE 42P01)"),
        ("SELECT nothing FROM customers", "column \\\"nothing\\\" does not exist (SQLSTATE 42703)"),
        ("SELECT * FROM secrets", "this role may not do that"),
    ] {
        let answer = agent.query("pg", sql).await;
        assert!(answer.to_string().contains(says), "{sql}: {answer}");
    }
    world.verify();
}

#[tokio::test]
async fn citext_is_text() {
    let (world, cluster) = world().await;
    cluster
        .admin()
        .await
        .execute("CREATE EXTENSION citext; CREATE TABLE tags (id int PRIMARY KEY, tag citext); INSERT INTO tags VALUES (1, 'Red'); GRANT SELECT ON tags TO support")
        .await
        .unwrap();
    let agent = world.agent();
    let answer = agent.call("db_query", json!({"target": "pg", "sql": "SELECT id, tag FROM tags WHERE tag = $1", "params": ["rED"]})).await;
    assert_eq!(answer["result"]["rows"], json!([[1, "Red"]]), "{answer}");
    world.verify();
}
