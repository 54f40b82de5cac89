//! Secrets that were seen in a document, to be masked wherever else in it they stand: copied into an environment, a log or an annotation, as they
//! are or in base64.
//!
//! A text is walked once whatever is remembered: six bytes find what may begin here. Where too much begins alike, the whole word goes.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::mask::keys;
use crate::mask::packed;

/// What is shorter stands everywhere by chance; so many bytes find a secret.
const MIN_BYTES: usize = 6;
/// Secrets that begin with the same bytes.
const ALIKE_MAX: usize = 16;
/// Of a secret, so much is compared at a place; what follows is compared once it fits.
const HEAD_MAX_BYTES: usize = 256;

/// Secrets, by how they begin.
#[derive(Default)]
pub(super) struct Memory {
    heads: HashMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Memory {
    /// Remembers a value of a Secret: as it stands, decoded, and in base64.
    pub(super) fn learn(&mut self, name: &str, value: &str) {
        // Where a token is good and who signed it, Secrets of service accounts tell everybody.
        if matches!(name, "namespace" | "ca.crt" | "service-ca.crt" | "ca-bundle.crt") || keys::is_label(value) {
            return;
        }
        self.remember(value.trim());
        if let Some(text) = packed::text(value).filter(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace())) {
            self.remember(text.trim());
            self.remember_base64(text.trim());
        }
        self.remember_base64(value.trim());
    }

    fn remember(&mut self, value: &str) {
        let is_common = value.len() < 8 && value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let is_public = value.starts_with("-----BEGIN CERTIFICATE");
        if value.len() < MIN_BYTES || is_common || is_public || keys::is_exempt("", value) {
            return;
        }
        let Some(head) = value.as_bytes().get(..MIN_BYTES) else { return };
        let alike = self.heads.entry(head.to_vec()).or_default();
        if alike.len() < ALIKE_MAX && !alike.iter().any(|known| known == value.as_bytes()) {
            alike.push(value.as_bytes().to_vec());
            alike.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// Base64 of the value, and the part of it that stays the same where something stands before it: `user:password` in a header.
    fn remember_base64(&mut self, value: &str) {
        if value.len() < MIN_BYTES {
            return;
        }
        self.remember(STANDARD.encode(value).trim_end_matches('='));
        self.remember(&URL_SAFE_NO_PAD.encode(value));
        for (before, cut) in [(0, 0), (1, 2), (2, 3)] {
            let shifted = [vec![0; before], value.as_bytes().to_vec()].concat();
            let whole = shifted.len() - shifted.len() % 3;
            let encoded = STANDARD_NO_PAD.encode(shifted.get(..whole).unwrap_or_default());
            self.remember(encoded.get(cut..).unwrap_or_default());
        }
    }

    /// The text without what is remembered, or `None` where nothing of it stands there. Of a name only what could not be a word goes.
    pub(super) fn mask(&self, text: &str, in_name: bool) -> Option<String> {
        if self.heads.is_empty() || text.len() < MIN_BYTES {
            return None;
        }
        let bytes = text.as_bytes();
        let (mut masked, mut from, mut at) = (String::new(), 0, 0);
        while let Some(head) = bytes.get(at..at + MIN_BYTES) {
            let length = self.heads.get(head).and_then(|alike| length(bytes, at, alike, in_name));
            let Some(length) = length.filter(|length| text.is_char_boundary(at) && text.is_char_boundary(at + length)) else {
                at += 1;
                continue;
            };
            masked.push_str(text.get(from..at)?);
            masked.push_str("[redacted:secret]");
            at += length;
            from = at;
        }
        (from > 0).then(|| masked + text.get(from..).unwrap_or_default())
    }
}

/// How much of the text is one of these secrets.
fn length(bytes: &[u8], at: usize, alike: &[Vec<u8>], in_name: bool) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let is_word_byte = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    if alike.len() >= ALIKE_MAX {
        return Some(rest.iter().take_while(|b| !b.is_ascii_whitespace() && !b"\"'<>,;".contains(b)).count());
    }
    alike.iter().find_map(|known| {
        if !rest.starts_with(known.get(..known.len().min(HEAD_MAX_BYTES))?) {
            return None;
        }
        let length = known.iter().zip(rest).take_while(|(known, found)| known == found).count();
        let is_word = known.len() < 12 && known.iter().all(u8::is_ascii_alphabetic);
        let is_alone = !is_word_byte(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_word_byte(rest.get(length));
        let in_label = bytes.get(..at)?.ends_with(b"[redacted:");
        (!(is_word && (in_name || in_label || !is_alone))).then_some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn a_secret_is_found_again_in_every_form() {
        let mut memory = Memory::default();
        memory.learn("password", "cGxhbnRlZC1zM2NyZXQ=");
        memory.learn("user", "cG9zdGdyZXM=");
        for text in [
            "x planted-s3cret y",
            "xplanted-s3crety",
            "cGxhbnRlZC1zM2NyZXQ=",
            "cGxhbnRlZC1zM2NyZXQ",
            "dTpwbGFudGVkLXMzY3JldA==",
            "dXM6cGxhbnRlZC1zM2NyZXQ=",
        ] {
            let masked = memory.mask(text, false).unwrap_or_default();
            assert!(
                masked.contains("[redacted:secret]") && !masked.contains("planted") && !masked.contains("bGFudGVk"),
                "{text}: {masked}"
            );
        }
        assert_eq!(memory.mask("postgres:16", false).as_deref(), Some("[redacted:secret]:16"));
        assert_eq!(memory.mask("postgresql", false), None);
        assert_eq!(memory.mask("postgres", true), None);
        assert_eq!(memory.mask("nothing of it", false), None);
    }
}
