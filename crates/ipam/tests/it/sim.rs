//! A simulator: several callers, every read of a record or scope and every write a step, any of them next;
//! lost and late replies, crashes, and a second writer that works as Calico does. What must hold is checked
//! after every step.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "they print figures, and take them")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Family, Handle, Key, Kind, Owner, Record, Revision,
    Value,
};
use ipam::invariants::{Disagreement, Violation};
use ipam::{
    AutoAssign, HandleRelease, ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, Which, block, run,
};
use store::{
    Batch, Depth, Effects, Expect, MemoryStore, Op as StoreOp, Outcome, ReadSet, Refusal, Report, Scope,
    Slot, Store, StoreError, View, Write,
};

use crate::world::*;

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Kube,
    Etcd,
}

struct Shared {
    rng: Rng,
    late: Vec<Write>,
    late_transactions: Vec<Vec<Write>>,
    log: Vec<String>,
}

#[derive(Clone)]
struct Sim {
    mem: MemoryStore,
    shared: Arc<Mutex<Shared>>,
    mode: Mode,
    lost: u64,
    who: usize,
}

async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut gave, true) { Poll::Ready(()) } else { Poll::Pending })
        .await
}

fn now_or<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory store does not wait"),
    }
}

impl Sim {
    fn below(&self, n: u64) -> u64 {
        self.shared.lock().unwrap().rng.below(n)
    }
    fn chance(&self, t: u64) -> bool {
        t > 0 && self.shared.lock().unwrap().rng.chance(t)
    }
    fn log(&self, text: String) {
        let mut shared = self.shared.lock().unwrap();
        let line = format!("{}: {text}", self.who);
        shared.log.push(line);
    }
    fn apply(&self, write: Write) -> Outcome {
        let text = match &write.op {
            StoreOp::Put(v) => {
                format!("put {} {}", write.key, v.to_stored_text().chars().take(150).collect::<String>())
            }
            StoreOp::Delete => format!("delete {}", write.key),
        };
        let mut report =
            now_or(self.mem.commit(&Batch { writes: vec![write], guards: vec![] }, WITHIN)).unwrap();
        let outcome = report.outcomes.remove(0);
        let word = match &outcome {
            Outcome::Applied(_) => "ok",
            _ => "REFUSED",
        };
        self.log(format!("{text} {word}"));
        outcome
    }
    fn land(&self, writes: Vec<Write>) {
        let records = self.mem.records();
        let at = |key: &Key| records.iter().find(|r| r.key == *key).map(|r| r.revision.clone());
        let holds = writes.iter().all(|w| match &w.expect {
            Expect::Absent => at(&w.key).is_none(),
            Expect::Revision(r) => at(&w.key).as_ref() == Some(r),
            Expect::AsLeftBy(_) => false,
        });
        self.log(format!("late txn lands: {holds}"));
        if holds {
            for write in writes {
                self.apply(write);
            }
        }
    }
    fn resolve(batch: &Batch, index: usize, outcomes: &[Outcome]) -> Write {
        let mut write = batch.writes[index].clone();
        if let Expect::AsLeftBy(before) = write.expect {
            write.expect = match (&batch.writes[before].op, outcomes.get(before)) {
                (StoreOp::Put(_), Some(Outcome::Applied(revision))) => Expect::Revision(revision.clone()),
                (StoreOp::Delete, Some(Outcome::Applied(_))) => Expect::Absent,
                _ => Expect::AsLeftBy(usize::MAX),
            };
        }
        write
    }
    async fn commit_kube(&self, batch: &Batch) -> Report {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for index in 0..batch.writes.len() {
            give_way().await;
            let write = Sim::resolve(batch, index, &outcomes);
            if self.chance(self.lost) {
                match self.below(3) {
                    0 => drop(self.apply(write)),
                    1 => self.log(format!("lost {}", write.key)),
                    _ => {
                        self.log(format!("late {}", write.key));
                        self.shared.lock().unwrap().late.push(write);
                    }
                }
                outcomes.push(Outcome::Unknown("lost".into()));
                break;
            }
            let outcome = self.apply(write);
            let ok = matches!(outcome, Outcome::Applied(_));
            outcomes.push(outcome);
            if !ok {
                break;
            }
        }
        outcomes.resize(batch.writes.len(), Outcome::NotTried);
        Report { outcomes, broken_guard: None }
    }
    async fn commit_etcd(&self, batch: &Batch) -> Report {
        let mut outcomes: Vec<Outcome> = vec![Outcome::NotTried; batch.writes.len()];
        let mut first = true;
        for transaction in batch.transactions(usize::MAX) {
            give_way().await;
            let records = self.mem.records();
            let at = |key: &Key| records.iter().find(|r| r.key == *key).map(|r| r.revision.clone());
            if std::mem::take(&mut first) {
                for (index, guard) in batch.guards.iter().enumerate() {
                    let store::Guard::Record { key, revision } = guard else { panic!("{guard:?}") };
                    if at(key) != *revision {
                        return Report { outcomes, broken_guard: Some(index) };
                    }
                }
            }
            let mut writes = Vec::new();
            for op in &transaction.operations {
                let single = Batch { writes: batch.writes.clone(), guards: vec![] };
                let mut write = Sim::resolve(&single, op.writes[0], &outcomes);
                write.op = op.op.clone();
                writes.push((write, op.writes.clone()));
            }
            let refused = writes.iter().find(|(w, _)| match &w.expect {
                Expect::Absent => at(&w.key).is_some(),
                Expect::Revision(r) => at(&w.key).as_ref() != Some(r),
                Expect::AsLeftBy(_) => true,
            });
            if let Some((write, indexes)) = refused {
                self.log(format!("txn REFUSED at {}", write.key));
                outcomes[indexes[0]] = Outcome::Refused(Refusal::Conflict(store::Current::Unknown));
                return Report { outcomes, broken_guard: None };
            }
            let lost = self.chance(self.lost);
            let lands = !lost || self.chance(330);
            if lost && !lands && self.chance(500) {
                // The whole transaction may land later, if it still can then.
                let all = writes.iter().map(|(w, _)| w.clone()).collect();
                self.log("txn late".to_string());
                self.shared.lock().unwrap().late_transactions.push(all);
            }
            for (write, indexes) in writes {
                let mut outcome = Outcome::Unknown("lost".into());
                if lands {
                    let applied = self.apply(write);
                    assert!(matches!(applied, Outcome::Applied(_)));
                    if !lost {
                        outcome = applied;
                    }
                }
                for index in indexes {
                    outcomes[index] = outcome.clone();
                }
            }
            if lost {
                self.log(format!("txn reply lost, landed {lands}"));
                break;
            }
        }
        Report { outcomes, broken_guard: None }
    }
}

