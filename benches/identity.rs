//! What authentication adds to a call, as a ratio to the bare check of one ES256 signature in the same run: a token that was never seen, and one
//! that was. `cargo bench --bench identity`.
//!
//! The record of a token's first use (a durable leaf) is left out: it is a disk's time, once a token, and the benchmark of the path has it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::allow_attributes,
    reason = "a benchmark fails by panicking and prints its table"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign::clock::{Clock, Timestamp};
use countersign::id::DelegationId;
use countersign::identity::{Algorithm, Delegation, Event, Identity, IssuerSettings, KeySource, Reach, Settings, Standing, Witness};
use countersign::refusal::Refusal;
use futures::executor::block_on;
use futures::future::BoxFuture;
use http::{HeaderMap, header};
use serde_json::json;

/// No registry and no record behind identity.
#[derive(Debug)]
struct Alone;

impl Standing for Alone {
    fn covers(&self, _: &Delegation, _: Reach<'_>, _: Timestamp) -> Result<Option<DelegationId>, Refusal> {
        Ok(None)
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::Sender::new(0).subscribe()
    }
}

impl Witness for Alone {
    fn saw<'a>(&'a self, _: Event<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }
}

const ISSUER: &str = "http://127.0.0.1:1/issuer";
/// Tokens of one round.
const TOKENS: usize = 1_000;
/// Rounds; each measures all three, so that what disturbs one disturbs the others as well.
const ROUNDS: usize = 15;

struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn token(&self, number: usize) -> String {
        let now = Clock::system().now().timestamp();
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "k"});
        let claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": "http://127.0.0.1:1/mcp", "client_id": "host", "act": {"sub": "agent"}, "iat": now, "exp": now + 3600,
            "jti": format!("j{number}"), "scope": "mcp:read mcp:write", "groups": ["support", "oncall"], "name": "Alice",
        });
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        format!("{message}.{}", B64.encode(self.key.sign(&self.random, message.as_bytes()).unwrap()))
    }
}

fn headers(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn timed(of: usize, mut work: impl FnMut()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed() / u32::try_from(of).unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let signer = Signer { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), random: SystemRandom::new() };
    let point = signer.key.public_key().as_ref().to_vec();
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])});
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [jwk]}).to_string()).unwrap();
    let bare = jsonwebtoken::DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    let settings = Settings {
        resource: "http://127.0.0.1:1/mcp".to_owned(),
        inbox_resource: "http://127.0.0.1:1/inbox".to_owned(),
        public_url: "http://127.0.0.1:1".to_owned(),
        issuers: vec![IssuerSettings::new(ISSUER, KeySource::File(file), vec![Algorithm::Es256])],
        skew: Duration::from_secs(30),
        bound_required: false,
    };
    let identity = Identity::new(settings, Clock::system(), Arc::new(Alone), Arc::new(Alone)).unwrap();
    let (mut checks, mut cold, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let tokens: Vec<String> = (0..TOKENS).map(|number| signer.token(round * TOKENS + number)).collect();
        let requests: Vec<HeaderMap> = tokens.iter().map(|token| headers(token)).collect();
        checks.push(timed(TOKENS, || {
            for token in &tokens {
                let (message, signature) = token.rsplit_once('.').unwrap();
                let holds = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &bare, jsonwebtoken::Algorithm::ES256);
                assert!(black_box(holds.unwrap()));
            }
        }));
        let mut all = || requests.iter().for_each(|request| drop(black_box(block_on(identity.agent(request)).unwrap())));
        cold.push(timed(TOKENS, &mut all));
        warm.push(timed(TOKENS, &mut all));
    }
    let (check, cold, warm) = (median(checks), median(cold), median(warm));
    let ratio = |time: Duration| time.as_secs_f64() / check.as_secs_f64();
    println!("| what | median, µs | of the bare check |\n|---|---|---|");
    for (what, time) in [("the bare check of an ES256 signature", check), ("a token that was never seen", cold), ("a token that was", warm)]
    {
        println!("| {what} | {:.1} | {:.3} |", time.as_secs_f64() * 1e6, ratio(time));
    }
}
