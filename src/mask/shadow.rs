//! The shadow of a text: what a reader would see in it, with the place of every character in the original.
//!
//! Full-width digits, zero-width characters and soft hyphens hide a card number from a detector and from nobody else. Detectors look at the
//! shadow; what they find is cut out of the original.

/// A text as it reads, and where each byte of it stands in the original.
pub(super) struct Shadow {
    pub(super) text: String,
    /// For each byte of `text`: start and end of the original character.
    spans: Vec<(usize, usize)>,
}

impl Shadow {
    /// The shadow, if it differs from the text; plain text is its own.
    pub(super) fn of(original: &str) -> Option<Self> {
        if original.is_ascii() {
            return None;
        }
        let mut text = String::with_capacity(original.len());
        let mut spans = Vec::with_capacity(original.len());
        for (at, c) in original.char_indices() {
            let end = at + c.len_utf8();
            let reads = match c {
                // Joins what stands around it: belongs to the character before.
                '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{180e}' | '\u{fe00}'..='\u{fe0f}' => {
                    if let Some(last) = spans.last_mut() {
                        let (_, last_end): &mut (usize, usize) = last;
                        *last_end = end;
                    }
                    continue;
                }
                '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
                '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
                '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
                '\u{fe6b}' => '@',
                '\u{2024}' | '\u{3002}' => '.',
                c if c.is_numeric() && !c.is_ascii() => c.to_digit(10).and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c),
                c => c,
            };
            let before = text.len();
            text.push(reads);
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
}
