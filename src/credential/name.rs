//! Logins of humans on targets, and the texts in which one is filled in: `app_{human.login}`, `file:secrets/{human.login}`.
//!
//! Nothing but a plain PostgreSQL name is ever filled in, whether it was mapped or is the human's own id: no other character may reach a path, the
//! name of an environment variable, a path of Vault or a role. Names that PostgreSQL reserves are none: `none` would mean the session's own role.

use std::collections::BTreeMap;

use crate::identity::Human;
use crate::refusal::{Code, Refusal};

/// The place in a template.
const PLACE: &str = "{human.login}";
/// The longest name that PostgreSQL does not cut.
pub const NAME_MAX_BYTES: usize = 63;

/// Whether a name is a plain one of PostgreSQL, `[a-z_][a-z0-9_]{0,62}`, and free to be given to somebody.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    begins && goes_on && name.len() <= NAME_MAX_BYTES && !is_reserved(name)
}

/// Names that are nobody's: PostgreSQL gives them a meaning of their own.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    matches!(name, "none" | "public" | "current_user" | "current_role" | "session_user") || name.starts_with("pg_")
}

/// A text with a human's login in some places, or in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The text around the places.
    around: Vec<String>,
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// A brace that is no part of `{human.login}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let around: Vec<String> = text.split(PLACE).map(ToOwned::to_owned).collect();
        if around.iter().any(|text| text.contains(['{', '}'])) {
            return Err(format!("a brace may stand only in `{PLACE}`"));
        }
        Ok(Self { around })
    }

    /// Whether it is the same for everybody.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.around.len() < 2
    }

    /// With a login in every place.
    #[must_use]
    pub fn fill(&self, login: &str) -> String {
        self.around.join(login)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> String {
        self.fill(PLACE)
    }

    /// A name of PostgreSQL with a login in every place.
    ///
    /// # Errors
    /// `target.refused`: what comes of it is no plain name.
    pub fn name(&self, login: Option<&str>) -> Result<String, Refusal> {
        match login.filter(|_| !self.is_fixed()) {
            None if self.is_fixed() => Ok(self.text()),
            Some(login) if is_plain(&self.fill(login)) => Ok(self.fill(login)),
            _ => Err(Refusal::new(Code::TargetRefused).detail("the human's login makes no plain name here")),
        }
    }
}

/// Logins that systems, databases and images of clouds give their administrators: nobody has one because an issuer calls somebody so.
const ADMINISTRATORS: &[&str] = &[
    "root",
    "toor",
    "admin",
    "administrator",
    "system",
    "sys",
    "sa",
    "postgres",
    "mysql",
    "mariadb",
    "oracle",
    "ubuntu",
    "debian",
    "centos",
    "fedora",
    "rocky",
    "almalinux",
    "core",
    "opc",
    "azureuser",
    "vagrant",
    "ansible",
    "pi",
];

/// The logins of humans.
#[derive(Debug, Clone, Default)]
pub struct Humans {
    mapped: BTreeMap<(String, String), String>,
    /// The issuer whose ids may stand for themselves.
    issuer: String,
}

impl Humans {
    /// Humans by (issuer, subject), and the issuer whose ids may stand for themselves. Of any other issuer only mapped humans have a login: two
    /// issuers may each know an `alice`.
    ///
    /// # Errors
    /// What is wrong with the map.
    pub fn new(issuer: &str, mapped: BTreeMap<(String, String), String>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut owners: BTreeMap<&String, &String> = BTreeMap::new();
        for ((_, subject), login) in &mapped {
            if !is_plain(login) {
                problems.push(format!("the login of `{subject}` must be a plain name of `[a-z_][a-z0-9_]*`, at most {NAME_MAX_BYTES}"));
            }
            if let Some(other) = owners.insert(login, subject) {
                problems.push(format!("`{other}` and `{subject}` have the same login"));
            }
        }
        if problems.is_empty() { Ok(Self { mapped, issuer: issuer.to_owned() }) } else { Err(problems) }
    }

