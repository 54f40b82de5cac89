//! `countersign token`: a token of the development issuer. A company uses its identity provider.

use std::path::PathBuf;

use clap::Args;
use secrecy::ExposeSecret;

use crate::cli::Failure;
use crate::cli::output::say;
use crate::clock::Clock;
use crate::identity::development::{DevelopmentIssuer, TokenRequest};
use crate::policy::terms::duration;

/// Mint a development token (for trying things out; a company uses its identity provider).
#[derive(Debug, Args)]
#[command(after_help = "\
An agent's token:   countersign token --subject alice --team support --agent demo-agent
A human's token:    countersign token --subject bob --team approvers --client countersign-cli --audience http://127.0.0.1:7300/inbox")]
pub(super) struct Token {
    /// The data folder with the issuer's key.
    #[arg(long, default_value = "countersign-data", value_name = "DIR")]
    data: PathBuf,
    /// The issuer's URL, as the configuration has it.
    #[arg(long, default_value = "http://127.0.0.1:7300/issuer")]
    issuer: String,
    /// The human.
    #[arg(long)]
    subject: String,
    /// The human's name.
    #[arg(long)]
    name: Option<String>,
    /// A team of the human; may stand several times.
    #[arg(long = "team")]
    teams: Vec<String>,
    /// The agent that acts for the human.
    #[arg(long)]
    agent: Option<String>,
    /// The client that the token was issued to.
    #[arg(long, default_value = "development")]
    client: String,
    /// Which door it opens.
    #[arg(long, default_value = "http://127.0.0.1:7300/mcp")]
    audience: String,
    /// Scopes, separated by spaces.
    #[arg(long, default_value = "mcp:read mcp:write")]
    scope: String,
    /// How long it is good: 90s, 30m, 24h; a week at most.
    #[arg(long, default_value = "8h")]
    lifetime: String,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        let lifetime = duration(&self.lifetime).and_then(|lifetime| chrono::TimeDelta::from_std(lifetime).ok());
        let lifetime = lifetime.ok_or_else(|| Failure::Usage("`--lifetime` must be a number of s, m or h, at most 168h".to_owned()))?;
        let issuer = DevelopmentIssuer::open(&self.data.join("issuer"), &self.issuer, Clock::system()).map_err(Failure::Usage)?;
        let token = issuer.mint(&TokenRequest {
            subject: self.subject,
            name: self.name,
            teams: self.teams,
            audience: self.audience,
            client: self.client,
            actor: self.agent,
            scope: self.scope,
            lifetime,
        });
        say(token.expose_secret());
        Ok(())
    }
}
