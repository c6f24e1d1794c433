//! Network namespaces for tests of the packet filter.

use std::ops::Deref;
use std::process::{Command, Stdio};

/// A network namespace whose loopback interface is up.
pub struct Namespace(namespaces::Namespace);

impl Namespace {
    /// Makes a namespace; `None`, after a message, if this process has no right to, or there is no `nft`.
    pub fn new() -> Option<Self> {
        if Command::new("nft").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: the program nft is not there");
            return None;
        }
        let made = namespaces::Namespace::new()?;
        made.sh("ip link set lo up");
        Some(Self(made))
    }
}

impl Deref for Namespace {
    type Target = namespaces::Namespace;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
