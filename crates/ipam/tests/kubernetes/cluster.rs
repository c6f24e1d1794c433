//! One API server for all tests, which use it one at a time.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use api::crd::Group;
use api::{Key, Kind, Record};
use serde_json::json;
use servers::kube_server::{self, ADMIN, KubeServer};
use store::kubernetes::{Deletion, KubeOptions, KubeStore, Pem};
use store::testing::{FaultPlan, Faulty};
use store::{Batch, Depth, Expect, ReadSet, Scope, Store};
use tokio::runtime::Runtime;

use crate::real::Place;
use crate::world::{WITHIN, World};

static SERVER: OnceLock<KubeServer> = OnceLock::new();
static ALONE: Mutex<()> = Mutex::new(());

/// The server, its stores, and the runtime for calls to them.
pub struct Cluster {
    runtime: Runtime,
    base: Faulty<KubeStore>,
    /// A store that deletes each record with a single request.
    eraser: KubeStore,
    _alone: MutexGuard<'static, ()>,
}

/// The cluster; `None` where tests with Kubernetes are left out.
pub fn cluster(group: Group) -> Option<Cluster> {
    if kube_server::is_left_out() {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server();
    let open = |deletion| {
        let options = KubeOptions {
            endpoint: Some(server.endpoint().to_string()),
            ca: Some(Pem::File(server.ca())),
            token: Some(server.token(ADMIN).to_string()),
            group: Some(group),
            deletion,
            ..KubeOptions::default()
        };
        KubeStore::open(options).unwrap()
    };
    Some(Cluster {
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        base: Faulty::new(open(Deletion::TwoPhase), FaultPlan::default()),
        eraser: open(Deletion::Atomic),
        _alone: alone,
    })
}

/// The API server, which is started at the first call.
pub fn server() -> &'static KubeServer {
    SERVER.get_or_init(start)
}

/// Starts a server with the custom resources of both groups, and with the nodes, which the store cannot
/// create.
fn start() -> KubeServer {
    let server = KubeServer::start(kube_server::KubeServerOptions::new());
    let definitions = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds"));
    server.apply(&[&definitions.join("v1"), &definitions.join("v3")]);
    let nodes =
        ["a", "b", "c"].map(|name| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
    let nodes = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
    let mut kubectl =
        server.kubectl(&["create", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kubectl.stdin.take().unwrap().write_all(nodes.to_string().as_bytes()).unwrap();
    assert!(kubectl.wait().unwrap().success());
    server
}

impl Place for Cluster {
    type Store = KubeStore;

    fn sound(&self) -> FaultPlan {
        FaultPlan { guards: false, ..FaultPlan::default() }
    }

    /// A caller that meets the faults of a plan.
    fn caller(&self, plan: FaultPlan) -> Faulty<KubeStore> {
        self.base.another(plan)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Makes the server hold the records of a world and no others, except for the nodes, which stay.
    fn load(&self, world: &World) {
        let mut erase = Batch::new();
        for record in self.records() {
            erase.delete(record.key.clone(), Expect::Revision(record.revision.clone()));
        }
        let mut fill = Batch::new();
        for record in world.store.records().iter().filter(|record| !is_node(&record.key)) {
            fill.put(record.key.clone(), Expect::Absent, record.value.clone());
        }
        for batch in [erase, fill] {
            let report = self.block_on(self.eraser.commit(&batch, WITHIN)).unwrap();
            assert!(report.is_applied(), "{report:?}");
        }
    }

    /// The records that the server holds now, with the clock and the nodes of a world.
    fn unload(&self, world: &World) -> World {
        let found = World { clock: world.clock.clone(), ..World::new() };
        let nodes = world.store.records();
        for record in self.records().iter().chain(nodes.iter().filter(|record| is_node(&record.key))) {
            found.store.put(record.key.clone(), record.value.clone());
        }
        found
    }
}

impl Cluster {
    fn records(&self) -> Vec<Arc<Record>> {
        let set = ReadSet::new()
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
            .scope(Scope::Handles, Depth::Full)
            .key(Key::IpamConfig);
        let view = self.block_on(self.eraser.read(&set, WITHIN)).unwrap();
        view.all().filter_map(|(_, slot)| slot.record().cloned()).collect()
    }
}

fn is_node(key: &Key) -> bool {
    matches!(key, Key::Resource { kind: Kind::Node, .. })
}
