//! `Statement`: one parsed SQL statement, and what was found in it.
//!
//! Only listed kinds of statement are accepted. The text to execute is the parse tree printed again, and printing must lose nothing: if the
//! printed text does not parse to the same tree, the statement is refused.

mod literals;
mod shape;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{CascadeOption, ObjectType, Statement as Ast, Visit, Visitor};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use crate::operation::sql::classify::{self, shortened};
use crate::operation::sql::function::folded;
use crate::operation::sql::{Engine, Lineage, Schema, lineage, purity};
use crate::operation::{Place, Risk, Touch};
use crate::refusal::{Code, Refusal};

use shape::{changes_shape, makes_a_plain_table};

/// Why a text is no acceptable statement.
pub type SqlError = Refusal;

/// The longest statement, in bytes.
pub const SQL_MAX_BYTES: usize = 64 * 1024;
/// Nesting that the parser follows.
const DEPTH_MAX: usize = 40;

/// One parsed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    engine: Engine,
    ast: Ast,
    text: String,
    verb: &'static str,
    risk: Risk,
    touches: Vec<Touch>,
    reasons: Vec<String>,
    relations: Vec<Vec<String>>,
    functions: BTreeSet<String>,
    fields: BTreeSet<String>,
    impure: Option<String>,
    placeholders: usize,
}

fn dialect(engine: Engine) -> &'static dyn Dialect {
    match engine {
        Engine::Sqlite => &SQLiteDialect {},
        Engine::Postgres => &PostgreSqlDialect {},
        Engine::MySql => &MySqlDialect {},
    }
}

/// Parses a text into exactly one statement's tree.
fn tree(engine: Engine, sql: &str) -> Result<Ast, Refusal> {
    let unparsable = |why: String| Refusal::new(Code::Unparsable).detail(why);
    let mut statements = Parser::new(dialect(engine))
        .with_recursion_limit(DEPTH_MAX)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| match error {
            sqlparser::parser::ParserError::RecursionLimitExceeded => {
                Refusal::new(Code::TooComplex).detail(format!("it is nested deeper than {DEPTH_MAX} levels"))
            }
            other => unparsable(shortened_error(&other.to_string())),
        })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(ast), true) => Ok(ast),
        (None, _) => Err(unparsable("there is no statement in it".to_owned())),
        (Some(_), false) => Err(Refusal::new(Code::SeveralStatements).detail(format!("there are {} here", statements.len() + 1))),
    }
}

fn shortened_error(text: &str) -> String {
    let text = text.trim_start_matches("sql parser error: ");
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}

impl Statement {
    /// Parses exactly one statement.
    ///
    /// # Errors
    /// `operation.unparsable`, `operation.several_statements`, `operation.unsupported_statement`, `operation.too_complex`.
    pub fn parse(engine: Engine, sql: &str) -> Result<Self, SqlError> {
        if sql.len() > SQL_MAX_BYTES {
            return Err(Refusal::new(Code::TooComplex).detail(format!("it has {} bytes, and {SQL_MAX_BYTES} are the most", sql.len())));
        }
        if let Some(hidden) = sql.chars().find(|c| literals::is_hidden(*c)) {
            return Err(Refusal::new(Code::Unparsable)
                .detail(format!("the character U+{:04X} cannot be seen and is not accepted; bind it as a parameter", u32::from(hidden))));
        }
        let ast = tree(engine, sql)?;
        let placeholders = literals::check(engine, &ast)?;
        let text = ast.to_string();
        // What was judged is what runs: the printed text must mean the same tree.
        if tree(engine, &text).ok().as_ref() != Some(&ast) {
            return Err(Refusal::new(Code::Unparsable)
                .detail("it cannot be written in a form that reads back the same; simplify it, and bind values as parameters"));
        }
        let judged = Self {
            engine,
            ast,
            text,
            verb: "",
            risk: Risk::Admin,
            touches: Vec::new(),
            reasons: Vec::new(),
            relations: Vec::new(),
            functions: BTreeSet::new(),
            fields: BTreeSet::new(),
            impure: None,
            placeholders,
        };
        judged.judge()
    }

