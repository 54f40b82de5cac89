//! Masking on SQLite, in every form a column can take on its way into a result.

use serde_json::{Value, json};

use crate::harness::{Agent, World, code};

/// Runs a query and checks which of its columns come back masked: `m` must be, `-` must not.
pub async fn columns(agent: &Agent, target: &str, sql: &str, pattern: &str) -> Value {
    let answer = agent.query(target, sql).await;
    check(&answer, sql, pattern);
    answer
}

/// The same of an answer that is there.
pub fn check(answer: &Value, sql: &str, pattern: &str) {
    assert_eq!(answer["status"], "ok", "{sql}: {answer}");
    let columns = answer["result"]["columns"].as_array().unwrap();
    let found: String = columns.iter().map(|column| if column["masked"].is_string() { 'm' } else { '-' }).collect();
    assert_eq!(found, pattern, "{sql}: {answer}");
    let rows = answer["result"]["rows"].as_array().unwrap();
    assert!(!rows.is_empty(), "{sql} gave no row to look at");
    for row in rows {
        for (value, kind) in row.as_array().unwrap().iter().zip(pattern.chars()) {
            let is_mask = value.as_str().is_some_and(|text| text.starts_with("[redacted:") || text.contains("***"));
            assert!(kind == '-' || value.is_null() || is_mask, "{sql}: {value}");
        }
    }
    assert_eq!(answer["masked"].as_array().is_some_and(|masked| !masked.is_empty()), pattern.contains('m'), "{sql}: {answer}");
}

/// Each form with `{}` for the column: once with a column that a rule names, once with one that is known by its name.
const FORMS: [(&str, &str); 32] = [
    ("SELECT {} FROM customers", "m"),
    ("SELECT {} AS x, id FROM customers", "m-"),
    ("SELECT main.customers.{}, customers.{} FROM customers", "mm"),
    ("SELECT \"{}\" FROM Customers", "m"),
    ("SELECT upper({}), substr({}, 1, 20), id + 1 FROM customers", "mm-"),
    ("SELECT CAST({} AS BLOB) FROM customers", "m"),
    ("SELECT {} || '' FROM customers", "m"),
    ("SELECT hex({}) FROM customers", "m"),
    ("SELECT max({}), group_concat({}), count({}) FROM customers", "mm-"),
    ("SELECT CASE WHEN id > 0 THEN {} END FROM customers", "m"),
    ("SELECT (SELECT {} FROM customers LIMIT 1)", "m"),
    ("WITH x AS (SELECT {} AS y FROM customers) SELECT replace(y, '@', '#') FROM x", "m"),
    ("SELECT city FROM customers UNION SELECT {} FROM customers", "m"),
    ("SELECT {} FROM customers UNION ALL SELECT city FROM customers", "m"),
    ("SELECT json_object('z', {}) FROM customers", "m"),
    ("SELECT json_group_array({}) FROM customers", "m"),
    ("SELECT json_extract(json_object('{}', {}), '$.{}') FROM customers", "m"),
    ("SELECT json_object('{}', {}) ->> '{}' FROM customers", "m"),
    ("SELECT customer, contact, city FROM order_overview LIMIT 5", "mm-"),
    ("SELECT upper(customer), contact || '' FROM order_overview LIMIT 5", "mm"),
    ("SELECT * FROM order_overview LIMIT 5", "----mm-"),
    ("SELECT c.* FROM customers c LIMIT 3", "-mmmmm-mm--"),
    ("SELECT value FROM customers, json_each(json_array({})) LIMIT 4", "m"),
    ("SELECT atom, key FROM customers, json_tree(json_object('x', {})) LIMIT 4", "mm"),
    ("SELECT instr({}, 'a') FROM customers LIMIT 1", "m"),
    (
        "WITH RECURSIVE r(n, e) AS (SELECT 1, {} FROM customers WHERE id = 1 UNION ALL SELECT n + 1, e FROM r WHERE n < 3) SELECT n, e FROM r",
        "-m",
    ),
    ("SELECT first_value({}) OVER (ORDER BY id) FROM customers LIMIT 2", "m"),
    ("SELECT printf_free FROM (SELECT {} AS printf_free FROM customers) LIMIT 3", "m"),
    ("SELECT trim({}, 'x') FROM customers NATURAL JOIN (SELECT id FROM customers) LIMIT 3", "m"),
    ("SELECT {} LIKE 'a%' FROM customers LIMIT 3", "m"),
    ("SELECT {}, count(*) FROM customers GROUP BY {} LIMIT 3", "m-"),
    ("SELECT soundex({}), unicode({}) FROM customers LIMIT 3", "mm"),
];

