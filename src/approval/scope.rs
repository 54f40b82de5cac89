//! What a grant for a time reaches: which tools, on which target, on what there, up to which risk, for how long and how many calls.
//!
//! A scope is asked for by an agent or chosen by an approver, and only ever narrowed on the way. It never widens by how its names look: a folder reaches
//! what is below it and not its neighbour `build-prod`, a schema reaches its tables, anything else itself alone. What cannot be told is not reached.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::approval::{Filed, GrantMost};
use crate::call::Call;
use crate::operation::{Place, Risk};

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
    /// The highest risk, `read` to `admin`.
    pub risk: String,
    /// For so many minutes from the decision.
    pub minutes: u32,
    /// For so many calls.
    pub calls: u32,
}

impl Scope {
    /// The narrowest that reaches this very call; `None` where the call has no target.
    #[must_use]
    pub fn of(call: &Call, most: GrantMost) -> Option<Self> {
        let touches = call.operation.touches();
        let highest = touches.iter().map(|touch| touch.risk).max();
        // Where it does more than its touches say, or touches the whole target, no list of them would reach it.
        let is_whole = highest.is_none_or(|highest| highest < call.risk()) || touches.iter().any(|touch| touch.on == Place::Target);
        Some(Self {
            tools: BTreeSet::from([call.tool.name.clone()]),
            target: call.target.as_ref()?.name.clone(),
            on: if is_whole { BTreeSet::new() } else { touches.iter().map(|touch| touch.on.to_string()).collect() },
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
        self.tools.is_subset(&other.tools)
            && self.target == other.target
            && places
            && self.risk().zip(other.risk()).is_some_and(|(mine, most)| mine <= most)
            && self.minutes <= other.minutes
            && self.calls <= other.calls
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
        let highest = touches.iter().map(|touch| touch.risk).max();
        let is_told_by_touches = highest.is_some_and(|highest| highest >= call.risk());
        let places =
            self.on.is_empty() || is_told_by_touches && touches.iter().all(|touch| self.on.iter().any(|on| lies_in(&touch.on, on)));
        self.tools.contains(&call.tool.name)
            && call.target.as_ref().is_some_and(|target| target.name == self.target)
            && self.risk().is_some_and(|risk| call.risk() <= risk)
            && places
    }

    /// As people and agents are shown it.
    #[must_use]
    pub fn show(&self) -> Value {
        let on = if self.on.is_empty() { json!("anything on the target") } else { json!(self.on) };
        json!({
            "tools": self.tools, "target": self.target, "on": on, "risk": format!("{} and below", self.risk),
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
        match &self.scope {
            Some(asked) if !wanted.is_within(asked) => Err("the scope may only be narrower than what was asked for".to_owned()),
            None if !wanted.is_within(&self.widest(most)) => {
                Err("beyond this very call, a grant reaches only its tool, its target, its risk and what is below what it touches"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What an approver may grant at most: what was asked for, or what is around the call; `None` where no policy allows that.
    #[must_use]
    pub fn offer(&self) -> Option<Scope> {
        let most = self.grant_most?;
        Some(self.scope.clone().unwrap_or_else(|| self.widest(most)))
    }

    /// What an approver of one call may grant at most.
    fn widest(&self, most: GrantMost) -> Scope {
        let on = self.touches.iter().filter_map(|touch| touch.split_once(' ').map(|(_, on)| on)).filter(|on| !on.is_empty());
        Scope {
            tools: BTreeSet::from([self.tool.clone()]),
            target: self.target.as_ref().map(|(name, ..)| name.clone()).unwrap_or_default(),
            on: on.map(ToOwned::to_owned).collect(),
            risk: self.subject().risk.as_str().to_owned(),
            minutes: most.minutes,
            calls: most.calls,
        }
    }
}

/// Whether a place is what `on` names, or in it.
fn lies_in(place: &Place, on: &str) -> bool {
    match place {
        Place::Target => false,
        // By its parts: a table whose own name has a dot in it is in no schema that the dot seems to make.
        Place::Table(path) => {
            let parts: Vec<&str> = on.split('.').collect();
            path.join(".") == on || path.len() > parts.len() && path.iter().zip(&parts).all(|(mine, named)| mine == named)
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
