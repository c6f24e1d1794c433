//! What is on this host, read and changed by netlink: interfaces, addresses, routes, tunnel devices and
//! sysctls. It carries out what crate `routes` plans, and decides nothing by itself.

mod interface;

pub use interface::{Address, Interface};
