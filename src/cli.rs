//! The command line: what each command is, and how it ends.
//!
//! `serve`, `quickstart`, `check`, `channels test`, `token` and `verify` work on files of this machine; every other command is an HTTP client of a running broker,
//! in the name of a human who signed in, so that reading the trail is authorised and recorded like everything else. Output is a table for people and `--json` for machines.

mod approvals;
mod audit;
mod channels;
mod check;
mod client;
mod connect;
mod login;
mod oauth;
mod output;
mod quickstart;
mod registry;
mod serve;
mod ssh_ca;
mod token;
mod tools;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// How a command failed; the exit code says which kind.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was found is not in order (`verify`, `check`), or the broker refused: 1.
    Negative(String),
    /// The configuration or the arguments are wrong: 2.
    Usage(String),
    /// A file, the network or the broker could not be reached: 3.
    Unreachable(String),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Negative(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Negative(message) | Self::Usage(message) | Self::Unreachable(message) => message,
        }
    }
}

/// The broker between AI agents and your systems: typed database, Kubernetes and SSH tools over MCP, every call in a human's name, judged by policy, held
/// for approval when risky, masked, and recorded in a ledger that verifies offline.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 done; 1 the answer is no (refused, not in order, verification failed); 2 wrong arguments or configuration; 3 a file, the network or the broker could not be reached.

Start here:
  countersign quickstart                  a broker with a seeded shop, tokens and policies, on this machine
  countersign approvals list --token-file countersign-data/approver.token
  countersign verify countersign-data     does the trail hold? (works with the broker stopped)

With your company's broker:
  countersign login --url https://countersign.example.com
  countersign connect https://countersign.example.com --print-config claude"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker from a configuration file, until interrupted.
    Serve(serve::Serve),
    /// Run a broker on embedded defaults: a seeded shop, a development issuer, tokens for an agent and an approver.
    Quickstart(quickstart::Quickstart),
    /// Look for everything that is wrong in a configuration, its tools and its policies; each with file and line.
    Check(check::Check),
    /// Mint a development token (for trying things out; a company uses its identity provider).
    Token(token::Token),
    /// See and decide what waits for a human.
    Approvals(approvals::Approvals),
    /// See whom the broker tells of requests, try a channel, and see what could not be told.
    Channels(channels::Channels),
    /// See which agents there are; stop one at once, let it work again.
    Agents(registry::Agents),
    /// Lend an agent what it may do in your name, and for how long.
    Delegate(registry::Delegate),
    /// See what was lent, and take it back.
    Delegations(registry::Delegations),
    /// Read the trail of what agents did.
    Audit(audit::Trail),
    /// Verify a ledger offline: every leaf, the tree, the signatures, the payloads, the order of events.
    Verify(verify::Verify),
    /// See the tools that a token's agent may use.
    Tools(tools::Tools),
    /// Sign in to a broker at its issuer; the commands that reach it then need no token file.
    Login(login::Login),
    /// Forget a sign-in, and have the issuer end it.
    Logout(login::Logout),
    /// Say who the broker takes you for.
    Whoami(login::Whoami),
    /// Be an MCP server on standard input and output that relays to a broker, for clients without HTTP or OAuth.
    Connect(connect::Connect),
    /// Set up the authority that signs certificates for hosts.
    SshCa(ssh_ca::SshCa),
}

/// How to reach a running broker.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The broker's address.
    #[arg(long, env = "COUNTERSIGN_URL", default_value = URL)]
    pub(crate) url: String,
    /// A file with the access token; without it, the sign-in of `countersign login`.
    #[arg(long, env = "COUNTERSIGN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One provider for TLS everywhere; a second call can only mean that it is installed already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::Unreachable(format!("failed to start the runtime: {error}")))),
    };
    ended(runtime.block_on(async {
        match arguments.command {
            Command::Serve(command) => command.run().await,
            Command::Quickstart(command) => command.run().await,
            Command::Check(command) => command.run(),
            Command::Token(command) => command.run(),
            Command::Approvals(command) => command.run().await,
            Command::Channels(command) => command.run().await,
            Command::Agents(command) => command.run().await,
            Command::Delegate(command) => command.run().await,
            Command::Delegations(command) => command.run().await,
            Command::Audit(command) => command.run().await,
            Command::Verify(command) => command.run(),
            Command::Tools(command) => command.run().await,
            Command::Login(command) => command.run().await,
            Command::Logout(command) => command.run().await,
            Command::Whoami(command) => command.run().await,
            Command::Connect(command) => command.run().await,
            Command::SshCa(command) => command.run(),
        }
    }))
}

fn ended(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(failure.message());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Where the commands look for a broker unless told otherwise.
pub(crate) const URL: &str = "http://127.0.0.1:7300";

/// The address that quickstart and serve listen on unless told otherwise.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7300);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
