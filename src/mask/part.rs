//! What stands for a value: the label of the rule that masked it, or the part of it that may be shown.

use serde_json::Value;

/// The label of a rule: what it is about, after the colon.
pub(super) fn label(rule: &str) -> Value {
    let about = rule.split_once(':').map_or(rule, |(class, about)| if class == "column" { class } else { about });
    Value::from(format!("[redacted:{about}]"))
}

/// The part of a value that may be shown; a document or a list is none that has parts to show.
pub(super) fn partly(value: &Value, rule: &str) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) => label(rule),
        Value::String(text) if matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'[' | b'(')) => label(rule),
        value => Value::from(part(value)),
    }
}

/// The part of a value that may be shown. Masking it again changes nothing, and no detector finds it.
fn part(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    if let Some((local, domain)) = text.split_once('@')
        && !text.contains(char::is_whitespace)
    {
        let first: String = local.chars().take(1).collect();
        let is_host = domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '*'));
        let is_top = |top: &&str| is_host && top.len() <= 10 && *top != domain && top.chars().all(char::is_alphabetic);
        let top = domain.rsplit('.').next().filter(is_top).unwrap_or("***");
        return format!("{first}***@***.{top}");
    }
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    let shown = if digits.len() >= 12 || text.starts_with("****") { 4 } else { 2 };
    if digits.len() >= 6 || text.starts_with("***") {
        let last: String = digits.iter().skip(digits.len().saturating_sub(shown)).collect();
        return if shown == 4 { format!("**** **** **** {last}") } else { format!("***{last}") };
    }
    // Of a short value even one letter is too much.
    let shown = usize::from(text.chars().count() > 3);
    let first: String = text.chars().take(shown).collect();
    format!("{first}***")
}
