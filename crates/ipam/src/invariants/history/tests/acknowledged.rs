//! What was acknowledged is there, and what failed is not.

use super::*;

#[test]
fn what_was_answered_is_held_until_it_is_released() {
    type Steps = fn(&mut Cluster);
    let rows: Vec<(&str, Steps, &[&str])> = vec![
        ("nothing happens", |_| {}, &[]),
        ("another address goes", |c| c.free(9, "10.0.0.2"), &[]),
        (
            "it goes",
            |c| c.free(9, "10.0.0.1"),
            &["IPAMHandleKey(id=h): was answered 10.0.0.1, which nobody holds"],
        ),
        (
            "its block goes",
            |c| c.feed(Event::Wrote { by: None, key: Key::Block(cidr(FIRST)), value: None }),
            &["IPAMHandleKey(id=h): was answered 10.0.0.1, which nobody holds"],
        ),
        (
            "another gets it at once",
            |c| {
                let attribute = Arc::new(Attribute { handle_id: Some("i".into()), ..Attribute::default() });
                c.write(9, FIRST, |b| block::set_attribute(b, 1, (*attribute).clone()));
            },
            &["IPAMHandleKey(id=h): was answered 10.0.0.1, which 'i' holds"],
        ),
        (
            "it is released by handle",
            |c| {
                c.ask(2, Request::ReleaseHandles(vec![id("h")]));
                c.free(2, "10.0.0.1");
            },
            &[],
        ),
        (
            "it is released by address",
            |c| {
                c.ask(2, release("10.0.0.1", None, None));
                c.free(2, "10.0.0.1");
            },
            &[],
        ),
        (
            "another address is released",
            |c| {
                c.ask(2, release("10.0.0.2", None, None));
                c.free(9, "10.0.0.1");
            },
            &["IPAMHandleKey(id=h): was answered 10.0.0.1, which nobody holds"],
        ),
    ];
    for (what, then, wanted) in rows {
        let mut cluster = Cluster::new();
        cluster.take(9, "10.0.0.2", "x");
        cluster.ask(1, assign("a", "h", 1));
        cluster.take(1, "10.0.0.1", "h");
        cluster.answer(1, got(&["10.0.0.1"], 1));
        then(&mut cluster);
        assert_eq!(cluster.told(), wanted, "{what}");
    }
}

/// An answer that names what the store does not hold is wrong at once; unless a release was under way.
#[test]
fn an_answer_is_true() {
    let foreign = Request::Foreign(id("h"));
    for (request, answer) in
        [(assign("a", "h", 1), got(&["10.0.0.1"], 1)), (foreign, Answer::Holds([ip("10.0.0.1")].into()))]
    {
        for (is_released, ends) in
            [(false, None), (true, None), (true, Some(Answer::Done)), (true, Some(Answer::Failed))]
        {
            let mut cluster = Cluster::new();
            if is_released {
                cluster.ask(2, Request::ReleaseHandles(vec![id("h")]));
            }
            // One that is over when the allocation begins has nothing to do with it, unless it failed.
            let excuses = is_released && !matches!(ends, Some(Answer::Done));
            ends.into_iter().for_each(|ends| cluster.answer(2, ends));
            cluster.ask(1, request.clone());
            cluster.answer(1, answer.clone());
            let is_lost = matches!(cluster.told[..], [Violation::Lost { .. }]);
            assert_eq!(is_lost, !excuses, "{:?}", cluster.told);
        }
    }
}

#[test]
fn a_request_that_failed_holds_nothing() {
    /// What happens, and what blocks then hold and the handle counts.
    type Row = (&'static str, fn(&mut Cluster), &'static [(u32, u32)]);
    let rows: Vec<Row> = vec![
        ("nothing is left", |c| c.answer(1, Answer::Failed), &[]),
        ("it was refused", |c| c.answer(1, Answer::Refused), &[]),
        (
            "an address is left",
            |c| {
                c.take(1, "10.0.0.1", "h");
                c.answer(1, Answer::Failed);
            },
            &[(1, 0)],
        ),
        (
            "an address is left, and healed",
            |c| {
                c.take(1, "10.0.0.1", "h");
                c.answer(1, Answer::Failed);
                c.ask(2, Request::ReleaseHandles(vec![id("h")]));
                c.free(2, "10.0.0.1");
                c.answer(2, Answer::Done);
            },
            &[],
        ),
        (
            "a count is left",
            |c| {
                let handle = api::Handle { blocks: [(cidr(SECOND), 2)].into(), deleted: false };
                c.store((Key::Handle(id("h")), Value::Handle(handle)));
                c.answer(1, Answer::Refused);
            },
            &[(0, 2)],
        ),
        (
            "another request of the handle succeeds",
            |c| {
                c.answer(1, Answer::Failed);
                c.ask(2, assign("a", "h", 1));
                c.take(2, "10.0.0.1", "h");
                c.answer(2, got(&["10.0.0.1"], 1));
            },
            &[],
        ),
    ];
    for (what, then, wanted) in rows {
        let mut cluster = Cluster::new();
        // Addresses of others, so that no request overlooks a free one.
        cluster.store(reserved(&["10.0.0.0/29"]));
        cluster.ask(1, assign("a", "h", 1));
        then(&mut cluster);
        cluster.told.clear();
        let mut left = Vec::new();
        cluster.history.check_failed(&mut |violation| match violation {
            Violation::HeldAfterFailure { handle, held, counted, .. } if handle == id("h") => {
                left.push((held, counted));
            }
            other => panic!("{what}: {other}"),
        });
        assert_eq!(left, wanted, "{what}");
    }
}

/// A write that was acknowledged is what is stored, then and later.
#[test]
fn a_write_that_was_acknowledged_is_there() {
    let mut cluster = Cluster::new();
    cluster.take(1, "10.0.0.1", "h");
    let key = Key::Block(cidr(FIRST));
    let value = cluster.history.stored.0.get(&key).cloned();
    cluster.feed(Event::Acknowledged { key: key.clone(), value: value.clone() });
    cluster.feed(Event::Acknowledged { key: Key::Block(cidr(SECOND)), value: None });
    assert_eq!(cluster.told(), [""; 0]);
    cluster.feed(Event::Acknowledged { key: key.clone(), value: None });
    let lost = format!("{key}: is not as the last acknowledged write, or a later one, left it");
    assert_eq!(cluster.told(), std::slice::from_ref(&lost));

    let record = |(key, value): (&Key, &Arc<Value>)| {
        Arc::new(Record { key: key.clone(), value: (**value).clone(), revision: Revision::from(1) })
    };
    let mut records: Vec<_> = cluster.history.stored.0.iter().map(record).collect();
    let lost_of = |cluster: &Cluster, records: &[Arc<Record>]| {
        let mut told = Vec::new();
        cluster.history.check_stored(records, &mut |violation| told.push(violation.to_string()));
        told
    };
    assert_eq!(lost_of(&cluster, &records), [""; 0]);
    records.retain(|record| record.key != key);
    assert_eq!(lost_of(&cluster, &records), std::slice::from_ref(&lost));
    let older = block::create(cidr(FIRST), &Owner::Host("a".into()), None, time(0));
    records.push(record((&key, &Arc::new(Value::Block(older)))));
    assert_eq!(lost_of(&cluster, &records), [lost]);
}
