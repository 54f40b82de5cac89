//! Credentials that can be told by their shape: prefixes that vendors chose so that scanners find them, what follows `Bearer` and `Basic`, and
//! the hashes of passwords.
//!
//! A table of prefixes, each with the letters and the length of what follows. A word must begin where the prefix does, and a run of letters is
//! walked once.

use crate::mask::detect::{Hit, at};
use crate::mask::packed;

/// Letters of what follows a prefix.
#[derive(Clone, Copy)]
enum Letters {
    /// Capitals and digits.
    Upper,
    /// Small hexadecimal.
    Hex,
    /// Letters and digits.
    Alnum,
    /// And `_`.
    Word,
    /// And `-`.
    Url,
    /// And `.`.
    Dotted,
    /// And a check sum after `=`.
    Signed,
    /// As in base64, percent-encoded or not.
    Base64,
    /// As in a path.
    Path,
}

impl Letters {
    fn contains(self, b: u8) -> bool {
        match self {
            Self::Upper => b.is_ascii_uppercase() || b.is_ascii_digit(),
            Self::Hex => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
            Self::Alnum => b.is_ascii_alphanumeric(),
            Self::Word => b.is_ascii_alphanumeric() || b == b'_',
            Self::Url => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'),
            Self::Dotted => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'),
            Self::Signed => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'='),
            Self::Base64 => b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'%'),
            Self::Path => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'),
        }
    }
}

