//! An allocation lay in a pool that allowed it when it was made.
//!
//! On a store that does not honour guards, a pool may change between the read on which an allocation rests
//! and its write; and nodes and reservations are guarded nowhere. For these it is enough that they allowed
//! the allocation at some time after the request began.

use std::net::IpAddr;

use api::BlockCidr;

use super::rules::Rules;
use super::{Held, Request, Running};
use crate::invariants::Violation;

/// Looks at an address that a request has just taken; with the rules goes whether the store honours guards.
pub(super) fn check(
    (rules, honours_guards): (&Rules, bool),
    running: &Running,
    block: BlockCidr,
    addr: IpAddr,
    held: &Held,
    tell: &mut impl FnMut(Violation),
) {
    let host = match &running.request {
        Request::Assign(request) => &request.host,
        Request::Named(request) => &request.host,
        _ => return,
    };
    if !rules.allowed_since(running.asked, honours_guards, &running.request, addr) {
        let (handle, host) = (held.handle.clone(), host.clone());
        tell(Violation::NotAllowed { addr, block, handle, host });
    }
}
