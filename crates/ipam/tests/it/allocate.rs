//! Assigning addresses: automatic ones, and those that a request names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Family, Key, Use};
use ipam::invariants::Violation;
use ipam::{AutoAssign, AutoAssignError, HostReserved};
use store::testing::fault::Step;
use store::testing::{FaultPlan, Faulty};

use crate::world::*;

fn addresses(assigned: &ipam::Assigned) -> Vec<IpAddr> {
    assigned.addresses.iter().map(|address| address.addr).collect()
}

/// Calico's table of AutoAssign: how many of the wanted addresses are assigned, and what is said about the
/// others.
#[test]
fn how_many_are_got() {
    const FULL: &str = "No IPs available in pools";
    for (pool, size, pool6, size6, v4, v6, got4, got6, says) in [
        ("10.0.0.0/24", 26, "fd00::/120", 122, 1, 1, 1, 1, None),
        ("10.0.0.0/24", 32, "fd00::/120", 128, 1, 1, 1, 1, None),
        ("10.0.0.0/24", 32, "fd00::/120", 128, 20, 20, 20, 20, None),
        ("10.0.0.0/20", 20, "fd00::/116", 116, 1, 1, 1, 1, None),
        ("10.0.0.0/20", 20, "fd00::/116", 116, 4096, 4096, 4096, 4096, None),
        ("10.0.0.0/24", 26, "fd00::/120", 122, 256, 256, 256, 256, None),
        ("10.0.0.0/24", 26, "fd00::/120", 122, 257, 0, 256, 0, Some(FULL)),
        ("10.0.0.0/24", 26, "fd00::/120", 122, 0, 257, 0, 256, Some(FULL)),
        ("10.0.0.0/28", 26, "fd00::/120", 122, 1, 0, 0, 0, Some(FULL)),
    ] {
        let world = World::with_pool(pool, size);
        world.pool("pool6", pool6, size6);
        let answer = world.auto(request("a", "h", v4, v6));
        let all: BTreeSet<IpAddr> = addresses(&answer.v4).into_iter().chain(addresses(&answer.v6)).collect();
        assert_eq!((answer.v4.addresses.len(), answer.v6.addresses.len()), (got4, got6), "{pool} {v4} {v6}");
        assert_eq!(all.len(), got4 + got6);
        assert_eq!(all, world.assigned().into_keys().collect());
        let counted: u32 = world.handle("h").map_or(0, |handle| handle.blocks.values().sum());
        assert_eq!(counted as usize, got4 + got6, "the handle counts what was got, not what was wanted");
        let messages = answer.v4.messages.iter().chain(&answer.v6.messages);
        let messages: Vec<String> = messages.map(ToString::to_string).collect();
        match says {
            None => assert!(messages.is_empty(), "{messages:?}"),
            Some(says) => assert!(messages.iter().all(|m| m.starts_with(says)) && !messages.is_empty()),
        }
    }
}

#[test]
fn addresses_bear_the_mask_of_their_block_and_the_first_one_is_used() {
    let world = World::with_pool("192.168.0.0/16", 26);
    world.node("node1", &[]);
    let answer = world.auto(request("node1", "h", 1, 0));
    // In Calico, the search for node1 begins at this block.
    let first = answer.v4.addresses[0];
    assert_eq!((first.addr, first.prefix), (ip("192.168.166.128"), 26));
    let block = world.block("192.168.166.128/26").unwrap();
    assert_eq!(block.sequence_of(0) + 1, block.sequence_number);
    assert_eq!(world.affinities(), ["node1 192.168.166.128/26 Confirmed"]);
}

#[test]
fn shortages_are_told_in_calicos_words() {
    let world = World::with_pool("10.0.0.0/26", 26);
    world.pool("pool2", "10.0.1.0/26", 26);
    let all = world.auto(request("a", "h", 128, 0));
    assert_eq!(all.v4.shortage(Family::V4, None), None);
    let none = world.auto(request("a", "i", 2, 0));
    assert_eq!(
        none.v4.shortage(Family::V4, None).unwrap(),
        "Assigned 0 out of 2 requested IPv4 addresses; No IPs available in pools: [10.0.0.0/26 10.0.1.0/26]"
    );
    assert_eq!(world.handle("i"), None, "nothing was got, nothing is left");
    let reserved = HostReserved { at_start: 3, at_end: 1, handle: "w".into(), note: String::new() };
    assert!(none.v4.shortage(Family::V4, Some(&reserved)).unwrap().ends_with("; HostReservedAttr: w"));
}

