//! Programs whose words need more than a row: where one of them is a result, or a builtin of the shell.

use super::row::{Parsed, Row, Word, looks_like_a_flag};
use super::state::Job;
use crate::operation::Risk;

/// `uniq in out`, `xxd in out`: the second is written.
pub(super) fn in_and_out(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.iter().any(|word| matches!(word, Word::Paths(_))) {
        job.raise(Risk::Admin, "a pattern may make a second word, which is written");
    }
    if parsed.operands.iter().filter_map(Word::known).any(looks_like_a_flag) {
        job.raise(Risk::Admin, "a flag where only files are");
    }
    let mut operands = parsed.operands.iter();
    operands.next().into_iter().for_each(|word| job.reads(word));
    operands.for_each(|word| job.overwrites(word));
}

/// `cp`, `mv`, `ln`, `install`: from the first words to the last, or to `-t`.
fn transfer(job: &mut Job<'_>, parsed: &Parsed, spares: bool, from: fn(&mut Job<'_>, &Word)) {
    let target = parsed.values("-t --target-directory").last().map(|text| Word::Known(text.to_owned()));
    let (to, sources) = match (&target, parsed.operands.split_last()) {
        (Some(target), _) => (target, parsed.operands.as_slice()),
        (None, Some((last, first))) if !first.is_empty() => (last, first),
        _ => return job.raise(Risk::Admin, "names no place to put it"),
    };
    sources.iter().for_each(|word| from(job, word));
    let Some(dir) = to.single() else {
        return job.raise(Risk::Admin, "where it puts it is not known");
    };
    if spares {
        job.creates(to);
    } else {
        job.overwrites(to);
    }
    // Where that is a directory the name is that of the source, or all of it.
    let whole = parsed.has("--parents");
    let links = job.name() == "ln" || parsed.has_any("-l -s --link --symbolic-link");
    for source in sources {
        let (Word::Known(text) | Word::Paths(text)) = source else { continue };
        let name = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if links {
            // What is later done by the name of a link is done there.
            let parent = dir.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
            job.fence(text, matches!(source, Word::Paths(_)));
            if !text.starts_with(['/', '~']) {
                job.fence(&format!("{dir}/{text}"), false);
                if dir.contains('/') {
                    job.fence(&format!("{parent}/{text}"), false);
                }
            }
        }
        job.fence(&format!("{dir}/{}", if whole { text } else { name }), matches!(source, Word::Paths(_)));
    }
}

