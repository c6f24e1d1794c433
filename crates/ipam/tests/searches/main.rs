//! What searches cost, as numbers, on every store.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "../it/world.rs"]
mod world;

mod backend;
mod scenarios;

use backend::{Backend, Embedded, Etcd, Kubernetes, Memory};
use scenarios::{Cost, SCENARIOS};

/// What each scenario's requests cost a server: its name, and how often the server is asked for each request
/// in the small cluster and in the large one. Without rows, there is no server.
type Answered = &'static [(&'static str, [&'static [u64]; 2])];

/// Carries out the scenarios in their clusters, the small ones (0) and the large ones (1).
fn check(backend: Option<impl Backend>, sizes: std::ops::Range<usize>, answered: Answered) {
    let Some(mut backend) = backend else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for scenario in SCENARIOS {
        for size in sizes.clone() {
            let (n, costs) = scenario.sizes[size];
            let cluster = (scenario.cluster)(n);
            runtime.block_on(backend.hold(&cluster));
            let (mut cost, mut asked) = (Vec::new(), Vec::new());
            for act in (scenario.acts)(n) {
                let before = backend.answered();
                backend.store().reset();
                runtime.block_on(act.on(backend.store(), &cluster.clock));
                cost.push(Cost::from(backend.store().counts()));
                asked.push(backend.answered() - before);
            }
            found.push((scenario.name, n, cost, asked));
            let asked = match answered.iter().find(|(name, _)| *name == scenario.name) {
                Some((_, asked)) => asked[size].to_vec(),
                None if answered.is_empty() => vec![0; costs.len()],
                None => panic!("no row for {:?}", scenario.name),
            };
            wanted.push((scenario.name, n, costs.to_vec(), asked));
        }
    }
    let wrong: Vec<_> = found.iter().zip(&wanted).filter(|(found, wanted)| found != wanted).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// On etcd a read is one request for each 128 records by key.
const ETCD: Answered = &[
    ("the first block of a host in a pool that is 95 % full", [&[3], &[3]]),
    ("a full pool", [&[5, 4, 7], &[35, 4, 37]]),
    ("a full pool with cooldown", [&[5, 4, 7], &[35, 4, 37]]),
    ("pools that all match", [&[3, 3], &[3, 3]]),
    ("a pool of IPv6", [&[3, 3], &[3, 3]]),
    ("a release of addresses of no block", [&[2], &[3]]),
    ("a host with many blocks and room in the newest", [&[3, 4, 3, 1], &[4, 5, 3, 1]]),
    ("a host with as many blocks as it may have and room in one of them", [&[3], &[11]]),
];

/// On Kubernetes every record is a request, and so are every page of 500 of a list, every write, and every
/// look before one. Requests of one read are sent side by side.
const KUBERNETES: Answered = &[
    ("the first block of a host in a pool that is 95 % full", [&[14], &[76]]),
    ("a full pool", [&[15, 5, 18], &[105, 5, 108]]),
    ("a full pool with cooldown", [&[15, 5, 18], &[105, 5, 108]]),
    ("pools that all match", [&[14, 9], &[14, 9]]),
    ("a pool of IPv6", [&[14, 9], &[14, 9]]),
    ("a release of addresses of no block", [&[19], &[213]]),
    ("a host with many blocks and room in the newest", [&[18, 24, 8, 4], &[137, 145, 8, 4]]),
    ("a host with as many blocks as it may have and room in one of them", [&[18], &[1009]]),
];

#[test]
fn on_the_store_in_memory() {
    check(Some(Memory::default()), 0..2, &[]);
}

#[test]
fn on_the_embedded_store() {
    check(Some(Embedded::new()), 0..1, &[]);
}

#[test]
#[ignore = "nightly: it stores a hundred thousand records"]
fn on_the_embedded_store_in_large_clusters() {
    check(Some(Embedded::new()), 1..2, &[]);
}

#[test]
fn on_etcd() {
    check(Etcd::start(), 0..1, ETCD);
}

#[test]
#[ignore = "nightly: it stores a hundred thousand records"]
fn on_etcd_in_large_clusters() {
    check(Etcd::start(), 1..2, ETCD);
}

#[test]
fn on_kubernetes() {
    check(Kubernetes::start(), 0..1, KUBERNETES);
}

#[test]
#[ignore = "nightly: it stores a hundred thousand records"]
fn on_kubernetes_in_large_clusters() {
    check(Kubernetes::start(), 1..2, KUBERNETES);
}
