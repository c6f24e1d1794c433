//! Sees all that happens to a cluster in memory, and tells what does not hold.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{HandleId, Key, Record, Value};
use ipam::invariants::{Answer, Event, History, Request, RequestId, Violation};
use ipam::{
    AssignIp, AutoAssign, HandleRelease, Planner, ReleaseByHandle, ReleaseIp, ReleaseIps, RunError, run,
};
use store::{Batch, Effects, MemoryStore, Op, Outcome, ReadSet, Report, Scope, Store, StoreError, View};

use crate::world::{Clock, WITHIN};

/// A history that callers feed, with what it told so far. Clones share it.
#[derive(Clone, Debug)]
pub struct Witness(Arc<Mutex<Seen>>);

#[derive(Clone, Debug)]
struct Seen {
    history: History,
    told: Vec<Violation>,
    requests: RequestId,
    /// What was stored when it caught up last, and what was written since.
    keys: BTreeSet<Key>,
}

impl Witness {
    /// Of what is stored now. From now on all writes must be told.
    pub fn of(store: &MemoryStore) -> Witness {
        let records = store.records();
        let (history, keys) =
            (History::of(&records), records.iter().map(|record| record.key.clone()).collect());
        Witness(Arc::new(Mutex::new(Seen { history, told: Vec::new(), requests: 0, keys })))
    }

    /// The same of a store that honours guards.
    pub fn with_guards(self) -> Witness {
        let seen = self.0.lock().unwrap().clone();
        Witness(Arc::new(Mutex::new(Seen { history: seen.history.with_guards(), ..seen })))
    }

