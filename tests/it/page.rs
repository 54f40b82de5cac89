//! The pages on which humans decide: as a real browser has them, and over HTTP, where every way to decide otherwise is tried.

use std::time::Duration;

use chrono::TimeDelta;
use countersign::broker::Settings;
use countersign::identity::BrowserClient;
use countersign::inbox::Action;
use countersign::inbox::step_up::StepUp;
use countersign::server::Transport;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::browser::{Browser, Page, sent};
use crate::harness::chrome::Chrome;
use crate::harness::company::Company;
use crate::harness::{Agent, POLICY, Wish, World};

pub const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A company whose humans and agents are of one issuer, and sign in with browsers.
pub async fn company(policies: &str, change: impl FnOnce(&mut Settings)) -> (Company, World) {
    let mut world = World::with(Wish { policies: policies.to_owned(), ..Wish::default() }).await;
    let web = json!({
        "client_id": "countersign-web", "client_secret": "web-secret", "grant_types": ["authorization_code"],
        "redirect_uris": [format!("{}/login/callback", world.base)], "post_logout_redirect_uris": [],
    });
    let accounts = json!({
        "bob": {"groups": ["approvers"]}, "carol": {"groups": ["approvers"]}, "alice": {"groups": ["support"]}, "eve": {"groups": ["support"]},
        "dora": {"groups": ["support", "approvers"]},
    });
    let company = Company::new(json!({"clients": [web], "accounts": accounts})).await;
    let mut issuer = company.trusted("");
    issuer.browser = Some(BrowserClient {
        client_id: "countersign-web".to_owned(),
        client_secret: Some(SecretString::from("web-secret".to_owned())),
        scope: None,
    });
    world
        .restart_with(|settings| {
            settings.identity.issuers = vec![issuer];
            change(settings);
        })
        .await;
    (company, world)
}

/// An agent of a human of that company.
pub async fn agent_of(company: &Company, world: &World, human: &str) -> Agent {
    let claims = json!({
        "sub": human, "aud": format!("{}/mcp", world.base), "client_id": "desk", "act": {"sub": "demo-agent"}, "scope": "mcp:read mcp:write",
    });
    let token = company.test("token", json!({"claims": claims})).await["token"].as_str().unwrap().to_owned();
    Agent { base: world.base.clone(), token, http: reqwest::Client::new(), headers: Default::default() }
}

