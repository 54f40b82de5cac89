//! Forgeries, each with its refusal; every token here is really signed or really forged.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use futures::executor::block_on;

use super::*;
use crate::identity::alone::Alone;

mod chain;
mod keys;
mod properties;

const ISSUER: &str = "http://127.0.0.1:1/issuer";
const MCP: &str = "http://127.0.0.1:1/mcp";
const INBOX: &str = "http://127.0.0.1:1/inbox";

struct World {
    identity: Identity,
    key: Ed25519KeyPair,
    _dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = B64.encode(key.public_key().as_ref());
    let jwks_file = dir.path().join("jwks.json");
    std::fs::write(&jwks_file, json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]}).to_string()).unwrap();
    let mut issuer = IssuerSettings::new(ISSUER, KeySource::File(jwks_file), vec![Algorithm::EdDsa]);
    issuer.human_clients = vec!["cli".to_owned()];
    let settings = Settings {
        resource: MCP.to_owned(),
        inbox_resource: INBOX.to_owned(),
        public_url: "http://127.0.0.1:1".to_owned(),
        issuers: vec![issuer],
        skew: Duration::from_secs(30),
        bound_required: false,
    };
    World { identity: identity_of(settings, Clock::system()).unwrap_or_else(|problems| panic!("{problems:?}")), key, _dir: dir }
}

fn identity_of(settings: Settings, clock: Clock) -> Result<Identity, Vec<String>> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Identity::new(settings, clock, Arc::new(Alone), Arc::new(Alone))
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})
}

fn claims() -> Value {
    let now = Clock::system().now().timestamp();
    json!({"iss": ISSUER, "sub": "alice", "aud": MCP, "exp": now + 300, "iat": now, "client_id": "host", "act": {"sub": "agent"}, "scope": "mcp:read mcp:write", "groups": ["support"], "jti": "j"})
}

fn person_claims() -> Value {
    let now = Clock::system().now().timestamp();
    json!({"iss": ISSUER, "sub": "bob", "aud": INBOX, "exp": now + 300, "iat": now, "client_id": "cli", "groups": ["approvers"]})
}

impl World {
    fn agent(&self, headers: &HeaderMap) -> Result<Arc<Delegation>, Challenge> {
        block_on(self.identity.agent(headers))
    }

    fn person(&self, headers: &HeaderMap) -> Result<Person, Challenge> {
        block_on(self.identity.person(headers, "/approvals"))
    }

    fn sign(&self, header: &Value, payload: &str) -> String {
        self.sign_text(&header.to_string(), payload)
    }

