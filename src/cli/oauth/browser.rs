//! Authorization code with PKCE, answered on a loopback port (RFC 8252): for a human with a browser on this machine.
//!
//! The port is random, lives for five minutes at most, and takes one answer: the one with the `state` that was made for it. The code in it is
//! worth nothing without the verifier, which never leaves this process but to the issuer.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::cli::oauth::metadata::Issuer;
use crate::cli::oauth::tokens::{Granted, request};
use crate::cli::oauth::{Asked, random};
use crate::cli::output::{inert, prompt};

/// How long the human may take.
const WAIT: Duration = Duration::from_secs(300);
/// How long the browser may take to read the last page.
const FAREWELL: Duration = Duration::from_secs(2);

/// Signs in by a browser on this machine.
pub(in crate::cli) async fn sign_in(asked: &Asked<'_>) -> Result<Granted, Failure> {
    let issuer = asked.issuer;
    let endpoint = issuer.authorization.as_ref().ok_or_else(|| {
        Failure::Usage(format!("the issuer `{}` has no authorization code flow with S256; sign in with --device", inert(&issuer.url)))
    })?;
    let unready = |error: std::io::Error| Failure::Unreachable(format!("failed to listen on loopback: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(unready)?;
    let redirect = format!("http://127.0.0.1:{}/callback", listener.local_addr().map_err(unready)?.port());
    let (state, verifier) = (random()?, Zeroizing::new(format!("{}{}", random()?, random()?)));
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .extend_pairs([("response_type", "code"), ("redirect_uri", &redirect), ("state", &state)])
        .extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")])
        .extend_pairs(asked.form());
    prompt(&format!("To sign in, open {url}"));
    if asked.browser {
        open(&url);
    }
    let code = answer(listener, state, issuer).await?;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &redirect),
        ("client_id", asked.client),
        ("code_verifier", &verifier),
        ("resource", asked.resource),
    ];
    request(asked.http, issuer, &form).await?.map_err(|refused| refused.failure(issuer))
}

/// Members of an answer's query, each at most once.
struct Answer(Vec<(String, String)>);

impl Answer {
    fn parse(query: &str) -> Option<Self> {
        let url = Url::parse(&format!("http://127.0.0.1/?{query}")).ok()?;
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let twice = pairs.iter().enumerate().any(|(at, (name, _))| pairs.iter().skip(at + 1).any(|(other, _)| other == name));
        (!twice).then_some(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The code, if this issuer gave one.
    fn code(&self, issuer: &Issuer) -> Result<Zeroizing<String>, Failure> {
        // RFC 9207: an answer of another issuer's is an attack, an error among them.
        match self.get("iss") {
            Some(iss) if iss != issuer.url => return Err(Failure::Negative("the answer came from another issuer".to_owned())),
            None if issuer.names_itself => return Err(Failure::Negative("the answer does not say which issuer it is from".to_owned())),
            _ => {}
        }
        if let Some(error) = self.get("error") {
            let why = self.get("error_description").unwrap_or_default();
            return Err(Failure::Negative(format!("the sign-in was refused ({}) {}", inert(error), inert(why)).trim_end().to_owned()));
        }
        let code = self.get("code").filter(|code| !code.is_empty());
        code.map(|code| Zeroizing::new(code.to_owned())).ok_or_else(|| Failure::Negative("the answer holds no code".to_owned()))
    }
}

struct Waiting {
    state: String,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

/// Waits for the one answer with the right `state`.
async fn answer(listener: TcpListener, state: String, issuer: &Issuer) -> Result<Zeroizing<String>, Failure> {
    let (answer, answered) = oneshot::channel();
    let waiting = Arc::new(Waiting { state, answer: Mutex::new(Some(answer)) });
    let over = CancellationToken::new();
    let router = Router::new().route("/callback", get(callback)).with_state(waiting);
    let serving = axum::serve(listener, router).with_graceful_shutdown(over.clone().cancelled_owned());
    let serving = tokio::spawn(async move { serving.await });
    let answered = tokio::time::timeout(WAIT, answered).await;
    over.cancel();
    let abort = serving.abort_handle();
    if tokio::time::timeout(FAREWELL, serving).await.is_err() {
        abort.abort();
    }
    match answered {
        Ok(Ok(answer)) => answer.code(issuer),
        _ => Err(Failure::Negative("nobody signed in in time: sign in again".to_owned())),
    }
}

async fn callback(State(waiting): State<Arc<Waiting>>, RawQuery(query): RawQuery) -> (StatusCode, &'static str) {
    let answer = query.as_deref().and_then(Answer::parse);
    let Some(answer) = answer.filter(|answer| answer.get("state") == Some(waiting.state.as_str())) else {
        return (StatusCode::BAD_REQUEST, "This is not the answer that was waited for.\n");
    };
    let Some(sender) = waiting.answer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return (StatusCode::GONE, "The answer has been taken already.\n");
    };
    match sender.send(answer) {
        Ok(()) => (StatusCode::OK, "Countersign has the answer. You may close this page.\n"),
        Err(_) => (StatusCode::GONE, "Nobody waits for the answer any more.\n"),
    }
}

/// Opens a page where there is a desktop to open it on; else the human has the address.
pub(super) fn open(url: &Url) {
    if !has_desktop() {
        return;
    }
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opening = Command::new(program).arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Ok(mut child) = opening {
        // Waited for elsewhere, so that a process that lives long keeps no dead child.
        drop(std::thread::spawn(move || child.wait()));
    }
}

/// Whether a browser can be expected on this machine.
pub(in crate::cli) fn has_desktop() -> bool {
    cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(names_itself: bool) -> Issuer {
        Issuer {
            url: "https://idp.example.com".to_owned(),
            token: Url::parse("https://idp.example.com/token").unwrap(),
            authorization: None,
            device: None,
            revocation: None,
            names_itself,
            own_scopes: Vec::new(),
        }
    }

    #[test]
    fn an_answer_is_taken_from_its_issuer_alone() {
        let judged = |query: &str, names_itself| Answer::parse(query).unwrap().code(&issuer(names_itself)).map(|code| code.to_string());
        assert_eq!(judged("code=a&iss=https%3A%2F%2Fidp.example.com", true).unwrap(), "a");
        assert_eq!(judged("code=a", false).unwrap(), "a");
        for (query, names_itself) in [
            ("code=a", true),
            ("code=a&iss=https%3A%2F%2Fevil.example", false),
            ("error=access_denied&code=a", false),
            ("code=", false),
            ("state=x", false),
        ] {
            assert!(judged(query, names_itself).is_err(), "{query}");
        }
        assert!(Answer::parse("code=a&code=b").is_none(), "a name that stands twice");
    }

    #[tokio::test]
    async fn one_answer_with_the_right_state() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let waiting = tokio::spawn(async move { answer(listener, "right".to_owned(), &issuer(false)).await });
        let ask = async |path: &str| reqwest::get(format!("{base}{path}")).await.unwrap().status().as_u16();
        assert_eq!(ask("/favicon.ico").await, 404);
        assert_eq!(ask("/callback").await, 400);
        assert_eq!(ask("/callback?code=evil&state=wrong").await, 400);
        assert_eq!(ask("/callback?code=evil&state=right&state=wrong").await, 400);
        assert_eq!(ask("/callback?code=good&state=right").await, 200);
        assert_eq!(waiting.await.unwrap().unwrap().as_str(), "good");
        assert!(reqwest::get(format!("{base}/callback?code=late&state=right")).await.is_err(), "the port is closed");
    }
}
