//! How events of watches, and this process's own writes, change a kept view.

use api::{Handle, HandleId, Value};

use super::*;
use crate::read::ReadSet;

const ALL: Scope = Scope::Handles;

fn key(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

fn record(name: &str, revision: i64) -> Arc<Record> {
    let value = Value::Handle(Handle::default());
    Arc::new(Record { key: key(name), value, revision: Revision::from(revision) })
}

fn unreadable(name: &str, revision: i64) -> Event {
    let error = DecodeError::new(key(name), "", "nonsense");
    Event::Unreadable(key(name), Arc::new(crate::Unreadable { error, revision: Revision::from(revision) }))
}

fn fold(view: &mut View, events: impl IntoIterator<Item = Event>) {
    events.into_iter().for_each(|event| view.fold(&ALL, &event));
}

/// A view with a watch that told these records as the present state of that revision.
fn watched(records: &[Arc<Record>], at: i64) -> View {
    let mut view = View::new();
    fold(&mut view, [Event::Init]);
    fold(&mut view, records.iter().cloned().map(Event::InitApply));
    fold(&mut view, [Event::InitDone(Revision::from(at))]);
    view
}

fn state(view: &View, name: &str) -> String {
    match view.get(&key(name)) {
        None => "unread".to_string(),
        Some(Slot::Absent) => "absent".to_string(),
        Some(Slot::Unreadable(unreadable)) => format!("unreadable at {}", unreadable.revision),
        Some(slot) => format!("at {}", slot.revision().unwrap()),
    }
}

/// A batch of one write, with the report that it was applied at that revision, or refused because of a stored
/// record.
fn written(name: &str, is_put: bool, outcome: Outcome) -> (Batch, Report) {
    let mut batch = Batch::new();
    match is_put {
        true => batch.put(key(name), crate::Expect::Absent, Value::Handle(Handle::default())),
        false => batch.delete(key(name), crate::Expect::Revision(Revision::from(1))),
    };
    (batch, Report { outcomes: vec![outcome], broken_guard: None })
}

#[test]
fn an_event_older_than_what_is_known_changes_nothing() {
    let put = |revision| ("put", Some(revision));
    let deleted = |revision| ("deleted", Some(revision));
    // Each row: the known state of the record, the event, and the state that the view knows after it.
    for (known, (event, revision), then) in [
        (put(5), put(4), "at 5"),
        (put(5), put(5), "at 5"),
        (put(5), put(10), "at 10"),
        (put(5), deleted(4), "at 5"),
        (put(5), deleted(10), "absent"),
        (put(5), ("unreadable", Some(4)), "at 5"),
        (put(5), ("unreadable", Some(10)), "unreadable at 10"),
        (deleted(5), put(4), "absent"),
        (deleted(5), put(5), "absent"),
        (deleted(5), put(10), "at 10"),
        (deleted(5), deleted(4), "absent"),
        (deleted(5), ("unreadable", Some(4)), "absent"),
        (("", None), put(1), "at 1"),
        (("", None), deleted(1), "absent"),
    ] {
        let mut view = watched(&[record("a", 2)], 2);
        if let (what, Some(at)) = known {
            let (batch, report) = written("a", what == "put", Outcome::Applied(Revision::from(at)));
            view = view.after(&batch, &report);
        } else {
            view = watched(&[], 1);
        }
        let at = revision.unwrap();
        let told = match event {
            "put" => Event::Apply(record("a", at)),
            "unreadable" => unreadable("a", at),
            _ => Event::Delete(key("a"), Revision::from(at)),
        };
        fold(&mut view, [told]);
        assert_eq!(state(&view, "a"), then, "{known:?}, then {event} at {at}");
    }
}

#[test]
fn a_deletion_of_ones_own_holds_until_the_watch_has_told_as_much() {
    let (batch, report) = written("a", false, Outcome::Applied(Revision::from(5)));
    let mut view = watched(&[record("a", 2)], 2).after(&batch, &report);
    // The first list is from before the write, the second from after it.
    fold(&mut view, [Event::Init, Event::InitApply(record("a", 2)), Event::InitDone(Revision::from(4))]);
    assert_eq!(state(&view, "a"), "absent");
    fold(&mut view, [Event::Delete(key("a"), Revision::from(5))]);
    assert!(view.ahead.is_empty());
    fold(&mut view, [Event::Apply(record("a", 6))]);
    assert_eq!(state(&view, "a"), "at 6");
    let (batch, report) = written("a", false, Outcome::Applied(Revision::from(8)));
    let mut view = view.after(&batch, &report);
    fold(&mut view, [Event::Init, Event::InitDone(Revision::from(9))]);
    assert!(view.ahead.is_empty());
}

#[test]
fn what_a_present_state_does_not_name_is_gone_unless_it_is_later() {
    let mut view = watched(&[record("old", 1), record("kept", 2)], 3);
    let (batch, report) = written("own", true, Outcome::Applied(Revision::from(12)));
    view = view.after(&batch, &report);
    fold(&mut view, [Event::Init, Event::InitApply(record("kept", 2))]);
    assert_eq!(state(&view, "old"), "at 1", "not all is told");
    fold(&mut view, [Event::InitApply(record("new", 9)), Event::InitDone(Revision::from(10))]);
    let states = ["old", "kept", "new", "own"].map(|name| state(&view, name));
    assert_eq!(states, ["absent", "at 2", "at 9", "at 12"]);
    assert_eq!(view.read_at(&ALL), Some(&Revision::from(10)));
}

#[test]
fn a_store_that_was_put_back_is_as_it_is() {
    let mut view = watched(&[record("a", 19), record("b", 20)], 20);
    let (batch, report) = written("own", true, Outcome::Applied(Revision::from(22)));
    view = view.after(&batch, &report);
    let back = [Event::Init, Event::InitApply(record("a", 9)), Event::InitDone(Revision::from(10))];
    fold(&mut view, back.clone());
    let states = |view: &View| ["a", "b", "own"].map(|name| state(view, name));
    assert_eq!(states(&view), ["at 9", "absent", "at 22"], "the list may be older than one's own write");
    fold(&mut view, back);
    assert_eq!(states(&view), ["at 9", "absent", "absent"], "but not two of them");
    assert!(view.ahead.is_empty());
}

#[test]
fn a_put_of_ones_own_is_ahead_until_it_is_told() {
    let (batch, report) = written("a", true, Outcome::Applied(Revision::from(5)));
    let mut view = watched(&[record("a", 2)], 2).after(&batch, &report);
    assert_eq!(view.ahead.len(), 1);
    fold(&mut view, [Event::Apply(record("a", 3))]);
    assert_eq!((state(&view, "a"), view.ahead.len()), ("at 5".to_string(), 1));
    fold(&mut view, [Event::Apply(record("a", 5))]);
    assert_eq!((state(&view, "a"), view.ahead.len()), ("at 5".to_string(), 0));
}

#[test]
fn a_write_that_the_watch_has_told_of_already_is_not_ahead() {
    for is_put in [true, false] {
        let mut view = watched(&[record("a", 2)], 2);
        let told =
            if is_put { Event::Apply(record("a", 5)) } else { Event::Delete(key("a"), Revision::from(5)) };
        fold(&mut view, [told]);
        let (batch, report) = written("a", is_put, Outcome::Applied(Revision::from(5)));
        let view = view.after(&batch, &report);
        assert_eq!(state(&view, "a"), if is_put { "at 5" } else { "absent" });
        assert!(view.ahead.is_empty());
    }
}

#[test]
fn revisions_without_an_order_hold_as_they_come() {
    let mut view = watched(&[record("a", 5)], 5);
    let strange = Arc::new(Record { revision: Revision::new("x"), ..(*record("a", 0)).clone() });
    fold(&mut view, [Event::Apply(strange)]);
    assert_eq!(state(&view, "a"), "at x");
    fold(&mut view, [Event::Apply(record("a", 3))]);
    assert_eq!(state(&view, "a"), "at 3");
    fold(&mut view, [Event::Delete(key("a"), Revision::new("y"))]);
    assert_eq!(state(&view, "a"), "absent");
}

#[test]
fn what_cannot_be_read_is_never_absent() {
    let mut view = View::new();
    let stray = |key: &str| DecodeError::new(key, "", "its key is no record's");
    fold(&mut view, [Event::Init, unreadable("bad", 3), Event::Stray(stray("x"))]);
    assert_eq!((state(&view, "bad"), view.faults().len()), ("unread".to_string(), 0));
    fold(&mut view, [Event::InitDone(Revision::from(4)), Event::Stray(stray("y"))]);
    assert_eq!((state(&view, "bad"), view.faults().len()), ("unreadable at 3".to_string(), 3));
    fold(&mut view, [Event::StrayGone("y".to_string()), Event::Apply(record("bad", 5))]);
    assert_eq!((state(&view, "bad"), view.faults().len()), ("at 5".to_string(), 1));
    fold(&mut view, [unreadable("bad", 6), Event::Init, Event::InitDone(Revision::from(7))]);
    assert_eq!((state(&view, "bad"), view.faults().len()), ("absent".to_string(), 0));
}

#[test]
fn what_is_in_doubt_is_left_as_it_was_known() {
    let view = watched(&[record("a", 2)], 2);
    let met = record("a", 7);
    for (outcome, then) in [
        (Outcome::Unknown(String::new()), "at 2"),
        (Outcome::NotTried, "at 2"),
        (Outcome::Refused(Refusal::Conflict(Current::Unknown)), "at 2"),
        (Outcome::Refused(Refusal::Conflict(Current::Absent)), "at 2"),
        (Outcome::Refused(Refusal::Conflict(Current::Record(met))), "at 7"),
    ] {
        let (batch, report) = written("a", true, outcome);
        assert_eq!(state(&view.after(&batch, &report), "a"), then, "{report:?}");
    }
}

#[test]
fn a_write_outside_of_what_is_known_is_known_alone() {
    let (batch, report) = written("a", true, Outcome::Applied(Revision::from(5)));
    let view = View::new().after(&batch, &report);
    assert_eq!((state(&view, "a"), state(&view, "b")), ("at 5".to_string(), "unread".to_string()));
    let (batch, report) = written("a", false, Outcome::Applied(Revision::from(6)));
    let view = view.after(&batch, &report);
    assert_eq!(state(&view, "a"), "absent");
    assert!(view.ahead.is_empty(), "no watch will tell of it");
}

#[test]
fn a_clone_keeps_what_it_knew() {
    let mut view = watched(&[record("a", 2), record("b", 2)], 2);
    let clone = view.clone();
    fold(&mut view, [Event::Apply(record("a", 3)), Event::Delete(key("b"), Revision::from(4))]);
    assert_eq!((state(&clone, "a"), state(&clone, "b")), ("at 2".to_string(), "at 2".to_string()));
    assert_eq!((state(&view, "a"), state(&view, "b")), ("at 3".to_string(), "absent".to_string()));
}

#[test]
fn what_is_lacking_is_what_is_not_known_so_deep() {
    let view = watched(&[record("a", 2)], 2);
    let set = ReadSet::new()
        .keys([key("a"), key("b"), Key::IpamConfig])
        .scope(ALL, Depth::Full)
        .scope(Scope::Blocks { family: None }, Depth::Key);
    let lacking = view.lacking(&set);
    assert_eq!(lacking.keys, [(Key::IpamConfig, Depth::Full)]);
    assert_eq!(
        lacking.scopes.iter().map(|read| &read.scope).collect::<Vec<_>>(),
        [&Scope::Blocks { family: None }]
    );
}
