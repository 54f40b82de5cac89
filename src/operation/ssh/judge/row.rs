//! Rows: what is known of a program, as data, and the reading of a command line by one, as `getopt_long` would.

use super::state::Job;
use crate::operation::Risk;

/// One word of a command, as far as it is known before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Exactly this.
    Known(String),
    /// An unquoted pattern or `~/…`: any number of paths, none of which starts with `-`.
    Paths(String),
    /// Anything, even several words or none.
    Unknown,
}

impl Word {
    pub(super) fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Paths(_) | Self::Unknown => None,
        }
    }

    /// A path that is exactly one: known, or `~/…` without a pattern.
    pub(super) fn single(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Paths(text) if text.starts_with('~') && !text.contains(['*', '?', '[']) => Some(text),
            Self::Paths(_) | Self::Unknown => None,
        }
    }
}

/// The value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    None,
    Text,
    /// Two words follow: `jq --arg name value`.
    Pair,
    /// Only attached: `--color=auto`.
    Optional,
    /// A path that is looked at.
    Looks,
    /// A path that is read.
    Reads,
    /// A path that is overwritten.
    Writes,
}

impl Value {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Text => "text",
            Self::Pair => "pair",
            Self::Optional => "optional",
            Self::Looks => "looks",
            Self::Reads => "reads",
            Self::Writes => "writes",
        }
    }
}

/// Flags that are alike.
pub(super) struct Flags {
    pub(super) names: &'static str,
    pub(super) value: Value,
    pub(super) risk: Risk,
}

const fn flags(names: &'static str, value: Value) -> Flags {
    Flags { names, value, risk: Risk::Read }
}

/// Flags without a value.
pub(super) const fn on(names: &'static str) -> Flags {
    flags(names, Value::None)
}

/// Flags with a value that is not a path.
pub(super) const fn takes(names: &'static str) -> Flags {
    flags(names, Value::Text)
}

/// Flags with two values that are not paths.
pub(super) const fn pair(names: &'static str) -> Flags {
    flags(names, Value::Pair)
}

/// Flags with a value that may be left out.
pub(super) const fn may(names: &'static str) -> Flags {
    flags(names, Value::Optional)
}

/// Flags whose value is a path that is looked at.
pub(super) const fn looks(names: &'static str) -> Flags {
    flags(names, Value::Looks)
}

/// Flags whose value is a path that is read.
pub(super) const fn reads(names: &'static str) -> Flags {
    flags(names, Value::Reads)
}

/// Flags whose value is a path that is overwritten.
pub(super) const fn writes(names: &'static str) -> Flags {
    Flags { names, value: Value::Writes, risk: Risk::Destructive }
}

impl Flags {
    /// The same flags of a higher risk.
    pub(super) const fn at(self, risk: Risk) -> Self {
        Self { risk, ..self }
    }
}

