//! Restricted JCS (RFC 8785): the one spelling of a JSON value, so that what is hashed is what is stored.
//!
//! Objects with sorted ASCII names, integers of at most 2^53-1 in magnitude, no floats, no null. On this profile any JCS implementation agrees.

use std::fmt;

use serde_json::Value;

/// The value has no form in the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCanonical(String);

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not in the canonical profile: {}", self.0)
    }
}

impl std::error::Error for NotCanonical {}

/// Nesting that is accepted.
const DEPTH_MAX: usize = 64;
/// 2^53-1: beyond it, readers of JSON disagree.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The canonical bytes of a value.
///
/// # Errors
/// A null, a float, a large integer, a name that is not ASCII, or too deep a nesting.
pub fn canonical(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::with_capacity(512);
    write(value, &mut out, 0)?;
    Ok(out)
}

/// Whether these bytes are the canonical form of some value. Duplicate names are caught, since they do not survive a round trip.
#[must_use]
pub fn is_canonical(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).ok().and_then(|value| canonical(&value).ok()).is_some_and(|again| again == bytes)
}

fn write(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), NotCanonical> {
    let no = |why: &str| Err(NotCanonical(why.to_owned()));
    if depth > DEPTH_MAX {
        return no("nested too deep");
    }
    match value {
        Value::Null => return no("null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Number(number) => {
            let small =
                number.as_u64().map_or_else(|| number.as_i64().is_some_and(|n| n.unsigned_abs() <= INTEGER_MAX), |n| n <= INTEGER_MAX);
            if !small {
                return no("a number that is no integer within 2^53-1");
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Sorted here whatever the map's own order: a dependency may turn on insertion order.
            let mut names: Vec<_> = members.iter().collect();
            names.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (index, (name, member)) in names.into_iter().enumerate() {
                if !name.is_ascii() {
                    return no("a name that is not ASCII");
                }
                if index > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(member, out, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// serde_json escapes exactly what RFC 8785 demands and nothing else.
fn string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(value: &Value, expected: Option<&str>) {
        assert_eq!(canonical(value).ok().map(|bytes| String::from_utf8(bytes).unwrap()).as_deref(), expected, "{value}");
    }

    #[test]
    fn the_profile() {
        check(&json!({"b": 1, "a": [true, "x\n\u{7f}é"]}), Some("{\"a\":[true,\"x\\n\u{7f}é\"],\"b\":1}"));
        check(&json!(9_007_199_254_740_991_u64), Some("9007199254740991"));
        check(&json!(-9_007_199_254_740_991_i64), Some("-9007199254740991"));
        check(&json!(9_007_199_254_740_992_u64), None);
        check(&json!(1.5), None);
        check(&json!(null), None);
        check(&json!({"ä": 1}), None);
    }

    #[test]
    fn other_spellings_are_told_apart() {
        for (bytes, good) in [
            (r#"{"a":1}"#, true),
            (r#"{"a": 1}"#, false),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"b":1,"a":1}"#, false),
            (r#"{"a":1.0}"#, false),
            (r#"{"a":"\u0041"}"#, false),
            ("{", false),
        ] {
            assert_eq!(is_canonical(bytes.as_bytes()), good, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn canonical_bytes_are_canonical(text in ".*", number in -(1_i64 << 52)..(1_i64 << 52)) {
            let value = json!({"t": text, "n": number, "l": [text, {"z": 1, "a": number}]});
            prop_assert!(is_canonical(&canonical(&value).unwrap()));
        }
    }
}
