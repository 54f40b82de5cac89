//! Every SSH tool down the whole path: MCP in, a real sshd out, masked and recorded; and the human, the agent and the call read back from the host's own log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, account, own, playground};
use crate::harness::{Agent, Wish, World, code};
use crate::kube::{agent, approved};

/// Agents may read and ask for the rest; what is of the highest risk too.
pub const POLICIES: &str = r#"
@id("own") permit (principal, action == Action::"invoke", resource is Broker);
@id("read") permit (principal, action == Action::"invoke", resource) when { context.risk == 1 && context.kind == "ssh" };
@id("ask") @quorum("1") permit (principal, action == Action::"request", resource) when { context.risk > 1 && context.kind == "ssh" };
@id("approve") permit (principal in Team::"approvers", action == Action::"approve", resource) unless { context.own };
@id("review") permit (principal in Team::"approvers", action == Action::"review", resource);
"#;

pub fn wish() -> Wish {
    Wish { policies: POLICIES.to_owned(), hold: Duration::ZERO, ..Wish::default() }
}

pub async fn world(sshd: &Sshd, roots: &[&str]) -> World {
    World::with_targets(wish(), |issuer| vec![sshd.target(roots, issuer)]).await
}

pub async fn ran(agent: &Agent, argv: &[&str]) -> Value {
    agent.call("ssh_exec", json!({"target": "web", "argv": argv})).await
}

#[tokio::test]
async fn a_program_runs_as_the_human_and_the_hosts_own_log_says_who_it_was() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let read = ran(&agent, &["id", "-un"]).await;
    assert_eq!(read["status"], "ok", "{read} {}", sshd.log());
    assert_eq!((&read["result"]["exit_code"], read["result"]["stdout"].as_str()), (&json!(0), Some(format!("{}\n", account()).as_str())));
    let log = sshd.log();
    let accepted: Vec<&str> = log.lines().filter(|line| line.contains("Accepted publickey")).collect();
    assert_eq!(accepted.len(), 1, "{log}");
    assert!(accepted[0].contains("ID human=alice agent=demo-agent conn="), "{accepted:?}");
    assert!(!accepted[0].contains("call="), "{accepted:?}");

    let (shown, changed) =
        approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", "eval :; echo hello; exit 7"]})).await;
    assert_eq!(changed["result"]["exit_code"], 7, "{changed} {shown}");
    assert_eq!(changed["result"]["stdout"], "hello\n");
    assert_eq!(shown["operation"]["argv"], json!(["sh", "-c", "eval :; echo hello; exit 7"]), "{shown}");
    let call = changed["call_id"].as_str().unwrap();
    let log = sshd.log();
    assert!(log.lines().any(|line| line.contains("Accepted publickey") && line.contains(&format!(" call={call} "))), "{log}");
    assert!(log.contains("Starting session: forced-command (key-option)"), "{log}");
    // The leaf of each call names the connection and the serial number that the host has.
    for call in [&read, &changed] {
        let id = call["call_id"].as_str().unwrap();
        let trail = world.approver().trail(&format!("&call={id}")).await;
        let completed = trail.iter().find(|entry| entry.to_string().contains("call.completed")).unwrap_or_else(|| panic!("{trail:?}"));
        let cred = completed.pointer("/leaf/cred").unwrap_or_else(|| panic!("{completed}"));
        let serial = cred["serial"].as_str().unwrap();
        assert!(
            log.lines().any(|line| line.contains("Accepted publickey") && line.contains(&format!("(serial {serial})"))),
            "{cred} {log}"
        );
        assert!(log.contains(&format!("conn={}", cred["conn"].as_str().unwrap())), "{cred}");
    }
    world.verify();
}

