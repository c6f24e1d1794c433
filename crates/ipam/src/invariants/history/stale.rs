//! A stale release frees nothing newer. A request frees an address only if it means it: by its handle, by its
//! sequence number, and no second time when that address was taken again; nor one that was taken after the
//! request had ended, when a write of it arrives late. A request that takes addresses frees only its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::BlockCidr;

use super::{Held, Request, RequestId, Running};
use crate::invariants::Violation;

#[derive(Clone, Debug, Default)]
pub(super) struct Stale {
    /// By address: who took it last, and at which step.
    taken: BTreeMap<IpAddr, (Option<RequestId>, u64)>,
    /// By request and address: the sequence number of what it freed.
    freed: BTreeMap<(RequestId, IpAddr), u64>,
}

impl Stale {
    pub fn taken(&mut self, addr: IpAddr, by: Option<RequestId>, step: u64) {
        self.taken.insert(addr, (by, step));
    }

    /// Looks at an address that a write of a request has just freed.
    pub fn freed(
        &mut self,
        by: RequestId,
        running: &Running,
        block: BlockCidr,
        addr: IpAddr,
        held: &Held,
        tell: &mut impl FnMut(Violation),
    ) {
        let (taker, taken) = self.taken.get(&addr).copied().unwrap_or_default();
        let is_newer = running.answered.is_some_and(|answered| taken > answered);
        let (is_meant, meant) = match &running.request {
            Request::ReleaseIps(ips) => {
                // If the request names an address more than once, the last one counts.
                let named = ips.iter().rev().find(|ip| ip.addr == addr);
                let is_handle = |handle: &str| held.handle.as_ref().is_some_and(|id| id.as_str() == handle);
                let has_handle =
                    named.is_some_and(|ip| ip.handle.as_deref().is_none_or(|h| h.is_empty() || is_handle(h)));
                let before = self.freed.insert((by, addr), held.sequence);
                let meant = before.or(named.and_then(|ip| ip.sequence));
                (has_handle && before.is_none() && meant.is_none_or(|meant| meant == held.sequence), meant)
            }
            Request::ReleaseHandles(_) => (running.request.may_free(addr, held.handle.as_ref()), None),
            Request::Assign(_) | Request::Named(_) => (taker == Some(by), None),
            Request::Other => (false, None),
            Request::Foreign(_) => return,
        };
        if is_newer || !is_meant {
            let (handle, sequence) = (held.handle.clone(), held.sequence);
            let meant = meant.filter(|meant| *meant != sequence);
            tell(Violation::FreedAnothers { addr, block, handle, sequence, meant });
        }
    }
}
