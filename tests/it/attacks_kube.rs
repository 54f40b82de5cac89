//! Attacks on Kubernetes brokers, from advisories: each ends as a refusal that says what was wrong, a mask or a record. Numbers are the catalogue's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::kube::{Cluster, Rule, Subject};
use crate::harness::{Agent, Wish, code};
use crate::kube::{POLICIES, agent, approved, asked, cluster, deployment, pod, world, world_of};

async fn call(agent: &Agent, tool: &str, mut arguments: Value) -> Value {
    arguments["target"] = json!("prod");
    agent.call(tool, arguments).await
}

fn touched(cluster: &Cluster) -> Vec<String> {
    cluster.requests().into_iter().map(|one| format!("{} {}?{}", one.method, one.path, one.query)).collect()
}

/// 33, 34, 35, 43: a name is a name, whatever it would mean to a shell, a command line or a URL.
#[tokio::test]
async fn names_that_are_none_never_reach_the_cluster() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let long = "a".repeat(254);
    for bad in [
        "--server=https://evil",
        "-o",
        "-Ashttps://evil",
        "--insecure_skip_tls_verify",
        "../../secrets/x",
        "%2e%2e%2fsecrets",
        "x/log?follow=true",
        "x#",
        "pod; id",
        "$(id)",
        "`id`",
        "a\nb",
        "a\u{0}b",
        "A",
        "x?watch=1",
        "x&y",
        "\u{ff0e}\u{ff0e}",
        long.as_str(),
    ] {
        for (tool, arguments) in [
            ("k8s_get", json!({"kind": "Pod", "name": bad, "namespace": "shop"})),
            ("k8s_get", json!({"kind": "Pod", "name": "a", "namespace": bad})),
            ("k8s_get", json!({"kind": bad, "name": "a", "namespace": "shop"})),
            ("k8s_get", json!({"kind": "Pod", "api_version": bad, "name": "a", "namespace": "shop"})),
            ("k8s_list", json!({"kind": "Pod", "namespace": bad})),
            ("k8s_logs", json!({"name": bad, "namespace": "shop"})),
            ("k8s_logs", json!({"name": "a", "namespace": "shop", "container": bad})),
            ("k8s_exec", json!({"name": bad, "namespace": "shop", "command": ["id"]})),
            ("k8s_delete", json!({"kind": "Pod", "name": bad, "namespace": "shop"})),
            ("k8s_scale", json!({"kind": "Deployment", "name": bad, "namespace": "shop", "replicas": 1})),
            ("k8s_node", json!({"name": bad, "op": "cordon"})),
            ("k8s_patch", json!({"kind": "Pod", "name": bad, "namespace": "shop", "patch": {"spec": {}}})),
            ("k8s_can_i", json!({"verb": "get", "resource": bad})),
        ] {
            // What is well formed in one place need not be in another: `A` is a version of nothing, and a kind of some cluster.
            let open = tool == "k8s_get" && arguments["kind"] == bad && bad == "A";
            let answer = call(&agent, tool, arguments.clone()).await;
            let refused = code(&answer).starts_with("operation.") || code(&answer) == "request.invalid_arguments";
            assert!(refused || open, "{tool} {arguments}: {answer}");
            assert!(!code(&answer).is_empty(), "{tool} {arguments}: {answer}");
        }
    }
    for (name, bad) in
        [("label_selector", "a=b&watch=true"), ("field_selector", "x\r\nHost: evil"), ("continue", "../x y"), ("fields", "a..b")]
    {
        let value = if name == "fields" { json!([bad]) } else { json!(bad) };
        let answer = call(&agent, "k8s_list", json!({"kind": "Pod", "namespace": "shop", name: value})).await;
        assert_eq!(code(&answer), "operation.invalid_name", "{name}: {answer}");
    }
    let asked = touched(&cluster);
    assert!(asked.iter().all(|one| one.starts_with("GET /api?") || one.starts_with("GET /apis?")), "only what kinds there are: {asked:?}");
    // Each of them is on record.
    assert!(world.approver().trail("&kind=call.refused").await.len() > 100);
    world.verify();
}

