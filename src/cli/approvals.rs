//! `countersign approvals`: see what waits for a human, and decide it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, inert, json as print_json, say, table};
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
        /// pending, approved, denied, expired, spent or all.
        #[arg(long, default_value = "pending")]
        state: String,
    },
    /// One request: the exact call, what it touches, and what it would do.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// `apr_…`
        id: String,
    },
    /// Let exactly this call go ahead, once.
    Approve {
        #[command(flatten)]
        remote: Remote,
        /// `apr_…`
        id: String,
        /// Why; required where the policy wants a justification.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Refuse it.
    Deny {
        #[command(flatten)]
        remote: Remote,
        /// `apr_…`
        id: String,
        /// Why; the agent is told.
        #[arg(long)]
        reason: String,
    },
}

impl Approvals {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::List { remote, state } => list(&remote, state).await,
            Action::Show { remote, id } => show(&remote, &id).await,
            Action::Approve { remote, id, reason } => decide(&remote, &id, "approve", reason).await,
            Action::Deny { remote, id, reason } => decide(&remote, &id, "deny", Some(reason)).await,
        }
    }
}

async fn list(remote: &Remote, state: String) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get("/approvals", &[("state", state)]).await?;
    if remote.json {
        print_json(&answer);
        return Ok(());
    }
    let approvals = answer.pointer("/approvals").and_then(Value::as_array).cloned().unwrap_or_default();
    if approvals.is_empty() {
        say("nothing waits for you");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = approvals
        .iter()
        .map(|approval| {
            let what = if approval.pointer("/operation/statement").is_some() { "/operation/statement" } else { "/touches" };
            ["/approval_id", "/state", "/risk", "/human/id", "/agent/id", "/target/name", what, "/expires_at"]
                .iter()
                .map(|pointer| cell(approval, pointer))
                .collect()
        })
        .collect();
    table(&["ID", "STATE", "RISK", "HUMAN", "AGENT", "TARGET", "STATEMENT", "EXPIRES"], &rows);
    Ok(())
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

/// A request as an approver reads it. The agent's own reason stands apart: it is the only part that the agent wrote freely.
fn describe(approval: &Value) {
    for (title, pointer) in [
        ("approval", "/approval_id"),
        ("state", "/state"),
        ("human", "/human/id"),
        ("agent", "/agent/id"),
        ("tool", "/tool"),
        ("target", "/target/name"),
        ("risk", "/risk"),
        ("touches", "/touches"),
        ("policies", "/policies"),
        ("expires", "/expires_at"),
        ("statement", "/operation/statement"),
        ("parameters", "/operation/parameters"),
        ("would touch", "/preview/would_touch_rows"),
    ] {
        // What goes on a cluster has no statement: it is shown as it is, below.
        if approval.pointer(pointer).is_some_and(|value| !value.is_null()) {
            say(&format!("{title:<12} {}", inert(&cell(approval, pointer))));
        }
    }
    if approval.pointer("/operation/statement").is_none() {
        operation(approval);
    }
    let columns = approval.pointer("/preview/columns").and_then(Value::as_array).cloned().unwrap_or_default();
    let rows = approval.pointer("/preview/rows").and_then(Value::as_array).cloned().unwrap_or_default();
    if !rows.is_empty() {
        say("\nas it is now (masked, up to five rows):");
        let heading: Vec<String> = columns.iter().map(|column| inert(&cell(column, "/name"))).collect();
        let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| (0..heading.len()).map(|index| cell(row, &format!("/{index}"))).collect()).collect();
        table(&heading, &rows);
    }
    let reason = cell(approval, "/reason_of_the_agent_unverified");
    if reason != "-" {
        say(&format!("\nthe agent says (unverified): {}", inert(&reason)));
    }
}

/// What would go to a cluster or host, and what is said there of it.
fn operation(approval: &Value) {
    say("\nthe operation:");
    let shown = approval.pointer("/operation").map(|operation| serde_json::to_string_pretty(operation).unwrap_or_default());
    for line in shown.unwrap_or_default().lines() {
        say(&inert(line));
    }
    let list = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |object: &Value| {
        let of = |part: &str| object.get(part).and_then(Value::as_str).map(|text| format!("{text}/")).unwrap_or_default();
        inert(&format!("{} {}{}", cell(object, "/kind"), of("namespace"), cell(object, "/name")))
    };
    for object in list(approval, "/preview/objects") {
        say(&format!("\n{} would be {}:", name(object.get("object").unwrap_or(&Value::Null)), inert(&cell(&object, "/action"))));
        let rows: Vec<Vec<String>> = list(&object, "/changes")
            .iter()
            .map(|change| ["/path", "/before", "/after"].iter().map(|pointer| cell(change, pointer)).collect())
            .collect();
        table(&["FIELD", "BEFORE", "AFTER"], &rows);
    }
    for file in list(approval, "/preview/files") {
        let is_there = file.pointer("/exists").and_then(Value::as_bool).unwrap_or_default();
        let about = ["/type", "/size", "/mode", "/modified", "/sha256"].map(|pointer| cell(&file, pointer)).join("  ");
        say(&format!("\n{} {}", inert(&cell(&file, "/path")), if is_there { inert(&about) } else { "is not there yet".to_owned() }));
        for line in file.get("holds").and_then(Value::as_str).unwrap_or_default().lines() {
            say(&format!("  | {}", inert(line)));
        }
    }
    for (pointer, what) in [("/preview/would_delete", "deleted"), ("/preview/would_evict", "evicted")] {
        for object in list(approval, pointer) {
            say(&format!("would be {what}: {}", name(object.get("object").unwrap_or(&Value::Null))));
        }
    }
}

async fn decide(remote: &Remote, id: &str, decision: &str, reason: Option<String>) -> Result<(), Failure> {
    let body = reason.map_or_else(|| json!({ "decision": decision }), |reason| json!({ "decision": decision, "reason": reason }));
    let answer = Client::new(remote, Door::Inbox)?.post(&format!("/approvals/{}/decision", path_segment(id)?), &[], &body).await?;
    if remote.json {
        print_json(&answer);
    } else {
        say(&format!("{} is {}", inert(&cell(&answer, "/approval_id")), cell(&answer, "/state")));
    }
    Ok(())
}

/// An id as it may stand in a path.
pub(super) fn path_segment(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(id)
    } else {
        Err(Failure::Usage(format!("`{}` is no id", inert(id))))
    }
}
