//! Answers of a cluster: objects are masked whole, and only then cut to what was asked for; a value alone would not tell where it stood.
//!
//! The same for changes: what was there and what would come are masked together, so that a secret of the one is known in the other, and only then
//! compared. And for searches in logs: a line is found only if it still holds the text once it is masked.

use serde_json::{Map, Value, json};

use crate::mask::apply::{Masked, MaskedColumn, MaskedPiece};
use crate::mask::{kube, said};

/// Texts that are remembered as harmless within an answer, and the longest of them: `Running`, `1/1`, `5d`.
const INNOCENT_MAX: usize = 256;
const INNOCENT_MAX_BYTES: usize = 32;
/// Numbers below this have too few digits to be anything but counts.
const NUMBER_PLAIN: u64 = 10_000_000;

/// How rows of a cluster are made.
pub(super) enum Rows {
    /// As the cluster made them.
    Cells,
    /// Out of objects.
    Fields { paths: Vec<Vec<String>>, kind: Option<String> },
}

/// What a change would come to.
pub(crate) struct Rehearsal {
    /// Of which object.
    pub(crate) object: Value,
    /// What there is; none where there is nothing.
    pub(crate) before: Option<Value>,
    /// What there would be.
    pub(crate) after: Value,
    /// Its kind.
    pub(crate) kind: Option<String>,
    /// Whether it is told of what is hidden that it stays as it is; else a guess would be confirmed.
    pub(crate) tells_equal: bool,
}

impl Masked {
    pub(super) fn table(&mut self, columns: Vec<(String, String)>) -> MaskedPiece {
        self.rows = Some(Rows::Cells);
        self.plain_header(columns)
    }

    pub(super) fn fields(&mut self, paths: Vec<Vec<String>>, kind: Option<String>) -> MaskedPiece {
        let columns = paths.iter().map(|path| (path.join("."), "any".to_owned())).collect();
        self.rows = Some(Rows::Fields { paths, kind });
        self.plain_header(columns)
    }

    /// Columns that no rule of a database speaks of; their names are evidence all the same.
    fn plain_header(&mut self, columns: Vec<(String, String)>) -> MaskedPiece {
        let mut masked = Vec::with_capacity(columns.len());
        for (name, type_name) in columns {
            let name = self.text("/columns", &name);
            self.columns.push((name.clone(), None));
            masked.push(MaskedColumn { name, type_name, masked: None });
        }
        MaskedPiece::Header { columns: masked }
    }

    pub(super) fn document(&mut self, document: Value, kind: Option<&str>) -> Value {
        let report = &mut self.report;
        kube::mask(document, kind, &mut |path, rule| report.count(path, rule))
    }

    /// Cells of a cluster's own table: texts that may hold anything, under a name that says something about them.
    pub(super) fn cells(&mut self, values: Vec<Value>) -> Vec<Value> {
        let columns = std::mem::take(&mut self.columns);
        let cell = |masked: &mut Self, name: &str, value: Value| match value {
            Value::String(text) if kube::names_secret(name, &text) => {
                masked.report.count(&format!("/{name}"), "key:secret");
                Value::from("[redacted:secret]")
            }
            Value::String(text) if masked.innocent.contains(&text) => Value::String(text),
            Value::String(text) => {
                let shown = said(&mut masked.report, &format!("/{name}"), &text);
                if shown == text && text.len() <= INNOCENT_MAX_BYTES && masked.innocent.len() < INNOCENT_MAX {
                    masked.innocent.insert(text);
                }
                Value::from(shown)
            }
            // A count of restarts is too short for a number of a card.
            Value::Number(number) if number.as_u64().is_some_and(|number| number < NUMBER_PLAIN) => Value::Number(number),
            value @ (Value::Null | Value::Bool(_)) => value,
            value => masked.document(value, None),
        };
        let row = values.into_iter().zip(&columns).map(|(value, (name, _))| cell(self, name, value)).collect();
        self.columns = columns;
        row
    }

