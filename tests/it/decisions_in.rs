//! Decisions by the word of a system: a company's own approval system, and Slack's buttons (attacks 93, 95, 96).

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use chrono::TimeDelta;
use countersign::identity::{Human, Signing, Voucher};
use countersign::inbox::step_up::StepUp;
use countersign::inbox::{Action, System};
use countersign::notice::{Interactions, Kind, Settings, Slack, Way};
use serde_json::{Value, json};

use crate::channels::{SECRET, ask, channel, here, secret};
use crate::harness::receiver::{Receiver, signed};
use crate::harness::{POLICY, Wish, World};

fn human(world: &World, id: &str, teams: &[&str]) -> Human {
    let teams = teams.iter().map(|team| (*team).to_owned()).collect();
    Human { issuer: format!("{}/issuer", world.base), subject: id.to_owned(), name: None, teams, person: None }
}

/// A broker with an approval system that speaks for bob, carol, alice and eve, each by another name.
async fn with_system(wish: Wish, step_up: Vec<StepUp>) -> World {
    let mut world = World::with(wish).await;
    let humans =
        [("b.ob", "bob", "approvers"), ("c.arol", "carol", "approvers"), ("a.lice", "alice", "approvers"), ("e.ve", "eve", "support")];
    let humans: BTreeMap<String, Human> =
        humans.into_iter().map(|(named, id, team)| (named.to_owned(), human(&world, id, &[team]))).collect();
    let voucher = Voucher { name: "system:itsm".to_owned(), signing: Signing::StandardWebhooks, humans };
    let system = System { name: "itsm".to_owned(), voucher, secrets: vec![secret(world.dir.path(), "itsm.key", SECRET)] };
    world.restart_with(|settings| (settings.humans.systems, settings.humans.step_up) = (vec![system], step_up)).await;
    world
}

/// A message of the system: to which path, under which id, of which second, with which body.
struct Message {
    path: String,
    id: String,
    at: i64,
    body: String,
    secret: &'static str,
}

impl Message {
    fn new(world: &World, approval: &str, human: &str, decision: &str, reason: Option<&str>) -> Self {
        let body = json!({"approval_id": approval, "human": human, "decision": decision, "reason": reason}).to_string();
        let id = format!("msg_{}", hex::encode(countersign::id::random_128().unwrap()));
        Self { path: format!("/approvals/{approval}/decisions/itsm"), id, at: world.clock.now().timestamp(), body, secret: SECRET }
    }

    /// Signed by the library, sent by us.
    async fn send(&self, world: &World) -> (u16, Value) {
        self.send_as(world, &signed(self.secret, &self.id, self.at, &self.body)).await
    }

    async fn send_as(&self, world: &World, signature: &str) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}{}", world.base, self.path));
        let request = request.header("webhook-id", &self.id).header("webhook-timestamp", self.at).header("webhook-signature", signature);
        let response = request.body(self.body.clone()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }
}

fn says(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().or_else(|| answer.1["state"].as_str()).unwrap_or_default())
}

