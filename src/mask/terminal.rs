//! What a program writes and what a file holds: streams of bytes that come in pieces of any size, of which a secret may lie across two.
//!
//! The answer is masked as a whole, once the program has ended. The recording cannot wait for that: it is written down as it grows, up to the last line
//! that is whole, each part masked with what stands before it; and what then has waited for a tick, but for what may be the beginning of a secret
//! (`tail`). Both streams are read together as well, in the order in which they came: half of a card's number in each is a card's number. What is no
//! text is told by its length.

mod both;
mod tail;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::mask::apply::{Masked, MaskedPiece, Piece};
use crate::mask::report::MaskReport;
use crate::mask::{detect, said};

/// Bytes before a part that are looked at with it.
const CONTEXT_BYTES: usize = 32 * 1024;
/// Bytes at the end of what came that are not written down yet: what they belong to may be still to come.
const HELD_BYTES: usize = 256;
/// The longest line that is held back whole.
const LINE_MAX_BYTES: usize = 16 * 1024;

/// A stream of bytes, read as text.
#[derive(Default)]
pub(super) struct Stream {
    raw: String,
    /// The beginning of a character whose end is to come.
    begun: Vec<u8>,
    /// Up to where it was written down.
    written: usize,
    /// Up to where it was there a tick ago.
    waited: usize,
    /// More came than is kept.
    is_withheld: bool,
    bytes: usize,
    /// Bytes that are of no character.
    odd: usize,
    has_nul: bool,
}

/// Of so many bytes one may be of no character before a stream is taken for something else than text.
const ODD_SHARE: usize = 10;

/// A program's two streams, and the recording of them.
#[derive(Default)]
pub(super) struct Terminal {
    out: Stream,
    err: Stream,
    /// Which stream had how many bytes, in the order in which they came.
    turns: Vec<(bool, usize)>,
    header: Option<Value>,
    /// When something was last written down, in milliseconds.
    at: u64,
}

/// As many turns of the two streams are looked at together; what comes after them is not told.
const TURNS_MAX: usize = 65_536;
/// Stands for what is not told.
const WITHHELD: &str = "[redacted:content]";

