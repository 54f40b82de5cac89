//! `Unmasked` and `Masked`: a bounded stream of pieces before and after the rules.
//!
//! `Masked` is minted by `Masks::apply` and by nothing else. A piece that cannot be masked ends the stream as `mask.failed`; a stream that stops
//! without its last piece does too.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::call::{Bound, CredentialFacts};
use crate::clock::Timestamp;
use crate::mask::cluster::{Rehearsal, Rows};
use crate::mask::part::{label, partly};
use crate::mask::report::MaskReport;
use crate::mask::rules::{Decision, Rules};
use crate::mask::terminal::Terminal;
use crate::mask::{detect, kube, names};
use crate::operation::sql::{BaseColumn, Lineage};
use crate::operation::ssh::Keep;
use crate::refusal::{Code, Refusal};

/// One column of a result, as the target announced it.
pub(crate) struct Column {
    /// The name of the result column.
    pub(crate) name: String,
    /// The target's own name of its type.
    pub(crate) type_name: String,
    /// The table column that the target says it came from. May add a mask, never clear one.
    pub(crate) origin: Option<BaseColumn>,
}

/// A piece of what a target answered.
pub(crate) enum Piece {
    /// Comes before anything else: what the target was opened with. Not the target's word, so there is nothing to mask.
    Used(CredentialFacts),
    /// Comes before rows, once: the columns, and where the parser says they come from.
    Header { columns: Vec<Column>, lineage: Lineage },
    /// One row, a JSON value a column.
    Row(Vec<Value>),
    /// A whole structured answer without rows (the broker's own tools, catalogue look-ups).
    Document(Value),
    /// Comes before rows, once: the columns of a cluster's own table, with their types. Cells are texts that may hold anything.
    Table { columns: Vec<(String, String)> },
    /// Comes before objects, once: each becomes a row of these fields. All are of this kind, if one is named.
    Fields { paths: Vec<Vec<String>>, kind: Option<String> },
    /// An object of which a row is made.
    Object(Value),
    /// An object of which these fields are told.
    Part { object: Value, paths: Vec<Vec<String>>, kind: Option<String> },
    /// An answer of a cluster, which may hold objects; they are of this kind, if one is named, whether they say so or not. Beside rows it says more
    /// about them.
    Kube { document: Value, kind: Option<String> },
    /// Texts of containers, and what was searched for in them.
    Logs { document: Value, search: Option<(String, u64)> },
    /// What changes of objects would come to.
    Rehearsed(Vec<Rehearsal>),
    /// Comes before what a program writes, once: what runs, and when it began (seconds since 1970).
    Began { command: String, timestamp: i64 },
    /// What a program wrote on one of its streams.
    Wrote { is_err: bool, bytes: Vec<u8> },
    /// So many milliseconds have passed since it began: what it has written is to be put down.
    Ticked { at: u64 },
    /// It has ended, as this document says beside its streams.
    Ran { document: Value, exit: Value, at: u64 },
    /// A program of our own has ended; what it wrote is read into a document, once it is masked.
    Said { document: Value, exit: Value, at: u64, telling: fn(&str, &str) -> Value },
    /// A part of a file, what stands before it there, and what else is told of it.
    File { document: Value, before: Vec<u8>, content: Vec<u8>, base64: bool },
    /// The last piece of an answer that succeeded.
    Done(Done),
    /// The last piece of one that did not. Its detail may quote data: masked like the rest.
    Failed { refusal: Refusal, stopped: Option<bool> },
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows changed, for a change.
    pub affected_rows: Option<u64>,
    /// The result was cut at a limit.
    pub truncated: bool,
    /// What the previewed change would touch.
    pub preview: Option<Bound>,
    /// Whether the target confirmed that its work was stopped, where it had to be: it wrote too much.
    pub stopped: Option<bool>,
    /// What becomes of a session on a host, and when that was said.
    pub keep: Option<(Keep, Timestamp)>,
}

