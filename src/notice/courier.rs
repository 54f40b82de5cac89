//! One attempt at one message by one channel: what every kind shares, which is secrets, HTTP, and the time that it may take.
//!
//! Why an attempt failed is said in words of this room, never the receiver's: they are kept, and shown to reviewers.

use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};

use crate::credential::secret::{Reference, Secrets};
use crate::credential::vault;
use crate::inert::Inert;
use crate::notice::place::{Address, Place};
use crate::notice::{Channel, Kind, Message};
use crate::outbound::{Answer, Reach, ask};

/// The most that is read of an answer, in bytes.
const ANSWER_MAX_BYTES: usize = 16 * 1024;
/// Characters of an answer that are shown to whoever tries a channel.
const SAID_MAX: usize = 300;
/// The longest that any connection may take; a channel's own limit is below it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// In a few words.
    pub why: String,
    /// Another attempt would end the same way.
    pub is_final: bool,
    /// The receiver asks not to be tried before.
    pub after: Option<Duration>,
}

impl Undelivered {
    /// It may go better another time.
    #[must_use]
    pub fn later(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: false, after: None }
    }

    /// It will not.
    pub(super) fn never(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: true, after: None }
    }

    /// Of a status that is no success. A redirect is not followed: it would lead where nobody has looked.
    pub(super) fn of_status(answer: &Answer) -> Self {
        let passing = matches!(answer.status, 408 | 425 | 429) || answer.status >= 500;
        let redirect = if (300..400).contains(&answer.status) { ", and redirects are not followed" } else { "" };
        Self { why: format!("it answered {}{redirect}", answer.status), is_final: !passing, after: answer.retry_after }
    }
}

/// An answer that says that the message was taken.
#[derive(Debug)]
pub(super) struct Taken(pub(super) Answer);

impl Taken {
    /// What was said, for whoever tries a channel.
    pub(super) fn said(&self) -> String {
        let text = Inert::line(&String::from_utf8_lossy(&self.0.body));
        format!("{} {}", self.0.status, text.first(SAID_MAX).0).trim_end().to_owned()
    }
}

/// Carries messages.
#[derive(Debug)]
pub struct Courier {
    secrets: Secrets,
    public: Client,
    loopback: Client,
    anywhere: Client,
}

impl Courier {
    /// With Vault it needs a runtime.
    ///
    /// # Errors
    /// There is no TLS.
    pub fn new(vault: Option<vault::Settings>) -> Result<Self, String> {
        let client = |reach: Reach| reach.client(PATIENCE);
        Ok(Self {
            secrets: Secrets::new(vault),
            public: client(Reach::Public)?,
            loopback: client(Reach::Loopback)?,
            anywhere: client(Reach::Anywhere)?,
        })
    }

    /// One attempt, within the channel's time. What the receiver answered, for whoever tries a channel.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send(&self, channel: &Channel, message: &Message) -> Result<String, Undelivered> {
        let sending = async {
            match &channel.kind {
                Kind::Webhook(webhook) => webhook.send(self, message).await,
                Kind::Slack(slack) => slack.send(self, message).await,
                Kind::Teams(teams) => teams.send(self, message).await,
                Kind::Email(email) => email.send(self, message, channel.timeout).await,
                Kind::Command(command) => command.send(message).await,
            }
        };
        tokio::time::timeout(channel.timeout, sending)
            .await
            .unwrap_or_else(|_| Err(Undelivered::later(format!("it took longer than {} s", channel.timeout.as_secs()))))
    }

    /// A secret of a channel, or of a system that may speak for humans.
    ///
    /// # Errors
    /// It could not be read; the operator's log says why.
    pub async fn secret(&self, reference: &Reference) -> Result<SecretString, Undelivered> {
        self.secrets.text(reference, None).await.map_err(|refusal| {
            tracing::warn!(cause = refusal.private_cause(), "a secret of a channel or an approval system could not be read");
            Undelivered::later("its secret could not be read; the broker's log says why")
        })
    }

    /// Posts JSON.
    pub(super) async fn post(&self, place: &Place, headers: &[(&str, String)], body: Vec<u8>) -> Result<Taken, Undelivered> {
        let judged = match &place.address {
            Address::Plain(text) => place.judge(text),
            Address::Secret(reference) => place.judge(self.secret(reference).await?.expose_secret()),
        };
        let (url, reach) = judged.map_err(Undelivered::never)?;
        let client = match reach {
            Reach::Public => &self.public,
            Reach::Loopback => &self.loopback,
            Reach::Anywhere => &self.anywhere,
        };
        let mut request = client.post(url).header(http::header::CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = ask(request, ANSWER_MAX_BYTES).await.map_err(Undelivered::later)?;
        if (200..300).contains(&answer.status) { Ok(Taken(answer)) } else { Err(Undelivered::of_status(&answer)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        for (status, is_final) in [
            (301, true),
            (302, true),
            (400, true),
            (404, true),
            (410, true),
            (408, false),
            (425, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let undelivered = Undelivered::of_status(&Answer { status, retry_after: None, body: Vec::new() });
            assert_eq!(undelivered.is_final, is_final, "{status}");
        }
    }
}
