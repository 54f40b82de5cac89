//! What programs write and files hold comes back masked, in whatever pieces it comes: over chunks, over both streams, between the colours of a terminal; in
//! the answer, in the record and in the recording.

use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, own, playground};
use crate::harness::{Agent, World};
use crate::kube::{agent, approved};
use crate::ssh::world;

const SECRETS: [&str; 4] = ["4111111111111111", "hunter2hunter2", "AKIAIOSFODNN7EXAMPLE", "MIIEvQIBADANBg"];

/// The text as a reader of it would put it together: without blanks, colours and what cannot be seen.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut chars = text
        .replace("\\u001b", "\u{1b}")
        .replace("\\r", "")
        .replace("\\n", "")
        .replace("\\u00ad", "")
        .chars()
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
        } else if !c.is_whitespace() && c != '-' && c != '\u{ad}' && c != '\u{200b}' {
            bare.push(c);
        }
    }
    bare
}

async fn check(world: &World, answer: &Value, what: &str) {
    let (_, whole) = world.approver().get(&format!("/audit/calls/{}", answer["call_id"].as_str().unwrap())).await;
    for text in [answer.to_string(), whole["payloads"]["recording"].to_string(), whole["payloads"]["result"].to_string()] {
        for secret in SECRETS {
            assert!(!bare(&text).contains(secret), "{what}: {secret} in {text}");
        }
    }
}

async fn wrote(world: &World, agent: &Agent, script: &str) -> Value {
    let (_, answer) = approved(world, agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", format!("eval :; {script}")]})).await;
    assert_eq!(answer["status"], "ok", "{script}: {answer}");
    check(world, &answer, script).await;
    answer
}

#[tokio::test]
async fn a_secret_is_masked_however_it_comes() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    for script in [
        "echo 4111 1111 1111 1111",
        "printf '4111 1111 '; sleep 0.2; printf '1111 1111'",
        "printf '4111 1111 '; sleep 1.2; printf '1111 1111'",
        "printf '4111\\033[31m 1111 \\033[0m1111 1111'",
        "printf '4111-1111-\\302\\2551111-1111'",
        "printf 'pass'; sleep 1.1; printf 'word=hunter2'; sleep 1.1; printf 'hunter2\\n'",
        "echo AWS_SECRET_ACCESS_KEY=hunter2hunter2; echo 'password: hunter2hunter2'",
        "printf AKIAIOSF; sleep 1.1; printf ODNN7EXAMPLE",
        "echo -----BEGIN PRIVATE KEY-----; sleep 1.1; echo MIIEvQIBADANBgkqhkiG9w0BAQEFAASC; sleep 1.1; echo -----END PRIVATE KEY-----; echo after",
    ] {
        wrote(&world, &agent, script).await;
    }
    // Half of it on each stream, in the order in which they came.
    let answer = wrote(&world, &agent, "printf '4111 1111 '; sleep 0.3; printf '1111 1111' >&2").await;
    let shown = format!("{}{}", answer["result"]["stdout"].as_str().unwrap(), answer["result"]["stderr"].as_str().unwrap());
    assert!(!bare(&shown).contains("41111111"), "{answer}");
    let (_, whole) = world.approver().get(&format!("/audit/calls/{}", answer["call_id"].as_str().unwrap())).await;
    let recording = whole["payloads"]["recording"].as_str().unwrap();
    assert!(
        recording.contains("[redacted:card]") && !recording.contains("4111 1111 \"") && !recording.contains("\"1111 1111"),
        "{recording}"
    );
    // What comes after a secret is still told.
    let answer = wrote(&world, &agent, "echo 4111 1111 1111 1111; echo after").await;
    assert!(answer["result"]["stdout"].as_str().unwrap().contains("after"), "{answer}");
    world.verify();
}

#[tokio::test]
async fn what_is_no_text_is_described() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    let answer = wrote(&world, &agent, "head -c 1000 /bin/true").await;
    assert!(answer["result"]["stdout"].as_str().unwrap().contains("bytes that are no text"), "{answer}");
    std::fs::copy("/bin/true", dir.path().join("binary")).unwrap();
    std::fs::write(dir.path().join("mixed"), b"\0\0AKIAIOSFODNN7EXAMPLE\0\0").unwrap();
    own(dir.path());
    let read =
        |name: &str, encoding: &str| json!({"target": "web", "path": format!("{root}/{name}"), "encoding": encoding, "length": 4_000});
    let text = agent.call("sftp_read", read("binary", "utf8")).await;
    assert!(text["result"]["content"].as_str().unwrap().contains("bytes that are no text"), "{text}");
    let base64 = agent.call("sftp_read", read("binary", "base64")).await;
    assert_eq!(base64["result"]["encoding"], "base64", "{base64}");
    let hidden = agent.call("sftp_read", read("mixed", "base64")).await;
    assert_eq!(hidden["result"]["encoding"], "none", "{hidden}");
}

#[tokio::test]
async fn a_file_read_in_small_parts_tells_no_more_than_read_whole() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    let text = "name: web\ncard: 4111 1111 1111 1111\npassword: hunter2hunter2\nkey: AKIAIOSFODNN7EXAMPLE\nlast line\n";
    std::fs::write(dir.path().join("f"), text).unwrap();
    own(dir.path());
    let mut parts = String::new();
    for offset in (0..text.len()).step_by(5) {
        let part = agent.call("sftp_read", json!({"target": "web", "path": format!("{root}/f"), "offset": offset, "length": 5})).await;
        let content = part["result"]["content"].as_str().unwrap_or_else(|| panic!("{part}"));
        for secret in SECRETS {
            assert!(!bare(content).contains(secret), "{offset}: {content}");
        }
        parts.push_str(content);
    }
    for secret in ["41111111", "hunter2", "AKIAIOSF", "EXAMPLE"] {
        assert!(!bare(&parts).contains(secret), "{secret}: {parts}");
    }
    for length in [1, 7, 30] {
        let encoded = agent
            .call("sftp_read", json!({"target": "web", "path": format!("{root}/f"), "offset": 16, "length": length, "encoding": "base64"}))
            .await;
        assert!(!encoded.to_string().contains("MTExMSAxMTEx"), "{encoded}");
    }
    let whole = agent.call("sftp_read", json!({"target": "web", "path": format!("{root}/f")})).await;
    assert!(whole["result"]["content"].as_str().unwrap().contains("last line") && whole["masked"].is_array(), "{whole}");
    world.verify();
}

/// What is written is kept as evidence without its secrets, and what an approver is shown is what there is, masked.
#[tokio::test]
async fn what_is_written_is_recorded_without_its_secrets() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    let world = world(&sshd, &[&root]).await;
    let agent = agent(&world);
    std::fs::write(dir.path().join("f"), "password=hunter2hunter2\n").unwrap();
    own(dir.path());
    let arguments = json!({"target": "web", "path": format!("{root}/f"), "content": "token: AKIAIOSFODNN7EXAMPLE\n", "overwrite": true});
    let (shown, answer) = approved(&world, &agent, "sftp_write", arguments).await;
    assert_eq!(answer["status"], "ok", "{answer}");
    assert!(!shown["preview"].to_string().contains("hunter2hunter2"), "{shown}");
    assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "token: AKIAIOSFODNN7EXAMPLE\n");
    let (_, whole) = world.approver().get(&format!("/audit/calls/{}", answer["call_id"].as_str().unwrap())).await;
    assert!(!whole["payloads"]["request"].to_string().contains("AKIAIOSFODNN7EXAMPLE"), "{whole}");
    assert!(whole["payloads"]["request"]["arguments_digest"].is_string(), "{whole}");
    world.verify();
}
