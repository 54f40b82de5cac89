//! Names with a value after them: `NAME=value`, `name: value`, `"name": "value"`, `name => value`, several on a line, and name and value as
//! siblings (`name=DB_PASSWORD value=…`).
//!
//! Every `=` and `:` is looked at once, back to a name of bounded length and on to the end of a value. What a sentence says after a colon is no
//! value: `invalid token: signature expired` stays.

use crate::mask::detect::Hit;
use crate::mask::keys::{self, Judged};
use crate::mask::lines::values::{self, Line, Span, Until};
use crate::mask::packed;

/// A name before a separator.
struct Name<'t> {
    text: &'t str,
    /// Where it begins, with its quote.
    start: usize,
    quoted: bool,
    /// Nothing but marks and `export` before it.
    first: bool,
    /// After dashes.
    flag: bool,
}

/// A separator, and what is known about it.
struct Separator {
    at: usize,
    /// Where a value may begin.
    after: usize,
    is_colon: bool,
    /// No blank after a colon.
    is_tight: bool,
}

/// The other half of a name and a value that stand as siblings.
#[derive(Default)]
struct Sibling {
    /// A name that says secret ends here.
    name_end: Option<usize>,
    /// Where the last value begins that no name belonged to yet.
    value: Option<usize>,
}

/// The longest list of words that goes as one.
const LIST_MAX_BYTES: usize = 1024;
/// Siblings are no further apart.
const APART_MAX_BYTES: usize = 256;

pub(super) fn find(text: &str, lines: &[Line], hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let mut resume = 0;
    let mut judged = Judged::default();
    for (index, line) in lines.iter().enumerate() {
        let mut sibling = Sibling::default();
        for found in memchr::memchr2_iter(b'=', b':', bytes.get(line.start..line.end).unwrap_or_default()) {
            let at = line.start + found;
            if at < resume {
                continue;
            }
            let Some((separator, name)) =
                separator(bytes, line, at).and_then(|found| Some((name(text, line, &found)?, found))).map(|(n, s)| (s, n))
            else {
                continue;
            };
            let span = secret(text, lines, index, &separator, &name, &mut judged).or_else(|| sibling.meet(text, line, &separator, &name));
            if let Some(span) = span {
                hits.push(Hit { kind: "secret", start: span.start, end: span.end });
                resume = span.end;
            }
        }
    }
}

impl Sibling {
    /// The value of a pair whose other half says that it is a secret.
    fn meet(&mut self, text: &str, line: &Line, separator: &Separator, name: &Name<'_>) -> Option<Span> {
        let is_name = ["name", "key"].iter().any(|word| name.text.eq_ignore_ascii_case(word));
        if !is_name && !name.text.eq_ignore_ascii_case("value") {
            return None;
        }
        let start = values::skip_blanks(text.as_bytes(), separator.after, line.end);
        let near = |from: usize, to: usize| {
            to.checked_sub(from).is_some_and(|gap| gap <= APART_MAX_BYTES)
                && text.get(from..to).is_some_and(|between| !between.contains(['{', '}', '<', '>']))
        };
        let told = |start: usize| {
            let span = values::value(text, start, line.end, Until::Token);
            text.get(span.start..span.end).filter(|value| !keys::is_exempt("", value)).map(|_| span)
        };
        if !is_name {
            self.value = Some(start);
            return self.name_end.take().filter(|end| near(*end, name.start)).and_then(|_| told(start));
        }
        // A name is short; what is longer is none and costs no more.
        let span = values::value(text, start, line.end.min(start + keys::NAME_MAX_BYTES + 2), Until::Token);
        let said = text.get(span.start..span.end)?;
        if !keys::holds_secret(said) && !keys::is_header(said) {
            *self = Self::default();
            return None;
        }
        self.name_end = Some(span.end);
        self.value.take().filter(|value| near(*value, name.start)).and_then(told)
    }
}

fn separator(bytes: &[u8], line: &Line, at: usize) -> Option<Separator> {
    let is_colon = bytes.get(at) == Some(&b':');
    let mut after = at + 1;
    let next = bytes.get(after..line.end).and_then(<[u8]>::first).copied();
    if is_colon {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        if next == Some(b':') || before == Some(&b':') || bytes.get(after..).is_some_and(|rest| rest.starts_with(b"//")) {
            return None;
        }
        if next == Some(b'=') {
            after += 1;
        }
    } else {
        after += bytes.get(after..line.end)?.iter().take(2).take_while(|b| matches!(b, b'=' | b'>')).count();
    }
    let is_tight = is_colon && next.is_some_and(|b| !b.is_ascii_whitespace() && b != b'=');
    Some(Separator { at, after, is_colon, is_tight })
}

