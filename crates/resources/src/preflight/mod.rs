//! What a cluster of Calico's is, and what becomes of it where rackpool takes Calico's place.

mod gather;
mod judge;
mod steps;
#[cfg(test)]
mod tests;

use std::fmt;

pub use gather::survey;
pub use steps::{LABEL, steps};

use crate::loss::{Feature, Losses, named};

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It is no longer done.
    Lost,
    /// It is done in another way, or somebody has to do something about it.
    Changes,
    /// It goes on as it is.
    Kept,
}

impl Effect {
    /// The effect's word, which does not change between releases.
    pub fn word(self) -> &'static str {
        match self {
            Effect::Lost => "lost",
            Effect::Changes => "changes",
            Effect::Kept => "kept",
        }
    }
}

/// Something that a cluster has, as far as it matters to who changes from Calico to rackpool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A feature that the node agent does not carry out.
    Loss(Feature),
    /// Addresses for services of the type LoadBalancer.
    LoadBalancer,
    /// Data of another version of Calico.
    Version,
    /// Custom resources in another group than the chart's own choice.
    ApiGroup,
    /// Data that is locked.
    Locked,
    /// An operator that puts back what is changed by hand.
    Operator,
    /// Calico's kube-controllers.
    Controllers,
    /// Calico's node agents.
    NodeAgents,
    /// Typha, which stands between Calico's node agents and the API server.
    Typha,
    /// Pools with IPIP.
    Ipip,
    /// Fields of Felix's settings that rackpool does not read.
    FelixSettings,
    /// Settings of BGP.
    BgpSettings,
    /// Addresses, blocks and handles that do not fit together.
    IpamProblems,
    /// The pools.
    Pools,
    /// The addresses that are in use.
    Addresses,
    /// The allocator's configuration.
    IpamConfiguration,
    /// The reservations.
    Reservations,
    /// How addresses that leaked come back.
    LeakCollection,
}

impl Code {
    /// All codes, in the order in which they are told.
    pub const ALL: [Code; 22] = [
        Code::Loss(Feature::Policy),
        Code::Loss(Feature::HostEndpoint),
        Code::Loss(Feature::WireGuard),
        Code::Loss(Feature::Ebpf),
        Code::Loss(Feature::Bgp),
        Code::LoadBalancer,
        Code::Version,
        Code::ApiGroup,
        Code::Locked,
        Code::Operator,
        Code::Controllers,
        Code::NodeAgents,
        Code::Typha,
        Code::Ipip,
        Code::FelixSettings,
        Code::BgpSettings,
        Code::IpamProblems,
        Code::Pools,
        Code::Addresses,
        Code::IpamConfiguration,
        Code::Reservations,
        Code::LeakCollection,
    ];

    /// The code's word, which does not change between releases.
    pub fn word(self) -> &'static str {
        match self {
            Code::Loss(feature) => feature.word(),
            Code::LoadBalancer => "loadbalancer",
            Code::Version => "version",
            Code::ApiGroup => "api-group",
            Code::Locked => "locked",
            Code::Operator => "operator",
            Code::Controllers => "controllers",
            Code::NodeAgents => "node-agents",
            Code::Typha => "typha",
            Code::Ipip => "ipip",
            Code::FelixSettings => "felix-settings",
            Code::BgpSettings => "bgp-settings",
            Code::IpamProblems => "ipam-problems",
            Code::Pools => "pools",
            Code::Addresses => "addresses",
            Code::IpamConfiguration => "ipam-configuration",
            Code::Reservations => "reservations",
            Code::LeakCollection => "leak-collection",
        }
    }

    /// What becomes of it.
    pub fn effect(self) -> Effect {
        match self {
            Code::Loss(_) | Code::LoadBalancer => Effect::Lost,
            Code::Version
            | Code::ApiGroup
            | Code::Locked
            | Code::Operator
            | Code::Controllers
            | Code::NodeAgents
            | Code::Typha
            | Code::Ipip
            | Code::FelixSettings
            | Code::BgpSettings
            | Code::IpamProblems => Effect::Changes,
            Code::Pools
            | Code::Addresses
            | Code::IpamConfiguration
            | Code::Reservations
            | Code::LeakCollection => Effect::Kept,
        }
    }

    /// What that means.
    pub fn text(self) -> &'static str {
        match self {
            Code::Loss(feature) => feature.loss(),
            Code::LoadBalancer => {
                "rackpool gives no addresses to services of type LoadBalancer: those that they have stay theirs, new services get none"
            }
            Code::Version => {
                "the data is of another version of Calico than the one whose behaviour rackpool has: try it on a copy first"
            }
            Code::ApiGroup => {
                "Calico's custom resources are in this group, and stay there: install the chart with --set apiGroup=projectcalico.org/v3"
            }
            Code::Locked => {
                "nothing gets an address while the datastore is locked: calicoctl datastore migrate unlock"
            }
            Code::Operator => {
                "the operator puts back what is changed by hand: it has to stand still meanwhile"
            }
            Code::Controllers => {
                "rackpoold controllers take their place, and do not start beside them: scale them to 0 first"
            }
            Code::NodeAgents => "rackpoold node takes their place, node by node",
            Code::Typha => {
                "rackpool's agents do without it: it can go after the last of Calico's node agents"
            }
            Code::Ipip => {
                "each node needs the kernel's module ipip; and Calico's nodes learn such routes by BGP, so that they do not reach rackpool's nodes: give these pools VXLAN before the first node changes"
            }
            Code::FelixSettings => "rackpool's node agent does not read these fields",
            Code::BgpSettings => "rackpool reads no settings of BGP: they stay for the way back",
            Code::IpamProblems => {
                "they are of today's cluster, and easier to mend before the change: calicoctl ipam check"
            }
            Code::Pools => "addresses come from the same pools, by the same selectors",
            Code::Addresses => "pods keep their addresses, nodes their blocks; the records stay as they are",
            Code::IpamConfiguration => "the allocator heeds it",
            Code::Reservations => "the allocator heeds them",
            Code::LeakCollection => "rackpoold controllers heed leakGracePeriod",
        }
    }

    /// The code of that word.
    pub fn from_word(word: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.word() == word)
    }
}

