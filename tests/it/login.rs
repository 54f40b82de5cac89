//! Humans sign in: the command line against a certified identity provider, and the commands after it without a token file.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::company::{Company, Machine};
use crate::harness::{Wish, World};

#[tokio::test]
async fn by_a_code_and_then_every_command_knows_who() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    let before = machine.run(&["whoami"]).await;
    assert_eq!(before.code, 2, "{before:?}");
    assert!(before.err.contains("not signed in") && before.err.contains("countersign login --url"), "{before:?}");

    let login = machine.login(&["--device"], "code").await;
    let approved = company.test("approve-device", json!({"user_code": login.code(), "account": "bob"})).await;
    assert_eq!(approved["approved"], true, "{approved}");
    let login = login.ended().await;
    assert_eq!((login.code, login.out.trim()), (0, format!("signed in to {} (inbox) as bob", world.base).as_str()), "{login:?}");

    let who = machine.run(&["whoami", "--json"]).await;
    let who: serde_json::Value = serde_json::from_str(&who.out).unwrap();
    assert_eq!((&who["subject"], &who["name"], &who["client"]), (&json!("bob"), &json!("Bob"), &json!("countersign-cli")));
    assert_eq!((&who["issuer"], &who["teams"]), (&json!(company.issuer), &json!(["sre", "approvers"])));
    let who = machine.run(&["whoami"]).await.out;
    assert!(who.contains("human    bob\n") && who.contains("teams    sre, approvers\n") && who.contains("renewed"), "{who}");
    assert_eq!(machine.run(&["approvals", "list"]).await.out, "nothing waits for you\n");
    assert_eq!(machine.run(&["audit", "list"]).await.code, 0);

    // The agent's door is another resource: the human's sign-in does not open it, nor is it tried there.
    let tools = machine.run(&["tools", "list"]).await;
    assert!(tools.code == 2 && tools.err.contains("--door mcp"), "{tools:?}");
    let agent = machine.signed_in(&company, "alice", "mcp", &[]).await;
    assert_eq!(agent.code, 0, "{agent:?}");
    let tools = machine.run(&["tools", "list"]).await;
    assert!(tools.code == 0 && tools.out.contains("db_query"), "{tools:?}");
    assert_eq!(machine.kept().len(), 2);
    for file in machine.kept() {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    world.verify();
}

#[tokio::test]
async fn a_refused_code_and_a_refused_page() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    let by_code = async {
        let login = machine.login(&["--device"], "code").await;
        company.test("approve-device", json!({"user_code": login.code(), "account": "bob", "deny": true})).await;
        login.ended().await
    };
    let (by_code, by_page) = tokio::join!(by_code, machine.signed_in(&company, "nobody", "inbox", &[]));
    assert!(by_code.code == 1 && by_code.err.contains("the sign-in was refused"), "{by_code:?}");
    assert!(by_page.code == 1 && by_page.err.contains("access_denied"), "{by_page:?}");
    assert!(machine.kept().is_empty());
}

#[tokio::test]
async fn by_a_browser_and_out_again() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    let login = machine.login(&["--browser"], "open http").await;
    for part in
        ["code_challenge_method=S256", "state=", "client_id=countersign-cli", "resource=http", "redirect_uri=http%3A%2F%2F127.0.0.1"]
    {
        assert!(login.told.contains(part), "{part} is missing in {}", login.told);
    }
    assert_eq!(company.browse(&login.address(), "bob").await.0, 200);
    let login = login.ended().await;
    assert!(login.code == 0 && login.out.contains("as bob"), "{login:?}");

    let kept = machine.login_file();
    let token = kept["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "countersign-cli")];
    let out = machine.run(&["logout"]).await;
    assert!(out.code == 0 && out.out.starts_with("signed out of"), "{out:?}");
    assert!(machine.kept().is_empty());
    let (status, refused) = company.token(&form).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")), "the issuer ended it");
    assert!(machine.run(&["whoami"]).await.err.contains("not signed in"));
    assert!(machine.run(&["logout"]).await.out.contains("you were not signed in"));
}

#[tokio::test]
async fn a_sign_in_is_renewed_once_however_many_need_it() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    machine.signed_in(&company, "bob", "inbox", &[]).await;
    for round in 0..3 {
        let before = machine.login_file();
        machine.change("expires_at", "2020-01-01T00:00:00Z");
        // The provider rotates: a token that two spent would end the whole sign-in.
        let all = futures::future::join_all((0..6).map(|_| machine.run(&["whoami"]))).await;
        assert!(all.iter().all(|ended| ended.code == 0), "{round}: {all:?}");
        let after = machine.login_file();
        assert_ne!(before["refresh_token"], after["refresh_token"]);
        assert_ne!(before["access_token"], after["access_token"]);
    }
    let asked = company.log().await.iter().filter(|line| line["path"] == "/token").count();
    assert_eq!(asked, 4, "one sign-in and three renewals");

    // A token that the broker refuses although it should be good is renewed too.
    machine.change("access_token", "x.y.z");
    assert_eq!(machine.run(&["whoami"]).await.code, 0);
    // While the issuer is away a token that is good is used; then it is said whose fault it is.
    company.test("down", json!({"on": true})).await;
    assert_eq!(machine.run(&["whoami"]).await.code, 0);
    machine.change("expires_at", "2020-01-01T00:00:00Z");
    let away = machine.run(&["whoami"]).await;
    assert!(away.code == 3 && away.err.contains(&company.issuer), "{away:?}");
    company.test("down", json!({"on": false})).await;
    // Once the issuer has ended the sign-in, it is said what to do.
    company.test("revoke-sessions", json!({"account": "bob"})).await;
    let ended = machine.run(&["whoami"]).await;
    assert!(ended.code == 1 && ended.err.contains("run `countersign login --url"), "{ended:?}");
}

