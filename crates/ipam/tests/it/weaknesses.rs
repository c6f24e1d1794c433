//! Weaknesses of Calico's allocator, each with what this one does instead, or with the reason for which it
//! does the same. Further ones are named where their tests stand: in `affinities.rs`, `block_tests.rs`,
//! `damage.rs`, `lost.rs`, `owners.rs`, `races.rs`, `reads.rs`, `release.rs` and `scale.rs`, and in the
//! crates `store`, `setup`, `resources` and `calico-ipam`.

use std::sync::atomic::{AtomicUsize, Ordering};

use api::{AffinityState, BlockCidr, Key, Kind, Owner, Use, Value};
use ipam::{AutoAssign, AutoAssignError, HostReserved, ReleaseIp, Which, run, usage};
use serde_json::json;
use store::testing::{Counting, FaultPlan, Faulty, RecordType, Step};
use store::{Effects, MemoryStore, Store};

use crate::world::*;

/// Does something before a write: the first time only, or every time.
fn before(world: &World, write: usize, times: usize, what: fn(&World)) -> Faulty<MemoryStore> {
    let count = AtomicUsize::new(0);
    stepped(world, FaultPlan::one_by_one(), move |world, step| {
        if step == Step::BeforeWrite(write) && count.fetch_add(1, Ordering::Relaxed) < times {
            what(world);
        }
    })
}

fn load_balancer(id: &str) -> AutoAssign {
    AutoAssign { intended_use: Use::LoadBalancer, ..request("a", id, 1, 0) }
}

fn for_services() -> World {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool_with(
        "services",
        json!({"cidr": "10.1.0.0/28", "blockSize": 30, "allowedUses": ["LoadBalancer"]}),
    );
    world
}

/// A request that wants more addresses of a block than the block has: Calico counts all wanted ones in the
/// handle, which then never reaches zero and is never deleted. Here a handle counts what it holds.
#[test]
fn a_handle_that_counts_more_than_it_got() {
    let world = World::with_pool("10.0.0.0/29", 30);
    world.auto(request("a", "other", 3, 0));
    let got = world.auto(request("a", "h", 9, 0));
    assert_eq!(got.v4.addresses.len(), 5);
    let counted: Vec<u32> = world.handle("h").unwrap().blocks.into_values().collect();
    assert_eq!((counted.iter().sum::<u32>(), counted.len()), (5, 2), "{counted:?}");
    world.check_at_rest();
    world.del("h");
    assert_eq!((world.handle("h"), world.handles()), (None, 1));
}

/// A request for one address that loses its block to another host: Calico compares the error with a pointer
/// type, which it never is, and fails. Here the address is borrowed from the block's new owner.
#[test]
fn a_named_address_whose_block_another_host_has_just_claimed() {
    for write in 0..3 {
        let world = World::with_pool("10.0.0.0/28", 30);
        let store =
            before(&world, write, 1, |w| w.run(request_ip("b", "thief", "10.0.0.6").planner()).unwrap());
        let wanted = request_ip("a", "h", "10.0.0.5").planner();
        block_on(run(&store, &world.clock, wanted, WITHIN)).unwrap();
        assert_eq!(world.assigned().len(), 2, "before write {write}");
        assert_eq!(world.blocks().len(), 1, "before write {write}");
        world.check();
    }
}

/// A block that has no room for the addresses that a Windows host keeps for itself: Calico leaves out pools
/// of such blocks only if the request names pools, and crashes else. Here they are left out in both cases.
#[test]
fn a_block_without_room_for_what_a_host_keeps_for_itself() {
    let reserved = HostReserved {
        at_start: 3,
        at_end: 1,
        handle: ipam::block::WINDOWS_RESERVED_HANDLE.into(),
        note: String::new(),
    };
    let windows = |id: &str, pools: &[&str]| AutoAssign {
        host_reserved: Some(reserved.clone()),
        v4_pools: pools.iter().map(|text| cidr(text)).collect(),
        ..request("a", id, 1, 0)
    };
    for size in [32, 31] {
        let world = World::with_pool("10.0.0.0/28", size);
        for pools in [&[][..], &["10.0.0.0/28"]] {
            let answer = world.auto(windows("h", pools));
            assert_eq!(answer.v4.error.unwrap().to_string(), "cannot find a qualified ippool", "{size}");
        }
        assert!(world.blocks().is_empty() && world.affinities().is_empty());
        world.pool("large", "10.1.0.0/24", 26);
        assert_eq!(world.auto(windows("h", &[])).v4.addresses[0].prefix, 26);
    }
}

