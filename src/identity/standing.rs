//! Whether what a human lent still stands: agents can be suspended and delegations revoked, and the next call must know.
//!
//! A token says what was lent when it was issued. Whether that still holds is the registry's to say, asked on every judgement of a call: when it
//! comes, while it waits, and when it is released. The registry keeps records, which identity cannot, so it stands behind this trait.

use std::fmt;

use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::id::DelegationId;
use crate::identity::delegation::Delegation;
use crate::operation::Risk;
use crate::refusal::Refusal;

/// What a call would reach, as far as a delegation bounds it.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// The tool.
    pub tool: &'a str,
    /// The target; `None` for the broker's own tools, which every delegation covers.
    pub target: Option<&'a str>,
    /// The call's risk.
    pub risk: Risk,
}

/// Says what still stands.
pub trait Standing: fmt::Debug + Send + Sync {
    /// The registered delegation that covers the call; `None` where none is registered and none is demanded.
    ///
    /// # Errors
    /// The agent is suspended or not known, or what the human lent it is over or does not reach so far.
    fn covers(&self, delegation: &Delegation, reach: Reach<'_>, now: Timestamp) -> Result<Option<DelegationId>, Refusal>;

    /// Fires whenever anything in the registry changes: whoever waits should ask again.
    fn changes(&self) -> watch::Receiver<u64>;
}
