//! Whose key it is that a host shows: known_hosts as OpenSSH writes it (hashed names, patterns, `@cert-authority`, `@revoked`) and pinned fingerprints.
//!
//! A key that nobody vouched for is refused with its fingerprint and the line to add. The name that counts is the one in the configuration, at its port:
//! a bastion's key never speaks for the host behind it. Only where a target says so is a first key believed, and written down.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, Certificate, PublicKey, PublicKeyOrCertificate};

use crate::refusal::{Code, Refusal};

/// The largest known_hosts file, in bytes.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// What tells a host's key from another's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A known_hosts file.
    pub known_hosts: Option<PathBuf>,
    /// Fingerprints of the host at the end of the way, as `ssh-keygen -l` has them: `SHA256:…`. They speak for no bastion, nor a bastion for it.
    pub pinned: Vec<String>,
    /// Whether the first key that a host shows is believed, and added to the file.
    pub first_use: bool,
}

impl Trust {
    /// What tells a bastion's key from others'.
    pub(super) fn of_bastion(&self) -> Self {
        Self { pinned: Vec::new(), ..self.clone() }
    }
}

/// A line of known_hosts.
struct Line {
    number: usize,
    entry: Entry,
}

/// What is known of one host.
pub(super) struct Known {
    name: String,
    lines: Vec<Line>,
    trust: Trust,
}

/// `host`, or `[host]:port` where the port is not SSH's own.
fn called(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Whether a pattern of `*` and `?` fits, in time that the two lengths bound.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(b'?'), Some(_)) => (p, n) = (p + 1, n + 1),
            (Some(one), Some(other)) if one.eq_ignore_ascii_case(other) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|b| *b == b'*'))
}

fn is_for(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => {
            let hit = |pattern: &str| fits(pattern.as_bytes(), name.as_bytes());
            // One negation that fits takes the whole line away.
            !patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(hit)
                && patterns.iter().filter(|pattern| !pattern.starts_with('!')).any(|pattern| hit(pattern))
        }
        HostPatterns::HashedName { salt, hash } => {
            // SHA-1 here only hides names from who reads the file; it vouches for nothing.
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::sign(&key, name.as_bytes()).as_ref() == hash
        }
    }
}

impl Known {
    /// Reads what is known of a host, now.
    ///
    /// # Errors
    /// `target.no_credential`: the file cannot be read, or a line of it cannot.
    pub(super) fn read(trust: &Trust, host: &str, port: u16) -> Result<Self, Refusal> {
        Self::read_named(trust, called(host, port))
    }

