//! Literals, names and placeholders: only forms that print back as they were read, and that the engine reads as they stand.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use sqlparser::ast::{Ident, Statement as Ast, Value, ValueWithSpan, Visit, Visitor};

use crate::operation::sql::Engine;
use crate::operation::sql::classify::shortened;
use crate::refusal::{Code, Refusal};

/// Bytes of a name in PostgreSQL, which cuts what is longer: two names could become one.
const NAME_MAX_BYTES: usize = 63;
/// Placeholders in a statement.
const PLACEHOLDERS_MAX: usize = 999;

/// Characters that make a statement read otherwise than it runs.
pub(super) fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(c, '\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Checks literals and names, and counts placeholders.
pub(super) fn check(engine: Engine, ast: &Ast) -> Result<usize, Refusal> {
    struct Literals {
        engine: Engine,
        numbered: Vec<usize>,
        plain: usize,
    }
    impl Visitor for Literals {
        type Break = String;

        fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
            match &value.value {
                Value::Number(..) | Value::Boolean(_) | Value::Null => ControlFlow::Continue(()),
                Value::HexStringLiteral(_) if self.engine == Engine::Sqlite => ControlFlow::Continue(()),
                // The printer cannot tell a quote that stands twice from one that is escaped.
                Value::SingleQuotedString(text) if text.contains("''") => {
                    ControlFlow::Break("a literal holds two quotes in a row".to_owned())
                }
                // What a backslash means is a setting of the session.
                Value::SingleQuotedString(text) if self.engine == Engine::MySql && text.contains('\\') => {
                    ControlFlow::Break("a literal holds a backslash; bind it as a parameter".to_owned())
                }
                Value::SingleQuotedString(_) => ControlFlow::Continue(()),
                Value::Placeholder(text) => self.placeholder(text),
                _ => ControlFlow::Break(
                    "a literal of this form is not accepted; write it in plain single quotes, or bind it as a parameter".to_owned(),
                ),
            }
        }

        fn pre_visit_ident(&mut self, ident: &Ident) -> ControlFlow<String> {
            if ident.value.contains('"') || ident.value.contains('`') || ident.value.contains(']') || ident.value.is_empty() {
                return ControlFlow::Break("a name with a quote in it is not accepted".to_owned());
            }
            if self.engine == Engine::MySql && ident.value.contains('@') {
                return ControlFlow::Break("variables are not accepted".to_owned());
            }
            if self.engine == Engine::Postgres && ident.value.len() > NAME_MAX_BYTES {
                return ControlFlow::Break(format!("a name is longer than {NAME_MAX_BYTES} bytes"));
            }
            ControlFlow::Continue(())
        }
    }
    impl Literals {
        fn placeholder(&mut self, text: &str) -> ControlFlow<String> {
            let number = match (self.engine, text) {
                (Engine::Sqlite | Engine::MySql, "?") => {
                    self.plain += 1;
                    return ControlFlow::Continue(());
                }
                (Engine::Sqlite, text) => text.strip_prefix('?'),
                (Engine::Postgres, text) => text.strip_prefix('$'),
                (Engine::MySql, _) => None,
            };
            match number.and_then(|number| number.parse::<usize>().ok()).filter(|number| (1..=PLACEHOLDERS_MAX).contains(number)) {
                Some(number) => {
                    self.numbered.push(number);
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(format!(
                    "the placeholder `{}` is not of the form `{}`",
                    shortened(text),
                    match self.engine {
                        Engine::Sqlite => "?1",
                        Engine::Postgres => "$1",
                        Engine::MySql => "?",
                    }
                )),
            }
        }
    }
    let mut found = Literals { engine, numbered: Vec::new(), plain: 0 };
    if let ControlFlow::Break(why) = ast.visit(&mut found) {
        return Err(Refusal::new(Code::Unparsable).detail(why));
    }
    if found.plain > 0 && !found.numbered.is_empty() {
        return Err(Refusal::new(Code::Unparsable).detail("placeholders with and without numbers cannot be mixed"));
    }
    found.numbered.sort_unstable();
    found.numbered.dedup();
    if found.numbered.iter().enumerate().any(|(index, number)| *number != index + 1) {
        let mut wanted = String::new();
        // Writing to a string cannot fail.
        let _infallible = write!(wanted, "placeholders must be numbered from 1 without gaps, found {:?}", found.numbered);
        return Err(Refusal::new(Code::Unparsable).detail(wanted));
    }
    Ok(found.plain.max(found.numbered.len()))
}