impl Store for Sim {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, _within: Duration) -> Result<View, StoreError> {
        if self.mode == Mode::Etcd {
            give_way().await;
            return Ok(now_or(self.mem.read(set, WITHIN)).unwrap());
        }
        // Scopes and keys each for itself, in any order; put together as the Kubernetes store does it.
        let n = set.scopes.len() + set.keys.len();
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        let mut parts: Vec<Option<View>> = (0..n).map(|_| None).collect();
        for at in order {
            give_way().await;
            let part = match set.scopes.get(at) {
                Some(scope) => ReadSet { keys: vec![], scopes: vec![scope.clone()] },
                None => ReadSet { keys: vec![set.keys[at - set.scopes.len()].clone()], scopes: vec![] },
            };
            parts[at] = Some(now_or(self.mem.read(&part, WITHIN)).unwrap());
        }
        let mut view = View::new();
        for (at, part) in parts.into_iter().enumerate() {
            let part = part.unwrap();
            for (key, slot) in part.all() {
                view.insert(key.clone(), slot.clone());
            }
            if let Some(read) = set.scopes.get(at) {
                view.page_read(read, part.page_end(&read.scope).cloned());
            }
        }
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, _within: Duration) -> Result<Report, StoreError> {
        Ok(match self.mode {
            Mode::Kube => self.commit_kube(batch).await,
            Mode::Etcd => self.commit_etcd(batch).await,
        })
    }

    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.mem.watch(scope).await
    }
}

// ---------------------------------------------------------------------------------------------------------------------------------------
// Calico's algorithm, step by step (`libcalico-go/lib/ipam`), IPv4, one pool.

