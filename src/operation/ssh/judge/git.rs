//! `git`: its options, and then a subcommand with a row of its own.

use super::row::{Parsed, Row, Word};
use super::state::Job;
use super::table;
use crate::operation::Risk;

/// Judges the words after `git`. Every subcommand is at least a write: the repository's own configuration may name programs to run.
pub(super) fn judge(job: &mut Job<'_>, _: &'static Row, words: &[Word]) {
    let mut words = words.iter();
    let dirs = job.state.dirs.clone();
    while let Some(word) = words.next() {
        match word.known() {
            Some("--no-pager" | "--no-optional-locks" | "--literal-pathspecs") => {}
            Some("-C") => match words.next() {
                Some(Word::Known(dir)) => {
                    job.looks(&Word::Known(dir.clone()));
                    job.state.enter(dir);
                }
                _ => return job.raise(Risk::Admin, "the flag -C has no directory that is known here"),
            },
            Some("--version") => return,
            Some(name) => {
                let rest: Vec<Word> = words.cloned().collect();
                match table::find(&format!("git {name}")) {
                    Some(row) => row.judge(job, &rest),
                    None => job.refuse("does not know the subcommand or option", name),
                }
                job.state.dirs = dirs;
                return;
            }
            None => return job.raise(Risk::Admin, "the subcommand is not known before it runs"),
        }
    }
    job.raise(Risk::Admin, "has no subcommand");
}

/// Names of commits and of files cannot be told apart, so that whatever may be a file is listed.
pub(super) fn revisions(job: &mut Job<'_>, parsed: &Parsed) {
    for word in &parsed.operands {
        if !word.known().is_some_and(|text| text.contains([':', '^', '~', '@', '{']) || text.contains("..") && !text.contains('/')) {
            job.looks(word);
        }
    }
}

/// `git branch` and `git tag` list unless there is a name.
pub(super) fn names(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.operands.is_empty() && !parsed.has_any("-l --list -d -D --delete --contains --merged --no-merged --points-at") {
        job.raise(Risk::Write, "makes a branch or a tag");
    }
}

/// `git remote` only lists here.
pub(super) fn remote(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.operands.is_empty() {
        job.raise(Risk::Admin, "does more than list");
    }
}

/// `git stash list`, `git worktree list`.
pub(super) fn lists(job: &mut Job<'_>, parsed: &Parsed) {
    if !matches!(parsed.operands.as_slice(), [Word::Known(verb)] if verb == "list") {
        job.raise(Risk::Admin, "does more than list");
    }
}

/// `git config` only reads here: what it sets may be programs.
pub(super) fn config(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.has_any("-l --list --get --get-all --get-regexp") || parsed.operands.len() > 1 {
        job.raise(Risk::Admin, "changes the configuration");
    }
}
