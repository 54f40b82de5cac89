//! Declared tools: one target, one fixed statement, typed parameters, from `tools/sql/*.toml`. Checked when they are loaded.
//!
//! The statement is parsed like any statement, so its risk is what the parser finds; a declaration may raise it and never lower it. Values are
//! bound as parameters, never written into the text.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use crate::catalog::arguments::ROWS_MAX;
use crate::catalog::{Listing, Target, schema};
use crate::operation::Risk;
use crate::operation::sql::Statement;

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
/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 500;

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
    statement: Spanned<String>,
    row_limit: Spanned<u32>,
    risk: Option<Spanned<String>>,
    #[serde(default)]
    parameter: Vec<Spanned<RawParameter>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParameter {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    description: String,
    #[serde(default = "yes")]
    required: bool,
    default: Option<toml::Value>,
    min: Option<f64>,
    max: Option<f64>,
    pattern: Option<String>,
    max_length: Option<u32>,
    values: Option<Vec<String>>,
}

const fn yes() -> bool {
    true
}

/// A parameter of a declared tool.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its JSON Schema.
    pub schema: Value,
    /// Must be given.
    pub required: bool,
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
    /// Its statement.
    pub statement: Statement,
    /// Rows that come back at most.
    pub row_limit: u32,
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
        if !(1..=ROWS_MAX).contains(raw.row_limit.get_ref()) {
            problems.push(problem(raw.row_limit.span(), format!("`row_limit` must be 1 to {ROWS_MAX}")));
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
        let statement = match Statement::parse(target.engine, raw.statement.get_ref()) {
            Ok(statement) => statement,
            Err(refusal) => {
                problems.push(problem(raw.statement.span(), refusal.message()));
                return Err(problems);
            }
        };
        if statement.placeholders() != parameters.len() {
            problems.push(problem(
                raw.statement.span(),
                format!("the statement has {} placeholders and the tool {} parameters", statement.placeholders(), parameters.len()),
            ));
        }
        let raised = match raw.risk.as_ref().map(|risk| (risk.span(), Risk::parse(risk.get_ref()))) {
            None => None,
            Some((span, None)) => {
                problems.push(problem(span, "`risk` must be read, write, destructive or admin".to_owned()));
                None
            }
            Some((span, Some(risk))) if risk < statement.risk() => {
                problems.push(problem(
                    span,
                    format!(
                        "`risk` is {risk}, and the statement is {}: a declaration can raise the risk, never lower it",
                        statement.risk()
                    ),
                ));
                None
            }
            Some((_, Some(risk))) => Some(risk).filter(|risk| *risk > statement.risk()),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let title = raw.title.unwrap_or_else(|| name.replace('_', " "));
        Ok(Self {
            name,
            title,
            description: raw.description.into_inner(),
            target: target.clone(),
            statement,
            row_limit: raw.row_limit.into_inner(),
            raised,
            parameters,
        })
    }

    /// The risk of its calls.
    pub(super) fn risk(&self) -> Risk {
        self.raised.unwrap_or(Risk::Read).max(self.statement.risk())
    }

    /// What its hash is over, beside the listing.
    pub(super) fn definition(&self) -> String {
        format!("{} {} {} {}", self.target.facts.name, self.statement.text(), self.row_limit, self.risk())
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
        let reads = self.statement.is_read();
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
            output_schema: schema::output(&schema::rows()),
            annotations: [reads, self.risk() >= Risk::Destructive, reads, false],
            min_risk: self.risk(),
            verb: self.statement.verb(),
            kind: "sql",
            targets: vec![self.target.facts.clone()],
        }
    }
}

