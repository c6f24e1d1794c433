//! What an administrator has set for translation and protection: fields of a FelixConfiguration.

use std::net::IpAddr;

use api::{Cidr, cidr};
use serde_json::Value as Json;

use crate::interface::Interfaces;

/// To where packets from pods are not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusions {
    /// To addresses in pools.
    Pools,
    /// To addresses in pools, and to nodes.
    PoolsAndNodes,
}

/// What an administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The UDP port of VXLAN.
    pub vxlan_port: u16,
    /// The network number of the VXLAN, of 24 bits.
    pub vxlan_vni: u32,
    /// To where packets from pods are not translated.
    pub exclusions: Exclusions,
    /// The address that packets of its family get that leave the cluster. `None`: the one that the kernel
    /// chooses on the interface by which they leave.
    pub nat_address: Option<IpAddr>,
    /// The source ports that TCP and UDP get then.
    pub nat_ports: Option<(u16, u16)>,
    /// The interfaces by which packets leave the cluster.
    pub nat_interfaces: Interfaces,
    /// Hosts that are no Nodes, and may send into the tunnels.
    pub external_nodes: Vec<Cidr>,
    /// Whether pods may send VXLAN packets.
    pub pods_send_vxlan: bool,
    /// Whether pods may send IPIP packets.
    pub pods_send_ipip: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            vxlan_port: 4789,
            vxlan_vni: 4096,
            exclusions: Exclusions::Pools,
            nat_address: None,
            nat_ports: None,
            nat_interfaces: Interfaces::All,
            external_nodes: Vec::new(),
            pods_send_vxlan: false,
            pods_send_ipip: false,
        }
    }
}

/// A field whose value says nothing. What was set before counts on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "FelixConfiguration({name}): {field} is {value}, which is no {wanted}, so that it counts for nothing: \
     change it by `kubectl edit felixconfiguration {name}`, or in etcd"
)]
pub struct Unusable {
    /// The name of the FelixConfiguration, as far as it is harmless.
    pub name: String,
    /// The field.
    pub field: String,
    /// Its value, as JSON, cut short.
    pub value: String,
    /// What it ought to be.
    pub wanted: &'static str,
}

impl Settings {
    /// Takes the fields of a FelixConfiguration, as it is stored, in the place of what was set before: first
    /// those of the one named `default`, then those of the node's own, named `node.` and the node. The result
    /// tells of fields whose values say nothing.
    pub fn take(&mut self, configuration: &Json) -> Vec<Unusable> {
        let mut fields = Fields { configuration, unusable: Vec::new() };
        let bit = |json: &Json| json.as_bool();
        fields.set("vxlanPort", "port from 1 to 65535", &mut self.vxlan_port, port);
        fields.set("vxlanVNI", "number from 1 to 16777215", &mut self.vxlan_vni, vni);
        fields.set(
            "natOutgoingExclusions",
            "IPPoolsOnly or IPPoolsAndHostIPs",
            &mut self.exclusions,
            exclusions,
        );
        fields.set("natOutgoingAddress", "address", &mut self.nat_address, address);
        fields.set("natPortRange", "port or range of ports, such as 32768:65535", &mut self.nat_ports, ports);
        fields.set(
            "iptablesNATOutgoingInterfaceFilter",
            "name of an interface, or the beginning of one and a '+'",
            &mut self.nat_interfaces,
            |json| Interfaces::parse(json.as_str()?).ok(),
        );
        fields.set("externalNodesList", "list of networks", &mut self.external_nodes, networks);
        fields.set("allowVXLANPacketsFromWorkloads", "true or false", &mut self.pods_send_vxlan, bit);
        fields.set("allowIPIPPacketsFromWorkloads", "true or false", &mut self.pods_send_ipip, bit);
        fields.unusable
    }
}

struct Fields<'a> {
    configuration: &'a Json,
    unusable: Vec<Unusable>,
}

impl Fields<'_> {
    fn set<T>(
        &mut self,
        field: &str,
        wanted: &'static str,
        to: &mut T,
        parse: impl FnOnce(&Json) -> Option<T>,
    ) {
        let json = &self.configuration["spec"][field];
        if json.is_null() || json == "" {
            return;
        }
        match parse(json) {
            Some(value) => *to = value,
            None => self.unusable.push(Unusable {
                name: harmless(self.configuration["metadata"]["name"].as_str().unwrap_or("default")),
                field: format!("spec.{field}"),
                value: cut(&json.to_string()),
                wanted,
            }),
        }
    }
}

fn harmless(name: &str) -> String {
    name.chars()
        .take(253)
        .map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '?' })
        .collect()
}

fn cut(json: &str) -> String {
    match json.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &json[..end]),
        None => json.to_string(),
    }
}

fn port(json: &Json) -> Option<u16> {
    u16::try_from(json.as_u64()?).ok().filter(|port| *port > 0)
}

fn vni(json: &Json) -> Option<u32> {
    u32::try_from(json.as_u64()?).ok().filter(|vni| (1..1 << 24).contains(vni))
}

fn exclusions(json: &Json) -> Option<Exclusions> {
    match json.as_str()? {
        "IPPoolsOnly" => Some(Exclusions::Pools),
        "IPPoolsAndHostIPs" => Some(Exclusions::PoolsAndNodes),
        _ => None,
    }
}

fn address(json: &Json) -> Option<Option<IpAddr>> {
    cidr::parse_addr(json.as_str()?).filter(|addr| !addr.is_unspecified() && !addr.is_multicast()).map(Some)
}

/// A number, or a text with one or two numbers, as Calico's type of ports has it.
fn ports(json: &Json) -> Option<Option<(u16, u16)>> {
    let number = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let (least, most) = match json.as_str() {
        None => (port(json)?, port(json)?),
        Some(text) => match text.split_once(':') {
            Some((least, most)) => (number(least)?, number(most)?),
            None => (number(text)?, number(text)?),
        },
    };
    (least <= most).then_some(Some((least, most)))
}

/// The network in a text: an address is a network of one.
pub(crate) fn network(text: &str) -> Option<Cidr> {
    cidr::parse_addr(text).map(Cidr::single).or_else(|| Some(Cidr::parse_unmasked(text).ok()?.0))
}

fn networks(json: &Json) -> Option<Vec<Cidr>> {
    json.as_array()?.iter().map(|json| network(json.as_str()?)).collect()
}
