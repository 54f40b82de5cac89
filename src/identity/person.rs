//! `Person`: a human at the human's door. Minted from a verified token of the inbox's own audience, without `act`, of a listed human client.

use crate::clock::Timestamp;
use crate::identity::claims::SignIn;
use crate::identity::delegation::Human;
use crate::identity::token::Verified;
use crate::refusal::{Code, Refusal};

/// Proof that a human, and no agent, is asking. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Person {
    human: Human,
    client: String,
    sign_in: SignIn,
    expires_at: Timestamp,
}

impl Person {
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
        if claims.bound.is_some() {
            return Err(no("it is bound to a key, and this door cannot check that it is in the right hands"));
        }
        if client == claims.subject || claims.is_machine {
            return Err(no("its subject is a client"));
        }
        Ok(Self {
            human: Human { issuer: issuer.url.clone(), subject: claims.subject, name: claims.name, teams: claims.teams },
            client,
            sign_in: claims.sign_in,
            expires_at: claims.expires_at,
        })
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
