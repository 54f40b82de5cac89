//! `Statement`: one parsed SQL statement and what was found in it.

use crate::operation::sql::{Engine, Preview, Sql};
use crate::operation::{Risk, Touch};
use crate::refusal::{Code, Refusal};

/// Why a text is no acceptable statement.
pub type SqlError = Refusal;

/// One parsed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    text: String,
    verb: &'static str,
    risk: Risk,
    touches: Vec<Touch>,
}

impl Statement {
    /// Parses exactly one statement.
    ///
    /// # Errors
    /// See the codes `operation.*`.
    pub fn parse(_engine: Engine, _sql: &str) -> Result<Self, SqlError> {
        Err(Refusal::new(Code::UnsupportedStatement))
    }

    /// The text to execute: the parse tree, printed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its main verb.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        self.verb
    }

    /// Its risk.
    #[must_use]
    pub const fn risk(&self) -> Risk {
        self.risk
    }

    /// What it touches.
    #[must_use]
    pub fn touches(&self) -> &[Touch] {
        &self.touches
    }
}

impl Sql {
    /// The read-only statements that show what a change would do.
    #[must_use]
    pub fn preview(&self) -> Option<Preview> {
        None
    }
}
