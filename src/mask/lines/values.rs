//! Where a value ends: quoted, to the end of a token, to the end of a line, or with the lines that are indented below it.
//!
//! A value that ends too early leaks its rest, so doubt makes it longer: a comma or a bracket is an end only where something else begins after it.

use crate::mask::keys;

/// A line of a text.
pub(super) struct Line {
    pub(super) start: usize,
    /// Without the line's end.
    pub(super) end: usize,
    /// Blanks that it begins with.
    pub(super) indent: usize,
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        self.start + self.indent >= self.end
    }
}

/// The lines of a text.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let bytes = text.as_bytes();
    let is_diff = ["\n@@ -", "\n+++ "].iter().any(|mark| memchr::memmem::find(bytes, mark.as_bytes()).is_some());
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len())) {
        let line = bytes.get(start..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let lead = lead(line, is_diff);
        let indent = line.get(lead..).unwrap_or_default().iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        lines.push(Line { start: start + lead, end: start + line.len(), indent });
        start = end + 1;
    }
    lines
}

/// What was put before a line by whoever passed it on: the sign of a diff, the pod, the time, the stream.
fn lead(line: &[u8], is_diff: bool) -> usize {
    if is_diff {
        return usize::from(matches!(line.first(), Some(b'+' | b'-' | b' ')));
    }
    let mut lead = 0;
    if line.starts_with(b"[pod/") {
        lead += memchr::memmem::find(line.get(..line.len().min(512)).unwrap_or_default(), b"] ").map_or(0, |found| found + 2);
    }
    let rest = line.get(lead..).unwrap_or_default();
    let time = rest.iter().take(40).take_while(|b| b.is_ascii_digit() || b"-:.TZ+".contains(b)).count();
    if time >= 19 && rest.get(10) == Some(&b'T') && rest.get(time) == Some(&b' ') {
        lead += time + 1;
    }
    let rest = line.get(lead..).unwrap_or_default();
    let is_stream = [&b"stdout F "[..], b"stderr F ", b"stdout P ", b"stderr P "].iter().any(|stream| rest.starts_with(stream));
    lead + if is_stream { 9 } else { 0 }
}

/// Where a value stands, without its quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) quoted: bool,
}

/// How a value ends that has no quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// At the end of the line.
    Line,
    /// There as well, or before the next ` name=`.
    NextPair,
    /// At the end of the word.
    Token,
}

/// A quoted value may go on over so much of the following lines.
const QUOTED_MAX_BYTES: usize = 8 << 10;

/// First position that is not blank.
pub(super) fn skip_blanks(bytes: &[u8], from: usize, end: usize) -> usize {
    from + bytes.get(from..end).unwrap_or_default().iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// The value that begins at `start`, on a line that ends at `end`.
pub(super) fn value(text: &str, start: usize, end: usize, until: Until) -> Span {
    let bytes = text.as_bytes();
    if let Some((depth, quote)) = opening(bytes, start) {
        let inner = start + depth + 1;
        let Some(close) = closing(bytes, inner, end, depth, quote) else {
            return Span { start: inner, end: beyond(bytes, inner, end, quote), quoted: true };
        };
        if ends_value(bytes.get(close + depth + 1..end).unwrap_or_default()) {
            return Span { start: inner, end: close, quoted: true };
        }
        // `"a"b` in a shell: one word.
    }
    if let Some(end) = reference_end(bytes, start, end).or_else(|| label_end(text, start, end)) {
        return Span { start, end, quoted: false };
    }
    let stop = match until {
        Until::Line => end,
        Until::NextPair => next_pair(bytes, start, end),
        Until::Token => token_end(text, start, end),
    };
    let length = text.get(start..stop).map_or(0, |value| value.trim_end().len());
    Span { start, end: start + length, quoted: false }
}

/// The longest name of a variable or template.
const REFERENCE_MAX_BYTES: usize = 128;

/// The end of `$(NAME)`, `${NAME}`, `{{ name }}` or `<none>`, if nothing follows it.
fn reference_end(bytes: &[u8], start: usize, end: usize) -> Option<usize> {
    let rest = bytes.get(start..end.min(start + REFERENCE_MAX_BYTES))?;
    let close: &[u8] = match rest {
        [b'$', b'(', ..] => b")",
        [b'$', b'{', ..] => b"}",
        [b'{', b'{', ..] => b"}}",
        [b'<', ..] => b">",
        _ => return None,
    };
    let length = memchr::memmem::find(rest, close)? + close.len();
    bytes.get(start + length..end).and_then(<[u8]>::first).is_none_or(|b| is_boundary(*b)).then_some(start + length)
}

/// The end of a label of ours, if nothing follows it.
pub(super) fn label_end(text: &str, start: usize, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if !bytes.get(start..end)?.starts_with(b"[redacted:") {
        return None;
    }
    let length = bytes.get(start..end)?.iter().take(40).position(|b| *b == b']')? + 1;
    let is_alone = bytes.get(start + length..end).and_then(<[u8]>::first).is_none_or(|b| is_boundary(*b) || *b == b'<');
    text.get(start..start + length).filter(|label| is_alone && keys::is_label(label)).map(|label| start + label.len())
}

/// Backslashes and the quote that open a value.
pub(super) fn opening(bytes: &[u8], start: usize) -> Option<(usize, u8)> {
    let depth = bytes.get(start..)?.iter().take(15).take_while(|b| **b == b'\\').count();
    let quote = bytes.get(start + depth).copied().filter(|b| matches!(b, b'"' | b'\'' | b'`'))?;
    Some((depth, quote))
}

/// The backslashes before the quote that closes what `depth` backslashes and the same quote opened: those of one level of escaping, and not the
/// ones of a quote within.
fn closing(bytes: &[u8], from: usize, end: usize, depth: usize, quote: u8) -> Option<usize> {
    memchr::memchr_iter(quote, bytes.get(from..end)?).map(|found| from + found).find_map(|found| {
        let before = bytes.get(from..found)?.iter().rev().take(64).take_while(|b| **b == b'\\').count();
        let own = before.checked_sub(depth)?;
        // `'it''s'`: one quote that is written twice.
        let is_twice = |at: usize| depth == 0 && bytes.get(at) == Some(&quote);
        let goes_on = |at: usize| bytes.get(at..end).and_then(<[u8]>::first).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b' ');
        let is_pair = found > from
            && ((is_twice(found + 1) && goes_on(found + 2)) || (is_twice(found - 1) && found - 1 > from && goes_on(found + 1)));
        (own.is_multiple_of(2 * (depth + 1)) && !is_pair).then_some(found - depth)
    })
}

