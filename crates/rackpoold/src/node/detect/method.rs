//! The ways to find a node's address among those of its interfaces.

use std::net::IpAddr;

use api::Family;
use host::{Address, Interface};
use ipnet::IpNet;
use regex::Regex;

/// The beginnings of names of interfaces that carry no node's address
/// (`node/pkg/lifecycle/startup/autodetection`).
const LEFT_OUT: [&str; 19] = [
    "docker",
    "cbr",
    "dummy",
    "podman",
    "virbr",
    "lxcbr",
    "veth",
    "lo",
    "br-",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "vxlan.calico",
    "vxlan-v6.calico",
    "wireguard.cali",
    "wg-v6.cali",
    "nodelocaldns",
];

/// Whether an interface's name says that it carries no node's address.
pub fn is_left_out(name: &str) -> bool {
    LEFT_OUT.iter().any(|beginning| name.starts_with(beginning))
}

/// A way to find a node's address.
#[derive(Clone, Debug)]
pub enum Method {
    /// Ours, where no other is set: the address from which this host reaches its store, or the world.
    Route,
    /// The first address of the interface with the highest number.
    FirstFound,
    /// As [`Method::FirstFound`], among interfaces whose name the expression matches, and no others.
    Interface(Regex),
    /// As [`Method::FirstFound`], without interfaces whose name the expression matches.
    SkipInterface(Regex),
    /// The address from which this host reaches another.
    CanReach(String),
    /// The first address inside of one of the networks.
    Cidr(Vec<IpNet>),
    /// The address of type InternalIP of the Kubernetes Node.
    InternalIp,
}

impl Method {
    /// Reads a method as Calico spells it; the empty text is [`Method::Route`].
    ///
    /// # Errors
    /// The reason, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Method, String> {
        let (word, argument) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let argument = argument.map(str::trim);
        match (word.trim(), argument) {
            ("" | "default-route", None) => Ok(Method::Route),
            ("first-found", None) => Ok(Method::FirstFound),
            ("kubernetes-internal-ip", None) => Ok(Method::InternalIp),
            ("interface", Some(names)) => Ok(Method::Interface(any_of(names)?)),
            ("skip-interface", Some(names)) => Ok(Method::SkipInterface(any_of(names)?)),
            ("can-reach", Some(host)) if !host.is_empty() => Ok(Method::CanReach(host.to_string())),
            ("cidr", Some(list)) if !list.is_empty() => {
                let network = |text: &str| {
                    text.trim().parse().map_err(|_| format!("{text:?} is no network, such as 10.0.0.0/8"))
                };
                list.split(',').map(network).collect::<Result<_, _>>().map(Method::Cidr)
            }
            _ => Err("it is none of first-found, interface=NAME, skip-interface=NAME, can-reach=HOST, \
                 cidr=NETWORK, kubernetes-internal-ip and default-route"
                .to_string()),
        }
    }

    /// What it looks for, for messages.
    pub fn sought(&self) -> String {
        match self {
            Method::Route => "the address from which this host reaches its store or the world".to_string(),
            Method::FirstFound => "the first address of an interface that is not left out".to_string(),
            Method::Interface(names) => format!("an address of an interface whose name matches {names}"),
            Method::SkipInterface(names) => {
                format!("an address of an interface that is not left out and does not match {names}")
            }
            Method::CanReach(host) => format!("the address from which this host reaches {host}"),
            Method::Cidr(networks) => {
                let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                format!("an address inside of {}", networks.join(" or "))
            }
            Method::InternalIp => "the InternalIP of the Kubernetes Node".to_string(),
        }
    }

    /// The address; `sources` are those from which the host reaches what the method asks about, the best
    /// first, or the Kubernetes Node's own. The error is what helps.
    pub(super) fn find(
        &self,
        interfaces: &[Interface],
        family: Family,
        sources: &[IpAddr],
    ) -> Result<(IpNet, String), String> {
        let named = |interface: &Interface| match self {
            Method::Interface(names) => names.is_match(&interface.name),
            Method::SkipInterface(names) => !is_left_out(&interface.name) && !names.is_match(&interface.name),
            Method::Cidr(_) => true,
            _ => !is_left_out(&interface.name),
        };
        let fits = |address: &Address| match self {
            Method::Cidr(networks) => networks.iter().any(|network| network.contains(&address.net.addr())),
            _ => true,
        };
        let mut candidates: Vec<(&Interface, IpNet)> = interfaces
            .iter()
            .filter(|interface| interface.is_up && named(interface))
            .filter_map(|interface| Some((interface, best(interface, family, fits)?)))
            .collect();
        candidates.sort_by_key(|(interface, _)| std::cmp::Reverse(interface.index));
        let of = |(interface, net): (&Interface, IpNet)| (net, interface.name.clone());
        match self {
            Method::CanReach(_) | Method::InternalIp => {
                let own = sources.iter().filter_map(|addr| with_length(interfaces, *addr));
                let help = match self {
                    Method::InternalIp => {
                        "an interface must have the Node's InternalIP: look at the kubelet's --node-ip"
                    }
                    _ => "look at the host's routes (ip route get ADDRESS)",
                };
                own.into_iter().next().ok_or_else(|| help.to_string())
            }
            Method::Route => {
                let usable = |addr: &IpAddr| {
                    let (_, name) = with_length(interfaces, *addr)?;
                    let interface = interfaces.iter().find(|interface| interface.name == name)?;
                    let net = preferred(interface, family, *addr)?;
                    (interface.is_up && !is_left_out(&name)).then_some((net, name))
                };
                if let Some(found) = sources.iter().find_map(usable) {
                    return Ok(found);
                }
                match candidates[..] {
                    [only] => Ok(of(only)),
                    [] => Err("give the host an address, or name one".to_string()),
                    _ => Err("no route tells which one it is: give the host a default route, or name \
                              the interface by interface=NAME"
                        .to_string()),
                }
            }
            _ => candidates.first().copied().map(of).ok_or_else(|| match self {
                Method::FirstFound => "name an interface by interface=NAME".to_string(),
                _ => "look at the names and addresses (ip address)".to_string(),
            }),
        }
    }
}

