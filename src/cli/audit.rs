//! `countersign audit`: read the trail of a running broker. Every reading is itself recorded.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::approvals::path_segment;
use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, inert, json as print_json, say, table};
use crate::cli::{Failure, Remote};
use crate::ledger::tree::leaf_hash;
use crate::ledger::verify::{CHECKPOINTS, HASHES, LEAVES};

/// Read the trail of what agents did.
#[derive(Debug, Args)]
pub(super) struct Trail {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The newest entries.
    List {
        #[command(flatten)]
        remote: Remote,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One call whole: its entries, what was asked and what was answered.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// The call's id.
        call: String,
    },
    /// The recording of a call that ran a program, as asciicast v3: for `asciinema play`, or any player of such files.
    Recording {
        #[command(flatten)]
        remote: Remote,
        /// The call's id.
        call: String,
    },
    /// Entries that fit every filter.
    Search(Box<Search>),
    /// Write the whole log to a folder, for somebody who verifies it elsewhere. Payloads stay with the broker.
    Export {
        #[command(flatten)]
        remote: Remote,
        /// A folder that is not there yet.
        folder: PathBuf,
    },
    /// The signed head of the log: keep it, and give it to `verify --previous` later.
    Checkpoint {
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Args)]
struct Search {
    #[command(flatten)]
    remote: Remote,
    /// An agent's id.
    #[arg(long)]
    agent: Option<String>,
    /// A human's subject.
    #[arg(long)]
    human: Option<String>,
    /// A run, with its human and agent.
    #[arg(long)]
    run: Option<String>,
    /// A request for approval.
    #[arg(long)]
    approval: Option<String>,
    /// A type of entry, such as call.refused.
    #[arg(long)]
    kind: Option<String>,
    /// A tool.
    #[arg(long)]
    tool: Option<String>,
    /// A target.
    #[arg(long)]
    target: Option<String>,
    /// ok, error, denied, approval_pending, cancelled, unresolved, …
    #[arg(long)]
    status: Option<String>,
    /// This risk and above: read, write, destructive, admin.
    #[arg(long)]
    risk: Option<String>,
    /// From this time on (RFC 3339).
    #[arg(long)]
    after: Option<String>,
    /// Before this time.
    #[arg(long)]
    before: Option<String>,
    /// Below this index: the next page.
    #[arg(long)]
    below: Option<u64>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

impl Trail {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::List { remote, limit } => entries(&remote, vec![("limit", limit.to_string())]).await,
            Action::Search(search) => {
                let named = [
                    ("agent", search.agent),
                    ("human", search.human),
                    ("run", search.run),
                    ("approval", search.approval),
                    ("kind", search.kind),
                    ("tool", search.tool),
                    ("target", search.target),
                    ("status", search.status),
                    ("risk", search.risk),
                    ("after", search.after),
                    ("before", search.before),
                    ("below", search.below.map(|below| below.to_string())),
                    ("limit", Some(search.limit.to_string())),
                ];
                entries(&search.remote, named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()).await
            }
            Action::Show { remote, call } => show(&remote, &call).await,
            Action::Recording { remote, call } => recording(&remote, &call).await,
            Action::Export { remote, folder } => export(&remote, &folder).await,
            Action::Checkpoint { remote } => {
                let client = Client::new(&remote, Door::Inbox)?;
                let note = client.text("/audit/checkpoint").await?;
                say(note.trim_end());
                Ok(())
            }
        }
    }
}

async fn entries(remote: &Remote, query: Vec<(&str, String)>) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get("/audit/entries", &query).await?;
    if remote.json {
        print_json(&answer);
        return Ok(());
    }
    let entries = answer.pointer("/entries").and_then(Value::as_array).cloned().unwrap_or_default();
    print(&entries);
    Ok(())
}

fn print(entries: &[Value]) {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let status = cell(entry, "/leaf/res/status");
            let outcome = match cell(entry, "/leaf/res/code").as_str() {
                "-" if status == "-" => cell(entry, "/leaf/policy/decision"),
                "-" => status,
                code => format!("{status} {code}"),
            };
            let time: String = cell(entry, "/leaf/ts").chars().take(19).collect();
            vec![
                cell(entry, "/index"),
                time,
                cell(entry, "/leaf/t"),
                cell(entry, "/human"),
                cell(entry, "/agent"),
                cell(entry, "/leaf/tool/name"),
                match cell(entry, "/leaf/notice/channel").as_str() {
                    "-" => cell(entry, "/leaf/target/id"),
                    channel => format!("channel {channel}"),
                },
                outcome,
                cell(entry, "/leaf/call"),
            ]
        })
        .collect();
    table(&["#", "TIME (UTC)", "EVENT", "HUMAN", "AGENT", "TOOL", "TARGET", "OUTCOME", "CALL"], &rows);
}

