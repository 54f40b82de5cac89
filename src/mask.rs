//! Masks: what a target answered goes in as `Unmasked` and comes out as `Masked`, and there is no other way out.
//!
//! `Unmasked` is sealed by a connector and opened here alone: no Debug, Display, Serialize or getter, so that it cannot end up in a log, an
//! error or an answer. Errors travel in it too, since a database quotes data in them.

pub mod apply;
mod cluster;
pub mod detect;
mod keys;
mod kube;
mod lines;
mod names;
mod packed;
mod part;
mod report;
pub mod rules;
mod search;
mod shadow;
mod terminal;

#[cfg(test)]
mod tests;

use apply::said;
pub(crate) use apply::{Column, Piece};
pub use apply::{Done, Masked, MaskedColumn, MaskedPiece, Masks, Unmasked};
pub(crate) use cluster::{Rehearsal, pluck};
pub use report::MaskReport;
pub use rules::{ColumnRule, Mode, Rules};
