//! A client, a broker or a network that goes away in the middle of a command: the record says what is known, and nothing runs on where the host could be
//! reached.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use countersign::clock::Clock;
use countersign::connector::HostBounds;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::process::{Process, free_port};
use crate::harness::sshd::{Sshd, account, own, playground};
use crate::harness::{Agent, Human, Wish, World, code};
use crate::ssh::wish;

/// Agents may do anything on hosts: what is asked here is what happens afterwards.
const ALL: &str = r#"
@id("own") permit (principal, action == Action::"invoke", resource is Broker);
@id("all") permit (principal, action == Action::"invoke", resource) when { context.kind == "ssh" };
@id("review") permit (principal in Team::"approvers", action == Action::"review", resource);
"#;

fn runs(mark: &str) -> bool {
    !Command::new("pgrep").args(["-f", mark]).output().unwrap().stdout.is_empty()
}

async fn until(what: impl Fn() -> bool) -> bool {
    for _ in 0..150 {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// A program that leaves no easy trace to follow: it ignores signals, and its children leave its group.
fn stubborn(mark: &str) -> Value {
    json!(["sh", "-c", format!("trap '' TERM HUP INT; setsid sleep {mark} & sleep {mark}; sleep {mark}")])
}

fn agent_of(world: &World) -> Agent {
    world.agent_of("alice", "demo-agent", &[], "mcp:read mcp:write mcp:admin")
}

async fn completed(world: &World) -> Value {
    for _ in 0..150 {
        if let Some(entry) = world.approver().trail("&kind=call.completed&tool=ssh_exec").await.into_iter().next() {
            return entry;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the call was not completed");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_command() {
    let sshd = Sshd::start();
    let wish = Wish { policies: ALL.to_owned(), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent_of(&world);
    let call = tokio::spawn(async move { agent.try_call("ssh_exec", json!({"target": "web", "argv": stubborn("4321761")})).await });
    assert!(until(|| runs("sleep 4321761")).await);
    call.abort();
    let entry = completed(&world).await;
    assert_eq!((&entry["leaf"]["res"]["status"], &entry["leaf"]["res"]["stopped"]), (&json!("cancelled"), &json!("confirmed")), "{entry}");
    assert!(!runs("sleep 4321761"));
    world.verify();
}

/// An agent that is suspended, and one whose human takes back what was lent, have nothing running any more.
#[tokio::test]
async fn what_is_taken_back_stops_what_runs() {
    let sshd = Sshd::start();
    let manage = "@id(\"manage\") permit (principal in Team::\"approvers\", action == Action::\"manage\", resource);";
    let wish = Wish { policies: format!("{ALL}\n{manage}"), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&[], issuer)]).await;
    let (agent, alice) = (agent_of(&world), world.human("alice", &[]));
    let lends = json!({"agent": "demo-agent", "highest_risk": "admin", "lasting_s": 3600});
    let (status, lent) = alice.post("/delegations", lends).await;
    assert_eq!(status, 200, "{lent}");
    let revoke = format!("/delegations/{}/revoke", lent["id"].as_str().unwrap());
    let suspend = json!({"agent": "demo-agent", "state": "suspended", "reason": "it repeats itself"});
    for (mark, argv, end) in [
        ("4321791", stubborn("4321791"), "identity.delegation_revoked"),
        ("4321792", json!(["sleep", "4321792"]), "identity.agent_suspended"),
    ] {
        let call = tokio::spawn({
            let agent = agent.clone();
            async move { agent.call("ssh_exec", json!({"target": "web", "argv": argv})).await }
        });
        assert!(until(|| runs(&format!("sleep {mark}"))).await);
        let taken_back = if end.ends_with("revoked") {
            alice.post(&revoke, json!({"reason": "enough"})).await
        } else {
            world.approver().post("/agents/state", suspend.clone()).await
        };
        assert_eq!(taken_back.0, 200, "{taken_back:?}");
        let answer = call.await.unwrap();
        assert_eq!((code(&answer), &answer["error"]["stopped_confirmed"]), (end, &json!(true)), "{answer}");
        assert!(!runs(&format!("sleep {mark}")));
        if end.ends_with("revoked") {
            alice.post("/delegations", json!({"agent": "demo-agent", "highest_risk": "admin", "lasting_s": 3600})).await;
        }
    }
    world.verify();
}

#[tokio::test]
async fn what_escapes_a_stop_is_told() {
    let sshd = Sshd::start();
    let wish = Wish { policies: ALL.to_owned(), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent_of(&world);
    let argv = json!(["sh", "-c", "env -i setsid sleep 4321766 & sleep 4321767"]);
    let answer = agent.call("ssh_exec", json!({"target": "web", "argv": argv, "timeout_ms": 1_000})).await;
    let is_left = runs("sleep 4321766");
    drop(Command::new("pkill").args(["-KILL", "-f", "sleep 4321766"]).status());
    assert_eq!(code(&answer), "target.timeout", "{answer}");
    assert!(answer.to_string().contains("whether the program still runs is not known"), "{answer}");
    let entry = completed(&world).await;
    assert_eq!((&entry["leaf"]["res"]["stopped"], is_left), (&json!("unconfirmed"), true), "{entry}");
    assert!(!runs("sleep 4321767"));
    world.verify();
}

/// A program that ends whoever watches it, leaves something behind, and ends as the watcher would.
#[tokio::test]
async fn a_program_cannot_confirm_its_own_stop() {
    let sshd = Sshd::start();
    let wish = Wish { policies: ALL.to_owned(), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent_of(&world);
    for (leaves, mark, expected) in [("", "4321768", true), ("env -i setsid ", "4321769", false)] {
        let script = format!("kill -KILL $(pgrep -P $PPID | grep -vx $$); {leaves}sleep {mark} & sleep 2.5; exit 250");
        let argv = json!(["bash", "-c", script]);
        let answer = agent.call("ssh_exec", json!({"target": "web", "argv": argv, "timeout_ms": 1_500})).await;
        let is_left = runs(&format!("sleep {mark}"));
        drop(Command::new("pkill").args(["-KILL", "-f", &format!("sleep {mark}")]).status());
        assert_eq!((code(&answer), is_left), ("target.timeout", !expected), "{answer}");
        let id = answer["call_id"].as_str().unwrap();
        let trail = world.approver().trail(&format!("&kind=call.completed&call={id}")).await;
        assert_eq!(trail[0]["leaf"]["res"]["stopped"], if expected { "confirmed" } else { "unconfirmed" }, "{trail:?}");
    }
    world.verify();
}

/// A wire that carries until it is told not to: then it loses what is on it, and either hangs up or says nothing.
struct Wire {
    port: u16,
    state: watch::Sender<&'static str>,
    task: tokio::task::JoinHandle<()>,
}

impl Wire {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel("open");
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut seen = seen.clone();
                seen.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = seen.changed() => {
                            if *seen.borrow() == "dark" {
                                tokio::time::sleep(Duration::from_secs(600)).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, state, task }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_network_that_goes_away_leaves_nothing_running_where_the_host_is_reached_again() {
    for (how, mark, expected) in [("cut", "4321762", "target.unresolved"), ("dark", "4321763", "target.timeout")] {
        let sshd = Sshd::start();
        let wire = Wire::start(sshd.port).await;
        let wish = Wish { policies: ALL.to_owned(), ..wish() };
        let world = World::with_targets(wish, |issuer| {
            let key = sshd.known_line().split_once(' ').unwrap().1.to_owned();
            let mut route = sshd.route(&format!("[127.0.0.1]:{} {key}", wire.port));
            route.to.port = wire.port;
            vec![sshd.target_of("web", route, Default::default(), issuer)]
        })
        .await;
        let agent = Arc::new(agent_of(&world));
        let calling = Arc::clone(&agent);
        let call = tokio::spawn(async move {
            calling
                .call(
                    "ssh_exec",
                    json!({"target": "web", "argv": stubborn(mark), "timeout_ms": if how == "dark" { 2_500 } else { 60_000 }}),
                )
                .await
        });
        assert!(until(|| runs(&format!("sleep {mark}"))).await);
        wire.state.send(how).unwrap();
        let answer = call.await.unwrap();
        assert_eq!(code(&answer), expected, "{how}: {answer}");
        assert!(!runs(&format!("sleep {mark}")), "{how}");
        let entry = completed(&world).await;
        assert_eq!(entry["leaf"]["res"]["stopped"], "confirmed", "{how}: {entry}");
        world.verify();
    }
}

/// Until the host was asked for the change there is nothing to let come to its end.
#[tokio::test]
async fn a_file_is_not_changed_once_the_call_is_to_stop() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    let (wire, port) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), sshd.port);
    let wire_port = wire.local_addr().unwrap().port();
    let slow = tokio::spawn(async move {
        while let Ok((mut near, _)) = wire.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                drop(copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    let manage = "@id(\"manage\") permit (principal in Team::\"approvers\", action == Action::\"manage\", resource);";
    let wish = Wish { policies: format!("{ALL}{manage}"), ..wish() };
    let world = World::with_targets(wish, |issuer| {
        let key = sshd.known_line().split_once(' ').unwrap().1.to_owned();
        let mut route = sshd.route(&format!("[127.0.0.1]:{wire_port} {key}"));
        route.to.port = wire_port;
        let bounds = HostBounds { roots: vec![root.clone()], ..HostBounds::default() };
        vec![sshd.target_of("web", route, bounds, issuer)]
    })
    .await;
    let path = format!("{root}/f");
    std::fs::write(&path, "kept").unwrap();
    own(dir.path());
    for (timeout_ms, expected) in [(1_000, "target.timeout"), (60_000, "identity.agent_suspended")] {
        let (agent, path) = (agent_of(&world), path.clone());
        let call =
            tokio::spawn(async move { agent.call("sftp_remove", json!({"target": "web", "path": path, "timeout_ms": timeout_ms})).await });
        if expected == "identity.agent_suspended" {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let state = json!({"agent": "demo-agent", "state": "suspended", "reason": "looks odd"});
            assert_eq!(crate::ssh_hosts::post(&world, "/agents/state", state).await.0, 200);
        }
        let answer = call.await.unwrap();
        assert_eq!(code(&answer), expected, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("before anything was changed"), "{answer}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(std::fs::read_to_string(format!("{root}/f")).unwrap(), "kept");
    slow.abort();
    world.verify();
}

#[tokio::test]
async fn a_host_that_is_gone_is_told_as_unknown() {
    let mut sshd = Sshd::start();
    let wish = Wish { policies: ALL.to_owned(), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent_of(&world);
    let call =
        tokio::spawn(
            async move { agent.call("ssh_exec", json!({"target": "web", "argv": ["sleep", "4321764"], "timeout_ms": 60_000})).await },
        );
    assert!(until(|| runs("sleep 4321764")).await);
    sshd.stop();
    let answer = call.await.unwrap();
    assert_eq!(code(&answer), "target.unresolved", "{answer}");
    let entry = completed(&world).await;
    assert_eq!(
        (&entry["leaf"]["res"]["status"], &entry["leaf"]["res"]["stopped"]),
        (&json!("unresolved"), &json!("unconfirmed")),
        "{entry}"
    );
    // The host noticed by itself.
    assert!(until(|| !runs("sleep 4321764")).await);
    world.verify();
}

/// As a user sets it up: an authority by `ssh-ca init`, a configuration, `serve`; and then the power goes.
#[tokio::test]
async fn a_broker_that_dies_leaves_nothing_running_and_says_so_when_it_is_back() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let made = Command::new(env!("CARGO_BIN_EXE_countersign")).args(["ssh-ca", "init"]).arg(at("ssh_ca")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sshd = Sshd::start();
    std::fs::copy(at("ssh_ca.pub"), sshd.folder().join("ca.pub")).unwrap();
    std::fs::write(at("known_hosts"), sshd.known_line()).unwrap();
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}");
    let issuer = DevelopmentIssuer::open(&at("issuer"), &format!("{base}/issuer"), Clock::system()).unwrap();
    std::fs::create_dir(at("policies")).unwrap();
    std::fs::write(at("policies/all.cedar"), ALL).unwrap();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\npath = \"data\"\n[ledger]\norigin = \"kill.invalid/log\"\n\
         [[issuer]]\nurl = \"{base}/issuer\"\njwks_file = \"issuer/issuer.jwks.json\"\nalgorithms = [\"EdDSA\"]\nhuman_clients = [\"countersign-cli\"]\n\
         [policy]\npath = \"policies\"\nteams = [\"approvers\"]\n[ssh]\nca = \"file:ssh_ca\"\n\
         [[target]]\nname = \"web\"\nengine = \"ssh\"\nenvironment = \"demo\"\nhost = \"127.0.0.1\"\nport = {}\nlogin = \"{{human.login}}\"\naccount = \"{}\"\n\
         known_hosts = \"known_hosts\"\n",
        sshd.port,
        account()
    );
    std::fs::write(at("countersign.toml"), config).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_countersign")).args(["check", "--config"]).arg(at("countersign.toml")).output().unwrap();
    assert!(checked.status.success() && String::from_utf8_lossy(&checked.stdout).contains("certificate"), "{checked:?}");
    let token = |door: &str, subject: &str, actor: Option<&str>| {
        let request = TokenRequest {
            subject: subject.to_owned(),
            name: None,
            teams: vec!["approvers".to_owned()],
            audience: format!("{base}/{door}"),
            client: "countersign-cli".to_owned(),
            actor: actor.map(ToOwned::to_owned),
            scope: "mcp:read mcp:write mcp:admin".to_owned(),
            lifetime: TimeDelta::hours(1),
        };
        issuer.mint(&request).expose_secret().to_owned()
    };
    let broker = Process::serve(&at("countersign.toml"), port);
    let agent = Agent {
        base: base.clone(),
        token: token("mcp", "alice", Some("demo-agent")),
        http: reqwest::Client::new(),
        headers: Default::default(),
    };
    let calling = agent.clone();
    // It says little, and then nothing for long: neither is there more after it, nor is its last line whole.
    let script = "echo started; echo password=hunter2hunter2; printf 'on it: 4111 1111 '; trap '' TERM HUP INT; setsid sleep 4321765 & sleep 4321765";
    let argv = json!(["sh", "-c", script]);
    let call = tokio::spawn(async move { calling.try_call("ssh_exec", json!({"target": "web", "argv": argv})).await });
    assert!(until(|| runs("sleep 4321765")).await, "{}", sshd.log());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    broker.kill();
    assert!(call.await.unwrap().is_none_or(|answer| answer.is_null()));
    assert!(until(|| !runs("sleep 4321765")).await);
    let broker = Process::serve(&at("countersign.toml"), port);
    let bob = Human { base: base.clone(), token: token("inbox", "bob", None), http: reqwest::Client::new() };
    let unresolved = bob.trail("&kind=exec.unresolved").await;
    assert_eq!(unresolved.len(), 1, "{unresolved:?}");
    // What it had written a second before is there, masked.
    let id = unresolved[0]["leaf"]["call"].as_str().unwrap();
    let (_, whole) = bob.get(&format!("/audit/calls/{id}")).await;
    let recording = whole["payloads"]["recording"].as_str().unwrap_or_else(|| panic!("{whole}"));
    assert!(recording.contains("started\\r\\npassword=[redacted:secret]\\r\\non it: \""), "{recording}");
    assert!(!recording.contains("hunter2") && !recording.contains("4111 1111 \""), "{recording}");
    assert_eq!(agent.call("ssh_exec", json!({"target": "web", "argv": ["true"]})).await["status"], "ok");
    broker.kill();
    let report = countersign::ledger::verify::verify(&at("data"), &Default::default()).unwrap();
    assert!(report.ok, "{report:#?}");
}
