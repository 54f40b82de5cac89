//! Who may do what: granted rules and stored roles, and the check that nobody grants more than they hold.

use serde_json::{Value, json};

use super::call::User;
use super::json::{go_quoted, list, namespace, text, texts};
use super::status::{Gr, Outcome, forbidden, not_found};
use super::store::Store;
use super::{Rule, Subject};

/// What is to be allowed: an action on a resource, or on a path that is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) sub: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) path: String,
}

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

impl Ask {
    pub(super) fn full(&self) -> String {
        if self.sub.is_empty() { self.resource.clone() } else { format!("{}/{}", self.resource, self.sub) }
    }

    pub(super) fn refusal(&self, user: &User) -> Box<super::status::Failure> {
        let who = &user.name;
        if !self.path.is_empty() {
            return forbidden(Gr { group: "", resource: "" }, "", &format!("User {who:?} cannot {} path {:?}", self.verb, self.path));
        }
        let place =
            if self.namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace {:?}", self.namespace) };
        let what = format!("User {who:?} cannot {} resource {:?} in API group {:?} {place}", self.verb, self.full(), self.group);
        forbidden(Gr { group: &self.group, resource: &self.resource }, &self.name, &what)
    }
}

fn is_subject(user: &User, subject: &Value, home: &str) -> bool {
    let name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let space = Some(text(subject, "/namespace")).filter(|space| !space.is_empty()).unwrap_or(home);
            user.name == format!("system:serviceaccount:{space}:{name}")
        }
        _ => false,
    }
}

fn role_rules(store: &Store, binding: &Value) -> Option<Vec<Value>> {
    let name = text(binding, "/roleRef/name");
    let (shelf, space) = match text(binding, "/roleRef/kind") {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", namespace(binding)),
    };
    let role = store.find(&format!("{shelf}.{GROUP}"), space, name)?;
    let mut rules = list(&role, "/rules").to_vec();
    // An aggregated role has the rules of the roles that its selectors take.
    for selector in list(&role, "/aggregationRule/clusterRoleSelectors") {
        for other in store.shelf(&format!("clusterroles.{GROUP}")) {
            if super::selector::takes(selector, &other["metadata"]["labels"]) {
                rules.extend(list(&other, "/rules").iter().cloned());
            }
        }
    }
    Some(rules)
}

fn granted(rule: &Rule) -> Value {
    json!({ "verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources, "resourceNames": rule.names })
}

/// All rules that a user has in a namespace, or at the cluster scope when that is empty.
pub(super) fn rules(store: &Store, user: &User, space: &str) -> Vec<Value> {
    let mut rules = Vec::new();
    if user.groups.iter().any(|group| group == "system:masters") {
        rules.push(json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }));
        rules.push(json!({ "verbs": ["*"], "nonResourceURLs": ["*"] }));
    }
    for (subject, rule) in &store.access.grants {
        let own = match subject {
            Subject::User(name) => user.name == *name,
            Subject::Group(name) => user.groups.contains(name),
        };
        if own && rule.namespace.as_deref().is_none_or(|only| only == space) {
            rules.push(granted(rule));
        }
    }
    let mut bindings = store.shelf(&format!("clusterrolebindings.{GROUP}"));
    if !space.is_empty() {
        bindings.extend(store.within(&format!("rolebindings.{GROUP}"), space));
    }
    for binding in bindings {
        if list(&binding, "/subjects").iter().any(|subject| is_subject(user, subject, namespace(&binding))) {
            rules.extend(role_rules(store, &binding).unwrap_or_default());
        }
    }
    rules
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    list(rule, field).iter().any(|one| one == "*" || one == wanted)
}

fn covers_resource(rule: &Value, resource: &str) -> bool {
    let sub = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    list(rule, "/resources").iter().any(|one| one == "*" || one == resource || sub.as_ref().is_some_and(|sub| one == sub))
}

fn covers_path(rule: &Value, path: &str) -> bool {
    texts(rule, "/nonResourceURLs").iter().any(|one| one == path || one.strip_suffix('*').is_some_and(|start| path.starts_with(start)))
}

