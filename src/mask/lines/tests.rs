//! Shapes of texts in which a name says that a value is secret, spelling tricks, and sentences that only look alike.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::redact;
use crate::mask::kube;

const S: &str = "[redacted:secret]";

fn masked(text: &str) -> String {
    redact(text, &mut |_| ())
}

/// `§` in the expected text is the label.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let once = masked(text);
        assert_eq!(once, expected.replace('§', S), "{text}");
        assert_eq!(masked(&once), once, "twice: {text}");
    }
}

fn stays(texts: &[&str]) {
    for text in texts {
        assert_eq!(kube::text(text, &mut |kind| panic!("{kind} in {text}")), *text);
    }
}

#[test]
fn names_and_values() {
    check(&[
        ("DB_PASSWORD=hunter2", "DB_PASSWORD=§"),
        ("A=1\r\nPGPASSWORD=hunter2\r\nB=2", "A=1\r\nPGPASSWORD=§\r\nB=2"),
        ("export API_KEY='a b'", "export API_KEY='§'"),
        ("DB_PASSWORD=correct horse", "DB_PASSWORD=§"),
        ("DB_PASSWORD=a,b;c&d USER=x", "DB_PASSWORD=§ USER=x"),
        ("password: hunter2", "password: §"),
        ("  password : hunter two # x", "  password : §"),
        ("- password: \"hun\\\"ter2\" # x", "- password: \"§\" # x"),
        ("password = hunter2", "password = §"),
        ("{\"user\": \"a\", \"password\": \"hun\\\"ter2\", \"n", "{\"user\": \"a\", \"password\": \"§\", \"n"),
        ("x {\\\"token\\\":\\\"a\\\\\\\"b\\\",\\\"n\\\":1", "x {\\\"token\\\":\\\"§\\\",\\\"n\\\":1"),
        ("{'password': 'hunter2', 'n': 1}", "{'password': '§', 'n': 1}"),
        ("level=info token=abc123 user=\"d e\" secret=\"f g\"", "level=info token=§ user=\"d e\" secret=\"§\""),
        ("a b password=hun,ter2, user=x", "a b password=§, user=x"),
        ("GET /x?a=1&token=abc&b=2 HTTP", "GET /x?a=1&token=§&b=2 HTTP"),
        ("map[password:aHVudGVyMg== user:YQ==]", "map[password:§ user:YQ==]"),
        ("{Password:hun}ter2 User:x}", "{Password:§ User:x}"),
        ("'password' => 'x y',", "'password' => '§',"),
        ("config['password'] = \"x\"", "config['password'] = \"§\""),
        ("password := \"x\"", "password := \"§\""),
        ("-Dspring.datasource.password=x -Da=b", "-Dspring.datasource.password=§ -Da=b"),
        ("Server=x;User Id=sa;Password=hunter2;Trust=1", "Server=x;User Id=sa;Password=§;Trust=1"),
        ("sh -c \"export PASSWORD=hunter2; ls\"", "sh -c \"export PASSWORD=§; ls\""),
        ("echo \"PASSWORD=hunter2\"", "echo \"PASSWORD=§\""),
        ("login failed, password: hunter2, again", "login failed, password: §, again"),
        ("API key: abc-1", "API key: §"),
        ("passwords: [a, b]", "passwords: §"),
        ("passwords:\n- a\n- b\nx: y", "passwords:\n§\nx: y"),
        ("password: |\n  a\n\n  b\nx: y", "password: §\nx: y"),
        ("password: >-\n  a\nx: y", "password: §\nx: y"),
        ("password:\n  hunter2\nx: y", "password:\n  §\nx: y"),
        ("KEY_PASSWORD=\"a\nb\"\nx=1", "KEY_PASSWORD=\"§\"\nx=1"),
        ("# password: hunter2", "# password: §"),
        ("//registry.npmjs.org/:_authToken=abc", "//registry.npmjs.org/:_authToken=§"),
        ("  \"auth\": \"YWRtaW46aHVudGVyMg==\",\n", "  \"auth\": \"§\",\n"),
        ("<password>hunter2</password><a>b</a>", "<password>§</password><a>b</a>"),
        ("name=DB_PASSWORD value=hunter2", "name=DB_PASSWORD value=§"),
        ("- {name: DB_PASSWORD, value: hunter2}", "- {name: DB_PASSWORD, value: §}"),
        ("- {value: hunter2, name: DB_PASSWORD}", "- {value: §, name: DB_PASSWORD}"),
        ("<property name=\"password\" value=\"hunter2\"/>", "<property name=\"password\" value=\"§\"/>"),
        ("\"name\":\"DB_PASSWORD\",\"value\":\"hunter2\"", "\"name\":\"DB_PASSWORD\",\"value\":\"§\""),
        ("X-Vault-Token: s.abc", "X-Vault-Token: §"),
        ("-H 'Authorization: ApiKey abc' -v", "-H 'Authorization: §' -v"),
        ("Cookie: a=b; c=d", "Cookie: §"),
        ("pass\u{200b}word=hun\u{ad}ter2 x", "pass\u{200b}word=§"),
        ("a pass\u{1b}[1mword=hun\u{1b}[0mter2\u{1b}[0m x", "a pass\u{1b}[1mword=§ x"),
        ("ｐassword：hunter2", "ｐassword：§"),
        ("db:5432:app:bob:hun\\:ter2", "db:5432:app:bob:§"),
        ("*:*:*:*:hunter2", "*:*:*:*:§"),
        ("machine x login y password z", "machine x login y password §"),
        ("machine x\n  login y\n  password z\n", "machine x\n  login y\n  password §\n"),
        ("ALTER USER a WITH PASSWORD 'hunter2';", "ALTER USER a WITH PASSWORD '§';"),
        ("x --password hunter2 --token=abc -v", "x --password § --token=§ -v"),
        ("[\"--password\", \"hunter2\", -v] [", "[\"--password\", \"§\", -v] ["),
        ("curl -u admin:hunter2 https://x", "curl -u admin:§ https://x"),
        ("vault -token abc", "vault -token §"),
        ("password=[redacted:secret]x", "password=§"),
        ("password: [redacted:nothing]", "password: §"),
        ("password=${P:-hunter2}", "password=§"),
        ("password=$ecret1", "password=§"),
        ("a x='1' DB_PASSWORD='it''s hunter2' b", "a x='1' DB_PASSWORD='§' b"),
        ("DB_PASSWORD=\"a\"'hunter2'", "DB_PASSWORD=§"),
        ("let password: &str = \"hunter2\";", "let password: §;"),
        ("X-Api-Key: hunter2 =A", "X-Api-Key: §"),
        ("a X-Api-Key: hunter2 =A", "a X-Api-Key: §"),
        ("password = [\n  \"a\",\n  \"b\",\n]\nx = 1", "password = §\nx = 1"),
        ("?u=https%3A%2F%2Fh%3Fpassword%3Dhunter2%26x%3D1", "?u=https%3A%2F%2Fh%3Fpassword%3D§%26x%3D1"),
        ("requirepass hunter2", "requirepass §"),
        ("password = \"\"\"hunter2\"\"\"", "password = §"),
        ("docker run -e DB_PASSWORD=hunter2 -e X=y img", "docker run -e DB_PASSWORD=§ -e X=y img"),
        ("create secret generic x --from-literal=password=hunter2 -v", "create secret generic x --from-literal=password=§ -v"),
        ("A=1\0DB_PASSWORD=hunter2\0B=2\0", "A=1\0DB_PASSWORD=§\0B=2\0"),
    ]);
}

