//! Attacks that go through the broker to somewhere else (C5 77, 83, 87): keys that everybody knows, an agent's token passed on, and documents of an
//! issuer that point where nobody should look.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use countersign::identity::{Algorithm, Introspection, IssuerSettings, KeySource, SigningKeys};
use countersign::refusal::Code;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::attacks_identity::{Corp, Untouched, agent, counted, failures, refused};
use crate::harness::cluster::Cluster;
use crate::harness::openbao::{OpenBao, TOKEN};
use crate::harness::process::free_port;
use crate::harness::{Wish, World, modern};
use crate::identity_in_postgres::{self, target};

/// Attack 77: a key that everybody knows, or that others could have read, stops the start and is named.
#[tokio::test]
async fn no_broker_starts_on_a_key_that_is_no_secret() {
    let corp = Corp::new();
    let mut world = corp.world(counted()).await;
    world.stop().await;
    let keys = world.data().join("keys");
    let mut files: Vec<_> = ["log.key", "digest.key", "pseudonym.key", "payload.key"].map(|name| keys.join(name)).to_vec();
    let tokens = std::fs::read_dir(keys.join("tokens")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(tokens.filter(|path| path.extension().is_some_and(|kind| kind == "key")));
    assert_eq!(files.len(), 5, "{files:?}");
    let issuers = std::fs::read_dir(world.dir.path().join("issuer")).unwrap().map(|entry| entry.unwrap().path());
    assert!(issuers.filter(|path| path.extension().is_some_and(|kind| kind == "key")).all(|path| mode(&path) == 0o600));
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        let good = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        for bad in [vec![0; 32], vec![0x41; 32], vec![255; 32], Vec::new(), good[..31].to_vec(), [good.clone(), vec![1]].concat()] {
            std::fs::write(file, &bad).unwrap();
            let why = world.why_it_does_not_start().await.unwrap_or_else(|| panic!("it started on {name} of {bad:?}"));
            assert!(why.contains(name) && !why.contains(&hex::encode(&good)), "{why}");
        }
        std::fs::write(file, &good).unwrap();
        for open in [0o644, 0o640, 0o604, 0o602] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(open)).unwrap();
            let why = world.why_it_does_not_start().await.unwrap_or_else(|| panic!("it started on {name} at {open:o}"));
            assert!(why.contains(name) && why.contains("chmod 600"), "{why}");
        }
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.restart().await;
    world.verify();
    // A list of keys that leads out of its folder.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("keys.json"), "[{\"file\": \"../log.key\", \"signs_from_us\": 0, \"signs_until_us\": null}]").unwrap();
    assert!(SigningKeys::open(dir.path(), world.clock.now()).unwrap_err().contains("elsewhere"));
}

/// Attack 77 once more: an agent's secret at the token service that anybody could guess is refused where the configuration is read, and not repeated.
#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let key = Ed25519KeyPair::from_seed_unchecked(&[1, 2, 3, 5].repeat(8)).unwrap();
    let x = B64.encode(key.public_key().as_ref());
    write("jwks.json", &json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x}]}).to_string());
    write("a.cedar", "@id(\"a\")\npermit (principal, action == Action::\"invoke\", resource is Broker);\n");
    write(
        "countersign.toml",
        "[server]\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n[[issuer]]\nurl = \"https://idp.example.com\"\njwks_file = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\nnamespace = \"corp\"\n[policy]\npath = \"a.cedar\"\n\
         [token_service]\n[[token_service.actor]]\nid = \"claude\"\nscopes = [\"mcp:read\"]\nsecret = \"file:secret\"\n",
    );
    for (secret, good) in
        [("changeme", false), ("hunter2hunter2", false), (&*"a".repeat(40), false), ("", false), ("7Jw2-qv9Zk4_pXn1", true)]
    {
        write("secret", &format!("{secret}\n"));
        let config = dir.path().join("countersign.toml");
        let output = Command::new(env!("CARGO_BIN_EXE_countersign")).args(["check", "--config"]).arg(config).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), good, "{secret}: {text}");
        assert!(good || (text.contains("secret") && (secret.is_empty() || !text.contains(secret))), "{text}");
    }
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A wire that keeps all that goes out over it.
struct Tap {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    async fn on(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    let ((mut from, mut back), (mut answers, mut on)) = (client.into_split(), server.into_split());
                    tokio::spawn(async move { drop(tokio::io::copy(&mut answers, &mut back).await) });
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = from.read(&mut buffer).await {
                        kept.lock().unwrap().extend_from_slice(&buffer[..length]);
                        if on.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, sent }
    }