#[derive(Debug, PartialEq)]
enum Err1 {
    Conflict,
    Other(&'static str),
}

struct Calico {
    sim: Sim,
    clock: Clock,
    retries: usize,
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
    async fn write(&self, write: Write) -> Result<Revision, Err1> {
        let report = self.sim.commit(&Batch { writes: vec![write], guards: vec![] }, WITHIN).await.unwrap();
        match &report.outcomes[0] {
            Outcome::Applied(revision) => Ok(revision.clone()),
            Outcome::Refused(_) => Err(Err1::Conflict),
            _ => Err(Err1::Other("no answer")),
        }
    }
    async fn put(&self, key: Key, expect: Expect, value: Value) -> Result<Revision, Err1> {
        self.write(Write { key, expect, op: StoreOp::Put(Arc::new(value)) }).await
    }
    async fn delete(&self, key: Key, revision: &Revision) -> Result<Revision, Err1> {
        self.write(Write { key, expect: Expect::Revision(revision.clone()), op: StoreOp::Delete }).await
    }
    fn aff(owner: &Owner, block: BlockCidr) -> Key {
        Key::Affinity { owner: owner.clone(), block }
    }
    fn state(state: AffinityState) -> Value {
        Value::Affinity(Affinity::new(state))
    }
    async fn update_block(&self, mut block: Block, revision: &Revision) -> Result<Revision, Err1> {
        block::bump(&mut block);
        self.put(Key::Block(block.cidr), Expect::Revision(revision.clone()), Value::Block(block)).await
    }
    async fn increment(&self, id: &str, cidr: BlockCidr, n: u32) -> Result<(), Err1> {
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
        Err(Err1::Other("increment"))
    }
    async fn decrement(&self, id: &str, cidr: BlockCidr, n: u32) -> Result<(), Err1> {
        for _ in 0..self.retries {
            let key = Key::Handle(handle(id));
            let Some(found) = self.get(key.clone()).await else { return Err(Err1::Other("no handle")) };
            let mut value = found.handle().unwrap().clone();
            let Some(count) = value.blocks.get_mut(&cidr) else { return Err(Err1::Other("no count")) };
            *count = count.saturating_sub(n);
            value.blocks.retain(|_, n| *n > 0);
            let done = match value.blocks.is_empty() {
                true => self.delete(key, &found.revision).await,
                false => self.put(key, Expect::Revision(found.revision.clone()), Value::Handle(value)).await,
            };
            match done {
                Ok(_) => return Ok(()),
                Err(Err1::Conflict) => continue,
                Err(error) => return Err(error),
            }
        }
        Err(Err1::Other("decrement"))
    }
    async fn confirm(&self, owner: &Owner, cidr: BlockCidr, revision: &Revision) -> Result<(), Err1> {
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
    async fn pending(&self, owner: &Owner, cidr: BlockCidr) -> Result<(AffinityState, Revision), Err1> {
        let key = Calico::aff(owner, cidr);
        match self.put(key.clone(), Expect::Absent, Calico::state(AffinityState::Pending)).await {
            Ok(revision) => Ok((AffinityState::Pending, revision)),
            Err(Err1::Conflict) => {
                let Some(found) = self.get(key.clone()).await else {
                    return Err(Err1::Other("affinity gone"));
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
    ) -> Result<(Block, Revision), Err1> {
        let made = block::create(cidr, owner, None, self.clock.now());
        match self.put(Key::Block(cidr), Expect::Absent, Value::Block(made.clone())).await {
            Ok(at) => {
                self.confirm(owner, cidr, revision).await?;
                Ok((made, at))
            }
            Err(Err1::Conflict) => {
                let Some(found) = self.get(Key::Block(cidr)).await else {
                    return Err(Err1::Other("block unread"));
                };
                if found.block().unwrap().affinity.as_deref() == Some(&owner.affinity_text()) {
                    self.confirm(owner, cidr, revision).await?;
                    return Ok((found.block().unwrap().clone(), found.revision.clone()));
                }
                let _ = self.delete(Calico::aff(owner, cidr), revision).await;
                Err(Err1::Other("claimed"))
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
    ) -> Result<(Block, Revision), Err1> {
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
            return Err(Err1::Other("stale"));
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
    ) -> Result<Vec<IpAddr>, Err1> {
        block::collect(&mut b, self.clock.now(), 0);
        let attribute = Attribute {
            handle_id: Some(id.into()),
            owner: [("node".to_string(), who.name().to_string()), ("pod".to_string(), id.to_string())].into(),
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
        .map_err(|_| Err1::Other("affinity"))?;
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
    async fn add(&self, name: &str, id: &str, n: u32, pool: &api::Pool) -> Vec<IpAddr> {
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
                        Err(Err1::Conflict) => continue,
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
                            Err(Err1::Conflict) => continue,
                            Err(_) => return got,
                        };
                        match self.block_from(&owner, cidr, state, &at).await {
                            Ok(found) => {
                                chosen = Some(found);
                                break 'find;
                            }
                            Err(Err1::Conflict) => continue,
                            Err(Err1::Other("claimed" | "stale")) => continue 'find,
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
                    Err(Err1::Conflict) => {
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
                        Err(Err1::Conflict) => continue,
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
    async fn release_affinity(
        &self,
        owner: &Owner,
        cidr: BlockCidr,
        must_be_empty: bool,
        sequence: Option<u64>,
    ) -> Result<(), Err1> {
        let key = Calico::aff(owner, cidr);
        let Some(aff) = self.get(key.clone()).await else { return Err(Err1::Other("no affinity")) };
        let Some(found) = self.get(Key::Block(cidr)).await else { return Err(Err1::Other("no block")) };
        let mut b = found.block().unwrap().clone();
        block::collect(&mut b, self.clock.now(), 0);
        if sequence.is_some_and(|s| s != b.sequence_number) {
            return Err(Err1::Other("sequence"));
        }
        if b.affinity.is_some() && b.affinity.as_deref() != Some(&owner.affinity_text()) {
            let _ = self.delete(key, &aff.revision).await;
            return Err(Err1::Other("claimed"));
        }
        if must_be_empty && !block::is_empty(&b) {
            return Err(Err1::Other("not empty"));
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
    async fn give_up(&self, name: &str, must_be_empty: bool) {
        let owner = host(name);
        for record in
            self.list(Scope::Affinities { owner: Some(owner.clone()), family: Some(Family::V4) }).await
        {
            let Key::Affinity { block, .. } = &record.key else { continue };
            for _ in 0..self.retries {
                if self.release_affinity(&owner, *block, must_be_empty, None).await != Err(Err1::Conflict) {
                    break;
                }
            }
        }
    }
    async fn del(&self, id: &str) {
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
                    Err(Err1::Conflict) => continue,
                    Err(_) => return,
                }
            }
        }
    }
    /// As the garbage collector of kube-controllers releases: by address, handle and sequence number that it
    /// saw a while ago.
    async fn collect(&self, id: &str) {
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
                    Err(Err1::Conflict) => continue,
                    Err(_) => return,
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Op {
    Add { host: &'static str, id: String, n: u32, all: bool },
    Named { host: &'static str, id: String, addr: IpAddr },
    Del(String),
    Release(String),
    GiveUp { host: &'static str, empty: bool },
    DropPool,
    CalicoAdd { host: &'static str, id: String, n: u32 },
    CalicoDel(String),
    CalicoGiveUp { host: &'static str, empty: bool },
    CalicoCollect(String),
    Pool { disabled: bool },
    Wait(u64),
    Vm { host: &'static str },
    Label { host: &'static str, no: bool },
    Cooldown(i64),
    Dual { host: &'static str, id: String },
    One { host: &'static str, block: u128, empty: bool },
}

#[derive(Default)]
struct Book {
    answered: BTreeMap<String, BTreeSet<IpAddr>>,
    failed: BTreeMap<String, String>,
    given_up: BTreeSet<String>,
    errors: BTreeMap<String, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Config {
    mode: Mode,
    calico: bool,
    lost: u64,
    crash: u64,
    tasks: u64,
    pools: bool,
    give_up: bool,
    dels: bool,
    more: bool,
}

const HOSTS: [&str; 3] = ["a", "b", "c"];

async fn perform(op: Op, sim: Sim, clock: Clock, book: Arc<Mutex<Book>>, world: World) {
    sim.log(format!("BEGIN {op:?}"));
    let calico = Calico { sim: Sim { lost: 0, ..sim.clone() }, clock: clock.clone(), retries: 20 };
    let note = |error: String| *book.lock().unwrap().errors.entry(error).or_default() += 1;
    let pool = || {
        world
            .store
            .records()
            .iter()
            .find_map(|r| r.resource().and_then(|v| v.as_pool().ok().cloned()))
            .unwrap()
    };
    match op.clone() {
        Op::Add { host, id, n, all } => {
            let wanted = AutoAssign { all_or_nothing: all, ..request(host, &id, n, 0) };
            match run(&sim, &clock, wanted.planner(), WITHIN).await {
                Ok(answer) => {
                    let got: BTreeSet<IpAddr> = answer.v4.addresses.iter().map(|a| a.addr).collect();
                    sim.log(format!("ANSWER {id} {got:?} {:?} {:?}", answer.v4.messages, answer.v4.error));
                    book.lock().unwrap().answered.insert(id, got);
                }
                Err(error) => {
                    sim.log(format!("ERROR {id} {error}"));
                    note(format!("add: {error}"));
                    book.lock().unwrap().failed.insert(id, error.to_string());
                }
            }
        }
        Op::Named { host, id, addr } => {
            match run(&sim, &clock, request_ip(host, &id, &addr.to_string()).planner(), WITHIN).await {
                Ok(()) => {
                    sim.log(format!("ANSWER {id} {addr}"));
                    book.lock().unwrap().answered.insert(id, [addr].into());
                }
                Err(error) => {
                    sim.log(format!("ERROR {id} {error}"));
                    book.lock().unwrap().failed.insert(id, error.to_string());
                }
            }
        }
        Op::Del(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            if let Err(error) =
                run(&sim, &clock, ReleaseByHandle::new(vec![handle(&id)], None).planner(), WITHIN).await
            {
                note(format!("del: {error}"));
            }
        }
        Op::Release(id) => {
            let held = book.lock().unwrap().answered.get(&id).cloned().unwrap_or_default();
            book.lock().unwrap().given_up.insert(id.clone());
            let ips = held
                .iter()
                .map(|addr| ReleaseIp { addr: *addr, handle: Some(id.clone()), sequence: None })
                .collect();
            if let Err(error) = run(&sim, &clock, ReleaseIps::new(ips).planner(), WITHIN).await {
                note(format!("release: {error}"));
            }
        }
        Op::GiveUp { host: name, empty } => {
            if let Err(error) = run(
                &sim,
                &clock,
                ReleaseAffinities { which: Which::Owner(host(name)), must_be_empty: empty }.planner(),
                WITHIN,
            )
            .await
            {
                note(format!("give up: {error}"));
            }
        }
        Op::DropPool => {
            if let Err(error) = run(
                &sim,
                &clock,
                ReleaseAffinities { which: Which::Within(cidr("10.0.0.0/8")), must_be_empty: false }
                    .planner(),
                WITHIN,
            )
            .await
            {
                note(format!("drop pool: {error}"));
            }
        }
        Op::CalicoAdd { host, id, n } => {
            let got: BTreeSet<IpAddr> = calico.add(host, &id, n, &pool()).await.into_iter().collect();
            sim.log(format!("ANSWER (calico) {id} {got:?}"));
            book.lock().unwrap().answered.insert(id, got);
        }
        Op::CalicoDel(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            calico.del(&id).await;
        }
        Op::CalicoGiveUp { host, empty } => calico.give_up(host, empty).await,
        Op::CalicoCollect(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            calico.collect(&id).await;
        }
        Op::Pool { disabled } => {
            give_way().await;
            world.pool_with(
                "pool",
                serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30, "disabled": disabled}),
            );
        }
        Op::Wait(seconds) => {
            give_way().await;
            clock.advance(seconds);
        }
        Op::Vm { host } => {
            let mut wanted =
                AutoAssign { all_or_nothing: true, max_per_handle: Some(1), ..request(host, "vm", 1, 0) };
            wanted.attributes.insert("timestamp".into(), format!("{:?}", clock.now()));
            match run(&sim, &clock, wanted.planner(), WITHIN).await {
                Ok(answer) => {
                    let got: BTreeSet<IpAddr> = answer.v4.addresses.iter().map(|a| a.addr).collect();
                    sim.log(format!("ANSWER vm {got:?} {:?} {:?}", answer.v4.messages, answer.v4.error));
                    if !got.is_empty() {
                        book.lock().unwrap().answered.insert("vm".into(), got);
                    }
                }
                Err(error) => note(format!("vm: {error}")),
            }
        }
        Op::Label { host, no } => {
            give_way().await;
            world.node(host, if no { &[("no", "")] } else { &[] });
        }
        Op::Cooldown(seconds) => {
            give_way().await;
            let strict = world
                .record(&Key::IpamConfig)
                .and_then(|r| r.ipam_config().map(|c| c.strict_affinity))
                .unwrap_or_default();
            world.config(|c| {
                c.strict_affinity = strict;
                c.cooldown_seconds = seconds;
            });
        }
        Op::Dual { host, id } => {
            let wanted = AutoAssign { all_or_nothing: true, ..request(host, &id, 1, 1) };
            match run(&sim, &clock, wanted.planner(), WITHIN).await {
                Ok(answer) => {
                    let got: BTreeSet<IpAddr> =
                        answer.v4.addresses.iter().chain(&answer.v6.addresses).map(|a| a.addr).collect();
                    sim.log(format!("ANSWER {id} {got:?} {:?} {:?}", answer.v4.messages, answer.v4.error));
                    assert!(got.is_empty() || got.len() == 2, "half of a dual-stack answer");
                    book.lock().unwrap().answered.insert(id, got);
                }
                Err(error) => {
                    sim.log(format!("ERROR {id} {error}"));
                    note(format!("add: {error}"));
                    book.lock().unwrap().failed.insert(id, error.to_string());
                }
            }
        }
        Op::One { host: name, block, empty } => {
            let cidr = BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), block * 4), 30).unwrap();
            if let Err(error) = run(
                &sim,
                &clock,
                ReleaseAffinities { which: Which::One(host(name), cidr), must_be_empty: empty }.planner(),
                WITHIN,
            )
            .await
            {
                note(format!("one: {error}"));
            }
        }
    }
    sim.log(format!("END {op:?}"));
}

#[derive(Default, Debug)]
struct Stats {
    soft: BTreeMap<String, u32>,
    errors: BTreeMap<String, u32>,
    lost_blocks: u32,
    steps: usize,
    crashes: u32,
}

fn simulate(seed: u64, config: Config) -> Result<Stats, String> {
    let mut rng = Rng(seed);
    let world = World::with_pool("10.0.0.0/28", 30);
    if config.more {
        world.pool_with(
            "pool",
            serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30, "nodeSelector": "!has(no)"}),
        );
        world.pool("six", "fd00::/125", 126);
    }
    world.config(|c| c.strict_affinity = rng.chance(250));
    let shared = Arc::new(Mutex::new(Shared {
        rng: Rng(seed ^ 0x5555),
        late: vec![],
        late_transactions: vec![],
        log: vec![],
    }));
    let sim = Sim { mem: world.store.clone(), shared: shared.clone(), mode: config.mode, lost: 0, who: 99 };
    let book = Arc::new(Mutex::new(Book::default()));
    let mut stats = Stats::default();
    let mut ids = 0;
    let mut fresh = || {
        ids += 1;
        format!("h{ids}")
    };
    // Before: some of everything, without faults.
    let mut known: Vec<String> = Vec::new();
    for _ in 0..rng.below(4) {
        let host = HOSTS[rng.below(3) as usize];
        let id = fresh();
        let n = 1 + rng.below(4) as u32;
        let op = Op::Add { host, id: id.clone(), n, all: false };
        drive(perform(op, sim.clone(), world.clock.clone(), book.clone(), world.clone()));
        known.push(id);
        if rng.chance(300) {
            let id = known[rng.below(known.len() as u64) as usize].clone();
            drive(perform(Op::Del(id), sim.clone(), world.clock.clone(), book.clone(), world.clone()));
        }
    }
    if rng.chance(300) {
        let host = HOSTS[rng.below(3) as usize];
        drive(perform(
            Op::GiveUp { host, empty: rng.chance(500) },
            sim.clone(),
            world.clock.clone(),
            book.clone(),
            world.clone(),
        ));
    }
    if rng.chance(300) {
        // A half-done state.
        let blocks = world.blocks();
        if let Some(b) = blocks.first() {
            let name = b.owner().map_or("a".to_string(), |o| o.name().to_string());
            let state = [AffinityState::Pending, AffinityState::PendingDeletion][rng.below(2) as usize];
            world.affinity(&name, &b.cidr.to_string(), state);
        }
    }
    if rng.chance(400) {
        world.clock.advance(100);
    }
    // Scripts.
    let mut scripts: Vec<Vec<Op>> = Vec::new();
    let mut all_ids = known.clone();
    for _ in 0..config.tasks {
        let mut script = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let span = 2 + rng.below(2);
            let host = HOSTS[rng.below(span) as usize];
            let calico = config.calico && rng.chance(500);
            let op = match rng.below(if config.more { 17 } else { 12 }) {
                12 => Op::Vm { host },
                13 => Op::Label { host, no: rng.chance(500) },
                14 => Op::Cooldown([0, 0, 1, 40][rng.below(4) as usize]),
                15 => {
                    let id = fresh();
                    all_ids.push(id.clone());
                    Op::Dual { host, id }
                }
                16 => Op::One { host, block: u128::from(rng.below(4)), empty: rng.chance(700) },
                0..=4 => {
                    let (id, n) = (fresh(), 1 + rng.below(3) as u32);
                    all_ids.push(id.clone());
                    if calico {
                        Op::CalicoAdd { host, id, n }
                    } else {
                        Op::Add { host, id, n, all: rng.chance(400) }
                    }
                }
                5 => {
                    let id = fresh();
                    all_ids.push(id.clone());
                    Op::Named { host, id, addr: api::cidr::offset(ip("10.0.0.0"), u128::from(rng.below(16))) }
                }
                6 | 7 if !all_ids.is_empty() && config.dels => {
                    let id = all_ids[rng.below(all_ids.len() as u64) as usize].clone();
                    if calico { Op::CalicoDel(id) } else { Op::Del(id) }
                }
                8 if !all_ids.is_empty() && config.dels => {
                    let id = all_ids[rng.below(all_ids.len() as u64) as usize].clone();
                    if calico { Op::CalicoCollect(id) } else { Op::Release(id) }
                }
                9 if config.give_up => {
                    let empty = rng.chance(700);
                    if calico { Op::CalicoGiveUp { host, empty } } else { Op::GiveUp { host, empty } }
                }
                10 if config.give_up => Op::DropPool,
                11 if config.pools => Op::Pool { disabled: rng.chance(500) },
                _ => Op::Wait(35),
            };
            script.push(op);
        }
        scripts.push(script);
    }
    // Ids whose request may have been cut off.
    let crash_at: Vec<Option<u64>> =
        scripts.iter().map(|_| rng.chance(config.crash).then(|| rng.below(40))).collect();
    let mut tasks: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>> = scripts
        .iter()
        .enumerate()
        .map(|(who, script)| {
            let (script, sim, clock, book, world) = (
                script.clone(),
                Sim { lost: config.lost, who, ..sim.clone() },
                world.clock.clone(),
                book.clone(),
                world.clone(),
            );
            let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                for op in script {
                    perform(op, sim.clone(), clock.clone(), book.clone(), world.clone()).await;
                }
            });
            Some(task)
        })
        .collect();
    let mut done: Vec<u64> = vec![0; tasks.len()];
    let mut crashed = BTreeSet::new();
    let fail = |what: String| {
        let shared = shared.lock().unwrap();
        Err(format!("seed {seed} {config:?}: {what}\nscripts {scripts:#?}\n{}\n", shared.log.join("\n")))
    };
    while tasks.iter().any(Option::is_some) {
        stats.steps += 1;
        if stats.steps > 20_000 {
            return fail("livelock".to_string());
        }
        let alive: Vec<usize> = (0..tasks.len()).filter(|i| tasks[*i].is_some()).collect();
        // Runs of one, now and then.
        let at = alive[rng.below(alive.len() as u64) as usize];
        if crash_at[at].is_some_and(|n| done[at] >= n) {
            tasks[at] = None;
            crashed.insert(at);
            stats.crashes += 1;
            shared.lock().unwrap().log.push(format!("{at}: CRASH"));
            continue;
        }
        done[at] += 1;
        if let Some(task) = &mut tasks[at]
            && task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            tasks[at] = None;
        }
        if rng.chance(200) {
            let late = shared.lock().unwrap().late.pop();
            if let Some(write) = late {
                sim.apply(write);
            }
            let late = shared.lock().unwrap().late_transactions.pop();
            if let Some(writes) = late {
                sim.land(writes);
            }
        }
        if let Some(what) = wrong(&world, &book, &mut stats) {
            return fail(what);
        }
    }
    let late = std::mem::take(&mut shared.lock().unwrap().late);
    for write in late {
        if rng.chance(500) {
            sim.apply(write);
        }
    }
    let late = std::mem::take(&mut shared.lock().unwrap().late_transactions);
    for writes in late {
        sim.land(writes);
    }
    if let Some(what) = wrong(&world, &book, &mut stats) {
        return fail(format!("at the end: {what}"));
    }
    for (error, n) in &book.lock().unwrap().errors {
        *stats.errors.entry(error.clone()).or_default() += n;
    }
    // Requests that failed hold nothing, where nothing was lost.
    if config.lost == 0 {
        for id in book.lock().unwrap().failed.keys() {
            let held = world.assigned().into_values().filter(|h| h == id).count();
            if held > 0 {
                return fail(format!("{id} failed and holds {held}"));
            }
            if !config.calico && world.handle(id).is_some() {
                return fail(format!("{id} failed and its handle is there: {:?}", world.handle(id)));
            }
        }
    }
    {
        let book = book.lock().unwrap();
        for (id, error) in &book.failed {
            if error.contains("was released while") && !book.given_up.contains(id) {
                return fail(format!("nobody released {id}, and yet: overtaken"));
            }
        }
    }
    // Exactness where nothing goes wrong.
    let out_of_time = book.lock().unwrap().errors.keys().any(|e| e.contains("finish within"));
    if config.lost == 0 && crashed.is_empty() && !config.calico && !out_of_time {
        let assigned = world.assigned();
        for id in &all_ids {
            let held = assigned.values().filter(|h| *h == id).count() as u32;
            let counted: u32 = world.handle(id).map_or(0, |h| h.blocks.values().sum());
            if held != counted {
                return fail(format!("{id} holds {held} and counts {counted}"));
            }
        }
    }
    // Everybody heals: one request each of the hosts, then all is released.
    world.pool_with("pool", serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30}));
    let lost_now = lost_blocks(&world);
    stats.lost_blocks += lost_now;
    if lost_now > 0 && config.lost == 0 && crashed.is_empty() && std::env::var_os("SIM_LOST").is_some() {
        return fail(format!(
            "lost block: {:?} {:?}",
            world.affinities(),
            world.blocks().iter().map(|b| (b.cidr, b.affinity.clone())).collect::<Vec<_>>()
        ));
    }
    if lost_now > 0 && config.lost == 0 && crashed.is_empty() {
        *stats.soft.entry("a lost block without crash or lost reply".into()).or_default() += 1;
    }
    if config.more {
        all_ids.push("vm".into());
        world.config(|_| {});
        world.clock.advance(1000);
    }
    all_ids.sort();
    all_ids.dedup();
    for id in &all_ids {
        drive(perform(Op::Del(id.clone()), sim.clone(), world.clock.clone(), book.clone(), world.clone()));
        if world.handle(id).is_some() {
            return fail(format!("the handle of {id} is still there"));
        }
    }
    if !world.assigned().is_empty() {
        return fail(format!("leaked: {:?}", world.assigned()));
    }
    for host_name in HOSTS {
        drive(perform(
            Op::GiveUp { host: host_name, empty: false },
            sim.clone(),
            world.clock.clone(),
            book.clone(),
            world.clone(),
        ));
    }
    if !world.affinities().is_empty() {
        return fail(format!("affinities left: {:?}", world.affinities()));
    }
    let nobodys = world.blocks().iter().filter(|b| b.affinity.is_none()).count() as u32;
    if nobodys > 0 {
        *stats.soft.entry("an empty block of nobody is left".into()).or_default() += nobodys;
    }
    if world.blocks().len() as u32 > lost_now + nobodys {
        return fail(format!(
            "blocks left: {:?}",
            world.blocks().iter().map(|b| (b.cidr, b.affinity.clone())).collect::<Vec<_>>()
        ));
    }
    Ok(stats)
}

fn lost_blocks(world: &World) -> u32 {
    let affinities: BTreeSet<(Owner, BlockCidr)> = world
        .store
        .records()
        .iter()
        .filter_map(|r| match &r.key {
            Key::Affinity { owner, block } => Some((owner.clone(), *block)),
            _ => None,
        })
        .collect();
    world.blocks().iter().filter(|b| b.owner().is_some_and(|o| !affinities.contains(&(o, b.cidr)))).count()
        as u32
}

fn wrong(world: &World, book: &Arc<Mutex<Book>>, stats: &mut Stats) -> Option<String> {
    let records = world.store.records();
    for violation in ipam::invariants::check(&records, None) {
        let what = match &violation {
            Violation::Affinity { found: Disagreement::NoBlock, .. } => "no such block",
            Violation::Affinity { found: Disagreement::Nobodys, .. } => "nobody's",
            Violation::Affinity { found: Disagreement::Anothers(_), .. } => "is affine to host",
            Violation::LostBlock { .. } => "no affinity to it",
            _ => return Some(violation.to_string()),
        };
        if std::env::var("SIM_SOFT").is_ok_and(|soft| soft == what) {
            return Some(format!("soft {what}: {violation}"));
        }
        *stats.soft.entry(what.to_string()).or_default() += 1;
    }
    let assigned = world.assigned();
    let vm = assigned.values().filter(|id| *id == "vm").count();
    if vm > 1 {
        return Some(format!("vm holds {vm}"));
    }
    let book = book.lock().unwrap();
    for (id, addresses) in &book.answered {
        if book.given_up.contains(id) {
            continue;
        }
        for addr in addresses {
            if assigned.get(addr) != Some(id) {
                return Some(format!("{id} was answered {addr}, which is held by {:?}", assigned.get(addr)));
            }
        }
    }
    None
}

fn drive(future: impl Future<Output = ()>) {
    let mut future = Box::pin(future);
    for _ in 0..100_000 {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    panic!("it does not end");
}

fn sweep(name: &str, config: Config, seeds: u64) -> u32 {
    let from: u64 = std::env::var("SIM_FROM").ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    let seeds: u64 = std::env::var("SIM_SEEDS").ok().and_then(|t| t.parse().ok()).unwrap_or(seeds);
    let mut total = Stats::default();
    let mut failures: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for seed in from..from + seeds {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulate(seed, config)));
        match outcome {
            Ok(Ok(stats)) => {
                total.steps += stats.steps;
                total.crashes += stats.crashes;
                total.lost_blocks += stats.lost_blocks;
                for (what, n) in stats.soft {
                    *total.soft.entry(what).or_default() += n;
                }
                for (what, n) in stats.errors {
                    *total.errors.entry(what).or_default() += n;
                }
            }
            Ok(Err(text)) => {
                let first = text.lines().next().unwrap_or_default();
                let class: String = first
                    .split_once("}: ")
                    .map_or(first, |(_, w)| w)
                    .chars()
                    .filter(|c| !c.is_ascii_digit())
                    .collect();
                let entry = failures.entry(class).or_insert((0, text));
                entry.0 += 1;
            }
            Err(_) => failures.entry("panic".into()).or_insert((0, format!("panic at seed {seed}"))).0 += 1,
        }
    }
    println!(
        "== {name}: {seeds} seeds, {} steps, {} crashes, lost blocks at end {}, soft {:?}, errors {:?}",
        total.steps, total.crashes, total.lost_blocks, total.soft, total.errors
    );
    let mut n = 0;
    for (class, (count, text)) in &failures {
        n += count;
        println!("-- {count} x {class}");
        let path = format!(
            "{}/sim-{}-{}.txt",
            env!("CARGO_TARGET_TMPDIR"),
            name.replace(' ', "_"),
            class.chars().filter(|c| c.is_ascii_alphanumeric()).take(30).collect::<String>()
        );
        std::fs::write(&path, text).unwrap();
        println!("   {path}");
    }
    n
}

/// A small sweep for every change; `SIM_SEEDS` makes it longer.
const SEEDS: u64 = 60;

const BASE: Config = Config {
    mode: Mode::Kube,
    calico: false,
    lost: 0,
    crash: 0,
    tasks: 3,
    pools: false,
    give_up: true,
    dels: true,
    more: false,
};

#[test]
fn sim_plain_kube() {
    assert_eq!(sweep("kube", BASE, SEEDS), 0);
}
#[test]
fn sim_plain_etcd() {
    assert_eq!(sweep("etcd", Config { mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_lost_kube() {
    assert_eq!(sweep("kube lost", Config { lost: 60, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_lost_etcd() {
    assert_eq!(sweep("etcd lost", Config { lost: 100, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_crash_kube() {
    assert_eq!(sweep("kube crash", Config { crash: 500, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_crash_lost_kube() {
    assert_eq!(sweep("kube crash lost", Config { crash: 300, lost: 60, tasks: 4, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_calico_kube() {
    assert_eq!(sweep("kube calico", Config { calico: true, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_calico_crash_kube() {
    assert_eq!(sweep("kube calico crash", Config { calico: true, crash: 300, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_calico_etcd() {
    assert_eq!(sweep("etcd calico", Config { calico: true, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_pools_kube() {
    assert_eq!(sweep("kube pools", Config { pools: true, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_no_give_up_kube() {
    assert_eq!(sweep("kube no give up", Config { give_up: false, tasks: 4, ..BASE }, SEEDS), 0);
}

#[test]
fn sim_no_dels_kube() {
    assert_eq!(sweep("kube no dels", Config { dels: false, tasks: 4, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_no_dels_lost_kube() {
    assert_eq!(
        sweep("kube no dels lost", Config { dels: false, give_up: false, lost: 80, tasks: 4, ..BASE }, SEEDS),
        0
    );
}
#[test]
fn sim_no_dels_lost_etcd() {
    assert_eq!(
        sweep(
            "etcd no dels lost",
            Config { mode: Mode::Etcd, dels: false, give_up: false, lost: 150, tasks: 4, ..BASE },
            SEEDS
        ),
        0
    );
}

#[test]
fn sim_more_kube() {
    assert_eq!(sweep("kube more", Config { more: true, tasks: 4, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_more_etcd() {
    assert_eq!(sweep("etcd more", Config { more: true, tasks: 4, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_more_lost_kube() {
    assert_eq!(
        sweep("kube more lost", Config { more: true, tasks: 3, lost: 60, crash: 200, ..BASE }, SEEDS),
        0
    );
}
#[test]
fn sim_more_lost_etcd() {
    assert_eq!(
        sweep(
            "etcd more lost",
            Config { more: true, tasks: 3, lost: 100, crash: 200, mode: Mode::Etcd, ..BASE },
            SEEDS
        ),
        0
    );
}
#[test]
fn sim_more_calico_kube() {
    assert_eq!(sweep("kube more calico", Config { more: true, calico: true, tasks: 3, ..BASE }, SEEDS), 0);
}

#[test]
fn sim_unused() {
    let _ = (Slot::Absent, HandleRelease::NotFound, Kind::Node);
}
