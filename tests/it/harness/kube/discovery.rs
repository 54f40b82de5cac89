//! Discovery: what is served, in the plain and in the aggregated form.

use std::sync::Arc;

use serde_json::{Value, json};

use super::registry::{Resource, Sub, all};
use super::status::{Outcome, no_such_path};
use super::store::Store;

pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The groups with their versions, each in the order of the table.
fn groups(resources: &[Arc<Resource>]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for resource in resources {
        let at = groups.iter().position(|(group, _)| *group == resource.group).unwrap_or_else(|| {
            groups.push((resource.group.clone(), Vec::new()));
            groups.len() - 1
        });
        if !groups[at].1.contains(&resource.version) {
            groups[at].1.push(resource.version.clone());
        }
    }
    groups
}

fn wants_aggregated(accept: &str) -> bool {
    accept
        .split(',')
        .next()
        .is_some_and(|first| first.contains("as=APIGroupDiscoveryList") && first.contains("v=v2") && !first.contains("v2beta1"))
        || accept.contains("v=v2;") && accept.contains("as=APIGroupDiscoveryList")
}

fn kind_of(resource: &Resource, sub: Option<&Sub>) -> (String, String, String) {
    let own = (resource.group.clone(), resource.version.clone());
    match sub {
        Some(sub) => {
            let (group, version) = sub.foreign.clone().unwrap_or(own);
            (group, version, sub.kind.clone())
        }
        None => (own.0, own.1, resource.kind.clone()),
    }
}

fn aggregated(resources: &[Arc<Resource>], core: bool) -> Value {
    let described = |resource: &Arc<Resource>| {
        let kind = |sub: Option<&Sub>| {
            let (group, version, kind) = kind_of(resource, sub);
            json!({ "group": group, "version": version, "kind": kind })
        };
        let mut described = json!({
            "resource": resource.plural,
            "responseKind": kind(None),
            "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": resource.singular,
            "verbs": resource.verbs,
        });
        if !resource.short.is_empty() {
            described["shortNames"] = json!(resource.short);
        }
        if !resource.categories.is_empty() {
            described["categories"] = json!(resource.categories);
        }
        let subs = resource.subs.iter().map(|sub| json!({ "subresource": sub.name, "responseKind": kind(Some(sub)), "verbs": sub.verbs }));
        let subs: Vec<_> = subs.collect();
        if !subs.is_empty() {
            described["subresources"] = json!(subs);
        }
        described
    };
    let items = groups(resources).into_iter().filter(|(group, _)| group.is_empty() == core).map(|(group, versions)| {
        let versions = versions.iter().map(|version| {
            let own = resources.iter().filter(|resource| resource.group == group && resource.version == *version);
            json!({ "version": version, "resources": own.map(described).collect::<Vec<_>>(), "freshness": "Current" })
        });
        let mut metadata = json!({ "creationTimestamp": null });
        if !group.is_empty() {
            metadata["name"] = json!(group);
        }
        json!({ "metadata": metadata, "versions": versions.collect::<Vec<_>>() })
    });
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items.collect::<Vec<_>>() })
}

fn group_entry(group: &str, versions: &[String]) -> Value {
    let entries: Vec<_> =
        versions.iter().map(|version| json!({ "groupVersion": format!("{group}/{version}"), "version": version })).collect();
    json!({ "name": group, "versions": entries, "preferredVersion": entries[0] })
}

fn resource_list(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let mut entries = Vec::new();
    for resource in resources.iter().filter(|resource| resource.group == group && resource.version == version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short.is_empty() {
            entry["shortNames"] = json!(resource.short);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        if resource.verbs.iter().any(|verb| verb == "watch") {
            entry["storageVersionHash"] = json!(hash(&format!("{}/{}", resource.shelf(), resource.kind)));
        }
        entries.push(entry);
        for sub in &resource.subs {
            let name = format!("{}/{}", resource.plural, sub.name);
            let (_, _, kind) = kind_of(resource, Some(sub));
            let mut entry =
                json!({ "name": name, "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": sub.verbs });
            if let Some((group, version)) = &sub.foreign {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            entries.push(entry);
        }
    }
    if entries.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries }))
}

pub(super) fn hash(text: &str) -> String {
    use base64::Engine;
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    base64::engine::general_purpose::STANDARD.encode(sum.to_be_bytes())
}

pub(super) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "emulationMajor": "1", "emulationMinor": "34", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "33", "gitVersion": "v1.34.0", "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean", "buildDate": "2025-08-27T10:00:00Z", "goVersion": "go1.24.5", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// The answer at a discovery path, with its content type where that is not plain JSON.
pub(super) fn answer(store: &Store, path: &str, accept: &str, address: &str) -> Outcome<(Value, Option<&'static str>)> {
    let resources = all(store);
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let body = match parts.as_slice() {
        ["version"] => version(),
        ["api"] if wants_aggregated(accept) => return Ok((aggregated(&resources, true), Some(AGGREGATED))),
        ["apis"] if wants_aggregated(accept) => return Ok((aggregated(&resources, false), Some(AGGREGATED))),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
        }),
        ["apis"] => {
            let groups = groups(&resources).into_iter().filter(|(group, _)| !group.is_empty());
            let groups: Vec<_> = groups.map(|(group, versions)| group_entry(&group, &versions)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", group] => {
            let found = groups(&resources).into_iter().find(|(name, _)| name == group).ok_or_else(no_such_path)?;
            let mut entry = group_entry(&found.0, &found.1);
            entry["kind"] = json!("APIGroup");
            entry["apiVersion"] = json!("v1");
            entry
        }
        ["api", version] => resource_list(&resources, "", version).ok_or_else(no_such_path)?,
        ["apis", group, version] => resource_list(&resources, group, version).ok_or_else(no_such_path)?,
        _ => return Err(no_such_path()),
    };
    Ok((body, None))
}
