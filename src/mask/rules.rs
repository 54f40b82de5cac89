//! Rules: which columns, names and contents are masked, and how.
//!
//! A rule for a column says so in so many words; a rule by name holds for every column and key that is called so, on every target; content rules
//! hold for everything. `clear` takes a name rule back for exactly one column, and nothing takes content rules back.

use std::collections::BTreeSet;

use aws_lc_rs::digest;

use crate::mask::names;
use crate::operation::sql::{BaseColumn, ColumnLineage, Lineage};

/// How a value is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// A label instead of the value.
    Redact,
    /// A part of the value (last four digits, first letter), where the column comes back unchanged.
    Partial,
    /// Not by name; by content all the same.
    Clear,
}

impl Mode {
    /// By its name in the configuration.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "redact" => Some(Self::Redact),
            "partial" => Some(Self::Partial),
            "clear" => Some(Self::Clear),
            _ => None,
        }
    }
}

/// A rule for one column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnRule {
    /// On this target alone.
    pub target: Option<String>,
    /// In this schema alone.
    pub schema: Option<String>,
    /// The table or view.
    pub table: String,
    /// The column.
    pub column: String,
    /// How.
    pub mode: Mode,
}

/// All rules in force.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    columns: Vec<ColumnRule>,
    hash: String,
}

/// What is done to a column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// The rule's id, such as `name:email` or `column:customers.email`.
    pub(super) rule: String,
    /// Part of a value may be shown.
    pub(super) partial: bool,
}

/// The version of the built-in rules; it goes into the hash.
const BUILT_IN: &str = "names/2 content/2 kube/1";

impl Rules {
    /// The built-in rules and these.
    #[must_use]
    pub fn new(mut columns: Vec<ColumnRule>) -> Self {
        columns.sort();
        let hash = hex::encode(digest::digest(&digest::SHA256, format!("{BUILT_IN} {columns:?}").as_bytes()));
        Self { columns, hash }
    }

    /// SHA-256 of the rules, hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What is done to the values of a result column.
    pub(super) fn column(
        &self,
        target: Option<&str>,
        name: &str,
        position: usize,
        width: usize,
        lineage: &Lineage,
        origin: Option<&BaseColumn>,
    ) -> Option<Decision> {
        let column = match lineage {
            Lineage::Columns(columns) if columns.len() == width => columns.get(position).cloned().unwrap_or_default(),
            // The parser and the database disagree about the columns: any of them may hold anything.
            Lineage::Columns(columns) => {
                ColumnLineage { sources: columns.iter().flat_map(|column| column.sources.iter().cloned()).collect(), direct: false }
            }
            Lineage::Any(sources) => ColumnLineage { sources: sources.clone(), direct: false },
        };
        let ColumnLineage { mut sources, direct } = column;
        sources.extend(origin.cloned());
        let found = sources
            .iter()
            .filter_map(|source| self.source(target, source))
            .reduce(|a, b| Decision { partial: a.partial && b.partial, rule: a.rule });
        if let Some(decision) = found {
            return Some(Decision { partial: decision.partial && direct, ..decision });
        }
        if sources.is_empty() || self.all_clear(target, &sources) {
            return None;
        }
        names::evidence(name).map(|(id, partial)| Decision { rule: format!("name:{id}"), partial: partial && direct })
    }

    fn matching<'a>(&'a self, target: Option<&'a str>, source: &'a BaseColumn) -> impl Iterator<Item = &'a ColumnRule> {
        self.columns.iter().filter(move |rule| {
            let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase());
            let on_target = rule.target.as_deref().is_none_or(|wanted| target.is_none_or(|target| wanted == target));
            // A source without a schema may be in any.
            let in_schema = match (&rule.schema, &source.schema) {
                (Some(wanted), Some(schema)) => same(wanted, schema),
                _ => true,
            };
            on_target && in_schema && same(&rule.table, &source.table) && (source.column == "*" || same(&rule.column, &source.column))
        })
    }

    fn source(&self, target: Option<&str>, source: &BaseColumn) -> Option<Decision> {
        let masking = self.matching(target, source).filter(|rule| rule.mode != Mode::Clear).min_by_key(|rule| rule.mode);
        if let Some(rule) = masking {
            return Some(Decision { rule: format!("column:{}.{}", rule.table, rule.column), partial: rule.mode == Mode::Partial });
        }
        if source.column == "*" {
            // Columns that nobody could name may be called anything.
            return Some(Decision { rule: "column:unknown".to_owned(), partial: false });
        }
        if self.matching(target, source).next().is_some() {
            return None;
        }
        names::evidence(&source.column).map(|(id, partial)| Decision { rule: format!("name:{id}"), partial })
    }

    fn all_clear(&self, target: Option<&str>, sources: &BTreeSet<BaseColumn>) -> bool {
        sources.iter().all(|source| source.column != "*" && self.matching(target, source).any(|rule| rule.mode == Mode::Clear))
    }
}
