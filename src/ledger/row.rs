//! State rows: small documents that change state, in the same transaction as the leaves that say so.
//!
//! A row has a kind, an id, a state, a look-up key and a body of bytes. Who reads a row also knows what is in it; the ledger does not.

use crate::clock::Timestamp;

/// A state row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is, such as `approval`.
    pub kind: String,
    /// Its id within the kind.
    pub id: String,
    /// Its state.
    pub state: String,
    /// A look-up key; several rows may share it.
    pub key: String,
    /// A group whose live rows can be counted.
    pub group: String,
    /// After this it no longer counts as live; of a row that waits for its time, that time.
    pub expires_at: Option<Timestamp>,
    /// Rises with every write.
    pub version: u64,
    /// The document.
    pub body: Vec<u8>,
}

impl Row {
    /// A new row, version 0.
    #[must_use]
    pub fn new(kind: &str, id: &str, state: &str, key: &str, expires_at: Option<Timestamp>, body: Vec<u8>) -> Self {
        Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
            state: state.to_owned(),
            key: key.to_owned(),
            group: String::new(),
            expires_at,
            version: 0,
            body,
        }
    }

    /// Counted in this group.
    #[must_use]
    pub fn grouped(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }
}

/// A write to a row. Where it says "else conflict", nothing of the whole change is written.
#[derive(Debug)]
pub enum Write {
    /// Inserts; a row of that kind and id, else conflict.
    Insert(Row),
    /// Inserts unless it is there already.
    Ensure(Row),
    /// Inserts unless a live row with the same key is in one of the states, or the group has as many live rows in them as `group_max`; else
    /// conflict. Live = not expired.
    InsertUnlessKey {
        /// The row.
        row: Row,
        /// States that count.
        states: Vec<String>,
        /// States that count in the group, and how many such rows are too many.
        group_max: Option<(Vec<String>, u64)>,
    },
    /// Writes nothing: a row in one of these states is a conflict; none at all is not.
    Unless {
        /// Kind.
        kind: String,
        /// Id.
        id: String,
        /// The states it must not be in.
        states: Vec<String>,
        /// A row that has run out is a conflict too.
        live: bool,
    },
    /// From one state to another, else conflict; a new body if given.
    Move {
        /// Kind.
        kind: String,
        /// Id.
        id: String,
        /// The state it must be in.
        from: String,
        /// The state it will be in.
        to: String,
        /// The new body.
        body: Option<Vec<u8>>,
    },
    /// The same, if nobody wrote since `version`; else conflict.
    MoveIf {
        /// Kind.
        kind: String,
        /// Id.
        id: String,
        /// The state it must be in.
        from: String,
        /// The state it will be in.
        to: String,
        /// The version it must have.
        version: u64,
        /// Its new expiry.
        expires_at: Option<Timestamp>,
        /// The new body.
        body: Vec<u8>,
    },
    /// Removes a row in this state, else conflict.
    Remove {
        /// Kind.
        kind: String,
        /// Id.
        id: String,
        /// The state it must be in.
        from: String,
    },
}
