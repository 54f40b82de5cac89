//! JSON that stands in a text: whole answers, lines of a log, a body after a few words.
//!
//! A stretch that parses is masked as a document, since only there a member knows what it belongs to, and is written again only where something
//! in it was masked: a log keeps its looks. A text that begins many documents and ends none is given up on at a budget; names still decide there.

use serde_json::Value;

use crate::mask::lines::Reader;

/// A stretch that is JSON; `with` where it must be written anew.
pub(super) struct Document {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) with: Option<String>,
}

/// What parsing in vain may cost, in bytes for each byte of the text.
const WASTE_MAX: usize = 1;

/// Documents in a text, in order; none where one is known already.
pub(super) fn find(text: &str, known: &[(usize, usize)], reader: &mut dyn Reader) -> Vec<Document> {
    let bytes = text.as_bytes();
    let mut documents = Vec::new();
    let (mut at, mut wasted) = (0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'{', b'[', rest)) {
        let start = at + found;
        at = start + 1;
        let next = known.partition_point(|(from, _)| *from <= start);
        if let Some((_, end)) = next.checked_sub(1).and_then(|index| known.get(index)).filter(|(_, end)| start < *end) {
            at = *end;
            continue;
        }
        if !begins(bytes, start) || wasted > text.len().saturating_mul(WASTE_MAX) + (64 << 10) {
            continue;
        }
        let Some(rest) = text.get(start..) else { continue };
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                let end = start + stream.byte_offset();
                documents.push(Document { start, end, with: masked(text, start, end, &value, reader) });
                at = end;
            }
            Some(Err(error)) => {
                let lines: usize = rest.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
                wasted += lines + error.column() + 8;
                // Too deep from here is too deep from within; names still decide there.
                if error.is_syntax() && error.to_string().starts_with("recursion limit") {
                    at = (start + lines + error.column()).min(text.len());
                }
            }
            None => {}
        }
    }
    documents
}

/// Whether a text is one document and nothing else.
pub(in crate::mask) fn is_document(text: &str) -> Option<Value> {
    let is_open = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
    is_open.then(|| serde_json::from_str(text).ok()).flatten()
}

/// A brace or bracket that something of JSON follows: most in a log are none.
fn begins(bytes: &[u8], start: usize) -> bool {
    let rest = bytes.get(start + 1..).unwrap_or_default();
    let next = rest.iter().take(4096).find(|b| !b.is_ascii_whitespace());
    match bytes.get(start) {
        Some(b'{') => matches!(next, Some(b'"' | b'}')),
        _ => matches!(next, Some(b'"' | b'{' | b'[')),
    }
}

/// What stands there after masking, if anything changed.
fn masked(text: &str, start: usize, end: usize, value: &Value, reader: &mut dyn Reader) -> Option<String> {
    let written = text.get(start..end)?;
    rewrite(written, value, &reader.document(value)).map(|new| {
        // Below a key of YAML every line keeps its place.
        let line = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |found| found + 1);
        let lead = text.get(line..start).filter(|lead| lead.bytes().all(|b| b == b' ')).unwrap_or_default();
        if lead.is_empty() { new } else { new.replace('\n', &format!("\n{lead}")) }
    })
}

/// The masked document as text, or `None` where the text may stay as it is: nothing was masked, and no name stands twice. Of a name that stands
/// twice only one value was looked at.
pub(in crate::mask) fn rewrite(written: &str, value: &Value, masked: &Value) -> Option<String> {
    if masked == value && colons(written) == members(value) {
        return None;
    }
    let is_pretty = written.trim().contains('\n');
    if is_pretty { serde_json::to_string_pretty(masked).ok() } else { Some(masked.to_string()) }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(object) => object.values().map(|member| members(member) + 1).sum(),
        _ => 0,
    }
}

/// Colons outside of strings: as many as members were written.
fn colons(json: &str) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for b in json.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}
