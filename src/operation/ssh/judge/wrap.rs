//! Programs that run another one: they are seen through.

use super::row::{Parsed, Row, Word};
use super::state::{Job, State, shown};
use super::{script, table};
use crate::operation::Risk;

/// Directories whose programs are the system's.
const SYSTEM_DIRS: &[&str] = &["/bin", "/sbin", "/usr/bin", "/usr/sbin"];
/// Variables that change nothing but how things look, besides `LC_*`.
const HARMLESS: &[&str] = &["LANG", "TZ", "COLUMNS", "LINES", "NO_COLOR", "TERM"];
/// Ways to hand a shell its text, with options that change nothing of what is run.
const SHELL_TEXT: &[&str] = &["-c", "-ec", "-uc", "-euc", "-lc"];

/// Judges a program with its arguments.
pub(super) fn command(state: &mut State, words: &[Word]) {
    state.deeper(|state| {
        let Some((first, rest)) = words.split_first() else { return };
        let Some(written) = first.known() else {
            state.raise(None, Risk::Admin, "which program would run is not known before it runs");
            return;
        };
        let (name, known) = match written.rsplit_once('/') {
            Some((dir, name)) if SYSTEM_DIRS.contains(&dir) => (name, true),
            Some(_) => (written, false),
            None => (written, true),
        };
        // Past the last that is listed all is of the highest risk anyway, and hostile text would only take time.
        let Some(mut job) = Job::new(state, &shown(name)) else { return };
        match known.then(|| table::find(name)) {
            None => job.raise(Risk::Admin, "is not in a directory of the system's programs"),
            Some(None) => job.raise(Risk::Admin, "is not known here"),
            Some(Some(row)) => row.judge(&mut job, rest),
        }
    });
}

/// Whether setting a variable for a program changes nothing but how things look.
pub(super) fn is_harmless(name: &str, value: &Word) -> bool {
    // No `/`: `TZ` and others may name files by path.
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-@".contains(&byte)) && !text.contains("..");
    let tz = |text: &str| name == "TZ" && !text.starts_with('/') && text.split('/').all(plain);
    (HARMLESS.contains(&name) || name.starts_with("LC_")) && value.known().is_some_and(|text| plain(text) || tz(text))
}

/// `NAME=value`, if a word is that.
fn assignment(word: &Word) -> Option<(&str, Word)> {
    let (name, value) = word.known()?.split_once('=')?;
    Some((name, Word::Known(value.to_owned())))
}

/// The words after any `NAME=value`, which are judged.
fn after_assignments<'a>(job: &mut Job<'_>, mut words: &'a [Word]) -> &'a [Word] {
    while let Some((first, rest)) = words.split_first()
        && let Some((name, value)) = assignment(first)
    {
        if !is_harmless(name, &value) {
            job.refuse("sets the variable", name);
        }
        words = rest;
    }
    words
}

/// `nohup`, `setsid`, `sudo` and others: the operands are the command.
pub(super) fn plain(job: &mut Job<'_>, parsed: &Parsed) {
    let words = after_assignments(job, &parsed.operands);
    if words.first().and_then(Word::known).is_some_and(|word| matches!(word, "cd" | "builtin")) {
        job.raise(Risk::Admin, "changes the directory in a way that is not followed");
    }
    command(job.state, words);
}

/// `env NAME=value … command`.
pub(super) fn env(job: &mut Job<'_>, parsed: &Parsed) {
    let words = after_assignments(job, &parsed.operands);
    command(job.state, words);
}

/// `timeout 5 command`.
pub(super) fn timeout(job: &mut Job<'_>, parsed: &Parsed) {
    match parsed.operands.split_first() {
        Some((Word::Known(_), words)) if !words.is_empty() => command(job.state, words),
        _ => job.raise(Risk::Admin, "has no command that could be read"),
    }
}

/// `nice -n 5 command`: to be preferred to others takes a privilege.
pub(super) fn nice(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.values("-n --adjustment").any(|value| value.starts_with('-')) {
        job.raise(Risk::Admin, "raises the priority");
    }
    command(job.state, &parsed.operands);
}

/// `command -v name` looks it up, `command name` runs it.
pub(super) fn builtin_command(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.has_any("-v -V") {
        plain(job, parsed);
    }
}

/// Of `xargs -I word`, the last one counts; more than a few are no honest command.
const REPLACED_MAX: usize = 4;

/// What `xargs` reads could be anything, flags too.
pub(super) fn xargs(job: &mut Job<'_>, parsed: &Parsed) {
    let replaced: Vec<&str> = parsed.values("-I").collect();
    if replaced.len() > REPLACED_MAX {
        return job.raise(Risk::Admin, "more words that stand for others than are looked at");
    }
    let mut words: Vec<Word> = parsed
        .operands
        .iter()
        .map(|word| match word.known() {
            Some(text) if replaced.iter().any(|part| text.contains(part)) => Word::Unknown,
            _ => word.clone(),
        })
        .collect();
    if !words.is_empty() {
        words.push(Word::Unknown);
        command(job.state, &words);
    }
}

/// `watch` hands its words to a shell, as one text.
pub(super) fn watch(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.has_any("-x --exec") {
        return command(job.state, &parsed.operands);
    }
    let words: Option<Vec<&str>> = parsed.operands.iter().map(Word::known).collect();
    match words {
        Some(words) => {
            // By its name too, so that a policy that knows of shells knows of this one.
            drop(Job::new(job.state, "sh"));
            script::shell(job.state, &words.join(" "));
        }
        None => job.raise(Risk::Admin, "a word that is not known here becomes shell text"),
    }
}

/// `sh -c text`; anything else runs a file or the standard input. Only shells that read alike have this.
pub(super) fn sh(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    match words {
        [Word::Known(flag), Word::Known(text), ..] if SHELL_TEXT.contains(&flag.as_str()) => {
            if flag == "-lc" {
                job.raise(Risk::Write, "the flag -l runs the profile");
            }
            script::shell(job.state, text);
        }
        _ => job.raise(Risk::Admin, "runs text that is not seen here"),
    }
}

/// `export`: only variables that change nothing but how things look.
pub(super) fn export(job: &mut Job<'_>, parsed: &Parsed) {
    let rest = after_assignments(job, &parsed.operands);
    if !rest.is_empty() {
        job.raise(Risk::Admin, "exports a variable");
    }
}
