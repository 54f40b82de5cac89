//! Who may do what: every role, tool, target and risk in one table for each set of policies, that anybody can read in a diff; and who may decide
//! and review.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::gates::wish;
use crate::harness::{Agent, Wish, World, code, shop, target};

/// A call of each tool, on each target that it can reach, at each risk.
fn calls() -> Vec<(String, &'static str, Value)> {
    let mut calls: Vec<(String, &'static str, Value)> = Vec::new();
    let id = format!("apr_{}", "0".repeat(32));
    for (tool, arguments) in [
        ("whoami", json!({})),
        ("list_targets", json!({})),
        ("approval_status", json!({"approval_id": id})),
        ("approval_wait", json!({"approval_id": id, "max_wait_s": 0})),
        ("approval_withdraw", json!({"approval_id": id})),
        (
            "request_access",
            json!({"target": "shop", "tools": ["db_execute"], "risk": "write", "minutes": 5, "calls": 2, "reason": "refunds"}),
        ),
        ("customer_orders", json!({"customer_id": 7})),
        ("refund_order", json!({"order_id": 1300})),
    ] {
        calls.push((tool.to_owned(), tool, arguments));
    }
    for target in ["shop", "stock"] {
        let orders = json!({"target": target, "name": "orders"});
        calls.push((format!("{target}: describe orders"), "db_describe", orders));
        calls.push((format!("{target}: search tables"), "db_search_objects", json!({"target": target, "object_type": "table"})));
        for (tool, sql) in [
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
            calls.push((format!("{target}: {sql}"), tool, json!({"target": target, "sql": sql})));
        }
    }
    calls
}

async fn verdict(agent: &Agent, tool: &str, arguments: Value) -> String {
    let answer = agent.call(tool, arguments).await;
    match answer["status"].as_str() {
        Some("ok") => "invoke".to_owned(),
        Some("approval_pending") => "request".to_owned(),
        // It was let through: what it came to there is not the policy's doing.
        Some("error") if code(&answer).starts_with("target.") || code(&answer) == "approval.unknown" => "invoke".to_owned(),
        None if answer["error"]["code"] == -32602 => "no: unknown tool".to_owned(),
        _ => format!("no: {}", code(&answer)),
    }
}

fn scopes(highest: &str) -> String {
    let mut scopes = String::new();
    for known in ["read", "write", "admin"] {
        write!(scopes, "mcp:{known} ").unwrap();
        if known == highest {
            break;
        }
    }
    scopes.trim().to_owned()
}

/// A shop and, beside it, a stock of the same tables that the quickstart's policies do not speak of.
async fn world(policies: String) -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let stock = shop(folder.path()).settings;
    let stock = target("stock", stock.endpoint, stock.access);
    (folder, World::with(Wish { hold: std::time::Duration::ZERO, targets: vec![stock], ..wish(policies) }).await)
}

/// Each team's agents, then each team's humans.
async fn table(world: &World, agents: &[(&str, &str)], teams: &[&str]) -> String {
    let mut table = format!("{:<12} {:<8} {:<88} {}\n", "team", "scope", "call", "verdict");
    for (team, scope) in agents {
        let agent = world.agent_of(&format!("{team}-{scope}"), "demo-agent", &[team], &scopes(scope));
        for (call, tool, arguments) in calls() {
            let verdict = verdict(&agent, tool, arguments).await;
            writeln!(table, "{team:<12} {scope:<8} {call:<88} {verdict}").unwrap();
        }
    }
    writeln!(table, "\n{:<12} {:<98} verdict", "team", "at the human's door").unwrap();
    let mut number = 0;
    for team in teams {
        let agent = world.agent_of(&format!("{team}-asks"), "demo-agent", &["support"], &scopes("write"));
        let (human, own) = (world.human(&format!("{team}-decides"), &[team]), world.human(&format!("{team}-asks"), &[team]));
        for (what, person) in [("approve a write to the shop", &human), ("approve a write to the shop in their own name", &own)] {
            number += 1;
            let asked = agent.execute("shop", &format!("UPDATE orders SET status = 'paid' WHERE id = {number}")).await;
            let id = asked["approval"]["id"].as_str().unwrap_or_else(|| panic!("{asked}"));
            let (status, decided) = person.decide(id, json!({"decision": "approve"})).await;
            let verdict = if status == 200 { "approve".to_owned() } else { format!("no: {}", code(&decided)) };
            writeln!(table, "{team:<12} {what:<98} {verdict}").unwrap();
        }
        let (status, refused) = human.get("/audit/leaves").await;
        let verdict = if status == 200 { "review".to_owned() } else { format!("no: {}", code(&refused)) };
        writeln!(table, "{team:<12} {:<98} {verdict}", "review the whole trail").unwrap();
    }
    table
}

#[tokio::test]
async fn the_matrix() {
    let (_folder, world) = world(crate::harness::POLICY.to_owned()).await;
    let agents = [("support", "read"), ("support", "write"), ("support", "admin"), ("approvers", "write"), ("nobody", "admin")];
    insta::assert_snapshot!("policy_matrix", table(&world, &agents, &["support", "approvers", "nobody"]).await);
    world.verify();
}

#[tokio::test]
async fn the_matrix_of_the_default_policies() {
    let (_folder, world) = world(include_str!("../../policies/default.cedar").to_owned()).await;
    let agents = [("nobody", "read"), ("nobody", "write"), ("nobody", "admin"), ("approvers", "admin")];
    insta::assert_snapshot!("default_policy_matrix", table(&world, &agents, &["nobody", "approvers", "reviewers"]).await);
    world.verify();
}
