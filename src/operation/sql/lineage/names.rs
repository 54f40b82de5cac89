//! What a name can mean, and never less than the engine may take it for.
//!
//! Engines look for names in ways of their own: nearer or further out, with or without case, by names that they make up themselves, in relations that
//! stand further on. So a name is taken for one column only where there is no other way to read it: a qualifier that stands once in the whole
//! statement, or a name where no query stands around, and relations whose columns are known. Else it means whatever is called so in any of the
//! queries around it and in any table of the statement; and if the statement itself gives that name to something, or nothing is called so, anything.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{Query, Select, SelectItem, Statement as Ast, TableAlias, TableFactor, TableObject, Visit, Visitor};

use super::scope::{Named, Scope};
use super::{BaseColumn, ColumnLineage, Outs, Sources, Tracer, computed};
use crate::operation::sql::Engine;

/// Columns that every table has beside its own. They hold nothing that somebody stored, except where SQLite's are the primary key by another name.
const fn system(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &["rowid", "oid", "_rowid_"],
        Engine::Postgres => &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"],
        Engine::MySql => &[],
    }
}

/// A name as the most generous engine compares it.
fn plain(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Which names a statement gives, to relations and to what they hold.
#[derive(Debug, Default)]
pub(super) struct Given {
    relations: BTreeMap<String, usize>,
    columns: BTreeSet<String>,
}

impl Given {
    pub(super) fn by(ast: &Ast) -> Self {
        let mut given = Self::default();
        let _never_breaks = ast.visit(&mut given);
        given
    }

    fn relation(&mut self, name: &str) {
        *self.relations.entry(plain(name)).or_default() += 1;
    }

    fn alias(&mut self, alias: Option<&TableAlias>) {
        self.columns.extend(alias.into_iter().flat_map(|alias| &alias.columns).map(|column| plain(&column.name.value)));
    }

    /// Whether only one relation goes by this name, wherever it stands.
    pub(super) fn is_single(&self, relation: &str) -> bool {
        self.relations.get(&plain(relation)) == Some(&1)
    }
}

impl Visitor for Given {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Ast) -> ControlFlow<()> {
        if let Ast::Insert(insert) = statement
            && let TableObject::TableName(name) = &insert.table
            && let Some(name) = name.0.last().and_then(|part| part.as_ident())
        {
            let alias = insert.table_alias.as_ref().map(|alias| alias.alias.value.as_str());
            self.relation(alias.unwrap_or(&name.value));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.alias(Some(&cte.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.columns.insert(plain(&alias.value));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (alias, own) = match factor {
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
                (alias.as_ref(), name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str()))
            }
            TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
                (alias.as_ref(), None)
            }
            _ => (None, None),
        };
        self.alias(alias);
        if let Some(name) = alias.map(|alias| alias.name.value.as_str()).or(own) {
            self.relation(name);
        }
        ControlFlow::Continue(())
    }
}

/// What a relation has under a name.
struct Has {
    /// What is called so.
    exact: Option<ColumnLineage>,
    /// What may be called so as well.
    possible: Sources,
    /// Nothing else can be.
    is_certain: bool,
}

impl Named {
    fn has(&self, engine: Engine, column: &str) -> Has {
        let wanted = plain(column);
        let (mut exact, mut possible, mut is_certain) = (None, Sources::new(), false);
        match &self.outs {
            Outs::Columns(columns) => {
                exact = merged(columns.iter().filter(|out| plain(&out.name) == wanted).map(|out| out.lineage.clone()).collect());
                is_certain = self.open.is_none() && self.is_plain();
                if !is_certain {
                    possible.extend(self.outs.all());
                }
            }
            outs => possible.extend(outs.all()),
        }
        if exact.is_none() && system(engine).contains(&wanted.as_str()) {
            exact.clone_from(&self.system);
        }
        // A rule may name a column that is not shown here: one of a table that nobody read, or that the login may not see.
        let may_hide = if engine == Engine::MySql && exact.is_none() { self.base.as_ref() } else { None };
        possible.extend(self.open.as_ref().or(may_hide).map(|table| of(table, column)));
        if engine == Engine::MySql && wanted == "_rowid" {
            possible.extend(self.outs.all());
            is_certain = false;
        }
        Has { exact, possible, is_certain }
    }

