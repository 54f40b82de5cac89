//! The token service: a human's token and an agent's proof of itself become a token that names both, for the identity providers that cannot.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use chrono::TimeDelta;
use countersign::identity::service::{ActorSettings, Proof};
use countersign::identity::{Algorithm, IssuerSettings, KeySource};
use countersign::registry;
use countersign::token_service::Settings;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::provider::Provider;
use crate::harness::{Agent, Human, POLICY, Wish, World, code};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

struct Stage {
    provider: Provider,
    world: World,
    key: Ed25519KeyPair,
}

/// A broker in front of a real provider, serving `claude` by secret, `codex` by a key of its own, and `nightly` by its platform's word.
async fn stage(delegations_required: bool) -> Stage {
    let provider = Provider::start(&json!({"accounts": {
        "alice": {"name": "Alice", "groups": ["support"]},
        "bob": {"name": "Bob", "groups": ["approvers"]},
        "carol": {"groups": ["support"], "may_act": {"sub": "codex"}},
    }}));
    let issuer = IssuerSettings {
        namespace: "idp".to_owned(),
        human_clients: vec!["cli".to_owned()],
        ..IssuerSettings::new(&provider.issuer, KeySource::Discovered, vec![Algorithm::Rs256])
    };
    let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let dir = tempfile::tempdir().unwrap().keep();
    let jwks = dir.join("jwks.json");
    let x = B64.encode(key.public_key().as_ref());
    std::fs::write(&jwks, json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "own", "x": x}]}).to_string()).unwrap();
    let own = |url: &str| IssuerSettings::new(url, KeySource::File(jwks.clone()), vec![Algorithm::EdDsa]);
    let both = || vec!["mcp:read".to_owned(), "mcp:write".to_owned()];
    let actor = |id: &str, proof| ActorSettings { id: id.to_owned(), scopes: both(), proof };
    let workload =
        Proof::Workload { issuer: own("https://cluster.example.com"), subject: "system:serviceaccount:agents:nightly".to_owned() };
    let actors = vec![
        actor("claude", Proof::Secret(SecretString::from("claude's secret".to_owned()))),
        actor("codex", Proof::Key(own("https://actor.invalid"))),
        actor("nightly", workload),
    ];
    let alone = "@id(\"nightly.works_alone\") @owner(\"idp/alice\")\npermit (principal == Agent::\"countersign/nightly\", action == Action::\"work_alone\", resource);\n\
                 @id(\"nightly.reads\")\npermit (principal in Agent::\"countersign/nightly\", action == Action::\"invoke\", resource in Target::\"shop\") when { context.risk == 1 };\n\
                 @id(\"nightly.asks\") @self_approval(\"allowed\")\npermit (principal in Agent::\"countersign/nightly\", action == Action::\"request\", resource in Target::\"shop\") when { context.risk == 2 };\n";
    let wish = Wish {
        policies: format!("{}\n{alone}", POLICY.replace("Team::\"", "Team::\"idp/")),
        issuers: vec![issuer],
        registry: registry::Settings { delegations_required, ..registry::Settings::default() },
        token_service: Settings { actors, lifetime: Duration::from_secs(300), ..Settings::default() },
        hold: Duration::ZERO,
        ..Wish::default()
    };
    Stage { provider, world: World::with(wish).await, key }
}

impl Stage {
    fn door(&self, name: &str) -> String {
        format!("{}/{name}", self.world.base)
    }

