//! Network namespaces that have no name: each is held by a file of this process, and the kernel takes it away
//! with whatever is in it.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::needs;

/// A network namespace that lives as long as this.
pub struct Namespace(File);

impl Namespace {
    /// Makes one.
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

    /// A path to it, for as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does something in it; processes that are started there stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_own_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .context("a network namespace of our own")?;
            work()
        })
    }

    /// The names of its interfaces.
    pub fn interfaces(&self) -> Result<Vec<String>> {
        let table = self.inside(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
        let name = |line: &str| Some(line.split_once(':')?.0.trim().to_string());
        Ok(table.lines().filter_map(name).collect())
    }
}

/// No other thread is ever in another namespace than the process.
fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