/// What the words are that are no flags.
pub(super) enum Operands {
    /// There are none.
    No,
    /// Words that name no file.
    Text,
    /// Paths of which metadata, or the names in them, are told.
    Lists,
    /// The same of all that is below them, and the current directory if there are none.
    LooksHere,
    /// Paths that are read.
    Reads,
    /// Paths that are made or touched.
    Creates,
    /// Paths that are overwritten.
    Overwrites,
    /// Paths that are removed.
    Deletes,
    /// See there.
    Own(fn(&mut Job<'_>, &Parsed)),
}

/// How the words are read.
pub(super) enum Style {
    /// Flags may follow operands.
    Permute,
    /// The first operand ends the flags.
    Stops,
    /// A flag is a whole word, its value the next one, and the first operand ends the flags: `xxd -ps -l 5`.
    Words,
    /// Flags may follow operands; one with a value is a word of its own, or has it after a `=`.
    Alone,
    /// See there.
    Raw(fn(&mut Job<'_>, &'static Row, &[Word])),
}

/// What is known of some programs.
pub(super) struct Row {
    names: &'static str,
    pub(super) flags: &'static [Flags],
    pub(super) operands: Operands,
    style: Style,
    /// Whether it stays what it is with any words, known or not.
    any: bool,
    /// The least risk.
    pub(super) floor: Risk,
    why: &'static str,
}

/// A row for programs that are alike.
pub(super) const fn row(names: &'static str, operands: Operands, flags: &'static [Flags]) -> Row {
    Row { names, flags, operands, style: Style::Permute, any: false, floor: Risk::Read, why: "" }
}

/// Programs that are never looked into.
pub(super) const fn never(names: &'static str, why: &'static str) -> Row {
    row(names, Operands::Text, &[]).any().floor(Risk::Admin, why)
}

impl Row {
    pub(super) const fn any(self) -> Self {
        Self { any: true, ..self }
    }

    pub(super) const fn stops(self) -> Self {
        Self { style: Style::Stops, ..self }
    }

    pub(super) const fn words(self) -> Self {
        Self { style: Style::Words, ..self }
    }

    pub(super) const fn alone(self) -> Self {
        Self { style: Style::Alone, ..self }
    }

    pub(super) const fn raw(self, read: fn(&mut Job<'_>, &'static Self, &[Word])) -> Self {
        Self { style: Style::Raw(read), ..self }
    }

    pub(super) const fn floor(self, floor: Risk, why: &'static str) -> Self {
        Self { floor, why, ..self }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.names.split(' ').filter(|name| !name.is_empty())
    }

    const fn is_alone(&self) -> bool {
        matches!(self.style, Style::Alone)
    }

    pub(super) fn find(&self, name: &str) -> Option<(&'static str, &Flags)> {
        self.flags.iter().find_map(|flags| flags.names.split(' ').find(|known| *known == name).map(|known| (known, flags)))
    }

    /// Judges the words after the program's name.
    pub(super) fn judge(&'static self, job: &mut Job<'_>, words: &[Word]) {
        job.raise(self.floor, self.why);
        match self.style {
            Style::Raw(read) => return read(job, self, words),
            _ if self.any && matches!(self.operands, Operands::Text) => return,
            Style::Permute | Style::Stops | Style::Words | Style::Alone => {}
        }
        let parsed = self.parse(job, words);
        match self.operands {
            Operands::No => {
                if let Some(word) = parsed.operands.first() {
                    job.refuse("does not know the word", word.known().unwrap_or("?"));
                }
            }
            Operands::Text => {}
            Operands::LooksHere if parsed.operands.is_empty() => job.looks(&Word::Known(".".to_owned())),
            Operands::LooksHere => parsed.operands.iter().for_each(|word| job.looks(word)),
            Operands::Lists => parsed.operands.iter().for_each(|word| job.lists(word)),
            Operands::Reads => parsed.operands.iter().for_each(|word| job.reads(word)),
            Operands::Creates => parsed.operands.iter().for_each(|word| job.creates(word)),
            Operands::Overwrites => parsed.operands.iter().for_each(|word| job.overwrites(word)),
            Operands::Deletes => parsed.operands.iter().for_each(|word| job.deletes(word)),
            Operands::Own(judge) => judge(job, &parsed),
        }
    }

    /// Reads the words; whatever is not known is raised, and the rest read on for what it names.
    pub(super) fn parse(&self, job: &mut Job<'_>, words: &[Word]) -> Parsed {
        let mut reading = Reading { row: self, words: words.iter(), parsed: Parsed::default() };
        let mut ended = false;
        while let Some(word) = reading.words.next() {
            match word.known() {
                None if *word == Word::Unknown && !self.any => {
                    let why = if ended {
                        "a word that is not known here could be more than one"
                    } else {
                        "a word that is not known here could be a flag"
                    };
                    job.raise(Risk::Admin, why);
                }
                Some("--") if !ended => ended = true,
                Some(text) if !ended && text.len() > 1 && text.starts_with('-') => reading.flag(job, text),
                _ => {
                    reading.parsed.operands.push(word.clone());
                    ended |= matches!(self.style, Style::Stops | Style::Words);
                }
            }
        }
        reading.parsed
    }
}

/// A command line by its row.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) given: Vec<(&'static str, Option<String>)>,
    pub(super) operands: Vec<Word>,
}

impl Parsed {
    pub(super) fn has(&self, flag: &str) -> bool {
        self.given.iter().any(|(name, _)| *name == flag)
    }