async fn pending(company: &Company, world: &World, human: &str, id: u32) -> String {
    let sql = format!("UPDATE orders SET status = 'refunded' WHERE id = {id}");
    let answer = agent_of(company, world, human).await.execute("shop", &sql).await;
    answer["approval"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Signed in, with the word that its pages say.
pub async fn signed_in(world: &World, account: &str) -> Browser {
    let mut browser = Browser::new(world, account);
    browser.sign_in("").await;
    assert!(!browser.csrf.is_empty(), "{account} is not signed in");
    browser
}

/// As a browser asks for a page.
pub async fn open(browser: &Browser, path: &str) -> Page {
    sent(browser.request(Method::GET, browser.url(path)).header("accept", HTML)).await
}

/// What a page's form would say.
fn hidden(page: &Page, name: &str) -> String {
    let after = page.text.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("no `{name}`: {}", page.text));
    after.split('"').next().unwrap().to_owned()
}

/// Sends a form as a browser does.
async fn submit(browser: &Browser, id: &str, form: &[(&str, &str)]) -> (StatusCode, Option<String>, String) {
    let url = browser.url(&format!("/approvals/{id}/decision"));
    let request = browser.request(Method::POST, url).header("accept", HTML).header("origin", &browser.base).form(form);
    let response = request.send().await.unwrap();
    let to = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    (response.status(), to, response.text().await.unwrap())
}

/// Opens the page and sends its form.
async fn decide(browser: &Browser, id: &str, decision: &str, reason: &str) -> (StatusCode, Option<String>, String) {
    let page = open(browser, &format!("/approvals/{id}")).await;
    let (csrf, mark) = (hidden(&page, "csrf"), hidden(&page, "mark"));
    submit(browser, id, &[("csrf", &csrf), ("mark", &mark), ("reason", reason), ("decision", decision)]).await
}

async fn state(browser: &Browser, id: &str) -> String {
    browser.get(&format!("/approvals/{id}")).await.json()["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_human_with_a_real_browser_signs_in_lists_opens_decides_and_signs_out() {
    let (company, world) = company(POLICY, |_| {}).await;
    let sql = "UPDATE orders SET status = 'refunded' WHERE id = 1300";
    let agent = agent_of(&company, &world, "alice").await;
    let reason = "</textarea><script>document.title='owned'</script> the customer asked";
    let asked = agent.call("db_execute", json!({"target": "shop", "sql": sql, "reason": reason})).await;
    let id = asked["approval"]["id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let second = pending(&company, &world, "alice", 1301).await;

    // From a link to the page, by the issuer, to the page.
    let chrome = Chrome::start("bob").await;
    chrome.go(&format!("{}/approvals/{id}", world.base)).await;
    chrome.until("Your decision").await;
    assert!(chrome.address().await.ends_with(&format!("/approvals/{id}")));
    chrome.go(&format!("{}/approvals", world.base)).await;
    chrome.until("2 requests wait").await;
    chrome.picture("list", 1200, "light").await;
    chrome.picture("list", 1200, "dark").await;
    chrome.picture("list", 390, "light").await;
    chrome.click(&format!("a[href='/approvals/{id}']")).await;
    chrome.until("Your decision").await;
    let text = chrome.text().await;
    for word in [sql, "1 row", "shop.support_asks_to_write", "as it is now", "nobody has checked", reason, "demo-agent", "alice"] {
        assert!(text.contains(word), "{word} is not on the page:\n{text}");
    }
    // What was written there is text, nothing ran, and the style is the page's own.
    assert!(chrome.tells("document.title").await.as_str().unwrap().ends_with("Countersign"));
    assert_eq!(chrome.tells("document.scripts.length").await, 0);
    assert_eq!(chrome.tells("getComputedStyle(document.querySelector('.unverified')).borderTopStyle").await, "dashed");
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")] {
        chrome.picture("request", width, scheme).await;
    }
    // A denial without a reason is told, and what stands there goes through.
    chrome.click("button.deny").await;
    chrome.until("needs a `reason`").await;
    chrome.picture("refused", 1200, "light").await;
    assert_eq!(chrome.tells("document.querySelectorAll('button.approve').length").await, 1);
    chrome.write("#reason", "ticket 7").await;
    chrome.click("button.approve").await;
    chrome.until("Where it stands").await;
    chrome.picture("decided", 1200, "light").await;
    assert!(chrome.address().await.ends_with(&format!("/approvals/{id}")), "a reload sends nothing again");
    assert_eq!(agent.execute("shop", sql).await["status"], "ok");
    chrome.go(&format!("{}/approvals/{second}", world.base)).await;
    chrome.write("#reason", "not this one").await;
    chrome.click("button.deny").await;
    chrome.until("the agent was told why").await;
    // The form's policy forbids no way out.
    chrome.click("header button").await;
    // Nothing that the page before said too: or what comes next would run against the way out.
    chrome.until("Do you want to sign-out").await;
    chrome.go(&format!("{}/whoami", world.base)).await;
    chrome.until("identity.missing_token").await;
    world.verify();
}

/// A link in a chat is another site's: the browser keeps the session's cookie to itself, until this broker's own page asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_another_site_leads_to_the_page_without_another_sign_in() {
    let (company, world) = company(POLICY, |_| {}).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let chrome = Chrome::start("bob").await;
    chrome.go(&format!("{}/approvals", world.base)).await;
    chrome.until("1 request waits").await;
    let page = format!("data:text/html,<a id=link href='{}/approvals/{id}'>decide</a>", world.base);
    chrome.go(&page).await;
    chrome.click("#link").await;
    chrome.until("Your decision").await;
    let bob = signed_in(&world, "bob").await;
    let logins = bob.get("/audit/entries?kind=auth.login&human=bob").await.json();
    assert_eq!(logins["entries"].as_array().unwrap().len(), 2, "the browser's one, and this one: {logins}");
    world.verify();
}

/// The page that has a browser come again is for anybody: whoever gets it is no better known for it, and has to wait like all strangers.
#[tokio::test]
async fn a_page_for_anybody_makes_nobody_known() {
    let transport = Transport { requests_per_minute: 0, unauthenticated_per_minute: 3, ..Transport::default() };
    let world = World::with(Wish { transport, ..Wish::default() }).await;
    let http = reqwest::Client::new();
    let ask = |path: &str| http.get(format!("{}{path}", world.base)).header("cookie", "a=b");
    let page = ask("/approvals").header("accept", HTML).header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("url=/approvals\""));
    for _ in 0..6 {
        drop(http.get(format!("{}/whoami", world.base)).bearer_auth("nonsense").send().await.unwrap());
    }
    assert_eq!(ask("/whoami").send().await.unwrap().status(), 429);
    world.verify();
}

