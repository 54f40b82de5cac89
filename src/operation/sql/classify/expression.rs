//! Expressions: what they call, what stands behind a dot in them, and how much longer they can make what goes in.

use sqlparser::ast::{AccessExpr, Expr, FunctionArguments, Ident, ObjectName, Value};

use super::{Classifier, Scope, shortened};
use crate::operation::Risk;
use crate::operation::sql::Engine;
use crate::operation::sql::expr::{Part, Unknown, function, parts};
use crate::operation::sql::function as known;

impl Classifier {
    pub(super) fn expr(&mut self, expr: &Expr, scope: &Scope) -> Result<(), Unknown> {
        self.found.exprs += 1;
        self.found.fields.extend(field_names(self.engine, expr));
        match expr {
            Expr::Function(call) => {
                let parts = function(call)?;
                self.call(&call.name, &parts);
                if self.engine == Engine::MySql
                    && call.name.0.iter().any(|part| part.as_ident().is_none_or(|ident| ident.quote_style.is_some()))
                {
                    // In quotes it is never the server's own.
                    self.impure("a function whose name stands in quotes");
                }
                if matches!(call.args, FunctionArguments::None) && !parts.is_empty() {
                    return Err(Unknown("a function call of a form that is not known"));
                }
            }
            Expr::BinaryOp { op, .. } | Expr::AnyOp { compare_op: op, .. } | Expr::AllOp { compare_op: op, .. }
                if !known::known_binary(op) =>
            {
                self.impure(format!("the operator `{op}` is not known to only read"));
            }
            Expr::UnaryOp { op, .. } if !known::known_unary(*op) => self.impure(format!("the operator `{op}` is not known to only read")),
            Expr::Cast { data_type, .. } if !known::known_type(data_type) => self.impure("a cast to a type that is not known"),
            Expr::TypedString(typed) if !known::known_type(&typed.data_type) => self.impure("a literal of a type that is not known"),
            _ => {}
        }
        parts(expr).and_then(|parts| self.parts(parts, scope))
    }

    pub(super) fn call(&mut self, name: &ObjectName, parts: &[Part<'_>]) {
        let known = known::known(self.engine, name);
        self.found.functions.extend(known.clone());
        match known {
            None => self.impure(format!("the function `{}` is not known to only read", shortened(&name.to_string()))),
            Some(name) if name == "generate_series" => {
                let small = |part: &Part<'_>| matches!(part, Part::Expr(expr) if literal_within(expr, known::SERIES_MAX));
                if !parts.iter().all(small) {
                    self.raise(Risk::Admin, format!("`generate_series` without literal bounds of at most {}", known::SERIES_MAX));
                }
            }
            Some(_) => {}
        }
    }
}

/// The names behind a dot in this expression itself. SQLite has no functions that look like that.
pub(in crate::operation::sql) fn field_names(engine: Engine, expr: &Expr) -> Vec<String> {
    let behind = |idents: &[Ident]| idents.iter().skip(1).map(|ident| known::fold(engine, ident)).collect();
    match expr {
        _ if engine != Engine::Postgres => Vec::new(),
        Expr::CompoundIdentifier(idents) => behind(idents),
        Expr::CompoundFieldAccess { access_chain, .. } => access_chain
            .iter()
            .flat_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => vec![known::fold(engine, ident)],
                AccessExpr::Dot(Expr::CompoundIdentifier(idents)) => idents.iter().map(|ident| known::fold(engine, ident)).collect(),
                _ => Vec::new(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn literal_within(expr: &Expr, most: i64) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(number, _) if number.parse::<i64>().is_ok_and(|number| (1..=most).contains(&number) || number == 0)))
}