    /// The fields of an object, once it has been masked as a whole.
    pub(super) fn object(&mut self, object: Value) -> MaskedPiece {
        let Some(Rows::Fields { paths, kind }) = self.rows.take() else {
            return self.broken("an object came that no fields were announced for");
        };
        let masked = self.document(object, kind.as_deref());
        let row = paths.iter().map(|path| pluck(&masked, path).cloned().unwrap_or_default()).collect();
        self.rows = Some(Rows::Fields { paths, kind });
        MaskedPiece::Row(row)
    }

    /// Some fields of one object, each where it stands.
    pub(super) fn part(&mut self, object: Value, paths: &[Vec<String>], kind: Option<&str>) -> MaskedPiece {
        let masked = self.document(object, kind);
        MaskedPiece::Document(json!({ "object": sparse(&masked, paths) }))
    }

    /// Texts; of a search the lines that hold its text once they are masked, up to so many bytes.
    pub(super) fn logs(&mut self, document: Value, search: Option<(String, u64)>) -> MaskedPiece {
        let mut masked = self.document(document, None);
        if let Some((contains, mut left)) = search
            && !keep_lines(&mut masked, &contains, &mut left)
        {
            self.is_cut = true;
            masked.as_object_mut().map(|members| members.insert("truncated".to_owned(), Value::Bool(true)));
        }
        MaskedPiece::Document(masked)
    }

    /// Changes, field by field.
    pub(super) fn rehearsed(&mut self, rehearsals: Vec<Rehearsal>) -> MaskedPiece {
        let mut shown = Vec::with_capacity(rehearsals.len());
        for Rehearsal { object, before, after, kind, tells_equal } in rehearsals {
            let is_new = before.is_none();
            let both = json!({ "before": before, "after": after });
            let report = &mut self.report;
            let masked = kube::mask_both(both.clone(), kind.as_deref(), &mut |path, rule| report.count(path, rule));
            let side = |of: &Value, side: &str| of.get(side).cloned().unwrap_or_default();
            let (old, new) = (side(&masked, "before"), side(&masked, "after"));
            let changes = changes(Side(&side(&both, "before"), &old), Side(&side(&both, "after"), &new), tells_equal);
            let action = match (is_new, changes.is_empty()) {
                (true, _) => "created",
                (false, true) => "unchanged",
                (false, false) => "changed",
            };
            shown.push(json!({ "object": object, "action": action, "changes": changes }));
        }
        MaskedPiece::Document(json!({ "dry_run": true, "objects": shown }))
    }
}

/// Keeps the lines of every text that hold this; whether all of them fit.
fn keep_lines(value: &mut Value, contains: &str, left: &mut u64) -> bool {
    match value {
        Value::Object(members) => members.iter_mut().fold(true, |all_fit, (name, member)| match member {
            Value::String(text) if name == "text" => {
                let (mut kept, mut fits) = (String::new(), true);
                for line in text.split_inclusive('\n').filter(|line| line.contains(contains)) {
                    match left.checked_sub(line.len() as u64) {
                        Some(rest) if fits => {
                            *left = rest;
                            kept.push_str(line);
                        }
                        _ => fits = false,
                    }
                }
                *text = kept;
                fits && all_fit
            }
            member => keep_lines(member, contains, left) && all_fit,
        }),
        // All of them are gone through, whether they fit or not.
        Value::Array(items) => items.iter_mut().filter_map(|item| (!keep_lines(item, contains, left)).then_some(())).count() == 0,
        _ => true,
    }
}

