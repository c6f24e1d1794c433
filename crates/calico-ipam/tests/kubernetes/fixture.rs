//! One API server for all tests, which use it one at a time; and a host that calls the program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value as Json, json};
use servers::kube_server::{self, KubeServer, KubeServerOptions, Request};
use tempfile::TempDir;

use crate::harness::{Answer, BINARY, finish, spawn};

/// The user to whom `deploy/rbac/calico-ipam.yaml` gives rights.
pub const PLUGIN: &str = "system:serviceaccount:kube-system:calico-ipam";
/// A user without any rights.
pub const STRANGER: &str = "stranger";
/// A user whose rights each test chooses.
pub const TRAINEE: &str = "trainee";
pub const GROUP: &str = "crd.projectcalico.org";

const PLURALS: [&str; 6] =
    ["ippools", "ipreservations", "ipamconfigs", "ipamblocks", "blockaffinities", "ipamhandles"];

static SERVER: OnceLock<KubeServer> = OnceLock::new();
static ALONE: Mutex<()> = Mutex::new(());

/// The server, for one test at a time. Each test finds it without the objects of earlier tests.
pub struct Cluster {
    pub server: &'static KubeServer,
    _alone: MutexGuard<'static, ()>,
}

/// The server; `None` where tests with Kubernetes are left out.
pub fn cluster() -> Option<Cluster> {
    if kube_server::is_left_out() {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SERVER.get_or_init(|| {
        let users = KubeServerOptions::new().user(PLUGIN, &[]).user(STRANGER, &[]).user(TRAINEE, &[]);
        let server = KubeServer::start(users);
        server.apply(&[&deploy("crds/v1"), &deploy("rbac")]);
        server
    });
    let cluster = Cluster { server, _alone: alone };
    for path in PLURALS.iter().map(|plural| format!("/apis/{GROUP}/v1/{plural}")) {
        cluster.kubectl(&["delete", "--raw", &path]);
    }
    cluster.kubectl(&["delete", "--raw", "/api/v1/nodes"]);
    Some(cluster)
}

/// Stores resources in the etcd of the API server, as a separate datastore.
#[cfg(feature = "etcd")]
pub fn fill_etcd(cluster: &Cluster, documents: &[Json]) {
    use store::Store as _;
    let mut batch = store::Batch::new();
    for document in documents {
        let kind = api::Kind::from_name(document["kind"].as_str().unwrap()).unwrap();
        let resource = api::Resource::from_json(kind, document.clone()).unwrap();
        batch.put(resource.key(), store::Expect::Absent, api::Value::Resource(resource));
    }
    let endpoints = vec![cluster.server.etcd().endpoint()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let options = store::etcd::EtcdOptions { endpoints, ..Default::default() };
        let store = store::etcd::EtcdStore::open(options).unwrap();
        store.commit(&batch, std::time::Duration::from_secs(10)).await.unwrap()
    });
    assert!(report.is_applied(), "{report:?}");
}

fn deploy(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name)
}

