//! Random sequences of operations, against a naive model: a set of addresses, and a queue a block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use api::{BlockCidr, Family, Key, Kind};
use ipam::{
    HandleRelease, Planner, ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, RunError, Which,
};
use proptest::prelude::*;

use crate::witness::{AnswerOf, Asks, ErrorOf, Told, Witness, stored};
use crate::world::*;

#[derive(Clone, Debug)]
enum Step {
    Auto { host: usize, handle: usize, v4: u32, v6: u32 },
    Assign { host: usize, handle: usize, addr: usize },
    Release(Vec<usize>),
    Delete(usize),
    ReleaseAffinities { host: usize, must_be_empty: bool },
    Wait(u64),
    Config { strict: bool, cooldown: i64 },
    Reserve(Vec<usize>),
}

const HOSTS: [&str; 3] = ["a", "b", "c"];
const HANDLES: [&str; 4] = ["h0", "h1", "h2", "h3"];
/// Small, so that everything is soon full: 16 + 8 IPv4 addresses, 8 IPv6 addresses.
const POOLS: [(&str, u8); 3] = [("10.0.0.0/28", 30), ("10.0.1.0/29", 31), ("fd00::/125", 126)];

fn universe() -> Vec<IpAddr> {
    let pools = POOLS.iter().map(|(pool, _)| cidr(pool));
    pools.flat_map(|pool| (0..pool.size()).map(move |n| api::cidr::offset(pool.first(), n))).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let addr = 0..universe().len();
    prop_oneof![
        6 => (0..3usize, 0..4usize, 0..6u32, 0..3u32)
            .prop_map(|(host, handle, v4, v6)| Step::Auto { host, handle, v4, v6 }),
        3 => (0..3usize, 0..4usize, addr.clone())
            .prop_map(|(host, handle, addr)| Step::Assign { host, handle, addr }),
        3 => proptest::collection::vec(addr.clone(), 1..5).prop_map(Step::Release),
        3 => (0..4usize).prop_map(Step::Delete),
        2 => (0..3usize, any::<bool>())
            .prop_map(|(host, must_be_empty)| Step::ReleaseAffinities { host, must_be_empty }),
        2 => (1..100u64).prop_map(Step::Wait),
        1 => (any::<bool>(), prop_oneof![Just(0), Just(0), Just(30)])
            .prop_map(|(strict, cooldown)| Step::Config { strict, cooldown }),
        1 => proptest::collection::vec(addr, 0..6).prop_map(Step::Reserve),
    ]
}

#[derive(Default)]
struct Model {
    assigned: BTreeMap<IpAddr, String>,
    /// When they were released; they may be assigned again when the cooldown is over, at the latest one
    /// second later.
    cooling: BTreeMap<IpAddr, u64>,
    reserved: BTreeSet<IpAddr>,
    /// The order in which a block gives its addresses, as long as nothing has cooled down.
    queues: BTreeMap<BlockCidr, VecDeque<IpAddr>>,
    has_cooled: bool,
    seconds: u64,
    cooldown: u64,
}

impl Model {
    fn queue(&mut self, block: BlockCidr) -> &mut VecDeque<IpAddr> {
        self.queues.entry(block).or_insert_with(|| (0..block.size()).filter_map(|o| block.addr(o)).collect())
    }

    fn take(&mut self, addr: IpAddr, handle: &str) {
        assert!(
            self.cooling.remove(&addr).is_none_or(|since| self.seconds >= since + self.cooldown),
            "{addr} is cooling down"
        );
        assert_eq!(self.assigned.insert(addr, handle.to_string()), None, "{addr} is given twice");
    }

    fn give_back(&mut self, mut addrs: Vec<IpAddr>) {
        addrs.sort();
        for addr in addrs {
            assert!(self.assigned.remove(&addr).is_some(), "{addr} was not assigned");
            if self.cooldown > 0 {
                self.has_cooled = true;
                self.cooling.insert(addr, self.seconds);
            } else {
                let block = block_of(addr);
                self.queue(block).push_back(addr);
            }
        }
    }
}

fn owners(world: &World) -> BTreeMap<BlockCidr, Option<std::sync::Arc<str>>> {
    world.blocks().into_iter().map(|block| (block.cidr, block.affinity)).collect()
}

fn block_of(addr: IpAddr) -> BlockCidr {
    let (_, size) = POOLS.iter().find(|(pool, _)| cidr(pool).contains(addr)).unwrap();
    BlockCidr::holding(addr, *size).unwrap()
}

/// Makes a request in sight of the witness.
fn ask<A: Asks>(world: &World, witness: &Witness, asks: A) -> Result<AnswerOf<A>, RunError<ErrorOf<A>>> {
    let store = |by| Told::of(witness, &world.store, Some(by));
    block_on(witness.run(&world.clock, asks, store))
}