/// What a target answered, sealed. Bounded: the sender waits while nobody reads.
pub struct Unmasked {
    pieces: mpsc::Receiver<Piece>,
    target: Option<String>,
}

impl Unmasked {
    /// Pieces that may wait between connector and mask.
    const PIECES_MAX: usize = 64;

    /// A sealed stream from this target, and the end that a connector fills.
    pub(crate) fn seal(target: Option<String>) -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(Self::PIECES_MAX);
        (sender, Self { pieces, target })
    }
}

/// A result column, as the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedColumn {
    /// Its name.
    pub name: String,
    /// Its type's name.
    pub type_name: String,
    /// The rule that masks its values, if one does.
    pub masked: Option<String>,
}

/// A piece that may leave.
#[derive(Debug, PartialEq)]
pub enum MaskedPiece {
    /// What the target was opened with.
    Used(CredentialFacts),
    /// The columns.
    Header {
        /// In order.
        columns: Vec<MaskedColumn>,
    },
    /// One row.
    Row(Vec<Value>),
    /// A whole structured answer.
    Document(Value),
    /// A part of the recording (asciicast v3), which no agent hears.
    Recorded {
        /// Whole lines of it.
        text: String,
        /// Whether it is the last part.
        is_last: bool,
    },
    /// It ended well.
    Done(Done),
    /// It did not.
    Failed {
        /// Why.
        refusal: Refusal,
        /// Whether the target confirmed that its work was stopped, where it had to be.
        stopped: Option<bool>,
        /// What a program had written by then.
        partial: Option<Value>,
    },
}

/// Applies rules.
#[derive(Debug, Clone)]
pub struct Masks {
    rules: Arc<Rules>,
}

/// A masked stream. Not `Clone`, no public constructor.
pub struct Masked {
    pieces: mpsc::Receiver<Piece>,
    target: Option<String>,
    rules: Arc<Rules>,
    pub(super) columns: Vec<(String, Option<Decision>)>,
    pub(super) rows: Option<Rows>,
    pub(super) terminal: Option<Terminal>,
    /// What comes next, before anything else is read.
    pub(super) waiting: Option<MaskedPiece>,
    /// Short texts of a cluster's cells in which nothing was found: such cells say the same again and again.
    pub(super) innocent: HashSet<String>,
    pub(super) report: MaskReport,
    /// Something was left out for its size once it was masked.
    pub(super) is_cut: bool,
    ended: bool,
}

/// Nesting of JSON that is followed; what lies deeper is redacted.
const DEPTH_MAX: usize = 32;
/// The longest text that is looked at as JSON.
const JSON_MAX_BYTES: usize = 1 << 20;

impl Masks {
    /// These rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules) }
    }

    /// The rules' hash.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.rules.hash()
    }

    /// Wraps a stream.
    #[must_use]
    pub fn apply(&self, unmasked: Unmasked) -> Masked {
        let Unmasked { pieces, target } = unmasked;
        let rules = Arc::clone(&self.rules);
        let (columns, innocent, report) = (Vec::new(), HashSet::new(), self.nothing());
        Masked { pieces, target, rules, columns, rows: None, terminal: None, waiting: None, innocent, report, is_cut: false, ended: false }
    }

    /// A refusal of a call that reached no target: it may quote what came in.
    #[must_use]
    pub fn refusal(&self, refusal: Refusal) -> (Refusal, MaskReport) {
        let mut report = self.nothing();
        let masked = refusal.map_detail(|detail| said(&mut report, "/error", detail));
        (masked, report)
    }

    /// What a call on a cluster was given, for the record. A patch does not say itself of which kind its object is.
    #[must_use]
    pub fn given(&self, mut arguments: Value) -> Value {
        let kind = arguments.get("kind").and_then(Value::as_str).map(ToOwned::to_owned);
        let is_secret = kind.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("secret"));
        let patch = arguments.get_mut("patch").map(Value::take);
        let mut shown = self.shown(arguments);
        if let (Some(members), Some(patch)) = (shown.as_object_mut(), patch) {
            members.insert("patch".to_owned(), kube::mask(patch, is_secret.then_some("Secret"), &mut |_, _| {}));
        }
        shown
    }

    /// A document that a human is shown of a call on a cluster: of a Secret the keys alone.
    #[must_use]
    pub fn shown(&self, document: Value) -> Value {
        kube::mask(document, None, &mut |_, _| {})
    }

    /// The report of an answer in which nothing matched.
    #[must_use]
    pub fn nothing(&self) -> MaskReport {
        MaskReport::new(self.rules.hash().to_owned())
    }
}