    /// A second witness that has seen the same until now. It is for a copy of the cluster, in which other
    /// things happen from now on.
    pub fn fork(&self) -> Witness {
        Witness(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    fn feed(&self, event: Event) {
        let Seen { history, told, keys, .. } = &mut *self.0.lock().unwrap();
        if let Event::Wrote { key, .. } = &event {
            keys.insert(key.clone());
        }
        history.feed(event, &mut |violation| told.push(violation));
    }

    /// A request begins.
    pub fn asked(&self, request: Request, clock: &Clock) -> RequestId {
        let by = {
            let mut seen = self.0.lock().unwrap();
            seen.requests += 1;
            seen.requests
        };
        self.feed(Event::Asked { by, request, now: clock.now() });
        by
    }

    pub fn answered(&self, by: RequestId, answer: Answer) {
        self.feed(Event::Answered { by, answer });
    }

    /// A write arrived at the store.
    pub fn wrote(&self, by: Option<RequestId>, key: &Key, op: &Op) {
        self.feed(Event::Wrote { by, key: key.clone(), value: value(op) });
    }

    pub fn acknowledged(&self, key: &Key, op: &Op) {
        self.feed(Event::Acknowledged { key: key.clone(), value: value(op) });
    }

    /// Somebody who is no request has stored a record.
    pub fn stored(&self, store: &MemoryStore, key: Key) {
        let found = store.records().into_iter().find(|record| record.key == key);
        let value = found.map(|record| Arc::new(record.value.clone()));
        self.feed(Event::Wrote { by: None, key, value });
    }

    /// Panics when something did not hold so far.
    pub fn check(&self, what: &str) {
        let texts: Vec<String> = self.told().iter().map(|violation| violation.to_string()).collect();
        assert!(texts.is_empty(), "{what} {texts:#?}");
    }

    /// Somebody who is no request has changed the store: sees all that is different.
    pub fn catch_up(&self, store: &MemoryStore) {
        let records = store.records();
        let gone: Vec<Key> = {
            let mut seen = self.0.lock().unwrap();
            let known = std::mem::take(&mut seen.keys);
            seen.keys = records.iter().map(|record| record.key.clone()).collect();
            known.difference(&seen.keys).cloned().collect()
        };
        gone.into_iter().for_each(|key| self.feed(Event::Wrote { by: None, key, value: None }));
        for record in records {
            let value = Some(Arc::new(record.value.clone()));
            self.feed(Event::Wrote { by: None, key: record.key.clone(), value });
        }
    }

    /// What did not hold so far.
    pub fn told(&self) -> Vec<Violation> {
        self.0.lock().unwrap().told.clone()
    }

    /// What failed requests hold, when all have ended.
    pub fn left_by_failed(&self) -> Vec<Violation> {
        let mut left = Vec::new();
        self.0.lock().unwrap().history.check_failed(&mut |violation| left.push(violation));
        left
    }

    /// What was written, and is not stored as it was written last.
    pub fn lost(&self, records: &[Arc<Record>]) -> Vec<Violation> {
        let mut lost = Vec::new();
        self.0.lock().unwrap().history.check_stored(records, &mut |violation| lost.push(violation));
        lost
    }

    /// Runs a request on the store that `store` gives its writes to, and tells of its start and its end.
    pub async fn run<A: Asks, S: Store>(
        &self,
        clock: &Clock,
        asks: A,
        store: impl FnOnce(RequestId) -> S,
    ) -> Result<<A::Planner as Planner>::Answer, RunError<<A::Planner as Planner>::Error>> {
        let by = self.asked(asks.request(), clock);
        let result = run(&store(by), clock, asks.planner(), WITHIN).await;
        self.answered(by, A::answer(&result));
        result
    }

    /// A store that tells this witness of a request's writes, or of several requests' that cannot be told
    /// apart.
    pub fn store(&self, inner: &MemoryStore, by: Option<RequestId>) -> Told {
        Told { inner: inner.clone(), by, witness: self.clone() }
    }
}

fn value(op: &Op) -> Option<Arc<Value>> {
    if let Op::Put(value) = op { Some(value.clone()) } else { None }
}

/// A request, as the history knows it.
pub trait Asks {
    type Planner: Planner;
    fn request(&self) -> Request;
    fn planner(self) -> Self::Planner;
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer;
}

pub type AnswerOf<A> = <<A as Asks>::Planner as Planner>::Answer;
pub type ErrorOf<A> = <<A as Asks>::Planner as Planner>::Error;

impl Asks for AutoAssign {
    type Planner = ipam::plan::auto_assign::AutoAssignPlanner;
    fn request(&self) -> Request {
        Request::Assign(self.clone())
    }
    fn planner(self) -> Self::Planner {
        AutoAssign::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        result.as_ref().map_or(Answer::Failed, |answer| Answer::Assigned(answer.clone()))
    }
}

impl Asks for AssignIp {
    type Planner = ipam::plan::assign_ip::AssignIpPlanner;
    fn request(&self) -> Request {
        Request::Named(self.clone())
    }
    fn planner(self) -> Self::Planner {
        AssignIp::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(RunError::Plan(ipam::AssignIpError::Assign(_))) => Answer::Refused,
            Err(_) => Answer::Failed,
        }
    }
}

impl Asks for ReleaseIps {
    type Planner = ipam::plan::ReleaseIpsPlanner;
    fn request(&self) -> Request {
        Request::ReleaseIps(self.ips.clone())
    }
    fn planner(self) -> Self::Planner {
        ReleaseIps::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        result.as_ref().map_or(Answer::Failed, |_| Answer::Done)
    }
}

impl Asks for ReleaseByHandle {
    type Planner = ipam::plan::ReleaseByHandlePlanner;
    fn request(&self) -> Request {
        let of = |id: &HandleId| {
            let ip = |(addr, sequence): (&IpAddr, &u64)| ReleaseIp {
                addr: *addr,
                handle: Some(id.as_str().to_string()),
                sequence: Some(*sequence),
            };
            Some(self.only_of(id)?.iter().map(ip).collect::<Vec<_>>())
        };
        let only: Option<Vec<_>> = self.handles.iter().map(of).collect();
        only.map_or(Request::ReleaseHandles(self.handles.clone()), |ips| Request::ReleaseIps(ips.concat()))
    }
    fn planner(self) -> Self::Planner {
        ReleaseByHandle::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        let is_partly = |release: &HandleRelease| matches!(release, HandleRelease::Partly(..));
        match result {
            Ok(answer) if !answer.iter().any(is_partly) => Answer::Done,
            _ => Answer::Failed,
        }
    }
}

impl Asks for ipam::ReleaseUnowned {
    type Planner = ipam::ReleaseUnownedPlanner;
    fn request(&self) -> Request {
        Request::ReleaseHandles(vec![self.handle.clone()])
    }
    fn planner(self) -> Self::Planner {
        ipam::ReleaseUnowned::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        match result {
            Ok(Some(HandleRelease::Partly(..))) | Err(_) => Answer::Failed,
            Ok(_) => Answer::Done,
        }
    }
}

/// Requests that take no address and free none.
macro_rules! asks_nothing {
    ($($request:ident by $planner:ident),* $(,)?) => {$(
        impl Asks for ipam::$request {
            type Planner = ipam::plan::$planner;
            fn request(&self) -> Request {
                Request::Other
            }
            fn planner(self) -> Self::Planner {
                ipam::$request::planner(self)
            }
            fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
                result.as_ref().map_or(Answer::Failed, |_| Answer::Done)
            }
        }
    )*};
}

asks_nothing!(
    ReleaseAffinities by ReleaseAffinitiesPlanner,
    CollectCooldowns by CollectCooldownsPlanner,
    ReleaseIdleBlocks by ReleaseIdleBlocksPlanner,
    ClaimAffinity by ClaimAffinityPlanner,
    EnsureBlock by EnsureBlockPlanner,
    RemoveHost by RemoveHostPlanner,
    IpsByHandle by IpsByHandlePlanner,
    SetOwnerAttributes by SetOwnerAttributesPlanner,
    EnsureActiveOwner by EnsureActiveOwnerPlanner,
);

/// A store that tells of every write that is applied, in whose name it was sent.
#[derive(Clone, Debug)]
pub struct Told {
    inner: MemoryStore,
    by: Option<RequestId>,
    witness: Witness,
}

impl Store for Told {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        let report = self.inner.commit(batch, within).await?;
        for (write, outcome) in batch.writes.iter().zip(&report.outcomes) {
            if let Outcome::Applied(_) = outcome {
                self.witness.wrote(self.by, &write.key, &write.op);
            }
        }
        Ok(report)
    }

    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}
