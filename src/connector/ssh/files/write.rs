//! Writing: a file beside its place first, which then takes it; and renaming, over what is there only where that is meant.

use std::sync::atomic::Ordering;

use aws_lc_rs::digest::SHA256;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use serde_json::{Value, json};

use crate::connector::ssh::files::{CHUNK, Files, changed, kind, mode, only_permissions, parent, refused};
use crate::operation::ssh::Work;
use crate::refusal::{Code, Refusal};

impl Files<'_> {
    /// Asks for a change: from here on it may have been made. What is done before that is only looking.
    pub(super) async fn ask<T>(&self, change: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.asked.store(true, Ordering::Relaxed);
        change.await
    }

    pub(super) async fn write(&self) -> Result<Value, Refusal> {
        let Work::Write { content, mode: permissions, overwrite, if_sha256, atomic } = self.file.work() else {
            return Err(Refusal::new(Code::TargetFailed).cause("no write"));
        };
        let real = self.place(self.file.path()).await?;
        let before = match self.session.lstat(&real).await {
            Ok(attributes) => Some(attributes.attrs),
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => None,
            Err(error) => return Err(refused(&error)),
        };
        // Asked for only where the caller knows it: a hash of what is hidden would say whether a guess at it is right.
        let mut sha256_before = None;
        if let Some(before) = &before {
            if !overwrite {
                return Err(Refusal::new(Code::Conflict).detail("there is a file by that name: read it, and give overwrite with if_sha256"));
            }
            if kind(before) != "file" {
                return Err(Refusal::new(Code::InvalidArguments).detail(format!("`path` is no file, but of the type {}", kind(before))));
            }
            if if_sha256.is_some() {
                sha256_before = Some(self.sha256(&real, before.size.unwrap_or_default()).await?);
            }
        }
        if if_sha256.as_ref().is_some_and(|wanted| sha256_before.as_ref().is_none_or(|found| !wanted.eq_ignore_ascii_case(found))) {
            let why = if before.is_some() { "the file holds something else than what `if_sha256` is of" } else { "there is no such file" };
            return Err(Refusal::new(Code::Conflict).detail(why));
        }
        // What was to run as its owner or group is other content now.
        let permissions = permissions.or_else(|| before.as_ref().and_then(mode).map(|mode| mode & 0o777)).unwrap_or(0o644);
        if *atomic {
            self.beside(&real, content, permissions, before.as_ref(), *overwrite).await?;
        } else {
            let create = if *overwrite { OpenFlags::CREATE | OpenFlags::TRUNCATE } else { OpenFlags::CREATE | OpenFlags::EXCLUDE };
            self.fill_new(&real, OpenFlags::WRITE | create, content, permissions).await?;
        }
        let after = hex::encode(aws_lc_rs::digest::digest(&SHA256, content));
        let mode = format!("{permissions:04o}");
        Ok(json!({
            "path": self.file.path(), "created": before.is_none(), "size": content.len(), "mode": mode,
            "sha256_before": sha256_before, "sha256_after": after,
        }))
    }

    /// Writes a file beside the place, and lets it take the place.
    async fn beside(
        &self,
        real: &str,
        content: &[u8],
        permissions: u32,
        before: Option<&FileAttributes>,
        overwrite: bool,
    ) -> Result<(), Refusal> {
        let (folder, name) = parent(real);
        let name: String = name.chars().take(100).collect();
        let beside = format!("{}/.{name}.{}", folder.trim_end_matches('/'), self.call);
        let written = async {
            self.fill_new(&beside, OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE, content, permissions).await?;
            if let Some(before) = before {
                let own = self.session.lstat(&beside).await.map_err(|error| refused(&error))?.attrs;
                if own.uid != before.uid || own.gid != before.gid {
                    let why = "the file is another account's or group's and would become this one's: with atomic=false it keeps both";
                    return Err(Refusal::new(Code::Conflict).detail(why));
                }
            }
            self.take_place(&beside, real, overwrite).await
        };
        let outcome = written.await;
        if outcome.is_err() {
            drop(self.session.remove(&beside).await);
        }
        outcome
    }

    async fn fill_new(&self, real: &str, flags: OpenFlags, content: &[u8], permissions: u32) -> Result<(), Refusal> {
        let handle = self.ask(self.session.open(real, flags, only_permissions(permissions))).await.map_err(|error| changed(&error))?.handle;
        let write = async {
            for (index, chunk) in content.chunks(CHUNK as usize).enumerate() {
                self.session
                    .write(handle.as_str(), index as u64 * u64::from(CHUNK), chunk.to_vec())
                    .await
                    .map_err(|error| changed(&error))?;
            }
            // The account's umask took some away.
            self.session.fsetstat(handle.as_str(), only_permissions(permissions)).await.map_err(|error| changed(&error))?;
            // Not every server knows how; a file that took its place is whole all the same.
            drop(self.session.fsync(handle.as_str()).await);
            Ok(())
        };
        let written = write.await;
        let closed = self.session.close(handle.as_str()).await.map_err(|error| changed(&error));
        written.and(closed.map(drop))
    }

    /// Renames; over what is there only if that is meant.
    pub(super) async fn take_place(&self, from: &str, to: &str, overwrite: bool) -> Result<(), Refusal> {
        if !overwrite {
            let taken = |error: &Error| match error {
                Error::Status(status) if status.status_code == StatusCode::Failure => {
                    Refusal::new(Code::Conflict).detail("there may be something by that name already: `overwrite` replaces a file")
                }
                other => changed(other),
            };
            return self.ask(self.session.rename(from, to)).await.map(drop).map_err(|error| taken(&error));
        }
        let mut names = Vec::new();
        for name in [from, to] {
            names.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
            names.extend_from_slice(name.as_bytes());
        }
        match self.ask(self.session.extended("posix-rename@openssh.com", names)).await {
            Ok(Packet::Status(status)) if status.status_code == StatusCode::Ok => Ok(()),
            Ok(Packet::Status(status)) if status.status_code == StatusCode::OpUnsupported => {
                Err(Refusal::new(Code::NotInstalled)
                    .detail("a rename over a file that is there (posix-rename@openssh.com): use atomic=false"))
            }
            Ok(Packet::Status(status)) => Err(changed(&Error::Status(status))),
            Ok(_) => Err(changed(&Error::UnexpectedPacket)),
            Err(error) => Err(changed(&error)),
        }
    }
}
