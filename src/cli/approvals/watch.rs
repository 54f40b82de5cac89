//! `countersign approvals watch`: what waits for a human, as it comes and goes.
//!
//! It asks the broker at intervals for what has changed; while nothing has, nothing is shown and nothing is recorded. On a terminal the list is drawn
//! anew with each change; elsewhere each change is a line. It never decides anything.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::approvals::{HEADING, list_of, row};
use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, inert, prompt, say, table_lines};
use crate::cli::{Failure, Remote};
use crate::clock::{Clock, rfc3339};
use crate::inert::Inert;

/// Requests that are drawn at once.
const DRAWN_MAX: usize = 40;
/// Changes that stay below the list, and the longest of them, in characters.
const TOLD_MAX: usize = 5;
const TOLD_LONGEST: usize = 160;
/// Clears the screen, and begins at its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";
const BELL: &str = "\u{7}";

/// What waits for you, as it comes and goes, until Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    remote: Remote,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
    /// Ring the terminal's bell when a request comes.
    #[arg(long)]
    bell: bool,
}

/// What happened to a request: `requested`, `voted`, or the state that it came to.
struct Change {
    what: String,
    approval: Value,
}

/// What is known of the broker's list.
#[derive(Default)]
struct Known {
    tag: Option<String>,
    waiting: BTreeMap<String, Value>,
    /// In the broker's order.
    order: Vec<String>,
    /// There are more than it lists.
    is_cut: bool,
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => {
                ended.map_err(|error| Failure::Unreachable(format!("failed to wait for Ctrl-C: {error}")))
            }
            failed = self.watch() => failed,
        }
    }

    async fn watch(&self) -> Result<(), Failure> {
        let client = Client::new(&self.remote, Door::Inbox)?;
        let mut screen = Screen::new(self.remote.json);
        let mut known = Known::default();
        // A broker that was never there is a mistake in the address; one that was there may come back.
        let first = known.look(&client).await?;
        screen.show(&known, &first);
        loop {
            tokio::time::sleep(Duration::from_secs(self.every)).await;
            match known.look(&client).await {
                Ok(changes) => {
                    if self.bell && changes.iter().any(|change| change.what == "requested") {
                        ring();
                    }
                    let is_back = screen.trouble.take().is_some();
                    if is_back {
                        screen.say_plainly("the broker is back");
                    }
                    if is_back || !changes.is_empty() {
                        screen.show(&known, &changes);
                    }
                }
                Err(Failure::Unreachable(why)) => {
                    let trouble = format!("{}; looking again every {} s", inert(&why), self.every);
                    if screen.trouble.is_none() {
                        screen.say_plainly(&trouble);
                        screen.trouble = Some(trouble);
                        screen.show(&known, &[]);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

fn ring() {
    drop(write!(std::io::stderr(), "{BELL}"));
}

impl Known {
    /// Asks the broker; what has changed since. Nothing of it counts as known unless all of it could be had.
    async fn look(&mut self, client: &Client) -> Result<Vec<Change>, Failure> {
        let Some((answer, tag)) = client.get_changed("/approvals", self.tag.as_deref()).await? else { return Ok(Vec::new()) };
        let mut order = Vec::new();
        let mut waiting = BTreeMap::new();
        for approval in list_of(&answer, "/approvals").into_iter().filter(|approval| cell(approval, "/state") == "pending") {
            let id = cell(&approval, "/approval_id");
            order.push(id.clone());
            waiting.insert(id, approval);
        }
        let mut changes = Vec::new();
        for id in self.order.iter().filter(|id| !waiting.contains_key(*id)) {
            changes.extend(ended(client, id).await?);
        }
        for (id, approval) in order.iter().filter_map(|id| waiting.get_key_value(id)) {
            let what = match self.waiting.get(id) {
                None => "requested",
                Some(before) if before.get("votes") != approval.get("votes") => "voted",
                Some(_) => continue,
            };
            changes.push(Change { what: what.to_owned(), approval: approval.clone() });
        }
        let is_cut = answer.get("before").is_some_and(|before| !before.is_null());
        *self = Self { tag, waiting, order, is_cut };
        Ok(changes)
    }
}

/// What became of a request that waits no longer; nothing, if it still does and others have only crowded it out.
async fn ended(client: &Client, id: &str) -> Result<Option<Change>, Failure> {
    let approval = match client.get_changed(&format!("/approvals/{}", super::path_segment(id)?), None).await {
        Ok(answer) => answer.map(|(approval, _)| approval).unwrap_or_default(),
        // Whoever may no longer see it is told no more than that.
        Err(Failure::Negative(_)) => json!({ "approval_id": id, "state": "gone" }),
        Err(failure) => return Err(failure),
    };
    let what = cell(&approval, "/state");
    Ok((what != "pending").then_some(Change { what, approval }))
}

/// Where changes are shown.
struct Screen {
    form: Form,
    told: Vec<String>,
    trouble: Option<String>,
    clock: Clock,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Drawn,
    Lines,
    Json,
}

impl Screen {
    fn new(is_json: bool) -> Self {
        let form = if is_json {
            Form::Json
        } else if std::io::stdout().is_terminal() {
            Form::Drawn
        } else {
            Form::Lines
        };
        Self { form, told: Vec::new(), trouble: None, clock: Clock::system() }
    }

    /// What is no change of a request: on standard error, unless the drawing says it.
    fn say_plainly(&self, line: &str) {
        if self.form != Form::Drawn {
            prompt(line);
        }
    }

    fn show(&mut self, known: &Known, changes: &[Change]) {
        let at = rfc3339(self.clock.now());
        match self.form {
            Form::Json => {
                for Change { what, approval } in changes {
                    say(&json!({ "at": at, "change": what, "approval": approval }).to_string());
                }
            }
            Form::Lines => changes.iter().for_each(|change| say(&change.line(&at))),
            Form::Drawn => {
                let cut = |line: String| match (Inert { text: line, ..Inert::default() }).first(TOLD_LONGEST) {
                    (all, 0) => all.to_owned(),
                    (first, left) => format!("{first}… ({left} more)"),
                };
                self.told.extend(changes.iter().map(|change| cut(change.line(&at))));
                let old = self.told.len().saturating_sub(TOLD_MAX);
                self.told.drain(..old);
                self.draw(known);
            }
        }
    }

    fn draw(&self, known: &Known) {
        let mut lines = vec![match known.order.len() {
            many if known.is_cut => format!("more than {many} requests wait for you, these are the newest · Ctrl-C ends this"),
            0 => "nothing waits for you · Ctrl-C ends this".to_owned(),
            1 => "1 request waits for you · Ctrl-C ends this".to_owned(),
            many => format!("{many} requests wait for you · Ctrl-C ends this"),
        }];
        let rows: Vec<Vec<String>> = known.order.iter().filter_map(|id| known.waiting.get(id)).take(DRAWN_MAX).map(row).collect();
        if !rows.is_empty() {
            lines.push(String::new());
            lines.extend(table_lines(&HEADING, &rows));
        }
        if known.order.len() > DRAWN_MAX {
            lines.push(format!("and {} more: countersign approvals list", known.order.len() - DRAWN_MAX));
        }
        if !self.told.is_empty() {
            lines.push(String::new());
            lines.extend(self.told.iter().cloned());
        }
        lines.extend(self.trouble.iter().map(|trouble| format!("\n{trouble}")));
        say(&format!("{CLEAR}{}", lines.join("\n")));
    }
}

impl Change {
    fn line(&self, at: &str) -> String {
        let id = cell(&self.approval, "/approval_id");
        let rest = match self.what.as_str() {
            "requested" => row(&self.approval).into_iter().skip(2).collect::<Vec<_>>().join("  "),
            _ => list_of(&self.approval, "/votes")
                .last()
                .map(|vote| match cell(vote, "/reason").as_str() {
                    "-" => format!("by {}", cell(vote, "/by/id")),
                    reason => format!("by {}: {reason}", cell(vote, "/by/id")),
                })
                .unwrap_or_default(),
        };
        inert(format!("{at}  {}  {id}  {rest}", self.what).trim_end())
    }
}
