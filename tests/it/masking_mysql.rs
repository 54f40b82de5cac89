//! Masking on MySQL, against a real MariaDB: every form a column can take, and errors that would quote data.

use serde_json::json;

use crate::harness::code;
use crate::masking::columns;
use crate::mysql::world;

/// Each form with `{}` for the column: once with a column that a rule names, once with one that is known by its name. `m` is a result column
/// that must be masked, `-` one that must not.
const FORMS: [(&str, &str); 38] = [
    ("SELECT {} FROM customers", "m"),
    ("SELECT {} AS x, id FROM customers", "m-"),
    ("SELECT customers.{}, shop.customers.{}, `customers`.`{}` FROM customers", "mmm"),
    ("SELECT upper({}), left({}, 20), id + 1 FROM customers", "mm-"),
    ("SELECT CAST({} AS CHAR), CAST({} AS BINARY) FROM customers", "mm"),
    ("SELECT {} || '' FROM customers", "m"),
    ("SELECT concat({}, ''), sha2({}, 256), hex({}) FROM customers", "mmm"),
    ("SELECT max({}), group_concat({} SEPARATOR ','), count({}) FROM customers", "mm-"),
    ("SELECT CASE WHEN id > 0 THEN {} END, IF(id > 0, {}, 1), IFNULL({}, 1) FROM customers", "mmm"),
    ("SELECT (SELECT {} FROM customers LIMIT 1)", "m"),
    ("WITH x AS (SELECT {} AS y FROM customers) SELECT reverse(y) FROM x", "m"),
    ("SELECT note FROM customers UNION SELECT {} FROM customers", "m"),
    ("SELECT {} FROM customers UNION ALL SELECT note FROM customers", "m"),
    ("SELECT note FROM customers WHERE id = 1 UNION ALL (SELECT {} FROM customers ORDER BY id LIMIT 1)", "m"),
    ("SELECT * FROM (SELECT {} AS x FROM customers) t", "m"),
    ("SELECT c.* FROM (SELECT id, {} AS x FROM customers) c", "-m"),
    ("SELECT JSON_OBJECT('z', {}) FROM customers", "m"),
    ("SELECT JSON_ARRAYAGG({}) FROM customers", "m"),
    ("SELECT JSON_UNQUOTE(JSON_EXTRACT(JSON_OBJECT('z', {}), '$.z')) FROM customers", "m"),
    ("SELECT JSON_VALUE(JSON_OBJECT('{}', {}), '$.{}') FROM customers", "m"),
    ("SELECT v, w FROM shown", "mm"),
    ("SELECT upper(v), upper(w) FROM shown", "mm"),
    ("SELECT v FROM shown_again", "m"),
    ("SELECT substring_index({}, '@', 1), locate('a', {}) FROM customers", "mm"),
    ("SELECT x.y FROM customers c JOIN (SELECT id, {} AS y FROM customers) x USING (id)", "m"),
    ("SELECT a.{}, b.id FROM customers a JOIN customers b ON a.id = b.id", "m-"),
    (
        "WITH RECURSIVE r(n, e) AS (SELECT 1, {} FROM customers WHERE id = 1 UNION ALL SELECT n + 1, e FROM r WHERE n < 3) SELECT n, e FROM r",
        "-m",
    ),
    ("SELECT first_value({}) OVER (ORDER BY id) FROM customers", "m"),
    ("SELECT {}, count(*) FROM customers GROUP BY {}", "m-"),
    ("SELECT {} LIKE 'p%', {} REGEXP '^p', {} <=> 'x' FROM customers", "mmm"),
    ("SELECT greatest({}, 'a'), coalesce(NULL, {}), nullif({}, 'x') FROM customers", "mmm"),
    ("SELECT to_base64({}), unhex(hex({})) FROM customers", "mm"),
    ("SELECT regexp_replace({}, '@', '#'), regexp_substr({}, '.*') FROM customers", "mm"),
    ("SELECT {} COLLATE utf8mb4_bin FROM customers", "m"),
    ("SELECT INSERT({}, 1, 0, 'x'), elt(1, {}), field({}, 'x') FROM customers", "mmm"),
    ("SELECT DISTINCT {} FROM customers", "m"),
    ("SELECT {} FROM shop.customers AS c WHERE EXISTS (SELECT 1 FROM customers d WHERE d.id = c.id)", "m"),
    ("SELECT ascii({}), ord({}), conv(hex({}), 16, 10) FROM customers", "mmm"),
];

