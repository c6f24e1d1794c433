//! A load on real etcd, while members, connections and workers fail.

use crate::case::Case;
use crate::environment::Environment;
use crate::trouble::Trouble;

/// Ends the test where tests with etcd are left out.
macro_rules! needs_etcd {
    () => {
        if servers::etcd_server::is_left_out() {
            return;
        }
    };
}
pub(crate) use needs_etcd;

#[test]
fn a_load_without_trouble() {
    needs_etcd!();
    Case::new("etcd", Environment::etcd(1)).run();
}

#[test]
fn workers_are_killed() {
    needs_etcd!();
    Case {
        granted: 80,
        ..Case::new("etcd, workers killed", Environment::etcd(1)).with(Trouble::KillWorkers)
    }
    .run();
}

#[test]
fn the_only_member_is_killed() {
    needs_etcd!();
    Case { granted: 80, ..Case::new("etcd, member killed", Environment::etcd(1)).with(Trouble::KillMember) }
        .run();
}

#[test]
fn the_only_member_is_paused() {
    needs_etcd!();
    Case { granted: 80, ..Case::new("etcd, member paused", Environment::etcd(1)).with(Trouble::PauseMember) }
        .run();
}

#[test]
fn replies_are_lost() {
    needs_etcd!();
    Case { granted: 80, ..Case::new("etcd, replies lost", Environment::etcd(1)).with(Trouble::LoseReplies) }
        .run();
}

#[test]
fn members_of_a_cluster_are_killed() {
    needs_etcd!();
    Case {
        granted: 80,
        ..Case::new("cluster, members killed", Environment::etcd(3)).with(Trouble::KillMember)
    }
    .run();
}

#[test]
fn members_of_a_cluster_are_paused() {
    needs_etcd!();
    Case {
        granted: 80,
        ..Case::new("cluster, members paused", Environment::etcd(3)).with(Trouble::PauseMember)
    }
    .run();
}

#[test]
fn the_leader_is_moved() {
    needs_etcd!();
    Case {
        granted: 80,
        ..Case::new("cluster, leader moved", Environment::etcd(3)).with(Trouble::MoveLeader)
    }
    .run();
}

#[test]
fn replies_of_a_cluster_are_lost() {
    needs_etcd!();
    Case {
        granted: 80,
        ..Case::new("cluster, replies lost", Environment::etcd(3)).with(Trouble::LoseReplies)
    }
    .run();
}
