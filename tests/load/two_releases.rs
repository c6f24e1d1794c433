//! The plugins of two releases on the same hosts, as during an upgrade: each assigns from blocks that the
//! other has written, and gives back what the other has assigned.

use crate::case::Case;
use crate::environment::{Environment, KubeGroup, hosts};
use crate::etcd_faults::needs_etcd;
use crate::kubernetes::{self, needs_kubernetes};
use crate::plugin::{OLDER, is_named};
use crate::trouble::Trouble;
use crate::worker::Author;

fn case(name: &'static str, environment: Environment) -> Case {
    Case { workers: vec![(Author::TwoReleases, hosts()); 20], ..Case::new(name, environment) }
}

#[test]
#[ignore = "nightly: takes the programs of another release"]
fn two_releases_on_the_embedded_store() {
    if is_named(OLDER) {
        case("two releases, embedded", Environment::embedded()).run();
    }
}

#[test]
#[ignore = "nightly: takes the programs of another release"]
fn two_releases_on_etcd_while_replies_are_lost() {
    needs_etcd!();
    if is_named(OLDER) {
        let case = case("two releases, replies lost", Environment::etcd(3)).with(Trouble::LoseReplies);
        Case { granted: 80, ..case }.run();
    }
}

#[test]
#[ignore = "nightly: takes the programs of another release"]
fn two_releases_on_kubernetes_while_the_api_server_is_killed() {
    needs_kubernetes!();
    if is_named(OLDER) {
        let name = "two releases, API server killed";
        kubernetes::case(name, KubeGroup::V1, Author::TwoReleases).run();
    }
}
