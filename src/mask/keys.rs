//! Members that hold a secret: by the name of an environment variable, a flag, a header or a member of a Kubernetes object.
//!
//! `names` speaks about columns of tables. Configuration has habits of its own: words run together (`PGPASSWORD`), and names that sound like a
//! secret and say where it lies (`secretName`, `TOKEN_FILE`). What is only a pointer stays, or nobody could find a fault; anything else goes.

use std::collections::HashMap;

use crate::mask::names;
use crate::mask::shadow::Shadow;

/// Longer names are texts.
pub(super) const NAME_MAX_BYTES: usize = 128;

/// Names of a text that are remembered.
const JUDGED_MAX: usize = 1024;
/// A longer value says more than that there is none.
const EXEMPT_MAX_BYTES: usize = 512;

/// One of these stands in every name that holds a secret: asked first, since nearly no name does.
#[rustfmt::skip]
const STEMS: [&str; 19] = [
    "pass", "pw", "secret", "token", "key", "cred", "otp", "pin", "cvv", "cvc", "answer", "session", "connection", "dsn", "auth", "jwt",
    "cookie", "psk", "dockerc",
];

/// Words that follow each other, besides those of `names`.
#[rustfmt::skip]
const WORDS: [&[&str]; 27] = [
    &["pass"], &["passcode"], &["pw"], &["psk"], &["jwt"], &["cred"], &["creds"], &["htpasswd"], &["dockerconfigjson"], &["dockercfg"],
    &["api", "keys"], &["access", "keys"], &["private", "keys"], &["signing", "key"], &["signature", "key"], &["encryption", "key"],
    &["encryption", "keys"], &["master", "key"], &["ssh", "key"], &["client", "key"], &["account", "key"], &["storage", "key"],
    &["shared", "key"], &["auth", "key"], &["license", "key"], &["deploy", "key"], &["key", "data"],
];

/// How words end that were run together.
#[rustfmt::skip]
const ENDS: [&str; 15] = [
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey", "signingkey", "encryptionkey",
    "masterkey", "credential", "requirepass", "pwd",
];

/// Last words of a name that says where a secret lies, how it is made or what it is like.
#[rustfmt::skip]
const POINTS: [&str; 105] = [
    "name", "ref", "refs", "reference", "path", "file", "filename", "dir", "directory", "folder", "namespace", "policy", "class", "type",
    "kind", "mount", "mountpath", "second", "minute", "hour", "day", "count", "id", "ids", "url", "uri", "endpoint", "host", "hostname",
    "port", "issuer", "audience", "provider", "store", "backend", "engine", "manager", "controller", "operator", "driver", "service",
    "server", "resource", "version", "length", "size", "min", "max", "limit", "age", "ttl", "expiry", "expiration", "lifetime", "timeout",
    "duration", "interval", "period", "enabled", "disabled", "required", "mode", "algorithm", "alg", "format", "encoding", "method",
    "prefix", "suffix", "header", "field", "label", "annotation", "selector", "scope", "env", "var", "variable", "template", "generator",
    "rotation", "hint", "statu", "status", "state", "reason", "message", "error", "description", "title", "placeholder", "review", "user",
    "username", "config", "configuration", "setting", "group", "role", "region", "domain", "quota", "authentication", "create", "source",
];

/// Words that make a digest of what they stand beside.
const DIGESTS: [&str; 6] = ["checksum", "digest", "fingerprint", "thumbprint", "sha", "md"];

/// Of counted things there are this many words before `token`.
#[rustfmt::skip]
const COUNTERS: [&str; 19] = [
    "max", "min", "total", "num", "number", "prompt", "completion", "input", "output", "cached", "reasoning", "used", "remaining", "page",
    "next", "continue", "continuation", "automount", "count",
];

/// Names of a Kubernetes object that point at a Secret, without saying so at their end.
#[rustfmt::skip]
const REFERENCES: [&str; 12] = [
    "imagepullsecret", "imagepullsecrets", "pullsecret", "pullsecrets", "mountablesecrets", "automountserviceaccounttoken",
    "existingsecret", "authsecret", "authtlssecret", "proxysslsecret", "tlssecret", "secretkeyref",
];

/// Whether what a member of this name holds is a secret.
pub(super) fn holds_secret(name: &str) -> bool {
    // A name that was masked says nothing any more.
    if name.len() < 2 || name.len() > NAME_MAX_BYTES || name.contains("[redacted:") {
        return false;
    }
    if let Some(shadow) = Shadow::of(name) {
        return says_secret(&shadow.text);
    }
    says_secret(name)
}

/// Names of one text, each judged once: a log has few of them and repeats them on every line.
#[derive(Default)]
pub(super) struct Judged<'t>(HashMap<&'t str, bool>);

impl<'t> Judged<'t> {
    pub(super) fn holds_secret(&mut self, name: &'t str) -> bool {
        match self.0.get(name) {
            Some(says) => *says,
            None => {
                let says = holds_secret(name);
                if self.0.len() < JUDGED_MAX {
                    self.0.insert(name, says);
                }
                says
            }
        }
    }
}

