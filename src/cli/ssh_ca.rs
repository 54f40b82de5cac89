//! `countersign ssh-ca`: the authority that signs certificates for hosts: make one, show what hosts must trust, and what their sshd needs.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::output::{json as print_json, say};
use crate::credential::host::{new_authority, private_key};

/// Set up the authority that signs certificates for hosts.
#[derive(Debug, Args)]
pub(super) struct SshCa {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the authority's key; refused where there is one.
    Init {
        /// The file of its private key (0600); the public one goes beside it, with `.pub`.
        #[arg(default_value = "ssh_ca", value_name = "FILE")]
        key: PathBuf,
    },
    /// Print the public key, which hosts trust.
    Public {
        /// The file of the private or public key.
        #[arg(default_value = "ssh_ca", value_name = "FILE")]
        key: PathBuf,
        /// JSON instead of a line.
        #[arg(long)]
        json: bool,
    },
    /// Print what a host's owner must do, ready to be pasted: files for /etc/ssh and the lines of sshd_config.
    SshdConfig {
        /// The file of the private or public key.
        #[arg(default_value = "ssh_ca", value_name = "FILE")]
        key: PathBuf,
        /// The account that humans come in as; without, each comes in as an account of their own name.
        #[arg(long, value_name = "NAME", requires = "principal")]
        account: Option<String>,
        /// Logins that may be that account.
        #[arg(long, value_name = "LOGIN", requires = "account")]
        principal: Vec<String>,
    },
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Unreachable(format!("failed to read `{}`: {error}", path.display()))
}

/// The public key of a file that holds it, or the private one.
fn public(path: &Path) -> Result<russh::keys::PublicKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    if let Ok(key) = russh::keys::PublicKey::from_openssh(text.trim()) {
        return Ok(key);
    }
    let key = private_key(&SecretString::from(text)).map_err(|why| Failure::Usage(format!("`{}`: {why}", path.display())))?;
    Ok(key.public_key().clone())
}

fn line(key: &russh::keys::PublicKey) -> Result<String, Failure> {
    key.to_openssh().map_err(|error| Failure::Usage(error.to_string()))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    let written = options.write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Failure::Unreachable(format!("failed to write `{}`: {error}", path.display())))
}

impl SshCa {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Init { key } => init(&key),
            Command::Public { key, json } => {
                let public = public(&key)?;
                if json {
                    let fingerprint = public.fingerprint(russh::keys::HashAlg::Sha256).to_string();
                    print_json(&json!({ "public_key": line(&public)?, "fingerprint": fingerprint }));
                } else {
                    say(&line(&public)?);
                }
                Ok(())
            }
            Command::SshdConfig { key, account, principal } => {
                say(&sshd_config(&line(&public(&key)?)?, account.as_deref(), &principal)?);
                Ok(())
            }
        }
    }
}

fn init(path: &Path) -> Result<(), Failure> {
    let key = new_authority("countersign-ca").map_err(|refusal| Failure::Unreachable(refusal.message()))?;
    let text = key.to_openssh(russh::keys::ssh_key::LineEnding::LF).map_err(|error| Failure::Usage(error.to_string()))?;
    let public_path = path.with_added_extension("pub");
    if path.exists() || public_path.exists() {
        return Err(Failure::Negative(format!("`{}` is there already: hosts may trust it, so it is left as it is", path.display())));
    }
    write(path, 0o600, &text)?;
    write(&public_path, 0o644, &format!("{}\n", line(key.public_key())?))?;
    let fingerprint = key.public_key().fingerprint(russh::keys::HashAlg::Sha256);
    say(&format!("made `{}` ({fingerprint}), and `{}` for hosts", path.display(), public_path.display()));
    say("next: name it in countersign.toml");
    say(&format!("  [ssh]\n  ca = \"file:{}\"", path.display()));
    say(&format!("and see what a host needs: countersign ssh-ca sshd-config {}", path.display()));
    Ok(())
}

