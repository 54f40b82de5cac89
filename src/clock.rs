//! The clock that every room asks: built by `main` (the system's) or by a test's harness (one that it turns by hand).
//!
//! Expiry is a security decision, so no room reads the system's time by itself; what one room sees, all see.

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
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { ahead_us: Arc::new(AtomicI64::new(0)) }
    }

    /// Now, in microseconds' resolution.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
        let now = Utc::now();
        now + TimeDelta::microseconds(self.ahead_us.load(Ordering::Relaxed))
    }

    /// Turns this clock and all its clones forward (or back, by a negative `by`). Timers already running are not touched.
    pub fn turn(&self, by: TimeDelta) {
        self.ahead_us.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}

/// RFC 3339 with microseconds and `Z`: the one spelling of time in records and answers.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
