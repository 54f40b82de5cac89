//! A request at the token service: a form, read strictly, and how the agent proves which one it is.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};

use crate::identity::service::Shown;
use crate::refusal::{Code, Refusal};

/// Fields of one form.
const FIELDS_MAX: usize = 32;
/// The longest field, in bytes.
const FIELD_MAX_BYTES: usize = 32 * 1024;

/// RFC 7523 2.2, and the SPIFFE profile of it.
const ASSERTION_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"];

/// A form's fields, each at most once.
pub(super) struct Form(BTreeMap<String, SecretString>);

/// The agent that asks, and what it shows.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<SecretString>,
    pub(super) assertion: Option<SecretString>,
}

fn malformed(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::Malformed).detail(why)
}

impl Form {
    pub(super) fn read(fields: Vec<(String, String)>) -> Result<Self, Refusal> {
        if fields.len() > FIELDS_MAX || fields.iter().any(|(name, value)| name.len() + value.len() > FIELD_MAX_BYTES) {
            return Err(malformed(format!("a form has at most {FIELDS_MAX} fields of {FIELD_MAX_BYTES} bytes")));
        }
        let mut form = BTreeMap::new();
        for (name, value) in fields {
            // A field without a value is one that is not there (RFC 6749, 3.2).
            if !value.is_empty() && form.insert(name.clone(), SecretString::from(value)).is_some() {
                return Err(malformed(format!(
                    "the field `{}` stands more than once",
                    name.chars().filter(|c| c.is_ascii_graphic()).take(40).collect::<String>()
                )));
            }
        }
        Ok(Self(form))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.expose_secret())
    }

    pub(super) fn secret(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&SecretString, Refusal> {
        self.secret(name).ok_or_else(|| malformed(format!("the field `{name}` is missing")))
    }
}

impl Client {
    /// By Basic authentication, by secret in the form, by assertion, or by the actor token of a token exchange; exactly one of them.
    pub(super) fn of(headers: &HeaderMap, form: &Form) -> Result<Self, Refusal> {
        let invalid = |why: &str| Refusal::new(Code::InvalidClient).detail(why);
        let assertion = match (form.get("client_assertion_type"), form.secret("client_assertion")) {
            (Some(kind), Some(assertion)) if ASSERTION_TYPES.contains(&kind) => Some(assertion.clone()),
            (None, None) => None,
            _ => return Err(invalid("`client_assertion` and `client_assertion_type` do not go together")),
        };
        let assertion = assertion.or_else(|| form.secret("actor_token").cloned());
        let in_form = form.get("client_id").map(ToOwned::to_owned);
        let basic = basic(headers)?;
        let client = match (basic, form.secret("client_secret"), assertion) {
            (Some((id, secret)), None, None) => {
                if in_form.as_ref().is_some_and(|named| *named != id) {
                    return Err(invalid("two clients are named"));
                }
                Self { id, secret: Some(secret), assertion: None }
            }
            (None, Some(secret), None) => Self {
                id: in_form.ok_or_else(|| malformed("the field `client_id` is missing"))?,
                secret: Some(secret.clone()),
                assertion: None,
            },
            (None, None, Some(assertion)) => {
                Self { id: in_form.ok_or_else(|| malformed("the field `client_id` is missing"))?, secret: None, assertion: Some(assertion) }
            }
            (None, None, None) => return Err(invalid("the agent shows nothing")),
            _ => return Err(invalid("the agent proves itself in more than one way")),
        };
        Ok(client)
    }

    pub(super) fn shown(&self) -> Shown<'_> {
        match (&self.secret, &self.assertion) {
            (Some(secret), _) => Shown::Secret(secret),
            (None, Some(assertion)) => Shown::Assertion(assertion),
            // `of` leaves no third case; a secret that nobody has stands for it.
            (None, None) => Shown::Assertion(NOTHING.get_or_init(|| SecretString::from(String::new()))),
        }
    }
}

static NOTHING: std::sync::OnceLock<SecretString> = std::sync::OnceLock::new();

/// Basic authentication with form-encoded halves (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, SecretString)>, Refusal> {
    let invalid = || Refusal::new(Code::InvalidClient).detail("the Authorization header is not `Basic` with a client's id and secret");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid());
    }
    let (scheme, encoded) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(invalid());
    }
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    let (id, secret) = decoded.split_once(':').ok_or_else(invalid)?;
    let plain = |text: &str| percent_decoded(text).ok_or_else(invalid);
    Ok(Some((plain(id)?, SecretString::from(plain(secret)?))))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
