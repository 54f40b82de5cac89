//! Looking at a request before deciding it: what was decided of the identical call, and whether this human could decide now.
//!
//! Nothing here decides or promises: what is answered may be otherwise a moment later, and [`Desk::decide`] judges again.

use crate::approval::sight::{EARLIER_MAX, Sight};
use crate::approval::{Desk, Electorate, Filed, View};
use crate::identity::Person;
use crate::ledger::Ledger;
use crate::record::Unavailable;
use crate::refusal::Refusal;

/// What would be said to a decision now, whatever its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stance {
    /// To a yes.
    pub approve: Result<(), Refusal>,
    /// To a no.
    pub deny: Result<(), Refusal>,
}

impl View {
    /// What a decision names so that it counts for exactly what was shown: another vote, or any other change of the row, makes another one.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{}.{}", self.version, self.filed.commit)
    }
}

/// Other requests for the identical call, newest first.
///
/// # Errors
/// The store cannot be read.
pub async fn earlier(ledger: &Ledger, id: &str) -> Result<Vec<View>, Unavailable> {
    let rows = match ledger.get(Filed::KIND, id).await? {
        Some(row) => ledger.by_key(Filed::KIND, &row.key).await?,
        None => Vec::new(),
    };
    Ok(rows.iter().rev().filter(|row| row.id != id).take(EARLIER_MAX).filter_map(View::from_row).collect())
}

impl Desk {
    /// What an approver is shown of a request, with what became of others for the identical call.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sight(&self, view: &View) -> Result<Sight, Unavailable> {
        Ok(Sight::of(&view.filed, &earlier(&self.ledger, &view.filed.id).await?, self.clock.now()))
    }

    /// What this human would be told if they decided now.
    #[must_use]
    pub fn stance(&self, person: &Person, view: &View, electorate: &dyn Electorate) -> Stance {
        let would = |approve| self.may_vote(person, view, approve, electorate).map(|_| ());
        Stance { approve: would(true), deny: would(false) }
    }
}
