//! Finds the name of the node on which the plugin runs.

use std::io;
use std::path::Path;

/// The file in which `calico/node` writes the name.
pub const DEFAULT_NODENAME_FILE: &str = "/var/lib/calico/nodename";
/// The file that the node agent makes at its first sync after the node's start. It lies in a folder that is
/// empty after a start.
pub const DEFAULT_AGENT_SYNC_FILE: &str = "/run/rackpool/synced";

/// The largest file of a name that is read, in bytes.
const MOST: usize = 4096;

/// Why the node has no name. The plugin does not guess one: a wrong name would give addresses to another
/// node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeNameError {
    /// The file exists, and cannot be read.
    #[error("cannot read the node's name from {path}: {error}")]
    File {
        /// The path of the file.
        path: String,
        /// The system's error.
        error: io::Error,
    },
    /// No setting gives a name, and the host has none.
    #[error(
        "the node has no name: neither nodename, nodename_file nor hostname says one, and the host name is empty"
    )]
    None,
}

/// The node's name, the first of these that is not empty: `nodename`, the content of the file, `hostname`,
/// the host's name in lower case. A file that does not exist counts as empty. Where `file` is `None`, the
/// file is [`DEFAULT_NODENAME_FILE`].
///
/// White space at the end of the file is not part of the name, and neither is a byte order mark. (Calico
/// takes it as part, so that after `echo n1 > nodename` every ADD fails, for want of a node of that name;
/// recorded in "nodename file holding 'n1' and a newline".)
///
/// # Errors
/// Where the file cannot be read, and where nothing gives a name.
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
        Ok(text) => {
            let name = text.trim_start_matches('\u{feff}').trim_end();
            Ok(Some(name.to_string()).filter(|name| !name.is_empty()))
        }
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
        assert_eq!(name(None, &file("marked", "\u{feff}from-file\n"), Some("h")), "from-file");
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
