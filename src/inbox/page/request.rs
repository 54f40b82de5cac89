//! The page of one request: all that its approver is shown, and the form that decides exactly that.
//!
//! The form says back what was shown (`mark`): if a vote came in between, nothing is decided and the page shows the request as it is now. Whoever may
//! not decide has no buttons, and reads why; the Desk judges every decision all the same.

use std::collections::BTreeMap;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;

use crate::approval::{Decision, Filed, Part, Scope, Section, Stance, State, View};
use crate::id::ApprovalId;
use crate::inbox::approvals::{Verdict, approval_id, seen};
use crate::inbox::door::{Action, demand};
use crate::inbox::page::{page, problem, reach, said, signed_in};
use crate::inbox::{Inbox, Problem};
use crate::inert::inert;
use crate::refusal::{Code, Refusal};
use crate::session::Session;

/// What the form says; the session's word, the layer has read.
#[derive(Debug, Deserialize)]
struct Filled {
    decision: Verdict,
    #[serde(default)]
    reason: String,
    mark: String,
    #[serde(rename = "csrf")]
    _csrf: String,
    /// How far it reaches; `reach` reads it, and refuses what is none of its fields.
    #[serde(flatten)]
    reach: BTreeMap<String, String>,
}

/// Why the page is shown once more, and what had been written.
#[derive(Default)]
struct Again {
    refusal: Option<Refusal>,
    reason: String,
}

/// Answers with the page of a request.
pub(crate) async fn show(inbox: &Inbox, headers: &HeaderMap, id: &str) -> Response {
    // Only what is an id may stand in an address.
    let id = approval_id(id);
    let back = id.as_ref().map_or_else(|_| "/approvals".to_owned(), |id| format!("/approvals/{id}"));
    let session = match signed_in(inbox, headers, &back).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    match id {
        Ok(id) => shown(inbox, &session, &id, StatusCode::OK, Again::default()).await,
        Err(refusal) => problem(Problem::refused(refusal), Some(&session), &back),
    }
}

/// Decides as the form says, and leads back to the page.
pub(crate) async fn decide(inbox: &Inbox, id: &str, request: Request) -> Response {
    let id = approval_id(id);
    let back = id.as_ref().map_or_else(|_| "/approvals".to_owned(), |id| format!("/approvals/{id}"));
    let session = match signed_in(inbox, request.headers(), &back).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let filled = Form::<Filled>::from_request(request, &()).await;
    match decided(inbox, &session, id, filled).await {
        Ok(response) => response,
        Err(found) => problem(found, Some(&session), &back),
    }
}

