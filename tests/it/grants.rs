//! More than one call: grants within a scope, asked for or chosen, narrowed, used up, taken back; who must say why; votes that lapse; broken glass; and
//! requests that are too many or not wanted any more.

use chrono::TimeDelta;
use serde_json::{Value, json};

use countersign::approval::Event;
use countersign::notice::{Channel, Settings};

use crate::channels::{channel, webhook};
use crate::harness::receiver::Receiver;
use crate::harness::{Agent, POLICY, Wish, World, code};

fn refund(id: u32) -> String {
    format!("UPDATE orders SET status = 'refunded' WHERE id = {id}")
}

/// The quickstart's policies with these annotations on the one that asks.
fn asks_with(annotations: &str) -> String {
    let policies = POLICY.replace("@quorum(\"1\")\n", &format!("{annotations}\n"));
    assert_ne!(policies, POLICY);
    policies
}

async fn world(policies: String) -> World {
    World::with(Wish { policies, ..Wish::default() }).await
}

async fn pending(agent: &Agent, sql: &str) -> String {
    let answer = agent.execute("shop", sql).await;
    assert_eq!(answer["status"], "approval_pending", "{answer}");
    answer["approval"]["id"].as_str().unwrap().to_owned()
}

fn access(on: &[&str], minutes: u32, calls: u32) -> Value {
    json!({"target": "shop", "tools": ["db_execute"], "on": on, "risk": "write", "minutes": minutes, "calls": calls, "reason": "refunds of the day"})
}

async fn asked(agent: &Agent, access: Value) -> String {
    let answer = agent.call("request_access", access).await;
    assert_eq!(answer["result"]["state"], "pending", "{answer}");
    answer["result"]["approval_id"].as_str().unwrap().to_owned()
}

