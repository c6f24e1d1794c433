//! Releases addresses, but only while they are allocated as they were when they were read.

use std::net::IpAddr;

use ipam::usage::{Allocation, allocation_of, reads_of};
use ipam::{ReleaseIp, ReleaseIps};
use store::{Effects, ReadSet, Store};

use crate::client::Client;
use crate::error::Error;

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Releases those of the addresses that are allocated to `node`, or to no node. An address that another
    /// node has got in the meantime is left alone: each address is released only while its block holds the
    /// very allocation that was read.
    pub(crate) async fn release_addresses_of(&self, node: &str, addresses: &[IpAddr]) -> Result<(), Error> {
        if addresses.is_empty() {
            return Ok(());
        }
        let set = addresses.iter().fold(ReadSet::new(), |mut set, addr| {
            set.keys.extend(reads_of(*addr).keys);
            set
        });
        let view = self.read(&set).await?;
        let seen: Vec<ReleaseIp> = addresses
            .iter()
            .filter_map(|addr| match allocation_of(&view, *addr) {
                Allocation::Assigned { attribute, sequence, .. }
                    if attribute.owner.get("node").is_none_or(|owner| owner == node) =>
                {
                    let handle = attribute.handle().map(str::to_string);
                    Some(ReleaseIp { addr: *addr, handle, sequence: Some(sequence) })
                }
                _ => None,
            })
            .collect();
        if seen.is_empty() {
            return Ok(());
        }
        // A block refuses if the address was assigned anew: then the address is not this node's any more.
        let released =
            ipam::run(self.store, self.effects, ReleaseIps::new(seen).planner(), self.within).await;
        released.map(|_| ()).map_err(|error| Error::Release(error.to_string()))
    }
}
