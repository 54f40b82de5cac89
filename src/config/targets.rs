//! Targets from the configuration, with secrets read from where they are kept (`env:NAME`, `file:PATH`), never from the configuration itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use secrecy::SecretString;
use toml::Spanned;

use crate::broker::Target;
use crate::config::{Reader, file};
use crate::connector::{Endpoint, TargetSettings};
use crate::credential::{Access, Login};

/// The longest secret, in bytes.
const SECRET_MAX: usize = 4096;

pub(super) fn secret(reader: &mut Reader<'_>, span: &Range<usize>, reference: &str) -> Option<SecretString> {
    let found = match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| format!("the environment has no `{name}`")),
        Some(("file", path)) => {
            let path = reader.beside(path.as_ref());
            std::fs::read_to_string(&path)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("failed to read `{}`: {error}", path.display()))
        }
        // Not echoed: it may be the secret itself.
        _ => Err("a secret must be a reference, `env:NAME` or `file:PATH`; it must not stand in the configuration".to_owned()),
    };
    match found {
        Ok(secret) if secret.is_empty() || secret.len() > SECRET_MAX => {
            reader.problem(span.clone(), "a secret is empty or too long");
            None
        }
        Ok(secret) => Some(SecretString::from(secret)),
        Err(message) => {
            reader.problem(span.clone(), message);
            None
        }
    }
}

pub(super) fn target(reader: &mut Reader<'_>, target: Spanned<file::Target>, default_issuer: &str) -> Option<Target> {
    let span = target.span();
    let target = target.into_inner();
    let well_named =
        !target.name.is_empty() && target.name.len() <= 64 && target.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if !well_named {
        reader.problem(span.clone(), format!("the target's name `{}` must be letters, digits, `_`, `-` and `.`, at most 64", target.name));
    }
    let (endpoint, access) = match target.engine.as_str() {
        "sqlite" => sqlite(reader, &span, &target)?,
        "postgres" => postgres(reader, &span, &target, default_issuer)?,
        other => {
            reader.problem(span, format!("the engine `{other}` is not one of sqlite, postgres"));
            return None;
        }
    };
    let settings = TargetSettings {
        name: target.name,
        endpoint,
        access,
        concurrency: target.max_concurrent.clamp(1, 256),
        connect_timeout: Duration::from_secs(target.connect_timeout_s.clamp(1, 60)),
    };
    Some(Target { settings, environment: target.environment })
}

fn sqlite(reader: &mut Reader<'_>, span: &Range<usize>, target: &file::Target) -> Option<(Endpoint, Access)> {
    let Some(path) = &target.path else {
        reader.problem(span.clone(), "a sqlite target needs `path`");
        return None;
    };
    if target.host.is_some() || target.service.is_some() || !target.login.is_empty() || !target.role.is_empty() {
        reader.problem(span.clone(), "a sqlite target has no host, login, service or role: SQLite knows no users");
    }
    Some((Endpoint::Sqlite { path: reader.beside(path) }, Access::File))
}

fn postgres(reader: &mut Reader<'_>, span: &Range<usize>, target: &file::Target, default_issuer: &str) -> Option<(Endpoint, Access)> {
    let (Some(host), Some(database)) = (&target.host, &target.database) else {
        reader.problem(span.clone(), "a postgres target needs `host` and `database`");
        return None;
    };
    let endpoint = Endpoint::Postgres {
        host: host.clone(),
        port: target.port.unwrap_or(5432),
        database: database.clone(),
        tls: target.tls,
        search_path: target.search_path.clone().unwrap_or_else(|| vec!["public".to_owned()]),
    };
    let issuer_of = |issuer: &Option<String>| issuer.clone().unwrap_or_else(|| default_issuer.to_owned());
    match (&target.service, target.login.is_empty()) {
        (Some(_), false) => {
            reader
                .problem(span.clone(), "a postgres target has either [[target.login]] or [target.service] with [[target.role]], not both");
            None
        }
        (None, true) => {
            reader.problem(
                span.clone(),
                "a postgres target needs [[target.login]] (a login for each human) or [target.service] with [[target.role]]",
            );
            None
        }
        (None, false) => {
            let mut logins = BTreeMap::new();
            for login in &target.login {
                let password = secret(reader, span, &login.password)?;
                logins.insert((issuer_of(&login.issuer), login.human.clone()), Login { user: login.user.clone(), password });
            }
            Some((endpoint, Access::Logins(logins)))
        }
        (Some(service), true) => {
            let password = secret(reader, span, &service.password)?;
            let (mut humans, mut teams) = (BTreeMap::new(), BTreeMap::new());
            for role in &target.role {
                match (&role.human, &role.team) {
                    (Some(human), None) => drop(humans.insert((issuer_of(&role.issuer), human.clone()), role.role.clone())),
                    (None, Some(team)) => drop(teams.insert((issuer_of(&role.issuer), team.clone()), role.role.clone())),
                    _ => reader.problem(span.clone(), "a [[target.role]] names either `human` or `team`"),
                }
            }
            Some((endpoint, Access::Roles { service: Login { user: service.user.clone(), password }, humans, teams }))
        }
    }
}
