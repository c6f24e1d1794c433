//! The kinds of `projectcalico.org/v3` resources that we know. Each is one file here, and one line of the
//! table below; everybody else looks up in [`Kind::definition`] what is particular to it.

mod bgp_configuration;
mod bgp_peer;
mod cluster_information;
mod definition;
mod host_endpoint;
pub(crate) mod ip_pool;
mod ip_reservation;
mod ipam_configuration;
mod kube_controllers_configuration;
mod node;
mod profile;
mod tier;
mod workload_endpoint;

use std::fmt;

use crate::capability::{Backend, NotSupported, Operation};
use crate::columns::Columns;
use crate::schema::{Shape, Struct, Type};

pub(crate) use definition::custom_resource;
pub use definition::{CustomResource, Definition, Home, KindScope, NamesInV1, Role, Stage, Unreadable};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $file:ident;)*) => {
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

            /// All that is particular to it.
            pub fn definition(self) -> &'static Definition {
                match self { $(Kind::$kind => &$file::DEFINITION,)* }
            }
        }
    };
}

kinds! {
    /// Addresses for workloads, tunnels or services, and what the network does with them.
    IPPool: ip_pool;
    /// Addresses that are not to be assigned automatically.
    IPReservation: ip_reservation;
    /// The allocator's configuration.
    IPAMConfiguration: ipam_configuration;
    /// A host.
    Node: node;
    /// A workload's attachment to the network.
    WorkloadEndpoint: workload_endpoint;
    /// What the cluster is, and whether its data may be used.
    ClusterInformation: cluster_information;
    /// A group of policies; the allocator only creates those that each cluster has.
    Tier: tier;
    /// What the traffic of the endpoints that name it may be. The CNI plugin creates those of its networks;
    /// the command line does not know them.
    Profile: profile;
    /// A BGP peering.
    BGPPeer: bgp_peer;
    /// BGP settings, of the cluster or of a node.
    BGPConfiguration: bgp_configuration;
    /// Settings of Calico's controllers.
    KubeControllersConfiguration: kube_controllers_configuration;
    /// An interface of a host, whose traffic policies can be about.
    HostEndpoint: host_endpoint;
}

impl Kind {
    /// The name in keys and URLs: `ippools`.
    pub fn plural(self) -> &'static str {
        self.definition().plural
    }

    /// Whether it lives in namespaces.
    pub fn scope(self) -> KindScope {
        self.definition().scope
    }

    /// The Go struct behind it.
    pub fn schema(self) -> &'static Struct {
        self.definition().schema
    }

    /// The Go type of that struct, package included: `v3.IPPool`.
    pub fn go_type(self) -> Type {
        Type { go: self.definition().go, shape: Shape::Struct(self.schema()) }
    }

    /// The columns in which it is shown.
    pub fn columns(self) -> &'static Columns {
        self.definition().columns
    }

    /// What the command line also takes for it, in lower case.
    pub fn aliases(self) -> &'static [&'static str] {
        self.definition().aliases
    }

    /// Whether the command line knows it.
    pub fn is_offered(self) -> bool {
        !self.aliases().is_empty()
    }

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

impl Kind {
    /// Whether users may do that; `identifier` names the object in the error, as in `Node(n2)`.
    ///
    /// Programs may do more: the lock of the datastore is a field of ClusterInformation, and the tiers that
    /// each cluster has are created.
    ///
    /// # Errors
    /// When they may not.
    pub fn allows(
        self,
        backend: Backend,
        operation: Operation,
        identifier: &str,
    ) -> Result<(), NotSupported> {
        if matches!(operation, Operation::Get | Operation::List | Operation::Watch) {
            return Ok(());
        }
        match (self.definition().refusal)(backend, operation) {
            None => Ok(()),
            Some(refusal) => Err(refusal.of(if refusal.names_object { identifier } else { self.name() })),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
