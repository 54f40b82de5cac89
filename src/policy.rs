//! Policy: the only place that knows Cedar, and the only one that says yes to a call.
//!
//! Every touched resource is judged with its own verb and risk: all `invoke` → go; else all `invoke` or `request` → ask; else no. Anything that
//! errs denies (Cedar skips a policy that errs, so a broken `forbid` would allow). Nothing here acts: a yes is an [`Authorized`], which the
//! audit room alone can spend.

pub mod entities;
pub mod load;
pub mod rule;
pub mod terms;

use std::collections::BTreeMap;

use cedar_policy::{Authorizer, Decision as CedarDecision, Entities, PolicySet, Request, Schema};

use crate::approval::{Electorate, Subject, Terms};
use crate::call::{Judgement, TargetFacts};
use crate::clock::Clock;
use crate::identity::{Agent, Delegation, Human};
use crate::operation::{Place, Risk, Touch};
use crate::refusal::{Code, Refusal};
use crate::registry::Stewards;

pub use load::{PolicyFile, Problem, Settings};
pub use rule::{Authorized, Pending, Ruling};

/// A loaded, validated set of policies.
#[derive(Debug)]
pub struct Policy {
    set: PolicySet,
    schema: Schema,
    set_hash: String,
    text: String,
    terms: BTreeMap<String, Terms>,
    /// Who answers for agents that work alone, by policy.
    owners: BTreeMap<String, String>,
    /// What some policy names below a target, or of whichever target.
    named: entities::Named,
    names: entities::Names,
    clock: Clock,
}

/// What one resource's judgement came to.
enum Verdict {
    Invoke(Vec<String>),
    Request(Vec<String>),
    Deny(Vec<String>),
}

/// Cedar could not evaluate; the cause is for the operator.
#[derive(Debug)]
struct Broken(String);

/// A tool as visibility is judged: at its least risk.
#[derive(Debug, Clone, Copy)]
pub struct ToolAtLeast<'a> {
    /// Its name.
    pub name: &'a str,
    /// `local`, `sql` or `kube`.
    pub kind: &'static str,
    /// The verb of its mildest call.
    pub verb: &'static str,
    /// The risk of its mildest call.
    pub risk: Risk,
}

impl Policy {
    /// SHA-256 of the schema and all policies, hexadecimal.
    #[must_use]
    pub fn set_hash(&self) -> &str {
        &self.set_hash
    }

    /// The text that `set_hash` is the hash of.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether any policy could let this delegation use that tool on that target (`None` for the broker's own tools) at all.
    #[must_use]
    pub fn sees(&self, delegation: &Delegation, tool: ToolAtLeast<'_>, target: Option<&TargetFacts>) -> bool {
        tool.risk <= delegation.cap() && self.could_see(delegation, tool, target)
    }

    /// The same, whatever the token's scope reaches: a scope can be stepped up, a policy cannot.
    #[must_use]
    pub fn could_see(&self, delegation: &Delegation, tool: ToolAtLeast<'_>, target: Option<&TargetFacts>) -> bool {
        let places = self.named.below(target, tool.kind);
        std::iter::once(Place::Target).chain(places).any(|on| {
            let touch = Touch { on, verb: tool.verb, risk: tool.risk };
            let verdict = self.judge(delegation, tool.name, tool.kind, &touch, target);
            if let Err(broken) = &verdict {
                tracing::error!(tool = tool.name, cause = broken.0, "a policy could not be evaluated, so the tool is hidden");
            }
            matches!(verdict, Ok(Verdict::Invoke(_) | Verdict::Request(_)))
        })
    }

