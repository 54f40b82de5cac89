//! A circuit breaker: a cluster that does not answer is not asked by every call, each of which would wait as long as it may.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::refusal::{Code, Refusal};

/// Failures in a row after which nobody asks.
const FAILURES_MAX: u32 = 5;
/// For how long; then one call tries.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    closed_until: Option<Instant>,
}

/// Counts what went wrong with a cluster.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

impl Breaker {
    /// Whether the cluster may be asked now.
    ///
    /// # Errors
    /// `target.unreachable`: it did not answer a moment ago.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match state.closed_until {
            Some(until) if now < until => {
                let wait = until.saturating_duration_since(now).as_secs() + 1;
                Err(Refusal::new(Code::TargetUnreachable).detail(format!("it did not answer several calls; it is asked again in {wait} s")))
            }
            Some(_) => {
                // One tries; the others go on waiting until it has told.
                state.closed_until = Some(now + PAUSE);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// It did not answer, or only that it cannot.
    pub(super) fn failed(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.closed_until = Some(Instant::now() + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_for_one_and_closes_for_good() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.check().unwrap();
            breaker.failed();
        }
        assert!(breaker.check().is_err());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.check().is_ok() && breaker.check().is_err(), "only one tries");
        breaker.answered();
        assert!(breaker.check().is_ok() && breaker.check().is_ok());
    }
}