#[tokio::test]
async fn pages_for_browsers_and_json_for_everybody_else() {
    let (company, world) = company(POLICY, |_| {}).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let path = format!("/approvals/{id}");
    // Without a session: to sign in, and back.
    let stranger = Browser::new(&world, "bob");
    for (path, back) in [(path.as_str(), format!("%2Fapprovals%2F{id}")), ("/approvals", "%2Fapprovals".to_owned())] {
        let response = stranger.request(Method::GET, stranger.url(path)).header("accept", HTML).send().await.unwrap();
        assert_eq!(response.status(), 303);
        assert_eq!(response.headers()["location"].to_str().unwrap(), format!("/login?return={back}"));
    }
    assert_eq!(stranger.get(&path).await.status, 401, "and JSON as ever");
    let bob = signed_in(&world, "bob").await;
    let response = bob.request(Method::GET, bob.url(&path)).header("accept", HTML).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-type").starts_with("text/html") && header("cache-control") == "no-store");
    let policy = header("content-security-policy");
    for part in ["default-src 'none'", "style-src 'sha256-", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
    }
    assert_eq!((header("referrer-policy").as_str(), header("x-content-type-options").as_str()), ("same-origin", "nosniff"));
    // JSON has the same sections, the page all of them.
    let shown = bob.get(&path).await.json();
    let page = open(&bob, &path).await.text;
    let sections = shown["shown"]["sections"].as_array().unwrap();
    assert!(sections.len() >= 7, "{shown}");
    for section in sections {
        assert!(page.contains(section["title"].as_str().unwrap()), "{section}");
        for part in section["parts"].as_array().unwrap() {
            let text = part["text"].as_str().or(part["block"].as_str()).unwrap_or_default();
            assert!(page.contains(&text.replace('&', "&amp;").replace('"', "&quot;")), "{text}");
        }
    }
    assert!(page.contains(&shown["mark"].as_str().unwrap()[2..]), "the fingerprint");
    // A token makes it a program, whatever it takes.
    let human = world.base.clone();
    let token = company.minted(&world, "bob", "inbox").await;
    let with_token = reqwest::Client::new().get(format!("{human}{path}")).header("accept", HTML).bearer_auth(token).send().await.unwrap();
    assert!(with_token.headers()["content-type"].to_str().unwrap().starts_with("application/json"));
    // Hidden, absent and no id at all look the same.
    let eve = signed_in(&world, "eve").await;
    let (concealed, absent) = (open(&eve, &path).await, open(&eve, &format!("/approvals/apr_{}", "0".repeat(32))).await);
    assert_eq!((concealed.status, &concealed.text), (404, &absent.text));
    assert_eq!((absent.status, open(&eve, "/approvals/x%22y").await.status), (404, 404));
    assert!(open(&eve, "/approvals").await.text.contains("Nothing waits for you"));
    let nonsense = open(&eve, "/approvals?state=%3Cscript%3E").await;
    assert!(nonsense.status == 400 && !nonsense.text.contains("<script"), "{}", nonsense.text);
    world.verify();
}