/// As it was recorded, masked: what it holds was written by programs, so it goes to a file or a player and not into a table.
async fn recording(remote: &Remote, call: &str) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get(&format!("/audit/calls/{}", path_segment(call)?), &[]).await?;
    match answer.pointer("/payloads/recording").and_then(Value::as_str) {
        Some(recording) => {
            recording.lines().for_each(say);
            Ok(())
        }
        None => Err(Failure::Negative("this call has no recording: it ran no program".to_owned())),
    }
}

async fn show(remote: &Remote, call: &str) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get(&format!("/audit/calls/{}", path_segment(call)?), &[]).await?;
    if remote.json {
        print_json(&answer);
        return Ok(());
    }
    print(&answer.pointer("/entries").and_then(Value::as_array).cloned().unwrap_or_default());
    for (title, pointer) in [("asked", "/payloads/request"), ("answered", "/payloads/result")] {
        if let Some(payload) = answer.pointer(pointer) {
            say(&format!("\n{title}:"));
            for line in serde_json::to_string_pretty(payload).unwrap_or_default().lines() {
                say(&inert(line));
            }
        }
    }
    Ok(())
}

/// The head first, then the leaves that it is of: what is recorded meanwhile belongs to the next export.
async fn export(remote: &Remote, folder: &Path) -> Result<(), Failure> {
    let at = |error: std::io::Error| Failure::Unreachable(format!("failed to write to `{}`: {error}", folder.display()));
    let client = Client::new(remote, Door::Inbox)?;
    let (key, checkpoint) = (client.text("/audit/key").await?, client.text("/audit/checkpoint").await?);
    let size: u64 = checkpoint
        .lines()
        .nth(1)
        .and_then(|line| line.parse().ok())
        .ok_or_else(|| Failure::Negative("the broker's checkpoint has no size".to_owned()))?;
    std::fs::create_dir(folder).map_err(at)?;
    std::fs::write(folder.join("log.pub"), key).map_err(at)?;
    std::fs::write(folder.join("checkpoint"), checkpoint).map_err(at)?;
    let written = leaves(&client, folder, size).await?;
    checkpoints(&client, folder, size).await?;
    if remote.json {
        print_json(&serde_json::json!({ "folder": folder.display().to_string(), "leaves": written }));
    } else {
        say(&format!("{written} leaves are in `{0}`; verify them anywhere: countersign verify {0}", folder.display()));
    }
    Ok(())
}

/// A new file of an export, whole on the disk once `write` is done with it.
fn file(folder: &Path, name: &str) -> Result<BufWriter<std::fs::File>, Failure> {
    std::fs::File::create_new(folder.join(name)).map(BufWriter::new).map_err(|error| unwritten(folder, &error))
}

fn sync(folder: &Path, file: BufWriter<std::fs::File>) -> Result<(), Failure> {
    let flushed = file.into_inner().map_err(|error| unwritten(folder, &error.into_error()))?;
    flushed.sync_all().map_err(|error| unwritten(folder, &error))
}

fn unwritten(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::Unreachable(format!("failed to write to `{}`: {error}", folder.display()))
}

/// The leaves, and beside them the hash of each: a leaf that is changed later is named, not only missed.
async fn leaves(client: &Client, folder: &Path, size: u64) -> Result<u64, Failure> {
    let (mut leaves, mut hashes) = (file(folder, LEAVES)?, file(folder, HASHES)?);
    let mut written = 0;
    while written < size {
        let page = client.text(&format!("/audit/leaves?from={written}")).await?;
        let before = written;
        for leaf in page.lines().take(usize::try_from(size - written).unwrap_or(usize::MAX)) {
            let hash = hex::encode(leaf_hash(leaf.as_bytes()));
            writeln!(leaves, "{leaf}").and_then(|()| writeln!(hashes, "{hash}")).map_err(|error| unwritten(folder, &error))?;
            written += 1;
        }
        if written == before {
            return Err(Failure::Negative(format!("the broker has {written} leaves, and its checkpoint is of {size}")));
        }
    }
    sync(folder, leaves)?;
    sync(folder, hashes)?;
    Ok(written)
}

/// The checkpoints in between: they narrow down where a log with another root was changed.
async fn checkpoints(client: &Client, folder: &Path, size: u64) -> Result<(), Failure> {
    let mut kept = file(folder, CHECKPOINTS)?;
    let mut above = 0;
    loop {
        let page = client.text(&format!("/audit/checkpoints?above={above}")).await?;
        let before = above;
        for line in page.lines() {
            let note: String = serde_json::from_str(line).unwrap_or_default();
            let of: Option<u64> = note.lines().nth(1).and_then(|size| size.parse().ok());
            let of = of.ok_or_else(|| Failure::Negative("a checkpoint of the broker has no size".to_owned()))?;
            above = above.max(of);
            if of <= size {
                writeln!(kept, "{line}").map_err(|error| unwritten(folder, &error))?;
            }
        }
        if above == before || above >= size {
            return sync(folder, kept);
        }
    }
}
