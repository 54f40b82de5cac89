//! Attacks on the ways in (C5 69 and 82): every route is in a table with what it demands, there is no other, and no kind of credential skips a rule.

use std::collections::BTreeSet;
use std::path::Path;

use countersign::refusal::Code;
use countersign::server::Transport;
use serde_json::{Value, json};

use crate::attacks_identity::{Corp, EXCHANGE, SECRET, Untouched, counted, failures, refused};
use crate::harness::{Wish, World, modern};

/// What a route demands of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Nothing: it tells nothing that is anybody's.
    Nothing,
    /// An agent's token.
    Agent,
    /// A human's token.
    Person,
    /// An agent that proves itself to the token service.
    Client,
    /// A system's signature: no token is one.
    System,
    /// A browser, and nothing that a token could be.
    Browser,
}

/// Every route that there is. Whoever adds one says here what it demands; nothing is reachable that does not stand here.
const ROUTES: &[(&str, &str, Demand)] = &[
    ("post", "/mcp", Demand::Agent),
    ("get", "/.well-known/oauth-protected-resource", Demand::Nothing),
    ("get", "/.well-known/oauth-protected-resource/mcp", Demand::Nothing),
    ("get", "/.well-known/oauth-protected-resource/inbox", Demand::Nothing),
    ("get", "/.well-known/oauth-authorization-server", Demand::Nothing),
    ("get", "/oauth/jwks", Demand::Nothing),
    ("post", "/oauth/token", Demand::Client),
    ("post", "/oauth/revoke", Demand::Client),
    ("get", "/healthz", Demand::Nothing),
    ("get", "/readyz", Demand::Nothing),
    ("get", "/approvals", Demand::Person),
    ("get", "/approvals/{id}", Demand::Person),
    ("get", "/approvals/summary", Demand::Person),
    ("post", "/approvals/{id}/decision", Demand::Person),
    ("post", "/approvals/{id}/revoke", Demand::Person),
    ("post", "/approvals/{id}/break-glass", Demand::Person),
    ("post", "/approvals/{id}/review", Demand::Person),
    ("post", "/approvals/{id}/decisions/{system}", Demand::System),
    ("get", "/channels", Demand::Person),
    ("get", "/channels/dead", Demand::Person),
    ("post", "/channels/dead/{id}/retry", Demand::Person),
    ("post", "/channels/slack/{channel}/interactions", Demand::System),
    ("get", "/agents", Demand::Person),
    ("post", "/agents", Demand::Person),
    ("post", "/agents/state", Demand::Person),
    ("get", "/delegations", Demand::Person),
    ("post", "/delegations", Demand::Person),
    ("post", "/delegations/{id}/revoke", Demand::Person),
    ("get", "/audit/entries", Demand::Person),
    ("get", "/audit/calls/{id}", Demand::Person),
    ("get", "/audit/checkpoint", Demand::Person),
    ("get", "/audit/leaves", Demand::Person),
    ("get", "/audit/key", Demand::Person),
    ("get", "/whoami", Demand::Person),
    ("get", "/audit/checkpoints", Demand::Person),
    ("get", "/login", Demand::Browser),
    ("post", "/logout", Demand::Browser),
];

