//! Humans with a browser at a certified identity provider: signing in, what a session may and may not, signing out, and a better sign-in for what
//! demands one.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use countersign::broker::Settings;
use countersign::identity::BrowserClient;
use countersign::inbox::Action;
use countersign::inbox::step_up::StepUp;
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::company::{Company, Machine};
use crate::harness::{Wish, World};

/// A browser in which one human is, but for what it draws (that is `harness::chrome`): keeps cookies by host, follows where it is led, page after page.
pub struct Browser {
    pub base: String,
    account: String,
    http: reqwest::Client,
    /// By name; the provider and the broker are one host with two ports, and use different names.
    pub jar: BTreeMap<String, String>,
    pub csrf: String,
}

/// What came back last.
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub text: String,
}

impl Page {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}: {}", self.status, self.url, self.text))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Browser {
    pub fn new(world: &World, account: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: world.base.clone(), account: account.to_owned(), http, jar: BTreeMap::new(), csrf: String::new() }
    }

    pub fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.base)).unwrap()
    }

    fn cookies(&self) -> String {
        self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    pub fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        self.http.request(method, url).header("x-test-account", &self.account).header("cookie", self.cookies())
    }

    async fn step(&mut self, url: Url) -> (reqwest::StatusCode, Option<Url>, String) {
        let response = self.request(Method::GET, url.clone()).send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") || value.is_empty() {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        let onward = response.headers().get("location").map(|to| url.join(to.to_str().unwrap()).unwrap());
        let status = response.status();
        let text = response.text().await.unwrap();
        let refresh = text.split("content=\"0;url=").nth(1).and_then(|rest| rest.split('"').next()).map(|path| path.replace("&amp;", "&"));
        (status, onward.or_else(|| refresh.map(|path| url.join(&path).unwrap())), text)
    }

    /// Goes to an address and on to wherever it leads, or up to the first address that has `until` in it.
    pub async fn go(&mut self, start: Url, until: &str) -> Page {
        let mut url = start;
        for _ in 0..20 {
            if !until.is_empty() && url.as_str().contains(until) {
                return Page { url, status: 0, text: String::new() };
            }
            let (status, onward, text) = self.step(url.clone()).await;
            match onward {
                Some(next) => url = next,
                None => return Page { url, status: status.as_u16(), text },
            }
        }
        panic!("{url} leads nowhere")
    }

    /// Signs in; what the last page says.
    pub async fn sign_in(&mut self, query: &str) -> Page {
        let page = self.go(self.url(&format!("/login{query}")), "").await;
        if page.status == 200 && page.url.path() == "/whoami" {
            self.csrf = page.json()["csrf"].as_str().unwrap().to_owned();
        }
        page
    }

    pub async fn get(&self, path: &str) -> Page {
        sent(self.request(Method::GET, self.url(path))).await
    }

    /// A change from a page of the broker's own.
    pub async fn post(&self, path: &str, body: &Value) -> Page {
        let request = self.request(Method::POST, self.url(path)).header("origin", &self.base).header("x-countersign-csrf", &self.csrf);
        sent(request.json(body)).await
    }

    fn session(&self) -> &str {
        &self.jar["countersign-session"]
    }
}

pub async fn sent(request: reqwest::RequestBuilder) -> Page {
    let response = request.send().await.unwrap();
    let (url, status) = (response.url().clone(), response.status().as_u16());
    Page { url, status, text: response.text().await.unwrap() }
}

