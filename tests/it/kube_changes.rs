//! Changes of a cluster: shown to an approver by the server's own dry run, held to what was shown, made once, and in the human's name.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::kube::{Cluster, Fault, FaultKind};
use crate::harness::{Wish, code};
use crate::kube::{POLICIES, agent, approved, asked, cluster, deployment, heard, pod, world, world_of};

fn stored(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let version = if kind == "Deployment" { "apps/v1" } else { "v1" };
    let namespace = (kind != "Node").then_some("shop");
    cluster.object(version, kind, namespace, name).unwrap_or_default()
}

/// Somebody else changes a deployment.
fn moved(cluster: &Cluster, name: &str, note: &str) {
    let mut object = stored(cluster, "Deployment", name);
    object["metadata"]["annotations"]["example.com/other"] = json!(note);
    // Its controller tells the rest.
    object.as_object_mut().unwrap().remove("status");
    cluster.put(object);
}

fn manifest(replicas: u32, image: &str) -> String {
    let mut object = deployment("web", replicas, image);
    object["metadata"]["annotations"] = json!({"example.com/note": "by hand"});
    object.to_string()
}

#[tokio::test]
async fn applied_as_it_was_shown() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let apply = |manifest: String| json!({"target": "prod", "manifest": manifest});
    // A dry run is a read: nobody is asked, nothing is made.
    let mut dry = apply(manifest(2, "nginx:1"));
    dry["dry_run"] = json!("server");
    let shown = agent.call("k8s_apply", dry).await;
    assert_eq!(shown["result"]["objects"][0]["action"], "created", "{shown}");
    assert_eq!(stored(&cluster, "Deployment", "web"), Value::Null);
    cluster.clear_requests();
    let (shown, made) = approved(&world, &agent, "k8s_apply", apply(manifest(2, "nginx:1"))).await;
    assert_eq!(made["result"]["objects"][0]["action"], "created", "{made}");
    assert_eq!(shown["preview"]["objects"][0]["action"], "created", "{shown}");
    assert_eq!(shown["operation"]["apply"][0]["spec"]["replicas"], 2, "{shown}");
    let patches: Vec<_> = heard(&cluster, &made).into_iter().filter(|one| one.method == "PATCH").collect();
    assert_eq!((patches.len(), &patches[0].body), (1, &serde_json::from_str::<Value>(&manifest(2, "nginx:1")).unwrap()), "byte for byte");
    assert!(patches[0].query.contains("fieldManager=countersign") && !patches[0].query.contains("dryRun"), "{patches:?}");
    // A change is shown field by field, and is good for the version that was shown.
    let (id, shown) = asked(&world, &agent, "k8s_apply", &apply(manifest(3, "nginx:2"))).await;
    let changes = shown["preview"]["objects"][0]["changes"].as_array().unwrap();
    assert!(changes.contains(&json!({"path": "/spec/replicas", "before": 2, "after": 3})), "{shown}");
    assert!(changes.iter().any(|one| one["path"] == "/spec/template/spec/containers/[main]/image" && one["after"] == "nginx:2"), "{shown}");
    moved(&cluster, "web", "somebody else");
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    let refused = agent.call("k8s_apply", apply(manifest(3, "nginx:2"))).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    assert_eq!(stored(&cluster, "Deployment", "web")["spec"]["replicas"], 2);
    // Asked anew, it is shown as it is now.
    let (_, made) = approved(&world, &agent, "k8s_apply", apply(manifest(3, "nginx:2"))).await;
    assert_eq!(made["result"]["objects"][0]["action"], "changed", "{made}");
    assert_eq!(stored(&cluster, "Deployment", "web")["spec"]["replicas"], 3);
    let guarded = heard(&cluster, &made).into_iter().find(|one| one.method == "PATCH").unwrap();
    assert!(guarded.body["metadata"]["resourceVersion"].is_string(), "the server itself holds to it: {guarded:?}");
    // Fields of others: the conflict is told by field, and taken only when that is said.
    let mut scaled = stored(&cluster, "Deployment", "web");
    scaled["spec"]["replicas"] = json!(7);
    scaled["metadata"]["managedFields"] = json!([{"manager": "hpa", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    cluster.put(scaled);
    let mut other = apply(manifest(4, "nginx:2"));
    other["field_manager"] = json!("countersign-another");
    let conflict = agent.call("k8s_apply", other.clone()).await;
    assert_eq!(code(&conflict), "approval.preview_failed", "{conflict}");
    assert!(conflict.to_string().contains(".spec.replicas") && conflict.to_string().contains("conflict with"), "{conflict}");
    other["force_conflicts"] = json!(true);
    let (_, made) = approved(&world, &agent, "k8s_apply", other).await;
    assert_eq!((&made["status"], &stored(&cluster, "Deployment", "web")["spec"]["replicas"]), (&json!("ok"), &json!(4)), "{made}");
    // A field that is none is refused by the server before anybody is asked.
    let wrong = manifest(1, "nginx:2").replace("\"replicas\"", "\"replicaz\"");
    let refused = agent.call("k8s_apply", apply(wrong)).await;
    assert!(code(&refused) == "approval.preview_failed" && refused.to_string().contains("replicaz"), "{refused}");
    world.verify();
}

#[tokio::test]
async fn what_was_not_there_must_still_not_be() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let two = format!(
        "{}\n---\n{}",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"x": "1"}}),
        manifest(1, "nginx:1")
    );
    let arguments = json!({"target": "prod", "manifest": two});
    let (id, _) = asked(&world, &agent, "k8s_apply", &arguments).await;
    cluster.put(deployment("web", 9, "other:1"));
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    let refused = agent.call("k8s_apply", arguments.clone()).await;
    assert_eq!(code(&refused), "approval.changed_since_preview", "{refused}");
    // None of them is begun unless all are as they were.
    assert_eq!(stored(&cluster, "ConfigMap", "a"), Value::Null);
    assert_eq!(stored(&cluster, "Deployment", "web")["spec"]["replicas"], 9);
    // The second fails at the server: what was done before it is said.
    let mut forced = arguments;
    forced["force_conflicts"] = json!(true);
    let (id, _) = asked(&world, &agent, "k8s_apply", &forced).await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    cluster.fault(Fault { method: Some("PATCH"), path_contains: "deployments".into(), times: 1, what: FaultKind::Status(500, None) });
    let failed = agent.call("k8s_apply", forced).await;
    assert!(code(&failed) == "target.failed" && failed.to_string().contains("done before it: ConfigMap shop/a"), "{failed}");
    world.verify();
}

