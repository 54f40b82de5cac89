//! Shell text to a tree, or a refusal.
//!
//! It reads the part of the language that `dash`, `bash` and `zsh` read alike, and nothing else: no functions, braces, `[[ ]]`, arithmetic with
//! names, process substitution, `&>`, `$'…'`, `${x…}` or comments. One character is looked at a bounded number of times, nesting is bounded, and
//! a refusal ends the reading.

mod word;

use super::row::Word;

/// Longest text that is read, in bytes.
pub(super) const TEXT_MAX: usize = 16 * 1024;
/// Constructs within constructs.
const NESTING_MAX: usize = 32;

/// Why a text is not read.
pub(super) type Refusal = &'static str;

/// Commands one after the other.
pub(super) type Script = Vec<Item>;

/// Pipelines joined by `&&` and `||`.
#[derive(Debug)]
pub(super) struct Item {
    /// Each with whether `||` came before it.
    pub(super) chain: Vec<(bool, Vec<Command>)>,
    /// Ended with `&`.
    pub(super) background: bool,
}

/// One command of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// `NAME=value` before it, or the variable of a `for`.
    pub(super) sets: Vec<(String, Word)>,
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<Redirect>,
    /// Patterns that the shell itself looks up, whatever it hands them to.
    pub(super) looked_up: Vec<String>,
    /// What `$(…)` in its words runs.
    pub(super) inner: Vec<Script>,
    /// The lists of a compound command, in order.
    pub(super) parts: Vec<Script>,
    /// `for`, `while`, `until`: run more than once.
    pub(super) repeats: bool,
    /// `( … )`.
    pub(super) apart: bool,
}

/// A redirection to or from a file.
#[derive(Debug)]
pub(super) struct Redirect {
    pub(super) how: How,
    pub(super) to: Word,
}

/// What a redirection does with its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Reads,
    Overwrites,
    Appends,
    /// To another stream, or from a text: it names no file.
    Moves,
}

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Script, Refusal> {
    if text.len() > TEXT_MAX {
        return Err("the shell text is too long to be read");
    }
    let odd = |c: char| !(matches!(c, '\n' | '\t' | ' '..='~') || (!c.is_ascii() && c.is_alphanumeric()));
    if text.contains(odd) {
        return Err("the shell text has control characters or others that shells do not read alike");
    }
    let mut reader = Reader { chars: text.chars().collect(), at: 0, depth: 0, here: Vec::new(), looked_up: Vec::new() };
    let script = reader.list(&[])?;
    if reader.peek().is_some() {
        return Err("the shell text does not end where its commands do");
    }
    if !reader.here.is_empty() {
        return Err("a here-document has no body");
    }
    Ok(script)
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    /// Here-documents whose bodies follow the line.
    here: Vec<Here>,
    /// Patterns since the last command.
    looked_up: Vec<String>,
}

struct Here {
    end: String,
    quoted: bool,
    tabs: bool,
}

/// Words that are no commands, and what begins with them is refused or compound.
const RESERVED: &[&str] = &[
    "if", "then", "elif", "else", "fi", "for", "in", "do", "done", "while", "until", "case", "esac", "{", "}", "!", "[[", "function",
    "select",
];

impl Reader {
    fn peek(&self) -> Option<char> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    fn starts(&self, with: &str) -> bool {
        with.chars().enumerate().all(|(by, c)| self.ahead(by) == Some(c))
    }

