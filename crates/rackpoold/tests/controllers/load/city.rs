//! A large cluster, filled by the generator, below its API server or straight into etcd: who lives in it, and
//! who is to die in which fault.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use api::crd::Group;
use api::{Key, Kind, Resource, Value};
use cluster_data::{Made, Size, node_name, records, stored_object};
use controllers::collect::allocations;
use serde_json::{Value as Json, json};
use servers::etcd_server::EtcdServer;
use servers::kube_server::{KubeServer, KubeServerOptions};
use store::etcd::{EtcdOptions, EtcdStore};
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig};
use store::testing::program_beside;
use store::{AnyStore, Batch, Depth, Expect, ReadSet, Scope, Store};

use crate::frame::ACCOUNT;
use crate::process::Process;
use crate::town::{Town, WITHIN};

/// How many records are deleted in one transaction.
const AT_ONCE: usize = 50;

/// A workload of the generator.
#[derive(Clone, Debug)]
pub struct Workload {
    pub endpoint: Resource,
    pub addr: IpAddr,
}

impl Workload {
    fn text(&self, field: &str) -> &str {
        self.endpoint.text(&["spec", field]).unwrap()
    }
}

/// The cluster.
pub struct City {
    pub town: Town,
    /// The store, where it is no API server.
    etcd: Option<EtcdServer>,
    /// The environment of our programs.
    variables: Vec<(&'static str, String)>,
    /// Those who die together.
    batches: BTreeMap<usize, Vec<Workload>>,
    pub living: BTreeSet<IpAddr>,
    /// Those whose addresses are not free yet, as far as is known.
    pub dead: BTreeSet<IpAddr>,
}

/// The records, with this grace period; each workload gets a batch or none, by its node's number and its own
/// ordinal there.
fn settled(size: Size, grace: Duration) -> impl Iterator<Item = Made> {
    records(size).map(move |(key, value)| match &key {
        Key::Resource { kind: Kind::KubeControllersConfiguration, .. } => {
            let node = json!({"leakGracePeriod": format!("{}s", grace.as_secs())});
            let spec = json!({"prometheusMetricsPort": 0, "controllers": {"node": node}});
            let json = json!({"metadata": {"name": "default"}, "spec": spec});
            let resource = Resource::from_json(Kind::KubeControllersConfiguration, json).unwrap();
            (key, Value::Resource(resource))
        }
        _ => (key, value),
    })
}

/// Who lives, and who is to die with whom.
#[derive(Default)]
struct Census {
    batches: BTreeMap<usize, Vec<Workload>>,
    living: BTreeSet<IpAddr>,
    of_node: BTreeMap<String, u32>,
}

impl Census {
    /// Counts a record. Gives the batch of a workload that is in one.
    fn count(&mut self, value: &Value, batch: &dyn Fn(u32, u32) -> Option<usize>) -> Option<usize> {
        let Value::Resource(endpoint) = value else { return None };
        if endpoint.kind() != Kind::WorkloadEndpoint {
            return None;
        }
        let node = endpoint.text(&["spec", "node"]).unwrap();
        let net = endpoint.field(&["spec", "ipNetworks"]).unwrap()[0].as_str().unwrap();
        let addr = net.trim_end_matches("/32").parse().unwrap();
        let ordinal = self.of_node.entry(node.to_string()).or_default();
        let batch = batch(node.trim_start_matches("node-").parse().unwrap(), *ordinal);
        *ordinal += 1;
        self.living.insert(addr);
        if let Some(batch) = batch {
            let workload = Workload { endpoint: endpoint.clone(), addr };
            self.batches.entry(batch).or_default().push(workload);
        }
        batch
    }
}

impl City {
    /// On an API server with the real controllers. Its pods' batches are labels.
    pub fn on_kubernetes(size: Size, grace: Duration, batch: &dyn Fn(u32, u32) -> Option<usize>) -> City {
        let options = KubeServerOptions::new().whole().with_nodes_taken_for_ready().user(ACCOUNT, &[]);
        let server = KubeServer::start(options.argument("--delete-collection-workers=16"));
        let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
        server.apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")]);
        let mut census = Census::default();
        let objects = settled(size, grace).filter_map(|(key, value)| {
            let batch = census.count(&value, batch);
            let (path, object) = stored_object(Group::V1, &key, &value)?;
            let Some(batch) = batch else { return Some((path, object)) };
            let mut object: Json = serde_json::from_str(&object).unwrap();
            object["metadata"]["labels"] = json!({"batch": batch.to_string()});
            Some((path, object.to_string()))
        });
        server.etcd().put_all(objects);
        let files = vec![server.kubeconfig()];
        let options = KubeOptions { kubeconfig: Some(Kubeconfig::Files(files)), ..KubeOptions::default() };
        let store = AnyStore::Kubernetes(KubeStore::open(options).unwrap());
        let variables = vec![
            ("DATASTORE_TYPE", "kubernetes".to_string()),
            ("CALICO_API_GROUP", Group::V1.api_version().to_string()),
            ("KUBECONFIG", server.kubeconfig_of(ACCOUNT).display().to_string()),
        ];
        City::new(Town::with_its_records(store, Some(server)), None, variables, census)
    }