fn refused(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn access_that_was_asked_for_reaches_its_scope_and_no_further() {
    let mut world = world(asks_with("@grant(\"30m, 3 calls\")")).await;
    let (agent, bob) = (world.agent(), world.approver());
    for (wrong, why) in [
        (access(&["orders"], 31, 3), "30 minutes and 3 calls"),
        (access(&["orders"], 30, 4), "30 minutes and 3 calls"),
        (
            json!({"target": "shop", "tools": ["db_execute"], "on": [], "risk": "destructive", "minutes": 1, "calls": 1, "reason": "x"}),
            "no policy opens",
        ),
        (
            json!({"target": "shop", "tools": ["ssh_exec"], "risk": "write", "minutes": 1, "calls": 1, "reason": "x"}),
            "no tool for this target",
        ),
        (json!({"target": "shop", "tools": ["db_query"], "risk": "read", "minutes": 1, "calls": 1, "reason": "x"}), "need no approval"),
        (
            json!({"target": "shop", "tools": ["db_execute"], "on": ["payments"], "risk": "write", "minutes": 1, "calls": 1, "reason": "x"}),
            "no policy opens",
        ),
    ] {
        let answer = agent.call("request_access", wrong).await;
        assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains(why)), "{why}: {answer}");
    }
    let reader = world.agent_of("alice", "demo-agent", &["support"], "mcp:read");
    assert_eq!(code(&reader.call("request_access", access(&["orders"], 1, 1)).await), "identity.insufficient_scope");

    let id = asked(&agent, access(&["orders"], 30, 3)).await;
    assert_eq!(asked(&agent, access(&["orders"], 30, 3)).await, id, "asked again, it is the same request");
    let (_, shown) = bob.get(&format!("/approvals/{id}")).await;
    assert_eq!((&shown["operation"]["on"], &shown["risk"]), (&json!(["orders"]), &json!("write")), "{shown}");
    // Nothing of it holds before it is approved, and the human in whose name it is asked does not approve it.
    assert_eq!(agent.execute("shop", &refund(1300)).await["status"], "approval_pending");
    assert_eq!(
        refused(&world.human("alice", &["approvers"]).decide(&id, json!({"decision": "approve"})).await),
        (403, "approval.not_allowed")
    );
    let wider = json!({"decision": "approve", "scope": {"tools": ["db_execute"], "target": "shop", "on": [], "risk": "write", "minutes": 30, "calls": 3}});
    assert_eq!(refused(&bob.decide(&id, wider).await), (400, "request.malformed"));
    let narrower = json!({"decision": "approve", "scope": {"tools": ["db_execute"], "target": "shop", "on": ["orders"], "risk": "write", "minutes": 10, "calls": 2}});
    let (status, decided) = bob.decide(&id, narrower).await;
    assert_eq!((status, decided["state"].as_str()), (200, Some("granted")), "{decided}");

    // A restart forgets neither the grant nor its uses.
    assert_eq!(agent.execute("shop", &refund(1301)).await["result"]["affected_rows"], 1);
    world.restart().await;
    // Another table, a heavier call, what a policy forbids, another agent, another human: none of them is reached (attack 92).
    let other = "UPDATE products SET stock = 1 WHERE id = 1";
    assert_eq!(agent.execute("shop", other).await["status"], "approval_pending");
    assert_eq!(code(&agent.execute("shop", "UPDATE orders SET status = 'refunded'").await), "policy.denied");
    assert_eq!(code(&agent.execute("shop", "UPDATE payments SET id = 1 WHERE id = 1").await), "policy.denied");
    for stranger in
        [world.agent_of("alice", "other-agent", &["support"], "mcp:write"), world.agent_of("zoe", "demo-agent", &["support"], "mcp:write")]
    {
        assert_eq!(stranger.execute("shop", &refund(1302)).await["status"], "approval_pending");
    }
    // Of ten at once, as many go ahead as the grant has calls left.
    let calls = (1303..1313).map(|id| {
        let agent = agent.clone();
        async move { agent.execute("shop", &refund(id)).await }
    });
    let answers = futures::future::join_all(calls).await;
    let done: Vec<_> = answers.iter().filter(|answer| answer["status"] == "ok").collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    assert_ne!(agent.execute("shop", &refund(1320)).await["status"], "ok", "it is used up");
    let (_, shown) = bob.get(&format!("/approvals/{id}")).await;
    assert_eq!((&shown["state"], &shown["calls_used"]), (&json!("spent"), &json!(2)), "{shown}");
    for (state, expected) in [("granted", false), ("spent", true)] {
        let (_, listed) = bob.get(&format!("/approvals?state={state}")).await;
        assert_eq!(listed["approvals"].to_string().contains(&id), expected, "{state}: {listed}");
    }
    let late = bob.post(&format!("/approvals/{id}/revoke"), json!({"reason": "done"})).await;
    assert_eq!(refused(&late), (409, "approval.already_decided"), "there is nothing left to take back");
    let (_, whole) = bob.get(&format!("/audit/calls/{}", done[0]["call_id"].as_str().unwrap())).await;
    let admitted = whole["entries"].as_array().unwrap().iter().find(|entry| entry["leaf"]["policy"]["decision"] == "approved").unwrap();
    assert_eq!(admitted["leaf"]["appr"]["id"], id, "{admitted}");
    assert_eq!(bob.trail(&format!("&approval={id}&kind=approval.decided")).await[0]["leaf"]["appr"]["scope"]["calls"], 2);
    world.verify();
}

