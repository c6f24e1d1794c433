//! What should hold on a real API server, as a review found that it did not; see `tests/it/review.rs`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "they print figures, and take them")]

use std::process::Stdio;
use std::time::Instant;

use api::crd::Group;
use ipam::run;
use store::testing::FaultPlan;

use crate::cluster::cluster;
use crate::real::Place;
use crate::world::{WITHIN, full_pool, request};

#[test]
#[ignore = "nightly: it stores thousands of records"]
fn a_tombstone_in_a_large_pool() {
    let Some(cluster) = cluster(Group::V1) else { return };
    let mut got = Vec::new();
    for (text, last) in [("10.0.0.0/22", "10-0-3-252-30"), ("10.0.0.0/20", "10-0-15-252-30")] {
        let world = full_pool(text, 30, 0, 0);
        world.config(|c| c.strict_affinity = true);
        cluster.load(&world);
        // As a crash between the two phases of a deletion leaves it; its affinity is gone.
        let mut kubectl = crate::cluster::server().kubectl(&[
            "patch",
            "ipamblocks.crd.projectcalico.org",
            last,
            "--type=merge",
            "-p",
            r#"{"spec":{"deleted":true}}"#,
        ]);
        assert!(kubectl.stdout(Stdio::null()).status().unwrap().success());
        let mut kubectl = crate::cluster::server().kubectl(&[
            "delete",
            "blockaffinities.crd.projectcalico.org",
            &format!("other-{last}"),
        ]);
        assert!(kubectl.stdout(Stdio::null()).status().unwrap().success());
        let store = cluster.caller(FaultPlan { guards: false, ..FaultPlan::default() });
        let before = store.inner().requests();
        let start = Instant::now();
        let answer =
            cluster.block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
        println!(
            "{text}: {:?} {:?} requests {} in {:?}",
            answer.v4.addresses,
            answer.v4.messages,
            store.inner().requests() - before,
            start.elapsed()
        );
        got.push(answer.v4.addresses.len());
    }
    assert_eq!(got, [1, 1]);
}
