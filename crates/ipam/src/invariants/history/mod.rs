//! What holds of what happens to a cluster: writes, and requests with their answers, in the order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{Block, BlockCidr, HandleId, Key, Record, Timestamp, Value};

use super::Violation;
use crate::block::ReleaseIp;
use crate::plan::{AssignIp, AutoAssign, AutoAssigned};

mod allowed;
mod durable;
mod found;
mod rules;
mod stale;

/// What tells one request from another.
pub type RequestId = u64;

/// What a request wants.
#[derive(Clone, Debug)]
pub enum Request {
    /// Any addresses.
    Assign(AutoAssign),
    /// One address.
    Named(AssignIp),
    /// To give back addresses.
    ReleaseIps(Vec<ReleaseIp>),
    /// To give back all addresses of handles.
    ReleaseHandles(Vec<HandleId>),
    /// Something that takes no address and frees none.
    Other,
    /// An allocation of another program, under a handle. It follows rules of its own; only what was answered
    /// is checked.
    Foreign(HandleId),
}

impl Request {
    /// The handle under which the request takes addresses.
    fn takes_for(&self) -> Option<&HandleId> {
        match self {
            Request::Assign(request) => request.handle.as_ref(),
            Request::Named(request) => request.handle.as_ref(),
            Request::Foreign(handle) => Some(handle),
            Request::ReleaseIps(_) | Request::ReleaseHandles(_) | Request::Other => None,
        }
    }

    /// Whether the handle may hold only so many addresses. Then it keeps what the request took, even if the
    /// request fails.
    fn is_limited(&self) -> bool {
        match self {
            Request::Assign(request) => request.max_per_handle.is_some(),
            Request::Named(request) => request.max_per_handle.is_some(),
            _ => false,
        }
    }

    /// Whether the request may free an address of a handle.
    fn may_free(&self, addr: IpAddr, handle: Option<&HandleId>) -> bool {
        match self {
            Request::ReleaseIps(ips) => ips.iter().any(|ip| ip.addr == addr),
            Request::ReleaseHandles(handles) => handle.is_some_and(|handle| handles.contains(handle)),
            _ => false,
        }
    }
}

/// What a request was answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Request::Assign`].
    Assigned(AutoAssigned),
    /// To a request that takes addresses: what it has now.
    Holds(BTreeSet<IpAddr>),
    /// To all others: it succeeded.
    Done,
    /// The operation cannot be done.
    Refused,
    /// Something went wrong, or was in the way: it may be tried again.
    Failed,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request begins.
    Asked {
        /// The request.
        by: RequestId,
        /// What it wants.
        request: Request,
        /// The time at which it begins.
        now: Timestamp,
    },
    /// A write arrived at the store, perhaps after its request has ended.
    Wrote {
        /// The request whose write that was; `None` for whoever is not a request.
        by: Option<RequestId>,
        /// The record.
        key: Key,
        /// What it says now; `None` where it was deleted.
        value: Option<Arc<Value>>,
    },
    /// A request was told that its write had been applied.
    Acknowledged {
        /// The record.
        key: Key,
        /// What was written; `None` for a deletion.
        value: Option<Arc<Value>>,
    },
    /// A request ends. One whose process died never does.
    Answered {
        /// The request.
        by: RequestId,
        /// The answer.
        answer: Answer,
    },
}

/// Checks what happens to a cluster, event by event, and tells violations as they occur.
///
/// It keeps what is stored now, every request, and all changes of pools, nodes and reservations: enough for
/// tests and simulations, too much for a program that runs on.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Counts the events.
    step: u64,
    honours_guards: bool,
    stored: Stored,
    rules: rules::Rules,
    requests: BTreeMap<RequestId, Running>,
    durable: durable::Durable,
    stale: stale::Stale,
}

/// What is stored now.
#[derive(Clone, Debug, Default)]
struct Stored(BTreeMap<Key, Arc<Value>>);

impl Stored {
    fn block(&self, cidr: BlockCidr) -> Option<&Block> {
        match self.0.get(&Key::Block(cidr)).map(|value| &**value) {
            Some(Value::Block(block)) => Some(block),
            _ => None,
        }
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        let all = self.0.range(Key::Block(BlockCidr::LEAST)..);
        all.map_while(|(_, value)| if let Value::Block(block) = &**value { Some(block) } else { None })
    }
}