#[tokio::test]
async fn a_grant_ends_by_its_time_by_a_human_by_a_lost_role_and_by_a_stricter_policy() {
    let grants = asks_with("@grant(\"30m, 100 calls\")");
    let mut world = world(grants.clone()).await;
    let (agent, bob) = (world.agent(), world.approver());
    let id = asked(&agent, access(&["orders"], 10, 50)).await;
    bob.decide(&id, json!({"decision": "approve"})).await;
    assert_eq!(agent.execute("shop", &refund(1300)).await["status"], "ok");
    assert_eq!(refused(&bob.post(&format!("/approvals/{id}/revoke"), json!({})).await), (400, "approval.unjustified"));
    assert_eq!(
        refused(&world.human("zoe", &["support"]).post(&format!("/approvals/{id}/revoke"), json!({"reason": "no"})).await),
        (404, "approval.unknown")
    );
    // The human in whose name it is used may take it back too.
    let (status, revoked) =
        world.human("alice", &["support"]).post(&format!("/approvals/{id}/revoke"), json!({"reason": "done for today"})).await;
    assert_eq!((status, revoked["state"].as_str()), (200, Some("revoked")), "{revoked}");
    assert_eq!(agent.execute("shop", &refund(1301)).await["status"], "approval_pending");
    assert_eq!(refused(&bob.post(&format!("/approvals/{id}/revoke"), json!({"reason": "again"})).await).0, 409);

    let second = asked(&agent, access(&["orders"], 10, 49)).await;
    bob.decide(&second, json!({"decision": "approve"})).await;
    assert_eq!(agent.execute("shop", &refund(1302)).await["status"], "ok");
    world.clock.turn(TimeDelta::minutes(11));
    assert_eq!(world.agent().execute("shop", &refund(1303)).await["status"], "approval_pending");

    // Bob is seen without the role once: what he granted holds no longer.
    let (agent, bob) = (world.agent(), world.approver());
    let third = asked(&agent, access(&["orders"], 30, 48)).await;
    bob.decide(&third, json!({"decision": "approve"})).await;
    assert_eq!(agent.execute("shop", &refund(1304)).await["status"], "ok");
    let other = pending(&agent, "UPDATE products SET stock = 2 WHERE id = 1").await;
    assert_eq!(world.human("bob", &["support"]).decide(&other, json!({"decision": "approve"})).await.0, 404);
    assert_eq!(agent.execute("shop", &refund(1305)).await["status"], "approval_pending");
    // The newest word of his issuer counts, and not an old token's.
    assert_eq!(world.approver().decide(&other, json!({"decision": "approve"})).await.0, 200);
    assert_eq!(agent.execute("shop", &refund(1306)).await["status"], "ok", "he has it again");

    let none = POLICY.to_owned();
    world.restart_with(|settings| settings.policies[0].text = none).await;
    assert_eq!(world.agent().execute("shop", &refund(1307)).await["status"], "approval_pending", "the policy allows no grants any more");
    world.verify();
}

#[tokio::test]
async fn an_approver_may_grant_more_calls_like_the_one_that_was_asked() {
    let world = world(asks_with("@grant(\"30m, 5 calls\")")).await;
    let (agent, bob) = (world.agent(), world.approver());
    let id = pending(&agent, &refund(1300)).await;
    let scope = |on: &str, calls: u32| json!({"decision": "approve", "scope": {"tools": ["db_execute"], "target": "shop", "on": [on], "risk": "write", "minutes": 30, "calls": calls}});
    for wrong in [scope("products", 2), scope("orders", 6)] {
        assert_eq!(refused(&bob.decide(&id, wrong).await), (400, "request.malformed"));
    }
    assert_eq!(bob.decide(&id, scope("orders", 2)).await.0, 200);
    assert_eq!(agent.execute("shop", &refund(1300)).await["status"], "ok");
    assert_eq!(agent.execute("shop", &refund(1301)).await["status"], "ok");
    assert_eq!(agent.execute("shop", &refund(1302)).await["status"], "approval_pending");
    // What the approver was shown binds the call that it was shown of, also where another one within the scope was first.
    let previewed = "UPDATE orders SET status = 'refunded' WHERE id IN (1310, 999999)";
    let id = pending(&agent, previewed).await;
    assert_eq!(bob.decide(&id, scope("orders", 4)).await.0, 200);
    assert_eq!(agent.execute("shop", &refund(1311)).await["status"], "ok");
    let shop = rusqlite::Connection::open(world.dir.path().join("shop.db")).unwrap();
    shop.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    assert_eq!(shop.execute("UPDATE orders SET id = 999999 WHERE id = 1312", []).unwrap(), 1);
    let answer = agent.execute("shop", previewed).await;
    assert_eq!(code(&answer), "approval.changed_since_preview", "{answer}");
    // Where no policy speaks of grants, there are none.
    let plain = World::new().await;
    let id = pending(&plain.agent(), &refund(1300)).await;
    assert_eq!(refused(&plain.approver().decide(&id, scope("orders", 1)).await), (400, "request.malformed"));
    assert_eq!(code(&plain.agent().call("request_access", access(&["orders"], 1, 1)).await), "policy.denied");
    world.verify();
    plain.verify();
}

