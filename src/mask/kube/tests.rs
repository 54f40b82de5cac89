//! What is masked in objects as a cluster gives them out, and what is not: spelling tricks, copies, diffs, and whole objects in which nothing may
//! be touched.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::mask;

/// What every test plants and nobody may hear.
const PLANTED: &str = "planted-S3cret/42";

fn quietly(value: Value, hint: Option<&str>) -> Value {
    mask(value, hint, &mut |_, _| ())
}

fn packed(text: &str) -> String {
    STANDARD.encode(text)
}

/// Nothing of the planted value is left, masking again changes nothing, and a rule was told.
fn gone(value: &Value, hint: Option<&str>) -> Value {
    let mut rules = Vec::new();
    let masked = mask(value.clone(), hint, &mut |path, rule| rules.push(format!("{path} {rule}")));
    let text = masked.to_string();
    let forms = [PLANTED.to_owned(), packed(PLANTED), URL_SAFE_NO_PAD.encode(PLANTED), "cGxhbnRlZ".to_owned(), "planted".to_owned()];
    for form in forms {
        assert!(!text.contains(&form), "{form} in {masked:#}\nfrom {value:#}");
    }
    assert!(!rules.is_empty(), "{value:#}");
    assert!(rules.iter().all(|rule| !rule.contains("planted")), "{rules:?}");
    assert_eq!(quietly(masked.clone(), hint), masked, "twice: {value:#}");
    masked
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": false,
        "metadata": {"name": "db", "namespace": "shop", "uid": "6d1c2c3e-1111-4222-8333-444455556666", "resourceVersion": "4111111111111111"},
        "data": {"aaa": packed(PLANTED), "password": packed(PLANTED), "empty": ""},
    })
}

#[test]
fn every_value_of_a_secret_and_nothing_else_of_it() {
    let masked = gone(&secret(), None);
    let mut expected = secret();
    expected["data"]["password"] = json!("[redacted:secret]");
    expected["data"]["aaa"] = json!("[redacted:secret]");
    assert_eq!(masked, expected);
}

#[test]
fn secrets_however_they_are_spelled() {
    let data = || json!({"a": packed(PLANTED)});
    for value in [
        json!({"kind": "secret", "data": data()}),
        json!({"kind": "SECRET", "stringData": {"a": PLANTED}}),
        json!({"Kind": "Secret", "Data": {"a": PLANTED}}),
        json!({"kind": "v1/Secret", "data": data()}),
        json!({"kind": "Secret.v1", "data": data()}),
        json!({"kind": " Secret ", "data": data()}),
        json!({"kind": "Sec\u{200b}ret", "data": data()}),
        json!({"kind": "Secret", "apiVersion": "v2beta1", "data": data()}),
        json!({"kind": "Secret", "data": {"a": {"b": [PLANTED, 1, true]}}}),
        json!({"kind": "Secret", "data": [{"key": "a", "value": PLANTED}]}),
        json!({"kind": "Secret", "data": PLANTED}),
        json!({"kind": "Secret", "data": {"a": 1}, "stringData": {PLANTED.to_lowercase(): PLANTED.len(), "x": format!("{PLANTED}\n")}, "x": 1}),
        json!({"kind": "SecretList", "items": [{"metadata": {"name": "x"}, "data": data()}]}),
        json!({"kind": "List", "items": [{"kind": "Secret", "data": data()}, {"kind": "Pod"}]}),
        json!({"items": [{"type": "Opaque", "data": data()}]}),
        json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": packed(PLANTED)}}),
        json!({"type": "ADDED", "object": {"kind": "Secret", "data": data()}}),
        json!({"resource": "secrets", "data": data()}),
        json!({"request": {"kind": {"group": "", "version": "v1", "kind": "Secret"}, "object": {"data": data()}, "oldObject": {"data": data()}}}),
        json!([[{"kind": "Secret", "data": data()}]]),
        json!({"kind": "Table", "rows": [{"cells": ["x"], "object": {"kind": "Secret", "data": data()}}]}),
    ] {
        let value = serde_json::from_str(&value.to_string().replace(&PLANTED.to_lowercase(), "key")).unwrap();
        gone(&value, None);
    }
    for value in [
        json!({"data": data()}),
        json!({"items": [{"data": data(), "metadata": {"name": "x"}}], "metadata": {}}),
        json!({"object": {"metadata": {}, "stringData": {"a": PLANTED}}, "events": [{"reason": "x"}]}),
        json!([{"data": data()}]),
        json!({"changes": [{"path": "/data/a", "before": packed(PLANTED), "after": "b"}]}),
    ] {
        gone(&value, Some("Secret"));
        gone(&value, Some("secrets"));
    }
    // Another kind keeps its data, whatever the hint was.
    let map = json!({"kind": "ConfigMap", "data": {"a": "b"}});
    assert_eq!(quietly(map.clone(), Some("Secret")), map);
}

