//! The allocator's configuration, as planners use it.

use api::{IpamConfig, Key, Revision};
use store::{ReadSet, View};

/// The configuration: the defaults where no record exists, and the strictest settings where the record cannot
/// be parsed.
pub(crate) fn of(view: &View) -> IpamConfig {
    match view.unreadable(&Key::IpamConfig) {
        Some(_) => IpamConfig::STRICTEST,
        None => view.ipam_config().unwrap_or_default(),
    }
}

/// A request reads the configuration before the blocks. So a refusal may rest on strict affinity and on a
/// block that somebody claimed once affinity was strict no more, though the request could have had an address
/// before and after that. It stands only if the configuration is unchanged after the blocks were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal {
    /// The configuration's revision when the request was to be refused last.
    under: Option<Revision>,
}

impl Refusal {
    /// What must be read before the request may be refused; empty if it may. A configuration that keeps
    /// nobody from an address is not read again, nor one that cannot be parsed.
    pub fn missing(&mut self, view: &View) -> ReadSet {
        let is_strict = |config: &IpamConfig| config.strict_affinity || !config.auto_allocate_blocks;
        let stored = view.full(&Key::IpamConfig).flatten();
        match stored.filter(|stored| stored.ipam_config().is_some_and(is_strict)) {
            Some(stored) if self.under.as_ref() != Some(&stored.revision) => {
                self.under = Some(stored.revision.clone());
                ReadSet::new().key(Key::IpamConfig)
            }
            _ => ReadSet::new(),
        }
    }
}
