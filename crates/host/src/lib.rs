//! What is on this host, read and changed by netlink: interfaces, addresses, routes, tunnel devices and
//! sysctls. It carries out what crate `routes` plans, and decides nothing by itself.

mod apply;
mod changes;
mod device;
mod error;
mod interface;
mod kernel;
mod message;
mod present;
pub mod sysctl;
mod tunnel;

pub use changes::{Changed, Changes};
pub use error::{HostError, Refusal};
pub use interface::{Address, Interface};
pub use kernel::Kernel;
pub use tunnel::Ensured;
