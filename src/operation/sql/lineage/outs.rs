//! What a query gives: its columns under their names, or a heap of everything that may be in it.

use sqlparser::ast::{Expr, SelectItem, SetExpr, TableAlias};

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
    /// While a recursive WITH settles: nothing is known yet.
    Unsettled,
}

impl Outs {
    pub(super) fn all(&self) -> Sources {
        match self {
            Self::Columns(columns) => columns.iter().flat_map(|out| out.lineage.sources.iter().cloned()).collect(),
            Self::Heap(sources) => sources.clone(),
            Self::Unsettled => Sources::new(),
        }
    }

    /// The same, with nothing said of which column is which.
    pub(super) fn heaped(self) -> Self {
        match self {
            Self::Unsettled => Self::Unsettled,
            outs => Self::Heap(outs.all()),
        }
    }
}

/// Whether a query has a star in its list, or in that of a query it is made of.
pub(super) fn has_star(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => {
            select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)))
        }
        SetExpr::Query(query) => has_star(&query.body),
        SetExpr::SetOperation { left, right, .. } => has_star(left) || has_star(right),
        _ => false,
    }
}

/// The name by which an outer query can speak of an expression without an alias; empty where nobody here can tell. Only PostgreSQL names what is
/// computed by a rule.
pub(super) fn name_of(engine: Engine, expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => fold(engine, ident),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| fold(engine, ident)).unwrap_or_default(),
        _ if engine != Engine::Postgres => String::new(),
        Expr::Function(call) => call.name.0.last().and_then(|part| part.as_ident()).map(|ident| fold(engine, ident)).unwrap_or_default(),
        Expr::Nested(expr) | Expr::Cast { expr, .. } => name_of(engine, expr),
        _ => String::new(),
    }
}

/// Columns under the names that an alias gives them.
///
/// What a star gives may be more or less than is known here, so that the names would stand for others.
pub(super) fn renamed(engine: Engine, outs: Outs, alias: Option<&TableAlias>, has_star: bool) -> Outs {
    let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) else { return outs };
    match outs {
        outs if has_star => outs.heaped(),
        Outs::Columns(mut columns) => {
            for (column, name) in columns.iter_mut().zip(&alias.columns) {
                column.name = fold(engine, &name.name);
            }
            Outs::Columns(columns)
        }
        outs => outs,
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
        (Outs::Unsettled, Outs::Columns(columns)) | (Outs::Columns(columns), Outs::Unsettled) => {
            Outs::Columns(columns.into_iter().map(|out| Out { name: out.name, lineage: computed(out.lineage.sources) }).collect())
        }
        (Outs::Unsettled, Outs::Unsettled) => Outs::Unsettled,
        (left, right) => Outs::Heap(left.all().into_iter().chain(right.all()).collect()),
    }
}
