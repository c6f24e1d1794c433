//! Every store, filled with the records of a cluster.

use std::sync::Arc;

use api::crd::{self, Collection, Group};
use api::{Key, Kind, Record};
use serde_json::json;
use servers::etcd_server::{self, EtcdServer};
use servers::kube_server::{self, ADMIN, KubeServer, KubeServerOptions};
use store::etcd::{EtcdOptions, EtcdStore};
use store::kubernetes::{KubeOptions, KubeStore, Pem};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::testing::Counting;
use store::testing::etcd_client::{Client, DeleteOptions, Txn, TxnOp};
use store::{Batch, Expect, MemoryStore, Store};

use crate::world::{WITHIN, World};

/// How many records are written at once.
const AT_ONCE: usize = 100;

/// A store that can be filled anew.
pub trait Backend {
    type Store: Store;

    /// Makes the store hold the records of a cluster and no others.
    async fn hold(&mut self, cluster: &World);

    /// The store, which counts its calls.
    fn store(&self) -> &Counting<Self::Store>;

    /// How many requests the server has answered, by its own count; 0 where there is no server.
    fn answered(&self) -> u64;
}

/// The store in memory.
#[derive(Default)]
pub struct Memory(Counting<MemoryStore>);

impl Backend for Memory {
    type Store = MemoryStore;

    async fn hold(&mut self, cluster: &World) {
        self.0 = Counting::new(cluster.store.clone());
    }

    fn store(&self) -> &Counting<MemoryStore> {
        &self.0
    }

    fn answered(&self) -> u64 {
        0
    }
}

/// The embedded store, a new file for each cluster.
pub struct Embedded {
    store: Counting<SqliteStore>,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub fn new() -> Embedded {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db"), SqliteOptions::default()).unwrap();
        Embedded { store: Counting::new(store), _folder: folder }
    }
}

impl Backend for Embedded {
    type Store = SqliteStore;

    async fn hold(&mut self, cluster: &World) {
        *self = Embedded::new();
        for records in cluster.store.records().chunks(10 * AT_ONCE) {
            let mut batch = Batch::new();
            for record in records {
                batch.put(record.key.clone(), Expect::Absent, record.value.clone());
            }
            assert!(self.store.commit(&batch, WITHIN).await.unwrap().is_applied());
        }
    }

    fn store(&self) -> &Counting<SqliteStore> {
        &self.store
    }

    fn answered(&self) -> u64 {
        0
    }
}

/// An etcd of its own.
pub struct Etcd {
    server: EtcdServer,
    store: Counting<EtcdStore>,
}

impl Etcd {
    /// `None` where tests with etcd are left out.
    pub fn start() -> Option<Etcd> {
        if etcd_server::is_left_out() {
            return None;
        }
        let server = etcd_server::Setup::new().argument("--unsafe-no-fsync=true").start();
        let store = EtcdStore::open(EtcdOptions { endpoints: vec![server.endpoint()], ..Default::default() });
        Some(Etcd { server, store: Counting::new(store.unwrap()) })
    }
}

impl Backend for Etcd {
    type Store = EtcdStore;

    async fn hold(&mut self, cluster: &World) {
        let records = cluster.store.records();
        let stored = |record: &Arc<Record>| (record.key.etcd_path(), record.value.to_stored_text());
        fill(&self.server, "/calico/", records.iter().map(stored).collect()).await;
    }

    fn store(&self) -> &Counting<EtcdStore> {
        &self.store
    }

    fn answered(&self) -> u64 {
        self.server.handled().values().sum()
    }
}

/// A Kubernetes API server of its own.
pub struct Kubernetes {
    server: KubeServer,
    store: Counting<KubeStore>,
}

const GROUP: Group = Group::V1;

impl Kubernetes {
    /// `None` where tests with Kubernetes are left out.
    pub fn start() -> Option<Kubernetes> {
        if kube_server::is_left_out() {
            return None;
        }
        let server = KubeServer::start(KubeServerOptions::new());
        server.apply(&[concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds/v1").as_ref()]);
        let created = server.kubectl(&["create", "-f", "-"]);
        give(created, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}).to_string());
        let options = KubeOptions {
            endpoint: Some(server.endpoint().to_string()),
            ca: Some(Pem::File(server.ca())),
            token: Some(server.token(ADMIN).to_string()),
            group: Some(GROUP),
            ..KubeOptions::default()
        };
        Some(Kubernetes { server, store: Counting::new(KubeStore::open(options).unwrap()) })
    }
}

/// Runs a program to its end with that input.
fn give(mut program: std::process::Command, input: &str) {
    use std::io::Write;
    use std::process::Stdio;
    let mut running = program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(running.wait().unwrap().success());
}

impl Backend for Kubernetes {
    type Store = KubeStore;

    /// The objects are written to the API server's etcd directly: by the API server, thousands would take
    /// minutes. The nodes are Kubernetes' own objects, and stay.
    async fn hold(&mut self, cluster: &World) {
        let records = cluster.store.records();
        let is_node = |key: &Key| matches!(key, Key::Resource { kind: Kind::Node, .. });
        let custom = records.iter().filter(|record| !is_node(&record.key)).enumerate();
        let prefix = format!("/registry/{}/", GROUP.name());
        let stored = custom.map(|(n, record)| {
            let mut object = crd::encode(GROUP, &record.key, &record.value, None).unwrap();
            let plural = Collection::of(&record.key).unwrap().plural(GROUP);
            let name = object["metadata"]["name"].as_str().unwrap().to_string();
            // What the API server gives to an object that it creates.
            object["metadata"]["uid"] = format!("00000000-0000-4000-8000-{n:012x}").into();
            object["metadata"]["creationTimestamp"] = "2026-08-01T10:00:00Z".into();
            object["metadata"]["generation"] = 1.into();
            (format!("{prefix}{plural}/{name}"), object.to_string())
        });
        fill(self.server.etcd(), &prefix, stored.collect()).await;
    }

    fn store(&self) -> &Counting<KubeStore> {
        &self.store
    }

    fn answered(&self) -> u64 {
        self.server.requests_of(ADMIN).len() as u64
    }
}

/// Makes an etcd hold these values under a prefix and no others.
async fn fill(server: &EtcdServer, prefix: &str, values: Vec<(String, String)>) {
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    client.delete(prefix, Some(DeleteOptions::new().with_prefix())).await.unwrap();
    for some in values.chunks(AT_ONCE) {
        let puts: Vec<TxnOp> =
            some.iter().map(|(key, value)| TxnOp::put(key.as_str(), value.as_str(), None)).collect();
        client.txn(Txn::new().and_then(puts)).await.unwrap();
    }
}
