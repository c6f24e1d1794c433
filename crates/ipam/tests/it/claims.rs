//! Claiming the blocks of a network, and making sure that a host has a block.

use std::net::IpAddr;

use api::{AffinityState, Cidr, Owner};
use ipam::{
    ClaimAffinity, ClaimedAffinities, EnsureBlock, EnsureBlockError, EnsuredBlocks, HostReserved,
    ReleaseAffinities, Which,
};
use serde_json::json;
use store::testing::Counting;

use crate::world::*;

/// The handle by which a Windows host marks what it keeps for itself.
const WINDOWS: &str = "windows-reserved-ipam-handle";

fn claim(world: &World, network: &str, name: &str) -> Result<ClaimedAffinities, String> {
    let claim = ClaimAffinity::new(cidr(network), host(name));
    let answer = world.run(claim.planner()).map_err(|error| error.to_string());
    world.check_at_rest();
    answer
}

/// How many blocks are claimed, and how many are not.
fn counts(world: &World, network: &str, name: &str) -> (usize, usize) {
    let answer = claim(world, network, name).unwrap();
    assert_eq!(answer.next, None);
    (answer.claimed.len(), answer.failed.len())
}

fn ensure(world: &World, request: EnsureBlock) -> Result<EnsuredBlocks, String> {
    let answer = world.run(request.planner()).map_err(|error| error.to_string());
    world.check_at_rest();
    answer
}

fn v4(name: &str) -> EnsureBlock {
    EnsureBlock { v4: true, ..EnsureBlock::new(name) }
}

/// The rows of Calico's suite. Each row: the network, an address that another host has, how many of the
/// blocks are claimed, and how many are not.
#[test]
fn all_blocks_of_a_network() {
    for (network, taken, claimed, failed) in [
        ("10.0.0.0/26", None, 1, 0),
        ("10.0.0.0/24", None, 4, 0),
        ("10.0.0.0/24", Some("10.0.0.64"), 3, 1),
        ("10.0.0.128/25", Some("10.0.0.64"), 2, 0),
        ("10.0.0.64/26", Some("10.0.0.64"), 0, 1),
    ] {
        let world = World::with_pool("10.0.0.0/16", 26);
        if let Some(addr) = taken {
            world.assign(request_ip("b", "h", addr)).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(counts(&world, network, "a"), (claimed, failed), "{network} {taken:?}");
        }
        let mine = world.affinities().into_iter().filter(|text| text.starts_with("a "));
        assert!(mine.clone().all(|text| text.ends_with("Confirmed")));
        assert_eq!(mine.count(), claimed, "{network} {taken:?}");
    }
}

#[test]
fn another_hosts_network_stays_its_own() {
    let world = World::with_pool("10.0.0.0/24", 26);
    assert_eq!(counts(&world, "10.0.0.0/24", "b"), (4, 0));
    assert_eq!(counts(&world, "10.0.0.0/24", "a"), (0, 4));
    assert!(world.affinities().iter().all(|text| text.starts_with("b ")));
}

#[test]
fn a_network_of_no_pool_or_of_less_than_a_block_is_refused() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool_with("off", json!({"cidr": "10.1.0.0/24", "blockSize": 26, "disabled": true}));
    world.pool("six", "fd00::/120", 122);
    let nowhere =
        |network: &str| format!("The requested CIDR ({network}) is not within any configured pools.");
    let too_small = |network: &str| format!("The requested CIDR ({network}) is smaller than the minimum.");
    for (network, wanted) in [
        ("10.0.0.0/27", too_small("10.0.0.0/27")),
        ("fd00::/123", too_small("fd00::/123")),
        ("10.0.1.0/26", nowhere("10.0.1.0/26")),
        ("10.1.0.0/26", nowhere("10.1.0.0/26")),
        // Its first address lies in the pool.
        ("10.0.0.0/23", nowhere("10.0.0.0/23")),
    ] {
        assert_eq!(claim(&world, network, "a").unwrap_err(), wanted);
    }
    assert_eq!(
        claim(&world, "10.0.0.0/24", "").unwrap_err(),
        "Hostname must be specified to claim block affinity"
    );
    assert_eq!((world.affinities().len(), world.blocks().len()), (0, 0));
    assert_eq!(counts(&world, "fd00::/121", "a"), (2, 0));
}

