//! The shape of a `[[channel]]`, and of an `[[approval_system]]`. A channel is of whichever kind, since which keys go together is told better than by "unknown field".

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Channel {
    pub(in crate::config) name: String,
    pub(in crate::config) kind: String,
    pub(in crate::config) events: Option<Vec<String>>,
    #[serde(default)]
    pub(in crate::config) environments: Vec<String>,
    pub(in crate::config) risk_at_least: Option<String>,
    pub(in crate::config) team: Option<String>,
    #[serde(default = "ten")]
    pub(in crate::config) timeout_s: u64,
    /// Where messages go: an address, or where it is kept.
    pub(in crate::config) url: Option<String>,
    #[serde(default)]
    pub(in crate::config) allow_http: bool,
    #[serde(default)]
    pub(in crate::config) allow_private: bool,
    /// A webhook's key, or two while it is being changed.
    #[serde(default)]
    pub(in crate::config) secrets: Vec<String>,
    #[serde(default)]
    pub(in crate::config) include_preview: bool,
    /// Slack's bot.
    pub(in crate::config) token: Option<String>,
    pub(in crate::config) channel: Option<String>,
    pub(in crate::config) api_url: Option<String>,
    /// Slack's buttons.
    pub(in crate::config) signing_secret: Option<String>,
    pub(in crate::config) team_id: Option<String>,
    pub(in crate::config) app_id: Option<String>,
    #[serde(default)]
    pub(in crate::config) users: BTreeMap<String, Spoken>,
    /// A mail server.
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) port: Option<u16>,
    pub(in crate::config) tls: Option<String>,
    pub(in crate::config) ca: Option<PathBuf>,
    pub(in crate::config) user: Option<String>,
    pub(in crate::config) password: Option<String>,
    pub(in crate::config) from: Option<String>,
    #[serde(default)]
    pub(in crate::config) to: Vec<String>,
    /// A program with its arguments.
    #[serde(default)]
    pub(in crate::config) argv: Vec<String>,
}

/// A company's own approval system.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct System {
    pub(in crate::config) name: String,
    pub(in crate::config) secrets: Vec<String>,
    /// For whom it may speak, by the name that it has for them.
    pub(in crate::config) humans: BTreeMap<String, Spoken>,
}

/// A human for whom a system may speak.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Spoken {
    pub(in crate::config) issuer: Option<String>,
    pub(in crate::config) id: String,
    pub(in crate::config) name: Option<String>,
    pub(in crate::config) person: Option<String>,
    #[serde(default)]
    pub(in crate::config) teams: Vec<String>,
}

const fn ten() -> u64 {
    10
}
