//! Takes back what a request's attempts did.

use std::collections::BTreeSet;

use api::{BlockCidr, Key, Timestamp, Value};
use store::{Batch, Expect, View};

use super::{Progress, WritePurposes};
use crate::block::{self, ReleaseIp};
use crate::handle::Counts;
use crate::plan::Plan;

impl Progress {
    /// Plans to take everything back: first reads what is needed, then commits one batch.
    pub fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        let missing = self.missing(view);
        if !missing.is_empty() {
            return Plan::Fetch(missing);
        }
        let batch = self.take_all_back(view, now);
        if batch.is_empty() { Plan::Done(()) } else { Plan::Commit { batch, answer: () } }
    }

    /// The batch that takes everything back; empty when nothing is left.
    fn take_all_back(&mut self, view: &View, now: Timestamp) -> Batch {
        // Whether the request was overtaken does not matter here: of what others have freed meanwhile, the
        // rest is taken back.
        let _ = self.settle(view);
        if self.is_shared {
            self.placed.clear();
        }
        let mut batch = Batch::new();
        let mut purposes = WritePurposes::default();
        let unhealed: BTreeSet<BlockCidr> = self.claims_to_heal(view).collect();
        let placed: BTreeSet<BlockCidr> = self.placed.iter().map(|placed| placed.block).collect();
        let mut left = Counts::new();
        for cidr in placed.union(&unhealed).copied() {
            let Some(Some((stored, revision))) = view.block(cidr) else {
                self.placed.retain(|placed| placed.block != cidr);
                self.tally.owe(cidr);
                continue;
            };
            let ours: Vec<ReleaseIp> = (self.placed.iter().filter(|placed| placed.block == cidr))
                .flat_map(|placed| self.held(view, placed))
                .map(|addr| ReleaseIp { addr, handle: None, sequence: None })
                .collect();
            let mut changed = stored.clone();
            // Without cooldown, as nobody has used the addresses. The release demands no sequence number and
            // no handle, so it refuses nothing.
            let _ = block::release(&mut changed, &ours, now, 0);
            if let Some(id) = &self.handle {
                left.insert(cidr, block::may_hold(&changed, id.as_str()));
                self.tally.owe(cidr);
            }
            let index = if unhealed.contains(&cidr) {
                let finished = self.finish(&mut batch, view, changed, revision);
                purposes.claims.push(finished);
                finished.written
            } else {
                block::bump(&mut changed);
                batch.put(Key::Block(cidr), Expect::at(revision), Value::Block(changed))
            };
            purposes.returns.push((index, cidr));
        }
        self.fence(&mut batch, view, |_| false, &mut purposes);
        self.count(&mut batch, view, Counts::new(), left);
        self.intend(purposes);
        batch
    }
}