    /// On etcd, where endpoints are the witnesses.
    pub fn on_etcd(size: Size, grace: Duration, batch: &dyn Fn(u32, u32) -> Option<usize>) -> City {
        let server = EtcdServer::start();
        let mut census = Census::default();
        server.put_all(settled(size, grace).map(|(key, value)| {
            census.count(&value, batch);
            (key.etcd_path(), value.to_stored_text())
        }));
        let endpoint = server.endpoint();
        let options = EtcdOptions { endpoints: vec![endpoint.clone()], ..EtcdOptions::default() };
        let store = AnyStore::Etcd(EtcdStore::open(options).unwrap());
        let variables = vec![("DATASTORE_TYPE", "etcdv3".to_string()), ("ETCD_ENDPOINTS", endpoint)];
        City::new(Town::with_its_records(store, None), Some(server), variables, census)
    }

    fn new(
        town: Town,
        etcd: Option<EtcdServer>,
        variables: Vec<(&'static str, String)>,
        census: Census,
    ) -> City {
        let Census { batches, living, .. } = census;
        City { town, etcd, variables, batches, living, dead: BTreeSet::new() }
    }

    /// Starts a replica of the controllers, and waits until it is ready.
    pub fn replica(&self, name: &str) -> Process {
        let mut variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.push(("POD_NAME", name));
        Process::start(&variables, &[])
    }

    /// Kills the server, and starts it again after that time.
    pub fn power_cut(&mut self, away: Duration) {
        if let Some(server) = &mut self.etcd {
            server.kill();
            std::thread::sleep(away);
            server.restart();
        }
        if let Some(server) = &mut self.town.server {
            server.kill();
            std::thread::sleep(away);
            server.restart();
        }
    }

    /// The workloads of a batch.
    pub fn batch(&self, batch: usize) -> &[Workload] {
        self.batches.get(&batch).map_or(&[], Vec::as_slice)
    }

    /// Deletes the pods of a batch, or the endpoints, at once. Their addresses have leaked then.
    pub async fn delete(&mut self, batch: usize) {
        let gone = self.batch(batch).to_vec();
        match &self.town.server {
            Some(server) => {
                let path = format!(
                    "/api/v1/namespaces/default/pods?labelSelector=batch%3D{batch}&gracePeriodSeconds=0"
                );
                let out = server.kubectl(&["delete", "--raw", &path]).output().unwrap();
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            }
            None => {
                for part in gone.chunks(AT_ONCE) {
                    self.delete_records(part.iter().map(|workload| workload.endpoint.key()).collect()).await;
                }
            }
        }
        self.die(&gone);
    }

    /// Says that these are dead.
    pub fn die(&mut self, gone: &[Workload]) {
        for workload in gone {
            assert!(self.living.remove(&workload.addr), "{workload:?} lived");
            self.dead.insert(workload.addr);
        }
    }

    async fn delete_records(&self, keys: Vec<Key>) {
        let set = keys.iter().cloned().fold(ReadSet::new(), ReadSet::key);
        let view = self.town.store.read(&set, WITHIN).await.unwrap();
        let mut batch = Batch::new();
        for key in keys {
            let revision = view.get(&key).unwrap().revision().unwrap().clone();
            batch.delete(key, Expect::Revision(revision));
        }
        assert!(self.town.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }

    /// Deletes nodes. What ran there is deleted by the real controllers, or by ours.
    pub async fn delete_nodes(&self, numbers: impl Iterator<Item = u32>) {
        let names: Vec<String> = numbers.map(node_name).collect();
        if self.town.server.is_some() {
            let names: Vec<&str> = ["node"].into_iter().chain(names.iter().map(String::as_str)).collect();
            return self.town.kubectl_delete(&names);
        }
        let keys = names.iter().map(|name| Key::global(Kind::Node, name));
        self.delete_records(keys.collect()).await;
    }

    /// Makes a workload that was deleted anew under its name, on its node, with another address.
    pub async fn make_anew(&mut self, old: &Workload) {
        let (pod, node) = (old.text("pod"), old.text("node"));
        let handle = format!("net.anew-{pod}");
        let addr = if self.town.server.is_some() {
            self.town.run_pod(pod, node, &handle).await
        } else {
            let owner = [("namespace", "default"), ("pod", pod)];
            let addr = self.town.assign(&handle, node, &owner).await;
            let mut spec = old.endpoint.body()["spec"].clone();
            spec["ipNetworks"] = json!([format!("{addr}/32")]);
            self.town.put(Kind::WorkloadEndpoint, Some("default"), old.endpoint.name(), spec).await;
            addr
        };
        self.dead.remove(&addr);
        assert!(self.living.insert(addr), "{addr} is another's");
    }

    /// The addresses that are assigned.
    pub async fn assigned(&self) -> BTreeSet<IpAddr> {
        let scope = Scope::Blocks { family: None };
        let set = ReadSet::new().scope(scope.clone(), Depth::Full);
        let view = self.town.store.read(&set, WITHIN).await.unwrap();
        let blocks = view.slots(&scope).filter_map(|(_, slot)| slot.record()?.block());
        blocks.flat_map(|block| allocations(block).map(|(_, addr, _)| addr).collect::<Vec<_>>()).collect()
    }

    /// Waits until every dead address is free, and looks all the while that no living one is. `not_before` is
    /// when the first may be free. Gives the moment at which all were.
    pub async fn freed(&mut self, not_before: Instant, within: Duration, replicas: &[Process]) -> Instant {
        let by = Instant::now() + within;
        let tell = || replicas.iter().map(Process::log).collect::<Vec<_>>().join("\n---\n");
        loop {
            let assigned = self.assigned().await;
            let now = Instant::now();
            let lost: Vec<_> = self.living.difference(&assigned).collect();
            assert!(lost.is_empty(), "{lost:?} live and are free:\n{}", tell());
            let left: HashSet<_> = self.dead.intersection(&assigned).collect();
            assert!(
                now >= not_before || left.len() == self.dead.len(),
                "freed before its grace:\n{}",
                tell()
            );
            if left.is_empty() {
                self.dead.clear();
                return now;
            }
            assert!(now < by, "{} dead addresses stay: {left:?}\n{}", left.len(), tell());
            tokio::time::sleep(
                Duration::from_millis(200) + Duration::from_micros(200) * assigned.len() as u32,
            )
            .await;
        }
    }

    /// Nothing is wrong with the data, as `calicoctl` says. Gives what it said.
    pub fn check(&self) -> (bool, String) {
        let mut command =
            Command::new(program_beside(Path::new(env!("CARGO_BIN_EXE_rackpoold")), "calicoctl"));
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (*name, value)));
        if let Some(server) = &self.town.server {
            command.env("KUBECONFIG", server.kubeconfig());
        }
        let out = command.args(["ipam", "check", "--exit-code"]).output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// How many requests of each kind etcd has answered.
    pub fn handled(&self) -> Option<BTreeMap<String, u64>> {
        self.etcd.as_ref().map(EtcdServer::handled)
    }
}
