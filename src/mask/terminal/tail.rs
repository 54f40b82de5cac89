//! The end of a text to which more may come: what of it may be the beginning of a secret, or may turn out to be one by what comes.
//!
//! The masks say what is a secret in a text that is whole. What is told before that must be none whatever follows, so doubt holds more back: the last
//! word, digits before it, what a quote or a bracket opened, a value whose name may come after it.

use crate::mask::packed;
use crate::mask::shadow::Shadow;

/// Digits of the longest card.
const DIGITS_MAX: usize = 19;
/// How far back it is looked for what is open over lines: names stand no further from their values.
const OPEN_MAX_BYTES: usize = 256;

/// Up to where a text may be told although it may go on.
pub(super) fn settled(text: &str) -> usize {
    let end = title(text);
    let text = text.get(..end).unwrap_or_default();
    as_read(text, |text| begun(text).min(open(text)))
}

/// The same where nothing but the characters themselves makes a secret.
pub(super) fn unbegun(text: &str) -> usize {
    let end = title(text);
    as_read(text.get(..end).unwrap_or_default(), begun)
}

/// A place in a text, as it stands and as it reads: the earlier one.
fn as_read(text: &str, place: impl Fn(&str) -> usize) -> usize {
    let stands = place(text);
    let Some(shadow) = Shadow::of(text) else { return stands };
    let reads = place(&shadow.text);
    let reads = if reads < shadow.text.len() { shadow.original(reads, reads + 1).map_or(0, |(start, _)| start) } else { text.len() };
    stands.min(reads)
}

/// Where a title begins that a terminal is told and that is not over; what it is within reads on after it.
fn title(text: &str) -> usize {
    let line = text.rfind('\n').map_or(0, |at| at + 1);
    let last = text.get(line..).and_then(|line| line.rfind('\u{1b}')).map(|at| line + at);
    let is_open =
        |at: &usize| text.get(at + 1..).is_some_and(|rest| rest.starts_with([']', 'P', '_', '^', 'X']) && !rest.contains('\u{7}'));
    last.filter(is_open).unwrap_or(text.len())
}

/// Where the last word begins, or the number that it may belong to; of base64 that was wrapped into lines, the last line.
fn begun(text: &str) -> usize {
    let lines = text.trim_end_matches(['\r', '\n']);
    let run = packed::run_start(lines.as_bytes(), lines.len());
    if lines.len() < text.len() {
        let is_wrapped = lines.len() - run >= packed::WRAPPED_MIN && text.len() - lines.len() <= 2;
        return if is_wrapped { run } else { text.len() };
    }
    let word = text.trim_end_matches(|c: char| !c.is_whitespace()).len();
    let (mut start, mut digits) = (word, 0);
    for (at, c) in text.get(..word).unwrap_or_default().char_indices().rev() {
        match c {
            '0'..='9' if digits < DIGITS_MAX => {
                digits += 1;
                start = at;
            }
            ' ' | '-' | '.' => {}
            _ => break,
        }
    }
    start
}

/// Where something begins that is not over: a quote, a bracket, a tag, a value before its name.
fn open(text: &str) -> usize {
    let line = text.rfind('\n').map_or(0, |at| at + 1);
    let near = text.floor_char_boundary(text.len().saturating_sub(OPEN_MAX_BYTES));
    let on_line = text.get(line..).and_then(|text| text.find(['{', '[', '(', '<', '"', '\'', '`'])).map(|at| line + at);
    let recent = text.get(near..).unwrap_or_default();
    let lower = recent.to_ascii_lowercase();
    let is_member = |(at, word): &(usize, &str)| {
        let rest = recent.get(at + word.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '`' | '\\'));
        rest.is_empty() || rest.starts_with(['=', ':'])
    };
    // Whether they are secret is said by a `name` or a `kind`, which may come last.
    let member = |word: &'static str| lower.match_indices(word).find(is_member).map(|(at, _)| at);
    let tag = recent.rfind('<').filter(|at| {
        let rest = recent.get(at + 1..).unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_alphabetic()) && !rest.contains("</")
    });
    let found = [member("value"), member("data"), tag, unclosed(recent), opened(recent)].into_iter().flatten().map(|at| near + at);
    found.chain(on_line).min().unwrap_or(text.len())
}

/// The first brace that is not closed.
fn unclosed(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'{' => open.push(at),
            b'}' => drop(open.pop()),
            _ => {}
        }
    }
    open.first().copied()
}

/// The first quote or bracket that opens a value and is not closed: it may go on over lines.
fn opened(text: &str) -> Option<usize> {
    text.char_indices().filter(|(_, c)| matches!(c, '"' | '\'' | '`' | '[')).find_map(|(at, opens)| {
        let before = text.get(..at)?.trim_end_matches([' ', '\t', '\\']);
        let closes = if opens == '[' { ']' } else { opens };
        (before.ends_with(['=', ':']) && !text.get(at + 1..)?.contains(closes)).then_some(at)
    })
}
