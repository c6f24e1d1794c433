//! One seed: what the callers do, in which order their steps come, and what must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use api::{AffinityState, Key, Kind};
use ipam::invariants::{Disagreement, Violation};

use super::operations::{Book, Op, on_blocks, perform};
use super::stores::{Mode, Rng, Shared, Sim};
use crate::witness::Witness;
use crate::world::*;

#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub mode: Mode,
    pub calico: bool,
    pub lost: u64,
    pub crash: u64,
    pub tasks: u64,
    pub pools: bool,
    pub give_up: bool,
    pub dels: bool,
    pub more: bool,
}

pub(super) const HOSTS: [&str; 3] = ["a", "b", "c"];

#[derive(Default, Debug)]
pub(super) struct Stats {
    pub soft: BTreeMap<String, u32>,
    pub errors: BTreeMap<String, u32>,
    pub lost_blocks: u32,
    pub steps: usize,
    pub crashes: u32,
}

pub(super) fn simulate(seed: u64, config: Config) -> Result<Stats, String> {
    let mut rng = Rng(seed);
    let world = World::with_pool("10.0.0.0/28", 30);
    if config.more {
        world.pool_with(
            "pool",
            serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30, "nodeSelector": "!has(no)"}),
        );
        world.pool("six", "fd00::/125", 126);
    }
    world.config(|c| c.strict_affinity = rng.chance(250));
    let shared = Arc::new(Mutex::new(Shared {
        rng: Rng(seed ^ 0x5555),
        late: vec![],
        late_transactions: vec![],
        log: vec![],
    }));
    let witness = Witness::of(&world.store);
    let sim = Sim {
        mem: world.store.clone(),
        shared: shared.clone(),
        mode: config.mode,
        lost: 0,
        who: 99,
        request: 0,
        witness: if config.mode == Mode::Etcd { witness.with_guards() } else { witness },
    };
    let book = Arc::new(Mutex::new(Book::default()));
    let mut stats = Stats::default();
    let mut ids = 0;
    let mut fresh = || {
        ids += 1;
        format!("h{ids}")
    };
    // Before: some of everything, without faults.
    let mut known: Vec<String> = Vec::new();
    for _ in 0..rng.below(4) {
        let host = HOSTS[rng.below(3) as usize];
        let id = fresh();
        let n = 1 + rng.below(4) as u32;
        let op = Op::Add { host, id: id.clone(), n, all: false };
        drive(perform(op, sim.clone(), world.clock.clone(), book.clone(), world.clone()));
        known.push(id);
        if rng.chance(300) {
            let id = known[rng.below(known.len() as u64) as usize].clone();
            drive(perform(Op::Del(id), sim.clone(), world.clock.clone(), book.clone(), world.clone()));
        }
    }
    if rng.chance(300) {
        let host = HOSTS[rng.below(3) as usize];
        drive(perform(
            Op::GiveUp { host, empty: rng.chance(500) },
            sim.clone(),
            world.clock.clone(),
            book.clone(),
            world.clone(),
        ));
    }
    if rng.chance(300) {
        // A half-done state.
        let blocks = world.blocks();
        if let Some(b) = blocks.first() {
            let name = b.owner().map_or("a".to_string(), |o| o.name().to_string());
            let state = [AffinityState::Pending, AffinityState::PendingDeletion][rng.below(2) as usize];
            world.affinity(&name, &b.cidr.to_string(), state);
            sim.stored(Key::Affinity { owner: host(&name), block: b.cidr });
        }
    }
    if rng.chance(400) {
        world.clock.advance(100);
    }
    // Scripts.
    let mut scripts: Vec<Vec<Op>> = Vec::new();
    let mut all_ids = known.clone();
    for _ in 0..config.tasks {
        let mut script = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let span = 2 + rng.below(2);
            let host = HOSTS[rng.below(span) as usize];
            let calico = config.calico && rng.chance(500);
            let op = match rng.below(if config.more { 20 } else { 12 }) {
                12 if rng.chance(400) => Op::Move { pod: host },
                12 => Op::Vm { host },
                13 => Op::Label { host, no: rng.chance(500) },
                14 => Op::Cooldown([0, 0, 1, 40][rng.below(4) as usize]),
                15 => {
                    let id = fresh();
                    all_ids.push(id.clone());
                    Op::Dual { host, id }
                }
                18 => {
                    let id = fresh();
                    all_ids.push(id.clone());
                    Op::Tunnel { host, id }
                }
                17 => Op::Upkeep { host },
                19 if config.dels && rng.chance(250) => Op::DelSeen("vm".to_string()),
                19 if !all_ids.is_empty() && config.dels => {
                    Op::DelSeen(all_ids[rng.below(all_ids.len() as u64) as usize].clone())
                }
                16 => Op::One { host, block: u128::from(rng.below(4)), empty: rng.chance(700) },
                0..=4 => {
                    let (id, n) = (fresh(), 1 + rng.below(3) as u32);
                    all_ids.push(id.clone());
                    if calico {
                        Op::CalicoAdd { host, id, n }
                    } else {
                        Op::Add { host, id, n, all: rng.chance(400) }
                    }
                }
                5 => {
                    let id = fresh();
                    all_ids.push(id.clone());
                    Op::Named { host, id, addr: api::cidr::offset(ip("10.0.0.0"), u128::from(rng.below(16))) }
                }
                6 | 7 if !all_ids.is_empty() && config.dels => {
                    let id = all_ids[rng.below(all_ids.len() as u64) as usize].clone();
                    if calico { Op::CalicoDel(id) } else { Op::Del(id) }
                }
                8 if !all_ids.is_empty() && config.dels => {
                    let id = all_ids[rng.below(all_ids.len() as u64) as usize].clone();
                    if calico { Op::CalicoCollect(id) } else { Op::Release(id) }
                }
                9 if config.give_up => {
                    let empty = rng.chance(700);
                    if calico { Op::CalicoGiveUp { host, empty } } else { Op::GiveUp { host, empty } }
                }
                10 if config.give_up => Op::DropPool,
                11 if config.pools => Op::Pool { disabled: rng.chance(500) },
                _ => Op::Wait(35),
            };
            let op = if config.more && rng.chance(200) { on_blocks(&mut rng, host) } else { op };
            script.push(op);
        }
        scripts.push(script);
    }
    // Ids whose request may have been cut off.
    let crash_at: Vec<Option<u64>> =
        scripts.iter().map(|_| rng.chance(config.crash).then(|| rng.below(40))).collect();
    let mut tasks: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>> = scripts
        .iter()
        .enumerate()
        .map(|(who, script)| {
            let (script, sim, clock, book, world) = (
                script.clone(),
                Sim { lost: config.lost, who, ..sim.clone() },
                world.clock.clone(),
                book.clone(),
                world.clone(),
            );
            let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                for op in script {
                    perform(op, sim.clone(), clock.clone(), book.clone(), world.clone()).await;
                }
            });
            Some(task)
        })
        .collect();
    let mut done: Vec<u64> = vec![0; tasks.len()];
    let mut crashed = BTreeSet::new();
    let fail = |what: String| {
        let shared = shared.lock().unwrap();
        Err(format!("seed {seed} {config:?}: {what}\nscripts {scripts:#?}\n{}\n", shared.log.join("\n")))
    };
    while tasks.iter().any(Option::is_some) {
        stats.steps += 1;
        if stats.steps > 20_000 {
            return fail("livelock".to_string());
        }
        let alive: Vec<usize> = (0..tasks.len()).filter(|i| tasks[*i].is_some()).collect();
        // Runs of one, now and then.
        let at = alive[rng.below(alive.len() as u64) as usize];
        if crash_at[at].is_some_and(|n| done[at] >= n) {
            tasks[at] = None;
            crashed.insert(at);
            stats.crashes += 1;
            shared.lock().unwrap().log.push(format!("{at}: CRASH"));
            continue;
        }
        done[at] += 1;
        if let Some(task) = &mut tasks[at]
            && task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            tasks[at] = None;
        }
        if rng.chance(200) {
            let late = shared.lock().unwrap().late.pop();
            if let Some((by, write)) = late {
                sim.apply(by, write);
            }
            let late = shared.lock().unwrap().late_transactions.pop();
            if let Some((by, writes)) = late {
                sim.land(by, writes);
            }
        }
        if let Some(what) = wrong(&world, &sim.witness, &mut stats) {
            return fail(what);
        }
    }
    let late = std::mem::take(&mut shared.lock().unwrap().late);
    for (by, write) in late {
        if rng.chance(500) {
            sim.apply(by, write);
        }
    }
    let late = std::mem::take(&mut shared.lock().unwrap().late_transactions);
    for (by, writes) in late {
        sim.land(by, writes);
    }
    if let Some(what) = wrong(&world, &sim.witness, &mut stats) {
        return fail(format!("at the end: {what}"));
    }
    for (error, n) in &book.lock().unwrap().errors {
        *stats.errors.entry(error.clone()).or_default() += n;
    }
    // Requests that failed hold nothing, where nothing was lost.
    if config.lost == 0 {
        let mut left = sim.witness.left_by_failed();
        // Calico's release of a handle can leave a count.
        let is_count = |v: &Violation| matches!(v, Violation::HeldAfterFailure { held: 0, .. });
        left.retain(|violation| !config.calico || !is_count(violation));
        if let Some(violation) = left.first() {
            return fail(violation.to_string());
        }
    }
    if let Some(violation) = sim.witness.lost(&world.store.records()).first() {
        return fail(violation.to_string());
    }
    {
        let book = book.lock().unwrap();
        for (id, error) in &book.failed {
            if error.contains("was released while") && !book.given_up.contains(id) {
                return fail(format!("nobody released {id}, and yet: overtaken"));
            }
        }
    }
    // Exactness where nothing goes wrong.
    let out_of_time = book.lock().unwrap().errors.keys().any(|e| e.contains("finish within"));
    if config.lost == 0 && crashed.is_empty() && !config.calico && !out_of_time {
        let exact = ipam::invariants::check_at_rest(&world.store.records(), None);
        if let Some(violation) = exact.iter().find(|v| !is_affinity(v)) {
            return fail(violation.to_string());
        }
    }
    // Everybody heals: one request each of the hosts, then all is released.
    world.pool_with("pool", serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30}));
    sim.stored(Key::global(Kind::IPPool, "pool"));
    let lost_now = lost_blocks(&world);
    stats.lost_blocks += lost_now;
    if lost_now > 0 && config.lost == 0 && crashed.is_empty() && std::env::var_os("SIM_LOST").is_some() {
        return fail(format!(
            "lost block: {:?} {:?}",
            world.affinities(),
            world.blocks().iter().map(|b| (b.cidr, b.affinity.clone())).collect::<Vec<_>>()
        ));
    }
    if lost_now > 0 && config.lost == 0 && crashed.is_empty() {
        *stats.soft.entry("a lost block without crash or lost reply".into()).or_default() += 1;
    }
    if config.more {
        all_ids.push("vm".into());
        world.config(|_| {});
        sim.stored(Key::IpamConfig);
        world.clock.advance(1000);
    }
    all_ids.sort();
    all_ids.dedup();
    for id in &all_ids {
        drive(perform(Op::Del(id.clone()), sim.clone(), world.clock.clone(), book.clone(), world.clone()));
        if world.handle(id).is_some() {
            return fail(format!("the handle of {id} is still there"));
        }
    }
    if !world.assigned().is_empty() {
        return fail(format!("leaked: {:?}", world.assigned()));
    }
    for host_name in HOSTS {
        drive(perform(
            Op::GiveUp { host: host_name, empty: false },
            sim.clone(),
            world.clock.clone(),
            book.clone(),
            world.clone(),
        ));
    }
    if !world.affinities().is_empty() {
        return fail(format!("affinities left: {:?}", world.affinities()));
    }
    let nobodys = world.blocks().iter().filter(|b| b.affinity.is_none()).count() as u32;
    if nobodys > 0 {
        *stats.soft.entry("an empty block of nobody is left".into()).or_default() += nobodys;
    }
    if world.blocks().len() as u32 > lost_now + nobodys {
        return fail(format!(
            "blocks left: {:?}",
            world.blocks().iter().map(|b| (b.cidr, b.affinity.clone())).collect::<Vec<_>>()
        ));
    }
    if let Some(violation) = sim.witness.left_by_failed().first() {
        return fail(format!("after healing: {violation}"));
    }
    match wrong(&world, &sim.witness, &mut stats) {
        Some(what) => fail(format!("after healing: {what}")),
        None => Ok(stats),
    }
}