impl Masked {
    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Option<MaskedPiece> {
        if let Some(waiting) = self.waiting.take() {
            return Some(waiting);
        }
        if self.ended {
            return None;
        }
        loop {
            let piece = self.pieces.recv().await;
            if let Some(masked) = tracing::debug_span!("mask").in_scope(|| self.quiet(piece)) {
                return Some(masked);
            }
        }
    }

    pub(super) fn piece(&mut self, piece: Option<Piece>) -> MaskedPiece {
        match piece {
            Some(Piece::Used(facts)) => MaskedPiece::Used(facts),
            Some(Piece::Header { columns, lineage }) => self.header(columns, &lineage),
            Some(Piece::Row(values)) if values.len() == self.columns.len() => MaskedPiece::Row(self.row(values)),
            Some(Piece::Table { columns }) => self.table(columns),
            Some(Piece::Fields { paths, kind }) => self.fields(paths, kind),
            Some(Piece::Object(object)) => self.object(object),
            Some(Piece::Part { object, paths, kind }) => self.part(object, &paths, kind.as_deref()),
            Some(Piece::Kube { document, kind }) => MaskedPiece::Document(self.document(document, kind.as_deref())),
            Some(Piece::Logs { document, search }) => self.logs(document, search),
            Some(Piece::Rehearsed(rehearsals)) => self.rehearsed(rehearsals),
            Some(Piece::File { document, before, content, base64 }) => {
                let mut told = self.document(document, None);
                if let (Some(members), Value::Object(more)) = (told.as_object_mut(), self.content(&before, &content, base64)) {
                    members.extend(more);
                }
                MaskedPiece::Document(told)
            }
            Some(Piece::Began { .. } | Piece::Wrote { .. } | Piece::Ticked { .. } | Piece::Ran { .. } | Piece::Said { .. }) => {
                self.broken("a piece of a program's output came where none is expected")
            }
            Some(Piece::Document(value)) => MaskedPiece::Document(self.value("", value, 0, false)),
            Some(Piece::Done(done)) => {
                self.ended = true;
                MaskedPiece::Done(Done { truncated: done.truncated || self.is_cut, ..done })
            }
            Some(Piece::Failed { refusal, stopped }) => {
                self.ended = true;
                let refusal = refusal.map_detail(|detail| said(&mut self.report, "/error", detail));
                // What a program wrote before it was stopped is evidence, and told.
                let last = self.last_of_recording(None, &Value::from("stopped"));
                let failed = MaskedPiece::Failed { refusal, stopped, partial: self.partial(stopped) };
                match last {
                    Some(last) => {
                        self.waiting = Some(failed);
                        last
                    }
                    None => failed,
                }
            }
            Some(Piece::Row(_)) => self.broken("a row has another number of values than there are columns"),
            None => self.broken("the connector stopped without its last piece"),
        }
    }

    /// What was masked so far.
    #[must_use]
    pub fn report(&self) -> MaskReport {
        self.report.clone()
    }

    pub(super) fn broken(&mut self, cause: &str) -> MaskedPiece {
        self.ended = true;
        MaskedPiece::Failed { refusal: Refusal::new(Code::MaskFailed).cause(cause), stopped: None, partial: None }
    }

