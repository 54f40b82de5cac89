//! Asking for access: a grant within a scope, for calls that were not made yet; and how many requests of one kind an agent may make.
//!
//! A request for access goes the way of every request, and by it nothing has run: each call that uses the grant is judged by itself when it comes.

use chrono::TimeDelta;
use serde_json::json;

use crate::approval::{Asking, Desk, Electorate, Filed, Scope, Shown, State, View};
use crate::call::TargetFacts;
use crate::clock::Timestamp;
use crate::id::ApprovalId;
use crate::ledger::canonical;
use crate::operation::local::Access;
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// Near-identical requests are counted over this long.
const ALIKE_FOR: TimeDelta = TimeDelta::minutes(10);
/// Requests of one human and agent that are looked at for that.
const ALIKE_LOOK: usize = 500;

impl Desk {
    /// Files a request for access.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it. Inner: the policy allows no such grant, or the agent has asked too often.
    pub async fn file_access(
        &self,
        asking: Asking<'_>,
        access: &Access,
        target: &TargetFacts,
        electorate: &dyn Electorate,
    ) -> Result<Result<ApprovalId, Refusal>, Unavailable> {
        let scope = Scope {
            tools: access.tools.iter().map(|tool| tool.name.clone()).collect(),
            target: access.target.clone(),
            on: access.on.iter().cloned().collect(),
            risk: access.risk.as_str().to_owned(),
            minutes: access.minutes,
            calls: access.calls,
        };
        let refuse = |why: String| Ok(Err(Refusal::new(Code::InvalidArguments).detail(why)));
        if let Err(why) = scope.check() {
            return refuse(why);
        }
        let Some(most) = asking.terms.grant else {
            return Ok(Err(Refusal::new(Code::PolicyDenied).detail("every call of this kind must be approved by itself")));
        };
        if !scope.is_within_most(most) {
            return refuse(format!("the policy allows {} minutes and {} calls at most", most.minutes, most.calls));
        }
        self.enter(asking, Shown::default(), electorate, |filed| {
            filed.target = Some((target.name.clone(), target.engine.to_owned(), target.environment.clone()));
            filed.risk = access.risk.level();
            filed.touches = access.on.clone();
            // In the order of the scope's tools, which is by name.
            let mut tools: Vec<_> = access.tools.iter().collect();
            tools.sort_by(|a, b| a.name.cmp(&b.name));
            tools.dedup_by(|a, b| a.name == b.name);
            filed.scope_verbs = tools.iter().map(|tool| tool.verb.to_owned()).collect();
            filed.operation = scope.show();
            filed.scope = Some(scope);
        })
        .await
    }

    /// What near-identical requests have in common: whose they are, the tool, the target, the verb and what is touched, but not with which values.
    pub(super) fn like(&self, filed: &Filed) -> Result<String, Unavailable> {
        let target = filed.target.as_ref().map(|(name, ..)| name);
        let common = json!({
            "human": [filed.human.issuer, filed.human.id], "agent": [filed.agent.issuer, filed.agent.id],
            "tool": filed.tool, "target": target, "verb": filed.verb, "touches": filed.touches,
        });
        let bytes = canonical(&common).map_err(Unavailable::because)?;
        Ok(hex::encode(self.ledger.keys().digest(&bytes)).chars().take(16).collect())
    }

    /// Whether so many like it were made of late that nobody decides them with care any more. Approved ones do not count.
    pub(super) async fn are_too_alike(&self, group: &str, like: &str, now: Timestamp) -> Result<bool, Unavailable> {
        let states = [State::Pending, State::Denied, State::Expired, State::Withdrawn].map(State::as_str);
        let rows = self.ledger.by_group(Filed::KIND, group, &states, ALIKE_LOOK).await?;
        let alike = rows.iter().filter_map(View::from_row).filter(|view| view.filed.like == like && view.filed.asked_at + ALIKE_FOR > now);
        Ok(u64::try_from(alike.count()).unwrap_or(u64::MAX) >= self.settings.alike_max)
    }
}
