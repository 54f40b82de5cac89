//! What a broker says of its doors (RFC 9728) and an issuer of its endpoints (RFC 8414, OpenID Connect Discovery).
//!
//! Both must name themselves exactly as they were asked for: else a broker could have tokens made for another resource, and one issuer could
//! speak for another.

use reqwest::{StatusCode, Url};
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::oauth::{Door, Http, safe};
use crate::cli::output::inert;

/// A door as a protected resource.
pub(in crate::cli) struct Resource {
    /// What tokens must have as audience.
    pub(in crate::cli) url: String,
    /// Who may issue them.
    pub(in crate::cli) issuers: Vec<String>,
    /// What to ask for unless told otherwise.
    pub(in crate::cli) scopes: Vec<String>,
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect()
}

impl Resource {
    /// Asks a broker about one of its doors.
    pub(in crate::cli) async fn ask(http: &Http, broker: &str, door: Door) -> Result<Self, Failure> {
        let url = format!("{broker}/{}", door.as_str());
        let parsed = safe(&url, "the broker's address")?;
        let (status, body) = http.get(inserted(&parsed, "oauth-protected-resource")).await?;
        if !status.is_success() {
            return Err(Failure::Negative(format!("`{broker}` is no broker: it answered {status} when asked who issues its tokens")));
        }
        let named = body.get("resource").and_then(Value::as_str).unwrap_or_default();
        if named != url {
            let own = named.strip_suffix(&format!("/{}", door.as_str())).unwrap_or(named);
            return Err(Failure::Negative(format!("the broker calls itself `{0}`, so sign in there: --url {0}", inert(own))));
        }
        Ok(Self { url, issuers: texts(&body, "authorization_servers"), scopes: texts(&body, "scopes_supported") })
    }

    /// The issuer to sign in at: the one named, which must be the broker's, or the only one.
    pub(in crate::cli) fn issuer(&self, named: Option<&str>) -> Result<&str, Failure> {
        let list = || self.issuers.iter().map(|issuer| format!("\n  --issuer {}", inert(issuer))).collect::<String>();
        match (named, self.issuers.as_slice()) {
            (None, [only]) => Ok(only),
            (None, []) => Err(Failure::Negative("the broker names no issuer of tokens".to_owned())),
            (None, _) => Err(Failure::Usage(format!("the broker takes tokens of several issuers; say which:{}", list()))),
            (Some(named), all) => {
                let found = all.iter().find(|issuer| issuer.as_str() == named);
                found
                    .map(String::as_str)
                    .ok_or_else(|| Failure::Usage(format!("the broker takes no tokens of that issuer, but of:{}", list())))
            }
        }
    }
}

/// An address with a well-known part between host and path (RFC 8414, 3; RFC 9728, 3).
fn inserted(url: &Url, name: &str) -> Url {
    let mut at = url.clone();
    at.set_path(&format!("/.well-known/{name}{}", url.path().trim_end_matches('/')));
    at
}

/// An issuer with the endpoints that a sign-in needs.
pub(in crate::cli) struct Issuer {
    /// `issuer`, byte for byte.
    pub(in crate::cli) url: String,
    pub(in crate::cli) token: Url,
    pub(in crate::cli) authorization: Option<Url>,
    pub(in crate::cli) device: Option<Url>,
    pub(in crate::cli) revocation: Option<Url>,
    /// Whether every answer to an authorization request names it (RFC 9207).
    pub(in crate::cli) names_itself: bool,
    /// Scopes of OpenID Connect that it has: without `openid` some issuers take no sign-in, without `offline_access` some renew none.
    pub(in crate::cli) own_scopes: Vec<&'static str>,
}

