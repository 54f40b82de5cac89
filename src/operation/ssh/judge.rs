//! What a remote command would do, told before it runs.
//!
//! Fail closed: a program, a flag, a word or a piece of shell that is not positively known is of the highest risk. The tables in `table` say what
//! is known; `row` reads a command line by them as `getopt` would; `special` has the programs that need more than a row; `reader` reads shell
//! text, and refuses whatever `sh`, `bash` and `zsh` do not all read alike; `script` walks what it read; `second` has what was accepted read again by
//! another parser. No input panics, recursion is bounded, and the time is linear in the input. The remote host is taken to be a GNU/Linux one, and
//! standard input and output not to be a terminal.

mod awk;
mod find;
mod place;
mod ps;
mod reader;
mod row;
mod script;
mod second;
mod sed;
mod special;
mod state;
mod table;
mod tar;
mod verbs;
mod wrap;

pub(super) use place::fenced;

#[cfg(test)]
mod tests;

use crate::operation::Risk;
use row::Word;
use state::State;

/// How a path named on a command line is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Its metadata, or the names in it, are told, and nothing of what lies below it.
    List,
    /// Its content is read, or something of what lies below it.
    Read,
    /// It is made, changed or overwritten.
    Write,
    /// It is taken away.
    Delete,
}

impl Access {
    /// The name that policies and records use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// What a command line comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The highest risk of anything in it.
    pub risk: Risk,
    /// Why it is above a read, a short sentence each, naming the program and the flag; at most 16.
    pub why: Vec<String>,
    /// Every program that would run, in order, with the risk of its own part; at most 64. The name is the last part of what is written, except
    /// where the directory is not one of the system's: that one is as written.
    pub programs: Vec<(String, Risk)>,
    /// Every path that is known to be one, with its use; at most 128. It is as written, but joined to the directory that it starts from where that is
    /// given, or where a `cd` may have led. In shell text
    /// `*`, `?` and `[` may be patterns and a leading `~/` is the home directory. What a program reads below a directory is not listed.
    pub paths: Vec<(String, Access)>,
}

impl Judged {
    /// The same with these variables set for all of it: what `env NAME=value` before it would be.
    #[must_use]
    pub fn with_variables(mut self, variables: &[(String, String)]) -> Self {
        for (name, value) in variables {
            if wrap::is_harmless(name, &Word::Known(value.clone())) {
                continue;
            }
            self.risk = Risk::Admin;
            // Each program of it has them.
            self.programs.iter_mut().for_each(|(_, risk)| *risk = Risk::Admin);
            self.why.insert(0, format!("sets the variable `{}`", state::shown(name)));
        }
        self.why.truncate(state::WHY_MAX);
        self
    }
}

/// Longest command line that is looked into, in bytes, all words together.
const ARGV_BYTES_MAX: usize = 64 * 1024;
/// Most words of one.
const ARGV_WORDS_MAX: usize = 4096;

/// Judges a program with its arguments that no shell reads: `;`, `$(` and patterns are plain text there.
#[must_use]
pub fn argv(words: &[String]) -> Judged {
    argv_in(words, None)
}

/// The same of a program that starts in a directory, an absolute path.
#[must_use]
pub fn argv_in(words: &[String], cwd: Option<&str>) -> Judged {
    let mut state = State::new(cwd);
    let bytes: usize = words.iter().map(String::len).sum();
    if words.len() > ARGV_WORDS_MAX || bytes > ARGV_BYTES_MAX {
        state.raise(None, Risk::Admin, "the command is too long to be read");
    } else if words.iter().any(|word| word.contains('\0')) {
        state.raise(None, Risk::Admin, "a word has a NUL in it");
    } else {
        let words: Vec<Word> = words.iter().cloned().map(Word::Known).collect();
        wrap::command(&mut state, &words);
    }
    state.done()
}

/// Judges text that is given to `sh`, `bash` or `dash`.
#[must_use]
pub fn shell(text: &str) -> Judged {
    shell_in(text, None)
}

/// The same of a shell that starts in a directory, an absolute path.
#[must_use]
pub fn shell_in(text: &str, cwd: Option<&str>) -> Judged {
    let mut state = State::new(cwd);
    script::shell(&mut state, text);
    state.done()
}

/// A flag of a program, as the tables have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The program.
    pub program: &'static str,
    /// As written: `-n`, `--lines`, `-name`; `-NUM` for a number.
    pub flag: &'static str,
    /// `none`, `text`, `pair`, `optional`, `looks`, `reads` or `writes`.
    pub value: &'static str,
    /// The risk of the flag alone.
    pub risk: Risk,
}

/// The programs of the tables with the least risk of each.
pub fn programs() -> impl Iterator<Item = (&'static str, Risk)> {
    table::rows().flat_map(|row| row.names().map(|name| (name, row.floor)))
}

/// All flags of the tables, for whoever wants to check them against the programs.
pub fn known() -> impl Iterator<Item = Known> {
    table::rows().flat_map(|row| {
        row.names().flat_map(|program| {
            row.flags.iter().flat_map(move |flags| {
                flags.names.split_whitespace().map(move |flag| Known { program, flag, value: flags.value.as_str(), risk: flags.risk })
            })
        })
    })
}