/// Neither selectors nor limits nor reservations nor strict affinity play a part, and services own blocks as
/// hosts do.
#[test]
fn a_claim_asks_no_rule_of_allocation() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool_with("pool", json!({"cidr": "10.0.0.0/24", "blockSize": 26, "nodeSelector": "has(x)"}));
    world.reserve(&["10.0.0.0/25"]);
    world.config(|config| {
        config.strict_affinity = true;
        config.max_blocks_per_host = 1;
    });
    let services = ClaimAffinity::new(cidr("10.0.0.0/25"), Owner::load_balancer());
    assert_eq!(world.run(services.planner()).unwrap().claimed.len(), 2);
    assert_eq!(counts(&world, "10.0.0.0/24", "a"), (2, 2));
}

/// Claims that stopped half-way are finished, stale affinities go, nobody's block is taken over when it is
/// empty.
#[test]
fn every_block_that_is_met_is_healed() {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    for state in [Confirmed, Pending, PendingDeletion] {
        let world = World::with_pool("10.0.0.0/28", 30);
        // Mine, half given up.
        world.assign(request_ip("a", "mine", "10.0.0.1")).unwrap();
        world.affinity("a", "10.0.0.0/30", PendingDeletion);
        // Another's.
        world.assign(request_ip("b", "theirs", "10.0.0.5")).unwrap();
        world.affinity("a", "10.0.0.4/30", state);
        // Nobody's, and empty.
        let now = store::Effects::now(&world.clock);
        let mut block = ipam::block::create(block_cidr("10.0.0.8/30"), &host("b"), None, now);
        ipam::block::disown(&mut block);
        world.store.put(api::Key::Block(block.cidr), api::Value::Block(block));
        world.affinity("a", "10.0.0.8/30", state);
        let answer = claim(&world, "10.0.0.0/28", "a").unwrap();
        assert_eq!(
            answer.claimed,
            ["10.0.0.0/30", "10.0.0.8/30", "10.0.0.12/30"].map(block_cidr),
            "{state:?}"
        );
        assert_eq!(answer.failed, [block_cidr("10.0.0.4/30")], "{state:?}");
        let all = ["a 10.0.0.0/30", "a 10.0.0.8/30", "a 10.0.0.12/30", "b 10.0.0.4/30"];
        assert_eq!(world.affinities(), all.map(|text| format!("{text} Confirmed")), "{state:?}");
    }
    // In use without an owner.
    let world = World::with_pool("10.0.0.0/30", 30);
    world.add("b", "h");
    world.release_affinities(Which::Owner(host("b")), false);
    assert_eq!(counts(&world, "10.0.0.0/30", "a"), (0, 1));
    world.del("h");
    assert_eq!(counts(&world, "10.0.0.0/30", "a"), (1, 0));
}

/// The pool was created again with another block size.
#[test]
fn no_block_is_created_across_one_of_another_size() {
    let world = World::with_pool("10.0.0.0/28", 31);
    world.add("b", "h");
    let block = world.blocks()[0].cidr;
    world.pool("pool", "10.0.0.0/28", 30);
    let wide = api::BlockCidr::holding(block.cidr().first(), 30).unwrap();
    world.affinity("a", &wide.to_string(), AffinityState::Pending);
    let answer = world.run(ClaimAffinity::new(cidr("10.0.0.0/28"), host("a")).planner()).unwrap();
    assert_eq!((answer.claimed.len(), answer.failed), (3, vec![wide]));
    assert!(world.block(&wide.to_string()).is_none());
    assert!(!world.affinities().contains(&format!("a {wide} Pending")));
}

/// A network has more blocks than one request looks at, or than can be counted.
#[test]
fn a_large_network_is_claimed_by_steps() {
    let world = World::with_pool("10.0.0.0/24", 30);
    world.assign(request_ip("b", "h", "10.0.0.100")).unwrap();
    let mut claim = ClaimAffinity::new(cidr("10.0.0.0/24"), host("a"));
    let (mut claimed, mut requests) = (Vec::new(), 0);
    loop {
        let answer = world.run(claim.clone().planner()).unwrap();
        world.check_at_rest();
        requests += 1;
        claimed.extend(answer.claimed);
        claim.from = answer.next;
        if claim.from.is_none() {
            break;
        }
    }
    assert_eq!((claimed.len(), requests), (63, 4));
    let world = World::with_pool("10.0.0.0/24", 30);
    for network in ["fd00::/8", "::/0"] {
        world.pool("six", network, 122);
        let all = ClaimAffinity::new(cidr(network), host("a"));
        let answer = world.run(all.planner()).unwrap();
        assert!(answer.claimed.len() == 16 && answer.next.is_some(), "{network}: {answer:?}");
    }
}

