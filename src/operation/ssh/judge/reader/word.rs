//! Words of shell text, and compound commands.

use super::{Command, Reader, Refusal, Script, Word};

/// A shell takes the end of a line that goes on away before it reads what is around it: `$\`, a new line and `(` are a substitution.
const GOES_ON: &str = "a line that goes on within a word or a quote";

/// What a word is made of so far.
#[derive(Default)]
struct Draft {
    text: String,
    /// Something in it is only known when it runs.
    unknown: bool,
    /// Where an unquoted `*`, `?` or `[` is, as a length of `text`.
    patterns: Vec<usize>,
    /// Starts with an unquoted `~`.
    tilde: bool,
    quoted: bool,
}

impl Draft {
    fn done(self) -> Result<Word, Refusal> {
        let Self { text, unknown, patterns, tilde, quoted } = self;
        if unknown {
            return Ok(Word::Unknown);
        }
        if tilde && !(text == "~" || text.starts_with("~/")) {
            return Err("`~` with a name is the home directory of somebody");
        }
        if patterns.is_empty() {
            return Ok(if tilde { Word::Paths(text) } else { Word::Known(text) });
        }
        if text == "[" && !quoted {
            return Ok(Word::Known(text));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_');
        let starts = tilde || text.starts_with(plain) && !patterns.contains(&0) || text.starts_with("./") || text.starts_with("../");
        // A pattern that starts with a dot matches `..` too.
        let dotted = patterns
            .iter()
            .any(|at| text.get(..*at).is_some_and(|before| before.rsplit('/').next().is_some_and(|part| part.starts_with('.'))));
        Ok(if starts && !dotted { Word::Paths(text) } else { Word::Unknown })
    }
}

impl Reader {
    /// One word, which is not empty. What `$(…)` in it runs goes to `inner`.
    pub(super) fn word(&mut self, inner: &mut Vec<Script>) -> Result<Word, Refusal> {
        let (start, mut draft) = (self.at, Draft::default());
        if self.peek() == Some('#') {
            return Err("a comment, which not every shell takes for one");
        }
        // Words that are the same wherever they stand.
        if self.take("{}") {
            return self.ends_here(Word::Known("{}".to_owned()));
        }
        for same in ["!=", "=", "!"] {
            if self.take(same) {
                return self.ends_here(Word::Known(same.to_owned()));
            }
        }
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | ')' => break,
                '<' if self.at > start => return Err("`<` inside of a word"),
                '>' => break,
                '(' | '{' | '}' | '<' => return Err("a bracket that not every shell reads alike"),
                '!' => return Err("`!` inside of a word"),
                '\'' => self.single(&mut draft)?,
                '"' => self.double(&mut draft, inner)?,
                '\\' => {
                    let next = self.ahead(1).ok_or("a backslash at the end")?;
                    if next == '\n' {
                        return Err(GOES_ON);
                    }
                    draft.text.push(next);
                    draft.quoted = true;
                    self.at += 2;
                }
                '$' | '`' => self.expansion(&mut draft, inner, false)?,
                '*' | '?' | '[' => {
                    draft.patterns.push(draft.text.len());
                    draft.text.push(c);
                    self.at += 1;
                }
                _ => {
                    // Some shells see a home directory there too.
                    if c == '~' && draft.text.ends_with(['=', ':']) {
                        return Err("`~` after `=` or `:` may be a home directory");
                    }
                    draft.tilde |= c == '~' && self.at == start;
                    draft.text.push(c);
                    self.at += 1;
                }
            }
        }
        if self.at == start {
            return Err("a word is missing");
        }
        if !draft.patterns.is_empty() {
            self.look_up(&draft)?;
        }
        draft.done()
    }

    /// Notes a pattern. One that is not known from its start, and has a directory in it, may lead anywhere.
    fn look_up(&mut self, draft: &Draft) -> Result<(), Refusal> {
        let starts = !draft.unknown && !draft.patterns.contains(&0);
        match draft.text.as_str() {
            "[" => {}
            text if starts => self.looked_up.push(text.to_owned()),
            text if draft.unknown || text.contains('/') => return Err("a pattern that may lead anywhere"),
            _ => self.looked_up.push(".".to_owned()),
        }
        Ok(())
    }

    fn ends_here(&self, word: Word) -> Result<Word, Refusal> {
        match self.peek() {
            None | Some(' ' | '\t' | '\n' | ';' | ')') => Ok(word),
            _ => Err("a bracket, `=` or `!` at the start of a word"),
        }
    }

    fn single(&mut self, draft: &mut Draft) -> Result<(), Refusal> {
        self.at += 1;
        draft.quoted = true;
        loop {
            match self.peek() {
                None => return Err("a quote does not end"),
                Some('\'') => break,
                Some(c) => {
                    self.stays_on_line(c)?;
                    draft.text.push(c);
                }
            }
            self.at += 1;
        }
        self.at += 1;
        // Some shells can be told to take this for one quote.
        if self.peek() == Some('\'') { Err("a quote right after a quote") } else { Ok(()) }
    }

    fn double(&mut self, draft: &mut Draft, inner: &mut Vec<Script>) -> Result<(), Refusal> {
        self.at += 1;
        draft.quoted = true;
        loop {
            match self.peek() {
                None => return Err("a quote does not end"),
                Some('"') => break,
                Some('\\') => {
                    match self.ahead(1) {
                        Some('\n') => return Err(GOES_ON),
                        Some(c @ ('$' | '`' | '"' | '\\')) => draft.text.push(c),
                        Some(c) => draft.text.extend(['\\', c]),
                        None => return Err("a quote does not end"),
                    }
                    self.at += 2;
                }
                Some('$' | '`') => self.expansion(draft, inner, true)?,
                Some(c) => {
                    self.stays_on_line(c)?;
                    draft.text.push(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Where the body of a here-document begins is only plain if the line ends plainly.
    fn stays_on_line(&self, c: char) -> Result<(), Refusal> {
        if c == '\n' && !self.here.is_empty() { Err("a here-document on a line that goes on") } else { Ok(()) }
    }

    /// `$name`, `$(…)`, a backquoted command, or a plain `$`.
    fn expansion(&mut self, draft: &mut Draft, inner: &mut Vec<Script>, quoted: bool) -> Result<(), Refusal> {
        if self.peek() == Some('`') {
            draft.unknown = true;
            return self.backquoted(inner);
        }
        self.at += 1;
        match self.peek() {
            None | Some(' ' | '\n' | ';' | ')') => draft.text.push('$'),
            Some('|') if !quoted => draft.text.push('$'),
            Some('"' | '|' | '/' | '\\') if quoted => draft.text.push('$'),
            Some('(') if self.ahead(1) == Some('(') => {
                draft.unknown = true;
                self.arithmetic()?;
            }
            Some('(') => {
                draft.unknown = true;
                self.at += 1;
                let script = self.deeper(|reader| reader.list(&[]))?;
                if !self.take(")") {
                    return Err("a substitution does not end");
                }
                inner.push(script);
            }
            Some('{') => {
                draft.unknown = true;
                self.at += 1;
                if self.name() == 0 || !self.take("}") {
                    return Err("an expansion that is more than a variable");
                }
            }
            Some('?' | '$' | '@' | '*' | '0'..='9') => {
                draft.unknown = true;
                self.at += 1;
            }
            Some(_) => {
                draft.unknown = true;
                if self.name() == 0 {
                    return Err("an expansion that is more than a variable");
                }
                if matches!(self.peek(), Some('[' | ':')) {
                    return Err("a variable with what one shell takes for a subscript");
                }
            }
        }
        Ok(())
    }

    fn name(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|c| c == '_' || c.is_ascii_alphabetic() || (self.at > start && c.is_ascii_digit())) {
            self.at += 1;
        }
        self.at - start
    }

    /// Only numbers: a name could be of an array, whose subscript can run commands.
    fn arithmetic(&mut self) -> Result<(), Refusal> {
        self.at += 2;
        while matches!(self.peek(), Some('0'..='9' | '+' | '-' | '*' | '/' | '%' | ' ')) {
            self.at += 1;
        }
        if self.take("))") { Ok(()) } else { Err("arithmetic that is more than numbers") }
    }

    fn backquoted(&mut self, inner: &mut Vec<Script>) -> Result<(), Refusal> {
        let rest = self.chars.get(self.at + 1..).unwrap_or_default();
        let text: Vec<char> = rest.iter().copied().take_while(|c| *c != '`').collect();
        if text.len() == rest.len() || text.iter().any(|c| matches!(c, '\\' | '"')) {
            return Err("a backquoted command that is not plain");
        }
        let length = text.len();
        let script = self.deeper(|reader| {
            let mut within = Self { chars: text, at: 0, depth: reader.depth, here: Vec::new(), looked_up: Vec::new() };
            let script = within.list(&[])?;
            if within.peek().is_some() { Err("a backquoted command that is not plain") } else { Ok(script) }
        })?;
        self.at += length + 2;
        inner.push(script);
        Ok(())
    }

    fn expect(&mut self, word: &'static str) -> Result<(), Refusal> {
        if self.reserved() == Some(word) && self.take(word) { Ok(()) } else { Err("a compound command is not whole") }
    }

    /// Commands that may not be none.
    fn some(&mut self, ends: &[&str]) -> Result<Script, Refusal> {
        let script = self.list(ends)?;
        if script.is_empty() { Err("a compound command is empty") } else { Ok(script) }
    }

    pub(super) fn subshell(&mut self) -> Result<Command, Refusal> {
        self.at += 1;
        let parts = vec![self.some(&[])?];
        if self.take(")") { Ok(Command { parts, apart: true, ..Command::default() }) } else { Err("a subshell does not end") }
    }

    pub(super) fn group(&mut self) -> Result<Command, Refusal> {
        self.at += 1;
        let parts = vec![self.some(&["}"])?];
        self.expect("}")?;
        Ok(Command { parts, ..Command::default() })
    }

    pub(super) fn branch(&mut self) -> Result<Command, Refusal> {
        self.at += 2;
        let mut parts = vec![self.some(&["then"])?];
        self.expect("then")?;
        loop {
            parts.push(self.some(&["elif", "else", "fi"])?);
            match self.reserved() {
                Some("elif") => {
                    self.at += 4;
                    parts.push(self.some(&["then"])?);
                    self.expect("then")?;
                }
                Some("else") => {
                    self.at += 4;
                    parts.push(self.some(&["fi"])?);
                    self.expect("fi")?;
                    break;
                }
                _ => {
                    self.expect("fi")?;
                    break;
                }
            }
        }
        Ok(Command { parts, ..Command::default() })
    }

    /// `do … done`.
    fn body_of(&mut self) -> Result<Script, Refusal> {
        self.lines()?;
        self.expect("do")?;
        let script = self.some(&["done"])?;
        self.expect("done")?;
        Ok(script)
    }

    pub(super) fn repeat(&mut self) -> Result<Command, Refusal> {
        self.at += 5;
        let parts = vec![self.some(&["do"])?, self.body_of()?];
        Ok(Command { parts, repeats: true, ..Command::default() })
    }

    pub(super) fn each(&mut self) -> Result<Command, Refusal> {
        self.at += 3;
        self.blanks();
        let start = self.at;
        self.name();
        let name: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
        self.blanks();
        if name.is_empty() {
            return Err("a `for` without a name");
        }
        self.expect("in")?;
        let mut command = Command { sets: vec![(name, Word::Unknown)], repeats: true, ..Command::default() };
        loop {
            self.blanks();
            match self.peek() {
                Some(';' | '\n') => break,
                None | Some('&' | '|' | ')' | '<' | '>' | '#') => return Err("a `for` that is not plain"),
                _ => self.word(&mut command.inner)?,
            };
        }
        self.take(";");
        command.looked_up = std::mem::take(&mut self.looked_up);
        command.parts.push(self.body_of()?);
        Ok(command)
    }

    pub(super) fn case(&mut self) -> Result<Command, Refusal> {
        self.at += 4;
        self.blanks();
        let mut command = Command::default();
        self.word(&mut command.inner)?;
        self.lines()?;
        self.expect("in")?;
        loop {
            self.lines()?;
            if self.reserved() == Some("esac") {
                self.at += 4;
                return Ok(command);
            }
            self.take("(");
            let before = self.looked_up.len();
            loop {
                self.blanks();
                self.word(&mut command.inner)?;
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            if !self.take(")") {
                return Err("a `case` that is not plain");
            }
            // Those are matched with a word, not with files.
            self.looked_up.truncate(before);
            command.parts.push(self.list(&["esac"])?);
            self.lines()?;
            if !self.take(";;") && self.reserved() != Some("esac") {
                return Err("a `case` that is not plain");
            }
        }
    }
}
