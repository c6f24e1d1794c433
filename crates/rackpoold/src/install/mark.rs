//! The mark that the agent has made the node ready since the node's start. Where the network's configuration
//! says `require_agent_sync`, the plugin `calico` attaches no container without it.
//!
//! The mark lies below `/run`, which is empty after a start of the host. An agent that ends or is killed
//! leaves it: the routes and the filter that it made are still there.
//!
//! Beside it lies the file `ready`, which is of the agent that runs now: it is removed when an agent begins,
//! and made when that agent has done everything once. `rackpoold node ready` looks for it.

use std::path::PathBuf;

use super::{InstallError, Notes, Places, Written, place, put_text};

/// Tells that an agent begins, which is not ready yet.
///
/// # Errors
/// When what an earlier agent has left cannot be removed.
pub fn begin(places: &Places) -> Result<(), InstallError> {
    Ok(place::remove(&ready_file(places)).map(drop)?)
}

/// Tells that the agent that runs now has done everything once.
///
/// # Errors
/// When the file cannot be written.
pub fn ready(places: &Places, notes: &mut Notes) -> Result<Written, InstallError> {
    put_text(notes, &ready_file(places), 0o644, "The rackpoold that runs now has made this node ready.\n")
}

/// Whether the agent that runs now has done everything once. An agent that was killed leaves the file; the
/// next one removes it.
pub fn is_ready(places: &Places) -> bool {
    ready_file(places).exists()
}

fn ready_file(places: &Places) -> PathBuf {
    places.mark.with_file_name("ready")
}

/// Makes the mark. The agent calls this after its first sync.
///
/// # Errors
/// When the mark cannot be written.
pub fn set(places: &Places, notes: &mut Notes) -> Result<Written, InstallError> {
    put_text(notes, &places.mark, 0o644, "rackpoold has made this node ready since its start.\n")
}

/// Whether the mark is there: whether an agent was ready before this one, since the node's start.
pub fn is_set(places: &Places) -> bool {
    places.mark.exists()
}