#[test]
fn copies_of_a_secret() {
    let written = secret().to_string();
    let stringly = json!({"kind": "Secret", "stringData": {"a": PLANTED}}).to_string();
    let yaml = format!("apiVersion: v1\nkind: Secret\nstringData:\n  a: {PLANTED}\n");
    let pretty = serde_json::to_string_pretty(&secret()).unwrap();
    for copy in [
        written.clone(),
        format!("{written}\n"),
        stringly,
        yaml.clone(),
        pretty.clone(),
        pretty.chars().take(pretty.find("NDI=").unwrap()).collect(),
        packed(&written),
        packed(&packed(&written)),
        packed(&yaml),
        format!("saved as {} today", packed(&yaml)),
        json!([json!({"a": written}).to_string()]).to_string(),
        format!("body={written} end"),
        format!("{written}{written}"),
        format!("\"{}\"", written.replace('"', "\\\"")),
        written.replace("\"db\"", "\"db"),
    ] {
        for value in [
            json!({"kind": "Pod", "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": copy}}}),
            json!({"kind": "ConfigMap", "data": {"backup.yaml": copy}}),
            json!({"env": [{"name": "X", "value": copy}]}),
            json!({"message": copy}),
            json!({"changes": [{"path": "/metadata/annotations/x", "before": null, "after": copy}]}),
        ] {
            gone(&value, None);
        }
    }
}

#[test]
fn what_was_seen_in_a_secret_is_masked_wherever_it_stands() {
    for elsewhere in [
        json!({"env": [{"name": "X", "value": PLANTED}]}),
        json!({"message": format!("could not log in with {PLANTED}.")}),
        json!({"message": format!("x={}", packed(PLANTED))}),
        json!({"message": packed(&format!("user:{PLANTED}"))}),
        json!({"message": URL_SAFE_NO_PAD.encode(format!("u:{PLANTED}:x"))}),
        json!({"args": ["sh", "-c", format!("login {PLANTED}")]}),
        json!({"data": {"a": PLANTED, "b": format!("x: {PLANTED}\n")}, "kind": "ConfigMap"}),
        json!({PLANTED: 1}),
        json!({"a": json!({"b": PLANTED}).to_string()}),
    ] {
        gone(&json!({"items": [elsewhere.clone(), secret()]}), None);
        gone(&json!({"items": [secret(), elsewhere]}), None);
    }
    // A word that everybody uses stays a name.
    let service_account = json!({"items": [
        {"kind": "Secret", "type": "kubernetes.io/service-account-token", "data": {"namespace": packed("default"), "token": packed(PLANTED)}},
        {"kind": "Pod", "metadata": {"namespace": "default", "name": "web"}},
    ]});
    assert_eq!(gone(&service_account, None)["items"][1], service_account["items"][1]);
}

#[test]
fn names_beside_and_before_a_value() {
    for value in [
        json!({"name": "DB_PASSWORD", "value": PLANTED}),
        json!({"name": "PGPASSWORD", "value": PLANTED}),
        json!({"Name": "apiToken", "Value": PLANTED}),
        json!({"key": "client_secret", "value": PLANTED}),
        json!({"name": "Authorization", "value": PLANTED}),
        json!({"httpHeaders": [{"name": "X-Api-Key", "value": PLANTED}]}),
        json!({"values": {"db": {"password": PLANTED}}}),
        json!({"values": {"db": {"password": {"value": PLANTED}}}}),
        json!({"tokens": [PLANTED, PLANTED]}),
        json!({"clientSecret": PLANTED}),
        json!({"password": 4711, "x": {"adminPassword": PLANTED}}),
        json!({"pass\u{200b}word": PLANTED}),
        json!({"command": ["app", "--password", PLANTED]}),
        json!({"args": [format!("--password={PLANTED}"), "--db-token", PLANTED, "-v"]}),
        json!({"args": ["sh", "-c", format!("exec app --api-key {PLANTED} -v")]}),
        json!({"env": [format!("DB_PASSWORD={PLANTED}")]}),
        json!({"kind": "ConfigMap", "data": {"DB_PASSWORD": PLANTED, "app.properties": format!("db.user=a\ndb.password={PLANTED}\n")}}),
        json!({"kind": "ConfigMap", "data": {"config.yaml": format!("db:\n  password: \"{PLANTED}\"\n")}}),
        json!({"kind": "ConfigMap", "data": {"config": format!("users:\n- user:\n    token: {PLANTED}\n")}}),
        json!({"kind": "ConfigMap", "binaryData": {"store.p12": packed(PLANTED), ".htpasswd": packed(PLANTED)}}),
        json!({"kind": "ConfigMap", "data": {"url": "postgres://app:planted@db/x"}}),
        json!({"auths": {"r.example.com": {"auth": packed(&format!("u:{PLANTED}")), "identitytoken": PLANTED}}}),
        json!({"kind": "ConfigMap", "data": {"x": json!({"auths": {"r": {"auth": packed(&format!("u:{PLANTED}"))}}}).to_string()}}),
        json!({"users": [{"name": "a", "user": {"client-key-data": packed(PLANTED), "token": PLANTED, "password": PLANTED}}]}),
        json!({"user": {"auth-provider": {"config": {"id-token": PLANTED, "refresh-token": PLANTED}}}}),
        json!({"headers": {"Authorization": format!("Custom {PLANTED}"), "Cookie": format!("a={PLANTED}")}}),
        json!({"annotations": {"example.com/token": PLANTED}}),
        json!({"message": format!("login failed, password: {PLANTED}")}),
    ] {
        gone(&value, None);
    }
}

