//! Who may be whom on a target, as it is configured: logins of humans, or a shared login that takes a role for the one transaction.
//!
//! Kept apart from secrets: what a call could reach is told from this alone, without asking anybody.

use std::collections::{BTreeMap, BTreeSet};

use crate::credential::host::{Accounts, HostAccess};
use crate::credential::impersonation::{Impersonate, User};
use crate::credential::name::{Humans, Template};
use crate::credential::secret::Reference;
use crate::identity::Human;
use crate::refusal::{Code, Refusal};

/// Somebody's login, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The user; none where Vault leases one with the password.
    pub user: Option<Template>,
    /// The password.
    pub password: Option<Reference>,
    /// A client certificate with its chain, and its key; both PEM.
    pub certificate: Option<(Reference, Reference)>,
}

/// By (issuer, name).
type Names<T> = BTreeMap<(String, String), T>;

/// Who may be whom on a target.
#[derive(Debug, Clone)]
pub enum Access {
    /// A file, opened by the broker: SQLite knows no users.
    File,
    /// Logins by (issuer, subject).
    Logins(Names<Source>),
    /// A login for each human, by a template.
    EachLogin(Source),
    /// A shared login that may `SET ROLE`. It must be a member of the roles, and should have no other right.
    Roles {
        /// The login.
        service: Source,
        /// The roles.
        roles: Roles,
    },
    /// A cluster, in which the broker's own account may be others and nothing else.
    Impersonate {
        /// The account's token, where the way there does not bring it.
        token: Option<Reference>,
        /// Whom it may be.
        whom: Impersonate,
    },
    /// A host.
    Host(HostAccess),
}

/// The roles that a shared login takes.
#[derive(Debug, Clone)]
pub enum Roles {
    /// By human, else by team.
    Mapped {
        /// By (issuer, subject).
        humans: Names<String>,
        /// By (issuer, team).
        teams: Names<String>,
    },
    /// A role for each human, by a template.
    Each(Template),
}

/// A login or role that a call could reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The login or role.
    pub name: String,
    /// `login`, `role`, `file`, `impersonation`, `certificate`, `shared_key`, `shared_password`, as records have it.
    pub form: &'static str,
    /// The shared login that takes the role.
    pub through: Option<String>,
    /// In whose calls.
    pub who: String,
}

impl Source {
    /// Whether it is the same for everybody.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.references().all(Reference::is_fixed) && self.user.as_ref().is_none_or(Template::is_fixed)
    }

    /// All references, the password's first.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.password.iter().chain(self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]))
    }

    /// The user, as it is configured.
    #[must_use]
    pub fn user_text(&self) -> String {
        match (&self.user, &self.password) {
            (Some(user), _) => user.text(),
            (None, Some(password)) => format!("(leased by {})", password.text()),
            (None, None) => String::new(),
        }
    }
}

impl Roles {
    /// The role of a human.
    ///
    /// # Errors
    /// `target.refused`: none is mapped, or several are.
    pub(super) fn of(&self, human: &Human, logins: &Humans) -> Result<String, Refusal> {
        let refuse = |why: &str| Err(Refusal::new(Code::TargetRefused).detail(why));
        let (humans, teams) = match self {
            Self::Each(template) => return template.name(Some(logins.login(human)?)),
            Self::Mapped { humans, teams } => (humans, teams),
        };
        if let Some(role) = humans.get(&(human.issuer.clone(), human.subject.clone())) {
            return Ok(role.clone());
        }
        let found: BTreeSet<&String> = human.teams.iter().filter_map(|team| teams.get(&(human.issuer.clone(), team.clone()))).collect();
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(role), None) => Ok(role.clone()),
            (None, _) => refuse("no role is mapped for this human or their teams"),
            (Some(_), Some(_)) => refuse("several roles are mapped by this human's teams; map one to the human"),
        }
    }
}

