//! A second reading of a shell's text, by the grammar that editors and code hosts use (tree-sitter-bash).
//!
//! Our own reader takes only what every shell reads alike, and has the last word on what is refused. Here is asked whether another parser, of the whole
//! grammar, reads the same programs in what was accepted: where the two do not agree, one of them is wrong, and nobody can tell which. It sees no text
//! that was not accepted before, so that a parser in another language is never given what was made to break it.

use tree_sitter::{Parser, TreeCursor};

use crate::operation::Risk;

/// Why the second reading does not bear out the first, if it does not.
pub(super) fn disagrees(text: &str, programs: &[(String, Risk)]) -> Option<&'static str> {
    let mut parser = Parser::new();
    if parser.set_language(&tree_sitter_bash::LANGUAGE.into()).is_err() {
        return Some("it could not be read a second time");
    }
    let Some(tree) = parser.parse(text, None) else { return Some("it could not be read a second time") };
    if tree.root_node().has_error() {
        return Some("a second parser does not read it");
    }
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        if node.kind() == "command_name" {
            let name = text.get(node.byte_range()).unwrap_or_default();
            if !programs.iter().any(|(known, _)| is_same(known, name)) {
                return Some("a second parser reads another program in it");
            }
        }
        if !next(&mut cursor) {
            return None;
        }
    }
}

/// Names as they are written, and as they are called: without quotes, and without the folder.
fn is_same(known: &str, written: &str) -> bool {
    let bare: String = written.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
    let last = |name: &str| name.rsplit('/').next().map(ToOwned::to_owned);
    known == bare || last(known) == last(&bare)
}

/// To the next node, before what is below it; false after the last.
fn next(cursor: &mut TreeCursor<'_>) -> bool {
    if cursor.goto_first_child() {
        return true;
    }
    while !cursor.goto_next_sibling() {
        if !cursor.goto_parent() {
            return false;
        }
    }
    true
}
