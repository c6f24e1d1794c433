//! The Linux network plumbing of a container: the pair of interfaces between the host and the container's
//! network namespace, with Calico's addresses, routes and sysctls
//! (`cni-plugin/pkg/dataplane/linux/dataplane_linux.go`).
//!
//! ```text
//!   container                        host
//!   eth0  10.0.0.5/32      <---->    cali0123456789a   ee:ee:ee:ee:ee:ee, proxy_arp=1, no address
//!   169.254.1.1 dev eth0             10.0.0.5 dev cali0123456789a
//!   default via 169.254.1.1
//! ```
//! There is no bridge and no gateway: the host itself answers every ARP request of the container. The host
//! answers only for addresses that it has a route to by another interface; so a host without a default route
//! needs a route to 169.254.1.1.
//!
//! Each function works on a thread of its own. Only that thread enters the container's namespace. The
//! function returns when the kernel has done everything. Every function needs `CAP_NET_ADMIN` and
//! `CAP_SYS_ADMIN`.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wiring = dataplane::Wiring {
//!     addresses: vec!["10.0.0.5".parse()?],
//!     ..dataplane::Wiring::new("cali0123456789a", "eth0", "/var/run/netns/blue")
//! };
//! let attached = dataplane::attach(&wiring)?;
//! dataplane::check(&wiring)?;
//! dataplane::detach(&wiring.netns, "eth0", None, dataplane::DETACH_LIMIT)?;
//! # Ok(())
//! # }
//! ```

mod attach;
mod attached;
mod check;
mod detach;
mod error;
mod host_end;
mod kernel;
mod links;
mod namespace;
mod routes;
mod sysctl;
mod wiring;

pub use attach::attach;
pub use attached::{Attached, Warning};
pub use check::{Deviation, check};
pub use detach::{DETACH_LIMIT, Detached, detach};
pub use error::{AccessError, AttachError, CheckError, DetachError, KernelRefusal};
pub use host_end::{HostEnd, host_end, host_end_of, host_ends_to, remove};
pub use wiring::{Device, HOST_MAC, Mac, Replaces, Wiring};