/// The name that ends before the separator.
fn name<'t>(text: &'t str, line: &Line, separator: &Separator) -> Option<Name<'t>> {
    let bytes = text.get(..separator.at)?.as_bytes();
    let back = |from: usize, max: usize, wanted: &dyn Fn(u8) -> bool| {
        from - bytes.get(line.start..from).unwrap_or_default().iter().rev().take(max).take_while(|b| wanted(**b)).count()
    };
    let end = back(separator.at, 1, &|b| !separator.is_colon && matches!(b, b'?' | b'+' | b':'));
    let end = back(end, 48, &|b| matches!(b, b' ' | b'\t'));
    let closed = back(end, 20, &|b| matches!(b, b'"' | b'\'' | b'`' | b']' | b'\\'));
    let start = back(closed, keys::NAME_MAX_BYTES, &is_name);
    let found = text.get(start..closed)?;
    let bare = found.trim_start_matches(['-', '.', '$', '@', '/']);
    let in_label = text.get(..start).is_some_and(|lead| lead.ends_with("[redacted:"));
    if bare.is_empty() || found.len() >= keys::NAME_MAX_BYTES || in_label {
        return None;
    }
    let open = back(start, 16, &|b| matches!(b, b'"' | b'\'' | b'`' | b'\\'));
    // Backticks are the quotes of a sentence.
    let quoted = closed < end && bytes.get(closed) != Some(&b'`');
    Some(Name { text: bare, flag: found.starts_with('-'), start: open, quoted, first: is_first(text, line, open) })
}

/// Letters of a name. A slash parts it from whose it is, a byte of a longer character belongs to it.
fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'_' | b'-' | b'.' | b'/' | b'@' | b'$')
}

/// Whether nothing but marks and a word like `export` stands before.
fn is_first(text: &str, line: &Line, start: usize) -> bool {
    const WORDS: [&str; 12] = ["", "export", "set", "setenv", "env", "ENV", "ARG", "declare -x", "local", "readonly", "const", "var"];
    if start - line.start > 64 + line.indent {
        return false;
    }
    let lead = text.get(line.start + line.indent..start).unwrap_or("x");
    !lead.contains(['{', '[', '(', ',', '<']) && WORDS.contains(&lead.trim_matches(|c: char| !c.is_alphanumeric()))
}

/// The value, if the name says that it is a secret and it is one.
fn secret<'t>(text: &str, lines: &[Line], index: usize, separator: &Separator, name: &Name<'t>, judged: &mut Judged<'t>) -> Option<Span> {
    let line = lines.get(index)?;
    let start = values::skip_blanks(text.as_bytes(), separator.after, line.end);
    if keys::is_header(name.text) {
        return header(text, line, start);
    }
    if name.text.eq_ignore_ascii_case("auth") {
        let span = values::value(text, start, line.end, Until::Token);
        let is_pair = text.get(span.start..span.end).and_then(packed::text).is_some_and(|pair| pair.contains(':'));
        return is_pair.then_some(span);
    }
    if !judged.holds_secret(name.text) && !is_two_words(text, line, name) {
        return None;
    }
    let rest = text.get(start..line.end)?;
    let is_title = || separator.is_colon && text.get(line.start..separator.at).is_some_and(keys::is_title_of_reference);
    if (separator.is_tight && !name.quoted && is_tag(text, line, name, rest)) || is_title() {
        return None;
    }
    let until = match (name.first, separator.is_colon) {
        (true, true) if !separator.is_tight => Until::Line,
        (true, false) if !name.flag => Until::NextPair,
        _ => Until::Token,
    };
    let column = name.start - line.start;
    if separator.is_colon && name.first && (rest.is_empty() || values::is_block(rest)) {
        return below(text, lines, index, column, start, rest.is_empty());
    }
    if until == Until::Token
        && separator.is_colon
        && !name.quoted
        && let Some(value) = annotated(text, start, line.end)
    {
        // What looks like a type may be the value: both go.
        let span = values::value(text, value, line.end, until);
        return Some(Span { start, end: span.end + usize::from(span.quoted && span.end < line.end), quoted: false });
    }
    let span = match structure(text, rest, start, values::label_end(text, start, line.end).is_some()) {
        Structure::None => values::value(text, start, line.end, until),
        Structure::List(end) => Span { start, end, quoted: true },
        Structure::Other => return None,
    };
    let value = text.get(span.start..span.end)?;
    let said = value.trim_end_matches([',', ';']);
    let span = if span.quoted || !name.quoted { span } else { Span { end: span.start + said.len(), ..span } };
    let is_spoken = !span.quoted && !name.quoted && separator.is_colon && is_prose(text, line, name, span);
    (!keys::is_exempt(name.text, said) && !is_spoken).then_some(span)
}

