//! What a list of 5,000 pods costs through the broker (HTTP, identity, policy, two durable leaves, masks) beside a plain `kube` client that reads the
//! same table from the same server; and how much memory it takes.
//!
//! The API server is a process of its own, so that its memory is not ours; it is the tests' stand-in, and it is the same for both. Figures are ratios
//! to the reference of the same run. Goals: 1.3 times the time, and a growth of less than 32 MB.

#![expect(unreachable_pub, reason = "the cluster is a module of the tests")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::allow_attributes,
    reason = "a benchmark prints, and fails by panicking"
)]

#[expect(dead_code, reason = "tests use more of it")]
#[path = "../tests/it/harness"]
mod harness {
    pub mod kube;
}

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countersign::broker::Broker;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use harness::kube::{Cluster, Rule, Subject};
use kube::api::{ApiResource, DynamicObject, ListParams};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

const PODS: usize = 5_000;
const ROUNDS: usize = 12;
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// The server, in this process: prints where it is and serves until its input ends.
async fn serve(folder: &Path) {
    let cluster = Cluster::start().await;
    let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let all = |verbs: &[&str], groups: &[&str], resources: &[&str]| Rule {
        verbs: words(verbs),
        groups: words(groups),
        resources: words(resources),
        namespace: None,
        names: Vec::new(),
    };
    let broker = || Subject::User("countersign".to_owned());
    cluster.grant(
        broker(),
        all(
            &["impersonate"],
            &["", "authentication.k8s.io"],
            &["users", "groups", "userextras/agent", "userextras/call", "userextras/delegation"],
        ),
    );
    cluster.grant(Subject::User("alice".to_owned()), all(&["*"], &["*"], &["*"]));
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    for number in 0..PODS {
        let name = format!("web-{number:05}");
        cluster.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web", "pod-template-hash": "5d9c7b8f6"}, "annotations": {"example.com/checksum": "0f3c5e6a7b8c9d0e1f2a3b4c5d6e7f80"}},
            "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "registry.example.com/web:1.2.3", "env": [{"name": "LOG_LEVEL", "value": "info"}]}]},
            "status": {"phase": "Running", "podIP": "10.1.2.3", "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "registry.example.com/web:1.2.3", "imageID": "", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]},
        }));
    }
    std::fs::write(folder.join("ca.pem"), cluster.ca_pem()).unwrap();
    std::fs::write(folder.join("token"), cluster.token()).unwrap();
    std::fs::write(folder.join("kubeconfig"), cluster.kubeconfig(&cluster.account("alice", &["system:authenticated"]), None)).unwrap();
    println!("{}", cluster.url());
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
}

/// A figure of this process in KiB, such as `VmHWM`.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Times of the rounds, and by how many MiB the process grew at most.
async fn measure<F: Future<Output = usize>>(name: &str, mut round: impl FnMut() -> F, reference: Option<Duration>) -> Duration {
    // The first makes connections and fills caches.
    assert_eq!(round().await, PODS, "{name}");
    let before = memory("VmRSS");
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let at = Instant::now();
        assert_eq!(round().await, PODS, "{name}");
        times.push(at.elapsed());
    }
    times.sort();
    let p50 = times[times.len() / 2];
    let grown = memory("VmHWM").saturating_sub(before) as f64 / 1024.0;
    let share =
        reference.map_or_else(String::new, |reference| format!("{:>6.3} times the reference", p50.as_secs_f64() / reference.as_secs_f64()));
    println!("{name:<44} p50 {:>8.1} ms   grew by {grown:>5.1} MiB   {share}", p50.as_secs_f64() * 1e3);
    p50
}

#[derive(Deserialize)]
struct Table {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    cells: Vec<Value>,
}

