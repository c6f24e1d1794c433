//! The environments of loads: a store of each kind, with the same four racks in it, and a way to dump it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::crd::Group;
use api::{Kind, Resource, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use servers::etcd_server::{EtcdCluster, Setup};
use servers::kube_server::{self, KubeServer};
use servers::proxy::Proxy;
use store::etcd::{EtcdOptions, EtcdStore};
use store::kubernetes::{self, KubeStore, Kubeconfig};
use store::sqlite::{self, SqliteStore};
use store::testing::etcd_client;
use store::testing::{FaultPlan, Faulty};
use store::{AnyStore, Batch, Expect, MemoryStore, Store};
use tempfile::TempDir;

use crate::dump::Dump;

/// A time limit for everything that is not under test.
pub const LONG: Duration = Duration::from_secs(30);
const RACKS: usize = 4;

/// A store, and what belongs to it.
pub enum Environment {
    /// Real etcd members, each behind a proxy.
    Etcd { cluster: EtcdCluster, proxies: Vec<Proxy> },
    /// A real API server, with the custom resources of one group. Such servers are large, so there is only
    /// one at a time.
    Kubernetes { server: Box<KubeServer>, group: KubeGroup, _alone: MutexGuard<'static, ()> },
    /// The embedded store's file.
    Embedded { folder: TempDir },
    /// A store in memory. The workers are threads of this process.
    Memory(Faulty<MemoryStore>),
}

/// How a worker reaches a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reach {
    Etcd { endpoints: Vec<String>, first: usize },
    Embedded { path: PathBuf },
    Kubernetes { kubeconfig: PathBuf, group: KubeGroup },
}

/// The group of the custom resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KubeGroup {
    V1,
    V3,
}

impl KubeGroup {
    pub fn group(self) -> Group {
        match self {
            KubeGroup::V1 => Group::V1,
            KubeGroup::V3 => Group::V3,
        }
    }

    /// `crd.projectcalico.org/v1`.
    pub fn text(self) -> &'static str {
        self.group().api_version()
    }
}

static ONE_API_SERVER: Mutex<()> = Mutex::new(());