#[test]
fn documents_by_indentation() {
    check(&[
        (
            "apiVersion: v1\ndata:\n  a: YQ==\n  b: |\n    c\n    d\nkind: Secret\ntype: Opaque\n",
            "apiVersion: v1\ndata:\n  a: §\n  b: §\nkind: Secret\ntype: Opaque\n",
        ),
        (
            "kind: \"secret\" # x\nstringData:\n  'a b': \"c: d\"\n  e:\n    f: g\n",
            "kind: \"secret\" # x\nstringData:\n  'a b': \"§\"\n  e:\n    §\n",
        ),
        ("kind: Secret\ndata: {a: b, c: d}\nx: y", "kind: Secret\ndata: §\nx: y"),
        ("kind: Secret\ndata: {a: b,\n  c: d}\nx: y", "kind: Secret\ndata: §\nx: y"),
        ("kind: Secret\ndata:\n  a: ''\n  b: null\n  c: true\n  d: $X\n", "kind: Secret\ndata:\n  a: ''\n  b: null\n  c: §\n  d: §\n"),
        (
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n    a: b\n  kind: Secret\n  metadata:\n    name: x\n- apiVersion: v1\n  data:\n    a: b\n  kind: ConfigMap\nkind: List\n",
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n    a: §\n  kind: Secret\n  metadata:\n    name: x\n- apiVersion: v1\n  data:\n    a: b\n  kind: ConfigMap\nkind: List\n",
        ),
        ("items:\n- data:\n    a: b\n  metadata: {}\nkind: SecretList\n", "items:\n- data:\n    a: §\n  metadata: {}\nkind: SecretList\n"),
        (
            "kind: ConfigMap\ndata:\n  a: b\n---\nkind: Secret\ndata:\n  a: b\n---\nkind: Pod\ndata:\n  a: b\n",
            "kind: ConfigMap\ndata:\n  a: b\n---\nkind: Secret\ndata:\n  a: §\n---\nkind: Pod\ndata:\n  a: b\n",
        ),
        ("apiVersion: v1\ndata:\n  a: b\n", "apiVersion: v1\ndata:\n  a: §\n"),
        ("data:\n  a: b\ntype: kubernetes.io/tls\n", "data:\n  a: §\ntype: kubernetes.io/tls\n"),
        (
            "cm:\n  manifest: |\n    kind: Secret\n    stringData:\n      a: b\n  x: y\n",
            "cm:\n  manifest: |\n    kind: Secret\n    stringData:\n      a: §\n  x: y\n",
        ),
        (
            "{\n  \"kind\": \"Secret\",\n  \"data\": {\n    \"a\": \"b\",\n    \"c\": \"d\"\n  },\n  \"x\": \"y\",",
            "{\n  \"kind\": \"Secret\",\n  \"data\": {\n    \"a\": \"§\",\n    \"c\": \"§\"\n  },\n  \"x\": \"y\",",
        ),
        ("I1 body: {\"kind\":\"Secret\",\"data\":{\"a\":\"b\"},\"x", "I1 body: {\"kind\":\"Secret\",\"data\":§,\"x"),
        ("{\"apiVersion\":\"v1\",\"data\":{\"a\":\"b", "{\"apiVersion\":\"v1\",\"data\":§"),
        ("x: \"{\\\"kind\\\":\\\"Secret\\\",\\\"data\\\":{\\\"a\\\":\\\"b\\\"}}", "x: \"{\\\"kind\\\":\\\"Secret\\\",\\\"data\\\":§}"),
        ("- {kind: Secret, data: {a: b}}", "- {kind: Secret, data: §}"),
        ("kind: Secret\ndata:\n# c\n\n  a: b\n # d\n  c: d\n", "kind: Secret\ndata:\n# c\n\n  a: §\n # d\n  c: §\n"),
        (
            "--- a\n+++ b\n@@ -1 +1 @@\n kind: Secret\n data:\n-  a: b\n+  a: c\n x: y",
            "--- a\n+++ b\n@@ -1 +1 @@\n kind: Secret\n data:\n-  a: §\n+  a: §\n x: y",
        ),
        (
            "2026-01-02T03:04:05.1Z kind: Secret\n2026-01-02T03:04:05.2Z data:\n2026-01-02T03:04:05.2Z   a: b\n",
            "2026-01-02T03:04:05.1Z kind: Secret\n2026-01-02T03:04:05.2Z data:\n2026-01-02T03:04:05.2Z   a: §\n",
        ),
        ("[pod/a/b] kind: Secret\n[pod/a/b] data:\n[pod/a/b]   a: b", "[pod/a/b] kind: Secret\n[pod/a/b] data:\n[pod/a/b]   a: §"),
        ("\u{feff}kind: Secret\r\ndata:\r\n  ? a\r\n  : b\r\n", "\u{feff}kind: Secret\r\ndata:\r\n  §\r\n  §\r\n"),
        ("kind: Sec\u{200b}ret\ndata:\n  a: b", "kind: Sec\u{200b}ret\ndata:\n  a: §"),
        (
            "\u{1b}[33mkind\u{1b}[0m: \u{1b}[32mSecret\u{1b}[0m\ndata:\n  a: \u{1b}[32mb\u{1b}[0m\n",
            "\u{1b}[33mkind\u{1b}[0m: \u{1b}[32mSecret\u{1b}[0m\ndata:\n  a: \u{1b}[32m§\n",
        ),
        (
            "env:\n- name: DB_PASSWORD\n  value: hunter2\n- value: hunter2\n  name: API_TOKEN\n- name: X\n  value: y\n- name: B_TOKEN\n  value: $(T)\n",
            "env:\n- name: DB_PASSWORD\n  value: §\n- value: §\n  name: API_TOKEN\n- name: X\n  value: y\n- name: B_TOKEN\n  value: $(T)\n",
        ),
        ("env:\n- name: DB_PASSWORD\n  value: |\n    a\n    b\n- name: X\n", "env:\n- name: DB_PASSWORD\n  value: §\n- name: X\n"),
        ("args:\n- --token\n- hunter2\n- --password=x\n- -v\n", "args:\n- --token\n- §\n- --password=§\n- -v\n"),
        (
            "users:\n- name: a\n  user:\n    client-certificate-data: LS0tLS1CRUdJTiBDRVJU\n    client-key-data: abc\n    token: x\n",
            "users:\n- name: a\n  user:\n    client-certificate-data: LS0tLS1CRUdJTiBDRVJU\n    client-key-data: §\n    token: §\n",
        ),
    ]);
}

