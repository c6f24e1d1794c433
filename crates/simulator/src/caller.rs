//! A store as one caller sees it: each part of a read and each write is a step, and what is sent may be lost,
//! or land late.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::{Key, Revision, Value};
use ipam::invariants::RequestId;
use store::{
    Batch, Depth, Event, Guard, ReadSet, Report, Scope, ScopeRead, Slot, Store, StoreError, View, Watch,
    WatchError,
};

use crate::chance::Chance;
use crate::cluster::{Call, Cluster, Said};
use crate::late::AllLate;
use crate::log::{Log, Outcome};
use crate::setup::{Breach, Manner};
use crate::tape::Recorder;
use crate::witness::Witness;
use crate::{commit, give_way};

/// What all callers of a store share.
pub(crate) struct Shared {
    pub chance: Chance,
    pub late: AllLate,
    pub log: Log,
    /// What was stored after each change, where reads may be of the past.
    past: Vec<Cluster>,
}

/// A store as one caller sees it. A clone is another caller.
#[derive(Clone)]
pub(crate) struct Caller {
    pub cluster: Cluster,
    shared: Arc<Mutex<Shared>>,
    pub recorder: Recorder,
    pub manner: Manner,
    pub breach: Option<Breach>,
    /// How many of a thousand messages are lost.
    pub lost: u64,
    pub who: usize,
    /// The request in whose name it reads and writes.
    pub request: RequestId,
    pub witness: Witness,
}

impl Caller {
    pub fn new(
        cluster: Cluster,
        seed: u64,
        manner: Manner,
        breach: Option<Breach>,
        recorder: Recorder,
    ) -> Caller {
        let shared =
            Shared { chance: Chance(seed), late: AllLate::default(), log: Log::default(), past: Vec::new() };
        let witness = Witness::of(&cluster.records());
        let honours_guards = manner == Manner::Transactions;
        Caller {
            cluster,
            shared: Arc::new(Mutex::new(shared)),
            recorder,
            manner,
            breach,
            lost: 0,
            who: crate::log::NOBODY,
            request: 0,
            witness: if honours_guards { witness.with_guards() } else { witness },
        }
    }

    /// The same store, as an actor sees it, of whose messages so many in a thousand are lost.
    pub fn of_actor(&self, who: usize, lost: u64) -> Caller {
        Caller { who, lost, ..self.clone() }
    }

    /// The same caller in the name of a request.
    pub fn in_name_of(&self, request: RequestId) -> Caller {
        Caller { request, ..self.clone() }
    }

    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number.
    fn draw(&self) -> u64 {
        self.recorder.draw(|| self.shared().chance.draw())
    }

    pub fn below(&self, n: u64) -> u64 {
        self.draw() % n
    }

    pub fn in_thousand(&self, times: u64) -> bool {
        times > 0 && self.below(1000) < times
    }

