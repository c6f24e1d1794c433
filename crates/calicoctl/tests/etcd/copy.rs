//! Copies between an embedded store and etcd, and faults that stop them.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use api::Kind;
use resources::contents::Contents;
use servers::etcd_server::{EtcdServer, Setup};
use store::testing::etcd_client::Client;
use store::{AnyStore, Depth, ReadSet, Scope, Store};

use crate::fixture::{Ran, User, WITHIN, needs_etcd, wait_for};

fn contents(user: &User) -> Vec<(String, String)> {
    let contents = user.with_store(async |store| Contents::read(store, WITHIN).await.unwrap());
    let text = |record: &Arc<api::Record>| (record.key.etcd_path(), record.value.to_stored_text());
    contents.records().map(text).collect()
}

fn to_etcd(user: &User, server: &EtcdServer) -> String {
    user.config("etcd.cfg", &[("datastoreType", "etcdv3"), ("etcdEndpoints", &server.endpoint())])
}

#[test]
fn there_and_back_again() {
    needs_etcd!();
    let server = EtcdServer::start();
    let (user, other) = (User::of_file("a.db"), User::of(&server.endpoint()));
    user.fill();
    let before = contents(&user);
    let ran = user.run(&format!("datastore copy --to {}", to_etcd(&user, &server)));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.starts_with("Copied and compared: 1 ClusterInformation, 2 IPPool, 2 Node, 3 Tier"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("a.db") && ran.stderr.contains(&server.endpoint()), "{ran:?}");
    assert_eq!(contents(&other), before);
    assert_eq!(contents(&user), before);

    let back = other.path("b.db");
    let config =
        other.config("b.cfg", &[("datastoreType", "embedded"), ("rackpoolDB", back.to_str().unwrap())]);
    other.good(&format!("datastore copy --to {config}"));
    assert_eq!(contents(&User::of_file("x").with("RACKPOOL_DB", back.to_str().unwrap())), before);
    assert_eq!(contents(&other), before, "the source is as it was, unlocked");
    // In the copy, the allocator continues from the same state.
    assert_eq!(user.good("ipam show --show-blocks"), other.good("ipam show --show-blocks"));
}

#[test]
fn a_target_with_something_in_it_is_refused() {
    needs_etcd!();
    let server = EtcdServer::start();
    let (user, other) = (User::of_file("a.db"), User::of(&server.endpoint()));
    user.fill();
    let line = format!("datastore copy --to {}", to_etcd(&user, &server));
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        raw.put("/calico/resources/v3/projectcalico.org/profiles/p", "{}", None).await.unwrap();
    });
    let refused = user.run(&line);
    refused.says(&["not empty", "nothing was changed", "Profile(p)", "metadata.name"]);
    assert!(!refused.stderr.contains("taken back"), "{refused:?}");
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        raw.delete("/calico/resources/v3/projectcalico.org/profiles/p", None).await.unwrap();
        raw.put("/calico/resources/v3/projectcalico.org/globalnetworksets/s", "{}", None).await.unwrap();
    });
    user.run(&line).says(&["not empty", "1 /calico/resources/v3/projectcalico.org/globalnetworksets"]);
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        raw.delete("/calico/resources/v3/projectcalico.org/globalnetworksets/s", None).await.unwrap();
    });
    other.good("datastore init");
    let before = contents(&other);
    user.run(&line).says(&["not empty", "nothing was changed", "1 ClusterInformation, 1 IPPool, 3 Tier"]);
    assert_eq!(contents(&other), before);
}

#[test]
fn what_is_not_known_here_is_named() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.fill();
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        for key in ["globalnetworkpolicies/a", "globalnetworkpolicies/b", "felixconfigurations/default"] {
            raw.put(format!("/calico/resources/v3/projectcalico.org/{key}"), "{}", None).await.unwrap();
        }
        raw.put("/calico/felix/v2/no-region/host/n1/status", "{}", None).await.unwrap();
    });
    let file = user.path("b.db");
    let config =
        user.config("b.cfg", &[("datastoreType", "embedded"), ("rackpoolDB", file.to_str().unwrap())]);
    let told = user.good(&format!("datastore copy --to {config}"));
    for part in ["2 /calico/resources/v3/projectcalico.org/globalnetworkpolicies", "1 /calico/felix/v2"] {
        assert!(told.contains(part), "{told}");
    }
    user.good("datastore migrate lock");
    user.run("datastore migrate export")
        .says(&["2 globalnetworkpolicies, 1 felixconfigurations", "Calico's own"]);
}

#[test]
fn a_target_without_room_is_left_empty() {
    needs_etcd!();
    let server = Setup::new().argument("--quota-backend-bytes=1048576").start();
    let user = User::of_file("a.db");
    user.fill();
    // A copy of these records exceeds the quota.
    for part in 0..12 {
        let wep = |index: usize| {
            format!(
                "apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata:\n  name: r-{part}-{index}\n  annotations:\n    text: {}\nspec:\n  reservedCIDRs: [10.0.0.0/32]\n",
                "x".repeat(100_000)
            )
        };
        let path = user.path("r.yaml");
        std::fs::write(&path, (0..2).map(wep).collect::<Vec<_>>().join("---\n")).unwrap();
        user.good("create -f r.yaml");
    }
    let ran = user.run(&format!("datastore copy --to {}", to_etcd(&user, &server)));
    ran.says(&["the target cannot be written", "database space exceeded"]);
    // Whether the first records still had room depends on when etcd counts.
    let told = ["taken back", "nothing was written"];
    assert!(told.iter().any(|word| ran.stderr.contains(word)), "{ran:?}");
    assert_eq!(contents(&User::of(&server.endpoint())), []);
    assert_eq!(user.run("datastore migrate lock").code, Some(0), "the source is free again");
}

#[test]
fn a_copy_that_is_interrupted_is_taken_back_and_the_source_unlocked() {
    needs_etcd!();
    let (server, target) = (EtcdServer::start(), EtcdServer::start());
    let user = User::of(&server.endpoint());
    user.fill();
    let line = format!("datastore copy --to {}", to_etcd(&user, &target));
    let ready = |user: &User| {
        user.with_store(async |store: &AnyStore| {
            let set = ReadSet::new().scope(Scope::kind(Kind::ClusterInformation), Depth::Full);
            let view = store.read(&set, WITHIN).await.unwrap();
            view.resources(Kind::ClusterInformation)
                .next()
                .and_then(|(found, _)| found.field(&["spec", "datastoreReady"])?.as_bool())
        })
    };
    let child = user.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    while ready(&user) == Some(true) && contents(&User::of(&target.endpoint())).is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The copy may have ended already; then it is complete.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let ran = Ran::of(child.wait_with_output().unwrap(), Duration::ZERO);
    let there = contents(&User::of(&target.endpoint()));
    match ran.code {
        Some(0) => assert_eq!(there, contents(&user)),
        _ => {
            assert!(ran.stderr.contains("interrupted"), "{ran:?}");
            assert_eq!(there, []);
        }
    }
    assert_eq!(ready(&user), Some(true), "{ran:?}");
}

#[test]
fn no_record_is_lost_silently() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.fill();
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        raw.put("/calico/ipam/v2/handle/broken", "[", None).await.unwrap();
    });
    let file = user.path("b.db");
    let config =
        user.config("b.cfg", &[("datastoreType", "embedded"), ("rackpoolDB", file.to_str().unwrap())]);
    let line = format!("datastore copy --to {config}");
    user.run(&line).says(&["the source cannot be read", "broken", "Repair or delete", "nothing was written"]);
    assert!(!file.exists());
}