/// What a value begins with that is no word.
enum Structure {
    None,
    /// A list of words, up to here.
    List(usize),
    /// Members with names of their own, or a label.
    Other,
}

fn structure(text: &str, rest: &str, start: usize, is_label: bool) -> Structure {
    if is_label {
        return Structure::Other;
    }
    let inner = rest.get(1..).unwrap_or_default();
    match rest.as_bytes().first() {
        Some(b'{') => {
            let next = inner.trim_start();
            let length = next.bytes().take_while(|b| is_name(*b)).count();
            let is_member =
                next.is_empty() || next.starts_with(['"', '\'', '}', '\\']) || next.get(length..).is_some_and(|rest| rest.starts_with(':'));
            if is_member && !rest.starts_with("{{") { Structure::Other } else { Structure::None }
        }
        Some(b'[') => match inner.as_bytes().iter().take(LIST_MAX_BYTES).position(|b| *b == b']') {
            Some(close) if inner.get(close + 1..).is_some_and(|rest| rest.starts_with(is_name_letter)) => Structure::None,
            Some(0) => Structure::Other,
            Some(close) if inner.get(..close).is_some_and(|items| items.contains('{') || items.contains(": ") || items.contains("\":")) => {
                Structure::Other
            }
            Some(close) => Structure::List(start + close + 2),
            None if inner.trim().is_empty() => list(text, start).map_or(Structure::Other, Structure::List),
            None => Structure::None,
        },
        _ => Structure::None,
    }
}

/// The end of a list of words that goes on over the next lines.
fn list(text: &str, start: usize) -> Option<usize> {
    let inner = text.as_bytes().get(start + 1..(start + LIST_MAX_BYTES).min(text.len()))?;
    let close = inner.iter().position(|b| matches!(b, b']' | b'{' | b':' | b'['))?;
    (inner.get(close) == Some(&b']')).then_some(start + close + 2)
}

/// `let password: &str = "x"`: where the value begins after a type.
fn annotated(text: &str, start: usize, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_type = |b: &u8| b.is_ascii_alphanumeric() || b"_&<>[].:'?* ".contains(b);
    let length = bytes.get(start..end)?.iter().take(48).take_while(|b| is_type(b)).count();
    let after = start + length;
    let is_sentence = text.get(start..after).is_none_or(|kind| kind.contains(": "));
    (length > 0
        && !is_sentence
        && bytes.get(after) == Some(&b'=')
        && bytes.get(after + 1) != Some(&b'=')
        && bytes.get(after - 1) == Some(&b' '))
    .then(|| values::skip_blanks(bytes, after + 1, end))
    .filter(|value| *value < end)
}

