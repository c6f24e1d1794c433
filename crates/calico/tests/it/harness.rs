//! A node for a test: a directory with a store, and a network namespace that stands for the host's.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use api::capability::Backend;
use api::{Kind, Resource};
use cni::log::{Kept, Sink};
use resources::{Client, Identifier};
use serde_json::{Value as Json, json};
use setup::{Clock, ConnectOptions, Datastore, Environment, Missing, Settings};
use store::AnyStore;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(20);
pub const NODE: &str = "n1";

/// A network namespace. It exists until this value is dropped.
pub struct Namespace(namespaces::Namespace);

impl Deref for Namespace {
    type Target = namespaces::Namespace;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Namespace {
    /// Makes a namespace. Where this process has no right to do so, prints that and gives `None`.
    pub fn new() -> Option<Namespace> {
        namespaces::Namespace::new().map(Namespace)
    }

    /// Makes a namespace for a host.
    pub fn of_host() -> Option<Namespace> {
        let host = Namespace::new()?;
        // A host needs a default route: without one it does not answer for the address to which containers
        // send.
        for line in [
            "link set lo up",
            "link add up0 type veth peer name up1",
            "link set up1 up",
            "link set up0 up",
            "addr add 172.16.0.1/24 dev up0",
            "route add default via 172.16.0.2",
        ] {
            let done = host.run(|| Command::new("ip").args(line.split(' ')).status().unwrap());
            assert!(done.success(), "ip {line}");
        }
        host.run(|| fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap());
        Some(host)
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, arguments: &[&str]) -> String {
        let output = self.run(|| Command::new("ip").args(arguments).output().unwrap());
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names of the interfaces in the namespace, except for those that every namespace has.
    pub fn interfaces(&self) -> Vec<String> {
        let table = self.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let mut names: Vec<_> = table
            .lines()
            .skip(2)
            .filter_map(|line| Some(line.split_once(':')?.0.trim().to_string()))
            .collect();
        names.retain(|name| !["lo", "up0", "up1"].contains(&name.as_str()));
        names.sort();
        names
    }

    /// Whether a process in this namespace gets an answer from an address of `other`.
    pub fn reaches(&self, other: &Namespace, addr: IpAddr) -> bool {
        let listener = other.run(|| TcpListener::bind(SocketAddr::new(addr, 0)).unwrap());
        let to = listener.local_addr().unwrap();
        let answers = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"pong").unwrap();
        });
        let heard = self.run(|| {
            let mut text = String::new();
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()?;
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        });
        if heard.is_none() {
            return false;
        }
        answers.join().unwrap();
        heard.as_deref() == Some("pong")
    }
}

impl Container {
    /// The environment with which a runtime calls the plugin.
    pub fn environment(&self, command: &str, bin: &Path) -> Environment {
        let pod = match self.pod.as_str() {
            "" => String::new(),
            pod => format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"),
        };
        let args = [pod, self.args.clone()];
        let args = args.into_iter().filter(|args| !args.is_empty()).collect::<Vec<_>>().join(";");
        let variables = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", &self.id),
            ("CNI_NETNS", &self.netns.path()),
            ("CNI_IFNAME", self.interface),
            ("CNI_PATH", bin.to_str().unwrap()),
            ("CNI_ARGS", &args),
            ("PATH", "/usr/bin:/bin"),
        ];
        variables.into_iter().collect()
    }
}

/// Runs the plugin's program.
pub fn run(args: &[&str], environment: Environment, configuration: &Json) -> Answer {
    let (mut stdout, stderr) = (Vec::new(), Kept::default());
    let code = calico::run(calico::Io {
        args: args.iter().map(|arg| arg.to_string()).collect(),
        environment,
        stdin: &mut configuration.to_string().as_bytes(),
        stdout: &mut stdout,
        stderr: Sink::new(stderr.clone()),
    });
    Answer { code, stdout: String::from_utf8(stdout).unwrap(), stderr: stderr.text() }
}

/// A node.
pub struct Node {
    pub dir: TempDir,
    pub host: Namespace,
    pub bin: PathBuf,
}

/// The outcome of a call of the plugin.
#[derive(Debug)]
pub struct Answer {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// The addresses of a result of version 1.0.0.
    pub fn addresses(&self) -> Vec<IpAddr> {
        assert_eq!(self.code, 0, "{self:?}");
        let json: Json = serde_json::from_str(&self.stdout).unwrap();
        let text = |ip: &Json| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
        json["ips"].as_array().unwrap().iter().map(text).collect()
    }

