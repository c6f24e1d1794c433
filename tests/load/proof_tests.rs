//! The proof can fail: it finds every kind of fault in data that were made wrong by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::dump::Dump;
use crate::ledger::{Event, Line};
use crate::proof::{check, too_slow, unanswered};

const BLOCK: &str = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";
const AFFINITY: &str = "/calico/ipam/v2/host/n/ipv4/block/10.0.0.0-30";
const HANDLE: &str = "/calico/ipam/v2/handle/load-a";
const STORED: &str = r#"{"cidr":"10.0.0.0/30","affinity":"host:n","allocations":[0,null,null,null],"unallocated":[1,2,3],"attributes":[{"handle_id":"load-a"}],"sequenceNumber":9,"sequenceNumberForAllocation":{"0":8},"deleted":false}"#;

fn sound() -> Dump {
    let mut dump = Dump::default();
    dump.0.insert(BLOCK.into(), STORED.into());
    dump.0.insert(AFFINITY.into(), r#"{"state":"confirmed","deleted":false}"#.into());
    dump.0.insert(HANDLE.into(), r#"{"block":{"10.0.0.0/30":1},"deleted":false}"#.into());
    dump
}

fn set(texts: &[&str]) -> BTreeSet<std::net::IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn got(handle: &str, addr: &str) -> [Event; 2] {
    let asks = Event::Asks { handle: handle.into(), host: "n".into(), count: 1 };
    [asks, Event::Got { handle: handle.into(), addresses: set(&[addr]) }]
}

fn lines(events: impl IntoIterator<Item = Event>) -> Vec<Line> {
    let line = |(at, event)| Line { at: at as i64 * 1_000_000_000, worker: 0, event };
    events.into_iter().enumerate().map(line).collect()
}

fn texts(lines: &[Line], dump: &Dump) -> String {
    check(lines, dump, 0).into_iter().map(|wrong| wrong.what + "\n").collect()
}

#[test]
fn sound_data_is_sound() {
    assert_eq!(texts(&lines(got("load-a", "10.0.0.0")), &sound()), "");
}

#[test]
fn answers_that_disagree_with_the_store() {
    let all: &[&str] = &[];
    let returns = |of: &[&str]| Event::Returns { handle: "load-a".into(), addresses: set(of) };
    let returned = || Event::Returned { handle: "load-a".into() };
    let a = || got("load-a", "10.0.0.0").to_vec();
    let rows: [(Vec<Event>, &str); 7] = [
        (vec![], "held by load-a, for which nobody asked"),
        (got("load-a", "10.0.0.1").to_vec(), "was answered {10.0.0.1}, but holds {10.0.0.0}"),
        ([a(), got("load-b", "10.0.0.1").to_vec()].concat(), "load-b was answered {10.0.0.1}, but holds {}"),
        ([a(), vec![returns(all), returned()]].concat(), "load-a was answered {}, but holds {10.0.0.0}"),
        ([a(), vec![returns(&["10.0.0.0"]), returned()]].concat(), "load-a was answered {}, but holds"),
        ([got("load-b", "10.0.0.0").to_vec(), a()].concat(), "given to load-a while load-b had it"),
        ([a(), vec![Event::Choked("index out of range".into())]].concat(), "index out of range"),
    ];
    for (events, wanted) in rows {
        let found = texts(&lines(events), &sound());
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
    // An address of an unanswered request may be stored or not.
    let asks = || got("load-a", "10.0.0.0")[0].clone();
    assert_eq!(texts(&lines([asks()]), &sound()), "");
    assert_eq!(texts(&lines([asks()]), &Dump::default()), "");
    assert_eq!(texts(&lines([a(), vec![returns(all)]].concat()), &sound()), "");
}

#[test]
fn stored_data_that_calico_breaks_on() {
    let rows = [
        (BLOCK, r#""allocations":[0,"#, r#""allocations":[1,"#, "ordinal 0 has index 1 of 1 attributes"),
        (BLOCK, r#""attributes":["#, r#""attributes":[{},"#, "uses 1 of 2 attributes"),
        (BLOCK, "[1,2,3]", "[1,2]", "lists [1,2] as free"),
        (BLOCK, "[1,2,3]", "[1,2,3,3]", "lists [1,2,3,3] as free"),
        (BLOCK, r#"{"0":8}"#, r#"{"0":9}"#, "sequence number 9 for ordinal 0"),
        (BLOCK, r#"{"0":8}"#, r#"{"1":8}"#, "sequence number 8 for ordinal 1"),
        (BLOCK, "10.0.0.0/30", "10.0.0.4/30", "says that it is 10.0.0.4/30"),
        (BLOCK, "host:n", "host:m", "is affine to host:m, who has no affinity to it"),
        (HANDLE, r#"/30":1"#, r#"/30":0"#, "counts 0 of 10.0.0.0/30"),
        (HANDLE, r#"/30":1"#, r#"/30":1,"10.0.0.4/30":-1"#, "counts -1 of 10.0.0.4/30"),
        (HANDLE, r#"{"10.0.0.0/30":1}"#, "null", "`block` is no object"),
        (AFFINITY, "confirmed", "claimed", "affinity n/ipv4/block/10.0.0.0-30"),
    ];
    for (path, from, to, wanted) in rows {
        let mut dump = sound();
        let text = dump.0.get_mut(path).unwrap();
        assert!(text.contains(from), "{from}");
        *text = text.replace(from, to);
        let found = texts(&lines(got("load-a", "10.0.0.0")), &dump);
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
    let mut twice = sound();
    let nested = STORED.replace("10.0.0.0/30", "10.0.0.0/31").replace("[0,null,null,null]", "[0,null]");
    twice.0.insert(BLOCK.replace("-30", "-31"), nested.replace("[1,2,3]", "[1]"));
    let found = texts(&lines(got("load-a", "10.0.0.0")), &twice);
    assert!(found.contains("10.0.0.0 is also held in block 10.0.0.0/30"), "{found}");
    let mut two = sound();
    let text = STORED.replace("[0,null", "[0,0").replace("[1,2,3]", "[2,3]").replace(":8}", r#":8,"1":8}"#);
    two.0.insert(BLOCK.into(), text);
    let found = texts(&lines(got("load-a", "10.0.0.0")), &two);
    assert!(found.contains("counts 1 addresses of block 10.0.0.0/30, which holds 2"), "{found}");
}

/// A block without an affinity is a fault, unless a claim may have been interrupted. A second such block is
/// one again.
#[test]
fn claims_cut_short_are_counted() {
    let mut dump = sound();
    dump.0.remove(AFFINITY);
    let lines = lines(got("load-a", "10.0.0.0"));
    let found =
        |dump: &Dump, cut| check(&lines, dump, cut).into_iter().map(|wrong| wrong.what).collect::<Vec<_>>();
    assert!(found(&dump, 0)[0].contains("is affine to host:n, who has no affinity to it"));
    assert_eq!(found(&dump, 1), [""; 0]);
    let other = STORED.replace("10.0.0.0/30", "10.0.0.4/30").replace("[0,null", "[null,null");
    let other = other
        .replace("[1,2,3]", "[0,1,2,3]")
        .replace(r#"[{"handle_id":"load-a"}]"#, "[]")
        .replace(r#"{"0":8}"#, "{}");
    dump.0.insert(BLOCK.replace("0-30", "4-30"), other);
    assert_eq!(found(&dump, 1).len(), 1, "{:?}", found(&dump, 1));
}

#[test]
fn requests_without_an_answer() {
    let [asks, got] = got("load-a", "10.0.0.0");
    let failed = Event::Failed { handle: "load-a".into(), reason: "the worker has crashed".into() };
    let refused = Event::Refused { handle: "load-a".into(), reason: "full".into() };
    let rows = [
        (vec![asks.clone()], 1),
        (vec![asks.clone(), failed], 1),
        (vec![asks.clone(), got], 0),
        (vec![asks, refused], 0),
    ];
    for (events, wanted) in rows {
        assert_eq!(unanswered(&lines(events.clone())).count(), wanted, "{events:?}");
    }
}

#[test]
fn slow_answers_are_found() {
    let lines = lines(got("load-a", "10.0.0.0"));
    assert!(too_slow(&lines, Duration::from_secs(1)).is_empty());
    assert_eq!(too_slow(&lines, Duration::from_millis(999)).len(), 1);
}