#[test]
fn json_within_a_text() {
    check(&[
        ("{\"password\": \"x\", \"n\": [1, 2]}", "{\"password\":\"§\",\"n\":[1,2]}"),
        ("{\n  \"password\": \"x\"\n}\n", "{\n  \"password\": \"§\"\n}\n"),
        ("a: |\n  {\n    \"password\": \"x\"\n  }\nb: c\n", "a: |\n  {\n    \"password\": \"§\"\n  }\nb: c\n"),
        ("{\"a\": 1.50, \"b\": \"c\"}", "{\"a\": 1.50, \"b\": \"c\"}"),
        ("{\"password\": \"x\", \"password\": null}", "{\"password\":null}"),
        (
            "{\"kind\":\"Secret\",\"data\":{\"a\":\"b\"}}\n{\"kind\":\"ConfigMap\",\"data\":{\"a\":\"b\"}}",
            "{\"kind\":\"Secret\",\"data\":{\"a\":\"§\"}}\n{\"kind\":\"ConfigMap\",\"data\":{\"a\":\"b\"}}",
        ),
        ("12:00 info {\"msg\":\"password=x\"} end", "12:00 info {\"msg\":\"password=§\"} end"),
        ("{\"\\u0070assword\": \"x\"}", "{\"password\":\"§\"}"),
        ("got eyJraW5kIjoiU2VjcmV0IiwiZGF0YSI6eyJhIjoiYiJ9fQ== back", "got § back"),
        ("DATA eyJraW5kIjoiU2VjcmV0IiwiZGF0YSI6eyJhIjoiYiIsImMiOiJkIn0sImUi\nOiJmIn0K\n", "DATA §\n"),
    ]);
}

