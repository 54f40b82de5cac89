//! Requests that came to no identity: counted, and recorded as totals, so that nobody can fill the ledger by sending bad tokens.
//!
//! Whatever a stranger sends, the ledger grows by at most one leaf a period, of bounded size: codes and reasons are the broker's own words, never
//! the caller's, and addresses are counted, not named. What could not be recorded is kept for the next leaf.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::audit::{Audit, Unavailable};
use crate::ledger::{Change, Draft};
use crate::refusal::{Code, Refusal};

/// Reasons that are told apart; the rest is one.
const REASONS_MAX: usize = 32;
/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 160;
/// Addresses that are told apart: more are not counted.
const ADDRESSES_MAX: usize = 10_000;
/// Beyond [`REASONS_MAX`].
const OTHER: &str = "other";

/// Counts what failed since the last record. Doors and server share one.
#[derive(Debug, Default)]
pub struct Failures {
    totals: Mutex<Totals>,
}

#[derive(Debug, Default)]
struct Totals {
    codes: BTreeMap<Code, u64>,
    reasons: BTreeMap<String, u64>,
    addresses: HashSet<IpAddr>,
}

impl Failures {
    /// Counts one.
    pub fn count(&self, refusal: &Refusal, from: IpAddr) {
        // Where there is a detail, it is in the message: what the caller read is what is counted.
        let mut reason: String = refusal.message().chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
        reason.truncate(REASON_MAX_BYTES);
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.add(refusal.code(), reason, 1);
        totals.see(from);
    }

    fn take(&self) -> Totals {
        std::mem::take(&mut *self.totals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, taken: Totals) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        for (code, count) in taken.codes {
            *totals.codes.entry(code).or_default() += count;
        }
        for (reason, count) in taken.reasons {
            totals.reason(reason, count);
        }
        for address in taken.addresses {
            totals.see(address);
        }
    }
}

impl Totals {
    fn add(&mut self, code: Code, reason: String, count: u64) {
        *self.codes.entry(code).or_default() += count;
        self.reason(reason, count);
    }

    fn reason(&mut self, reason: String, count: u64) {
        let fits = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reason);
        *self.reasons.entry(if fits { reason } else { OTHER.to_owned() }).or_default() += count;
    }

    fn see(&mut self, address: IpAddr) {
        if self.addresses.len() < ADDRESSES_MAX {
            self.addresses.insert(address);
        }
    }

    fn body(&self) -> Map<String, Value> {
        let codes: Map<String, Value> = self.codes.iter().map(|(code, count)| (code.as_str().to_owned(), Value::from(*count))).collect();
        Map::from_iter([
            ("totals".to_owned(), Value::Object(codes)),
            ("reasons".to_owned(), json!(self.reasons)),
            ("addresses".to_owned(), Value::from(self.addresses.len())),
        ])
    }
}

impl Audit {
    /// Records what failed since the last time, if anything did: one leaf, `auth.failed`.
    ///
    /// # Errors
    /// The ledger could not record; the counts are kept.
    pub async fn record_failures(&self, failures: &Failures) -> Result<(), Unavailable> {
        let totals = failures.take();
        if totals.codes.is_empty() {
            return Ok(());
        }
        let leaf = Draft::new("auth.failed", totals.body());
        match self.ledger.commit(Change { leaves: vec![leaf], writes: Vec::new(), payloads: Vec::new() }).await {
            Ok(_) => Ok(()),
            Err(error) => {
                failures.put_back(totals);
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn totals_are_bounded_and_survive_a_ledger_that_does_not_record() {
        let failures = Failures::default();
        for n in 0..20_000_u32 {
            let refusal = Refusal::new(Code::InvalidToken).detail(format!("reason {} {}", n % 100, "\u{202e}x".repeat(200)));
            failures.count(&refusal, IpAddr::V4(Ipv4Addr::from_bits(n)));
        }
        let taken = failures.take();
        failures.count(&Refusal::new(Code::MissingToken), IpAddr::V4(Ipv4Addr::LOCALHOST));
        failures.put_back(taken);
        let body = Value::Object(failures.take().body());
        assert_eq!(body["totals"], json!({"identity.invalid_token": 20_000, "identity.missing_token": 1}));
        assert_eq!(body["addresses"], ADDRESSES_MAX);
        let reasons = body["reasons"].as_object().unwrap();
        assert!(reasons.len() <= REASONS_MAX + 1 && reasons.contains_key(OTHER));
        assert_eq!(reasons.values().filter_map(Value::as_u64).sum::<u64>(), 20_001);
        assert!(crate::ledger::canonical(&body).unwrap().len() < 10_000);
        assert!(failures.take().codes.is_empty());
    }
}
