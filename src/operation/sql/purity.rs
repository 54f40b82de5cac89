//! What a definition would run: the defaults, checks and expressions of a CREATE or ALTER, and the query of a view.
//!
//! Definitions are not walked scope by scope like queries; the parser's own visitor looks for what calls something. What it finds that is not known
//! to only read makes the whole definition so.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Statement as Ast, Visit, Visitor};

use crate::operation::sql::Engine;
use crate::operation::sql::classify::{self, shortened};
use crate::operation::sql::expr::{Unknown, parts};
use crate::operation::sql::function::known;

/// Whether a definition holds no query and calls nothing that is not known.
pub(super) fn runs_nothing(engine: Engine, ast: &Ast) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &sqlparser::ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    ast.visit(&mut Queries).is_continue() && calls(engine, ast).1.is_none()
}

/// The functions that a definition calls, and the first thing in it that is not known to only read.
pub(super) fn definition(engine: Engine, ast: &Ast) -> (BTreeSet<String>, Option<String>) {
    match ast {
        Ast::CreateView(view) => {
            let found = classify::classify(engine, &Ast::Query(view.query.clone()));
            (found.functions, found.impure)
        }
        other => calls(engine, other),
    }
}

fn calls(engine: Engine, ast: &Ast) -> (BTreeSet<String>, Option<String>) {
    struct Calls {
        engine: Engine,
        functions: BTreeSet<String>,
    }
    impl Visitor for Calls {
        type Break = String;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
            if let Expr::Function(call) = expr {
                match known(self.engine, &call.name) {
                    Some(name) => drop(self.functions.insert(name)),
                    None => {
                        return ControlFlow::Break(format!(
                            "the function `{}` is not known to only read",
                            shortened(&call.name.to_string())
                        ));
                    }
                }
            }
            match parts(expr) {
                Ok(_) => ControlFlow::Continue(()),
                Err(Unknown(what)) => ControlFlow::Break(what.to_owned()),
            }
        }
    }
    let mut calls = Calls { engine, functions: BTreeSet::new() };
    let impure = ast.visit(&mut calls).break_value();
    (calls.functions, impure)
}
