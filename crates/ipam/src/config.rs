//! The allocator's configuration as planners read it.

use api::{IpamConfig, Key};
use store::View;

/// The configuration: the defaults where there is no record, the strictest where it cannot be read.
pub(crate) fn of(view: &View) -> IpamConfig {
    match view.unreadable(&Key::IpamConfig) {
        Some(_) => IpamConfig::STRICTEST,
        None => view.ipam_config().unwrap_or_default(),
    }
}
