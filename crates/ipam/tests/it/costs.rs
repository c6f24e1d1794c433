//! What searches cost, as numbers. Each row is a search, in a small cluster and in a large one: where the
//! large one costs more, the search reads the keys or the headers of all blocks, page by page.

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

#[test]
fn a_host_with_many_blocks() {
    let costs = [10, 1_000].map(|blocks| {
        // All are full but for the newest.
        let world = one_host(blocks, &[blocks - 1]);
        let with_room = cost_of_add(&world, request("a", "h", 1, 0), 1);
        let without = cost_of_add(&world, request("a", "i", 1, 0), 1);
        let release = ReleaseByHandle::new(vec![handle("h")], Some("a".to_string()));
        let (_, released) = cost_of(&world, release.planner());
        let again = ReleaseByHandle::new(vec![handle("h")], Some("a".to_string()));
        let (_, repeated) = cost_of(&world, again.planner());
        [with_room, without, released, repeated]
    });
    // The first blocks in order are read, then the newest ones and some others.
    let small = [cost(3, 13, 23, 2), cost(4, 13, 43, 5), cost(3, 4, 5, 2), cost(1, 3, 3, 0)];
    let large = [cost(4, 131, 1131, 2), cost(5, 131, 3131, 5), cost(3, 4, 5, 2), cost(1, 3, 3, 0)];
    assert_eq!(costs, [small, large]);
}
