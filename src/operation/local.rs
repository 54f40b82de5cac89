//! The broker's own tools: they go down the same path as every other call, and touch no target.
//!
//! None of them decides anything: an agent can look at an approval and wait for it, never grant it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::id::ApprovalId;
use crate::operation::Risk;

/// A call on the broker itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// The targets that this human and agent may use.
    ListTargets,
    /// Whose call this is, as the token and the policy see it.
    Whoami,
    /// How an approval stands.
    ApprovalStatus {
        /// Which.
        approval: ApprovalId,
    },
    /// How an approval stands once it is decided, or after the wait.
    ApprovalWait {
        /// Which.
        approval: ApprovalId,
        /// At most this long.
        wait: Duration,
    },
    /// An approval that is not wanted any more.
    ApprovalWithdraw {
        /// Which.
        approval: ApprovalId,
    },
    /// A grant for calls to come.
    RequestAccess(Access),
    /// The same call on several targets.
    Spread(Spread),
}

/// What an agent asks to be granted, for calls to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The tools, each with what the mildest call of it is judged by.
    pub tools: Vec<AccessTool>,
    /// The target.
    pub target: String,
    /// What on the target, as requests for approval show it; none = whatever is there.
    pub on: Vec<String>,
    /// The highest risk.
    pub risk: Risk,
    /// For so many minutes.
    pub minutes: u32,
    /// For so many calls.
    pub calls: u32,
}

/// A tool that access is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTool {
    /// Its name.
    pub name: String,
    /// `sql`, `kube`, `ssh`.
    pub kind: &'static str,
    /// The verb of its mildest call.
    pub verb: &'static str,
    /// SHA-256 of its definition, hexadecimal.
    pub schema_hash: String,
}

/// One tool's calls on several targets: each is a call of its own, which goes down the whole path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The tool of each.
    pub tool: &'static str,
    /// The target of each, and its arguments.
    pub calls: Vec<(String, Map<String, Value>)>,
    /// So many at once.
    pub parallel: usize,
    /// Whether none is begun after one that failed.
    pub stop_on_error: bool,
    /// Whether the targets were named one by one: of a group, those that the caller may not know of are left out.
    pub by_name: bool,
}

impl Local {
    /// The verb, which is the tool's name.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::ListTargets => "list_targets",
            Self::Whoami => "whoami",
            Self::ApprovalStatus { .. } => "approval_status",
            Self::ApprovalWait { .. } => "approval_wait",
            Self::ApprovalWithdraw { .. } => "approval_withdraw",
            Self::RequestAccess(_) => "request_access",
            Self::Spread(_) => "ssh_multi_exec",
        }
    }
}
