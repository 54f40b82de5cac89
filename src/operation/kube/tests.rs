//! Names, manifests and risks: what must be refused, what must be seen, and what each kind of change is worth.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn refused(result: Result<impl fmt::Debug, Refusal>) -> Code {
    result.map_err(|refusal| refusal.code()).unwrap_err()
}

#[test]
fn names_are_checked_before_any_address() {
    let long = "a".repeat(64);
    let longer = "a.".repeat(150);
    for bad in [
        "",
        "--server=https://evil",
        "-o",
        "-Ashttps://evil",
        "../../secrets/x",
        "%2e%2e%2f",
        "..",
        ".",
        "a..b",
        "x/log?follow=true",
        "x#y",
        "x y",
        "pod; id",
        "$(id)",
        "a\nb",
        "a\0",
        "Web",
        "a_b",
        "ä",
        "web-",
        "a\u{200b}",
        longer.as_str(),
    ] {
        assert_eq!(refused(name::object("name", bad, &Group::core())), Code::InvalidName, "{bad:?}");
        assert!(name::label("namespace", bad).is_err(), "{bad:?}");
    }
    assert!(name::label("namespace", &long).is_err() && name::label("namespace", "a.b").is_err());
    for good in ["web", "web-1", "a.b-c.d", "1"] {
        assert_eq!(name::object("name", good, &Group::core()).unwrap(), good);
    }
    let rbac = name::group("rbac.authorization.k8s.io").unwrap();
    assert!(name::object("name", "system:node", &rbac).is_ok() && name::object("name", "system:node", &Group::core()).is_err());
    for bad in ["system:../x", "-system", "a/b", "a%2fb"] {
        assert!(name::object("name", bad, &rbac).is_err() || !bad.contains(['/', '%']) && !bad.starts_with('-'), "{bad}");
    }
    for bad in ["v1/../secrets", "/v1", "apps/", "apps/v1/x", "--v1", "apps/V1", "a pps/v1"] {
        assert!(name::api_version(bad).is_err(), "{bad}");
    }
    for bad in ["", "-o", "Secret,ConfigMap", "secrets/x", "pods?watch=1", "Pod ", "pod;id", "deployments.Apps", "1Pod"] {
        assert!(Type::resolve(None, bad).is_err(), "{bad}");
    }
    for bad in ["a=b&watch=1", "a=b\n", "", "a=b#", "${x}", "a=`id`"] {
        assert!(name::selector("label_selector", bad).is_err(), "{bad:?}");
    }
    for (text, path) in [
        ("metadata.name", Some(vec!["metadata", "name"])),
        (".spec.containers[0].image", Some(vec!["spec", "containers", "0", "image"])),
        ("metadata.labels['app.kubernetes.io/name']", Some(vec!["metadata", "labels", "app.kubernetes.io/name"])),
        ("a..b", None),
        ("a[", None),
        ("a['b", None),
        ("a[x]", None),
        ("", None),
        ("a.", None),
    ] {
        let found = name::field(text).ok();
        assert_eq!(found, path.map(|path| path.into_iter().map(ToOwned::to_owned).collect()), "{text}");
    }
}

#[test]
fn a_kind_is_definite_or_a_question() {
    let resolve = |api_version: Option<&str>, kind: &str| match Type::resolve(api_version, kind).unwrap() {
        Resolved::Definite(found) => format!("{found} {:?} {:?}", found.version, found.namespaced),
        Resolved::Open(name) => format!("? {name}"),
    };
    for (api_version, kind, found) in [
        (None, "po", "Pod None Some(true)"),
        (None, "SECRETS", "Secret None Some(true)"),
        (Some("v1"), "secret", "Secret Some(\"v1\") Some(true)"),
        (None, "deployments.apps", "apps/Deployment None Some(true)"),
        (Some("apps/v1"), "deploy", "apps/Deployment Some(\"v1\") Some(true)"),
        (None, "event", "Event None Some(true)"),
        (Some("events.k8s.io/v1"), "Event", "events.k8s.io/Event Some(\"v1\") Some(true)"),
        (Some("example.com/v1"), "Widget", "example.com/Widget Some(\"v1\") None"),
        // A kind of a group that is not the known one's is another kind.
        (Some("example.com/v1"), "Secret", "example.com/Secret Some(\"v1\") None"),
        (Some("example.com/v1"), "widgets", "? widgets"),
        (None, "Widget", "? Widget"),
        (None, "widgets.example.com", "? widgets.example.com"),
    ] {
        assert_eq!(resolve(api_version, kind), found, "{api_version:?} {kind}");
    }
}

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 2\n";

