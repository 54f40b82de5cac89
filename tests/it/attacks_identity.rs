//! Attacks on who is asking (the catalogue's C5), over the wire: the refusal with its code and sentence, its record, and a target that nobody
//! touched. Where one is covered elsewhere this table says where.
//!
//! | Attack | Test |
//! | --- | --- |
//! | 67 DNS rebinding | `doors::foreign_hosts_and_origins_are_turned_away_everywhere`, `attacks_doors` |
//! | 68 session not bound to its principal | `attacks_objects` |
//! | 69 second surface without policy | `attacks_doors`; prompts, resources, tasks: `doors::malformed_requests_get_clear_answers`; each tool: `gates` |
//! | 70 header and body disagree | `doors::malformed_requests_get_clear_answers` |
//! | 72 audience | here; `identity::tests::forged_claims_are_refused`; of the provider: `provider::a_human_signs_in_…` |
//! | 73 mix-up | `cli::oauth::browser::tests::an_answer_is_taken_from_its_issuer_alone`, `login::of_several_issuers_one_is_named`; tokens: here |
//! | 74 forged tokens, 75 types of claims | here; each trick: `identity::tests`, any JSON: `identity::tests::properties`, any bytes: `fuzz` |
//! | 76 `act` chain | here; each trick: `identity::tests`; at the token service: `token_service` |
//! | 77 known keys, 83 passthrough, 87 SSRF | `attacks_outbound` |
//! | 78 fallback to the broker's login, 79 spoofed headers | here |
//! | 81 objects of others, 85 changed tools, 86 injected results, 88 revocation | `attacks_objects`, `registry` |
//! | 82 rules that one kind of credential skips | `attacks_doors`; limits: `transport` |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign::connector::Endpoint;
use countersign::credential::Source;
use countersign::credential::name::Template;
use countersign::credential::secret::Reference;
use countersign::identity::service::{ActorSettings, Proof};
use countersign::identity::{Algorithm, IssuerSettings, KeySource};
use countersign::refusal::Code;
use countersign::server::Transport;
use countersign::token_service;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Agent, Human, POLICY, Wish, World, code, modern, target};

pub const CORP: &str = "https://idp.example.com";
pub const SECRET: &str = "a secret of claude's own";
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// An issuer whose key the test has: whatever it wants signed is signed.
pub struct Corp {
    key: Ed25519KeyPair,
    dir: tempfile::TempDir,
}

