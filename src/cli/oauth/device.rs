//! Device authorization (RFC 8628): a human confirms a short code in any browser, while this machine asks whether they did.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::cli::Failure;
use crate::cli::oauth::browser::open;
use crate::cli::oauth::tokens::{Granted, Refused, request};
use crate::cli::oauth::{Asked, safe};
use crate::cli::output::{inert, prompt};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The longest that a code is waited for, whatever the issuer says.
const WAIT_MAX: Duration = Duration::from_secs(1_800);
/// Seconds between two questions, unless the issuer says otherwise.
const INTERVAL: u64 = 5;
/// The most, also after many requests to slow down.
const INTERVAL_MAX: u64 = 60;

/// Signs in by a code that the human enters elsewhere.
pub(in crate::cli) async fn sign_in(asked: &Asked<'_>) -> Result<Granted, Failure> {
    let issuer = asked.issuer;
    let endpoint = issuer.device.as_ref().ok_or_else(|| {
        Failure::Usage(format!("the issuer `{}` has no device authorization; sign in with --browser", inert(&issuer.url)))
    })?;
    let (status, body) = asked.http.post(endpoint, &asked.form()).await?;
    if !status.is_success() {
        return Err(Refused::read(&body, status.as_str()).failure(issuer));
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let number = |name: &str| body.get(name).and_then(Value::as_u64);
    let (Some(device), Some(user), Some(at)) = (text("device_code"), text("user_code"), text("verification_uri")) else {
        return Err(Failure::Negative(format!("the issuer `{}` gave no code to confirm", inert(&issuer.url))));
    };
    let lifetime = Duration::from_secs(number("expires_in").unwrap_or(600)).min(WAIT_MAX);
    prompt(&format!("To sign in, open {} and enter the code {}", inert(at), inert(user)));
    if let Some(whole) = text("verification_uri_complete") {
        prompt(&format!("  or open {}", inert(whole)));
        if asked.browser {
            open(&safe(whole, "the issuer's page")?);
        }
    }
    let interval = number("interval").unwrap_or(INTERVAL).clamp(1, INTERVAL_MAX);
    poll(asked, &SecretString::from(device.to_owned()), interval, Instant::now() + lifetime).await
}

async fn poll(asked: &Asked<'_>, device: &SecretString, mut interval: u64, until: Instant) -> Result<Granted, Failure> {
    let expired = || Failure::Negative("the code was not confirmed in time: sign in again".to_owned());
    loop {
        sleep(Duration::from_secs(interval)).await;
        if Instant::now() >= until {
            return Err(expired());
        }
        let form =
            [("grant_type", GRANT), ("device_code", device.expose_secret()), ("client_id", asked.client), ("resource", asked.resource)];
        match request(asked.http, asked.issuer, &form).await {
            Ok(Ok(granted)) => return Ok(granted),
            Ok(Err(refused)) => match refused.code.as_str() {
                "authorization_pending" => {}
                "slow_down" => interval = (interval + 5).min(INTERVAL_MAX),
                "access_denied" => return Err(Failure::Negative("the sign-in was refused".to_owned())),
                "expired_token" => return Err(expired()),
                _ => return Err(refused.failure(asked.issuer)),
            },
            // An issuer that is away for a moment is asked again, less often (RFC 8628, 3.5).
            Err(Failure::Unreachable(_)) => interval = (interval * 2).min(INTERVAL_MAX),
            Err(failure) => return Err(failure),
        }
    }
}