#[test]
fn a_manifest_is_all_that_it_seems() {
    let two = format!("{DEPLOYMENT}---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: other\n---\n");
    let found = manifest::parse(&two, None).unwrap();
    assert_eq!(found.iter().map(|one| one.object.to_string()).collect::<Vec<_>>(), ["apps/Deployment shop/web", "Namespace other"]);
    assert_eq!(found[0].body["spec"]["replicas"], 2);
    let filled = manifest::parse("apiVersion: v1\nkind: Pod\nmetadata: {name: a}", Some("shop")).unwrap();
    assert_eq!(filled[0].body["metadata"]["namespace"], "shop");
    // What YAML 1.1 takes for a truth is a text here, and the text is what goes to the server.
    let yes = manifest::parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: {x: yes, y: no}", None).unwrap();
    assert_eq!(yes[0].body["data"], json!({"x": "yes", "y": "no"}));
    let with = |from: &str, to: &str| DEPLOYMENT.replace(from, to);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let many: String = (0..30).map(|n| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a{n}, namespace: b}}\n")).collect();
    for (text, says) in [
        (String::new(), "no object"),
        ("just text".into(), "no mapping"),
        ("[1, 2]".into(), "no mapping"),
        (format!("{DEPLOYMENT}  replicas: 3\n"), "doubled keys"),
        (format!("{DEPLOYMENT}kind: Secret\n"), "doubled keys"),
        (r#"{"apiVersion": "v1", "kind": "Pod", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}"#.into(), "doubled keys"),
        (format!("{DEPLOYMENT}Kind: Secret\n"), "spelled as the API does not"),
        (format!("{DEPLOYMENT}APIVERSION: v1\n"), "spelled as the API does not"),
        (format!("{bomb}{DEPLOYMENT}"), "anchors"),
        (with("replicas: 2", "base: &x {a: 1}\n  <<: *x"), "anchors"),
        (with("replicas: 2", "replicas: !evil 2"), "tags"),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n".into(), "a document of its own"),
        (with("kind: Deployment", "kind: DeploymentList\nitems: []"), "a document of its own"),
        (with("kind: Deployment", "kind: deployment"), "spells it"),
        (with("kind: Deployment", "kind: [Deployment]"), "must be a text"),
        (with("name: web, ", "generateName: web-, "), "generateName"),
        (with("name: web, ", ""), "`name` is missing"),
        (with("name: web", "name: ../../x"), "DNS-1123"),
        (with("name: web", "name: --server=https://evil"), "DNS-1123"),
        (with(", namespace: shop", ""), "`namespace` is missing"),
        (with("apiVersion: apps/v1\n", ""), "`apiVersion` is missing"),
        (with("metadata: {name: web, namespace: shop}", "metadata: web"), "`metadata`"),
        (with("namespace: shop", "namespace: shop, managedFields: [{manager: x}]"), "managedFields"),
        (with("replicas: 2", "replicas: 2\u{7}"), "control character"),
        (format!("{DEPLOYMENT}---\n{DEPLOYMENT}"), "twice"),
        (format!("{DEPLOYMENT}---\n{}", with("apps/v1", "apps/v1beta1")), "twice"),
        (many, "20 are the most"),
        (format!("{}{}", "[".repeat(200), "]".repeat(200)), ""),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: b}".into(), "in none"),
    ] {
        let refusal = manifest::parse(&text, None).map_err(|refusal| refusal.message()).unwrap_err();
        assert!(refusal.contains(says), "{text:.300}: {refusal}");
    }
    assert!(manifest::parse(DEPLOYMENT, Some("other")).unwrap_err().message().contains("`shop`, and `namespace` is `other`"));
}

