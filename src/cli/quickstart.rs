//! `countersign quickstart`: a whole broker on embedded defaults, for the first ten minutes. Everything it needs is made in one folder.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::broker::{Settings, Target};
use crate::catalog::DeclaredFile;
use crate::cli::output::say;
use crate::cli::serve::Running;
use crate::cli::{Failure, LISTEN};
use crate::clock::Clock;
use crate::connector::{Endpoint, TargetSettings};
use crate::credential::Access;
use crate::identity::development::{DevelopmentIssuer, TokenRequest};
use crate::identity::{self, Algorithm, IssuerSettings, KeySource};
use crate::ledger::{LOCK, private};
use crate::mask::{ColumnRule, Mode};
use crate::policy::PolicyFile;
use crate::{approval, catalog, config, inbox, notice, registry, server, telemetry, token_service};

/// Run a broker on embedded defaults: a seeded shop, a development issuer, tokens for an agent and an approver.
#[derive(Debug, Args)]
pub(super) struct Quickstart {
    /// Where everything is kept.
    #[arg(long, default_value = "countersign-data", value_name = "DIR")]
    data: PathBuf,
    /// Where to listen.
    #[arg(long, default_value_t = LISTEN)]
    listen: SocketAddr,
    /// Where the approver's token goes; an agent of the same OS user could read it in the data folder.
    #[arg(long, value_name = "FILE")]
    approver_token: Option<PathBuf>,
}

const SHOP: &str = include_str!("../../examples/quickstart/shop.sql");
const POLICY: &str = include_str!("../../examples/quickstart/policies/quickstart.cedar");
const TOOLS: [(&str, &str); 2] = [
    ("examples/quickstart/tools/sql/customer_orders.toml", include_str!("../../examples/quickstart/tools/sql/customer_orders.toml")),
    ("examples/quickstart/tools/sql/refund_order.toml", include_str!("../../examples/quickstart/tools/sql/refund_order.toml")),
];

/// Tokens are good this long …
const TOKEN_LIFETIME: TimeDelta = TimeDelta::days(7);
/// … and made anew when a start finds them older than this.
const TOKEN_FRESH: Duration = Duration::from_secs(24 * 3_600);

impl Quickstart {
    pub(super) async fn run(self) -> Result<(), Failure> {
        telemetry::start(false);
        let io = |error: std::io::Error| Failure::Unreachable(format!("`{}`: {error}", self.data.display()));
        private::dir(&self.data, LOCK).map_err(io)?;
        let base = format!("http://{}", self.listen);
        let shop = self.data.join("shop.db");
        seed(&shop)?;
        let clock = Clock::system();
        let issuer_url = format!("{base}/issuer");
        let issuer = DevelopmentIssuer::open(&self.data.join("issuer"), &issuer_url, clock.clone()).map_err(Failure::Usage)?;
        let agent_token = self.data.join("agent.token");
        let approver_token = self.approver_token.clone().unwrap_or_else(|| self.data.join("approver.token"));
        let settings = settings(self.data.clone(), self.listen, &base, &issuer_url, issuer.jwks_file(), shop);
        let running = Running::start(settings, clock).await?;
        // Not before the data is held: another broker's tokens are not replaced by those of one that does not start.
        tokens(&issuer, &base, &agent_token, &approver_token)?;
        instructions(&base, &self.data, &agent_token, &approver_token);
        running.until_interrupted().await
    }
}

/// Makes the shop, whole or not at all.
fn seed(path: &Path) -> Result<(), Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::Unreachable(format!("failed to make the shop `{}`: {error}", path.display()));
    if path.is_file() {
        return Ok(());
    }
    let half = path.with_extension("new");
    if half.exists() {
        std::fs::remove_file(&half).map_err(|error| fail(&error))?;
    }
    private::file(&half).map_err(|error| fail(&error))?;
    let connection = rusqlite::Connection::open(&half).map_err(|error| fail(&error))?;
    connection.execute_batch(SHOP).map_err(|error| fail(&error))?;
    connection.close().map_err(|(_, error)| fail(&error))?;
    std::fs::rename(&half, path).map_err(|error| fail(&error))
}

fn tokens(issuer: &DevelopmentIssuer, base: &str, agent: &Path, approver: &Path) -> Result<(), Failure> {
    let request = |subject: &str, name: &str, team: &str, door: &str| TokenRequest {
        subject: subject.to_owned(),
        name: Some(name.to_owned()),
        teams: vec![team.to_owned()],
        audience: format!("{base}/{door}"),
        client: "countersign-cli".to_owned(),
        actor: None,
        scope: String::new(),
        lifetime: TOKEN_LIFETIME,
    };
    // One is old, or for another address: both are made anew.
    let fresh = [agent, approver].iter().all(|path| is_fresh(path, base));
    if fresh {
        return Ok(());
    }
    let for_agent = TokenRequest {
        client: "quickstart".to_owned(),
        actor: Some("demo-agent".to_owned()),
        scope: "mcp:read mcp:write".to_owned(),
        ..request("alice", "Alice", "support", "mcp")
    };
    write_secret(agent, &issuer.mint(&for_agent))?;
    write_secret(approver, &issuer.mint(&request("bob", "Bob", "approvers", "inbox")))
}

