//! What would come of a call, as its preview says: rows, objects before and after, files, what would go.
//!
//! Each kind of preview has its form here. What has none is shown as it stands: a new kind of effect must never be out of an approver's sight.

use serde_json::{Map, Value};

use crate::approval::Filed;
use crate::approval::sight::outline::{outline, scalar};
use crate::approval::sight::sections::{CHANGES, others};
use crate::approval::sight::{Section, Writer, plural};

/// What a preview says, of each kind of target.
pub(super) fn effect(filed: &Filed) -> Section {
    let mut writer = Writer::new(CHANGES);
    let Some(members) = filed.shown.as_object().filter(|members| !members.is_empty()) else {
        match &filed.shown {
            Value::Null | Value::Object(_) => {
                writer.fact("effect", "it cannot be shown beforehand: what would run is all there is to judge by".to_owned());
            }
            other => {
                let text = outline(&mut writer, other);
                writer.block("effect", text);
            }
        }
        return writer.done();
    };
    let mut rest = members.clone();
    if let Some(rows) = rest.get("would_touch_rows").and_then(Value::as_u64) {
        rest.remove("would_touch_rows");
        writer.fact("would touch", format!("{rows} {}", if rows == 1 { "row" } else { "rows" }));
    }
    sample(&mut writer, &mut rest);
    for object in list(&mut rest, "objects") {
        changes(&mut writer, object);
    }
    for file in list(&mut rest, "files") {
        self::file(&mut writer, file);
    }
    for (member, what) in [("would_delete", "would be deleted"), ("would_evict", "would be evicted")] {
        let objects = list(&mut rest, member);
        let lines: Vec<String> = objects.into_iter().map(|object| listed(&mut writer, object)).collect();
        if !lines.is_empty() {
            let count = lines.len();
            rest.remove("count");
            writer.block(&format!("{count} {} {what}", plural(count, "object", "objects")), lines.join("\n"));
        }
    }
    // Every preview changes nothing, and says so.
    if rest.get("dry_run") == Some(&Value::Bool(true)) {
        rest.remove("dry_run");
    }
    if rest.get("truncated") == Some(&Value::Bool(false)) {
        rest.remove("truncated");
    }
    others(&mut writer, rest);
    writer.done()
}

/// The items of a member; what is no list stays where it is, to be shown as it stands.
fn list(members: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match members.remove(name) {
        Some(Value::Array(items)) => items,
        Some(other) => {
            members.insert(name.to_owned(), other);
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// A text member; what is no text stays where it is.
fn text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    let found = members.get(name)?.as_str()?.to_owned();
    members.remove(name);
    Some(found)
}

/// Rows as they are now, where each has a value for each column.
fn sample(writer: &mut Writer, rest: &mut Map<String, Value>) {
    let (columns, rows) = (list(rest, "columns"), list(rest, "rows"));
    let is_table = rows.iter().all(|row| row.as_array().is_some_and(|row| row.len() == columns.len()));
    if !is_table {
        rest.extend([("columns".to_owned(), Value::Array(columns)), ("rows".to_owned(), Value::Array(rows))]);
        return;
    }
    rest.remove("row_count");
    if rows.is_empty() {
        return;
    }
    // That there are more is what the table's title says.
    rest.remove("truncated");
    let heading: Vec<String> =
        columns.iter().map(|column| writer.line(column.get("name").and_then(Value::as_str).unwrap_or("?"))).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.as_array().into_iter().flatten().map(|value| cell(writer, value)).collect()).collect();
    writer.table(format!("as it is now, masked ({} of the rows)", rows.len()), heading, rows);
}

/// A value in a table, where a text needs no quotes.
fn cell(writer: &mut Writer, value: &Value) -> String {
    match value {
        Value::String(text) => writer.line(text),
        Value::Null => "(none)".to_owned(),
        other => scalar(writer, other),
    }
}

/// `apps/Deployment shop/web`.
fn object_name(writer: &mut Writer, object: &Value) -> String {
    let of = |part: &str| object.get(part).and_then(Value::as_str).unwrap_or_default();
    let joined = |parts: [&str; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    writer.line(format!("{} {}", joined([of("group"), of("kind")]), joined([of("namespace"), of("name")])).trim())
}

/// An object that would go, with whatever else is said of it.
fn listed(writer: &mut Writer, object: Value) -> String {
    let Value::Object(mut members) = object else { return scalar(writer, &object) };
    let name = object_name(writer, &members.remove("object").unwrap_or_default());
    members.retain(|_, value| !value.is_null());
    if members.is_empty() { name } else { format!("{name} {}", scalar(writer, &Value::Object(members))) }
}

/// What a dry run says of one object.
fn changes(writer: &mut Writer, object: Value) {
    let Value::Object(mut members) = object else { return others(writer, Map::from_iter([("object".to_owned(), object)])) };
    let name = object_name(writer, &members.remove("object").unwrap_or_default());
    let action = text(&mut members, "action").unwrap_or_else(|| "changed".to_owned());
    let action = writer.line(&action);
    let changes = list(&mut members, "changes");
    if changes.is_empty() {
        writer.fact(&name, format!("would be {action}"));
    } else {
        let heading = ["field", "before", "after"].map(ToOwned::to_owned).to_vec();
        let part = |writer: &mut Writer, change: &Value, part: &str| cell(writer, change.get(part).unwrap_or(&Value::Null));
        let rows = changes.iter().map(|change| ["path", "before", "after"].map(|name| part(writer, change, name)).to_vec()).collect();
        writer.table(format!("{name} would be {action}"), heading, rows);
    }
    others(writer, members);
}

/// A file as it is now.
fn file(writer: &mut Writer, file: Value) {
    let Value::Object(mut members) = file else { return others(writer, Map::from_iter([("file".to_owned(), file)])) };
    let path = text(&mut members, "path").unwrap_or_default();
    let path = writer.line(&path);
    let is_there = members.remove("exists") != Some(Value::Bool(false));
    let holds = text(&mut members, "holds");
    writer.fact("file", format!("{path} {}", if is_there { "is there" } else { "is not there yet" }));
    others(writer, members);
    if let Some(text) = holds {
        writer.put("it holds now", &text);
    }
}
