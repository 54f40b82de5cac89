//! `countersign connect`: an MCP server on standard input and output that relays to a broker's `/mcp`, for clients without HTTP or OAuth.
//!
//! A relay and not a second implementation: what a client says reaches the broker byte for byte, and the other way round, in every revision of
//! the protocol. What it adds is the token, the headers that the body already implies, and an answer where the broker gave none. Nothing but
//! the protocol is ever written to standard output.

mod call;
mod config;
mod events;
mod lines;
mod message;
mod relay;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use crate::cli::Failure;
use crate::cli::client::read_token;
use crate::cli::connect::call::Upstream;
use crate::cli::connect::config::{Snippet, Transport};
use crate::cli::login::{At, How, sign_in};
use crate::cli::oauth::session::Credentials;
use crate::cli::oauth::{Door, broker};
use crate::cli::output::{complain, prompt, say};

/// Be an MCP server on standard input and output that relays to a broker, for clients without HTTP or OAuth.
#[derive(Debug, Args)]
#[command(after_help = "\
The client starts this command itself; `--print-config` prints what its configuration needs for that. Without a token file the human signs in once, at
the first start or before it with `countersign login --door mcp`; the sign-in is renewed as long as the issuer allows.")]
pub(super) struct Connect {
    /// The broker's address.
    url: String,
    /// A file with the access token, read again for every request; without it, the sign-in of `countersign login --door mcp`.
    #[arg(long, env = "COUNTERSIGN_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print a client's configuration, and nothing else.
    #[arg(long, value_enum, value_name = "CLIENT")]
    print_config: Option<config::Client>,
    /// How the printed configuration reaches the broker: through this command, or by the client's own HTTP and OAuth.
    #[arg(long, value_enum, default_value = "stdio", requires = "print_config")]
    transport: Transport,
    #[command(flatten)]
    at: At,
}

impl Connect {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let broker = broker(&self.url)?;
        if let Some(client) = self.print_config {
            let snippet = Snippet { broker: &broker, token_file: self.token_file.as_deref(), at: &self.at };
            say(snippet.of(client, self.transport)?.trim_end());
            return Ok(());
        }
        let credentials = Credentials::new(&broker, Door::Mcp, self.token_file)?;
        let (signed_in, signing_in) = watch::channel(true);
        match &credentials {
            // A client that shows what a server says at its start shows this; later it would be an error of some call.
            Credentials::File(path) => drop(read_token(path)?),
            Credentials::Login(session) => match session.kept()? {
                None => {
                    signed_in.send_replace(false);
                    let (broker, at) = (broker.clone(), self.at.clone());
                    drop(tokio::spawn(async move { first_sign_in(&broker, &at, &signed_in).await }));
                }
                Some(login) => {
                    if let Some(wanted) = self.at.client_id.filter(|wanted| *wanted != login.client) {
                        return Err(Failure::Usage(format!(
                            "you are signed in to {broker} as the client `{}`: run `{} --client-id {wanted}`",
                            login.client,
                            Door::Mcp.login(&broker)
                        )));
                    }
                }
            },
        }
        let upstream = Upstream::new(&broker, credentials, signing_in)?;
        relay::run(Arc::new(upstream)).await;
        Ok(())
    }
}

/// Signs the human in while the client's first requests wait. If it fails, each of them says what to do.
async fn first_sign_in(broker: &str, at: &At, signed_in: &watch::Sender<bool>) {
    match sign_in(broker, Door::Mcp, How::Either, at).await {
        Ok(_) => prompt(&format!("signed in to {broker} ({})", Door::Mcp.as_str())),
        Err(failure) => complain(failure.message()),
    }
    signed_in.send_replace(true);
}