fn of(api_version: &str, kind: &str, namespace: Option<&str>) -> Object {
    let Resolved::Definite(kind) = Type::resolve(Some(api_version), kind).unwrap() else { panic!("{kind}") };
    Object { kind, namespace: namespace.map(ToOwned::to_owned), name: Some("x".to_owned()) }
}

#[test]
fn what_a_change_is_worth() {
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "shop"}, "spec": spec});
    let container = |context: Value| pod(json!({"containers": [{"name": "a", "image": "b", "securityContext": context}]}));
    let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    for (api_version, kind, namespace, content, risk) in [
        ("v1", "Pod", Some("shop"), pod(json!({"containers": [{"name": "a", "image": "b"}]})), Risk::Write),
        ("v1", "Pod", Some("shop"), container(json!({"privileged": false, "allowPrivilegeEscalation": false})), Risk::Write),
        ("v1", "Pod", Some("shop"), container(json!({"privileged": true})), Risk::Admin),
        ("v1", "Pod", Some("shop"), container(json!({"Privileged": true})), Risk::Admin),
        ("v1", "Pod", Some("shop"), container(json!({"capabilities": {"add": ["SYS_ADMIN"]}})), Risk::Admin),
        ("v1", "Pod", Some("shop"), container(json!({"capabilities": {"drop": ["ALL"]}})), Risk::Write),
        ("v1", "Pod", Some("shop"), container(json!({"procMount": "Unmasked"})), Risk::Admin),
        ("v1", "Pod", Some("shop"), container(json!({"seccompProfile": {"type": "Unconfined"}})), Risk::Admin),
        ("v1", "Pod", Some("shop"), container(json!({"runAsUser": 0})), Risk::Destructive),
        ("v1", "Pod", Some("shop"), pod(json!({"hostNetwork": true})), Risk::Admin),
        ("v1", "Pod", Some("shop"), pod(json!({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]})), Risk::Admin),
        ("v1", "Pod", Some("shop"), pod(json!({"serviceAccountName": "admin"})), Risk::Destructive),
        ("v1", "Pod", Some("shop"), pod(json!({"serviceAccountName": "default"})), Risk::Write),
        ("v1", "Pod", Some("shop"), pod(json!({"ephemeralContainers": [{"name": "a"}]})), Risk::Admin),
        ("v1", "Pod", Some("kube-system"), pod(json!({})), Risk::Admin),
        ("apps/v1", "Deployment", Some("shop"), template(json!({"hostPID": true})), Risk::Admin),
        ("batch/v1", "CronJob", Some("shop"), json!({"spec": {"jobTemplate": template(json!({"hostIPC": true}))}}), Risk::Admin),
        ("apps/v1", "Deployment", Some("shop"), json!([{"op": "replace", "path": "/spec/replicas", "value": 2}]), Risk::Write),
        (
            "apps/v1",
            "Deployment",
            Some("shop"),
            json!([{"op": "add", "path": "/spec/template/spec/hostNetwork", "value": true}]),
            Risk::Admin,
        ),
        (
            "apps/v1",
            "Deployment",
            Some("shop"),
            json!([{"op": "add", "path": "/spec/template/spec/containers/0/securityContext", "value": {"privileged": true}}]),
            Risk::Admin,
        ),
        (
            "apps/v1",
            "Deployment",
            Some("shop"),
            json!([{"op": "add", "path": "/spec/template/spec/containers/0/securityContext/capabilities/add/-", "value": "SYS_PTRACE"}]),
            Risk::Admin,
        ),
        ("apps/v1", "Deployment", Some("shop"), json!([{"op": "copy", "from": "/a", "path": "/b"}]), Risk::Admin),
        ("v1", "ConfigMap", Some("shop"), json!({"data": {"a": "b"}}), Risk::Write),
        ("v1", "Secret", Some("shop"), json!({"data": {"a": "b"}}), Risk::Destructive),
        ("v1", "Secret", Some("shop"), json!({"type": "kubernetes.io/service-account-token"}), Risk::Admin),
        ("v1", "ServiceAccount", Some("shop"), json!({}), Risk::Destructive),
        ("v1", "Service", Some("shop"), json!({"spec": {"type": "ClusterIP"}}), Risk::Write),
        ("v1", "Service", Some("shop"), json!({"spec": {"type": "LoadBalancer"}}), Risk::Destructive),
        ("v1", "Service", Some("shop"), json!({"spec": {"externalIPs": ["10.0.0.1"]}}), Risk::Admin),
        ("v1", "Namespace", None, json!({}), Risk::Write),
        ("v1", "Namespace", None, json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}), Risk::Admin),
        ("v1", "Node", None, json!({}), Risk::Admin),
        ("v1", "PersistentVolume", None, json!({}), Risk::Admin),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", Some("shop"), json!({}), Risk::Admin),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", None, json!({}), Risk::Admin),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", None, json!({}), Risk::Admin),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, json!({}), Risk::Admin),
        ("networking.k8s.io/v1", "NetworkPolicy", Some("shop"), json!({}), Risk::Destructive),
        (
            "networking.k8s.io/v1",
            "Ingress",
            Some("shop"),
            json!({"metadata": {"annotations": {"nginx.ingress.kubernetes.io/server-snippet": "x"}}}),
            Risk::Admin,
        ),
        // Nobody here knows what a controller makes of it.
        ("example.com/v1", "Widget", Some("shop"), json!({}), Risk::Admin),
        ("example.com/v1", "Secret", Some("shop"), json!({}), Risk::Admin),
    ] {
        let object = of(api_version, kind, namespace);
        assert_eq!(risk::write(&object, &content).risk, risk, "{object}: {content}");
    }
    for (api_version, kind, namespace, risk) in [
        ("v1", "Pod", Some("shop"), Risk::Destructive),
        ("v1", "Pod", Some("kube-system"), Risk::Admin),
        ("v1", "Namespace", None, Risk::Admin),
        ("v1", "Node", None, Risk::Admin),
        ("v1", "PersistentVolumeClaim", Some("shop"), Risk::Destructive),
        ("rbac.authorization.k8s.io/v1", "Role", Some("shop"), Risk::Admin),
        ("example.com/v1", "Widget", Some("shop"), Risk::Admin),
    ] {
        assert_eq!(risk::delete(&of(api_version, kind, namespace)).risk, risk, "{kind}");
    }
    let deployment = of("apps/v1", "Deployment", Some("shop"));
    assert_eq!((risk::scale(&deployment, 3).risk, risk::scale(&deployment, 0).risk), (Risk::Write, Risk::Destructive));
    assert_eq!((risk::read(&of("v1", "Secret", Some("a")).kind), risk::read(&of("v1", "Pod", Some("a")).kind)), (Risk::Write, Risk::Read));
}