    /// The login of a human: the mapped one, else the id, if it is a plain name that is nobody else's login, nor an administrator's.
    ///
    /// # Errors
    /// `target.refused`: the human has none.
    pub fn login<'a>(&'a self, human: &'a Human) -> Result<&'a str, Refusal> {
        if let Some(login) = self.mapped.get(&(human.issuer.clone(), human.subject.clone())) {
            return Ok(login);
        }
        let own = &human.subject;
        if ADMINISTRATORS.contains(&own.as_str()) {
            let why = format!(
                "no login is mapped for this human, and `{own}` is what administrators are called: [[human]] maps it if that is meant"
            );
            return Err(Refusal::new(Code::TargetRefused).detail(why));
        }
        if human.issuer == self.issuer && is_plain(own) && !self.mapped.values().any(|login| login == own) {
            return Ok(own);
        }
        Err(Refusal::new(Code::TargetRefused).detail("no login is mapped for this human, and the id is not one"))
    }

    /// The logins that are mapped, with whose they are.
    pub fn mapped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mapped.iter().map(|((_, subject), login)| (subject.as_str(), login.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn human(issuer: &str, subject: &str) -> Human {
        Human { issuer: issuer.to_owned(), subject: subject.to_owned(), name: None, teams: Vec::new(), person: None }
    }

    #[test]
    fn only_plain_names_are_filled_in() {
        for plain in ["alice", "_", "a1_b", "a".repeat(63).as_str()] {
            assert!(is_plain(plain), "{plain}");
        }
        let long = "a".repeat(64);
        for other in [
            "",
            "Alice",
            "1a",
            "a-b",
            "a.b",
            "../x",
            "a/b",
            "a b",
            "a\0",
            "a\"",
            "a'",
            "a%2e",
            "ä",
            "a\n",
            "none",
            "pg_read_all_data",
            "public",
            "alice@example.com",
            long.as_str(),
        ] {
            assert!(!is_plain(other), "{other}");
            let refused = Humans::default().login(&human("", other)).is_err();
            assert!(refused, "{other}");
        }
        let role = Template::parse("app_{human.login}").unwrap();
        assert_eq!(role.name(Some("alice")).unwrap(), "app_alice");
        assert!(role.name(Some(&"a".repeat(60))).is_err() && role.name(None).is_err());
        assert!(Template::parse("{human.login}").unwrap().name(Some("none")).is_err());
        assert!(Template::parse("{human}").is_err() && Template::parse("a}").is_err());
        assert_eq!(Template::parse("a_{human.login}_{human.login}").unwrap().fill("x"), "a_x_x");
    }

    #[test]
    fn a_login_is_one_humans() {
        let key = |issuer: &str, subject: &str| (issuer.to_owned(), subject.to_owned());
        let mapped = BTreeMap::from([
            (key("one", "alice@example.com"), "alice".to_owned()),
            (key("two", "bob"), "robert".to_owned()),
            (key("one", "boss"), "admin".to_owned()),
        ]);
        let humans = Humans::new("one", mapped.clone()).unwrap();
        for (issuer, subject, login) in [
            ("one", "alice@example.com", Some("alice")),
            ("two", "bob", Some("robert")),
            ("one", "bob", Some("bob")),
            // Somebody else's login, an id of another issuer, and none at all.
            ("one", "alice", None),
            ("two", "alice", None),
            ("two", "carol", None),
            ("one", "carol@example.com", None),
            ("one", "root", None),
            ("one", "postgres", None),
            ("one", "boss", Some("admin")),
        ] {
            assert_eq!(humans.login(&human(issuer, subject)).ok(), login, "{issuer} {subject}");
        }
        let mut twice = mapped;
        twice.insert(key("two", "al"), "alice".to_owned());
        assert_eq!(Humans::new("one", twice).unwrap_err().len(), 1);
    }
}
