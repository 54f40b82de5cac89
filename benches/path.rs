//! What the path of a call costs: the same query through the broker (HTTP, identity, policy, two durable leaves, masks) and on the plain driver,
//! on PostgreSQL by sqlx and on SQLite by rusqlite; and where the time of one call goes.
//!
//! Figures are ratios to the reference of the same run: absolute times say more about the machine than about the code. Client, broker and
//! PostgreSQL share the machine's cores, and nothing is turned off: each call waits for two fsyncs.

#![expect(unreachable_pub, reason = "the cluster is a module of the tests")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "a benchmark prints, and fails by panicking"
)]

#[expect(dead_code, reason = "tests use more of it")]
#[path = "../tests/it/harness/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::Cluster;
use countersign::broker::Broker;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, Row};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const QUERY: &str = "SELECT id, status, total_cents FROM orders WHERE customer_id = 7";
const FOR: Duration = Duration::from_secs(4);
const SEED: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, status TEXT NOT NULL, total_cents INTEGER NOT NULL);
    INSERT INTO orders SELECT n, n % 400, 'paid', n * 7 FROM generate_series(1, 3000) AS n;
    CREATE INDEX orders_by_customer ON orders (customer_id);
    CREATE ROLE alice LOGIN PASSWORD 'alice-secret';
    GRANT SELECT ON orders TO alice;";

/// One line: how many a second, the middle of the times, and what that is of the reference.
fn report(name: &str, mut times: Vec<Duration>, took: Duration, reference: Option<f64>) -> f64 {
    times.sort();
    let p50 = times[times.len() / 2];
    let rate = times.len() as f64 / took.as_secs_f64();
    let share = reference.map_or_else(String::new, |reference| format!("{:>7.3} of the reference", rate / reference));
    println!("{name:<46} {rate:>8.0} calls/s   p50 {:>7.0} us {share}", p50.as_secs_f64() * 1e6);
    rate
}

fn rusqlite_alone(path: &Path) -> f64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < FOR / 2 {
        let at = Instant::now();
        let mut statement = connection.prepare_cached(QUERY).unwrap();
        let rows: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(!rows.is_empty());
        times.push(at.elapsed());
    }
    report("sqlite: plain rusqlite", times, began.elapsed(), None)
}

/// A pool, statements prepared once, the rows read.
async fn sqlx_alone(cluster: &Cluster, connections: usize) -> f64 {
    let options =
        PgConnectOptions::new().host("127.0.0.1").port(cluster.port).username("alice").password("alice-secret").database("postgres");
    let pool = PgPoolOptions::new().max_connections(u32::try_from(connections).unwrap()).connect_with(options).await.unwrap();
    let began = Instant::now();
    let workers = (0..connections).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < FOR {
                let at = Instant::now();
                let rows = sqlx::query(QUERY).fetch_all(&pool).await.unwrap();
                assert!(rows[0].get::<i32, _>(0) > 0);
                times.push(at.elapsed());
            }
            times
        })
    });
    let times = futures::future::join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    report(&format!("postgres: plain sqlx, {connections} connections"), times, began.elapsed(), None)
}

/// One fdatasync of 4 KiB: a call waits for two.
fn sync(dir: &Path) {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::create(dir.join("sync")).unwrap();
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < FOR / 4 {
        let at = Instant::now();
        file.rewind().unwrap();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(at.elapsed());
    }
    report("one fdatasync of 4 KiB", times, began.elapsed(), None);
}

async fn through(base: &str, token: &str, connections: usize, tool: &str, arguments: Value) -> (Vec<Duration>, Duration) {
    let began = Instant::now();
    let workers = (0..connections).map(|_| {
        let (base, token, tool, arguments) = (base.to_owned(), token.to_owned(), tool.to_owned(), arguments.clone());
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            let mut times = Vec::new();
            while began.elapsed() < FOR {
                let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}});
                let at = Instant::now();
                let request = http.post(format!("{base}/mcp")).bearer_auth(&token).header("accept", "application/json, text/event-stream");
                let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", &tool);
                let answer: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
                assert_eq!(answer["result"]["structuredContent"]["status"], "ok", "{answer}");
                times.push(at.elapsed());
            }
            times
        })
    });
    let times = futures::future::join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    (times, began.elapsed())
}

/// The wall time of each stage: from a span's birth to its end.
#[derive(Clone, Default)]
struct Stages(Arc<Mutex<BTreeMap<&'static str, (Duration, u64)>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Stages {
    fn on_new_span(&self, _: &tracing::span::Attributes<'_>, id: &tracing::span::Id, context: Context<'_, S>) {
        context.span(id).unwrap().extensions_mut().insert(Instant::now());
    }

    fn on_close(&self, id: tracing::span::Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let took = span.extensions().get::<Instant>().unwrap().elapsed();
        let mut stages = self.0.lock().unwrap();
        let (total, count) = stages.entry(span.name()).or_default();
        *total += took;
        *count += 1;
    }
}

