//! Previews: from a change, the read-only statements that show what it would do. The statement itself is never run.
//!
//! They are built as text from printed parts of the tree and then parsed and judged like any statement; what does not come out as a read is not
//! shown. Conditions keep their parameters, numbered anew.

use sqlparser::ast::{
    Expr, FromTable, Statement as Ast, TableFactor, TableObject, TableWithJoins, UpdateTableFromKind, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use std::ops::ControlFlow;

use crate::operation::sql::{Count, Engine, Mode, Param, Preview, Sql, Statement};

/// Rows of the sample.
pub const SAMPLE_ROWS: u32 = 5;

/// Numbers the placeholders of a condition from 1, and notes which parameters they were. MySQL's have no numbers: each is one more parameter.
struct Renumber {
    engine: Engine,
    kept: Vec<usize>,
    plain: usize,
}

impl VisitorMut for Renumber {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(text) = &mut value.value {
            let old = match text.get(1..).and_then(|number| number.parse::<usize>().ok()) {
                Some(number) => number,
                None => {
                    self.plain += 1;
                    self.plain
                }
            };
            if self.engine == Engine::MySql {
                self.kept.push(old);
                return ControlFlow::Continue(());
            }
            let position = self.kept.iter().position(|kept| *kept == old).unwrap_or_else(|| {
                self.kept.push(old);
                self.kept.len() - 1
            });
            *text = format!("{}{}", if self.engine == Engine::Sqlite { "?" } else { "$" }, position + 1);
        }
        ControlFlow::Continue(())
    }
}

/// Counts the plain placeholders that stand before the condition.
fn plain_before(exprs: &[&Expr]) -> usize {
    struct Plain(usize);
    impl sqlparser::ast::Visitor for Plain {
        type Break = ();
        fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
            self.0 += usize::from(matches!(&value.value, Value::Placeholder(text) if text == "?"));
            ControlFlow::Continue(())
        }
    }
    let mut plain = Plain(0);
    for expr in exprs {
        let _never_breaks = sqlparser::ast::Visit::visit(*expr, &mut plain);
    }
    plain.0
}

impl Sql {
    /// The read-only statements that show what a change would do; `None` where nothing can be shown but the statement itself.
    #[must_use]
    pub fn preview(&self) -> Option<Preview> {
        let engine = self.statement.engine();
        let (count, sample) = match self.statement.ast() {
            Ast::Update(update) => {
                let from = match &update.from {
                    None => Vec::new(),
                    Some(UpdateTableFromKind::AfterSet(tables)) => tables.clone(),
                    Some(UpdateTableFromKind::BeforeSet(_)) => return None,
                };
                let values: Vec<&Expr> = update.assignments.iter().map(|assignment| &assignment.value).collect();
                self.rows_of(&update.table, &from, update.selection.as_ref(), plain_before(&values))?
            }
            Ast::Delete(delete) => {
                let FromTable::WithFromKeyword(tables) = &delete.from else { return None };
                self.rows_of(tables.first()?, delete.using.as_deref().unwrap_or_default(), delete.selection.as_ref(), 0)?
            }
            Ast::Insert(insert) => {
                let TableObject::TableName(_) = &insert.table else { return None };
                let source = insert.source.as_ref()?;
                match &*source.body {
                    sqlparser::ast::SetExpr::Values(values) if source.with.is_none() => {
                        // MySQL counts a row that takes the place of another as two.
                        let twice = engine == Engine::MySql && (insert.on.is_some() || insert.replace_into);
                        (Count::Known(values.rows.len() as u64 * if twice { 2 } else { 1 }), None)
                    }
                    _ => {
                        let mut query = source.clone();
                        let mut renumber = Renumber { engine, kept: Vec::new(), plain: 0 };
                        let _never_breaks = query.visit(&mut renumber);
                        (
                            Count::Query(Box::new(
                                self.derived(&format!("SELECT count(*) AS n FROM ({query}) AS preview_of"), &renumber.kept)?,
                            )),
                            None,
                        )
                    }
                }
            }
            Ast::Truncate(truncate) if truncate.table_names.len() == 1 => self.whole(&truncate.table_names.first()?.name.to_string())?,
            Ast::Drop { object_type: sqlparser::ast::ObjectType::Table, names, .. } if names.len() == 1 => {
                self.whole(&names.first()?.to_string())?
            }
            _ => return None,
        };
        let mut touches = self.statement.touches().to_vec();
        for touch in &mut touches {
            touch.verb = "select";
            touch.risk = crate::operation::Risk::Read;
        }
        touches.sort();
        touches.dedup();
        Some(Preview { count, sample, touches })
    }

    /// For a change whose rows nobody counts while it runs: what counts them before, in the same transaction.
    #[must_use]
    pub fn recount(&self) -> Option<Box<Self>> {
        match self.preview().filter(|_| !self.statement.counts_rows())?.count {
            Count::Query(count) => Some(count),
            Count::Known(_) => None,
        }
    }

    /// Count and sample of the rows that a condition chooses.
    fn rows_of(
        &self,
        table: &TableWithJoins,
        more: &[TableWithJoins],
        selection: Option<&Expr>,
        plain: usize,
    ) -> Option<(Count, Option<Box<Self>>)> {
        let engine = self.statement.engine();
        let TableFactor::Table { name, alias, .. } = &table.relation else { return None };
        let of = alias.as_ref().map_or_else(|| name.0.last().map(ToString::to_string).unwrap_or_default(), |alias| alias.name.to_string());
        let mut from = table.to_string();
        let mut renumber = Renumber { engine, kept: Vec::new(), plain };
        for table in more {
            let mut table = table.clone();
            let _never_breaks = table.visit(&mut renumber);
            from = format!("{from}, {table}");
        }
        let mut condition = String::new();
        if let Some(selection) = selection {
            let mut selection = selection.clone();
            let _never_breaks = selection.visit(&mut renumber);
            condition = format!(" WHERE {selection}");
        }
        let count = self.derived(&format!("SELECT count(*) AS n FROM {from}{condition}"), &renumber.kept)?;
        let sample = self.derived(&format!("SELECT {of}.* FROM {from}{condition} LIMIT {SAMPLE_ROWS}"), &renumber.kept)?;
        Some((Count::Query(Box::new(count)), Some(Box::new(sample))))
    }

    fn whole(&self, name: &str) -> Option<(Count, Option<Box<Self>>)> {
        let count = self.derived(&format!("SELECT count(*) AS n FROM {name}"), &[])?;
        let sample = self.derived(&format!("SELECT * FROM {name} LIMIT {SAMPLE_ROWS}"), &[])?;
        Some((Count::Query(Box::new(count)), Some(Box::new(sample))))
    }

    /// A statement made here, judged like one that came in.
    fn derived(&self, text: &str, kept: &[usize]) -> Option<Self> {
        let statement = Statement::parse(self.statement.engine(), text).ok().filter(Statement::is_read)?;
        let params: Option<Vec<Param>> = kept.iter().map(|number| self.params.get(number.checked_sub(1)?).cloned()).collect();
        Some(Self { statement, params: params?, mode: Mode::Query, expect_max_rows: None })
    }
}
