//! The clock that every room asks: built by `main` (the system's) or by a test's harness (one that it turns by hand).
//!
//! Expiry is a security decision, so no room reads the system's time by itself; what one room sees, all see; and it never goes back: where the
//! system's clock is set back, this one stands still until time has caught up, and what had expired stays so. A restart goes on from the time of
//! the log's last leaf.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// A point in time, UTC.
pub type Timestamp = DateTime<Utc>;

/// Tells the time. Cheap to clone; clones agree.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Microseconds by which this clock is ahead of the system's.
    ahead_us: Arc<AtomicI64>,
    /// The latest time told, in microseconds since 1970.
    latest_us: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { ahead_us: Arc::default(), latest_us: Arc::default() }
    }

    /// Now, in microseconds' resolution.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
        let now = Utc::now();
        let now = now + TimeDelta::microseconds(self.ahead_us.load(Ordering::Relaxed));
        self.not_before(now)
    }

    /// Tells that this time has been seen: nothing earlier will be told again. The later of it and what was told before.
    pub fn not_before(&self, at: Timestamp) -> Timestamp {
        let us = at.timestamp_micros();
        let latest = self.latest_us.fetch_max(us, Ordering::Relaxed).max(us);
        DateTime::from_timestamp_micros(latest).unwrap_or(at)
    }

    /// Turns the system's clock, as this clock and its clones see it, forward or back. Timers already running are not touched.
    pub fn turn(&self, by: TimeDelta) {
        self.ahead_us.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}

/// RFC 3339 with microseconds and `Z`: the one spelling of time in records and answers.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
