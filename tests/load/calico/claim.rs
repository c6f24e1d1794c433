//! How a host gets a block, as in Calico (`libcalico-go/lib/ipam/ipam_block_reader_writer.go`).

use std::sync::Arc;

use api::{Affinity, AffinityState, Block, BlockCidr, Key, Owner, Record, Revision, Value};

use super::{Calico, Error, Records, block};

fn affinity_key(host: &str, block: BlockCidr) -> Key {
    Key::Affinity { owner: Owner::Host(host.to_string()), block }
}

fn affinity(state: AffinityState) -> Value {
    Value::Affinity(Affinity::new(state))
}

impl<R: Records> Calico<'_, R> {
    /// Writes a pending affinity. Gives its revision (`getPendingAffinity`).
    pub(super) async fn pending_affinity(&self, host: &str, cidr: BlockCidr) -> Result<Revision, Error> {
        let key = affinity_key(host, cidr);
        match self.records.create(key.clone(), affinity(AffinityState::Pending)).await {
            Err(Error::Exists) => {
                let Some(found) = self.records.get(&key).await? else { return Err(Error::Conflict) };
                if found.affinity().unwrap().state == AffinityState::Confirmed {
                    return Ok(found.revision.clone());
                }
                self.records.update(key, &found.revision, affinity(AffinityState::Pending)).await
            }
            other => other,
        }
    }

    /// The block of one of the host's affinities. If the affinity is not confirmed, it is repaired, or the
    /// block is claimed (`getBlockFromAffinity`).
    pub(super) async fn block_of_affinity(&self, host: &str, cidr: BlockCidr) -> Result<Arc<Record>, Error> {
        let key = affinity_key(host, cidr);
        let Some(mine) = self.records.get(&key).await? else { return Err(Error::Claimed) };
        match self.records.get(&Key::Block(cidr)).await? {
            None => {
                let pending =
                    self.records.update(key, &mine.revision, affinity(AffinityState::Pending)).await?;
                self.claim(host, cidr, &pending).await
            }
            Some(found) if is_of(&found, host) => {
                if mine.affinity().unwrap().state == AffinityState::Confirmed {
                    return Ok(found);
                }
                let pending = self
                    .records
                    .update(key.clone(), &mine.revision, affinity(AffinityState::Pending))
                    .await?;
                let found = self.rewrite(&found, found.block().unwrap().clone()).await?;
                self.records.update(key, &pending, affinity(AffinityState::Confirmed)).await?;
                Ok(found)
            }
            Some(_) => {
                self.records.delete(key, &mine.revision).await?;
                Err(Error::Claimed)
            }
        }
    }

    /// Creates the block of a pending affinity, and confirms the affinity (`claimAffineBlock`,
    /// `confirmAffinity`).
    async fn claim(&self, host: &str, cidr: BlockCidr, pending: &Revision) -> Result<Arc<Record>, Error> {
        let (key, affinity_key) = (Key::Block(cidr), affinity_key(host, cidr));
        let made = block::new(cidr, host, self.clock.now());
        let record = match self.records.create(key.clone(), Value::Block(made.clone())).await {
            Ok(revision) => Arc::new(Record { key, value: Value::Block(made), revision }),
            Err(Error::Exists) => match self.records.get(&key).await? {
                Some(found) if is_of(&found, host) => found,
                Some(_) => {
                    self.records.delete(affinity_key, pending).await?;
                    return Err(Error::Claimed);
                }
                None => return Err(Error::Conflict),
            },
            Err(error) => return Err(error),
        };
        let confirmed = affinity(AffinityState::Confirmed);
        match self.records.update(affinity_key.clone(), pending, confirmed).await {
            Ok(_) => Ok(record),
            Err(error) => match self.records.get(&affinity_key).await? {
                Some(found) if found.affinity().unwrap().state == AffinityState::Confirmed => Ok(record),
                _ => Err(error),
            },
        }
    }

    /// Stores a changed block, with its sequence number raised by one.
    pub(super) async fn rewrite(&self, found: &Record, mut changed: Block) -> Result<Arc<Record>, Error> {
        changed.sequence_number += 1;
        let key = found.key.clone();
        let revision =
            self.records.update(key.clone(), &found.revision, Value::Block(changed.clone())).await?;
        Ok(Arc::new(Record { key, value: Value::Block(changed), revision }))
    }

    /// Gives up a block that is empty (`releaseBlockAffinity`).
    pub(super) async fn release_affinity(&self, host: &str, cidr: BlockCidr) -> Result<(), Error> {
        let key = affinity_key(host, cidr);
        let Some(mine) = self.records.get(&key).await? else { return Ok(()) };
        let found = match self.records.get(&Key::Block(cidr)).await? {
            Some(found) if is_of(&found, host) => found,
            _ => return self.records.delete(key, &mine.revision).await,
        };
        if !block::is_empty(found.block().unwrap()) {
            return Ok(());
        }
        let leaving = self
            .records
            .update(key.clone(), &mine.revision, affinity(AffinityState::PendingDeletion))
            .await?;
        self.records.delete(Key::Block(cidr), &found.revision).await?;
        self.records.delete(key, &leaving).await
    }
}

pub(super) fn is_of(record: &Record, host: &str) -> bool {
    record.block().unwrap().affinity.as_deref() == Some(block::affinity_text(host).as_str())
}
