//! A cluster for these tests: records in a store, pods and nodes in its API server, and the collector.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::{BlockCidr, HandleId, Key, Kind, Resource, Timestamp, Use, Value};
use controllers::collect::allocations;
use ipam::{AutoAssign, run};
use rackpoold::controllers::cluster::Cluster;
use rackpoold::controllers::collecting::Collecting;
use rackpoold::controllers::feed::Feed;
use rackpoold::controllers::work::{Wishes, work};
use serde_json::{Value as Json, json};
use servers::kube_server::{KubeServer, KubeServerOptions};
use setup::Clock;
use store::kubernetes::{KubeStore, ObjectName, ObjectPatch, PatchKind};
use store::{AnyStore, Batch, Depth, Effects, Expect, ReadSet, Scope, Store, View};

use crate::frame::{ACCOUNT, open};

pub const WITHIN: Duration = Duration::from_secs(20);
/// How long anything may take that several requests to the store bring about.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real clock, which tests can set forward.
#[derive(Clone, Debug)]
pub struct Skipping {
    clock: Clock,
    skipped: Arc<AtomicU64>,
}

impl Skipping {
    fn new() -> Skipping {
        Skipping { clock: Clock::start(), skipped: Arc::default() }
    }

    /// Lets that much time have passed.
    pub fn skip(&self, time: Duration) {
        self.skipped.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    fn skipped(&self) -> Duration {
        Duration::from_secs(self.skipped.load(Ordering::Relaxed))
    }
}

impl Effects for Skipping {
    fn now(&self) -> Timestamp {
        self.clock.now() + self.skipped()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed() + self.skipped()
    }