/// The value at a path; a number goes into a list.
pub(crate) fn pluck<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(members) => members.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The object with these fields alone, each where it stands, and with what says of which kind it is.
fn sparse(object: &Value, paths: &[Vec<String>]) -> Value {
    let mut kept = Value::Null;
    let identity: [&[&str]; 4] = [&["apiVersion"], &["kind"], &["metadata", "name"], &["metadata", "namespace"]];
    let identity = identity.iter().map(|path| path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
    for path in identity.chain(paths.iter().cloned()) {
        keep(object, &mut kept, &path);
    }
    kept
}

fn keep(from: &Value, to: &mut Value, path: &[String]) {
    let Some((part, rest)) = path.split_first() else {
        *to = from.clone();
        return;
    };
    match from {
        Value::Object(members) => {
            let Some(member) = members.get(part) else { return };
            if to.is_null() {
                *to = Value::Object(Map::new());
            }
            if let Value::Object(kept) = to {
                keep(member, kept.entry(part.clone()).or_insert(Value::Null), rest);
            }
        }
        Value::Array(items) => {
            let Some((index, item)) = part.parse::<usize>().ok().and_then(|index| Some((index, items.get(index)?))) else { return };
            if to.is_null() {
                *to = Value::Array(vec![Value::Null; items.len()]);
            }
            if let Value::Array(kept) = to
                && let Some(place) = kept.get_mut(index)
            {
                keep(item, place, rest);
            }
        }
        _ => {}
    }
}

/// Differences that are shown of one object, and the longest value.
const CHANGES_MAX: usize = 200;
const VALUE_MAX_BYTES: usize = 4_000;
/// Nesting that is compared member by member.
const DEPTH_MAX: usize = 40;
/// Members that a server changes by itself, and that say nothing of a change.
const NOISE: &[&str] =
    &["/metadata/resourceVersion", "/metadata/generation", "/metadata/managedFields", "/metadata/uid", "/metadata/creationTimestamp"];

/// A value as it is, and as it may be shown.
#[derive(Clone, Copy)]
struct Side<'v>(&'v Value, &'v Value);

/// What may not be shown at all.
const NOTHING: &Value = &Value::Null;

impl<'v> Side<'v> {
    fn member(self, name: &str) -> Self {
        Self(self.0.get(name).unwrap_or(NOTHING), self.1.get(name).unwrap_or(NOTHING))
    }

    fn item(self, index: usize) -> Self {
        Self(self.0.get(index).unwrap_or(NOTHING), self.1.get(index).unwrap_or(NOTHING))
    }

    /// As it is told. Something that has no place among what may be shown is hidden, and that it is there is not.
    fn told(self) -> Option<Value> {
        if self.0.is_null() {
            return None;
        }
        let shown = if self.1.is_null() { json!("[redacted:secret]") } else { self.1.clone() };
        let length = shown.to_string().len();
        Some(if length > VALUE_MAX_BYTES { json!(format!("({length} bytes, not shown)")) } else { shown })
    }
}

/// The differences, field by field: path, before, after. Items of lists are told apart by their name, where all have one.
fn changes(before: Side<'_>, after: Side<'_>, tells_equal: bool) -> Vec<Value> {
    let mut found = Vec::new();
    compare("", before, after, At { depth: 0, tells_equal }, &mut found);
    found
}

/// Where a comparison is.
#[derive(Clone, Copy)]
struct At {
    depth: usize,
    tells_equal: bool,
}

impl At {
    const fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

fn compare(path: &str, before: Side<'_>, after: Side<'_>, at: At, found: &mut Vec<Value>) {
    let is_hidden = before.0 != before.1 || after.0 != after.1;
    if before.0 == after.0 && (at.tells_equal || !is_hidden) || NOISE.contains(&path) || found.len() > CHANGES_MAX {
        return;
    }
    if found.len() == CHANGES_MAX {
        found.push(json!({ "path": "…", "note": "there are more differences than are shown" }));
        return;
    }
    match (before.0, after.0) {
        (Value::Object(old), Value::Object(new)) if at.depth < DEPTH_MAX => {
            for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                compare(&format!("{path}/{escaped}"), before.member(name), after.member(name), at.below(), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if at.depth < DEPTH_MAX => match (named(old), named(new)) {
            (Some(old), Some(new)) => {
                let place = |list: &[&str], wanted: &str| list.iter().position(|name| *name == wanted).unwrap_or(usize::MAX);
                for name in old.iter().chain(new.iter().filter(|name| !old.contains(name))) {
                    let (old, new) = (before.item(place(&old, name)), after.item(place(&new, name)));
                    compare(&format!("{path}/[{name}]"), old, new, at.below(), found);
                }
            }
            _ => found.push(change(path, before, after)),
        },
        _ => found.push(change(path, before, after)),
    }
}

/// The items' names, if all have one and no two the same.
fn named(items: &[Value]) -> Option<Vec<&str>> {
    let named: Vec<&str> = items.iter().map(|item| item.get("name")?.as_str()).collect::<Option<_>>()?;
    let distinct = named.iter().collect::<std::collections::BTreeSet<_>>().len() == named.len();
    (distinct && !named.is_empty()).then_some(named)
}

fn change(path: &str, before: Side<'_>, after: Side<'_>) -> Value {
    let mut change = Map::from_iter([("path".to_owned(), Value::from(path))]);
    // Nothing before is something new, nothing after something gone.
    change.extend(before.told().map(|before| ("before".to_owned(), before)));
    change.extend(after.told().map(|after| ("after".to_owned(), after)));
    Value::Object(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(before: &Value, after: &Value) -> Vec<Value> {
        changes(Side(before, before), Side(after, after), true)
    }

    #[test]
    fn differences_are_told_field_by_field() {
        let before = json!({"metadata": {"resourceVersion": "1", "labels": {"a/b": "1"}}, "spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:1"}, {"name": "b"}], "args": ["1"]}});
        let after = json!({"metadata": {"resourceVersion": "2", "labels": {"a/b": "2"}}, "spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:2"}], "args": ["1", "2"], "paused": true}});
        let found = plain(&before, &after);
        let expected = [
            json!({"path": "/metadata/labels/a~1b", "before": "1", "after": "2"}),
            json!({"path": "/spec/containers/[a]/image", "before": "x:1", "after": "x:2"}),
            json!({"path": "/spec/containers/[b]", "before": {"name": "b"}}),
            json!({"path": "/spec/args", "before": ["1"], "after": ["1", "2"]}),
            json!({"path": "/spec/paused", "after": true}),
        ];
        assert!(found.len() == expected.len() && expected.iter().all(|one| found.contains(one)), "{found:?}");
        let many: Map<String, Value> = (0..500).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(plain(&json!({}), &Value::Object(many)).len(), CHANGES_MAX + 1);
        // What is hidden changes all the same; what has no place among what may be shown is hidden.
        let (old, new) = (json!({"a": "1", "b": "2"}), json!({"a": "3", "b": "4"}));
        let hidden = json!({"a": "[redacted:secret]"});
        assert_eq!(
            changes(Side(&old, &hidden), Side(&new, &hidden), true),
            ["/a", "/b"].map(|path| json!({"path": path, "before": "[redacted:secret]", "after": "[redacted:secret]"}))
        );
        // Whether a guess was right is not told by a difference, and not by there being none.
        let (secret, label) = (json!({"a": "1", "c": 1}), json!({"a": "[redacted:secret]", "c": 1}));
        let guess = |after: &Value, tells_equal| changes(Side(&secret, &label), Side(after, &label), tells_equal);
        assert_eq!(guess(&secret, true), Vec::<Value>::new());
        assert_eq!(guess(&secret, false), guess(&json!({"a": "2", "c": 1}), false));
    }

    #[test]
    fn a_part_of_an_object_stands_where_it_stood() {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "1", "b": "2"}, "list": [{"x": 1, "y": 2}]});
        let path = |text: &str| text.split('.').map(ToOwned::to_owned).collect::<Vec<_>>();
        let part = sparse(&object, &[path("data.a"), path("list.0.x"), path("no.such")]);
        assert_eq!(part, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "1"}, "list": [{"x": 1}]}));
        assert_eq!(pluck(&object, &path("list.0.y")), Some(&json!(2)));
    }
}
