//! What a connection may cost: heads that never end, bodies that nest, addresses and identities that ask too often; and what of it is recorded.

use std::time::{Duration, Instant};

use countersign::refusal::Code;
use countersign::server::{Network, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Agent, Wish, World};

async fn world(transport: Transport) -> World {
    World::with(Wish { transport, ..Wish::default() }).await
}

fn limits(unauthenticated_per_minute: u32, requests_per_minute: u32) -> Transport {
    Transport { unauthenticated_per_minute, requests_per_minute, ..Transport::default() }
}

fn proxied(trusted: &[&str]) -> Transport {
    Transport { trusted_proxies: trusted.iter().map(|text| Network::parse(text).unwrap()).collect(), ..limits(3, 0) }
}

fn stranger(world: &World) -> Agent {
    Agent { token: "x.y.z".to_owned(), ..world.agent() }
}

async fn status(agent: &Agent) -> u16 {
    agent.raw("whoami", json!({})).await.status().as_u16()
}

fn forwarded(agent: &Agent, hops: &str) -> Agent {
    let mut agent = agent.clone();
    agent.headers.insert("x-forwarded-for", hops.to_owned());
    agent
}

fn host(world: &World) -> &str {
    world.base.trim_start_matches("http://")
}

/// Sends bytes as they are and reads until the broker closes.
async fn exchange(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(host(world)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _cut = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_address_that_fails_too_often_waits_and_whoever_was_good_does_not() {
    let world = world(limits(20, 0)).await;
    let (good, bad) = (world.agent(), stranger(&world));
    assert_eq!(status(&good).await, 200);
    assert_eq!(world.approver().get("/approvals").await.0, 200);
    for _ in 0..20 {
        assert_eq!(status(&bad).await, 401);
    }
    let refused = bad.raw("whoami", json!({})).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], Code::TooManyRequests.as_str());
    // No broken client locks out the others behind the same address: a token that was good passes. One that nobody has seen waits.
    assert_eq!(status(&good).await, 200);
    assert_eq!(status(&world.agent_of("zoe", "demo-agent", &["support"], "mcp:read")).await, 429);
    assert_eq!(world.human("zoe", &[]).get("/approvals").await.0, 429);
    // A probe and the way to a token are open to everybody.
    for path in ["/healthz", "/readyz", "/.well-known/oauth-protected-resource/mcp"] {
        assert_eq!(good.http.get(format!("{}{path}", world.base)).send().await.unwrap().status(), 200, "{path}");
    }
    // Passing the gate is not being let in: the token is judged as ever.
    world.clock.turn(chrono::TimeDelta::hours(2));
    assert_eq!(status(&good).await, 401);
    assert_eq!(status(&good).await, 429, "what has failed is known no more");
    // In time, one more passes.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(status(&bad).await, 401);
    world.verify();
}

/// Whoever hangs up before the issuer's keys are there was nobody's friend either.
#[tokio::test]
async fn hanging_up_early_counts_against_the_address() {
    use base64::Engine;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let issuer = countersign::identity::IssuerSettings {
        namespace: "silent".to_owned(),
        ..countersign::identity::IssuerSettings::new(
            &url,
            countersign::identity::KeySource::Url(format!("{url}/keys")),
            vec![countersign::identity::Algorithm::EdDsa],
        )
    };
    let world = World::with(Wish { transport: limits(5, 0), issuers: vec![issuer], ..Wish::default() }).await;
    let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.AAAA", part(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k"})), part(json!({"iss": url})));
    let impatient = Agent { token, ..world.agent() };
    for _ in 0..5 {
        assert!(tokio::time::timeout(Duration::from_millis(100), impatient.raw("whoami", json!({}))).await.is_err(), "the issuer answered");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(status(&stranger(&world)).await, 429);
    world.verify();
}

