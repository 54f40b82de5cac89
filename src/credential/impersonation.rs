//! Whom the broker is in a cluster: the human, by impersonation. From the verified delegation alone; no header or argument of a caller comes here.
//!
//! The user is made from the human's id or mapped login, the groups from the human's teams. Names that begin with `system:` are the cluster's own
//! and never made: not from a template, not from a claim. Humans of one issuer have one target's names, since two issuers may each know an `alice`.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::Permit;
use crate::credential::name::Humans;
use crate::identity::Human;
use crate::refusal::{Code, Refusal};

/// The places in templates.
const SUBJECT: &str = "{human.subject}";
const LOGIN: &str = "{human.login}";
const TEAM: &str = "{human.team}";
/// The longest user or group.
const NAME_MAX_BYTES: usize = 256;
/// Groups of one human.
const GROUPS_MAX: usize = 200;

/// How users are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By the id at the issuer, between these texts.
    Subject(String, String),
    /// By the login that the configuration maps, between these texts.
    Login(String, String),
}

/// Which groups a human has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// One for each team, named after it between these texts.
    EachTeam(String, String),
    /// By (issuer, team).
    Mapped(BTreeMap<(String, String), String>),
}

/// Whom the broker may be in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonate {
    /// The issuer whose humans may use the cluster. Mapped logins are of any issuer.
    pub issuer: String,
    /// The user.
    pub user: User,
    /// The groups.
    pub groups: Groups,
}

/// Somebody in a cluster, as every request says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonation {
    /// `Impersonate-User`.
    pub user: String,
    /// `Impersonate-Group`, one each.
    pub groups: Vec<String>,
    /// `Impersonate-Extra-…`: the agent, the delegation and the call.
    pub extra: Vec<(&'static str, String)>,
}

fn around(text: &str, place: &str) -> Option<(String, String)> {
    let (before, after) = text.split_once(place)?;
    let is_plain = !before.contains(['{', '}']) && !after.contains(['{', '}']);
    is_plain.then(|| (before.to_owned(), after.to_owned()))
}

impl User {
    /// Parses a template.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let subject = around(text, SUBJECT).map(|(before, after)| Self::Subject(before, after));
        let user = subject.or_else(|| around(text, LOGIN).map(|(before, after)| Self::Login(before, after)));
        let user = user.ok_or_else(|| format!("`user` must hold `{SUBJECT}` or `{LOGIN}` once"))?;
        if user.text().to_ascii_lowercase().starts_with("system:") {
            return Err("`user` must not begin with `system:`: those are the cluster's own".to_owned());
        }
        Ok(user)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Subject(before, after) => format!("{before}{SUBJECT}{after}"),
            Self::Login(before, after) => format!("{before}{LOGIN}{after}"),
        }
    }
}

impl Groups {
    /// Parses a template.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (before, after) = around(text, TEAM).ok_or_else(|| format!("`groups` must hold `{TEAM}` once, or be [[target.group]]"))?;
        if before.to_ascii_lowercase().starts_with("system:") {
            return Err("`groups` must not begin with `system:`: those are the cluster's own".to_owned());
        }
        Ok(Self::EachTeam(before, after))
    }
}

/// Refuses what is the cluster's own, and what a header could mean something else by.
fn checked(what: &str, name: String) -> Result<String, Refusal> {
    let refuse =
        |why: &str| Err(Refusal::new(Code::TargetRefused).detail(format!("the {what} that this human would be in the cluster {why}")));
    if name.to_ascii_lowercase().starts_with("system:") {
        return refuse("is one of the cluster's own (`system:`)");
    }
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.trim() != name || name.chars().any(char::is_control) {
        return refuse("is no name: it is empty, too long, or holds blanks at its ends or control characters");
    }
    Ok(name)
}

/// A value of a header that may hold anything: what is not plain ASCII is percent-encoded.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for b in text.bytes().take(NAME_MAX_BYTES) {
        if b.is_ascii_graphic() && b != b'%' {
            plain.push(char::from(b));
        } else {
            plain.push_str(&format!("%{b:02X}"));
        }
    }
    plain
}