/// What to paste on a host, as root.
fn sshd_config(public: &str, account: Option<&str>, principals: &[String]) -> Result<String, Failure> {
    let is_name = |name: &&str| crate::operation::ssh::is_account(name);
    if let Some(wrong) = account.into_iter().chain(principals.iter().map(String::as_str)).find(|name| !is_name(name)) {
        return Err(Failure::Usage(format!("`{}` is no name of an account", wrong.escape_default())));
    }
    // In a shell of its own: what stops it leaves the owner's own alone.
    let mut text = format!(
        "# On the host, as root. Nothing of this lets anybody in without a certificate that the broker made minutes ago. It may be done again.\n\
         sh -eu <<'COUNTERSIGN'\n\
         # An authority that is trusted already would be displaced (the first TrustedUserCAKeys counts): then add the key to its file instead.\n\
         other=$(sshd -T 2>/dev/null </dev/null | grep -i '^trustedusercakeys /' | grep -v ' /etc/ssh/countersign_ca.pub$') || :\n\
         [ -z \"$other\" ] || {{ echo \"nothing was done: sshd has $other: add the key to that file\" >&2; exit 1; }}\n\
         mkdir -p /etc/ssh/sshd_config.d\n\
         cat > /etc/ssh/countersign_ca.pub.new <<'KEY'\n{public}\nKEY\n\
         [ ! -e /etc/ssh/countersign_ca.pub ] || cmp -s /etc/ssh/countersign_ca.pub.new /etc/ssh/countersign_ca.pub || {{\n\
         rm /etc/ssh/countersign_ca.pub.new\n\
         echo 'nothing was done: /etc/ssh/countersign_ca.pub is of another authority; remove it if that is over' >&2; exit 1; }}\n\
         mv /etc/ssh/countersign_ca.pub.new /etc/ssh/countersign_ca.pub\n\
         cat > /etc/ssh/sshd_config.d/50-countersign.conf <<'CONF'\n\
         TrustedUserCAKeys /etc/ssh/countersign_ca.pub\n"
    );
    if account.is_some() {
        text.push_str("AuthorizedPrincipalsFile /etc/ssh/countersign_principals/%u\n");
    }
    text.push_str(
        "# A connection that is cut is noticed within half a minute, and what ran over it is ended.\n\
         ClientAliveInterval 10\nClientAliveCountMax 3\n",
    );
    if account.is_none() {
        // With principals, root has none.
        text.push_str("# No certificate opens root, whoever is called so.\nMatch User root\n  TrustedUserCAKeys none\n");
    }
    text.push_str("CONF\n");
    if let Some(account) = account {
        text.push_str("mkdir -p /etc/ssh/countersign_principals\n");
        text.push_str(&format!("cat > /etc/ssh/countersign_principals/{account} <<'LOGINS'\n{}\nLOGINS\n", principals.join("\n")));
    }
    text.push_str("grep -q '^Include /etc/ssh/sshd_config.d/' /etc/ssh/sshd_config || sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config\n");
    // A configuration that is in order may still not count: where it is included within a Match, or an old sshd passes over a Match that is included.
    let counts = |user: &str, value: &str| {
        let asked = format!("sshd -T -C user={user},host=localhost,addr=127.0.0.1 </dev/null | grep -qi '^trustedusercakeys {value}$'");
        format!("{asked} || {{ echo 'sshd was not reloaded: for {user} it would not have TrustedUserCAKeys {value}' >&2; exit 1; }}\n")
    };
    text.push_str("sshd -t </dev/null\n");
    text.push_str(&counts(account.unwrap_or("nobody"), "/etc/ssh/countersign_ca.pub"));
    if account.is_none() {
        text.push_str(&counts("root", "none"));
    }
    text.push_str("systemctl reload ssh 2>/dev/null || systemctl reload sshd\necho 'sshd trusts the broker now'\nCOUNTERSIGN");
    Ok(text)
}
