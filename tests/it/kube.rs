//! Every Kubernetes tool down the whole path: MCP in, the API out, masked and recorded; and the human asserted on the server's side of the wire.

use std::time::Duration;

use countersign::broker::Target;
use countersign::connector::{Cluster as Way, Endpoint};
use countersign::credential::Access;
use countersign::credential::impersonation::{Groups, Impersonate, User};
use countersign::credential::secret::Reference;
use serde_json::{Value, json};

use crate::harness::kube::{Cluster, Heard, Rule, Subject};
use crate::harness::{Agent, Wish, World, code, target};

/// Agents may read and ask for the rest; what is of the highest risk too.
pub const POLICIES: &str = r#"
@id("own") permit (principal, action == Action::"invoke", resource is Broker);
@id("read") permit (principal, action == Action::"invoke", resource) when { context.risk == 1 && context.kind == "kube" };
@id("ask") @quorum("1") permit (principal, action == Action::"request", resource) when { context.risk > 1 && context.kind == "kube" };
@id("approve") permit (principal in Team::"approvers", action == Action::"approve", resource) unless { context.own };
@id("review") permit (principal in Team::"approvers", action == Action::"review", resource);
"#;

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], namespace: Option<&str>) -> Rule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Rule {
        verbs: owned(verbs),
        groups: owned(groups),
        resources: owned(resources),
        namespace: namespace.map(ToOwned::to_owned),
        names: Vec::new(),
    }
}

/// The broker's own account may be others, and nothing else.
pub fn impersonate(cluster: &Cluster) {
    let broker = || Subject::User("countersign".to_owned());
    cluster.grant(broker(), rule(&["impersonate"], &[""], &["users", "groups"], None));
    let extra = ["userextras/agent", "userextras/delegation", "userextras/call"];
    cluster.grant(broker(), rule(&["impersonate"], &["authentication.k8s.io"], &extra, None));
}

/// A cluster in which alice may do anything in `shop`, and look at nodes.
pub async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    impersonate(&cluster);
    let alice = || Subject::User("alice".to_owned());
    cluster.grant(alice(), rule(&["*"], &["*"], &["*"], Some("shop")));
    cluster
        .grant(Subject::Group("support".to_owned()), rule(&["get", "list", "watch", "patch"], &["", "metrics.k8s.io"], &["nodes"], None));
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    cluster
}

/// The cluster as a target, reached by its address and a token.
pub fn as_target(cluster: &Cluster, folder: &std::path::Path, issuer: &str) -> Target {
    std::fs::write(folder.join("ca.pem"), cluster.ca_pem()).unwrap();
    std::fs::write(folder.join("token"), cluster.token()).unwrap();
    let whom = Impersonate {
        issuer: issuer.to_owned(),
        user: User::parse("{human.subject}").unwrap(),
        groups: Groups::parse("{human.team}").unwrap(),
    };
    let token = Some(Reference::parse("file:token", folder).unwrap());
    let endpoint = Endpoint::Kubernetes {
        cluster: Way::Url { url: cluster.url(), ca: Some(folder.join("ca.pem")) },
        debug_images: vec!["busybox:1.36".to_owned(), "registry.example.com/debug/*".to_owned()],
    };
    target("prod", endpoint, Access::Impersonate { token, whom })
}

/// A broker before a cluster, with a folder for what the target needs.
pub async fn world_of(cluster: &Cluster, wish: Wish) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::with_targets(wish, |issuer| vec![as_target(cluster, folder.path(), issuer)]).await;
    (world, folder)
}

pub async fn world(cluster: &Cluster) -> (World, tempfile::TempDir) {
    world_of(cluster, Wish { policies: POLICIES.to_owned(), hold: Duration::ZERO, ..Wish::default() }).await
}

pub fn agent(world: &World) -> Agent {
    world.agent_of("alice", "demo-agent", &["support"], "mcp:read mcp:write mcp:admin")
}