impl Access {
    /// Whether humans share a login and become somebody by `SET ROLE`, which a function's body could undo.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Roles { .. })
    }

    /// Every login or role that a call could reach.
    #[must_use]
    pub fn reach(&self, logins: &Humans) -> Vec<Reach> {
        let anybody = "any other human whose id is a plain name, and no administrator's".to_owned();
        let each = |template: &Template, form, through: Option<&String>| {
            let one = |name: String, who: String| Reach { name, form, through: through.cloned(), who };
            let mapped = logins.mapped().filter_map(|(who, login)| Some(one(template.name(Some(login)).ok()?, format!("human {who}"))));
            mapped.chain([one(template.text(), anybody.clone())]).collect()
        };
        match self {
            Self::File => vec![Reach { name: "(the file)".to_owned(), form: "file", through: None, who: "everybody".to_owned() }],
            Self::Logins(humans) => humans
                .iter()
                .map(|((_, who), source)| Reach { name: source.user_text(), form: "login", through: None, who: format!("human {who}") })
                .collect(),
            Self::EachLogin(Source { user: Some(user), .. }) => each(user, "login", None),
            Self::EachLogin(source) => vec![Reach { name: source.user_text(), form: "login", through: None, who: anybody }],
            Self::Impersonate { whom, .. } => vec![Reach {
                name: whom.user.text(),
                form: "impersonation",
                through: None,
                who: match &whom.user {
                    User::Subject(..) => format!("any human of {}", whom.issuer),
                    User::Login(..) => anybody,
                },
            }],
            Self::Host(access) => on_host(access, each),
            Self::Roles { service, roles: Roles::Each(template) } => each(template, "role", Some(&service.user_text())),
            Self::Roles { service, roles: Roles::Mapped { humans, teams } } => {
                let named = |kind: &str, names: &Names<String>| -> Vec<Reach> {
                    let one = |((_, who), role): (&(String, String), &String)| Reach {
                        name: role.clone(),
                        form: "role",
                        through: Some(service.user_text()),
                        who: format!("{kind} {who}"),
                    };
                    names.iter().map(one).collect()
                };
                [named("human", humans), named("team", teams)].concat()
            }
        }
    }

    /// What is allowed here and should not be.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Logins(humans) => {
                let mut users = BTreeSet::new();
                humans
                    .values()
                    .map(Source::user_text)
                    .filter(|user| !users.insert(user.clone()))
                    .map(|user| format!("the login `{user}` belongs to several humans: the database cannot tell them apart"))
                    .collect()
            }
            Self::Roles { service, roles: Roles::Mapped { humans, teams } } if humans.is_empty() && teams.is_empty() => {
                vec![format!("the shared login `{}` has no mapped role: every call is refused", service.user_text())]
            }
            Self::Host(access @ HostAccess::Shared { account, .. }) => {
                vec![format!("all humans share the account `{account}` ({}): the host cannot tell them apart", access.form())]
            }
            Self::File | Self::EachLogin(_) | Self::Roles { .. } | Self::Impersonate { .. } | Self::Host(_) => Vec::new(),
        }
    }
}

/// The accounts of a host that a call could reach.
fn on_host(access: &HostAccess, each: impl Fn(&Template, &'static str, Option<&String>) -> Vec<Reach>) -> Vec<Reach> {
    match access {
        HostAccess::Shared { account, .. } => {
            vec![Reach { name: account.clone(), form: access.form(), through: None, who: "everybody".to_owned() }]
        }
        HostAccess::Certificate { principals: Accounts::Each(template), account, .. } => each(template, access.form(), account.as_ref()),
        HostAccess::Certificate { principals: Accounts::Mapped(mapped), account, .. } => mapped
            .iter()
            .map(|((_, who), name)| Reach {
                name: name.clone(),
                form: access.form(),
                through: account.clone(),
                who: format!("human {who}"),
            })
            .collect(),
    }
}
