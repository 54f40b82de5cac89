//! Values of targets as JSON: exact, or said not to be. A number that JSON's readers would round is a string.

use serde_json::Value;

/// Beyond it, readers of JSON round.
const EXACT_MAX: u64 = (1 << 53) - 1;
/// Bytes of a blob that are shown, in hexadecimal.
const BLOB_MAX: usize = 64 * 1024;

/// A whole number.
pub(super) fn integer(number: i64) -> Value {
    if number.unsigned_abs() <= EXACT_MAX { Value::from(number) } else { Value::from(number.to_string()) }
}

/// A whole number without a sign.
pub(super) fn unsigned(number: u64) -> Value {
    if number <= EXACT_MAX { Value::from(number) } else { Value::from(number.to_string()) }
}

/// A floating-point number; JSON knows no NaN.
pub(super) fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::from(number.to_string()), Value::Number)
}

/// Bytes, as PostgreSQL writes them.
pub(super) fn blob(bytes: &[u8]) -> Value {
    match bytes.get(..BLOB_MAX) {
        Some(head) if bytes.len() > BLOB_MAX => Value::from(format!("\\x{}… ({} bytes)", hex::encode(head), bytes.len())),
        _ => Value::from(format!("\\x{}", hex::encode(bytes))),
    }
}

/// About how long a value is in the answer.
pub(super) fn length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 + 3,
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 12,
        other => other.to_string().len() as u64,
    }
}