    fn saw(&self, text: &str) -> bool {
        self.sent.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Attack 83: what the broker sends to a target, to the vault and to an issuer holds nothing of the token that it was called with.
#[tokio::test]
async fn the_agents_token_goes_nowhere_else() {
    let (cluster, bao) = (Cluster::start(), OpenBao::start().await);
    let schema = "CREATE ROLE alice LOGIN PASSWORD 'of-alice'; CREATE TABLE plain (body text); INSERT INTO plain VALUES ('one'); GRANT SELECT ON plain TO alice;";
    cluster.admin().await.execute(schema).await.unwrap();
    bao.write("secret/data/alice", json!({"data": {"password": "of-alice"}})).await;
    cluster.secret("bao-token", TOKEN);
    let postgres = Tap::on(cluster.port).await;
    let vault = Tap::on(bao.url.rsplit(':').next().unwrap().parse().unwrap()).await;
    let login = "[[target.login]]\nhuman = \"alice\"\nuser = \"alice\"\npassword = \"vault:secret/data/alice#password\"";
    let toml = format!("[vault]\nurl = \"http://127.0.0.1:{}\"\ntoken = \"file:bao-token\"\n", vault.port) + &target(&cluster, "pg", login);
    let toml = toml.replace(&format!("port = {}\ndatabase", cluster.port), &format!("port = {}\ndatabase", postgres.port));
    let mut world = identity_in_postgres::world(&cluster, &toml).await;
    let idp = Idp::start().await;
    let issuer = idp.issuer("good");
    world.restart_with(|settings| settings.identity.issuers.push(issuer)).await;
    // One token by the harness's issuer, one by an issuer that is asked for its keys.
    let own = world.agent();
    let theirs = agent(&world, &idp.token(&world, "good"));
    assert_eq!(own.query("pg", "SELECT body FROM plain").await["result"]["rows"], json!([["one"]]));
    for sql in ["SELECT body FROM nothing", "SELECT 1/0", "DELETE FROM plain"] {
        own.query("pg", sql).await;
        own.execute("pg", sql).await;
    }
    let who = theirs.call("whoami", json!({})).await;
    assert_eq!(who["result"]["human"]["subject"], "alice", "{who}");
    theirs.query("pg", "SELECT body FROM plain").await;
    assert!(postgres.saw("SELECT body FROM plain") && vault.saw("/v1/secret/data/alice"), "the taps are not on the wire");
    let log = cluster.log();
    let asked = idp.requests.lock().unwrap().join("\n");
    assert!(asked.contains("/good/keys"));
    for token in [&own.token, &theirs.token] {
        for part in std::iter::once(token.as_str()).chain(token.split('.').skip(1)) {
            assert!(!postgres.saw(part) && !vault.saw(part), "it went out");
            assert!(!log.contains(part) && !asked.contains(part), "it went out");
        }
    }
    assert!(!postgres.saw("Bearer") && !vault.saw("Bearer") && !asked.to_lowercase().contains("authorization"));
    world.verify();
}

/// Attack 83: nor does it stand in a log or a span, with everything turned on that there is.
#[tokio::test]
async fn no_log_at_any_level_holds_a_token() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let (log, port) = (dir.path().join("log.txt"), free_port());
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(dir.path().join("data"))
        .env("COUNTERSIGN_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let (http, base) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}"));
    while http.get(format!("{base}/healthz")).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let read = |name: &str| std::fs::read_to_string(dir.path().join("data").join(name)).unwrap().trim().to_owned();
    // Tokens are made once the broker is there, the approver's last.
    while !dir.path().join("data/approver.token").exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (agents, approvers) = (read("agent.token"), read("approver.token"));
    let (message, signature) = agents.rsplit_once('.').unwrap();
    // A signature's last character may be one of several; the first is not.
    let forged = format!("{message}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    for token in [&agents, &approvers, &forged, &"planted-opaque-token".to_owned()] {
        let body = modern(
            "tools/call",
            json!({"name": "db_query", "arguments": {"target": "shop", "sql": "SELECT 'planted-literal', email FROM customers"}}),
        );
        let request = http.post(format!("{base}/mcp")).bearer_auth(token).header("accept", "application/json, text/event-stream");
        let request =
            request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", "db_query");
        drop(request.header("cookie", "session=planted-cookie").json(&body).send().await.unwrap().text().await);
        for path in ["/approvals", "/audit/entries?human=planted-query", "/whoami"] {
            drop(http.get(format!("{base}{path}")).bearer_auth(token).send().await.unwrap().text().await);
        }
        drop(http.post(format!("{base}/mcp?access_token={token}")).send().await.unwrap().text().await);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("request request="), "the log is not turned on: {text:.2000}");
    for token in [&agents, &approvers, &forged] {
        for part in std::iter::once(token.as_str()).chain(token.split('.').skip(1)) {
            assert!(!text.contains(part), "{}", text.lines().find(|line| line.contains(part)).unwrap());
        }
    }
    for planted in ["planted", "@example.com"] {
        assert!(!text.contains(planted), "{}", text.lines().find(|line| line.contains(planted)).unwrap());
    }
}