#[tokio::test]
async fn a_token_that_the_broker_does_not_take_is_not_kept() {
    let company = Company::new(json!({})).await;
    let mut world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    // A token for another resource: as of an issuer that does not heed what was asked for.
    let login = machine.login(&["--browser"], "open http").await;
    let own = world.base.clone();
    world.restart_with(|settings| settings.identity.inbox_resource = "https://elsewhere.example/inbox".to_owned()).await;
    company.browse(&login.address(), "bob").await;
    let refused = login.ended().await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for says in ["does not take", "not kept", "the claim `aud` does not hold `https://elsewhere.example/inbox`"] {
        assert!(refused.err.contains(says), "{says} is missing in {refused:?}");
    }
    assert!(machine.kept().is_empty());
    // And a broker that goes by another name than the one it was asked by is not signed in to at all.
    let other = machine.run(&["login", "--device"]).await;
    assert!(other.code == 1 && other.err.contains("--url https://elsewhere.example"), "{other:?}");

    world.restart_with(|settings| settings.identity.inbox_resource = format!("{own}/inbox")).await;
    // A client that is none of the humans'.
    let stranger = machine.signed_in(&company, "bob", "inbox", &["--client-id", "desk"]).await;
    assert!(stranger.code == 1 && stranger.err.contains("identity.not_a_person"), "{stranger:?}");
    let unknown = machine.login(&["--browser", "--client-id", "unknown"], "open http").await;
    assert_eq!(company.browse(&unknown.address(), "bob").await.0, 400);
    // A token of the other door in a file.
    let file = world.dir.path().join("token");
    std::fs::write(&file, company.minted(&world, "bob", "mcp").await).unwrap();
    let wrong = machine.run(&["whoami", "--token-file", file.to_str().unwrap()]).await;
    assert!(wrong.code == 1 && wrong.err.contains("`aud`"), "{wrong:?}");
}

#[tokio::test]
async fn what_an_agent_is_lent_never_opens_the_inbox() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    machine.signed_in(&company, "bob", "mcp", &[]).await;
    let kept = machine.login_file();
    let as_the_inbox = async |token: &str| {
        let file = world.dir.path().join("stolen");
        std::fs::write(&file, token).unwrap();
        machine.run(&["whoami", "--token-file", file.to_str().unwrap()]).await
    };
    let refused = as_the_inbox(kept["access_token"].as_str().unwrap()).await;
    assert!(refused.code == 1 && refused.err.contains("`aud`"), "{refused:?}");
    // Nor renewed for it, whether the issuer goes along or not.
    let inbox = format!("{}/inbox", world.base);
    let token = kept["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "countersign-connect"), ("resource", &inbox)];
    let (status, answer) = company.token(&form).await;
    match answer["access_token"].as_str() {
        None => assert_eq!(status, 400, "{answer}"),
        Some(token) => assert!(as_the_inbox(token).await.err.contains("identity.not_a_person")),
    }
}

#[tokio::test]
async fn of_several_issuers_one_is_named() {
    let company = Company::new(json!({})).await;
    let mut world = World::new().await;
    let issuer = company.trusted("corp");
    world.restart_with(|settings| settings.identity.issuers.push(issuer)).await;
    let machine = Machine::new(&world);
    let which = machine.run(&["login", "--device"]).await;
    assert!(which.code == 2 && which.err.contains(&format!("--issuer {}", company.issuer)), "{which:?}");
    let none = machine.run(&["login", "--device", "--issuer", "https://idp.example.com"]).await;
    assert!(none.code == 2 && none.err.contains("takes no tokens of that issuer"), "{none:?}");
    let login = machine.signed_in(&company, "bob", "inbox", &["--issuer", &company.issuer]).await;
    assert_eq!(login.code, 0, "{login:?}");
}

#[tokio::test]
async fn a_sign_in_that_others_can_read_is_not_used() {
    let company = Company::new(json!({})).await;
    let world = company.broker(Wish::default()).await;
    let machine = Machine::new(&world);
    machine.signed_in(&company, "bob", "inbox", &[]).await;
    let file = machine.kept().remove(0);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    let refused = machine.run(&["whoami"]).await;
    assert!(refused.code == 2 && refused.err.contains("can be read by others"), "{refused:?}");
    assert_eq!(machine.run(&["logout"]).await.code, 0, "it can be ended");
    assert!(machine.kept().is_empty());
    // Nor does a token go over a line that others can read.
    let plain = machine.run(&["login", "--url", "http://broker.example.com"]).await;
    assert!(plain.code == 1 && plain.err.contains("https://"), "{plain:?}");
}
