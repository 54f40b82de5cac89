//! Messages that are signed by a shared key: Standard Webhooks, which we send and take, and Slack's scheme, which we take.
//!
//! A leaf: bytes, keys and times. It says whether a signature is good, never what follows from that. Comparison takes the same time wherever it ends.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};

/// What a key of Standard Webhooks begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a key, as the specification wants them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Signatures that are looked at in one message: a sender has one or two.
const SIGNATURES_MAX: usize = 8;

/// The bytes of a key; `None` where the text is none.
fn key(secret: &SecretString) -> Option<hmac::Key> {
    let bytes = BASE64.decode(secret.expose_secret().strip_prefix(PREFIX)?).ok()?;
    KEY_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Whether a text is a key of Standard Webhooks: `whsec_` and 24 to 64 bytes in Base64.
#[must_use]
pub fn is_key(secret: &SecretString) -> bool {
    key(secret).is_some()
}

fn signed(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [format!("{id}.{timestamp}.").as_bytes(), body].concat()
}

/// The `webhook-signature` of a message, one signature for each key; `None` where one is no key.
#[must_use]
pub fn sign(secrets: &[SecretString], id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let signed = signed(id, &timestamp.to_string(), body);
    let sign = |secret| Some(format!("v1,{}", BASE64.encode(hmac::sign(&key(secret)?, &signed))));
    secrets.iter().map(sign).collect::<Option<Vec<_>>>().map(|signatures| signatures.join(" "))
}

/// Whether one of the signatures is good under one of the keys.
#[must_use]
pub fn is_signed(secrets: &[SecretString], id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
    let signed = signed(id, timestamp, body);
    let given: Vec<Vec<u8>> =
        signatures.split(' ').take(SIGNATURES_MAX).filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?).ok()).collect();
    secrets.iter().filter_map(key).any(|key| given.iter().any(|tag| hmac::verify(&key, &signed, tag).is_ok()))
}

/// Whether a message is Slack's (`X-Slack-Signature`, version 0).
#[must_use]
pub fn is_slacks(secret: &SecretString, timestamp: &str, body: &[u8], signature: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let Some(tag) = signature.strip_prefix("v0=").and_then(|digits| hex::decode(digits).ok()) else { return false };
    let signed = [format!("v0:{timestamp}:").as_bytes(), body].concat();
    !secret.expose_secret().is_empty() && hmac::verify(&key, &signed, &tag).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    /// The specification's own example.
    #[test]
    fn standard_webhooks() {
        let ours = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&ours), id, 1_614_265_330, body).as_deref(), Some(signature));
        let other = secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=");
        let good =
            |secrets: &[SecretString], id, timestamp, body: &[u8], signatures: &str| is_signed(secrets, id, timestamp, body, signatures);
        let both = [other.clone(), ours.clone()];
        assert!(
            good(&both, id, "1614265330", body, signature) && good(&both, id, "1614265330", body, &format!("v1,AAAA v2,x {signature}"))
        );
        for (secrets, id, timestamp, signatures) in [
            (&both[..1], id, "1614265330", signature),
            (&both[..], "msg_other", "1614265330", signature),
            (&both[..], id, "1614265331", signature),
            (&both[..], id, "1614265330", signature.trim_start_matches("v1,")),
            (&both[..], id, "1614265330", ""),
            (&both[..], id, "1614265330", "v1,"),
            (&[], id, "1614265330", signature),
        ] {
            assert!(!good(secrets, id, timestamp, body, signatures), "{id} {timestamp} {signatures}");
        }
        assert!(!good(&both, id, "1614265330", b"{}", signature));
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_?", ""] {
            assert!(!is_key(&secret(bad)) && sign(&[secret(bad)], id, 1, body).is_none(), "{bad}");
        }
    }

    /// Slack's own example.
    #[test]
    fn slack() {
        let ours = secret("8f742231b10e8888abcd99yyyzzz85a5");
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        assert!(is_slacks(&ours, "1531420618", body, signature));
        assert!(!is_slacks(&ours, "1531420619", body, signature));
        assert!(!is_slacks(&ours, "1531420618", &body[1..], signature));
        assert!(!is_slacks(&secret("other"), "1531420618", body, signature));
        for bad in ["", "v0=", "v0=a2", signature.trim_start_matches("v0="), &signature.replace("v0", "v1")] {
            assert!(!is_slacks(&ours, "1531420618", body, bad), "{bad}");
        }
    }
}