/// 40: nobody says whom to be but the verified delegation.
#[tokio::test]
async fn impersonation_is_never_the_callers() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let (world, _folder) = world(&cluster).await;
    let mut agent = agent(&world);
    for header in ["impersonate-user", "impersonate-group", "impersonate-extra-scopes", "impersonate-uid", "x-remote-user"] {
        agent.headers.insert(header, "system:admin".to_owned());
    }
    let answer = call(&agent, "k8s_get", json!({"kind": "Pod", "name": "tools", "namespace": "shop"})).await;
    assert_eq!(answer["status"], "ok", "{answer}");
    for one in cluster.requests() {
        assert_eq!((one.user.as_str(), one.extra.contains_key("scopes")), ("alice", false), "{one:?}");
        assert!(!format!("{:?}", one.headers).contains("system:admin"), "{one:?}");
        assert!(!one.headers["authorization"].contains(&agent.token), "the caller's token stays here");
    }
    for name in ["impersonate", "as", "as_group", "user", "Impersonate-User"] {
        let answer = call(&agent, "k8s_get", json!({"kind": "Pod", "name": "tools", "namespace": "shop", name: "root"})).await;
        assert_eq!(code(&answer), "request.invalid_arguments", "{name}");
    }
    // A team or a human called like one of the cluster's own is nobody there.
    cluster.clear_requests();
    for (human, team) in [("alice", "system:masters"), ("system:admin", "support"), ("System:Admin", "support"), ("alice", "system:nodes")]
    {
        let agent = world.agent_of(human, "demo-agent", &[team], "mcp:read");
        let answer = call(&agent, "k8s_list", json!({"kind": "Pod", "namespace": "shop"})).await;
        assert!(code(&answer) == "target.refused" && answer.to_string().contains("cluster's own"), "{answer}");
    }
    assert_eq!(touched(&cluster), Vec::<String>::new());
    // An agent's name cannot add a header.
    let odd = world.agent_of("alice", "Agent Ü: root%", &["support"], "mcp:read");
    let answer = call(&odd, "k8s_get", json!({"kind": "Pod", "name": "tools", "namespace": "shop"})).await;
    assert_eq!(answer["status"], "ok", "{answer}");
    assert!(cluster.requests().iter().all(|one| one.user == "alice" && one.extra["agent"] == ["Agent%20%C3%9C:%20root%25"]));
    world.verify();
}

/// 39: what gives rights is of the highest risk, whoever wraps it in what; and the cluster's own check comes after.
#[tokio::test]
async fn rights_are_not_applied_by_the_way() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let writer = world.agent_of("alice", "demo-agent", &["support"], "mcp:read mcp:write");
    let role = |name: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": "shop"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]});
    let mut privileged = pod("p");
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let mut mounted = deployment("d", 1, "x");
    mounted["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}]);
    let webhook =
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "w"}});
    for object in [role("r"), binding.clone(), privileged.clone(), mounted, webhook] {
        // Scope first: an agent that may only write cannot even ask.
        let refused = call(&writer, "k8s_apply", json!({"manifest": object.to_string()})).await;
        assert_eq!(code(&refused), "identity.insufficient_scope", "{refused}");
        // In the second document of two it is seen as well.
        let hidden = format!("{}\n---\n{object}", pod("plain"));
        let refused = call(&writer, "k8s_apply", json!({"manifest": hidden})).await;
        assert_eq!(code(&refused), "identity.insufficient_scope", "{refused}");
    }
    for patch in [
        json!({"spec": {"ephemeralContainers": [{"name": "a", "image": "b"}]}}),
        json!([{"op": "add", "path": "/spec/hostNetwork", "value": true}]),
    ] {
        let kind = if patch.is_array() { "json" } else { "merge" };
        let refused =
            call(&writer, "k8s_patch", json!({"kind": "Pod", "name": "p", "namespace": "shop", "patch_type": kind, "patch": patch})).await;
        assert_eq!(code(&refused), "identity.insufficient_scope", "{refused}");
    }
    // The approver reads why, and the cluster does not let alice give what she does not have.
    let escalated = call(&agent, "k8s_apply", json!({"manifest": binding.to_string()})).await;
    assert!(code(&escalated) == "approval.preview_failed" && escalated.to_string().contains("clusterrolebindings"), "{escalated}");
    let (_, shown) = asked(&world, &agent, "k8s_apply", &json!({"target": "prod", "manifest": privileged.to_string()})).await;
    assert!(shown["risk"] == "admin" && shown["operation"]["risk_because"].to_string().contains("fences"), "{shown}");
    assert!(cluster.object("v1", "Pod", Some("shop"), "p").is_none());
    world.verify();
}

