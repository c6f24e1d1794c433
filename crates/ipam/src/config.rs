//! The allocator's configuration, as planners use it.

use api::{IpamConfig, Key};
use store::View;

/// The configuration: the defaults where no record exists, and the strictest settings where the record cannot
/// be parsed.
pub(crate) fn of(view: &View) -> IpamConfig {
    match view.unreadable(&Key::IpamConfig) {
        Some(_) => IpamConfig::STRICTEST,
        None => view.ipam_config().unwrap_or_default(),
    }
}
