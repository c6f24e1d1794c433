//! Network namespaces for tests.

use std::fs;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dataplane::{Attached, Wiring, attach};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// A network namespace.
pub struct Namespace(namespaces::Namespace);

impl Deref for Namespace {
    type Target = namespaces::Namespace;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Namespace {
    /// Makes a namespace; `None`, after a message, if this process has no right to.
    pub fn new() -> Option<Self> {
        namespaces::Namespace::new().map(Self)
    }

    /// A path of the namespace, as a runtime would give it.
    pub fn path(&self) -> PathBuf {
        self.0.path().into()
    }

    /// Runs requests to the kernel in the namespace.
    pub fn netlink<T: Send>(&self, work: impl AsyncFnOnce(Handle) -> T + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                work(handle).await
            })
        })
    }

    pub fn links(&self) -> Vec<LinkState> {
        let messages: Vec<LinkMessage> =
            self.netlink(async |handle| handle.link().get().execute().try_collect().await.unwrap());
        messages.into_iter().map(LinkState::from).collect()
    }

    pub fn link(&self, name: &str) -> LinkState {
        self.links().into_iter().find(|link| link.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.links().iter().any(|link| link.name == name)
    }

    /// Makes a pair of interfaces, both up, in the namespace. The first gets an address, and a route leads to
    /// it.
    pub fn pair(&self, name: &str, address: IpAddr, route: (IpAddr, u8)) {
        let other = format!("{name}-peer");
        self.netlink(async |handle| {
            handle.link().add(LinkVeth::new(name, &other).build()).execute().await.unwrap();
        });
        // The kernel gives interfaces addresses of their own at random times. They are turned off, since they
        // would disturb comparisons.
        for name in [name, &other] {
            self.set_sysctl(&format!("ipv6/conf/{name}/accept_dad"), "0");
            self.set_sysctl(&format!("ipv6/conf/{name}/addr_gen_mode"), "1");
        }
        let (index, peer) = (self.link(name).index, self.link(&other).index);
        self.netlink(async |handle| {
            for index in [index, peer] {
                handle.link().change(LinkUnspec::new_with_index(index).up().build()).execute().await.unwrap();
            }
            let bits = if address.is_ipv4() { 24 } else { 64 };
            handle.address().add(index, address, bits).execute().await.unwrap();
            let message = RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(route.0, route.1)
                .unwrap()
                .output_interface(index)
                .build();
            handle.route().add(message).execute().await.unwrap();
        });
        while self.has_tentative_address() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes an interface that is no pair. `false` if the kernel cannot.
    pub fn bridge(&self, name: &str) -> bool {
        self.netlink(async |handle| handle.link().add(LinkBridge::new(name).build()).execute().await.is_ok())
    }

    /// Adds a route to an interface as soon as the interface is up. Gives whether that was in time, and
    /// before any other program.
    pub fn route_as_soon_as_up(&self, name: &str, address: IpAddr, stop: &AtomicBool) -> bool {
        self.netlink(async |handle| {
            while !stop.load(Ordering::Relaxed) {
                let link = pin!(handle.link().get().match_name(name).execute()).try_next().await;
                let Some(link) = link.ok().flatten().map(LinkState::from).filter(|link| link.up) else {
                    continue;
                };
                let message = RouteMessageBuilder::<IpAddr>::new()
                    .destination_prefix(address, 32)
                    .unwrap()
                    .scope(RouteScope::Link)
                    .output_interface(link.index)
                    .build();
                return handle.route().add(message).execute().await.is_ok();
            }
            false
        })
    }

    fn has_tentative_address(&self) -> bool {
        let table = self.run(|| fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap());
        let flags = table.lines().map(|line| line.split_whitespace().nth(4).unwrap());
        flags.map(|flags| u32::from_str_radix(flags, 16).unwrap()).any(|flags| flags & 0x40 != 0)
    }

    pub fn sysctl(&self, file: &str) -> String {
        self.run(|| fs::read_to_string(format!("/proc/sys/net/{file}")).unwrap().trim_end().to_owned())
    }

    pub fn set_sysctl(&self, file: &str, value: &str) {
        self.run(|| fs::write(format!("/proc/sys/net/{file}"), value).unwrap());
    }

    /// Everything that an attachment could leave behind: interfaces, addresses, routes, and settings of the
    /// whole namespace.
    pub fn state(&self) -> Vec<String> {
        let mut state: Vec<String> = self.links().iter().map(|link| format!("{link:?}")).collect();
        state.extend(self.netlink(async |handle| {
            let addresses: Vec<AddressMessage> =
                handle.address().get().execute().try_collect().await.unwrap();
            addresses
                .iter()
                .map(|found| format!("{} {:?}", found.header.index, found.attributes.first()))
                .collect::<Vec<_>>()
        }));
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            // The kernel adds multicast routes at random times.
            let routes = self.routes(family).into_iter().filter(|r| r.header.kind != RouteType::Multicast);
            state.extend(routes.map(|route| {
                let known = |attribute: &&RouteAttribute| {
                    matches!(
                        attribute,
                        RouteAttribute::Destination(_) | RouteAttribute::Gateway(_) | RouteAttribute::Oif(_)
                    )
                };
                let attributes: Vec<_> = route.attributes.iter().filter(known).collect();
                format!("{:?} {}: {attributes:?}", route.header.kind, route.header.destination_prefix_length)
            }));
        }
        for group in ["all", "default", "lo"] {
            for name in ["disable_ipv6", "forwarding"] {
                let file = format!("ipv6/conf/{group}/{name}");
                state.push(format!("{file} {}", self.sysctl(&file)));
            }
        }
        state.push(format!("ip_forward {}", self.sysctl("ipv4/ip_forward")));
        state
    }

    /// The routes of a family in all tables.
    pub fn routes(&self, family: AddressFamily) -> Vec<RouteMessage> {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        self.netlink(async |handle| handle.route().get(wanted).execute().try_collect().await.unwrap())
    }
}

