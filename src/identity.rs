//! Who asks: every token that comes in becomes a `Delegation` (an agent for a human) or a `Person` (a human at the human's door), or nothing.
//!
//! The two never become each other: the agent's door refuses the inbox's audience, the human's door refuses every token with an `act` claim, of
//! another audience, or of a client that is not on the list of human clients. Nothing but a verified token counts: identity headers are ignored,
//! and there is no fallback to the broker's own credentials.

pub mod delegation;
pub mod person;

pub use delegation::{Agent, Delegation, Human};
pub use person::Person;
