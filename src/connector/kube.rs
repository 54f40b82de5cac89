//! Kubernetes targets: the API server, asked as the human. Every request impersonates; none is made with the broker's own rights.
//!
//! A call that is to stop begins nothing new. What reads is dropped; a change that was sent is waited for a while, and if nothing is heard of it the
//! answer says so: `target.unresolved`, with what is known to be done.

mod breaker;
mod clean;
mod discovery;
mod edit;
mod exec;
mod failure;
mod inspect;
mod logs;
mod outcome;
mod read;
mod remove;
mod rollout;
mod session;
mod way;
mod write;

use std::time::Duration;

use tokio::sync::Mutex;

use crate::audit::Permit;
use crate::call::{Bound, Call};
use crate::clock::Clock;
use crate::connector::stop::told_to_stop;
use crate::connector::{Failed, Out, send};
use crate::credential::Credential;
use crate::mask::{Done, Piece};
use crate::operation::Operation;
use crate::operation::kube::{Action, Kube, Type};
use crate::refusal::{Code, Refusal};

pub use way::{Cluster, check_cluster};

/// How long a call that is to stop may take to come back, where a change is under way.
const GRACE: Duration = Duration::from_secs(5);

/// An answer before anybody may have it.
type Held = (Vec<Piece>, Done);

/// A cluster.
pub(super) struct Target {
    way: Cluster,
    connect_timeout: Duration,
    clock: Clock,
    client: Mutex<Option<kube::Client>>,
    breaker: breaker::Breaker,
    discovery: discovery::Discovery,
}

/// The work of one call.
struct Work<'a> {
    cluster: &'a Target,
    session: session::Session<'a>,
    call: &'a Call,
    clock: &'a Clock,
}

impl Target {
    pub(super) fn new(way: Cluster, connect_timeout: Duration, clock: Clock) -> Self {
        Self {
            way,
            connect_timeout,
            clock,
            client: Mutex::default(),
            breaker: breaker::Breaker::default(),
            discovery: discovery::Discovery::default(),
        }
    }

    /// The connections, made when they are first needed.
    async fn client(&self) -> Result<kube::Client, Refusal> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let unusable = |cause: String| Refusal::new(Code::CredentialUnavailable).cause(cause);
        let config = way::config(&self.way, self.connect_timeout).await.map_err(unusable)?;
        let made = kube::Client::try_from(config).map_err(|error| unusable(error.to_string()))?;
        Ok(client.insert(made).clone())
    }

    /// Runs the permit's operation.
    pub(super) async fn run(&self, permit: &Permit, credential: &Credential, out: &Out) -> Result<Done, Failed> {
        let call = permit.call();
        let session = session::Session::new(self.client().await?, credential, &self.breaker)?;
        let work = Work { cluster: self, session, call, clock: &self.clock };
        let outcome = work.guarded(permit).await;
        if outcome.as_ref().is_err_and(|failed| failed.is_login) {
            // The account's token may have changed, and with a kubeconfig it is part of the connections.
            *self.client.lock().await = None;
        }
        let (pieces, done) = outcome?;
        for piece in pieces {
            send(out, piece).await?;
        }
        Ok(done)
    }
}

