//! OpenAPI v3: an index of group versions, and a document of paths and schemas for each.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::json::{list, text};
use super::registry::{Resource, all};
use super::schema::{self, Type};
use super::status::{Outcome, no_such_path};
use super::store::Store;

/// Packages of the types of the description, by the first type that is in them.
const PACKAGES: [(&str, &str); 13] = [
    ("ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    ("Pod", "io.k8s.api.core.v1"),
    ("Deployment", "io.k8s.api.apps.v1"),
    ("Job", "io.k8s.api.batch.v1"),
    ("Scale", "io.k8s.api.autoscaling.v1"),
    ("HorizontalPodAutoscaler", "io.k8s.api.autoscaling.v2"),
    ("HorizontalPodAutoscalerV1", "io.k8s.api.autoscaling.v1"),
    ("PodDisruptionBudget", "io.k8s.api.policy.v1"),
    ("Ingress", "io.k8s.api.networking.v1"),
    ("Role", "io.k8s.api.rbac.v1"),
    ("StorageClass", "io.k8s.api.storage.v1"),
    ("Lease", "io.k8s.api.coordination.v1"),
    ("EventsEvent", "io.k8s.api.events.v1"),
];

/// The name of a type's schema.
pub(super) fn component(name: &str) -> String {
    if name == "EventsEvent" {
        return "io.k8s.api.events.v1.Event".into();
    }
    let mut package = "";
    for known in schema::names() {
        if let Some((_, found)) = PACKAGES.iter().find(|(first, _)| *first == known && known != "EventsEvent") {
            package = found;
        }
        if known == name {
            break;
        }
    }
    format!("{package}.{}", name.replace("AutoscalerV1", "Autoscaler"))
}

/// What `kubectl explain` shows for the fields that are asked about most.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("Pod", "Pod is a collection of containers that can run on a host. This resource is created by clients and scheduled onto hosts."),
    ("Deployment", "Deployment enables declarative updates for Pods and ReplicaSets."),
    (
        "Service",
        "Service is a named abstraction of software service (for example, mysql) consisting of local port that the proxy listens on.",
    ),
    ("ConfigMap", "ConfigMap holds configuration data for pods to consume."),
    ("Secret", "Secret holds secret data of a certain type."),
    ("ObjectMeta", "ObjectMeta is metadata that all persisted resources must have, which includes all objects users must create."),
    ("PodSpec", "PodSpec is a description of a pod."),
    ("Container", "A single application container that you want to run within a pod."),
    ("DeploymentSpec", "DeploymentSpec is the specification of the desired behavior of the Deployment."),
    ("apiVersion", "APIVersion defines the versioned schema of this representation of an object."),
    ("kind", "Kind is a string value representing the REST resource this object represents."),
    ("metadata", "Standard object's metadata."),
    (
        "DeploymentSpec.replicas",
        "Number of desired pods. This is a pointer to distinguish between explicit zero and not specified. Defaults to 1.",
    ),
    ("DeploymentSpec.paused", "Indicates that the deployment is paused."),
    ("DeploymentSpec.template", "Template describes the pods that will be created."),
    ("DeploymentSpec.selector", "Label selector for pods. It must match the pod template's labels."),
    ("PodSpec.containers", "List of containers belonging to the pod. There must be at least one container in a Pod. Cannot be updated."),
    ("Container.image", "Container image name."),
    ("Container.name", "Name of the container specified as a DNS_LABEL. Each container in a pod must have a unique name."),
    ("Container.env", "List of environment variables to set in the container. Cannot be updated."),
];

fn description(structure: &str, field: &str) -> Option<&'static str> {
    let full = format!("{structure}.{field}");
    let find = |wanted: &str| DESCRIPTIONS.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text);
    find(&full).or_else(|| find(field).filter(|_| !field.is_empty())).or_else(|| find(structure).filter(|_| field.is_empty()))
}

fn group_versions(resources: &[Arc<Resource>]) -> BTreeSet<(String, String)> {
    resources.iter().map(|resource| (resource.group.clone(), resource.version.clone())).collect()
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

pub(super) fn index(store: &Store) -> Value {
    let resources = all(store);
    let paths = group_versions(&resources).into_iter().map(|(group, version)| {
        let path = path_of(&group, &version);
        let names: Vec<_> = resources.iter().map(|resource| resource.kind.as_str()).collect();
        let hash = super::discovery::hash(&format!("{path}{}", names.join(",")));
        let hash: String = hash.chars().filter(char::is_ascii_alphanumeric).collect();
        let url = format!("/openapi/v3/{path}?hash={hash}");
        (path, json!({ "serverRelativeURL": url }))
    });
    json!({ "paths": paths.collect::<Map<_, _>>() })
}

pub(super) fn document(store: &Store, path: &str) -> Outcome<Value> {
    let resources = all(store);
    let found = group_versions(&resources).into_iter().find(|(group, version)| path_of(group, version) == path);
    let (group, version) = found.ok_or_else(no_such_path)?;
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in resources.iter().filter(|resource| resource.group == group && resource.version == version) {
        paths.extend(operations(resource));
        add_kind(store, resource, &mut schemas);
    }
    Ok(json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.34.0" }, "paths": paths, "components": { "schemas": schemas },
    }))
}

