//! `Person`: a human at the human's door. Minted from a verified token of the inbox's own audience, without `act`, of a listed human client.

use crate::clock::Timestamp;
use crate::identity::delegation::Human;

/// Proof that a human, and no agent, is asking. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Person {
    human: Human,
    client: String,
    expires_at: Timestamp,
}

impl Person {
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

    /// Whether the sign-in still holds at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}
