//! Agents and delegations: what is taken back is over at the next call, also for a call that waits, and every change is on record.

use std::time::Duration;

use chrono::TimeDelta;
use countersign::registry::Settings;
use serde_json::{Value, json};

use crate::harness::{Human, Wish, World, code};

async fn post(human: &Human, path: &str, body: Value) -> (u16, Value) {
    let response = human.http.post(format!("{}{path}", human.base)).bearer_auth(&human.token).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn lend(human: &Human, more: Value) -> String {
    let mut body = json!({"agent": "demo-agent", "highest_risk": "write", "lasting_s": 3600});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, lent) = post(human, "/delegations", body).await;
    assert_eq!(status, 200, "{lent}");
    lent["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_suspended_agent_is_stopped_at_its_next_call() {
    let mut world = World::new().await;
    let (agent, approver) = (world.agent(), world.approver());
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok");
    let suspend = json!({"agent": "demo-agent", "state": "suspended", "reason": "it repeats itself"});
    let (status, said) = post(&approver, "/agents/state", suspend.clone()).await;
    assert_eq!((status, said["state"].as_str()), (200, Some("suspended")), "{said}");
    for (tool, arguments) in [
        ("db_query", json!({"target": "shop", "sql": "SELECT 1"})),
        ("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = 1"})),
        ("whoami", json!({})),
        ("list_targets", json!({})),
    ] {
        assert_eq!(code(&agent.call(tool, arguments).await), "identity.agent_suspended", "{tool}");
    }
    // Another human's agent of that name is the same agent; another agent of alice's is not.
    assert_eq!(
        code(&world.agent_of("zoe", "demo-agent", &["support"], "mcp:read").query("shop", "SELECT 1").await),
        "identity.agent_suspended"
    );
    assert_eq!(world.agent_of("alice", "other", &["support"], "mcp:read").query("shop", "SELECT 1").await["status"], "ok");
    assert_eq!(post(&approver, "/agents/state", suspend).await.0, 409);
    // It outlives the broker.
    world.restart().await;
    assert_eq!(code(&agent.query("shop", "SELECT 1").await), "identity.agent_suspended");
    let resume = json!({"agent": "demo-agent", "state": "active", "reason": "mended"});
    assert_eq!(post(&world.approver(), "/agents/state", resume).await.0, 200);
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok");
    let trail = world.approver().trail("&agent=demo-agent").await;
    for kind in ["agent.suspended", "agent.resumed"] {
        assert_eq!(trail.iter().filter(|entry| entry["leaf"]["t"] == kind).count(), 1, "{kind}");
    }
    assert_eq!(world.approver().trail("&kind=call.refused&status=denied").await.len(), 6);
    world.verify();
}

#[tokio::test]
async fn who_may_manage_is_for_the_policies_to_say() {
    let world = World::new().await;
    let (alice, mallory) = (world.human("alice", &["support"]), world.human("mallory", &["support"]));
    let (status, registered) = post(&alice, "/agents", json!({"agent": "demo-agent", "description": "looks after orders"})).await;
    assert_eq!((status, registered["owner"]["id"].as_str()), (200, Some("alice")), "{registered}");
    let (status, taken) = post(&mallory, "/agents", json!({"agent": "demo-agent"})).await;
    assert_eq!((status, code(&taken)), (409, "registry.already_there"));
    let suspend = |agent: &str| json!({"agent": agent, "state": "suspended", "reason": "x"});
    let (status, refused) = post(&mallory, "/agents/state", suspend("demo-agent")).await;
    assert_eq!((status, code(&refused)), (403, "registry.not_allowed"));
    assert_eq!(post(&alice, "/agents/state", suspend("demo-agent")).await.0, 200, "the owner may");
    // No agent's token opens any of it.
    for path in ["/agents", "/agents/state", "/delegations"] {
        let response = world.agent().http.post(format!("{}{path}", world.base)).bearer_auth(world.agent().token).json(&json!({}));
        assert_eq!(response.send().await.unwrap().status(), 401, "{path}");
    }
    for (body, status) in [
        (json!({"agent": "", "state": "suspended", "reason": "x"}), 400),
        (json!({"agent": "a\nb", "state": "suspended", "reason": "x"}), 400),
        (json!({"agent": "demo-agent", "state": "active", "reason": " "}), 400),
        (json!({"agent": "demo-agent", "state": "gone", "reason": "x"}), 400),
        (json!({"agent": "demo-agent", "state": "active", "reason": "x", "more": 1}), 400),
    ] {
        assert_eq!(post(&alice, "/agents/state", body.clone()).await.0, status, "{body}");
    }
    assert!(world.approver().trail("&kind=registry.refused").await.len() >= 4);
    world.verify();
}

