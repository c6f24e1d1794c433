//! Deletion of a node and of everything that belongs to it (`clientv3/node.go`).

use std::net::IpAddr;

use api::cidr::parse_addr_of;
use api::{Kind, Resource};
use ipam::RemoveHost;
use store::{Depth, Effects, ReadSet, Scope, Store};

use crate::client::{Client, resource_in};
use crate::error::{Error, Identifier};

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Releases the addresses of the node's workloads and tunnels, deletes its WorkloadEndpoints, removes the
    /// host from the allocator's data, deletes the resources that go with a node or are named after one (its
    /// BGPPeers and BGPConfiguration), and then deletes the node. All of this is done even if the node itself
    /// is gone already. A wrong revision is found before anything is changed.
    ///
    /// Unlike Calico, IPv6 tunnel addresses are released as well.
    pub(crate) async fn delete_node(&self, id: &Identifier, wanted: Option<&str>) -> Result<Resource, Error> {
        let set = ReadSet::new().key(id.key()).scope(Scope::kind(Kind::WorkloadEndpoint), Depth::Full);
        let going = || Kind::ALL.iter().copied().filter(|kind| kind.definition().goes_with_node);
        let set = going().fold(set, |set, kind| set.scope(Scope::kind(kind), Depth::Full));
        // Even if the node's record cannot be read, the node's name tells what belongs to it.
        let view = self.store.read(&set, self.within).await?;
        let node = resource_in(&view, &id.key());
        if let (Some((_, revision)), Some(wanted)) = (&node, wanted)
            && revision.as_str() != wanted
        {
            return Err(Error::Conflict(id.clone()));
        }
        let of_node = |resource: &&Resource| resource.text(&["spec", "node"]) == Some(&id.name);
        let all = |kind| view.resources(kind).map(|(resource, _)| resource).filter(of_node);
        let endpoints: Vec<&Resource> = all(Kind::WorkloadEndpoint).collect();

        let mut addresses: Vec<IpAddr> =
            endpoints.iter().flat_map(|endpoint| api::endpoint::addresses(endpoint).addresses).collect();
        addresses.extend(node.iter().flat_map(|(node, _)| tunnels(node)));
        self.release_addresses_of(&id.name, &addresses).await?;
        for endpoint in endpoints {
            self.delete_if_there(&Identifier::of(endpoint)).await?;
        }
        if !id.name.is_empty() {
            self.release_all(RemoveHost { host: id.name.clone() }.planner()).await?;
        }
        // Collected first: an iterator with these closures could not be moved to another thread.
        let rest: Vec<&Resource> = going().flat_map(all).collect();
        for resource in rest {
            self.delete_if_there(&Identifier::of(resource)).await?;
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| *kind != id.kind) {
            if let Some(prefix) = kind.definition().node_prefix {
                let name = format!("{prefix}{}", id.name);
                self.delete_if_there(&Identifier::new(kind, None, &name)).await?;
            }
        }
        self.delete_alone(id, wanted).await
    }

    async fn delete_if_there(&self, id: &Identifier) -> Result<(), Error> {
        match self.delete_alone(id, None).await {
            Ok(_) | Err(Error::DoesNotExist(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The addresses of a node's tunnel devices.
fn tunnels(node: &Resource) -> Vec<IpAddr> {
    let paths: [&[&str]; 5] = [
        &["spec", "bgp", "ipv4IPIPTunnelAddr"],
        &["spec", "ipv4VXLANTunnelAddr"],
        &["spec", "ipv6VXLANTunnelAddr"],
        &["spec", "wireguard", "interfaceIPv4Address"],
        &["spec", "wireguard", "interfaceIPv6Address"],
    ];
    paths.into_iter().filter_map(|path| node.text(path)).filter_map(parse_addr_of).collect()
}