#[tokio::test]
async fn a_system_decides_for_the_humans_it_may_speak_for_and_each_message_once() {
    let mut world = with_system(Wish::default(), Vec::new()).await;
    let agent = world.agent();
    let id = ask(&agent, 1300).await;
    let other = ask(&agent, 1301).await;
    let pending = |answer: (u16, Value)| assert_eq!(answer.1["state"], "pending");
    // Nobody that it may not speak for, nor whoever may not decide: his own call, no right to.
    for (human, expected) in [
        ("bob", (403, "identity.not_spoken_for")),
        ("", (403, "identity.not_spoken_for")),
        ("a.lice", (403, "approval.not_allowed")),
        ("e.ve", (404, "approval.unknown")),
    ] {
        assert_eq!(says(&Message::new(&world, &id, human, "approve", None).send(&world).await), expected, "{human}");
    }
    let in_vain = world.approver().trail("&kind=approval.refused&status=refused").await;
    let unknown = in_vain
        .iter()
        .filter(|entry| entry["leaf"]["vouched_by"] == "system:itsm" && entry["leaf"]["res"]["code"] == "identity.not_spoken_for");
    assert_eq!(unknown.count(), 2, "{in_vain:#?}");
    // What is decided stands in what is signed: not in the path, and not twice.
    let elsewhere = Message { path: format!("/approvals/{other}/decisions/itsm"), ..Message::new(&world, &id, "b.ob", "approve", None) };
    assert_eq!(says(&elsewhere.send(&world).await), (400, "request.malformed"));
    for body in [
        "",
        "{}",
        "[]",
        r#"{"approval_id":"x","human":"b.ob","decision":"maybe"}"#,
        r#"{"approval_id":"x","human":"b.ob","decision":"approve","more":1}"#,
    ] {
        let message = Message { body: body.to_owned(), ..Message::new(&world, &id, "b.ob", "approve", None) };
        assert_eq!(says(&message.send(&world).await), (400, "request.malformed"), "{body}");
    }
    // Signed by another, not at all, or not now.
    let good = || Message::new(&world, &id, "b.ob", "approve", None);
    let key = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=";
    let now = world.clock.now().timestamp();
    for message in [
        Message { secret: key, ..good() },
        Message { at: now - 301, ..good() },
        Message { at: now + 310, ..good() },
        Message { path: format!("/approvals/{id}/decisions/other"), ..good() },
        Message { path: format!("/approvals/{id}/decisions/system:itsm"), ..good() },
    ] {
        let answer = message.send(&world).await;
        assert_eq!(says(&answer), (401, "identity.invalid_signature"), "{answer:?}");
    }
    for signature in ["", "v1,", "v1", "v2,AAAA"] {
        assert_eq!(says(&good().send_as(&world, signature).await), (401, "identity.invalid_signature"), "{signature}");
    }
    let bearer = world.approver().token;
    let request = reqwest::Client::new().post(format!("{}/approvals/{id}/decisions/itsm", world.base)).bearer_auth(bearer);
    assert_eq!(request.body(good().body).send().await.unwrap().status().as_u16(), 401, "a token is no signature");
    for method in [reqwest::Method::GET, reqwest::Method::HEAD, reqwest::Method::PUT] {
        let request = reqwest::Client::new().request(method, format!("{}/approvals/{id}/decisions/itsm", world.base));
        assert!(request.send().await.unwrap().status().is_client_error());
    }
    pending(world.approver().get(&format!("/approvals/{id}")).await);
    pending(world.approver().get(&format!("/approvals/{other}")).await);
    // A denial needs a reason here too; the message that lacked one is spent all the same.
    let bare = Message::new(&world, &other, "b.ob", "deny", None);
    assert_eq!(says(&bare.send(&world).await), (400, "approval.unjustified"));
    assert_eq!(says(&bare.send(&world).await), (409, "identity.replayed"));
    assert_eq!(says(&Message::new(&world, &other, "b.ob", "deny", Some("no")).send(&world).await), (200, "denied"));
    // And now as it should be.
    let message = good();
    let answer = message.send(&world).await;
    assert_eq!(says(&answer), (200, "approved"));
    assert!(!answer.1.to_string().contains("preview"), "what a preview shows is for those who are told to see it: {answer:?}");
    assert_eq!(says(&message.send(&world).await), (409, "identity.replayed"));
    world.restart().await;
    assert_eq!(says(&message.send(&world).await), (409, "identity.replayed"), "after a restart, too");
    assert_eq!(agent.execute("shop", "UPDATE orders SET status = 'refunded' WHERE id = 1300").await["status"], "ok");
    let decided = world.approver().trail(&format!("&approval={id}&kind=approval.decided")).await;
    assert_eq!(decided[0]["leaf"]["human"]["vouched_by"], "system:itsm", "how the human spoke is on record");
    let by_token = world.approver().trail("&kind=audit.read").await;
    assert!(by_token.iter().all(|entry| entry["leaf"]["human"].get("vouched_by").is_none()));
    world.verify();
}

