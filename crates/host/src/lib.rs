//! What is on this host, read and changed by netlink: interfaces, addresses, routes, tunnel devices and
//! sysctls. It carries out what crate `routes` plans, and decides nothing by itself.
//!
//! A host is kept as it must be by a loop that compares what is there with what is wanted, and listens in
//! between:
//!
//! ```no_run
//! use host::{Changes, HostError, Interface, Kernel};
//! use routes::{Desired, Difference, List};
//!
//! async fn keep(desired: &Desired, uplink: &Interface) -> Result<(), HostError> {
//!     let kernel = Kernel::open()?;
//!     let mut changes = Changes::subscribe()?.without(&kernel);
//!     loop {
//!         for tunnel in desired.tunnels.iter().filter(|tunnel| tunnel.local.is_some()) {
//!             kernel.ensure_tunnel(tunnel, uplink, 4096, 4789).await?;
//!         }
//!         let present = kernel.present(&["vxlan.calico", "vxlan-v6.calico", "tunl0"]).await?;
//!         let (steps, _doubt) = Difference::between(&present, desired).steps(List::Kept);
//!         for (_step, error) in kernel.apply(&steps, Some(uplink.index)).await {
//!             eprintln!("{error}");
//!         }
//!         while !changes.next().await.may_matter_to_routes() {}
//!     }
//! }
//! ```

mod apply;
mod changes;
mod device;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod error;
mod interface;
mod kernel;
mod message;
mod pods;
mod present;
pub mod sysctl;
mod tunnel;

pub use changes::{Changed, Changes};
pub use device::Deviation;
pub use error::{HostError, Refusal};
pub use interface::{Address, Interface};
pub use kernel::Kernel;
pub use tunnel::Ensured;
