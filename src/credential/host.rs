//! Who a human is on a host: an account, and a certificate of the broker's authority that names the human for one connection.
//!
//! The key of a certificate is made for it and lives as long as its connection; the host trusts the authority (`TrustedUserCAKeys`), so that nothing is
//! kept on either side. What the certificate allows is nothing but what the connection is for: no terminal, no forwarding, and where one command is all
//! there is to do, that command (`force-command`). An authority's key is in a file, or in an agent (`ssh-agent`, which also speaks for PKCS#11 tokens).

mod agent;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Timestamp;
use crate::credential::name::{Humans, Template};
use crate::credential::secret::{Reference, Secrets};
use crate::id::CallId;
use crate::identity::{Delegation, Human};
use crate::operation::ssh::is_account;
use crate::refusal::{Code, Refusal};

/// Where the key of the broker's authority is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A private key in OpenSSH's form, by reference.
    Key(Reference),
    /// An agent that holds it, by its socket, and the public key.
    Agent {
        /// The socket.
        socket: PathBuf,
        /// The public key, one line in OpenSSH's form.
        public: String,
    },
}

/// How accounts are named.
#[derive(Debug, Clone)]
pub enum Accounts {
    /// By a template.
    Each(Template),
    /// By (issuer, subject).
    Mapped(BTreeMap<(String, String), String>),
}

/// How a human comes to be somebody on a host.
#[derive(Debug, Clone)]
pub enum HostAccess {
    /// By a certificate of the broker's authority for each connection.
    Certificate {
        /// The authority.
        authority: Authority,
        /// The principal of each human.
        principals: Accounts,
        /// The one account that all of them use; each its own otherwise.
        account: Option<String>,
        /// How long a certificate may be used to log in.
        lifetime: Duration,
    },
    /// By an account, key or password that all share: the host cannot tell who it was.
    Shared {
        /// The account.
        account: String,
        /// What opens it.
        by: Shared,
    },
}

/// What opens a shared account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shared {
    /// A private key in OpenSSH's form.
    Key(Reference),
    /// A password.
    Password(Reference),
}

impl Accounts {
    fn of(&self, human: &Human, humans: &Humans) -> Result<String, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::TargetRefused).detail(why);
        let name = match self {
            Self::Each(template) => template.fill(humans.login(human)?),
            Self::Mapped(mapped) => mapped
                .get(&(human.issuer.clone(), human.subject.clone()))
                .cloned()
                .ok_or_else(|| refuse("no login is configured for this human"))?,
        };
        if is_account(&name) { Ok(name) } else { Err(refuse("the human's login makes no name of an account")) }
    }
}

/// What a certificate allows beside logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Commands and files, one after another.
    Session,
    /// This command and nothing else.
    Command(String),
    /// To be passed through to the next host, and nothing else.
    Passage,
}

/// What a connection is opened with: made for it, and gone with it.
pub enum Opener {
    /// A key, and the certificate over it.
    Certificate(Arc<PrivateKey>, Box<Certificate>),
    /// A key that the host has.
    Key(Arc<PrivateKey>),
    /// A password.
    Password(SecretString),
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// The right to open connections to a host as one human, for one call's work.
#[derive(Debug)]
pub struct HostLogin {
    account: String,
    way: Way,
}

enum Way {
    Certificate { authority: Box<Signer>, principal: String, lifetime: Duration, human: String, agent: String },
    Key(Arc<PrivateKey>),
    Password(SecretString),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate { .. } => "certificate",
            Self::Key(_) => "key",
            Self::Password(_) => "password",
        })
    }
}

/// Who signs.
#[derive(Clone)]
enum Signer {
    Key(Arc<PrivateKey>),
    Agent { socket: PathBuf, public: PublicKey },
}

/// The longest name within a key id, which `sshd` cuts in its log where it is too long.
const NAME_MAX_BYTES: usize = 64;
/// Clocks of hosts that are a little behind.
const SKEW: Duration = Duration::from_secs(60);

/// A name within a key id: what could end it or look like another part is percent-encoded.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"@._-+:".contains(&b) {
            plain.push(char::from(b));
        } else {
            plain.push_str(&format!("%{b:02X}"));
        }
        if plain.len() >= NAME_MAX_BYTES {
            break;
        }
    }
    plain
}

fn unavailable(cause: impl fmt::Display) -> Refusal {
    Refusal::new(Code::CredentialUnavailable).cause(cause)
}

/// Bytes from the system's random source.
fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0_u8; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| unavailable("the system has no randomness to give"))?;
    Ok(bytes)
}

/// A new ed25519 key.
fn new_key() -> Result<PrivateKey, Refusal> {
    let mut seed = random::<32>()?;
    let pair = Ed25519Keypair::from_seed(&seed);
    zeroize::Zeroize::zeroize(&mut seed);
    PrivateKey::new(KeypairData::Ed25519(pair), "").map_err(unavailable)
}

/// The key of a new authority.
///
/// # Errors
/// The system has no randomness to give.
pub fn new_authority(comment: &str) -> Result<PrivateKey, Refusal> {
    let mut key = new_key()?;
    key.set_comment(comment);
    Ok(key)
}

/// Whether keys of this kind are spoken here.
#[must_use]
pub const fn is_spoken(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. })
}

