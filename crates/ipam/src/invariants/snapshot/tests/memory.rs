//! What the check of a large cluster keeps.

use super::*;

/// A million addresses, each with a handle of its own as the CNI plugin names it, in 15,625 blocks of 125
/// hosts. The blocks are made one after another, so that the test itself keeps no more than one.
#[test]
fn a_million_addresses_in_little_memory() {
    const BLOCKS: u32 = 15_625;
    let mut snapshot = Snapshot::new(Moment::AtRest, None);
    let mut tell = |violation: Violation| panic!("{violation}");
    snapshot.feed(&pool("p", "10.0.0.0/8", 26), &mut tell);
    let name = |n: u32| format!("k8s-pod-network.{n:064x}");
    for at in 0..BLOCKS {
        let addr = api::cidr::offset("10.0.0.0".parse().unwrap(), u128::from(at) * 64);
        let network = BlockCidr::holding(addr, 26).unwrap();
        let owner = format!("host-{}", at % 125);
        let mut made = block::create(network, &host(&owner), None, now());
        made.unallocated.clear();
        for ordinal in 0..64 {
            let attribute = Attribute { handle_id: Some(name(at * 64 + ordinal)), ..Attribute::default() };
            made.attributes.push(Arc::new(attribute));
            made.allocations[ordinal as usize] = Some(ordinal);
        }
        snapshot.feed(&stored(&made), &mut tell);
        let key = Key::Affinity { owner: host(&owner), block: network };
        snapshot.feed(&record(key, Value::Affinity(Affinity::new(AffinityState::Confirmed))), &mut tell);
    }
    let with_blocks = snapshot.bytes();
    for n in 0..BLOCKS * 4 {
        let network =
            BlockCidr::holding(api::cidr::offset("10.0.0.0".parse().unwrap(), n.into()), 26).unwrap();
        let blocks = [(network, 1)].into();
        let value = Value::Handle(Handle { blocks, deleted: false });
        snapshot.feed(&record(Key::Handle(id(&name(n))), value), &mut tell);
    }
    // Handles that agree with blocks add nothing to what is known of the blocks.
    assert_eq!(snapshot.bytes(), with_blocks);
    // 96 bytes are the name of a handle and its counters.
    let handles = snapshot.handles.bytes();
    assert!(handles / (BLOCKS as usize * 64) < 110 + 96, "{handles}");
    let rest = with_blocks - handles;
    assert!(rest / (BLOCKS as usize) < 2 * 110, "{rest}");
}