impl Stream {
    fn push(&mut self, bytes: &[u8]) -> usize {
        let before = self.raw.len();
        self.bytes += bytes.len();
        if self.is_withheld {
            return 0;
        }
        let bytes = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.raw.push_str(chunk.valid());
            let odd = chunk.invalid();
            if chunks.peek().is_none() && std::str::from_utf8(odd).is_err_and(|error| error.error_len().is_none()) {
                self.begun = odd.to_vec();
            } else if !odd.is_empty() {
                self.odd += odd.len();
                self.raw.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.has_nul = self.has_nul || self.raw.get(before..).is_some_and(|new| new.contains('\0'));
        self.raw.len() - before
    }

    const fn is_binary(&self) -> bool {
        self.has_nul || self.odd * ODD_SHARE > self.bytes
    }

    /// Up to where it may be written down: whole lines, but for the last few bytes.
    fn safe(&self) -> usize {
        let end = self.raw.floor_char_boundary(self.raw.len().saturating_sub(HELD_BYTES));
        let line = self.raw.get(..end).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
        if end.saturating_sub(line.max(self.written)) > LINE_MAX_BYTES { end } else { line }
    }

    /// Nothing more is kept, nor what the rest would have made a secret of.
    fn withhold(&mut self) {
        let end = self.raw.floor_char_boundary(self.raw.len().saturating_sub(HELD_BYTES));
        self.raw.truncate(end.max(self.written));
        self.waited = self.waited.min(self.raw.len());
        self.is_withheld = true;
    }

    /// Up to where it may be written down once more: of what has waited, all that is no secret whatever comes, and that what came since makes none.
    fn ready(&self, limit: usize, edits: &[Edit]) -> usize {
        let safe = self.safe().max(self.written);
        // What was told already may have opened what goes on.
        let near = self.raw.floor_char_boundary(safe.saturating_sub(HELD_BYTES));
        let waiting = self.raw.get(near..self.waited).unwrap_or_default();
        let to = (near + tail::settled(waiting)).min(limit);
        if self.is_binary() || to <= safe {
            return safe;
        }
        let begin = context_begin(&self.raw, self.written);
        let masked = |end: usize| said(&mut MaskReport::default(), "", &edited(&self.raw, begin, end, edits));
        if to == self.raw.len() || masked(self.raw.len()).starts_with(&masked(to)) { to } else { safe }
    }

    /// What has come since, masked with what stands before it.
    fn advance(&mut self, to: usize, edits: &[Edit]) -> String {
        let (from, to) = (self.written, to.max(self.written));
        self.written = to;
        if self.is_binary() || from == to {
            return String::new();
        }
        let part = edited(&self.raw, from, to, edits);
        between(&self.raw, from, &part, &mut MaskReport::default())
    }

    fn whole(&self, edits: &[Edit], report: &mut MaskReport, path: &str) -> String {
        if self.is_binary() {
            return described(self.bytes);
        }
        edits.iter().for_each(|(.., kind)| report.count(path, &format!("content:{kind}")));
        let mut whole = said(report, path, &edited(&self.raw, 0, self.raw.len(), edits));
        if self.is_withheld {
            report.count(path, "content:too_mixed");
            whole.push_str(WITHHELD);
        }
        whole
    }
}

/// From where to where something is cut out of a text, and what it was.
type Edit = (usize, usize, &'static str);

/// A part of a text with labels for what is cut out of it.
fn edited(text: &str, begin: usize, to: usize, edits: &[Edit]) -> String {
    let (mut part, mut from) = (String::with_capacity(to.saturating_sub(begin)), begin);
    for (start, end, kind) in edits.iter().filter(|(start, end, _)| *end > begin && *start < to) {
        part.push_str(text.get(from..(*start).max(from)).unwrap_or_default());
        part.push_str(&format!("[redacted:{kind}]"));
        from = (*end).min(to).max(from);
    }
    part.push_str(text.get(from..to).unwrap_or_default());
    part
}

fn described(bytes: usize) -> String {
    format!("({bytes} bytes that are no text, not shown)")
}

/// Where what is looked at with a part begins.
fn context_begin(text: &str, from: usize) -> usize {
    let begin = text.floor_char_boundary(from.saturating_sub(CONTEXT_BYTES));
    let line = || text.get(begin..from).and_then(|context| context.find('\n')).map_or(0, |at| at + 1);
    if begin > 0 { begin + line() } else { 0 }
}

/// A part that follows on a text's beginning, masked with it: the masked whole without what the masked beginning has in common with it.
fn between(text: &str, from: usize, part: &str, report: &mut MaskReport) -> String {
    let begin = context_begin(text, from);
    let context = text.get(begin..from).unwrap_or_default();
    let before = said(&mut MaskReport::default(), "", context);
    let whole = said(report, "/content", &[context, part].concat());
    let common = before.bytes().zip(whole.bytes()).take_while(|(one, other)| one == other).count();
    whole.get(whole.floor_char_boundary(common)..).unwrap_or_default().to_owned()
}

impl Terminal {
    fn wrote(&mut self, is_err: bool, bytes: &[u8]) {
        if self.turns.len() == TURNS_MAX && self.turns.last().is_some_and(|(last, _)| *last != is_err) {
            self.out.withhold();
            self.err.withhold();
        }
        let stream = if is_err { &mut self.err } else { &mut self.out };
        let length = stream.push(bytes);
        match self.turns.last_mut() {
            Some((last, total)) if *last == is_err => *total += length,
            _ if stream.is_withheld => {}
            _ => self.turns.push((is_err, length)),
        }
    }

    fn lines(&mut self, at: u64, exit: Option<&Value>) -> String {
        let ends = exit.is_some();
        let mut lines = String::new();
        if let Some(header) = self.header.take() {
            lines.push_str(&header.to_string());
            lines.push('\n');
        }
        let header = lines.len();
        let mut passed = at.saturating_sub(self.at);
        let both = self.both(ends);
        let ([out, err], [out_limit, err_limit]) = (both.across(), both.limits());
        for (stream, edits, limit) in [(&mut self.out, out, out_limit), (&mut self.err, err, err_limit)] {
            let to = if ends { stream.raw.len() } else { stream.ready(limit, &edits) };
            let mut text = stream.advance(to, &edits);
            stream.waited = stream.raw.len();
            if ends && stream.is_binary() {
                text = described(stream.bytes);
            } else if ends && stream.is_withheld {
                text.push_str(WITHHELD);
            }
            if !text.is_empty() {
                // A terminal goes to the beginning of a line by itself only if it is told to.
                let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
                lines.push_str(&json!([seconds(passed), "o", text]).to_string());
                lines.push('\n');
                passed = 0;
            }
        }
        if let Some(exit) = exit {
            lines.push_str(&json!([seconds(passed), "x", exit]).to_string());
            lines.push('\n');
        }
        // The header takes no time.
        if lines.len() > header {
            self.at = at;
        }
        lines
    }
}

fn both_streams(out: &str, err: &str) -> Value {
    json!({ "stdout": out, "stderr": err })
}

fn seconds(ms: u64) -> f64 {
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1_000.0
}

impl Masked {
    /// What a program writes is gathered, and told when there is something to tell.
    pub(super) fn quiet(&mut self, piece: Option<Piece>) -> Option<MaskedPiece> {
        match piece {
            Some(Piece::Began { command, timestamp }) => {
                self.began(&command, timestamp);
                None
            }
            Some(Piece::Wrote { is_err, bytes }) => {
                self.wrote(is_err, &bytes);
                None
            }
            Some(Piece::Ticked { at }) => self.ticked(at),
            Some(Piece::Ran { document, exit, at }) => self.ran(document, &exit, at, both_streams),
            Some(Piece::Said { document, exit, at, telling }) => self.ran(document, &exit, at, telling),
            piece => Some(self.piece(piece)),
        }
    }

    /// A program has begun: what the recording says of it.
    fn began(&mut self, command: &str, timestamp: i64) {
        let command = said(&mut MaskReport::default(), "", command);
        let header = json!({ "version": 3, "term": { "cols": 120, "rows": 40 }, "timestamp": timestamp, "command": command });
        self.terminal = Some(Terminal { header: Some(header), ..Terminal::default() });
    }

    fn wrote(&mut self, is_err: bool, bytes: &[u8]) {
        if let Some(terminal) = &mut self.terminal {
            terminal.wrote(is_err, bytes);
        }
    }

    /// It is time to write down.
    fn ticked(&mut self, at: u64) -> Option<MaskedPiece> {
        let mut terminal = self.terminal.take()?;
        let text = terminal.lines(at, None);
        self.terminal = Some(terminal);
        (!text.is_empty()).then_some(MaskedPiece::Recorded { text, is_last: false })
    }

    /// The end of the recording, if there is one.
    pub(super) fn last_of_recording(&mut self, at: Option<u64>, exit: &Value) -> Option<MaskedPiece> {
        let mut terminal = self.terminal.take()?;
        let text = terminal.lines(at.unwrap_or(terminal.at), Some(exit));
        self.terminal = Some(terminal);
        Some(MaskedPiece::Recorded { text, is_last: true })
    }

    /// The end of a program: the last part of the recording, and after it what is told.
    fn ran(&mut self, mut document: Value, exit: &Value, at: u64, telling: fn(&str, &str) -> Value) -> Option<MaskedPiece> {
        let last = self.last_of_recording(Some(at), exit);
        let (out, err) = self.streams();
        if let (Some(members), Value::Object(more)) = (document.as_object_mut(), telling(&out, &err)) {
            members.extend(more);
        }
        self.waiting = Some(MaskedPiece::Document(document));
        last.or_else(|| self.waiting.take())
    }

    /// What a program had written when it was stopped or lost, as it is told.
    pub(super) fn partial(&mut self, stopped: Option<bool>) -> Option<Value> {
        self.terminal.as_ref()?;
        let (out, err) = self.streams();
        Some(json!({ "exit_code": null, "signal": null, "stdout": out, "stderr": err, "truncated": false, "stopped_confirmed": stopped }))
    }

    /// Both streams whole, as they are told.
    fn streams(&mut self) -> (String, String) {
        let Some(terminal) = self.terminal.take() else { return Default::default() };
        let [out, err] = terminal.both(true).across();
        (terminal.out.whole(&out, &mut self.report, "/stdout"), terminal.err.whole(&err, &mut self.report, "/stderr"))
    }

    /// What a file holds, masked with what stands before it.
    pub(super) fn content(&mut self, before: &[u8], content: &[u8], base64: bool) -> Value {
        use base64::Engine as _;
        let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let whole = [before, content].concat();
        let mut stream = Stream::default();
        // A part may begin and end within a character.
        let inner = whole.iter().take(3).take_while(|b| (0x80..0xC0).contains(*b)).count();
        stream.push(whole.get(inner..).unwrap_or_default());
        if stream.is_binary() {
            let lossy = String::from_utf8_lossy(&whole);
            let is_clean = detect::find(&lossy).is_empty();
            return match base64 && is_clean {
                true => json!({ "content": encoded(content), "encoding": "base64" }),
                false => json!({ "content": described(content.len()), "encoding": "none" }),
            };
        }
        let from = stream.raw.floor_char_boundary(before.len().saturating_sub(inner).min(stream.raw.len()));
        let part = stream.raw.get(from..).unwrap_or_default().to_owned();
        let text = between(&stream.raw, from, &part, &mut self.report);
        let is_as_it_was = stream.raw.get(from..) == Some(text.as_str());
        let mut told = match base64 {
            true => json!({ "content": encoded(text.as_bytes()), "encoding": "base64" }),
            false => json!({ "content": text, "encoding": "utf8" }),
        };
        // A hash of what is hidden would say whether a guess at it is right.
        if let (Some(members), false) = (told.as_object_mut(), is_as_it_was) {
            members.insert("sha256".to_owned(), Value::Null);
        }
        told
    }
}
