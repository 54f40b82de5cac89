//! What a grant for a time reaches: which tools, on which target, on what there, up to which risk, for how long and how many calls.
//!
//! A scope is asked for by an agent or chosen by an approver, and only ever narrowed on the way. It never widens by how its names look: a folder reaches
//! what is below it and not its neighbour `build-prod`, a schema reaches its tables, anything else itself alone. What cannot be told is not reached.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::approval::{Filed, GrantMost};
use crate::call::{Call, SSH};
use crate::operation::{Place, Risk, Touch};

/// Tools that one scope may name.
const TOOLS_MAX: usize = 16;
/// Places that one scope may name.
const PLACES_MAX: usize = 64;

/// What a grant reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Tools by name; one at least.
    pub tools: BTreeSet<String>,
    /// The target.
    pub target: String,
    /// Schemas, tables, objects, programs, files and folders, as requests show them; none = whatever is on the target.
    #[serde(default)]
    pub on: BTreeSet<String>,
    /// What may be done there, by verb; none = whatever the risk allows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub verbs: BTreeSet<String>,
    /// The highest risk, `read` to `admin`.
    pub risk: String,
    /// For so many minutes from the decision.
    pub minutes: u32,
    /// For so many calls.
    pub calls: u32,
}

impl Scope {
    /// The narrowest that reaches this very call with other values; `None` where nothing that it touches can be named so that the name says how far it goes:
    /// a target as a whole, or programs, of which another argument is another deed.
    #[must_use]
    pub fn of(call: &Call, most: GrantMost) -> Option<Self> {
        let touches = call.operation.touches();
        let is_named = |touch: &Touch| matches!(touch.on, Place::Table(_) | Place::Object(_) | Place::Path(_));
        if !is_told_by_touches(call, &touches) || !touches.iter().all(is_named) {
            return None;
        }
        Some(Self {
            tools: BTreeSet::from([call.tool.name.clone()]),
            target: call.target.as_ref()?.name.clone(),
            on: touches.iter().map(|touch| touch.on.to_string()).collect(),
            verbs: touches.iter().map(|touch| touch.verb.to_owned()).collect(),
            risk: call.risk().as_str().to_owned(),
            minutes: most.minutes,
            calls: most.calls,
        })
    }

    /// The highest risk; none where it is not one.
    #[must_use]
    pub fn risk(&self) -> Option<Risk> {
        Risk::parse(&self.risk)
    }

