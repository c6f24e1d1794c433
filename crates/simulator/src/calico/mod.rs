//! Calico's algorithm, step by step (`libcalico-go/lib/ipam`), IPv4, one pool.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Family, Handle, Key, Owner, Record, Revision, Value,
};
use ipam::block;
use store::{Batch, Depth, Effects, Expect, Op as StoreOp, Outcome, ReadSet, Scope, Store, Write};

use crate::WITHIN;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::names::{attributes, handle, host};

mod release;

#[derive(Debug, PartialEq)]
enum Trouble {
    Conflict,
    Other(&'static str),
}

/// A writer that works as Calico does.
pub(crate) struct Calico {
    pub sim: Caller,
    pub clock: Clock,
    pub retries: usize,
}

impl Calico {
    async fn get(&self, key: Key) -> Option<Arc<Record>> {
        let set = ReadSet::new().key(key.clone());
        self.sim.read(&set, WITHIN).await.unwrap().full(&key).flatten().cloned()
    }
    async fn list(&self, scope: Scope) -> Vec<Arc<Record>> {
        let set = ReadSet::new().scope(scope.clone(), Depth::Full);
        let view = self.sim.read(&set, WITHIN).await.unwrap();
        view.slots(&scope).filter_map(|(_, slot)| slot.record().cloned()).collect()
    }
    async fn write(&self, write: Write) -> Result<Revision, Trouble> {
        let report =
            self.sim.commit(&Batch { writes: vec![write], ..Batch::default() }, WITHIN).await.unwrap();
        match &report.outcomes[0] {
            Outcome::Applied(revision) => Ok(revision.clone()),
            Outcome::Refused(_) => Err(Trouble::Conflict),
            _ => Err(Trouble::Other("no answer")),
        }
    }
    async fn put(&self, key: Key, expect: Expect, value: Value) -> Result<Revision, Trouble> {
        self.write(Write { key, expect, op: StoreOp::Put(Arc::new(value)) }).await
    }
    async fn delete(&self, key: Key, revision: &Revision) -> Result<Revision, Trouble> {
        self.write(Write { key, expect: Expect::Revision(revision.clone()), op: StoreOp::Delete }).await
    }
    fn aff(owner: &Owner, block: BlockCidr) -> Key {
        Key::Affinity { owner: owner.clone(), block }
    }
    fn state(state: AffinityState) -> Value {
        Value::Affinity(Affinity::new(state))
    }
    async fn update_block(&self, mut block: Block, revision: &Revision) -> Result<Revision, Trouble> {
        block::bump(&mut block);
        self.put(Key::Block(block.cidr), Expect::Revision(revision.clone()), Value::Block(block)).await
    }
    async fn increment(&self, id: &str, cidr: BlockCidr, n: u32) -> Result<(), Trouble> {
        for _ in 0..self.retries {
            let key = Key::Handle(handle(id));
            let found = self.get(key.clone()).await;
            let mut value = found.as_ref().map_or_else(Handle::default, |r| r.handle().unwrap().clone());
            *value.blocks.entry(cidr).or_default() += n;
            let expect = found.map_or(Expect::Absent, |r| Expect::Revision(r.revision.clone()));
            if self.put(key, expect, Value::Handle(value)).await.is_ok() {
                return Ok(());
            }
        }
        Err(Trouble::Other("increment"))
    }
    async fn decrement(&self, id: &str, cidr: BlockCidr, n: u32) -> Result<(), Trouble> {
        for _ in 0..self.retries {
            let key = Key::Handle(handle(id));
            let Some(found) = self.get(key.clone()).await else { return Err(Trouble::Other("no handle")) };
            let mut value = found.handle().unwrap().clone();
            let Some(count) = value.blocks.get_mut(&cidr) else { return Err(Trouble::Other("no count")) };
            *count = count.saturating_sub(n);
            value.blocks.retain(|_, n| *n > 0);
            let done = match value.blocks.is_empty() {
                true => self.delete(key, &found.revision).await,
                false => self.put(key, Expect::Revision(found.revision.clone()), Value::Handle(value)).await,
            };
            match done {
                Ok(_) => return Ok(()),
                Err(Trouble::Conflict) => continue,
                Err(error) => return Err(error),
            }
        }
        Err(Trouble::Other("decrement"))
    }
    async fn confirm(&self, owner: &Owner, cidr: BlockCidr, revision: &Revision) -> Result<(), Trouble> {
        let key = Calico::aff(owner, cidr);
        let done = self
            .put(key.clone(), Expect::Revision(revision.clone()), Calico::state(AffinityState::Confirmed))
            .await;
        if let Err(error) = done {
            let again = self.get(key).await;
            if again.is_some_and(|r| r.affinity().unwrap().state == AffinityState::Confirmed) {
                return Ok(());
            }
            return Err(error);
        }
        Ok(())
    }
    async fn pending(&self, owner: &Owner, cidr: BlockCidr) -> Result<(AffinityState, Revision), Trouble> {
        let key = Calico::aff(owner, cidr);
        match self.put(key.clone(), Expect::Absent, Calico::state(AffinityState::Pending)).await {
            Ok(revision) => Ok((AffinityState::Pending, revision)),
            Err(Trouble::Conflict) => {
                let Some(found) = self.get(key.clone()).await else {
                    return Err(Trouble::Other("affinity gone"));
                };
                if found.affinity().unwrap().state == AffinityState::Confirmed {
                    return Ok((AffinityState::Confirmed, found.revision.clone()));
                }
                let expect = Expect::Revision(found.revision.clone());
                let revision = self.put(key, expect, Calico::state(AffinityState::Pending)).await?;
                Ok((AffinityState::Pending, revision))
            }
            Err(error) => Err(error),
        }
    }
    async fn claim(
        &self,
        owner: &Owner,
        cidr: BlockCidr,
        revision: &Revision,
    ) -> Result<(Block, Revision), Trouble> {
        let made = block::create(cidr, owner, None, self.clock.now());
        match self.put(Key::Block(cidr), Expect::Absent, Value::Block(made.clone())).await {
            Ok(at) => {
                self.confirm(owner, cidr, revision).await?;
                Ok((made, at))
            }
            Err(Trouble::Conflict) => {
                let Some(found) = self.get(Key::Block(cidr)).await else {
                    return Err(Trouble::Other("block unread"));
                };
                if found.block().unwrap().affinity.as_deref() == Some(&owner.affinity_text()) {
                    self.confirm(owner, cidr, revision).await?;
                    return Ok((found.block().unwrap().clone(), found.revision.clone()));
                }
                let _ = self.delete(Calico::aff(owner, cidr), revision).await;
                Err(Trouble::Other("claimed"))
            }
            Err(error) => Err(error),
        }
    }
    async fn block_from(
        &self,
        owner: &Owner,
        cidr: BlockCidr,
        state: AffinityState,
        revision: &Revision,
    ) -> Result<(Block, Revision), Trouble> {
        let key = Calico::aff(owner, cidr);
        let Some(found) = self.get(Key::Block(cidr)).await else {
            let at = self
                .put(key, Expect::Revision(revision.clone()), Calico::state(AffinityState::Pending))
                .await?;
            return self.claim(owner, cidr, &at).await;
        };
        let mut b = found.block().unwrap().clone();
        if b.affinity.as_deref() != Some(&owner.affinity_text()) {
            self.delete(key, revision).await?;
            return Err(Trouble::Other("stale"));
        }
        let mut at = found.revision.clone();
        if state != AffinityState::Confirmed {
            let pending = self
                .put(key.clone(), Expect::Revision(revision.clone()), Calico::state(AffinityState::Pending))
                .await?;
            block::bump(&mut b);
            at = self.put(Key::Block(cidr), Expect::Revision(at), Value::Block(b.clone())).await?;
            self.put(key, Expect::Revision(pending), Calico::state(AffinityState::Confirmed)).await?;
        }
        Ok((b, at))
    }
    async fn assign_from(
        &self,
        mut b: Block,
        at: &Revision,
        n: u32,
        id: &str,
        who: &Owner,
        strict: bool,
    ) -> Result<Vec<IpAddr>, Trouble> {
        block::collect(&mut b, self.clock.now(), 0);
        let attribute = Attribute {
            handle_id: Some(id.into()),
            owner: attributes(who.name(), id),
            ..Attribute::default()
        };
        let text = who.affinity_text();
        let ips = block::assign(
            &mut b,
            n,
            strict.then_some(text.as_str()),
            &Arc::new(attribute),
            &Default::default(),
        )
        .map_err(|_| Trouble::Other("affinity"))?;
        if ips.is_empty() {
            return Ok(ips);
        }
        // The number that was asked for, not the number that was taken.
        self.increment(id, b.cidr, n).await?;
        let cidr = b.cidr;
        match self.update_block(b, at).await {
            Ok(_) => Ok(ips),
            Err(error) => {
                let _ = self.decrement(id, cidr, n).await;
                Err(error)
            }
        }
    }
    /// Assigns addresses.
    pub async fn add(&self, name: &str, id: &str, n: u32, pool: &api::Pool) -> Vec<IpAddr> {
        let owner = host(name);
        let mut got: Vec<IpAddr> = Vec::new();
        let config =
            self.get(Key::IpamConfig).await.and_then(|r| r.ipam_config().cloned()).unwrap_or_default();
        let strict = config.strict_affinity;
        let listed =
            self.list(Scope::Affinities { owner: Some(owner.clone()), family: Some(Family::V4) }).await;
        let mut remaining: Vec<BlockCidr> = listed
            .iter()
            .filter_map(|r| match &r.key {
                Key::Affinity { block, .. } => Some(*block),
                _ => None,
            })
            .collect();
        remaining.reverse();
        'more: while (got.len() as u32) < n {
            let mut chosen = None;
            'affine: while let Some(cidr) = remaining.pop() {
                for _ in 0..self.retries {
                    let Some(aff) = self.get(Calico::aff(&owner, cidr)).await else { break };
                    match self.block_from(&owner, cidr, aff.affinity().unwrap().state, &aff.revision).await {
                        Ok((b, at)) => {
                            let mut c = b.clone();
                            block::collect(&mut c, self.clock.now(), 0);
                            if !c.unallocated.is_empty() {
                                chosen = Some((b, at));
                                break 'affine;
                            }
                            break;
                        }
                        Err(Trouble::Conflict) => continue,
                        Err(_) => break,
                    }
                }
            }
            if chosen.is_none() {
                'find: for _ in 0..self.retries {
                    let Some(cidr) = self.find_usable(&owner, pool).await else { break 'more };
                    for _ in 0..self.retries {
                        let (state, at) = match self.pending(&owner, cidr).await {
                            Ok(found) => found,
                            Err(Trouble::Conflict) => continue,
                            Err(_) => return got,
                        };
                        match self.block_from(&owner, cidr, state, &at).await {
                            Ok(found) => {
                                chosen = Some(found);
                                break 'find;
                            }
                            Err(Trouble::Conflict) => continue,
                            Err(Trouble::Other("claimed" | "stale")) => continue 'find,
                            Err(_) => return got,
                        }
                    }
                }
            }
            let Some((mut b, mut at)) = chosen else { return got };
            for _ in 0..self.retries {
                let rest = n - got.len() as u32;
                match self.assign_from(b.clone(), &at, rest, id, &owner, strict).await {
                    Ok(ips) => {
                        got.extend(ips);
                        break;
                    }
                    Err(Trouble::Conflict) => {
                        let Some(found) = self.get(Key::Block(b.cidr)).await else { break };
                        (b, at) = (found.block().unwrap().clone(), found.revision.clone());
                    }
                    Err(_) => break,
                }
            }
        }
        if (got.len() as u32) < n && !strict {
            let ring = ipam::ring::Ring::of(pool, name, 7).unwrap();
            let mut steps = 0;
            while let Some(index) = ring.at(steps) {
                steps += 1;
                let rest = n - got.len() as u32;
                if rest == 0 {
                    break;
                }
                let cidr = pool.block_at(index).unwrap();
                for _ in 0..self.retries {
                    let Some(found) = self.get(Key::Block(cidr)).await else { break };
                    match self
                        .assign_from(found.block().unwrap().clone(), &found.revision, rest, id, &owner, false)
                        .await
                    {
                        Ok(ips) => {
                            got.extend(ips);
                            break;
                        }
                        Err(Trouble::Conflict) => continue,
                        Err(_) => break,
                    }
                }
            }
        }
        got
    }
    async fn find_usable(&self, owner: &Owner, pool: &api::Pool) -> Option<BlockCidr> {
        let blocks = self.list(Scope::Blocks { family: Some(Family::V4) }).await;
        let blocks: BTreeMap<BlockCidr, Block> =
            blocks.iter().map(|r| (r.block().unwrap().cidr, r.block().unwrap().clone())).collect();
        let ring = ipam::ring::Ring::of(pool, owner.name(), 7).unwrap();
        let mut empty = Vec::new();
        let mut steps = 0;
        while let Some(index) = ring.at(steps) {
            steps += 1;
            let cidr = pool.block_at(index).unwrap();
            let Some(stored) = blocks.get(&cidr) else { return Some(cidr) };
            let mut b = stored.clone();
            block::collect(&mut b, self.clock.now(), 0);
            if b.affinity.as_deref() == Some(&owner.affinity_text()) && !b.unallocated.is_empty() {
                return Some(cidr);
            }
            if block::is_empty(&b) && !b.unallocated.is_empty() {
                empty.push(stored.clone());
            }
        }
        for b in empty {
            let old =
                b.affinity_claim_time.is_none_or(|t| self.clock.now().as_second() - t.as_second() >= 60);
            if let (true, Some(theirs)) = (old, b.owner())
                && self.release_affinity(&theirs, b.cidr, true, Some(b.sequence_number)).await.is_ok()
            {
                return Some(b.cidr);
            }
        }
        None
    }
}
