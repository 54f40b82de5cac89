//! The parameters of declared tools: a type, its bounds, and a JSON Schema that agents read and calls are checked by.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
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

impl RawParameter {
    pub(super) fn check(&self, well_named: &dyn Fn(&str) -> bool) -> Result<Parameter, String> {
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