#[tokio::test]
async fn where_several_issuers_or_none_sign_in_with_a_browser_the_page_says_so() {
    let (_company, mut world) = company(POLICY, |_| {}).await;
    world
        .restart_with(|settings| {
            let mut second = settings.identity.issuers[0].clone();
            (second.url, second.namespace) = ("https://second.example/tenant".to_owned(), "second".to_owned());
            settings.identity.issuers.push(second);
        })
        .await;
    let stranger = Browser::new(&world, "bob");
    let page = open(&stranger, "/approvals").await;
    let link = "href=\"/login?issuer=https%3A%2F%2Fsecond.example%2Ftenant&amp;return=%2Fapprovals\"";
    assert!(page.status == 401 && page.text.contains(link) && page.text.matches("/login?issuer=").count() == 2, "{}", page.text);
    world.restart_with(|settings| settings.identity.issuers.iter_mut().for_each(|issuer| issuer.browser = None)).await;
    let page = open(&stranger, "/approvals").await;
    assert!(page.status == 401 && page.text.contains("Nobody signs in here with a browser"), "{}", page.text);
    world.verify();
}

/// Link scanners and unfurlers follow whatever they find, by any method that reads (attack 95).
#[tokio::test]
async fn no_method_that_reads_decides_anything() {
    let (company, world) = company(POLICY, |_| {}).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let bob = signed_in(&world, "bob").await;
    let page = open(&bob, &format!("/approvals/{id}")).await;
    let said = format!("decision=approve&reason=x&csrf={}&mark={}", hidden(&page, "csrf"), hidden(&page, "mark"));
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        for path in [format!("/approvals/{id}?{said}"), format!("/approvals/{id}/decision?{said}"), format!("/approvals?{said}")] {
            for accept in [HTML, "*/*"] {
                let request = bob.request(method.clone(), bob.url(&path)).header("accept", accept).header("origin", &bob.base);
                let request = request.header("x-countersign-csrf", &bob.csrf).header("content-type", "application/x-www-form-urlencoded");
                drop(request.body(said.clone()).send().await.unwrap());
            }
        }
    }
    assert_eq!(state(&bob, &id).await, "pending");
    let trail = bob.get(&format!("/audit/entries?approval={id}")).await.json();
    let kinds: Vec<&str> = trail["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"]["t"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"approval.decided") && !kinds.contains(&"approval.refused"), "{kinds:?}");
    world.verify();
}

