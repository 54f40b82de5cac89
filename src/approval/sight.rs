//! What an approver is shown: one description of a request, made here once, so that page, terminal and JSON show the very same, and a chat shows either
//! that or no button that says yes.
//!
//! It must never interpret: every text from outside goes through [`Inert`], runs of blanks that would push something out of sight are written out with
//! their length, and what is long is shown whole and counted. Nothing of the operation or its effect may be left out: what this room does not know by
//! name is shown as it stands. The agent's own reason comes last, in a section that says whose words they are. How a format is escaped (HTML, Slack) is the
//! business of whoever writes that format.

mod brief;
mod effect;
mod outline;
mod sections;

pub use brief::reached;
pub(super) use sections::EARLIER_MAX;
use serde_json::{Value, json};

use crate::approval::{Filed, View};
use crate::clock::Timestamp;
use crate::inert::Inert;

/// A one-line text that is longer is a block of its own, in characters.
const LINE_MAX: usize = 100;
/// A text that is longer is counted, in characters.
const LONG: usize = 500;
/// A run of blanks that is longer is written out with its length.
const SPACES_MAX: usize = 40;
/// The same of line ends.
const LINE_ENDS_MAX: usize = 4;
/// Of what would run, in a table: so many characters.
const GIST_MAX: usize = 200;

/// A request as an approver reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Everything in one line: risk, agent, human, target, tool.
    pub headline: String,
    /// All of it, in the order in which it is to be read.
    pub sections: Vec<Section>,
}

/// Some of it, under a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The title, of the broker's own words.
    pub title: &'static str,
    /// Whether these are the agent's words, which nobody has checked.
    pub is_unverified: bool,
    /// What it says.
    pub parts: Vec<Part>,
    /// What a reader should know of these texts: characters that were hidden, letters that may look like others, lengths.
    pub notes: Vec<String>,
}

/// A piece of a section. Labels are the broker's words, unless they name an object; all of it is inert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One line.
    Fact {
        /// What it is.
        label: String,
        /// What it says.
        text: String,
    },
    /// Text of several lines, or of one long line, which are to stay as they are.
    Block {
        /// What it is.
        label: String,
        /// What it says.
        text: String,
    },
    /// A table.
    Table {
        /// What it is.
        label: String,
        /// The columns' titles.
        heading: Vec<String>,
        /// As many cells in each as there are columns.
        rows: Vec<Vec<String>>,
    },
}

impl Sight {
    /// Of a request. `earlier` are others for the identical call, newest first.
    #[must_use]
    pub fn of(filed: &Filed, earlier: &[View], now: Timestamp) -> Self {
        Self { headline: brief::headline(filed), sections: sections::all(filed, earlier, now) }
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "headline": self.headline, "sections": self.sections.iter().map(Section::to_json).collect::<Vec<_>>() })
    }

    /// As plain text, whole: the call, its risk, what would come of it, what binds it and what was decided before. Who asks, and the terms, stand
    /// elsewhere in a message.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for section in self.sections.iter().filter(|section| sections::MATTERS.contains(&section.title)) {
            lines.push(section.title.to_uppercase());
            lines.extend(section.parts.iter().flat_map(Part::lines));
            lines.extend(section.notes.iter().map(|note| format!("! {note}")));
        }
        lines.join("\n")
    }
}

impl Filed {
    /// What would run, in one line that may be cut, with the count of what is left out: for a table.
    #[must_use]
    pub fn gist(&self) -> String {
        brief::gist(self)
    }
}

impl Section {
    fn to_json(&self) -> Value {
        let parts: Vec<Value> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Fact { label, text } => json!({ "label": label, "text": text }),
                Part::Block { label, text } => json!({ "label": label, "block": text }),
                Part::Table { label, heading, rows } => json!({ "label": label, "heading": heading, "rows": rows }),
            })
            .collect();
        json!({ "title": self.title, "unverified": self.is_unverified, "parts": parts, "notes": self.notes })
    }
}

impl Part {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Fact { label, text } => vec![format!("{label}: {text}")],
            Self::Block { label, text } => {
                std::iter::once(format!("{label}:")).chain(text.lines().map(|line| format!("  {line}"))).collect()
            }
            Self::Table { label, heading, rows } => {
                let row = |cells: &Vec<String>| format!("  {}", cells.join(" | "));
                std::iter::once(format!("{label}:")).chain(std::iter::once(row(heading))).chain(rows.iter().map(row)).collect()
            }
        }
    }
}

/// Makes a section, and counts what is special about the texts in it.
struct Writer {
    section: Section,
    hidden: usize,
    foreign: usize,
    padded: usize,
    /// How many characters each long text has.
    long: Vec<usize>,
}

impl Writer {
    const fn new(title: &'static str) -> Self {
        let section = Section { title, is_unverified: false, parts: Vec::new(), notes: Vec::new() };
        Self { section, hidden: 0, foreign: 0, padded: 0, long: Vec::new() }
    }

    /// Text of any number of lines.
    fn text(&mut self, text: &str) -> String {
        let Inert { text: shown, hidden, foreign } = Inert::of(text);
        self.hidden += hidden;
        self.foreign += foreign;
        self.long.extend(Some(text.chars().count()).filter(|count| *count > LONG));
        self.unpadded(&shown)
    }

