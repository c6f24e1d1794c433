//! Calico's releases.

use api::{AffinityState, BlockCidr, Family, Key, Owner};
use ipam::{ReleaseIp, block};
use store::{Effects as _, Expect, Scope};

use super::{Calico, Trouble};
use crate::names::{handle, host};

impl Calico {
    pub(super) async fn release_affinity(
        &self,
        owner: &Owner,
        cidr: BlockCidr,
        must_be_empty: bool,
        sequence: Option<u64>,
    ) -> Result<(), Trouble> {
        let key = Calico::aff(owner, cidr);
        let Some(aff) = self.get(key.clone()).await else { return Err(Trouble::Other("no affinity")) };
        let Some(found) = self.get(Key::Block(cidr)).await else { return Err(Trouble::Other("no block")) };
        let mut b = found.block().unwrap().clone();
        block::collect(&mut b, self.clock.now(), 0);
        if sequence.is_some_and(|s| s != b.sequence_number) {
            return Err(Trouble::Other("sequence"));
        }
        if b.affinity.is_some() && b.affinity.as_deref() != Some(&owner.affinity_text()) {
            let _ = self.delete(key, &aff.revision).await;
            return Err(Trouble::Other("claimed"));
        }
        if must_be_empty && !block::is_empty(&b) {
            return Err(Trouble::Other("not empty"));
        }
        let leaving = self
            .put(
                key.clone(),
                Expect::Revision(aff.revision.clone()),
                Calico::state(AffinityState::PendingDeletion),
            )
            .await?;
        if block::is_empty(&b) {
            self.delete(Key::Block(cidr), &found.revision).await?;
        } else {
            block::disown(&mut b);
            self.update_block(b, &found.revision).await?;
        }
        self.delete(key, &leaving).await?;
        Ok(())
    }
    /// Gives up all blocks of a host.
    pub async fn give_up(&self, name: &str, must_be_empty: bool) {
        let owner = host(name);
        for record in
            self.list(Scope::Affinities { owner: Some(owner.clone()), family: Some(Family::V4) }).await
        {
            let Key::Affinity { block, .. } = &record.key else { continue };
            for _ in 0..self.retries {
                if self.release_affinity(&owner, *block, must_be_empty, None).await != Err(Trouble::Conflict)
                {
                    break;
                }
            }
        }
    }
    /// Releases what a handle holds.
    pub async fn del(&self, id: &str) {
        let Some(found) = self.get(Key::Handle(handle(id))).await else { return };
        for cidr in found.handle().unwrap().blocks.keys() {
            for _ in 0..self.retries {
                let Some(found) = self.get(Key::Block(*cidr)).await else { break };
                let mut b = found.block().unwrap().clone();
                block::collect(&mut b, self.clock.now(), 0);
                let gone = block::release_by_handle(&mut b, id, |_| true, self.clock.now(), 0);
                if gone.is_empty() {
                    break;
                }
                let done = match block::is_empty(&b) && b.affinity.is_none() {
                    true => self.delete(Key::Block(*cidr), &found.revision).await,
                    false => self.update_block(b, &found.revision).await,
                };
                match done {
                    Ok(_) => {
                        let _ = self.decrement(id, *cidr, gone.len() as u32).await;
                        break;
                    }
                    Err(Trouble::Conflict) => continue,
                    Err(_) => return,
                }
            }
        }
    }
    /// As the garbage collector of kube-controllers releases: by address, handle and sequence number that it
    /// saw a while ago.
    pub async fn collect(&self, id: &str) {
        let blocks = self.list(Scope::Blocks { family: None }).await;
        let mut seen = Vec::new();
        for record in &blocks {
            let b = record.block().unwrap();
            for o in block::ordinals_of(b, id) {
                seen.push((b.cidr, b.cidr.addr(o).unwrap(), b.sequence_of(o)));
            }
        }
        for (cidr, addr, sequence) in seen {
            for _ in 0..self.retries {
                let Some(found) = self.get(Key::Block(cidr)).await else { break };
                let mut b = found.block().unwrap().clone();
                block::collect(&mut b, self.clock.now(), 0);
                let ip = ReleaseIp { addr, handle: Some(id.into()), sequence: Some(sequence) };
                let Ok(released) = block::release(&mut b, &[ip], self.clock.now(), 0) else { break };
                if released.released.is_empty() {
                    break;
                }
                let done = match block::is_empty(&b) && b.affinity.is_none() {
                    true => self.delete(Key::Block(cidr), &found.revision).await,
                    false => self.update_block(b, &found.revision).await,
                };
                match done {
                    Ok(_) => {
                        let _ = self.decrement(id, cidr, 1).await;
                        break;
                    }
                    Err(Trouble::Conflict) => continue,
                    Err(_) => return,
                }
            }
        }
    }
}
