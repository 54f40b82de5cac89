//! The arguments of the tools for files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::common::{Common, arguments, is_false};

const fn mebibyte_read() -> u32 {
    1 << 20
}

const fn thousand() -> u32 {
    1_000
}

const fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// How bytes stand in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Encoding {
    /// As text.
    #[default]
    Utf8,
    /// As base64.
    Base64,
}

arguments! {
    /// `sftp_list`.
    FileList {
        /// The folder, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
        /// At most so many entries.
        #[serde(default = "thousand")]
        #[schemars(range(min = 1, max = 10000))]
        pub limit: u32,
        /// The next_cursor of the answer before.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1020))]
        pub cursor: Option<String>,
    }
}

arguments! {
    /// `sftp_stat`.
    FileStat {
        /// The file, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
    }
}

arguments! {
    /// `sftp_read`.
    FileRead {
        /// The file, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
        /// From this byte on.
        #[serde(default)]
        pub offset: u64,
        /// At most so many bytes; of a text the last line comes whole.
        #[serde(default = "mebibyte_read")]
        #[schemars(range(min = 1, max = 1048576))]
        pub length: u32,
        /// How it comes back.
        #[serde(default)]
        pub encoding: Encoding,
    }
}

arguments! {
    /// `sftp_write`.
    FileWrite {
        /// The file, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
        /// All that it holds afterwards.
        #[schemars(length(max = 262144))]
        pub content: String,
        /// How `content` stands.
        #[serde(default)]
        pub encoding: Encoding,
        /// Its permissions, such as `0640`; those that it has, or 0644, otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = "^0?[0-7]{3,4}$"))]
        pub mode: Option<String>,
        /// Whether a file that is there may be replaced.
        #[serde(default, skip_serializing_if = "is_false")]
        pub overwrite: bool,
        /// What a file that is there must hold: the SHA-256 that sftp_read gave, hexadecimal.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
        pub if_sha256: Option<String>,
        /// By a file beside it that takes its place; without, the file keeps its owner and other names.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        pub atomic: bool,
    }
}

arguments! {
    /// `sftp_mkdir`.
    FileMkdir {
        /// The folder, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
        /// Its permissions; 0755 otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = "^0?[0-7]{3,4}$"))]
        pub mode: Option<String>,
    }
}

arguments! {
    /// `sftp_rename`.
    FileRename {
        /// The file or folder, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
        /// Its new name, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub to: String,
        /// Whether a file that has the new name may be replaced.
        #[serde(default, skip_serializing_if = "is_false")]
        pub overwrite: bool,
    }
}

arguments! {
    /// `sftp_remove`.
    FileRemove {
        /// The file or empty folder, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
    }
}

arguments! {
    /// `sftp_chmod`.
    FileChmod {
        /// The file or folder, absolute.
        #[schemars(length(min = 1, max = 4096))]
        pub path: String,
        /// Its permissions, such as `0640`.
        #[schemars(regex(pattern = "^0?[0-7]{3,4}$"))]
        pub mode: String,
    }
}
