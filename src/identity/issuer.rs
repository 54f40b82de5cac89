//! An issuer: its name, where its keys are, the algorithms it signs with, and how its claims are read.
//!
//! Keys come from a file, from an address, or from the address that the issuer's own metadata names (OpenID Connect Discovery, RFC 8414). Those
//! from an address are kept while the issuer is down, until they are older than the configuration allows; they are fetched again every ten
//! minutes, and when a token names a key that is not known, at most twice a minute: nobody can make the broker a hammer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::Value;

use crate::clock::{Clock, Timestamp};
use crate::identity::browser::{BrowserClient, SignInPages};
use crate::identity::fetch::{Address, Fetcher, issuer_url};
use crate::identity::introspection::Asking;
use crate::identity::keys::{Algorithm, KeySet, SET_MAX_BYTES};
use crate::identity::mapping::{Mapping, Provider};
use crate::identity::signing::SigningKeys;
use crate::identity::witness::{Event, Witness};
use crate::refusal::{Code, Refusal};

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An address.
    Url(String),
    /// The address in the issuer's metadata.
    Discovered,
    /// The broker's own: the token service's.
    Own(Arc<SigningKeys>),
}

/// How opaque tokens of an issuer are looked up (RFC 7662).
#[derive(Debug, Clone)]
pub struct Introspection {
    /// Where; `None` = as the issuer's metadata says.
    pub url: Option<String>,
    /// The broker's id at the issuer.
    pub client_id: String,
    /// And its secret.
    pub client_secret: SecretString,
}

/// An issuer, as it is configured.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its URL, as `iss` has it.
    pub url: String,
    /// Its name in policies; empty for the only one without.
    pub namespace: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// What it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// How its claims are read.
    pub mapping: Mapping,
    /// Clients that humans sign in with.
    pub human_clients: Vec<String>,
    /// What its tokens for agents have as audience, where that cannot be the agent's door itself.
    pub audience: Option<String>,
    /// The same for humans' tokens.
    pub inbox_audience: Option<String>,
    /// What stands before a scope's name where clients ask this issuer for it (`api://countersign/` at Entra ID); empty = nothing.
    pub scope_prefix: String,
    /// Keys are used for so long after they were last fetched, where the issuer cannot be reached.
    pub keys_max_age: Duration,
    /// How its opaque tokens are looked up; `None` = they are refused.
    pub introspection: Option<Introspection>,
    /// The client that the broker itself is, where humans sign in with a browser; `None` = nobody does.
    pub browser: Option<BrowserClient>,
}

/// The longest namespace, in bytes.
const NAMESPACE_MAX_BYTES: usize = 64;

impl IssuerSettings {
    /// An issuer that follows RFC 9068, with everything else at its default.
    #[must_use]
    pub fn new(url: &str, keys: KeySource, algorithms: Vec<Algorithm>) -> Self {
        Self {
            url: url.to_owned(),
            namespace: String::new(),
            keys,
            algorithms,
            mapping: Mapping::of(Provider::Generic),
            human_clients: Vec::new(),
            audience: None,
            inbox_audience: None,
            scope_prefix: String::new(),
            keys_max_age: Duration::from_secs(24 * 3600),
            introspection: None,
            browser: None,
        }
    }

    /// Everything that is wrong with them, without asking the issuer; a key file is read.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        // It stands before a `/` in policies, and behind one in the address that browsers come back to.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if self.namespace.len() > NAMESPACE_MAX_BYTES || !self.namespace.bytes().all(plain) {
            problems.push("its namespace must be letters, digits, `_`, `-` and `.`, at most 64".to_owned());
        }
        let url = issuer_url(&self.url).map_err(|why| problems.push(why)).ok();
        if self.algorithms.is_empty() {
            problems.push("its list of algorithms is empty".to_owned());
        } else if let KeySource::File(path) = &self.keys
            && let Err(why) = from_file(path, &self.algorithms)
        {
            problems.push(why);
        }
        let named = [
            match &self.keys {
                KeySource::Url(url) => Some(url),
                KeySource::File(_) | KeySource::Discovered | KeySource::Own(_) => None,
            },
            self.introspection.as_ref().and_then(|introspection| introspection.url.as_ref()),
        ];
        if let Some(client) = &self.browser {
            problems.extend(client.problems(&self.human_clients));
        }
        if let Some(url) = url {
            problems.extend(named.into_iter().flatten().filter_map(|named| Address::new(named, &url).err()));
        }
        problems
    }
}

/// A file is looked at again this often.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(10);
/// Keys from an address are fetched again this often.
const FETCH_EVERY: TimeDelta = TimeDelta::minutes(10);
/// And at most this often, whatever tokens come in.
const FETCH_AT_MOST_EVERY: TimeDelta = TimeDelta::seconds(30);

