//! The commands that change something: approve, deny, revoke, break the glass, review.
//!
//! What is granted beyond one call is never made up here: the broker says what it may be at most, and the command only narrows that.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::approvals::path_segment;
use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, inert, json as print_json, say};
use crate::cli::{Failure, Remote};

/// Which request, and why.
#[derive(Debug, Args)]
pub(super) struct Because {
    #[command(flatten)]
    remote: Remote,
    /// `apr_…`
    id: String,
    /// Why; it goes on record. The agent is told why a call was denied.
    #[arg(long)]
    reason: String,
}

/// An approval, and how far it reaches.
#[derive(Debug, Args)]
pub(super) struct Approve {
    #[command(flatten)]
    remote: Remote,
    /// `apr_…`
    id: String,
    /// Why; required where the policy wants a justification.
    #[arg(long)]
    reason: Option<String>,
    /// Grant calls like it for so many minutes, instead of this one call; where a policy allows that, or access was asked for.
    #[arg(long)]
    minutes: Option<u32>,
    /// Grant so many calls.
    #[arg(long)]
    calls: Option<u32>,
    /// Grant this tool alone of those that are offered; again for each.
    #[arg(long = "tool", value_name = "NAME")]
    tools: Vec<String>,
    /// Grant it on this alone, as the request shows it, or on what lies below it; again for each.
    #[arg(long = "on", value_name = "PLACE")]
    on: Vec<String>,
    /// Grant up to this risk: read, write, destructive or admin.
    #[arg(long)]
    risk: Option<String>,
}

/// What somebody found of a broken glass.
#[derive(Debug, Args)]
pub(super) struct Review {
    #[command(flatten)]
    because: Because,
    /// It was right to break it.
    #[arg(long, conflicts_with = "wrong", required_unless_present = "wrong")]
    right: bool,
    /// It was not.
    #[arg(long)]
    wrong: bool,
}

/// Sends it, and says how the request stands then.
async fn send(remote: &Remote, id: &str, what: &str, body: Map<String, Value>) -> Result<(), Failure> {
    let path = format!("/approvals/{}/{what}", path_segment(id)?);
    let answer = Client::new(remote, Door::Inbox)?.post(&path, &[], &Value::Object(body)).await?;
    if remote.json {
        print_json(&answer);
    } else {
        say(&format!("{} is {}", inert(&cell(&answer, "/approval_id")), inert(&cell(&answer, "/state"))));
    }
    Ok(())
}

impl Because {
    async fn send(self, what: &str, mut body: Map<String, Value>) -> Result<(), Failure> {
        body.insert("reason".to_owned(), Value::from(self.reason));
        send(&self.remote, &self.id, what, body).await
    }

    pub(super) async fn deny(self) -> Result<(), Failure> {
        self.send("decision", Map::from_iter([("decision".to_owned(), json!("deny"))])).await
    }

    pub(super) async fn revoke(self) -> Result<(), Failure> {
        self.send("revoke", Map::new()).await
    }

    pub(super) async fn break_glass(self) -> Result<(), Failure> {
        self.send("break-glass", Map::new()).await
    }
}

impl Approve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { remote, id, reason, minutes, calls, tools, on, risk } = self;
        let mut body = Map::from_iter([("decision".to_owned(), json!("approve"))]);
        body.extend(reason.map(|reason| ("reason".to_owned(), Value::from(reason))));
        let list = |names: Vec<String>| (!names.is_empty()).then(|| json!(names));
        let narrower = [
            ("minutes", minutes.map(Value::from)),
            ("calls", calls.map(Value::from)),
            ("tools", list(tools)),
            ("on", list(on)),
            ("risk", risk.map(Value::from)),
        ];
        let narrower: Vec<(&str, Value)> = narrower.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        if !narrower.is_empty() {
            let path = format!("/approvals/{}", path_segment(&id)?);
            let shown = Client::new(&remote, Door::Inbox)?.get(&path, &[]).await?;
            let mut scope = shown.get("may_grant").cloned().unwrap_or_default();
            let Some(members) = scope.as_object_mut() else {
                return Err(Failure::Negative(
                    "no policy allows a grant beyond this very call: say --reason alone, and nothing of how far it reaches".to_owned(),
                ));
            };
            let says = |wanted: &str| narrower.iter().any(|(name, _)| *name == wanted);
            if cell(&shown, "/scope") == "-" && !(says("minutes") && says("calls")) {
                return Err(Failure::Negative("to grant more than this one call, say --minutes and --calls".to_owned()));
            }
            members.extend(narrower.into_iter().map(|(name, value)| (name.to_owned(), value)));
            body.insert("scope".to_owned(), scope);
            // Of what was looked at, and of nothing that came since.
            body.extend(shown.get("mark").map(|mark| ("mark".to_owned(), mark.clone())));
        }
        send(&remote, &id, "decision", body).await
    }
}

impl Review {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.because.send("review", Map::from_iter([("right".to_owned(), json!(self.right))])).await
    }
}
