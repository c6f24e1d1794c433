//! Pools on a Kubernetes API server: what happens in the recordings 047 and 048, without Calico's faults.

use std::path::Path;
use std::sync::Arc;

use api::{HandleId, Kind};
use ipam::{AssignIp, ReleaseIp, ReleaseIps};
use rackpoold::controllers::lead::{Lead, Place};
use rackpoold::controllers::pools::{Keeper, Pass};
use serde_json::{Value as Json, json};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use setup::Clock;
use store::kubernetes::{KubeStore, ObjectName};
use store::{AnyStore, Depth, ReadSet, Scope, Store, View};

use super::WITHIN;
use super::frame::{ACCOUNT, open};

const POOLS: &str = "/apis/projectcalico.org/v3";

fn named(name: &str) -> ObjectName<'_> {
    ObjectName { api: POOLS, plural: "ippools", namespace: None, name }
}

async fn create(store: &KubeStore, name: &str, cidr: &str) {
    let pool = json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name},
        "spec": {"cidr": cidr, "blockSize": 28, "nodeSelector": "all()", "ipipMode": "Never", "vxlanMode": "Never",
            "allowedUses": ["Workload", "Tunnel"]}});
    assert!(store.create_object(named(name), &pool, WITHIN).await.unwrap());
}

async fn view(store: &KubeStore) -> View {
    let set = ReadSet::new()
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::Blocks { family: None }, Depth::Full)
        .scope(Scope::Affinities { owner: None, family: None }, Depth::Key);
    store.read(&set, WITHIN).await.unwrap()
}

/// Reason of the condition, and whether there is a finalizer; `None` where the pool is gone.
async fn state(store: &KubeStore, name: &str) -> Option<(String, bool)> {
    let pool = store.object(named(name), WITHIN).await.unwrap()?;
    let reason = pool["status"]["conditions"][0]["reason"].as_str().unwrap_or_default().to_string();
    Some((reason, pool["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())))
}

fn is(reason: &str, has_finalizer: bool) -> Option<(String, bool)> {
    Some((reason.to_string(), has_finalizer))
}

async fn assign(store: &KubeStore, addr: &str, handle: &str) {
    let request = AssignIp {
        addr: addr.parse().unwrap(),
        host: "n1".to_string(),
        handle: HandleId::new(handle),
        attributes: [("node".to_string(), "n1".to_string())].into_iter().collect(),
        intended_use: None,
        max_per_handle: None,
    };
    ipam::run(store, &Clock::start(), request.planner(), WITHIN).await.unwrap();
}

async fn release(store: &KubeStore, addr: &str) {
    let ips = vec![ReleaseIp { addr: addr.parse().unwrap(), handle: None, sequence: None }];
    ipam::run(store, &Clock::start(), ReleaseIps { ips, each_alone: false }.planner(), WITHIN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_pools() {
    if kube_server::is_left_out() {
        return;
    }
    let server = KubeServer::start(KubeServerOptions::new().user(ACCOUNT, &[]));
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
    server.apply(&[&deploy.join("crds/v3"), &deploy.join("rbac")]);
    let (store, account) = (open(&server.kubeconfig()), open(&server.kubeconfig_of(ACCOUNT)));
    let any = Arc::new(AnyStore::Kubernetes(account.clone()));
    let mut lead =
        Lead::stand(&any, "a test", Place::Kubernetes("kube-system".to_string()), Clock::start()).unwrap();
    assert!(lead.changed().await);
    let (leading, effects) = (lead.leading(), Clock::start());
    let keeper = Keeper { store: &account, leading: &leading, effects: &effects, within: WITHIN };
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    assert!(store.create_object(ObjectName::node("n1"), &node, WITHIN).await.unwrap());

    create(&store, "pool-a", "10.10.0.0/24").await;
    // Times of creation have whole seconds, and of two that are equal the name would decide.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    create(&store, "a-overlap", "10.10.0.0/25").await;
    assert_eq!(keeper.pass(&view(&store).await).await.unwrap(), Pass { writes: 3, is_unfinished: false });
    assert_eq!(state(&store, "pool-a").await, is("OK", true));
    assert_eq!(state(&store, "a-overlap").await, is("CIDROverlap", false));
    assert_eq!(keeper.pass(&view(&store).await).await.unwrap(), Pass::default(), "nothing is left to do");

    assign(&store, "10.10.0.33", "h1").await;
    assign(&store, "10.10.0.200", "h2").await;
    // calicoctl disables the pool, and then deletes it.
    let old = view(&store).await;
    let mut pool = store.object(named("pool-a"), WITHIN).await.unwrap().unwrap();
    pool["spec"]["disabled"] = true.into();
    store.replace_object(named("pool-a"), false, &pool, WITHIN).await.unwrap();
    assert_eq!(keeper.pass(&old).await.unwrap().writes, 0);
    keeper.pass(&view(&store).await).await.unwrap();
    assert_eq!(state(&store, "pool-a").await, is("PoolDisabled", true), "it has blocks");
    assert_eq!(state(&store, "a-overlap").await, is("CIDROverlap", false));
    let deleted =
        server.kubectl(&["delete", "ippools.projectcalico.org", "pool-a", "--wait=false"]).output().unwrap();
    assert!(deleted.status.success(), "{deleted:?}");

    // The block that only this pool has loses its owner; the one that lies in the other pool does not.
    let owner = async |block: &str| {
        let key = api::Key::Block(block.parse().unwrap());
        let view = store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
        let record = view.full(&key).flatten().cloned();
        record.map(|record| record.block().unwrap().affinity.as_deref().map(str::to_string))
    };
    keeper.pass(&view(&store).await).await.unwrap();
    assert_eq!(owner("10.10.0.192/28").await, Some(None));
    assert_eq!(owner("10.10.0.32/28").await, Some(Some("host:n1".to_string())));
    assert_eq!(state(&store, "pool-a").await, is("PoolDisabled", true));
    assert_eq!(
        state(&store, "a-overlap").await,
        is("CIDROverlap", false),
        "the pool has its place while it is there"
    );

    // Deletion waits for the blocks.
    release(&store, "10.10.0.200").await;
    keeper.pass(&view(&store).await).await.unwrap();
    assert!(state(&store, "pool-a").await.is_some());
    release(&store, "10.10.0.33").await;
    for _ in 0..3 {
        keeper.pass(&view(&store).await).await.unwrap();
    }
    assert_eq!(owner("10.10.0.32/28").await, None);
    assert_eq!(state(&store, "pool-a").await, None);
    assert_eq!(state(&store, "a-overlap").await, is("OK", true));

    // One that leads no more does nothing.
    create(&store, "other", "10.20.0.0/24").await;
    lead.resign().await;
    let pass = keeper.pass(&view(&store).await).await.unwrap();
    assert_eq!(pass, Pass { writes: 0, is_unfinished: true });
    assert_eq!(store.object(named("other"), WITHIN).await.unwrap().unwrap()["status"], Json::Null);
}
