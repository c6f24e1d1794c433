use std::collections::BTreeMap;

use api::{AffinityState, Attribute, Kind, Resource, Revision, Value};
use serde_json::json;

use super::*;
use crate::block;

fn record(key: Key, value: Value) -> Arc<Record> {
    Arc::new(Record { key, value, revision: Revision::from(1) })
}

fn now() -> Timestamp {
    Timestamp::from_second(1_785_578_400).unwrap()
}

fn block(cidr: &str, owner: &str) -> Block {
    block::create(cidr.parse().unwrap(), &Owner::Host(owner.into()), None, now())
}

fn stored(block: &Block) -> Arc<Record> {
    record(Key::Block(block.cidr), Value::Block(block.clone()))
}

fn affinity(owner: &str, cidr: &str, state: AffinityState) -> Arc<Record> {
    let key = Key::Affinity { owner: Owner::Host(owner.into()), block: cidr.parse().unwrap() };
    record(key, Value::Affinity(Affinity::new(state)))
}

fn handle(id: &str, counts: &[(&str, u32)]) -> Arc<Record> {
    let blocks: BTreeMap<_, _> = counts.iter().map(|(b, n)| (b.parse().unwrap(), *n)).collect();
    let value = Value::Handle(Handle { blocks, deleted: false });
    record(Key::Handle(HandleId::new(id).unwrap()), value)
}

fn pool(name: &str, cidr: &str, size: u8) -> Arc<Record> {
    let document = json!({"metadata": {"name": name}, "spec": {"cidr": cidr, "blockSize": size}});
    let resource = Resource::from_json(Kind::IPPool, document).unwrap();
    record(Key::global(Kind::IPPool, name), Value::Resource(resource))
}

fn texts(records: &[Arc<Record>]) -> Vec<String> {
    check(records, Some(now())).iter().map(|violation| violation.to_string()).collect()
}

/// Calico's words for each fault, as recorded in 125-ipam-check-broken-blocks.
#[test]
fn faults_of_a_block() {
    let attribute = |released| Arc::new(Attribute { released_at: released, ..Attribute::default() });
    type Break = fn(&mut Block, Arc<Attribute>);
    let rows: [(Break, &[&str]); 8] = [
        (|_, _| {}, &[]),
        (
            |b, _| {
                b.unallocated.remove(0);
                b.allocations[0] = Some(3);
            },
            &["allocation 0 indexes a nonexistent attribute 3"],
        ),
        (|b, a| b.attributes.push(a), &["attribute index 0 exists but is not indexed by an allocation"]),
        (
            |b, _| b.unallocated[0] = 4,
            &["ordinal 4 appears in the Unallocated array but is out of the block"],
        ),
        (|b, _| b.unallocated[0] = 1, &["ordinal 1 appears more than once in Unallocated array"]),
        (
            |b, a| {
                b.attributes.push(a);
                b.allocations[2] = Some(0);
            },
            &[
                "ordinal 2 is allocated but appears in Unallocated",
                "expected 4 addresses in this block, but Unallocated (4) + Allocated (1) = 5",
            ],
        ),
        (
            |b, _| b.unallocated.truncate(3),
            &["expected 4 addresses in this block, but Unallocated (3) + Allocated (0) = 3"],
        ),
        (
            |b, _| {
                let later = Timestamp::from_second(now().as_second() + 1).unwrap();
                b.attributes.push(Arc::new(Attribute { released_at: Some(later), ..Attribute::default() }));
                b.allocations[0] = Some(0);
                b.unallocated.remove(0);
            },
            &["attribute index 0 has releasedAt in the future, suggesting clock skew"],
        ),
    ];
    for (at, (damage, wanted)) in rows.into_iter().enumerate() {
        let mut broken = block("10.0.0.0/30", "a");
        damage(&mut broken, attribute(None));
        assert_eq!(check_block(&broken, Some(now())), wanted, "row {at}");
    }
}

