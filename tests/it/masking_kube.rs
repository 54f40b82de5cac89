//! Secrets of a cluster, by every spelling and route: the values stay, in lists, parts, previews, logs and the output of programs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::code;
use crate::kube::{agent, approved, asked, cluster, deployment, pod, world};

const PLANTED: [&str; 3] = ["hunter2hunter2", "s3cr3t-t0ken-value", "AKIAIOSFODNN7EXAMPLE"];

/// No planted value is in it, not even in base64.
fn clean(what: &str, answer: &Value) {
    let text = answer.to_string();
    for value in PLANTED {
        assert!(!text.contains(value), "{what}: {value} in {text}");
        let encoded = STANDARD.encode(value);
        assert!(!text.contains(encoded.trim_end_matches('=')), "{what}: {encoded} in {text}");
    }
}

fn secret() -> Value {
    let data: serde_json::Map<String, Value> = [("password", PLANTED[0]), ("token", PLANTED[1]), ("id", PLANTED[2])]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), json!(STANDARD.encode(value))))
        .collect();
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "stringData": {"password": PLANTED[0]}});
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "db", "namespace": "shop", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": applied.to_string(), "example.com/copy": applied.to_string(),
        }},
        "data": data,
    })
}

#[tokio::test]
async fn a_secret_by_every_spelling() {
    let cluster = cluster().await;
    cluster.put(secret());
    let release = STANDARD.encode(STANDARD.encode(format!("{{\"config\":{{\"password\":\"{}\"}}}}", PLANTED[0])));
    cluster.put(json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": {"name": "sh.helm.release.v1.web.v1", "namespace": "shop"}, "data": {"release": STANDARD.encode(release)}}));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    for (tool, arguments) in [
        ("k8s_get", json!({"kind": "Secret", "name": "db"})),
        ("k8s_get", json!({"kind": "secrets", "name": "db"})),
        ("k8s_get", json!({"kind": "SECRET", "name": "db", "api_version": "v1"})),
        ("k8s_get", json!({"kind": "Secret", "name": "db", "fields": ["data.password"]})),
        ("k8s_get", json!({"kind": "Secret", "name": "db", "fields": ["metadata.annotations"]})),
        ("k8s_get", json!({"kind": "Secret", "name": "sh.helm.release.v1.web.v1"})),
        ("k8s_describe", json!({"kind": "Secret", "name": "db"})),
        ("k8s_list", json!({"kind": "Secret"})),
        ("k8s_list", json!({"kind": "Secret", "output": "json"})),
        ("k8s_list", json!({"kind": "Secret", "output": "name"})),
        ("k8s_list", json!({"kind": "Secret", "fields": ["metadata.name", "data.password", "data"]})),
        ("k8s_list", json!({"kind": "Secret", "fields": ["metadata.annotations['example.com/copy']"]})),
        ("k8s_wait", json!({"kind": "Secret", "name": "db", "for": "deleted", "timeout_ms": 1_000})),
    ] {
        let mut arguments = arguments;
        arguments["target"] = json!("prod");
        arguments["namespace"] = json!("shop");
        // Looking at Secrets is more than a read: somebody is asked.
        let (shown, answer) = approved(&world, &agent, tool, arguments.clone()).await;
        assert_eq!((&shown["risk"], &answer["status"]), (&json!("write"), &json!("ok")), "{arguments}: {answer}");
        clean(&arguments.to_string(), &answer);
        if arguments["fields"] == json!(["data.password"]) {
            assert_eq!(answer["result"]["object"]["data"], json!({"password": "[redacted:secret]"}), "{answer}");
        }
        if tool == "k8s_get" && arguments["name"] == "db" && arguments["fields"].is_null() {
            assert_eq!(answer["result"]["object"]["data"]["token"], "[redacted:secret]", "{answer}");
            assert!(answer["masked"].to_string().contains("kube:secret"), "{answer}");
        }
    }
    world.verify();
}

#[tokio::test]
async fn secrets_in_previews_manifests_and_patches() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let manifest = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "stringData": {"password": value}});
    let (shown, made) =
        approved(&world, &agent, "k8s_apply", json!({"target": "prod", "manifest": manifest(PLANTED[0]).to_string()})).await;
    assert_eq!((&shown["risk"], &made["status"]), (&json!("destructive"), &json!("ok")), "{made}");
    for (what, answer) in [("shown", &shown), ("made", &made)] {
        clean(what, answer);
    }
    assert_eq!(
        cluster.object("v1", "Secret", Some("shop"), "db").unwrap()["data"]["password"],
        STANDARD.encode(PLANTED[0]),
        "what was approved is what is there"
    );
    let dry = json!({"target": "prod", "manifest": manifest(PLANTED[1]).to_string(), "dry_run": "server"});
    let (_, shown) = approved(&world, &agent, "k8s_apply", dry).await;
    clean("dry run", &shown);
    assert!(shown["result"]["objects"][0]["changes"].to_string().contains("/data/password"), "that it changes is said: {shown}");
    for (patch_type, patch) in [
        ("merge", json!({"stringData": {"colour": PLANTED[1]}})),
        ("strategic", json!({"data": {"colour": STANDARD.encode(PLANTED[1])}})),
        ("json", json!([{"op": "add", "path": "/data/colour", "value": STANDARD.encode(PLANTED[1])}])),
    ] {
        let arguments =
            json!({"target": "prod", "kind": "Secret", "name": "db", "namespace": "shop", "patch_type": patch_type, "patch": patch});
        let (id, shown) = asked(&world, &agent, "k8s_patch", &arguments).await;
        clean("patch", &shown);
        clean("listed", &world.approver().get("/approvals").await.1);
        world.approver().decide(&id, json!({"decision": "deny", "reason": "no"})).await;
        let refused = agent.call("k8s_patch", arguments).await;
        let (_, whole) = world.approver().get(&format!("/audit/calls/{}", refused["call_id"].as_str().unwrap())).await;
        assert!(whole.to_string().contains("colour") && whole.to_string().contains("arguments_digest"), "{whole}");
        clean("evidence of a patch", &whole);
    }
    let leaves = Value::Array(world.approver().trail("").await);
    clean("trail", &leaves);
    // Nor in what is kept of what was asked and answered.
    for call in [&made, &shown] {
        let (_, whole) = world.approver().get(&format!("/audit/calls/{}", call["call_id"].as_str().unwrap())).await;
        assert!(whole.to_string().contains("arguments_digest") && whole.to_string().contains("stringData"), "{whole}");
        clean("evidence", &whole);
    }
    world.verify();
}