    fn judge(mut self) -> Result<Self, SqlError> {
        match &self.ast {
            Ast::Query(_) => self.verb = "select",
            Ast::Insert(_) => self.verb = "insert",
            Ast::Update(_) => self.verb = "update",
            Ast::Delete(_) => self.verb = "delete",
            _ => return self.definition(),
        }
        if let Some(what) = change_inside(&self.ast) {
            return Err(Refusal::new(Code::UnsupportedStatement).detail(format!(
                "{what}, and its effect could be neither shown nor bounded; send one INSERT, UPDATE or DELETE of its own, \
                 with its WITH in a subquery: `INSERT INTO t WITH … SELECT …`, `DELETE FROM t WHERE id IN (WITH … SELECT …)`"
            )));
        }
        if self.engine == Engine::MySql && self.counts_rows() && self.returns_rows() {
            // MySQL has none, and MariaDB does not say before it runs what would come back.
            return Err(
                Refusal::new(Code::UnsupportedStatement).detail("RETURNING is not accepted on this engine; read the rows with db_query")
            );
        }
        let found = classify::classify(self.engine, &self.ast);
        self.risk = found.risk.unwrap_or(Risk::Read);
        self.touches = found.touches.into_iter().map(|((path, verb), risk)| Touch { on: Place::table(path), verb, risk }).collect();
        self.reasons = found.reasons;
        self.functions = found.functions;
        self.fields = found.fields;
        self.impure = found.impure;
        self.relations = found.relations;
        self.relations.sort();
        self.relations.dedup();
        Ok(self)
    }

    /// Statements that define things. None of them may hold a query or call a function that is not known.
    fn definition(mut self) -> Result<Self, SqlError> {
        let engine = self.engine;
        let path = |name| folded(engine, name).filter(|path| matches!(path.len(), 1 | 2));
        let (verb, risk, paths): (&'static str, Risk, Option<Vec<Vec<String>>>) = match &self.ast {
            Ast::CreateTable(table)
                if table.query.is_none()
                    && table.like.is_none()
                    && table.clone.is_none()
                    && !table.or_replace
                    && table.location.is_none()
                    // Rows of such a table are rows of another one.
                    && table.inherits.is_none()
                    && table.partition_of.is_none()
                    && makes_a_plain_table(engine, &table.table_options) =>
            {
                ("create", Risk::Write, path(&table.name).map(|path| vec![path]))
            }
            Ast::CreateIndex(index) => ("create", Risk::Write, path(&index.table_name).map(|path| vec![path])),
            // A view shows what its owner may see to whoever may see the view.
            Ast::CreateView(view) => ("create", Risk::Admin, path(&view.name).map(|path| vec![path])),
            Ast::AlterTable(table) => {
                let risk = if table.operations.iter().all(changes_shape) { Risk::Destructive } else { Risk::Admin };
                ("alter", risk, path(&table.name).map(|path| vec![path]))
            }
            Ast::Drop { cascade: true, .. } | Ast::Truncate(sqlparser::ast::Truncate { cascade: Some(CascadeOption::Cascade), .. }) => {
                return Err(Refusal::new(Code::UnsupportedStatement).detail("CASCADE reaches what the statement does not name; name it"));
            }
            Ast::Drop {
                object_type: ObjectType::Table | ObjectType::View | ObjectType::MaterializedView | ObjectType::Index,
                names,
                table: None,
                ..
            } => ("drop", Risk::Destructive, names.iter().map(path).collect()),
            Ast::Truncate(truncate) if truncate.partitions.is_none() && truncate.on_cluster.is_none() => {
                ("truncate", Risk::Destructive, truncate.table_names.iter().map(|target| path(&target.name)).collect())
            }
            Ast::Grant(_) | Ast::Revoke(_) => ("grant", Risk::Admin, Some(Vec::new())),
            other => {
                let text = other.to_string();
                let kind: Vec<&str> = text.split_whitespace().take(2).collect();
                return Err(Refusal::new(Code::UnsupportedStatement).detail(format!("`{}`", shortened(&kind.join(" ")))));
            }
        };
        let Some(paths) = paths else { return Err(Refusal::new(Code::UnsupportedStatement).detail("a name of a form that is not known")) };
        self.verb = verb;
        self.risk = if matches!(self.ast, Ast::CreateView(_)) || purity::runs_nothing(engine, &self.ast) { risk } else { Risk::Admin };
        let system = paths.iter().any(|path| crate::operation::sql::function::harmless_catalogue(engine, path).is_some());
        self.risk = if system { Risk::Admin } else { self.risk };
        self.reasons = vec![format!("{} changes what there is", verb.to_uppercase())];
        let calls = purity::definition(engine, &self.ast);
        (self.functions, self.fields, self.impure) = (calls.functions, calls.fields, calls.impure);
        self.touches = paths.iter().map(|path| Touch { on: Place::table(path.clone()), verb, risk: self.risk }).collect();
        self.relations = paths;
        Ok(self)
    }

