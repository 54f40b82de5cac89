//! How much longer than what goes in a statement can make a value, and how much longer itself: a server builds both in memory before anybody
//! counts a byte.
//!
//! A table's value counts as one. What puts values together adds them up, what writes them in another alphabet multiplies, and a WITH or a subquery
//! hands on what it has made; a recursive one that takes its own value twice has no end. Servers copy what a subquery computes to each place that
//! speaks of it, so expressions are counted as if they were copied. It is an estimate, on the safe side for what grows with each step.

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, Function, GroupByExpr, JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr,
    Statement as Ast, TableAlias, TableFactor, TableWithJoins, Value,
};

use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, arguments, function, parts};
use crate::operation::sql::function::{fold, known};

/// The longest value that is accepted, in values of a table.
const VALUE_MAX: u64 = 255;
/// All values that one SELECT makes for a row, those on the way among them.
const WORK_MAX: u64 = 1_024;
/// Expressions, copies counted.
const NODES_MAX: u64 = 20_000;
/// Stands for the value that a recursive query takes from itself.
const ITSELF: u64 = 1 << 32;
/// What a bound value may be.
const BOUND: u64 = 8;

/// Put together: as long as all of it.
const ADDING: &str = "concat concat_ws array_append array_cat array_prepend array_replace elt";
/// The same, with every quote in it written as two characters.
const QUOTING: &str = "
    json_array json_array_append json_array_insert json_object json_insert json_set json_replace json_merge_patch json_merge_preserve json_patch
    json_build_array json_build_object jsonb_build_array jsonb_build_object jsonb_set to_json to_jsonb row_to_json array_to_json jsonb_pretty row
    string_to_array json_extract_path json_extract_path_text";
/// Written in another alphabet: at most so many bytes for one.
const SPELLING: [(&str, u64); 9] = [
    ("hex", 2),
    ("to_hex", 2),
    ("encode", 2),
    ("quote", 2),
    ("quote_literal", 2),
    ("quote_nullable", 2),
    ("quote_ident", 2),
    ("to_base64", 2),
    ("json_quote", 6),
];
/// One of their arguments takes the place of pieces of the first.
const REPLACING: [&str; 5] = ["replace", "regexp_replace", "insert", "export_set", "array_to_string"];
/// They put together what many rows hold.
const COLLECTING: &str = "
    array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg group_concat json_group_array json_group_object json_arrayagg
    json_objectagg";
const COLLECTED: u64 = 32;

fn listed(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == name)
}

/// Whether a statement makes values, rows or itself much longer than what it reads. What is of no known form is judged elsewhere.
pub(super) fn is_boundless(engine: Engine, ast: &Ast) -> bool {
    let mut growth = Growth { engine, most: Size::default() };
    let outer = Place::default();
    let made = match ast {
        Ast::Query(query) => growth.query(query, &outer),
        Ast::Insert(insert) => insert.source.as_ref().map_or(Size::ONE, |source| growth.query(source, &outer)),
        Ast::Update(update) => {
            let values = update.assignments.iter().map(|assignment| &assignment.value).chain(&update.selection);
            growth.all(values, &outer)
        }
        Ast::Delete(delete) => growth.all(delete.selection.iter(), &outer),
        _ => Size::ONE,
    };
    let most = growth.most.beside(made);
    made.value > VALUE_MAX || most.work > WORK_MAX || most.nodes > NODES_MAX
}

/// What an expression comes to.
#[derive(Clone, Copy, Default)]
struct Size {
    /// How long its value is.
    value: u64,
    /// How long all values are that are made on the way to it.
    work: u64,
    /// How many expressions it is.
    nodes: u64,
}

impl Size {
    const ONE: Self = Self { value: 1, work: 1, nodes: 1 };

    /// Both are made; the longer is what counts as the value.
    fn beside(self, other: Self) -> Self {
        Self {
            value: self.value.max(other.value),
            work: self.work.saturating_add(other.work % ITSELF),
            nodes: self.nodes.saturating_add(other.nodes),
        }
    }

    /// Made of what was made before.
    fn making(self, value: u64) -> Self {
        Self { value, work: self.work.saturating_add(value % ITSELF), nodes: self.nodes.saturating_add(1) }
    }
}

/// What a WITH, a subquery or a table gives: how long a value of it is, and under which names, where they are known.
#[derive(Clone, Default)]
struct Made {
    name: String,
    size: Size,
    columns: Option<Vec<String>>,
}

/// What is in reach, where an expression stands.
#[derive(Clone, Default)]
struct Place {
    ctes: Vec<Made>,
    relations: Vec<Made>,
}

