//! Runs every operation on a real store, with faults at each of its writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipam::{ReleaseAffinities, ReleaseByHandle, Which, run};
use store::Store;
use store::testing::{CommitFault, FaultPlan, Faulty, Step};

use crate::operations::{Answer, Case, HANDLES, cases, prepared};
use crate::world::{WITHIN, World, cidr, handle};

/// A real store.
pub trait Place {
    type Store: Store;

    /// A plan without faults. Batches are applied as the store applies them; where a fault strikes, they are
    /// applied write by write.
    fn sound(&self) -> FaultPlan {
        FaultPlan::default()
    }

    /// A caller that meets the faults of a plan.
    fn caller(&self, plan: FaultPlan) -> Faulty<Self::Store>;

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T;

    /// Makes the store hold the records of a world and no others.
    fn load(&self, world: &World);

    /// The records that the store holds now, with the clock of a world.
    fn unload(&self, world: &World) -> World;
}

/// Runs a case with a plan, in a cluster prepared for it; tells the answer, and what is stored then.
fn play(place: &impl Place, case: &Case, plan: FaultPlan) -> (Answer, World) {
    let world = prepared(case);
    place.load(&world);
    let answer = place.block_on(case.act.on(&place.caller(plan), &world.clock));
    (answer, place.unload(&world))
}

/// Number of writes of the operation's commit where nothing goes wrong.
fn writes_of(place: &impl Place, case: &Case) -> usize {
    let world = prepared(case);
    place.load(&world);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let caller = place.caller(place.sound()).with_hook(Arc::new(move |step| {
        if let Step::AfterWrite(index) = step {
            seen.fetch_max(index + 1, Ordering::Relaxed);
        }
        Box::pin(async {})
    }));
    let answer = place.block_on(case.act.on(&caller, &world.clock)).unwrap();
    let found = place.unload(&world);
    assert!((case.is_done)(&found, &answer), "{}: {answer:?} {:#?}", case.name, found.affinities());
    found.check();
    most.load(Ordering::Relaxed)
}

/// A write is not sent, or its reply is lost: the operation succeeds all the same, exactly once.
pub fn lost_requests_and_replies(place: &impl Place) {
    for case in cases() {
        let writes = writes_of(place, &case);
        assert!(writes > 1, "{}", case.name);
        let lost =
            |answered| [false, true].map(|landed| CommitFault::ReplyLost { answered, lost: 1, landed });
        for fault in (0..writes).flat_map(lost).chain([CommitFault::Unsent]) {
            let (answer, found) = play(place, &case, place.sound().fault(0, fault));
            let what = format!("{}, {fault:?}: {answer:?}", case.name);
            let answer = answer.unwrap_or_else(|_| panic!("{what}"));
            assert!((case.is_done)(&found, &answer), "{what} {:#?}", found.store.records());
            found.check();
        }
    }
}

/// A crash after any write leaves a legal state, and whoever asks again gets what was wanted; a release of
/// all leaves nothing.
pub fn crashes(place: &impl Place) {
    for case in cases() {
        for writes in 0..=writes_of(place, &case) {
            let what = format!("{} after {writes}", case.name);
            let (answer, found) = play(place, &case, place.sound().fault(0, CommitFault::Crash { writes }));
            assert!(answer.is_err(), "{what}");
            found.check();
            let caller = place.caller(place.sound());
            let answer = place.block_on(case.act.on(&caller, &found.clock));
            assert!(answer.is_ok() || case.act.is_named(), "{what}: {answer:?}");
            let found = place.unload(&found);
            found.check();
            if case.act.is_release() {
                let held = found.assigned().values().filter(|id| *id == "new").count();
                assert!(held <= usize::from(case.name == "a release by address"), "{what}");
            }
            place.block_on(async {
                let release = ReleaseByHandle::new(HANDLES.map(handle).to_vec(), None).planner();
                run(&caller, &found.clock, release, WITHIN).await.unwrap();
                for all in ["10.0.0.0/8", "fd00::/8"] {
                    let release =
                        ReleaseAffinities { which: Which::Within(cidr(all)), must_be_empty: false }.planner();
                    run(&caller, &found.clock, release, WITHIN).await.unwrap();
                }
            });
            let left = place.unload(&found);
            assert_eq!((left.assigned().len(), left.handles()), (0, 0), "{what}");
            assert_eq!(left.affinities(), [""; 0], "{what}");
        }
    }
}
