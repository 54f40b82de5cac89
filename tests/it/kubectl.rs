//! kubectl, which knows nothing of us, works on the stand-in for the API server: what it finds right there, the broker's tests may rely on.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::harness::kube::Cluster;
use crate::kube::{cluster, deployment, pod};

struct Kubectl {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Kubectl {
    fn new(cluster: &Cluster, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, cluster.kubeconfig(token, Some("shop"))).unwrap();
        Self { folder, config }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parts/venv/bin/kubectl");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/bin:/bin")
            .env("KUBECONFIG", &self.config)
            .kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Whether it succeeded, and what it wrote.
    async fn run(&self, arguments: &[&str], stdin: &str) -> (bool, String) {
        let mut child = self.command(arguments).spawn().unwrap_or_else(|error| panic!("kubectl, which tests/run installs: {error}"));
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    }

    async fn ok(&self, arguments: &[&str], says: &str) -> String {
        self.ok_with(arguments, "", says).await
    }

    async fn ok_with(&self, arguments: &[&str], stdin: &str, says: &str) -> String {
        let (success, text) = self.run(arguments, stdin).await;
        assert!(success && text.contains(says), "kubectl {arguments:?} ({success}): {text}");
        text
    }

    async fn no(&self, arguments: &[&str], says: &str) {
        let (success, text) = self.run(arguments, "").await;
        assert!(!success && text.contains(says), "kubectl {arguments:?} ({success}): {text}");
    }

