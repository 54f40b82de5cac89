//! The arguments of the SSH tools.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::common::{Common, arguments, is_false};
use crate::catalog::schema;

const fn mebibyte() -> u64 {
    1 << 20
}

const fn fifty() -> u32 {
    50
}

const fn hour() -> u64 {
    3_600
}

fn root() -> String {
    "root".to_owned()
}

/// A signal.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(inline)]
pub enum SignalName {
    /// Asks politely.
    Int,
    /// Asks.
    Term,
    /// Does not ask.
    Kill,
}

/// What is done with a unit.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum UnitAction {
    /// Reads its state and journal.
    Status,
    /// Starts it.
    Start,
    /// Stops it.
    Stop,
    /// Stops and starts it.
    Restart,
    /// Has it read its configuration.
    Reload,
}

arguments! {
    /// `ssh_exec`.
    Exec {
        /// The program and its arguments. There is no shell: ["systemctl", "is-active", "nginx"].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(schema_with = "schema::argv_alone")]
        pub argv: Option<Vec<String>>,
        /// Instead of argv: a text for the target's shell, where the target allows one.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 16384))]
        pub command: Option<String>,
        /// The folder in which it runs, absolute; the account's own otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 4096))]
        pub cwd: Option<String>,
        /// Variables that the target allows a caller to set.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub env: BTreeMap<String, String>,
        /// What it reads.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 262144))]
        pub stdin: Option<String>,
        /// It is stopped once it has written this much.
        #[serde(default = "mebibyte")]
        #[schemars(range(min = 1, max = 1048576))]
        pub max_output_bytes: u64,
    }
}

const fn four() -> u32 {
    4
}

const fn sixteen_kibibytes() -> u64 {
    16 * 1024
}

/// `ssh_multi_exec`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiExec {
    /// The hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 64)))]
    pub targets: Vec<String>,
    /// Instead of targets: a group of hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub group: Option<String>,
    /// The program and its arguments. There is no shell.
    #[schemars(schema_with = "schema::argv_alone")]
    pub argv: Vec<String>,
    /// The folder in which it runs, absolute; the account's own otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cwd: Option<String>,
    /// Hosts at once.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 16))]
    pub max_parallel: u32,
    /// Whether no host is begun after one on which it failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stop_on_error: bool,
    /// On each host it is stopped once it has written this much.
    #[serde(default = "sixteen_kibibytes")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_output_bytes: u64,
    /// On each host it is stopped after this many milliseconds; 30000 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 300000))]
    pub timeout_ms: Option<u64>,
    /// Why you need it; shown to humans as your own words, never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}

arguments! {
    /// `ssh_read`.
    Read {
        /// A program that only reads, such as `ls`, `grep`, `journalctl`.
        #[schemars(length(min = 1, max = 255))]
        pub program: String,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 64))]
        pub args: Vec<String>,
        /// The folder in which it runs, absolute; the account's own otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 4096))]
        pub cwd: Option<String>,
        /// It is stopped once it has written this much.
        #[serde(default = "mebibyte")]
        #[schemars(range(min = 1, max = 1048576))]
        pub max_output_bytes: u64,
    }
}

arguments! {
    /// `ssh_sudo`.
    Sudo {
        /// The program and its arguments. There is no shell.
        #[schemars(schema_with = "schema::argv_alone")]
        pub argv: Vec<String>,
        /// The account that it runs as.
        #[serde(default = "root")]
        #[schemars(length(min = 1, max = 32))]
        pub run_as: String,
        /// The folder in which it runs, absolute.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 4096))]
        pub cwd: Option<String>,
        /// What it reads.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 262144))]
        pub stdin: Option<String>,
        /// It is stopped once it has written this much.
        #[serde(default = "mebibyte")]
        #[schemars(range(min = 1, max = 1048576))]
        pub max_output_bytes: u64,
    }
}

arguments! {
    /// `ssh_signal`.
    Signal {
        /// The process.
        #[schemars(range(min = 1, max = 4194304))]
        pub pid: u32,
        /// The signal.
        pub signal: SignalName,
    }
}

arguments! {
    /// `ssh_service`.
    Service {
        /// The unit, such as `nginx.service`.
        #[schemars(length(min = 1, max = 255))]
        pub unit: String,
        /// What is done with it.
        pub action: UnitAction,
        /// Lines of its journal that come with the status.
        #[serde(default = "fifty")]
        #[schemars(range(min = 0, max = 1000))]
        pub journal_lines: u32,
    }
}

arguments! {
    /// `ssh_facts`.
    Facts {}
}

arguments! {
    /// `ssh_job_start`.
    JobStart {
        /// The program and its arguments. There is no shell.
        #[schemars(schema_with = "schema::argv_alone")]
        pub argv: Vec<String>,
        /// The folder in which it runs, absolute; the account's own otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 4096))]
        pub cwd: Option<String>,
        /// Variables that the target allows a caller to set.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub env: BTreeMap<String, String>,
        /// It is ended after this many seconds.
        #[serde(default = "hour")]
        #[schemars(range(min = 1, max = 86400))]
        pub max_runtime_s: u64,
    }
}

arguments! {
    /// `ssh_job_output`.
    JobOutput {
        /// The job's id.
        #[schemars(length(min = 26, max = 26))]
        pub job_id: String,
        /// Lines that were read already.
        #[serde(default)]
        #[schemars(range(max = 1000000000))]
        pub since_line: u64,
        /// At most so many lines.
        #[serde(default = "fifty")]
        #[schemars(range(min = 1, max = 10000))]
        pub lines: u32,
    }
}

arguments! {
    /// `ssh_job_stop`.
    JobStop {
        /// The job's id.
        #[schemars(length(min = 26, max = 26))]
        pub job_id: String,
    }
}

arguments! {
    /// `ssh_job_list`.
    JobList {}
}

arguments! {
    /// `ssh_session_open`.
    SessionOpen {
        /// A name of your own for it.
        #[schemars(regex(pattern = "^[a-z0-9_-]{1,40}$"))]
        pub session: String,
        /// The folder in which its programs run, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub cwd: String,
        /// Variables that the target allows a caller to set.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub env: BTreeMap<String, String>,
        /// It is forgotten when it has not been used for this many seconds.
        #[serde(default = "hour")]
        #[schemars(range(min = 60, max = 86400))]
        pub idle_ttl_s: u64,
    }
}

arguments! {
    /// `ssh_session_run`.
    SessionRun {
        /// The session's name.
        #[schemars(regex(pattern = "^[a-z0-9_-]{1,40}$"))]
        pub session: String,
        /// The program and its arguments. There is no shell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(schema_with = "schema::argv_alone")]
        pub argv: Option<Vec<String>>,
        /// Instead of argv: a text for the target's shell, where the target allows one.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 16384))]
        pub command: Option<String>,
        /// What it reads.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 262144))]
        pub stdin: Option<String>,
        /// It is stopped once it has written this much.
        #[serde(default = "mebibyte")]
        #[schemars(range(min = 1, max = 1048576))]
        pub max_output_bytes: u64,
    }
}

arguments! {
    /// `ssh_session_close`.
    SessionClose {
        /// The session's name.
        #[schemars(regex(pattern = "^[a-z0-9_-]{1,40}$"))]
        pub session: String,
    }
}
