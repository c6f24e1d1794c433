use super::*;

fn at(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(1_785_578_400_000_000_000 + nanos).unwrap()
}

fn seconds(seconds: i128) -> Timestamp {
    at(seconds * 1_000_000_000)
}

fn owner() -> Owner {
    Owner::Host("a".to_string())
}

fn fresh(cidr: &str) -> Block {
    create(cidr.parse().unwrap(), &owner(), None, seconds(0))
}

fn attribute(handle: &str) -> Arc<Attribute> {
    Arc::new(Attribute { handle_id: Some(handle.to_string()), ..Attribute::default() })
}

fn ips(block: &Block, ordinals: &[u32]) -> Vec<ReleaseIp> {
    let just = |o: &u32| ReleaseIp { addr: block.cidr.addr(*o).unwrap(), handle: None, sequence: None };
    ordinals.iter().map(just).collect()
}

fn ordinals(block: &Block, addrs: &[IpAddr]) -> Vec<u32> {
    addrs.iter().map(|addr| block.cidr.ordinal(*addr).unwrap()).collect()
}

fn take(block: &mut Block, handle: &str, n: u32) -> Vec<u32> {
    let taken = assign(block, n, Some("host:a"), &attribute(handle), &Reserved::default()).unwrap();
    ordinals(block, &taken)
}

fn check(block: &Block) {
    assert_eq!(crate::invariants::check_block(block, None), []);
}

#[test]
fn the_queue_is_first_in_first_out_and_addresses_of_one_write_share_an_attribute() {
    let mut block = fresh("10.0.0.0/29");
    assert_eq!(take(&mut block, "h", 3), [0, 1, 2]);
    assert_eq!(take(&mut block, "h", 1), [3]);
    assert_eq!(take(&mut block, "i", 1), [4]);
    assert_eq!(block.allocations[..5], [Some(0), Some(0), Some(0), Some(0), Some(1)]);
    // Ordinals that are freed together go to the queue in ascending order, whatever the order of the request.
    let gone = ips(&block, &[3, 0, 2]);
    assert_eq!(
        release(&mut block, &gone, seconds(1), 0).unwrap().by_handle,
        BTreeMap::from([("h".into(), 3)])
    );
    assert_eq!(block.unallocated, [5, 6, 7, 0, 2, 3]);
    assert_eq!(take(&mut block, "j", 9), [5, 6, 7, 0, 2, 3]);
    assert_eq!(take(&mut block, "j", 1), [0u32; 0]);
    check(&block);
}

#[test]
fn each_address_bears_the_number_of_the_state_it_was_taken_from() {
    let mut block = fresh("10.0.0.0/29");
    let first = block.sequence_number;
    assert_eq!(first, 1_785_578_400_000_000_000);
    take(&mut block, "h", 1);
    bump(&mut block);
    take(&mut block, "i", 1);
    bump(&mut block);
    assert_eq!((block.sequence_of(0), block.sequence_of(1), block.sequence_of(2)), (first, first + 1, 0));
    // A release by address renews the sequence number while the address cools down; a release by handle does
    // not.
    let gone = ips(&block, &[0]);
    release(&mut block, &gone, seconds(1), 60).unwrap();
    assert_eq!(block.sequence_of(0), first + 2);
    assert_eq!(release_by_handle(&mut block, "i", |_| true, seconds(1), 60).len(), 1);
    assert_eq!(block.sequence_of(1), first + 1);
    check(&block);
}

#[test]
fn a_mismatch_refuses_the_whole_block() {
    let mut block = fresh("10.0.0.0/29");
    take(&mut block, "h", 2);
    let before = block.clone();
    let mut asked = ips(&block, &[0, 1, 5]);
    asked[1].handle = Some("other".into());
    assert!(matches!(release(&mut block, &asked, seconds(1), 0), Err(ReleaseError::Handle { .. })));
    // The sequence number is compared even for a free address, where it is 0.
    asked[1].handle = None;
    asked[2].sequence = Some(7);
    assert_eq!(
        release(&mut block, &asked, seconds(1), 0),
        Err(ReleaseError::Sequence { given: 7, stored: 0 })
    );
    assert_eq!(block, before);
    asked[2].sequence = Some(0);
    let released = release(&mut block, &asked, seconds(1), 0).unwrap();
    assert_eq!((released.released.len(), released.unallocated.len()), (2, 1));
}

#[test]
fn each_mismatch_can_stand_for_itself() {
    let mut block = fresh("10.0.0.0/29");
    take(&mut block, "h", 3);
    let mut asked = ips(&block, &[0, 1, 2, 5]);
    asked[0].handle = Some("other".into());
    asked[1].sequence = Some(7);
    asked[3].sequence = Some(7);
    let refused = take_refused(&mut block, &mut asked, seconds(1), 0);
    let addrs: Vec<IpAddr> = refused.iter().map(|(addr, _)| *addr).collect();
    assert_eq!(ordinals(&block, &addrs), [0, 1, 5]);
    assert!(matches!(refused[0].1, ReleaseError::Handle { .. }), "{refused:?}");
    let released = release(&mut block, &asked, seconds(1), 0).unwrap();
    assert_eq!(ordinals(&block, &released.released), [2]);
    check(&block);
}