/// The stages of the calls of one run, as shares of what the client waited.
fn shares(stages: &Stages, waited: &[Duration]) {
    let stages = std::mem::take(&mut *stages.0.lock().unwrap());
    let calls = waited.len() as f64;
    let whole = waited.iter().sum::<Duration>().as_secs_f64() / calls;
    let of = |name: &str| stages.get(name).map_or(0.0, |(total, _)| total.as_secs_f64() / calls);
    let line = |name: &str, seconds: f64| println!("    {name:<42} {:>8.0} us {:>6.1} %", seconds * 1e6, 100.0 * seconds / whole);
    line("identity (verify the token)", of("identity"));
    line("parse (schema, SQL, risk)", of("parse"));
    line("policy (Cedar)", of("policy"));
    line("intent (leaf signed and durable)", of("intent"));
    line("target (connection, query, rows)", of("target") - of("mask"));
    line("masks", of("mask"));
    line("outcome (leaf signed and durable)", of("outcome"));
    let inner: f64 = ["parse", "policy", "intent", "target", "outcome"].iter().map(|name| of(name)).sum();
    line("between the stages", of("path") - inner);
    line("HTTP, JSON-RPC and the client itself", whole - of("path") - of("identity"));
}

/// A broker on both targets, as `serve` would run it.
async fn broker(dir: &Path, cluster: &Cluster) -> (Broker, String, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let base = format!("http://{listen}");
    let issuer = DevelopmentIssuer::open(&dir.join("issuer"), &format!("{base}/issuer"), Clock::system()).unwrap();
    std::fs::create_dir(dir.join("policies")).unwrap();
    let policies = include_str!("../examples/quickstart/policies/quickstart.cedar").replace("resource in Target::\"shop\"", "resource");
    std::fs::write(dir.join("policies/bench.cedar"), policies).unwrap();
    std::fs::write(dir.join("alice.password"), "alice-secret").unwrap();
    let config = format!(
        "[server]\nlisten = \"{listen}\"\nrequests_per_minute = 0\n[store]\npath = \"data\"\n[ledger]\norigin = \"bench.invalid/log\"\n\
         [[issuer]]\nurl = \"{base}/issuer\"\njwks_file = \"issuer/issuer.jwks.json\"\nalgorithms = [\"EdDSA\"]\n\
         [policy]\npath = \"policies\"\nteams = [\"support\", \"approvers\"]\n\
         [[target]]\nname = \"shop\"\nengine = \"sqlite\"\nenvironment = \"bench\"\npath = \"shop.db\"\n\
         [[target]]\nname = \"pg\"\nengine = \"postgres\"\nenvironment = \"bench\"\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"postgres\"\ntls = false\nmax_concurrent = 16\n\
         [[target.login]]\nhuman = \"alice\"\nuser = \"alice\"\npassword = \"file:alice.password\"\n",
        cluster.port
    );
    std::fs::write(dir.join("countersign.toml"), config).unwrap();
    let config = Config::read(&dir.join("countersign.toml"), &Clock::system()).unwrap();
    let broker = Broker::start(config.settings, listener, Clock::system()).await.unwrap();
    let token = issuer.mint(&TokenRequest {
        subject: "alice".to_owned(),
        name: None,
        teams: vec!["support".to_owned()],
        audience: format!("{base}/mcp"),
        client: "bench".to_owned(),
        actor: Some("bench".to_owned()),
        scope: "mcp:read".to_owned(),
        lifetime: chrono::TimeDelta::hours(1),
    });
    (broker, base, token.expose_secret().to_owned())
}

#[tokio::main]
async fn main() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let stages = Stages::default();
    let only_ours = tracing_subscriber::filter::Targets::new().with_target("countersign", tracing::Level::DEBUG);
    let layered = tracing_subscriber::Layer::with_filter(stages.clone(), only_ours);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layered)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(dir.path().join("shop.db")).unwrap().execute_batch(include_str!("../examples/quickstart/shop.sql")).unwrap();
    let cluster = Cluster::start();
    cluster.admin().await.execute(SEED).await.unwrap();
    let (broker, base, token) = broker(dir.path(), &cluster).await;
    sync(dir.path());
    let sqlite = rusqlite_alone(&dir.path().join("shop.db"));
    for (target, connections) in [("pg", 1), ("pg", 16), ("shop", 1), ("shop", 16)] {
        let (engine, reference) = match target {
            "pg" => ("postgres", sqlx_alone(&cluster, connections).await),
            _ => ("sqlite", sqlite),
        };
        stages.0.lock().unwrap().clear();
        let (times, took) = through(&base, &token, connections, "db_query", json!({"target": target, "sql": QUERY})).await;
        report(&format!("{engine}: through the broker, {connections} connections"), times.clone(), took, Some(reference));
        if connections == 1 {
            shares(&stages, &times);
        }
    }
    for connections in [1, 16] {
        let (times, took) = through(&base, &token, connections, "whoami", json!({})).await;
        report(&format!("whoami (no target), {connections} connections"), times, took, None);
    }
    broker.stop().await.unwrap();
}