#[tokio::test]
async fn a_form_of_another_page_or_another_time_decides_nothing() {
    let (company, world) = company(&POLICY.replace("@quorum(\"1\")", "@quorum(\"2\")"), |_| {}).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let (bob, carol) = (signed_in(&world, "bob").await, signed_in(&world, "carol").await);
    let page = open(&bob, &format!("/approvals/{id}")).await;
    let (word, mark) = (hidden(&page, "csrf"), hidden(&page, "mark"));
    assert_eq!(word, bob.csrf);
    // Not of this session's page: missing, empty, another's, said twice, or from elsewhere.
    let url = bob.url(&format!("/approvals/{id}/decision"));
    let rest = [("mark", mark.as_str()), ("reason", ""), ("decision", "approve")];
    let own = Some(bob.base.as_str());
    for (words, origin, code) in [
        (vec![], own, "identity.csrf"),
        (vec![""], own, "identity.csrf"),
        (vec![carol.csrf.as_str()], own, "identity.csrf"),
        (vec![word.as_str(), "x"], own, "identity.csrf"),
        (vec![word.as_str()], None, "identity.csrf"),
        (vec![word.as_str()], Some("https://evil.example"), "server.foreign_origin"),
        (vec![word.as_str()], Some("null"), "server.foreign_origin"),
    ] {
        let form: Vec<(&str, &str)> = words.iter().map(|word| ("csrf", *word)).chain(rest).collect();
        let request = bob.request(Method::POST, url.clone()).header("accept", HTML).form(&form);
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        let answer = sent(request).await;
        assert!(answer.status == 403 && answer.text.contains(code), "{words:?} {origin:?}: {} {}", answer.status, answer.text);
    }
    let refused = bob.get("/audit/entries?kind=auth.refused&limit=100").await.json();
    assert_eq!(refused["entries"].as_array().unwrap().len(), 5, "on record: {refused}");
    // A form that is not this page's.
    for form in [
        vec![("csrf", word.as_str()), ("decision", "approve"), ("reason", "")],
        vec![("csrf", &word), ("decision", "maybe"), ("mark", &mark)],
        vec![("csrf", &word), ("decision", "approve"), ("decision", "deny"), ("mark", &mark)],
        vec![("csrf", &word), ("decision", "approve"), ("mark", &mark), ("extra", "1")],
    ] {
        let (status, _, text) = submit(&bob, &id, &form).await;
        assert!(status == 400 && text.contains("request.malformed"), "{form:?}: {status} {text}");
    }
    let huge = "x".repeat(20_000);
    assert_eq!(submit(&bob, &id, &[("csrf", &word), ("reason", &huge), rest[0], rest[2]]).await.0, 413);
    // Carol votes while bob's page lies open: it is shown anew, with her vote and with what he wrote.
    let (status, to, _) = decide(&carol, &id, "approve", "I saw it").await;
    assert_eq!((status.as_u16(), to), (303, Some(format!("/approvals/{id}"))));
    let stale = [("csrf", word.as_str()), ("mark", &mark), ("reason", "my own words"), ("decision", "approve")];
    let (status, _, text) = submit(&bob, &id, &stale).await;
    assert!(status == 409 && text.contains("approval.changed_since_shown") && text.contains("has changed since it was shown"), "{text}");
    assert!(text.contains("I saw it") && text.contains("my own words") && text.contains("button class=\"approve\""), "{text}");
    assert_eq!(state(&bob, &id).await, "pending");
    // The same by a program that says what it was shown.
    let stale = bob.post(&format!("/approvals/{id}/decision"), &json!({"decision": "approve", "mark": mark})).await;
    assert_eq!((stale.status, stale.code().as_str()), (409, "approval.changed_since_shown"));
    let mark = bob.get(&format!("/approvals/{id}")).await.json()["mark"].clone();
    let now = bob.post(&format!("/approvals/{id}/decision"), &json!({"decision": "approve", "mark": mark})).await;
    assert_eq!((now.status, now.json()["state"].as_str()), (200, Some("approved")));
    let refused = bob.get(&format!("/audit/entries?approval={id}&kind=approval.refused")).await.json();
    let codes: Vec<&str> =
        refused["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"]["res"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == "approval.changed_since_shown").count(), 2, "{codes:?}");
    // Decided before by the identical call: the next one's page says so.
    let agent = agent_of(&company, &world, "alice").await;
    assert_eq!(agent.execute("shop", "UPDATE orders SET status = 'refunded' WHERE id = 1300").await["status"], "ok");
    let again = pending(&company, &world, "alice", 1300).await;
    let page = open(&bob, &format!("/approvals/{again}")).await.text;
    assert!(page.contains(&id) && page.contains("spent") && page.contains("carol, bob"), "{page}");
    world.verify();
}