/// Each row: the blocks that the request allows, the blocks that the configuration allows, how many of 200
/// addresses are assigned, and the limit in the message.
#[test]
fn the_smaller_limit_of_blocks_counts() {
    for (own, global, got, limit) in
        [(1, 0, 64, 1), (2, 0, 128, 2), (0, 2, 128, 2), (1, 2, 64, 1), (3, 2, 128, 2), (0, 0, 200, 20)]
    {
        let world = World::with_pool("10.0.0.0/16", 26);
        world.config(|config| config.max_blocks_per_host = global);
        let answer = world.auto(AutoAssign { max_blocks_per_host: own, ..request("a", "h", 200, 0) });
        assert_eq!(answer.v4.addresses.len(), got, "{own} {global}");
        if got == 200 {
            continue;
        }
        assert_eq!(answer.v4.error, Some(AutoAssignError::BlockLimit));
        let wanted = format!(
            "Need to allocate an IPAM block but could not - limit of {limit} blocks reached for this node"
        );
        assert_eq!(words(&answer.v4), [wanted]);
    }
    let world = World::with_pool("10.0.0.0/16", 30);
    let answer = world.auto(request("a", "h", 81, 0));
    assert_eq!(answer.v4.addresses.len(), 80, "20 blocks where nothing says how many");
}

#[test]
fn strict_affinity_keeps_hosts_to_their_blocks_and_can_be_toggled() {
    let world = World::with_pool("10.0.0.0/26", 26);
    world.config(|config| config.strict_affinity = true);
    world.add("a", "h");
    let none = world.auto(request("b", "i", 1, 0));
    assert_eq!(words(&none.v4), ["No more free affine blocks and strict affinity enabled"]);
    assert!(none.v4.addresses.is_empty() && none.v4.error.is_none());
    world.config(|_| {});
    world.add("b", "i");
    assert_eq!(world.affinities(), ["a 10.0.0.0/26 Confirmed"]);
    world.config(|config| config.strict_affinity = true);
    assert!(world.auto(request("b", "j", 1, 0)).v4.addresses.is_empty());
    assert_eq!(
        world.assign(request_ip("b", "j", "10.0.0.9")).unwrap_err(),
        "Block host affinity does not match"
    );
    let whole = world.auto(request("a", "k", 64, 0));
    assert_eq!(whole.v4.addresses.len(), 62);
}

/// Two hosts have one block each. The second one wants as many addresses as a block has. It gets those left
/// in its own block first, and the others from the first host's block.
#[test]
fn own_blocks_come_before_borrowed_ones() {
    let world = World::with_pool("10.0.0.0/25", 26);
    let a = world.add("a", "a1");
    world.add("b", "b1");
    let more = world.auto(request("a", "a2", 64, 0));
    let own = world.blocks().iter().find(|block| block.cidr.cidr().contains(a)).unwrap().cidr;
    let (mine, theirs): (Vec<_>, Vec<_>) =
        addresses(&more.v4).into_iter().partition(|addr| own.cidr().contains(*addr));
    assert_eq!((mine.len(), theirs.len()), (63, 1));
    let handle = world.handle("a2").unwrap();
    assert_eq!(handle.blocks.values().copied().collect::<BTreeSet<u32>>(), BTreeSet::from([1, 63]));
    world.del("a2");
    world.del("a1");
    world.del("b1");
    assert_eq!((world.assigned().len(), world.handles()), (0, 0));
}

