//! TLS at the listener: real handshakes, a renewal while calls go on, pairs that do not fit, and clients with certificates of their own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine;
use countersign::identity::ClientCertificate;
use countersign::server::{self, Listening, tls};
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::harness::authority::{Authority, Pair};
use crate::harness::process::free_port;
use crate::harness::{Agent, Wish, World};

fn transport(tls: tls::Settings) -> server::Transport {
    server::Transport { tls: Some(tls), opening: Duration::from_secs(1), ..Wish::default().transport }
}

async fn world(tls: tls::Settings) -> World {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    World::with(Wish { transport: transport(tls), ..Wish::default() }).await
}

fn address(world: &World) -> &str {
    world.base.trim_start_matches("http://")
}

fn agent(world: &World, http: reqwest::Client) -> Agent {
    Agent { base: format!("https://{}", address(world)), http, ..world.agent() }
}

/// The certificate that a broker shows.
async fn shown(authority: &Authority, address: &str) -> Vec<u8> {
    let stream = authority.shake(address, &[&TLS13], &["http/1.1"], None).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn calls_go_over_tls_in_both_versions_and_nothing_else_is_spoken() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let mut world = world(authority.settings(dir.path())).await;
    assert_eq!(agent(&world, authority.http(None)).query("shop", "SELECT 1").await["status"], "ok");
    for version in [&TLS12, &TLS13] {
        let stream = authority.shake(address(&world), &[version], &["h2", "http/1.1"], None).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(authority.shake(address(&world), &[version], &["h2"], None).await.is_err());
    }
    assert!(Authority::new().shake(address(&world), &[&TLS13], &[], None).await.is_err(), "another authority");
    assert!(world.agent().http.get(format!("{}/healthz", world.base)).send().await.is_err(), "plain HTTP");
    // Whoever never finishes a handshake is cut, and holds nobody up meanwhile.
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(tokio::net::TcpStream::connect(address(&world)).await.unwrap());
    }
    assert_eq!(agent(&world, authority.http(None)).query("shop", "SELECT 1").await["status"], "ok");
    for mut stream in idle {
        let cut = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
        assert!(cut.is_ok(), "the handshake was left open");
    }
    world.stop().await;
    world.verify();
}

