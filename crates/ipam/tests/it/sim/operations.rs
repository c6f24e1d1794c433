//! What the callers do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use api::{BlockCidr, Key, Kind, Use};
use ipam::invariants::{Answer, Request};
use ipam::{
    AutoAssign, ClaimAffinity, EnsureBlock, ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps,
    RemoveHost, RunError, Which,
};
use ipam::{Change, EnsureActiveOwner, PodName, SetOwnerAttributes};
use ipam::{CollectCooldowns, IdleBlock, IpsByHandle, ReleaseIdleBlocks};
use store::{Depth, Effects, ReadSet, Scope, Store};

use super::calico::Calico;
use super::stores::{Rng, Sim, give_way};
use crate::witness::{AnswerOf, Asks, ErrorOf};
use crate::world::*;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Add { host: &'static str, id: String, n: u32, all: bool },
    Tunnel { host: &'static str, id: String },
    Named { host: &'static str, id: String, addr: IpAddr },
    Del(String),
    DelSeen(String),
    Release(String),
    GiveUp { host: &'static str, empty: bool },
    DropPool,
    CalicoAdd { host: &'static str, id: String, n: u32 },
    CalicoDel(String),
    CalicoGiveUp { host: &'static str, empty: bool },
    CalicoCollect(String),
    Pool { disabled: bool },
    Wait(u64),
    Vm { host: &'static str },
    Move { pod: &'static str },
    Label { host: &'static str, no: bool },
    Cooldown(i64),
    Dual { host: &'static str, id: String },
    One { host: &'static str, block: u128, empty: bool },
    Upkeep { host: &'static str },
    Claim { host: &'static str, network: &'static str },
    Unclaim { host: &'static str, network: &'static str, empty: bool },
    Ensure { host: &'static str },
    Remove { host: &'static str },
}

#[derive(Default)]
pub(super) struct Book {
    pub answered: BTreeMap<String, BTreeSet<IpAddr>>,
    pub failed: BTreeMap<String, String>,
    pub given_up: BTreeSet<String>,
    pub errors: BTreeMap<String, u32>,
}

/// An operation on the blocks of a host.
pub(super) fn on_blocks(rng: &mut Rng, host: &'static str) -> Op {
    let network = ["10.0.0.0/28", "10.0.0.8/29", "10.0.0.4/30"][rng.below(3) as usize];
    match rng.below(4) {
        0 => Op::Claim { host, network },
        1 => Op::Unclaim { host, network, empty: rng.chance(700) },
        2 => Op::Remove { host },
        _ => Op::Ensure { host },
    }
}

/// Runs a request, in sight of the witness.
async fn run<A: Asks>(sim: &Sim, clock: &Clock, asks: A) -> Result<AnswerOf<A>, RunError<ErrorOf<A>>> {
    sim.witness.run(clock, asks, |by| Sim { request: by, ..sim.clone() }).await
}

pub(super) async fn perform(op: Op, sim: Sim, clock: Clock, book: Arc<Mutex<Book>>, world: World) {
    sim.log(format!("BEGIN {op:?}"));
    let calico = |request: Request| {
        let by = sim.witness.asked(request, &clock);
        (by, Calico { sim: Sim { lost: 0, request: by, ..sim.clone() }, clock: clock.clone(), retries: 20 })
    };
    let note = |error: String| *book.lock().unwrap().errors.entry(error).or_default() += 1;
    let pool = || {
        world
            .store
            .records()
            .iter()
            .find_map(|r| r.resource().and_then(|v| v.as_pool().ok().cloned()))
            .unwrap()
    };
    match op.clone() {
        Op::Add { .. } | Op::Tunnel { .. } => {
            let (wanted, id) = match op.clone() {
                Op::Tunnel { host, id } => {
                    (AutoAssign { intended_use: Use::Tunnel, ..request(host, &id, 1, 0) }, id)
                }
                Op::Add { host, id, n, all } => {
                    (AutoAssign { all_or_nothing: all, ..request(host, &id, n, 0) }, id)
                }
                _ => return,
            };
            match run(&sim, &clock, wanted).await {
                Ok(answer) => {
                    let got: BTreeSet<IpAddr> = answer.v4.addresses.iter().map(|a| a.addr).collect();
                    sim.log(format!("ANSWER {id} {got:?} {:?} {:?}", answer.v4.messages, answer.v4.error));
                    book.lock().unwrap().answered.insert(id, got);
                }
                Err(error) => {
                    sim.log(format!("ERROR {id} {error}"));
                    note(format!("add: {error}"));
                    book.lock().unwrap().failed.insert(id, error.to_string());
                }
            }
        }
        Op::Named { host, id, addr } => {
            match run(&sim, &clock, request_ip(host, &id, &addr.to_string())).await {
                Ok(()) => {
                    sim.log(format!("ANSWER {id} {addr}"));
                    book.lock().unwrap().answered.insert(id, [addr].into());
                }
                Err(error) => {
                    sim.log(format!("ERROR {id} {error}"));
                    book.lock().unwrap().failed.insert(id, error.to_string());
                }
            }
        }
        Op::Del(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            if let Err(error) = run(&sim, &clock, ReleaseByHandle::new(vec![handle(&id)], None)).await {
                note(format!("del: {error}"));
            }
        }
        Op::DelSeen(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            let Ok(Some(seen)) = run(&sim, &clock, IpsByHandle::new(handle(&id))).await else { return };
            sim.log(format!("SEEN {id} {seen:?}"));
            give_way().await;
            let only = ReleaseByHandle::new(Vec::new(), None).only(handle(&id), seen.assignments());
            if let Err(error) = run(&sim, &clock, only).await {
                note(format!("del seen: {error}"));
            }
        }
        Op::Release(id) => {
            let held = book.lock().unwrap().answered.get(&id).cloned().unwrap_or_default();
            book.lock().unwrap().given_up.insert(id.clone());
            let ips = held
                .iter()
                .map(|addr| ReleaseIp { addr: *addr, handle: Some(id.clone()), sequence: None })
                .collect();
            if let Err(error) = run(&sim, &clock, ReleaseIps::new(ips)).await {
                note(format!("release: {error}"));
            }
        }
        Op::GiveUp { host: name, empty } => {
            if let Err(error) =
                run(&sim, &clock, ReleaseAffinities { which: Which::Owner(host(name)), must_be_empty: empty })
                    .await
            {
                note(format!("give up: {error}"));
            }
        }
        Op::Claim { host: name, network } => {
            if let Err(error) = run(&sim, &clock, ClaimAffinity::new(cidr(network), host(name))).await {
                note(format!("claim: {error}"));
            }
        }
        Op::Unclaim { host: name, network, empty } => {
            let which = Which::OwnerWithin(host(name), cidr(network));
            let release = ReleaseAffinities { which, must_be_empty: empty };
            if let Err(error) = run(&sim, &clock, release).await {
                note(format!("unclaim: {error}"));
            }
        }
        Op::Remove { host } => {
            if let Err(error) = run(&sim, &clock, RemoveHost { host: host.to_string() }).await {
                note(format!("remove: {error}"));
            }
        }
        Op::Ensure { host } => {
            let wanted = EnsureBlock { v4: true, v6: true, ..EnsureBlock::new(host) };
            if let Err(error) = run(&sim, &clock, wanted).await {
                note(format!("ensure: {error}"));
            }
        }
        Op::DropPool => {
            if let Err(error) = run(
                &sim,
                &clock,
                ReleaseAffinities { which: Which::Within(cidr("10.0.0.0/8")), must_be_empty: false },
            )
            .await
            {
                note(format!("drop pool: {error}"));
            }
        }
        Op::CalicoAdd { host, id, n } => {
            let (by, calico) = calico(Request::Foreign(handle(&id)));
            let got: BTreeSet<IpAddr> = calico.add(host, &id, n, &pool()).await.into_iter().collect();
            sim.witness.answered(by, Answer::Holds(got.clone()));
            sim.log(format!("ANSWER (calico) {id} {got:?}"));
            book.lock().unwrap().answered.insert(id, got);
        }
        Op::CalicoDel(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            let (by, calico) = calico(Request::ReleaseHandles(vec![handle(&id)]));
            calico.del(&id).await;
            // It does not tell whether it succeeded.
            sim.witness.answered(by, Answer::Failed);
        }
        Op::CalicoGiveUp { host, empty } => {
            let (by, calico) = calico(Request::Other);
            calico.give_up(host, empty).await;
            sim.witness.answered(by, Answer::Done);
        }
        Op::CalicoCollect(id) => {
            book.lock().unwrap().given_up.insert(id.clone());
            let (by, calico) = calico(Request::ReleaseHandles(vec![handle(&id)]));
            calico.collect(&id).await;
            sim.witness.answered(by, Answer::Failed);
        }
        Op::Pool { disabled } => {
            give_way().await;
            world.pool_with(
                "pool",
                serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30, "disabled": disabled}),
            );
            sim.stored(Key::global(Kind::IPPool, "pool"));
        }
        Op::Wait(seconds) => {
            give_way().await;
            clock.advance(seconds);
        }
        Op::Vm { host } => {
            let mut wanted =
                AutoAssign { all_or_nothing: true, max_per_handle: Some(1), ..request(host, "vm", 1, 0) };
            wanted.attributes.insert("timestamp".into(), format!("{:?}", clock.now()));
            match run(&sim, &clock, wanted).await {
                Ok(answer) => {
                    let got: BTreeSet<IpAddr> = answer.v4.addresses.iter().map(|a| a.addr).collect();
                    sim.log(format!("ANSWER vm {got:?} {:?} {:?}", answer.v4.messages, answer.v4.error));
                    if !got.is_empty() {
                        book.lock().unwrap().answered.insert("vm".into(), got);
                    }
                }
                Err(error) => note(format!("vm: {error}")),
            }
        }
        Op::Move { pod } => {
            if let Err(error) = move_to(&sim, &clock, pod).await {
                sim.log(format!("MOVE {error}"));
            }
        }
        Op::Label { host, no } => {
            give_way().await;
            world.node(host, if no { &[("no", "")] } else { &[] });
            sim.stored(Key::global(Kind::Node, host));
        }
        Op::Cooldown(seconds) => {
            give_way().await;
            let strict = world
                .record(&Key::IpamConfig)
                .and_then(|r| r.ipam_config().map(|c| c.strict_affinity))
                .unwrap_or_default();
            world.config(|c| {
                c.strict_affinity = strict;
                c.cooldown_seconds = seconds;
            });
            sim.stored(Key::IpamConfig);
        }
        Op::Dual { host, id } => {
            let wanted = AutoAssign { all_or_nothing: true, ..request(host, &id, 1, 1) };
            match run(&sim, &clock, wanted).await {
                Ok(answer) => {
                    let got: BTreeSet<IpAddr> =
                        answer.v4.addresses.iter().chain(&answer.v6.addresses).map(|a| a.addr).collect();
                    sim.log(format!("ANSWER {id} {got:?} {:?} {:?}", answer.v4.messages, answer.v4.error));
                    assert!(got.is_empty() || got.len() == 2, "half of a dual-stack answer");
                    book.lock().unwrap().answered.insert(id, got);
                }
                Err(error) => {
                    sim.log(format!("ERROR {id} {error}"));
                    note(format!("add: {error}"));
                    book.lock().unwrap().failed.insert(id, error.to_string());
                }
            }
        }
        Op::Upkeep { host } => upkeep(&sim, &clock, host, note).await,
        Op::One { host: name, block, empty } => {
            let cidr = BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), block * 4), 30).unwrap();
            if let Err(error) = run(
                &sim,
                &clock,
                ReleaseAffinities { which: Which::One(host(name), cidr), must_be_empty: empty },
            )
            .await
            {
                note(format!("one: {error}"));
            }
        }
    }
    sim.log(format!("END {op:?}"));
}

/// Moves the machine to a pod: it becomes the alternate owner of the machine's addresses, and then the active
/// one, unless another pod has become the alternate owner meanwhile. In the end it may leave again.
async fn move_to(sim: &Sim, clock: &Clock, name: &str) -> Result<(), String> {
    let pod = PodName { namespace: "default".to_string(), name: name.to_string() };
    let owner = [("namespace", "default"), ("pod", name)].map(|(k, v)| (k.to_string(), v.to_string()));
    let set = |active, alternate| SetOwnerAttributes { handle: handle("vm"), active, alternate };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let begin = set(Change::Keep, Change::Set(owner.into()));
    run(sim, clock, begin).await.map_err(|error| text(&error))?;
    let end = EnsureActiveOwner { handle: handle("vm"), pod: pod.clone() };
    run(sim, clock, end).await.map_err(|error| text(&error))?;
    let leave = set(Change::Leave(pod.clone()), Change::Leave(pod));
    run(sim, clock, leave).await.map(drop).map_err(|error| text(&error))
}

/// Ends the cooldowns that are over, and gives back the host's blocks that are empty now.
async fn upkeep(sim: &Sim, clock: &Clock, host: &str, note: impl Fn(String)) {
    let blocks = Scope::Blocks { family: None };
    let set = ReadSet::new().key(Key::IpamConfig).scope(blocks, Depth::Header);
    let Ok(view) = sim.read(&set, WITHIN).await else { return };
    let idle = IdleBlock::in_view(&view, clock.now()).into_iter().filter(|(owner, _)| owner == host);
    let idle = ReleaseIdleBlocks { host: host.to_string(), blocks: idle.map(|(_, block)| block).collect() };
    for request in CollectCooldowns::in_view(&view, clock.now()) {
        if let Err(error) = run(sim, clock, request).await {
            note(format!("collect: {error}"));
        }
    }
    match run(sim, clock, idle).await {
        Ok(answer) => sim.log(format!("IDLE {answer:?}")),
        Err(error) => note(format!("idle: {error}")),
    }
}
