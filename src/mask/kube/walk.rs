//! The walk over a document: every value, all the way down, with what is known about the place that it stands at.
//!
//! The same walk learns and masks, so that what is masked as part of a Secret is exactly what its copies are looked for by.

use serde_json::{Map, Number, Value};

use crate::mask::kube::change::{self, Verdict};
use crate::mask::kube::memory::Memory;
use crate::mask::kube::object::{self, Nature};
use crate::mask::kube::{LAYERS_MAX, settle};
use crate::mask::{detect, keys, lines};

/// Nesting that is followed, in documents and the documents within their strings.
const DEPTH_MAX: usize = 64;

/// What is known about a place.
#[derive(Clone, Copy, Default)]
pub(super) struct At<'v> {
    pub(super) depth: usize,
    /// Layers of base64 around it.
    pub(super) layers: usize,
    /// Objects here are Secrets unless they say otherwise.
    pub(super) hint: bool,
    /// Changes here are changes of a Secret.
    pub(super) changes: bool,
    /// Below `data` of a Secret: everything goes.
    pub(super) sealed: bool,
    /// Below a member whose name says secret: its `value` goes.
    pub(super) named: bool,
    /// Below labels and selectors, where names say nothing.
    pub(super) labels: bool,
    /// What a name says is secret is remembered as well as what a Secret holds.
    pub(super) learns_named: bool,
    /// The document that a change's path leads into.
    pub(super) root: Option<&'v Map<String, Value>>,
}

pub(super) struct Walk<'a> {
    memory: &'a Memory,
    /// Where what is sealed is remembered, on the first walk.
    learned: Option<&'a mut Memory>,
    learns_named: bool,
    found: &'a mut dyn FnMut(&str, &str),
}

/// What is only named a secret is looked for elsewhere if it is this long: shorter values are words.
const NAMED_MIN_BYTES: usize = 8;

pub(super) const SECRET: &str = "[redacted:secret]";

impl<'a> Walk<'a> {
    pub(super) fn new(memory: &'a Memory, learned: Option<&'a mut Memory>, found: &'a mut dyn FnMut(&str, &str)) -> Self {
        Self { memory, learned, learns_named: false, found }
    }