impl Issuer {
    /// Asks an issuer, at the places where the two standards put the answer.
    pub(in crate::cli) async fn ask(http: &Http, url: &str) -> Result<Self, Failure> {
        let parsed = safe(url, "the issuer's address")?;
        let mut appended = parsed.clone();
        appended.set_path(&format!("{}/.well-known/openid-configuration", parsed.path().trim_end_matches('/')));
        let mut last = StatusCode::NOT_FOUND;
        for place in [inserted(&parsed, "oauth-authorization-server"), inserted(&parsed, "openid-configuration"), appended] {
            let (status, body) = http.get(place).await?;
            if status.is_success() && body.is_object() {
                return Self::read(url, &body);
            }
            last = status;
        }
        Err(Failure::Unreachable(format!("the issuer `{}` does not say where its endpoints are: it answered {last}", inert(url))))
    }

    fn read(url: &str, body: &Value) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Negative(format!("the issuer `{}` {why}", inert(url)));
        if body.get("issuer").and_then(Value::as_str) != Some(url) {
            return Err(wrong("calls itself by another name in its metadata"));
        }
        let endpoint =
            |name: &str| body.get(name).and_then(Value::as_str).map(|text| safe(text, &format!("the issuer's `{name}`"))).transpose();
        let scopes = texts(body, "scopes_supported");
        let methods = texts(body, "code_challenge_methods_supported");
        let pkce = methods.is_empty() || methods.iter().any(|method| method == "S256");
        Ok(Self {
            url: url.to_owned(),
            token: endpoint("token_endpoint")?.ok_or_else(|| wrong("has no token endpoint"))?,
            // Without S256 a code could be spent by whoever sees it: then there is no such flow.
            authorization: endpoint("authorization_endpoint")?.filter(|_| pkce),
            device: endpoint("device_authorization_endpoint")?,
            revocation: endpoint("revocation_endpoint")?,
            names_itself: body.get("authorization_response_iss_parameter_supported").and_then(Value::as_bool).unwrap_or(false),
            own_scopes: ["openid", "offline_access"].into_iter().filter(|own| scopes.iter().any(|scope| scope == own)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_speaks_for_itself_alone() {
        let url = "https://idp.example.com/realms/a";
        let body = |issuer: &str, token: &str| json!({"issuer": issuer, "token_endpoint": token});
        assert!(Issuer::read(url, &body(url, "https://idp.example.com/token")).is_ok());
        for (issuer, token) in [
            ("https://idp.example.com/realms/a/", "https://idp.example.com/token"),
            ("https://idp.example.com", "https://idp.example.com/token"),
            (url, "http://idp.example.com/token"),
        ] {
            assert!(Issuer::read(url, &body(issuer, token)).is_err(), "{issuer} {token}");
        }
    }

    #[test]
    fn without_s256_there_is_no_code_flow() {
        let url = "https://idp.example.com";
        let mut body = json!({"issuer": url, "token_endpoint": format!("{url}/token"), "authorization_endpoint": format!("{url}/auth")});
        assert!(Issuer::read(url, &body).unwrap().authorization.is_some(), "some issuers do not say what they support");
        body["code_challenge_methods_supported"] = json!(["plain"]);
        assert!(Issuer::read(url, &body).unwrap().authorization.is_none());
    }

    #[test]
    fn well_known_parts_go_between_host_and_path() {
        for (url, at) in [
            ("https://a.example", "https://a.example/.well-known/x"),
            ("https://a.example/realms/b", "https://a.example/.well-known/x/realms/b"),
        ] {
            assert_eq!(inserted(&Url::parse(url).unwrap(), "x").as_str(), at);
        }
    }

    #[test]
    fn of_several_issuers_one_must_be_named() {
        let resource = |issuers: &[&str]| Resource {
            url: String::new(),
            issuers: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
            scopes: Vec::new(),
        };
        assert_eq!(resource(&["a"]).issuer(None).unwrap(), "a");
        assert_eq!(resource(&["a", "b"]).issuer(Some("b")).unwrap(), "b");
        assert!(resource(&[]).issuer(None).is_err());
        assert!(resource(&["a"]).issuer(Some("c")).is_err());
        let Err(Failure::Usage(says)) = resource(&["a", "b"]).issuer(None) else { panic!("one was chosen") };
        assert!(says.contains("--issuer a") && says.contains("--issuer b"), "{says}");
    }
}
