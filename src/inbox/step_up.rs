//! What an action demands of the sign-in: how strong (`acr`), by which means (`amr`), how long ago at most (`auth_time`).
//!
//! What an issuer does not say is not met. Taking something back (a denial, a suspension, a revocation) demands nothing: a stop must not wait
//! for a second factor.

use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::identity::{SignIn, Strength};
use crate::inbox::Action;

/// An issuer's clock may be ahead by so much.
const AHEAD: TimeDelta = TimeDelta::seconds(60);

/// The demands of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// Which action.
    pub action: Action,
    /// Any of these classes; empty = any at all, or none.
    pub acr: Vec<String>,
    /// All of these methods.
    pub amr: Vec<String>,
    /// At most so long ago.
    pub max_age: Option<Duration>,
}

impl StepUp {
    /// What is lacking, in words; `None` = nothing.
    #[must_use]
    pub fn lacks(&self, sign_in: &SignIn, now: Timestamp) -> Option<String> {
        let mut lacks = Vec::new();
        if !self.acr.is_empty() && !sign_in.acr.as_ref().is_some_and(|acr| self.acr.contains(acr)) {
            lacks.push(format!("`acr` must be {}", self.acr.join(" or ")));
        }
        let methods: Vec<&str> = self.amr.iter().filter(|method| !sign_in.amr.contains(method)).map(String::as_str).collect();
        if !methods.is_empty() {
            lacks.push(format!("`amr` must hold {}", methods.join(" and ")));
        }
        if let Some(most) = self.max_age {
            let most_ago = TimeDelta::from_std(most).unwrap_or_default();
            if !sign_in.at.is_some_and(|at| at <= now + AHEAD && now - at <= most_ago) {
                lacks.push(format!("it must be no longer ago than {} s", most.as_secs()));
            }
        }
        (!lacks.is_empty()).then(|| format!("to {} {}", self.action.as_str(), lacks.join(", and ")))
    }

    /// What to ask the issuer for. It knows no word for methods (RFC 9470): a class must stand for them.
    #[must_use]
    pub fn strength(&self) -> Strength {
        Strength { acr_values: self.acr.clone(), max_age_s: self.max_age.map(|age| age.as_secs()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_class_all_methods_and_not_too_long_ago() {
        let now = Timestamp::from_timestamp_micros(1_700_000_000_000_000).unwrap();
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let step_up =
            StepUp { action: Action::Approve, acr: list(&["2", "3"]), amr: list(&["otp", "pwd"]), max_age: Some(Duration::from_secs(900)) };
        let signed_in = |acr: Option<&str>, amr: &[&str], ago: Option<i64>| SignIn {
            acr: acr.map(ToOwned::to_owned),
            amr: list(amr),
            at: ago.map(|ago| now - TimeDelta::seconds(ago)),
        };
        for (sign_in, lacks) in [
            (signed_in(Some("2"), &["pwd", "otp"], Some(900)), &[][..]),
            (signed_in(Some("3"), &["otp", "x", "pwd"], Some(-60)), &[]),
            (signed_in(Some("1"), &["pwd", "otp"], Some(0)), &["`acr` must be 2 or 3"]),
            (signed_in(None, &["pwd", "otp"], Some(0)), &["`acr`"]),
            (signed_in(Some("2"), &["pwd"], Some(0)), &["`amr` must hold otp"]),
            (signed_in(Some("2"), &["pwd", "otp"], Some(901)), &["no longer ago than 900 s"]),
            (signed_in(Some("2"), &["pwd", "otp"], Some(-61)), &["no longer ago"]),
            (signed_in(Some("2"), &["pwd", "otp"], None), &["no longer ago"]),
            (SignIn::default(), &["`acr`", "otp and pwd", "no longer ago"]),
        ] {
            let said = step_up.lacks(&sign_in, now);
            assert_eq!(said.is_none(), lacks.is_empty(), "{sign_in:?}: {said:?}");
            assert!(lacks.iter().all(|word| said.as_ref().is_some_and(|said| said.contains(word))), "{sign_in:?}: {said:?}");
        }
    }
}
