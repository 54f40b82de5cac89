//! Deletion: options and preconditions, grace, finalizers, and what becomes of dependents.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::json::{default, list, moment, now, number, remove, set, stamp, text, texts};
use super::list;
use super::registry::{Resource, shelf};
use super::status::{Gr, Outcome, bad_request, conflict, invalid};
use super::store::{Key, Store};
use super::{convert, validate, write};

/// What is left to do about an object that is on its way out.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Leaving {
    /// The node ends the pod.
    Grace,
    Foreground,
    Orphan,
}

struct Options {
    body: Value,
}

impl Options {
    fn of(call: &Call) -> Outcome<Self> {
        let mut body = if call.body.is_empty() { json!({}) } else { call.json()? };
        if !matches!(text(&body, "/kind"), "" | "DeleteOptions") {
            return Err(bad_request("decoded object cannot be converted to DeleteOptions"));
        }
        if call.body.is_empty() {
            if !call.query.get("propagationPolicy").is_empty() {
                body["propagationPolicy"] = json!(call.query.get("propagationPolicy"));
            }
            if let Some(seconds) = call.query.number("gracePeriodSeconds")? {
                body["gracePeriodSeconds"] = json!(seconds);
            }
            if !call.query.get("orphanDependents").is_empty() {
                body["orphanDependents"] = json!(call.query.flag("orphanDependents"));
            }
        }
        let policy = text(&body, "/propagationPolicy");
        let mut wrongs = Vec::new();
        if !matches!(policy, "" | "Background" | "Foreground" | "Orphan") {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            wrongs.push(validate::not_supported("propagationPolicy", &json!(policy), &known));
        }
        if !policy.is_empty() && body.get("orphanDependents").is_some_and(|orphan| !orphan.is_null()) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            wrongs.push(validate::wrong("propagationPolicy", &json!(policy), why));
        }
        if wrongs.is_empty() { Ok(Self { body }) } else { Err(invalid("meta.k8s.io", "DeleteOptions", "", &wrongs)) }
    }

    fn grace(&self) -> Option<i64> {
        self.body["gracePeriodSeconds"].as_i64()
    }

    fn leaving(&self, resource: &Resource) -> Option<Leaving> {
        match (text(&self.body, "/propagationPolicy"), self.body["orphanDependents"].as_bool()) {
            ("Foreground", _) => Some(Leaving::Foreground),
            ("Orphan", _) | (_, Some(true)) => Some(Leaving::Orphan),
            ("Background", _) | (_, Some(false)) => None,
            // These two kept their old default for old clients.
            _ => matches!(resource.plural.as_str(), "jobs" | "replicationcontrollers").then_some(Leaving::Orphan),
        }
    }

    fn check(&self, resource: &Resource, object: &Value) -> Outcome<()> {
        let gr = Gr { group: &resource.group, resource: &resource.kind };
        let name = text(object, "/metadata/name");
        let differs = |wanted: &str, found: &str| !wanted.is_empty() && wanted != found;
        let (uid, own) = (text(&self.body, "/preconditions/uid"), text(object, "/metadata/uid"));
        if differs(uid, own) {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({own}). \
                 The object might have been deleted and then recreated"
            );
            return Err(conflict(gr, name, &why));
        }
        let (version, own) = (text(&self.body, "/preconditions/resourceVersion"), text(object, "/metadata/resourceVersion"));
        if differs(version, own) {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({own}). \
                 The object might have been modified"
            );
            return Err(conflict(gr, name, &why));
        }
        Ok(())
    }
}

/// The options may ask in the query or in the body that nothing is kept.
pub(super) fn dry(call: &Call) -> Outcome<bool> {
    let in_body = call.json().unwrap_or_default();
    let asked = texts(&in_body, "/dryRun");
    if asked.iter().any(|value| value != "All") {
        return Err(invalid("meta.k8s.io", "DeleteOptions", "", &[validate::not_supported("dryRun", &json!(asked), &["All"])]));
    }
    Ok(call.dry("DeleteOptions")? || !asked.is_empty())
}

pub(super) fn delete(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let options = Options::of(call)?;
    let object = write::found(store, call)?;
    options.check(&call.resource, &object)?;
    one(store, &call.resource, &options, &object)
}

pub(super) fn collection(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let options = Options::of(call)?;
    let items = list::selected(store, call)?;
    for object in &items {
        one(store, &call.resource, &options, object)?;
    }
    let (kind, version) = (format!("{}List", call.resource.kind), call.resource.api_version());
    let revision = store.revision.to_string();
    Ok(Reply::new(200, json!({ "kind": kind, "apiVersion": version, "metadata": { "resourceVersion": revision }, "items": items })))
}

