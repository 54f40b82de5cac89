//! The relations that a statement can reach, read from the target's catalogue in the very transaction that runs the statement.
//!
//! Views are followed to what they select from, so that lineage sees the tables beneath. A limit on relations and depth keeps a strange catalogue
//! from being read without end; what is not read counts as unknown, which masks.

use std::collections::BTreeSet;

use crate::operation::sql::{Engine, Relation, Schema, Statement, view_relations};

/// Relations that are read for one statement.
pub(super) const RELATIONS_MAX: usize = 200;
/// Views inside views that are followed.
const DEPTH_MAX: usize = 16;

/// Collects relations round by round.
pub(super) struct Gatherer {
    engine: Engine,
    schema: Schema,
    /// Schemas to look in: those of the path, and those that the statement or a view names.
    places: Vec<String>,
    asked: BTreeSet<Vec<String>>,
    depth: usize,
}

impl Gatherer {
    pub(super) fn new(engine: Engine, search_path: Vec<String>) -> Self {
        let mut places = search_path.clone();
        places.extend((engine == Engine::Postgres).then(|| "pg_catalog".to_owned()));
        Self { engine, schema: Schema { search_path, relations: Vec::new() }, places, asked: BTreeSet::new(), depth: 0 }
    }

    /// The names to read first.
    pub(super) fn first(&mut self, statement: &Statement) -> Vec<String> {
        self.fresh(statement.relations().to_vec())
    }

    /// Where to look for them.
    pub(super) fn places(&self) -> &[String] {
        &self.places
    }

    /// Takes what was read, and says which names to read next; empty = done. If there is too much to read, nothing counts as read: of two
    /// relations of one name, the one that is missing may be the one that is meant.
    pub(super) fn next(&mut self, found: Vec<Relation>) -> Vec<String> {
        let mut wanted = Vec::new();
        self.depth += 1;
        for relation in found {
            if self.schema.relations.iter().any(|known| known.schema == relation.schema && known.name == relation.name) {
                continue;
            }
            if self.schema.relations.len() >= RELATIONS_MAX {
                self.schema.relations.clear();
                return Vec::new();
            }
            if let Some(definition) = &relation.view {
                wanted.extend(view_relations(self.engine, definition).unwrap_or_default());
            }
            self.schema.relations.push(relation);
        }
        if self.depth >= DEPTH_MAX { Vec::new() } else { self.fresh(wanted) }
    }

    pub(super) fn done(self) -> Schema {
        self.schema
    }

    /// Bare names that were not asked for yet.
    fn fresh(&mut self, paths: Vec<Vec<String>>) -> Vec<String> {
        let mut names = Vec::new();
        for path in paths {
            if let [schema, _] = path.as_slice()
                && !self.places.contains(schema)
            {
                self.places.push(schema.clone());
            }
            names.extend(path.last().filter(|_| !self.asked.contains(&path)).cloned());
            self.asked.insert(path);
        }
        names
    }
}
