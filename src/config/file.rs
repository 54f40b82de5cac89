//! The shape of `countersign.toml`: what users write, with its defaults. Unknown keys are errors.

mod channel;
mod target;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

pub(super) use channel::{Channel, Spoken, System};
pub(super) use target::{Each, Group, Login, Role, Service, Ssh, Target};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) server: Server,
    pub(super) store: Store,
    pub(super) ledger: Ledger,
    #[serde(default)]
    pub(super) issuer: Vec<Spanned<Issuer>>,
    #[serde(default)]
    pub(super) human: Vec<Spanned<Human>>,
    pub(super) vault: Option<Spanned<Vault>>,
    pub(super) ssh: Option<Spanned<Ssh>>,
    #[serde(default)]
    pub(super) target: Vec<Spanned<Target>>,
    pub(super) policy: Policy,
    #[serde(default)]
    pub(super) tools: Tools,
    #[serde(default)]
    pub(super) mask: Mask,
    #[serde(default)]
    pub(super) approval: Approval,
    #[serde(default)]
    pub(super) channel: Vec<Spanned<Channel>>,
    #[serde(default)]
    pub(super) approval_system: Vec<Spanned<System>>,
    #[serde(default)]
    pub(super) registry: Registry,
    pub(super) token_service: Option<TokenService>,
    pub(super) session: Option<Spanned<Session>>,
    #[serde(default)]
    pub(super) step_up: Vec<Spanned<StepUp>>,
}

/// How long browsers' sessions last.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    #[serde(default = "eight_hours")]
    pub(super) lifetime_s: u64,
    #[serde(default = "half_an_hour")]
    pub(super) idle_s: u64,
}

const fn eight_hours() -> u64 {
    8 * 3600
}

const fn half_an_hour() -> u64 {
    30 * 60
}

/// What an action demands of the sign-in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepUp {
    pub(super) action: Spanned<String>,
    #[serde(default)]
    pub(super) acr: Vec<String>,
    #[serde(default)]
    pub(super) amr: Vec<String>,
    pub(super) max_age_s: Option<u32>,
}

/// The broker's own token service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenService {
    #[serde(default = "ten_minutes")]
    pub(super) lifetime_s: u64,
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) actor: Vec<Spanned<Actor>>,
}

const fn ten_minutes() -> u64 {
    600
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Actor {
    pub(super) id: String,
    pub(super) scopes: Vec<String>,
    pub(super) secret: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) algorithms: Vec<String>,
    pub(super) workload: Option<Workload>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks_url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) listen: SocketAddr,
    pub(super) public_url: Option<Spanned<String>>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) max_body_bytes: usize,
    pub(super) max_concurrent: usize,
    pub(super) timeout_s: u64,
    pub(super) drain_grace_s: u64,
    pub(super) clock_skew_s: u64,
    pub(super) bound_tokens: Demand,
    pub(super) log_json: bool,
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    pub(super) unauthenticated_per_minute: u32,
    pub(super) requests_per_minute: u32,
    pub(super) tls: Option<Spanned<Tls>>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: crate::cli::LISTEN,
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 1 << 20,
            max_concurrent: 512,
            timeout_s: 900,
            drain_grace_s: 10,
            clock_skew_s: 30,
            bound_tokens: Demand::Optional,
            log_json: false,
            trusted_proxies: Vec::new(),
            unauthenticated_per_minute: 60,
            requests_per_minute: 600,
            tls: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert_file: Spanned<PathBuf>,
    pub(super) key_file: Spanned<PathBuf>,
    pub(super) client_ca_file: Option<Spanned<PathBuf>>,
    pub(super) client_certificates: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    pub(super) origin: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) url: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) provider: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks_url: Option<String>,
    #[serde(default)]
    pub(super) algorithms: Vec<String>,
    pub(super) audience: Option<String>,
    pub(super) inbox_audience: Option<String>,
    #[serde(default)]
    pub(super) human_clients: Vec<String>,
    pub(super) plain_jwt: Option<bool>,
    pub(super) keys_max_age_s: Option<u64>,
    #[serde(default)]
    pub(super) claims: Claims,
    /// Claims that must say exactly this.
    #[serde(default)]
    pub(super) require: BTreeMap<String, String>,
    /// What the issuer wants before a scope's name, where clients must ask for it qualified.
    pub(super) scope_prefix: Option<String>,
    pub(super) introspection: Option<Introspection>,
    pub(super) browser: Option<BrowserClient>,
}

/// The broker as the issuer's client, for humans with a browser.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BrowserClient {
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
    pub(super) scope: Option<String>,
}

/// Where it differs from the provider's ready-made mapping.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) human: Option<String>,
    pub(super) name: Option<String>,
    pub(super) teams: Option<String>,
    pub(super) person: Option<String>,
    pub(super) agent: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Introspection {
    pub(super) url: Option<String>,
    pub(super) client_id: String,
    pub(super) client_secret: String,
}

/// What is demanded before an agent may act.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Registry {
    pub(super) agents: Demand,
    pub(super) delegations: Demand,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Demand {
    #[default]
    Optional,
    Required,
}

/// A human's login on every target that has a template for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Human {
    pub(super) issuer: Option<String>,
    pub(super) id: String,
    pub(super) login: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    pub(super) url: String,
    pub(super) token: String,
    #[serde(default = "sixty")]
    pub(super) keep_s: u64,
}

const fn sixty() -> u64 {
    60
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) path: Spanned<PathBuf>,
    #[serde(default)]
    pub(super) teams: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tools {
    pub(super) path: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mask {
    #[serde(default)]
    pub(super) column: Vec<Spanned<MaskColumn>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaskColumn {
    pub(super) target: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: String,
    pub(super) column: String,
    pub(super) mode: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Approval {
    pub(super) hold_s: u64,
    pub(super) hold_with_progress_s: u64,
    pub(super) ttl_s: u64,
    pub(super) grant_ttl_s: u64,
    pub(super) denied_memory_s: u64,
    pub(super) max_open: u64,
    pub(super) max_alike: u64,
}

impl Default for Approval {
    fn default() -> Self {
        Self { hold_s: 45, hold_with_progress_s: 240, ttl_s: 3_600, grant_ttl_s: 900, denied_memory_s: 300, max_open: 20, max_alike: 10 }
    }
}
