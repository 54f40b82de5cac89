//! The token service: `POST /oauth/token` (RFC 8693, RFC 6749 4.4), its metadata (RFC 8414), its keys, and revocation (RFC 7009).
//!
//! For identity providers that cannot mint delegated tokens. A human's token and an agent's proof of itself go in; a short-lived token comes out
//! that names both, says no more than either may, and stands on the delegation that the human made, where there is one. Nothing is handed out
//! before it is on record; a refusal of an agent that proved itself is on record too.

mod grants;
mod request;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::identity::service::{ActorSettings, Service};
use crate::identity::{Identity, Witness};
use crate::ledger::Ledger;
use crate::limit::Limiter;
use crate::policy::Policy;
use crate::record::Recorder;
use crate::registry::Registry;

pub use routes::router;

/// How the token service behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agents that it serves; none = there is no token service.
    pub actors: Vec<ActorSettings>,
    /// The longest life of a token.
    pub lifetime: Duration,
    /// Its agents' namespace in policies.
    pub namespace: String,
}

/// The longest life that may be configured: keys that signed stay published a little longer.
pub const LIFETIME_MAX: Duration = Duration::from_secs(3_600);

/// Requests of one agent, a minute.
pub const REQUESTS_PER_MINUTE: u32 = 120;

impl Default for Settings {
    fn default() -> Self {
        Self { actors: Vec::new(), lifetime: Duration::from_secs(600), namespace: "countersign".to_owned() }
    }
}

/// What the token service stands on.
pub struct TokenService {
    /// Verifies and signs.
    pub service: Service,
    /// Verifies what humans signed in with.
    pub identity: Arc<Identity>,
    /// What humans lent, and which tokens were taken back.
    pub registry: Registry,
    /// Who answers for an agent that works alone.
    pub policy: Arc<Policy>,
    /// Where it is recorded.
    pub ledger: Ledger,
    /// How.
    pub recorder: Arc<Recorder>,
    /// How often one agent may ask.
    pub pace: Option<Limiter<String>>,
    /// Keeps that keys have changed.
    pub witness: Arc<dyn Witness>,
    /// Tells the time.
    pub clock: Clock,
    /// The longest life of a token.
    pub lifetime: Duration,
}
