//! Who may do what on a cluster: every tool and verb at every risk that it can have, for the example's policies and for the default ones, in one table
//! that anybody can read in a diff. And the example's manifests, which are all that the broker and a human need there.

use std::fmt::Write;
use std::time::Duration;

use countersign::operation::kube::manifest;
use serde_json::{Value, json};

use crate::harness::kube::{Cluster, Rule, Subject};
use crate::harness::{Agent, Wish, World, code};
use crate::kube::{agent, as_target, asked, cluster, deployment, pod, world_of};

const EXAMPLE: &str = include_str!("../../examples/kubernetes/cluster.cedar");
const DEFAULT: &str = include_str!("../../policies/default.cedar");

/// A call of each tool at each risk: what it is, the tool, its arguments.
fn calls() -> Vec<(String, &'static str, Value)> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "stringData": {"a": "b"}});
    let role =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": "shop"}, "rules": []});
    let mut privileged = pod("p");
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let apply = |object: &Value| json!({"manifest": object.to_string()});
    let of = |kind: &str, more: Value| {
        let mut arguments = json!({"kind": kind, "name": "web", "namespace": "shop"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let mut calls: Vec<(&str, &'static str, Value)> = vec![
        ("list Pod shop", "k8s_list", json!({"kind": "Pod", "namespace": "shop"})),
        ("list Pod, all namespaces", "k8s_list", json!({"kind": "Pod"})),
        ("list Pod kube-system", "k8s_list", json!({"kind": "Pod", "namespace": "kube-system"})),
        ("list Secret shop", "k8s_list", json!({"kind": "Secret", "namespace": "shop"})),
        ("list Node", "k8s_list", json!({"kind": "Node"})),
        ("list example.com/Widget shop", "k8s_list", json!({"api_version": "example.com/v1", "kind": "Widget", "namespace": "shop"})),
        ("list what nobody knows", "k8s_list", json!({"kind": "Gadget"})),
        ("get Deployment", "k8s_get", of("Deployment", json!({}))),
        ("get Secret", "k8s_get", of("Secret", json!({}))),
        ("describe Deployment", "k8s_describe", of("Deployment", json!({}))),
        ("get Pod/log", "k8s_logs", json!({"name": "web", "namespace": "shop"})),
        ("get Pod/log of a workload", "k8s_logs", json!({"workload": {"kind": "Deployment", "name": "web"}, "namespace": "shop"})),
        ("list Event shop", "k8s_events", json!({"namespace": "shop"})),
        ("list metrics of pods", "k8s_top", json!({"scope": "pods", "namespace": "shop"})),
        ("list metrics of nodes", "k8s_top", json!({"scope": "nodes"})),
        ("discover kinds", "k8s_api_resources", json!({"group": "apps"})),
        ("discover fields", "k8s_explain", json!({"kind": "Pod", "field": "spec.nodeName"})),
        ("discover rights", "k8s_can_i", json!({"verb": "get", "resource": "pods", "namespace": "shop"})),
        ("get Deployment until", "k8s_wait", of("Deployment", json!({"for": "deleted", "timeout_ms": 600}))),
        ("patch (apply) Deployment, dry run", "k8s_apply", json!({"manifest": deployment("new", 1, "a").to_string(), "dry_run": "server"})),
        ("patch (apply) Deployment", "k8s_apply", apply(&deployment("new", 1, "a"))),
        ("patch (apply) Secret", "k8s_apply", apply(&secret)),
        ("patch (apply) privileged Pod", "k8s_apply", apply(&privileged)),
        ("patch (apply) Role", "k8s_apply", apply(&role)),
        ("patch Deployment", "k8s_patch", of("Deployment", json!({"patch": {"metadata": {"labels": {"a": "b"}}}}))),
        (
            "patch Deployment as root",
            "k8s_patch",
            of("Deployment", json!({"patch": {"spec": {"template": {"spec": {"securityContext": {"runAsUser": 0}}}}}})),
        ),
        (
            "patch Deployment hostNetwork",
            "k8s_patch",
            of("Deployment", json!({"patch": {"spec": {"template": {"spec": {"hostNetwork": true}}}}})),
        ),
        ("delete Deployment", "k8s_delete", of("Deployment", json!({}))),
        ("delete Namespace", "k8s_delete", json!({"kind": "Namespace", "name": "shop"})),
        ("patch Deployment/scale 3", "k8s_scale", of("Deployment", json!({"replicas": 3}))),
        ("patch Deployment/scale 0", "k8s_scale", of("Deployment", json!({"replicas": 0}))),
        ("get Deployment roll-out", "k8s_rollout", of("Deployment", json!({"action": "status"}))),
        ("patch Deployment roll-out", "k8s_rollout", of("Deployment", json!({"action": "restart"}))),
        ("patch Deployment roll-out back", "k8s_rollout", of("Deployment", json!({"action": "undo"}))),
        ("create Pod/exec", "k8s_exec", json!({"name": "tools", "namespace": "shop", "command": ["true"]})),
        ("create Pod", "k8s_run", json!({"name": "once", "namespace": "shop", "image": "busybox:1.36"})),
        ("patch Pod/ephemeralcontainers", "k8s_debug", json!({"name": "tools", "namespace": "shop", "image": "busybox:1.36"})),
        ("patch Node", "k8s_node", json!({"name": "node-1", "op": "cordon"})),
        ("create Pod/eviction", "k8s_node", json!({"name": "node-1", "op": "drain"})),
        ("create Pod/eviction, dry run", "k8s_node", json!({"name": "node-1", "op": "drain", "dry_run": "server"})),
        ("shop_pods", "shop_pods", json!({"app": "web"})),
        ("scale_web", "scale_web", json!({"replicas": 3})),
    ];
    calls
        .drain(..)
        .map(|(what, tool, mut arguments)| {
            if tool.starts_with("k8s_") {
                arguments["target"] = json!("prod");
            }
            (what.to_owned(), tool, arguments)
        })
        .collect()
}

async fn verdict(agent: &Agent, tool: &str, arguments: Value) -> String {
    let answer = agent.call(tool, arguments).await;
    match answer["status"].as_str() {
        Some("ok") => "invoke".to_owned(),
        Some("approval_pending") => "request".to_owned(),
        // It was let through, or somebody would have been asked: what the cluster says is not the policy's doing.
        Some("error") if code(&answer).starts_with("target.") || code(&answer) == "operation.unknown_kind" => "invoke".to_owned(),
        Some("error") if code(&answer) == "approval.preview_failed" => "request".to_owned(),
        None if answer["error"]["code"] == -32602 => "no: unknown tool".to_owned(),
        _ => format!("no: {}", code(&answer)),
    }
}

fn tools() -> Vec<(&'static str, String)> {
    let shop_pods = include_str!("../../examples/kubernetes/tools/kube/shop_pods.toml");
    let scale_web = include_str!("../../examples/kubernetes/tools/kube/scale_web.toml");
    vec![("shop_pods.toml", shop_pods.to_owned()), ("scale_web.toml", scale_web.to_owned())]
}

async fn table(policies: &str, agents: &[(&str, &str)]) -> String {
    let mut table = format!("{:<10} {:<6} {:<36} {:<18} verdict\n", "team", "scope", "call", "tool");
    for (team, scope) in agents {
        // A cluster each, so that what one did another does not see.
        let cluster = cluster().await;
        cluster.put(deployment("web", 1, "a"));
        cluster.put(pod("tools"));
        cluster.crd("example.com", "v1", "Widget", "widgets", true, &[]);
        let wish = Wish { policies: policies.to_owned(), hold: Duration::ZERO, tools: tools(), ..Wish::default() };
        let (world, _folder) = world_of(&cluster, wish).await;
        let scopes = if *scope == "write" { "mcp:read mcp:write" } else { "mcp:read mcp:write mcp:admin" };
        let agent = world.agent_of("alice", "demo-agent", &[team], scopes);
        for (call, tool, arguments) in calls() {
            let verdict = verdict(&agent, tool, arguments).await;
            writeln!(table, "{team:<10} {scope:<6} {call:<36} {tool:<18} {verdict}").unwrap();
        }
        world.verify();
    }
    table
}

#[tokio::test]
async fn the_matrix_of_clusters() {
    let policies =
        format!("{EXAMPLE}\n@id(\"approve\") permit (principal in Team::\"approvers\", action == Action::\"approve\", resource);");
    let agents = [("support", "write"), ("support", "admin"), ("oncall", "admin"), ("nobody", "admin")];
    insta::assert_snapshot!("policy_matrix_kube", table(&policies, &agents).await);
}

#[tokio::test]
async fn the_matrix_of_clusters_with_the_default_policies() {
    insta::assert_snapshot!("default_policy_matrix_kube", table(DEFAULT, &[("nobody", "write"), ("nobody", "admin")]).await);
}

fn manifests(text: &str) -> Vec<Value> {
    manifest::parse(text, None).unwrap_or_else(|refusal| panic!("{refusal}")).into_iter().map(|one| one.body).collect()
}

/// The example's account, and nothing more, lets the broker be others; it can do nothing itself.
#[tokio::test]
async fn the_examples_rights_are_enough_and_no_more() {
    let cluster = Cluster::start().await;
    let account = "system:serviceaccount:countersign:countersign";
    let token = cluster.account(account, &["system:serviceaccounts", "system:serviceaccounts:countersign", "system:authenticated"]);
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    for text in [include_str!("../../examples/kubernetes/rbac.yaml"), include_str!("../../examples/kubernetes/human.yaml")] {
        for object in manifests(text) {
            cluster.put(object);
        }
    }
    cluster.put(deployment("web", 1, "nginx:1"));
    let folder = tempfile::tempdir().unwrap();
    let wish = Wish { policies: crate::kube::POLICIES.to_owned(), hold: Duration::ZERO, ..Wish::default() };
    let world = World::with_targets(wish, |issuer| {
        let target = as_target(&cluster, folder.path(), issuer);
        std::fs::write(folder.path().join("token"), &token).unwrap();
        vec![target]
    })
    .await;
    let agent = agent(&world);
    let listed = agent.call("k8s_list", json!({"target": "prod", "kind": "Deployment", "namespace": "shop"})).await;
    assert_eq!(listed["result"]["row_count"], 1, "{listed}");
    let (_, shown) = asked(
        &world,
        &agent,
        "k8s_scale",
        &json!({"target": "prod", "kind": "Deployment", "name": "web", "namespace": "shop", "replicas": 2}),
    )
    .await;
    assert!(shown["preview"]["objects"][0]["changes"].is_array(), "{shown}");
    let heard = cluster.requests();
    assert!(heard.iter().all(|one| one.user == "alice" && one.impersonator.as_deref() == Some(account)), "{heard:?}");
    // Alice is nobody outside `shop`, and the account is nobody anywhere.
    let outside = agent.call("k8s_list", json!({"target": "prod", "kind": "Deployment", "namespace": "default"})).await;
    assert_eq!(code(&outside), "target.refused", "{outside}");
    let ca = reqwest::Certificate::from_pem(cluster.ca_pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    for path in ["/api/v1/namespaces/shop/pods", "/api/v1/secrets", "/apis/apps/v1/deployments"] {
        let response = http.get(format!("{}{path}", cluster.url())).bearer_auth(&token).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 403, "{path}");
    }
    world.verify();
}

/// Declared tools: what is fixed stays fixed, and what is given is one word, or a value.
#[tokio::test]
async fn declared_tools_of_a_cluster() {
    let cluster = cluster().await;
    cluster.put(deployment("web", 1, "nginx:1"));
    cluster.put(deployment("other", 1, "nginx:1"));
    let any = shop_pods_of_any_app();
    let tools = [tools(), vec![("any.toml", any)]].concat();
    let wish = Wish { policies: crate::kube::POLICIES.to_owned(), hold: Duration::ZERO, tools, ..Wish::default() };
    let (world, _folder) = world_of(&cluster, wish).await;
    let agent = agent(&world);
    cluster.grant(
        Subject::User("alice".into()),
        Rule { verbs: vec!["*".into()], groups: vec!["*".into()], resources: vec!["*".into()], namespace: None, names: vec![] },
    );
    let listed = agent.call("shop_pods", json!({"app": "web"})).await;
    assert_eq!(listed["result"]["row_count"], 1, "{listed}");
    for (tool, arguments) in [
        ("shop_pods", json!({"app": "other"})),
        ("shop_pods", json!({"app": "web", "namespace": "kube-system"})),
        ("shop_pods", json!({"app": "web,tier=x"})),
        ("any_pods", json!({"app": "web,app=other"})),
        ("any_pods", json!({"app": "web)"})),
        ("any_pods", json!({"app": ""})),
        ("any_pods", json!({"app": "a".repeat(64)})),
        ("scale_web", json!({"replicas": 11})),
        ("scale_web", json!({"replicas": 3, "name": "other"})),
        ("scale_web", json!({"replicas": "3"})),
    ] {
        let refused = agent.call(tool, arguments.clone()).await;
        assert_eq!(code(&refused), "request.invalid_arguments", "{tool} {arguments}: {refused}");
    }
    let any = agent.call("any_pods", json!({"app": "other"})).await;
    assert_eq!(any["result"]["row_count"], 1, "{any}");
    let (_, scaled) = crate::kube::approved(&world, &agent, "scale_web", json!({"replicas": 3})).await;
    assert_eq!(scaled["status"], "ok", "{scaled}");
    assert_eq!(cluster.object("apps/v1", "Deployment", Some("shop"), "web").unwrap()["spec"]["replicas"], 3);
    world.verify();
}

fn shop_pods_of_any_app() -> String {
    let text = include_str!("../../examples/kubernetes/tools/kube/shop_pods.toml");
    let text = text.replace("shop_pods", "any_pods").replace("type = \"enum\"", "type = \"string\"");
    text.lines().filter(|line| !line.starts_with("values")).collect::<Vec<_>>().join("\n")
}
