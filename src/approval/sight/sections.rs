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
            (false, _) => "denied",
        };
        let reason = vote.reason.as_ref().map(|reason| format!(": {}", writer.line(reason))).unwrap_or_default();
        let reach = vote.scope.as_ref().map(|scope| format!("; for {} minutes and {} calls", scope.minutes, scope.calls));
        let reason = format!("{}{reason}", reach.unwrap_or_default());
        writer.fact(verb, format!("by {by} at {}{reason}", rfc3339(vote.at)));
    }
    writer.fact("reason", if filed.justification { "whoever approves must say why" } else { "only a denial needs one" }.to_owned());
    if !filed.ticket_forms.is_empty() {
        let forms = writer.line(&filed.ticket_forms.join(", "));
        writer.fact("tickets", format!("whoever must say why must name one of the form {forms}"));
    }
    if !filed.tickets.is_empty() {
        writer.put("the agent names", &filed.tickets.join(", "));
    }
    if let (Some(most), Some(_)) = (filed.grant_most, &filed.offer) {
        writer.fact("may be granted", format!("calls like it for up to {} minutes and {} calls", most.minutes, most.calls));
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::approval::sight::brief::headline;
    use crate::approval::{Sight, State};
    use crate::inert::Inert;

    /// A stored request in which some members are others.
    fn filed(more: &Value) -> Filed {
        let who = json!({ "issuer": "https://idp.example", "id": "alice" });
        let mut body = json!({
            "v": 1, "id": "apr_1", "call": "c", "human": who, "agent": { "issuer": "https://idp.example", "id": "bot\nstate: approved" },
            "tool": "k8s_apply", "target": ["prod", "kubernetes", "production"], "verb": "patch", "risk": 9, "touches": ["patch a", "get b"],
            "operation": {}, "shown": null, "max_rows": null, "reason": null, "policies": ["p.one", "p.two"], "quorum": 2, "justification": true,
            "self_approval": true, "any_issuer": true, "asked_at": "2026-11-28T04:00:00Z", "expires_us": 1_800_000_000_000_000_i64,
            "grant_until": null, "votes": [], "claimed_by": null, "salt": "", "commit": "abc",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    fn told(filed: &Filed, earlier: &[View]) -> String {
        let sight = Sight::of(filed, earlier, filed.asked_at);
        let lines = sight.sections.iter().flat_map(|section| {
            std::iter::once(section.title.to_owned())
                .chain(section.parts.iter().flat_map(super::super::Part::lines))
                .chain(section.notes.clone())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn all_in(told: &str, wanted: &[&str]) {
        for line in wanted {
            assert!(told.lines().any(|known| known == *line), "`{line}` is not in\n{told}");
        }
    }

    #[test]
    fn what_would_come_of_it_has_every_kind_of_effect_and_leaves_nothing_out() {
        let object = json!({ "kind": "Deployment", "namespace": "shop", "name": "web\u{202e}" });
        let changes =
            json!([{ "path": "spec.replicas", "before": 2, "after": 5 }, { "path": "x", "before": null, "after": { "a": "b\nc" } }]);
        let shown = json!({
            "dry_run": true, "count": 1, "objects": [{ "object": object, "action": "changed", "changes": changes }, { "object": object, "action": "unchanged", "warnings": ["deprecated"] }],
            "would_delete": [{ "object": object, "uid": "u1" }], "would_evict": "many",
            "files": [{ "path": "/etc/a", "exists": false }, { "path": "/etc/b", "exists": true, "type": "file", "size": 3, "holds": "one\ntwo" }],
            "a_new_kind_of_effect": { "of": "some kind" },
        });
        let told = told(&filed(&json!({ "shown": shown })), &[]);
        all_in(
            &told,
            &[
                "Deployment shop/web\\u{202e} would be changed:",
                "  field | before | after",
                "  spec.replicas | 2 | 5",
                "  x | (none) | {a: \"b\\u{a}c\"}",
                "Deployment shop/web\\u{202e}: would be unchanged",
                "  warnings:",
                "    - \"deprecated\"",
                "1 object would be deleted:",
                "  Deployment shop/web\\u{202e} {uid: \"u1\"}",
                "file: /etc/a is not there yet",
                "file: /etc/b is there",
                "  size: 3",
                "  type: \"file\"",
                "it holds now:",
                "  one",
                "  two",
                "  a_new_kind_of_effect:",
                "    of: \"some kind\"",
                "  would_evict: \"many\"",
                "4 characters that nobody would see are written out as \\u{…}",
            ],
        );
        all_in(&super::tests::told(&filed(&json!({ "shown": ["x"] })), &[]), &["effect:", "  - \"x\""]);
        // Rows that do not fit their columns are no table, and are there all the same.
        let odd = json!({ "would_touch_rows": "many", "columns": [{ "name": "a" }], "rows": [[1, 2]], "truncated": true });
        let odd = super::tests::told(&filed(&json!({ "shown": odd })), &[]);
        all_in(&odd, &["  would_touch_rows: \"many\"", "      - 2", "  truncated: true"]);
        all_in(
            &super::tests::told(&filed(&json!({})), &[]),
            &["effect: it cannot be shown beforehand: what would run is all there is to judge by"],
        );
    }

    #[test]
    fn an_operation_is_whole_and_says_why_it_is_risky() {
        let operation = json!({ "argv": ["rm", "-rf", "/srv/a b"], "stdin": "x\ny", "risk_because": ["it removes files"], "env": [] });
        let filed = filed(&json!({ "operation": operation, "reason": "**urgent**" }));
        let told = told(&filed, &[]);
        all_in(
            &told,
            &[
                "agent: bot\\u{a}state: approved of https://idp.example",
                "target: prod (kubernetes, environment production)",
                "operation:",
                "  argv:",
                "    - \"rm\"",
                "    - \"/srv/a b\"",
                "    | x",
                "    | y",
                "  env: []",
                "because:",
                "  - \"it removes files\"",
                "touches:",
                "  patch a",
                "risk: admin: it changes who may do what, runs code, or its effect cannot be told",
                "asked for by: policy p.one, p.two",
                "needs: 2 different humans to approve; 0 so far",
                "reason: whoever approves must say why",
                "own calls: the human in whose name it is made may approve it",
                "issuers: humans of other issuers may decide",
                "fingerprint: abc",
                "asked before: no, or not under these policies",
            ],
        );
        assert!(told.ends_with("What the agent says, which nobody has checked\nreason: **urgent**"), "{told}");
        assert_eq!(filed.gist(), "[\"rm\", \"-rf\", \"/srv/a b\"]");
        assert_eq!(headline(&filed), "bot\\u{a}state: approved, for alice: k8s_apply on prod (production); risk: admin");
    }

    #[test]
    fn votes_and_earlier_decisions_are_told_with_who_and_why() {
        let vote = |id: &str, approve: bool, reason: &str| json!({ "by": { "issuer": "i", "id": id, "name": "B\u{200b}ob" }, "approve": approve, "reason": reason, "at": "2026-11-28T04:01:00Z" });
        let asked = filed(&json!({ "votes": [vote("bob", true, "ticket 7")] }));
        let denied = filed(&json!({ "id": "apr_0", "votes": [vote("carol", false, "not\nnow")] }));
        let earlier = View { state: State::Denied, filed: denied, version: 1 };
        all_in(
            &told(&asked, &[earlier]),
            &[
                "needs: 2 different humans to approve; 1 so far",
                "approved: by bob (\"B\\u{200b}ob\") of i at 2026-11-28T04:01:00.000000Z: ticket 7",
                "1 request, newest first:",
                "  2026-11-28T04:00:00.000000Z | denied | carol | not\\u{a}now | apr_0",
            ],
        );
    }

    proptest::proptest! {
        /// Whatever is written anywhere, nothing of it is hidden, and no line of it is the broker's.
        #[test]
        fn no_text_from_outside_can_hide_or_begin_a_line(text in "(?s).{0,60}") {
            let who = json!({ "issuer": text, "id": text, "name": text });
            let vote = json!({ "by": who, "approve": false, "reason": text, "at": "2026-11-28T04:01:00Z" });
            let body = json!({
                "human": who, "agent": who, "tool": "t", "reason": text, "policies": [text], "votes": [vote], "touches": [text, text],
                "operation": { "argv": [text], text.as_str(): { text.as_str(): text } },
                "shown": { "objects": [{ "object": { "kind": text }, "action": text, "changes": [{ "path": text, "after": text }] }], text.as_str(): text },
            });
            let filed = filed(&body);
            let earlier = View { state: State::Denied, filed: filed.clone(), version: 1 };
            let sight = Sight::of(&filed, &[earlier], filed.asked_at);
            let told = format!("{}\n{}\n{}", told(&filed, &[]), sight.text(), filed.gist());
            proptest::prop_assert_eq!(Inert::of(&told).hidden, 0);
            proptest::prop_assert!(sight.headline.lines().count() == 1 && filed.gist().lines().count() <= 1);
            for part in sight.sections.iter().flat_map(|section| &section.parts) {
                if let crate::approval::Part::Fact { label, text } = part {
                    proptest::prop_assert!(!label.contains('\n') && !text.contains('\n'));
                }
            }
        }
    }
}
