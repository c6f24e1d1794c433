//! Faults at every write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::crd::Group;
use ipam::{ReleaseAffinities, ReleaseByHandle, Which, run};
use store::testing::{CommitFault, FaultPlan, Step};

use crate::cluster::{Cluster, cluster};
use crate::operations::{Answer, Case, HANDLES, cases, prepared};
use crate::world::{WITHIN, World, cidr, handle};

/// Batches as the store applies them, which is write by write; where a fault strikes the wrapper does the
/// same.
fn sound() -> FaultPlan {
    FaultPlan { guards: false, ..FaultPlan::default() }
}

/// Runs a case with a plan, in a cluster prepared for it; tells the answer, and what is stored then.
fn play(cluster: &Cluster, case: &Case, plan: FaultPlan) -> (Answer, World) {
    let world = prepared(case);
    cluster.load(&world);
    let answer = cluster.block_on(case.act.on(&cluster.caller(plan), &world.clock));
    (answer, cluster.unload(&world))
}

/// Number of writes of the operation's commit where nothing goes wrong.
fn writes_of(cluster: &Cluster, case: &Case) -> usize {
    let world = prepared(case);
    cluster.load(&world);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let caller = cluster.caller(sound()).with_hook(Arc::new(move |step| {
        if let Step::AfterWrite(index) = step {
            seen.fetch_max(index + 1, Ordering::Relaxed);
        }
        Box::pin(async {})
    }));
    let answer = cluster.block_on(case.act.on(&caller, &world.clock)).unwrap();
    let found = cluster.unload(&world);
    assert!((case.is_done)(&found, &answer), "{}: {answer:?} {:#?}", case.name, found.affinities());
    found.check();
    most.load(Ordering::Relaxed)
}

/// A write is not sent, or its reply is lost: the operation succeeds all the same, exactly once.
#[test]
fn lost_requests_and_replies() {
    let Some(cluster) = cluster(Group::V1) else { return };
    for case in cases() {
        let writes = writes_of(&cluster, &case);
        assert!(writes > 1, "{}", case.name);
        let lost =
            |answered| [false, true].map(|landed| CommitFault::ReplyLost { answered, lost: 1, landed });
        for fault in (0..writes).flat_map(lost).chain([CommitFault::Unsent]) {
            let (answer, found) = play(&cluster, &case, sound().fault(0, fault));
            let what = format!("{}, {fault:?}: {answer:?}", case.name);
            let answer = answer.unwrap_or_else(|_| panic!("{what}"));
            assert!((case.is_done)(&found, &answer), "{what} {:#?}", found.store.records());
            found.check();
        }
    }
}

/// A crash after any write leaves a legal state, and whoever asks again gets what was wanted; a release of
/// all leaves nothing.
#[test]
fn crashes() {
    let Some(cluster) = cluster(Group::V3) else { return };
    for case in cases() {
        for writes in 0..=writes_of(&cluster, &case) {
            let what = format!("{} after {writes}", case.name);
            let (answer, found) = play(&cluster, &case, sound().fault(0, CommitFault::Crash { writes }));
            assert!(answer.is_err(), "{what}");
            found.check();
            let caller = cluster.caller(sound());
            let answer = cluster.block_on(case.act.on(&caller, &found.clock));
            assert!(answer.is_ok() || case.act.is_named(), "{what}: {answer:?}");
            let found = cluster.unload(&found);
            found.check();
            if case.act.is_release() {
                let held = found.assigned().values().filter(|id| *id == "new").count();
                assert!(held <= usize::from(case.name == "a release by address"), "{what}");
            }
            cluster.block_on(async {
                let release = ReleaseByHandle::new(HANDLES.map(handle).to_vec(), None).planner();
                run(&caller, &found.clock, release, WITHIN).await.unwrap();
                for all in ["10.0.0.0/8", "fd00::/8"] {
                    let release =
                        ReleaseAffinities { which: Which::Within(cidr(all)), must_be_empty: false }.planner();
                    run(&caller, &found.clock, release, WITHIN).await.unwrap();
                }
            });
            let left = cluster.unload(&found);
            assert_eq!((left.assigned().len(), left.handles()), (0, 0), "{what}");
            assert_eq!(left.affinities(), [""; 0], "{what}");
        }
    }
}
