//! Attacks on hosts and from them (the catalogue's C4): servers that lie, stall and flood; paths that lead elsewhere; commands that are not what they
//! look like. Each leaves a record, and the broker goes on.

use std::time::{Duration, Instant};

use countersign::broker::Target;
use countersign::connector::{Endpoint, HostBounds, HostPlace, Route, Trust};
use countersign::credential::Access;
use countersign::credential::host::{Accounts, Authority, HostAccess};
use countersign::credential::secret::Reference;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::harness::hostile_ssh::{Evil, Hostile, SECRET};
use crate::harness::sshd::{Sshd, own, playground};
use crate::harness::{World, code, target};
use crate::kube::{agent, approved};
use crate::ssh::{ran, wish};

/// A hostile server as a target, known by its key.
fn as_target(name: &str, hostile: &Hostile, sshd: &Sshd, issuer: &str) -> Target {
    let file = sshd.folder().join(format!("known-{name}"));
    std::fs::write(&file, hostile.known_line()).unwrap();
    let route = Route {
        to: HostPlace { host: "127.0.0.1".to_owned(), port: hostile.port },
        through: Vec::new(),
        trust: Trust { known_hosts: Some(file), ..Trust::default() },
    };
    let access = HostAccess::Certificate {
        authority: Authority::Key(Reference::parse("file:ca", sshd.folder()).unwrap()),
        principals: Accounts::Mapped([((issuer.to_owned(), "alice".to_owned()), "alice".to_owned())].into()),
        account: None,
        lifetime: Duration::from_secs(60),
    };
    let bounds = HostBounds { roots: vec!["/srv".to_owned()], ..HostBounds::default() };
    let mut target = target(name, Endpoint::Ssh { route, bounds }, Access::Host(access));
    target.settings.connect_timeout = Duration::from_secs(2);
    target
}

/// What a call of a program on it comes to: codes of refusals, or `ok`.
const PROGRAMS: &[(Evil, &[&str])] = &[
    (Evil::ClosesAtOnce, &["target.unreachable"]),
    (Evil::SilentBanner, &["target.unreachable"]),
    (Evil::GarbageBanner, &["target.unreachable"]),
    (Evil::EndlessBanner, &["target.unreachable"]),
    (Evil::EndlessLine, &["target.unreachable"]),
    (Evil::DribbleBanner, &["target.unreachable"]),
    (Evil::SpeaksHttp, &["target.unreachable"]),
    (Evil::OldProtocol, &["target.unreachable"]),
    (Evil::GarbageAfterBanner, &["target.unreachable"]),
    (Evil::EmptyPacket, &["target.unreachable"]),
    (Evil::HugePacket, &["target.unreachable"]),
    (Evil::StallsInKex, &["target.unreachable"]),
    (Evil::CutsInKex, &["target.unreachable"]),
    (Evil::SignsWrong, &["target.unreachable"]),
    (Evil::InjectsIgnore, &["target.unreachable"]),
    (Evil::BadMac, &["target.unreachable"]),
    (Evil::WithoutStrictKex, &["target.unreachable"]),
    (Evil::OnlyWeak, &["target.unreachable"]),
    (Evil::WeakKex, &["target.unreachable"]),
    (Evil::WeakCipher, &["target.unreachable"]),
    (Evil::WeakMac, &["target.unreachable"]),
    (Evil::OffersNone, &["target.unreachable"]),
    (Evil::StallsBeforeAuth, &["target.unreachable"]),
    (Evil::RefusesAuth, &["target.refused"]),
    (Evil::AsksForMore, &["target.refused", "target.unreachable"]),
    (Evil::BannerTooLarge, &["target.unreachable", "target.refused"]),
    (Evil::StallsAfterAuth, &["target.unreachable", "target.timeout"]),
    (Evil::RefusesChannels, &["target.unreachable"]),
    (Evil::StallsOnExec, &["target.timeout"]),
    (Evil::RefusesExec, &["target.refused", "target.unreachable"]),
    (Evil::SaysNothing, &["target.timeout"]),
    (Evil::OnlyPings, &["target.timeout", "target.unreachable"]),
    (Evil::Dribbles, &["target.timeout"]),
    (Evil::DropsMidOutput, &["target.unresolved"]),
    (Evil::NoExitStatus, &["target.unresolved"]),
    (Evil::TellsOnDisconnect, &["target.unresolved", "target.unreachable"]),
    (Evil::RekeysAlways, &["ok", "target.unresolved", "target.unreachable", "target.timeout"]),
    (Evil::TellsTooMuch, &["ok", "target.timeout"]),
    (Evil::OpensChannels, &["ok", "target.timeout", "target.unreachable", "target.unresolved"]),
    (Evil::ZeroPacket, &["ok", "target.timeout", "target.unreachable", "target.unresolved"]),
    (Evil::Floods, &["ok"]),
    (Evil::FloodsBoth, &["ok"]),
    (Evil::TakesNoInput, &["target.timeout"]),
    (Evil::NeverCloses, &["ok"]),
    (Evil::StatusThenMore, &["ok"]),
    (Evil::MoreAfterEof, &["ok"]),
    (Evil::HugeStatus, &["ok"]),
    (Evil::OddStreams, &["ok", "target.timeout", "target.unresolved"]),
    (Evil::LyingSignal, &["ok"]),
    (Evil::LongSignal, &["ok"]),
    (Evil::ForeignSignal, &["ok"]),
];

