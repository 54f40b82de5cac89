//! An attempt to sign in, as its browser keeps it: what was asked, a random seed, and a MAC over both.
//!
//! `state`, `nonce` and the PKCE verifier are made from the seed with the ledger's key and stand nowhere: what a browser holds is enough to know
//! its own attempt again, and not enough to answer it. Only a path of this broker is gone back to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{Attempt, Strength};
use crate::refusal::{Code, Refusal};

/// The longest path to go back to, in bytes.
const BACK_MAX_BYTES: usize = 512;
/// Where a human goes who did not say.
const BACK: &str = "/whoami";
/// The most classes of authentication that are asked for, and the longest of them all together.
const ACR_MAX: usize = 8;
const ACR_MAX_BYTES: usize = 255;

/// What somebody asks for at `/login`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// At which issuer; `None` = at the only one.
    pub issuer: Option<String>,
    /// Where to go back to.
    pub back: String,
    /// How strong.
    pub strength: Strength,
}

impl Wanted {
    /// From the query.
    ///
    /// # Errors
    /// A part of it is no path of this broker, or not of the form it must have.
    pub fn read(issuer: Option<String>, back: Option<&str>, acr_values: Option<&str>, max_age_s: Option<u64>) -> Result<Self, Refusal> {
        let malformed = |why: &str| Refusal::new(Code::Malformed).detail(why);
        let back = back.unwrap_or(BACK);
        // `//host` and `/\host` are other hosts to a browser.
        let is_local = back.starts_with('/')
            && !back.starts_with("//")
            && back.len() <= BACK_MAX_BYTES
            && back.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        if !is_local {
            return Err(malformed("`return` must be a path of this broker"));
        }
        let classes = acr_values.unwrap_or_default();
        let fits =
            classes.len() <= ACR_MAX_BYTES && classes.bytes().all(|b| b == b' ' || (b.is_ascii_graphic() && b != b'"' && b != b'\\'));
        let acr_values: Vec<String> = classes.split(' ').filter(|class| !class.is_empty()).map(ToOwned::to_owned).collect();
        if !fits || acr_values.len() > ACR_MAX {
            return Err(malformed("`acr_values` must be a few words"));
        }
        Ok(Self { issuer, back: back.to_owned(), strength: Strength { acr_values, max_age_s } })
    }
}

/// 256 random bits, in letters that may stand in a cookie.
pub(super) fn random() -> Result<String, Refusal> {
    let part = || crate::id::random_128().map_err(|_| Refusal::new(Code::LedgerUnavailable).cause("no randomness"));
    Ok(URL_SAFE_NO_PAD.encode([part()?, part()?].concat()))
}

/// An attempt under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) issuer: String,
    pub(super) back: String,
    pub(super) until: Timestamp,
    /// The session that the browser had when it asked.
    pub(super) replaces: Option<String>,
    seed: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    issuer: String,
    back: String,
    until_us: i64,
    replaces: Option<String>,
    seed: String,
}

impl Pending {
    pub(super) fn new(issuer: String, back: String, until: Timestamp, replaces: Option<String>) -> Result<Self, Refusal> {
        Ok(Self { issuer, back, until, replaces, seed: random()? })
    }

    pub(super) fn attempt(&self, mac: impl Fn(&str, &str) -> String) -> Attempt {
        Attempt {
            state: mac("state", &self.seed),
            nonce: mac("nonce", &self.seed),
            verifier: SecretString::from(mac("verifier", &self.seed)),
        }
    }

    /// As its browser keeps it.
    pub(super) fn sealed(&self, mac: impl Fn(&str, &str) -> String) -> String {
        let stored = Stored {
            v: 1,
            issuer: self.issuer.clone(),
            back: self.back.clone(),
            until_us: self.until.timestamp_micros(),
            replaces: self.replaces.clone(),
            seed: self.seed.clone(),
        };
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&stored).unwrap_or_default());
        format!("{text}.{}", mac("attempt", &text))
    }

    /// From there, if it was made here.
    pub(super) fn opened(kept: &str, mac: impl Fn(&str, &str) -> String) -> Option<Self> {
        let (text, shown) = kept.split_once('.')?;
        aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_bytes(), mac("attempt", text).as_bytes()).ok()?;
        let stored: Stored = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let until = Timestamp::from_timestamp_micros(stored.until_us).filter(|_| stored.v == 1)?;
        Some(Self { issuer: stored.issuer, back: stored.back, until, replaces: stored.replaces, seed: stored.seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(purpose: &str, bytes: &str) -> String {
        format!("{purpose}-{}", bytes.len())
    }

    #[test]
    fn only_a_path_of_this_broker_is_gone_back_to() {
        let read = |back| Wanted::read(None, Some(back), None, None).is_ok();
        for fine in ["/", "/approvals/apr_1?x=1#y", "/a/../b"] {
            assert!(read(fine), "{fine}");
        }
        for wrong in ["", "//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\nb", "/a b", "/é", "javascript:alert(1)"]
        {
            assert!(!read(wrong), "{wrong}");
        }
        assert!(!read(&format!("/{}", "a".repeat(BACK_MAX_BYTES))));
        assert!(Wanted::read(None, None, Some("a\"b"), None).is_err() && Wanted::read(None, None, Some(&"a ".repeat(9)), None).is_err());
        let wanted = Wanted::read(None, None, Some("2 urn:x"), Some(900)).unwrap();
        assert_eq!((wanted.back.as_str(), wanted.strength.acr_values), (BACK, vec!["2".to_owned(), "urn:x".to_owned()]));
    }

    #[test]
    fn what_a_browser_keeps_is_its_own_and_unchanged() {
        let until = Timestamp::from_timestamp_micros(1_000_000).unwrap();
        let pending = Pending::new("https://idp.example.com".to_owned(), "/x".to_owned(), until, None).unwrap();
        let kept = pending.sealed(mac);
        assert_eq!(Pending::opened(&kept, mac), Some(pending));
        for wrong in [format!("{kept}x"), kept.replacen('.', "..", 1), kept.replacen('e', "f", 1), String::new(), ".".to_owned()] {
            assert!(Pending::opened(&wrong, |purpose, bytes| format!("{purpose}-{bytes}")).is_none(), "{wrong}");
        }
        let other = Pending::new("https://idp.example.com".to_owned(), "/x".to_owned(), until, None).unwrap();
        assert_ne!(other.sealed(mac), kept);
    }
}