fn says_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if !STEMS.iter().any(|stem| lower.contains(stem)) {
        return false;
    }
    // What stands before a slash is whose name it is: `vault.example.com/token`.
    let own = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    let words = names::words(own);
    let about = words.last().map(String::as_str).unwrap_or_default();
    let before = words.len().checked_sub(2).and_then(|index| words.get(index)).map(String::as_str).unwrap_or_default();
    if lower.contains("secret") || lower.contains("automount") {
        let joined = joined(own);
        if REFERENCES.contains(&joined.as_str()) || joined.starts_with("agentinject") || joined.starts_with("existingsecret") {
            return false;
        }
    }
    let is_word = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let is_beside = DIGESTS.iter().chain(&["count"]).any(|word| lower.strip_prefix(word).is_some_and(|rest| rest.starts_with('/')));
    let is_password = || words.iter().any(|word| word.ends_with("password") || word.ends_with("passwd"));
    if is_word(&DIGESTS) || is_beside || (about == "hash" && !is_password()) {
        return false;
    }
    let counted = (about == "token" || about == "secret") && is_word(&COUNTERS);
    if counted || (POINTS.contains(&about) && (before, about) != ("session", "id")) {
        return false;
    }
    names::is_secret(&words)
        || words.iter().any(|word| ENDS.iter().any(|end| word.ends_with(end)))
        || WORDS.iter().any(|wanted| words.windows(wanted.len()).any(|window| window.iter().eq(wanted.iter())))
        || lower == "_auth"
}

