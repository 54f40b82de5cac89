//! What a policy demands of an approval: the annotations of the policies that ask, joined so that the strictest holds.
//!
//! Nothing here is ever relaxed by joining: a policy that allows less wins over one that allows more, in every point.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::refusal::{Code, Refusal};

/// Who must say why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sides {
    /// The agent, in the call's `reason`.
    pub requester: bool,
    /// The human who approves.
    pub approver: bool,
}

/// The most that a grant for a time may be: how long, and how many calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantMost {
    /// Minutes from the decision, 1 to 10,080.
    pub minutes: u32,
    /// Calls, 1 to 10,000.
    pub calls: u32,
}

/// Who is told when nobody has decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Escalation {
    /// So many seconds after it was asked.
    pub after_s: u64,
    /// The team that is told then; a channel of that name hears of it.
    pub to: String,
}

/// What a policy demands of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Distinct humans who must approve, 1 to 9.
    pub quorum: u8,
    /// How long the request may be decided; the configured default otherwise.
    pub ttl: Option<Duration>,
    /// Who must say why.
    pub justification: Sides,
    /// Whoever must say why must name a ticket of each of these forms: a regular expression.
    pub tickets: Vec<String>,
    /// The human in whose name the call is made may approve it.
    pub self_approval: bool,
    /// Humans of other issuers than that human's may decide. Whether they are other humans, only the operator knows.
    pub any_issuer: bool,
    /// An approver may grant more calls of the kind than this one, up to that; `None` = this call only.
    pub grant: Option<GrantMost>,
    /// Who is told later, soonest first.
    pub escalations: Vec<Escalation>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            quorum: 1,
            ttl: None,
            justification: Sides::default(),
            tickets: Vec::new(),
            self_approval: false,
            any_issuer: false,
            grant: None,
            escalations: Vec::new(),
        }
    }
}

impl Terms {
    /// The stricter of the two in every point.
    #[must_use]
    pub fn strictest(&self, other: &Self) -> Self {
        let quorum = self.quorum.max(other.quorum);
        Self {
            quorum,
            ttl: match (self.ttl, other.ttl) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            justification: Sides {
                requester: self.justification.requester || other.justification.requester,
                approver: self.justification.approver || other.justification.approver,
            },
            tickets: joined(&self.tickets, &other.tickets),
            self_approval: self.self_approval && other.self_approval && quorum == 1,
            any_issuer: self.any_issuer && other.any_issuer,
            grant: match (self.grant, other.grant) {
                (Some(a), Some(b)) => Some(GrantMost { minutes: a.minutes.min(b.minutes), calls: a.calls.min(b.calls) }),
                _ => None,
            },
            escalations: joined(&self.escalations, &other.escalations),
        }
    }
}

fn joined<T: Clone + Ord>(one: &[T], other: &[T]) -> Vec<T> {
    let mut all = [one, other].concat();
    all.sort();
    all.dedup();
    all
}

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 2_000;

/// Whether what a human says is short enough to be kept and read.
///
/// # Errors
/// `request.too_large`.
pub(super) fn check_length(reason: Option<&str>) -> Result<(), Refusal> {
    if reason.is_some_and(|reason| reason.len() > REASON_MAX_BYTES) {
        return Err(Refusal::new(Code::TooLarge).detail(format!("a reason has at most {REASON_MAX_BYTES} bytes")));
    }
    Ok(())
}

/// What `reason` lacks of what somebody must say, in words; `None` where nothing is missing.
pub(super) fn missing(reason: Option<&str>, tickets: &[String]) -> Option<String> {
    let reason = reason.map(str::trim).unwrap_or_default();
    if reason.is_empty() {
        return Some("it must say why".to_owned());
    }
    let absent: Vec<&str> = tickets.iter().map(String::as_str).filter(|form| ticket(reason, form).is_none()).collect();
    (!absent.is_empty()).then(|| format!("it must name a ticket of the form `{}`", absent.join("`, `")))
}

/// Whether `what` says all that it must.
///
/// # Errors
/// `approval.unjustified`.
pub(super) fn justified(reason: Option<&str>, tickets: &[String], what: &str) -> Result<(), Refusal> {
    let lacks = |lack: String| Refusal::new(Code::ApprovalUnjustified).detail(format!("{what} needs a `reason`: {lack}"));
    missing(reason, tickets).map_or(Ok(()), |lack| Err(lacks(lack)))
}

/// The ticket of this form that a text names. A form that cannot be read is named by nothing.
pub(super) fn ticket<'t>(text: &'t str, form: &str) -> Option<&'t str> {
    let whole = format!(r"\b(?:{form})\b");
    regex::Regex::new(&whole).ok()?.find(text).map(|found| found.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_never_relaxes() {
        let loose = Terms { self_approval: true, any_issuer: true, grant: Some(GrantMost { minutes: 60, calls: 5 }), ..Terms::default() };
        let strict = Terms {
            quorum: 2,
            ttl: Some(Duration::from_secs(60)),
            justification: Sides { requester: true, approver: false },
            tickets: vec!["OPS-[0-9]+".to_owned()],
            grant: Some(GrantMost { minutes: 10, calls: 9 }),
            ..Terms::default()
        };
        for joined in [loose.strictest(&strict), strict.strictest(&loose)] {
            assert!(!joined.self_approval && !joined.any_issuer && joined.quorum == 2 && joined.justification.requester);
            assert_eq!((joined.ttl, joined.grant), (strict.ttl, Some(GrantMost { minutes: 10, calls: 5 })));
            assert_eq!(joined.tickets, strict.tickets);
        }
        assert_eq!(loose.strictest(&Terms::default()).grant, None, "a policy that allows no grant wins");
    }

    #[test]
    fn a_ticket_is_a_word_of_its_own() {
        let forms = ["OPS-[0-9]+".to_owned()];
        assert_eq!(missing(Some("see OPS-12, please"), &forms), None);
        assert_eq!(ticket("see OPS-12, please", &forms[0]), Some("OPS-12"));
        for reason in [None, Some("  "), Some("DEVOPS-12x"), Some("OPS-"), Some("none")] {
            assert!(missing(reason, &forms).is_some(), "{reason:?}");
        }
        assert!(missing(Some("OPS-1"), &["[".to_owned()]).is_some(), "what cannot be read is missing");
    }
}