pub(super) fn cp(job: &mut Job<'_>, parsed: &Parsed) {
    let spares = parsed.has_any("-n --no-clobber") && !parsed.has_any("-f --force -i --interactive -u --update --remove-destination");
    let below = parsed.has_any("-r -R -a --recursive --archive");
    // What is in a folder comes under its own names, hidden ones too.
    let spills = |word: &Word| word.known().is_none_or(|text| text.ends_with('/') || text.ends_with("/.") || text == ".");
    if below && (parsed.has_any("-T --no-target-directory") || parsed.operands.iter().any(spills)) {
        job.raise(Risk::Admin, "copies whatever a folder has, under its own names");
    }
    let from: fn(&mut Job<'_>, &Word) = if below { |job, word| job.reads_below(word) } else { |job, word| job.reads(word) };
    transfer(job, parsed, spares, from);
}

/// A folder's names, or those of all that is below it.
pub(super) fn ls(job: &mut Job<'_>, parsed: &Parsed) {
    let tells = if parsed.has_any("-R --recursive") { Job::looks } else { Job::lists };
    if parsed.operands.is_empty() {
        tells(job, &Word::Known(".".to_owned()));
    }
    parsed.operands.iter().for_each(|word| tells(job, word));
}

pub(super) fn mv(job: &mut Job<'_>, parsed: &Parsed) {
    transfer(job, parsed, false, |job, word| job.deletes(word));
}

pub(super) fn ln(job: &mut Job<'_>, parsed: &Parsed) {
    transfer(job, parsed, !parsed.has_any("-f --force -i --interactive -b --backup -S --suffix"), |job, word| job.looks(word));
}

pub(super) fn tee(job: &mut Job<'_>, parsed: &Parsed) {
    let adds = parsed.has_any("-a --append");
    for word in &parsed.operands {
        if adds {
            job.creates(word);
        } else {
            job.overwrites(word);
        }
    }
}

/// `dd if=… of=…`.
pub(super) fn dd(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    for word in words {
        let Some((key, value)) = word.known().and_then(|text| text.split_once('=')) else {
            job.raise(Risk::Admin, "a word that is not known here");
            continue;
        };
        let path = Word::Known(value.to_owned());
        match key {
            "if" => job.reads(&path),
            "of" => job.overwrites(&path),
            "bs" | "ibs" | "obs" | "cbs" | "count" | "skip" | "seek" | "status" | "conv" | "iflag" | "oflag" => {}
            _ => job.refuse("does not know the word", key),
        }
    }
}

/// `chmod mode path…` and the like, which are of the highest risk anyway.
pub(super) fn second_on(job: &mut Job<'_>, parsed: &Parsed) {
    parsed.operands.iter().skip(1).for_each(|word| job.creates(word));
}

/// `date +format`; anything else sets the clock.
pub(super) fn date(job: &mut Job<'_>, parsed: &Parsed) {
    refuse_zones(job, parsed.values("-d --date"));
    if !parsed.operands.iter().all(|word| word.known().is_some_and(|text| text.starts_with('+'))) {
        job.raise(Risk::Admin, "sets the clock");
    }
}

/// `jq filter file…`; a module would be read from elsewhere.
pub(super) fn jq(job: &mut Job<'_>, parsed: &Parsed) {
    let Some((Word::Known(filter), files)) = parsed.operands.split_first() else {
        return job.raise(Risk::Admin, "has no filter that could be read");
    };
    if ["import", "include", "modulemeta", "get_search_list"].iter().any(|word| filter.contains(word)) {
        job.raise(Risk::Admin, "the filter reads modules");
    }
    files.iter().for_each(|file| job.reads(file));
}

/// `grep`: without files it reads the current directory if told to go down.
pub(super) fn grep(job: &mut Job<'_>, parsed: &Parsed) {
    let given = parsed.has_any("-e --regexp -f --file");
    if !given && matches!(parsed.operands.first(), Some(Word::Paths(_))) {
        job.raise(Risk::Admin, "the shell may make more than one word of the pattern");
    }
    let below = parsed.has_any("-r -R --recursive --dereference-recursive")
        || parsed.values("-d --directories").any(|value| !matches!(value, "read" | "skip"));
    let files = parsed.operands.get(usize::from(!given)..).unwrap_or_default();
    if files.is_empty() && below {
        job.reads_below(&Word::Known(".".to_owned()));
    }
    files.iter().for_each(|file| if below { job.reads_below(file) } else { job.reads(file) });
}

/// `diff`: of two directories, what is in them.
pub(super) fn diff(job: &mut Job<'_>, parsed: &Parsed) {
    parsed.operands.iter().for_each(|file| job.reads_below(file));
}

/// `strings`: like all of its kind it takes a word with `@` before it for a file of further words, wherever that word stands.
pub(super) fn strings(job: &mut Job<'_>, parsed: &Parsed) {
    refuse_lists(job, parsed);
    parsed.operands.iter().for_each(|file| job.reads(file));
}

/// Words that are files of further words.
pub(super) fn refuse_lists(job: &mut Job<'_>, parsed: &Parsed) {
    let operands = parsed.operands.iter().filter_map(|word| match word {
        Word::Known(text) | Word::Paths(text) => Some(text.as_str()),
        Word::Unknown => None,
    });
    let values = parsed.given.iter().filter_map(|(_, value)| value.as_deref());
    if let Some(word) = operands.chain(values).find(|word| word.starts_with('@')) {
        job.refuse("reads further words from the file", word);
    }
}

/// `iconv`: a name of an encoding with a `/` may be a file.
pub(super) fn iconv(job: &mut Job<'_>, parsed: &Parsed) {
    for name in parsed.values("-f -t --from-code --to-code") {
        let bare = name.strip_suffix("//IGNORE").unwrap_or(name);
        if bare.strip_suffix("//TRANSLIT").unwrap_or(bare).contains('/') {
            job.refuse("may read the encoding from the file", name);
        }
    }
    parsed.operands.iter().for_each(|file| job.reads(file));
}

/// Times, in which the zone may be a file.
fn refuse_zones<'a>(job: &mut Job<'_>, mut times: impl Iterator<Item = &'a str>) {
    if times.any(|time| time.contains("TZ")) {
        job.raise(Risk::Admin, "a time with a zone of its own, which may be a file");
    }
}

pub(super) fn touch(job: &mut Job<'_>, parsed: &Parsed) {
    refuse_zones(job, parsed.values("-d --date"));
    parsed.operands.iter().for_each(|word| job.creates(word));
}

/// `exit`, `return`, `break`, `continue`: some shells work the number out, which can run commands.
pub(super) fn number(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.len() > 1 || !parsed.operands.iter().all(is_number) {
        job.raise(Risk::Admin, "what is no plain number may be worked out");
    }
}

