//! Who is asking at the human's door, and whether they signed in well enough for what they ask: the one place for both.
//!
//! A token in `Authorization` counts alone; else a browser's session. With a session comes the danger that another site's page made the browser
//! ask, so every request that could change something must name an `Origin` of this broker (which ones those are, the server has judged) and say
//! the session's own word, in a header or in a form's field. That is a layer around all routes: no handler can forget it.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Form, FromRequest, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, Method, header};
use serde_json::{Map, Value};

use crate::identity::{ClientCertificate, Person, Presented, Strength};
use crate::inbox::{Inbox, Problem, page};
use crate::refusal::{Code, Refusal};
use crate::session::{Session, Stopped};

/// Where a page says its session's word.
pub(super) const CSRF: HeaderName = HeaderName::from_static("x-countersign-csrf");

/// The largest form: a reason of 2,000 bytes, each written as three, and what is around it.
const FORM_MAX_BYTES: usize = 16 * 1024;

/// What a configuration may demand a better sign-in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Letting a call go ahead.
    Approve,
    /// Reading the trail.
    Review,
    /// Registering an agent, and letting it work again.
    Manage,
    /// Lending to an agent.
    Delegate,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Review, Self::Manage, Self::Delegate];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Review => "review",
            Self::Manage => "manage",
            Self::Delegate => "delegate",
        }
    }

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

tokio::task_local! {
    /// How the request that is being answered came. Handlers hand on headers, as they must; what a proof of possession speaks of beside them is here,
    /// so that none can hand on another's. Where nothing is here, no proof holds.
    static CAME: Came;
}

/// What a proof of possession is about.
#[derive(Debug, Clone, Default)]
struct Came {
    method: Method,
    path: String,
    certificate: Option<ClientCertificate>,
}

/// The layer: remembers how a request came as long as it is answered.
pub(super) async fn came(request: Request, next: Next) -> Response {
    let came = Came {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        certificate: request.extensions().get::<ClientCertificate>().cloned(),
    };
    CAME.scope(came, next.run(request)).await
}

/// Who asks, and by which session, if it is one.
pub(super) enum Caller {
    /// By a token.
    Token(Person),
    /// By a browser's session.
    Session(Session),
}

/// Whether a request stands on a browser's session: it has one, and no token.
fn is_session(inbox: &Inbox, headers: &HeaderMap) -> bool {
    !headers.contains_key(header::AUTHORIZATION) && inbox.sessions.is_shown(headers)
}

pub(super) async fn caller(inbox: &Inbox, headers: &HeaderMap) -> Result<Caller, Problem> {
    if is_session(inbox, headers) {
        return session(inbox, headers).await.map(Caller::Session);
    }
    let came = CAME.try_with(Clone::clone).unwrap_or_default();
    let presented = Presented { headers, method: came.method, certificate: came.certificate.as_ref() };
    let person = inbox.identity.person(presented, &came.path).await.map_err(|challenge| Problem::Challenge(Box::new(challenge)))?;
    inbox.desk.met(&person).await?;
    Ok(Caller::Token(person))
}

pub(super) async fn session(inbox: &Inbox, headers: &HeaderMap) -> Result<Session, Problem> {
    let session = inbox.sessions.resume(headers).await.map_err(|stopped| match stopped {
        Stopped::Refused(refusal) => {
            Problem::SignIn(Box::new(inbox.identity.inbox_challenge(refusal)), login_url(inbox, None, &Strength::default()))
        }
        Stopped::Unavailable(error) => error.into(),
    })?;
    inbox.desk.met(&session.person).await?;
    Ok(session)
}

/// The human of a request, for what demands no more than that.
pub(super) async fn person(inbox: &Inbox, headers: &HeaderMap) -> Result<Person, Problem> {
    match caller(inbox, headers).await? {
        Caller::Token(person) => Ok(person),
        Caller::Session(session) => Ok(session.person),
    }
}

/// The human of a request, signed in well enough for an action.
pub(super) async fn person_for(inbox: &Inbox, headers: &HeaderMap, action: Action) -> Result<Person, Problem> {
    let person = person(inbox, headers).await?;
    demand(inbox, &person, action).await?;
    Ok(person)
}

