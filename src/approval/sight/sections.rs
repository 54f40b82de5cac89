//! The sections of a description, in the order in which they are to be read: who, what, what for a risk, what would come of it, what holds it to that,
//! on which terms, what was decided before, and last what the agent says.

use serde_json::{Map, Value};

use crate::approval::filed::Who;
use crate::approval::sight::brief::reached;
use crate::approval::sight::effect::effect;
use crate::approval::sight::outline::{outline, scalar};
use crate::approval::sight::{Section, Writer, plural};
use crate::approval::{Filed, View};
use crate::clock::{Timestamp, rfc3339};
use crate::operation::Risk;

const RUNS: &str = "What would run";
const RISK: &str = "How risky it is, and why";
const BOUND: &str = "What binds it";
const BEFORE: &str = "The identical call before";
pub(super) const CHANGES: &str = "What would come of it";
const AGENT_SAYS: &str = "What the agent says, which nobody has checked";

/// The member of an operation that says why it is so risky.
const WHY: &str = "risk_because";

/// What whoever decides must have before their eyes, besides who asks and on which terms.
pub(super) const MATTERS: [&str; 5] = [RUNS, RISK, CHANGES, BOUND, BEFORE];
/// Earlier requests that are listed.
pub(in crate::approval) const EARLIER_MAX: usize = 16;

pub(super) fn all(filed: &Filed, earlier: &[View], now: Timestamp) -> Vec<Section> {
    let mut all = vec![who(filed), what(filed), risk(filed), effect(filed), bound(filed), terms(filed), before(earlier, now)];
    all.extend(says(filed));
    all
}

/// Somebody, by the id that counts; a display name is only what an issuer says.
fn named(writer: &mut Writer, who: &Who) -> String {
    let (id, issuer) = (writer.line(&who.id), writer.line(&who.issuer));
    match &who.name {
        Some(name) => format!("{id} (\"{}\") of {issuer}", writer.line(name)),
        None => format!("{id} of {issuer}"),
    }
}

fn who(filed: &Filed) -> Section {
    let mut writer = Writer::new("Who asks");
    let (human, agent) = (named(&mut writer, &filed.human), named(&mut writer, &filed.agent));
    writer.fact("agent", agent);
    writer.fact("in the name of", human);
    if !filed.chain.is_empty() {
        let through = writer.line(&filed.chain.join(", "));
        writer.fact("by way of", format!("{through}, nearest first"));
    }
    if filed.is_unattended {
        writer.fact("present", "nobody: the agent acts by itself, and this human answers for it".to_owned());
    }
    writer.done()
}

fn what(filed: &Filed) -> Section {
    let mut writer = Writer::new(RUNS);
    writer.put("tool", &filed.tool);
    if let Some((name, engine, environment)) = &filed.target {
        let target = writer.line(&format!("{name} ({engine}, environment {environment})"));
        writer.fact("target", target);
    }
    let Some(members) = filed.operation.as_object() else {
        let text = outline(&mut writer, &filed.operation);
        writer.block("operation", text);
        return writer.done();
    };
    let mut rest: Map<String, Value> = members.clone();
    // Said with the risk.
    rest.remove(WHY);
    let Some(Value::String(statement)) = members.get("statement") else {
        let text = outline(&mut writer, &Value::Object(rest));
        writer.block("operation", text);
        return writer.done();
    };
    // A block, which is drawn so that no letter looks like another.
    let text = writer.text(statement);
    writer.block("statement", text);
    rest.remove("statement");
    match rest.remove("parameters") {
        Some(Value::Array(list)) if list.is_empty() => {}
        Some(Value::Array(list)) => {
            let lines: Vec<String> =
                list.iter().enumerate().map(|(at, value)| format!("{}: {}", at + 1, scalar(&mut writer, value))).collect();
            writer.block("parameters", lines.join("\n"));
        }
        Some(other) => others(&mut writer, Map::from_iter([("parameters".to_owned(), other)])),
        None => {}
    }
    others(&mut writer, rest);
    writer.done()
}