/// Calls, has Bob approve what he is shown, calls again; what Bob was shown, and the answer.
pub async fn approved(world: &World, agent: &Agent, tool: &str, arguments: Value) -> (Value, Value) {
    let (id, shown) = asked(world, agent, tool, &arguments).await;
    let (status, decided) = world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert_eq!(status, 200, "{decided}");
    (shown, agent.call(tool, arguments).await)
}

/// Calls what must be approved; the request's id and what an approver is shown.
pub async fn asked(world: &World, agent: &Agent, tool: &str, arguments: &Value) -> (String, Value) {
    let pending = agent.call(tool, arguments.clone()).await;
    let id = pending["approval"]["id"].as_str().unwrap_or_else(|| panic!("{tool}: {pending}")).to_owned();
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    (id, shown)
}

pub fn deployment(name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "busybox:1.36", "env": [{"name": "DB_PASSWORD", "value": "hunter2hunter2"}]}]},
    })
}

/// What the server heard of the API, discovery aside; every request of it was made as alice, with who acts and which call it is.
pub fn heard(cluster: &Cluster, call: &Value) -> Vec<Heard> {
    let all = cluster.requests();
    for one in &all {
        assert_eq!((one.user.as_str(), one.impersonator.as_deref()), ("alice", Some("countersign")), "{one:?}");
        assert_eq!(one.extra.get("agent").map(Vec::as_slice), Some(&["demo-agent".to_owned()][..]), "{one:?}");
        assert!(one.groups.contains(&"support".to_owned()) && one.extra.contains_key("delegation"), "{one:?}");
    }
    let of_call = |one: &Heard| one.extra.get("call").is_some_and(|call_id| json!(call_id[0]) == call["call_id"]);
    all.into_iter().filter(of_call).filter(|one| one.path.matches('/').count() > 3 && !one.path.starts_with("/openapi")).collect()
}