/// The facts about an interface that tests compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub name: String,
    pub index: u32,
    pub mac: Vec<u8>,
    pub mtu: u32,
    pub up: bool,
    pub queues: (u32, u32),
    pub kind: String,
}

impl From<LinkMessage> for LinkState {
    fn from(message: LinkMessage) -> Self {
        let mut seen = Self {
            name: String::new(),
            index: message.header.index,
            mac: Vec::new(),
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            queues: (0, 0),
            kind: String::new(),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => seen.name = name,
                LinkAttribute::Address(mac) => seen.mac = mac,
                LinkAttribute::Mtu(mtu) => seen.mtu = mtu,
                LinkAttribute::NumTxQueues(queues) => seen.queues.0 = queues,
                LinkAttribute::NumRxQueues(queues) => seen.queues.1 = queues,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            seen.kind = kind.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
        seen
    }
}

/// A host with default routes, and a container.
pub struct Machine {
    pub host: Namespace,
    pub container: Namespace,
}

impl Machine {
    /// Makes the namespaces. `None`, after a message, if this process has no right to.
    pub fn new() -> Option<Self> {
        let (host, container) = (Namespace::new()?, Namespace::new()?);
        host.pair("uplink", ip("192.0.2.1"), (ip("0.0.0.0"), 0));
        host.pair("uplink6", ip("2001:db8::1"), (ip("::"), 0));
        host.set_sysctl("ipv6/conf/all/forwarding", "1");
        Some(Self { host, container })
    }

    pub fn wiring(&self, addresses: &[&str]) -> Wiring {
        wiring(&self.container, "cali0", addresses)
    }

    pub fn attach(&self, wiring: &Wiring) -> Attached {
        self.host.run(|| attach(wiring)).unwrap()
    }
}

pub fn wiring(container: &Namespace, host_interface: &str, addresses: &[&str]) -> Wiring {
    Wiring {
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ..Wiring::new(host_interface, "eth0", container.path())
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
