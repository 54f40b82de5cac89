//! Values after a flag, a word or between tags: `--token value`, `curl -u user:password`, `login x password y`, `PASSWORD 'x'`,
//! `<password>x</password>`, and lines of a `.pgpass`.
//!
//! There is no sign between name and value here, so that a sentence looks alike: only flags, quotes and the words of a known format count.

use crate::mask::detect::Hit;
use crate::mask::lines::values::{self, Line, Until};
use crate::mask::{keys, search};

/// Between two tags there is no more.
const ELEMENT_MAX_BYTES: usize = 1024;

pub(super) fn find(text: &str, lines: &[Line], hits: &mut Vec<Hit>) {
    for line in lines {
        flags(text, line, hits);
        hits.extend(pgpass(text, line));
    }
    words(text, lines, hits);
    encoded(text, hits);
    elements(text, hits);
}

fn hit(start: usize, end: usize) -> Hit {
    Hit { kind: "secret", start, end }
}

fn flags(text: &str, line: &Line, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let mut resume = 0;
    for found in memchr::memchr_iter(b'-', bytes.get(line.start..line.end).unwrap_or_default()) {
        let dash = line.start + found;
        let before = dash.checked_sub(1).filter(|before| *before >= line.start).and_then(|before| bytes.get(before));
        if dash < resume || before.is_some_and(|b| !b.is_ascii_whitespace() && !b"\"'`[(,;|&=\\".contains(b)) {
            continue;
        }
        let dashes = if bytes.get(dash + 1) == Some(&b'-') { 2 } else { 1 };
        let from = dash + dashes;
        let length = bytes
            .get(from..line.end)
            .unwrap_or_default()
            .iter()
            .take(64)
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            .count();
        resume = from + length;
        let Some(name) = text.get(from..from + length) else { continue };
        let Some(start) = argument(bytes, from + length, line.end) else { continue };
        let span = values::value(text, start, line.end, Until::Token);
        let Some(value) = text.get(span.start..span.end) else { continue };
        if length >= 3 && keys::holds_secret(name) && !keys::is_exempt(name, value) && !is_help(name, value) {
            hits.push(hit(span.start, span.end));
            resume = span.end;
        } else if matches!(name, "u" | "user") && is_curl(text, line, dash) {
            let password = value.split_once(':').map(|(_, password)| password).filter(|password| !keys::is_exempt("", password));
            hits.extend(password.map(|password| hit(span.end - password.len(), span.end)));
        }
    }
}

/// Where the value of a flag begins: after blanks, or as the next string of a list.
fn argument(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let start = values::skip_blanks(bytes, from, end);
    let start = if start > from {
        start
    } else {
        let (depth, quote) = values::opening(bytes, from)?;
        let comma = values::skip_blanks(bytes, from + depth + 1, end);
        let next = values::skip_blanks(bytes, comma + 1, end);
        let opens = values::opening(bytes, next) == Some((depth, quote));
        (opens && bytes.get(comma) == Some(&b',')).then_some(next)?
    };
    let first = bytes.get(start..end)?.first()?;
    (!matches!(first, b'-' | b'|' | b'>' | b'&' | b'=' | b':')).then_some(start)
}

/// `--token string   the token`: what a help text says.
fn is_help(name: &str, value: &str) -> bool {
    const PLACEHOLDERS: [&str; 9] = ["PATH", "FILE", "TOKEN", "PASSWORD", "SECRET", "STRING", "VALUE", "KEY", "NAME"];
    const WORDS: [&str; 22] = [
        "string",
        "strings",
        "file",
        "value",
        "int",
        "flag",
        "flags",
        "option",
        "options",
        "is",
        "and",
        "or",
        "to",
        "must",
        "for",
        "with",
        "in",
        "can",
        "was",
        "has",
        "argument",
        "parameter",
    ];
    WORDS.contains(&value.trim_end_matches([',', '.']))
        || value.starts_with('<')
        || value.starts_with("stringArray")
        || PLACEHOLDERS.contains(&value)
        || value == name.to_ascii_uppercase()
}

fn is_curl(text: &str, line: &Line, dash: usize) -> bool {
    text.get(line.start.max(dash.saturating_sub(256))..dash).is_some_and(|lead| lead.contains("curl") || lead.contains("http"))
}

