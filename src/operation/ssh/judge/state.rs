//! What is gathered while a command is judged, within its limits.

use super::row::Word;
use super::{Access, Judged, place, second};
use crate::operation::Risk;

/// Reasons that are told.
pub(super) const WHY_MAX: usize = 16;
/// Programs that are listed; more are of the highest risk.
const PROGRAMS_MAX: usize = 64;
/// Paths that are listed; more are of the highest risk.
const PATHS_MAX: usize = 128;
/// Commands within commands.
const DEPTH_MAX: usize = 16;
/// Directories that a script may be in at one place.
const PLACES_MAX: usize = 4;
/// Characters of a name that a reason repeats.
const SHOWN_MAX: usize = 40;

/// One directory that relative paths may start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dir {
    /// Where the command starts.
    Start,
    /// Where a `cd` went.
    At(String),
    /// Nobody knows.
    Lost,
}

/// What is known so far.
#[derive(Debug)]
pub(super) struct State {
    out: Judged,
    depth: usize,
    /// Where a relative path may start; more than one after a `cd` that may have failed.
    pub(super) dirs: Vec<Dir>,
    /// Whether a redirection has changed what `/dev/stdin`, `/dev/stdout` and `/dev/stderr` stand for.
    pub(super) moved: bool,
    /// Whether one did so for all that follows.
    pub(super) kept: bool,
    /// Bytes of text that a second parser has read.
    twice: usize,
}

/// Most bytes of text that a second parser reads, texts within texts counted again.
const TWICE_MAX: usize = 32 * 1024;

impl State {
    pub(super) fn new(cwd: Option<&str>) -> Self {
        let out = Judged { risk: Risk::Read, why: Vec::new(), programs: Vec::new(), paths: Vec::new() };
        let mut state = Self { out, depth: 0, dirs: vec![Dir::Start], moved: false, kept: false, twice: 0 };
        if let Some(cwd) = cwd {
            state.dirs = vec![Dir::At(cwd.to_owned())];
            if !cwd.starts_with('/') || place::goes_up(cwd) || cwd.contains('\0') {
                state.raise(None, Risk::Admin, "the directory that it starts in is not one that is plainly known");
            }
        }
        state
    }

    /// Has a text that was read, and found to be less than the highest risk, read a second time.
    pub(super) fn read_twice(&mut self, text: &str) {
        if self.out.risk == Risk::Admin {
            return;
        }
        self.twice = self.twice.saturating_add(text.len());
        let why = if self.twice > TWICE_MAX { Some("too much text within text") } else { second::disagrees(text, &self.out.programs) };
        if let Some(why) = why {
            self.raise(None, Risk::Admin, why);
        }
    }

    pub(super) fn done(self) -> Judged {
        self.out
    }

    /// Raises the risk of the whole and of one program in it.
    pub(super) fn raise(&mut self, program: Option<usize>, risk: Risk, why: &str) {
        self.out.risk = self.out.risk.max(risk);
        if let Some((_, own)) = program.and_then(|index| self.out.programs.get_mut(index)) {
            *own = (*own).max(risk);
        }
        if risk > Risk::Read && self.out.why.len() < WHY_MAX && !self.out.why.iter().any(|known| known == why) {
            self.out.why.push(why.to_owned());
        }
    }

    /// Lists a program; `None` where there are too many.
    fn start(&mut self, name: &str) -> Option<usize> {
        if self.out.programs.len() >= PROGRAMS_MAX {
            self.raise(None, Risk::Admin, "more programs than can be listed");
            return None;
        }
        self.out.programs.push((name.to_owned(), Risk::Read));
        Some(self.out.programs.len() - 1)
    }

    /// Runs `inner` one level down; past the deepest it is not looked at.
    pub(super) fn deeper(&mut self, inner: impl FnOnce(&mut Self)) {
        if self.depth >= DEPTH_MAX {
            self.raise(None, Risk::Admin, "commands within commands, too deep to be read");
            return;
        }
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    /// After something that may or may not have changed the directory.
    pub(super) fn may_be_back(&mut self, before: &[Dir]) {
        for dir in before {
            if !self.dirs.contains(dir) {
                self.dirs.push(dir.clone());
            }
        }
        if self.dirs.len() > PLACES_MAX {
            self.dirs = vec![Dir::Lost];
        }
    }

    fn list(&mut self, path: String, access: Access) {
        if self.out.paths.iter().any(|(known, use_of)| *known == path && *use_of == access) {
            return;
        }
        if self.out.paths.len() >= PATHS_MAX {
            self.raise(None, Risk::Admin, "more paths than can be listed");
            return;
        }
        self.out.paths.push((path, access));
    }
}

/// What is done with a path.
struct Use {
    access: Access,
    risk: Risk,
    /// Its content matters.
    opens: bool,
    /// So does all that is below it.
    below: bool,
}

impl Use {
    const fn of(access: Access, risk: Risk) -> Self {
        Self { access, risk, opens: true, below: false }
    }
}

/// One program that is being judged.
pub(super) struct Job<'a> {
    pub(super) state: &'a mut State,
    index: Option<usize>,
    name: String,
}

