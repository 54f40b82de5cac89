//! Kubernetes objects, and texts that come from a cluster, without the secrets in them.
//!
//! What is secret here is said by the kind of an object (every value of a Secret), by a name beside a value (an environment variable), by a flag
//! before one, or by the same value having been seen in a Secret. Content detectors come on top, for whatever is not told by structure. Names,
//! kinds, identities and references stay, or nobody could find a fault. All copies count: an annotation with the last applied object, a diff, a
//! ConfigMap, base64 of any of them.

use serde_json::Value;

use crate::mask::{detect, keys, lines};

mod change;
mod memory;
mod object;
mod walk;

#[cfg(test)]
mod tests;

use memory::Memory;
use walk::{At, Walk};

/// An answer that may hold Kubernetes objects anywhere, masked. `kind_hint` is the kind of objects in it that do not say theirs. Every find is told
/// to `found`: where, and by which rule.
pub(super) fn mask(value: Value, kind_hint: Option<&str>, found: &mut dyn FnMut(&str, &str)) -> Value {
    let hint = kind_hint.is_some_and(object::is_secret_kind);
    document(&value, At { hint, ..At::default() }, found)
}

/// What there is and what would come of it, masked together: whatever is a secret in the one is one in the other, under whichever name.
pub(super) fn mask_both(value: Value, kind_hint: Option<&str>, found: &mut dyn FnMut(&str, &str)) -> Value {
    let hint = kind_hint.is_some_and(object::is_secret_kind);
    document(&value, At { hint, learns_named: true, ..At::default() }, found)
}

/// Whether a value under this name is a secret by the name alone.
pub(super) fn names_secret(name: &str, value: &str) -> bool {
    keys::holds_secret(name) && !keys::is_exempt(name, value) && !value.is_empty()
}

/// A text from a cluster, masked: names in it first, then contents, until neither finds anything.
pub(super) fn text(text: &str, found: &mut dyn FnMut(&'static str)) -> String {
    settle(text, &mut Plain::new(found))
}

/// Twice over the document: once to learn the secrets in it, once to mask them and their copies.
fn document(value: &Value, at: At<'_>, found: &mut dyn FnMut(&str, &str)) -> Value {
    let mut learned = Memory::default();
    let mut silent = |_: &str, _: &str| {};
    Walk::new(&Memory::default(), Some(&mut learned), &mut silent).value("", value, at);
    Walk::new(&learned, None, found).value("", value, at)
}

/// Times that names and contents take turns.
const TURNS_MAX: usize = 4;

fn settle(text: &str, reader: &mut dyn lines::Reader) -> String {
    let mut text = lines::read(text, reader);
    for _ in 0..TURNS_MAX {
        let detected = detect::redact(&text, |kind| reader.found(kind));
        if detected == text {
            return text;
        }
        text = lines::read(&detected, reader);
        if text == detected {
            return text;
        }
    }
    "[redacted:content]".to_owned()
}

/// The kind that a rule masks: what stands in its label.
fn kind_of(rule: &str) -> &'static str {
    const CONTENT: [&str; 9] = ["email", "card", "ssn", "jwt", "private_key", "url_password", "bearer", "token", "hash"];
    let kind = rule.strip_prefix("content:").unwrap_or_default();
    CONTENT.into_iter().find(|known| *known == kind).unwrap_or("secret")
}

/// Reads a text that stands in no document.
pub(super) struct Plain<'f> {
    found: &'f mut dyn FnMut(&'static str),
    layers: usize,
}

impl<'f> Plain<'f> {
    pub(super) fn new(found: &'f mut dyn FnMut(&'static str)) -> Self {
        Self { found, layers: 0 }
    }
}

/// Layers of base64 that are followed.
const LAYERS_MAX: usize = 3;

impl lines::Reader for Plain<'_> {
    fn document(&mut self, value: &Value) -> Value {
        document(value, At { layers: self.layers, ..At::default() }, &mut |_, rule| (self.found)(kind_of(rule)))
    }
    fn found(&mut self, kind: &'static str) {
        (self.found)(kind);
    }
    fn enter(&mut self) -> bool {
        self.layers += 1;
        self.layers <= LAYERS_MAX
    }
    fn leave(&mut self) {
        self.layers -= 1;
    }
}
