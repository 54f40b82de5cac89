//! `countersign tools`: the tools that a token's agent may use, as the broker lists them to it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::oauth::Door;
use crate::cli::output::{cell, json as print_json, table};
use crate::cli::{Failure, Remote};

/// See the tools that a token's agent may use.
#[derive(Debug, Args)]
pub(super) struct Tools {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them.
    List {
        #[command(flatten)]
        remote: Remote,
    },
}

/// The revision that this client speaks.
pub(super) const REVISION: &str = "2026-07-28";

impl Tools {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Action::List { remote } = self.action;
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": { "name": "countersign-cli", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
        let headers = [("accept", "application/json, text/event-stream"), ("mcp-protocol-version", REVISION), ("mcp-method", "tools/list")];
        let answer = Client::new(&remote, Door::Mcp)?.post("/mcp", &headers, &body).await?;
        if let Some(error) = answer.pointer("/error/message").and_then(Value::as_str) {
            return Err(Failure::Negative(error.to_owned()));
        }
        let tools = answer.pointer("/result/tools").cloned().unwrap_or_default();
        if remote.json {
            print_json(&tools);
            return Ok(());
        }
        let rows: Vec<Vec<String>> = tools
            .as_array()
            .into_iter()
            .flatten()
            .map(|tool| {
                let hint = |name: &str| tool.pointer(&format!("/annotations/{name}")).and_then(Value::as_bool).unwrap_or(false);
                let class = if hint("readOnlyHint") {
                    "read"
                } else if hint("destructiveHint") {
                    "destructive"
                } else {
                    "write"
                };
                vec![cell(tool, "/name"), class.to_owned(), cell(tool, "/description")]
            })
            .collect();
        table(&["TOOL", "CLASS", "DESCRIPTION"], &rows);
        Ok(())
    }
}
