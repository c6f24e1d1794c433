//! Racks of nodes, a router beside them, and a host outside.
//!
//! ```text
//!  outside                    router                              node of rack R        its pods
//!  eth0 10.79.0.9 ------ out0 10.79.0.1
//!                             rackR 10.70.R.1 (a bridge) -------- eth0 10.70.R.10 ...   cali... ------ eth0
//! ```
//! The IPv6 addresses are alike: 2001:db8:79::9, 2001:db8:70:R::10. Each rack has a pool of its own in each
//! family. All nodes share one store, a file; each runs the real agent, and its pods are attached by the real
//! plugins.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value as Json, json};
use setup::{Clock, Environment};
use store::testing::program_beside;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::namespace::Namespace;
use crate::pod::Pod;

/// How long something is waited for that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The host outside, in both families.
pub const OUTSIDE: [&str; 2] = ["10.79.0.9", "2001:db8:79::9"];

/// Which families pods and nodes have addresses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    V4,
    V6,
    Both,
}

impl Families {
    pub fn has_v4(self) -> bool {
        self != Families::V6
    }

    pub fn has_v6(self) -> bool {
        self != Families::V4
    }
}

/// What a world is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// How many nodes each rack has.
    pub racks: &'a [usize],
    pub families: Families,
    /// The pools' `vxlanMode`.
    pub vxlan: &'a str,
    /// The pools' `natOutgoing`.
    pub is_translated: bool,
    /// Whether nodes never borrow addresses: then the agents follow affinities in place of blocks.
    pub is_strict: bool,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        let (racks, families) = (&[2, 2], Families::Both);
        Shape { racks, families, vxlan: "Always", is_translated: true, is_strict: false }
    }
}

pub struct World {
    pub router: Namespace,
    pub outside: Namespace,
    pub nodes: Vec<Node>,
    pub families: Families,
    pub folder: TempDir,
    racks: usize,
    /// With which options the agents run: what a node must be depends on them.
    options: Vec<String>,
    /// One world at a time: two would only wait for each other's processors.
    _turn: MutexGuard<'static, ()>,
}

/// A node: its host and its agent, if that runs.
pub struct Node {
    pub name: String,
    pub rack: usize,
    /// Which node of its rack it is.
    number: usize,
    pub host: Namespace,
    pub v4: String,
    pub v6: String,
    pub agent: Option<Agent>,
}

static TURN: Mutex<()> = Mutex::new(());

