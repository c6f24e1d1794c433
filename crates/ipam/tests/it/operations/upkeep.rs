//! What is done for a cluster, and not for a pod.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::Use;
use ipam::{
    AutoAssign, CollectCooldowns, FindTunnel, IdleBlock, ReleaseIdleBlocks, Tunnel, Which, assign_tunnel,
};
use serde_json::json;
use store::testing::Faulty;
use store::{Depth, ReadSet, Scope, Store};

use super::{Answer, Case, go};
use crate::world::*;

/// An operation.
pub enum Act {
    Collect(&'static [&'static str]),
    /// The blocks of host `a` that are empty when it begins.
    ReleaseIdle,
    /// The address of host `a` for IP in IP: a sequence of operations.
    Tunnel,
}

/// The handle of that address.
pub const TUNNEL: &str = "ipip-tunnel-addr-a";

impl Act {
    /// Runs the operation.
    pub async fn on<S: Store>(&self, store: &Faulty<S>, clock: &Clock) -> Answer {
        match self {
            Act::Collect(blocks) => {
                let blocks = blocks.iter().map(|text| block_cidr(text)).collect();
                let answer = go(store, clock, CollectCooldowns { blocks }.planner()).await?;
                Ok(answer.freed.into_iter().collect())
            }
            Act::ReleaseIdle => {
                let set = ReadSet::new()
                    .key(api::Key::IpamConfig)
                    .scope(Scope::Blocks { family: None }, Depth::Header);
                let view = store.read(&set, WITHIN).await.map_err(|error| error.to_string())?;
                let idle = IdleBlock::in_view(&view, store::Effects::now(clock));
                let blocks = idle.into_iter().filter(|(host, _)| host == "a").map(|(_, block)| block);
                let request = ReleaseIdleBlocks { host: "a".to_string(), blocks: blocks.collect() };
                let answer = go(store, clock, request.planner()).await?;
                Ok(answer.released.iter().map(|block| block.cidr().first()).collect())
            }
            Act::Tunnel => {
                let request = FindTunnel { node: "a".to_string(), tunnel: Tunnel::Ipip, recorded: None };
                let answer = assign_tunnel(store, clock, request, WITHIN).await;
                answer.map(|addr| addr.into_iter().collect()).map_err(|error| error.to_string())
            }
        }
    }
}

/// Beside a pod, host `a` has an address in the pool of all tests, which is that of tunnels no longer, and
/// could have one in another.
fn other_tunnels(world: &World) {
    world.add("a", "kept");
    let owner = Tunnel::Ipip.attributes("a");
    let had = AutoAssign { attributes: owner, intended_use: Use::Tunnel, ..request("a", TUNNEL, 1, 0) };
    world.auto(had);
    tunnels(world);
}

/// Host `a` could have an address for its tunnel.
fn tunnels(world: &World) {
    world.pool_with("tunnels", json!({"cidr": "10.2.0.0/28", "blockSize": 30, "ipipMode": "Always"}));
}

/// Whether host `a` holds the address in the answer, and counts it, and no other.
fn has_tunnel(world: &World, answer: &BTreeSet<IpAddr>) -> bool {
    let held = world.assigned().into_iter().filter(|(_, id)| id == TUNNEL);
    let held: BTreeSet<IpAddr> = held.map(|(addr, _)| addr).collect();
    let counted: u32 = world.handle(TUNNEL).map_or(0, |handle| handle.blocks.values().sum());
    counted == 1 && held == *answer && held.iter().all(|addr| cidr("10.2.0.0/28").contains(*addr))
}

/// Host `a` has a block with an address that has cooled down, and was the owner of another.
pub fn cooled_down(world: &World) {
    world.config(|config| config.cooldown_seconds = 30);
    for addr in ["10.0.0.1", "10.0.0.5"] {
        world.assign(request_ip("a", "old", addr)).unwrap();
    }
    world.del("old");
    world.release_affinities(Which::One(host("a"), block_cidr("10.0.0.4/30")), false);
    world.clock.advance(31);
}

/// Host `a` has three blocks, of which one is in use.
pub fn idle(world: &World) {
    for (addr, id) in [("10.0.0.1", "old"), ("10.0.0.5", "kept"), ("10.0.0.9", "old")] {
        world.assign(request_ip("a", id, addr)).unwrap();
    }
    world.del("old");
}

pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "cooldowns that are over",
            prepare: cooled_down,
            act: super::Act::Upkeep(Act::Collect(&["10.0.0.0/30", "10.0.0.4/30"])),
            is_done: |w, freed| {
                let left = w.block("10.0.0.0/30").map(|block| block.unallocated.len());
                *freed == [ip("10.0.0.1"), ip("10.0.0.5")].into()
                    && left == Some(4)
                    && w.block("10.0.0.4/30").is_none()
            },
        },
        Case {
            name: "a tunnel's address",
            prepare: |w| {
                w.add("a", "kept");
            },
            act: super::Act::Assign(AutoAssign { intended_use: Use::Tunnel, ..request("a", "new", 1, 0) }),
            is_done: super::wants(1),
        },
        Case {
            name: "a tunnel that has no address yet",
            prepare: tunnels,
            act: super::Act::Upkeep(Act::Tunnel),
            is_done: has_tunnel,
        },
        Case {
            name: "a tunnel whose address does not fit any more",
            prepare: other_tunnels,
            act: super::Act::Upkeep(Act::Tunnel),
            is_done: has_tunnel,
        },
        Case {
            name: "idle blocks",
            prepare: idle,
            act: super::Act::Upkeep(Act::ReleaseIdle),
            is_done: |w, released| {
                *released == [ip("10.0.0.0"), ip("10.0.0.8")].into()
                    && w.affinities() == ["a 10.0.0.4/30 Confirmed"]
                    && w.blocks().len() == 1
            },
        },
    ]
}
