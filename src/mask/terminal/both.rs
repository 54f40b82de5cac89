//! Both streams of a program as whoever reads them together has them: a secret may lie across them, or begin on one and end on the other.

use crate::mask::detect;
use crate::mask::terminal::{CONTEXT_BYTES, Edit, LINE_MAX_BYTES, Stream, Terminal, tail};

/// The two streams as one text.
#[derive(Default)]
pub(super) struct Both {
    text: String,
    parts: Vec<Part>,
}

/// A stretch of it, and where it is in its stream.
struct Part {
    at: usize,
    length: usize,
    is_err: bool,
    place: usize,
}

impl Both {
    /// Finds that lie across the two streams, as stretches of each.
    pub(super) fn across(&self) -> [Vec<Edit>; 2] {
        let mut edits = [Vec::new(), Vec::new()];
        for hit in detect::find(&self.text) {
            let first = self.parts.partition_point(|part| part.at + part.length <= hit.start);
            let covered = self.parts.get(first..).unwrap_or_default().iter().take_while(|part| part.at < hit.end);
            let covered: Vec<&Part> = covered.filter(|part| part.length > 0).collect();
            if !covered.windows(2).any(|pair| matches!(pair, [one, other] if one.is_err != other.is_err)) {
                continue;
            }
            for part in covered {
                let (start, end) = (hit.start.max(part.at) - part.at, hit.end.min(part.at + part.length) - part.at);
                let [out, err] = &mut edits;
                (if part.is_err { err } else { out }).push((part.place + start, part.place + end, hit.kind));
            }
        }
        edits
    }

    /// Up to where each may be told: the other may go on with what it has begun.
    pub(super) fn limits(&self) -> [usize; 2] {
        let mut limits = [usize::MAX, usize::MAX];
        let near = self.text.floor_char_boundary(self.text.len().saturating_sub(LINE_MAX_BYTES));
        let begun = near + tail::unbegun(self.text.get(near..).unwrap_or_default());
        for part in self.parts.iter().rev().take_while(|part| part.at + part.length > begun) {
            let [out, err] = &mut limits;
            let limit = if part.is_err { err } else { out };
            *limit = (*limit).min(part.place + begun.saturating_sub(part.at));
        }
        limits
    }
}

impl Terminal {
    /// Both streams in the order in which they came, from what is looked at with what is not written down yet.
    pub(super) fn both(&self, is_whole: bool) -> Both {
        let mut both = Both::default();
        let is_told = |stream: &Stream| stream.written == stream.raw.len();
        if self.out.raw.is_empty() || self.err.raw.is_empty() || (!is_whole && is_told(&self.out) && is_told(&self.err)) {
            return both;
        }
        let mut at = [0, 0];
        let mut turns: Vec<(&str, bool, usize, bool)> = Vec::with_capacity(self.turns.len());
        for (is_err, length) in &self.turns {
            let (stream, place) = if *is_err { (&self.err, &mut at[1]) } else { (&self.out, &mut at[0]) };
            let text = stream.raw.get(*place..(*place + length).min(stream.raw.len())).unwrap_or_default();
            turns.push((text, *is_err, *place, is_whole || *place + length > stream.written));
            *place += length;
        }
        let mut first = turns.iter().position(|(.., is_new)| *is_new).unwrap_or(turns.len());
        let mut context = 0;
        while let Some((before, (text, ..))) = first.checked_sub(1).and_then(|before| Some((before, turns.get(before)?)))
            && context < CONTEXT_BYTES
        {
            context += text.len();
            first = before;
        }
        for (text, is_err, place, _) in turns.into_iter().skip(first) {
            both.parts.push(Part { at: both.text.len(), length: text.len(), is_err, place });
            both.text.push_str(text);
        }
        both
    }
}