/// Leaving something out is a change as well.
#[test]
fn what_is_left_out_is_judged() {
    let web = of("apps/v1", "Deployment", Some("shop"));
    for (patch, expected) in [
        (json!({"spec": {"replicas": 2}}), Risk::Write),
        (json!({"spec": {"replicas": null}}), Risk::Destructive),
        (json!({"spec": null}), Risk::Destructive),
        (json!({}), Risk::Destructive),
        (json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]), Risk::Write),
        (json!([{"op": "remove", "path": "/spec/replicas"}]), Risk::Destructive),
        (json!([{"op": "replace", "path": "/spec", "value": {}}]), Risk::Destructive),
    ] {
        assert_eq!(risk::scaling(&web, &patch).risk, expected, "{patch}");
    }
    let space = of("v1", "Namespace", None);
    let label =
        |level: Option<&str>| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}, "finalizers": ["a", "b"]}});
    let fenced = label(Some("restricted"));
    assert_eq!(risk::taken(&space, &fenced, &fenced).risk, Risk::Read);
    assert_eq!(risk::taken(&space, &fenced, &label(Some("privileged"))).risk, Risk::Admin);
    assert_eq!(risk::taken(&space, &fenced, &json!({"metadata": {"finalizers": ["a", "b"]}})).risk, Risk::Admin);
    assert_eq!(risk::taken(&web, &fenced, &json!({"metadata": {"labels": {}, "finalizers": ["a"]}})).risk, Risk::Destructive);
    let pod = |context: Value| json!({"spec": {"containers": [{"name": "x"}, {"name": "main", "securityContext": context}]}});
    let held = pod(json!({"runAsNonRoot": true}));
    assert_eq!(risk::taken(&web, &held, &pod(json!({}))).risk, Risk::Destructive);
    assert_eq!(risk::taken(&web, &held, &json!({"spec": {"containers": [{"name": "x"}]}})).risk, Risk::Read, "the container went with it");
    // A JSON Patch may put a whole reference in its place.
    let place = "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef";
    let patch = json!([{"op": "replace", "path": place, "value": {"name": "db-admin", "key": "password"}}]);
    assert!(risk::secrets(&patch).contains("db-admin"));
}

