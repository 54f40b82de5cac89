//! What the sections of a request say, and that nothing in them reads otherwise than it is.

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
    let changes = json!([{ "path": "spec.replicas", "before": 2, "after": 5 }, { "path": "x", "before": null, "after": { "a": "b\nc" } }]);
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
