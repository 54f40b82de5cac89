//! The two cookies, and how browsers are told to keep them.
//!
//! The session's is `SameSite=Strict`: no other site's link or form makes a browser send it, not even for a GET. So the page that an issuer sends
//! the browser back to cannot redirect (that request would still be the issuer's doing); it is a page that goes on by itself. The attempt's must
//! come along on that way back, hence `Lax`. Over TLS both carry `__Host-`: no neighbouring host can have set them.

use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue, header};

/// The longest value that is looked at, in bytes.
const VALUE_MAX_BYTES: usize = 3072;

pub(super) struct Cookies {
    /// Whether browsers come over TLS.
    pub(super) secure: bool,
}

impl Cookies {
    const fn session_name(&self) -> &'static str {
        if self.secure { "__Host-countersign" } else { "countersign-session" }
    }

    const fn attempt_name(&self) -> &'static str {
        if self.secure { "__Host-countersign-login" } else { "countersign-login" }
    }

    /// The one value of a cookie. Two of a name are none: who knows which of them is the browser's own.
    fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let mut values = Self::all(headers, name);
        let value = values.next()?;
        (values.next().is_none() && !value.is_empty() && value.len() <= VALUE_MAX_BYTES).then_some(value)
    }

    fn all<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        pairs.filter_map(|pair| pair.trim().split_once('=')).filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(super) fn session<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        Self::one(headers, self.session_name())
    }

    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        Self::all(headers, self.session_name()).next().is_some()
    }

    pub(super) fn attempt<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        Self::one(headers, self.attempt_name())
    }

    fn set(&self, name: &str, value: &str, same_site: &str, more: &str) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}{more}");
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Until the browser closes, or the session ends here: the row says when.
    pub(super) fn set_session(&self, secret: &str) -> HeaderValue {
        self.set(self.session_name(), secret, "Strict", "")
    }

    pub(super) fn set_attempt(&self, kept: &str, lasting: TimeDelta) -> HeaderValue {
        self.set(self.attempt_name(), kept, "Lax", &format!("; Max-Age={}", lasting.num_seconds()))
    }

    pub(super) fn drop_session(&self) -> HeaderValue {
        self.set(self.session_name(), "", "Strict", "; Max-Age=0")
    }

    pub(super) fn drop_attempt(&self) -> HeaderValue {
        self.set(self.attempt_name(), "", "Lax", "; Max-Age=0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(header::COOKIE, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn one_value_or_none() {
        let (plain, tls) = (Cookies { secure: false }, Cookies { secure: true });
        for (values, session) in [
            (&["a=b; countersign-session=x; c=d"][..], Some("x")),
            (&["a=b", "countersign-session=x"], Some("x")),
            (&["countersign-session=x; countersign-session=y"], None),
            (&["countersign-session=x", "countersign-session=x"], None),
            (&["countersign-session="], None),
            (&["xcountersign-session=x; Countersign-Session=x"], None),
            (&["countersign-session"], None),
            (&[], None),
        ] {
            let map = headers(values);
            assert_eq!((plain.session(&map), tls.session(&map)), (session, None), "{values:?}");
        }
        assert_eq!(tls.session(&headers(&["__Host-countersign=x; countersign-session=y"])), Some("x"));
    }

    #[test]
    fn what_browsers_are_told() {
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        assert_eq!(text(Cookies { secure: true }.set_session("s")), "__Host-countersign=s; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(
            text(Cookies { secure: false }.set_attempt("a", TimeDelta::minutes(10))),
            "countersign-login=a; Path=/; HttpOnly; SameSite=Lax; Max-Age=600"
        );
    }
}
