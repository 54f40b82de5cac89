//! The registry: which agents there are, and what humans have lent them. Both can be taken back, and the next call knows.
//!
//! Rows and leaves change in one transaction; a snapshot in memory, made anew after each change, answers the many questions that calls ask. The
//! snapshot may be a moment late, so it never has the last word: the transaction that admits a call also demands that its agent's row is not
//! suspended and its delegation's not revoked (`guards`). Who may manage what, policies say, behind [`Stewards`].

mod agents;
mod delegations;
mod entry;
mod snapshot;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::TimeDelta;
use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::id::DelegationId;
use crate::identity::service::SignedIn;
use crate::identity::{Agent, Delegation, Human, Person, Reach, Standing};
use crate::ledger::{Change, CommitError, Draft, Ledger, Row, Write};
use crate::record::{Recorder, Unavailable};
use crate::refusal::{Code, Refusal};

pub use delegations::Lending;
pub use entry::{Lent, Registered, Who};
use snapshot::Snapshot;

/// The rows of agents.
pub const AGENT: &str = "agent";
/// The rows of delegations.
pub const DELEGATION: &str = "delegation";
/// The rows of tokens of the token service that were taken back.
pub const TOKEN: &str = "token";
/// The state of an agent that may not act.
pub const SUSPENDED: &str = "suspended";
/// The state of a delegation that was taken back.
pub const REVOKED: &str = "revoked";

/// Rows of one kind that the registry holds.
const ROWS_MAX: usize = 50_000;
/// A token that was taken back is remembered for so long after its end, whatever the clocks of others say.
const TOKENS_KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// A delegation that another followed is listed for so long after its end.
const DELEGATIONS_KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// Rows that are removed at once.
const SWEEP_MAX: usize = 1_000;
/// The longest description or reason, in bytes.
const TEXT_MAX_BYTES: usize = 1_000;

/// What the registry demands before an agent may act.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Agents that are not registered may not act.
    pub agents_required: bool,
    /// Agents may act only under a delegation that their human made here, whatever their token says.
    pub delegations_required: bool,
    /// Targets that a delegation may name.
    pub targets: BTreeSet<String>,
    /// Tools that a delegation may name.
    pub tools: BTreeSet<String>,
}

/// Says who may manage agents and delegations; the policies stand behind it.
pub trait Stewards: Send + Sync {
    /// The policies that let this human do `verb` (`register`, `suspend`, `resume`, `revoke`) with this agent; `own` = the human is its owner.
    ///
    /// # Errors
    /// No policy allows it.
    fn may_manage(&self, human: &Human, agent: &Agent, verb: &'static str, own: bool) -> Result<Vec<String>, Refusal>;
}

/// Agents and delegations. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    ledger: Ledger,
    recorder: Arc<Recorder>,
    clock: Clock,
    settings: Settings,
    snapshot: RwLock<Arc<Snapshot>>,
    changes: watch::Sender<u64>,
    /// One change at a time, from the commit to the new snapshot.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Registry {
    /// The registry as the store has it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(ledger: Ledger, recorder: Arc<Recorder>, clock: Clock, settings: Settings) -> Result<Self, Unavailable> {
        let snapshot = Snapshot::read(&ledger).await?;
        let inner = Inner {
            ledger,
            recorder,
            clock,
            settings,
            snapshot: RwLock::new(Arc::new(snapshot)),
            changes: watch::Sender::new(0),
            turn: tokio::sync::Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The delegation that a token for this agent of this human would stand on; `None` where none is registered and none is demanded.
    ///
    /// # Errors
    /// The agent is suspended or not known, or nothing that the human lent it stands.
    pub fn lent_now(&self, human: &Human, agent: &Agent, now: Timestamp) -> Result<Option<Lent>, Refusal> {
        let snapshot = self.snapshot();
        self.check_agent(&snapshot, agent)?;
        let made = snapshot.lent(human, agent);
        let widest = made.iter().filter(|lent| lent.is_live(now)).max_by_key(|lent| (lent.risk, lent.until));
        match (widest, made.last()) {
            (Some(lent), _) => Ok(Some(lent.clone())),
            (None, Some(last)) => Err(Refusal::new(if last.is_revoked { Code::DelegationRevoked } else { Code::TokenExpired })),
            (None, None) if self.inner.settings.delegations_required => Err(Refusal::new(Code::NoDelegation)),
            (None, None) => Ok(None),
        }
    }

    /// Whether what an agent shows to get another token still stands itself, and is the human's to pass on: not taken back, its agents not
    /// suspended, and none of them under a delegation, whose bounds would not travel.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check_shown(&self, shown: &SignedIn) -> Result<(), Refusal> {
        let snapshot = self.snapshot();
        if shown.token_id().is_some_and(|id| snapshot.is_taken_back(id)) {
            return Err(Refusal::new(Code::TokenRevoked));
        }
        for agent in shown.agents().iter().flat_map(|agent| known_as(agent, shown.human())) {
            self.check_suspended(&snapshot, &agent)?;
            if !snapshot.lent(shown.human(), &agent).is_empty() {
                let why = "what a human lent one agent is not passed on to another: the human must lend to this one too, and its token be made from their own";
                return Err(Refusal::new(Code::OutsideDelegation).detail(why));
            }
        }
        Ok(())
    }