impl Impersonate {
    /// The human of a permit, in this cluster.
    ///
    /// # Errors
    /// `target.refused`: the human has no name there, or one that is the cluster's own.
    pub(super) fn of(&self, permit: &Permit, logins: &Humans) -> Result<Impersonation, Refusal> {
        let delegation = &permit.call().facts.delegation;
        let human = delegation.human();
        let (user, groups) = self.names(human, logins)?;
        let lent = permit.lent().map(|lent| lent.as_str().to_owned());
        let lent = lent.or_else(|| delegation.token_id().map(|token| format!("token:{token}")));
        let agent = delegation.agent();
        let mut extra = vec![("agent", plain(&agent.id)), ("call", permit.call().facts.id.as_str().to_owned())];
        extra.extend(lent.map(|lent| ("delegation", plain(&lent))));
        Ok(Impersonation { user, groups, extra })
    }

    fn names(&self, human: &Human, logins: &Humans) -> Result<(String, Vec<String>), Refusal> {
        let refuse = |why: &str| Err(Refusal::new(Code::TargetRefused).detail(why));
        let user = match &self.user {
            User::Subject(..) if human.issuer != self.issuer => return refuse("the human is of an issuer that this cluster does not know"),
            User::Subject(before, after) => format!("{before}{}{after}", human.subject),
            User::Login(before, after) => format!("{before}{}{after}", logins.login(human)?),
        };
        let mut groups = BTreeSet::new();
        for team in &human.teams {
            match &self.groups {
                Groups::EachTeam(before, after) if human.issuer == self.issuer => {
                    groups.insert(checked("group", format!("{before}{team}{after}"))?);
                }
                Groups::EachTeam(..) => {}
                Groups::Mapped(mapped) => {
                    let group = mapped.get(&(human.issuer.clone(), team.clone()));
                    groups.extend(group.map(|group| checked("group", group.clone())).transpose()?);
                }
            }
        }
        if groups.len() > GROUPS_MAX {
            return refuse("the human is in too many groups");
        }
        Ok((checked("user", user)?, groups.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn human(subject: &str, teams: &[&str]) -> Human {
        let teams = teams.iter().map(|team| (*team).to_owned()).collect();
        Human { issuer: "one".to_owned(), subject: subject.to_owned(), name: None, teams, person: None }
    }

    #[test]
    fn nobody_becomes_one_of_the_clusters_own() {
        let impersonate = |user: &str, groups: &str| Impersonate {
            issuer: "one".to_owned(),
            user: User::parse(user).unwrap(),
            groups: Groups::parse(groups).unwrap(),
        };
        let plain = impersonate("{human.subject}", "{human.team}");
        let logins = Humans::default();
        let names = |human: &Human| plain.names(human, &logins);
        assert_eq!(
            names(&human("alice@example.com", &["b", "a", "b"])).unwrap(),
            ("alice@example.com".into(), vec!["a".into(), "b".into()])
        );
        for subject in ["system:admin", "SYSTEM:masters", "", " alice", "alice\n", "a\u{0}", &"a".repeat(300)] {
            assert!(names(&human(subject, &[])).is_err(), "{subject:?}");
        }
        for team in ["system:masters", "System:nodes", "", "a\r\nImpersonate-User: root"] {
            assert!(names(&human("alice", &["fine", team])).is_err(), "{team:?}");
        }
        let other = Human { issuer: "two".to_owned(), ..human("alice", &[]) };
        assert!(names(&other).is_err());
        let prefixed = impersonate("oidc:{human.subject}", "oidc:{human.team}");
        let found = prefixed.names(&human("system:admin", &["system:masters"]), &logins).unwrap();
        assert_eq!(found, ("oidc:system:admin".into(), vec!["oidc:system:masters".into()]));
        for wrong in ["alice", "{human.subject}{human.subject}", "system:{human.subject}", "{human.name}", "{human.subject"] {
            assert!(User::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Groups::parse("system:{human.team}").is_err() && Groups::parse("all").is_err());
    }

    #[test]
    fn an_agents_name_cannot_end_a_header() {
        assert_eq!(plain("claude\r\nX: y"), "claude%0D%0AX:%20y");
        assert_eq!(plain("ä%"), "%C3%A4%25");
    }
}