#[tokio::test]
async fn what_cannot_be_decided_says_why_and_what_to_do() {
    let policies = POLICY.replace("@quorum(\"1\")", "@quorum(\"1\")\n@justification(\"required\")");
    let demand = StepUp { action: Action::Approve, acr: vec!["2".to_owned()], amr: Vec::new(), max_age: Some(Duration::from_secs(900)) };
    let (company, world) = company(&policies, |settings| settings.humans.step_up = vec![demand]).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let mut bob = signed_in(&world, "bob").await;
    let page = open(&bob, &format!("/approvals/{id}")).await.text;
    assert!(page.contains("Justification (required)") && page.contains(" required "), "{page}");
    let (status, _, text) = decide(&bob, &id, "deny", "  ").await;
    assert!(status == 400 && text.contains("a denial needs a `reason`") && text.contains("role=\"alert\""), "{text}");
    // A better sign-in, and back to the page.
    let (status, _, text) = decide(&bob, &id, "approve", "ticket 7").await;
    assert!(status == 401 && text.contains("identity.step_up_required"), "{text}");
    let login = text.split("<a href=\"").find(|rest| rest.contains("/login?")).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    assert!(login.contains("acr_values=2") && login.contains("max_age=900"), "{login}");
    let back = bob.go(reqwest::Url::parse(&login).unwrap(), "").await;
    assert_eq!(back.url.path(), format!("/approvals/{id}"), "{login}");
    let (status, _, text) = decide(&bob, &id, "approve", "").await;
    assert!(status == 400 && text.contains("it must say why"), "{text}");
    assert_eq!(decide(&bob, &id, "approve", "ticket 7").await.0, 303);
    let decided = open(&bob, &format!("/approvals/{id}")).await.text;
    assert!(decided.contains("Where it stands") && !decided.contains("<textarea"), "{decided}");
    // Too late for carol, whose page is older; and for everybody when the time is over.
    let late = pending(&company, &world, "alice", 1301).await;
    let page = open(&bob, &format!("/approvals/{late}")).await;
    let form = [("csrf", hidden(&page, "csrf")), ("mark", hidden(&page, "mark"))];
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (*name, value.as_str())).chain([("reason", "no"), ("decision", "deny")]).collect();
    for _ in 0..2 {
        world.clock.turn(TimeDelta::minutes(16));
        open(&bob, "/approvals").await;
    }
    let (status, _, text) = submit(&bob, &late, &form).await;
    assert!(status == 409 && text.contains("approval.expired") && text.contains("state expired"), "{status} {text}");
    world.verify();
}

#[tokio::test]
async fn the_delegating_human_sees_it_and_has_buttons_only_where_a_policy_says_so() {
    let (company, world) = company(POLICY, |_| {}).await;
    let (id, own) = (pending(&company, &world, "alice", 1300).await, pending(&company, &world, "dora", 1301).await);
    // Alice decides nothing; dora decides, but not of her own.
    for (account, id) in [("alice", &id), ("dora", &own)] {
        let browser = signed_in(&world, account).await;
        let page = open(&browser, &format!("/approvals/{id}")).await;
        assert!(
            page.status == 200 && page.text.contains("You cannot approve this") && !page.text.contains("name=\"decision\""),
            "{}",
            page.text
        );
        let mark = browser.get(&format!("/approvals/{id}")).await.json()["mark"].as_str().unwrap().to_owned();
        let form = [("csrf", browser.csrf.as_str()), ("mark", &mark), ("reason", "x"), ("decision", "approve")];
        let (status, _, text) = submit(&browser, id, &form).await;
        assert!(status == 403 && text.contains("approval.not_allowed"), "{account}: {status} {text}");
    }
    assert_eq!(state(&signed_in(&world, "bob").await, &own).await, "pending");
    let policies = POLICY.replace("@quorum(\"1\")", "@self_approval(\"allowed\")").replace(
        "unless { context.own };\n\n// The approvers of the quickstart also review",
        ";\n\n// The approvers of the quickstart also review",
    );
    let (company, world) = self::company(&policies, |_| {}).await;
    let own = pending(&company, &world, "dora", 1301).await;
    let dora = signed_in(&world, "dora").await;
    assert_eq!(decide(&dora, &own, "approve", "").await.0, 303);
    assert_eq!(state(&dora, &own).await, "approved");
    world.verify();
}

