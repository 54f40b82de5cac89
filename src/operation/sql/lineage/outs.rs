//! What a query gives: its columns under their names, or a heap of everything that may be in it.

use sqlparser::ast::{Expr, TableAlias};

use super::{ColumnLineage, Sources, computed};
use crate::operation::sql::Engine;
use crate::operation::sql::function::fold;

/// A result column of a query or a column of a relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) name: String,
    pub(super) lineage: ColumnLineage,
}

/// What a query gives: its columns, or a heap of everything that may be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outs {
    Columns(Vec<Out>),
    Heap(Sources),
}

impl Outs {
    pub(super) fn all(&self) -> Sources {
        match self {
            Self::Columns(columns) => columns.iter().flat_map(|out| out.lineage.sources.iter().cloned()).collect(),
            Self::Heap(sources) => sources.clone(),
        }
    }
}

/// The name by which an outer query can speak of an expression without an alias; empty where nobody here can tell. Only PostgreSQL names what is
/// computed by a rule.
pub(super) fn name_of(engine: Engine, expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => fold(engine, ident),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| fold(engine, ident)).unwrap_or_default(),
        _ if engine != Engine::Postgres => String::new(),
        Expr::Function(call) => call.name.0.last().map(ToString::to_string).unwrap_or_default().to_ascii_lowercase(),
        Expr::Nested(expr) | Expr::Cast { expr, .. } => name_of(engine, expr),
        _ => String::new(),
    }
}

/// Columns under the names that an alias gives them.
pub(super) fn renamed(engine: Engine, outs: Outs, alias: Option<&TableAlias>) -> Outs {
    let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) else { return outs };
    match outs {
        Outs::Columns(mut columns) => {
            for (column, name) in columns.iter_mut().zip(&alias.columns) {
                column.name = fold(engine, &name.name);
            }
            Outs::Columns(columns)
        }
        Outs::Heap(sources) => Outs::Heap(sources),
    }
}

/// One or the other, column by column.
pub(super) fn either(left: Outs, right: Outs) -> Outs {
    match (left, right) {
        (Outs::Columns(left), Outs::Columns(right)) if left.len() == right.len() => Outs::Columns(
            left.into_iter()
                .zip(right)
                .map(|(left, right)| Out {
                    name: left.name,
                    lineage: computed(left.lineage.sources.into_iter().chain(right.lineage.sources).collect()),
                })
                .collect(),
        ),
        // While a recursive WITH settles, one side may not know its columns yet.
        (Outs::Heap(heap), Outs::Columns(columns)) | (Outs::Columns(columns), Outs::Heap(heap)) if heap.is_empty() => {
            Outs::Columns(columns.into_iter().map(|out| Out { name: out.name, lineage: computed(out.lineage.sources) }).collect())
        }
        (left, right) => Outs::Heap(left.all().into_iter().chain(right.all()).collect()),
    }
}
