//! `/login`, its way back, and `/logout`, for browsers.
//!
//! The way back ends in a small page that goes on by itself: a redirect would still be the issuer's navigation, along which no browser sends the
//! session's cookie (`SameSite=Strict`).

use std::sync::Arc;

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use maud::{DOCTYPE, html};
use serde::Deserialize;
use serde_json::json;

use crate::identity::Asker;
use crate::identity::browser::CALLBACK;
use crate::inbox::door::{from_own_page, session};
use crate::inbox::{Inbox, Problem};
use crate::refusal::{Code, Refusal};
use crate::session::{Stopped, Told, Wanted};

pub(super) fn routes() -> Router<Arc<Inbox>> {
    Router::new()
        .route("/login", get(begin))
        .route(CALLBACK, get(finish))
        .route(&format!("{CALLBACK}/{{issuer}}"), get(finish))
        .route("/logout", post(end))
}

/// `?issuer=…&return=/path&acr_values=…&max_age=…`, each as it is needed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    issuer: Option<String>,
    #[serde(rename = "return")]
    back: Option<String>,
    acr_values: Option<String>,
    max_age: Option<u32>,
}

/// What nobody else is to see: where the browser came from, and who frames the page.
const CLOSED: [(HeaderName, HeaderValue); 2] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'")),
];

/// A sign-in that came to nothing counts against the address: nobody makes the issuer's token endpoint busy through the broker.
fn stopped(stopped: Stopped) -> Response {
    let Stopped::Refused(refusal) = stopped else { return Problem::from(stopped).into_response() };
    let mut response = match refusal.code() {
        Code::SignInFailed => Problem::Refused(StatusCode::BAD_REQUEST, Box::new(refusal.clone())),
        _ => Problem::refused(refusal.clone()),
    }
    .into_response();
    response.extensions_mut().insert(Asker::Unknown(refusal));
    response
}

fn malformed(why: String) -> Response {
    Problem::refused(Refusal::new(Code::Malformed).detail(why)).into_response()
}

fn kept(mut response: Response, cookies: Vec<HeaderValue>) -> Response {
    response.headers_mut().extend(CLOSED);
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn begin(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let Query(asked) = match asked {
        Ok(asked) => asked,
        Err(rejection) => return malformed(rejection.body_text()),
    };
    let wanted = match Wanted::read(asked.issuer, asked.back.as_deref(), asked.acr_values.as_deref(), asked.max_age.map(u64::from)) {
        Ok(wanted) => wanted,
        Err(refusal) => return Problem::refused(refusal).into_response(),
    };
    match inbox.sessions.begin(wanted, &headers).await {
        Ok(Told { to, cookies }) => kept((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(), cookies),
        Err(problem) => stopped(problem),
    }
}

async fn finish(
    State(inbox): State<Arc<Inbox>>,
    uri: Uri,
    headers: HeaderMap,
    answer: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let Query(answer) = match answer {
        Ok(answer) => answer,
        Err(rejection) => return malformed(rejection.body_text()),
    };
    match inbox.sessions.finish(uri.path(), &answer, &headers).await {
        Ok(Told { to, cookies }) => kept(Html(onward(&to, "Signed in.")).into_response(), cookies),
        Err(problem) => stopped(problem),
    }
}

/// Has a browser go on to a path of this broker, as this broker's own doing.
pub(super) fn go_on(path: &str) -> Response {
    kept(Html(onward(path, "One moment.")).into_response(), Vec::new())
}

/// A page that goes on by itself.
fn onward(to: &str, said: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            meta charset="utf-8";
            title { "Countersign" }
            meta http-equiv="refresh" content=(format!("0;url={to}"));
            p { (said) " " a href=(to) { "Go on" } }
        }
    };
    page.into_string()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    csrf: Option<String>,
}

/// Signs out here, and says where to sign out at the issuer. Out of the layer's reach, because a plain form can say its word in a field alone.
async fn end(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, word: Result<Form<Word>, FormRejection>) -> Result<Response, Problem> {
    let session = session(&inbox, &headers).await?;
    let field = word.ok().and_then(|Form(word)| word.csrf);
    from_own_page(&inbox, &session, &headers, field.as_deref()).await?;
    let (page, cookie) = inbox.sessions.end(session).await?;
    let response = match (field, page) {
        // Not a redirect: a form's policy (`form-action`) would hold for that too, and forbid the issuer's page.
        (Some(_), page) => Html(onward(page.as_deref().unwrap_or("/approvals"), "Signed out.")).into_response(),
        (None, page) => Json(json!({ "signed_out": true, "issuer_logout_url": page })).into_response(),
    };
    Ok(kept(response, vec![cookie]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_cannot_leave_its_attribute() {
        let page = super::onward("/a?x=\"><script>'&y=1", "");
        assert!(page.contains("url=/a?x=&quot;&gt;&lt;script&gt;'&amp;y=1\"") && !page.contains("<script"), "{page}");
    }
}
