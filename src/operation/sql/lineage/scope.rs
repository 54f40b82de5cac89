//! Scopes: which relations a name can mean, from the innermost query outwards.

use std::collections::BTreeMap;

use sqlparser::ast::{JoinConstraint, JoinOperator, ObjectName, TableFactor, TableWithJoins};

use super::{BaseColumn, ColumnLineage, Found, Lost, Out, Outs, Sources, Tracer, computed, renamed};
use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, arguments};
use crate::operation::sql::function::{fold, folded};

/// A relation of a FROM clause, under the name it goes by there.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The alias, or the table's own name.
    pub(super) name: String,
    /// Its schema, where it is a table of one.
    pub(super) schema: Option<String>,
    /// Its columns.
    pub(super) outs: Outs,
    /// The table, if the catalogue does not know it: any column may be its.
    pub(super) open: Option<(Option<String>, String)>,
    /// What the engine's own columns of it (`SYSTEM`) may hold; `None` where it is no table.
    pub(super) system: Option<ColumnLineage>,
}

/// What names can mean at some place.
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    relations: Vec<Named>,
    ctes: BTreeMap<String, Outs>,
}

/// Columns that every table has beside its own. They hold nothing that somebody stored, except where SQLite's are the primary key by another name.
const SYSTEM: [&str; 9] = ["rowid", "oid", "_rowid_", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl<'a> Scope<'a> {
    pub(super) const fn outermost() -> Self {
        Self { outer: None, relations: Vec::new(), ctes: BTreeMap::new() }
    }

    pub(super) const fn nested(&'a self) -> Scope<'a> {
        Scope { outer: Some(self), relations: Vec::new(), ctes: BTreeMap::new() }
    }

    pub(super) const fn with_relations(&'a self, relations: Vec<Named>) -> Scope<'a> {
        Scope { outer: Some(self), relations, ctes: BTreeMap::new() }
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

    /// What a column's name can mean: `c`, `t.c`, `s.t.c`, or a whole row by its relation's name; PostgreSQL also takes `database.s.t.c`. What no
    /// scope resolves (`old.c` in a RETURNING, a form that is not known) may be any column in reach.
    pub(super) fn column(&self, path: &[String]) -> ColumnLineage {
        let path = match path {
            [_database, rest @ ..] if rest.len() == 3 => rest,
            path => path,
        };
        self.resolve(path).unwrap_or_else(|| computed(self.in_reach()))
    }

    fn resolve(&self, path: &[String]) -> Option<ColumnLineage> {
        let found = match path {
            [column] => self.bare(column),
            [relation, column] => self.qualified(None, relation, column),
            [schema, relation, column] => self.qualified(Some(schema), relation, column),
            _ => None,
        };
        found.or_else(|| self.outer.and_then(|outer| outer.resolve(path)))
    }

    /// Every column of every relation that a name here can mean.
    fn in_reach(&self) -> Sources {
        let mut sources = self.outer.map(Scope::in_reach).unwrap_or_default();
        sources.extend(self.relations.iter().flat_map(|named| named.outs.all()));
        sources
    }

    fn bare(&self, column: &str) -> Option<ColumnLineage> {
        let mut hits: Vec<ColumnLineage> = Vec::new();
        for named in &self.relations {
            hits.extend(named.column(column));
            // A relation's name where a column may stand is its whole row.
            if named.name == column {
                hits.push(computed(named.outs.all()));
            }
        }
        if hits.is_empty() && !self.relations.is_empty() && !self.outer_has(column) {
            let everything = self.relations.iter().flat_map(|named| named.outs.all()).collect();
            return Some(computed(everything));
        }
        merged(hits)
    }

    /// Whether an outer scope can tell what this column is.
    fn outer_has(&self, column: &str) -> bool {
        self.outer.is_some_and(|outer| {
            outer.relations.iter().any(|named| named.column(column).is_some() || named.name == column) || outer.outer_has(column)
        })
    }

    fn qualified(&self, schema: Option<&String>, relation: &str, column: &str) -> Option<ColumnLineage> {
        let fits =
            |named: &&Named| named.name == relation && (schema.is_none() || named.schema.is_none() || named.schema.as_ref() == schema);
        let hits: Vec<ColumnLineage> =
            self.relations.iter().filter(fits).map(|named| named.column(column).unwrap_or_else(|| computed(named.outs.all()))).collect();
        merged(hits)
    }
}

fn merged(hits: Vec<ColumnLineage>) -> Option<ColumnLineage> {
    hits.into_iter().reduce(|left, right| computed(left.sources.into_iter().chain(right.sources).collect()))
}

impl Named {
    fn column(&self, column: &str) -> Option<ColumnLineage> {
        if let Outs::Columns(columns) = &self.outs
            && let Some(lineage) =
                merged(columns.iter().filter(|out| out.name.eq_ignore_ascii_case(column)).map(|out| out.lineage.clone()).collect())
        {
            return Some(lineage);
        }
        if let Some(system) = self.system.as_ref().filter(|_| SYSTEM.contains(&column)) {
            return Some(system.clone());
        }
        match (&self.open, &self.outs) {
            // A rule may name the column; what it is made of nobody knows.
            (Some((schema, table)), outs) => {
                let mut sources = outs.all();
                sources.insert(BaseColumn { schema: schema.clone(), table: table.clone(), column: column.to_owned() });
                Some(computed(sources))
            }
            (None, Outs::Heap(heap)) => Some(computed(heap.clone())),
            (None, Outs::Columns(_)) => None,
        }
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
                relation.outs = renamed(self.engine, relation.outs, alias.as_ref());
                named.push(relation);
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                // A lateral subquery sees what stands before it; others see it only if the name means nothing nearer, which errs on the safe side.
                let inner = scope.with_relations(if *lateral { named.clone() } else { Vec::new() });
                let outs = renamed(self.engine, self.query(subquery, &inner)?, alias.as_ref());
                named.push(Named { name: alias_name(alias).unwrap_or_default(), schema: None, outs, open: None, system: None });
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let outs = self.table_function(&args.args, scope, named)?;
                let own = folded(self.engine, name).and_then(|mut path| path.pop()).unwrap_or_default();
                named.push(Named { name: alias_name(alias).unwrap_or(own), schema: None, outs, open: None, system: None });
            }
            TableFactor::Function { name, args, alias, .. } => {
                let outs = self.table_function(args, scope, named)?;
                let own = folded(self.engine, name).and_then(|mut path| path.pop()).unwrap_or_default();
                named.push(Named { name: alias_name(alias).unwrap_or(own), schema: None, outs, open: None, system: None });
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                let inner = scope.with_relations(named.clone());
                let mut heap = Sources::new();
                for expr in array_exprs {
                    heap.extend(self.expr(expr, &inner)?.sources);
                }
                named.push(Named {
                    name: alias_name(alias).unwrap_or_else(|| "unnest".to_owned()),
                    schema: None,
                    outs: Outs::Heap(heap),
                    open: None,
                    system: None,
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

    /// A function in FROM gives back anything that went in.
    fn table_function(&self, args: &[sqlparser::ast::FunctionArg], scope: &Scope<'_>, before: &[Named]) -> Found<Outs> {
        let inner = scope.with_relations(before.to_vec());
        let mut parts = Vec::new();
        arguments(args, &mut parts).map_err(|_| Lost)?;
        let mut heap = Sources::new();
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
            return Ok(Named { name: go_by, schema: None, outs: outs.clone(), open: None, system: None });
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
        let mut system = None;
        let outs = match candidates.as_slice() {
            [] => {
                let all = BaseColumn { schema: schema.clone(), table: table.clone(), column: "*".to_owned() };
                return Ok(Named {
                    name: go_by,
                    schema: schema.clone(),
                    outs: Outs::Heap(Sources::from([all])),
                    open: Some((schema, table)),
                    system: None,
                });
            }
            [one] => {
                system = one.view.is_none().then(|| one.rowid.as_ref().map_or_else(ColumnLineage::default, |name| own(one, name)));
                self.columns(one)
            }
            // The same name in several schemas of the search path: whichever it is, all of them count.
            several => Outs::Heap(several.iter().flat_map(|one| self.columns(one).all()).collect()),
        };
        Ok(Named { name: go_by, schema, outs, open: None, system })
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