/// People in the shop, in the forms that expressions above give them.
fn planted(world: &World) -> Vec<String> {
    let shop = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    let mut names = shop.prepare("SELECT lower(name) FROM customers ORDER BY id LIMIT 50").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let hexed = names.iter().map(hex::encode).collect::<Vec<_>>();
    names.into_iter().chain(hexed).chain(["@example".to_owned(), hex::encode("@example")]).collect()
}

#[tokio::test]
async fn no_form_of_a_masked_column_gets_through() {
    let world = World::new().await;
    let agent = world.agent();
    let planted = planted(&world);
    for column in ["name", "email"] {
        for (form, pattern) in FORMS {
            let text = columns(&agent, "shop", &form.replace("{}", column), pattern).await.to_string().to_lowercase();
            assert!(!planted.iter().any(|value| text.contains(value)), "{form} {column}: {text}");
        }
    }
    let notes = agent.query("shop", "SELECT lower(body) FROM support_notes").await.to_string();
    assert!(!notes.contains("@example"), "{notes}");
    // What is not personal is not masked, and counts tell numbers.
    columns(&agent, "shop", "SELECT city, count(email), count(*) FROM customers GROUP BY city", "---").await;
    columns(&agent, "shop", "SELECT name, sql FROM sqlite_master", "--").await;
    columns(&agent, "shop", "SELECT rowid, oid + 0 FROM customers", "--").await;
    world.verify();
}

/// SQLite's table functions may stand like tables, and then a condition on a hidden column is their argument.
#[tokio::test]
async fn table_functions_take_no_hidden_arguments() {
    let world = World::new().await;
    let agent = world.agent();
    let planted = planted(&world);
    for name in ["json_each", "json_tree", "jsonb_each", "jsonb_tree"] {
        for sql in [
            format!("SELECT value FROM {name} WHERE json = (SELECT json_group_array(name) FROM customers)"),
            format!("SELECT j.value FROM {name} AS j, customers AS c WHERE j.json = json_array(c.name)"),
            format!("SELECT upper(value) FROM (SELECT * FROM {name} WHERE json = (SELECT json_group_array(name) FROM customers))"),
        ] {
            assert_eq!(code(&agent.query("shop", &sql).await), "operation.not_read", "{sql}");
        }
    }
    // With an argument of their own, that argument is the document, and a condition only chooses.
    for sql in [
        "SELECT value FROM json_each('[1, 2]') WHERE json = (SELECT json_group_array(name) FROM customers)",
        "SELECT j.value FROM customers AS c LEFT JOIN json_each('[1, 2]') AS j ON j.json = json_array(c.name)",
        "SELECT j.value FROM customers AS c JOIN json_tree('{}', '$') AS j ON j.json = json_array(c.name) OR j.root = c.name",
    ] {
        let answer = agent.query("shop", sql).await;
        let text = answer.to_string().to_lowercase();
        assert!(answer["status"] == "ok" && !planted.iter().any(|value| text.contains(value)), "{sql}: {text}");
    }
    world.verify();
}

/// What the broker says of a statement that it did not take may quote it.
#[tokio::test]
async fn refusals_are_masked_and_say_so_in_the_record() {
    let world = World::new().await;
    let refused = world.agent().query("shop", "SELECT name FROM customers c \"person7@example.com\"").await;
    assert_eq!(code(&refused), "operation.unparsable");
    assert!(refused.to_string().contains("[redacted:email]") && !refused.to_string().contains("person7@"), "{refused}");
    assert_eq!(refused["masked"], json!([{"path": "/error", "rule": "content:email", "count": 1}]), "{refused}");
    let plain = world.agent().query("shop", "SELECT name FROM customers c d").await;
    assert!(plain["masked"].is_null(), "{plain}");
    let counts: Vec<Value> =
        world.approver().trail("&kind=call.refused").await.iter().map(|entry| entry["leaf"]["mask"]["counts"].clone()).collect();
    assert!(counts.contains(&json!({"content:email": 1})) && counts.contains(&json!({})), "{counts:?}");
    world.verify();
}

async fn approve(world: &World, sql: &str) -> Value {
    let pending = world.agent().execute("shop", sql).await;
    assert_eq!(pending["status"], "approval_pending", "{pending}");
    world.approver().decide(pending["approval"]["id"].as_str().unwrap(), json!({"decision": "approve"})).await;
    world.agent().execute("shop", sql).await
}

