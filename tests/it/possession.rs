//! Tokens that are bound to a key or a certificate: a stolen one opens nothing, and no proof is taken twice.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign::identity::{Algorithm, ClientCertificate, IssuerSettings, KeySource};
use countersign::server::{self, tls};
use serde_json::{Value, json};

use crate::harness::authority::Authority;
use crate::harness::provider::{Provider, node, parts};
use crate::harness::{Agent, Human, POLICY, Wish, World, code, modern};

fn hash(text: &str) -> String {
    B64.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

/// A key of a client, and the proofs it makes.
struct Client {
    key: EcdsaKeyPair,
}

impl Client {
    fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({"crv": "P-256", "kty": "EC", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])})
    }

    fn thumbprint(&self) -> String {
        hash(&self.jwk().to_string())
    }

    fn proof(&self, address: &str, token: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()});
        let now = countersign::clock::Clock::system().now().timestamp();
        let id = hash(&format!("{:?}", std::time::Instant::now()));
        let mut claims = json!({"htm": "POST", "htu": address, "iat": now, "jti": id, "ath": hash(token)});
        change(&mut header, &mut claims);
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        format!("{message}.{}", B64.encode(self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap()))
    }
}

async fn world(provider: &Provider, transport: server::Transport) -> World {
    let issuer = IssuerSettings {
        namespace: "idp".to_owned(),
        human_clients: vec!["cli".to_owned()],
        ..IssuerSettings::new(&provider.issuer, KeySource::Discovered, vec![Algorithm::Rs256])
    };
    World::with(Wish { policies: POLICY.replace("Team::\"", "Team::\"idp/"), issuers: vec![issuer], transport, ..Wish::default() }).await
}

async fn bound(provider: &Provider, world: &World, cnf: Value) -> String {
    let claims =
        json!({"aud": format!("{}/mcp", world.base), "scope": "mcp:read", "client_id": "agent", "groups": ["support"], "cnf": cnf});
    provider.token(json!({"claims": claims})).await
}

/// A call with these two headers, whatever they say.
async fn call(world: &World, scheme: &str, token: &str, proof: Option<&str>) -> reqwest::Response {
    let body = modern("tools/call", json!({"name": "db_query", "arguments": {"target": "shop", "sql": "SELECT 1"}}));
    let agent = Agent { token: token.to_owned(), ..world.agent() };
    let mut request = agent.request("tools/call", Some("db_query")).json(&body).build().unwrap();
    request.headers_mut().insert("authorization", format!("{scheme} {token}").parse().unwrap());
    if let Some(proof) = proof {
        request.headers_mut().insert("dpop", proof.parse().unwrap());
    }
    agent.http.execute(request).await.unwrap()
}