#[tokio::test]
async fn what_a_command_takes_arrives_and_how_it_ends_is_told() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let dir = playground();
    let path = dir.path().to_str().unwrap();
    let script = "eval :; cat; echo \"$GREETING in $(pwd)\"; echo err >&2; exit 3";
    let arguments =
        json!({"target": "web", "argv": ["sh", "-c", script], "cwd": path, "env": {"GREETING": "hi 'there'"}, "stdin": "a\nb\n\n"});
    let (_, told) = approved(&world, &agent, "ssh_exec", arguments).await;
    assert_eq!(told["result"]["stdout"], format!("a\nb\n\nhi 'there' in {path}\n"), "{told}");
    assert_eq!((&told["result"]["stderr"], &told["result"]["exit_code"]), (&json!("err\n"), &json!(3)));
    // No shell tells these two apart: both are named.
    for script in ["eval :; kill -TERM $$", "eval :; exit 143"] {
        let (_, ended) = approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", script]})).await;
        assert_eq!((&ended["result"]["exit_code"], &ended["result"]["signal"]), (&json!(143), &json!("TERM")), "{ended}");
    }
    let (_, shell) = approved(&world, &agent, "ssh_exec", json!({"target": "web", "command": "eval :; echo $((40+2)) | tr 4 x"})).await;
    assert_eq!(shell["result"]["stdout"], "x2\n", "{shell}");
    let (_, nowhere) = approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["touch", "x"], "cwd": "/no/such"})).await;
    assert_eq!(nowhere["result"]["exit_code"], 254, "{nowhere}");
    assert_eq!(nowhere["result"]["stderr"], "countersign: the folder of `cwd` is not there, or may not be entered\n", "{nowhere}");
    for (arguments, refused) in [
        (json!({"target": "web", "argv": ["id"], "env": {"PATH": "/tmp"}}), "request.invalid_arguments"),
        (json!({"target": "web", "argv": ["id"], "command": "id"}), "request.invalid_arguments"),
        (json!({"target": "web"}), "request.invalid_arguments"),
        (json!({"target": "web", "argv": ["-x"]}), "request.invalid_arguments"),
        (json!({"target": "web", "argv": ["id", "a\u{0}b"]}), "request.invalid_arguments"),
        (json!({"target": "web", "argv": ["id"], "cwd": "tmp"}), "operation.invalid_path"),
        (json!({"target": "web", "argv": ["id"], "cwd": "/tmp/../etc"}), "operation.invalid_path"),
    ] {
        let answer = agent.call("ssh_exec", arguments.clone()).await;
        assert_eq!(code(&answer), refused, "{arguments}: {answer}");
    }
    let not_read = agent.call("ssh_read", json!({"target": "web", "program": "touch", "args": ["/tmp/x"]})).await;
    assert_eq!(code(&not_read), "operation.not_read", "{not_read}");
    world.verify();
}

