//! Approvals: exactly that call, once, by somebody else, in time; and what happens when two come at once.

use std::time::Duration;

use chrono::TimeDelta;
use countersign::connector::Endpoint;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use countersign::identity::{ClaimPath, KeySource};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::{POLICY, Wish, World, code};

const SQL: &str = "UPDATE orders SET status = 'refunded' WHERE id = 1300";

async fn pending(world: &World, sql: &str) -> String {
    let answer = world.agent().execute("shop", sql).await;
    assert_eq!(answer["status"], "approval_pending", "{answer}");
    answer["approval"]["id"].as_str().unwrap().to_owned()
}

fn yes() -> Value {
    json!({"decision": "approve"})
}

#[tokio::test]
async fn asked_approved_done_once() {
    let mut world = World::new().await;
    let id = pending(&world, SQL).await;
    assert_eq!(pending(&world, SQL).await, id, "the same call finds its request");
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!(shown["operation"]["statement"], SQL);
    assert_eq!(shown["preview"]["would_touch_rows"], 1);
    world.restart().await;
    let agent = world.agent();
    assert_eq!(agent.call("approval_status", json!({"approval_id": id})).await["result"]["state"], "pending");
    assert_eq!(world.approver().decide(&id, yes()).await.0, 200);
    assert_eq!(agent.call("approval_wait", json!({"approval_id": id})).await["result"]["state"], "approved");
    // Anything that differs is another call (attacks 90 to 92).
    for other in ["UPDATE orders SET status = 'refunded' WHERE id = 1301", "UPDATE orders SET status = 'paid' WHERE id = 1300"] {
        assert_ne!(pending(&world, other).await, id);
    }
    let another = world.agent_of("alice", "other-agent", &["support"], "mcp:read mcp:write");
    assert_eq!(another.execute("shop", SQL).await["status"], "approval_pending");
    // Nor another human with an agent of the same id (attack 68): not by the agent's tools, not at the human's door.
    let stranger = world.agent_of("zoe", "demo-agent", &["support"], "mcp:read mcp:write");
    for other in [&another, &stranger] {
        for tool in ["approval_status", "approval_wait"] {
            assert_eq!(code(&other.call(tool, json!({"approval_id": id})).await), "approval.unknown", "{tool}");
        }
    }
    let zoe = world.human("zoe", &["support"]);
    let (status, hidden) = zoe.get(&format!("/approvals/{id}")).await;
    let (_, absent) = zoe.get(&format!("/approvals/apr_{}", "0".repeat(32))).await;
    assert_eq!((status, &hidden), (404, &absent), "hidden and absent look the same");
    assert!(zoe.get("/approvals?state=all").await.1["approvals"].as_array().unwrap().is_empty());
    assert_eq!(stranger.execute("shop", SQL).await["status"], "approval_pending", "her own call, and not alice's grant");
    // Two at once: one does it, and the other has to ask anew.
    let (one, two) = tokio::join!(agent.execute("shop", SQL), agent.execute("shop", SQL));
    let done = [&one, &two].iter().filter(|answer| answer["status"] == "ok").count();
    assert_eq!(done, 1, "{one} {two}");
    assert!([&one, &two].iter().any(|answer| answer["status"] == "approval_pending" || code(answer) == "approval.spent"), "{one} {two}");
    assert_eq!(agent.call("approval_status", json!({"approval_id": id})).await["result"]["state"], "spent");
    world.verify();
}

/// A name that stands for another place is another target: nothing that was approved of the one holds for the other.
#[tokio::test]
async fn what_was_approved_of_a_target_does_not_hold_for_another_place_of_that_name() {
    let mut world = World::new().await;
    let id = pending(&world, SQL).await;
    assert_eq!(world.approver().decide(&id, yes()).await.0, 200);
    let elsewhere = world.dir.path().join("elsewhere.db");
    std::fs::copy(world.dir.path().join("shop.db"), &elsewhere).unwrap();
    let before = std::fs::read(&elsewhere).unwrap();
    world.restart_with(|settings| settings.targets[0].settings.endpoint = Endpoint::Sqlite { path: elsewhere.clone() }).await;
    assert_ne!(pending(&world, SQL).await, id);
    assert!(std::fs::read(&elsewhere).unwrap() == before, "it was done all the same");
    world.restart_with(|settings| settings.targets[0].environment = "another".to_owned()).await;
    assert_ne!(pending(&world, SQL).await, id);
    world.verify();
}

