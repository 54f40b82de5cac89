//! `Authorized`: the policy said yes to this call. Minted here, from a judgement and from nothing else.
//!
//! `rule` judges a call as it comes; `release` judges it again, now, when a human has approved it: a delegation that expired or a policy that
//! changed in between is seen there. The call travels inside the proof, so that what was judged is what acts.

use crate::approval::{Approval, Asking, Terms};
use crate::call::{Answer, Call, Judgement, Stop, TargetFacts};
use crate::identity::{Delegation, Reach};
use crate::operation::local::Access;
use crate::operation::{Place, Risk, Touch};
use crate::policy::{Policy, ToolAtLeast, Verdict, judgement};
use crate::refusal::{Code, Refusal};

/// Proof that the policy allows this call now. Not `Clone`, no public constructor; spent by `audit.open`.
#[derive(Debug)]
pub struct Authorized {
    call: Call,
    judgement: Judgement,
    approval: Option<Approval>,
}

/// A call that may go ahead once a human approves it.
#[derive(Debug)]
pub struct Pending {
    call: Call,
    judgement: Judgement,
    terms: Terms,
}

/// What the policy says of a call.
#[derive(Debug)]
pub enum Ruling {
    /// Go.
    Allowed(Box<Authorized>),
    /// Ask a human.
    Pending(Box<Pending>),
    /// No.
    Stop(Box<Stop>),
}

impl Authorized {
    /// The call, the judgement, and the approval it stands on. Consumes the proof: only the audit room has a use for it.
    pub(crate) fn open(self) -> (Call, Judgement, Option<Approval>) {
        (self.call, self.judgement, self.approval)
    }

    /// The call, to look at.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }
}

impl Pending {
    /// The call, to look at.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// What the Desk needs to ask a human.
    #[must_use]
    pub const fn asking(&self) -> Asking<'_> {
        Asking { call: &self.call, judgement: &self.judgement, terms: &self.terms }
    }

    /// The call that shows an approver what this one would do. Its authority is the very ruling that says a human must see it.
    #[must_use]
    pub fn preview(&self) -> Option<Box<Authorized>> {
        let call = self.call.preview()?;
        let judgement = Judgement { decision: "preview", risk: Risk::Read, ..self.judgement.clone() };
        Some(Box::new(Authorized { call, judgement, approval: None }))
    }

    /// This call will not go ahead.
    #[must_use]
    pub fn stop(self, answer: Answer) -> Box<Stop> {
        stop(self.call, Some(self.judgement), answer)
    }
}

fn stop(call: Call, judgement: Option<Judgement>, answer: Answer) -> Box<Stop> {
    let risk = Some(call.risk());
    Box::new(Stop { facts: call.facts, tool: Some(call.tool), target: call.target, risk, judgement, answer })
}

/// A name without a schema, in every schema it may resolve to.
fn in_schemas(touch: Touch, target: Option<&TargetFacts>) -> Vec<Touch> {
    let search_path = target.map(|target| target.search_path.as_slice()).unwrap_or_default();
    match &touch.on {
        Place::Table(path) if path.len() == 1 && !search_path.is_empty() => {
            let within = |schema: &String| Place::Table(std::iter::once(schema).chain(path).cloned().collect());
            search_path.iter().map(|schema| Touch { on: within(schema), ..touch }).collect()
        }
        _ => vec![touch],
    }
}

/// Unqualified names are judged in every schema they may resolve to: a forbid on one of them is not passed by leaving it out.
fn qualified(call: &Call) -> Vec<Touch> {
    let floor = call.raised_risk.unwrap_or(Risk::Read);
    let raise = |touch: Touch| Touch { risk: touch.risk.max(floor), ..touch };
    let target = call.target.as_ref();
    let mut touches: Vec<Touch> = call.operation.touches().into_iter().map(raise).flat_map(|touch| in_schemas(touch, target)).collect();
    // What touches nothing by name (SELECT 1, the broker's own tools), or does more than its touches say, is judged on the whole target.
    let highest = touches.iter().map(|touch| touch.risk).max();
    if highest.is_none_or(|highest| highest < call.risk()) {
        touches.push(Touch { on: Place::Target, verb: call.operation.verb(), risk: call.risk() });
    }
    touches
}

