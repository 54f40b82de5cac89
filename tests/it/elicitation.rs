//! The human at the client is asked to open the page of the call that waits for them, once, where they may approve it; and what a client answers to that
//! decides nothing.

use serde_json::{Value, json};

use crate::harness::{Agent, POLICY, Wish, World, answer, code, modern};

const SQL: &str = "UPDATE orders SET status = 'refunded' WHERE id = 1300";

/// A call of a client that can show pages, or cannot.
async fn call(agent: &Agent, sql: &str, capabilities: Value, more: Value) -> Value {
    let mut params = json!({"name": "db_execute", "arguments": {"target": "shop", "sql": sql}});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut body = modern("tools/call", params);
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    answer(agent.request("tools/call", Some("db_execute")).json(&body).send().await.unwrap()).await["result"].clone()
}

fn shows_pages() -> Value {
    json!({"elicitation": {"url": {}, "form": {}}})
}

/// The request that a question is about, by its page, and the state that goes back with the answer.
fn asked_for(asked: &Value) -> (String, String) {
    let url = asked["inputRequests"]["approval"]["params"]["url"].as_str().unwrap_or_else(|| panic!("{asked}"));
    (url.rsplit('/').next().unwrap().to_owned(), asked["requestState"].as_str().unwrap().to_owned())
}

/// alice may approve what her own agent asks.
async fn world(annotation: &str) -> World {
    let policies = POLICY
        .replace("@quorum(\"1\")", annotation)
        .replace("resource in Target::\"shop\")\nunless { context.own };", "resource in Target::\"shop\");");
    assert!(policies.contains(annotation) && !policies.contains("context.own };\n\n// The approvers of the quickstart"));
    World::with(Wish { policies, ..Wish::default() }).await
}

fn alices(world: &World) -> Agent {
    world.agent_of("alice", "demo-agent", &["support", "approvers"], "mcp:write")
}

#[tokio::test]
async fn the_human_at_the_client_is_shown_the_page_once_and_only_the_page_decides() {
    let world = world("@self_approval(\"allowed\")").await;
    let agent = alices(&world);
    let asked = call(&agent, SQL, shows_pages(), json!({})).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let question = &asked["inputRequests"]["approval"];
    let (id, state) = asked_for(&asked);
    assert_eq!((&question["method"], &question["params"]["mode"]), (&json!("elicitation/create"), &json!("url")), "{question}");
    // The address has the id, and nothing that opens it.
    assert_eq!(question["params"]["url"], format!("{}/approvals/{id}", world.base), "{question}");
    // Whatever the client answers is no decision, and nobody is asked twice.
    for action in ["accept", "cancel"] {
        let answered = json!({"requestState": state, "inputResponses": {"approval": {"action": action, "content": {"approve": true}}}});
        let told = call(&agent, SQL, shows_pages(), answered).await["structuredContent"].clone();
        assert_eq!((&told["status"], &told["approval"]["id"]), (&json!("approval_pending"), &json!(id)), "{action}: {told}");
    }
    let alice = world.human("alice", &["approvers"]);
    assert_eq!(alice.decide(&id, json!({"decision": "approve"})).await.0, 200);
    let done = call(&agent, SQL, shows_pages(), json!({"requestState": state, "inputResponses": {"approval": {"action": "accept"}}})).await;
    assert_eq!(done["structuredContent"]["result"]["affected_rows"], 1, "{done}");

    // Who declines to look at it does not want it: the request is withdrawn.
    let other = SQL.replace("1300", "1301");
    let (id, state) = asked_for(&call(&agent, &other, shows_pages(), json!({})).await);
    let declines = |state: &str| json!({"requestState": state, "inputResponses": {"approval": {"action": "decline"}}});
    // With another call it opens nothing, nor does the bare id.
    for (sql, state) in [(SQL, state.as_str()), (other.as_str(), id.as_str())] {
        assert_eq!(code(&call(&agent, sql, shows_pages(), declines(state)).await["structuredContent"]), "request.invalid_arguments");
    }
    assert_eq!(alice.get(&format!("/approvals/{id}")).await.1["state"], "pending");
    let declined = declines(&state);
    let told = call(&agent, &other, shows_pages(), declined.clone()).await["structuredContent"].clone();
    assert_eq!((&told["status"], code(&told), &told["result"]), (&json!("error"), "approval.withdrawn", &Value::Null), "{told}");
    assert_eq!(alice.decide(&id, json!({"decision": "approve"})).await.0, 409);
    // A state of somebody else's, or made up, gains nothing (attack 68).
    let zoe = world.agent_of("zoe", "demo-agent", &["support"], "mcp:write");
    let other = SQL.replace("1300", "1302");
    let (third, state) = asked_for(&call(&agent, &other, shows_pages(), json!({})).await);
    for state in [state.as_str(), third.as_str(), "apr_x"] {
        let told = call(&zoe, &other, shows_pages(), declines(state)).await;
        assert_eq!(code(&told["structuredContent"]), "request.invalid_arguments", "{told}");
    }
    assert_eq!(alice.get(&format!("/approvals/{third}")).await.1["state"], "pending");
    world.verify();
}

