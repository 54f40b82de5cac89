//! Where a request comes from, and what it is called in the logs.
//!
//! The address is the socket's. `X-Forwarded-For` and `x-request-id` count only where the socket belongs to a trusted proxy: anybody can write a
//! header. Nothing here says who somebody is; the address is only what limits are counted by.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::id::RequestId;
use crate::identity::Asker;
use crate::refusal::Code;
use crate::server::Gate;

/// The header that carries a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header in which proxies say for whom they forward.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses with a common beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// An address (`192.0.2.7`), or a network (`192.0.2.0/24`, `2001:db8::/32`).
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| format!("`{text}` is no IP address and no network"))?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or_else(|| format!("the prefix of `{text}` is no number from 0 to {most}"))?,
        };
        Ok(Self { base, prefix })
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        let beyond = |bits: u32| bits - u32::from(self.prefix);
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => (base.to_bits() ^ address.to_bits()).checked_shr(beyond(32)).unwrap_or(0) == 0,
            (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits() ^ address.to_bits()).checked_shr(beyond(128)).unwrap_or(0) == 0,
            _ => false,
        }
    }
}

/// Where a request comes from, in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    /// What limits are counted by.
    pub(super) block: IpAddr,
}

/// The caller's address: the socket's, or behind trusted proxies the last one before them.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    let hops = headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for hop in hops {
        if !trusts(nearest) {
            break;
        }
        let hop = hop.trim();
        let Ok(address) = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip())) else { break };
        nearest = address.to_canonical();
    }
    nearest
}

/// What is counted as one: an IPv4 address, or the /64 of an IPv6 one, which is what one subscriber gets.
pub(super) fn block(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// The outermost layer: who is calling from where, and the operator's line: what, how it ended, how long. Never headers, never bodies.
pub(super) async fn identify(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip().to_canonical());
    let trusted = &gate.settings.transport.trusted_proxies;
    let told = trusted
        .iter()
        .any(|network| network.contains(peer))
        .then(|| request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).and_then(|text| RequestId::parse(text).ok()));
    let id = told.flatten().unwrap_or_else(RequestId::mint);
    let block = block(address(peer, request.headers(), trusted));
    request.extensions_mut().insert(Caller { block });
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let mut response = next.run(request).await;
    let (status, duration_ms) = (response.status().as_u16(), began.elapsed().as_secs_f64() * 1e3);
    let refused = match response.extensions().get::<Asker>() {
        Some(Asker::Unknown(refusal)) => Some(refusal),
        _ => None,
    };
    let code = refused.map(|refusal| refusal.code().as_str());
    // Why, the other side is not told; whoever sets up a channel or a system looks for it here. These reasons are our own words.
    let why = refused.filter(|refusal| refusal.code() == Code::InvalidSignature);
    let why = why.map(|refusal| refusal.private_cause().map_or_else(|| refusal.message(), ToOwned::to_owned));
    tracing::info!(request = %id, %method, path, status, duration_ms, code, why, "request");
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{network:?}");
        }
        for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/", "proxy.example.com"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_untrusted_hop_counts_and_only_behind_a_trusted_proxy() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap(), Network::parse("::1").unwrap()];
        for (peer, headers, counts) in [
            ("203.0.113.1", &["198.51.100.7"][..], "203.0.113.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7 , 10.9.9.9"], "198.51.100.7"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, nonsense, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
        ] {
            let mut map = HeaderMap::new();
            for value in headers {
                map.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            assert_eq!(address(ip(peer), &map, &trusted), ip(counts), "{peer} {headers:?}");
        }
        assert_eq!(block(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(block(ip("192.0.2.7")), ip("192.0.2.7"));
    }
}
