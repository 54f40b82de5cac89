//! Content as evidence: e-mail addresses, payment cards, US social security numbers, JSON Web Tokens, private keys, passwords in URLs, vendors'
//! tokens and hashes of passwords, wherever they stand.
//!
//! One pass for the characters that can begin a find, then a verifier by hand: check digits, lengths, what stands around it. No backtracking, no
//! pattern a text could make slow. A find is replaced by a label that no detector finds again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::mask::shadow::Shadow;
use crate::mask::{packed, search};

mod links;
#[cfg(test)]
mod tests;
mod tokens;

/// Something found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// `email`, `card`, `ssn`, `jwt`, `private_key`, `url_password`, `bearer`, `token`, `hash`.
    pub kind: &'static str,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// The longest local part and domain of an address (RFC 5321).
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;

/// Everything found in a text, in order, without overlaps.
#[must_use]
pub fn find(text: &str) -> Vec<Hit> {
    let mut hits = scan(text);
    // As it stands and as it reads: what is dropped between two numbers could join them into one that is none.
    if let Some(shadow) = Shadow::of(text) {
        let original = |hit: Hit| shadow.original(hit.start, hit.end).map(|(start, end)| Hit { start, end, ..hit });
        hits.extend(scan(&shadow.text).into_iter().filter_map(original));
    }
    apart(hits)
}

/// Times that a text is looked at again after something in it became a label.
const PASSES_MAX: usize = 4;

/// The text with a label for everything that is found in it, each kind told to `found`. A label may join what stood apart on both its sides, so the
/// outcome is looked at again; a text that does not come to rest goes as a whole.
pub fn redact(text: &str, mut found: impl FnMut(&'static str)) -> String {
    let mut text = text.to_owned();
    for _ in 0..PASSES_MAX {
        let hits = find(&text);
        if hits.is_empty() {
            return text;
        }
        let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
        for hit in hits {
            masked.push_str(text.get(from..hit.start).unwrap_or_default());
            masked.push_str(&format!("[redacted:{}]", hit.kind));
            found(hit.kind);
            from = hit.end;
        }
        masked.push_str(text.get(from..).unwrap_or_default());
        text = masked;
    }
    if find(&text).is_empty() { text } else { "[redacted:content]".to_owned() }
}

/// Where two overlap, all that either of them covers goes.
pub(super) fn apart(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
    let mut apart: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match apart.last_mut().filter(|last| hit.start < last.end) {
            Some(last) => last.end = last.end.max(hit.end),
            None => apart.push(hit),
        }
    }
    apart
}

fn scan(text: &str) -> Vec<Hit> {
    let bytes = text.as_bytes();
    let mut hits = private_keys(text);
    packed_keys(text, &mut hits);
    let links = links::passwords(text);
    for at in memchr::memchr_iter(b'@', bytes) {
        // Before this sign stands the password of a URL, and its host may be told.
        if links.binary_search_by_key(&at, |hit| hit.end).is_err() {
            hits.extend(email(bytes, at));
        }
    }
    hits.extend(links);
    let mut seen = 0;
    for at in search::every(bytes, b"eyJ") {
        if at >= seen
            && let Some(hit) = jwt(text, at)
        {
            seen = hit.end;
            hits.push(hit);
        }
    }
    tokens::find(text, &mut hits);
    digits(text, &mut hits);
    hits
}

fn at(bytes: &[u8], index: usize) -> Option<u8> {
    bytes.get(index).copied()
}

/// From BEGIN to END, or to the end of the text where END was cut off.
fn private_keys(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut from = 0;
    while let Some(begin) = text.get(from..).and_then(|rest| rest.find("-----BEGIN ")).map(|found| from + found) {
        let label = text.get(begin + 11..).unwrap_or_default();
        let Some(label) = label.find("-----").filter(|length| *length <= 64).and_then(|length| label.get(..length)) else {
            from = begin + 11;
            continue;
        };
        if !label.contains("PRIVATE KEY") {
            from = begin + 11;
            continue;
        }
        let closing = format!("-----END {label}-----");
        let end = text.get(begin..).and_then(|rest| rest.find(&closing)).map_or(text.len(), |found| begin + found + closing.len());
        hits.push(Hit { kind: "private_key", start: begin, end });
        from = end;
    }
    hits
}

