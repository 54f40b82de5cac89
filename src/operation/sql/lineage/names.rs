//! What a name can mean: from the innermost query outwards, and never less than the engine may take it for.
//!
//! PostgreSQL takes the nearest relation that has the column, and says what its columns are called; so the search ends there. MySQL and SQLite go on
//! outwards where this walk may think that they have found it: they name columns without an alias by rules of their own, compare aliases with or
//! without case, and let a subquery speak of aliases in the list that it stands in. For them a name means everything that it could mean in any of
//! the queries around it.

use super::scope::{Named, Scope};
use super::{BaseColumn, ColumnLineage, Outs, Sources, computed};
use crate::operation::sql::Engine;

/// Columns that every table has beside its own. They hold nothing that somebody stored, except where SQLite's are the primary key by another name.
const fn system(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &["rowid", "oid", "_rowid_"],
        Engine::Postgres => &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"],
        Engine::MySql => &[],
    }
}

/// What a name can mean in one place.
#[derive(Default)]
struct Meaning {
    hits: Vec<ColumnLineage>,
    /// It means this, and nothing further out.
    is_certain: bool,
}

impl Meaning {
    fn certain(hit: ColumnLineage) -> Self {
        Self { hits: vec![hit], is_certain: true }
    }

    fn possible(sources: Sources) -> Self {
        Self { hits: vec![computed(sources)], is_certain: false }
    }

    fn and(&mut self, other: Self) {
        self.hits.extend(other.hits);
        self.is_certain |= other.is_certain;
    }
}

impl Scope<'_> {
    /// What a column's name can mean: `c`, `t.c`, `s.t.c`, or a whole row by its relation's name; PostgreSQL also takes `database.s.t.c`. What no
    /// scope resolves (`old.c` in a RETURNING, a form that is not known) may be any column in reach.
    pub(super) fn column(&self, engine: Engine, path: &[String]) -> ColumnLineage {
        let path = match path {
            [_database, rest @ ..] if rest.len() == 3 => rest,
            path => path,
        };
        let mut hits = Vec::new();
        let mut place = Some(self);
        while let Some(scope) = place {
            let meaning = scope.meaning(engine, path);
            hits.extend(meaning.hits);
            if meaning.is_certain && engine == Engine::Postgres {
                break;
            }
            place = scope.outer;
        }
        merged(hits).unwrap_or_else(|| computed(self.in_reach()))
    }

    fn meaning(&self, engine: Engine, path: &[String]) -> Meaning {
        let mut meaning = Meaning::default();
        match path {
            [column] => {
                for named in &self.relations {
                    meaning.and(named.column(engine, column));
                    // A relation's name where a column may stand is its whole row.
                    if named.name == *column {
                        meaning.and(Meaning::certain(computed(named.outs.all())));
                    }
                }
                let aliases = self.aliases.iter().filter(|(name, _)| name.eq_ignore_ascii_case(column));
                meaning.hits.extend(aliases.map(|(_, lineage)| lineage.clone()));
            }
            [qualifiers @ .., relation, column] if qualifiers.len() < 2 => {
                let schema = qualifiers.first();
                let fits = |named: &&Named| {
                    named.name == *relation && (schema.is_none() || named.schema.is_none() || named.schema.as_ref() == schema)
                };
                for named in self.relations.iter().filter(fits) {
                    let own = named.column(engine, column);
                    // What is named so and has no such column that is known here may have one all the same.
                    let lacks = own.hits.is_empty();
                    meaning.and(own);
                    if lacks {
                        let mut sources = named.outs.all();
                        sources.extend(named.base.as_ref().map(|base| of(base, column)));
                        meaning.and(Meaning { is_certain: true, ..Meaning::possible(sources) });
                    }
                }
            }
            _ => {}
        }
        meaning
    }

    /// Every column of every relation that a name here can mean.
    fn in_reach(&self) -> Sources {
        let mut sources = self.outer.map(Scope::in_reach).unwrap_or_default();
        sources.extend(self.relations.iter().flat_map(|named| named.outs.all()));
        sources
    }
}

fn of((schema, table): &(Option<String>, String), column: &str) -> BaseColumn {
    BaseColumn { schema: schema.clone(), table: table.clone(), column: column.to_owned() }
}

pub(super) fn merged(hits: Vec<ColumnLineage>) -> Option<ColumnLineage> {
    hits.into_iter().reduce(|left, right| computed(left.sources.into_iter().chain(right.sources).collect()))
}

impl Named {
    fn column(&self, engine: Engine, column: &str) -> Meaning {
        let mut meaning = Meaning::default();
        if let Outs::Columns(columns) = &self.outs {
            let called = columns.iter().filter(|out| out.name.eq_ignore_ascii_case(column)).map(|out| out.lineage.clone());
            if let Some(lineage) = merged(called.collect()) {
                meaning = Meaning::certain(lineage);
            }
            // What its column is called nobody said; an engine may call it like the expression, which no plain name is.
            let is_plain = column.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !meaning.is_certain || !is_plain {
                let nameless: Vec<ColumnLineage> =
                    columns.iter().filter(|out| out.name.is_empty()).map(|out| computed(out.lineage.sources.clone())).collect();
                meaning.hits.extend(nameless);
            }
        }
        if !meaning.is_certain
            && let Some(own) = self.system.as_ref().filter(|_| system(engine).contains(&column))
        {
            meaning.and(Meaning::certain(own.clone()));
        }
        match (&self.open, &self.outs) {
            // A rule may name the column; what it is made of nobody knows.
            (Some(table), outs) => {
                let mut sources = outs.all();
                sources.insert(of(table, column));
                meaning.and(Meaning { is_certain: true, ..Meaning::possible(sources) });
            }
            (None, Outs::Heap(heap)) => meaning.and(Meaning { is_certain: true, ..Meaning::possible(heap.clone()) }),
            (None, Outs::Columns(_)) => {}
        }
        if let Some(base) = self.base.as_ref().filter(|_| engine == Engine::MySql && !meaning.is_certain) {
            // MySQL shows a login only the columns that it may read, and a view may read others. `_rowid` is a key by another name.
            let mut sources = Sources::from([of(base, column)]);
            sources.extend(if column == "_rowid" { self.outs.all() } else { Sources::new() });
            meaning.and(Meaning::possible(sources));
        }
        meaning
    }
}
