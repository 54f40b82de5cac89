//! Reviews: questions about rights and identities, answered from the same rules that requests are held against.

use serde_json::{Value, json};

use super::auth;
use super::call::{Call, Reply, User};
use super::json::{set, text, texts};
use super::rights::{Ask, allowed, rules};
use super::schema::Type;
use super::status::{Outcome, bad_request};
use super::store::Store;

fn info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn asked(spec: &Value) -> Outcome<Ask> {
    if let Some(resource) = spec.get("resourceAttributes").filter(|given| given.is_object()) {
        let field = |name: &str| text(resource, &format!("/{name}")).to_owned();
        return Ok(Ask {
            verb: field("verb"),
            group: field("group"),
            resource: field("resource"),
            sub: field("subresource"),
            namespace: field("namespace"),
            name: field("name"),
            path: String::new(),
        });
    }
    let path = spec.get("nonResourceAttributes").filter(|given| given.is_object());
    let Some(path) = path else {
        return Err(bad_request(
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    Ok(Ask { verb: text(path, "/verb").into(), path: text(path, "/path").into(), ..Ask::default() })
}

pub(super) fn create(store: &Store, call: &Call) -> Outcome<Reply> {
    let resource = &call.resource;
    let (mut review, _) = call.decoded(&resource.api_version(), &resource.kind, &Type::Any)?;
    let spec = review["spec"].clone();
    let status = match resource.kind.as_str() {
        "SelfSubjectAccessReview" => json!({ "allowed": allowed(store, &call.user, &asked(&spec)?) }),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let user = User { name: text(&spec, "/user").into(), groups: texts(&spec, "/groups"), ..User::default() };
            json!({ "allowed": allowed(store, &user, &asked(&spec)?) })
        }
        "SelfSubjectRulesReview" => {
            let all = rules(store, &call.user, text(&spec, "/namespace"));
            let (paths, resources): (Vec<_>, Vec<_>) = all.into_iter().partition(|rule| rule.get("nonResourceURLs").is_some());
            json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false })
        }
        "SelfSubjectReview" => json!({ "userInfo": info(&call.user) }),
        _ => match auth::user_of(store, text(&spec, "/token")) {
            Some(user) => {
                json!({ "authenticated": true, "user": info(&user), "audiences": ["https://kubernetes.default.svc.cluster.local"] })
            }
            None => json!({ "user": {}, "error": "[invalid bearer token, unknown]" }),
        },
    };
    set(&mut review, &["status"], status);
    if review.get("metadata").is_none() {
        review["metadata"] = json!({});
    }
    Ok(Reply::new(201, review))
}
