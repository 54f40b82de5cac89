//! Looks at a database's catalogue: names and shapes, for `db_search_objects` and `db_describe`. Patterns and names are bound, never written in.

mod mysql;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _};

use crate::connector::failure;
use crate::operation::sql::{Detail, ObjectType, Objects};
use crate::refusal::{Code, Refusal};

pub(super) use mysql::mysql;

fn unknown(name: &str) -> Refusal {
    Refusal::new(Code::NotFound).detail(format!("no table or view `{}`", name.chars().take(60).collect::<String>()))
}

/// On SQLite.
pub(super) fn sqlite(connection: &Connection, wanted: &Objects) -> Result<Value, Refusal> {
    let fail = |error: rusqlite::Error| failure::sqlite(&error);
    match wanted {
        Objects::Describe { schema, name } => {
            if schema.as_deref().is_some_and(|schema| !schema.eq_ignore_ascii_case("main")) {
                return Err(unknown(name));
            }
            describe_sqlite(connection, name).map_err(fail)?.ok_or_else(|| unknown(name))
        }
        Objects::Search { object, pattern, table, detail, limit, .. } => {
            let names = search_sqlite(connection, *object, pattern, table.as_deref(), *limit).map_err(fail)?;
            let mut results = Vec::new();
            for mut found in names {
                let name = found.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                if *detail != Detail::Names
                    && matches!(object, ObjectType::Table | ObjectType::View)
                    && let Some(described) = describe_sqlite(connection, &name).map_err(fail)?
                {
                    found = if *detail == Detail::Full { described } else { summary(&described) };
                }
                results.push(found);
            }
            Ok(json!({ "count": results.len(), "results": results }))
        }
    }
}

fn summary(described: &Value) -> Value {
    let columns: Vec<&str> = described
        .pointer("/columns")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|column| column.get("name").and_then(Value::as_str))
        .collect();
    json!({ "schema": described.get("schema"), "name": described.get("name"), "type": described.get("type"), "columns": columns })
}