#[test]
fn changes_of_a_secret_and_of_a_variable() {
    let object = || json!({"kind": "Secret", "metadata": {"name": "db"}});
    for value in [
        json!({"changes": [{"path": "/data/a", "before": packed(PLANTED), "after": PLANTED}], "object": object()}),
        json!({"changes": [{"path": "data.a", "before": null, "after": PLANTED}], "object": object()}),
        json!({"changes": [{"path": ".stringData['a']", "old": PLANTED, "new": PLANTED}], "object": object()}),
        json!({"changes": [{"op": "replace", "path": "/data", "value": {"a": PLANTED}}], "object": object()}),
        json!({"changes": [{"path": "", "before": {"data": {"a": PLANTED}}, "after": null}], "object": object()}),
        json!({"kind": "Secret", "changes": [{"path": "/data/a", "before": PLANTED}]}),
        json!({"target": object(), "diff": {"changes": [{"path": "/data/a", "after": PLANTED}]}}),
        json!([{"op": "add", "path": "/spec/values/password", "value": PLANTED}]),
        json!({"changes": [{"path": "/data/db.password", "after": PLANTED}], "object": {"kind": "ConfigMap"}}),
        json!({"changes": [{"path": "/spec/env/0/value", "before": PLANTED, "after": "x"}], "object": {"spec": {"env": [{"name": "DB_PASSWORD", "value": "x"}]}}}),
    ] {
        gone(&value, None);
    }
    let harmless = json!({"changes": [
        {"path": "/spec/replicas", "before": 1, "after": 2},
        {"path": "/spec/template/spec/volumes/0/secret/secretName", "before": "a", "after": "b"},
        {"path": "/spec/env/0/value", "before": "a", "after": "b"},
        {"path": "/data/app.conf", "before": "a", "after": "b"},
    ], "object": {"kind": "Deployment", "spec": {"env": [{"name": "MODE", "value": "b"}]}}});
    assert_eq!(quietly(harmless.clone(), None), harmless);
}

#[test]
fn contents_are_detected_everywhere() {
    let masked = quietly(json!({"a@b.com": ["write to c@d.org", 4_111_111_111_111_111_u64], "labels": {"x": "e@f.org"}}), None);
    assert_eq!(masked, json!({"[redacted:email]": ["write to [redacted:email]", "[redacted:card]"], "labels": {"x": "[redacted:email]"}}));
    let mut told = Vec::new();
    mask(json!({"items": [secret()]}), None, &mut |path, rule| told.push((path.to_owned(), rule.to_owned())));
    assert_eq!(
        told,
        [("/items/0/data/aaa".to_owned(), "kube:secret".to_owned()), ("/items/0/data/password".to_owned(), "kube:secret".to_owned())]
    );
}

