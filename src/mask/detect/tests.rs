//! What vendors' tokens, passwords in URLs and hashes look like, and what only looks like them.

use super::{find, redact};

fn kinds(text: &str) -> Vec<&'static str> {
    find(text).iter().map(|hit| hit.kind).collect()
}

/// Tokens are put together here, so that no scanner takes this file for a leak.
fn token(prefix: &str, letters: &str, length: usize) -> String {
    prefix.chars().chain(letters.chars().cycle().take(length)).collect()
}

const ALNUM: &str = "a1B2c3D4e5F6g7H8";
const HEX: &str = "0a1b2c3d4e5f6789";

#[test]
fn tokens_of_vendors() {
    for token in [
        token("AKIA", "ABCDEFGH23456789", 16),
        token("ASIA", "ABCDEFGH23456789", 16),
        token("ghp_", ALNUM, 36),
        token("gho_", ALNUM, 36),
        token("ghu_", ALNUM, 36),
        token("ghs_", ALNUM, 36),
        token("ghr_", ALNUM, 36),
        token("github_pat_", ALNUM, 82),
        token("glpat-", ALNUM, 20),
        token("xoxb-", "1234567890-ab", 40),
        token("xoxp-", "1234567890-ab", 40),
        token("xapp-1-", ALNUM, 40),
        token("sk_live_", ALNUM, 24),
        token("rk_live_", ALNUM, 24),
        token("sk-proj-", ALNUM, 60),
        token("sk-ant-api03-", ALNUM, 95),
        token("sk-", ALNUM, 48),
        token("AIza", ALNUM, 35),
        token("ya29.", ALNUM, 60),
        token("GOCSPX-", ALNUM, 28),
        token("npm_", ALNUM, 36),
        token("pypi-AgEIcHlwaS5vcmc", ALNUM, 80),
        token("hvs.", ALNUM, 90),
        token("dckr_pat_", ALNUM, 27),
        token("SG.", ALNUM, 22) + "." + &token("", ALNUM, 43),
        token("sha256~", ALNUM, 43),
        token("dop_v1_", HEX, 64),
        token("shpat_", HEX, 32),
        token("lin_api_", ALNUM, 40),
        token("dapi", HEX, 32),
        token("pul-", HEX, 40),
        token("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0", 58),
        token("ATATT3", ALNUM, 180) + "=0123ABCD",
        token("xyz8Q~", ALNUM, 34),
        token("123456789:AA", ALNUM, 33),
        token("AccountKey=", ALNUM, 86) + "==",
        token("hooks.slack.com/services/T0/B0/", ALNUM, 24),
        "abcdef.0123456789abcdef".to_owned(),
        token("SK", HEX, 32),
        token("whsec_", ALNUM, 32),
        token("tskey-auth-", ALNUM, 40),
        token("glsa_", ALNUM, 41),
    ] {
        for text in [
            token.clone(),
            format!("a {token} b"),
            format!("x=\"{token}\","),
            format!("\\n{token}\\n"),
            format!("k%3D{token}&"),
            format!("_{token}."),
        ] {
            let mut found = Vec::new();
            let masked = redact(&text, |kind| found.push(kind));
            assert!(found.contains(&"token") && !masked.contains(&token), "{text}: {masked}");
        }
    }
}

