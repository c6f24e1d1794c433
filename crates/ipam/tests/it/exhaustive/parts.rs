//! A store whose every part of a read and every write is a step that the search chooses, with a hash of all
//! that the actors and the store can know.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use api::{HandleId, Key, Value};
use ipam::invariants::RequestId;
use store::{
    Batch, Expect, MemoryStore, Op, Outcome, ReadSet, Report, Scope, Store, StoreError, View, Write,
};

use crate::witness::Witness;
use crate::world::WITHIN;

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, and so does the reply.
    Answered,
    /// It arrives, and the reply is lost.
    Landed,
    /// It is lost.
    Lost,
    /// It arrives later, or never; the caller knows nothing.
    Late,
}

/// What an actor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    Read,
    Write,
    /// It waits for a while, since the store was as this hash says. What it waits for is another's write, or
    /// that time passes.
    Wait(u64),
}

#[derive(Debug, Default)]
pub struct Shared {
    /// What becomes of the next write.
    pub fate: Option<Fate>,
    /// What each actor does next.
    pub next: Vec<Next>,
    /// Whether what each actor did last was to write: a crash then is not one after the step before.
    pub wrote: Vec<bool>,
    /// For each actor a hash of all answers that it had. What it does next follows from these.
    heard: Vec<u64>,
    /// For each key a hash of all values that it had, one after the other. It stands for the revision, which
    /// differs between orders that lead to the same.
    chains: HashMap<Key, u64>,
    /// A write that may arrive later.
    late: Option<(RequestId, Write)>,
    /// What was read and written, where anybody wants to know it.
    pub log: Option<Vec<String>>,
}

fn hash_of(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

impl Shared {
    pub fn new(actors: usize) -> Shared {
        Shared {
            next: vec![Next::Wait(0); actors],
            wrote: vec![false; actors],
            heard: vec![0; actors],
            ..Shared::default()
        }
    }

    pub fn has_late(&self) -> bool {
        self.late.is_some()
    }

    fn hear(&mut self, who: usize, what: impl Hash) {
        self.heard[who] = hash_of((self.heard[who], what));
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(what());
        }
    }

    fn chain(&self, key: &Key) -> u64 {
        self.chains.get(key).copied().unwrap_or_default()
    }

    /// A hash of all that is stored, and of how it came to be.
    pub fn stored(&self) -> u64 {
        // The order of the keys does not count.
        self.chains.iter().fold(0u64, |sum, one| sum.wrapping_add(hash_of(one)))
    }

    /// Two states with the same hash go on in the same ways.
    pub fn hash(&self) -> u64 {
        let late = self.late.as_ref().map(|(_, write)| format!("{write:?}"));
        hash_of((self.stored(), &self.heard, &self.next, &self.wrote, late))
    }
}

/// One actor's way to the store, in the manner of Kubernetes: parts are read one after another, and each
/// write stands alone.
#[derive(Clone)]
pub struct Parts {
    pub mem: MemoryStore,
    pub shared: Arc<Mutex<Shared>>,
    pub who: usize,
    pub request: RequestId,
    pub witness: Witness,
    /// Whether pools change here. What nobody changes is read in no step of its own: it does not matter when.
    pub pools_change: bool,
    /// For each actor the handle that it alone reads and writes. It does not matter when it does.
    pub own: &'static [&'static str],
    /// Whether writes may go astray.
    pub may_fail: bool,
    /// Whether the store does not compare what a write expects: a fault that a search has to find.
    pub is_careless: bool,
}

/// Applies a write at once.
fn apply(mem: &MemoryStore, shared: &mut Shared, witness: &Witness, by: RequestId, write: Write) -> Outcome {
    let (key, op) = (write.key.clone(), write.op.clone());
    let batch = Batch { writes: vec![write], ..Batch::default() };
    let outcome = now(mem.commit(&batch, WITHIN)).unwrap().outcomes.remove(0);
    if let Outcome::Applied(_) = outcome {
        witness.wrote(Some(by), &key, value_of(&op));
        let text = match &op {
            Op::Put(value) => value.to_stored_text(),
            Op::Delete => String::new(),
        };
        shared.note(|| format!("   {key} = {text}"));
        let chain = hash_of((shared.chain(&key), text));
        shared.chains.insert(key, chain);
    }
    outcome
}

fn value_of(op: &Op) -> Option<Arc<Value>> {
    if let Op::Put(value) = op { Some(value.clone()) } else { None }
}

/// Lets the late write arrive.
pub fn land(mem: &MemoryStore, shared: &mut Shared, witness: &Witness) {
    if let Some((by, write)) = shared.late.take() {
        apply(mem, shared, witness, by, write);
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory store does not wait"),
    }
}

impl Parts {
    /// Waits until the search chooses this actor.
    async fn turn(&self, next: Next) {
        self.shared.lock().unwrap().next[self.who] = next;
        simulator::give_way().await;
    }

