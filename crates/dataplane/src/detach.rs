//! Detaching a container: its pair of interfaces is deleted.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::error::{AccessError, DetachError};
use crate::kernel::{Side, run};
use crate::namespace::Namespace;

/// How long Calico waits for the kernel. Some old kernels never finished deleting a pair.
pub const DETACH_LIMIT: Duration = Duration::from_secs(20);

/// Which side of the pair was found and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detached {
    /// The container's side, and with it the host's side.
    pub container: bool,
    /// Only the host's side.
    pub host: bool,
}

/// Detaches a container: deletes its side of the pair; the kernel then deletes the host's side and the host's
/// routes. An interface or a namespace that is gone already is no error.
///
/// `host_interface` is deleted if the container's side was not found. The kernel is slow to delete a
/// namespace that nobody uses any more, and until then the host still routes an address that another
/// container may get. All sandboxes of a pod use the same name for the host's side. So give `host_interface`
/// only if the pod has no newer sandbox: that one would have attached under the same name.
pub fn detach(
    netns: &Path,
    container_interface: &str,
    host_interface: Option<&str>,
    within: Duration,
) -> Result<Detached, DetachError> {
    let work = Work {
        netns: netns.into(),
        container_interface: container_interface.into(),
        host_interface: host_interface.map(Into::into),
    };
    run_within(within, async move { work.run().await }, || DetachError::TimedOut {
        interface: container_interface.into(),
        netns: netns.into(),
        within,
    })
}

/// Runs netlink requests on a thread of their own, and waits for them no longer than `within`. A request that
/// the kernel never finishes blocks its thread for good, but not the caller.
pub(crate) fn run_within<T: Send + 'static>(
    within: Duration,
    work: impl Future<Output = Result<T, AccessError>> + Send + 'static,
    timed_out: impl FnOnce() -> DetachError,
) -> Result<T, DetachError> {
    let (report, result) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("dataplane".into())
        .spawn(move || {
            // When the time is over, nobody receives the report.
            let _ = report.send(run(work));
        })
        .map_err(|source| AccessError::System { doing: "start a thread", source })?;
    match result.recv_timeout(within) {
        Ok(result) => Ok(result?),
        Err(RecvTimeoutError::Timeout) => Err(timed_out()),
        Err(RecvTimeoutError::Disconnected) => Err(AccessError::System {
            doing: "detach",
            source: std::io::Error::other("the thread that was to do it panicked"),
        }
        .into()),
    }
}

struct Work {
    netns: PathBuf,
    container_interface: String,
    host_interface: Option<String>,
}

impl Work {
    async fn run(&self) -> Result<Detached, AccessError> {
        let host = Namespace::of_this_thread()?;
        let container = self.delete_in_container(&host).await?;
        let host = match &self.host_interface {
            Some(name) if !container => {
                host.enter()?;
                delete_pair(&Side::open(host)?, name).await?
            }
            _ => false,
        };
        Ok(Detached { container, host })
    }

    async fn delete_in_container(&self, host: &Namespace) -> Result<bool, AccessError> {
        let opened = Namespace::of_container(&self.netns, host).and_then(Side::open);
        let container = match opened {
            Ok(container) => container,
            // When a mounted namespace is gone, a plain file is left at its path.
            Err(AccessError::NoNamespace(_) | AccessError::NotANamespace(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        delete(&container, &self.container_interface).await
    }
}

/// Deletes an interface of the host only if it is a side of a pair: the host's other interfaces are not ours,
/// whatever their names are.
async fn delete_pair(host: &Side, name: &str) -> Result<bool, AccessError> {
    let link = host
        .link(name)
        .await
        .map_err(|refusal| host.access_error(format_args!("look for {name}"), refusal))?;
    match link {
        Some(link) if link.pair => delete(host, name).await,
        _ => Ok(false),
    }
}

async fn delete(side: &Side, name: &str) -> Result<bool, AccessError> {
    side.delete_link(name).await.map_err(|refusal| side.access_error(format_args!("delete {name}"), refusal))
}
