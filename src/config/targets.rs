//! Targets from the configuration: how each is reached, and who may be whom there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::broker::Target;
use crate::call::{KUBERNETES, SSH};
use crate::config::credentials::{Written, source};
use crate::config::file::Each;
use crate::config::{Reader, clusters, file, hosts};
use crate::connector::{Endpoint, TargetSettings};
use crate::credential::access::Roles;
use crate::credential::host::Authority;
use crate::credential::name::{self, Template};
use crate::credential::{Access, Source};
use crate::operation::sql::SYSTEM_DATABASES;

/// What targets lean on.
pub(super) struct Ground<'a> {
    pub(super) default_issuer: &'a str,
    pub(super) vault: bool,
    pub(super) authority: Option<(Authority, Duration)>,
}

pub(super) fn target(reader: &mut Reader<'_>, target: Spanned<file::Target>, ground: &Ground<'_>) -> Option<Target> {
    let Ground { default_issuer, vault, authority } = ground;
    let vault = *vault;
    let span = target.span();
    let target = target.into_inner();
    let well_named =
        !target.name.is_empty() && target.name.len() <= 64 && target.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if !well_named {
        reader.problem(span.clone(), format!("the target's name `{}` must be letters, digits, `_`, `-` and `.`, at most 64", target.name));
    }
    if target.engine != KUBERNETES
        && let Some(key) = clusters::own_key(&target)
    {
        reader.problem(span.clone(), format!("`{key}` belongs to a target of the engine kubernetes"));
    }
    if target.engine != SSH
        && let Some(key) = hosts::own_key(&target)
    {
        reader.problem(span.clone(), format!("`{key}` belongs to a target of the engine ssh"));
    }
    let (endpoint, access) = match target.engine.as_str() {
        "sqlite" => sqlite(reader, &span, &target)?,
        "postgres" => postgres(reader, &span, &target, default_issuer, vault)?,
        "mysql" => mysql(reader, &span, &target, default_issuer, vault)?,
        KUBERNETES => clusters::kubernetes(reader, &span, &target, default_issuer, vault)?,
        SSH => hosts::ssh(reader, &span, &target, default_issuer, authority.as_ref())?,
        other => {
            reader.problem(span, format!("the engine `{other}` is not one of sqlite, postgres, mysql, kubernetes, ssh"));
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
    let names_nobody = is_empty(&target.login) && is_empty(&target.role) && target.password.is_none() && target.cert.is_none();
    if target.host.is_some() || target.service.is_some() || !names_nobody {
        reader.problem(span.clone(), "a sqlite target has no host, login, service or role: SQLite knows no users");
    }
    Some((Endpoint::Sqlite { path: reader.beside(path) }, Access::File))
}

pub(super) fn is_empty<T>(each: &Each<T>) -> bool {
    matches!(each, Each::Listed(listed) if listed.is_empty())
}

fn postgres(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    default_issuer: &str,
    vault: bool,
) -> Option<(Endpoint, Access)> {
    let (host, database) = place(reader, span, target)?;
    let search_path = target.search_path.clone().unwrap_or_else(|| vec!["public".to_owned()]);
    if search_path.iter().any(|schema| schema.starts_with("pg_") || schema.contains('$')) {
        reader.problem(span.clone(), "`search_path` names schemas; the server's own come first without being named");
    }
    let ca = authorities(reader, span, target);
    let endpoint = Endpoint::Postgres {
        host: host.clone(),
        port: target.port.unwrap_or(5432),
        database: database.clone(),
        tls: target.tls,
        ca,
        logins_max: target.max_logins.clamp(1, 256),
        search_path,
    };
    check_loose(reader, span, target)?;
    let access = match (&target.service, &target.login) {
        (Some(_), login) if !is_empty(login) => {
            let message = "a postgres target has either `login` (a login for each human) or [target.service] with `role`, not both";
            reader.problem(span.clone(), message);
            return None;
        }
        (None, login) if is_empty(login) || !is_empty(&target.role) => {
            let message = "a postgres target needs `login` (a login for each human), or [target.service] with `role`";
            reader.problem(span.clone(), message);
            return None;
        }
        (None, Each::Template(template)) => each_login(reader, span, target, template, vault)?,
        (None, Each::Listed(listed)) => Access::Logins(logins(reader, span, target, listed, default_issuer, vault)?),
        (Some(service), _) => {
            let file::Service { user, password, cert, key } = service;
            let written = Written { user: user.as_deref(), password: password.as_deref(), cert: cert.as_deref(), key: key.as_deref() };
            let service = source(reader, span, &written, target, vault)?;
            if !service.is_fixed() {
                reader.problem(span.clone(), "[target.service] is one login for everybody: `{human.login}` belongs to `login`");
                return None;
            }
            Access::Roles { service, roles: roles(reader, span, &target.role, default_issuer)? }
        }
    };
    Some((endpoint, access))
}

/// MySQL and MariaDB: a login for each human, and nothing else.
fn mysql(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    default_issuer: &str,
    vault: bool,
) -> Option<(Endpoint, Access)> {
    let (host, database) = place(reader, span, target)?;
    if SYSTEM_DATABASES.iter().any(|system| database.eq_ignore_ascii_case(system)) {
        reader.problem(span.clone(), format!("`{database}` is a database of the server's own"));
    }
    if target.search_path.is_some() {
        reader.problem(span.clone(), "a mysql target has no `search_path`: unqualified names are looked up in `database`");
    }
    let endpoint = Endpoint::MySql {
        host: host.clone(),
        port: target.port.unwrap_or(3306),
        database: database.clone(),
        tls: target.tls,
        ca: authorities(reader, span, target),
    };
    check_loose(reader, span, target)?;
    if target.service.is_some() || !is_empty(&target.role) || is_empty(&target.login) {
        let message = "a mysql target needs `login` (a login for each human), and has no [target.service] and no `role`: \
                       whatever a statement calls could leave a role that was set for it";
        reader.problem(span.clone(), message);
        return None;
    }
    let access = match &target.login {
        Each::Template(template) => each_login(reader, span, target, template, vault)?,
        Each::Listed(listed) => Access::Logins(logins(reader, span, target, listed, default_issuer, vault)?),
    };
    Some((endpoint, access))
}

/// Where a server's database is.
fn place<'a>(reader: &mut Reader<'_>, span: &Range<usize>, target: &'a file::Target) -> Option<(&'a String, &'a String)> {
    let place = target.host.as_ref().zip(target.database.as_ref());
    if place.is_none() {
        reader.problem(span.clone(), format!("a {} target needs `host` and `database`", target.engine));
    }
    place
}

/// The file of authorities to trust, which must be readable.
pub(super) fn authorities(reader: &mut Reader<'_>, span: &Range<usize>, target: &file::Target) -> Option<PathBuf> {
    let ca = target.ca.as_ref().map(|path| reader.beside(path));
    if let Some(path) = ca.as_ref()
        && let Err(error) = std::fs::File::open(path)
    {
        reader.problem(span.clone(), format!("failed to read `{}`: {error}", path.display()));
    }
    ca
}

/// A secret that stands beside the target belongs to a login that is a template.
fn check_loose(reader: &mut Reader<'_>, span: &Range<usize>, target: &file::Target) -> Option<()> {
    let loose = target.password.is_some() || target.cert.is_some() || target.key.is_some();
    if loose && !matches!(target.login, Each::Template(_)) {
        reader.problem(span.clone(), "`password`, `cert` and `key` of a target belong to `login = \"{human.login}\"`");
        return None;
    }
    Some(())
}

fn each_login(reader: &mut Reader<'_>, span: &Range<usize>, target: &file::Target, template: &str, vault: bool) -> Option<Access> {
    let file::Target { password, cert, key, .. } = target;
    let written = Written { user: Some(template), password: password.as_deref(), cert: cert.as_deref(), key: key.as_deref() };
    // A lease brings its own user; the template says whose it is.
    let leases = password.as_deref().is_some_and(|password| password.starts_with("vault:") && !password.contains('#'));
    let source = source(reader, span, &Written { user: written.user.filter(|_| !leases), ..written }, target, vault)?;
    let names_the_human = Template::parse(template).is_ok_and(|template| !template.is_fixed());
    if !names_the_human || source.is_fixed() {
        reader.problem(
            span.clone(),
            "`login` must hold `{human.login}`, and a leased one its reference too: one login for everybody is [target.service]",
        );
        return None;
    }
    Some(Access::EachLogin(source))
}

fn logins(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    listed: &[file::Login],
    default_issuer: &str,
    vault: bool,
) -> Option<BTreeMap<(String, String), Source>> {
    let mut logins = BTreeMap::new();
    for login in listed {
        let file::Login { issuer, human, user, password, cert, key } = login;
        let written = Written { user: user.as_deref(), password: password.as_deref(), cert: cert.as_deref(), key: key.as_deref() };
        let source = source(reader, span, &written, target, vault)?;
        let issuer = issuer.clone().unwrap_or_else(|| default_issuer.to_owned());
        if logins.insert((issuer, human.clone()), source).is_some() {
            reader.problem(span.clone(), format!("the human `{human}` has several logins"));
        }
    }
    Some(logins)
}

fn roles(reader: &mut Reader<'_>, span: &Range<usize>, each: &Each<file::Role>, default_issuer: &str) -> Option<Roles> {
    let listed = match each {
        Each::Listed(listed) => listed,
        Each::Template(text) => match Template::parse(text) {
            Ok(template) if !template.is_fixed() => return Some(Roles::Each(template)),
            Ok(_) => {
                reader.problem(span.clone(), "`role` must hold `{human.login}`: a role for a human or team is a [[target.role]]");
                return None;
            }
            Err(message) => {
                reader.problem(span.clone(), message);
                return None;
            }
        },
    };
    let (mut humans, mut teams) = (BTreeMap::new(), BTreeMap::new());
    for role in listed {
        let issuer = role.issuer.clone().unwrap_or_else(|| default_issuer.to_owned());
        if role.role.is_empty() || name::is_reserved(&role.role) {
            reader.problem(span.clone(), format!("`{}` is no role that anybody could be given", role.role));
        }
        let earlier = match (&role.human, &role.team) {
            (Some(human), None) => humans.insert((issuer, human.clone()), role.role.clone()),
            (None, Some(team)) => teams.insert((issuer, team.clone()), role.role.clone()),
            _ => {
                reader.problem(span.clone(), "a [[target.role]] names either `human` or `team`");
                None
            }
        };
        if earlier.is_some() {
            reader.problem(span.clone(), "a human or team has several roles");
        }
    }
    Some(Roles::Mapped { humans, teams })
}