/// What is known of an issuer's metadata.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    keys: Address,
    pub(super) introspection: Option<Address>,
}

struct Held {
    keys: Arc<KeySet>,
    endpoints: Option<Endpoints>,
    modified: Option<SystemTime>,
    /// When the keys were last known to be the issuer's.
    fetched: Option<Timestamp>,
    /// When they were last asked for.
    tried: Option<Timestamp>,
}

/// An issuer with its keys.
pub(super) struct Issuer {
    settings: IssuerSettings,
    pub(super) url: Url,
    pub(super) fetcher: Fetcher,
    pub(super) clock: Clock,
    witness: Arc<dyn Witness>,
    held: Mutex<Held>,
    /// One fetch at a time; whoever waits finds what it brought.
    fetching: tokio::sync::Mutex<()>,
    /// Where humans sign in with a browser.
    pub(super) pages: SignInPages,
    pub(super) asking: Asking,
}

impl Issuer {
    pub(super) fn new(settings: IssuerSettings, fetcher: Fetcher, clock: Clock, witness: Arc<dyn Witness>) -> Result<Self, Vec<String>> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let url = issuer_url(&settings.url).map_err(|why| vec![why])?;
        let mut held = Held { keys: Arc::default(), endpoints: None, modified: None, fetched: None, tried: None };
        if let KeySource::File(path) = &settings.keys {
            let (keys, modified) = from_file(path, &settings.algorithms).map_err(|why| vec![why])?;
            held = Held { keys: Arc::new(keys), modified, fetched: Some(clock.now()), ..held };
        }
        Ok(Self {
            settings,
            url,
            fetcher,
            clock,
            witness,
            held: Mutex::new(held),
            fetching: tokio::sync::Mutex::new(()),
            pages: SignInPages::default(),
            asking: Asking::default(),
        })
    }

    pub(super) const fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    fn held<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks a signature with the key that the header names.
    pub(super) async fn check_signature(
        self: &Arc<Self>,
        alg: &str,
        kid: Option<&str>,
        message: &[u8],
        signature: &str,
    ) -> Result<(), Refusal> {
        let invalid = |why: &str| Refusal::new(Code::InvalidToken).detail(why);
        let algorithm = Algorithm::parse(alg)
            .filter(|algorithm| self.settings.algorithms.contains(algorithm))
            .ok_or_else(|| invalid("its algorithm is not on the issuer's list"))?;
        let mut keys = self.keys().await?;
        if keys.find(algorithm, kid).is_none() && !matches!(self.settings.keys, KeySource::File(_) | KeySource::Own(_)) {
            // A key that is not known may be a new one.
            self.fetched().await;
            keys = self.keys().await?;
        }
        let key = keys.find(algorithm, kid).ok_or_else(|| invalid("its key is not one of the issuer's"))?;
        if key.holds(algorithm, message, signature) { Ok(()) } else { Err(invalid("its signature does not hold")) }
    }

    /// The keys, as old as they may be.
    async fn keys(self: &Arc<Self>) -> Result<Arc<KeySet>, Refusal> {
        match &self.settings.keys {
            KeySource::File(path) => {
                self.reread(path).await;
                return Ok(self.held(|held| Arc::clone(&held.keys)));
            }
            KeySource::Own(keys) => return Ok(keys.published()),
            KeySource::Url(_) | KeySource::Discovered => {}
        }
        let now = self.clock.now();
        let age = self.held(|held| held.fetched).map(|fetched| now - fetched);
        let most = TimeDelta::from_std(self.settings.keys_max_age).unwrap_or(TimeDelta::MAX);
        match age {
            Some(age) if age < FETCH_EVERY && age <= most => {}
            // Good for now: nobody has to wait for the fetch.
            Some(age) if age <= most => {
                let issuer = Arc::clone(self);
                drop(tokio::spawn(async move { issuer.fetch().await }));
            }
            _ => self.fetched().await,
        }
        let (keys, fetched) = self.held(|held| (Arc::clone(&held.keys), held.fetched));
        if fetched.is_some_and(|fetched| now - fetched <= most) { Ok(keys) } else { Err(Refusal::new(Code::IssuerUnreachable)) }
    }

    /// The same in a task of its own: a caller that hangs up must not end what others wait for.
    async fn fetched(self: &Arc<Self>) {
        let issuer = Arc::clone(self);
        drop(tokio::spawn(async move { issuer.fetch().await }).await);
    }

    /// Fetches the keys, unless that was tried a short while ago.
    async fn fetch(&self) {
        let _turn = self.fetching.lock().await;
        let now = self.clock.now();
        let due = self.held(|held| {
            let due = held.tried.is_none_or(|tried| now - tried >= FETCH_AT_MOST_EVERY);
            if due {
                held.tried = Some(now);
            }
            due
        });
        if !due {
            return;
        }
        let fetched = async {
            let endpoints = self.endpoints().await?;
            let keys = KeySet::parse(&self.fetcher.get(&endpoints.keys).await?, &self.settings.algorithms)?;
            self.install(keys, None).await
        };
        if let Err(why) = fetched.await {
            // Metadata that led nowhere is asked for again: the issuer may have moved its keys.
            self.held(|held| held.endpoints = None);
            tracing::warn!(issuer = %self.settings.url, why, "the keys could not be fetched");
        }
    }

    /// Takes new keys into use once their coming is on record.
    async fn install(&self, keys: KeySet, modified: Option<SystemTime>) -> Result<(), String> {
        let old = self.held(|held| Arc::clone(&held.keys));
        if !old.is_same(&keys) {
            let event = Event::KeysChanged { issuer: &self.settings.url, before: &old.names(), now: &keys.names() };
            self.witness.saw(event).await.map_err(|refusal| refusal.message())?;
        }
        let now = self.clock.now();
        self.held(|held| (held.keys, held.modified, held.fetched) = (Arc::new(keys), modified, Some(now)));
        Ok(())
    }

    async fn reread(&self, path: &std::path::Path) {
        let now = self.clock.now();
        let due = self.held(|held| {
            let due = held.tried.is_none_or(|tried| now - tried >= LOOK_EVERY);
            if due {
                held.tried = Some(now);
            }
            due
        });
        if !due || modified(path) == self.held(|held| held.modified) {
            return;
        }
        // A key that was taken out of the file is good no longer; a file that cannot be read leaves the keys that were.
        let read = match from_file(path, &self.settings.algorithms) {
            Ok((keys, modified)) => self.install(keys, modified).await,
            Err(why) => Err(why),
        };
        if let Err(why) = read {
            tracing::warn!(issuer = %self.settings.url, why, "the keys could not be read again");
        }
    }

    pub(super) async fn endpoints(&self) -> Result<Endpoints, String> {
        if let Some(known) = self.held(|held| held.endpoints.clone()) {
            return Ok(known);
        }
        let named = self.settings.introspection.as_ref().and_then(|introspection| introspection.url.as_deref());
        let introspection = named.map(|url| Address::new(url, &self.url)).transpose()?;
        let endpoints = match &self.settings.keys {
            KeySource::Url(keys) => Endpoints { keys: Address::new(keys, &self.url)?, introspection },
            KeySource::File(_) | KeySource::Discovered | KeySource::Own(_) => {
                let metadata = self.discover().await?;
                let address = |name: &str| metadata.get(name).and_then(Value::as_str).map(|text| Address::new(text, &self.url)).transpose();
                let keys = address("jwks_uri")?.ok_or("the issuer's metadata has no `jwks_uri`")?;
                Endpoints { keys, introspection: introspection.map_or_else(|| address("introspection_endpoint"), |known| Ok(Some(known)))? }
            }
        };
        self.held(|held| held.endpoints = Some(endpoints.clone()));
        Ok(endpoints)
    }

    /// The issuer's metadata: OpenID Connect Discovery first, then RFC 8414. It must name this very issuer.
    pub(super) async fn discover(&self) -> Result<Value, String> {
        let openid = format!("{}/.well-known/openid-configuration", self.settings.url.trim_end_matches('/'));
        let mut oauth = self.url.clone();
        oauth.set_path(&format!("/.well-known/oauth-authorization-server{}", self.url.path().trim_end_matches('/')));
        let mut problems = Vec::new();
        for place in [openid.as_str(), oauth.as_str()] {
            let found = self.fetcher.get(&Address::new(place, &self.url)?).await;
            match found.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|error| format!("`{place}` is no JSON: {error}")))
            {
                Ok(metadata) if metadata.get("issuer").and_then(Value::as_str) == Some(&self.settings.url) => return Ok(metadata),
                Ok(_) => problems.push(format!("`{place}` is the metadata of another issuer")),
                Err(why) => problems.push(why),
            }
        }
        Err(problems.join("; "))
    }
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn from_file(path: &std::path::Path, algorithms: &[Algorithm]) -> Result<(KeySet, Option<SystemTime>), String> {
    let failed = |error: std::io::Error| format!("failed to read `{}`: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.len() > SET_MAX_BYTES as u64 {
        return Err(format!("`{}` is larger than {SET_MAX_BYTES} bytes", path.display()));
    }
    let text = std::fs::read(path).map_err(failed)?;
    let keys = KeySet::parse(&text, algorithms).map_err(|why| format!("`{}`: {why}", path.display()))?;
    Ok((keys, metadata.modified().ok()))
}
