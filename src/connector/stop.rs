//! Stopping a statement from outside: its time is over, or its caller has gone. A stop is one only if the server says so.

use std::sync::OnceLock;
use std::time::Duration;

use crate::call::Call;
use crate::clock::Clock;
use crate::connector::Failed;
use crate::mask::Done;
use crate::refusal::{Code, Refusal};

/// How long a stopped statement may take to come back.
const GRACE: Duration = Duration::from_secs(5);

/// How far the work has come, for whoever has to stop it.
#[derive(Default)]
pub(super) struct Progress {
    /// The server's process or thread, once it is known; before that nothing of the agent's runs.
    pub(super) process: OnceLock<u64>,
    /// The change is being committed: from here on only the server knows whether it is made.
    pub(super) committing: OnceLock<()>,
}

/// Until a call is to stop: its time is over, its caller gone, or what the human lent taken back.
pub(super) async fn told_to_stop(call: &Call, clock: &Clock) -> Code {
    tokio::select! {
        () = tokio::time::sleep(call.limits.timeout) => Code::TargetTimeout,
        () = call.line.gone.cancelled() => Code::TargetCancelled,
        code = taken_back(call, clock) => code,
    }
}

/// Until what the human lent is taken back: work that has begun must not outlive that.
async fn taken_back(call: &Call, clock: &Clock) -> Code {
    let mut changes = call.facts.delegation.changes();
    loop {
        if let Err(refusal) = call.still_lent(clock.now()) {
            return refusal.code();
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Lets the work run until it is done, its time is over or its caller gone; then cancels it in the server and waits for it to come back.
pub(super) async fn guard(
    call: &Call,
    progress: &Progress,
    cancel: impl AsyncFnOnce(u64),
    work: impl Future<Output = Result<Done, Refusal>>,
) -> Result<Done, Failed> {
    tokio::pin!(work);
    let timeout = call.limits.timeout;
    let refusal = tokio::select! {
        outcome = &mut work => return outcome.map_err(|refusal| {
            let stopped = (refusal.code() == Code::TargetTimeout).then_some(true);
            Failed { stopped, ..refusal.into() }
        }),
        () = tokio::time::sleep(timeout) => Refusal::new(Code::TargetTimeout).detail(format!("after {} ms", timeout.as_millis())),
        () = call.line.gone.cancelled() => Refusal::new(Code::TargetCancelled),
    };
    let Some(process) = progress.process.get() else {
        // Nothing of the agent's runs yet, and nothing will: going on would only begin it with nobody there.
        return Err(Failed { stopped: Some(true), ..refusal.into() });
    };
    // A server that does not answer to this either is waited for no longer than its statement.
    drop(tokio::time::timeout(GRACE, cancel(*process)).await);
    match tokio::time::timeout(GRACE, &mut work).await {
        // It was done before the cancel arrived: what is true is told.
        Ok(Ok(done)) => Ok(done),
        Ok(Err(unresolved)) if unresolved.code() == Code::Unresolved => Err(Failed { stopped: Some(false), ..unresolved.into() }),
        // The server said that it was cancelled; a connection that broke says nothing.
        Ok(Err(end)) => Err(Failed { stopped: Some(end.code() == Code::TargetTimeout), ..refusal.into() }),
        Err(_) if progress.committing.get().is_some() => {
            let refusal = Refusal::new(Code::Unresolved).detail("the server did not answer while the change was being made final");
            Err(Failed { stopped: Some(false), ..refusal.into() })
        }
        Err(_) => Err(Failed { stopped: Some(false), ..refusal.into() }),
    }
}
