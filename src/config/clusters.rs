//! Targets that are clusters: the way there, and whom the broker may be in them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::credentials::reference;
use crate::config::targets::{authorities, is_empty};
use crate::config::{Reader, file};
use crate::connector::{Cluster, Endpoint, check_cluster};
use crate::credential::Access;
use crate::credential::impersonation::{Groups, Impersonate, User};

/// A key that only clusters have, if the target has one.
pub(super) fn own_key(target: &file::Target) -> Option<&'static str> {
    let keys = [
        ("kubeconfig", target.kubeconfig.is_some()),
        ("context", target.context.is_some()),
        ("exec_plugins", !target.exec_plugins.is_empty()),
        ("in_cluster", target.in_cluster),
        ("url", target.url.is_some()),
        ("token", target.token.is_some()),
        ("user", target.user.is_some()),
        ("groups", target.groups.is_some()),
        ("[[target.group]]", !target.group.is_empty()),
        ("debug_images", !target.debug_images.is_empty()),
    ];
    keys.into_iter().find_map(|(key, is_there)| is_there.then_some(key))
}

pub(super) fn kubernetes(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    default_issuer: &str,
    vault: bool,
) -> Option<(Endpoint, Access)> {
    let is_database = target.path.is_some() || target.host.is_some() || target.database.is_some() || target.search_path.is_some();
    let has_login = !is_empty(&target.login) || !is_empty(&target.role) || target.service.is_some() || target.password.is_some();
    if is_database || has_login || !target.tls || target.cert.is_some() || target.key.is_some() {
        reader.problem(
            span.clone(),
            "a kubernetes target has neither path, host and database, nor login, role and service, and is never without TLS",
        );
        return None;
    }
    let (cluster, token) = way(reader, span, target, vault)?;
    if let Err(message) = check_cluster(&cluster) {
        reader.problem(span.clone(), message);
        return None;
    }
    let user = User::parse(target.user.as_deref().unwrap_or("{human.subject}"));
    let groups = match (&target.groups, target.group.as_slice()) {
        (Some(template), []) => Groups::parse(template),
        (Some(_), _) => Err("a target has either `groups` or [[target.group]]".to_owned()),
        (None, listed) => mapped(listed, default_issuer),
    };
    let (user, groups) = match (user, groups) {
        (Ok(user), Ok(groups)) => (user, groups),
        (Err(message), _) | (_, Err(message)) => {
            reader.problem(span.clone(), message);
            return None;
        }
    };
    let whom = Impersonate { issuer: default_issuer.to_owned(), user, groups };
    Some((Endpoint::Kubernetes { cluster, debug_images: target.debug_images.clone() }, Access::Impersonate { token, whom }))
}

/// The way to the API server, and the token that it does not bring itself.
fn way(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    vault: bool,
) -> Option<(Cluster, Option<crate::credential::secret::Reference>)> {
    match (&target.kubeconfig, target.in_cluster, &target.url) {
        (Some(path), false, None) if target.token.is_none() && target.ca.is_none() => {
            let cluster = Cluster::Kubeconfig {
                path: reader.beside(path),
                context: target.context.clone(),
                exec_plugins: target.exec_plugins.clone(),
            };
            Some((cluster, None))
        }
        (None, true, None) if target.token.is_none() && target.ca.is_none() && target.context.is_none() => Some((Cluster::InCluster, None)),
        (None, false, Some(url)) if target.context.is_none() && target.exec_plugins.is_empty() => {
            let Some(token) = &target.token else {
                reader.problem(span.clone(), "a kubernetes target with `url` needs `token`, the reference of the broker's own token there");
                return None;
            };
            let token = reference(reader, span, token)?;
            if !token.is_fixed() || token.is_lease() || token.is_in_vault() && !vault {
                reader.problem(span.clone(), "`token` is one secret for everybody: the broker's own account, which is each human in turn");
                return None;
            }
            let ca = authorities(reader, span, target);
            Some((Cluster::Url { url: url.clone(), ca }, Some(token)))
        }
        _ => {
            let message = "a kubernetes target needs one of: `kubeconfig` (with `context` and `exec_plugins`), `in_cluster = true`, \
                           or `url` with `token` and perhaps `ca`";
            reader.problem(span.clone(), message);
            None
        }
    }
}

fn mapped(listed: &[file::Group], default_issuer: &str) -> Result<Groups, String> {
    let mut groups = BTreeMap::new();
    for file::Group { issuer, team, group } in listed {
        if group.to_ascii_lowercase().starts_with("system:") {
            return Err(format!("the group `{group}` is the cluster's own: nobody becomes one of `system:`"));
        }
        let issuer = issuer.clone().unwrap_or_else(|| default_issuer.to_owned());
        if groups.insert((issuer, team.clone()), group.clone()).is_some() {
            return Err(format!("the team `{team}` has several groups"));
        }
    }
    Ok(Groups::Mapped(groups))
}