async fn broker(dir: &Path, url: &str) -> (Broker, String, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let base = format!("http://{listen}");
    let issuer = DevelopmentIssuer::open(&dir.join("issuer"), &format!("{base}/issuer"), Clock::system()).unwrap();
    let policies = "@id(\"read\") permit (principal, action == Action::\"invoke\", resource) when { context.risk == 1 };";
    std::fs::write(dir.join("bench.cedar"), policies).unwrap();
    let config = format!(
        "[server]\nlisten = \"{listen}\"\nrequests_per_minute = 0\n[store]\npath = \"data\"\n[ledger]\norigin = \"bench.invalid/log\"\n\
         [[issuer]]\nurl = \"{base}/issuer\"\njwks_file = \"issuer/issuer.jwks.json\"\nalgorithms = [\"EdDSA\"]\n\
         [policy]\npath = \"bench.cedar\"\n\
         [[target]]\nname = \"prod\"\nengine = \"kubernetes\"\nenvironment = \"bench\"\nurl = \"{url}\"\nca = \"ca.pem\"\ntoken = \"file:token\"\n"
    );
    std::fs::write(dir.join("countersign.toml"), config).unwrap();
    let config = Config::read(&dir.join("countersign.toml"), &Clock::system()).unwrap();
    let broker = Broker::start(config.settings, listener, Clock::system()).await.unwrap();
    let token = issuer.mint(&TokenRequest {
        subject: "alice".to_owned(),
        name: None,
        teams: Vec::new(),
        audience: format!("{base}/mcp"),
        client: "bench".to_owned(),
        actor: Some("bench".to_owned()),
        scope: "mcp:read".to_owned(),
        lifetime: chrono::TimeDelta::hours(1),
    });
    (broker, base, token.expose_secret().to_owned())
}

/// One call; how many rows came back, counted without keeping the answer.
async fn call(http: &reqwest::Client, base: &str, token: &str, arguments: &Value) -> usize {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "k8s_list", "arguments": arguments, "_meta": meta}});
    let request = http.post(format!("{base}/mcp")).bearer_auth(token).header("accept", "application/json, text/event-stream");
    let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", "k8s_list");
    let answer = request.json(&body).send().await.unwrap().text().await.unwrap();
    let (_, rows) = answer.split_once("\"row_count\":").unwrap_or_else(|| panic!("{:.500}", answer));
    rows.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[tokio::main]
async fn main() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, what, folder] = arguments.as_slice()
        && what == "serve-stand-in"
    {
        serve(Path::new(folder)).await;
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["serve-stand-in", dir.path().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(dir.path().join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let plain = || {
        let client = client.clone();
        async move {
            let request =
                http::Request::get(format!("/api/v1/namespaces/shop/pods?limit={PODS}&includeObject=None")).header("accept", TABLE);
            let table: Table = client.request(request.body(Vec::new()).unwrap()).await.unwrap();
            table.rows.iter().filter(|row| !row.cells.is_empty()).count()
        }
    };
    let whole = || {
        let api: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(client.clone(), "shop", &ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()));
        async move { api.list(&ListParams::default()).await.unwrap().items.len() }
    };
    let reference = measure("plain kube client, table", plain, None).await;
    measure("plain kube client, whole objects", whole, Some(reference)).await;
    let (broker, base, token) = broker(dir.path(), url.trim()).await;
    let http = reqwest::Client::new();
    for (name, more) in [
        ("k8s_list through the broker, table", json!({})),
        ("k8s_list through the broker, names", json!({"output": "name"})),
        ("k8s_list through the broker, three fields", json!({"fields": ["metadata.name", "status.phase", "spec.nodeName"]})),
    ] {
        let mut arguments =
            json!({"target": "prod", "kind": "Pod", "namespace": "shop", "limit": PODS, "max_bytes": 8 << 20, "timeout_ms": 60_000});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        measure(name, || call(&http, &base, &token, &arguments), Some(reference)).await;
    }
    broker.stop().await.unwrap();
    drop(server.stdin.take());
    server.wait().unwrap();
}
