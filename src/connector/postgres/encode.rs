//! Parameters: JSON's few types into what the server inferred for each placeholder, or a refusal that names the placeholder and the type.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgArguments, PgStatement, PgTypeInfo};
use sqlx::{Arguments as _, Encode, Postgres, Statement as _, Type, TypeInfo as _};

use crate::operation::sql::Param;
use crate::refusal::{Code, Refusal};

fn wrong(number: usize, wanted: &str) -> Refusal {
    Refusal::new(Code::InvalidParameters).detail(format!("parameter {number} must be a {} here", wanted.to_lowercase()))
}

/// The arguments of a prepared statement.
pub(super) fn arguments(statement: &PgStatement, params: &[Param]) -> Result<PgArguments, Refusal> {
    let types: &[PgTypeInfo] = match statement.parameters() {
        Some(sqlx::Either::Left(types)) => types,
        _ => &[],
    };
    if types.len() != params.len() {
        return Err(Refusal::new(Code::InvalidParameters).detail(format!("the server wants {} parameters", types.len())));
    }
    let mut arguments = PgArguments::default();
    for (index, (param, wanted)) in params.iter().zip(types).enumerate() {
        add(&mut arguments, index + 1, param, wanted.name())?;
    }
    Ok(arguments)
}

fn push<'q, T: Encode<'q, Postgres> + Type<Postgres> + 'q>(
    arguments: &mut PgArguments,
    number: usize,
    name: &str,
    value: Option<T>,
) -> Result<(), Refusal>
where
    Option<T>: Encode<'q, Postgres> + Type<Postgres>,
{
    arguments.add(value).map_err(|_| wrong(number, name))
}

fn add(arguments: &mut PgArguments, number: usize, param: &Param, name: &str) -> Result<(), Refusal> {
    let wrong = || wrong(number, name);
    let text = || match param {
        Param::Null => Ok(None),
        Param::Text(text) => Ok(Some(text.as_str())),
        _ => Err(wrong()),
    };
    /// A text in the form of a type.
    fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, ()> {
        text.map(str::parse).transpose().map_err(|_| ())
    }
    let whole = || match param {
        Param::Null => Ok(None),
        Param::Integer(number) => Ok(Some(*number)),
        Param::Text(text) => text.parse().map(Some).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    match name {
        "BOOL" => {
            let truth = match param {
                Param::Null => None,
                Param::Bool(truth) => Some(*truth),
                _ => return Err(wrong()),
            };
            push(arguments, number, name, truth)
        }
        "INT2" => push(arguments, number, name, whole()?.map(i16::try_from).transpose().map_err(|_| wrong())?),
        "INT4" => push(arguments, number, name, whole()?.map(i32::try_from).transpose().map_err(|_| wrong())?),
        "INT8" => push(arguments, number, name, whole()?),
        "FLOAT4" | "FLOAT8" => {
            let float = match param {
                Param::Null => None,
                Param::Number(float) => Some(*float),
                Param::Integer(number) => Some(number.to_string().parse::<f64>().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            };
            if name == "FLOAT8" {
                push(arguments, number, name, float)
            } else {
                push(arguments, number, name, float.map(|float| float.to_string().parse::<f32>()).transpose().map_err(|_| wrong())?)
            }
        }
        "NUMERIC" => {
            let decimal = match param {
                Param::Null => None,
                Param::Integer(number) => Some(Decimal::from(*number)),
                Param::Number(float) => Some(float.to_string().parse().map_err(|_| wrong())?),
                Param::Text(text) => Some(text.parse().map_err(|_| wrong())?),
                Param::Bool(_) => return Err(wrong()),
            };
            push::<Decimal>(arguments, number, name, decimal)
        }
        "UUID" => push::<uuid::Uuid>(arguments, number, name, parsed(text()?).map_err(|()| wrong())?),
        "DATE" => push::<NaiveDate>(arguments, number, name, parsed(text()?).map_err(|()| wrong())?),
        "TIME" => push::<NaiveTime>(arguments, number, name, parsed(text()?).map_err(|()| wrong())?),
        "TIMESTAMP" => push::<NaiveDateTime>(
            arguments,
            number,
            name,
            text()?.map(|text| text.replacen(' ', "T", 1).parse()).transpose().map_err(|_| wrong())?,
        ),
        "TIMESTAMPTZ" => push::<DateTime<Utc>>(arguments, number, name, parsed(text()?).map_err(|()| wrong())?),
        "JSON" | "JSONB" => {
            let document: Option<serde_json::Value> = match param {
                Param::Null => None,
                Param::Text(text) => Some(serde_json::from_str(text).map_err(|_| wrong())?),
                other => Some(other.to_json()),
            };
            push(arguments, number, name, document)
        }
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "citext" => {
            let text = match param {
                Param::Null => None,
                Param::Text(text) => Some(text.clone()),
                Param::Integer(number) => Some(number.to_string()),
                Param::Number(number) => Some(number.to_string()),
                Param::Bool(_) => return Err(wrong()),
            };
            push(arguments, number, name, text)
        }
        "BYTEA" => {
            let bytes = text()?
                .map(|text| text.strip_prefix("\\x").ok_or(()).and_then(|digits| hex::decode(digits).map_err(|_| ())))
                .transpose()
                .map_err(|()| wrong())?;
            push(arguments, number, name, bytes)
        }
        other => Err(Refusal::new(Code::InvalidParameters).detail(format!(
            "parameter {number} is of type {}, which cannot be bound; cast it in the statement: `CAST($n AS text)::…`",
            other.to_lowercase()
        ))),
    }
}