    async fn signed_in(&self, who: &str, door: &str, scope: &str) -> String {
        self.provider.sign_in(who, &self.door(door), scope).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn human(&self, who: &str) -> Human {
        Human { base: self.world.base.clone(), token: self.signed_in(who, "inbox", "openid").await, http: reqwest::Client::new() }
    }

    fn agent(&self, token: &str) -> Agent {
        Agent { base: self.world.base.clone(), token: token.to_owned(), http: reqwest::Client::new(), headers: BTreeMap::new() }
    }

    async fn ask(&self, path: &str, client: Option<(&str, &str)>, fields: &[(&str, &str)]) -> (u16, Value) {
        let mut request = reqwest::Client::new().post(self.door(path)).form(fields);
        if let Some((id, secret)) = client {
            request = request.basic_auth(id, Some(secret));
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Claude exchanges a human's token.
    async fn exchange(&self, subject: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let mut fields = vec![("grant_type", EXCHANGE), ("subject_token", subject), ("subject_token_type", ACCESS)];
        fields.extend(more);
        self.ask("oauth/token", Some(("claude", "claude%27s+secret")), &fields).await
    }

    /// An assertion signed with the key that codex and the cluster have.
    fn assertion(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = self.world.clock.now().timestamp();
        let mut claims = json!({"iss": "codex", "sub": "codex", "aud": self.world.base, "iat": now, "exp": now + 60, "jti": format!("{:?}", std::time::Instant::now())});
        change(&mut claims);
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let message = format!("{}.{}", B64.encode(json!({"alg": "EdDSA", "kid": "own"}).to_string()), B64.encode(claims.to_string()));
        format!("{message}.{}", B64.encode(self.key.sign(message.as_bytes())))
    }
}

fn token(answer: &(u16, Value)) -> String {
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1["access_token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&B64.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_humans_token_becomes_one_that_names_both() {
    let stage = stage(false).await;
    let alice = stage.signed_in("alice", "mcp", "openid mcp:read mcp:write").await;
    let lent = token(&stage.exchange(&alice, &[("scope", "mcp:read"), ("resource", &stage.door("mcp"))]).await);
    let said = claims(&lent);
    assert_eq!(said["act"], json!({"sub": "claude"}));
    assert_eq!(said["sub_id"], json!({"format": "iss_sub", "iss": stage.provider.issuer, "sub": "alice"}));
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() <= 300);
    let claude = stage.agent(&lent);
    let who = claude.call("whoami", json!({})).await;
    assert_eq!(who["result"]["human"]["issuer"], json!(stage.provider.issuer), "{who}");
    assert_eq!((who["result"]["human"]["subject"].as_str(), who["result"]["agent"]["id"].as_str()), (Some("alice"), Some("claude")));
    assert_eq!(claude.query("shop", "SELECT 1").await["status"], "ok", "alice's team came along");
    assert_eq!(
        claude.raw("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = 1"})).await.status(),
        403
    );
    // The metadata leads there, and its keys verify what it signs.
    let http = reqwest::Client::new();
    let metadata: Value = http.get(stage.door(".well-known/oauth-authorization-server")).send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["issuer"], json!(stage.world.base));
    let jwks: Value = http.get(metadata["jwks_uri"].as_str().unwrap()).send().await.unwrap().json().await.unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);
    assert!(!jwks.to_string().contains("\"d\""));
    // A second agent acts for the first: the whole chain is kept, and nothing gets wider on the way.
    let by_key = |scope: &'static str| {
        let (lent, assertion) = (lent.clone(), stage.assertion(|_| {}));
        let stage = &stage;
        async move {
            let fields = [
                ("grant_type", EXCHANGE),
                ("subject_token", lent.as_str()),
                ("subject_token_type", ACCESS),
                ("client_id", "codex"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion.as_str()),
                ("scope", scope),
            ];
            stage.ask("oauth/token", None, &fields).await
        }
    };
    let chained = token(&by_key("mcp:read").await);
    assert_eq!(claims(&chained)["act"], json!({"sub": "codex", "act": {"sub": "claude"}}));
    let who = stage.agent(&chained).call("whoami", json!({})).await;
    assert_eq!(who["result"]["agent"]["chain"], json!(["claude"]), "{who}");
    assert_eq!(by_key("mcp:write").await.1["error"], "invalid_scope");
    assert_eq!(stage.exchange(&chained, &[]).await.1["error"], "invalid_grant", "claude is in the chain already");
    let bob = stage.human("bob").await;
    let issued = bob.trail("&kind=token.issued").await;
    assert_eq!(issued.len(), 2);
    assert_eq!((issued[1]["human"].as_str(), issued[1]["agent"].as_str()), (Some("alice"), Some("claude")));
    // The record of what the second did says through whom it came.
    let did = &bob.trail("&kind=call.completed").await[0];
    assert_eq!((&did["agent"], &did["leaf"]["dlg"]["parent"]), (&json!("codex"), &issued[1]["leaf"]["agent"]["id"]), "{did}");
    assert_eq!(bob.trail("&kind=token.refused").await.len(), 2);
    stage.world.verify();
}