impl Reach {
    /// Opens the store.
    pub fn open(&self) -> AnyStore {
        match self {
            Reach::Etcd { endpoints, first } => {
                let options =
                    EtcdOptions { endpoints: endpoints.clone(), first: *first, ..EtcdOptions::default() };
                AnyStore::Etcd(EtcdStore::open(options).unwrap())
            }
            Reach::Embedded { path } => {
                AnyStore::Sqlite(SqliteStore::open(path, sqlite::SqliteOptions::default()).unwrap())
            }
            Reach::Kubernetes { kubeconfig, group } => {
                let kubeconfig = Some(Kubeconfig::Files(vec![kubeconfig.clone()]));
                let group = Some(group.group());
                let options = kubernetes::KubeOptions { kubeconfig, group, ..Default::default() };
                AnyStore::Kubernetes(KubeStore::open(options).unwrap())
            }
        }
    }
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Environment {
    /// A cluster of that many etcd members, with the racks in it.
    pub fn etcd(members: usize) -> Environment {
        let cluster = Setup::new().start_cluster(members);
        let proxies = cluster.members.iter().map(|member| Proxy::start(member.address())).collect();
        Environment::Etcd { cluster, proxies }.with_racks()
    }

    /// An API server with the custom resources of a group, with the racks in it.
    pub fn kubernetes(group: KubeGroup) -> Environment {
        let alone = ONE_API_SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = Box::new(KubeServer::start(kube_server::KubeServerOptions::new()));
        let definitions = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds"));
        server.apply(&[&definitions.join(group.text().rsplit('/').next().unwrap())]);
        Environment::Kubernetes { server, group, _alone: alone }.with_racks()
    }

    /// An embedded store, with the racks in it.
    pub fn embedded() -> Environment {
        Environment::Embedded { folder: TempDir::new().unwrap() }.with_racks()
    }

    /// A store in memory, with the racks in it.
    pub fn memory() -> Environment {
        Environment::Memory(Faulty::new(MemoryStore::new(), FaultPlan::default())).with_racks()
    }

    fn with_racks(self) -> Environment {
        match &self {
            Environment::Memory(store) => block_on(set_up_racks(store)),
            Environment::Kubernetes { server, .. } => {
                // Nodes are Kubernetes' own objects, which the store does not create.
                create(server, nodes());
                block_on(put(&self.reach(0).unwrap().open(), pools()));
            }
            _ => block_on(set_up_racks(&self.reach(0).unwrap().open())),
        }
        self
    }

    /// How a worker reaches the store through the proxies. `None` where the worker must be a thread.
    pub fn reach(&self, first: usize) -> Option<Reach> {
        match self {
            Environment::Etcd { proxies, .. } => {
                Some(Reach::Etcd { endpoints: proxies.iter().map(Proxy::address).collect(), first })
            }
            Environment::Kubernetes { server, group, .. } => {
                Some(Reach::Kubernetes { kubeconfig: server.kubeconfig(), group: *group })
            }
            Environment::Embedded { folder } => {
                Some(Reach::Embedded { path: folder.path().join("store.db") })
            }
            Environment::Memory(_) => None,
        }
    }

    /// Everything that is stored, read without the code under test. (For the store in memory: as it would be
    /// stored.)
    pub fn dump(&self) -> Dump {
        match self {
            Environment::Etcd { cluster, .. } => Dump(block_on(dump_etcd(&cluster.endpoints(), "/calico/"))),
            Environment::Kubernetes { server, group, .. } => {
                // The objects are read from the API server's etcd directly.
                let prefix = format!("/registry/{}/", group.text().split('/').next().unwrap());
                Dump::of_objects(block_on(dump_etcd(&[server.etcd().endpoint()], &prefix)))
            }
            Environment::Embedded { folder } => {
                let file = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
                let mut rows = file.prepare("SELECT key, value FROM kv").unwrap();
                let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                Dump(rows.map(Result::unwrap).collect())
            }
            Environment::Memory(store) => {
                let records = store.inner().records();
                Dump(records.iter().map(|r| (r.key.etcd_path(), r.value.to_stored_text())).collect())
            }
        }
    }
}

async fn dump_etcd(endpoints: &[String], prefix: &str) -> BTreeMap<String, String> {
    let mut client = etcd_client::Client::connect(endpoints, None).await.unwrap();
    let all = etcd_client::GetOptions::new().with_prefix();
    // A member that has just restarted may not know its leader yet.
    for _ in 0..100 {
        match client.get(prefix, Some(all.clone())).await {
            Ok(answer) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                return answer.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect();
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("etcd cannot be dumped");
}

/// The hosts: two in each rack.
pub fn hosts() -> Vec<String> {
    (0..2 * RACKS).map(|at| format!("n{at}")).collect()
}

/// Stores the racks in an empty store.
pub async fn set_up_racks<S: Store>(store: &S) {
    put(store, pools().into_iter().chain(nodes()).collect()).await;
}

/// Resources to be stored, each with its kind.
pub type Documents = Vec<(Kind, Json)>;

fn pools() -> Documents {
    let racks = (0..RACKS).flat_map(|rack| {
        let of = move |family: &str, cidr: String, size: u8| {
            let spec = json!({"cidr": cidr, "blockSize": size, "nodeSelector": format!("rack == 'r{rack}'")});
            (Kind::IPPool, json!({"metadata": {"name": format!("{family}-r{rack}")}, "spec": spec}))
        };
        [of("v4", format!("10.0.{rack}.0/25"), 29), of("v6", format!("fd00:{rack}::/121"), 125)]
    });
    racks.collect()
}

fn nodes() -> Documents {
    let node = |(at, host)| {
        let labels = json!({"rack": format!("r{}", at / 2)});
        (Kind::Node, json!({"metadata": {"name": host, "labels": labels}, "spec": {}}))
    };
    hosts().into_iter().enumerate().map(node).collect()
}

/// Creates the resources that do not exist yet.
pub async fn put<S: Store>(store: &S, documents: Documents) {
    let mut batch = Batch::new();
    for (kind, document) in documents {
        let resource = Resource::from_json(kind, document).unwrap();
        batch.put(resource.key(), Expect::Absent, Value::Resource(resource));
    }
    let report = store.commit(&batch, LONG).await.unwrap();
    assert!(report.is_applied(), "{report:?}");
}

/// Creates Kubernetes' own objects, without the store.
fn create(server: &KubeServer, documents: Documents) {
    let object = |(kind, mut document): (Kind, Json)| {
        document["apiVersion"] = "v1".into();
        document["kind"] = kind.name().into();
        document
    };
    let items: Vec<Json> = documents.into_iter().map(object).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let mut kubectl = server.kubectl(&["create", "-f", "-"]);
    let mut kubectl = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kubectl.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
    assert!(kubectl.wait().unwrap().success());
}