impl<'a> Job<'a> {
    /// Lists the program; `None` where there are too many.
    pub(super) fn new(state: &'a mut State, name: &str) -> Option<Self> {
        let index = Some(state.start(name)?);
        Some(Self { state, index, name: shown(name) })
    }

    /// Something of the shell itself, which is listed nowhere.
    pub(super) fn unlisted(state: &'a mut State, name: &str) -> Self {
        Self { state, index: None, name: name.to_owned() }
    }

    /// Raises the risk of this program; `why` is told after its name.
    pub(super) fn raise(&mut self, risk: Risk, why: &str) {
        let why = format!("`{}`: {why}", self.name);
        self.state.raise(self.index, risk, &why);
    }

    /// The program's name, short.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same of the highest risk, with a word of the command.
    pub(super) fn refuse(&mut self, why: &str, word: &str) {
        self.raise(Risk::Admin, &format!("{why} `{}`", shown(word)));
    }

    /// A path whose content is read.
    pub(super) fn reads(&mut self, word: &Word) {
        self.path(word, &Use::of(Access::Read, Risk::Read));
    }

    /// A path whose content is read, and that of all that is below it.
    pub(super) fn reads_below(&mut self, word: &Word) {
        self.path(word, &Use { below: true, ..Use::of(Access::Read, Risk::Read) });
    }

    /// A path of which metadata, or the names in it, are told. A pattern may be many.
    pub(super) fn lists(&mut self, word: &Word) {
        let access = if matches!(word, Word::Known(_)) { Access::List } else { Access::Read };
        self.path(word, &Use { opens: false, ..Use::of(access, Risk::Read) });
    }

    /// A path whose name or metadata is read, and those of what is below it.
    pub(super) fn looks(&mut self, word: &Word) {
        self.path(word, &Use { opens: false, ..Use::of(Access::Read, Risk::Read) });
    }

    /// A path that is made or added to.
    pub(super) fn creates(&mut self, word: &Word) {
        self.path(word, &Use::of(Access::Write, Risk::Write));
    }

    /// A path whose content is replaced.
    pub(super) fn overwrites(&mut self, word: &Word) {
        self.path(word, &Use::of(Access::Write, Risk::Destructive));
    }

    /// A path that is removed.
    pub(super) fn deletes(&mut self, word: &Word) {
        self.path(word, &Use::of(Access::Delete, Risk::Destructive));
    }

    /// A place where something may be made, which is not listed: of the highest risk where that is.
    pub(super) fn fence(&mut self, path: &str, pattern: bool) {
        for dir in self.state.dirs.clone() {
            let full = match dir {
                Dir::At(at) if !path.starts_with(['/', '~']) => format!("{}/{path}", at.trim_end_matches('/')),
                _ => path.to_owned(),
            };
            if let Some(why) = place::fenced(&full, pattern, true) {
                self.refuse(why, &full);
            }
        }
    }

    fn path(&mut self, word: &Word, how: &Use) {
        let Use { access, risk, opens, below } = *how;
        let (Word::Known(text) | Word::Paths(text)) = word else {
            self.raise(Risk::Admin, "names a path that is not known here");
            return;
        };
        let pattern = matches!(word, Word::Paths(_));
        if (text == "-" && risk == Risk::Read) || (opens && place::passes_on(text, access, self.state.moved || self.state.kept)) {
            return;
        }
        if place::goes_up(text) {
            self.refuse("a path goes up through what may be a link:", text);
        }
        for dir in self.state.dirs.clone() {
            let full = match dir {
                _ if text.starts_with('/') || (pattern && text.starts_with('~')) => text.clone(),
                Dir::Start => text.clone(),
                Dir::At(at) => format!("{}/{text}", at.trim_end_matches('/')),
                Dir::Lost => {
                    self.refuse("nobody can tell where this path is:", text);
                    continue;
                }
            };
            if opens && let Some(why) = place::fenced(&full, pattern || below, risk > Risk::Read) {
                self.refuse(why, &full);
            }
            if place::is_far(&full) {
                self.refuse("may mount what is on the network:", &full);
            }
            self.state.list(full, access);
        }
        if risk > Risk::Read {
            let what = match (access, risk) {
                (Access::Delete, _) => "removes",
                (_, Risk::Destructive) => "may overwrite",
                _ => "makes or adds to",
            };
            self.raise(risk, &format!("{what} `{}`", shown(text)));
        }
    }
}

/// A piece of the command as a reason repeats it: short, and of one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        short.push('…');
    }
    short
}