#[tokio::test]
async fn a_stop_stops_everything_that_a_command_started() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let gone = |mark: &str| {
        let found = std::process::Command::new("pgrep").args(["-f", mark]).output().unwrap();
        assert!(found.stdout.is_empty(), "{mark}: {}", String::from_utf8_lossy(&found.stdout));
    };
    for (mark, script) in [
        ("71971", "eval :; sleep 71971"),
        ("71972", "eval :; trap '' TERM; sleep 71972 & sleep 71972; sleep 71972"),
        ("71973", "eval :; setsid sleep 71973 & nohup sleep 71973 >/dev/null 2>&1 & wait"),
    ] {
        let arguments = json!({"target": "web", "argv": ["sh", "-c", script], "timeout_ms": 700, "stdin": if mark == "71973" { json!("text") } else { Value::Null }});
        let arguments: Value = arguments
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let (_, late) = approved(&world, &agent, "ssh_exec", arguments).await;
        assert_eq!(code(&late), "target.timeout", "{late}");
        assert!(late["error"]["message"].as_str().unwrap().contains("gone"), "{late}");
        gone(mark);
    }
    // What it had written by then is told, masked, and stays in the record as it was told.
    let script = "eval :; echo begun; echo password=hunter2hunter2 >&2; sleep 71976";
    let arguments = json!({"target": "web", "argv": ["sh", "-c", script], "timeout_ms": 700});
    let (_, late) = approved(&world, &agent, "ssh_exec", arguments).await;
    assert_eq!((code(&late), &late["error"]["stopped_confirmed"]), ("target.timeout", &json!(true)), "{late}");
    let result = &late["result"];
    assert_eq!((&result["stdout"], &result["truncated"], &result["stopped_confirmed"]), (&json!("begun\n"), &json!(false), &json!(true)));
    assert!(result["stderr"].as_str().unwrap().starts_with("password=[redacted") && late["masked"].is_array(), "{late}");
    gone("71976");
    // A read that never ends, too.
    let late = agent.call("ssh_read", json!({"target": "web", "program": "sleep", "args": ["71974"], "timeout_ms": 500})).await;
    assert_eq!(code(&late), "target.timeout", "{late}");
    gone("71974");
    // And one that writes too much.
    let (_, much) = approved(
        &world,
        &agent,
        "ssh_exec",
        json!({"target": "web", "argv": ["sh", "-c", "eval :; while :; do echo 71975; done"], "max_output_bytes": 1000}),
    )
    .await;
    assert_eq!((&much["result"]["truncated"], &much["result"]["stopped_confirmed"]), (&json!(true), &json!(true)), "{much}");
    assert_eq!(much["result"]["stdout"].as_str().unwrap().len(), 1000);
    gone("71975");
    let trail = world.approver().trail(&format!("&kind=call.completed&call={}", much["call_id"].as_str().unwrap())).await;
    assert_eq!(trail[0]["leaf"]["res"]["stopped"], "confirmed", "{trail:?}");
    let (_, trail) = world.approver().get("/audit/entries?limit=100").await;
    assert!(trail.to_string().contains("confirmed") && !trail.to_string().contains("unconfirmed"), "{trail}");
    world.verify();
}