#[tokio::test]
async fn a_delegation_bounds_calls_and_is_named_in_their_record() {
    let required = Settings { delegations_required: true, ..Settings::default() };
    let world = World::with(Wish { registry: required, hold: Duration::ZERO, ..Wish::default() }).await;
    let (agent, alice) = (world.agent(), world.human("alice", &["support"]));
    let update = "UPDATE orders SET status = 'paid' WHERE id = 1";
    assert_eq!(code(&agent.query("shop", "SELECT 1").await), "identity.no_delegation");
    let id = lend(&alice, json!({"highest_risk": "read", "tools": ["db_query"], "targets": ["shop"]})).await;
    let answer = agent.query("shop", "SELECT 1").await;
    assert_eq!(answer["status"], "ok", "{answer}");
    let admitted = world.approver().trail(&format!("&kind=call.admitted&call={}", answer["call_id"].as_str().unwrap())).await;
    assert_eq!(admitted[0]["leaf"]["dlg"]["id"], json!(id));
    // The broker's own tools touch nothing; another tool and a higher risk are outside, and the answer says what is inside.
    assert_eq!(agent.call("whoami", json!({})).await["status"], "ok");
    let outside = agent.execute("shop", update).await;
    assert_eq!(code(&outside), "identity.outside_delegation");
    assert!(outside["error"]["message"].as_str().unwrap().contains("db_query of shop up to read"), "{outside}");
    assert_eq!(code(&agent.call("db_describe", json!({"target": "shop", "name": "orders"})).await), "identity.outside_delegation");
    // Another agent, or another human's, has no part in it.
    assert_eq!(code(&world.agent_of("alice", "other", &["support"], "mcp:read").query("shop", "SELECT 1").await), "identity.no_delegation");
    assert_eq!(
        code(&world.agent_of("zoe", "demo-agent", &["support"], "mcp:read").query("shop", "SELECT 1").await),
        "identity.no_delegation"
    );
    // A second, wider one: any that reaches will do. It never widens the token or the policies.
    let wider = lend(&alice, json!({"highest_risk": "admin"})).await;
    assert_eq!(agent.execute("shop", update).await["status"], "approval_pending");
    assert_eq!(code(&agent.execute("shop", "DELETE FROM orders WHERE id = 1").await), "policy.denied");
    world.clock.turn(TimeDelta::minutes(59));
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok");
    world.clock.turn(TimeDelta::minutes(2));
    let later = world.agent();
    assert_eq!(code(&later.query("shop", "SELECT 1").await), "identity.expired");
    let (_, mine) = world.human("alice", &["support"]).get("/delegations").await;
    let states: Vec<&str> = mine["delegations"].as_array().unwrap().iter().map(|lent| lent["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["expired", "expired"], "{mine}");
    assert!(mine.to_string().contains(&wider));
    world.verify();
}

#[tokio::test]
async fn a_revoked_delegation_ends_the_next_call_and_the_one_that_waits() {
    let world = World::with(Wish { hold: Duration::from_secs(30), ..Wish::default() }).await;
    let (agent, alice) = (world.agent(), world.human("alice", &["support"]));
    let id = lend(&alice, json!({})).await;
    let began = std::time::Instant::now();
    let waits = tokio::spawn({
        let agent = agent.clone();
        async move { agent.execute("shop", "UPDATE orders SET status = 'paid' WHERE id = 2").await }
    });
    let mut open = Vec::new();
    while open.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        open = world.approver().pending().await;
    }
    // A tool that waits for the decision is no other way to learn of it.
    let asks = tokio::spawn({
        let (agent, id) = (agent.clone(), open[0]["approval_id"].clone());
        async move { agent.call("approval_wait", json!({"approval_id": id, "max_wait_s": 30})).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asks.is_finished());
    // Somebody else's cannot be told from one that is not there.
    assert_eq!(post(&world.human("mallory", &["support"]), &format!("/delegations/{id}/revoke"), json!({})).await.0, 404);
    let (status, revoked) = post(&alice, &format!("/delegations/{id}/revoke"), json!({"reason": "enough"})).await;
    assert_eq!((status, revoked["state"].as_str()), (200, Some("revoked")), "{revoked}");
    assert_eq!(code(&waits.await.unwrap()), "identity.delegation_revoked");
    let asked = asks.await.unwrap();
    assert!(code(&asked) == "identity.delegation_revoked" && asked["result"].is_null(), "{asked}");
    assert!(began.elapsed() < Duration::from_secs(10), "the wait was ended");
    // What was approved too late is not done.
    let apr = open[0]["approval_id"].as_str().unwrap();
    world.approver().decide(apr, json!({"decision": "approve"})).await;
    let again = agent.execute("shop", "UPDATE orders SET status = 'paid' WHERE id = 2").await;
    assert_eq!(code(&again), "identity.delegation_revoked");
    // Nothing had to be lent here; but what was lent and taken back is not there again by itself.
    assert_eq!(code(&agent.query("shop", "SELECT 1").await), "identity.delegation_revoked");
    assert_eq!(post(&alice, &format!("/delegations/{id}/revoke"), json!({})).await.0, 409);
    lend(&alice, json!({})).await;
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok");
    // A steward may take back what others lent.
    let other = lend(&alice, json!({})).await;
    assert_eq!(post(&world.approver(), &format!("/delegations/{other}/revoke"), json!({"reason": "incident"})).await.0, 200);
    world.verify();
}

/// What ended long ago and was followed by another is removed; what still says no stays.
#[tokio::test]
async fn rows_that_say_nothing_any_more_are_removed() {
    let mut world = World::new().await;
    let rows = |world: &World| -> Vec<(String, String)> {
        let store = rusqlite::Connection::open(world.data().join("log.db")).unwrap();
        let mut rows = store.prepare("SELECT id, state FROM row WHERE kind = 'delegation' ORDER BY seq").unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    let alice = world.human("alice", &["support"]);
    let first = lend(&alice, json!({})).await;
    let second = lend(&alice, json!({})).await;
    assert_eq!(post(&alice, &format!("/delegations/{second}/revoke"), json!({"reason": "enough"})).await.0, 200);
    let last = lend(&alice, json!({})).await;
    let others = lend(&world.human("zoe", &["support"]), json!({})).await;
    world.clock.turn(TimeDelta::days(89));
    world.restart().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rows(&world).iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [first, second, last.clone(), others.clone()]);
    world.clock.turn(TimeDelta::days(2));
    world.restart().await;
    let kept = [(last, "active".to_owned()), (others, "active".to_owned())];
    for _ in 0..50 {
        if rows(&world) == kept {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rows(&world), kept);
    assert_eq!(code(&world.agent().query("shop", "SELECT 1").await), "identity.expired", "its end still is one");
    assert_eq!(world.approver().trail("&kind=delegation.granted").await.len(), 4, "the record has them all");
    world.verify();
}

#[tokio::test]
async fn delegations_that_make_no_sense_are_refused() {
    let required = Settings { agents_required: true, ..Settings::default() };
    let world = World::with(Wish { registry: required, ..Wish::default() }).await;
    let alice = world.human("alice", &["support"]);
    assert_eq!(code(&world.agent().query("shop", "SELECT 1").await), "identity.agent_unknown");
    assert_eq!(post(&alice, "/agents", json!({"agent": "demo-agent"})).await.0, 200);
    assert_eq!(world.agent().query("shop", "SELECT 1").await["status"], "ok");
    for (body, says) in [
        (json!({"agent": "demo-agent", "highest_risk": "root", "lasting_s": 60}), "highest_risk"),
        (json!({"agent": "demo-agent", "highest_risk": "read", "lasting_s": 0}), "last"),
        (json!({"agent": "demo-agent", "highest_risk": "read", "lasting_s": 4_000_000_000_u32}), "last"),
        (json!({"agent": "demo-agent", "highest_risk": "read", "lasting_s": 60, "targets": ["shpo"]}), "`shpo`"),
        (json!({"agent": "demo-agent", "highest_risk": "read", "lasting_s": 60, "tools": ["db_quary"]}), "`db_quary`"),
        (json!({"agent": "nobody", "highest_risk": "read", "lasting_s": 60}), "not registered"),
        (json!({"agent": "demo-agent", "highest_risk": "read"}), "lasting_s"),
        (json!([]), ""),
    ] {
        let (status, refused) = post(&alice, "/delegations", body.clone()).await;
        assert!(status >= 400 && refused["error"]["message"].as_str().unwrap().contains(says), "{body}: {refused}");
    }
    assert_eq!(world.human("alice", &["support"]).get("/delegations?all=true").await.0, 403);
    assert_eq!(world.approver().get("/delegations?all=true").await.0, 200);
    world.verify();
}
