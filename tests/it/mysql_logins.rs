//! Logins on MySQL as an operator writes them down: a template, a certificate, a lease; and what is refused before anything runs.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::authority::Authority;
use crate::harness::mariadb::{MariaDb, PASSWORD};
use crate::harness::openbao::{OpenBao, TOKEN};
use crate::harness::{World, code};
use crate::identity_in_postgres::{OPEN, world_beside};

const WHO: &str = "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)";

fn target(port: u16, name: &str, keys: &str) -> String {
    let tls = if keys.contains("tls =") { "" } else { "tls = false\n" };
    let place = format!("environment = \"demo\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"shop\"");
    format!("[[target]]\nname = \"{name}\"\nengine = \"mysql\"\n{place}\n{tls}{keys}\n")
}

async fn who(world: &World, human: &str, target: &str) -> Value {
    world.agent_of(human, "demo-agent", &["support"], "mcp:read").query(target, WHO).await
}

#[tokio::test]
async fn a_login_for_each_human() {
    let server = MariaDb::start(
        "CREATE USER alice IDENTIFIED BY 'alice-secret';\nCREATE USER robert IDENTIFIED BY 'robert-secret';\nGRANT USAGE ON *.* TO alice;\nGRANT SELECT ON shop.* TO alice, robert;",
        &[],
    );
    for name in ["alice", "robert"] {
        server.secret(name, &format!("{name}-secret"));
    }
    let each = "login = \"{human.login}\"\npassword = \"file:{human.login}\"";
    let toml = format!("[[human]]\nid = \"bob@example.com\"\nlogin = \"robert\"\n{}", target(server.port, "each", each));
    let world = world_beside(server.folder(), &toml).await;
    assert_eq!(who(&world, "alice", "each").await["result"]["rows"], json!([["alice"]]));
    assert_eq!(who(&world, "bob@example.com", "each").await["result"]["rows"], json!([["robert"]]));
    for human in ["robert", "../alice", "mallory@example.com"] {
        let refused = who(&world, human, "each").await;
        assert!(code(&refused).starts_with("target."), "{human}: {refused}");
    }
    // A secret that changes is read again, without a restart.
    server.run("ALTER USER alice IDENTIFIED BY 'renewed'").await;
    server.secret("alice", "renewed");
    assert_eq!(who(&world, "alice", "each").await["result"]["rows"], json!([["alice"]]));
    let used = world.approver().trail("&kind=call.completed&status=ok").await;
    assert!(used.iter().all(|entry| entry["leaf"]["cred"] == json!({"form": "login", "ref": "file:{human.login}"})), "{used:?}");
    world.verify();
}

#[tokio::test]
async fn a_client_certificate_is_a_login() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let (certificate, key) = authority.server().write(dir.path(), "server");
    let ca = dir.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    assert!(Command::new("bash").args(["-c", &format!("chmod -R a+rX {}", dir.path().display())]).status().unwrap().success());
    let option = |name: &str, path: &std::path::Path| format!("--ssl-{name}={}", path.display());
    let options = [option("ca", &ca), option("cert", &certificate), option("key", &key)];
    let server = MariaDb::start("CREATE USER carol REQUIRE X509;\nGRANT SELECT ON shop.* TO carol;", &options);
    let folder = server.folder();
    authority.client().write(folder, "carol");
    std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    let login =
        "tls = true\nca = \"ca.crt\"\nlogin = \"{human.login}\"\ncert = \"file:{human.login}.crt\"\nkey = \"file:{human.login}.key\"";
    let toml = target(server.port, "my", login) + &target(server.port, "untrusted", &login.replace("ca = \"ca.crt\"\n", ""));
    let world = world_beside(folder, &toml).await;
    let answer = who(&world, "carol", "my").await;
    assert_eq!(answer["result"]["rows"], json!([["carol"]]), "{answer}");
    let refused = who(&world, "carol", "untrusted").await;
    assert_eq!(code(&refused), "target.unreachable", "{refused}");
    assert_eq!(code(&who(&world, "alice", "my").await), "target.no_credential");
    world.verify();
}

#[tokio::test]
async fn a_login_leased_by_openbao() {
    let server = MariaDb::start("", &[]);
    let bao = OpenBao::start().await;
    let connection = json!({
        "plugin_name": "mysql-database-plugin", "connection_url": format!("{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{})/", server.port),
        "allowed_roles": ["alice"], "username": "admin", "password": PASSWORD,
    });
    let create = ["CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'", "GRANT SELECT ON shop.* TO '{{name}}'@'%'"];
    bao.lease(connection, "alice", &create, ("60s", "60s")).await;
    server.secret("bao-token", TOKEN);
    let keys = "login = \"{human.login}\"\npassword = \"vault:database/creds/{human.login}\"";
    let toml = format!("[vault]\nurl = {:?}\ntoken = \"file:bao-token\"\n{}", bao.url, target(server.port, "my", keys));
    let world = world_beside(server.folder(), &toml).await;
    let answer = who(&world, "alice", "my").await;
    assert!(answer["result"]["rows"][0][0].as_str().is_some_and(|user| user.starts_with("v-")), "{answer}");
    assert_eq!(who(&world, "alice", "my").await["result"]["rows"], answer["result"]["rows"], "the lease is used again");
    assert!(!answer.to_string().contains(TOKEN));
    world.verify();
}

#[test]
fn check_names_what_is_wrong_with_a_target() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("open.cedar"), OPEN).unwrap();
    std::fs::write(at("jwks.json"), json!({"keys": []}).to_string()).unwrap();
    std::fs::write(at("pw"), "a-secret").unwrap();
    let head = "[server]\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n[policy]\npath = \"open.cedar\"\n[[issuer]]\nurl = \"https://idp.example.com\"\njwks_file = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n";
    let my = |keys: &str| target(3306, "my", keys);
    let login = "login = \"{human.login}\"\npassword = \"file:pw\"";
    for (toml, says) in [
        (my("[target.service]\nuser = \"a\"\npassword = \"file:pw\""), "a mysql target needs `login`"),
        (my(""), "a mysql target needs `login`"),
        (my(&format!("role = \"support\"\n{login}")), "a mysql target needs `login`"),
        (my(&format!("search_path = [\"a\"]\n{login}")), "no `search_path`"),
        (my(login).replace("\"shop\"", "\"MySQL\""), "of the server's own"),
        (my(login).replace("host = \"127.0.0.1\"\n", ""), "needs `host` and `database`"),
        (my(login).replace("\"mysql\"", "\"mariadb\""), "is not one of sqlite, postgres, mysql"),
        (my(&format!("ca = \"nothing.pem\"\n{login}")), "nothing.pem"),
        (my("password = \"file:pw\"\n[[target.login]]\nhuman = \"a\"\nuser = \"a\"\npassword = \"file:pw\""), "belong to `login"),
    ] {
        std::fs::write(at("countersign.toml"), format!("{head}{toml}")).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_countersign")).args(["check", "--config"]).arg(at("countersign.toml")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && text.contains(says) && text.contains("countersign.toml:"), "{toml}\n{text}");
    }
}
