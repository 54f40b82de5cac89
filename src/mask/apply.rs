//! `Unmasked` and `Masked`: a bounded stream of pieces before and after the rules.

use serde_json::Value;
use tokio::sync::mpsc;

use crate::operation::sql::{BaseColumn, Lineage};
use crate::refusal::Refusal;

/// One column of a result, as the target announced it.
pub(crate) struct Column {
    /// The name of the result column.
    pub(crate) name: String,
    /// The target's own name of its type.
    pub(crate) type_name: String,
    /// The table column that the target says it came from. May add a mask, never clear one.
    pub(crate) origin: Option<BaseColumn>,
}

/// A piece of what a target answered.
pub(crate) enum Piece {
    /// Comes first, once, where there are rows: the columns, and where the parser says they come from.
    Header { columns: Vec<Column>, lineage: Lineage },
    /// One row, a JSON value a column.
    Row(Vec<Value>),
    /// A whole structured answer without rows (the broker's own tools, catalogue look-ups).
    Document(Value),
    /// The last piece of an answer that succeeded.
    Done(Done),
    /// The last piece of one that did not. Its detail may quote data: masked like the rest.
    Failed { refusal: Refusal, stopped: Option<bool> },
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows changed, for a change.
    pub affected_rows: Option<u64>,
    /// The result was cut at a limit.
    pub truncated: bool,
    /// Rows that the previewed change would touch.
    pub preview_rows: Option<u64>,
}

/// What a target answered, sealed. Bounded: the sender waits while nobody reads.
pub struct Unmasked {
    pieces: mpsc::Receiver<Piece>,
}

impl Unmasked {
    /// Pieces that may wait between connector and mask.
    const PIECES_MAX: usize = 64;

    /// A sealed stream and the end that a connector fills.
    pub(crate) fn seal() -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(Self::PIECES_MAX);
        (sender, Self { pieces })
    }
}
