//! SSH operations: which program would run with which arguments, or what would be done to which file; pure, so that it can be judged before any host
//! hears of it.
//!
//! A command is a list of words wherever one will do; a shell's text is parsed whole, and what cannot be read in it is of the highest risk. What a
//! caller says of a path is checked before it goes anywhere; whether it leads elsewhere on the host, by a link, only the host can tell.

pub mod file;
mod fixed;
pub mod judge;
mod keep;
mod obeyed;
mod show;

use crate::operation::{Place, Risk, Touch};
use crate::refusal::{Code, Refusal};

pub use file::{FileWork, Work};
pub use fixed::{Action, NO_JOB};
use judge::{Access, Judged};
pub use keep::{Keep, Kept, Session};

/// Bytes of one argument, as Linux bounds them (`MAX_ARG_STRLEN`).
const ARGUMENT_MAX_BYTES: usize = 128 * 1024;
/// Bytes of all arguments together: a request of the protocol must hold them, quoted.
const ARGUMENTS_MAX_BYTES: usize = 160 * 1024;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program with its arguments; no shell looks at them.
    Argv(Vec<String>),
    /// A text for this shell.
    Shell {
        /// The shell, `sh` or `bash`.
        shell: String,
        /// The text.
        text: String,
    },
}

/// How what a program wrote is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// As it wrote it.
    Streams,
    /// As facts of the host.
    Facts,
    /// As the state of a unit, with lines of its journal.
    Unit,
    /// As the state of a unit after something was done with it, with what `systemctl` wrote.
    Acted,
    /// As a signal that was sent, or not.
    Sent,
    /// As the id of a job that was started.
    Started,
    /// As whether a job is gone.
    Ended,
    /// As a folder that is there.
    Folder,
    /// As a list of jobs.
    Jobs,
    /// As lines of a job's output.
    Lines,
}

/// A program that runs and ends within the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    command: Command,
    run_as: Option<String>,
    cwd: Option<String>,
    env: Vec<(String, String)>,
    stdin: Option<String>,
    limit_bytes: u64,
    telling: Telling,
    judged: Judged,
    keep: Option<Keep>,
}

/// What comes with a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// The folder in which it runs; the account's own otherwise.
    pub cwd: Option<String>,
    /// Variables, which the target allows.
    pub env: Vec<(String, String)>,
    /// What it reads.
    pub stdin: Option<String>,
    /// At most so many bytes of what it writes.
    pub limit_bytes: u64,
}

/// Something done on a host.
#[expect(clippy::large_enum_variant, reason = "one a call, moved a few times")]
#[derive(Debug, Clone)]
pub enum Ssh {
    /// A program runs.
    Run(Run),
    /// A file is looked at or changed.
    File(FileWork),
}

/// Nothing of the protocol or of a shell may hold it, and no argument of a program can.
fn check_text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::new(Code::InvalidArguments).detail(format!("{what} holds a NUL character, which no argument can")));
    }
    if text.len() >= ARGUMENT_MAX_BYTES {
        return Err(Refusal::new(Code::TooLarge).detail(format!("{what} has {} bytes, and {ARGUMENT_MAX_BYTES} are the most", text.len())));
    }
    Ok(())
}

