//! What administrators and time do.

use std::time::Duration;

use api::{Affinity, AffinityState, Key, Kind, Value};
use controllers::pools::FINALIZER;
use serde_json::json;

use crate::give_way;
use crate::names::{cidr, host as owner, resource, stored};
use crate::op::{Op, renamed};
use crate::world::World;

pub(super) async fn perform(op: &Op, world: &World) {
    give_way().await;
    match op {
        Op::Pool { disabled } => {
            if let Some(pool) = world.pool() {
                world.put_pool(pool.block_size, *disabled);
            }
        }
        Op::DeletePool => delete_pool(world),
        Op::MakePool { block } if world.pool().is_none() => {
            world.put_pool(*block, false);
        }
        Op::Label { host, no }
            if world.caller.cluster.get(&Key::global(Kind::Node, host.as_str())).is_some() =>
        {
            world.put_node(host, if *no { &[("no", "")] } else { &[] });
        }
        Op::DeleteNode { host } => {
            world.book().pods.are_gone(host);
            world.caller.remove(&Key::global(Kind::Node, host.as_str()));
        }
        Op::RenameNode { host } => {
            world.book().pods.are_gone(host);
            world.caller.remove(&Key::global(Kind::Node, host.as_str()));
            give_way().await;
            world.put_node(&renamed(host), &[]);
        }
        Op::MakeNode { host }
            if world.caller.cluster.get(&Key::global(Kind::Node, host.as_str())).is_none() =>
        {
            world.put_node(host, &[]);
        }
        Op::Cooldown { seconds } => world.config(|config| config.cooldown_seconds = *seconds),
        Op::Strict { strict } => world.config(|config| config.strict_affinity = *strict),
        Op::MostBlocks { most } => world.config(|config| config.max_blocks_per_host = *most),
        Op::Reserve { first, prefix } => {
            let first = api::cidr::offset(cidr("10.0.0.0/8").first(), u128::from(*first));
            let spec = json!({"reservedCIDRs": [format!("{first}/{prefix}")]});
            let (key, value) = resource(Kind::IPReservation, "reserved", spec, &[]);
            world.caller.put(key, value);
        }
        Op::Unreserve => world.caller.remove(&Key::global(Kind::IPReservation, "reserved")),
        Op::Wait { seconds } => world.clock.advance(Duration::from_secs(*seconds)),
        Op::Skew { host, seconds } => {
            world.book().skew.insert(host.clone(), *seconds);
        }
        Op::Begun { host, block } => begun(world, host, *block),
        Op::HalfDone { affinity } => half_done(world, *affinity),
        _ => {}
    }
}

/// Deletes the pool. One with a finalizer stays, and says that it goes.
fn delete_pool(world: &World) {
    let key = Key::global(Kind::IPPool, "pool");
    let Some(record) = world.caller.cluster.get(&key) else { return };
    let Some(pool) = record.resource() else { return };
    let mut document = pool.to_json();
    let finalizers = document["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|one| one == FINALIZER) {
        return world.caller.remove(&key);
    }
    document["metadata"]["deletionTimestamp"] = "2026-08-01T00:00:00Z".into();
    let (key, value) = stored(Kind::IPPool, "pool", document);
    world.caller.put(key, value);
}

/// Leaves the affinity of a host that has crashed before it created the block.
fn begun(world: &World, host: &str, block: u64) {
    let Some(block) = world.setup.size.block_at(block) else { return };
    if world.caller.cluster.get(&Key::Block(block)).is_none() {
        let key = Key::Affinity { owner: owner(host), block };
        world.caller.put(key, Value::Affinity(Affinity::new(AffinityState::Pending)));
    }
}

/// Makes the affinity to the first block what a crash leaves.
fn half_done(world: &World, affinity: Option<AffinityState>) {
    let Some(block) = world.blocks().into_iter().next() else { return };
    let name = block.owner().map_or("a".to_string(), |owner| owner.name().to_string());
    let key = Key::Affinity { owner: owner(&name), block: block.cidr };
    match affinity {
        Some(state) => world.caller.put(key, Value::Affinity(Affinity::new(state))),
        None => world.caller.remove(&key),
    }
}
