//! Humans sign in with a browser: OpenID Connect, authorization code with PKCE (S256 always), with the broker as a client of the issuer.
//!
//! An ID token counts here and nowhere else, for the one attempt whose nonce it has, and becomes a `Person` at once; neither it nor the access
//! token beside it is kept. Written here and not taken from the `openidconnect` crate: that crate cannot be had without `rsa`, `p256`, `p384`,
//! `ed25519-dalek` and `hmac`, which would make a second provider of cryptography in one process, and it would judge signatures, algorithms and
//! claims by other rules than the doors do. What is left of OpenID Connect Core 3.1.3.7 beside what this room checks of every token (signature by
//! a listed algorithm, issuer, audience, times, strict types) is the nonce and `azp`.

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::identity::challenge::Challenge;
use crate::identity::claims::{Bench, Kind, judge};
use crate::identity::fetch::Address;
use crate::identity::issuer::{Issuer, IssuerSettings};
use crate::identity::mapping::{ClaimPath, Mapping, Provider};
use crate::identity::token::Parts;
use crate::identity::{Identity, Person, strict};
use crate::refusal::{Code, Refusal};

/// Where issuers send browsers back to, behind the public URL.
pub const CALLBACK: &str = "/login/callback";
/// What is asked for unless the configuration says otherwise, as far as the issuer has it.
const SCOPES: [&str; 2] = ["openid", "profile"];
/// An issuer's pages are looked up again this often.
const LOOK_EVERY: TimeDelta = TimeDelta::minutes(10);
/// And where that failed, at most this often: strangers must not make the broker a hammer.
const TRY_EVERY: TimeDelta = TimeDelta::seconds(10);
/// The longest code of an issuer, in bytes.
const CODE_MAX_BYTES: usize = 4096;

/// The broker as a client of an issuer.
#[derive(Debug, Clone)]
pub struct BrowserClient {
    /// Its id there.
    pub client_id: String,
    /// Its secret; `None` = a public client, which PKCE alone protects.
    pub client_secret: Option<SecretString>,
    /// What to ask for; `None` = `openid profile`.
    pub scope: Option<String>,
}

impl BrowserClient {
    pub(super) fn problems(&self, human_clients: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.client_id.is_empty() {
            problems.push("the browser's `client_id` is empty".to_owned());
        }
        // Whoever holds a secret could get tokens without a human.
        if self.client_secret.is_some() && human_clients.contains(&self.client_id) {
            problems.push("the browser's client has a secret, so it must not be in `human_clients`".to_owned());
        }
        if self.scope.as_ref().is_some_and(|scope| !scope.split(' ').any(|word| word == "openid")) {
            problems.push("the browser's `scope` must hold `openid`".to_owned());
        }
        problems
    }
}

/// How a human is to sign in (RFC 9470); the issuer decides whether it can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strength {
    /// Any of these authentication context classes.
    pub acr_values: Vec<String>,
    /// Not longer ago than this, in seconds.
    pub max_age_s: Option<u64>,
}

/// What binds an answer to the browser that it was asked in. Its maker can make it again from what that browser holds.
pub struct Attempt {
    /// The `state` parameter.
    pub state: String,
    /// The `nonce` claim.
    pub nonce: String,
    /// The PKCE verifier.
    pub verifier: SecretString,
}

/// What an issuer answered, by way of the browser.
#[derive(Debug, Default)]
pub struct Answered<'a> {
    /// The path by which it came back.
    pub path: &'a str,
    /// `code`.
    pub code: Option<&'a str>,
    /// `iss` (RFC 9207).
    pub issuer: Option<&'a str>,
    /// `error`.
    pub error: Option<&'a str>,
}

#[derive(Debug, Clone)]
pub(super) struct Pages {
    authorization: Address,
    token: Address,
    end_session: Option<Address>,
    /// Whether every answer names its issuer (RFC 9207).
    names_itself: bool,
    scopes: Option<Vec<String>>,
}

/// What is known of an issuer's pages, and when they were last asked for. One look at a time.
#[derive(Default)]
pub(super) struct SignInPages(tokio::sync::Mutex<(Option<Pages>, Option<Timestamp>)>);

