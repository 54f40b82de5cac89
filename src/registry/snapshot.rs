//! The registry at one moment, as the store has it: what calls are asked about a thousand times between two changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::identity::{Agent, Human};
use crate::ledger::Ledger;
use crate::record::Unavailable;
use crate::registry::{AGENT, DELEGATION, Lent, REVOKED, ROWS_MAX, Registered, SUSPENDED, TOKEN, Who};

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    agents: BTreeMap<Who, Registered>,
    /// By human and agent, oldest first.
    lent: BTreeMap<(Who, Who), Vec<Lent>>,
    /// Ids of tokens that were taken back.
    taken_back: BTreeSet<String>,
}

fn agent(agent: &Agent) -> Who {
    Who { issuer: agent.issuer.clone(), id: agent.id.clone() }
}

impl Snapshot {
    pub(super) async fn read(ledger: &Ledger) -> Result<Self, Unavailable> {
        let mut snapshot = Self::default();
        // A row that cannot be read is no row to pass over: it may be the one that says no.
        let damaged = |id: &str| Unavailable::because(format!("the registry's row `{id}` cannot be read"));
        for row in ledger.list(AGENT, &["active", SUSPENDED], ROWS_MAX).await? {
            let registered = Registered::from_row(&row).ok_or_else(|| damaged(&row.id))?;
            snapshot.agents.insert(registered.agent.clone(), registered);
        }
        for row in ledger.list(DELEGATION, &["active", REVOKED], ROWS_MAX).await? {
            let lent = Lent::from_row(&row).ok_or_else(|| damaged(&row.id))?;
            snapshot.lent.entry((lent.human.clone(), lent.agent.clone())).or_default().push(lent);
        }
        snapshot.taken_back = ledger.list(TOKEN, &[REVOKED], ROWS_MAX).await?.into_iter().map(|row| row.id).collect();
        if snapshot.agents.len() >= ROWS_MAX || snapshot.all_lent().count() >= ROWS_MAX {
            return Err(Unavailable::because(format!("the registry has more than {ROWS_MAX} agents or delegations")));
        }
        Ok(snapshot)
    }

    pub(super) fn agent(&self, of: &Agent) -> Option<&Registered> {
        self.agents.get(&agent(of))
    }

    pub(super) fn is_taken_back(&self, token_id: &str) -> bool {
        self.taken_back.contains(token_id)
    }

    pub(super) fn agents(&self) -> impl Iterator<Item = &Registered> {
        self.agents.values()
    }

    /// What this human lent this agent, oldest first.
    pub(super) fn lent(&self, human: &Human, to: &Agent) -> &[Lent] {
        let human = Who { issuer: human.issuer.clone(), id: human.subject.clone() };
        self.lent.get(&(human, agent(to))).map_or(&[], Vec::as_slice)
    }

    /// Delegations that ended before `then`, and after which the same human lent the same agent something else.
    pub(super) fn followed(&self, then: Timestamp) -> impl Iterator<Item = &Lent> {
        let earlier = |made: &[Lent]| made.len().saturating_sub(1);
        self.lent.values().flat_map(move |made| made.iter().take(earlier(made))).filter(move |lent| lent.until < then)
    }

    pub(super) fn all_lent(&self) -> impl Iterator<Item = &Lent> {
        self.lent.values().flatten()
    }
}
