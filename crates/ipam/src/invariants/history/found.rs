//! A free address that the rules allow is found: a request gets too few addresses only if there was none that
//! it could have had at any time since it began.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Block, BlockCidr, Family, IpamConfig, Key, Kind, Owner, Pool, Timestamp, Use, cidr};

use super::rules::Rules;
use super::{Answer, Request, RequestId, Running, Stored};
use crate::block;
use crate::invariants::Violation;
use crate::plan::auto_assign::RECLAIM_AFTER_SECONDS;

/// The most addresses of a pool that are looked at: the check is meant for small pools.
const MOST: u128 = 4096;

/// The addresses that a request could have now, with their pools. Only those that it can have for certain:
/// where a request's own limits can be in the way, there are none.
pub(super) fn available(
    stored: &Stored,
    rules: &Rules,
    request: &Request,
    now: Timestamp,
) -> BTreeMap<IpAddr, String> {
    let is_wanted = |addr: IpAddr| match request {
        Request::Assign(asked) => {
            let wanted = match Family::of(addr) {
                Family::V4 => asked.v4,
                Family::V6 => asked.v6,
            };
            wanted > 0 && asked.max_per_handle.is_none() && asked.host_reserved.is_none()
        }
        Request::Named(named) => named.addr == addr && named.max_per_handle.is_none(),
        _ => false,
    };
    let mut found = BTreeMap::new();
    for pool in rules.pools().filter(|_| matches!(request, Request::Assign(_) | Request::Named(_))) {
        let all = (0..pool.cidr.size().min(MOST)).map(|n| cidr::offset(pool.cidr.first(), n));
        let free = all.filter(|addr| is_wanted(*addr) && is_free(stored, rules, request, pool, *addr, now));
        found.extend(free.map(|addr| (addr, pool.name.clone())));
    }
    found
}

/// After a change of a record: what is not available any more is not what requests could have had all the
/// time.
pub(super) fn narrow(
    stored: &Stored,
    rules: &Rules,
    changed: &Key,
    requests: &mut BTreeMap<RequestId, Running>,
) {
    // A block that overlaps that of the address in its pool is in the way, too.
    let touches = |addr: IpAddr, pool: &Pool| match changed {
        Key::Block(block) => pool.block_of(addr).is_none_or(|of_pool| of_pool.cidr().overlaps(&block.cidr())),
        Key::IpamConfig => true,
        Key::Resource { kind, .. } => matches!(kind, Kind::IPPool | Kind::IPReservation | Kind::Node),
        Key::Affinity { .. } | Key::Handle(_) | Key::IpamHost(_) => false,
    };
    for running in requests.values_mut().filter(|running| running.answered.is_none()) {
        let Running { request, now, available, .. } = running;
        available.retain(|addr, pool| {
            let pool = rules.pools().find(|other| other.name == *pool);
            pool.is_some_and(|pool| {
                !touches(*addr, pool) || is_free(stored, rules, request, pool, *addr, *now)
            })
        });
    }
}

/// Whether a request that began at `now` can have an address: the pool allows it, and the address is free in
/// a block from which the host may take it, or in one that the host may claim.
fn is_free(
    stored: &Stored,
    rules: &Rules,
    request: &Request,
    pool: &Pool,
    addr: IpAddr,
    now: Timestamp,
) -> bool {
    let Some(cidr) = pool.block_of(addr).filter(|_| rules.allow(pool, request, addr)) else { return false };
    let is_in_the_way = |other: BlockCidr| other != cidr && other.cidr().overlaps(&cidr.cidr());
    if stored.blocks().any(|block| is_in_the_way(block.cidr)) {
        return false;
    }
    let config = rules.config();
    let Some(block) = stored.block(cidr) else {
        return matches!(request, Request::Named(_)) || config.auto_allocate_blocks;
    };
    let is_mine = block.owner().is_some_and(|owner| Some(owner) == owner_of(request));
    let may_claim = matches!(request, Request::Assign(_)) && config.auto_allocate_blocks;
    let ordinal = cidr.ordinal(addr);
    let is_free = ordinal.is_some_and(|ordinal| match block.attribute(ordinal).map(|a| a.released_at) {
        None => block.unallocated.contains(&ordinal),
        // Where there is no cooldown any more, nobody looks for what still cools down.
        Some(Some(released)) => {
            config.cooldown_seconds > 0 && block::is_cold(released, now, config.cooldown_seconds)
        }
        Some(None) => false,
    });
    let intended_use = match request {
        Request::Assign(request) => Some(request.intended_use),
        Request::Named(request) => request.intended_use,
        _ => None,
    };
    let may_borrow = !config.strict_affinity && !intended_use.is_some_and(Use::is_never_borrowed);
    is_free && (is_mine || may_borrow || may_claim && is_left(block, config, now))
}

/// Whether another host may take over a block: it is empty, and was claimed a while ago.
fn is_left(block: &Block, config: &IpamConfig, now: Timestamp) -> bool {
    let mut block = block::copy(block);
    block::collect(&mut block, now, config.cooldown_seconds);
    let is_old = |claimed: Timestamp| now.as_second() - claimed.as_second() >= RECLAIM_AFTER_SECONDS;
    block::is_empty(&block) && block.affinity_claim_time.is_none_or(is_old)
}

fn owner_of(request: &Request) -> Option<Owner> {
    let (host, is_service) = match request {
        Request::Assign(request) => (&request.host, request.intended_use == Use::LoadBalancer),
        Request::Named(request) => (&request.host, request.intended_use == Some(Use::LoadBalancer)),
        _ => return None,
    };
    Some(if is_service { Owner::load_balancer() } else { Owner::Host(host.clone()) })
}

pub(super) fn check(running: &Running, answer: &Answer, tell: &mut impl FnMut(Violation)) {
    let of = |family| running.available.iter().filter(move |(addr, _)| Family::of(**addr) == family);
    let mut overlooked: Vec<(&IpAddr, &String)> = Vec::new();
    let host = match (&running.request, answer) {
        (Request::Assign(request), Answer::Assigned(answer)) => {
            let is_short = |family: Family| {
                let assigned = answer.family(family);
                assigned.error.is_none() && assigned.addresses.len() < assigned.requested as usize
            };
            let short = || Family::BOTH.into_iter().filter(|family| is_short(*family));
            // All or nothing: a family can fall short because of the other.
            let has_all = |family: Family| of(family).count() >= answer.family(family).requested as usize;
            if !request.all_or_nothing || Family::BOTH.into_iter().all(has_all) {
                overlooked.extend(short().flat_map(of));
            }
            &request.host
        }
        (Request::Named(request), Answer::Refused) => {
            overlooked.extend(&running.available);
            &request.host
        }
        _ => return,
    };
    if let Some((addr, pool)) = overlooked.first() {
        let (addr, pool, host) = (**addr, (*pool).clone(), host.clone());
        let count = overlooked.len() as u32;
        tell(Violation::Overlooked { addr, count, pool, host });
    }
}
