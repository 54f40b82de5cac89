//! Slack's buttons: `POST /channels/slack/{channel}/interactions`.
//!
//! A click is the word of Slack for one of its users, of the configured workspace and app; the configuration says which human that is. Whoever is not on
//! its list, and whatever cannot be decided by a click (a step-up wants a better sign-in), is led to the page. A reason is what stands in the message's
//! field. What came of it, Slack shows only when it is posted to the click's own `response_url`, which leads to Slack's host or is not used.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Path, Request, State};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::Decision;
use crate::id::ApprovalId;
use crate::identity::{Testimony, Voucher};
use crate::inbox::words::{answered, decide, in_vain, take};
use crate::inbox::{Inbox, Problem};
use crate::notice::{APPROVE, DENY, Interactions, Kind, REASON, Slack, Undelivered, escaped};
use crate::refusal::{Code, Refusal};

/// What Slack posts, a form with JSON in it; what is of no use here is left alone.
#[derive(Debug, Deserialize)]
struct Posted {
    payload: String,
}

#[derive(Debug, Deserialize)]
struct Click {
    #[serde(rename = "type")]
    kind: String,
    team: Named,
    user: Named,
    api_app_id: String,
    #[serde(default)]
    actions: Vec<Act>,
    response_url: Option<String>,
    /// What stands in the message's fields.
    #[serde(default)]
    state: Value,
}

impl Click {
    /// The reason, where one was written.
    fn reason(&self) -> Option<&str> {
        let (block, element) = REASON;
        let written = self.state.get("values")?.get(block)?.get(element)?.get("value")?.as_str()?.trim();
        (!written.is_empty()).then_some(written)
    }
}

#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Act {
    action_id: String,
    value: Option<String>,
}

/// The longest that telling the one who clicked may take: Slack waits three seconds for the whole.
const ANSWER: Duration = Duration::from_secs(2);

fn interactions<'a>(inbox: &'a Inbox, name: &str) -> Option<(&'a Slack, &'a Interactions)> {
    match &inbox.outbox.channel(name)?.kind {
        Kind::Slack(slack) => slack.interactions.as_ref().map(|known| (slack, known)),
        _ => None,
    }
}

pub(super) async fn clicked(
    State(inbox): State<Arc<Inbox>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let invalid = |why: &str| Refusal::new(Code::InvalidSignature).detail(why);
    // Whether there is such a channel, a stranger is not told.
    let (slack, known) = interactions(&inbox, &name).ok_or_else(|| {
        Problem::Stranger(invalid("the signature is not good").cause("no channel of this name in the address has buttons"))
    })?;
    let word = take(&inbox, (&known.voucher, std::slice::from_ref(&known.signing_secret)), &headers, &body).await?;
    let answer = acted(&inbox, (slack, known), &word, (&name, body)).await;
    answered(&inbox, (&known.voucher, &word), answer).await
}

/// What comes of a click that is Slack's.
async fn acted(
    inbox: &Inbox,
    (slack, known): (&Slack, &Interactions),
    word: &Testimony<'_>,
    (name, body): (&str, Bytes),
) -> Result<StatusCode, Problem> {
    let invalid = |why: &str| Refusal::new(Code::InvalidSignature).detail(why);
    let malformed = || Problem::refused(Refusal::new(Code::Malformed).detail("it is no click of Slack's"));
    let click = read(body).await.ok_or_else(malformed)?;
    if click.team.id != known.team || click.api_app_id != known.app {
        return Err(Problem::Stranger(invalid("it is of another workspace or app")));
    }
    let (Some(act), None) = (click.actions.first(), click.actions.get(1)) else { return Ok(StatusCode::OK) };
    let approve = match act.action_id.as_str() {
        APPROVE => true,
        DENY => false,
        // The button that only opens the page tells Slack of it as well.
        _ => return Ok(StatusCode::OK),
    };
    if click.kind != "block_actions" {
        return Err(malformed());
    }
    // A button that this broker has not put there, above what it has shown, decides nothing.
    let Some(id) = act.value.as_deref().and_then(|value| inbox.outbox.pressed(name, approve, value)) else {
        let why = "this broker has put no such button into a message of this channel: decide on the page";
        let refusal = Refusal::new(Code::Malformed).detail(why);
        return Err(Problem::refused(match word.person(&click.user.id) {
            Ok(person) => inbox.desk.turned_away(&person, None, refusal).await?,
            Err(_) => in_vain(inbox, &known.voucher, refusal).await?,
        }));
    };
    let decision = Decision { approve, reason: click.reason().map(ToOwned::to_owned), scope: None, mark: None };
    let text = said(inbox, (&known.voucher, word), &click.user.id, &id, decision).await?;
    if let Some(url) = click.response_url {
        let answer = json!({ "response_type": "ephemeral", "replace_original": false, "text": escaped(&text) });
        let told = slack.answer(&inbox.courier, &url, answer.to_string().into_bytes());
        let told = tokio::time::timeout(ANSWER, told).await.unwrap_or_else(|_| Err(Undelivered::later("it took too long")));
        if let Err(undelivered) = told {
            tracing::warn!(channel = name, why = undelivered.why, "what came of a click could not be told");
        }
    }
    Ok(StatusCode::OK)
}

/// The click in a form, if it is one.
async fn read(body: Bytes) -> Option<Click> {
    let form =
        Request::builder().method("POST").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(Body::from(body)).ok()?;
    let Form(posted) = Form::<Posted>::from_request(form, &()).await.ok()?;
    serde_json::from_str(&posted.payload).ok()
}

/// What came of a click, for the one who clicked.
async fn said(
    inbox: &Inbox,
    (voucher, word): (&Voucher, &Testimony<'_>),
    user: &str,
    id: &ApprovalId,
    decision: Decision,
) -> Result<String, Problem> {
    let page = inbox.desk.url(id);
    let person = match word.person(user) {
        Ok(person) => person,
        Err(refusal) => {
            in_vain(inbox, voucher, refusal).await?;
            return Ok(format!("Nothing was decided: nobody has said who you are to the broker. Sign in and decide here: {page}"));
        }
    };
    if !decision.approve && decision.reason.is_none() {
        return Ok(format!(
            "Nothing was decided yet: a denial needs a reason. Write one above the buttons and click again, or decide here: {page}"
        ));
    }
    let what = if decision.approve { "approval" } else { "denial" };
    match decide(inbox, &person, id, decision).await {
        Ok(decided) => Ok(format!("Your {what} is recorded; the request is {}. {page}", decided.view.state.as_str())),
        Err(Problem::Refused(StatusCode::SERVICE_UNAVAILABLE, refusal)) => Err(Problem::refused(*refusal)),
        Err(problem) => Ok(format!("Nothing was decided: {}. See {page}", problem.refusal().message())),
    }
}
