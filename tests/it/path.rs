//! The path of a call on a SQLite target: what goes through, what is refused and with which code, and that each leaves its record.

use serde_json::{Value, json};

use crate::harness::{World, code};

#[tokio::test]
async fn a_read_goes_through_masked_and_leaves_two_leaves() {
    let world = World::new().await;
    let agent = world.agent();
    let answer = agent.query("shop", "SELECT id, city FROM customers ORDER BY id LIMIT 2").await;
    assert_eq!(answer["status"], "ok", "{answer}");
    assert_eq!(answer["result"]["rows"], json!([[1, "Porto"], [2, "Vienna"]]));
    let call = answer["call_id"].as_str().unwrap();
    let (_, shown) = world.approver().get(&format!("/audit/calls/{call}")).await;
    let kinds: Vec<&str> = shown["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"]["t"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["call.admitted", "call.completed"]);
    assert_eq!(shown["payloads"]["result"], answer, "what was said is what was kept");
    assert_eq!(shown["entries"][0]["human"], "alice");
    // Leaves hold no name, argument or result in clear.
    let leaves = shown["entries"].to_string().replace("\"human\":\"alice\"", "").replace("\"agent\":\"demo-agent\"", "");
    for word in ["alice", "demo-agent", "SELECT", "Porto"] {
        assert!(!leaves.contains(word), "{word} in {leaves}");
    }
    let report = world.verify();
    assert!(report.payloads >= 3 && report.open_calls == 0);
}

#[tokio::test]
async fn refusals_each_have_a_code_advice_and_a_record() {
    let world = World::new().await;
    let agent = world.agent();
    let cases = [
        ("db_query", json!({"target": "shop", "sql": "SELECT 1; DROP TABLE orders"}), "operation.several_statements"),
        ("db_query", json!({"target": "shop", "sql": "SELEC 1"}), "operation.unparsable"),
        ("db_query", json!({"target": "shop", "sql": "DELETE FROM orders"}), "operation.not_read"),
        ("db_query", json!({"target": "shop", "sql": "SELECT load_extension('x')"}), "operation.not_read"),
        ("db_query", json!({"target": "shop", "sql": "SELECT * FROM nowhere"}), "target.failed"),
        ("db_query", json!({"target": "shop", "sql": "SELECT ?1"}), "operation.invalid_parameters"),
        ("db_query", json!({"target": "elsewhere", "sql": "SELECT 1"}), "request.unknown_target"),
        ("db_query", json!({"target": "shop"}), "request.invalid_arguments"),
        ("db_execute", json!({"target": "shop", "sql": "ATTACH 'x.db' AS x"}), "operation.unsupported_statement"),
        (
            "db_execute",
            json!({"target": "shop", "sql": "PRAGMA table_info(x); ATTACH 'x' AS y"}),
            "operation.several_statements|operation.unparsable",
        ),
        ("db_execute", json!({"target": "shop", "sql": "DELETE FROM orders WHERE id = 1"}), "policy.denied"),
        ("db_execute", json!({"target": "shop", "sql": "UPDATE payments SET amount_cents = 0 WHERE id = 1"}), "policy.denied"),
        ("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid'"}), "policy.denied"),
        (
            "db_execute",
            json!({"target": "shop", "sql": "CREATE VIEW v AS SELECT email FROM customers"}),
            "identity.insufficient_scope|policy.denied",
        ),
        ("approval_status", json!({"approval_id": format!("apr_{}", "0".repeat(32))}), "approval.unknown"),
    ];
    for (tool, arguments, expected) in &cases {
        let answer = agent.call(tool, arguments.clone()).await;
        assert!(expected.split('|').any(|expected| expected == code(&answer)), "{tool} {arguments}: {answer}");
        assert!(!answer["error"]["hint"].as_str().unwrap().is_empty());
        let call = answer["call_id"].as_str().unwrap();
        let (_, shown) = world.approver().get(&format!("/audit/calls/{call}")).await;
        let leaf = shown["entries"].as_array().unwrap().last().unwrap()["leaf"].clone();
        assert_eq!(leaf["res"]["code"].as_str(), Some(code(&answer)), "{tool}: {shown}");
    }
    world.verify();
}