/// 37, 38, 39: manifests in which something else hides.
#[tokio::test]
async fn manifests_in_which_something_hides() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let plain = pod("plain").to_string();
    for (manifest, says) in [
        (json!({"apiVersion": "v1", "kind": "List", "items": [pod("a")]}).to_string(), "a document of its own"),
        (json!({"apiVersion": "v1", "kind": "SecretList", "items": []}).to_string(), "a document of its own"),
        (plain.replace("\"kind\":\"Pod\"", "\"kind\":\"Pod\",\"kind\":\"Secret\""), "doubled keys"),
        (plain.replace("\"kind\":\"Pod\"", "\"kind\":\"Pod\",\"Kind\":\"Secret\""), "spelled as the API does not"),
        (format!("a: &a [x]\nb: [*a, *a]\n---\n{plain}"), "anchors"),
        (plain.replace("\"name\":\"plain\"", "\"name\":\"../../secrets/x\""), "DNS-1123"),
        (plain.replace("\"name\":\"plain\"", "\"generateName\":\"plain-\""), "generateName"),
        ("{".repeat(100_000), ""),
    ] {
        let refused = call(&agent, "k8s_apply", json!({"manifest": manifest})).await;
        let codes = ["operation.invalid_manifest", "operation.invalid_name"];
        assert!(codes.contains(&code(&refused)) && refused.to_string().contains(says), "{manifest:.100}: {refused}");
    }
    let huge = call(&agent, "k8s_apply", json!({"manifest": "#".repeat(210_000)})).await;
    assert_eq!(code(&huge), "request.invalid_arguments", "{huge}");
    for (patch_type, patch) in [
        ("merge", json!({"kind": "Secret"})),
        ("merge", json!({"metadata": {"name": "other"}})),
        ("merge", json!({"metadata": {"resourceVersion": "1"}})),
        ("merge", json!([])),
        ("json", json!({})),
        ("json", json!([{"op": "replace", "path": "", "value": {}}])),
        ("json", json!([{"op": "replace", "path": "/metadata", "value": {"name": "other"}}])),
        ("json", json!([{"op": "exec", "path": "/spec"}])),
        ("json", json!([{"op": "add", "path": "spec"}])),
    ] {
        let arguments = json!({"kind": "Pod", "name": "a", "namespace": "shop", "patch_type": patch_type, "patch": patch});
        let refused = call(&agent, "k8s_patch", arguments).await;
        assert_eq!(code(&refused), "operation.invalid_patch", "{patch}: {refused}");
    }
    assert!(touched(&cluster).is_empty(), "{:?}", touched(&cluster));
    world.verify();
}

