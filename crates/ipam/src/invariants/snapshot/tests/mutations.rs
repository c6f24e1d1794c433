//! A sound cluster, damaged by hand in one place.

use super::*;

/// What is done to the records, when they are looked at, and what is told.
type Row = (&'static str, fn(&mut Vec<Arc<Record>>), Moment, Vec<Violation>);

fn change(records: &mut [Arc<Record>], text: &str, by: impl FnOnce(&mut Block)) {
    let at = records.iter().position(|record| record.key == Key::Block(cidr(text))).unwrap();
    let mut block = records[at].block().unwrap().clone();
    by(&mut block);
    records[at] = stored(&block);
}

fn drop(records: &mut Vec<Arc<Record>>, key: Key) {
    let before = records.len();
    records.retain(|record| record.key != key);
    assert_eq!(records.len(), before - 1);
}

fn replace(records: &mut Vec<Arc<Record>>, by: Arc<Record>) {
    drop(records, by.key.clone());
    records.push(by);
}

const FIRST: &str = "10.0.0.0/29";
const SECOND: &str = "10.0.0.8/29";

fn count(handle: &str, block: &str, counted: Option<u32>, held: u32) -> Violation {
    Violation::Handle { handle: id(handle), block: cidr(block), counted, held }
}

fn sum(allocated: u32, cooling: u32, reserved: u32, free: u32) -> Violation {
    let fault =
        capacity::BlockFault::Sum(capacity::Counts { allocated, cooling, reserved, free, capacity: 8 });
    Violation::Block { block: cidr(FIRST), fault }
}

#[test]
fn each_damage_is_told_and_nothing_else() {
    use Moment::{AtRest, Between};
    let queued_in_use = |ordinal| Violation::Block {
        block: cidr(FIRST),
        fault: capacity::BlockFault::QueuedInUse { ordinal },
    };
    let rows: Vec<Row> = vec![
        (
            "an address is lost",
            |r| change(r, FIRST, |b| drop_last(&mut b.unallocated)),
            Between,
            vec![sum(3, 1, 0, 3)],
        ),
        (
            "an address in use is in the queue",
            |r| change(r, FIRST, |b| b.unallocated.push(0)),
            Between,
            vec![queued_in_use(0), sum(3, 1, 0, 5)],
        ),
        (
            "an address that cools down is in the queue",
            |r| change(r, FIRST, |b| b.unallocated.push(3)),
            Between,
            vec![queued_in_use(3), sum(3, 1, 0, 5)],
        ),
        (
            "a block is stored twice",
            |r| {
                let again = r[4].clone();
                r.push(again);
                replace(r, handle("both", &[(FIRST, 1), (SECOND, 4)]));
                replace(r, handle("i", &[(SECOND, 2)]));
            },
            AtRest,
            vec![
                Violation::TwoOwners {
                    addr: "10.0.0.11".parse().unwrap(),
                    count: 3,
                    block: cidr(SECOND),
                    other: cidr(SECOND),
                },
                Violation::Overlap { block: cidr(SECOND), other: cidr(SECOND) },
            ],
        ),
        (
            "a handle counts too little",
            |r| replace(r, handle("h", &[(FIRST, 1)])),
            Between,
            vec![count("h", FIRST, Some(1), 2)],
        ),
        (
            "a handle does not name a block",
            |r| replace(r, handle("both", &[(FIRST, 1)])),
            Between,
            vec![count("both", SECOND, Some(0), 2)],
        ),
        (
            "a handle is gone",
            |r| drop(r, Key::Handle(id("both"))),
            Between,
            vec![count("both", FIRST, None, 1), count("both", SECOND, None, 2)],
        ),
        ("a handle counts too much, for now", |r| replace(r, handle("h", &[(FIRST, 5)])), Between, vec![]),
        (
            "a handle counts too much, at rest",
            |r| replace(r, handle("h", &[(FIRST, 5)])),
            AtRest,
            vec![count("h", FIRST, Some(5), 2)],
        ),
        (
            "a handle counts addresses of a block that does not exist",
            |r| replace(r, handle("h", &[(FIRST, 2), ("10.0.0.16/29", 1)])),
            AtRest,
            vec![count("h", "10.0.0.16/29", Some(1), 0)],
        ),
        ("a handle counts nothing, for now", |r| r.push(handle("left", &[])), Between, vec![]),
        (
            "a handle counts nothing, at rest",
            |r| r.push(handle("left", &[])),
            AtRest,
            vec![Violation::EmptyHandle(id("left"))],
        ),
        (
            "a block has another owner than its affinity",
            |r| change(r, FIRST, |b| b.affinity = Some("host:b".into())),
            Between,
            vec![
                Violation::Affinity {
                    owner: host("a"),
                    block: cidr(FIRST),
                    found: Disagreement::Anothers(host("b")),
                },
                Violation::LostBlock { block: cidr(FIRST), owner: host("b") },
            ],
        ),
        (
            "a block has two confirmed affinities",
            |r| r.push(affinity("c", FIRST, AffinityState::Confirmed)),
            Between,
            vec![Violation::Affinity {
                owner: host("c"),
                block: cidr(FIRST),
                found: Disagreement::Anothers(host("a")),
            }],
        ),
        (
            "an affinity is gone",
            |r| drop(r, Key::Affinity { owner: host("a"), block: cidr(FIRST) }),
            Between,
            vec![Violation::LostBlock { block: cidr(FIRST), owner: host("a") }],
        ),
        (
            "a block is gone",
            |r| drop(r, Key::Block(cidr(FIRST))),
            Between,
            vec![Violation::Affinity { owner: host("a"), block: cidr(FIRST), found: Disagreement::NoBlock }],
        ),
        (
            "a block's owner cannot be read",
            |r| change(r, FIRST, |b| b.affinity = Some("x".into())),
            Between,
            vec![
                Violation::Unreadable {
                    key: Some(Key::Block(cidr(FIRST))),
                    record: format!("BlockKey(cidr={FIRST})"),
                    field: "affinity".into(),
                    reason: "'x' names no owner of a known form".into(),
                },
                Violation::Affinity { owner: host("a"), block: cidr(FIRST), found: Disagreement::Nobodys },
            ],
        ),
        (
            "the pool has blocks of another size",
            |r| replace(r, pool("p", "10.0.0.0/24", 28)),
            Between,
            [FIRST, SECOND]
                .map(|b| Violation::NoBlockOfPool { block: cidr(b), pool: "p".into(), block_size: 28 })
                .into(),
        ),
        (
            "there is a second pool",
            |r| r.push(pool("q", "10.0.0.0/28", 29)),
            Between,
            vec![Violation::PoolOverlap { pool: "q".into(), other: "p".into() }],
        ),
    ];
    for (what, damage, moment, wanted) in rows {
        let mut records = sound();
        damage(&mut records);
        let (violations, orphans) = run(&records, moment);
        assert_eq!(violations, wanted, "{what}");
        assert_eq!(orphans, [], "{what}");
        // A message begins with the record that the violation is about.
        for violation in violations {
            let key = violation.key().unwrap().to_string();
            assert!(violation.to_string().starts_with(&format!("{key}: ")), "{what}: {violation}");
        }
    }
}

fn drop_last(queue: &mut Vec<u32>) {
    queue.pop();
}
