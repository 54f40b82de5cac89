//! What is told: made of the stored request when it is told, and inert in every part, whoever wrote it.
//!
//! What hides from the eye is written out and counted, what is long is cut and the rest counted; what makes HTML, Slack or Markdown obey, the channel
//! that writes that format escapes. Rows of a preview are left out unless a channel is told to show them.

use serde_json::{Map, Value, json};

use crate::approval::{Event, Filed, Sight, State, View, reached};
use crate::clock::{Timestamp, rfc3339};
use crate::inert::{Inert, inert};

/// The longest line of a fact, in characters.
const FACT_MAX: usize = 300;
/// The longest text in a message's data, in characters.
const TEXT_MAX: usize = 16_000;
/// The largest data, in bytes of JSON; of a larger request, only what it is about is told.
const DATA_MAX_BYTES: usize = 200_000;

/// One message, before a channel gives it its form.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same at each attempt.
    pub id: String,
    /// What happened, such as `approval.requested`.
    pub event: &'static str,
    /// When it happened.
    pub at: Timestamp,
    /// When it is told.
    pub now: Timestamp,
    /// What a reason must say, for whoever decides where the message stands.
    pub reason: String,
    /// What its buttons say, where the request waits to be decided.
    pub buttons: Option<Buttons>,
    /// The page on which a human decides.
    pub url: String,
    /// One line that says it all.
    pub title: String,
    /// What it is about, line by line.
    pub facts: Vec<(&'static str, String)>,
    /// The exact call, as far as there is one.
    pub call: Inert,
    /// What an approver is shown, where there is a request.
    sight: Option<Sight>,
    data: Map<String, Value>,
    preview: Value,
}

/// What a button of ours says when it is clicked: which request, and that this broker has put it into a message of this channel for this decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buttons {
    /// With a yes.
    pub approve: String,
    /// With a no.
    pub deny: String,
}

