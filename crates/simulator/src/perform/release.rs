//! Requests that free addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam::{HandleRelease, IpsByHandle, ReleaseByHandle, ReleaseIp, ReleaseIps, Tunnel};

use super::{give_up, run_noted};
use crate::give_way;
use crate::names::handle;
use crate::op::Op;
use crate::world::World;

pub(super) async fn perform(op: &Op, world: &World) {
    let clock = &world.clock;
    match op {
        Op::Del { id, told_first } => {
            world.book().given_up.insert(id.clone());
            if *told_first {
                give_up(world, id);
                give_way().await;
            }
            del(world, id).await;
            give_up(world, id);
        }
        Op::DelSeen { id } => {
            give_up(world, id);
            let Some(Some(seen)) = run_noted(world, clock, "seen", IpsByHandle::new(handle(id))).await else {
                return;
            };
            give_way().await;
            let only = ReleaseByHandle::new(Vec::new(), None).only(handle(id), seen.assignments());
            run_noted(world, clock, "del seen", only).await;
        }
        Op::Release { id, by_addr } => {
            let held = world.book().answered.get(id).cloned().unwrap_or_default();
            give_up(world, id);
            if *by_addr {
                world.book().freed.extend(&held);
            }
            let ip = |addr| ReleaseIp { addr, handle: (!by_addr).then(|| id.clone()), sequence: None };
            run_noted(world, clock, "release", ReleaseIps::new(held.into_iter().map(ip).collect())).await;
        }
        Op::Vanish { id } => {
            give_way().await;
            world.book().pods.is_gone(id);
        }
        _ => {}
    }
}

/// What a handle holds: addresses, each with the sequence number of its assignment.
fn held(world: &World, id: &str) -> BTreeSet<(IpAddr, u64)> {
    let mut held = BTreeSet::new();
    for block in world.blocks() {
        let ordinals = ipam::block::ordinals_of(&block, id);
        let all = ordinals.into_iter().filter_map(|o| Some((block.cidr.addr(o)?, block.sequence_of(o))));
        held.extend(all);
    }
    held
}

/// Releases what a handle has. Once that is answered, nothing is left of what the handle had before.
async fn del(world: &World, id: &str) {
    let before = held(world, id);
    let release = ReleaseByHandle::new(vec![handle(id)], None);
    let Some(answer) = run_noted(world, &world.clock, "del", release).await else { return };
    if answer.iter().any(|release| matches!(release, HandleRelease::Partly(..))) {
        return;
    }
    if let Some((addr, _)) = before.intersection(&held(world, id)).next() {
        world.book().wrong = Some(format!("the release of {id} was answered, and it holds {addr} as before"));
    }
}

/// A host's tunnel is switched off.
pub(super) async fn tunnel(world: &World, host: &str) {
    if let Some(id) = Tunnel::Wireguard.handle(host) {
        run_noted(world, &world.clock_of(host), "no tunnel", ReleaseByHandle::new(vec![id], None)).await;
    }
}