/// Blocks, affinities and pools are read at once each, however many blocks there are.
#[test]
fn a_claim_takes_few_requests() {
    let world = World::with_pool("10.0.0.0/26", 30);
    let counting = Counting::new(world.store.clone());
    let claim = ClaimAffinity::new(cidr("10.0.0.0/26"), host("a"));
    let answer = block_on(ipam::run(&counting, &world.clock, claim.planner(), WITHIN)).unwrap();
    assert_eq!(answer.claimed.len(), 16);
    let counts = counting.counts();
    assert_eq!((counts.reads, counts.commits), (4, 1), "pools, affinities, blocks, all keys; the batch");
}

#[test]
fn a_block_is_made_once_and_no_address_is_taken() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let first = ensure(&world, v4("a")).unwrap();
    let block = first.v4.unwrap();
    assert_eq!(first.v6, None);
    assert_eq!(world.affinities(), [format!("a {block} Confirmed")]);
    assert_eq!(world.block(&block.to_string()).unwrap().unallocated.len(), 64);
    assert_eq!(ensure(&world, v4("a")).unwrap(), first);
    // A full block is a block.
    world.auto(request("a", "h", 64, 0));
    assert_eq!(ensure(&world, v4("a")).unwrap(), first);
    assert_eq!(world.blocks().len(), 1);
    // And it is where the host's addresses come from.
    world.del("h");
    assert!(block.cidr().contains(world.add("a", "i")));
}

#[test]
fn each_family_has_its_pools() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("more", "10.0.1.0/24", 26);
    world.pool("six", "fd00::/116", 122);
    world.pool("six-more", "fd01::/116", 122);
    let within = |block: Option<api::BlockCidr>, network: &str| {
        let network: Cidr = cidr(network);
        block.is_some_and(|block| network.covers(&block.cidr()))
    };
    let both = EnsureBlock {
        v6: true,
        v4_pools: vec![cidr("10.0.1.0/24")],
        v6_pools: vec![cidr("fd01::/116")],
        ..v4("a")
    };
    let blocks = ensure(&world, both).unwrap();
    assert!(within(blocks.v4, "10.0.1.0/24") && within(blocks.v6, "fd01::/116"), "{blocks:?}");
    let six = ensure(&world, EnsureBlock { v6: true, ..EnsureBlock::new("b") }).unwrap();
    assert!(six.v4.is_none() && within(six.v6, "fd00::/116"), "{six:?}");
    assert_eq!(ensure(&world, EnsureBlock::new("c")).unwrap(), EnsuredBlocks::default());
}

/// A block needs a pool that is there, is for workloads, selects the node, and has blocks that are large
/// enough. What one family lacks keeps the other from being claimed.
#[test]
fn without_a_pool_there_is_no_block() {
    let world = World::new();
    world.node("a", &[]);
    assert_eq!(ensure(&world, v4("a")).unwrap_err(), "cannot find a qualified ippool");
    world.pool_with("tunnels", json!({"cidr": "10.1.0.0/24", "blockSize": 26, "allowedUses": ["Tunnel"]}));
    let text = "cannot find a qualified ippool, no pools match the required use (Workload)";
    assert_eq!(ensure(&world, v4("a")).unwrap_err(), text);
    world.pool_with("picky", json!({"cidr": "10.2.0.0/24", "blockSize": 26, "nodeSelector": "has(x)"}));
    world.delete(api::Key::global(api::Kind::IPPool, "tunnels"));
    assert_eq!(ensure(&world, v4("a")).unwrap_err(), "no configured Calico pools for node a");
    world.pool("pool", "10.0.0.0/24", 26);
    let named =
        |pools: &[&str]| EnsureBlock { v4_pools: pools.iter().map(|text| cidr(text)).collect(), ..v4("a") };
    assert_eq!(
        ensure(&world, named(&["10.9.0.0/24"])).unwrap_err(),
        "the given pool (10.9.0.0/24) does not exist, or is not enabled"
    );
    assert_eq!(
        ensure(&world, named(&["fd00::/116"])).unwrap_err(),
        "provided IPv4 IPPools list contains one or more IPv6 IPPools"
    );
    let six = EnsureBlock { v6: true, ..v4("a") };
    assert_eq!(ensure(&world, six).unwrap_err(), "cannot find a qualified ippool");
    assert!(ensure(&world, v4("unknown")).unwrap_err().starts_with("resource does not exist: Node(unknown)"));
    assert_eq!((world.blocks().len(), world.affinities().len()), (0, 0));
    assert!(ensure(&world, v4("a")).is_ok());
}

