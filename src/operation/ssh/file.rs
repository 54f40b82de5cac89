//! Files of a host: looked at, written, moved, removed over SFTP, below the roots that the target allows.
//!
//! A path is absolute and has no `..`, so that it says by itself where it leads. Who may write a file that decides who may log in, what runs by itself
//! or as whom, could do anything: those places are of the highest risk, wherever a root reaches them.

use crate::operation::ssh::judge::fenced;
use crate::operation::ssh::obeyed::{is_hidden, is_obeyed, is_of_the_system};
use crate::operation::{Place, Risk, Touch};
use crate::refusal::{Code, Refusal};

/// The longest path (`PATH_MAX`).
const PATH_MAX_BYTES: usize = 4_096;

/// What is done to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The entries of a folder, by name.
    List {
        /// At most so many.
        limit: u32,
        /// Those that come after this name.
        after: Option<String>,
    },
    /// What is known of it.
    Stat,
    /// A part of what it holds.
    Read {
        /// From this byte on.
        offset: u64,
        /// At most so many bytes.
        length: u32,
        /// As base64; as text otherwise.
        base64: bool,
    },
    /// It is made, or made anew.
    Write {
        /// What it holds then.
        content: Vec<u8>,
        /// Its permissions; those that it has, or 0644, otherwise.
        mode: Option<u32>,
        /// Whether it may be there.
        overwrite: bool,
        /// What it must hold before (SHA-256, hexadecimal).
        if_sha256: Option<String>,
        /// By a file beside it that takes its place.
        atomic: bool,
    },
    /// A folder is made.
    Mkdir {
        /// Its permissions; 0755 otherwise.
        mode: Option<u32>,
    },
    /// It gets another name.
    Rename {
        /// That name.
        to: String,
        /// Whether something may have it already.
        overwrite: bool,
    },
    /// It is removed; a folder only if it is empty.
    Remove,
    /// It gets other permissions.
    Chmod {
        /// Those.
        mode: u32,
    },
}

/// Something done to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWork {
    path: String,
    work: Work,
    roots: Vec<String>,
}

/// An absolute path without `..`, as it is told.
///
/// # Errors
/// `operation.invalid_path`.
pub fn absolute(what: &str, path: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::new(Code::InvalidPath).detail(format!("`{what}` {why}")));
    if !path.starts_with('/') {
        return refuse("is not absolute");
    }
    if path.len() > PATH_MAX_BYTES {
        return refuse("is longer than 4096 bytes");
    }
    if path.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    if path.split('/').any(|part| part == "..") {
        return refuse("holds `..`");
    }
    Ok(())
}

/// A path as it is judged: from the folder in which a command runs, without what says nothing. Where that is not known, below `~`. What a shell would
/// expand is cut off: what is meant lies below what is left.
#[must_use]
pub fn within(cwd: Option<&str>, path: &str) -> String {
    let whole = match (path.starts_with('/') || path.starts_with('~'), cwd) {
        (true, _) => path.to_owned(),
        (false, Some(cwd)) => format!("{cwd}/{path}"),
        (false, None) => format!("~/{path}"),
    };
    // What lies above a name only the host knows: it may be a link.
    if whole.split('/').any(|part| part == "..") {
        return "/".to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            part if part.contains(['*', '?', '[', '{', '$', '`']) => break,
            part => parts.push(part),
        }
    }
    if whole.starts_with('/') { format!("/{}", parts.join("/")) } else { parts.join("/") }
}

/// Whether it is judged as the very path that it is: with `..`, or what a shell may expand, something above it is judged in its place.
#[must_use]
pub fn is_exact(path: &str) -> bool {
    !path.contains(['*', '?', '[', '{', '$', '`']) && path.split('/').all(|part| part != "..")
}

/// Whether a path is a folder or below it.
#[must_use]
pub fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Places that decide who may log in, what runs by itself, or as whom: the system's own, folders of programs and of what is obeyed, and whatever has a
/// name that begins with a dot.
#[must_use]
pub fn is_telling(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    is_of_the_system(&parts) || parts.iter().any(|part| is_obeyed(part) || is_hidden(part))
}

