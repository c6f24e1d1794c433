//! The end: all faults are over, everything is released, and nothing may be left.

use std::time::Duration;

use api::{Key, Kind};
use ipam::invariants::Violation;

use crate::check::{at_rest, lost_blocks};
use crate::names::MACHINE;
use crate::op::{Op, Scenario};
use crate::perform::perform;
use crate::run::Running;
use crate::world::World;
use crate::{controllers, drive};

/// How often the controllers look, at most, until nothing is left.
const PASSES: u32 = 12;

pub(crate) fn heal(it: &mut Running<'_>) -> Result<(), String> {
    it.world.caller.recorder.ends();
    while it.world.caller.are_late() {
        it.world.caller.land(None);
        it.check()?;
    }
    settled(it)?;
    all_rules_as_before(it)?;
    let lost = lost_blocks(&it.world).len();
    release_all(it)?;
    give_up_all(it, lost)?;
    serve_all(it)?;
    let left = it.world.caller.witness.left_by_failed();
    match left.first() {
        Some(violation) => Err(format!("after all: {violation}")),
        None => it.check(),
    }
}

fn act(it: &mut Running<'_>, op: Op) -> Result<(), String> {
    match drive(perform(&op, &it.world)) {
        Some(()) => it.check(),
        None => Err(format!("{op:?} does not end")),
    }
}

/// What holds as soon as nobody does anything.
fn settled(it: &mut Running<'_>) -> Result<(), String> {
    let (world, setup) = (&it.world, &it.scenario.setup);
    if let Some(violation) = world.caller.witness.lost(&world.caller.cluster.records()).first() {
        return Err(violation.to_string());
    }
    let book = world.book();
    for (id, error) in &book.failed {
        let is_released = book.given_up.contains(id) || !book.freed.is_empty();
        if error.contains("was released while") && !is_released && !setup.controllers {
            return Err(format!("nobody released {id}, and yet: overtaken"));
        }
    }
    drop(book);
    if world.clock.has_left() {
        // Only lost answers, or a lot of time that passes at once, keep a request from taking everything
        // back.
        let is_excused = setup.lost > 0 || it.scenario.ops().any(|op| matches!(op, Op::Wait { .. }));
        return if is_excused {
            Ok(())
        } else {
            Err("a failed request does not take everything back".into())
        };
    }
    // Requests that failed hold nothing. Calico's release of a handle can leave a count, and so can one of
    // ours that failed: of a handle that several requests share.
    let is_count = |v: &Violation| matches!(v, Violation::HeldAfterFailure { held: 0, .. });
    let left = world.caller.witness.left_by_failed();
    let may_leave_counts = setup.calico || world.book().has_failed_release;
    let is_excused = |v: &&Violation| match v {
        Violation::HeldAfterFailure { block, .. } if is_late(world, &Key::Block(*block)) => true,
        v => is_count(v) && (may_leave_counts || v.key().is_some_and(|key| is_late(world, &key))),
    };
    if let Some(violation) = left.iter().find(|violation| !is_excused(violation)) {
        return Err(violation.to_string());
    }
    if !it.has_crashed && !setup.calico {
        let lost = lost_blocks(world).into_iter().find(|key| !is_late(world, key));
        if let (Some(key), false) = (lost, is_half_done(it.scenario)) {
            return Err(format!("nothing went wrong, and the owner of {key} has no affinity to it"));
        }
        return at_rest(world, |violation| is_count_left(world, violation)).map_or(Ok(()), Err);
    }
    Ok(())
}

/// A handle counts addresses that it does not hold, and that goes with the container's DEL: the handle was
/// created late, or a release failed after it had freed the addresses.
fn is_count_left(world: &World, violation: &Violation) -> bool {
    let Violation::Handle { handle, counted: Some(counted), held, .. } = violation else { return false };
    counted > held && (world.book().has_failed_release || is_late(world, &Key::Handle(handle.clone())))
}

