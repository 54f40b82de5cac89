//! Systems that may speak for humans, and for whom: `[[approval_system]]`, and the users of a Slack channel.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use crate::config::channels::{Ground, shared_secret};
use crate::config::{Reader, file};
use crate::credential::secret::Reference;
use crate::identity::{Human, Signing, Voucher};
use crate::inbox::System;
use crate::notice::{self, Kind};
use crate::signature::is_key;

/// Humans for whom one system may speak.
const HUMANS_MAX: usize = 10_000;

/// The humans that a system names, by its own names for them.
pub(super) fn humans(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    listed: BTreeMap<String, file::Spoken>,
    ground: &Ground<'_>,
) -> BTreeMap<String, Human> {
    let mut problem = |message: String| reader.problem(span.clone(), message);
    if listed.is_empty() || listed.len() > HUMANS_MAX {
        problem(format!("it must say for which humans it speaks, 1 to {HUMANS_MAX}"));
    }
    let mut humans = BTreeMap::new();
    for (named, human) in listed {
        let file::Spoken { issuer, id, name, person, teams } = human;
        let issuer = issuer.or_else(|| ground.issuers.first().map(|first| first.url.clone())).unwrap_or_default();
        if named.is_empty() || id.is_empty() {
            problem("a human it speaks for has no name".to_owned());
        }
        match ground.issuers.iter().find(|known| known.url == issuer) {
            None => problem(format!("there is no [[issuer]] with the url `{issuer}`")),
            // Without it their vote would pass for another human's than their own account's.
            Some(known) if known.mapping.person.is_some() && person.is_none() => {
                problem(format!("`{issuer}` tells which accounts are one human's, so `{id}` needs `person`, as its tokens have it"));
            }
            // Teams of an issuer with a namespace have other names in policies.
            Some(known) if known.namespace.is_empty() => {
                teams.iter().filter_map(|team| ground.knows_team(team).err()).for_each(|why| problem(format!("of `{id}`: {why}")));
            }
            Some(_) => {}
        }
        humans.insert(named, Human { issuer, subject: id, name, teams, person });
    }
    humans
}

pub(super) fn systems(
    reader: &mut Reader<'_>,
    listed: Vec<Spanned<file::System>>,
    ground: &Ground<'_>,
    notices: &notice::Settings,
) -> Vec<System> {
    let told = notices.channels.iter().filter_map(|channel| match &channel.kind {
        Kind::Webhook(webhook) => Some(&webhook.secrets),
        _ => None,
    });
    let told: Vec<&Reference> = told.flatten().collect();
    let mut systems: Vec<System> = Vec::new();
    for system in listed {
        let span = system.span();
        let file::System { name, secrets, humans: listed } = system.into_inner();
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            reader.problem(span.clone(), format!("the system's name `{name}` must be letters, digits, `_` and `-`, at most 64"));
        }
        if systems.iter().any(|other| other.voucher.name == record_name(&name)) {
            reader.problem(span.clone(), format!("another [[approval_system]] has the name `{name}`"));
        }
        if !(1..=2).contains(&secrets.len()) {
            reader.problem(span.clone(), "an approval system needs `secrets`: a reference to its key, or two while it is being changed");
        }
        let secrets: Vec<_> = secrets.iter().filter_map(|text| shared_secret(reader, &span, text, ground.vault)).collect();
        for secret in secrets.iter().filter(|secret| !secret.is_in_vault() && secret.read_here(None).is_ok_and(|key| !is_key(&key))) {
            reader.problem(span.clone(), format!("the secret `{}` must be `whsec_` and 24 to 64 random bytes in Base64", secret.text()));
        }
        // A channel's receivers have its key: they would decide what they are told of.
        for secret in secrets.iter().filter(|secret| told.contains(secret)) {
            reader.problem(span.clone(), format!("the secret `{}` is a channel's: whoever is told by it could decide", secret.text()));
        }
        let humans = humans(reader, &span, listed, ground);
        let voucher = Voucher { name: record_name(&name), signing: Signing::StandardWebhooks, humans };
        systems.push(System { name, voucher, secrets });
    }
    systems
}

/// As records have it: no channel of a chat is taken for it.
fn record_name(name: &str) -> String {
    format!("system:{name}")
}
