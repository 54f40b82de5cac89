//! Telling people that a request waits, was decided or ran out: an outbox in the store, and the channels out of it.
//!
//! What is to be told is a row that is written with what happened, or neither is ([`Outbox`] is the Desk's `Herald`). A task of the broker delivers it;
//! no call ever waits for that, and ten thousand notices that wait are rows, not tasks. A row holds no copy of the request: what is told is made of the
//! stored one when it is told, so nothing of anybody stays here. Delivered, given up, or pointless by now: each is a leaf, so that a reviewer sees who was
//! told and who was not. A notice may arrive twice (a broker can die between sending and writing that down), always under the same id.
//!
//! It must never decide anything, follow a redirect, connect where the operator has not allowed it, or put a secret into a message, a record, a log or an
//! error. Addresses of chats' webhooks are secrets, and are kept and named like all others.

mod command;
mod courier;
mod deliver;
mod email;
mod message;
mod outbox;
mod place;
mod slack;
mod teams;
mod webhook;

use std::time::Duration;

use crate::approval::{Event, Filed};
use crate::operation::Risk;

pub use command::Command;
pub use courier::{Courier, Undelivered};
pub use email::{Email, Tls};
pub use message::{Buttons, Message};
pub use outbox::Outbox;
pub use place::{Address, Place};
pub use slack::{APPROVE, DENY, Interactions, REASON, Slack, Way, escaped};
pub use teams::Teams;
pub use webhook::Webhook;

/// Channels that may be configured.
pub const CHANNELS_MAX: usize = 32;

/// One way to tell people.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name; rows and records have it.
    pub name: String,
    /// What it tells of.
    pub events: Vec<Event>,
    /// It tells of requests in these environments alone; empty = all.
    pub environments: Vec<String>,
    /// It tells of requests of this risk or more.
    pub risk_at_least: Risk,
    /// Of what has waited too long it tells if that is passed on to this team; without one, whoever it is passed on to.
    pub team: Option<String>,
    /// The longest that one attempt may take.
    pub timeout: Duration,
    /// How it tells.
    pub kind: Kind,
}

/// How a channel tells.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A signed POST (Standard Webhooks).
    Webhook(Webhook),
    /// A message in Slack.
    Slack(Slack),
    /// A card in Microsoft Teams.
    Teams(Teams),
    /// Mail.
    Email(Email),
    /// A program on the broker's host.
    Command(Command),
}

impl Kind {
    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Email(_) => "email",
            Self::Command(_) => "command",
        }
    }
}

impl Channel {
    /// Whether it tells of this.
    #[must_use]
    pub fn wants(&self, event: Event, filed: &Filed) -> bool {
        let environment = filed.target.as_ref().map(|(_, _, environment)| environment);
        let is_passed_on = event == Event::Escalated && self.team.is_some();
        self.events.contains(&event)
            && (!is_passed_on || self.team == filed.escalated_to)
            && filed.risk >= self.risk_at_least.level()
            && (self.environments.is_empty() || environment.is_some_and(|environment| self.environments.contains(environment)))
    }
}

/// How often and how long delivery is tried.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The wait after the first attempt; doubled after each other one.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// So many attempts, and it is given up.
    pub attempts_max: u32,
}

impl Default for Pace {
    /// About an hour and a half in all.
    fn default() -> Self {
        Self { first: Duration::from_secs(2), longest: Duration::from_secs(600), attempts_max: 18 }
    }
}

impl Pace {
    /// The wait after this attempt (from 1), a random half of it left out so that what failed together is not tried together again.
    fn wait(&self, attempt: u32, after: Option<Duration>, random: u8) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        let whole = doubled.min(self.longest);
        let wait = whole / 2 + whole / 2 * u32::from(random) / 255;
        // What the receiver asks for counts, within reason.
        wait.max(after.unwrap_or_default().min(AFTER_MAX))
    }
}

/// The longest `Retry-After` that is heeded.
const AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Whom the broker tells, and how often it tries.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The channels.
    pub channels: Vec<Channel>,
    /// How often and how long.
    pub pace: Pace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_heed_the_receiver_within_reason() {
        let pace = Pace::default();
        let s = Duration::from_secs;
        for (attempt, after, random, wait) in [
            (1, None, 255, s(2)),
            (1, None, 0, s(1)),
            (2, None, 255, s(4)),
            (9, None, 255, s(512)),
            (10, None, 255, s(600)),
            (40, None, 255, s(600)),
            (1, Some(s(30)), 255, s(30)),
            (9, Some(s(30)), 255, s(512)),
            (1, Some(s(1_000_000)), 255, AFTER_MAX),
        ] {
            assert_eq!(pace.wait(attempt, after, random), wait, "{attempt}");
        }
        let all: Duration = (1..pace.attempts_max).map(|attempt| pace.wait(attempt, None, 255)).sum();
        assert!((s(5_000)..s(6_000)).contains(&all), "{all:?}");
    }
}