#[test]
fn nested_blocks_overlap() {
    let blocks = ["10.0.0.0/24", "10.0.0.0/26", "10.0.0.64/26", "10.0.0.64/30", "10.0.1.0/26", "fd00::/122"];
    let mut records: Vec<_> = blocks.iter().map(|cidr| stored(&block(cidr, "a"))).collect();
    records.extend(blocks.iter().map(|cidr| affinity("a", cidr, AffinityState::Confirmed)));
    assert_eq!(
        texts(&records),
        [
            "BlockKey(cidr=10.0.0.0/26): overlaps block 10.0.0.0/24",
            "BlockKey(cidr=10.0.0.64/26): overlaps block 10.0.0.0/24",
            "BlockKey(cidr=10.0.0.64/30): overlaps block 10.0.0.64/26",
        ]
    );
}

#[test]
fn a_handle_may_count_too_much_and_never_too_little() {
    let mut held = block("10.0.0.0/26", "a");
    let attribute = Arc::new(Attribute { handle_id: Some("h\rtail".into()), ..Attribute::default() });
    block::assign(&mut held, 2, None, &attribute, &Default::default()).unwrap();
    let windows =
        Attribute { handle_id: Some("Windows-Reserved-IPAM-handle".into()), ..Attribute::default() };
    block::assign(&mut held, 1, None, &Arc::new(windows), &Default::default()).unwrap();
    let base = [stored(&held), affinity("a", "10.0.0.0/26", AffinityState::Confirmed)];
    let wrong = |counted: u32| {
        format!("IPAMHandleKey(id=h): counts {counted} addresses of block 10.0.0.0/26, which holds 2")
    };
    for (handle, wanted) in [
        (None, vec![wrong(0)]),
        (Some(handle("h", &[("10.0.0.0/26", 1)])), vec![wrong(1)]),
        (Some(handle("h", &[("10.0.0.64/26", 2)])), vec![wrong(0)]),
        (Some(handle("h", &[("10.0.0.0/26", 2)])), vec![]),
        (Some(handle("h", &[("10.0.0.0/26", 5)])), vec![]),
    ] {
        let records: Vec<_> = base.iter().cloned().chain(handle).collect();
        assert_eq!(texts(&records), wanted);
    }
}

#[test]
fn affinities_agree_with_blocks() {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    let cidr = "10.0.0.0/26";
    let of = |name: &str| format!("BlockAffinityKey(cidr={cidr}, host={name}, affinityType=host): ");
    let mut nobodys = block(cidr, "a");
    block::disown(&mut nobodys);
    let lost = format!("BlockKey(cidr={cidr}): is affine to host:a, who has no affinity to it");
    for (records, wanted) in [
        (vec![stored(&block(cidr, "a")), affinity("a", cidr, Confirmed)], vec![]),
        (vec![stored(&block(cidr, "a")), affinity("a", cidr, Pending)], vec![]),
        (vec![affinity("a", cidr, Pending)], vec![]),
        (vec![stored(&nobodys), affinity("a", cidr, PendingDeletion)], vec![]),
        (vec![stored(&nobodys)], vec![]),
        (vec![affinity("a", cidr, Confirmed)], vec![of("a") + "is confirmed, but there is no such block"]),
        (
            vec![stored(&nobodys), affinity("a", cidr, Confirmed)],
            vec![of("a") + "is confirmed, but the block is nobody's"],
        ),
        (
            vec![stored(&block(cidr, "a")), affinity("a", cidr, Confirmed), affinity("b", cidr, Confirmed)],
            vec![of("b") + "is confirmed, but the block is affine to host:a"],
        ),
        (vec![stored(&block(cidr, "a"))], vec![lost]),
    ] {
        assert_eq!(texts(&records), wanted);
    }
}

#[test]
fn blocks_fit_their_pools() {
    let records = [
        pool("a", "10.0.0.0/24", 26),
        pool("b", "10.0.0.0/16", 26),
        stored(&block("10.0.0.0/28", "n")),
        affinity("n", "10.0.0.0/28", AffinityState::Confirmed),
        stored(&block("192.168.0.0/28", "n")),
        affinity("n", "192.168.0.0/28", AffinityState::Confirmed),
    ];
    assert_eq!(
        texts(&records),
        [
            "IPPool(b): overlaps IPPool(a)",
            "BlockKey(cidr=10.0.0.0/28): is no block of IPPool(a), whose blocks are /26",
        ]
    );
}