    /// The message of an error.
    pub fn error(&self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        let json: Json = serde_json::from_str(&self.stdout).unwrap();
        json["msg"].as_str().unwrap().to_string()
    }
}

/// A container on the node.
pub struct Container {
    pub id: String,
    /// The pod's name; empty for a container that is no pod.
    pub pod: String,
    pub interface: &'static str,
    /// Further arguments in `CNI_ARGS`.
    pub args: String,
    pub netns: Namespace,
}

impl Container {
    pub fn new(id: &str, pod: &str) -> Container {
        Container {
            id: id.to_string(),
            pod: pod.to_string(),
            interface: "eth0",
            args: String::new(),
            netns: Namespace::new().unwrap(),
        }
    }
}

impl Node {
    /// Makes a node. Its store holds two pools, the node's record, and what every datastore has.
    pub fn new() -> Option<Node> {
        let host = Namespace::of_host()?;
        let dir = tempfile::tempdir().unwrap();
        let node = Node { dir, host, bin: programs() };
        fs::write(node.path("nodename"), NODE).unwrap();
        let pool = |name: &str, cidr: &str| json!({"metadata": {"name": name}, "spec": {"cidr": cidr, "nodeSelector": "all()"}});
        let resources = [
            (Kind::Node, json!({"metadata": {"name": NODE}, "spec": {}})),
            (Kind::IPPool, pool("v4", "10.5.0.0/24")),
            (Kind::IPPool, pool("v6", "fd00:5::/112")),
        ];
        node.with_client(async |client| {
            client.ensure_initialised().await.unwrap();
            for (kind, json) in resources {
                client.create(&Resource::from_json(kind, json).unwrap()).await.unwrap();
            }
        });
        Some(node)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The network configuration, with the fields in `more` added.
    pub fn configuration(&self, more: Json) -> Json {
        let mut configuration = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename_file": self.path("nodename"),
            "datastore_type": "embedded", "rackpool_db": self.path("rackpool.db"),
            "ipam_lock_file": self.path("ipam.lock"),
            "ipam": {"type": "calico-ipam", "assign_ipv6": "true"}, "mtu": 1440, "log_level": "info"
        });
        for (field, value) in more.as_object().unwrap() {
            configuration[field] = value.clone();
        }
        configuration
    }

    /// Calls the plugin, as a runtime on the host does.
    pub fn call(&self, command: &str, container: &Container, more: Json) -> Answer {
        self.call_at(command, container, &container.netns.path(), more)
    }

    /// As [`Node::call`], with another path for the container's namespace, or an empty one.
    pub fn call_at(&self, command: &str, container: &Container, netns: &str, more: Json) -> Answer {
        let environment = container.environment(command, &self.bin).with("CNI_NETNS", netns);
        let environment = environment.with("TEST_DIR", self.dir.path().to_str().unwrap());
        self.host.run(|| run(&[], environment, &self.configuration(more)))
    }

    /// Makes a pool of one address. Gives the fields of a configuration that uses only this pool.
    pub fn pool_of_one(&self) -> Json {
        let pool = json!({"metadata": {"name": "one"}, "spec": {"cidr": "10.8.0.1/32", "blockSize": 32, "nodeSelector": "!all()"}});
        let pool = Resource::from_json(Kind::IPPool, pool).unwrap();
        self.with_client(async |client| client.create(&pool).await.map(|_| ()).unwrap());
        json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["one"]}})
    }

    /// Releases the addresses of a container, without the plugin.
    pub fn release(&self, container: &Container) {
        let mut ipam = Command::new(self.bin.join("calico-ipam"));
        let environment = container.environment("DEL", &self.bin);
        let args = format!("{};IgnoreUnknown=1", environment.get("CNI_ARGS").unwrap_or_default());
        let args = args.trim_start_matches(';');
        ipam.env_clear().envs(environment.variables()).env("CNI_ARGS", args).stdin(Stdio::piped());
        let mut child = ipam.spawn().unwrap();
        let conf = self.configuration(json!({})).to_string();
        child.stdin.take().unwrap().write_all(conf.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub fn add(&self, container: &Container) -> Answer {
        self.call("ADD", container, json!({}))
    }

    pub fn del(&self, container: &Container) -> Answer {
        self.call("DEL", container, json!({}))
    }

    pub fn check(&self, container: &Container) -> Answer {
        self.call("CHECK", container, json!({}))
    }

    /// The endpoints, by name.
    pub fn endpoints(&self) -> Vec<Resource> {
        self.with_client(async |client| client.list(Kind::WorkloadEndpoint, None).await.unwrap().items)
    }

    pub fn lock(&self, is_locked: bool) {
        self.with_client(async |client| client.set_ready(!is_locked).await.unwrap());
    }

    pub fn give_pod_cidrs(&self, cidrs: &[&str]) {
        let id = Identifier::new(Kind::Node, None, NODE);
        let patch = json!({"status": {"podCIDRs": cidrs}}).to_string();
        self.with_client(async |client| client.patch(&id, &patch).await.map(|_| ()).unwrap());
    }

    pub fn forget_profile(&self, name: &str) {
        let id = Identifier::new(Kind::Profile, None, name);
        self.with_client(async |client| client.delete(&id, None).await.map(|_| ()).unwrap());
    }

    /// The text that is stored under a key.
    pub fn stored(&self, key: &api::Key) -> Option<String> {
        let set = store::ReadSet::new().key(key.clone());
        self.with_store(async |store| {
            let view = store::Store::read(store, &set, WITHIN).await.unwrap();
            view.full(key).flatten().map(|record| record.value.to_stored_text())
        })
    }

    pub fn forget(&self, endpoint: &str) {
        let id = Identifier::new(Kind::WorkloadEndpoint, Some("default"), endpoint);
        self.with_client(async |client| client.delete(&id, None).await.map(|_| ()).unwrap());
    }

    /// How many addresses are in use.
    pub fn in_use(&self) -> usize {
        let scope = store::Scope::Blocks { family: None };
        let set = store::ReadSet::new().scope(scope.clone(), store::Depth::Full);
        self.with_store(async |store| {
            let view = store::Store::read(store, &set, WITHIN).await.unwrap();
            let keys: Vec<_> = view.slots(&scope).map(|(key, _)| key.clone()).collect();
            let blocks = keys.iter().filter_map(|key| match key {
                api::Key::Block(cidr) => view.block(*cidr).flatten().map(|(block, _)| block),
                _ => None,
            });
            blocks.map(|block| block.allocations.iter().flatten().count()).sum()
        })
    }

    fn with_client<T>(&self, act: impl AsyncFnOnce(&Client<'_, AnyStore, Clock>) -> T) -> T {
        let effects = Clock::start();
        self.with_store(async |store| act(&Client::new(store, &effects, Backend::Embedded, WITHIN)).await)
    }

    /// As `with_client`, on the store that the variables name.
    pub fn with_client_of<T>(
        &self,
        variables: &[(&str, &str)],
        act: impl AsyncFnOnce(&Client<'_, AnyStore, Clock>) -> T,
    ) -> T {
        let effects = Clock::start();
        let act = async |store: &AnyStore| act(&Client::new(store, &effects, Backend::Etcd, WITHIN)).await;
        Self::with_store_of(variables, act)
    }

    /// Opens the node's store.
    pub fn store(&self) -> AnyStore {
        let file = self.path("rackpool.db");
        let (_, store) =
            Self::open(&[("DATASTORE_TYPE", "embedded"), ("RACKPOOL_DB", file.to_str().unwrap())]);
        store
    }

    fn with_store<T>(&self, act: impl AsyncFnOnce(&AnyStore) -> T) -> T {
        let file = self.path("rackpool.db");
        Self::with_store_of(&[("DATASTORE_TYPE", "embedded"), ("RACKPOOL_DB", file.to_str().unwrap())], act)
    }

    fn with_store_of<T>(variables: &[(&str, &str)], act: impl AsyncFnOnce(&AnyStore) -> T) -> T {
        let (datastore, store) = Self::open(variables);
        setup::runtime(&datastore).unwrap().block_on(act(&store))
    }

    fn open(variables: &[(&str, &str)]) -> (Datastore, AnyStore) {
        let environment: Environment = variables.iter().copied().collect();
        let settings = Settings::from_environment(&environment).unwrap();
        let datastore = Datastore::choose(&settings, &environment).unwrap();
        let options = ConnectOptions { missing: Missing::Create, ..ConnectOptions::default() };
        let store = setup::connect(&datastore, options).unwrap();
        (datastore, store)
    }
}

/// The folder of the plugins that `calico` calls.
pub fn programs() -> PathBuf {
    let program = store::testing::program_beside(Path::new(env!("CARGO_BIN_EXE_calico")), "calico-ipam");
    program.parent().unwrap().to_path_buf()
}
