//! `awk`: its program is code, so only a small part of the language is known here.

use super::row::{Parsed, Word, looks_like_a_flag};
use super::state::Job;
use crate::operation::Risk;

/// Names that may be in a program, besides those of lower-case variables.
const NAMES: &[&str] = &[
    "BEGIN", "END", "FNR", "FS", "NF", "NR", "OFS", "ORS", "RS", "SUBSEP", "break", "continue", "delete", "else", "exit", "for", "gsub",
    "if", "in", "index", "int", "length", "match", "next", "print", "printf", "split", "sprintf", "sub", "substr", "tolower", "toupper",
    "while",
];

/// Judges a parsed `awk`.
pub(super) fn judge(job: &mut Job<'_>, parsed: &Parsed) {
    for value in parsed.values("-v") {
        if !value.split_once('=').is_some_and(|(name, _)| is_variable(name) || matches!(name, "FS" | "OFS")) {
            job.refuse("sets the variable", value);
        }
    }
    let Some((Word::Known(text), files)) = parsed.operands.split_first() else {
        return job.raise(Risk::Admin, "has no program that could be read");
    };
    if !is_plain(text) {
        job.raise(Risk::Admin, "the program is more than fields and patterns");
    }
    files.iter().for_each(|file| operand(job, file));
}

/// A file, or an assignment. Flags have to come first; some awks take `/inet/…` for a connection.
fn operand(job: &mut Job<'_>, word: &Word) {
    let (Word::Known(text) | Word::Paths(text)) = word else { return job.reads(word) };
    if looks_like_a_flag(text) {
        return job.refuse("a flag after the program:", text);
    }
    if text.trim_start_matches('/').starts_with("inet") && text.starts_with('/') {
        return job.refuse("connects to the network by", text);
    }
    match text.split_once('=') {
        Some((name, _)) if word.known().is_some() && (is_variable(name) || matches!(name, "FS" | "OFS")) => {}
        // With a `/` before it this is a file.
        Some((name, _)) if !name.contains('/') => job.refuse("sets the variable", name),
        _ => job.reads(word),
    }
}

/// Short names: none of a function of any awk, nor of one that an extension may bring.
fn is_variable(name: &str) -> bool {
    matches!(name.len(), 1..=2) && name.bytes().all(|byte| byte.is_ascii_lowercase())
        || matches!(name, "sum" | "count" | "max" | "min" | "total" | "line" | "seen" | "key" | "val" | "avg" | "arr" | "num")
}

/// Pieces that are harmless although what they are made of is not.
const HARMLESS: &[&str] = &["||", "\\.", "\\/", "\\t", "\\n", ">=", "<=", " < "];

/// Whether a program only looks at its input and prints. The first tests are of the bare text, so that nothing depends on where a string or a
/// pattern is taken to end: no pipe, no `getline`, no call by name, no other files, and no redirection where anything is printed.
fn is_plain(text: &str) -> bool {
    let bare = HARMLESS.iter().fold(text.to_owned(), |bare, piece| bare.replace(piece, " "));
    let refused = bare.contains(['|', '@', '`', '\\', '#', '<']) || ["getline", "system", "ARG"].iter().any(|name| bare.contains(name));
    let redirects = bare.contains('>') && bare.contains("print");
    !refused && !redirects && names(&bare)
}

/// Whether all names outside of strings and patterns are known.
fn names(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    // Whether a `/` here would divide.
    let mut operand = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                if !chars.by_ref().any(|c| c == '"') {
                    return false;
                }
                operand = true;
            }
            '/' if !operand => {
                if !chars.by_ref().any(|c| c == '/') {
                    return false;
                }
                operand = true;
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                let variable = is_variable(&name) && chars.peek() != Some(&'(');
                if !variable && !NAMES.contains(&name.as_str()) {
                    return false;
                }
                operand = !matches!(name.as_str(), "print" | "in" | "printf");
            }
            ' ' | '\t' => {}
            c => operand = c.is_ascii_digit() || matches!(c, ')' | ']'),
        }
    }
    true
}