    /// Takes a token of the token service back, until it would have ended by itself.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn revoke_token(&self, leaf: Draft, token_id: &str, until: Timestamp) -> Result<(), Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let row = Row::new(TOKEN, token_id, REVOKED, "", Some(until), Vec::new());
        let change = Change { leaves: vec![leaf], writes: vec![Write::Ensure(row)], payloads: Vec::new() };
        self.inner.ledger.commit(change).await?;
        self.look_again().await
    }

    /// Removes rows that can say nothing any more: tokens that have ended by themselves, and delegations that ended long ago and were followed by
    /// another of the same two. The last one of two stays, since its end is what keeps that agent out. The records of all of them stay.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn sweep(&self) -> Result<(), Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let now = self.inner.clock.now();
        let tokens = self.inner.ledger.list(TOKEN, &[REVOKED], ROWS_MAX).await?;
        let ended = |row: &Row| row.expires_at.is_some_and(|until| until + TOKENS_KEPT_FOR < now);
        let gone = |kind: &str, id: String, from: &str| Write::Remove { kind: kind.to_owned(), id, from: from.to_owned() };
        let mut writes: Vec<Write> = tokens.into_iter().filter(ended).map(|row| gone(TOKEN, row.id, REVOKED)).collect();
        writes.extend(
            self.snapshot()
                .followed(now - DELEGATIONS_KEPT_FOR)
                .map(|lent| gone(DELEGATION, lent.id.as_str().to_owned(), if lent.is_revoked { REVOKED } else { "active" })),
        );
        if writes.is_empty() {
            return Ok(());
        }
        writes.truncate(SWEEP_MAX);
        self.inner.ledger.commit(Change { leaves: Vec::new(), writes, payloads: Vec::new() }).await?;
        self.look_again().await
    }

    fn check_suspended(&self, snapshot: &Snapshot, agent: &Agent) -> Result<(), Refusal> {
        match snapshot.agent(agent) {
            Some(agent) if agent.is_suspended => Err(Refusal::new(Code::AgentSuspended)),
            _ => Ok(()),
        }
    }

    fn check_agent(&self, snapshot: &Snapshot, agent: &Agent) -> Result<(), Refusal> {
        self.check_suspended(snapshot, agent)?;
        match snapshot.agent(agent) {
            None if self.inner.settings.agents_required => Err(Refusal::new(Code::AgentUnknown)),
            _ => Ok(()),
        }
    }

    async fn look_again(&self) -> Result<(), Unavailable> {
        let snapshot = Arc::new(Snapshot::read(&self.inner.ledger).await?);
        *self.inner.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        self.inner.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn agent_id(&self, agent: &Agent) -> String {
        self.inner.recorder.agent(agent)
    }

    /// What must still be true of the rows when a call is admitted. The registry's word on the call came a moment earlier.
    #[must_use]
    pub fn guards(recorder: &Recorder, delegation: &Delegation, covered_by: Option<&DelegationId>) -> Vec<(Write, Code)> {
        let mut guards = Self::still(recorder, delegation.agent(), covered_by);
        guards.extend(earlier(delegation).iter().map(|agent| (unless(AGENT, &recorder.agent(agent), SUSPENDED), Code::AgentSuspended)));
        guards.extend(delegation.token_id().map(|id| (unless(TOKEN, id, REVOKED), Code::TokenRevoked)));
        guards
    }

    /// The same for what a token is made from.
    #[must_use]
    pub fn still(recorder: &Recorder, agent: &Agent, delegation: Option<&DelegationId>) -> Vec<(Write, Code)> {
        let mut guards = vec![(unless(AGENT, &recorder.agent(agent), SUSPENDED), Code::AgentSuspended)];
        guards.extend(delegation.map(|id| (unless(DELEGATION, id.as_str(), REVOKED), Code::DelegationRevoked)));
        guards
    }

    /// Makes a change and its leaf durable, then known. A conflict is somebody else's change a moment earlier.
    async fn change(&self, leaf: Draft, write: Write, person: &Person, conflict: Code) -> Result<Result<(), Refusal>, Unavailable> {
        let mut writes = vec![write];
        writes.extend(self.inner.recorder.subjects(person.human(), None));
        let registry = self.clone();
        // A task of its own: a person whose connection breaks must not leave the snapshot behind the rows.
        let changed = tokio::spawn(async move {
            let committed = registry.inner.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await;
            registry.look_again().await?;
            match committed {
                Ok(_) => Ok(Ok(())),
                Err(CommitError::Conflict { .. }) => Ok(Err(Refusal::new(conflict))),
                Err(error) => Err(Unavailable::from(error)),
            }
        });
        let changed = changed.await.map_err(Unavailable::because)?;
        if !matches!(changed, Ok(Ok(()))) {
            self.inner.recorder.forget();
        }
        changed
    }

    /// Puts on record that somebody tried what they may not.
    async fn refused(&self, person: &Person, wanted: &'static str, about: &str, refusal: Refusal) -> Result<Refusal, Unavailable> {
        let body = serde_json::Map::from_iter([
            ("about".to_owned(), about.into()),
            ("res".to_owned(), serde_json::json!({ "status": "refused", "code": refusal.code().as_str(), "wanted": wanted })),
        ]);
        let leaf = self.inner.recorder.personal("registry.refused", person, body);
        let writes = self.inner.recorder.subjects(person.human(), None);
        self.inner
            .ledger
            .commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() })
            .await
            .inspect_err(|_| self.inner.recorder.forget())?;
        Ok(refusal)
    }
}