/// A request reads that affinity is strict. Before it reads blocks, affinity is strict no more, and another
/// host claims all of them: at no moment was the request's address out of reach.
#[test]
fn no_request_is_refused_because_affinity_was_strict_before_others_claimed() {
    for is_named in [false, true] {
        let world = Arc::new(World::with_pool("10.0.0.0/29", 30));
        world.config(|config| config.strict_affinity = true);
        let others = world.clone();
        let store =
            Faulty::new(world.store.clone(), FaultPlan::like_kubernetes()).with_hook(Arc::new(move |step| {
                let world = others.clone();
                Box::pin(async move {
                    if step == Step::AfterRead && world.blocks().is_empty() {
                        world.config(|config| config.strict_affinity = false);
                        let other = request("b", "other", 5, 0).planner();
                        let answer = ipam::run(&world.store, &world.clock, other, WITHIN).await;
                        assert!(answer.unwrap().is_whole());
                    }
                })
            }));
        let (last, clock) = (ip("10.0.0.7"), &world.clock);
        let got = match is_named {
            true => block_on(ipam::run(&store, clock, request_ip("a", "h", "10.0.0.7").planner(), WITHIN)),
            false => {
                let answer = block_on(ipam::run(&store, clock, request("a", "h", 1, 0).planner(), WITHIN));
                assert_eq!(answer.unwrap().v4.shortage(Family::V4, None), None);
                Ok(())
            }
        };
        assert_eq!(got, Ok(()), "named: {is_named}");
        assert!(!is_named || world.assigned().contains_key(&last));
        assert_eq!(world.assigned().len(), 6);
        world.check();
    }
}

/// Nobody can set such a configuration without strict affinity, but a stored one is not checked against the
/// rules between its fields, here as in Calico: it is obeyed as it stands.
#[test]
fn hosts_may_be_kept_from_claiming() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.config(|config| config.auto_allocate_blocks = false);
    let answer = world.auto(request("a", "h", 1, 0));
    assert_eq!(answer.v4.error, Some(AutoAssignError::NoAutoAllocate));
    assert_eq!(answer.v4.error.unwrap().to_string(), "failed to find or claim a block");
    assert!(world.blocks().is_empty() && world.handle("h").is_none());
}

#[test]
fn the_default_configuration_is_not_stored() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.add("a", "h");
    assert!(world.record(&Key::IpamConfig).is_none());
}

#[test]
fn a_host_without_node_gets_nothing() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let answer = world.auto(request("nobody", "h", 1, 1));
    assert_eq!(answer.v4.error, Some(AutoAssignError::NoNode("nobody".into())));
    assert!(answer.v6.error.is_none() && answer.v6.addresses.is_empty());
    let balancer = AutoAssign { v4: 1, ..AutoAssign::new("", Use::LoadBalancer) };
    let unfit = world.auto(balancer.clone());
    assert_eq!(
        unfit.v4.error.unwrap().to_string(),
        "cannot find a qualified ippool, no pools match the required use (LoadBalancer)"
    );
    world.pool_with("lb", serde_json::json!({"cidr": "10.1.0.0/24", "allowedUses": ["LoadBalancer"]}));
    assert_eq!(world.auto(balancer).v4.addresses.len(), 1);
    assert_eq!(world.affinities().iter().filter(|text| text.starts_with("load-balancer ")).count(), 1);
}

#[test]
fn all_or_nothing() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let both = AutoAssign { all_or_nothing: true, ..request("a", "h", 1, 1) };
    let answer = world.auto(both.clone());
    assert!(answer.v4.addresses.is_empty() && answer.v6.addresses.is_empty());
    assert_eq!(answer.v6.error.unwrap().to_string(), "cannot find a qualified ippool");
    assert!(world.assigned().is_empty() && world.handle("h").is_none() && world.blocks().is_empty());
    world.pool("pool6", "fd00::/120", 122);
    assert!(world.auto(both).is_whole());
    assert_eq!(world.assigned().len(), 2);
    let too_many = AutoAssign { all_or_nothing: true, ..request("a", "i", 300, 0) };
    assert!(world.auto(too_many).v4.addresses.is_empty());
    assert_eq!(world.assigned().len(), 2);
}

