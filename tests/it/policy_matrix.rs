//! Who may do what: every role, tool and risk of the quickstart's policies in one table that anybody can read in a diff.

use std::fmt::Write;

use serde_json::json;

use crate::harness::{Wish, World, code};

#[tokio::test]
async fn the_matrix() {
    let world = World::with(Wish { hold: std::time::Duration::ZERO, ..Wish::default() }).await;
    let mut table = format!("{:<12} {:<8} {:<64} {}\n", "team", "scope", "call", "verdict");
    for (team, scope) in [("support", "read"), ("support", "write"), ("support", "admin"), ("approvers", "write"), ("nobody", "admin")] {
        let scopes: String = ["read", "write", "admin"]
            .iter()
            .take_while(|known| **known != scope)
            .chain([&scope])
            .map(|scope| format!("mcp:{scope} "))
            .collect();
        let agent = world.agent_of(&format!("{team}-{scope}"), "demo-agent", &[team], scopes.trim());
        for (tool, sql) in [
            ("whoami", ""),
            ("db_query", "SELECT id FROM orders"),
            ("db_query", "SELECT id FROM payments"),
            ("db_query", "SELECT 1"),
            ("db_execute", "INSERT INTO orders SELECT 9000, 1, 'open', 0, 'now' FROM payments LIMIT 1"),
            ("db_execute", "UPDATE orders SET status = 'paid' WHERE id = 1"),
            ("db_execute", "UPDATE payments SET amount_cents = 0 WHERE id = 1"),
            ("db_execute", "UPDATE orders SET status = 'paid'"),
            ("db_execute", "DELETE FROM orders WHERE id = 1"),
            ("db_execute", "DROP TABLE orders"),
            ("db_execute", "CREATE VIEW v AS SELECT 1"),
        ] {
            let arguments = if sql.is_empty() { json!({}) } else { json!({"target": "shop", "sql": sql}) };
            let answer = agent.call(tool, arguments).await;
            let verdict = match answer["status"].as_str() {
                Some("ok") => "invoke".to_owned(),
                Some("approval_pending") => "request".to_owned(),
                Some("error") if code(&answer).starts_with("target.") => "invoke".to_owned(),
                None if answer["error"]["code"] == -32602 => "no: unknown tool".to_owned(),
                _ => format!("no: {}", code(&answer)),
            };
            writeln!(table, "{team:<12} {scope:<8} {:<64} {verdict}", if sql.is_empty() { tool } else { sql }).unwrap();
        }
    }
    insta::assert_snapshot!("policy_matrix", table);
    world.verify();
}