#[tokio::test]
async fn two_browsers_at_once_have_one_outcome_and_both_are_on_record() {
    let (company, world) = company(POLICY, |_| {}).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let (bob, carol) = (signed_in(&world, "bob").await, signed_in(&world, "carol").await);
    let page = open(&bob, &format!("/approvals/{id}")).await;
    let mark = hidden(&page, "mark");
    let of_bob = [("csrf", bob.csrf.as_str()), ("mark", &mark), ("reason", ""), ("decision", "approve")];
    let of_carol = [("csrf", carol.csrf.as_str()), ("mark", &mark), ("reason", "no"), ("decision", "deny")];
    let (one, two) = tokio::join!(submit(&bob, &id, &of_bob), submit(&carol, &id, &of_carol));
    let mut statuses = [one.0.as_u16(), two.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 409], "{} {}", one.2, two.2);
    let late = if one.0 == 409 { one.2 } else { two.2 };
    assert!(late.contains("approval.already_decided") && late.contains("Where it stands"), "{late}");
    let count = async |kind: &str| {
        let entries: Value = bob.get(&format!("/audit/entries?approval={id}&kind={kind}")).await.json();
        entries["entries"].as_array().unwrap().len()
    };
    assert_eq!((count("approval.decided").await, count("approval.refused").await), (1, 1));
    world.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_or_less_access_are_granted_by_the_form_as_far_as_a_policy_allows() {
    let grants = POLICY.replace("@quorum(\"1\")", "@grant(\"30m, 5 calls\")");
    let (company, world) = company(&grants, |_| {}).await;
    let agent = agent_of(&company, &world, "alice").await;
    let id = pending(&company, &world, "alice", 1300).await;
    let chrome = Chrome::start("bob").await;
    chrome.go(&format!("{}/approvals/{id}", world.base)).await;
    chrome.until("Grant more calls like this one").await;
    chrome.picture("grant", 1200, "light").await;
    chrome.picture("grant", 390, "dark").await;
    let bob = signed_in(&world, "bob").await;
    let page = open(&bob, &format!("/approvals/{id}")).await;
    let (csrf, mark) = (hidden(&page, "csrf"), hidden(&page, "mark"));
    let form = |minutes: &'static str, calls: &'static str| {
        vec![
            ("csrf", csrf.clone()),
            ("mark", mark.clone()),
            ("decision", "approve".to_owned()),
            ("minutes", minutes.to_owned()),
            ("calls", calls.to_owned()),
        ]
    };
    for (minutes, calls) in [("31", "2"), ("30", "6"), ("30", ""), ("-1", "2"), ("x", "2")] {
        let fields = form(minutes, calls);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, _, text) = submit(&bob, &id, &fields).await;
        assert_eq!(status, 400, "{minutes} {calls}: {text}");
    }
    let fields = form("10", "2");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(submit(&bob, &id, &fields).await.0, 303);
    assert_eq!(state(&bob, &id).await, "granted");
    let granted = open(&bob, &format!("/approvals/{id}")).await.text;
    assert!(granted.contains("within what stands above") && granted.contains("calls: 2"), "{granted}");
    for (order, status) in [(1300, "ok"), (1301, "ok"), (1302, "approval_pending")] {
        let sql = format!("UPDATE orders SET status = 'refunded' WHERE id = {order}");
        assert_eq!(agent.execute("shop", &sql).await["status"], status, "{order}");
    }
    world.verify();
}