    /// Whether this human may read the trail of others.
    #[must_use]
    pub fn may_review(&self, human: &Human) -> bool {
        let resource = entities::uid("Trail", "all");
        let principal = self.names.human(human);
        resource
            .and_then(|resource| {
                let request = Request::new(
                    principal?,
                    entities::uid("Action", "review")?,
                    resource,
                    cedar_policy::Context::empty(),
                    Some(&self.schema),
                )
                .ok()?;
                let entities = Entities::from_entities(self.names.human_entities(human)?, Some(&self.schema)).ok()?;
                let broken = |broken: &Broken| tracing::error!(cause = broken.0, "a policy could not be evaluated, so nobody reviews");
                self.ask(&request, &entities).inspect_err(broken).ok()
            })
            .is_some_and(|(allowed, _)| allowed)
    }

    fn ask(&self, request: &Request, entities: &Entities) -> Result<(bool, Vec<String>), Broken> {
        let response = Authorizer::new().is_authorized(request, &self.set, entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(Broken(error.to_string()));
        }
        let mut ids: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        ids.sort();
        Ok((response.decision() == CedarDecision::Allow, ids))
    }

    fn judge(
        &self,
        delegation: &Delegation,
        tool: &str,
        kind: &str,
        touch: &Touch,
        target: Option<&TargetFacts>,
    ) -> Result<Verdict, Broken> {
        let broken = |what: &str| Broken(format!("failed to build {what}"));
        let (principal, mut known) = self.names.delegation_entities(delegation).ok_or_else(|| broken("the principal"))?;
        let (resource, of_resource) = entities::resource(target, &touch.on).ok_or_else(|| broken("the resource"))?;
        known.extend(of_resource);
        let entities = Entities::from_entities(known, Some(&self.schema)).map_err(|error| Broken(error.to_string()))?;
        let context = entities::touch_context(tool, kind, touch).ok_or_else(|| broken("the context"))?;
        let decide = |action: &str| {
            let action = entities::uid("Action", action).ok_or_else(|| broken("the action"))?;
            let request = Request::new(principal.clone(), action, resource.clone(), context.clone(), Some(&self.schema))
                .map_err(|error| Broken(error.to_string()))?;
            self.ask(&request, &entities)
        };
        let (invoke, because) = decide("invoke")?;
        if invoke {
            return Ok(Verdict::Invoke(because));
        }
        let (ask, terms_of) = decide("request")?;
        if ask { Ok(Verdict::Request(terms_of)) } else { Ok(Verdict::Deny(if terms_of.is_empty() { because } else { terms_of })) }
    }

    /// The strictest of the terms that these policies set.
    fn terms(&self, ids: &[String]) -> Terms {
        ids.iter()
            .filter_map(|id| self.terms.get(id))
            .fold(None, |strictest: Option<Terms>, terms| Some(strictest.map_or_else(|| terms.clone(), |known| known.strictest(terms))))
            .unwrap_or_default()
    }
}

impl Electorate for Policy {
    fn may_decide(&self, human: &Human, subject: &Subject) -> Result<Vec<String>, Refusal> {
        self.may("approve", human, subject)
    }

    fn may_break_glass(&self, human: &Human, subject: &Subject) -> Result<Vec<String>, Refusal> {
        self.may("break_glass", human, subject)
    }

    fn may_review(&self, human: &Human) -> bool {
        Self::may_review(self, human)
    }
}

impl Policy {
    /// What this human may do with a request.
    fn may(&self, what: &'static str, human: &Human, subject: &Subject) -> Result<Vec<String>, Refusal> {
        let refuse = |cause: String| Refusal::new(Code::PolicyFailed).cause(cause);
        let broken = || refuse("failed to build the approver's request".to_owned());
        let same_issuer = human.issuer == subject.human.issuer;
        let own = human.is(&subject.human);
        let resource = self.names.approval(&subject.id).ok_or_else(broken)?;
        let mut known = self.names.human_entities(human).ok_or_else(broken)?;
        known.extend(self.names.approval_entities(&resource, subject).ok_or_else(broken)?);
        let known = entities::distinct(known);
        let entities = Entities::from_entities(known, Some(&self.schema)).map_err(|error| refuse(error.to_string()))?;
        let context = entities::approve_context(subject, own, same_issuer).ok_or_else(broken)?;
        let principal = self.names.human(human).ok_or_else(broken)?;
        let action = entities::uid("Action", what).ok_or_else(broken)?;
        let request = Request::new(principal, action, resource, context, Some(&self.schema)).map_err(|error| refuse(error.to_string()))?;
        let told = |broken: &Broken| {
            tracing::error!(approval = subject.id, cause = broken.0, "a policy could not be evaluated, so nobody decides");
        };
        match self.ask(&request, &entities).inspect_err(told).map_err(|error| refuse(error.0))? {
            (true, ids) => Ok(ids),
            (false, _) => Err(Refusal::new(Code::ApprovalNotAllowed)),
        }
    }

