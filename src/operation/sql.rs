//! SQL operations: one statement, parsed; its risk, what it touches, where its result columns come from, and what a preview of it is.
//!
//! The statement that is executed is the parse tree printed again, never the text that came in: what was judged is what runs. Nothing here
//! talks to a database. Unknown statements, functions and constructs are refused or rated the highest risk.

mod classify;
mod expr;
mod function;
pub mod lineage;
pub mod preview;
mod purity;
pub mod statement;

pub use function::SYSTEM_DATABASES;
pub use lineage::{BaseColumn, ColumnLineage, Lineage, Relation, Schema};
pub use statement::{SqlError, Statement, view_relations};

use crate::operation::Touch;

/// The dialect of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// SQLite, as bundled.
    Sqlite,
    /// PostgreSQL 13 and later.
    Postgres,
    /// MySQL 8.0 and later, MariaDB 10.6 and later.
    MySql,
}

impl Engine {
    /// The name in configuration, answers and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

/// A bound parameter, as JSON has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// SQL NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text; the connector turns it into what the placeholder wants (a date, a UUID).
    Text(String),
}

impl Param {
    /// As JSON has it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Integer(number) => (*number).into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// What the caller wants done with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows back, in a read-only transaction.
    Query,
    /// A change, in a transaction of its own.
    Execute,
}

/// One statement with its parameters.
#[derive(Debug, Clone)]
pub struct Sql {
    /// The parsed statement.
    pub statement: Statement,
    /// One for each placeholder, in order.
    pub params: Vec<Param>,
    /// Query or execute.
    pub mode: Mode,
    /// Roll back if more rows than this would change.
    pub expect_max_rows: Option<u64>,
}

/// What an approver sees of a change before it is made. Both statements read only, with the parameters of the change.
#[derive(Debug, Clone)]
pub struct Preview {
    /// How many rows the change would touch.
    pub count: Count,
    /// `SELECT … LIMIT 5`: some of those rows as they are now; `None` where there is no before (INSERT).
    pub sample: Option<Box<Sql>>,
    /// What the previewed statement touches, read.
    pub touches: Vec<Touch>,
}

/// How many rows a change would touch.
#[derive(Debug, Clone)]
pub enum Count {
    /// It says so itself: INSERT … VALUES.
    Known(u64),
    /// `SELECT count(*) …`.
    Query(Box<Sql>),
}

/// A look at the catalogue: `db_search_objects` and `db_describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// Objects whose name is LIKE a pattern.
    Search {
        /// What to look for.
        object: ObjectType,
        /// A LIKE pattern, `%` for all.
        pattern: String,
        /// Only in this schema.
        schema: Option<String>,
        /// Only of this table (columns, indexes).
        table: Option<String>,
        /// How much to say of each.
        detail: Detail,
        /// At most so many.
        limit: u32,
    },
    /// One table or view in full.
    Describe {
        /// Its schema; the default one otherwise.
        schema: Option<String>,
        /// Its name.
        name: String,
    },
}

/// Kinds of object that a search can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectType {
    /// Schemas.
    Schema,
    /// Tables.
    Table,
    /// Views.
    View,
    /// Columns.
    Column,
    /// Indexes.
    Index,
}

/// How much a search says of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Schema and name.
    Names,
    /// And what it is made of, in short.
    Summary,
    /// All that is known.
    Full,
}

#[cfg(test)]
mod tests;
