//! Declared tools: one target, one fixed statement or one call of a built-in tool, typed parameters. Checked when they are loaded.
//!
//! What a declared tool does is parsed like any statement or call, so its risk is what the parser finds; a declaration may raise it and never lower
//! it. Values are bound as parameters of a statement, never written into its text; into the arguments of a call they go as they are, and are checked
//! there like an agent's own.

pub(super) mod fixed;
mod parameter;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use crate::catalog::arguments::ROWS_MAX;
use crate::catalog::definition::fixed::Fixed;
use crate::catalog::definition::parameter::RawParameter;
use crate::catalog::{Listing, Target, TargetOf, schema};
use crate::operation::Risk;
use crate::operation::sql::Statement;

pub use parameter::Parameter;

/// A file of `tools/`.
#[derive(Debug, Clone)]
pub struct DeclaredFile {
    /// Its path, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Something wrong in such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// The largest file, in bytes.
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// Files that a folder may hold.
const FILES_MAX: usize = 1_000;

/// Reads every `*.toml` of a folder, by name.
///
/// # Errors
/// What cannot be read.
pub fn read_declared(dir: &Path) -> Result<Vec<DeclaredFile>, Vec<Problem>> {
    let problem = |path: &Path, message: String| vec![Problem { file: path.display().to_string(), line: 1, message }];
    let entries = std::fs::read_dir(dir).map_err(|error| problem(dir, format!("failed to read the folder: {error}")))?;
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    paths.sort();
    if paths.len() > FILES_MAX {
        return Err(problem(dir, format!("it holds more than {FILES_MAX} tools")));
    }
    let mut files = Vec::new();
    for path in paths {
        let length = std::fs::metadata(&path).map_err(|error| problem(&path, error.to_string()))?.len();
        if length > FILE_MAX_BYTES {
            return Err(problem(&path, format!("it is larger than {FILE_MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| problem(&path, error.to_string()))?;
        files.push(DeclaredFile { path: path.display().to_string(), text });
    }
    Ok(files)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    title: Option<String>,
    description: Spanned<String>,
    target: Spanned<String>,
    statement: Option<Spanned<String>>,
    row_limit: Option<Spanned<u32>>,
    call: Option<Spanned<String>>,
    #[serde(default)]
    arguments: toml::Table,
    risk: Option<Spanned<String>>,
    #[serde(default)]
    parameter: Vec<Spanned<RawParameter>>,
}

/// What a declared tool does.
#[derive(Debug, Clone)]
pub(super) enum Does {
    /// A statement.
    Sql {
        /// Which.
        statement: Box<Statement>,
        /// Whether humans share the target's login.
        is_shared: bool,
        /// Rows that come back at most.
        row_limit: u32,
    },
    /// A call of one of the tools for clusters or hosts.
    Call(Fixed),
}

/// A declared tool.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its name.
    pub name: String,
    title: String,
    description: String,
    /// Its target.
    pub target: Target,
    /// What it does there.
    pub(super) does: Does,
    /// The declared risk, where it is above what the parser finds.
    pub raised: Option<Risk>,
    /// Its parameters, in the order of the placeholders.
    pub parameters: Vec<Parameter>,
}

impl Declared {
    /// Parses and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn parse(file: &DeclaredFile, targets: &BTreeMap<String, Target>) -> Result<Self, Vec<Problem>> {
        let line_at = |at: usize| file.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let problem = |span: Range<usize>, message: String| Problem { file: file.path.clone(), line: line_at(span.start), message };
        let raw: File =
            toml::from_str(&file.text).map_err(|error| vec![problem(error.span().unwrap_or(0..0), error.message().to_owned())])?;
        let mut problems = Vec::new();
        let name = raw.name.get_ref().clone();
        let well_named = |name: &str| {
            !name.is_empty() && name.len() < 50 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !well_named(&name) {
            problems.push(problem(raw.name.span(), format!("the name `{name}` must be lower-case letters, digits and `_`, below 50")));
        }
        if raw.description.get_ref().trim().len() < 10 || raw.description.get_ref().len() > 1_024 {
            problems.push(problem(
                raw.description.span(),
                "the description must tell an agent what the tool is for, in 10 to 1024 bytes".to_owned(),
            ));
        }
        let mut parameters = Vec::new();
        for parameter in &raw.parameter {
            let span = parameter.span();
            match parameter.get_ref().check(&well_named) {
                Ok(checked) if parameters.iter().any(|known: &Parameter| known.name == checked.name) => {
                    problems.push(problem(span, format!("the parameter `{}` stands twice", checked.name)))
                }
                Ok(checked) => parameters.push(checked),
                Err(message) => problems.push(problem(span, message)),
            }
        }
        let Some(target) = targets.get(raw.target.get_ref()) else {
            problems.push(problem(raw.target.span(), format!("there is no target `{}` in the configuration", raw.target.get_ref())));
            return Err(problems);
        };
        let does = match does(&raw, target, &parameters) {
            Ok(does) => does,
            Err((span, message)) => {
                problems.push(problem(span.unwrap_or_else(|| raw.name.span()), message));
                return Err(problems);
            }
        };
        let found = does.risk();
        let raised = match raw.risk.as_ref().map(|risk| (risk.span(), Risk::parse(risk.get_ref()))) {
            None => None,
            Some((span, None)) => {
                problems.push(problem(span, "`risk` must be read, write, destructive or admin".to_owned()));
                None
            }
            Some((span, Some(risk))) if risk < found => {
                problems.push(problem(
                    span,
                    format!("`risk` is {risk}, and what it does is {found}: a declaration can raise the risk, never lower it"),
                ));
                None
            }
            Some((_, Some(risk))) => Some(risk).filter(|risk| *risk > found),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let title = raw.title.unwrap_or_else(|| name.replace('_', " "));
        Ok(Self { name, title, description: raw.description.into_inner(), target: target.clone(), does, raised, parameters })
    }

    /// The risk of its calls.
    pub(super) fn risk(&self) -> Risk {
        self.raised.unwrap_or(Risk::Read).max(self.does.risk())
    }

    /// What its hash is over, beside the listing.
    pub(super) fn definition(&self) -> String {
        let does = match &self.does {
            Does::Sql { statement, row_limit, .. } => format!("{} {row_limit}", statement.text()),
            Does::Call(fixed) => fixed.definition(),
        };
        format!("{} {does} {}", self.target.facts.name, self.risk())
    }

    pub(super) fn listing(&self) -> Listing {
        let mut properties: Map<String, Value> =
            self.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.schema.clone())).collect();
        properties.insert("reason".to_owned(), json!({ "type": "string", "maxLength": 1000, "description": "Why you need it; shown to humans as your own words, never trusted." }));
        properties.insert("timeout_ms".to_owned(), json!({ "type": "integer", "minimum": 100, "maximum": 300_000, "description": "The target's work is stopped after this many milliseconds." }));
        let required: Vec<&str> =
            self.parameters.iter().filter(|parameter| parameter.required).map(|parameter| parameter.name.as_str()).collect();
        let input = Map::from_iter([
            ("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema")),
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
            ("required".to_owned(), json!(required)),
            ("additionalProperties".to_owned(), json!(false)),
        ]);
        let (verb, result) = match &self.does {
            Does::Sql { statement, .. } => (statement.verb(), schema::rows()),
            Does::Call(fixed) => (fixed.tool.mildest().1, fixed.tool.result()),
        };
        let reads = self.does.reads();
        let note = if reads {
            "Personal data comes back masked."
        } else {
            "May need a human's approval and may answer approval_pending; then call approval_wait and repeat the exact same call."
        };
        Listing {
            name: self.name.clone(),
            title: self.title.clone(),
            description: format!("{} {note}", self.description.trim()),
            input_schema: Arc::new(input),
            output_schema: schema::output(&result),
            annotations: [reads, self.may_destroy(), reads, false],
            min_risk: self.risk(),
            verb,
            kind: self.target.of.kind(),
            targets: vec![self.target.facts.clone()],
            made_of: None,
        }
    }
}

impl Does {
    /// The risk of its mildest call.
    fn risk(&self) -> Risk {
        match self {
            Self::Sql { statement, .. } => statement.risk(),
            Self::Call(fixed) => fixed.tool.mildest().2,
        }
    }

    fn reads(&self) -> bool {
        match self {
            Self::Sql { statement, .. } => statement.is_read(),
            Self::Call(fixed) => fixed.tool.annotations()[0],
        }
    }
}

impl Declared {
    fn may_destroy(&self) -> bool {
        let of_tool = matches!(&self.does, Does::Call(fixed) if fixed.tool.annotations()[1]);
        of_tool || self.risk() >= Risk::Destructive
    }
}

/// What a declaration says that the tool does; else where it is wrong, and why.
fn does(raw: &File, target: &Target, parameters: &[Parameter]) -> Result<Does, (Option<Range<usize>>, String)> {
    match (&raw.statement, &raw.call, &target.of) {
        (Some(statement), None, TargetOf::Sql { engine, is_shared }) => {
            let Some(row_limit) = &raw.row_limit else { return Err((Some(statement.span()), "`row_limit` is missing".to_owned())) };
            if !(1..=ROWS_MAX).contains(row_limit.get_ref()) {
                return Err((Some(row_limit.span()), format!("`row_limit` must be 1 to {ROWS_MAX}")));
            }
            if !raw.arguments.is_empty() {
                return Err((Some(statement.span()), "`arguments` go with a `call`".to_owned()));
            }
            let at = |message: String| (Some(statement.span()), message);
            let parsed = Statement::parse(*engine, statement.get_ref()).map_err(|refusal| at(refusal.message()))?;
            if parsed.placeholders() != parameters.len() {
                let (holes, given) = (parsed.placeholders(), parameters.len());
                return Err(at(format!("the statement has {holes} placeholders and the tool {given} parameters")));
            }
            Ok(Does::Sql { statement: Box::new(parsed), is_shared: *is_shared, row_limit: *row_limit.get_ref() })
        }
        (None, Some(call), TargetOf::Kube { .. } | TargetOf::Ssh { .. }) => {
            if let Some(limit) = &raw.row_limit {
                return Err((
                    Some(limit.span()),
                    "`row_limit` goes with a `statement`; a call has its own limits among its arguments".to_owned(),
                ));
            }
            Fixed::new(call.get_ref(), target.of.kind(), &raw.arguments, parameters)
                .map(Does::Call)
                .map_err(|message| (Some(call.span()), message))
        }
        (Some(statement), None, TargetOf::Kube { .. } | TargetOf::Ssh { .. }) => Err((
            Some(statement.span()),
            "a `statement` is for a database; on a cluster or host a tool has a `call` and its `arguments`".to_owned(),
        )),
        (None, Some(call), TargetOf::Sql { .. }) => {
            Err((Some(call.span()), "a `call` is for a cluster or a host; on a database a tool has a `statement`".to_owned()))
        }
        (Some(_), Some(call), _) => Err((Some(call.span()), "a tool has either a `statement` or a `call`".to_owned())),
        (None, None, _) => Err((None, "it has neither a `statement` (for a database) nor a `call` (for a cluster or a host)".to_owned())),
    }
}
