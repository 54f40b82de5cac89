//! The path of a call, on one screen. Control flow lives here and only here; each stage changes what is known, and therefore the type.
//!
//! From the first line to the last a call is a task of its own: a caller that hangs up only signals it (`Line::gone`), the connector then stops
//! the target's work, and the outcome is recorded. No future is dropped in the middle. Each stage is a `tracing` span at level debug, so that an
//! operator, and the benchmark, can see where the time goes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use serde_json::{Map, Value, json};

use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug_span};

use crate::approval::{Desk, Found, Outcome, Shown};
use crate::audit::{Audit, Reply, Unavailable};
use crate::call::{Answer, Call, Line, Request, Stop, TargetFacts};
use crate::catalog::{Catalog, Listing};
use crate::connector::Connectors;
use crate::identity::Delegation;
use crate::mask::Masks;
use crate::operation::Operation;
use crate::operation::local::{Local, Spread};
use crate::policy::{Authorized, Pending, Policy, Ruling, ToolAtLeast};
use crate::refusal::{Code, Refusal};
use crate::workplace::Workplaces;

/// The stages, joined.
pub struct Pipeline {
    /// Tools, and the parser of calls.
    pub catalog: Arc<Catalog>,
    /// Says yes, ask, or no.
    pub policy: Arc<Policy>,
    /// Asks humans.
    pub desk: Desk,
    /// Records.
    pub audit: Audit,
    /// Acts.
    pub connectors: Connectors,
    /// Masks.
    pub masks: Masks,
    /// Finds sessions on hosts.
    pub workplaces: Workplaces,
    /// Calls under way; a drain waits for them.
    pub under_way: TaskTracker,
}

/// Where a call goes once it has been judged.
enum Step {
    Go(Box<Authorized>),
    Stop(Box<Stop>),
}

impl Pipeline {
    /// Takes a request down the whole path. Dropping the future signals the call, and does not drop it.
    ///
    /// # Errors
    /// The ledger could not record: nothing was done, or what was done is withheld and will be closed as unresolved.
    pub async fn run(self: &Arc<Self>, request: Request) -> Result<Reply, Unavailable> {
        let gone = request.line().gone.clone().drop_guard();
        let pipeline = Arc::clone(self);
        let call = self.under_way.spawn(async move { pipeline.path(request).await }.instrument(debug_span!("path")));
        let reply = call.await.map_err(Unavailable::because)?;
        // Answered: the guard must not report the caller as gone to whatever still looks.
        gone.disarm();
        reply
    }

    async fn path(&self, request: Request) -> Result<Reply, Unavailable> {
        match self.authorize(request).await? {
            Step::Go(authorized) => self.perform(authorized).await,
            Step::Stop(stop) => self.audit.refuse(self.veil(stop)).await,
        }
    }

    /// A tool that no policy lets this caller use looks like one that is not there, whatever else was wrong with the call. The private cause
    /// goes on to the operator's log, which has it under the call's id.
    fn veil(&self, mut stop: Box<Stop>) -> Box<Stop> {
        let may_know =
            self.catalog.listings().iter().find(|listing| listing.name == stop.facts.tool).is_some_and(|listing| {
                self.on_any_target(listing, |tool, target| self.policy.could_see(&stop.facts.delegation, tool, target))
            });
        if !may_know && let Answer::Refused(refusal) = &stop.answer {
            let veiled = Refusal::new(Code::UnknownTool);
            stop.answer = Answer::Refused(match refusal.private_cause() {
                Some(cause) => veiled.cause(format!("{}: {cause}", refusal.code())),
                None => veiled,
            });
        }
        stop
    }

    async fn perform(&self, authorized: Box<Authorized>) -> Result<Reply, Unavailable> {
        let (permit, entry) = match self.audit.open(authorized).instrument(debug_span!("intent")).await? {
            Ok(opened) => opened,
            Err(stop) => return self.audit.refuse(stop).await,
        };
        let unmasked = match &permit.call().operation {
            Operation::Local(Local::Spread(spread)) => {
                let told = self.spread(permit.call(), spread).await;
                self.connectors.tell(permit, told)
            }
            _ => self.connectors.execute(permit).await,
        };
        let masked = self.masks.apply(unmasked);
        self.audit.close(entry, masked).await
    }

    /// Makes one call on several targets: each goes down the whole path by itself, so many at once.
    async fn spread(&self, whole: &Call, spread: &Spread) -> Value {
        let has_failed = AtomicBool::new(false);
        let one = |(target, arguments): &(String, Map<String, Value>)| {
            let request = Request::part_of(
                &whole.facts,
                Line { progress: None, shows_pages: false, ..whole.line.clone() },
                spread.tool,
                arguments.clone(),
            );
            let (target, has_failed) = (target.clone(), &has_failed);
            async move {
                if spread.stop_on_error && has_failed.load(Ordering::Relaxed)
                    || request.line().gone.is_cancelled()
                    || request.line().draining.is_cancelled()
                {
                    return json!({ "target": target, "status": "not_run" });
                }
                let mut told = match self.part(request).await {
                    Ok(reply) => Value::Object(reply.envelope().clone()),
                    Err(unavailable) => json!({ "status": "error", "error": { "code": unavailable.refusal().code().as_str() } }),
                };
                let is_good = told.get("status") == Some(&json!("ok")) && told.pointer("/result/exit_code") == Some(&json!(0));
                has_failed.fetch_or(!is_good, Ordering::Relaxed);
                if let Some(members) = told.as_object_mut() {
                    members.insert("target".to_owned(), Value::from(target));
                }
                told
            }
        };
        let calls: Vec<_> = spread.calls.iter().map(one).map(Box::pin).collect();
        let mut results: Vec<Value> = futures::stream::iter(calls).buffered(spread.parallel.max(1)).collect().await;
        let is_hidden = |told: &Value| {
            let code = told.pointer("/error/code").and_then(Value::as_str);
            [Code::UnknownTarget, Code::UnknownTool].iter().any(|hidden| code == Some(hidden.as_str()))
        };
        results.retain(|told| spread.by_name || !is_hidden(told));
        let count = |status: &str| results.iter().filter(|result| result.get("status") == Some(&json!(status))).count();
        json!({ "ok": count("ok"), "not_run": count("not_run"), "approval_pending": count("approval_pending"), "hosts": results.len(), "results": results })
    }