/// The routes that the sources make, command line aside: `.route("…", get(…).post(…))`, and the protocol's own service.
fn declared() -> BTreeSet<(String, String)> {
    fn walk(dir: &Path, found: &mut BTreeSet<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("cli") {
                    walk(&path, found);
                }
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for rest in text.split(".route(\"").skip(1) {
                let (address, rest) = rest.split_once('"').unwrap();
                let handlers = rest.split(".route").next().unwrap();
                let handlers = handlers.split_once(".layer").map_or(handlers, |(before, _)| before);
                for method in ["get", "post", "put", "delete", "patch", "any"] {
                    if address != "/" && handlers.contains(&format!("{method}(")) {
                        found.insert((method.to_owned(), address.to_owned()));
                    }
                }
            }
            for rest in text.split(".route_service(\"").skip(1) {
                found.insert(("post".to_owned(), rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn address(world: &World, path: &str) -> String {
    format!("{}{}", world.base, path.replace("{id}", "apr_00000000000000000000000000000000"))
}

/// Attack 69: there is one way in for each kind of asker, and no other.
#[tokio::test]
async fn each_route_demands_what_the_table_says_and_there_is_no_other() {
    let table: BTreeSet<(String, String)> = ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(declared(), table, "the sources and the table differ");
    let corp = Corp::new();
    let world = corp.world(counted()).await;
    let untouched = Untouched::before(&world).await;
    let http = reqwest::Client::new();
    let (lent, own) = (corp.agent(&world, json!({})).token, corp.human(&world, "bob", &["approvers"]).token);
    let mut unknown = 0;
    for (method, path, demand) in ROUTES {
        let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let ask = async |token: Option<&str>| {
            let request = http.request(method.clone(), address(&world, path)).header("accept", "application/json, text/event-stream");
            let request = match *demand {
                Demand::Client => request.form(&[("grant_type", "client_credentials"), ("client_id", "claude")]),
                _ if method == "POST" => request.json(&modern("tools/list", json!({}))),
                _ => request,
            };
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            request.send().await.unwrap().status().as_u16()
        };
        let (nobody, forged) = (ask(None).await, ask(Some("x.y.z")).await);
        let (agents, humans) = (ask(Some(&lent)).await, ask(Some(&own)).await);
        let is_open = |status: u16| !matches!(status, 401 | 403);
        let expected = match demand {
            Demand::Nothing => [true, true, true, true],
            Demand::Agent => [false, false, true, false],
            Demand::Person => [false, false, false, true],
            Demand::Client | Demand::System => [false, false, false, false],
            // No issuer here has a client for browsers, and no token is a session: nothing comes of it for anybody.
            Demand::Browser => {
                assert!([nobody, forged, agents, humans].iter().all(|status| (400..500).contains(status)), "{method} {path}");
                unknown += 4;
                continue;
            }
        };
        let found = [nobody, forged, agents, humans];
        // A human who may not is told so (403) after it is known who it is; nobody else gets even that.
        let let_in = [is_open(nobody), is_open(forged), is_open(agents), humans != 401];
        assert_eq!(let_in, expected, "{method} {path}: {found:?}");
        unknown += found.iter().filter(|status| **status == 401).count() as u64;
    }
    // Any other method of a route, and any other address, does nothing for anybody.
    for (path, open) in ROUTES.iter().map(|(_, path, demand)| (*path, *demand == Demand::Nothing)).collect::<BTreeSet<_>>() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            let known = table.contains(&(method.to_lowercase().replace("head", "get"), path.to_owned()));
            if known {
                continue;
            }
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            for token in ["", lent.as_str(), own.as_str()] {
                let status = http.request(method.clone(), address(&world, path)).bearer_auth(token).send().await.unwrap().status();
                assert!(status.is_client_error(), "{method} {path} ({open}): {status}");
                unknown += u64::from(status == 401);
            }
        }
    }
    for path in [
        "/",
        "/api/tools",
        "/v1/call",
        "/mcp/",
        "/mcp/tools/call",
        "/sse",
        "/messages",
        "/rpc",
        "//mcp",
        "/MCP",
        "/metrics",
        "/debug",
        "/console",
        "/admin",
    ] {
        for token in [&lent, &own] {
            let request = http.post(format!("{}{path}", world.base)).bearer_auth(token).json(&modern("tools/list", json!({})));
            assert_eq!(request.send().await.unwrap().status(), 404, "{path}");
        }
    }
    assert!(unknown > 60);
    failures(&world, unknown).await;
    untouched.still(&world).await;
}

/// Attack 82: whose request it is changes nothing about where it may come from, nor about how often one may fail.
#[tokio::test]
async fn no_kind_of_credential_skips_a_rule_of_the_network() {
    let corp = Corp::new();
    let world = corp.world(counted()).await;
    let untouched = Untouched::before(&world).await;
    let http = reqwest::Client::new();
    let (lent, own) = (corp.agent(&world, json!({})).token, corp.human(&world, "bob", &["approvers"]).token);
    let secret = SECRET.replace(' ', "+");
    let subject = corp.token(&world, "mcp", json!({"client_id": "host", "scope": "mcp:read"}));
    let mut turned_away = 0;
    for (method, path, _) in ROUTES {
        for (header, value) in [("host", "evil.com"), ("origin", "https://evil.com"), ("origin", "null")] {
            for credential in 0..4 {
                let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let request = http.request(method, address(&world, path)).header(header, value);
                let form = [
                    ("grant_type", EXCHANGE),
                    ("subject_token", subject.as_str()),
                    ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ];
                let request = match credential {
                    0 => request.bearer_auth(&lent).json(&modern("tools/list", json!({}))),
                    1 => request.bearer_auth(&own).json(&json!({"agent": "claude", "highest_risk": "read", "lasting_s": 60})),
                    2 => request.basic_auth("claude", Some(&secret)).form(&form),
                    _ => request.header("cookie", format!("session={own}; access_token={lent}")),
                };
                refused(request.send().await.unwrap(), 403, Code::ForeignOrigin, "", &format!("{path} {header} {credential}")).await;
                turned_away += 1;
            }
        }
    }
    let totals = failures(&world, turned_away).await;
    assert_eq!(totals.keys().collect::<Vec<_>>(), [Code::ForeignOrigin.as_str()]);
    assert!(world.approver().trail("&kind=token.issued").await.is_empty());
    assert_eq!(own_delegations(&corp, &world).await, json!([]));
    untouched.still(&world).await;
    // A secret may be guessed as rarely as a token, from whichever side of the house.
    let transport = Transport { unauthenticated_per_minute: 6, requests_per_minute: 0, ..Transport::default() };
    let world = corp.world(Wish { transport, ..Wish::default() }).await;
    let guess = async |nth: usize| {
        let request = http.post(address(&world, "/oauth/token"));
        let request = match nth % 3 {
            0 => request.basic_auth("claude", Some(format!("guess-{nth}"))).form(&[("grant_type", "client_credentials")]),
            1 => request.form(&[("grant_type", "client_credentials"), ("client_id", "claude"), ("client_secret", "guess")]),
            _ => http.get(address(&world, "/whoami")).header("cookie", format!("session=guess-{nth}")),
        };
        request.send().await.unwrap().status().as_u16()
    };
    let mut seen = Vec::new();
    for nth in 0..12 {
        seen.push(guess(nth).await);
    }
    assert_eq!((&seen[..6], &seen[7..]), ([401; 6].as_slice(), [429; 5].as_slice()), "{seen:?}");
}

async fn own_delegations(corp: &Corp, world: &World) -> Value {
    corp.human(world, "bob", &["approvers"]).get("/delegations").await.1["delegations"].clone()
}