/// A request that was asked.
#[derive(Clone, Debug)]
struct Running {
    request: Request,
    /// The steps at which it was asked and answered.
    asked: u64,
    answered: Option<u64>,
    /// Whether it failed: what it was to do may have been done, or not.
    has_failed: bool,
    now: Timestamp,
    /// Addresses that it could have had at any time since, with their pools.
    available: BTreeMap<IpAddr, String>,
}

/// An address that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    handle: Option<HandleId>,
    sequence: u64,
}

/// The addresses of a block that somebody holds.
fn held(block: Option<&Block>) -> BTreeMap<IpAddr, Held> {
    let held_of = |block: &Block, ordinal| {
        let handle = block.attribute(ordinal).and_then(|a| a.handle()).and_then(HandleId::new);
        Some((block.cidr.addr(ordinal)?, Held { handle, sequence: block.sequence_of(ordinal) }))
    };
    let all = block.into_iter().flat_map(|block| (0..block.cidr.size()).map(move |ordinal| (block, ordinal)));
    all.filter(|(block, ordinal)| super::snapshot::is_held(block, *ordinal))
        .filter_map(|(block, ordinal)| held_of(block, ordinal))
        .collect()
}

impl History {
    /// Of a cluster in which these records are stored.
    pub fn of(records: &[Arc<Record>]) -> History {
        let mut history = History::default();
        for record in records {
            let value = Some(Arc::new(record.value.clone()));
            history.feed(Event::Wrote { by: None, key: record.key.clone(), value }, &mut |_| {});
        }
        history
    }

    /// On a store that honours guards: a pool must allow an allocation at the very moment of its write.
    pub fn with_guards(mut self) -> History {
        self.honours_guards = true;
        self
    }

    /// Takes the next event.
    pub fn feed(&mut self, event: Event, tell: &mut impl FnMut(Violation)) {
        self.step += 1;
        match event {
            Event::Asked { by, request, now } => {
                let available = found::available(&self.stored, &self.rules, &request, now);
                self.durable.asked(&request);
                let (asked, answered, has_failed) = (self.step, None, false);
                let running = Running { request, asked, answered, has_failed, now, available };
                self.requests.insert(by, running);
            }
            Event::Wrote { by, key, value } => self.wrote(by, key, value, tell),
            Event::Acknowledged { key, value } => self.durable.acknowledged(key, value, &self.stored, tell),
            Event::Answered { by, answer } => {
                let Some(running) = self.requests.get_mut(&by) else { return };
                running.answered = Some(self.step);
                running.has_failed = matches!(answer, Answer::Failed);
                found::check(running, &answer, tell);
                self.durable.answered(by, &answer, &self.requests);
                self.durable.check(&self.stored, None, tell);
            }
        }
    }

    fn wrote(
        &mut self,
        by: Option<RequestId>,
        key: Key,
        value: Option<Arc<Value>>,
        tell: &mut impl FnMut(Violation),
    ) {
        self.rules.note(self.step, &key, value.as_deref());
        let before = match &key {
            Key::Block(cidr) => held(self.stored.block(*cidr)),
            _ => BTreeMap::new(),
        };
        match value {
            Some(value) => self.stored.0.insert(key.clone(), value),
            None => self.stored.0.remove(&key),
        };
        self.durable.wrote(&key);
        if let Key::Block(cidr) = key {
            let after = held(self.stored.block(cidr));
            let running = by.and_then(|by| Some((by, self.requests.get(&by)?)));
            for (addr, held) in after.iter().filter(|(addr, held)| before.get(addr) != Some(held)) {
                self.stale.taken(*addr, by, self.step);
                if let Some((_, running)) = running {
                    let rules = (&self.rules, self.honours_guards);
                    allowed::check(rules, running, cidr, *addr, held, tell);
                }
            }
            for (addr, held) in before.iter().filter(|(addr, held)| after.get(addr) != Some(held)) {
                if let Some((by, running)) = running {
                    self.stale.freed(by, running, cidr, *addr, held, tell);
                }
            }
            self.durable.check(&self.stored, Some(cidr), tell);
        }
        found::narrow(&self.stored, &self.rules, &key, &mut self.requests);
    }

    /// Tells what failed requests hold, once all requests have ended and what they left was healed.
    pub fn check_failed(&self, tell: &mut impl FnMut(Violation)) {
        self.durable.check_failed(&self.stored, tell);
    }

    /// Compares with what is stored: what was acknowledged is there.
    pub fn check_stored(&self, records: &[Arc<Record>], tell: &mut impl FnMut(Violation)) {
        self.durable.check_stored(&self.stored, records, tell);
    }
}

#[cfg(test)]
mod tests;