fn failed(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::SignInFailed).detail(why)
}

impl Issuer {
    async fn pages(&self) -> Result<Pages, Refusal> {
        let mut known = self.pages.0.lock().await;
        let now = self.clock.now();
        let (pages, tried) = &*known;
        let again = if pages.is_some() { LOOK_EVERY } else { TRY_EVERY };
        if tried.is_none_or(|tried| now - tried >= again) {
            let found = self.discover().await.and_then(|metadata| self.read(&metadata));
            let pages = match found {
                Ok(pages) => Some(pages),
                Err(why) => {
                    tracing::warn!(issuer = %self.settings().url, why, "its sign-in pages could not be looked up");
                    known.0.take()
                }
            };
            *known = (pages, Some(now));
        }
        known.0.clone().ok_or_else(|| Refusal::new(Code::IssuerUnreachable))
    }

    fn read(&self, metadata: &Value) -> Result<Pages, String> {
        let address = |name: &str| metadata.get(name).and_then(Value::as_str).map(|text| Address::new(text, &self.url)).transpose();
        let required = |name: &str| address(name)?.ok_or_else(|| format!("the issuer's metadata has no `{name}`"));
        let list = |name: &str| {
            let list = metadata.get(name)?.as_array()?;
            Some(list.iter().filter_map(|item| item.as_str().map(ToOwned::to_owned)).collect::<Vec<_>>())
        };
        if list("code_challenge_methods_supported").is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err("the issuer has no PKCE with S256".to_owned());
        }
        Ok(Pages {
            authorization: required("authorization_endpoint")?,
            token: required("token_endpoint")?,
            end_session: address("end_session_endpoint")?,
            names_itself: metadata.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            scopes: list("scopes_supported"),
        })
    }

    fn browser(&self) -> Option<&BrowserClient> {
        self.settings().browser.as_ref()
    }
}

impl Pages {
    fn scope(&self, client: &BrowserClient) -> String {
        let has = |scope: &&str| *scope == "openid" || self.scopes.as_ref().is_none_or(|known| known.iter().any(|known| known == scope));
        client.scope.clone().unwrap_or_else(|| SCOPES.into_iter().filter(has).collect::<Vec<_>>().join(" "))
    }
}

/// Where an issuer sends browsers back to: the one without a namespace to `/login/callback`, any other to an address below it.
fn callback(issuer: &IssuerSettings) -> String {
    if issuer.namespace.is_empty() { CALLBACK.to_owned() } else { format!("{CALLBACK}/{}", issuer.namespace) }
}

/// How an ID token is read, where that differs from an access token: Okta has the human's id in `sub` of the one and `uid` of the other.
fn for_id_tokens(settings: &IssuerSettings) -> IssuerSettings {
    let mut settings = settings.clone();
    let usual = Mapping::of(Provider::Okta);
    if settings.mapping.provider == Provider::Okta {
        for (path, usual, here) in [(&mut settings.mapping.human, usual.human, "sub"), (&mut settings.mapping.name, usual.name, "name")] {
            if *path == usual {
                *path = ClaimPath::parse(here);
            }
        }
    }
    // Whose client it is, `azp` and `aud` say; a claim that names an agent has no place in it.
    settings.mapping.agent = Some(ClaimPath::parse("azp"));
    settings
}

impl Identity {
    fn redirect_uri(&self, issuer: &IssuerSettings) -> String {
        format!("{}{}", self.settings.public_url, callback(issuer))
    }