impl RawParameter {
    fn check(&self, well_named: &dyn Fn(&str) -> bool) -> Result<Parameter, String> {
        let name = &self.name;
        let at = |why: &str| format!("the parameter `{name}`: {why}");
        if !well_named(name) || name == "reason" || name == "timeout_ms" {
            return Err(at("its name must be lower-case letters, digits and `_`, and not `reason` or `timeout_ms`"));
        }
        let mut schema = Map::from_iter([("description".to_owned(), json!(self.description))]);
        let numeric = matches!(self.kind.as_str(), "integer" | "number");
        match (self.kind.as_str(), &self.values) {
            ("string" | "integer" | "number" | "boolean", None) => drop(schema.insert("type".to_owned(), json!(self.kind))),
            ("enum", Some(values)) if !values.is_empty() => {
                schema.insert("type".to_owned(), json!("string"));
                schema.insert("enum".to_owned(), json!(values));
            }
            ("enum", _) => return Err(at("an enum needs `values`")),
            ("string" | "integer" | "number" | "boolean", Some(_)) => return Err(at("`values` go with the type enum alone")),
            _ => return Err(at("its type must be string, integer, number, boolean or enum")),
        }
        if !numeric && (self.min.is_some() || self.max.is_some()) {
            return Err(at("`min` and `max` go with numbers alone"));
        }
        for (key, bound) in [("minimum", self.min), ("maximum", self.max)] {
            if let Some(bound) = bound {
                schema.insert(key.to_owned(), if bound.fract() == 0.0 { json!(whole(bound)) } else { json!(bound) });
            }
        }
        if self.kind == "string" {
            schema.insert("maxLength".to_owned(), json!(self.max_length.unwrap_or(1_000)));
            if let Some(pattern) = &self.pattern {
                if pattern.len() > PATTERN_MAX || !is_anchored(pattern) {
                    return Err(at(
                        "a `pattern` must begin with ^ and end with $, in at most 500 bytes, with alternatives in a group and without flags: ^(a|b)$",
                    ));
                }
                schema.insert("pattern".to_owned(), json!(pattern));
            }
        } else if self.pattern.is_some() || self.max_length.is_some() {
            return Err(at("`pattern` and `max_length` go with strings alone"));
        }
        if let Some(default) = &self.default {
            let default = serde_json::to_value(default).map_err(|error| at(&error.to_string()))?;
            schema.insert("default".to_owned(), default);
        }
        if self.required && self.default.is_some() {
            return Err(at("a parameter with a default is not required"));
        }
        let schema = Value::Object(schema);
        let validator =
            jsonschema::draft202012::options().build(&schema).map_err(|error| at(&format!("its schema is not valid: {error}")))?;
        // What is bound where nothing is given must be what could have been given.
        if let Some(error) = schema.get("default").and_then(|default| validator.iter_errors(default).next()) {
            return Err(at(&format!("its default is none of its values: {error}")));
        }
        Ok(Parameter { name: name.clone(), schema, required: self.required })
    }
}

/// Whether a pattern speaks of the whole text: `^` and `$` at its ends, and nothing between them that takes either back (`^a|b$` lets
/// anything through that ends in b, `^a\$` anything that begins with a$, and with the flag m each line stands for the text).
fn is_anchored(pattern: &str) -> bool {
    let Some(inner) = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')) else { return false };
    let (mut depth, mut in_class) = (0_u32, false);
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // Nothing follows: it takes the `$` at the end.
            '\\' if chars.next().is_none() => return false,
            // Engines differ on what a bare `[` within a class opens.
            '[' if in_class => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '(' => {
                depth += 1;
                let flags = chars.next_if_eq(&'?').is_some() && chars.peek().is_some_and(|c| !matches!(c, ':' | '=' | '!' | '<' | 'P'));
                if flags {
                    return false;
                }
            }
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return false,
            _ => {}
        }
    }
    depth == 0 && !in_class
}

/// A whole number without its point, as integers are compared in a schema.
#[expect(clippy::cast_possible_truncation, reason = "the fraction is known to be zero, and a bound beyond i64 saturates")]
fn whole(bound: f64) -> i64 {
    bound as i64
}
