//! How humans decide: how many requests each of them decided, how long they took, and how often so fast that nobody can have read them.
//!
//! It judges nobody, it makes visible: rubber-stamping looks like many approvals, hardly a denial, and seconds between question and answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::approval::filed::Vote;
use crate::approval::{Desk, Filed, State, View};
use crate::record::Unavailable;

/// The newest requests that are counted.
const COUNTED_MAX: usize = 5_000;
/// Whoever decides within so many seconds has hardly read it.
const HASTY_S: i64 = 10;

/// What one human decided.
#[derive(Default)]
struct Decider {
    approved: u64,
    denied: u64,
    /// Seconds between question and answer.
    took: Vec<i64>,
}

impl Desk {
    /// Votes of the newest requests by human: how many, and how long after they were asked.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn summary(&self) -> Result<Value, Unavailable> {
        let states = State::ALL.map(State::as_str);
        let rows = self.ledger.list(Filed::KIND, &states, COUNTED_MAX).await?;
        let views: Vec<View> = rows.iter().filter_map(View::from_row).collect();
        let mut deciders: BTreeMap<(String, String), Decider> = BTreeMap::new();
        for view in &views {
            // What took an approval back is no decision of the request.
            let decisions = view.filed.votes.len().saturating_sub(usize::from(view.state == State::Revoked));
            for vote in view.filed.votes.iter().take(decisions) {
                count(deciders.entry((vote.by.issuer.clone(), vote.by.id.clone())).or_default(), vote, &view.filed);
            }
        }
        let now = self.clock.now();
        let of_state = |state: State| views.iter().filter(|view| view.state_at(now) == state).count();
        let states: serde_json::Map<String, Value> =
            State::ALL.iter().map(|state| (state.as_str().to_owned(), Value::from(of_state(*state)))).collect();
        let unreviewed = self.unreviewed().await?;
        let humans: Vec<Value> = deciders.into_iter().map(|((issuer, id), decider)| told(&issuer, &id, decider)).collect();
        Ok(json!({ "requests": views.len(), "states": states, "glass_to_review": unreviewed, "humans": humans }))
    }
}

fn count(decider: &mut Decider, vote: &Vote, filed: &Filed) {
    *(if vote.approve { &mut decider.approved } else { &mut decider.denied }) += 1;
    decider.took.push((vote.at - filed.asked_at).num_seconds().max(0));
}

fn told(issuer: &str, id: &str, mut decider: Decider) -> Value {
    decider.took.sort_unstable();
    let median = decider.took.get(decider.took.len() / 2).copied().unwrap_or_default();
    let hasty = decider.took.iter().filter(|took| **took < HASTY_S).count();
    json!({
        "issuer": issuer, "id": id, "approved": decider.approved, "denied": decider.denied,
        "median_s": median, "under_10_s": hasty,
    })
}
