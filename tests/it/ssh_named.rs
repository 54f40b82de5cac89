//! The host's own log names the human, the agent and the call of every change, whichever tool made it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, own, playground};
use crate::kube::{agent, approved};
use crate::ssh::world;

/// A change by each tool that can make one.
fn changes(root: &str, pid: u32, job: &str) -> Vec<(&'static str, Value)> {
    let at = |name: &str| format!("{root}/{name}");
    vec![
        ("ssh_exec", json!({"argv": ["touch", at("a")]})),
        ("ssh_sudo", json!({"argv": ["true"]})),
        ("ssh_service", json!({"unit": "no-such.service", "action": "stop"})),
        ("ssh_signal", json!({"pid": pid, "signal": "TERM"})),
        ("ssh_job_stop", json!({"job_id": job})),
        ("ssh_session_run", json!({"session": "named", "argv": ["touch", "b"]})),
        ("sftp_write", json!({"path": at("c"), "content": "x"})),
        ("sftp_chmod", json!({"path": at("c"), "mode": "0600"})),
        ("sftp_rename", json!({"path": at("c"), "to": at("d")})),
        ("sftp_remove", json!({"path": at("d")})),
        ("sftp_mkdir", json!({"path": at("e")})),
    ]
}

#[tokio::test]
async fn every_change_of_every_tool_is_named_in_the_hosts_own_log() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    own(dir.path());
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    let named = |tool: &str, told: &Value| {
        let call = told["call_id"].as_str().unwrap_or_else(|| panic!("{tool}: {told}"));
        let (log, ending) = (sshd.log(), format!(" call={call} "));
        let line = log.lines().find(|line| line.contains("Accepted publickey") && line.contains(&ending));
        let line = line.unwrap_or_else(|| panic!("{tool}: no line of {call}: {told} {log}"));
        assert!(line.contains("ID human=alice agent=demo-agent conn="), "{tool}: {line}");
    };
    let opened = agent.call("ssh_session_open", json!({"target": "web", "session": "named", "cwd": root})).await;
    assert_eq!(opened["status"], "ok", "{opened}");
    let (_, started) = approved(&world, &agent, "ssh_job_start", json!({"target": "web", "argv": ["sleep", "52525"]})).await;
    named("ssh_job_start", &started);
    let found = agent.call("ssh_read", json!({"target": "web", "program": "pgrep", "args": ["-x", "-f", "sleep 52525"]})).await;
    let pid: u32 = found["result"]["stdout"].as_str().unwrap().trim().parse().unwrap_or_else(|_| panic!("{found}"));
    let mut tried: BTreeSet<String> = BTreeSet::from(["ssh_job_start".to_owned()]);
    for (tool, mut arguments) in changes(&root, pid, started["call_id"].as_str().unwrap()) {
        arguments["target"] = json!("web");
        let (_, told) = approved(&world, &agent, tool, arguments).await;
        assert_eq!(told["status"], "ok", "{tool}: {told}");
        named(tool, &told);
        tried.insert(tool.to_owned());
    }
    // A call on several hosts is one of its own on each.
    let several = json!({"targets": ["web"], "argv": ["touch", format!("{root}/f")]});
    let asked = agent.call("ssh_multi_exec", several.clone()).await;
    let approval = asked.pointer("/result/results/0/approval/id").and_then(Value::as_str).unwrap_or_else(|| panic!("{asked}"));
    assert_eq!(world.approver().decide(approval, json!({"decision": "approve"})).await.0, 200);
    let told = agent.call("ssh_multi_exec", several).await;
    named("ssh_multi_exec", told.pointer("/result/results/0").unwrap_or_else(|| panic!("{told}")));
    tried.insert("ssh_multi_exec".to_owned());
    // No tool that changes anything is left out.
    let tools = agent.tools().await;
    let changing: BTreeSet<String> = tools["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tool| tool["annotations"]["readOnlyHint"] == false)
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .filter(|name| name.starts_with("ssh_") || name.starts_with("sftp_"))
        .collect();
    assert_eq!(tried, changing);
    world.verify();
}

#[tokio::test]
async fn a_folder_is_listed_a_page_at_a_time_by_name() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    for number in 0..25 {
        std::fs::write(dir.path().join(format!("f{number:02}")), "").unwrap();
    }
    own(dir.path());
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    let (mut names, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let mut arguments = json!({"target": "web", "path": root, "limit": 10});
        if !cursor.is_null() {
            arguments["cursor"] = cursor.clone();
        }
        let page = agent.call("sftp_list", arguments).await;
        let entries = page["result"]["entries"].as_array().unwrap_or_else(|| panic!("{page}"));
        names.extend(entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        cursor = page["result"]["next_cursor"].clone();
        assert_eq!(page["result"]["truncated"], !cursor.is_null(), "{page}");
        pages += 1;
        // What comes and goes before the cursor moves nothing.
        std::fs::write(dir.path().join("a"), "").unwrap();
        drop(std::fs::remove_file(dir.path().join("f03")));
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!((names, pages), ((0..25).map(|number| format!("f{number:02}")).collect::<Vec<_>>(), 3));
    world.verify();
}