/// Whatever else there is, so that nothing is left out.
pub(super) fn others(writer: &mut Writer, mut rest: Map<String, Value>) {
    rest.retain(|_, value| !value.is_null());
    if !rest.is_empty() {
        let text = outline(writer, &Value::Object(rest));
        writer.block("besides", text);
    }
}

fn risk(filed: &Filed) -> Section {
    let mut writer = Writer::new(RISK);
    let risk = filed.subject().risk;
    let means = match risk {
        Risk::Read => "it changes nothing that anybody can see",
        Risk::Write => "it adds or changes data within named bounds",
        Risk::Destructive => "it can lose data, or change it without bounds",
        Risk::Admin => "it changes who may do what, runs code, or its effect cannot be told",
    };
    writer.fact("risk", format!("{risk}: {means}"));
    match filed.operation.get(WHY) {
        None | Some(Value::Null) => {}
        Some(Value::Array(why)) if why.is_empty() => {}
        Some(why) => {
            let text = outline(&mut writer, why);
            writer.block("because", text);
        }
    }
    let touches: Vec<String> = reached(filed).iter().map(|touch| writer.line(touch)).collect();
    match (touches.as_slice(), touches.join("\n")) {
        ([], _) => writer.fact("touches", "nothing that could be named".to_owned()),
        ([only], _) => writer.fact("touches", only.clone()),
        (_, all) => writer.block("touches", all),
    }
    writer.done()
}

fn bound(filed: &Filed) -> Section {
    let mut writer = Writer::new(BOUND);
    match &filed.scope {
        None => writer.fact("once approved", "exactly this call, once: same tool, target, arguments, human, agent and policies".to_owned()),
        Some(scope) => {
            let whole = "calls of this agent for this human within what stands here, each judged and recorded by itself when it is made";
            writer.fact("once approved", whole.to_owned());
            let text = outline(&mut writer, &scope.show());
            writer.block("reaches", text);
            if let Some(uses) = filed.uses {
                writer.fact("used", format!("{uses} of {} calls so far", scope.calls));
            }
        }
    }
    if filed.scope.is_some() && !filed.is_access() {
        writer.fact("of this call", "what is shown of its effect binds it the first time; the others touch other things".to_owned());
    }
    if let Some(rows) = filed.max_rows {
        writer.fact("rows", format!("if it would touch more than {rows}, all of it is rolled back"));
    }
    if !filed.objects.is_empty() {
        let lines: Vec<String> = filed
            .objects
            .iter()
            .map(|seen| {
                let or = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
                writer.line(&format!("{}, {}, {}", seen.object, or(&seen.uid, "not there yet"), or(&seen.content, "whatever it holds")))
            })
            .collect();
        writer.block("only these, as they were", lines.join("\n"));
    }
    writer.fact("fingerprint", filed.commit.clone());
    writer.fact("call", filed.call.clone());
    writer.done()
}

/// `1 minute and 5 calls`.
fn bounds(minutes: u32, calls: u32) -> String {
    let of = |count: u32, one: &'static str, many: &'static str| {
        format!("{count} {}", plural(usize::try_from(count).unwrap_or(usize::MAX), one, many))
    };
    format!("{} and {}", of(minutes, "minute", "minutes"), of(calls, "call", "calls"))
}

