//! What searches cost, as numbers. Each row is a search, in a small cluster and in a large one: where the
//! large one costs more, the search reads the keys or the headers of all blocks, page by page.

use api::{Affinity, AffinityState, BlockCidr, Key, Value};
use ipam::{AutoAssign, Planner, ReleaseByHandle, ReleaseIps, run};
use serde_json::json;
use store::testing::Counting;

use crate::world::*;

/// Requests to the store, the single records that they ask for (on Kubernetes each is a request of its own),
/// the records that they find, and writes.
#[derive(PartialEq, Eq)]
struct Cost {
    requests: u64,
    keys: u64,
    records: u64,
    writes: u64,
}

fn cost(requests: u64, keys: u64, records: u64, writes: u64) -> Cost {
    Cost { requests, keys, records, writes }
}

/// As in the tables below.
impl std::fmt::Debug for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cost({}, {}, {}, {})", self.requests, self.keys, self.records, self.writes)
    }
}

fn cost_of<P: Planner>(world: &World, planner: P) -> (P::Answer, Cost)
where
    P::Error: std::fmt::Debug,
{
    let counting = Counting::new(world.store.clone());
    let answer = block_on(run(&counting, &world.clock, planner, WITHIN)).unwrap();
    let counts = counting.counts();
    (answer, cost(counts.reads + counts.commits, counts.keys, counts.records_read(), counts.writes_sent()))
}

fn cost_of_add(world: &World, request: AutoAssign, gets: usize) -> Cost {
    let (answer, cost) = cost_of(world, request.planner());
    assert_eq!(answer.v4.addresses.len() + answer.v6.addresses.len(), gets, "{answer:?}");
    cost
}

/// Frees one address of the full cluster, in the middle.
fn free_one(world: &World, addr: &str) {
    world.run(ReleaseIps::new(vec![just(addr)]).planner()).unwrap();
    world.clock.advance(100);
}

#[test]
fn the_first_block_of_a_host_in_a_pool_that_is_95_percent_full() {
    let costs = [("10.0.0.0/20", 3), ("10.0.0.0/12", 819)]
        .map(|(pool, free)| cost_of_add(&full_pool(pool, 26, free, 0), request("a", "h", 1, 0), 1));
    assert_eq!(costs, [cost(3, 3, 125, 5), cost(3, 3, 31133, 5)]);
}

/// The last free address of 1,024 blocks and of 16,384.
#[test]
fn an_address_to_borrow_in_a_full_pool() {
    for cooldown in [0, 30] {
        let costs = [("10.0.0.0/20", "10.0.8.1"), ("10.0.0.0/16", "10.0.200.1")].map(|(pool, free)| {
            let world = full_pool(pool, 30, 0, cooldown);
            free_one(&world, free);
            cost_of_add(&world, request("a", "h", 1, 0), 1)
        });
        assert_eq!(costs, [cost(7, 4, 3076, 2), cost(37, 4, 49156, 2)], "{cooldown}");
    }
}

/// Nothing is free, and nothing cools down long enough.
#[test]
fn no_address_in_a_full_pool() {
    for cooldown in [0, 30] {
        let costs = ["10.0.0.0/20", "10.0.0.0/16"]
            .map(|pool| cost_of_add(&full_pool(pool, 30, 0, cooldown), request("a", "h", 1, 0), 0));
        assert_eq!(costs, [cost(5, 3, 3075, 0), cost(35, 3, 49155, 0)], "{cooldown}");
    }
}

#[test]
fn many_pools_that_all_match() {
    let costs = [5, 500].map(|pools| {
        let world = World::new();
        world.node("a", &[]);
        for n in 0..pools {
            let spec = json!({"cidr": format!("10.{}.{}.0/24", n / 250, n % 250)});
            world.pool_with(&format!("p{n:03}"), spec);
        }
        let first = cost_of_add(&world, request("a", "h", 1, 0), 1);
        [first, cost_of_add(&world, request("a", "i", 1, 0), 1)]
    });
    assert_eq!(costs, [[cost(3, 3, 6, 5), cost(3, 4, 8, 2)], [cost(3, 3, 501, 5), cost(3, 4, 503, 2)]]);
}

#[test]
fn a_large_pool_of_ipv6() {
    let costs = ["fd00::/116", "fd00::/48"].map(|pool| {
        let world = World::new();
        world.node("a", &[]);
        world.pool("six", pool, 122);
        let first = cost_of_add(&world, request("a", "h", 0, 1), 1);
        [first, cost_of_add(&world, request("a", "i", 0, 1), 1)]
    });
    assert_eq!(costs, [[cost(3, 3, 2, 5), cost(3, 4, 4, 2)], [cost(3, 3, 2, 5), cost(3, 4, 4, 2)]]);
}

/// Blocks of every size are looked for, as the address's pool may have had another one.
#[test]
fn a_release_of_addresses_of_no_block() {
    let costs = [1, 100].map(|count| {
        let world = World::with_pool("10.0.0.0/24", 26);
        let ips: Vec<_> = (0..count).map(|n| just(&format!("172.16.0.{n}"))).collect();
        let (answer, cost) = cost_of(&world, ReleaseIps::new(ips).planner());
        assert_eq!(answer.unallocated.len(), count);
        cost
    });
    assert_eq!(costs, [cost(2, 18, 1, 0), cost(2, 212, 1, 0)]);
}

/// Host `a` owns that many blocks, all full but for the last. Each block's addresses are one pod's.
fn one_host(blocks: u32) -> World {
    let world = World::with_pool("10.0.0.0/16", 30);
    world.config(|config| config.max_blocks_per_host = -1);
    let now = api::Timestamp::from_second(1_700_000_000).unwrap();
    for n in 0..u128::from(blocks) {
        let block = BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), n * 4), 30).unwrap();
        let mut made = ipam::block::create(block, &host("a"), None, now);
        let id = format!("pod{n}");
        let attribute = api::Attribute { handle_id: Some(id.clone()), ..Default::default() };
        let taken = if n + 1 == u128::from(blocks) { 3 } else { 4 };
        ipam::block::assign(&mut made, taken, None, &attribute.into(), &Default::default()).unwrap();
        world.store.put(Key::Block(block), Value::Block(made));
        let key = Key::Affinity { owner: host("a"), block };
        world.store.put(key, Value::Affinity(Affinity::new(AffinityState::Confirmed)));
        let counted = api::Handle { blocks: [(block, taken)].into(), deleted: false };
        world.store.put(Key::Handle(handle(&id)), Value::Handle(counted));
    }
    world
}

#[test]
fn a_host_with_many_blocks() {
    let costs = [10, 1_000].map(|blocks| {
        let world = one_host(blocks);
        let with_room = cost_of_add(&world, request("a", "h", 1, 0), 1);
        let without = cost_of_add(&world, request("a", "i", 1, 0), 1);
        let release = ReleaseByHandle::new(vec![handle("h")], Some("a".to_string()));
        let (_, released) = cost_of(&world, release.planner());
        let again = ReleaseByHandle::new(vec![handle("h")], Some("a".to_string()));
        let (_, repeated) = cost_of(&world, again.planner());
        [with_room, without, released, repeated]
    });
    // The host's own blocks are read in full, though the last of them would be enough.
    let small = [cost(3, 13, 23, 2), cost(4, 13, 43, 5), cost(3, 4, 5, 2), cost(1, 3, 3, 0)];
    let large = [cost(3, 1003, 2003, 2), cost(4, 1003, 4003, 5), cost(3, 4, 5, 2), cost(1, 3, 3, 0)];
    assert_eq!(costs, [small, large]);
}
