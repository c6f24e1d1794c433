//! Network namespaces without names, for tests only: each exists until its value, and the last process or
//! socket in it, are gone.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests use this")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace, in which nothing is up. Where this process has no right to, prints that and gives
    /// `None`.
    ///
    /// # Panics
    /// When the system refuses for another reason.
    pub fn new() -> Option<Namespace> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok::<_, nix::Error>(File::open("/proc/thread-self/ns/net").unwrap())
        });
        match made.join().unwrap() {
            Ok(file) => Some(Namespace(file)),
            Err(nix::Error::EPERM) => {
                println!("skipped: network namespaces need root");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A path of the namespace, as a runtime and `ip link set DEVICE netns` take it; valid while this process
    /// lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does `work` on a thread in the namespace. Processes that are started there stay there.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| {
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a script in the namespace, and gives its output.
    ///
    /// # Panics
    /// When the script fails.
    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).unwrap_or_else(|said| panic!("{script}: {said}"))
    }

    /// Runs a script in the namespace, and gives its output.
    ///
    /// # Errors
    /// What the script said when it failed.
    pub fn try_sh(&self, script: &str) -> Result<String, String> {
        let out = self.run(|| Command::new("/bin/sh").args(["-ec", script]).output().unwrap());
        match out.status.success() {
            true => Ok(String::from_utf8(out.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    /// Joins this namespace and another by a cable: a pair of interfaces, both up.
    pub fn cable(&self, name: &str, other: &Namespace, theirs: &str) {
        let path = other.path();
        self.sh(&format!(
            "ip link add {name} type veth peer name {theirs} netns {path}; ip link set {name} up"
        ));
        other.sh(&format!("ip link set {theirs} up"));
    }
}
