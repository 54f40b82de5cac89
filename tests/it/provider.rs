//! A real OpenID Provider before the broker: discovery, keys that turn while calls run, an outage, opaque tokens, the official clients' own OAuth.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use chrono::TimeDelta;
use countersign::identity::{Algorithm, Introspection, IssuerSettings, KeySource};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::company::Company;
use crate::harness::process::free_port;
use crate::harness::provider::{Provider, node, parts};
use crate::harness::{Agent, Human, Wish, World, code};

fn issuer(provider: &Provider) -> IssuerSettings {
    IssuerSettings {
        namespace: "idp".to_owned(),
        human_clients: vec!["cli".to_owned()],
        ..IssuerSettings::new(&provider.issuer, KeySource::Discovered, vec![Algorithm::Rs256])
    }
}

/// The quickstart's policies for teams of that issuer.
fn policies() -> String {
    crate::harness::POLICY.replace("Team::\"", "Team::\"idp/")
}

async fn world(provider: &Provider, change: impl FnOnce(&mut IssuerSettings)) -> World {
    let mut issuer = issuer(provider);
    change(&mut issuer);
    World::with(Wish { policies: policies(), issuers: vec![issuer], ..Wish::default() }).await
}

fn accounts() -> Value {
    json!({"accounts": {
        "alice": {"name": "Alice", "groups": ["support"]},
        "bob": {"name": "Bob", "groups": ["approvers"]},
    }})
}

fn agent(world: &World, token: &str) -> Agent {
    Agent { base: world.base.clone(), token: token.to_owned(), http: reqwest::Client::new(), headers: BTreeMap::new() }
}

fn human(world: &World, token: &str) -> Human {
    Human { base: world.base.clone(), token: token.to_owned(), http: reqwest::Client::new() }
}

fn door(world: &World, name: &str) -> String {
    format!("{}/{name}", world.base)
}

async fn status(agent: &Agent) -> u16 {
    agent.raw("db_query", json!({"target": "shop", "sql": "SELECT 1"})).await.status().as_u16()
}

#[tokio::test]
async fn a_human_signs_in_lends_a_token_and_the_record_names_both() {
    let provider = Provider::start(&accounts());
    let world = world(&provider, |_| {}).await;
    let mcp = door(&world, "mcp");
    let alice = provider.sign_in("alice", &mcp, "openid mcp:read mcp:write").await;
    let lent = provider.delegate(alice["access_token"].as_str().unwrap(), &mcp, "mcp:read").await;
    let agent = agent(&world, &lent);
    let who = agent.call("whoami", json!({})).await;
    assert_eq!(
        (who["result"]["human"]["subject"].as_str(), who["result"]["agent"]["id"].as_str()),
        (Some("alice"), Some("agent")),
        "{who}"
    );
    assert_eq!(who["result"]["highest_risk"], "read");
    assert_eq!(agent.query("shop", "SELECT 1").await["status"], "ok");
    // The human's door: bob by his own token; neither door takes the other's.
    let bob = provider.sign_in("bob", &door(&world, "inbox"), "openid").await;
    let bob = human(&world, bob["access_token"].as_str().unwrap());
    assert_eq!(bob.get("/approvals").await.0, 200);
    assert_eq!(status(&self::agent(&world, &bob.token)).await, 401);
    assert_eq!(human(&world, &lent).get("/approvals").await.0, 401);
    assert_eq!(human(&world, alice["access_token"].as_str().unwrap()).get("/approvals").await.0, 401);
    let logins = bob.trail("&kind=auth.login").await;
    let seen: Vec<(&str, &str)> =
        logins.iter().map(|entry| (entry["human"].as_str().unwrap(), entry["leaf"]["door"].as_str().unwrap())).collect();
    assert_eq!(seen, [("bob", "inbox"), ("alice", "mcp")], "once each, however often the token is used: {logins:?}");
    let rotated = bob.trail("&kind=key.rotated").await;
    assert_eq!(rotated.len(), 1, "the first keys are on record");
    // A token of a sibling service, and one without any resource.
    let elsewhere = provider.sign_in("alice", "https://other.example.com/mcp", "mcp:read").await;
    assert_eq!(status(&self::agent(&world, elsewhere["access_token"].as_str().unwrap())).await, 401);
    let id_token = alice["id_token"].as_str().unwrap();
    assert_eq!(status(&self::agent(&world, id_token)).await, 401, "an ID token is no access token");
    world.verify();
}