impl Corp {
    pub fn new() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[0x5a, 7, 9].repeat(11)[..32]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let x = B64.encode(key.public_key().as_ref());
        std::fs::write(dir.path().join("jwks.json"), json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "c1", "x": x}]}).to_string())
            .unwrap();
        Self { key, dir }
    }

    pub fn settings(&self) -> IssuerSettings {
        IssuerSettings {
            namespace: "corp".to_owned(),
            human_clients: vec!["cli".to_owned()],
            ..IssuerSettings::new(CORP, KeySource::File(self.dir.path().join("jwks.json")), vec![Algorithm::EdDsa])
        }
    }

    /// A world that takes its tokens, and has a token service that serves `claude`.
    pub async fn world(&self, wish: Wish) -> World {
        self.world_with(wish, Vec::new()).await
    }

    async fn world_with(&self, wish: Wish, targets: Vec<countersign::broker::Target>) -> World {
        let proof = Proof::Secret(SecretString::from(SECRET.to_owned()));
        let scopes = vec!["mcp:read".to_owned(), "mcp:write".to_owned()];
        let actors = vec![ActorSettings { id: "claude".to_owned(), scopes, proof }];
        let wish = Wish {
            issuers: vec![self.settings()],
            token_service: token_service::Settings { actors, lifetime: Duration::from_secs(300), ..token_service::Settings::default() },
            // Agents are the company's and approvers the harness's: the policy that asks must take that.
            policies: if wish.policies == POLICY {
                corporate(&POLICY.replace("@ttl(\"30m\")", "@ttl(\"30m\")\n@approvers(\"any_issuer\")"))
            } else {
                wish.policies
            },
            targets,
            ..wish
        };
        World::with(wish).await
    }

    pub fn claims(&self, world: &World, door: &str) -> Value {
        let now = world.clock.now().timestamp();
        json!({
            "iss": CORP, "sub": "alice", "aud": format!("{}/{door}", world.base), "iat": now, "exp": now + 300, "groups": ["support"], "jti": "j",
        })
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        format!("{message}.{}", B64.encode(self.key.sign(message.as_bytes())))
    }

    pub fn token(&self, world: &World, door: &str, more: Value) -> String {
        let mut claims = self.claims(world, door);
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.sign(&json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "c1"}), &claims)
    }

    /// Alice's agent `agent`.
    pub fn agent(&self, world: &World, more: Value) -> Agent {
        let mut all = json!({"act": {"sub": "agent"}, "client_id": "host", "scope": "mcp:read mcp:write"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        agent(world, &self.token(world, "mcp", all))
    }

    pub fn human(&self, world: &World, who: &str, teams: &[&str]) -> Human {
        let token = self.token(world, "inbox", json!({"sub": who, "groups": teams, "client_id": "cli"}));
        Human { base: world.base.clone(), token, http: reqwest::Client::new() }
    }
}

/// The quickstart's policies for both issuers' teams.
pub fn corporate(policies: &str) -> String {
    let both = |team: &str| format!("principal in Team::\"corp/{team}\"");
    let again: String = policies
        .replace("principal in Team::\"support\"", &both("support"))
        .replace("principal in Team::\"approvers\"", &both("approvers"))
        .replace("@id(\"", "@id(\"corp.");
    // What is for everybody, and what forbids, need not stand there twice.
    let own: Vec<&str> = again.split("\n\n").filter(|part| part.contains("Team::\"corp/")).collect();
    format!("{policies}\n\n{}", own.join("\n\n"))
}

pub fn agent(world: &World, token: &str) -> Agent {
    Agent { base: world.base.clone(), token: token.to_owned(), http: reqwest::Client::new(), headers: BTreeMap::new() }
}

/// Totals are recorded at once, and nothing is limited.
pub fn counted() -> Wish {
    let transport = Transport {
        requests_per_minute: 0,
        unauthenticated_per_minute: 0,
        totals_every: Duration::from_millis(100),
        ..Transport::default()
    };
    Wish { transport, ..Wish::default() }
}

/// What the shop's file is before an attack, and how much the ledger has admitted.
pub struct Untouched {
    shop: Vec<u8>,
    admitted: usize,
}

impl Untouched {
    pub async fn before(world: &World) -> Self {
        Self { shop: std::fs::read(world.dir.path().join("shop.db")).unwrap(), admitted: admitted(world).await }
    }

    /// The same after it: nothing was admitted, so no connector was asked; and the file is what it was.
    pub async fn still(&self, world: &World) {
        assert_eq!(admitted(world).await, self.admitted, "a call was admitted");
        assert!(std::fs::read(world.dir.path().join("shop.db")).unwrap() == self.shop, "the shop has changed");
        world.verify();
    }
}

async fn admitted(world: &World) -> usize {
    world.approver().trail("&kind=call.admitted").await.len()
}

/// All recorded failures to authenticate, by code, once there are so many.
pub async fn failures(world: &World, expected: u64) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for _ in 0..50 {
        totals.clear();
        for entry in world.approver().trail("&kind=auth.failed").await {
            for (name, count) in entry["leaf"]["totals"].as_object().unwrap() {
                *totals.entry(name.clone()).or_default() += count.as_u64().unwrap();
            }
        }
        if totals.values().sum::<u64>() >= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(totals.values().sum::<u64>(), expected, "{totals:?}");
    totals
}

/// An answer that refuses: its status, its code, and the sentence that the code stands for; nothing of the token.
pub async fn refused(response: reqwest::Response, status: u16, expected: Code, token: &str, what: &str) {
    assert_eq!(response.status().as_u16(), status, "{what}");
    let text = response.text().await.unwrap();
    let said: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {text}"));
    assert_eq!(code(&said), expected.as_str(), "{what}: {said}");
    assert!(said["error"]["message"].as_str().unwrap().starts_with(expected.sentence()), "{what}: {said}");
    assert_eq!(said["error"]["hint"], expected.advice(), "{what}");
    assert!(token.is_empty() || token.rsplit('.').next().is_none_or(|part| part.is_empty() || !text.contains(part)), "{what}: {text}");
}

/// Attacks 72 to 76 as they come in: tokens that a trusted key signed, or that claim so.
#[tokio::test]
async fn a_token_that_is_not_for_exactly_this_is_refused_counted_and_reaches_nothing() {
    let corp = Corp::new();
    let world = corp.world(counted()).await;
    let good = corp.agent(&world, json!({}));
    assert_eq!(good.query("shop", "SELECT 1").await["status"], "ok", "what is refused below is refused for its own reason");
    let untouched = Untouched::before(&world).await;
    let now = world.clock.now().timestamp();
    let mcp = format!("{}/mcp", world.base);
    let claims = [
        // 72: a sibling's, one with a slash or a query more, in another case, of both doors, or of the whole host.
        ("aud", json!("https://sibling.example.com/mcp"), Code::InvalidToken),
        ("aud", json!(format!("{mcp}/")), Code::InvalidToken),
        ("aud", json!(format!("{mcp}?x")), Code::InvalidToken),
        ("aud", json!(mcp.to_uppercase()), Code::InvalidToken),
        ("aud", json!(world.base), Code::InvalidToken),
        ("aud", json!([mcp, format!("{}/inbox", world.base)]), Code::InvalidToken),
        ("aud", json!(["https://sibling.example.com/mcp", 7]), Code::InvalidToken),
        // 73: the key of one issuer, the name of another.
        ("iss", json!(format!("{}/issuer", world.base)), Code::InvalidToken),
        ("iss", json!(world.base), Code::InvalidToken),
        ("iss", json!(format!("{CORP}/")), Code::InvalidToken),
        // 75.
        ("exp", json!("never"), Code::InvalidToken),
        ("exp", json!(now - 60), Code::TokenExpired),
        ("exp", json!(99_999_999_999_i64), Code::InvalidToken),
        ("nbf", json!("x"), Code::InvalidToken),
        ("iat", json!(-1), Code::InvalidToken),
        ("sub", json!(["alice"]), Code::InvalidToken),
        ("sub", Value::Null, Code::InvalidToken),
        // 76.
        ("act", json!({"sub": "alice"}), Code::InvalidToken),
        ("act", json!({"sub": "agent", "iss": "https://evil.example"}), Code::InvalidToken),
        ("act", json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "a"}}}), Code::InvalidToken),
        ("act", json!({"sub": "agent", "scope": "mcp:read"}), Code::InvalidToken),
        ("may_act", json!({"sub": "somebody-else"}), Code::InvalidToken),
        ("scope", json!("openid"), Code::InsufficientScope),
    ];
    let signed = claims.len() as u64;
    for (name, value, expected) in claims {
        let what = format!("{name}: {value}");
        let attacker = corp.agent(&world, json!({name: value}));
        let status = if expected == Code::InsufficientScope { 403 } else { 401 };
        let response = attacker.raw("db_query", json!({"target": "shop", "sql": "SELECT 1"})).await;
        let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("resource_metadata=") && challenge.contains("error="), "{what}: {challenge}");
        refused(response, status, expected, &attacker.token, &what).await;
    }
    // 74: headers that would bring their own key or none.
    let payload = {
        let mut claims = corp.claims(&world, "mcp");
        claims["client_id"] = json!("host");
        claims["scope"] = json!("mcp:read");
        claims
    };
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": B64.encode(corp.key.public_key().as_ref())});
    let headers = [
        json!({"alg": "none", "typ": "at+jwt"}),
        json!({"alg": "HS256", "typ": "at+jwt", "kid": "c1"}),
        json!({"alg": "EdDSA", "typ": "at+jwt", "jwk": jwk}),
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "c1", "jku": "https://evil.example/keys"}),
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "../../../etc/passwd"}),
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "c1", "crit": ["exp"], "exp": 1}),
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "c1"}),
    ];
    for header in &headers {
        let token = corp.sign(header, &payload);
        refused(agent(&world, &token).raw("whoami", json!({})).await, 401, Code::InvalidToken, &token, &header.to_string()).await;
    }
    let totals = failures(&world, signed + headers.len() as u64).await;
    assert_eq!((totals["identity.expired"], totals["identity.insufficient_scope"]), (1, 1), "{totals:?}");
    untouched.still(&world).await;
}