    fn take(&mut self, what: &str) -> bool {
        let found = self.starts(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        if self.depth >= NESTING_MAX {
            return Err("the shell text is too deep to be read");
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }

    /// Also a line that goes on, but only after a blank: whatever is before that, and what comes after, are then two tokens to every shell.
    fn blanks(&mut self) {
        let mut parted = false;
        loop {
            if matches!(self.peek(), Some(' ' | '\t')) {
                self.at += 1;
                parted = true;
            } else if parted && self.here.is_empty() && self.starts("\\\n") {
                self.at += 2;
            } else {
                return;
            }
        }
    }

    /// Blanks and ends of lines, with the bodies of here-documents.
    fn lines(&mut self) -> Result<(), Refusal> {
        loop {
            self.blanks();
            if self.peek() != Some('\n') {
                return Ok(());
            }
            self.at += 1;
            if self.depth > 0 && !self.here.is_empty() {
                return Err("a here-document inside of something");
            }
            for here in std::mem::take(&mut self.here) {
                self.body(&here)?;
            }
        }
    }

    fn body(&mut self, here: &Here) -> Result<(), Refusal> {
        loop {
            let rest = self.chars.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return Err("a here-document does not end");
            }
            let line: String = rest.iter().take_while(|c| **c != '\n').collect();
            self.at = (self.at + line.chars().count() + 1).min(self.chars.len());
            let bare = if here.tabs { line.trim_start_matches('\t') } else { line.as_str() };
            if bare == here.end {
                return Ok(());
            }
            if !here.quoted && line.contains(['$', '`', '\\']) {
                return Err("a here-document is expanded");
            }
        }
    }

    /// The reserved word that comes next, if one does.
    fn reserved(&self) -> Option<&'static str> {
        let ends = |c: Option<char>| c.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'));
        RESERVED.iter().find(|word| self.starts(word) && ends(self.ahead(word.len()))).copied()
    }

    /// Commands up to one of `ends` or to what ends no command.
    fn list(&mut self, ends: &[&str]) -> Result<Script, Refusal> {
        let mut script = Vec::new();
        loop {
            self.lines()?;
            let ended = match self.peek() {
                None | Some(')') => true,
                Some(';') => self.starts(";;"),
                _ => self.reserved().is_some_and(|word| ends.contains(&word)),
            };
            if ended {
                return Ok(script);
            }
            let mut item = Item { chain: vec![(false, self.pipeline()?)], background: false };
            while self.starts("&&") || self.starts("||") {
                let either = self.peek() == Some('|');
                self.at += 2;
                self.lines()?;
                item.chain.push((either, self.pipeline()?));
            }
            let more = match self.peek() {
                Some('&') => {
                    self.at += 1;
                    if matches!(self.peek(), Some('>' | '&' | '|' | '!')) {
                        return Err("`&` with what some shells read as one word");
                    }
                    item.background = true;
                    true
                }
                Some(';') if !self.starts(";;") => {
                    self.at += 1;
                    if matches!(self.peek(), Some('&' | '|')) {
                        return Err("`;` with what some shells read as one word");
                    }
                    true
                }
                other => other == Some('\n'),
            };
            script.push(item);
            if !more {
                return Ok(script);
            }
        }
    }

    fn pipeline(&mut self) -> Result<Vec<Command>, Refusal> {
        if self.reserved() == Some("!") {
            self.at += 1;
            self.blanks();
        }
        let mut commands = vec![self.command()?];
        while self.peek() == Some('|') && !self.starts("||") {
            self.at += 1;
            if self.peek() == Some('&') {
                return Err("`|&` is not of every shell");
            }
            self.lines()?;
            commands.push(self.command()?);
        }
        Ok(commands)
    }

    fn command(&mut self) -> Result<Command, Refusal> {
        let compound = match (self.peek(), self.reserved()) {
            (Some('('), _) if self.ahead(1) == Some('(') => return Err("arithmetic as a command"),
            (Some('('), _) => self.deeper(Self::subshell)?,
            (_, Some("{")) => self.deeper(Self::group)?,
            (_, Some("if")) => self.deeper(Self::branch)?,
            (_, Some("while" | "until")) => self.deeper(Self::repeat)?,
            (_, Some("for")) => self.deeper(Self::each)?,
            (_, Some("case")) => self.deeper(Self::case)?,
            (_, Some(_)) => return Err("a word of the shell's grammar out of its place"),
            _ => return self.simple(),
        };
        let mut compound = compound;
        self.blanks();
        while self.redirect(&mut compound)? {
            self.blanks();
        }
        match self.peek() {
            None | Some('\n' | ';' | '&' | '|' | ')') => Ok(compound),
            _ => match self.reserved() {
                Some(_) => Ok(compound),
                None => Err("words after a compound command"),
            },
        }
    }