/// The empty blocks of load balancers: Calico's release by handle means to delete them, in a loop that is
/// reached only after 100 conflicts and then crashes. So they stay, and here they stay on purpose, as those
/// of hosts do: the next service takes from the block, and a release of affinities deletes it.
#[test]
fn an_empty_block_of_load_balancers() {
    let world = for_services();
    let first = world.auto(load_balancer("s")).v4.addresses[0].addr;
    world.del("s");
    assert_eq!(world.affinities().len(), 1);
    let second = world.auto(load_balancer("t")).v4.addresses[0].addr;
    assert_eq!((world.blocks().len(), first != second), (1, true));
    world.del("t");
    world.release_affinities(Which::Owner(Owner::load_balancer()), true);
    assert!(world.blocks().is_empty() && world.affinities().is_empty());
}

/// Addresses of both families that are in no pool any more: Calico looks for all of them among the blocks of
/// the first one's family, and says of the others that they were not assigned. Here all are released.
#[test]
fn addresses_of_both_families_in_no_pool() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("six", "fd00::/124", 126);
    let answer = world.auto(request("a", "h", 2, 2));
    for pool in ["pool", "six"] {
        world.delete(Key::global(Kind::IPPool, pool));
    }
    let all = answer.v4.addresses.iter().chain(&answer.v6.addresses);
    let ips = all.map(|address| ReleaseIp { addr: address.addr, handle: None, sequence: None }).collect();
    let answer = world.release(ips);
    assert_eq!((answer.released.len(), answer.unallocated, answer.error), (4, vec![], None));
    assert_eq!((world.assigned().len(), world.handles()), (0, 0));
}

/// The affinities of load balancers when their pool is deleted: in etcd Calico lists those of hosts only, and
/// leaves these behind. Here all affinities in the pool's network go.
#[test]
fn the_affinities_of_load_balancers_in_a_deleted_pool() {
    let world = for_services();
    world.auto(load_balancer("s"));
    world.add("a", "h");
    world.release_affinities(Which::Within(cidr("10.1.0.0/28")), false);
    let left = world.affinities();
    assert!(left.len() == 1 && left[0].starts_with("a 10.0.0."), "{left:?}");
}

/// What `ipam show` tells: Calico leaves out IPv6 blocks of no pool; here they are orphans as IPv4 blocks
/// are. An address whose cooldown is over counts as in use until its block is written, as in Calico, because
/// until then it is stored so; but it is told that it cools down.
#[test]
fn usage_of_orphans_and_of_what_has_cooled_down() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("six", "fd00::/124", 126);
    world.config(|config| config.cooldown_seconds = 30);
    world.auto(request("a", "h", 1, 1));
    world.delete(Key::global(Kind::IPPool, "six"));
    world.release(vec![just(&world.assigned().into_keys().next().unwrap().to_string())]);
    world.clock.advance(100);
    let cluster = usage::pools(&block_on(world.store.read(&usage::reads(), WITHIN)).unwrap());
    let orphans: Vec<_> = cluster.orphans.iter().map(|block| block.cidr.cidr().prefix()).collect();
    assert_eq!(orphans, [126]);
    let in_use =
        |cluster: &usage::ClusterUsage| (cluster.pools[0].usage.in_use, cluster.pools[0].usage.cooling);
    assert_eq!(in_use(&cluster), (1, 1));
    world.add("a", "i");
    let cluster = usage::pools(&block_on(world.store.read(&usage::reads(), WITHIN)).unwrap());
    assert_eq!(in_use(&cluster), (1, 0));
}

/// The mask of an address that a limited handle held already: Calico gives that of a single address, where
/// the first answer had the block's. Here it is so, too: plugins write single addresses in either case, and
/// the block is not read for it.
#[test]
fn the_mask_of_what_a_limited_handle_held() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let limited = || AutoAssign { max_per_handle: Some(1), ..request("a", "vm", 1, 0) };
    let [first, second] = [(); 2].map(|()| world.auto(limited()).v4.addresses[0]);
    assert_eq!((first.addr, first.prefix, second.prefix), (second.addr, 26, 32));
}

