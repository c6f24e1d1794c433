//! Requests that take addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam::invariants::{Answer, Request};
use ipam::{
    AutoAssign, Change, EnsureActiveOwner, FindTunnel, PodName, SetOwnerAttributes, Tunnel, assign_tunnel,
};
use store::Effects as _;

use super::{addresses, answered, run};
use crate::names::{MACHINE, handle, request, request_ip};
use crate::op::Op;
use crate::world::World;

pub(super) async fn perform(op: &Op, world: &World) {
    match op {
        Op::Add { host, id, n, all } => {
            let wanted = AutoAssign { all_or_nothing: *all, ..request(host, id, *n, 0) };
            assign(world, host, id, wanted).await;
        }
        Op::Dual { host, id } => {
            let wanted = AutoAssign { all_or_nothing: true, ..request(host, id, 1, 1) };
            let got = assign(world, host, id, wanted).await;
            if got.is_some_and(|got| got.len() == 1) {
                world.book().wrong = Some(format!("{id} has half of what it asked for, and wanted all"));
            }
        }
        Op::Named { host, id, addr } => {
            world.book().pods.is_on(id, host, &[]);
            let _assigning = world.assigning(id);
            match run(world, &world.clock_of(host), request_ip(host, id, *addr)).await {
                Ok(()) => answered(world, host, id, [*addr].into()),
                Err(error) => failed(world, id, error.to_string()),
            }
        }
        Op::Machine { host } => {
            let clock = world.clock_of(host);
            let mut wanted =
                AutoAssign { all_or_nothing: true, max_per_handle: Some(1), ..request(host, MACHINE, 1, 0) };
            wanted.attributes.insert("timestamp".into(), format!("{:?}", clock.now()));
            match run(world, &clock, wanted).await {
                Ok(answer) if !addresses(&answer).is_empty() => {
                    answered(world, host, MACHINE, addresses(&answer));
                }
                Ok(_) => {}
                Err(error) => world.note(format!("machine: {error}")),
            }
        }
        Op::Move { pod } => {
            if let Err(error) = move_to(world, pod).await {
                world.caller.log(format!("ERROR move: {error}"));
            }
        }
        _ => {}
    }
}

/// A pod asks for addresses.
async fn assign(world: &World, host: &str, id: &str, wanted: AutoAssign) -> Option<BTreeSet<IpAddr>> {
    world.book().pods.is_on(id, host, &[]);
    let _assigning = world.assigning(id);
    match run(world, &world.clock_of(host), wanted).await {
        Ok(answer) => {
            let got = addresses(&answer);
            world.caller.log(format!("{:?} {:?}", answer.v4.messages, answer.v4.error));
            answered(world, host, id, got.clone());
            Some(got)
        }
        Err(error) => {
            failed(world, id, error.to_string());
            None
        }
    }
}

fn failed(world: &World, id: &str, error: String) {
    world.note(format!("add: {error}"));
    world.book().failed.insert(id.to_string(), error);
}

/// Moves the machine to a pod: it becomes the alternate owner of the machine's addresses, and then the active
/// one, unless another pod has become the alternate owner meanwhile. In the end it may leave again.
async fn move_to(world: &World, name: &str) -> Result<(), String> {
    let clock = &world.clock;
    let pod = PodName { namespace: "default".to_string(), name: name.to_string() };
    let owner = [("namespace", "default"), ("pod", name)].map(|(k, v)| (k.to_string(), v.to_string()));
    let set = |active, alternate| SetOwnerAttributes { handle: handle(MACHINE), active, alternate };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let begin = set(Change::Keep, Change::Set(owner.into()));
    run(world, clock, begin).await.map_err(|error| text(&error))?;
    let end = EnsureActiveOwner { handle: handle(MACHINE), pod: pod.clone() };
    run(world, clock, end).await.map_err(|error| text(&error))?;
    let leave = set(Change::Leave(pod.clone()), Change::Leave(pod));
    run(world, clock, leave).await.map(drop).map_err(|error| text(&error))
}

/// A host sees to the address of its tunnel. That is several requests, and one may free what an earlier one
/// took, so the history only knows that something of the handle may be freed.
pub(super) async fn tunnel(world: &World, host: &str) {
    let clock = world.clock_of(host);
    let Some(id) = Tunnel::Wireguard.handle(host) else { return };
    let by = world.caller.witness.asked(Request::ReleaseHandles(vec![id]), clock.now());
    let wanted = FindTunnel { node: host.to_string(), tunnel: Tunnel::Wireguard, recorded: None };
    let store = world.caller.in_name_of(0);
    let answer = assign_tunnel(&store, &clock, wanted, world.setup.within).await;
    world.caller.witness.answered(by, Answer::Failed);
    match answer {
        Ok(addr) => world.caller.log(format!("TUNNEL {host} {addr:?}")),
        Err(error) => world.note(format!("tunnel: {error}")),
    }
}
