//! Secrets by reference: `env:NAME`, `file:PATH`, `vault:PATH#FIELD`, `vault:database/creds/ROLE`. A configuration names where a secret is kept
//! and never holds one.
//!
//! What is in a file or the environment is read at each use, so that a changed one needs no restart and no notice; Vault's answers are kept for
//! as long as `vault` says. Why a secret could not be read is for the operator's log; what it is, for nobody.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::credential::name::Template;
use crate::credential::vault::{self, Vault};
use crate::refusal::{Code, Refusal};

/// The longest secret, in bytes; a chain of certificates is one too.
const SECRET_MAX_BYTES: u64 = 32 * 1024;

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    place: Place,
    name: Template,
    written: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Env,
    /// Relative to this folder.
    File(PathBuf),
    /// One field of what is there; without it, a leased user and password.
    Vault(Option<String>),
}

impl Reference {
    /// Parses a reference; files are relative to a folder.
    ///
    /// # Errors
    /// It is none. It is not echoed: it may be the secret itself.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let (place, name) = match text.split_once(':') {
            Some(("env", name)) => (Place::Env, name),
            Some(("file", path)) => (Place::File(folder.to_owned()), path),
            Some(("vault", path)) => {
                let (path, field) = path.split_once('#').map_or((path, None), |(path, field)| (path, Some(field.to_owned())));
                let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.{}".contains(&b));
                let is_path = path.split('/').count() > 1
                    && path.split('/').all(|part| !part.is_empty() && plain(part) && part.bytes().any(|b| b != b'.'));
                if !is_path || field.as_ref().is_some_and(|field| field.is_empty() || !plain(field) || field.contains(['{', '}'])) {
                    return Err(
                        "a reference to Vault is `vault:PATH#FIELD`, or `vault:PATH` where it leases a user and password".to_owned()
                    );
                }
                (Place::Vault(field), path)
            }
            _ => {
                return Err(
                    "a secret must be a reference, `env:NAME`, `file:PATH` or `vault:PATH#FIELD`; it must not stand in the configuration"
                        .to_owned(),
                );
            }
        };
        if name.is_empty() || name.contains('\0') {
            return Err("a reference names nothing".to_owned());
        }
        Ok(Self { place, name: Template::parse(name)?, written: text.to_owned() })
    }

    /// As it was written, with `{human.login}` still in its place.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.written
    }

    /// Whether it is the same for everybody.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.name.is_fixed()
    }

    /// Whether it gives a user with the password: a lease of Vault's.
    #[must_use]
    pub const fn is_lease(&self) -> bool {
        matches!(self.place, Place::Vault(None))
    }

    /// Whether it needs `[vault]`.
    #[must_use]
    pub const fn is_in_vault(&self) -> bool {
        matches!(self.place, Place::Vault(_))
    }

    /// Reads what is on this machine, now. What is in Vault is not looked at.
    ///
    /// # Errors
    /// It is not there, empty or too long.
    pub fn read_here(&self, login: Option<&str>) -> Result<SecretString, String> {
        let name = self.filled(login)?;
        let found = match &self.place {
            Place::Env => std::env::var(&name).map_err(|_| format!("the environment has no `{name}`"))?,
            Place::File(folder) => read_file(&folder.join(&name))?,
            Place::Vault(_) => return Err("it is in Vault".to_owned()),
        };
        if found.is_empty() || found.len() as u64 > SECRET_MAX_BYTES {
            return Err("a secret is empty or too long".to_owned());
        }
        Ok(found.into())
    }

    fn filled(&self, login: Option<&str>) -> Result<String, String> {
        match login {
            _ if self.name.is_fixed() => Ok(self.name.text()),
            Some(login) => Ok(self.name.fill(login)),
            None => Err("there is no login to fill in".to_owned()),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let fail = |error: std::io::Error| format!("failed to read `{}`: {error}", path.display());
    let mut text = String::new();
    std::fs::File::open(path).map_err(fail)?.take(SECRET_MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Reads secrets.
#[derive(Debug, Default)]
pub struct Secrets {
    vault: Option<Vault>,
}

fn unavailable(reference: &Reference, why: &str) -> Refusal {
    Refusal::new(Code::CredentialUnavailable).cause(format!("`{}`: {why}", reference.text()))
}

impl Secrets {
    /// Where secrets are kept. With Vault it needs a runtime.
    #[must_use]
    pub fn new(vault: Option<vault::Settings>) -> Self {
        Self { vault: vault.map(Vault::start) }
    }

    /// One secret.
    ///
    /// # Errors
    /// `target.no_credential`: it could not be read; why is its private cause.
    pub async fn text(&self, reference: &Reference, login: Option<&str>) -> Result<SecretString, Refusal> {
        let fail = |why: String| unavailable(reference, &why);
        match &reference.place {
            Place::Env => reference.read_here(login).map_err(fail),
            Place::File(_) => {
                let (reference, login) = (reference.clone(), login.map(ToOwned::to_owned));
                let read = tokio::task::spawn_blocking(move || reference.read_here(login.as_deref()));
                read.await.map_err(|error| error.to_string()).and_then(|read| read).map_err(fail)
            }
            Place::Vault(field) => {
                let found = self.vault(reference, login).await?;
                let field = field.as_deref().unwrap_or("password");
                found.get(field).cloned().ok_or_else(|| unavailable(reference, "there is no such field, or it is no text"))
            }
        }
    }

    /// A leased user and password.
    pub(super) async fn lease(&self, reference: &Reference, login: Option<&str>) -> Result<(String, SecretString), Refusal> {
        use secrecy::ExposeSecret as _;
        let found = self.vault(reference, login).await?;
        match (found.get("username"), found.get("password")) {
            (Some(user), Some(password)) => Ok((user.expose_secret().to_owned(), password.clone())),
            _ => Err(unavailable(reference, "it leases no `username` and `password`")),
        }
    }

    async fn vault(&self, reference: &Reference, login: Option<&str>) -> Result<vault::Fields, Refusal> {
        let fail = |why: String| unavailable(reference, &why);
        let path = reference.filled(login).map_err(fail)?;
        let vault = self.vault.as_ref().ok_or_else(|| unavailable(reference, "there is no [vault]"))?;
        vault.read(path).await.map_err(fail)
    }

    /// Forgets what Vault said: the target did not take it.
    pub(super) async fn forget(&self, reference: &Reference, login: Option<&str>) {
        if let (Some(vault), true, Ok(path)) = (&self.vault, reference.is_in_vault(), reference.filled(login)) {
            vault.forget(path).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_of_three_forms() {
        let parse = |text: &str| Reference::parse(text, Path::new("/etc/countersign"));
        for (text, fixed, lease) in [
            ("env:PG", true, false),
            ("env:PG_{human.login}", false, false),
            ("file:secrets/{human.login}", false, false),
            ("file:/run/secrets/pg", true, false),
            ("vault:kv/data/pg#password", true, false),
            ("vault:kv/data/{human.login}#password", false, false),
            ("vault:database/creds/{human.login}", false, true),
        ] {
            let reference = parse(text).unwrap();
            assert_eq!((reference.is_fixed(), reference.is_lease(), reference.text()), (fixed, lease, text));
        }
        for text in [
            "hunter2",
            "hunter2:x",
            "env:",
            "file:",
            "file:{human.name}",
            "vault:",
            "vault:kv",
            "vault:kv/../sys/raw#x",
            "vault:kv/data/x?y#z",
            "vault:kv/data/x#",
            "vault:kv//x#y",
            "vault:kv/data/x#{human.login}",
        ] {
            let why = parse(text).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        assert!(parse("file:secrets/{human.login}").unwrap().read_here(None).is_err());
    }
}
