//! `countersign channels`: whom the broker tells of requests, whether that works, and what could not be told.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::approvals::path_segment;
use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, inert, json as print_json, say, table};
use crate::cli::{Failure, Remote};
use crate::clock::Clock;
use crate::config::Config;
use crate::notice::{Courier, Message};

/// Whom the broker tells of requests, whether that works, and what could not be told.
#[derive(Debug, Args)]
pub(super) struct Channels {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All channels, with what is due, was sent, or was given up.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Send a test message by a channel of a configuration, and say what came back. No broker needs to run.
    Test {
        /// The channel's name.
        name: String,
        /// The configuration.
        #[arg(long, default_value = "countersign.toml", value_name = "FILE")]
        config: PathBuf,
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// What was given up: nobody was told.
    Dead {
        #[command(flatten)]
        remote: Remote,
    },
    /// Tell once more what was given up.
    Retry {
        #[command(flatten)]
        remote: Remote,
        /// `ntc_…`
        id: String,
    },
}

impl Channels {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::List { remote } => {
                let columns = [
                    ("CHANNEL", "/name"),
                    ("KIND", "/kind"),
                    ("RISK FROM", "/risk_at_least"),
                    ("DUE", "/due"),
                    ("SENT", "/sent"),
                    ("DEAD", "/dead"),
                    ("TROUBLE", "/last_error"),
                ];
                list(&remote, "/channels", "/channels", &columns, "no channel is configured: nobody is told of requests").await
            }
            Action::Dead { remote } => {
                let columns = [
                    ("ID", "/notice_id"),
                    ("CHANNEL", "/channel"),
                    ("EVENT", "/event"),
                    ("APPROVAL", "/approval_id"),
                    ("SINCE", "/first_at"),
                    ("ATTEMPTS", "/attempts"),
                    ("WHY", "/last_error"),
                ];
                list(&remote, "/channels/dead", "/dead", &columns, "nothing was given up").await
            }
            Action::Retry { remote, id } => {
                let path = format!("/channels/dead/{}/retry", path_segment(&id)?);
                let answer = Client::new(&remote, Door::Inbox)?.post(&path, &[], &Value::Null).await?;
                if remote.json {
                    print_json(&answer);
                } else {
                    say(&format!("{} is due again", inert(&cell(&answer, "/notice_id"))));
                }
                Ok(())
            }
            Action::Test { name, config, json } => test(&name, &config, json).await,
        }
    }
}

async fn list(remote: &Remote, path: &str, pointer: &str, columns: &[(&str, &str)], none: &str) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.get(path, &[]).await?;
    if remote.json {
        print_json(&answer);
        return Ok(());
    }
    let found = answer.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    if found.is_empty() {
        say(none);
        return Ok(());
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let rows: Vec<Vec<String>> = found.iter().map(|row| columns.iter().map(|(_, pointer)| cell(row, pointer)).collect()).collect();
    table(&headings, &rows);
    Ok(())
}

async fn test(name: &str, config: &std::path::Path, json: bool) -> Result<(), Failure> {
    let clock = Clock::system();
    let settings = Config::read(config, &clock)
        .map_err(|problems| Failure::Usage(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?
        .settings;
    let channel = settings.notices.channels.iter().find(|channel| channel.name == name);
    let channel = channel.ok_or_else(|| Failure::Usage(format!("there is no channel `{}` in the configuration", inert(name))))?;
    let random = crate::id::random_128().map_err(|_| Failure::Unreachable("the system has no randomness to give".to_owned()))?;
    let courier = Courier::new(settings.credentials.vault).map_err(Failure::Unreachable)?;
    let message = Message::test(format!("ntc_{}", hex::encode(random)), name, clock.now(), settings.approval.url);
    let outcome = courier.send(channel, &message).await;
    if json {
        print_json(&match &outcome {
            Ok(said) => json!({ "ok": true, "channel": name, "notice_id": message.id, "answer": said }),
            Err(undelivered) => {
                json!({ "ok": false, "channel": name, "notice_id": message.id, "why": undelivered.why, "final": undelivered.is_final })
            }
        });
    }
    match outcome {
        Ok(said) if !json => say(&format!("delivered: {said}")),
        Ok(_) => {}
        Err(undelivered) => return Err(Failure::Negative(format!("not delivered: {}", undelivered.why))),
    }
    Ok(())
}
