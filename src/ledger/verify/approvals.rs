//! What the leaves say of approvals: none is used before it was given, after it was taken back or has run out, by another call than it was given for, twice,
//! or, where it was given for a scope, more often or further than that.

use std::collections::HashMap;

use serde_json::Value;

use crate::ledger::verify::{Problem, problem};

/// What is known of a request for approval so far.
#[derive(Debug, Default)]
struct Asked {
    commit: Option<String>,
    /// From the leaf that gave it to the one that took it back.
    is_given: bool,
    until: Option<String>,
    scope: Option<Value>,
    spent_at: Option<u64>,
    uses: u64,
}

/// All requests.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    asked: HashMap<String, Asked>,
}

impl Approvals {
    /// Takes the next leaf.
    pub(super) fn leaf(&mut self, index: u64, kind: &str, leaf: &Value, problems: &mut Vec<Problem>) {
        let text = |pointer: &str| leaf.pointer(pointer).and_then(Value::as_str);
        let Some(id) = text("/appr/id") else {
            if kind == "call.admitted" && !matches!(text("/policy/decision"), Some("allowed" | "preview")) {
                problem(problems, Some(index), "call.not_allowed", "it was admitted without being allowed or approved");
            }
            return;
        };
        let asked = self.asked.entry(id.to_owned()).or_default();
        match kind {
            "approval.requested" => asked.commit = text("/appr/commit").map(ToOwned::to_owned),
            "approval.decided" | "approval.glass_broken" if matches!(text("/res/state"), Some("approved" | "granted")) => {
                asked.is_given = true;
                asked.until = text("/until").map(ToOwned::to_owned);
                asked.scope = leaf.pointer("/appr/scope").cloned();
            }
            "approval.revoked" | "approval.withdrawn" | "approval.expired" => asked.is_given = false,
            "call.admitted" => admitted(asked, id, index, leaf, problems),
            _ => {}
        }
    }
}

/// A call that stands on an approval.
fn admitted(asked: &mut Asked, id: &str, index: u64, leaf: &Value, problems: &mut Vec<Problem>) {
    let at = Some(index);
    let text = |pointer: &str| leaf.pointer(pointer).and_then(Value::as_str);
    if text("/policy/decision") != Some("approved") || !asked.is_given {
        problem(problems, at, "approval.missing", format!("it stands on the approval `{id}`, which no leaf before it grants"));
    }
    if asked.commit.as_deref() != text("/appr/commit") {
        problem(problems, at, "approval.other_call", format!("the approval `{id}` was asked for another call"));
    }
    // Leaves of one time are in order, and a use is judged at its commit: whatever came at the end or after it came too late.
    let is_late = asked.until.as_deref().zip(text("/ts")).is_none_or(|(until, ts)| ts >= until);
    let run_out = || format!("the approval `{id}` had run out or was used up");
    let Some(scope) = &asked.scope else {
        if is_late && asked.is_given {
            problem(problems, at, "approval.late", run_out());
        }
        if let Some(before) = asked.spent_at.replace(index) {
            problem(problems, at, "approval.twice", format!("the approval `{id}` was used at leaf {before} already"));
        }
        return;
    };
    asked.uses += 1;
    let is_too_much = scope.pointer("/calls").and_then(Value::as_u64).is_none_or(|calls| asked.uses > calls);
    if is_late || is_too_much {
        problem(problems, at, if is_late { "approval.late" } else { "approval.twice" }, run_out());
    }
    let tools = scope.pointer("/tools").and_then(Value::as_array);
    let is_its_tool = tools.is_some_and(|tools| tools.iter().any(|tool| tool.as_str() == text("/tool/name")));
    if !is_its_tool || scope.pointer("/target").and_then(Value::as_str) != text("/target/id") {
        problem(problems, at, "approval.other_call", format!("the approval `{id}` does not reach this tool or target"));
    }
}