/// Reasons that a refusal gives, and how long each may be: enough to say the call in another way.
const REASONS_MAX: usize = 3;
const REASON_MAX_CHARS: usize = 200;

/// Why a call is of its risk, as a refusal says it.
fn because(call: &Call) -> String {
    let why = call.operation.why();
    let said: Vec<String> = why.iter().take(REASONS_MAX).map(|why| why.chars().take(REASON_MAX_CHARS).collect()).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
}

fn too_risky(call: &Call, cap: Risk) -> String {
    let needed = if call.risk() == Risk::Admin { "mcp:admin" } else { "mcp:write" };
    format!("this call's risk is {}{}, and the token reaches {cap}: it would need the scope `{needed}`", call.risk(), because(call))
}

/// What access is asked to, as policies judge it. What is named of a cluster is judged as the whole of it: only a call says which kinds it means.
fn places(kind: &str, on: &[String]) -> Vec<Place> {
    let place = |name: &String| match kind {
        "sql" => Place::table(name.split('.').map(ToOwned::to_owned).collect()),
        "ssh" if name.starts_with(['/', '~']) => Place::Path(name.clone()),
        "ssh" => Place::Program(name.clone()),
        _ => Place::Target,
    };
    if on.is_empty() { vec![Place::Target] } else { on.iter().map(place).collect() }
}

impl Policy {
    /// Judges a call.
    #[must_use]
    pub fn rule(&self, call: Call) -> Ruling {
        match self.weigh(&call) {
            Ok((judgement, None)) => Ruling::Allowed(Box::new(Authorized { call, judgement, approval: None })),
            Ok((judgement, Some(terms))) => Ruling::Pending(Box::new(Pending { call, judgement, terms })),
            Err((judgement, refusal)) => Ruling::Stop(stop(call, judgement, Answer::Refused(refusal))),
        }
    }

    /// Judges a pending call again, now that a human approved it.
    ///
    /// # Errors
    /// The stop, when the call is no longer allowed or the approval is not for it.
    pub fn release(&self, pending: Pending, approval: Approval) -> Result<Box<Authorized>, Box<Stop>> {
        let Pending { call, .. } = pending;
        if !approval.is_for(&call.facts.id) {
            return Err(stop(call, None, Answer::Refused(Refusal::new(Code::ApprovalUnknown))));
        }
        match self.weigh(&call) {
            Ok((judgement, _)) => {
                let judgement = Judgement { decision: "approved", ..judgement };
                Ok(Box::new(Authorized { call, judgement, approval: Some(approval) }))
            }
            Err((judgement, refusal)) => Err(stop(call, judgement, Answer::Refused(refusal))),
        }
    }

    /// The terms under which a human would be asked for access: those of all policies that ask for a call of these tools, on what is named, at this risk.
    ///
    /// # Errors
    /// `policy.denied` where some call of it would be denied, or where none asks: then there is nothing to grant.
    pub fn would_ask(&self, delegation: &Delegation, access: &Access, target: &TargetFacts) -> Result<(Judgement, Terms), Refusal> {
        if access.risk > delegation.cap() {
            return Err(Refusal::new(Code::InsufficientScope).detail(format!("access of the risk {} was asked for", access.risk)));
        }
        let (mut ids, mut asks) = (Vec::new(), Vec::new());
        for tool in &access.tools {
            delegation.covers(Reach { tool: &tool.name, target: Some(&target.name), risk: access.risk }, self.clock.now())?;
            let touches = places(tool.kind, &access.on).into_iter().map(|on| Touch { on, verb: tool.verb, risk: access.risk });
            for touch in touches.flat_map(|touch| in_schemas(touch, Some(target))) {
                match self
                    .judge(delegation, &tool.name, tool.kind, &touch, Some(target))
                    .map_err(|broken| Refusal::new(Code::PolicyFailed).cause(broken.0))?
                {
                    Verdict::Invoke(because) => ids.extend(because),
                    Verdict::Request(because) => asks.extend(because),
                    Verdict::Deny(_) => {
                        let could = ToolAtLeast { name: &tool.name, kind: tool.kind, verb: tool.verb, risk: Risk::Read };
                        let known = self.could_see(delegation, could, Some(target));
                        let refusal = Refusal::new(if known { Code::PolicyDenied } else { Code::UnknownTarget });
                        return Err(refusal.detail(format!("no policy opens {} of the risk {} there to approval", tool.name, access.risk)));
                    }
                }
            }
        }
        if asks.is_empty() {
            return Err(Refusal::new(Code::PolicyDenied).detail("there is nothing to ask for: such calls need no approval"));
        }
        let terms = self.terms(&asks);
        ids.extend(asks);
        Ok((judgement(self, ids, "pending", access.risk), terms))
    }

