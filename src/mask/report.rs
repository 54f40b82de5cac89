//! What was masked: which rule, how often, where. Never a value.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Places that a report names; more are only counted.
const PLACES_MAX: usize = 100;

/// Counts of one result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskReport {
    /// SHA-256 of the rules in force, hexadecimal.
    pub set_hash: String,
    /// Values masked, by rule.
    pub counts: BTreeMap<String, u64>,
    places: BTreeMap<(String, String), u64>,
}

impl MaskReport {
    pub(super) fn new(set_hash: String) -> Self {
        Self { set_hash, ..Self::default() }
    }

    pub(super) fn count(&mut self, path: &str, rule: &str) {
        *self.counts.entry(rule.to_owned()).or_default() += 1;
        let place = (path.to_owned(), rule.to_owned());
        if self.places.len() < PLACES_MAX || self.places.contains_key(&place) {
            *self.places.entry(place).or_default() += 1;
        }
    }

    /// As leaves have it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "set_hash": self.set_hash, "counts": self.counts })
    }

    /// As the agent is told: path, rule, count.
    #[must_use]
    pub fn places_json(&self) -> Value {
        self.places.iter().map(|((path, rule), count)| json!({ "path": path, "rule": rule, "count": count })).collect()
    }
}