fn joined(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// `Image pull secrets`, as a description has it.
pub(super) fn is_title_of_reference(phrase: &str) -> bool {
    phrase.len() <= NAME_MAX_BYTES && REFERENCES.contains(&joined(phrase).as_str())
}

/// A header of HTTP that carries a credential.
pub(super) fn is_header(name: &str) -> bool {
    ["authorization", "proxy-authorization", "cookie", "set-cookie"].iter().any(|header| name.eq_ignore_ascii_case(header))
}

/// Whether a value is none that could be a secret: nothing, a switch, a reference to where it lies, or masked already.
pub(super) fn is_exempt(name: &str, value: &str) -> bool {
    let value = value.trim().trim_end_matches(',');
    if value.len() > EXEMPT_MAX_BYTES {
        return false;
    }
    is_label(value)
        || is_switch(value)
        || is_reference(value)
        || is_place(value)
        || is_key_of(name, value)
        || is_counted(name, value)
        || is_lookup(name, value)
}

/// Exactly one label of ours.
pub(super) fn is_label(value: &str) -> bool {
    #[rustfmt::skip]
    const ABOUT: [&str; 19] = [
        "secret", "hash", "token", "bearer", "url_password", "private_key", "jwt", "email", "card", "ssn", "content", "too_deep", "column",
        "phone", "bank", "birth", "address", "salary", "unknown",
    ];
    value.strip_prefix("[redacted:").and_then(|rest| rest.strip_suffix(']')).is_some_and(|about| ABOUT.contains(&about))
}

fn is_switch(value: &str) -> bool {
    #[rustfmt::skip]
    const SWITCHES: [&str; 22] = [
        "", "null", "nil", "none", "~", "true", "false", "yes", "no", "on", "off", "undefined", "\"\"", "required", "optional", "enabled", "disabled",
        "always", "never", "auto", "...", "…",
    ];
    const NOTHING: [&str; 9] = ["<none>", "<nil>", "<unset>", "<no value>", "<empty>", "<unknown>", "<redacted>", "<masked>", "<hidden>"];
    let is_starred = value.len() >= 3 && (value.bytes().all(|b| b == b'*') || value.bytes().all(|b| b == b'x'));
    // `kubectl describe secret` tells sizes.
    let is_size = value.strip_suffix(" bytes").is_some_and(|size| size.bytes().all(|b| b.is_ascii_digit()));
    is_starred || is_size || SWITCHES.iter().chain(&NOTHING).any(|switch| value.eq_ignore_ascii_case(switch))
}

fn is_reference(value: &str) -> bool {
    let within = |open: &str, close: char| value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let is_variable = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    if within("${", '}').is_some_and(is_variable) || within("$(", ')').is_some_and(is_variable) {
        return true;
    }
    if let Some(name) = value.strip_prefix('$') {
        let is_constant =
            is_variable(name) && !name.bytes().any(|b| b.is_ascii_lowercase()) && name.bytes().any(|b| b.is_ascii_uppercase());
        // `$ecret1` is a password, `$DB_PASSWORD` and `$token` are none.
        return is_constant || (is_variable(name) && holds_secret(name));
    }
    let is_template = within("{{", '}').is_some_and(|rest| rest.ends_with('}') && !rest.contains('"'));
    let is_described = value.starts_with("<set to the key '") && value.contains("' in secret '");
    is_template || is_described || is_elsewhere(value)
}

/// Where a secret manager, a file or the environment has it.
fn is_elsewhere(value: &str) -> bool {
    const MANAGERS: [&str; 6] = ["arn:aws:secretsmanager:", "op://", "ref+", "sm://", "gcp-sm://", "aws-sm://"];
    let is_path = |path: &str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-{}#".contains(&b));
    let is_variable = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    MANAGERS.iter().any(|prefix| value.starts_with(prefix))
        || value.strip_prefix("env:").is_some_and(is_variable)
        || value.strip_prefix("file:").or_else(|| value.strip_prefix("vault:")).is_some_and(|path| path.contains('/') && is_path(path))
}

/// A path below one of the roots that secrets are mounted at.
fn is_place(value: &str) -> bool {
    const ROOTS: [&str; 10] = ["/etc/", "/var/", "/run/", "/home/", "/root/", "/usr/", "/opt/", "/tmp/", "/mnt/", "/secrets/"];
    ROOTS.iter().any(|root| value.starts_with(root))
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_'))
}

/// `secretKey: db-password` names the key of a Secret.
fn is_key_of(name: &str, value: &str) -> bool {
    let is_key = name.len() >= 3 && name.get(name.len() - 3..).is_some_and(|end| end.eq_ignore_ascii_case("key"));
    is_key && value.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_' | b'.')) && value.len() <= 40 && holds_secret(value)
}

/// `passwd: files systemd`: where a system looks users up.
fn is_lookup(name: &str, value: &str) -> bool {
    name == "passwd" && ["files", "compat", "sss"].iter().any(|word| value.starts_with(word))
}

/// `secrets: "10"` is a quota, `tokens=512` a count.
fn is_counted(name: &str, value: &str) -> bool {
    let is_plural = ["tokens", "secrets", "credentials"].iter().any(|plural| {
        name.len().checked_sub(plural.len()).and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(plural))
    });
    is_plural && !value.is_empty() && value.len() <= 7 && value.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{holds_secret, is_exempt, is_label};

    #[test]
    #[rustfmt::skip]
    fn names_that_hold_a_secret_and_names_that_point_at_one() {
        for name in [
            "password", "DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "clientSecret", "client-key-data", "id-token", "refreshToken",
            "identitytoken", "X-Api-Key", "aws_secret_access_key", "SECRET_KEY_BASE", "DB_PASS", "requirepass", "_authToken", "_auth",
            "session_id", "password_hash", "DATABASE_DSN", "db.password", "spring.datasource.password", "example.com/token",
            "ENCRYPTION_KEY", "pass\u{200b}word", "apikey", "dbpassword", "credentials", ".dockerconfigjson", "serviceAccountToken",
            "rootPassword2",
        ] {
            assert!(holds_secret(name), "{name}");
        }
        for name in [
            "secretName", "secretKeyRef", "secretRef", "tokenExpirationSeconds", "imagePullSecrets", "imagePullSecret", "PASSWORD_FILE",
            "TOKEN_PATH", "secretProviderClass", "automountServiceAccountToken", "secretNamespace", "PASSWORD_POLICY", "token_type",
            "secretStoreRef", "existingSecret", "checksum/secret", "secret-checksum", "secrets.infisical.com/managed",
            "nginx.ingress.kubernetes.io/auth-tls-secret", "keys", "key", "name", "max_tokens", "prompt_tokens", "nextPageToken",
            "TOKEN_URL", "compass", "bypass", "passed", "spinning", "monkey", "pod-template-hash", "secretHash",
            "cert-manager.io/private-key-algorithm", "AWS_ACCESS_KEY_ID", "author", "authority", "tokenizer", "existingSecretPasswordKey",
            "count/secrets", "vault.hashicorp.com/agent-inject-secret-config", "kubernetes.io/service-account.uid", "secretsStore", "p", "",
        ] {
            assert!(!holds_secret(name), "{name}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn values_that_are_none() {
        for value in [
            "", " ", "null", "True", "$DB_PASSWORD", "${db_password}", "$(DB_PASSWORD)", "$token", "{{ .Values.password }}",
            "[redacted:secret]", "<none>", "<set to the key 'password' in secret 'db'>", "/run/secrets/db", "****", "1024 bytes",
            "arn:aws:secretsmanager:eu:1:secret:x",
        ] {
            assert!(is_exempt("password", value), "{value}");
        }
        for value in ["$ecret1", "${PASSWORD:-hunter2}", "$(echo hunter2)", "/hunter2", "[redacted:hunter2]", "{{ \"hunter2\" }}", "0", "x"]
        {
            assert!(!is_exempt("password", value), "{value}");
        }
        assert!(is_exempt("secrets", "10") && is_exempt("secretKey", "db-password") && !is_exempt("secretKey", "hunter"));
        assert!(is_label("[redacted:jwt]") && !is_label("[redacted:jwt] [redacted:jwt]"));
    }
}
