//! Patches of all media types, and server-side apply.

use serde_json::{Value, json};

use super::call::{Call, Reply, plain_error};
use super::fields;
use super::json::{default, namespace, remove, text};
use super::managed::{self, Writer};
use super::registry::Resource;
use super::schema;
use super::status::{Outcome, bad_request, conflict, invalid, not_found, unsupported};
use super::store::Store;
use super::write::{found, insert, live, replace};
use super::{patch, scale, validate};

pub(super) fn patch(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let forced = !call.query.get("force").is_empty();
    let applies = call.media() == "application/apply-patch+yaml";
    if forced && !applies {
        return Err(invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[validate::forbidden("force", "may not be specified for non-apply patch")],
        ));
    }
    if applies && call.query.get("fieldManager").is_empty() {
        return Err(invalid("meta.k8s.io", "PatchOptions", "", &[validate::required("fieldManager", "is required for apply patch")]));
    }
    if call.sub == "scale" {
        return scale::patch(store, call);
    }
    if applies {
        return apply(store, call);
    }
    let old = found(store, call)?;
    let mut new = old.clone();
    patched(call, &call.resource.fields, &mut new)?;
    let warnings = recheck(call, &mut new)?;
    let object = replace(store, call, &old, new, false)?;
    Ok(Reply { code: 200, object, warnings })
}

/// Applies the body to an object by its media type.
pub(super) fn patched(call: &Call, kind: &schema::Type, target: &mut Value) -> Outcome<()> {
    let json_type = "application/json-patch+json";
    let merge_type = "application/merge-patch+json";
    let apply_type = "application/apply-patch+yaml";
    match call.media() {
        "application/json-patch+json" => patch::json_patch(target, &call.json()?),
        "application/merge-patch+json" => {
            patch::merge(target, &call.json()?);
            Ok(())
        }
        "application/strategic-merge-patch+json" if !call.resource.custom => patch::strategic(kind, target, &call.json()?),
        _ if call.resource.custom => Err(unsupported(&[json_type, merge_type, apply_type])),
        _ => Err(unsupported(&[json_type, merge_type, "application/strategic-merge-patch+json", apply_type])),
    }
}

fn recheck(call: &Call, new: &mut Value) -> Outcome<Vec<String>> {
    let whole = new.clone();
    call.checked(new, &call.resource.kind, &call.resource.fields, |why| {
        invalid("", "", "", &[validate::wrong("patch", &json!(whole.to_string()), why)])
    })
}

/// A configuration of a built-in kind has to fit its schema.
fn typed(resource: &Resource, config: &Value) -> Outcome<()> {
    let mut unknown = Vec::new();
    schema::unknown(&resource.fields, config, "", &mut unknown);
    let mut wrongs: Vec<_> = unknown.iter().map(|field| format!(".{field}: field not declared in schema")).collect();
    fields::wrongs(&resource.fields, config, &[], &mut wrongs);
    let why = match wrongs.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        all => format!("errors:\n{}", all.iter().map(|one| format!("  {one}")).collect::<Vec<_>>().join("\n")),
    };
    let (space, name) = (namespace(config), text(config, "/metadata/name"));
    let what = format!("{space}/{name}; {}, Kind={}", resource.api_version(), resource.kind);
    Err(plain_error(format!("failed to create typed patch object ({what}): {why}")))
}

fn apply(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let resource = call.resource.clone();
    let body: Value = serde_json::from_slice(&call.body).map_err(|error| bad_request(format!("error decoding patch: {error}")))?;
    let old = live(store, call);
    let kind = text(&body, "/kind").to_owned();
    if kind != resource.kind {
        return Err(bad_request(format!("Object 'Kind' is missing in '{body}'")));
    }
    let mut warnings = Vec::new();
    let mut config = body;
    if resource.custom {
        warnings = call.checked(&mut config, &resource.kind, &resource.fields, |why| bad_request(why))?;
    } else {
        typed(&resource, &config)?;
    }
    if let Some(given) = Some(text(&config, "/metadata/name")).filter(|given| !given.is_empty() && *given != call.name) {
        let message = format!("the name of the object ({given}) does not match the name on the URL ({})", call.name);
        return Err(bad_request(message));
    }
    let api_version = resource.api_version();
    let writer = Writer { api_version: &api_version, ..call.writer() };
    let force = call.query.flag("force");
    let base = old.clone().unwrap_or_else(|| json!({}));
    let mut new = managed::apply(&resource.fields, &base, &config, &writer, force)?;
    default(&mut new, &["metadata", "name"], json!(call.name));
    match old {
        Some(old) => {
            let object = replace(store, call, &old, new, true)?;
            Ok(Reply { code: 200, object, warnings })
        }
        None if !call.sub.is_empty() => Err(not_found(resource.gr(), &call.name)),
        None => {
            if !text(&new, "/metadata/uid").is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    text(&new, "/metadata/uid")
                );
                return Err(conflict(resource.gr(), &call.name, &why));
            }
            // An apply makes what is not there, whichever version it was for; only the uid above holds it back.
            remove(&mut new, &["metadata", "resourceVersion"]);
            let object = insert(store, call, new, true)?;
            Ok(Reply { code: 201, object, warnings })
        }
    }
}
