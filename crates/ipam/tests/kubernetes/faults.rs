//! Faults at every write.

use api::crd::Group;

use crate::cluster::cluster;
use crate::real;

#[test]
fn lost_requests_and_replies() {
    let Some(cluster) = cluster(Group::V1) else { return };
    real::lost_requests_and_replies(&cluster);
}

#[test]
fn crashes() {
    let Some(cluster) = cluster(Group::V3) else { return };
    real::crashes(&cluster);
}