#[tokio::test]
async fn a_token_bound_to_a_key_is_good_with_a_fresh_proof_and_with_nothing_else() {
    let provider = Provider::start(&json!({}));
    let mut world = world(&provider, Wish::default().transport).await;
    let (client, thief) = (Client::new(), Client::new());
    let door = format!("{}/mcp", world.base);
    let token = bound(&provider, &world, json!({"jkt": client.thumbprint()})).await;
    let good = client.proof(&door, &token, |_, _| {});
    let first = call(&world, "DPoP", &token, Some(&good)).await;
    assert_eq!(first.status(), 200, "{}", first.text().await.unwrap());
    assert_eq!(call(&world, "dpop", &token, Some(&client.proof(&format!("{door}?x=1#y"), &token, |_, _| {}))).await.status(), 200);
    // The record tells by the key which of an agent's instances it was, and not what the key is.
    let reviewer = provider
        .token(json!({"claims": {"sub": "bob", "aud": format!("{}/inbox", world.base), "client_id": "cli", "groups": ["approvers"]}}));
    let reviewer = Human { token: reviewer.await, ..world.approver() };
    let leaves = reviewer.trail("&kind=call.completed").await;
    let instances: Vec<&str> = leaves.iter().filter_map(|entry| entry["leaf"]["agent"]["inst"].as_str()).collect();
    assert!(instances.len() == 2 && instances[0] == instances[1] && instances[0].starts_with("ins_"), "{leaves:?}");
    assert!(!leaves[0].to_string().contains(&client.thumbprint()) && leaves[0]["client"] == "test", "{}", leaves[0]);
    // Stolen: as a bearer token, with the thief's own key, with a proof that was overheard.
    for (what, scheme, proof) in [
        ("as a bearer token", "Bearer", None),
        ("as a bearer token with a proof", "Bearer", Some(client.proof(&door, &token, |_, _| {}))),
        ("without a proof", "DPoP", None),
        ("with a proof that was used", "DPoP", Some(good.clone())),
        ("with another key", "DPoP", Some(thief.proof(&door, &token, |_, _| {}))),
        ("for another token", "DPoP", Some(client.proof(&door, "other", |_, _| {}))),
        ("for another address", "DPoP", Some(client.proof("https://other.example.com/mcp", &token, |_, _| {}))),
        ("for another method", "DPoP", Some(client.proof(&door, &token, |_, claims| claims["htm"] = json!("GET")))),
        ("old", "DPoP", Some(client.proof(&door, &token, |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 120)))),
        (
            "of the future",
            "DPoP",
            Some(client.proof(&door, &token, |_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 120))),
        ),
        ("without a time", "DPoP", Some(client.proof(&door, &token, |_, claims| claims["iat"] = json!("now")))),
        ("without an id", "DPoP", Some(client.proof(&door, &token, |_, claims| claims["jti"] = json!("")))),
        ("of another type", "DPoP", Some(client.proof(&door, &token, |header, _| header["typ"] = json!("at+jwt")))),
        ("with no algorithm", "DPoP", Some(client.proof(&door, &token, |header, _| header["alg"] = json!("none")))),
        ("with a secret's algorithm", "DPoP", Some(client.proof(&door, &token, |header, _| header["alg"] = json!("HS256")))),
        ("with a key that is another's", "DPoP", Some(client.proof(&door, &token, |header, _| header["jwk"] = thief.jwk()))),
        ("with a private key", "DPoP", Some(client.proof(&door, &token, |header, _| header["jwk"]["d"] = json!("AAAA")))),
        ("with an address of a key", "DPoP", Some(client.proof(&door, &token, |header, _| header["jku"] = json!("https://evil")))),
        ("no proof at all", "DPoP", Some("x.y.z".to_owned())),
    ] {
        let response = call(&world, scheme, &token, proof.as_deref()).await;
        assert_eq!(response.status(), 401, "{what}");
        let asks = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(asks.starts_with("DPoP ") && asks.contains("invalid_dpop_proof") && asks.contains("algs=\"ES256"), "{what}: {asks}");
        assert_eq!(code(&response.json().await.unwrap()), "identity.invalid_proof", "{what}");
    }
    // A binding that is not known is not overlooked, and a token that is not bound is not made so by a proof.
    let strange = bound(&provider, &world, json!({"jwk": client.jwk()})).await;
    assert_eq!(call(&world, "Bearer", &strange, None).await.status(), 401);
    let plain = world.agent().token;
    assert_eq!(call(&world, "DPoP", &plain, Some(&client.proof(&door, &plain, |_, _| {}))).await.status(), 401);
    assert_eq!(call(&world, "Bearer", &plain, None).await.status(), 200);
    // Where it is demanded, nothing else is taken.
    world.restart_with(|settings| settings.identity.bound_required = true).await;
    assert_eq!(call(&world, "Bearer", &plain, None).await.status(), 401);
    assert_eq!(call(&world, "DPoP", &token, Some(&client.proof(&door, &token, |_, _| {}))).await.status(), 200);
    let metadata: Value =
        reqwest::get(format!("{}/.well-known/oauth-protected-resource/mcp", world.base)).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
    world.verify();
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_is_good_on_its_connections_alone() {
    let provider = Provider::start(&json!({}));
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let settings = tls::Settings { clients: Some(authority.clients(dir.path(), false)), ..authority.settings(dir.path()) };
    let world = world(&provider, server::Transport { tls: Some(settings), ..Wish::default().transport }).await;
    let (own, other) = (authority.client(), authority.client());
    let thumbprint = ClientCertificate::verified(&own.der()).thumbprint();
    let token = bound(&provider, &world, json!({"x5t#S256": thumbprint})).await;
    let over = |http| Agent { base: world.base.replace("http://", "https://"), token: token.clone(), http, ..world.agent() };
    let ask = async |http| over(http).raw("whoami", json!({})).await;
    assert_eq!(ask(authority.http(Some(&own))).await.status(), 200);
    for http in [authority.http(Some(&other)), authority.http(None)] {
        let response = ask(http).await;
        assert_eq!(response.status(), 401);
        assert_eq!(code(&response.json().await.unwrap()), "identity.invalid_proof");
    }
    world.verify();
}

