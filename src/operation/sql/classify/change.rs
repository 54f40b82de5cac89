//! Changes: INSERT, UPDATE and DELETE, of the forms that are known, with everything they read on the way.

use sqlparser::ast::{Assignment, FromTable, OnConflictAction, OnInsert, TableFactor, TableObject, TableWithJoins, UpdateTableFromKind};

use super::{Classifier, Scope, is_constant};
use crate::operation::Risk;
use crate::operation::sql::Engine;
use crate::operation::sql::expr::Unknown;

impl Classifier {
    pub(super) fn insert(&mut self, insert: &sqlparser::ast::Insert, scope: &Scope) -> Result<(), Unknown> {
        let exotic = insert.overwrite
            || !insert.assignments.is_empty()
            || insert.partitioned.is_some()
            || insert.output.is_some()
            || insert.insert_alias.is_some();
        if exotic
            || insert.multi_table_insert_type.is_some()
            || !insert.optimizer_hints.is_empty()
            || insert.settings.is_some()
            || insert.format_clause.is_some()
        {
            return Err(Unknown("an INSERT of a form that is not known"));
        }
        let TableObject::TableName(name) = &insert.table else { return Err(Unknown("an INSERT into something that is no table")) };
        let path = self.path(name)?;
        let replaces = insert.replace_into || insert.or.is_some();
        let spelling = self.spelling(name, &path);
        self.found.relations.push(spelling);
        self.raise(Risk::Write, "INSERT changes data");
        self.touch(path.clone(), "insert", Risk::Write);
        if replaces {
            self.raise(Risk::Destructive, "REPLACE and INSERT OR … can remove rows");
            self.touch(path.clone(), "delete", Risk::Destructive);
        }
        if let Some(source) = &insert.source {
            self.query(source, scope)?;
        }
        match &insert.on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => {
                if let OnConflictAction::DoUpdate(update) = &conflict.action {
                    self.touch(path, "update", Risk::Write);
                    self.assignments(&update.assignments, scope)?;
                    self.exprs(update.selection.iter(), scope)?;
                }
            }
            Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
                self.touch(path, "update", Risk::Write);
                self.assignments(assignments, scope)?;
            }
            Some(_) => return Err(Unknown("an INSERT of a form that is not known")),
        }
        self.items(insert.returning.as_deref().unwrap_or_default(), scope)
    }

    pub(super) fn update(&mut self, update: &sqlparser::ast::Update, scope: &Scope) -> Result<(), Unknown> {
        if update.output.is_some()
            || update.limit.is_some()
            || !update.order_by.is_empty()
            || !update.optimizer_hints.is_empty()
            || !update.table.joins.is_empty()
        {
            return Err(Unknown("an UPDATE of a form that is not known"));
        }
        let TableFactor::Table { name, .. } = &update.table.relation else {
            return Err(Unknown("an UPDATE of something that is no table"));
        };
        self.plain_table(&update.table.relation)?;
        let path = self.path(name)?;
        let all = update.selection.as_ref().is_none_or(is_constant);
        let risk = if all || update.or.is_some() { Risk::Destructive } else { Risk::Write };
        self.raise(risk, if all { "UPDATE without a condition changes every row" } else { "UPDATE changes data" });
        let spelling = self.spelling(name, &path);
        self.found.relations.push(spelling);
        self.touch(path, "update", risk);
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(tables)) => self.from(tables, scope)?,
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(Unknown("an UPDATE of a form that is not known")),
        }
        self.assignments(&update.assignments, scope)?;
        self.exprs(update.selection.iter(), scope)?;
        self.items(update.returning.as_deref().unwrap_or_default(), scope)
    }

    pub(super) fn delete(&mut self, delete: &sqlparser::ast::Delete, scope: &Scope) -> Result<(), Unknown> {
        if delete.output.is_some()
            || delete.limit.is_some()
            || !delete.order_by.is_empty()
            || !delete.tables.is_empty()
            // MySQL takes an alias in USING for the table to delete from.
            || (self.engine == Engine::MySql && delete.using.is_some())
            || !delete.optimizer_hints.is_empty()
        {
            return Err(Unknown("a DELETE of a form that is not known"));
        }
        let FromTable::WithFromKeyword(tables) = &delete.from else { return Err(Unknown("a DELETE without FROM")) };
        let [TableWithJoins { relation, joins }] = tables.as_slice() else { return Err(Unknown("a DELETE from several tables")) };
        let TableFactor::Table { name, .. } = relation else { return Err(Unknown("a DELETE from something that is no table")) };
        if !joins.is_empty() {
            return Err(Unknown("a DELETE with a join"));
        }
        self.plain_table(relation)?;
        let path = self.path(name)?;
        self.raise(Risk::Destructive, "DELETE removes rows");
        let spelling = self.spelling(name, &path);
        self.found.relations.push(spelling);
        self.touch(path, "delete", Risk::Destructive);
        self.from(delete.using.as_deref().unwrap_or_default(), scope)?;
        self.exprs(delete.selection.iter(), scope)?;
        self.items(delete.returning.as_deref().unwrap_or_default(), scope)
    }

    fn assignments(&mut self, assignments: &[Assignment], scope: &Scope) -> Result<(), Unknown> {
        self.exprs(assignments.iter().map(|assignment| &assignment.value), scope)
    }
}
