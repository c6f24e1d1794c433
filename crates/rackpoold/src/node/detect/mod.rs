//! The address by which other nodes reach this one (`node/pkg/lifecycle/startup`): what is asked for, and
//! what is found among the host's interfaces. All of it is pure but [`look`], which asks the host.

mod both;
mod look;
mod method;

use std::fmt;
use std::net::IpAddr;

use api::{Family, Resource};
use host::Interface;
use ipnet::IpNet;
use setup::Environment;

pub use both::{Both, Detected, judge};
pub use look::{LookError, host_of, look, store_hosts};
pub use method::{Method, is_left_out};

/// Why a node's address is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// A setting cannot be understood. Mend it.
    #[error("{variable}={value:?}: {reason}")]
    Setting {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The method has found no address. What the Node says stays.
    #[error("{0}")]
    Nothing(Box<Search>),
    /// The address that is set has no length, and no interface has it to tell.
    #[error(
        "{variable}={addr}: no interface of this host has that address; the host has {looked}. Name one of its addresses, or write it with the length of its network, such as {addr}/24"
    )]
    NotHere {
        /// The environment variable.
        variable: &'static str,
        /// The address.
        addr: IpAddr,
        /// The host's interfaces with their addresses.
        looked: String,
    },
    /// The node would have no address at all, so that nobody could reach its pods.
    #[error("Node({node}) would have no address, so no other node could reach its pods: {reason}")]
    NoAddress {
        /// The node.
        node: String,
        /// Why none was found.
        reason: String,
    },
    /// Another Node has the address.
    #[error(
        "Node({node}) cannot have the address {addr}: Node({other}) has it. Correct spec.bgp of that Node, or delete it if it is gone (calicoctl delete node {other}), or choose another address here by {variable}; DISABLE_NODE_IP_CHECK=true leaves this check out"
    )]
    Taken {
        /// The node.
        node: String,
        /// The address.
        addr: IpAddr,
        /// The other Node.
        other: String,
        /// The environment variable of the address.
        variable: &'static str,
    },
}

/// A search that found no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The family.
    pub family: Family,
    /// The method, as its setting spells it.
    pub method: String,
    /// What it looks for.
    pub sought: String,
    /// The host's interfaces with their addresses.
    pub looked: String,
    /// What helps.
    pub help: String,
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Search { family, method, sought, looked, help } = self;
        let (address, variable) = variables(*family);
        write!(
            f,
            "no {family} address was found for this node by {method}, which is {sought}; the host has {looked}: \
             {help}. ({variable} chooses another way, {address} names the address)"
        )
    }
}

/// Whether an address is to be found, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing is set: an IPv4 address is found where the Node names none; an IPv6 address never.
    Once,
    /// At every look.
    Always,
    /// Never. What the Node says stays.
    Never,
    /// It is named. Without a length its interface tells it.
    Named(IpAddr, Option<u8>),
}

/// How a node's address of one family is found.
#[derive(Clone, Debug)]
pub struct Request {
    family: Family,
    ask: Ask,
    method: Method,
    /// The method as it is spelt.
    spelt: String,
}

/// What has to be asked of the host, or of Kubernetes, before an address can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Nothing but the interfaces.
    Interfaces,
    /// The source address of packets to the store, then that of the default route.
    Sources,
    /// The source address of packets to that host.
    SourceTo(String),
    /// The addresses of type InternalIP of the Kubernetes Node.
    InternalIps,
}

/// An address that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address with the length of its network.
    pub net: IpNet,
    /// The interface that has it; `None` where it is named and no interface has it.
    pub interface: Option<String>,
}

/// The environment variables of a family: of the address, and of the method.
fn variables(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("IP", "IP_AUTODETECTION_METHOD"),
        Family::V6 => ("IP6", "IP6_AUTODETECTION_METHOD"),
    }
}

impl Request {
    /// Reads what the environment asks for.
    ///
    /// # Errors
    /// [`DetectError::Setting`].
    pub fn read(environment: &Environment, family: Family) -> Result<Request, DetectError> {
        let (address, variable) = variables(family);
        let wrong = |variable, value: &str, reason: String| DetectError::Setting {
            variable,
            value: value.to_string(),
            reason,
        };
        let ask = match environment.get(address).map(str::trim) {
            None | Some("") => Ask::Once,
            Some("autodetect") => Ask::Always,
            Some("none") => Ask::Never,
            Some(text) => named(text, family).map_err(|reason| wrong(address, text, reason))?,
        };
        let spelt = environment.get(variable).unwrap_or_default().trim();
        let method = Method::parse(spelt).map_err(|reason| wrong(variable, spelt, reason))?;
        let spelt = if spelt.is_empty() { "default-route" } else { spelt }.to_string();
        Ok(Request { family, ask, method, spelt })
    }