#[tokio::test]
async fn keys_turn_while_calls_run() {
    let provider = Provider::start(&accounts());
    let world = world(&provider, |_| {}).await;
    let mcp = door(&world, "mcp");
    let claims = || json!({"claims": {"aud": mcp, "scope": "mcp:read", "client_id": "agent", "groups": ["support"]}});
    let old = provider.token(claims()).await;
    assert_eq!(status(&agent(&world, &old)).await, 200);
    // A new key beside the old one: both are good, and the new one is fetched because a token names it.
    world.clock.turn(TimeDelta::seconds(31));
    provider.admin("rotate", json!({"keep": true})).await;
    let new = provider.token(claims()).await;
    let running = (0..20).map(|n| {
        let (old, new, world) = (&old, &new, &world);
        async move { status(&agent(world, if n % 2 == 0 { old } else { new })).await }
    });
    assert!(futures::future::join_all(running).await.iter().all(|status| *status == 200));
    assert_eq!(provider.asked("/jwks").await, 2, "once at first, and once for the new key");
    // The old key is dropped: its tokens are good no longer once the keys are fetched again.
    provider.admin("rotate", json!({"keep": false})).await;
    world.clock.turn(TimeDelta::minutes(11));
    let newest = provider.token(json!({"claims": {"aud": mcp, "scope": "mcp:read", "client_id": "agent", "groups": ["support"], "iat": world.clock.now().timestamp(), "exp": world.clock.now().timestamp() + 3600}})).await;
    assert_eq!(status(&agent(&world, &newest)).await, 200);
    assert_eq!(status(&agent(&world, &new)).await, 401);
    assert_eq!(status(&agent(&world, &old)).await, 401);
    let now = world.clock.now().timestamp();
    let bob = json!({"claims": {"sub": "bob", "aud": door(&world, "inbox"), "client_id": "cli", "iat": now, "exp": now + 60}});
    let rotated = human(&world, &provider.token(bob).await).trail("&kind=key.rotated").await;
    assert_eq!(rotated.len(), 3, "{rotated:?}");
    assert_eq!(rotated[0]["leaf"]["keys"]["now"].as_array().unwrap().len(), 1);
    world.verify();
}

#[tokio::test]
async fn nobody_makes_the_broker_a_hammer() {
    let provider = Provider::start(&accounts());
    let world = world(&provider, |_| {}).await;
    let mcp = door(&world, "mcp");
    let unknown = (0..50).map(async |n| {
        let token = provider.token(json!({"claims": {"aud": mcp, "scope": "mcp:read"}, "header": {"kid": format!("made-up-{n}")}})).await;
        status(&agent(&world, &token)).await
    });
    assert!(futures::future::join_all(unknown).await.iter().all(|status| *status == 401));
    assert_eq!(provider.asked("/jwks").await, 1);
    world.verify();
}

#[tokio::test]
async fn an_outage_is_outlived_for_as_long_as_is_said_and_no_longer() {
    let provider = Provider::start(&accounts());
    let world = world(&provider, |issuer| issuer.keys_max_age = Duration::from_secs(3600)).await;
    let mcp = door(&world, "mcp");
    let at = |world: &World| {
        let now = world.clock.now().timestamp();
        json!({"claims": {"aud": mcp, "scope": "mcp:read", "client_id": "agent", "groups": ["support"], "iat": now, "exp": now + 7200}})
    };
    // Down from the first: nobody can tell, and that is no yes.
    provider.admin("down", json!({"on": true})).await;
    let response = agent(&world, &provider.token(at(&world)).await).raw("whoami", json!({})).await;
    assert_eq!(response.status(), 503);
    assert_eq!(code(&response.json().await.unwrap()), "identity.issuer_unreachable");
    provider.admin("down", json!({"on": false})).await;
    world.clock.turn(TimeDelta::seconds(31));
    assert_eq!(status(&agent(&world, &provider.token(at(&world)).await)).await, 200);
    provider.admin("down", json!({"on": true})).await;
    world.clock.turn(TimeDelta::minutes(50));
    assert_eq!(status(&agent(&world, &provider.token(at(&world)).await)).await, 200, "the keys are good for an hour");
    world.clock.turn(TimeDelta::minutes(11));
    assert_eq!(status(&agent(&world, &provider.token(at(&world)).await)).await, 503);
    provider.admin("down", json!({"on": false})).await;
    world.clock.turn(TimeDelta::minutes(1));
    assert_eq!(status(&agent(&world, &provider.token(at(&world)).await)).await, 200);
    world.verify();
}

