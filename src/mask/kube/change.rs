//! Changes: `{"path": "/data/password", "before": …, "after": …}`, as a diff or a patch lists them.
//!
//! A change is torn from the object that it belongs to, so that only its path, and the object beside it, say what the values are.

use serde_json::{Map, Value};

use crate::mask::keys;

/// A change, by where it happens.
pub(super) struct Change<'v> {
    path: &'v str,
}

/// What becomes of the values of a change.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Verdict {
    /// They speak for themselves.
    #[default]
    Open,
    /// The path says secret.
    Named,
    /// They belong to a Secret.
    Sealed,
}

const PATHS: [&str; 5] = ["path", "pointer", "field", "jsonPath", "jsonPointer"];
const VALUES: [&str; 12] = ["before", "after", "value", "from", "to", "old", "new", "oldValue", "newValue", "live", "desired", "current"];

/// The change that these members are, if they are one.
pub(super) fn of(members: &Map<String, Value>) -> Option<Change<'_>> {
    let path = PATHS.iter().find_map(|name| members.get(*name))?.as_str()?;
    members.keys().any(|name| VALUES.contains(&name.as_str())).then_some(Change { path })
}

impl Change<'_> {
    /// Whether this member is one of its values.
    pub(super) fn concerns(&self, name: &str) -> bool {
        !PATHS.contains(&name) && !["op", "action", "kind", "type", "change"].contains(&name)
    }

    pub(super) fn verdict(&self, of_secret: bool, root: Option<&Map<String, Value>>) -> Verdict {
        let segments: Vec<String> = self
            .path
            .split(['/', '.', '[', ']', '\'', '"', '$'])
            .filter(|segment| !segment.is_empty())
            .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
            .collect();
        let is_data = |segment: &String| ["data", "stringData", "binaryData"].iter().any(|data| segment.eq_ignore_ascii_case(data));
        if of_secret && segments.iter().any(is_data) {
            return Verdict::Sealed;
        }
        let is_place = |segment: &&String| segment.bytes().all(|b| b.is_ascii_digit() || b == b'-') || *segment == "value";
        let about = segments.iter().rev().find(|segment| !is_place(segment));
        // A path with dots in a name was split in the middle of it: `/data/db.password`.
        let last = self.path.rsplit('/').next().unwrap_or_default();
        let says = about.is_some_and(|segment| keys::holds_secret(segment)) || keys::holds_secret(last);
        if says || root.is_some_and(|root| self.is_value_of_secret(root)) { Verdict::Named } else { Verdict::Open }
    }

    /// `/spec/…/env/1/value`: the variable's name stands in the object beside the change.
    fn is_value_of_secret(&self, root: &Map<String, Value>) -> bool {
        let Some(variable) = self.path.strip_suffix("/value") else { return false };
        let named =
            |value: &Value| value.pointer(variable).and_then(|found| found.get("name")).and_then(Value::as_str).map(keys::holds_secret);
        root.values().filter(|value| value.is_object()).filter_map(named).any(|says| says)
    }
}
