//! A request in one line: for a title, for a table, and what it touches for a message.

use serde_json::Value;

use crate::approval::Filed;
use crate::approval::sight::outline::scalar;
use crate::approval::sight::{GIST_MAX, Writer};
use crate::inert::Inert;

/// Everything in one line.
pub(super) fn headline(filed: &Filed) -> String {
    let on = filed.target.as_ref().map(|(name, _, environment)| format!(" on {name} ({environment})")).unwrap_or_default();
    let line = format!("{}, for {}: {}{on}; risk: {}", filed.agent.id, filed.human.id, filed.tool, filed.subject().risk);
    Writer::new("").line(&line)
}

/// What would run, in one line: the statement or the program, else what is touched.
pub(super) fn gist(filed: &Filed) -> String {
    let member = |name: &str| filed.operation.get(name);
    let mut writer = Writer::new("");
    let text = match (member("statement"), member("argv"), member("shell").and_then(|shell| shell.get("command"))) {
        (Some(Value::String(text)), ..) | (_, _, Some(Value::String(text))) => Inert::line(text).text,
        (_, Some(argv), _) => scalar(&mut writer, argv),
        _ if filed.is_access() => access(&mut writer, filed),
        _ => writer.line(&filed.touches.join(", ")),
    };
    let text = Inert { text: writer.unpadded(&text), ..Inert::default() };
    match text.first(GIST_MAX) {
        (all, 0) => all.to_owned(),
        (first, left) => format!("{first}… ({left} more characters)"),
    }
}

/// Access in one line: what it reaches, and how often.
fn access(writer: &mut Writer, filed: &Filed) -> String {
    let Some(scope) = filed.scope.as_ref().or(filed.offer.as_ref()) else { return String::new() };
    let tools = scope.tools.iter().cloned().collect::<Vec<_>>().join(", ");
    let on = reached(filed).join(", ");
    writer.line(&format!("access: {tools} on {on}; {} and below, {} minutes, {} calls", scope.risk, scope.minutes, scope.calls))
}

/// What a request touches; access that is bound to nothing reaches all of its target.
#[must_use]
pub fn reached(filed: &Filed) -> Vec<String> {
    match &filed.target {
        Some((name, ..)) if filed.is_access() && filed.touches.is_empty() => vec![format!("anything on {name}")],
        _ => filed.touches.clone(),
    }
}
