//! The CNI protocol, as Calico's plugins speak it (`containernetworking/cni/pkg/skel`,
//! `cni-plugin/pkg/types`). Requests of the runtime are checked in Calico's order and refused in Calico's
//! words; answers have Calico's form.

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