pub(super) fn allowed(store: &Store, user: &User, ask: &Ask) -> bool {
    rules(store, user, &ask.namespace).iter().any(|rule| {
        if !has(rule, "/verbs", &ask.verb) {
            return false;
        }
        if !ask.path.is_empty() {
            return covers_path(rule, &ask.path);
        }
        let names = list(rule, "/resourceNames");
        let named = names.is_empty() || names.iter().any(|name| *name == ask.name.as_str());
        has(rule, "/apiGroups", &ask.group) && covers_resource(rule, &ask.full()) && named
    })
}

/// A rule taken apart: one verb on one resource or path.
#[derive(Clone)]
struct Single {
    verb: String,
    group: String,
    resource: String,
    name: String,
    path: String,
}

fn singles(rule: &Value) -> Vec<Single> {
    let mut singles = Vec::new();
    let mut names = texts(rule, "/resourceNames");
    if names.is_empty() {
        names.push(String::new());
    }
    for verb in texts(rule, "/verbs") {
        for group in texts(rule, "/apiGroups") {
            for resource in texts(rule, "/resources") {
                let (verb, group) = (&verb, &group);
                let one = |name: &String| Single {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    path: String::new(),
                };
                singles.extend(names.iter().map(one));
            }
        }
        let one = |path| Single { verb: verb.clone(), group: String::new(), resource: String::new(), name: String::new(), path };
        singles.extend(texts(rule, "/nonResourceURLs").into_iter().map(one));
    }
    singles
}

fn holds(rules: &[Value], single: &Single) -> bool {
    rules.iter().any(|rule| {
        if !has(rule, "/verbs", &single.verb) {
            return false;
        }
        if !single.path.is_empty() {
            return covers_path(rule, &single.path);
        }
        let names = list(rule, "/resourceNames");
        let named = names.is_empty() || names.iter().any(|name| *name == single.name.as_str());
        has(rule, "/apiGroups", &single.group) && covers_resource(rule, &single.resource) && named
    })
}

/// What is missing, with the verbs on one resource together.
fn describe(missing: &[Single]) -> Vec<String> {
    let mut groups: Vec<(Single, Vec<String>)> = Vec::new();
    for single in missing {
        let same = |other: &Single| {
            single.path.is_empty() && (&other.group, &other.resource, &other.name) == (&single.group, &single.resource, &single.name)
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, verbs)) => verbs.push(single.verb.clone()),
            None => groups.push((single.clone(), vec![single.verb.clone()])),
        }
    }
    let mut lines: Vec<_> = groups
        .into_iter()
        .map(|(single, verbs)| {
            let verbs = go_quoted(&verbs);
            match (single.path.is_empty(), single.name.is_empty()) {
                (false, _) => format!("{{NonResourceURLs:[{:?}], Verbs:{verbs}}}", single.path),
                (true, true) => format!("{{APIGroups:[{:?}], Resources:[{:?}], Verbs:{verbs}}}", single.group, single.resource),
                (true, false) => format!(
                    "{{APIGroups:[{:?}], Resources:[{:?}], ResourceNames:[{:?}], Verbs:{verbs}}}",
                    single.group, single.resource, single.name
                ),
            }
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

/// A user may write roles and bindings only with rights that they hold, or with leave to escalate or to bind.
pub(super) fn confirm(store: &Store, user: &User, plural: &str, object: &Value) -> Outcome<()> {
    let (name, space) = (text(object, "/metadata/name"), namespace(object));
    let ask = |verb: &str, resource: &str, name: &str| Ask {
        verb: verb.into(),
        group: GROUP.into(),
        resource: resource.into(),
        namespace: space.into(),
        name: name.into(),
        ..Ask::default()
    };
    let wanted = if plural.ends_with("bindings") {
        let role = text(object, "/roleRef/name");
        let kind = if text(object, "/roleRef/kind") == "ClusterRole" { "clusterroles" } else { "roles" };
        if allowed(store, user, &ask("bind", kind, role)) {
            return Ok(());
        }
        role_rules(store, object).ok_or_else(|| not_found(Gr { group: GROUP, resource: kind }, role))?
    } else {
        if allowed(store, user, &ask("escalate", plural, name)) {
            return Ok(());
        }
        list(object, "/rules").to_vec()
    };
    let own = rules(store, user, space);
    let missing: Vec<_> = wanted.iter().flat_map(singles).filter(|single| !holds(&own, single)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        go_quoted(&user.groups),
        describe(&missing).join("\n")
    );
    Err(forbidden(Gr { group: GROUP, resource: plural }, name, &why))
}