    fn sign_text(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", B64.encode(header), B64.encode(payload));
        let signature = B64.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn headers(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn with(mut claims: Value, name: &str, value: Value) -> String {
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims.to_string()
}

#[test]
fn a_good_token_names_the_human_and_the_agent() {
    let world = world();
    let delegation = world.agent(&headers(&world.sign(&header(), &claims().to_string()))).unwrap();
    assert_eq!((delegation.human().subject.as_str(), delegation.agent().id.as_str()), ("alice", "agent"));
    assert_eq!(delegation.human().teams, ["support"]);
    assert_eq!(delegation.cap(), crate::operation::Risk::Destructive);
    let by_client = world.agent(&headers(&world.sign(&header(), &with(claims(), "act", Value::Null)))).unwrap();
    assert_eq!(by_client.agent().id, "host");
    let chained = with(claims(), "act", json!({"sub": "a", "act": {"sub": "b"}}));
    assert_eq!(world.agent(&headers(&world.sign(&header(), &chained))).unwrap().agent().chain, ["b"]);
    let person = world.person(&headers(&world.sign(&header(), &person_claims().to_string()))).unwrap();
    assert_eq!(person.human().subject, "bob");
}

#[test]
fn forged_headers_are_refused() {
    let world = world();
    let good = claims().to_string();
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("EDDSA")),
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("alg", json!("nOnE")),
        ("alg", json!(["EdDSA"])),
        ("alg", json!("RSA-OAEP-256")),
        ("typ", json!("JWE")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!(["at+jwt"])),
        ("kid", json!("k2")),
        ("kid", json!("")),
        ("kid", json!("K1")),
        ("kid", json!("k1\u{0}")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("/dev/null")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("x' UNION SELECT 'AAAA' --")),
        ("kid", json!("http://127.0.0.1:1/keys")),
        ("kid", json!(["k1"])),
        ("kid", json!({"k1": 1})),
        ("kid", json!(1)),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("jwk", json!({})),
        ("jku", json!("https://evil")),
        ("x5u", json!("https://evil")),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let forged: Value = serde_json::from_str(&with(header(), name, value.clone())).unwrap();
        let challenge = world.agent(&headers(&world.sign(&forged, &good))).unwrap_err();
        assert_eq!((challenge.status.as_u16(), challenge.refusal.code()), (401, Code::InvalidToken), "{name} {value}");
    }
    // A member that stands twice, whichever of the two a reader takes, at any depth; and a null.
    for twice in [
        "{\"alg\":\"none\",\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"alg\":\"none\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"k2\",\"k\\u0069d\":\"k1\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"x\":{\"y\":1,\"y\":2}}",
        "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"jwk\":null}",
        "[\"EdDSA\"]",
        "null",
        "",
    ] {
        assert_eq!(world.agent(&headers(&world.sign_text(twice, &good))).unwrap_err().refusal.code(), Code::InvalidToken, "{twice}");
    }
    // An encrypted token, and a signed one in five parts: nothing here decrypts.
    let jwe = B64.encode(json!({"alg": "dir", "enc": "A256GCM", "kid": "k1", "typ": "at+jwt"}).to_string());
    let signed = world.sign(&header(), &good);
    for forged in
        [format!("{jwe}..AAAA.{}.AAAA", B64.encode(&good)), format!("{signed}.AAAA.AAAA"), format!("{jwe}.{}.", B64.encode(&good))]
    {
        assert_eq!(world.agent(&headers(&forged)).unwrap_err().refusal.code(), Code::InvalidToken, "{forged:.60}");
    }
    // The public key as an HMAC secret.
    let message = format!("{}.{}", B64.encode(json!({"alg": "HS256", "typ": "at+jwt", "kid": "k1"}).to_string()), B64.encode(&good));
    let mac = aws_lc_rs::hmac::sign(
        &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, world.key.public_key().as_ref()),
        message.as_bytes(),
    );
    assert!(world.agent(&headers(&format!("{message}.{}", B64.encode(mac.as_ref())))).is_err());
    let token = world.sign(&header(), &good);
    let (message, _) = token.rsplit_once('.').unwrap();
    for forged in [
        format!("{message}."),
        format!("{message}.AAAA"),
        message.to_owned(),
        format!("{token}.x.y"),
        format!("{token}="),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
    ] {
        assert!(world.agent(&headers(&forged)).is_err(), "{forged:.40}");
    }
}

