//! Who a voter is now: a vote counts for as long as whoever cast it might still cast it, and that is asked again whenever votes are counted.
//!
//! Of a human with a token or a session, the newest word of their issuer counts, whichever of the two it came with: it is written down when they come to
//! the human's door. Of one for whom a system spoke, the configuration of this very moment counts. Nobody is asked behind their back: what an issuer has
//! not told since, is not known here.

use serde::{Deserialize, Serialize};

use crate::approval::Desk;
use crate::approval::filed::Vote;
use crate::identity::{Human, Person};
use crate::ledger::{Change, CommitError, Row, Write};
use crate::record::Unavailable;

/// Rows that say which teams a human was last seen in.
const VOTER: &str = "voter";
const SEEN: &str = "seen";

/// What is known of a voter.
#[derive(Serialize, Deserialize)]
struct Known {
    teams: Vec<String>,
    /// When their issuer said so, in microseconds.
    issued_us: i64,
}

impl Desk {
    /// Who voted, in the teams that were last told of them; `None` for whom nobody speaks any more.
    pub(super) async fn voter(&self, vote: &Vote) -> Result<Option<Human>, Unavailable> {
        let mut human = vote.by.human(vote.teams.clone());
        if let Some(system) = &vote.vouched_by {
            let mut listed = self.settings.spoken_for.get(system).into_iter().flatten();
            return Ok(listed.find(|listed| listed.issuer == human.issuer && listed.subject == human.subject).cloned());
        }
        if let Some(row) = self.ledger.get(VOTER, &self.recorder.human(&human)).await? {
            // A row that cannot be read says that nothing is known of them.
            human.teams = serde_json::from_slice(&row.body).map(|known: Known| known.teams).unwrap_or_default();
        }
        Ok(Some(human))
    }

    /// Takes note of what a human's issuer says of them by now, if they ever had a say here.
    ///
    /// # Errors
    /// It could not be written down.
    pub async fn met(&self, person: &Person) -> Result<(), Unavailable> {
        if person.vouched_by().is_some() {
            return Ok(());
        }
        let Some(row) = self.ledger.get(VOTER, &self.recorder.human(person.human())).await? else { return Ok(()) };
        let Some(write) = newer(person, row) else { return Ok(()) };
        match self.ledger.commit(Change { leaves: Vec::new(), writes: vec![write], payloads: Vec::new() }).await {
            // A conflict is another request of theirs that took note at the same moment.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down in which teams a human is, where that is new and their issuer says it: what another system vouches for says nothing of it.
    pub(super) async fn seen(&self, person: &Person) -> Result<Option<Write>, Unavailable> {
        if person.vouched_by().is_some() {
            return Ok(None);
        }
        let id = self.recorder.human(person.human());
        Ok(match self.ledger.get(VOTER, &id).await? {
            Some(row) => newer(person, row),
            None => Some(Write::Ensure(Row::new(VOTER, &id, SEEN, "", None, body(person)))),
        })
    }
}

fn body(person: &Person) -> Vec<u8> {
    let known = Known { teams: person.human().teams.clone(), issued_us: person.issued_at().timestamp_micros() };
    // Texts and a number always serialise; an empty body would say that nothing is known.
    serde_json::to_vec(&known).unwrap_or_default()
}

/// The row with what is new of them; nothing where an issuer's later word is there already, as of an old session beside a new token.
fn newer(person: &Person, row: Row) -> Option<Write> {
    let known: Option<Known> = serde_json::from_slice(&row.body).ok();
    let issued_us = person.issued_at().timestamp_micros();
    // The same teams of a later word are taken note of too: else a word from in between would pass for the newest.
    if known.is_some_and(|known| known.issued_us > issued_us || known.issued_us == issued_us && known.teams == person.human().teams) {
        return None;
    }
    Some(Write::MoveIf {
        kind: VOTER.to_owned(),
        id: row.id,
        from: SEEN.to_owned(),
        to: SEEN.to_owned(),
        version: row.version,
        expires_at: None,
        body: body(person),
    })
}
