//! The Desk: asks humans about risky calls, and hands out an `Approval` that only that very call can spend, once.
//!
//! Requests, votes and grants live in the store, so a restart carries on and nothing here is lost with the process. No token that an agent
//! holds reaches [`Desk::decide`]: it takes a `Person`. Whether a human may decide is asked through [`Electorate`], which the policy
//! implements, so that this room knows no policy.

mod access;
mod decide;
mod ends;
mod filed;
mod glass;
mod grant;
mod hold;
mod look;
mod scope;
mod sight;
mod summary;
mod terms;
mod turn;
mod view;
mod voter;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::call::{Call, Judgement, TargetFacts};
use crate::clock::Clock;
use crate::identity::{Agent, Human};
use crate::ledger::{Ledger, Write};
use crate::operation::Risk;
use crate::record::Recorder;
use crate::refusal::Refusal;

pub use decide::{Decided, Decision, Listed};
pub use filed::{Filed, State};
pub use glass::Glass;
pub use grant::Approval;
pub use hold::{Found, Outcome, Shown};
pub use look::{Stance, earlier};
pub use scope::Scope;
pub use sight::{Part, Section, Sight, reached};
pub use terms::{Escalation, GrantMost, Sides, Terms};
pub use view::View;

/// What a human is asked to decide on, as the electorate sees it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The request's id.
    pub id: String,
    /// In whose name the call is made.
    pub human: Human,
    /// By which agent.
    pub agent: Agent,
    /// On which target.
    pub target: Option<TargetFacts>,
    /// With which tool.
    pub tool: String,
    /// The main verb.
    pub verb: String,
    /// The risk that was judged.
    pub risk: Risk,
}

/// Says whether a human may decide a request. Implemented by the policy.
pub trait Electorate: Send + Sync {
    /// The policies that let this human decide.
    ///
    /// # Errors
    /// `approval.not_allowed`, or `policy.failed` where the policy could not answer.
    fn may_decide(&self, human: &Human, subject: &Subject) -> Result<Vec<String>, Refusal>;

    /// The policies that let this human break the glass: let it go ahead at once, alone.
    ///
    /// # Errors
    /// As for deciding.
    fn may_break_glass(&self, human: &Human, subject: &Subject) -> Result<Vec<String>, Refusal>;

    /// Whether this human may say afterwards if breaking the glass was right.
    fn may_review(&self, human: &Human) -> bool;
}

/// What happened to a request that somebody outside may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It waits for a human.
    Requested,
    /// It was decided, one way or the other.
    Decided,
    /// Nobody decided in time, or nobody claimed it.
    Expired,
    /// Nobody has decided for so long that the next team is told.
    Escalated,
    /// The agent does not want it any more.
    Withdrawn,
    /// A human took an approval back.
    Revoked,
    /// A human let it go ahead at once, alone.
    GlassBroken,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Requested, Self::Decided, Self::Expired, Self::Escalated, Self::Withdrawn, Self::Revoked, Self::GlassBroken];

    /// Whether somebody is asked to decide: of no use once that is done.
    #[must_use]
    pub const fn asks(self) -> bool {
        matches!(self, Self::Requested | Self::Escalated)
    }

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// As it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "approval.requested",
            Self::Decided => "approval.decided",
            Self::Expired => "approval.expired",
            Self::Escalated => "approval.escalated",
            Self::Withdrawn => "approval.withdrawn",
            Self::Revoked => "approval.revoked",
            Self::GlassBroken => "approval.glass_broken",
        }
    }
}

/// Tells people outside. The rows that say what is to be told are written with what happened, or neither is; nothing is sent here.
pub trait Herald: Send + Sync {
    /// What is to be told of this, and to whom, as writes of the same change.
    fn notices(&self, event: Event, filed: &Filed) -> Vec<Write>;

    /// What was to be told is durable now.
    fn committed(&self) {}
}

/// A call that needs a human, with what the policy said of it.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The call.
    pub call: &'a Call,
    /// What the policy said.
    pub judgement: &'a Judgement,
    /// On which terms.
    pub terms: &'a Terms,
}

/// How the Desk works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where humans decide, without a trailing slash; the id is appended.
    pub url: String,
    /// A caller without progress is held this long.
    pub hold: Duration,
    /// A caller with progress is held this long.
    pub hold_with_progress: Duration,
    /// A request may be decided this long, unless the policy says otherwise.
    pub ttl: Duration,
    /// An approved call may be claimed this long after the decision.
    pub grant_ttl: Duration,
    /// A denied call is answered from memory this long.
    pub denied_memory: Duration,
    /// Open requests that one agent may have for one human.
    pub open_max: u64,
    /// Requests that differ in nothing but their values, which one agent may make for one human in ten minutes without any of them being approved.
    pub alike_max: u64,
    /// For whom each system may speak that may: a vote by its word counts for as long as it may.
    pub spoken_for: BTreeMap<String, Vec<Human>>,
}

impl Settings {
    /// The defaults, with the address where humans decide.
    #[must_use]
    pub const fn new(url: String) -> Self {
        Self {
            url,
            hold: Duration::from_secs(45),
            hold_with_progress: Duration::from_secs(240),
            ttl: Duration::from_secs(3_600),
            grant_ttl: Duration::from_secs(900),
            denied_memory: Duration::from_secs(300),
            open_max: 20,
            alike_max: 10,
            spoken_for: BTreeMap::new(),
        }
    }
}

/// Asks, holds, decides. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    ledger: Ledger,
    recorder: Arc<Recorder>,
    clock: Clock,
    settings: Arc<Settings>,
    herald: Arc<dyn Herald>,
    /// Counts decisions made by this process; holders look again when it moves.
    decisions: watch::Sender<u64>,
}

impl Desk {
    /// A desk over the store, that has others told by `herald`.
    #[must_use]
    pub fn new(ledger: Ledger, recorder: Arc<Recorder>, clock: Clock, settings: Settings, herald: Arc<dyn Herald>) -> Self {
        Self { ledger, recorder, clock, settings: Arc::new(settings), herald, decisions: watch::Sender::new(0) }
    }

    /// Where a human decides this request.
    #[must_use]
    pub fn url(&self, id: &crate::id::ApprovalId) -> String {
        format!("{}/{id}", self.settings.url)
    }
}