#[tokio::test]
async fn secrets_that_went_elsewhere() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let url = format!("postgres://app:{}@db.shop:5432/orders", PLANTED[0]);
    let kubeconfig = format!("apiVersion: v1\nkind: Config\nusers:\n- name: admin\n  user:\n    token: {}\n", PLANTED[1]);
    let nested = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: copy\ndata:\n  password: {}\n", STANDARD.encode(PLANTED[0]));
    cluster.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop"}, "data": {
        "DATABASE_URL": url, "kubeconfig": kubeconfig, "secret.yaml": nested, "app.properties": format!("db.user=app\ndb.password={}\naws.id = {}\n", PLANTED[0], PLANTED[2]),
        "plain": "listen=0.0.0.0:8080\nworkers=4\n",
    }}));
    let mut web = deployment("web", 1, "nginx:1");
    web["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "DB_PASSWORD", "value": PLANTED[0]}, {"name": "DATABASE_URL", "value": url}, {"name": "LOG_LEVEL", "value": "info"},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
    ]);
    web["spec"]["template"]["spec"]["containers"][0]["args"] =
        json!(["--password", PLANTED[0], format!("--token={}", PLANTED[1]), "--verbose"]);
    cluster.put(web);
    let now = chrono::DateTime::<chrono::Utc>::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    cluster.log(
        "shop",
        "tools",
        "main",
        &[
            (now, &format!("connecting to {url}")),
            (now, &format!("Authorization: Bearer {}", PLANTED[1])),
            (now, &format!("key {} used", PLANTED[2])),
            (now, &format!("jwt {jwt}")),
            (now, "-----BEGIN PRIVATE KEY-----"),
            (now, "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"),
            (now, "-----END PRIVATE KEY-----"),
            (now, &format!("{{\"level\":\"info\",\"password\":\"{}\"}}", PLANTED[0])),
            (now, "listening on 0.0.0.0:8080"),
        ],
    );
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let call = async |tool: &str, mut arguments: Value| {
        arguments["target"] = json!("prod");
        arguments["namespace"] = json!("shop");
        agent.call(tool, arguments).await
    };
    let config = call("k8s_get", json!({"kind": "ConfigMap", "name": "app"})).await;
    clean("ConfigMap", &config);
    let data = &config["result"]["object"]["data"];
    assert_eq!(data["plain"], "listen=0.0.0.0:8080\nworkers=4\n", "{config}");
    assert!(data["DATABASE_URL"].as_str().unwrap().contains("@db.shop:5432/orders"), "the rest of it stays: {config}");
    let listed = call("k8s_list", json!({"kind": "ConfigMap", "fields": ["data['app.properties']"]})).await;
    clean("fields", &listed);
    let web = call("k8s_get", json!({"kind": "Deployment", "name": "web"})).await;
    clean("Deployment", &web);
    let env = &web["result"]["object"]["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!((&env[2]["value"], &env[3]["valueFrom"]["secretKeyRef"]["key"]), (&json!("info"), &json!("password")), "{web}");
    let logs = call("k8s_logs", json!({"name": "tools"})).await;
    clean("logs", &logs);
    let text = logs["result"]["text"].as_str().unwrap();
    assert!(!text.contains("MIIEvQ") && !text.contains(jwt) && text.contains("listening on 0.0.0.0:8080"), "{text}");
    for chosen in ["Bearer", "password", "connecting"] {
        clean(chosen, &call("k8s_logs", json!({"name": "tools", "contains": chosen})).await);
    }
    // 38: what a program prints.
    for script in [
        "env; echo done",
        "printf 'apiVersion: v1\\nkind: Secret\\ndata:\\n  password: aHVudGVyMmh1bnRlcjI=\\n'",
        "echo DB_PASSWORD=$DB_PASSWORD >&2",
    ] {
        let (_, ran) = approved(
            &world,
            &agent,
            "k8s_exec",
            json!({"target": "prod", "namespace": "shop", "name": "tools", "command": ["sh", "-c", script]}),
        )
        .await;
        assert_eq!(ran["status"], "ok", "{ran}");
        clean(script, &ran);
    }
    // What the server quotes of a manifest in an error.
    let wrong =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "shop"}, "datas": {"password": PLANTED[0]}});
    let refused = call("k8s_apply", json!({"manifest": wrong.to_string()})).await;
    assert!(!code(&refused).is_empty());
    clean("error", &refused);
    world.verify();
}
