//! One API server for all tests, which use it one at a time; and a second client, which writes as Calico
//! does.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::crd::{Group, encode, encode_deleted, object_name};
use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Handle, HandleId, Key, Owner, Record, Revision,
    Value,
};
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value as Json, json};
use servers::kube_server::{self, ADMIN, KubeServer};
use store::kubernetes::{KubeOptions, KubeStore, Pem};
use store::{Batch, Expect, Op, Outcome, ReadSet, Store, Write};
use tokio::sync::{Mutex, MutexGuard};

pub const WITHIN: Duration = Duration::from_secs(20);
pub const GROUPS: [Group; 2] = [Group::V1, Group::V3];
/// The users of the tests. Their rights come from the installed roles alone.
pub const PLUGIN: &str = "system:serviceaccount:kube-system:calico-ipam";
pub const STRANGER: &str = "stranger";

static SERVER: OnceLock<KubeServer> = OnceLock::new();
static ALONE: Mutex<()> = Mutex::const_new(());

pub fn manifests() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).to_path_buf()
}

/// The server, for one test at a time.
pub struct Cluster {
    pub server: &'static KubeServer,
    raw: Client,
    _alone: MutexGuard<'static, ()>,
}

/// The server, without objects of Calico; `None` where tests with Kubernetes are left out.
pub async fn cluster() -> Option<Cluster> {
    if kube_server::is_left_out() {
        return None;
    }
    let alone = ALONE.lock().await;
    let server = SERVER.get_or_init(|| {
        let options = kube_server::KubeServerOptions::new().user(PLUGIN, &[]).user(STRANGER, &[]);
        let server = KubeServer::start(options);
        let at = |name: &str| manifests().join(name);
        server.apply(&[&at("crds/v1"), &at("crds/v3"), &at("rbac")]);
        server
    });
    let kubeconfig = kube::config::Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let raw = Client::try_from(Config::try_from(kubeconfig).unwrap()).unwrap();
    let cluster = Cluster { server, raw, _alone: alone };
    cluster.clear().await;
    Some(cluster)
}

impl Cluster {
    pub fn options(&self, group: Group) -> KubeOptions {
        KubeOptions {
            endpoint: Some(self.server.endpoint().to_string()),
            ca: Some(Pem::File(self.server.ca())),
            token: Some(self.server.token(ADMIN).to_string()),
            group: Some(group),
            ..KubeOptions::default()
        }
    }

    pub fn open(&self, group: Group) -> KubeStore {
        KubeStore::open(self.options(group)).unwrap()
    }

    pub fn open_as(&self, group: Group, user: &str) -> KubeStore {
        let token = Some(self.server.token(user).to_string());
        KubeStore::open(KubeOptions { token, ..self.options(group) }).unwrap()
    }

    /// Sends a request without the store.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string().into_bytes()));
        let response = self.raw.send(request.body(body).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        (code, serde_json::from_slice(&bytes).unwrap_or(Json::Null))
    }

    /// The size of an answer in the form `accept`.
    pub async fn short(&self, path: &str, accept: &str) -> usize {
        let request = http::Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
        self.raw.send(request).await.unwrap().into_body().collect_bytes().await.unwrap().len()
    }

    pub async fn clear(&self) {
        for group in GROUPS {
            let config = if group == Group::V1 { "ipamconfigs" } else { "ipamconfigurations" };
            for plural in
                ["ipamblocks", "blockaffinities", "ipamhandles", "ippools", "ipreservations", config]
            {
                let (code, answer) = self.ask("DELETE", &format!("/apis/{group}/{plural}"), None).await;
                assert_eq!(code, 200, "{answer}");
            }
        }
    }

    pub async fn clear_nodes(&self) {
        self.ask("DELETE", "/api/v1/nodes", None).await;
        self.ask("DELETE", "/api/v1/namespaces/default/pods?gracePeriodSeconds=0", None).await;
    }

    /// The stored object of a key.
    pub async fn object(&self, group: Group, key: &Key) -> Option<Json> {
        match self.ask("GET", &path(group, key), None).await {
            (200, object) => Some(object),
            (404, _) => None,
            other => panic!("{other:?}"),
        }
    }
}

pub fn collection(group: Group, key: &Key) -> String {
    api::crd::Collection::of(key).unwrap().path(group)
}

