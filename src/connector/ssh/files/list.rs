//! Listing: a page of a folder's entries by name, whatever order the host tells them in.

use std::collections::BTreeMap;

use russh_sftp::client::error::Error;
use russh_sftp::protocol::StatusCode;
use serde_json::{Value, json};

use crate::connector::ssh::files::{Files, Held, refused, told};
use crate::mask::{Done, Piece};
use crate::refusal::{Code, Refusal};

/// Entries of a folder that are heard, and bytes of all their names: whoever makes up folders without end costs no more.
const ENTRIES_MAX: usize = 100_000;
const NAMES_MAX_BYTES: usize = 2 << 20;
/// The longest name of an entry: four times what file systems take.
const NAME_MAX_BYTES: usize = 1_020;

impl Files<'_> {
    /// The entries that come next by name. The host tells them in any order: all are heard, and no more are kept than are told.
    pub(super) async fn list(&self, real: &str, limit: u32, after: Option<&str>) -> Result<Held, Refusal> {
        let handle = self.session.opendir(real).await.map_err(|error| refused(&error))?.handle;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut entries, mut truncated, mut heard) = (BTreeMap::new(), false, (0_usize, 0_usize));
        loop {
            let batch = match self.session.readdir(handle.as_str()).await {
                Ok(batch) => batch,
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(refused(&error)),
            };
            // What is no name of an entry would be taken for a path.
            let is_name = |name: &str| (1..=NAME_MAX_BYTES).contains(&name.len()) && name != "." && name != ".." && !name.contains('/');
            for file in &batch.files {
                heard = (heard.0 + 1, heard.1 + file.filename.len());
            }
            if heard.0 > ENTRIES_MAX || heard.1 > NAMES_MAX_BYTES {
                drop(self.session.close(handle).await);
                let why = "the folder has more entries than are heard: `ssh_read` with `ls` or `find` tells of some";
                return Err(Refusal::new(Code::TooLarge).detail(why));
            }
            for file in batch.files.into_iter().filter(|file| is_name(&file.filename)) {
                if after.is_none_or(|after| file.filename.as_str() > after) {
                    entries.insert(file.filename, file.attrs);
                }
                if entries.len() > limit {
                    entries.pop_last();
                    truncated = true;
                }
            }
        }
        drop(self.session.close(handle).await);
        let next = entries.keys().next_back().filter(|_| truncated).cloned();
        let entries: Vec<Value> = entries.iter().map(|(name, attributes)| told(name, attributes)).collect();
        let document = json!({ "path": self.file.path(), "entries": entries, "truncated": truncated, "next_cursor": next });
        Ok((vec![Piece::Kube { document, kind: None }], Done { truncated, ..Done::default() }))
    }
}