#[tokio::test]
async fn a_renewed_pair_is_taken_up_while_calls_go_on_and_a_broken_one_is_not() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let patient = server::Transport { opening: Duration::from_secs(60), ..transport(authority.settings(dir.path())) };
    let world = World::with(Wish { transport: patient, ..Wish::default() }).await;
    let first = shown(&authority, address(&world)).await;
    let (over, failed, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let going = {
        let (agent, over, failed, calls) =
            (agent(&world, authority.http(None)), Arc::clone(&over), Arc::clone(&failed), Arc::clone(&calls));
        tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let answer = agent.try_call("db_query", json!({"target": "shop", "sql": "SELECT 1"})).await;
                calls.fetch_add(1, Ordering::SeqCst);
                if answer.is_none_or(|answer| answer["status"] != "ok") {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    };
    // A connection that is open goes on with what it began with.
    let mut open = authority.shake(address(&world), &[&TLS13], &[], None).await.unwrap();
    let second = authority.server();
    std::fs::write(dir.path().join("server.crt"), &second.cert).unwrap();
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!(shown(&authority, address(&world)).await, first, "the key is not this certificate's");
    for broken in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(dir.path().join("server.key"), broken).unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(shown(&authority, address(&world)).await, first, "{broken}");
    }
    second.write(dir.path(), "server");
    let mut now = first.clone();
    for _ in 0..100 {
        now = shown(&authority, address(&world)).await;
        if now != first {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(now, second.der().to_vec());
    over.store(true, Ordering::SeqCst);
    going.await.unwrap();
    assert!(calls.load(Ordering::SeqCst) > 10 && failed.load(Ordering::SeqCst) == 0, "{failed:?} of {calls:?} calls failed");
    open.write_all(format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", address(&world)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.verify();
}

/// A server whose only route says what it knows of the client.
async fn mirror(tls: tls::Settings) -> (String, CancellationToken) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let transport = transport(tls);
    let settings = server::Settings {
        listen,
        public_url: format!("https://{listen}"),
        allowed_hosts: vec![listen.to_string()],
        allowed_origins: Vec::new(),
        body_max: 1 << 20,
        concurrency: 8,
        timeout: Duration::from_secs(5),
        grace: Duration::from_secs(1),
        transport: transport.clone(),
    };
    let doors = Router::new().route(
        "/who",
        get(async |ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>, certificate: Option<Extension<ClientCertificate>>| {
            assert!(peer.ip().is_loopback());
            certificate.map_or_else(|| "nobody".to_owned(), |Extension(certificate)| certificate.thumbprint())
        }),
    );
    let draining = CancellationToken::new();
    let router = server::router(settings, doors, draining.clone(), Arc::default());
    let listening = Listening::new(listener, &transport, CancellationToken::new()).unwrap();
    tokio::spawn(listening.serve(router, draining.clone(), Duration::from_secs(1)));
    (listen.to_string(), draining)
}

async fn who(authority: &Authority, address: &str, own: Option<&Pair>) -> Option<String> {
    let response = authority.http(own).get(format!("https://{address}/who")).header("x-client-cert", "somebody").send().await.ok()?;
    response.text().await.ok()
}

#[tokio::test]
async fn a_clients_certificate_is_demanded_or_welcome_and_its_thumbprint_is_told() {
    let (dir, authority, agents, others) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new(), Authority::new());
    let (good, foreign) = (agents.client(), others.client());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &good.der());
    let thumbprint = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    for required in [true, false] {
        let settings = tls::Settings { clients: Some(agents.clients(dir.path(), required)), ..authority.settings(dir.path()) };
        let (address, draining) = mirror(settings).await;
        assert_eq!(who(&authority, &address, Some(&good)).await.as_deref(), Some(thumbprint.as_str()), "required = {required}");
        let nobody = who(&authority, &address, None).await;
        assert_eq!(nobody.as_deref(), if required { None } else { Some("nobody") }, "required = {required}");
        // One that is shown must be good, also where none is needed: another issuer's is not, nor a server's own.
        assert_eq!(who(&authority, &address, Some(&foreign)).await, None, "required = {required}");
        assert_eq!(who(&authority, &address, Some(&agents.server())).await, None, "required = {required}");
        draining.cancel();
    }
    let (address, draining) = mirror(authority.settings(dir.path())).await;
    assert_eq!(who(&authority, &address, Some(&good)).await.as_deref(), Some("nobody"), "nobody asked for it");
    draining.cancel();
}

#[tokio::test]
async fn a_broker_behind_mtls_takes_calls_of_those_who_have_a_certificate() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let settings = tls::Settings { clients: Some(authority.clients(dir.path(), true)), ..authority.settings(dir.path()) };
    let world = world(settings).await;
    let client = authority.client();
    assert_eq!(agent(&world, authority.http(Some(&client))).query("shop", "SELECT 1").await["status"], "ok");
    assert!(agent(&world, authority.http(None)).try_call("whoami", json!({})).await.is_none());
    // The certificate is no token.
    let mut stranger = agent(&world, authority.http(Some(&client)));
    stranger.token = "x.y.z".to_owned();
    assert_eq!(stranger.raw("whoami", json!({})).await.status(), 401);
    world.verify();
}