fn terms(filed: &Filed) -> Section {
    let mut writer = Writer::new("On which terms");
    let policies = writer.line(&filed.policies.join(", "));
    writer.fact("asked for by", format!("policy {policies}"));
    let quorum = usize::from(filed.quorum);
    let approved = filed.votes.iter().filter(|vote| vote.approve && !vote.lapsed).count();
    writer.fact("needs", format!("{quorum} {} to approve; {approved} so far", plural(quorum, "human", "different humans")));
    for vote in &filed.votes {
        let by = named(&mut writer, &vote.by);
        let verb = match (vote.approve, vote.lapsed) {
            (true, false) => "approved",
            (true, true) => "approved, which has lapsed with the role",
            (false, _) if vote.takes_back => "taken back",
            (false, _) => "denied",
        };
        let reason = vote.reason.as_ref().map(|reason| format!(": {}", writer.line(reason))).unwrap_or_default();
        let reach = vote.scope.as_ref().map(|scope| format!("; for {}", bounds(scope.minutes, scope.calls)));
        let reason = format!("{}{reason}", reach.unwrap_or_default());
        writer.fact(verb, format!("by {by} at {}{reason}", rfc3339(vote.at)));
    }
    writer.fact("reason", if filed.justification { "whoever approves must say why" } else { "only a denial needs one" }.to_owned());
    if !filed.ticket_forms.is_empty() {
        let forms = writer.line(&filed.ticket_forms.join(", "));
        writer.fact("tickets", format!("whoever must say why must name one of the form {forms}"));
    }
    if !filed.tickets.is_empty() {
        writer.put("named so far", &filed.tickets.join(", "));
    }
    if let (Some(most), Some(_)) = (filed.grant_most, &filed.offer) {
        writer.fact("may be granted", format!("calls like it for up to {}", bounds(most.minutes, most.calls)));
    }
    for next in &filed.escalations {
        let to = writer.line(&next.to);
        writer.fact("told next", format!("{to}, {} minutes after it was asked", next.after_s / 60));
    }
    if let Some(to) = &filed.escalated_to {
        writer.put("told last", to);
    }
    if let Some(glass) = &filed.glass {
        let by = named(&mut writer, &glass.broken.by);
        let reviewed = match &glass.reviewed {
            None => "nobody else has looked at it yet".to_owned(),
            Some(vote) => format!("{} found it {}", named(&mut writer, &vote.by), if vote.approve { "right" } else { "wrong" }),
        };
        writer.fact("glass broken", format!("by {by}; {reviewed}"));
    }
    if filed.self_approval {
        writer.fact("own calls", "the human in whose name it is made may approve it".to_owned());
    }
    if filed.any_issuer {
        writer.fact("issuers", "humans of other issuers may decide".to_owned());
    }
    writer.fact("asked", rfc3339(filed.asked_at));
    writer.fact("expires", rfc3339(filed.expires_at()));
    if let Some(until) = filed.grant_until {
        writer.fact("can be used until", rfc3339(until));
    }
    if let Some(call) = &filed.claimed_by {
        writer.fact("used by call", call.clone());
    }
    writer.done()
}

fn before(earlier: &[View], now: Timestamp) -> Section {
    let mut writer = Writer::new(BEFORE);
    if earlier.is_empty() {
        writer.fact("asked before", "no, or not under these policies".to_owned());
        return writer.done();
    }
    let rows = earlier.iter().map(|view| {
        let by: Vec<String> = view.filed.votes.iter().map(|vote| writer.line(&vote.by.id)).collect();
        let why = view.filed.votes.iter().rev().find_map(|vote| vote.reason.as_deref()).unwrap_or("-");
        let by = if by.is_empty() { "-".to_owned() } else { by.join(", ") };
        vec![rfc3339(view.filed.asked_at), view.state_at(now).as_str().to_owned(), by, writer.line(why), view.filed.id.clone()]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let heading = ["asked", "state", "decided by", "reason", "request"].map(ToOwned::to_owned).to_vec();
    let count = if rows.len() < EARLIER_MAX { rows.len().to_string() } else { format!("the newest {EARLIER_MAX}") };
    writer.table(format!("{count} {}, newest first", plural(rows.len(), "request", "requests")), heading, rows);
    writer.done()
}

fn says(filed: &Filed) -> Option<Section> {
    let reason = filed.reason.as_ref()?;
    let mut writer = Writer::new(AGENT_SAYS);
    writer.section.is_unverified = true;
    writer.put("reason", reason);
    Some(writer.done())
}

#[cfg(test)]
mod tests;