fn is_name_letter(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// A value on the lines below: a block, one word or a list of words, and no members.
fn below(text: &str, lines: &[Line], index: usize, column: usize, start: usize, is_plain: bool) -> Option<Span> {
    let next = lines.get(index + 1..)?.iter().find(|line| !line.is_blank())?;
    let content = text.get(next.start + next.indent..next.end)?;
    let is_list = content.starts_with("- ");
    let deeper = if is_list { column.saturating_sub(1) } else { column };
    if next.indent <= column && !(is_list && next.indent == column) {
        return None;
    }
    let has_members =
        content.starts_with(['{', '[', '}', ']', '#']) || content.contains(": ") || content.ends_with(':') || content.contains("\":");
    let word = content.trim_start_matches("- ").trim().trim_matches(['"', '\'']);
    if is_plain && (has_members || keys::is_exempt("", word)) {
        return None;
    }
    let block_end = if is_list { list_end(text, lines, index, column) } else { values::block_end(lines, index, deeper) };
    let from = if is_plain { next.start + next.indent } else { start };
    block_end.map(|end| Span { start: from, end, quoted: true })
}

/// The end of a list at this column or deeper.
fn list_end(text: &str, lines: &[Line], index: usize, column: usize) -> Option<usize> {
    let is_item = |line: &&Line| {
        line.is_blank()
            || line.indent > column
            || (line.indent == column && text.get(line.start + line.indent..line.end).is_some_and(|content| content.starts_with("- ")))
    };
    lines.get(index + 1..)?.iter().take_while(is_item).filter(|line| !line.is_blank()).last().map(|line| line.end)
}

/// `Authorization: ApiKey abc`, `Cookie: session=abc`: to the end of the line or of the string. `Bearer` has a detector of its own.
fn header(text: &str, line: &Line, start: usize) -> Option<Span> {
    const SCHEMES: [&str; 11] =
        ["token", "apikey", "digest", "negotiate", "ntlm", "hmac", "aws4-hmac-sha256", "genie", "splunk", "key", "apitoken"];
    let bytes = text.as_bytes();
    let inner = values::opening(bytes, start).map_or(start, |(depth, _)| start + depth + 1);
    let head = bytes.get(inner..line.end)?.iter().take(64).take_while(|b| !b.is_ascii_whitespace()).count();
    let word = text.get(inner..inner + head)?;
    let is_scheme = SCHEMES.iter().any(|known| word.trim_end_matches([':', '=']).eq_ignore_ascii_case(known));
    let is_bare = word.len() >= 16 && word.bytes().any(|b| b.is_ascii_digit());
    let is_cookie = word.split_once('=').is_some_and(|(name, value)| !value.is_empty() && !name.is_empty());
    if !is_scheme && !is_bare && !is_cookie {
        return None;
    }
    let span = if inner > start {
        values::value(text, start, line.end, Until::Token)
    } else {
        let rest = bytes.get(start..line.end)?;
        let length = memchr::memchr3(b'"', b'\'', b'\\', rest).unwrap_or(rest.len());
        Span { start, end: start + text.get(start..start + length)?.trim_end().len(), quoted: false }
    };
    let value = text.get(span.start..span.end)?;
    (!keys::is_exempt("", value) && value.len() > word.len().min(8)).then_some(span)
}

/// `API key: …`; what says `secret key:` in a sentence is the name of a key.
fn is_two_words(text: &str, line: &Line, name: &Name<'_>) -> bool {
    const SECOND: [&str; 6] = ["key", "keys", "answer", "id", "string", "code"];
    if name.quoted || !SECOND.iter().any(|word| name.text.eq_ignore_ascii_case(word)) {
        return false;
    }
    let before = text.get(line.start.max(name.start.saturating_sub(32))..name.start).unwrap_or_default();
    let Some(word) = before.strip_suffix(' ').and_then(|before| before.rsplit(' ').next()) else { return false };
    !word.eq_ignore_ascii_case("secret") && keys::holds_secret(&format!("{word} {}", name.text))
}

/// `name:1.2` and `a:name:b` are tags of images and names of resources.
fn is_tag(text: &str, line: &Line, name: &Name<'_>, value: &str) -> bool {
    let before = text.get(line.start..name.start).and_then(|lead| lead.chars().next_back());
    const TAGS: [&str; 9] = ["latest", "stable", "all", "any", "amd64", "arm64", "i386", "armhf", "noarch"];
    let tag = value.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let is_version = value.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) || TAGS.contains(&tag);
    before == Some(':') || name.text.contains('/') || (name.text.contains(['-', '.']) && is_version)
}

/// Whether a sentence goes on where a value would stand.
fn is_prose(text: &str, line: &Line, name: &Name<'_>, span: Span) -> bool {
    if name.text.eq_ignore_ascii_case("pass") {
        let value = text.get(span.start..span.end).unwrap_or_default();
        return name.text != "pass" || value.split(' ').next().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()));
    }
    let lower = name.text.to_ascii_lowercase();
    let is_password = lower.contains("pass") || lower.contains("pwd");
    if name.first || is_password {
        return false;
    }
    let word = text.get(span.start..span.end).unwrap_or_default().trim_end_matches([':', ',', '.', ';']);
    let goes_on =
        text.get(span.end..line.end).is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_alphabetic() || "/`(".contains(c)));
    let is_cased = |word: &str| {
        let rest = || word.bytes().skip(1);
        rest().all(|b| b.is_ascii_lowercase()) || rest().all(|b| b.is_ascii_uppercase())
    };
    goes_on && word.len() <= 14 && word.bytes().all(|b| b.is_ascii_alphabetic()) && is_cased(word)
}
