//! A folder and variables on a host that are kept for an agent under a name, so that it need not say them with every command.
//!
//! Nothing runs on between commands: each has a channel of its own and goes down the whole path with what is kept filled in, so that what is judged,
//! approved and recorded is what runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The folder.
    pub cwd: String,
    /// The variables.
    pub env: BTreeMap<String, String>,
    /// It is forgotten when it has not been used for so many seconds.
    pub idle_s: u64,
}

/// What becomes of a session once its call has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// It is kept, from now on or for longer.
    For(Session, Kept),
    /// It is forgotten.
    Forget(Session),
}

/// A session by its name; of one human and agent, on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// One word for the human and the agent.
    pub whose: String,
    /// The target.
    pub target: String,
    /// The name.
    pub name: String,
}

impl Session {
    /// Names it among all.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.whose, self.target, self.name)
    }
}
