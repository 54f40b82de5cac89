//! Wires the parts: `main` and every test start a broker the same way, from the same settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approval::{self, Desk, Event};
use crate::audit::{Audit, Failures};
use crate::call::{KUBERNETES, SSH, TargetFacts};
use crate::catalog::{self, Catalog, DeclaredFile, TargetOf};
use crate::clock::{Clock, Timestamp};
use crate::connector::{Connectors, Endpoint, HostBounds, Locals, TargetSettings};
use crate::credential;
use crate::identity::{self, Algorithm, Human, Identity, IssuerSettings, KeySource, Mapping, Provider, SigningKeys};
use crate::inbox::{self, Inbox};
use crate::ledger::{self, Ledger};
use crate::limit::Limiter;
use crate::mask::{ColumnRule, Masks, Rules};
use crate::mcp::{self, Door};
use crate::notice::{self, Courier, Outbox};
use crate::operation::sql::Engine;
use crate::pipeline::Pipeline;
use crate::policy::{self, Policy, PolicyFile};
use crate::record::Recorder;
use crate::registry::{self, Registry};
use crate::server::{self, Listening};
use crate::session::Sessions;
use crate::token_service::{self, TokenService};
use crate::workplace::Workplaces;

/// A target with its label.
#[derive(Debug, Clone)]
pub struct Target {
    /// How it is reached.
    pub settings: TargetSettings,
    /// Its environment, such as `production`.
    pub environment: String,
}

/// All that a broker is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub server: server::Settings,
    /// The data folder.
    pub data: PathBuf,
    /// The log's origin.
    pub origin: String,
    /// Tokens.
    pub identity: identity::Settings,
    /// Targets.
    pub targets: Vec<Target>,
    /// Whose login is what, and where secrets are.
    pub credentials: credential::Settings,
    /// Declared tools.
    pub tools: Vec<DeclaredFile>,
    /// Defaults and most of calls.
    pub bounds: catalog::Bounds,
    /// Policies.
    pub policies: Vec<PolicyFile>,
    /// Teams that policies may name; empty = any.
    pub teams: BTreeSet<String>,
    /// Mask rules beside the built-in ones.
    pub masks: Vec<ColumnRule>,
    /// The Desk.
    pub approval: approval::Settings,
    /// Whom the broker tells of requests, and how.
    pub notices: notice::Settings,
    /// What is demanded of agents and delegations; targets and tools are filled in from the rest.
    pub registry: registry::Settings,
    /// How humans come in: sessions, and what actions demand of a sign-in.
    pub humans: inbox::Settings,
    /// The agents that the token service serves; none = it is not there.
    pub token_service: token_service::Settings,
}

/// Why a broker did not start: everything that is wrong, a line each.
#[derive(Debug)]
pub struct StartError(pub Vec<String>);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for StartError {}

/// A running broker.
pub struct Broker {
    address: SocketAddr,
    draining: CancellationToken,
    pipeline: Arc<Pipeline>,
    grace: Duration,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    sweeping: tokio::task::JoinHandle<()>,
    telling: tokio::task::JoinHandle<()>,
    failures: Arc<Failures>,
}

/// Expired requests are marked this often; expiry itself is judged on every look.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// And the registry is cleared of what ended long ago.
const CLEAR_EVERY: Duration = Duration::from_secs(3_600);

fn lines<T: fmt::Display>(problems: Vec<T>) -> StartError {
    StartError(problems.iter().map(ToString::to_string).collect())
}

/// What a target is to the catalogue, to policies and to records.
#[must_use]
pub fn known_target(target: &Target) -> catalog::Target {
    let sql = |engine| TargetOf::Sql { engine, is_shared: target.settings.access.is_shared() };
    let (of, engine, search_path) = match &target.settings.endpoint {
        Endpoint::Sqlite { .. } => (sql(Engine::Sqlite), Engine::Sqlite.as_str(), vec!["main".to_owned()]),
        Endpoint::Postgres { search_path, .. } => (sql(Engine::Postgres), Engine::Postgres.as_str(), search_path.clone()),
        Endpoint::MySql { database, .. } => (sql(Engine::MySql), Engine::MySql.as_str(), vec![database.to_lowercase()]),
        Endpoint::Kubernetes { debug_images, .. } => (TargetOf::Kube { debug_images: debug_images.clone() }, KUBERNETES, Vec::new()),
        Endpoint::Ssh { bounds, .. } => {
            let HostBounds { roots, env, shell, groups } = bounds.clone();
            (TargetOf::Ssh { roots, env, shell, groups }, SSH, Vec::new())
        }
    };
    let place = target.settings.endpoint.place();
    let facts = TargetFacts { name: target.settings.name.clone(), engine, environment: target.environment.clone(), place, search_path };
    catalog::Target { facts, of }
}

