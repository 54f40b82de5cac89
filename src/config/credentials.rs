//! Humans' logins, Vault, and the sources of a login: what is named in the configuration, and looked at where that can be done at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use crate::config::{Reader, file};
use crate::credential::name::{Humans, Template};
use crate::credential::secret::Reference;
use crate::credential::{Settings, Source, vault};

pub(super) fn settings(
    reader: &mut Reader<'_>,
    listed: Vec<Spanned<file::Human>>,
    vault: Option<Spanned<file::Vault>>,
    default_issuer: &str,
) -> Settings {
    let mut mapped = BTreeMap::new();
    let place = listed.first().map_or(0..0, Spanned::span);
    for human in listed {
        let span = human.span();
        let file::Human { issuer, id, login } = human.into_inner();
        let issuer = issuer.unwrap_or_else(|| default_issuer.to_owned());
        if mapped.insert((issuer, id.clone()), login).is_some() {
            reader.problem(span, format!("the human `{id}` stands twice"));
        }
    }
    let humans = Humans::new(default_issuer, mapped).unwrap_or_else(|problems| {
        problems.into_iter().for_each(|message| reader.problem(place.clone(), message));
        Humans::default()
    });
    let vault = vault.and_then(|vault| {
        let span = vault.span();
        let file::Vault { url, token, keep_s } = vault.into_inner();
        let token = reference(reader, &span, &token)?;
        match vault::Settings::new(&url, token, Duration::from_secs(keep_s)) {
            Ok(settings) => Some(settings),
            Err(message) => {
                reader.problem(span, message);
                None
            }
        }
    });
    Settings { humans, vault }
}

/// Where a secret is kept; what is on this machine, and the same for everybody, must be there now.
pub(super) fn reference(reader: &mut Reader<'_>, span: &Range<usize>, text: &str) -> Option<Reference> {
    let reference = match Reference::parse(text, &reader.dir) {
        Ok(reference) => reference,
        Err(message) => {
            reader.problem(span.clone(), message);
            return None;
        }
    };
    if reference.is_fixed()
        && !reference.is_in_vault()
        && let Err(message) = reference.read_here(None)
    {
        reader.problem(span.clone(), message);
        return None;
    }
    Some(reference)
}

/// What is written of a login.
pub(super) struct Written<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) cert: Option<&'a str>,
    pub(super) key: Option<&'a str>,
}

/// A login's source, complete or with every problem named.
pub(super) fn source(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    written: &Written<'_>,
    target: &file::Target,
    vault: bool,
) -> Option<Source> {
    let mut problem = |message: &str| reader.problem(span.clone(), message);
    if written.cert.is_some() != written.key.is_some() {
        problem("`cert` and `key` stand together");
        return None;
    }
    if written.cert.is_some() && !target.tls {
        problem("a client certificate needs `tls`");
        return None;
    }
    if written.password.is_none() && written.cert.is_none() {
        problem("a login needs a `password`, or `cert` and `key`");
        return None;
    }
    let mut read = |text: Option<&str>| match text {
        None => Some(None),
        Some(text) => reference(reader, span, text).map(Some),
    };
    let (password, cert, key) = (read(written.password)?, read(written.cert)?, read(written.key)?);
    let user = match written.user.map(Template::parse).transpose() {
        Ok(user) => user,
        Err(message) => {
            reader.problem(span.clone(), message);
            return None;
        }
    };
    let source = Source { user, password, certificate: cert.zip(key) };
    let leases = source.password.as_ref().is_some_and(Reference::is_lease);
    let message = match (&source.user, leases) {
        _ if !vault && source.references().any(Reference::is_in_vault) => "a reference to Vault needs [vault]",
        (None, false) => "a login needs its `user`, unless Vault leases one",
        (Some(_), true) => "a reference to Vault without `#FIELD` leases the user as well: leave `user` out, or name the field",
        _ => return Some(source),
    };
    reader.problem(span.clone(), message);
    None
}
