//! Managed fields: which manager owns which fields, how an update moves ownership, and server-side apply.

use serde_json::{Value, json};

use super::fields::{self, Path, Set};
use super::json::{list, now, remove, set, text};
use super::schema::Type;
use super::status::{Outcome, bad_request, failure};

/// Who writes, in which version and through which subresource.
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) api_version: &'a str,
    pub(super) subresource: &'a str,
    /// The fields that this endpoint does not write.
    pub(super) ignored: Vec<Path>,
}

#[derive(Clone)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: String,
    set: Set,
}

impl Entry {
    fn is(&self, writer: &Writer<'_>, apply: bool) -> bool {
        let same = self.manager == writer.manager && self.apply == apply && self.subresource == writer.subresource;
        same && (apply || self.api_version == writer.api_version)
    }

    /// As a message names it.
    fn title(&self) -> String {
        let mut title = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            title = format!("{title} with subresource {:?}", self.subresource);
        }
        match (self.apply, self.time.is_empty()) {
            (true, _) => title,
            (false, true) => format!("{title} using {}", self.api_version),
            (false, false) => format!("{title} using {} at {}", self.api_version, self.time),
        }
    }
}

fn decode(object: &Value) -> Vec<Entry> {
    let entry = |entry: &Value| Entry {
        manager: text(entry, "/manager").to_owned(),
        apply: text(entry, "/operation") == "Apply",
        api_version: text(entry, "/apiVersion").to_owned(),
        subresource: text(entry, "/subresource").to_owned(),
        time: text(entry, "/time").to_owned(),
        set: fields::decode(&entry["fieldsV1"]),
    };
    list(object, "/metadata/managedFields").iter().map(entry).collect()
}

fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    entries.sort_by_cached_key(|entry| {
        (!entry.apply, entry.time.clone(), entry.manager.clone(), entry.api_version.clone(), entry.subresource.clone())
    });
    let entries = entries.iter().map(|entry| {
        let mut written = json!({
            "manager": entry.manager,
            "operation": if entry.apply { "Apply" } else { "Update" },
            "apiVersion": entry.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields::encode(&entry.set),
        });
        if !entry.subresource.is_empty() {
            written["subresource"] = json!(entry.subresource);
        }
        written
    });
    let entries: Vec<_> = entries.collect();
    remove(object, &["metadata", "managedFields"]);
    if !entries.is_empty() {
        set(object, &["metadata", "managedFields"], json!(entries));
    }
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    remove(&mut object, &["metadata", "managedFields"]);
    object
}

fn path(text: &str) -> Path {
    text.split('.').map(|name| format!("f:{name}")).collect()
}

/// What nobody owns: identity, and what the server writes.
fn stripped(set: &Set) -> Set {
    let names = ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
    let mut gone: Set = ["apiVersion", "kind", "metadata"].into_iter().map(path).collect();
    gone.extend(names.iter().map(|name| path(&format!("metadata.{name}"))));
    fields::minus(set, &gone)
}

/// Gives the writer what it changed, and takes it from everyone else.
pub(super) fn update(kind: &Type, live: &Value, new: &mut Value, writer: &Writer<'_>) {
    let explicit = new.pointer("/metadata/managedFields").cloned();
    let reset = explicit.as_ref().and_then(Value::as_array).is_some_and(|given| given.is_empty() || *given == [json!({})]);
    let entries = if reset { Vec::new() } else { decode(if explicit.is_some_and(|given| given.is_array()) { &*new } else { live }) };
    let is_new = text(live, "/metadata/uid").is_empty();
    if entries.is_empty() && !is_new {
        remove(new, &["metadata", "managedFields"]);
        return;
    }
    let entries = moved(kind, &bare(live), &bare(new), entries, writer);
    encode(new, entries);
}

fn moved(kind: &Type, live: &Value, new: &Value, mut entries: Vec<Entry>, writer: &Writer<'_>) -> Vec<Entry> {
    let found = fields::compare(kind, live, new);
    let keep = |set: &Set| fields::outside(set, &writer.ignored);
    let written = fields::plus(&keep(&found.changed), &keep(&found.added));
    let removed = keep(&found.removed);
    for entry in entries.iter_mut().filter(|entry| !entry.is(writer, false)) {
        entry.set = fields::minus(&fields::minus(&entry.set, &written), &removed);
    }
    let at = entries.iter().position(|entry| entry.is(writer, false)).unwrap_or_else(|| {
        entries.push(Entry {
            manager: writer.manager.to_owned(),
            apply: false,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: String::new(),
            set: Set::new(),
        });
        entries.len() - 1
    });
    let owned = fields::plus(&fields::minus(&entries[at].set, &found.removed), &fields::plus(&found.changed, &found.added));
    let owned = stripped(&keep(&owned));
    if owned != entries[at].set || entries[at].time.is_empty() {
        entries[at].time = now();
        entries[at].set = owned;
    }
    entries
}

