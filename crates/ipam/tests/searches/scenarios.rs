//! The searches whose cost is measured, each in a small cluster and in a large one. Where the large one costs
//! more, the search reads the keys or the headers of all blocks, page by page.

use ipam::{AutoAssign, Planner, ReleaseByHandle, ReleaseIps, run};
use serde_json::json;
use store::Store;
use store::testing::Counts;

use crate::world::*;

/// Requests to the store, the single records that they ask for (on Kubernetes each is a request of its own),
/// the records that they find, and writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    requests: u64,
    keys: u64,
    records: u64,
    writes: u64,
}

const fn cost(requests: u64, keys: u64, records: u64, writes: u64) -> Cost {
    Cost { requests, keys, records, writes }
}

impl From<Counts> for Cost {
    fn from(counts: Counts) -> Cost {
        cost(counts.reads + counts.commits, counts.keys, counts.records_read(), counts.writes_sent())
    }
}

/// As in the table below.
impl std::fmt::Debug for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cost({}, {}, {}, {})", self.requests, self.keys, self.records, self.writes)
    }
}

/// Requests one after the other, in a cluster of a size.
pub struct Scenario {
    pub name: &'static str,
    pub cluster: fn(u32) -> World,
    pub acts: fn(u32) -> Vec<Act>,
    /// The small size and the large one, and what each request costs there.
    pub sizes: [(u32, &'static [Cost]); 2],
}

/// A request.
pub enum Act {
    /// That must get so many addresses.
    Add(AutoAssign, usize),
    Del(&'static str),
    /// That finds so many of its addresses assigned.
    Release(Vec<ipam::ReleaseIp>, usize),
}

impl Act {
    /// Carries out the request. Then 100 seconds pass.
    pub async fn on<S: Store>(&self, store: &S, clock: &Clock) {
        match self {
            Act::Add(request, gets) => {
                let answer = go(store, clock, request.clone().planner()).await;
                assert_eq!(answer.v4.addresses.len() + answer.v6.addresses.len(), *gets, "{answer:?}");
            }
            Act::Del(id) => {
                let release = ReleaseByHandle::new(vec![handle(id)], Some("a".to_string()));
                go(store, clock, release.planner()).await;
            }
            Act::Release(ips, finds) => {
                let answer = go(store, clock, ReleaseIps::new(ips.clone()).planner()).await;
                assert_eq!(answer.released.len(), *finds, "{answer:?}");
            }
        }
        clock.advance(100);
    }
}

async fn go<S: Store, P: Planner>(store: &S, clock: &Clock, planner: P) -> P::Answer
where
    P::Error: std::fmt::Debug,
{
    run(store, clock, planner, WITHIN).await.unwrap()
}

fn add(id: &str, gets: usize) -> Act {
    Act::Add(request("a", id, 1, 0), gets)
}

fn add_v6(id: &str) -> Act {
    Act::Add(request("a", id, 0, 1), 1)
}

/// The pool of so many blocks of a size. The number is a power of 2.
fn pool_of(blocks: u32, size: u8) -> String {
    format!("10.0.0.0/{}", size - blocks.ilog2() as u8)
}

/// Of the blocks, 95 % are other hosts', and full.
fn nearly_full(blocks: u32) -> World {
    full_pool(&pool_of(blocks, 26), 26, blocks as usize / 20, 0)
}

fn full(blocks: u32) -> World {
    full_pool(&pool_of(blocks, 30), 30, 0, 0)
}

fn full_with_cooldown(blocks: u32) -> World {
    full_pool(&pool_of(blocks, 30), 30, 0, 30)
}

/// An address is asked for in vain; one is released in the middle of the pool, and borrowed once it is cold.
fn in_a_full_pool(_: u32) -> Vec<Act> {
    vec![add("h", 0), Act::Release(vec![just("10.0.8.1")], 1), add("h", 1)]
}

fn many_pools(pools: u32) -> World {
    let world = World::new();
    world.node("a", &[]);
    for n in 0..pools {
        let spec = json!({"cidr": format!("10.{}.{}.0/24", n / 250, n % 250)});
        world.pool_with(&format!("p{n:03}"), spec);
    }
    world
}

fn pool_of_ipv6(prefix: u32) -> World {
    let world = World::new();
    world.node("a", &[]);
    world.pool("six", &format!("fd00::/{prefix}"), 122);
    world
}

/// The block with room is the one that the host claimed last, as far as the blocks' order tells.
fn room_in_the_newest(blocks: u32) -> World {
    one_host(blocks, &[blocks - 1])
}

/// The block with room is neither among the first ones nor among the newest ones.
fn room_in_one_of_the_most_blocks(blocks: u32) -> World {
    let world = one_host(blocks, &[blocks / 2]);
    world.config(|config| config.max_blocks_per_host = blocks.into());
    world
}

/// A first claim reads the keys of all blocks and of all affinities, and cannot do with less. That a block
/// of its name does not exist is not enough, for a stored block of another size may cover its addresses, as
/// after a pool was made again with another block size. And a host finds a block of its own that lost its
/// affinity only as a block to which nobody has one.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the first block of a host in a pool that is 95 % full",
        cluster: nearly_full,
        acts: |_| vec![add("h", 1)],
        sizes: [(64, &[cost(3, 3, 125, 5)]), (16_384, &[cost(3, 3, 31133, 5)])],
    },
    Scenario {
        name: "a full pool",
        cluster: full,
        acts: in_a_full_pool,
        sizes: [
            (1_024, &[cost(5, 3, 3075, 0), cost(4, 3, 3, 1), cost(7, 4, 3076, 2)]),
            (16_384, &[cost(35, 3, 49155, 0), cost(4, 3, 3, 1), cost(37, 4, 49156, 2)]),
        ],
    },
    Scenario {
        name: "a full pool with cooldown",
        cluster: full_with_cooldown,
        acts: in_a_full_pool,
        sizes: [
            (1_024, &[cost(5, 3, 3075, 0), cost(4, 3, 3, 1), cost(7, 4, 3076, 2)]),
            (16_384, &[cost(35, 3, 49155, 0), cost(4, 3, 3, 1), cost(37, 4, 49156, 2)]),
        ],
    },
    Scenario {
        name: "pools that all match",
        cluster: many_pools,
        acts: |_| vec![add("h", 1), add("i", 1)],
        sizes: [(5, &[cost(3, 3, 6, 5), cost(3, 4, 8, 2)]), (500, &[cost(3, 3, 501, 5), cost(3, 4, 503, 2)])],
    },
    Scenario {
        name: "a pool of IPv6",
        cluster: pool_of_ipv6,
        acts: |_| vec![add_v6("h"), add_v6("i")],
        sizes: [(116, &[cost(3, 3, 2, 5), cost(3, 4, 4, 2)]), (48, &[cost(3, 3, 2, 5), cost(3, 4, 4, 2)])],
    },
    // Blocks of every size are looked for, as the address's pool may have had another one.
    Scenario {
        name: "a release of addresses of no block",
        cluster: |_| World::with_pool("10.0.0.0/24", 26),
        acts: |count| vec![Act::Release((0..count).map(|n| just(&format!("172.16.0.{n}"))).collect(), 0)],
        sizes: [(1, &[cost(2, 18, 1, 0)]), (100, &[cost(2, 212, 1, 0)])],
    },
    // The second pod finds no room, and the host claims another block.
    Scenario {
        name: "a host with many blocks and room in the newest",
        cluster: room_in_the_newest,
        acts: |_| vec![add("h", 1), add("i", 1), Act::Del("h"), Act::Del("h")],
        sizes: [
            (10, &[cost(3, 13, 23, 2), cost(4, 13, 43, 5), cost(3, 4, 5, 2), cost(1, 3, 3, 0)]),
            (1_000, &[cost(4, 131, 1131, 2), cost(5, 131, 3131, 5), cost(3, 4, 5, 2), cost(1, 3, 3, 0)]),
        ],
    },
    // The host may claim no other block. So all of its blocks are read, before it is told that it has no
    // room.
    Scenario {
        name: "a host with as many blocks as it may have and room in one of them",
        cluster: room_in_one_of_the_most_blocks,
        acts: |_| vec![add("h", 1)],
        sizes: [(10, &[cost(3, 13, 23, 2)]), (1_000, &[cost(5, 1003, 2003, 2)])],
    },
];
