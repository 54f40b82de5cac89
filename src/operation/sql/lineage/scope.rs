//! Scopes: which relations a name can mean, from the innermost query outwards.

use std::collections::BTreeMap;

use sqlparser::ast::{JoinConstraint, JoinOperator, ObjectName, TableFactor, TableWithJoins};

use super::{BaseColumn, ColumnLineage, Found, Lost, Out, Outs, Sources, Tracer, has_star, renamed};
use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, arguments};
use crate::operation::sql::function::{fold, folded, hides_nothing};

/// A relation of a FROM clause, under the name it goes by there.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The alias, or the table's own name.
    pub(super) name: String,
    /// Its columns.
    pub(super) outs: Outs,
    /// The table, if the catalogue does not know it: any column may be its.
    pub(super) open: Option<(Option<String>, String)>,
    /// What the engine's own columns of it may hold; `None` where it is no table.
    pub(super) system: Option<ColumnLineage>,
    /// The table, if it is one that the catalogue knows.
    pub(super) base: Option<(Option<String>, String)>,
}

/// What names can mean at some place.
pub(super) struct Scope<'a> {
    pub(super) outer: Option<&'a Scope<'a>>,
    pub(super) relations: Vec<Named>,
    /// Names of the select list so far, where a subquery in it may speak of them.
    pub(super) aliases: Vec<(String, ColumnLineage)>,
    ctes: BTreeMap<String, Outs>,
}

impl<'a> Scope<'a> {
    pub(super) const fn outermost() -> Self {
        Self { outer: None, relations: Vec::new(), aliases: Vec::new(), ctes: BTreeMap::new() }
    }

    pub(super) const fn nested(&'a self) -> Scope<'a> {
        Scope { outer: Some(self), relations: Vec::new(), aliases: Vec::new(), ctes: BTreeMap::new() }
    }

    pub(super) const fn with_relations(&'a self, relations: Vec<Named>) -> Scope<'a> {
        Scope { outer: Some(self), relations, aliases: Vec::new(), ctes: BTreeMap::new() }
    }

    /// Defines a common table expression; whether that changed anything.
    pub(super) fn define(&mut self, name: String, outs: Outs) -> bool {
        self.ctes.get(&name) != Some(&outs) && {
            self.ctes.insert(name, outs);
            true
        }
    }

    fn cte(&self, name: &str) -> Option<&Outs> {
        self.ctes.get(name).or_else(|| self.outer.and_then(|outer| outer.cte(name)))
    }

    /// All columns in reach of `*` or `name.*`; `None` if there is no such relation.
    pub(super) fn star(&self, of: Option<(Engine, &ObjectName)>) -> Option<Outs> {
        let name = match of {
            None => None,
            Some((engine, name)) => Some(folded(engine, name)?.pop()?),
        };
        let mut chosen = self.relations.iter().filter(|named| name.as_ref().is_none_or(|name| named.name == *name)).peekable();
        if chosen.peek().is_none() {
            return self.outer.and_then(|outer| outer.star(of));
        }
        let mut columns = Vec::new();
        let mut heap: Option<Sources> = None;
        for named in chosen {
            match &named.outs {
                Outs::Columns(more) if named.open.is_none() => columns.extend(more.clone()),
                outs => heap.get_or_insert_with(Sources::new).extend(outs.all()),
            }
        }
        Some(match heap {
            None => Outs::Columns(columns),
            Some(mut heap) => {
                heap.extend(Outs::Columns(columns).all());
                Outs::Heap(heap)
            }
        })
    }
}

impl Tracer<'_> {
    /// The relations of a FROM clause, and whether a join merges columns.
    pub(super) fn from(&self, tables: &[TableWithJoins], scope: &Scope<'_>) -> Found<(Vec<Named>, bool)> {
        let mut named = Vec::new();
        let mut merges = false;
        for table in tables {
            self.factor(&table.relation, scope, &mut named, &mut merges)?;
            for join in &table.joins {
                self.factor(&join.relation, scope, &mut named, &mut merges)?;
                merges |= match &join.join_operator {
                    JoinOperator::Join(on)
                    | JoinOperator::Inner(on)
                    | JoinOperator::Left(on)
                    | JoinOperator::LeftOuter(on)
                    | JoinOperator::Right(on)
                    | JoinOperator::RightOuter(on)
                    | JoinOperator::FullOuter(on)
                    | JoinOperator::CrossJoin(on) => matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural),
                    _ => return Err(Lost),
                };
            }
        }
        Ok((named, merges))
    }

