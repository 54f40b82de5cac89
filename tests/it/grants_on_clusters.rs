//! A grant on a cluster reaches what it names and nothing beside it (attack 92): no other object, no other namespace, no other kind, no other verb, no
//! other agent; and what was shown still binds the first call.

use serde_json::{Value, json};

use crate::harness::kube::Cluster;
use crate::harness::{Agent, Wish, World, code};
use crate::kube::{POLICIES, agent, asked, cluster, deployment, world_of};

fn replicas(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    cluster.object("apps/v1", "Deployment", Some(namespace), name).unwrap_or_default()["spec"]["replicas"].clone()
}

fn scale(namespace: &str, name: &str, replicas: u32) -> Value {
    json!({"target": "prod", "kind": "Deployment", "name": name, "namespace": namespace, "replicas": replicas})
}

/// A cluster with two deployments in `shop` and one in `shop-prod`, before a broker whose policies allow grants.
async fn granting() -> (Cluster, World, tempfile::TempDir, Agent) {
    let cluster = cluster().await;
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop-prod"}}));
    for (namespace, name) in [("shop", "web"), ("shop", "web-admin"), ("shop-prod", "web")] {
        let mut object = deployment(name, 1, "nginx:1");
        object["metadata"]["namespace"] = json!(namespace);
        cluster.put(object);
    }
    let policies = POLICIES.replace("@quorum(\"1\")", "@grant(\"30m, 5 calls\")");
    let (world, folder) = world_of(&cluster, Wish { policies, hold: std::time::Duration::ZERO, ..Wish::default() }).await;
    let agent = agent(&world);
    (cluster, world, folder, agent)
}

/// What a grant to scale `web` in `shop` must not reach.
async fn reaches_nothing_else(cluster: &Cluster, world: &World, agent: &Agent) {
    let web = json!({"target": "prod", "kind": "Deployment", "name": "web", "namespace": "shop"});
    let with = |more: Value| {
        let mut arguments = web.clone();
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let merged = json!({"patch_type": "merge", "patch": {"spec": {"replicas": 9}}});
    for (tool, arguments) in [
        ("k8s_scale", scale("shop", "web-admin", 9)),
        ("k8s_scale", scale("shop-prod", "web", 9)),
        ("k8s_scale", json!({"target": "prod", "kind": "ReplicaSet", "name": "web", "namespace": "shop", "replicas": 9})),
        ("k8s_patch", with(merged)),
        ("k8s_delete", web.clone()),
    ] {
        let answer = agent.call(tool, arguments.clone()).await;
        assert_ne!(answer["status"], "ok", "{tool} {arguments}: {answer}");
    }
    // Another agent of the same human has none of it.
    let other = world.agent_of("alice", "other-agent", &["support"], "mcp:read mcp:write mcp:admin");
    assert_ne!(other.call("k8s_scale", scale("shop", "web", 9)).await["status"], "ok");
    assert_eq!((replicas(cluster, "shop", "web-admin"), replicas(cluster, "shop-prod", "web")), (json!(1), json!(1)));
    assert_ne!(replicas(cluster, "shop", "web"), json!(9));
}

#[tokio::test]
async fn access_to_one_object_reaches_no_other() {
    let (cluster, world, _folder, agent) = granting().await;
    // Its name as requests show it.
    let (id, shown) = asked(&world, &agent, "k8s_scale", &scale("shop", "web", 2)).await;
    let on = shown["may_grant"]["on"][0].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned();
    assert_eq!(world.approver().decide(&id, json!({"decision": "deny", "reason": "ask for access"})).await.0, 200);
    let access =
        json!({"target": "prod", "tools": ["k8s_scale"], "on": [on], "risk": "write", "minutes": 10, "calls": 5, "reason": "load test"});
    let answer = agent.call("request_access", access).await;
    let id = answer["result"]["approval_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    assert_eq!(world.approver().decide(&id, json!({"decision": "approve"})).await.1["state"], "granted");
    for count in [3, 5, 4] {
        let done = agent.call("k8s_scale", scale("shop", "web", count)).await;
        assert_eq!((&done["status"], &done["approval"]["id"]), (&json!("ok"), &json!(id)), "{done}");
        assert_eq!(replicas(&cluster, "shop", "web"), json!(count));
    }
    // What was denied as such stays denied.
    assert_eq!(code(&agent.call("k8s_scale", scale("shop", "web", 2)).await), "approval.denied");
    reaches_nothing_else(&cluster, &world, &agent).await;
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!(shown["calls_used"], 3, "{shown}");
    // Taken back, it reaches nothing.
    let revoked = crate::ssh_hosts::post(&world, &format!("/approvals/{id}/revoke"), json!({"reason": "done"})).await;
    assert_eq!(revoked.0, 200, "{revoked:?}");
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert!(shown["shown"].to_string().contains("taken back") && !shown["shown"].to_string().contains("denied"), "{shown}");
    assert_ne!(agent.call("k8s_scale", scale("shop", "web", 1)).await["status"], "ok");
    assert_eq!(replicas(&cluster, "shop", "web"), json!(4));
    world.verify();
}

#[tokio::test]
async fn a_grant_given_at_the_decision_binds_the_call_that_was_shown_and_reaches_calls_like_it() {
    let (cluster, world, _folder, agent) = granting().await;
    let (id, shown) = asked(&world, &agent, "k8s_scale", &scale("shop", "web", 2)).await;
    let (status, decided) = world.approver().decide(&id, json!({"decision": "approve", "scope": shown["may_grant"]})).await;
    assert_eq!((status, &decided["state"]), (200, &json!("granted")), "{decided}");
    // Of this very call somebody was shown what it changes: since then it is another change.
    let mut moved = cluster.object("apps/v1", "Deployment", Some("shop"), "web").unwrap();
    moved["spec"]["replicas"] = json!(7);
    moved.as_object_mut().unwrap().remove("status");
    cluster.put(moved);
    let refused = agent.call("k8s_scale", scale("shop", "web", 2)).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    assert_eq!(replicas(&cluster, "shop", "web"), json!(7));
    let done = agent.call("k8s_scale", scale("shop", "web", 3)).await;
    assert_eq!((&done["status"], &done["approval"]["id"]), (&json!("ok"), &json!(id)), "{done}");
    assert_eq!(replicas(&cluster, "shop", "web"), json!(3));
    reaches_nothing_else(&cluster, &world, &agent).await;
    // No more calls than it has.
    for count in [4, 5, 6, 8] {
        agent.call("k8s_scale", scale("shop", "web", count)).await;
    }
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!((&shown["calls_used"], replicas(&cluster, "shop", "web")), (&json!(5), json!(6)), "{shown}");
    world.verify();
}