#[test]
fn sentences_and_references_stay() {
    stays(&[
        "error: secret \"db-secret\" not found",
        "MountVolume.SetUp failed for volume \"x\" : references non-existent secret key: tls.key",
        "couldn't find key password in Secret default/db",
        "invalid token: signature expired at noon",
        "failed to get token: rpc error: code = Unknown",
        "secret: \nnext",
        "password:",
        "password: null",
        "password=",
        "password: ${DB_PASSWORD}",
        "args: --token $(TOKEN)",
        "DB_PASSWORD_FILE=/run/secrets/db",
        "secretName: db-secret",
        "  - secretRef:\n      name: db-secret",
        "imagePullSecrets: [{name: regcred}]",
        "imagePullSecrets:\n- name: regcred",
        "secret: {secretName: x}",
        "tokenExpirationSeconds: 3600",
        "automountServiceAccountToken: false",
        "  token_count=17 max_tokens=4096",
        "--- PASS: TestFoo (0.00s)",
        "pass: 12 fail: 0",
        "image: external-secrets:v0.9.1",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
        "system:serviceaccount:external-secrets:reader",
        "password:  8 bytes\ntoken:     1024 bytes",
        "DB_PASSWORD:  <set to the key 'password' in secret 'db'>  Optional: false",
        "Image pull secrets:  <none>\nMountable secrets:   <none>",
        "      --token string   Bearer token for authentication to the API server",
        "Use the --password flag to set it",
        "Basic authentication is required",
        "2026-01-02T03:04:05Z 10.0.0.1:8080 GET /api/v1/secrets/db 404",
        "key: value",
        "author: bob",
        "00:11:22:33:44",
        "kind: ConfigMap\napiVersion: v1\ndata:\n  a: b\n",
        "kubectl get secrets -n shop -o name",
        "secret/db created",
        "NAME   TYPE     DATA   AGE\ndb     Opaque   2      3d",
        "spec:\n  volumes:\n  - name: x\n    secret:\n      secretName: y\n      items:\n      - key: password\n        path: p\n",
        "checksum/secret: 3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "func token(a string) { return a }",
        "if token == nil { return }",
        "{\"level\":\"info\",\"ts\":1.7e9,\"msg\":\"started\"}",
        "[2026-01-02] [info] {worker 3} ok",
    ]);
}

