//! What a definition would run: the defaults, checks and expressions of a CREATE or ALTER, and the query of a view.
//!
//! Definitions are not walked scope by scope like queries; the parser's own visitor looks for what calls something. What it finds that is not known
//! to only read makes the whole definition so.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Statement as Ast, Visit, Visitor};

use crate::operation::sql::Engine;
use crate::operation::sql::classify::{self, field_names, shortened};
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
    ast.visit(&mut Queries).is_continue() && calls(engine, ast).impure.is_none()
}

/// What a definition would run.
#[derive(Default)]
pub(super) struct Calls {
    /// The functions that it calls, by bare name.
    pub(super) functions: BTreeSet<String>,
    /// What stands behind a dot in it.
    pub(super) fields: BTreeSet<String>,
    /// The first thing in it that is not known to only read.
    pub(super) impure: Option<String>,
}

/// What a definition would run.
pub(super) fn definition(engine: Engine, ast: &Ast) -> Calls {
    match ast {
        Ast::CreateView(view) => {
            let found = classify::classify(engine, &Ast::Query(view.query.clone()));
            Calls { functions: found.functions, fields: found.fields, impure: found.impure }
        }
        other => calls(engine, other),
    }
}

fn calls(engine: Engine, ast: &Ast) -> Calls {
    struct Walk {
        engine: Engine,
        found: Calls,
    }
    impl Visitor for Walk {
        type Break = String;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
            self.found.fields.extend(field_names(self.engine, expr));
            if let Expr::Function(call) = expr {
                match known(self.engine, &call.name) {
                    Some(name) => drop(self.found.functions.insert(name)),
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
    let mut walk = Walk { engine, found: Calls::default() };
    let impure = ast.visit(&mut walk).break_value();
    Calls { impure, ..walk.found }
}
