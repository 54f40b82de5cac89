//! The outbox: what is owed is told, once the receiver takes it, across failures, restarts and a broker that dies; and what nobody took is on the list.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use countersign::approval::Event;
use countersign::config::Config;
use countersign::credential::secret::Reference;
use countersign::notice::{Address, Channel, Kind, Pace, Place, Settings, Webhook};
use countersign::operation::Risk;
use serde_json::{Value, json};

use crate::harness::process::{Process, free_port};
use crate::harness::receiver::{Receiver, Reply, Seen};
use crate::harness::{Agent, Human, POLICY, World};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=";

/// A channel of this kind that tells of everything.
pub fn channel(name: &str, kind: Kind) -> Channel {
    let (events, environments) = (Event::ALL.to_vec(), Vec::new());
    Channel { name: name.to_owned(), events, environments, risk_at_least: Risk::Read, team: None, timeout: Duration::from_secs(2), kind }
}

/// Where a test's receiver is.
pub fn here(url: &str) -> Place {
    Place { address: Address::Plain(url.to_owned()), allow_http: true, allow_private: false }
}

pub fn secret(dir: &Path, name: &str, text: &str) -> Reference {
    std::fs::write(dir.join(name), text).unwrap();
    Reference::parse(&format!("file:{name}"), dir).unwrap()
}

pub fn webhook(dir: &Path, url: &str) -> Kind {
    Kind::Webhook(Webhook { place: here(url), secrets: vec![secret(dir, "webhook.key", SECRET)], include_preview: false })
}

/// The broker again, with these channels; what fails is tried again soon.
pub async fn tell(world: &mut World, channels: Vec<Channel>) {
    let pace = Pace { first: Duration::from_millis(200), longest: Duration::from_secs(1), attempts_max: 50 };
    world.restart_with(|settings| settings.notices = Settings { channels, pace }).await;
}

/// The broker again, with one webhook that tells of everything.
async fn tell_by_webhook(world: &mut World, url: &str) {
    let desk = channel("desk", webhook(world.dir.path(), url));
    tell(world, vec![desk]).await;
}

/// The agent asks for a change; the request's id.
pub async fn ask(agent: &Agent, order: u32) -> String {
    let answer = agent.execute("shop", &format!("UPDATE orders SET status = 'refunded' WHERE id = {order}")).await;
    assert_eq!(answer["status"], "approval_pending", "{answer}");
    answer["approval"]["id"].as_str().unwrap().to_owned()
}

/// The leaves of this kind about a request, once there are so many.
async fn leaves(reviewer: &Human, approval: &str, kind: &str, count: usize) -> Vec<Value> {
    leaves_within(reviewer, approval, kind, count, Duration::from_secs(10)).await
}