#[test]
fn found_is_told_once_for_each() {
    let mut found = Vec::new();
    redact("a=1 password=x\n{\"token\":\"y\",\"mail\":\"a@b.com\"}", &mut |kind| found.push(kind));
    found.sort_unstable();
    assert_eq!(found, ["email", "secret", "secret"]);
}

/// Texts that a careless reader would walk once for each byte.
#[test]
fn hostile_texts_cost_no_more_than_others() {
    for unit in [
        "token=",
        "token=[",
        "token={",
        "token={{",
        "token=\"",
        "token='",
        "token=\\\"",
        "token: ",
        "token:",
        "token:\n",
        "a: |\n ",
        "password: |\n",
        "cookie: a ",
        "cookie:",
        "name=",
        "name='",
        "name=a value=",
        "value=",
        "{",
        "[",
        "[[",
        "{\"a\":",
        "[1,\n",
        "{\n",
        "{\"a\":1,\n",
        "kind: Secret\n",
        "kind: Secret\ndata: {\n",
        "data:\n",
        "{kind: Secret, data: {\n",
        " - ",
        "- - ",
        "--token ",
        "--token",
        "- --token\n",
        "</token>",
        "</pin",
        "password ",
        "password '",
        "login password ",
        "a:b:c:d:e\n",
        "QUJD",
        "YXNkZmFzZGZhc2Rm ",
        "=",
        ":",
        ",token=a",
        "token=,",
        "token=a,a",
        "api key: ",
        "token=[redacted:",
        "token=arn:aws:secretsmanager:",
        "\u{1b}[",
        "\u{200b}token=",
        "\"token\"",
        "authorization: token a ",
        "export ",
        "${",
        "token='a''",
        "token%3D",
        "a%3D",
        "token: a b = ",
        "token = [\n",
        "# a\n",
        "-u a:",
        "curl -u a:b ",
    ] {
        let text = unit.repeat((1 << 18) / unit.len());
        let start = Instant::now();
        let once = masked(&text);
        let spent = start.elapsed();
        assert!(spent < Duration::from_secs(4), "{unit:?}: {spent:?}");
        assert_eq!(masked(&once), once, "{unit:?}");
    }
    // Deeper and deeper.
    for unit in ["a:\n", "password:\n", "- a:\n", "data:\n", "value: |\n", "kind: Secret\n"] {
        let text: String = (0..700).map(|depth| format!("{}{unit}", " ".repeat(depth))).collect();
        let start = Instant::now();
        masked(&text);
        assert!(start.elapsed() < Duration::from_secs(4), "{unit:?}: {:?}", start.elapsed());
    }
}

