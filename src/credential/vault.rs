//! Vault and OpenBao: fields of a KV v2 secret, and users that the database engine leases.
//!
//! One task owns all that was read, so that a thousand calls at once ask once. A secret without a lease is asked for again after a minute at the
//! latest; a lease is renewed when two thirds of it are over, and replaced when it cannot be. While Vault is away a lease serves until its end,
//! everything else until its minute is over; then calls are refused.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::credential::secret::Reference;

/// A secret without a lease is kept at most this long.
pub const KEEP_MAX: Duration = Duration::from_secs(60);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer.
const ANSWER_MAX_BYTES: usize = 256 * 1024;
/// Paths that are kept.
const HELD_MAX: usize = 1024;
/// Questions that may wait.
const QUEUE: usize = 256;

/// What a path holds: texts by field.
pub(super) type Fields = BTreeMap<String, SecretString>;

/// How Vault is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    url: reqwest::Url,
    token: Reference,
    keep: Duration,
}

impl Settings {
    /// At this address, with the token that is kept there, in the environment or a file.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(url: &str, token: Reference, keep: Duration) -> Result<Self, String> {
        let url = reqwest::Url::parse(url).map_err(|error| format!("`url` of [vault]: {error}"))?;
        let is_near = match url.host_str() {
            Some("localhost") => true,
            Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            None => false,
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_near) {
            return Err("`url` of [vault] must be https; http is for the loopback address alone".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("`url` of [vault] must be scheme, host, port and path alone".to_owned());
        }
        if token.is_in_vault() || !token.is_fixed() {
            return Err("`token` of [vault] must be `env:NAME` or `file:PATH`".to_owned());
        }
        Ok(Self { url, token, keep: keep.min(KEEP_MAX) })
    }
}

enum Ask {
    Read { path: String, answer: oneshot::Sender<Result<Fields, String>> },
    Forget { path: String },
}

/// The way to the task that asks Vault.
#[derive(Debug)]
pub(super) struct Vault {
    asks: mpsc::Sender<Ask>,
}

impl Vault {
    pub(super) fn start(settings: Settings) -> Self {
        let (asks, mut asked) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut keeper = Keeper { settings, http: None, held: HashMap::new() };
            while let Some(ask) = asked.recv().await {
                match ask {
                    // Who asked may have gone.
                    Ask::Read { path, answer } => drop(answer.send(keeper.read(&path).await)),
                    Ask::Forget { path } => drop(keeper.held.remove(&path)),
                }
            }
        });
        Self { asks }
    }

    pub(super) async fn read(&self, path: String) -> Result<Fields, String> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Read { path, answer }).await.map_err(|error| error.to_string())?;
        answered.await.map_err(|error| error.to_string())?
    }

    pub(super) async fn forget(&self, path: String) {
        drop(self.asks.send(Ask::Forget { path }).await);
    }
}

/// What was read, and until when it holds.
struct Held {
    fields: Fields,
    lease: Option<Lease>,
    fresh_until: Instant,
    ends: Instant,
}

struct Lease {
    id: String,
    lasts: Duration,
    renewable: bool,
}

struct Keeper {
    settings: Settings,
    http: Option<reqwest::Client>,
    held: HashMap<String, Held>,
}

impl Keeper {
    async fn read(&mut self, path: &str) -> Result<Fields, String> {
        let now = Instant::now();
        self.held.retain(|_, held| now < held.ends);
        if let Some(held) = self.held.get(path).filter(|held| now < held.fresh_until) {
            return Ok(held.fields.clone());
        }
        if let Some(fields) = self.renewed(path).await {
            return Ok(fields);
        }
        let fetched = match self.ask(reqwest::Method::GET, path, None).await {
            Ok(answer) => Held::of(&answer, now, self.settings.keep)?,
            // A lease that is not over is as good as it was.
            Err(why) => return self.held.get(path).filter(|held| held.lease.is_some()).map(|held| held.fields.clone()).ok_or(why),
        };
        if self.held.len() >= HELD_MAX {
            self.held.clear();
        }
        let fields = fetched.fields.clone();
        self.held.insert(path.to_owned(), fetched);
        Ok(fields)
    }