#[tokio::test]
async fn what_is_not_good_for_a_token_gets_none() {
    let stage = stage(false).await;
    let alice = stage.signed_in("alice", "mcp", "mcp:read mcp:write").await;
    let inbox = stage.signed_in("alice", "inbox", "openid").await;
    let carol = stage.signed_in("carol", "mcp", "mcp:read").await;
    let (message, signature) = alice.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{message}.{other}{}", &signature[1..]);
    let machine = {
        let fields = [("grant_type", "client_credentials"), ("resource", &stage.door("mcp")), ("scope", "mcp:read")];
        stage.provider.form("/token", Some(("agent", "agent-secret")), &fields).await.1["access_token"].as_str().unwrap().to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for (subject, more, error, says) in [
        (inbox.as_str(), &[][..], "invalid_grant", "aud"),
        (carol.as_str(), &[], "invalid_grant", "may_act"),
        (tampered.as_str(), &[], "invalid_grant", "signature"),
        (machine.as_str(), &[], "invalid_grant", "no human"),
        ("x.y.z", &[], "invalid_grant", ""),
        ("opaque", &[], "invalid_grant", ""),
        (alice.as_str(), &[("scope", "mcp:admin")], "invalid_scope", "mcp:read mcp:write"),
        (alice.as_str(), &[("resource", "https://other.example.com")], "invalid_target", "/mcp"),
        (alice.as_str(), &[("audience", "https://other.example.com")], "invalid_target", "/mcp"),
        (alice.as_str(), &[("subject_token_type", "urn:made:up")], "invalid_request", "more than once"),
    ] {
        let (status, said) = stage.exchange(subject, more).await;
        assert_eq!((status, said["error"].as_str()), (400, Some(error)), "{more:?}: {said}");
        seen.insert(said["code"].as_str().unwrap().to_owned());
        assert!(said["error_description"].as_str().unwrap().contains(says), "{said}");
        assert!(said["code"].as_str().unwrap().contains('.'), "{said}");
    }
    for expected in
        ["identity.invalid_grant", "identity.invalid_scope", "identity.invalid_target", "identity.invalid_token", "request.malformed"]
    {
        assert!(seen.contains(expected), "{expected}: {seen:?}");
    }
    let fields = [("grant_type", EXCHANGE), ("subject_token", alice.as_str()), ("subject_token_type", ACCESS)];
    for client in [None, Some(("claude", "wrong")), Some(("nobody", "claude's secret")), Some(("codex", "claude's secret")), Some(("", ""))]
    {
        let (status, said) = stage.ask("oauth/token", client, &fields).await;
        assert_eq!(
            (status, said["error"].as_str(), said["code"].as_str()),
            (401, Some("invalid_client"), Some("identity.invalid_client")),
            "{client:?}"
        );
    }
    let unknown = stage.ask("oauth/token", Some(("claude", "claude%27s+secret")), &[("grant_type", "password")]).await;
    assert_eq!(
        (unknown.1["error"].as_str(), unknown.1["code"].as_str()),
        (Some("unsupported_grant_type"), Some("identity.unsupported_grant"))
    );
    // Assertions that are somebody else's, for somebody else, too long, over, or signed with another key.
    let now = stage.world.clock.now().timestamp();
    let good = stage.assertion(|_| {});
    let mut bad: Vec<String> = [
        ("iss", json!("claude")),
        ("sub", json!("claude")),
        ("aud", json!("https://other")),
        ("aud", Value::Null),
        ("exp", json!(now - 300)),
        ("exp", json!(now + 7200)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("nbf", json!(now + 600)),
    ]
    .into_iter()
    .map(|(name, value)| stage.assertion(|claims| claims[name] = value))
    .collect();
    bad.push(format!("{}A", good.rsplit_once('.').unwrap().0));
    bad.push(alice.clone());
    for assertion in bad {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "codex"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        assert_eq!(stage.ask("oauth/token", None, &fields).await.0, 401, "{assertion}");
    }
    // An assertion that was overheard is worth nothing: it was made for one request.
    let once = stage.assertion(|_| {});
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "codex"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", once.as_str()),
    ];
    assert_eq!(stage.ask("oauth/token", None, &fields).await.1["error"], "unauthorized_client");
    assert_eq!(stage.ask("oauth/token", None, &fields).await.1["error"], "invalid_client");
    stage.world.verify();
}

/// What one agent was lent does not reach further in another's hands, nor in its own under another name.
#[tokio::test]
async fn an_exchange_widens_nothing() {
    let stage = stage(false).await;
    let sign = async |claims: Value| {
        let mut all = json!({"aud": stage.door("mcp"), "client_id": "cli", "groups": ["support"]});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        stage.provider.token(json!({"claims": all})).await
    };
    // Scopes of others are no scopes of ours, and no freedom either.
    assert_eq!(stage.exchange(&sign(json!({"scope": "openid profile"})).await, &[]).await.1["error"], "invalid_grant");
    // Not an access token and not an ID token: somebody signed out.
    let events = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    assert_eq!(stage.exchange(&sign(events).await, &[]).await.1["error"], "invalid_grant");
    // An agent under the provider's name for it, bounded there, is not free under another.
    let alice = stage.human("alice").await;
    let lend = json!({"agent": "desk", "highest_risk": "read", "lasting_s": 600});
    assert_eq!(alice.http.post(stage.door("delegations")).bearer_auth(&alice.token).json(&lend).send().await.unwrap().status(), 200);
    let held = sign(json!({"client_id": "desk", "scope": "mcp:read mcp:write"})).await;
    assert_eq!(stage.exchange(&held, &[]).await.1["code"], "identity.outside_delegation");
    // And one that is suspended stays so in a chain.
    let other = sign(json!({"client_id": "other", "scope": "mcp:read"})).await;
    let chained = token(&stage.exchange(&other, &[]).await);
    assert_eq!(claims(&chained)["act"], json!({"sub": "claude", "act": {"sub": "other"}}));
    assert_eq!(stage.agent(&chained).query("shop", "SELECT 1").await["status"], "ok");
    let bob = stage.human("bob").await;
    let suspend = json!({"agent": "other", "state": "suspended", "reason": "incident"});
    assert_eq!(bob.http.post(stage.door("agents/state")).bearer_auth(&bob.token).json(&suspend).send().await.unwrap().status(), 200);
    assert_eq!(code(&stage.agent(&chained).query("shop", "SELECT 1").await), "identity.agent_suspended");
    assert_eq!(stage.exchange(&other, &[]).await.1["code"], "identity.agent_suspended");
    stage.world.verify();
}

#[tokio::test]
async fn a_token_stands_on_what_the_human_lent_and_falls_with_it() {
    let stage = stage(true).await;
    let alice = stage.signed_in("alice", "mcp", "mcp:read mcp:write").await;
    assert_eq!(stage.exchange(&alice, &[]).await.1["code"], "identity.no_delegation");
    let human = stage.human("alice").await;
    let lend = async |risk: &str| {
        let body = json!({"agent": "claude", "issuer": stage.world.base, "highest_risk": risk, "lasting_s": 120});
        let response = human.http.post(stage.door("delegations")).bearer_auth(&human.token).json(&body).send().await.unwrap();
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let id = lend("read").await;
    let answer = stage.exchange(&alice, &[]).await;
    assert_eq!(answer.1["scope"], "mcp:read", "no more than was lent");
    assert!(answer.1["expires_in"].as_i64().unwrap() <= 120, "and no longer");
    let lent = token(&answer);
    assert_eq!(claims(&lent)["dlg"], json!(id));
    let claude = stage.agent(&lent);
    assert_eq!(claude.query("shop", "SELECT 1").await["status"], "ok");
    // A wider delegation, made later, is nothing to the token that stands on the first.
    let wider = lend("write").await;
    let path = format!("delegations/{id}/revoke");
    human.http.post(stage.door(&path)).bearer_auth(&human.token).json(&json!({})).send().await.unwrap();
    assert_eq!(code(&claude.query("shop", "SELECT 1").await), "identity.delegation_revoked");
    let again = token(&stage.exchange(&alice, &[]).await);
    assert_eq!(claims(&again)["dlg"], json!(wider));
    assert_eq!(stage.agent(&again).query("shop", "SELECT 1").await["status"], "ok");
    // An agent that is suspended gets no token, and those it has are good for nothing.
    let bob = stage.human("bob").await;
    let suspend = json!({"agent": "claude", "issuer": stage.world.base, "state": "suspended", "reason": "incident"});
    assert_eq!(bob.http.post(stage.door("agents/state")).bearer_auth(&bob.token).json(&suspend).send().await.unwrap().status(), 200);
    assert_eq!(stage.exchange(&alice, &[]).await.1["code"], "identity.agent_suspended");
    assert_eq!(code(&stage.agent(&again).query("shop", "SELECT 1").await), "identity.agent_suspended");
    stage.world.verify();
}

#[tokio::test]
async fn a_token_can_be_taken_back_by_the_agent_that_holds_it() {
    let stage = stage(false).await;
    let alice = stage.signed_in("alice", "mcp", "mcp:read").await;
    let lent = token(&stage.exchange(&alice, &[]).await);
    let claude = stage.agent(&lent);
    assert_eq!(claude.query("shop", "SELECT 1").await["status"], "ok");
    let fields = [("token", lent.as_str())];
    assert_eq!(stage.ask("oauth/revoke", None, &fields).await.0, 401);
    let assertion = stage.assertion(|_| {});
    let codex = [
        ("token", lent.as_str()),
        ("client_id", "codex"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    assert_eq!(stage.ask("oauth/revoke", None, &codex).await.1["error"], "invalid_client");
    let client = Some(("claude", "claude%27s+secret"));
    assert_eq!(stage.ask("oauth/revoke", client, &[("token", "made up")]).await.0, 200, "there is nothing to tell");
    assert_eq!(claude.query("shop", "SELECT 1").await["status"], "ok");
    assert_eq!(stage.ask("oauth/revoke", client, &fields).await.0, 200);
    // Nor can another agent make a token of its own from it.
    let assertion = stage.assertion(|_| {});
    let fields = [
        ("grant_type", EXCHANGE),
        ("subject_token", lent.as_str()),
        ("subject_token_type", ACCESS),
        ("client_id", "codex"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion.as_str()),
    ];
    assert_eq!(stage.ask("oauth/token", None, &fields).await.1["code"], "identity.token_revoked");
    assert_eq!(code(&claude.query("shop", "SELECT 1").await), "identity.token_revoked");
    assert_eq!(stage.human("bob").await.trail("&kind=token.revoked").await.len(), 1);
    stage.world.verify();
}

#[tokio::test]
async fn an_agent_works_alone_only_where_a_policy_names_who_answers() {
    let stage = stage(false).await;
    let client = Some(("claude", "claude%27s+secret"));
    let (status, said) = stage.ask("oauth/token", client, &[("grant_type", "client_credentials")]).await;
    assert_eq!(
        (status, said["error"].as_str(), said["code"].as_str()),
        (400, Some("unauthorized_client"), Some("identity.no_responsible_human"))
    );
    let word = stage.assertion(|claims| {
        claims["iss"] = json!("https://cluster.example.com");
        claims["sub"] = json!("system:serviceaccount:agents:nightly");
        claims["aud"] = json!([stage.world.base]);
        claims["exp"] = json!(stage.world.clock.now().timestamp() + 3600);
    });
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "nightly"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", word.as_str()),
    ];
    let nightly = stage.agent(&token(&stage.ask("oauth/token", None, &fields).await));
    let who = nightly.call("whoami", json!({})).await;
    assert_eq!(who["result"]["human"]["subject"], "alice", "the one who answers: {who}");
    assert_eq!(who["result"]["human"]["teams"], json!([]), "and none of her teams");
    assert_eq!(nightly.query("shop", "SELECT 1").await["status"], "ok");
    // Whoever answers for it never approves it alone, whatever the policy says of self-approval.
    let asked = nightly.execute("shop", "UPDATE orders SET status = 'paid' WHERE id = 1").await;
    let id = asked["approval"]["id"].as_str().unwrap_or_else(|| panic!("{asked}"));
    let alice = stage.human("alice").await;
    let (status, refused) = alice.decide(id, json!({"decision": "approve"})).await;
    assert_eq!((status, code(&refused)), (403, "approval.not_allowed"), "{refused}");
    // Nobody's human token can be made from it.
    assert_eq!(stage.exchange(&nightly.token, &[]).await.1["error"], "invalid_grant");
    stage.world.verify();
}

#[tokio::test]
async fn its_keys_turn_over_by_themselves() {
    let mut stage = stage(false).await;
    let jwks = async |stage: &Stage| -> Vec<String> {
        let set: Value = reqwest::Client::new().get(stage.door("oauth/jwks")).send().await.unwrap().json().await.unwrap();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let kid = |token: &str| -> String {
        let header: Value = serde_json::from_slice(&B64.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    let alone = async |stage: &Stage| {
        let now = stage.world.clock.now().timestamp();
        let word = stage.assertion(|claims| {
            claims["iss"] = json!("https://cluster.example.com");
            claims["sub"] = json!("system:serviceaccount:agents:nightly");
            claims["exp"] = json!(now + 3600);
        });
        let fields = [("grant_type", "client_credentials"), ("client_id", "nightly"), ("actor_token", word.as_str())];
        token(&stage.ask("oauth/token", None, &fields).await)
    };
    let first = jwks(&stage).await;
    stage.world.clock.turn(TimeDelta::days(30));
    let old = alone(&stage).await;
    let both = jwks(&stage).await;
    assert_eq!((both.len(), kid(&old)), (2, first[0].clone()), "published before it signs");
    stage.world.clock.turn(TimeDelta::seconds(61));
    let new = alone(&stage).await;
    assert_eq!(kid(&new), both[1]);
    for token in [&old, &new] {
        assert_eq!(stage.agent(token).query("shop", "SELECT 1").await["status"], "ok");
    }
    // A restart keeps them.
    stage.world.restart().await;
    assert_eq!(jwks(&stage).await, both);
    assert_eq!(stage.agent(&new).query("shop", "SELECT 1").await["status"], "ok");
    stage.world.clock.turn(TimeDelta::hours(3));
    assert_eq!(jwks(&stage).await, both[1..], "and the old one goes once no token can have it");
    stage.world.verify();
}