#[tokio::test]
async fn rows_that_a_change_returns_are_masked() {
    let world = World::new().await;
    let planted = planted(&world);
    for (sql, pattern) in [
        ("UPDATE customers SET tier = 'plus' WHERE id = 1 RETURNING id, name, upper(email), tier", "-mm-"),
        ("UPDATE customers SET tier = 'plus' WHERE id = 2 RETURNING *", "-mmmmm-mm--"),
        ("UPDATE customers SET city = name WHERE id = 3 RETURNING city", "m"),
        ("UPDATE customers SET tier = 'plus' WHERE id = 4 RETURNING json_object('x', name), rowid", "m-"),
        ("INSERT INTO products (sku, title, price_cents, stock) SELECT 'S', name, 1, 1 FROM customers WHERE id = 5 RETURNING title", "m"),
        (
            "INSERT INTO products (sku, title, price_cents, stock) VALUES ('T', 'x', 1, 1) RETURNING id, title, (SELECT max(name) FROM customers)",
            "--m",
        ),
    ] {
        let answer = approve(&world, sql).await;
        check(&answer, sql, pattern);
        let text = answer.to_string().to_lowercase();
        assert!(!planted.iter().any(|value| text.contains(value)), "{sql}: {text}");
    }
    world.verify();
}

/// A table whose number of the row is what a rule masks; views deeper than anybody follows.
#[tokio::test]
async fn other_names_and_deep_views_do_not_unmask() {
    let mut world = World::new().await;
    let shop = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    shop.execute_batch("CREATE TABLE members (badge INTEGER PRIMARY KEY, since TEXT); INSERT INTO members VALUES (4711, 'x');").unwrap();
    let mut views = "CREATE VIEW deep0 AS SELECT name AS x FROM customers;".to_owned();
    for depth in 1..20 {
        views.push_str(&format!("CREATE VIEW deep{depth} AS SELECT x FROM deep{};", depth - 1));
    }
    shop.execute_batch(&views).unwrap();
    world
        .restart_with(|settings| {
            let badge = countersign::mask::ColumnRule {
                table: "members".to_owned(),
                column: "badge".to_owned(),
                mode: countersign::mask::Mode::Redact,
                ..settings.masks[0].clone()
            };
            settings.masks.push(badge);
        })
        .await;
    let agent = world.agent();
    for (sql, pattern) in [
        ("SELECT badge, rowid, since FROM members", "mm-"),
        ("SELECT rowid + 0, oid || '', _rowid_ * 1 FROM members", "mmm"),
        ("SELECT m.rowid + 0, since FROM members AS m", "m-"),
        ("SELECT x + 0 FROM (SELECT rowid AS x FROM members)", "m"),
        ("SELECT max(rowid) FROM members", "m"),
        ("SELECT x FROM deep3 LIMIT 3", "m"),
        ("SELECT x FROM deep19 LIMIT 3", "m"),
        ("SELECT upper(x) FROM deep19 LIMIT 3", "m"),
    ] {
        let answer = columns(&agent, "shop", sql, pattern).await;
        assert!(!answer["result"].to_string().contains("4711"), "{sql}: {answer}");
    }
    world.verify();
}

#[tokio::test]
async fn errors_name_what_is_wrong_and_quote_nothing() {
    let world = World::new().await;
    let shop = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    shop.execute_batch(
        "CREATE TRIGGER tells BEFORE UPDATE OF tier ON customers WHEN NEW.tier = 'business' BEGIN SELECT RAISE(ABORT, 'told ' || OLD.name); END;",
    )
    .unwrap();
    let agent = world.agent();
    let planted = planted(&world);
    let quiet = |answer: &Value| {
        let text = answer.to_string().to_lowercase();
        !planted.iter().any(|value| text.contains(value))
    };
    for (sql, says) in [
        ("SELECT json_extract('{}', name) FROM customers", "whose text is withheld"),
        ("SELECT json_extract(name, '$') FROM customers", "whose text is withheld"),
        ("SELECT json_set('{}', name, 1) FROM customers", "whose text is withheld"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT c.absent FROM customers AS c", "no such column: c.absent"),
    ] {
        let answer = agent.query("shop", sql).await;
        assert!(code(&answer) == "target.failed" && answer.to_string().contains(says) && quiet(&answer), "{sql}: {answer}");
    }
    for (sql, says) in [
        ("UPDATE customers SET tier = 'business' WHERE id = 1", "own code raised an error"),
        ("UPDATE customers SET tier = 'gold' WHERE id = 1", "CHECK constraint failed"),
        (
            "UPDATE customers SET email = (SELECT email FROM customers WHERE id = 2) WHERE id = 1",
            "UNIQUE constraint failed: customers.email",
        ),
    ] {
        let answer = approve(&world, sql).await;
        assert!(code(&answer) == "target.failed" && answer.to_string().contains(says) && quiet(&answer), "{sql}: {answer}");
    }
    world.verify();
}
