//! What must hold at any moment.

use api::Key;
use ipam::invariants::{self, Violation};

use crate::names::MACHINE;
use crate::op::{Op, Scenario};
use crate::run::Stats;
use crate::world::World;

/// Looks at what is stored, and at what was told. Where `is_same`, nothing has changed since the last look.
pub(crate) fn check(
    world: &World,
    scenario: &Scenario,
    is_same: bool,
    stats: &mut Stats,
) -> Result<(), String> {
    if let Some(violation) = world.caller.witness.first_but(|violation| is_allowed(scenario, violation)) {
        return Err(violation);
    }
    if let Some(wrong) = world.book().wrong.take() {
        return Err(wrong);
    }
    if is_same {
        return Ok(());
    }
    let records = world.caller.cluster.records();
    for violation in invariants::check(&records, None) {
        match passing(&violation) {
            Some(what) => *stats.passing.entry(what.to_string()).or_default() += 1,
            None if is_allowed(scenario, &violation) => {}
            None => return Err(violation.to_string()),
        }
    }
    in_use(world)
}

/// What may be so for a while, between two writes or after a crash: the affinity was lost in the middle of a
/// claim. A confirmed affinity always has its block.
fn passing(violation: &Violation) -> Option<&'static str> {
    matches!(violation, Violation::LostBlock { .. }).then_some("a block without its affinity")
}

/// What the scenario itself brings about.
fn is_allowed(scenario: &Scenario, violation: &Violation) -> bool {
    let mut ops = scenario.ops();
    match violation {
        // A host that has as many blocks as it may have looks for no more.
        Violation::Overlooked { .. } => ops.any(|op| matches!(op, Op::MostBlocks { .. })),
        // The pool was made anew with other blocks.
        Violation::NoBlockOfPool { .. } => ops.any(|op| matches!(op, Op::MakePool { .. })),
        _ => false,
    }
}

/// What kubelets have told is the pod's, and the machine has one address.
fn in_use(world: &World) -> Result<(), String> {
    let cluster = &world.caller.cluster;
    let book = world.book();
    for (addr, id) in book.pods.told() {
        if book.given_up.contains(id) || book.freed.contains(&addr) {
            continue;
        }
        let is_held = cluster.records().iter().filter_map(|record| record.block()).any(|block| {
            let ordinal = block.cidr.ordinal(addr);
            let attribute = ordinal.and_then(|ordinal| block.attribute(ordinal));
            attribute.is_some_and(|a| a.released_at.is_none() && a.handle() == Some(id))
        });
        if !is_held {
            return Err(format!("the pod of {id} uses {addr}, which the handle does not hold"));
        }
    }
    let machines = |block: &api::Block| ipam::block::ordinals_of(block, MACHINE).len();
    let records = cluster.records();
    let held: usize = records.iter().filter_map(|record| record.block()).map(machines).sum();
    match held > 1 {
        true => Err(format!("the machine has {held} addresses")),
        false => Ok(()),
    }
}

/// Blocks whose owner has no affinity to them.
pub(crate) fn lost_blocks(world: &World) -> Vec<Key> {
    let violations = invariants::check(&world.caller.cluster.records(), None);
    let lost = violations.iter().filter(|violation| matches!(violation, Violation::LostBlock { .. }));
    lost.filter_map(Violation::key).collect()
}

/// What does not hold once nobody does anything, apart from what is excused.
pub(crate) fn at_rest(world: &World, is_excused: impl Fn(&Violation) -> bool) -> Option<String> {
    let violations = invariants::check_at_rest(&world.caller.cluster.records(), None);
    let is_exact = |violation: &&Violation| {
        passing(violation).is_none()
            && !matches!(violation, Violation::NoBlockOfPool { .. })
            && !is_excused(violation)
    };
    violations.iter().find(is_exact).map(ToString::to_string)
}
