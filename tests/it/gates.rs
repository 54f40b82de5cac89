//! Every tool through every gate, from one table that a new tool must be added to (attacks 17, 32, 124); and a full disk (attack 126).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::{Process, free_port};
use crate::harness::{Agent, POLICY, Wish, World, answer, code};

/// A call of each tool that reaches its target.
fn calls() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("list_targets", json!({})),
        ("whoami", json!({})),
        ("db_query", json!({"target": "shop", "sql": "SELECT name, city FROM customers LIMIT 1"})),
        ("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = 1 RETURNING id"})),
        ("db_search_objects", json!({"target": "shop", "object_type": "table"})),
        ("db_describe", json!({"target": "shop", "name": "customers"})),
        ("approval_status", json!({"approval_id": format!("apr_{}", "0".repeat(32))})),
        ("approval_wait", json!({"approval_id": format!("apr_{}", "0".repeat(32))})),
        ("approval_withdraw", json!({"approval_id": format!("apr_{}", "0".repeat(32))})),
        (
            "request_access",
            json!({"target": "shop", "tools": ["db_execute"], "risk": "write", "minutes": 5, "calls": 2, "reason": "refunds"}),
        ),
        ("customer_orders", json!({"customer_id": 7})),
        ("refund_order", json!({"order_id": 1300})),
    ])
}