#[tokio::test]
async fn held_until_it_is_decided() {
    let world = World::with(Wish { hold: Duration::from_secs(20), ..Wish::default() }).await;
    let agent = world.agent();
    let call = tokio::spawn(async move { agent.execute("shop", SQL).await });
    let mut waiting = Vec::new();
    while waiting.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        waiting = world.approver().pending().await;
    }
    world.approver().decide(waiting[0]["approval_id"].as_str().unwrap(), yes()).await;
    let done = call.await.unwrap();
    assert_eq!(done["result"]["affected_rows"], 1, "{done}");
    // Denied: the agent is told why, and again from memory when it repeats.
    let agent = world.agent();
    let other = "UPDATE orders SET status = 'refunded' WHERE id = 1302";
    let call = tokio::spawn(async move { (agent.execute("shop", other).await, agent.execute("shop", other).await) });
    let mut waiting = Vec::new();
    while waiting.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        waiting = world.approver().pending().await;
    }
    let id = waiting[0]["approval_id"].as_str().unwrap();
    assert_eq!(world.approver().decide(id, json!({"decision": "deny"})).await.0, 400, "a denial needs a reason");
    world.approver().decide(id, json!({"decision": "deny", "reason": "not this one"})).await;
    let (first, second) = call.await.unwrap();
    assert_eq!((code(&first), code(&second)), ("approval.denied", "approval.denied"), "{first} {second}");
    assert!(first.to_string().contains("not this one"));
    world.verify();
}

#[tokio::test]
async fn nobody_approves_for_himself_and_no_agent_approves_at_all() {
    let world = World::new().await;
    let id = pending(&world, SQL).await;
    let own = world.human("alice", &["approvers"]);
    let (status, refused) = own.decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (403, Some("approval.not_allowed")));
    let stranger = world.human("eve", &["support"]);
    assert_eq!(stranger.decide(&id, yes()).await.0, 404);
    assert!(stranger.pending().await.is_empty());
    for token in [
        world.token("bob", &["approvers"], "mcp", Some("demo-agent"), "mcp:read"),
        world.token("bob", &["approvers"], "inbox", Some("demo-agent"), "mcp:read"),
        String::new(),
    ] {
        let mut agent = world.human("bob", &["approvers"]);
        agent.token = token;
        let (status, refused) = agent.decide(&id, yes()).await;
        assert!(matches!(status, 401 | 403), "{status}");
        let code = refused["error"]["code"].as_str().unwrap();
        assert!(matches!(code, "identity.not_a_person" | "identity.invalid_token" | "identity.missing_token"), "{code}");
    }
    // No GET decides, whatever follows the link (attack 95).
    for method in [reqwest::Method::GET, reqwest::Method::HEAD, reqwest::Method::OPTIONS, reqwest::Method::PUT] {
        let approver = world.approver();
        let url = format!("{}/approvals/{id}/decision?decision=approve", world.base);
        let response = approver.http.request(method, url).bearer_auth(&approver.token).send().await.unwrap();
        assert!(response.status().is_client_error());
    }
    assert_eq!(world.approver().get(&format!("/approvals/{id}")).await.1["state"], "pending");
    for body in [json!({}), json!({"decision": "maybe"}), json!({"decision": "approve", "extra": 1}), json!([])] {
        assert_eq!(world.approver().decide(&id, body).await.0, 400);
    }
    assert_eq!(world.approver().decide("apr_x", yes()).await.0, 404);
    world.verify();
}

