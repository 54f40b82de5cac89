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
        Some(Value::String(text)) => to_the_second(text).unwrap_or_else(|| text.clone()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned)).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// A moment as records have it, without its microseconds: people need none, and `--json` has them.
fn to_the_second(text: &str) -> Option<String> {
    let (second, fraction) = text.split_at_checked("2026-11-28T07:57:14".len())?;
    let is_moment = fraction.len() == ".445735Z".len() && fraction.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok();
    is_moment.then(|| format!("{second}Z"))
}

/// A table with a heading line; columns as wide as their widest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) {
    for line in table_lines(heading, rows) {
        say(&line);
    }
}

/// The lines of such a table.
pub(super) fn table_lines(heading: &[&str], rows: &[Vec<String>]) -> Vec<String> {
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
        padded.join("  ").trim_end().to_owned()
    };
    let first = line(&mut heading.iter().copied());
    std::iter::once(first).chain(rows.iter().map(|row| line(&mut row.iter().map(String::as_str)))).collect()
}

/// The lines of a table of which nothing may be cut: where a cell is too wide, each row is a list of its cells instead.
pub(super) fn whole_table_lines(heading: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    if rows.iter().flatten().all(|text| inert(text).chars().count() <= CELL_MAX) {
        return table_lines(heading, rows);
    }
    let cells = rows.iter().flat_map(|row| heading.iter().zip(row).enumerate());
    cells.map(|(index, (title, text))| format!("{} {title}: {}", if index == 0 { "-" } else { " " }, inert(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_or_whole() {
        let rows = vec![vec!["a\u{1b}".to_owned(), "x".repeat(100)], vec!["b".to_owned(), "y".to_owned()]];
        let (cut, whole) = (table_lines(&["K", "V"], &rows), whole_table_lines(&["K", "V"], &rows));
        assert_eq!(cut.get(1), Some(&format!("a\\u{{1b}}  {}…", "x".repeat(71))));
        assert_eq!(whole, ["- K: a\\u{1b}".to_owned(), format!("  V: {}", "x".repeat(100)), "- K: b".to_owned(), "  V: y".to_owned()]);
        assert_eq!(whole_table_lines(&["K", "V"], &rows[1..]), ["K  V", "b  y"]);
    }
}