    /// Whether the store breaks its contract now, where it does so in that way.
    pub fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach) && self.in_thousand(breach.in_thousand())
    }

    pub fn log(&self, text: impl Into<String>) {
        let who = self.who;
        self.shared().log.say(who, text.into());
    }

    /// Stores a record in nobody's name.
    pub fn put(&self, key: Key, value: Value) {
        self.log(format!("{key} is now {}", value.to_stored_text().chars().take(400).collect::<String>()));
        self.cluster.put(key.clone(), value.clone());
        self.witness.wrote(None, &key, Some(Arc::new(value)));
        self.remember();
    }

    /// Removes a record in nobody's name.
    pub fn remove(&self, key: &Key) {
        if self.cluster.get(key).is_some() {
            self.log(format!("{key} is removed"));
            self.cluster.remove(key);
            self.shared().late.removed(key);
            self.witness.wrote(None, key, None);
            self.remember();
        }
    }

    fn remember(&self) {
        if self.breach == Some(Breach::StaleRead) {
            let copy = self.cluster.copy();
            self.shared().past.push(copy);
        }
    }

    /// Lets a write arrive.
    pub fn arrive(&self, by: RequestId, call: &Call) -> Said {
        let mut call = call.clone();
        if let Call::Update(key @ Key::Block(_), revision, value) = &mut call {
            let stored = self.cluster.get(key);
            if let Some(stored) = &stored
                && stored.revision != *revision
                && self.breaks(Breach::NoCompare)
            {
                *revision = stored.revision.clone();
            }
            if let Some(stored) = stored
                && stored.revision == *revision
                && is_fence(&stored.value, value)
                && self.breaks(Breach::FenceAsGuard)
            {
                return Said::Done(stored.revision.clone());
            }
        }
        let said = self.cluster.call(&call);
        if said != Said::Conflict {
            self.changed(by, &call);
        }
        let outcome = if said == Said::Conflict { Outcome::Refused } else { Outcome::Done };
        let who = self.who;
        self.shared().log.call(who, call, outcome);
        said
    }

    /// A write was carried out.
    fn changed(&self, by: RequestId, call: &Call) {
        if let Some(value) = call.effect() {
            if value.is_none() {
                self.shared().late.removed(call.key());
            }
            self.witness.wrote(Some(by), call.key(), value);
        }
        self.remember();
    }

    /// Sends writes that are applied together, or not at all. `None` where no answer comes.
    pub fn arrive_together(&self, by: RequestId, calls: &[Call], guards: &[Guard]) -> Option<Vec<Revision>> {
        let guards = if self.breaks(Breach::NoGuards) { &[] } else { guards };
        let done = self.cluster.all_or_none(calls, guards);
        for call in calls {
            if done.is_some() {
                self.changed(by, call);
            }
            let outcome = if done.is_some() { Outcome::Done } else { Outcome::Refused };
            let who = self.who;
            self.shared().log.call(who, call.clone(), outcome);
        }
        done
    }

    /// Sends writes whose answer is lost: they have arrived, or never do, or arrive later.
    pub fn lose(&self, calls: Vec<Call>, guards: &[Guard]) {
        match self.below(3) {
            0 => drop(self.arrive_together(self.request, &calls, guards)),
            1 => calls.into_iter().for_each(|call| self.note(call, Outcome::Lost)),
            _ => {
                calls.iter().for_each(|call| self.note(call.clone(), Outcome::Late));
                self.shared().late.sent(self.request, calls, guards.to_vec());
            }
        }
    }

    fn note(&self, call: Call, outcome: Outcome) {
        let who = self.who;
        self.shared().log.call(who, call, outcome);
    }

    /// Lets one of the writes that are late arrive, if there is any. Gives the number from which it was drawn
    /// which; `again` is the one from which it was drawn before.
    pub fn land(&self, again: Option<u64>) -> u64 {
        let drawn = again.unwrap_or_else(|| self.shared().chance.draw());
        let late = self.shared().late.take(|count| drawn % count);
        if let Some(late) = late
            && self.arrive_together(late.by, &late.calls, &late.guards).is_some()
        {
            self.shared().late.landed(&late);
        }
        drawn
    }

    pub fn are_late(&self) -> bool {
        !self.shared().late.is_empty()
    }

    /// What a read sees.
    fn seen(&self) -> Cluster {
        if self.breaks(Breach::StaleRead) {
            let back = self.below(4) as usize;
            let shared = self.shared();
            if let Some(past) = shared.past.len().checked_sub(1 + back) {
                return shared.past[past].clone();
            }
        }
        self.cluster.clone()
    }

    /// Whether the answer to a read is lost.
    async fn reads(&self) -> Result<(), StoreError> {
        give_way().await;
        match self.in_thousand(self.lost / 4) {
            true => Err(StoreError::Unavailable("the answer is lost".to_string())),
            false => Ok(()),
        }
    }

    async fn read_key(&self, key: &Key, depth: Depth) -> Result<Slot, StoreError> {
        self.reads().await?;
        self.shared().late.looked(self.request, key);
        let slot = self.seen().slot(key, depth);
        if let (Manner::Objects, Some(revision)) = (self.manner, self.cluster.flagged_at(key)) {
            // Whoever meets a flagged object removes it, and does not wait for that to succeed.
            self.send(Call::Bury(key.clone(), revision)).await;
        }
        Ok(slot)
    }

    /// Sends a write on whose answer nothing depends.
    pub async fn send(&self, call: Call) {
        give_way().await;
        match self.in_thousand(self.lost) {
            true => self.lose(vec![call], &[]),
            false => drop(self.arrive(self.request, &call)),
        }
    }

    async fn read_scope(&self, read: &ScopeRead) -> Result<View, StoreError> {
        self.reads().await?;
        let set = ReadSet { keys: Vec::new(), scopes: vec![read.clone()] };
        if self.manner != Manner::Objects {
            return Ok(self.seen().read(&set));
        }
        let seen = self.seen();
        let mut view = seen.read(&set);
        if self.in_thousand(300) {
            view = self.in_pages(read, &seen.copy()).await?;
        }
        // A list of metadata does not tell which objects are flagged.
        if let (Depth::Key, Scope::Blocks { .. }, None) = (read.depth, &read.scope, &read.page) {
            for (key, revision) in seen.flagged().into_iter().filter(|(key, _)| read.scope.holds(key)) {
                view.insert(key, Slot::Key(revision));
            }
        }
        if read.scope == Scope::Handles {
            for (key, revision) in seen.flagged().into_iter().filter(|(key, _)| read.scope.holds(key)) {
                self.send(Call::Bury(key, revision)).await;
            }
        }
        Ok(view)
    }

    /// Reads a list in small pages. They are of one moment, unless the server has forgotten that moment and
    /// goes on with what is stored by then.
    async fn in_pages(&self, read: &ScopeRead, moment: &Cluster) -> Result<View, StoreError> {
        let mut moment = moment.clone();
        let mut view = View::new();
        view.set_revision(Revision::from(moment.revision()));
        let wanted = read.page.as_ref().map_or(usize::MAX, |page| page.limit.max(1));
        let mut after = read.page.as_ref().and_then(|page| page.after.clone());
        let mut count = 0;
        loop {
            let limit = (1 + self.below(3) as usize).min(wanted - count);
            let page = store::Page { after: after.clone(), limit };
            let (found, is_cut) = moment.list(&ScopeRead { page: Some(page), ..read.clone() });
            count += found.len();
            after = found.last().map(|(key, _)| key.clone()).or(after);
            found.into_iter().for_each(|(key, slot)| view.insert(key, slot));
            if !is_cut || count >= wanted {
                view.page_read(read, after.filter(|_| is_cut));
                return Ok(view);
            }
            self.reads().await?;
            if self.in_thousand(200) {
                moment = self.seen().copy();
            }
        }
    }
}