/// A company whose provider knows the broker as a client, with a secret; the broker's address is known only once it runs.
async fn company(wish: Wish, change: impl FnOnce(&mut Settings)) -> (Company, World) {
    // The agents here have their tokens from another issuer than the humans: the policy that asks must take that.
    let wish = Wish { policies: wish.policies.replace("@ttl(\"30m\")", "@ttl(\"30m\")\n@approvers(\"any_issuer\")"), ..wish };
    let mut world = World::with(wish).await;
    let redirect = format!("{}/login/callback/corp", world.base);
    let web = json!({
        "client_id": "countersign-web", "client_secret": "web-secret", "redirect_uris": [redirect], "grant_types": ["authorization_code"],
    });
    let cli = json!({
        "client_id": "countersign-cli", "application_type": "native", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/callback"], "grant_types": ["authorization_code", "refresh_token"],
    });
    let accounts = json!({"bob": {"name": "Bob", "groups": ["approvers"]}, "carol": {"name": "Carol", "groups": ["approvers"]}});
    let company = Company::new(json!({"clients": [web, cli], "accounts": accounts})).await;
    let mut issuer = company.trusted("corp");
    issuer.browser = Some(BrowserClient {
        client_id: "countersign-web".to_owned(),
        client_secret: Some(SecretString::from("web-secret".to_owned())),
        scope: None,
    });
    world
        .restart_with(|settings| {
            settings.identity.issuers.push(issuer);
            let text = &mut settings.policies[0].text;
            *text = text.replace("Team::\"approvers\"", "Team::\"corp/approvers\"");
            change(settings);
        })
        .await;
    (company, world)
}