/// An identity provider that answers as it is told, one issuer a path, and remembers what it was asked; and a port beside it that nobody should ask.
struct Idp {
    base: String,
    key: Ed25519KeyPair,
    requests: Arc<Mutex<Vec<String>>>,
    trapped: Arc<AtomicUsize>,
}

struct Scripts {
    base: String,
    trap: u16,
    set: Value,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Idp {
    async fn start() -> Self {
        let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, trapped) = (trap.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&trapped);
        tokio::spawn(async move {
            while trap.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let key = Ed25519KeyPair::from_seed_unchecked(&[1, 2, 3, 5].repeat(8)).unwrap();
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "i1", "x": B64.encode(key.public_key().as_ref())}]});
        let requests = Arc::new(Mutex::new(Vec::new()));
        let scripts = Arc::new(Scripts { base: base.clone(), trap: port, set, requests: Arc::clone(&requests) });
        let router = axum::Router::new().fallback(scripted).with_state(scripts);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, key, requests, trapped }
    }

    fn issuer(&self, script: &str) -> IssuerSettings {
        let url = format!("{}/{script}", self.base);
        IssuerSettings { namespace: script.to_owned(), ..IssuerSettings::new(&url, KeySource::Discovered, vec![Algorithm::EdDsa]) }
    }

    fn token(&self, world: &World, script: &str) -> String {
        let now = world.clock.now().timestamp();
        let claims = json!({
            "iss": format!("{}/{script}", self.base), "sub": "alice", "aud": format!("{}/mcp", world.base), "iat": now, "exp": now + 300,
            "client_id": "host", "scope": "mcp:read", "groups": ["support"],
        });
        let message =
            format!("{}.{}", B64.encode(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "i1"}).to_string()), B64.encode(claims.to_string()));
        format!("{message}.{}", B64.encode(self.key.sign(message.as_bytes())))
    }
}

/// Where keys may be said to lie, one an issuer. Each is refused as it is written: nobody is asked.
const POINTS: [(&str, &str); 20] = [
    ("port", "http://127.0.0.1:{trap}/keys"),
    ("name", "http://localhost:{trap}/keys"),
    ("dotted", "https://localhost.:{trap}/keys"),
    ("any", "http://0.0.0.0:{trap}/keys"),
    ("other-loopback", "https://127.0.0.2:{trap}/keys"),
    ("six", "https://[::1]:{trap}/keys"),
    ("mapped", "https://[::ffff:127.0.0.1]:{trap}/keys"),
    ("decimal", "http://2130706433:{trap}/keys"),
    ("short", "http://127.1:{trap}/keys"),
    ("cloud", "http://169.254.169.254/latest/meta-data/iam"),
    ("cloud-tls", "https://169.254.169.254/latest/meta-data/iam"),
    ("cloud-dot", "https://169.254.169.254./latest"),
    ("cloud-six", "https://[::ffff:a9fe:a9fe]/latest"),
    ("nat64", "https://[64:ff9b::a9fe:a9fe]/latest"),
    ("user", "{base}@127.0.0.1:{trap}/keys"),
    ("userinfo", "http://user:pw@{host}/good/keys"),
    ("fragment", "{base}/good/keys#{trap}"),
    ("file", "file:///etc/passwd"),
    ("gopher", "gopher://127.0.0.1:{trap}/1"),
    ("relative", "//127.0.0.1:{trap}/keys"),
];

/// What else an issuer may do to whoever asks it.
const TRICKS: [&str; 11] =
    ["redirect", "redirected-metadata", "redirected-loop", "huge", "endless", "another", "nothing", "number", "no-json", "deep", "private"];

