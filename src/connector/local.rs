//! The broker's own tools: whose call this is, which targets there are, and how an approval stands.
//!
//! They act like every other call, on a permit, and answer through the masks. None of them decides anything: an approval is looked at and waited
//! for here, never granted, and only by the human and agent that asked for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::approval::{Asking, Desk};
use crate::audit::{Permit, Unavailable};
use crate::call::{KUBERNETES, SSH, TargetFacts};
use crate::clock::{Clock, rfc3339};
use crate::id::ApprovalId;
use crate::operation::Risk;
use crate::operation::local::{Access, Local};
use crate::policy::{Policy, ToolAtLeast};
use crate::refusal::{Code, Refusal};

/// What the broker's own tools look at.
#[derive(Clone)]
pub struct Locals {
    /// Says what this caller may know of.
    pub policy: Arc<Policy>,
    /// Knows the approvals.
    pub desk: Desk,
    /// All configured targets.
    pub targets: Vec<TargetFacts>,
    /// The groups that hosts are in.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Tells the time.
    pub clock: Clock,
}

impl Locals {
    /// Does what the permit allows.
    pub(super) async fn run(&self, local: &Local, permit: &Permit) -> Result<Value, Refusal> {
        match local {
            Local::ListTargets => Ok(self.list_targets(permit)),
            Local::Whoami => Ok(self.whoami(permit)),
            Local::ApprovalStatus { approval } => self.approval(approval, permit, None).await,
            Local::ApprovalWait { approval, wait } => self.approval(approval, permit, Some(*wait)).await,
            Local::ApprovalWithdraw { approval } => {
                let withdrawn = self.desk.withdraw(approval, &permit.call().facts).await.map_err(|error| error.refusal())??;
                Ok(withdrawn.for_agent(&self.desk.url(approval), self.clock.now()))
            }
            Local::RequestAccess(access) => self.request_access(access, permit).await,
            // Its parts are calls of their own: the path makes them, and tells what came of them.
            Local::Spread(_) => Err(Refusal::new(Code::TargetFailed).cause("a call of several parts came here")),
        }
    }

    fn list_targets(&self, permit: &Permit) -> Value {
        let delegation = &permit.call().facts.delegation;
        let sees = |name, kind, verb, risk, target| self.policy.sees(delegation, ToolAtLeast { name, kind, verb, risk }, Some(target));
        let targets: Vec<Value> = self
            .targets
            .iter()
            .filter_map(|target| {
                let (kind, reads, writes) = match target.engine {
                    KUBERNETES => ("k8s", sees("k8s_list", "kube", "list", Risk::Read, target), sees("k8s_apply", "kube", "patch", Risk::Write, target)),
                    SSH => ("ssh", sees("ssh_read", "ssh", "execute", Risk::Read, target), sees("ssh_exec", "ssh", "execute", Risk::Write, target)),
                    _ => ("db", sees("db_query", "sql", "select", Risk::Read, target), sees("db_execute", "sql", "update", Risk::Write, target)),
                };
                (reads || writes).then(|| {
                    let tools: Vec<&str> = [(reads, "read"), (writes, "write")].into_iter().filter_map(|(can, class)| can.then_some(class)).collect();
                    let mut told = json!({ "name": target.name, "kind": kind, "engine": target.engine, "environment": target.environment, "allows": tools });
                    if let (Some(members), Some(groups)) = (told.as_object_mut(), self.groups.get(&target.name)) {
                        members.insert("groups".to_owned(), json!(groups));
                    }
                    told
                })
            })
            .collect();
        json!({ "targets": targets })
    }

    fn whoami(&self, permit: &Permit) -> Value {
        let delegation = &permit.call().facts.delegation;
        json!({
            "human": { "subject": delegation.human().subject, "issuer": delegation.human().issuer, "teams": delegation.human().teams },
            "agent": { "id": delegation.agent().id, "issuer": delegation.agent().issuer, "chain": delegation.agent().chain },
            "scopes": delegation.scopes(),
            "highest_risk": delegation.cap().as_str(),
            "expires_at": rfc3339(delegation.expires_at()),
            "policy_set": self.policy.set_hash(),
        })
    }

    async fn request_access(&self, access: &Access, permit: &Permit) -> Result<Value, Refusal> {
        let call = permit.call();
        let target = self.targets.iter().find(|target| target.name == access.target).ok_or_else(|| Refusal::new(Code::UnknownTarget))?;
        let (judgement, terms) = self.policy.would_ask(&call.facts.delegation, access, target)?;
        let asking = Asking { call, judgement: &judgement, terms: &terms };
        let filed = self.desk.file_access(asking, access, target, &*self.policy).await.map_err(|error| error.refusal())?;
        self.approval(&filed?, permit, None).await
    }

    async fn approval(&self, id: &ApprovalId, permit: &Permit, wait: Option<std::time::Duration>) -> Result<Value, Refusal> {
        let unavailable = |error: Unavailable| error.refusal();
        let call = permit.call();
        let (human, agent) = (call.facts.delegation.human(), call.facts.delegation.agent());
        let unknown = || Refusal::new(Code::ApprovalUnknown);
        // Whose it is comes first: a stranger must not learn by waiting that there is something to wait for.
        let mut view = self.desk.own(id, human, agent).await.map_err(unavailable)?.ok_or_else(unknown)?;
        if let Some(wait) = wait {
            view = self.desk.watch(id, wait.min(call.limits.timeout), call).await.map_err(unavailable)??;
        }
        Ok(view.for_agent(&self.desk.url(id), self.clock.now()))
    }
}
