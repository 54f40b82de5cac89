//! Systems that speak for humans: a chat whose users are mapped, a company's own approval system. Each is configured with its key, and with the humans
//! for whom it may speak; it speaks for nobody else, and an agent never holds such a key.
//!
//! A [`Testimony`] is a message whose signature was good and whose time is near; it is minted here alone, and a `Person` comes of it only for a human on the
//! list. That it was not said before, whoever takes it must have the store settle, by its [`Testimony::once`].

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::TimeDelta;
use http::HeaderMap;
use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::identity::{Human, Person};
use crate::refusal::{Code, Refusal};
use crate::signature::{is_signed, is_slacks};

/// Clocks and ways may differ by so much.
pub const FRESH: TimeDelta = TimeDelta::minutes(5);
/// Who was vouched for, is so for this one message.
const LASTING: TimeDelta = TimeDelta::minutes(1);
/// The longest id of a message, in bytes.
const ID_MAX_BYTES: usize = 256;

/// How a system signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// As Standard Webhooks has it.
    StandardWebhooks,
    /// As Slack does.
    Slack,
}

/// A system that may speak for humans.
#[derive(Debug, Clone)]
pub struct Voucher {
    /// Its name, as records have it.
    pub name: String,
    /// How it signs.
    pub signing: Signing,
    /// For whom it may speak, by the name that it has for them.
    pub humans: BTreeMap<String, Human>,
}

/// A message of such a system: signed, and of now.
#[derive(Debug)]
pub struct Testimony<'a> {
    voucher: &'a Voucher,
    once: String,
    at: Timestamp,
    now: Timestamp,
}

impl Voucher {
    /// Takes a message at its word, or does not.
    ///
    /// # Errors
    /// `identity.invalid_signature`: it is not signed by this system, or not now.
    pub fn word(&self, secrets: &[SecretString], headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Testimony<'_>, Refusal> {
        let no = |why: &str| Refusal::new(Code::InvalidSignature).detail(why);
        // Twice would leave open which of them was judged.
        let text = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let text = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(text)
        };
        let missing = || no("a header of the signature is missing, or stands twice");
        let of = |name: &str| text(name).ok_or_else(missing);
        let (timestamp, is_good, once) = match self.signing {
            Signing::StandardWebhooks => {
                let (id, timestamp) = (of("webhook-id")?, of("webhook-timestamp")?);
                let fits = !id.is_empty() && id.len() <= ID_MAX_BYTES;
                (timestamp, fits && is_signed(secrets, id, timestamp, body, of("webhook-signature")?), id.as_bytes().to_vec())
            }
            // Slack's messages have no id. What is signed tells one from another; how the signature is written could be changed by anybody.
            Signing::Slack => {
                let (timestamp, signature) = (of("x-slack-request-timestamp")?, of("x-slack-signature")?);
                let is_good = secrets.iter().any(|secret| is_slacks(secret, timestamp, body, signature));
                (timestamp, is_good, [timestamp.as_bytes(), b"\n", body].concat())
            }
        };
        if !is_good {
            return Err(no("the signature is not good"));
        }
        let at = timestamp.parse().ok().and_then(|seconds| Timestamp::from_timestamp(seconds, 0));
        let at = at.filter(|at| (now - *at).abs() <= FRESH).ok_or_else(|| no("its time is more than 5 minutes off"))?;
        let once = hex::encode(digest(&SHA256, &[self.name.as_bytes(), b"\n", &once].concat()));
        Ok(Testimony { voucher: self, once, at, now })
    }
}

impl Testimony<'_> {
    /// What only this message has: whoever takes it twice is deceived.
    #[must_use]
    pub fn once(&self) -> &str {
        &self.once
    }

    /// When nobody would take it any more.
    #[must_use]
    pub fn stale_at(&self) -> Timestamp {
        self.at + FRESH
    }

    /// The human whom the system names, if it may speak for them.
    ///
    /// # Errors
    /// `identity.not_spoken_for`: it may not.
    pub fn person(&self, named: &str) -> Result<Person, Refusal> {
        let human = self.voucher.humans.get(named).ok_or_else(|| Refusal::new(Code::NotSpokenFor))?;
        Ok(Person::vouched(human.clone(), &self.voucher.name, self.now + LASTING))
    }
}