pub fn path(group: Group, key: &Key) -> String {
    format!("{}/{}", collection(group, key), object_name(key))
}

/// Writes in the way of Calico's client.
impl Cluster {
    pub async fn create(&self, group: Group, key: &Key, value: &Value) -> (u16, Json) {
        let object = encode(group, key, value, None).unwrap();
        self.ask("POST", &collection(group, key), Some(&object)).await
    }

    /// Flags an object, which is the first phase of a deletion.
    pub async fn flag(&self, group: Group, key: &Key, value: &Value, revision: &str) -> (u16, Json) {
        let object = encode_deleted(group, key, value, &Revision::new(revision)).unwrap();
        self.ask("PUT", &path(group, key), Some(&object)).await
    }

    /// Removes an object, which is the second phase of a deletion.
    pub async fn remove(&self, group: Group, key: &Key, uid: &str) -> (u16, Json) {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}});
        self.ask("DELETE", &path(group, key), Some(&options)).await
    }

    /// Leaves an object in the state after a crash between the two phases.
    pub async fn leave_tombstone(&self, group: Group, key: &Key, value: &Value) {
        let (code, created) = self.create(group, key, value).await;
        assert_eq!(code, 201, "{created}");
        let (code, flagged) = self.flag(group, key, value, revision_of(&created)).await;
        assert_eq!(code, 200, "{flagged}");
    }
}

pub fn revision_of(object: &Json) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

pub fn cidr(text: &str) -> BlockCidr {
    text.parse().unwrap()
}

pub fn handle(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

pub fn counted(count: u32) -> Value {
    Value::Handle(Handle { blocks: [(cidr("10.0.0.0/26"), count)].into(), deleted: false })
}

pub fn affinity(host: &str, block: &str) -> Key {
    Key::Affinity { owner: Owner::Host(host.to_string()), block: cidr(block) }
}

pub fn in_state(state: AffinityState) -> Value {
    Value::Affinity(Affinity::new(state))
}

pub fn block(text: &str) -> Key {
    Key::Block(cidr(text))
}

/// A block of a host with that many addresses in use.
pub fn block_value(text: &str, host: &str, taken: u32) -> Value {
    let cidr = cidr(text);
    let attribute = |ordinal: u32| Attribute {
        handle_id: Some(format!("k8s-pod-network.{ordinal:064}")),
        owner: ["node", "pod", "namespace", "timestamp"]
            .map(|name| (name.to_string(), format!("some-{name}")))
            .into(),
        ..Attribute::default()
    };
    Value::Block(Block {
        cidr,
        affinity: Some(format!("host:{host}").into()),
        affinity_claim_time: None,
        allocations: (0..cidr.size()).map(|o| (o < taken).then_some(o)).collect(),
        unallocated: (taken..cidr.size()).collect(),
        attributes: (0..taken).map(|o| Arc::new(attribute(o))).collect(),
        sequence_number: 1_785_000_000_000_000_007,
        sequence_numbers: (0..taken).map(|o| (o, 1_785_000_000_000_000_000 + u64::from(o))).collect(),
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    })
}

/// One record of each kind that is deleted in two phases.
pub fn flagged_kinds() -> [(Key, Value); 3] {
    [
        (block("10.0.0.0/30"), block_value("10.0.0.0/30", "n1", 1)),
        (affinity("n1", "10.0.0.0/30"), in_state(AffinityState::Confirmed)),
        (handle("net.Some"), counted(1)),
    ]
}

pub async fn find(store: &KubeStore, key: &Key) -> Option<Arc<Record>> {
    let view = store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
    view.full(key).unwrap().cloned()
}

pub async fn write(store: &KubeStore, key: &Key, expect: Expect, op: Op) -> Outcome {
    let mut batch = Batch::new();
    batch.push(Write { key: key.clone(), expect, op });
    store.commit(&batch, WITHIN).await.unwrap().outcomes.remove(0)
}

pub async fn put(store: &KubeStore, key: &Key, expect: Expect, value: Value) -> Outcome {
    write(store, key, expect, Op::Put(Arc::new(value))).await
}

pub fn applied(outcome: &Outcome) -> Revision {
    match outcome {
        Outcome::Applied(revision) => revision.clone(),
        other => panic!("not applied: {other:?}"),
    }
}
