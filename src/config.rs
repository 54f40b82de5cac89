//! `countersign.toml`: complete, or every problem named with file and line. Unknown keys are refused; secrets only by reference.
//!
//! What users write stays in this room: the rest of the broker sees its own settings types. Paths are relative to the configuration's folder.

mod channels;
mod clusters;
mod credentials;
mod file;
mod hosts;
mod humans;
mod issuers;
mod judge;
mod server;
mod targets;
mod vouchers;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::broker::{self, Settings};
use crate::catalog::definition::read_declared;
use crate::clock::Clock;
use crate::identity;
use crate::mask::{ColumnRule, Mode};
use crate::policy::{Policy, PolicyFile};
use crate::{approval, catalog, inbox, registry};

use file::File;

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the broker starts with.
    pub settings: Settings,
    /// The operator's log as JSON lines.
    pub log_json: bool,
}

/// The largest configuration file, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Reads problems' places off the text.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    dir: PathBuf,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }

    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        let problem = Problem { file: self.path.display().to_string(), line: self.line(span.start), message: message.into() };
        self.problems.push(problem);
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }
}

impl Config {
    /// Reads a configuration with its tools and policies.
    ///
    /// # Errors
    /// Everything that is wrong in any of them.
    pub fn read(path: &Path, clock: &Clock) -> Result<Self, Vec<Problem>> {
        let whole = |message: String| vec![Problem { file: path.display().to_string(), line: 1, message }];
        let length = std::fs::metadata(path).map_err(|error| whole(format!("failed to read the configuration: {error}")))?.len();
        if length > FILE_MAX_BYTES {
            return Err(whole(format!("the configuration is larger than {FILE_MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| whole(format!("failed to read the configuration: {error}")))?;
        let dir = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let mut reader = Reader { path, text: &text, dir, problems: Vec::new() };
        let file: File = match toml::from_str(&text) {
            Ok(file) => file,
            Err(error) => {
                reader.problem(error.span().unwrap_or(0..0), error.message());
                return Err(reader.problems);
            }
        };
        let named: Vec<String> = file.target.iter().map(|target| target.get_ref().name.clone()).collect();
        let config = assemble(&mut reader, file);
        let mut problems = reader.problems;
        // A target that could not be made is there all the same: whoever names it is not wrong.
        let is_made = |name: &String| config.settings.targets.iter().any(|target| target.settings.name == *name);
        let unmade: Vec<String> = named.iter().filter(|name| !is_made(name)).cloned().collect();
        problems.extend(rooms(&config.settings, clock, &unmade));
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// What the rooms themselves find wrong with their settings.
fn rooms(settings: &Settings, clock: &Clock, unmade: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut policies = broker::policy_settings(settings);
    policies.targets.extend(unmade.iter().cloned());
    if let Err(found) = broker::catalog(settings) {
        let of_unmade = |message: &str| unmade.iter().any(|name| message.starts_with(&format!("there is no target `{name}`")));
        let found = found.into_iter().filter(|problem| !of_unmade(&problem.message));
        problems.extend(found.map(|problem| Problem { file: problem.file, line: problem.line, message: problem.message }));
    }
    if let Err(found) = Policy::load(&policies, clock.clone()) {
        problems.extend(found.into_iter().map(|problem| Problem { file: problem.path, line: problem.line, message: problem.message }));
    }
    problems
}

fn assemble(reader: &mut Reader<'_>, file: File) -> Config {
    judge::judge(reader, &file);
    let (clock_skew_s, bound_tokens) = (file.server.clock_skew_s, file.server.bound_tokens);
    let log_json = file.server.log_json;
    let server = server::settings(reader, file.server);
    let public_url = server.public_url.clone();
    let issuers = file.issuer.into_iter().map(|issuer| issuers::issuer(reader, issuer)).collect::<Vec<_>>();
    if issuers.is_empty() {
        reader.problem(0..0, "there is no [[issuer]]: nobody could ever call");
    }
    if issuers.iter().filter(|issuer| issuer.namespace.is_empty()).count() > 1 {
        reader.problem(0..0, "only one [[issuer]] may be without a `namespace`");
    }
    let default_issuer = issuers.first().map(|issuer| issuer.url.clone()).unwrap_or_default();
    let credentials = credentials::settings(reader, file.human, file.vault, &default_issuer);
    let authority = hosts::authority(reader, file.ssh);
    let ground = targets::Ground { default_issuer: &default_issuer, vault: credentials.vault.is_some(), authority };
    let targets: Vec<_> = file.target.into_iter().filter_map(|target| targets::target(reader, target, &ground)).collect();
    let environments = targets.iter().map(|target| target.environment.clone()).collect();
    let teams = file.policy.teams.iter().cloned().collect();
    let ground = channels::Ground { environments: &environments, issuers: &issuers, teams: &teams, vault: credentials.vault.is_some() };
    let notices = channels::settings(reader, file.channel, &ground);
    let systems = vouchers::systems(reader, file.approval_system, &ground, &notices);
    let policies = policies(reader, &file.policy);
    let tools = match &file.tools.path {
        None => Vec::new(),
        Some(path) => read_declared(&reader.beside(path.get_ref())).unwrap_or_else(|found| {
            reader.problems.extend(found.into_iter().map(|problem| Problem {
                file: problem.file,
                line: problem.line,
                message: problem.message,
            }));
            Vec::new()
        }),
    };
    let masks = file.mask.column.into_iter().filter_map(|rule| mask_rule(reader, rule)).collect();
    let approval = approval_settings(&file.approval, &public_url);
    let identity = identity::Settings {
        resource: format!("{public_url}/mcp"),
        inbox_resource: format!("{public_url}/inbox"),
        public_url,
        issuers,
        skew: Duration::from_secs(clock_skew_s),
        bound_required: bound_tokens == file::Demand::Required,
    };
    let registry = registry::Settings {
        agents_required: file.registry.agents == file::Demand::Required,
        delegations_required: file.registry.delegations == file::Demand::Required,
        ..registry::Settings::default()
    };
    let token_service = issuers::token_service(reader, file.token_service);
    let humans = inbox::Settings { systems, ..humans::settings(reader, file.session, file.step_up) };
    let data = reader.beside(&file.store.path);
    let settings = Settings {
        server,
        data,
        origin: file.ledger.origin,
        identity,
        targets,
        credentials,
        tools,
        bounds: catalog::Bounds::default(),
        policies,
        teams: file.policy.teams.into_iter().collect::<BTreeSet<_>>(),
        masks,
        approval,
        notices,
        registry,
        token_service,
        humans,
    };
    Config { settings, log_json }
}

/// The hosts and origins by which a broker at this address is called.
#[must_use]
pub fn own_addresses(listen: std::net::SocketAddr, public_url: &str) -> (Vec<String>, Vec<String>) {
    let authority = public_url.split_once("://").map_or(public_url, |(_, rest)| rest).to_owned();
    let mut hosts = vec![authority, listen.to_string()];
    if listen.ip().is_loopback() {
        hosts.extend([format!("localhost:{}", listen.port()), format!("127.0.0.1:{}", listen.port())]);
    }
    hosts.sort();
    hosts.dedup();
    let mut origins: Vec<String> = hosts.iter().map(|host| format!("http://{host}")).collect();
    origins.push(public_url.to_owned());
    origins.sort();
    origins.dedup();
    (hosts, origins)
}

fn approval_settings(file: &file::Approval, public_url: &str) -> approval::Settings {
    let mut settings = approval::Settings::new(format!("{public_url}/approvals"));
    settings.hold = Duration::from_secs(file.hold_s);
    settings.hold_with_progress = Duration::from_secs(file.hold_with_progress_s);
    settings.ttl = Duration::from_secs(file.ttl_s);
    settings.grant_ttl = Duration::from_secs(file.grant_ttl_s);
    settings.denied_memory = Duration::from_secs(file.denied_memory_s);
    settings.open_max = file.max_open;
    settings.alike_max = file.max_alike;
    settings
}

fn policies(reader: &mut Reader<'_>, policy: &file::Policy) -> Vec<PolicyFile> {
    let span = policy.path.span();
    let dir = reader.beside(policy.path.get_ref());
    let mut paths: Vec<PathBuf> = if dir.is_dir() {
        match std::fs::read_dir(&dir) {
            Ok(entries) => entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|kind| kind == "cedar"))
                .collect(),
            Err(error) => {
                reader.problem(span.clone(), format!("failed to read `{}`: {error}", dir.display()));
                Vec::new()
            }
        }
    } else {
        vec![dir.clone()]
    };
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push(PolicyFile { path: path.display().to_string(), text }),
            Err(error) => reader.problem(span.clone(), format!("failed to read `{}`: {error}", path.display())),
        }
    }
    if files.is_empty() {
        reader.problem(span, format!("there is no policy in `{}`: everything would be denied", dir.display()));
    }
    files
}

fn mask_rule(reader: &mut Reader<'_>, rule: Spanned<file::MaskColumn>) -> Option<ColumnRule> {
    let span = rule.span();
    let rule = rule.into_inner();
    let Some(mode) = Mode::parse(&rule.mode) else {
        reader.problem(span, "`mode` must be redact, partial or clear");
        return None;
    };
    Some(ColumnRule { target: rule.target, schema: rule.schema, table: rule.table, column: rule.column, mode })
}
