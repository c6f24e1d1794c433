//! What the agent has found amiss, as conditions, events and logs tell it.

use std::fmt;

/// A kind of finding: the word by which conditions, events and metrics know it. The words are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// The node's address could not be found; the Node keeps the one that it names.
    pub const ADDRESS_UNKNOWN: Reason = Reason("NodeAddressUnknown");
    /// No interface of the host has the address that the Node names.
    pub const ADDRESS_NOT_HERE: Reason = Reason("NodeAddressNotHere");
    /// A tunnel device has no address, since no pool has room.
    pub const POOL_WITHOUT_ROOM: Reason = Reason("PoolWithoutRoom");
    /// A tunnel device has no address, since no pool is there for this node.
    pub const NO_POOL_FOR_TUNNEL: Reason = Reason("NoPoolForTunnel");
    /// A tunnel device has no address for another cause.
    pub const TUNNEL_ADDRESS_MISSING: Reason = Reason("TunnelAddressMissing");
    /// A pool asks for IP in IP, which this kernel lacks.
    pub const IPIP_MISSING: Reason = Reason("IpipMissing");
    /// The CNI plugin `loopback` is not installed.
    pub const LOOPBACK_MISSING: Reason = Reason("LoopbackMissing");
    /// The CNI plugin `portmap` is not installed, or does not work.
    pub const PORTMAP_MISSING: Reason = Reason("PortmapMissing");
    /// Another network comes before ours.
    pub const NETWORK_HIDDEN: Reason = Reason("NetworkHidden");
    /// After a start of the host, pods may start before their routes are there.
    pub const NO_AGENT_SYNC: Reason = Reason("NoAgentSync");
    /// A kernel setting is not what routing needs.
    pub const SYSCTL_WRONG: Reason = Reason("SysctlWrong");
    /// What another agent left drops pods' packets.
    pub const FELIX_LEFT_OVERS: Reason = Reason("FelixLeftOvers");
    /// Something of the cluster's is not enforced here: policies, or routes by BGP.
    pub const NOT_ENFORCED: Reason = Reason("NotEnforced");

    /// The packet filter does not have the node's table.
    pub const FILTER_MISSING: Reason = Reason("FilterMissing");
    /// A chain of somebody else drops what is passed on between pods.
    pub const FORWARD_DROPS: Reason = Reason("ForwardDrops");
    /// Pools select by several labels, so that it is not known which one names racks.
    pub const RACK_LABEL_UNCLEAR: Reason = Reason("RackLabelUnclear");
    /// kube-proxy takes packets between pods for packets from outside.
    pub const KUBE_PROXY_CONFLICT: Reason = Reason("KubeProxyConflict");

    /// A reason of another part of the agent. It is a word in CamelCase, as Kubernetes asks of reasons.
    pub const fn new(word: &'static str) -> Reason {
        Reason(word)
    }

    /// The word.
    pub const fn word(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Something amiss on this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What kind of thing.
    pub reason: Reason,
    /// A sentence for people: what, why, and what helps.
    pub text: String,
}

impl Finding {
    /// A finding.
    pub fn new(reason: Reason, text: impl Into<String>) -> Finding {
        Finding { reason, text: text.into() }
    }
}
