//! The human's door as pages for a browser: the same addresses, for whoever asks for HTML by a session.
//!
//! A page is made here whole: no script, nothing from elsewhere, and a policy that forbids both. Every text is escaped by the template (`maud`), which
//! no page can forget, and what was hidden in it is written out before. A page changes nothing by being looked at.

mod reach;
mod request;
mod waiting;

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::identity::Asker;
use crate::inbox::door::session;
use crate::inbox::{Inbox, Problem};
use crate::inert::inert;
use crate::refusal::{Code, Refusal};
use crate::session::Session;

pub(super) use request::{decide, show};
pub(super) use waiting::list;

const STYLE: &str = include_str!("page.css");

/// Nothing but the one style, and forms that go nowhere else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"))
});

/// Where a browser says from where it was led here.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// On an answer that nobody had to be anybody for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForAnybody;

/// Whether a page is wanted: HTML is, and no token is shown.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    !headers.contains_key(header::AUTHORIZATION)
        && ranges.any(|range| range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case("text/html")))
}

/// A page around its content, for whom it is.
fn page(status: StatusCode, title: &str, session: Option<&Session>, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Countersign" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    a href="/approvals" { "Countersign" }
                    @if let Some(session) = session {
                        span { (inert(&session.person.human().subject)) }
                        form method="post" action="/logout" autocomplete="off" {
                            input type="hidden" name="csrf" value=(session.csrf());
                            button.plain type="submit" { "Sign out" }
                        }
                    }
                }
                main { (content) }
            }
        }
    };
    let mut response = (status, Html(page.into_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    // Nobody else learns of an address here. `no-referrer` would also have browsers leave the Origin out of this page's own forms.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// What was the matter, in words, with what to do.
pub(super) fn problem(problem: Problem, session: Option<&Session>, back: &str) -> Response {
    let refusal = problem.refusal().clone();
    let login = problem.login_url().map(|url| and_back(&url, back));
    let told = problem.into_response();
    let title = if told.status() == StatusCode::NOT_FOUND { "Nothing here" } else { "That did not go through" };
    let content = html! {
        h1 { (title) }
        section.alert role="alert" { (said(&refusal)) }
        @if let Some(login) = login { p { a href=(login) { "Sign in again" } } }
        p { a href="/approvals" { "What waits for you" } }
    };
    let mut response = page(told.status(), title, session, &content);
    // What the layers outside read of it, and what HTTP demands beside the status.
    response.extensions_mut().extend(told.extensions().clone());
    response.headers_mut().extend(told.headers().get(header::WWW_AUTHENTICATE).map(|value| (header::WWW_AUTHENTICATE, value.clone())));
    response
}

/// A refusal in words.
fn said(refusal: &Refusal) -> Markup {
    html! {
        p { strong { (inert(&refusal.message())) } }
        p { (refusal.advice()) " " span.mono { "(" (refusal.code().as_str()) ")" } }
    }
}

/// An address for signing in, that leads back here.
fn and_back(login: &str, back: &str) -> String {
    let joint = if login.contains('?') { '&' } else { '?' };
    let back: String = reqwest::Url::parse_with_params("https://x/", [("return", back)])
        .ok()
        .and_then(|url| url.query().map(ToOwned::to_owned))
        .unwrap_or_default();
    format!("{login}{joint}{back}")
}

/// The session of a request for a page, or the way to one.
async fn signed_in(inbox: &Inbox, headers: &HeaderMap, back: &str) -> Result<Session, Response> {
    let is_shown = inbox.sessions.is_shown(headers);
    if !is_shown && headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") {
        // A link elsewhere led here, so the browser kept the session's cookie to itself: it comes again by this page's own doing.
        let mut response = super::login::go_on(back);
        response.extensions_mut().insert(ForAnybody);
        return Err(response);
    }
    match session(inbox, headers).await {
        Ok(session) => Ok(session),
        Err(found) if found.refusal().code() == Code::SessionEnded => {
            let mut response = sign_in(inbox, back);
            if is_shown {
                response.extensions_mut().insert(Asker::Unknown(found.refusal().clone()));
            }
            Err(response)
        }
        Err(found) => Err(problem(found, None, back)),
    }
}

/// Where to sign in: there, or at which of several.
fn sign_in(inbox: &Inbox, back: &str) -> Response {
    let issuers: Vec<&str> = inbox.identity.browser_issuers().collect();
    let login = |issuer: &str| {
        let url = reqwest::Url::parse_with_params("https://x/login", [("issuer", issuer)]).ok();
        and_back(&url.map(|url| format!("/login?{}", url.query().unwrap_or_default())).unwrap_or_default(), back)
    };
    match issuers.as_slice() {
        [_] => (StatusCode::SEE_OTHER, [(header::LOCATION, and_back("/login", back))]).into_response(),
        [] => page(
            StatusCode::UNAUTHORIZED,
            "Sign in",
            None,
            &html! {
                h1 { "Nobody signs in here with a browser" }
                p { "This broker has no issuer for browsers: the operator sets [issuer.browser]. On the command line: " span.mono { "countersign approvals list" } "." }
            },
        ),
        several => page(
            StatusCode::UNAUTHORIZED,
            "Sign in",
            None,
            &html! {
                h1 { "Sign in" }
                ul { @for issuer in several { li { a href=(login(issuer)) { (inert(issuer)) } } } }
            },
        ),
    }
}
