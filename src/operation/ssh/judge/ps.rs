//! `ps`: it takes words in three ways, and in one of them `e` shows the environment of processes.
//!
//! A word with a `-` holds options of UNIX, of which some take the rest of it or the next word; one without holds options of BSD. What cannot be read so,
//! `-xe` or a user whom the host does not know, is read again with all of it as BSD's. So it is read in both ways here, unless the first is sure to do.

use super::row::{Row, Word};
use super::state::Job;
use super::verbs;

/// Options of UNIX that take a value.
const TAKE: &str = "CGUOgnopstukq";
/// Those of them whose value may be one that the host does not know.
const LOOK_UP: &str = "Gugnstkq";
/// Options of UNIX, and those that do not go with formats of one's own or with each other.
const UNIX: &str = "AadeNfFlyjcwHLTmMZPCGUOognpstu";
const FORMATS: &str = "fFljcMZyP";
const THREADS: &str = "HLTm";
/// Options of BSD that take a value, and letters that are none.
const BSD_TAKE: &str = "kOopUq";
const BSD_UNKNOWN: &str = "bdiyz";
/// Long options that take a value.
const LONG: [&str; 15] =
    ["User", "Group", "format", "pid", "ppid", "sid", "sort", "tty", "user", "group", "columns", "cols", "rows", "width", "lines"];

/// Long options that go with any others.
const APART: [&str; 13] =
    ["forest", "no-headers", "no-heading", "headers", "deselect", "sort", "pid", "ppid", "columns", "cols", "rows", "width", "lines"];

type Words<'a> = std::iter::Copied<std::slice::Iter<'a, &'a str>>;

/// Passes over a long option and its value, if the word is one.
fn is_long(word: &str, rest: &mut Words<'_>) -> bool {
    let Some(long) = word.strip_prefix("--") else { return false };
    if LONG.contains(&long) {
        rest.next();
    }
    true
}

/// What the letters of BSD's options say: whether `e` is among them, or nothing where one of them is none.
fn shows(letters: &str, rest: &mut Words<'_>) -> Option<bool> {
    for (at, letter) in letters.char_indices() {
        match letter {
            'e' | 'E' => return Some(true),
            letter if BSD_TAKE.contains(letter) => {
                if at + 1 == letters.len() {
                    rest.next();
                }
                return Some(false);
            }
            letter if BSD_UNKNOWN.contains(letter) || !letter.is_ascii_alphanumeric() => return None,
            _ => {}
        }
    }
    Some(false)
}

/// The first way: whether it shows environments, and whether `ps` is sure to read it so.
fn unix(words: &[&str]) -> (bool, bool) {
    let (mut shown, mut sure, mut options) = (false, true, String::new());
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        if let Some(long) = word.strip_prefix("--") {
            sure &= APART.contains(&long.split_once('=').map_or(long, |(name, _)| name));
            // The same as `-H`.
            options.extend((long == "forest").then_some('H'));
            is_long(word, &mut rest);
            continue;
        }
        let Some(letters) = word.strip_prefix('-') else {
            shown |= shows(word, &mut rest).unwrap_or_else(|| word.contains(['e', 'E']));
            sure = false;
            continue;
        };
        for (at, letter) in letters.char_indices() {
            options.push(letter);
            if TAKE.contains(letter) {
                let attached = letters.get(at + letter.len_utf8()..).filter(|value| !value.is_empty());
                let known = |value: &str| value == "root" || value.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
                sure &= attached.or_else(|| rest.next()).is_some_and(|value| !LOOK_UP.contains(letter) || known(value));
                break;
            }
        }
    }
    let has = |set: &str| options.chars().filter(|letter| set.contains(*letter)).count();
    sure &= has(UNIX) == options.chars().count() && has(THREADS) < 2 && (has("o") == 0 || has(FORMATS) == 0);
    // What it falls back to beside threads or a deselection sorts by that, and reads the other letters anew.
    sure &= has("O") == 0;
    (shown, sure)
}

/// The second way: whether it shows environments. What is read in neither way shows nothing.
fn bsd(words: &[&str]) -> bool {
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        if is_long(word, &mut rest) || word.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        match shows(word.trim_start_matches('-'), &mut rest) {
            Some(false) => {}
            Some(true) => return true,
            None => return false,
        }
    }
    false
}

pub(super) fn ps(job: &mut Job<'_>, row: &'static Row, words: &[Word]) {
    let known: Vec<&str> = words.iter().filter_map(Word::known).collect();
    let (shown, sure) = unix(&known);
    if shown || !sure && bsd(&known) || known.iter().any(|word| word.contains("environ")) {
        job.refuse("shows the environment of processes, or may, by", &known.join(" "));
    }
    let parsed = row.parse(job, words);
    verbs::names(job, &parsed);
}
