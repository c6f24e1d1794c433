//! The folder in which a server keeps its files.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::ServerError;

/// A folder that the server has made, and that goes with it; or one of whoever starts the server, which stays.
#[derive(Debug)]
pub(crate) enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Folder {
    /// The given one, made where it is not there; else one of the server's own, in that place where there is such a place.
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

    /// What is to go with the server.
    pub(crate) fn own(&self) -> Option<&Path> {
        match self {
            Folder::Own(own) => Some(own.path()),
            Folder::Given(_) => None,
        }
    }
}