    /// What is wrong with it in itself.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        if self.tools.is_empty() || self.tools.len() > TOOLS_MAX {
            return Err(format!("`tools` must name 1 to {TOOLS_MAX} tools"));
        }
        if self.on.len() > PLACES_MAX || self.on.iter().any(|on| on.is_empty() || on.len() > 500) {
            return Err(format!("`on` may name at most {PLACES_MAX} places, none of them empty or longer than 500 bytes"));
        }
        if self.risk().is_none() {
            return Err("`risk` must be read, write, destructive or admin".to_owned());
        }
        if !(1..=10_080).contains(&self.minutes) || !(1..=10_000).contains(&self.calls) {
            return Err("`minutes` must be 1 to 10080, and `calls` 1 to 10000".to_owned());
        }
        Ok(())
    }

    /// Whether it reaches nothing that `other` does not.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let places = other.on.is_empty() || !self.on.is_empty() && self.on.iter().all(|on| other.on.iter().any(|of| names_below(on, of)));
        let verbs = other.verbs.is_empty() || !self.verbs.is_empty() && self.verbs.is_subset(&other.verbs);
        self.tools.is_subset(&other.tools)
            && verbs
            && self.target == other.target
            && places
            && self.risk().zip(other.risk()).is_some_and(|(mine, most)| mine <= most)
            && self.minutes <= other.minutes
            && self.calls <= other.calls
    }

    /// What both reach; `None` where that is nothing.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let (minutes, calls) = (self.minutes.min(other.minutes), self.calls.min(other.calls));
        let risk = self.risk()?.min(other.risk()?).as_str().to_owned();
        let tools: BTreeSet<String> = self.tools.intersection(&other.tools).cloned().collect();
        let below = |mine: &BTreeSet<String>, theirs: &BTreeSet<String>| -> Vec<String> {
            mine.iter().filter(|on| theirs.is_empty() || theirs.iter().any(|of| names_below(on, of))).cloned().collect()
        };
        let on: BTreeSet<String> = below(&self.on, &other.on).into_iter().chain(below(&other.on, &self.on)).collect();
        let verbs = match (self.verbs.is_empty(), other.verbs.is_empty()) {
            (true, _) => other.verbs.clone(),
            (_, true) => self.verbs.clone(),
            _ => self.verbs.intersection(&other.verbs).cloned().collect(),
        };
        let is_nothing = |met: bool, one: bool, two: bool| met && !(one && two);
        let is_empty = tools.is_empty()
            || self.target != other.target
            || is_nothing(on.is_empty(), self.on.is_empty(), other.on.is_empty())
            || is_nothing(verbs.is_empty(), self.verbs.is_empty(), other.verbs.is_empty());
        (!is_empty).then(|| Self { tools, target: self.target.clone(), on, verbs, risk, minutes, calls })
    }

    /// Whether it is no more than a policy allows.
    #[must_use]
    pub const fn is_within_most(&self, most: GrantMost) -> bool {
        self.minutes <= most.minutes && self.calls <= most.calls
    }

    /// Whether it reaches this call.
    #[must_use]
    pub fn reaches(&self, call: &Call) -> bool {
        let touches = call.operation.touches();
        let places = self.on.is_empty()
            || is_told_by_touches(call, &touches) && touches.iter().all(|touch| self.on.iter().any(|on| lies_in(&touch.on, on)));
        let verbs = self.verbs.is_empty() || touches.iter().all(|touch| self.verbs.contains(touch.verb));
        self.tools.contains(&call.tool.name)
            && call.target.as_ref().is_some_and(|target| target.name == self.target)
            && self.risk().is_some_and(|risk| call.risk() <= risk)
            && places
            && verbs
    }

    /// As people and agents are shown it.
    #[must_use]
    pub fn show(&self) -> Value {
        let on = if self.on.is_empty() { json!("anything on the target") } else { json!(self.on) };
        let verbs = if self.verbs.is_empty() { json!("whatever the risk allows") } else { json!(self.verbs) };
        json!({
            "tools": self.tools, "target": self.target, "on": on, "verbs": verbs, "risk": format!("{} and below", self.risk),
            "minutes": self.minutes, "calls": self.calls,
        })
    }
}

impl Filed {
    /// Whether an approver may grant this scope.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_grant(&self, wanted: &Scope) -> Result<(), String> {
        wanted.check().map_err(|why| format!("the scope cannot be granted: {why}"))?;
        let most = self.grant_most.ok_or("no policy allows a grant beyond this very call: leave `scope` out")?;
        if !wanted.is_within_most(most) {
            return Err(format!("the policy allows {} minutes and {} calls at most", most.minutes, most.calls));
        }
        // A program's name may have a dot in it, and is below no other: what was not asked for by name is not asked for.
        let is_host = self.target.as_ref().is_some_and(|(_, engine, _)| engine == SSH);
        let is_asked = |on: &String, offer: &Scope| !is_host || on.starts_with(['/', '~']) || offer.on.is_empty() || offer.on.contains(on);
        let fitted = self.fitted(wanted);
        match &self.offer {
            Some(offer) if fitted.is_within(offer) && fitted.on.iter().all(|on| is_asked(on, offer)) => {
                // Several who narrow it must leave something that all of them grant.
                let mut others = self.votes.iter().filter(|vote| vote.approve && !vote.lapsed).filter_map(|vote| vote.scope.as_ref());
                let left = others.try_fold(fitted, |left, other| left.meet(other));
                left.map(drop).ok_or_else(|| "nothing is left that those who approved before you grant as well".to_owned())
            }
            Some(_) if self.is_access() => Err("the scope may only be narrower than what was asked for".to_owned()),
            Some(_) => {
                Err("beyond this very call, a grant reaches only its tool, its target, its verbs, its risk and what it touches".to_owned())
            }
            None => Err("what this call touches cannot be named, so no other call is like it: leave `scope` out".to_owned()),
        }
    }

    /// A scope that says nothing of verbs means those of the call.
    pub(super) fn fitted(&self, wanted: &Scope) -> Scope {
        let verbs = self.offer.as_ref().filter(|_| wanted.verbs.is_empty()).map(|offer| offer.verbs.clone());
        Scope { verbs: verbs.unwrap_or_else(|| wanted.verbs.clone()), ..wanted.clone() }
    }

    /// What those who said yes agree on: the least that any of them would have. Of one call it is more than that call only if each of them said so.
    pub(super) fn agreed(&self) -> Option<Scope> {
        let yes = self.votes.iter().filter(|vote| vote.approve && !vote.lapsed);
        let mut agreed = self.offer.clone();
        for vote in yes {
            agreed = match &vote.scope {
                Some(scope) => agreed.and_then(|agreed| agreed.meet(scope)),
                None if self.is_access() => agreed,
                None => return None,
            };
        }
        agreed
    }
}

