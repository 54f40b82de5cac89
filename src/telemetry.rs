//! The operator's log: what the broker does, never what anybody said. Evidence is the ledger's business, not this one's.

use tracing_subscriber::EnvFilter;

/// Targets that are never logged: the driver prints statements, and the protocol layer calls every hang-up an error.
const SILENT: [&str; 3] = ["sqlx=off", "rmcp::service=off", "rmcp::transport=warn"];

/// Starts logging to standard error. `COUNTERSIGN_LOG` filters (default `info`); a line a JSON object if `json`.
pub fn start(json: bool) {
    let mut filter = EnvFilter::try_from_env("COUNTERSIGN_LOG").unwrap_or_else(|_| EnvFilter::new("warn,countersign=info"));
    for directive in SILENT {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Started twice only where a test starts several brokers in one process.
    let _started = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
}
