//! Which allocations addresses stand for now, so that only those are released.

use std::net::IpAddr;

use api::{BlockCidr, Key};
use ipam::{ReleaseIp, ReleaseIps};
use store::{Depth, ReadSet, Scope, Store};

use crate::client::Client;
use crate::effects::Effects;
use crate::error::Error;

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Releases those addresses that are allocated to a node, or to nobody in particular. What has gone to another node meanwhile is left to it: each is
    /// released only as the very allocation that was seen.
    pub(crate) async fn release_addresses_of(&self, node: &str, addresses: &[IpAddr]) -> Result<(), Error> {
        if addresses.is_empty() {
            return Ok(());
        }
        let set = ReadSet::new().scope(Scope::Blocks { family: None }, Depth::Key);
        let view = self.read(&set).await?;
        let blocks: Vec<BlockCidr> = view
            .slots(&Scope::Blocks { family: None })
            .filter_map(|(key, _)| if let Key::Block(block) = key { Some(*block) } else { None })
            .filter(|block| addresses.iter().any(|addr| block.cidr().contains(*addr)))
            .collect();
        let view = self.read(&ReadSet::new().keys(blocks.iter().copied().map(Key::Block))).await?;
        let mut seen = Vec::new();
        for cidr in blocks {
            let Some(Some((block, _))) = view.block(cidr) else { continue };
            for addr in addresses {
                let Some(ordinal) = cidr.ordinal(*addr) else { continue };
                let Some(attribute) = block.attribute(ordinal) else { continue };
                if attribute.owner.get("node").is_some_and(|owner| owner != node) {
                    continue;
                }
                let handle = attribute.handle().map(str::to_string);
                seen.push(ReleaseIp { addr: *addr, handle, sequence: Some(block.sequence_of(ordinal)) });
            }
        }
        if seen.is_empty() {
            return Ok(());
        }
        let planner = ReleaseIps::new(seen);
        let released = ipam::run(self.store, self.effects, planner, self.within).await;
        // A block that refuses says that an address was assigned anew: it is not this node's any more.
        released.map(|_| ()).map_err(|error| Error::Release(error.to_string()))
    }
}