fn apply(world: &World, witness: &Witness, model: &mut Model, step: &Step) {
    let all = universe();
    match step {
        Step::Auto { host, handle, v4, v6 } => {
            let before = owners(world);
            let answer = ask(world, witness, request(HOSTS[*host], HANDLES[*handle], *v4, *v6)).unwrap();
            // A block that goes from one owner to another was deleted and made anew.
            let after = owners(world);
            model.queues.retain(|block, _| before.get(block) == after.get(block));
            for family in Family::BOTH {
                let assigned = answer.family(family);
                let mut by_block: BTreeMap<BlockCidr, Vec<IpAddr>> = BTreeMap::new();
                for address in &assigned.addresses {
                    model.take(address.addr, HANDLES[*handle]);
                    by_block.entry(block_of(address.addr)).or_default().push(address.addr);
                    assert_eq!(address.prefix, block_of(address.addr).cidr().prefix());
                }
                let has_cooled = model.has_cooled;
                for (block, got) in by_block.into_iter().filter(|_| !has_cooled) {
                    let reserved = model.reserved.clone();
                    let queue = model.queue(block);
                    let first: Vec<IpAddr> =
                        queue.iter().filter(|a| !reserved.contains(a)).take(got.len()).copied().collect();
                    assert_eq!(got, first, "the queue of {block} was {queue:?}");
                    queue.retain(|addr| !got.contains(addr));
                }
            }
        }
        Step::Assign { host, handle, addr } => {
            let addr = all[*addr];
            let named = request_ip(HOSTS[*host], HANDLES[*handle], &addr.to_string());
            if let Ok(()) = ask(world, witness, named) {
                model.queue(block_of(addr)).retain(|other| *other != addr);
                model.take(addr, HANDLES[*handle]);
            }
        }
        Step::Release(addrs) => {
            let ips: Vec<ReleaseIp> =
                addrs.iter().map(|at| ReleaseIp { addr: all[*at], handle: None, sequence: None }).collect();
            let answer = ask(world, witness, ReleaseIps::new(ips.clone())).unwrap();
            let mut released = answer.released.clone();
            released.sort();
            let asked: BTreeSet<IpAddr> = ips.iter().map(|ip| ip.addr).collect();
            let wanted: Vec<IpAddr> =
                asked.iter().filter(|addr| model.assigned.contains_key(addr)).copied().collect();
            assert_eq!(released, wanted);
            assert!(answer.unallocated.iter().all(|addr| !wanted.contains(addr)));
            model.give_back(released);
        }
        Step::Delete(at) => {
            let id = HANDLES[*at];
            let held: BTreeSet<IpAddr> =
                model.assigned.iter().filter(|(_, h)| *h == id).map(|(addr, _)| *addr).collect();
            let release = ReleaseByHandle::new(vec![handle(id)], None);
            match ask(world, witness, release).unwrap().remove(0) {
                HandleRelease::NotFound | HandleRelease::Anothers(_) => assert!(held.is_empty()),
                HandleRelease::Partly(_, why) => panic!("{why}"),
                HandleRelease::Released(got) => {
                    assert_eq!(got.iter().copied().collect::<BTreeSet<_>>(), held);
                    model.give_back(got);
                }
            }
        }
        Step::ReleaseAffinities { host: name, must_be_empty } => {
            let (which, must_be_empty) = (Which::Owner(host(HOSTS[*name])), *must_be_empty);
            ask(world, witness, ReleaseAffinities { which, must_be_empty }).unwrap();
        }
        Step::Wait(seconds) => {
            world.clock.advance(*seconds);
            model.seconds += seconds;
        }
        Step::Config { strict, cooldown } => {
            world.config(|config| {
                config.strict_affinity = *strict;
                config.cooldown_seconds = *cooldown;
            });
            stored(witness, &world.store, &Key::IpamConfig);
            if *cooldown == 0 {
                model.cooling.clear();
            }
            model.cooldown = *cooldown as u64;
        }
        Step::Reserve(addrs) => {
            let texts: Vec<String> = addrs.iter().map(|at| all[*at].to_string()).collect();
            world.reserve(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            stored(witness, &world.store, &Key::global(Kind::IPReservation, "reserved"));
            model.reserved = addrs.iter().map(|at| all[*at]).collect();
        }
    }
    witness.check("the history");
    // Nothing goes wrong here, so counts are exact.
    world.check_at_rest();
    assert_eq!(world.assigned(), model.assigned);
    // Blocks that were deleted come anew, in order.
    let stored: BTreeSet<BlockCidr> = world.blocks().iter().map(|block| block.cidr).collect();
    model.queues.retain(|block, _| stored.contains(block));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_operations_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..40)) {
        let world = World::new();
        for (at, (pool, size)) in POOLS.iter().enumerate() {
            world.pool(&format!("p{at}"), pool, *size);
        }
        HOSTS.iter().for_each(|name| world.node(name, &[]));
        let (witness, mut model) = (Witness::of(&world.store.records()), Model::default());
        for step in &steps {
            apply(&world, &witness, &mut model, step);
        }
    }
}

/// A planner is a function: the same view, time and seed give the same plan, whatever the planner has planned
/// before.
#[test]
fn plans_are_deterministic() {
    use store::Store;
    let world = World::with_pool("10.0.0.0/24", 32);
    world.add("a", "h");
    let planner = || request("a", "i", 3, 0).planner();
    let now = api::Timestamp::from_second(1_785_578_500).unwrap();
    let plan_to_the_end = |mut planner: ipam::plan::auto_assign::AutoAssignPlanner, again: bool| {
        let mut view = block_on(world.store.read(&planner.reads(), WITHIN)).unwrap();
        loop {
            if again {
                planner.plan(&view, now, 7).unwrap();
            }
            match planner.plan(&view, now, 7).unwrap() {
                ipam::Plan::Fetch(set) => view.absorb(block_on(world.store.read(&set, WITHIN)).unwrap()),
                plan => return plan,
            }
        }
    };
    assert_eq!(plan_to_the_end(planner(), false), plan_to_the_end(planner(), true));
}
