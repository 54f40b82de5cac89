//! The shadow of a text: what a reader would see in it, with the place of every character in the original.
//!
//! Full-width digits, zero-width characters, soft hyphens and the colours of a terminal hide a card number from a detector and from nobody else.
//! Detectors look at the shadow; what they find is cut out of the original. The shadow never stands in for the text: both are looked at, since
//! what is dropped between two numbers could join them into one that is none.

/// A text as it reads, and where each byte of it stands in the original.
pub(super) struct Shadow {
    pub(super) text: String,
    /// For each byte of `text`: start and end of the original character.
    spans: Vec<(usize, usize)>,
}

/// The longest title or link that a terminal sequence is believed to carry.
const SEQUENCE_MAX_BYTES: usize = 4096;

impl Shadow {
    /// The shadow, if it differs from the text; plain text is its own.
    pub(super) fn of(original: &str) -> Option<Self> {
        if original.is_ascii() && !original.bytes().any(|b| b == 0 || is_control(char::from(b))) {
            return None;
        }
        let mut text = String::with_capacity(original.len());
        let mut spans: Vec<(usize, usize)> = Vec::with_capacity(original.len());
        let mut resume = 0;
        for (at, c) in original.char_indices() {
            if at < resume {
                continue;
            }
            let mut end = at + c.len_utf8();
            if c == '\u{1b}' || c == '\u{9b}' {
                end = sequence(original.as_bytes(), at, end);
            }
            let dropped = is_hidden(c) || (is_control(c) && !(c == '\r' && original.as_bytes().get(end) == Some(&b'\n')));
            if dropped {
                // Joins what stands around it: belongs to the character before.
                if let Some((_, last_end)) = spans.last_mut() {
                    *last_end = end;
                }
                resume = end;
                continue;
            }
            let before = text.len();
            text.push(reads(c));
            spans.extend(std::iter::repeat_n((at, end), text.len() - before));
        }
        (text != original).then_some(Self { text, spans })
    }

    /// Where a stretch of the shadow stands in the original.
    pub(super) fn original(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let (from, _) = *self.spans.get(start)?;
        let (_, to) = *self.spans.get(end.checked_sub(1)?)?;
        Some((from, to))
    }

    /// Where a stretch of the original stands in the shadow.
    pub(super) fn shadowed(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let place = |wanted: usize| self.spans.partition_point(|(from, _)| *from < wanted);
        (place(start) < place(end)).then(|| (place(start), place(end)))
    }
}

/// What a reader takes the character for.
fn reads(c: char) -> char {
    match c {
        // Between variables of a process.
        '\0' => '\n',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
        '\u{a789}' | '\u{2236}' | '\u{fe55}' => ':',
        '\u{fe66}' => '=',
        '\u{fe6b}' => '@',
        '\u{2024}' | '\u{3002}' => '.',
        c if c.is_numeric() && !c.is_ascii() => c.to_digit(10).and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c),
        c => c,
    }
}

/// Takes no room of its own.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e01ef}')
}

/// Moves a cursor and shows nothing. A tab and the end of a line part words; they stay.
fn is_control(c: char) -> bool {
    (c.is_ascii_control() && !matches!(c, '\n' | '\t' | '\0')) || matches!(c, '\u{80}'..='\u{9f}')
}

/// Where a terminal sequence ends that begins at `start`; its introducer ends at `from`.
fn sequence(bytes: &[u8], start: usize, from: usize) -> usize {
    let is = |index: usize, wanted: std::ops::RangeInclusive<u8>| bytes.get(index).is_some_and(|b| wanted.contains(b));
    let mut end = from;
    if bytes.get(start) == Some(&0x1b) {
        match bytes.get(from) {
            Some(b'[') => end += 1,
            // A title or a link: to the bell or the string terminator.
            Some(b']' | b'P' | b'_' | b'^' | b'X') => {
                let body = bytes.get(from + 1..(from + SEQUENCE_MAX_BYTES).min(bytes.len())).unwrap_or_default();
                return match body.iter().position(|b| matches!(b, 0x07 | 0x1b | b'\n')).map(|length| (length, body.get(length))) {
                    Some((length, Some(0x07))) => from + length + 2,
                    Some((length, Some(0x1b))) if bytes.get(from + length + 2) == Some(&b'\\') => from + length + 3,
                    _ => from + 1,
                };
            }
            Some(b'(' | b')') if is(from + 1, b'0'..=b'Z') => return from + 2,
            // A letter after a lone escape may be part of the word.
            _ => return from,
        }
    }
    while is(end, 0x20..=0x3f) && end - start < 64 {
        end += 1;
    }
    if is(end, 0x40..=0x7e) { end + 1 } else { from }
}
