//! JSON as people read it: one member a line, strings in quotes, text of several lines behind a bar.
//!
//! It is canonical: the same value is always the same text, and no string can look like a member or a line of another, since each stands in
//! quotes (with `"` and `\` escaped) or behind a bar on every line.

use serde_json::Value;

use crate::approval::sight::Writer;

/// A value as lines.
pub(super) fn outline(writer: &mut Writer, value: &Value) -> String {
    let mut out = String::new();
    nested(writer, value, 0, &mut out);
    out.trim_end().to_owned()
}

/// A value in one line.
pub(super) fn scalar(writer: &mut Writer, value: &Value) -> String {
    match value {
        Value::String(text) => quoted(writer, text),
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| scalar(writer, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", key(writer, name), scalar(writer, value))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn quoted(writer: &mut Writer, text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", writer.line(&escaped))
}

fn key(writer: &mut Writer, name: &str) -> String {
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    if is_plain { name.to_owned() } else { quoted(writer, name) }
}

fn nested(writer: &mut Writer, value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let name = key(writer, name);
                member(writer, &format!("{name}:"), value, indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                member(writer, "-", item, indent, out);
            }
        }
        value => member(writer, "", value, indent, out),
    }
}

/// A member behind its name: on the same line, or below it.
fn member(writer: &mut Writer, name: &str, value: &Value, indent: usize, out: &mut String) {
    let space = " ".repeat(indent);
    let is_open = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    match value {
        Value::String(text) if text.contains('\n') => {
            out.push_str(&format!("{space}{name}\n"));
            let text = writer.text(text);
            // `lines` would not tell an end with a line's end from one without.
            for line in text.split('\n') {
                out.push_str(&format!("{space}  | {line}\n"));
            }
        }
        value if is_open => {
            out.push_str(&format!("{space}{name}\n"));
            nested(writer, value, indent + 2, out);
        }
        value => {
            let value = scalar(writer, value);
            out.push_str(format!("{space}{name} {value}").trim_end());
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_string_looks_like_anything_else() {
        let value = json!({
            "argv": ["rm", "-rf", "a \"b\"\nstate: ok", "\u{202e}"], "a b": {}, "deep": [{ "x": 1, "y": [true, null] }], "text": "one\ndry_run: true\n",
        });
        let mut writer = Writer::new("");
        let mut lines: Vec<String> = outline(&mut writer, &value).lines().map(ToOwned::to_owned).collect();
        let wanted = [
            "argv:",
            "  - \"rm\"",
            "  - \"-rf\"",
            "  -",
            "    | a \"b\"",
            "    | state: ok",
            "  - \"\\u{202e}\"",
            "\"a b\": {}",
            "deep:",
            "  -",
            "    x: 1",
            "    y:",
            "      - true",
            "      - null",
            "text:",
            "  | one",
            "  | dry_run: true",
            "  |",
        ];
        let mut wanted: Vec<String> = wanted.iter().map(|line| (*line).to_owned()).collect();
        // Whether members keep their order is the JSON library's to say.
        lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
        lines.sort();
        wanted.sort();
        assert_eq!(lines, wanted);
        assert_eq!(writer.hidden, 1);
        assert_eq!(scalar(&mut writer, &json!({ "a": ["x\ny", 1] })), "{a: [\"x\\u{a}y\", 1]}");
    }
}
