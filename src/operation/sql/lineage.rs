//! Lineage: which table columns may flow into which result column, over every branch of a statement.
//!
//! It may name too many columns and never too few: a name that cannot be resolved counts as every column of every relation in reach, and a
//! construct that is not known makes the whole result hold everything.

mod names;
mod outs;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use sqlparser::ast::{
    Expr, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement as Ast, TableObject, UpdateTableFromKind, With,
};

use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, parts};
use crate::operation::sql::function::{fold, hides_nothing};
use names::Given;
use outs::{Out, Outs, either, has_star, name_of, renamed};
use scope::{Named, Scope};

/// A column of a table (never of a view). The column `*` stands for every column of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseColumn {
    /// The schema, where the statement or the catalogue names one.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// The column, or `*`.
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    /// Its schema (`main` on SQLite, the database on MySQL).
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<String>,
    /// The query of a view, as the target prints it.
    pub view: Option<String>,
    /// SQLite: the column of which `rowid` is another name.
    pub rowid: Option<String>,
    /// PostgreSQL: schema and name of tables, near or far, whose columns a mask rule for this one must be heard for as well: those that it is a
    /// partition of or inherits from, which hold what it holds; and those of its own children that rules name, whose rows are read through it.
    pub kin: Vec<(String, String)>,
}

/// The relations that a statement can reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// Where unqualified names are looked up, in order.
    pub search_path: Vec<String>,
    /// Tables and views.
    pub relations: Vec<Relation>,
}

type Sources = BTreeSet<BaseColumn>;

/// The walk met something that it does not know.
struct Lost;

type Found<T> = Result<T, Lost>;

/// Views inside views that are followed.
const VIEW_DEPTH_MAX: usize = 16;
/// Rounds until a recursive WITH must have settled.
const ROUNDS_MAX: usize = 32;

/// Traces a statement's result columns.
pub(super) fn trace(engine: Engine, ast: &Ast, schema: &Schema) -> Lineage {
    let tracer = Tracer { engine, schema, given: Given::by(ast), depth: 0 };
    let outs = match ast {
        Ast::Query(query) => tracer.query(query, &Scope::outermost()),
        other => tracer.returning(other),
    };
    match outs {
        Ok(Outs::Columns(columns)) => Lineage::Columns(columns.into_iter().map(|out| out.lineage).collect()),
        Ok(outs) => Lineage::Any(outs.all()),
        Err(Lost) => Lineage::Any(tracer.everything()),
    }
}

struct Tracer<'a> {
    engine: Engine,
    schema: &'a Schema,
    given: Given,
    depth: usize,
}

/// The last part of a name, as it is spelt.
fn last(name: &sqlparser::ast::ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone()).unwrap_or_default()
}

fn computed(sources: Sources) -> ColumnLineage {
    ColumnLineage { sources, direct: false }
}

