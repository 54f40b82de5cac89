//! Sessions on hosts as rows of the store: found before a call is parsed, kept and forgotten with the record of the call that says so.
//!
//! Only the human and agent that opened one can name it: whose it is, is part of its id, and comes from the verified token. A session that has not been
//! used for its time is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::call::Request;
use crate::clock::{Clock, Timestamp};
use crate::ledger::{Change, Ledger, Row, Write};
use crate::operation::ssh::{Keep, Kept};
use crate::record::Unavailable;

/// The kind of the rows.
const SESSION: &str = "ssh_session";
/// The state of one that is open.
const OPEN: &str = "open";

/// Finds sessions.
#[derive(Clone)]
pub struct Workplaces {
    ledger: Ledger,
    clock: Clock,
}

/// A session as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kept: Kept,
    /// Seconds since 1970 until which it stands.
    until: i64,
}

impl Workplaces {
    /// Over this ledger.
    #[must_use]
    pub const fn new(ledger: Ledger, clock: Clock) -> Self {
        Self { ledger, clock }
    }

    /// A request with its human's and agent's sessions on hand, by id; `whose` is their word.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn on_hand(&self, request: Request, whose: &str) -> Result<Request, Unavailable> {
        let now = self.clock.now().timestamp();
        let mut sessions = BTreeMap::new();
        for row in self.ledger.by_key(SESSION, whose).await? {
            if let Ok(stored) = serde_json::from_slice::<Stored>(&row.body)
                && stored.until > now
            {
                sessions.insert(row.id, stored.kept);
            }
        }
        Ok(request.with_sessions(sessions))
    }
}

/// Rows that are looked at in one sweep.
const SWEPT_MAX: usize = 1_000;

impl Workplaces {
    /// Removes what was not used for its time.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn sweep(&self) -> Result<(), Unavailable> {
        let now = self.clock.now().timestamp();
        let is_over = |row: &Row| serde_json::from_slice::<Stored>(&row.body).is_ok_and(|stored| stored.until <= now);
        let rows = self.ledger.list(SESSION, &[OPEN], SWEPT_MAX).await?;
        let writes: Vec<Write> = rows
            .into_iter()
            .filter(is_over)
            .map(|row| Write::Remove { kind: SESSION.to_owned(), id: row.id, from: OPEN.to_owned() })
            .collect();
        if !writes.is_empty() {
            self.ledger.commit(Change { leaves: Vec::new(), writes, payloads: Vec::new() }).await?;
        }
        Ok(())
    }
}

/// What a call that succeeded changes of them.
#[must_use]
pub fn writes(keep: &Keep, now: Timestamp) -> Vec<Write> {
    let session = match keep {
        Keep::For(session, _) | Keep::Forget(session) => session,
    };
    let (kind, id) = (SESSION.to_owned(), session.id());
    let body = |kept: &Kept| {
        let stored = Stored { kept: kept.clone(), until: now.timestamp().saturating_add_unsigned(kept.idle_s) };
        serde_json::to_vec(&stored).unwrap_or_default()
    };
    // A row that may or may not be there is there after the first write.
    let ensure = |body: Vec<u8>| Write::Ensure(Row::new(SESSION, &id, OPEN, &session.whose, None, body));
    match keep {
        Keep::For(_, kept) => {
            let change = Write::Move { kind, id: id.clone(), from: OPEN.to_owned(), to: OPEN.to_owned(), body: Some(body(kept)) };
            vec![ensure(body(kept)), change]
        }
        Keep::Forget(_) => vec![ensure(Vec::new()), Write::Remove { kind, id: id.clone(), from: OPEN.to_owned() }],
    }
}