/// Where a quoted value ends that its line does not close: at a quote that ends a later line, or with this line.
fn beyond(bytes: &[u8], from: usize, end: usize, quote: u8) -> usize {
    let rest = bytes.get(end..(from + QUOTED_MAX_BYTES).min(bytes.len())).unwrap_or_default();
    let Some(found) = memchr::memchr(quote, rest) else { return end };
    let opens = found.checked_sub(1).and_then(|before| rest.get(before)).is_some_and(|b| matches!(b, b'=' | b':' | b' ' | b'[' | b'{'));
    let closes = rest.get(found + 1).is_none_or(|b| is_boundary(*b));
    if closes && !opens { end + found } else { end }
}

/// Nothing follows the quote that closed a value, or something else begins: not another piece of the same word.
fn ends_value(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b'"' | b'\'' | b'`', next, ..] if next.is_ascii_alphanumeric() => false,
        [b, ..] => is_boundary(*b),
    }
}

/// What may stand right after a value that was closed.
fn is_boundary(b: u8) -> bool {
    b.is_ascii_whitespace() || b",;:)]}>&|#\"'`\\/".contains(&b)
}

/// The end of a word, where a comma or a bracket within it does not count.
fn token_end(text: &str, start: usize, end: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < end {
        let Some(b) = bytes.get(at).copied() else { break };
        let ends = match b {
            b if b.is_ascii_whitespace() || b == 0 => true,
            b',' | b';' | b'&' | b'|' => starts_other(bytes, at + 1, end),
            b')' | b']' | b'}' | b'>' | b'"' | b'\'' | b'`' => {
                bytes.get(at + 1..end).and_then(<[u8]>::first).is_none_or(|b| is_boundary(*b))
            }
            b'\\' => is_escaped_end(bytes, at, end),
            b'<' => bytes.get(at + 1) == Some(&b'/'),
            _ => false,
        };
        if ends {
            break;
        }
        at = if b == b'[' { label_end(text, at, end) } else { None }.unwrap_or(at + 1);
    }
    at
}

/// `\"` that closes the string around, or `\n` that ends the line as it is written in one.
fn is_escaped_end(bytes: &[u8], at: usize, end: usize) -> bool {
    let depth = bytes.get(at..end).unwrap_or_default().iter().take(15).take_while(|b| **b == b'\\').count();
    match bytes.get(at + depth) {
        Some(b'"' | b'\'') => bytes.get(at + depth + 1..end).and_then(<[u8]>::first).is_none_or(|b| is_boundary(*b)),
        Some(b'n' | b'r' | b't') => true,
        _ => false,
    }
}

/// After a separator: nothing, a blank, a quote or the next name.
fn starts_other(bytes: &[u8], from: usize, end: usize) -> bool {
    let rest = bytes.get(from..end).unwrap_or_default();
    let length = rest.iter().take(64).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')).count();
    match rest.first() {
        None => true,
        Some(b) if b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'&' | b'{') => true,
        Some(_) => length > 0 && matches!(rest.get(length), Some(b'=' | b':')),
    }
}

/// Before the next ` name=`, or the end of the line.
fn next_pair(bytes: &[u8], start: usize, end: usize) -> usize {
    for blank in memchr::memchr2_iter(b' ', b'\t', bytes.get(start..end).unwrap_or_default()) {
        let from = start + blank + 1;
        let from = from + bytes.get(from..end).unwrap_or_default().iter().take(2).take_while(|b| **b == b'-').count();
        let rest = bytes.get(from..end).unwrap_or_default();
        let length =
            rest.iter().take(keys::NAME_MAX_BYTES).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')).count();
        if length > 0 && rest.get(length) == Some(&b'=') && rest.first().is_some_and(u8::is_ascii_alphabetic) {
            return start + blank;
        }
    }
    end
}

/// The end of what is indented below this line, deeper than `column`.
pub(super) fn block_end(lines: &[Line], index: usize, column: usize) -> Option<usize> {
    lines
        .get(index + 1..)?
        .iter()
        .take_while(|line| line.is_blank() || line.indent > column)
        .filter(|line| !line.is_blank())
        .last()
        .map(|line| line.end)
}

/// `|` or `>` with nothing but its own marks and a comment after it.
pub(super) fn is_block(value: &str) -> bool {
    value.strip_prefix(['|', '>']).is_some_and(|rest| {
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
        rest.trim().is_empty() || rest.starts_with(" #")
    })
}
