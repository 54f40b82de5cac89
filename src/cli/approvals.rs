//! `countersign approvals`: see what waits for a human, and decide it.

mod decide;
mod watch;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, inert, json as print_json, prompt, say, table, whole_table_lines};
use crate::cli::{Failure, Remote};

/// See and decide what waits for a human.
#[derive(Debug, Args)]
pub(super) struct Approvals {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What you may decide, and what is asked in your name.
    List {
        #[command(flatten)]
        remote: Remote,
        /// pending, approved, granted, denied, expired, spent, withdrawn, revoked or all.
        #[arg(long, default_value = "pending")]
        state: String,
        /// Those before this one: a list shows the newest 500.
        #[arg(long, value_name = "ID")]
        before: Option<String>,
    },
    /// One request: the exact call, what it touches, and what it would do.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// `apr_…`
        id: String,
    },
    /// What waits for you, as it comes and goes, until Ctrl-C.
    Watch(watch::Watch),
    /// Let exactly this call go ahead, once; with --minutes and --calls, several like it.
    Approve(decide::Approve),
    /// Refuse it; the agent is told why.
    Deny(decide::Because),
    /// Take back what was approved or granted and is not used up.
    Revoke(decide::Because),
    /// Let it go ahead at once, alone, where a policy trusts you with that; the owners are told, and somebody else reviews it.
    BreakGlass(decide::Because),
    /// How humans decide: how many requests each decided, how fast, and which broken glass waits for a review.
    Summary {
        #[command(flatten)]
        remote: Remote,
    },
    /// Say whether it was right that somebody broke the glass.
    Review(decide::Review),
}

impl Approvals {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::List { remote, state, before } => list(&remote, state, before).await,
            Action::Show { remote, id } => show(&remote, &id).await,
            Action::Watch(watch) => watch.run().await,
            Action::Approve(approve) => approve.run().await,
            Action::Deny(because) => because.deny().await,
            Action::Revoke(because) => because.revoke().await,
            Action::BreakGlass(because) => because.break_glass().await,
            Action::Summary { remote } => summary(&remote).await,
            Action::Review(review) => review.run().await,
        }
    }
}

async fn list(remote: &Remote, state: String, before: Option<String>) -> Result<(), Failure> {
    let query: Vec<(&str, String)> = [("state", Some(state)), ("before", before)].into_iter().filter_map(|(n, v)| Some((n, v?))).collect();
    let answer = Client::new(remote, Door::Inbox)?.get("/approvals", &query).await?;
    if remote.json {
        print_json(&answer);
        return Ok(());
    }
    let approvals = list_of(&answer, "/approvals");
    if approvals.is_empty() {
        say("nothing waits for you");
        return Ok(());
    }
    table(&HEADING, &approvals.iter().map(row).collect::<Vec<_>>());
    if let Some(oldest) = answer.get("before").and_then(Value::as_str) {
        prompt(&format!("there are older ones: --before {}", inert(oldest)));
    }
    Ok(())
}

async fn summary(remote: &Remote) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get("/approvals/summary", &[]).await?;
    if remote.json {
        print_json(&answer);
        return Ok(());
    }
    let columns = ["/id", "/issuer", "/approved", "/denied", "/median_s", "/under_10_s"];
    let rows: Vec<Vec<String>> =
        list_of(&answer, "/humans").iter().map(|human| columns.iter().map(|pointer| cell(human, pointer)).collect()).collect();
    table(&["HUMAN", "ISSUER", "APPROVED", "DENIED", "MEDIAN (S)", "UNDER 10 S"], &rows);
    for id in list_of(&answer, "/glass_to_review") {
        say(&format!("to review: the glass was broken for {}", inert(id.as_str().unwrap_or_default())));
    }
    Ok(())
}

const HEADING: [&str; 9] = ["ID", "STATE", "RISK", "HUMAN", "AGENT", "ALIKE", "TARGET", "STATEMENT", "EXPIRES"];

/// A request as a row of a table.
fn row(approval: &Value) -> Vec<String> {
    let what = if approval.pointer("/operation/statement").is_some() { "/operation/statement" } else { "/touches" };
    ["/approval_id", "/state", "/risk", "/human/id", "/agent/id", "/alike", "/target/name", what, "/expires_at"]
        .iter()
        .map(|pointer| cell(approval, pointer))
        .collect()
}

async fn show(remote: &Remote, id: &str) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get(&format!("/approvals/{}", path_segment(id)?), &[]).await?;
    if remote.json {
        print_json(&answer);
    } else {
        describe(&answer);
    }
    Ok(())
}

/// A request as an approver reads it: what the broker describes, section by section, and nothing of this command's own picking.
fn describe(approval: &Value) {
    say(&format!("{} is {}", inert(&cell(approval, "/approval_id")), inert(&cell(approval, "/state"))));
    for section in list_of(approval, "/shown/sections") {
        say(&format!("\n{}", inert(&cell(&section, "/title"))));
        for part in list_of(&section, "/parts") {
            describe_part(&part);
        }
        for note in list_of(&section, "/notes") {
            say(&format!("  ! {}", inert(note.as_str().unwrap_or_default())));
        }
    }
}

fn describe_part(part: &Value) {
    let label = inert(&cell(part, "/label"));
    if let Some(text) = part.pointer("/text").and_then(Value::as_str) {
        say(&format!("  {label:<16} {}", inert(text)));
    } else if let Some(block) = part.pointer("/block").and_then(Value::as_str) {
        say(&format!("  {label}:"));
        for line in block.split('\n') {
            say(&format!("  | {}", inert(line)));
        }
    } else {
        say(&format!("  {label}:"));
        let heading: Vec<String> = list_of(part, "/heading").iter().map(|title| inert(title.as_str().unwrap_or_default())).collect();
        let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> =
            list_of(part, "/rows").iter().map(|row| (0..heading.len()).map(|index| cell(row, &format!("/{index}"))).collect()).collect();
        for line in whole_table_lines(&heading, &rows) {
            say(&format!("  | {line}"));
        }
    }
}

fn list_of(value: &Value, pointer: &str) -> Vec<Value> {
    value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// An id as it may stand in a path.
pub(super) fn path_segment(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(id)
    } else {
        Err(Failure::Usage(format!("`{}` is no id", inert(id))))
    }
}
