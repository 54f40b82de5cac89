//! The part of a decision's form that says how far it reaches: more calls like the one that was asked for, or less access than was asked for.
//!
//! Every field only narrows what the request offers. The Desk judges the scope all the same; here nothing is made up that an approver has not chosen.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::approval::Scope;
use crate::inert::inert;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

const TOOL: &str = "tool:";
const ON: &str = "on:";
/// Fields besides the boxes.
const OTHERS: [&str; 4] = ["minutes", "calls", "risk", "only"];

/// Whether nothing of it is filled in.
pub(super) fn is_blank(filled: &BTreeMap<String, String>) -> bool {
    filled.values().all(|value| value.trim().is_empty())
}

/// The scope that the form says; `None` = exactly what was asked for.
///
/// # Errors
/// It is not filled in so that it says one.
pub(super) fn wanted(filled: &BTreeMap<String, String>, offer: &Scope, is_access: bool) -> Result<Option<Scope>, Refusal> {
    let malformed = |why: &str| Refusal::new(Code::Malformed).detail(why);
    let known = |name: &String| OTHERS.contains(&name.as_str()) || name.starts_with(TOOL) || name.starts_with(ON);
    if !filled.keys().all(known) {
        return Err(malformed("the form is not one of this page: it has a field that the page has not"));
    }
    let field = |name: &str| filled.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let boxes = |prefix: &str| filled.keys().filter_map(|name| name.strip_prefix(prefix)).map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    let number = |name: &str, most: u32| match field(name) {
        None if is_access => Ok(most),
        None => Err(malformed("a grant needs minutes and calls, or neither")),
        Some(text) => text.parse().map_err(|_| malformed("minutes and calls must be whole numbers")),
    };
    if !is_access && field("minutes").is_none() && field("calls").is_none() {
        return Ok(None);
    }
    let scope = Scope {
        tools: if offer.tools.len() > 1 { boxes(TOOL) } else { offer.tools.clone() },
        on: match offer.on.len() {
            0 => field("only").into_iter().flat_map(str::lines).map(str::trim).filter(|on| !on.is_empty()).map(ToOwned::to_owned).collect(),
            1 => offer.on.clone(),
            _ => boxes(ON),
        },
        risk: field("risk").unwrap_or(&offer.risk).to_owned(),
        minutes: number("minutes", offer.minutes)?,
        calls: number("calls", offer.calls)?,
        ..offer.clone()
    };
    if scope.tools.is_empty() || (scope.on.is_empty() && !offer.on.is_empty()) {
        return Err(malformed("at least one tool and one place must be left, or it grants nothing: deny it then"));
    }
    Ok((!is_access || scope != *offer).then_some(scope))
}

/// The fields.
pub(super) fn fields(is_access: bool, offer: &Scope) -> Markup {
    let (minutes, calls) = (offer.minutes.to_string(), offer.calls.to_string());
    let list = |names: &BTreeSet<String>| Vec::from_iter(names.iter().cloned()).join(", ");
    let reach = format!("{} on {}", list(&offer.verbs), list(&offer.on));
    let risks = [Risk::Read, Risk::Write, Risk::Destructive, Risk::Admin];
    let risks: Vec<&str> = risks.into_iter().filter(|risk| offer.risk().is_some_and(|most| *risk <= most)).map(Risk::as_str).collect();
    let hint = if is_access { "Blank: as it was asked." } else { "Blank: this call only, once." };
    html! {
        fieldset {
            legend { @if is_access { "Grant less than was asked" } @else { "Grant more calls like this one" } }
            label for="minutes" { "Minutes, at most " (minutes) }
            input id="minutes" name="minutes" type="number" min="1" max=(minutes) inputmode="numeric" aria-describedby="more-hint";
            label for="calls" { "Calls, at most " (calls) }
            input id="calls" name="calls" type="number" min="1" max=(calls) inputmode="numeric" aria-describedby="more-hint";
            p.hint id="more-hint" { (hint) @if !is_access {
                    " More calls reach the same tool and target with other values: " (inert(&reach)) "."
                    " If several must approve, each must grant more, and the least of it holds."
                } }
            @if offer.tools.len() > 1 { (choices("Tools", TOOL, &offer.tools)) }
            @if offer.on.len() > 1 { (choices("On", ON, &offer.on)) }
            @if is_access && offer.on.is_empty() {
                label for="only" { "Only on, one place a line (blank: anything on the target)" }
                textarea id="only" name="only" rows="3" {}
            }
            @if risks.len() > 1 {
                label for="risk" { "Risk, at most" }
                select id="risk" name="risk" {
                    @for risk in &risks { option value=(risk) selected[*risk == offer.risk] { (risk) } }
                }
            }
        }
    }
}

/// Boxes that are all ticked until somebody takes one off.
fn choices(title: &str, prefix: &str, names: &BTreeSet<String>) -> Markup {
    html! {
        fieldset.choices {
            legend { (title) }
            @for name in names {
                label { input type="checkbox" name=(format!("{prefix}{name}")) value="yes" checked; " " (inert(name)) }
            }
        }
    }
}
