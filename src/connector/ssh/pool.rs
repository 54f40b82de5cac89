//! Connections that reads share: one for each human, agent and delegation, so that a read does not pay for a handshake. A connection ends with the
//! delegation it was opened under, after a while without use, and at a certain age; a call that changes anything has one of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::Call;
use crate::clock::{Clock, Timestamp};
use crate::connector::ssh::client::Connection;
use crate::identity::{Delegation, Reach};
use crate::operation::Risk;
use crate::refusal::Refusal;

/// Without use for so long, a connection is closed.
const IDLE: Duration = Duration::from_secs(60);
/// And at this age, whatever it is used for.
const AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Connections that are kept for a target.
const KEPT_MAX: usize = 64;

/// Whose it is: the human, the agent, and what was lent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    human: (String, String),
    agent: (String, String),
    lent: String,
    expires_at: Timestamp,
}

/// A connection with when it was last used.
struct Kept {
    connection: Arc<Connection>,
    opened: Instant,
    used: Instant,
}

/// One at a time opens; the others wait for what it opens.
type Place = Arc<tokio::sync::Mutex<Option<Kept>>>;

#[derive(Default)]
pub(super) struct Pool {
    places: Arc<Mutex<HashMap<Whose, Place>>>,
    /// Fires when the broker ends.
    over: CancellationToken,
    tending: TaskTracker,
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

impl Pool {
    /// The connection of a call's human and agent, opened if there is none that is alive.
    pub(super) async fn get(
        &self,
        whose: Whose,
        call: &Call,
        clock: &Clock,
        open: impl Future<Output = Result<Connection, Refusal>>,
    ) -> Result<Arc<Connection>, Refusal> {
        let place = self.place(&whose);
        let mut kept = place.lock().await;
        if let Some(kept) = kept.as_mut().filter(|kept| !kept.connection.is_closed() && kept.opened.elapsed() < AGE_MAX) {
            kept.used = Instant::now();
            return Ok(Arc::clone(&kept.connection));
        }
        let connection = Arc::new(open.await?);
        let now = Instant::now();
        *kept = Some(Kept { connection: Arc::clone(&connection), opened: now, used: now });
        let tool = call.tool.name.clone();
        let target = call.target.as_ref().map(|target| target.name.clone()).unwrap_or_default();
        let lease = Lease { delegation: Arc::clone(&call.facts.delegation), tool, target, clock: clock.clone() };
        self.tending.spawn(tend(Arc::downgrade(&self.places), whose, Arc::downgrade(&place), lease, self.over.clone()));
        Ok(connection)
    }

    /// Closes all connections, and waits until they are.
    pub(super) async fn close(&self) {
        self.over.cancel();
        self.tending.close();
        self.tending.wait().await;
    }

    /// Forgets a connection that turned out to be dead.
    pub(super) async fn forget(&self, whose: &Whose, dead: &Arc<Connection>) {
        let place = self.place(whose);
        let mut kept = place.lock().await;
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.connection, dead)) {
            *kept = None;
        }
    }

    fn place(&self, whose: &Whose) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT_MAX && !places.contains_key(whose) {
            // Whatever is not being used this moment makes room; what is goes on until its call ends.
            let free = places.iter().find(|(_, place)| Arc::strong_count(place) == 1).map(|(whose, _)| whose.clone());
            if let Some(free) = free {
                places.remove(&free);
            }
        }
        Arc::clone(places.entry(whose.clone()).or_default())
    }
}

/// What a connection lives under.
struct Lease {
    delegation: Arc<Delegation>,
    tool: String,
    target: String,
    clock: Clock,
}

impl Lease {
    fn stands(&self) -> bool {
        let reach = Reach { tool: &self.tool, target: Some(&self.target), risk: Risk::Read };
        self.delegation.covers(reach, self.clock.now()).is_ok()
    }
}

/// Closes a connection when its time has come.
async fn tend(
    places: Weak<Mutex<HashMap<Whose, Place>>>,
    whose: Whose,
    place: Weak<tokio::sync::Mutex<Option<Kept>>>,
    lease: Lease,
    over: CancellationToken,
) {
    let mut changes = lease.delegation.changes();
    loop {
        let told = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
            told = changes.changed() => told,
            () = over.cancelled() => Ok(()),
        };
        let stands = told.is_ok() && !over.is_cancelled() && lease.stands();
        let Some(place) = place.upgrade() else { return };
        let mut kept = place.lock().await;
        let Some(one) = kept.as_ref() else { return };
        let is_idle = one.used.elapsed() > IDLE && Arc::strong_count(&one.connection) == 1;
        if stands && !is_idle && one.opened.elapsed() < AGE_MAX && !one.connection.is_closed() {
            continue;
        }
        if let Some(one) = kept.take() {
            one.connection.close().await;
        }
        drop(kept);
        if let Some(places) = places.upgrade() {
            places.lock().unwrap_or_else(PoisonError::into_inner).remove(&whose);
        }
        return;
    }
}
