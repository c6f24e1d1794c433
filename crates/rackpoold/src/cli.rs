//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use routes::Aggregation;

use crate::log::Format;

const ENVIRONMENT: &str = "\
Which store, which node and which addresses, the environment says, with Calico's names:
  DATASTORE_TYPE, RACKPOOL_DB, ETCD_ENDPOINTS, KUBECONFIG ...   the store, as for calicoctl
  NODENAME, CALICO_NODENAME_FILE                                the node's name
  IP, IP6                                                       an address, autodetect or none
  IP_AUTODETECTION_METHOD, IP6_AUTODETECTION_METHOD             how an address is found
With --install-from, they say what is installed:
  SKIP_CNI_BINARIES                                             programs to leave out, with commas between
  UPDATE_CNI_BINARIES                                           false: keep programs that are there
  CNI_CONF_NAME, CNI_NET_DIR                                    the file of the network's configuration
  CNI_OLD_CONF_NAME                                             the file that it replaces, which is removed
  CNI_NETWORK_CONFIG, CNI_NETWORK_CONFIG_FILE                   a template of the configuration
  CALICO_CNI_SERVICE_ACCOUNT                                    the plugins' account; calico by default

rackpool does not enforce NetworkPolicy, and announces nothing by BGP yet. Where a cluster uses either, the
agent does not start unless --accept-loss says that this is known.";

/// rackpool's daemon.
#[derive(Debug, Parser)]
#[command(name = "rackpoold", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the daemon can be.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The agent of a node: it makes the node known, and makes pods reach each other and the outside.
    ///
    /// It works until it is told to end (SIGTERM), and leaves routes, tunnels and packet filter as they are:
    /// pods keep their network while it is replaced.
    #[command(after_help = ENVIRONMENT)]
    Node(Box<Node>),
    /// The controllers of a cluster: addresses, blocks and what else is left of pods and nodes that are gone
    /// come back by themselves.
    ///
    /// Start as many of them as you like: one works, and when it ends another takes its place within 15
    /// seconds. They take the place of Calico's kube-controllers, and do not start beside them.
    #[command(after_help = SETTINGS)]
    Controllers(Box<Controllers>),
}

const SETTINGS: &str = "\
Which store it is, the environment says, with Calico's names (DATASTORE_TYPE, RACKPOOL_DB, ETCD_ENDPOINTS,
KUBECONFIG ...), as for calicoctl. Inside a pod it is the pod's own cluster.

What is done, the KubeControllersConfiguration `default` says; a change of it counts at once. The environment
goes before it:
  controllers.node.leakGracePeriod   how long an address of a living node must have had no owner until it comes
                                     back; 15m by default, 0 for never
  prometheusMetricsPort              where /metrics is; 9094 by default, 0 for nowhere
  healthChecks, HEALTH_ENABLED       whether /readiness and /liveness are answered
  logSeverityScreen, LOG_LEVEL       what the log tells
  ENABLED_CONTROLLERS                node gives addresses back; pools are looked after in any case

  calicoctl get kubecontrollersconfiguration default -o yaml    shows the settings, and in the status those in
                                                                force
  calicoctl ipam check                                          shows what should come back by itself";

/// The controllers of a cluster.
#[derive(Debug, Args)]
pub struct Controllers {
    /// The port at which /readiness and /liveness are answered; they are answered at the port of the figures,
    /// too
    #[arg(long, value_name = "PORT")]
    pub health_port: Option<u16>,
    /// The namespace of the Lease by which replicas know which of them works; by default the pod's own, and
    /// kube-system outside of pods
    #[arg(long, value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// How many figures that name a node are shown at most; where there would be more, all of them are left
    /// out, and those of pools and racks stay
    #[arg(long, value_name = "COUNT", default_value_t = controllers::figures::MOST_OF_NODES)]
    pub most_node_series: usize,
    /// Run beside Calico's kube-controllers, or without knowing whether they run
    #[arg(long)]
    pub force: bool,
    /// How the log is written
    #[arg(long, value_enum, default_value = "text")]
    pub log: Format,
    /// What the log tells: error, warn, info, debug, trace; goes before LOG_LEVEL and the configuration
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// The agent of a node.
#[derive(Debug, Args)]
pub struct Node {
    /// Something else than to be the agent.
    #[command(subcommand)]
    pub command: Option<NodeCommand>,
    /// What the cluster uses and this agent does not do, with commas between: policy, hostendpoint,
    /// wireguard, ebpf, bgp
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub accept_loss: Vec<String>,
    /// What the records do not say about racks and routers.
    #[command(flatten)]
    pub shape: Shape,
    /// Where files are.
    #[command(flatten)]
    pub files: Files,
    /// How the log is written
    #[arg(long, value_enum, default_value = "text")]
    pub log: Format,
    /// What the log tells: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// What the records do not say about racks and routers.
#[derive(Clone, Debug, Args)]
pub struct Shape {
    /// Who has the routes to a rack's blocks: its nodes (node), its router (tor), or every router (off)
    #[arg(long, value_enum, default_value = "node", global = true)]
    pub aggregation: Who,
    /// The router that leads to other racks, one address a family (A or A,B); by default the default route
    /// leads there
    #[arg(long, value_name = "IP", value_delimiter = ',', global = true)]
    pub via: Vec<IpAddr>,
    /// The label that names a node's rack; by default the one that most pools select by
    #[arg(long, value_name = "LABEL", global = true)]
    pub rack_label: Option<String>,
}

impl Shape {
    /// The same, for the plan.
    pub fn plan(&self) -> crate::node::Shape {
        crate::node::Shape {
            aggregation: self.aggregation.into(),
            via: self.via.clone(),
            rack_label: self.rack_label.clone(),
        }
    }
}

/// Where files are.
#[derive(Clone, Debug, Args)]
pub struct Files {
    /// Where the plugin reads how large a pod's packets may be
    #[arg(long, value_name = "FILE", global = true)]
    pub mtu_file: Option<PathBuf>,
    /// The file that tells that the agent has worked since the host was started; below /run
    #[arg(long, value_name = "FILE", global = true)]
    pub synced_mark: Option<PathBuf>,
    /// Where the agent notes which files it has written
    #[arg(long, value_name = "FILE", global = true)]
    pub notes_file: Option<PathBuf>,
    /// Install the programs `calico` and `calico-ipam` from this folder, and the network's configuration
    #[arg(long, value_name = "FOLDER", global = true)]
    pub install_from: Option<PathBuf>,
}

/// Who has the routes to a rack's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Who {
    /// The rack's nodes.
    Node,
    /// The rack's router.
    Tor,
    /// Every router.
    Off,
}

impl From<Who> for Aggregation {
    fn from(who: Who) -> Aggregation {
        match who {
            Who::Node => Aggregation::Node,
            Who::Tor => Aggregation::Tor,
            Who::Off => Aggregation::Off,
        }
    }
}

/// Something else than to be the agent.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// What is wanted on this host, what is there, and what differs. Changes nothing; exit code 1 if anything
    /// differs
    Status {
        /// Write json
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json"])]
        output: Option<String>,
    },
    /// Whether the agent that runs here has done everything once: exit code 0 if so, else 1. For a readiness
    /// probe
    Ready,
    /// Set what routing needs of the kernel's settings, and end. Needs a /proc/sys that can be written
    Sysctl,
    /// Put the agent's packet filter in the place of what a stopped Felix has left, in one step
    TakeOver,
    /// Take back everything that the agent has put on this host: routes, tunnels, packet filter and files
    Uninstall,
}
