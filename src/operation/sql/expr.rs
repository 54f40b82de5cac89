//! The parts of an expression: what it holds directly, or that it is of a kind nobody here has judged.
//!
//! Classification and lineage both walk with this one function, so that neither can overlook what the other sees. A kind of expression that is
//! not listed is unknown, and the unknown is the highest risk.

use sqlparser::ast::{
    AccessExpr, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, ObjectName,
    OrderByExpr, Query, Subscript, WindowSpec, WindowType,
};

/// Something inside an expression.
pub(super) enum Part<'a> {
    /// An expression.
    Expr(&'a Expr),
    /// A subquery.
    Query(&'a Query),
    /// `t.*` as an argument.
    Star(Option<&'a ObjectName>),
}

/// An expression of a kind that is not known here.
pub(super) struct Unknown(pub(super) &'static str);

/// What an expression holds directly.
pub(super) fn parts(expr: &Expr) -> Result<Vec<Part<'_>>, Unknown> {
    let one = |expr| Ok(vec![Part::Expr(expr)]);
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => Ok(Vec::new()),
        Expr::TypedString(typed) if !typed.uses_odbc_syntax => Ok(Vec::new()),
        Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsUnknown(expr)
        | Expr::IsNotUnknown(expr)
        | Expr::Nested(expr) => one(expr),
        Expr::IsJson { expr, .. }
        | Expr::UnaryOp { expr, .. }
        | Expr::Cast { expr, .. }
        | Expr::Extract { expr, .. }
        | Expr::Collate { expr, .. } => one(expr),
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) } | Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => {
            one(expr)
        }
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) | Expr::BinaryOp { left, right, .. } => {
            Ok(vec![Part::Expr(left), Part::Expr(right)])
        }
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => Ok(vec![Part::Expr(left), Part::Expr(right)]),
        Expr::AtTimeZone { timestamp, time_zone } => Ok(vec![Part::Expr(timestamp), Part::Expr(time_zone)]),
        Expr::Position { expr, r#in } => Ok(vec![Part::Expr(expr), Part::Expr(r#in)]),
        Expr::InList { expr, list, .. } => Ok(std::iter::once(&**expr).chain(list).map(Part::Expr).collect()),
        Expr::InSubquery { expr, subquery, .. } => Ok(vec![Part::Expr(expr), Part::Query(subquery)]),
        Expr::Between { expr, low, high, .. } => Ok(vec![Part::Expr(expr), Part::Expr(low), Part::Expr(high)]),
        Expr::Like { any: false, expr, pattern, escape_char, .. }
        | Expr::ILike { any: false, expr, pattern, escape_char, .. }
        | Expr::SimilarTo { expr, pattern, escape_char, .. } => {
            Ok([Some(expr), Some(pattern), escape_char.as_ref()].into_iter().flatten().map(|expr| Part::Expr(expr)).collect())
        }
        Expr::RLike { expr, pattern, .. } => Ok(vec![Part::Expr(expr), Part::Expr(pattern)]),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            Ok([Some(expr), substring_from.as_ref(), substring_for.as_ref()].into_iter().flatten().map(|expr| Part::Expr(expr)).collect())
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            Ok([Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()]
                .into_iter()
                .flatten()
                .map(|expr| Part::Expr(expr))
                .collect())
        }
        Expr::Trim { expr, trim_what, trim_characters, .. } => {
            Ok(std::iter::once(&**expr).chain(trim_what.as_deref()).chain(trim_characters.iter().flatten()).map(Part::Expr).collect())
        }
        Expr::CompoundFieldAccess { root, access_chain } => access(root, access_chain),
        Expr::Case { operand, conditions, else_result, .. } => Ok(operand
            .as_deref()
            .into_iter()
            .chain(conditions.iter().flat_map(|when| [&when.condition, &when.result]))
            .chain(else_result.as_deref())
            .map(Part::Expr)
            .collect()),
        Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => Ok(vec![Part::Query(subquery)]),
        Expr::Tuple(exprs) => Ok(exprs.iter().map(Part::Expr).collect()),
        Expr::Array(array) => Ok(array.elem.iter().map(Part::Expr).collect()),
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => Ok(sets.iter().flatten().map(Part::Expr).collect()),
        Expr::Interval(interval) => one(&interval.value),
        Expr::Wildcard(_) => Ok(vec![Part::Star(None)]),
        Expr::QualifiedWildcard(name, _) => Ok(vec![Part::Star(Some(name))]),
        Expr::Function(function) => self::function(function),
        _ => Err(Unknown("an expression of a kind that is not known")),
    }
}