#[tokio::test]
async fn opaque_tokens_are_asked_about_and_a_revoked_session_is_over() {
    let mut config = accounts();
    config["resources"] = json!({"*": {"scope": "mcp:read mcp:write", "ttl": 300, "format": "opaque"}});
    config["clients"] = json!([
        {"client_id": "cli", "token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/callback"], "application_type": "native",
         "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]},
        {"client_id": "rs", "client_secret": "rs-secret", "redirect_uris": [], "response_types": [], "grant_types": []},
    ]);
    let provider = Provider::start(&config);
    let introspection = Introspection { url: None, client_id: "rs".to_owned(), client_secret: SecretString::from("rs-secret".to_owned()) };
    let world = world(&provider, |issuer| issuer.introspection = Some(introspection)).await;
    let tokens = provider.sign_in("alice", &door(&world, "mcp"), "mcp:read").await;
    let opaque = tokens["access_token"].as_str().unwrap();
    assert!(!opaque.contains('.'), "{opaque}");
    let alices = agent(&world, opaque);
    assert_eq!(alices.query("shop", "SELECT 1").await["status"], "ok");
    assert_eq!(alices.query("shop", "SELECT 1").await["status"], "ok");
    assert_eq!(provider.asked("/token/introspection").await, 1, "asked once for a while");
    provider.admin("revoke-sessions", json!({"account": "alice"})).await;
    world.clock.turn(TimeDelta::seconds(16));
    assert_eq!(status(&alices).await, 401);
    let asked = provider.asked("/token/introspection").await;
    for _ in 0..3 {
        assert_eq!(status(&agent(&world, "made-up")).await, 401);
    }
    assert_eq!(provider.asked("/token/introspection").await, asked + 1, "a no is remembered as well");
    world.clock.turn(TimeDelta::seconds(11));
    assert_eq!(status(&agent(&world, "made-up")).await, 401);
    assert_eq!(provider.asked("/token/introspection").await, asked + 2, "for a while");
    for made_up in ["abcdef", "a b", "äöü", "x'; DROP TABLE tokens; --"] {
        let Ok(value) = http::HeaderValue::from_str(&format!("Bearer {made_up}")) else { continue };
        let response = reqwest::Client::new().post(door(&world, "mcp")).header("authorization", value).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 401, "{made_up}");
    }
    provider.admin("down", json!({"on": true})).await;
    assert_eq!(status(&agent(&world, "abcdefg")).await, 503, "an issuer that does not answer says no yes");
    world.verify();
}

/// The official clients do the whole of OAuth by themselves: metadata, registration, authorization with PKCE, the token for this resource.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_connect_through_oauth() {
    let provider = Provider::start(&accounts());
    // Only one authorization server is published, as in a company with one.
    let issuers = vec![issuer(&provider)];
    let mut world = World::with(Wish { policies: policies(), ..Wish::default() }).await;
    world.restart_with(|settings| settings.identity.issuers = issuers).await;
    let url = door(&world, "mcp");
    let python = parts().join("venv/bin/python");
    assert!(python.exists(), "run tests/run once: it installs what the tests need");
    for era in ["legacy", "auto"] {
        let mut ts = node();
        ts.arg(parts().join("client-ts.mjs"));
        let mut py = std::process::Command::new(&python);
        py.arg(parts().join("client_py.py"));
        for (name, mut command) in [("typescript", ts), ("python", py)] {
            command.args([&url, "--account", "alice", "--era", era]);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{name} {era}: {text}{}", String::from_utf8_lossy(&output.stderr));
            let said: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert!(said["tools"].as_array().unwrap().contains(&json!("db_query")), "{name} {era}: {said}");
            assert_eq!(said["whoami"]["result"]["human"]["subject"], "alice", "{name} {era}: {said}");
        }
    }
}

/// The inspector's command line signs in by itself: it tells an address, the human's browser goes there, and the call goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_connects_through_oauth() {
    let company = Company::new(json!({"accounts": accounts()["accounts"]})).await;
    let world = company.broker(Wish::default()).await;
    let home = tempfile::tempdir().unwrap();
    let script = parts().join("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let callback = format!("http://127.0.0.1:{}/oauth/callback", free_port());
    let mut command = tokio::process::Command::from(node());
    command
        .arg(script)
        .args(["--cli", &door(&world, "mcp"), "--transport", "http", "--callback-url", &callback])
        .args(["--method", "tools/call", "--tool-name", "whoami"])
        .env("HOME", home.path())
        .env("MCP_STORAGE_DIR", home.path())
        .env("MCP_AUTO_OPEN_ENABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = String::new();
    let address = loop {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("no address was told:\n{told}")).unwrap();
        told = format!("{told}{}\n", line.unwrap_or_else(|| panic!("it ended after:\n{told}")));
        if let Some(address) = told.split_whitespace().find(|word| word.contains("code_challenge=")) {
            break address.to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let (status, page) = company.browse(&address, "alice").await;
    assert_eq!(status, 200, "{page}");
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("alice"), "{told}{text}");
    world.verify();
}