#[tokio::test]
async fn nobody_is_asked_who_may_not_approve_or_cannot_be_shown_a_page() {
    let own = world("@self_approval(\"allowed\")").await;
    for capabilities in [json!({}), json!({"elicitation": {"form": {}}}), json!({"elicitation": {}})] {
        let told = call(&alices(&own), SQL, capabilities.clone(), json!({})).await;
        assert_eq!(told["structuredContent"]["status"], "approval_pending", "{capabilities}: {told}");
    }
    // alice without the role; and a policy that wants somebody else.
    let told = call(&own.agent(), &SQL.replace("1300", "1301"), shows_pages(), json!({})).await;
    assert_eq!(told["structuredContent"]["status"], "approval_pending", "{told}");
    let second = world("@quorum(\"2\")").await;
    let told = call(&alices(&second), SQL, shows_pages(), json!({})).await;
    assert_eq!(told["structuredContent"]["status"], "approval_pending", "{told}");
    own.verify();
    second.verify();
}

/// A call that waits, under this id of its client's.
fn waiting(agent: &Agent, id: Value, order: u32) -> tokio::task::JoinHandle<Value> {
    let agent = agent.clone();
    tokio::spawn(async move {
        let sql = SQL.replace("1300", &order.to_string());
        let mut body = modern("tools/call", json!({"name": "db_execute", "arguments": {"target": "shop", "sql": sql}}));
        body["id"] = id;
        answer(agent.request("tools/call", Some("db_execute")).json(&body).send().await.unwrap()).await["result"]["structuredContent"]
            .clone()
    })
}

async fn cancel(agent: &Agent, id: Value) {
    let mut body = modern("notifications/cancelled", json!({"requestId": id, "reason": "the user pressed stop"}));
    body.as_object_mut().unwrap().remove("id");
    let status = agent.request("notifications/cancelled", None).json(&body).send().await.unwrap().status();
    assert_eq!(status, 202);
}

async fn pending(world: &World, count: usize) -> Vec<Value> {
    for _ in 0..200 {
        let found = world.approver().pending().await;
        if found.len() == count {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{count} do not wait: {:?}", world.approver().pending().await);
}

#[tokio::test]
async fn cancelling_a_call_withdraws_its_request_and_hanging_up_does_not() {
    let world = World::with(Wish { hold: std::time::Duration::from_secs(30), ..Wish::default() }).await;
    let agent = world.agent();
    let held = waiting(&agent, json!("call-7"), 1300);
    let id = pending(&world, 1).await[0]["approval_id"].as_str().unwrap().to_owned();
    // By nobody else, and by no other id.
    for stranger in
        [world.agent_of("alice", "other-agent", &["support"], "mcp:write"), world.agent_of("zoe", "demo-agent", &["support"], "mcp:write")]
    {
        cancel(&stranger, json!("call-7")).await;
    }
    cancel(&agent, json!(7)).await;
    pending(&world, 1).await;
    cancel(&agent, json!("call-7")).await;
    let told = held.await.unwrap();
    assert_eq!(code(&told), "approval.withdrawn", "{told}");
    assert_eq!(world.approver().get(&format!("/approvals/{id}")).await.1["state"], "withdrawn");
    assert_eq!(world.approver().trail(&format!("&approval={id}&kind=approval.withdrawn")).await.len(), 1);

    // Whoever only hangs up may come back.
    let held = waiting(&agent, json!(8), 1301);
    let id = pending(&world, 1).await[0]["approval_id"].as_str().unwrap().to_owned();
    held.abort();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.approver().get(&format!("/approvals/{id}")).await.1["state"], "pending");

    // Two under one id: it is not plain which is meant, so none is.
    let two = [waiting(&agent, json!(9), 1302), waiting(&agent, json!(9), 1303)];
    pending(&world, 3).await;
    cancel(&agent, json!(9)).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    pending(&world, 3).await;
    for call in two {
        call.abort();
    }
    world.verify();
}

/// Whichever is first, there is one outcome: it ran and is spent, or it did not and nothing of the approval is left to be used.
#[tokio::test]
async fn a_cancel_and_an_approval_of_one_moment_have_one_outcome() {
    let world = World::with(Wish { hold: std::time::Duration::from_secs(30), ..Wish::default() }).await;
    let (agent, bob) = (world.agent(), world.approver());
    let status = async |order: u32| {
        let read = agent.call("db_query", json!({"target": "shop", "sql": format!("SELECT status FROM orders WHERE id = {order}")})).await;
        read["result"]["rows"][0][0].clone()
    };
    let mut outcomes = std::collections::BTreeMap::new();
    for order in 1400..1424 {
        // What is alike may be asked some times in ten minutes.
        world.clock.turn(chrono::TimeDelta::minutes(if order % 6 == 0 { 11 } else { 0 }));
        let before = status(order).await;
        if before == "refunded" {
            continue;
        }
        let held = waiting(&agent, json!(order), order);
        let id = pending(&world, 1).await[0]["approval_id"].as_str().unwrap().to_owned();
        let late = |ms: u32| tokio::time::sleep(std::time::Duration::from_millis(ms.into()));
        let (cancelled, approved) = (order % 3, order % 4);
        let (_, decided) = tokio::join!(
            async {
                late(cancelled * 12).await;
                cancel(&agent, json!(order)).await;
            },
            async {
                late(approved * 2).await;
                bob.decide(&id, json!({"decision": "approve"})).await
            }
        );
        let told = held.await.unwrap();
        let state = bob.get(&format!("/approvals/{id}")).await.1["state"].as_str().unwrap().to_owned();
        let outcome = if told["status"] == "ok" { "ok" } else { code(&told) };
        let ran = status(order).await != before;
        let is_one = match (outcome, state.as_str()) {
            ("ok", "spent") => ran,
            ("approval.withdrawn", "withdrawn") | ("target.cancelled", "spent" | "withdrawn") => !ran,
            _ => false,
        };
        assert!(is_one, "{order}: {outcome} {state} {ran} {decided:?} {told}");
        *outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    world.verify();
}
