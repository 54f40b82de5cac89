//! The token endpoint: what a grant gives, and what a refusal says. Also where tokens are given back (RFC 7009).

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::oauth::Http;
use crate::cli::oauth::metadata::Issuer;
use crate::cli::output::inert;
use crate::clock::{Clock, Timestamp};

/// How long a token is good whose issuer does not say.
const LIFETIME_UNSAID: i64 = 300;
/// The longest that is believed.
const LIFETIME_MAX: i64 = 30 * 24 * 3_600;
/// The largest token, in bytes.
const TOKEN_MAX_BYTES: usize = 16 * 1024;

/// Tokens, and until when the first is good.
pub(in crate::cli) struct Granted {
    pub(in crate::cli) access: SecretString,
    pub(in crate::cli) expires_at: Timestamp,
    pub(in crate::cli) refresh: Option<SecretString>,
}

/// What an issuer says instead (RFC 6749, 5.2).
pub(in crate::cli) struct Refused {
    /// Such as `invalid_grant`.
    pub(in crate::cli) code: String,
    description: String,
}

impl Refused {
    pub(super) fn read(body: &Value, or: &str) -> Self {
        let text = |name: &str, or: &str| inert(body.get(name).and_then(Value::as_str).unwrap_or(or)).chars().take(500).collect();
        Self { code: text("error", or), description: text("error_description", "") }
    }

    /// As a human reads it.
    pub(in crate::cli) fn failure(&self, issuer: &Issuer) -> Failure {
        let why = if self.description.is_empty() { String::new() } else { format!(": {}", self.description) };
        Failure::Negative(format!("the issuer `{}` refused ({}){why}", inert(&issuer.url), self.code))
    }
}

/// Asks for tokens.
pub(in crate::cli) async fn request(http: &Http, issuer: &Issuer, form: &[(&str, &str)]) -> Result<Result<Granted, Refused>, Failure> {
    // Read before asking: a token is never believed to be good for longer than it is.
    let asked_at = Clock::system().now();
    let (status, body) = http.post(&issuer.token, form).await?;
    if !status.is_success() {
        if status.is_server_error() || !body.is_object() {
            return Err(Failure::Unreachable(format!("the issuer `{}` answered {status}", inert(&issuer.url))));
        }
        return Ok(Err(Refused::read(&body, status.as_str())));
    }
    let strange = |why: &str| Failure::Negative(format!("the issuer `{}` answered without {why}", inert(&issuer.url)));
    let token = |name: &str| {
        let text = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= TOKEN_MAX_BYTES);
        text.map(|text| SecretString::from(text.to_owned()))
    };
    if !body.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(strange("a token of the type Bearer"));
    }
    let access = token("access_token").filter(|token| token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()));
    let lifetime = body.get("expires_in").and_then(Value::as_i64).unwrap_or(LIFETIME_UNSAID).clamp(0, LIFETIME_MAX);
    Ok(Ok(Granted {
        access: access.ok_or_else(|| strange("an access token"))?,
        expires_at: asked_at + TimeDelta::seconds(lifetime),
        refresh: token("refresh_token"),
    }))
}

/// Gives a token back, where the issuer takes it; whether it did.
pub(in crate::cli) async fn revoke(http: &Http, issuer: &Issuer, client: &str, token: &SecretString, kind: &str) -> Result<bool, Failure> {
    let Some(endpoint) = &issuer.revocation else { return Ok(false) };
    let form = [("token", token.expose_secret()), ("token_type_hint", kind), ("client_id", client)];
    let (status, body) = http.post(endpoint, &form).await?;
    if status.is_success() { Ok(true) } else { Err(Refused::read(&body, status.as_str()).failure(issuer)) }
}
