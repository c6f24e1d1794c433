//! What actors do, carried out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::Family;
use ipam::invariants::{Answer, Request};
use ipam::{AutoAssigned, RunError};

use crate::asks::{AnswerOf, Asks, ErrorOf};
use crate::calico::Calico;
use crate::clock::Clock;
use crate::names::handle;
use crate::op::Op;
use crate::world::World;

mod assign;
mod blocks;
mod release;
mod rules;

/// How often Calico tries again.
const CALICOS_RETRIES: usize = 20;

/// Runs a request, in sight of the witness.
pub(crate) async fn run<A: Asks>(
    world: &World,
    clock: &Clock,
    asks: A,
) -> Result<AnswerOf<A>, RunError<ErrorOf<A>>> {
    let store = |by| world.caller.in_name_of(by);
    world.caller.witness.run_within(world.setup.within, clock, asks, store).await
}

/// Runs a request, and notes what goes wrong.
async fn run_noted<A: Asks>(world: &World, clock: &Clock, what: &str, asks: A) -> Option<AnswerOf<A>>
where
    ErrorOf<A>: std::fmt::Display,
{
    let is_release = matches!(asks.request(), Request::ReleaseIps(_) | Request::ReleaseHandles(_));
    match run(world, clock, asks).await {
        Ok(answer) => Some(answer),
        Err(error) => {
            world.book().has_failed_release |= is_release;
            world.note(format!("{what}: {error}"));
            None
        }
    }
}

/// Does what an actor does.
pub(crate) async fn perform(op: &Op, world: &World) {
    world.caller.log(format!("BEGIN {op:?}"));
    match op {
        Op::Add { .. } | Op::Dual { .. } | Op::Named { .. } | Op::Machine { .. } | Op::Move { .. } => {
            assign::perform(op, world).await;
        }
        Op::Del { .. } | Op::DelSeen { .. } | Op::Release { .. } | Op::Vanish { .. } => {
            release::perform(op, world).await;
        }
        Op::Tunnel { host } => assign::tunnel(world, host).await,
        Op::NoTunnel { host } => release::tunnel(world, host).await,
        Op::GiveUp { .. }
        | Op::One { .. }
        | Op::DropPool
        | Op::Upkeep { .. }
        | Op::Claim { .. }
        | Op::Unclaim { .. }
        | Op::Ensure { .. }
        | Op::Remove { .. } => blocks::perform(op, world).await,
        Op::CalicoAdd { .. } | Op::CalicoDel { .. } | Op::CalicoGiveUp { .. } | Op::CalicoCollect { .. } => {
            calico(op, world).await;
        }
        Op::Controllers => crate::controllers::pass(world).await,
        _ => rules::perform(op, world).await,
    }
}

/// What Calico does.
async fn calico(op: &Op, world: &World) {
    let begin = |request: Request| {
        use store::Effects as _;
        let by = world.caller.witness.asked(request, world.clock.now());
        let sim = world.caller.of_actor(world.caller.who, 0).in_name_of(by);
        (by, Calico { sim, clock: world.clock.clone(), retries: CALICOS_RETRIES })
    };
    let witness = &world.caller.witness;
    // Calico releases an address in one write, and lowers the handle's count in a later one. A request of
    // ours whose reply was lost counts what blocks hold, so it takes that count for its own. Where kubelets
    // wait for the end of the one before they begin the other, the two do not meet.
    let meets_doubt = |id: &String| world.setup.lost > 0 && world.book().assigning.contains(id);
    match op {
        Op::CalicoDel { id } | Op::CalicoCollect { id } if meets_doubt(id) => {}
        Op::CalicoAdd { host, id, n } => {
            let Some(pool) = world.pool() else { return };
            world.book().pods.is_on(id, host, &[]);
            let (by, calico) = begin(Request::Foreign(handle(id)));
            let got: BTreeSet<IpAddr> = calico.add(host, id, *n, &pool).await.into_iter().collect();
            witness.answered(by, Answer::Holds(got.clone()));
            answered(world, host, id, got);
        }
        Op::CalicoDel { id } => {
            give_up(world, id);
            let (by, calico) = begin(Request::ReleaseHandles(vec![handle(id)]));
            calico.del(id).await;
            // It does not tell whether it succeeded.
            witness.answered(by, Answer::Failed);
        }
        Op::CalicoGiveUp { host, empty } => {
            let (by, calico) = begin(Request::Other);
            calico.give_up(host, *empty).await;
            witness.answered(by, Answer::Done);
        }
        Op::CalicoCollect { id } => {
            give_up(world, id);
            let (by, calico) = begin(Request::ReleaseHandles(vec![handle(id)]));
            calico.collect(id).await;
            witness.answered(by, Answer::Failed);
        }
        _ => {}
    }
}

/// A handle was answered these addresses, and its pod's kubelet tells of them.
fn answered(world: &World, host: &str, id: &str, got: BTreeSet<IpAddr>) {
    world.caller.log(format!("ANSWER {id} {got:?}"));
    let book = &mut *world.book();
    if !got.is_empty() && book.pods.has(id) && !book.given_up.contains(id) {
        book.pods.is_on(id, host, &got.iter().copied().collect::<Vec<_>>());
    }
    book.answered.insert(id.to_string(), got);
}

/// Somebody begins to release what a handle has: its pod is gone.
fn give_up(world: &World, id: &str) {
    let book = &mut *world.book();
    book.given_up.insert(id.to_string());
    book.pods.is_gone(id);
}

/// The addresses of an answer.
fn addresses(answer: &AutoAssigned) -> BTreeSet<IpAddr> {
    let all = Family::BOTH.into_iter().flat_map(|family| &answer.family(family).addresses);
    all.map(|address| address.addr).collect()
}