#[tokio::test]
async fn the_address_is_the_sockets_unless_a_trusted_proxy_says_otherwise() {
    let plain = world(proxied(&["10.0.0.0/8"])).await;
    let bad = stranger(&plain);
    for n in 0..3 {
        assert_eq!(status(&forwarded(&bad, &format!("198.51.100.{n}"))).await, 401);
    }
    assert_eq!(status(&forwarded(&bad, "198.51.100.200")).await, 429, "a header changes nobody's address");
    let behind = world(proxied(&["127.0.0.0/8"])).await;
    let bad = stranger(&behind);
    for n in 0..3 {
        // What the client itself wrote stands before what the proxy saw.
        assert_eq!(status(&forwarded(&bad, &format!("203.0.113.{n}, 198.51.100.1"))).await, 401);
    }
    assert_eq!(status(&forwarded(&bad, "198.51.100.1")).await, 429);
    assert_eq!(status(&forwarded(&bad, "198.51.100.2")).await, 401);
    // One subscriber has a /64.
    for n in 0..3 {
        assert_eq!(status(&forwarded(&bad, &format!("2001:db8:1:2::{n}"))).await, 401);
    }
    assert_eq!(status(&forwarded(&bad, "2001:db8:1:2:ffff::1")).await, 429);
    assert_eq!(status(&forwarded(&bad, "2001:db8:1:3::1")).await, 401);
}

#[tokio::test]
async fn an_identity_that_asks_too_often_waits_alone() {
    let world = world(limits(0, 4)).await;
    let agent = world.agent();
    for _ in 0..4 {
        assert_eq!(status(&agent).await, 200);
    }
    let refused = agent.raw("whoami", json!({})).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "server.too_many_requests");
    // Another token is the same identity; another human or agent is not.
    assert_eq!(status(&world.agent_of("alice", "demo-agent", &["support"], "mcp:read")).await, 429);
    assert_eq!(status(&world.agent_of("alice", "other-agent", &["support"], "mcp:read")).await, 200);
    assert_eq!(status(&world.agent_of("zoe", "demo-agent", &["support"], "mcp:read")).await, 200);
    world.verify();
}

#[tokio::test]
async fn failures_are_recorded_as_totals_now_and_then_and_at_the_drain() {
    let mut world = world(Transport { totals_every: Duration::from_millis(300), ..limits(0, 0) }).await;
    let failed = async |world: &World| world.approver().trail("&kind=auth.failed").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(failed(&world).await.is_empty(), "nothing failed");
    let (bad, none) = (stranger(&world), world.human("nobody", &[]));
    let inbox_for_agent = Agent { token: none.token.clone(), ..world.agent() };
    for _ in 0..40 {
        assert_eq!(status(&bad).await, 401);
    }
    assert_eq!(status(&inbox_for_agent).await, 401);
    assert_eq!(bad.http.get(format!("{}/approvals", world.base)).send().await.unwrap().status(), 401);
    assert_eq!(bad.http.get(format!("{}/healthz", world.base)).header("host", "evil.com").send().await.unwrap().status(), 403);
    let mut leaves = Vec::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        leaves = failed(&world).await;
        if sum(&leaves, "") == 43 {
            break;
        }
    }
    assert_eq!(sum(&leaves, "identity.invalid_token"), 41, "{leaves:?}");
    assert_eq!(sum(&leaves, "identity.missing_token"), 1);
    assert_eq!(sum(&leaves, "server.foreign_origin"), 1);
    assert!(leaves.len() < 10, "{} leaves for 43 failures", leaves.len());
    for entry in &leaves {
        assert_eq!(entry["leaf"]["addresses"], 1);
        assert!(!entry.to_string().contains("x.y.z") && !entry.to_string().contains("evil.com"));
    }
    let reasons = json!(leaves.iter().map(|entry| entry["leaf"]["reasons"].clone()).collect::<Vec<_>>()).to_string();
    assert!(reasons.contains("no signed JSON Web Token") || reasons.contains("base64url"), "{reasons}");
    // What the last period holds is recorded when the broker drains.
    world.restart_with(|settings| settings.server.transport.totals_every = Duration::from_secs(3_600)).await;
    assert_eq!(status(&stranger(&world)).await, 401);
    world.restart().await;
    let after = failed(&world).await;
    assert_eq!(sum(&after, ""), 44);
    world.verify();
}