impl FileWork {
    /// Checks a path, and that it is below one of the roots.
    ///
    /// # Errors
    /// `operation.invalid_path`, `operation.outside_roots`.
    pub fn new(path: &str, work: Work, roots: &[String]) -> Result<Self, Refusal> {
        let checked = |what: &str, path: &str| {
            absolute(what, path)?;
            let path = plain(path);
            if roots.iter().any(|root| is_below(&path, root)) {
                return Ok(path);
            }
            let allowed = if roots.is_empty() { "it allows none".to_owned() } else { format!("it allows {}", roots.join(", ")) };
            Err(Refusal::new(Code::OutsideRoots).detail(format!("`{what}`: {allowed}")))
        };
        let path = checked("path", path)?;
        let work = match work {
            Work::Rename { to, overwrite } => Work::Rename { to: checked("to", &to)?, overwrite },
            work => work,
        };
        Ok(Self { path, work, roots: roots.to_vec() })
    }

    /// Which.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is done to it.
    #[must_use]
    pub const fn work(&self) -> &Work {
        &self.work
    }

    /// Where it must be, wherever links lead.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// Whether nothing is changed.
    #[must_use]
    pub const fn reads(&self) -> bool {
        matches!(self.work, Work::List { .. } | Work::Stat | Work::Read { .. })
    }

    pub(super) const fn verb(&self) -> &'static str {
        match self.work {
            Work::List { .. } | Work::Stat => "list",
            Work::Read { .. } => "read",
            Work::Write { .. } | Work::Mkdir { .. } => "write",
            Work::Rename { .. } => "rename",
            Work::Remove => "delete",
            Work::Chmod { .. } => "chmod",
        }
    }

    /// Its risk, and why it is above that of a plain change.
    #[must_use]
    pub fn judged(&self) -> (Risk, Vec<String>) {
        let (mut risk, mut why) = match &self.work {
            Work::Read { .. } => {
                return match fenced(&self.path, false, false) {
                    Some(why) => (Risk::Admin, vec![format!("`{}`: {why}", self.path)]),
                    None => (Risk::Read, Vec::new()),
                };
            }
            Work::List { .. } | Work::Stat => return (Risk::Read, Vec::new()),
            Work::Write { overwrite: true, .. } => (Risk::Destructive, vec!["what the file holds would be lost".to_owned()]),
            Work::Rename { overwrite: true, .. } => (Risk::Destructive, vec!["what has the new name would be lost".to_owned()]),
            Work::Rename { .. } => (Risk::Destructive, vec!["whatever uses the file by its name loses it".to_owned()]),
            Work::Remove => (Risk::Destructive, vec!["the file would be lost".to_owned()]),
            Work::Write { .. } | Work::Mkdir { .. } | Work::Chmod { .. } => (Risk::Write, Vec::new()),
        };
        let mode = match &self.work {
            Work::Write { mode, .. } | Work::Mkdir { mode } => *mode,
            Work::Chmod { mode } => Some(*mode),
            _ => None,
        };
        if mode.is_some_and(|mode| mode & 0o6000 != 0) {
            risk = Risk::Admin;
            why.push("the mode makes it run as its owner or group".to_owned());
        }
        if mode.is_some_and(|mode| mode & 0o002 != 0) {
            risk = Risk::Admin;
            why.push("the mode lets everybody write".to_owned());
        }
        for path in self.places() {
            if is_telling(path) {
                risk = Risk::Admin;
                why.push(format!("`{path}` is among what decides who may log in, what runs by itself, or as whom"));
            }
        }
        (risk, why)
    }

    pub(super) fn risk(&self) -> Risk {
        self.judged().0
    }

    fn places(&self) -> impl Iterator<Item = &String> {
        let to = if let Work::Rename { to, .. } = &self.work { Some(to) } else { None };
        std::iter::once(&self.path).chain(to)
    }

    pub(super) fn touches(&self) -> Vec<Touch> {
        let (verb, risk) = (self.verb(), self.risk());
        self.places().map(|path| Touch { on: Place::Path(path.clone()), verb, risk }).collect()
    }
}

/// Without empty parts and dots.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}
