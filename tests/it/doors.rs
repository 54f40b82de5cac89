//! The doors: who is let in, what the protocol says, and that there is no second surface.

use std::time::Duration;

use countersign::refusal::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{World, answer, code, modern};

#[tokio::test]
async fn tokens_and_challenges() {
    let world = World::new().await;
    let mut agent = world.agent();
    let expired = world.token("alice", &["support"], "mcp", Some("a"), "mcp:read");
    for (token, status, says) in [
        (String::new(), 401, "resource_metadata"),
        ("x.y.z".to_owned(), 401, "error=\"invalid_token\""),
        (world.token("bob", &["approvers"], "inbox", None, ""), 401, "error=\"invalid_token\""),
        (world.token("alice", &["support"], "mcp/", Some("a"), "mcp:read"), 401, "error=\"invalid_token\""),
        (world.token("alice", &["support"], "mcp", Some("alice"), "mcp:read"), 401, "error=\"invalid_token\""),
        (world.token("alice", &["support"], "mcp", Some("a"), "openid"), 403, "error=\"insufficient_scope\""),
    ] {
        agent.token = token;
        let response = agent.raw("whoami", json!({})).await;
        assert_eq!(response.status().as_u16(), status);
        assert!(response.headers()["www-authenticate"].to_str().unwrap().contains(says), "{:?}", response.headers());
        assert!(response.json::<Value>().await.unwrap()["error"]["code"].as_str().unwrap().starts_with("identity."));
    }
    agent.token = expired;
    assert_eq!(agent.raw("whoami", json!({})).await.status(), 200);
    world.clock.turn(chrono::TimeDelta::hours(2));
    assert_eq!(agent.raw("whoami", json!({})).await.status(), 401, "a token that was good a moment ago");
    // A scope that does not reach the operation: recorded, and answered with the step-up.
    let reader = world.agent_of("alice", "demo-agent", &["support"], "mcp:read");
    let response = reader.raw("db_execute", json!({"target": "shop", "sql": "UPDATE orders SET status = 'paid' WHERE id = 1"})).await;
    assert_eq!(response.status(), 403);
    assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("scope=\"mcp:read mcp:write\""));
    assert_eq!(world.approver().trail("&kind=call.refused").await[0]["leaf"]["res"]["code"], "identity.insufficient_scope");
    let metadata = reader.http.get(format!("{}/.well-known/oauth-protected-resource/mcp", world.base)).send().await.unwrap();
    assert_eq!(metadata.headers()["cache-control"], "no-store");
    assert_eq!(metadata.headers()["x-content-type-options"], "nosniff");
    let metadata: Value = metadata.json().await.unwrap();
    assert_eq!(metadata["resource"], format!("{}/mcp", world.base));
    assert_eq!(reader.http.post(format!("{}/mcp?access_token=x", world.base)).send().await.unwrap().status(), 400);
    world.verify();
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_turned_away_everywhere() {
    let world = World::new().await;
    for path in ["/mcp", "/approvals", "/audit/entries", "/healthz", "/.well-known/oauth-protected-resource"] {
        for (header, value) in [("host", "evil.com"), ("host", "127.0.0.1.evil.com"), ("origin", "http://evil.com"), ("origin", "null")] {
            let request = world.agent().http.post(format!("{}{path}", world.base)).bearer_auth(world.agent().token).header(header, value);
            let response = request.json(&modern("tools/list", json!({}))).send().await.unwrap();
            assert_eq!(response.status(), 403, "{path} {header} {value}");
            assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "server.foreign_origin");
        }
    }
    let own = world
        .agent()
        .request("tools/list", None)
        .header("origin", &world.base)
        .json(&modern("tools/list", json!({})))
        .send()
        .await
        .unwrap();
    assert_eq!(own.status(), 200);
}

