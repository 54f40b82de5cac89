//! Calls on hosts: what a target allows is looked up, whose sessions and jobs may be named comes from the delegation, and a call on several hosts becomes
//! one on each.

use serde_json::Value;

use crate::call::{Limits, Request};
use crate::catalog::builtin::Builtin;
use crate::catalog::definition::Does;
use crate::catalog::parse::{KUBE_ROWS, Parsed, Refused, Whose, other_kind};
use crate::catalog::{Action, Catalog, Target, TargetOf, ssh};
use crate::identity::Delegation;
use crate::operation::Operation;
use crate::refusal::{Code, Refusal};

/// Hosts of one call.
const HOSTS_MAX: usize = 50;

impl Catalog {
    /// The word for whose sessions a request may name, if its tool is of those that have any to do with them.
    #[must_use]
    pub fn whose_sessions(&self, request: &Request) -> Option<String> {
        let asks = match &self.tools.get(&request.facts().tool)?.action {
            Action::Builtin(Builtin::Ssh(tool)) => tool.has_session(),
            Action::Declared(declared) => {
                matches!(&declared.does, Does::Call(fixed) if matches!(fixed.tool, Builtin::Ssh(tool) if tool.has_session()))
            }
            Action::Builtin(_) => false,
        };
        asks.then(|| whose(&request.facts().delegation))
    }

    pub(super) fn ssh(&self, tool: ssh::Tool, value: Value, caller: Whose<'_>) -> Result<Parsed, Refused> {
        let name = value.get("target").and_then(Value::as_str).unwrap_or_default();
        let target = self.target(name)?;
        let refuse = |refusal| (refusal, Some(target.facts.clone()));
        let TargetOf::Ssh { roots, env, shell, .. } = &target.of else { return Err(refuse(other_kind(&target, tool.name()))) };
        let whose = whose(caller.delegation);
        let bounds =
            ssh::Bounds { roots, env, shell: shell.as_deref(), whose: &whose, target: &target.facts.name, sessions: caller.sessions };
        let asked = ssh::parse(tool, value, &bounds).map_err(|(refusal, _)| refuse(refusal))?;
        Ok(Parsed {
            operation: Operation::Ssh(asked.operation),
            raised: None,
            arguments: asked.arguments,
            reason: asked.reason,
            limits: self.limits(asked.timeout_ms, KUBE_ROWS, None),
            target: Some(target),
        })
    }

    /// The same program on several hosts, each of which is a call of its own.
    pub(super) fn multi_exec(&self, (asked, arguments): (ssh::arguments::MultiExec, Value)) -> Result<Parsed, Refused> {
        let refuse = |why: String| (Refusal::new(Code::InvalidArguments).detail(why), None);
        let of_group = |group: &String| {
            let in_group = |target: &&Target| matches!(&target.of, TargetOf::Ssh { groups, .. } if groups.contains(group));
            self.targets.values().filter(in_group).map(|target| target.facts.name.clone()).collect::<Vec<_>>()
        };
        let mut targets = match (asked.targets.is_empty(), &asked.group) {
            (false, None) => asked.targets.clone(),
            (true, Some(group)) => of_group(group),
            _ => return Err(refuse("give either `targets` or `group`".to_owned())),
        };
        let mut seen = std::collections::HashSet::new();
        targets.retain(|target| seen.insert(target.clone()));
        if targets.is_empty() || targets.len() > HOSTS_MAX {
            return Err(refuse(format!("that is {} hosts; 1 to {HOSTS_MAX} are taken", targets.len())));
        }
        let spread = ssh::spread(&asked, &targets);
        let limits = Limits {
            timeout: self.bounds.timeout_max,
            rows: 1,
            // Each host's answer, twice as long once it is written as JSON, with what stands around it.
            bytes: (targets.len() as u64).saturating_mul(asked.max_output_bytes.saturating_mul(2).saturating_add(8 * 1024)),
        };
        Ok(Parsed { target: None, operation: Operation::Local(spread), raised: None, arguments, reason: asked.reason, limits })
    }
}

/// One word for a human and an agent, under which a host keeps what they started: nobody else's can be named.
fn whose(delegation: &Delegation) -> String {
    let (human, agent) = (delegation.human(), delegation.agent());
    let names = serde_json::json!([human.issuer, human.subject, agent.issuer, agent.id]).to_string();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, names.as_bytes());
    hex::encode(digest.as_ref().get(..16).unwrap_or_default())
}