/// Server-side apply of a configuration onto the live object, which is empty when there is none.
pub(super) fn apply(kind: &Type, live: &Value, config: &Value, writer: &Writer<'_>, force: bool) -> Outcome<Value> {
    let version = text(config, "/apiVersion");
    if version != writer.api_version {
        let message =
            format!("Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}", writer.api_version);
        return Err(bad_request(message));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|given| !given.is_null()) {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    let mut entries = decode(live);
    let old = bare(live);
    let exists = !text(live, "/metadata/uid").is_empty();
    if exists && entries.is_empty() {
        // What was written before anyone applied stays owned by a manager of its own.
        let before = Writer { manager: "before-first-apply", api_version: writer.api_version, subresource: "", ignored: Vec::new() };
        entries = moved(kind, &json!({}), &old, Vec::new(), &before);
    }
    let merged = fields::merge(kind, &old, config);
    let own = fields::outside(&fields::of(kind, config), &writer.ignored);
    let last = entries.iter().find(|entry| entry.is(writer, true)).cloned();
    let time = last.as_ref().map(|last| last.time.clone()).unwrap_or_default();
    entries.retain(|entry| !entry.is(writer, true));
    let others = entries.iter().fold(own.clone(), |all, entry| fields::plus(&all, &entry.set));
    let mut new = match &last {
        Some(last) if !last.set.is_empty() => pruned(kind, &merged, &last.set, &others),
        _ => merged,
    };
    drop_nulls(&mut new);
    take(kind, &old, &new, &mut entries, writer, force)?;
    let unchanged = old == new;
    entries.push(Entry {
        manager: writer.manager.to_owned(),
        apply: true,
        api_version: writer.api_version.to_owned(),
        subresource: writer.subresource.to_owned(),
        time: if unchanged && last.as_ref().is_some_and(|last| last.set == stripped(&own)) { time } else { now() },
        set: stripped(&own),
    });
    encode(&mut new, entries);
    annotate(&mut new, config, writer);
    Ok(new)
}

/// Checks for conflicts, or takes the fields away from their owners.
fn take(kind: &Type, old: &Value, new: &Value, entries: &mut [Entry], writer: &Writer<'_>, force: bool) -> Outcome<()> {
    let found = fields::compare(kind, old, new);
    let written = fields::outside(&fields::plus(&found.changed, &found.added), &writer.ignored);
    let removed = fields::outside(&found.removed, &writer.ignored);
    let mut conflicts = Vec::new();
    for entry in entries.iter() {
        conflicts.extend(entry.set.intersection(&written).map(|path| (entry.title(), path)));
    }
    // `kubectl` takes over what it applied on the client's side, as long as that stands.
    let own = if writer.manager == "kubectl" { from_annotation(kind, old, writer) } else { Set::new() };
    conflicts.retain(|(_, path)| !own.contains(*path));
    let conflicts: Vec<_> = conflicts.into_iter().map(|(title, path)| (title, fields::display(path))).collect();
    if !force && !conflicts.is_empty() {
        return Err(refused(&conflicts));
    }
    for entry in entries {
        entry.set = fields::minus(&fields::minus(&entry.set, &written), &removed);
    }
    Ok(())
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields of the last client-side apply that the live object still has with the same values.
fn from_annotation(kind: &Type, live: &Value, writer: &Writer<'_>) -> Set {
    let Some(text_of) = live["metadata"]["annotations"][LAST_APPLIED].as_str() else { return Set::new() };
    let Ok(last) = serde_json::from_str::<Value>(text_of) else { return Set::new() };
    if text(&last, "/apiVersion") != writer.api_version {
        return Set::new();
    }
    let differs = fields::compare(kind, &last, live);
    let gone = fields::plus(&differs.changed, &fields::plus(&differs.added, &differs.removed));
    fields::minus(&fields::of(kind, &last), &gone)
}

/// Keeps the annotation of client-side apply in step with what `kubectl` applies, where there is one.
fn annotate(object: &mut Value, config: &Value, writer: &Writer<'_>) {
    let there = object["metadata"]["annotations"][LAST_APPLIED].as_str().is_some_and(|text| !text.is_empty());
    if writer.manager == "kubectl" && there {
        let mut config = config.clone();
        remove(&mut config, &["metadata", "annotations", LAST_APPLIED]);
        set(object, &["metadata", "annotations", LAST_APPLIED], json!(format!("{config}\n")));
    }
}

fn refused(conflicts: &[(String, String)]) -> Box<super::status::Failure> {
    let causes = conflicts
        .iter()
        .map(|(title, field)| json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {title}"), "field": field }));
    let message = match conflicts {
        [(title, field)] => format!("Apply failed with 1 conflict: conflict with {title}: {field}"),
        _ => {
            let mut titles: Vec<_> = conflicts.iter().map(|(title, _)| title).collect();
            titles.sort();
            titles.dedup();
            let lines = titles.iter().flat_map(|wanted| {
                let fields = conflicts.iter().filter(move |(title, _)| title == *wanted).map(|(_, field)| format!("- {field}"));
                std::iter::once(format!("conflicts with {wanted}:")).chain(fields)
            });
            format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.collect::<Vec<_>>().join("\n"))
        }
    };
    failure(409, "Conflict", message, json!({ "causes": causes.collect::<Vec<_>>() }))
}

/// Takes away what the manager applied last time and nobody claims now.
fn pruned(kind: &Type, merged: &Value, last: &Set, claimed: &Set) -> Value {
    let named = |set: &Set| fields::with_named(kind, set);
    let all = named(&fields::of(kind, merged));
    let last = named(last);
    let cut = fields::without(kind, merged, &last);
    let kept = fields::plus(&named(&fields::of(kind, &cut)), &named(claimed));
    let cut = fields::without(kind, merged, &fields::minus(&all, &kept));
    let left = named(&fields::of(kind, &cut));
    let gone: Set = fields::minus(&all, &left).intersection(&last).cloned().collect();
    fields::without(kind, merged, &gone)
}

pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