impl Place {
    /// A column: of the relation that is named, or of those that may have it; or a whole row.
    fn column(&self, path: &[String]) -> Size {
        let may_be = |made: &&Made| match path {
            [.., relation, _] => made.name == *relation,
            [column] => made.name == *column || made.columns.as_ref().is_none_or(|columns| columns.contains(column)),
            [] => true,
        };
        let found: Vec<&Made> = self.relations.iter().filter(may_be).collect();
        if found.is_empty() { self.widest() } else { widest(found.into_iter()) }
    }

    fn widest(&self) -> Size {
        widest(self.relations.iter())
    }
}

fn widest<'a>(made: impl Iterator<Item = &'a Made>) -> Size {
    made.fold(Size::ONE, |most, made| Size {
        value: most.value.max(made.size.value),
        work: most.work.max(made.size.value % ITSELF),
        nodes: most.nodes.max(made.size.nodes),
    })
}

struct Growth {
    engine: Engine,
    /// Of all queries, the one that makes most.
    most: Size,
}

impl Growth {
    fn query(&mut self, query: &Query, outer: &Place) -> Size {
        let mut place = outer.clone();
        if let Some(with) = &query.with {
            let recursive = with.recursive || self.engine == Engine::Sqlite;
            let made = |cte: &Cte, size: Size| Made {
                name: fold(self.engine, &cte.alias.name),
                size,
                columns: columns(self.engine, Some(&cte.alias), &cte.query),
            };
            let named: Vec<Made> = with.cte_tables.iter().map(|cte| made(cte, Size { value: ITSELF, work: 1, nodes: 1 })).collect();
            if recursive {
                place.ctes.extend(named.iter().cloned());
            }
            for (cte, named) in with.cte_tables.iter().zip(named) {
                let size = self.query(&cte.query, &place);
                // Taken once, it grows by the same with each step; taken twice, it doubles.
                let value = if size.value >= 2 * ITSELF { u64::MAX } else { (size.value % ITSELF).max(1) };
                place.ctes.push(Made { size: Size { value, ..size }, ..named });
            }
        }
        let made = self.body(&query.body, &place);
        if let Some(by) = &query.order_by
            && let OrderByKind::Expressions(by) = &by.kind
        {
            let ordered = self.all(by.iter().map(|by| &by.expr), &place);
            self.most = Size { value: 0, ..self.most.beside(ordered) };
        }
        made
    }

    fn body(&mut self, body: &SetExpr, place: &Place) -> Size {
        match body {
            SetExpr::Query(query) => self.query(query, place),
            SetExpr::Select(select) => self.select(select, place),
            SetExpr::SetOperation { left, right, .. } => self.body(left, place).beside(self.body(right, place)),
            SetExpr::Values(values) => self.all(values.rows.iter().flat_map(|row| &row.content), place),
            _ => Size::ONE,
        }
    }

    fn select(&mut self, select: &Select, outer: &Place) -> Size {
        let mut place = outer.clone();
        place.relations.extend(self.from(&select.from, outer));
        let items = select.projection.iter().map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        let (mut widest, mut all) = (Size::ONE, Size::default());
        for item in items {
            let size = item.map_or_else(|| place.widest(), |expr| self.expr(expr, &place));
            widest = Size { value: widest.value.max(size.value), work: widest.work.max(size.work), nodes: widest.nodes.max(size.nodes) };
            all = all.beside(size);
        }
        let grouped = if let GroupByExpr::Expressions(exprs, _) = &select.group_by { exprs.as_slice() } else { &[] };
        let joined = select.from.iter().flat_map(|table| &table.joins).filter_map(|join| match &join.join_operator {
            JoinOperator::Join(JoinConstraint::On(on))
            | JoinOperator::Inner(JoinConstraint::On(on))
            | JoinOperator::Left(JoinConstraint::On(on))
            | JoinOperator::LeftOuter(JoinConstraint::On(on))
            | JoinOperator::Right(JoinConstraint::On(on))
            | JoinOperator::RightOuter(JoinConstraint::On(on))
            | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
            _ => None,
        });
        let others = self.all(select.selection.iter().chain(&select.having).chain(grouped).chain(joined), &place);
        all = all.beside(others);
        self.most = Size { value: 0, work: self.most.work.max(all.work), nodes: self.most.nodes.max(all.nodes) };
        widest
    }

