//! Connections that reads share: one for each human, agent and delegation, so that a read does not pay for a handshake. A connection ends with the
//! delegation it was opened under, after a while without use, and at a certain age; a call that changes anything has one of its own.
//!
//! Each has a task that tends it, owns its place among those that a target may have, and is the only one to close it: what is open is counted until it is
//! closed, whether or not anybody is still given it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::Call;
use crate::clock::{Clock, Timestamp};
use crate::identity::Reach;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// Without use for so long, a connection is closed.
const IDLE: Duration = Duration::from_secs(60);
/// At this age it is given to nobody any more.
const AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// And how often where only its last call is waited for.
const AWAIT_EVERY: Duration = Duration::from_millis(250);
/// How long one that may not go on waits for its calls, which are being stopped over it.
const STOPPING: Duration = Duration::from_secs(10);
/// The least that is waited for one to end: it may say goodbye to several hosts that do not answer.
const PATIENCE_MIN: Duration = Duration::from_secs(5);
/// Connections of a target that may be open.
const OPEN_MAX: usize = 64;

/// What can be shared.
pub(super) trait Link: Send + Sync + 'static {
    /// Whether it is gone.
    fn is_closed(&self) -> bool;
    /// Says goodbye, a bounded time.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Whose it is: the human, the agent, and what was lent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    human: (String, String),
    agent: (String, String),
    lent: String,
    expires_at: Timestamp,
}

/// What a connection lives under: whether it stands, and word of when that may have changed.
pub(super) struct Lease {
    stands: Box<dyn Fn() -> bool + Send>,
    changes: watch::Receiver<u64>,
}

/// A connection that may be given out. Its tending task and the calls that use it hold it.
struct Kept<L> {
    link: Weak<L>,
    opened: Instant,
    used: Arc<Mutex<Instant>>,
    /// Fires when nobody is to be given it any more.
    retired: CancellationToken,
}

/// One at a time opens; the others wait for what it opens.
type Place<L> = Arc<tokio::sync::Mutex<Option<Kept<L>>>>;

pub(super) struct Pool<L> {
    places: Mutex<HashMap<Whose, Place<L>>>,
    /// How many more may be opened.
    room: Arc<Semaphore>,
    /// Fires when the broker ends.
    over: CancellationToken,
    tending: TaskTracker,
}

impl<L> Default for Pool<L> {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
            room: Arc::new(Semaphore::new(OPEN_MAX)),
            over: CancellationToken::new(),
            tending: TaskTracker::new(),
        }
    }
}

impl Whose {
    pub(super) fn of(call: &Call, lent: Option<&str>) -> Self {
        let delegation = &call.facts.delegation;
        Self {
            human: (delegation.human().issuer.clone(), delegation.human().subject.clone()),
            agent: (delegation.agent().issuer.clone(), delegation.agent().id.clone()),
            lent: lent.or(delegation.token_id()).unwrap_or_default().to_owned(),
            expires_at: delegation.expires_at(),
        }
    }
}

impl Lease {
    pub(super) fn of(call: &Call, clock: &Clock) -> Self {
        let delegation = Arc::clone(&call.facts.delegation);
        let tool = call.tool.name.clone();
        let target = call.target.as_ref().map(|target| target.name.clone()).unwrap_or_default();
        let clock = clock.clone();
        let changes = delegation.changes();
        let stands = move || {
            let reach = Reach { tool: &tool, target: Some(&target), risk: Risk::Read };
            delegation.covers(reach, clock.now()).is_ok()
        };
        Self { stands: Box::new(stands), changes }
    }
}

impl<L: Link> Kept<L> {
    /// The connection, where it may be given out.
    fn give(&self) -> Option<Arc<L>> {
        let may_be_given = |link: &Arc<L>| !link.is_closed() && !self.retired.is_cancelled() && self.opened.elapsed() < AGE_MAX;
        let link = self.link.upgrade().filter(may_be_given)?;
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(link)
    }

