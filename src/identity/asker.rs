//! What a door found out about who is asking, told to the server on the way out: it counts by address, which no door knows.
//!
//! It rides in the response's extensions and never reaches the wire. A door that authenticates sets it; a response without it counts as neither.

use crate::refusal::Refusal;

/// How authentication ended.
#[derive(Debug, Clone)]
pub enum Asker {
    /// The request came with a good token.
    Known,
    /// It did not: counted, recorded in the totals, and held against the address.
    Unknown(Refusal),
    /// The token is good, and has been used more often than it may: counted alone.
    Limited,
}