/// A private key from its text, unencrypted.
///
/// # Errors
/// What is wrong with it; never the text.
pub fn private_key(text: &SecretString) -> Result<PrivateKey, String> {
    let key =
        PrivateKey::from_openssh(text.expose_secret().as_bytes()).map_err(|error| format!("it is no private key of OpenSSH's: {error}"))?;
    if key.is_encrypted() {
        return Err("it is encrypted: keep it in an agent, or decrypt it".to_owned());
    }
    if !is_spoken(&key.algorithm()) {
        return Err("it is neither an ed25519 nor an ECDSA key".to_owned());
    }
    Ok(key)
}

impl HostAccess {
    /// The right of a delegation's human.
    pub(super) async fn of(&self, delegation: &Delegation, humans: &Humans, secrets: &Secrets) -> Result<HostLogin, Refusal> {
        match self {
            Self::Certificate { authority, principals, account, lifetime } => {
                let principal = principals.of(delegation.human(), humans)?;
                let authority = match authority {
                    Authority::Key(reference) => {
                        let text = secrets.text(reference, None).await?;
                        Signer::Key(Arc::new(private_key(&text).map_err(unavailable)?))
                    }
                    Authority::Agent { socket, public } => {
                        Signer::Agent { socket: socket.clone(), public: PublicKey::from_openssh(public).map_err(unavailable)? }
                    }
                };
                Ok(HostLogin {
                    account: account.clone().unwrap_or_else(|| principal.clone()),
                    way: Way::Certificate {
                        authority: Box::new(authority),
                        principal,
                        lifetime: *lifetime,
                        human: plain(&delegation.human().subject),
                        agent: plain(&delegation.agent().id),
                    },
                })
            }
            Self::Shared { account, by } => {
                let way = match by {
                    Shared::Key(reference) => {
                        let text = secrets.text(reference, None).await?;
                        Way::Key(Arc::new(private_key(&text).map_err(unavailable)?))
                    }
                    Shared::Password(reference) => Way::Password(secrets.text(reference, None).await?),
                };
                Ok(HostLogin { account: account.clone(), way })
            }
        }
    }

    /// How records call it.
    #[must_use]
    pub const fn form(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "certificate",
            Self::Shared { by: Shared::Key(_), .. } => "shared_key",
            Self::Shared { by: Shared::Password(_), .. } => "shared_password",
        }
    }

    /// Where its secret is kept.
    #[must_use]
    pub fn reference(&self) -> String {
        match self {
            Self::Certificate { authority: Authority::Key(reference), .. }
            | Self::Shared { by: Shared::Key(reference) | Shared::Password(reference), .. } => reference.text().to_owned(),
            Self::Certificate { authority: Authority::Agent { socket, .. }, .. } => format!("agent:{}", socket.display()),
        }
    }
}

impl HostLogin {
    /// The account on the host.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Makes what opens one connection. Its key id names the human, the agent and the connection; the call too, where it is the only one.
    ///
    /// # Errors
    /// `target.no_credential`: the authority could not sign.
    pub(crate) async fn opener(&self, connection: &str, call: Option<&CallId>, scope: &Scope, now: Timestamp) -> Result<Opener, Refusal> {
        let (authority, principal, lifetime, human, agent) = match &self.way {
            Way::Key(key) => return Ok(Opener::Key(Arc::clone(key))),
            Way::Password(password) => return Ok(Opener::Password(password.clone())),
            Way::Certificate { authority, principal, lifetime, human, agent } => (authority, principal, *lifetime, human, agent),
        };
        let key = new_key()?;
        let call = call.map(|call| format!(" call={call}")).unwrap_or_default();
        let now = u64::try_from(now.timestamp()).map_err(unavailable)?;
        let build = || -> Result<Builder, russh::keys::ssh_key::Error> {
            let (from, until) = (now.saturating_sub(SKEW.as_secs()), now.saturating_add(lifetime.as_secs()));
            let nonce = random::<32>().map_err(|_| russh::keys::ssh_key::Error::Crypto)?;
            let serial = random::<8>().map_err(|_| russh::keys::ssh_key::Error::Crypto)?;
            let mut builder = Builder::new(nonce, key.public_key(), from, until)?;
            // A serial number is kept within what JSON's readers count exactly.
            builder.serial(u64::from_be_bytes(serial) >> 11)?;
            builder.cert_type(CertType::User)?;
            builder.key_id(format!("human={human} agent={agent} conn={connection}{call}"))?;
            builder.valid_principal(principal.as_str())?;
            match scope {
                Scope::Session => {}
                Scope::Command(command) => drop(builder.critical_option("force-command", command.as_str())?),
                Scope::Passage => {
                    builder.critical_option("force-command", "/bin/false")?;
                    builder.extension("permit-port-forwarding", "")?;
                }
            }
            Ok(builder)
        };
        let builder = build().map_err(unavailable)?;
        let certificate = match authority.as_ref() {
            Signer::Key(authority) => builder.sign(authority.as_ref()).map_err(unavailable)?,
            Signer::Agent { socket, public } => agent::sign(builder, socket.clone(), public.clone()).await?,
        };
        Ok(Opener::Certificate(Arc::new(key), Box::new(certificate)))
    }
}
