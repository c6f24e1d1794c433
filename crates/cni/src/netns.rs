//! Compares a call's network namespace with the plugin's own.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::error::CniError;
use crate::protocol::Call;

/// Checks that the namespace of the call is not the plugin's own. A path that cannot be opened passes the
/// check: that namespace may be gone already.
///
/// # Errors
/// Code 8.
pub fn check(call: &Call) -> Result<(), CniError> {
    let same = || {
        let (theirs, ours) =
            (fs::metadata(&call.netns).ok()?, fs::metadata("/proc/thread-self/ns/net").ok()?);
        Some((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
    };
    if call.netns_override || same() != Some(true) {
        return Ok(());
    }
    let msg = "plugin's netns and netns from CNI_NETNS should not be the same";
    Err(CniError::new(CniError::NETNS, msg))
}