#[tokio::test]
async fn malformed_requests_get_clear_answers() {
    let world = World::new().await;
    let agent = world.agent();
    for (body, status, code) in [("{\"jsonrpc\"", 400, -32700), ("[]", 400, -32600), ("7", 400, -32600)] {
        let response = agent.request("tools/list", None).header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{body}");
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], code, "{body}");
    }
    let large =
        agent.request("tools/list", None).header("content-type", "application/json").body(" ".repeat(2 << 20)).send().await.unwrap();
    assert_eq!(large.status(), 413);
    // Header and body must agree (attack 70), and nothing but tools is served (attack 69).
    let mismatch = agent
        .request("tools/call", Some("whoami"))
        .json(&modern("tools/call", json!({"name": "list_targets", "arguments": {}})))
        .send()
        .await
        .unwrap();
    assert_eq!(mismatch.status(), 400);
    assert_eq!(mismatch.json::<Value>().await.unwrap()["error"]["code"], -32020);
    for method in ["prompts/list", "resources/list", "completion/complete", "sampling/createMessage", "tasks/get"] {
        let answer: Value =
            agent.request(method, None).json(&modern(method, json!({}))).send().await.unwrap().json().await.unwrap_or_default();
        let failed =
            answer.get("error").is_some() || answer["result"]["prompts"] == json!([]) || answer["result"]["resources"] == json!([]);
        assert!(failed, "{method}: {answer}");
    }
    let version = agent
        .http
        .post(format!("{}/mcp", world.base))
        .bearer_auth(&agent.token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "1999-01-01")
        .header("mcp-method", "tools/list");
    let mut body = modern("tools/list", json!({}));
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1999-01-01");
    assert_eq!(version.json(&body).send().await.unwrap().status(), 400);
    assert_eq!(agent.http.get(format!("{}/mcp", world.base)).bearer_auth(&agent.token).send().await.unwrap().status(), 405);
    assert_eq!(agent.http.get(format!("{}/nothing", world.base)).send().await.unwrap().status(), 404);
    let cursor = agent
        .request("tools/list", None)
        .json(&modern("tools/list", json!({"cursor": "x"})))
        .send()
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    assert_eq!(cursor["error"]["code"], -32602);
}

#[tokio::test]
async fn the_older_era_is_served_without_a_session() {
    let world = World::new().await;
    let agent = world.agent();
    let post = async |body: Value, version: Option<&str>| {
        let mut request = agent
            .http
            .post(format!("{}/mcp", world.base))
            .bearer_auth(&agent.token)
            .header("accept", "application/json, text/event-stream");
        if let Some(version) = version {
            request = request.header("mcp-protocol-version", version);
        }
        request.json(&body).send().await.unwrap()
    };
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "l", "version": "1"}}});
        let answer: Value = post(hello, None).await.json().await.unwrap();
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        assert!(answer["result"]["instructions"].as_str().unwrap().contains("approval_wait"));
        assert_eq!(post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), Some(version)).await.status(), 202);
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "db_query", "arguments": {"target": "shop", "sql": "SELECT 1"}}});
        let answer: Value = post(call, Some(version)).await.json().await.unwrap();
        assert_eq!(answer["result"]["structuredContent"]["status"], "ok", "{version}: {answer}");
    }
    world.verify();
}

#[tokio::test]
async fn more_calls_than_places_are_told_so_and_a_drain_says_no_more() {
    let mut world = World::with(crate::harness::Wish { concurrency: 2, hold: Duration::from_secs(3), ..Default::default() }).await;
    let agent = world.agent();
    let slow = (0..6).map(|id| {
        let agent = agent.clone();
        tokio::spawn(async move {
            let answer = agent.execute("shop", &format!("UPDATE orders SET status = 'paid' WHERE id = {id}")).await;
            (code(&answer) == "server.overloaded", answer["status"] == "approval_pending")
        })
    });
    let answers: Vec<(bool, bool)> = futures::future::join_all(slow).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.contains(&(true, false)) && answers.contains(&(false, true)), "{answers:?}");
    // A request whose body comes only when the drain has begun.
    let body = modern("tools/list", json!({})).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\ncontent-length: {}\r\n\r\n",
        world.base.trim_start_matches("http://"),
        agent.token,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(world.base.trim_start_matches("http://")).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _read = stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    world.stop().await;
    let answer = late.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(Code::Draining.as_str()), "{answer}");
    world.verify();
}