impl Work<'_> {
    /// Lets the work run until it is done, its time is over or its caller gone.
    async fn guarded(&self, permit: &Permit) -> Result<Held, Failed> {
        let work = self.perform(permit);
        tokio::pin!(work);
        let code = tokio::select! {
            outcome = &mut work => return outcome.map_err(|refusal| self.failed(refusal)),
            code = told_to_stop(self.call, self.clock) => code,
        };
        self.session.halt.stop(code);
        match tokio::time::timeout(GRACE, &mut work).await {
            // It was done before it heard: what is true is told.
            Ok(Ok(held)) => Ok(held),
            Ok(Err(refusal)) if refusal.code() != code => Err(self.failed(refusal)),
            _ => Err(self.stopped(code)),
        }
    }

    /// A call that was stopped: what is known of what it did.
    fn stopped(&self, code: Code) -> Failed {
        let journal = self.session.journal();
        let done = if journal.done.is_empty() { String::new() } else { format!("; done before it: {}", journal.done.join(", ")) };
        if matches!(&self.call.operation, Operation::Kube(Kube::Exec(_))) && journal.open.is_some() {
            let refusal = Refusal::new(code).detail("its streams were closed; whether the program has ended is not known".to_owned());
            return Failed { stopped: Some(false), ..refusal.into() };
        }
        if let Some(open) = &journal.open {
            let refusal = Refusal::new(Code::Unresolved).detail(format!("nothing was heard of {open}{done}"));
            return Failed { stopped: Some(false), ..refusal.into() };
        }
        let refusal = match code {
            Code::TargetTimeout => Refusal::new(code).detail(format!("after {} ms{done}", self.call.limits.timeout.as_millis())),
            _ if done.is_empty() => Refusal::new(code),
            _ => Refusal::new(code).detail(done.trim_start_matches("; ").to_owned()),
        };
        Failed { stopped: Some(true), ..refusal.into() }
    }

    fn failed(&self, refusal: Refusal) -> Failed {
        let is_login = refusal.code() == Code::TargetRefused && refusal.message().contains("Unauthorized");
        let stopped = (refusal.code() == Code::Unresolved).then_some(false);
        Failed { stopped, is_login, ..refusal.into() }
    }

    async fn resource(&self, kind: &Type) -> Result<discovery::Resource, Refusal> {
        self.cluster.discovery.of(&self.session, kind).await
    }

    async fn perform(&self, permit: &Permit) -> Result<Held, Refusal> {
        match &self.call.operation {
            Operation::Kube(kube) => self.kube(kube, permit.bound()).await,
            Operation::KubePreview(kube) => self.preview(kube).await,
            _ => Err(Refusal::new(Code::TargetFailed).cause("an operation of another kind of target")),
        }
    }

    async fn kube(&self, kube: &Kube, bound: Option<&Bound>) -> Result<Held, Refusal> {
        match kube {
            Kube::List(list) => self.list(list).await,
            Kube::Get(get) => self.get(get).await,
            Kube::Describe(object) => self.describe(object).await,
            Kube::Logs(logs) => self.logs(logs).await,
            Kube::Events(events) => self.events(events).await,
            Kube::Top(top) => self.top(top).await,
            Kube::Resources(resources) => self.resources(resources).await,
            Kube::Explain(explain) => self.explain(explain).await,
            Kube::CanI(can) => self.can_i(can).await,
            Kube::Wait(wait) => self.wait(wait).await,
            Kube::Candidates(name) => Err(self.cluster.discovery.explain(&self.session, name).await),
            Kube::Apply(apply) if !apply.dry_run => self.edited(&self.apply_edits(apply).await?, bound).await,
            Kube::Patch(patch) if !patch.dry_run => self.edited(&[self.patch_edit(patch).await?], bound).await,
            Kube::Delete(delete) if !delete.dry_run => self.deleted(delete, bound).await,
            Kube::Scale(scale) => self.edited(&[self.scale_edit(scale).await?], bound).await,
            Kube::Rollout(rollout) => match rollout.action {
                Action::Status => self.rollout_status(&rollout.object).await,
                Action::History => self.rollout_history(&rollout.object).await,
                _ => self.edited(&[self.rollout_edit(rollout).await?], bound).await,
            },
            Kube::Exec(exec) => self.exec(exec, bound).await,
            Kube::Run(run) => self.edited(&[self.run_edit(run).await?], bound).await,
            Kube::Debug(debug) => self.edited(&[self.debug_edit(debug).await?], bound).await,
            Kube::Node(node) if !node.dry_run => self.node_done(node, bound).await,
            Kube::Apply(_) | Kube::Patch(_) | Kube::Delete(_) | Kube::Node(_) => {
                let (pieces, done) = self.preview(kube).await?;
                // What an agent looks at binds nobody.
                Ok((pieces, Done { preview: None, ..done }))
            }
        }
    }

    /// What an approver is shown: the server's own dry run.
    async fn preview(&self, kube: &Kube) -> Result<Held, Refusal> {
        match kube {
            Kube::Apply(apply) => self.rehearsed(&self.apply_edits(apply).await?).await,
            Kube::Patch(patch) => self.rehearsed(&[self.patch_edit(patch).await?]).await,
            Kube::Delete(delete) => self.deletion_shown(delete).await,
            Kube::Scale(scale) => self.rehearsed(&[self.scale_edit(scale).await?]).await,
            Kube::Rollout(rollout) => self.rehearsed(&[self.rollout_edit(rollout).await?]).await,
            Kube::Run(run) => self.rehearsed(&[self.run_edit(run).await?]).await,
            Kube::Debug(debug) => self.rehearsed(&[self.debug_edit(debug).await?]).await,
            Kube::Node(node) => self.node_shown(node).await,
            Kube::Exec(exec) => self.exec_shown(exec).await,
            _ => Err(Refusal::new(Code::TargetFailed).cause("there is nothing to show of this")),
        }
    }
}
