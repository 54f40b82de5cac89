//! Sign-ins on disk: one file for each broker and door, 0600 from its first byte, replaced whole or not at all.
//!
//! A file that others can read is not read: whoever could read the tokens may have them already. Renewing and ending a sign-in happen under a
//! lock, because an issuer that rotates refresh tokens takes a second use of the same one for theft and ends the sign-in.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::cli::oauth::{Door, random};
use crate::clock::{Timestamp, rfc3339};

/// The form of the file.
const VERSION: u32 = 1;
/// The largest, in bytes.
const FILE_MAX_BYTES: u64 = 128 * 1024;
/// The longest wait for another process that renews.
const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_EVERY: Duration = Duration::from_millis(25);

/// A human signed in at a door of a broker.
pub(in crate::cli) struct Login {
    /// The resource that the tokens are for.
    pub(in crate::cli) resource: String,
    /// Who issued them.
    pub(in crate::cli) issuer: String,
    /// The client that the human signed in with.
    pub(in crate::cli) client: String,
    pub(in crate::cli) access: SecretString,
    /// When `access` ends.
    pub(in crate::cli) expires_at: Timestamp,
    pub(in crate::cli) refresh: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    resource: String,
    issuer: String,
    client_id: String,
    access_token: String,
    expires_at: Timestamp,
    refresh_token: Option<String>,
}

/// Where a sign-in lies.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Slot {
    path: PathBuf,
    resource: String,
}

/// The right to change a sign-in, until dropped.
pub(in crate::cli) struct Lock {
    _file: File,
}

impl Slot {
    /// The place for a broker, in its one spelling, and a door.
    pub(in crate::cli) fn of(broker: &str, door: Door) -> Result<Self, Failure> {
        Self::within(&folder()?, broker, door)
    }

    fn within(folder: &Path, broker: &str, door: Door) -> Result<Self, Failure> {
        let host = broker.split("://").nth(1).unwrap_or(broker);
        let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(80).collect();
        // The name is for people; the digest keeps `a/b` and `a-b` apart.
        let digest = hex::encode(digest::digest(&digest::SHA256, broker.as_bytes()));
        let digest: String = digest.chars().take(12).collect();
        let path = folder.join(format!("{host}.{digest}.{}.json", door.as_str()));
        Ok(Self { path, resource: format!("{broker}/{}", door.as_str()) })
    }

    /// The sign-in, if there is one.
    pub(in crate::cli) fn read(&self) -> Result<Option<Login>, Failure> {
        self.open(true)
    }

    /// The same for whoever ends it: then it does not matter who else has read it.
    pub(in crate::cli) fn read_to_end_it(&self) -> Result<Option<Login>, Failure> {
        self.open(false)
    }

