//! How much longer than what goes in a statement can make a value: a server builds it in memory before anybody counts a byte.
//!
//! A table's value counts as one. What puts values together adds them up, what writes them in another alphabet multiplies, and a WITH or a subquery
//! hands on what it has made; a recursive one that takes its own value twice has no end. It is an estimate: too high for some, too low for none of
//! those that grow with each step. Aggregates over rows are bounded by time, not here.

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, Query, Select, SelectItem, SetExpr, Statement as Ast, TableAlias, TableFactor, TableWithJoins, Value,
};

use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, arguments, parts};
use crate::operation::sql::function::{fold, known};

/// The longest value that is accepted, in values of a table.
const VALUE_MAX: u64 = 256;
/// The longest row.
const ROW_MAX: u64 = 4_096;
/// Stands for the value that a recursive query takes from itself.
const ITSELF: u64 = 1 << 32;

/// Put together: as long as all of it.
const ADDING: &str = "
    concat concat_ws json_array json_array_append json_array_insert json_object json_insert json_set json_replace json_merge_patch
    json_merge_preserve json_patch json_build_array json_build_object jsonb_build_array jsonb_build_object jsonb_set array_append array_cat
    array_prepend array_replace row elt";
/// Written in another alphabet: at most six bytes for one.
const SPELLING: [(&str, u64); 11] = [
    ("hex", 2),
    ("to_hex", 2),
    ("encode", 2),
    ("quote", 2),
    ("quote_literal", 2),
    ("quote_nullable", 2),
    ("quote_ident", 2),
    ("to_base64", 2),
    ("weight_string", 4),
    ("json_quote", 6),
    ("to_json", 6),
];
/// A replacement may be longer than what it replaces; literals in it and its nesting have bounds of their own.
const REPLACING: [&str; 4] = ["replace", "regexp_replace", "insert", "export_set"];
const REPLACED: u64 = 4;

/// Whether a statement makes values or rows much longer than what it reads. What is of no known form is judged elsewhere.
pub(super) fn is_boundless(engine: Engine, ast: &Ast) -> bool {
    let mut growth = Growth { engine, row: 0 };
    let outer = Place::default();
    let value = match ast {
        Ast::Query(query) => growth.query(query, &outer),
        Ast::Insert(insert) => insert.source.as_ref().map_or(1, |source| growth.query(source, &outer)),
        Ast::Update(update) => update.assignments.iter().map(|assignment| growth.expr(&assignment.value, &outer)).max().unwrap_or(1),
        _ => 1,
    };
    value > VALUE_MAX || growth.row > ROW_MAX
}

/// What a WITH, a subquery or a table gives: how long a value of it is, and under which names, where they are known.
#[derive(Clone, Default)]
struct Made {
    name: String,
    value: u64,
    columns: Option<Vec<String>>,
}

/// What is in reach, where an expression stands.
#[derive(Clone, Default)]
struct Place {
    ctes: Vec<Made>,
    relations: Vec<Made>,
}

impl Place {
    /// A column: of the relation that is named, or of those that may have it.
    fn column(&self, path: &[String]) -> u64 {
        let may_be = |made: &&Made| match path {
            [.., relation, _] => made.name == *relation,
            [column] => made.columns.as_ref().is_none_or(|columns| columns.contains(column)),
            [] => true,
        };
        self.relations.iter().filter(may_be).map(|made| made.value).max().unwrap_or_else(|| self.widest())
    }

    fn widest(&self) -> u64 {
        self.relations.iter().map(|made| made.value).max().unwrap_or(1)
    }
}

struct Growth {
    engine: Engine,
    /// The longest row of all queries.
    row: u64,
}

impl Growth {
    fn query(&mut self, query: &Query, outer: &Place) -> u64 {
        let mut place = outer.clone();
        if let Some(with) = &query.with {
            let recursive = with.recursive || self.engine == Engine::Sqlite;
            let made = |cte: &Cte, value: u64| Made {
                name: fold(self.engine, &cte.alias.name),
                value,
                columns: columns(self.engine, Some(&cte.alias), &cte.query),
            };
            let named: Vec<Made> = with.cte_tables.iter().map(|cte| made(cte, ITSELF)).collect();
            if recursive {
                place.ctes.extend(named.iter().cloned());
            }
            for (cte, named) in with.cte_tables.iter().zip(named) {
                let value = self.query(&cte.query, &place);
                // Taken once, it grows by the same with each step; taken twice, it doubles.
                let value = if value >= 2 * ITSELF { u64::MAX } else { (value % ITSELF).max(1) };
                place.ctes.push(Made { value, ..named });
            }
        }
        self.body(&query.body, &place)
    }