#[test]
fn all_namespaces_are_not_one_of_them() {
    let reach = |object: &Object| object.touch("list", "", Risk::Read).on.to_string();
    let pods = |namespace: Option<&str>| Object { kind: Type::pod(), namespace: namespace.map(ToOwned::to_owned), name: None };
    assert_eq!(reach(&pods(Some("shop"))), "Pod shop/*");
    assert_eq!(reach(&pods(None)), "Pod */*");
    assert_eq!(reach(&of("v1", "Node", None)), "Node x");
    let widgets = Object { name: None, ..of("example.com/v1", "Widget", None) };
    assert_eq!(reach(&widgets), "example.com/Widget */*");
}

#[test]
fn an_approver_reads_no_secret() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {password: hunter2}\ndata: {key: aHVudGVyMg==}\n";
    let apply = |manifests| Kube::Apply(Apply { manifests, field_manager: "x".to_owned(), force: false, dry_run: false });
    let shown = apply(manifest::parse(secret, None).unwrap()).show().to_string();
    assert!(
        shown.contains("password") && shown.contains("risk_because") && !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"),
        "{shown}"
    );
    for (patch_type, body) in [
        (PatchType::Merge, json!({"stringData": {"password": "hunter2"}})),
        (PatchType::Json, json!([{"op": "add", "path": "/stringData/password", "value": "hunter2"}])),
    ] {
        let patch = Patch { object: of("v1", "Secret", Some("shop")), patch_type, body, subresource: Subresource::None, dry_run: false };
        let shown = Kube::Patch(patch).show().to_string();
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_name_leaves_its_place_in_an_address(text in "\\PC{0,40}") {
        for found in [name::object("name", &text, &Group::core()), name::label("namespace", &text)].into_iter().flatten() {
            prop_assert!(found.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'));
            prop_assert!(!found.contains("..") && !found.starts_with(['-', '.']));
        }
    }

    #[test]
    fn a_manifest_is_read_or_refused(text in "(apiVersion|kind|metadata|name|v1|Pod|[ \n:{}\\[\\]&*!|>\"'#,-]|---\n|[a-z0-9])*{0,30}") {
        let _either_way = manifest::parse(&text, Some("a"));
    }

    /// Whatever carries it, a privileged container is seen.
    #[test]
    fn a_privileged_pod_cannot_hide(names in prop::collection::vec("[a-z]{1,8}", 0..12), in_lists in prop::collection::vec(any::<bool>(), 12)) {
        let mut content = json!({"privileged": true});
        for (name, in_list) in names.iter().zip(in_lists) {
            content = if in_list { json!({ name.as_str(): [content] }) } else { json!({ name.as_str(): content }) };
        }
        prop_assert_eq!(risk::write(&of("apps/v1", "Deployment", Some("shop")), &content).risk, Risk::Admin);
    }
}
