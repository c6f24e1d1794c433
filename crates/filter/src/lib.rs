//! The one nftables table of a node: what leaves the cluster is translated, and tunnels and pods are
//! protected.
//!
//! [`Rules`] is a value with all that the table depends on, and [`Rules::text`] the table. [`Nft`] puts it
//! into the kernel by the program `nft`, in one transaction; [`Changes`] tells when somebody else has changed
//! it. [`Connections`] forgets the connections of a pod that is gone. [`felix`] and [`kube_proxy`] tell of
//! others who have rules for pods.

mod changes;
mod connections;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
pub mod felix;
mod forward;
mod interface;
mod iptables;
pub mod kube_proxy;
mod message;
mod nft;
mod process;
pub mod rules;
pub mod settings;
mod text;

pub use changes::{Changes, Touched};
pub use connections::{Connections, ConnectionsError};
pub use forward::Finding;
pub use interface::{Interface, InterfaceError, Interfaces};
pub use nft::{Comparison, Nft, NftError, Outcome};
pub use process::Process;
pub use rules::Rules;
pub use settings::{Exclusions, Settings};
pub use text::TABLE;
