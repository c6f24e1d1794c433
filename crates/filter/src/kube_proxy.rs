//! kube-proxy, and what it takes for pods.
//!
//! kube-proxy translates the source of packets to a service that do not come from a pod, as far as it can
//! tell. Where it cannot tell that they come from one, the service sees the node in the place of the pod.

use std::path::Path;

use api::Cidr;
use routes::PoolNetwork;
use serde_json::Value as Json;

use crate::process::{Process, processes};

/// The most bytes of its configuration that are read.
const MOST: usize = 1 << 20;

/// By what kube-proxy knows packets of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalMode {
    /// Their source is in its cluster networks.
    #[default]
    ClusterCidr,
    /// Their source is in the network that Kubernetes gave the node.
    NodeCidr,
    /// They come from a bridge.
    BridgeInterface,
    /// They come from an interface whose name begins so.
    InterfaceNamePrefix,
}

/// What a kube-proxy was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeProxy {
    /// The process.
    pub pid: u32,
    /// By what it knows packets of pods.
    pub local_mode: LocalMode,
    /// Its cluster networks.
    pub cluster_cidrs: Vec<Cidr>,
    /// How the names of pods' interfaces begin.
    pub interface_prefix: String,
    /// Whether it translates the source of all packets to services.
    pub masquerades_all: bool,
    /// The file with its configuration, as it sees it.
    pub configuration: Option<String>,
    /// Why that file could not be read. Then it is not known what it says.
    pub unreadable: Option<String>,
}

/// A way in which kube-proxy does not fit the pools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Packets from a pool to services get the node's address.
    #[error(
        "kube-proxy (process {pid}) takes packets from the pool {pool} to services for packets of strangers, and \
         gives them the node's address, since {reason}: start it with \
         `--detect-local-mode=InterfaceNamePrefix --pod-interface-name-prefix=cali`"
    )]
    Translates {
        /// The process.
        pid: u32,
        /// The pool's network.
        pool: Cidr,
        /// Why.
        reason: String,
    },
    /// All packets to services get the node's address.
    #[error(
        "kube-proxy (process {0}) gives all packets to services the node's address, since it was told \
         masquerade-all: start it without"
    )]
    TranslatesAll(u32),
    /// It is not known what kube-proxy was told.
    #[error("kube-proxy (process {pid}) has a configuration {file} that cannot be read: {reason}")]
    Unknown {
        /// The process.
        pid: u32,
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
}

/// The kube-proxies that run on this host. `proc` is `/proc`, except in tests.
pub fn found(proc: &Path) -> Vec<KubeProxy> {
    let ours = processes(proc).into_iter().filter(|process| process.program() == "kube-proxy");
    ours.map(|process| read(proc, &process)).collect()
}

/// Its configuration's file counts in the place of its flags, where it has one.
fn read(proc: &Path, process: &Process) -> KubeProxy {
    let of_flags = KubeProxy { pid: process.pid, ..KubeProxy::of_flags(&process.words) };
    let Some(file) = of_flags.configuration.clone() else { return of_flags };
    let text = outside::read_text(&process.file(proc, &file), MOST).map_err(|error| error.to_string());
    match text.and_then(|text| KubeProxy::of_configuration(&text)) {
        Ok(told) => KubeProxy { pid: process.pid, configuration: Some(file), ..told },
        Err(reason) => KubeProxy { unreadable: Some(reason), ..of_flags },
    }
}

impl KubeProxy {
    /// What its program and arguments say.
    pub fn of_flags(words: &[String]) -> KubeProxy {
        let flag = |name: &str| {
            let mut rest = words.iter().skip(1);
            let mut value = None;
            while let Some(word) = rest.next() {
                let Some(text) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
                match text.split_once('=') {
                    Some((found, given)) if found == name => value = Some(given),
                    // A flag of yes or no takes no other word.
                    None if text == name && name == "masquerade-all" => value = Some("true"),
                    None if text == name => value = rest.next().map(String::as_str),
                    _ => {}
                }
            }
            value.map(str::to_string).filter(|value| !value.is_empty())
        };
        KubeProxy {
            pid: 0,
            local_mode: mode(&flag("detect-local-mode").unwrap_or_default()),
            cluster_cidrs: networks(&flag("cluster-cidr").unwrap_or_default()),
            interface_prefix: flag("pod-interface-name-prefix").unwrap_or_default(),
            masquerades_all: flag("masquerade-all").is_some_and(|value| value == "true"),
            configuration: flag("config"),
            unreadable: None,
        }
    }

