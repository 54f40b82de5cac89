//! The OAuth client of the command line: signs a human in, keeps the sign-in, renews it, ends it.
//!
//! A token goes to the broker it was asked for and to the issuer that this broker named, and nowhere else: addresses are https (http on loopback
//! alone), no redirect is followed, every request names its `resource` (RFC 8707), every answer is bounded. It is written here and not taken from
//! a crate because it is three forms to one endpoint: `oauth2` would still leave the metadata, the loopback, the file and the lock to us, and
//! `openidconnect` reads ID tokens, which a command line has no use for.

pub(super) mod browser;
pub(super) mod device;
pub(super) mod metadata;
pub(super) mod session;
pub(super) mod store;
pub(super) mod tokens;

use std::time::Duration;

use clap::ValueEnum;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::client::root_cause;
use crate::cli::oauth::metadata::Issuer;
use crate::cli::tools::REVISION;

/// The largest answer of an issuer, in bytes.
const ANSWER_MAX_BYTES: usize = 512 * 1024;
/// The longest wait for one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One of the broker's doors: each is a resource of its own, with tokens of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Door {
    /// The human's: approvals and the trail.
    Inbox,
    /// The agent's: tools.
    Mcp,
}

impl Door {
    /// Its name in addresses.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Mcp => "mcp",
        }
    }

    /// The client that humans sign in with, unless told otherwise. Not the same for both: what an agent is lent must be worth nothing at the
    /// inbox, also where an issuer would renew it for another resource.
    pub(super) const fn client(self) -> &'static str {
        match self {
            Self::Inbox => "countersign-cli",
            Self::Mcp => "countersign-connect",
        }
    }

    /// The arguments that sign in to it.
    pub(super) fn login(self, broker: &str) -> String {
        let door = if self == Self::Mcp { " --door mcp" } else { "" };
        format!("countersign login --url {broker}{door}")
    }
}

/// A sign-in that is asked of an issuer.
pub(super) struct Asked<'a> {
    pub(super) http: &'a Http,
    pub(super) issuer: &'a Issuer,
    /// The client that the human signs in with.
    pub(super) client: &'a str,
    /// What the tokens are to be for.
    pub(super) resource: &'a str,
    /// What they are to reach; empty for the issuer's default.
    pub(super) scope: &'a str,
    /// Whether a page may be opened.
    pub(super) browser: bool,
    /// Parameters that ask for a better sign-in.
    pub(super) step_up: &'a [(&'static str, String)],
}

impl Asked<'_> {
    /// What every way of asking sends.
    fn form(&self) -> Vec<(&str, &str)> {
        let all = [("client_id", self.client), ("resource", self.resource), ("scope", self.scope)];
        let step_up = self.step_up.iter().map(|(name, value)| (*name, value.as_str()));
        all.into_iter().chain(step_up).filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// A broker's address in the one spelling that sign-ins are kept under: without `/mcp`, without a slash at its end.
pub(super) fn broker(url: &str) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("the broker's address `{url}` {why}"));
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong("must be http:// or https:// without query and fragment"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("must not hold a password"));
    }
    let text = parsed.as_str().trim_end_matches('/');
    Ok(text.strip_suffix("/mcp").unwrap_or(text).to_owned())
}

/// An address that secrets may be sent to.
pub(super) fn safe(text: &str, what: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|_| Failure::Negative(format!("{what} is no address")))?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        Ok(url)
    } else {
        Err(Failure::Negative(format!("{what} must begin with https:// (http:// on loopback alone)")))
    }
}

/// Speaks to issuers, and to the broker about its issuers.
#[derive(Debug, Clone)]
pub(super) struct Http(reqwest::Client);

impl Http {
    pub(super) fn new() -> Result<Self, Failure> {
        reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map(Self)
            .map_err(|error| Failure::Unreachable(format!("failed to set up the client: {error}")))
    }

    /// Shows a token to a door of the broker, by a request that every good token of that door may make and that reads nothing.
    pub(super) async fn show(&self, broker: &str, door: Door, token: &SecretString) -> Result<(StatusCode, Value), Failure> {
        let at = |path: &str| safe(&format!("{broker}{path}"), "the broker's address");
        let (url, request) = match door {
            Door::Inbox => (at("/whoami")?, self.0.get(at("/whoami")?)),
            Door::Mcp => {
                let meta = json!({ "io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientCapabilities": {} });
                let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": { "_meta": meta } });
                let request = self.0.post(at("/mcp")?).header("accept", "application/json, text/event-stream");
                (at("/mcp")?, request.header("mcp-protocol-version", REVISION).header("mcp-method", "server/discover").json(&body))
            }
        };
        answer(&url, request.bearer_auth(token.expose_secret())).await
    }

    async fn get(&self, url: Url) -> Result<(StatusCode, Value), Failure> {
        answer(&url.clone(), self.0.get(url)).await
    }

    async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<(StatusCode, Value), Failure> {
        answer(url, self.0.post(url.clone()).header("accept", "application/json").form(form)).await
    }
}

/// The status and body of an answer; a body that is no JSON is null.
async fn answer(url: &Url, request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Failure> {
    let place = url.origin().ascii_serialization();
    let unreachable = |error: reqwest::Error| Failure::Unreachable(format!("failed to reach `{place}`: {}", root_cause(&error)));
    let mut response = request.send().await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(Failure::Unreachable(format!("`{place}` answered with more than {ANSWER_MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), serde_json::from_slice(&body).unwrap_or_default()))
}

/// 128 random bits, in letters that may stand in an address.
fn random() -> Result<String, Failure> {
    use base64::Engine as _;
    let bytes = crate::id::random_128().map_err(|_| Failure::Unreachable("the system has no randomness".to_owned()))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_one_spelling() {
        for url in ["https://Broker.example/", "https://broker.example", "https://broker.example:443/mcp", "https://broker.example/mcp/"] {
            assert_eq!(broker(url).unwrap(), "https://broker.example");
        }
        assert_eq!(broker("https://example.com/broker/mcp").unwrap(), "https://example.com/broker");
        for wrong in ["broker.example", "ftp://broker.example", "https://a:b@broker.example", "https://broker.example?x=1"] {
            assert!(broker(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_go_over_tls_or_stay_on_this_machine() {
        for fine in ["https://idp.example.com/token", "http://127.0.0.1:9/t", "http://[::1]:9/t", "http://localhost/t"] {
            assert!(safe(fine, "it").is_ok(), "{fine}");
        }
        for wrong in ["http://idp.example.com/token", "http://127.0.0.1.evil.com/", "ftp://localhost/", "x"] {
            assert!(safe(wrong, "it").is_err(), "{wrong}");
        }
    }
}