/// Whether the record was created late, and its request could do nothing against it.
fn is_late(world: &World, key: &Key) -> bool {
    world.caller.shared().late.is_unforeseen(key)
}

/// Whether the scenario itself leaves an affinity as a crash does, or makes the pool anew: a claim that is
/// given up for that can leave its empty block to the controllers.
fn is_half_done(scenario: &Scenario) -> bool {
    scenario.ops().any(|op| matches!(op, Op::HalfDone { .. } | Op::MakePool { .. }))
}

fn all_rules_as_before(it: &mut Running<'_>) -> Result<(), String> {
    let size = it.scenario.setup.size;
    // A deletion that has begun cannot be taken back, but the blocks are the test's now.
    it.world.put_pool(size.block, false);
    for host in it.scenario.hosts() {
        it.world.put_node(&host, &[]);
    }
    it.world.book().skew.clear();
    it.world.caller.remove(&Key::global(Kind::IPReservation, "reserved"));
    it.world.config(|config| *config = Default::default());
    it.world.clock.advance(Duration::from_secs(10_000));
    it.check()
}

/// Releases what all handles have: the plugins do, or the controllers, once the pods are gone.
fn release_all(it: &mut Running<'_>) -> Result<(), String> {
    let mut ids = it.scenario.ids();
    if it.scenario.setup.controllers {
        ids.iter().for_each(|id| it.world.book().pods.is_gone(id));
        for _ in 0..PASSES {
            it.world.clock.advance(Duration::from_secs(1_000));
            if drive(controllers::pass(&it.world)).is_none() {
                return Err("the controllers' pass does not end".to_string());
            }
            it.check()?;
        }
        let held = it.world.assigned();
        // The machine is there still, and keeps its address; tunnels are their nodes'.
        let mut left = held.iter().filter(|(_, id)| *id != MACHINE && id.starts_with("n."));
        if let Some((addr, id)) = left.next() {
            return Err(format!("the pod of {id} is gone, and the controllers do not give back {addr}"));
        }
    }
    ids.sort();
    for id in ids {
        act(it, Op::Del { id: id.clone(), told_first: false })?;
        if it.world.caller.cluster.get(&Key::Handle(crate::names::handle(&id))).is_some() {
            return Err(format!("the handle of {id} is still there"));
        }
    }
    for host in it.scenario.hosts() {
        act(it, Op::NoTunnel { host })?;
    }
    match it.world.assigned() {
        held if held.is_empty() => Ok(()),
        held => Err(format!("leaked: {held:?}")),
    }
}

/// All hosts give up what they have.
fn give_up_all(it: &mut Running<'_>, lost: usize) -> Result<(), String> {
    it.world.clock.advance(Duration::from_secs(10_000));
    for host in it.scenario.hosts() {
        act(it, Op::GiveUp { host: host.clone(), empty: false })?;
        act(it, Op::Upkeep { host })?;
    }
    let affinities = it.world.affinities();
    if !affinities.is_empty() {
        return Err(format!("affinities are left: {affinities:?}"));
    }
    let blocks = it.world.blocks();
    if blocks.len() > lost {
        let blocks: Vec<_> = blocks.iter().map(|block| (block.cidr, block.affinity.clone())).collect();
        return Err(format!("blocks are left: {blocks:?}"));
    }
    Ok(())
}

/// Every host gets an address.
fn serve_all(it: &mut Running<'_>) -> Result<(), String> {
    for host in it.scenario.hosts() {
        let id = format!("n.last-{host}");
        act(it, Op::Add { host: host.clone(), id: id.clone(), n: 1, all: false })?;
        let got = it.world.book().answered.get(&id).cloned().unwrap_or_default();
        if got.is_empty() {
            return Err(format!("{host} gets no address, though all are free"));
        }
        act(it, Op::Del { id, told_first: false })?;
    }
    Ok(())
}
