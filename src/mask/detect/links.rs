//! Passwords in addresses of services: `scheme://user:password@host`, the same percent-encoded, and `user:password@tcp(host)`.
//!
//! Only the password goes; where a service listens is what an agent asks for. Passwords are often written without the encoding that they need,
//! so that one with a slash or an at sign in it must not end early.

use crate::mask::detect::{Hit, at};
use crate::mask::{keys, search};

/// The longest user and password that are looked through.
const USERINFO_MAX_BYTES: usize = 1024;
/// How far a password goes on that has a slash in it.
const BEYOND_MAX_BYTES: usize = 128;

/// Passwords, by where they end.
pub(super) fn passwords(text: &str) -> Vec<Hit> {
    let bytes = text.as_bytes();
    let mut hits: Vec<Hit> = Vec::new();
    let mut seen = 0;
    for found in search::every(bytes, b"://") {
        if found < seen || !found.checked_sub(1).and_then(|before| at(bytes, before)).is_some_and(|b| b.is_ascii_alphanumeric()) {
            continue;
        }
        if let Some((start, end)) = plain(bytes, found + 3) {
            seen = end;
            hits.extend(hit(text, start, end));
        }
    }
    for wanted in ["%2F%2F", "%2f%2f"] {
        for found in search::every(bytes, wanted.as_bytes()) {
            hits.extend(encoded(bytes, found).and_then(|(start, end)| hit(text, start, end)));
        }
    }
    for wanted in ["@tcp(", "@unix("] {
        for found in search::every(bytes, wanted.as_bytes()) {
            hits.extend(driver(bytes, found).and_then(|start| hit(text, start, found)));
        }
    }
    hits.sort_by_key(|hit| hit.end);
    hits
}

/// A find, unless something else stands there in place of the password.
fn hit(text: &str, start: usize, end: usize) -> Option<Hit> {
    let password = text.get(start..end).filter(|password| !password.is_empty())?;
    let is_masked = password.len() >= 3 && (password.bytes().all(|b| b == b'*') || password.bytes().all(|b| b == b'x'));
    let is_variable = |open: &str, close: char| {
        password
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ' ')))
    };
    let is_constant = password
        .strip_prefix('$')
        .is_some_and(|name| name.len() >= 2 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
    let stands_in = is_masked
        || is_constant
        || is_variable("${", '}')
        || is_variable("$(", ')')
        || (password.starts_with("{{") && password.ends_with("}}") && !password.contains(' '));
    (!stands_in && !keys::is_label(password)).then_some(Hit { kind: "url_password", start, end })
}

/// From the colon after the user to the last at sign before the path.
fn plain(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let (mut colon, mut sign) = (None, None);
    let mut end = start;
    while end - start < USERINFO_MAX_BYTES {
        match at(bytes, end) {
            Some(b':') if colon.is_none() => colon = Some(end),
            Some(b'@') => sign = Some(end),
            Some(b'[') if end == start => return None,
            Some(b'/' | b'?' | b'#') | None => break,
            Some(b) if closes(bytes, end, b) => break,
            Some(_) => {}
        }
        end += 1;
    }
    let colon = colon?;
    let strict = sign.filter(|sign| colon < *sign).map(|sign| (colon + 1, sign));
    if strict.is_some_and(|(_, sign)| is_host(bytes.get(sign + 1..end).unwrap_or_default())) {
        return strict;
    }
    // `host:80/path@x` has a port there; anything else is a password that has a slash in it.
    let port = bytes.get(colon + 1..end).unwrap_or_default();
    let is_port = strict.is_none() && port.iter().all(u8::is_ascii_digit);
    if is_port || !matches!(at(bytes, end), Some(b'/' | b'?' | b'#')) {
        return strict;
    }
    let beyond = bytes.get(end..(end + BEYOND_MAX_BYTES).min(bytes.len())).unwrap_or_default();
    let signs = beyond.iter().enumerate().take_while(|(index, b)| !closes(bytes, end + index, **b)).filter(|(_, b)| **b == b'@');
    signs.last().map(|(length, _)| (colon + 1, end + length)).or(strict)
}

/// What follows a colon in a host is a port, or else all this is still the password.
fn is_host(host: &[u8]) -> bool {
    let port = host.iter().rposition(|b| *b == b':').and_then(|colon| host.get(colon + 1..)).unwrap_or_default();
    host.starts_with(b"[") || host.contains(&b',') || port.iter().all(|b| b.is_ascii_digit() || b"${}()".contains(b))
}

/// No address goes on here. A quote may be part of a password; before a comma or a bracket it is the end of a string.
fn closes(bytes: &[u8], index: usize, b: u8) -> bool {
    match b {
        b'"' | b'<' | b'>' | b'\\' => true,
        b'\'' | b'`' => at(bytes, index + 1).is_none_or(|next| next.is_ascii_whitespace() || b",;:)]}'`".contains(&next)),
        b => b.is_ascii_whitespace(),
    }
}

/// The same between `%2F%2F`, `%3A` and `%40`.
fn encoded(bytes: &[u8], slashes: usize) -> Option<(usize, usize)> {
    let is_code = |index: usize, code: &[u8]| bytes.get(index..index + 3).is_some_and(|found| found.eq_ignore_ascii_case(code));
    if !slashes.checked_sub(3).is_some_and(|before| is_code(before, b"%3A")) {
        return None;
    }
    let start = slashes + 6;
    let (mut colon, mut sign) = (None, None);
    let mut end = start;
    while end - start < USERINFO_MAX_BYTES {
        match at(bytes, end) {
            Some(b'%') if is_code(end, b"%3A") && colon.is_none() => colon = Some(end),
            Some(b'%') if is_code(end, b"%40") => sign = Some(end),
            Some(b'%') if is_code(end, b"%2F") => break,
            Some(b'&' | b'/') | None => break,
            Some(b) if closes(bytes, end, b) => break,
            Some(_) => {}
        }
        end += 1;
    }
    let (colon, sign) = (colon?, sign?);
    (colon < sign).then_some((colon + 3, sign))
}

/// Back from the at sign to the colon after the user.
fn driver(bytes: &[u8], sign: usize) -> Option<usize> {
    let mut start = sign;
    let mut colon = None;
    while sign - start < BEYOND_MAX_BYTES {
        let Some(before) = start.checked_sub(1) else { break };
        match at(bytes, before) {
            Some(b':') => colon = Some(before),
            Some(b) if b.is_ascii_whitespace() || b"\"'`=/<>(".contains(&b) => break,
            _ => {}
        }
        start = before;
    }
    colon.filter(|colon| *colon > start).map(|colon| colon + 1)
}
