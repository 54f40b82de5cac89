//! A broker for a test, and the actors around it: `Agent` calls tools over MCP, `Human` decides and reads at the inbox.

pub mod authority;
pub mod chrome;
pub mod cluster;
pub mod company;
pub mod hostile_ssh;
pub mod hostile_wicked;
pub mod kube;
pub mod mariadb;
pub mod openbao;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod receiver;
pub mod sshd;
pub mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use countersign::broker::{Broker, Settings, Target};
use countersign::clock::Clock;
use countersign::connector::{Endpoint, TargetSettings};
use countersign::credential::Access;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use countersign::identity::{self, Algorithm, IssuerSettings, KeySource};
use countersign::mask::{ColumnRule, Mode};
use countersign::policy::PolicyFile;
use countersign::{approval, catalog, config, registry, server, token_service};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A running broker with its folder, clock and issuer.
pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Clock,
    pub base: String,
    issuer: DevelopmentIssuer,
    broker: Option<Broker>,
    settings: Settings,
}

/// What a test wants different.
pub struct Wish {
    pub policies: String,
    pub targets: Vec<Target>,
    pub credentials: countersign::credential::Settings,
    pub hold: Duration,
    pub tools: Vec<(&'static str, String)>,
    pub concurrency: usize,
    pub timeout: Duration,
    pub registry: registry::Settings,
    pub token_service: token_service::Settings,
    pub issuers: Vec<IssuerSettings>,
    pub transport: server::Transport,
    pub notices: countersign::notice::Settings,
}

pub const POLICY: &str = include_str!("../../examples/quickstart/policies/quickstart.cedar");

impl Default for Wish {
    fn default() -> Self {
        Self {
            policies: POLICY.to_owned(),
            targets: Vec::new(),
            credentials: Default::default(),
            hold: Duration::from_millis(300),
            tools: Vec::new(),
            concurrency: 64,
            timeout: Duration::from_secs(60),
            registry: registry::Settings::default(),
            token_service: token_service::Settings::default(),
            issuers: Vec::new(),
            notices: Default::default(),
            // Loops may go as fast as they can; the limits have tests of their own.
            transport: server::Transport { requests_per_minute: 0, unauthenticated_per_minute: 0, ..Default::default() },
        }
    }
}

/// The shop as a SQLite target in a folder.
pub fn shop(dir: &Path) -> Target {
    let path = dir.join("shop.db");
    if !path.exists() {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(include_str!("../../examples/quickstart/shop.sql")).unwrap();
    }
    target("shop", Endpoint::Sqlite { path }, Access::File)
}

pub fn target(name: &str, endpoint: Endpoint, access: Access) -> Target {
    Target {
        settings: TargetSettings { name: name.to_owned(), endpoint, access, concurrency: 8, connect_timeout: Duration::from_secs(5) },
        environment: "demo".to_owned(),
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Wish::default()).await
    }

    pub async fn with(wish: Wish) -> Self {
        Self::with_targets(wish, |_| Vec::new()).await
    }

    /// Targets may need the issuer's URL, which is known only once a port is taken.
    pub async fn with_targets(wish: Wish, more: impl FnOnce(&str) -> Vec<Target>) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        let base = format!("http://{listen}");
        let url = format!("{base}/issuer");
        let issuer = DevelopmentIssuer::open(&dir.path().join("issuer"), &url, clock.clone()).unwrap();
        let (allowed_hosts, allowed_origins) = config::own_addresses(listen, &base);
        let mut approvals = approval::Settings::new(format!("{base}/approvals"));
        approvals.hold = wish.hold;
        approvals.hold_with_progress = wish.hold;
        let mut targets = vec![shop(dir.path())];
        targets.extend(wish.targets);
        targets.extend(more(&url));
        let settings = Settings {
            server: server::Settings {
                listen,
                public_url: base.clone(),
                allowed_hosts,
                allowed_origins,
                body_max: 1 << 20,
                concurrency: wish.concurrency,
                timeout: wish.timeout,
                grace: Duration::from_secs(5),
                transport: wish.transport,
            },
            data: dir.path().join("data"),
            origin: "test.invalid/log".to_owned(),
            identity: identity::Settings {
                resource: format!("{base}/mcp"),
                inbox_resource: format!("{base}/inbox"),
                public_url: base.clone(),
                issuers: vec![IssuerSettings {
                    human_clients: vec!["countersign-cli".to_owned()],
                    ..IssuerSettings::new(&url, KeySource::File(issuer.jwks_file().to_owned()), vec![Algorithm::EdDsa])
                }],
                skew: Duration::from_secs(5),
                bound_required: false,
            },
            targets,
            credentials: wish.credentials,
            tools: wish.tools.into_iter().map(|(path, text)| catalog::DeclaredFile { path: path.to_owned(), text }).collect(),
            bounds: catalog::Bounds::default(),
            policies: vec![PolicyFile { path: "test.cedar".to_owned(), text: wish.policies }],
            teams: Default::default(),
            masks: vec![ColumnRule {
                target: None,
                schema: None,
                table: "customers".to_owned(),
                column: "name".to_owned(),
                mode: Mode::Redact,
            }],
            approval: approvals,
            registry: wish.registry,
            humans: Default::default(),
            notices: wish.notices,
            token_service: wish.token_service,
        };
        let mut settings = settings;
        settings.identity.issuers.extend(wish.issuers);
        let broker = Broker::start(settings.clone(), listener, clock.clone()).await.unwrap();
        Self { dir, clock, base, issuer, broker: Some(broker), settings }
    }

    /// Stops the broker and starts another on the same data and address.
    pub async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    pub async fn restart_with(&mut self, change: impl FnOnce(&mut Settings)) {
        self.stop().await;
        change(&mut self.settings);
        let listener = TcpListener::bind(self.settings.server.listen).await.unwrap();
        self.broker = Some(Broker::start(self.settings.clone(), listener, self.clock.clone()).await.unwrap());
    }

    /// Why a broker does not start on this data, once it has stopped.
    pub async fn why_it_does_not_start(&self) -> Option<String> {
        let listener = TcpListener::bind(self.settings.server.listen).await.unwrap();
        Broker::start(self.settings.clone(), listener, self.clock.clone()).await.err().map(|error| error.to_string())
    }

    pub async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop().await.unwrap();
        }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn token(&self, subject: &str, teams: &[&str], door: &str, actor: Option<&str>, scope: &str) -> String {
        let request = TokenRequest {
            subject: subject.to_owned(),
            name: None,
            teams: teams.iter().map(|team| (*team).to_owned()).collect(),
            audience: format!("{}/{door}", self.base),
            client: "countersign-cli".to_owned(),
            actor: actor.map(ToOwned::to_owned),
            scope: scope.to_owned(),
            lifetime: TimeDelta::hours(1),
        };
        self.issuer.mint(&request).expose_secret().to_owned()
    }

    /// Alice's agent, who may read, and ask to write.
    pub fn agent(&self) -> Agent {
        self.agent_of("alice", "demo-agent", &["support"], "mcp:read mcp:write")
    }

    pub fn agent_of(&self, human: &str, agent: &str, teams: &[&str], scope: &str) -> Agent {
        Agent {
            base: self.base.clone(),
            token: self.token(human, teams, "mcp", Some(agent), scope),
            http: reqwest::Client::new(),
            headers: BTreeMap::new(),
        }
    }

    /// Bob, who approves and reviews.
    pub fn approver(&self) -> Human {
        self.human("bob", &["approvers"])
    }

    pub fn human(&self, subject: &str, teams: &[&str]) -> Human {
        Human { base: self.base.clone(), token: self.token(subject, teams, "inbox", None, ""), http: reqwest::Client::new() }
    }

    /// Everything that the ledger holds must hold.
    pub fn verify(&self) -> countersign::ledger::verify::Report {
        let report = countersign::ledger::verify::verify(&self.data(), &Default::default()).unwrap();
        assert!(report.ok, "{report:#?}");
        report
    }
}