#[tokio::test]
async fn every_form_of_a_masked_column_is_masked() {
    let (world, server) = world().await;
    server
        .run("CREATE VIEW shop.shown AS SELECT name AS v, email AS w FROM shop.customers;\nCREATE VIEW shop.shown_again AS SELECT CONCAT(v, w) AS v FROM shop.shown")
        .await;
    let agent = world.agent();
    for column in ["name", "email"] {
        for (form, pattern) in FORMS {
            let answer = columns(&agent, "my", &form.replace("{}", column), pattern).await;
            let text = answer.to_string().to_lowercase();
            for form in ["person", "nosrep", "@example", &hex::encode("erson"), "cgvyc29u"] {
                assert!(!text.contains(form), "{form} {column}: {text}");
            }
        }
    }
    // Names that the server looks for further out than where one would expect it, and tables whose names differ in case alone.
    server.run("CREATE TABLE shop.Customers (id int PRIMARY KEY, name varchar(80), age int)").await;
    server.run("INSERT INTO shop.Customers VALUES (1, 'Person Capital', 7)").await;
    server.run("CREATE TABLE shop.other (id int, note varchar(80)) AS SELECT 1 AS id, 'x' AS note").await;
    for sql in [
        "SELECT concat((SELECT customers.name FROM other AS customers LIMIT 1)) FROM customers LIMIT 3",
        "SELECT concat((SELECT name FROM (SELECT CAST(name AS CHAR) FROM (SELECT 1 AS name) e) d)) FROM customers LIMIT 3",
        "SELECT concat((SELECT user FROM (SELECT user()) d)) FROM (SELECT name AS user FROM customers) x LIMIT 3",
        "SELECT concat((SELECT oid FROM other LIMIT 1)) FROM (SELECT name AS oid FROM customers) c LIMIT 3",
        "SELECT concat((SELECT C.name FROM other c LIMIT 1)) FROM customers C LIMIT 3",
        "SELECT concat((SELECT d.y FROM (SELECT c.name AS lbl, (SELECT lbl) AS y FROM customers c) d LIMIT 1)) FROM (SELECT 1 AS lbl) o",
        "SELECT concat(name) FROM Customers",
        "SELECT concat(c.NAME) FROM Customers AS c",
    ] {
        let answer = columns(&agent, "my", sql, "m").await;
        assert!(!answer.to_string().to_lowercase().contains("person"), "{sql}: {answer}");
    }
    // Names and shapes hold nothing personal.
    columns(&agent, "my", "SELECT table_name, table_schema FROM information_schema.tables WHERE table_schema = 'shop'", "--").await;
    columns(&agent, "my", "SELECT 1 + 1, 'x', now()", "---").await;
    // A change gives no rows back; what an error would quote is not passed on.
    let returned = agent.execute("my", "DELETE FROM customers WHERE id = 9 RETURNING id, name, upper(email)").await;
    assert_eq!(code(&returned), "operation.unsupported_statement", "{returned}");
    for sql in [
        "SELECT 1 FROM customers WHERE extractvalue(1, concat('~', email)) = 1",
        "SELECT updatexml(1, concat('~', email), 1) FROM customers",
    ] {
        assert_eq!(code(&agent.query("my", sql).await), "operation.not_read", "{sql}");
    }
    let overflow = agent.query("my", "SELECT name, CAST(email AS SIGNED) + 9223372036854775807 + 9223372036854775807 FROM customers").await;
    assert!(!overflow.to_string().to_lowercase().contains("person"), "{overflow}");
    // The previewed rows are masked for the approver as well.
    let pending = agent.call("db_execute", json!({"target": "my", "sql": "DELETE FROM customers WHERE id = 12"})).await;
    let (_, shown) = world.approver().get(&format!("/approvals/{}", pending["approval"]["id"].as_str().unwrap())).await;
    assert!(shown["preview"]["rows"].is_array() || shown["preview"].to_string().contains("redacted"), "{shown}");
    assert!(!shown["preview"].to_string().contains("person12"), "{shown}");
    world.verify();
}
