//! A store whose reads and writes are steps, with lost and late replies; in the manner of Kubernetes or of
//! etcd.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::Key;
use ipam::invariants::RequestId;
use store::{
    Batch, Expect, Guard, MemoryStore, Op as StoreOp, Outcome, ReadSet, Refusal, Report, Scope, Store,
    StoreError, View, Write,
};

use crate::witness::Witness;
use crate::world::*;

pub(super) struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Kube,
    Etcd,
}

/// A transaction that arrives later: what it compares must still be so then.
pub(super) struct LateTransaction {
    guards: Vec<Guard>,
    writes: Vec<Write>,
}

pub(super) struct Shared {
    pub rng: Rng,
    /// Writes that arrive later, each with the request whose it is.
    pub late: Vec<(RequestId, Write)>,
    pub late_transactions: Vec<(RequestId, LateTransaction)>,
    pub log: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Sim {
    pub mem: MemoryStore,
    pub shared: Arc<Mutex<Shared>>,
    pub mode: Mode,
    pub lost: u64,
    pub who: usize,
    /// The request in whose name it reads and writes.
    pub request: RequestId,
    pub witness: Witness,
}

pub(super) async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut gave, true) { Poll::Ready(()) } else { Poll::Pending })
        .await
}

pub(super) fn now_or<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory store does not wait"),
    }
}

impl Sim {
    pub fn below(&self, n: u64) -> u64 {
        self.shared.lock().unwrap().rng.below(n)
    }
    pub fn chance(&self, t: u64) -> bool {
        t > 0 && self.shared.lock().unwrap().rng.chance(t)
    }
    pub fn log(&self, text: String) {
        let mut shared = self.shared.lock().unwrap();
        let line = format!("{}: {text}", self.who);
        shared.log.push(line);
    }
    /// Tells the witness that somebody who is no request has stored a record.
    pub fn stored(&self, key: Key) {
        self.witness.stored(&self.mem, key);
    }
    /// Lets a write of a request arrive.
    pub fn apply(&self, by: RequestId, write: Write) -> Outcome {
        let text = match &write.op {
            StoreOp::Put(v) => {
                format!("put {} {}", write.key, v.to_stored_text().chars().take(150).collect::<String>())
            }
            StoreOp::Delete => format!("delete {}", write.key),
        };
        let (key, op) = (write.key.clone(), write.op.clone());
        let mut report =
            now_or(self.mem.commit(&Batch { writes: vec![write], guards: vec![] }, WITHIN)).unwrap();
        let outcome = report.outcomes.remove(0);
        let word = match &outcome {
            Outcome::Applied(_) => {
                self.witness.wrote(Some(by), &key, &op);
                "ok"
            }
            _ => "REFUSED",
        };
        self.log(format!("{text} {word}"));
        outcome
    }
    pub fn land(&self, by: RequestId, LateTransaction { guards, writes }: LateTransaction) {
        let records = self.mem.records();
        let at = |key: &Key| records.iter().find(|r| r.key == *key).map(|r| r.revision.clone());
        let is_guarded = guards.iter().all(|guard| {
            let Guard::Record { key, revision } = guard else { panic!("{guard:?}") };
            at(key) == *revision
        });
        let holds = is_guarded
            && writes.iter().all(|w| match &w.expect {
                Expect::Absent => at(&w.key).is_none(),
                Expect::Revision(r) => at(&w.key).as_ref() == Some(r),
                Expect::AsLeftBy(_) => false,
            });
        self.log(format!("late txn lands: {holds}"));
        if holds {
            for write in writes {
                self.apply(by, write);
            }
        }
    }
    pub fn resolve(batch: &Batch, index: usize, outcomes: &[Outcome]) -> Write {
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
    pub async fn commit_kube(&self, batch: &Batch) -> Report {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for index in 0..batch.writes.len() {
            give_way().await;
            let write = Sim::resolve(batch, index, &outcomes);
            if self.chance(self.lost) {
                match self.below(3) {
                    0 => drop(self.apply(self.request, write)),
                    1 => self.log(format!("lost {}", write.key)),
                    _ => {
                        self.log(format!("late {}", write.key));
                        self.shared.lock().unwrap().late.push((self.request, write));
                    }
                }
                outcomes.push(Outcome::Unknown("lost".into()));
                break;
            }
            let (key, op) = (write.key.clone(), write.op.clone());
            let outcome = self.apply(self.request, write);
            let ok = matches!(outcome, Outcome::Applied(_));
            if ok {
                self.witness.acknowledged(&key, &op);
            }
            outcomes.push(outcome);
            if !ok {
                break;
            }
        }
        outcomes.resize(batch.writes.len(), Outcome::NotTried);
        Report { outcomes, broken_guard: None }
    }
    pub async fn commit_etcd(&self, batch: &Batch) -> Report {
        let mut outcomes: Vec<Outcome> = vec![Outcome::NotTried; batch.writes.len()];
        let mut first = true;
        for transaction in batch.transactions(usize::MAX) {
            give_way().await;
            let records = self.mem.records();
            let at = |key: &Key| records.iter().find(|r| r.key == *key).map(|r| r.revision.clone());
            let guards = if std::mem::take(&mut first) { batch.guards.as_slice() } else { &[] };
            for (index, guard) in guards.iter().enumerate() {
                let Guard::Record { key, revision } = guard else { panic!("{guard:?}") };
                if at(key) != *revision {
                    return Report { outcomes, broken_guard: Some(index) };
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
                let writes = writes.iter().map(|(w, _)| w.clone()).collect();
                let late = LateTransaction { guards: guards.to_vec(), writes };
                self.log("txn late".to_string());
                self.shared.lock().unwrap().late_transactions.push((self.request, late));
            }
            for (write, indexes) in writes {
                let mut outcome = Outcome::Unknown("lost".into());
                if lands {
                    let (key, op) = (write.key.clone(), write.op.clone());
                    let applied = self.apply(self.request, write);
                    assert!(matches!(applied, Outcome::Applied(_)));
                    if !lost {
                        self.witness.acknowledged(&key, &op);
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
