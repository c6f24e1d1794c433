//! The mark that the agent has made the node ready since the node's start. Where the network's configuration
//! says `require_agent_sync`, the plugin `calico` attaches no container without it.
//!
//! The mark lies below `/run`, which is empty after a start of the host. An agent that ends or is killed
//! leaves it: the routes and the filter that it made are still there.

use super::{InstallError, Notes, Places, Written, put_text};

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