#[tokio::test]
async fn approve_and_deny_at_once_have_one_outcome_and_two_records() {
    let world = World::with(Wish { policies: POLICY.to_owned(), ..Wish::default() }).await;
    let id = pending(&world, SQL).await;
    let (bob, carol) = (world.approver(), world.human("carol", &["approvers"]));
    let ((one, _), (two, _)) = tokio::join!(bob.decide(&id, yes()), carol.decide(&id, json!({"decision": "deny", "reason": "no"})));
    let mut statuses = [one, two];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(bob.trail(&format!("&approval={id}&kind=approval.decided")).await.len(), 1);
    assert_eq!(bob.trail(&format!("&approval={id}&kind=approval.refused")).await.len(), 1);
    world.verify();
}

#[tokio::test]
async fn expiry_is_by_the_clock_and_survives_a_restart() {
    let mut world = World::new().await;
    let id = pending(&world, SQL).await;
    world.clock.turn(TimeDelta::minutes(31));
    assert_eq!(world.agent().call("approval_status", json!({"approval_id": id})).await["result"]["state"], "expired");
    let (status, refused) = world.approver().decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (409, Some("approval.expired")));
    world.restart().await;
    let second = pending(&world, SQL).await;
    assert_ne!(second, id);
    world.approver().decide(&second, yes()).await;
    world.clock.turn(TimeDelta::minutes(16));
    let late = world.agent().execute("shop", SQL).await;
    assert_eq!(late["status"], "approval_pending", "a grant that ran out is none: {late}");
    world.verify();
}

#[tokio::test]
async fn two_humans_where_the_policy_wants_two_and_a_reason_where_it_wants_one() {
    let policies = POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")\n@justification(\"required\")");
    let world = World::with(Wish { policies, ..Wish::default() }).await;
    let id = pending(&world, SQL).await;
    let (status, bare) = world.approver().decide(&id, yes()).await;
    assert_eq!((status, bare["error"]["code"].as_str()), (400, Some("approval.unjustified")), "a justification is required");
    let with_reason = json!({"decision": "approve", "reason": "ticket 7"});
    let (status, first) = world.approver().decide(&id, with_reason.clone()).await;
    assert_eq!((status, first["state"].as_str()), (200, Some("pending")));
    let (status, again) = world.approver().decide(&id, with_reason.clone()).await;
    assert_eq!((status, again["error"]["code"].as_str()), (409, Some("approval.already_decided")), "one human is one vote");
    let (status, second) = world.human("carol", &["approvers"]).decide(&id, with_reason).await;
    assert_eq!((status, second["state"].as_str()), (200, Some("approved")));
    assert_eq!(world.agent().execute("shop", SQL).await["status"], "ok");
    world.verify();
}

#[tokio::test]
async fn too_many_open_requests_are_refused() {
    let mut world = World::with(Wish { hold: Duration::ZERO, ..Wish::default() }).await;
    world.restart_with(|settings| settings.approval.alike_max = 100).await;
    let agent = world.agent();
    let mut codes = Vec::new();
    for id in 1..=22 {
        let answer = agent.execute("shop", &format!("UPDATE orders SET status = 'refunded' WHERE id = {id}")).await;
        codes.push(if answer["status"] == "approval_pending" { String::new() } else { code(&answer).to_owned() });
    }
    assert_eq!(codes.iter().filter(|code| code.is_empty()).count(), 20);
    assert_eq!(codes.last().map(String::as_str), Some("approval.too_many_open"));
    world.verify();
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_nothing_and_a_lost_role_decides_nothing() {
    let mut world = World::new().await;
    let id = pending(&world, SQL).await;
    world.clock.turn(TimeDelta::minutes(31));
    assert_eq!(world.agent().call("approval_status", json!({"approval_id": id})).await["result"]["state"], "expired");
    world.clock.turn(TimeDelta::minutes(-30));
    let (status, refused) = world.approver().decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (409, Some("approval.expired")));
    world.restart().await;
    assert_eq!(world.approver().decide(&id, yes()).await.0, 409);
    let second = pending(&world, SQL).await;
    assert_ne!(second, id);
    // Bob has changed teams: the same human, and no vote.
    assert_eq!(world.human("bob", &["support"]).decide(&second, yes()).await.0, 404);
    // Two sessions of one human are one human.
    assert_eq!(world.approver().decide(&second, yes()).await.0, 200);
    assert_eq!(world.approver().decide(&second, yes()).await.0, 409);
    world.verify();
}