proptest! {
    #[test]
    fn masking_twice_changes_nothing(text in "(.|\n|  |password|token|kind: Secret\n|data:|name|value|[:={}\\[\\]\"'|>,&-]|\u{1b}\\[1m|\u{200b}|\\\\|\\[redacted:secret\\]|--|a@b\\.de){0,60}") {
        let once = masked(&text);
        prop_assert_eq!(masked(&once), once.clone());
        let all = kube::text(&text, &mut |_| ());
        prop_assert_eq!(kube::text(&all, &mut |_| ()), all.clone());
    }

    #[test]
    fn a_planted_value_never_survives(
        before in "[ -~\n]{0,20}[ \n]",
        after in "([ ,;\n][ -~\n]{0,20})?",
        shape in 0..22_usize,
        secret in "[A-Za-z0-9]{2}zq[A-Za-z0-9!%^*+.~]{3,12}7",
    ) {
        let shapes = [
            format!("DB_PASSWORD={secret}"), format!("password: {secret}"), format!("\"password\": \"{secret}\""), format!("\\\"token\\\":\\\"{secret}\\\""),
            format!("--token {secret}"), format!("--token={secret}"), format!("{{\"a\":1,\"apiKey\":\"{secret}\"}}"), format!("export SECRET='{secret}'"),
            format!("client_secret = {secret}"), format!("?access_token={secret}&x=1"), format!("{{'password': '{secret}'}}"), format!("name: API_TOKEN, value: {secret}"),
            format!("\nkind: Secret\ndata:\n  a: {secret}\n"), format!("\nstringData:\n  a: {secret}\nkind: Secret\n"), format!("{{\"kind\":\"Secret\",\"data\":{{\"a\":\"{secret}\"}}}}"),
            format!("\nenv:\n- name: DB_PASSWORD\n  value: {secret}\n"), format!("\npassword: |\n  {secret}\n  more\n"), format!("pass\u{1b}[0mword={secret}"), format!("<password>{secret}</password>"),
            format!("postgres://u:{secret}@db/x"), format!("X-Api-Key: {secret}"), format!("\nitems:\n- stringData: {{a: {secret}}}\n  kind: Secret\n"),
        ];
        let text = format!("{before} {}{after}", shapes[shape]);
        let masked = kube::text(&text, &mut |_| ());
        prop_assert!(!masked.contains(&secret), "{} -> {}", text, masked);
    }
}