    fn body(&mut self, body: &SetExpr, place: &Place) -> u64 {
        match body {
            SetExpr::Query(query) => self.query(query, place),
            SetExpr::Select(select) => self.select(select, place),
            SetExpr::SetOperation { left, right, .. } => self.body(left, place).max(self.body(right, place)),
            SetExpr::Values(values) => {
                values.rows.iter().flat_map(|row| &row.content).map(|expr| self.expr(expr, place)).max().unwrap_or(1)
            }
            _ => 1,
        }
    }

    fn select(&mut self, select: &Select, outer: &Place) -> u64 {
        let mut place = outer.clone();
        // What stands further in hides what stands further out, or else the longer counts.
        place.relations.extend(self.from(&select.from, outer));
        let items: Vec<u64> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => self.expr(expr, &place),
                _ => place.widest(),
            })
            .collect();
        let row = items.iter().fold(0_u64, |sum, item| sum.saturating_add(*item % ITSELF));
        self.row = self.row.max(row);
        let conditions: Vec<u64> = select.selection.iter().chain(&select.having).map(|expr| self.expr(expr, &place)).collect();
        items.into_iter().chain(conditions).max().unwrap_or(1)
    }

    fn from(&mut self, tables: &[TableWithJoins], place: &Place) -> Vec<Made> {
        let factors = tables.iter().flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)));
        factors.flat_map(|factor| self.factor(factor, place)).collect()
    }

    fn factor(&mut self, factor: &TableFactor, place: &Place) -> Vec<Made> {
        let called = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| fold(self.engine, &alias.name));
        let made = match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let bare = name.0.last().and_then(|part| part.as_ident()).map(|ident| fold(self.engine, ident)).unwrap_or_default();
                let made = place.ctes.iter().rev().find(|made| made.name == bare).cloned();
                let made = made.unwrap_or(Made { name: bare, value: 1, columns: None });
                let renames = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                Made { name: called(alias).unwrap_or(made.name), columns: made.columns.filter(|_| !renames), ..made }
            }
            TableFactor::Table { args: Some(args), alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, value: self.table_function(&args.args, place), columns: None }
            }
            TableFactor::Function { args, alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, value: self.table_function(args, place), columns: None }
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, columns: columns(self.engine, alias.as_ref(), subquery), value: self.query(subquery, place) }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => return self.from(std::slice::from_ref(table_with_joins), place),
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, value: array_exprs.iter().map(|expr| self.expr(expr, place)).max().unwrap_or(1), columns: None }
            }
            _ => Made { value: 1, ..Made::default() },
        };
        vec![made]
    }

    fn table_function(&mut self, args: &[sqlparser::ast::FunctionArg], place: &Place) -> u64 {
        let mut found = Vec::new();
        if arguments(args, &mut found).is_err() {
            return 1;
        }
        found.into_iter().map(|part| self.part(part, place)).max().unwrap_or(1)
    }

    fn part(&mut self, part: Part<'_>, place: &Place) -> u64 {
        match part {
            Part::Expr(expr) => self.expr(expr, place),
            Part::Query(query) => self.query(query, place),
            Part::Star(_) => place.widest(),
        }
    }

    fn expr(&mut self, expr: &Expr, place: &Place) -> u64 {
        match expr {
            Expr::Identifier(ident) => return place.column(&[fold(self.engine, ident)]),
            Expr::CompoundIdentifier(idents) => {
                let path: Vec<String> = idents.iter().map(|ident| fold(self.engine, ident)).collect();
                return place.column(&path);
            }
            Expr::Value(value) => {
                let bytes = if let Value::SingleQuotedString(text) = &value.value { text.len() as u64 } else { 0 };
                return 1 + bytes / 4_096;
            }
            _ => {}
        }
        let inside: Vec<u64> = parts(expr).unwrap_or_default().into_iter().map(|part| self.part(part, place)).collect();
        let sum = inside.iter().fold(0_u64, |sum, part| sum.saturating_add(*part)).max(1);
        let most = inside.into_iter().max().unwrap_or(1);
        match expr {
            Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } | Expr::Array(_) | Expr::Tuple(_) => sum,
            Expr::Overlay { .. } => most.saturating_mul(REPLACED),
            Expr::Function(call) => match known(self.engine, &call.name) {
                Some(name) if ADDING.split_ascii_whitespace().any(|adding| adding == name) => sum,
                Some(name) if REPLACING.contains(&name.as_str()) => most.saturating_mul(REPLACED),
                Some(name) => most.saturating_mul(SPELLING.iter().find(|(spelling, _)| *spelling == name).map_or(1, |(_, times)| *times)),
                None => most,
            },
            _ => most,
        }
    }
}

