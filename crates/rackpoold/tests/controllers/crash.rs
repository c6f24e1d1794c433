//! A process that is killed between its writes: the next one ends what it had begun.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use api::Kind;
use rackpoold::controllers::collecting::Collecting;
use rustix::process::Signal;
use serde_json::json;
use servers::kube_server;
use store::testing::program_beside;

use super::WITHIN;
use super::process::Process;
use crate::town::Town;

const HOUR: Duration = Duration::from_secs(3_600);
/// How many addresses leak.
const DEAD: usize = 200;
/// How many live.
const LIVING: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_releases() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    town.create_node("n1").await;
    let mut living = BTreeSet::new();
    for n in 0..DEAD + LIVING {
        let (pod, handle) = (format!("pod-{n}"), format!("net.container-{n}"));
        if n % (DEAD / LIVING) == 7 {
            living.insert(town.run_pod(&pod, "n1", &handle).await);
        } else {
            town.assign(&handle, "n1", &[("namespace", "default"), ("pod", &pod)]).await;
        }
    }
    assert_eq!((living.len(), town.assigned().await.len()), (LIVING, DEAD + LIVING));
    let information = json!({"datastoreReady": true, "clusterGUID": "5e5a1d2c0d0e4f0a9a3b2f6f1f1d3c4b"});
    town.put(Kind::ClusterInformation, None, "default", information).await;
    let node = json!({"leakGracePeriod": "2s"});
    let spec = json!({"prometheusMetricsPort": 0, "controllers": {"node": node}});
    town.put(Kind::KubeControllersConfiguration, None, "default", spec).await;

    let kubeconfig = town.server.as_ref().unwrap().kubeconfig().display().to_string();
    let variables = [("DATASTORE_TYPE", "kubernetes"), ("KUBECONFIG", kubeconfig.as_str())];
    let until_addresses = async |process: &Process, holds: &dyn Fn(usize) -> bool| {
        let by = Instant::now() + 3 * WITHIN;
        while !holds(town.assigned().await.len()) {
            assert!(Instant::now() < by, "{}", process.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut process = Process::start(&variables, &[]);
    until_addresses(&process, &|count| count < DEAD + LIVING).await;
    process.signal(Signal::KILL);
    process.end(WITHIN);
    let assigned = town.assigned().await;
    let [_, _, handles] = town.counts().await;
    println!("killed: {} addresses and {handles} handles were left", assigned.len());
    assert!(living.is_subset(&assigned));
    assert!(handles > LIVING, "it was done before it was killed");

    // The next process waits for the dead one's claim to end, and goes on.
    let mut process = Process::start(&variables, &[]);
    until_addresses(&process, &|count| count <= LIVING).await;
    process.signal(Signal::TERM);
    assert!(process.end(WITHIN).success(), "{}", process.log());
    assert_eq!(town.assigned().await, living);

    // Handles that stand without addresses are looked for seldom: here the clock is set forward.
    let (cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    for _ in 0..2 {
        collecting.sweep_handles(&cluster, HOUR).await;
        town.clock.skip(HOUR);
    }
    let [_, _, handles] = town.counts().await;
    assert_eq!((town.assigned().await, handles), (living, LIVING));

    let calicoctl = program_beside(Path::new(env!("CARGO_BIN_EXE_rackpoold")), "calicoctl");
    let check = Command::new(calicoctl).args(["ipam", "check"]).env_clear().envs(variables).output().unwrap();
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{told}{}", String::from_utf8_lossy(&check.stderr));
    assert!(told.contains("Check complete; found 0 problems"), "{told}");
}
