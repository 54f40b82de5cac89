//! Texts in which nothing but a name says that a value is a secret: logs, the output of commands, values of ConfigMaps.
//!
//! `NAME=value`, `name: value`, flags, headers, YAML and JSON as they stand in a text, whole or cut off. Names decide (`keys`), and a document
//! decides for all that is in it: below `data` of a Secret every value goes, whatever it is called. Detectors that know a value by its shape come
//! after this and elsewhere. A text is walked a bounded number of times; what will not come to rest goes as a whole.

use serde_json::Value;

use crate::mask::detect::{self, Hit};
use crate::mask::packed;
use crate::mask::shadow::Shadow;

mod documents;
mod indented;
mod pairs;
mod spoken;
mod values;

#[cfg(test)]
mod tests;

pub(super) use documents::{is_document, rewrite};
pub(super) use indented::is_secret_type;

/// Whoever reads a text: told what was found, and asked for what a text cannot mask by itself.
pub(super) trait Reader {
    /// A JSON document that stands in the text, masked.
    fn document(&mut self, document: &Value) -> Value;
    /// Something of this kind was masked.
    fn found(&mut self, kind: &'static str);
    /// Into a layer of encoding; false where no more are followed.
    fn enter(&mut self) -> bool;
    /// And out of it.
    fn leave(&mut self);
}

/// Times that a text is looked at again after something in it was masked.
const PASSES_MAX: usize = 4;
/// Base64 that is shorter holds nothing worth a document.
const PACKED_MIN: usize = 24;

/// The text without what its names say is secret, each find told to `found` by its kind.
#[cfg(test)]
pub(super) fn redact(text: &str, found: &mut dyn FnMut(&'static str)) -> String {
    read(text, &mut crate::mask::kube::Plain::new(found))
}

/// The same for a reader that is somewhere already.
pub(super) fn read(text: &str, reader: &mut dyn Reader) -> String {
    let mut text = text.to_owned();
    for _ in 0..PASSES_MAX {
        let edits = edits(&text, reader);
        if edits.is_empty() {
            return text;
        }
        for edit in edits.iter().filter(|edit| edit.with.is_none()) {
            reader.found(edit.kind);
        }
        text = apply(&text, &edits);
    }
    if edits(&text, &mut Quiet(reader)).is_empty() { text } else { "[redacted:content]".to_owned() }
}

/// Shows the reader every document in the text and changes nothing.
pub(super) fn visit(text: &str, reader: &mut dyn Reader) {
    documents::find(text, &[], reader);
    for (start, end) in packed::runs(text, PACKED_MIN) {
        if reader.enter() {
            if let Some(held) = text.get(start..end).and_then(packed::text) {
                visit(&held, reader);
            }
            reader.leave();
        }
    }
}

/// A stretch of the text, and what stands there instead: a label, or the document as it was masked.
struct Edit {
    start: usize,
    end: usize,
    kind: &'static str,
    with: Option<String>,
}

/// What one look at a text finds.
#[derive(Default)]
struct Finds {
    /// By name: a document that was masked by itself knows better.
    named: Vec<Hit>,
    /// By the document that they stand in.
    certain: Vec<indented::Certain>,
    /// Documents, changed or not.
    documents: Vec<documents::Document>,
}

fn look(text: &str, known: &[(usize, usize)], reader: &mut dyn Reader) -> Finds {
    let lines = values::lines(text);
    let mut finds = Finds { documents: documents::find(text, known, reader), ..Finds::default() };
    pairs::find(text, &lines, &mut finds.named);
    spoken::find(text, &lines, &mut finds.named);
    finds.certain = indented::find(text, &lines, &mut finds.named);
    unpack(text, reader, &mut finds.named);
    finds
}

fn edits(text: &str, reader: &mut dyn Reader) -> Vec<Edit> {
    let mut finds = look(text, &[], reader);
    // As it stands and as it reads.
    if let Some(shadow) = Shadow::of(text) {
        let spans: Vec<(usize, usize)> = finds.documents.iter().map(|document| (document.start, document.end)).collect();
        let starts: Vec<(usize, usize)> = spans.iter().filter_map(|(start, end)| shadow.shadowed(*start, *end)).collect();
        let seen = look(&shadow.text, &starts, reader);
        let place = |hit: Hit| shadow.original(hit.start, hit.end).map(|(start, end)| Hit { start, end, ..hit });
        finds.named.extend(seen.named.into_iter().filter_map(place));
        for certain in seen.certain {
            let context = shadow.original(certain.context, certain.context + 1).map_or(0, |(start, _)| start);
            finds.certain.extend(place(certain.hit).map(|hit| indented::Certain { hit, context }));
        }
        for document in seen.documents {
            if let Some((start, end)) = shadow.original(document.start, document.end) {
                finds.documents.push(documents::Document { start, end, ..document });
            }
        }
        finds.documents.sort_by_key(|document| document.start);
    }
    merge(finds)
}

/// A document that something covers in part goes with it.
fn merge(finds: Finds) -> Vec<Edit> {
    let Finds { named, certain, documents } = finds;
    let around = |hit: &Hit| {
        let next = documents.partition_point(|document| document.start <= hit.start);
        next.checked_sub(1).and_then(|index| documents.get(index)).filter(|document| hit.end <= document.end)
    };
    // A document knows better what its members are, as long as it holds what says so.
    let is_own = |hit: &Hit| around(hit).is_some_and(|document| (document.start, document.end) != (hit.start, hit.end));
    let knows = |certain: &indented::Certain| around(&certain.hit).is_some_and(|document| document.start <= certain.context);
    let certain = certain.into_iter().filter(|certain| !knows(certain)).map(|certain| certain.hit);
    let mut hits: Vec<Hit> = named.into_iter().filter(|hit| !is_own(hit)).chain(certain).collect();
    hits = detect::apart(hits);
    let covering: Vec<Hit> = documents
        .iter()
        .filter(|document| {
            let next = hits.partition_point(|hit| hit.end <= document.start);
            hits.get(next).is_some_and(|hit| hit.start < document.end)
        })
        .filter(|document| document.with.is_some())
        .map(|document| Hit { kind: "secret", start: document.start, end: document.end })
        .collect();
    hits = detect::apart(hits.into_iter().chain(covering).collect());
    let is_free = |document: &documents::Document| {
        let next = hits.partition_point(|hit| hit.end <= document.start);
        hits.get(next).is_none_or(|hit| hit.start >= document.end)
    };
    let mut edits: Vec<Edit> = documents
        .into_iter()
        .filter(is_free)
        .filter_map(|document| {
            document.with.map(|with| Edit { start: document.start, end: document.end, kind: "secret", with: Some(with) })
        })
        .collect();
    edits.extend(hits.into_iter().map(|hit| Edit { start: hit.start, end: hit.end, kind: hit.kind, with: None }));
    edits.sort_by_key(|edit| edit.start);
    edits
}

fn apply(text: &str, edits: &[Edit]) -> String {
    let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        masked.push_str(text.get(from..edit.start).unwrap_or_default());
        match &edit.with {
            Some(with) => masked.push_str(with),
            None => masked.push_str(&format!("[redacted:{}]", edit.kind)),
        }
        from = edit.end;
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
}

/// Runs of base64 that hold something which would not be told in the clear.
fn unpack(text: &str, reader: &mut dyn Reader, hits: &mut Vec<Hit>) {
    for (start, end) in packed::runs(text, PACKED_MIN) {
        let Some(held) = text.get(start..end).and_then(packed::text) else { continue };
        if reader.enter() {
            let is_clean = edits(&held, &mut Quiet(reader)).is_empty() && detect::find(&held).is_empty();
            if !is_clean {
                hits.push(Hit { kind: "secret", start, end });
            }
        }
        reader.leave();
    }
}

/// A reader that is told nothing.
struct Quiet<'a>(&'a mut dyn Reader);

impl Reader for Quiet<'_> {
    fn document(&mut self, document: &Value) -> Value {
        self.0.document(document)
    }
    fn found(&mut self, _kind: &'static str) {}
    fn enter(&mut self) -> bool {
        self.0.enter()
    }
    fn leave(&mut self) {
        self.0.leave();
    }
}
