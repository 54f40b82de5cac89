//! Delivery: for each channel a task that takes what is due, a few at once, so that a slow channel holds up no other.
//!
//! A notice is claimed before it is sent, by the row's version: of two brokers on one store, one gets it, and the time until which it is claimed is the
//! time at which it is due again, should that broker die. What came of an attempt is one commit: the row's state, and the leaf that says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::approval::{Event, Filed, State, View, earlier};
use crate::clock::Timestamp;
use crate::ledger::{Change, CommitError, Draft, Row, Write};
use crate::notice::courier::{Courier, Undelivered};
use crate::notice::outbox::{DEAD, DUE, EXPIRED, NOTICE, Outbox, Owed, SENT, moved, told};
use crate::notice::{Channel, Message};
use crate::record::Unavailable;

/// Attempts at once by one channel.
const AT_ONCE: usize = 4;
/// The store is looked at this often at least: its clock may have been turned, or another broker may have written.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// And this seldom at most.
const LOOK_NOT_BEFORE: Duration = Duration::from_millis(20);
/// A claim outlasts the attempt by this, so that what came of it can be written.
const CLAIM_MORE: Duration = Duration::from_secs(2);
/// When the broker stops, attempts under way have this long to end.
const DRAIN: Duration = Duration::from_secs(3);
/// What was told is kept so long, for whoever wonders; the leaf stays.
const KEPT: TimeDelta = TimeDelta::days(7);
/// And is cleared away this often.
const CLEAR_EVERY: Duration = Duration::from_secs(3_600);
/// Rows in one commit that clears away or gives up.
const CLEARED_MAX: usize = 500;

/// What nobody serves is given up when it has been due so long: no broker that is there has its channel.
const ORPHANED_AFTER: TimeDelta = TimeDelta::hours(1);
/// What another version wrote is left to it, and out of the way for so long.
const FOREIGN_FOR: Duration = Duration::from_secs(3_600);

/// What is known before an attempt.
enum Standing {
    /// It is to be told.
    Tell(Event, Owed, Box<View>),
    /// It need not be told any more: where the request stands by now.
    Pointless(Owed, &'static str),
    /// It is not one that this version wrote.
    Foreign,
}

impl Outbox {
    /// Delivers until the broker drains.
    pub async fn run(self, courier: Arc<Courier>, draining: CancellationToken) {
        let mut channels = JoinSet::new();
        for channel in self.channels.iter().cloned() {
            channels.spawn(self.clone().serve(Arc::new(channel), Arc::clone(&courier), draining.clone()));
        }
        while !draining.is_cancelled() {
            if let Err(error) = self.orphans().await {
                tracing::error!(cause = error.cause(), "notices of channels that are gone could not be given up");
            }
            tokio::select! {
                () = draining.cancelled() => {}
                () = tokio::time::sleep(CLEAR_EVERY) => {}
            }
        }
        while channels.join_next().await.is_some() {}
    }

    /// What is owed by channels that no broker serves any more is given up, so that it is on the list.
    async fn orphans(&self) -> Result<(), Unavailable> {
        let gone = |group: &str| self.channel(group).is_none();
        for (group, ..) in self.ledger.tally(NOTICE).await?.iter().filter(|(group, state, _)| state == DUE && gone(group)) {
            let overdue = self.clock.now() - ORPHANED_AFTER;
            for row in self.ledger.due(NOTICE, group, DUE, overdue, CLEARED_MAX).await? {
                if let Some(owed) = Owed::from_row(&row) {
                    self.settle(&row, owed, Err(Undelivered::never("no such channel is configured any more"))).await?;
                }
            }
        }
        Ok(())
    }

