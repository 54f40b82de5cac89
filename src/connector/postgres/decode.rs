//! Values of PostgreSQL as JSON. What has no form here says so and asks for a cast; it never fails the call.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use sqlx::{Decode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use crate::connector::postgres::{unsupported, whole};
use crate::connector::value;

/// The value of a column.
pub(super) fn value(row: &PgRow, index: usize) -> Value {
    let Ok(raw) = row.try_get_raw(index) else { return unsupported("unknown") };
    if raw.is_null() {
        return Value::Null;
    }
    let name = raw.type_info().name().to_owned();
    decoded(row, index, &name).unwrap_or_else(|| unsupported(&name))
}

fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, index: usize) -> Option<T> {
    row.try_get(index).ok()
}

fn list<'r, T>(row: &'r PgRow, index: usize, each: impl Fn(T) -> Value) -> Option<Value>
where
    Vec<Option<T>>: Decode<'r, Postgres> + Type<Postgres>,
{
    let items: Vec<Option<T>> = get(row, index)?;
    Some(items.into_iter().map(|item| item.map_or(Value::Null, &each)).collect())
}

fn decoded(row: &PgRow, index: usize, name: &str) -> Option<Value> {
    Some(match name {
        "BOOL" => get::<bool>(row, index)?.into(),
        "INT2" => get::<i16>(row, index)?.into(),
        "INT4" => get::<i32>(row, index)?.into(),
        "INT8" => whole(get(row, index)?),
        "OID" => get::<sqlx::postgres::types::Oid>(row, index)?.0.into(),
        "FLOAT4" => value::float(f64::from(get::<f32>(row, index)?)),
        "FLOAT8" => value::float(get(row, index)?),
        "NUMERIC" => get::<Decimal>(row, index)?.to_string().into(),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "\"CHAR\"" | "citext" => text(row, index)?,
        "JSON" | "JSONB" => get(row, index)?,
        "UUID" => get::<uuid::Uuid>(row, index)?.to_string().into(),
        "DATE" => get::<NaiveDate>(row, index)?.to_string().into(),
        "TIME" => get::<NaiveTime>(row, index)?.to_string().into(),
        "TIMESTAMP" => get::<NaiveDateTime>(row, index)?.format("%Y-%m-%dT%H:%M:%S%.f").to_string().into(),
        "TIMESTAMPTZ" => get::<DateTime<Utc>>(row, index)?.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
        "INTERVAL" => interval(&get(row, index)?).into(),
        "BYTEA" => value::blob(&get::<Vec<u8>>(row, index)?),
        "VOID" => Value::Null,
        "BOOL[]" => list::<bool>(row, index, Value::from)?,
        "INT2[]" => list::<i16>(row, index, Value::from)?,
        "INT4[]" => list::<i32>(row, index, Value::from)?,
        "INT8[]" => list(row, index, whole)?,
        "FLOAT8[]" => list(row, index, value::float)?,
        "NUMERIC[]" => list::<Decimal>(row, index, |number| number.to_string().into())?,
        "TEXT[]" | "VARCHAR[]" | "CHAR[]" | "NAME[]" => list::<String>(row, index, Value::from)?,
        "UUID[]" => list::<uuid::Uuid>(row, index, |id| id.to_string().into())?,
        "JSON[]" | "JSONB[]" => list::<Value>(row, index, |document| document)?,
        "DATE[]" => list::<NaiveDate>(row, index, |date| date.to_string().into())?,
        "TIMESTAMPTZ[]" => list::<DateTime<Utc>>(row, index, |at| at.to_rfc3339().into())?,
        _ => labelled(row, index)?,
    })
}

/// Enums and domains over text come as their text.
fn labelled(row: &PgRow, index: usize) -> Option<Value> {
    let raw = row.try_get_raw(index).ok()?;
    matches!(raw.type_info().kind(), sqlx::postgres::PgTypeKind::Enum(_)).then(|| text(row, index)).flatten()
}

fn text(row: &PgRow, index: usize) -> Option<Value> {
    let raw = row.try_get_raw(index).ok()?;
    raw.as_str().ok().map(Value::from)
}

/// ISO 8601, as far as PostgreSQL's months, days and microseconds go.
fn interval(interval: &PgInterval) -> String {
    let (months, days, micros) = (interval.months, interval.days, interval.microseconds);
    let mut text = String::from("P");
    for (amount, unit) in [(i64::from(months), "M"), (i64::from(days), "D")] {
        if amount != 0 {
            text.push_str(&format!("{amount}{unit}"));
        }
    }
    if micros != 0 || text == "P" {
        let sign = if micros < 0 { "-" } else { "" };
        let micros = micros.unsigned_abs();
        text.push_str(&format!("T{sign}{}.{:06}S", micros / 1_000_000, micros % 1_000_000));
    }
    text
}
