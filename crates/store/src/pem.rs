//! Certificates and keys in the options of the network stores.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::StoreError;

/// The largest file of certificates or of a key that is read, in bytes. A system's bundle of all authorities
/// takes a quarter of a million.
pub(crate) const MOST: usize = 4 << 20;

/// Where a certificate or key is.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In that file, in PEM.
    File(PathBuf),
    /// The PEM text itself.
    Inline(String),
}

/// Shows paths, and of texts only that they are there.
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
    /// The text, which must hold at least one PEM section of the kind `what`. `name` names the setting in
    /// messages.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for a file without permission to read; [`StoreError::Unusable`] for a file that
    /// cannot be read for another reason, and for a text without such a section.
    pub(crate) fn text(&self, name: &str, what: &str) -> Result<String, StoreError> {
        let (text, place) = match self {
            Pem::Inline(text) => (text.clone(), name.to_string()),
            Pem::File(path) => {
                // The setting for the key's file may hold the key itself by mistake, so a relative path is
                // not shown.
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

/// The error for a file that could not be read.
pub(crate) fn unread(place: &str, error: &io::Error) -> StoreError {
    let text = format!("{place} cannot be read: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Denied(text),
        _ => StoreError::Unusable(text),
    }
}
