//! Manifests: YAML or JSON in, objects out, each of them seen. Strict where parsers differ, since what is judged must be what is applied.
//!
//! No anchors, aliases, merge keys or tags (an alias bomb is refused before it grows), no key twice, no lists of objects in one document, no name
//! that the server would make up. What comes out is JSON, and those bytes are what goes to the server: nobody parses the text a second time.

use serde_json::{Map, Value};

use crate::operation::kube::{Object, Resolved, Type, name};
use crate::refusal::{Code, Refusal};

/// Objects of one manifest.
pub const OBJECTS_MAX: usize = 20;
/// The longest manifest, in bytes.
pub const MANIFEST_MAX_BYTES: usize = 200 * 1024;
/// Nesting of an object.
const DEPTH_MAX: usize = 64;
/// Values of a manifest.
const NODES_MAX: usize = 50_000;

/// An object that would be written, as it goes to the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Which object.
    pub object: Object,
    /// All of it.
    pub body: Value,
}

fn refuse(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidManifest).detail(why)
}

/// Parses a manifest: documents apart by `---`, one object each. `namespace` is for those that name none.
///
/// # Errors
/// `operation.invalid_manifest` or `operation.invalid_name`, with the document and what is wrong with it.
pub fn parse(text: &str, namespace: Option<&str>) -> Result<Vec<Manifest>, Refusal> {
    if text.len() > MANIFEST_MAX_BYTES {
        return Err(Refusal::new(Code::TooLarge).detail(format!("a manifest has at most {MANIFEST_MAX_BYTES} bytes")));
    }
    let documents = documents(text)?;
    if documents.is_empty() {
        return Err(refuse("it holds no object"));
    }
    if documents.len() > OBJECTS_MAX {
        return Err(refuse(format!("it holds {} objects, and {OBJECTS_MAX} are the most for one call", documents.len())));
    }
    let mut manifests: Vec<Manifest> = Vec::with_capacity(documents.len());
    for (index, document) in documents.into_iter().enumerate() {
        let manifest = object(document, namespace).map_err(|refusal| refusal.map_detail(|why| format!("object {}: {why}", index + 1)))?;
        if manifests.iter().any(|earlier| earlier.object == manifest.object) {
            return Err(refuse(format!("object {}: {} stands twice in the manifest", index + 1, manifest.object)));
        }
        manifests.push(manifest);
    }
    Ok(manifests)
}

fn documents(text: &str) -> Result<Vec<Value>, Refusal> {
    // The parser reads some control characters as line breaks or blanks; people see nothing.
    if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(refuse(format!("it holds the control character {}", c.escape_unicode())));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_documents: OBJECTS_MAX * 2,
        },
    };
    serde_saphyr::from_multiple_with_options::<Value>(text, options).map_err(|error| {
        let why: String = error.to_string().chars().filter(|c| !c.is_control()).take(300).collect();
        refuse(format!("it cannot be read as YAML or JSON (anchors, aliases, merge keys, tags and doubled keys are not accepted): {why}"))
    })
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match members.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(refuse(format!("`{name}` must be a text"))),
        None => Err(refuse(format!("`{name}` is missing"))),
    }
}

fn object(mut body: Value, namespace: Option<&str>) -> Result<Manifest, Refusal> {
    let Some(members) = body.as_object_mut() else { return Err(refuse("it is no mapping with apiVersion, kind and metadata")) };
    // Names that read the same and are others: some parser may take them for the ones that were judged.
    for name in members.keys() {
        if ["apiVersion", "kind", "metadata"].iter().any(|known| known.eq_ignore_ascii_case(name) && known != name) {
            return Err(refuse(format!("`{name}` is spelled as the API does not")));
        }
    }
    let (api_version, kind) = (text(members, "apiVersion")?.to_owned(), text(members, "kind")?.to_owned());
    if kind.ends_with("List") && members.contains_key("items") || kind == "List" {
        return Err(refuse(format!("`{kind}` holds other objects; give each a document of its own, apart by `---`")));
    }
    let resolved = Type::resolve(Some(&api_version), &kind)?;
    let Resolved::Definite(kind_of) = resolved else {
        return Err(refuse(format!("`{kind}` is no kind; write it as the API does, such as `Deployment`")));
    };
    if kind_of.kind != kind {
        return Err(refuse(format!("`kind` is `{kind}`, and the API spells it `{}`", kind_of.kind)));
    }
    let Some(Value::Object(metadata)) = members.get_mut("metadata") else { return Err(refuse("`metadata` is missing or no mapping")) };
    if metadata.contains_key("generateName") {
        return Err(refuse("`metadata.generateName` leaves the name to the server: give `metadata.name`"));
    }
    if metadata.get("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(refuse("`metadata.managedFields` are the server's own: leave them out"));
    }
    metadata.remove("managedFields");
    let own_name = name::object("metadata.name", text(metadata, "name")?, &kind_of.group)?;
    let own = match metadata.get("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(own)) => Some(name::label("metadata.namespace", own)?),
        Some(_) => return Err(refuse("`metadata.namespace` must be a text")),
    };
    let namespace = match (own, namespace, kind_of.namespaced) {
        (Some(own), Some(given), _) if own != given => {
            return Err(refuse(format!("`metadata.namespace` is `{own}`, and `namespace` is `{given}`")));
        }
        (Some(own), _, _) => Some(own),
        // What is known to be of no namespace stays so; the argument is for the others.
        (None, _, Some(false)) => None,
        (None, given, _) => given.map(ToOwned::to_owned),
    };
    if let Some(namespace) = &namespace {
        metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
    }
    let object = Object::one(kind_of, namespace, own_name)?;
    Ok(Manifest { object, body })
}
