//! The name of the node that the plugin runs on.

use std::io;
use std::path::Path;

/// Where `calico/node` leaves the name.
pub const DEFAULT_NODENAME_FILE: &str = "/var/lib/calico/nodename";

/// The largest file of a name, in bytes.
const MOST: usize = 4096;

/// Why the node has no name. A wrong name would give addresses to another node, so there is no guessing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeNameError {
    /// The file is there, but cannot be read.
    #[error("cannot read the node's name from {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        error: io::Error,
    },
    /// Nothing says a name.
    #[error(
        "the node has no name: neither nodename, nodename_file nor hostname says one, and the host name is empty"
    )]
    None,
}

/// The first of: `nodename`, what the file says, `hostname`, the name of the host in lower case. Empty texts are as good as none, and so is a file
/// that does not exist ([`DEFAULT_NODENAME_FILE`] where `file` is `None`).
///
/// White space at the end of the file is no part of the name. (Calico takes it as it stands, so that an `echo n1 > nodename`
/// makes every ADD fail on a node that does not exist; recorded in "nodename file holding 'n1' and a newline".)
///
/// # Errors
/// A file that cannot be read; no name at all.
pub fn node_name(
    nodename: Option<&str>,
    file: Option<&str>,
    hostname: Option<&str>,
) -> Result<String, NodeNameError> {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_string);
    if let Some(name) = given(nodename) {
        return Ok(name);
    }
    let path = given(file).unwrap_or_else(|| DEFAULT_NODENAME_FILE.to_string());
    if let Some(name) = from_file(Path::new(&path)).map_err(|error| NodeNameError::File { path, error })? {
        return Ok(name);
    }
    given(hostname).or_else(host_name).ok_or(NodeNameError::None)
}

fn from_file(path: &Path) -> io::Result<Option<String>> {
    match outside::read_text(path, MOST) {
        Ok(text) => Ok(Some(text.trim_end().to_string()).filter(|name| !name.is_empty())),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_lowercase();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_string()
        };
        let (good, empty) = (file("good", "from-file \r\n"), file("empty", "\n"));
        let missing = dir.path().join("no/such").to_str().unwrap().to_string();
        let beyond = format!("{good}/x");
        let name = |nodename, file: &str, hostname| node_name(nodename, Some(file), hostname).unwrap();
        assert_eq!(name(Some("N1"), &good, Some("h")), "N1");
        assert_eq!(name(Some(""), &good, Some("h")), "from-file");
        assert_eq!(name(None, &empty, Some("h")), "h");
        assert_eq!(name(None, &missing, Some("h")), "h");
        assert_eq!(name(None, &beyond, Some("h")), "h");
        let host = name(None, &missing, Some(""));
        assert_eq!(host, host.trim().to_lowercase());
        assert!(!host.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let error = node_name(None, Some(path), Some("h")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read the node's name from {path}: ")), "{error}");
    }
}