/// The same in base64: the whole run goes, with what stands around the key.
fn packed_keys(text: &str, hits: &mut Vec<Hit>) {
    let mut seen = 0;
    for found in search::every(text.as_bytes(), b"LS0tLS1CRUdJTi") {
        if found < seen {
            continue;
        }
        seen = packed::run_end(text.as_bytes(), found);
        let held = text.get(found..seen).and_then(packed::decode).unwrap_or_default();
        if memchr::memmem::find(&held, b"PRIVATE KEY").is_some() {
            hits.push(Hit { kind: "private_key", start: packed::run_start(text.as_bytes(), found), end: seen });
        }
    }
}

fn email(bytes: &[u8], sign: usize) -> Option<Hit> {
    let local = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let mut start = sign;
    if sign.checked_sub(1).and_then(|before| at(bytes, before)) == Some(b'"') {
        // A quoted local part: back to the quote that opens it.
        start = (sign.saturating_sub(LOCAL_MAX)..sign.saturating_sub(1)).rev().find(|index| at(bytes, *index) == Some(b'"'))?;
    } else {
        while sign - start < LOCAL_MAX * 2 && start > 0 && start.checked_sub(1).and_then(|before| at(bytes, before)).is_some_and(local) {
            start -= 1;
        }
        // Quotes, slashes and equal signs around an address are rarely part of it.
        while at(bytes, start).is_some_and(|b| b"'/=.{|`&?".contains(&b)) {
            start += 1;
        }
    }
    let mut end = sign + 1;
    let domain = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b == b'-' || b == b'.';
    while end - sign <= DOMAIN_MAX && at(bytes, end).is_some_and(domain) {
        end += 1;
    }
    while end > sign + 1 && end.checked_sub(1).and_then(|last| at(bytes, last)).is_some_and(|b| b == b'.' || b == b'-') {
        end -= 1;
    }
    let host = bytes.get(sign + 1..end)?;
    let dot = host.iter().rposition(|b| *b == b'.')?;
    let top = host.get(dot + 1..)?;
    let plausible =
        start < sign && dot > 0 && top.len() >= 2 && !top.iter().all(u8::is_ascii_digit) && !host.windows(2).any(|pair| pair == b"..");
    plausible.then_some(Hit { kind: "email", start, end })
}