/// Whether a human signed in well enough for an action; if not, that is on record before it is said.
pub(super) async fn demand(inbox: &Inbox, person: &Person, action: Action) -> Result<(), Problem> {
    let now = inbox.clock.now();
    let found = inbox.step_up.iter().filter(|step_up| step_up.action == action);
    for step_up in found {
        let Some(lacks) = step_up.lacks(person.sign_in(), now) else { continue };
        let refusal = Refusal::new(Code::StepUpRequired).detail(lacks);
        inbox.audit.refuse_person(person, action.as_str(), &refusal).await?;
        let strength = step_up.strength();
        let mut more = login_url(inbox, Some(&person.human().issuer), &strength);
        if !strength.acr_values.is_empty() {
            more.insert("acr_values".to_owned(), Value::from(strength.acr_values.join(" ")));
        }
        more.extend(strength.max_age_s.map(|seconds| ("max_age".to_owned(), Value::from(seconds))));
        return Err(Problem::SignIn(Box::new(inbox.identity.insufficient_authentication(&strength, refusal)), more));
    }
    Ok(())
}

fn login_url(inbox: &Inbox, issuer: Option<&str>, strength: &Strength) -> Map<String, Value> {
    inbox.identity.login_url(issuer, strength).map(|url| ("login_url".to_owned(), Value::from(url))).into_iter().collect()
}

/// The layer: a change by a session comes from a page of this broker, or not at all.
pub(super) async fn own_page(State(inbox): State<Arc<Inbox>>, request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read || !is_session(&inbox, request.headers()) {
        return next.run(request).await;
    }
    let (is_page, back) = (page::is_wanted(request.headers()), "/approvals");
    let refused = |problem: Problem, session| if is_page { page::problem(problem, session, back) } else { problem.into_response() };
    let session = match session(&inbox, request.headers()).await {
        Ok(session) => session,
        Err(problem) => return refused(problem, None),
    };
    let judged = match said(request).await {
        Ok((request, word)) => from_own_page(&inbox, &session, request.headers(), word.as_deref()).await.map(|()| request),
        Err(refusal) => Err(Problem::refused(refusal)),
    };
    match judged {
        Ok(request) => next.run(request).await,
        Err(problem) => refused(problem, Some(&session)),
    }
}

/// The word that a plain form says in a field, for it cannot set a header; and the request, whole.
async fn said(request: Request) -> Result<(Request, Option<String>), Refusal> {
    let is_form = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, FORM_MAX_BYTES)
        .await
        .map_err(|_| Refusal::new(Code::TooLarge).detail(format!("a form has at most {FORM_MAX_BYTES} bytes")))?;
    let copy = Request::from_parts(parts.clone(), Body::from(body.clone()));
    let fields = Form::<Vec<(String, String)>>::from_request(copy, &()).await.map(|Form(fields)| fields).unwrap_or_default();
    // Two words are none.
    let mut words = fields.into_iter().filter(|(name, _)| name == "csrf").map(|(_, word)| word);
    let word = words.next().filter(|_| words.next().is_none());
    Ok((Request::from_parts(parts, Body::from(body)), word))
}

/// Whether a change came from a page of this broker; if not, that is on record before it is said.
pub(super) async fn from_own_page(inbox: &Inbox, session: &Session, headers: &HeaderMap, field: Option<&str>) -> Result<(), Problem> {
    // A foreign one, the server has turned away.
    let why = if !headers.contains_key(header::ORIGIN) {
        "it has no Origin header"
    } else if !headers.get(CSRF).and_then(|value| value.to_str().ok()).or(field).is_some_and(|said| session.has_csrf(said)) {
        "the session's own word is missing or another"
    } else {
        return Ok(());
    };
    let refusal = Refusal::new(Code::BadCsrf).detail(why);
    inbox.audit.refuse_person(&session.person, "change", &refusal).await?;
    Err(Problem::refused(refusal))
}