    fn open(&self, own: bool) -> Result<Option<Login>, Failure> {
        let wrong = |why: String| Failure::Usage(format!("the sign-in `{}` {why}", self.path.display()));
        let io = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        // Of the file that was opened, not of the name.
        let metadata = file.metadata().map_err(io)?;
        if own && metadata.permissions().mode() & 0o077 != 0 {
            return Err(wrong("can be read by others: its tokens may be known. sign out, which ends them, and in again".to_owned()));
        }
        if metadata.len() > FILE_MAX_BYTES {
            return Err(wrong(format!("is larger than {FILE_MAX_BYTES} bytes")));
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(io)?;
        let written: Written =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is of another form (line {}): sign in again", error.line())))?;
        if written.version != VERSION || written.resource != self.resource {
            return Err(wrong("is of another form or another broker: sign in again".to_owned()));
        }
        Ok(Some(Login {
            resource: written.resource,
            issuer: written.issuer,
            client: written.client_id,
            access: SecretString::from(written.access_token),
            expires_at: written.expires_at,
            refresh: written.refresh_token.map(SecretString::from),
        }))
    }

    /// Puts a sign-in in the place of the one before.
    pub(in crate::cli) fn write(&self, login: &Login, _: &Lock) -> Result<(), Failure> {
        let text = Zeroizing::new(
            json!({
                "version": VERSION,
                "resource": login.resource,
                "issuer": login.issuer,
                "client_id": login.client,
                "access_token": login.access.expose_secret(),
                "expires_at": rfc3339(login.expires_at),
                "refresh_token": login.refresh.as_ref().map(ExposeSecret::expose_secret),
            })
            .to_string(),
        );
        let half = self.path.with_extension(format!("{}.new", random()?));
        let written = create(&half).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&half, &self.path)
        });
        written.map_err(|error| {
            drop(std::fs::remove_file(&half));
            Failure::Unreachable(format!("failed to write the sign-in `{}`: {error}", self.path.display()))
        })
    }

    /// Forgets the sign-in.
    pub(in crate::cli) fn remove(&self, _: &Lock) -> Result<(), Failure> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::Unreachable(format!("failed to remove the sign-in `{}`: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Waits until nobody else changes the sign-in. The lock file stays: to remove it would let two hold it.
    pub(in crate::cli) async fn lock(&self) -> Result<Lock, Failure> {
        let path = self.path.with_extension("lock");
        let failed = |error: std::io::Error| Failure::Unreachable(format!("failed to lock `{}`: {error}", path.display()));
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(Failure::Unreachable(format!(
                        "another process has held `{}` for {} s",
                        path.display(),
                        LOCK_WAIT.as_secs()
                    )));
                }
                Err(TryLockError::WouldBlock) => sleep(LOCK_EVERY).await,
            }
        }
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// `$XDG_CONFIG_HOME/countersign`, or `~/.config/countersign`.
fn folder() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("countersign"))
        .ok_or_else(|| Failure::Usage("neither XDG_CONFIG_HOME nor HOME says where sign-ins are kept".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn login(token: &str) -> Login {
        Login {
            resource: "https://a.example/inbox".to_owned(),
            issuer: "https://idp.example.com".to_owned(),
            client: "countersign-cli".to_owned(),
            access: SecretString::from(token.to_owned()),
            expires_at: Clock::system().now(),
            refresh: Some(SecretString::from("refresh".to_owned())),
        }
    }

    #[tokio::test]
    async fn kept_whole_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("config/countersign");
        let slot = Slot::within(&folder, "https://a.example", Door::Inbox).unwrap();
        assert!(slot.read().unwrap().is_none());
        let lock = slot.lock().await.unwrap();
        for token in ["first", "second"] {
            slot.write(&login(token), &lock).unwrap();
            assert_eq!(slot.read().unwrap().unwrap().access.expose_secret(), token);
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&slot.path), mode(&folder)), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "the sign-in and its lock");
        // Another broker's file in its place is not taken for its own.
        let other = Slot::within(&folder, "https://b.example", Door::Inbox).unwrap();
        std::fs::copy(&slot.path, &other.path).unwrap();
        assert!(other.read().is_err());
        std::fs::set_permissions(&slot.path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(slot.read(), Err(Failure::Usage(why)) if why.contains("by others")));
        assert!(slot.read_to_end_it().unwrap().is_some());
        slot.remove(&lock).unwrap();
        assert!(slot.read().unwrap().is_none());
    }

    #[tokio::test]
    async fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::within(dir.path(), "https://a.example", Door::Mcp).unwrap();
        let lock = slot.lock().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(200), slot.lock()).await.is_err());
        drop(lock);
        assert!(slot.lock().await.is_ok());
    }

    #[test]
    fn names_do_not_collide() {
        let path = |broker, door| Slot::within(Path::new("/x"), broker, door).unwrap().path;
        assert_ne!(path("https://a.example/b", Door::Mcp), path("https://a.example-b", Door::Mcp));
        assert_ne!(path("https://a.example", Door::Mcp), path("https://a.example", Door::Inbox));
        assert!(path("https://a.example/../../etc", Door::Mcp).parent() == Some(Path::new("/x")));
    }
}
