//! What an agent may do about approvals: look, wait, withdraw, and ask for access to come. None of these tools decides anything.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Catalog;
use crate::catalog::arguments::Nothing;
use crate::catalog::parse::{Parsed, Refused, read};
use crate::id::ApprovalId;
use crate::operation::Risk;
use crate::operation::local::{Access, AccessTool, Local};
use crate::refusal::{Code, Refusal};

/// `approval_status`, `approval_withdraw`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalOf {
    /// The id from an `approval_pending` answer: `apr_` and 32 hexadecimal digits.
    #[schemars(regex(pattern = "^apr_[0-9a-f]{32}$"))]
    pub approval_id: String,
}

/// `approval_wait`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalWait {
    /// The id from an `approval_pending` answer: `apr_` and 32 hexadecimal digits.
    #[schemars(regex(pattern = "^apr_[0-9a-f]{32}$"))]
    pub approval_id: String,
    /// Wait at most so many seconds for a decision.
    #[serde(default = "wait")]
    #[schemars(range(min = 0, max = 240))]
    pub max_wait_s: u64,
}

const fn wait() -> u64 {
    30
}

/// How risky a call may be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum HighestRisk {
    /// Changes nothing.
    Read,
    /// Adds or changes data within named bounds.
    Write,
    /// Can lose data.
    Destructive,
    /// Changes who may do what, or runs code.
    Admin,
}

/// `request_access`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestAccess {
    /// The target's name, from list_targets.
    pub target: String,
    /// The tools that you will call.
    #[schemars(length(min = 1, max = 16))]
    pub tools: Vec<String>,
    /// What you will touch there, as narrow as you can: `public.orders`, `/srv/app/releases`, a program's name. None = anything on the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 500)))]
    pub on: Vec<String>,
    /// The highest risk of these calls.
    pub risk: HighestRisk,
    /// For so many minutes from the decision.
    #[schemars(range(min = 1, max = 10080))]
    pub minutes: u32,
    /// For so many calls.
    #[schemars(range(min = 1, max = 10000))]
    pub calls: u32,
    /// Why you need it; shown to the approver as your own words, never trusted.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
}

fn approval(text: &str) -> Result<ApprovalId, Refused> {
    ApprovalId::parse(text).map_err(|error| (Refusal::new(Code::InvalidArguments).detail(format!("`approval_id` is {error}")), None))
}

impl Catalog {
    pub(super) fn approval_status(&self, value: Value) -> Result<Parsed, Refused> {
        let (read, arguments) = read::<ApprovalOf>(value)?;
        let status = Local::ApprovalStatus { approval: approval(&read.approval_id)? };
        self.local(status, (Nothing { reason: None }, arguments), Duration::ZERO)
    }

    pub(super) fn approval_wait(&self, value: Value) -> Result<Parsed, Refused> {
        let (read, arguments) = read::<ApprovalWait>(value)?;
        let wait = Duration::from_secs(read.max_wait_s);
        let waiting = Local::ApprovalWait { approval: approval(&read.approval_id)?, wait };
        self.local(waiting, (Nothing { reason: None }, arguments), wait)
    }

    pub(super) fn approval_withdraw(&self, value: Value) -> Result<Parsed, Refused> {
        let (read, arguments) = read::<ApprovalOf>(value)?;
        let withdraw = Local::ApprovalWithdraw { approval: approval(&read.approval_id)? };
        self.local(withdraw, (Nothing { reason: None }, arguments), Duration::ZERO)
    }

    /// The tools must be of the target's kind; whether the caller may know of them, the policy says when it is asked what it would demand.
    pub(super) fn request_access(&self, value: Value) -> Result<Parsed, Refused> {
        let (wanted, arguments) = read::<RequestAccess>(value)?;
        let target = self.target(&wanted.target)?;
        let tool = |name: &String| {
            let known = self.listings.iter().find(|listing| listing.name == *name);
            let fits = known.filter(|listing| listing.targets.iter().any(|of| of.name == target.facts.name));
            let hash = self.tools.get(name).map(|tool| tool.facts.schema_hash.clone()).unwrap_or_default();
            fits.map(|listing| AccessTool { name: name.clone(), kind: listing.kind, verb: listing.verb, schema_hash: hash }).ok_or_else(
                || {
                    let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
                    (
                        Refusal::new(Code::InvalidArguments).detail(format!("`{shown}` is no tool for this target")),
                        Some(target.facts.clone()),
                    )
                },
            )
        };
        let risk = match wanted.risk {
            HighestRisk::Read => Risk::Read,
            HighestRisk::Write => Risk::Write,
            HighestRisk::Destructive => Risk::Destructive,
            HighestRisk::Admin => Risk::Admin,
        };
        let access = Access {
            tools: wanted.tools.iter().map(tool).collect::<Result<_, _>>()?,
            target: wanted.target,
            on: wanted.on,
            risk,
            minutes: wanted.minutes,
            calls: wanted.calls,
        };
        self.local(Local::RequestAccess(access), (Nothing { reason: Some(wanted.reason) }, arguments), Duration::ZERO)
    }
}
