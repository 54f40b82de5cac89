//! The page of what waits: a table for each agent, so that a flood from one is seen as one, and nothing is decided from here.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};

use crate::approval::{Listed, State, View};
use crate::clock::{Timestamp, rfc3339};
use crate::inbox::approvals::{STATES, Which, alike, visible};
use crate::inbox::page::{page, problem, signed_in};
use crate::inbox::{Inbox, Problem};
use crate::inert::inert;

/// Answers with the page of a list.
pub(crate) async fn list(inbox: &Inbox, headers: &HeaderMap, which: Result<Which, Problem>) -> Response {
    let session = match signed_in(inbox, headers, "/approvals").await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let listed = match which {
        Ok(which) => visible(inbox, &session.person, &which).await.map(|views| (which, views)),
        Err(found) => Err(found),
    };
    let (which, Listed { views, before }) = match listed {
        Ok(listed) => listed,
        Err(found) => return problem(found, Some(&session), "/approvals"),
    };
    let wanted = which.state();
    let title = match views.len() {
        count if before.is_some() => format!("{count} requests ({wanted}), and older ones"),
        count if wanted != State::Pending.as_str() => format!("{count} requests ({wanted})"),
        0 => "Nothing waits for you".to_owned(),
        1 => "1 request waits".to_owned(),
        many => format!("{many} requests wait"),
    };
    let content = html! {
        h1 { (title) }
        nav aria-label="Which requests" {
            @for state in STATES {
                @let is_here = state == wanted;
                a href=(format!("/approvals?state={state}")) aria-current=[is_here.then_some("page")] { (state) }
            }
        }
        (tables(&views, inbox.clock.now()))
        @if let Some(before) = &before {
            p { a href=(format!("/approvals?state={wanted}&before={before}")) { "Older requests" } }
        }
    };
    page(StatusCode::OK, &title, Some(&session), &content)
}

fn tables(views: &[View], now: Timestamp) -> Markup {
    let mut by_agent: BTreeMap<(&str, &str), Vec<&View>> = BTreeMap::new();
    for view in views {
        by_agent.entry((&view.filed.agent.id, &view.filed.agent.issuer)).or_default().push(view);
    }
    html! {
        @for ((agent, issuer), views) in by_agent {
            section {
                h2 { (inert(agent)) ": " (views.len()) @if views.len() == 1 { " request" } @else { " requests" } }
                p.hint { "an agent of " (inert(issuer)) }
                div.wide tabindex="0" role="group" aria-label=(format!("Requests of {}", inert(agent))) {
                    table.cards {
                        thead { tr {
                            @for title in ["Risk", "State", "For", "Target", "What", "Asked", "Expires"] { th scope="col" { (title) } }
                        } }
                        tbody {
                            @for group in views.chunk_by(|one, next| alike(one) == alike(next)) {
                                @if group.len() > 1 { tr.alike { td colspan="7" { (group.len()) " alike: they differ in nothing but values, and each is decided by itself" } } }
                                @for view in group { (row(view, now)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(view: &View, now: Timestamp) -> Markup {
    let filed = &view.filed;
    let target = filed.target.as_ref().map_or_else(|| "-".to_owned(), |(name, _, environment)| format!("{name} ({environment})"));
    let (risk, state) = (filed.subject().risk.as_str(), view.state_at(now).as_str());
    html! {
        tr {
            td data-label="Risk" { span class=(format!("risk {risk}")) { (risk) } }
            td data-label="State" { (state) }
            td data-label="For" { (inert(&filed.human.id)) }
            td data-label="Target" { (inert(&target)) }
            td.what data-label="What" { a.mono href=(format!("/approvals/{}", filed.id)) { (filed.gist()) } }
            td.time data-label="Asked" { (short(&rfc3339(filed.asked_at))) }
            td.time data-label="Expires" { (short(&rfc3339(filed.expires_at()))) }
        }
    }
}

/// A time without the parts of a second.
fn short(time: &str) -> String {
    let whole = time.split('.').next().unwrap_or(time).trim_end_matches('Z');
    format!("{} UTC", whole.replace('T', " "))
}
