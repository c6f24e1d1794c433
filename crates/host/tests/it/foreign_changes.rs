//! What others change is told, and repaired at once.

use std::process::Command;
use std::time::Duration;

use host::{Changed, Changes, Kernel};
use routes::{Desired, Difference, Step};
use tokio::time::timeout;

use crate::cluster::{Cluster, DEVICES, sync};

/// A change that is not repaired by then is not noticed at all. The time that it took is printed.
const SOON: Duration = Duration::from_secs(10);
/// What a change causes has been told by then.
const QUIET: Duration = Duration::from_millis(50);
/// The kernel tells that an interface works up to a second later.
const SETTLED: Duration = Duration::from_millis(1200);

/// Runs a script where the calling thread is.
fn sh(script: &str) {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Reads until nothing is told any more. Gives what was told.
async fn until_quiet(changes: &mut Changes, quiet: Duration) -> Vec<Changed> {
    let mut told = Vec::new();
    while let Ok(changed) = timeout(quiet, changes.next()).await {
        told.push(changed);
        assert!(told.len() < 100, "there is no end: {told:?}");
    }
    told
}

/// Repairs as an agent does: whenever something may matter, what is there is compared with what is wanted.
async fn repair(kernel: &Kernel, desired: &Desired, changes: &mut Changes) {
    loop {
        if changes.next().await.may_matter_to_routes() {
            let (_, failed) = sync(kernel, desired).await;
            assert!(failed.is_empty(), "{failed:?}");
            if is_as_desired(kernel, desired).await {
                return;
            }
        }
    }
}

async fn is_as_desired(kernel: &Kernel, desired: &Desired) -> bool {
    Difference::between(&kernel.present(&DEVICES).await.unwrap(), desired).is_empty()
}

#[test]
fn a_foreign_change_is_told_and_repaired_within_a_second() {
    let Some(cluster) = Cluster::new("Always", &[1, 1, 2]) else { return };
    for node in &cluster.nodes {
        cluster.sync(node);
    }
    let node = &cluster.nodes[0];
    let desired = cluster.desired(node);
    let slowest = node.host.kernel(async |kernel| {
        let mut slowest = Duration::ZERO;
        for is_own_told in [true, false] {
            let mut changes = Changes::subscribe().unwrap();
            if !is_own_told {
                changes = changes.without(kernel);
            }
            assert!(changes.next().await.interfaces);
            until_quiet(&mut changes, QUIET).await;
            for script in [
                "ip route del 10.81.2.0/26",
                "ip -6 route del fd81::2:0/122",
                "ip route del blackhole 10.81.1.0/26",
                "ip route replace 10.81.2.0/26 via 10.77.1.12 proto static",
                "ip -6 route replace fd81::2:0/122 via fd77:1::12 proto static metric 1024",
                "ip route change 10.81.2.0/26 via 10.81.2.0 dev vxlan.calico onlink mtu 1000 proto 81",
                "ip neigh del 10.81.2.0 dev vxlan.calico",
                "ip neigh del fd81::2:0 dev vxlan-v6.calico",
                "bridge fdb del $(bridge fdb show dev vxlan.calico | head -n 1 | cut -d' ' -f1) dev vxlan.calico",
                "ip link set dev vxlan.calico down",
                "ip link del vxlan.calico",
                "ip link set dev vxlan-v6.calico address 66:00:00:00:00:01",
            ] {
                sh(script);
                assert!(
                    !is_as_desired(kernel, &desired).await || script.contains("address"),
                    "{script} changed nothing"
                );
                let begin = tokio::time::Instant::now();
                let repaired = timeout(SOON, repair(kernel, &desired, &mut changes)).await;
                assert!(repaired.is_ok(), "{script} is not repaired");
                slowest = slowest.max(begin.elapsed());
                // The echo of what was repaired ends, and says nothing new.
                until_quiet(&mut changes, QUIET).await;
                assert!(is_as_desired(kernel, &desired).await, "{script}");
            }
        }
        slowest
    });
    println!("the slowest repair took {slowest:?}");
    cluster.assert_all_reach_all();
}

#[test]
fn changes_are_told_apart() {
    let Some(cluster) = Cluster::new("Always", &[1]) else { return };
    let node = &cluster.nodes[0];
    cluster.sync(node);
    let none = Changed::default();
    let cases = [
        ("ip route add 203.0.113.0/24 via 10.77.1.1 proto static", none),
        ("ip route add 203.0.113.0/24 via 10.77.1.1 proto 81 table 100", none),
        ("ip neigh add 10.77.1.99 lladdr 02:00:00:00:00:99 nud permanent dev eth0", none),
        ("ip route add default via 10.77.1.1 metric 5", Changed { default_route: true, ..none }),
        ("ip -6 route del default", Changed { default_route: true, ..none }),
        ("ip addr add 10.77.1.21/24 dev eth0", Changed { interfaces: true, ..none }),
        ("ip link set dev eth0 mtu 1400", Changed { interfaces: true, ..none }),
        ("ip link set dev cali0 mtu 1400", Changed { pods: true, ..none }),
        ("ip route add 10.81.1.9/32 dev cali0", Changed { pods: true, ..none }),
        ("ip route add 10.81.9.0/26 via 10.77.1.1 proto 81", Changed { ours: true, ..none }),
        ("ip route replace 10.81.9.0/26 via 10.77.1.1 proto static", Changed { ours: true, ..none }),
        ("ip route add 10.81.7.0/26 dev vxlan.calico proto static", Changed { ours: true, ..none }),
        (
            "ip neigh add 10.81.7.0 lladdr 02:00:00:00:00:99 nud permanent dev vxlan.calico",
            Changed { ours: true, ..none },
        ),
        ("bridge fdb add 66:00:00:00:00:99 dst 10.77.1.99 dev vxlan.calico", Changed { ours: true, ..none }),
    ];
    node.host.kernel(async |_| {
        let mut changes = Changes::subscribe().unwrap();
        until_quiet(&mut changes, SETTLED).await;
        for (script, expected) in cases {
            sh(script);
            let mut told = none;
            for changed in until_quiet(&mut changes, QUIET).await {
                told.interfaces |= changed.interfaces;
                told.pods |= changed.pods;
                told.default_route |= changed.default_route;
                told.ours |= changed.ours;
                told.is_incomplete |= changed.is_incomplete;
            }
            assert_eq!(told, expected, "{script}");
        }
    });
}

#[test]
fn the_echo_of_own_changes_is_told_unless_it_is_not_wanted() {
    let Some(cluster) = Cluster::new("Always", &[1, 1]) else { return };
    let node = &cluster.nodes[0];
    cluster.sync(node);
    let desired = cluster.desired(node);
    let routes = desired.routes.values().map(|wanted| wanted.route.clone());
    let steps: Vec<Step> =
        routes.flat_map(|route| [Step::RemoveRoute(route.clone()), Step::Route(route)]).collect();
    node.host.kernel(async |kernel| {
        let mut all = Changes::subscribe().unwrap();
        let mut others = Changes::subscribe().unwrap().without(kernel);
        until_quiet(&mut all, SETTLED).await;
        until_quiet(&mut others, QUIET).await;
        let failed = kernel.apply(&steps, None).await;
        assert!(failed.is_empty() && !steps.is_empty(), "{failed:?}");
        assert!(all.next().await.ours);
        assert_eq!(until_quiet(&mut others, QUIET).await, []);
        sh("ip route del 10.81.2.0/26");
        assert!(others.next().await.ours);
    });
}