fn search_sqlite(
    connection: &Connection,
    object: ObjectType,
    pattern: &str,
    table: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<Value>> {
    let sql = match object {
        ObjectType::Schema => "SELECT 'main' AS schema, 'main' AS name, NULL AS of WHERE 'main' LIKE ?1 AND ?2 IS NULL LIMIT ?3",
        ObjectType::Table => "SELECT 'main', name, NULL FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name LIKE ?1 AND ?2 IS NULL ORDER BY name LIMIT ?3",
        ObjectType::View => "SELECT 'main', name, NULL FROM sqlite_master WHERE type = 'view' AND name LIKE ?1 AND ?2 IS NULL ORDER BY name LIMIT ?3",
        ObjectType::Index => "SELECT 'main', name, tbl_name FROM sqlite_master WHERE type = 'index' AND name LIKE ?1 AND (?2 IS NULL OR lower(tbl_name) = lower(?2)) ORDER BY name LIMIT ?3",
        ObjectType::Column => {
            "SELECT 'main', c.name, m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite_%' AND c.name LIKE ?1
             AND (?2 IS NULL OR lower(m.name) = lower(?2)) ORDER BY m.name, c.cid LIMIT ?3"
        }
    };
    connection
        .prepare_cached(sql)?
        .query_map(params![pattern, table, limit], |row| {
            let mut found = json!({ "schema": row.get::<_, String>(0)?, "name": row.get::<_, String>(1)? });
            if let (Some(of), Some(members)) = (row.get::<_, Option<String>>(2)?, found.as_object_mut()) {
                members.insert("table".to_owned(), Value::from(of));
            }
            Ok(found)
        })?
        .collect()
}

fn describe_sqlite(connection: &Connection, name: &str) -> rusqlite::Result<Option<Value>> {
    let found: Option<(String, String)> = connection
        .prepare_cached(
            "SELECT name, type FROM sqlite_master WHERE lower(name) = lower(?1) AND type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'",
        )?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((name, kind)) = found else { return Ok(None) };
    let list = |sql: &str, each: &dyn Fn(&rusqlite::Row<'_>) -> rusqlite::Result<Value>| -> rusqlite::Result<Vec<Value>> {
        connection.prepare_cached(sql)?.query_map([&name], |row| each(row))?.collect()
    };
    let columns = list("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?1) ORDER BY cid", &|row| {
        Ok(
            json!({ "name": row.get::<_, String>(0)?, "type": row.get::<_, String>(1)?, "nullable": !row.get::<_, bool>(2)?, "default": row.get::<_, Option<String>>(3)? }),
        )
    })?;
    let key = list("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk", &|row| row.get::<_, String>(0).map(Value::from))?;
    let foreign = list("SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq", &|row| {
        Ok(
            json!({ "column": row.get::<_, String>(0)?, "references": row.get::<_, String>(1)?, "foreign_column": row.get::<_, Option<String>>(2)? }),
        )
    })?;
    let indexes = list(
        "SELECT l.name, l.\"unique\", (SELECT group_concat(i.name, ', ') FROM pragma_index_info(l.name) i) FROM pragma_index_list(?1) l ORDER BY l.name",
        &|row| {
            Ok(json!({ "name": row.get::<_, String>(0)?, "unique": row.get::<_, bool>(1)?, "columns": row.get::<_, Option<String>>(2)? }))
        },
    )?;
    Ok(Some(
        json!({ "schema": "main", "name": name, "type": kind, "columns": columns, "primary_key": key, "foreign_keys": foreign, "indexes": indexes }),
    ))
}

/// On PostgreSQL.
pub(super) async fn postgres(connection: &mut PgConnection, wanted: &Objects, search_path: &[String]) -> Result<Value, Refusal> {
    match wanted {
        Objects::Describe { schema, name } => {
            let schemas: Vec<String> = schema.clone().map_or_else(|| search_path.to_vec(), |schema| vec![schema]);
            describe_postgres(connection, &schemas, name).await?.ok_or_else(|| unknown(name))
        }
        Objects::Search { object, pattern, schema, table, detail, limit } => {
            let names = search_postgres(connection, *object, pattern, schema.as_deref(), table.as_deref(), *limit).await?;
            let mut results = Vec::new();
            for mut found in names {
                let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                if *detail != Detail::Names
                    && matches!(object, ObjectType::Table | ObjectType::View)
                    && let Some(described) = describe_postgres(connection, &[text("schema")], &text("name")).await?
                {
                    found = if *detail == Detail::Full { described } else { summary(&described) };
                }
                results.push(found);
            }
            Ok(json!({ "count": results.len(), "results": results }))
        }
    }
}

async fn search_postgres(
    connection: &mut PgConnection,
    object: ObjectType,
    pattern: &str,
    schema: Option<&str>,
    table: Option<&str>,
    limit: u32,
) -> Result<Vec<Value>, Refusal> {
    let fail = |error: sqlx::Error| failure::postgres(&error);
    let sql = match object {
        ObjectType::Schema => {
            "SELECT nspname::text, nspname::text, NULL::text FROM pg_catalog.pg_namespace WHERE nspname ILIKE $1 AND ($2::text IS NULL OR nspname = $2) AND $3::text IS NULL
             AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' ORDER BY 1 LIMIT $4"
        }
        ObjectType::Table => {
            "SELECT n.nspname::text, c.relname::text, NULL::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f') AND c.relname ILIKE $1
             AND ($2::text IS NULL OR n.nspname = $2) AND $3::text IS NULL AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1, 2 LIMIT $4"
        }
        ObjectType::View => {
            "SELECT n.nspname::text, c.relname::text, NULL::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND c.relname ILIKE $1
             AND ($2::text IS NULL OR n.nspname = $2) AND $3::text IS NULL AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1, 2 LIMIT $4"
        }
        ObjectType::Index => {
            "SELECT n.nspname::text, i.relname::text, t.relname::text FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace WHERE i.relname ILIKE $1 AND ($2::text IS NULL OR n.nspname = $2) AND ($3::text IS NULL OR t.relname = $3)
             AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2 LIMIT $4"
        }
        ObjectType::Column => {
            "SELECT n.nspname::text, a.attname::text, c.relname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attname ILIKE $1 AND ($2::text IS NULL OR n.nspname = $2) AND ($3::text IS NULL OR c.relname = $3)
             AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1, 3, a.attnum LIMIT $4"
        }
    };
    let rows = sqlx::query(sql).bind(pattern).bind(schema).bind(table).bind(i64::from(limit)).fetch_all(connection).await.map_err(fail)?;
    rows.iter()
        .map(|row| {
            let mut found =
                json!({ "schema": row.try_get::<String, _>(0).map_err(fail)?, "name": row.try_get::<String, _>(1).map_err(fail)? });
            if let (Some(of), Some(members)) = (row.try_get::<Option<String>, _>(2).map_err(fail)?, found.as_object_mut()) {
                members.insert("table".to_owned(), Value::from(of));
            }
            Ok(found)
        })
        .collect()
}

async fn describe_postgres(connection: &mut PgConnection, schemas: &[String], name: &str) -> Result<Option<Value>, Refusal> {
    let fail = |error: sqlx::Error| failure::postgres(&error);
    let document: Option<Value> = sqlx::query_scalar(
        "SELECT json_build_object(
            'schema', n.nspname, 'name', c.relname, 'type', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'matview' ELSE 'table' END,
            'comment', pg_catalog.obj_description(c.oid, 'pg_class'), 'estimated_rows', greatest(c.reltuples, 0)::bigint,
            'columns', (SELECT json_agg(json_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull,
                    'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid), 'comment', pg_catalog.col_description(a.attrelid, a.attnum)) ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
            'constraints', (SELECT coalesce(json_agg(json_build_object('name', k.conname, 'type', CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'f' THEN 'foreign key'
                    WHEN 'u' THEN 'unique' WHEN 'c' THEN 'check' ELSE k.contype::text END, 'definition', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.conname), '[]'::json)
                FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid),
            'indexes', (SELECT coalesce(json_agg(json_build_object('name', i.relname, 'unique', x.indisunique, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid)) ORDER BY i.relname), '[]'::json)
                FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid))
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = $2 AND n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY array_position($1, n.nspname::text) LIMIT 1",
    )
    .bind(schemas)
    .bind(name)
    .fetch_optional(connection)
    .await
    .map_err(fail)?;
    Ok(document)
}
