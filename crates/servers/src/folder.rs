//! The folder in which a server keeps its files.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::ServerError;

/// A folder that the server has made and that is removed with it, or a folder of the caller's, which stays.
#[derive(Debug)]
pub(crate) enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Folder {
    /// The given folder, created if it does not exist. Without one, a new folder: in `place` if that is a
    /// folder, else in the system's folder for temporary files.
    pub(crate) fn new(given: Option<&Path>, place: &Path) -> Result<Folder, ServerError> {
        if let Some(given) = given {
            fs::create_dir_all(given).map_err(ServerError::at(given))?;
            return Ok(Folder::Given(given.to_path_buf()));
        }
        let prefix = "rackpool-server-";
        let own = if place.is_dir() {
            TempDir::with_prefix_in(prefix, place)
        } else {
            TempDir::with_prefix(prefix)
        };
        own.map(Folder::Own).map_err(ServerError::at(place))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Folder::Own(own) => own.path(),
            Folder::Given(given) => given,
        }
    }

    /// The folder to remove at the server's end; `None` for a folder of the caller's.
    pub(crate) fn own(&self) -> Option<&Path> {
        match self {
            Folder::Own(own) => Some(own.path()),
            Folder::Given(_) => None,
        }
    }
}