impl Tracer<'_> {
    /// Every column of every relation that the statement can reach, and of those that nobody read.
    fn everything(&self) -> Sources {
        let unread = BaseColumn { schema: None, table: String::new(), column: "*".to_owned() };
        let read = self.schema.relations.iter().flat_map(|relation| {
            relation.columns.iter().map(|column| BaseColumn {
                schema: Some(relation.schema.clone()),
                table: relation.name.clone(),
                column: column.clone(),
            })
        });
        read.chain([unread]).collect()
    }

    fn query(&self, query: &Query, outer: &Scope<'_>) -> Found<Outs> {
        let mut scope = outer.nested();
        if let Some(with) = &query.with {
            self.with(with, &mut scope)?;
        }
        self.body(&query.body, &scope)
    }

    fn with(&self, with: &With, scope: &mut Scope<'_>) -> Found<()> {
        if !(with.recursive || self.engine == Engine::Sqlite) {
            for cte in &with.cte_tables {
                let outs = renamed(self.engine, self.query(&cte.query, scope)?, Some(&cte.alias), has_star(&cte.query.body));
                scope.define(fold(self.engine, &cte.alias.name), outs);
            }
            return Ok(());
        }
        // Each may see all of them: start from nothing and go round until nothing more flows in. Sources only grow, so it ends.
        for cte in &with.cte_tables {
            scope.define(fold(self.engine, &cte.alias.name), Outs::Unsettled);
        }
        for _ in 0..ROUNDS_MAX {
            let mut settled = true;
            for cte in &with.cte_tables {
                let outs = renamed(self.engine, self.query(&cte.query, scope)?, Some(&cte.alias), has_star(&cte.query.body));
                settled &= !scope.define(fold(self.engine, &cte.alias.name), outs);
            }
            if settled {
                return Ok(());
            }
        }
        Err(Lost)
    }

    fn body(&self, body: &SetExpr, scope: &Scope<'_>) -> Found<Outs> {
        match body {
            SetExpr::Query(query) => self.query(query, scope),
            SetExpr::Select(select) => {
                let (named, merges) = self.from(&select.from, scope)?;
                let scope = scope.with_relations(named);
                self.items(&select.projection, &scope, merges)
            }
            SetExpr::SetOperation { left, right, .. } => {
                let (outs, other) = (self.body(left, scope)?, self.body(right, scope)?);
                // A table may have columns that a star does not show, and then another stands in each place.
                let shifts = self.engine != Engine::Postgres && (has_star(left) || has_star(right));
                Ok(either(if shifts { outs.heaped() } else { outs }, other))
            }
            SetExpr::Values(values) => {
                let mut outs: Option<Outs> = None;
                for row in &values.rows {
                    let mut columns = Vec::new();
                    for (index, expr) in row.content.iter().enumerate() {
                        let name = if self.engine == Engine::MySql { String::new() } else { format!("column{}", index + 1) };
                        columns.push(Out { name, lineage: computed(self.expr(expr, scope)?.sources) });
                    }
                    outs = Some(match outs {
                        Some(before) => either(before, Outs::Columns(columns)),
                        None => Outs::Columns(columns),
                    });
                }
                outs.ok_or(Lost)
            }
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => self.returning(statement),
            SetExpr::Merge(_) | SetExpr::Table(_) => Err(Lost),
        }
    }

    fn items(&self, items: &[SelectItem], scope: &Scope<'_>, merges: bool) -> Found<Outs> {
        let mut columns = Vec::new();
        let mut heap: Option<Sources> = None;
        let mut scope = scope.nested();
        for item in items {
            let outs = match item {
                SelectItem::UnnamedExpr(expr) => {
                    Outs::Columns(vec![Out { name: name_of(self.engine, expr), lineage: self.expr(expr, &scope)? }])
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let out = Out { name: fold(self.engine, alias), lineage: self.expr(expr, &scope)? };
                    if self.engine != Engine::Postgres {
                        scope.aliases.push((out.name.clone(), out.lineage.clone()));
                    }
                    Outs::Columns(vec![out])
                }
                SelectItem::Wildcard(_) => {
                    let all = scope.star(None).ok_or(Lost)?;
                    // USING and NATURAL merge columns, so their number is not known here.
                    if merges { Outs::Heap(all.all()) } else { all }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    // With its schema before it a relation may be another than the nearest of that name.
                    if name.0.len() > 1 && !self.given.is_single(&last(name)) {
                        return Err(Lost);
                    }
                    scope.star(Some((self.engine, name))).ok_or(Lost)?
                }
                _ => return Err(Lost),
            };
            match (outs, &mut heap) {
                (Outs::Columns(more), None) => columns.extend(more),
                (outs, heap) => heap.get_or_insert_with(Sources::new).extend(outs.all()),
            }
        }
        Ok(match heap {
            None => Outs::Columns(columns),
            Some(mut heap) => {
                heap.extend(Outs::Columns(columns).all());
                Outs::Heap(heap)
            }
        })
    }

    /// What may flow into an expression.
    fn expr(&self, expr: &Expr, scope: &Scope<'_>) -> Found<ColumnLineage> {
        match expr {
            Expr::Identifier(ident) => Ok(self.column(scope, &[fold(self.engine, ident)])),
            Expr::CompoundIdentifier(idents) => {
                let path: Vec<String> = idents.iter().map(|ident| fold(self.engine, ident)).collect();
                Ok(self.column(scope, &path))
            }
            Expr::Nested(inner) => self.expr(inner, scope),
            // A count of values tells how many there are, and none of them.
            Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("count") && call.over.is_none() => {
                Ok(ColumnLineage::default())
            }
            other => {
                // What a function gives that nobody here knows may be anything, in a view above all.
                let is_foreign = matches!(other, Expr::Function(call) if !hides_nothing(self.engine, &call.name));
                let mut sources = if is_foreign { self.everything() } else { Sources::new() };
                for part in parts(other).map_err(|_| Lost)? {
                    match part {
                        Part::Expr(expr) => sources.extend(self.expr(expr, scope)?.sources),
                        Part::Query(query) => sources.extend(self.query(query, scope)?.all()),
                        Part::Star(None) => sources.extend(scope.star(None).ok_or(Lost)?.all()),
                        Part::Star(Some(name)) if !self.given.is_single(&last(name)) => sources.extend(self.everything()),
                        Part::Star(Some(name)) => sources.extend(scope.star(Some((self.engine, name))).ok_or(Lost)?.all()),
                    }
                }
                Ok(computed(sources))
            }
        }
    }

    /// The result of RETURNING. What was assigned comes back under the column's name, so it flows in too.
    fn returning(&self, ast: &Ast) -> Found<Outs> {
        let outer = Scope::outermost();
        let (mut named, items, assigned) = match ast {
            Ast::Insert(insert) => {
                let TableObject::TableName(name) = &insert.table else { return Err(Lost) };
                let target = self.named(name, insert.table_alias.as_ref().map(|alias| fold(self.engine, &alias.alias)), &outer)?;
                let mut assigned = match &insert.source {
                    Some(source) => self.query(source, &outer)?.all(),
                    None => Sources::new(),
                };
                if insert.on.is_some() {
                    // ON CONFLICT … SET may read the row that is there, which is of the same table.
                    assigned.extend(target.outs.all());
                }
                (vec![target], &insert.returning, assigned)
            }
            Ast::Update(update) => {
                let (mut named, _) = self.from(std::slice::from_ref(&update.table), &outer)?;
                if let Some(UpdateTableFromKind::AfterSet(tables)) = &update.from {
                    named.extend(self.from(tables, &outer)?.0);
                }
                let scope = outer.with_relations(named.clone());
                let mut assigned = Sources::new();
                for assignment in &update.assignments {
                    assigned.extend(self.expr(&assignment.value, &scope)?.sources);
                }
                (named, &update.returning, assigned)
            }
            Ast::Delete(delete) => {
                let sqlparser::ast::FromTable::WithFromKeyword(tables) = &delete.from else { return Err(Lost) };
                let mut named = self.from(tables, &outer)?.0;
                named.extend(self.from(delete.using.as_deref().unwrap_or_default(), &outer)?.0);
                (named, &delete.returning, Sources::new())
            }
            _ => return Err(Lost),
        };
        if !assigned.is_empty()
            && let Some(target) = named.first_mut()
        {
            target.taint(&assigned);
        }
        match items {
            Some(items) => self.items(items, &outer.with_relations(named), false),
            None => Ok(Outs::Columns(Vec::new())),
        }
    }

    /// A view's columns, traced through its definition.
    fn view(&self, relation: &Relation, definition: &str) -> Outs {
        let unknown = || {
            let mut sources = self.everything();
            sources.extend(relation.columns.iter().map(|column| BaseColumn {
                schema: Some(relation.schema.clone()),
                table: relation.name.clone(),
                column: column.clone(),
            }));
            Outs::Columns(relation.columns.iter().map(|name| Out { name: name.clone(), lineage: computed(sources.clone()) }).collect())
        };
        if self.depth >= VIEW_DEPTH_MAX {
            return unknown();
        }
        let Some(ast) = crate::operation::sql::statement::view_query(self.engine, definition) else { return unknown() };
        let inner = Tracer { engine: self.engine, schema: self.schema, given: Given::by(&ast), depth: self.depth + 1 };
        let Ast::Query(query) = ast else { return unknown() };
        match inner.query(&query, &Scope::outermost()) {
            Ok(Outs::Columns(columns)) if columns.len() == relation.columns.len() => {
                let own = |name: &String| BaseColumn {
                    schema: Some(relation.schema.clone()),
                    table: relation.name.clone(),
                    column: name.clone(),
                };
                Outs::Columns(
                    relation
                        .columns
                        .iter()
                        .zip(columns)
                        .map(|(name, mut out)| {
                            // A rule may name the view's own column as well.
                            out.lineage.direct &= out.lineage.sources.len() == 1;
                            out.lineage.sources.insert(own(name));
                            Out { name: name.clone(), lineage: out.lineage }
                        })
                        .collect(),
                )
            }
            _ => unknown(),
        }
    }
}

impl Named {
    /// Lets these sources flow into every column.
    fn taint(&mut self, sources: &Sources) {
        match &mut self.outs {
            Outs::Columns(columns) => {
                for out in columns {
                    out.lineage.sources.extend(sources.iter().cloned());
                    out.lineage.direct = false;
                }
            }
            Outs::Heap(heap) => heap.extend(sources.iter().cloned()),
            Outs::Unsettled => self.outs = Outs::Heap(sources.clone()),
        }
        if let Some(system) = &mut self.system {
            *system = computed(system.sources.iter().chain(sources).cloned().collect());
        }
    }
}