#[test]
fn passwords_in_urls_and_nothing_else_of_them() {
    for (text, expected) in [
        ("postgres://app:hunter2@db:5432/x", "postgres://app:[redacted:url_password]@db:5432/x"),
        ("redis://:hunter2@cache.example.com:6379/0", "redis://:[redacted:url_password]@cache.example.com:6379/0"),
        ("a+b.c-1://u:p@ss:w/rd@h.example.com", "a+b.c-1://u:[redacted:url_password]@h.example.com"),
        ("amqp://u:p%40ss%2F@h", "amqp://u:[redacted:url_password]@h"),
        ("https://u:p#x@h/", "https://u:[redacted:url_password]@h/"),
        ("u=postgres%3A%2F%2Fapp%3Ahunter2%40db%2Fx", "u=postgres%3A%2F%2Fapp%3A[redacted:url_password]%40db%2Fx"),
        ("root:hunter2@tcp(db:3306)/x", "root:[redacted:url_password]@tcp(db:3306)/x"),
        (
            "mongodb://u:p@h1:27017,h2:27017/x 'http://a:b@c'",
            "mongodb://u:[redacted:url_password]@h1:27017,h2:27017/x 'http://a:[redacted:url_password]@c'",
        ),
        ("http://u:it's@h/", "http://u:[redacted:url_password]@h/"),
        ("smtp://joe@corp.com:hunter2@mail.corp.com", "smtp://[redacted:email]:[redacted:url_password]@mail.corp.com"),
    ] {
        assert_eq!(redact(text, |_| ()), expected, "{text}");
        assert_eq!(redact(expected, |_| ()), expected, "{text}");
    }
    for text in [
        "http://host:8080/path@2",
        "docker://registry:5000/app@sha256:0123",
        "https://h/a:b@c",
        "http://[fe80::1]:80/x@y",
        "postgres://$(USER):$(PASSWORD)@db",
        "postgres://u:${PASSWORD}@db",
        "postgres://u:****@db",
        "postgres://u:xxxxx@db",
        "postgres://u@db",
        "std::sync://",
        "http://h:80,http://i:81",
    ] {
        assert_eq!(redact(text, |_| ()), text, "{text}");
    }
}