/// 32, 50, 100: a tool that is not listed is not there, and every tool of the cluster is judged by its own verb and risk.
#[tokio::test]
async fn hidden_tools_and_other_namespaces() {
    let policies = r#"
@id("own") permit (principal, action == Action::"invoke", resource is Broker);
@id("shop.read") permit (principal, action == Action::"invoke", resource in Namespace::"prod/shop") when { context.risk == 1 };
@id("no.logs") forbid (principal, action in [Action::"invoke", Action::"request"], resource) when { context.subresource == "log" };
@id("no.configmaps") forbid (principal, action, resource in Kind::"ConfigMap");
@id("approve") permit (principal in Team::"approvers", action == Action::"approve", resource);
@id("review") permit (principal in Team::"approvers", action == Action::"review", resource);
"#;
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let everywhere =
        Rule { verbs: vec!["*".into()], groups: vec!["*".into()], resources: vec!["*".into()], namespace: None, names: vec![] };
    cluster.grant(Subject::User("alice".into()), everywhere);
    let (world, _folder) = world_of(&cluster, Wish { policies: policies.to_owned(), hold: Duration::ZERO, ..Wish::default() }).await;
    let agent = agent(&world);
    let tools = agent.tools().await;
    let listed: Vec<&str> = tools["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(listed.contains(&"k8s_list") && listed.contains(&"k8s_get"), "{listed:?}");
    for hidden in ["k8s_exec", "k8s_scale", "k8s_run", "k8s_debug", "db_query"] {
        assert!(!listed.contains(&hidden), "{listed:?}");
    }
    let hidden = call(&agent, "k8s_exec", json!({"name": "tools", "namespace": "shop", "command": ["id"]})).await;
    assert_eq!(hidden["error"]["code"], -32602, "as if it were not there: {hidden}");
    cluster.clear_requests();
    assert_eq!(call(&agent, "k8s_list", json!({"kind": "Pod", "namespace": "shop"})).await["status"], "ok");
    for (tool, arguments) in [
        ("k8s_list", json!({"kind": "Pod"})),
        ("k8s_list", json!({"kind": "Pod", "namespace": "kube-system"})),
        ("k8s_list", json!({"kind": "Node"})),
        ("k8s_list", json!({"kind": "cm", "namespace": "shop"})),
        ("k8s_list", json!({"kind": "configmaps", "namespace": "shop", "api_version": "v1"})),
        ("k8s_list", json!({"kind": "Secret", "namespace": "shop"})),
        ("k8s_get", json!({"kind": "Secret", "namespace": "shop", "name": "x", "fields": ["metadata.name"]})),
        ("k8s_logs", json!({"name": "tools", "namespace": "shop"})),
        ("k8s_events", json!({})),
        ("k8s_delete", json!({"kind": "Pod", "namespace": "shop", "name": "tools"})),
    ] {
        let denied = call(&agent, tool, arguments.clone()).await;
        assert_eq!(code(&denied), "policy.denied", "{tool} {arguments}: {denied}");
    }
    let reached = touched(&cluster);
    assert!(
        reached.iter().all(|one| one.starts_with("GET /api?") || one.starts_with("GET /apis?") || one.contains("/namespaces/shop/pods?")),
        "{reached:?}"
    );
    // The other kind of target has other tools.
    let wrong = agent.call("k8s_list", json!({"target": "shop", "kind": "Pod"})).await;
    assert!(code(&wrong) == "request.invalid_arguments" && wrong.to_string().contains("a database"), "{wrong}");
    let wrong = agent.call("db_query", json!({"target": "prod", "sql": "SELECT 1"})).await;
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    world.verify();
}

/// 90, 94, 102: one approval is for one call, once.
#[tokio::test]
async fn an_approval_is_for_that_very_manifest() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let apply = |image: &str| json!({"target": "prod", "manifest": deployment("web", 1, image).to_string()});
    let (id, _) = asked(&world, &agent, "k8s_apply", &apply("nginx:1")).await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    for other in [apply("nginx:2"), json!({"target": "prod", "manifest": format!("{} ", deployment("web", 1, "nginx:1"))})] {
        assert_eq!(agent.call("k8s_apply", other).await["status"], "approval_pending");
    }
    assert_eq!(agent.call("k8s_apply", apply("nginx:1")).await["status"], "ok");
    let again = agent.call("k8s_apply", apply("nginx:1")).await;
    assert_eq!(again["status"], "approval_pending", "used once: {again}");
    let own = world.human("alice", &["approvers"]);
    let (status, _) = own.decide(again["approval"]["id"].as_str().unwrap(), json!({"decision": "approve"})).await;
    assert_ne!(status, 200);
    world.verify();
}

/// 78, 83: without somebody to be there is no request, and with a token that the cluster does not know there is no answer.
#[tokio::test]
async fn no_request_is_the_brokers_own() {
    let cluster = cluster().await;
    let (world, _folder) = world_of(&cluster, Wish { policies: POLICIES.to_owned(), ..Wish::default() }).await;
    let agent = agent(&world);
    // Somebody whom the cluster does not let the broker be.
    cluster.revoke_all(&Subject::User("countersign".into()));
    let refused = call(&agent, "k8s_list", json!({"kind": "Pod", "namespace": "shop"})).await;
    assert!(code(&refused) == "target.refused" && refused.to_string().contains("cannot impersonate"), "{refused}");
    cluster.revoke_token(&cluster.token());
    let unknown = call(&agent, "k8s_list", json!({"kind": "Pod", "namespace": "shop"})).await;
    assert_eq!(code(&unknown), "target.refused", "{unknown}");
    assert!(cluster.requests().iter().all(|one| one.headers.contains_key("impersonate-user")));
    let leaked = [refused.to_string(), unknown.to_string(), format!("{:?}", world.approver().trail("").await)].concat();
    assert!(!leaked.contains(&cluster.token()));
    world.verify();
}