fn gvk(resource: &Resource) -> Value {
    json!({ "group": resource.group, "version": resource.version, "kind": resource.kind })
}

fn operations(resource: &Resource) -> Map<String, Value> {
    let root = format!("/{}", path_of(&resource.group, &resource.version));
    let base = if resource.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{root}/{}", resource.plural)
    };
    let body =
        json!({ "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{}", schema_name(resource)) } } } });
    let operation = |action: &str, writes: bool| {
        let mut names = vec!["pretty"];
        if writes {
            names.extend(["dryRun", "fieldManager", "fieldValidation"]);
        }
        if action == "patch" {
            names.push("force");
        }
        let parameters: Vec<_> =
            names.iter().map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } })).collect();
        json!({
            "parameters": parameters, "responses": { "200": { "description": "OK", "content": body["content"] } },
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(resource),
        })
    };
    let has = |verb: &str| resource.verbs.iter().any(|known| known == verb);
    let mut paths = Map::new();
    let mut add = |path: String, verbs: &[(&str, &str, &str, bool)]| {
        let operations = verbs.iter().filter(|(_, _, verb, _)| has(verb));
        let operations: Map<_, _> =
            operations.map(|(method, action, _, writes)| ((*method).to_owned(), operation(action, *writes))).collect();
        if !operations.is_empty() {
            paths.insert(path, Value::Object(operations));
        }
    };
    add(
        base.clone(),
        &[("get", "list", "list", false), ("post", "post", "create", true), ("delete", "deletecollection", "deletecollection", true)],
    );
    let one = [
        ("get", "get", "get", false),
        ("put", "put", "update", true),
        ("patch", "patch", "patch", true),
        ("delete", "delete", "delete", true),
    ];
    add(format!("{base}/{{name}}"), &one);
    paths
}

fn schema_name(resource: &Resource) -> String {
    match &resource.fields {
        Type::Ref(name) => component(name),
        _ => {
            let group: Vec<_> = resource.group.split('.').rev().collect();
            format!("{}.{}.{}", group.join("."), resource.version, resource.kind).trim_start_matches('.').to_owned()
        }
    }
}

fn add_kind(store: &Store, resource: &Resource, schemas: &mut Map<String, Value>) {
    let name = schema_name(resource);
    match &resource.fields {
        Type::Ref(structure) => add_structure(structure, schemas),
        _ => {
            add_structure("ObjectMeta", schemas);
            let mut own = custom_schema(store, resource);
            for (field, kind) in
                [("apiVersion", Type::Scalar("string")), ("kind", Type::Scalar("string")), ("metadata", Type::Ref("ObjectMeta".into()))]
            {
                own["properties"][field] = property("", field, &kind);
            }
            schemas.insert(name.clone(), own);
        }
    }
    schemas[&name]["x-kubernetes-group-version-kind"] = json!([gvk(resource)]);
}

fn custom_schema(store: &Store, resource: &Resource) -> Value {
    let crd = store.find("customresourcedefinitions.apiextensions.k8s.io", "", &format!("{}.{}", resource.plural, resource.group));
    let version =
        crd.as_ref().and_then(|crd| list(crd, "/spec/versions").iter().find(|one| text(one, "/name") == resource.version).cloned());
    let given = version.and_then(|version| version.pointer("/schema/openAPIV3Schema").cloned());
    given.unwrap_or_else(|| json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }))
}

fn property(structure: &str, field: &str, kind: &Type) -> Value {
    let mut property = schema::openapi(kind);
    if let Some(text) = description(structure, field) {
        property["description"] = json!(text);
    }
    property
}

/// The schema of a type and of every type that it names.
fn add_structure(name: &str, schemas: &mut Map<String, Value>) {
    let key = component(name);
    if schemas.contains_key(&key) {
        return;
    }
    let Some(structure) = schema::structure(name) else { return };
    let properties: Map<_, _> = structure.fields.iter().map(|(field, kind)| (field.clone(), property(name, field, kind))).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if let Some(text) = description(name, "") {
        schema["description"] = json!(text);
    }
    if structure.atomic {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    schemas.insert(key, schema);
    for kind in structure.fields.values() {
        add_named(kind, schemas);
    }
}

fn add_named(kind: &Type, schemas: &mut Map<String, Value>) {
    match kind {
        Type::Ref(name) => add_structure(name, schemas),
        Type::Map { of, .. } | Type::List { of, .. } => add_named(of, schemas),
        _ => {}
    }
}