#[tokio::test]
async fn one_human_is_one_vote_however_it_comes_and_a_better_sign_in_is_shown_on_the_page() {
    let policies = POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")");
    let world = with_system(Wish { policies, ..Wish::default() }, Vec::new()).await;
    let id = ask(&world.agent(), 1300).await;
    assert_eq!(says(&Message::new(&world, &id, "b.ob", "approve", None).send(&world).await), (200, "pending"));
    assert_eq!(says(&Message::new(&world, &id, "b.ob", "approve", None).send(&world).await), (409, "approval.already_decided"));
    assert_eq!(says(&world.approver().decide(&id, json!({"decision": "approve"})).await), (409, "approval.already_decided"));
    assert_eq!(says(&Message::new(&world, &id, "c.arol", "approve", None).send(&world).await), (200, "approved"));
    world.verify();
    drop(world);
    let step_up = StepUp { action: Action::Approve, acr: Vec::new(), amr: vec!["mfa".to_owned()], max_age: None };
    let world = with_system(Wish::default(), vec![step_up]).await;
    let id = ask(&world.agent(), 1300).await;
    let answer = Message::new(&world, &id, "b.ob", "approve", None).send(&world).await;
    assert_eq!(says(&answer), (401, "identity.step_up_required"));
    assert_eq!(answer.1["error"]["url"], format!("{}/approvals/{id}", world.base), "{answer:?}");
    assert_eq!(
        says(&Message::new(&world, &id, "b.ob", "deny", Some("no")).send(&world).await),
        (200, "denied"),
        "a stop waits for no second factor"
    );
    world.verify();
}

/// Twice the same at once: one is taken.
#[tokio::test]
async fn a_message_that_comes_twice_at_once_is_taken_once() {
    let world = with_system(Wish { policies: POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")"), ..Wish::default() }, Vec::new()).await;
    let id = ask(&world.agent(), 1300).await;
    let message = Message::new(&world, &id, "b.ob", "approve", None);
    let signature = signed(SECRET, &message.id, message.at, &message.body);
    let answers = futures::future::join_all((0..8).map(|_| message.send_as(&world, &signature))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.0).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(world.approver().get(&format!("/approvals/{id}")).await.1["votes"].as_array().unwrap().len(), 1);
    world.verify();
}

const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// A click as Slack posts it.
struct Click<'a> {
    user: &'a str,
    team: &'a str,
    app: &'a str,
    action: &'a str,
    value: &'a str,
    answer: String,
    /// What stands in the message's field.
    reason: Value,
    at: i64,
    secret: &'a str,
    channel: &'a str,
}

impl Click<'_> {
    fn body(&self) -> String {
        let payload = json!({
            "type": "block_actions",
            "team": {"id": self.team, "domain": "example"},
            "user": {"id": self.user, "username": "somebody", "team_id": self.team},
            "api_app_id": self.app,
            "trigger_id": "1.2.3",
            "response_url": self.answer,
            "state": {"values": {"countersign.reason": {"reason": {"type": "plain_text_input", "value": self.reason}}}},
            "actions": [{"type": "button", "action_id": self.action, "block_id": "x", "value": self.value, "action_ts": "1.2"}],
        });
        let mut form = reqwest::Url::parse("http://x").unwrap();
        form.query_pairs_mut().append_pair("payload", &payload.to_string());
        form.query().unwrap().to_owned()
    }

    fn signature(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        format!("v0={}", hex::encode(hmac::sign(&key, format!("v0:{}:{}", self.at, self.body()).as_bytes())))
    }

    async fn send(&self, world: &World) -> u16 {
        self.send_as(world, &self.signature()).await
    }

    async fn send_as(&self, world: &World, signature: &str) -> u16 {
        let request = reqwest::Client::new()
            .post(format!("{}/channels/slack/{}/interactions", world.base, self.channel))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", self.at)
            .header("x-slack-signature", signature);
        request.body(self.body()).send().await.unwrap().status().as_u16()
    }
}

/// A broker with a Slack channel with buttons and one without, and what stands for Slack.
async fn with_slack() -> (World, Receiver) {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let humans = [("U1", human(&world, "bob", &["approvers"])), ("U2", human(&world, "eve", &["support"]))];
    let voucher = Voucher {
        name: "slack:on-call".to_owned(),
        signing: Signing::Slack,
        humans: humans.into_iter().map(|(user, human)| (user.to_owned(), human)).collect(),
    };
    let interactions = Interactions {
        voucher,
        signing_secret: secret(world.dir.path(), "signing", SLACK_SECRET),
        team: "T1".to_owned(),
        app: "A1".to_owned(),
        answers_at: "127.0.0.1".to_owned(),
    };
    let slack =
        |interactions| Kind::Slack(Slack { way: Way::Webhook(here(&receiver.url("/message"))), interactions, include_preview: true });
    let channels = vec![channel("on-call", slack(Some(interactions))), channel("quiet", slack(None))];
    world.restart_with(|settings| settings.notices = Settings { channels, ..Settings::default() }).await;
    (world, receiver)
}

