//! `Person`: a human at the human's door. Minted from a verified token of the inbox's own audience, without `act`, of a listed human client; or
//! from the ID token of a sign-in with a browser, and again from what its session keeps; or by the word of a system that may speak for them.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::claims::{Claims, SignIn};
use crate::identity::delegation::Human;
use crate::identity::token::Verified;
use crate::refusal::{Code, Refusal};

/// Proof that a human, and no agent, is asking. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Person {
    human: Human,
    client: String,
    sign_in: SignIn,
    issued_at: Timestamp,
    expires_at: Timestamp,
    vouched_by: Option<String>,
}

/// What a session keeps.
#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    issuer: String,
    subject: String,
    name: Option<String>,
    teams: Vec<String>,
    #[serde(default)]
    person: Option<String>,
    client: String,
    acr: Option<String>,
    amr: Vec<String>,
    auth_time_us: Option<i64>,
    #[serde(default)]
    issued_us: i64,
}

impl Person {
    /// From the claims of an ID token that was made for the broker's own client, for the one sign-in that asked for it.
    pub(super) fn of_browser(issuer: String, claims: Claims, client: &str) -> Result<Self, Refusal> {
        let no = |why: &str| Refusal::new(Code::NotAPerson).detail(why);
        if claims.has_act {
            return Err(no("it has an `act` claim: somebody acts for the human"));
        }
        if claims.subject == client {
            return Err(no("its subject is a client"));
        }
        Ok(Self {
            human: Human { issuer, subject: claims.subject, name: claims.name, teams: claims.teams, person: claims.person },
            client: client.to_owned(),
            sign_in: claims.sign_in,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            vouched_by: None,
        })
    }

    /// As a session keeps them. No token is in it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            v: 1,
            issuer: self.human.issuer.clone(),
            subject: self.human.subject.clone(),
            name: self.human.name.clone(),
            teams: self.human.teams.clone(),
            person: self.human.person.clone(),
            client: self.client.clone(),
            acr: self.sign_in.acr.clone(),
            amr: self.sign_in.amr.clone(),
            auth_time_us: self.sign_in.at.map(|at| at.timestamp_micros()),
            issued_us: self.issued_at.timestamp_micros(),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Again from there, until their session ends.
    pub(super) fn from_bytes(bytes: &[u8], expires_at: Timestamp) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok().filter(|stored: &Stored| stored.v == 1)?;
        let at = match stored.auth_time_us {
            Some(us) => Some(Timestamp::from_timestamp_micros(us)?),
            None => None,
        };
        Some(Self {
            human: Human { issuer: stored.issuer, subject: stored.subject, name: stored.name, teams: stored.teams, person: stored.person },
            client: stored.client,
            sign_in: SignIn { acr: stored.acr, amr: stored.amr, at },
            issued_at: Timestamp::from_timestamp_micros(stored.issued_us)?,
            expires_at,
            vouched_by: None,
        })
    }

    /// From a verified token of the inbox's audience, if no agent can hold it.
    pub(super) fn of(verified: Verified) -> Result<Self, Refusal> {
        let Verified { issuer, claims } = verified;
        let issuer = issuer.settings();
        let no = |why: &str| Refusal::new(Code::NotAPerson).detail(why);
        if claims.has_act {
            return Err(no("it has an `act` claim: somebody acts for the human"));
        }
        let client = claims
            .client
            .filter(|client| issuer.human_clients.contains(client))
            .ok_or_else(|| no("its client is not one that humans sign in with"))?;
        if client == claims.subject || claims.is_machine {
            return Err(no("its subject is a client"));
        }
        Ok(Self {
            human: Human {
                issuer: issuer.url.clone(),
                subject: claims.subject,
                name: claims.name,
                teams: claims.teams,
                person: claims.person,
            },
            client,
            sign_in: claims.sign_in,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            vouched_by: None,
        })
    }

    /// By the word of a system: nothing is known of how they signed in there, so no demand on the sign-in is met.
    pub(super) fn vouched(human: Human, by: &str, expires_at: Timestamp) -> Self {
        Self {
            human,
            client: by.to_owned(),
            sign_in: SignIn::default(),
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at,
            vouched_by: Some(by.to_owned()),
        }
    }

    /// When their issuer said all this of them.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The system by whose word they are known; none where they came with a token or a session of their own.
    #[must_use]
    pub fn vouched_by(&self) -> Option<&str> {
        self.vouched_by.as_deref()
    }

    /// Who.
    #[must_use]
    pub const fn human(&self) -> &Human {
        &self.human
    }

    /// The client they signed in with.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// How they signed in, as far as the issuer says.
    #[must_use]
    pub const fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// When the sign-in ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether the sign-in still holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}