    /// The engine it was parsed for.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// The text to execute: the parse tree, printed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its main verb.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        self.verb
    }

    /// Its risk.
    #[must_use]
    pub const fn risk(&self) -> Risk {
        self.risk
    }

    /// What it touches.
    #[must_use]
    pub fn touches(&self) -> &[Touch] {
        &self.touches
    }

    /// Whether every part of it is known to only read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.verb == "select" && self.risk == Risk::Read && self.reasons.is_empty()
    }

    /// Why it is more than a read.
    #[must_use]
    pub fn why_not_read(&self) -> Option<&str> {
        self.reasons.first().map(String::as_str)
    }

    /// What in it is not known to only read, apart from what it does to the tables that it names: a function, an operator, a type, a construct.
    #[must_use]
    pub fn impure(&self) -> Option<&str> {
        self.impure.as_deref()
    }

    /// The bare names of the functions that it calls.
    #[must_use]
    pub const fn functions(&self) -> &BTreeSet<String> {
        &self.functions
    }

    /// The names that stand behind a dot where a value may: columns, unless the target has a function of that name which takes a row.
    #[must_use]
    pub const fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// How many parameters it wants.
    #[must_use]
    pub const fn placeholders(&self) -> usize {
        self.placeholders
    }

    /// Whether it gives rows back.
    #[must_use]
    pub fn returns_rows(&self) -> bool {
        match &self.ast {
            Ast::Query(_) => true,
            Ast::Insert(insert) => insert.returning.is_some(),
            Ast::Update(update) => update.returning.is_some(),
            Ast::Delete(delete) => delete.returning.is_some(),
            _ => false,
        }
    }

    /// Whether the target tells how many rows it changed.
    #[must_use]
    pub const fn counts_rows(&self) -> bool {
        matches!(self.ast, Ast::Insert(_) | Ast::Update(_) | Ast::Delete(_))
    }

    /// The tables that lose every row, as the statement names them.
    #[must_use]
    pub fn emptied(&self) -> Option<Vec<String>> {
        Some(match &self.ast {
            Ast::Truncate(truncate) => truncate.table_names.iter().map(|target| target.name.to_string()).collect(),
            Ast::Drop { object_type: ObjectType::Table, names, .. } => names.iter().map(ToString::to_string).collect(),
            _ => return None,
        })
    }

    /// The relations it reads or writes by name, schema first where it names one.
    #[must_use]
    pub fn relations(&self) -> &[Vec<String>] {
        &self.relations
    }

    /// Which table columns may flow into which result column.
    #[must_use]
    pub fn lineage(&self, schema: &Schema) -> Lineage {
        lineage::trace(self.engine, &self.ast, schema)
    }

    pub(super) const fn ast(&self) -> &Ast {
        &self.ast
    }
}

/// The relations of a view's definition, as the engine prints it; `None` if it is no plain query.
#[must_use]
pub fn view_relations(engine: Engine, definition: &str) -> Option<Vec<Vec<String>>> {
    let ast = view_query(engine, definition)?;
    Some(classify::classify(engine, &ast).relations)
}

/// A view's query: SQLite keeps the whole CREATE VIEW, PostgreSQL prints the query alone.
pub(super) fn view_query(engine: Engine, definition: &str) -> Option<Ast> {
    match tree(engine, definition).ok()? {
        Ast::CreateView(view) => Some(Ast::Query(view.query)),
        ast @ Ast::Query(_) => Some(ast),
        _ => None,
    }
}

/// A change inside another statement: in a WITH, or as the body of one.
fn change_inside(ast: &Ast) -> Option<String> {
    struct Inside(usize);
    impl Visitor for Inside {
        type Break = String;

        fn pre_visit_statement(&mut self, statement: &Ast) -> ControlFlow<String> {
            self.0 += 1;
            if self.0 == 1 {
                return ControlFlow::Continue(());
            }
            let text = statement.to_string();
            ControlFlow::Break(format!(
                "`{}` stands inside another statement",
                shortened(text.split_whitespace().next().unwrap_or_default())
            ))
        }

        fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> ControlFlow<String> {
            if select.into.is_some() {
                return ControlFlow::Break("SELECT INTO makes a table".to_owned());
            }
            ControlFlow::Continue(())
        }
    }
    match ast.visit(&mut Inside(0)) {
        ControlFlow::Break(what) => Some(what),
        ControlFlow::Continue(()) => None,
    }
}