impl Run {
    /// A program with its arguments.
    ///
    /// # Errors
    /// `request.invalid_arguments`: no program, or what no argument can hold. `request.too_large`.
    pub fn argv(argv: Vec<String>, around: Around) -> Result<Self, Refusal> {
        let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
            return Err(Refusal::new(Code::InvalidArguments).detail("`argv` names no program"));
        };
        if program.starts_with('-') || program.contains('=') {
            return Err(Refusal::new(Code::InvalidArguments).detail("the name of a program begins with `-` or holds `=`"));
        }
        for (index, argument) in argv.iter().enumerate() {
            check_text(&format!("`argv/{index}`"), argument)?;
        }
        let judged = judge::argv_in(&argv, around.cwd.as_deref()).with_variables(&around.env);
        Self::of(Command::Argv(argv), judged, around)
    }

    /// A text for a shell.
    ///
    /// # Errors
    /// As for [`Run::argv`].
    pub fn shell(shell: &str, text: String, around: Around) -> Result<Self, Refusal> {
        check_text("`command`", &text)?;
        if text.trim().is_empty() {
            return Err(Refusal::new(Code::InvalidArguments).detail("`command` is empty"));
        }
        let judged = judge::shell_in(&text, around.cwd.as_deref()).with_variables(&around.env);
        Self::of(Command::Shell { shell: shell.to_owned(), text }, judged, around)
    }

    fn of(command: Command, judged: Judged, around: Around) -> Result<Self, Refusal> {
        let Around { cwd, env, stdin, limit_bytes } = around;
        if let Some(cwd) = &cwd {
            file::absolute("cwd", cwd)?;
        }
        for (name, value) in &env {
            check_text(&format!("`env/{name}`"), value)?;
        }
        if let Some(stdin) = &stdin
            && stdin.contains('\0')
        {
            return Err(Refusal::new(Code::InvalidArguments).detail("`stdin` holds a NUL character"));
        }
        let run = Self { command, run_as: None, cwd, env, stdin, limit_bytes, telling: Telling::Streams, judged, keep: None };
        let total: usize = run.words().iter().map(String::len).sum();
        if total > ARGUMENTS_MAX_BYTES {
            let why = format!("the command has {total} bytes, and {ARGUMENTS_MAX_BYTES} are the most");
            return Err(Refusal::new(Code::TooLarge).detail(why));
        }
        Ok(run)
    }

    /// The same as another account of the host, by sudo: of the highest risk, whatever it is.
    ///
    /// # Errors
    /// `request.invalid_arguments`: that is no name of an account.
    pub fn run_as(mut self, account: &str) -> Result<Self, Refusal> {
        if !is_account(account) {
            return Err(Refusal::new(Code::InvalidArguments).detail("`run_as` is no name of an account: `[a-z_][a-z0-9_.-]*`"));
        }
        self.judged.why.insert(0, format!("it runs as {account}"));
        self.judged.risk = Risk::Admin;
        self.run_as = Some(account.to_owned());
        Ok(self)
    }

    /// With what becomes of a session once it has run.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }

    /// What becomes of a session once it has run.
    #[must_use]
    pub const fn keep(&self) -> Option<&Keep> {
        self.keep.as_ref()
    }

    /// Refuses what does more than read.
    ///
    /// # Errors
    /// `operation.not_read`.
    pub fn read_only(self) -> Result<Self, Refusal> {
        if self.judged.risk == Risk::Read {
            return Ok(self);
        }
        Err(Refusal::new(Code::NotRead).detail(self.judged.why.join("; ")))
    }

    /// What runs.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// As words for the host: a shell's text is one of them.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match &self.command {
            Command::Argv(argv) => argv.clone(),
            Command::Shell { shell, text } => vec![shell.clone(), "-c".to_owned(), text.clone()],
        }
    }

    /// Another account that it runs as.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.run_as.as_deref()
    }

    /// The folder in which it runs.
    #[must_use]
    pub fn cwd(&self) -> Option<&str> {
        self.cwd.as_deref()
    }

    /// Its variables.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// What it reads.
    #[must_use]
    pub fn stdin(&self) -> Option<&str> {
        self.stdin.as_deref()
    }

    /// At most so many bytes of what it writes.
    #[must_use]
    pub const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// How it is told.
    #[must_use]
    pub const fn telling(&self) -> &Telling {
        &self.telling
    }

    /// Its risk, and why.
    #[must_use]
    pub const fn judged(&self) -> &Judged {
        &self.judged
    }

    fn verb(&self) -> &'static str {
        match self.command {
            Command::Argv(_) => "execute",
            Command::Shell { .. } => "shell",
        }
    }

    /// Whether no more of a path than what it is called, or the names in it, can come of this: everything of the command is known to only read, and the
    /// path is judged as itself.
    fn tells_names(&self, path: &str) -> bool {
        self.judged.risk == Risk::Read && file::is_exact(path) && self.cwd.as_deref().is_none_or(file::is_exact)
    }

    fn touches(&self) -> Vec<Touch> {
        let verb = self.verb();
        let programs = self.judged.programs.iter().map(|(name, risk)| Touch { on: Place::Program(name.clone()), verb, risk: *risk });
        let paths = self.judged.paths.iter().map(|(path, access)| {
            let (verb, risk) = match access {
                Access::List if self.tells_names(path) => ("list", Risk::Read),
                Access::List | Access::Read => ("read", Risk::Read),
                Access::Write => ("write", Risk::Write),
                Access::Delete => ("delete", Risk::Destructive),
            };
            Touch { on: Place::Path(file::within(self.cwd.as_deref(), path)), verb, risk }
        });
        let mut touches: Vec<Touch> = programs.chain(paths).collect();
        if let Some(cwd) = &self.cwd {
            let verb = if file::is_exact(cwd) { "list" } else { "read" };
            touches.push(Touch { on: Place::Path(file::within(None, cwd)), verb, risk: Risk::Read });
        }
        // A shell's text is judged as one, whatever its parts are.
        if verb == "shell" || self.run_as.is_some() {
            let name = self.words().first().cloned().unwrap_or_default();
            touches.push(Touch { on: Place::Program(name), verb, risk: self.judged.risk });
        }
        let mut seen = std::collections::HashSet::new();
        touches.retain(|touch| seen.insert(touch.clone()));
        touches
    }
}

/// Names of accounts as `useradd` takes them, in lower case.
#[must_use]
pub fn is_account(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    begins && name.len() <= 32 && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
}

impl Ssh {
    /// The main verb.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Run(run) => run.verb(),
            Self::File(file) => file.verb(),
        }
    }

    /// The highest risk of anything it does.
    #[must_use]
    pub fn risk(&self) -> Risk {
        match self {
            Self::Run(run) => run.judged.risk,
            Self::File(file) => file.risk(),
        }
    }

    /// All it touches.
    #[must_use]
    pub fn touches(&self) -> Vec<Touch> {
        match self {
            Self::Run(run) => run.touches(),
            Self::File(file) => file.touches(),
        }
    }

    /// Whether an approver can be shown more than the call itself.
    #[must_use]
    pub const fn has_preview(&self) -> bool {
        matches!(self, Self::File(file) if !file.reads())
    }
}