#[tokio::test]
async fn readers_see_their_own_trail_and_reviewers_see_all() {
    let world = World::new().await;
    world.agent().query("shop", "SELECT 1").await;
    let other = world.agent_of("zoe", "demo-agent", &["support"], "mcp:read").query("shop", "SELECT 2").await;
    let alice = world.human("alice", &["support"]);
    let humans: std::collections::BTreeSet<String> =
        alice.trail("").await.iter().map(|entry| entry["human"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(humans.into_iter().collect::<Vec<_>>(), ["alice"]);
    assert!(alice.trail("&human=zoe").await.is_empty());
    assert_eq!(alice.get(&format!("/audit/calls/{}", other["call_id"].as_str().unwrap())).await.0, 404);
    assert_eq!(world.approver().trail("&human=zoe&kind=call.completed").await.len(), 1);
    assert_eq!(world.approver().trail("&agent=demo-agent&tool=db_query&status=ok").await.len(), 2);
    assert_eq!(world.approver().get("/audit/entries?nonsense=1").await.0, 400);
    assert_eq!(
        world.agent().http.get(format!("{}/audit/entries", world.base)).bearer_auth(world.agent().token).send().await.unwrap().status(),
        401
    );
    // Reading was recorded as well.
    assert!(world.approver().trail("&kind=audit.queried").await.len() >= 4);
    world.verify();
}

#[tokio::test]
async fn what_a_human_reads_and_tries_is_recorded() {
    let world = World::new().await;
    let (bob, alice) = (world.approver(), world.human("alice", &["support"]));
    let queried = async || bob.trail("&kind=audit.queried").await.len();
    // Each look at the trail is one reading, counted by the next.
    let before = queried().await;
    assert!(bob.pending().await.is_empty());
    assert_eq!(queried().await, before + 1, "a list that shows nothing");
    let asked = world.agent().execute("shop", "UPDATE orders SET status = 'refunded' WHERE id = 1300").await;
    let id = asked["approval"]["id"].as_str().unwrap();
    assert_eq!(bob.pending().await.len(), 1);
    assert_eq!(queried().await, before + 3, "a list that shows a statement");
    assert_eq!(bob.get(&format!("/approvals/{id}")).await.0, 200);
    assert_eq!(queried().await, before + 5);
    let unknown = format!("apr_{}", "0".repeat(32));
    assert_eq!(alice.get(&format!("/approvals/{unknown}")).await.0, 404);
    assert_eq!(queried().await, before + 7);
    for path in ["/audit/checkpoint", "/audit/checkpoints", "/audit/key", "/.well-known/oauth-protected-resource/inbox"] {
        assert_eq!(bob.get(path).await.0, 200, "{path}");
    }
    assert_eq!(queried().await, before + 8, "what is made to be handed around");
    // Attempts to decide what is not there, or in words that cannot be read.
    let yes = json!({"decision": "approve"});
    for (id, body, status, code) in [
        (unknown.as_str(), &yes, 404, "approval.unknown"),
        ("apr_x", &yes, 404, "approval.unknown"),
        (id, &json!({"decision": "maybe"}), 400, "request.malformed"),
    ] {
        let (answered, refused) = alice.decide(id, body.clone()).await;
        assert_eq!((answered, refused["error"]["code"].as_str()), (status, Some(code)));
        let leaf = bob.trail("&kind=approval.refused").await[0].clone();
        assert_eq!((leaf["human"].as_str(), leaf["leaf"]["res"]["code"].as_str()), (Some("alice"), Some(code)), "{leaf}");
        assert_eq!(leaf["leaf"]["appr"]["id"].as_str(), Some(id).filter(|id| *id != "apr_x"), "{leaf}");
    }
    assert_eq!(bob.trail("&kind=approval.refused").await.len(), 3);
    let (status, refused) = bob.get("/approvals?nonsense=1").await;
    assert_eq!((status, refused["error"]["code"].as_str()), (400, Some("request.malformed")), "{refused}");
    world.verify();
}

/// Nothing but the token says who it is, at the human's door as at the agent's (attack 79).
#[tokio::test]
async fn identity_headers_from_outside_name_nobody() {
    let world = World::new().await;
    let asked = world.agent().execute("shop", "UPDATE orders SET status = 'refunded' WHERE id = 1300").await;
    let id = asked["approval"]["id"].as_str().unwrap();
    let spoofed = [
        ("x-user", "bob"),
        ("x-forwarded-user", "bob"),
        ("x-forwarded-groups", "approvers"),
        ("x-forwarded-access-token", "x.y.z"),
        ("x-auth-request-user", "bob"),
        ("x-remote-user", "bob"),
        ("remote-user", "bob"),
        ("x-ms-client-principal-name", "bob"),
        ("forwarded", "for=127.0.0.1;by=bob"),
        ("cookie", "session=bob"),
    ];
    let with = |mut request: reqwest::RequestBuilder, token: Option<&str>| {
        for (name, value) in spoofed {
            request = request.header(name, value);
        }
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    let (eve, http) = (world.human("eve", &["support"]), reqwest::Client::new());
    let decision = format!("{}/approvals/{id}/decision", world.base);
    for (token, status, code) in [(None, 401, "identity.missing_token"), (Some(eve.token.as_str()), 404, "approval.unknown")] {
        let answer = with(http.post(&decision), token).json(&json!({"decision": "approve"})).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], code);
        let entries = with(http.get(format!("{}/audit/entries?human=alice", world.base)), token).send().await.unwrap();
        let entries: Value = entries.json().await.unwrap();
        assert!(entries["entries"].as_array().is_none_or(Vec::is_empty), "{entries}");
    }
    assert_eq!(world.approver().trail("&kind=approval.refused").await[0]["human"], "eve");
    assert_eq!(world.approver().get(&format!("/approvals/{id}")).await.1["state"], "pending");
    world.verify();
}

type Header = (&'static str, &'static str);

/// Whatever an identity sends that cannot be read as a call has a stable code beside the protocol's own, and leaves one small record.
#[tokio::test]
async fn what_cannot_be_read_has_a_code_and_a_record() {
    let world = World::new().await;
    let agent = world.agent();
    let send = async |body: String, change: &[(&'static str, &str)]| {
        let mut headers = std::collections::BTreeMap::from([
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "whoami"),
        ]);
        headers.extend(change.iter().copied());
        let mut request = agent.http.post(format!("{}/mcp", world.base)).bearer_auth(&agent.token);
        for (name, value) in headers.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.body(body).send().await.unwrap()
    };
    let call = |name: &str| modern("tools/call", json!({"name": name, "arguments": {}})).to_string();
    let mut old = modern("tools/call", json!({"name": "whoami", "arguments": {}}));
    old["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1999-01-01");
    let no_object = modern("tools/call", json!({"name": "whoami", "arguments": "secret-of-the-agent"})).to_string();
    let (deep, large) = (format!("{}{}", "[".repeat(70), "]".repeat(70)), " ".repeat(2 << 20));
    let (list, cursor) = (&[("mcp-method", "tools/list"), ("mcp-name", "")], modern("tools/list", json!({"cursor": "x"})));
    let malformed = "request.malformed";
    let cases: Vec<(&str, String, &[Header], u16, &str)> = vec![
        ("no JSON", "{\"jsonrpc\": secret-of-the-agent".to_owned(), &[], 400, malformed),
        ("a batch", format!("[{}]", call("whoami")), &[], 400, malformed),
        ("a number", "7".to_owned(), &[], 400, malformed),
        ("nesting", deep, &[], 400, malformed),
        ("no method", "{\"jsonrpc\": \"2.0\", \"id\": 1}".to_owned(), &[], 0, malformed),
        ("another name in the header", call("list_targets"), &[], 400, malformed),
        ("another method in the header", call("whoami"), &[("mcp-method", "tools/list")], 400, malformed),
        ("an unknown version", old.to_string(), &[("mcp-protocol-version", "1999-01-01")], 400, malformed),
        ("arguments that are no object", no_object, &[], 400, malformed),
        ("another content type", call("whoami"), &[("content-type", "text/plain")], 415, malformed),
        ("nothing that is accepted", call("whoami"), &[("accept", "image/png")], 406, malformed),
        ("an unknown cursor", cursor.to_string(), list, 0, malformed),
        (
            "an unknown method",
            modern("prompts/get", json!({"name": "x"})).to_string(),
            &[("mcp-method", "prompts/get"), ("mcp-name", "x")],
            0,
            "request.not_found",
        ),
        ("a large body", large, &[], 413, "request.too_large"),
    ];
    for (number, (what, body, change, status, code)) in cases.into_iter().enumerate() {
        let response = send(body, change).await;
        assert!(status == 0 || response.status() == status, "{what}: {}", response.status());
        let answer = answer(response).await;
        assert_eq!(answer["error"]["data"]["code"], code, "{what}: {answer}");
        assert!(answer["error"]["code"].is_i64() && !answer["error"]["data"]["hint"].as_str().unwrap().is_empty(), "{what}: {answer}");
        assert!(answer["error"]["message"].is_string() && answer["jsonrpc"] == "2.0", "{what}: {answer}");
        let records = world.approver().trail("&kind=request.refused").await;
        assert_eq!(records.len(), number + 1, "{what} left no record, or more than one");
        assert_eq!((&records[0]["human"], &records[0]["agent"]), (&json!("alice"), &json!("demo-agent")), "{what}");
        assert_eq!(records[0]["leaf"]["res"], json!({"status": "denied", "code": code}), "{what}");
        assert!(
            !records[0].to_string().contains("secret-of-the-agent") && records[0]["leaf"].get("pay").is_none(),
            "{what}: {}",
            records[0]
        );
    }
    // What can be read leaves none of these, refused or not; nor does what older clients probe for.
    assert_eq!(answer(send(call("whoami"), &[]).await).await["result"]["structuredContent"]["status"], "ok");
    assert_eq!(answer(send(call("nothing"), &[("mcp-name", "nothing")]).await).await["error"]["code"], -32602);
    assert!(agent.tools().await["tools"].is_array());
    assert_eq!(agent.http.get(format!("{}/mcp", world.base)).bearer_auth(&agent.token).send().await.unwrap().status(), 405);
    assert_eq!(world.approver().trail("&kind=request.refused").await.len(), 14);
    world.verify();
}
