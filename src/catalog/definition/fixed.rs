//! A call of a built-in tool with some of its arguments fixed, and places in which the declared tool's parameters stand.
//!
//! `"{replicas}"` alone is the parameter's value as it is. Within a longer text, `"app={app}"`, only a plain word may stand: whatever else would say
//! more than the text around it was meant to.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::catalog::builtin::{self, Builtin};
use crate::catalog::definition::Parameter;
use crate::operation::ssh::judge;
use crate::refusal::{Code, Refusal};

/// Arguments that are the caller's, or the tool's own.
const OWN: [&str; 3] = ["target", "reason", "timeout_ms"];
/// Stands in a parameter's place while its tool is looked at.
const STAND_IN: &str = "countersign-parameter";
/// The longest word within a text (that of a label's value).
const WORD_MAX: usize = 63;

/// A call with its arguments.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct Fixed {
    pub(in crate::catalog) tool: Builtin,
    arguments: Map<String, Value>,
}

/// Text and the names of parameters, in turn.
fn pieces(text: &str) -> Result<(Vec<&str>, Vec<&str>), String> {
    let (mut around, mut names) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, more) = after.split_once('}').ok_or_else(|| format!("`{text}` opens a brace and does not close it"))?;
        around.push(before);
        names.push(name);
        rest = more;
    }
    if around.iter().chain([&rest]).any(|text| text.contains('}')) {
        return Err(format!("`{text}` closes a brace that it did not open"));
    }
    around.push(rest);
    Ok((around, names))
}

impl Fixed {
    /// Checks a declaration.
    pub(super) fn new(call: &str, kind: &str, arguments: &toml::Table, parameters: &[Parameter]) -> Result<Self, String> {
        let tool = builtin::all().find(|tool| tool.name() == call && tool.mildest().0 == kind);
        let tools = if kind == "kube" { "k8s_ tools" } else { "ssh_ and sftp_ tools" };
        let tool = tool.ok_or_else(|| format!("`{call}` is none of the {tools}"))?;
        let Ok(Value::Object(arguments)) = serde_json::to_value(arguments) else { return Err("`arguments` is no table".to_owned()) };
        let schema = tool.input();
        let known = |name: &String| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
        if let Some(name) = arguments.keys().find(|name| !known(name) || OWN.contains(&name.as_str())) {
            return Err(format!("`{call}` has no argument `{name}` that could be fixed"));
        }
        let mut used = BTreeSet::new();
        for value in arguments.values() {
            names_in(value, &mut used)?;
        }
        if let Some(name) = used.iter().find(|name| !parameters.iter().any(|parameter| parameter.name == **name)) {
            return Err(format!("`{{{name}}}` is no parameter of the tool"));
        }
        if let Some(unused) = parameters.iter().find(|parameter| !used.contains(&parameter.name)) {
            return Err(format!("the parameter `{}` stands nowhere in the arguments", unused.name));
        }
        if kind == "ssh" {
            check_program(&arguments)?;
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !OWN.contains(&required) && !arguments.contains_key(required) {
                return Err(format!("`{call}` needs the argument `{required}`"));
            }
        }
        Ok(Self { tool, arguments })
    }

    pub(super) fn definition(&self) -> String {
        format!("{} {}", self.tool.name(), Value::Object(self.arguments.clone()))
    }

    /// The arguments of the call, with these values.
    pub(in crate::catalog) fn fill(&self, target: &str, values: &Map<String, Value>, timeout_ms: Option<u64>) -> Result<Value, Refusal> {
        let mut filled = Map::new();
        for (name, value) in &self.arguments {
            let value = with(value, values)?;
            // What was not given is not sent.
            if !value.is_null() {
                filled.insert(name.clone(), value);
            }
        }
        filled.insert("target".to_owned(), Value::from(target));
        filled.extend(timeout_ms.map(|timeout| ("timeout_ms".to_owned(), Value::from(timeout))));
        Ok(Value::Object(filled))
    }
}

/// Refuses a parameter where a program or a text for a shell would stand: a value is a word that a program is given, and never says what runs.
fn check_program(arguments: &Map<String, Value>) -> Result<(), String> {
    let said = |name: &str| format!("no parameter may stand in `{name}`: a declared tool says itself what runs");
    for name in ["command", "program"] {
        if arguments.get(name).is_some_and(holds_place) {
            return Err(said(name));
        }
    }
    let words = |name: &str| arguments.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if words("argv").first().is_some_and(holds_place) {
        return Err(said("argv/0"));
    }
    // Programs that run what they are given, `env`, `timeout`, `sh -c`, are seen through as they are when they are called.
    let argv: Vec<&Value> = arguments.get("program").into_iter().chain(words("args")).chain(words("argv")).collect();
    let filled: Vec<String> =
        argv.iter().map(|word| if holds_place(word) { STAND_IN } else { word.as_str().unwrap_or_default() }.to_owned()).collect();
    if judge::argv(&filled).programs.iter().any(|(program, _)| program.contains(STAND_IN)) {
        return Err(format!(
            "a parameter stands where `{}` is told what to run: a declared tool says that itself",
            filled.first().map_or("argv", String::as_str)
        ));
    }
    Ok(())
}

/// Whether a parameter stands in it.
fn holds_place(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains('{'))
}

fn names_in(value: &Value, used: &mut BTreeSet<String>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            used.extend(pieces(text)?.1.into_iter().map(ToOwned::to_owned));
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| names_in(item, used)),
        Value::Object(members) => members.values().try_for_each(|member| names_in(member, used)),
        _ => Ok(()),
    }
}

fn with(value: &Value, values: &Map<String, Value>) -> Result<Value, Refusal> {
    match value {
        Value::String(text) => filled(text, values),
        Value::Array(items) => {
            let items = items.iter().map(|item| with(item, values)).collect::<Result<Vec<_>, _>>()?;
            // A list holds words: a parameter becomes exactly one of them, or none where it is left out.
            let word = |item: Value| match item {
                Value::Null => None,
                Value::Number(number) => Some(Value::from(number.to_string())),
                Value::Bool(truth) => Some(Value::from(truth.to_string())),
                item => Some(item),
            };
            Ok(Value::Array(items.into_iter().filter_map(word).collect()))
        }
        Value::Object(members) => {
            let filled = members.iter().map(|(name, member)| Ok((name.clone(), with(member, values)?)));
            filled.collect::<Result<Map<_, _>, Refusal>>().map(Value::Object)
        }
        other => Ok(other.clone()),
    }
}

fn filled(text: &str, values: &Map<String, Value>) -> Result<Value, Refusal> {
    let (around, names) = pieces(text).map_err(|why| Refusal::new(Code::InvalidArguments).cause(why))?;
    let of = |name: &str| values.get(name).cloned().unwrap_or(Value::Null);
    if let ([before, after], [name]) = (around.as_slice(), names.as_slice())
        && before.is_empty()
        && after.is_empty()
    {
        return Ok(of(name));
    }
    let mut whole = String::new();
    for (index, text) in around.iter().enumerate() {
        whole.push_str(text);
        if let Some(name) = names.get(index) {
            let word = match of(name) {
                Value::String(word) => word,
                value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
                _ => String::new(),
            };
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if word.is_empty() || word.len() > WORD_MAX || !word.bytes().all(plain) {
                let why = format!("`{name}` must be a word of at most {WORD_MAX} letters, digits, `-`, `_` and `.`");
                return Err(Refusal::new(Code::InvalidArguments).detail(why));
            }
            whole.push_str(&word);
        }
    }
    Ok(Value::from(whole))
}