/// The groups that a host is in, if any.
fn groups_of(target: &Target) -> Option<(String, Vec<String>)> {
    match &target.settings.endpoint {
        Endpoint::Ssh { bounds, .. } if !bounds.groups.is_empty() => Some((target.settings.name.clone(), bounds.groups.clone())),
        _ => None,
    }
}

/// What is demanded of agents and delegations.
fn demands(settings: &Settings, catalog: &Catalog) -> registry::Settings {
    registry::Settings {
        targets: settings.targets.iter().map(|target| target.settings.name.clone()).collect(),
        tools: catalog.listings().iter().map(|listing| listing.name.clone()).collect(),
        ..settings.registry.clone()
    }
}

/// What the broker's own tools look at.
fn locals(targets: &[Target], policy: &Arc<Policy>, desk: &Desk, clock: &Clock) -> Locals {
    Locals {
        policy: Arc::clone(policy),
        desk: desk.clone(),
        targets: targets.iter().map(|target| known_target(target).facts).collect(),
        groups: targets.iter().filter_map(groups_of).collect(),
        clock: clock.clone(),
    }
}

/// The policy's settings.
#[must_use]
pub fn policy_settings(settings: &Settings) -> policy::Settings {
    let telling = |event: Event| settings.notices.channels.iter().filter(move |channel| channel.events.contains(&event));
    policy::Settings {
        schema: policy::load::SCHEMA.to_owned(),
        files: settings.policies.clone(),
        namespaces: settings
            .identity
            .issuers
            .iter()
            .map(|issuer| (issuer.url.clone(), issuer.namespace.clone()))
            .chain([(settings.identity.public_url.clone(), settings.token_service.namespace.clone())])
            .collect::<BTreeMap<_, _>>(),
        targets: settings.targets.iter().map(|target| target.settings.name.clone()).collect(),
        environments: settings.targets.iter().map(|target| target.environment.clone()).collect(),
        teams: settings.teams.clone(),
        glass_is_told: telling(Event::GlassBroken).next().is_some(),
        escalations_told_to: telling(Event::Escalated).map(|channel| channel.team.clone()).collect(),
    }
}

/// The catalogue of these settings.
///
/// # Errors
/// What is wrong with the declared tools.
pub fn catalog(settings: &Settings) -> Result<Catalog, Vec<catalog::Problem>> {
    let targets = settings.targets.iter().map(known_target).collect();
    Catalog::new(targets, &settings.tools, settings.bounds)
}

/// The token service's keys, where there is one.
fn signing_keys(settings: &Settings, now: Timestamp) -> Result<Option<Arc<SigningKeys>>, StartError> {
    if settings.token_service.actors.is_empty() {
        return Ok(None);
    }
    SigningKeys::open(&settings.data.join("keys/tokens"), now).map(|keys| Some(Arc::new(keys))).map_err(|why| StartError(vec![why]))
}

/// The token service as one of the issuers that the doors trust.
fn own_issuer(settings: &Settings, keys: &Arc<SigningKeys>) -> IssuerSettings {
    let keys = KeySource::Own(Arc::clone(keys));
    IssuerSettings {
        namespace: settings.token_service.namespace.clone(),
        mapping: Mapping::of(Provider::Own),
        ..IssuerSettings::new(&settings.identity.public_url, keys, vec![Algorithm::EdDsa])
    }
}

/// Where agents come in.
fn agents_door(
    settings: &server::Settings,
    pipeline: &Arc<Pipeline>,
    identity: &Arc<Identity>,
    draining: &CancellationToken,
    closing: &CancellationToken,
) -> Door {
    Door {
        pipeline: Arc::clone(pipeline),
        identity: Arc::clone(identity),
        allowed_hosts: settings.allowed_hosts.clone(),
        allowed_origins: settings.allowed_origins.clone(),
        body_max: settings.body_max,
        requests_per_minute: settings.transport.requests_per_minute,
        draining: draining.clone(),
        closing: closing.clone(),
    }
}

