//! One API server for all tests, in a network namespace that stands for a host. The tests run one at a time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value as Json, json};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use tempfile::TempDir;

use crate::harness::{Answer, Container, NODE, Namespace, programs, run};

/// The user to whom `deploy/rbac/calico.yaml` gives rights.
const PLUGIN: &str = "system:serviceaccount:kube-system:calico";
const GROUP: &str = "crd.projectcalico.org";
const EMPTIED: [&str; 6] =
    ["ippools", "ipamblocks", "blockaffinities", "ipamhandles", "clusterinformations", "ipamconfigs"];

struct Shared {
    host: Namespace,
    server: KubeServer,
    /// A socket at which the API is served without TLS, with an administrator's rights.
    socket: PathBuf,
}

static SHARED: OnceLock<Shared> = OnceLock::new();
static ALONE: Mutex<()> = Mutex::new(());

/// The server and the host, for one test at a time. Each test finds them without the objects of earlier
/// tests.
pub struct Cluster {
    shared: &'static Shared,
    bin: PathBuf,
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Runs a test on the host; does nothing where tests with Kubernetes are left out.
pub fn on_host(test: impl FnOnce(&Cluster) + Send) {
    if kube_server::is_left_out() {
        return;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if SHARED.get().is_none() {
        let Some(host) = Namespace::of_host() else { return };
        let (server, socket) = host.run(|| {
            let mut server = KubeServer::start(KubeServerOptions::new().user(PLUGIN, &[]));
            server.apply(&[&deploy("crds/v1"), &deploy("rbac")]);
            let socket = server.serve_on_socket();
            (server, socket)
        });
        assert!(SHARED.set(Shared { host, server, socket }).is_ok(), "one test at a time");
    }
    let shared = SHARED.get().unwrap();
    let cluster = Cluster { shared, bin: programs(), dir: tempfile::tempdir().unwrap(), _alone: alone };
    shared.host.run(|| {
        cluster.prepare();
        test(&cluster);
    });
}

fn deploy(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name)
}

impl Cluster {
    fn prepare(&self) {
        for plural in EMPTIED {
            self.kubectl(&["delete", "--raw", &format!("/apis/{GROUP}/v1/{plural}")], "");
        }
        self.kubectl(&["delete", "nodes,pods", "--all", "--force", "--grace-period=0"], "");
        self.kubectl(&["annotate", "namespace", "default", "cni.projectcalico.org/ipv4pools-"], "");
        let custom = |kind: &str, name: &str, spec: Json| json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec});
        self.create(&[
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}),
            custom("ClusterInformation", "default", json!({"datastoreReady": true})),
            custom("IPPool", "p", json!({"cidr": "10.5.0.0/24", "nodeSelector": "all()"})),
            custom("IPPool", "other", json!({"cidr": "10.6.0.0/24", "nodeSelector": "!all()"})),
            custom("IPPool", "v6", json!({"cidr": "fd00:5::/112", "nodeSelector": "all()"})),
        ]);
    }

    pub fn host(&self) -> &Namespace {
        &self.shared.host
    }

    pub fn socket(&self) -> &Path {
        &self.shared.socket
    }

    /// Runs kubectl as the administrator. Gives its output.
    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> String {
        let mut command = self.shared.server.kubectl(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The plugins' settings for reaching Kubernetes.
    pub fn kubeconfig(&self) -> Json {
        json!({"kubeconfig": self.shared.server.kubeconfig_of(PLUGIN)})
    }

    pub fn create(&self, objects: &[Json]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl(&["create", "-f", "-"], &list.to_string());
    }

    /// Creates a pod on the host, with these annotations of Calico's.
    pub fn pod(&self, name: &str, annotations: &[(&str, &str)]) {
        let annotations: serde_json::Map<_, _> = annotations
            .iter()
            .map(|(name, value)| (format!("cni.projectcalico.org/{name}"), (*value).into()))
            .collect();
        self.create(&[json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "pause"}]}})]);
    }

    /// The value of one of Calico's annotations on a pod; empty if it is missing.
    pub fn annotation(&self, pod: &str, name: &str) -> String {
        let text = self.kubectl(&["get", "pod", pod, "-o", "json"], "");
        let pod: Json = serde_json::from_str(&text).unwrap();
        let value = &pod["metadata"]["annotations"][format!("cni.projectcalico.org/{name}")];
        value.as_str().unwrap_or_default().to_string()
    }

    /// How many addresses are in use in all blocks.
    pub fn taken(&self) -> usize {
        let text = self.kubectl(&["get", "--raw", &format!("/apis/{GROUP}/v1/ipamblocks")], "");
        let blocks: Json = serde_json::from_str(&text).unwrap();
        let blocks = blocks["items"].as_array().unwrap().iter();
        let allocations = blocks.flat_map(|block| block["spec"]["allocations"].as_array().unwrap());
        allocations.filter(|index| !index.is_null()).count()
    }

    /// How many requests of that verb the plugins have made so far.
    pub fn requests(&self, verb: &str) -> usize {
        self.shared.server.requests_of(PLUGIN).iter().filter(|request| request.verb == verb).count()
    }

    /// Calls the plugin, with the fields in `more` added to the configuration.
    pub fn call(&self, command: &str, container: &Container, more: Json) -> Answer {
        self.call_at(command, container, &container.netns.path(), more)
    }

    /// As [`Cluster::call`], with another path for the container's namespace, or an empty one.
    pub fn call_at(&self, command: &str, container: &Container, netns: &str, more: Json) -> Answer {
        let mut configuration = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": NODE, "nodename_file_optional": true,
            "datastore_type": "kubernetes", "calico_api_group": format!("{GROUP}/v1"), "mtu": 1440, "log_level": "info",
            "kubernetes": {"kubeconfig": self.shared.server.kubeconfig_of(PLUGIN)}, "policy": {"type": "k8s"},
            "ipam_lock_file": self.dir.path().join("ipam.lock"), "ipam": {"type": "calico-ipam"}
        });
        for (field, value) in more.as_object().unwrap() {
            configuration[field] = value.clone();
        }
        run(&[], container.environment(command, &self.bin).with("CNI_NETNS", netns), &configuration)
    }

    pub fn add(&self, container: &Container) -> Answer {
        self.call("ADD", container, json!({}))
    }

    pub fn del(&self, container: &Container) -> Answer {
        self.call("DEL", container, json!({}))
    }
}
