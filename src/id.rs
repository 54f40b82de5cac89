//! Identifiers: one newtype a thing, so that an approval's id can never be handed in where a call's is wanted.
//!
//! Calls are ULIDs (sortable, they name rows and database sessions). What somebody could profit from guessing (approvals, delegations, tasks)
//! carries 128 random bits behind a prefix. Ids name things; they never grant anything.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    wanted: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an identifier of the form `{}`", self.wanted)
    }
}

impl std::error::Error for InvalidId {}

/// Fills 16 bytes from the system's random source.
///
/// # Errors
/// The system has no randomness to give; nothing may be minted then.
pub fn random_128() -> Result<[u8; 16], aws_lc_rs::error::Unspecified> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes)
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A new id; sorts after every id made earlier in another millisecond.
            #[must_use]
            pub fn mint() -> Self {
                Self(ulid::Ulid::generate().to_string())
            }

            /// # Errors
            /// When the text is not a ULID.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                ulid::Ulid::from_string(text).map(|id| Self(id.to_string())).map_err(|_| InvalidId { wanted: "ULID" })
            }

            /// The 26 characters.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

ulid_id!(
    /// One tool call, from the moment its caller was known. A ULID in Crockford base 32, 26 characters.
    CallId
);

ulid_id!(
    /// One leaf of the log.
    LeafId
);

/// One HTTP request, in the operator's log and in `x-request-id`. It joins logs; it names nothing in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The longest that is taken over.
    const MAX_BYTES: usize = 128;

    /// A new one, a ULID.
    #[must_use]
    pub fn mint() -> Self {
        Self(ulid::Ulid::generate().to_string())
    }

    /// # Errors
    /// When the text is empty, too long, or has other characters than ASCII letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId { wanted: "letters, digits, `-`, `_` and `.`" })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A new, unguessable id.
            ///
            /// # Errors
            /// The system has no randomness to give.
            pub fn mint() -> Result<Self, aws_lc_rs::error::Unspecified> {
                Ok(Self(format!(concat!($prefix, "{}"), hex::encode(random_128()?))))
            }

            /// # Errors
            /// When the text is not the prefix and 32 lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { wanted: concat!($prefix, "<32 hex digits>") };
                let digits = text.strip_prefix($prefix).ok_or_else(|| invalid.clone())?;
                if digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(invalid)
                }
            }

            /// The text, prefix included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

random_id!(
    /// One request for a human's decision, and the grant that may come of it.
    ApprovalId,
    "apr_"
);

random_id!(
    /// One piece of work that outlives the request that began it.
    TaskId,
    "tsk_"
);

random_id!(
    /// What a human lent an agent, as the registry has it.
    DelegationId,
    "dlg_"
);
