//! This program's allocator and one that writes as Calico's does, on the same records at the same time.

use crate::case::Case;
use crate::environment::{Environment, hosts};
use crate::etcd_faults::needs_etcd;
use crate::trouble::Trouble;
use crate::worker::Author;

/// Ten workers that write as Calico does, for the first hosts, and ten of this program, for the second.
fn workers(calico: &[String], ours: &[String]) -> Vec<(Author, Vec<String>)> {
    let pair = || [(Author::Calico, calico.to_vec()), (Author::Ours, ours.to_vec())];
    (0..10).flat_map(|_| pair()).collect()
}

/// The first host of each rack, and the second host of each rack.
fn halves() -> (Vec<String>, Vec<String>) {
    let (first, second): (Vec<_>, Vec<_>) = hosts().into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let names = |half: Vec<(usize, String)>| half.into_iter().map(|(_, host)| host).collect();
    (names(first), names(second))
}

#[test]
fn on_the_same_hosts() {
    needs_etcd!();
    let workers = workers(&hosts(), &hosts());
    Case { workers, ..Case::new("side by side, same hosts", Environment::etcd(1)) }.run();
}

#[test]
fn on_one_host() {
    needs_etcd!();
    let host = &hosts()[..1];
    let workers = workers(host, host);
    // The host's rack has too few addresses for all requests.
    let case = Case::new("side by side, one host", Environment::etcd(1));
    Case { workers, requests: 5, granted: 40, ..case }.run();
}

#[test]
fn on_different_hosts_of_the_same_racks() {
    needs_etcd!();
    let (first, second) = halves();
    let workers = workers(&first, &second);
    Case { workers, ..Case::new("side by side, different hosts", Environment::etcd(1)) }.run();
}

#[test]
fn while_workers_are_killed() {
    needs_etcd!();
    let workers = workers(&hosts(), &hosts());
    let case = Case::new("side by side, workers killed", Environment::etcd(1)).with(Trouble::KillWorkers);
    Case { workers, granted: 80, pause: 200, ..case }.run();
}

#[test]
fn in_memory_where_steps_interleave_most() {
    let workers = workers(&hosts()[..2], &hosts()[..2]);
    let case = Case::new("side by side, in memory", Environment::memory());
    Case { workers, granted: 40, requests: 30, ..case }.run();
}
