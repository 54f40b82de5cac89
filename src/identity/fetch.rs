//! Asking an issuer: small JSON documents over HTTPS, from the issuer's own host or from a public address, and from nowhere else.
//!
//! Where keys lie is said by a document that was itself fetched, so it could be made to point inside (SSRF). An address on another host than the
//! issuer's must therefore be public, both as it is written and as it resolves; redirects are not followed; bytes and time are bounded. Plain
//! HTTP is for an issuer on loopback alone.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::outbound::{Reach, ask};

/// The largest document.
const DOCUMENT_MAX_BYTES: usize = 256 * 1024;
/// The longest wait for one.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address that may be asked.
#[derive(Debug, Clone)]
pub(super) struct Address {
    url: Url,
    /// On the issuer's own host: the operator named it, so it may lie inside.
    is_own: bool,
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host))
}

/// An issuer's own URL: `https`, or `http` on loopback; no user, query or fragment.
pub(super) fn issuer_url(text: &str) -> Result<Url, String> {
    let wrong = || "its URL must begin with https:// (http:// on loopback alone), without user, query or fragment".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if plain && secure && url.host_str().is_some_and(|host| !host.is_empty()) { Ok(url) } else { Err(wrong()) }
}

impl Address {
    /// The address itself, for a browser to go to.
    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    /// Judges an address for an issuer.
    pub(super) fn new(text: &str, issuer: &Url) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("the address `{text}` {why}"));
        let Ok(url) = Url::parse(text) else { return refuse("cannot be read") };
        let Some(host) = url.host_str().map(ToOwned::to_owned) else { return refuse("names no host") };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return refuse("holds a user or a fragment");
        }
        let is_own = issuer.host_str() == Some(&host);
        let is_same_origin = is_own && issuer.scheme() == url.scheme() && issuer.port_or_known_default() == url.port_or_known_default();
        if url.scheme() != "https" && !is_same_origin {
            return refuse("is not https");
        }
        if !is_own && !Reach::Public.covers_host(&url) {
            return refuse("is not public, and not on the issuer's own host");
        }
        Ok(Self { url, is_own })
    }
}

/// Asks.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    own: Client,
    foreign: Client,
}

impl Fetcher {
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self { own: Reach::Anywhere.client(PATIENCE)?, foreign: Reach::Public.client(PATIENCE)? })
    }

    fn client(&self, address: &Address) -> &Client {
        if address.is_own { &self.own } else { &self.foreign }
    }

    /// The bytes at an address.
    pub(super) async fn get(&self, address: &Address) -> Result<Vec<u8>, String> {
        document(self.client(address).get(address.url.clone()).header("accept", "application/json"), &address.url).await
    }

    /// What an address answers to a form, the caller authenticated by a client's id and secret (RFC 6749, 2.3.1).
    pub(super) async fn post(
        &self,
        address: &Address,
        client_id: &str,
        client_secret: &SecretString,
        form: &[(&str, &str)],
    ) -> Result<Vec<u8>, String> {
        let encoded = |text: &str| url_encoded(text.as_bytes());
        let request = self
            .client(address)
            .post(address.url.clone())
            .basic_auth(encoded(client_id), Some(encoded(client_secret.expose_secret())))
            .header("accept", "application/json")
            .form(form);
        document(request, &address.url).await
    }

    /// The status and bytes that an address answers to a form; the caller authenticated where it has a secret. What an issuer says of a code
    /// that it does not take is an answer too.
    pub(super) async fn form(
        &self,
        address: &Address,
        client_id: &str,
        client_secret: Option<&SecretString>,
        form: &[(&str, &str)],
    ) -> Result<(u16, Vec<u8>), String> {
        let request = self.client(address).post(address.url.clone()).header("accept", "application/json").form(form);
        let request = match client_secret {
            Some(secret) => request.basic_auth(url_encoded(client_id.as_bytes()), Some(url_encoded(secret.expose_secret().as_bytes()))),
            None => request,
        };
        answer(request, &address.url).await
    }
}

/// As a client's id and secret stand in Basic authentication (RFC 6749, 2.3.1): percent-encoded, all but what is never reserved.
fn url_encoded(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

async fn document(request: RequestBuilder, url: &Url) -> Result<Vec<u8>, String> {
    let (status, bytes) = answer(request, url).await?;
    if (200..300).contains(&status) { Ok(bytes) } else { Err(format!("`{url}` answered {status}")) }
}

async fn answer(request: RequestBuilder, url: &Url) -> Result<(u16, Vec<u8>), String> {
    let answer = ask(request, DOCUMENT_MAX_BYTES).await.map_err(|why| format!("failed to ask `{url}`: {why}"))?;
    Ok((answer.status, answer.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_point_inside_are_refused() {
        let issuer = issuer_url("https://idp.example.com/realms/corp").unwrap();
        for good in [
            "https://idp.example.com/keys",
            "https://idp.example.com:8443/keys",
            "https://www.googleapis.com/oauth2/v3/certs",
            "https://8.8.8.8/keys",
        ] {
            assert!(Address::new(good, &issuer).is_ok(), "{good}");
        }
        for bad in [
            "http://idp.example.com/keys",
            "https://user@idp.example.com/keys",
            "https://evil.com@169.254.169.254/",
            "https://169.254.169.254/latest/meta-data",
            "https://169.254.169.254./",
            "https://0x7f.1/keys",
            "https://2130706433/keys",
            "https://127.0.0.1/keys",
            "https://localhost/keys",
            "https://a.localhost/keys",
            "https://10.0.0.1/keys",
            "https://100.64.0.1/keys",
            "https://[::1]/keys",
            "https://[::ffff:169.254.169.254]/keys",
            "https://[64:ff9b::a9fe:a9fe]/keys",
            "https://[2002:7f00:1::]/keys",
            "https://[fd00::1]/keys",
            "https://[fe80::1]/keys",
            "https://other.example.com./keys",
            "file:///etc/passwd",
            "keys",
            "",
        ] {
            assert!(Address::new(bad, &issuer).is_err(), "{bad}");
        }
        let inside = issuer_url("https://10.0.0.7").unwrap();
        assert!(Address::new("https://10.0.0.7/keys", &inside).is_ok() && Address::new("https://10.0.0.8/keys", &inside).is_err());
        let loopback = issuer_url("http://127.0.0.1:9000").unwrap();
        assert!(
            Address::new("http://127.0.0.1:9000/keys", &loopback).is_ok() && Address::new("http://127.0.0.1:9001/keys", &loopback).is_err()
        );
        for bad in ["http://idp.example.com", "https://u@idp.example.com", "https://idp.example.com?x", "idp.example.com", "https://"] {
            assert!(issuer_url(bad).is_err(), "{bad}");
        }
    }
}
