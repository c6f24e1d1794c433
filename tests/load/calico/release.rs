//! Releasing addresses, as in Calico (`libcalico-go/lib/ipam/ipam.go`).

use std::net::IpAddr;

use api::{BlockCidr, HandleId, Key, Kind, Owner, Pool};
use store::Scope;

use super::{Calico, Error, RETRIES, Records, block};

impl<R: Records> Calico<'_, R> {
    /// `ReleaseByHandle`. To the plugin, a handle that does not exist is no error.
    pub(super) async fn release_by_handle(&self, id: &HandleId) -> Result<(), Error> {
        let Some(record) = self.records.get(&Key::Handle(id.clone())).await? else { return Ok(()) };
        for cidr in record.handle().unwrap().blocks.keys() {
            self.release_in(id, *cidr, None).await?;
        }
        Ok(())
    }

    /// `ReleaseIPs` for one address.
    pub(super) async fn release_address(&self, id: &HandleId, addr: IpAddr) -> Result<(), Error> {
        let pools = self.records.list(Scope::kind(Kind::IPPool)).await?;
        let mut pools = pools.iter().map(|record| Pool::effective(record.resource().unwrap()).unwrap());
        let pool = pools.find(|pool| pool.cidr.contains(addr)).unwrap();
        let cidr = BlockCidr::holding(addr, pool.block_size).unwrap();
        match self.release_in(id, cidr, Some(addr)).await? {
            0 => Err(Error::Other(format!("{addr} is not assigned to {id}"))),
            _ => Ok(()),
        }
    }

    /// Removes a handle's addresses, or one of them, from a block, and lowers the handle's count. Gives how
    /// many were removed.
    async fn release_in(&self, id: &HandleId, cidr: BlockCidr, only: Option<IpAddr>) -> Result<usize, Error> {
        for _ in 0..RETRIES {
            let Some(found) = self.records.get(&Key::Block(cidr)).await? else { return Ok(0) };
            let mut changed = found.block().unwrap().clone();
            let mut ordinals = block::ordinals_of(&changed, id.as_str());
            ordinals.retain(|ordinal| only.is_none() || only == cidr.addr(*ordinal));
            if ordinals.is_empty() {
                return Ok(0);
            }
            block::release(&mut changed, &ordinals);
            let written = if block::is_empty(&changed) && changed.affinity.is_none() {
                self.records.delete(Key::Block(cidr), &found.revision).await
            } else {
                self.rewrite(&found, changed).await.map(|_| ())
            };
            match written {
                Err(Error::Conflict) => continue,
                Err(error) => return Err(error),
                // Calico only logs errors of the handle.
                Ok(()) => drop(self.decrement(id, cidr, ordinals.len() as u32).await),
            }
            return Ok(ordinals.len());
        }
        Err(Error::Other("Max retries hit - excessive concurrent IPAM requests".to_string()))
    }

    /// `ReleaseHostAffinities` for empty blocks. Errors are ignored.
    pub(super) async fn release_host_affinities(&self, host: &str) -> Result<(), Error> {
        let owner = Owner::Host(host.to_string());
        let mut last = Ok(());
        for record in self.records.list(Scope::Affinities { owner: Some(owner), family: None }).await? {
            if let Key::Affinity { block, .. } = record.key
                && let Err(error) = self.release_affinity(host, block).await
            {
                last = Err(error);
            }
        }
        last
    }
}