fn is_number(word: &Word) -> bool {
    word.known().is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn sleep(job: &mut Job<'_>, parsed: &Parsed) {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b".smhd".contains(&byte)) || text == "infinity";
    if !parsed.operands.iter().all(|word| word.known().is_some_and(plain)) {
        job.raise(Risk::Admin, "what is no plain time may be worked out");
    }
}

/// `kill`: what is known is a number, a signal or a job.
pub(super) fn kill(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+%".contains(&byte));
    if !words.iter().all(|word| *word == Word::Unknown || word.known().is_some_and(plain)) {
        job.raise(Risk::Admin, "what is no plain number may be worked out");
    }
    // The first process is the host; a negative number is a group, or everything there is.
    let is_wide = |text: &str| text == "1" || text.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    let mut operands = words.iter().skip(usize::from(words.first().and_then(Word::known).is_some_and(|text| text.starts_with('-'))));
    if operands.any(|word| word.known().is_none_or(is_wide)) {
        job.raise(Risk::Admin, "the first process, a group, or all of them");
    }
}

/// `zgrep`: a script around `grep`.
pub(super) fn zgrep(job: &mut Job<'_>, parsed: &Parsed) {
    single_lines(job, parsed);
    grep(job, parsed);
}

/// `zcat`: a script too.
pub(super) fn zcat(job: &mut Job<'_>, parsed: &Parsed) {
    single_lines(job, parsed);
    parsed.operands.iter().for_each(|word| job.reads(word));
}

/// Older versions of these scripts obey what stands after the end of a line in a file's name (CVE-2022-1271), and so must not be handed names that a
/// pattern finds.
fn single_lines(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.iter().any(|word| word.single().is_none_or(|text| text.contains('\n'))) {
        job.raise(Risk::Admin, "a pattern, or a word of more than one line, which the script may obey");
    }
}

/// `printf format …`: `%n` sets a variable, and numbers are worked out by some shells, which can run commands.
pub(super) fn printf(job: &mut Job<'_>, parsed: &Parsed) {
    let Some((Word::Known(format), rest)) = parsed.operands.split_first() else {
        return job.raise(Risk::Admin, "has no format that could be read");
    };
    let numbers = rest.iter().all(|word| word.known().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit())));
    for piece in format.replace("%%", "").split('%').skip(1) {
        match piece.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | ' ' | '+')).chars().next() {
            Some('s' | 'b' | 'c' | 'q') => {}
            Some('d' | 'i' | 'u' | 'x' | 'X' | 'o' | 'f') if numbers => {}
            _ => job.raise(Risk::Admin, "the format does more than print text"),
        }
    }
}

/// `test`, `[`: one test. What is not known could be `-v`, and that can run commands; so can numbers in some shells.
fn test(job: &mut Job<'_>, words: &[Word]) {
    if words.iter().any(|word| word.known().is_none()) {
        return job.raise(Risk::Admin, "tests what is not known here");
    }
    let words = match words.split_first() {
        Some((Word::Known(not), rest)) if not == "!" => rest,
        _ => words,
    };
    match words {
        [Word::Known(op), word] => match op.as_str() {
            "-n" | "-z" => {}
            "-e" | "-f" | "-d" | "-r" | "-w" | "-x" | "-s" | "-L" | "-h" | "-p" | "-S" | "-b" | "-c" | "-u" | "-g" | "-k" | "-O" | "-G" => {
                job.looks(word);
            }
            _ => job.refuse("does not know the test", op),
        },
        [left, Word::Known(op), right] => match op.as_str() {
            "=" | "!=" => {}
            "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" if is_number(left) && is_number(right) => {}
            "-nt" | "-ot" | "-ef" => [left, right].into_iter().for_each(|word| job.looks(word)),
            _ => job.refuse("does not know the test", op),
        },
        [Word::Known(_)] => {}
        _ => job.raise(Risk::Admin, "more than one plain test"),
    }
}

pub(super) fn test_row(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    test(job, words);
}

/// `[ … ]`.
pub(super) fn bracket_row(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    match words.split_last() {
        Some((Word::Known(end), words)) if end == "]" => test(job, words),
        _ => job.raise(Risk::Admin, "does not end with `]`"),
    }
}

/// `set -e` and the like; anything else changes how the shell reads what follows.
pub(super) fn set_row(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    let words: Vec<Option<&str>> = words.iter().map(Word::known).collect();
    match words.as_slice() {
        [Some("-e" | "-u" | "-eu")] | [Some("-o" | "-eo" | "-euo"), Some("pipefail")] => {}
        _ => job.raise(Risk::Admin, "changes how the shell reads what follows"),
    }
}

/// `read name…`.
pub(super) fn read(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.is_empty() || !parsed.operands.iter().all(|word| word.known().is_some_and(is_plain_variable)) {
        job.raise(Risk::Admin, "sets a variable that may mean something");
    }
}

/// Variables that no shell and no program gives a meaning to.
pub(super) fn is_plain_variable(name: &str) -> bool {
    const PLAIN: &[&str] = &[
        "arg", "count", "day", "dev", "dir", "disk", "entry", "f1", "file", "folder", "host", "item", "key", "line", "log", "name", "node",
        "num", "out", "pid", "pkg", "port", "proc", "res", "result", "service", "size", "svc", "target", "tmp", "unit", "val", "value",
        "word",
    ];
    matches!(name.as_bytes(), [byte] if byte.is_ascii_lowercase()) || PLAIN.contains(&name)
}