async fn pending(world: &World, id: u32) -> String {
    let sql = format!("UPDATE orders SET status = 'refunded' WHERE id = {id}");
    let answer = world.agent().execute("shop", &sql).await;
    answer["approval"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn kinds(entries: &Value) -> Vec<String> {
    entries["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"]["t"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn signed_in_decided_restarted_signed_out() {
    let (_company, mut world) = company(Wish::default(), |_| {}).await;
    let mut bob = Browser::new(&world, "bob");
    assert_eq!(bob.get("/approvals").await.status, 401);
    let who = bob.sign_in("").await;
    let said = who.json();
    assert_eq!((who.status, &said["subject"], &said["client"]), (200, &json!("bob"), &json!("countersign-web")), "{said}");
    assert_eq!((&said["teams"], &said["sign_in"]["acr"], &said["sign_in"]["amr"]), (&json!(["approvers"]), &json!("1"), &json!(["pwd"])));
    assert!(!bob.jar.contains_key("countersign-login"), "the attempt is over");
    // What the browser is told of the cookie.
    let set = bob.request(Method::GET, bob.url("/login")).send().await.unwrap();
    assert_eq!(set.status(), 303);
    let cookie = set.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=600"), "{cookie}");
    for part in ["code_challenge_method=S256", "nonce=", "state=", "response_type=code", "client_id=countersign-web"] {
        assert!(set.headers()["location"].to_str().unwrap().contains(part), "{part}");
    }

    let id = pending(&world, 1300).await;
    assert_eq!(bob.get(&format!("/approvals/{id}")).await.json()["state"], "pending");
    let decided = bob.post(&format!("/approvals/{id}/decision"), &json!({"decision": "approve"})).await;
    assert_eq!((decided.status, decided.json()["state"].as_str()), (200, Some("approved")), "{}", decided.text);
    let second = pending(&world, 1301).await;
    world.restart().await;
    assert_eq!(bob.get("/whoami").await.json()["csrf"], bob.csrf, "a restart ends nothing");
    assert_eq!(bob.post(&format!("/approvals/{second}/decision"), &json!({"decision": "deny", "reason": "no"})).await.status, 200);

    // The agent's door reads no cookie, whoever's it is.
    let body = crate::harness::modern("tools/list", json!({}));
    let request = bob.request(Method::POST, bob.url("/mcp")).header("origin", &bob.base).header("x-countersign-csrf", &bob.csrf);
    let request = request.header("accept", "application/json, text/event-stream").header("mcp-protocol-version", "2026-07-28");
    assert_eq!(sent(request.header("mcp-method", "tools/list").json(&body)).await.status, 401);
    // Nor is the cookie a token.
    assert_eq!(sent(bob.http.get(bob.url("/whoami")).bearer_auth(bob.session())).await.status, 401);
    // A token beside the cookie counts alone.
    let token = world.token("bob", &["approvers"], "mcp", Some("demo-agent"), "mcp:read");
    assert_eq!(sent(bob.request(Method::GET, bob.url("/whoami")).bearer_auth(token)).await.status, 401);

    let out = bob.post("/logout", &json!({})).await;
    assert_eq!((out.status, out.json()["signed_out"].as_bool()), (200, Some(true)), "{}", out.text);
    assert!(out.json()["issuer_logout_url"].as_str().unwrap().contains("client_id=countersign-web"), "{}", out.text);
    let ended = bob.get("/whoami").await;
    assert_eq!((ended.status, ended.code().as_str()), (401, "identity.session_ended"));
    assert!(ended.json()["error"]["login_url"].as_str().unwrap().ends_with("/login"));
    bob.sign_in("").await;
    let trail = kinds(&bob.get("/audit/entries?human=bob&limit=100").await.json());
    let of = |kind: &str| trail.iter().filter(|known| *known == kind).count();
    assert_eq!((of("auth.login"), of("auth.logout"), of("approval.decided")), (2, 1, 2), "{trail:?}");
    // What the store holds is no cookie.
    let store = std::fs::read(world.data().join("log.db")).unwrap();
    assert!(!store.windows(bob.session().len()).any(|window| window == bob.session().as_bytes()));
    world.verify();
}

/// A page that makes a browser sign in again and again ends its human's oldest sessions, and never keeps the human out.
#[tokio::test]
async fn the_oldest_session_makes_room() {
    let (_company, world) = company(Wish::default(), |_| {}).await;
    let mut browsers: Vec<Browser> = Vec::new();
    for _ in 0..22 {
        // In a browser of its own each, which the issuer has to ask anew.
        let mut browser = Browser::new(&world, "bob");
        browser.sign_in("").await;
        browsers.push(browser);
    }
    let mut statuses = Vec::new();
    for browser in &mut browsers {
        statuses.push(browser.get("/whoami").await.status);
    }
    assert_eq!((&statuses[..2], statuses[2..].iter().all(|status| *status == 200)), (&[401, 401][..], true), "{statuses:?}");
    let mut carol = Browser::new(&world, "carol");
    carol.sign_in("").await;
    assert_eq!(carol.get("/whoami").await.status, 200, "others have their own");
    let trail = browsers[21].get("/audit/entries?human=bob&limit=100").await.json();
    assert_eq!(kinds(&trail).iter().filter(|kind| *kind == "auth.logout").count(), 2, "on record");
    world.verify();
}

#[tokio::test]
async fn an_answer_counts_once_in_the_browser_that_asked_and_for_what_it_asked() {
    let (company, world) = company(Wish::default(), |_| {}).await;
    let mut bob = Browser::new(&world, "bob");
    let at = bob.go(bob.url("/login?return=/approvals"), "/login/callback/corp").await.url;
    let refused = |page: &Page, says: &str| {
        assert_eq!((page.status, page.code().as_str()), (400, "identity.sign_in_failed"), "{}", page.text);
        assert!(page.text.contains(says), "{says}: {}", page.text);
    };
    let with = |name: &str, value: &str| {
        let mut url = at.clone();
        let pairs: Vec<(String, String)> = at.query_pairs().into_owned().filter(|(known, _)| known != name).collect();
        url.query_pairs_mut().clear().extend_pairs(&pairs);
        if !value.is_empty() {
            url.query_pairs_mut().append_pair(name, value);
        }
        url
    };
    // Another browser has the answer: one that asked nothing, and one that asked something else (login CSRF).
    let mut eve = Browser::new(&world, "carol");
    refused(&eve.go(at.clone(), "").await, "this browser");
    let theirs = eve.go(eve.url("/login"), "/login/callback/corp").await.url;
    refused(&eve.go(at.clone(), "").await, "state");
    refused(&bob.go(theirs, "").await, "state");
    // An attempt that was tampered with.
    let kept = bob.jar["countersign-login"].clone();
    bob.jar.insert("countersign-login".to_owned(), kept.replacen('.', "x.", 1));
    refused(&bob.go(at.clone(), "").await, "this browser");
    bob.jar.insert("countersign-login".to_owned(), kept.clone());
    // Another issuer's way back, with an answer that is good but for that.
    let mut other = at.clone();
    for path in ["/login/callback", "/login/callback/other"] {
        other.set_path(path);
        refused(&bob.go(other.clone(), "").await, "address of another issuer");
    }
    refused(&bob.go(with("state", "wrong"), "").await, "state");
    refused(&bob.go(with("state", ""), "").await, "state");
    refused(&bob.go(with("iss", "https://evil.example"), "").await, "another issuer");
    refused(&bob.go(with("iss", ""), "").await, "which issuer");
    refused(&bob.go(with("error", "access_denied"), "").await, "access_denied");
    refused(&bob.go(with("code", "made-up"), "").await, "does not take the code");
    let mut twice = at.clone();
    twice.query_pairs_mut().append_pair("state", "x");
    refused(&bob.go(twice, "").await, "twice");
    // None of that has spent it.
    let page = bob.go(at.clone(), "").await;
    assert_eq!((page.status, page.url.path()), (200, "/approvals"), "{}", page.text);
    // And now it is, for whoever kept everything.
    bob.jar.insert("countersign-login".to_owned(), kept);
    refused(&bob.go(at.clone(), "").await, "taken already");

    // A code of one attempt in the answer to another of the same browser: its nonce and its verifier are not those.
    let first = bob.go(bob.url("/login"), "/login/callback/corp").await.url;
    let second = bob.go(bob.url("/login"), "/login/callback/corp").await.url;
    let code = first.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let mut mixed = second.clone();
    let pairs: Vec<(String, String)> = second.query_pairs().into_owned().filter(|(name, _)| name != "code").collect();
    mixed.query_pairs_mut().clear().extend_pairs(&pairs).append_pair("code", &code);
    refused(&bob.go(mixed, "").await, "does not take the code");
    // An attempt whose parameters were changed on the way to the issuer: the ID token is for another nonce, the code for another verifier.
    for (name, says) in [("nonce", "`nonce` is of another"), ("code_challenge", "does not take the code")] {
        let page = bob.go(bob.url("/login"), "/auth?").await.url;
        let mut changed = page.clone();
        let pairs =
            page.query_pairs().into_owned().map(|(known, value)| if known == name { (known, "x".repeat(43)) } else { (known, value) });
        changed.query_pairs_mut().clear().extend_pairs(pairs);
        refused(&bob.go(changed, "").await, says);
    }
    // Too late.
    world.clock.turn(TimeDelta::minutes(11));
    refused(&bob.go(second, "").await, "took too long");
    // Where nobody should be sent, nobody is; and an issuer that is no browser's is none.
    for query in ["?return=https://evil.example", "?return=//evil.example", "?return=/%5Cevil.example", "?next=/x", "?max_age=x"] {
        let page = bob.get(&format!("/login{query}")).await;
        assert_eq!((page.status, page.code().as_str()), (400, "request.malformed"), "{query}");
    }
    let other = bob.get(&format!("/login?issuer={}/issuer", world.base)).await;
    refused(&other, "at that issuer");
    company.test("down", json!({"on": true})).await;
    world.clock.turn(TimeDelta::minutes(11));
    assert_eq!(bob.get("/login").await.status, 303, "what is known of its pages is used for now");
    world.verify();
}

#[tokio::test]
async fn a_session_ends_without_use_and_after_its_time() {
    let (_company, mut world) = company(Wish::default(), |_| {}).await;
    // All at once: to a provider whose clock is not turned, a sign-in of later would be one of now.
    let (mut bob, mut carol) = (Browser::new(&world, "bob"), Browser::new(&world, "carol"));
    bob.sign_in("").await;
    carol.sign_in("").await;
    // No session outlives the trust in its issuer's client.
    let mut client = None;
    world.restart_with(|settings| client = settings.identity.issuers[1].browser.take()).await;
    assert_eq!(bob.get("/whoami").await.code(), "identity.session_ended");
    assert_eq!(bob.get("/login").await.status, 404);
    world.restart_with(|settings| settings.identity.issuers[1].browser = client).await;
    for _ in 0..2 {
        world.clock.turn(TimeDelta::minutes(29));
        assert_eq!((bob.get("/whoami").await.status, carol.get("/whoami").await.status), (200, 200), "used in between");
        world.restart().await;
    }
    for minutes in [15, 16] {
        world.clock.turn(TimeDelta::minutes(minutes));
        assert_eq!(carol.get("/whoami").await.status, 200);
    }
    assert_eq!(bob.get("/whoami").await.code(), "identity.session_ended");
    for _ in 0..15 {
        world.clock.turn(TimeDelta::minutes(25));
        assert_eq!(carol.get("/whoami").await.status, 200);
    }
    // Two cookies of the name are none.
    let two = format!("{}; countersign-session=x", carol.cookies());
    assert_eq!(sent(carol.http.get(carol.url("/whoami")).header("cookie", two)).await.status, 401);
    world.clock.turn(TimeDelta::minutes(16));
    assert_eq!(carol.get("/whoami").await.code(), "identity.session_ended", "eight hours are over");
    // Set back, the clock revives neither.
    world.clock.turn(TimeDelta::hours(-2));
    assert_eq!((bob.get("/whoami").await.status, carol.get("/whoami").await.status), (401, 401));
    world.verify();
}

#[tokio::test]
async fn another_sites_page_changes_nothing_and_that_is_on_record() {
    let (_company, world) = company(Wish::default(), |_| {}).await;
    let mut bob = Browser::new(&world, "bob");
    bob.sign_in("").await;
    let mut carol = Browser::new(&world, "carol");
    carol.sign_in("").await;
    let id = pending(&world, 1300).await;
    let path = format!("/approvals/{id}/decision");
    let yes = json!({"decision": "approve"});
    let origin = Some(bob.base.clone());
    let refused = "identity.csrf";
    for (origin, word, code) in [
        (origin.clone(), None, refused),
        (origin.clone(), Some(String::new()), refused),
        (origin.clone(), Some("x".repeat(43)), refused),
        (origin.clone(), Some(carol.csrf.clone()), refused),
        (origin.clone(), Some(bob.session().to_owned()), refused),
        (None, Some(bob.csrf.clone()), refused),
        (Some("https://evil.example".to_owned()), Some(bob.csrf.clone()), "server.foreign_origin"),
        (Some("null".to_owned()), Some(bob.csrf.clone()), "server.foreign_origin"),
    ] {
        for path in [path.as_str(), "/agents/state", "/delegations", "/logout"] {
            let mut request = bob.request(Method::POST, bob.url(path)).json(&yes);
            request = origin.iter().fold(request, |request, origin| request.header("origin", origin));
            request = word.iter().fold(request, |request, word| request.header("x-countersign-csrf", word));
            let page = sent(request).await;
            assert_eq!((page.status, page.code().as_str()), (403, code), "{path} {origin:?} {word:?}: {}", page.text);
        }
    }
    assert_eq!(bob.get(&format!("/approvals/{id}")).await.json()["state"], "pending");
    let trail = bob.get("/audit/entries?kind=auth.refused&limit=100").await.json();
    let entries = trail["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 6 * 4, "{trail}");
    assert_eq!((&entries[0]["human"], &entries[0]["leaf"]["res"]["code"]), (&json!("bob"), &json!(refused)));
    // A form says its word in a field.
    let form = |word: &str| {
        let request = bob.request(Method::POST, bob.url("/logout")).header("origin", &bob.base);
        sent(request.form(&[("csrf", word)]))
    };
    assert_eq!(form(&carol.csrf).await.status, 403);
    assert_eq!(bob.get("/whoami").await.status, 200);
    let out = form(&bob.csrf).await;
    assert!(out.status == 200 && out.text.contains("http-equiv=\"refresh\"") && out.text.contains("Signed out"), "{}", out.text);
    assert_eq!(bob.get("/whoami").await.status, 401);
    assert_eq!(carol.get("/whoami").await.status, 200, "only that one ended");
    // A token needs no word: no other site's page has it.
    let human = world.human("bob", &["approvers"]);
    assert_eq!(human.get("/whoami").await.0, 200);
    world.verify();
}

#[tokio::test]
async fn what_demands_a_better_sign_in_gets_one() {
    let demand = |action, acr: &[&str], max_age: Option<u64>| StepUp {
        action,
        acr: acr.iter().map(|acr| (*acr).to_owned()).collect(),
        amr: Vec::new(),
        max_age: max_age.map(Duration::from_secs),
    };
    let demands = vec![demand(Action::Approve, &["2", "3"], None), demand(Action::Delegate, &[], Some(900))];
    let (company, world) = company(Wish::default(), |settings| settings.humans.step_up = demands).await;
    let mut bob = Browser::new(&world, "bob");
    bob.sign_in("").await;
    let (id, other) = (pending(&world, 1300).await, pending(&world, 1301).await);
    let path = format!("/approvals/{id}/decision");
    let yes = json!({"decision": "approve"});
    let request = bob.request(Method::POST, bob.url(&path)).header("origin", &bob.base).header("x-countersign-csrf", &bob.csrf);
    let response = request.json(&yes).send().await.unwrap();
    assert_eq!(response.status(), 401);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    for part in ["Bearer ", "error=\"insufficient_user_authentication\"", "acr_values=\"2 3\"", "resource_metadata="] {
        assert!(challenge.contains(part), "{part} is missing in {challenge}");
    }
    let error = response.json::<Value>().await.unwrap()["error"].clone();
    assert_eq!((error["code"].as_str(), error["acr_values"].as_str()), (Some("identity.step_up_required"), Some("2 3")), "{error}");
    // To stop something demands nothing.
    assert_eq!(bob.post(&format!("/approvals/{other}/decision"), &json!({"decision": "deny", "reason": "no"})).await.status, 200);
    // The address in the answer leads to a better sign-in, and the session of the weaker one is gone.
    let weak = bob.session().to_owned();
    let login = Url::parse(error["login_url"].as_str().unwrap()).unwrap();
    let page = bob.go(login, "").await;
    assert_eq!((&page.json()["sign_in"]["acr"], &page.json()["sign_in"]["amr"]), (&json!("2"), &json!(["pwd", "otp"])), "{}", page.text);
    bob.csrf = page.json()["csrf"].as_str().unwrap().to_owned();
    let old = bob.http.get(bob.url("/whoami")).header("cookie", format!("countersign-session={weak}"));
    assert_eq!(sent(old).await.status, 401);
    let decided = bob.post(&path, &yes).await;
    assert_eq!((decided.status, decided.json()["state"].as_str()), (200, Some("approved")), "{}", decided.text);

    // How long ago, by the clock.
    let lend = json!({"agent": "demo-agent", "highest_risk": "read", "lasting_s": 600});
    let url = bob.go(bob.url("/login?max_age=900"), "").await;
    bob.csrf = url.json()["csrf"].as_str().unwrap().to_owned();
    assert_eq!(bob.post("/delegations", &lend).await.status, 200);
    world.clock.turn(TimeDelta::seconds(901));
    let stale = bob.post("/delegations", &lend).await;
    assert_eq!((stale.status, stale.code().as_str()), (401, "identity.step_up_required"), "{}", stale.text);
    assert_eq!(stale.json()["error"]["max_age"], 900);
    assert!(stale.json()["error"]["login_url"].as_str().unwrap().contains("max_age=900"));
    let refused = bob.get("/audit/entries?kind=auth.refused").await.json();
    let wanted: Vec<&str> =
        refused["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"]["res"]["wanted"].as_str().unwrap()).collect();
    assert_eq!(wanted, ["delegate", "approve"], "{refused}");
    world.clock.turn(TimeDelta::seconds(-901));
    drop(company);
    world.verify();
}

#[tokio::test]
async fn the_command_line_is_told_what_to_run() {
    let demand =
        StepUp { action: Action::Approve, acr: vec!["2".to_owned()], amr: vec!["otp".to_owned()], max_age: Some(Duration::from_secs(900)) };
    let (company, world) = company(Wish::default(), |settings| settings.humans.step_up = vec![demand]).await;
    let machine = Machine::new(&world);
    let issuer = ["--issuer", company.issuer.as_str()];
    assert_eq!(machine.signed_in(&company, "bob", "inbox", &issuer).await.code, 0);
    let id = pending(&world, 1300).await;
    let weak = machine.run(&["approvals", "approve", &id]).await;
    let command = format!("countersign login --url {} --acr '2' --max-age 900", world.base);
    assert!(weak.code == 1 && weak.err.contains("identity.step_up_required") && weak.err.contains(&command), "{weak:?}");
    let strong = machine.signed_in(&company, "bob", "inbox", &[&issuer[..], &["--acr", "2", "--max-age", "900"]].concat()).await;
    assert_eq!(strong.code, 0, "{strong:?}");
    let done = machine.run(&["approvals", "approve", &id]).await;
    assert!(done.code == 0 && done.out.contains("approved"), "{done:?}");
    world.verify();
}
