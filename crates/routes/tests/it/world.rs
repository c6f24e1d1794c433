//! A cluster made of stored records.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{BlockCidr, Cidr, Key, Kind, Owner, Record, Revision, Value};
use routes::destination::Destinations;
use routes::{Desired, Exported, Known, Options, Racks, Router, Snapshot, Wanted, node, rack, router};
use serde_json::json;

pub struct World {
    pub snapshot: Snapshot,
}

pub fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl World {
    pub fn new() -> World {
        World { snapshot: Snapshot::new(Known::ByBlocks) }
    }

    pub fn put(&mut self, key: Key, json: serde_json::Value) {
        let value = Value::from_stored_text(&key, &json.to_string()).unwrap();
        self.snapshot.take(&Record { key, value, revision: Revision::from(1) });
    }

    /// A node; `fields` are those of its spec beside the address.
    pub fn node(&mut self, name: &str, address: &str, rack: &str, fields: serde_json::Value) {
        let field = if address.contains(':') { "ipv6Address" } else { "ipv4Address" };
        let mut spec = json!({"bgp": {field: address}});
        for (name, value) in fields.as_object().unwrap() {
            match name.as_str() {
                "ipv4IPIPTunnelAddr" | "ipv6Address" => spec["bgp"][name] = value.clone(),
                _ => spec[name] = value.clone(),
            }
        }
        let labels = if rack.is_empty() { json!({}) } else { json!({"rack": rack}) };
        self.put(
            Key::global(Kind::Node, name),
            json!({"metadata": {"name": name, "labels": labels}, "spec": spec}),
        );
    }

    /// A pool; `fields` are those of its spec beside the network.
    pub fn pool(&mut self, name: &str, cidr: &str, fields: serde_json::Value) {
        let mut spec = json!({"cidr": cidr});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.put(Key::global(Kind::IPPool, name), json!({"metadata": {"name": name}, "spec": spec}));
    }

    /// A block with the nodes of its addresses, by ordinal.
    pub fn block(&mut self, cidr: &str, owner: Option<&str>, held: &[(u32, &str)]) {
        let block: BlockCidr = cidr.parse().unwrap();
        let held: BTreeMap<u32, &str> = held.iter().copied().collect();
        let mut allocations = vec![json!(null); block.size() as usize];
        let mut attributes = Vec::new();
        for (ordinal, node) in &held {
            allocations[*ordinal as usize] = json!(attributes.len());
            attributes.push(json!({"handle_id": format!("net.{ordinal}"), "secondary": {"node": node}}));
        }
        let free: Vec<u32> = (0..block.size()).filter(|ordinal| !held.contains_key(ordinal)).collect();
        let affinity = owner.map(|node| format!("host:{node}"));
        self.put(
            Key::Block(block),
            json!({"cidr": cidr, "affinity": affinity, "allocations": allocations, "unallocated": free,
                "attributes": attributes, "deleted": false}),
        );
    }

    pub fn affinity(&mut self, owner: &str, block: &str, state: &str) {
        let key = Key::Affinity { owner: Owner::Host(owner.to_string()), block: block.parse().unwrap() };
        self.put(key, json!({"state": state, "deleted": false}));
    }

    pub fn racks(&self, exported: Exported) -> Racks {
        let label = rack::label(&self.snapshot).unwrap();
        Racks::of(&Destinations::of(&self.snapshot), label.as_deref(), exported)
    }

    pub fn desired(&self, node: &str, options: &Options) -> Desired {
        self.desired_where(node, options, Exported::Plain)
    }

    pub fn desired_where(&self, node: &str, options: &Options, exported: Exported) -> Desired {
        let racks = self.racks(exported);
        node::desired(&Destinations::of(&self.snapshot), &racks, node, options).unwrap()
    }

    pub fn router(&self, router: &Router) -> BTreeMap<Cidr, Wanted> {
        self.router_where(router, Exported::Plain)
    }

    pub fn router_where(&self, router: &Router, exported: Exported) -> BTreeMap<Cidr, Wanted> {
        router::routes(&Destinations::of(&self.snapshot), &self.racks(exported), router)
    }
}

/// The routes as `ip route` takes them, by destination.
pub fn lines(routes: &BTreeMap<Cidr, Wanted>) -> Vec<String> {
    routes.values().map(|wanted| wanted.route.to_string()).collect()
}

/// The narrowest route that holds an address.
pub fn lookup(routes: &BTreeMap<Cidr, Wanted>, addr: IpAddr) -> Option<&Wanted> {
    routes
        .values()
        .filter(|wanted| wanted.route.to.contains(addr))
        .max_by_key(|wanted| wanted.route.to.prefix())
}
