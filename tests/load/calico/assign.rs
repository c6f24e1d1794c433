//! Assigning addresses, as `AutoAssign` does (`libcalico-go/lib/ipam/ipam.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{BlockCidr, Family, Key, Kind, Owner, Pool, Record};
use store::Scope;

use super::claim::is_of;
use super::{Calico, Error, RETRIES, Records, block};
use crate::worker::Request;

impl<R: Records> Calico<'_, R> {
    /// Assigns as many of the wanted addresses as there are. (After an error some may stay assigned.)
    pub(super) async fn auto_assign(&self, request: &Request) -> Result<BTreeSet<IpAddr>, Error> {
        let mut addresses = BTreeSet::new();
        for (family, count) in [(Family::V4, request.v4), (Family::V6, request.v6)] {
            if count > 0 {
                addresses.extend(self.assign_family(request, family, count as usize).await?);
            }
        }
        Ok(addresses)
    }

    async fn assign_family(
        &self,
        request: &Request,
        family: Family,
        count: usize,
    ) -> Result<Vec<IpAddr>, Error> {
        let node = self.records.get(&Key::global(Kind::Node, request.host.as_str())).await?;
        let node = node.ok_or_else(|| Error::Other("no node".to_string()))?;
        let labels = &node.resource().unwrap().metadata().labels;
        let pools = self.records.list(Scope::kind(Kind::IPPool)).await?;
        let pools: Vec<Pool> = pools
            .iter()
            .map(|record| Pool::effective(record.resource().unwrap()).unwrap())
            .filter(|pool| {
                pool.cidr.family() == family && pool.node_selector.as_ref().is_ok_and(|s| s.matches(labels))
            })
            .collect();
        let owner = Owner::Host(request.host.clone());
        let affine =
            self.records.list(Scope::Affinities { owner: Some(owner), family: Some(family) }).await?;
        let mut affine = affine.into_iter().filter_map(|record| match record.key {
            Key::Affinity { block, .. } => Some(block),
            _ => None,
        });
        let mut addresses = Vec::new();
        while addresses.len() < count {
            let found = match self.find_affine(&request.host, &mut affine).await {
                Some(found) => found,
                None => match self.find_or_claim(&request.host, &pools, family).await {
                    Ok(found) => found,
                    Err(Error::NoFreeBlocks) => break,
                    Err(error) => return Err(error),
                },
            };
            let missing = count - addresses.len();
            addresses.extend(self.assign_from(request, found, missing, true).await?);
        }
        for cidr in pools.iter().flat_map(|pool| ring(pool, &request.host)) {
            if addresses.len() == count {
                break;
            }
            if let Some(found) = self.records.get(&Key::Block(cidr)).await? {
                let missing = count - addresses.len();
                addresses.extend(self.assign_from(request, found, missing, false).await?);
            }
        }
        Ok(addresses)
    }

    /// The host's next affine block with a free address.
    async fn find_affine(
        &self,
        host: &str,
        affine: &mut impl Iterator<Item = BlockCidr>,
    ) -> Option<Arc<Record>> {
        for cidr in affine {
            for _ in 0..RETRIES {
                match self.block_of_affinity(host, cidr).await {
                    Ok(found) if !found.block().unwrap().unallocated.is_empty() => return Some(found),
                    Err(Error::Conflict) => continue,
                    Ok(_) | Err(_) => break,
                }
            }
        }
        None
    }

    /// A block with a free address that the host owns, or a new one that the host claims.
    async fn find_or_claim(&self, host: &str, pools: &[Pool], family: Family) -> Result<Arc<Record>, Error> {
        for _ in 0..RETRIES {
            let blocks = self.records.list(Scope::Blocks { family: Some(family) }).await?;
            let blocks: BTreeMap<BlockCidr, &Record> =
                blocks.iter().map(|record| (record.block().unwrap().cidr, &**record)).collect();
            let is_usable = |cidr: &BlockCidr| match blocks.get(cidr) {
                None => true,
                Some(record) => is_of(record, host) && !record.block().unwrap().unallocated.is_empty(),
            };
            let usable = pools.iter().flat_map(|pool| ring(pool, host)).find(is_usable);
            let Some(cidr) = usable else { return Err(Error::NoFreeBlocks) };
            for _ in 0..RETRIES {
                let found = match self.pending_affinity(host, cidr).await {
                    Ok(_) => self.block_of_affinity(host, cidr).await,
                    Err(error) => Err(error),
                };
                match found {
                    Ok(found) if !found.block().unwrap().unallocated.is_empty() => return Ok(found),
                    Err(Error::Conflict) => continue,
                    // Another host claimed or filled this block, so search again.
                    Ok(_) | Err(Error::Claimed) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Err(Error::Other("Max retries hit - excessive concurrent IPAM requests".to_string()))
    }

    /// Takes addresses from a block. First the handle is raised by the number that is wanted, and then the
    /// block is written.
    async fn assign_from(
        &self,
        request: &Request,
        mut found: Arc<Record>,
        count: usize,
        only_mine: bool,
    ) -> Result<Vec<IpAddr>, Error> {
        let cidr = found.block().unwrap().cidr;
        for _ in 0..RETRIES {
            if only_mine && !is_of(&found, &request.host) {
                return Ok(Vec::new());
            }
            let mut changed = found.block().unwrap().clone();
            let handle = request.handle.as_str();
            let addresses = block::assign(&mut changed, count, handle, &request.attributes);
            if addresses.is_empty() {
                return Ok(addresses);
            }
            self.increment(&request.handle, cidr, count as u32).await?;
            let error = match self.rewrite(&found, changed).await {
                Ok(_) => return Ok(addresses),
                Err(error) => error,
            };
            self.decrement(&request.handle, cidr, count as u32).await?;
            if error != Error::Conflict {
                return Err(error);
            }
            match self.records.get(&Key::Block(cidr)).await? {
                Some(again) => found = again,
                None => return Ok(Vec::new()),
            }
        }
        Err(Error::Other("Max retries hit - excessive concurrent IPAM requests".to_string()))
    }
}

/// The blocks of a pool, beginning at a place that depends on the host. (Any order will do, so this is not
/// exactly Calico's.)
fn ring(pool: &Pool, host: &str) -> Vec<BlockCidr> {
    let count = pool.cidr.size() / (1 << (pool.cidr.family().bits() - pool.block_size));
    let start = host.bytes().fold(0u128, |hash, byte| hash * 31 + u128::from(byte)) % count;
    let size = 1 << (pool.cidr.family().bits() - pool.block_size);
    let at = |steps: u128| api::cidr::offset(pool.cidr.first(), (start + steps) % count * size);
    (0..count).filter_map(|steps| BlockCidr::holding(at(steps), pool.block_size)).collect()
}