#[tokio::test]
async fn an_approval_holds_for_the_policies_it_was_given_under() {
    let mut world = World::new().await;
    let id = pending(&world, SQL).await;
    assert_eq!(world.approver().decide(&id, yes()).await.0, 200);
    let stricter = POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")");
    world.restart_with(|settings| settings.policies[0].text = stricter).await;
    assert_eq!(world.agent().execute("shop", SQL).await["status"], "approval_pending", "asked anew under the new policies");
    world.verify();
}

/// A restart under a clock that was set back goes on from the log's last leaf (attack 102): a fresh clock knows nothing of the old one.
#[tokio::test]
async fn a_clock_set_back_over_a_restart_revives_nothing() {
    let mut world = World::new().await;
    let id = pending(&world, SQL).await;
    world.clock.turn(TimeDelta::minutes(31));
    assert_eq!(world.agent().call("approval_status", json!({"approval_id": id})).await["result"]["state"], "expired");
    let (agent, approver) = (world.agent(), world.approver());
    world.stop().await;
    world.clock = countersign::clock::Clock::system();
    world.restart().await;
    assert_eq!(agent.call("approval_status", json!({"approval_id": id})).await["result"]["state"], "expired");
    let (status, refused) = approver.decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (409, Some("approval.expired")));
    world.verify();
}

/// One human known by two issuers is one human (attacks 93, 102): neither approves an own call by the other name, nor votes twice.
#[tokio::test]
async fn a_second_identity_of_another_issuer_decides_only_where_the_policy_says_so() {
    let decides = "@id(\"partners_decide\") permit (principal in Team::\"partner/approvers\", action == Action::\"approve\", resource) unless { context.own };";
    let closed = format!("{POLICY}\n{decides}");
    let mut world = World::with(Wish { policies: closed.clone(), ..Wish::default() }).await;
    let url = format!("{}/partner", world.base);
    let partner = DevelopmentIssuer::open(&world.dir.path().join("partner"), &url, world.clock.clone()).unwrap();
    let jwks_file = partner.jwks_file().to_owned();
    world
        .restart_with(|settings| {
            let mut second = settings.identity.issuers[0].clone();
            (second.url, second.namespace, second.keys) = (url, "partner".to_owned(), KeySource::File(jwks_file));
            settings.identity.issuers.push(second);
        })
        .await;
    let of_partner = |world: &World, subject: &str| {
        let mut human = world.human(subject, &["approvers"]);
        human.token = partner
            .mint(&TokenRequest {
                subject: subject.to_owned(),
                name: None,
                teams: vec!["approvers".to_owned()],
                audience: format!("{}/inbox", world.base),
                client: "countersign-cli".to_owned(),
                actor: None,
                scope: String::new(),
                lifetime: TimeDelta::hours(1),
            })
            .expose_secret()
            .to_owned();
        human
    };
    let id = pending(&world, SQL).await;
    let alice = of_partner(&world, "alice");
    for decision in [yes(), json!({"decision": "deny", "reason": "no"})] {
        let (status, refused) = alice.decide(&id, decision).await;
        // What they may not see is not there for them; the record says what it was.
        assert_eq!((status, refused["error"]["code"].as_str()), (404, Some("approval.unknown")), "{refused}");
    }
    assert!(alice.pending().await.is_empty());
    assert_eq!(alice.get(&format!("/approvals/{id}")).await.0, 404);
    let on_record = world.approver().trail(&format!("&approval={id}&kind=approval.refused")).await;
    assert_eq!(on_record.len(), 2);
    assert!(on_record.iter().all(|entry| entry["leaf"]["res"]["code"] == "approval.not_allowed"), "{on_record:?}");
    assert_eq!(world.approver().decide(&id, yes()).await.0, 200);
    // A quorum of two is not one human under two names, though both names are on the list.
    let two = closed.replace("@quorum(\"1\")", "@quorum(\"2\")");
    world.restart_with(|settings| settings.policies[0].text = two).await;
    let id = pending(&world, SQL).await;
    let (bob, other_bob) = (world.approver(), of_partner(&world, "bob"));
    assert_eq!(bob.decide(&id, yes()).await.1["state"], "pending");
    assert_eq!(other_bob.decide(&id, yes()).await.0, 404);
    assert_eq!(bob.get(&format!("/approvals/{id}")).await.1["state"], "pending");
    // Said in so many words, it is so; `approve` policies still tell the issuers apart.
    let open = closed.replace("@quorum(\"1\")", "@approvers(\"any_issuer\")").replace(
        "unless { context.own };\n\n// The approvers of the quickstart also review",
        "when { context.same_issuer } unless { context.own };\n\n// The approvers of the quickstart also review",
    );
    assert!(open.contains("context.same_issuer"));
    world.restart_with(|settings| settings.policies[0].text = open).await;
    let id = pending(&world, SQL).await;
    let (status, decided) = of_partner(&world, "carol").decide(&id, yes()).await;
    assert_eq!((status, decided["state"].as_str()), (200, Some("approved")), "{decided}");
    assert_eq!(world.agent().execute("shop", SQL).await["status"], "ok");
    world.verify();
}