#[test]
fn packed_releases_and_deep_documents_go_as_a_whole() {
    let release = format!("H4sIAAAAAAAA{}", "x".repeat(80));
    assert_eq!(quietly(json!({"kind": "ConfigMap", "data": {"release": release}}), None)["data"]["release"], "[redacted:secret]");
    let mut deep = json!({"password": PLANTED});
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert!(gone(&deep, None).to_string().contains("[redacted:too_deep]"));
    // As deep as it is followed, with a text at the bottom that is a document again.
    let mut deep = json!(format!("x {} y", json!({"password": PLANTED})));
    for _ in 0..60 {
        deep = json!({"a": deep});
    }
    gone(&deep, None);
    let mut nested = json!({"password": PLANTED}).to_string();
    for _ in 0..6 {
        nested = json!({"a": nested}).to_string();
    }
    gone(&json!(nested), None);
}

/// Objects as a real cluster returns them; nothing in them may be touched.
#[test]
fn a_cluster_at_work_is_left_alone() {
    for text in [
        include_str!("corpus/pod.json"),
        include_str!("corpus/deployment.json"),
        include_str!("corpus/node.json"),
        include_str!("corpus/others.json"),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        let masked = mask(value.clone(), None, &mut |path, rule| panic!("{rule} at {path}"));
        assert_eq!(masked, value);
        assert_eq!(super::text(text, &mut |kind| panic!("{kind}")), text);
    }
    let yaml = include_str!("corpus/pod.yaml");
    assert_eq!(super::text(yaml, &mut |kind| panic!("{kind}")), yaml);
    let described = include_str!("corpus/describe.txt");
    assert_eq!(super::text(described, &mut |kind| panic!("{kind}")), described);
}

#[test]
fn a_large_answer_takes_its_time_once() {
    let items: Vec<Value> = (0..2000).map(|n| json!({"kind": "Secret", "data": {"a": packed(&format!("{PLANTED}-{n}"))}})).collect();
    let logs: Vec<Value> = (0..2000).map(|n| json!({"message": format!("{PLANTED}-{n} {PLANTED}x")})).collect();
    let start = std::time::Instant::now();
    gone(&json!({"items": items, "logs": logs}), None);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// A planted value in one of the places that the rules are about.
fn plant(shape: usize, secret: &str) -> Value {
    let object = json!({"kind": "Secret", "data": {"x": packed(secret)}});
    match shape {
        0 => object,
        1 => json!({"kind": "Secret", "stringData": {"x": secret}}),
        2 => json!({"name": "DB_PASSWORD", "value": secret}),
        3 => json!({"args": ["--token", secret]}),
        4 => json!({"args": [format!("--token={secret}")]}),
        5 => json!({"password": secret}),
        6 => json!({"annotations": {"last-applied": object.to_string()}}),
        7 => json!({"data": {"x": format!("a: b\npassword: {secret}\n")}}),
        8 => json!({"data": {"x": packed(&object.to_string())}}),
        9 => json!({"changes": [{"path": "/data/x", "before": secret}], "object": {"kind": "Secret"}}),
        10 => json!([object, {"message": format!("said {secret} twice {secret}")}]),
        11 => json!({"message": format!("DB_TOKEN={secret} rest")}),
        12 => json!({"url": format!("amqp://u:{secret}@mq/x")}),
        _ => json!({"tokens": [secret]}),
    }
}

proptest! {
    #[test]
    fn a_planted_value_never_survives(
        shape in 0..14_usize,
        secret in "[A-Za-z0-9]{2}zq[A-Za-z0-9!%^*+.~-]{3,12}7",
        around in prop::collection::vec("[a-z :={}\\[\\]\"'\n,-]{0,24}", 3),
        depth in 0..5_usize,
        stringly in any::<bool>(),
    ) {
        let mut value = plant(shape, &secret);
        if stringly {
            value = json!({"note": value.to_string()});
        }
        for level in 0..depth {
            value = if level % 2 == 0 { json!([around[0], value]) } else { json!({"spec": value, "note": around[1]}) };
        }
        let value = json!({"items": [value, around[2]]});
        let masked = quietly(value.clone(), None);
        let text = masked.to_string();
        prop_assert!(!text.contains(&secret) && !text.contains(packed(&secret).trim_end_matches('=')), "{} -> {}", value, masked);
        prop_assert_eq!(quietly(masked.clone(), None), masked);
    }

    #[test]
    fn masking_any_document_twice_changes_nothing(text in "([a-z]|[{}\\[\\]:,\"]|\"kind\":\"Secret\"|\"data\":|password|: |\n|--token|\\\\\"|a@b\\.de){0,60}", name in "(password|name|data|kind|path|[a-z]{3})") {
        let value = json!({"kind": "ConfigMap", "data": {"a": text}, name: [text, {"name": "TOKEN", "value": text}]});
        let once = quietly(value, None);
        prop_assert_eq!(quietly(once.clone(), None), once);
    }
}