    /// The human whom a policy names as the one who answers for what this agent does alone.
    ///
    /// # Errors
    /// No policy lets it work alone, or those that do name several humans or one of no issuer that is configured.
    pub fn answers_for(&self, agent: &Agent) -> Result<Human, Refusal> {
        let refuse = |cause: String| Refusal::new(Code::PolicyFailed).cause(cause);
        let broken = || refuse("failed to build the agent's request".to_owned());
        let (principal, mut known) = self.names.agent_entities(agent).ok_or_else(broken)?;
        let resource = entities::uid("Broker", "self").ok_or_else(broken)?;
        known.push(cedar_policy::Entity::new_no_attrs(resource.clone(), std::collections::HashSet::new()));
        let entities = Entities::from_entities(known, Some(&self.schema)).map_err(|error| refuse(error.to_string()))?;
        let action = entities::uid("Action", "work_alone").ok_or_else(broken)?;
        let request = Request::new(principal, action, resource, cedar_policy::Context::empty(), Some(&self.schema))
            .map_err(|error| refuse(error.to_string()))?;
        let (true, ids) = self.ask(&request, &entities).map_err(|error| refuse(error.0))? else {
            return Err(Refusal::new(Code::NoResponsibleHuman));
        };
        let owners: std::collections::BTreeSet<&String> = ids.iter().filter_map(|id| self.owners.get(id)).collect();
        let mut owners = owners.into_iter();
        match (owners.next(), owners.next()) {
            (Some(owner), None) => self
                .names
                .human_named(owner)
                .ok_or_else(|| Refusal::new(Code::NoResponsibleHuman).detail("the owner is of no issuer that is configured")),
            (None, _) => Err(Refusal::new(Code::NoResponsibleHuman)),
            (Some(_), Some(_)) => Err(Refusal::new(Code::NoResponsibleHuman).detail("the policies name several")),
        }
    }
}

impl Stewards for Policy {
    fn may_manage(&self, human: &Human, agent: &Agent, verb: &'static str, own: bool) -> Result<Vec<String>, Refusal> {
        let refuse = |cause: String| Refusal::new(Code::PolicyFailed).cause(cause);
        let broken = || refuse("failed to build the steward's request".to_owned());
        let (resource, mut known) = self.names.agent_entities(agent).ok_or_else(broken)?;
        known.extend(self.names.human_entities(human).ok_or_else(broken)?);
        let entities = Entities::from_entities(entities::distinct(known), Some(&self.schema)).map_err(|error| refuse(error.to_string()))?;
        let context = entities::manage_context(verb, own).ok_or_else(broken)?;
        let principal = self.names.human(human).ok_or_else(broken)?;
        let action = entities::uid("Action", "manage").ok_or_else(broken)?;
        let request = Request::new(principal, action, resource, context, Some(&self.schema)).map_err(|error| refuse(error.to_string()))?;
        match self.ask(&request, &entities).map_err(|error| refuse(error.0))? {
            (true, ids) => Ok(ids),
            (false, _) => Err(Refusal::new(Code::NotASteward)),
        }
    }
}

/// How a judgement is recorded.
fn judgement(policy: &Policy, mut ids: Vec<String>, decision: &'static str, risk: Risk) -> Judgement {
    ids.sort();
    ids.dedup();
    Judgement { set_hash: policy.set_hash.clone(), ids, decision, risk, covered_by: None }
}