#[tokio::test]
async fn patched_scaled_and_rolled() {
    let cluster = cluster().await;
    cluster.put(deployment("web", 2, "nginx:1"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let web = |more: Value| {
        let mut arguments = json!({"target": "prod", "kind": "Deployment", "name": "web", "namespace": "shop"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    for (patch_type, patch) in [
        ("merge", json!({"metadata": {"labels": {"tier": "merge"}}})),
        ("strategic", json!({"metadata": {"labels": {"tier": "strategic"}}})),
        ("json", json!([{"op": "replace", "path": "/metadata/labels/tier", "value": "json"}])),
    ] {
        let (shown, done) = approved(&world, &agent, "k8s_patch", web(json!({"patch_type": patch_type, "patch": patch}))).await;
        assert_eq!(
            (&done["status"], &stored(&cluster, "Deployment", "web")["metadata"]["labels"]["tier"]),
            (&json!("ok"), &json!(patch_type)),
            "{done}"
        );
        assert!(shown["preview"]["objects"][0]["changes"].to_string().contains("/metadata/labels/tier"), "{shown}");
        // The same patch, and the object moves before it is made.
        let again = web(json!({"patch_type": patch_type, "patch": patch, "timeout_ms": 20_000}));
        let (id, _) = asked(&world, &agent, "k8s_patch", &again).await;
        moved(&cluster, "web", patch_type);
        world.approver().decide(&id, json!({"decision": "approve"})).await;
        assert_eq!(code(&agent.call("k8s_patch", again).await), "approval.changed_since_preview");
    }
    let (shown, scaled) = approved(&world, &agent, "k8s_scale", web(json!({"replicas": 4}))).await;
    assert_eq!(scaled["status"], "ok", "{scaled}");
    assert!(shown["preview"]["objects"][0]["changes"].to_string().contains(r#""path":"/spec/replicas","before":2,"after":4"#), "{shown}");
    assert_eq!(stored(&cluster, "Deployment", "web")["status"]["readyReplicas"], 4);
    let (shown, stopped) = approved(&world, &agent, "k8s_scale", web(json!({"replicas": 0}))).await;
    assert_eq!((&shown["risk"], &stopped["status"]), (&json!("destructive"), &json!("ok")), "{shown}");
    approved(&world, &agent, "k8s_scale", web(json!({"replicas": 2, "timeout_ms": 9_000}))).await;
    // Roll-outs.
    let rollout = |action: &str| web(json!({"action": action}));
    let manifest = json!({"target": "prod", "manifest": deployment("web", 2, "nginx:2").to_string(), "force_conflicts": true});
    approved(&world, &agent, "k8s_apply", manifest).await;
    let history = agent.call("k8s_rollout", rollout("history")).await;
    let images: Vec<&Value> = history["result"]["rows"].as_array().unwrap().iter().map(|row| &row[2]).collect();
    assert_eq!(images, [&json!("nginx:1"), &json!("nginx:2")], "{history}");
    let (_, undone) = approved(&world, &agent, "k8s_rollout", rollout("undo")).await;
    let image = |cluster: &Cluster| stored(cluster, "Deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!((&undone["status"], image(&cluster)), (&json!("ok"), json!("nginx:1")), "{undone}");
    let restarts = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    let (_, restarted) = approved(&world, &agent, "k8s_rollout", rollout("restart")).await;
    assert!(restarted["status"] == "ok" && stored(&cluster, "Deployment", "web").pointer(restarts).is_some(), "{restarted}");
    approved(&world, &agent, "k8s_rollout", rollout("pause")).await;
    assert_eq!(stored(&cluster, "Deployment", "web")["spec"]["paused"], true);
    approved(&world, &agent, "k8s_rollout", rollout("resume")).await;
    let status = agent.call("k8s_rollout", rollout("status")).await;
    assert_eq!(status["result"]["complete"], true, "{status}");
    let waited = agent.call("k8s_wait", web(json!({"for": "rollout"}))).await;
    assert_eq!(waited["result"]["met"], true, "{waited}");
    let waited = agent.call("k8s_wait", web(json!({"for": "Available=False", "timeout_ms": 1_200}))).await;
    assert_eq!((&waited["status"], &waited["result"]["met"]), (&json!("ok"), &json!(false)), "{waited}");
    world.verify();
}

#[tokio::test]
async fn deleted_and_no_others() {
    let cluster = cluster().await;
    for name in ["a", "b", "c"] {
        let mut one = pod(name);
        one["metadata"]["labels"]["group"] = json!("old");
        cluster.put(one);
    }
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let delete = |more: Value| {
        let mut arguments = json!({"target": "prod", "kind": "Pod", "namespace": "shop"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let dry = agent.call("k8s_delete", delete(json!({"name": "a", "dry_run": "server"}))).await;
    assert_eq!((&dry["result"]["count"], stored(&cluster, "Pod", "a").is_null()), (&json!(1), false), "{dry}");
    let other = agent.call("k8s_delete", delete(json!({"name": "a", "uid": "0000", "dry_run": "server"}))).await;
    assert_eq!(code(&other), "target.conflict", "{other}");
    cluster.clear_requests();
    let (shown, gone) =
        approved(&world, &agent, "k8s_delete", delete(json!({"name": "a", "grace_period_seconds": 0, "propagation": "background"}))).await;
    assert_eq!((&gone["status"], stored(&cluster, "Pod", "a").is_null()), (&json!("ok"), true), "{gone}");
    assert_eq!(shown["preview"]["would_delete"][0]["object"]["name"], "a", "{shown}");
    let sent = heard(&cluster, &gone).into_iter().find(|one| one.method == "DELETE").unwrap();
    assert!(sent.body["preconditions"]["uid"].is_string() && sent.body["preconditions"]["resourceVersion"].is_string(), "{sent:?}");
    assert_eq!(sent.body["propagationPolicy"], "Background", "{sent:?}");
    // By labels: no more than may be, and exactly those that were shown.
    let capped = agent.call("k8s_delete", delete(json!({"label_selector": "group=old", "max_count": 1}))).await;
    assert_eq!(code(&capped), "approval.preview_failed", "{capped}");
    let old = delete(json!({"label_selector": "group=old", "grace_period_seconds": 0}));
    let (id, shown) = asked(&world, &agent, "k8s_delete", &old).await;
    assert_eq!(shown["preview"]["count"], 2, "{shown}");
    let mut late = pod("late");
    late["metadata"]["labels"]["group"] = json!("old");
    cluster.put(late);
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    let refused = agent.call("k8s_delete", old.clone()).await;
    assert!(code(&refused) == "approval.changed_since_preview" && refused.to_string().contains("late"), "{refused}");
    let (_, gone) = approved(&world, &agent, "k8s_delete", old).await;
    assert_eq!(gone["result"]["deleted"].as_array().map(Vec::len), Some(3), "{gone}");
    let waited = agent.call("k8s_wait", json!({"target": "prod", "kind": "Pod", "namespace": "shop", "name": "a", "for": "deleted"})).await;
    assert_eq!(waited["result"]["met"], true, "{waited}");
    world.verify();
}

#[tokio::test]
async fn programs_pods_and_nodes() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let tools = |more: Value| {
        let mut arguments = json!({"target": "prod", "name": "tools", "namespace": "shop"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let script = "echo out; echo err >&2; cat; exit 3";
    cluster.clear_requests();
    let (shown, ran) = approved(&world, &agent, "k8s_exec", tools(json!({"command": ["sh", "-c", script], "stdin": "typed"}))).await;
    assert_eq!(shown["operation"]["exec"], json!(["sh", "-c", script]), "{shown}");
    assert_eq!((&shown["risk"], &ran["result"]["exit_code"]), (&json!("admin"), &json!(3)), "{ran}");
    assert_eq!((&ran["result"]["stdout"], &ran["result"]["stderr"]), (&json!("out\ntyped"), &json!("err\n")), "{ran}");
    assert_eq!(heard(&cluster, &ran).iter().filter(|one| one.path.ends_with("/exec")).count(), 1);
    // One argument stays one, whatever is in it.
    let odd = json!(["printf", "%s|", "a b", "$(id)", "; rm -rf /", "--flag", "*", "ä\n\"'"]);
    let (_, ran) = approved(&world, &agent, "k8s_exec", tools(json!({"command": odd}))).await;
    assert_eq!(ran["result"]["stdout"], "a b|$(id)|; rm -rf /|--flag|*|ä\n\"'|", "{ran}");
    let (_, cut) = approved(&world, &agent, "k8s_exec", tools(json!({"command": ["yes"], "max_output_bytes": 2_000}))).await;
    assert_eq!((&cut["result"]["truncated"], &cut["result"]["stopped_confirmed"]), (&json!(true), &json!(false)), "{cut}");
    assert_eq!(cut["result"]["stdout"].as_str().map(str::len), Some(2_000));
    let (_, late) = approved(&world, &agent, "k8s_exec", tools(json!({"command": ["sleep", "60"], "timeout_ms": 300}))).await;
    assert!(code(&late) == "target.timeout" && late.to_string().contains("streams were closed"), "{late}");
    let (_, binary) = approved(&world, &agent, "k8s_exec", tools(json!({"command": ["head", "-c", "64", "/dev/zero"]}))).await;
    assert!(binary["result"]["stdout"].as_str().unwrap().contains("64 bytes that are no text"), "{binary}");
    for _ in 0..50 {
        if cluster.processes() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.processes(), 0);
    let (_, made) = approved(
        &world,
        &agent,
        "k8s_run",
        json!({"target": "prod", "name": "once", "namespace": "shop", "image": "busybox:1.36", "command": ["date"]}),
    )
    .await;
    let once = stored(&cluster, "Pod", "once");
    assert_eq!((&made["status"], &once["spec"]["automountServiceAccountToken"]), (&json!("ok"), &json!(false)), "{made}");
    assert_eq!(once["spec"]["restartPolicy"], "Never");
    let refused = agent.call("k8s_debug", tools(json!({"image": "evil:latest"}))).await;
    assert_eq!(code(&refused), "operation.image_not_allowed", "{refused}");
    let (_, debugged) = approved(&world, &agent, "k8s_debug", tools(json!({"image": "busybox:1.36", "command": ["top"]}))).await;
    assert_eq!(stored(&cluster, "Pod", "tools")["spec"]["ephemeralContainers"][0]["name"], "debugger", "{debugged}");
    world.verify();
}

#[tokio::test]
async fn a_node_is_emptied_by_evictions() {
    let cluster = cluster().await;
    for verb in ["list", "create", "get"] {
        cluster.grant(
            crate::harness::kube::Subject::User("alice".into()),
            crate::harness::kube::Rule {
                verbs: vec![verb.into()],
                groups: vec![String::new()],
                resources: vec!["pods".into(), "pods/eviction".into()],
                namespace: None,
                names: vec![],
            },
        );
    }
    cluster.put(deployment("web", 2, "nginx:1"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let node = |more: Value| {
        let mut arguments = json!({"target": "prod", "name": "node-1"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    approved(&world, &agent, "k8s_node", node(json!({"op": "cordon"}))).await;
    assert_eq!(stored(&cluster, "Node", "node-1")["spec"]["unschedulable"], true);
    approved(&world, &agent, "k8s_node", node(json!({"op": "uncordon"}))).await;
    assert!(stored(&cluster, "Node", "node-1")["spec"]["unschedulable"].is_null());
    cluster.put(pod("alone"));
    let refused = agent.call("k8s_node", node(json!({"op": "drain"}))).await;
    assert!(code(&refused) == "approval.preview_failed" && refused.to_string().contains("alone has no controller"), "{refused}");
    cluster.remove("v1", "Pod", Some("shop"), "alone");
    let drain = node(json!({"op": "drain", "grace_period_seconds": 0}));
    let (shown, drained) = approved(&world, &agent, "k8s_node", drain).await;
    assert_eq!(shown["preview"]["would_evict"].as_array().map(Vec::len), Some(2), "{shown}");
    assert_eq!(drained["result"]["evicted"].as_array().map(Vec::len), Some(2), "{drained}");
    world.verify();
}

#[tokio::test]
async fn logs_are_bounded_while_they_come() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    cluster.put(deployment("web", 2, "nginx:1"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let now = world.clock.now();
    cluster.log("shop", "tools", "main", &[(now, "one error"), (now, "two"), (now, "password=hunter2hunter2")]);
    cluster.previous_log("shop", "tools", "main", &[(now, "before the restart")]);
    let logs = async |more: Value| {
        let mut arguments = json!({"target": "prod", "namespace": "shop"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        agent.call("k8s_logs", arguments).await
    };
    let read = logs(json!({"name": "tools"})).await;
    assert!(read["result"]["text"].as_str().unwrap().starts_with("one error\ntwo\n"), "{read}");
    assert_eq!(logs(json!({"name": "tools", "previous": true})).await["result"]["text"], "before the restart\n");
    assert_eq!(logs(json!({"name": "tools", "contains": "error"})).await["result"]["text"], "one error\n");
    assert_eq!(logs(json!({"name": "tools", "tail": 2, "contains": "one"})).await["result"]["text"], "");
    let both = logs(json!({"workload": {"kind": "Deployment", "name": "web"}})).await;
    assert_eq!(both["result"]["logs"].as_array().map(Vec::len), Some(2), "{both}");
    // Attack 42: a log without an end costs no more than its limit, and whoever asks for 2^62 bytes is refused.
    cluster.endless_log("shop", "tools", "main");
    let endless = logs(json!({"name": "tools", "limit_bytes": 5_000})).await;
    assert_eq!(
        (endless["result"]["truncated"].as_bool(), endless["result"]["text"].as_str().map(str::len)),
        (Some(true), Some(5_000)),
        "{endless}"
    );
    let searched = logs(json!({"name": "tools", "contains": "no such text anywhere"})).await;
    assert_eq!((&searched["result"]["text"], &searched["result"]["truncated"]), (&json!(""), &json!(true)), "{searched}");
    for (name, value) in [("limit_bytes", json!(1_u64 << 62)), ("tail", json!(1_u64 << 62)), ("tail", json!(-1))] {
        assert_eq!(code(&logs(json!({"name": "tools", name: value})).await), "request.invalid_arguments", "{name}");
    }
    world.verify();
}

#[tokio::test]
async fn a_cluster_that_does_not_do_its_part() {
    let cluster = cluster().await;
    cluster.put(deployment("web", 2, "nginx:1"));
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let list = async || agent.call("k8s_list", json!({"target": "prod", "kind": "Pod", "namespace": "shop"})).await;
    assert_eq!(list().await["status"], "ok");
    let fault = |method: &'static str, path: &str, times: usize, what: FaultKind| {
        cluster.fault(Fault { method: Some(method), path_contains: path.to_owned(), times, what });
    };
    // Reads are tried again, as often as the server lets them; changes are not.
    for what in [
        FaultKind::Status(429, Some(1)),
        FaultKind::Status(500, Some(0)),
        FaultKind::Status(503, Some(0)),
        FaultKind::Cut,
        FaultKind::CutBefore,
    ] {
        fault("GET", "/pods", 1, what.clone());
        let answer = list().await;
        assert_eq!(answer["status"], "ok", "{what:?}: {answer}");
    }
    fault("GET", "/pods", 3, FaultKind::Status(429, Some(0)));
    assert_eq!(code(&list().await), "target.busy");
    let scale = |replicas: u32| json!({"target": "prod", "kind": "Deployment", "name": "web", "namespace": "shop", "replicas": replicas});
    let (id, _) = asked(&world, &agent, "k8s_scale", &scale(5)).await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    fault("PATCH", "/scale", 1, FaultKind::Cut);
    cluster.clear_requests();
    let unknown = agent.call("k8s_scale", scale(5)).await;
    assert_eq!(code(&unknown), "target.unresolved", "{unknown}");
    assert_eq!(cluster.requests().iter().filter(|one| one.method == "PATCH").count(), 1, "a change is sent once");
    // A change that is slow is waited for beyond the call's own time; what cannot be known is said.
    let slow = {
        let mut arguments = scale(6);
        arguments["timeout_ms"] = json!(500);
        arguments
    };
    let (id, _) = asked(&world, &agent, "k8s_scale", &slow).await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    fault("PATCH", "/scale", 1, FaultKind::Slow(Duration::from_millis(1_500)));
    let late = agent.call("k8s_scale", slow).await;
    assert_eq!((&late["status"], &stored(&cluster, "Deployment", "web")["spec"]["replicas"]), (&json!("ok"), &json!(6)), "{late}");
    fault("GET", "/pods", 1, FaultKind::Slow(Duration::from_secs(5)));
    let slow = agent.call("k8s_list", json!({"target": "prod", "kind": "Pod", "namespace": "shop", "timeout_ms": 300})).await;
    assert_eq!(code(&slow), "target.timeout", "{slow}");
    // One that keeps failing is left alone for a while.
    fault("GET", "/pods", 1_000, FaultKind::CutBefore);
    for _ in 0..2 {
        assert_eq!(code(&list().await), "target.unreachable");
    }
    cluster.clear_requests();
    let spared = list().await;
    assert!(code(&spared) == "target.unreachable" && spared.to_string().contains("asked again in"), "{spared}");
    assert_eq!(cluster.requests().len(), 0, "nobody asked");
    world.verify();
}

#[tokio::test]
async fn custom_kinds_and_what_is_not_installed() {
    let cluster = cluster().await;
    let (world, _folder) = world(&cluster).await;
    let agent = agent(&world);
    let top = json!({"target": "prod", "scope": "nodes"});
    let missing = agent.call("k8s_top", top.clone()).await;
    assert_eq!(code(&missing), "target.not_installed", "{missing}");
    // What is new is found: discovery is asked anew when something is missed, a while later.
    cluster.install_metrics();
    cluster.put(json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "metadata": {"name": "node-1"}, "timestamp": "2026-01-01T00:00:00Z", "window": "10s", "usage": {"cpu": "250m", "memory": "512Mi"}}));
    cluster.crd("example.com", "v1", "Widget", "widgets", true, &["wd"]);
    cluster.crd("other.example.com", "v2", "Widget", "widgets", true, &[]);
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    let used = agent.call("k8s_top", top).await;
    assert_eq!(used["result"]["rows"][0], json!(["node-1", 250.0, 512.0]), "{used}");
    for kind in ["Widget", "widgets", "wd"] {
        let open = agent.call("k8s_list", json!({"target": "prod", "kind": kind, "namespace": "shop"})).await;
        assert!(code(&open) == "operation.unknown_kind" && open.to_string().contains("`example.com/v1`, kind `Widget`"), "{open}");
        assert_eq!(open.to_string().contains("other.example.com/v2"), kind != "wd", "{open}");
    }
    let nothing = agent.call("k8s_list", json!({"target": "prod", "kind": "Gadget", "namespace": "shop"})).await;
    assert!(code(&nothing) == "operation.unknown_kind" && nothing.to_string().contains("nothing like it"), "{nothing}");
    let widget =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}, "spec": {"size": 1}});
    let (shown, made) = approved(&world, &agent, "k8s_apply", json!({"target": "prod", "manifest": widget.to_string()})).await;
    assert_eq!((&shown["risk"], &made["status"]), (&json!("admin"), &json!("ok")), "what nobody here knows is of the highest risk: {made}");
    let got = agent
        .call("k8s_get", json!({"target": "prod", "api_version": "example.com/v1", "kind": "Widget", "name": "w", "namespace": "shop"}))
        .await;
    assert_eq!(got["result"]["object"]["spec"]["size"], 1, "{got}");
    let listed =
        agent.call("k8s_list", json!({"target": "prod", "api_version": "example.com/v1", "kind": "Widget", "namespace": "shop"})).await;
    assert_eq!(listed["result"]["rows"][0][0], "w", "{listed}");
    let nowhere = agent.call("k8s_get", json!({"target": "prod", "api_version": "example.com/v1", "kind": "Widget", "name": "w"})).await;
    assert_eq!(code(&nowhere), "operation.invalid_name", "{nowhere}");
    world.verify();
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_a_record() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let wish = Wish { policies: POLICIES.to_owned(), hold: Duration::ZERO, ..Wish::default() };
    let (world, _folder) = world_of(&cluster, wish).await;
    let agent = agent(&world);
    let arguments = json!({"target": "prod", "name": "tools", "namespace": "shop", "command": ["sleep", "60"]});
    let (id, _) = asked(&world, &agent, "k8s_exec", &arguments).await;
    world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert!(tokio::time::timeout(Duration::from_millis(700), agent.call("k8s_exec", arguments)).await.is_err());
    let mut cancelled = Vec::new();
    for _ in 0..80 {
        cancelled = world.approver().trail("&status=cancelled").await;
        if !cancelled.is_empty() && cluster.processes() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((cancelled.len(), cluster.processes()), (1, 0), "{cancelled:?}");
    assert_eq!(cancelled[0]["leaf"]["res"]["stopped"], "unconfirmed", "{cancelled:?}");
    world.verify();
}
