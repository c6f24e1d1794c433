//! Network namespaces without names. A file descriptor of this process holds each of them, and the kernel
//! removes the namespace when the descriptor is closed.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::needs;

/// A network namespace. It exists until this value is dropped.
pub struct Namespace(File);

impl Namespace {
    /// Makes a network namespace.
    pub fn new() -> Result<Namespace> {
        if !needs::is_root() {
            bail!("network namespaces take root. Become root: sudo --preserve-env su");
        }
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).context(
                "root may not make network namespaces here. In a container, that takes --privileged",
            )?;
            File::open("/proc/thread-self/ns/net").context("the new network namespace")
        };
        on_own_thread(make).map(Namespace)
    }

    /// A path of the namespace, valid while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does `work` in the namespace. Processes that are started there stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_own_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .context("a network namespace of our own")?;
            work()
        })
    }

    /// The names of the interfaces in the namespace.
    pub fn interfaces(&self) -> Result<Vec<String>> {
        let table = self.inside(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
        let name = |line: &str| Some(line.split_once(':')?.0.trim().to_string());
        Ok(table.lines().filter_map(name).collect())
    }
}

/// Does `work` on a new thread, so that no other thread of the process ever leaves the process's namespace.
fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