    /// Whether its columns are called as they are called here: a table's are; those of a query, where each has a name of its own that no engine
    /// makes another of.
    fn is_plain(&self) -> bool {
        let Outs::Columns(columns) = &self.outs else { return false };
        let mut seen = BTreeSet::new();
        columns.iter().all(|out| {
            let name = plain(&out.name);
            !matches!(name.as_str(), "" | "true" | "false") && seen.insert(name)
        })
    }
}

fn of((schema, table): &(Option<String>, String), column: &str) -> BaseColumn {
    BaseColumn { schema: schema.clone(), table: table.clone(), column: column.to_owned() }
}

pub(super) fn merged(hits: Vec<ColumnLineage>) -> Option<ColumnLineage> {
    hits.into_iter().reduce(|left, right| computed(left.sources.into_iter().chain(right.sources).collect()))
}

impl Tracer<'_> {
    /// What a column's name can mean: `c`, `t.c`, `s.t.c`, or a whole row by its relation's name; PostgreSQL also takes `database.s.t.c`.
    pub(super) fn column(&self, scope: &Scope<'_>, path: &[String]) -> ColumnLineage {
        let (column, relation) = match path {
            [column] => (column, None),
            [.., relation, column] if path.len() <= 4 => (column, Some(relation)),
            _ => return computed(self.everything()),
        };
        let (mut exact, mut possible) = (Vec::new(), Sources::new());
        let (mut is_certain, mut is_settled, mut places) = (true, true, 0);
        let mut place = Some(scope);
        while let Some(here) = place {
            // The list that the name itself stands in gives it nothing: only a subquery in it may speak of what it names.
            let aliases = if std::ptr::eq(here, scope) { &[] } else { here.aliases.as_slice() };
            places += usize::from(!here.relations.is_empty() || !aliases.is_empty());
            for named in here.relations.iter().filter(|named| relation.is_none_or(|relation| plain(&named.name) == plain(relation))) {
                let has = named.has(self.engine, column);
                is_certain &= has.is_certain;
                is_settled &= named.outs != Outs::Unsettled;
                exact.extend(has.exact);
                possible.extend(has.possible);
                if relation.is_none() && plain(&named.name) == plain(column) {
                    // A relation's name where a column may stand is its whole row.
                    exact.push(computed(named.outs.all()));
                }
            }
            if relation.is_none() {
                exact.extend(aliases.iter().filter(|(name, _)| plain(name) == plain(column)).map(|(_, lineage)| lineage.clone()));
            }
            place = here.outer;
        }
        let is_one_way = match relation {
            Some(relation) => self.given.is_single(relation),
            None => places <= 1,
        };
        let Some(found) = merged(exact) else {
            if !is_settled {
                // The next round knows.
                return computed(possible);
            }
            // Nothing here is called so: what the engine finds is somewhere else.
            let mut sources = self.everything();
            sources.extend(possible);
            return computed(sources);
        };
        if is_certain && is_one_way {
            return found;
        }
        let mut sources = found.sources;
        sources.extend(possible);
        if !is_one_way {
            sources.extend(if self.given.columns.contains(&plain(column)) { self.everything() } else { self.called(column) });
        }
        computed(sources)
    }

    /// The columns of that name of every table and view of the statement.
    fn called(&self, column: &str) -> Sources {
        let wanted = plain(column);
        let has = |name: &&String| plain(name) == wanted;
        let of = |relation: &super::Relation, name: &String| BaseColumn {
            schema: Some(relation.schema.clone()),
            table: relation.name.clone(),
            column: name.clone(),
        };
        self.schema.relations.iter().flat_map(|relation| relation.columns.iter().filter(has).map(move |name| of(relation, name))).collect()
    }
}
