//! Network namespaces without names: each exists until its value, and the last process in it, are gone.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace.
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace whose IPv6 addresses are there at once. `None`, after a message, if this process has
    /// no right to, or a program is missing.
    pub fn new() -> Option<Namespace> {
        for program in ["ip", "ping", "nft"] {
            if Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                println!("skipped: the program {program} is not there");
                return None;
            }
        }
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok::<_, nix::Error>(File::open("/proc/thread-self/ns/net").unwrap())
        });
        match made.join().unwrap() {
            Ok(file) => {
                let made = Namespace(file);
                made.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
                     ip link set lo up");
                Some(made)
            }
            Err(nix::Error::EPERM) => {
                println!("skipped: network namespaces take root");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A path of the namespace, valid while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does `work` on a thread in the namespace. Processes that are started there stay there.
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
        self.try_sh(script).unwrap_or_else(|said| panic!("{script}: {said}"))
    }

    /// Runs a script in the namespace, and gives its output, or what it said when it failed.
    pub fn try_sh(&self, script: &str) -> Result<String, String> {
        let out = self.run(|| Command::new("/bin/sh").args(["-ec", script]).output().unwrap());
        match out.status.success() {
            true => Ok(String::from_utf8(out.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    /// Joins this namespace and another by a cable.
    pub fn cable(&self, name: &str, other: &Namespace, theirs: &str) {
        let path = other.path();
        self.sh(&format!(
            "ip link add {name} type veth peer name {theirs} netns {path}; ip link set {name} up"
        ));
        other.sh(&format!("ip link set {theirs} up"));
    }
}