    /// Renews the lease of a path; `None` where there is none or it has come to its end.
    async fn renewed(&mut self, path: &str) -> Option<Fields> {
        let lease = self.held.get(path)?.lease.as_ref().filter(|lease| lease.renewable)?;
        let (wanted, body) = (lease.lasts, json!({ "lease_id": lease.id, "increment": lease.lasts.as_secs() }));
        let now = Instant::now();
        let answer = self.ask(reqwest::Method::PUT, "sys/leases/renew", Some(body)).await.ok()?;
        let lasts = Duration::from_secs(answer.get("lease_duration").and_then(Value::as_u64)?);
        // Near its longest life a lease is renewed by less and less: a new one is better.
        if lasts < wanted / 2 {
            return None;
        }
        let held = self.held.get_mut(path)?;
        (held.fresh_until, held.ends) = (now + lasts * 2 / 3, now + lasts);
        Some(held.fields.clone())
    }

    fn http(&mut self) -> Result<reqwest::Client, String> {
        if let Some(http) = &self.http {
            return Ok(http.clone());
        }
        let http = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| error.to_string())?;
        self.http = Some(http.clone());
        Ok(http)
    }

    async fn ask(&mut self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let token = self.settings.token.read_here(None)?;
        let mut token =
            reqwest::header::HeaderValue::from_str(token.expose_secret()).map_err(|_| "the token of [vault] is none".to_owned())?;
        token.set_sensitive(true);
        let url = format!("{}/v1/{path}", self.settings.url.as_str().trim_end_matches('/'));
        let mut request = self.http()?.request(method, url).header("x-vault-token", token);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_MAX_BYTES {
                return Err("the answer is too large".to_owned());
            }
        }
        if !status.is_success() {
            return Err(format!("Vault answered {status}"));
        }
        serde_json::from_slice(&bytes).map_err(|_| "the answer is no JSON".to_owned())
    }
}

impl Held {
    /// From an answer: a lease with its data, or the data of a KV v2 secret, which lie one deeper.
    fn of(answer: &Value, now: Instant, keep: Duration) -> Result<Self, String> {
        let lasts = Duration::from_secs(answer.get("lease_duration").and_then(Value::as_u64).unwrap_or(0));
        let id = answer.get("lease_id").and_then(Value::as_str).filter(|id| !id.is_empty() && !lasts.is_zero());
        let renewable = answer.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        let lease = id.map(|id| Lease { id: id.to_owned(), lasts, renewable });
        let pointer = if lease.is_some() { "/data" } else { "/data/data" };
        let data = answer.pointer(pointer).and_then(Value::as_object).ok_or("there is no secret of KV version 2, and no lease")?;
        let fields = data.iter().filter_map(|(name, value)| Some((name.clone(), SecretString::from(value.as_str()?.to_owned())))).collect();
        let (fresh, whole) = if lease.is_some() { (lasts * 2 / 3, lasts) } else { (keep, keep) };
        Ok(Self { fields, lease, fresh_until: now + fresh, ends: now + whole })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_token_travels_in_the_clear_on_loopback_alone() {
        let token = || Reference::parse("file:token", Path::new("/")).unwrap();
        for url in ["https://vault.example.com", "http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200"] {
            assert!(Settings::new(url, token(), KEEP_MAX).is_ok(), "{url}");
        }
        for url in [
            "http://vault.example.com",
            "http://localhost.example.com",
            "http://localhost@evil.example",
            "ftp://localhost",
            "vault",
            "https://a@b",
            "https://a?b",
        ] {
            assert!(Settings::new(url, token(), KEEP_MAX).is_err(), "{url}");
        }
        let elsewhere = Reference::parse("vault:kv/data/token#token", Path::new("/")).unwrap();
        assert!(Settings::new("https://vault.example.com", elsewhere, KEEP_MAX).is_err());
    }
}
