//! `countersign agents`, `delegate` and `delegations`: which agents there are, and what you lend them.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::approvals::path_segment;
use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, json as print_json, say, table};
use crate::cli::{Failure, Remote};

/// Which agents there are; stop one at once, let it work again.
#[derive(Debug, Args)]
pub(super) struct Agents {
    #[command(subcommand)]
    action: AgentAction,
}

#[derive(Debug, Subcommand)]
enum AgentAction {
    /// All registered agents.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Register an agent; you become its owner.
    Register {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        agent: AgentName,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Stop an agent: its next call is refused, and so is every call that waits.
    Suspend {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        agent: AgentName,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Let a suspended agent work again.
    Resume {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        agent: AgentName,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct AgentName {
    /// The agent's id: `act.sub` or the client of its tokens.
    agent: String,
    /// The agent's issuer; yours if you leave it out.
    #[arg(long)]
    issuer: Option<String>,
}

impl AgentName {
    fn body(self) -> Map<String, Value> {
        let mut body = Map::from_iter([("agent".to_owned(), Value::from(self.agent))]);
        body.extend(self.issuer.map(|issuer| ("issuer".to_owned(), Value::from(issuer))));
        body
    }
}

/// Lend an agent what it may do in your name. It narrows what your tokens and the policies allow; it never widens it.
#[derive(Debug, Args)]
pub(super) struct Delegate {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    agent: AgentName,
    /// A target; once for each. All of them if you leave it out.
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// A tool; once for each. All of them if you leave it out.
    #[arg(long = "tool", value_name = "TOOL")]
    tools: Vec<String>,
    /// The highest risk: read, write, destructive or admin.
    #[arg(long, default_value = "read")]
    risk: String,
    /// For how long: 90s, 30m, 8h (a week at most).
    #[arg(long = "for", value_name = "TIME", default_value = "8h")]
    lasting: String,
}

/// What was lent; take it back.
#[derive(Debug, Args)]
pub(super) struct Delegations {
    #[command(subcommand)]
    action: DelegationAction,
}

#[derive(Debug, Subcommand)]
enum DelegationAction {
    /// What you lent.
    List {
        #[command(flatten)]
        remote: Remote,
        /// What everybody lent; for reviewers.
        #[arg(long)]
        all: bool,
    },
    /// Take a delegation back at once.
    Revoke {
        #[command(flatten)]
        remote: Remote,
        /// `dlg_…`
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl Agents {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            AgentAction::List { remote } => {
                let answer = Client::new(&remote, Door::Inbox)?.get("/agents", &[]).await?;
                let columns = [
                    ("AGENT", "/agent/id"),
                    ("STATE", "/state"),
                    ("OWNER", "/owner/id"),
                    ("DESCRIPTION", "/description"),
                    ("REASON", "/reason"),
                ];
                list(&remote, &answer, "/agents", &columns, "no agent is registered");
                Ok(())
            }
            AgentAction::Register { remote, agent, description } => {
                let mut body = agent.body();
                body.insert("description".to_owned(), Value::from(description));
                told(&remote, "/agents", &Value::Object(body), "/agent/id", "is registered").await
            }
            AgentAction::Suspend { remote, agent, reason } => state(&remote, agent, "suspended", reason).await,
            AgentAction::Resume { remote, agent, reason } => state(&remote, agent, "active", reason).await,
        }
    }
}

async fn state(remote: &Remote, agent: AgentName, state: &str, reason: String) -> Result<(), Failure> {
    let mut body = agent.body();
    body.insert("state".to_owned(), Value::from(state));
    body.insert("reason".to_owned(), Value::from(reason));
    told(remote, "/agents/state", &Value::Object(body), "/agent/id", &format!("is {state}")).await
}

impl Delegate {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let lasting = crate::policy::terms::duration(&self.lasting)
            .ok_or_else(|| Failure::Usage(format!("`--for {}` must be a number of s, m or h, at most 168h", self.lasting)))?;
        let mut body = self.agent.body();
        body.insert("targets".to_owned(), json!(self.targets));
        body.insert("tools".to_owned(), json!(self.tools));
        body.insert("highest_risk".to_owned(), Value::from(self.risk));
        body.insert("lasting_s".to_owned(), Value::from(lasting.as_secs()));
        told(&self.remote, "/delegations", &Value::Object(body), "/id", "is lent").await
    }
}

impl Delegations {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            DelegationAction::List { remote, all } => {
                let query: Vec<(&str, String)> = all.then(|| ("all", "true".to_owned())).into_iter().collect();
                let answer = Client::new(&remote, Door::Inbox)?.get("/delegations", &query).await?;
                let columns = [
                    ("ID", "/id"),
                    ("STATE", "/state"),
                    ("HUMAN", "/human/id"),
                    ("AGENT", "/agent/id"),
                    ("TARGETS", "/targets"),
                    ("TOOLS", "/tools"),
                    ("UP TO", "/highest_risk"),
                    ("UNTIL", "/until"),
                ];
                list(&remote, &answer, "/delegations", &columns, "nothing is lent");
                Ok(())
            }
            DelegationAction::Revoke { remote, id, reason } => {
                let path = format!("/delegations/{}/revoke", path_segment(&id)?);
                told(&remote, &path, &json!({ "reason": reason }), "/id", "is revoked").await
            }
        }
    }
}

/// Posts, and says what became of it.
async fn told(remote: &Remote, path: &str, body: &Value, named: &str, became: &str) -> Result<(), Failure> {
    let answer = Client::new(remote, Door::Inbox)?.post(path, &[], body).await?;
    if remote.json {
        print_json(&answer);
    } else {
        say(&format!("{} {became}", crate::cli::output::inert(&cell(&answer, named))));
    }
    Ok(())
}

fn list(remote: &Remote, answer: &Value, member: &str, columns: &[(&str, &str)], none: &str) {
    if remote.json {
        print_json(answer);
        return;
    }
    let items = answer.pointer(member).and_then(Value::as_array).cloned().unwrap_or_default();
    if items.is_empty() {
        say(none);
        return;
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let shown = |item: &Value, pointer: &str| Some(cell(item, pointer)).filter(|text| !text.is_empty()).unwrap_or_else(|| "all".to_owned());
    let rows: Vec<Vec<String>> = items.iter().map(|item| columns.iter().map(|(_, pointer)| shown(item, pointer)).collect()).collect();
    table(&headings, &rows);
}