fn names(answer: &Value) -> Vec<String> {
    answer["result"]["rows"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn reads_in_the_humans_name() {
    let cluster = cluster().await;
    cluster.put(deployment("web", 2, "nginx:1"));
    cluster.put(pod("tools"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let call = async |tool: &str, mut arguments: Value| {
        arguments["target"] = json!("prod");
        cluster.clear_requests();
        let answer = agent.call(tool, arguments).await;
        let requests = heard(&cluster, &answer);
        (answer, requests)
    };
    let (list, requests) = call("k8s_list", json!({"kind": "po", "namespace": "shop"})).await;
    assert_eq!(list["status"], "ok", "{list}");
    let columns: Vec<&str> = list["result"]["columns"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Ready", "Status", "Restarts", "Age"], "{list}");
    assert_eq!((names(&list).len(), list["result"]["row_count"].as_u64()), (3, Some(3)), "{list}");
    assert_eq!((requests.len(), requests[0].path.as_str()), (1, "/api/v1/namespaces/shop/pods"));
    assert!(requests[0].headers["accept"].starts_with("application/json;as=Table"), "{:?}", requests[0].headers);
    // A page at a time, and one name of each.
    let (page, _) = call("k8s_list", json!({"kind": "pods", "namespace": "shop", "limit": 2, "output": "name"})).await;
    assert_eq!((page["result"]["truncated"].as_bool(), page["result"]["remaining"].as_u64()), (Some(true), Some(1)), "{page}");
    let next = page["result"]["continue"].as_str().unwrap();
    let (rest, _) = call("k8s_list", json!({"kind": "pods", "namespace": "shop", "limit": 2, "output": "name", "continue": next})).await;
    assert_eq!((rest["result"]["row_count"].as_u64(), rest["result"]["truncated"].as_bool()), (Some(1), Some(false)), "{rest}");
    cluster.compact();
    let (gone, _) = call("k8s_list", json!({"kind": "pods", "namespace": "shop", "limit": 2, "continue": next})).await;
    assert_eq!(code(&gone), "target.list_expired", "{gone}");
    let fields = json!({"kind": "pods", "namespace": "shop", "label_selector": "app=tools", "fields": ["metadata.name", "spec.containers[0].image", "spec.containers[0].env"]});
    let (picked, requests) = call("k8s_list", fields).await;
    assert_eq!(picked["result"]["rows"][0][0], "tools", "{picked}");
    assert_eq!(picked["result"]["rows"][0][1], "busybox:1.36", "{picked}");
    assert!(requests[0].query.contains("labelSelector=app%3Dtools"), "{requests:?}");
    let (got, _) = call("k8s_get", json!({"kind": "Deployment", "name": "web", "namespace": "shop"})).await;
    assert_eq!(got["result"]["object"]["spec"]["replicas"], 2, "{got}");
    assert!(!got.to_string().contains("managedFields") && !got.to_string().contains("last-applied"), "{got}");
    let (part, _) = call("k8s_get", json!({"kind": "Deployment", "name": "web", "namespace": "shop", "fields": ["spec.replicas"]})).await;
    assert_eq!(part["result"]["object"]["spec"], json!({"replicas": 2}), "{part}");
    let pod_name = names(&list).into_iter().find(|name| name.starts_with("web-")).unwrap();
    let (described, requests) = call("k8s_describe", json!({"kind": "Pod", "name": pod_name, "namespace": "shop"})).await;
    let owners: Vec<&str> = described["result"]["owners"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(owners, ["ReplicaSet", "Deployment"], "{described}");
    assert!(described["result"]["conditions"].is_array() && described["result"]["events"].is_array(), "{described}");
    assert!(requests.iter().any(|one| one.path.ends_with("/events")), "{requests:?}");
    let (kinds, _) = call("k8s_api_resources", json!({"group": "apps", "verbs": ["list", "patch"]})).await;
    assert!(kinds["result"]["rows"].as_array().unwrap().iter().any(|row| row[1] == "Deployment" && row[3] == "deploy"), "{kinds}");
    let (explained, _) = call("k8s_explain", json!({"kind": "deploy", "field": "spec.replicas"})).await;
    assert_eq!(explained["result"]["type"], "integer", "{explained}");
    let (explained, _) = call("k8s_explain", json!({"kind": "Pod", "field": "spec.containers", "recursive": true})).await;
    assert!(explained["result"]["fields"].as_array().unwrap().iter().any(|field| field["name"] == "image"), "{explained}");
    let (unknown, _) = call("k8s_explain", json!({"kind": "Pod", "field": "spec.containerz"})).await;
    assert!(code(&unknown) == "operation.invalid_name" && unknown.to_string().contains("containers"), "{unknown}");
    for (resource, verb, namespace, allowed) in
        [("pods", "delete", Some("shop"), true), ("pods/exec", "create", Some("shop"), true), ("secrets", "get", None, false)]
    {
        let (can, _) = call("k8s_can_i", json!({"verb": verb, "resource": resource, "namespace": namespace.unwrap_or("other")})).await;
        assert_eq!(can["result"]["allowed"], allowed, "{resource}: {can}");
    }
    // What the human may not, the agent may not; the server's own words say so.
    let (refused, _) = call("k8s_list", json!({"kind": "pods"})).await;
    assert_eq!(code(&refused), "target.refused");
    assert!(refused.to_string().contains("User \\\"alice\\\" cannot list resource \\\"pods\\\""), "{refused}");
    let (missing, _) = call("k8s_get", json!({"kind": "Pod", "name": "no-such", "namespace": "shop"})).await;
    assert_eq!(code(&missing), "target.not_found", "{missing}");
    let listed = agent.call("list_targets", json!({})).await;
    assert!(
        listed["result"]["targets"].as_array().unwrap().iter().any(|one| one["kind"] == "k8s" && one["allows"] == json!(["read", "write"])),
        "{listed}"
    );
    let leaves = world.approver().trail("&kind=call.completed&tool=k8s_get").await;
    assert_eq!((&leaves[0]["leaf"]["target"]["kind"], &leaves[0]["leaf"]["cred"]["form"]), (&json!("kubernetes"), &json!("impersonation")));
    assert_eq!(leaves[0]["leaf"]["cred"]["ref"], "file:token", "{leaves:?}");
    world.verify();
}
