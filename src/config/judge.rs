//! What a configuration must hold as a whole: names that stand once, names that somebody knows, numbers in their range; each with its line.
//!
//! A mistake here fails open if it is passed over: a mask for a target that is misspelt masks nothing, the second of two targets of one name
//! takes the place of the first. So what cannot be meant is refused, not corrected.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use toml::de::{DeTable, DeValue};

use crate::config::Reader;
use crate::config::file::{Each, File, Target};
use crate::identity::SKEW_MAX;

/// Requests at once that may be configured.
const CONCURRENT_MAX: usize = 100_000;
/// Connections at once to one target.
const TARGET_CONCURRENT_MAX: usize = 256;
/// The longest request and the longest drain.
const DAY_S: u64 = 86_400;
/// The longest origin, in bytes.
const ORIGIN_MAX: usize = 255;

/// Where things stand in the text.
struct Places<'a> {
    document: Option<DeTable<'a>>,
}

impl<'a> Places<'a> {
    fn of(text: &'a str) -> Self {
        Self { document: DeTable::parse(text).ok().map(toml::Spanned::into_inner) }
    }

    /// The place of a path such as `target.1.login.0.human`, or of as much of it as is written.
    fn span(&self, path: &str) -> Range<usize> {
        let mut steps = path.split('.');
        let found = steps.next().zip(self.document.as_ref());
        let Some(mut value) = found.and_then(|(name, table)| member(table, name)) else { return 0..0 };
        for step in steps {
            let next = match value.get_ref() {
                DeValue::Table(table) => member(table, step),
                DeValue::Array(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
        }
        value.span()
    }
}

fn member<'t, 'a>(table: &'t DeTable<'a>, name: &str) -> Option<&'t toml::Spanned<DeValue<'a>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// Collects what is wrong.
struct Judge<'r, 'p, 't> {
    reader: &'r mut Reader<'p>,
    places: Places<'t>,
}

/// Names every problem of the whole.
pub(super) fn judge(reader: &mut Reader<'_>, file: &File) {
    let places = Places::of(reader.text);
    let mut judge = Judge { reader, places };
    judge.server(file);
    judge.origin(&file.ledger.origin);
    let issuers: Vec<&str> = file.issuer.iter().map(|issuer| issuer.get_ref().url.as_str()).collect();
    judge.once("issuer", "url", issuers.iter().map(|url| (*url).to_owned()));
    judge.once("target", "name", file.target.iter().map(|target| target.get_ref().name.clone()));
    for (position, target) in file.target.iter().enumerate() {
        judge.target(position, target.get_ref(), &issuers);
    }
    for (position, human) in file.human.iter().enumerate() {
        judge.issuer(&format!("human.{position}.issuer"), human.get_ref().issuer.as_deref(), &issuers);
    }
    let names: BTreeSet<&str> = file.target.iter().map(|target| target.get_ref().name.as_str()).collect();
    for (position, rule) in file.mask.column.iter().enumerate() {
        if let Some(name) = rule.get_ref().target.as_deref().filter(|name| !names.contains(name)) {
            judge.problem(&format!("mask.column.{position}.target"), format!("there is no target `{name}`: the rule would mask nothing"));
        }
    }
}

impl Judge<'_, '_, '_> {
    fn problem(&mut self, path: &str, message: impl Into<String>) {
        let span = self.places.span(path);
        self.reader.problem(span, message);
    }

    fn within<T: PartialOrd + std::fmt::Display>(&mut self, path: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let name = path.rsplit('.').next().unwrap_or(path);
            self.problem(path, format!("`{name}` must be {} to {}, and is {value}", range.start(), range.end()));
        }
    }

    /// What stands in `[[kind]]` under `key`, each of another value.
    fn once(&mut self, kind: &str, key: &str, values: impl Iterator<Item = String>) {
        let mut seen = BTreeSet::new();
        for (position, value) in values.enumerate() {
            if seen.contains(&value) {
                self.problem(&format!("{kind}.{position}.{key}"), format!("another [[{kind}]] has the {key} `{value}`"));
            }
            seen.insert(value);
        }
    }

    fn server(&mut self, file: &File) {
        let server = &file.server;
        self.within("server.max_concurrent", server.max_concurrent, 1..=CONCURRENT_MAX);
        self.within("server.max_body_bytes", server.max_body_bytes, 1_024..=crate::server::BODY_MAX);
        self.within("server.timeout_s", server.timeout_s, 1..=DAY_S);
        self.within("server.drain_grace_s", server.drain_grace_s, 0..=DAY_S);
        self.within("server.clock_skew_s", server.clock_skew_s, 0..=SKEW_MAX.as_secs());
        if let Some(why) = server.public_url.as_ref().and_then(|url| not_public(url.get_ref())) {
            self.problem("server.public_url", format!("`public_url` must be like `https://countersign.example.com`: {why}"));
        }
    }

    /// The origin is the name of a C2SP key, and a line of a checkpoint.
    fn origin(&mut self, origin: &str) {
        if origin.is_empty() || origin.len() > ORIGIN_MAX || origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            self.problem(
                "ledger.origin",
                format!("`origin` must be 1 to {ORIGIN_MAX} bytes without a space, a line break or `+`, like `example.com/countersign`"),
            );
        }
    }

    fn target(&mut self, position: usize, target: &Target, issuers: &[&str]) {
        let at = |rest: &str| format!("target.{position}.{rest}");
        self.within(&at("max_concurrent"), target.max_concurrent, 1..=TARGET_CONCURRENT_MAX);
        self.within(&at("connect_timeout_s"), target.connect_timeout_s, 1..=60);
        self.within(&at("max_logins"), target.max_logins, 1..=TARGET_CONCURRENT_MAX);
        if let Each::Listed(listed) = &target.login {
            for (index, login) in listed.iter().enumerate() {
                self.issuer(&at(&format!("login.{index}.issuer")), login.issuer.as_deref(), issuers);
            }
        }
        if let Each::Listed(listed) = &target.role {
            for (index, role) in listed.iter().enumerate() {
                self.issuer(&at(&format!("role.{index}.issuer")), role.issuer.as_deref(), issuers);
            }
        }
    }

    /// Whoever names an issuer that is none of the configured ones names nobody.
    fn issuer(&mut self, path: &str, named: Option<&str>, issuers: &[&str]) {
        if let Some(url) = named.filter(|url| !issuers.contains(url)) {
            self.problem(path, format!("there is no [[issuer]] with the url `{url}`"));
        }
    }
}

/// Why a text is not the address of a broker; `None` if it is one.
fn not_public(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Some("it has no scheme") };
    if !matches!(scheme, "https" | "http") {
        return Some("its scheme is neither https nor http");
    }
    let authority = rest.trim_end_matches('/');
    if authority.contains(['/', '?', '#']) {
        return Some("it has a path, a query or a fragment");
    }
    match authority.parse::<http::uri::Authority>() {
        Ok(parsed) if !parsed.host().is_empty() && !authority.contains('@') => None,
        _ => Some("it has no host, or more than a host and a port"),
    }
}
