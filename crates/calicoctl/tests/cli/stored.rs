//! Stores that other programs have written: clusters of other versions, pools without defaults.

use std::time::Duration;

use api::{Kind, Resource, Value};
use serde_json::{Value as Json, json};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Expect, ReadSet, Store};

use crate::world::{World, pool};

/// Stores a resource as another program may have written it.
fn put(world: &World, kind: Kind, json: Json) {
    let resource = Resource::from_json(kind, json).unwrap();
    let key = resource.key();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let within = Duration::from_secs(5);
        let store = SqliteStore::open(world.path("rackpool.db"), SqliteOptions::default()).unwrap();
        let view = store.read(&ReadSet::new().key(key.clone()), within).await.unwrap();
        let there = view.full(&key).flatten().map(|record| record.revision.clone());
        let mut batch = Batch::new();
        batch.put(key, there.map_or(Expect::Absent, Expect::Revision), Value::Resource(resource));
        assert!(store.commit(&batch, within).await.unwrap().is_applied());
    });
}

fn cluster(world: &World, version: &str) {
    let spec = json!({"clusterGUID": "0", "clusterType": "k8s,bgp", "calicoVersion": version, "datastoreReady": true});
    put(world, Kind::ClusterInformation, json!({"metadata": {"name": "default"}, "spec": spec}));
}

/// Recorded in 131-version-mismatch.
#[test]
fn a_cluster_of_another_version_is_read_and_not_changed() {
    let world = World::new();
    let mismatch = |cluster: &str| {
        format!(
            "version mismatch.\nClient Version:   v3.33.0\nCluster Version:  {cluster}\nUse --allow-version-mismatch to override\n"
        )
    };
    for (stored, told) in [("v3.30.1", "3.30.1"), ("3.33.1-x", "3.33.1"), ("master", "master")] {
        cluster(&world, stored);
        let before = world.contents();
        for (line, prefix) in [
            ("create -f -", ""),
            ("delete ippool x", ""),
            ("label ippool a b=c", "failed to get ippool a, error "),
            ("patch ippool a -p {}", ""),
            ("ipam release --ip=10.0.0.1", ""),
            ("ipam configure --strictaffinity=true", ""),
            ("ipam split 2 --name=x", ""),
            ("datastore migrate lock", ""),
        ] {
            // The version is checked before the input is read, so the input's fault is not reported.
            let ran = world.run_with(line, "kind: [\n");
            assert_eq!((ran.code, ran.stderr), (1, format!("{prefix}{}", mismatch(told))), "{line}");
        }
        for line in ["get ippool", "ipam show"] {
            let ran = world.run(line);
            let warning = format!(
                "warning: the cluster's version is {told}, and this program works as Calico v3.33.0 does. To change anything, use --allow-version-mismatch\n"
            );
            assert_eq!((ran.code, ran.stderr), (0, warning), "{line}");
        }
        world.good("ipam show --allow-version-mismatch");
        assert!(world.contents() == before);
    }
    assert!(world.good("version").ends_with("Cluster Version:   master\nCluster Type:      k8s,bgp\n"));
    world.good_with("validate -f -", &pool("p", "10.0.0.0/16"));
    world.good_with("create -f - --allow-version-mismatch", &pool("p", "10.0.0.0/16"));
    for fits in ["", "v3.33.0", "3.33.0", "v3.33.0-0.dev-1-gabc"] {
        cluster(&world, fits);
        assert!(world.good("get ippool").contains("10.0.0.0/16"), "{fits}");
    }
}

/// Recorded in 074-ippool-defaults.
#[test]
fn a_pool_without_defaults_is_shown_with_them() {
    let world = World::new();
    let bare =
        json!({"metadata": {"name": "bare"}, "spec": {"cidr": "10.5.0.0/16", "futureField": {"a": 1}}});
    put(&world, Kind::IPPool, bare);
    insta::assert_snapshot!(world.good("get ippool bare -o yaml").replace("\"1\"", "\"[REVISION]\""), @r#"
    apiVersion: projectcalico.org/v3
    kind: IPPool
    metadata:
      name: bare
      resourceVersion: "[REVISION]"
    spec:
      allowedUses:
      - Workload
      - Tunnel
      assignmentMode: Automatic
      blockSize: 26
      cidr: 10.5.0.0/16
      ipipMode: Never
      nodeSelector: all()
      vxlanMode: Never
    "#);
}

#[test]
fn what_is_shown_can_be_applied_again() {
    let world = World::new();
    world.good("datastore init --ipv6-cidr=fd00::/64");
    world.good_with(
        "create -f -",
        "kind: Node\napiVersion: projectcalico.org/v3\nmetadata: {name: n1, labels: {rack: \"0\"}}\nspec: {bgp: {ipv4Address: 10.1.0.1/24}}\n",
    );
    for kind in ["ippools", "nodes"] {
        for format in ["yaml", "json"] {
            let line = format!("get {kind} -o {format}");
            let shown = world.good(&line);
            world.good_with("apply -f -", &shown);
            let strip = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.contains("resourceVersion")).map(str::to_string).collect()
            };
            assert_eq!(strip(&world.good(&line)), strip(&shown), "{line}");
        }
    }
}

#[test]
fn pools_are_split_or_stay() {
    let world = World::new();
    world.good_with("create -f -", &pool("a", "10.0.0.0/24"));
    let told = |line: &str| {
        let ran = world.run(line);
        assert_eq!(ran.code, 1, "{line}");
        ran.stderr
    };
    let unlocked = told("ipam split 4 --name=a");
    assert!(
        unlocked.starts_with("datastore is not locked. Run the `calicoctl datastore migrate lock`"),
        "{unlocked}"
    );
    world.good("datastore migrate lock");
    let before = world.good("get ippools -o wide");
    for parts in ["0", "1", "3", "8", "512", "x"] {
        told(&format!("ipam split {parts} --name=a"));
    }
    assert_eq!(world.good("get ippools -o wide"), before);
    let split = world.good("ipam split 4 --cidr=10.0.0.0/24");
    assert!(split.starts_with(
        "IP Pool a was successfully split into 4 smaller pools.Created split-a-0 with CIDR 10.0.0.0/26.\n"
    ));
    assert_eq!(world.good("get ippools").lines().count(), 6);
}
