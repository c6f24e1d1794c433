//! Errors, classified by what the caller is to do.

use std::time::Duration;

use api::DecodeError;

use crate::batch::Current;

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The record is not as the write expected. Read it again and plan anew.
    #[error("the record has changed meanwhile")]
    Conflict(Current),
    /// The backend cannot keep the record under its name because another has it, or the name is not legal there. No retry helps.
    #[error("{0}")]
    Name(String),
    /// The backend's own rules refuse the value (a schema, an admission). No retry helps.
    #[error("{0}")]
    Invalid(String),
    /// The value is larger than the backend takes. No retry helps.
    #[error("the value is too large for the store: {0}")]
    TooLarge(String),
    /// Not permitted. The text says what to whom.
    #[error("{0}")]
    Denied(String),
}

/// Why a call to a store failed as a whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or did not answer in time. Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// It asks to be left alone for a while. Try again after the delay.
    #[error("{reason}; the store asks to wait for {after:?}")]
    Throttled {
        /// How long.
        after: Duration,
        /// Its words.
        reason: String,
    },
    /// Not permitted: credentials, file permissions, missing rights. The text names what and the remedy.
    #[error("{0}")]
    Denied(String),
    /// It is not what it should be: another schema version, not a database, a damaged file, a full disk. The text names the remedy. No retry helps.
    #[error("{0}")]
    Unusable(String),
    /// The backend cannot do this at all.
    #[error("{0}")]
    Unsupported(String),
    /// A record that the caller cannot do without cannot be read: see [`View::insist`](crate::view::View::insist).
    #[error(transparent)]
    Corrupt(#[from] DecodeError),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::Throttled { .. })
    }
}

/// Why a watch gave no event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The connection is lost; ask again, and the watch starts anew at [`Event::Init`](crate::watch::Event::Init).
    #[error("the watch was interrupted: {0}")]
    Interrupted(String),
    /// It cannot go on. Start another one after dealing with the cause.
    #[error(transparent)]
    Store(#[from] StoreError),
}