async fn scripted(State(scripts): State<Arc<Scripts>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    scripts.requests.lock().unwrap().push(format!("{} {path} {:?}", request.method(), request.headers()));
    let (script, what) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let Scripts { base, trap, set, .. } = &*scripts;
    let issuer = format!("{base}/{script}");
    let json = |value: Value| axum::Json(value).into_response();
    let elsewhere = |to: String| (http::StatusCode::FOUND, [("location", to)]).into_response();
    let keys = format!("{issuer}/keys");
    if what.starts_with(".well-known") || script == ".well-known" {
        if let Some((_, place)) = POINTS.iter().find(|(name, _)| *name == script) {
            let host = base.trim_start_matches("http://");
            let place = place.replace("{trap}", &trap.to_string()).replace("{base}", base).replace("{host}", host);
            return json(json!({"issuer": issuer, "jwks_uri": place}));
        }
        return match script {
            "redirected-metadata" => elsewhere(format!("http://127.0.0.1:{trap}/.well-known/openid-configuration")),
            "redirected-loop" => elsewhere(path),
            "another" => json(json!({"issuer": format!("{base}/good"), "jwks_uri": format!("{base}/good/keys")})),
            "nothing" => json(json!({"issuer": issuer})),
            "number" => json(json!({"issuer": issuer, "jwks_uri": 7})),
            "no-json" => "<html>".into_response(),
            "deep" => "[".repeat(100_000).into_response(),
            "asks" => {
                json(json!({"issuer": issuer, "jwks_uri": keys, "introspection_endpoint": format!("http://127.0.0.1:{trap}/introspect")}))
            }
            ".well-known" => http::StatusCode::NOT_FOUND.into_response(),
            _ => json(json!({"issuer": issuer, "jwks_uri": keys})),
        };
    }
    match script {
        "redirect" => elsewhere(format!("http://127.0.0.1:{trap}/keys")),
        "huge" => format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(400_000)).into_response(),
        "endless" => {
            axum::body::Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(" ".repeat(8_192)))).into_response()
        }
        "slow" => {
            let drops = futures::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                Some((Ok::<_, std::io::Error>(" "), ()))
            });
            axum::body::Body::from_stream(drops).into_response()
        }
        "private" => {
            json(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "i1", "x": set["keys"][0]["x"], "d": B64.encode([7; 32])}]}))
        }
        _ => json(set.clone()),
    }
}

/// Attack 87: an issuer's documents lead to no other place, take no more than a bounded time and space, and speak for no other issuer.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_documents_lead_nowhere_else() {
    let idp = Idp::start().await;
    let scripts: Vec<&str> = POINTS.iter().map(|(name, _)| *name).chain(TRICKS).chain(["slow", "asks"]).collect();
    let introspection = Introspection { url: None, client_id: "rs".to_owned(), client_secret: SecretString::from("rs-secret".to_owned()) };
    let mut issuers: Vec<IssuerSettings> = scripts.iter().map(|script| idp.issuer(script)).collect();
    issuers.last_mut().unwrap().introspection = Some(introspection);
    let world = World::with(Wish { issuers, ..counted() }).await;
    let untouched = Untouched::before(&world).await;
    let began = Instant::now();
    let asking = scripts.iter().map(|script| {
        let (token, world) = (idp.token(&world, script), &world);
        async move {
            let response = agent(world, &token).raw("db_query", json!({"target": "shop", "sql": "SELECT 1"})).await;
            refused(response, 503, Code::IssuerUnreachable, &token, script).await;
        }
    });
    futures::future::join_all(asking).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    // An opaque token would be shown, with the broker's own secret, to whom the metadata names.
    let response = agent(&world, "an-opaque-token").raw("whoami", json!({})).await;
    refused(response, 503, Code::IssuerUnreachable, "", "introspection").await;
    assert_eq!(idp.trapped.load(Ordering::SeqCst), 0, "the port beside it was asked");
    let asked = idp.requests.lock().unwrap().join("\n");
    assert!(!asked.contains("/good/") && !asked.contains("rs-secret") && !asked.contains("an-opaque-token"), "{asked}");
    // Each was asked once, and not again by whoever repeats a token.
    let before = idp.requests.lock().unwrap().len();
    for script in ["redirect", "huge", "another"] {
        let token = idp.token(&world, script);
        refused(agent(&world, &token).raw("whoami", json!({})).await, 503, Code::IssuerUnreachable, &token, script).await;
    }
    assert_eq!(idp.requests.lock().unwrap().len(), before, "it can be made to hammer");
    failures(&world, 0).await;
    untouched.still(&world).await;
    // An issuer that behaves is believed, so that the others were refused for what they did.
    let world = World::with(Wish { issuers: vec![idp.issuer("good")], ..counted() }).await;
    let who = agent(&world, &idp.token(&world, "good")).call("whoami", json!({})).await;
    assert_eq!(who["result"]["human"]["subject"], "alice", "{who}");
}