/// A broker with the quickstart's declared tools.
pub fn wish(policies: String) -> Wish {
    let read =
        |name: &str| std::fs::read_to_string(format!("{}/examples/quickstart/tools/sql/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let tools = std::fs::read_dir(format!("{}/examples/quickstart/tools/sql", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .map(|name| ("declared.toml", read(&name)))
        .collect();
    Wish { policies, tools, ..Wish::default() }
}

fn names(listed: &Value) -> BTreeSet<String> {
    listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

async fn kinds(world: &World, call: &str) -> Vec<Value> {
    let (_, whole) = world.approver().get(&format!("/audit/calls/{call}")).await;
    whole["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"].clone()).collect()
}

#[tokio::test]
async fn each_tool_is_identified_judged_asked_masked_and_recorded() {
    // With a policy that opens what it asks for to grants, so that there is something to ask for.
    let world = World::with(wish(POLICY.replace("@quorum(\"1\")", "@grant(\"30m, 5 calls\")"))).await;
    let agent = world.agent();
    let reviewer = world.approver();
    let table = calls();
    assert_eq!(names(&agent.tools().await), table.keys().map(|name| (*name).to_owned()).collect(), "a tool that this table does not know");
    let nobody = Agent { token: String::new(), ..agent.clone() };
    for (tool, arguments) in table {
        let before = reviewer.trail("").await.len();
        assert_eq!(nobody.raw(tool, arguments.clone()).await.status(), 401, "{tool} without a token");
        assert!(reviewer.trail("").await.len() <= before + 1, "{tool}: a leaf without an identity");
        let mut told = agent.call(tool, arguments.clone()).await;
        if told["status"] == "approval_pending" {
            let (id, asked) = (told["approval"]["id"].as_str().unwrap(), told["call_id"].as_str().unwrap());
            let leaves = kinds(&world, asked).await;
            assert!(leaves.iter().any(|leaf| leaf["t"] == "approval.requested"), "{tool}: {leaves:?}");
            assert!(leaves.iter().all(|leaf| leaf["t"] != "call.admitted"), "{tool} was admitted before it was approved");
            world.approver().decide(id, json!({"decision": "approve"})).await;
            told = agent.call(tool, arguments).await;
        }
        let status = told["status"].as_str().unwrap();
        assert!(status == "ok" || code(&told) == "approval.unknown", "{tool}: {told}");
        // One intent and one outcome, the second names the first; the intent names the policies, the outcome the masks.
        let mut leaves = kinds(&world, told["call_id"].as_str().unwrap()).await;
        // What a tool of the broker's own files is recorded between the two.
        leaves.retain(|leaf| leaf["t"] != "approval.requested");
        let types: Vec<&str> = leaves.iter().map(|leaf| leaf["t"].as_str().unwrap()).collect();
        assert_eq!(types, ["call.admitted", "call.completed"], "{tool}");
        assert!(!leaves[0]["policy"]["ids"].as_array().unwrap().is_empty(), "{tool}: {}", leaves[0]);
        assert_eq!(leaves[1]["mask"]["set_hash"].as_str().map(str::len), Some(64), "{tool}: {}", leaves[1]);
        assert_eq!(leaves[1]["res"]["status"], status, "{tool}");
        for leaf in leaves {
            let opaque =
                |member: &str, prefix: &str| leaf["agent"][member].as_str().is_some_and(|id| id.starts_with(prefix) && id.len() == 28);
            assert!(opaque("id", "agt_") && opaque("client", "cli_"), "{tool}: {leaf}");
            assert_eq!(
                (&leaf["agent"]["ver"], &leaf["agent"]["inst"]),
                (&json!("1"), &Value::Null),
                "{tool}: a token that is bound to no key"
            );
        }
    }
    // A refusal commits to what was asked as well; and whoever passed the human's word on is named by an opaque id.
    assert_eq!(code(&agent.query("shop", "SELECT FROM").await), "operation.unparsable");
    let refused = &reviewer.trail("&kind=call.refused").await[0]["leaf"];
    assert_eq!(refused["args"]["commit"], refused["pay"][0]["commit"], "{refused}");
    assert!(refused["dlg"]["parent"].is_null() && refused["agent"]["depth"] == 0, "{refused}");
    world.verify();
}

#[tokio::test]
async fn each_tool_that_no_policy_allows_is_absent_by_name_as_in_the_list() {
    let only_review = "@id(\"review\") permit (principal in Team::\"approvers\", action == Action::\"review\", resource);";
    let world = World::with(wish(only_review.to_owned())).await;
    let agent = world.agent();
    assert_eq!(names(&agent.tools().await), BTreeSet::new());
    let absent = answer(agent.raw("no_such_tool", json!({})).await).await;
    for (number, (tool, arguments)) in calls().into_iter().enumerate() {
        let hidden = answer(agent.raw(tool, arguments).await).await;
        assert_eq!(hidden["error"]["code"], absent["error"]["code"], "{tool}: {hidden}");
        assert_eq!(hidden["error"]["message"].as_str().unwrap().replace(tool, "no_such_tool"), absent["error"]["message"], "{tool}");
        assert_eq!(world.approver().trail("&kind=call.refused").await.len(), number + 2, "{tool} left no record, or more than one");
    }
    assert!(world.approver().trail("&kind=call.admitted").await.is_empty());
    world.verify();
}

/// The disk is full (no file may grow past a limit): what cannot be recorded is not done, and a later start finds everything in order.
#[tokio::test]
async fn a_full_disk_stops_calls_before_they_act() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let (port, read) = (free_port(), |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap().trim().to_owned());
    Process::start(dir.path(), port).kill();
    let broker = Process::start_on_a_small_disk(dir.path(), port, 1500);
    let agent = Agent { base: broker.base.clone(), token: read("agent.token"), http: reqwest::Client::new(), headers: BTreeMap::new() };
    let mut last = Value::Null;
    for _ in 0..2_000 {
        last = agent.query("shop", "SELECT 1").await;
        if last["status"] != "ok" {
            break;
        }
    }
    assert_eq!(last["error"]["data"]["code"], "ledger.unavailable", "{last}");
    let refused = agent.query("shop", "SELECT 2").await;
    assert_eq!(refused["error"]["data"]["code"], "ledger.unavailable", "{refused}");
    broker.kill();
    let broker = Process::start(dir.path(), port);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(agent.query("shop", "SELECT 3").await["status"], "ok");
    broker.kill();
    let report = countersign::ledger::verify::verify(dir.path(), &Default::default()).unwrap();
    assert!(report.ok && report.open_calls == 0, "{report:#?}");
}
