//! Asking for access: a grant within a scope, for calls that were not made yet; and how many requests of one kind an agent may make.
//!
//! A request for access goes the way of every request, and by it nothing has run: each call that uses the grant is judged by itself when it comes.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use crate::approval::{Asking, Desk, Electorate, Filed, Scope, Shown, State};
use crate::call::TargetFacts;
use crate::id::ApprovalId;
use crate::ledger::{Row, Write, canonical};
use crate::operation::local::Access;
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// Near-identical requests are counted over this long.
const ALIKE_FOR: TimeDelta = TimeDelta::minutes(10);
/// The rows that are counted, and the state of one that counts.
const ALIKE: &str = "approval_alike";
const UNDECIDED: &str = "undecided";

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
            verbs: BTreeSet::new(),
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
            filed.place.clone_from(&target.place);
            filed.risk = access.risk.level();
            filed.touches = access.on.clone();
            filed.scope_verbs = access.tools.iter().map(|tool| (tool.name.clone(), tool.verb.to_owned())).collect();
            filed.schema_hashes = access.tools.iter().map(|tool| (tool.name.clone(), tool.schema_hash.clone())).collect();
            filed.operation = scope.show();
            filed.offer = Some(scope.clone());
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

    /// The row by which a request is counted among those like it, for ten minutes or until it is approved; a conflict where they are too many.
    pub(super) fn alike(&self, filed: &Filed) -> Write {
        let row = Row::new(ALIKE, &filed.id, UNDECIDED, "", Some(filed.asked_at + ALIKE_FOR), Vec::new()).grouped(&filed.like);
        Write::InsertUnlessKey { row, states: Vec::new(), group_max: Some((vec![UNDECIDED.to_owned()], self.settings.alike_max)) }
    }

    /// It counts no longer.
    pub(super) fn no_longer_alike(filed: &Filed) -> Option<Write> {
        let approved = State::Approved.as_str().to_owned();
        let of_old = filed.like.is_empty();
        let moved = Write::Move { kind: ALIKE.to_owned(), id: filed.id.clone(), from: UNDECIDED.to_owned(), to: approved, body: None };
        (!of_old).then_some(moved)
    }
}
