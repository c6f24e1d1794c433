//! What the plan of a node costs in clusters of 1,000 and of 5,000 nodes, 40 to a rack, with two blocks each.
//! The work grows with the number of blocks, and hardly faster: of two figures of a kind the second is five
//! to seven times the first.

mod cluster;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use routes::destination::Destinations;
use routes::{Difference, Exported, List, Options, Present, Racks, Snapshot, node};

use self::cluster::cluster;

fn benches(c: &mut Criterion) {
    let gateway = "172.16.7.254".parse().expect("it is an address");
    let options = Options { via: vec![gateway], ..Options::default() };
    for (mode, pools) in [("Never", "without encapsulation"), ("Always", "with VXLAN")] {
        for nodes in [1_000, 5_000] {
            let snapshot = cluster(nodes, mode);
            let plan = |snapshot: &Snapshot| {
                let destinations = Destinations::of(snapshot);
                let racks = Racks::of(&destinations, Some("rack"), Exported::Plain);
                node::desired(&destinations, &racks, "n7-0", &options).expect("the node exists")
            };
            c.bench_function(&format!("the plan of one of {nodes} nodes, {pools}"), |b| {
                b.iter(|| plan(black_box(&snapshot)));
            });
            let desired = plan(&snapshot);
            let mut present = Present::default();
            let (steps, _) = Difference::between(&present, &desired).steps(List::Fresh);
            steps.iter().for_each(|step| present.apply(step));
            c.bench_function(&format!("comparing the table of one of {nodes} nodes, {pools}"), |b| {
                b.iter(|| assert!(Difference::between(black_box(&present), &desired).is_empty()));
            });
        }
    }
}

criterion_group!(plan, benches);
criterion_main!(plan);
