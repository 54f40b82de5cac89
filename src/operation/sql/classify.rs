//! What a statement touches and how much it can hurt, read off the parse tree.
//!
//! Everything is walked by hand, scope by scope, and what has no place in the walk is the highest risk. A second, mechanical walk (the parser's
//! own visitor) counts expressions, queries and relations: if it finds more than the first one judged, something was overlooked, and that too is
//! the highest risk.

mod change;
mod expression;
mod growth;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement as Ast, TableFactor, TableWithJoins, Visit, Visitor,
};

use crate::operation::Risk;
use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, Unknown, arguments, order, window};
use crate::operation::sql::function as known;

pub(super) use expression::field_names;

/// What was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// What is touched, and how.
    pub(super) touches: BTreeMap<(Vec<String>, &'static str), Risk>,
    /// Why it is more than a read, first finding first.
    pub(super) reasons: Vec<String>,
    /// The highest risk of anything found.
    pub(super) risk: Option<Risk>,
    /// What is called, by bare name.
    pub(super) functions: BTreeSet<String>,
    /// What stands behind a dot: columns, or functions that are called as if they were columns.
    pub(super) fields: BTreeSet<String>,
    /// The first thing that is not known to only read, whatever is done to tables.
    pub(super) impure: Option<String>,
    /// Relations read, for lineage: schema and name.
    pub(super) relations: Vec<Vec<String>>,
    exprs: usize,
    queries: usize,
}

/// Names of common table expressions in reach, innermost last.
type Scope = Vec<Vec<String>>;

/// The walker.
pub(super) struct Classifier {
    engine: Engine,
    found: Findings,
    /// The names that WITHs give, as they are spelt.
    spelt: BTreeSet<String>,
}

/// Counts what there is to judge.
#[derive(Default)]
struct Census {
    exprs: usize,
    queries: usize,
}

impl Visitor for Census {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.exprs += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }
}

/// Classifies a query, an insert, an update or a delete.
pub(super) fn classify(engine: Engine, ast: &Ast) -> Findings {
    let mut classifier = Classifier { engine, found: Findings::default(), spelt: BTreeSet::new() };
    if let Err(Unknown(what)) = classifier.statement(ast, &Scope::new()) {
        classifier.impure(what);
    }
    let mut census = Census::default();
    // The visitor never breaks.
    let _never_breaks = ast.visit(&mut census);
    if census.exprs != classifier.found.exprs || census.queries != classifier.found.queries {
        classifier.impure("a clause of a kind that is not known");
    }
    if growth::is_boundless(engine, ast) {
        classifier.raise(Risk::Admin, "it can make very long values out of short ones");
    }
    classifier.found
}

impl Classifier {
    fn raise(&mut self, risk: Risk, why: impl Into<String>) {
        self.found.risk = self.found.risk.max(Some(risk));
        if risk > Risk::Read {
            self.found.reasons.push(why.into());
        }
    }

    fn impure(&mut self, why: impl Into<String>) {
        let why = why.into();
        self.found.impure.get_or_insert_with(|| why.clone());
        self.raise(Risk::Admin, why);
    }

    fn touch(&mut self, path: Vec<String>, verb: &'static str, risk: Risk) {
        let entry = self.found.touches.entry((path, verb)).or_insert(risk);
        *entry = (*entry).max(risk);
        self.found.risk = self.found.risk.max(Some(risk));
    }

    fn path(&self, name: &ObjectName) -> Result<Vec<String>, Unknown> {
        known::folded(self.engine, name)
            .filter(|parts| matches!(parts.len(), 1 | 2))
            .ok_or(Unknown("a table name of a form that is not known"))
    }