/// Something that the cluster has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// The objects by which it is known, or what is said of them.
    pub objects: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.code.word(), named(&self.objects), self.code.text())
    }
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What could not be read.
    pub what: String,
    /// Why.
    pub reason: String,
    /// What nobody knows therefore.
    pub unknown: String,
    /// The feature whose loss is therefore unknown.
    pub feature: Option<Feature>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unread { what, reason, unknown, .. } = self;
        write!(f, "{what} cannot be read ({reason}), so nobody knows {unknown}")
    }
}

/// A program of Calico's that runs in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The object that runs it: `DaemonSet kube-system/calico-node`.
    pub object: String,
    /// The namespace of that object.
    pub namespace: String,
    /// The object's own name.
    pub name: String,
    /// Its image.
    pub image: String,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub cidr: String,
    /// How packets travel between nodes: `VXLAN Always`, `IPIP CrossSubnet`, `none`.
    pub encapsulation: String,
    /// The nodes that it serves.
    pub node_selector: String,
}

/// What was read of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Calico's version, as the ClusterInformation says it.
    pub version: Option<String>,
    /// The group and version of Calico's custom resources: `crd.projectcalico.org/v1`. None where the data is
    /// not on Kubernetes.
    pub api_version: Option<String>,
    /// Calico's programs.
    pub programs: Vec<Program>,
    /// The pools, by name.
    pub pools: Vec<Pool>,
    /// What the cluster has, in the order of [`Code::ALL`].
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

impl Survey {
    /// Notes something that the cluster has.
    pub fn note(&mut self, code: Code, objects: Vec<String>) {
        if objects.is_empty() {
            return;
        }
        let order = |code: Code| Code::ALL.iter().position(|one| *one == code);
        let at = self.findings.partition_point(|finding| order(finding.code) <= order(code));
        self.findings.insert(at, Finding { code, objects });
    }

    /// What the cluster has of a code.
    pub fn of(&self, code: Code) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.code == code)
    }

    /// The findings with that effect.
    pub fn with(&self, effect: Effect) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.code.effect() == effect)
    }

    /// What is lost for certain or perhaps, besides what was accepted.
    pub fn lost_beyond(&self, accepted: &[Code]) -> Vec<Code> {
        let certain = self.with(Effect::Lost).map(|finding| finding.code);
        let perhaps = self.unread.iter().filter_map(|unread| unread.feature.map(Code::Loss));
        let mut lost: Vec<Code> = certain.chain(perhaps).filter(|code| !accepted.contains(code)).collect();
        lost.sort();
        lost.dedup();
        lost
    }

    fn take_losses(&mut self, losses: Losses) {
        for loss in losses.found {
            self.note(Code::Loss(loss.feature), loss.objects);
        }
        for unknown in losses.unknown {
            self.unread.push(Unread {
                what: unknown.what,
                reason: unknown.reason,
                unknown: format!("whether {} is lost", unknown.feature),
                feature: Some(unknown.feature),
            });
        }
    }
}
