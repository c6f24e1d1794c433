//! What the collector costs in a large cluster.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{Key, Record, Revision};
use cluster_data::Size;
use controllers::collect::Collector;
use controllers::judge::pod_of;
use controllers::witness::{Pod, PodKey, Users};
use store::{Depth, Event, Scope, View};

/// The CPU time of this process in seconds, and the largest memory that it had, in megabytes.
fn spent() -> (f64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    (ticks / 100.0, line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024)
}

/// 150,000 addresses in 2,500 blocks, of which 20,000 have pods: a whole pass, and the pass after one pod has
/// gone.
#[test]
fn a_pass_over_a_large_cluster() {
    let (mut view, mut pods, mut count) = (View::new(), HashMap::new(), 0_usize);
    let scopes = [Scope::kind(api::Kind::Node), Scope::Blocks { family: None }];
    scopes.iter().for_each(|scope| view.complete(scope.clone(), Depth::Full));
    for (key, value) in cluster_data::records(Size::LARGE) {
        let Some(scope) = scopes.iter().find(|scope| scope.holds(&key)) else { continue };
        if let api::Value::Block(block) = &value {
            for (_, addr, attribute) in controllers::collect::allocations(block) {
                count += 1;
                if let (true, Some(pod)) = (pods.len() < 20_000, pod_of(attribute)) {
                    let node = attribute.owner["node"].as_str().into();
                    pods.insert(pod, Pod::Seen { node, is_finished: false, addresses: [addr].into() });
                }
            }
        }
        let record = Arc::new(Record { key, value, revision: Revision::from(1) });
        view.fold(scope, &Event::Apply(record));
    }
    assert_eq!((count, pods.len()), (150_000, 20_000));
    let mut users = Users::Pods(pods);
    let mut collector = Collector::default();
    let grace = Some(Duration::from_secs(900));
    let (before, _) = spent();
    collector.all_changed(&view);
    collector.judge(&view, &mut users, Duration::ZERO);
    let due = collector.due(&view, &users, grace, Duration::from_secs(900));
    let (after, memory) = spent();
    println!(
        "a pass over {count} addresses: {:.2} s of CPU; the process had {memory} MB at most",
        after - before
    );
    assert_eq!(collector.candidates().count(), 130_000);
    assert_eq!(due.len(), controllers::collect::MOST);
    assert!(memory < 300, "{memory} MB");
    drop(due);

    let pod = PodKey::new("none", "none");
    collector.pod_changed(&pod);
    let addr: IpAddr = "10.0.0.0".parse().unwrap();
    let block = view.slots(&scopes[1]).next().and_then(|(key, _)| match key {
        Key::Block(cidr) => Some(*cidr),
        _ => None,
    });
    assert!(block.unwrap().ordinal(addr).is_some());
    collector.block_changed(block.unwrap());
    let (before, _) = spent();
    for second in 1..=100 {
        collector.block_changed(block.unwrap());
        collector.judge(&view, &mut users, Duration::from_secs(second));
    }
    let (after, _) = spent();
    println!("a pass after one block has changed: {:.4} s of CPU", (after - before) / 100.0);
}