    fn relation(&mut self, name: &ObjectName, scope: &Scope) -> Result<(), Unknown> {
        let path = self.path(name)?;
        if let [bare] = path.as_slice()
            && scope.iter().any(|names| names.contains(bare))
        {
            // MySQL compares these names byte by byte, and MariaDB by folding all letters: one that is not spelt the same may be the table.
            let spelt = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str());
            if self.engine == Engine::MySql && spelt.is_none_or(|spelt| !self.spelt.contains(spelt)) {
                return Err(Unknown("a name that a WITH gives, spelt in another way"));
            }
            return Ok(());
        }
        let risk = match known::harmless_catalogue(self.engine, &path) {
            Some(false) => {
                self.raise(Risk::Admin, format!("`{}` may show more than names and shapes", path.join(".")));
                Risk::Admin
            }
            _ => Risk::Read,
        };
        self.found.relations.push(self.spelling(name, &path));
        self.touch(path, "select", risk);
        Ok(())
    }

    /// A relation as the catalogue is asked for it: on MySQL as it is spelt, since names may differ in case alone.
    fn spelling(&self, name: &ObjectName, path: &[String]) -> Vec<String> {
        let spelt = || name.0.iter().map(|part| part.as_ident().map(|ident| ident.value.clone())).collect::<Option<Vec<_>>>();
        if self.engine == Engine::MySql { spelt().unwrap_or_else(|| path.to_vec()) } else { path.to_vec() }
    }

    fn statement(&mut self, ast: &Ast, scope: &Scope) -> Result<(), Unknown> {
        match ast {
            Ast::Query(query) => self.query(query, scope),
            Ast::Insert(insert) => self.insert(insert, scope),
            Ast::Update(update) => self.update(update, scope),
            Ast::Delete(delete) => self.delete(delete, scope),
            _ => Err(Unknown("a statement inside the statement")),
        }
    }

    fn query(&mut self, query: &Query, scope: &Scope) -> Result<(), Unknown> {
        self.found.queries += 1;
        if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() || !query.pipe_operators.is_empty() {
            return Err(Unknown("a query of a form that is not known"));
        }
        if !query.locks.is_empty() {
            self.raise(Risk::Write, "FOR UPDATE and FOR SHARE lock rows");
        }
        let mut scope = scope.clone();
        if let Some(with) = &query.with {
            let names: Vec<String> = with.cte_tables.iter().map(|cte| known::fold(self.engine, &cte.alias.name)).collect();
            // Only a recursive WITH sees its own names; otherwise each sees those before it, and a table of its own name is the table.
            let recursive = with.recursive || self.engine == Engine::Sqlite;
            scope.push(if recursive { names.clone() } else { Vec::new() });
            for (cte, name) in with.cte_tables.iter().zip(names) {
                if cte.from.is_some() {
                    return Err(Unknown("a WITH of a form that is not known"));
                }
                self.aliases(&cte.alias)?;
                self.spelt.insert(cte.alias.name.value.clone());
                self.query(&cte.query, &scope)?;
                if let Some(seen) = scope.last_mut() {
                    seen.push(name);
                }
            }
        }
        self.body(&query.body, &scope)?;
        let mut parts = Vec::new();
        if let Some(by) = &query.order_by {
            match (&by.kind, &by.interpolate) {
                (OrderByKind::Expressions(by), None) => order(by, &mut parts)?,
                _ => return Err(Unknown("an ORDER BY of a form that is not known")),
            }
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                parts.extend(limit.iter().chain(offset.iter().map(|offset| &offset.value)).map(Part::Expr));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => parts.extend([offset, limit].map(Part::Expr)),
            Some(_) => return Err(Unknown("a LIMIT of a form that is not known")),
        }
        parts.extend(query.fetch.iter().filter_map(|fetch| fetch.quantity.as_ref()).map(Part::Expr));
        self.parts(parts, &scope)
    }

    fn body(&mut self, body: &SetExpr, scope: &Scope) -> Result<(), Unknown> {
        match body {
            SetExpr::Select(select) => self.select(select, scope),
            SetExpr::Query(query) => self.query(query, scope),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, scope)?;
                self.body(right, scope)
            }
            SetExpr::Values(values) => self.exprs(values.rows.iter().flat_map(|row| &row.content), scope),
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => self.statement(statement, scope),
            SetExpr::Merge(_) | SetExpr::Table(_) => Err(Unknown("a query of a form that is not known")),
        }
    }

    fn select(&mut self, select: &Select, scope: &Scope) -> Result<(), Unknown> {
        if select.into.is_some() {
            self.raise(Risk::Write, "SELECT INTO makes a table");
            return Err(Unknown("SELECT INTO"));
        }
        let exotic = select.top.is_some()
            || select.exclude.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty();
        let more = !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some();
        if exotic || more || select.select_modifiers.is_some() || !select.optimizer_hints.is_empty() {
            return Err(Unknown("a SELECT of a form that is not known"));
        }
        self.from(&select.from, scope)?;
        self.items(&select.projection, scope)?;
        if let Some(sqlparser::ast::Distinct::On(exprs)) = &select.distinct {
            self.exprs(exprs.iter(), scope)?;
        }
        self.exprs(select.selection.iter().chain(&select.having), scope)?;
        match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => self.exprs(exprs.iter(), scope)?,
            _ => return Err(Unknown("a GROUP BY of a form that is not known")),
        }
        let mut found = Vec::new();
        for definition in &select.named_window {
            if let sqlparser::ast::NamedWindowExpr::WindowSpec(spec) = &definition.1 {
                window(spec, &mut found)?;
            }
        }
        self.parts(found, scope)
    }

    fn from(&mut self, tables: &[TableWithJoins], scope: &Scope) -> Result<(), Unknown> {
        for table in tables {
            self.factor(&table.relation, scope)?;
            for join in &table.joins {
                self.factor(&join.relation, scope)?;
                match &join.join_operator {
                    JoinOperator::Join(on)
                    | JoinOperator::Inner(on)
                    | JoinOperator::Left(on)
                    | JoinOperator::LeftOuter(on)
                    | JoinOperator::Right(on)
                    | JoinOperator::RightOuter(on)
                    | JoinOperator::FullOuter(on)
                    | JoinOperator::CrossJoin(on) => {
                        if let JoinConstraint::On(expr) = on {
                            self.expr(expr, scope)?;
                        }
                    }
                    _ => return Err(Unknown("a join of a kind that is not known")),
                }
            }
        }
        Ok(())
    }

    /// MariaDB takes letters of other alphabets for the ones they are folded to, in the names that a statement itself gives.
    fn alias(&self, name: &sqlparser::ast::Ident) -> Result<(), Unknown> {
        if self.engine == Engine::MySql && !name.value.is_ascii() {
            Err(Unknown("an alias with other letters than ASCII's"))
        } else {
            Ok(())
        }
    }

    fn aliases(&self, alias: &sqlparser::ast::TableAlias) -> Result<(), Unknown> {
        std::iter::once(&alias.name).chain(alias.columns.iter().map(|column| &column.name)).try_for_each(|name| self.alias(name))
    }

    fn plain_table(&self, factor: &TableFactor) -> Result<(), Unknown> {
        match factor {
            TableFactor::Table {
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
                ..
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => Ok(()),
            _ => Err(Unknown("a table of a form that is not known")),
        }
    }

    fn factor(&mut self, factor: &TableFactor, scope: &Scope) -> Result<(), Unknown> {
        if let TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } = factor {
            self.aliases(alias)?;
        }
        match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                with_hints,
                version: None,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
                ..
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() && args.settings.is_none() => {
                self.table_function(name, &args.args, scope)
            }
            TableFactor::Table { name, .. } => {
                self.plain_table(factor)?;
                self.relation(name, scope)
            }
            TableFactor::Derived { subquery, sample: None, .. } => self.query(subquery, scope),
            TableFactor::Function { name, args, .. } => self.table_function(name, args, scope),
            TableFactor::UNNEST { array_exprs, .. } => self.exprs(array_exprs.iter(), scope),
            TableFactor::NestedJoin { table_with_joins, .. } => self.from(std::slice::from_ref(table_with_joins), scope),
            _ => Err(Unknown("a table of a kind that is not known")),
        }
    }

    fn table_function(&mut self, name: &ObjectName, args: &[sqlparser::ast::FunctionArg], scope: &Scope) -> Result<(), Unknown> {
        let mut parts = Vec::new();
        arguments(args, &mut parts)?;
        self.call(name, &parts);
        self.parts(parts, scope)
    }

    fn items(&mut self, items: &[SelectItem], scope: &Scope) -> Result<(), Unknown> {
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => self.expr(expr, scope)?,
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.alias(alias)?;
                    self.expr(expr, scope)?;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), options) | SelectItem::Wildcard(options) => {
                    if *options != sqlparser::ast::WildcardAdditionalOptions::default() {
                        return Err(Unknown("a wildcard with options"));
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => self.expr(expr, scope)?,
                SelectItem::ExprWithAliases { .. } => return Err(Unknown("a column with several names")),
            }
        }
        Ok(())
    }

    fn exprs<'a>(&mut self, exprs: impl Iterator<Item = &'a Expr>, scope: &Scope) -> Result<(), Unknown> {
        for expr in exprs {
            self.expr(expr, scope)?;
        }
        Ok(())
    }

    fn parts(&mut self, parts: Vec<Part<'_>>, scope: &Scope) -> Result<(), Unknown> {
        for part in parts {
            match part {
                Part::Expr(expr) => self.expr(expr, scope)?,
                Part::Query(query) => self.query(query, scope)?,
                Part::Star(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether a condition is the same for every row: `1 = 1`, `true`.
fn is_constant(expr: &Expr) -> bool {
    struct Column;
    impl Visitor for Column {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
    expr.visit(&mut Column).is_continue()
}

/// At most so much of what the caller wrote is said back.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}