    /// What has to be asked first; `None` where nothing is to be found, so that what the Node says stays.
    pub fn question(&self, stored: Option<IpNet>) -> Option<Question> {
        match (&self.ask, self.family, stored) {
            (Ask::Never, ..) | (Ask::Once, Family::V6, _) | (Ask::Once, Family::V4, Some(_)) => None,
            (Ask::Named(..), ..) => Some(Question::Interfaces),
            (Ask::Always, ..) | (Ask::Once, Family::V4, None) => Some(match &self.method {
                Method::Route => Question::Sources,
                Method::CanReach(host) => Question::SourceTo(host.clone()),
                Method::InternalIp => Question::InternalIps,
                _ => Question::Interfaces,
            }),
        }
    }

    /// The node's address; `None` where what the Node says stays. `answers` are those to
    /// [`Request::question`], the best first.
    ///
    /// # Errors
    /// [`DetectError::Nothing`] and [`DetectError::NotHere`]. What the Node says stays, too.
    pub fn find(
        &self,
        interfaces: &[Interface],
        answers: &[IpAddr],
        stored: Option<IpNet>,
    ) -> Result<Option<Found>, DetectError> {
        if self.question(stored).is_none() {
            return Ok(None);
        }
        if let Ask::Named(addr, length) = self.ask {
            let here = method::with_length(interfaces, addr);
            let (net, interface) = match (here, length) {
                // As with Calico, /32 and /128 mean that no length is given.
                (Some((net, name)), Some(length)) if length < net.max_prefix_len() => {
                    (IpNet::new(addr, length).unwrap_or(net), Some(name))
                }
                (Some((net, name)), _) => (net, Some(name)),
                (None, Some(length)) => (IpNet::new(addr, length).unwrap_or(IpNet::from(addr)), None),
                (None, None) => {
                    let looked = looked(interfaces, self.family);
                    return Err(DetectError::NotHere { variable: variables(self.family).0, addr, looked });
                }
            };
            return Ok(Some(Found { net, interface }));
        }
        match self.method.find(interfaces, self.family, answers) {
            Ok((net, interface)) => Ok(Some(Found { net, interface: Some(interface) })),
            Err(help) => Err(DetectError::Nothing(Box::new(Search {
                family: self.family,
                method: self.spelt.clone(),
                sought: self.method.sought(),
                looked: looked(interfaces, self.family),
                help,
            }))),
        }
    }
}

fn named(text: &str, family: Family) -> Result<Ask, String> {
    let (addr, length) = match text.parse::<IpNet>() {
        Ok(net) => (net.addr(), Some(net.prefix_len())),
        Err(_) => match text.parse::<IpAddr>() {
            Ok(addr) => (addr, None),
            Err(_) => return Err("it is no address, and none of autodetect and none".to_string()),
        },
    };
    match Family::of(addr) == family {
        true => Ok(Ask::Named(addr, length)),
        false => Err(format!("it is no {family} address")),
    }
}

/// The interfaces with their addresses of a family, and which are left out.
fn looked(interfaces: &[Interface], family: Family) -> String {
    let all = interfaces.iter().map(|interface| {
        let addresses: Vec<String> = interface
            .addresses
            .iter()
            .filter(|address| Family::of(address.net.addr()) == family)
            .map(|address| address.net.to_string())
            .collect();
        let mut notes = if addresses.is_empty() { vec!["no address".to_string()] } else { addresses };
        notes.extend((!interface.is_up).then(|| "down".to_string()));
        notes.extend(is_left_out(&interface.name).then(|| "left out by its name".to_string()));
        format!("{} ({})", interface.name, notes.join(", "))
    });
    let all: Vec<String> = all.collect();
    if all.is_empty() { "no interface".to_string() } else { all.join(", ") }
}

/// Refuses an address that another Node has.
///
/// # Errors
/// [`DetectError::Taken`].
pub fn refuse_taken<'a>(
    node: &str,
    net: IpNet,
    nodes: impl IntoIterator<Item = &'a Resource>,
) -> Result<(), DetectError> {
    let addr = net.addr();
    let (field, family) = match addr {
        IpAddr::V4(_) => ("ipv4Address", Family::V4),
        IpAddr::V6(_) => ("ipv6Address", Family::V6),
    };
    let has = |other: &Resource| stored(other, field).is_some_and(|net| net.addr() == addr);
    match nodes.into_iter().find(|other| other.name() != node && has(other)) {
        None => Ok(()),
        Some(other) => Err(DetectError::Taken {
            node: node.to_string(),
            addr,
            other: other.name().to_string(),
            variable: variables(family).0,
        }),
    }
}

/// The addresses that a Node names. An address without a length counts as none: only half of the cluster
/// would use it.
pub fn stored_addresses(node: &Resource) -> Both<Option<IpNet>> {
    Both { v4: stored(node, "ipv4Address"), v6: stored(node, "ipv6Address") }
}

fn stored(node: &Resource, field: &str) -> Option<IpNet> {
    node.text(&["spec", "bgp", field])?.parse().ok()
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{} of {interface}", self.net),
            None => write!(f, "{}, which no interface has", self.net),
        }
    }
}
