//! `sed`: its script is read, command by command; what writes files or runs programs is not known here.

use std::iter::Peekable;
use std::str::Chars;

use super::row::{Parsed, Word};
use super::state::Job;
use crate::operation::Risk;

/// Judges a parsed `sed`.
pub(super) fn judge(job: &mut Job<'_>, parsed: &Parsed) {
    let given: Vec<&str> = parsed.values("-e --expression").collect();
    let (script, files) = match parsed.operands.split_first() {
        _ if !given.is_empty() => (given.join("\n"), parsed.operands.as_slice()),
        Some((Word::Known(text), rest)) => (text.clone(), rest),
        _ => return job.raise(Risk::Admin, "has no script that could be read"),
    };
    if !is_plain(&script) {
        job.raise(Risk::Admin, "the script is not one of plain edits");
    }
    let in_place = parsed.has_any("-i --in-place");
    for suffix in parsed.values("-i --in-place") {
        if suffix.contains(['/', '*']) {
            job.raise(Risk::Admin, "the backups of -i go elsewhere");
        }
    }
    for file in files {
        if in_place {
            job.overwrites(file);
            for suffix in parsed.values("-i --in-place") {
                match file {
                    Word::Known(file) => job.overwrites(&Word::Known(format!("{file}{suffix}"))),
                    _ => job.raise(Risk::Admin, "where its backups go is not known"),
                }
            }
        } else {
            job.reads(file);
        }
    }
}

struct Script<'a> {
    chars: Peekable<Chars<'a>>,
}

/// Whether a script only edits and prints lines.
fn is_plain(text: &str) -> bool {
    let mut script = Script { chars: text.chars().peekable() };
    let mut open = 0_usize;
    loop {
        script.skip(|c| matches!(c, ' ' | '\t' | '\n' | ';'));
        if script.chars.peek().is_none() {
            return open == 0;
        }
        if script.command(&mut open).is_none() {
            return false;
        }
    }
}

impl Script<'_> {
    fn skip(&mut self, of: impl Fn(char) -> bool) -> usize {
        let mut count = 0;
        while self.chars.next_if(|c| of(*c)).is_some() {
            count += 1;
        }
        count
    }

    /// An address and a command; `None` where it is not known.
    fn command(&mut self, open: &mut usize) -> Option<()> {
        self.address()?;
        if self.chars.next_if_eq(&',').is_some() {
            self.skip(|c| c == ' ');
            self.chars.next_if(|c| matches!(c, '+' | '~'));
            self.address()?;
        }
        self.skip(|c| matches!(c, ' ' | '!'));
        match self.chars.next()? {
            '{' => {
                *open += 1;
                return Some(());
            }
            '}' => *open = open.checked_sub(1)?,
            '=' | 'd' | 'D' | 'g' | 'G' | 'h' | 'H' | 'n' | 'N' | 'p' | 'P' | 'x' | 'z' => {}
            'q' | 'Q' | 'l' => {
                self.skip(|c| c == ' ');
                self.skip(|c| c.is_ascii_digit());
            }
            'b' | 't' | 'T' | ':' => {
                self.skip(|c| c == ' ');
                self.skip(|c| c.is_ascii_alphanumeric());
            }
            'a' | 'i' | 'c' => {
                // The text is the rest of the line; a backslash would carry it over.
                while let Some(c) = self.chars.next_if(|c| *c != '\n') {
                    if c == '\\' {
                        return None;
                    }
                }
            }
            's' => {
                let mark = self.mark()?;
                self.part(mark, true)?;
                self.part(mark, false)?;
                self.skip(|c| matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M') || c.is_ascii_digit());
            }
            'y' => {
                let mark = self.mark()?;
                self.part(mark, false)?;
                self.part(mark, false)?;
            }
            _ => return None,
        }
        self.skip(|c| c == ' ');
        matches!(self.chars.peek(), None | Some(';' | '\n' | '}')).then_some(())
    }

    fn address(&mut self) -> Option<()> {
        match self.chars.peek() {
            Some('/') => {
                self.chars.next();
                self.part('/', true)?;
                self.skip(|c| matches!(c, 'I' | 'M'));
            }
            Some('\\') => {
                self.chars.next();
                let mark = self.mark()?;
                self.part(mark, true)?;
                self.skip(|c| matches!(c, 'I' | 'M'));
            }
            Some('$') => {
                self.chars.next();
            }
            _ => {
                self.skip(|c| c.is_ascii_digit() || c == '~');
            }
        }
        self.skip(|c| c == ' ');
        Some(())
    }

    /// What parts are set off by.
    fn mark(&mut self) -> Option<char> {
        self.chars.next().filter(|c| c.is_ascii_punctuation() && *c != '\\')
    }

    /// A part up to its mark. In a bracket some seds end it there and some do not, so that brackets have to be whole.
    fn part(&mut self, mark: char, pattern: bool) -> Option<()> {
        let (mut opened, mut closed) = (0, 0);
        loop {
            match self.chars.next()? {
                '\\' => {
                    self.chars.next().filter(|c| *c != '\n')?;
                }
                c if c == mark => return (!pattern || opened == closed).then_some(()),
                '\n' => return None,
                '[' => opened += 1,
                ']' => closed += 1,
                _ => {}
            }
        }
    }
}
