//! Acknowledged means durable: the addresses that a request was answered are held until somebody releases
//! them, and a write that was acknowledged stays until the next one. Failed means that nothing is held, once
//! what the request left was healed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{BlockCidr, HandleId, Key, Record, Value};

use super::{Answer, Request, RequestId, Running, Stored, held};
use crate::invariants::Violation;

#[derive(Clone, Debug, Default)]
pub(super) struct Durable {
    /// Addresses that were answered and that nobody has begun to release.
    answered: BTreeMap<IpAddr, HandleId>,
    /// Handles whose last request failed, and of which no other request holds anything; and whether the
    /// handle keeps what the request took.
    failed: BTreeMap<HandleId, bool>,
    /// Records that were written.
    written: BTreeSet<Key>,
}

impl Durable {
    pub fn asked(&mut self, request: &Request) {
        self.answered.retain(|addr, handle| !request.may_free(*addr, Some(handle)));
        if let Some(handle) = request.takes_for() {
            self.failed.remove(handle);
        }
    }

    pub fn wrote(&mut self, key: &Key) {
        self.written.insert(key.clone());
    }

    /// `stored` is what is stored at the moment at which the write was acknowledged.
    pub fn acknowledged(
        &self,
        key: Key,
        value: Option<Arc<Value>>,
        stored: &Stored,
        tell: &mut impl FnMut(Violation),
    ) {
        if stored.0.get(&key) != value.as_ref() {
            tell(Violation::WriteLost(key));
        }
    }

    pub fn answered(&mut self, by: RequestId, answer: &Answer, requests: &BTreeMap<RequestId, Running>) {
        let Some(running) = requests.get(&by) else { return };
        let Some(handle) = running.request.takes_for() else { return };
        let addresses: BTreeSet<IpAddr> = match answer {
            Answer::Assigned(answer) => {
                answer.v4.addresses.iter().chain(&answer.v6.addresses).map(|address| address.addr).collect()
            }
            Answer::Holds(addresses) => addresses.clone(),
            Answer::Done => match &running.request {
                Request::Named(request) => [request.addr].into(),
                _ => BTreeSet::new(),
            },
            Answer::Refused | Answer::Failed => {
                let another = |(id, other): (&RequestId, &Running)| {
                    *id != by && other.answered.is_none() && other.request.takes_for() == Some(handle)
                };
                let holds = self.answered.values().any(|other| other == handle);
                if !holds && !requests.iter().any(another) {
                    self.failed.insert(handle.clone(), running.request.is_limited());
                }
                return;
            }
        };
        // A release that was under way at the same time may come after the allocation. One that failed may
        // have freed something, or not.
        let is_released = |addr: IpAddr| {
            requests.values().any(|other| {
                other.request.may_free(addr, Some(handle))
                    && (other.has_failed || other.answered.is_none_or(|answered| answered > running.asked))
            })
        };
        let kept = addresses.into_iter().filter(|addr| !is_released(*addr));
        self.answered.extend(kept.map(|addr| (addr, handle.clone())));
    }

    /// Looks at the answered addresses of a block, or at all.
    pub fn check(&self, stored: &Stored, block: Option<BlockCidr>, tell: &mut impl FnMut(Violation)) {
        for (addr, handle) in &self.answered {
            if block.is_some_and(|block| !block.cidr().contains(*addr)) {
                continue;
            }
            let mut blocks = stored.blocks().filter(|block| block.cidr.cidr().contains(*addr));
            let holder = blocks.find_map(|block| {
                let attribute = block.attribute(block.cidr.ordinal(*addr)?)?;
                attribute.released_at.is_none().then(|| attribute.handle().unwrap_or_default().to_string())
            });
            if holder.as_deref() != Some(handle.as_str()) {
                tell(Violation::Lost { addr: *addr, handle: handle.clone(), holder });
            }
        }
    }

    pub fn check_failed(&self, stored: &Stored, tell: &mut impl FnMut(Violation)) {
        for (handle, keeps) in &self.failed {
            let counts = match stored.0.get(&Key::Handle(handle.clone())).map(|value| &**value) {
                Some(Value::Handle(found)) => found.blocks.clone(),
                _ => BTreeMap::new(),
            };
            let mut sums: BTreeMap<BlockCidr, (u32, u32)> = BTreeMap::new();
            for (block, counted) in counts {
                sums.entry(block).or_default().1 = counted;
            }
            for block in stored.blocks() {
                let mine =
                    held(Some(block)).into_values().filter(|held| held.handle.as_ref() == Some(handle));
                match mine.count() as u32 {
                    0 => {}
                    count => sums.entry(block.cidr).or_default().0 = count,
                }
            }
            for (block, (held, counted)) in sums {
                if *keeps && held == counted {
                    continue;
                }
                tell(Violation::HeldAfterFailure { handle: handle.clone(), block, held, counted });
            }
        }
    }

    pub fn check_stored(&self, stored: &Stored, records: &[Arc<Record>], tell: &mut impl FnMut(Violation)) {
        let found: BTreeMap<&Key, &Value> = records.iter().map(|r| (&r.key, &r.value)).collect();
        for key in &self.written {
            if stored.0.get(key).map(|value| &**value) != found.get(key).copied() {
                tell(Violation::WriteLost(key.clone()));
            }
        }
    }
}