impl Message {
    /// Of a request as it stands; `earlier` are others for the identical call, newest first.
    #[must_use]
    pub fn of(id: String, event: Event, (at, now): (Timestamp, Timestamp), url: String, view: &View, earlier: &[View]) -> Self {
        let filed = &view.filed;
        let target = filed.target.as_ref().map(|(name, ..)| format!(" on {}", inert(name))).unwrap_or_default();
        let state = view.state_at(now);
        let what = match (event, state) {
            (Event::Requested, _) => "Approval wanted",
            (Event::Expired, _) => "Expired",
            (Event::Decided, State::Denied) => "Denied",
            (Event::Decided, State::Granted) => "Granted",
            (Event::Decided, _) => "Approved",
            (Event::Escalated, _) => "Still waiting for approval",
            (Event::Withdrawn, _) => "Withdrawn by the agent",
            (Event::Revoked, _) => "Approval taken back",
            (Event::GlassBroken, _) => "GLASS BROKEN: let through by one human, to be reviewed",
        };
        let what = match &filed.escalated_to {
            Some(team) if event == Event::Escalated => format!("{what}, passed on to {}", inert(team)),
            _ => what.to_owned(),
        };
        let risk = filed.subject().risk.as_str();
        let mut shown = match view.for_person(&url, now) {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let preview = shown.remove("preview").unwrap_or_default();
        if event == Event::Decided {
            // The state goes on: an agent that waits may have used it by now.
            let is_denied = filed.votes.last().is_some_and(|vote| !vote.approve) && state == State::Denied;
            let decision = if is_denied { State::Denied } else { filed.given() };
            shown.insert("decision".to_owned(), Value::from(decision.as_str()));
        }
        let call = written(&filed.operation);
        Self {
            id,
            event: event.as_str(),
            at,
            now,
            title: short(&format!("{what}: {}{target} ({risk})", inert(&filed.tool)), FACT_MAX),
            facts: facts(view, state, &preview, &call),
            reason: match demanded(filed) {
                Some(demand) => format!("Reason (a denial needs one; whoever approves {demand})"),
                None => "Reason (a denial needs one)".to_owned(),
            },
            buttons: None,
            url,
            call,
            sight: Some(Sight::of(filed, earlier, now)),
            data: shown,
            preview,
        }
    }

    /// To see whether a channel works.
    #[must_use]
    pub fn test(id: String, channel: &str, now: Timestamp, url: String) -> Self {
        Self {
            id,
            event: "channel.test",
            reason: String::new(),
            buttons: None,
            at: now,
            now,
            title: format!("Test of the channel {channel}"),
            facts: vec![("About", "Somebody tries whether this channel works. Nothing waits for you.".to_owned())],
            data: Map::from_iter([("url".to_owned(), Value::from(url.as_str())), ("channel".to_owned(), Value::from(channel))]),
            url,
            call: Inert::default(),
            sight: None,
            preview: Value::Null,
        }
    }

    /// As programs are told: event, time, and the request as an approver sees it; of the preview its numbers alone, unless all of it is wanted.
    #[must_use]
    pub fn payload(&self, include_preview: bool) -> Vec<u8> {
        let preview = match &self.preview {
            whole if include_preview => whole.clone(),
            Value::Object(members) => {
                Value::Object(members.iter().filter(|(_, value)| value.is_number() || value.is_boolean()).map(owned).collect())
            }
            _ => Value::Null,
        };
        let mut data = self.data.clone();
        if self.data.contains_key("approval_id") {
            data.insert("preview".to_owned(), preview);
            data.insert("hidden_characters".to_owned(), Value::from(self.call.hidden));
        }
        data.insert("title".to_owned(), Value::from(self.title.as_str()));
        let of = |data: Map<String, Value>| {
            json!({ "type": self.event, "timestamp": rfc3339(self.at), "data": quiet(Value::Object(data)) }).to_string().into_bytes()
        };
        let whole = of(data.clone());
        if whole.len() <= DATA_MAX_BYTES {
            return whole;
        }
        let about = ["approval_id", "state", "url", "tool", "target", "risk", "asked_at", "expires_at", "title"];
        let mut about: Map<String, Value> = data.into_iter().filter(|(name, _)| about.contains(&name.as_str())).collect();
        about.insert("left_out_bytes".to_owned(), Value::from(whole.len()));
        of(about)
    }

    /// All that an approver is shown of the call, its effect and what was decided before. `None` where what a preview shows is not to be told: by such a
    /// message nobody should say yes.
    #[must_use]
    pub fn whole(&self, include_preview: bool) -> Option<String> {
        let shows_nothing = self.preview.is_null() || self.preview.as_object().is_some_and(Map::is_empty);
        self.sight.as_ref().filter(|_| include_preview || shows_nothing).map(Sight::text)
    }

    /// The exact call, cut; empty where there is none.
    #[must_use]
    pub fn call(&self, longest: usize) -> String {
        short_of(&self.call, longest)
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// The exact operation as text: a statement as it is, everything else as JSON, whose quotes no value gets out of. What hides is counted in the values
/// themselves: of them, JSON writes some out already.
fn written(operation: &Value) -> Inert {
    let text = match operation.get("statement").and_then(Value::as_str) {
        Some(statement) => match operation.get("parameters").filter(|given| given.as_array().is_some_and(|given| !given.is_empty())) {
            Some(parameters) => format!("{statement}\nparameters: {parameters}"),
            None => statement.to_owned(),
        },
        None => serde_json::to_string_pretty(operation).unwrap_or_default(),
    };
    let (hidden, foreign) = counted(operation);
    Inert { hidden, foreign, ..Inert::of(&text) }
}

/// Characters in all texts of a value that cannot be seen, and letters that are not ASCII.
fn counted(value: &Value) -> (usize, usize) {
    let of = |text: &str| {
        let inert = Inert::of(text);
        (inert.hidden, inert.foreign)
    };
    let sum = |(a, b): (usize, usize), (c, d): (usize, usize)| (a + c, b + d);
    match value {
        Value::String(text) => of(text),
        Value::Array(items) => items.iter().map(counted).fold((0, 0), sum),
        Value::Object(members) => members.iter().map(|(name, value)| sum(of(name), counted(value))).fold((0, 0), sum),
        _ => (0, 0),
    }
}

/// What whoever approves must say.
fn demanded(filed: &Filed) -> Option<String> {
    let tickets = match filed.ticket_forms.as_slice() {
        [] => String::new(),
        forms => format!(", and name a ticket of the form {}", forms.join(", ")),
    };
    filed.justification.then(|| format!("must say why{tickets}"))
}

fn facts(view: &View, state: State, preview: &Value, call: &Inert) -> Vec<(&'static str, String)> {
    let filed = &view.filed;
    // The id first: a name is what somebody calls themselves.
    let who = |name: Option<&String>, id: &str| match name {
        Some(name) => format!("{id} ({name})"),
        None => id.to_owned(),
    };
    // Not so that anything makes a link of it.
    let of = |issuer: &str| issuer.split_once("://").map_or_else(|| issuer.to_owned(), |(_, rest)| rest.to_owned());
    let human = format!("{} of {}", who(filed.human.name.as_ref(), &filed.human.id), of(&filed.human.issuer));
    let mut facts = vec![("Human", human), ("Agent", format!("{} of {}", filed.agent.id, of(&filed.agent.issuer)))];
    if let Some((name, engine, environment)) = &filed.target {
        facts.push(("Target", format!("{name} ({engine}, {environment})")));
    }
    if !filed.chain.is_empty() {
        facts.push(("By way of", filed.chain.join(", ")));
    }
    if filed.is_unattended {
        facts.push(("Present", "nobody: the agent acts by itself, and the human answers for it".to_owned()));
    }
    let reached = reached(filed);
    if !reached.is_empty() {
        facts.push(("Touches", reached.join(", ")));
    }
    if let Some(rows) = preview.get("would_touch_rows").and_then(Value::as_u64) {
        facts.push(("Rows it would touch", rows.to_string()));
    }
    if !filed.policies.is_empty() {
        facts.push(("Asked for by the policies", filed.policies.join(", ")));
    }
    if filed.self_approval {
        facts.push(("Self-approval", "the human in whose name it is made may decide it".to_owned()));
    }
    if filed.any_issuer {
        facts.push(("Issuers", "humans of any issuer may decide it".to_owned()));
    }
    if let Some(demand) = demanded(filed).filter(|_| state == State::Pending) {
        facts.push(("Whoever approves", demand));
    }
    if let Some(team) = filed.escalated_to.as_ref().filter(|_| state == State::Pending) {
        facts.push(("Passed on to", team.clone()));
    }
    if let Some(reason) = &filed.reason {
        facts.push(("The agent's reason (unverified)", reason.clone()));
    }
    for vote in &filed.votes {
        let reason = vote.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let did = match vote.approve {
            true => "Approved by",
            false if vote.takes_back => "Taken back by",
            false => "Denied by",
        };
        facts.push((did, format!("{}{reason}", who(vote.by.name.as_ref(), &vote.by.id))));
    }
    match state {
        State::Pending => {
            facts.push(("Approvals needed", filed.quorum.to_string()));
            facts.push(("Decide before", rfc3339(filed.expires_at())));
        }
        State::Approved => facts.extend(filed.grant_until.map(|until| ("Can be used until", rfc3339(until)))),
        _ => {}
    }
    if call.hidden > 0 {
        facts.push(("Take care", format!("{} characters of the call cannot be seen, and are written out as \\u{{…}}", call.hidden)));
    }
    if call.foreign > 0 {
        facts.push(("Letters that are not ASCII", call.foreign.to_string()));
    }
    facts.into_iter().map(|(label, text)| (label, short(&text, FACT_MAX))).collect()
}

/// One line, inert and cut.
fn short(text: &str, longest: usize) -> String {
    short_of(&Inert::line(text), longest)
}

/// Cut, with what was left out.
pub(super) fn short_of(text: &Inert, longest: usize) -> String {
    match text.first(longest) {
        (whole, 0) => whole.to_owned(),
        (first, more) => format!("{first} … ({more} characters more)"),
    }
}

/// Every text in a value inert and cut.
fn quiet(value: Value) -> Value {
    let short = |text: &str| short_of(&Inert::of(text), TEXT_MAX);
    match value {
        Value::String(text) => Value::String(short(&text)),
        Value::Array(items) => items.into_iter().map(quiet).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (short(&name), quiet(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_inert_and_cut_and_its_rest_counted() {
        let long = "x".repeat(TEXT_MAX + 7);
        let quieted = quiet(json!({"a\u{202e}": ["b\u{200b}c", 1, null], "long": long}));
        assert_eq!(quieted["a\\u{202e}"], json!(["b\\u{200b}c", 1, null]));
        assert!(quieted["long"].as_str().unwrap().ends_with("x … (7 characters more)"));
        let call = written(&json!({"statement": "SELECT\n?1", "parameters": [1, "\u{1b}[2J\n\u{202e}"]}));
        assert_eq!((call.text.as_str(), call.hidden), ("SELECT\n?1\nparameters: [1,\"\\u001b[2J\\n\\u{202e}\"]", 2));
        assert_eq!(written(&json!({"statement": "a\u{1b}"})).hidden, 1);
        assert_eq!(written(&json!({"statement": "SELECT 1", "parameters": []})).text, "SELECT 1");
    }
}