/// For whom each system may speak: approval systems, and chats for their users.
fn spoken_for(settings: &Settings) -> BTreeMap<String, Vec<Human>> {
    let systems = settings.humans.systems.iter().map(|system| &system.voucher);
    let chats = settings.notices.channels.iter().filter_map(|channel| match &channel.kind {
        notice::Kind::Slack(slack) => slack.interactions.as_ref().map(|known| &known.voucher),
        _ => None,
    });
    systems.chain(chats).map(|voucher| (voucher.name.clone(), voucher.humans.values().cloned().collect())).collect()
}

/// Browsers' sessions.
fn sessions(settings: &Settings, ledger: &Ledger, recorder: &Arc<Recorder>, identity: &Arc<Identity>, clock: &Clock) -> Sessions {
    let (identity, lasting) = (Arc::clone(identity), settings.humans.session.clone());
    Sessions::new(ledger.clone(), Arc::clone(recorder), identity, clock.clone(), lasting, &settings.identity.public_url)
}

/// The ledger of the data folder, replayed.
async fn open_ledger(settings: &Settings, clock: Clock) -> Result<Ledger, StartError> {
    let at = ledger::Settings { dir: settings.data.clone(), origin: settings.origin.clone() };
    let opened = tokio::task::spawn_blocking(move || Ledger::open(at, clock)).await;
    let opened = opened.map_err(|error| StartError(vec![error.to_string()]))?;
    opened.map_err(|error| StartError(vec![error.to_string()]))
}