#[tokio::test]
async fn who_must_say_why_must_say_it_and_name_a_ticket() {
    let world = world(asks_with("@justification(\"both\")\n@ticket(\"OPS-[0-9]+\")")).await;
    let (agent, bob) = (world.agent(), world.approver());
    let call = |reason: Option<&str>| {
        let mut arguments = json!({"target": "shop", "sql": refund(1300)});
        if let Some(reason) = reason {
            arguments["reason"] = json!(reason);
        }
        arguments
    };
    for reason in [None, Some(" "), Some("because"), Some("DEVOPS-1x")] {
        let answer = agent.call("db_execute", call(reason)).await;
        assert_eq!(code(&answer), "approval.unjustified", "{reason:?}: {answer}");
    }
    let answer = agent.call("db_execute", call(Some("the customer of OPS-77 asked"))).await;
    let id = answer["approval"]["id"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let (_, shown) = bob.get(&format!("/approvals/{id}")).await;
    assert_eq!(shown["tickets"], json!(["OPS-77"]), "{shown}");
    for decision in [json!({"decision": "approve"}), json!({"decision": "approve", "reason": "fine"})] {
        assert_eq!(refused(&bob.decide(id, decision).await), (400, "approval.unjustified"));
    }
    let (status, decided) = bob.decide(id, json!({"decision": "approve", "reason": "seen OPS-78"})).await;
    assert_eq!((status, &decided["tickets"]), (200, &json!(["OPS-77", "OPS-78"])), "{decided}");
    // Why is no part of what was approved: the same call with other words finds it.
    let ran = agent.call("db_execute", call(Some("OPS-77 again"))).await;
    assert_eq!((&ran["status"], &ran["approval"]["id"]), (&json!("ok"), &json!(id)), "{ran}");
    // What the approver said is sealed with the leaf that says they approved, and not in a row alone.
    let decided = &bob.trail(&format!("&approval={id}&kind=approval.decided")).await[0]["leaf"];
    assert_eq!(decided["pay"][0]["role"], "decision", "{decided}");
    let call = decided["call"].as_str().unwrap();
    let (_, whole) = bob.get(&format!("/audit/calls/{call}")).await;
    assert_eq!(whole["payloads"]["decisions"][0]["said"]["reason"], "seen OPS-78", "{whole}");
    world.verify();
}

#[tokio::test]
async fn a_vote_lapses_when_its_human_loses_the_role_before_the_quorum_is_full() {
    let world = world(asks_with("@quorum(\"2\")")).await;
    let (agent, bob, carol) = (world.agent(), world.approver(), world.human("carol", &["approvers"]));
    let (id, other) = (pending(&agent, &refund(1300)).await, pending(&agent, &refund(1301)).await);
    let yes = || json!({"decision": "approve"});
    assert_eq!(bob.decide(&id, yes()).await.1["state"], "pending");
    // Bob changes teams, and is seen with the new ones, whatever he comes for.
    assert_eq!(world.human("bob", &["support"]).get("/whoami").await.0, 200);
    assert_eq!(carol.decide(&id, yes()).await.1["state"], "pending", "only hers counts");
    assert_eq!(agent.execute("shop", &refund(1300)).await["status"], "approval_pending");
    let lapsed = bob.trail(&format!("&approval={id}&kind=approval.decided")).await;
    assert_eq!(lapsed[0]["leaf"]["res"]["lapsed"], 1, "{lapsed:?}");
    // With the role again he may vote anew; a third would do as well.
    assert_eq!(world.approver().decide(&id, yes()).await.1["state"], "approved");
    assert_eq!(agent.execute("shop", &refund(1300)).await["status"], "ok");
    // One no wins over a yes.
    assert_eq!(bob.decide(&other, yes()).await.1["state"], "pending");
    assert_eq!(carol.decide(&other, json!({"decision": "deny", "reason": "no"})).await.1["state"], "denied");
    assert_eq!(code(&agent.execute("shop", &refund(1301)).await), "approval.denied");
    world.verify();
}

/// A token from before the newest word counts for nothing, also where that word said what was known already.
#[tokio::test]
async fn the_newest_word_of_an_issuer_counts_whatever_comes_after_it() {
    let world = world(asks_with("@quorum(\"2\")")).await;
    let id = pending(&world.agent(), &refund(1300)).await;
    let yes = || json!({"decision": "approve"});
    assert_eq!(world.approver().decide(&id, yes()).await.1["state"], "pending");
    let later = || world.clock.turn(TimeDelta::seconds(2));
    later();
    assert_eq!(world.human("bob", &["support"]).get("/whoami").await.0, 200);
    later();
    let between = world.approver();
    later();
    for human in [world.human("bob", &["support"]), between] {
        assert_eq!(human.get("/whoami").await.0, 200);
    }
    assert_eq!(world.human("carol", &["approvers"]).decide(&id, yes()).await.1["state"], "pending", "only hers counts");
    world.verify();
}

#[tokio::test]
async fn whoever_breaks_the_glass_answers_for_it() {
    let glass = "@id(\"glass\") permit (principal in Team::\"oncall\", action == Action::\"break_glass\", resource in Target::\"shop\");";
    let looks = "@id(\"looks\") permit (principal in Team::\"reviewers\", action == Action::\"review\", resource);";
    let policies = format!("{}\n{glass}\n{looks}", asks_with("@quorum(\"2\")"));
    let (receiver, dir) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let owners = Channel { events: vec![Event::GlassBroken], ..channel("owners", webhook(dir.path(), &receiver.url("/owners"))) };
    let notices = Settings { channels: vec![owners], ..Settings::default() };
    let world = World::with(Wish { policies, notices, ..Wish::default() }).await;
    let (agent, bob) = (world.agent(), world.approver());
    let id = pending(&agent, &refund(1300)).await;
    let at = format!("/approvals/{id}/break-glass");
    let reason = json!({"reason": "the shop is down"});
    let alice = world.human("alice", &["support", "oncall"]);
    assert_eq!(refused(&bob.post(&at, reason.clone()).await), (403, "approval.not_allowed"), "whom no policy trusts with it");
    assert_eq!(refused(&world.human("eve", &[]).post(&at, reason.clone()).await), (404, "approval.unknown"), "to whom it is not there");
    assert_eq!(refused(&world.human("alice", &["support"]).post(&at, reason.clone()).await), (403, "approval.not_allowed"));
    assert_eq!(refused(&alice.post(&at, json!({})).await), (400, "approval.unjustified"));
    // Her own call, alone, and at once; no agent gets that far.
    let mut agents = world.human("alice", &[]);
    agents.token = world.token("alice", &["oncall"], "inbox", Some("demo-agent"), "mcp:write");
    assert!(matches!(agents.post(&at, reason.clone()).await.0, 401 | 403));
    // Who only reviews has nothing to look at before.
    let rita = world.human("rita", &["reviewers"]);
    assert_eq!(rita.get(&format!("/approvals/{id}")).await.0, 404);
    let (status, broken) = alice.post(&at, reason.clone()).await;
    assert_eq!((status, broken["state"].as_str()), (200, Some("approved")), "{broken}");
    assert_eq!(rita.get(&format!("/approvals/{id}")).await.0, 200);
    assert_eq!(refused(&rita.post(&format!("/approvals/{id}/revoke"), json!({"reason": "no"})).await), (404, "approval.unknown"));
    assert_eq!(agent.execute("shop", &refund(1300)).await["status"], "ok");
    assert_eq!(refused(&alice.post(&at, reason).await).0, 409);
    // It stands out, also on the call's own record, until somebody else has looked at it.
    let admitted = bob.trail("&kind=call.admitted&tool=db_execute").await;
    assert!(
        admitted.iter().any(|entry| entry["leaf"]["appr"]["glass"] == "broken" && entry["leaf"]["appr"]["id"] == id.as_str()),
        "{admitted:?}"
    );
    let (_, shown) = bob.get(&format!("/approvals/{id}")).await;
    assert_eq!((&shown["broken_glass"]["reviewed"], &shown["state"]), (&Value::Null, &json!("spent")), "{shown}");
    let (status, summary) = bob.get("/approvals/summary").await;
    assert_eq!((status, &summary["glass_to_review"]), (200, &json!([id])), "{summary}");
    assert_eq!(
        (&summary["humans"][0]["id"], &summary["humans"][0]["approved"], &summary["humans"][0]["under_10_s"]),
        (&json!("alice"), &json!(1), &json!(1))
    );
    assert_eq!(alice.get("/approvals/summary").await.0, 404);
    assert_eq!(bob.trail("&kind=auth.refused").await[0]["leaf"]["res"]["wanted"], "approvals summary");
    let whole = bob
        .get(&format!(
            "/audit/calls/{}",
            bob.trail(&format!("&approval={id}&kind=approval.glass_broken")).await[0]["leaf"]["call"].as_str().unwrap()
        ))
        .await
        .1;
    assert_eq!(whole["payloads"]["decisions"][0]["said"]["reason"], "the shop is down", "{whole}");
    let review = format!("/approvals/{id}/review");
    assert_eq!(refused(&alice.post(&review, json!({"right": true, "reason": "mine"})).await), (404, "approval.unknown"));
    assert_eq!(
        refused(&world.human("alice", &["approvers"]).post(&review, json!({"right": true, "reason": "mine"})).await),
        (403, "approval.not_allowed")
    );
    assert_eq!(refused(&bob.post(&review, json!({"right": true})).await), (400, "approval.unjustified"));
    let (status, seen) = bob.post(&review, json!({"right": false, "reason": "it was not down"})).await;
    assert_eq!((status, &seen["broken_glass"]["reviewed"]["approve"]), (200, &json!(false)), "{seen}");
    assert_eq!(refused(&bob.post(&review, json!({"right": true, "reason": "after all"})).await).0, 409);
    assert_eq!(bob.get("/approvals/summary").await.1["glass_to_review"], json!([]));
    for kind in ["approval.glass_broken", "approval.glass_reviewed"] {
        assert_eq!(bob.trail(&format!("&approval={id}&kind={kind}")).await.len(), 1, "{kind}");
    }
    world.verify();
}

/// Whoever would hear of it elsewhere does not hear of it here.
#[tokio::test]
async fn the_glass_is_not_broken_where_nobody_would_be_told() {
    let glass = "@id(\"glass\") permit (principal in Team::\"oncall\", action == Action::\"break_glass\", resource);";
    let (receiver, dir) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let elsewhere = Channel {
        events: vec![Event::GlassBroken],
        environments: vec!["production".to_owned()],
        ..channel("owners", webhook(dir.path(), &receiver.url("/owners")))
    };
    let notices = Settings { channels: vec![elsewhere], ..Settings::default() };
    let world = World::with(Wish { policies: format!("{POLICY}\n{glass}"), notices, ..Wish::default() }).await;
    let id = pending(&world.agent(), &refund(1300)).await;
    let olga = world.human("olga", &["oncall"]);
    let (status, told) = olga.post(&format!("/approvals/{id}/break-glass"), json!({"reason": "the shop is down"})).await;
    assert_eq!((status, told["error"]["code"].as_str()), (403, Some("approval.not_allowed")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("nobody would be told"), "{told}");
    let bob = world.approver();
    assert_eq!(bob.get(&format!("/approvals/{id}")).await.1["state"], "pending");
    assert_eq!(bob.trail(&format!("&approval={id}&kind=approval.refused")).await.len(), 1);
    world.verify();
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_withdrawn_and_what_is_too_much_alike_is_not_asked() {
    let world = World::new().await;
    let (agent, bob) = (world.agent(), world.approver());
    let id = pending(&agent, &refund(1300)).await;
    for stranger in
        [world.agent_of("alice", "other-agent", &["support"], "mcp:write"), world.agent_of("zoe", "demo-agent", &["support"], "mcp:write")]
    {
        assert_eq!(code(&stranger.call("approval_withdraw", json!({"approval_id": id})).await), "approval.unknown");
    }
    assert_eq!(agent.call("approval_withdraw", json!({"approval_id": id})).await["result"]["state"], "withdrawn");
    assert_eq!(refused(&bob.decide(&id, json!({"decision": "approve"})).await), (409, "approval.already_decided"));
    assert_eq!(code(&agent.call("approval_withdraw", json!({"approval_id": id})).await), "approval.already_decided");
    // An approved one too: then it can be claimed no longer.
    let second = pending(&agent, &refund(1300)).await;
    bob.decide(&second, json!({"decision": "approve"})).await;
    assert_eq!(agent.call("approval_withdraw", json!({"approval_id": second})).await["result"]["state"], "withdrawn");
    // And a human takes back what is approved and was not used.
    let third = pending(&agent, &refund(1300)).await;
    bob.decide(&third, json!({"decision": "approve"})).await;
    assert_eq!(bob.post(&format!("/approvals/{third}/revoke"), json!({"reason": "too early"})).await.0, 200);
    assert_eq!(agent.call("approval_status", json!({"approval_id": third})).await["result"]["state"], "revoked");
    assert_eq!(code(&agent.execute("shop", &refund(1300)).await), "approval.revoked");
    let mut codes = Vec::new();
    for id in 1301..=1310 {
        codes.push(code(&agent.execute("shop", &refund(id)).await).to_owned());
    }
    assert_eq!(codes.iter().filter(|code| code.is_empty()).count(), 9, "{codes:?}");
    assert_eq!(codes.last().map(String::as_str), Some("approval.too_alike"), "{codes:?}");
    // What is of another kind is asked as ever, and after a while so is this.
    pending(&agent, "UPDATE products SET stock = 2 WHERE id = 1").await;
    world.clock.turn(TimeDelta::minutes(11));
    pending(&world.agent(), &refund(1311)).await;
    world.verify();
}

/// What each of several approvers grants holds for all of them (nobody widens what another has said yes to), and a call that no name describes is like no other.
#[tokio::test]
async fn the_least_that_any_approver_grants_holds_and_nothing_is_like_what_cannot_be_named() {
    let world = world(asks_with("@quorum(\"2\")\n@grant(\"30m, 5 calls\")")).await;
    let (agent, bob, carol) = (world.agent(), world.approver(), world.human("carol", &["approvers"]));
    let more = |calls: u32| json!({"decision": "approve", "scope": {"tools": ["db_execute"], "target": "shop", "on": ["orders"], "risk": "write", "minutes": 30, "calls": calls}});
    let once = || json!({"decision": "approve"});
    for (first, second, state, runs) in
        [(once(), more(5), "approved", 1), (more(5), once(), "approved", 1), (more(2), more(5), "granted", 2)]
    {
        let id = pending(&agent, &refund(1300)).await;
        assert_eq!(bob.decide(&id, first).await.1["state"], "pending");
        assert_eq!(carol.decide(&id, second).await.1["state"], state);
        for order in 1300..1303 {
            let status = if order < 1300 + runs { "ok" } else { "approval_pending" };
            assert_eq!(agent.execute("shop", &refund(order)).await["status"], status, "{state} {order}");
        }
        for order in 1301..1303 {
            let open = agent.execute("shop", &refund(order)).await["approval"]["id"].as_str().map(ToOwned::to_owned);
            if let Some(open) = open {
                agent.call("approval_withdraw", json!({"approval_id": open})).await;
            }
        }
    }
    // Of access too; and what would leave nothing of it is refused, not approved as something else.
    let wanted = json!({"target": "shop", "tools": ["db_execute"], "on": ["orders", "products"], "risk": "write", "minutes": 30, "calls": 5, "reason": "x"});
    let id = asked(&agent, wanted).await;
    let narrowed = |on: &str| json!({"decision": "approve", "scope": {"tools": ["db_execute"], "target": "shop", "on": [on], "risk": "write", "minutes": 30, "calls": 5}});
    assert_eq!(bob.decide(&id, narrowed("orders")).await.1["state"], "pending");
    assert_eq!(refused(&carol.decide(&id, narrowed("products")).await), (400, "request.malformed"));
    let (_, granted) = carol.decide(&id, once()).await;
    assert_eq!((&granted["state"], &granted["scope"]["on"]), (&json!("granted"), &json!(["orders"])), "{granted}");
    assert_eq!(bob.post(&format!("/approvals/{id}/revoke"), json!({"reason": "seen"})).await.0, 200);
    // Whoever has said yes may still say no, as long as it is open.
    let id = pending(&agent, &refund(1310)).await;
    bob.decide(&id, once()).await;
    assert_eq!(bob.decide(&id, json!({"decision": "deny", "reason": "I misread it"})).await.1["state"], "denied");
    // Another verb on the same table is another deed, and a name with a dot in it another table.
    let deletes =
        "@id(\"deletes_ask\") @grant(\"30m, 5 calls\") permit (principal, action == Action::\"request\", resource in Target::\"shop\");";
    let wider = self::world(format!("{}\n{deletes}", asks_with("@grant(\"30m, 5 calls\")"))).await;
    let (agent, bob) = (wider.agent_of("alice", "demo-agent", &["support"], "mcp:admin"), wider.approver());
    let id = pending(&agent, "DELETE FROM order_items WHERE order_id = 1").await;
    let scope = json!({"decision": "approve", "scope": {"tools": ["db_execute"], "target": "shop", "on": ["order_items"], "risk": "destructive", "minutes": 30, "calls": 5}});
    assert_eq!(bob.decide(&id, scope).await.1["state"], "granted");
    assert_eq!(agent.execute("shop", "DELETE FROM order_items WHERE order_id = 1").await["status"], "ok");
    assert_eq!(agent.execute("shop", "DELETE FROM order_items WHERE order_id = 2").await["status"], "ok");
    assert_eq!(agent.execute("shop", "DROP TABLE order_items").await["status"], "approval_pending");
    world.verify();
    wider.verify();
}