#[test]
fn credentials_of_headers() {
    for (text, expected) in [
        ("Authorization: Bearer abc123def456ghi", "Authorization: Bearer [redacted:bearer]"),
        ("authorization: bearer abcdefghijklmn", "authorization: bearer [redacted:bearer]"),
        ("\"Basic YWRtaW46aHVudGVyMg==\"", "\"Basic [redacted:bearer]\""),
        ("BEARER  0123456789abcdef", "BEARER  [redacted:bearer]"),
    ] {
        assert_eq!(redact(text, |_| ()), expected, "{text}");
        assert_eq!(redact(expected, |_| ()), expected, "{text}");
    }
    for text in [
        "Basic authentication is off",
        "a bearer token",
        "Bearer authorization required",
        "basic-auth",
        "Bearer: none",
        "forbearer abc123def456ghi",
    ] {
        assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn hashes_of_passwords() {
    for hash in [
        "$6$rounds=5000$saltsalt$0123456789abcdefABCDEF./0123456789abcdefABCDEF",
        "$1$saltsalt$0123456789abcdefABCDEF",
        "$2y$10$0123456789abcdefABCDEF0123456789abcdefABCDEF012345678",
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$0123456789abcdefABCDEF",
        "$apr1$saltsalt$0123456789abcdefABCDEF",
        "$y$j9T$saltsalt$0123456789abcdefABCDEF0123456789",
        "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVkc3RvcmVk:c2VydmVyc2VydmVy",
        "pbkdf2_sha256$260000$saltsalt$0123456789abcdefABCDEF=",
        "{SSHA}0123456789abcdefABCDEF==",
    ] {
        for text in [hash.to_owned(), format!("root:{hash}:19000:0:99999:7:::"), format!("\"{hash}\"")] {
            assert_eq!(kinds(&text), ["hash"], "{text}");
            assert!(!redact(&text, |_| ()).contains("0123456"), "{text}");
        }
    }
    for text in ["$1$2", "cost $6 and $5", "$2.50", "${A}$B", "{SHA}", "$6$short"] {
        assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn private_keys_in_every_packing() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEplanted\n-----END RSA PRIVATE KEY-----\n";
    let packed = "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcGxhbnRlZAotLS0tLUVORCBSU0EgUFJJVkFURSBLRVktLS0tLQo=";
    let (head, tail) = packed.split_at(48);
    for text in [
        pem.to_owned(),
        format!("\"key\": \"{}\",", pem.replace('\n', "\\n")),
        format!("k: {packed}\n"),
        format!("{}\n{}", head, tail),
        packed.split_at(72).0.to_owned(),
        format!("{}\\n{}", head, tail),
    ] {
        let masked = redact(&text, |kind| assert_eq!(kind, "private_key"));
        assert!(
            masked.contains("[redacted:private_key]")
                && !masked.contains("planted")
                && !masked.contains("TUlJ")
                && !masked.contains("NSUlF"),
            "{masked}"
        );
    }
    // Certificates are there to be seen.
    let public = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=";
    assert_eq!(redact(public, |_| ()), public);
}

#[test]
fn what_only_looks_like_one() {
    for text in [
        "AKIAIOSFODNN7EXAMPLE2LONG",
        "xAKIAABCDEFGH23456789",
        "nginx.17a8b9c0d1e2f3a4",
        "webapp.17a8b9c0d1e2f3a4",
        "sha256:0123456789abcdef0123456789abcdef",
        "docker.io/library/nginx@sha256:4c0fdaa8b6341bfdeca5f18f7837462c80cff90527ee35ef185571e1c327beac",
        "pod-template-hash=5d4f8c7b9d",
        "550e8400-e29b-41d4-a716-446655440000",
        "SKU12345",
        "sk-short",
        "hf_model",
        "npm_config_registry",
        "gsk_",
        "coredns-5d78c9869d-abcde",
        "v1.2.3-rc.0123456789abcdef",
        "deploy.example.com",
        "10.244.0.17",
        "2026-11-23T22:13:00.123456789Z",
        "kube-root-ca.crt",
        "f47ac10b.58cc4372a5670e02b2c3d479",
        // Columns of counters whose digits make a check digit.
        " 2  0 418724 0 17 2146804",
        "cpu 4187 0 9817 2146806 0",
        "408 12 0 3 2146804 7",
        "4187241 221 468041",
    ] {
        assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
    }
    for text in [
        "3782 822463 10005",
        "41 11 11 11 11 11 11 11",
        "4-111-11111111-1111",
        "4111.1111.1111.1111",
        "17 4111 1111 1111 1111 3",
        "4111 111111111111",
        "411111 1111111111",
        "41111111 1111 1111",
        "4111 1111 11111111",
        "3056 9309025904",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ] {
        assert_eq!(kinds(text), ["card"], "{text}");
    }
}

#[test]
fn terminal_codes_hide_nothing() {
    for text in [
        "4111 11\u{1b}[1;31m11 1111 1111",
        "4111 1111\r 1111 1111",
        "ali\u{1b}[0mce@exam\u{8}ple.com",
        "ghp_a1B2c3D4e5F6g7H8\u{1b}]8;;http://x\u{7}a1B2c3D4e5F6g7H8a1B2",
        "ali\u{9b}1mce@example.com",
        "4111\u{1b}(B 1111 1111 1111",
    ] {
        assert_eq!(kinds(text).len(), 1, "{text:?}");
    }
}

/// Texts that a careless detector would walk once for each byte.
#[test]
fn hostile_texts_cost_no_more_than_others() {
    for unit in [
        "eyJ.",
        "eyJhbGciOiJIUzI1NiJ9.",
        "@",
        "a@",
        "://",
        "a://b:c/",
        "a://b:c@",
        "%3A%2F%2Fa%3A",
        "@tcp(",
        "LS0tLS1CRUdJTi",
        "-----BEGIN ",
        "$6$",
        "{SHA}",
        "4 ",
        "1 4",
        "4111 ",
        "AKIA",
        "a.",
        "Bearer ",
        "bearer a",
        "basic-",
        "\u{1b}]",
        "\u{1b}[",
        "\u{200b}1",
        "\u{ff11}",
        "xoxb-",
        "abcdef.",
        "Q~",
        ":AA",
        "\"@\"",
        "-----BEGIN A-----",
    ] {
        let text = unit.repeat((1 << 18) / unit.len());
        let start = std::time::Instant::now();
        let masked = redact(&text, |_| ());
        assert!(start.elapsed().as_secs() < 4, "{unit}: {:?}", start.elapsed());
        assert!(find(&masked).is_empty(), "{unit}");
    }
}