    pub(super) fn has_any(&self, flags: &str) -> bool {
        flags.split(' ').any(|flag| self.has(flag))
    }

    /// The values of flags of any of these names, in order.
    pub(super) fn values<'a>(&'a self, flags: &'a str) -> impl Iterator<Item = &'a str> {
        self.given.iter().filter(move |(name, _)| flags.split(' ').any(|flag| flag == *name)).filter_map(|(_, value)| value.as_deref())
    }
}

/// `-x`, but not `-` and not `-5`.
pub(super) fn looks_like_a_flag(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()))
}

struct Reading<'a> {
    row: &'a Row,
    words: std::slice::Iter<'a, Word>,
    parsed: Parsed,
}

impl Reading<'_> {
    fn flag(&mut self, job: &mut Job<'_>, text: &str) {
        if matches!(self.row.style, Style::Words) {
            match self.row.find(text) {
                Some((name, flags)) => self.given(job, name, flags, None),
                None => job.refuse("does not know the flag", text),
            }
        } else if text.starts_with("--") {
            let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            match self.row.find(name) {
                Some((_, flags)) if flags.value == Value::None && value.is_some() => job.refuse("takes no value:", text),
                // Some versions take the next word, and some do not.
                Some((_, flags)) if flags.value != Value::None && value.is_none() && self.row.is_alone() => {
                    job.refuse("has no value after a `=`:", text);
                }
                Some((name, flags)) => self.given(job, name, flags, value),
                None => job.refuse("does not know the flag", text),
            }
        } else {
            self.cluster(job, text);
        }
    }

    /// `-la`, `-n5`, `-5`.
    fn cluster(&mut self, job: &mut Job<'_>, text: &str) {
        let letters = text.strip_prefix('-').unwrap_or(text);
        if letters.bytes().all(|byte| byte.is_ascii_digit())
            && let Some((name, flags)) = self.row.find("-NUM")
        {
            return self.given(job, name, flags, None);
        }
        let mut chars = letters.chars();
        while let Some(letter) = chars.next() {
            let Some((name, flags)) = self.row.find(&format!("-{letter}")) else {
                job.refuse("does not know the flag", &format!("-{letter}"));
                return;
            };
            let rest = chars.as_str();
            if self.row.is_alone() && flags.value != Value::None && letters.len() > 1 {
                return job.refuse("takes the value of a flag from another word:", text);
            }
            if flags.value == Value::None {
                self.given(job, name, flags, None);
            } else {
                return self.given(job, name, flags, (!rest.is_empty()).then_some(rest));
            }
        }
    }

    /// A flag that is known, with the value attached to it; one that is not attached is the next word.
    fn given(&mut self, job: &mut Job<'_>, name: &'static str, flags: &Flags, attached: Option<&str>) {
        if flags.risk > Risk::Read {
            job.raise(flags.risk, &format!("the flag {name}"));
        }
        let mut value = attached.map(str::to_owned);
        let wanted = match flags.value {
            Value::None | Value::Optional => 0,
            Value::Pair => 2,
            _ => usize::from(attached.is_none()),
        };
        for _ in 0..wanted {
            match self.words.next() {
                // Where a version takes no value, or only an attached one, this would be a flag.
                Some(Word::Known(text)) if looks_like_a_flag(text) && !matches!(name, "-e" | "--regexp" | "--expression") => {
                    job.refuse("a value that looks like a flag, of", name);
                }
                Some(Word::Known(text)) => value = Some(text.clone()),
                _ => job.refuse("a value that is not known here, of", name),
            }
        }
        if let Some(text) = value.clone() {
            let word = Word::Known(text);
            match flags.value {
                Value::Looks => job.looks(&word),
                Value::Reads => job.reads(&word),
                Value::Writes => job.overwrites(&word),
                Value::None | Value::Text | Value::Pair | Value::Optional => {}
            }
        }
        self.parsed.given.push((name, value));
    }
}
