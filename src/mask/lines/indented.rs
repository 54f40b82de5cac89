//! YAML, and JSON that was cut off, by indentation: below `data:` of a Secret every value goes, whatever it is called, and so does the `value` of
//! an environment variable whose `name` says that it is a secret.
//!
//! One walk with a stack of mappings; what a mapping is shows when it is over, since `kind` may come last. A mapping of the core API with `data`
//! and without a kind was cut off before it could say: it counts as a Secret.

use crate::mask::detect::Hit;
use crate::mask::lines::values::{self, Line, Span, Until};
use crate::mask::{keys, search};

/// What a mapping says that it is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Unsaid,
    Secret,
    SecretList,
    Other,
}

/// Members at the same column, below each other.
#[derive(Default)]
struct Mapping {
    column: usize,
    start: usize,
    parent: Option<usize>,
    kind: Kind,
    /// It says `apiVersion: v1`, or a type that only Secrets have.
    is_core: bool,
    /// Lines of `data` and its like, and where their value begins.
    data: Vec<(usize, usize)>,
    /// Its `name` says that its `value` is a secret.
    names_secret: bool,
    value: Option<(usize, usize)>,
}

/// A member as a line has it.
struct Member<'t> {
    name: &'t str,
    /// Where its name begins.
    start: usize,
    /// Where its value begins.
    value: usize,
}

/// A value that goes because of what stands around it.
pub(super) struct Certain {
    pub(super) hit: Hit,
    /// Where the mapping begins that says so: a document that begins later cannot know.
    pub(super) context: usize,
}

/// Finds by the document that they stand in, and the last one in braces: what lies in it is masked already.
#[derive(Default)]
struct Finds {
    certain: Vec<Certain>,
    braces: (usize, usize),
}

impl Finds {
    fn push(&mut self, span: Option<Span>, context: usize) {
        self.certain.extend(span.map(|span| Certain { hit: hit(span), context }));
    }
}

fn hit(span: Span) -> Hit {
    Hit { kind: "secret", start: span.start, end: span.end }
}

pub(super) fn find(text: &str, lines: &[Line], named: &mut Vec<Hit>) -> Vec<Certain> {
    let mappings = mappings(text, lines, named);
    let mut finds = Finds::default();
    for mapping in &mappings {
        if !mapping.data.is_empty() && is_secret(&mappings, mapping) {
            for (index, value) in &mapping.data {
                data(text, lines, *index, mapping, *value, &mut finds);
            }
        }
        if let Some((index, value)) = mapping.value.filter(|_| mapping.names_secret)
            && let Some(span) = scalar(text, lines, index, mapping.column, value)
            && text.get(span.start..span.end).is_some_and(|value| !keys::is_exempt("", value))
        {
            named.push(hit(span));
        }
    }
    finds.braces = (0, 0);
    for line in lines {
        flow(text, line, &mut finds);
    }
    finds.certain
}

fn mappings(text: &str, lines: &[Line], named: &mut Vec<Hit>) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut flag: Option<usize> = None;
    let column_of =
        |mappings: &[Mapping], index: Option<&usize>| index.and_then(|index| mappings.get(*index)).map(|mapping| mapping.column);
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_blank()) {
        let content = text.get(line.start..line.end).unwrap_or_default();
        if is_comment(text, line) {
            continue;
        }
        if content.starts_with("---") || content.starts_with("...") {
            open.clear();
            continue;
        }
        let (start, dash) = item(text, line);
        flag = dash.and_then(|dash| argument(text, line, start, dash, flag, named));
        let from = dash.map_or(start, |dash| line.start + dash + 1);
        while column_of(&mappings, open.last())
            .is_some_and(|column| line.start + column >= from && (dash.is_some() || line.start + column > start))
        {
            open.pop();
        }
        let Some(member) = member(text, line, start) else { continue };
        let column = member.start - line.start;
        if column_of(&mappings, open.last()) != Some(column) {
            mappings.push(Mapping { column, start: member.start, parent: open.last().copied(), ..Mapping::default() });
            open.push(mappings.len() - 1);
        }
        if let Some(mapping) = open.last().and_then(|last| mappings.get_mut(*last)) {
            mapping.take(text, line, index, &member);
        }
    }
    mappings
}

impl Mapping {
    fn take(&mut self, text: &str, line: &Line, index: usize, member: &Member<'_>) {
        let value = || plain(text.get(member.value..line.end).unwrap_or_default());
        let is = |wanted: &str| member.name.eq_ignore_ascii_case(wanted);
        if is("kind") {
            self.kind = kind(value());
        } else if is("apiVersion") {
            self.is_core |= value() == "v1";
        } else if is("type") {
            self.is_core |= is_secret_type(value());
        } else if is("data") || is("stringData") || is("binaryData") {
            self.data.push((index, member.value));
        } else if is("name") || is("key") {
            self.names_secret |= keys::holds_secret(value()) || keys::is_header(value());
        } else if is("value") {
            self.value = Some((index, member.value));
        }
    }
}