    /// The issuers that humans can sign in at with a browser.
    pub fn browser_issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().filter(|issuer| issuer.browser().is_some()).map(|issuer| issuer.settings().url.as_str())
    }

    fn browser_issuer(&self, url: &str) -> Result<(&std::sync::Arc<Issuer>, &BrowserClient), Refusal> {
        let found = self.issuers.iter().find(|issuer| issuer.settings().url == url);
        found
            .and_then(|issuer| issuer.browser().map(|client| (issuer, client)))
            .ok_or_else(|| failed("nobody signs in at that issuer with a browser"))
    }

    /// The page of an issuer at which a human signs in for this attempt.
    ///
    /// # Errors
    /// The issuer is none of those for browsers, or cannot be reached.
    pub async fn sign_in_page(&self, issuer: &str, attempt: &Attempt, strength: &Strength) -> Result<String, Refusal> {
        let (issuer, client) = self.browser_issuer(issuer)?;
        let pages = issuer.pages().await?;
        let mut url = pages.authorization.url();
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, attempt.verifier.expose_secret().as_bytes()));
        url.query_pairs_mut()
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &client.client_id),
                ("redirect_uri", &self.redirect_uri(issuer.settings())),
            ])
            .extend_pairs([("scope", pages.scope(client).as_str()), ("state", &attempt.state), ("nonce", &attempt.nonce)])
            .extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
        if !strength.acr_values.is_empty() {
            url.query_pairs_mut().append_pair("acr_values", &strength.acr_values.join(" "));
        }
        if let Some(seconds) = strength.max_age_s {
            url.query_pairs_mut().append_pair("max_age", &seconds.to_string());
        }
        Ok(url.into())
    }

    /// The human whom an issuer's answer to this attempt names.
    ///
    /// # Errors
    /// The answer is of another issuer, or an error, or its code is worth nothing, or the ID token does not hold.
    pub async fn signed_in(&self, issuer: &str, attempt: &Attempt, answered: &Answered<'_>) -> Result<Person, Refusal> {
        let (issuer, client) = self.browser_issuer(issuer)?;
        let pages = issuer.pages().await?;
        // Not every issuer says in its answer who it is. The address by which it came back does: each has its own (RFC 9700, 4.4.2.2).
        if answered.path != callback(issuer.settings()) {
            return Err(failed("the answer came back by the address of another issuer"));
        }
        // RFC 9207: an answer of another issuer's is an attack, an error among them.
        match answered.issuer {
            Some(named) if named != issuer.settings().url => return Err(failed("the answer is of another issuer")),
            None if pages.names_itself => return Err(failed("the answer does not say which issuer it is of")),
            _ => {}
        }
        if let Some(error) = answered.error {
            let word: String = error.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
            return Err(failed(format!("the issuer says `{word}`")));
        }
        let code = answered.code.filter(|code| !code.is_empty() && code.len() <= CODE_MAX_BYTES);
        let code = code.ok_or_else(|| failed("the answer holds no code"))?;
        let redirect = self.redirect_uri(issuer.settings());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect),
            ("code_verifier", attempt.verifier.expose_secret()),
        ];
        if client.client_secret.is_none() {
            form.push(("client_id", &client.client_id));
        }
        let asked = issuer.fetcher.form(&pages.token, &client.client_id, client.client_secret.as_ref(), &form).await;
        let (status, bytes) = asked.map_err(|why| Refusal::new(Code::IssuerUnreachable).cause(why))?;
        if status >= 500 {
            return Err(Refusal::new(Code::IssuerUnreachable).cause(format!("its token endpoint answered {status}")));
        }
        let answer = strict::object(&bytes).filter(|_| status == 200).ok_or_else(|| failed("the issuer does not take the code"))?;
        let token = answer.get("id_token").and_then(Value::as_str).ok_or_else(|| failed("the issuer gave no ID token"))?;
        self.read_id_token(issuer, client, token, &attempt.nonce).await.map_err(|refusal| match refusal.code() {
            Code::InvalidToken | Code::TokenExpired => failed(format!("the ID token does not hold: {}", refusal.message())),
            _ => refusal,
        })
    }

    async fn read_id_token(
        &self,
        issuer: &std::sync::Arc<Issuer>,
        client: &BrowserClient,
        token: &str,
        nonce: &str,
    ) -> Result<Person, Refusal> {
        let invalid = |why: &str| Refusal::new(Code::InvalidToken).detail(why);
        if token.len() > super::TOKEN_MAX_BYTES {
            return Err(invalid("it is too long"));
        }
        let parts = Parts::of(token)?;
        if parts.header.typ.as_deref().is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) {
            return Err(invalid("its header's `typ` is not `JWT`"));
        }
        issuer.check_signature(&parts.header.alg, parts.header.kid.as_deref(), parts.message.as_bytes(), parts.signature).await?;
        let settings = for_id_tokens(issuer.settings());
        let (mcp, inbox) = self.audiences(issuer.settings());
        let skew = TimeDelta::from_std(self.settings.skew).unwrap_or_default();
        // Where the broker's client is the door's audience at the issuer (Entra ID), the two are one name and no mix-up.
        let others: Vec<&str> = [mcp, inbox].into_iter().filter(|other| *other != client.client_id).collect();
        let bench =
            Bench { issuer: &settings, audience: &client.client_id, others: &others, kind: Kind::Subject, skew, now: self.clock.now() };
        let raw = &parts.claims;
        let claims = judge(raw, &bench)?;
        let told = raw.get("nonce").and_then(Value::as_str).unwrap_or_default();
        if constant_time::verify_slices_are_equal(told.as_bytes(), nonce.as_bytes()).is_err() {
            return Err(invalid("its `nonce` is of another sign-in"));
        }
        let several = raw.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
        match raw.get("azp").map(Value::as_str) {
            Some(party) if party != Some(&client.client_id) => return Err(invalid("its `azp` is another client")),
            None if several => return Err(invalid("it is for several, and does not say for whom it was made")),
            _ => {}
        }
        Person::of_browser(settings.url, claims, &client.client_id)
    }

    /// The human of a session, from what [`Person::to_bytes`] kept, as long as their issuer and client are still trusted with it.
    ///
    /// # Errors
    /// They are not, or the bytes cannot be read.
    pub fn resumed(&self, bytes: &[u8], until: Timestamp) -> Result<Person, Refusal> {
        let person = Person::from_bytes(bytes, until).ok_or_else(|| Refusal::new(Code::SessionEnded))?;
        let (_, client) = self.browser_issuer(&person.human().issuer).map_err(|_| Refusal::new(Code::SessionEnded))?;
        if client.client_id == person.client() { Ok(person) } else { Err(Refusal::new(Code::SessionEnded)) }
    }

    /// The issuer's own page that ends a sign-in there (RP-Initiated Logout), where it has one and can be asked.
    pub async fn sign_out_page(&self, person: &Person) -> Option<String> {
        let (issuer, client) = self.browser_issuer(&person.human().issuer).ok()?;
        let mut url = issuer.pages().await.ok()?.end_session?.url();
        url.query_pairs_mut().append_pair("client_id", &client.client_id);
        Some(url.into())
    }

    /// What a human without a session is answered at the human's door.
    #[must_use]
    pub fn inbox_challenge(&self, refusal: Refusal) -> Challenge {
        Challenge::refused(self.place("inbox"), refusal)
    }

    /// What a human is answered whose sign-in is not strong or not fresh enough (RFC 9470).
    #[must_use]
    pub fn insufficient_authentication(&self, strength: &Strength, refusal: Refusal) -> Challenge {
        let quoted = |text: &str| text.replace(['"', '\\'], "'");
        let mut more = format!(", error=\"insufficient_user_authentication\", error_description=\"{}\"", quoted(&refusal.message()));
        if !strength.acr_values.is_empty() {
            more.push_str(&format!(", acr_values=\"{}\"", quoted(&strength.acr_values.join(" "))));
        }
        if let Some(seconds) = strength.max_age_s {
            more.push_str(&format!(", max_age=\"{seconds}\""));
        }
        Challenge::new(http::StatusCode::UNAUTHORIZED, self.place("inbox"), &more, refusal)
    }

    /// The broker's own address at which a human signs in with a browser, where there is any issuer for it.
    #[must_use]
    pub fn login_url(&self, issuer: Option<&str>, strength: &Strength) -> Option<String> {
        self.browser_issuers().next()?;
        let mut url = reqwest::Url::parse(&format!("{}/login", self.settings.public_url)).ok()?;
        let named = issuer.filter(|named| self.browser_issuers().any(|known| known == *named));
        if let Some(issuer) = named {
            url.query_pairs_mut().append_pair("issuer", issuer);
        }
        if !strength.acr_values.is_empty() {
            url.query_pairs_mut().append_pair("acr_values", &strength.acr_values.join(" "));
        }
        if let Some(seconds) = strength.max_age_s {
            url.query_pairs_mut().append_pair("max_age", &seconds.to_string());
        }
        Some(url.into())
    }
}
