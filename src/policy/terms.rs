//! The annotations by which a policy sets the terms of an approval. An annotation that is not known, or cannot be read, is an error of the file: a
//! demand that nobody heard would be no demand.

use std::time::Duration;

use cedar_policy::Policy as CedarPolicy;

use crate::approval::{Escalation, GrantMost, Sides, Terms};

/// The terms that a policy's annotations set; `None` if it has none of them.
pub(super) fn terms(policy: &CedarPolicy) -> Result<Option<Terms>, String> {
    let mut terms = Terms::default();
    let mut any = false;
    let (mut after, mut to) = (None, None);
    for (key, value) in policy.annotations() {
        let wrong = |must: &str| format!("`@{key}(\"{value}\")` must be {must}");
        let either = |yes: &str, no: &str| match value {
            value if value == yes => Ok(true),
            value if value == no => Ok(false),
            _ => Err(wrong(&format!("{yes} or {no}"))),
        };
        match key {
            "id" | "description" | "owner" => continue,
            "quorum" => {
                let quorum = value.parse().ok().filter(|quorum| (1..=9).contains(quorum));
                terms.quorum = quorum.ok_or_else(|| wrong("1 to 9"))?;
            }
            "ttl" => terms.ttl = Some(duration(value).ok_or_else(|| wrong("a number of s, m or h, at most 168h"))?),
            "justification" => {
                terms.justification = match value {
                    "required" | "approver" => Sides { requester: false, approver: true },
                    "requester" => Sides { requester: true, approver: false },
                    "both" => Sides { requester: true, approver: true },
                    "optional" => Sides::default(),
                    _ => return Err(wrong("required (of the approver), requester, approver, both or optional")),
                };
            }
            "ticket" => {
                let readable = value.len() <= 200 && !value.is_empty() && regex::Regex::new(value).is_ok();
                terms.tickets = vec![readable.then(|| value.to_owned()).ok_or_else(|| wrong("a regular expression, such as OPS-[0-9]+"))?];
            }
            "self_approval" => terms.self_approval = either("allowed", "refused")?,
            "approvers" => terms.any_issuer = either("any_issuer", "same_issuer")?,
            "grant" => terms.grant = Some(grant(value).ok_or_else(|| wrong("a time and a number of calls, such as `30m, 10 calls`"))?),
            "escalate_after" => after = Some(duration(value).ok_or_else(|| wrong("a number of s, m or h, at most 168h"))?),
            "escalate_to" => to = Some(value.to_owned()),
            other => {
                return Err(format!(
                    "the annotation `@{other}` is not known; known are id, description, owner, quorum, ttl, justification, ticket, self_approval, \
                     approvers, grant, escalate_after, escalate_to"
                ));
            }
        }
        any = true;
    }
    match (after, to) {
        (Some(after), Some(to)) if !to.is_empty() => terms.escalations = vec![Escalation { after_s: after.as_secs(), to }],
        (None, None) => {}
        _ => return Err("`@escalate_after` and `@escalate_to` go together".to_owned()),
    }
    if let (Some(ttl), Some(after)) = (terms.ttl, after)
        && after >= ttl
    {
        return Err("`@escalate_after` must be shorter than `@ttl`: the request would have expired before anybody is told".to_owned());
    }
    if terms.self_approval && terms.quorum > 1 {
        return Err("`@self_approval(\"allowed\")` cannot go with a quorum above one".to_owned());
    }
    if !terms.tickets.is_empty() && terms.justification == Sides::default() {
        terms.justification.requester = true;
    }
    Ok(any.then_some(terms))
}

/// `30m, 10 calls`.
fn grant(text: &str) -> Option<GrantMost> {
    let (time, calls) = text.split_once(',')?;
    let minutes = u32::try_from(duration(time.trim())?.as_secs() / 60).ok().filter(|minutes| *minutes > 0)?;
    let (calls, unit) = calls.trim().split_once(' ')?;
    let calls = calls.parse().ok().filter(|calls| (1..=10_000).contains(calls))?;
    matches!(unit, "call" | "calls").then_some(GrantMost { minutes, calls })
}

/// `90s`, `30m`, `24h`; at least a second, at most a week.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = number.checked_mul(match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return None,
    })?;
    (1..=604_800).contains(&seconds).then(|| Duration::from_secs(seconds))
}