/// A block in use that is nobody's: neither Calico nor this allocator gives it an owner again, as its
/// addresses are others'. Addresses are borrowed from it where affinity is not strict, and it goes with its
/// last one.
#[test]
fn nobodys_block_in_use() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.add("a", "h");
    world.release_affinities(Which::Owner(host("a")), false);
    world.add("a", "i");
    assert_eq!((world.affinities().len(), world.blocks()[0].affinity.clone()), (0, None));
    world.del("h");
    world.del("i");
    assert!(world.blocks().is_empty());
}

/// Calico's release by address renews the sequence number of an address that cools down, its release by
/// handle does not. Records are the same here. Nothing rests on it: a stale release frees no address that is
/// cooling down, and none that was assigned again, for that renews the number in either case.
#[test]
fn the_sequence_number_of_what_cools_down() {
    for by_handle in [false, true] {
        let world = World::with_pool("10.0.0.0/30", 30);
        world.config(|config| config.cooldown_seconds = 30);
        world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
        let sequence = || world.blocks()[0].sequence_of(1);
        let old = sequence();
        let stale = || world.release(vec![ReleaseIp { sequence: Some(old), ..just("10.0.0.1") }]);
        if by_handle {
            world.del("h");
        } else {
            world.release(vec![just("10.0.0.1")]);
        }
        assert_eq!(sequence() == old, by_handle);
        assert!(stale().released.is_empty());
        world.clock.advance(100);
        world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
        assert_ne!(sequence(), old);
        assert!(stale().error.is_some());
        assert_eq!(world.assigned().len(), 1);
    }
}

/// The age of an empty block is told by the clocks of two hosts, here as in Calico, since only the claim's
/// time is stored. A clock that is fast keeps others from the block for as long; it never gives a block in
/// use away.
#[test]
fn a_block_that_was_claimed_in_the_future() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.config(|config| config.strict_affinity = true);
    world.clock.advance(3_600);
    world.add("a", "h");
    world.del("h");
    let slow = World { clock: Clock::new(1), ..world.clone() };
    for (wait, got) in [(0, 0), (3_600, 0), (120, 1)] {
        slow.clock.advance(wait);
        assert_eq!(slow.auto(request("b", "i", 1, 0)).v4.addresses.len(), got, "{wait} seconds later");
    }
}

/// A handle that has an address of one family and wants one of the other: Calico's controller of load
/// balancers takes the IPv4 address for an IPv6 one, too, and wants no more. Here families are counted apart.
#[test]
fn an_ipv4_address_is_no_ipv6_address() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("six", "fd00::/124", 126);
    let limited = |v4, v6| AutoAssign { max_per_handle: Some(1), ..request("a", "h", v4, v6) };
    let first = world.auto(limited(1, 0));
    let both = world.auto(limited(1, 1));
    assert_eq!(both.v4.addresses[0].addr, first.v4.addresses[0].addr);
    assert_eq!((both.v6.addresses.len(), both.v6.error), (1, None));
}

/// Interfaces of a Node with an address that is none: Calico drops them from the list while it walks through
/// it, and so drops others, too, or reads past its end. Here the allocator reads of a Node its labels only.
#[test]
fn a_node_with_interfaces_that_have_no_address() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let interfaces =
        json!([{"name": "a", "addresses": ["x", "y"]}, {"name": "b", "addresses": ["10.0.0.1"]}]);
    world.resource(Kind::Node, "a", json!({"interfaces": interfaces}), &[]);
    world.add("a", "h");
    let stored = world.record(&Key::global(Kind::Node, "a")).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored.value.to_stored_text()).unwrap();
    assert_eq!(stored["spec"]["interfaces"], interfaces);
}

/// Two requests of one host that begin at once: in Calico they may claim two blocks, which only the lock of
/// its plugin hides. Here both begin at the same block, and who comes second finds the first one's.
#[test]
fn two_first_requests_of_one_host_claim_one_block() {
    for write in 0..5 {
        let world = World::with_pool("10.0.0.0/24", 26);
        let store = before(&world, write, 1, |w| drop(w.run(request("a", "i", 1, 0).planner()).unwrap()));
        block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
        assert_eq!((world.assigned().len(), world.blocks().len()), (2, 1), "before write {write}");
        world.check();
    }
}

