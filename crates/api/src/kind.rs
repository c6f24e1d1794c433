//! The kinds of `projectcalico.org/v3` resources that we know, as a table: a new kind is one entry.

use std::fmt;

/// Whether a kind's names are unique in the cluster or in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the cluster.
    Cluster,
    /// In a namespace.
    Namespaced,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $plural:literal, $scope:ident, [$($alias:literal),*];)*) => {
        /// A kind of resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The name in `kind:` fields: `IPPool`.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind),)* }
            }

            /// The name of a list of them: `IPPoolList`.
            pub fn list_kind(self) -> &'static str {
                match self { $(Kind::$kind => concat!(stringify!($kind), "List"),)* }
            }

            /// The name in keys and URLs: `ippools`.
            pub fn plural(self) -> &'static str {
                match self { $(Kind::$kind => $plural,)* }
            }

            /// Whether it lives in namespaces.
            pub fn scope(self) -> Scope {
                match self { $(Kind::$kind => Scope::$scope,)* }
            }

            /// What the command line also takes for it, in lower case.
            pub fn aliases(self) -> &'static [&'static str] {
                match self { $(Kind::$kind => &[$($alias),*],)* }
            }
        }
    };
}

kinds! {
    /// Addresses for workloads, tunnels or services, and what the network does with them.
    IPPool, "ippools", Cluster, ["ippool", "ippools", "ipp", "ipps", "pool", "pools"];
    /// Addresses that are not to be assigned automatically.
    IPReservation, "ipreservations", Cluster, ["ipreservation", "ipreservations", "reservation", "reservations"];
    /// The allocator's configuration.
    IPAMConfiguration, "ipamconfigurations", Cluster, ["ipamconfiguration", "ipamconfigurations", "ipamconfig", "ipamconfigs"];
    /// A host.
    Node, "nodes", Cluster, ["node", "nodes", "no", "nos"];
    /// A workload's attachment to the network.
    WorkloadEndpoint, "workloadendpoints", Namespaced, ["workloadendpoint", "workloadendpoints", "wep", "weps"];
    /// What the cluster is, and whether its data may be used.
    ClusterInformation, "clusterinformations", Cluster, ["clusterinformation", "clusterinformations", "clusterinfo", "clusterinfos"];
    /// A group of policies; the allocator only creates those that each cluster has.
    Tier, "tiers", Cluster, ["tier", "tiers"];
    /// A BGP peering.
    BGPPeer, "bgppeers", Cluster, ["bgppeer", "bgppeers", "bgpp", "bgpps", "bp", "bps"];
    /// BGP settings, of the cluster or of a node.
    BGPConfiguration, "bgpconfigurations", Cluster, ["bgpconfiguration", "bgpconfigurations", "bgpconfig", "bgpconfigs"];
    /// Settings of Calico's controllers.
    KubeControllersConfiguration, "kubecontrollersconfigurations", Cluster,
        ["kubecontrollersconfiguration", "kubecontrollersconfigurations", "kubecontrollersconfig", "kubecontrollersconfigs"];
}

impl Kind {
    /// The kind of that plural.
    pub fn from_plural(plural: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.plural() == plural)
    }

    /// The kind of that name, as in `kind:` fields.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The kind that somebody typed, in any case.
    pub fn from_alias(typed: &str) -> Option<Kind> {
        let typed = typed.to_lowercase();
        Kind::ALL.iter().copied().find(|kind| kind.aliases().contains(&typed.as_str()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
