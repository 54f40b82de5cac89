//! The outbox: rows that say what is to be told to whom, what became of each, and the list of those that were given up.
//!
//! A row's id is made of what it tells, so that the same is never owed twice; its group is its channel, its key the request, and the time at which it is
//! looked at next is the store's column, so that whoever delivers asks for what is due and for nothing else.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::approval::{Event, Filed, Herald};
use crate::clock::{Clock, Timestamp, rfc3339};
use crate::id::ApprovalId;
use crate::identity::Person;
use crate::ledger::{Change, CommitError, Ledger, Row, Write};
use crate::notice::message::Buttons;
use crate::notice::{Channel, Pace, Settings};
use crate::record::{Recorder, Unavailable};
use crate::refusal::{Code, Refusal};

/// The kind of the rows.
pub(super) const NOTICE: &str = "notice";
/// It is to be told, now or later.
pub(super) const DUE: &str = "due";
/// Notices of a channel that are looked at for what its trouble is.
const TRIED_MAX: usize = 32;
/// It was told.
pub(super) const SENT: &str = "sent";
/// It had become pointless.
pub(super) const EXPIRED: &str = "expired";
/// It was given up.
pub(super) const DEAD: &str = "dead";

/// Dead letters that one listing shows.
const LIST_MAX: usize = 500;

/// The body of a row, version 1. It names the request, and holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owed {
    pub(super) v: u8,
    /// By which channel.
    pub(super) channel: String,
    /// What happened.
    pub(super) event: String,
    /// To which request.
    pub(super) approval: String,
    /// Attempts so far.
    pub(super) attempt: u32,
    /// When it happened.
    pub(super) first_at: Timestamp,
    /// When it is looked at next, if it is still to be told.
    pub(super) next_at: Option<Timestamp>,
    /// Why the last attempt came to nothing.
    pub(super) last_error: Option<String>,
}

impl Owed {
    pub(super) fn from_row(row: &Row) -> Option<Self> {
        serde_json::from_slice(&row.body).ok().filter(|owed: &Self| owed.v == 1)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings, numbers and times always serialises; an empty body would be refused when read.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Owes notices, and knows what became of them. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    pub(super) channels: Arc<[Channel]>,
    pub(super) pace: Pace,
    /// Where humans decide, without a trailing slash.
    pub(super) page: Arc<str>,
    /// Moves when something new is owed.
    pub(super) woken: watch::Sender<u64>,
    recorder: Arc<Recorder>,
}

impl Herald for Outbox {
    fn notices(&self, event: Event, filed: &Filed) -> Vec<Write> {
        let now = self.clock.now();
        let owe = |channel: &Channel| {
            // Votes tell two decisions on one request apart, should there ever be two; what is left to pass on, one team from the next.
            let turn = (filed.votes.len(), filed.escalations.len());
            let what = format!("{}\n{}\n{}\n{turn:?}", filed.id, event.as_str(), channel.name);
            let hash = hex::encode(digest(&SHA256, what.as_bytes()));
            let id = format!("ntc_{}", hash.get(..32).unwrap_or(&hash));
            let owed = Owed {
                v: 1,
                channel: channel.name.clone(),
                event: event.as_str().to_owned(),
                approval: filed.id.clone(),
                attempt: 0,
                first_at: now,
                next_at: Some(now),
                last_error: None,
            };
            // Owed already is owed: a notice must never be what keeps a decision from being written.
            Write::Ensure(Row::new(NOTICE, &id, DUE, &filed.id, Some(now), owed.to_bytes()).grouped(&channel.name))
        };
        self.channels.iter().filter(|channel| channel.wants(event, filed)).map(owe).collect()
    }

    fn committed(&self) {
        self.woken.send_modify(|count| *count += 1);
    }
}

impl Outbox {
    /// An outbox over the store; humans decide at `page`, followed by the request's id.
    #[must_use]
    pub fn new(ledger: Ledger, recorder: Arc<Recorder>, clock: Clock, settings: Settings, page: &str) -> Self {
        let Settings { channels, pace } = settings;
        Self { ledger, clock, channels: channels.into(), pace, page: page.into(), woken: watch::Sender::new(0), recorder }
    }

    /// What the buttons of a message in this channel say.
    pub(super) fn buttons(&self, channel: &str, id: &str) -> Buttons {
        let of = |approve| format!("{id}.{}", self.seal(channel, id, approve));
        Buttons { approve: of(true), deny: of(false) }
    }