/// The same at the human's door, for each address of it.
#[tokio::test]
async fn a_humans_bound_token_is_good_in_their_hands_alone() {
    let provider = Provider::start(&json!({}));
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let settings = tls::Settings { clients: Some(authority.clients(dir.path(), false)), ..authority.settings(dir.path()) };
    let world = world(&provider, server::Transport { tls: Some(settings), ..Wish::default().transport }).await;
    let base = world.base.replace("http://", "https://");
    let (client, thief, own) = (Client::new(), Client::new(), authority.client());
    let token = async |cnf: Value| {
        let claims = json!({"sub": "bob", "aud": format!("{}/inbox", world.base), "client_id": "cli", "groups": ["approvers"], "cnf": cnf});
        provider.token(json!({"claims": claims})).await
    };
    let ask = async |http: reqwest::Client, scheme: &str, token: &str, path: &str, proof: Option<String>| {
        let mut request = http.get(format!("{base}{path}")).header("authorization", format!("{scheme} {token}"));
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let by_key = token(json!({"jkt": client.thumbprint()})).await;
    let get = |claims: &mut Value| claims["htm"] = json!("GET");
    let proof = |of: &Client, path: &str| of.proof(&format!("{}{path}", world.base), &by_key, |_, claims| get(claims));
    let good = proof(&client, "/approvals");
    let plain = || authority.http(None);
    assert_eq!(ask(plain(), "DPoP", &by_key, "/approvals", Some(good.clone())).await.0, 200);
    assert_eq!(ask(plain(), "DPoP", &by_key, "/audit/entries?limit=1", Some(proof(&client, "/audit/entries"))).await.0, 200);
    for (what, scheme, path, shown) in [
        ("as a bearer token", "Bearer", "/approvals", None),
        ("as a bearer token with a proof", "Bearer", "/approvals", Some(proof(&client, "/approvals"))),
        ("without a proof", "DPoP", "/approvals", None),
        ("with a proof that was used", "DPoP", "/approvals", Some(good)),
        ("with another key", "DPoP", "/approvals", Some(proof(&thief, "/approvals"))),
        ("for another address", "DPoP", "/approvals", Some(proof(&client, "/agents"))),
        ("for another method", "DPoP", "/approvals", Some(client.proof(&format!("{}/approvals", world.base), &by_key, |_, _| {}))),
    ] {
        let (status, refused) = ask(plain(), scheme, &by_key, path, shown).await;
        assert_eq!((status, code(&refused)), (401, "identity.invalid_proof"), "{what}: {refused}");
    }
    let by_certificate = token(json!({"x5t#S256": ClientCertificate::verified(&own.der()).thumbprint()})).await;
    assert_eq!(ask(authority.http(Some(&own)), "Bearer", &by_certificate, "/approvals", None).await.0, 200);
    assert_eq!(ask(authority.http(Some(&authority.client())), "Bearer", &by_certificate, "/approvals", None).await.0, 401);
    assert_eq!(ask(plain(), "Bearer", &by_certificate, "/approvals", None).await.0, 401);
    let metadata = plain().get(format!("{base}/.well-known/oauth-protected-resource/inbox")).send().await.unwrap();
    assert_eq!(metadata.json::<Value>().await.unwrap()["dpop_bound_access_tokens_required"], false);
    world.verify();
}

/// The official TypeScript client binds its token by itself, from the registration to the call.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_binds_its_token_to_its_key() {
    let provider = Provider::start(&json!({}));
    let mut world = world(&provider, Wish::default().transport).await;
    world
        .restart_with(|settings| {
            settings.identity.issuers.remove(0);
            settings.identity.bound_required = true;
        })
        .await;
    let mut command = node();
    command.arg(parts().join("client-ts.mjs")).args([&format!("{}/mcp", world.base), "--dpop"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\"whoami\""), "{text}");
}