    async fn serve(self, channel: Arc<Channel>, courier: Arc<Courier>, draining: CancellationToken) {
        let mut woken = self.woken.subscribe();
        let mut attempts = JoinSet::new();
        let mut cleared: Option<Instant> = None;
        while !draining.is_cancelled() {
            woken.mark_unchanged();
            let looked = self.look(&channel, &courier, &mut attempts).await;
            let rest = looked.unwrap_or_else(|error| {
                tracing::error!(channel = channel.name, cause = error.cause(), "the outbox could not be read or written");
                LOOK_EVERY
            });
            if cleared.is_none_or(|at| at.elapsed() >= CLEAR_EVERY) {
                cleared = Some(Instant::now());
                if let Err(error) = self.clear(&channel.name).await {
                    tracing::error!(channel = channel.name, cause = error.cause(), "old notices could not be removed from the store");
                }
            }
            tokio::select! {
                () = draining.cancelled() => {}
                Some(_) = attempts.join_next() => {}
                // An error means that the outbox is gone; the sleep then bounds the loop.
                _ = woken.changed() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        // What does not end in time is due again when its claim runs out.
        let ending = async { while attempts.join_next().await.is_some() {} };
        drop(tokio::time::timeout(DRAIN, ending).await);
    }

    /// Begins what is due, as far as there is room; how long to rest then.
    async fn look(&self, channel: &Arc<Channel>, courier: &Arc<Courier>, attempts: &mut JoinSet<()>) -> Result<Duration, Unavailable> {
        while attempts.try_join_next().is_some() {}
        let room = AT_ONCE.saturating_sub(attempts.len());
        if room == 0 {
            return Ok(LOOK_EVERY);
        }
        for row in self.ledger.due(NOTICE, &channel.name, DUE, self.clock.now(), room).await? {
            match self.standing(&row).await? {
                Standing::Foreign => {
                    let at = Some(later(self.clock.now(), FOREIGN_FOR));
                    self.write(Vec::new(), moved(&row, DUE, at, row.body.clone())).await?;
                }
                Standing::Pointless(owed, was) => self.drop_pointless(&row, owed, was).await?,
                Standing::Tell(event, owed, view) => {
                    if let Some((row, owed)) = self.claim(channel, row, owed).await? {
                        let (outbox, channel, courier) = (self.clone(), Arc::clone(channel), Arc::clone(courier));
                        attempts.spawn(async move { outbox.attempt(&channel, &courier, (row, owed), event, &view).await });
                    }
                }
            }
        }
        let next = self.ledger.next_due(NOTICE, &channel.name, DUE).await?;
        let wait = next.map_or(LOOK_EVERY, |at| (at - self.clock.now()).to_std().unwrap_or_default());
        Ok(wait.clamp(LOOK_NOT_BEFORE, LOOK_EVERY))
    }

    /// Whether a notice is still worth telling: a request that is over waits for nobody.
    async fn standing(&self, row: &Row) -> Result<Standing, Unavailable> {
        let Some(owed) = Owed::from_row(row) else { return Ok(Standing::Foreign) };
        let view = self.ledger.get(Filed::KIND, &owed.approval).await?.as_ref().and_then(View::from_row);
        let (Some(event), Some(view)) = (Event::parse(&owed.event), view) else { return Ok(Standing::Foreign) };
        let state = view.state_at(self.clock.now());
        let is_over = event.asks() && state != State::Pending;
        Ok(if is_over { Standing::Pointless(owed, state.as_str()) } else { Standing::Tell(event, owed, Box::new(view)) })
    }

    /// The row with the claim written into it; `None` if somebody else has it.
    async fn claim(&self, channel: &Channel, row: Row, owed: Owed) -> Result<Option<(Row, Owed)>, Unavailable> {
        let until = later(self.clock.now(), channel.timeout + CLAIM_MORE);
        let owed = Owed { attempt: owed.attempt.saturating_add(1), next_at: Some(until), ..owed };
        let committed = self.write(Vec::new(), moved(&row, DUE, Some(until), owed.to_bytes())).await?;
        Ok(committed.then(|| (Row { version: row.version + 1, ..row }, owed)))
    }

    async fn attempt(&self, channel: &Channel, courier: &Courier, (row, owed): (Row, Owed), event: Event, view: &View) {
        let url = format!("{}/{}", self.page, owed.approval);
        let outcome = match earlier(&self.ledger, &owed.approval).await {
            Ok(earlier) => {
                let mut message = Message::of(row.id.clone(), event, (owed.first_at, self.clock.now()), url, view, &earlier);
                message.buttons = event.asks().then(|| self.buttons(&channel.name, &owed.approval));
                courier.send(channel, &message).await.map(|_| ())
            }
            Err(_) => Err(Undelivered::later("the store could not be read")),
        };
        if let Err(undelivered) = &outcome {
            tracing::warn!(
                channel = channel.name,
                approval = owed.approval,
                attempt = owed.attempt,
                why = undelivered.why,
                "a notice was not delivered"
            );
        }
        if let Err(error) = self.settle(&row, owed, outcome).await {
            tracing::error!(
                channel = channel.name,
                cause = error.cause(),
                "what came of a notice could not be recorded; it will be sent again"
            );
        }
    }

    /// Writes down what came of an attempt.
    async fn settle(&self, row: &Row, mut owed: Owed, outcome: Result<(), Undelivered>) -> Result<(), Unavailable> {
        let now = self.clock.now();
        let leaf = |kind, owed: &Owed, result: Value| {
            let mut body = told(&row.id, owed);
            body.insert("res".to_owned(), result);
            vec![Draft::new(kind, body)]
        };
        owed.next_at = None;
        let (leaves, write) = match outcome {
            Ok(()) => {
                owed.last_error = None;
                (leaf("notice.sent", &owed, json!({ "status": "sent" })), moved(row, SENT, Some(now + KEPT), owed.to_bytes()))
            }
            Err(undelivered) => {
                owed.last_error = Some(undelivered.why.clone());
                if undelivered.is_final || owed.attempt >= self.pace.attempts_max {
                    tracing::error!(channel = owed.channel, approval = owed.approval, why = undelivered.why, "a notice was given up");
                    (
                        leaf("notice.dead", &owed, json!({ "status": "dead", "why": undelivered.why })),
                        moved(row, DEAD, None, owed.to_bytes()),
                    )
                } else {
                    // Without randomness the wait is the shorter half.
                    let random = crate::id::random_128().map_or(0, |[first, ..]| first);
                    let next = later(now, self.pace.wait(owed.attempt, undelivered.after, random));
                    owed.next_at = Some(next);
                    (Vec::new(), moved(row, DUE, Some(next), owed.to_bytes()))
                }
            }
        };
        self.write(leaves, write).await.map(|_| ())
    }

    /// Drops what nobody needs to be told any more, on record.
    async fn drop_pointless(&self, row: &Row, mut owed: Owed, was: &'static str) -> Result<(), Unavailable> {
        owed.next_at = None;
        let mut body = told(&row.id, &owed);
        body.insert("res".to_owned(), json!({ "status": "expired", "was": was }));
        let kept = Some(self.clock.now() + KEPT);
        self.write(vec![Draft::new("notice.expired", body)], moved(row, EXPIRED, kept, owed.to_bytes())).await.map(|_| ())
    }

    /// Removes what was told, or dropped, long ago.
    async fn clear(&self, channel: &str) -> Result<(), Unavailable> {
        for state in [SENT, EXPIRED] {
            let rows = self.ledger.due(NOTICE, channel, state, self.clock.now(), CLEARED_MAX).await?;
            let remove = |row: Row| Write::Remove { kind: NOTICE.to_owned(), id: row.id, from: row.state };
            let writes: Vec<Write> = rows.into_iter().map(remove).collect();
            if !writes.is_empty() {
                self.ledger.commit(Change { leaves: Vec::new(), writes, payloads: Vec::new() }).await?;
            }
        }
        Ok(())
    }

    /// Commits; `false` if somebody else wrote to the row first.
    async fn write(&self, leaves: Vec<Draft>, write: Write) -> Result<bool, Unavailable> {
        match self.ledger.commit(Change { leaves, writes: vec![write], payloads: Vec::new() }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now + TimeDelta::from_std(by).unwrap_or_default()
}