    fn file(&self, name: &str, object: &Value) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, object.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn discovery_reads_and_rights() {
    let cluster = cluster().await;
    cluster.put(deployment("web", 2, "nginx:1"));
    cluster.put(pod("tools"));
    cluster.crd("example.com", "v1", "Widget", "widgets", true, &["wd"]);
    let admin = Kubectl::new(&cluster, &cluster.admin_token());
    admin.ok(&["api-resources", "--api-group=apps"], "deployments").await;
    admin.ok(&["api-resources"], "widgets").await;
    admin.ok(&["explain", "deployment.spec.replicas"], "Number of desired pods").await;
    admin.ok(&["explain", "pod.spec.containers", "--recursive"], "containerPort").await;
    admin.ok(&["get", "deploy", "web"], "2/2").await;
    admin.ok(&["get", "pods", "-A", "--chunk-size=1"], "tools").await;
    admin.ok(&["get", "pods", "-l", "app=web", "--field-selector", "status.phase=Running", "-o", "name"], "pod/web-").await;
    admin.ok(&["describe", "pod", "tools"], "Containers:").await;
    let object: Value = serde_json::from_str(&admin.ok(&["get", "pod", "tools", "-o", "json"], "").await).unwrap();
    assert_eq!(object["spec"]["containers"][0]["image"], "busybox:1.36");
    admin.no(&["get", "pod", "none"], "pods \"none\" not found").await;
    // The account may be alice, and nothing by itself.
    let broker = Kubectl::new(&cluster, &cluster.token());
    broker.no(&["get", "pods"], "User \"countersign\" cannot list resource \"pods\"").await;
    broker.ok(&["get", "pods", "--as", "alice", "--as-group", "support"], "tools").await;
    broker.no(&["get", "nodes", "--as", "alice"], "User \"alice\" cannot list resource \"nodes\"").await;
    broker.ok(&["get", "nodes", "--as", "alice", "--as-group", "support"], "node-1").await;
    broker.ok(&["auth", "can-i", "delete", "pods", "--as", "alice"], "yes").await;
    broker.no(&["auth", "can-i", "list", "secrets", "-n", "default", "--as", "alice"], "no").await;
    let nobody = Kubectl::new(&cluster, &cluster.account("mallory", &["system:authenticated"]));
    nobody.no(&["get", "pods", "--as", "alice"], "Forbidden").await;
    Kubectl::new(&cluster, "no-such-token").no(&["get", "pods"], "").await;
}

#[tokio::test]
async fn changes_and_conflicts() {
    let cluster = cluster().await;
    let kubectl = Kubectl::new(&cluster, &cluster.admin_token());
    let (one, two) =
        (kubectl.file("one.json", &deployment("web", 2, "nginx:1")), kubectl.file("two.json", &deployment("web", 3, "nginx:2")));
    kubectl.ok(&["apply", "--server-side", "--dry-run=server", "-f", &one], "serverside-applied (server dry run)").await;
    kubectl.no(&["get", "deploy", "web"], "not found").await;
    kubectl.ok(&["apply", "--server-side", "-f", &one], "serverside-applied").await;
    kubectl.ok(&["diff", "--server-side", "-f", &one], "").await;
    let (same, difference) = kubectl.run(&["diff", "--server-side", "-f", &two], "").await;
    assert!(!same && difference.contains("nginx:2"), "{difference}");
    kubectl.no(&["apply", "--server-side", "--field-manager=other", "-f", &two], "conflict").await;
    kubectl.ok(&["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", &two], "serverside-applied").await;
    kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=10s"], "successfully rolled out").await;
    kubectl.ok(&["rollout", "history", "deploy/web"], "2").await;
    kubectl.ok(&["rollout", "undo", "deploy/web"], "rolled back").await;
    kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"], "nginx:1").await;
    kubectl.ok(&["rollout", "restart", "deploy/web"], "restarted").await;
    kubectl.ok(&["rollout", "pause", "deploy/web"], "paused").await;
    kubectl.ok(&["rollout", "resume", "deploy/web"], "resumed").await;
    kubectl.ok(&["scale", "deploy/web", "--replicas=1"], "scaled").await;
    kubectl.ok(&["get", "deploy", "web"], "1/1").await;
    for (kind, patch) in [
        ("strategic", json!({"metadata": {"labels": {"a": "b"}}})),
        ("merge", json!({"metadata": {"labels": {"a": null}}})),
        ("json", json!([{"op": "add", "path": "/metadata/labels/c", "value": "d"}])),
    ] {
        kubectl.ok(&["patch", "deploy", "web", "--type", kind, "-p", &patch.to_string()], "patched").await;
    }
    kubectl.ok(&["delete", "deploy", "web", "--dry-run=server"], "(server dry run)").await;
    kubectl.ok(&["get", "deploy", "web"], "1/1").await;
    kubectl.ok(&["cordon", "node-1"], "cordoned").await;
    kubectl.ok(&["drain", "node-1", "--timeout=10s"], "drained").await;
    kubectl.ok(&["uncordon", "node-1"], "uncordoned").await;
    kubectl.ok(&["delete", "deploy", "web"], "deleted").await;
    kubectl.no(&["get", "deploy", "web"], "not found").await;
}

#[tokio::test]
async fn programs_and_logs() {
    let cluster = cluster().await;
    cluster.put(pod("tools"));
    let now = chrono::DateTime::<chrono::Utc>::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    cluster.log("shop", "tools", "main", &[(now, "first"), (now, "second")]);
    let kubectl = Kubectl::new(&cluster, &cluster.admin_token());
    kubectl.ok(&["logs", "tools", "--tail=1"], "second").await;
    kubectl.ok_with(&["exec", "-i", "tools", "--", "cat"], "typed", "typed").await;
    let (success, text) = kubectl.run(&["exec", "tools", "--", "sh", "-c", "echo out; echo err >&2; exit 3"], "").await;
    assert!(!success && text.contains("out") && text.contains("err") && text.contains("exit code 3"), "{text}");
    let mut follows = kubectl.command(&["logs", "-f", "tools"]).spawn().unwrap();
    let mut heard = follows.stdout.take().unwrap();
    let mut buffer = [0_u8; 256];
    let read = heard.read(&mut buffer).await.unwrap();
    assert!(String::from_utf8_lossy(&buffer[..read]).contains("first"));
    cluster.log("shop", "tools", "main", &[(now, "fresh")]);
    let mut text = String::new();
    while !text.contains("fresh") {
        let read = heard.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    follows.kill().await.unwrap();
}