/// Whether a block is written again as it is, with another sequence number.
fn is_fence(stored: &Value, value: &Value) -> bool {
    match (stored, value) {
        (Value::Block(stored), Value::Block(value)) => {
            let sequence_number = stored.sequence_number;
            let same = api::Block { sequence_number, ..value.clone() };
            same == *stored && value.sequence_number != sequence_number
        }
        _ => false,
    }
}

impl Store for Caller {
    type Watch = NoWatch;

    async fn read(&self, set: &ReadSet, _: Duration) -> Result<View, StoreError> {
        if self.manner == Manner::Transactions {
            self.reads().await?;
            set.keys.iter().for_each(|(key, _)| self.shared().late.looked(self.request, key));
            return Ok(self.seen().read(set));
        }
        // Each scope and key is a part of its own, and they come in any order.
        let count = set.scopes.len() + set.keys.len();
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        let mut parts: Vec<(usize, View)> = Vec::new();
        for at in order {
            let part = match set.scopes.get(at) {
                Some(read) => self.read_scope(read).await?,
                None => {
                    let (key, depth) = &set.keys[at - set.scopes.len()];
                    let mut view = View::new();
                    view.insert(key.clone(), self.read_key(key, *depth).await?);
                    view
                }
            };
            parts.push((at, part));
        }
        parts.sort_by_key(|(at, _)| *at);
        let mut view = View::new();
        for (at, part) in parts {
            for (key, slot) in part.all() {
                view.insert(key.clone(), slot.clone());
            }
            if let Some(read) = set.scopes.get(at) {
                view.page_read(read, part.page_end(&read.scope).cloned());
            }
        }
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, _: Duration) -> Result<Report, StoreError> {
        match self.manner {
            Manner::Transactions => commit::in_transactions(self, batch).await,
            Manner::OneByOne | Manner::Objects => commit::one_by_one(self, batch).await,
        }
    }

    async fn watch(&self, _: Scope) -> Result<NoWatch, StoreError> {
        Err(StoreError::Unsupported("requests do not watch".to_string()))
    }
}

/// Requests do not watch; the controllers follow the changes of [`Cluster`] themselves.
pub(crate) struct NoWatch;

impl Watch for NoWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        Err(WatchError::Interrupted("requests do not watch".to_string()))
    }
}
