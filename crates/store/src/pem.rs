//! Certificates and keys, as the options of the network stores name them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::StoreError;

/// The largest file of certificates or of a key, in bytes: all authorities of a system are a quarter of a million.
pub(crate) const MOST: usize = 4 << 20;

/// A certificate or key.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In that file.
    File(PathBuf),
    /// The text itself.
    Inline(String),
}

/// Shows paths; texts only as present.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) if path.is_relative() => f.write_str("<a relative path>"),
            Pem::File(path) => path.fmt(f),
            Pem::Inline(_) => f.write_str("<inline>"),
        }
    }
}

impl Pem {
    /// The text, which holds at least one `what`; `name` is the setting that it comes from.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for a file that may not be read; [`StoreError::Unusable`] for one that cannot be, and for a text without `what`.
    pub(crate) fn text(&self, name: &str, what: &str) -> Result<String, StoreError> {
        let (text, place) = match self {
            Pem::Inline(text) => (text.clone(), name.to_string()),
            Pem::File(path) => {
                // A key itself may stand where its file belongs.
                let place = match what == "PRIVATE KEY" && path.is_relative() {
                    true => format!("the file of {name}"),
                    false => format!("{} ({name})", path.display()),
                };
                (outside::read_text(path, MOST).map_err(|error| unread(&place, &error))?, place)
            }
        };
        if text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(what)) {
            Ok(text)
        } else {
            Err(StoreError::Unusable(format!("{place} holds no {} in PEM form", what.to_lowercase())))
        }
    }
}

/// A file of the options that could not be read.
pub(crate) fn unread(place: &str, error: &io::Error) -> StoreError {
    let text = format!("{place} cannot be read: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Denied(text),
        _ => StoreError::Unusable(text),
    }
}
