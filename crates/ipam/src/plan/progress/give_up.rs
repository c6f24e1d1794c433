//! Taking back what the attempts of a request did.

use std::collections::BTreeSet;

use api::{BlockCidr, Key, Timestamp, Value};
use store::{Batch, ReadSet, View};

use super::{Intent, Progress, State, add, holds};
use crate::affinity;
use crate::block::{self, ReleaseIp};
use crate::handle::{self, Counts};
use crate::plan::Plan;

impl Progress {
    /// Plans to take everything back: reads what that needs, then one batch.
    pub fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        let keys = self.reads().keys.into_iter().map(|(key, _)| key);
        let missing: Vec<Key> = keys.filter(|key| view.full(key).is_none()).collect();
        if !missing.is_empty() {
            return Plan::Fetch(ReadSet::new().keys(missing));
        }
        let batch = self.take_all_back(view, now);
        if batch.is_empty() { Plan::Done(()) } else { Plan::Commit { batch, answer: () } }
    }

    /// A batch that takes everything back; empty when nothing is left.
    fn take_all_back(&mut self, view: &View, now: Timestamp) -> Batch {
        // Overtaken or not: what is gone needs no taking back.
        let _ = self.settle(view);
        let mut batch = Batch::new();
        let mut intent = Intent::default();
        let mut lower: Counts = self.leftover.clone();
        let unhealed: BTreeSet<BlockCidr> = self.unhealed(view).collect();
        let placed = self.placed.iter().map(|p| p.block);
        let mut blocks: Vec<BlockCidr> = placed.chain(unhealed.iter().copied()).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for cidr in blocks {
            let placed = || self.placed.iter().filter(|p| p.block == cidr);
            let returning =
                placed().filter(|p| p.state == State::Returning && !holds(view, p, &self.attribute));
            let returned: usize = returning.map(|p| p.addresses.len()).sum();
            let Some(Some((stored, revision))) = view.block(cidr) else {
                // What is in doubt can never be applied any more.
                self.placed.retain(|p| p.block != cidr);
                add(&mut lower, cidr, returned as u32);
                continue;
            };
            let ours: Vec<ReleaseIp> = placed()
                .filter(|p| holds(view, p, &self.attribute))
                .flat_map(|p| p.addresses.iter())
                .map(|addr| ReleaseIp { addr: *addr, handle: None, sequence: None })
                .collect();
            let mut changed = stored.clone();
            // Without cooldown: nobody has used the addresses. A block with nothing of ours is rewritten as a fence.
            if block::release(&mut changed, &ours, now, 0).is_ok() {
                let index = if unhealed.contains(&cidr) {
                    let found = view.affinity(&self.owner, cidr).flatten();
                    let healed = affinity::heal(&mut batch, &self.owner, found, changed, revision);
                    intent.claims.push(healed);
                    healed.written
                } else {
                    block::bump(&mut changed);
                    batch.put(Key::Block(cidr), handle::at(revision), Value::Block(changed))
                };
                let count = (ours.len() + returned) as u32;
                intent.returns.push((index, cidr, count));
                add(&mut lower, cidr, count);
            }
        }
        if let Some(mut draft) = self.handle.as_ref().and_then(|id| handle::Draft::of(view, id)) {
            match draft.lower(&mut batch, &lower) {
                Some(index) => intent.handle.push((index, Counts::new())),
                None => self.leftover.clear(),
            }
        }
        self.intend(intent, &batch);
        batch
    }
}