async fn decided(
    inbox: &Inbox,
    session: &Session,
    id: Result<ApprovalId, Refusal>,
    filled: Result<Form<Filled>, FormRejection>,
) -> Result<Response, Problem> {
    let person = &session.person;
    let id = match id {
        Ok(id) => id,
        Err(refusal) => return Err(Problem::refused(inbox.desk.turned_away(person, None, refusal).await?)),
    };
    let filled = match filled {
        Ok(Form(filled)) => filled,
        Err(rejection) => {
            let refusal = Refusal::new(Code::Malformed).detail(format!("the form is not one of this page: {}", rejection.body_text()));
            return Err(Problem::refused(inbox.desk.turned_away(person, Some(&id), refusal).await?));
        }
    };
    let approve = matches!(filled.decision, Verdict::Approve);
    if approve {
        demand(inbox, person, Action::Approve).await?;
    }
    // A denial grants nothing, whatever stands in those fields.
    let chosen = if approve { chosen(inbox, session, &id, &filled).await? } else { Ok(None) };
    let scope = match chosen {
        Ok(scope) => scope,
        Err(refusal) => {
            let refusal = inbox.desk.turned_away(person, Some(&id), refusal).await?;
            let again = Again { refusal: Some(refusal), reason: filled.reason };
            return Ok(shown(inbox, session, &id, StatusCode::BAD_REQUEST, again).await);
        }
    };
    let decision = Decision { approve, reason: Some(filled.reason.clone()), scope, mark: Some(filled.mark) };
    Ok(match inbox.desk.decide(person, &id, decision, &*inbox.policy).await? {
        // Not again, when the page is loaded again.
        Ok(_) => (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/approvals/{id}"))]).into_response(),
        Err(refusal) => {
            let status = Problem::refused(refusal.clone()).status();
            shown(inbox, session, &id, status, Again { refusal: Some(refusal), reason: filled.reason }).await
        }
    })
}

/// What is granted beyond the call, or of the access that was asked for, as the form says.
async fn chosen(inbox: &Inbox, session: &Session, id: &ApprovalId, filled: &Filled) -> Result<Result<Option<Scope>, Refusal>, Problem> {
    let filed = inbox.desk.show(&session.person, id, &*inbox.policy).await?.map(|view| view.filed);
    Ok(match filed.as_ref().and_then(|filed| filed.offer.as_ref().map(|offer| (filed.is_access(), offer))) {
        Some((is_access, offer)) => reach::wanted(&filled.reach, offer, is_access),
        None if reach::is_blank(&filled.reach) => Ok(None),
        None => Err(Refusal::new(Code::Malformed).detail("no policy allows a grant beyond this very call")),
    })
}

async fn shown(inbox: &Inbox, session: &Session, id: &ApprovalId, status: StatusCode, again: Again) -> Response {
    let found = async {
        let view = seen(inbox, &session.person, id).await?;
        let sight = inbox.desk.sight(&view).await?;
        Ok::<_, Problem>((view, sight))
    };
    let (view, sight) = match found.await {
        Ok(found) => found,
        Err(found) => return problem(found, Some(session), &format!("/approvals/{id}")),
    };
    let state = view.state_at(inbox.clock.now());
    let stance = inbox.desk.stance(&session.person, &view, &*inbox.policy);
    let content = html! {
        p { a href="/approvals" { "All that waits" } }
        h1 { (sight.headline) }
        p { span class=(format!("state {}", state.as_str())) { (state.as_str()) } " " span.mono { (id) } }
        @if let Some(refusal) = &again.refusal { section.alert role="alert" { (said(refusal)) } }
        @for section in &sight.sections { (described(section)) }
        (deciding(session, &view, state, &stance, &again))
    };
    page(status, &sight.headline, Some(session), &content)
}

fn described(section: &Section) -> Markup {
    html! {
        section class=[section.is_unverified.then_some("unverified")] {
            h2 { (section.title) }
            @for parts in section.parts.chunk_by(|one, next| matches!((one, next), (Part::Fact { .. }, Part::Fact { .. }))) { (pieces(parts)) }
            @for note in &section.notes { p.note { (note) } }
        }
    }
}

/// Facts that follow each other as one list; anything else by itself.
fn pieces(parts: &[Part]) -> Markup {
    let facts = parts.iter().filter_map(|part| match part {
        Part::Fact { label, text } => Some((label, text)),
        Part::Block { .. } | Part::Table { .. } => None,
    });
    match parts.first() {
        Some(Part::Block { label, text }) => html! { h3 { (label) } pre { (text) } },
        Some(Part::Table { label, heading, rows }) => html! {
            h3 { (label) }
            div.wide tabindex="0" role="group" aria-label=(label) {
                table {
                    thead { tr { @for title in heading { th scope="col" { (title) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        },
        _ => html! { dl { @for (label, text) in facts { dt { (label) } dd { (text) } } } },
    }
}

/// The form, with the buttons that would do something; else why there are none.
fn deciding(session: &Session, view: &View, state: State, stance: &Stance, again: &Again) -> Markup {
    let filed = &view.filed;
    if state != State::Pending {
        return html! { section { h2 { "Where it stands" } p { (stands(state)) } } };
    }
    let (approve, deny) = (stance.approve.is_ok(), stance.deny.is_ok());
    html! {
        section {
            h2 { "Your decision" }
            @if let Err(refusal) = &stance.approve { p { "You cannot approve this: " (inert(&refusal.message())) "." } p.hint { (refusal.advice()) } }
            @if approve || deny {
                form method="post" action=(format!("/approvals/{}/decision", filed.id)) autocomplete="off" {
                    input type="hidden" name="csrf" value=(session.csrf());
                    input type="hidden" name="mark" value=(view.mark());
                    label for="reason" { @if filed.justification { "Justification (required)" } @else { "Reason (required to deny)" } }
                    textarea id="reason" name="reason" maxlength="2000" required[filed.justification] aria-describedby="reason-hint" {
                        (again.reason)
                    }
                    p.hint id="reason-hint" { "It goes on record. The agent is told why a call was denied." }
                    @if let (true, Some(offer)) = (approve, &filed.offer) { (reach::fields(filed.is_access(), offer)) }
                    div.buttons {
                        @if approve { button.approve type="submit" name="decision" value="approve" { (approves(filed)) } }
                        @if deny { button.deny type="submit" name="decision" value="deny" { "Deny" } }
                    }
                }
            }
        }
    }
}

fn approves(filed: &Filed) -> String {
    match (filed.quorum, filed.grant_most) {
        (2.., _) => format!("Approve, as one of {}", filed.quorum),
        (_, Some(_)) => "Approve".to_owned(),
        (_, None) => "Approve this call, once".to_owned(),
    }
}

const fn stands(state: State) -> &'static str {
    match state {
        State::Pending => "It waits for a human.",
        State::Approved => "It was approved: the agent may make exactly this call, once, until the time above.",
        State::Granted => {
            "It was granted: the agent may make calls within what stands above, until the time above or until they are used up."
        }
        State::Withdrawn => "The agent withdrew it: it is not wanted any more.",
        State::Revoked => "It was approved, and a human took that back.",
        State::Denied => "It was denied, and the agent was told why.",
        State::Expired => "Nobody decided in time, or it was not used in time. If it is still wanted, the agent asks anew.",
        State::Spent => "It was approved and has been used.",
    }
}