    /// A part of a call. Boxed, since the path leads here and back to itself.
    fn part(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Reply, Unavailable>> + Send + '_>> {
        Box::pin(self.path(request))
    }

    async fn authorize(&self, request: Request) -> Result<Step, Unavailable> {
        let request = match self.catalog.whose_sessions(&request) {
            Some(whose) => self.workplaces.on_hand(request, &whose).await?,
            None => request,
        };
        let call = match debug_span!("parse").in_scope(|| self.catalog.parse(request)) {
            Ok(call) => call,
            Err(unparsed) => return Ok(Step::Stop(unparsed)),
        };
        match debug_span!("policy").in_scope(|| self.policy.rule(call)) {
            Ruling::Allowed(authorized) => Ok(Step::Go(authorized)),
            Ruling::Stop(stop) => Ok(Step::Stop(stop)),
            Ruling::Pending(pending) => self.ask(*pending).instrument(debug_span!("approval")).await,
        }
    }

    /// A human must see it: find the grant of an identical call, or ask and hold.
    async fn ask(&self, pending: Pending) -> Result<Step, Unavailable> {
        let id = match self.desk.find(pending.asking(), &*self.policy).await? {
            Found::Granted(approval) => return Ok(released(self.policy.release(pending, *approval))),
            Found::Denied(refusal) => return Ok(Step::Stop(pending.stop(Answer::Refused(refusal)))),
            Found::Open(id) => id,
            Found::Nothing => {
                let shown = match self.preview(&pending).await? {
                    Ok(shown) => shown,
                    Err(refusal) => return Ok(Step::Stop(pending.stop(Answer::Refused(refusal)))),
                };
                match self.desk.file(pending.asking(), shown, &*self.policy).await? {
                    Ok(id) => id,
                    Err(refusal) => return Ok(Step::Stop(pending.stop(Answer::Refused(refusal)))),
                }
            }
        };
        match self.desk.hold(pending.asking(), &id, &*self.policy).await? {
            Outcome::Approved(approval) => Ok(released(self.policy.release(pending, *approval))),
            Outcome::Stop(answer) => Ok(Step::Stop(pending.stop(answer))),
        }
    }

    /// What the approver is shown of the effect: a read-only call of its own, masked and recorded like any other. Its reply goes to the Desk.
    async fn preview(&self, pending: &Pending) -> Result<Result<Shown, Refusal>, Unavailable> {
        let Some(preview) = pending.preview() else { return Ok(Ok(Shown::default())) };
        let reply = Box::pin(self.perform(preview)).await?;
        let result = reply.envelope().get("result").cloned().unwrap_or_default();
        if reply.is_error() {
            let text = |name: &str| reply.envelope().get("error").and_then(|error| error.get(name)).and_then(|text| text.as_str());
            let said = text("message").unwrap_or_default();
            // Nothing failed: this is what the call itself would be answered.
            let riskier = Code::RiskierOutcome;
            if text("code") == Some(riskier.as_str()) {
                let why = said.strip_prefix(riskier.sentence()).unwrap_or(said);
                return Ok(Err(Refusal::new(riskier).detail(why.trim_start_matches(": "))));
            }
            return Ok(Err(Refusal::new(Code::PreviewFailed).detail(said)));
        }
        Ok(Ok(Shown { effect: result, bound: reply.preview().cloned().unwrap_or_default() }))
    }

    /// The tools that this delegation may know of, by name.
    #[must_use]
    pub fn list(&self, delegation: &Delegation) -> Vec<Listing> {
        let sees = |listing: &Listing| self.on_any_target(listing, |tool, target| self.policy.sees(delegation, tool, target));
        let parts = |listing: &Listing| self.catalog.listings().iter().find(|other| Some(other.name.as_str()) == listing.made_of);
        let visible = |listing: &&Listing| sees(listing) && (listing.made_of.is_none() || parts(listing).is_some_and(sees));
        self.catalog.listings().iter().filter(visible).cloned().collect()
    }

    /// Whether a tool passes on any of its targets; the broker's own have none.
    fn on_any_target(&self, listing: &Listing, passes: impl Fn(ToolAtLeast<'_>, Option<&TargetFacts>) -> bool) -> bool {
        let tool = ToolAtLeast { name: &listing.name, kind: listing.kind, verb: listing.verb, risk: listing.min_risk };
        if listing.kind == "local" { passes(tool, None) } else { listing.targets.iter().any(|target| passes(tool, Some(target))) }
    }
}

fn released(released: Result<Box<Authorized>, Box<Stop>>) -> Step {
    match released {
        Ok(authorized) => Step::Go(authorized),
        Err(stop) => Step::Stop(stop),
    }
}
