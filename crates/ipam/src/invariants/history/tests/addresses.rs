//! Which addresses may be taken, which must be found, and which may be freed.

use super::*;

type Row = (&'static str, Vec<(Key, Value)>, Vec<(Key, Value)>, Request, bool);

/// What is stored before the request, what while it runs, the request, and whether it may take 10.0.0.1.
fn rows() -> Vec<Row> {
    let disabled = || pool(json!({"disabled": true}));
    let only = |selector: &str| pool(json!({"nodeSelector": selector}));
    vec![
        ("an enabled pool", vec![], vec![], assign("a", "h", 1), true),
        ("a disabled pool", vec![disabled()], vec![], assign("a", "h", 1), false),
        ("a pool that is disabled in between", vec![], vec![disabled()], assign("a", "h", 1), true),
        (
            "a pool that is enabled in between",
            vec![disabled()],
            vec![pool(json!({}))],
            assign("a", "h", 1),
            true,
        ),
        (
            "a pool that was disabled and is enabled",
            vec![disabled(), pool(json!({}))],
            vec![],
            assign("a", "h", 1),
            true,
        ),
        ("a pool of others", vec![only("has(x)")], vec![], assign("a", "h", 1), false),
        (
            "a pool of this node",
            vec![only("has(x)"), node("a", json!({"x": ""}))],
            vec![],
            assign("a", "h", 1),
            true,
        ),
        (
            "a node that loses its label in between",
            vec![only("has(x)"), node("a", json!({"x": ""}))],
            vec![node("a", json!({}))],
            assign("a", "h", 1),
            true,
        ),
        (
            "a pool of others, and the address has a name",
            vec![only("has(x)")],
            vec![],
            named("a", "h", "10.0.0.1"),
            true,
        ),
        (
            "a disabled pool, and the address has a name",
            vec![disabled()],
            vec![],
            named("a", "h", "10.0.0.1"),
            false,
        ),
        ("other uses", vec![pool(json!({"allowedUses": ["Tunnel"]}))], vec![], assign("a", "h", 1), false),
        (
            "a pool to be named",
            vec![pool(json!({"assignmentMode": "Manual"}))],
            vec![],
            assign("a", "h", 1),
            false,
        ),
        ("a reserved address", vec![reserved(&["10.0.0.1"])], vec![], assign("a", "h", 1), false),
        ("one that is reserved in between", vec![], vec![reserved(&["10.0.0.1"])], assign("a", "h", 1), true),
        (
            "a reserved address that has a name",
            vec![reserved(&["10.0.0.1"])],
            vec![],
            named("a", "h", "10.0.0.1"),
            true,
        ),
        ("an unknown node", vec![], vec![], assign("z", "h", 1), false),
        ("another network", vec![pool(json!({"cidr": "10.0.0.4/30"}))], vec![], assign("a", "h", 1), false),
    ]
}

#[test]
fn an_allocation_lies_in_a_pool_that_allows_it() {
    for (what, before, between, request, is_allowed) in rows() {
        let host = if let Request::Assign(request) = &request { request.host.clone() } else { "a".into() };
        let mut cluster = Cluster::new();
        before.into_iter().for_each(|record| cluster.store(record));
        cluster.ask(1, request);
        between.into_iter().for_each(|record| cluster.store(record));
        cluster.take(1, "10.0.0.1", "h");
        let text = format!(
            "BlockKey(cidr={FIRST}): 10.0.0.1 was assigned to handle h, but no pool allowed host {host} that"
        );
        assert_eq!(cluster.told(), Vec::from_iter((!is_allowed).then_some(text)), "{what}");
    }
}

/// Where guards are honoured, only the pool of the very moment counts; nodes and reservations are not
/// guarded.
#[test]
fn a_guarded_pool_allows_an_allocation_when_it_is_made() {
    let disabled = || pool(json!({"disabled": true}));
    for (before, between, is_allowed) in [
        (pool(json!({})), disabled(), false),
        (disabled(), pool(json!({})), true),
        (node("a", json!({})), reserved(&["10.0.0.1"]), true),
    ] {
        let mut cluster = Cluster::new();
        cluster.history = cluster.history.with_guards();
        cluster.store(before);
        cluster.ask(1, assign("a", "h", 1));
        cluster.store(between);
        cluster.take(1, "10.0.0.1", "h");
        assert_eq!(cluster.told().is_empty(), is_allowed);
    }
}

#[test]
fn a_pool_that_is_gone_allows_nothing() {
    let mut cluster = Cluster::new();
    let (key, _) = pool(json!({}));
    cluster.feed(Event::Wrote { by: None, key, value: None });
    cluster.ask(1, assign("a", "h", 1));
    cluster.take(1, "10.0.0.1", "h");
    assert!(matches!(cluster.told[..], [Violation::NotAllowed { .. }]), "{:?}", cluster.told);
}

/// The reply of a release is lost, another handle takes the address, and the release is tried again.
#[test]
fn a_release_frees_an_address_once() {
    let mut cluster = Cluster::new();
    cluster.take(1, "10.0.0.1", "h");
    cluster.ask(2, release("10.0.0.1", None, None));
    cluster.free(2, "10.0.0.1");
    assert_eq!(cluster.told(), [""; 0]);
    let first = cluster.sequence("10.0.0.1");
    cluster.take(3, "10.0.0.1", "i");
    let second = cluster.sequence("10.0.0.1");
    assert_ne!(first, second);
    cluster.free(2, "10.0.0.1");
    let told = cluster.told();
    assert!(told.len() == 1 && told[0].contains("handle i"), "{told:?}");
    assert!(told[0].contains(&format!("sequence number {second}")), "{told:?}");
}

#[test]
fn a_release_frees_only_what_it_means() {
    let number = |by: u64| move |held: u64| Some(held + by);
    type Number = Box<dyn Fn(u64) -> Option<u64>>;
    let rows: Vec<(&str, Option<&str>, Number, bool)> = vec![
        ("no condition", None, Box::new(|_| None), true),
        ("its handle", Some("h"), Box::new(|_| None), true),
        ("another handle", Some("i"), Box::new(|_| None), false),
        ("its number", None, Box::new(number(0)), true),
        ("another number", None, Box::new(number(1)), false),
        ("its handle, another number", Some("h"), Box::new(number(1)), false),
    ];
    for (what, handle, sequence, is_meant) in rows {
        let mut cluster = Cluster::new();
        cluster.take(1, "10.0.0.1", "h");
        cluster.ask(2, release("10.0.0.1", handle, sequence(cluster.sequence("10.0.0.1"))));
        cluster.free(2, "10.0.0.1");
        assert_eq!(cluster.told.is_empty(), is_meant, "{what}: {:?}", cluster.told);
        assert!(cluster.told.iter().all(|v| matches!(v, Violation::FreedAnothers { .. })));
    }
    let requests: Vec<(&str, Request, bool)> = vec![
        ("its address", release("10.0.0.1", None, None), true),
        ("another address", release("10.0.0.2", None, None), false),
        ("its handle", Request::ReleaseHandles(vec![id("i"), id("h")]), true),
        ("another handle", Request::ReleaseHandles(vec![id("i")]), false),
        ("an allocation", assign("a", "i", 1), false),
        ("an allocation of that handle", assign("a", "h", 1), false),
        ("a change of owners", Request::Other, false),
        ("another program", Request::Foreign(id("i")), true),
    ];
    for (what, request, is_meant) in requests {
        let mut cluster = Cluster::new();
        cluster.take(1, "10.0.0.1", "h");
        cluster.ask(2, request);
        cluster.free(2, "10.0.0.1");
        assert_eq!(cluster.told.is_empty(), is_meant, "{what}: {:?}", cluster.told);
    }
}

/// A write that arrives after its request has ended frees nothing that was taken since.
#[test]
fn a_late_release_frees_nothing_newer() {
    for is_newer in [false, true] {
        let mut cluster = Cluster::new();
        cluster.take(1, "10.0.0.1", "h");
        cluster.ask(2, Request::ReleaseHandles(vec![id("h")]));
        cluster.answer(2, Answer::Failed);
        if is_newer {
            cluster.free(9, "10.0.0.1");
            cluster.take(3, "10.0.0.1", "h");
        }
        cluster.free(2, "10.0.0.1");
        assert_eq!(cluster.told.len(), usize::from(is_newer), "{:?}", cluster.told);
    }
}

/// A request that gives back what it took itself is in its right.
#[test]
fn a_request_takes_back_its_own() {
    let mut cluster = Cluster::new();
    cluster.ask(1, assign("a", "h", 8));
    cluster.take(1, "10.0.0.1", "h");
    cluster.free(1, "10.0.0.1");
    cluster.answer(1, Answer::Failed);
    assert_eq!(cluster.told(), [""; 0]);
}

/// Each row: what is there before a request for two addresses, what happens while the request runs, and how
/// many free addresses the request has overlooked if it ends with no address.
type Search = (&'static str, Vec<(Key, Value)>, fn(&mut Cluster), fn(&mut Cluster), u32);

fn searches() -> Vec<Search> {
    fn nothing(_: &mut Cluster) {}
    fn fill(cluster: &mut Cluster) {
        for n in 0..8 {
            cluster.take(9, &format!("10.0.0.{n}"), "x");
        }
    }
    fn all_but_one(cluster: &mut Cluster) {
        fill(cluster);
        cluster.free(9, "10.0.0.6");
    }
    vec![
        ("an empty pool", vec![], nothing, nothing, 8),
        ("a full pool", vec![], fill, nothing, 0),
        ("a pool that fills up", vec![], nothing, fill, 0),
        ("one that was left and becomes free", vec![], fill, |c| c.free(9, "10.0.0.6"), 0),
        ("one that is free all the time", vec![], all_but_one, |c| c.free(9, "10.0.0.7"), 1),
        (
            "one that is free, taken, and free",
            vec![],
            all_but_one,
            |c| {
                c.take(9, "10.0.0.6", "y");
                c.free(9, "10.0.0.6");
            },
            0,
        ),
        ("reserved addresses", vec![reserved(&["10.0.0.0/29"])], nothing, nothing, 0),
        ("a disabled pool", vec![pool(json!({"disabled": true}))], nothing, nothing, 0),
        (
            "a pool that is disabled meanwhile",
            vec![],
            nothing,
            |c| c.store(pool(json!({"disabled": true}))),
            0,
        ),
        (
            "others' blocks, and affinity is strict",
            vec![config(|c| c.strict_affinity = true)],
            |c| {
                c.write(9, FIRST, |b| b.affinity = Some("host:b".into()));
                c.write(9, SECOND, |b| b.affinity = None);
            },
            nothing,
            0,
        ),
        (
            "its own block, and affinity is strict",
            vec![config(|c| c.strict_affinity = true)],
            |c| {
                c.write(9, FIRST, |_| {});
                c.write(9, SECOND, |b| b.affinity = None);
            },
            nothing,
            4,
        ),
        ("nobody may claim a block", vec![config(|c| c.auto_allocate_blocks = false)], nothing, nothing, 0),
        ("a block of another size is in the way", vec![], |c| c.write(9, "10.0.0.0/31", |_| {}), nothing, 4),
    ]
}

#[test]
fn a_free_address_is_found() {
    for (what, records, before, between, overlooked) in searches() {
        let mut cluster = Cluster::new();
        records.into_iter().for_each(|record| cluster.store(record));
        before(&mut cluster);
        cluster.ask(1, assign("a", "h", 2));
        between(&mut cluster);
        cluster.answer(1, got(&[], 2));
        let counts: Vec<u32> = cluster
            .told
            .iter()
            .map(|violation| match violation {
                Violation::Overlooked { count, .. } => *count,
                other => panic!("{what}: {other}"),
            })
            .collect();
        assert_eq!(counts, Vec::from_iter((overlooked > 0).then_some(overlooked)), "{what}");
    }
}

/// An address for a tunnel is never borrowed.
#[test]
fn what_only_a_borrower_could_have_is_not_overlooked_by_others() {
    for (intended_use, is_overlooked) in [(Use::Workload, true), (Use::Tunnel, false)] {
        let mut cluster = Cluster::new();
        cluster.write(9, FIRST, |b| b.affinity = Some("host:b".into()));
        cluster.write(9, SECOND, |b| b.affinity = None);
        let Request::Assign(request) = assign("a", "h", 2) else { panic!("no assignment") };
        cluster.ask(1, Request::Assign(AutoAssign { intended_use, ..request }));
        cluster.answer(1, got(&[], 2));
        let is_told = matches!(cluster.told[..], [Violation::Overlooked { count: 8, .. }]);
        assert_eq!((is_told, cluster.told.is_empty()), (is_overlooked, !is_overlooked), "{intended_use:?}");
    }
}

#[test]
fn a_request_that_gets_all_overlooks_nothing() {
    let mut cluster = Cluster::new();
    cluster.ask(1, assign("a", "h", 1));
    cluster.take(1, "10.0.0.1", "h");
    cluster.answer(1, got(&["10.0.0.1"], 1));
    // All or nothing: there are eight addresses, and it wanted nine.
    for (wanted, overlooked) in [(9, 0), (7, 1)] {
        let Request::Assign(request) = assign("a", "i", wanted) else { unreachable!() };
        cluster.ask(2, Request::Assign(AutoAssign { all_or_nothing: true, ..request }));
        cluster.answer(2, got(&[], wanted));
        assert_eq!(cluster.told().len(), overlooked, "{wanted}");
    }
}

#[test]
fn a_named_address_that_is_free_is_given() {
    for (before, is_free) in [(None, true), (Some("10.0.0.2"), true), (Some("10.0.0.1"), false)] {
        let mut cluster = Cluster::new();
        before.into_iter().for_each(|addr| cluster.take(9, addr, "x"));
        cluster.ask(1, named("b", "h", "10.0.0.1"));
        cluster.answer(1, Answer::Refused);
        let text = "IPPool(p): host b got too few addresses, but 10.0.0.1 was free".to_string();
        assert_eq!(cluster.told(), Vec::from_iter(is_free.then_some(text)), "{before:?}");
    }
}

/// What has cooled down when a request begins is free; what has not, is not.
#[test]
fn what_has_cooled_down_is_free() {
    for (waits, is_free) in [(20, false), (40, true)] {
        let mut cluster = Cluster::with([
            config(|c| c.cooldown_seconds = 30),
            reserved(&[SECOND, "10.0.0.0/31", "10.0.0.2"]),
        ]);
        cluster.take(9, "10.0.0.3", "x");
        let ips = [ReleaseIp { addr: ip("10.0.0.3"), handle: None, sequence: None }];
        cluster.write(9, FIRST, |b| drop(block::release(b, &ips, time(0), 30).unwrap()));
        cluster.seconds = waits;
        cluster.ask(1, assign("a", "h", 1));
        cluster.answer(1, got(&[], 1));
        assert_eq!(cluster.told().len(), usize::from(is_free), "after {waits} s");
    }
}