#[test]
fn the_queue_goes_round_before_an_address_comes_again() {
    let world = World::with_pool("10.0.0.0/30", 30);
    let mut seen = Vec::new();
    for round in 0..5 {
        let id = format!("h{round}");
        seen.push(world.add("a", &id));
        world.del(&id);
    }
    assert_eq!(seen[..4].iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(seen[4], seen[0]);
}

#[test]
fn reserved_addresses_are_assigned_only_by_name() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.reserve(&["10.0.0.0/25", " 10.0.0.130 ", "10.0.0.192/27"]);
    let answer = world.auto(request("a", "h", 256, 0));
    let got: BTreeSet<IpAddr> = addresses(&answer.v4).into_iter().collect();
    assert_eq!(got.len(), 63 + 32);
    let reserved =
        |addr: &IpAddr| *addr < ip("10.0.0.128") || (*addr >= ip("10.0.0.192") && *addr < ip("10.0.0.224"));
    assert!(!got.iter().any(reserved) && !got.contains(&ip("10.0.0.130")));
    assert_eq!(world.blocks().len(), 2, "no block that is reserved as a whole is claimed");
    world.assign(request_ip("a", "i", "10.0.0.130")).unwrap();
    world.assign(request_ip("a", "i", "10.0.0.7")).unwrap();
}

#[test]
fn what_windows_keeps_for_itself() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let reserved = HostReserved {
        at_start: 3,
        at_end: 1,
        handle: ipam::block::WINDOWS_RESERVED_HANDLE.into(),
        note: "windows host rsvd".into(),
    };
    let windows = |id, n| AutoAssign { host_reserved: Some(reserved.clone()), ..request("a", id, n, 0) };
    assert_eq!(world.auto(windows("h", 256)).v4.addresses.len(), 240);
    let block = world.blocks().remove(0);
    assert_eq!(block.attribute(0).unwrap().owner["note"], "windows host rsvd");
    assert!(block.allocations.iter().all(Option::is_some) && block.sequence_of(0) == 0);
    world.del("h");
    assert!(world.blocks().iter().all(ipam::block::is_empty));
    let too_large = HostReserved { at_start: 60, at_end: 30, ..reserved };
    let answer = world.auto(AutoAssign { host_reserved: Some(too_large), ..request("a", "h", 1, 0) });
    assert_eq!(answer.v4.error.unwrap().to_string(), "cannot find a qualified ippool");
}

#[test]
fn a_named_address() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("pool6", "fd00::/120", 122);
    world.assign(request_ip("a", "h", "10.0.0.5")).unwrap();
    world.assign(request_ip("a", "h6", "fd00::5")).unwrap();
    assert_eq!(world.affinities(), ["a 10.0.0.0/26 Confirmed", "a fd00::/122 Confirmed"]);
    for (id, addr, error) in [
        ("i", "10.0.0.5", "resource already exists: 10.0.0.5 with error: Address already assigned in block"),
        ("i", "10.0.1.5", "The provided IP address is not in a configured pool\n"),
    ] {
        assert_eq!(world.assign(request_ip("a", id, addr)).unwrap_err(), error);
        assert_eq!(world.handle(id), None);
    }
    world.assign(request_ip("b", "b", "10.0.0.6")).unwrap();
    assert_eq!(world.affinities().len(), 2, "it was borrowed");
    world.config(|config| config.cooldown_seconds = 100);
    world.del("b");
    assert!(world.assign(request_ip("b", "b", "10.0.0.6")).unwrap_err().contains("already assigned"));
    world.clock.advance(101);
    world.assign(request_ip("b", "b", "10.0.0.6")).unwrap();
}

#[test]
fn a_named_address_and_its_use() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool_with("tunnels", serde_json::json!({"cidr": "10.1.0.0/24", "allowedUses": ["Tunnel"]}));
    let with = |addr, intended_use| ipam::AssignIp { intended_use, ..request_ip("a", "h", addr) };
    assert_eq!(
        world.assign(with("10.1.0.1", Some(Use::Workload))).unwrap_err(),
        "IP address 10.1.0.1 is in IP pool \"tunnels\", which is not allowed for use \"Workload\" (allowedUses: [Tunnel])"
    );
    world.assign(with("10.1.0.1", Some(Use::Tunnel))).unwrap();
    world.assign(with("10.1.0.2", None)).unwrap();
    world.assign(with("10.0.0.1", Some(Use::Tunnel))).unwrap();
}

