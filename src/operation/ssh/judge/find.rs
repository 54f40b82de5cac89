//! `find`: tests, and actions that run or change something.

use super::row::{Row, Value, Word};
use super::state::{Dir, Job};
use super::wrap;
use crate::operation::Risk;

/// Judges the words of `find`; its flags are in the row, the actions are here.
pub(super) fn judge(job: &mut Job<'_>, row: &'static Row, words: &[Word]) {
    let is_start = |word: &&Word| match word {
        Word::Known(text) => !text.starts_with(['-', '(', ')', '!', ',']),
        Word::Paths(_) => true,
        Word::Unknown => false,
    };
    // `-H`, `-L` and `-P` come before the places to start from.
    let links = words.iter().take_while(|word| word.known().is_some_and(|text| matches!(text, "-H" | "-L" | "-P"))).count();
    let rest = words.get(links..).unwrap_or_default();
    let count = rest.iter().take_while(is_start).count();
    let mut starts: Vec<Word> = rest.iter().take(count).cloned().collect();
    if starts.is_empty() {
        starts.push(Word::Known(".".to_owned()));
    }
    starts.iter().for_each(|start| job.looks(start));
    if rest.get(count).and_then(Word::known).is_some_and(|text| matches!(text, ")" | ",")) {
        job.raise(Risk::Admin, "starts with what may be a path or a part of a test");
    }
    let mut words = rest.get(count..).unwrap_or_default();
    while let Some((word, after)) = words.split_first() {
        words = after;
        let Some(text) = word.known() else {
            job.raise(Risk::Admin, "a word that is not known here could be an action");
            continue;
        };
        match text {
            "(" | ")" | "!" | "," => {}
            "-exec" => words = exec(job, &starts, words),
            "-execdir" => {
                // It runs where the file is: no relative path in it is known.
                let dirs = std::mem::replace(&mut job.state.dirs, vec![Dir::Lost]);
                words = exec(job, &starts, words);
                job.state.dirs = dirs;
            }
            "-delete" => starts.iter().for_each(|start| job.deletes(start)),
            _ => match row.find(text) {
                Some((_, flags)) => {
                    let wanted = if text == "-fprintf" { 2 } else { usize::from(flags.value != Value::None) };
                    words = values(job, text, flags.value, words, wanted);
                }
                None => job.refuse("does not know the test or action", text),
            },
        }
    }
}

fn values<'a>(job: &mut Job<'_>, flag: &str, value: Value, words: &'a [Word], wanted: usize) -> &'a [Word] {
    if words.len() < wanted {
        job.refuse("a value is missing, of", flag);
    }
    for (index, word) in words.iter().take(wanted).enumerate() {
        match (value, word) {
            // The second of `-fprintf` is its format.
            (Value::Writes, _) if index == 0 => job.overwrites(word),
            (Value::Looks | Value::Reads, _) => job.looks(word),
            (_, Word::Known(time)) if flag.starts_with("-newer") && time.contains("TZ") => job.refuse("a zone, which may be a file:", time),
            (_, Word::Known(_)) => {}
            _ => job.refuse("a value that is not known here, of", flag),
        }
    }
    words.get(wanted..).unwrap_or_default()
}

/// Words of a command that is made of what was found.
const WORDS_MAX: usize = 512;

/// `-exec command {} ;` or `… {} +`. What was found is below a start, so that it never looks like a flag.
fn exec<'a>(job: &mut Job<'_>, starts: &[Word], words: &'a [Word]) -> &'a [Word] {
    let mut command = Vec::new();
    let mut brace = false;
    for (index, word) in words.iter().enumerate() {
        match word.known() {
            Some(";") => {
                wrap::command(job.state, &command);
                return words.get(index + 1..).unwrap_or_default();
            }
            Some("+") if brace => {
                wrap::command(job.state, &command);
                return words.get(index + 1..).unwrap_or_default();
            }
            Some("{}") if command.len() + starts.len() > WORDS_MAX => {
                job.raise(Risk::Admin, "more words than are looked at");
                command.push(Word::Unknown);
            }
            Some("{}") => command.extend(starts.iter().map(below)),
            Some(text) if text.contains("{}") => command.push(Word::Unknown),
            _ => command.push(word.clone()),
        }
        brace = word.known() == Some("{}");
    }
    job.raise(Risk::Admin, "the command of -exec does not end");
    &[]
}

fn below(start: &Word) -> Word {
    match start {
        Word::Known(text) | Word::Paths(text) => Word::Paths(text.clone()),
        Word::Unknown => Word::Unknown,
    }
}