impl Broker {
    /// Starts a broker on a listener: opens the ledger, closes what a dead process left open, and serves.
    ///
    /// # Errors
    /// Everything that keeps it from starting.
    pub async fn start(settings: Settings, listener: TcpListener, clock: Clock) -> Result<Self, StartError> {
        let one = |error: &dyn fmt::Display| StartError(vec![error.to_string()]);
        let catalog = Arc::new(self::catalog(&settings).map_err(lines)?);
        let policy = Arc::new(Policy::load(&policy_settings(&settings), clock.clone()).map_err(lines)?);
        let ledger = open_ledger(&settings, clock.clone()).await?;
        let recorder = Arc::new(Recorder::new(ledger.clone()));
        let ruled: Vec<String> = settings.masks.iter().map(|rule| rule.table.clone()).collect();
        let masks = Masks::new(Rules::new(settings.masks.clone()));
        let audit = Audit::new(ledger.clone(), Arc::clone(&recorder), masks.clone());
        let unresolved = audit.recover(policy.set_hash(), policy.text()).await.map_err(|error| one(&error))?;
        if unresolved > 0 {
            tracing::warn!(unresolved, "calls that a dead process left open were closed as unresolved");
        }
        let demands = demands(&settings, &catalog);
        let registry =
            Registry::open(ledger.clone(), Arc::clone(&recorder), clock.clone(), demands).await.map_err(|error| one(&error.cause()))?;
        let standing = Arc::new(registry.clone());
        let witness = Arc::new(audit.clone());
        let signing = signing_keys(&settings, clock.now())?;
        let mut judged = settings.identity.clone();
        judged.issuers.extend(signing.as_ref().map(|keys| own_issuer(&settings, keys)));
        let identity = Arc::new(Identity::new(judged, clock.clone(), standing, witness).map_err(StartError)?);
        let tokens = match &signing {
            None => None,
            Some(keys) => Some(Arc::new(TokenService {
                service: identity.service(Arc::clone(keys), &settings.token_service.actors).map_err(StartError)?,
                identity: Arc::clone(&identity),
                registry: registry.clone(),
                policy: Arc::clone(&policy),
                ledger: ledger.clone(),
                recorder: Arc::clone(&recorder),
                pace: Limiter::per_minute(token_service::REQUESTS_PER_MINUTE),
                witness: Arc::new(audit.clone()),
                clock: clock.clone(),
                lifetime: settings.token_service.lifetime,
            })),
        };
        let sessions = sessions(&settings, &ledger, &recorder, &identity, &clock);
        let workplaces = Workplaces::new(ledger.clone(), clock.clone());
        let courier = Arc::new(Courier::new(settings.credentials.vault.clone()).map_err(|why| StartError(vec![why]))?);
        let approval = approval::Settings { spoken_for: spoken_for(&settings), ..settings.approval.clone() };
        let outbox = Outbox::new(ledger.clone(), Arc::clone(&recorder), clock.clone(), settings.notices, &settings.approval.url);
        let desk = Desk::new(ledger.clone(), recorder, clock.clone(), approval, Arc::new(outbox.clone()));
        let locals = locals(&settings.targets, &policy, &desk, &clock);
        let connectors =
            Connectors::new(settings.targets.into_iter().map(|target| target.settings).collect(), &ruled, settings.credentials, locals);
        let pipeline = Arc::new(Pipeline {
            catalog,
            policy: Arc::clone(&policy),
            desk: desk.clone(),
            audit: audit.clone(),
            connectors,
            masks,
            workplaces,
            under_way: TaskTracker::new(),
        });
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let door = agents_door(&settings.server, &pipeline, &identity, &draining, &closing);
        let inbox::Settings { step_up, systems, .. } = settings.humans;
        let tended = registry.clone();
        let inbox = Arc::new(Inbox {
            identity,
            desk: desk.clone(),
            policy,
            audit,
            registry,
            sessions,
            step_up,
            outbox: outbox.clone(),
            courier: Arc::clone(&courier),
            systems,
            ledger,
            clock,
        });
        let mut doors = mcp::router(door).merge(inbox::router(inbox));
        if let Some(tokens) = &tokens {
            doors = doors.merge(token_service::router(Arc::clone(tokens)));
        }
        let (grace, totals_every) = (settings.server.grace, settings.server.transport.totals_every);
        let address = listener.local_addr().map_err(|error| one(&error))?;
        let listening = Listening::new(listener, &settings.server.transport, closing).map_err(|error| one(&error))?;
        let failures = Arc::new(Failures::default());
        let router = server::router(settings.server, doors, draining.clone(), Arc::clone(&failures));
        let serving = tokio::spawn(listening.serve(router, draining.clone(), grace));
        let sweeping = tokio::spawn(tend(
            desk,
            tended,
            pipeline.workplaces.clone(),
            pipeline.audit.clone(),
            Arc::clone(&failures),
            totals_every,
            draining.clone(),
        ));
        let telling = tokio::spawn(outbox.run(courier, draining.clone()));
        Ok(Self { address, draining, pipeline, grace, serving, sweeping, telling, failures })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains: takes nothing new, lets calls under way end within the grace, and stops.
    ///
    /// # Errors
    /// The server failed.
    pub async fn stop(self) -> std::io::Result<()> {
        self.draining.cancel();
        self.pipeline.under_way.close();
        // A call that does not end in time is closed as unresolved at the next start.
        drop(tokio::time::timeout(self.grace, self.pipeline.under_way.wait()).await);
        drop(tokio::time::timeout(self.grace, self.pipeline.connectors.close()).await);
        let ended = self.serving.await.map_err(std::io::Error::other)?;
        drop(self.sweeping.await);
        drop(self.telling.await);
        record_failures(&self.pipeline.audit, &self.failures).await;
        ended
    }
}

/// What has to be done from time to time: expired requests are marked, and what failed to authenticate is recorded in totals.
async fn tend(
    desk: Desk,
    registry: Registry,
    workplaces: Workplaces,
    audit: Audit,
    failures: Arc<Failures>,
    totals_every: Duration,
    draining: CancellationToken,
) {
    let sweeps = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if let Err(error) = desk.sweep().await {
                tracing::error!(cause = error.refusal().private_cause(), "expired requests could not be marked");
            }
        }
    };
    let clearing = async {
        loop {
            for swept in [registry.sweep().await, workplaces.sweep().await] {
                if let Err(error) = swept {
                    tracing::error!(cause = error.cause(), "what ended long ago could not be removed from the store");
                }
            }
            tokio::time::sleep(CLEAR_EVERY).await;
        }
    };
    let totals = async {
        loop {
            tokio::time::sleep(totals_every).await;
            record_failures(&audit, &failures).await;
        }
    };
    tokio::select! {
        () = draining.cancelled() => {}
        () = sweeps => {}
        () = clearing => {}
        () = totals => {}
    }
}

async fn record_failures(audit: &Audit, failures: &Failures) {
    if let Err(error) = audit.record_failures(failures).await {
        tracing::error!(cause = error.refusal().private_cause(), "totals of failed authentications could not be recorded");
    }
}
