//! Where the secrets of targets are kept: files and OpenBao, changed while the broker runs, never told; certificates; and what `check` says.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Executor;

use crate::harness::cluster::Cluster;
use crate::harness::openbao::{OpenBao, TOKEN};
use crate::harness::{World, code};
use crate::identity_in_postgres::{OPEN, target, world};

const SCHEMA: &str = "
    CREATE ROLE support NOLOGIN; CREATE ROLE alice LOGIN PASSWORD 'first-secret' IN ROLE support; CREATE ROLE carol LOGIN;
    CREATE TABLE plain (id int PRIMARY KEY, body text); INSERT INTO plain VALUES (1, 'one'); GRANT SELECT ON plain TO support;";
const WHO: &str = "SELECT current_user, session_user";

async fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.admin().await.execute(SCHEMA).await.unwrap();
    cluster
}

/// Gives alice another password, and ends what was opened with the old one.
async fn rotate(cluster: &Cluster, sql: &'static str) {
    let mut admin = cluster.admin().await;
    admin.execute(sql).await.unwrap();
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'").await.unwrap();
}

async fn who(world: &World, target: &str) -> Value {
    world.agent().query(target, WHO).await
}

/// What may stand nowhere: not in an answer, not in the ledger.
fn tells_nothing(world: &World, answers: &[Value], secrets: &[&str]) {
    let log = std::fs::read(world.data().join("log.db")).unwrap();
    for secret in secrets {
        assert!(answers.iter().all(|answer| !answer.to_string().contains(secret)), "{secret}");
        assert!(!log.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is in the ledger");
    }
}

#[tokio::test]
async fn a_file_that_changes_is_read_again() {
    let cluster = cluster().await;
    cluster.secret("pw", "first-secret");
    let world =
        world(&cluster, &target(&cluster, "pg", "[[target.login]]\nhuman = \"alice\"\nuser = \"alice\"\npassword = \"file:pw\"")).await;
    let first = who(&world, "pg").await;
    assert_eq!(first["result"]["rows"], json!([["alice", "alice"]]), "{first}");
    rotate(&cluster, "ALTER ROLE alice PASSWORD 'second-secret'").await;
    let refused = who(&world, "pg").await;
    assert_eq!(code(&refused), "target.refused", "{refused}");
    cluster.secret("pw", "second-secret\n");
    let second = who(&world, "pg").await;
    assert_eq!(second["status"], "ok", "{second}");
    std::fs::remove_file(cluster.folder().join("pw")).unwrap();
    let gone = who(&world, "pg").await;
    assert_eq!(code(&gone), "target.no_credential", "{gone}");
    // Whose secret it is may be in its name: the leaf has an opaque id, and the reader is told what it stands for.
    let used = world.approver().trail("&kind=call.completed&status=ok").await;
    assert_eq!(used[0]["leaf"]["cred"]["form"], "login");
    assert!(used[0]["leaf"]["cred"]["ref"].as_str().unwrap().starts_with("crd_") && used[0]["credential"] == "file:pw", "{used:?}");
    tells_nothing(&world, &[first, refused, second, gone], &["first-secret", "second-secret"]);
    world.verify();
}

#[tokio::test]
async fn a_secret_in_openbao_that_changes_is_read_again() {
    let (cluster, mut bao) = (cluster().await, OpenBao::start().await);
    bao.write("secret/data/alice", json!({"data": {"password": "first-secret"}})).await;
    cluster.secret("bao-token", TOKEN);
    let vault = format!("[vault]\nurl = {:?}\ntoken = \"file:bao-token\"\nkeep_s = 5\n", bao.url);
    let login =
        |field: &str| format!("[[target.login]]\nhuman = \"alice\"\nuser = \"alice\"\npassword = \"vault:secret/data/alice#{field}\"");
    let toml = vault
        + &target(&cluster, "pg", &login("password"))
        + &target(&cluster, "each", "login = \"{human.login}\"\npassword = \"vault:secret/data/{human.login}#password\"")
        + &target(&cluster, "wrong", &login("nothing"));
    let world = world(&cluster, &toml).await;
    for target in ["pg", "each"] {
        assert_eq!(who(&world, target).await["result"]["rows"], json!([["alice", "alice"]]));
    }
    assert_eq!(code(&who(&world, "wrong").await), "target.no_credential");
    let began = std::time::Instant::now();
    bao.write("secret/data/alice", json!({"data": {"password": "second-secret"}})).await;
    rotate(&cluster, "ALTER ROLE alice PASSWORD 'second-secret'").await;
    // A login that was refused is read anew at once, without waiting for its time.
    let mut answers = vec![who(&world, "pg").await, who(&world, "pg").await];
    assert_eq!(answers[1]["status"], "ok", "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "too slow to tell");
    bao.stop();
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    answers.push(who(&world, "pg").await);
    assert_eq!(code(&answers[2]), "target.no_credential", "{answers:?}");
    tells_nothing(&world, &answers, &["first-secret", "second-secret", TOKEN]);
    world.verify();
}

#[tokio::test]
async fn a_login_leased_by_openbao_is_replaced_before_it_ends() {
    let (cluster, mut bao) = (cluster().await, OpenBao::start().await);
    bao.lease_logins(&cluster, "broker", "3s", "5s").await;
    cluster.secret("bao-token", TOKEN);
    let service = "[target.service]\npassword = \"vault:database/creds/broker\"\n[[target.role]]\nteam = \"support\"\nrole = \"support\"";
    let toml = format!("[vault]\nurl = {:?}\ntoken = \"file:bao-token\"\n", bao.url) + &target(&cluster, "pg", service);
    let world = world(&cluster, &toml).await;
    let mut logins = std::collections::BTreeSet::new();
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(9) {
        let answer = who(&world, "pg").await;
        let row = &answer["result"]["rows"][0];
        assert!(row[0] == "support" && row[1].as_str().is_some_and(|user| user.starts_with("v-")), "{answer}");
        logins.insert(row[1].to_string());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!((2..=6).contains(&logins.len()), "{logins:?}");
    let used = world.approver().trail("&kind=call.completed&status=ok").await;
    assert!(used.iter().all(|entry| entry["leaf"]["cred"] == json!({"form": "role", "ref": "vault:database/creds/broker"})), "{used:?}");
    // Without OpenBao a lease serves until its end, and then nobody gets in.
    bao.stop();
    assert_eq!(who(&world, "pg").await["status"], "ok");
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    let ended = who(&world, "pg").await;
    assert_eq!(code(&ended), "target.no_credential", "{ended}");
    tells_nothing(&world, &[ended], &[TOKEN]);
    world.verify();
}

#[tokio::test]
async fn a_client_certificate_is_a_login() {
    let cluster = cluster().await;
    cluster.demand_certificate_of("carol").await;
    let login =
        "tls = true\nca = \"ca.crt\"\nlogin = \"{human.login}\"\ncert = \"file:{human.login}.crt\"\nkey = \"file:{human.login}.key\"";
    let toml = target(&cluster, "pg", login) + &target(&cluster, "untrusted", &login.replace("ca = \"ca.crt\"\n", ""));
    let world = world(&cluster, &toml).await;
    let carol = world.agent_of("carol", "demo-agent", &["support"], "mcp:read");
    let answer = carol.query("pg", WHO).await;
    assert_eq!(answer["result"]["rows"], json!([["carol", "carol"]]), "{answer}");
    let refused = carol.query("untrusted", WHO).await;
    assert_eq!(code(&refused), "target.unreachable", "{refused}");
    assert_eq!(code(&world.agent().query("pg", WHO).await), "target.no_credential");
    world.verify();
}

#[test]
fn check_lists_every_login_and_role_that_a_call_could_reach() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("open.cedar"), OPEN).unwrap();
    let key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    std::fs::write(at("jwks.json"), key.to_string()).unwrap();
    std::fs::write(at("pw"), "a-secret").unwrap();
    let head = "[server]\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n[policy]\npath = \"open.cedar\"\n[[issuer]]\nurl = \"https://idp.example.com\"\njwks_file = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n";
    let check = |toml: &str, json: bool| {
        std::fs::write(at("countersign.toml"), format!("{head}{toml}")).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_countersign"));
        check.args(["check", "--config"]).arg(at("countersign.toml")).args(json.then_some("--json"));
        let output = check.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let pg = |name: &str, keys: &str| {
        format!("[[target]]\nname = \"{name}\"\nengine = \"postgres\"\nenvironment = \"e\"\nhost = \"h\"\ndatabase = \"d\"\n{keys}\n")
    };
    let vault = "[vault]\nurl = \"https://vault.example.com\"\ntoken = \"file:pw\"\n";
    let service = "[target.service]\nuser = \"broker\"\npassword = \"file:pw\"";
    let good = vault.to_owned()
        + "[[human]]\nid = \"bob@example.com\"\nlogin = \"robert\"\n"
        + &pg("strong", "login = \"{human.login}\"\npassword = \"vault:kv/data/{human.login}#password\"")
        + &pg("each", &format!("role = \"app_{{human.login}}\"\n{service}"))
        + &pg("teams", &format!("{service}\n[[target.role]]\nteam = \"support\"\nrole = \"support_ro\""))
        + &pg("nobody", service)
        + &pg("leased", "[target.service]\npassword = \"vault:database/creds/x\"\n[[target.role]]\nhuman = \"alice\"\nrole = \"a\"");
    let (status, text) = check(&good, false);
    assert_eq!(status, 0, "{text}");
    insta::assert_snapshot!(text, @r"
    everything is in order

    what a call could be on a target, if a policy allows it:
    TARGET  ROLE/LOGIN         FORM                                        WHO
    strong  robert             login                                       human bob@example.com
    strong  {human.login}      login                                       any other human whose id is a plain name, and no administrator's
    each    app_robert         role of broker                              human bob@example.com
    each    app_{human.login}  role of broker                              any other human whose id is a plain name, and no administrator's
    teams   support_ro         role of broker                              team support
    leased  a                  role of (leased by vault:database/creds/x)  human alice
    warning: target `nobody`: the shared login `broker` has no mapped role: every call is refused
    ");
    let (_, text) = check(&good, true);
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        listed["reach"][2],
        json!({"target": "each", "name": "app_robert", "form": "role", "through": "broker", "who": "human bob@example.com"})
    );
    assert!(listed["warnings"][0].as_str().unwrap().contains("`nobody`"), "{text}");
    for (toml, says) in [
        (pg("a", "login = \"alice\"\npassword = \"file:pw\""), "{human.login}"),
        (pg("a", "login = \"{human.login}\"\npassword = \"hunter2\""), "must be a reference"),
        (pg("a", "login = \"{human.login}\""), "needs a `password`"),
        (pg("a", "login = \"{human.name}\"\npassword = \"file:{human.login}\""), "brace"),
        (pg("a", "login = 7"), "a template such as"),
        (pg("a", "[[target.login]]\nhuman = \"a\"\nname = \"a\""), "unknown field `name`"),
        (pg("a", &format!("login = \"{{human.login}}\"\npassword = \"file:{{human.login}}\"\n{service}")), "not both"),
        (pg("a", &format!("role = \"support\"\n{service}")), "[[target.role]]"),
        (pg("a", &format!("{service}\n[[target.role]]\nteam = \"a\"\nrole = \"none\"")), "`none` is no role"),
        (pg("a", "[target.service]\nuser = \"{human.login}\"\npassword = \"file:pw\""), "one login for everybody"),
        (pg("a", "[target.service]\nuser = \"a\"\npassword = \"vault:database/creds/x\"") + vault, "leave `user` out"),
        (pg("a", "[target.service]\nuser = \"a\"\npassword = \"vault:kv/data/x#y\""), "needs [vault]"),
        (pg("a", "tls = false\n[target.service]\nuser = \"a\"\ncert = \"file:pw\"\nkey = \"file:pw\""), "needs `tls`"),
        (pg("a", "[target.service]\nuser = \"a\"\ncert = \"file:pw\""), "stand together"),
        (pg("a", "[target.service]\nuser = \"a\"\npassword = \"file:nothing\""), "failed to read"),
        (pg("a", "[target.service]\nuser = \"a\"\npassword = \"env:HUNTER_2_IS_NOT_SET\""), "the environment has no"),
        (pg("a", &format!("ca = \"nothing.pem\"\n{service}")), "nothing.pem"),
        (pg("a", &format!("search_path = [\"public\", \"pg_catalog\"]\n{service}")), "the server's own come first"),
        ("[vault]\nurl = \"http://vault.example.com\"\ntoken = \"file:pw\"\n".to_owned(), "must be https"),
        ("[vault]\nurl = \"https://vault.example.com\"\ntoken = \"hunter2\"\n".to_owned(), "must be a reference"),
        ("[[human]]\nid = \"a\"\nlogin = \"../a\"\n".to_owned(), "plain name"),
        ("[[human]]\nid = \"a\"\nlogin = \"x\"\n[[human]]\nid = \"b\"\nlogin = \"x\"\n".to_owned(), "the same login"),
    ] {
        let (status, text) = check(&toml, false);
        assert!(status == 1 && text.contains(says) && !text.contains("hunter2"), "{toml}\n{text}");
    }
}