    fn header(&mut self, columns: Vec<Column>, lineage: &Lineage) -> MaskedPiece {
        let width = columns.len();
        let mut masked = Vec::with_capacity(width);
        for (position, column) in columns.into_iter().enumerate() {
            let decision = self.rules.column(self.target.as_deref(), &column.name, position, width, lineage, column.origin.as_ref());
            // A name may be made of data: `SELECT 1 AS "a@b.c"`.
            let name = self.text("/columns", &column.name);
            masked.push(MaskedColumn {
                name: name.clone(),
                type_name: column.type_name,
                masked: decision.as_ref().map(|decision| decision.rule.clone()),
            });
            self.columns.push((name, decision));
        }
        MaskedPiece::Header { columns: masked }
    }

    fn row(&mut self, values: Vec<Value>) -> Vec<Value> {
        if self.rows.is_some() {
            return self.cells(values);
        }
        let columns = std::mem::take(&mut self.columns);
        let masked = values
            .into_iter()
            .zip(&columns)
            .map(|(value, (name, decision))| match decision {
                // NULL says that there is nothing, which lengths and counts say as well.
                Some(_) if value.is_null() => value,
                Some(decision) => {
                    self.report.count(&format!("/{name}"), &decision.rule);
                    if decision.partial { partly(&value, &decision.rule) } else { label(&decision.rule) }
                }
                None => self.value(&format!("/{name}"), value, 0, true),
            })
            .collect();
        self.columns = columns;
        masked
    }

    /// A value without a rule of its own: keys and contents are looked at all the way down.
    fn value(&mut self, path: &str, value: Value, depth: usize, by_key: bool) -> Value {
        if depth > DEPTH_MAX {
            self.report.count(path, "content:too_deep");
            return label("content:too_deep");
        }
        match value {
            Value::Null | Value::Bool(_) => value,
            Value::Number(number) => {
                let text = number.to_string();
                if detect::find(&text).is_empty() {
                    return Value::Number(number);
                }
                Value::from(self.text(path, &text))
            }
            Value::String(text) => Value::from(self.nested(path, &text, depth, by_key)),
            Value::Array(items) => items.into_iter().map(|item| self.value(path, item, depth + 1, by_key)).collect(),
            Value::Object(members) => {
                let mut masked = Map::new();
                for (name, member) in members {
                    let evidence = if by_key && !member.is_null() { names::evidence(&name) } else { None };
                    let name = self.text(path, &name);
                    let below = format!("{path}/{name}");
                    let member = match evidence {
                        Some((id, partial)) => {
                            let rule = format!("key:{id}");
                            self.report.count(&below, &rule);
                            if partial { partly(&member, &rule) } else { label(&rule) }
                        }
                        None => self.value(&below, member, depth + 1, by_key),
                    };
                    // Two names may read the same once masked; neither value may be lost.
                    let mut free = name;
                    while masked.contains_key(&free) {
                        free.push('_');
                    }
                    masked.insert(free, member);
                }
                Value::Object(masked)
            }
        }
    }

    /// A text that is itself a JSON document is masked as one.
    fn nested(&mut self, path: &str, text: &str, depth: usize, by_key: bool) -> String {
        let looks = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
        if looks
            && text.len() <= JSON_MAX_BYTES
            && let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text)
        {
            // Always written anew: of a name that stands twice only one value was looked at.
            return self.value(path, value, depth + 1, by_key).to_string();
        }
        self.text(path, text)
    }

    /// Everything that detectors find in a text is replaced by its label.
    pub(super) fn text(&mut self, path: &str, text: &str) -> String {
        redacted(&mut self.report, path, text)
    }
}

fn redacted(report: &mut MaskReport, path: &str, text: &str) -> String {
    detect::redact(text, |kind| report.count(path, &format!("content:{kind}")))
}

/// What a target or a cluster says in its own words: names before values are evidence there too.
pub(super) fn said(report: &mut MaskReport, path: &str, text: &str) -> String {
    kube::text(text, &mut |kind| report.count(path, &format!("content:{kind}")))
}
