//! The arguments of the built-in tools. These types parse them, and the schemas that agents read are made from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rows without `max_rows`.
pub const ROWS_DEFAULT: u32 = 200;
/// The largest `max_rows`.
pub const ROWS_MAX: u32 = 5_000;
/// The largest `max_bytes`.
pub const BYTES_MAX: u64 = 8 << 20;

fn rows() -> u32 {
    ROWS_DEFAULT
}

fn everything() -> String {
    "%".to_owned()
}

const fn hundred() -> u32 {
    100
}

/// No arguments.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {
    /// Why you need it; shown to humans as your own words, never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}

/// `db_query`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The target's name, from list_targets.
    pub target: String,
    /// One statement that only reads. Placeholders: $1, $2 on PostgreSQL, ?1, ?2 on SQLite, ? on MySQL.
    #[schemars(length(min = 1, max = 65536))]
    pub sql: String,
    /// A value for each placeholder, in order: null, boolean, number or string.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::catalog::schema::params")]
    pub params: Vec<Value>,
    /// At most so many rows come back; `truncated` says whether there are more.
    #[serde(default = "rows")]
    #[schemars(range(min = 1, max = 5000))]
    pub max_rows: u32,
    /// At most so many bytes of rows come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 8388608))]
    pub max_bytes: Option<u64>,
    /// The target's work is stopped after this many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 300000))]
    pub timeout_ms: Option<u64>,
    /// Why you need it; shown to humans as your own words, never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}

/// `db_execute`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// The target's name, from list_targets.
    pub target: String,
    /// One statement that changes data or definitions. Placeholders: $1, $2 on PostgreSQL, ?1, ?2 on SQLite, ? on MySQL.
    #[schemars(length(min = 1, max = 65536))]
    pub sql: String,
    /// A value for each placeholder, in order: null, boolean, number or string.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::catalog::schema::params")]
    pub params: Vec<Value>,
    /// Roll back if an INSERT, UPDATE or DELETE would change more rows than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000000000))]
    pub expect_max_rows: Option<u64>,
    /// At most so many rows of RETURNING come back.
    #[serde(default = "rows")]
    #[schemars(range(min = 1, max = 5000))]
    pub max_rows: u32,
    /// The target's work is stopped after this many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 300000))]
    pub timeout_ms: Option<u64>,
    /// Why you need it; shown to the approver as your own words, never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}

/// Kinds of object.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ObjectType {
    /// Schemas.
    Schema,
    /// Tables.
    Table,
    /// Views.
    View,
    /// Columns.
    Column,
    /// Indexes.
    Index,
}

/// How much is said of each object.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Detail {
    /// Schema and name.
    #[default]
    Names,
    /// And what it is made of, in short.
    Summary,
    /// All that is known.
    Full,
}

/// `db_search_objects`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchObjects {
    /// The target's name, from list_targets.
    pub target: String,
    /// What to look for.
    pub object_type: ObjectType,
    /// A LIKE pattern for the name, without regard to case.
    #[serde(default = "everything")]
    #[schemars(length(max = 200))]
    pub pattern: String,
    /// Only in this schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub schema: Option<String>,
    /// Only of this table (columns and indexes).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub table: Option<String>,
    /// How much to say of each.
    #[serde(default)]
    pub detail_level: Detail,
    /// At most so many.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// The target's work is stopped after this many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 300000))]
    pub timeout_ms: Option<u64>,
    /// Why you need it; never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}

/// `db_describe`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Describe {
    /// The target's name, from list_targets.
    pub target: String,
    /// The table's or view's schema; the default one otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub schema: Option<String>,
    /// The table's or view's name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The target's work is stopped after this many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 300000))]
    pub timeout_ms: Option<u64>,
    /// Why you need it; never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}