fn is_affinity(violation: &Violation) -> bool {
    matches!(violation, Violation::Affinity { .. } | Violation::LostBlock { .. })
}

/// Blocks whose owner has no affinity to them.
fn lost_blocks(world: &World) -> u32 {
    let violations = ipam::invariants::check(&world.store.records(), None);
    violations.iter().filter(|violation| matches!(violation, Violation::LostBlock { .. })).count() as u32
}

fn wrong(world: &World, witness: &Witness, stats: &mut Stats) -> Option<String> {
    if let Some(violation) = witness.told().first() {
        return Some(violation.to_string());
    }
    let records = world.store.records();
    for violation in ipam::invariants::check(&records, None) {
        let what = match &violation {
            Violation::Affinity { found: Disagreement::NoBlock, .. } => "no such block",
            Violation::Affinity { found: Disagreement::Nobodys, .. } => "nobody's",
            Violation::Affinity { found: Disagreement::Anothers(_), .. } => "is affine to host",
            Violation::LostBlock { .. } => "no affinity to it",
            _ => return Some(violation.to_string()),
        };
        if std::env::var("SIM_SOFT").is_ok_and(|soft| soft == what) {
            return Some(format!("soft {what}: {violation}"));
        }
        *stats.soft.entry(what.to_string()).or_default() += 1;
    }
    let assigned = world.assigned();
    let vm = assigned.values().filter(|id| *id == "vm").count();
    if vm > 1 {
        return Some(format!("vm holds {vm}"));
    }
    None
}

pub(super) fn drive(future: impl Future<Output = ()>) {
    let mut future = Box::pin(future);
    for _ in 0..100_000 {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    panic!("it does not end");
}