#[test]
fn forged_claims_are_refused() {
    let world = world();
    let now = Clock::system().now().timestamp();
    for (name, value, code) in [
        ("iss", json!("http://127.0.0.1:1/other"), Code::InvalidToken),
        ("iss", Value::Null, Code::InvalidToken),
        ("sub", json!(""), Code::InvalidToken),
        ("sub", json!(7), Code::InvalidToken),
        ("sub", Value::Null, Code::InvalidToken),
        ("sub", json!("a\u{0}b"), Code::InvalidToken),
        ("aud", json!("http://127.0.0.1:1/mcp/"), Code::InvalidToken),
        ("aud", json!("http://127.0.0.1:1/other"), Code::InvalidToken),
        ("aud", json!([MCP, INBOX]), Code::InvalidToken),
        ("aud", json!(INBOX), Code::InvalidToken),
        ("aud", json!([7]), Code::InvalidToken),
        ("aud", Value::Null, Code::InvalidToken),
        ("exp", json!(now - 300), Code::TokenExpired),
        ("exp", json!("never"), Code::InvalidToken),
        ("exp", json!(1.5), Code::InvalidToken),
        ("exp", json!(-1), Code::InvalidToken),
        ("exp", json!(99_999_999_999_i64), Code::InvalidToken),
        ("exp", Value::Null, Code::InvalidToken),
        ("nbf", json!("x"), Code::InvalidToken),
        ("nbf", json!(now + 3_600), Code::InvalidToken),
        ("iat", json!(now + 3_600), Code::InvalidToken),
        ("iat", Value::Null, Code::InvalidToken),
        ("act", json!({"sub": "alice"}), Code::InvalidToken),
        ("act", json!({"sub": "a", "act": {"sub": "a"}}), Code::InvalidToken),
        ("act", json!("agent"), Code::InvalidToken),
        ("act", json!({}), Code::InvalidToken),
        (
            "act",
            json!({"sub": "1", "act": {"sub": "2", "act": {"sub": "3", "act": {"sub": "4", "act": {"sub": "5"}}}}}),
            Code::InvalidToken,
        ),
        ("may_act", json!({"sub": "other"}), Code::InvalidToken),
        ("groups", json!("support"), Code::InvalidToken),
        ("groups", json!([1]), Code::InvalidToken),
        ("scope", json!("openid"), Code::InsufficientScope),
        ("scope", json!(["mcp:read"]), Code::InvalidToken),
    ] {
        let challenge = world.agent(&headers(&world.sign(&header(), &with(claims(), name, value.clone())))).unwrap_err();
        assert_eq!(challenge.refusal.code(), code, "{name} {value}: {}", challenge.refusal);
    }
    // Every time is a whole number of seconds between 1970 and 2200, or it is none at all.
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for wrong in
            ["-1", "0", "-0", "1.5", "1e9", "1e300", "9223372036854775807", "18446744073709551616", "7258118400", "true", "[]", "{}"]
                .map(ToOwned::to_owned)
                .into_iter()
                .chain([format!("{now}.0"), format!("\"{now}\""), format!("[{now}]"), "\"now\"".to_owned(), "null".to_owned()])
        {
            let payload = with(claims(), name, json!("planted")).replace("\"planted\"", &wrong);
            let refusal = world.agent(&headers(&world.sign(&header(), &payload))).unwrap_err().refusal;
            assert_eq!(refusal.code(), Code::InvalidToken, "{name} {wrong}: {refusal}");
        }
    }
    let twice = claims().to_string().replacen('{', &format!("{{\"exp\":{},", now + 9_999), 1);
    assert!(world.agent(&headers(&world.sign(&header(), &twice))).is_err(), "a claim that stands twice");
    let machine = json!({"iss": ISSUER, "sub": "svc", "client_id": "svc", "aud": MCP, "exp": now + 300, "iat": now, "scope": "mcp:read"});
    assert!(world.agent(&headers(&world.sign(&header(), &machine.to_string()))).unwrap_err().refusal.message().contains("no human"));
}

#[test]
fn the_doors_are_apart() {
    let world = world();
    for (what, claims) in [
        ("an agent's token", claims().to_string()),
        ("an act claim", with(person_claims(), "act", json!({"sub": "agent"}))),
        ("a client that is not listed", with(person_claims(), "client_id", json!("host"))),
        ("no client", with(person_claims(), "client_id", Value::Null)),
    ] {
        assert!(world.person(&headers(&world.sign(&header(), &claims))).is_err(), "{what}");
    }
    assert!(world.agent(&headers(&world.sign(&header(), &person_claims().to_string()))).is_err());
}

#[test]
fn challenges_say_where_to_get_a_token() {
    let world = world();
    let none = world.agent(&HeaderMap::new()).unwrap_err();
    assert_eq!(
        none.www_authenticate,
        "Bearer resource_metadata=\"http://127.0.0.1:1/.well-known/oauth-protected-resource/mcp\", scope=\"mcp:read\""
    );
    let bad = world.agent(&headers("x.y.z")).unwrap_err();
    assert!(bad.www_authenticate.to_str().unwrap().contains("error=\"invalid_token\""));
    let mut twice = headers("x.y.z");
    twice.append(header::AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
    assert!(world.agent(&twice).is_err());
    // Headers that proxies set name nobody.
    let spoofed = HeaderMap::from_iter([
        ("x-user".parse().unwrap(), "alice".parse().unwrap()),
        ("x-forwarded-user".parse().unwrap(), "alice".parse().unwrap()),
    ]);
    assert_eq!(world.agent(&spoofed).unwrap_err().refusal.code(), Code::MissingToken);
    assert!(
        world
            .identity
            .insufficient_scope(crate::operation::Risk::Write)
            .to_str()
            .unwrap()
            .contains("error=\"insufficient_scope\", scope=\"mcp:read mcp:write\"")
    );
}
