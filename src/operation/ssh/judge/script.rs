//! The walk through what was read of a shell text.

use super::reader::{self, Command, How, Item, Script};
use super::row::Word;
use super::special::is_plain_variable;
use super::state::{Dir, Job, State};
use super::wrap;
use crate::operation::Risk;

/// Judges text that a shell is given.
pub(super) fn shell(state: &mut State, text: &str) {
    state.deeper(|state| match reader::read(text) {
        Ok(items) => {
            apart(state, |state| script(state, &items));
            state.read_twice(text);
        }
        Err(refusal) => state.raise(None, Risk::Admin, refusal),
    });
}

/// What happens inside changes no directory outside.
fn apart(state: &mut State, inner: impl FnOnce(&mut State)) {
    let dirs = state.dirs.clone();
    inner(state);
    state.dirs = dirs;
}

fn script(state: &mut State, items: &Script) {
    for item in items {
        let before = state.dirs.clone();
        if item.background {
            state.raise(None, Risk::Write, "a command in the background outlives the call");
        }
        chain(state, item);
        if state.dirs != before {
            state.may_be_back(&before);
        }
    }
}

/// After `cd x &&` the directory is x; after `cd x ||` nobody knows.
fn chain(state: &mut State, item: &Item) {
    let mut seen = state.dirs.clone();
    for (either, pipeline) in &item.chain {
        if *either {
            state.may_be_back(&seen);
        }
        let alone = pipeline.len() == 1;
        for part in pipeline {
            command(state, part);
            if !alone && state.dirs != seen {
                state.may_be_back(&seen);
            }
        }
        let now = state.dirs.clone();
        seen.extend(now.into_iter().filter(|dir| !seen.contains(dir)).collect::<Vec<_>>());
    }
}

fn command(state: &mut State, command: &Command) {
    let moved = state.moved;
    // What they run may already have the redirections of a compound command.
    state.moved |= !command.redirects.is_empty();
    for inner in &command.inner {
        apart(state, |state| script(state, inner));
    }
    state.moved = moved;
    for pattern in &command.looked_up {
        Job::unlisted(state, "pattern").looks(&Word::Paths(pattern.clone()));
    }
    let sets_alone = command.words.is_empty();
    for (name, value) in &command.sets {
        let kept = wrap::is_harmless(name, value) || (sets_alone && is_plain_variable(name));
        if !kept {
            state.raise(None, Risk::Admin, &format!("sets the variable `{}`", super::state::shown(name)));
        }
    }
    let before = state.dirs.clone();
    let kept = state.kept;
    for redirect in &command.redirects {
        redirected(state, redirect.how, &redirect.to);
        state.moved = true;
    }
    if command.apart {
        apart(state, |state| command.parts.iter().for_each(|part| script(state, part)));
    } else {
        command.parts.iter().for_each(|part| script(state, part));
        if state.dirs != before {
            state.may_be_back(&before);
            if command.repeats {
                state.raise(None, Risk::Admin, "changes the directory again and again");
            }
        }
    }
    if !command.words.is_empty() {
        wrap::command(state, &command.words);
        if command.words.first().and_then(Word::known) == Some("cd") {
            state.dirs = vec![target(&command.words)];
        }
    }
    // The redirections of `exec` stay.
    state.kept |= !command.redirects.is_empty() && command.words.iter().any(|word| word.known() == Some("exec"));
    if state.kept && !kept && command.repeats {
        state.raise(None, Risk::Admin, "redirects the shell again and again");
    }
    state.moved = moved;
}

/// Where a `cd` goes.
fn target(words: &[Word]) -> Dir {
    match words {
        [_] => Dir::At("~".to_owned()),
        [_, Word::Known(dir)] if dir.starts_with('/') => Dir::At(dir.clone()),
        [_, home @ Word::Paths(dir)] if home.single().is_some() => Dir::At(dir.clone()),
        _ => Dir::Lost,
    }
}

fn redirected(state: &mut State, how: How, to: &Word) {
    let mut job = Job::unlisted(state, "redirection");
    match how {
        How::Moves => {}
        _ if to.single().is_none_or(str::is_empty) => job.raise(Risk::Admin, "to what is not known here"),
        How::Reads => job.reads(to),
        How::Appends => job.creates(to),
        How::Overwrites => job.overwrites(to),
    }
}
