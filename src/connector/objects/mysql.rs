//! On MySQL and MariaDB, from `information_schema`, which shows each login what it may see.

use serde_json::{Value, json};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};

use super::{summary, unknown};
use crate::connector::failure;
use crate::operation::sql::{Detail, ObjectType, Objects};
use crate::refusal::Refusal;

fn fail(error: sqlx::Error) -> Refusal {
    failure::mysql(&error)
}

/// A text, if there is one; the catalogue's are UTF-8 whatever their type is called.
fn text(row: &MySqlRow, index: usize) -> Option<String> {
    row.try_get_unchecked::<Option<Vec<u8>>, _>(index).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// A look at the catalogue.
pub(in crate::connector) async fn mysql(connection: &mut MySqlConnection, wanted: &Objects, database: &str) -> Result<Value, Refusal> {
    match wanted {
        Objects::Describe { schema, name } => {
            describe(connection, schema.as_deref().unwrap_or(database), name).await?.ok_or_else(|| unknown(name))
        }
        Objects::Search { object, pattern, schema, table, detail, limit } => {
            let mut results = Vec::new();
            for (of, name, on) in search(connection, *object, pattern, schema.as_deref(), table.as_deref(), *limit).await? {
                let is_described = *detail != Detail::Names && matches!(object, ObjectType::Table | ObjectType::View);
                let described = if is_described { describe(connection, &of, &name).await? } else { None };
                results.push(match described {
                    Some(described) if *detail == Detail::Full => described,
                    Some(described) => summary(&described),
                    None => on.map_or_else(
                        || json!({ "schema": of, "name": name }),
                        |table| json!({ "schema": of, "name": name, "table": table }),
                    ),
                });
            }
            Ok(json!({ "count": results.len(), "results": results }))
        }
    }
}

const SCHEMAS: &str =
    "SELECT SCHEMA_NAME, SCHEMA_NAME, NULL FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE ? AND (? IS NULL OR SCHEMA_NAME = ?)
    AND ? IS NULL AND ? IS NULL AND SCHEMA_NAME NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY 1 LIMIT ?";
const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, NULL FROM information_schema.TABLES WHERE TABLE_NAME LIKE ? AND (? IS NULL OR TABLE_SCHEMA = ?)
    AND ? IS NULL AND ? IS NULL AND TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY 1, 2 LIMIT ?";
const VIEWS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, NULL FROM information_schema.TABLES WHERE TABLE_NAME LIKE ? AND (? IS NULL OR TABLE_SCHEMA = ?)
    AND ? IS NULL AND ? IS NULL AND TABLE_TYPE = 'VIEW' AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY 1, 2 LIMIT ?";
const COLUMNS: &str = "SELECT TABLE_SCHEMA, COLUMN_NAME, TABLE_NAME FROM information_schema.COLUMNS WHERE COLUMN_NAME LIKE ? AND (? IS NULL OR TABLE_SCHEMA = ?)
    AND (? IS NULL OR TABLE_NAME = ?) AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
    ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION LIMIT ?";
const INDEXES: &str = "SELECT DISTINCT TABLE_SCHEMA, INDEX_NAME, TABLE_NAME FROM information_schema.STATISTICS WHERE INDEX_NAME LIKE ?
    AND (? IS NULL OR TABLE_SCHEMA = ?) AND (? IS NULL OR TABLE_NAME = ?)
    AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY 1, 3, 2 LIMIT ?";

/// Schema, name and, where it is of one, the table.
async fn search(
    connection: &mut MySqlConnection,
    object: ObjectType,
    pattern: &str,
    schema: Option<&str>,
    table: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, String, Option<String>)>, Refusal> {
    let sql = match object {
        ObjectType::Schema => SCHEMAS,
        ObjectType::Table => TABLES,
        ObjectType::View => VIEWS,
        ObjectType::Column => COLUMNS,
        ObjectType::Index => INDEXES,
    };
    let query = sqlx::query(sql).bind(pattern).bind(schema).bind(schema).bind(table).bind(table).bind(limit);
    let rows = query.fetch_all(connection).await.map_err(fail)?;
    Ok(rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?, text(row, 2)))).collect())
}

/// Rows of texts about one table.
async fn about(connection: &mut MySqlConnection, sql: &'static str, schema: &str, name: &str) -> Result<Vec<MySqlRow>, Refusal> {
    sqlx::query(sql).bind(schema).bind(name).fetch_all(connection).await.map_err(fail)
}

async fn describe(connection: &mut MySqlConnection, schema: &str, name: &str) -> Result<Option<Value>, Refusal> {
    let found = about(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_COMMENT, CAST(COALESCE(TABLE_ROWS, 0) AS SIGNED), ENGINE FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? LIMIT 1",
        schema,
        name,
    )
    .await?;
    let Some(table) = found.first() else { return Ok(None) };
    let (of, named) = (text(table, 0).unwrap_or_default(), text(table, 1).unwrap_or_default());
    let columns = about(
        connection,
        "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLUMN_COMMENT FROM information_schema.COLUMNS
         WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
        &of,
        &named,
    )
    .await?;
    let columns: Value = columns
        .iter()
        .map(|row| {
            json!({ "name": text(row, 0), "type": text(row, 1), "nullable": text(row, 2).as_deref() == Some("YES"), "default": text(row, 3),
                    "comment": text(row, 4).filter(|comment| !comment.is_empty()) })
        })
        .collect();
    let indexes = about(
        connection,
        "SELECT INDEX_NAME, CAST(MAX(NON_UNIQUE = 0) AS SIGNED), GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX SEPARATOR ', ')
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? GROUP BY INDEX_NAME ORDER BY INDEX_NAME",
        &of,
        &named,
    )
    .await?;
    let number = |row: &MySqlRow, index: usize| row.try_get_unchecked::<i64, _>(index).unwrap_or_default();
    let indexes: Value =
        indexes.iter().map(|row| json!({ "name": text(row, 0), "unique": number(row, 1) != 0, "columns": text(row, 2) })).collect();
    let foreign = about(
        connection,
        "SELECT COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE
         WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
        &of,
        &named,
    )
    .await?;
    let foreign: Value =
        foreign.iter().map(|row| json!({ "column": text(row, 0), "references": text(row, 1), "foreign_column": text(row, 2) })).collect();
    let kind = if text(table, 2).as_deref() == Some("VIEW") { "view" } else { "table" };
    Ok(Some(json!({
        "schema": of, "name": named, "type": kind, "comment": text(table, 3).filter(|comment| !comment.is_empty()),
        "estimated_rows": number(table, 4), "engine": text(table, 5), "columns": columns, "foreign_keys": foreign, "indexes": indexes,
    })))
}
