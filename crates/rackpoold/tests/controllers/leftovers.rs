//! What a crash, or another program, has left and nobody needs.

use std::time::Duration;

use api::{Affinity, AffinityState, BlockCidr, Handle, HandleId, Key, Kind, Owner, Value};
use rackpoold::controllers::collecting::Collecting;
use rackpoold::controllers::work::Wishes;
use serde_json::json;
use servers::kube_server;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{AnyStore, Batch, Expect, Store};

use crate::town::{Town, WITHIN};

const HOUR: Duration = Duration::from_secs(3_600);
const WISHES: Wishes = Wishes { collects: true, grace: Some(HOUR), period: HOUR };

/// Plants a handle without addresses, an affinity without a block, an affinity of a node that never was.
async fn plant(town: &Town) {
    let mut batch = Batch::new();
    let id = HandleId::new("net.crashed").unwrap();
    let cidr: BlockCidr = "10.0.9.0/28".parse().unwrap();
    let blocks = [("10.0.8.0/28".parse().unwrap(), 1)].into();
    let handle = Handle { blocks, deleted: false };
    batch.put(Key::Handle(id), Expect::Absent, Value::Handle(handle));
    for host in ["n1", "never"] {
        let key = Key::Affinity { owner: Owner::Host(host.to_string()), block: cidr };
        batch.put(key, Expect::Absent, Value::Affinity(Affinity::new(AffinityState::Confirmed)));
    }
    let report = town.store.commit(&batch, WITHIN).await.unwrap();
    assert!(report.is_applied(), "{report:?}");
}

async fn sweeps(town: &Town) {
    town.create_node("n1").await;
    town.assign("net.a", "n1", &[]).await;
    let clean = town.counts().await;
    plant(town).await;
    assert_eq!(town.counts().await, [clean[0], clean[1] + 2, clean[2] + 1]);
    let (mut cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    // What is seen for the first time may just be being made.
    collecting.sweep(&mut cluster, WISHES).await;
    collecting.sweep_handles(&cluster, HOUR).await;
    assert_eq!(town.counts().await, [clean[0], clean[1] + 2, clean[2] + 1]);
    town.clock.skip(HOUR);
    collecting.sweep(&mut cluster, WISHES).await;
    collecting.sweep_handles(&cluster, HOUR).await;
    assert_eq!(town.counts().await, clean);
}

#[tokio::test]
async fn on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("s.db"), SqliteOptions::default()).unwrap();
    let town = Town::of(AnyStore::Sqlite(store), None).await;
    sweeps(&town).await;
    a_stale_view(&town).await;
    locked_data(&town).await;
}

#[tokio::test]
async fn on_an_api_server() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    sweeps(&town).await;
    a_stale_view(&town).await;
    locked_data(&town).await;
    interrupted_deletions(&town).await;
}

/// Objects that are flagged for deletion read as absent; they are removed.
async fn interrupted_deletions(town: &Town) {
    let server = town.server.as_ref().unwrap();
    let kubectl = |arguments: &[&str]| {
        let out = server.kubectl(arguments).output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    for kind in ["ipamblocks", "blockaffinities", "ipamhandles"] {
        let names = kubectl(&["get", kind, "-o", "name"]);
        let flag = match kind {
            "blockaffinities" => r#"{"spec":{"deleted":"true"}}"#,
            _ => r#"{"spec":{"deleted":true}}"#,
        };
        for name in names.lines() {
            kubectl(&["patch", name, "--type=merge", "-p", flag]);
        }
    }
    assert_eq!(kubectl(&["get", "ipamblocks,blockaffinities", "-o", "name"]).lines().count(), 2);
    let (cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    collecting.sweep_handles(&cluster, HOUR).await;
    for kind in ["ipamblocks", "blockaffinities", "ipamhandles"] {
        assert_eq!(kubectl(&["get", kind, "-o", "name"]), "", "{kind}");
    }
}

/// What the watch has not told yet lives, too: a handle of it keeps its addresses and its counts.
async fn a_stale_view(town: &Town) {
    let (cluster, _) = town.known().await;
    let before = town.counts().await;
    town.assign("net.Later", "n1", &[]).await;
    let assigned = town.assigned().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    for _ in 0..3 {
        collecting.sweep_handles(&cluster, HOUR).await;
        town.clock.skip(HOUR);
    }
    assert_eq!(town.assigned().await, assigned);
    assert_eq!(town.counts().await, [before[0], before[1], before[2] + 1]);
    // Nor does a handle that is known, however it is written.
    let (cluster, _) = town.known().await;
    for _ in 0..3 {
        collecting.sweep_handles(&cluster, HOUR).await;
        town.clock.skip(HOUR);
    }
    assert_eq!(town.counts().await, [before[0], before[1], before[2] + 1]);
}

/// While the data are locked, or nobody knows whether they are, nothing is written.
async fn locked_data(town: &Town) {
    let mut batch = Batch::new();
    let handle = Handle { blocks: [("10.0.8.0/28".parse().unwrap(), 1)].into(), deleted: false };
    batch.put(Key::Handle(HandleId::new("net.locked").unwrap()), Expect::Absent, Value::Handle(handle));
    let key = Key::Affinity { owner: Owner::Host("never".into()), block: "10.0.9.0/28".parse().unwrap() };
    batch.put(key, Expect::Absent, Value::Affinity(Affinity::new(AffinityState::Confirmed)));
    assert!(town.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    let information = Key::global(Kind::ClusterInformation, "default");
    town.put(Kind::ClusterInformation, None, "default", json!({"datastoreReady": false})).await;
    let locked = town.counts().await;
    let (mut cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    for is_locked in [true, false] {
        if !is_locked {
            town.delete(information.clone()).await;
        }
        for _ in 0..3 {
            collecting.sweep(&mut cluster, WISHES).await;
            collecting.sweep_handles(&cluster, HOUR).await;
            town.clock.skip(HOUR);
        }
        let less = usize::from(!is_locked);
        assert_eq!(town.counts().await, [locked[0], locked[1] - less, locked[2] - less], "{is_locked}");
    }
}
