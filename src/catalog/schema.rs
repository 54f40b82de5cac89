//! Schemas: JSON Schema 2020-12 from the argument types, and the envelope that every answer fits.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The parameters of a statement.
pub(super) fn params(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 999,
        "items": { "type": ["null", "boolean", "number", "string"] },
        "description": "A value for each placeholder, in order: null, boolean, number or string.",
    })
}

/// A patch of a Kubernetes object.
pub(super) fn patch(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "array"],
        "description": "The patch: an object, or for `json` a list of operations.",
    })
}

/// A program with its arguments.
pub(super) fn argv(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 64,
        "items": { "type": "string", "maxLength": 8192 },
        "description": "The program and its arguments. There is no shell: [\"ls\", \"-l\", \"/data\"].",
    })
}

/// The same, where it comes as one of several.
pub(super) fn argv_alone(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 256,
        "items": { "type": "string", "maxLength": 131_071 },
        "description": "The program and its arguments. There is no shell: [\"systemctl\", \"is-active\", \"nginx\"].",
    })
}

/// The same, where there may be none.
pub(super) fn argv_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "maxLength": 8192 },
        "description": "The program and its arguments; the image's own otherwise. There is no shell.",
    })
}

/// The schema of an argument type: inline, closed, without what is only meant for Rust.
pub(super) fn input<T: JsonSchema>() -> Arc<Map<String, Value>> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    match schema {
        Value::Object(mut members) => {
            members.remove("title");
            members.remove("description");
            Arc::new(members)
        }
        _ => Arc::new(Map::new()),
    }
}

/// `null` is never sent for an argument that is left out; formats of Rust's numbers tell an agent nothing.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("format");
            if let Some(Value::Array(types)) = members.get("type")
                && let [only, null] = types.as_slice()
                && null == "null"
            {
                let only = only.clone();
                members.insert("type".to_owned(), only);
            }
            if let Some(Value::Array(choices)) = members.get("oneOf")
                && choices.iter().all(|choice| choice.get("const").is_some())
            {
                let values: Vec<Value> = choices.iter().filter_map(|choice| choice.get("const").cloned()).collect();
                members.remove("oneOf");
                members.insert("type".to_owned(), json!("string"));
                members.insert("enum".to_owned(), Value::Array(values));
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The envelope of every tool, with the tool's own `result`.
pub(super) fn output(result: &Value) -> Arc<Map<String, Value>> {
    let envelope = json!({
        "type": "object",
        "properties": {
            "status": { "type": "string", "enum": ["ok", "approval_pending", "denied", "error"] },
            "call_id": { "type": "string", "description": "names this call in the trail" },
            "result": result,
            "approval": {
                "type": "object",
                "description": "with approval_pending: what a human must decide before the same call goes ahead; else, with state used: the approval by which it went ahead",
                "properties": { "id": { "type": "string" }, "state": { "type": "string" }, "url": { "type": "string" }, "expires_at": { "type": "string" } },
                "required": ["id", "state"],
            },
            "masked": {
                "type": "array",
                "description": "values that were masked: where, by which rule, how many",
                "items": { "type": "object", "properties": { "path": { "type": "string" }, "rule": { "type": "string" }, "count": { "type": "integer" } }, "required": ["path", "rule", "count"] },
            },
            "error": {
                "type": "object",
                "properties": {
                    "code": { "type": "string" },
                    "message": { "type": "string" },
                    "hint": { "type": "string" },
                    "stopped_confirmed": { "type": "boolean", "description": "where it was to be stopped, whether the target says that it was" },
                },
                "required": ["code", "message", "hint"],
            },
        },
        "required": ["status", "call_id"],
    });
    match envelope {
        Value::Object(members) => Arc::new(members),
        _ => Arc::new(Map::new()),
    }
}

/// Rows, as `db_query`, `db_execute` and declared tools answer.
pub(super) fn rows() -> Value {
    json!({
        "type": "object",
        "properties": {
            "columns": { "type": "array", "items": { "type": "object", "properties": { "name": { "type": "string" }, "type": { "type": "string" }, "masked": { "type": ["string", "null"] } }, "required": ["name", "type"] } },
            "rows": { "type": "array", "items": { "type": "array" } },
            "row_count": { "type": "integer" },
            "affected_rows": { "type": "integer" },
            "truncated": { "type": "boolean" },
            "continue": { "type": "string" },
            "remaining": { "type": "integer" },
        },
        "required": ["truncated"],
    })
}
