//! What identity has seen and the record must hold: sign-ins, and keys of an issuer that changed.
//!
//! Identity cannot write records (they need to know identities), so whoever keeps them stands behind this trait. It is asked before what was seen
//! takes effect: a sign-in that cannot be recorded is none, and new keys that cannot be recorded are not used.

use futures::future::BoxFuture;

use crate::identity::claims::SignIn;
use crate::identity::delegation::{Agent, Human};
use crate::refusal::Refusal;

/// Something seen.
#[derive(Debug)]
pub enum Event<'a> {
    /// A token was used here for the first time since this broker started.
    FirstUse {
        /// The human it names.
        human: &'a Human,
        /// The agent that acts; `None` at the human's door.
        agent: Option<&'a Agent>,
        /// The client that it was issued to.
        client: Option<&'a str>,
        /// How the human signed in.
        sign_in: &'a SignIn,
    },
    /// An issuer's keys are others than before.
    KeysChanged {
        /// The issuer's URL.
        issuer: &'a str,
        /// The key ids that were used before; empty at the first fetch.
        before: &'a [String],
        /// Those used from now on.
        now: &'a [String],
    },
}

/// Keeps what was seen.
pub trait Witness: Send + Sync {
    /// Records it, durably.
    ///
    /// # Errors
    /// It could not be recorded: whatever it was must not take effect.
    fn saw<'a>(&'a self, event: Event<'a>) -> BoxFuture<'a, Result<(), Refusal>>;
}