/// An earlier actor by the issuers that may know it: the token's own, and the human's.
fn known_as(agent: &Agent, human: &Human) -> Vec<Agent> {
    let mut known = vec![agent.clone()];
    if human.issuer != agent.issuer {
        known.push(Agent { issuer: human.issuer.clone(), ..agent.clone() });
    }
    known
}

/// The earlier actors of a delegation.
fn earlier(delegation: &Delegation) -> Vec<Agent> {
    let agent = |id: &String| Agent { issuer: delegation.agent().issuer.clone(), id: id.clone(), chain: Vec::new() };
    delegation.agent().chain.iter().flat_map(|id| known_as(&agent(id), delegation.human())).collect()
}

fn unless(kind: &str, id: &str, state: &str) -> Write {
    Write::Unless { kind: kind.to_owned(), id: id.to_owned(), states: vec![state.to_owned()], live: false }
}

impl Standing for Registry {
    fn covers(&self, delegation: &Delegation, reach: Reach<'_>, now: Timestamp) -> Result<Option<DelegationId>, Refusal> {
        let snapshot = self.snapshot();
        self.check_agent(&snapshot, delegation.agent())?;
        for earlier in earlier(delegation) {
            self.check_suspended(&snapshot, &earlier)?;
        }
        if delegation.token_id().is_some_and(|id| snapshot.is_taken_back(id)) {
            return Err(Refusal::new(Code::TokenRevoked));
        }
        let made = snapshot.lent(delegation.human(), delegation.agent());
        // A token that was issued under one delegation has no part in the others.
        let named = |lent: &&Lent| delegation.registered().is_none_or(|id| lent.id.as_str() == id);
        let made: Vec<&Lent> = made.iter().filter(named).collect();
        let Some(last) = made.last() else {
            return match (delegation.registered(), self.inner.settings.delegations_required) {
                (Some(_), _) => Err(Refusal::new(Code::DelegationRevoked)),
                (None, true) => Err(Refusal::new(Code::NoDelegation)),
                (None, false) => Ok(None),
            };
        };
        let live: Vec<&&Lent> = made.iter().filter(|lent| lent.is_live(now)).collect();
        if live.is_empty() {
            // Once a human has said what they lend and for how long, its end is an end, also where nothing had to be said.
            return Err(Refusal::new(if last.is_revoked { Code::DelegationRevoked } else { Code::TokenExpired }));
        }
        match live.iter().find(|lent| lent.reaches(&reach)) {
            Some(lent) => Ok(Some(lent.id.clone())),
            None => {
                Err(Refusal::new(Code::OutsideDelegation).detail(live.iter().map(|lent| lent.in_words()).collect::<Vec<_>>().join("; or ")))
            }
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}
