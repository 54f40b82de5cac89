//! Credentials of a human on a target: issued for one permit, and for nothing else.
//!
//! Three forms. `login`: the human's own database login, the strong form, where the database itself authenticates who it is. `role`: the target's
//! shared login, which becomes the human's mapped role for the one transaction; the database trusts the broker's word. A human with neither is
//! refused: there is no fallback to the shared login itself. `impersonation`: the broker's own account in a cluster, whose only right is to be somebody
//! else; every request says who. `certificate`: on hosts, signed for one connection and naming the human; `shared_key` and `shared_password`: an account
//! that a host cannot tell from others', and that records call so.

pub mod access;
pub mod host;
pub mod impersonation;
pub mod name;
pub mod secret;
pub mod vault;

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::audit::Permit;
use crate::call::CredentialFacts;
use crate::refusal::{Code, Refusal};

pub use access::{Access, Source};
pub use host::HostLogin;
pub use impersonation::Impersonation;

use name::Humans;
use secret::{Reference, Secrets};

/// Somebody's login, with its secrets.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Option<SecretString>,
    /// A client certificate with its chain, and its key; both PEM.
    pub certificate: Option<(SecretString, SecretString)>,
}

impl Login {
    /// Whether nothing of it has changed.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let texts = |login: &Self| -> Vec<Option<SecretString>> {
            let (certificate, key) = login.certificate.clone().unzip();
            vec![login.password.clone(), certificate, key]
        };
        let same = |(one, two): (Option<SecretString>, Option<SecretString>)| {
            one.as_ref().map(ExposeSecret::expose_secret) == two.as_ref().map(ExposeSecret::expose_secret)
        };
        self.user == other.user && texts(self).into_iter().zip(texts(other)).all(same)
    }
}

/// What a connector connects with. Minted by [`Credentials::issue`] alone.
#[derive(Debug)]
pub struct Credential {
    login: Option<Login>,
    role: Option<String>,
    bearer: Option<SecretString>,
    impersonation: Option<Impersonation>,
    host: Option<HostLogin>,
    facts: CredentialFacts,
    /// Where the login came from: what is forgotten if the target does not take it.
    from: Option<(Reference, Option<String>)>,
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

    /// The token of the broker's own account in a cluster, where it is kept apart from the way there.
    #[must_use]
    pub const fn bearer(&self) -> Option<&SecretString> {
        self.bearer.as_ref()
    }

    /// Whom to be in a cluster.
    #[must_use]
    pub const fn impersonation(&self) -> Option<&Impersonation> {
        self.impersonation.as_ref()
    }

    /// The right to open connections to a host.
    #[must_use]
    pub const fn host(&self) -> Option<&HostLogin> {
        self.host.as_ref()
    }

    /// What records say of it.
    #[must_use]
    pub const fn facts(&self) -> &CredentialFacts {
        &self.facts
    }
}

const fn facts(form: &'static str, reference: Option<String>, is_personal: bool) -> CredentialFacts {
    CredentialFacts { form, reference, is_personal, connection: None }
}

/// Whose login is what, and where secrets are.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The logins of humans.
    pub humans: Humans,
    /// Vault, if there is one.
    pub vault: Option<vault::Settings>,
}

/// Issues credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    targets: BTreeMap<String, Access>,
    humans: Humans,
    secrets: Secrets,
}

impl Credentials {
    /// These targets. With Vault it needs a runtime.
    #[must_use]
    pub fn new(targets: BTreeMap<String, Access>, settings: Settings) -> Self {
        Self { targets, humans: settings.humans, secrets: Secrets::new(settings.vault) }
    }

    /// The credential of the permit's human on the permit's target.
    ///
    /// # Errors
    /// `target.refused`: the human has no login and no role there, or several. `target.no_credential`: a secret could not be read.
    pub async fn issue(&self, permit: &Permit) -> Result<Credential, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::TargetRefused).detail(why);
        let call = permit.call();
        let target = call
            .target
            .as_ref()
            .and_then(|target| self.targets.get(&target.name))
            .ok_or_else(|| refuse("the target has no access configured"))?;
        let human = call.facts.delegation.human();
        let (source, role, form, is_personal) = match target {
            Access::File => {
                let facts = facts("file", None, false);
                return Ok(Credential { login: None, role: None, bearer: None, impersonation: None, host: None, facts, from: None });
            }
            Access::Impersonate { token, whom } => {
                let impersonation = Some(whom.of(permit, &self.humans)?);
                let bearer = match token {
                    Some(token) => Some(self.secrets.text(token, None).await?),
                    None => None,
                };
                let reference = token.as_ref().map(|token| token.text().to_owned());
                let facts = facts("impersonation", reference, false);
                let from = token.clone().map(|token| (token, None));
                return Ok(Credential { login: None, role: None, bearer, impersonation, host: None, facts, from });
            }
            Access::Host(access) => {
                let host = Some(access.of(&call.facts.delegation, &self.humans, &self.secrets).await?);
                let facts = facts(access.form(), Some(access.reference()), false);
                return Ok(Credential { login: None, role: None, bearer: None, impersonation: None, host, facts, from: None });
            }
            Access::Logins(logins) => {
                let source = logins.get(&(human.issuer.clone(), human.subject.clone()));
                (source.ok_or_else(|| refuse("no login is configured for this human"))?, None, "login", true)
            }
            Access::EachLogin(source) => (source, None, "login", false),
            Access::Roles { service, roles } => (service, Some(roles.of(human, &self.humans)?), "role", false),
        };
        let filled = if source.is_fixed() { None } else { Some(self.humans.login(human)?) };
        let login = self.login(source, filled).await?;
        // The shared login's own rights are nobody's.
        if role.as_ref().is_some_and(|role| *role == login.user || name::is_reserved(role)) {
            return Err(refuse("the mapped role is the shared login itself, or a name that PostgreSQL reserves"));
        }
        let reference = source.references().next().cloned();
        let facts = facts(form, reference.as_ref().map(|reference| reference.text().to_owned()), is_personal);
        let from = reference.map(|reference| (reference, filled.map(ToOwned::to_owned)));
        Ok(Credential { login: Some(login), role, bearer: None, impersonation: None, host: None, facts, from })
    }

    /// Forgets what is remembered of a credential that the target did not take, so that the next call reads it anew.
    pub async fn forget(&self, credential: &Credential) {
        if let Some((reference, login)) = &credential.from {
            self.secrets.forget(reference, login.as_deref()).await;
        }
    }

    async fn login(&self, source: &Source, filled: Option<&str>) -> Result<Login, Refusal> {
        let mut certificate = None;
        if let Some((chain, key)) = &source.certificate {
            certificate = Some((self.secrets.text(chain, filled).await?, self.secrets.text(key, filled).await?));
        }
        let (user, password) = match (&source.user, &source.password) {
            (None, Some(lease)) => {
                let (user, password) = self.secrets.lease(lease, filled).await?;
                (user, Some(password))
            }
            (Some(user), Some(password)) => (user.name(filled)?, Some(self.secrets.text(password, filled).await?)),
            (Some(user), None) => (user.name(filled)?, None),
            (None, None) => return Err(Refusal::new(Code::CredentialUnavailable).cause("the login has neither user nor password")),
        };
        Ok(Login { user, password, certificate })
    }
}