#[test]
fn a_handle_may_be_limited() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let limited = |n, most| AutoAssign { max_per_handle: Some(most), ..request("a", "vm", n, 0) };
    let first = addresses(&world.auto(limited(1, 1)).v4);
    assert_eq!(addresses(&world.auto(limited(1, 1)).v4), first, "what it has is the answer");
    let named =
        |addr: IpAddr| ipam::AssignIp { addr, max_per_handle: Some(1), ..request_ip("a", "vm", "::") };
    world.assign(named(first[0])).unwrap();
    assert_eq!(
        world.assign(named(ip("10.0.0.99"))).unwrap_err(),
        "handle vm already has IP(s) allocated, cannot assign additional IP 10.0.0.99 (maxAllocPerIPVersion=1)"
    );
    let second = addresses(&world.auto(limited(1, 2)).v4);
    assert_ne!(second, first);
    // A request for some of the held addresses gets that many of them, and always the same ones.
    let both = addresses(&world.auto(limited(2, 2)).v4);
    assert_eq!(both.len(), 2);
    for _ in 0..2 {
        assert_eq!(addresses(&world.auto(limited(1, 2)).v4), both[..1]);
    }
    assert_eq!(world.assigned().len(), 2);
}

/// The pool was deleted and created again with another block size, and an old block is still in use. No block
/// that overlaps the old one is created.
#[test]
fn no_block_overlaps_one_of_another_size() {
    let world = World::with_pool("10.0.0.0/24", 28);
    world.assign(request_ip("a", "h", "10.0.0.20")).unwrap();
    world.pool("pool", "10.0.0.0/24", 26);
    let check = || {
        let all = ipam::invariants::check(&world.store.records(), None);
        assert!(all.iter().all(|v| matches!(v, Violation::NoBlockOfPool { .. })), "{all:?}");
    };
    let answer = world.run(request("b", "i", 256, 0).planner()).unwrap();
    assert_eq!(answer.v4.addresses.len(), 192);
    check();
    assert_eq!(
        world.run(request_ip("b", "j", "10.0.0.5").planner()).unwrap_err().to_string(),
        "block 10.0.0.0/26 overlaps the existing block 10.0.0.16/28"
    );
    world.store.put(
        Key::Affinity { owner: host("c"), block: block_cidr("10.0.0.0/26") },
        api::Value::Affinity(api::Affinity::new(api::AffinityState::Pending)),
    );
    world.run(request("c", "k", 1, 0).planner()).unwrap();
    check();
    assert!(!world.affinities().iter().any(|text| text.starts_with("c ")), "the stale affinity is gone");
    // The old block's owner still gets addresses from it, and they can be released.
    let released = world.run(ipam::ReleaseIps::new(vec![just("10.0.0.20")]).planner()).unwrap();
    assert_eq!(released.released, [ip("10.0.0.20")]);
    check();
}

/// The queue of a damaged block names an address twice, or one that is in use. No address is assigned twice,
/// and nothing panics.
#[test]
fn damaged_blocks_give_no_address_twice() {
    let world = World::with_pool("10.0.0.0/29", 29);
    world.add("a", "h");
    let mut block = world.block("10.0.0.0/29").unwrap();
    block.unallocated = vec![0, 3, 3, 99, 1, 4];
    block.allocations.truncate(4);
    world.store.put(Key::Block(block.cidr), api::Value::Block(block));
    let answer = world.run(request("a", "i", 8, 0).planner()).unwrap();
    assert_eq!(addresses(&answer.v4), [ip("10.0.0.3"), ip("10.0.0.1")]);
}

#[test]
fn long_host_names_stay_apart() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let (x, y) = (format!("{}x", "n".repeat(252)), format!("{}y", "n".repeat(252)));
    world.node(&x, &[]);
    world.node(&y, &[]);
    world.add(&x, "hx");
    world.add(&y, "hy");
    assert_eq!(world.affinities().len(), 2);
    world.add(&x, "hx2");
    assert_eq!(world.affinities().len(), 2);
}
