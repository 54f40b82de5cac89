//! Files over SFTP, one step at a time, each where its path says: the host follows links first, and a path that leads elsewhere by one is refused, since it
//! was judged as it was written; only a root itself may be a link. SFTP has no handle on a folder, so that a path could be made to lead elsewhere between
//! two steps by whoever may write there.
//!
//! A file is written beside its place and then takes it, so that nobody ever reads half of it. What an approver saw is looked at again before anything is
//! changed.

mod list;
mod write;

use std::sync::atomic::AtomicBool;

use aws_lc_rs::digest::{Context, SHA256};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use serde_json::{Value, json};

use crate::call::{Bound, Seen};
use crate::mask::{Done, Piece};
use crate::operation::Risk;
use crate::operation::ssh::file::{is_below, is_telling};
use crate::operation::ssh::{FileWork, Work};
use crate::refusal::{Code, Refusal};

/// Bytes of one read or write, which every server takes.
const CHUNK: u32 = 32 * 1024;
/// Bytes before a part of a file that are looked at with it.
const BEFORE_BYTES: u64 = 16 * 1024;
/// The longest rest of a line that comes with a part.
const LINE_BYTES: u64 = 4 * 1024;
/// Reads that are under way at once.
const AHEAD: usize = 16;
/// The largest file whose content is looked at whole, to be bound or compared.
const WHOLE_MAX_BYTES: u64 = 64 << 20;
/// The largest text that an approver is shown.
const SHOWN_MAX_BYTES: u64 = 64 * 1024;
/// Kinds of a file, in its mode.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// A session of SFTP, and what it is for.
pub(super) struct Files<'a> {
    pub(super) session: RawSftpSession,
    pub(super) file: &'a FileWork,
    /// Names the file that is written beside another.
    pub(super) call: String,
    /// Whether the host was asked to change anything.
    pub(super) asked: &'a AtomicBool,
}

type Held = (Vec<Piece>, Done);

fn refused(error: &Error) -> Refusal {
    match error {
        Error::Status(status) => {
            let code = match status.status_code {
                StatusCode::NoSuchFile => Code::ObjectNotFound,
                StatusCode::PermissionDenied => Code::TargetRefused,
                _ => Code::TargetFailed,
            };
            Refusal::new(code).detail(status.error_message.clone())
        }
        Error::Limited(why) => Refusal::new(Code::TargetFailed).detail(why.clone()),
        other => Refusal::new(Code::TargetUnreachable).detail("the host broke off SFTP").cause(other),
    }
}

/// A change of which nothing was heard may have been made.
fn changed(error: &Error) -> Refusal {
    match error {
        Error::Status(_) | Error::Limited(_) => refused(error),
        other => Refusal::new(Code::Unresolved).detail("the host broke off SFTP while the change was under way").cause(other),
    }
}

fn kind(attributes: &FileAttributes) -> &'static str {
    match attributes.permissions.map(|mode| mode & KIND) {
        Some(REGULAR) => "file",
        Some(FOLDER) => "directory",
        Some(LINK) => "symlink",
        Some(_) => "other",
        None => "unknown",
    }
}

fn mode(attributes: &FileAttributes) -> Option<u32> {
    attributes.permissions.map(|mode| mode & 0o7777)
}

fn told(name: &str, attributes: &FileAttributes) -> Value {
    let modified = attributes.mtime.and_then(|at| chrono::DateTime::from_timestamp(i64::from(at), 0)).map(crate::clock::rfc3339);
    json!({
        "name": name, "type": kind(attributes), "size": attributes.size, "mode": mode(attributes).map(|mode| format!("{mode:04o}")),
        "uid": attributes.uid, "gid": attributes.gid, "modified": modified,
    })
}

fn parent(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => ("/", path),
    }
}

/// SFTP has one word for most of what fails; `why` is the usual reason.
fn unless(error: &Error, why: &str) -> Refusal {
    match error {
        Error::Status(status) if status.status_code == StatusCode::Failure => Refusal::new(Code::Conflict).detail(why),
        other => changed(other),
    }
}

fn only_permissions(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), ..FileAttributes::empty() }
}