#[test]
fn reserved_addresses_of_windows_are_set_aside() {
    let world = World::with_pool("10.0.0.0/24", 30);
    let reserved = HostReserved { at_start: 3, at_end: 1, handle: WINDOWS.into(), note: String::new() };
    let request = EnsureBlock { host_reserved: Some(reserved), ..v4("a") };
    assert_eq!(ensure(&world, request.clone()).unwrap_err(), "cannot find a qualified ippool");
    world.pool("large", "10.1.0.0/24", 29);
    let block = ensure(&world, request.clone()).unwrap().v4.unwrap();
    assert_eq!(world.block(&block.to_string()).unwrap().unallocated.len(), 4);
    assert_eq!(ensure(&world, request.clone()).unwrap().v4, Some(block));
    let none = HostReserved { at_start: 0, at_end: 0, handle: WINDOWS.into(), note: String::new() };
    let request = EnsureBlock { host_reserved: Some(none), ..v4("b") };
    assert_eq!(ensure(&world, request).unwrap_err(), "HostReservedAttr has wrong parameters");
}

/// The limits of `AutoAssign` hold: of blocks, of claims, and of what is reserved. A block with free
/// addresses that is another's does not do.
#[test]
fn the_rules_of_claims_hold() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("more", "10.0.1.0/24", 26);
    world.config(|config| {
        config.strict_affinity = true;
        config.auto_allocate_blocks = false;
    });
    assert_eq!(ensure(&world, v4("a")).unwrap_err(), "failed to find or claim a block");
    world.config(|config| config.max_blocks_per_host = 1);
    let one = |pool: &str| EnsureBlock { v4_pools: vec![cidr(pool)], ..v4("a") };
    let block = ensure(&world, one("10.0.0.0/24")).unwrap().v4.unwrap();
    // A block without an address that may be assigned counts, and is of no use.
    world.reserve(&[&block.to_string(), "10.0.1.0/25", "10.0.1.128/26"]);
    let text = "cannot allocate new block due to per host block limit";
    assert_eq!(ensure(&world, one("10.0.0.0/24")).unwrap_err(), text);
    world.config(|_| {});
    let text = EnsureBlock { max_blocks_per_host: 1, ..one("10.0.0.0/24") };
    assert!(ensure(&world, text).unwrap_err().contains("block limit"));
    let last = ensure(&world, one("10.0.1.0/24")).unwrap();
    assert_eq!(last.v4, Some(block_cidr("10.0.1.192/26")), "the others are reserved");
    for strict in [true, false] {
        world.config(|config| config.strict_affinity = strict);
        let error = world.run(EnsureBlock { host: "b".into(), ..one("10.0.1.0/24") }.planner()).unwrap_err();
        let none = EnsureBlockError::NoneFree { host: "b".into(), family: api::Family::V4 };
        assert!(matches!(&error, ipam::RunError::Plan(found) if *found == none), "{error}");
    }
    // An empty block that was claimed a while ago is taken over, as by `AutoAssign`.
    world.clock.advance(100);
    let taken = ensure(&world, EnsureBlock { host: "b".into(), ..one("10.0.1.0/24") }).unwrap();
    assert_eq!(taken.v4, last.v4);
    world.check_at_rest();
}

/// What is half done, or lost, is healed, and counts as the host's block; nothing is claimed beside a block
/// that is in order.
#[test]
fn a_lost_block_is_found_again() {
    use AffinityState::{Pending, PendingDeletion};
    let first = |world: &World| -> IpAddr { world.add("a", "h") };
    for state in [None, Some(Pending), Some(PendingDeletion)] {
        let world = World::with_pool("10.0.0.0/24", 26);
        let addr = first(&world);
        let block = world.blocks()[0].cidr;
        match state {
            Some(state) => world.affinity("a", &block.to_string(), state),
            None => world.delete(api::Key::Affinity { owner: host("a"), block }),
        }
        assert_eq!(ensure(&world, v4("a")).unwrap().v4, Some(block), "{state:?}");
        assert_eq!(world.affinities(), [format!("a {block} Confirmed")], "{state:?}");
        assert!(world.assigned().contains_key(&addr));
    }
    let world = World::with_pool("10.0.0.0/24", 26);
    world.assign(request_ip("a", "h", "10.0.0.130")).unwrap();
    world.affinity("a", "10.0.0.0/26", Pending);
    assert_eq!(ensure(&world, v4("a")).unwrap().v4, Some(block_cidr("10.0.0.128/26")));
    assert_eq!(world.blocks().len(), 1);
    let all = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: false };
    world.run(all.planner()).unwrap();
}
