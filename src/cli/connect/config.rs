//! The configuration that each desktop client wants, as its own documentation has it (docs/clients.md says where it goes and links the pages).
//!
//! Never a token: what is printed here ends in files that are shared, backed up and committed.

use std::path::Path;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::cli::login::At;

/// A client whose configuration can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// Claude Code (`.mcp.json`) and Claude Desktop (`claude_desktop_config.json`, stdio alone).
    Claude,
    /// Codex (`~/.codex/config.toml`).
    Codex,
    /// Cursor (`~/.cursor/mcp.json`).
    Cursor,
    /// Visual Studio Code (`.vscode/mcp.json`).
    Vscode,
    /// Gemini CLI (`~/.gemini/settings.json`).
    Gemini,
}

/// How the client reaches the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    /// By starting `countersign connect`.
    Stdio,
    /// By its own HTTP and OAuth.
    Http,
}

/// Codex gives up a call after a minute unless told otherwise; a human may need longer. A little more than the broker's own longest hold.
const CODEX_TOOL_TIMEOUT_S: u32 = 300;
/// The first start may wait for a human to sign in.
const CODEX_STARTUP_TIMEOUT_S: u32 = 120;

/// What is to be configured.
pub(super) struct Snippet<'a> {
    pub(super) broker: &'a str,
    pub(super) token_file: Option<&'a Path>,
    pub(super) at: &'a At,
}

impl Snippet<'_> {
    /// The text for a client.
    pub(super) fn of(&self, client: Client, transport: Transport) -> Result<String, Failure> {
        let server = match transport {
            Transport::Stdio => self.stdio(client)?,
            Transport::Http => self.http(client)?,
        };
        let within = |name: &str| json!({ name: { "countersign": server } });
        let failed = |error: &dyn std::fmt::Display| Failure::Usage(format!("the configuration could not be written: {error}"));
        match client {
            Client::Codex => toml::to_string(&within("mcp_servers")).map_err(|error| failed(&error)),
            Client::Vscode => serde_json::to_string_pretty(&within("servers")).map_err(|error| failed(&error)),
            Client::Claude | Client::Cursor | Client::Gemini => {
                serde_json::to_string_pretty(&within("mcpServers")).map_err(|error| failed(&error))
            }
        }
    }

    /// This very program, by its whole path: a desktop client does not have the shell's search path.
    fn stdio(&self, client: Client) -> Result<Value, Failure> {
        let unknown = |error: std::io::Error| Failure::Unreachable(format!("failed to find the path of this program: {error}"));
        let program = std::env::current_exe().map_err(unknown)?;
        let mut arguments = vec!["connect".to_owned(), self.broker.to_owned()];
        if let Some(file) = self.token_file {
            let file = std::path::absolute(file).map_err(unknown)?;
            arguments.extend(["--token-file".to_owned(), file.display().to_string()]);
        }
        for (name, value) in [("--issuer", &self.at.issuer), ("--client-id", &self.at.client_id), ("--scope", &self.at.scope)] {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value.clone()]);
            }
        }
        let mut server = json!({ "command": program.display().to_string(), "args": arguments });
        match client {
            Client::Vscode => put(&mut server, "type", "stdio"),
            Client::Codex => {
                put(&mut server, "startup_timeout_sec", CODEX_STARTUP_TIMEOUT_S);
                put(&mut server, "tool_timeout_sec", CODEX_TOOL_TIMEOUT_S);
            }
            Client::Claude | Client::Cursor | Client::Gemini => {}
        }
        Ok(server)
    }

    fn http(&self, client: Client) -> Result<Value, Failure> {
        if self.token_file.is_some() {
            return Err(Failure::Usage("a token file goes with --transport stdio: no client reads one itself".to_owned()));
        }
        if self.at.scope.is_some() || self.at.issuer.is_some() {
            return Err(Failure::Usage("with --transport http the client chooses issuer and scope from the broker's metadata".to_owned()));
        }
        let url = format!("{}/mcp", self.broker);
        let mut server = match client {
            Client::Claude | Client::Vscode => json!({ "type": "http", "url": url }),
            Client::Codex => json!({ "url": url, "tool_timeout_sec": CODEX_TOOL_TIMEOUT_S }),
            Client::Cursor => json!({ "url": url }),
            Client::Gemini => json!({ "httpUrl": url }),
        };
        if let Some(id) = &self.at.client_id {
            match client {
                Client::Claude | Client::Vscode => put(&mut server, "oauth", json!({ "clientId": id })),
                Client::Codex => put(&mut server, "oauth", json!({ "client_id": id })),
                Client::Cursor => put(&mut server, "auth", json!({ "CLIENT_ID": id })),
                Client::Gemini => put(&mut server, "oauth", json!({ "enabled": true, "clientId": id })),
            }
        }
        Ok(server)
    }
}

fn put(server: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(members) = server.as_object_mut() {
        let _before: Option<Value> = Map::insert(members, name.to_owned(), value.into());
    }
}