    /// What a KubeProxyConfiguration says.
    ///
    /// # Errors
    /// Why it is none.
    pub fn of_configuration(text: &str) -> Result<KubeProxy, String> {
        let json: Json = serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?;
        if json["kind"] != "KubeProxyConfiguration" {
            return Err("it is no KubeProxyConfiguration".to_string());
        }
        let text = |json: &Json| json.as_str().unwrap_or_default().to_string();
        let proxies = ["iptables", "ipvs", "nftables"];
        Ok(KubeProxy {
            local_mode: mode(&text(&json["detectLocalMode"])),
            cluster_cidrs: networks(&text(&json["clusterCIDR"])),
            interface_prefix: text(&json["detectLocal"]["interfaceNamePrefix"]),
            masquerades_all: proxies.iter().any(|proxy| json[*proxy]["masqueradeAll"] == true),
            ..KubeProxy::default()
        })
    }

    /// How it does not fit the pools.
    pub fn conflicts(&self, pools: &[PoolNetwork]) -> Vec<Conflict> {
        let pid = self.pid;
        if let (Some(file), Some(reason)) = (&self.configuration, &self.unreadable) {
            return vec![Conflict::Unknown {
                pid,
                file: file.escape_debug().to_string(),
                reason: reason.escape_debug().to_string(),
            }];
        }
        if self.masquerades_all {
            return vec![Conflict::TranslatesAll(pid)];
        }
        let conflict = |pool: &PoolNetwork| {
            let reason = self.stranger(&pool.cidr)?;
            Some(Conflict::Translates { pid, pool: pool.cidr, reason })
        };
        pools.iter().filter(|pool| pool.is_inside).filter_map(conflict).collect()
    }

    /// Why it takes packets from a network for packets of strangers.
    fn stranger(&self, pool: &Cidr) -> Option<String> {
        match self.local_mode {
            LocalMode::ClusterCidr => {
                let mut own =
                    self.cluster_cidrs.iter().filter(|own| own.family() == pool.family()).peekable();
                // Without a cluster network it takes nobody for a stranger.
                own.peek()?;
                let own: Vec<&Cidr> = own.collect();
                let is_outside = !own.iter().any(|own| own.covers(pool));
                let shown: Vec<String> = own.iter().map(ToString::to_string).collect();
                is_outside.then(|| format!("the pool is not in its cluster network {}", shown.join(", ")))
            }
            LocalMode::NodeCidr => Some(
                "its local mode is NodeCIDR, and pools are not divided by the networks of nodes".to_string(),
            ),
            LocalMode::BridgeInterface => {
                Some("its local mode is BridgeInterface, and pods are at no bridge".to_string())
            }
            LocalMode::InterfaceNamePrefix => {
                let is_ours = !self.interface_prefix.is_empty() && "cali".starts_with(&self.interface_prefix);
                (!is_ours).then(|| {
                    let shown = self.interface_prefix.escape_debug();
                    format!("it takes interfaces named '{shown}...' for those of pods")
                })
            }
        }
    }
}

fn mode(text: &str) -> LocalMode {
    match text {
        "NodeCIDR" => LocalMode::NodeCidr,
        "BridgeInterface" => LocalMode::BridgeInterface,
        "InterfaceNamePrefix" => LocalMode::InterfaceNamePrefix,
        _ => LocalMode::ClusterCidr,
    }
}

fn networks(text: &str) -> Vec<Cidr> {
    text.split(',').filter_map(|text| Some(Cidr::parse_unmasked(text.trim()).ok()?.0)).collect()
}