    /// The judgement, with the terms under which a human must be asked, if one must.
    fn weigh(&self, call: &Call) -> Result<(Judgement, Option<Terms>), (Option<Judgement>, Refusal)> {
        let delegation = &call.facts.delegation;
        let risk = call.risk();
        // Whether what the human lent still stands comes first: it is over for every tool alike.
        let target = call.target.as_ref().map(|target| target.name.as_str());
        let reach = Reach { tool: &call.tool.name, target, risk };
        let covered_by = delegation.covers(reach, self.clock.now()).map_err(|refusal| (None, refusal))?;
        let (mut ids, mut asks) = (Vec::new(), Vec::new());
        let named = |touch: Touch| {
            let within = self
                .named
                .within(call.target.as_ref(), &touch)
                .into_iter()
                .map(|inner| (inner, Some(touch.on.clone())))
                .collect::<Vec<_>>();
            std::iter::once((touch, None)).chain(within)
        };
        for (touch, named) in qualified(call).into_iter().flat_map(named) {
            let verdict = self.judge(delegation, &call.tool.name, call.operation.kind(), &touch, call.target.as_ref());
            match verdict {
                Ok(Verdict::Invoke(because)) => ids.extend(because),
                Ok(Verdict::Request(because)) => asks.extend(because),
                Ok(Verdict::Deny(because)) => {
                    return Err((Some(judgement(self, because, "denied", risk)), self.denial(call, &touch, named.as_ref())));
                }
                Err(broken) => {
                    let refusal = Refusal::new(Code::PolicyFailed).cause(broken.0);
                    return Err((Some(judgement(self, Vec::new(), "error", risk)), refusal));
                }
            }
        }
        if risk > delegation.cap() {
            return Err((
                Some(judgement(self, ids, "denied", risk)),
                Refusal::new(Code::InsufficientScope).detail(too_risky(call, delegation.cap())),
            ));
        }
        if asks.is_empty() {
            return Ok((Judgement { covered_by, ..judgement(self, ids, "allowed", risk) }, None));
        }
        let terms = self.terms(&asks);
        ids.extend(asks);
        Ok((Judgement { covered_by, ..judgement(self, ids, "pending", risk) }, Some(terms)))
    }

    /// A denial that says no more than the caller may know: a tool or target out of reach looks like one that is not there.
    fn denial(&self, call: &Call, touch: &Touch, named: Option<&Place>) -> Refusal {
        let delegation = &call.facts.delegation;
        let reading = match call.operation.kind() {
            "kube" => ToolAtLeast { name: "k8s_list", kind: "kube", verb: "list", risk: Risk::Read },
            "ssh" => ToolAtLeast { name: "ssh_read", kind: "ssh", verb: "execute", risk: Risk::Read },
            _ => ToolAtLeast { name: "db_query", kind: "sql", verb: "select", risk: Risk::Read },
        };
        let mildest =
            ToolAtLeast { name: &call.tool.name, kind: call.operation.kind(), verb: call.tool.mildest.0, risk: call.tool.mildest.1 };
        match &call.target {
            Some(target) if !self.could_see(delegation, reading, Some(target)) && !self.could_see(delegation, mildest, Some(target)) => {
                return Refusal::new(Code::UnknownTarget);
            }
            _ => {}
        }
        // What a policy names, a caller is not told who has not named it.
        let what = match (named, &touch.on) {
            (Some(named), _) => format!("something in `{named}` that has a rule of its own"),
            (None, Place::Target) => "the target".to_owned(),
            (None, on) => format!("`{on}`"),
        };
        let because = if touch.risk > call.tool.mildest.1 { because(call) } else { String::new() };
        Refusal::new(Code::PolicyDenied)
            .detail(format!("`{}` on {what} is {}{because} and neither allowed nor open to approval", touch.verb, touch.risk))
    }
}
