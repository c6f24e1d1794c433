//! Where a load runs: a store of each kind, the same four racks in it, and how to dump it.

use std::path::PathBuf;
use std::time::Duration;

use api::{Key, Kind, Resource, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::etcd::{EtcdStore, Options};
use store::sqlite::{self, SqliteStore};
use store::testing::etcd_server::{EtcdCluster, Setup, etcd_client};
use store::testing::proxy::Proxy;
use store::testing::{Faulty, Plan};
use store::{AnyStore, Batch, Expect, MemoryStore, Store};
use tempfile::TempDir;

use crate::dump::Dump;

/// Longer than anything may take that is not under test.
pub const LONG: Duration = Duration::from_secs(30);
const RACKS: usize = 4;

/// A store, and what stands around it.
pub enum Environment {
    /// Real etcd members, each behind a proxy.
    Etcd { cluster: EtcdCluster, proxies: Vec<Proxy> },
    /// The embedded store's file.
    Embedded { folder: TempDir },
    /// A store in memory; workers are threads of this process.
    Memory(Faulty<MemoryStore>),
}

/// What a worker must know to get to a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reach {
    Etcd { endpoints: Vec<String>, first: usize },
    Embedded { path: PathBuf },
}

impl Reach {
    /// Opens the store.
    pub fn open(&self) -> AnyStore {
        match self {
            Reach::Etcd { endpoints, first } => {
                let options = Options { endpoints: endpoints.clone(), first: *first, ..Options::default() };
                AnyStore::Etcd(EtcdStore::open(options).unwrap())
            }
            Reach::Embedded { path } => {
                AnyStore::Sqlite(SqliteStore::open(path, sqlite::Options::default()).unwrap())
            }
        }
    }
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Environment {
    /// So many etcd members, with the racks in them.
    pub fn etcd(members: usize) -> Environment {
        let cluster = Setup::new().start_cluster(members);
        let proxies = cluster.members.iter().map(|member| Proxy::start(member.address())).collect();
        Environment::Etcd { cluster, proxies }.with_racks()
    }

    /// An embedded store, with the racks in it.
    pub fn embedded() -> Environment {
        Environment::Embedded { folder: TempDir::new().unwrap() }.with_racks()
    }

    /// A store in memory, with the racks in it.
    pub fn memory() -> Environment {
        Environment::Memory(Faulty::new(MemoryStore::new(), Plan::default())).with_racks()
    }

    fn with_racks(self) -> Environment {
        match &self {
            Environment::Memory(store) => block_on(set_up_racks(store)),
            _ => block_on(set_up_racks(&self.reach(0).unwrap().open())),
        }
        self
    }

    /// How a worker gets to the store, through the proxies; `None` where it must be a thread.
    pub fn reach(&self, first: usize) -> Option<Reach> {
        match self {
            Environment::Etcd { proxies, .. } => {
                Some(Reach::Etcd { endpoints: proxies.iter().map(Proxy::address).collect(), first })
            }
            Environment::Embedded { folder } => {
                Some(Reach::Embedded { path: folder.path().join("store.db") })
            }
            Environment::Memory(_) => None,
        }
    }

    /// Everything that is stored, read without the code under test (in memory: as it would be stored).
    pub fn dump(&self) -> Dump {
        match self {
            Environment::Etcd { cluster, .. } => block_on(dump_etcd(&cluster.endpoints())),
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

async fn dump_etcd(endpoints: &[String]) -> Dump {
    let mut client = etcd_client::Client::connect(endpoints, None).await.unwrap();
    let all = etcd_client::GetOptions::new().with_prefix();
    // A member that has only just come back may not know its leader yet.
    for _ in 0..100 {
        match client.get("/calico/", Some(all.clone())).await {
            Ok(answer) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                return Dump(answer.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("etcd cannot be dumped");
}

/// The hosts: two of each rack.
pub fn hosts() -> Vec<String> {
    (0..2 * RACKS).map(|at| format!("n{at}")).collect()
}

/// Puts the racks into an empty store.
pub async fn set_up_racks<S: Store>(store: &S) {
    let mut batch = Batch::new();
    let mut put = |kind: Kind, name: String, spec: serde_json::Value, labels: serde_json::Value| {
        let document = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
        let resource = Resource::from_json(kind, document).unwrap();
        batch.put(Key::global(kind, name), Expect::Absent, Value::Resource(resource));
    };
    for rack in 0..RACKS {
        let selector = format!("rack == 'r{rack}'");
        for (family, cidr, size) in
            [("v4", format!("10.0.{rack}.0/25"), 29), ("v6", format!("fd00:{rack}::/121"), 125)]
        {
            let spec = json!({"cidr": cidr, "blockSize": size, "nodeSelector": selector});
            put(Kind::IPPool, format!("{family}-r{rack}"), spec, json!({}));
        }
    }
    for (at, host) in hosts().into_iter().enumerate() {
        put(Kind::Node, host, json!({}), json!({"rack": format!("r{}", at / 2)}));
    }
    let report = store.commit(&batch, LONG).await.unwrap();
    assert!(report.is_applied(), "{report:?}");
}
