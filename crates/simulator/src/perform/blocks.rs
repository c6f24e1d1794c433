//! Requests about blocks and their owners.

use api::Key;
use ipam::{
    ClaimAffinity, CollectCooldowns, EnsureBlock, IdleBlock, ReleaseAffinities, ReleaseIdleBlocks,
    RemoveHost, Which,
};
use store::{Depth, Effects as _, ReadSet, Scope, Store as _};

use super::run_noted as run;
use crate::WITHIN;
use crate::names::{cidr, host as owner};
use crate::op::Op;
use crate::world::World;

pub(super) async fn perform(op: &Op, world: &World) {
    let release = |which, must_be_empty| ReleaseAffinities { which, must_be_empty };
    let clock = &world.clock;
    match op {
        Op::GiveUp { host, empty } => {
            run(world, &world.clock_of(host), "give up", release(Which::Owner(owner(host)), *empty)).await;
        }
        Op::One { host, block, empty } => {
            if let Some(block) = world.setup.size.block_at(*block) {
                run(world, clock, "one", release(Which::One(owner(host), block), *empty)).await;
            }
        }
        Op::DropPool => {
            run(world, clock, "drop pool", release(Which::Within(cidr("10.0.0.0/8")), false)).await;
        }
        Op::Upkeep { host } => upkeep(world, host).await,
        Op::Claim { host, network } => {
            let claim = ClaimAffinity::new(cidr(network), owner(host));
            run(world, &world.clock_of(host), "claim", claim).await;
        }
        Op::Unclaim { host, network, empty } => {
            let which = Which::OwnerWithin(owner(host), cidr(network));
            run(world, clock, "unclaim", release(which, *empty)).await;
        }
        Op::Ensure { host } => {
            let wanted = EnsureBlock { v4: true, v6: true, ..EnsureBlock::new(host.as_str()) };
            run(world, &world.clock_of(host), "ensure", wanted).await;
        }
        Op::Remove { host } => {
            run(world, clock, "remove", RemoveHost { host: host.clone() }).await;
        }
        _ => {}
    }
}

/// Ends the cooldowns that are over, and gives back the host's blocks that are empty now.
async fn upkeep(world: &World, host: &str) {
    let clock = world.clock_of(host);
    let blocks = Scope::Blocks { family: None };
    let set = ReadSet::new().key(Key::IpamConfig).scope(blocks, Depth::Header);
    let Ok(view) = world.caller.read(&set, WITHIN).await else { return };
    let idle = IdleBlock::in_view(&view, clock.now()).into_iter().filter(|(owner, _)| owner == host);
    let idle = ReleaseIdleBlocks { host: host.to_string(), blocks: idle.map(|(_, block)| block).collect() };
    for request in CollectCooldowns::in_view(&view, clock.now()) {
        run(world, &clock, "collect", request).await;
    }
    run(world, &clock, "idle", idle).await;
}
