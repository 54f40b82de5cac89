//! Which host it is, as whom the broker comes, and which connection it was: host keys and authorities, bastions, certificates, agents, shared logins,
//! connections that reads share and that end with what was lent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use countersign::connector::{Endpoint, HostBounds, HostPlace, Route, Trust};
use countersign::credential::Access;
use countersign::credential::host::{Authority, HostAccess, Shared};
use countersign::credential::secret::Reference;
use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, With, account};
use crate::harness::{Agent, Wish, World, code, target};
use crate::kube::{agent, approved};
use crate::ssh::{POLICIES, ran, wish, world};

fn accepted(sshd: &Sshd) -> Vec<String> {
    sshd.log().lines().filter(|line| line.contains("Accepted publickey")).map(ToOwned::to_owned).collect()
}

async fn id_of(world: &World) -> Value {
    ran(&agent(world), &["id", "-un"]).await
}

/// A world whose host is reached this way.
async fn world_by(sshd: &Sshd, route: Route) -> World {
    World::with_targets(wish(), |issuer| vec![sshd.target_of("web", route, HostBounds::default(), issuer)]).await
}

#[tokio::test]
async fn a_host_is_known_by_its_key_its_authority_or_a_pin_and_by_nothing_else() {
    let sshd = Sshd::with(With { host_certificate: true, ..With::default() });
    let other = Sshd::start();
    let fingerprint = |file: &str| {
        let output = Command::new("ssh-keygen").args(["-l", "-f", sshd.folder().join(file).to_str().unwrap()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let hashed = {
        let file = sshd.folder().join("hashed");
        std::fs::write(&file, sshd.known_line()).unwrap();
        assert!(
            Command::new("ssh-keygen")
                .arg("-H")
                .arg("-f")
                .arg(&file)
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        std::fs::read_to_string(&file).unwrap()
    };
    assert!(hashed.starts_with("|1|"), "{hashed}");
    let foreign_ca = sshd.authority_line().replace(
        std::fs::read_to_string(sshd.folder().join("host_ca.pub")).unwrap().trim(),
        std::fs::read_to_string(other.folder().join("ca.pub")).unwrap().trim(),
    );
    let other_name = sshd.authority_line().replace("127.0.0.1,[127.0.0.1]:*", "example.com");
    let other_port = sshd.known_line().replace(&format!("]:{}", sshd.port), "]:22");
    let wrong = other.known_line().replace(&format!("]:{}", other.port), &format!("]:{}", sshd.port));
    for (known, expected) in [
        (sshd.known_line(), "ok"),
        (hashed, "ok"),
        (sshd.authority_line(), "ok"),
        (format!("# a comment\n\n{}", sshd.authority_line()), "ok"),
        (String::new(), "target.host_key_unknown"),
        (other_port, "target.host_key_unknown"),
        (wrong, "target.host_key_changed"),
        (foreign_ca, "target.host_key_unknown"),
        (other_name, "target.host_key_unknown"),
        (format!("{}\n@revoked * {}", sshd.known_line(), sshd.known_line().split_once(' ').unwrap().1), "target.host_key_changed"),
        (
            format!("{}\n@revoked * {}", sshd.authority_line(), sshd.authority_line().splitn(3, ' ').nth(2).unwrap()),
            "target.host_key_changed",
        ),
    ] {
        let world = world_by(&sshd, sshd.route(&known)).await;
        let answer = id_of(&world).await;
        let told = if answer["status"] == "ok" { "ok" } else { code(&answer) };
        assert_eq!(told, expected, "{known}: {answer}");
        if expected == "target.host_key_unknown" {
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains("SHA256:") && message.contains(&format!("[127.0.0.1]:{} ssh-ed25519 ", sshd.port)), "{message}");
        }
    }
    for (pin, expected) in [(fingerprint("host.pub"), "ok"), (fingerprint("ca.pub"), "target.host_key_changed")] {
        let route = Route { trust: Trust { pinned: vec![pin], ..Trust::default() }, ..sshd.route("") };
        let answer = id_of(&world_by(&sshd, route).await).await;
        assert_eq!(if answer["status"] == "ok" { "ok" } else { code(&answer) }, expected, "{answer}");
    }
    // Nobody was let in under a key that is not known.
    assert_eq!(accepted(&sshd).len(), 5, "{:?}", accepted(&sshd));
}

#[tokio::test]
async fn a_certificate_of_a_host_that_is_not_of_this_host_or_not_of_now_is_refused() {
    for (names, validity) in [("example.com", "-1m:+1h"), ("127.0.0.1", "-2h:-1h")] {
        let sshd = Sshd::with(With { host_certificate: true, ..With::default() });
        let path = |name: &str| sshd.folder().join(name).to_str().unwrap().to_owned();
        let sign = ["-q", "-s", &path("host_ca"), "-I", "host", "-h", "-n", names, "-V", validity, &path("host.pub")];
        assert!(Command::new("ssh-keygen").args(sign).status().unwrap().success());
        let reload = std::fs::read_to_string(path("pid")).unwrap();
        assert!(Command::new("kill").args(["-HUP", reload.trim()]).status().unwrap().success());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let world = world_by(&sshd, sshd.route(&sshd.authority_line())).await;
        assert_eq!(code(&id_of(&world).await), "target.host_key_unknown", "{names} {validity}");
    }
}

#[tokio::test]
async fn through_a_bastion_each_hop_is_verified_under_its_own_name() {
    let (bastion, inner) = (Sshd::with(With { config: "AllowTcpForwarding yes\n".to_owned(), ..With::default() }), Sshd::start());
    // Both trust one authority, as the hosts of one company do.
    let shared = |issuer: &str, known: String| {
        let mut route = inner.route(&known);
        route.through = vec![HostPlace { host: "127.0.0.1".to_owned(), port: bastion.port }];
        inner.target_of("web", route, HostBounds::default(), issuer)
    };
    let ca = std::fs::read_to_string(inner.folder().join("ca.pub")).unwrap();
    std::fs::write(bastion.folder().join("ca.pub"), ca).unwrap();
    let both = format!("{}{}", bastion.known_line(), inner.known_line());
    let world = World::with_targets(wish(), |issuer| vec![shared(issuer, both)]).await;
    let answer = id_of(&world).await;
    assert_eq!(answer["result"]["stdout"], format!("{}\n", account()), "{answer} {}", bastion.log());
    let seen = [accepted(&bastion), accepted(&inner)];
    assert!(seen.iter().all(|lines| lines.len() == 1 && lines[0].contains("human=alice agent=demo-agent")), "{seen:?}");
    let (_, changed) = approved(&world, &agent(&world), "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", "eval :; echo x"]})).await;
    let named = format!("call={} ", changed["call_id"].as_str().unwrap());
    assert!(accepted(&bastion)[1].contains(&named) && accepted(&inner)[1].contains(&named), "{changed}");
    // What opens the bastion runs nothing there.
    assert!(!bastion.log().contains("Starting session"), "{}", bastion.log());
    // The bastion's key does not speak for the host behind it, nor the other way round.
    let key = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    for known in [
        format!("{}[127.0.0.1]:{} {}", bastion.known_line(), inner.port, key(&bastion.known_line())),
        format!("[127.0.0.1]:{} {}{}", bastion.port, key(&inner.known_line()), inner.known_line()),
    ] {
        let world = World::with_targets(wish(), |issuer| vec![shared(issuer, known)]).await;
        assert_eq!(code(&id_of(&world).await), "target.host_key_changed");
    }
    let world = World::with_targets(wish(), |issuer| vec![shared(issuer, bastion.known_line())]).await;
    assert_eq!(code(&id_of(&world).await), "target.host_key_unknown");
    // What is pinned is the host's own, and vouches for no bastion.
    let fingerprint = |sshd: &Sshd| {
        let output = Command::new("ssh-keygen").arg("-lf").arg(sshd.folder().join("host.pub")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    for (known, pinned, expected) in [
        (bastion.known_line(), vec![fingerprint(&inner)], "ok"),
        (bastion.known_line(), vec![fingerprint(&bastion)], "target.host_key_changed"),
        (String::new(), vec![fingerprint(&bastion), fingerprint(&inner)], "target.host_key_unknown"),
    ] {
        let mut route = inner.route(&known);
        route.through = vec![HostPlace { host: "127.0.0.1".to_owned(), port: bastion.port }];
        route.trust.pinned.clone_from(&pinned);
        let world = World::with_targets(wish(), |issuer| vec![inner.target_of("web", route, HostBounds::default(), issuer)]).await;
        let answer = id_of(&world).await;
        assert_eq!(if answer["status"] == "ok" { "ok" } else { code(&answer) }, expected, "{pinned:?}: {answer}");
    }
}

#[tokio::test]
async fn who_is_no_principal_of_the_account_is_not_let_in_and_the_record_says_so() {
    let sshd = Sshd::with(With { principals: vec!["bob".to_owned()], ..With::default() });
    let world = world(&sshd, &[]).await;
    let answer = id_of(&world).await;
    assert_eq!(code(&answer), "target.refused", "{answer}");
    assert!(sshd.log().contains("Certificate does not contain an authorized principal"), "{}", sshd.log());
    let bobs = world.agent_of("bob", "demo-agent", &[], "mcp:read");
    assert_eq!(ran(&bobs, &["id", "-un"]).await["status"], "ok");
    let stranger = world.agent_of("carol", "demo-agent", &[], "mcp:read");
    assert_eq!(code(&ran(&stranger, &["id", "-un"]).await), "target.refused");
    assert!(!sshd.log().contains("human=carol"));
    world.verify();
}

/// A token of PKCS#11 with a key that never leaves it, in a folder: what `ssh-add -s` and its helper need to use it.
fn token(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    std::fs::create_dir_all(dir.join("tokens")).unwrap();
    let kept = dir.join("tokens").display().to_string();
    std::fs::write(dir.join("softhsm2.conf"), format!("directories.tokendir = {kept}\nobjectstore.backend = file\n")).unwrap();
    std::fs::write(dir.join("pin"), "#!/bin/sh\necho 1234\n").unwrap();
    std::fs::set_permissions(dir.join("pin"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let made = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env("SOFTHSM2_CONF", dir.join("softhsm2.conf")).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    };
    made("softhsm2-util", &["--init-token", "--free", "--label", "ca", "--pin", "1234", "--so-pin", "5678"]);
    let key = ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "ssh-ca", "--id", "01"];
    made("pkcs11-tool", &[&["--module", TOKEN, "--login", "--pin", "1234", "--token-label", "ca"], key.as_slice()].concat());
    vec![("SOFTHSM2_CONF", dir.join("softhsm2.conf")), ("SSH_ASKPASS", dir.join("pin")), ("SSH_ASKPASS_REQUIRE", PathBuf::from("force"))]
}

const TOKEN: &str = "/usr/lib/softhsm/libsofthsm2.so";

#[tokio::test]
async fn an_agent_may_hold_the_authoritys_key() {
    the_authoritys_key_is_held_by_an_agent(false).await;
}

#[tokio::test]
async fn a_token_behind_an_agent_may_hold_the_authoritys_key() {
    the_authoritys_key_is_held_by_an_agent(true).await;
}

async fn the_authoritys_key_is_held_by_an_agent(in_token: bool) {
    let sshd = Sshd::start();
    let socket = sshd.folder().join("agent.sock");
    let around = if in_token { token(sshd.folder()) } else { Vec::new() };
    let mut keeper = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).envs(around.clone()).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..100 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ssh_add = |arguments: &[&str]| {
        let mut command = Command::new("ssh-add");
        command.args(arguments).envs(around.clone()).env("SSH_AUTH_SOCK", &socket).stdin(Stdio::null()).output().unwrap()
    };
    let of_a_file = sshd.folder().join("ca").display().to_string();
    let added = if in_token { ssh_add(&["-s", TOKEN]) } else { ssh_add(&[&of_a_file]) };
    assert!(added.status.success(), "{added:?}");
    let public = String::from_utf8(ssh_add(&["-L"]).stdout).unwrap().trim().to_owned();
    if in_token {
        assert!(public.starts_with("ecdsa-sha2-nistp256 "), "{public}");
        let trusted = sshd.folder().join("ca.pub");
        assert!(!std::fs::read_to_string(&trusted).unwrap().contains(&public));
        std::fs::write(trusted, format!("{public}\n")).unwrap();
    }
    let by_agent = |issuer: &str| {
        let HostAccess::Certificate { principals, account, lifetime, .. } = sshd.access(issuer) else { panic!("not by certificate") };
        let authority = Authority::Agent { socket: socket.clone(), public: public.clone() };
        let endpoint = Endpoint::Ssh { route: sshd.route(&sshd.known_line()), bounds: HostBounds::default() };
        target("web", endpoint, Access::Host(HostAccess::Certificate { authority, principals, account, lifetime }))
    };
    let world = World::with_targets(wish(), |issuer| vec![by_agent(issuer)]).await;
    let answer = id_of(&world).await;
    assert_eq!(answer["status"], "ok", "{answer}");
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    let (_, answer) = approved(&world, &agent(&world), "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", "eval :"]})).await;
    assert_eq!(code(&answer), "target.no_credential", "{answer}");
    world.verify();
}

