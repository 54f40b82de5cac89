//! What an object is, and what its members are called: the knowledge of Kubernetes that the walk asks for.

use serde_json::{Map, Value};

use crate::mask::lines::is_secret_type;
use crate::mask::shadow::Shadow;
use crate::mask::{keys, packed};

/// What an object says about itself and what is in it.
#[derive(Clone, Copy)]
pub(super) struct Nature {
    pub(super) is_secret: bool,
    /// Objects in it that say no kind are Secrets.
    pub(super) hint: bool,
    /// A member of it is a Secret, or says that all this is about one.
    pub(super) speaks_of_secret: bool,
}

impl Nature {
    pub(super) fn of(members: &Map<String, Value>, hint: bool) -> Self {
        let kind = text(members, "kind").map(|kind| Shadow::of(kind).map_or_else(|| kind.to_owned(), |shadow| shadow.text));
        let has_type = || text(members, "type").is_some_and(is_secret_type) && members.keys().any(|name| is_data(name));
        let is_about = || text(members, "resource").is_some_and(is_secret_kind);
        let speaks_of_secret = members
            .values()
            .filter_map(Value::as_object)
            .any(|member| text(member, "kind").is_some_and(is_secret_kind) || names_itself(member));
        let (is_secret, hint) = match kind.as_deref().map(str::trim) {
            None | Some("") => (hint || has_type() || is_about(), hint || is_about()),
            Some(kind) if is_list_of_secrets(kind) => (true, true),
            Some(kind) if is_secret_kind(kind) => (true, false),
            Some("List" | "Table" | "PartialObjectMetadataList") => (false, hint),
            Some(_) => (false, false),
        };
        Self { is_secret, hint, speaks_of_secret }
    }
}

/// `{"kind": {"kind": "Secret", …}}`, as an admission review has it.
fn names_itself(member: &Map<String, Value>) -> bool {
    text(member, "resource").is_some_and(is_secret_kind)
}

fn text<'v>(members: &'v Map<String, Value>, wanted: &str) -> Option<&'v str> {
    members.get(wanted).or_else(|| members.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value))?.as_str()
}

/// `Secret`, in any case, alone or as part of `v1/Secret`, `secrets` or `Secret.v1`.
pub(super) fn is_secret_kind(kind: &str) -> bool {
    let kind = kind.trim().rsplit(['/', ' ', '=']).next().unwrap_or_default();
    let kind = kind.split(['.', ',']).next().unwrap_or_default();
    kind.eq_ignore_ascii_case("secret") || kind.eq_ignore_ascii_case("secrets") || is_list_of_secrets(kind)
}

fn is_list_of_secrets(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("secretlist")
}

/// Members of a Secret that hold its values.
pub(super) fn is_data(name: &str) -> bool {
    ["data", "stringData", "binaryData"].iter().any(|data| name.eq_ignore_ascii_case(data))
}

/// Whether an object with a `name` and a `value` beside each other names a secret.
pub(super) fn names_secret(members: &Map<String, Value>) -> bool {
    ["name", "key"].iter().filter_map(|word| text(members, word)).any(|name| keys::holds_secret(name) || keys::is_header(name))
}

/// Whether a member's own name says that it holds a secret.
pub(super) fn holds_secret(name: &str, member: &Value, members: &Map<String, Value>) -> bool {
    const FILES: [&str; 9] = [".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".htpasswd", ".pgpass", ".netrc", ".git-credentials"];
    const KEYS: [&str; 4] = ["id_rsa", "id_ed25519", "id_ecdsa", "id_dsa"];
    let said = member.as_str().unwrap_or_default();
    // In an ExternalSecret this names the key that a value is written to.
    if name == "secretKey" && ["remoteRef", "sourceRef"].iter().any(|reference| members.contains_key(*reference)) {
        return false;
    }
    if keys::is_header(name) {
        return said.len() >= 8;
    }
    if name.eq_ignore_ascii_case("auth") {
        return packed::text(said).is_some_and(|pair| pair.contains(':'));
    }
    keys::holds_secret(name) || FILES.iter().any(|end| name.ends_with(end)) || KEYS.contains(&name)
}

/// Labels and selectors: what stands there is meant to be seen.
pub(super) fn is_labels(name: &str) -> bool {
    ["labels", "matchLabels", "selector", "nodeSelector", "podLabels", "commonLabels"].contains(&name)
}

/// What the cluster gave out itself; digits in it are no card.
pub(super) fn is_identity(name: &str, value: &str) -> bool {
    match name {
        "resourceVersion" | "generation" => value.bytes().all(|b| b.is_ascii_digit()),
        "uid" | "systemUUID" | "bootID" => value.len() == 36 && value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'),
        "machineID" => value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit()),
        "creationTimestamp" | "deletionTimestamp" | "lastTransitionTime" | "time" => {
            value.len() <= 32 && value.bytes().all(|b| b.is_ascii_digit() || b"-:.TZ+".contains(&b))
        }
        _ => false,
    }
}

/// Members that hold a name: a word that a Secret holds as well may be one.
pub(super) fn is_name(name: &str) -> bool {
    ["kind", "apiVersion", "name", "namespace", "generateName"].contains(&name)
}

/// Packed with gzip, as Helm keeps a release: nobody here can look into it, and whoever reads it can.
pub(super) fn is_opaque(value: &str) -> bool {
    let is_run = || value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_\n\r".contains(&b));
    value.len() >= 40 && (value.starts_with("H4sI") || value.starts_with("SDRzSU")) && is_run()
}