/// 49: a kubeconfig runs only what the configuration names, and says nothing that a call says.
#[test]
fn kubeconfigs_that_would_do_more() {
    use countersign::connector::{Cluster as Way, check_cluster};
    let folder = tempfile::tempdir().unwrap();
    let config = |server: &str, cluster: &str, user: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: '{server}'{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    };
    let check = |text: String, context: Option<&str>, plugins: &[&str]| {
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        let exec_plugins = plugins.iter().map(|plugin| (*plugin).to_owned()).collect();
        check_cluster(&Way::Kubeconfig { path, context: context.map(ToOwned::to_owned), exec_plugins })
    };
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token], interactiveMode: Never}";
    let https = "https://10.0.0.1:6443";
    assert_eq!(check(config(https, "", "token: x"), None, &[]), Ok(()));
    assert_eq!(check(config(https, "", exec), None, &["aws"]), Ok(()));
    for (text, context, plugins, says) in [
        (config(https, "", exec), None, &[][..], "runs `aws`"),
        (config(https, "", exec), None, &["/usr/bin/aws"][..], "runs `aws`"),
        (config(https, "", "token: x, as: system:admin"), None, &[], "says whom to be"),
        (config(https, "", "token: x, as-groups: ['system:masters']"), None, &[], "says whom to be"),
        (config(https, "", "auth-provider: {name: gcp}"), None, &[], "auth-provider"),
        (config(https, ", insecure-skip-tls-verify: true", "token: x"), None, &[], "insecure-skip-tls-verify"),
        (config(https, ", proxy-url: 'http://evil:3128'", "token: x"), None, &[], "proxy-url"),
        (config("http://10.0.0.1:8080", "", "token: x"), None, &[], "https://"),
        (config("https://user@10.0.0.1", "", "token: x"), None, &[], "https://"),
        (config(https, "", "token: x"), Some("other"), &[], "no context `other`"),
        ("not: [a kubeconfig".into(), None, &[], "failed to read"),
    ] {
        let refused = check(text, context, plugins).unwrap_err();
        assert!(refused.contains(says), "{says}: {refused}");
    }
    for url in ["http://x", "https://u:p@x", "https://x/?a=b", "file:///etc/passwd", "x"] {
        assert!(check_cluster(&Way::Url { url: url.to_owned(), ca: None }).is_err(), "{url}");
    }
}

/// 17, 124: every Kubernetes tool leaves an intent and an outcome, or a refusal.
#[tokio::test]
async fn every_tool_leaves_its_records() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    for (tool, arguments) in [
        ("k8s_list", json!({"kind": "Pod", "namespace": "shop"})),
        ("k8s_get", json!({"kind": "Pod", "namespace": "shop", "name": "tools"})),
        ("k8s_describe", json!({"kind": "Pod", "namespace": "shop", "name": "tools"})),
        ("k8s_logs", json!({"namespace": "shop", "name": "tools"})),
        ("k8s_events", json!({"namespace": "shop", "type": "Warning", "since": "1h"})),
        ("k8s_top", json!({"scope": "nodes"})),
        ("k8s_api_resources", json!({})),
        ("k8s_explain", json!({"kind": "Pod"})),
        ("k8s_can_i", json!({"verb": "get", "resource": "pods", "namespace": "shop"})),
        ("k8s_wait", json!({"kind": "Pod", "namespace": "shop", "name": "tools", "for": "Ready", "timeout_ms": 1_000})),
    ] {
        let answer = call(&agent, tool, arguments).await;
        let id = answer["call_id"].as_str().unwrap_or_else(|| panic!("{tool}: {answer}"));
        let (_, whole) = world.approver().get(&format!("/audit/calls/{id}")).await;
        assert_eq!(whole["entries"].as_array().map(Vec::len), Some(2), "{tool}: {whole}");
    }
    let (_, done) = approved(
        &world,
        &agent,
        "k8s_delete",
        json!({"target": "prod", "kind": "Pod", "namespace": "shop", "name": "tools", "grace_period_seconds": 0}),
    )
    .await;
    assert_eq!(done["status"], "ok", "{done}");
    world.verify();
}
