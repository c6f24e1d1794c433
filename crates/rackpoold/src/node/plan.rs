//! What is wanted on this host, by what is known of the cluster. Pure.

use std::net::IpAddr;

use filter::{Rules, Settings};
use host::Interface;
use ipnet::IpNet;
use routes::destination::Destinations;
use routes::rack::RackError;
use routes::{Aggregation, Desired, Exported, NodeError, Options, Racks, Snapshot, rack};

use super::detect::Both;

/// What the records do not say about racks and routers.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Who holds the routes to a rack's blocks.
    pub aggregation: Aggregation,
    /// The node's router, an address in each family.
    pub via: Vec<IpAddr>,
    /// The label that names a node's rack; `None`: the one that most pools select by.
    pub rack_label: Option<String>,
}

impl Shape {
    /// What the node must have. It is told, too, why no node counts as of a rack, where that is so.
    ///
    /// # Errors
    /// Where there is no Node of that name, or it cannot be read.
    pub fn desired(
        &self,
        snapshot: &Snapshot,
        node: &str,
        uplink: Option<&Interface>,
    ) -> Result<(Desired, Option<RackError>), NodeError> {
        let destinations = Destinations::of(snapshot);
        let (label, unclear) = match (&self.rack_label, rack::label(snapshot)) {
            (Some(label), _) => (Some(label.clone()), None),
            (None, Ok(label)) => (label, None),
            (None, Err(error)) => (None, Some(error)),
        };
        let racks = Racks::of(&destinations, label.as_deref(), Exported::Plain);
        let options = Options {
            aggregation: self.aggregation,
            via: self.via.clone(),
            uplink: uplink.map(|interface| interface.name.clone()),
            mtu: uplink.map_or(1500, |interface| interface.mtu),
        };
        let desired = routes::node::desired(&destinations, &racks, node, &options)?;
        Ok((desired, unclear.filter(|_| self.aggregation != Aggregation::Off)))
    }

    /// The packet filter that the node must have.
    pub fn rules(&self, snapshot: &Snapshot, desired: &Desired, settings: Settings) -> Rules {
        let is_relay = self.aggregation == Aggregation::Node;
        Rules { is_relay, ..Rules::of(snapshot, desired, settings) }
    }
}

/// The interface that carries the node's address, of a family where several do.
pub fn uplink(interfaces: &[Interface], addresses: &Both<Option<IpNet>>) -> Option<Interface> {
    let own = [addresses.v4, addresses.v6].into_iter().flatten();
    let has = |addr: IpAddr| {
        interfaces.iter().find(|interface| interface.addresses.iter().any(|one| one.net.addr() == addr))
    };
    own.into_iter().find_map(|net| has(net.addr())).cloned()
}