/// A target that only counts who comes.
async fn decoy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, count)
}

/// Attack 78: whoever is nobody, or somebody whom the target does not know, never reaches it by the broker's own means.
#[tokio::test]
async fn half_an_identity_never_reaches_a_target() {
    let corp = Corp::new();
    let (port, connections) = decoy().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "alice-secret").unwrap();
    let password = Reference::parse("file:pw", folder.path()).unwrap();
    let login = Source { user: Some(Template::parse("alice").unwrap()), password: Some(password), certificate: None };
    let endpoint = Endpoint::Postgres {
        host: "127.0.0.1".to_owned(),
        port,
        database: "postgres".to_owned(),
        tls: false,
        ca: None,
        logins_max: 4,
        search_path: vec!["public".to_owned()],
    };
    // The login is of the company's alice, and of no other issuer's.
    let logins = countersign::credential::Access::Logins([((CORP.to_owned(), "alice".to_owned()), login)].into());
    let policies = crate::identity_in_postgres::OPEN.to_owned();
    let world = corp.world_with(Wish { policies, ..counted() }, vec![target("pg", endpoint, logins)]).await;
    let ask = json!({"target": "pg", "sql": "SELECT 1"});
    for (what, claims) in [
        ("no subject", json!({"sub": null})),
        ("an empty subject", json!({"sub": ""})),
        ("an agent that is the human", json!({"act": {"sub": "alice"}})),
        ("a machine by itself", json!({"sub": "host", "act": null})),
        ("no agent", json!({"act": null, "client_id": null})),
        ("no audience", json!({"aud": null})),
    ] {
        let attacker = corp.agent(&world, claims);
        refused(attacker.raw("db_query", ask.clone()).await, 401, Code::InvalidToken, &attacker.token, what).await;
    }
    for token in ["null", "undefined", "Bearer", "alice"] {
        refused(agent(&world, token).raw("db_query", ask.clone()).await, 401, Code::InvalidToken, "", token).await;
    }
    // Somebody whom the target does not know: another human, another issuer's alice, one who only looks like her.
    for stranger in [
        corp.agent(&world, json!({"sub": "bob"})),
        corp.agent(&world, json!({"sub": "ALICE"})),
        corp.agent(&world, json!({"sub": "alice "})),
        corp.agent(&world, json!({"sub": "alic\u{435}"})),
        world.agent(),
    ] {
        let answer = stranger.query("pg", "SELECT 1").await;
        assert_eq!(code(&answer), Code::TargetRefused.as_str(), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with(Code::TargetRefused.sentence()), "{answer}");
        let recorded = world.approver().trail(&format!("&call={}", answer["call_id"].as_str().unwrap())).await;
        assert_eq!(recorded[0]["leaf"]["res"]["code"], Code::TargetRefused.as_str(), "{recorded:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0, "somebody came to the target");
    failures(&world, 10).await;
    // And alice does come there, so that the counting is proven.
    let began = tokio::time::timeout(Duration::from_secs(10), corp.agent(&world, json!({})).query("pg", "SELECT 1")).await;
    assert!(connections.load(Ordering::SeqCst) > 0, "{began:?}");
    world.verify();
}

/// Headers by which proxies tell who somebody is, and some that would change what is asked.
const SPOOFED: [(&str, &str); 18] = [
    ("x-user", "root"),
    ("x-remote-user", "root"),
    ("remote-user", "root"),
    ("x-forwarded-user", "root"),
    ("x-forwarded-email", "root@example.com"),
    ("x-forwarded-preferred-username", "root"),
    ("x-forwarded-groups", "approvers"),
    ("x-forwarded-access-token", "a.b.c"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "evil.com"),
    ("x-forwarded-client-cert", "Hash=00;Subject=\"CN=root\""),
    ("x-auth-request-user", "root"),
    ("x-amzn-oidc-identity", "root"),
    ("x-goog-authenticated-user-email", "root"),
    ("impersonate-user", "root"),
    ("x-original-url", "/approvals"),
    ("x-http-method-override", "POST"),
    ("cookie", "session=root; access_token=a.b.c"),
];

fn spoofed(mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    for (name, value) in SPOOFED {
        request = request.header(name, value);
    }
    request
}

/// Attack 79: at the agent's door, at the human's and at the token service.
#[tokio::test]
async fn headers_that_name_somebody_name_nobody() {
    let corp = Corp::new();
    let world = corp.world(counted()).await;
    let untouched = Untouched::before(&world).await;
    let http = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", world.base);
    let call = modern("tools/call", json!({"name": "db_query", "arguments": {"target": "shop", "sql": "SELECT 1"}}));
    let response = spoofed(http.post(at("/mcp")).header("accept", "application/json, text/event-stream").json(&call)).send().await.unwrap();
    refused(response, 401, Code::MissingToken, "", "the agent's door").await;
    for path in ["/whoami", "/approvals", "/audit/entries", "/agents", "/delegations"] {
        refused(spoofed(http.get(at(path))).send().await.unwrap(), 401, Code::MissingToken, "", path).await;
    }
    let form = [("grant_type", "client_credentials"), ("client_id", "claude")];
    let response = spoofed(http.post(at("/oauth/token")).form(&form)).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], Code::InvalidClient.as_str());
    failures(&world, 7).await;
    untouched.still(&world).await;
    // Beside a good token they change nothing of whom it names, nor what is asked.
    let mut plain = corp.agent(&world, json!({}));
    let expected = plain.call("whoami", json!({})).await["result"]["human"].clone();
    plain.headers = SPOOFED.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    let found = plain.call("whoami", json!({})).await["result"]["human"].clone();
    assert_eq!((&found, &found["subject"]), (&expected, &json!("alice")));
    let bob = corp.human(&world, "bob", &["approvers"]);
    let who: Value = spoofed(http.get(at("/whoami")).bearer_auth(&bob.token)).send().await.unwrap().json().await.unwrap();
    assert_eq!((&who["subject"], &who["teams"]), (&json!("bob"), &json!(["approvers"])), "{who}");
    let subject = corp.token(&world, "mcp", json!({"client_id": "host", "scope": "mcp:read"}));
    let form =
        [("grant_type", EXCHANGE), ("subject_token", &subject), ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")];
    let request = http.post(at("/oauth/token")).basic_auth("claude", Some(SECRET.replace(' ', "+"))).form(&form);
    let lent: Value = spoofed(request).send().await.unwrap().json().await.unwrap();
    let who = agent(&world, lent["access_token"].as_str().unwrap_or_else(|| panic!("{lent}"))).call("whoami", json!({})).await;
    assert_eq!((&who["result"]["human"]["subject"], &who["result"]["agent"]["id"]), (&json!("alice"), &json!("claude")), "{who}");
    let metadata: Value = spoofed(http.get(at("/.well-known/oauth-protected-resource/mcp"))).send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["resource"], json!(at("/mcp")));
    world.verify();
}
