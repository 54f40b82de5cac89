//! Values of MySQL as JSON. What has no form here says so and asks for a cast; it never fails the call.

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::Value;
use sqlx::mysql::MySqlRow;
use sqlx::mysql::types::MySqlTime;
use sqlx::{Decode, MySql, Row as _, TypeInfo as _, ValueRef as _};

use crate::connector::mysql::unsupported;
use crate::connector::value;

/// The value of a column.
pub(super) fn value(row: &MySqlRow, index: usize) -> Value {
    let Ok(raw) = row.try_get_raw(index) else { return unsupported("unknown") };
    if raw.is_null() {
        return Value::Null;
    }
    let name = raw.type_info().name().to_owned();
    decoded(row, index, &name).unwrap_or_else(|| unsupported(&name))
}

/// The driver checks a column's type against Rust's more strictly than they differ on the wire.
fn get<'r, T: Decode<'r, MySql>>(row: &'r MySqlRow, index: usize) -> Option<T> {
    row.try_get_unchecked(index).ok()
}

fn decoded(row: &MySqlRow, index: usize, name: &str) -> Option<Value> {
    Some(match name {
        // A BOOLEAN is a TINYINT(1), which holds other numbers too.
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "INT" | "MEDIUMINT" | "BIGINT" => value::integer(get(row, index)?),
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "INT UNSIGNED" | "MEDIUMINT UNSIGNED" | "BIGINT UNSIGNED" | "YEAR" | "BIT" => {
            value::unsigned(get(row, index)?)
        }
        "FLOAT" => value::float(get::<f32>(row, index)?.to_string().parse().ok()?),
        "DOUBLE" => value::float(get(row, index)?),
        // Travels as text, of any precision.
        "DECIMAL" => text(row, index)?,
        "DATE" => get::<NaiveDate>(row, index)?.to_string().into(),
        "DATETIME" => get::<NaiveDateTime>(row, index)?.format("%Y-%m-%dT%H:%M:%S%.f").to_string().into(),
        // The session's zone is UTC.
        "TIMESTAMP" => get::<NaiveDateTime>(row, index)?.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string().into(),
        "TIME" => get::<MySqlTime>(row, index)?.to_string().into(),
        "JSON" => serde_json::from_slice(&get::<Vec<u8>>(row, index)?).ok()?,
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "SET" => text(row, index)?,
        // Texts that are compared byte by byte have such names too; the driver knows them by their character set.
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => match row.try_get::<String, _>(index) {
            Ok(text) => text.into(),
            Err(_) => value::blob(&get::<Vec<u8>>(row, index)?),
        },
        "NULL" => Value::Null,
        _ => return None,
    })
}

fn text(row: &MySqlRow, index: usize) -> Option<Value> {
    String::from_utf8(get(row, index)?).ok().map(Value::from)
}