    /// Text that is to be one line: the ends of others in it are written out.
    fn line(&mut self, text: &str) -> String {
        let Inert { text: shown, hidden, foreign } = Inert::of(text);
        self.hidden += hidden + shown.matches('\n').count();
        self.foreign += foreign;
        self.long.extend(Some(text.chars().count()).filter(|count| *count > LONG));
        self.unpadded(&shown.replace('\n', "\\u{a}"))
    }

    /// Long runs of blanks, mixed ones as well, written out with their length.
    fn unpadded(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find([' ', '\n']) {
            let (before, from) = rest.split_at(at);
            let run = from.find(|c| c != ' ' && c != '\n').unwrap_or(from.len());
            let (blanks, after) = from.split_at(run);
            let count = |of: char| blanks.chars().filter(|c| *c == of).count();
            let counts = [(' ', count(' '), SPACES_MAX), ('\n', count('\n'), LINE_ENDS_MAX)];
            out.push_str(before);
            if counts.iter().any(|(_, count, most)| count > most) {
                self.padded += 1;
                let said = counts.iter().filter(|(_, count, _)| *count > 0);
                let said: Vec<String> = said.map(|(c, count, _)| format!("{} {count} times", c.escape_unicode())).collect();
                out.push_str(&format!("[{}]", said.join(", ")));
            } else {
                out.push_str(blanks);
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// The broker's own words, with texts in them that went through [`Writer::line`].
    fn fact(&mut self, label: &str, text: String) {
        self.section.parts.push(Part::Fact { label: label.to_owned(), text });
    }

    /// A text from outside under a label of the broker's.
    fn put(&mut self, label: &str, text: &str) {
        let text = self.text(text);
        if text.contains('\n') || text.chars().count() > LINE_MAX { self.block(label, text) } else { self.fact(label, text) }
    }

    /// Lines that were written here.
    fn block(&mut self, label: &str, text: String) {
        self.section.parts.push(Part::Block { label: label.to_owned(), text });
    }

    fn table(&mut self, label: String, heading: Vec<String>, rows: Vec<Vec<String>>) {
        self.section.parts.push(Part::Table { label, heading, rows });
    }

    fn done(mut self) -> Section {
        let notes = [
            (
                self.hidden,
                "character that nobody would see is written out as \\u{…}",
                "characters that nobody would see are written out as \\u{…}",
            ),
            (self.padded, "long run of blanks is written out with its length", "long runs of blanks are written out with their length"),
            (self.foreign, "letter outside ASCII: it may look like another", "letters outside ASCII: they may look like others"),
        ];
        let said =
            notes.into_iter().filter(|(count, ..)| *count > 0).map(|(count, one, more)| format!("{count} {}", plural(count, one, more)));
        self.section.notes.extend(said);
        if !self.long.is_empty() {
            let counts: Vec<String> = self.long.iter().map(ToString::to_string).collect();
            let what = plural(counts.len(), "a long text is shown whole", "long texts are shown whole");
            self.section.notes.push(format!("{what}: {} characters", counts.join(", ")));
        }
        self.section
    }
}

const fn plural<'a>(count: usize, one: &'a str, more: &'a str) -> &'a str {
    if count == 1 { one } else { more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_padded_or_long_is_written_out_and_counted() {
        let mut writer = Writer::new("title");
        writer.put("statement", &format!("SELECT 1{}; DROP\u{202e} TABLE p\u{430}ypal{}--", " ".repeat(4_096), "\n".repeat(60)));
        writer.put("mixed", &format!("'{}'{}end", " \n".repeat(600), "\n  ".repeat(4)));
        let name = writer.line("bob\nstate: approved");
        writer.fact("name", name);
        let section = writer.done();
        let text = "SELECT 1[\\u{20} 4096 times]; DROP\\u{202e} TABLE p\u{430}ypal[\\u{a} 60 times]--";
        assert_eq!(section.parts.first(), Some(&Part::Fact { label: "statement".to_owned(), text: text.to_owned() }));
        let text = "'[\\u{20} 600 times, \\u{a} 600 times]'\n  \n  \n  \n  end";
        assert_eq!(section.parts.get(1), Some(&Part::Block { label: "mixed".to_owned(), text: text.to_owned() }));
        assert_eq!(section.parts.get(2), Some(&Part::Fact { label: "name".to_owned(), text: "bob\\u{a}state: approved".to_owned() }));
        let notes = [
            "2 characters that nobody would see are written out as \\u{…}",
            "3 long runs of blanks are written out with their length",
            "1 letter outside ASCII: it may look like another",
            "long texts are shown whole: 4186, 1217 characters",
        ];
        assert_eq!(section.notes, notes);
    }

    #[test]
    fn the_text_has_what_matters_and_every_note() {
        let part = Part::Fact { label: "statement".to_owned(), text: "SELECT 1".to_owned() };
        let section = |title, notes: &[&str]| Section {
            title,
            is_unverified: false,
            parts: vec![part.clone()],
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
        };
        let sections = vec![section("Who asks", &[]), section(sections::MATTERS[0], &["7 hidden"])];
        let sight = Sight { headline: "head".to_owned(), sections };
        assert_eq!(sight.text(), "WHAT WOULD RUN\nstatement: SELECT 1\n! 7 hidden");
    }
}
