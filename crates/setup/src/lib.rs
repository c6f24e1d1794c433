//! Makes a store and a node name of the configuration file, the environment and the CNI configuration. This
//! crate is also the only one that reads the real clock, the system's randomness and the process's
//! environment.
//!
//! ```no_run
//! # fn main() -> Result<(), setup::SetupError> {
//! let environment = setup::Environment::from_process();
//! let settings = setup::Settings::from_environment(&environment)?;
//! let datastore = setup::Datastore::choose(&settings, &environment)?;
//! let store = setup::connect(&datastore, setup::ConnectOptions::default())?;
//! # Ok(())
//! # }
//! ```

mod choice;
mod choose;
pub mod clock;
mod connect;
mod datastore;
mod embedded;
mod environment;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod fields;
mod file;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod misspelt;
mod node_name;
pub mod reach;
mod settings;

pub use choice::{Choice, Doubt, Purpose};
pub use clock::Clock;
pub use connect::{ConnectOptions, Missing, Runtime, connect, full_runtime, runtime};
pub use datastore::{Datastore, EtcdSettings, KubernetesSettings, ProxySettings, TlsSettings};
pub use embedded::MACHINE_STORE;
pub use environment::Environment;
pub use error::SetupError;
pub use fields::{Field, Spelling, spellings};
#[cfg(feature = "kubernetes")]
pub use kubernetes::{connect_kubernetes, kubernetes_beside};
pub use node_name::{DEFAULT_AGENT_SYNC_FILE, DEFAULT_NODENAME_FILE, NodeNameError, node_name};
pub use reach::Reached;
pub use settings::{Origin, Setting, Settings, shown_urls};
