//! Names, before any address is built from them: DNS-1123 as Kubernetes has it, and nothing that a URL, a header or a command line could mean
//! something else by.

use std::fmt;

use crate::refusal::{Code, Refusal};

/// The longest DNS-1123 label and subdomain (RFC 1123).
const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
/// The longest selector, in bytes.
const SELECTOR_MAX: usize = 2_000;
/// The longest `continue` token of a server, in bytes.
const CONTINUE_MAX: usize = 8_192;

/// An API group; empty for the core.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

impl Group {
    /// The core group.
    #[must_use]
    pub const fn core() -> Self {
        Self(String::new())
    }

    pub(super) fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// As the API spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refuse(what: &str, text: &str, why: &str) -> Refusal {
    let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
    Refusal::new(Code::InvalidName).detail(format!("`{what}` is `{shown}`, and {why}"))
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= LABEL_MAX && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_MAX && text.split('.').all(is_label)
}

/// A DNS-1123 label: namespaces, containers.
///
/// # Errors
/// `operation.invalid_name`, naming the argument.
pub fn label(what: &str, text: &str) -> Result<String, Refusal> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err(refuse(what, text, "must be a DNS-1123 label: at most 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"))
}

/// An object's name: a DNS-1123 subdomain. RBAC has names such as `system:node`, which are path segments of letters, digits and `:`, `.`, `_`, `-`.
///
/// # Errors
/// `operation.invalid_name`, naming the argument.
pub fn object(what: &str, text: &str, group: &Group) -> Result<String, Refusal> {
    if is_subdomain(text) {
        return Ok(text.to_owned());
    }
    let segment = |b: u8| b.is_ascii_alphanumeric() || b":._-".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if group.as_str() == "rbac.authorization.k8s.io" && begins && text.len() <= SUBDOMAIN_MAX && text.bytes().all(segment) {
        return Ok(text.to_owned());
    }
    Err(refuse(
        what,
        text,
        "must be a DNS-1123 subdomain: at most 253 of a-z, 0-9, `-` and `.`, each part beginning and ending with a letter or digit",
    ))
}

/// `v1`, `apps/v1`: group and version.
///
/// # Errors
/// `operation.invalid_name`.
pub fn api_version(text: &str) -> Result<(Group, String), Refusal> {
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    if (group.is_empty() && !text.contains('/') || is_subdomain(group)) && is_label(version) {
        return Ok((Group(group.to_owned()), version.to_owned()));
    }
    Err(refuse("api_version", text, "must be a version or `group/version`, such as `v1` or `apps/v1`"))
}

/// An API group by its name; empty for the core.
///
/// # Errors
/// `operation.invalid_name`.
pub fn group(text: &str) -> Result<Group, Refusal> {
    if text.is_empty() || is_subdomain(text) {
        return Ok(Group(text.to_owned()));
    }
    Err(refuse("group", text, "must be an API group, such as `apps`, or empty for the core"))
}

/// A kind as it is given: letters and digits; with dots if it names its group.
///
/// # Errors
/// `operation.invalid_name`.
pub fn kind(text: &str) -> Result<String, Refusal> {
    let word = |part: &str| part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let fits = match text.split_once('.') {
        None => word(text),
        Some((name, group)) => word(name) && is_subdomain(group),
    };
    if fits && text.len() <= SUBDOMAIN_MAX {
        return Ok(text.to_owned());
    }
    Err(refuse("kind", text, "must be a kind or resource, such as `Deployment`, `deploy` or `deployments.apps`"))
}

/// A label or field selector. The server parses it; here it only must be a text that it could be.
///
/// # Errors
/// `operation.invalid_name`.
pub fn selector(what: &str, text: &str) -> Result<String, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=!,() :".contains(&b);
    if !text.trim().is_empty() && text.len() <= SELECTOR_MAX && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(refuse(what, text, "must be a selector, such as `app=web,tier!=cache`"))
}

/// A server's `continue` token.
///
/// # Errors
/// `operation.invalid_name`.
pub fn continuation(text: &str) -> Result<String, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=+/.".contains(&b);
    if !text.is_empty() && text.len() <= CONTINUE_MAX && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(refuse("continue", text, "must be the `continue` of an earlier answer"))
}

/// The name of a field manager: it goes into every object that it writes.
///
/// # Errors
/// `operation.invalid_name`.
pub fn field_manager(text: &str) -> Result<String, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if text.starts_with("countersign") && text.len() <= 128 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(refuse(
        "field_manager",
        text,
        "must begin with `countersign`, since fields of others are not to be taken in their name, and be letters, digits and `-_./`",
    ))
}

/// A container image: no blanks, no control characters, not an option.
///
/// # Errors
/// `operation.invalid_name`.
pub fn image(text: &str) -> Result<String, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && text.len() <= 512 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(refuse("image", text, "must be a container image, such as `registry.example.com/tool:1.2`"))
}

/// A path into an object: `spec.template.spec.containers`, with names in quotes or numbers in brackets for what holds dots.
///
/// # Errors
/// `operation.invalid_name`.
pub fn field(text: &str) -> Result<Vec<String>, Refusal> {
    let bad = || refuse("fields", text, "must be a path such as `metadata.name` or `metadata.labels['app.kubernetes.io/name']`");
    let mut path = Vec::new();
    let mut rest = text.strip_prefix('.').unwrap_or(text);
    while !rest.is_empty() {
        let (part, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']").ok_or_else(bad)?
        } else if let Some(number) = rest.strip_prefix('[') {
            let (number, after) = number.split_once(']').ok_or_else(bad)?;
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            (number, after)
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            rest.split_at_checked(end).ok_or_else(bad)?
        };
        if part.is_empty() || part.chars().any(char::is_control) {
            return Err(bad());
        }
        path.push(part.to_owned());
        rest = match after.strip_prefix('.') {
            Some("") => return Err(bad()),
            Some(more) => more,
            None if after.is_empty() || after.starts_with('[') => after,
            None => return Err(bad()),
        };
    }
    if path.is_empty() || path.len() > 32 || text.len() > SELECTOR_MAX { Err(bad()) } else { Ok(path) }
}