/// All totals of a code, or of all codes.
fn sum(entries: &[Value], code: &str) -> u64 {
    let totals = entries.iter().filter_map(|entry| entry["leaf"]["totals"].as_object()).flatten();
    totals.filter(|(name, _)| code.is_empty() || *name == code).filter_map(|(_, count)| count.as_u64()).sum()
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request_and_only_a_trusted_proxy_gives_one() {
    let alone = world(limits(0, 0)).await;
    let behind = world(Transport { trusted_proxies: vec![Network::parse("127.0.0.1").unwrap()], ..limits(0, 0) }).await;
    let id = async |world: &World, path: &str, told: &str| {
        let request = world.agent().http.get(format!("{}{path}", world.base)).header("x-request-id", told);
        request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/healthz", "/mcp", "/approvals", "/nothing"] {
        let minted = id(&alone, path, "trace-1").await;
        assert!(minted.len() == 26 && seen.insert(minted.clone()), "{minted}");
        assert_eq!(id(&behind, path, "trace-1.a_B").await, "trace-1.a_B");
    }
    for told in ["", "a b", "<script>", "a\"b", &"x".repeat(129)] {
        assert_eq!(id(&behind, "/healthz", told).await.len(), 26, "{told}");
    }
    let foreign = alone.agent().http.get(format!("{}/healthz", alone.base)).header("host", "evil.com").send().await.unwrap();
    assert!(foreign.status() == 403 && foreign.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn deep_bodies_are_refused_before_anything_is_built_of_them() {
    let world = world(limits(0, 0)).await;
    let agent = world.agent();
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    for (levels, code) in [(100_000, -32600), (65, -32600), (127, -32600)] {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{}}}", nested(levels));
        let response = agent.request("tools/list", None).header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(response.status(), 400);
        let answer: Value = response.json().await.unwrap();
        assert!(answer["error"]["code"] == code && answer["error"]["message"].as_str().unwrap().contains("64 levels"), "{answer}");
    }
    // What is within the limit reaches the catalogue, which says what it thinks of it.
    let answer = agent.call("whoami", json!({"x": serde_json::from_str::<Value>(&nested(50)).unwrap()})).await;
    assert_eq!(crate::harness::code(&answer), "request.invalid_arguments", "{answer}");
    let id = format!("apr_{}", "0".repeat(32));
    let large = json!({"decision": "deny", "reason": "x".repeat(2 << 20)});
    assert_eq!(world.approver().decide(&id, large).await.0, 400, "the human's door has the same limit of bytes");
}

#[tokio::test]
async fn heads_are_bounded_in_number_bytes_and_time() {
    let world = world(Transport { opening: Duration::from_millis(800), ..limits(0, 0) }).await;
    let line = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", host(&world));
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let answer = exchange(&world, format!("{line}{}\r\n", headers(90)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = exchange(&world, format!("{line}{}\r\n", headers(120)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = exchange(&world, format!("{line}x: {}\r\n\r\n", "y".repeat(40_000)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    // A byte now and then does not keep a connection open, and holds nobody up.
    let began = Instant::now();
    let mut slow = TcpStream::connect(host(&world)).await.unwrap();
    let sender = async {
        for byte in line.as_bytes() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let agent = world.agent();
    let ((), answer) = tokio::join!(sender, agent.query("shop", "SELECT 1"));
    assert_eq!(answer["status"], "ok");
    assert!(began.elapsed() < Duration::from_secs(5), "the slow sender went on for {:?}", began.elapsed());
    // A stranger's body is not waited for, at either door.
    for path in [format!("/approvals/apr_{}/decision", "0".repeat(32)), "/mcp".to_owned()] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer x.y.z\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n",
            host(&world)
        );
        let began = Instant::now();
        let answer = exchange(&world, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401") && began.elapsed() < Duration::from_secs(3), "{answer}");
    }
    // Nor does a connection that says nothing at all.
    let answer = exchange(&world, b"").await;
    assert_eq!(answer, "");
    world.verify();
}