    pub(super) fn value<'v>(&mut self, path: &str, value: &'v Value, at: At<'v>) -> Value {
        self.learns_named = self.learns_named || at.learns_named;
        if at.depth > DEPTH_MAX {
            (self.found)(path, "content:too_deep");
            return Value::from("[redacted:too_deep]");
        }
        match value {
            Value::Null => Value::Null,
            Value::Array(items) => self.array(path, items, at),
            Value::Object(members) => self.object(path, members, at),
            scalar if at.sealed => self.seal(path, "", scalar, "kube:secret"),
            Value::Bool(_) => value.clone(),
            Value::Number(number) => self.number(path, number),
            Value::String(text) => Value::from(self.string(path, "", text, at)),
        }
    }

    /// A label for a scalar, and the scalar remembered if it is part of a Secret.
    fn seal(&mut self, path: &str, name: &str, scalar: &Value, rule: &str) -> Value {
        let text = scalar.as_str().map_or_else(|| scalar.to_string(), ToOwned::to_owned);
        if text.is_empty() || keys::is_label(&text) {
            return scalar.clone();
        }
        if (rule == "kube:secret" || self.learns_named && text.len() >= NAMED_MIN_BYTES)
            && let Some(learned) = self.learned.as_deref_mut()
        {
            learned.learn(name, &text);
        }
        (self.found)(path, rule);
        Value::from(SECRET)
    }

    fn number(&mut self, path: &str, number: &Number) -> Value {
        let text = number.to_string();
        if detect::find(&text).is_empty() {
            return Value::Number(number.clone());
        }
        Value::from(detect::redact(&text, |kind| (self.found)(path, &format!("content:{kind}"))))
    }

    /// A flag's value is the item after it.
    fn array<'v>(&mut self, path: &str, items: &'v [Value], at: At<'v>) -> Value {
        let below = At { depth: at.depth + 1, ..at };
        let mut flag = false;
        let mut masked = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}/{index}");
            let text = item.as_str().unwrap_or_default();
            let is_argument = flag && !at.sealed && !text.starts_with('-') && !keys::is_exempt("", text);
            flag = text.starts_with('-') && !text.contains(['=', ' ']) && keys::holds_secret(text.trim_start_matches('-'));
            masked.push(if is_argument { self.seal(&path, "", item, "kube:args") } else { self.value(&path, item, below) });
        }
        Value::Array(masked)
    }

    fn object<'v>(&mut self, path: &str, members: &'v Map<String, Value>, at: At<'v>) -> Value {
        let nature = Nature::of(members, at.hint);
        let change = change::of(members);
        let changes = at.changes || nature.is_secret || nature.speaks_of_secret;
        let verdict = change.as_ref().map(|change| change.verdict(changes, at.root)).unwrap_or_default();
        let around = Around { members, verdict, names_secret: object::names_secret(members), at };
        let below = At {
            depth: at.depth + 1,
            hint: nature.hint || nature.speaks_of_secret,
            changes,
            named: false,
            root: if change.is_some() { at.root } else { Some(members) },
            ..at
        };
        let mut masked = Map::new();
        for (name, member) in members {
            let shown = self.name(path, name);
            let path = format!("{path}/{shown}");
            let concerned = change.as_ref().is_some_and(|change| change.concerns(name));
            let is_data = nature.is_secret && object::is_data(name);
            let below = At { sealed: at.sealed || is_data || (concerned && verdict == Verdict::Sealed), ..below };
            let member = match around.rule(name, member, concerned).filter(|_| !below.sealed) {
                Some(rule) => self.by_name(&path, name, member, rule, below),
                None => self.member(&path, name, member, below),
            };
            // Two names may read the same once masked; neither value may be lost.
            let mut free = shown;
            while masked.contains_key(&free) {
                free.push('_');
            }
            masked.insert(free, member);
        }
        Value::Object(masked)
    }

    /// What stands under a name that says secret: scalars go, an object speaks for itself.
    fn by_name<'v>(&mut self, path: &str, name: &str, member: &'v Value, rule: &'static str, at: At<'v>) -> Value {
        match member {
            Value::String(text) if !keys::is_exempt(name, text) => self.seal(path, name, member, rule),
            Value::Number(number) if !keys::is_exempt(name, &number.to_string()) => self.seal(path, name, member, rule),
            Value::Array(items) => {
                let below = At { depth: at.depth + 1, ..at };
                let each = items.iter().enumerate().map(|(index, item)| {
                    let path = format!("{path}/{index}");
                    let goes = item.as_str().is_some_and(|text| !keys::is_exempt(name, text));
                    if goes { self.seal(&path, name, item, rule) } else { self.value(&path, item, below) }
                });
                Value::Array(each.collect())
            }
            Value::Object(_) => self.value(path, member, At { named: true, ..at }),
            _ => self.member(path, name, member, at),
        }
    }

    /// A member whose name says nothing about its value.
    fn member<'v>(&mut self, path: &str, name: &str, member: &'v Value, at: At<'v>) -> Value {
        let at = At { labels: at.labels || object::is_labels(name), ..at };
        match member {
            Value::String(_) | Value::Number(_) | Value::Bool(_) if at.sealed => self.seal(path, name, member, "kube:secret"),
            Value::String(text) if object::is_identity(name, text) => member.clone(),
            Value::String(text) => Value::from(self.string(path, name, text, at)),
            _ => self.value(path, member, at),
        }
    }

    /// A name, which may be made of data.
    fn name(&mut self, path: &str, name: &str) -> String {
        if self.learned.is_some() {
            return name.to_owned();
        }
        let name = self.recall(path, name, true);
        detect::redact(&name, |kind| (self.found)(path, &format!("content:{kind}")))
    }

    fn recall(&mut self, path: &str, text: &str, in_name: bool) -> String {
        match self.memory.mask(text, in_name) {
            Some(masked) => {
                (self.found)(path, "kube:secret_copy");
                masked
            }
            None => text.to_owned(),
        }
    }

    fn string(&mut self, path: &str, name: &str, text: &str, at: At<'_>) -> String {
        if let Some(value @ (Value::Object(_) | Value::Array(_))) = lines::is_document(text) {
            let masked = self.value(path, &value, At { depth: at.depth + 1, root: None, ..at });
            return lines::rewrite(text, &value, &masked).unwrap_or_else(|| text.to_owned());
        }
        if self.learned.is_some() {
            lines::visit(text, &mut Within { walk: self, path, at, in_args: false });
            return text.to_owned();
        }
        if object::is_opaque(text) {
            (self.found)(path, "kube:packed");
            return SECRET.to_owned();
        }
        let text = self.recall(path, text, object::is_name(name));
        let in_args = text.starts_with('-');
        settle(&text, &mut Within { walk: self, path, at, in_args })
    }
}

/// What is known around a member: its siblings, and what they say about it.
struct Around<'v> {
    members: &'v Map<String, Value>,
    verdict: Verdict,
    names_secret: bool,
    at: At<'v>,
}

impl Around<'_> {
    /// The rule by which the member's name, or one beside it, says that its value is a secret.
    fn rule(&self, name: &str, member: &Value, concerned: bool) -> Option<&'static str> {
        if self.names_secret && name.eq_ignore_ascii_case("value") {
            return Some("kube:env");
        }
        let is_plain = self.at.named && ["value", "default", "plain", "plaintext", "stringValue"].contains(&name);
        let by_name = !self.at.labels && object::holds_secret(name, member, self.members);
        (is_plain || by_name || (concerned && self.verdict == Verdict::Named)).then_some("key:secret")
    }
}

/// Reads a string of the document.
struct Within<'w, 'a, 'p, 'v> {
    walk: &'w mut Walk<'a>,
    path: &'p str,
    at: At<'v>,
    in_args: bool,
}

impl lines::Reader for Within<'_, '_, '_, '_> {
    fn document(&mut self, value: &Value) -> Value {
        self.walk.value(self.path, value, At { depth: self.at.depth + 1, root: None, ..self.at })
    }
    fn found(&mut self, kind: &'static str) {
        let rule = match kind {
            "secret" if self.in_args => "kube:args".to_owned(),
            "secret" => "key:secret".to_owned(),
            kind => format!("content:{kind}"),
        };
        (self.walk.found)(self.path, &rule);
    }
    fn enter(&mut self) -> bool {
        self.at.layers += 1;
        self.at.layers <= LAYERS_MAX
    }
    fn leave(&mut self) {
        self.at.layers -= 1;
    }
}