/// A prefix, the letters after it, and how many of them there are.
type Shape = (&'static str, Letters, usize, usize);

/// No bound.
const MANY: usize = usize::MAX;

/// By first letter, so that a word is compared with a handful.
#[rustfmt::skip]
fn shapes(first: u8) -> &'static [Shape] {
    use Letters::{Alnum, Base64, Dotted, Hex, Path, Signed, Upper, Url, Word};
    match first {
        b'A' => &[
            ("AKIA", Upper, 16, 16), ("ASIA", Upper, 16, 16), ("ABIA", Upper, 16, 16), ("ACCA", Upper, 16, 16), ("AIza", Url, 35, 35),
            ("AGE-SECRET-KEY-1", Upper, 50, 64), ("ATATT3", Signed, 60, MANY), ("ATCTT3", Signed, 60, MANY),
            ("ATBB", Alnum, 32, 40), ("AccountKey=", Base64, 40, MANY),
        ],
        b'E' => &[("EAAA", Url, 60, 64)],
        b'F' => &[("FlyV1 ", Path, 20, MANY)],
        b'G' => &[("GOCSPX-", Url, 28, 28)],
        b'N' => &[("NRAK-", Upper, 27, 27)],
        b'P' => &[("PMAK-", Url, 50, 70)],
        b'S' => &[
            ("SG.", Dotted, 40, 80), ("SK", Hex, 32, 32), ("SharedAccessKey=", Base64, 40, MANY), ("SharedSecretValue=", Base64, 40, MANY),
        ],
        b'X' => &[("X-Amz-Signature=", Hex, 64, 64), ("X-Amz-Security-Token=", Base64, 20, MANY), ("X-Goog-Signature=", Hex, 32, MANY)],
        b'a' => &[("apify_api_", Alnum, 30, 50)],
        b'd' => &[
            ("dckr_pat_", Url, 20, MANY), ("dckr_oat_", Url, 20, MANY), ("dop_v1_", Hex, 64, 64), ("doo_v1_", Hex, 64, 64),
            ("dor_v1_", Hex, 64, 64), ("dapi", Hex, 32, 34), ("dp.pt.", Alnum, 40, 44), ("dp.st.", Dotted, 40, 80),
            ("discord.com/api/webhooks/", Path, 60, MANY), ("discordapp.com/api/webhooks/", Path, 60, MANY),
        ],
        b'f' => &[("figd_", Url, 36, 50), ("fo1_", Url, 40, 50), ("fm2_", Base64, 40, MANY)],
        b'g' => &[
            ("ghp_", Alnum, 30, MANY), ("gho_", Alnum, 30, MANY), ("ghu_", Alnum, 30, MANY), ("ghs_", Dotted, 30, MANY), ("ghr_", Alnum, 30, MANY),
            ("github_pat_", Word, 22, MANY), ("glpat-", Dotted, 16, MANY), ("glrt-", Dotted, 16, MANY), ("gldt-", Dotted, 16, MANY),
            ("glptt-", Dotted, 16, MANY), ("glcbt-", Dotted, 16, MANY), ("glft-", Dotted, 16, MANY), ("glsoat-", Dotted, 16, MANY),
            ("glagent-", Dotted, 16, MANY), ("gloas-", Dotted, 16, MANY), ("glimt-", Dotted, 16, MANY), ("glffct-", Dotted, 16, MANY),
            ("glsa_", Word, 32, 48), ("glc_", Base64, 32, MANY), ("gsk_", Alnum, 40, 60),
        ],
        b'h' => &[
            ("hf_", Alnum, 30, 40), ("hvs.", Url, 20, MANY), ("hvb.", Url, 20, MANY), ("hvr.", Url, 20, MANY),
            ("hooks.slack.com/services/", Path, 20, MANY), ("hooks.slack.com/workflows/", Path, 20, MANY),
        ],
        b'l' => &[("lin_api_", Alnum, 40, 48)],
        b'n' => &[("npm_", Alnum, 36, 40), ("ntn_", Alnum, 40, 60), ("nvapi-", Url, 40, MANY)],
        b'o' => &[("ops_eyJ", Url, 60, MANY)],
        b'p' => &[
            ("pypi-AgE", Url, 40, MANY), ("pplx-", Alnum, 40, 64), ("pul-", Hex, 40, 40), ("pscale_tkn_", Dotted, 30, MANY),
            ("pscale_pw_", Dotted, 30, MANY), ("pscale_oauth_", Dotted, 30, MANY),
        ],
        b'r' => &[("rk_live_", Alnum, 16, MANY), ("rk_test_", Alnum, 16, MANY), ("rk_prod_", Alnum, 16, MANY), ("rubygems_", Hex, 48, 48), ("r8_", Alnum, 37, 37)],
        b's' => &[
            ("sk_live_", Alnum, 16, MANY), ("sk_test_", Alnum, 16, MANY), ("sk_prod_", Alnum, 16, MANY), ("sk-proj-", Url, 20, MANY),
            ("sk-svcacct-", Url, 20, MANY), ("sk-admin-", Url, 20, MANY), ("sk-ant-", Url, 20, MANY), ("sk-or-v1-", Hex, 64, 64), ("sk-", Alnum, 32, 64),
            ("shpat_", Hex, 32, 32), ("shpca_", Hex, 32, 32), ("shppa_", Hex, 32, 32), ("shpss_", Hex, 32, 32), ("sntrys_", Signed, 40, MANY),
            ("sntryu_", Hex, 64, 64), ("sha256~", Url, 43, 43), ("sq0atp-", Url, 22, 22), ("sq0csp-", Url, 43, 43), ("sig=", Base64, 43, 60),
        ],
        b't' => &[("tskey-", Url, 16, MANY)],
        b'w' => &[("whsec_", Base64, 24, MANY)],
        b'x' => &[
            ("xoxa-", Url, 10, MANY), ("xoxb-", Url, 10, MANY), ("xoxe-", Url, 10, MANY), ("xoxo-", Url, 10, MANY), ("xoxp-", Url, 10, MANY),
            ("xoxr-", Url, 10, MANY), ("xoxs-", Url, 10, MANY), ("xoxe.xox", Url, 10, MANY), ("xapp-", Url, 10, MANY), ("xkeysib-", Url, 60, MANY),
        ],
        b'y' => &[("ya29.", Dotted, 20, MANY)],
        _ => &[],
    }
}

/// Hashes that begin with a word.
const HASHES: [&str; 5] = ["SCRAM-SHA-256$", "SCRAM-SHA-1$", "pbkdf2_sha256$", "pbkdf2:sha256:", "bcrypt_sha256$"];

pub(super) fn find(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let (mut resume, mut seen) = (0, 0);
    for (start, b) in bytes.iter().copied().enumerate() {
        if start < resume {
            continue;
        }
        let hit = match b {
            b'$' => hash(bytes, start),
            b'{' => schemed(bytes, start),
            b'.' => bootstrap(bytes, start),
            b'~' => azure(bytes, start),
            b':' => telegram(bytes, start),
            b if !b.is_ascii_alphabetic() || !opens(bytes, start) => None,
            b'B' | b'b' => scheme(text, start, &mut seen).or_else(|| named_hash(bytes, start)),
            b'S' | b'p' => prefixed(bytes, start, shapes(b)).or_else(|| named_hash(bytes, start)),
            b => prefixed(bytes, start, shapes(b)),
        };
        if let Some(hit) = hit {
            resume = hit.end;
            hits.push(hit);
        }
    }
}