#[tokio::test]
async fn files_are_read_and_written_below_the_roots_and_nowhere_else() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    let at = |name: &str| format!("{root}/{name}");
    let (_, made) =
        approved(&world, &agent, "sftp_write", json!({"target": "web", "path": at("a.txt"), "content": "one\ntwo\n", "mode": "0600"}))
            .await;
    assert_eq!(made["result"]["created"], true, "{made} {}", sshd.log());
    assert!(sshd.log().contains("internal-sftp"), "{}", sshd.log());
    let read = agent.call("sftp_read", json!({"target": "web", "path": at("a.txt")})).await;
    assert_eq!((&read["result"]["content"], &read["result"]["mode"]), (&json!("one\ntwo\n"), &json!("0600")), "{read}");
    let sha256 = read["result"]["sha256"].as_str().unwrap().to_owned();
    // What is there is left alone, unless that is meant and it is what was read.
    let again = approved(&world, &agent, "sftp_write", json!({"target": "web", "path": at("a.txt"), "content": "x"})).await.1;
    assert_eq!(code(&again), "target.conflict", "{again}");
    let other = json!({"target": "web", "path": at("a.txt"), "content": "x", "overwrite": true, "if_sha256": "0".repeat(64)});
    let other = approved(&world, &agent, "sftp_write", other).await.1;
    // What is there is not told, nor its hash: that would say whether a guess at what is hidden is right.
    assert!(code(&other) == "target.conflict" && !other.to_string().contains(&sha256), "{other}");
    let (shown, changed) = approved(
        &world,
        &agent,
        "sftp_write",
        json!({"target": "web", "path": at("a.txt"), "content": "three\n", "overwrite": true, "if_sha256": sha256}),
    )
    .await;
    assert_eq!(shown["preview"]["files"][0]["holds"], "one\ntwo\n", "{shown}");
    assert_eq!((&changed["result"]["sha256_before"], &changed["result"]["mode"]), (&json!(sha256), &json!("0600")), "{changed}");
    assert_eq!(std::fs::read_to_string(at("a.txt")).unwrap(), "three\n");
    let (_, made) = approved(&world, &agent, "sftp_mkdir", json!({"target": "web", "path": at("d")})).await;
    assert_eq!(made["status"], "ok", "{made}");
    let (_, made) = approved(&world, &agent, "sftp_mkdir", json!({"target": "web", "path": at("d")})).await;
    assert!(code(&made) == "target.conflict" && made.to_string().contains("already"), "{made}");
    let (_, renamed) = approved(&world, &agent, "sftp_rename", json!({"target": "web", "path": at("a.txt"), "to": at("d/b`x`.txt")})).await;
    assert_eq!(renamed["status"], "ok", "{renamed}");
    let listed = agent.call("sftp_list", json!({"target": "web", "path": at("d")})).await;
    assert_eq!(listed["result"]["entries"][0]["name"], "b`x`.txt", "{listed}");
    let (_, moded) = approved(&world, &agent, "sftp_chmod", json!({"target": "web", "path": at("d/b`x`.txt"), "mode": "0640"})).await;
    assert_eq!(moded["result"]["mode"], "0640", "{moded}");
    let stat = agent.call("sftp_stat", json!({"target": "web", "path": at("d/b`x`.txt")})).await;
    assert_eq!((&stat["result"]["mode"], &stat["result"]["size"]), (&json!("0640"), &json!(6)), "{stat}");
    let (_, removed) = approved(&world, &agent, "sftp_remove", json!({"target": "web", "path": at("d")})).await;
    assert!(code(&removed) == "target.conflict" && removed.to_string().contains("must be empty"), "{removed}");
    // Links lead out of the root: what they lead to is not there.
    std::os::unix::fs::symlink("/etc", at("out")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("passwd")).unwrap();
    own(dir.path());
    let stat = agent.call("sftp_stat", json!({"target": "web", "path": at("passwd")})).await;
    assert_eq!((&stat["result"]["type"], &stat["result"]["target"]), (&json!("symlink"), &json!("/etc/passwd")), "{stat}");
    for path in [at("out/passwd"), at("passwd")] {
        let refused = agent.call("sftp_read", json!({"target": "web", "path": path})).await;
        assert_eq!(code(&refused), "operation.outside_roots", "{refused}");
    }
    for (path, refused) in [
        ("/etc/passwd".to_owned(), "operation.outside_roots"),
        (format!("{root}-other/x"), "operation.outside_roots"),
        (at("../x"), "operation.invalid_path"),
        ("a.txt".to_owned(), "operation.invalid_path"),
        (at("no-such"), "target.not_found"),
    ] {
        let answer = agent.call("sftp_read", json!({"target": "web", "path": path})).await;
        assert_eq!(code(&answer), refused, "{path}: {answer}");
    }
    let (_, removed) = approved(&world, &agent, "sftp_remove", json!({"target": "web", "path": at("d/b`x`.txt")})).await;
    assert_eq!(removed["status"], "ok", "{removed}");
    assert_eq!(std::fs::read_dir(at("d")).unwrap().count(), 0);
    world.verify();
}

#[tokio::test]
async fn what_an_approver_saw_of_a_file_binds() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    let path = format!("{root}/f");
    std::fs::write(&path, "as it was\n").unwrap();
    own(dir.path());
    let arguments = json!({"target": "web", "path": path, "content": "new\n", "overwrite": true});
    let (id, _) = crate::kube::asked(&world, &agent, "sftp_write", &arguments).await;
    assert_eq!(world.approver().decide(&id, json!({"decision": "approve"})).await.0, 200);
    std::fs::write(&path, "somebody else's\n").unwrap();
    let answer = agent.call("sftp_write", arguments).await;
    assert_eq!(code(&answer), "approval.changed_since_preview", "{answer}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody else's\n");
    world.verify();
}