#[tokio::test]
async fn a_shared_key_works_and_is_recorded_as_shared() {
    let sshd = Sshd::start();
    let keys = sshd.folder().join("authorized");
    std::fs::copy(sshd.folder().join("ca.pub"), &keys).unwrap();
    let config = std::fs::read_to_string(sshd.folder().join("sshd_config")).unwrap();
    std::fs::write(
        sshd.folder().join("sshd_config"),
        config.replace("AuthorizedKeysFile none", &format!("AuthorizedKeysFile {}", keys.display())),
    )
    .unwrap();
    let pid = std::fs::read_to_string(sshd.folder().join("pid")).unwrap();
    assert!(Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap().success());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let access = HostAccess::Shared { account: account(), by: Shared::Key(Reference::parse("file:ca", sshd.folder()).unwrap()) };
    let endpoint = Endpoint::Ssh { route: sshd.route(&sshd.known_line()), bounds: HostBounds::default() };
    let world = World::with_targets(wish(), |_| vec![target("web", endpoint, Access::Host(access))]).await;
    let answer = id_of(&world).await;
    assert_eq!(answer["status"], "ok", "{answer} {}", sshd.log());
    let (_, whole) = world.approver().get(&format!("/audit/calls/{}", answer["call_id"].as_str().unwrap())).await;
    assert_eq!(whole["entries"][1]["leaf"]["cred"]["form"], "shared_key", "{whole}");
    assert_eq!(whole["entries"][1]["leaf"]["cred"]["serial"], Value::Null);
    world.verify();
}

