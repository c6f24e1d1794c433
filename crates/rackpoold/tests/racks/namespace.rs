//! Network namespaces that have what these tests need.

use std::ops::Deref;
use std::process::{Command, Stdio};

/// A network namespace.
pub struct Namespace(namespaces::Namespace);

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
        let made = namespaces::Namespace::new()?;
        made.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
             ip link set lo up");
        Some(Namespace(made))
    }
}

impl Deref for Namespace {
    type Target = namespaces::Namespace;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