fn is_secret(mappings: &[Mapping], mapping: &Mapping) -> bool {
    match mapping.kind {
        Kind::Secret | Kind::SecretList => true,
        Kind::Other => false,
        // A parent stands further left, so there are no more of them than blanks before the line.
        Kind::Unsaid => {
            let parent = |mapping: &Mapping| mapping.parent.and_then(|parent| mappings.get(parent));
            mapping.is_core
                || std::iter::successors(parent(mapping), |mapping| parent(mapping)).any(|mapping| mapping.kind == Kind::SecretList)
        }
    }
}

/// A comment may stand at any column and ends nothing.
fn is_comment(text: &str, line: &Line) -> bool {
    text.get(line.start + line.indent..line.end).is_some_and(|content| content.starts_with('#'))
}

/// What a `kind` says.
fn kind(value: &str) -> Kind {
    match value.trim_start_matches("!!str ") {
        value if value.eq_ignore_ascii_case("secret") => Kind::Secret,
        value if value.eq_ignore_ascii_case("secretlist") => Kind::SecretList,
        "" => Kind::Unsaid,
        _ => Kind::Other,
    }
}

/// Types that Secrets have and nothing else.
pub(in crate::mask) fn is_secret_type(value: &str) -> bool {
    value == "Opaque" || value == "helm.sh/release.v1" || value.starts_with("bootstrap.kubernetes.io/") || {
        const TYPES: [&str; 6] = ["service-account-token", "dockercfg", "dockerconfigjson", "basic-auth", "ssh-auth", "tls"];
        value.strip_prefix("kubernetes.io/").is_some_and(|kind| TYPES.contains(&kind))
    }
}

/// A scalar without quotes, comma and comment.
fn plain(value: &str) -> &str {
    let value = value.trim().trim_end_matches(',');
    let value = value.split(" #").next().unwrap_or(value).trim();
    let value = value.strip_prefix('&').and_then(|anchored| anchored.split_once(' ')).map_or(value, |(_, value)| value.trim());
    value.trim_matches(['"', '\''])
}

/// Where the content of a line begins after the dashes of a list, and the column of the first of them.
fn item(text: &str, line: &Line) -> (usize, Option<usize>) {
    let bytes = text.as_bytes();
    let mut start = line.start + line.indent;
    let mut dash = None;
    while start < line.end && bytes.get(start) == Some(&b'-') && bytes.get(start + 1).is_none_or(u8::is_ascii_whitespace) {
        dash = dash.or(Some(start - line.start));
        start = values::skip_blanks(bytes, start + 1, line.end);
    }
    (start, dash)
}

/// `- --token` and on the next line `- value`: the column of a flag whose value comes next, the value masked.
fn argument(text: &str, line: &Line, start: usize, dash: usize, flag: Option<usize>, named: &mut Vec<Hit>) -> Option<usize> {
    let content = text.get(start..line.end)?;
    let bare = plain(content);
    if flag == Some(dash) && !bare.starts_with('-') && !keys::is_exempt("", bare) {
        let span = values::value(text, start, line.end, Until::Line);
        named.push(Hit { kind: "secret", start: span.start, end: span.end });
        return None;
    }
    let name = bare.trim_start_matches('-');
    (bare.starts_with('-') && keys::holds_secret(name)).then_some(dash)
}

/// `name: value`, the name with or without quotes.
fn member<'t>(text: &'t str, line: &Line, start: usize) -> Option<Member<'t>> {
    let bytes = text.as_bytes();
    let quote = bytes.get(start).copied().filter(|b| matches!(b, b'"' | b'\''));
    let from = start + usize::from(quote.is_some());
    let rest = bytes.get(from..line.end)?;
    let (length, after) = match quote {
        Some(quote) => {
            let close = memchr::memchr(quote, rest)?;
            (close, values::skip_blanks(bytes, from + close + 1, line.end))
        }
        None => {
            let colon = memchr::memchr_iter(b':', rest).take(16).find(|at| rest.get(at + 1).is_none_or(u8::is_ascii_whitespace))?;
            (colon, from + colon)
        }
    };
    let name = text.get(from..from + length)?.trim_end();
    if bytes.get(after) != Some(&b':') || name.is_empty() {
        return None;
    }
    Some(Member { name, start, value: values::skip_blanks(bytes, after + 1, line.end) })
}

/// The value of a member at this column: quoted, on its line, or with what is indented below.
fn scalar(text: &str, lines: &[Line], index: usize, column: usize, start: usize) -> Option<Span> {
    let line = lines.get(index)?;
    let rest = text.get(start..line.end)?;
    let below = values::block_end(lines, index, column);
    let span = match below {
        Some(end) => Span { start, end, quoted: false },
        None => values::value(text, start, line.end, Until::Line),
    };
    let value = text.get(span.start..span.end)?;
    let is_empty = matches!(value.trim().trim_end_matches(','), "" | "null" | "~" | "\"\"" | "''" | "{}" | "[]");
    let said = value.trim().trim_end_matches(',').trim_matches(['"', '\'']);
    if is_empty || keys::is_label(said) {
        return None;
    }
    let cut = if span.quoted || below.is_some() { span.end } else { span.start + value.trim_end_matches(',').len() };
    // What stands before a line break belongs to the next line.
    let from = if rest.is_empty() { lines.get(index + 1).map_or(start, |next| next.start + next.indent) } else { span.start };
    Some(Span { start: from, end: cut, quoted: span.quoted })
}

