//! `countersign serve`: the broker, until interrupted.

use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::broker::{Broker, Settings};
use crate::cli::Failure;
use crate::cli::output::say;
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

/// Run the broker from a configuration file, until interrupted.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration.
    #[arg(long, default_value = "countersign.toml", value_name = "FILE")]
    config: PathBuf,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let clock = Clock::system();
        let config = Config::read(&self.config, &clock)
            .map_err(|problems| Failure::Usage(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        telemetry::start(config.log_json);
        Running::start(config.settings, clock).await?.until_interrupted().await
    }
}

/// A broker that holds its data and its port, and has not said so yet.
pub(super) struct Running {
    broker: Broker,
    scheme: &'static str,
}

impl Running {
    /// Starts a broker: from here on the data folder is this process's alone.
    pub(super) async fn start(settings: Settings, clock: Clock) -> Result<Self, Failure> {
        let listen = settings.server.listen;
        let scheme = if settings.server.transport.tls.is_some() { "https" } else { "http" };
        let listener =
            TcpListener::bind(listen).await.map_err(|error| Failure::Unreachable(format!("failed to listen on `{listen}`: {error}")))?;
        let broker = Broker::start(settings, listener, clock).await.map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self { broker, scheme })
    }

    /// Says that it is ready, and drains when interrupted.
    pub(super) async fn until_interrupted(self) -> Result<(), Failure> {
        let interrupted = interrupted();
        say(&format!("ready {}://{}/mcp", self.scheme, self.broker.address()));
        interrupted.await;
        self.broker.stop().await.map_err(|error| Failure::Unreachable(format!("the server failed: {error}")))
    }
}

/// Fires once the process is interrupted or terminated. Listens from the moment it is made: whoever reads `ready` may interrupt at once.
fn interrupted() -> impl Future<Output = ()> {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let once = async |signal: std::io::Result<Signal>| match signal {
        Ok(mut signal) => signal.recv().await,
        Err(_) => std::future::pending().await,
    };
    async move {
        tokio::select! {
            _ = once(interrupt) => {}
            _ = once(terminate) => {}
        }
    }
}
