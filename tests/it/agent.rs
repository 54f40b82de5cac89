//! The example agent, run as a user runs it, against the product's binary; a human approves while it waits.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::{Process, free_port};

#[tokio::test]
async fn the_example_works_through_an_approval() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path(), free_port());
    let example = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().unwrap().join("examples/agent");
    let agent = Command::new(example)
        .args(["--url", &format!("{}/mcp", broker.base), "--token-file"])
        .arg(dir.path().join("agent.token"))
        .arg("--reviewer-token-file")
        .arg(dir.path().join("approver.token"))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let token = std::fs::read_to_string(dir.path().join("approver.token")).unwrap();
    let http = reqwest::Client::new();
    let mut approved = false;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let pending: Value =
            http.get(format!("{}/approvals", broker.base)).bearer_auth(token.trim()).send().await.unwrap().json().await.unwrap();
        if let Some(id) = pending["approvals"][0]["approval_id"].as_str() {
            assert_eq!(pending["approvals"][0]["preview"]["would_touch_rows"], 1);
            let url = format!("{}/approvals/{id}/decision", broker.base);
            let decided = http.post(url).bearer_auth(token.trim()).json(&json!({"decision": "approve"})).send().await.unwrap();
            approved = decided.status().is_success();
            break;
        }
    }
    assert!(approved, "the agent never asked");
    let output = agent.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for says in ["policy.denied", "done: 1 row changed", "masked:", "**** **** ****", "call.completed", "approval.requested"] {
        assert!(text.contains(says), "{says} is missing in:\n{text}");
    }
    assert!(!text.contains("@example.com"), "{text}");
    broker.kill();
    assert!(countersign::ledger::verify::verify(dir.path(), &Default::default()).unwrap().ok);
}
