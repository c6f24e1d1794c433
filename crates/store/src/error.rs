//! Errors, classified by what the caller can do.

use std::time::Duration;

use api::DecodeError;

use crate::batch::Current;

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The record is not in the state that the write expected. Read it again and plan again.
    #[error("the record has changed meanwhile")]
    Conflict(Current),
    /// The backend cannot keep the record under its name: another record has the name there, or the name is
    /// not legal there. No retry helps.
    #[error("{0}")]
    Name(String),
    /// The backend's own rules refuse the value (a schema, an admission). No retry helps.
    #[error("{0}")]
    Invalid(String),
    /// The value is larger than the backend takes. No retry helps.
    #[error("the value is too large for the store: {0}")]
    TooLarge(String),
    /// Not permitted. The text names the missing right, and who lacks it.
    #[error("{0}")]
    Denied(String),
}

/// Why a call to a store failed as a whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time. Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// The store asks to wait. Try again after the delay.
    #[error("{reason}; the store asks to wait for {after:?}")]
    Throttled {
        /// How long to wait.
        after: Duration,
        /// The store's own words.
        reason: String,
    },
    /// Not permitted: wrong credentials, file permissions, or missing rights. The text names what is missing
    /// and the remedy.
    #[error("{0}")]
    Denied(String),
    /// The store is not what it should be: another schema version, no database, a damaged file, a full disk.
    /// The text names the remedy. No retry helps.
    #[error("{0}")]
    Unusable(String),
    /// The backend cannot do what was asked, in any state.
    #[error("{0}")]
    Unsupported(String),
    /// A record that the caller needs cannot be parsed: see [`View::insist`](crate::view::View::insist).
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
    /// The connection is lost. Ask again, and the watch begins again with
    /// [`Event::Init`](crate::watch::Event::Init).
    #[error("the watch was interrupted: {0}")]
    Interrupted(String),
    /// The watch cannot continue. Remove the cause, then start another watch.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WatchError {
    /// What a watch tells of a call that failed: one that can be made again has interrupted it.
    #[cfg(any(feature = "sqlite", feature = "etcd", feature = "kubernetes"))]
    pub(crate) fn of(error: StoreError) -> WatchError {
        if error.is_transient() { WatchError::Interrupted(error.to_string()) } else { error.into() }
    }
}
