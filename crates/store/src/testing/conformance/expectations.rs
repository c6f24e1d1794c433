//! Single writes: their expectations, and their refusals.

use api::{Key, Kind, Revision};

use super::Backend;
use super::fixture::*;
use crate::batch::{Current, Expect, Op, Outcome};
use crate::error::Refusal;

/// Whether a write was refused because of the state that it found. The report may leave the current record
/// out, but must not give a wrong one.
fn is_conflict(outcome: &Outcome, found: Option<&Revision>) -> bool {
    match outcome {
        Outcome::Refused(Refusal::Conflict(Current::Record(record))) => Some(&record.revision) == found,
        Outcome::Refused(Refusal::Conflict(Current::Absent)) => found.is_none(),
        Outcome::Refused(Refusal::Conflict(Current::Unknown)) => true,
        _ => false,
    }
}

/// A created record is read back with its value, at the revision that the report gives.
pub async fn a_created_record_is_read_back<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("a"), counted(1)).await;
    let record = find(&store, &handle("a")).await.unwrap();
    assert_eq!((&record.key, &record.value, &record.revision), (&handle("a"), &counted(1), &revision));
    let pool = Key::global(Kind::IPPool, "pool");
    create(&store, &pool, resource(&pool)).await;
    assert_eq!(find(&store, &pool).await.unwrap().resource().unwrap().metadata().name, "pool");
}

/// A create is applied where there is no record, and else refused with the record that it found.
pub async fn a_create_over_a_record_is_refused<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("a"), counted(1)).await;
    let outcome = put(&store, &handle("a"), Expect::Absent, counted(2)).await;
    assert!(is_conflict(&outcome, Some(&revision)), "{outcome:?}");
    assert_eq!(find(&store, &handle("a")).await.unwrap().value, counted(1));
}

/// An update at the present revision is applied; an update at an older revision is refused with the current
/// record.
pub async fn an_update_needs_the_present_revision<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let first = create(&store, &handle("a"), counted(1)).await;
    let second = applied(&put(&store, &handle("a"), Expect::Revision(first.clone()), counted(2)).await);
    assert_ne!(first, second);
    let outcome = put(&store, &handle("a"), Expect::Revision(first), counted(3)).await;
    assert!(is_conflict(&outcome, Some(&second)), "{outcome:?}");
    let record = find(&store, &handle("a")).await.unwrap();
    assert_eq!((&record.value, &record.revision), (&counted(2), &second));
}

/// An update of an absent record is refused, and creates nothing.
pub async fn an_update_of_nothing_is_refused<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("other"), counted(1)).await;
    let outcome = put(&store, &handle("a"), Expect::Revision(revision), counted(1)).await;
    assert!(is_conflict(&outcome, None), "{outcome:?}");
    assert_eq!(find(&store, &handle("a")).await, None);
}

/// A delete at the present revision is applied; a delete at an older revision is refused.
pub async fn a_delete_needs_the_present_revision<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let first = create(&store, &handle("a"), counted(1)).await;
    let second = set(&store, &handle("a"), counted(2)).await;
    let outcome = write(&store, &handle("a"), Expect::Revision(first), Op::Delete).await;
    assert!(is_conflict(&outcome, Some(&second)), "{outcome:?}");
    assert!(find(&store, &handle("a")).await.is_some());
    applied(&write(&store, &handle("a"), Expect::Revision(second), Op::Delete).await);
    assert_eq!(find(&store, &handle("a")).await, None);
}

/// A delete of a deleted record is refused, and the report says that the record is absent.
pub async fn a_delete_of_nothing_is_refused<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("a"), counted(1)).await;
    delete(&store, &handle("a")).await;
    let outcome = write(&store, &handle("a"), Expect::Revision(revision), Op::Delete).await;
    assert!(is_conflict(&outcome, None), "{outcome:?}");
}

/// A revision means one state for ever: after a delete and a create, the old revision matches nothing.
pub async fn revisions_are_never_used_again<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut seen = Vec::new();
    for round in 0..4 {
        let revision = create(&store, &handle("a"), counted(1)).await;
        assert!(!seen.contains(&revision), "{revision} in round {round}");
        for old in &seen {
            let outcome = put(&store, &handle("a"), Expect::Revision(Revision::clone(old)), counted(9)).await;
            assert!(is_conflict(&outcome, Some(&revision)), "{outcome:?}");
            let outcome = write(&store, &handle("a"), Expect::Revision(old.clone()), Op::Delete).await;
            assert!(is_conflict(&outcome, Some(&revision)), "{outcome:?}");
        }
        seen.push(revision);
        delete(&store, &handle("a")).await;
    }
}

/// A text that is no revision of this backend matches no state. It gives a refusal, and no error.
pub async fn foreign_revisions_match_nothing<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("a"), counted(1)).await;
    for text in ["", "0", "999999999999", "+1", "01", "x"] {
        let outcome = put(&store, &handle("a"), Expect::Revision(Revision::new(text)), counted(2)).await;
        assert!(is_conflict(&outcome, Some(&revision)), "{text:?}: {outcome:?}");
    }
}

/// A put of the value that is stored already gives a new revision, where the backend promises that.
pub async fn an_equal_put_is_a_write<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let first = create(&store, &handle("a"), counted(1)).await;
    let outcome = put(&store, &handle("a"), Expect::Revision(first.clone()), counted(1)).await;
    let second = applied(&outcome);
    if backend.promises().touch {
        assert_ne!(first, second);
    }
    assert_eq!(find(&store, &handle("a")).await.unwrap().revision, second);
}

/// Characters that a layer below might escape or fold are read back unchanged.
pub async fn texts_survive<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut value = block_value("10.0.0.0/30", &host("node1"), 7);
    let api::Value::Block(stored) = &mut value else { unreachable!() };
    let mut attribute = (*stored.attributes[0]).clone();
    attribute.handle_id = Some("K8s-Pod.<&>'\"\\%_\u{2028}é🦀".to_string());
    attribute.owner.insert("note".to_string(), "a\nb\tc\u{0}d".to_string());
    stored.attributes[0] = attribute.into();
    create(&store, &block("10.0.0.0/30"), value.clone()).await;
    assert_eq!(find(&store, &block("10.0.0.0/30")).await.unwrap().value, value);
}

/// Names with special characters, and names that differ in case alone, are kept apart.
pub async fn names_survive<B: Backend>(backend: &B) {
    if !backend.promises().names {
        return;
    }
    let store = backend.fresh().await;
    for name in ["Case", "case", "k8s-pod-network.0123456789abcdef", "under_score", "per%cent"] {
        create(&store, &handle(name), counted(name.len() as u32)).await;
    }
    assert_eq!(find(&store, &handle("Case")).await.unwrap().value, counted(4));
    delete(&store, &handle("Case")).await;
    assert!(find(&store, &handle("case")).await.is_some());
}