    fn changes(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Blocks { .. } | Scope::Affinities { .. } | Scope::Handles => true,
            Scope::Resources { kind, .. } => self.pools_change && *kind == api::Kind::IPPool,
            _ => false,
        }
    }

    fn key_changes(&self, key: &Key) -> bool {
        match key {
            Key::Block(_) | Key::Affinity { .. } => true,
            Key::Handle(id) => !self.is_own(id),
            Key::Resource { kind, .. } => self.pools_change && *kind == api::Kind::IPPool,
            _ => false,
        }
    }

    /// Whether no other actor touches that handle.
    fn is_own(&self, id: &HandleId) -> bool {
        let owner = self.own.iter().position(|own| *own == id.as_str());
        assert!(owner.is_none_or(|owner| owner == self.who), "{} is another's own", id.as_str());
        owner.is_some()
    }

    /// The first guarded record that has changed, of those to look at before a write.
    async fn changed(&self, batch: &Batch, before: usize) -> Option<usize> {
        for (guard, key, revision) in batch.looks_before(before) {
            if self.key_changes(key) {
                self.turn(Next::Read).await;
            }
            let set = ReadSet::new().key(key.clone());
            let found = self.part(&set).full(key).flatten().map(|record| record.revision.clone());
            if found.as_ref() != revision {
                return Some(guard);
            }
        }
        None
    }

    /// Reads a part, and hears it.
    fn part(&self, set: &ReadSet) -> View {
        let view = now(self.mem.read(set, WITHIN)).unwrap();
        let mut shared = self.shared.lock().unwrap();
        let heard: Vec<(Key, u64)> = view.all().map(|(key, _)| (key.clone(), shared.chain(key))).collect();
        shared.note(|| {
            let scopes = set.scopes.iter().map(|read| format!("{:?}", read.scope));
            let asked = scopes.chain(set.keys.iter().map(|(key, _)| key.to_string()));
            format!("{} reads {:?}", self.who, asked.collect::<Vec<_>>())
        });
        shared.hear(self.who, heard);
        view
    }
}

impl Store for Parts {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, _within: Duration) -> Result<View, StoreError> {
        let mut view = View::new();
        for read in &set.scopes {
            if self.changes(&read.scope) {
                self.turn(Next::Read).await;
            }
            let part = self.part(&ReadSet { keys: Vec::new(), scopes: vec![read.clone()] });
            part.all().for_each(|(key, slot)| view.insert(key.clone(), slot.clone()));
            view.page_read(read, part.page_end(&read.scope).cloned());
        }
        for key in &set.keys {
            if self.key_changes(&key.0) {
                self.turn(Next::Read).await;
            }
            let part = self.part(&ReadSet { keys: vec![key.clone()], scopes: Vec::new() });
            part.all().for_each(|(key, slot)| view.insert(key.clone(), slot.clone()));
        }
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, _within: Duration) -> Result<Report, StoreError> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (index, write) in batch.writes.iter().enumerate() {
            if let Some(guard) = self.changed(batch, index).await {
                outcomes.resize(batch.writes.len(), Outcome::NotTried);
                return Ok(Report { outcomes, broken_guard: Some(guard) });
            }
            // A fault meets also the writes that nobody else sees.
            if self.may_fail || self.key_changes(&write.key) {
                self.turn(Next::Write).await;
            }
            let expect = batch.expectation(index, &outcomes).unwrap_or(Expect::AsLeftBy(usize::MAX));
            let mut write = Write { expect, ..write.clone() };
            if self.is_careless {
                let stored = self.mem.records().into_iter().find(|record| record.key == write.key);
                write.expect = stored.map_or(Expect::Absent, |record| Expect::at(&record.revision));
            }
            let mut shared = self.shared.lock().unwrap();
            shared.wrote[self.who] = true;
            let fate = shared.fate.take().unwrap_or(Fate::Answered);
            let (key, op) = (write.key.clone(), write.op.clone());
            shared.note(|| format!("{} writes {key}: {fate:?}", self.who));
            let outcome = match fate {
                Fate::Answered => apply(&self.mem, &mut shared, &self.witness, self.request, write),
                Fate::Landed => {
                    apply(&self.mem, &mut shared, &self.witness, self.request, write);
                    Outcome::Unknown("the reply was lost".into())
                }
                Fate::Lost => Outcome::Unknown("the request was lost".into()),
                Fate::Late => {
                    shared.late = Some((self.request, write));
                    Outcome::Unknown("the request is late".into())
                }
            };
            let is_applied = matches!(outcome, Outcome::Applied(_));
            shared.note(|| format!("   {outcome:?}"));
            let heard = (index, is_applied, matches!(outcome, Outcome::Unknown(_)), shared.chain(&key));
            shared.hear(self.who, heard);
            drop(shared);
            if is_applied {
                self.witness.acknowledged(&key, value_of(&op));
            }
            outcomes.push(outcome);
            if !is_applied {
                break;
            }
        }
        outcomes.resize(batch.writes.len(), Outcome::NotTried);
        Ok(Report { outcomes, broken_guard: None })
    }

    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.mem.watch(scope).await
    }
}