/// Access for anything on a target is shown as that, and an approver takes places and risk off it with the form.
#[tokio::test(flavor = "multi_thread")]
async fn access_is_narrowed_on_the_page_to_places_and_a_risk() {
    let grants = POLICY.replace("@quorum(\"1\")", "@grant(\"30m, 5 calls\")");
    let (company, world) = company(&grants, |_| {}).await;
    let agent = agent_of(&company, &world, "alice").await;
    let asks = async |on: Value| {
        let access =
            json!({"target": "shop", "tools": ["db_execute"], "on": on, "risk": "write", "minutes": 30, "calls": 5, "reason": "refunds"});
        let answer = agent.call("request_access", access).await;
        answer["result"]["approval_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let (wide, two) = (asks(json!([])).await, asks(json!(["orders", "products"])).await);
    let chrome = Chrome::start("bob").await;
    chrome.go(&format!("{}/approvals", world.base)).await;
    chrome.until("access: db_execute on anything on shop; write and below, 30 minutes, 5 calls").await;
    chrome.go(&format!("{}/approvals/{wide}", world.base)).await;
    chrome.until("Only on, one place a line").await;
    assert!(chrome.text().await.contains("anything on shop"));
    chrome.picture("access", 1200, "light").await;
    chrome.tells("document.getElementById('only').value = 'orders\\n'").await;
    chrome.click("button.approve").await;
    chrome.until("Where it stands").await;
    let bob = signed_in(&world, "bob").await;
    let shown = bob.get(&format!("/approvals/{wide}")).await.json();
    assert_eq!(
        (&shown["state"], &shown["scope"]["on"], &shown["calls_used"]),
        (&json!("granted"), &json!(["orders"]), &json!(0)),
        "{shown}"
    );

    chrome.go(&format!("{}/approvals/{two}", world.base)).await;
    chrome.until("Grant less than was asked").await;
    chrome.picture("choices", 1200, "dark").await;
    chrome.picture("choices", 390, "light").await;
    chrome.click("input[name='on:orders']").await;
    chrome.click("button.approve").await;
    chrome.until("Where it stands").await;
    assert_eq!(bob.get(&format!("/approvals/{two}")).await.json()["scope"]["on"], json!(["products"]));
    // What is left of it holds, and how often it was used is shown.
    let update = |what: &str| format!("UPDATE {what} WHERE id = 1");
    assert_eq!(agent.execute("shop", &update("products SET stock = 7")).await["approval"]["id"], two.as_str());
    assert_eq!(agent.execute("shop", &update("customers SET name = 'x'")).await["status"], "approval_pending");
    let page = open(&bob, &format!("/approvals/{two}")).await.text;
    assert!(page.contains("1 of 5 calls so far"), "{page}");
    assert_eq!(agent.call("approval_status", json!({"approval_id": two})).await["result"]["calls_used"], 1);
    // A form that leaves nothing, or has a field that the page has not, decides nothing.
    let third = asks(json!(["orders", "products", "notes"])).await;
    let page = open(&bob, &format!("/approvals/{third}")).await;
    let (csrf, mark) = (hidden(&page, "csrf"), hidden(&page, "mark"));
    for more in [
        vec![],
        vec![("on:orders", "yes"), ("target", "other")],
        vec![("on:payments", "yes")],
        vec![("on:orders", "yes"), ("risk", "admin")],
    ] {
        let form = [vec![("csrf", csrf.as_str()), ("mark", &mark), ("decision", "approve")], more].concat();
        let (status, _, text) = submit(&bob, &third, &form).await;
        assert_eq!(status, 400, "{form:?} {text}");
    }
    assert_eq!(state(&bob, &third).await, "pending");
    // Whoever takes everything off it denies it.
    let form = [("csrf", csrf.as_str()), ("mark", &mark), ("decision", "deny"), ("reason", "none of it")];
    assert_eq!(submit(&bob, &third, &form).await.0, 303);
    assert_eq!(state(&bob, &third).await, "denied");
    world.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_approver_must_name_a_ticket_the_form_takes_one() {
    let tickets = POLICY.replace("@quorum(\"1\")", "@justification(\"approver\")\n@ticket(\"OPS-[0-9]+\")");
    let (company, world) = company(&tickets, |_| {}).await;
    let id = pending(&company, &world, "alice", 1300).await;
    let bob = signed_in(&world, "bob").await;
    let page = open(&bob, &format!("/approvals/{id}")).await.text;
    assert!(page.contains("value=\"approve\"") && page.contains("OPS-[0-9]+"), "{page}");
    let (status, _, text) = decide(&bob, &id, "approve", "looks fine").await;
    assert!(status == 400 && text.contains("it must name a ticket of the form"), "{status} {text}");
    assert_eq!(decide(&bob, &id, "approve", "as OPS-7 says").await.0, 303);
    assert_eq!(state(&bob, &id).await, "approved");
    world.verify();
}