const FILES: &[(Evil, &[&str])] = &[
    (Evil::SftpGarbage, &["target.not_installed", "target.unreachable"]),
    (Evil::SftpGarbageLater, &["target.unreachable", "target.failed", "target.timeout"]),
    (Evil::SftpSaysNothing, &["target.unreachable", "target.timeout", "target.not_installed"]),
    (Evil::SftpWrongIds, &["target.unreachable", "target.timeout", "target.not_installed", "target.failed"]),
    (
        Evil::SftpLies,
        &["ok", "operation.outside_roots", "operation.riskier_outcome", "target.failed", "target.unreachable", "target.timeout"],
    ),
    (Evil::SftpEndless, &["ok", "request.too_large", "target.unreachable", "target.failed", "target.timeout", "mask.result_too_large"]),
    (Evil::SftpTells, &["target.refused", "target.failed", "target.not_found"]),
];

fn told(answer: &Value) -> &str {
    if answer["status"] == "ok" { "ok" } else { code(answer) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_lie_stall_and_flood_cost_a_call_and_nothing_more() {
    let sshd = Sshd::start();
    let evils: Vec<Evil> = PROGRAMS.iter().chain(FILES).map(|(evil, _)| *evil).collect();
    let mut servers = Vec::new();
    for evil in &evils {
        servers.push(Hostile::start(*evil).await);
    }
    let name = |evil: &Evil| format!("{evil:?}").to_lowercase();
    let world = World::with_targets(wish(), |issuer| {
        let good = sshd.target(&[], issuer);
        evils.iter().zip(&servers).map(|(evil, server)| as_target(&name(evil), server, &sshd, issuer)).chain([good]).collect()
    })
    .await;
    let agent = agent(&world);
    let calls = evils.iter().map(|evil| {
        let is_file = FILES.iter().any(|(known, _)| known == evil);
        let (tool, mut arguments) = if is_file {
            ("sftp_list", json!({"path": "/srv/x"}))
        } else {
            ("ssh_exec", json!({"argv": ["cat"], "max_output_bytes": 50_000}))
        };
        arguments["target"] = json!(name(evil));
        arguments["timeout_ms"] = json!(3_000);
        let agent = agent.clone();
        async move {
            let began = Instant::now();
            let answer = tokio::time::timeout(Duration::from_secs(40), agent.call(tool, arguments)).await;
            (answer.unwrap_or_else(|_| json!("no answer within 40 s")), began.elapsed())
        }
    });
    // A few at once: what they cost is theirs, and not that of so many handshakes in one moment.
    let answers: Vec<_> = futures::stream::iter(calls).buffered(10).collect().await;
    let wrong: Vec<String> = PROGRAMS
        .iter()
        .chain(FILES)
        .zip(&answers)
        .filter(|((_, expected), (answer, _))| !expected.contains(&told(answer)))
        .map(|((evil, _), (answer, took))| format!("{evil:?} after {took:?}: {}", answer.to_string().chars().take(400).collect::<String>()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for ((evil, _), (answer, took)) in PROGRAMS.iter().chain(FILES).zip(&answers) {
        assert!(*took < Duration::from_secs(30), "{evil:?} took {took:?}");
        let text = answer.to_string();
        assert!(!text.contains(SECRET) && !text.contains('\u{1b}'), "{evil:?}: {answer}");
        assert!(text.len() < 400_000, "{evil:?}: {} bytes", text.len());
    }
    let of = |wanted: Evil| evils.iter().position(|evil| *evil == wanted).map(|at| (&servers[at], &answers[at].0)).unwrap();
    // What could be asked of us was refused, and what was weak was not spoken.
    assert!(of(Evil::OpensChannels).0.accepted_channels().is_empty(), "{:?}", of(Evil::OpensChannels).0.accepted_channels());
    for weak in [
        Evil::WithoutStrictKex,
        Evil::OnlyWeak,
        Evil::WeakKex,
        Evil::WeakCipher,
        Evil::WeakMac,
        Evil::OffersNone,
        Evil::SignsWrong,
        Evil::BadMac,
    ] {
        assert!(of(weak).0.commands().is_empty(), "{weak:?}");
    }
    // The first word on how it ended is the one that counts.
    assert_eq!(of(Evil::StatusThenMore).1["result"]["exit_code"], 0, "{}", of(Evil::StatusThenMore).1);
    for flood in [Evil::Floods, Evil::FloodsBoth] {
        let result = &of(flood).1["result"];
        assert_eq!((&result["truncated"], &result["stopped_confirmed"]), (&json!(true), &json!(false)), "{flood:?}");
    }
    for signal in [Evil::LyingSignal, Evil::LongSignal, Evil::ForeignSignal] {
        let signal = of(signal).1["result"]["signal"].as_str().unwrap_or_default();
        assert!(signal.len() <= 16 && signal.bytes().all(|b| b.is_ascii_alphanumeric()), "{signal}");
    }
    // The broker goes on.
    assert_eq!(ran(&agent, &["true"]).await["status"], "ok");
    let trail = world.approver().trail("&kind=call.completed").await;
    assert!(trail.len() > evils.len(), "{} of {}", trail.len(), evils.len());
    world.verify();
}

#[tokio::test]
async fn a_host_that_changes_its_key_is_met_once() {
    let sshd = Sshd::start();
    let server = Hostile::start(Evil::ChangesKey).await;
    let world = World::with_targets(wish(), |issuer| vec![as_target("odd", &server, &sshd, issuer)]).await;
    let agent = agent(&world);
    let call = json!({"target": "odd", "argv": ["python3", "-c", "1"], "timeout_ms": 2_000});
    let first = approved(&world, &agent, "ssh_exec", call.clone()).await.1;
    assert_ne!(code(&first), "target.host_key_changed", "{first}");
    let second = approved(&world, &agent, "ssh_exec", call).await.1;
    assert_eq!(code(&second), "target.host_key_changed", "{second}");
    assert!(second["error"]["message"].as_str().unwrap().contains("SHA256:"), "{second}");
}

/// It may have been started before the wire was cut.
#[tokio::test]
async fn a_command_of_whose_start_nothing_was_heard_may_have_run() {
    let sshd = Sshd::start();
    let server = Hostile::start(Evil::CutsOnExec).await;
    let world = World::with_targets(wish(), |issuer| vec![as_target("odd", &server, &sshd, issuer)]).await;
    let answer = agent(&world).call("ssh_exec", json!({"target": "odd", "argv": ["cat"]})).await;
    assert_eq!(code(&answer), "target.unresolved", "{answer}");
    let commands = server.commands();
    assert!(commands.len() == 2 && commands[0].contains("'cat'"), "it was looked for: {commands:?}");
    let trail = world.approver().trail("&kind=call.completed").await;
    assert_eq!((&trail[0]["leaf"]["res"]["status"], &trail[0]["leaf"]["res"]["stopped"]), (&json!("unresolved"), &json!("unconfirmed")));
    world.verify();
}

/// What is not known to only read is not read, and is of the risk of what it does, down the whole path.
#[tokio::test]
async fn commands_that_are_not_what_they_look_like() {
    let sshd = Sshd::start();
    let dir = playground();
    let world = World::with_targets(wish(), |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent(&world);
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "x").unwrap();
    own(dir.path());
    let at = victim.to_str().unwrap();
    let tricks: &[&[&str]] = &[
        &["env", "sudo", "rm", "-f", at],
        &["nohup", "sudo", "id"],
        &["timeout", "5", "sudo", "id"],
        &["env", "LD_PRELOAD=/tmp/x.so", "ls"],
        &["find", "/tmp", "-delete"],
        &["find", dir.path().to_str().unwrap(), "-exec", "rm", "{}", "+"],
        &["find", ".", "-fprintf", at, "x"],
        &["sort", "-o", at, at],
        &["sort", "--compress-program=sh", at],
        &["uniq", "/etc/passwd", at],
        &["git", "-c", "alias.p=!id", "p"],
        &["git", "diff", "--output=x"],
        &["git", "branch", "-D", "main"],
        &["date", "-s", "2020-01-01"],
        &["hostname", "x"],
        &["ip", "addr", "add", "10.0.0.1/8", "dev", "lo"],
        &["journalctl", "--vacuum-size=1"],
        &["ss", "-K"],
        &["awk", "BEGIN{system(\"id\")}"],
        &["sed", "w x", at],
        &["sed", "-n", "1e id", at],
        &["tar", "-cf", "/dev/null", "--checkpoint=1", "--checkpoint-action=exec=id", at],
        &["rsync", "-e", "sh -c id", "a", "b:c"],
        &["xargs", "rm"],
        &["busybox", "rm", at],
        &["python3", "-c", "print(1)"],
        &["systemd-run", "id"],
        &["nsenter", "-t", "1", "id"],
        &["setpriv", "id"],
        &["run0", "id"],
        &["doas", "id"],
        &["pkexec", "id"],
        &["sh", "-c", "ls $(touch x)"],
        &["sh", "-c", "ls `touch x`"],
        &["sh", "-c", "cat <(touch x)"],
        &["bash", "-c", "${x:=touch} y"],
        &["sh", "-c", "ls\ntouch x"],
        &["sh", "-c", "FOO=1 sudo id"],
        &["sh", "-c", "\\sudo id"],
        &["./ls"],
        &["/tmp/ls"],
        &["no-such-program-at-all"],
        &["ls", "--no-such-flag"],
        &["less", at],
        &["vi", at],
    ];
    for (index, argv) in tricks.iter().enumerate() {
        let arguments = json!({"target": "web", "program": argv[0], "args": argv[1..]});
        let refused = agent.call("ssh_read", arguments).await;
        assert_eq!(code(&refused), "operation.not_read", "{argv:?}: {refused}");
        assert!(refused["error"]["message"].as_str().unwrap().len() > 60, "{refused}");
        // Some agents more, since each may have so many requests open.
        let other = world.agent_of("alice", &format!("agent-{index}"), &[], "mcp:read mcp:write mcp:admin");
        let asked = other.call("ssh_exec", json!({"target": "web", "argv": argv})).await;
        assert_eq!(asked["status"], "approval_pending", "{argv:?}: {asked}");
    }
    // Nothing of it ran, and each left its record.
    assert!(victim.exists() && sshd.log().matches("Accepted publickey").count() == 0, "{}", sshd.log());
    let refused = world.approver().trail("&kind=call.refused").await;
    assert!(refused.len() >= tricks.len() * 2, "{}", refused.len());
    // A sign of the shell within an argument is text.
    let plain = ran(&agent, &["echo", "a;id", "$(id)", "`id`", "|", "> x", "&&"]).await;
    assert_eq!(plain["result"]["stdout"], "a;id $(id) `id` | > x &&\n", "{plain}");
    world.verify();
}

/// A mebibyte that was made to be slow is refused or judged at once.
#[tokio::test]
async fn a_long_hostile_command_costs_no_time() {
    let sshd = Sshd::start();
    let world = World::with_targets(wish(), |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent(&world);
    for text in ["$(".repeat(8_000), "a".repeat(16_384), "'\\".repeat(8_000), "{a,b}".repeat(3_000), "((".repeat(8_000), "x|".repeat(8_000)]
    {
        let began = Instant::now();
        let answer = agent.call("ssh_exec", json!({"target": "web", "command": text})).await;
        assert!(matches!(told(&answer), "" | "ok") || code(&answer).starts_with("request."), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    let huge = agent.call("ssh_exec", json!({"target": "web", "argv": ["echo", "y".repeat(1 << 20)]})).await;
    assert_eq!(huge["error"]["data"]["code"], "request.too_large", "{huge}");
    // What fits as words and not as the line that a login shell is handed is told so, on record, and nothing runs.
    let quotes = agent.call("ssh_exec", json!({"target": "web", "argv": ["echo", "'".repeat(40_000)]})).await;
    let why = quotes["error"]["message"].as_str().unwrap_or_default();
    assert!(code(&quotes) == "request.too_large" && why.contains("as the host's shell would read it, and 131071 are the most"), "{quotes}");
    let kept = world.approver().trail(&format!("&call={}&kind=call.completed", quotes["call_id"].as_str().unwrap())).await;
    assert_eq!(kept[0]["leaf"]["res"]["code"], "request.too_large", "{kept:?}");
}

#[tokio::test]
async fn where_the_target_takes_no_shell_there_is_none() {
    let sshd = Sshd::start();
    let world =
        World::with_targets(wish(), |issuer| vec![sshd.target_of("web", sshd.route(&sshd.known_line()), HostBounds::default(), issuer)])
            .await;
    let agent = agent(&world);
    let refused = agent.call("ssh_exec", json!({"target": "web", "command": "true"})).await;
    assert_eq!(code(&refused), "operation.shell_not_allowed", "{refused}");
    let refused = agent.call("sftp_list", json!({"target": "web", "path": "/tmp"})).await;
    assert_eq!(code(&refused), "operation.outside_roots", "{refused}");
}

/// What the certificate of a call allows is that call: forwarding, a terminal, another command or files are not to be had with it.
#[tokio::test]
async fn nothing_is_forwarded_and_an_agent_gets_no_terminal() {
    let sshd = Sshd::start();
    let world = World::with_targets(wish(), |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent(&world);
    let script = "eval :; tty; env | grep -c '^SSH_AUTH_SOCK=\\|^DISPLAY=\\|^SSH_TTY='";
    let (_, answer) = approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", script]})).await;
    assert_eq!(answer["result"]["stdout"], "not a tty\n0\n", "{answer}");
    let log = sshd.log();
    assert!(log.contains("Starting session: forced-command (key-option)") && !log.contains("Allocated pty"), "{log}");
    for tool in ["ssh_tunnel_open", "ssh_forward", "scp"] {
        assert_eq!(code(&agent.call(tool, json!({"target": "web"})).await), "", "there is no such tool");
    }
}

/// What a program leaves behind does not keep a call from ending, and cannot be used to keep one open.
#[tokio::test]
async fn a_program_that_has_ended_is_not_waited_for_because_of_what_it_left() {
    let sshd = Sshd::start();
    let world = World::with_targets(wish(), |issuer| vec![sshd.target(&[], issuer)]).await;
    let agent = agent(&world);
    let began = Instant::now();
    let script = "eval :; (for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i; sleep 1; done) & exit 6";
    let (_, answer) =
        approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", script], "timeout_ms": 60_000})).await;
    assert_eq!(answer["result"]["exit_code"], 6, "{answer}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Where a path leads by a link is judged as well as where it says it is.
#[tokio::test]
async fn a_link_does_not_lower_the_risk_of_what_it_leads_to() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().display().to_string();
    std::fs::create_dir_all(dir.path().join("home/.ssh")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("home/.ssh"), dir.path().join("plain")).unwrap();
    std::fs::write(dir.path().join("setuid"), "x").unwrap();
    own(dir.path());
    assert!(std::process::Command::new("chmod").arg("4755").arg(dir.path().join("setuid")).status().unwrap().success());
    std::os::unix::fs::symlink(dir.path().join("setuid"), dir.path().join("link")).unwrap();
    let world = World::with_targets(wish(), |issuer| vec![sshd.target(&[&root], issuer)]).await;
    let agent = agent(&world);
    let write = |path: &str| json!({"target": "web", "path": format!("{root}/{path}"), "content": "x"});
    // Nobody is asked for what would go elsewhere.
    let answer = agent.call("sftp_write", write("plain/authorized_keys")).await;
    assert!(code(&answer) == "operation.riskier_outcome" && answer.to_string().contains("name that path itself"), "{answer}");
    let (shown, answer) = approved(&world, &agent, "sftp_write", write("home/.ssh/authorized_keys")).await;
    assert_eq!((told(&answer), &shown["risk"]), ("ok", &json!("admin")), "{answer}");
    // What ran as its owner does not with other content, and permissions are not changed through a link.
    let mut over = write("setuid");
    over["overwrite"] = json!(true);
    let (_, answer) = approved(&world, &agent, "sftp_write", over).await;
    assert_eq!(answer["result"]["mode"], "0755", "{answer}");
    let (_, answer) =
        approved(&world, &agent, "sftp_chmod", json!({"target": "web", "path": format!("{root}/link"), "mode": "0600"})).await;
    assert_eq!(code(&answer), "request.invalid_arguments", "{answer}");
    let units = ["poweroff.target", "debug-shell.service", "systemd-logind.service", "x.mount"];
    for unit in units {
        let asked = agent.call("ssh_service", json!({"target": "web", "unit": unit, "action": "start"})).await;
        let (_, shown) = world.approver().get(&format!("/approvals/{}", asked["approval"]["id"].as_str().unwrap())).await;
        assert_eq!(shown["risk"], "admin", "{unit}: {shown}");
    }
    world.verify();
}
