//! Any JSON in any claim and in any member of the header, really signed: let in only where it is what it must be, else a refusal that does not
//! repeat it; never a panic.

use proptest::prelude::*;

use super::*;

/// Stands in every text that is planted, so that it is known again wherever it comes back.
const PLANTED: &str = "planted-9c41";

/// Claims that somebody reads, and some that nobody does; a pointer is a place inside one.
const CLAIMS: &[&str] = &[
    "/iss",
    "/sub",
    "/aud",
    "/aud/0",
    "/exp",
    "/nbf",
    "/iat",
    "/client_id",
    "/azp",
    "/act",
    "/act/sub",
    "/act/iss",
    "/act/scope",
    "/act/act",
    "/act/act/sub",
    "/may_act",
    "/may_act/sub",
    "/may_act/iss",
    "/scope",
    "/scp",
    "/groups",
    "/groups/0",
    "/jti",
    "/name",
    "/acr",
    "/amr",
    "/amr/0",
    "/auth_time",
    "/dlg",
    "/sub_id",
    "/unattended",
    "/hasgroups",
    "/_claim_names",
    "/cnf",
    "/cnf/jkt",
    "/nonce",
    "/whatever",
];
const MEMBERS: &[&str] =
    &["alg", "typ", "kid", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "enc", "zip", "cty", "epk", "whatever"];

fn value() -> impl Strategy<Value = Value> {
    let now = Clock::system().now().timestamp();
    let text = prop_oneof![
        any::<String>().prop_map(|text| json!(format!("{PLANTED}{text}"))),
        prop::sample::select(vec![
            "",
            "alice",
            "agent",
            "host",
            "k1",
            "EdDSA",
            "none",
            "at+jwt",
            "JWT",
            MCP,
            INBOX,
            ISSUER,
            "mcp:read",
            "mcp:read mcp:admin",
            "null",
            "true"
        ])
        .prop_map(|text| json!(text)),
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        (-100_i64..1_000).prop_map(move |off| json!(now + off)),
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::Bool), number, text.clone(), text];
    let name = prop_oneof![
        prop::sample::select(vec!["sub", "iss", "act", "scope", "jkt", "format", "groups", "k"]).prop_map(ToOwned::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Puts a value at a place, which is made where it is not there.
fn plant(claims: &mut Value, place: &str, value: &Value) {
    let mut at = claims;
    for step in place.split('/').skip(1) {
        at = match step.parse::<usize>() {
            Ok(_) => {
                *at = json!([null]);
                &mut at[0]
            }
            Err(_) => {
                if !at.is_object() {
                    *at = json!({"sub": "first"});
                }
                &mut at[step]
            }
        };
    }
    *at = value.clone();
}

/// Whether a value may stand in a claim that is read; of the others it is no matter.
fn may_stand(place: &str, value: &Value) -> bool {
    let now = Clock::system().now().timestamp();
    let well_formed = |text: &str| !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    let text = || value.as_str().is_some_and(well_formed);
    let texts = || value.as_array().is_some_and(|items| items.iter().all(|item| item.as_str().is_some_and(well_formed)));
    let time = |from: i64, to: i64| value.as_i64().is_some_and(|at| (from..to).contains(&at));
    match place {
        "/iss" | "/act/iss" | "/may_act/iss" => value == ISSUER,
        "/sub" => text() && value != "agent" && value != "host",
        "/aud" => {
            value == MCP || (texts() && value.as_array().is_some_and(|all| all.contains(&json!(MCP)) && !all.contains(&json!(INBOX))))
        }
        "/aud/0" => value == MCP,
        "/exp" => time(now - 32, 7_258_118_400),
        "/iat" => time(1, now + 32),
        "/nbf" => time(1, now + 32),
        "/auth_time" => time(1, 7_258_118_400),
        "/client_id" => text() && value != "alice",
        "/azp" => value == "host",
        "/act" => value.get("sub").and_then(Value::as_str).is_some_and(|sub| well_formed(sub) && sub != "alice"),
        "/act/sub" => text() && value != "alice",
        "/act/scope" => {
            value.as_str().is_some_and(|held| ["mcp:read", "mcp:write"].iter().all(|scope| held.split(' ').any(|word| word == *scope)))
        }
        "/act/act" => value.get("sub").and_then(Value::as_str).is_some_and(|sub| well_formed(sub) && sub != "alice" && sub != "agent"),
        "/act/act/sub" => text() && value != "alice" && value != "agent",
        "/may_act" => value.get("sub").is_some_and(|sub| sub == "agent"),
        "/may_act/sub" => value == "agent",
        "/scope" => value.as_str().is_some_and(|scope| scope.split(' ').any(|word| ["mcp:read", "mcp:write", "mcp:admin"].contains(&word))),
        "/groups" | "/amr" => texts(),
        "/groups/0" | "/amr/0" | "/jti" | "/acr" | "/dlg" => text(),
        _ => true,
    }
}

/// Whoever is not let in hears a code of ours, and nothing of what was planted.
fn refused(challenge: &Challenge) {
    assert!(challenge.refusal.code().as_str().starts_with("identity."), "{}", challenge.refusal);
    let told = format!("{} {:?}", challenge.refusal, challenge.www_authenticate);
    assert!(!told.contains(PLANTED), "{told}");
}

#[test]
fn any_json_in_any_claim() {
    let world = world();
    proptest!(ProptestConfig::with_cases(1_500), |(place in prop::sample::select(CLAIMS), value in value())| {
        let mut planted = claims();
        plant(&mut planted, place, &value);
        let token = world.sign(&header(), &planted.to_string());
        match world.agent(&headers(&token)) {
            Ok(delegation) => {
                prop_assert!(may_stand(place, &value), "{} let in with {}", place, value);
                if place != "/sub" {
                    prop_assert_eq!(&delegation.human().subject, "alice");
                }
                prop_assert!(!["/act", "/act/sub", "/act/act", "/act/act/sub"].contains(&place) || delegation.agent().id != "alice");
                prop_assert_eq!(&delegation.human().issuer, ISSUER);
            }
            Err(challenge) => refused(&challenge),
        }
        // The human's door: the chain of actors alone keeps it shut, whatever is in it.
        let mut planted = person_claims();
        plant(&mut planted, place, &value);
        match world.person(&headers(&world.sign(&header(), &planted.to_string()))) {
            Ok(person) => {
                prop_assert!(!place.starts_with("/act"), "{} let in with {}", place, value);
                prop_assert_eq!(person.client(), "cli");
            }
            Err(challenge) => refused(&challenge),
        }
    });
}

#[test]
fn any_json_in_any_member_of_the_header() {
    let world = world();
    let payload = claims().to_string();
    proptest!(ProptestConfig::with_cases(500), |(member in prop::sample::select(MEMBERS), value in value())| {
        let mut planted = header();
        planted[member] = value.clone();
        match world.agent(&headers(&world.sign(&planted, &payload))) {
            Ok(_) => prop_assert!(match member {
                "alg" => value == "EdDSA",
                "typ" => value == "at+jwt",
                "kid" => value == "k1",
                other => !token::FOREIGN.contains(&other),
            }, "{} let in with {}", member, value),
            Err(challenge) => refused(&challenge),
        }
    });
}

#[test]
fn any_bytes_for_claims_and_header() {
    let world = world();
    proptest!(ProptestConfig::with_cases(300), |(bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for token in [world.sign(&header(), &text), world.sign_text(&text, &claims().to_string())] {
            refused(&world.agent(&headers(&token)).unwrap_err());
            refused(&world.person(&headers(&token)).unwrap_err());
        }
    });
}