/// What the button for this decision says in the message that tells of this request.
async fn button(receiver: &Receiver, id: &str, action: &str) -> String {
    for _ in 0..200 {
        for message in receiver.seen().iter().filter(|message| message.body.contains(id)) {
            let blocks = message.json()["blocks"].as_array().cloned().unwrap_or_default();
            let elements = blocks.iter().filter_map(|block| block["elements"].as_array()).flatten();
            if let Some(found) = elements.into_iter().find(|element| element["action_id"] == action) {
                return found["value"].as_str().unwrap().to_owned();
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no message has {action} for {id}: {:?}", receiver.seen());
}

async fn state(world: &World, id: &str) -> String {
    world.approver().get(&format!("/approvals/{id}")).await.1["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_click_of_a_known_user_approves_and_everybody_else_is_led_to_the_page() {
    let (mut world, receiver) = with_slack().await;
    let id = ask(&world.agent(), 1300).await;
    let messages = receiver.wait(2).await;
    let with_buttons: Vec<&crate::harness::receiver::Seen> =
        messages.iter().filter(|message| message.body.contains("countersign.approve")).collect();
    assert_eq!(with_buttons.len(), 1, "only where clicks are taken");
    let blocks = with_buttons[0].json()["blocks"].clone();
    let buttons = blocks.as_array().unwrap().iter().find(|block| block["type"] == "actions").unwrap()["elements"].clone();
    let actions: Vec<&str> = buttons.as_array().unwrap().iter().map(|button| button["action_id"].as_str().unwrap()).collect();
    assert_eq!(actions, ["countersign.approve", "countersign.deny", "open"]);
    let (yes, no) = (button(&receiver, &id, "countersign.approve").await, button(&receiver, &id, "countersign.deny").await);
    assert!(buttons[0]["value"] == yes.as_str() && yes.starts_with(&id) && yes != no, "{buttons}");
    let field = blocks.as_array().unwrap().iter().find(|block| block["type"] == "input").unwrap();
    assert_eq!((&field["block_id"], &field["element"]["action_id"]), (&json!("countersign.reason"), &json!("reason")));

    let now = world.clock.now().timestamp();
    let of = |user, answer: &str| Click {
        user,
        team: "T1",
        app: "A1",
        action: "countersign.approve",
        value: &yes,
        answer: receiver.url(answer),
        reason: Value::Null,
        at: now,
        secret: SLACK_SECRET,
        channel: "on-call",
    };
    // Forged, old, of another workspace or app, for a channel that takes none: nobody, and nothing is told.
    for (what, click) in [
        ("secret", Click { secret: "another", ..of("U1", "/a") }),
        ("old", Click { at: now - 301, ..of("U1", "/a") }),
        ("early", Click { at: now + 310, ..of("U1", "/a") }),
        ("team", Click { team: "T2", ..of("U1", "/a") }),
        ("app", Click { app: "A2", ..of("U1", "/a") }),
        ("no buttons", Click { channel: "quiet", ..of("U1", "/a") }),
        ("no channel", Click { channel: "none", ..of("U1", "/a") }),
    ] {
        assert_eq!(click.send(&world).await, 401, "{what}");
    }
    assert_eq!(of("U1", "/a").send_as(&world, "v0=").await, 401);
    // Buttons that are none of ours, put above a text of somebody else's: what an agent knows, and what a message without a yes has.
    for value in ["apr_x", &id, &format!("{id}."), &format!("{id}.{}", "0".repeat(64)), &no, &format!("{yes}0"), &yes.to_uppercase()] {
        assert_eq!(Click { value, ..of("U1", "/a") }.send(&world).await, 400, "{value}");
    }
    assert_eq!(Click { action: "countersign.deny", reason: json!("no"), ..of("U1", "/a") }.send(&world).await, 400);
    assert_eq!(Click { value: &id, ..of("U9", "/a") }.send(&world).await, 400);
    // On record, with the human where there is one.
    let refused = world.approver().trail("&kind=approval.refused").await;
    let named = refused.iter().filter(|entry| entry["leaf"]["human"]["vouched_by"] == "slack:on-call").count();
    assert_eq!((refused.len(), named), (9, 8), "{refused:?}");
    assert_eq!(Click { action: "open", ..of("U1", "/b") }.send(&world).await, 200);
    assert_eq!(receiver.seen().len(), 2);
    let denies = |user, reason, answer| Click { action: "countersign.deny", value: &no, reason, ..of(user, answer) };
    // Not on the list; on it, and not allowed to; a denial, which needs a reason: the page.
    for (click, word) in [
        (of("U9", "/unmapped"), "nobody has said who you are"),
        (of("U2", "/eve"), "Nothing was decided"),
        (denies("U1", Value::Null, "/deny"), "a denial needs a reason"),
        (denies("U1", json!(" \n"), "/blank"), "a denial needs a reason"),
        (denies("U1", json!({"x": 1}), "/object"), "a denial needs a reason"),
        (denies("U1", json!("x".repeat(2_001)), "/long"), "at most 2000 bytes"),
        (denies("U2", json!("no"), "/eve-denies"), "Nothing was decided"),
    ] {
        assert_eq!(click.send(&world).await, 200);
        let seen = receiver.wait_for(click.answer.trim_start_matches(&receiver.url(""))).await.json();
        let text = seen["text"].as_str().unwrap();
        assert!(
            text.contains(word) && text.contains(&format!("{}/approvals/{id}", world.base)) && seen["response_type"] == "ephemeral",
            "{seen}"
        );
    }
    assert_eq!(state(&world, &id).await, "pending");
    let click = of("U1", "/yes");
    assert_eq!(click.send(&world).await, 200);
    let seen = receiver.wait_for("/yes").await;
    assert!(seen.json()["text"].as_str().unwrap().starts_with("Your approval is recorded; the request is approved."), "{seen:?}");
    assert_eq!(state(&world, &id).await, "approved");
    // The same click again, its signature in other letters, and after a restart.
    assert_eq!(click.send(&world).await, 409);
    assert_eq!(click.send_as(&world, &click.signature().to_uppercase().replace("V0", "v0")).await, 409);
    world.restart().await;
    assert_eq!(click.send(&world).await, 409);
    let decided = world.approver().trail(&format!("&approval={id}&kind=approval.decided")).await;
    assert_eq!((decided.len(), &decided[0]["leaf"]["human"]["vouched_by"]), (1, &json!("slack:on-call")));
    world.verify();
}

#[tokio::test]
async fn a_click_comes_with_the_reason_that_stands_in_the_message() {
    let (mut world, receiver) = with_slack().await;
    world
        .restart_with(|settings| {
            settings.policies[0].text = POLICY.replace("@quorum(\"1\")", "@quorum(\"1\") @justification(\"required\")")
        })
        .await;
    let click = |action, id: &str, reason: Value, answer: &str| {
        let (id, answer) = (id.to_owned(), receiver.url(answer));
        let (at, world, receiver) = (world.clock.now().timestamp(), &world, &receiver);
        async move {
            let value = button(receiver, &id, action).await;
            let click = Click {
                user: "U1",
                team: "T1",
                app: "A1",
                action,
                value: &value,
                answer,
                reason,
                at,
                secret: SLACK_SECRET,
                channel: "on-call",
            };
            assert_eq!(click.send(world).await, 200);
        }
    };
    let said = async |answer: &str| receiver.wait_for(answer).await.json()["text"].as_str().unwrap().to_owned();
    let denied = ask(&world.agent(), 1300).await;
    click("countersign.deny", &denied, json!(" <!channel> wrong order\u{202e} "), "/no").await;
    assert!(said("/no").await.starts_with("Your denial is recorded; the request is denied."));
    let (_, shown) = world.approver().get(&format!("/approvals/{denied}")).await;
    assert_eq!(
        (&shown["state"], &shown["votes"][0]["reason"]),
        (&json!("denied"), &json!("<!channel> wrong order\u{202e}")),
        "as it was written"
    );
    let justified = ask(&world.agent(), 1301).await;
    click("countersign.approve", &justified, Value::Null, "/bare").await;
    assert!(said("/bare").await.starts_with("Nothing was decided"));
    click("countersign.approve", &justified, json!("the customer called"), "/why").await;
    assert!(said("/why").await.starts_with("Your approval is recorded; the request is approved."));
    world.verify();
}

/// Nobody says yes to what a message does not show: what was pushed out of it by blanks, what is too long for it, and what only the page previews.
#[tokio::test]
async fn a_message_that_does_not_show_all_of_it_has_no_button_that_says_yes() {
    let (mut world, receiver) = with_slack().await;
    let last = async |count: usize| {
        let messages = receiver.wait(count).await;
        let message = messages.iter().rev().find(|message| message.body.contains("countersign.deny")).unwrap().json();
        (message["blocks"].to_string(), message["blocks"].to_string().contains("countersign.approve"))
    };
    let sql = |gap: &str| format!("UPDATE orders SET status = 'refunded{gap}' WHERE id = 1300 OR id = 1301");
    world.agent().execute("shop", &sql(&" ".repeat(4_096))).await;
    let (shown, has_yes) = last(2).await;
    assert!(
        has_yes && shown.contains("[\\\\u{20} 4096 times]' WHERE id = 1300 OR id = 1301") && shown.contains("WHAT WOULD COME OF IT"),
        "{shown}"
    );
    // Blanks of two kinds by turns push as far.
    world.agent().execute("shop", &sql(&" \n".repeat(600))).await;
    let (shown, has_yes) = last(4).await;
    assert!(has_yes && shown.contains("[\\\\u{20} 600 times, \\\\u{a} 600 times]' WHERE id = 1300 OR id = 1301"), "{shown}");
    world.agent().execute("shop", &sql(&"x".repeat(4_096))).await;
    let (shown, has_yes) = last(6).await;
    assert!(!has_yes && shown.contains("it is approved on the page") && shown.contains("countersign.reason"), "{shown}");
    // A preview that the channel is not to show.
    world
        .restart_with(|settings| {
            for channel in &mut settings.notices.channels {
                if let Kind::Slack(slack) = &mut channel.kind {
                    slack.include_preview = false;
                }
            }
        })
        .await;
    ask(&world.agent(), 1302).await;
    let (shown, has_yes) = last(8).await;
    assert!(!has_yes && shown.contains("it is approved on the page") && shown.contains("id = 1302"), "{shown}");
    world.verify();
}

/// A vote by the word of a system counts for as long as the system may speak for that human.
#[tokio::test]
async fn whom_no_system_speaks_for_any_more_has_no_vote() {
    let wish = Wish { policies: POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")"), ..Wish::default() };
    let mut world = with_system(wish, Vec::new()).await;
    let id = ask(&world.agent(), 1300).await;
    let (status, told) = Message::new(&world, &id, "b.ob", "approve", None).send(&world).await;
    assert_eq!((status, told["state"].as_str()), (200, Some("pending")), "{told}");
    world.restart_with(|settings| drop(settings.humans.systems[0].voucher.humans.remove("b.ob"))).await;
    let carol = world.human("carol", &["approvers"]);
    assert_eq!(carol.decide(&id, json!({"decision": "approve"})).await.1["state"], "pending", "only hers counts");
    let (_, shown) = carol.get(&format!("/approvals/{id}")).await;
    assert_eq!((&shown["votes"][0]["lapsed"], &shown["votes"][0]["vouched_by"]), (&json!(true), &json!("system:itsm")), "{shown}");
    world.verify();
}

/// A `response_url` that leads elsewhere is not followed, and the decision stands.
#[tokio::test]
async fn what_came_of_a_click_is_told_to_slack_alone() {
    let (mut world, receiver) = with_slack().await;
    let elsewhere = Receiver::start().await;
    let id = ask(&world.agent(), 1300).await;
    let value = button(&receiver, &id, "countersign.approve").await;
    let click = |answer: String| Click {
        user: "U9",
        team: "T1",
        app: "A1",
        action: "countersign.approve",
        value: &value,
        answer,
        reason: Value::Null,
        at: world.clock.now().timestamp(),
        secret: SLACK_SECRET,
        channel: "on-call",
    };
    for answer in [
        format!("http://localhost:{}/", elsewhere.port),
        format!("http://127.0.0.1@localhost:{}/", elsewhere.port),
        format!("http://user@127.0.0.1:{}/", elsewhere.port),
        format!("https://127.0.0.1:{}/", elsewhere.port),
        format!("http://127.0.0.1.:{}/x", elsewhere.port).replace("127.0.0.1.", "[::1]"),
        "x".to_owned(),
    ] {
        assert_eq!(click(answer.clone()).send(&world).await, 200, "{answer}");
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    // Messages that were taken are forgotten once nobody would take them any more.
    world.clock.turn(TimeDelta::minutes(11));
    assert_eq!(Click { at: world.clock.now().timestamp(), ..click("x".to_owned()) }.send(&world).await, 200);
    world.stop().await;
    let store = rusqlite::Connection::open(world.data().join("log.db")).unwrap();
    let kept: i64 = store.query_row("SELECT count(*) FROM row WHERE kind = 'word'", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
    world.verify();
}