impl World {
    /// Makes a world whose nodes have no agents yet. `None` where the machine does not let it.
    pub fn new(shape: Shape<'_>) -> Option<World> {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (router, outside) = (Namespace::new()?, Namespace::new()?);
        router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        router.cable("out0", &outside, "eth0");
        router.sh("ip addr add 10.79.0.1/24 dev out0; ip addr add 2001:db8:79::1/64 dev out0");
        outside.sh("ip addr add 10.79.0.9/24 dev eth0; ip addr add 2001:db8:79::9/64 dev eth0
             ip route add default via 10.79.0.1; ip -6 route add default via 2001:db8:79::1");
        let mut world = World {
            router,
            outside,
            nodes: Vec::new(),
            families: shape.families,
            folder: tempfile::tempdir().unwrap(),
            racks: shape.racks.len(),
            options: Vec::new(),
            _turn: turn,
        };
        world.calicoctl(&["datastore", "init", "--ipv4-cidr", "none"], None);
        let strict = format!("--strictaffinity={}", shape.is_strict);
        world.calicoctl(&["ipam", "configure", &strict], None);
        for (rack, count) in shape.racks.iter().enumerate() {
            world.router.sh(&format!(
                "ip link add rack{rack} type bridge; ip link set rack{rack} up
                 ip addr add 10.70.{rack}.1/24 dev rack{rack}; ip addr add 2001:db8:70:{rack}::1/64 dev rack{rack}"
            ));
            for number in 0..*count {
                let node = world.node(rack, number);
                world.nodes.push(node);
            }
            for pool in world.pools_of(rack, shape.vxlan, shape.is_translated) {
                world.create(&pool);
            }
        }
        Some(world)
    }

    /// A world with agents that have done their first work, and one pod on each node.
    pub fn with_agents(shape: Shape<'_>, arguments: &[&str]) -> Option<(World, Vec<Pod>)> {
        let mut world = World::new(shape)?;
        world.start_agents(arguments);
        let pods = (0..world.nodes.len()).map(|node| world.pod(node, "a")).collect();
        // Until a gateway knows a new block it says that nobody has it, and a ping ends at such a word.
        world.wait_until_settled();
        Some((world, pods))
    }

    fn node(&self, rack: usize, number: usize) -> Node {
        let name = format!("node-{rack}-{number}");
        self.create(&json!({
            "apiVersion": "projectcalico.org/v3", "kind": "Node",
            "metadata": {"name": name, "labels": {"rack": rack.to_string()}}, "spec": {}
        }));
        let v6: Ipv6Addr = format!("2001:db8:70:{rack}::1{number}").parse().unwrap();
        let (v4, v6) = (format!("10.70.{rack}.1{number}"), v6.to_string());
        let host = self.host(rack, number, &v4, &v6);
        Node { name, rack, number, host, v4, v6, agent: None }
    }

    fn host(&self, rack: usize, number: usize, v4: &str, v6: &str) -> Namespace {
        let host = Namespace::new().unwrap();
        self.router.cable(&format!("to-{rack}-{number}"), &host, "eth0");
        self.router.sh(&format!("ip link set to-{rack}-{number} master rack{rack}"));
        if self.families.has_v4() {
            host.sh(&format!("ip addr add {v4}/24 dev eth0; ip route add default via 10.70.{rack}.1"));
        }
        if self.families.has_v6() {
            host.sh(&format!(
                "ip addr add {v6}/64 dev eth0; ip -6 route add default via 2001:db8:70:{rack}::1"
            ));
        }
        host
    }

    /// Gives a node a new network, as after a start of the machine. Its disk stays.
    pub fn reboot(&mut self, number: usize) {
        let Node { rack, number: in_rack, v4, v6, .. } = &self.nodes[number];
        self.router.sh(&format!("ip link del to-{rack}-{in_rack}"));
        self.nodes[number].host = self.host(*rack, *in_rack, v4, v6);
    }

    /// Whether a node is what it must be, as its own program says.
    pub fn is_settled(&self, node: &Node) -> bool {
        let options = self.options.iter().map(String::as_str);
        self.rackpoold(node, &options.chain(["status"]).collect::<Vec<_>>()).status.success()
    }

    /// Waits until every node is what it must be.
    pub fn wait_until_settled(&self) {
        for node in &self.nodes {
            eventually(&format!("{} is what it must be", node.name), || self.is_settled(node));
        }
    }

    fn pools_of(&self, rack: usize, vxlan: &str, is_translated: bool) -> Vec<Json> {
        let wanted = [
            (self.families.has_v4(), "v4", format!("192.168.{}.0/18", rack * 64)),
            (self.families.has_v6(), "v6", format!("2001:db8:80:{rack}::/64").replace(":0::", "::")),
        ];
        let pool = |name: &str, cidr: &str| {
            json!({
                "apiVersion": "projectcalico.org/v3", "kind": "IPPool",
                "metadata": {"name": format!("rack-{rack}-{name}")},
                "spec": {"cidr": cidr, "nodeSelector": format!("rack == \"{rack}\""), "vxlanMode": vxlan,
                         "natOutgoing": is_translated}
            })
        };
        wanted.iter().filter(|(has, ..)| *has).map(|(_, name, cidr)| pool(name, cidr)).collect()
    }

    /// The names of all pools.
    pub fn pools(&self) -> Vec<String> {
        let of = |rack| self.pools_of(rack, "Never", false);
        let name = |pool: Json| pool["metadata"]["name"].as_str().unwrap().to_string();
        (0..self.racks).flat_map(of).map(name).collect()
    }

    /// Changes something in the specification of all pools.
    pub fn patch_pools(&self, spec: &Json) {
        let patch = json!({"spec": spec}).to_string();
        for pool in self.pools() {
            self.calicoctl(&["patch", "ippool", &pool, "-p", &patch], None);
        }
    }

    pub fn create(&self, document: &Json) {
        self.calicoctl(&["create", "-f", "-"], Some(&document.to_string()));
    }

    pub fn start_agents(&mut self, arguments: &[&str]) {
        self.options = arguments.iter().map(ToString::to_string).collect();
        let agents: Vec<Agent> =
            (0..self.nodes.len()).map(|node| Agent::start(self, node, arguments)).collect();
        for (node, mut agent) in self.nodes.iter_mut().zip(agents) {
            agent.wait_for_mark();
            node.agent = Some(agent);
        }
    }

    /// Attaches a pod to a node.
    pub fn pod(&self, node: usize, name: &str) -> Pod {
        Pod::attach(self, node, &format!("{name}-{}", self.nodes[node].name))
    }

    /// The environment that tells a program where the store is.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATASTORE_TYPE", "embedded".to_string()),
            ("RACKPOOL_DB", self.store_file().display().to_string()),
            ("PATH", path()),
        ]
    }

    pub fn store_file(&self) -> PathBuf {
        self.folder.path().join("rackpool.db")
    }

    /// Runs `calicoctl`, and gives its output. It must succeed.
    pub fn calicoctl(&self, arguments: &[&str], input: Option<&str>) -> String {
        use std::io::Write;
        let mut command = Command::new(program("calicoctl"));
        command.env_clear().envs(self.environment()).args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let (said, errors) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "calicoctl {arguments:?} < {input:?}: {said}{errors}");
        said
    }

    /// Puts into the router what `calicoctl routes tor` says, in the place of what it said before. Gives the
    /// routes.
    pub fn configure_router(&self) -> Vec<String> {
        self.configure_router_by("node")
    }

    /// The same, where these have the routes to a rack's blocks (`--aggregation`).
    pub fn configure_router_by(&self, aggregation: &str) -> Vec<String> {
        let commands = self.calicoctl(&["routes", "tor", "all", "--aggregation", aggregation], None);
        self.router.sh(&format!("ip route flush proto static; ip -6 route flush proto static\n{commands}"));
        commands.lines().filter(|line| !line.starts_with('#')).map(str::to_string).collect()
    }

    /// What the agents have said, for the message of a test that fails.
    pub fn logs(&self) -> String {
        let agents = self.nodes.iter().filter_map(|node| Some((node, node.agent.as_ref()?)));
        agents.map(|(node, agent)| format!("--- {}\n{}", node.name, agent.log())).collect()
    }
}

/// A program of this workspace.
pub fn program(name: &str) -> PathBuf {
    program_beside(env!("CARGO_BIN_EXE_rackpoold").as_ref(), name)
}

/// Where this process finds programs.
pub fn path() -> String {
    Environment::from_process().get("PATH").unwrap().to_string()
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.elapsed() < PATIENCE, "this has not come about: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
