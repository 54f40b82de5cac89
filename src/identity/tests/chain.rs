//! Chains of actors: what must not be in one, whoever signed it.

use super::*;

/// Attack 76: what a chain of actors must not be; and what it may be, so that the refusals are not of everything.
#[test]
fn a_chain_of_actors_that_does_not_hold_together_is_refused() {
    let world = world();
    let judge = |name: &str, value: &Value| world.agent(&headers(&world.sign(&header(), &with(claims(), name, value.clone()))));
    let long = "x".repeat(256);
    let read = "mcp:read";
    for (name, value) in [
        ("act", json!([])),
        ("act", json!([{"sub": "agent"}])),
        ("act", json!(true)),
        ("act", json!({"sub": ""})),
        ("act", json!({"sub": ["agent"]})),
        ("act", json!({"sub": "a\nb"})),
        ("act", json!({"sub": long})),
        ("act", json!({"iss": ISSUER})),
        ("act", json!({"sub": "a", "act": "b"})),
        ("act", json!({"sub": "a", "act": {}})),
        ("act", json!({"sub": "a", "act": []})),
        // The human among the actors, first or later; and a circle, next door or around.
        ("act", json!({"sub": "a", "act": {"sub": "alice"}})),
        ("act", json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "a"}}})),
        ("act", json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "b"}}}})),
        // An actor of another issuer, first or later.
        ("act", json!({"sub": "agent", "iss": "https://evil.example"})),
        ("act", json!({"sub": "agent", "iss": format!("{ISSUER}/")})),
        ("act", json!({"sub": "agent", "iss": [ISSUER]})),
        ("act", json!({"sub": "agent", "iss": 7})),
        ("act", json!({"sub": "a", "act": {"sub": "b", "iss": "https://evil.example"}})),
        // A scope that an actor on the way did not have.
        ("act", json!({"sub": "a", "scope": read})),
        ("act", json!({"sub": "a", "scope": ""})),
        ("act", json!({"sub": "a", "scope": [read, "mcp:write"]})),
        ("act", json!({"sub": "a", "scope": "mcp:read mcp:writes"})),
        ("act", json!({"sub": "a", "act": {"sub": "b", "scope": read}})),
        // Whom the human's issuer lets act is somebody else.
        ("may_act", json!("agent")),
        ("may_act", json!([{"sub": "agent"}])),
        ("may_act", json!({})),
        ("may_act", json!({"sub": 7})),
        ("may_act", json!({"sub": ["agent"]})),
        ("may_act", json!({"sub": "Agent"})),
        ("may_act", json!({"sub": "host"})),
        ("may_act", json!({"sub": "agent", "iss": "https://evil.example"})),
    ] {
        let refusal = judge(name, &value).unwrap_err().refusal;
        assert_eq!(refusal.code(), Code::InvalidToken, "{name} {value}: {refusal}");
    }
    for (name, value) in [
        ("act", json!({"sub": "agent", "iss": ISSUER, "scope": "mcp:write mcp:read mcp:admin"})),
        ("act", json!({"sub": "1", "act": {"sub": "2", "act": {"sub": "3", "act": {"sub": "4"}}}})),
        ("may_act", json!({"sub": "agent"})),
        ("may_act", json!({"sub": "agent", "iss": ISSUER})),
    ] {
        assert!(judge(name, &value).is_ok(), "{name} {value}");
    }
    // Without `act` the client is the agent: the two must not be told apart by whoever asks first.
    let no_act: Value = serde_json::from_str(&with(claims(), "act", Value::Null)).unwrap();
    for (name, value) in
        [("may_act", json!({"sub": "agent"})), ("client_id", Value::Null), ("client_id", json!("alice")), ("azp", json!("other"))]
    {
        let token = world.sign(&header(), &with(no_act.clone(), name, value.clone()));
        assert_eq!(world.agent(&headers(&token)).unwrap_err().refusal.code(), Code::InvalidToken, "{name} {value}");
    }
}