    /// The request that a clicked button is of, if it is a button for this decision that this store's broker has put into a message of this channel.
    /// Whoever can write into a channel, or knows an id, must not be able to put an innocent text above a button that approves.
    #[must_use]
    pub fn pressed(&self, channel: &str, approve: bool, value: &str) -> Option<ApprovalId> {
        let (id, seal) = value.split_once('.')?;
        let is_ours =
            aws_lc_rs::constant_time::verify_slices_are_equal(seal.as_bytes(), self.seal(channel, id, approve).as_bytes()).is_ok();
        ApprovalId::parse(id).ok().filter(|_| is_ours)
    }

    fn seal(&self, channel: &str, id: &str, approve: bool) -> String {
        let decision = if approve { "approve" } else { "deny" };
        hex::encode(self.ledger.keys().digest(format!("countersign button/v1\0{channel}\0{decision}\0{id}").as_bytes()))
    }

    /// A channel by its name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// The channels, with how many notices of each are due, sent and given up, and why what is due was not taken when it was last tried.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn channels(&self) -> Result<Value, Unavailable> {
        let tally = self.ledger.tally(NOTICE).await?;
        let count =
            |name: &str, state: &str| tally.iter().find(|(group, of, _)| group == name && of == state).map_or(0, |(_, _, count)| *count);
        let mut shown = Vec::new();
        for channel in self.channels.iter() {
            // The newest may not have been tried yet; whatever was tried says the same as its neighbours.
            let due = self.ledger.by_group(NOTICE, &channel.name, &[DUE], TRIED_MAX).await?;
            let last_error = due.iter().filter_map(Owed::from_row).find_map(|owed| owed.last_error);
            shown.push(json!({
                "name": channel.name,
                "kind": channel.kind.as_str(),
                "events": channel.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(),
                "environments": channel.environments,
                "risk_at_least": channel.risk_at_least.as_str(),
                "due": count(&channel.name, DUE),
                "sent": count(&channel.name, SENT),
                "dead": count(&channel.name, DEAD),
                "last_error": last_error,
            }));
        }
        Ok(Value::from(shown))
    }

    /// What was given up, newest last.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn dead(&self) -> Result<Value, Unavailable> {
        let rows = self.ledger.list(NOTICE, &[DEAD], LIST_MAX).await?;
        Ok(Value::from(rows.iter().filter_map(|row| Some(shown(row, &Owed::from_row(row)?))).collect::<Vec<_>>()))
    }

    /// Owes once more what was given up.
    ///
    /// # Errors
    /// Outer: the ledger cannot record it. Inner: there is no such dead letter, or no such channel any more.
    pub async fn retry(&self, person: &Person, id: &str) -> Result<Result<Value, Refusal>, Unavailable> {
        let unknown = || Refusal::new(Code::NotFound).detail("there is no such dead letter");
        let found = self.ledger.get(NOTICE, id).await?.filter(|row| row.state == DEAD);
        let Some((row, mut owed)) = found.and_then(|row| Owed::from_row(&row).map(|owed| (row, owed))) else { return Ok(Err(unknown())) };
        if self.channel(&owed.channel).is_none() {
            return Ok(Err(Refusal::new(Code::NotFound).detail(format!("no channel `{}` is configured any more", owed.channel))));
        }
        let now = self.clock.now();
        (owed.attempt, owed.next_at) = (0, Some(now));
        let leaf = self.recorder.personal("notice.retried", person, told(id, &owed));
        let write = moved(&row, DUE, Some(now), owed.to_bytes());
        let writes = std::iter::once(write).chain(self.recorder.subjects(person.human(), None)).collect();
        let committed = self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await;
        match committed.inspect_err(|_| self.recorder.forget()) {
            Ok(_) => {
                self.committed();
                Ok(Ok(shown(&row, &owed)))
            }
            Err(CommitError::Conflict { .. }) => Ok(Err(unknown())),
            Err(error) => Err(error.into()),
        }
    }
}

/// A row in another state, if nobody wrote to it since it was read.
pub(super) fn moved(row: &Row, to: &str, at: Option<Timestamp>, body: Vec<u8>) -> Write {
    Write::MoveIf {
        kind: NOTICE.to_owned(),
        id: row.id.clone(),
        from: row.state.clone(),
        to: to.to_owned(),
        version: row.version,
        expires_at: at,
        body,
    }
}

/// What every leaf about a notice says.
pub(super) fn told(id: &str, owed: &Owed) -> Map<String, Value> {
    Map::from_iter([
        ("notice".to_owned(), json!({ "id": id, "channel": owed.channel, "event": owed.event, "attempts": owed.attempt })),
        ("appr".to_owned(), json!({ "id": owed.approval })),
    ])
}

fn shown(row: &Row, owed: &Owed) -> Value {
    json!({
        "notice_id": row.id,
        "channel": owed.channel,
        "event": owed.event,
        "approval_id": owed.approval,
        "attempts": owed.attempt,
        "first_at": rfc3339(owed.first_at),
        "last_error": owed.last_error,
    })
}
