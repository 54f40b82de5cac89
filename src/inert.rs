//! Text from outside as people may read it: whatever a terminal obeys, a renderer reorders or an eye cannot see is written out, and counted.
//!
//! It must never decide what is dangerous to *do*: it only keeps what is read from differing from what is there. What makes HTML, Slack or Markdown
//! obey is escaped where that format is written; here is what every one of them would let through. An escape looks as Rust writes it, `\u{202e}`, so that
//! a reader sees which character it was.

/// Marks that may stand on one letter; more of them paint over the lines around.
const MARKS_MAX: usize = 2;

/// Text without anything hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inert {
    /// As it may be shown: lines are kept, everything else that is not to be seen is written out.
    pub text: String,
    /// Characters that were written out because nobody would have seen them as they are.
    pub hidden: usize,
    /// Letters that are not ASCII: one of them may look like another letter.
    pub foreign: usize,
}

impl Inert {
    /// Of a text of any kind. Two texts that differ look different: a tab is no space, and `\r\n` no mere line's end.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut inert = Self::default();
        let mut marks = 0;
        for c in text.chars() {
            marks = if is_mark(c) { marks + 1 } else { 0 };
            match c {
                '\n' => inert.text.push('\n'),
                c if c.is_control() || is_invisible(c) || marks > MARKS_MAX => {
                    inert.hidden += 1;
                    inert.text.extend(c.escape_unicode());
                }
                c => {
                    inert.foreign += usize::from(!c.is_ascii() && c.is_alphanumeric());
                    inert.text.push(c);
                }
            }
        }
        inert
    }

    /// The same on one line.
    #[must_use]
    pub fn line(text: &str) -> Self {
        let inert = Self::of(text);
        Self { text: inert.text.replace('\n', " "), ..inert }
    }

    /// Its first characters, at most `longest` of them, and how many are left out.
    #[must_use]
    pub fn first(&self, longest: usize) -> (&str, usize) {
        match self.text.char_indices().nth(longest) {
            Some((at, _)) => {
                let (first, rest) = self.text.split_at(at);
                (first, rest.chars().count())
            }
            None => (&self.text, 0),
        }
    }
}

/// One line without anything hidden, for a cell or a message.
#[must_use]
pub fn inert(text: &str) -> String {
    Inert::line(text).text
}

/// Combining marks: of the blocks that hold nothing else, and those of Hebrew, Arabic, Syriac, Devanagari, Thai, Lao and Tibetan, which stack as well.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}'
        | '\u{730}'..='\u{74a}' | '\u{900}'..='\u{902}' | '\u{93c}' | '\u{941}'..='\u{948}' | '\u{94d}' | '\u{951}'..='\u{957}'
        | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eb1}' | '\u{eb4}'..='\u{ebc}' | '\u{ec8}'..='\u{ece}'
        | '\u{f71}'..='\u{f84}' | '\u{f8d}'..='\u{fbc}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Zero-width, bidirectional, blank and other formatting characters, and what no font has.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{13430}'..='\u{1343f}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out_and_counted() {
        for (given, shown, hidden) in [
            ("SELECT 1", "SELECT 1", 0),
            ("a\u{202e}b", "a\\u{202e}b", 1),
            ("del\u{200b}ete", "del\\u{200b}ete", 1),
            ("\u{1b}[2J", "\\u{1b}[2J", 1),
            ("a\rb\r\nc\td", "a\\u{d}b\\u{d}\nc\\u{9}d", 3),
            ("\u{e01}\u{e49}\u{e49}\u{e49}", "\u{e01}\u{e49}\u{e49}\\u{e49}", 1),
            ("x\u{e0041}\u{e0042}", "x\\u{e0041}\\u{e0042}", 2),
            ("e\u{301}\u{301}\u{301}", "e\u{301}\u{301}\\u{301}", 1),
            ("a\u{a0}b\u{2800}", "a\\u{a0}b\\u{2800}", 2),
        ] {
            let inert = Inert::of(given);
            assert_eq!((inert.text.as_str(), inert.hidden), (shown, hidden), "{given:?}");
        }
        assert_eq!(Inert::of("p\u{430}ypal").foreign, 1);
        assert_eq!(inert("a\nb"), "a b");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let inert = Inert::of("abcdef");
        assert_eq!((inert.first(4), inert.first(6), inert.first(9)), (("abcd", 2), ("abcdef", 0), ("abcdef", 0)));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_was_made_inert_is_ever_hidden(text in proptest::prelude::any::<String>()) {
            let once = Inert::of(&text);
            proptest::prop_assert_eq!(Inert::of(&once.text), Inert { hidden: 0, ..once });
        }
    }
}