/// An expression that matches what any of those in a list matches. They match anywhere in a name.
fn any_of(list: &str) -> Result<Regex, String> {
    let each: Vec<String> =
        list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(|one| format!("({one})")).collect();
    if each.is_empty() {
        return Err("it names no interface".to_string());
    }
    Regex::new(&each.join("|")).map_err(|error| format!("it is no list of regular expressions: {error}"))
}

/// Whether others can reach an address: Go's `IsGlobalUnicast`, which counts private networks.
fn is_usable(address: &Address, family: Family) -> bool {
    let addr = address.net.addr();
    let is_link_local = match addr {
        IpAddr::V4(addr) => addr.is_link_local() || addr.is_broadcast(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    };
    let is_special = addr.is_unspecified() || addr.is_loopback() || addr.is_multicast();
    Family::of(addr) == family && !is_link_local && !is_special
}

/// How much an address looks like a virtual one, which may move to another host: the less the better.
fn doubt(address: &Address) -> (bool, bool, bool) {
    (address.is_secondary, address.net.prefix_len() == address.net.max_prefix_len(), !address.is_global)
}

fn best(interface: &Interface, family: Family, fits: impl Fn(&Address) -> bool) -> Option<IpNet> {
    let usable = interface.addresses.iter().filter(|address| is_usable(address, family) && fits(address));
    // Of equals, `min_by_key` gives the first, in the kernel's order.
    usable.min_by_key(|address| doubt(address)).map(|address| address.net)
}

/// The address of an interface that is this one, or is less likely a virtual one.
fn preferred(interface: &Interface, family: Family, addr: IpAddr) -> Option<IpNet> {
    let own = interface.addresses.iter().find(|address| address.net.addr() == addr)?;
    let is_kept = |address: &Address| address.net == own.net || doubt(address) < doubt(own);
    let first = best(interface, family, is_kept)?;
    let is_better = interface.addresses.iter().any(|other| other.net == first && doubt(other) < doubt(own));
    Some(if is_better { first } else { own.net })
}

/// An address with the length of its network, and the name of the interface that has it.
pub(super) fn with_length(interfaces: &[Interface], addr: IpAddr) -> Option<(IpNet, String)> {
    let here = interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(move |address| (address.net, interface.name.clone()))
    });
    here.into_iter().find(|(net, _)| net.addr() == addr)
}
