//! A rate limit: so many a minute for each key, held in memory for a bounded number of keys.
//!
//! A leaf, since two rooms count: the server by address, the agent's door by identity. A key's whole state is the instant at which its bucket will
//! be full again, so that a key which was quiet for a minute need not be remembered at all. Written here because `governor` brings a dozen crates
//! for it and does not bound its keys. Nothing of it outlives the process, and several brokers count each for itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered. Beyond it all are forgotten at once: whoever has so many keys at hand could have used fresh ones anyway.
const KEYS_MAX: usize = 10_000;
/// The time in which a bucket fills.
const MINUTE: Duration = Duration::from_secs(60);

/// On a response whose body is still being worked for: it keeps its place among the requests at once, and its deadline, until the body ends.
#[derive(Debug, Clone, Copy)]
pub struct HoldsPlace;

/// How long to wait until one more would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(Duration);

impl Wait {
    /// For `Retry-After`: whole seconds, rounded up.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

/// A token bucket for each key.
#[derive(Debug)]
pub struct Limiter<K> {
    every: Duration,
    /// When the bucket of a key will be full again; a key that is not here has a full one.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Limiter<K> {
    /// So many a minute, all of them at once if need be; `None` for 0, which is no limit.
    #[must_use]
    pub fn per_minute(count: u32) -> Option<Self> {
        (count > 0).then(|| Self { every: MINUTE / count, full_at: Mutex::default() })
    }

    /// Whether one more would pass, without taking it.
    ///
    /// # Errors
    /// How long to wait, if not.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), Wait> {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.next(full_at.get(key).copied(), now).map(|_| ())
    }

    /// Takes one, if one is left.
    ///
    /// # Errors
    /// How long to wait, if none is.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Wait> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.next(full_at.get(&key).copied(), now)?;
        if full_at.len() >= KEYS_MAX && !full_at.contains_key(&key) {
            full_at.retain(|_, full_at| *full_at > now);
            if full_at.len() >= KEYS_MAX {
                full_at.clear();
            }
        }
        full_at.insert(key, next);
        Ok(())
    }

    fn next(&self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Wait> {
        let next = full_at.map_or(now, |full_at| full_at.max(now)) + self.every;
        match next.duration_since(now).checked_sub(MINUTE) {
            Some(over) if !over.is_zero() => Err(Wait(over)),
            _ => Ok(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_as_time_goes() {
        let limiter = Limiter::per_minute(3).unwrap();
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.check(&"a", began), Ok(()));
            assert_eq!(limiter.take("a", began), Ok(()));
        }
        let wait = limiter.take("a", began).unwrap_err();
        assert_eq!((wait, wait.seconds()), (Wait(Duration::from_secs(20)), 20));
        assert_eq!(limiter.check(&"a", began), Err(wait), "a refusal costs nothing");
        assert_eq!(limiter.take("b", began), Ok(()), "another key has its own");
        let later = began + Duration::from_secs(20);
        assert_eq!(limiter.take("a", later), Ok(()));
        assert!(limiter.take("a", later).is_err());
        assert!((0..3).all(|_| limiter.take("a", later + MINUTE).is_ok()));
        assert!(Limiter::<u8>::per_minute(0).is_none());
    }

    #[test]
    fn keys_are_bounded_and_quiet_ones_forgotten_first() {
        let limiter = Limiter::per_minute(1).unwrap();
        let began = Instant::now();
        let later = began + MINUTE / 2;
        for key in 0..KEYS_MAX {
            limiter.take(key, if key < 10 { later } else { began }).unwrap();
        }
        limiter.take(KEYS_MAX, began + MINUTE).unwrap();
        assert_eq!(limiter.full_at.lock().unwrap().len(), 11);
        assert!(limiter.check(&5, began + MINUTE).is_err());
        for key in 0..3 * KEYS_MAX {
            let _full = limiter.take(key, began + MINUTE);
        }
        assert!(limiter.full_at.lock().unwrap().len() <= KEYS_MAX);
    }
}