/// An agent: calls tools, in the 2026-07-28 revision unless told otherwise.
#[derive(Clone)]
pub struct Agent {
    pub base: String,
    pub token: String,
    pub http: reqwest::Client,
    pub headers: BTreeMap<&'static str, String>,
}

/// A JSON-RPC body of the modern revision.
pub fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

impl Agent {
    pub fn request(&self, method: &str, name: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .post(format!("{}/mcp", self.base))
            .bearer_auth(&self.token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        for (header, value) in &self.headers {
            request = request.header(*header, value);
        }
        request
    }

    /// The whole answer of a call.
    pub async fn raw(&self, tool: &str, arguments: Value) -> reqwest::Response {
        let body = modern("tools/call", json!({"name": tool, "arguments": arguments}));
        self.request("tools/call", Some(tool)).json(&body).send().await.unwrap()
    }

    /// The envelope of a call's answer.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        let answer = answer(self.raw(tool, arguments).await).await;
        let result = &answer["result"];
        // Text and structure are one and the same.
        if let Some(text) = result.pointer("/content/0/text").and_then(Value::as_str) {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
        }
        if result.is_null() { answer } else { result["structuredContent"].clone() }
    }

    /// As `call`, but `None` if the broker did not answer.
    pub async fn try_call(&self, tool: &str, arguments: Value) -> Option<Value> {
        let body = modern("tools/call", json!({"name": tool, "arguments": arguments}));
        let response = self.request("tools/call", Some(tool)).json(&body).send().await.ok()?;
        let text = response.text().await.ok()?;
        let json = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
        Some(serde_json::from_str::<Value>(json).ok()?["result"]["structuredContent"].clone())
    }

    pub async fn query(&self, target: &str, sql: &str) -> Value {
        self.call("db_query", json!({"target": target, "sql": sql})).await
    }

    pub async fn execute(&self, target: &str, sql: &str) -> Value {
        self.call("db_execute", json!({"target": target, "sql": sql})).await
    }

    pub async fn tools(&self) -> Value {
        let response = self.request("tools/list", None).json(&modern("tools/list", json!({}))).send().await.unwrap();
        response.json::<Value>().await.unwrap()["result"].clone()
    }
}

/// The JSON-RPC answer of a response, in JSON or as the last event of a stream.
pub async fn answer(response: reqwest::Response) -> Value {
    let text = response.text().await.unwrap();
    let json = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
    serde_json::from_str(json).unwrap_or_else(|_| panic!("{text}"))
}

/// The code of a refusal in an envelope.
pub fn code(envelope: &Value) -> &str {
    envelope.pointer("/error/code").and_then(Value::as_str).unwrap_or_default()
}

/// A human at the inbox.
pub struct Human {
    pub base: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl Human {
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn decide(&self, id: &str, decision: Value) -> (u16, Value) {
        self.post(&format!("/approvals/{id}/decision"), decision).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn pending(&self) -> Vec<Value> {
        self.get("/approvals").await.1["approvals"].as_array().cloned().unwrap_or_default()
    }

    pub async fn trail(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/audit/entries?limit=500{query}")).await.1["entries"].as_array().cloned().unwrap_or_default()
    }
}

/// A small generator, so that a run is replayed by its seed.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A number from the environment.
pub fn setting(name: &str, or: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or_else(or)
}