impl Files<'_> {
    /// Does it.
    pub(super) async fn perform(&self, bound: Option<&Bound>) -> Result<Held, Refusal> {
        if let Some(bound) = bound {
            self.check(bound).await?;
        }
        let path = self.file.path();
        let document = match self.file.work() {
            Work::List { limit, after } => return self.list(&self.real(path).await?, *limit, after.as_deref()).await,
            Work::Stat => {
                let real = self.parent_real(path).await?;
                let attributes = self.session.lstat(real.as_str()).await.map_err(|error| refused(&error))?.attrs;
                let mut document = told(path, &attributes);
                if let (Some(members), "symlink") = (document.as_object_mut(), kind(&attributes)) {
                    // A host need not say, and a link may have gone meanwhile.
                    let led = self.session.readlink(real).await.map(|led| led.files).unwrap_or_default();
                    members.insert("target".to_owned(), led.first().map_or(Value::Null, |file| Value::from(file.filename.as_str())));
                }
                document
            }
            Work::Read { offset, length, base64 } => return self.read(&self.real(path).await?, *offset, *length, *base64).await,
            Work::Write { .. } => self.write().await?,
            Work::Mkdir { mode } => {
                let real = self.place(path).await?;
                let made = self.ask(self.session.mkdir(&real, only_permissions(mode.unwrap_or(0o755)))).await;
                made.map_err(|error| unless(&error, "there may be something by that name already"))?;
                json!({ "created": path })
            }
            Work::Rename { to, overwrite } => {
                let (from, onto) = (self.place(path).await?, self.place(to).await?);
                self.take_place(&from, &onto, *overwrite).await?;
                json!({ "renamed": path, "to": to })
            }
            Work::Remove => {
                let real = self.place(path).await?;
                let attributes = self.session.lstat(&real).await.map_err(|error| refused(&error))?.attrs;
                let is_folder = kind(&attributes) == "directory";
                let removed = async { if is_folder { self.session.rmdir(&real).await } else { self.session.remove(&real).await } };
                let why = if is_folder { "a folder must be empty to be removed" } else { "the host does not let it go" };
                self.ask(removed).await.map_err(|error| unless(&error, why))?;
                json!({ "removed": path, "type": kind(&attributes) })
            }
            Work::Chmod { mode } => {
                let real = self.place(path).await?;
                let before = self.session.lstat(&real).await.map_err(|error| refused(&error))?.attrs;
                if kind(&before) == "symlink" {
                    return Err(Refusal::new(Code::InvalidArguments).detail("`path` is a link: name what it leads to"));
                }
                self.ask(self.session.setstat(&real, only_permissions(*mode))).await.map_err(|error| changed(&error))?;
                json!({ "path": path, "mode_before": before.permissions.map(|mode| format!("{:04o}", mode & 0o7777)), "mode": format!("{mode:04o}") })
            }
        };
        Ok((vec![Piece::Kube { document, kind: None }], Done::default()))
    }

    async fn canonical(&self, path: &str) -> Result<String, Refusal> {
        let names = self.session.realpath(path).await.map_err(|error| refused(&error))?;
        let name = names.files.into_iter().next().map(|file| file.filename);
        name.filter(|name| name.starts_with('/'))
            .ok_or_else(|| Refusal::new(Code::TargetFailed).detail("the host does not say where a path leads"))
    }

    /// Where a path is, which must be where it was said to be: policies have judged no other place. A root may lead elsewhere itself.
    async fn real(&self, path: &str) -> Result<String, Refusal> {
        let real = self.canonical(path).await?;
        if real == path {
            return Ok(real);
        }
        let mut is_inside = false;
        for root in self.file.roots() {
            // A root that is not there has nothing below it.
            let Ok(leads_to) = self.canonical(root).await else { continue };
            is_inside |= is_below(&real, &leads_to);
            let rest = path.strip_prefix(root.trim_end_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            if rest.is_some_and(|rest| real == format!("{}{rest}", leads_to.trim_end_matches('/'))) {
                return Ok(real);
            }
        }
        if is_inside {
            let why = "it leads, by a link, to another place below the roots: name that path itself (`realpath` on the host tells it)";
            return Err(Refusal::new(Code::RiskierOutcome).detail(why));
        }
        Err(Refusal::new(Code::OutsideRoots).detail("it leads elsewhere, by a link"))
    }

    /// The same for a name that may be free, or a link itself: only the folder is followed.
    async fn parent_real(&self, path: &str) -> Result<String, Refusal> {
        let (folder, name) = parent(path);
        // A root itself has no folder below it.
        if name.is_empty() || self.file.roots().iter().any(|root| root.trim_end_matches('/') == path) {
            return self.real(path).await;
        }
        let folder = self.real(folder).await?;
        Ok(format!("{}/{name}", folder.trim_end_matches('/')))
    }

    /// A place that is to be changed. Where it really is may be of another risk than where it was said to be.
    async fn place(&self, path: &str) -> Result<String, Refusal> {
        let real = self.parent_real(path).await?;
        if is_telling(&real) && self.file.judged().0 < Risk::Admin {
            let why = "it leads, by a link, to what decides who may log in, what runs by itself, or as whom: name that path itself";
            return Err(Refusal::new(Code::RiskierOutcome).detail(why));
        }
        Ok(real)
    }

    /// What a regular file is; nothing else is opened, since a pipe or a device may never end.
    async fn regular(&self, real: &str) -> Result<FileAttributes, Refusal> {
        let attributes = self.session.lstat(real).await.map_err(|error| refused(&error))?.attrs;
        if kind(&attributes) == "file" {
            return Ok(attributes);
        }
        Err(Refusal::new(Code::InvalidArguments).detail(format!("`path` is no file, but of the type {}", kind(&attributes))))
    }

    async fn read(&self, real: &str, offset: u64, length: u32, base64: bool) -> Result<Held, Refusal> {
        let attributes = self.regular(real).await?;
        let size = attributes.size.unwrap_or_default();
        let handle = self.session.open(real, OpenFlags::READ, FileAttributes::empty()).await.map_err(|error| refused(&error))?.handle;
        // Some of what stands before it, and the rest of its last line: a part of a secret would not be told from something else.
        let ahead = offset.min(BEFORE_BYTES);
        let read = async {
            let before = self.span(&handle, offset - ahead, ahead).await?;
            let mut content = self.span(&handle, offset, u64::from(length)).await?;
            if content.len() as u64 == u64::from(length) && content.last() != Some(&b'\n') {
                let rest = self.span(&handle, offset.saturating_add(u64::from(length)), LINE_BYTES).await?;
                let line = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
                content.extend_from_slice(rest.get(..line).unwrap_or_default());
            }
            Ok::<_, Refusal>((before, content))
        };
        let read = read.await;
        drop(self.session.close(handle).await);
        let (before, content) = read?;
        let is_whole = offset == 0 && (content.len() as u64) >= size;
        let truncated = offset.saturating_add(content.len() as u64) < size;
        let mut document = json!({
            "path": self.file.path(), "size": size, "offset": offset, "length": content.len(), "truncated": truncated,
            "mode": mode(&attributes).map(|mode| format!("{mode:04o}")),
        });
        if let Some(members) = document.as_object_mut() {
            if is_whole {
                members.insert("sha256".to_owned(), Value::from(hex::encode(aws_lc_rs::digest::digest(&SHA256, &content))));
            }
            if truncated {
                members.insert("next_offset".to_owned(), Value::from(offset.saturating_add(content.len() as u64)));
            }
        }
        Ok((vec![Piece::File { document, before, content, base64 }], Done { truncated, ..Done::default() }))
    }

    /// A part of an open file, read several chunks at once.
    async fn span(&self, handle: &str, offset: u64, length: u64) -> Result<Vec<u8>, Refusal> {
        let chunk = u64::from(CHUNK);
        let (mut content, mut at) = (Vec::new(), 0);
        let mut reads = FuturesOrdered::new();
        loop {
            while reads.len() < AHEAD && at < length {
                let wanted = u32::try_from((length - at).min(chunk)).unwrap_or(CHUNK);
                reads.push_back(self.fill(handle, offset.saturating_add(at), wanted));
                at += u64::from(wanted);
            }
            let Some(data) = reads.next().await else { return Ok(content) };
            let (data, is_full) = data?;
            content.extend_from_slice(&data);
            if !is_full {
                return Ok(content);
            }
        }
    }

    /// One chunk, which a server may give in parts; whether all of it was there.
    async fn fill(&self, handle: &str, mut offset: u64, mut wanted: u32) -> Result<(Vec<u8>, bool), Refusal> {
        let mut content = Vec::new();
        while wanted > 0 {
            let data = match self.session.read(handle, offset, wanted).await {
                Ok(data) => data.data,
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(refused(&error)),
            };
            let got = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if got == 0 || got > wanted {
                break;
            }
            content.extend_from_slice(&data);
            offset = offset.saturating_add(u64::from(got));
            wanted -= got;
        }
        Ok((content, wanted == 0))
    }

    /// The hash of a file's content, a chunk at a time.
    async fn sha256(&self, real: &str, size: u64) -> Result<String, Refusal> {
        if size > WHOLE_MAX_BYTES {
            let why = format!("the file has {size} bytes, and {WHOLE_MAX_BYTES} are the most that are compared");
            return Err(Refusal::new(Code::TooLarge).detail(why));
        }
        let handle = self.session.open(real, OpenFlags::READ, FileAttributes::empty()).await.map_err(|error| refused(&error))?.handle;
        let step = u64::from(CHUNK) * AHEAD as u64;
        let (mut context, mut offset) = (Context::new(&SHA256), 0);
        loop {
            let data = self.span(&handle, offset, step).await?;
            context.update(&data);
            offset = offset.saturating_add(data.len() as u64);
            if (data.len() as u64) < step || offset > WHOLE_MAX_BYTES {
                break;
            }
        }
        drop(self.session.close(handle).await);
        Ok(hex::encode(context.finish()))
    }

    fn places(&self) -> Vec<&str> {
        match self.file.work() {
            Work::Rename { to, .. } => vec![self.file.path(), to],
            _ => vec![self.file.path()],
        }
    }

    /// A place as an approver sees it: what is bound, and what is shown.
    async fn look(&self, path: &str) -> Result<(Seen, Value), Refusal> {
        let real = self.parent_real(path).await?;
        let attributes = match self.session.lstat(&real).await {
            Ok(attributes) => attributes.attrs,
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => {
                let seen = Seen { object: real, uid: None, content: None };
                return Ok((seen, json!({ "path": path, "exists": false })));
            }
            Err(error) => return Err(refused(&error)),
        };
        let mut shown = told(path, &attributes);
        let size = attributes.size.unwrap_or_default();
        let permissions = mode(&attributes).map_or_else(|| "of no mode".to_owned(), |mode| format!("{mode:04o}"));
        let mut content = format!("{} {permissions}, {size} bytes", kind(&attributes));
        if kind(&attributes) == "file" {
            let sha256 = self.sha256(&real, size).await?;
            content = format!("{content}, SHA-256 {sha256}");
            if let Some(members) = shown.as_object_mut() {
                members.insert("sha256".to_owned(), Value::from(sha256));
                if size <= SHOWN_MAX_BYTES && matches!(self.file.work(), Work::Write { .. } | Work::Remove) {
                    let handle =
                        self.session.open(&real, OpenFlags::READ, FileAttributes::empty()).await.map_err(|error| refused(&error))?.handle;
                    let text = self.span(&handle, 0, SHOWN_MAX_BYTES).await?;
                    drop(self.session.close(handle).await);
                    let text = String::from_utf8(text).unwrap_or_else(|_| format!("({size} bytes that are no text, not shown)"));
                    members.insert("holds".to_owned(), Value::from(text));
                }
            }
        }
        if let Some(members) = shown.as_object_mut() {
            members.insert("exists".to_owned(), Value::Bool(true));
        }
        // Where it really is, is what is bound: a folder on the way may become a link.
        Ok((Seen { object: real, uid: Some(kind(&attributes).to_owned()), content: Some(content) }, shown))
    }

    /// What an approver is shown: what is there now.
    pub(super) async fn preview(&self) -> Result<Held, Refusal> {
        let (mut objects, mut shown) = (Vec::new(), Vec::new());
        for path in self.places() {
            let (seen, one) = self.look(path).await?;
            objects.push(seen);
            shown.push(one);
        }
        let bound = Bound { rows: None, objects };
        Ok((vec![Piece::Kube { document: json!({ "files": shown }), kind: None }], Done { preview: Some(bound), ..Done::default() }))
    }

    /// Whether it is still what an approver saw.
    async fn check(&self, bound: &Bound) -> Result<(), Refusal> {
        for path in self.places() {
            let (seen, _) = self.look(path).await?;
            if !bound.objects.contains(&seen) {
                return Err(Refusal::new(Code::ApprovalChanged).detail(format!("`{path}` is no longer what the approver saw")));
            }
        }
        Ok(())
    }
}