/// Kinds whose deletion answers with the object.
fn answers_with_object(resource: &Resource) -> bool {
    let core = ["pods", "podtemplates", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims", "resourcequotas"];
    resource.group.is_empty() && core.contains(&resource.plural.as_str())
}

fn one(store: &mut Store, resource: &Resource, options: &Options, object: &Value) -> Outcome<Reply> {
    let key = super::store::key_of(resource, object);
    let Some(stored) = store.get(&key) else { return Err(super::status::not_found(resource.gr(), &key.name)) };
    let mut object = (*stored).clone();
    let leaving = options.leaving(resource);
    let already = !text(&object, "/metadata/deletionTimestamp").is_empty();
    let grace = grace(resource, &object, options);
    match leaving {
        Some(Leaving::Foreground) => add_finalizer(&mut object, "foregroundDeletion"),
        Some(Leaving::Orphan) => add_finalizer(&mut object, "orphan"),
        _ => {}
    }
    let namespace = key.shelf == "namespaces" && !list(&object, "/spec/finalizers").is_empty();
    if grace == 0 && list(&object, "/metadata/finalizers").is_empty() && !namespace {
        let gone = erase(store, &key).unwrap_or_default();
        return Ok(Reply::new(200, answer(resource, &gone)));
    }
    if !already {
        let at = moment() + TimeDelta::seconds(grace);
        set(&mut object, &["metadata", "deletionTimestamp"], json!(stamp(at)));
        set(&mut object, &["metadata", "deletionGracePeriodSeconds"], json!(grace));
        if object["metadata"].get("generation").is_some() {
            let next = number(&object, "/metadata/generation") + 1;
            set(&mut object, &["metadata", "generation"], json!(next));
        }
        if namespace {
            set(&mut object, &["status", "phase"], json!("Terminating"));
            remove(&mut object, &["metadata", "deletionGracePeriodSeconds"]);
        }
    }
    let object = if object == *stored { stored } else { store.put(&key, object) };
    let rest = if grace > 0 { Some(Leaving::Grace) } else { leaving };
    store.leaving.extend(rest.map(|rest| (key, rest)));
    Ok(Reply::new(200, convert::from_hub(resource, &object)))
}

fn answer(resource: &Resource, gone: &Value) -> Value {
    if answers_with_object(resource) {
        return convert::from_hub(resource, gone);
    }
    let mut details = json!({ "name": text(gone, "/metadata/name"), "kind": resource.plural, "uid": text(gone, "/metadata/uid") });
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// Only a pod that a node runs is given time.
fn grace(resource: &Resource, object: &Value, options: &Options) -> i64 {
    let ended = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
    if resource.plural != "pods" || !resource.group.is_empty() || text(object, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    options.grace().unwrap_or_else(|| number(object, "/spec/terminationGracePeriodSeconds"))
}

fn add_finalizer(object: &mut Value, name: &str) {
    let mut all = texts(object, "/metadata/finalizers");
    if !all.iter().any(|found| found == name) {
        all.push(name.to_owned());
    }
    set(object, &["metadata", "finalizers"], json!(all));
}

/// Takes an object out, and with it what only it owned.
pub(super) fn erase(store: &mut Store, key: &Key) -> Option<Value> {
    let gone = store.remove(key)?;
    if key.shelf == "customresourcedefinitions.apiextensions.k8s.io" {
        let own = shelf(text(&gone, "/spec/group"), text(&gone, "/spec/names/plural"));
        for key in store.keys().into_iter().filter(|key| key.shelf == own) {
            erase(store, &key);
        }
    }
    release(store, text(&gone, "/metadata/uid"), false);
    Some((*gone).clone())
}

/// Removes the dependents of an owner, or only their reference to it.
fn release(store: &mut Store, owner: &str, orphan: bool) {
    for key in store.keys() {
        let Some(object) = store.get(&key) else { continue };
        let owners = list(&object, "/metadata/ownerReferences");
        if owner.is_empty() || !owners.iter().any(|reference| reference["uid"] == owner) {
            continue;
        }
        let others: Vec<_> = owners.iter().filter(|reference| reference["uid"] != owner).cloned().collect();
        if orphan || !others.is_empty() {
            let mut object = (*object).clone();
            set(&mut object, &["metadata", "ownerReferences"], json!(others));
            if others.is_empty() {
                remove(&mut object, &["metadata", "ownerReferences"]);
            }
            store.put(&key, object);
        } else {
            expel(store, &key);
        }
    }
}

/// Removes an object, or marks it when finalizers hold it.
pub(super) fn expel(store: &mut Store, key: &Key) {
    let Some(object) = store.get(key) else { return };
    if list(&object, "/metadata/finalizers").is_empty() {
        erase(store, key);
    } else if text(&object, "/metadata/deletionTimestamp").is_empty() {
        let mut object = (*object).clone();
        set(&mut object, &["metadata", "deletionTimestamp"], json!(now()));
        default(&mut object, &["metadata", "deletionGracePeriodSeconds"], json!(0));
        store.put(key, object);
    }
}

/// What nodes and the garbage collector do after a deletion was answered.
pub(super) fn finish(store: &mut Store) {
    for (key, leaving) in std::mem::take(&mut store.leaving) {
        let Some(object) = store.get(&key) else { continue };
        let finalizer = match leaving {
            Leaving::Grace => None,
            Leaving::Foreground => Some("foregroundDeletion"),
            Leaving::Orphan => Some("orphan"),
        };
        if leaving != Leaving::Grace {
            release(store, text(&object, "/metadata/uid"), leaving == Leaving::Orphan);
        }
        let rest: Vec<_> = texts(&object, "/metadata/finalizers").into_iter().filter(|name| Some(name.as_str()) != finalizer).collect();
        if rest.is_empty() {
            erase(store, &key);
        } else if leaving != Leaving::Grace {
            let mut object = (*object).clone();
            set(&mut object, &["metadata", "finalizers"], json!(rest));
            store.put(&key, object);
        }
    }
    let namespaces = store.shelf("namespaces");
    for space in namespaces.iter().filter(|space| text(space, "/status/phase") == "Terminating") {
        let name = text(space, "/metadata/name");
        for key in store.keys().into_iter().filter(|key| key.namespace == name) {
            expel(store, &key);
        }
        if !store.keys().iter().any(|key| key.namespace == name) && list(space, "/metadata/finalizers").is_empty() {
            erase(store, &Key::new("namespaces", "", name));
        }
    }
}
