//! How humans come in: `[session]`, `[[step_up]]`, and the broker's client at an issuer.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use crate::config::issuers::secret;
use crate::config::{Reader, file};
use crate::identity::BrowserClient;
use crate::inbox::step_up::StepUp;
use crate::inbox::{Action, Settings};
use crate::session;

/// The longest that a session may be configured to last, in seconds: whoever is locked out at the issuer stays in for so long.
const LIFETIME_MAX_S: u64 = 24 * 3600;

pub(super) fn settings(reader: &mut Reader<'_>, session: Option<Spanned<file::Session>>, demands: Vec<Spanned<file::StepUp>>) -> Settings {
    let session = session.map_or_else(session::Settings::default, |session| {
        let span = session.span();
        let file::Session { lifetime_s, idle_s } = session.into_inner();
        if !(60..=LIFETIME_MAX_S).contains(&lifetime_s) || !(60..=lifetime_s).contains(&idle_s) {
            reader.problem(span, format!("`lifetime_s` must be 60 to {LIFETIME_MAX_S}, and `idle_s` 60 to `lifetime_s`"));
        }
        session::Settings { lifetime: Duration::from_secs(lifetime_s), idle: Duration::from_secs(idle_s) }
    });
    let mut step_up: Vec<StepUp> = Vec::new();
    for demand in demands {
        let span = demand.span();
        let file::StepUp { action, acr, amr, max_age_s } = demand.into_inner();
        let Some(known) = Action::parse(action.get_ref()) else {
            let names = Action::ALL.map(Action::as_str).join(", ");
            reader.problem(action.span(), format!("the action `{}` is not one of {names}", action.get_ref()));
            continue;
        };
        let mut problem = |why: &str| reader.problem(span.clone(), format!("step-up for {}: {why}", known.as_str()));
        if step_up.iter().any(|other| other.action == known) {
            problem("the action stands twice");
        }
        if acr.is_empty() && amr.is_empty() && max_age_s.is_none() {
            problem("it demands nothing: give `acr`, `amr` or `max_age_s`");
        }
        if max_age_s == Some(0) {
            problem("`max_age_s` must be 1 or more");
        }
        let is_word = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if acr.len() + amr.len() > WORDS_MAX || !acr.iter().chain(&amr).all(is_word) {
            problem("`acr` and `amr` must be a few words without spaces and quotes");
        }
        step_up.push(StepUp { action: known, acr, amr, max_age: max_age_s.map(|seconds| Duration::from_secs(u64::from(seconds))) });
    }
    Settings { session, step_up, ..Settings::default() }
}

/// Classes and methods of one demand.
const WORDS_MAX: usize = 8;

pub(super) fn browser(reader: &mut Reader<'_>, span: &Range<usize>, client: file::BrowserClient) -> Option<BrowserClient> {
    let client_secret = match client.client_secret {
        Some(reference) => Some(secret(reader, span, &reference)?),
        None => None,
    };
    Some(BrowserClient { client_id: client.client_id, client_secret, scope: client.scope })
}
