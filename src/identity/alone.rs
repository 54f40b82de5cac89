//! For unit tests: no registry and no record behind identity. What they ask is whether a token is good.

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::id::DelegationId;
use crate::identity::{Delegation, Event, Reach, Standing, Witness};
use crate::refusal::Refusal;

/// Lets every delegation stand, and keeps nothing.
#[derive(Debug)]
pub(crate) struct Alone;

impl Standing for Alone {
    fn covers(&self, _: &Delegation, _: Reach<'_>, _: Timestamp) -> Result<Option<DelegationId>, Refusal> {
        Ok(None)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
}

impl Witness for Alone {
    fn saw<'a>(&'a self, _: Event<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }
}
