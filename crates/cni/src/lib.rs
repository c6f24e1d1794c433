//! The CNI protocol, as Calico's plugins speak it (`containernetworking/cni/pkg/skel`,
//! `cni-plugin/pkg/types`): what comes from the runtime, checked in their order and refused in their words;
//! and what goes back to it.

pub mod answer;
pub mod args;
pub mod conf;
pub mod error;
pub mod host_lock;
pub mod log;
mod log_file;
pub mod netns;
pub mod orchestrator;
pub mod program;
pub mod protocol;
pub mod site;
pub mod told;

pub use conf::VERSIONS;
pub use error::CniError;
pub use host_lock::HostLock;
pub use orchestrator::Orchestrator;
pub use outside::folder;
pub use protocol::Call;
pub use site::Site;