#[tokio::test]
async fn a_tool_that_one_may_not_use_looks_like_one_that_is_not_there() {
    let world = World::new().await;
    let stranger = world.agent_of("zoe", "demo-agent", &["nobody"], "mcp:read mcp:write");
    let listed = stranger.tools().await;
    let names: Vec<&str> = listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["approval_status", "approval_wait", "approval_withdraw", "list_targets", "request_access", "whoami"]);
    assert_eq!(listed["cacheScope"], "private");
    let hidden = stranger
        .raw("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = 1"}))
        .await
        .json::<Value>()
        .await
        .unwrap();
    let absent = stranger.raw("no_such_tool", json!({})).await.json::<Value>().await.unwrap();
    let target = stranger.query("shop", "SELECT 1").await;
    let nowhere = stranger.query("nowhere", "SELECT 1").await;
    assert_eq!((hidden["error"]["code"].as_i64(), absent["error"]["code"].as_i64()), (Some(-32602), Some(-32602)), "{hidden}");
    assert_eq!((target["error"]["code"].as_i64(), nowhere["error"]["code"].as_i64()), (Some(-32602), Some(-32602)), "{target}");
    assert_eq!(stranger.call("list_targets", json!({})).await["result"]["targets"], json!([]));
    for tool in world.agent().tools().await["tools"].as_array().unwrap() {
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
    }
    // Every one of these refusals is in the trail.
    assert_eq!(world.approver().trail("&kind=call.refused").await.len(), 4);
    world.verify();
}

#[tokio::test]
async fn limits_timeouts_and_targets_that_are_down() {
    let world = World::new().await;
    let agent = world.agent();
    let cut = agent.call("db_query", json!({"target": "shop", "sql": "SELECT id FROM orders", "max_rows": 3})).await;
    assert_eq!((cut["result"]["row_count"].as_u64(), cut["result"]["truncated"].as_bool()), (Some(3), Some(true)));
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let timed = agent.call("db_query", json!({"target": "shop", "sql": endless, "timeout_ms": 300})).await;
    assert_eq!(code(&timed), "target.timeout", "{timed}");
    let gone = tokio::time::timeout(std::time::Duration::from_millis(400), agent.query("shop", endless)).await;
    assert!(gone.is_err());
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let cancelled = world.approver().trail("&status=cancelled").await;
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
    assert_eq!(cancelled[0]["leaf"]["res"]["code"], "target.cancelled");
    let moved = world.dir.path().join("moved.db");
    std::fs::rename(world.dir.path().join("shop.db"), &moved).unwrap();
    // Idle connections still hold the file; a change opens a new one.
    let sql = "UPDATE orders SET status = 'paid' WHERE id = 1";
    let pending = agent.execute("shop", sql).await;
    if let Some(id) = pending["approval"]["id"].as_str() {
        world.approver().decide(id, json!({"decision": "approve"})).await;
        let down = agent.execute("shop", sql).await;
        assert_eq!(code(&down), "target.unreachable", "{down}");
        assert!(!down.to_string().contains("shop.db"), "{down}");
    } else {
        assert_eq!(code(&pending), "approval.preview_failed", "{pending}");
    }
    world.verify();
}

#[tokio::test]
async fn hostile_text_stays_text() {
    let world = World::new().await;
    let mut agent = world.agent();
    // What an agent says of itself names nobody and breaks no record (attacks 120, 125).
    agent.headers.insert("x-forwarded-user", "root".to_owned());
    let body = crate::harness::modern(
        "tools/call",
        json!({"name": "db_query", "arguments": {"target": "shop", "sql": "SELECT 'a\u{2028}|*/ \\r\\n' AS x", "reason": "line\nforged\u{1b}[31m"}, "_meta": {"countersign/run": "run\r\n\"t\":\"call.admitted\"", "client.user.id": "root"}}),
    );
    let answer: Value = agent.request("tools/call", Some("db_query")).json(&body).send().await.unwrap().json().await.unwrap();
    let envelope = &answer["result"]["structuredContent"];
    let call = envelope["call_id"].as_str().unwrap_or_default().to_owned();
    assert!(!call.is_empty(), "{answer}");
    let (_, shown) = world.approver().get(&format!("/audit/calls/{call}")).await;
    assert_eq!(shown["entries"][0]["human"], "alice");
    assert!(shown["entries"][0]["leaf"]["run"].as_str().unwrap().starts_with("run_"));
    world.verify();
}