    fn read_named(trust: &Trust, name: String) -> Result<Self, Refusal> {
        let unreadable = |cause: String| Refusal::new(Code::CredentialUnavailable).cause(cause);
        let mut known = Self { name, lines: Vec::new(), trust: trust.clone() };
        let Some(path) = &trust.known_hosts else { return Ok(known) };
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && trust.first_use => return Ok(known),
            Err(error) => return Err(unreadable(format!("`{}`: {error}", path.display()))),
        };
        if length > FILE_MAX_BYTES {
            return Err(unreadable(format!("`{}` is larger than {FILE_MAX_BYTES} bytes", path.display())));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("`{}`: {error}", path.display())))?;
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            // Keys of kinds that are never spoken here (RSA, DSA) are passed over; what cannot be read at all could be a revocation.
            match words.join(" ").parse::<Entry>() {
                Ok(entry) => {
                    if is_for(entry.host_patterns(), &known.name) {
                        known.lines.push(Line { number: index + 1, entry });
                    }
                }
                Err(_) if words.iter().any(|word| word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-")) => {
                    if words.first() == Some(&"@revoked") {
                        return Err(unreadable(format!("`{}`:{}: a revocation cannot be read", path.display(), index + 1)));
                    }
                }
                Err(error) => return Err(unreadable(format!("`{}`:{}: {error}", path.display(), index + 1))),
            }
        }
        Ok(known)
    }

    /// Kinds of keys to ask for: those that are known first, since a host has several.
    pub(super) fn algorithms(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let is_known = |algorithm: &Algorithm| {
            self.lines.iter().any(|line| line.entry.marker().is_none() && line.entry.public_key().algorithm() == *algorithm)
        };
        let (mut first, rest): (Vec<Algorithm>, Vec<Algorithm>) = all.iter().cloned().partition(is_known);
        first.extend(rest);
        first
    }

    /// Whether a certificate would tell anything.
    pub(super) fn knows_authority(&self) -> bool {
        self.lines.iter().any(|line| line.entry.marker() == Some(&Marker::CertAuthority))
    }

    /// Whether the key is the host's; what vouches for it, as records have it.
    ///
    /// # Errors
    /// `target.host_key_unknown`, `target.host_key_changed`.
    pub(super) fn check(&self, shown: &PublicKeyOrCertificate, now: u64) -> Result<String, Refusal> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check_key(key),
            PublicKeyOrCertificate::Certificate(certificate) => self.check_certificate(certificate, now),
        }
    }

    fn is_revoked(&self, key: &PublicKey) -> Result<(), Refusal> {
        let revoked = |line: &&Line| line.entry.marker() == Some(&Marker::Revoked) && line.entry.public_key().key_data() == key.key_data();
        match self.lines.iter().find(revoked) {
            Some(line) => {
                let why = format!("{} is revoked by line {} of known_hosts", key.fingerprint(HashAlg::Sha256), line.number);
                Err(Refusal::new(Code::HostKeyChanged).detail(why))
            }
            None => Ok(()),
        }
    }

    fn check_key(&self, key: &PublicKey) -> Result<String, Refusal> {
        self.is_revoked(key)?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        if self.trust.pinned.contains(&fingerprint) {
            return Ok(fingerprint);
        }
        let plain = || self.lines.iter().filter(|line| line.entry.marker().is_none());
        if plain().any(|line| line.entry.public_key().key_data() == key.key_data()) {
            return Ok(fingerprint);
        }
        let line = format!("{} {}", self.name, without_comment(key));
        let changed = |where_: &str, instead: &str| {
            let why = format!("`{}` shows {fingerprint} ({}), and {where_} another", self.name, key.algorithm());
            Err(Refusal::new(Code::HostKeyChanged).detail(format!("{why}; if the host's owner changed it, {instead}")))
        };
        if !self.trust.pinned.is_empty() {
            return changed(
                "the target's `host_keys` have",
                &format!("its fingerprint belongs there, or into known_hosts the line: {line}"),
            );
        }
        if let Some(old) = plain().find(|line| line.entry.public_key().algorithm() == key.algorithm()) {
            return changed(&format!("line {} of known_hosts has", old.number), &format!("the line in its place is: {line}"));
        }
        // A host that is known by a key of another kind, or by an authority, is not met for the first time.
        if self.trust.first_use && self.lines.is_empty() {
            return self.learn(key, &line).map(|()| fingerprint);
        }
        Err(Refusal::new(Code::HostKeyUnknown).detail(format!("`{}` shows {fingerprint}; the line for known_hosts is: {line}", self.name)))
    }

    fn check_certificate(&self, certificate: &Certificate, now: u64) -> Result<String, Refusal> {
        let authority = PublicKey::from(certificate.signature_key().clone());
        let key = PublicKey::from(certificate.public_key().clone());
        self.is_revoked(&authority)?;
        self.is_revoked(&key)?;
        let signs = |line: &&Line| {
            line.entry.marker() == Some(&Marker::CertAuthority) && line.entry.public_key().key_data() == certificate.signature_key()
        };
        if !self.lines.iter().any(|line| signs(&line)) {
            // Not one of ours, so that only the key itself can be known.
            return self.check_key(&key);
        }
        // Nobody says that the key is another one: only that this word for it does not count.
        let refuse = |why: &str| Err(Refusal::new(Code::HostKeyUnknown).detail(format!("the certificate of `{}` {why}", self.name)));
        let host = self.name.strip_prefix('[').and_then(|name| name.split_once("]:")).map_or(self.name.as_str(), |(host, _)| host);
        if certificate.cert_type() != CertType::Host {
            return refuse("is none of a host");
        }
        if !certificate.valid_principals().iter().any(|name| fits(name.as_bytes(), host.as_bytes())) {
            return refuse("names other hosts");
        }
        if certificate.critical_options().iter().next().is_some() {
            return refuse("has critical options, which nobody here knows");
        }
        let fingerprint = authority.fingerprint(HashAlg::Sha256);
        match certificate.validate_at(now, [&fingerprint]) {
            Ok(()) => Ok(format!("authority {fingerprint}")),
            Err(_) => refuse("is not valid now, or its signature is wrong"),
        }
    }

    /// One at a time, and with a look at what another has learned meanwhile: two first keys cannot both be the host's.
    fn learn(&self, key: &PublicKey, line: &str) -> Result<(), Refusal> {
        static LEARNING: Mutex<()> = Mutex::new(());
        let _one = LEARNING.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Self::read_named(&self.trust, self.name.clone())?;
        if !now.lines.is_empty() {
            return now.check_key(key).map(drop);
        }
        let unwritable = |cause: String| Refusal::new(Code::CredentialUnavailable).cause(cause);
        let Some(path) = &self.trust.known_hosts else { return Ok(()) };
        let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| unwritable(error.to_string()))?;
        // A file that does not end with its last line would make two of them one.
        writeln!(file, "\n{line}").and_then(|()| file.sync_data()).map_err(|error| unwritable(error.to_string()))
    }
}

