//! Base64 as it stands in texts: where a run of it begins and ends, and what it holds.
//!
//! Whoever reads a text can decode it, so what it holds counts as said. A run may be wrapped into lines, really or by an escaped `\n`. Every byte
//! is walked once; nothing here decides what is masked.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Lenient: nobody who hides something pads it well.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// A line of wrapped base64 is this long at least.
pub(super) const WRAPPED_MIN: usize = 48;

/// Runs of at least so many characters, as (start, end).
pub(super) fn runs(text: &str, min: usize) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes.get(at).is_none_or(|b| !is_letter(*b)) {
            at += 1;
            continue;
        }
        let end = run_end(bytes, at);
        if end - at >= min {
            runs.push((at, end));
        }
        at = end;
    }
    runs
}

/// Where the run ends that begins here: over padding, and over the ends of lines that it was wrapped at.
pub(super) fn run_end(bytes: &[u8], start: usize) -> usize {
    let letters = |from: usize| bytes.get(from..).unwrap_or_default().iter().take_while(|b| is_letter(**b)).count();
    let mut end = start;
    loop {
        let length = letters(end);
        end += length;
        let next = end + line_break(bytes.get(end..).unwrap_or_default());
        if length < WRAPPED_MIN || next == end || bytes.get(next).is_none_or(|b| !is_letter(*b)) {
            break;
        }
        end = next;
    }
    end + bytes.get(end..).unwrap_or_default().iter().take(2).take_while(|b| **b == b'=').count()
}

/// Where the run begins that `at` is in.
pub(super) fn run_start(bytes: &[u8], at: usize) -> usize {
    at - bytes.get(..at).unwrap_or_default().iter().rev().take_while(|b| is_letter(**b)).count()
}

/// The bytes of a line's end, written out or escaped, with what the next line is indented by.
fn line_break(rest: &[u8]) -> usize {
    let mut at = 0;
    if rest.first() == Some(&b'\r') {
        at += 1;
    }
    match (rest.get(at), rest.get(at + 1)) {
        (Some(b'\n'), _) => at += 1,
        (Some(b'\\'), Some(b'n')) => return at + 2,
        _ => return 0,
    }
    at + rest.get(at..).unwrap_or_default().iter().take(64).take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// What the run holds; what is left over at its end is dropped.
pub(super) fn decode(run: &str) -> Option<Vec<u8>> {
    let bare: Vec<u8> = run.replace("\\n", "").bytes().filter(|b| is_letter(*b)).collect();
    let whole = bare.len() - usize::from(bare.len() % 4 == 1);
    let bare = bare.get(..whole)?;
    if bare.iter().any(|b| matches!(b, b'-' | b'_')) { URL.decode(bare).ok() } else { PLAIN.decode(bare).ok() }
}

/// The text in the run, if it holds one.
pub(super) fn text(run: &str) -> Option<String> {
    String::from_utf8(decode(run)?).ok().filter(|text| !text.contains('\0'))
}

fn is_letter(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_')
}
