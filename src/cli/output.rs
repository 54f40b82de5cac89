//! What people read on their terminal: tables, and plain complaints.
//!
//! Text from elsewhere (an agent's reason, a statement) is made inert before it is printed: a terminal obeys escape sequences.

use std::io::Write;

use serde_json::Value;

pub(super) use crate::inert::inert;

/// The widest cell of a table, in characters; the rest is cut with `…`.
const CELL_MAX: usize = 72;

/// Prints a line to standard output; a closed pipe is no error worth telling.
pub(super) fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints a line to standard error.
pub(super) fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "countersign: {line}"));
}

/// Tells the human at the terminal what to do, on standard error: standard output may be a protocol's.
pub(super) fn prompt(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Pretty JSON on standard output.
pub(super) fn json(value: &Value) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A member of a JSON value as a cell.
pub(super) fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned)).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// A table with a heading line; columns as wide as their widest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) {
    let cut = |text: &str| {
        let text = inert(text);
        if text.chars().count() <= CELL_MAX { text } else { text.chars().take(CELL_MAX - 1).chain(['…']).collect() }
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| cut(text)).collect()).collect();
    let width = |index: usize, title: &str| {
        rows.iter().filter_map(|row| row.get(index)).map(|text| text.chars().count()).max().unwrap_or(0).max(title.chars().count())
    };
    let widths: Vec<usize> = heading.iter().enumerate().map(|(index, title)| width(index, title)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        say(padded.join("  ").trim_end());
    };
    line(&mut heading.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}