/// (cooldown in seconds, nanoseconds after the second of the release, whether the address is free)
/// Without a cooldown an address is free at once, even where the clock has not moved since the release; in
/// Calico it then stays unused until its block is looked at again.
#[test]
fn when_what_was_released_is_free() {
    for (cooldown, nanos, free) in [
        (0, 0, true),
        (-1, 0, true),
        (60, 59_999_999_999, false),
        (60, 60_000_000_000, false),
        (60, 60_000_000_001, true),
        (i64::MAX, 1_000_000_000_000, false),
    ] {
        let mut block = fresh("10.0.0.0/30");
        take(&mut block, "h", 1);
        // The time of the release is stored in whole seconds.
        let gone = ips(&block, &[0]);
        release(&mut block, &gone, at(900_000_000), 1200).unwrap();
        assert_eq!(block.attribute(0).unwrap().released_at, Some(seconds(0)));
        assert!(!is_empty(&block), "what cools down keeps the block");
        assert_eq!(collect(&mut block, at(nanos), cooldown), free, "{cooldown} {nanos}");
        assert_eq!((is_empty(&block), block.unallocated.len()), (free, if free { 4 } else { 3 }));
        assert_eq!(block.attributes.is_empty(), free);
        check(&block);
    }
}

/// Both ways to give back addresses, after the cooldown was switched off while another address was cooling
/// down: (address given back first, address given back now, end of the queue).
#[test]
fn what_had_cooled_down_queues_up_before_what_is_given_back_now() {
    for (first, then, queue) in [(3, 0, [3, 0]), (0, 3, [0, 3]), (1, 0, [1, 0])] {
        for by_handle in [false, true] {
            let mut block = fresh("10.0.0.0/29");
            (0..4).for_each(|n| drop(take(&mut block, &format!("h{n}"), 1)));
            let one = ips(&block, &[first]);
            release(&mut block, &one, seconds(1), 60).unwrap();
            assert_eq!(block.unallocated, [4, 5, 6, 7]);
            if by_handle {
                release_by_handle(&mut block, &format!("h{then}"), |_| true, seconds(2), 0);
            } else {
                let other = ips(&block, &[then]);
                release(&mut block, &other, seconds(2), 0).unwrap();
            }
            assert_eq!(block.unallocated[4..], queue, "{first} {then} {by_handle}");
            check(&block);
        }
    }
}

#[test]
fn attributes_that_nothing_refers_to_go_and_the_rest_is_renumbered() {
    let mut block = fresh("10.0.0.0/29");
    ["h", "i", "j"].iter().for_each(|handle| drop(take(&mut block, handle, 1)));
    release_by_handle(&mut block, "i", |_| true, seconds(1), 0);
    assert_eq!(block.allocations[..3], [Some(0), None, Some(1)]);
    assert_eq!(ordinals_of(&block, "j"), [2]);
    block.attributes.insert(0, attribute("spurious"));
    block.allocations.iter_mut().flatten().for_each(|index| *index += 1);
    collect(&mut block, seconds(2), 0);
    assert_eq!(block.attributes.len(), 2);
    check(&block);
}

#[test]
fn what_the_host_keeps_for_itself() {
    let reserved = |at_start, at_end| HostReserved {
        at_start,
        at_end,
        handle: WINDOWS_RESERVED_HANDLE.into(),
        note: "n".into(),
    };
    for (start, end, free) in [(3, 1, 4), (8, 8, 0), (0, 1, 7), (9, 0, 0)] {
        let block = create("10.0.0.0/29".parse().unwrap(), &owner(), Some(&reserved(start, end)), seconds(0));
        assert_eq!(block.unallocated.len(), free, "{start} {end}");
        assert!(is_empty(&block) && block.sequence_numbers.is_empty());
        check(&block);
    }
}

#[test]
fn only_the_owner_takes_where_affinity_is_strict() {
    let none = Reserved::default();
    let mut block = fresh("10.0.0.0/29");
    let texts = |block: &mut Block| {
        let auto = assign(block, 1, Some("host:b"), &attribute("h"), &none).unwrap_err().to_string();
        let named = block.cidr.addr(0).unwrap();
        (auto, assign_addr(block, named, Some("host:b"), &attribute("h")).unwrap_err().to_string())
    };
    let (auto, named) = texts(&mut block);
    assert_eq!(auto, "Block affinity (host:a) does not match provided (host:b)");
    assert_eq!(named, "Block host affinity does not match");
    disown(&mut block);
    let (auto, _) = texts(&mut block);
    assert_eq!(auto, "Attempt to assign from block 10.0.0.0/29 with no affinity");
    assert_eq!(block.affinity_claim_time, None);
    let outside = assign_addr(&mut block, "10.0.0.8".parse().unwrap(), None, &attribute("h"));
    assert_eq!(outside.unwrap_err().to_string(), "IP 10.0.0.8 not in block 10.0.0.0/29");
}

#[test]
fn reserved_addresses_keep_their_place() {
    let mut block = fresh("10.0.0.0/29");
    let reserved = Reserved::of(["10.0.0.1/32".parse().unwrap(), "10.0.0.4/31".parse().unwrap()]);
    assert_eq!(free_count(&block, &reserved), 5);
    let taken = assign(&mut block, 4, None, &attribute("h"), &reserved).unwrap();
    assert_eq!(ordinals(&block, &taken), [0, 2, 3, 6]);
    assert_eq!(block.unallocated, [1, 4, 5, 7]);
    assert_eq!((free_count(&block, &reserved), free_count(&block, &Reserved::default())), (1, 4));
}