fn config(dir: &Path, port: u16, server: &str) -> std::path::PathBuf {
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    std::fs::write(dir.join("jwks.json"), jwks.to_string()).unwrap();
    std::fs::write(dir.join("a.cedar"), "@id(\"a\")\npermit (principal, action == Action::\"invoke\", resource is Broker);\n").unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n{server}\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n\
         [[issuer]]\nurl = \"https://idp.example.com\"\njwks_file = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n[policy]\npath = \"a.cedar\"\n"
    );
    let path = dir.join("countersign.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_is_wrong_with_certificates_is_named_with_its_line_and_nothing_starts() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.server().write(dir.path(), "server");
    authority.server().write(dir.path(), "other");
    std::fs::write(dir.path().join("ca.crt"), authority.pem()).unwrap();
    std::fs::write(dir.path().join("text.pem"), "hello").unwrap();
    let secret = "c2VjcmV0LWtleS1ieXRlcw";
    std::fs::write(dir.path().join("torn.key"), format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE")).unwrap();
    let command = |command: &str, config: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign")).args([command, "--config"]).arg(config).output().unwrap();
        (output.status.code().unwrap(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let pair = "[server.tls]\ncert_file = \"server.crt\"\nkey_file = \"server.key\"";
    for good in [
        pair.to_owned(),
        format!("{pair}\nclient_ca_file = \"ca.crt\""),
        format!("{pair}\nclient_ca_file = \"ca.crt\"\nclient_certificates = \"optional\""),
        format!("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nrequests_per_minute = 0\n{pair}"),
    ] {
        assert_eq!(command("check", &config(dir.path(), 7300, &good)).0, 0, "{good}");
    }
    for (server, line, says) in [
        (pair.replace("server.key", "other.key"), 5, "is not the key of the certificate"),
        (pair.replace("server.key", "missing.key"), 5, "failed to read it"),
        (pair.replace("server.key", "torn.key"), 5, "no private key"),
        (pair.replace("server.crt", "text.pem"), 4, "no certificate"),
        (pair.replace("server.crt", "server.key"), 4, "no certificate"),
        (format!("{pair}\nclient_ca_file = \"text.pem\""), 6, "no certificate"),
        (format!("{pair}\nclient_certificates = \"required\""), 6, "client_ca_file"),
        (format!("{pair}\nclient_ca_file = \"ca.crt\"\nclient_certificates = \"maybe\""), 7, "optional or required"),
        (format!("public_url = \"http://a.example.com\"\n{pair}"), 3, "https://"),
        ("trusted_proxies = [\"10.0.0.0/33\"]".to_owned(), 3, "10.0.0.0/33"),
        ("[server.tls]\ncert_file = \"server.crt\"".to_owned(), 3, "key_file"),
    ] {
        let path = config(dir.path(), 7300, &server);
        let (status, text) = command("check", &path);
        assert!(status == 1 && text.contains(&format!("countersign.toml:{line}: ")) && text.contains(says), "{server}\n{text}");
        assert!(!text.contains(secret), "{text}");
        assert_eq!(command("serve", &path).0, 2, "{server}");
    }
}

#[tokio::test]
async fn serve_says_https_and_its_log_has_the_ids_of_requests() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let (dir, authority, port) = (tempfile::tempdir().unwrap(), Authority::new(), free_port());
    authority.server().write(dir.path(), "server");
    let path = config(dir.path(), port, "[server.tls]\ncert_file = \"server.crt\"\nkey_file = \"server.key\"");
    let log = dir.path().join("log.txt");
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["serve", "--config"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
    assert_eq!(said, format!("ready https://127.0.0.1:{port}/mcp\n"));
    let http = authority.http(None);
    let response = http.get(format!("https://127.0.0.1:{port}/.well-known/oauth-protected-resource/mcp")).send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let metadata: serde_json::Value = response.json().await.unwrap();
    assert_eq!(metadata["resource"], format!("https://127.0.0.1:{port}/mcp"), "the default of public_url");
    let origin = |origin: String| http.get(format!("https://127.0.0.1:{port}/healthz")).header("origin", origin).send();
    assert_eq!(origin(format!("https://127.0.0.1:{port}")).await.unwrap().status(), 200);
    assert_eq!(origin(format!("http://127.0.0.1:{port}")).await.unwrap().status(), 403);
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().any(|line| line.contains(&id) && line.contains("/.well-known/")), "{id} is not in:\n{text}");
}
