//! Network namespaces for tests.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use host::Kernel;
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace. It exists until this value, and the last socket in it, are dropped.
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace; `None`, after a message, if this process has no right to.
    pub fn new() -> Option<Namespace> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok::<_, nix::Error>(File::open("/proc/thread-self/ns/net").unwrap())
        });
        let namespace = match made.join().unwrap() {
            Ok(file) => Namespace(file),
            Err(nix::Error::EPERM) => {
                eprintln!("skipped: network namespaces need root");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        // Interfaces use their addresses at once, without asking others first.
        namespace.sh("ip link set lo up
             echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
             echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        Some(namespace)
    }

    /// A path of the namespace, as `ip link set DEVICE netns` takes it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
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

    /// Runs a script of `sh` in the namespace. Gives what it prints, and panics where it fails.
    pub fn sh(&self, script: &str) -> String {
        let out = self.run(|| Command::new("sh").args(["-ec", script]).output().unwrap());
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{script}: {said}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs `work` with a netlink socket of the namespace.
    pub fn kernel<T: Send>(&self, work: impl AsyncFnOnce(&Kernel) -> T + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { work(&Kernel::open().unwrap()).await })
        })
    }

    /// Joins two namespaces by a cable: a pair of interfaces, both up.
    pub fn cable(&self, name: &str, other: &Namespace, other_name: &str) {
        self.sh(&format!(
            "ip link add {name} type veth peer name {other_name} netns {}
             ip link set dev {name} up",
            other.path()
        ));
        other.sh(&format!("ip link set dev {other_name} up"));
    }
}
