//! Who asks: bearer tokens, anonymous callers, and impersonation.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::call::{User, unescape};
use super::json::moment;
use super::rights::{Ask, allowed};
use super::status::{Failure, Outcome, unauthorized};
use super::store::Store;
use super::{Rule, Subject};

/// The tokens that are known, and the rules that a test granted.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) tokens: BTreeMap<String, (User, Option<DateTime<Utc>>)>,
    pub(super) grants: Vec<(Subject, Rule)>,
}

const AUTHENTICATED: &str = "system:authenticated";

pub(super) fn user_of(store: &Store, token: &str) -> Option<User> {
    let (user, until) = store.access.tokens.get(token)?;
    until.is_none_or(|until| until > moment()).then(|| user.clone())
}

pub(super) fn authenticate(store: &Store, headers: &HeaderMap) -> Outcome<User> {
    let Some(header) = headers.get("authorization").and_then(|value| value.to_str().ok()) else {
        let groups = vec!["system:unauthenticated".to_owned()];
        return Ok(User { name: "system:anonymous".into(), groups, ..User::default() });
    };
    let token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    token.and_then(|token| user_of(store, token)).ok_or_else(unauthorized)
}

pub(super) fn account(space: &str, name: &str, uid: &str) -> User {
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{space}"), AUTHENTICATED.to_owned()];
    User { name: format!("system:serviceaccount:{space}:{name}"), uid: uid.to_owned(), groups: groups.into(), extra: BTreeMap::new() }
}

/// The user that a caller takes the place of, when it may.
pub(super) fn impersonate(store: &Store, caller: &User, headers: &HeaderMap, uri: &str) -> Outcome<Option<User>> {
    let all =
        |name: &str| -> Vec<String> { headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect() };
    let name = all("impersonate-user").into_iter().next().unwrap_or_default();
    let uid = all("impersonate-uid").into_iter().next().unwrap_or_default();
    let groups = all("impersonate-group");
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in headers.keys() {
        if let Some(rest) = key.as_str().strip_prefix("impersonate-extra-") {
            extra.entry(unescape(rest)).or_default().extend(all(key.as_str()));
        }
    }
    if name.is_empty() {
        if uid.is_empty() && groups.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(nobody(&groups, &extra, &uid, uri));
    }
    let ask = |group: &str, resource: &str, sub: &str, space: &str, name: &str| Ask {
        verb: "impersonate".into(),
        group: group.into(),
        resource: resource.into(),
        sub: sub.into(),
        namespace: space.into(),
        name: name.into(),
        path: String::new(),
    };
    let service = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let mut asks = vec![match service {
        Some((space, account)) => ask("", "serviceaccounts", "", space, account),
        None => ask("", "users", "", "", &name),
    }];
    asks.extend(groups.iter().map(|group| ask("", "groups", "", "", group)));
    for (key, values) in &extra {
        asks.extend(values.iter().map(|value| ask("authentication.k8s.io", "userextras", key, "", value)));
    }
    if !uid.is_empty() {
        asks.push(ask("authentication.k8s.io", "uids", "", "", &uid));
    }
    if let Some(refused) = asks.iter().find(|ask| !allowed(store, caller, ask)) {
        return Err(refused.refusal(caller));
    }
    let mut user = User { name: name.clone(), uid, groups, extra };
    if let Some((space, account_name)) = service
        && user.groups.is_empty()
    {
        user.groups = account(space, account_name, "").groups;
    }
    let none = user.name == "system:anonymous" || user.groups.iter().any(|group| group == "system:unauthenticated");
    if !none && !user.groups.iter().any(|group| group == AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(Some(user))
}

/// Groups, an UID or extras without a user are an error of the server, in plain text.
fn nobody(groups: &[String], extra: &BTreeMap<String, Vec<String>>, uid: &str, uri: &str) -> Box<Failure> {
    const VERSION: &str = "authentication.k8s.io/v1";
    let mut asked: Vec<_> = groups.iter().map(|group| format!("{{Group  {group}    }}")).collect();
    for (key, values) in extra {
        asked.extend(values.iter().map(|value| format!("{{UserExtra  {value}  {VERSION}  {key}}}")));
    }
    if !uid.is_empty() {
        asked.push(format!("{{UID  {uid}  {VERSION}  }}"));
    }
    let message = format!("Internal Server Error: {uri:?}: requested [{}] without impersonating a user\n", asked.join(" "));
    Box::new(Failure { code: 500, body: serde_json::Value::Null, plain: Some(message) })
}