    fn seed(&self) -> u64 {
        self.clock.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

/// A cluster.
pub struct Town {
    pub store: Arc<AnyStore>,
    /// The same store, with the rights of the controllers where they have an account.
    pub account: Arc<AnyStore>,
    pub clock: Skipping,
    pub server: Option<KubeServer>,
}

impl Town {
    /// A cluster of Kubernetes, with Calico's kinds of group v1 and one pool.
    pub async fn kubernetes() -> Town {
        let server = KubeServer::start(KubeServerOptions::new().user(ACCOUNT, &[]));
        let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
        server.apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")]);
        let account = Arc::new(AnyStore::Kubernetes(open(&server.kubeconfig_of(ACCOUNT))));
        let store = AnyStore::Kubernetes(open(&server.kubeconfig()));
        Town { account, ..Town::of(store, Some(server)).await }
    }

    /// A cluster of what is in that store.
    pub fn with_its_records(store: AnyStore, server: Option<KubeServer>) -> Town {
        let store = Arc::new(store);
        Town { account: store.clone(), store, clock: Skipping::new(), server }
    }

    /// A cluster on that store, with one pool.
    pub async fn of(store: AnyStore, server: Option<KubeServer>) -> Town {
        let town = Town::with_its_records(store, server);
        let pool = json!({"cidr": "10.0.0.0/16", "blockSize": 28, "nodeSelector": "all()"});
        town.put(Kind::IPPool, None, "pool", pool).await;
        town
    }

    pub fn kube(&self) -> &KubeStore {
        match &*self.store {
            AnyStore::Kubernetes(store) => store,
            other => panic!("{other:?}"),
        }
    }

    /// Stores a resource that does not exist.
    pub async fn put(&self, kind: Kind, namespace: Option<&str>, name: &str, spec: Json) {
        let metadata = json!({"name": name, "namespace": namespace, "uid": "5e5a1d2c-0d0e-4f0a-9a3b-2f6f1f1d3c4b",
            "creationTimestamp": "2026-01-01T00:00:00Z"});
        let resource = Resource::from_json(kind, json!({"metadata": metadata, "spec": spec})).unwrap();
        let mut batch = Batch::new();
        batch.put(resource.key(), Expect::Absent, Value::Resource(resource));
        let report = self.store.commit(&batch, WITHIN).await.unwrap();
        assert!(report.is_applied(), "{report:?}");
    }

    pub async fn delete(&self, key: Key) {
        let view = self.store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
        let mut batch = Batch::new();
        batch.delete(key.clone(), Expect::Revision(view.get(&key).unwrap().revision().unwrap().clone()));
        assert!(self.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }

    pub async fn create_node(&self, name: &str) {
        match &*self.store {
            AnyStore::Kubernetes(store) => {
                let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
                assert!(store.create_object(ObjectName::node(name), &node, WITHIN).await.unwrap());
            }
            _ => self.put(Kind::Node, None, name, json!({"bgp": {"ipv4Address": "192.0.2.1/24"}})).await,
        }
    }

    /// Lets the command delete objects of Kubernetes.
    pub fn kubectl_delete(&self, arguments: &[&str]) {
        let server = self.server.as_ref().unwrap();
        let all = [&["delete", "--wait=false", "--force", "--grace-period=0"], arguments].concat();
        let out = server.kubectl(&all).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// A pod that its kubelet has not told of.
    pub async fn create_pod(&self, name: &str, node: &str) {
        let containers = json!([{"name": "c", "image": "none"}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": containers, "automountServiceAccountToken": false,
                "tolerations": [{"operator": "Exists"}]}});
        assert!(self.kube().create_object(ObjectName::pod("default", name), &pod, WITHIN).await.unwrap());
    }

    /// Says of a pod what its kubelet would.
    pub async fn tell_pod(&self, name: &str, phase: &str, addresses: &[IpAddr]) {
        let ips: Vec<Json> = addresses.iter().map(|addr| json!({"ip": addr})).collect();
        let patch = json!({"status": {"phase": phase, "podIP": addresses.first(), "podIPs": ips}});
        let name = ObjectName::pod("default", name);
        let patch = ObjectPatch { name, status: true, kind: PatchKind::Merge, patch: &patch };
        self.kube().patch_object(patch, WITHIN).await.unwrap().unwrap();
    }

    /// Assigns an address to a pod's container, as an ADD does.
    pub async fn assign(&self, handle: &str, node: &str, more: &[(&str, &str)]) -> IpAddr {
        let fields = more.iter().copied().chain([("node", node), ("timestamp", "2026-01-01 00:00:00 UTC")]);
        let intended_use = match more.iter().any(|(field, _)| *field == "type") {
            true => Use::Tunnel,
            false => Use::Workload,
        };
        let request = AutoAssign {
            handle: Some(HandleId::new(handle).unwrap()),
            attributes: fields.map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            v4: 1,
            ..AutoAssign::new(node, intended_use)
        };
        let answer = run(&*self.store, &self.clock, request.planner(), WITHIN).await.unwrap();
        answer.v4.addresses[0].addr
    }

    /// A pod that runs, with its address.
    pub async fn run_pod(&self, name: &str, node: &str, handle: &str) -> IpAddr {
        self.create_pod(name, node).await;
        let addr = self.assign(handle, node, &[("namespace", "default"), ("pod", name)]).await;
        self.tell_pod(name, "Running", &[addr]).await;
        addr
    }

    pub async fn view(&self) -> View {
        let set = ReadSet::new()
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
            .scope(Scope::Handles, Depth::Full);
        self.store.read(&set, WITHIN).await.unwrap()
    }

    /// The addresses that are assigned.
    pub async fn assigned(&self) -> BTreeSet<IpAddr> {
        let view = self.view().await;
        let blocks =
            view.slots(&Scope::Blocks { family: None }).filter_map(|(_, slot)| slot.record()?.block());
        blocks.flat_map(|block| allocations(block).map(|(_, addr, _)| addr).collect::<Vec<_>>()).collect()
    }

    /// Takes its owner off an address, as the last pod of a virtual machine does.
    pub async fn clear_owner(&self, addr: IpAddr) {
        let cidr = self.block_of(addr).await;
        let view = self.view().await;
        let (block, revision) = view.block(cidr).unwrap().unwrap();
        let mut block = block.clone();
        let ordinal = cidr.ordinal(addr).unwrap() as usize;
        let index = block.allocations[ordinal].unwrap() as usize;
        Arc::make_mut(&mut block.attributes[index]).owner.clear();
        let mut batch = Batch::new();
        batch.put(Key::Block(cidr), Expect::Revision(revision.clone()), Value::Block(block));
        assert!(self.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }

    /// The block that holds an address.
    pub async fn block_of(&self, addr: IpAddr) -> BlockCidr {
        let view = self.view().await;
        let mut blocks = view.slots(&Scope::Blocks { family: None }).filter_map(|(key, _)| match key {
            Key::Block(block) => Some(*block),
            _ => None,
        });
        blocks.find(|block| block.ordinal(addr).is_some()).unwrap()
    }

    /// How many blocks, affinities and handles there are.
    pub async fn counts(&self) -> [usize; 3] {
        let view = self.view().await;
        [Scope::Blocks { family: None }, Scope::Affinities { owner: None, family: None }, Scope::Handles]
            .map(|scope| view.slots(&scope).count())
    }

    /// Works until the condition holds. Gives how long that took.
    pub async fn work_until(&self, grace: Duration, done: impl AsyncFn(&Town) -> bool) -> Duration {
        let begun = self.clock.clock.elapsed();
        let mut collecting = Collecting::new(self.account.clone(), self.clock.clone());
        let until = async {
            while !done(self).await {
                let took = self.clock.clock.elapsed() - begun;
                assert!(took < PATIENCE, "not done: {:?}", self.assigned().await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let wishes = || Wishes { collects: true, grace: Some(grace), period: Duration::from_secs(300) };
        let passed = async |_: &Cluster, _: &Collecting<_>| Duration::MAX;
        work(&self.account, &self.clock, &mut collecting, wishes, until, passed).await;
        self.clock.clock.elapsed() - begun
    }

    /// What is known after all was told.
    pub async fn known(&self) -> (Cluster, Feed) {
        let mut cluster = Cluster::new(&self.account);
        let mut feed = Feed::begin(&self.account, cluster.scopes());
        let told = async {
            while !cluster.is_complete() {
                cluster.take(feed.next().await);
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("all scopes are told");
        (cluster, feed)
    }
}
