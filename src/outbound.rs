//! Asking others over HTTP and SMTP: to which addresses a connection may go at all.
//!
//! Whoever may name an address could make the broker speak to what only it can reach (SSRF): a neighbour, a cloud's metadata, itself. So an address is
//! judged as it is written and again as it resolves, and what was judged is what is connected to: a name that resolves to anything else does not resolve
//! at all. Redirects are never followed and no proxy is asked, since either would go where nobody has looked. A leaf, since issuers are asked and
//! approvers are told by different rooms. It must never say an address in an error: one of a chat's webhook is a secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, Url};

/// How far a connection may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To addresses that the whole Internet shares.
    Public,
    /// To this machine alone.
    Loopback,
    /// Wherever the operator says; inside, too.
    Anywhere,
}

impl Reach {
    /// Whether a connection to this address is within it.
    #[must_use]
    pub fn covers(self, ip: IpAddr) -> bool {
        match self {
            Self::Public => is_public(ip),
            Self::Loopback => ip.to_canonical().is_loopback(),
            Self::Anywhere => true,
        }
    }

    /// Whether the host of a URL, as it is written, can be within it. A name is judged again where it resolves.
    #[must_use]
    pub fn covers_host(self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let is_own_name = host == "localhost" || host.ends_with(".localhost");
        match (host.trim_matches(['[', ']']).parse::<IpAddr>(), self) {
            (Ok(ip), _) => self.covers(ip),
            (Err(_), Self::Public) => !is_own_name && !host.ends_with('.'),
            (Err(_), Self::Loopback) => is_own_name,
            (Err(_), Self::Anywhere) => true,
        }
    }

    /// The addresses of a host, all of them within it.
    ///
    /// # Errors
    /// It has none, or one that is not.
    pub async fn resolve(self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        if found.is_empty() || found.iter().any(|address| !self.covers(address.ip())) {
            return Err(std::io::Error::other(match self {
                Self::Public => "it resolves to an address that is not public",
                Self::Loopback => "it is not on this machine",
                Self::Anywhere => "it resolves to no address",
            }));
        }
        Ok(found)
    }

    /// A client that connects to nothing else.
    ///
    /// # Errors
    /// There is no TLS.
    pub fn client(self, patience: Duration) -> Result<Client, String> {
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(patience)
            .connect_timeout(patience)
            .no_proxy()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        let built: ClientBuilder = if self == Self::Anywhere { builder } else { builder.dns_resolver(Resolver(self)) };
        built.build().map_err(|error| format!("failed to build the HTTP client: {error}"))
    }
}

/// Resolves names within a reach only.
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = reach.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, where it counts seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends a request, and reads an answer of at most `longest` bytes.
///
/// # Errors
/// Why there is none; without the address.
pub async fn ask(request: RequestBuilder, longest: usize) -> Result<Answer, String> {
    // The source's own words name the address, with whatever stands in its path and query.
    let failed = |error: reqwest::Error| root_cause(&error.without_url());
    let mut response = request.send().await.map_err(failed)?;
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > longest {
            return Err(format!("it answered more than {longest} bytes"));
        }
    }
    Ok(Answer { status, retry_after, body })
}

fn retry_after(response: &Response) -> Option<Duration> {
    response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether an address is one that the whole Internet shares (IANA special-purpose registries); embedded IPv4 addresses are looked into.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99);
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // IPv4-mapped and -compatible, and NAT64 (RFC 6052, RFC 8215).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, ..] => false,
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, ORCHID, benchmarking, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => (first & 0xe000) == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_as_they_are_written() {
        for (url, public, loopback) in [
            ("https://hooks.example.com/a", true, false),
            ("https://8.8.8.8/", true, false),
            ("https://[2606:4700::1]/", true, false),
            ("https://localhost/", false, true),
            ("https://a.localhost/", false, true),
            ("https://hooks.example.com./", false, false),
            ("https://127.0.0.1/", false, true),
            ("https://2130706433/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://[::1]/", false, true),
            ("https://[::ffff:127.0.0.1]/", false, true),
            ("https://10.0.0.1/", false, false),
            ("https://169.254.169.254./", false, false),
            ("https://[::ffff:169.254.169.254]/", false, false),
            ("https://[64:ff9b::a9fe:a9fe]/", false, false),
            ("https://[64:ff9b::7f00:1]/", false, false),
            ("https://[2002:7f00:1::]/", false, false),
            ("https://[fd00::1]/", false, false),
            ("https://[fe80::1]/", false, false),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!((Reach::Public.covers_host(&parsed), Reach::Loopback.covers_host(&parsed)), (public, loopback), "{url}");
            assert!(Reach::Anywhere.covers_host(&parsed), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_elsewhere_is_not_resolved() {
        assert!(Reach::Public.resolve("localhost", 1).await.is_err());
        assert!(Reach::Loopback.resolve("localhost", 1).await.is_ok());
        assert!(Reach::Loopback.resolve("10.0.0.1", 1).await.is_err());
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = Reach::Public.client(Duration::from_secs(5)).unwrap();
        let why = ask(client.get("http://localhost:1/secret-path"), 10).await.unwrap_err();
        assert!(why.contains("not public") && !why.contains("secret-path"), "{why}");
    }
}