    fn simple(&mut self) -> Result<Command, Refusal> {
        let mut command = Command::default();
        loop {
            self.blanks();
            if self.redirect(&mut command)? {
                continue;
            }
            match self.peek() {
                None | Some('\n' | ';' | '&' | '|' | ')') => break,
                Some('#') => return Err("a comment, which not every shell takes for one"),
                Some('(') => return Err("a function or another thing with `(`"),
                _ => {}
            }
            if command.words.is_empty()
                && let Some(name) = self.assigned()
            {
                let value = match self.peek() {
                    None | Some(' ' | '\t' | '\n' | ';' | '&' | '|' | ')') => Word::Known(String::new()),
                    Some('(') => return Err("an array"),
                    _ => self.word(&mut command.inner)?,
                };
                command.sets.push((name, value));
                continue;
            }
            let word = self.word(&mut command.inner)?;
            command.words.push(word);
        }
        if command.words.is_empty() && command.sets.is_empty() && command.redirects.is_empty() {
            return Err("a command is missing");
        }
        command.looked_up = std::mem::take(&mut self.looked_up);
        Ok(command)
    }

    /// `NAME=` before a value.
    fn assigned(&mut self) -> Option<String> {
        let rest = self.chars.get(self.at..)?;
        let name: String = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || rest.get(name.len()) != Some(&'=') {
            return None;
        }
        self.at += name.len() + 1;
        Some(name)
    }

    /// A redirection, if one comes next.
    fn redirect(&mut self, command: &mut Command) -> Result<bool, Refusal> {
        let digit = usize::from(self.peek().is_some_and(|c| c.is_ascii_digit()) && matches!(self.ahead(1), Some('<' | '>')));
        if !matches!(self.ahead(digit), Some('<' | '>')) {
            return Ok(false);
        }
        self.at += digit;
        if ["<<<", "<>", "<(", ">(", ">!", ">>|", ">>!", ">>&", ">&&"].iter().any(|refused| self.starts(refused)) {
            return Err("a redirection that is not of every shell");
        }
        if self.take(">&") || self.take("<&") {
            let known = matches!(self.peek(), Some('0'..='9' | '-'));
            let ends = self.ahead(1).is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | ';' | '|' | ')' | '<' | '>'));
            self.at += 1;
            command.redirects.push(Redirect { how: How::Moves, to: Word::Known(String::new()) });
            return if known && ends { Ok(true) } else { Err("a redirection to what is no number") };
        }
        if self.take("<<") {
            self.here_document()?;
            command.redirects.push(Redirect { how: How::Moves, to: Word::Known(String::new()) });
            return Ok(true);
        }
        let how = match () {
            () if self.take(">>") => How::Appends,
            () if self.take(">|") || self.take(">") => How::Overwrites,
            () => {
                self.at += 1;
                How::Reads
            }
        };
        if how == How::Reads && self.peek().is_some_and(|c| c.is_ascii_digit() || c == '-') {
            return Err("`<` with what one shell takes for a pattern");
        }
        self.blanks();
        let to = self.word(&mut command.inner)?;
        command.redirects.push(Redirect { how, to });
        Ok(true)
    }

    fn here_document(&mut self) -> Result<(), Refusal> {
        if self.depth > 0 {
            return Err("a here-document inside of something");
        }
        let tabs = self.take("-");
        self.blanks();
        let start = self.at;
        let Word::Known(end) = self.word(&mut Vec::new())? else {
            return Err("a here-document with an end that is not plain");
        };
        let quoted = self.chars.get(start..self.at).is_some_and(|raw| raw.iter().any(|c| matches!(c, '\'' | '"' | '\\')));
        if end.is_empty() || !end.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("a here-document with an end that is not plain");
        }
        self.here.push(Here { end, quoted, tabs });
        Ok(())
    }
}