fn without_comment(key: &PublicKey) -> String {
    let text = key.to_openssh().unwrap_or_default();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};

    use super::*;

    fn key(seed: u8) -> PublicKey {
        let pair = Ed25519Keypair::from_seed(&[seed; 32]);
        PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap().public_key().clone()
    }

    fn known(text: &str, host: &str, port: u16) -> Known {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        std::fs::write(&path, text).unwrap();
        Known::read(&Trust { known_hosts: Some(path), ..Trust::default() }, host, port).unwrap()
    }

    fn code(outcome: Result<String, Refusal>) -> Option<Code> {
        outcome.err().map(|refusal| refusal.code())
    }

    #[test]
    fn names_ports_patterns_and_hashes() {
        let line = |name: &str, seed: u8| format!("{name} {} a comment\n", without_comment(&key(seed)));
        let file = [line("web,*.example.com,!bad.example.com", 1), line("[web]:2222", 2), line("\tother  ", 3)].concat();
        assert!(known(&file, "web", 22).check_key(&key(1)).is_ok());
        assert!(known(&file, "WEB", 22).check_key(&key(1)).is_ok());
        assert!(known(&file, "a.example.com", 22).check_key(&key(1)).is_ok());
        assert!(known(&file, "other", 22).check_key(&key(3)).is_ok());
        // The same name at another port is another host.
        assert_eq!(code(known(&file, "web", 22).check_key(&key(2))), Some(Code::HostKeyChanged));
        assert_eq!(code(known(&file, "web", 2223).check_key(&key(1))), Some(Code::HostKeyUnknown));
        assert_eq!(code(known(&file, "bad.example.com", 22).check_key(&key(1))), Some(Code::HostKeyUnknown));
        // What `ssh-keygen -H` makes of a name.
        let hash = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"salt"), b"[web]:2222");
        let hashed = HostPatterns::HashedName { salt: b"salt".to_vec(), hash: hash.as_ref().try_into().unwrap() };
        let file = line(&hashed.to_string(), 4);
        assert!(known(&file, "web", 2222).check_key(&key(4)).is_ok());
        assert_eq!(code(known(&file, "web", 22).check_key(&key(4))), Some(Code::HostKeyUnknown));
    }

    #[test]
    fn what_is_revoked_or_pinned_otherwise_is_refused_and_an_unknown_one_says_which_line_to_add() {
        let line = |name: &str, seed: u8| format!("{name} {}\n", without_comment(&key(seed)));
        let revoked = [line("web", 1), line("@revoked *", 1)].concat();
        assert_eq!(code(known(&revoked, "web", 22).check_key(&key(1))), Some(Code::HostKeyChanged));
        let unknown = known("", "web", 2222).check_key(&key(1)).unwrap_err();
        assert!(unknown.message().contains(line("[web]:2222", 1).trim()) && unknown.message().contains("SHA256:"), "{unknown}");
        let pin = key(1).fingerprint(HashAlg::Sha256).to_string();
        let pinned = Known::read(&Trust { pinned: vec![pin], ..Trust::default() }, "web", 22).unwrap();
        assert!(pinned.check_key(&key(1)).is_ok());
        assert_eq!(code(pinned.check_key(&key(2))), Some(Code::HostKeyChanged));
        let told = pinned.check_key(&key(2)).unwrap_err().message();
        assert!(told.contains(&format!("web {}", without_comment(&key(2)))), "{told}");
    }

    #[test]
    fn a_first_key_is_believed_once_and_only_where_the_target_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let trust = Trust { known_hosts: Some(path.clone()), first_use: true, ..Trust::default() };
        assert!(Known::read(&trust, "web", 22).unwrap().check_key(&key(1)).is_ok());
        assert_eq!(code(Known::read(&trust, "web", 22).unwrap().check_key(&key(2))), Some(Code::HostKeyChanged));
        assert!(Known::read(&Trust { first_use: false, ..trust }, "web", 22).unwrap().check_key(&key(1)).is_ok());
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), format!("web {}", without_comment(&key(1))));
    }

    #[test]
    fn patterns_take_no_longer_than_they_are() {
        assert!(fits(b"*a*a*a*a*a*a*a*a*a*a*b", &[b'a'; 200].as_slice().iter().chain(b"b").copied().collect::<Vec<u8>>()));
        assert!(!fits("*a".repeat(60).as_bytes(), &[b'b'; 2000]));
        assert!(fits(b"web-?.example.*", b"web-1.example.org") && !fits(b"web-?", b"web-") && fits(b"*", b""));
    }
}
