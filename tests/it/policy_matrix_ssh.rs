//! Who may do what on a host: every tool at every risk that it can have, for the example's policies and for the default ones, in one table that anybody can
//! read in a diff. And the example's files for sshd, as sshd itself reads them.

use std::fmt::Write;
use std::process::Command;

use countersign::connector::HostBounds;
use serde_json::{Value, json};

use crate::harness::sshd::Sshd;
use crate::harness::{Agent, Wish, World, code};
use crate::ssh::wish;

const EXAMPLE: &str = include_str!("../../examples/ssh/host.cedar");
const DEFAULT: &str = include_str!("../../policies/default.cedar");

/// A call of each tool at each risk: what it is, the tool, its arguments.
fn calls() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("execute, reads", "ssh_exec", json!({"argv": ["ls", "/var/log"]})),
        ("execute, writes", "ssh_exec", json!({"argv": ["touch", "/srv/shop/x"]})),
        ("execute, loses", "ssh_exec", json!({"argv": ["rm", "/srv/shop/x"]})),
        ("execute, unknown", "ssh_exec", json!({"argv": ["no-such-program"]})),
        ("execute, a shell that reads", "ssh_exec", json!({"argv": ["sh", "-c", "ls /var/log"]})),
        ("execute, what is fenced", "ssh_exec", json!({"argv": ["cat", "/etc/shadow"]})),
        ("execute, what is above a fence", "ssh_exec", json!({"argv": ["grep", "-r", "x", "/etc"]})),
        ("shell, reads", "ssh_exec", json!({"command": "ls /var/log"})),
        ("shell, unknown", "ssh_exec", json!({"command": "eval x"})),
        ("execute, read-only tool", "ssh_read", json!({"program": "df", "args": ["-h"]})),
        ("execute, not read-only", "ssh_read", json!({"program": "touch", "args": ["x"]})),
        ("sudo", "ssh_sudo", json!({"argv": ["id"]})),
        ("signal", "ssh_signal", json!({"pid": 999_999, "signal": "TERM"})),
        ("facts", "ssh_facts", json!({})),
        ("unit, status", "ssh_service", json!({"unit": "shop.service", "action": "status"})),
        ("unit, start", "ssh_service", json!({"unit": "shop.service", "action": "start"})),
        ("unit, restart", "ssh_service", json!({"unit": "shop.service", "action": "restart"})),
        ("unit, of the host", "ssh_service", json!({"unit": "reboot.target", "action": "start"})),
        ("job, start", "ssh_job_start", json!({"argv": ["true"]})),
        ("job, list", "ssh_job_list", json!({})),
        ("job, output", "ssh_job_output", json!({"job_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})),
        ("job, stop", "ssh_job_stop", json!({"job_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})),
        ("session, open", "ssh_session_open", json!({"session": "s", "cwd": "/tmp"})),
        ("session, run", "ssh_session_run", json!({"session": "s", "argv": ["ls", "/tmp"]})),
        ("session, close", "ssh_session_close", json!({"session": "s"})),
        ("several hosts", "ssh_multi_exec", json!({"targets": ["web-1"], "argv": ["true"]})),
        ("list", "sftp_list", json!({"path": "/srv/shop"})),
        ("list, stat", "sftp_stat", json!({"path": "/srv/shop/x"})),
        ("read", "sftp_read", json!({"path": "/srv/shop/x"})),
        ("read, fenced", "sftp_read", json!({"path": "/etc/shadow"})),
        ("write, new", "sftp_write", json!({"path": "/srv/shop/x", "content": "x"})),
        ("write, over", "sftp_write", json!({"path": "/srv/shop/x", "content": "x", "overwrite": true})),
        ("write, where it tells", "sftp_write", json!({"path": "/etc/cron.d/x", "content": "x"})),
        ("write, a folder", "sftp_mkdir", json!({"path": "/srv/shop/d"})),
        ("rename", "sftp_rename", json!({"path": "/srv/shop/x", "to": "/srv/shop/y"})),
        ("delete", "sftp_remove", json!({"path": "/srv/shop/x"})),
        ("chmod", "sftp_chmod", json!({"path": "/srv/shop/x", "mode": "0640"})),
        ("chmod, setuid", "sftp_chmod", json!({"path": "/srv/shop/x", "mode": "4755"})),
        ("restart_shop", "restart_shop", json!({})),
        ("tail_log", "tail_log", json!({"file": "/var/log/syslog"})),
        ("folder_size", "folder_size", json!({"folder": "/tmp"})),
        ("unit_log", "unit_log", json!({"unit": "shop.service", "since": "-1h"})),
        ("busiest", "busiest", json!({"by": "rss"})),
    ]
}

async fn verdict(agent: &Agent, tool: &str, mut arguments: Value) -> String {
    if tool.starts_with("ssh_") && tool != "ssh_multi_exec" || tool.starts_with("sftp_") {
        arguments["target"] = json!("web-1");
    }
    let answer = agent.call(tool, arguments).await;
    match answer["status"].as_str() {
        Some("ok") => "invoke".to_owned(),
        Some("approval_pending") => "request".to_owned(),
        // It was let through, or somebody would have been asked: what the host says is not the policy's doing.
        Some("error") if code(&answer).starts_with("target.") => "invoke".to_owned(),
        Some("denied") if code(&answer) == "approval.preview_failed" => "request".to_owned(),
        None if answer["error"]["code"] == -32602 => "no: unknown tool".to_owned(),
        _ => format!("no: {}", code(&answer)),
    }
}

fn tools() -> Vec<(&'static str, String)> {
    [
        ("restart_shop.toml", include_str!("../../examples/ssh/tools/ssh/restart_shop.toml")),
        ("tail_log.toml", include_str!("../../examples/ssh/tools/ssh/tail_log.toml")),
        ("folder_size.toml", include_str!("../../examples/ssh/tools/ssh/folder_size.toml")),
        ("unit_log.toml", include_str!("../../tools/ssh/unit_log.toml")),
        ("busiest.toml", include_str!("../../tools/ssh/busiest.toml")),
    ]
    .map(|(name, text)| (name, text.to_owned()))
    .into()
}

async fn table(policies: &str, agents: &[(&str, &str)]) -> String {
    let sshd = Sshd::start();
    let bounds =
        || HostBounds { roots: vec!["/srv/shop".to_owned(), "/etc".to_owned()], shell: Some("sh".to_owned()), ..HostBounds::default() };
    let wish = Wish { policies: policies.to_owned(), tools: tools(), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target_of("web-1", sshd.route(&sshd.known_line()), bounds(), issuer)]).await;
    let mut table = format!("{:<10} {:<6} {:<32} {:<18} verdict\n", "team", "scope", "call", "tool");
    for (team, scope) in agents {
        let scopes = if *scope == "write" { "mcp:read mcp:write" } else { "mcp:read mcp:write mcp:admin" };
        for (number, (call, tool, arguments)) in calls().into_iter().enumerate() {
            // Each agent may have so many requests open; those of a session belong together.
            let agent = world.agent_of(
                "alice",
                &format!("agent-{team}-{scope}-{}", if tool.contains("session") { 99 } else { number / 10 }),
                &[team],
                scopes,
            );
            let verdict = verdict(&agent, tool, arguments).await;
            writeln!(table, "{team:<10} {scope:<6} {call:<32} {tool:<18} {verdict}").unwrap();
        }
    }
    world.verify();
    table
}

#[tokio::test]
async fn the_matrix_of_hosts() {
    let agents = [("support", "write"), ("support", "admin"), ("oncall", "admin"), ("nobody", "admin")];
    insta::assert_snapshot!("policy_matrix_ssh", table(EXAMPLE, &agents).await);
}

#[tokio::test]
async fn the_matrix_of_hosts_with_the_default_policies() {
    insta::assert_snapshot!("default_policy_matrix_ssh", table(DEFAULT, &[("nobody", "write"), ("nobody", "admin")]).await);
}

/// What the example and `ssh-ca sshd-config` tell a host's owner to write is what sshd takes.
#[test]
fn sshd_takes_what_a_hosts_owner_is_told_to_write() {
    let sshd = Sshd::start();
    let at = |name: &str| sshd.folder().join(name);
    let takes = |config: &str| {
        let text = config.replace("/etc/ssh/countersign_ca.pub", &at("ca.pub").display().to_string());
        std::fs::write(at("checked"), format!("HostKey {}\n{text}\n", at("host").display())).unwrap();
        let checked = Command::new("/usr/sbin/sshd").args(["-t", "-f"]).arg(at("checked")).output().unwrap();
        assert!(checked.status.success(), "{text}: {}", String::from_utf8_lossy(&checked.stderr));
    };
    takes(include_str!("../../examples/ssh/sshd/50-countersign.conf"));
    let logins = include_str!("../../examples/ssh/sshd/countersign_principals/deploy");
    assert!(logins.lines().all(|line| line.starts_with('#') || line.bytes().all(|b| b.is_ascii_lowercase())), "{logins}");
    let told = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_countersign")).args(["ssh-ca", "sshd-config"]).arg(at("ca")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let key = std::fs::read_to_string(at("ca.pub")).unwrap();
    for arguments in [&[][..], &["--account", "deploy", "--principal", "alice", "--principal", "bob"]] {
        let (status, text) = told(arguments);
        assert!(status == Some(0) && text.contains(key.trim()), "{text}");
        let config = text.split_once("<<'CONF'\n").unwrap().1.split_once("\nCONF").unwrap().0;
        takes(config);
        assert_eq!(text.contains("alice\nbob"), !arguments.is_empty(), "{text}");
        // It is a script that a shell can read.
        assert!(Command::new("sh").args(["-n", "-c", &text]).status().unwrap().success());
    }
    assert_eq!(told(&["--account", "x;id", "--principal", "alice"]).0, Some(2));
    assert_eq!(told(&["--account", "deploy"]).0, Some(2), "nobody could log in");
}

/// It may be pasted again, is left undone where another authority is trusted, and opens root to nobody.
#[test]
fn what_a_hosts_owner_pastes_does_what_it_says() {
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().display().to_string();
    let config = dir.path().join("sshd_config");
    std::fs::write(&config, format!("HostKey {}\n", sshd.folder().join("host").display())).unwrap();
    let server = format!("/usr/sbin/sshd -f {}", config.display());
    let paste = |arguments: &[&str]| {
        let told = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["ssh-ca", "sshd-config"])
            .arg(sshd.folder().join("ca"))
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(told.stdout).unwrap().replace("/etc/ssh", &etc);
        let text = text.replace("sshd -T", &format!("{server} -T")).replace("sshd -t", &format!("{server} -t"));
        let text = text.replace("systemctl reload", "true reload");
        let done = Command::new("bash").args(["-c", &format!("{text}\necho still here")]).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    let trusts = |user: &str| {
        let asked = format!("{server} -T -C user={user},host=x,addr=192.0.2.1 | grep -i trustedusercakeys");
        String::from_utf8(Command::new("sh").args(["-c", &asked]).output().unwrap().stdout).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(paste(&[]), "sshd trusts the broker now\nstill here\n");
    }
    assert_eq!(trusts("alice"), format!("trustedusercakeys {etc}/countersign_ca.pub\n"));
    assert_eq!(trusts("root"), "trustedusercakeys none\n");
    assert_eq!(paste(&["--account", "deploy", "--principal", "alice"]), "sshd trusts the broker now\nstill here\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("countersign_principals/deploy")).unwrap(), "alice\n");
    // Another broker's key is left alone, and what would not count is said.
    std::fs::copy(sshd.folder().join("host_ca.pub"), dir.path().join("countersign_ca.pub")).unwrap();
    let refused = paste(&[]);
    assert!(refused.contains("is of another authority") && refused.starts_with("still here\n"), "{refused}");
    std::fs::remove_file(dir.path().join("countersign_ca.pub")).unwrap();
    let include = format!("HostKey {}\nMatch User somebody\nInclude {etc}/sshd_config.d/*.conf\n", sshd.folder().join("host").display());
    std::fs::write(&config, include).unwrap();
    // `grep` looks for it at the beginning of a line, so it is there: but for somebody alone.
    let refused = paste(&[]);
    assert!(refused.contains("sshd was not reloaded: for nobody"), "{refused}");
    std::fs::remove_dir_all(dir.path().join("sshd_config.d")).unwrap();
    let other = format!("TrustedUserCAKeys {}\n", sshd.folder().join("host_ca.pub").display());
    std::fs::write(&config, format!("HostKey {}\n{other}", sshd.folder().join("host").display())).unwrap();
    let refused = paste(&[]);
    assert!(refused.starts_with("still here\nnothing was done: sshd has trustedusercakeys"), "{refused}");
    assert!(!dir.path().join("sshd_config.d").exists());
}

/// An authority is made once: hosts may trust it.
#[test]
fn an_authority_is_made_once_and_shown_to_whoever_may_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_countersign")).arg("ssh-ca").args(arguments).current_dir(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, said) = run(&["init"]);
    assert!(status == Some(0) && said.contains("SHA256:"), "{said}");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.path().join("ssh_ca")).unwrap().permissions()) & 0o777,
        0o600
    );
    let before = std::fs::read(dir.path().join("ssh_ca")).unwrap();
    assert_eq!(run(&["init"]).0, Some(1));
    assert_eq!(std::fs::read(dir.path().join("ssh_ca")).unwrap(), before);
    let (_, public) = run(&["public"]);
    assert_eq!(public, std::fs::read_to_string(dir.path().join("ssh_ca.pub")).unwrap());
    let (_, told) = run(&["public", "--json", "ssh_ca.pub"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let listed = Command::new("ssh-keygen").args(["-l", "-f"]).arg(dir.path().join("ssh_ca.pub")).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains(told["fingerprint"].as_str().unwrap()), "{told}");
    assert_eq!(run(&["public", "no-such"]).0, Some(3));
}
