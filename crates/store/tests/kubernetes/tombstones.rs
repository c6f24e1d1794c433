//! Deletion in two phases: what its first phase leaves, and how that is read.

use api::{Family, Owner};
use store::{Current, Depth, Event, Expect, Op, Outcome, ReadSet, Refusal, Scope, Store, Watch};

use super::fixture::*;

fn scopes() -> [Scope; 5] {
    let owner = Some(Owner::Host("n1".to_string()));
    [
        Scope::Blocks { family: None },
        Scope::Blocks { family: Some(Family::V4) },
        Scope::Affinities { owner: None, family: None },
        Scope::Affinities { owner, family: Some(Family::V4) },
        Scope::Handles,
    ]
}

/// After a crash between the phases, the record does not exist, and can be created again. Calico's
/// utilisation counts such blocks as if they were there.
#[tokio::test]
async fn what_a_crash_leaves_is_absent() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open(group);
        for (key, value) in flagged_kinds() {
            cluster.leave_tombstone(group, &key, &value).await;
            let old = cluster.object(group, &key).await.unwrap();
            for depth in [Depth::Key, Depth::Header, Depth::Full] {
                for scope in scopes().into_iter().filter(|scope| *scope != Scope::Handles) {
                    let set = ReadSet::new().scope(scope.clone(), depth);
                    let mut view = store.read(&set, WITHIN).await.unwrap();
                    if depth == Depth::Key && scope.holds(&key) && matches!(key, api::Key::Block(_)) {
                        // A list of keys alone still shows the object; a read of more depth does not.
                        assert_eq!(view.len(), 1);
                        let set = ReadSet::new().scope(scope.clone(), Depth::Header);
                        view.absorb(store.read(&set, WITHIN).await.unwrap());
                    }
                    assert!(view.is_empty(), "{scope:?} {depth:?}");
                }
            }
            let flagged = api::Revision::new(revision_of(&old));
            let outcome = put(&store, &key, Expect::Absent, value.clone()).await;
            let record = find(&store, &key).await.unwrap();
            assert_eq!((&record.value, &record.revision), (&value, &applied(&outcome)));
            let new = cluster.object(group, &key).await.unwrap();
            assert_ne!(new["metadata"]["uid"], old["metadata"]["uid"], "it is another object");
            assert_ne!(record.revision, flagged);
            applied(&write(&store, &key, Expect::Revision(record.revision.clone()), Op::Delete).await);
            assert_eq!(cluster.object(group, &key).await, None, "{key}");
        }
    }
}

/// A deletion stopped between its phases, and its caller was told so or not. The next look at the record
/// completes the deletion. For handles, which nobody creates again under the same name, the next list
/// completes it, too. No other object is removed.
#[tokio::test]
async fn the_next_look_ends_a_deletion() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open(group);
        for (key, value) in flagged_kinds() {
            cluster.leave_tombstone(group, &key, &value).await;
            assert_eq!(find(&store, &key).await, None, "{key}");
            assert_eq!(cluster.object(group, &key).await, None, "{key}");
        }
        for depth in [Depth::Key, Depth::Header, Depth::Full] {
            applied(&put(&store, &handle("lives"), Expect::Absent, counted(1)).await);
            for name in ["one", "two"] {
                cluster.leave_tombstone(group, &handle(name), &counted(1)).await;
            }
            let view = store.read(&ReadSet::new().scope(Scope::Handles, depth), WITHIN).await.unwrap();
            assert_eq!(view.all().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [handle("lives")]);
            for name in ["one", "two"] {
                assert_eq!(cluster.object(group, &handle(name)).await, None, "{name}");
            }
            cluster.clear().await;
        }
    }
}

/// As Calico does it: a PUT with the flag, with the object's value and its revision as compare-and-swap; then
/// a DELETE of that object. Calico reads the object before, each time, only to give it back to its caller;
/// this store reads it only if it does not have its value.
#[tokio::test]
async fn deletion_is_what_calico_does() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        for (key, value) in flagged_kinds() {
            let store = cluster.open(group);
            let revision = applied(&put(&store, &key, Expect::Absent, value.clone()).await);
            let outcome = write(&store, &key, Expect::Revision(api::Revision::new("1")), Op::Delete).await;
            assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "{outcome:?}");
            // Another store does not have the value, so it reads the object first.
            let stranger = cluster.open(group);
            let before = cluster.server.requests_of("admin").len();
            applied(&write(&stranger, &key, Expect::Revision(revision), Op::Delete).await);
            let revision = applied(&put(&store, &key, Expect::Absent, value).await);
            applied(&write(&store, &key, Expect::Revision(revision), Op::Delete).await);
            let requests = cluster.server.requests_of("admin");
            let sent: Vec<_> = requests[before..].iter().map(|request| request.verb.as_str()).collect();
            assert_eq!(sent, ["get", "update", "delete", "create", "update", "delete"]);
            assert_eq!(cluster.object(group, &key).await, None, "{key}");
        }
    }
}

