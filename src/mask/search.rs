//! Looking for words in texts that are mostly short and mostly hold none of them: a searcher costs more to make than to look for one byte.

/// Where the word stands, from left to right, without overlaps.
pub(super) fn every<'t>(text: &'t [u8], word: &'t [u8]) -> impl Iterator<Item = usize> + 't {
    let has = |byte: Option<&u8>| byte.is_some_and(|byte| memchr::memchr(*byte, text).is_some());
    // The last byte first: in `password ` and `://` it is the rarer one.
    let may = has(word.last()) && has(word.first());
    may.then(|| memchr::memmem::find_iter(text, word)).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        let places = |text: &str, word: &str| every(text.as_bytes(), word.as_bytes()).collect::<Vec<_>>();
        assert_eq!(places("a://b://", "://"), [1, 5]);
        assert_eq!(places("://", "://"), [0]);
        for none in ["", "a", "://".get(..2).unwrap_or_default(), "/:/"] {
            assert_eq!(places(none, "://"), [0_usize; 0], "{none}");
        }
    }
}
