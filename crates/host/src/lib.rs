//! What is on this host, read and changed by netlink: interfaces, addresses, routes, tunnel devices and
//! sysctls. It carries out what crate `routes` plans, and decides nothing by itself.

#![allow(dead_code, reason = "what changes the host comes next")]

mod error;
mod interface;
mod kernel;
mod message;

pub use error::{HostError, Refusal};
pub use interface::{Address, Interface};
pub use kernel::Kernel;