#[tokio::test]
async fn a_shared_password_works_and_is_recorded_as_shared() {
    let sshd = Sshd::with(With { config: "PasswordAuthentication yes\n".to_owned(), ..With::default() });
    let Some(_password) = Password::set("correct horse 71") else {
        let id = Command::new("id").arg("-u").output().unwrap().stdout;
        assert_ne!(id, b"0\n", "only root sets passwords, and root can");
        return;
    };
    let with = |password: &str| {
        std::fs::write(sshd.folder().join("password"), password).unwrap();
        let by = Shared::Password(Reference::parse("file:password", sshd.folder()).unwrap());
        let endpoint = Endpoint::Ssh { route: sshd.route(&sshd.known_line()), bounds: HostBounds::default() };
        target("web", endpoint, Access::Host(HostAccess::Shared { account: account(), by }))
    };
    let world = World::with_targets(wish(), |_| vec![with("correct horse 71")]).await;
    let answer = id_of(&world).await;
    assert_eq!(answer["result"]["stdout"], format!("{}\n", account()), "{answer} {}", sshd.log());
    assert!(sshd.log().contains(&format!("Accepted password for {}", account())), "{}", sshd.log());
    let (_, whole) = world.approver().get(&format!("/audit/calls/{}", answer["call_id"].as_str().unwrap())).await;
    assert_eq!(whole["entries"][1]["leaf"]["cred"]["form"], "shared_password", "{whole}");
    assert!(!whole.to_string().contains("correct horse"), "{whole}");
    world.verify();
    let world = World::with_targets(wish(), |_| vec![with("another")]).await;
    let refused = id_of(&world).await;
    assert!(code(&refused) == "target.refused" && !refused.to_string().contains("another"), "{refused}");
    world.verify();
}