/// The limit of blocks for each host holds for the pools of the request, and a host at its limit does not
/// borrow, even if affinity is not strict. Both are Calico's rules, and users rely on them.
#[test]
fn what_the_limit_of_blocks_covers() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("other", "10.1.0.0/28", 30);
    let pools = ["10.0.0.0/28", "10.1.0.0/28"];
    world.auto(AutoAssign { v4_pools: vec![cidr(pools[0])], ..request("b", "b", 1, 0) });
    let of = |id: &str, pool: &str, n| AutoAssign {
        max_blocks_per_host: 1,
        v4_pools: vec![cidr(pool)],
        ..request("a", id, n, 0)
    };
    assert_eq!(world.auto(of("h", pools[0], 4)).v4.addresses.len(), 4);
    assert_eq!(world.auto(of("i", pools[1], 4)).v4.addresses.len(), 4, "another pool's blocks do not count");
    let answer = world.auto(of("j", pools[0], 1));
    assert_eq!((answer.v4.addresses.len(), answer.v4.error), (0, Some(AutoAssignError::BlockLimit)));
}

/// Somebody writes the block before each of a request's attempts. Calico tries a hundred times at once; here
/// a request waits longer and longer, at random, and in the end takes back what it counted.
#[test]
fn a_request_that_is_always_too_late() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.add("a", "other");
    let store = before(&world, 1, usize::MAX, |w| {
        let mut block = w.blocks().remove(0);
        ipam::block::bump(&mut block);
        w.store.put(Key::Block(block.cidr), Value::Block(block));
    });
    let counting = Counting::new(store);
    let start = world.clock.elapsed();
    let answer = block_on(run(&counting, &world.clock, request("a", "h", 1, 0).planner(), WITHIN));
    let waited = world.clock.elapsed() - start;
    assert!(answer.is_err(), "{answer:?}");
    assert!(counting.counts().commits <= 110, "{:?}", counting.counts());
    assert!((1..=90).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!((world.assigned().len(), world.handle("h")), (1, None));
    world.check_at_rest();
}

/// Each address has attributes of its own, with the time of its request, so a block grows with every address,
/// and each write of it is as long. The records are Calico's, so that stays. Addresses of one request share
/// their attributes, and a released address leaves nothing behind.
#[test]
fn how_long_the_record_of_a_block_is() {
    let world = World::with_pool("10.0.0.0/26", 26);
    let length =
        || world.record(&Key::Block(block_cidr("10.0.0.0/26"))).unwrap().value.to_stored_text().len();
    world.add("a", "h");
    let one = length();
    for at in 0..62 {
        let mut request = request("a", &format!("k8s-pod-network.{at:064}"), 1, 0);
        let time = "2026-08-01 10:00:03.123456789 +0000 UTC".to_string();
        request.attributes.insert("timestamp".to_string(), time);
        world.auto(request);
    }
    let full = length();
    assert!((full - one) / 62 < 400, "{} bytes an address", (full - one) / 62);
    for at in 0..62 {
        world.del(&format!("k8s-pod-network.{at:064}"));
    }
    assert!(length() <= one + 10, "{} {one}", length());
    world.auto(request("a", "many", 62, 0));
    assert_eq!(world.blocks()[0].attributes.len(), 2);
}

/// Calico lists the blocks of both families and of all hosts. Here a request reads nothing of a family that
/// it does not want.
#[test]
fn blocks_of_the_other_family_are_not_read() {
    let [few, many] = [0, 50].map(|others| {
        let world = World::with_pool("10.0.0.0/24", 26);
        let now = world.clock.now();
        for at in 0..others {
            let block = BlockCidr::holding(api::cidr::offset(ip("fd00::"), at * 64), 122).unwrap();
            let owner = host(&format!("node{at}"));
            world.store.put(Key::Block(block), Value::Block(ipam::block::create(block, &owner, None, now)));
            let affinity = Value::Affinity(api::Affinity::new(AffinityState::Confirmed));
            world.store.put(Key::Affinity { owner, block }, affinity);
        }
        let counting = Counting::new(world.store.clone());
        let wanted = request_ip("a", "named", "10.0.0.1");
        block_on(run(&counting, &world.clock, request("b", "h", 1, 0).planner(), WITHIN)).unwrap();
        block_on(run(&counting, &world.clock, wanted.planner(), WITHIN)).unwrap();
        counting.counts()
    });
    assert_eq!(few.records.get(&RecordType::Block), many.records.get(&RecordType::Block));
    assert_eq!(few.records.get(&RecordType::Affinity), many.records.get(&RecordType::Affinity));
    assert_eq!(few.reads, many.reads);
}