/// `host:port:database:user:password`.
fn pgpass(text: &str, line: &Line) -> Option<Hit> {
    let content = text.get(line.start..line.end).filter(|content| content.len() <= 512)?.trim_end();
    let mut fields: Vec<usize> = Vec::new();
    let mut escaped = false;
    for (at, b) in content.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b':' => fields.push(at),
            b if b.is_ascii_whitespace() => return None,
            _ => {}
        }
    }
    let [host, port, _, user] = fields.as_slice() else { return None };
    let (host, port) = (content.get(..*host)?, content.get(host + 1..*port)?);
    let is_host = host == "*" || (host.contains(|c: char| c.is_ascii_alphabetic() || c == '.') && !host.contains(['"', '\'', '{', '=']));
    let is_port = port == "*" || ((4..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()));
    let password = content.get(user + 1..).filter(|password| !keys::is_exempt("", password))?;
    (is_host && is_port).then(|| hit(line.start + user + 1, line.start + user + 1 + password.len()))
}

/// `.netrc` and SQL.
fn words(text: &str, lines: &[Line], hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let line_end = |at: usize| {
        let next = lines.partition_point(|line| line.start <= at);
        next.checked_sub(1).and_then(|index| lines.get(index)).map_or(text.len(), |line| line.end)
    };
    for word in ["password ", "PASSWORD ", "Password ", "identified by ", "IDENTIFIED BY ", "requirepass ", "masterauth "] {
        for found in search::every(bytes, word.as_bytes()) {
            let before = found.checked_sub(1).and_then(|before| bytes.get(before));
            let end = line_end(found);
            let start = values::skip_blanks(bytes, found + word.len(), end);
            if start >= end || before.is_some_and(|b| b.is_ascii_alphanumeric()) {
                continue;
            }
            let span = values::value(text, start, end, Until::Token);
            let mut before = text.get(before_max(text, found)..found).unwrap_or_default().split_whitespace().rev();
            let in_netrc = word == "password " && before.nth(1).is_some_and(|word| matches!(word, "login" | "machine" | "account"));
            let is_said = (span.quoted && bytes.get(start) == Some(&b'\''))
                || word.starts_with("requirepass")
                || word.starts_with("masterauth")
                || (in_netrc && !matches!(bytes.get(start), Some(b'=' | b':')));
            let value = text.get(span.start..span.end).unwrap_or_default();
            if is_said && !keys::is_exempt("", value) {
                hits.push(hit(span.start, span.end));
            }
        }
    }
}

/// `password%3Dx`, as a URL has it within another.
fn encoded(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    for sign in ["%3D", "%3d"] {
        let mut resume = 0;
        for found in search::every(bytes, sign.as_bytes()) {
            if found < resume {
                continue;
            }
            let is_letter = |b: &u8| b.is_ascii_alphanumeric() || b"_-.".contains(b);
            let length = bytes.get(..found).unwrap_or_default().iter().rev().take(64).take_while(|b| is_letter(b)).count();
            // The code before it may end in letters: `%26token`.
            let code = found.checked_sub(length + 1).filter(|at| bytes.get(*at) == Some(&b'%')).map_or(0, |_| 2);
            let name = text.get(found - length + code.min(length)..found).unwrap_or_default();
            if !keys::holds_secret(name) {
                continue;
            }
            let is_value = |b: &u8| is_letter(b) || b"~+*!'()%".contains(b);
            let value = bytes.get(found + 3..).unwrap_or_default().iter().take(ELEMENT_MAX_BYTES).take_while(|b| is_value(b)).count();
            let value = text.get(found + 3..found + 3 + value).unwrap_or_default();
            let value = value.split("%26").next().unwrap_or(value);
            resume = found + 3 + value.len();
            if !keys::is_exempt(name, value) {
                hits.push(hit(found + 3, resume));
            }
        }
    }
}

/// Where to begin to look for the words before.
fn before_max(text: &str, at: usize) -> usize {
    let from = at.saturating_sub(200);
    (from..=at).find(|from| text.is_char_boundary(*from)).unwrap_or(at)
}

/// `<password>x</password>`.
fn elements(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let (mut seen, mut open) = (0, None);
    for close in search::every(bytes, b"</") {
        open = bytes.get(seen..close).and_then(|between| memchr::memrchr(b'>', between)).map(|found| seen + found).or(open);
        seen = close;
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"_-.:".contains(b);
        let length = bytes.get(close + 2..).unwrap_or_default().iter().take(64).take_while(|b| is_name(b)).count();
        let Some(start) = open.map(|open| open + 1).filter(|start| length >= 3 && close - start <= ELEMENT_MAX_BYTES) else { continue };
        let name = text.get(close + 2..close + 2 + length).unwrap_or_default();
        let is_said = text.get(start..close).is_some_and(|value| !keys::is_exempt("", value) && !value.contains('<'));
        if is_said && keys::holds_secret(name) {
            hits.push(hit(start, close));
        }
    }
}
