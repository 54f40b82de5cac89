//! Masking on SQLite, in every form a column can take on its way into a result.

use crate::harness::World;

#[tokio::test]
async fn no_form_of_a_masked_column_gets_through() {
    let world = World::new().await;
    let agent = world.agent();
    for sql in [
        "SELECT email FROM customers",
        "SELECT email AS x FROM customers",
        "SELECT \"EMAIL\" FROM Customers",
        "SELECT upper(email), substr(email, 1, 20) FROM customers",
        "SELECT CAST(email AS BLOB) FROM customers",
        "SELECT email || '' FROM customers",
        "SELECT hex(email) FROM customers",
        "SELECT max(email), group_concat(email) FROM customers",
        "SELECT CASE WHEN id > 0 THEN email END FROM customers",
        "SELECT (SELECT email FROM customers LIMIT 1)",
        "WITH x AS (SELECT email AS y FROM customers) SELECT replace(y, '@', '#') FROM x",
        "SELECT city FROM customers UNION SELECT email FROM customers",
        "SELECT email FROM customers UNION ALL SELECT city FROM customers",
        "SELECT json_object('z', email) FROM customers",
        "SELECT json_group_array(email) FROM customers",
        "SELECT contact FROM order_overview",
        "SELECT upper(contact) FROM order_overview",
        "SELECT * FROM order_overview LIMIT 5",
        "SELECT c.* FROM customers c LIMIT 3",
        "SELECT value FROM customers, json_each(json_array(email)) LIMIT 4",
        "SELECT instr(email, 'a') FROM customers LIMIT 1",
        "WITH RECURSIVE r(n, e) AS (SELECT 1, email FROM customers WHERE id = 1 UNION ALL SELECT n + 1, e FROM r WHERE n < 3) SELECT e FROM r",
        "SELECT first_value(email) OVER (ORDER BY id) FROM customers LIMIT 2",
        "SELECT printf_free FROM (SELECT email AS printf_free FROM customers) LIMIT 3",
        "SELECT lower(body) FROM support_notes",
        "SELECT trim(email, 'x') FROM customers NATURAL JOIN (SELECT id FROM customers) LIMIT 3",
    ] {
        let answer = agent.query("shop", sql).await;
        assert_eq!(answer["status"], "ok", "{sql}: {answer}");
        let text = answer.to_string();
        let hexed = hex::encode("@example.com").to_uppercase();
        assert!(
            !text.to_lowercase().contains("example") && !text.contains(&hexed) && !text.contains(&hex::encode("@example.com")),
            "{sql}: {text}"
        );
        assert!(answer["masked"].as_array().is_some_and(|masked| !masked.is_empty()), "{sql}: {text}");
    }
    // What is not personal is not masked, and counts tell numbers.
    let plain = agent.query("shop", "SELECT city, count(email), count(*) FROM customers GROUP BY city ORDER BY city LIMIT 1").await;
    assert!(plain.get("masked").is_none() && plain["result"]["rows"][0][0] == "Berlin", "{plain}");
    world.verify();
}