/// Everything below `data:` at this column.
fn data(text: &str, lines: &[Line], index: usize, mapping: &Mapping, start: usize, finds: &mut Finds) {
    let Some(line) = lines.get(index) else { return };
    let (column, context) = (mapping.column, mapping.start);
    let rest = text.get(start..line.end).unwrap_or_default().trim_end();
    if rest.starts_with('{') && rest != "{" {
        if rest != "{}" && rest != "{}," && !(finds.braces.0..finds.braces.1).contains(&start) {
            finds.braces = (start, balanced(text.as_bytes(), start));
            finds.push(Some(Span { start, end: finds.braces.1, quoted: true }), context);
        }
        return;
    }
    let is_opened = rest.is_empty() || rest == "{" || rest.starts_with(['&', '#', '!']);
    if !is_opened {
        finds.push(scalar(text, lines, index, column, start), context);
        return;
    }
    let is_within = |line: &Line| {
        let is_item = || text.get(line.start + line.indent..line.end).is_some_and(|content| content.starts_with("- "));
        line.is_blank() || line.indent > column || (line.indent == column && is_item()) || is_comment(text, line)
    };
    let mut child = None;
    let mut resume = 0;
    for (below, line) in
        lines.iter().enumerate().skip(index + 1).take_while(|(_, line)| is_within(line)).filter(|(_, line)| !line.is_blank())
    {
        if line.end <= resume {
            continue;
        }
        let content = text.get(line.start + line.indent..line.end).unwrap_or_default();
        if is_comment(text, line) || content.bytes().all(|b| b.is_ascii_punctuation() && b != b'"' && b != b'\'') {
            continue;
        }
        let child = *child.get_or_insert(line.indent);
        let start = member(text, line, line.start + line.indent).map_or(line.start + line.indent, |member| member.value);
        let span = scalar(text, lines, below, child.max(line.indent), start);
        resume = span.map_or(0, |span| span.end);
        finds.push(span, context);
    }
}

/// The end of what a brace opens; of what is cut off, the end of the text.
fn balanced(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut before = b' ';
    for (at, b) in bytes.iter().copied().enumerate().skip(start) {
        match (quote, b) {
            (Some(open), b) if b == open && before != b'\\' => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if b" {[,:".contains(&before) => quote = Some(b),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        before = b;
    }
    bytes.len()
}

/// `{kind: Secret, data: {a: b}}` on one line, as YAML or as JSON that was cut off or escaped.
fn flow(text: &str, line: &Line, finds: &mut Finds) {
    let bytes = text.as_bytes();
    let content = bytes.get(line.start..line.end).unwrap_or_default();
    let Some(context) = memchr::memchr(b'{', content).map(|found| line.start + found) else { return };
    if line.end <= finds.braces.1 || !is_flow_secret(content) {
        return;
    }
    for found in search::every(content, b"ata").map(|found| line.start + found) {
        let open = opened(bytes, found + 3, line.end).filter(|open| bytes.get(*open) == Some(&b'{'));
        let Some(open) = open.filter(|_| found >= finds.braces.1) else { continue };
        let word = bytes.get(..found).unwrap_or_default().iter().rev().take(10).take_while(|b| b.is_ascii_alphabetic()).count();
        let name = text.get(found - word..found + 3).unwrap_or_default();
        if ["data", "stringData", "binaryData"].iter().any(|wanted| name.eq_ignore_ascii_case(wanted)) {
            let end = balanced(bytes, open);
            finds.braces = (open, end);
            if text.get(open + 1..end).is_some_and(|inner| !inner.trim_end_matches('}').trim().is_empty()) {
                finds.push(Some(Span { start: open, end, quoted: true }), context);
            }
        }
    }
}

/// Past the quotes and the colon after a name.
fn opened(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let rest = bytes.get(from..end)?;
    let marks = rest.iter().take(24).take_while(|b| matches!(b, b'"' | b'\'' | b'\\' | b' ' | b':')).count();
    rest.get(..marks)?.contains(&b':').then_some(from + marks)
}

/// The line says `kind: Secret` somewhere, or `apiVersion: v1` and no kind at all.
fn is_flow_secret(content: &[u8]) -> bool {
    let value = |found: usize, word: &str| {
        let open = opened(content, found + word.len(), content.len())?;
        let rest = content.get(open..)?;
        rest.get(..rest.iter().take(64).take_while(|b| b.is_ascii_alphanumeric()).count())
    };
    let mut kinds = search::every(content, b"kind").filter_map(|found| value(found, "kind")).peekable();
    let is_unsaid = kinds.peek().is_none();
    let is_core = || search::every(content, b"apiVersion").any(|found| value(found, "apiVersion") == Some(b"v1"));
    kinds.any(|kind| kind.eq_ignore_ascii_case(b"secret") || kind.eq_ignore_ascii_case(b"secretlist")) || (is_unsaid && is_core())
}