fn is_fresh(path: &Path, base: &str) -> bool {
    use base64::Engine as _;
    let young = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok())
        .is_some_and(|age| age < TOKEN_FRESH);
    let claims = std::fs::read_to_string(path)
        .ok()
        .and_then(|token| token.split('.').nth(1).map(ToOwned::to_owned))
        .and_then(|part| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|claims| serde_json::from_slice::<serde_json::Value>(&claims).ok());
    young && claims.is_some_and(|claims| claims.get("iss").and_then(serde_json::Value::as_str) == Some(&format!("{base}/issuer")))
}

/// Writes a file that nobody else can read, in place of an older one.
fn write_secret(path: &Path, secret: &SecretString) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", secret.expose_secret())
    };
    write().map_err(|error| Failure::Unreachable(format!("failed to write `{}`: {error}", path.display())))
}

fn settings(data: PathBuf, listen: SocketAddr, base: &str, issuer_url: &str, jwks_file: &Path, shop: PathBuf) -> Settings {
    let (allowed_hosts, allowed_origins) = config::own_addresses(listen, base);
    let issuer = IssuerSettings {
        human_clients: vec!["countersign-cli".to_owned()],
        ..IssuerSettings::new(issuer_url, KeySource::File(jwks_file.to_owned()), vec![Algorithm::EdDsa])
    };
    let target = TargetSettings {
        name: "shop".to_owned(),
        endpoint: Endpoint::Sqlite { path: shop },
        access: Access::File,
        concurrency: 8,
        connect_timeout: Duration::from_secs(5),
    };
    Settings {
        server: server::Settings {
            listen,
            public_url: base.to_owned(),
            allowed_hosts,
            allowed_origins,
            body_max: 1 << 20,
            concurrency: 512,
            timeout: Duration::from_secs(900),
            grace: Duration::from_secs(10),
            transport: server::Transport::default(),
        },
        data,
        origin: "quickstart.invalid/countersign".to_owned(),
        identity: identity::Settings {
            resource: format!("{base}/mcp"),
            inbox_resource: format!("{base}/inbox"),
            public_url: base.to_owned(),
            issuers: vec![issuer],
            skew: Duration::from_secs(30),
            bound_required: false,
        },
        credentials: Default::default(),
        targets: vec![Target { settings: target, environment: "demo".to_owned() }],
        tools: TOOLS.iter().map(|(path, text)| DeclaredFile { path: (*path).to_owned(), text: (*text).to_owned() }).collect(),
        bounds: catalog::Bounds::default(),
        policies: vec![PolicyFile { path: "examples/quickstart/policies/quickstart.cedar".to_owned(), text: POLICY.to_owned() }],
        teams: ["support", "approvers"].map(ToOwned::to_owned).into(),
        masks: vec![ColumnRule {
            target: Some("shop".to_owned()),
            schema: None,
            table: "customers".to_owned(),
            column: "name".to_owned(),
            mode: Mode::Partial,
        }],
        approval: approval::Settings::new(format!("{base}/approvals")),
        registry: registry::Settings::default(),
        notices: notice::Settings::default(),
        humans: inbox::Settings::default(),
        token_service: token_service::Settings::default(),
    }
}

fn instructions(base: &str, data: &Path, agent: &Path, approver: &Path) {
    let (data, agent, approver) = (data.display(), agent.display(), approver.display());
    say(&format!(
        "\
Countersign quickstart: a shop of 400 customers behind a broker, on {base}

  alice's agent reads it, gets personal data masked, and asks before it changes anything; bob decides.
  The tokens are good for 7 days. An agent that runs as your own OS user could read {approver}:
  put it where only the approver can with --approver-token PATH.

Connect an agent
  Claude Code   claude mcp add --transport http countersign {base}/mcp --header \"Authorization: Bearer $(cat {agent})\"
  Codex         export COUNTERSIGN_TOKEN=$(cat {agent}); codex mcp add countersign --url {base}/mcp --bearer-token-env-var COUNTERSIGN_TOKEN
  Inspector     npx @modelcontextprotocol/inspector --cli {base}/mcp --transport http --header \"Authorization: Bearer $(cat {agent})\" --method tools/list
  By stdio      countersign connect {base} --token-file {agent} --print-config claude     (or codex, cursor, vscode, gemini)
  No agent yet  cargo run --release --example agent -- --url {base}/mcp --token-file {agent}

Decide what it asks for
  countersign approvals list --url {base} --token-file {approver}
  countersign approvals approve --url {base} --token-file {approver} apr_…

Read and verify what it did
  countersign audit list --url {base} --token-file {approver}
  countersign verify {data}
"
    ));
}