fn jwt(text: &str, start: usize) -> Option<Hit> {
    let bytes = text.as_bytes();
    let url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if start.checked_sub(1).and_then(|before| at(bytes, before)).is_some_and(url) {
        return None;
    }
    let head = bytes.get(start..)?.iter().take_while(|b| url(**b)).count();
    let header = URL_SAFE_NO_PAD.decode(text.get(start..start + head)?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header.get("alg")?;
    // Only now to the end: what merely begins like one is walked no further than its first dot.
    let length = bytes.get(start..)?.iter().take_while(|b| url(**b) || **b == b'.').count();
    let token = text.get(start..start + length)?.trim_end_matches('.');
    token.get(head + 1..).filter(|rest| !rest.is_empty() && !rest.starts_with('.'))?;
    Some(Hit { kind: "jwt", start, end: start + token.len() })
}

/// Runs of digits with single spaces, dots or dashes in them: cards and social security numbers.
fn digits(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut index = 0;
    while index < bytes.len() {
        if !at(bytes, index).is_some_and(|b| b.is_ascii_digit()) {
            index += 1;
            continue;
        }
        let start = index;
        let mut found = Vec::new();
        let mut end = index;
        while let Some(b) = at(bytes, index) {
            if b.is_ascii_digit() {
                found.push((b - b'0', index));
                end = index + 1;
            } else if !(matches!(b, b' ' | b'-' | b'.') && at(bytes, index + 1).is_some_and(|next| next.is_ascii_digit())) {
                break;
            }
            index += 1;
        }
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(end..).and_then(|text| text.chars().next());
        if !word(before) && !word(after) {
            run(bytes, &found, hits);
        }
    }
}

/// A run may hold a card between other numbers, so every stretch that begins and ends at a separator is tried, longest first.
fn run(bytes: &[u8], found: &[(u8, usize)], hits: &mut Vec<Hit>) {
    let boundary = |index: usize| {
        index == 0
            || index == found.len()
            || matches!((found.get(index - 1), found.get(index)), (Some((_, before)), Some((_, after))) if after - before > 1)
    };
    let starts: Vec<usize> = (0..found.len()).filter(|index| boundary(*index)).collect();
    let mut taken = 0;
    for start in starts {
        if start < taken {
            continue;
        }
        let longest = (13..=19)
            .rev()
            .find(|length| boundary(start + length) && found.get(start..start + length).is_some_and(|digits| is_card(bytes, digits)));
        let ssn = boundary(start + 9) && found.get(start..start + 9).is_some_and(|digits| is_ssn(bytes, digits));
        let (kind, length) = match (longest, ssn) {
            (Some(length), _) => ("card", length),
            (None, true) => ("ssn", 9),
            (None, false) => continue,
        };
        if let (Some((_, first)), Some((_, last))) = (found.get(start), found.get(start + length - 1)) {
            hits.push(Hit { kind, start: *first, end: last + 1 });
            taken = start + length;
        }
    }
}

/// Luhn's check digit, and a first digit that issuers use.
fn is_card(bytes: &[u8], digits: &[(u8, usize)]) -> bool {
    let issuer = match (digits.first().map(|(digit, _)| digit), digits.get(1).map(|(digit, _)| digit)) {
        (Some(4), _) => matches!(digits.len(), 13 | 16 | 19),
        (Some(3), Some(4 | 7)) => digits.len() == 15,
        (Some(3), Some(0 | 6 | 8 | 9)) => (14..=19).contains(&digits.len()),
        (Some(5), Some(1..=5)) | (Some(2), Some(2..=7)) => digits.len() == 16,
        (Some(3), Some(5)) | (Some(6 | 5), _) | (Some(8), Some(1)) => (15..=19).contains(&digits.len()),
        _ => false,
    };
    let same = || digits.iter().all(|(digit, _)| digits.first().is_some_and(|(first, _)| first == digit));
    // Last, since it is the dearest: every stretch of every run is asked.
    issuer && is_grouped_as_cards_are(bytes, digits) && !same() && luhn(digits).is_multiple_of(10)
}

/// Without spaces, or in groups as people write it: of one length, but for the last, or none but the last shorter than four. Columns of counters are
/// neither (`418724 0 17 2146804`), and some of them would be a card by their check digit.
fn is_grouped_as_cards_are(bytes: &[u8], digits: &[(u8, usize)]) -> bool {
    let has_spaces =
        digits.windows(2).any(|pair| matches!(pair, [(_, one), (_, two)] if two - one > 1 && at(bytes, one + 1) == Some(b' ')));
    if !has_spaces {
        return true;
    }
    let sizes: Vec<usize> = digits.chunk_by(|(_, before), (_, after)| after - before == 1).map(<[_]>::len).collect();
    let Some((last, others)) = sizes.split_last() else { return false };
    let first = others.first().copied().unwrap_or_default();
    let of_one_length = others.iter().all(|size| *size == first) && *last <= first;
    of_one_length || others.iter().all(|size| *size >= 4)
}

fn luhn(digits: &[(u8, usize)]) -> u32 {
    let mut sum = 0;
    for (place, (digit, _)) in digits.iter().rev().enumerate() {
        let doubled = if place % 2 == 0 { u32::from(*digit) } else { u32::from(*digit) * 2 };
        sum += if doubled > 9 { doubled - 9 } else { doubled };
    }
    sum
}

/// Three, two and four digits with dashes or spaces between, and no area, group or serial that was never given out.
fn is_ssn(bytes: &[u8], digits: &[(u8, usize)]) -> bool {
    let value = |range: std::ops::Range<usize>| {
        digits.get(range).unwrap_or_default().iter().fold(0_u32, |value, (digit, _)| value * 10 + u32::from(*digit))
    };
    let separated = |left: usize, right: usize| match (digits.get(left), digits.get(right)) {
        (Some((_, left)), Some((_, right))) => right - left == 2 && matches!(at(bytes, left + 1), Some(b'-' | b' ')),
        _ => false,
    };
    let close = |range: std::ops::Range<usize>| {
        digits.get(range).unwrap_or_default().windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if b - a == 1))
    };
    let (area, group, serial) = (value(0..3), value(3..5), value(5..9));
    separated(2, 3)
        && separated(4, 5)
        && close(0..3)
        && close(3..5)
        && close(5..9)
        && area != 0
        && area != 666
        && area < 900
        && group != 0
        && serial != 0
}
