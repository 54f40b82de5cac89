//! Lineage: which table columns may flow into which result column, over every branch of a statement.
//!
//! It may name too many columns and never too few: what cannot be resolved counts as every column of every relation in reach.

use std::collections::BTreeSet;

/// A column of a table (never of a view).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseColumn {
    /// The schema, where the statement or the catalogue names one.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

/// Where one result column comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnLineage {
    /// Every table column that may flow into it.
    pub sources: BTreeSet<BaseColumn>,
    /// It is one of those columns unchanged (under whatever name); otherwise something was computed.
    pub direct: bool,
}

/// Where the columns of a result come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lineage {
    /// Column by column, in the order of the result.
    Columns(Vec<ColumnLineage>),
    /// The columns could not be told apart: each may hold any of these.
    Any(BTreeSet<BaseColumn>),
}

/// A table or view as the target's catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its schema (`main` on SQLite).
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<String>,
    /// The query of a view, as the target prints it.
    pub view: Option<String>,
}

/// The relations that a statement can reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// Where unqualified names are looked up, in order.
    pub search_path: Vec<String>,
    /// Tables and views.
    pub relations: Vec<Relation>,
}