/// Two accounts of one human are one human, where the issuer tells (attacks 93, 102).
#[tokio::test]
async fn a_second_account_of_one_human_neither_approves_an_own_call_nor_votes_twice() {
    let mut world = World::with(Wish { policies: POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")"), ..Wish::default() }).await;
    // The development issuer's tokens have one free text; here it is the employee's number.
    world.restart_with(|settings| settings.identity.issuers[0].mapping.person = Some(ClaimPath::parse("name"))).await;
    let issuer = DevelopmentIssuer::open(&world.dir.path().join("issuer"), &format!("{}/issuer", world.base), world.clock.clone()).unwrap();
    let token = |subject: &str, number: Option<&str>, team: &str, door: &str, actor: Option<&str>| {
        let request = TokenRequest {
            subject: subject.to_owned(),
            name: number.map(ToOwned::to_owned),
            teams: vec![team.to_owned()],
            audience: format!("{}/{door}", world.base),
            client: "countersign-cli".to_owned(),
            actor: actor.map(ToOwned::to_owned),
            scope: "mcp:read mcp:write".to_owned(),
            lifetime: TimeDelta::hours(1),
        };
        issuer.mint(&request).expose_secret().to_owned()
    };
    let mut agent = world.agent();
    agent.token = token("alice", Some("E1"), "support", "mcp", Some("demo-agent"));
    let answer = agent.execute("shop", SQL).await;
    let id = answer["approval"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let human = |subject: &str, number: &str| {
        let mut human = world.human(subject, &["approvers"]);
        human.token = token(subject, Some(number), "approvers", "inbox", None);
        human
    };
    let (status, refused) = human("alice.admin", "E1").decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (403, Some("approval.not_allowed")), "{refused}");
    assert_eq!(human("bob", "E2").decide(&id, yes()).await.1["state"], "pending");
    let (status, refused) = human("bob.admin", "E2").decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (409, Some("approval.already_decided")), "{refused}");
    // Her other account sees the request, and its agent does not have it.
    let mut other = agent.clone();
    other.token = token("alice.admin", Some("E1"), "support", "mcp", Some("demo-agent"));
    assert_eq!(code(&other.call("approval_status", json!({"approval_id": id})).await), "approval.unknown");
    assert_eq!(human("carol", "E3").decide(&id, yes()).await.1["state"], "approved");
    // Whoever is of no known human is refused: they could be anybody's second account.
    let mut nobody = world.human("dave", &["approvers"]);
    nobody.token = token("dave", None, "approvers", "inbox", None);
    let (status, refused) = nobody.decide(&id, yes()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (401, Some("identity.invalid_token")), "{refused}");
    world.verify();
}