/// Whether a word begins here: also after `\n` as it is written in a string, and after `%3D`.
fn opens(bytes: &[u8], start: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).and_then(|index| at(bytes, index));
    match before(1) {
        Some(b) if !b.is_ascii_alphanumeric() => true,
        None => true,
        Some(_) => is_escaped(bytes, start),
    }
}

/// After `\n` as it is written in a string, or `%3D` as it is in a URL.
fn is_escaped(bytes: &[u8], start: usize) -> bool {
    let back = |length: usize| start.checked_sub(length).and_then(|from| bytes.get(from..start));
    matches!(back(2), Some([b'\\', b'n' | b't' | b'r']))
        || matches!(back(3), Some([b'%', a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

fn run(bytes: &[u8], start: usize, letters: Letters) -> usize {
    bytes.get(start..).unwrap_or_default().iter().take_while(|b| letters.contains(**b)).count()
}

fn prefixed(bytes: &[u8], start: usize, shapes: &[Shape]) -> Option<Hit> {
    let rest = bytes.get(start..)?;
    shapes.iter().find_map(|(prefix, letters, min, max)| {
        if !rest.starts_with(prefix.as_bytes()) {
            return None;
        }
        let length = run(bytes, start + prefix.len(), *letters);
        // One that is longer than it can be is another word.
        (length >= *min && length <= *max).then_some(Hit { kind: "token", start, end: start + prefix.len() + length })
    })
}

/// The credential after `Bearer` or `Basic`.
fn scheme(text: &str, start: usize, seen: &mut usize) -> Option<Hit> {
    let bytes = text.as_bytes();
    let word = |wanted: &[u8]| bytes.get(start..start + wanted.len()).is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    let (is_basic, length) = match (word(b"bearer"), word(b"basic")) {
        (true, _) => (false, 6),
        (_, true) => (true, 5),
        _ => return None,
    };
    let gap = bytes.get(start + length..)?.iter().take(16).take_while(|b| matches!(b, b' ' | b'\t' | b'+' | b':' | b'"')).count();
    let from = start + length + gap;
    if gap == 0 || from < *seen {
        return None;
    }
    let letters = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=%".contains(b);
    let end = from + bytes.get(from..)?.iter().take_while(|b| letters(b)).count();
    // A word that turns out to be none is not walked again from its middle.
    *seen = end;
    let token = text.get(from..end)?;
    let context = bytes.get(start.saturating_sub(32)..start).unwrap_or_default().to_ascii_lowercase();
    let in_header = memchr::memmem::find(&context, b"authorization").is_some();
    if token.len() < if in_header { 6 } else { 12 } {
        return None;
    }
    let is_said = if is_basic {
        packed::decode(token).is_some_and(|pair| pair.contains(&b':')) || (in_header && !is_prose(token))
    } else {
        in_header || !is_prose(token)
    };
    is_said.then_some(Hit { kind: "bearer", start: from, end })
}

/// `Basic authentication`, `bearer tokens`: letters alone, and no more than a word has.
fn is_prose(token: &str) -> bool {
    let token = token.trim_end_matches('.');
    token.len() < 20
        && token.split('-').all(|word| {
            word.bytes().all(|b| b.is_ascii_lowercase())
                || word.bytes().skip(1).all(|b| b.is_ascii_lowercase())
                || word.bytes().all(|b| b.is_ascii_uppercase())
        })
}

/// Letters of a hash as `crypt` writes it.
fn is_crypt(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"./$=,+-_:".contains(&b)
}

/// `$6$salt$hash` and its kin.
fn hash(bytes: &[u8], start: usize) -> Option<Hit> {
    let rest = bytes.get(start..)?;
    let id = rest.get(1..)?.iter().take(16).position(|b| *b == b'$').and_then(|length| rest.get(1..=length))?;
    let (min, parts) = match id {
        b"1" | b"5" | b"6" | b"y" | b"gy" | b"7" | b"apr1" | b"sha1" | b"md5" => (20, 1),
        b"2" | b"2a" | b"2b" | b"2x" | b"2y" => (40, 1),
        b"P" | b"H" | b"S" => (30, 0),
        id if id.starts_with(b"argon2") || id.starts_with(b"pbkdf2") || id.starts_with(b"scrypt") || id.starts_with(b"bcrypt") => (20, 1),
        _ => return None,
    };
    let from = id.len() + 2;
    // The colon after it is the next field of a line in `/etc/shadow`.
    let body: Vec<u8> = rest.get(from..)?.iter().copied().take(1024).take_while(|b| is_crypt(*b) && *b != b':').collect();
    let has_parts = body.iter().filter(|b| **b == b'$').count() >= parts;
    (body.len() >= min && has_parts).then_some(Hit { kind: "hash", start, end: start + from + body.len() })
}

/// `SCRAM-SHA-256$4096:salt$stored:server` and other hashes that begin with a word.
fn named_hash(bytes: &[u8], start: usize) -> Option<Hit> {
    let rest = bytes.get(start..)?;
    let prefix = HASHES.iter().find(|prefix| rest.starts_with(prefix.as_bytes()))?;
    let length = rest.get(prefix.len()..)?.iter().take(1024).take_while(|b| is_crypt(**b)).count();
    (length >= 24).then_some(Hit { kind: "hash", start, end: start + prefix.len() + length })
}

/// `{SSHA}…` as a directory or a password file has it.
fn schemed(bytes: &[u8], start: usize) -> Option<Hit> {
    let rest = bytes.get(start..)?;
    let length = rest.iter().take(20).position(|b| *b == b'}')?;
    let scheme = rest.get(1..length)?;
    let is_scheme = [&b"SHA"[..], b"SSHA", b"SMD5", b"CRYPT", b"PBKDF2", b"ARGON2"].iter().any(|known| scheme.starts_with(known));
    let body = rest.get(length + 1..)?.iter().take(1024).take_while(|b| is_crypt(**b)).count();
    (is_scheme && body >= 12).then_some(Hit { kind: "hash", start, end: start + length + 1 + body })
}

/// kubeadm's `abcdef.0123456789abcdef`, and Terraform's `xxxxxxxxxxxxxx.atlasv1.…`.
fn bootstrap(bytes: &[u8], dot: usize) -> Option<Hit> {
    let is_small = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_name = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if bytes.get(dot..)?.starts_with(b".atlasv1.") {
        let length = run(bytes, dot + 9, Letters::Url);
        let start = dot.checked_sub(14).filter(|start| run(bytes, *start, Letters::Alnum) == 14)?;
        return (length >= 40).then_some(Hit { kind: "token", start, end: dot + 9 + length });
    }
    let start = dot.checked_sub(6)?;
    let (id, secret) = (bytes.get(start..dot)?, bytes.get(dot + 1..dot + 17)?);
    let before = start.checked_sub(1).and_then(|before| at(bytes, before));
    let apart = !is_name(before) || before == Some(b'_') || is_escaped(bytes, start);
    let ends = !is_name(at(bytes, dot + 17)) || (at(bytes, dot + 17) == Some(b'.') && !is_name(at(bytes, dot + 18)));
    // The name of an event ends in its time, hexadecimal and of this century.
    let is_time = secret.first() == Some(&b'1') && secret.iter().all(|b| Letters::Hex.contains(*b));
    let fits = apart && ends && !is_time && id.iter().all(is_small) && secret.iter().all(is_small) && secret.iter().any(u8::is_ascii_digit);
    fits.then_some(Hit { kind: "token", start, end: dot + 17 })
}

/// Client secrets of Azure: three letters, a digit, `Q~` and 31 to 34 more.
fn azure(bytes: &[u8], tilde: usize) -> Option<Hit> {
    let start = tilde.checked_sub(5)?;
    let head = bytes.get(start..tilde)?;
    let is_head =
        matches!(head, [a, b, c, digit, b'Q'] if [a, b, c].iter().all(|b| Letters::Dotted.contains(**b)) && digit.is_ascii_digit());
    let length = bytes.get(tilde + 1..)?.iter().take(64).take_while(|b| Letters::Dotted.contains(**b) || **b == b'~').count();
    (is_head && opens(bytes, start) && (31..=40).contains(&length)).then_some(Hit { kind: "token", start, end: tilde + 1 + length })
}

/// Telegram's `123456789:AA…`.
fn telegram(bytes: &[u8], colon: usize) -> Option<Hit> {
    let length = run(bytes, colon + 1, Letters::Url);
    if !bytes.get(colon + 1..)?.starts_with(b"AA") || !(33..=40).contains(&length) {
        return None;
    }
    let digits =
        (1..=11).take_while(|back| colon.checked_sub(*back).and_then(|index| at(bytes, index)).is_some_and(|b| b.is_ascii_digit())).count();
    (8..=10).contains(&digits).then_some(Hit { kind: "token", start: colon - digits, end: colon + 1 + length })
}