    fn factor(&self, factor: &TableFactor, scope: &Scope<'_>, named: &mut Vec<Named>, merges: &mut bool) -> Found<()> {
        let alias_name = |alias: &Option<sqlparser::ast::TableAlias>| alias.as_ref().map(|alias| fold(self.engine, &alias.name));
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let mut relation = self.named(name, alias_name(alias), scope)?;
                relation.outs = renamed(self.engine, relation.outs, alias.as_ref(), self.engine == Engine::MySql);
                named.push(relation);
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                // A lateral subquery sees what stands before it; others see it only if the name means nothing nearer, which errs on the safe side.
                let inner = scope.with_relations(if *lateral { named.clone() } else { Vec::new() });
                let outs = renamed(self.engine, self.query(subquery, &inner)?, alias.as_ref(), has_star(&subquery.body));
                named.push(Named { name: alias_name(alias).unwrap_or_default(), outs, open: None, system: None, base: None });
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let outs = self.table_function(name, &args.args, scope, named)?;
                let own = folded(self.engine, name).and_then(|mut path| path.pop()).unwrap_or_default();
                named.push(Named { name: alias_name(alias).unwrap_or(own), outs, open: None, system: None, base: None });
            }
            TableFactor::Function { name, args, alias, .. } => {
                let outs = self.table_function(name, args, scope, named)?;
                let own = folded(self.engine, name).and_then(|mut path| path.pop()).unwrap_or_default();
                named.push(Named { name: alias_name(alias).unwrap_or(own), outs, open: None, system: None, base: None });
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                let inner = scope.with_relations(named.clone());
                let mut heap = Sources::new();
                for expr in array_exprs {
                    heap.extend(self.expr(expr, &inner)?.sources);
                }
                named.push(Named {
                    name: alias_name(alias).unwrap_or_else(|| "unnest".to_owned()),
                    outs: Outs::Heap(heap),
                    open: None,
                    system: None,
                    base: None,
                });
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let (more, merged) = self.from(std::slice::from_ref(table_with_joins), scope)?;
                *merges |= merged;
                named.extend(more);
            }
            _ => return Err(Lost),
        }
        Ok(())
    }

    /// A function in FROM gives back anything that went in; one that nobody here knows, anything at all.
    fn table_function(&self, name: &ObjectName, args: &[sqlparser::ast::FunctionArg], scope: &Scope<'_>, before: &[Named]) -> Found<Outs> {
        let inner = scope.with_relations(before.to_vec());
        let mut parts = Vec::new();
        arguments(args, &mut parts).map_err(|_| Lost)?;
        let mut heap = if hides_nothing(self.engine, name) { Sources::new() } else { self.everything() };
        for part in parts {
            match part {
                Part::Expr(expr) => heap.extend(self.expr(expr, &inner)?.sources),
                Part::Query(query) => heap.extend(self.query(query, &inner)?.all()),
                Part::Star(_) => return Err(Lost),
            }
        }
        Ok(Outs::Heap(heap))
    }

    /// A relation by name: a common table expression, a table, a view traced through, or one that the catalogue does not know.
    pub(super) fn named(&self, name: &ObjectName, alias: Option<String>, scope: &Scope<'_>) -> Found<Named> {
        let path = folded(self.engine, name).ok_or(Lost)?;
        let (schema, table) = match path.as_slice() {
            [table] => (None, table.clone()),
            [schema, table] => (Some(schema.clone()), table.clone()),
            _ => return Err(Lost),
        };
        let go_by = alias.unwrap_or_else(|| table.clone());
        if schema.is_none()
            && let Some(outs) = scope.cte(&table)
        {
            return Ok(Named { name: go_by, outs: outs.clone(), open: None, system: None, base: None });
        }
        let fits = |found: &&super::Relation| {
            found.name.eq_ignore_ascii_case(&table)
                && match &schema {
                    Some(schema) => found.schema == *schema,
                    // PostgreSQL looks in its own catalogue whatever the path says.
                    None => {
                        self.schema.search_path.contains(&found.schema) || (self.engine == Engine::Postgres && found.schema == "pg_catalog")
                    }
                }
        };
        let candidates: Vec<&super::Relation> = self.schema.relations.iter().filter(fits).collect();
        let (mut system, mut base) = (None, None);
        let outs = match candidates.as_slice() {
            [] => {
                let all = BaseColumn { schema: schema.clone(), table: table.clone(), column: "*".to_owned() };
                return Ok(Named {
                    name: go_by,
                    outs: Outs::Heap(Sources::from([all])),
                    open: Some((schema, table)),
                    system: None,
                    base: None,
                });
            }
            [one] => {
                base = one.view.is_none().then(|| (Some(one.schema.clone()), one.name.clone()));
                system = one.view.is_none().then(|| one.rowid.as_ref().map_or_else(ColumnLineage::default, |name| own(one, name)));
                self.columns(one)
            }
            // The same name in several schemas of the search path: whichever it is, all of them count.
            several => Outs::Heap(several.iter().flat_map(|one| self.columns(one).all()).collect()),
        };
        Ok(Named { name: go_by, outs, open: None, system, base })
    }

    fn columns(&self, relation: &super::Relation) -> Outs {
        if let Some(definition) = &relation.view {
            return self.view(relation, definition);
        }
        Outs::Columns(relation.columns.iter().map(|name| Out { name: name.clone(), lineage: own(relation, name) }).collect())
    }
}

/// A table's own column, which is its kin's as well.
fn own(table: &super::Relation, column: &str) -> ColumnLineage {
    let of = |schema: &str, table: &str| BaseColumn { schema: Some(schema.to_owned()), table: table.to_owned(), column: column.to_owned() };
    let mut sources: Sources = table.kin.iter().map(|(schema, name)| of(schema, name)).collect();
    sources.insert(of(&table.schema, &table.name));
    ColumnLineage { sources, direct: true }
}
