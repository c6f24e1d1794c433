//! Network namespaces for tests.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace. It exists until this value, and the last socket in it, are dropped.
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace; `None`, after a message, if this process has no right to, or there is no `nft`.
    pub fn new() -> Option<Self> {
        if Command::new("nft").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: the program nft is not there");
            return None;
        }
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok::<_, nix::Error>(File::open("/proc/thread-self/ns/net").unwrap())
        });
        match made.join().unwrap() {
            Ok(file) => {
                let made = Self(file);
                made.sh("ip link set lo up");
                Some(made)
            }
            Err(nix::Error::EPERM) => {
                eprintln!("skipped: network namespaces need root");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs `work` on a thread in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| {
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a script in the namespace, and gives its output. It must succeed.
    pub fn sh(&self, script: &str) -> String {
        let out = self.run(|| Command::new("/bin/sh").args(["-ec", script]).output().unwrap());
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Links this namespace to another by a pair of interfaces, both up.
    pub fn link(&self, name: &str, other: &Namespace, theirs: &str) {
        let path = other.path();
        self.sh(&format!(
            "ip link add {name} type veth peer name {theirs} netns {path}; ip link set {name} up"
        ));
        other.sh(&format!("ip link set {theirs} up"));
    }

    /// The namespace's name for `ip`.
    fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