/// Whether all that a call does is said by what it touches: a tool that raises the risk raises it of each touch.
fn is_told_by_touches(call: &Call, touches: &[Touch]) -> bool {
    let floor = call.raised_risk.unwrap_or(Risk::Read);
    touches.iter().map(|touch| touch.risk.max(floor)).max().is_some_and(|highest| highest >= call.risk())
}

/// Whether a place is what `on` names, or in it.
fn lies_in(place: &Place, on: &str) -> bool {
    match place {
        Place::Target => false,
        // By its parts: a table whose own name has a dot in it is in no schema that the dot seems to make.
        Place::Table(path) => {
            let parts: Vec<&str> = on.split('.').collect();
            place.to_string() == on
                || !on.contains('"') && path.len() > parts.len() && path.iter().zip(&parts).all(|(mine, named)| mine == named)
        }
        Place::Path(path) => path == on || is_below(path, on),
        Place::Object(_) | Place::Program(_) => place.to_string() == on,
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    let is_plain = !path.split('/').any(|part| part == "..");
    is_plain && path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// The same between two names of places.
fn names_below(on: &str, of: &str) -> bool {
    let is_path = of.starts_with('/') || of.starts_with('~');
    on == of
        || if is_path {
            is_below(on, of)
        } else {
            !on.contains([' ', '/']) && on.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(on: &[&str]) -> Scope {
        Scope {
            tools: BTreeSet::from(["db_execute".to_owned()]),
            target: "shop".to_owned(),
            on: on.iter().map(|on| (*on).to_owned()).collect(),
            verbs: BTreeSet::new(),
            risk: "write".to_owned(),
            minutes: 30,
            calls: 10,
        }
    }

    #[test]
    fn a_scope_only_narrows() {
        let asked = scope(&["public.orders", "/srv/build"]);
        assert!(asked.is_within(&asked) && asked.is_within(&scope(&[])));
        assert!(scope(&["/srv/build/x"]).is_within(&asked) && scope(&["public.orders"]).is_within(&scope(&["public"])));
        for wider in [
            scope(&[]),
            scope(&["/srv/build-prod"]),
            scope(&["/srv"]),
            scope(&["/srv/build/../x"]),
            scope(&["public"]),
            scope(&["public.customers"]),
            Scope { risk: "destructive".to_owned(), ..scope(&["public.orders"]) },
            Scope { risk: "none".to_owned(), ..scope(&["public.orders"]) },
            Scope { minutes: 31, ..scope(&["public.orders"]) },
            Scope { calls: 11, ..scope(&["public.orders"]) },
            Scope { target: "shop2".to_owned(), ..scope(&["public.orders"]) },
            Scope { tools: BTreeSet::from(["db_query".to_owned()]), ..scope(&["public.orders"]) },
        ] {
            assert!(!wider.is_within(&asked), "{wider:?}");
        }
    }

    #[test]
    fn a_place_is_reached_by_its_parts() {
        let table = |parts: &[&str]| Place::Table(parts.iter().map(|part| (*part).to_owned()).collect());
        assert!(lies_in(&table(&["public", "orders"]), "public") && lies_in(&table(&["public", "orders"]), "public.orders"));
        for (place, on) in [
            (table(&["public.orders"]), "public"),
            (table(&["public.orders"]), "public.orders"),
            (table(&["public", "orders"]), "\"public.orders\""),
            (table(&["publicity", "orders"]), "public"),
            (table(&["orders"]), "public.orders"),
            (Place::Path("/tmp/build-prod".to_owned()), "/tmp/build"),
            (Place::Path("/tmp/build/../prod".to_owned()), "/tmp/build"),
            (Place::Path("/tmp".to_owned()), "/tmp/build"),
            (Place::Program("systemctl2".to_owned()), "systemctl"),
            (Place::Target, ""),
        ] {
            assert!(!lies_in(&place, on), "{place:?} in {on}");
        }
        assert!(lies_in(&Place::Path("/tmp/build/x".to_owned()), "/tmp/build/"));
    }
}