/// The flag is the deletion. The watch reports it once, whether or not the removal follows.
#[tokio::test]
async fn a_watch_tells_one_deletion() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open(group);
        let mut watch = store.watch(Scope::Handles).await.unwrap();
        while !matches!(watch.next().await.unwrap(), Event::InitDone(_)) {}
        for (index, phases) in [(0, 2), (1, 1)] {
            let key = handle(&format!("h{index}"));
            let (_, created) = cluster.create(group, &key, &counted(1)).await;
            let (_, flagged) = cluster.flag(group, &key, &counted(1), revision_of(&created)).await;
            if phases == 2 {
                cluster.remove(group, &key, created["metadata"]["uid"].as_str().unwrap()).await;
            }
            assert!(matches!(watch.next().await.unwrap(), Event::Apply(record) if record.key == key));
            let Event::Delete(gone, at) = watch.next().await.unwrap() else { panic!("not deleted") };
            assert_eq!((gone, at.as_str()), (key, revision_of(&flagged)));
        }
        // The watch reports nothing more about the first record, and a second one with its name is new.
        applied(&put(&store, &handle("h1"), Expect::Absent, counted(2)).await);
        let Event::Apply(record) = watch.next().await.unwrap() else { panic!("not created") };
        assert_eq!((&record.key, &record.value), (&handle("h1"), &counted(2)));
        cluster.clear().await;
    }
}

/// Names that differ only in case, and owners of different types with the same name, have the same object
/// name.
#[tokio::test]
async fn names_that_fall_together_are_refused() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open(group);
        applied(&put(&store, &handle("Case"), Expect::Absent, counted(1)).await);
        assert_eq!(find(&store, &handle("case")).await, None);
        let outcome = put(&store, &handle("case"), Expect::Absent, counted(1)).await;
        let Outcome::Refused(Refusal::Name(text)) = &outcome else { panic!("{outcome:?}") };
        assert!(text.contains("IPAMHandleKey(id=Case)"), "{text}");
        assert_eq!(find(&store, &handle("Case")).await.unwrap().value, counted(1));

        let requests = store.requests();
        for name in ["under_score", "a..b", &"x".repeat(254)] {
            assert_eq!(find(&store, &handle(name)).await, None);
            let outcome = put(&store, &handle(name), Expect::Absent, counted(1)).await;
            assert!(matches!(outcome, Outcome::Refused(Refusal::Name(_))), "{outcome:?}");
        }
        assert_eq!(store.requests(), requests, "the server need not be asked");

        let state = in_state(api::AffinityState::Confirmed);
        let virtual_one = api::Key::Affinity { owner: Owner::load_balancer(), block: cidr("10.0.0.0/26") };
        applied(&put(&store, &virtual_one, Expect::Absent, state.clone()).await);
        let host = affinity("load-balancer", "10.0.0.0/26");
        assert_eq!(find(&store, &host).await, None);
        let outcome = put(&store, &host, Expect::Absent, state).await;
        assert!(matches!(outcome, Outcome::Refused(Refusal::Name(_))), "{outcome:?}");
        cluster.clear().await;
    }
}

/// A refused create reports the record that exists.
#[tokio::test]
async fn a_refused_create_shows_the_record() {
    let Some(cluster) = cluster().await else { return };
    let store = cluster.open(GROUPS[0]);
    for (key, value) in flagged_kinds() {
        let revision = applied(&put(&store, &key, Expect::Absent, value.clone()).await);
        let outcome = put(&store, &key, Expect::Absent, value.clone()).await;
        let Outcome::Refused(Refusal::Conflict(Current::Record(record))) = &outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((&record.value, &record.revision), (&value, &revision));
    }
}