/// The names of what a query gives, if every one of them is known.
fn columns(engine: Engine, alias: Option<&TableAlias>, query: &Query) -> Option<Vec<String>> {
    if let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) {
        return Some(alias.columns.iter().map(|column| fold(engine, &column.name)).collect());
    }
    let mut body = &*query.body;
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    let SetExpr::Select(select) = body else { return None };
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) | SelectItem::ExprWithAlias { alias: ident, .. } => Some(fold(engine, ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => idents.last().map(|ident| fold(engine, ident)),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Risk;
    use crate::operation::sql::Statement;

    fn nested(name: &str, depth: usize) -> String {
        format!("{}'x'{}", format!("{name}(").repeat(depth), ")".repeat(depth))
    }

    #[test]
    fn what_doubles_with_each_step_is_no_read() {
        let chain = |step: &str, steps: usize| {
            let ctes: Vec<String> = (1..=steps).map(|n| format!("c{n} AS (SELECT {step} AS v FROM c{})", n - 1)).collect();
            format!("WITH c0 AS (SELECT 'x' AS v), {} SELECT v FROM c{steps}", ctes.join(", "))
        };
        let all = [Engine::Sqlite, Engine::Postgres, Engine::MySql];
        for (engines, sql) in [
            (&[Engine::Sqlite, Engine::MySql][..], format!("SELECT length({})", nested("hex", 32))),
            (&[Engine::MySql], format!("SELECT {}", nested("to_base64", 12))),
            (&all, chain("v || v", 12)),
            (&all, chain("concat(v, v, v, v)", 6)),
            (&all, chain("replace(v, 'a', 'aaaaaaaaaaaaaaaa')", 6)),
            (&[Engine::Sqlite, Engine::MySql], chain("hex(v)", 12)),
            (
                &all,
                "WITH RECURSIVE r(n, v) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, v || v FROM r WHERE n < 60) SELECT v FROM r".to_owned(),
            ),
            (
                &all,
                "WITH RECURSIVE r(n, v) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, (SELECT v || v FROM r) FROM r) SELECT length(v) FROM r"
                    .to_owned(),
            ),
            (
                &all,
                format!(
                    "SELECT {} FROM (SELECT replace(replace(replace(a, 'a', 'b'), 'a', 'b'), 'a', 'b') AS v FROM t) d",
                    vec!["v"; 80].join(", ")
                ),
            ),
            (&all, format!("UPDATE t SET a = {}", vec!["a"; 300].join(" || "))),
        ] {
            for engine in engines {
                let Ok(statement) = Statement::parse(*engine, &sql) else { continue };
                assert_eq!(statement.risk(), Risk::Admin, "{engine:?} {sql}");
            }
        }
        for (engines, sql) in [
            (&all[..], "SELECT a || ' ' || b || ', ' || c || ' ' || d FROM t".to_owned()),
            (&all, format!("SELECT {} FROM t", vec!["a || b"; 40].join(", "))),
            (&all, "WITH RECURSIVE r(id, path) AS (SELECT id, name FROM t UNION ALL SELECT t.id, r.path || '/' || t.name FROM t JOIN r ON t.p = r.id) SELECT path FROM r".to_owned()),
            (&all, "WITH RECURSIVE r(id, path) AS (SELECT id, name FROM t UNION ALL SELECT t.id, path || '/' || t.name FROM t JOIN r ON p = r.id) SELECT path FROM r".to_owned()),
            (&all, "SELECT replace(replace(replace(a, 'a', 'b'), 'c', 'd'), 'e', 'f') FROM t".to_owned()),
            (&[Engine::Sqlite, Engine::MySql], "SELECT hex(a), upper(hex(b)) FROM t".to_owned()),
            (&all, chain("v || 'x'", 20)),
        ] {
            for engine in engines {
                assert_eq!(Statement::parse(*engine, &sql).unwrap().risk(), Risk::Read, "{engine:?} {sql}");
            }
        }
    }
}