async fn leaves_within(reviewer: &Human, approval: &str, kind: &str, count: usize, longest: Duration) -> Vec<Value> {
    let began = Instant::now();
    while began.elapsed() < longest {
        let found = reviewer.trail(&format!("&approval={approval}&kind={kind}")).await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:#?}");
            return found.into_iter().map(|entry| entry["leaf"].clone()).collect();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no {kind} about {approval}");
}

async fn dead(human: &Human, count: usize) -> Vec<Value> {
    for _ in 0..400 {
        let found = human.get("/channels/dead").await.1["dead"].as_array().unwrap().clone();
        if found.len() == count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{:#}", human.get("/channels/dead").await.1);
}

fn kinds(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.json()["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_request_and_its_decision_are_told_and_an_independent_library_finds_them_signed() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let mut told = channel("desk", webhook(world.dir.path(), &receiver.url("/hook")));
    if let Kind::Webhook(webhook) = &mut told.kind {
        webhook.secrets.push(secret(world.dir.path(), "next.key", OTHER_SECRET));
    }
    tell(&mut world, vec![told]).await;
    let (agent, bob) = (world.agent(), world.approver());
    let began = Instant::now();
    let id = ask(&agent, 1300).await;
    let requested = receiver.wait(1).await.remove(0);
    assert!(began.elapsed() < Duration::from_secs(4), "nobody waits for the next look");
    // Whichever of the two secrets a receiver knows, and no other; and not for another body.
    assert!(requested.verifies(SECRET) && requested.verifies(OTHER_SECRET));
    assert!(!requested.verifies("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBE="));
    assert!(!Seen { body: requested.body.replace("refunded", "paid"), ..requested.clone() }.verifies(SECRET));
    let body = requested.json();
    let page = format!("{}/approvals/{id}", world.base);
    assert_eq!((body["type"].as_str(), body["data"]["url"].as_str()), (Some("approval.requested"), Some(&*page)), "{body}");
    assert_eq!(body["data"]["operation"]["statement"], "UPDATE orders SET status = 'refunded' WHERE id = 1300");
    assert_eq!(
        body["data"]["preview"],
        json!({"would_touch_rows": 1, "row_count": 1, "truncated": false}),
        "no row of a preview unless it is wanted"
    );
    assert!(requested.headers["webhook-id"].starts_with("ntc_") && requested.headers["content-type"] == "application/json");
    // Attack 83: nothing that anybody came in with goes out.
    let all = format!("{:?}", requested);
    assert!(!all.contains(&agent.token) && !all.contains("eyJ") && !requested.headers.contains_key("authorization"), "{all}");
    bob.decide(&id, json!({"decision": "deny", "reason": "not today"})).await;
    let seen = receiver.wait(2).await;
    assert_eq!(kinds(&seen), ["approval.requested", "approval.decided"]);
    assert_ne!(seen[0].id(), seen[1].id());
    assert_eq!(
        (seen[1].json()["data"]["state"].as_str(), seen[1].json()["data"]["votes"][0]["reason"].as_str()),
        (Some("denied"), Some("not today"))
    );
    let sent = leaves(&bob, &id, "notice.sent", 2).await;
    assert_eq!(sent[1]["notice"], json!({"id": seen[0].id(), "channel": "desk", "event": "approval.requested", "attempts": 1}));
    let (_, listed) = bob.get("/channels").await;
    let channel = &listed["channels"][0];
    assert_eq!((&channel["name"], &channel["sent"], &channel["due"], &channel["dead"]), (&json!("desk"), &json!(2), &json!(0), &json!(0)));
    world.verify();
}

#[tokio::test]
async fn only_what_a_channel_is_for_is_told_by_it() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let of = |name: &str| channel(name, webhook(world.dir.path(), &receiver.url(&format!("/{name}"))));
    let channels = vec![
        Channel { environments: vec!["production".to_owned()], ..of("production") },
        Channel { risk_at_least: Risk::Admin, ..of("admin") },
        Channel { events: vec![Event::Decided], ..of("decided") },
        Channel { environments: vec!["demo".to_owned()], risk_at_least: Risk::Write, ..of("demo") },
    ];
    tell(&mut world, channels).await;
    let id = ask(&world.agent(), 1300).await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    leaves(&world.approver(), &id, "notice.sent", 3).await;
    let mut told: Vec<(String, String)> =
        receiver.seen().iter().map(|seen| (seen.path.clone(), kinds(std::slice::from_ref(seen)).remove(0))).collect();
    told.sort();
    let pair = |path: &str, kind: &str| (path.to_owned(), kind.to_owned());
    // A request that is decided before it could be told is told as decided alone; here there was time.
    assert_eq!(told, [pair("/decided", "approval.decided"), pair("/demo", "approval.decided"), pair("/demo", "approval.requested")]);
    world.verify();
}

#[tokio::test]
async fn what_a_receiver_does_not_take_now_it_gets_once_it_does_and_only_once() {
    let mut world = World::new().await;
    let port = free_port();
    tell_by_webhook(&mut world, &format!("http://127.0.0.1:{port}/hook")).await;
    let id = ask(&world.agent(), 1300).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    // It was tried in vain; a restart carries on.
    world.restart().await;
    let receiver = Receiver::start_on(port).await;
    receiver.reply([Reply::status(503), Reply { header: Some(("retry-after", "2".to_owned())), ..Reply::status(429) }]);
    let seen = receiver.wait(2).await;
    let asked_to_wait = Instant::now();
    assert_eq!(seen[0].id(), seen[1].id());
    receiver.wait(3).await;
    assert!(asked_to_wait.elapsed() >= Duration::from_millis(1_900), "Retry-After was not heeded: {:?}", asked_to_wait.elapsed());
    let sent = leaves(&world.approver(), &id, "notice.sent", 1).await;
    assert!(sent[0]["notice"]["attempts"].as_u64().unwrap() >= 4, "{sent:?}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let seen = receiver.seen();
    assert!(seen.len() == 3 && seen.iter().all(|one| one.id() == seen[0].id()), "{seen:#?}");
    world.verify();
}

#[tokio::test]
async fn what_is_refused_for_good_is_on_the_list_of_the_dead_and_can_be_told_again() {
    let mut world = World::new().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    tell_by_webhook(&mut world, &receiver.url("/hook")).await;
    let (agent, bob) = (world.agent(), world.approver());
    receiver.reply([Reply::status(410)]);
    let gone = ask(&agent, 1300).await;
    let listed = dead(&bob, 1).await;
    assert_eq!(
        (&listed[0]["approval_id"], &listed[0]["last_error"], &listed[0]["attempts"]),
        (&json!(gone), &json!("it answered 410"), &json!(1))
    );
    let leaf = leaves(&bob, &gone, "notice.dead", 1).await;
    assert_eq!(leaf[0]["res"], json!({"status": "dead", "why": "it answered 410"}));
    // A redirect is not followed (attack 87).
    receiver.reply([Reply { header: Some(("location", elsewhere.url("/latest/meta-data"))), ..Reply::status(307) }]);
    let redirected = ask(&agent, 1301).await;
    let listed = dead(&bob, 2).await;
    assert!(listed[1]["last_error"].as_str().unwrap().contains("redirects are not followed"), "{listed:?}");
    assert!(elsewhere.seen().is_empty());
    // Only reviewers see the list, and tell again; who did is on record.
    let eve = world.human("eve", &["support"]);
    for (status, answer) in [eve.get("/channels").await, eve.get("/channels/dead").await] {
        assert_eq!((status, answer["error"]["code"].as_str()), (403, Some("policy.denied")));
    }
    let retry = |human: &Human, id: &str| {
        let request = human.http.post(format!("{}/channels/dead/{id}/retry", human.base)).bearer_auth(&human.token);
        async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        }
    };
    let id = listed[1]["notice_id"].as_str().unwrap();
    assert_eq!(retry(&eve, id).await.0, 403);
    let agent_at_the_door = Human { token: agent.token.clone(), ..world.human("eve", &[]) };
    assert_eq!(retry(&agent_at_the_door, id).await.0, 401);
    assert_eq!(retry(&bob, "ntc_0").await.0, 404);
    assert_eq!(retry(&bob, id).await.0, 200);
    leaves(&bob, &redirected, "notice.sent", 1).await;
    leaves(&bob, &redirected, "notice.retried", 1).await;
    assert_eq!(dead(&bob, 1).await[0]["approval_id"], json!(gone));
    assert_eq!(retry(&bob, id).await.0, 404, "it is no dead letter any more");
    world.verify();
}

#[tokio::test]
async fn what_never_works_is_given_up_and_a_request_that_is_over_is_not_told() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let closed = free_port();
    let stuck = Channel {
        events: vec![Event::Requested],
        ..channel("stuck", webhook(world.dir.path(), &format!("http://127.0.0.1:{closed}/hook")))
    };
    let pace = Pace { first: Duration::from_millis(50), longest: Duration::from_millis(50), attempts_max: 3 };
    let channels = vec![stuck.clone()];
    world.restart_with(|settings| settings.notices = Settings { channels, pace }).await;
    let id = ask(&world.agent(), 1300).await;
    let listed = dead(&world.approver(), 1).await;
    assert_eq!((&listed[0]["attempts"], &listed[0]["approval_id"]), (&json!(3), &json!(id)));
    // Now it waits long between attempts, and the request expires in the meantime.
    let pace = Pace { first: Duration::from_secs(2_400), longest: Duration::from_secs(2_400), attempts_max: 9 };
    let channels = vec![stuck, channel("other", webhook(world.dir.path(), &receiver.url("/other")))];
    world.restart_with(|settings| settings.notices = Settings { channels, pace }).await;
    let late = ask(&world.agent(), 1301).await;
    receiver.wait(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.clock.turn(TimeDelta::minutes(45));
    let dropped = leaves(&world.approver(), &late, "notice.expired", 1).await;
    assert_eq!((&dropped[0]["notice"]["channel"], &dropped[0]["res"]), (&json!("stuck"), &json!({"status": "expired", "was": "expired"})));
    world.verify();
}

#[tokio::test]
async fn a_channel_that_hangs_holds_up_no_other_and_no_call() {
    let mut world = World::new().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.reply((0..100).map(|_| Reply { wait: Duration::from_secs(60), ..Reply::status(200) }));
    let dir = world.dir.path().to_owned();
    let of = |name: &str, url: String| Channel { timeout: Duration::from_secs(30), ..channel(name, webhook(&dir, &url)) };
    tell(&mut world, vec![of("slow", slow.url("/")), of("quick", quick.url("/"))]).await;
    let began = Instant::now();
    for order in 1..=8 {
        ask(&world.agent(), order).await;
    }
    quick.wait(8).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(slow.seen().len(), 4, "no more attempts at once than four");
    let began = Instant::now();
    world.stop().await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    world.verify();
}

/// What nobody serves any more is given up an hour after it was due, so that it is seen.
#[tokio::test]
async fn a_channel_that_was_taken_away_leaves_dead_letters() {
    let mut world = World::new().await;
    tell_by_webhook(&mut world, &format!("http://127.0.0.1:{}/", free_port())).await;
    let id = ask(&world.agent(), 1300).await;
    world.stop().await;
    world.clock.turn(TimeDelta::hours(2));
    world.restart_with(|settings| settings.notices.channels.clear()).await;
    let listed = dead(&world.approver(), 1).await;
    assert_eq!((&listed[0]["approval_id"], &listed[0]["last_error"]), (&json!(id), &json!("no such channel is configured any more")));
    let bob = world.approver();
    let url = format!("{}/channels/dead/{}/retry", bob.base, listed[0]["notice_id"].as_str().unwrap());
    let answer = bob.http.post(url).bearer_auth(&bob.token).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    assert!(answer.text().await.unwrap().contains("no channel `desk`"));
    world.verify();
}

/// A secret's file may hold another address by the time it is used: it is judged then, and its words stay out of whatever is kept.
#[tokio::test]
async fn an_address_is_judged_when_it_is_used() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let at = secret(world.dir.path(), "address", "https://hooks.example.com/services/T0/B0/planted-secret");
    let place = Place { address: Address::Secret(at), allow_http: false, allow_private: false };
    let key = vec![secret(world.dir.path(), "key", SECRET)];
    let hidden = channel("hidden", Kind::Webhook(Webhook { place, secrets: key, include_preview: false }));
    tell(&mut world, vec![hidden]).await;
    let mut count = 0;
    for inside in [
        receiver.url("/planted-secret"),
        format!("https://127.0.0.1:{}/planted-secret", receiver.port),
        format!("https://[::ffff:127.0.0.1]:{}/planted-secret", receiver.port),
        format!("https://[64:ff9b::7f00:1]:{}/planted-secret", receiver.port),
        format!("https://localhost.:{}/planted-secret", receiver.port),
        format!("https://hooks.example.com@127.0.0.1:{}/planted-secret", receiver.port),
        "https://169.254.169.254/planted-secret".to_owned(),
        "planted-secret".to_owned(),
    ] {
        std::fs::write(world.dir.path().join("address"), &inside).unwrap();
        count += 1;
        ask(&world.agent(), 1300 + u32::try_from(count).unwrap()).await;
        let listed = dead(&world.approver(), count).await;
        assert!(listed.iter().all(|letter| letter["attempts"] == 1 && !letter.to_string().contains("planted")), "{inside}: {listed:#?}");
    }
    assert!(receiver.seen().is_empty());
    world.stop().await;
    for file in ["log.db", "log.db-wal"] {
        let bytes = std::fs::read(world.data().join(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|window| window == b"planted"), "{file}");
    }
    world.verify();
}

/// A broker that dies between sending and writing it down sends again, under the same id; and no secret is in what it logs, however much it logs.
#[tokio::test]
async fn a_broker_that_was_killed_tells_again_under_the_same_id() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.reply([Reply { wait: Duration::from_secs(60), ..Reply::status(200) }]);
    let dir = world.dir.path();
    let (port, log) = (free_port(), dir.join("log.txt"));
    let base = format!("http://127.0.0.1:{port}");
    for (name, text) in [
        ("address", receiver.url("/planted-secret?token=planted-token")),
        ("key", SECRET.to_owned()),
        ("test.cedar", crate::harness::POLICY.to_owned()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let issuer =
        countersign::identity::development::DevelopmentIssuer::open(&dir.join("idp"), &format!("{base}/issuer"), world.clock.clone())
            .unwrap();
    std::fs::write(
        dir.join("countersign.toml"),
        format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\npath = \"killed\"\n[ledger]\norigin = \"kill.invalid/log\"\n\
             [[issuer]]\nurl = \"{base}/issuer\"\njwks_file = \"{}\"\nalgorithms = [\"EdDSA\"]\nhuman_clients = [\"countersign-cli\"]\n\
             [policy]\npath = \"test.cedar\"\n[approval]\nhold_s = 0\n[[target]]\nname = \"shop\"\nengine = \"sqlite\"\nenvironment = \"demo\"\npath = \"shop.db\"\n\
             [[channel]]\nname = \"desk\"\nkind = \"webhook\"\nurl = \"file:address\"\nsecrets = [\"file:key\"]\nallow_http = true\ntimeout_s = 1\n",
            issuer.jwks_file().display()
        ),
    )
    .unwrap();
    let start = || {
        let mut command = std::process::Command::new("bash");
        let script = format!(
            "exec '{}' serve --config '{}' 2>> '{}'",
            env!("CARGO_BIN_EXE_countersign"),
            dir.join("countersign.toml").display(),
            log.display()
        );
        command.args(["-c", &format!("export COUNTERSIGN_LOG=trace; {script}")]);
        Process::ready(command, port)
    };
    let broker = start();
    let request = |subject: &str, team: &str, door: &str, actor: Option<&str>| countersign::identity::development::TokenRequest {
        subject: subject.to_owned(),
        name: None,
        teams: vec![team.to_owned()],
        audience: format!("{base}/{door}"),
        client: "countersign-cli".to_owned(),
        actor: actor.map(ToOwned::to_owned),
        scope: "mcp:read mcp:write".to_owned(),
        lifetime: TimeDelta::hours(1),
    };
    let token = |request| secrecy::ExposeSecret::expose_secret(&issuer.mint(&request)).to_owned();
    let agent = Agent {
        base: base.clone(),
        token: token(request("alice", "support", "mcp", Some("demo-agent"))),
        http: reqwest::Client::new(),
        headers: Default::default(),
    };
    let bob = Human { base: base.clone(), token: token(request("bob", "approvers", "inbox", None)), http: reqwest::Client::new() };
    let id = ask(&agent, 1300).await;
    receiver.wait(1).await;
    broker.kill();
    let broker = start();
    let seen = receiver.wait(2).await;
    assert_eq!(seen[0].id(), seen[1].id());
    assert!(seen.iter().all(|seen| seen.verifies(SECRET)));
    leaves(&bob, &id, "notice.sent", 1).await;
    assert_eq!(receiver.seen().len(), 2);
    drop(broker);
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.len() > 1_000, "it logs at this level");
    for planted in ["planted-secret", "planted-token", SECRET.trim_start_matches("whsec_")] {
        let lines: Vec<&str> = logged.lines().filter(|line| line.contains(planted)).collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
    let report = countersign::ledger::verify::verify(&dir.join("killed"), &Default::default()).unwrap();
    assert!(report.ok, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_tries_and_tells_again() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.reply([Reply::status(410)]);
    tell_by_webhook(&mut world, &receiver.url("/hook")).await;
    ask(&world.agent(), 1300).await;
    let id = dead(&world.approver(), 1).await[0]["notice_id"].as_str().unwrap().to_owned();
    let token = world.dir.path().join("bob.token");
    std::fs::write(&token, &world.approver().token).unwrap();
    let (base, token) = (world.base.clone(), token.display().to_string());
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign")).arg("channels").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    let remote = ["--url", &base, "--token-file", &token];
    let (status, text) = run(&[&["dead"], &remote[..]].concat());
    assert!(status == 0 && text.contains(&id) && text.contains("it answered 410"), "{text}");
    let (status, text) = run(&[&["retry", &id], &remote[..]].concat());
    assert!(status == 0 && text.contains("is due again"), "{text}");
    receiver.wait(2).await;
    let (status, text) = run(&[&["list", "--json"], &remote[..]].concat());
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &listed["channels"][0]["name"]), (0, &json!("desk")), "{text}");
    let (status, text) = run(&[&["retry", "ntc_none"], &remote[..]].concat());
    assert!(status == 1 && text.contains("request.not_found"), "{text}");
    // Trying a channel needs no broker, only a configuration.
    let dir = world.dir.path();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("a.cedar", "@id(\"a\")\npermit (principal, action == Action::\"invoke\", resource is Broker);\n");
    write("webhook.key", SECRET);
    let config = |url: &str| {
        format!(
            "[server]\n[store]\npath = \"data2\"\n[ledger]\norigin = \"test.invalid/log\"\n[[issuer]]\nurl = \"https://idp.example.com\"\n\
             jwks_url = \"https://idp.example.com/keys\"\nalgorithms = [\"EdDSA\"]\n[policy]\npath = \"a.cedar\"\n\
             [[channel]]\nname = \"desk\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecrets = [\"file:webhook.key\"]\nallow_http = true\n"
        )
    };
    write("countersign.toml", &config(&receiver.url("/try")));
    let path = dir.join("countersign.toml").display().to_string();
    assert!(Config::read(&dir.join("countersign.toml"), &world.clock).is_ok());
    let (status, text) = run(&["test", "desk", "--config", &path]);
    assert!(status == 0 && text.contains("delivered: 200 {\"ok\":true}"), "{text}");
    let tried = receiver.seen().pop().unwrap();
    assert!(tried.path == "/try" && tried.json()["type"] == "channel.test" && tried.verifies(SECRET), "{tried:?}");
    receiver.reply([Reply::status(404)]);
    let (status, text) = run(&["test", "desk", "--config", &path, "--json"]);
    assert!(status == 1 && text.contains("\"final\": true") && text.contains("it answered 404"), "{text}");
    let (status, text) = run(&["test", "none", "--config", &path]);
    assert!(status == 2 && text.contains("there is no channel `none`"), "{text}");
}

#[tokio::test]
async fn the_next_team_is_told_when_nobody_decides_and_the_owners_when_the_glass_is_broken() {
    let glass = "@id(\"glass\") permit (principal in Team::\"oncall\", action == Action::\"break_glass\", resource);";
    let asks = POLICY.replace("@quorum(\"1\")", "@escalate_after(\"5m\") @escalate_to(\"oncall\")");
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let of = |name: &str, events: &[Event], team: Option<&str>| Channel {
        events: events.to_vec(),
        team: team.map(ToOwned::to_owned),
        ..channel(name, webhook(world.dir.path(), &receiver.url(&format!("/{name}"))))
    };
    let channels = vec![
        of("oncall", &[Event::Escalated], Some("oncall")),
        of("others", &[Event::Escalated], Some("others")),
        of("owners", &[Event::GlassBroken], None),
    ];
    world
        .restart_with(|settings| {
            settings.policies[0].text = format!("{asks}\n{glass}");
            settings.notices = Settings { channels, ..Settings::default() };
        })
        .await;
    let id = ask(&world.agent(), 1300).await;
    world.clock.turn(chrono::TimeDelta::minutes(6));
    // The desk looks at the time every fifteen seconds.
    let escalated = leaves_within(&world.approver(), &id, "notice.sent", 1, Duration::from_secs(40)).await;
    assert_eq!(escalated[0]["notice"]["channel"], "oncall", "{escalated:?}");
    // She sees what she may let through, and of anything else than that nothing happens.
    let olga = world.human("olga", &["oncall"]);
    let (status, shown) = olga.get(&format!("/approvals/{id}")).await;
    assert_eq!((status, &shown["approval_id"]), (200, &json!(id)), "{shown}");
    assert_eq!(olga.get("/approvals").await.1["approvals"].as_array().unwrap().len(), 1);
    let stale = json!({"reason": "the shop is down", "mark": "another"});
    let (status, refused) = olga.post(&format!("/approvals/{id}/break-glass"), stale).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("approval.changed_since_shown")), "{refused}");
    let reason = json!({"reason": "the shop is down", "mark": shown["mark"]});
    let (status, broken) = olga.post(&format!("/approvals/{id}/break-glass"), reason).await;
    assert_eq!((status, &broken["state"]), (200, &json!("approved")), "{broken}");
    let seen = receiver.wait(2).await;
    let passed_on = &seen[0].json()["data"];
    assert_eq!(passed_on["escalated_to"], "oncall", "{passed_on}");
    assert!(passed_on["title"].as_str().unwrap().starts_with("Still waiting for approval, passed on to oncall: "), "{passed_on}");
    let told: Vec<(&str, String)> = seen.iter().map(|seen| (seen.path.as_str(), kinds(std::slice::from_ref(seen)).remove(0))).collect();
    assert_eq!(told, [("/oncall", "approval.escalated".to_owned()), ("/owners", "approval.glass_broken".to_owned())]);
    assert!(seen[1].json()["data"]["title"].as_str().unwrap().starts_with("GLASS BROKEN"), "{}", seen[1].json());
    // Once, however long it waits.
    assert_eq!(world.approver().trail(&format!("&approval={id}&kind=approval.escalated")).await.len(), 1);
    world.verify();
}
