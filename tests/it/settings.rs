//! Configurations with everything wrong that can be, each problem with its file and line; and a log that holds nothing of anybody.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::modern;
use crate::harness::process::free_port;

fn check(dir: &std::path::Path, config: &str) -> (i32, String) {
    let path = dir.join("countersign.toml");
    std::fs::write(&path, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign")).args(["check", "--config"]).arg(&path).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

const GOOD: &str = r#"[server]
listen = "127.0.0.1:7300"
[store]
path = "data"
[ledger]
origin = "test.invalid/log"
[[issuer]]
url = "https://idp.example.com"
jwks_file = "jwks.json"
algorithms = ["EdDSA"]
[[target]]
name = "shop"
engine = "sqlite"
environment = "demo"
path = "shop.db"
[policy]
path = "policies"
"#;

/// A folder with everything that [`GOOD`] names, and its one policy.
fn good() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    std::fs::write(dir.path().join("jwks.json"), jwks.to_string()).unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    let policy = dir.path().join("policies/a.cedar");
    let fine = "// fine\n@id(\"a\")\npermit (principal, action == Action::\"invoke\", resource is Broker);\n";
    std::fs::write(&policy, fine).unwrap();
    let (status, text) = check(dir.path(), GOOD);
    assert!(status == 0 && text.starts_with("everything is in order\n"), "{text}");
    (dir, policy)
}

/// A cluster is reached in one of three ways, and each human is somebody there.
#[test]
fn clusters_are_named_in_one_way() {
    let (dir, _) = good();
    std::fs::write(dir.path().join("token"), "a-token").unwrap();
    let with = |target: &str| format!("{GOOD}[[target]]\nname = \"prod\"\nengine = \"kubernetes\"\nenvironment = \"demo\"\n{target}\n");
    let way = "url = \"https://10.0.0.1:6443\"\ntoken = \"file:token\"\n";
    let (status, text) = check(dir.path(), &with(&format!("{way}user = \"oidc:{{human.subject}}\"\ngroups = \"{{human.team}}\"")));
    assert!(status == 0 && text.contains("oidc:{human.subject}") && text.contains("impersonation"), "{text}");
    let (status, text) = check(dir.path(), &with(&format!("{way}[[target.group]]\nteam = \"a\"\ngroup = \"b\"")));
    assert_eq!(status, 0, "{text}");
    for (target, says) in [
        ("", "needs one of"),
        ("in_cluster = true\nkubeconfig = \"x\"", "needs one of"),
        ("kubeconfig = \"missing\"", "failed to read the kubeconfig"),
        ("url = \"https://10.0.0.1\"", "needs `token`"),
        ("url = \"http://10.0.0.1\"\ntoken = \"file:token\"", "https://"),
        ("url = \"https://10.0.0.1\"\ntoken = \"file:none\"", "none"),
        ("in_cluster = true\nhost = \"x\"", "neither path, host"),
        ("in_cluster = true\ntls = false", "never without TLS"),
        ("in_cluster = true\nlogin = \"{human.login}\"", "login, role and service"),
        ("in_cluster = true\nuser = \"alice\"", "{human.subject}"),
        ("in_cluster = true\nuser = \"system:{human.subject}\"", "system:"),
        ("in_cluster = true\ngroups = \"system:{human.team}\"", "system:"),
        ("in_cluster = true\n[[target.group]]\nteam = \"a\"\ngroup = \"system:masters\"", "system:"),
        ("in_cluster = true\ngroups = \"{human.team}\"\n[[target.group]]\nteam = \"a\"\ngroup = \"b\"", "either `groups` or"),
        (
            "in_cluster = true\n[[target.group]]\nteam = \"a\"\ngroup = \"b\"\n[[target.group]]\nteam = \"a\"\ngroup = \"c\"",
            "several groups",
        ),
    ] {
        let (status, text) = check(dir.path(), &with(target));
        assert!(status != 0 && text.contains(says) && text.contains("countersign.toml:18:"), "{target}: {text}");
    }
    let (status, text) = check(dir.path(), &GOOD.replace("path = \"shop.db\"", "path = \"shop.db\"\nkubeconfig = \"x\""));
    assert!(status != 0 && text.contains("`kubeconfig` belongs to a target of the engine kubernetes"), "{text}");
}

/// A host is reached in one way, known by something, and comes with certificates or says that it is shared.
#[test]
fn hosts_are_named_in_one_way() {
    let (dir, _) = good();
    let made = Command::new(env!("CARGO_BIN_EXE_countersign")).args(["ssh-ca", "init", "ca"]).current_dir(dir.path()).status().unwrap();
    assert!(made.success());
    std::fs::write(dir.path().join("known_hosts"), "").unwrap();
    std::fs::write(dir.path().join("text"), "no key").unwrap();
    let with =
        |ssh: &str, target: &str| format!("{GOOD}{ssh}\n[[target]]\nname = \"web\"\nengine = \"ssh\"\nenvironment = \"demo\"\n{target}\n");
    let (ca, host) = ("[ssh]\nca = \"file:ca\"", "host = \"web-1\"\nknown_hosts = \"known_hosts\"\n");
    let login = "login = \"{human.login}\"\n";
    let fine = format!(
        "{host}{login}account = \"deploy\"\njump = [\"bastion\", \"[::1]:2222\"]\nroots = [\"/srv\"]\nenv = [\"LANG\"]\nshell = \"bash\"\nhost_groups = [\"a\"]"
    );
    let (status, text) = check(dir.path(), &with(ca, &fine));
    assert!(status == 0 && text.contains("certificate of deploy"), "{text}");
    let (status, text) = check(dir.path(), &with("", &format!("{host}[target.service]\nuser = \"deploy\"\nkey = \"file:ca\"")));
    assert!(status == 0 && text.contains("warning") && text.contains("shared_key"), "{text}");
    for (ssh, target, expected) in [
        ("", format!("{host}{login}"), "[ssh]"),
        ("[ssh]\nca = \"file:text\"", format!("{host}{login}"), "no private key"),
        ("[ssh]\nca = \"file:none\"", format!("{host}{login}"), "failed to read"),
        ("[ssh]\ncertificate_minutes = 5", format!("{host}{login}"), "either `ca`"),
        ("[ssh]\nca = \"file:ca\"\ncertificate_minutes = 0", format!("{host}{login}"), "1 to 60"),
        ("[ssh]\nca_agent = \"a.sock\"\nca_public = \"text\"", format!("{host}{login}"), "public key"),
        (ca, login.to_owned(), "needs `host`"),
        (ca, format!("host = \"web\"\n{login}"), "no key is believed unseen"),
        (ca, format!("host = \"web\"\nknown_hosts = \"none\"\n{login}"), "failed to read"),
        (ca, format!("host = \"web\"\nhost_keys = [\"MD5:aa\"]\n{login}"), "fingerprint"),
        (
            ca,
            format!("{host}host_keys = [\"SHA256:V6qsPqrnDMeJ5bIErSabVXDoNHpg2yoqD4+yW6HZG6M\"]\ntrust_on_first_use = true\n{login}"),
            "trust_on_first_use",
        ),
        (
            ca,
            format!("host = \"web\"\nhost_keys = [\"SHA256:V6qsPqrnDMeJ5bIErSabVXDoNHpg2yoqD4+yW6HZG6M\"]\njump = [\"bastion\"]\n{login}"),
            "speak for no host of `jump`",
        ),
        (ca, format!("host = \"-oProxyCommand=id\"\nknown_hosts = \"known_hosts\"\n{login}"), "no name or address"),
        (ca, format!("host = \"a b\"\nknown_hosts = \"known_hosts\"\n{login}"), "no name or address"),
        (ca, format!("{host}{login}jump = [\"x:y\"]"), "`jump`"),
        (ca, format!("{host}{login}jump = [\"-x\"]"), "no name or address"),
        (ca, format!("{host}{login}roots = [\"srv\"]"), "root"),
        (ca, format!("{host}{login}roots = [\"/srv/../etc\"]"), "root"),
        (ca, format!("{host}{login}env = [\"LD_PRELOAD\"]"), "LD_PRELOAD"),
        (ca, format!("{host}{login}env = [\"PATH\"]"), "PATH"),
        (ca, format!("{host}{login}env = [\"DBUS_SESSION_BUS_ADDRESS\"]"), "DBUS_SESSION_BUS_ADDRESS"),
        (ca, format!("{host}{login}env = [\"PS4\"]"), "PS4"),
        (ca, format!("{host}{login}env = [\"RUBYLIB\"]"), "RUBYLIB"),
        (ca, format!("{host}{login}env = [\"KUBECONFIG\"]"), "KUBECONFIG"),
        (ca, format!("{host}{login}env = [\"RSYNC_RSH\"]"), "RSYNC_RSH"),
        (ca, format!("{host}{login}env = [\"_t\"]"), "_t"),
        (ca, format!("{host}{login}shell = \"zsh\""), "`shell`"),
        (ca, format!("{host}{login}account = \"Root;id\""), "account"),
        (ca, format!("{host}login = \"deploy\""), "{human.login}"),
        (ca, host.to_owned(), "needs `login`"),
        (ca, format!("{host}[[target.login]]\nhuman = \"alice\"\nuser = \"$(id)\""), "account"),
        (ca, format!("{host}[[target.login]]\nhuman = \"alice\"\nuser = \"a\"\npassword = \"env:X\""), "the broker's to make"),
        (ca, format!("{host}{login}[target.service]\nuser = \"x\"\nkey = \"file:ca\""), "either `login`"),
        (ca, format!("{host}[target.service]\nuser = \"x\""), "either `key` or `password`"),
        (ca, format!("{host}{login}database = \"x\""), "neither path, database"),
    ] {
        let (status, text) = check(dir.path(), &with(ssh, &target));
        assert!(status == 1 && text.contains(expected), "{ssh} {target}: {text}");
        assert!(text.lines().all(|line| line.contains("countersign.toml:")), "{text}");
    }
    let foreign = GOOD.replace("path = \"shop.db\"", "path = \"shop.db\"\nroots = [\"/x\"]");
    let (status, text) = check(dir.path(), &foreign);
    assert!(status != 0 && text.contains("roots"), "{text}");
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let (dir, _) = good();
    for (from, to, line, says) in [
        ("origin =", "origin2 =", 6, "unknown field `origin2`"),
        ("\"127.0.0.1:7300\"", "\"nowhere\"", 2, "socket address"),
        ("[\"EdDSA\"]", "[\"HS256\"]", 7, "HS256"),
        ("https://idp", "http://idp", 7, "https://"),
        ("https://idp.example.com", "http://localhost@evil.com", 7, "https://"),
        ("jwks.json", "missing.json", 7, "missing.json"),
        ("engine = \"sqlite\"", "engine = \"oracle\"", 11, "oracle"),
        ("engine = \"sqlite\"", "engine = \"postgres\"", 11, "needs `host`"),
        ("name = \"shop\"", "name = \"sh op\"", 11, "name"),
        ("path = \"policies\"", "path = \"nothing\"", 17, "nothing"),
        (
            "[policy]",
            "[[step_up]]\naction = \"aprove\"\nmax_age_s = 900\n[policy]",
            17,
            "`aprove` is not one of approve, review, manage, delegate",
        ),
        ("[policy]", "[[step_up]]\naction = \"approve\"\n[policy]", 16, "demands nothing"),
        ("[policy]", "[session]\nlifetime_s = 600\nidle_s = 601\n[policy]", 16, "`idle_s`"),
        (
            "[[target]]",
            "human_clients = [\"web\"]\n[issuer.browser]\nclient_id = \"web\"\nclient_secret = \"file:jwks.json\"\n[[target]]",
            7,
            "must not be in `human_clients`",
        ),
        ("[policy]", "[[mask.column]]\ntable = \"t\"\ncolumn = \"c\"\nmode = \"blur\"\n[policy]", 16, "redact, partial or clear"),
        ("path = \"shop.db\"", "path = \"shop.db\"\npass = \"hunter2\"", 16, "unknown field `pass`"),
        (
            "[policy]",
            "[[target]]\nname = \"shop\"\nengine = \"sqlite\"\nenvironment = \"demo\"\npath = \"b.db\"\n[policy]",
            17,
            "the name `shop`",
        ),
        (
            "[policy]",
            "[[mask.column]]\ntarget = \"shpo\"\ntable = \"t\"\ncolumn = \"c\"\nmode = \"redact\"\n[policy]",
            17,
            "no target `shpo`",
        ),
        (
            "[[target]]",
            "[[issuer]]\nurl = \"https://idp.example.com\"\nnamespace = \"b\"\njwks_file = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n[[target]]",
            12,
            "the url `https://idp.example.com`",
        ),
        (
            "[[target]]",
            "[[issuer]]\nurl = \"https://other.example.com\"\nnamespace = \"a/b\"\njwks_file = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n[[target]]",
            11,
            "its namespace must be letters",
        ),
        (
            "[policy]",
            "[[human]]\nissuer = \"https://nobody\"\nid = \"a\"\nlogin = \"a\"\n[policy]",
            17,
            "no [[issuer]] with the url `https://nobody`",
        ),
        ("test.invalid/log", "", 6, "`origin` must be"),
        ("test.invalid/log", "test invalid", 6, "`origin` must be"),
        ("test.invalid/log", "test\\ninvalid", 6, "`origin` must be"),
        ("test.invalid/log", "test+invalid", 6, "`origin` must be"),
        ("[store]", "public_url = \"broker.example.com\"\n[store]", 3, "no scheme"),
        ("[store]", "public_url = \"ftp://broker.example.com\"\n[store]", 3, "neither https nor http"),
        ("[store]", "public_url = \"https://broker.example.com/mcp\"\n[store]", 3, "a path"),
        ("[store]", "public_url = \"https://broker.example.com?a=b\"\n[store]", 3, "a query"),
        ("[store]", "public_url = \"https://\"\n[store]", 3, "no host"),
        ("[store]", "public_url = \"https://a@b.example.com\"\n[store]", 3, "more than a host"),
        ("[store]", "clock_skew_s = 61\n[store]", 3, "`clock_skew_s` must be 0 to 60, and is 61"),
        ("[store]", "max_concurrent = 0\n[store]", 3, "`max_concurrent` must be 1"),
        ("[store]", "max_concurrent = 9000000000000000000\n[store]", 3, "`max_concurrent` must be 1"),
        ("path = \"shop.db\"", "path = \"shop.db\"\nmax_concurrent = 0", 16, "`max_concurrent` must be 1 to 256"),
    ] {
        let (status, text) = check(dir.path(), &GOOD.replace(from, to));
        assert_eq!(status, 1, "{to}: {text}");
        assert!(text.contains(&format!("countersign.toml:{line}: ")) && text.contains(says), "{to}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    // A target that cannot be made is named by what is wrong with it, and whoever names it is not wrong.
    std::fs::write(
        dir.path().join("policies/a.cedar"),
        "@id(\"a\") permit (principal, action == Action::\"invoke\", resource in Target::\"shop\");",
    )
    .unwrap();
    std::fs::create_dir(dir.path().join("tools")).unwrap();
    let tool =
        "name = \"one\"\ndescription = \"Tells that the shop is there.\"\ntarget = \"shop\"\nstatement = \"SELECT 1\"\nrow_limit = 1\n";
    std::fs::write(dir.path().join("tools/a.toml"), tool).unwrap();
    let with_tools = format!("{GOOD}[tools]\npath = \"tools\"\n");
    assert_eq!(check(dir.path(), &with_tools).0, 0, "{}", check(dir.path(), &with_tools).1);
    let (status, text) = check(dir.path(), &with_tools.replace("path = \"shop.db\"\n", ""));
    assert!(status == 1 && text.lines().count() == 1, "{text}");
}

#[test]
fn every_mistake_about_logins_and_roles_is_named_with_its_line() {
    let (dir, _) = good();
    let postgres = |more: &str| {
        let target = format!("engine = \"postgres\"\nenvironment = \"demo\"\nhost = \"h\"\ndatabase = \"d\"\n{more}");
        check(dir.path(), &GOOD.replace("engine = \"sqlite\"\nenvironment = \"demo\"\npath = \"shop.db\"", &target))
    };
    std::fs::write(dir.path().join("secret"), "a").unwrap();
    let login = "[[target.login]]\nhuman = \"a\"\nuser = \"a\"\npassword = \"file:secret\"\n";
    let role = "[target.service]\nuser = \"s\"\npassword = \"file:secret\"\n[[target.role]]\nteam = \"t\"\nrole = \"r\"\n";
    assert_eq!(postgres(login).0, 0, "{:?}", postgres(login));
    assert_eq!(postgres(role).0, 0, "{:?}", postgres(role));
    for (more, line, says) in [
        (format!("{login}{login}"), 11, "the human `a` has several logins"),
        (format!("{login}issuer = \"https://nobody\""), 21, "no [[issuer]] with the url `https://nobody`"),
        (format!("{role}[[target.role]]\nteam = \"t\"\nrole = \"q\""), 11, "several roles"),
        (format!("{role}issuer = \"https://nobody\""), 23, "no [[issuer]] with the url `https://nobody`"),
        (role.replace("\"r\"", "\"none\""), 11, "`none` is no role"),
        (role.replace("\"r\"", "\"\""), 11, "is no role"),
    ] {
        let (status, text) = postgres(&more);
        assert!(status == 1 && text.contains(&format!("countersign.toml:{line}: ")) && text.contains(says), "{more}: {text}");
    }
    let login =
        "engine = \"postgres\"\nhost = \"h\"\ndatabase = \"d\"\n[[target.login]]\nhuman = \"a\"\nuser = \"a\"\npassword = \"hunter2\"";
    let (_, text) = check(
        dir.path(),
        &GOOD.replace("engine = \"sqlite\"\nenvironment = \"demo\"\npath = \"shop.db\"", &format!("environment = \"demo\"\n{login}")),
    );
    assert!(text.contains("must be a reference") && !text.contains("hunter2"), "{text}");
}

#[test]
fn every_mistake_in_a_policy_is_named_with_its_line() {
    let (dir, policy) = good();
    for (policies, line, says) in [
        ("permit (principal, action == Action::\"invoke\", resource);", 1, "no `@id"),
        ("// a\n\n@id(\"a\") permit (principal, action, resource);", 3, "names no action"),
        ("@id(\"a\") permit (principal, action == Action::\"invoke\", resource) when { context.nothing == 1 };", 1, "nothing"),
        ("@id(\"a\") permit (principal, action == Action::\"invoke\", resource) when { ", 1, "parse"),
        ("@id(\"a\") permit (principal == ?principal, action == Action::\"invoke\", resource);", 1, ""),
        ("@id(\"a\") @colour(\"red\") permit (principal, action == Action::\"request\", resource);", 1, "@colour"),
        ("@id(\"a\") @approvers(\"anybody\") permit (principal, action == Action::\"request\", resource);", 1, "@approvers"),
        ("@id(\"a\") permit (principal, action == Action::\"break_glass\", resource);", 1, "no [[channel]] has `glass_broken`"),
        (
            "@id(\"a\") @escalate_after(\"5m\") @escalate_to(\"oncall\") permit (principal, action == Action::\"request\", resource);",
            1,
            "no [[channel]] has `escalated`",
        ),
        (
            "@id(\"a\") @ttl(\"30m\") @escalate_after(\"30m\") @escalate_to(\"oncall\") permit (principal, action == Action::\"request\", resource);",
            1,
            "must be shorter than `@ttl`",
        ),
        ("@id(\"a\") @quorum(\"0\") permit (principal, action == Action::\"request\", resource);", 1, "@quorum"),
        ("@id(\"a\") permit (principal, action == Action::\"invoke\", resource in Target::\"shpo\");", 1, "shpo"),
        (
            "@id(\"a\") permit (principal, action == Action::\"invoke\", resource is Broker);\n@id(\"a\") permit (principal, action == Action::\"invoke\", resource is Broker);",
            2,
            "is taken",
        ),
    ] {
        std::fs::write(&policy, policies).unwrap();
        let (status, text) = check(dir.path(), GOOD);
        assert_eq!(status, 1, "{policies}: {text}");
        assert!(text.contains(&format!("a.cedar:{line}: ")) && text.contains(says), "{policies}: {text}");
    }
    let (status, _) = check(dir.path(), "not toml at all [");
    assert_eq!(status, 1);
    let unreadable =
        Command::new(env!("CARGO_BIN_EXE_countersign")).args(["serve", "--config", "/nowhere/countersign.toml"]).output().unwrap();
    assert_eq!(unreadable.status.code(), Some(2));
}

/// A whole run with the log turned all the way up: no token, no value, no statement's literal is in it (attack 83).
#[tokio::test]
async fn the_operators_log_holds_nothing_of_anybody() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.txt");
    let port = free_port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(dir.path().join("data"))
        .env("COUNTERSIGN_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let http = reqwest::Client::new();
    let base = format!("http://127.0.0.1:{port}");
    while http.get(format!("{base}/healthz")).send().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // It listens before it has minted tokens, and says that it is ready after.
    while !dir.path().join("data/approver.token").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let token = std::fs::read_to_string(dir.path().join("data/agent.token")).unwrap().trim().to_owned();
    for sql in [
        "SELECT 'planted-literal', email, card_number FROM customers",
        "SELECT planted_column FROM customers",
        "DELETE FROM planted_table",
        "SELECT evil('planted-literal')",
    ] {
        let request = http
            .post(format!("{base}/mcp"))
            .bearer_auth(&token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28");
        let body =
            modern("tools/call", json!({"name": "db_query", "arguments": {"target": "shop", "sql": sql, "reason": "planted-reason"}}));
        let answer: Value = request
            .header("mcp-method", "tools/call")
            .header("mcp-name", "db_query")
            .json(&body)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert!(answer["result"].is_object(), "{answer}");
    }
    // Whoever sets up a channel finds there why nothing of it is taken; the other side is told less.
    let stranger = http.post(format!("{base}/channels/slack/none/interactions")).body("planted").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert!(!stranger.text().await.unwrap().contains("no channel"));
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("request"), "the log is empty");
    assert!(text.contains("no channel of this name in the address has buttons"), "{text:.4000}");
    for planted in
        ["planted", "@example.com", "4111111111111111", token.as_str(), token.split('.').nth(1).unwrap(), token.rsplit('.').next().unwrap()]
    {
        assert!(!text.contains(planted), "{planted} is in the log:\n{text:.4000}");
    }
}
