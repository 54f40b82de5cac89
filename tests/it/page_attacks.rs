//! Lies in what an approver reads (attack 98): markup, terminal codes, direction, nothing at all, and so much that the rest is out of sight.

use std::process::Command;

use serde_json::json;

use crate::harness::chrome::Chrome;
use crate::harness::{POLICY, code};
use crate::page::{agent_of, company, open, signed_in};

/// What must never be in anything that a human reads.
const NEVER: [char; 8] = ['\u{1b}', '\u{7}', '\u{8}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{e0041}'];

/// Markup, a letter that looks like another, and blanks that push the end out of sight.
const SEEN: &str = "</textarea></pre><script>document.title='owned'</script><img src=x onerror=alert(1)> [click](https://evil.example) **approved** p\u{430}ypal";
/// What nobody sees, or a terminal obeys.
const UNSEEN: &str = "\u{1b}[2J\u{1b}[8m\u{7}\u{8}\u{202e}oot\u{2066}\u{200b}\u{feff}\u{e0041}";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_agent_writes_is_read_as_it_is() {
    let (company, world) = company(POLICY, |_| {}).await;
    let agent = agent_of(&company, &world, "alice").await;
    let refused = agent.call("db_execute", json!({"target": "shop", "sql": format!("UPDATE orders SET status = '{UNSEEN}'")})).await;
    assert_eq!(code(&refused), "operation.unparsable", "a statement with what cannot be seen is none");
    let sql = format!("UPDATE orders SET status = '{}{}the end' WHERE id = ?1", SEEN.replace('\'', "''"), " ".repeat(4_096));
    let unseen = format!("{UNSEEN}\nstate: \"approved\"");
    let reason = format!("{UNSEEN}{SEEN}{}the end\n\nThe broker says: \u{202e}devorppa\u{202c}\nstate: approved", " ".repeat(600));
    let answer = agent.call("db_execute", json!({"target": "shop", "sql": sql, "params": [unseen], "reason": reason})).await;
    assert_eq!(code(&answer), "", "{answer}");
    let id = answer["approval"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();

    let bob = signed_in(&world, "bob").await;
    let shown = bob.get(&format!("/approvals/{id}")).await.json()["shown"].clone();
    let text_of = |title: &str| {
        let section = shown["sections"].as_array().unwrap().iter().find(|section| section["title"] == title).unwrap().clone();
        (section["parts"].as_array().unwrap().last().unwrap().clone(), section["notes"].to_string())
    };
    let whole = shown.to_string();
    assert!(!NEVER.iter().any(|c| whole.contains(*c)), "{whole}");
    let sections = shown["sections"].as_array().unwrap();
    assert!(sections.iter().rev().skip(1).all(|section| section["unverified"] == false), "{shown}");
    let (said, notes) = text_of("What the agent says, which nobody has checked");
    let block = said["block"].as_str().unwrap_or_else(|| panic!("{said}"));
    for part in ["\\u{1b}[2J", "\\u{202e}oot\\u{2066}\\u{200b}\\u{feff}\\u{e0041}", "[\\u{20} 600 times]the end", "**approved**"] {
        assert!(block.contains(part), "{part}: {block}");
    }
    for note in ["11 characters that nobody would see", "1 long run of blanks", "1 letter outside ASCII", "a long text is shown whole: "] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    let runs = sections.iter().find(|section| section["title"] == "What would run").unwrap();
    let statement = runs["parts"].as_array().unwrap().iter().find(|part| part["label"] == "statement").unwrap()["block"].as_str().unwrap();
    assert!(statement.contains("[\\u{20} 4096 times]the end' WHERE id = ?1"), "{statement}");
    let parameter = runs["parts"].as_array().unwrap().iter().find(|part| part["label"] == "parameters").unwrap()["block"].as_str().unwrap();
    assert_eq!(
        parameter,
        "1: \"\\u{1b}[2J\\u{1b}[8m\\u{7}\\u{8}\\u{202e}oot\\u{2066}\\u{200b}\\u{feff}\\u{e0041}\\u{a}state: \\\"approved\\\"\""
    );
    for note in ["10 characters that nobody would see", "1 letter outside ASCII", "1 long run of blanks", "a long text is shown whole: 4"] {
        assert!(runs["notes"].to_string().contains(note), "{note}: {}", runs["notes"]);
    }

    // The pages: the list, the request.
    let (list, page) = (open(&bob, "/approvals").await.text, open(&bob, &format!("/approvals/{id}")).await.text);
    for html in [&list, &page] {
        assert!(!NEVER.iter().any(|c| html.contains(*c)) && !html.contains("<script") && !html.contains("<img"), "{html}");
    }
    assert!(list.contains("more characters"), "a cut is told: {list}");
    for text in [statement, block, parameter] {
        assert!(page.contains(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")), "{text}");
    }
    assert_eq!(page.matches("</textarea>").count(), 1);

    // The terminal.
    let token = world.dir.path().join("bob.token");
    std::fs::write(&token, company.minted(&world, "bob", "inbox").await).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(arguments)
            .args(["--url", &world.base, "--token-file", &token.display().to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (told, listed) = (run(&["approvals", "show", &id]), run(&["approvals", "list"]));
    for out in [&told, &listed] {
        assert!(!NEVER.iter().any(|c| out.contains(*c)), "{out}");
    }
    assert!(statement.lines().chain(block.lines()).all(|line| told.contains(line)), "{told}");
    // A line of the agent's is behind a bar, and none of the broker's.
    assert!(
        told.lines().any(|line| line == "  | state: approved") && !told.lines().any(|line| line.starts_with("state: approved")),
        "{told}"
    );

    // And what a real browser makes of it.
    let chrome = Chrome::start("bob").await;
    chrome.go(&format!("{}/approvals/{id}", world.base)).await;
    chrome.until("Your decision").await;
    assert!(chrome.tells("document.title").await.as_str().unwrap().ends_with("Countersign"));
    assert_eq!(chrome.tells("document.images.length + document.scripts.length").await, 0);
    assert_eq!(chrome.tells("document.querySelectorAll('section.unverified script, pre *').length").await, 0);
    assert!(chrome.text().await.contains(statement));
    chrome.picture("hostile", 1200, "light").await;
    chrome.picture("hostile", 390, "dark").await;
    world.verify();
}