/// A password of the account of tests, for as long as a test needs it.
struct Password;

impl Password {
    fn set(password: &str) -> Option<Self> {
        use std::io::Write as _;
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        writeln!(child.stdin.take()?, "{}:{password}", account()).ok()?;
        child.wait().ok()?.success().then_some(Self)
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        drop(Command::new("usermod").args(["-p", "*", &account()]).status());
    }
}

#[tokio::test]
async fn reads_share_a_connection_that_ends_with_what_was_lent() {
    let sshd = Sshd::start();
    let manage = "@id(\"manage\") permit (principal in Team::\"approvers\", action == Action::\"manage\", resource);";
    let wish = Wish { policies: format!("{POLICIES}{manage}"), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent(&world);
    let call = |agent: &Agent| {
        let agent = agent.clone();
        async move { ran(&agent, &["true"]).await }
    };
    let answers = futures::future::join_all((0..8).map(|_| call(&agent))).await;
    assert!(answers.iter().all(|answer| answer["status"] == "ok"), "{answers:?}");
    assert_eq!(accepted(&sshd).len(), 1, "{:?}", accepted(&sshd));
    // Another human, another agent, another token: each has its own.
    let others = [
        world.agent_of("bob", "demo-agent", &[], "mcp:read"),
        world.agent_of("alice", "other-agent", &[], "mcp:read"),
        crate::kube::agent(&world),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_eq!(ran(other, &["true"]).await["status"], "ok");
        assert_eq!(accepted(&sshd).len(), index + 2, "{:?}", accepted(&sshd));
    }
    // A change has one of its own, and leaves the shared one alone.
    approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", "eval :"]})).await;
    ran(&agent, &["true"]).await;
    assert_eq!(accepted(&sshd).len(), 5);
    // When the agent is suspended, its connections are closed; the others' stay.
    let closed = || sshd.log().matches("Disconnected from user").count();
    let before = closed();
    let (status, answer) = post(&world, "/agents/state", json!({"agent": "demo-agent", "state": "suspended", "reason": "looks odd"})).await;
    assert_eq!(status, 200, "{answer}");
    for _ in 0..100 {
        if closed() >= before + 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(closed(), before + 3, "{}", sshd.log());
    assert_eq!(code(&ran(&agent, &["true"]).await), "identity.agent_suspended");
    assert_eq!(ran(&others[1], &["true"]).await["status"], "ok");
    assert_eq!(accepted(&sshd).len(), 5);
    world.verify();
}

pub async fn post(world: &World, path: &str, body: Value) -> (u16, Value) {
    let human = world.approver();
    let response = human.http.post(format!("{}{path}", human.base)).bearer_auth(&human.token).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_connection_that_died_is_opened_anew() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    assert_eq!(ran(&agent, &["true"]).await["status"], "ok");
    for pid in sshd.children() {
        drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ran(&agent, &["true"]).await["status"], "ok");
    assert_eq!(accepted(&sshd).len(), 2);
}

#[tokio::test]
async fn a_host_that_takes_few_sessions_a_connection_is_given_more_connections() {
    let sshd = Sshd::with(With { config: "MaxSessions 4\n".to_owned(), ..With::default() });
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let answers = futures::future::join_all((0..10).map(|_| ran(&agent, &["sleep", "1"]))).await;
    assert!(answers.iter().all(|answer| answer["status"] == "ok"), "{answers:?}");
    assert!((3..=10).contains(&accepted(&sshd).len()), "{:?}", accepted(&sshd));
    assert_eq!(ran(&agent, &["true"]).await["status"], "ok");
}

#[tokio::test]
async fn connections_that_wait_make_room_for_others() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let held = agent(&world);
    let (long, ()) = tokio::join!(ran(&held, &["sleep", "20"]), async {
        for number in 0..70 {
            let agent = world.agent_of("alice", &format!("agent-{number}"), &[], "mcp:read");
            assert_eq!(ran(&agent, &["true"]).await["status"], "ok");
            let open = || accepted(&sshd).len() - sshd.log().matches("Disconnected from user").count();
            assert!(open() <= 65, "{} are open", open());
        }
    });
    // One in use is not closed for it.
    assert_eq!(long["status"], "ok", "{long}");
    assert!(sshd.log().matches("Disconnected from user").count() >= 6, "{}", sshd.log());
}
