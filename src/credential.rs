//! Credentials of a human on a target: issued for one permit, and for nothing else.
//!
//! Two forms. `login`: the human's own database login, the strong form, where the database itself authenticates who it is. `role`: the target's
//! service login, which becomes the human's mapped role for the one transaction; the database trusts the broker's word. A human with neither is
//! refused: there is no fallback to the service login itself.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use crate::audit::Permit;
use crate::identity::Human;
use crate::refusal::{Code, Refusal};

/// Somebody's login.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// Who may be whom on a target.
#[derive(Debug, Clone)]
pub enum Access {
    /// A file, opened by the broker: SQLite knows no users.
    File,
    /// Logins by (issuer, subject).
    Logins(BTreeMap<(String, String), Login>),
    /// A service login that may `SET ROLE` to these.
    Roles {
        /// The login; it must be a member of the roles, and should have no other right.
        service: Login,
        /// Roles by (issuer, subject).
        humans: BTreeMap<(String, String), String>,
        /// Roles by (issuer, team).
        teams: BTreeMap<(String, String), String>,
    },
}

/// What a connector connects with. Minted by [`Credentials::issue`] alone.
#[derive(Debug)]
pub struct Credential {
    login: Option<Login>,
    role: Option<String>,
}

impl Credential {
    /// The login; none for a file.
    #[must_use]
    pub const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The role to take for the transaction.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }
}

/// Issues credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    targets: BTreeMap<String, Access>,
}

impl Credentials {
    /// These targets.
    #[must_use]
    pub const fn new(targets: BTreeMap<String, Access>) -> Self {
        Self { targets }
    }

    /// The credential of the permit's human on the permit's target.
    ///
    /// # Errors
    /// `target.refused`: the human has no login and no role there, or several.
    pub fn issue(&self, permit: &Permit) -> Result<Credential, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::TargetRefused).detail(why);
        let call = permit.call();
        let target = call
            .target
            .as_ref()
            .and_then(|target| self.targets.get(&target.name))
            .ok_or_else(|| refuse("the target has no access configured"))?;
        let human: &Human = call.facts.delegation.human();
        let key = (human.issuer.clone(), human.subject.clone());
        match target {
            Access::File => Ok(Credential { login: None, role: None }),
            Access::Logins(logins) => {
                let login = logins.get(&key).ok_or_else(|| refuse("no login is configured for this human"))?;
                Ok(Credential { login: Some(login.clone()), role: None })
            }
            Access::Roles { service, humans, teams } => {
                let role = match humans.get(&key) {
                    Some(role) => role,
                    None => {
                        let found: BTreeSet<&String> =
                            human.teams.iter().filter_map(|team| teams.get(&(human.issuer.clone(), team.clone()))).collect();
                        let mut found = found.into_iter();
                        match (found.next(), found.next()) {
                            (Some(role), None) => role,
                            (None, _) => return Err(refuse("no role is mapped for this human or their teams")),
                            (Some(_), Some(_)) => {
                                return Err(refuse("several roles are mapped by this human's teams; map one to the human"));
                            }
                        }
                    }
                };
                Ok(Credential { login: Some(service.clone()), role: Some(role.clone()) })
            }
        }
    }
}
