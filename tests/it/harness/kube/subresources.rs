//! Evictions and tokens: subresources that take a kind of their own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::auth;
use super::call::{Call, Reply};
use super::json::{list, moment, name, namespace, number, set, stamp, text};
use super::schema::Type;
use super::status::{Outcome, bad_request, forbidden, invalid, too_many};
use super::store::{Key, Store};
use super::write::found;
use super::{node, remove, selector, validate};

/// Deletes a pod, unless a disruption budget stands against it.
pub(super) fn evict(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let (eviction, _) = call.decoded("policy/v1", "Eviction", &Type::Any)?;
    if text(&eviction, "/metadata/name") != call.name {
        return Err(bad_request("name in URL does not match name in Eviction object"));
    }
    let pod = found(store, call)?;
    let over = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed" | "Pending");
    if !over && text(&pod, "/metadata/deletionTimestamp").is_empty() {
        budget(store, &pod)?;
    }
    let options = eviction.get("deleteOptions").cloned().unwrap_or(json!({}));
    let inner = Call {
        resource: call.resource.clone(),
        verb: call.verb.clone(),
        namespace: call.namespace.clone(),
        name: call.name.clone(),
        sub: String::new(),
        user: call.user.clone(),
        query: call.query.clone(),
        agent: call.agent.clone(),
        accept: call.accept.clone(),
        content_type: call.content_type.clone(),
        body: options.to_string().into_bytes(),
    };
    remove::delete(store, &inner)?;
    Ok(Reply::new(201, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })))
}

/// An eviction can ask in its own options that nothing is kept.
pub(super) fn dry(call: &Call) -> Outcome<bool> {
    let body = call.json().unwrap_or_default();
    Ok(call.dry("CreateOptions")? || !list(&body, "/deleteOptions/dryRun").is_empty())
}

fn budget(store: &mut Store, pod: &Value) -> Outcome<()> {
    let shelf = "poddisruptionbudgets.policy";
    let all = store.within(shelf, namespace(pod));
    let taking: Vec<_> =
        all.into_iter().filter(|budget| selector::takes(&budget["spec"]["selector"], &pod["metadata"]["labels"])).collect();
    if taking.len() > 1 {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(super::status::failure(500, "", message, Value::Null));
    }
    let Some(budget) = taking.first() else { return Ok(()) };
    let status = |field: &str| number(budget, &format!("/status/{field}"));
    let healthy = status("currentHealthy") >= status("desiredHealthy") && status("desiredHealthy") > 0;
    if !node::is_ready(pod) && healthy {
        return Ok(());
    }
    const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
    let cause = |message: String| json!([{ "reason": "DisruptionBudget", "message": message }]);
    if status("observedGeneration") < number(budget, "/metadata/generation") {
        let why = format!("The disruption budget {} is still being processed by the server.", name(budget));
        return Err(too_many(REFUSED, cause(why), 10));
    }
    match status("disruptionsAllowed") {
        less if less < 0 => {
            let gr = super::status::Gr { group: "policy", resource: "poddisruptionbudget" };
            Err(forbidden(gr, name(budget), "pdb disruptions allowed is negative"))
        }
        0 => {
            let (needs, has) = (status("desiredHealthy"), status("currentHealthy"));
            let why = format!("The disruption budget {} needs {needs} healthy pods and has {has} currently", name(budget));
            Err(too_many(REFUSED, cause(why), 0))
        }
        allowed => {
            let mut new = (**budget).clone();
            set(&mut new, &["status", "disruptionsAllowed"], json!(allowed - 1));
            set(&mut new, &["status", "disruptedPods", name(pod)], json!(super::json::now()));
            store.put(&Key::new(shelf, namespace(pod), name(budget)), new);
            Ok(())
        }
    }
}

/// A token of a service account, good as a bearer token until it ends.
pub(super) fn token(store: &mut Store, call: &Call) -> Outcome<Reply> {
    let (mut request, _) = call.decoded("authentication.k8s.io/v1", "TokenRequest", &Type::Any)?;
    let account = found(store, call)?;
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < 600 {
        let wrong = validate::wrong("spec.expirationSeconds", &json!(seconds), "may not specify a duration less than 10 minutes");
        return Err(invalid("authentication.k8s.io", "TokenRequest", "", &[wrong]));
    }
    let until = moment() + TimeDelta::seconds(seconds);
    let audience = "https://kubernetes.default.svc.cluster.local";
    let audiences = Some(request["spec"]["audiences"].clone()).filter(Value::is_array).unwrap_or(json!([audience]));
    let uid = text(&account, "/metadata/uid");
    let user = auth::account(&call.namespace, &call.name, uid);
    let header = json!({ "alg": "RS256", "kid": "standin" });
    let claims = json!({
        "aud": audiences, "exp": until.timestamp(), "iat": moment().timestamp(), "nbf": moment().timestamp(), "iss": audience,
        "jti": uuid::Uuid::new_v4().to_string(), "sub": user.name,
        "kubernetes.io": { "namespace": call.namespace, "serviceaccount": { "name": call.name, "uid": uid } },
    });
    // Known by its text, so the signature is only a secret.
    let secret = uuid::Uuid::new_v4().into_bytes();
    let parts = [header.to_string().into_bytes(), claims.to_string().into_bytes(), secret.to_vec()];
    let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let for_api = list(&request, "/spec/audiences").is_empty() || list(&request, "/spec/audiences").iter().any(|one| one == audience);
    if for_api {
        store.access.tokens.insert(token.clone(), (user, Some(until)));
    }
    set(&mut request, &["metadata"], json!({ "name": call.name, "namespace": call.namespace, "creationTimestamp": super::json::now() }));
    set(&mut request, &["spec", "audiences"], audiences);
    set(&mut request, &["spec", "expirationSeconds"], json!(seconds));
    set(&mut request, &["status"], json!({ "token": token, "expirationTimestamp": stamp(until) }));
    Ok(Reply::new(201, request))
}