    /// Several expressions beside each other.
    fn all<'a>(&mut self, exprs: impl Iterator<Item = &'a Expr>, place: &Place) -> Size {
        exprs.fold(Size::default(), |all, expr| all.beside(self.expr(expr, place)))
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
                let made = made.unwrap_or(Made { name: bare, size: Size::ONE, columns: None });
                let renames = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                Made { name: called(alias).unwrap_or(made.name), columns: made.columns.filter(|_| !renames), size: made.size }
            }
            TableFactor::Table { args: Some(args), alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, size: self.table_function(&args.args, place), columns: None }
            }
            TableFactor::Function { args, alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, size: self.table_function(args, place), columns: None }
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, columns: columns(self.engine, alias.as_ref(), subquery), size: self.query(subquery, place) }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => return self.from(std::slice::from_ref(table_with_joins), place),
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                let name = called(alias).unwrap_or_default();
                Made { name, size: self.all(array_exprs.iter(), place), columns: None }
            }
            _ => Made { size: Size::ONE, ..Made::default() },
        };
        vec![made]
    }

    fn table_function(&mut self, args: &[sqlparser::ast::FunctionArg], place: &Place) -> Size {
        let mut found = Vec::new();
        if arguments(args, &mut found).is_err() {
            return Size::ONE;
        }
        // An argument may be of a table that stands in the same FROM; what hands on a WITH's value is in reach there as well.
        let mut near = place.clone();
        near.relations.extend(place.ctes.iter().cloned());
        found.into_iter().fold(Size::ONE, |all, part| all.beside(self.part(part, &near)))
    }

    fn part(&mut self, part: Part<'_>, place: &Place) -> Size {
        match part {
            Part::Expr(expr) => self.expr(expr, place),
            Part::Query(query) => self.query(query, place),
            Part::Star(_) => place.widest(),
        }
    }

    fn expr(&mut self, expr: &Expr, place: &Place) -> Size {
        match expr {
            Expr::Identifier(ident) => return place.column(&[fold(self.engine, ident)]),
            Expr::CompoundIdentifier(idents) => {
                let path: Vec<String> = idents.iter().map(|ident| fold(self.engine, ident)).collect();
                return place.column(&path);
            }
            Expr::Value(value) => {
                let value = match &value.value {
                    Value::SingleQuotedString(text) => text.len() as u64 / 4_096,
                    Value::Placeholder(_) => BOUND,
                    _ => 0,
                };
                return Size { value, work: value, nodes: 0 };
            }
            _ => {}
        }
        let sizes: Vec<Size> = parts(expr).unwrap_or_default().into_iter().map(|part| self.part(part, place)).collect();
        let sum = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(size.value)).max(1);
        let all = sizes.iter().fold(Size::default(), |all, size| all.beside(*size));
        let most = all.value.max(1);
        all.making(match expr {
            Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => sum,
            Expr::Array(_) | Expr::Tuple(_) => sum.saturating_mul(2),
            Expr::Overlay { .. } => most.saturating_mul(16),
            Expr::Cast { expr, .. } if is_made_up(expr) => most.saturating_mul(2),
            Expr::Case { .. } | Expr::BinaryOp { .. } | Expr::Nested(_) => most,
            Expr::Function(call) => self.called(call, &sizes, sum, most),
            _ => most,
        })
    }

    fn called(&self, call: &Function, sizes: &[Size], sum: u64, most: u64) -> u64 {
        let Some(name) = known(self.engine, &call.name) else { return most };
        if listed(ADDING, &name) {
            return sum;
        }
        if listed(QUOTING, &name) {
            return sum.saturating_mul(2);
        }
        if listed(COLLECTING, &name) {
            return sum.saturating_mul(COLLECTED);
        }
        if REPLACING.contains(&name.as_str()) {
            return sizes.first().map_or(1, |size| size.value.max(1)).saturating_mul(replaced(&name, call, sizes));
        }
        most.saturating_mul(SPELLING.iter().find(|(spelling, _)| *spelling == name).map_or(1, |(_, times)| *times))
    }
}

/// What a cast would have to write out.
fn is_made_up(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_made_up(inner),
        Expr::Array(_) | Expr::Tuple(_) | Expr::Function(_) => true,
        _ => false,
    }
}

/// By how much a replacement makes longer: what stands for what, where both are written out.
fn replaced(name: &str, call: &Function, sizes: &[Size]) -> u64 {
    let texts: Vec<Option<u64>> = function(call)
        .unwrap_or_default()
        .into_iter()
        .map(|part| match part {
            Part::Expr(Expr::Value(value)) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.len() as u64),
                Value::Placeholder(_) => None,
                _ => Some(1),
            },
            _ => None,
        })
        .collect();
    match (name, texts.as_slice()) {
        ("replace", [_, Some(pattern), Some(text)]) => text.div_ceil((*pattern).max(1)).max(4),
        (_, [_, rest @ ..]) => rest
            .iter()
            .zip(sizes.iter().skip(1))
            .map(|(text, size)| text.map_or_else(|| size.value.max(1).saturating_mul(16), |bytes| bytes.max(4)))
            .max()
            .unwrap_or(4),
        _ => 16,
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
mod tests;
