//! The guides: what docs/identity shows of each vendor is read as it says, and what docs/approvals.md shows of each channel is in order.

use countersign::config::Config;
use countersign::identity::Reading;
use serde_json::{Map, Value, json};

/// The one block of a page with this tag.
fn block<'a>(page: &str, text: &'a str, tag: &str) -> &'a str {
    let opening = format!("```{tag}\n");
    let mut found = text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap());
    let only = found.next().unwrap_or_else(|| panic!("{page} has no block `{tag}`"));
    assert!(found.next().is_none(), "{page} has two blocks `{tag}`");
    only
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn each_vendors_token_is_read_as_its_guide_says() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/identity");
    let policies = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/default.cedar");
    let mut read = 0;
    for page in ["keycloak", "entra-id", "okta", "auth0", "google"] {
        let text = std::fs::read_to_string(docs.join(format!("{page}.md"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("countersign.toml");
        let issuer = block(page, &text, "toml").split("[server]").next().unwrap();
        let config = format!(
            "[server]\npublic_url = \"https://countersign.example.com\"\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n\
             [policy]\npath = {policies:?}\n{issuer}"
        );
        std::fs::write(&path, config).unwrap();
        let config = Config::read(&path, &countersign::clock::Clock::system()).unwrap_or_else(|problems| panic!("{page}: {problems:?}"));
        let issuer = &config.settings.identity.issuers[0];
        let audience = issuer.audience.as_deref().unwrap_or("https://countersign.example.com/mcp");
        let (header, payload) = (object(block(page, &text, "json header")), object(block(page, &text, "json payload")));
        let reading = Reading::of(issuer, audience, &header, &payload).unwrap_or_else(|refusal| panic!("{page}: {refusal}"));
        let expected: Value = serde_json::from_str(block(page, &text, "json expected")).unwrap();
        let shown = reading.shown();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&shown[name], value, "{page}: {name}");
        }
        assert!(!reading.is_machine, "{page}");
        read += 1;
        // What each vendor writes into a token of a machine.
        for (of, claim, value) in [
            ("keycloak", "preferred_username", json!("service-account-nightly")),
            ("entra-id", "idtyp", json!("app")),
            ("entra-id", "xms_sub_fct", json!("3 13")),
            ("okta", "sub", payload.get("cid").cloned().unwrap_or_default()),
            ("auth0", "gty", json!("client-credentials")),
            ("auth0", "sub_profile", json!("agent")),
        ] {
            if of == page {
                let mut machine = payload.clone();
                machine.insert(claim.to_owned(), value);
                assert!(Reading::of(issuer, audience, &header, &machine).unwrap().is_machine, "{page}: {claim}");
            }
        }
        // Too many groups for the token: refused, since a rule that forbids by team would not bind.
        if page == "entra-id" {
            let mut overage = payload.clone();
            overage.remove("groups");
            overage.insert("_claim_names".to_owned(), json!({"groups": "src1"}));
            assert!(Reading::of(issuer, audience, &header, &overage).unwrap_err().message().contains("too many teams"));
        }
        // The ID token of the same sign-in is no access token.
        if page != "google" && page != "auth0" {
            let mut id_token = payload.clone();
            id_token.insert("nonce".to_owned(), json!("n"));
            assert!(Reading::of(issuer, audience, &header, &id_token).is_err() || header.get("typ") == Some(&json!("at+jwt")), "{page}");
        }
    }
    assert_eq!(read, 5);
}

/// Every channel of docs/approvals.md, after its own commands have made what it names; and the guide names every key that there is.
#[test]
fn each_channel_of_the_guide_is_in_order() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/approvals.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let commands = std::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect::<String>()])
        .current_dir(dir.path())
        .status();
    assert!(commands.unwrap().success());
    for (name, address) in [
        ("slack-url", "https://hooks.slack.com/services/T0/B0/x"),
        ("teams-url", "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=y"),
    ] {
        std::fs::write(dir.path().join("secrets").join(name), address).unwrap();
    }
    for name in ["slack-token", "slack-signing-secret", "smtp-password"] {
        std::fs::write(dir.path().join("secrets").join(name), "a-secret").unwrap();
    }
    let channels: String = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let config = format!(
        "[server]\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n[[issuer]]\nurl = \"https://idp.example.com\"\n\
         jwks_url = \"https://idp.example.com/keys\"\nalgorithms = [\"EdDSA\"]\n[policy]\npath = {:?}\n{channels}",
        root.join("policies/default.cedar")
    );
    let path = dir.path().join("countersign.toml");
    std::fs::write(&path, config).unwrap();
    let config = Config::read(&path, &countersign::clock::Clock::system()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let kinds: Vec<&str> = config.settings.notices.channels.iter().map(|channel| channel.kind.as_str()).collect();
    assert_eq!(kinds, ["webhook", "slack", "slack", "slack", "teams", "email", "command"]);
    assert_eq!(config.settings.humans.systems.len(), 1);
    let shape = std::fs::read_to_string(root.join("src/config/file/channel.rs")).unwrap();
    let keys = shape.lines().filter_map(|line| line.trim().strip_prefix("pub(in crate::config) ")?.split_once(": ").map(|(key, _)| key));
    let missing: Vec<&str> = keys
        .filter(|key| {
            ["{key} = ", "`{key}`", "[channel.{key}]", "[approval_system.{key}]"]
                .iter()
                .all(|form| !text.contains(&form.replace("{key}", key)))
        })
        .collect();
    assert!(missing.is_empty(), "the guide says nothing of {missing:?}");
    // What it says of how long is tried is so.
    let pace = countersign::notice::Pace::default();
    assert!(text.contains(&format!("{} times", pace.attempts_max)) && text.contains(&format!("After {} seconds", pace.first.as_secs())));
}