fn access<'a>(root: &'a Expr, chain: &'a [AccessExpr]) -> Result<Vec<Part<'a>>, Unknown> {
    let mut parts = vec![Part::Expr(root)];
    for access in chain {
        match access {
            AccessExpr::Dot(expr) => parts.push(Part::Expr(expr)),
            AccessExpr::Subscript(Subscript::Index { index }) => parts.push(Part::Expr(index)),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                parts.extend([lower_bound, upper_bound, stride].into_iter().flatten().map(Part::Expr));
            }
        }
    }
    Ok(parts)
}

/// What a function's call holds directly.
pub(super) fn function(function: &Function) -> Result<Vec<Part<'_>>, Unknown> {
    let mut parts = Vec::new();
    if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
        return Err(Unknown("a function call of a form that is not known"));
    }
    match &function.args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(query) => parts.push(Part::Query(query)),
        FunctionArguments::List(list) => {
            arguments(&list.args, &mut parts)?;
            for clause in &list.clauses {
                match clause {
                    FunctionArgumentClause::OrderBy(by) => order(by, &mut parts)?,
                    FunctionArgumentClause::Limit(expr) | FunctionArgumentClause::Where(expr) => parts.push(Part::Expr(expr)),
                    FunctionArgumentClause::IgnoreOrRespectNulls(_)
                    | FunctionArgumentClause::JsonNullClause(_)
                    | FunctionArgumentClause::Separator(_) => {}
                    _ => return Err(Unknown("a function argument of a form that is not known")),
                }
            }
        }
    }
    order(&function.within_group, &mut parts)?;
    parts.extend(function.filter.as_deref().map(Part::Expr));
    if let Some(WindowType::WindowSpec(spec)) = &function.over {
        window(spec, &mut parts)?;
    }
    Ok(parts)
}

/// The arguments of a function or table function.
pub(super) fn arguments<'a>(args: &'a [FunctionArg], parts: &mut Vec<Part<'a>>) -> Result<(), Unknown> {
    for arg in args {
        let arg = match arg {
            FunctionArg::Named { arg, .. } | FunctionArg::Unnamed(arg) => arg,
            FunctionArg::ExprNamed { name, arg, .. } => {
                parts.push(Part::Expr(name));
                arg
            }
        };
        parts.push(match arg {
            FunctionArgExpr::Expr(expr) => Part::Expr(expr),
            FunctionArgExpr::QualifiedWildcard(name) => Part::Star(Some(name)),
            FunctionArgExpr::Wildcard => Part::Star(None),
            FunctionArgExpr::WildcardWithOptions(_) => return Err(Unknown("a wildcard with options")),
        });
    }
    Ok(())
}

/// ORDER BY's expressions.
pub(super) fn order<'a>(by: &'a [OrderByExpr], parts: &mut Vec<Part<'a>>) -> Result<(), Unknown> {
    for by in by {
        if by.with_fill.is_some() {
            return Err(Unknown("ORDER BY with fill"));
        }
        parts.push(Part::Expr(&by.expr));
    }
    Ok(())
}

/// A window's expressions.
pub(super) fn window<'a>(spec: &'a WindowSpec, parts: &mut Vec<Part<'a>>) -> Result<(), Unknown> {
    parts.extend(spec.partition_by.iter().map(Part::Expr));
    order(&spec.order_by, parts)?;
    if let Some(frame) = &spec.window_frame {
        for bound in std::iter::once(&frame.start_bound).chain(&frame.end_bound) {
            if let sqlparser::ast::WindowFrameBound::Preceding(Some(expr)) | sqlparser::ast::WindowFrameBound::Following(Some(expr)) = bound
            {
                parts.push(Part::Expr(expr));
            }
        }
    }
    Ok(())
}
