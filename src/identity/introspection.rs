//! Opaque tokens: what their issuer says of them (RFC 7662).
//!
//! A stranger can make up tokens faster than an issuer answers, so it is asked by a few requests at once and no more, and a token that was not good
//! is not asked about again for a short while. What is good is remembered by whoever asked, as briefly.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::clock::Timestamp;
use crate::identity::fingerprint;
use crate::identity::issuer::Issuer;
use crate::identity::strict::object;
use crate::refusal::{Code, Refusal};

/// Questions to one issuer at once.
const AT_ONCE: usize = 16;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// A token that was not good is not asked about again for so long.
const NO_FOR: TimeDelta = TimeDelta::seconds(10);
/// Tokens that are remembered as not good; beyond it all are forgotten.
const NO_MAX: usize = 10_000;

/// How one issuer is asked.
pub(super) struct Asking {
    turns: Semaphore,
    /// By the token's SHA-256: until when.
    no: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl Default for Asking {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), no: Mutex::default() }
    }
}

impl Asking {
    fn said_no(&self, token: &[u8; 32], now: Timestamp) -> bool {
        self.no.lock().unwrap_or_else(PoisonError::into_inner).get(token).is_some_and(|until| now < *until)
    }

    fn remember_no(&self, token: [u8; 32], now: Timestamp) {
        let mut no = self.no.lock().unwrap_or_else(PoisonError::into_inner);
        if no.len() >= NO_MAX {
            no.retain(|_, until| now < *until);
            if no.len() >= NO_MAX {
                no.clear();
            }
        }
        no.insert(token, now + NO_FOR);
    }
}

/// What RFC 7662 and its users call an access token. An issuer that is asked about a refresh token calls that active too, and says what it is.
fn is_access_token(claims: &Map<String, Value>) -> bool {
    let says = |name: &str, access: &[&str]| match claims.get(name) {
        None => true,
        Some(Value::String(kind)) => access.iter().any(|known| kind.eq_ignore_ascii_case(known)),
        Some(_) => false,
    };
    says("token_type", &["bearer", "dpop", "access_token"])
        && says("typ", &["bearer", "dpop", "at+jwt", "jwt"])
        && says("token_use", &["access"])
}

impl Issuer {
    /// What the issuer says of an opaque token; `None` if it is not good, or not this issuer's.
    pub(super) async fn introspect(&self, token: &str) -> Result<Option<Map<String, Value>>, Refusal> {
        let unreachable = |why: String| Refusal::new(Code::IssuerUnreachable).cause(why);
        let Some(introspection) = &self.settings().introspection else { return Ok(None) };
        let key = fingerprint(token);
        if self.asking.said_no(&key, self.clock.now()) {
            return Ok(None);
        }
        let turn = tokio::time::timeout(PATIENCE, self.asking.turns.acquire()).await;
        let _turn = turn
            .map_err(|_| unreachable(format!("{AT_ONCE} questions are open already")))?
            .map_err(|error| unreachable(error.to_string()))?;
        let endpoints = self.endpoints().await.map_err(unreachable)?;
        let address =
            endpoints.introspection.ok_or_else(|| unreachable("the issuer's metadata has no `introspection_endpoint`".to_owned()))?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        let said = self.fetcher.post(&address, &introspection.client_id, &introspection.client_secret, &form).await.map_err(unreachable)?;
        let mut claims = object(&said).ok_or_else(|| {
            Refusal::new(Code::InvalidToken).detail("its issuer describes it with a null, a name that stands twice, or no JSON object")
        })?;
        if claims.get("active") != Some(&Value::Bool(true)) {
            self.asking.remember_no(key, self.clock.now());
            return Ok(None);
        }
        if !is_access_token(&claims) {
            return Err(Refusal::new(Code::InvalidToken).detail("its issuer says that it is another kind of token than an access token"));
        }
        // The answer came from the issuer itself, over its own TLS: it need not say its name once more. If it does, it is judged.
        claims.entry("iss").or_insert_with(|| Value::from(self.settings().url.as_str()));
        Ok(Some(claims))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_access_token_is_one() {
        for (claims, is) in [
            (json!({}), true),
            (json!({"token_type": "Bearer"}), true),
            (json!({"token_type": "DPoP", "typ": "Bearer"}), true),
            (json!({"token_type": "refresh_token"}), false),
            (json!({"typ": "Refresh"}), false),
            (json!({"typ": "ID"}), false),
            (json!({"token_use": "id"}), false),
            (json!({"token_type": ["Bearer"]}), false),
        ] {
            assert_eq!(is_access_token(claims.as_object().unwrap()), is, "{claims}");
        }
    }

    #[test]
    fn a_no_is_remembered_for_a_while_and_not_for_everybody() {
        let asking = Asking::default();
        let now = Timestamp::from_timestamp_micros(1_700_000_000_000_000).unwrap();
        for number in 0..2 * NO_MAX {
            asking.remember_no(fingerprint(&number.to_string()), now);
        }
        let last = fingerprint(&(2 * NO_MAX - 1).to_string());
        assert!(asking.said_no(&last, now) && !asking.said_no(&last, now + NO_FOR) && !asking.said_no(&fingerprint("other"), now));
        assert!(asking.no.lock().unwrap().len() <= NO_MAX);
    }
}