impl Cluster {
    /// Runs kubectl as the administrator. Gives its output.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "")
    }

    fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> String {
        let mut command = self.server.kubectl(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates objects, or changes those that exist.
    pub fn apply(&self, objects: &[Json]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl_with(&["apply", "-f", "-"], &list.to_string());
    }

    /// Creates objects that do not exist yet. For many objects this is faster than [`Cluster::apply`].
    pub fn create(&self, objects: &[Json]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl_with(&["create", "-f", "-"], &list.to_string());
    }

    /// Replaces an object by another one of the same name.
    pub fn replace(&self, object: &Json) {
        self.kubectl_with(&["replace", "-f", "-"], &object.to_string());
    }

    /// Gives the trainee the plugin's rights, but for one resource only these verbs.
    pub fn give_trainee(&self, resource: &str, verbs: &[&str]) {
        let text = self.kubectl(&["get", "clusterrole", "calico-ipam", "-o", "json"]);
        let mut role: Json = serde_json::from_str(&text).unwrap();
        role["metadata"] = json!({"name": "trainee"});
        // A rule for several resources is split, so that the other resources keep their rights.
        let rules = role["rules"].as_array().unwrap().iter().flat_map(|rule| {
            let resources = rule["resources"].as_array().unwrap().clone();
            let alone = |resource| json!({"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": rule["verbs"]});
            resources.into_iter().map(alone).collect::<Vec<_>>()
        });
        let mut rules: Vec<Json> = rules.collect();
        let rule = rules.iter_mut().find(|rule| rule["resources"][0] == resource).unwrap();
        rule["verbs"] = json!(verbs);
        role["rules"] = rules.into();
        let api_group = "rbac.authorization.k8s.io";
        let binding = json!({"apiVersion": format!("{api_group}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": "trainee"}, "subjects": [{"apiGroup": api_group, "kind": "User", "name": TRAINEE}],
            "roleRef": {"apiGroup": api_group, "kind": "ClusterRole", "name": "trainee"}});
        self.apply(&[role, binding]);
    }

    /// All objects of a kind.
    pub fn objects(&self, plural: &str) -> Vec<Json> {
        let text = self.kubectl(&["get", "--raw", &format!("/apis/{GROUP}/v1/{plural}")]);
        serde_json::from_str::<Json>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// How many addresses are in use in all blocks.
    pub fn taken(&self) -> usize {
        let blocks = self.objects("ipamblocks");
        let allocations = blocks.iter().flat_map(|block| block["spec"]["allocations"].as_array().unwrap());
        allocations.filter(|index| !index.is_null()).count()
    }

    /// Calls `act`. Gives its result, and the requests that the plugin's user sent meanwhile.
    pub fn counted<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<Request>) {
        let before = self.server.requests_of(PLUGIN).len();
        let answer = act();
        (answer, self.server.requests_of(PLUGIN).split_off(before))
    }
}

/// The requests that change something.
pub fn writes(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|request| !["get", "list"].contains(&request.verb.as_str())).collect()
}

/// A host that calls the program.
pub struct Host {
    pub dir: TempDir,
    conf: Json,
}

impl Host {
    /// A host of that name, whose plugin uses the server as `user`.
    pub fn new(cluster: &Cluster, name: &str, user: &str) -> Host {
        Host::with_kubeconfig(name, &cluster.server.kubeconfig_of(user))
    }

    pub fn with_kubeconfig(name: &str, kubeconfig: &Path) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": name,
            "datastore_type": "kubernetes", "calico_api_group": format!("{GROUP}/v1"),
            "kubernetes": {"kubeconfig": kubeconfig}, "policy": {"type": "k8s"},
            "ipam_lock_file": dir.path().join("run/ipam.lock"), "ipam": {"type": "calico-ipam"}
        });
        Host { dir, conf }
    }

    /// A host that reaches the server at another address, with a token of the plugin's user.
    pub fn at(cluster: &Cluster, name: &str, endpoint: &str) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let text = std::fs::read_to_string(cluster.server.kubeconfig_of(PLUGIN)).unwrap();
        std::fs::write(&path, text.replace(cluster.server.endpoint(), endpoint)).unwrap();
        Host { dir, ..Host::with_kubeconfig(name, &path) }
    }

    /// The host with one more field in its configuration.
    pub fn with(mut self, field: &str, value: Json) -> Host {
        self.conf[field] = value;
        self
    }

    /// Calls the program for a container that is no pod, with these `CNI_ARGS`.
    pub fn run_with(&self, command: &str, container: &str, args: &str) -> Answer {
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", "/var/run/netns/x"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", args),
        ];
        finish(spawn(Command::new(BINARY).env_clear().envs(env), &self.conf.to_string()))
    }

    /// As [`Host::run_with`], without arguments.
    pub fn run(&self, command: &str, container: &str) -> Answer {
        self.run_with(command, container, "")
    }
}

/// The `CNI_ARGS` for a pod.
pub fn pod(namespace: &str, name: &str) -> String {
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}")
}

impl Answer {
    /// The message of an error with the code for the plugin's own errors. It must contain all of these texts.
    pub fn says(&self, words: &[&str]) -> String {
        let (code, message) = self.error();
        assert_eq!(code, 999, "{self:?}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        message
    }
}

pub fn node(name: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
}

pub fn namespace(name: &str, labels: Json) -> Json {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

pub fn pool(name: &str, cidr: &str, spec: Json) -> Json {
    let mut pool = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "IPPool", "metadata": {"name": name},
        "spec": {"cidr": cidr, "blockSize": 28, "nodeSelector": "all()"}});
    if cidr.contains(':') {
        pool["spec"]["blockSize"] = 124.into();
    }
    for (field, value) in spec.as_object().unwrap() {
        pool["spec"][field] = value.clone();
    }
    pool
}