    /// Since when nobody has used it, where nobody does.
    fn is_free_since(&self) -> Option<Instant> {
        (self.link.strong_count() == 1).then(|| *self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<L: Link> Pool<L> {
    /// The connection that is `whose`, opened if there is none that is alive. At most `patience` is waited for others to end.
    ///
    /// # Errors
    /// `target.busy`: as many as may be open are in use; and what `open` fails with.
    pub(super) async fn get(
        &self,
        whose: &Whose,
        lease: impl FnOnce() -> Lease,
        patience: Duration,
        open: impl Future<Output = Result<L, Refusal>>,
    ) -> Result<Arc<L>, Refusal> {
        let place = self.place(whose);
        let mut kept = place.lock().await;
        if let Some(link) = kept.as_ref().and_then(Kept::give) {
            return Ok(link);
        }
        if let Some(old) = kept.take() {
            old.retired.cancel();
        }
        let room = self.room(patience).await?;
        // What is taken back while it is being opened is heard of, too.
        let lease = lease();
        let link = Arc::new(open.await?);
        let now = Instant::now();
        let one = Kept { link: Arc::downgrade(&link), opened: now, used: Arc::new(Mutex::new(now)), retired: CancellationToken::new() };
        let (used, retired) = (Arc::clone(&one.used), one.retired.clone());
        let tended = Tended { link: Arc::clone(&link), opened: now, used, retired, over: self.over.clone(), _room: room };
        self.tending.spawn(tended.tend(lease));
        *kept = Some(one);
        Ok(link)
    }

    /// Gives nobody any more what turned out to be dead.
    pub(super) async fn forget(&self, whose: &Whose, dead: &Arc<L>) {
        let place = self.place(whose);
        let mut kept = place.lock().await;
        if let Some(kept) = kept.take_if(|kept| std::ptr::eq(kept.link.as_ptr(), Arc::as_ptr(dead))) {
            kept.retired.cancel();
        }
    }

    /// Closes all connections, and waits until they are.
    pub(super) async fn close(&self) {
        self.over.cancel();
        self.tending.close();
        self.tending.wait().await;
    }

    fn place(&self, whose: &Whose) -> Place<L> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if !places.contains_key(whose) {
            // Whoever holds a place is at work on it.
            places.retain(|_, place| {
                Arc::strong_count(place) > 1
                    || place.try_lock().is_ok_and(|kept| kept.as_ref().is_some_and(|kept| kept.link.strong_count() > 0))
            });
        }
        Arc::clone(places.entry(whose.clone()).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(None))))
    }

    /// Room for one more: whatever was not used for longest makes it, if there is none.
    async fn room(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.room);
        if let Ok(room) = Arc::clone(&room).try_acquire_owned() {
            return Ok(room);
        }
        let until = Instant::now() + patience.max(PATIENCE_MIN);
        while Instant::now() < until {
            // Whatever is used now may be free in a moment.
            self.make_room();
            if let Ok(Ok(room)) = tokio::time::timeout(AWAIT_EVERY, Arc::clone(&room).acquire_owned()).await {
                return Ok(room);
            }
        }
        Err(Refusal::new(Code::TargetBusy).detail(format!("{OPEN_MAX} connections are open, and all of them in use")))
    }

    fn make_room(&self) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let free = places.values().filter_map(|place| {
            let kept = place.try_lock().ok()?;
            let kept = kept.as_ref().filter(|kept| !kept.retired.is_cancelled())?;
            Some((kept.is_free_since()?, kept.retired.clone()))
        });
        if let Some((_, retired)) = free.min_by_key(|(since, _)| *since) {
            retired.cancel();
        }
    }
}

/// A connection, as the task that tends it has it.
struct Tended<L> {
    link: Arc<L>,
    opened: Instant,
    used: Arc<Mutex<Instant>>,
    retired: CancellationToken,
    over: CancellationToken,
    /// Held until it is closed.
    _room: OwnedSemaphorePermit,
}

impl<L: Link> Tended<L> {
    /// Closes it when its time has come.
    async fn tend(mut self, mut lease: Lease) {
        let mut fallen: Option<Instant> = None;
        loop {
            let is_awaited = self.retired.is_cancelled();
            let told = tokio::select! {
                () = tokio::time::sleep(if is_awaited { AWAIT_EVERY } else { LOOK_EVERY }) => Ok(()),
                told = lease.changes.changed() => told,
                () = self.over.cancelled() => Ok(()),
                () = self.retired.cancelled(), if !is_awaited => Ok(()),
            };
            if Arc::strong_count(&self.link) > 1 {
                *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
            if told.is_err() || !(lease.stands)() {
                fallen.get_or_insert_with(Instant::now);
                self.retired.cancel();
            }
            let is_out_of_time = self.over.is_cancelled() || told.is_err() || fallen.is_some_and(|since| since.elapsed() >= STOPPING);
            if is_out_of_time || self.link.is_closed() {
                return self.link.close().await;
            }
            if !self.is_to_end() {
                continue;
            }
            // Nobody uses it, and nobody can be given it from here on.
            match Arc::try_unwrap(self.link) {
                Ok(link) => return link.close().await,
                Err(in_use) => self.link = in_use,
            }
        }
    }

    fn is_to_end(&self) -> bool {
        let unused = self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        self.retired.is_cancelled() || self.opened.elapsed() >= AGE_MAX || unused > IDLE
    }
}

#[cfg(test)]
mod tests;
